//! YAML text into the positioned tree: aliases expanded within a budget, duplicate keys and tags reported. Must not
//! know what any key means.

use granit_parser::{Event, Parser, ScalarStyle, Span, Tag};
use shakedown_core::tree::{Node, Problems, Tree};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

/// Longest text that is read.
pub const MAX_BYTES: usize = 4 << 20;
/// Most nodes of a tree, aliases counted each time they are used.
const MAX_NODES: usize = 100_000;
/// Deepest nesting.
const MAX_DEPTH: usize = 64;

const QUOTE_HINT: &str = "quote a text that holds `{`, `}`, `[`, `]`, `: ` or ` #`";

/// What to do about a text that is not YAML, as far as its reader's words tell.
fn advice(why: &str) -> &'static str {
    if why.contains("tab") {
        "indent with spaces, not with tabs"
    } else if why.contains("anchor") {
        "`*name` repeats what `&name` marks earlier in the file; quote a text that starts with `*`"
    } else if why.contains("recursion") {
        "flatten it: at most 64 levels are read"
    } else if why.contains("unexpected character") {
        "remove the character, or quote the text that holds it"
    } else {
        "look here and just before: indentation, a `[`, `{` or quote that is not closed, or a text with `: `, ` #`, `{` or `[` that needs quotes"
    }
}

/// Reads one document. Problems are added; `None` when there is no tree to go on with.
pub fn parse(text: &str, problems: &mut Problems) -> Option<Node> {
    if text.len() > MAX_BYTES {
        problems.add(&(0..0), format!("the file has {} bytes; at most {MAX_BYTES} are read", text.len()));
        return None;
    }
    let mut options = granit_parser::Options::default();
    options.set_emit_comments(false);
    options.flow_nesting_limit = MAX_DEPTH;
    options.block_nesting_limit = MAX_DEPTH;
    let mut builder = Builder { problems, open: Vec::new(), anchors: BTreeMap::new(), nodes: 0, root: None, documents: 0, text };
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = match next {
            Ok(next) => next,
            Err(error) => {
                let at = error.marker().byte_offset().unwrap_or(0).min(text.len());
                builder.problems.hint(&spot(text, at), format!("this is not YAML: {}", error.info()), advice(&error.info()));
                return None;
            }
        };
        let span = span_of(&span, text.len());
        builder.event(event, span)?;
    }
    if builder.root.is_none() {
        builder.problems.hint(&(0..0), "the file is empty", "`shakedown init` writes a scenario to start from");
    }
    builder.root
}

/// A collection being read.
struct Open {
    start: usize,
    anchor: usize,
    map: bool,
    items: Vec<Node>,
    entries: Vec<(String, Range<usize>, Node)>,
    key: Option<Key>,
    nodes: usize,
    height: usize,
}

/// A key whose value is still to come; `None` text: the value is dropped (a duplicate or a key that is no scalar).
struct Key {
    text: Option<String>,
    span: Range<usize>,
}

/// A finished anchored node with its size and height, so that an alias is judged before it is copied.
struct Anchored {
    node: Node,
    nodes: usize,
    height: usize,
}

struct Builder<'a> {
    problems: &'a mut Problems,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Anchored>,
    nodes: usize,
    root: Option<Node>,
    documents: usize,
    text: &'a str,
}

