//! The answers file of a `builtin: stub` service, YAML or JSON, decoded to the JSON form the plan documents. Its
//! problems are reported at the scenario's `answers` key, each with the file's own line.

use crate::ask::{self, Ask};
use crate::cx::Cx;
use crate::locate::line_column;
use crate::requests;
use crate::yaml;
use serde_json::{Map, Value, json};
use shakedown_core::tree::{Node, Problems, Tree};
use shakedown_core::units::Span;

/// Longest delay of an answer.
const MAX_DELAY: Span = Span::secs(3600);

/// Decodes the file.
pub fn answers(at: &Node, path: &str, bytes: &[u8], cx: &mut Cx) -> Option<Value> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        cx.p.add(&at.span, format!("`{path}` is not UTF-8"));
        return None;
    };
    let mut own = Problems::default();
    let list = yaml::parse(text, &mut own).map(|root| {
        let items = ask::items(&root, "answers", &mut own);
        if items.is_empty() && own.is_empty() {
            own.add(&root.span, "the list of answers is empty");
        }
        Value::Array(items.iter().map(|n| answer(n, &mut own)).collect())
    });
    let clean = own.is_empty();
    for problem in own.0 {
        let (line, column) = line_column(text, problem.span.start);
        let message = format!("{path}:{line}:{column}: {}", problem.message);
        match problem.hint {
            Some(hint) => cx.p.hint(&at.span, message, hint),
            None => cx.p.add(&at.span, message),
        }
    }
    list.filter(|_| clean)
}

fn answer(node: &Node, p: &mut Problems) -> Value {
    let mut f = node.fields("answer", p);
    let method = f.take("method").and_then(|n| requests::method(n, p)).map_or(Value::Null, Value::String);
    let path = f.take("path").and_then(|n| {
        let text = n.string("path", p)?;
        if !text.starts_with(['/', '*']) {
            p.hint(&n.span, format!("`{text}` is not a path"), "a path starts with `/`; `*` is a wildcard");
        }
        Some(text)
    });
    let status = f.whole("status", 200..600, p).unwrap_or(200);
    let mut headers = Map::new();
    if let Some(all) = f.take("headers") {
        for (name, span, value) in ask::entries(all, "headers", p) {
            requests::header_name(name, span, p);
            headers.insert(name.to_owned(), Value::String(value.string(name, p).unwrap_or_default()));
        }
    }
    let mut body = String::new();
    if let Some(node) = f.take("body") {
        // A map or list is sent as JSON, a text as it stands.
        body = match &node.tree {
            Tree::Scalar { text, .. } => text.clone(),
            _ => {
                if !headers.keys().any(|h| h.eq_ignore_ascii_case("content-type")) {
                    headers.insert("content-type".into(), Value::String("application/json".into()));
                }
                node.to_json().to_string()
            }
        };
    }
    let delay = f.take("delay").and_then(|n| {
        let delay = n.duration("delay", p)?;
        if delay > MAX_DELAY {
            p.add(&n.span, format!("delay is at most {MAX_DELAY}"));
        }
        Some(delay)
    });
    f.finish(p);
    json!({"method": method, "path": path, "status": status, "headers": headers, "body": body, "delay_ns": delay.unwrap_or_default().0})
}
