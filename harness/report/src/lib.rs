//! What people and pipelines see: the terminal, the live view, the plan, and one report format a file. Every format
//! reads events and the decision; none computes a verdict, reads a clock, or opens a socket.

mod charts;
mod evidence;
mod gather;
mod html;
mod json;
mod junit;
pub mod live;
pub mod markdown;
mod params;
pub mod precision;
mod style;
mod table;
pub mod terminal;
pub mod timeline;
pub mod units;
mod words;

pub use html::Html;
pub use json::Json;
pub use junit::Junit;
pub use markdown::Markdown;
pub use style::Style;
pub use words::{REPLAY_FILE, nothing_judged};

use shakedown_core::seams::Reporter;
use shakedown_core::tree::{Node, Problems, Tree};

/// Every format, by the name used in `report RUN --format …`.
pub const KINDS: &[&dyn Reporter] = &[&Json, &Junit, &Markdown, &Html];

/// The schema of a format's parameters: it takes none.
fn no_parameters() -> serde_json::Value {
    serde_json::json!({"type": "null"})
}

/// Refuses parameters, since no format takes any.
fn parse_nothing(node: &Node, problems: &mut Problems) -> Option<serde_json::Value> {
    if node.tree == Tree::Null {
        return Some(serde_json::Value::Null);
    }
    problems.add(&node.span, "a report format takes no parameters".to_owned());
    None
}
