//! `${NAME}`, `${NAME:-default}`, `$${` and `${secret:NAME}` in scalars, after parsing. Secrets stay references; their
//! values go to [`Secrets`]. Keys are never replaced.

use crate::source::Source;
use crate::yaml;
use shakedown_core::Secrets;
use shakedown_core::tree::{Node, Problems, Tree};
use std::ops::Range;
use std::path::Path;

/// Longest value a variable may bring in.
const MAX_VALUE: usize = 64 << 10;

/// Secrets found so far and their names.
#[derive(Default)]
pub struct Found {
    /// Values.
    pub secrets: Secrets,
    /// Names, sorted and unique at the end.
    pub names: Vec<String>,
    /// Scalars that could not be replaced: what else is wrong with their text is not said.
    pub broken: Vec<Range<usize>>,
}

/// Replaces references in the whole tree.
pub fn substitute(node: &mut Node, source: &Source, found: &mut Found, problems: &mut Problems) {
    match &mut node.tree {
        Tree::Null => {}
        Tree::Seq(items) => items.iter_mut().for_each(|n| substitute(n, source, found, problems)),
        Tree::Map(entries) => entries.iter_mut().for_each(|(.., n)| substitute(n, source, found, problems)),
        Tree::Scalar { text, quoted } => {
            if text.contains("${") {
                let before = problems.0.len();
                let new = replace(text, &node.span, source, found, problems);
                if problems.0.len() > before {
                    found.broken.push(node.span.clone());
                }
                node.tree = if *quoted { Tree::Scalar { text: new, quoted: true } } else { yaml::plain(&new) };
            }
        }
    }
}

fn replace(text: &str, span: &Range<usize>, source: &Source, found: &mut Found, problems: &mut Problems) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            out.push_str(&rest[..at - 1]);
            out.push_str("${");
            rest = &rest[at + 2..];
            if rest.starts_with("secret:") {
                problems.add(span, "`${secret:` cannot be written literally");
            }
            continue;
        }
        out.push_str(&rest[..at]);
        let inside = &rest[at + 2..];
        let Some(end) = inside.find('}') else {
            problems.hint(span, "`${` is not closed", "write ${NAME} or, for a literal, $${");
            return out;
        };
        reference(&inside[..end], span, source, found, problems, &mut out);
        rest = &inside[end + 1..];
    }
    out.push_str(rest);
    out
}

fn reference(inside: &str, span: &Range<usize>, source: &Source, found: &mut Found, problems: &mut Problems, out: &mut String) {
    let (name, default) = inside.split_once(":-").map_or((inside, None), |(n, d)| (n, Some(d)));
    if let Some(secret) = inside.strip_prefix("secret:") {
        if check_name(secret, span, problems) && remember(secret, span, source, found, problems) {
            out.push_str(&format!("${{secret:{secret}}}"));
        }
        return;
    }
    if !check_name(name, span, problems) {
        return;
    }
    let value = source.set.get(name).cloned().or_else(|| (source.env)(name)).or_else(|| default.map(str::to_owned));
    match value {
        Some(value) if value.contains("${secret:") => {
            problems.hint(span, format!("the value of `{name}` refers to a secret"), "write ${secret:NAME} in the scenario itself");
        }
        Some(value) if value.len() > MAX_VALUE => problems.add(span, format!("the value of `{name}` is longer than {MAX_VALUE} bytes")),
        Some(value) => out.push_str(&value),
        None => problems.hint(
            span,
            format!("`{name}` is not set"),
            format!("set it in the environment or with --set {name}=…, or write ${{{name}:-default}}"),
        ),
    }
}

fn check_name(name: &str, span: &Range<usize>, problems: &mut Problems) -> bool {
    let valid =
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !valid {
        problems.hint(span, format!("`{name}` is not a variable's name"), "write ${NAME}, ${NAME:-default} or ${secret:NAME}");
    }
    valid
}

/// Looks a secret up in the environment, then in the file `NAME_FILE` names; never in `--set`.
fn remember(name: &str, span: &Range<usize>, source: &Source, found: &mut Found, problems: &mut Problems) -> bool {
    if found.names.iter().any(|n| n == name) {
        return true;
    }
    let value = match ((source.env)(name).filter(|v| !v.is_empty()), (source.env)(&format!("{name}_FILE"))) {
        (Some(value), _) => Ok(value),
        (None, Some(path)) => from_file(&path, source).map_err(|why| format!("the secret `{name}`: {name}_FILE cannot be used: {why}")),
        (None, None) => Err(format!("the secret `{name}` is not set")),
    };
    let value = match value {
        Ok(value) => value,
        Err(why) => {
            let hint = format!("set {name} in the environment, or {name}_FILE to a file that holds it; --set is not used for secrets");
            problems.hint(span, why, hint);
            return false;
        }
    };
    found.secrets.insert(name, &value);
    found.names.push(name.to_owned());
    true
}

/// A secret from a file, less the line end.
fn from_file(path: &str, source: &Source) -> Result<String, String> {
    let bytes = source.files.read(Path::new(path)).map_err(|e| e.to_string())?;
    if bytes.len() > MAX_VALUE {
        return Err(format!("it is larger than {MAX_VALUE} bytes"));
    }
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    let value = text.trim_end_matches(['\n', '\r']).to_owned();
    if value.is_empty() { Err("it is empty".into()) } else { Ok(value) }
}