impl Builder<'_> {
    fn event(&mut self, event: Event, span: Range<usize>) -> Option<()> {
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    self.problems.hint(&span, "a second document in one file", "keep one scenario in a file; remove the `---`");
                    return None;
                }
                Some(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let string = self.tag(tag.as_deref(), &span);
                let tree = scalar(text, style, string);
                self.add(Node { span, tree }, anchor, 1, 1)
            }
            Event::SequenceStart(_, anchor, tag) => self.start(false, anchor, tag.as_deref(), &span),
            Event::MappingStart(_, anchor, tag) => self.start(true, anchor, tag.as_deref(), &span),
            Event::SequenceEnd | Event::MappingEnd => self.end(&span),
            Event::Alias(id) => {
                let Some(found) = self.anchors.get(&id) else {
                    self.problems.add(&span, "an alias inside the very node it names");
                    return None;
                };
                let (nodes, height) = (found.nodes, found.height);
                if self.nodes + nodes > MAX_NODES {
                    self.problems.add(&span, format!("aliases make this larger than {MAX_NODES} values"));
                    return None;
                }
                let node = found.node.clone();
                self.add(node, 0, nodes, height)
            }
            _ => Some(()),
        }
    }

    /// Reports tags; true when the tag makes a scalar a text.
    fn tag(&mut self, tag: Option<&Tag>, span: &Range<usize>) -> bool {
        let Some(tag) = tag else { return false };
        if tag.is_yaml_core_schema_tag("str") {
            return true;
        }
        self.problems.hint(span, format!("the tag `{}` means nothing here", tag.original()), "remove the tag");
        false
    }

    fn start(&mut self, map: bool, anchor: usize, tag: Option<&Tag>, span: &Range<usize>) -> Option<()> {
        self.tag(tag, span);
        if self.open.len() >= MAX_DEPTH {
            self.problems.add(span, format!("nested deeper than {MAX_DEPTH} levels"));
            return None;
        }
        let start = span.start;
        self.open.push(Open { start, anchor, map, items: Vec::new(), entries: Vec::new(), key: None, nodes: 1, height: 1 });
        Some(())
    }

    fn end(&mut self, span: &Range<usize>) -> Option<()> {
        let open = self.open.pop()?;
        let last = if open.map { open.entries.last().map(|(.., v)| v.span.end) } else { open.items.last().map(|n| n.span.end) };
        // Block collections end where the next token stands; their last value ends where they do for a reader.
        let flow = self.text.as_bytes().get(open.start).is_some_and(|b| matches!(b, b'{' | b'['));
        let end = if flow { span.end } else { last.unwrap_or(span.end) };
        let tree = if open.map { Tree::Map(open.entries) } else { Tree::Seq(open.items) };
        self.add(Node { span: open.start..end.max(open.start), tree }, open.anchor, open.nodes, open.height)
    }

    fn add(&mut self, node: Node, anchor: usize, nodes: usize, height: usize) -> Option<()> {
        if self.open.len() + height > MAX_DEPTH {
            self.problems.add(&node.span, format!("nested deeper than {MAX_DEPTH} levels"));
            return None;
        }
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            self.problems.add(&node.span, format!("more than {MAX_NODES} values"));
            return None;
        }
        if anchor != 0 {
            // The copy counts: what is kept is bounded like what is used.
            self.nodes += nodes;
            self.anchors.insert(anchor, Anchored { node: node.clone(), nodes, height });
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Some(());
        };
        open.nodes += nodes;
        open.height = open.height.max(height + 1);
        if !open.map {
            open.items.push(node);
        } else if let Some(key) = open.key.take() {
            if let Some(text) = key.text {
                open.entries.push((text, key.span, node));
            }
        } else {
            self.key(node);
        }
        Some(())
    }

    fn key(&mut self, node: Node) {
        let open = self.open.last_mut().expect("called with a map open");
        let text = match &node.tree {
            Tree::Scalar { text, .. } => Some(text.clone()),
            _ => {
                self.problems.hint(&node.span, format!("{} is not a key", node.describe()), QUOTE_HINT);
                None
            }
        };
        if let Tree::Scalar { text: key, quoted: false } = &node.tree
            && key == "<<"
        {
            self.problems.hint(
                &node.span,
                "merge keys (`<<`) are not part of YAML 1.2",
                "write the keys out, or give the whole value as an alias",
            );
            open.key = Some(Key { text: None, span: node.span });
            return;
        }
        let double = text.as_ref().and_then(|t| open.entries.iter().find(|(k, ..)| k == t));
        let text = if let Some((name, first, _)) = double {
            let (line, _) = crate::locate::line_column(self.text, first.start);
            self.problems.hint(&node.span, format!("`{name}` is given twice"), format!("it is first given on line {line}"));
            None
        } else {
            text
        };
        open.key = Some(Key { text, span: node.span });
    }
}

fn scalar(text: Cow<'_, str>, style: ScalarStyle, string: bool) -> Tree {
    let quoted = string || style != ScalarStyle::Plain;
    if quoted { Tree::Scalar { text: text.into_owned(), quoted } } else { plain(&text) }
}

/// A plain scalar's value: `null`, `~` and nothing are null.
pub fn plain(text: &str) -> Tree {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Tree::Null,
        _ => Tree::Scalar { text: text.to_owned(), quoted: false },
    }
}

fn span_of(span: &Span, len: usize) -> Range<usize> {
    let range = span.byte_range().unwrap_or(0..0);
    let start = range.start.min(len);
    start..range.end.clamp(start, len)
}

/// The character at `at`, so that a snippet has something to point at.
fn spot(text: &str, at: usize) -> Range<usize> {
    let start = (0..=at).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    start..start + text[start..].chars().next().map_or(0, char::len_utf8)
}
