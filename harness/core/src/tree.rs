//! The positioned tree a scenario is read into, and the way it is decoded by hand: `take`, `need`, `finish`, every
//! problem collected. Must not read YAML: `scenario` builds the tree.

use crate::units::{Ppm, Quantile, Rate, Span};
use serde_json::Value;
use std::collections::BTreeSet;
use std::ops::Range;

/// A value and where it stands (byte offsets into the source).
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where.
    pub span: Range<usize>,
    /// What.
    pub tree: Tree,
}

/// A YAML value.
#[derive(Clone, Debug, PartialEq)]
pub enum Tree {
    /// `null`, `~` or nothing.
    Null,
    /// A scalar after substitution.
    Scalar {
        /// Its text.
        text: String,
        /// Written in quotes (never a number or boolean).
        quoted: bool,
    },
    /// A list.
    Seq(Vec<Node>),
    /// A map in file order: key, where the key stands, value.
    Map(Vec<(String, Range<usize>, Node)>),
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// All mistakes found so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

/// A map being decoded: every key is taken once, what is left is unknown.
pub struct Fields<'a> {
    what: &'a str,
    node: &'a Node,
    entries: &'a [(String, Range<usize>, Node)],
    taken: BTreeSet<&'static str>,
    owned: BTreeSet<String>,
}

// === impl Problems ===

impl Problems {
    /// Adds a mistake.
    pub fn add(&mut self, span: &Range<usize>, message: impl Into<String>) {
        self.0.push(Problem { span: span.clone(), message: message.into(), hint: None });
    }

    /// Adds a mistake and what to do about it.
    pub fn hint(&mut self, span: &Range<usize>, message: impl Into<String>, hint: impl Into<String>) {
        self.0.push(Problem { span: span.clone(), message: message.into(), hint: Some(hint.into()) });
    }

    /// Adds "not available yet" for a capability that is in the language but not in this version.
    pub fn later(&mut self, span: &Range<usize>, what: &str) {
        self.hint(
            span,
            format!("{what} is not available yet"),
            "it is part of the language and comes with a later version; see `shakedown kinds`",
        );
    }

    /// None so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

// === impl Node ===

impl Node {
    /// Decodes a map; `what` names it in messages. A non-map is a problem and reads as an empty map.
    pub fn fields<'a>(&'a self, what: &'a str, problems: &mut Problems) -> Fields<'a> {
        let entries: &[(String, Range<usize>, Node)] = match &self.tree {
            Tree::Map(entries) => entries,
            _ => {
                problems.add(&self.span, format!("{what} must be a map, not {}", self.describe()));
                &[]
            }
        };
        Fields { what, node: self, entries, taken: BTreeSet::new(), owned: BTreeSet::new() }
    }

