//! Templates with their holes resolved to places: compiled once, rendered for every request. Must not pick values
//! itself.

use crate::feeds::Rows;
use crate::seeds::Seed;
use shakedown_core::plan::Escape;
use shakedown_core::template::{Part, Template};
use shakedown_core::{Fail, Secrets};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A compiled template.
#[derive(Debug)]
pub struct Text(Vec<Piece>);

/// A piece of a compiled template.
#[derive(Debug)]
enum Piece {
    Plain(Box<str>),
    Feed { feed: usize, column: usize },
    Capture(usize),
    Target(String),
    Uuid,
    Secret(Box<str>),
}

/// What templates are compiled against.
pub struct Scope<'a> {
    /// Feeds of the stream, by index.
    pub feeds: &'a [(String, Rows)],
    /// Names captured by earlier steps of the journey, by slot.
    pub captures: &'a [String],
    /// Secret values.
    pub secrets: &'a Secrets,
    /// Where the template stands, for messages.
    pub place: &'a str,
}

/// What fills the holes of one step; nothing of it is worked out before a hole asks.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// Feeds of the stream, by index.
    pub feeds: &'a [(String, Rows)],
    /// The seed that picks rows.
    pub pick: Seed,
    /// Number of the arrival.
    pub k: u64,
    /// `unique` picks may begin again.
    pub wraps: bool,
    /// Captured values by slot.
    pub captures: &'a [Option<String>],
    /// The seed of the running step.
    pub own: Seed,
}

/// How an inserted value is made safe for its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a path: only what no URL may hold is percent-encoded.
    Path,
    /// In a header: as it is.
    Header,
    /// In a body, by the body's rule.
    Body(Escape),
}

impl Text {
    /// Resolves the holes of a template.
    ///
    /// # Errors
    /// Names the place and the hole that nothing fills.
    pub fn compile(template: &Template, scope: &Scope<'_>) -> Result<Text, Fail> {
        let unknown = |what: String| Fail::new(format!("{}: {what}", scope.place));
        let piece = |part: &Part| match part {
            Part::Text(text) => Ok(Piece::Plain(text.as_str().into())),
            Part::Feed { feed, column } => {
                let found = scope.feeds.iter().position(|(name, _)| name == feed);
                let i = found.ok_or_else(|| unknown(format!("there is no data feed `{feed}`")))?;
                let column = scope.feeds[i].1.column(column).ok_or_else(|| unknown(format!("feed `{feed}` has no column `{column}`")))?;
                Ok(Piece::Feed { feed: i, column })
            }
            Part::Capture(name) => {
                let slot = scope.captures.iter().position(|c| c == name);
                slot.map(Piece::Capture).ok_or_else(|| unknown(format!("no earlier step captures `{name}`")))
            }
            Part::Target(name) => Ok(Piece::Target(name.clone())),
            Part::Key => Err(unknown("`key` exists in `verify` only".to_owned())),
            Part::Uuid => Ok(Piece::Uuid),
            Part::Secret(name) => match scope.secrets.get(name) {
                Some(value) => Ok(Piece::Secret(value.into())),
                None => Err(unknown(format!("secret `{name}` has no value; set {name} or {name}_FILE in the environment"))),
            },
        };
        Ok(Text(template.0.iter().map(piece).collect::<Result<_, Fail>>()?))
    }

    /// How values are escaped where nobody says it: as in JSON when it begins like JSON.
    #[must_use]
    pub fn escape(&self) -> Escape {
        let json = matches!(self.0.first(), Some(Piece::Plain(text)) if text.trim_start().starts_with(['{', '[']));
        if json { Escape::Json } else { Escape::None }
    }

    /// The text, when it is the same for every request. `targets` holds base URLs.
    #[must_use]
    pub fn constant(&self, place: Place, targets: &BTreeMap<String, String>) -> Option<Result<String, String>> {
        let varies = |piece: &Piece| matches!(piece, Piece::Feed { .. } | Piece::Capture(_) | Piece::Uuid);
        if self.0.iter().any(varies) {
            return None;
        }
        let mut out = String::new();
        Some(self.render(place, &Values::none(), targets, &mut out).map(|()| out))
    }

