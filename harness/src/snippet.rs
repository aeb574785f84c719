//! Shows mistakes in a scenario to people: the whole line with the place marked, long lines cut around it, and no more
//! mistakes than anybody reads. Must not change what is wrong.

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, MietteError, MietteSpanContents, Report, Severity, SourceCode,
    SourceSpan, SpanContents,
};
use shakedown_core::tree::{Problem, Problems};
use std::io::IsTerminal;
use std::path::Path;

/// Most mistakes that are shown; the others are counted.
const MAX_SHOWN: usize = 100;
/// Longest message that is shown.
const MAX_MESSAGE: usize = 240;
/// Most of a line shown before and after where the place begins, in bytes.
const AROUND: (usize, usize) = (60, 120);

/// All mistakes, then how many.
pub fn render(problems: &Problems, path: &Path, text: &str) -> String {
    let mut out: String = problems.0.iter().take(MAX_SHOWN).map(|p| one(p, Severity::Error, path, text)).collect();
    let count = problems.0.len();
    if count > MAX_SHOWN {
        out.push_str(&format!("… and {} more. ", count - MAX_SHOWN));
    }
    out.push_str(&format!("{count} problem{}. Nothing was sent. (exit 2)\n", if count == 1 { "" } else { "s" }));
    out
}

/// Warnings; empty when there are none.
pub fn render_warnings(warnings: &[Problem], path: &Path, text: &str) -> String {
    warnings.iter().take(MAX_SHOWN).map(|w| one(w, Severity::Warning, path, text)).collect()
}

fn one(problem: &Problem, severity: Severity, path: &Path, text: &str) -> String {
    let end = problem.span.end.min(text.len());
    let start = problem.span.start.min(end);
    let (_, line_end) = line_of(text, start);
    // A whole map as the place would print the whole map: its first line, as far as it is shown, says enough.
    let end = cut(text, end.min(line_end).min(start + AROUND.1));
    let mut message: String = plain(&problem.message).chars().take(MAX_MESSAGE).collect();
    if message.len() < problem.message.len() {
        message.push('…');
    }
    let mut diagnostic =
        MietteDiagnostic::new(&message).with_label(LabeledSpan::new(problem.hint.clone(), start, end.saturating_sub(start)));
    diagnostic.severity = Some(severity);
    let report = Report::from(diagnostic).with_source_code(Lines { name: path.display().to_string(), text: plain(text) });
    let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let mut out = String::new();
    // One line of context asks `Lines` for the line itself.
    if GraphicalReportHandler::new_themed(theme).with_width(100).with_context_lines(1).render_report(&mut out, report.as_ref()).is_err() {
        out = format!("{}: {message}\n", path.display());
    }
    out
}

/// The text without control characters, which could drive a terminal; as long as before, so that places hold.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_control() && !matches!(c, '\n' | '\r' | '\t') { '?' } else { c }).collect()
}

/// Start and end (without the line break) of the line that holds `at`.
fn line_of(text: &str, at: usize) -> (usize, usize) {
    let at = cut(text, at);
    let start = text[..at].rfind(['\n', '\r']).map_or(0, |i| i + 1);
    (start, text[at..].find(['\n', '\r']).map_or(text.len(), |i| at + i))
}

/// The nearest character boundary at or before `at`.
fn cut(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0)
}

/// A source that shows one line, whatever context is asked for, and counts columns in characters.
struct Lines {
    name: String,
    text: String,
}

impl SourceCode for Lines {
    fn read_span<'a>(&'a self, span: &SourceSpan, before: usize, _after: usize) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let at = cut(&self.text, span.offset());
        let (line_start, line_end) = line_of(&self.text, at);
        let (line, column) = shakedown_scenario::line_column(&self.text, at);
        let (from, to, column) = if before == 0 {
            (at, cut(&self.text, (at + span.len()).min(line_end)).max(at), column - 1)
        } else {
            let from = line_start.max(cut(&self.text, at.saturating_sub(AROUND.0)));
            (from, cut(&self.text, line_end.min(at + AROUND.1)), 0)
        };
        let bytes = &self.text.as_bytes()[from..to];
        Ok(Box::new(MietteSpanContents::new_named(self.name.clone(), bytes, (from, to - from).into(), line - 1, column, 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::render;
    use shakedown_core::tree::Problems;
    use std::path::Path;

    fn shown(text: &str, what: &str) -> String {
        let at = text.find(what).expect("in the text");
        let mut problems = Problems::default();
        problems.hint(&(at..at + what.len()), "wrong", "write it right");
        render(&problems, Path::new("a.yaml"), text)
    }

    #[test]
    fn the_whole_line_is_shown_and_columns_are_characters() {
        let said = shown("a: 1\nb: {é: x, wrnog: 2}\r\nc: 3\n", "wrnog");
        assert!(said.contains("a.yaml:2:11") && said.contains("b: {é: x, wrnog: 2}") && said.contains("write it right"), "{said}");
        assert!(!said.contains("c: 3") && !said.contains("a: 1"), "{said}");
    }

    #[test]
    fn long_lines_messages_and_lists_are_cut() {
        let text = format!("a: {} oops {}\n", "x".repeat(9000), "y".repeat(9000));
        let said = shown(&text, "oops");
        assert!(said.contains(" oops ") && said.len() < 1500, "{said}");
        let said = shown(&text, text.trim());
        assert!(said.len() < 2000, "{said}");
        let mut problems = Problems::default();
        (0..500).for_each(|_| problems.add(&(0..1), "m".repeat(5000)));
        let said = render(&problems, Path::new("a.yaml"), &text);
        assert!(said.contains("… and 400 more. 500 problems.") && said.len() < 200_000, "{}", said.len());
    }

    #[test]
    fn any_place_in_any_text_is_shown() {
        for text in ["", "\n", "é", "a\r\nb", "日本\n語"] {
            for start in 0..=text.len() {
                let mut problems = Problems::default();
                problems.add(&(start..start + 3), "wrong");
                assert!(render(&problems, Path::new("a.yaml"), text).contains("wrong"));
            }
        }
    }
}
