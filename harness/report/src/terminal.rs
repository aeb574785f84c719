//! The final block on a terminal or in a log: verdict, why, way back, valid, next, and a table of objectives. Must not
//! print; it gives the text.

use crate::evidence::{compares, head as columns_of, rows, status_tone};
pub use crate::style::Style;
use crate::style::{Tone, columns, pad, wrap};
use crate::table::Table;
use crate::{precision, words};
use shakedown_core::{Decision, Plan};

/// Columns of the labels on the left.
const LABEL: usize = 11;

/// The final block, ending in a line break. `run_dir` is where the run's files are; empty when there are none.
#[must_use]
pub fn end_block(plan: &Plan, decision: &Decision, run_dir: &str, style: Style) -> String {
    let mut lines = head(plan, decision, style);
    section(&mut lines, "why", &words::why(decision), style);
    if words::nothing_judged(decision) {
        section(&mut lines, "next", &words::next(decision, run_dir), style);
        return lines.join("\n") + "\n";
    }
    section(&mut lines, "way back", &words::way_back(plan, decision), style);
    section(&mut lines, "valid", &[words::valid(decision)], style);
    section(&mut lines, "generator", precision::sentence(decision).as_slice(), style);
    section(&mut lines, "next", &words::next(decision, run_dir), style);
    let rows = rows(plan, decision);
    if !rows.is_empty() {
        lines.push(String::new());
        let tones = rows.iter().map(|r| status_tone(r.status)).collect();
        let control = compares(plan);
        let cells = rows.iter().map(|r| r.cells(control).iter().map(|c| style.fit(c)).collect()).collect();
        let names = columns_of(plan, control);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        lines.extend(Table { head: &names, rows: cells, toned: (1, tones) }.lines(style));
    }
    lines.join("\n") + "\n"
}

fn head(plan: &Plan, decision: &Decision, style: Style) -> Vec<String> {
    let verdict = words::verdict(plan, decision);
    let exit = format!("exit {}", u8::from(decision.exit));
    let headline = style.fit(&words::headline(decision));
    let indent = columns(verdict).max(LABEL - 2) + 2;
    let room = style.columns().saturating_sub(indent);
    let painted = style.paint(words::tone(decision), &pad(verdict, indent));
    if columns(&headline) + columns(&exit) + 2 <= room {
        return vec![format!("{painted}{}{exit}", pad(&headline, room - columns(&exit)))];
    }
    let gap = " ".repeat(style.columns().saturating_sub(indent + columns(&exit)));
    let mut lines = vec![format!("{painted}{gap}{exit}")];
    lines.extend(wrap(&headline, style.columns() - 1).into_iter().map(|l| format!(" {}", style.paint(Tone::Strong, &l))));
    lines
}

fn section(lines: &mut Vec<String>, label: &str, texts: &[String], style: Style) {
    let mut label = style.paint(Tone::Quiet, &pad(&format!(" {label}"), LABEL));
    for text in texts {
        for line in wrap(&style.fit(text), style.columns() - LABEL) {
            lines.push(format!("{label}{line}"));
            label = " ".repeat(LABEL);
        }
    }
}