    /// Appends the text with every hole filled. `targets` holds base URLs.
    ///
    /// # Errors
    /// Says which value is not there (a feed that ran out).
    pub fn render(&self, place: Place, values: &Values<'_>, targets: &BTreeMap<String, String>, out: &mut String) -> Result<(), String> {
        for piece in &self.0 {
            match piece {
                Piece::Plain(text) => out.push_str(text),
                Piece::Feed { feed, column } => {
                    let rows = &values.feeds[*feed].1;
                    let row = rows.row(values.pick, values.k, values.wraps)?;
                    escape(place, rows.cell(row, *column), out);
                }
                Piece::Capture(slot) => {
                    let value = values.captures.get(*slot).and_then(Option::as_deref).ok_or("a captured value is missing")?;
                    escape(place, value, out);
                }
                Piece::Target(name) => out.push_str(targets.get(name).ok_or_else(|| format!("target `{name}` is not up"))?),
                Piece::Uuid => out.push_str(&values.own.and("uuid").uuid()),
                Piece::Secret(value) => escape(place, value, out),
            }
        }
        Ok(())
    }
}

impl Values<'_> {
    /// Nothing to fill holes with.
    #[must_use]
    pub fn none() -> Values<'static> {
        Values { feeds: &[], pick: Seed::of(0), k: 0, wraps: false, captures: &[], own: Seed::of(0) }
    }
}

/// Writes a value so that it is safe in its place.
pub fn escape(place: Place, value: &str, out: &mut String) {
    match place {
        Place::Header | Place::Body(Escape::None) => out.push_str(value),
        Place::Body(Escape::Json) => {
            let quoted = serde_json::Value::String(value.to_owned()).to_string();
            out.push_str(&quoted[1..quoted.len() - 1]);
        }
        Place::Body(Escape::Url) => percent(value, out, |b| b.is_ascii_alphanumeric() || b"-._~".contains(&b)),
        Place::Path => percent(value, out, allowed_in_path),
    }
}

/// Bytes that may stand in a request target as they are. `%` stays: values may already be encoded.
#[must_use]
pub fn allowed_in_path(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-._~:/?[]@!$&'()*+,;=%|".contains(&b)
}

/// Percent-encodes the bytes that are not allowed.
pub fn percent(value: &str, out: &mut String, allowed: impl Fn(u8) -> bool) {
    for b in value.bytes() {
        if allowed(b) {
            out.push(char::from(b));
        } else {
            write!(out, "%{b:02X}").expect("writing to a string does not fail");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str, place: Place, capture: &str) -> String {
        let mut secrets = Secrets::default();
        secrets.insert("TOKEN", "s3\"cret");
        let captures = ["cart".to_owned()];
        let scope = Scope { feeds: &[], captures: &captures, secrets: &secrets, place: "step `x`" };
        let compiled = Text::compile(&Template::parse(text).unwrap(), &scope).unwrap();
        let captured = [Some(capture.to_owned())];
        let values = Values { captures: &captured, ..Values::none() };
        let (targets, mut out) = (BTreeMap::from([("shop".to_owned(), "http://a:1".to_owned())]), String::new());
        compiled.render(place, &values, &targets, &mut out).unwrap();
        out
    }

    #[test]
    fn values_are_escaped_for_their_place_and_text_is_not() {
        assert_eq!(rendered(r#"{"id": "{{ cart }}"}"#, Place::Body(Escape::Json), "a\"b\n"), r#"{"id": "a\"b\n"}"#);
        assert_eq!(rendered("a=1&b={{ cart }}", Place::Body(Escape::Url), "x y&z"), "a=1&b=x%20y%26z");
        assert_eq!(rendered("/c/{{ cart }}?q=1", Place::Path, "a b/ü#"), "/c/a%20b/%C3%BC%23?q=1");
        let own = Seed::of(0).and("uuid").uuid();
        assert_eq!(rendered("{{ uuid }} {{ targets.shop }}", Place::Header, ""), format!("{own} http://a:1"));
        assert_eq!(rendered("Bearer ${secret:TOKEN}", Place::Header, ""), "Bearer s3\"cret");
        assert_eq!(rendered("${secret:TOKEN}", Place::Body(Escape::Json), ""), "s3\\\"cret");
    }

    #[test]
    fn holes_that_nothing_fills_are_named() {
        let secrets = Secrets::default();
        let scope = Scope { feeds: &[], captures: &[], secrets: &secrets, place: "stream `s`, step `x`" };
        for text in ["{{ nope }}", "{{ f.id }}", "{{ key }}", "${secret:GONE}"] {
            let why = Text::compile(&Template::parse(text).unwrap(), &scope).unwrap_err().0;
            assert!(why.starts_with("stream `s`, step `x`: "), "{why}");
        }
    }
}
