//! What one of several generators leaves in its run directory so that the parts can be put together again, and what
//! `merge` leaves in the whole. Must not read journals.

use serde::{Deserialize, Serialize};
use shakedown_core::seams::Fail;
use std::path::Path;

/// In the directory of a segment.
pub const SEGMENT_FILE: &str = "segment.json";
/// In the directory of a merged run.
pub const MERGED_FILE: &str = "merged.json";

/// Which part of which run this is. All segments of a run agree in everything but `index`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// From 1; 1 is the controller.
    pub index: u32,
    /// How many there are.
    pub of: u32,
    /// Offset 0 of all, RFC 3339.
    pub epoch: String,
    /// Hash of the plan.
    pub plan_sha256: String,
    /// Seed.
    pub seed: u64,
    /// Harness version.
    pub version: String,
}

/// What a merged run was put together from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// How many segments.
    pub of: u32,
    /// Offset 0 of all, RFC 3339.
    pub epoch: String,
    /// Segments whose evidence is not whole, in words. With any the run is invalid.
    pub doubts: Vec<String>,
}

impl Segment {
    /// Writes it into a run directory.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, dir: &Path) -> Result<(), Fail> {
        write(self, &dir.join(SEGMENT_FILE))
    }

    /// Reads it from a run directory.
    ///
    /// # Errors
    /// When the directory is not one of a segment.
    pub fn read(dir: &Path) -> Result<Segment, Fail> {
        let path = dir.join(SEGMENT_FILE);
        let why = |e: String| Fail::new(format!("cannot read {}: {e}; is it the run directory of a segment?", path.display()));
        let text = std::fs::read_to_string(&path).map_err(|e| why(e.to_string()))?;
        serde_json::from_str(&text).map_err(|e| why(e.to_string()))
    }
}

impl Joined {
    /// Writes it into the merged run directory.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write(&self, dir: &Path) -> Result<(), Fail> {
        write(self, &dir.join(MERGED_FILE))
    }

    /// Reads it; `None` where the run was not merged.
    ///
    /// # Errors
    /// When it is there and cannot be understood.
    pub(crate) fn read(dir: &Path) -> Result<Option<Joined>, Fail> {
        let path = dir.join(MERGED_FILE);
        let why = |e: String| Fail::new(format!("cannot read {}: {e}", path.display()));
        match std::fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).map(Some).map_err(|e| why(e.to_string())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(why(e.to_string())),
        }
    }
}

/// Are these all segments of one run, each once? Gives their order by index.
///
/// # Errors
/// Names what is missing, there twice, or different.
pub fn complete(segments: &[Segment]) -> Result<Vec<usize>, Fail> {
    let first = segments.first().ok_or_else(|| Fail::new("there is no segment to merge"))?;
    let mut order: Vec<usize> = (0..segments.len()).collect();
    order.sort_by_key(|i| segments[*i].index);
    for other in segments {
        let differs = [
            ("number of segments", first.of.to_string(), other.of.to_string()),
            ("plan", first.plan_sha256.clone(), other.plan_sha256.clone()),
            ("seed", first.seed.to_string(), other.seed.to_string()),
            ("epoch", first.epoch.clone(), other.epoch.clone()),
            ("version", first.version.clone(), other.version.clone()),
        ];
        if let Some((what, one, another)) = differs.into_iter().find(|(_, one, another)| one != another) {
            return Err(Fail::new(format!(
                "segments {} and {} are of different runs: {what} {one} and {another}",
                first.index, other.index
            )));
        }
    }
    if let Some(twice) = order.windows(2).find(|w| segments[w[0]].index == segments[w[1]].index) {
        return Err(Fail::new(format!("segment {} is given twice", segments[twice[0]].index)));
    }
    let missing: Vec<String> =
        (1..=first.of).filter(|i| !segments.iter().any(|s| s.index == *i)).map(|i| format!("{i} of {}", first.of)).collect();
    if !missing.is_empty() || segments.len() != first.of as usize {
        return Err(Fail::new(format!("missing: segment {}", missing.join(", "))));
    }
    Ok(order)
}

fn write(value: &impl Serialize, path: &Path) -> Result<(), Fail> {
    let fail = |e: String| Fail::new(format!("cannot write {}: {e}", path.display()));
    let mut text = serde_json::to_string_pretty(value).map_err(|e| fail(e.to_string()))?;
    text.push('\n');
    std::fs::write(path, text).map_err(|e| fail(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(index: u32, seed: u64) -> Segment {
        Segment { index, of: 3, epoch: "e".into(), plan_sha256: "p".into(), seed, version: "v".into() }
    }

    #[test]
    fn all_segments_of_one_run_once() {
        let why = |parts: &[Segment]| complete(parts).unwrap_err().0;
        assert_eq!(complete(&[segment(3, 1), segment(1, 1), segment(2, 1)]).unwrap(), [1, 2, 0]);
        assert!(why(&[segment(3, 1), segment(1, 1)]).contains("missing: segment 2 of 3"));
        assert!(why(&[segment(3, 1), segment(1, 1), segment(3, 1), segment(2, 1)]).contains("segment 3 is given twice"));
        assert!(why(&[segment(3, 1), segment(1, 2), segment(2, 1)]).contains("seed 1 and 2"));
        assert!(why(&[]).contains("no segment"));
    }
}
