//! Templates in requests: parsed, and every hole resolved against what is defined at that place.

use crate::address::Speaks;
use crate::cx::Cx;
use crate::names;
use shakedown_core::template::{Part, Template};
use shakedown_core::units::Span;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// What a template may name.
#[derive(Clone, Default)]
pub struct Scope {
    /// Feeds and their columns; `None` columns: the file could not be read, which is a problem of its own.
    pub feeds: BTreeMap<String, Option<Vec<String>>>,
    /// Captures of earlier steps.
    pub captures: BTreeSet<String>,
    /// `uuid` and `targets.NAME`.
    pub request: bool,
    /// What the target speaks; `None`: it could not be read, which is a problem of its own.
    pub speaks: Option<Speaks>,
    /// The stream's time for one exchange.
    pub timeout: Option<Span>,
    /// Outside traffic.
    pub action: bool,
}

impl Scope {
    /// Headers of a target: secrets only.
    pub fn target() -> Scope {
        Scope::default()
    }

    /// Setup, teardown: no data, no captures.
    pub fn action() -> Scope {
        Scope { request: true, speaks: Some(Speaks::Http), action: true, ..Scope::default() }
    }

    fn known(&self) -> Vec<String> {
        let feeds = self.feeds.iter().flat_map(|(f, cols)| cols.iter().flatten().map(move |c| format!("{f}.{c}")));
        let mut all: Vec<String> = feeds.chain(self.captures.iter().cloned()).collect();
        if self.request {
            all.push("uuid".into());
        }
        all
    }
}

/// Parses a text and resolves its holes.
pub fn parse(text: &str, span: &Range<usize>, scope: &Scope, cx: &mut Cx) -> Template {
    match Template::parse(text) {
        Ok(template) => {
            template.0.iter().for_each(|part| resolve(part, span, scope, cx));
            template
        }
        Err(why) => {
            match why.split_once("; ") {
                Some((cause, hint)) => cx.p.hint(span, cause, hint),
                None => cx.p.hint(span, why, "write {{{{ for a literal {{"),
            }
            Template::default()
        }
    }
}

fn resolve(part: &Part, span: &Range<usize>, scope: &Scope, cx: &mut Cx) {
    match part {
        Part::Text(_) | Part::Secret(_) => {}
        Part::Uuid if scope.request => {}
        Part::Target(name) if scope.request => {
            let known: Vec<String> = cx.names.targets.iter().cloned().collect();
            names::resolve("target", name, known.iter().map(String::as_str), span, &mut cx.p);
        }
        Part::Feed { feed, column } if scope.request => match scope.feeds.get(feed) {
            Some(Some(columns)) => {
                names::resolve(&format!("column of `{feed}`"), column, columns.iter().map(String::as_str), span, &mut cx.p);
            }
            Some(None) => {}
            None => {
                cx.p.hint(span, format!("there is no feed `{feed}`"), names::suggest(feed, scope.feeds.keys().map(String::as_str)));
            }
        },
        Part::Capture(name) if scope.captures.contains(name) => {}
        Part::Capture(name) if scope.request => {
            let known = scope.known();
            cx.p.hint(
                span,
                format!("`{{{{ {name} }}}}` is not defined here"),
                format!("a capture is made by an earlier step of the journey; {}", names::suggest(name, known.iter().map(String::as_str))),
            );
        }
        Part::Key => cx.p.hint(span, "`{{ key }}` is only known in a ledger's `verify`", "ledgers come with a later version"),
        _ => cx.p.hint(span, "only ${secret:NAME} can be inserted here", "`{{ … }}` works in requests"),
    }
}
