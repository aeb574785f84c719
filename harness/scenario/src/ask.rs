//! Short ways to ask a map for typed values, bounds included. Must not know what any key is for.

use crate::names;
use shakedown_core::tree::{Fields, Node, Problems, Tree};
use shakedown_core::units::{Ppm, Rate, Span};
use std::ops::Range;

/// Most items of a list and most entries of a map.
pub const MAX_ITEMS: usize = 10_000;

/// Typed questions to a map. A key that is not given answers `None` without a problem.
pub trait Ask<'a> {
    /// A text.
    fn text(&mut self, key: &'static str, p: &mut Problems) -> Option<String>;
    /// A duration.
    fn duration(&mut self, key: &'static str, p: &mut Problems) -> Option<Span>;
    /// A duration above zero.
    fn positive(&mut self, key: &'static str, p: &mut Problems) -> Option<Span>;
    /// A rate.
    fn rate(&mut self, key: &'static str, p: &mut Problems) -> Option<Rate>;
    /// A share.
    fn share(&mut self, key: &'static str, p: &mut Problems) -> Option<Ppm>;
    /// A whole number.
    fn whole(&mut self, key: &'static str, range: Range<u64>, p: &mut Problems) -> Option<u64>;
    /// True or false.
    fn flag(&mut self, key: &'static str, p: &mut Problems) -> Option<bool>;
    /// One of a few words.
    fn choice(&mut self, key: &'static str, words: &[&str], p: &mut Problems) -> Option<String>;
    /// A list, bounded.
    fn list(&mut self, key: &'static str, p: &mut Problems) -> &'a [Node];
    /// A map keyed by name, bounded, names checked.
    fn named(&mut self, key: &'static str, p: &mut Problems) -> Vec<(&'a str, &'a Range<usize>, &'a Node)>;
    /// Reports a key whose capability comes later; true when it is there.
    fn later(&mut self, key: &'static str, p: &mut Problems) -> bool;
}

impl<'a> Ask<'a> for Fields<'a> {
    fn text(&mut self, key: &'static str, p: &mut Problems) -> Option<String> {
        self.take(key).and_then(|n| n.string(key, p))
    }

    fn duration(&mut self, key: &'static str, p: &mut Problems) -> Option<Span> {
        self.take(key).and_then(|n| n.duration(key, p))
    }

    fn positive(&mut self, key: &'static str, p: &mut Problems) -> Option<Span> {
        let node = self.take(key)?;
        let span = node.duration(key, p)?;
        if span == Span::ZERO {
            p.add(&node.span, format!("{key} must be longer than 0s"));
        }
        Some(span)
    }

    fn rate(&mut self, key: &'static str, p: &mut Problems) -> Option<Rate> {
        self.take(key).and_then(|n| n.rate(key, p))
    }

    fn share(&mut self, key: &'static str, p: &mut Problems) -> Option<Ppm> {
        self.take(key).and_then(|n| share(n, key, p))
    }

    fn whole(&mut self, key: &'static str, range: Range<u64>, p: &mut Problems) -> Option<u64> {
        self.take(key).and_then(|n| n.integer(key, range, p))
    }

    fn flag(&mut self, key: &'static str, p: &mut Problems) -> Option<bool> {
        self.take(key).and_then(|n| n.boolean(key, p))
    }

    fn choice(&mut self, key: &'static str, words: &[&str], p: &mut Problems) -> Option<String> {
        self.take(key).and_then(|n| choice(n, key, words, p))
    }

    fn list(&mut self, key: &'static str, p: &mut Problems) -> &'a [Node] {
        self.take(key).map_or(&[], |n| items(n, key, p))
    }

    fn named(&mut self, key: &'static str, p: &mut Problems) -> Vec<(&'a str, &'a Range<usize>, &'a Node)> {
        let Some(node) = self.take(key) else { return Vec::new() };
        let found = entries(node, key, p);
        for (name, span, _) in &found {
            names::check(name, span, p);
        }
        found
    }

    fn later(&mut self, key: &'static str, p: &mut Problems) -> bool {
        let there = self.take(key).is_some();
        if there {
            p.later(&self.key_span(key), &format!("`{key}`"));
        }
        there
    }
}

/// A share; the hint of the unit's own error becomes the problem's hint.
pub fn share(node: &Node, what: &str, p: &mut Problems) -> Option<Ppm> {
    let text = node.string(what, p)?;
    Ppm::parse(&text).map_err(|why| with_hint(node, what, &why, p)).ok()
}

/// Splits `cause; what to do` into message and hint.
pub fn with_hint(node: &Node, what: &str, why: &str, p: &mut Problems) {
    match why.split_once("; ") {
        Some((cause, hint)) => p.hint(&node.span, format!("{what}: {cause}"), hint),
        None => p.add(&node.span, format!("{what}: {why}")),
    }
}

/// One of a few words, with a suggestion.
pub fn choice(node: &Node, what: &str, words: &[&str], p: &mut Problems) -> Option<String> {
    let text = node.string(what, p)?;
    if words.contains(&text.as_str()) {
        return Some(text);
    }
    p.hint(&node.span, format!("`{text}` is not a value of {what}"), names::suggest(&text, words.iter().copied()));
    None
}

/// A list's items, bounded.
pub fn items<'a>(node: &'a Node, what: &str, p: &mut Problems) -> &'a [Node] {
    let all = node.items(what, p);
    if all.len() > MAX_ITEMS {
        p.add(&node.span, format!("{what} has {} items; at most {MAX_ITEMS} are allowed", all.len()));
        return &[];
    }
    all
}

/// A map's entries, bounded, with nothing known about the keys.
pub fn entries<'a>(node: &'a Node, what: &str, p: &mut Problems) -> Vec<(&'a str, &'a Range<usize>, &'a Node)> {
    match &node.tree {
        Tree::Map(all) if all.len() > MAX_ITEMS => {
            p.add(&node.span, format!("{what} has {} entries; at most {MAX_ITEMS} are allowed", all.len()));
            Vec::new()
        }
        Tree::Map(all) => all.iter().map(|(k, s, n)| (k.as_str(), s, n)).collect(),
        _ => {
            p.add(&node.span, format!("{what} must be a map, not {}", node.describe()));
            Vec::new()
        }
    }
}

/// A list of texts with their places.
pub fn texts<'a>(node: &'a Node, what: &str, p: &mut Problems) -> Vec<(String, &'a Node)> {
    items(node, what, p).iter().filter_map(|n| n.string(what, p).map(|t| (t, n))).collect()
}

/// The same, when a single text may stand for a list of one.
pub fn one_or_more<'a>(node: &'a Node, what: &str, p: &mut Problems) -> Vec<(String, &'a Node)> {
    match node.text() {
        Some(text) => vec![(text.to_owned(), node)],
        None => texts(node, what, p),
    }
}
