//! Vocabulary and seams shared by every room: units, the checked plan, snapshots, events, the decision record, traits.
//! No async runtime, no I/O, no clock of its own.

pub mod allowed;
pub mod canonical;
pub mod decision;
pub mod event;
pub mod fail;
pub mod plan;
pub mod seams;
pub mod secrets;
pub mod snapshot;
pub mod sparse;
pub mod template;
pub mod tree;
pub mod units;

pub use allowed::{AllowList, Allowed};
pub use decision::{Decision, Exit, Verdict};
pub use event::{Assessment, Event, Fact, Input};
pub use fail::Fail;
pub use plan::Plan;
pub use seams::{Cx, Epoch};
pub use secrets::Secrets;
pub use snapshot::{Arm, Cell, CellKey, Dim, Snapshot};
pub use sparse::Sparse;
pub use units::{Offset, Ppm, Quantile, Rate, Span, Weight};
