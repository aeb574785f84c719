//! Undoing records: the right kind for each, every try bounded, newest first, a few rounds. Used by the harness, the guard
//! and `recover` alike. Must not write anything down.

use shakedown_core::Fail;
use shakedown_core::seams::{Undo, UndoRecord, UndoState};
use std::time::Duration;

/// Most time for one try.
const TRY_WITHIN: Duration = Duration::from_secs(120);
/// Rounds over what is not undone yet.
const ROUNDS: u32 = 6;
/// Before the second round; doubled for each further one.
const BACKOFF: Duration = Duration::from_millis(100);

/// Undoes one record once.
pub(crate) async fn once(kinds: &[&'static dyn Undo], record: &UndoRecord) -> Result<UndoState, Fail> {
    let kind = kinds.iter().find(|k| k.kind() == record.kind);
    let kind = kind.ok_or_else(|| Fail::new(format!("{}: this version cannot undo the kind `{}`", record.what, record.kind)))?;
    let late = || Fail::new(format!("{}: not undone within {TRY_WITHIN:?}", record.what));
    let undone = tokio::time::timeout(TRY_WITHIN, kind.undo(record)).await.map_err(|_| late())?;
    undone.map_err(|f| Fail::new(format!("{}: {f}", record.what)))
}

/// Undoes all of `records`, newest first. One that fails does not hold up the others; it is tried again in later rounds.
/// Tells `done` of each one undone and gives what is left, with the last reason.
pub(crate) async fn all(
    kinds: &[&'static dyn Undo],
    mut records: Vec<UndoRecord>,
    mut done: impl FnMut(&UndoRecord, UndoState),
) -> Vec<(UndoRecord, Fail)> {
    records.sort_by_key(|r| std::cmp::Reverse(r.id));
    let mut left = Vec::new();
    for round in 0..ROUNDS {
        if round > 0 {
            tokio::time::sleep(BACKOFF * (1 << (round - 1))).await;
        }
        left.clear();
        for record in &records {
            match once(kinds, record).await {
                Ok(state) => done(record, state),
                Err(why) => left.push((record.clone(), why)),
            }
        }
        records = left.iter().map(|(r, _)| r.clone()).collect();
        if records.is_empty() {
            break;
        }
    }
    left
}
