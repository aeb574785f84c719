//! How exactly arrivals are sent, and what that may cost. Plain data.

use crate::units::Span;
use serde::{Deserialize, Serialize};

/// Settings of the pacing loop; `None` is chosen by rate and cores when the run starts, and said in its record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Precision {
    /// Sends are rounded up to multiples of this; zero sends each at its own time. Coarser costs fewer wake-ups.
    pub quantum: Option<Span>,
    /// Before each send the loop stops sleeping this early and watches the clock instead.
    pub spin: Option<Span>,
    /// Worker threads; arrival k belongs to worker `k mod workers`.
    pub workers: Option<u16>,
}
