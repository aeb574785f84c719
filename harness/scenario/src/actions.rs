//! `setup`, `teardown` and `rollback.before`: commands and single requests to whole URLs.

use crate::ask;
use crate::cx::Cx;
use crate::templates::Scope;
use crate::{names, requests, services};
use shakedown_core::plan::Action;
use shakedown_core::tree::{Node, Tree};

/// Decodes a list of actions; a single one may stand for a list of one.
pub fn decode(node: &Node, what: &str, cx: &mut Cx) -> Vec<Action> {
    match &node.tree {
        Tree::Map(_) => one(node, what, cx).into_iter().collect(),
        _ => ask::items(node, what, &mut cx.p).iter().filter_map(|n| one(n, what, cx)).collect(),
    }
}

fn one(node: &Node, what: &str, cx: &mut Cx) -> Option<Action> {
    let what = format!("{what} step");
    let mut f = node.fields(&what, &mut cx.p);
    if names::child(node, "command").is_some() {
        let command = f.take("command").map(|n| services::command(n, cx));
        f.finish(&mut cx.p);
        return command.map(Action::Command);
    }
    let request = requests::decode(node, &mut f, true, &mut Scope::action(), cx);
    if f.take("capture").is_some() {
        cx.p.hint(&f.key_span("capture"), format!("a {what} has no later step that could use a capture"), "remove it");
    }
    f.finish(&mut cx.p);
    request.map(|r| Action::Request(Box::new(r)))
}
