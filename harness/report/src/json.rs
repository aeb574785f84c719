//! `json`: the decision record itself, indented, keys in the record's order. Must not add or leave out a field.

use serde_json::Value;
use shakedown_core::decision::Decision;
use shakedown_core::event::Event;
use shakedown_core::plan::Plan;
use shakedown_core::seams::{Kind, Reporter};
use shakedown_core::tree::{Node, Problems};
use std::io;

/// The decision as JSON.
#[derive(Debug)]
pub struct Json;

impl Kind for Json {
    fn name(&self) -> &'static str {
        "json"
    }
    fn about(&self) -> &'static str {
        "the decision record, for programs"
    }
    fn schema(&self) -> Value {
        crate::no_parameters()
    }
    fn parse(&self, node: &Node, problems: &mut Problems) -> Option<Value> {
        crate::parse_nothing(node, problems)
    }
}

impl Reporter for Json {
    fn file(&self) -> &'static str {
        "decision.json"
    }
    fn finish(&self, _: &Plan, _: &mut dyn Iterator<Item = Event>, decision: &Decision, out: &mut dyn io::Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, decision)?;
        out.write_all(b"\n")
    }
    fn as_kind(&self) -> &dyn Kind {
        self
    }
}
