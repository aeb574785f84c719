//! `html`: one self-contained page that opens from disk, with charts on one time axis. Scripts and styles are embedded and
//! pinned by hash; data from outside is escaped twice over (markup by the template, JSON by [`data::embed`]). Must not
//! load anything from a network, nor compute a verdict.

mod data;
mod view;

use crate::gather::Gathered;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minijinja::{Environment, context};
use serde_json::Value;
use sha2::{Digest, Sha256};
use shakedown_core::decision::Decision;
use shakedown_core::event::Event;
use shakedown_core::plan::Plan;
use shakedown_core::seams::{Kind, Reporter};
use shakedown_core::tree::{Node, Problems};
use std::io;

const PAGE: &str = include_str!("../../assets/page.html.jinja");
const STYLE: &str = include_str!("../../assets/page.css");
const SCRIPT: &str = include_str!("../../assets/page.js");
/// uPlot 1.6.32 as published (MIT, its licence beside it).
const UPLOT: &str = include_str!("../../assets/uplot/uPlot.iife.min.js");
const UPLOT_STYLE: &str = include_str!("../../assets/uplot/uPlot.min.css");

/// The run as one page.
#[derive(Debug)]
pub struct Html;

impl Kind for Html {
    fn name(&self) -> &'static str {
        "html"
    }
    fn about(&self) -> &'static str {
        "one self-contained page with charts, for people"
    }
    fn schema(&self) -> Value {
        crate::no_parameters()
    }
    fn parse(&self, node: &Node, problems: &mut Problems) -> Option<Value> {
        crate::parse_nothing(node, problems)
    }
}

impl Reporter for Html {
    fn file(&self) -> &'static str {
        "report.html"
    }
    fn finish(&self, plan: &Plan, events: &mut dyn Iterator<Item = Event>, decision: &Decision, out: &mut dyn io::Write) -> io::Result<()> {
        let gathered = Gathered::from(plan.slice, events);
        let mut env = Environment::new();
        env.add_template("page.html", PAGE).map_err(io::Error::other)?;
        let template = env.get_template("page.html").map_err(io::Error::other)?;
        let context = context! {
            view => minijinja::value::Serde(view::view(plan, decision, &gathered)),
            data => data::embed(&data::data(plan, decision, &gathered)),
            script => SCRIPT, style => STYLE, uplot => UPLOT, uplot_style => UPLOT_STYLE,
            script_hash => hash(SCRIPT), uplot_hash => hash(UPLOT),
        };
        template.render_captured_to(context, out).map_err(io::Error::other)?;
        Ok(())
    }
    fn as_kind(&self) -> &dyn Kind {
        self
    }
}

/// A script's hash as the page's content security policy names it.
fn hash(script: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(script.as_bytes())))
}
