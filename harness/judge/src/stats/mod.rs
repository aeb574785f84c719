//! The statistics of the judge, each in a file of its own: pure functions of counts. Logarithms and exponentials come from
//! `libm`, never from the system, so that the same counts give the same bits everywhere. Must not know plans or events.

pub mod bernoulli;
pub mod betting;
pub mod blocks;
pub mod combine;
pub mod eprocess;
pub mod quantile;
pub mod rate_pair;
pub mod sample_ratio;
pub mod sign;
pub mod special;

/// A log e-value below which evidence is not followed: keeps sums finite.
pub const LEAST_LOG_E: f64 = -700.0;
