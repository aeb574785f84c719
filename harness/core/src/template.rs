//! `{{ … }}` templates in requests: parsed once by `scenario`, rendered by whoever sends. Must not know where values
//! come from.

use serde::{Deserialize, Serialize};

/// Text with holes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Template(pub Vec<Part>);

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// As it stands.
    Text(String),
    /// A column of a data feed.
    Feed {
        /// Feed name.
        feed: String,
        /// Column name.
        column: String,
    },
    /// A captured value.
    Capture(String),
    /// A target's base URL.
    Target(String),
    /// The ledger key being verified.
    Key,
    /// One UUID per arrival and step, kept over retries.
    Uuid,
    /// A secret by name; resolved at the last moment, redacted everywhere.
    Secret(String),
}

impl Template {
    /// Plain text without holes.
    #[must_use]
    pub fn text(text: &str) -> Template {
        Template(if text.is_empty() { Vec::new() } else { vec![Part::Text(text.to_owned())] })
    }

    /// Reads `{{ name }}` holes and `${secret:NAME}` references; `{{{{` is a literal `{{`. Names are not resolved
    /// here: a dotted name is a feed column (or `targets.NAME`), a bare one a capture.
    ///
    /// # Errors
    /// A sentence naming the hole that is not closed or has no name.
    pub fn parse(text: &str) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix("{{{{") {
                plain.push_str("{{");
                rest = after;
            } else if let Some(after) = rest.strip_prefix("{{") {
                let end = after.find("}}").ok_or_else(|| format!("`{{{{` is not closed in `{text}`"))?;
                flush(&mut parts, &mut plain);
                parts.push(hole(after[..end].trim())?);
                rest = &after[end + 2..];
            } else if let Some(after) = rest.strip_prefix("${secret:") {
                let end = after.find('}').ok_or_else(|| format!("`${{secret:` is not closed in `{text}`"))?;
                flush(&mut parts, &mut plain);
                parts.push(Part::Secret(after[..end].to_owned()));
                rest = &after[end + 1..];
            } else {
                let c = rest.chars().next().expect("not empty");
                plain.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
        flush(&mut parts, &mut plain);
        Ok(Template(parts))
    }

    /// Renders with `value` giving each hole's text; `escape` is applied to inserted values only.
    ///
    /// # Errors
    /// What `value` answers for a hole it cannot fill.
    pub fn render<E>(&self, out: &mut String, mut value: impl FnMut(&Part, &mut String) -> Result<(), E>) -> Result<(), E> {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                hole => value(hole, out)?,
            }
        }
        Ok(())
    }

    /// The text, when there are no holes.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }
}

fn flush(parts: &mut Vec<Part>, plain: &mut String) {
    if !plain.is_empty() {
        parts.push(Part::Text(std::mem::take(plain)));
    }
}

fn hole(name: &str) -> Result<Part, String> {
    let valid = |s: &str| !s.is_empty() && s.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    match name.split_once('.') {
        Some(("targets", target)) if valid(target) => Ok(Part::Target(target.to_owned())),
        Some((feed, column)) if valid(feed) && valid(column) => Ok(Part::Feed { feed: feed.to_owned(), column: column.to_owned() }),
        None if name == "uuid" => Ok(Part::Uuid),
        None if name == "key" => Ok(Part::Key),
        None if valid(name) => Ok(Part::Capture(name.to_owned())),
        _ => Err(format!("`{{{{ {name} }}}}` is not a name; write {{{{ feed.column }}}}, {{{{ capture }}}} or {{{{ uuid }}}}")),
    }
}
