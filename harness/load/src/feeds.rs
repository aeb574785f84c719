//! Data feeds: CSV files read once, and which row an arrival takes. Must not know what rows are used for.

use crate::seeds::Seed;
use shakedown_core::Fail;
use shakedown_core::plan::{Feed, Pick};
use std::fs::File;
use std::io::Read as _;

/// Most rows of one feed.
pub const MAX_ROWS: usize = 5_000_000;
/// Largest file of one feed, bytes.
pub const MAX_BYTES: u64 = 1 << 30;

/// A feed in memory: the columns that templates use, row by row.
#[derive(Debug)]
pub struct Rows {
    name: String,
    columns: Vec<String>,
    cells: Vec<Box<str>>,
    rows: u64,
    pick: Pick,
    /// Cumulative Zipf weights; empty for other picks.
    zipf: Vec<f64>,
}

impl Rows {
    /// Reads the file.
    ///
    /// # Errors
    /// Names the file and, where there is one, the line and the column.
    pub fn read(feed: &Feed) -> Result<Rows, Fail> {
        let at = |why: String| Fail::new(format!("data feed `{}`: {}: {why}", feed.name, feed.csv));
        let file = File::open(&feed.csv).map_err(|e| at(e.to_string()))?;
        let size = file.metadata().map_err(|e| at(e.to_string()))?.len();
        if size > MAX_BYTES {
            return Err(at(format!("{size} bytes; at most {MAX_BYTES}")));
        }
        // It may grow while it is read.
        let mut reader = csv::Reader::from_reader(std::io::BufReader::new(file.take(MAX_BYTES)));
        let columns: Vec<String> = reader.headers().map_err(|e| at(e.to_string()))?.iter().map(|h| h.trim().to_owned()).collect();
        if let Some(missing) = feed.columns.iter().find(|c| !columns.contains(c)) {
            return Err(at(format!("line 1: there is no column `{missing}`; there are {}", columns.join(", "))));
        }
        let mut cells = Vec::new();
        let mut rows = 0;
        for record in reader.records() {
            let record = record.map_err(|e| at(e.to_string()))?;
            if rows as usize == MAX_ROWS {
                return Err(at(format!("more than {MAX_ROWS} rows")));
            }
            cells.extend(record.iter().map(Box::from));
            rows += 1;
        }
        if rows == 0 {
            return Err(at("has no rows below its header".to_owned()));
        }
        if rows != feed.rows {
            return Err(at(format!("has {rows} rows, and had {} when it was checked: it changes; run again once it does not", feed.rows)));
        }
        let zipf = if let Pick::Zipf(millis) = feed.pick { cumulative_zipf(rows, f64::from(millis) / 1000.0) } else { Vec::new() };
        Ok(Rows { name: feed.name.clone(), columns, cells, rows, pick: feed.pick, zipf })
    }

    /// Index of a column.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c == name)
    }

    /// A value.
    #[must_use]
    pub fn cell(&self, row: u64, column: usize) -> &str {
        &self.cells[row as usize * self.columns.len() + column]
    }

    /// The row of arrival `k`; `wraps` lets `unique` begin again (the probe's requests do).
    ///
    /// # Errors
    /// When the pick is `unique` and the rows have run out.
    pub fn row(&self, seed: Seed, k: u64, wraps: bool) -> Result<u64, String> {
        let roll = seed.and(&self.name).at(k);
        match self.pick {
            Pick::Random => Ok(roll.below(self.rows)),
            Pick::Sequential => Ok(k % self.rows),
            Pick::Unique if k < self.rows => Ok(k),
            Pick::Unique if wraps => Ok(k % self.rows),
            Pick::Unique => Err(format!("data feed `{}` ran out after {} rows (pick: unique)", self.name, self.rows)),
            Pick::Zipf(_) => {
                let wanted = roll.unit() * self.zipf.last().copied().unwrap_or(1.0);
                let row = self.zipf.partition_point(|&c| c <= wanted) as u64;
                Ok(row.min(self.rows - 1))
            }
        }
    }
}

/// Running sums of 1/rank^s, for inverse-CDF picks.
fn cumulative_zipf(rows: u64, s: f64) -> Vec<f64> {
    let mut sum = 0.0;
    let add = |rank: u64| {
        sum += libm::pow(rank as f64, -s);
        sum
    };
    (1..=rows).map(add).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn feed(text: &str, pick: Pick) -> (tempfile::NamedTempFile, Feed) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let csv = file.path().to_str().unwrap().to_owned();
        let rows = text.lines().count() as u64 - 1;
        (file, Feed { name: "products".into(), csv, columns: vec!["id".into()], rows, pick })
    }

    #[test]
    fn picks_follow_their_rule() {
        let text = "id,price\na,1\nb,2\nc,3\nd,4\n";
        let seed = Seed::of(7);
        let (_f, f) = feed(text, Pick::Sequential);
        let rows = Rows::read(&f).unwrap();
        assert_eq!(rows.row(seed, 6, false), Ok(2));
        assert_eq!(rows.cell(2, rows.column("price").unwrap()), "3");
        let (_f, f) = feed(text, Pick::Unique);
        let rows = Rows::read(&f).unwrap();
        assert_eq!(rows.row(seed, 3, false), Ok(3));
        assert!(rows.row(seed, 4, false).unwrap_err().contains("ran out after 4 rows"));
        assert_eq!(rows.row(seed, 4, true), Ok(0));
        let (_f, f) = feed(text, Pick::Random);
        let rows = Rows::read(&f).unwrap();
        let mut seen = [0u32; 4];
        (0..4000).for_each(|k| seen[rows.row(seed, k, false).unwrap() as usize] += 1);
        assert!(seen.iter().all(|&n| n > 850), "{seen:?}");
        assert_eq!(rows.row(seed, 9, false), rows.row(seed, 9, false));
    }

    #[test]
    fn zipf_prefers_the_first_rows_by_its_exponent() {
        let text = std::iter::once("id".to_owned()).chain((0..100).map(|i| i.to_string())).collect::<Vec<_>>().join("\n");
        let (_f, f) = feed(&text, Pick::Zipf(1000));
        let rows = Rows::read(&f).unwrap();
        let mut seen = [0f64; 100];
        (0..50_000).for_each(|k| seen[rows.row(Seed::of(3), k, false).unwrap() as usize] += 1.0);
        let harmonic: f64 = (1..=100).map(|r| 1.0 / f64::from(r)).sum();
        for rank in [1usize, 2, 10] {
            let expected = 50_000.0 / harmonic / rank as f64;
            assert!((seen[rank - 1] / expected - 1.0).abs() < 0.1, "rank {rank}: {} against {expected}", seen[rank - 1]);
        }
    }

    #[test]
    fn mistakes_name_file_and_line() {
        let (_f, f) = feed("sku,price\na,1\n", Pick::Random);
        let why = Rows::read(&f).unwrap_err().0;
        assert!(why.contains(&f.csv) && why.contains("line 1") && why.contains("`id`"), "{why}");
        let (_f, f) = feed("id,price\na,1\nb\n", Pick::Random);
        let why = Rows::read(&f).unwrap_err().0;
        assert!(why.contains("line: 3"), "{why}");
        let (_f, f) = feed("id\n", Pick::Random);
        assert!(Rows::read(&f).unwrap_err().0.contains("no rows"));
        let (_f, f) = feed("id\na\nb\n", Pick::Random);
        let why = Rows::read(&Feed { rows: 3, ..f }).unwrap_err().0;
        assert!(why.contains("2 rows") && why.contains("had 3"), "{why}");
    }
}
