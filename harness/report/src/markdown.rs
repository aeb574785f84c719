//! `markdown`: a step summary for pipelines: the end block and a small table, and at most ten annotations. Must not let a
//! name from outside become markup or a workflow command.

use crate::evidence::{Row, compares, head, rows, status};
use crate::style::clean;
use crate::{precision, words};
use serde_json::Value;
use shakedown_core::decision::{Decision, Status, Verdict};
use shakedown_core::event::Event;
use shakedown_core::plan::Plan;
use shakedown_core::seams::{Kind, Reporter};
use shakedown_core::tree::{Node, Problems};
use std::io;

/// Most annotations a run may leave in a pipeline.
pub const ANNOTATIONS: usize = 10;

/// The decision as Markdown.
#[derive(Debug)]
pub struct Markdown;

impl Kind for Markdown {
    fn name(&self) -> &'static str {
        "markdown"
    }
    fn about(&self) -> &'static str {
        "a step summary for pipelines: verdict, why and a small table"
    }
    fn schema(&self) -> Value {
        crate::no_parameters()
    }
    fn parse(&self, node: &Node, problems: &mut Problems) -> Option<Value> {
        crate::parse_nothing(node, problems)
    }
}

impl Reporter for Markdown {
    fn file(&self) -> &'static str {
        "summary.md"
    }
    fn finish(&self, plan: &Plan, _: &mut dyn Iterator<Item = Event>, decision: &Decision, out: &mut dyn io::Write) -> io::Result<()> {
        writeln!(out, "## {}: {}\n", words::verdict(plan, decision), escape(&words::headline(decision)))?;
        let scenario = escape(&clean(&decision.scenario));
        writeln!(out, "Scenario {scenario}, seed {}, exit {}\n", decision.seed, u8::from(decision.exit))?;
        let judged = !words::nothing_judged(decision);
        let sections = [
            ("Why", words::why(decision)),
            ("Way back", if judged { words::way_back(plan, decision) } else { Vec::new() }),
            ("Valid", if judged { vec![words::valid(decision)] } else { Vec::new() }),
            ("Generator", if judged { precision::sentence(decision).into_iter().collect() } else { Vec::new() }),
            ("Next", words::next(decision, "")),
        ];
        for (label, texts) in sections.iter().filter(|(_, texts)| !texts.is_empty()) {
            let told: Vec<String> = texts.iter().map(|t| escape(t)).collect();
            writeln!(out, "- **{label}:** {}", told.join("<br>"))?;
        }
        if judged { table(plan, &rows(plan, decision), out) } else { Ok(()) }
    }
    fn as_kind(&self) -> &dyn Kind {
        self
    }
}

fn table(plan: &Plan, rows: &[Row], out: &mut dyn io::Write) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let control = compares(plan);
    let names = head(plan, control);
    let right = |name: &str| matches!(name, "control" | "canary" | "value" | "samples");
    let rule: Vec<&str> = names.iter().map(|n| if right(n) { "--:" } else { "---" }).collect();
    writeln!(out, "\n| {} |\n|{}|", names.iter().map(|n| capital(n)).collect::<Vec<_>>().join(" | "), rule.join("|"))?;
    for row in rows {
        let cells: Vec<String> = row.cells(control).iter().map(|c| escape(c)).collect();
        writeln!(out, "| {} |", cells.join(" | "))?;
    }
    Ok(())
}

fn capital(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// Workflow commands for GitHub (`::error …`), one a line, to be printed by the caller: what failed first, then what
/// could not be decided; at most [`ANNOTATIONS`].
#[must_use]
pub fn annotations(plan: &Plan, decision: &Decision) -> Vec<String> {
    let line = |level: &str, title: &str, text: &str| format!("::{level} title={}::{}", command(title, true), command(text, false));
    let told: Vec<Row> = if words::nothing_judged(decision) { Vec::new() } else { rows(plan, decision) };
    let of = |wanted: fn(Status) -> bool, level: &'static str| {
        let chosen = told.iter().filter(move |r| wanted(r.status));
        chosen.map(move |r| line(level, &format!("{}: {}", r.name, status(r.status)), &r.text)).collect::<Vec<_>>()
    };
    let mut all = of(|s| s == Status::Fail, "error");
    let backs = decision.rollbacks.iter().filter(|b| b.status != "ok");
    all.extend(backs.map(|b| line("error", "rollback", &words::one_way_back(plan, b))));
    let faults = decision.faults.iter().filter(|f| f.status != "hit" && f.status != "not_reached");
    all.extend(faults.map(|f| line("error", "fault", &words::fault(f))));
    all.extend(of(|s| matches!(s, Status::Inconclusive | Status::Nodata), "warning"));
    // A run that was not trusted, halted or never began fails without any objective at fault.
    if !all.iter().any(|l| l.starts_with("::error")) && matches!(decision.verdict, Verdict::Rollback | Verdict::Invalid | Verdict::Halted) {
        let why = format!("{} {}", words::headline(decision), words::why(decision).join("; "));
        all.insert(0, line("error", words::verdict(plan, decision), &why));
    }
    all.truncate(ANNOTATIONS);
    all
}

/// Escapes for a workflow command's message or property.
fn command(text: &str, property: bool) -> String {
    let text = clean(text).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    if property { text.replace(':', "%3A").replace(',', "%2C") } else { text }
}

/// Makes text inert: markup, HTML and mentions show as written.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '@' => out.push_str("&#64;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '!' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}
