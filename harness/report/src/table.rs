//! Text tables that fit: aligned columns where the width allows, else one block a row with its labels. Must not cut a
//! cell's text.

use crate::style::{Style, Tone, columns, pad, wrap};

/// Space between columns.
const GAP: usize = 2;
/// Indent of every line.
const INDENT: usize = 1;

/// A table: its head, rows of cells, and the tone of one column's cells.
pub(crate) struct Table<'a> {
    pub head: &'a [&'a str],
    pub rows: Vec<Vec<String>>,
    /// Column whose cells are coloured, with a tone a row.
    pub toned: (usize, Vec<Tone>),
}

impl Table<'_> {
    /// The lines. The last columns move to a line of their own under each row when the width is too small for them.
    pub(crate) fn lines(&self, style: Style) -> Vec<String> {
        if self.rows.is_empty() {
            return Vec::new();
        }
        let widths = self.widths();
        let kept = (2..=self.head.len()).rev().find(|&n| total(&widths[..n]) <= style.columns()).unwrap_or(1);
        let mut out = vec![style.paint(Tone::Quiet, self.line(self.head, &widths[..kept], None, style).trim_end())];
        for (i, row) in self.rows.iter().enumerate() {
            let cells: Vec<&str> = row.iter().map(String::as_str).collect();
            out.push(self.line(&cells, &widths[..kept], self.toned.1.get(i).copied(), style));
            out.extend(self.rest(row, kept, style));
        }
        out
    }

    fn widths(&self) -> Vec<usize> {
        let widest = |i: usize| self.rows.iter().map(|r| columns(&r[i])).max().unwrap_or(0);
        self.head.iter().enumerate().map(|(i, h)| columns(h).max(widest(i))).collect()
    }

    fn line(&self, cells: &[&str], widths: &[usize], tone: Option<Tone>, style: Style) -> String {
        let mut line = " ".repeat(INDENT);
        for (i, width) in widths.iter().enumerate() {
            let padded = pad(cells[i], width + GAP);
            line += &match tone {
                Some(tone) if i == self.toned.0 => style.paint(tone, &padded),
                _ => padded,
            };
        }
        line.trim_end().to_owned()
    }

    /// What did not fit on the row: `label value · label value`, wrapped and indented.
    fn rest(&self, row: &[String], kept: usize, style: Style) -> Vec<String> {
        let told = (kept..row.len()).filter(|&i| !row[i].is_empty());
        let text = style.fit(&told.map(|i| format!("{} {}", self.head[i], row[i])).collect::<Vec<_>>().join(" · "));
        if text.is_empty() {
            return Vec::new();
        }
        let indent = INDENT + 2 + GAP;
        wrap(&text, style.columns() - indent).into_iter().map(|l| style.paint(Tone::Quiet, &format!("{}{l}", " ".repeat(indent)))).collect()
    }
}

fn total(widths: &[usize]) -> usize {
    INDENT + widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)
}
