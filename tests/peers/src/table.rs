//! Figures as tables: Markdown for people, JSON for programs. Must not measure.

use crate::stats::Spread;
use serde::Serialize;
use std::fmt::Write;

/// One value of a table.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cell {
    /// What was measured; `None` when nothing was.
    pub spread: Option<Spread>,
    /// Digits after the point, for people.
    #[serde(skip)]
    pub digits: usize,
}

/// A line of a table.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Whose values these are.
    pub name: String,
    /// As many as there are columns.
    pub cells: Vec<Cell>,
}

/// What shakedown's value is held against.
#[derive(Clone, Debug, Serialize)]
pub struct Goal {
    /// In words, with the limit.
    pub text: String,
    /// The value; `None` when it was not measured.
    pub value: Option<f64>,
    /// Met at or under this.
    pub limit: f64,
}

/// One figure.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    /// Its name for `--only`.
    pub id: &'static str,
    /// What it is about.
    pub title: String,
    /// Under which conditions.
    pub setting: String,
    /// Names of the columns, with units.
    pub columns: Vec<String>,
    /// One a tool.
    pub rows: Vec<Row>,
    /// What is asked of shakedown.
    pub goals: Vec<Goal>,
    /// What has to be known to read it.
    pub notes: Vec<String>,
}

impl Goal {
    /// A goal that `value` is at most `limit`.
    pub fn at_most(text: impl Into<String>, value: Option<f64>, limit: f64) -> Self {
        Self { text: text.into(), value, limit }
    }

    fn verdict(&self) -> &'static str {
        match self.value {
            Some(value) if value <= self.limit => "met",
            Some(_) => "missed",
            None => "not measured",
        }
    }
}

impl Cell {
    fn text(&self) -> String {
        let Some(spread) = self.spread else { return "–".to_string() };
        let number = |n: f64| grouped(n, self.digits);
        match spread.runs {
            1 => number(spread.median),
            _ => format!("{} ({}–{})", number(spread.median), number(spread.min), number(spread.max)),
        }
    }
}

impl Table {
    /// The figure as Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!("## {}\n\n{}\n\n| |", self.title, self.setting);
        for column in &self.columns {
            text += &format!(" {column} |");
        }
        text += "\n|---|";
        text += &"---|".repeat(self.columns.len());
        text.push('\n');
        for row in &self.rows {
            text += &format!("| {} |", row.name);
            for cell in &row.cells {
                text += &format!(" {} |", cell.text());
            }
            text.push('\n');
        }
        text.push('\n');
        for goal in &self.goals {
            let value = goal.value.map_or("–".to_string(), |v| grouped(v, 4).trim_end_matches('0').trim_end_matches('.').to_string());
            let _infallible = writeln!(text, "- {}: {value}: **{}**", goal.text, goal.verdict());
        }
        for note in &self.notes {
            let _infallible = writeln!(text, "- {note}");
        }
        text
    }
}

/// `1234567.8` as `1,234,567.8`.
fn grouped(number: f64, digits: usize) -> String {
    let text = format!("{number:.digits$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |w| ("-", w));
    let mut out = String::from(sign);
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(1_234_567.84, 1), "1,234,567.8");
        assert_eq!(grouped(-999.0, 0), "-999");
        assert_eq!(grouped(0.5, 2), "0.50");
    }

    #[test]
    fn a_goal_is_met_missed_or_not_measured() {
        let goals = [Some(1.0), Some(1.1), None].map(|v| Goal::at_most("x", v, 1.0));
        assert_eq!(goals.each_ref().map(Goal::verdict), ["met", "missed", "not measured"]);
        let spread = Some(Spread { median: 2.0, min: 1.0, max: 3.0, runs: 3 });
        let row = Row { name: "wrk".into(), cells: vec![Cell { spread, digits: 1 }, Cell { spread: None, digits: 0 }] };
        let columns = vec!["a".into(), "b".into()];
        let table = Table { id: "t", title: "T".into(), setting: "s".into(), columns, rows: vec![row], goals: goals.into(), notes: vec![] };
        let text = table.markdown();
        assert!(text.contains("| wrk | 2.0 (1.0–3.0) | – |"), "{text}");
        assert!(text.contains("- x: 1.1: **missed**"), "{text}");
    }
}
