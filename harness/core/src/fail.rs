//! The one error that crosses rooms: a sentence for people. Rooms that branch on causes keep their own error types.

/// Something did not work: one sentence that says what, why, and what to do where that is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Fail(pub String);

impl Fail {
    /// From a sentence.
    pub fn new(why: impl Into<String>) -> Fail {
        Fail(why.into())
    }
}
