//! The figures, one file each. Each asks the suite for rounds and makes a table of them.

mod cost;
mod http2;
mod memory;
mod merge;
mod pacing;
mod start;
mod truthful;

use crate::suite::{Series, Suite};
use crate::table::{Row, Table};

/// Makes one figure, as one or more tables.
type Figure = fn(&mut Suite) -> Vec<Table>;

/// Every figure by its name for `--only`, in order.
pub const ALL: [(&str, Figure); 9] = [
    ("closed", cost::closed),
    ("journey", cost::journey),
    ("open", pacing::open),
    ("quantum", pacing::quantum),
    ("truth", truthful::held),
    ("stall", truthful::stall),
    ("http2", http2::http2),
    ("memory", memory::memory),
    ("start", start::start),
];

pub use merge::merge;

/// Lines of a table from repeated values.
fn rows(all: &[Series], digits: &[usize]) -> Vec<Row> {
    all.iter().map(|s| Row { name: s.label.clone(), cells: s.cells(digits) }).collect()
}

/// Names of columns.
fn columns(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

/// `a / b`, where both are there.
fn ratio(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    Some(a? / b?)
}
