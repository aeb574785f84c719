//! What the releases and backends of a simulated run are like, and what a scenario's faults do to them. Must not draw.

use shakedown_core::plan::{FaultPlan, On, RequestPlan, ServiceKind};
use shakedown_core::template::Part;
use shakedown_core::{Exit, Plan};

/// How one release answers. Service times are lognormal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Release {
    /// Median service time, ms.
    pub median: f64,
    /// Share of requests that fail.
    pub errors: f64,
    /// Share of requests that take 60 to 150 ms longer.
    pub tail: f64,
}

/// Everything behind the router, and the router.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Releases {
    /// The control, or the only backend.
    pub control: Release,
    /// The canary.
    pub canary: Release,
    /// The router answers 409 to every decrease of the canary's weight.
    pub refuses: bool,
}

/// Nothing is wrong.
pub const FINE: Release = Release { median: 3.0, errors: 0.0, tail: 0.0 };
/// Spread of the logarithm of service times.
pub const SIGMA: f64 = 0.5;
/// The pilot's `errors` and `slow-tail`, as the scenarios use them.
const ERRORS: f64 = 0.05;
const TAIL: f64 = 0.15;
/// A backend without a rollout that is over every latency limit the scenarios have.
const SLOW: f64 = 80.0;

impl Releases {
    /// Both arms alike, the router as it should be.
    pub fn good() -> Releases {
        Releases { control: FINE, canary: FINE, refuses: false }
    }

    /// The canary has the scenario's flaws, or the usual two when it has none; without a rollout the backend is bad.
    pub fn bad(plan: &Plan) -> Releases {
        let Some(rollout) = &plan.rollout else {
            return Releases { control: Release { median: SLOW, errors: ERRORS, tail: 0.0 }, ..Releases::good() };
        };
        let flaws = plan.environment.services.iter().find_map(|s| match &s.kind {
            ServiceKind::Shop { releases, .. } => releases.get(&rollout.canary),
            _ => None,
        });
        let has = |name: &str| flaws.is_some_and(|f| f.iter().any(|flaw| flaw == name));
        let none = !has("errors") && !has("slow-tail");
        let share = |on: bool, share: f64| if on || none { share } else { 0.0 };
        let canary = Release { errors: share(has("errors"), ERRORS), tail: share(has("slow-tail"), TAIL), ..FINE };
        Releases { control: FINE, canary, refuses: has("refuses-rollback") }
    }

    /// How a run ends when their harm is proven.
    pub fn ends(self) -> Exit {
        if self.refuses { Exit::RollbackFailed } else { Exit::Rollback }
    }

    /// Bad in one way only, of every way it is bad.
    pub fn apart(self) -> Vec<(&'static str, Releases)> {
        let with = |control: Release, canary: Release| Releases { control, canary, ..self };
        let errors = |r: Release| Release { errors: r.errors, ..FINE };
        let slow = |r: Release| Release { errors: 0.0, ..r };
        vec![("only errors", with(errors(self.control), errors(self.canary))), ("only slow", with(slow(self.control), slow(self.canary)))]
    }
}

/// What a fault does while it is in place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Harm {
    /// A share of the requests it hits takes longer by a normal amount (mean and spread in ns).
    Latency {
        /// Share.
        share: f64,
        /// Mean, ns.
        delay: f64,
        /// Standard deviation, ns.
        jitter: f64,
    },
    /// Everything waits until it is over.
    Pause,
}

impl Harm {
    /// Of a fault. A kind that is not known here fails: a shipped scenario with it needs its simulation.
    pub fn of(fault: &FaultPlan) -> Harm {
        let number = |name: &str| fault.params.get(name).and_then(serde_json::Value::as_f64).expect("canonical parameters are in ns");
        match fault.kind.as_str() {
            "latency" => Harm::Latency { share: fault.share.fraction(), delay: number("delay"), jitter: number("jitter") },
            "pause" => Harm::Pause,
            other => panic!("fault {}: the simulation does not know `{other}`; teach it what that does", fault.name),
        }
    }
}

/// Is a request of this stream hit by the fault? A shop asks its payments once for every order.
pub fn touches(plan: &Plan, fault: &FaultPlan, target: &str, request: Option<&RequestPlan>) -> bool {
    let at = plan.environment.targets.get(target).map_or("", |t| t.at.as_str());
    let orders = |r: &RequestPlan| r.method == "POST" && matches!(r.path.0.first(), Some(Part::Text(path)) if path.starts_with("/orders"));
    let behind = |endpoint: &str| {
        let pays = plan.environment.services.iter().any(
            |s| matches!(&s.kind, ServiceKind::Shop { payments: Some(p), .. } if p == endpoint && at.starts_with(&format!("{}.", s.name))),
        );
        pays && request.is_some_and(orders)
    };
    match &fault.on {
        On::Service(name) => at.starts_with(&format!("{name}.")),
        On::Proxy(name) => {
            let endpoint = format!("proxy.{name}");
            at == endpoint || behind(&endpoint)
        }
    }
}
