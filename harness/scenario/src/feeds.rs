//! Data feeds: CSV files, their columns and rows, and how rows are picked.

use crate::ask::Ask;
use crate::cx::Cx;
use shakedown_core::plan::{Feed, Pick};
use shakedown_core::tree::Node;
use std::collections::BTreeSet;
use std::ops::Range;

/// Largest CSV file.
const MAX_CSV: usize = 64 << 20;

/// Decodes one feed.
pub fn decode(name: &str, span: &Range<usize>, node: &Node, cx: &mut Cx) -> Option<Feed> {
    if name == "targets" {
        cx.p.hint(span, "`targets` is a reserved word", "`{{ targets.NAME }}` is a target's URL; rename the feed");
    }
    let what = format!("feed `{name}`");
    let mut f = node.fields(&what, &mut cx.p);
    let later = ["json", "jsonl", "sql", "command"].map(|k| f.later(k, &mut cx.p)).contains(&true);
    let file = if later { f.take("csv") } else { f.need("csv", &mut cx.p) };
    let pick = f.take("pick").and_then(|n| n.scalar("pick", &mut cx.p, pick)).unwrap_or(Pick::Random);
    f.finish(&mut cx.p);
    let file = file?;
    let path = file.string("csv", &mut cx.p)?;
    let bytes = cx.read(file, &path, MAX_CSV)?;
    match read(&bytes) {
        Ok((columns, rows)) => Some(Feed { name: name.to_owned(), csv: path, columns, rows, pick }),
        Err(why) => {
            cx.p.hint(&file.span, format!("`{path}`: {why}"), "the first line names the columns, every other line is a row");
            None
        }
    }
}

fn read(bytes: &[u8]) -> Result<(Vec<String>, u64), String> {
    if bytes.is_empty() {
        return Err("it is empty".into());
    }
    let mut reader = csv::Reader::from_reader(bytes);
    let columns: Vec<String> = reader.headers().map_err(|e| mistake(&e))?.iter().map(str::to_owned).collect();
    if let Some(i) = columns.iter().position(String::is_empty) {
        return Err(format!("column {} has no name", i + 1));
    }
    let unique: BTreeSet<&String> = columns.iter().collect();
    if unique.len() != columns.len() {
        return Err("two columns have the same name".into());
    }
    let mut rows = 0;
    for row in reader.records() {
        row.map_err(|e| mistake(&e))?;
        rows += 1;
    }
    if rows == 0 { Err("there are no rows".into()) } else { Ok((columns, rows)) }
}

/// What is wrong with a row, for people.
fn mistake(error: &csv::Error) -> String {
    let line = |pos: &Option<csv::Position>| pos.as_ref().map_or_else(|| "a line".to_owned(), |p| format!("line {}", p.line()));
    match error.kind() {
        csv::ErrorKind::Utf8 { pos, .. } => format!("{} is not UTF-8", line(pos)),
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
            format!("the row on {} does not fit: it has {len} field(s), the first line names {expected_len} column(s)", line(pos))
        }
        _ => error.to_string(),
    }
}

fn pick(text: &str) -> Result<Pick, String> {
    let zipf = text.strip_prefix("zipf(").and_then(|t| t.strip_suffix(')'));
    match (text, zipf.map(|s| s.trim().parse::<f64>())) {
        ("random", _) => Ok(Pick::Random),
        ("sequential", _) => Ok(Pick::Sequential),
        ("unique", _) => Ok(Pick::Unique),
        (_, Some(Ok(s))) if (0.001..=10.0).contains(&s) => Ok(Pick::Zipf((s * 1000.0).round() as u32)),
        (_, Some(_)) => Err(format!("`{text}` is not an exponent; write zipf(1.1), 0.001 to 10")),
        _ => Err(format!("`{text}` is not a way to pick; write random, sequential, unique or zipf(1.1)")),
    }
}
