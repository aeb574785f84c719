//! What is in the language but comes with a later version, for `shakedown kinds`. Must name every key that the check
//! answers with "not available yet"; kinds of faults, drivers, signals and reports speak for themselves.

use crate::indicators::{LATER, NOW};

/// Keys and values by place, and what they are for.
pub const LATER_KEYS: &[(&str, &str)] = &[
    ("environment.conflicts_with", "environments that must not run at the same time"),
    ("environment.fingerprint", "a change of the environment makes the run invalid"),
    ("environment.limits.cost", "a ceiling of cost"),
    ("environment.lock", "the lock at a URL"),
    ("environment.prices", "what requests, processors and bytes cost"),
    ("faults.*.at.recorded", "a fault at a moment of recorded traffic"),
    ("faults.*.on.host", "a fault on a host; likewise `network` and `target`"),
    ("faults.*.until", "a fault until a game-day mark"),
    ("ledgers", "what was written is read back; likewise a step's `ledger`"),
    ("preflight.*.indicator", "a preflight check by a signal"),
    ("rollout.regions", "one rollout over several regions; likewise a stage's `region`"),
    ("rollout.rehearse.detect", "a rehearsal that the gate catches a fault"),
    ("rollout.rollback.lost_writes", "a ceiling of lost writes"),
    ("rollout.shadow", "mirrored requests"),
    ("rollout.stages.*.before", "an approval or command before a stage"),
    ("rollout.stages.*.cohort", "a stage for a group of users"),
    ("environment.services.*.attach.container", "a container that is already there; likewise `unit`"),
    ("signals", "outside indicators"),
    ("slos.*.max: 1.5x run:DIR", "a comparison with another run"),
    ("environment.targets.*.http: 3", "HTTP/3"),
    ("traffic.*.data.*.jsonl", "feeds other than CSV"),
    ("traffic.*.replay.between.to", "a stretch of a recording by time of day; compressed recordings"),
    ("traffic.*.replay.format: har", "recordings other than access logs"),
];

/// Indicators by name; `true` when they work in this version.
pub fn indicators() -> impl Iterator<Item = (&'static str, bool)> {
    NOW.into_iter().map(|name| (name, true)).chain(LATER.into_iter().map(|name| (name, false)))
}