    /// What kind of value this is, for messages.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.tree {
            Tree::Null => "nothing".into(),
            Tree::Scalar { text, .. } => format!("`{text}`"),
            Tree::Seq(_) => "a list".into(),
            Tree::Map(_) => "a map".into(),
        }
    }

    /// Its text, when it is a scalar.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.tree {
            Tree::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// A scalar's text, else a problem.
    pub fn string(&self, what: &str, problems: &mut Problems) -> Option<String> {
        let text = self.text().map(str::to_owned);
        if text.is_none() {
            problems.add(&self.span, format!("{what} must be a text, not {}", self.describe()));
        }
        text
    }

    /// A scalar read by `read`, whose error becomes a problem.
    pub fn scalar<T>(&self, what: &str, problems: &mut Problems, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = self.string(what, problems)?;
        match read(&text) {
            Ok(value) => Some(value),
            Err(why) => {
                problems.add(&self.span, format!("{what}: {why}"));
                None
            }
        }
    }

    /// A duration.
    pub fn duration(&self, what: &str, problems: &mut Problems) -> Option<Span> {
        self.scalar(what, problems, Span::parse)
    }

    /// A rate.
    pub fn rate(&self, what: &str, problems: &mut Problems) -> Option<Rate> {
        self.scalar(what, problems, Rate::parse)
    }

    /// A share with `%`.
    pub fn share(&self, what: &str, problems: &mut Problems) -> Option<Ppm> {
        self.scalar(what, problems, Ppm::parse)
    }

    /// A quantile.
    pub fn quantile(&self, what: &str, problems: &mut Problems) -> Option<Quantile> {
        self.scalar(what, problems, Quantile::parse)
    }

    /// A whole number in `range`.
    pub fn integer(&self, what: &str, range: Range<u64>, problems: &mut Problems) -> Option<u64> {
        self.scalar(what, problems, |text| {
            let value: u64 = text.parse().map_err(|_| format!("`{text}` is not a whole number"))?;
            if range.contains(&value) {
                Ok(value)
            } else {
                Err(format!("{value} is out of range; it must be {} to {}", range.start, range.end - 1))
            }
        })
    }

    /// `true` or `false`.
    pub fn boolean(&self, what: &str, problems: &mut Problems) -> Option<bool> {
        self.scalar(what, problems, |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(format!("`{text}` is neither true nor false")),
        })
    }

    /// A list's items, else a problem.
    pub fn items(&self, what: &str, problems: &mut Problems) -> &[Node] {
        match &self.tree {
            Tree::Seq(items) => items,
            _ => {
                problems.add(&self.span, format!("{what} must be a list, not {}", self.describe()));
                &[]
            }
        }
    }

    /// As JSON: plain scalars become numbers, booleans and null, quoted ones stay texts.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match &self.tree {
            Tree::Null => Value::Null,
            Tree::Scalar { text, quoted: true } => Value::String(text.clone()),
            Tree::Scalar { text, quoted: false } => match text.as_str() {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                "null" | "~" | "" => Value::Null,
                _ => text
                    .parse::<i64>()
                    .map(Value::from)
                    .or_else(|_| text.parse::<f64>().ok().filter(|v| v.is_finite()).map(Value::from).ok_or(()))
                    .unwrap_or_else(|()| Value::String(text.clone())),
            },
            Tree::Seq(items) => Value::Array(items.iter().map(Node::to_json).collect()),
            Tree::Map(entries) => Value::Object(entries.iter().map(|(k, _, v)| (k.clone(), v.to_json())).collect()),
        }
    }
}

// === impl Fields ===

impl<'a> Fields<'a> {
    /// The value under `key`, if given (an explicit null counts as not given).
    pub fn take(&mut self, key: &'static str) -> Option<&'a Node> {
        self.taken.insert(key);
        self.entries.iter().find(|(k, ..)| k == key).map(|(.., v)| v).filter(|v| v.tree != Tree::Null)
    }

    /// The value under `key`, else a problem.
    pub fn need(&mut self, key: &'static str, problems: &mut Problems) -> Option<&'a Node> {
        let found = self.take(key);
        if found.is_none() && matches!(self.node.tree, Tree::Map(_)) {
            problems.add(&self.node.span, format!("{} needs `{key}`", self.what));
        }
        found
    }

    /// Allows keys known only at run time (fault kinds, for one) and gives the first present.
    pub fn take_one_of(&mut self, names: impl Iterator<Item = String>) -> Vec<(String, Range<usize>, &'a Node)> {
        let names: BTreeSet<String> = names.collect();
        let found = self.entries.iter().filter(|(k, ..)| names.contains(k)).map(|(k, s, v)| (k.clone(), s.clone(), v)).collect();
        self.owned.extend(names);
        found
    }

    /// Where a key stands, for messages about the key itself.
    #[must_use]
    pub fn key_span(&self, key: &str) -> Range<usize> {
        self.entries.iter().find(|(k, ..)| k == key).map_or(self.node.span.clone(), |(_, s, _)| s.clone())
    }

    /// Reports keys nobody took, with a suggestion.
    pub fn finish(self, problems: &mut Problems) {
        for (key, span, _) in self.entries {
            if self.taken.contains(key.as_str()) || self.owned.contains(key) {
                continue;
            }
            let known = self.taken.iter().copied().chain(self.owned.iter().map(String::as_str));
            let best = known.map(|k| (strsim::damerau_levenshtein(k, key), k)).min();
            let hint = match best {
                Some((distance, near)) if distance <= 1 + key.len() / 3 => format!("did you mean `{near}`?"),
                _ => {
                    let mut all: Vec<&str> = self.taken.iter().copied().chain(self.owned.iter().map(String::as_str)).collect();
                    all.sort_unstable();
                    format!("known keys: {}", all.join(", "))
                }
            };
            problems.hint(span, format!("unknown key `{key}` in {}", self.what), hint);
        }
    }
}
