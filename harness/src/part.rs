//! `--segment I/N --epoch T`: one of several generators of one run. Segment 1 is the controller: it alone has services,
//! faults, the rollout and the lock. Must not start anything.

use shakedown_core::plan::{VerdictRule, When};
use shakedown_core::{Fail, Plan};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Most segments of a run.
const MOST: u32 = 1000;
/// An epoch nearer than this is too late: connections have to be opened before it.
const NEAREST: Duration = Duration::from_millis(200);
/// An epoch further away is a mistake.
const FURTHEST: Duration = Duration::from_secs(3600);

/// One of several generators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// From 1.
    pub index: u32,
    /// How many there are.
    pub of: u32,
    /// Offset 0 of all.
    pub epoch: SystemTime,
}

/// Why a part cannot be run.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// A mistake: exit 2.
    Mistake(String),
    /// It is too late: exit 3.
    Late(String),
}

/// Reads `2/8`.
pub fn segment(text: &str) -> Result<(u32, u32), String> {
    let wrong = || format!("`{text}` is not a segment; write 2/8 for the second of eight (at most {MOST})");
    let (index, of) = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?))).ok_or_else(wrong)?;
    if (1..=MOST).contains(&of) && (1..=of).contains(&index) { Ok((index, of)) } else { Err(wrong()) }
}

/// Reads `2026-11-21T10:00:00Z` or `@1795255200` (seconds since 1970, a fraction is fine).
pub fn moment(text: &str) -> Result<SystemTime, String> {
    let wrong = || format!("`{text}` is not a moment; write 2026-11-21T10:00:00Z or @SECONDS since 1970");
    if let Some(seconds) = text.strip_prefix('@') {
        let seconds: f64 = seconds.parse().map_err(|_| wrong())?;
        let since = Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?;
        return UNIX_EPOCH.checked_add(since).ok_or_else(wrong);
    }
    humantime::parse_rfc3339(text).map_err(|_| wrong())
}

impl Part {
    /// From the flags; `None` without `--segment`.
    pub fn of(segment: Option<(u32, u32)>, epoch: Option<SystemTime>) -> Result<Option<Part>, String> {
        match (segment, epoch) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err("--epoch belongs to --segment: a run alone starts as soon as it is ready".to_owned()),
            (Some((index, of)), Some(epoch)) => Ok(Some(Part { index, of, epoch })),
            (Some(_), None) => Err("--segment needs --epoch: all segments start at the same moment".to_owned()),
        }
    }

    /// Load only.
    #[must_use]
    pub fn worker(&self) -> bool {
        self.index > 1
    }

    /// Can this plan be run in segments, and is there still time?
    pub fn check(&self, plan: &Plan) -> Result<(), Refused> {
        let mistake = |text: String| Err(Refused::Mistake(text));
        if let Some(s) = plan.streams.iter().find(|s| self.of > 1 && !matches!(s.at, When::At(_))) {
            let why = "it waits for a stage or fault, which only the controller knows; give it an offset";
            return mistake(format!("stream {} cannot be run in segments: {why}", s.name));
        }
        let own = |s: &&shakedown_core::plan::Stream| plan.environment.targets.get(&s.target).is_some_and(|t| !t.at.contains("://"));
        if let Some(s) = plan.streams.iter().find(|s| self.worker() && own(s)) {
            let at = plan.environment.targets.get(&s.target).map_or("", |t| t.at.as_str());
            let why = "is started by the controller and not known here; give the target a URL that every segment can reach";
            return mistake(format!("stream {} goes to {at}, which {why}", s.name));
        }
        match self.epoch.duration_since(SystemTime::now()) {
            Ok(ahead) if ahead > FURTHEST => {
                mistake(format!("--epoch is {} ahead; at most {} are waited for", text(ahead), text(FURTHEST)))
            }
            Ok(ahead) if ahead >= NEAREST => Ok(()),
            _ => Err(Refused::Late(format!("--epoch {} is over or too near; choose one some seconds ahead", self.wall()))),
        }
    }

    /// The epoch, RFC 3339 in UTC.
    #[must_use]
    pub fn wall(&self) -> String {
        humantime::format_rfc3339_nanos(self.epoch).to_string()
    }

    /// The epoch on this process's clock.
    pub fn instant(&self) -> Result<Instant, Fail> {
        let ahead = self.epoch.duration_since(SystemTime::now());
        ahead.map(|ahead| Instant::now() + ahead).map_err(|_| Fail::new(format!("the common epoch {} is over", self.wall())))
    }

    /// What the engine runs of a plan: the controller all of it, a worker its traffic alone. Load gets the whole plan.
    #[must_use]
    pub fn plan(&self, plan: &Plan) -> Plan {
        let mut own = plan.clone();
        let share = |all: u64| all / u64::from(self.of) + u64::from(u64::from(self.index - 1) < all % u64::from(self.of));
        own.environment.limits.requests = own.environment.limits.requests.map(share);
        if self.worker() {
            own.rollout = None;
            own.environment.services.clear();
            own.environment.proxies.clear();
            (own.faults, own.guards, own.objectives, own.windows) = Default::default();
            (own.setup, own.teardown, own.preflight) = Default::default();
            own.verdict = VerdictRule::default();
        }
        own
    }
}

fn text(span: Duration) -> String {
    humantime::format_duration(Duration::from_secs(span.as_secs())).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_and_moments() {
        assert_eq!(segment("2/8"), Ok((2, 8)));
        for wrong in ["", "0/8", "9/8", "2", "2/0", "a/b", "1/1001", "-1/2"] {
            assert!(segment(wrong).is_err(), "{wrong}");
        }
        let at = UNIX_EPOCH + Duration::from_secs(1_795_255_200);
        assert_eq!(moment("@1795255200"), Ok(at));
        assert_eq!(moment("2026-11-21T10:00:00Z"), Ok(at));
        for wrong in ["", "now", "@", "@-1", "@1e300", "@NaN", "10:00"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn one_flag_needs_the_other() {
        assert_eq!(Part::of(None, None), Ok(None));
        assert!(Part::of(Some((1, 2)), None).is_err_and(|e| e.contains("--epoch")));
        assert!(Part::of(None, Some(UNIX_EPOCH)).is_err_and(|e| e.contains("--segment")));
    }
}
