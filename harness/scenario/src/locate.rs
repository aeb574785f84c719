//! Where a problem stands, for people: line, column, snippet. Must not change what is wrong.

use shakedown_core::tree::{Problem, Problems};
use std::fmt::Write;
use std::path::Path;

/// Longest part of a source line that is shown.
const MAX_SNIPPET: usize = 160;

/// Line and column (both from 1, columns in characters) of a byte offset; past the end gives the end.
#[must_use]
pub fn line_column(text: &str, offset: usize) -> (usize, usize) {
    let end = (0..=offset.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    let before = &text[..end];
    let start = before.rfind('\n').map_or(0, |i| i + 1);
    (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
}

/// All problems as text, in the order of the file: place, message, the line it stands on, hint.
#[must_use]
pub fn render(problems: &Problems, path: &Path, text: &str) -> String {
    let mut sorted: Vec<&Problem> = problems.0.iter().collect();
    sorted.sort_by_key(|p| p.span.start);
    let mut out = String::new();
    for problem in sorted {
        one(problem, path, text, &mut out);
    }
    out
}

fn one(problem: &Problem, path: &Path, text: &str, out: &mut String) {
    let (line, column) = line_column(text, problem.span.start);
    let _ = writeln!(out, "{}:{line}:{column}: {}", path.display(), problem.message);
    // Long lines are shown around the place.
    let skipped = (column - 1).saturating_sub(MAX_SNIPPET / 2);
    let column = column - skipped;
    let source: String = text.lines().nth(line - 1).unwrap_or_default().chars().skip(skipped).take(MAX_SNIPPET).collect();
    if column <= source.chars().count() + 1 {
        let end = problem.span.end.min(text.len()).max(problem.span.start);
        let width = text.get(problem.span.start..end).map_or(1, |s| s.lines().next().unwrap_or_default().chars().count());
        let room = source.chars().count().saturating_sub(column - 1).max(1);
        let gutter = line.to_string();
        let blank = " ".repeat(gutter.len());
        let indent: String = source.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let _ = writeln!(out, " {gutter} | {source}\n {blank} | {indent}{}", "^".repeat(width.clamp(1, room)));
    }
    if let Some(hint) = &problem.hint {
        let _ = writeln!(out, "   hint: {hint}");
    }
}
