//! The checked plan: what a scenario means after every name is resolved. Made only by `scenario`; after that nobody
//! checks again. Plain data: must not read files, clocks or the environment.

use crate::template::Template;
use crate::units::{Ppm, Quantile, Rate, Span};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// A whole run, decided in advance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Language version, 1.
    pub version: u32,
    /// Scenario name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// What is expected to hold.
    pub hypothesis: String,
    /// Who answers for it.
    pub owner: String,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
    /// The one seed all randomness derives from.
    pub seed: u64,
    /// Hard stop after offset 0.
    pub time_box: Option<Span>,
    /// Slice length: 1 s, or 100 ms where a guard needs it.
    pub slice: Span,
    /// Most cells (slice-less keys) load may keep; more are cut, counted and named.
    pub max_cells: u32,
    /// Where it runs.
    pub environment: Environment,
    /// Done before load, in order.
    pub setup: Vec<Action>,
    /// Done on every way out, in order.
    pub teardown: Vec<Action>,
    /// Must hold before the first fault or weight change.
    pub preflight: Vec<String>,
    /// Traffic, in file order.
    pub streams: Vec<Stream>,
    /// Faults, in file order.
    pub faults: Vec<FaultPlan>,
    /// The rollout, when there is one.
    pub rollout: Option<Rollout>,
    /// Objectives, in file order.
    pub objectives: Vec<Objective>,
    /// The author's own windows.
    pub windows: Vec<NamedWindow>,
    /// Guards, strongest first.
    pub guards: Vec<Guard>,
    /// Which objectives decide.
    pub verdict: VerdictRule,
    /// Outside files by path as written: SHA-256 in hex.
    pub files: BTreeMap<String, String>,
    /// Names of the secrets used (never their values).
    pub secrets: Vec<String>,
}

/// Where the run happens and what it may touch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Lock name.
    pub name: String,
    /// How careful to be.
    pub class: EnvironmentClass,
    /// CIDR blocks that may get load, mirrors or faults.
    pub allow: Vec<String>,
    /// Ceilings.
    pub limits: Limits,
    /// Started before offset 0, in dependency order (file order).
    pub services: Vec<Service>,
    /// Targets by name.
    pub targets: BTreeMap<String, Target>,
    /// Proxies where faults can sit.
    pub proxies: Vec<ProxyPlan>,
}

/// How careful a run must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EnvironmentClass {
    /// Loopback only.
    Local,
    /// Shared with others.
    Shared,
    /// Real users.
    Production,
}

/// Ceilings of a run; `None` is unlimited.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Highest total rate.
    pub rate: Option<Rate>,
    /// Most requests in all; reaching it halts the run (exit 13).
    pub requests: Option<u64>,
    /// Most logical requests in flight; reaching it drops arrivals and makes the run doubtful.
    pub in_flight: Option<u64>,
    /// Highest canary weight.
    pub max_weight: Option<Ppm>,
    /// Highest fault share.
    pub max_share: Option<Ppm>,
}

/// A service of the environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Name.
    pub name: String,
    /// How it comes to be.
    pub kind: ServiceKind,
    /// Extra environment variables (values may hold secret references `${secret:NAME}`).
    pub env: BTreeMap<String, String>,
    /// When it counts as ready; `None` for attach and for builtins, which report themselves.
    pub ready: Option<Ready>,
    /// Signal to stop with.
    pub stop_signal: String,
    /// Killed when not stopped within this.
    pub stop_within: Span,
    /// Restarted when it exits on its own or was killed by a fault.
    pub restart: bool,
}

/// How a service comes to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceKind {
    /// A program; relative paths are relative to the scenario.
    Command(Vec<String>),
    /// The embedded shop.
    Shop {
        /// Release name to flaws.
        releases: BTreeMap<String, Vec<String>>,
        /// Endpoint the shop calls for payments; `None` is its own payments service.
        payments: Option<String>,
    },
    /// Fixed answers on an endpoint `<name>.http`.
    Stub {
        /// Parsed answers file: list of `{method, path, status, headers, body, delay_ns}`.
        answers: Value,
        /// Where to listen; port 0 draws one.
        listen: String,
    },
    /// Already there, never started or stopped: found by its pid file.
    AttachPidFile(String),
}

/// When a service counts as ready.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ready {
    /// What to look at.
    pub probe: Probe,
    /// At most this long.
    pub within: Span,
}

/// A readiness probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// GET answers 2xx or 3xx.
    Http(String),
    /// A connect succeeds, `host:port`.
    Tcp(String),
    /// A line of its output contains this.
    Log(String),
    /// It still runs after having been started.
    Started,
}

/// What load is sent to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// Name.
    pub name: String,
    /// Endpoint of a service (`pilot.router`), a proxy (`proxy.payments`), or a URL `http://host:port/base`.
    pub at: String,
    /// TLS settings; only for `https`.
    pub tls: Tls,
    /// Headers on every request (values may hold `${secret:NAME}`).
    pub headers: Vec<(String, Template)>,
}

/// TLS towards a target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tls {
    /// PEM file with extra roots.
    pub ca: Option<String>,
    /// PEM client certificate chain.
    pub cert: Option<String>,
    /// PEM client key.
    pub key: Option<String>,
    /// Do not verify the server.
    pub insecure: bool,
}

/// A place where faults can sit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProxyPlan {
    /// Name; its endpoint is `proxy.<name>`.
    pub name: String,
    /// Where it listens; port 0 draws one.
    pub listen: SocketAddr,
    /// Endpoint or `host:port` it forwards to.
    pub upstream: String,
    /// `true` when HTTP is understood.
    pub http: bool,
}

/// A setup or teardown step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// An HTTP request to an absolute URL (after rendering).
    Request(Box<RequestPlan>),
    /// A program and its arguments.
    Command(Vec<String>),
}

/// One traffic stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stream {
    /// Name.
    pub name: String,
    /// Target name.
    pub target: String,
    /// When it starts.
    pub at: When,
    /// Open, closed or replayed.
    pub model: Model,
    /// Sent, not judged.
    pub warmup: Span,
    /// From intended send to last byte.
    pub timeout: Span,
    /// Retries, when asked for.
    pub retry: Option<Retry>,
    /// Connection policy.
    pub connections: Connections,
    /// Whose cookies are kept.
    pub cookies: Cookies,
    /// Data feeds.
    pub feeds: Vec<Feed>,
    /// Weighted journeys (`requests:` become journeys of one step). Empty for a replay.
    pub journeys: Vec<Journey>,
}

/// When something starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Offset from the epoch.
    At(Span),
    /// After the clock of a stage started.
    Stage {
        /// Stage name.
        stage: String,
        /// Plus this.
        plus: Span,
    },
    /// After a fault was reverted.
    After {
        /// Fault name.
        fault: String,
        /// Plus this.
        plus: Span,
    },
}

/// How arrivals come about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Model {
    /// Arrivals independent of answers.
    Open {
        /// Exponential gaps instead of constant ones.
        poisson: bool,
        /// One after another; spikes are already resolved to holds.
        shape: Vec<Segment>,
    },
    /// Users that wait for their answer, then think.
    Closed {
        /// How many.
        users: u32,
        /// Shortest and longest think time (uniform).
        think: (Span, Span),
        /// For how long.
        length: Span,
    },
    /// Recorded traffic.
    Replay(Replay),
}

/// A stretch of an open shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// How long.
    pub length: Span,
    /// Its form.
    pub form: Form,
}

/// The form of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// Constant.
    Hold(Rate),
    /// Linear.
    Ramp(Rate, Rate),
    /// Sine from `low` (at its start, rising) to `high`.
    Wave {
        /// Lowest rate.
        low: Rate,
        /// Highest rate.
        high: Rate,
        /// One oscillation.
        period: Span,
    },
}

/// Recorded traffic and how it is replayed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replay {
    /// Path as resolved against the scenario.
    pub file: String,
    /// `access-log` (others come later).
    pub format: String,
    /// 2 000 000 ppm is twice as fast (may exceed one).
    pub speed_ppm: u64,
    /// Only this part of recorded time: from (relative to the first record) and length.
    pub between: Option<(Span, Span)>,
    /// Silences are cut to this.
    pub gaps: Option<Span>,
    /// Only these methods; empty is all.
    pub methods: Vec<String>,
    /// Success is the recorded status class instead of below 500.
    pub expect_recorded: bool,
}

/// Retry policy of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Attempts in all, 2 to 10.
    pub attempts: u32,
    /// Conditions: `connect`, `timeout`, `reset`, or a status.
    pub on: Vec<RetryOn>,
    /// Wait before the second attempt; doubles, with jitter from (seed, arrival, attempt).
    pub backoff: Span,
}

/// A condition to retry on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryOn {
    /// No connection.
    Connect,
    /// Reset before the answer was complete.
    Reset,
    /// No answer in time.
    Timeout,
    /// This status.
    Status(u16),
}

/// Connection policy of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// Most at once.
    pub max: u32,
    /// Opened before the stream starts.
    pub prewarm: u32,
    /// Keep-alive.
    pub reuse: bool,
}

/// Whose cookies are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cookies {
    /// One jar a journey.
    Journey,
    /// One jar a closed-model user.
    User,
    /// No cookies.
    None,
}

/// A data feed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Feed {
    /// Name used in templates.
    pub name: String,
    /// CSV path as resolved against the scenario.
    pub csv: String,
    /// Column names.
    pub columns: Vec<String>,
    /// Rows.
    pub rows: u64,
    /// How rows are picked.
    pub pick: Pick,
}

/// How rows are picked.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pick {
    /// Uniformly, seeded.
    Random,
    /// Arrival k takes row k mod n.
    Sequential,
    /// Arrival k takes row k; running out fails the arrival.
    Unique,
    /// Zipf with exponent s in millis (1.1 is 1100), row 1 the most frequent.
    Zipf(u32),
}

/// A weighted sequence of steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Journey {
    /// Name.
    pub name: String,
    /// Relative weight, at least 1.
    pub weight: u32,
    /// Steps in order.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// A request; boxed, it is far larger than a pause.
    Request(Box<RequestPlan>),
    /// A uniform pause.
    Think(Span, Span),
}

/// A request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestPlan {
    /// Step name (unique in its journey; `GET /path` when not given).
    pub name: String,
    /// Method, upper case.
    pub method: String,
    /// Path, or a whole URL in setup and teardown.
    pub path: Template,
    /// Headers in order.
    pub headers: Vec<(String, Template)>,
    /// Body.
    pub body: Option<Body>,
    /// What counts as success.
    pub expect: Expect,
    /// Captures from the answer.
    pub capture: Vec<Capture>,
}

/// A request body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Body {
    /// Content type sent.
    pub content_type: String,
    /// Its text; inserted values are escaped per `escape`.
    pub text: Template,
    /// How inserted values are escaped.
    pub escape: Escape,
}

/// How inserted values are escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Escape {
    /// As they are.
    None,
    /// Inside a JSON string.
    Json,
    /// Percent-encoded.
    Url,
}

/// What counts as success.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Expect {
    /// Accepted statuses, inclusive ranges; empty is 200–399.
    pub status: Vec<(u16, u16)>,
    /// JSONPath to the value it must have.
    pub json: Vec<(String, Value)>,
    /// Header name to the value it must have.
    pub headers: Vec<(String, String)>,
    /// Text the body must contain.
    pub body_contains: Option<String>,
}

/// A value taken from an answer for later steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Capture {
    /// Name in templates.
    pub name: String,
    /// Where from.
    pub from: CaptureFrom,
}

/// Where a capture is taken from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaptureFrom {
    /// JSONPath into the body.
    Json(String),
    /// A header.
    Header(String),
}

/// A fault on the time axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultPlan {
    /// Name.
    pub name: String,
    /// When it is applied.
    pub at: When,
    /// Its length; never absent.
    pub length: Span,
    /// What it is on.
    pub on: On,
    /// Share of connections or requests.
    pub share: Ppm,
    /// Only requests that match.
    pub matches: Match,
    /// Injector kind.
    pub kind: String,
    /// Its parameters in canonical JSON.
    pub params: Value,
    /// Stays during a rollback.
    pub during_rollback: bool,
}

/// What a fault is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum On {
    /// A proxy of the environment.
    Proxy(String),
    /// A service of the environment.
    Service(String),
}

/// Which requests a fault hits; empty is all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Match {
    /// Method, upper case.
    pub method: Option<String>,
    /// Glob over the path.
    pub path: Option<String>,
}

/// The rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// Driver kind.
    pub driver: String,
    /// Its parameters in canonical JSON.
    pub params: Value,
    /// Name of the control.
    pub control: String,
    /// Name of the canary.
    pub canary: String,
    /// Digest of the canary, copied into the decision.
    pub artifact: Option<String>,
    /// How an answer says who gave it.
    pub identify: Identify,
    /// Control only, before the first stage.
    pub baseline: Span,
    /// In order.
    pub stages: Vec<Stage>,
    /// Rollback rehearsal.
    pub rehearse: Rehearse,
    /// What a rollback must achieve.
    pub rollback: RollbackPlan,
    /// What is left behind on promote.
    pub afterwards: Afterwards,
}

/// How an answer says who gave it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identify {
    /// Where it says it.
    pub by: IdentifyBy,
    /// Patterns (`*` globs) of the control.
    pub control: Vec<String>,
    /// Patterns (`*` globs) of the canary.
    pub canary: Vec<String>,
}

/// Where an answer says who gave it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdentifyBy {
    /// A response header.
    Header(String),
    /// A cookie set by the answer or sent with the request.
    Cookie(String),
    /// A JSONPath into the body.
    Json(String),
    /// The stream's target: control and canary target names.
    Target {
        /// Target of the control.
        control: String,
        /// Target of the canary.
        canary: String,
    },
}

/// One stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Name.
    pub name: String,
    /// Canary share.
    pub weight: Weight,
    /// At least this long.
    pub hold: Span,
    /// At most this much longer while its gate is undecided.
    pub extend: Span,
    /// Samples the canary needs before the gate may pass; `None` uses the objective's default.
    pub min_samples: Option<u64>,
    /// Names of the objectives that gate it.
    pub gate: Vec<String>,
}

use crate::units::Weight;

/// When the rollback is rehearsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rehearse {
    /// Not at all.
    Never,
    /// After the last stage's gate passed.
    LastStage,
    /// After every stage's gate passed.
    EveryStage,
}

/// What a rollback must achieve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RollbackPlan {
    /// Done before the weight is set back.
    pub before: Vec<Action>,
    /// Objectives that must hold again (on all traffic).
    pub restored_when: Vec<String>,
    /// Restored within this.
    pub restored_within: Span,
    /// Most requests that may fail from command to restored.
    pub failed_requests: Option<Ppm>,
}

/// What is left behind on promote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Afterwards {
    /// The weights read at the start.
    Restore,
    /// The last stage's weight.
    Promoted,
}

/// An objective.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Objective {
    /// Name.
    pub name: String,
    /// What is measured.
    pub indicator: Indicator,
    /// What it is held against.
    pub limit: Limit,
    /// Whose traffic.
    pub arm: ArmChoice,
    /// Only this stream.
    pub stream: Option<String>,
    /// Only this journey.
    pub journey: Option<String>,
    /// Only this step.
    pub step: Option<String>,
    /// Where it is judged.
    pub window: WindowRef,
    /// Every window of this length, not only the whole.
    pub every: Option<Span>,
    /// One-sided confidence of the verdict.
    pub confidence: Ppm,
    /// Samples a gate needs.
    pub min_samples: Option<u64>,
    /// Accepted miss, with owner.
    pub condition: Option<Condition>,
    /// Worst group decides: response header name.
    pub by_header: Option<String>,
}

/// What is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Indicator {
    /// Successes over requests.
    SuccessRate,
    /// Failures over requests.
    ErrorRate,
    /// Timeouts over requests.
    TimeoutRate,
    /// Retries over logical requests.
    RetryRate,
    /// Answers with one of these statuses (inclusive ranges) over requests.
    StatusShare(Vec<(u16, u16)>),
    /// Journeys with every step met over journeys.
    JourneySuccess,
    /// Quantile of intended latency, ns.
    Latency(Quantile),
    /// Quantile of whole journeys, ns.
    JourneyDuration(Quantile),
    /// Successful requests a second.
    Throughput,
    /// Sent over asked (share).
    AchievedRate,
    /// Mean bytes an answer.
    Bytes,
    /// Latency of the first answers of an arm after its weight first rose above 0: the slowest within the first second, ns.
    ColdStart,
    /// From reverted until `of` holds for 3 s, ns.
    TimeToRecover {
        /// Objective.
        of: String,
        /// Fault.
        after: String,
    },
    /// From the rollback command until restored, ns.
    TimeToRestore,
    /// Highest burn rate of `of` over long and short window together; windows: (long, short, max factor).
    BurnRate {
        /// Objective (a success or error rate).
        of: String,
        /// Long, short, factor in millis.
        windows: Vec<(Span, Span, u64)>,
    },
    /// Share of the error budget of `of` that the window spent.
    ErrorBudget {
        /// Objective (a success or error rate).
        of: String,
    },
}

/// What an indicator is held against. Rates are fractions, latencies ns, throughput per second, bytes bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// `true`: at least; `false`: at most.
    pub min: bool,
    /// The value.
    pub value: LimitValue,
    /// For ratios of rates: the limit is never below this.
    pub floor: Option<f64>,
    /// As written, for people.
    pub text: String,
}

/// The value of a limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitValue {
    /// Fixed.
    Fixed(f64),
    /// A multiple of the reference.
    Times(f64, Reference),
    /// The reference plus this (fraction for rates, ns for latencies).
    Plus(f64, Reference),
}

/// What a relative limit refers to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reference {
    /// Concurrent slices of the control.
    Control,
    /// This run's baseline.
    Before,
    /// Another run directory (advisory).
    Run(String),
}

/// Whose traffic an objective judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ArmChoice {
    /// Canary attempts.
    Canary,
    /// Control attempts.
    Control,
    /// Logical requests of everybody.
    All,
}

/// Where an objective is judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowRef {
    /// All stages, or without a rollout the run less warm-up.
    Default,
    /// The whole run.
    Run,
    /// Run less warm-up, faults, what follows them, rollback.
    Steady,
    /// Warm-up.
    Warmup,
    /// Control only.
    Baseline,
    /// While a fault was applied.
    Fault(String),
    /// From a fault's revert to the next stage end, fault or rollback, at most 30 s.
    AfterFault(String),
    /// One stage.
    Stage(String),
    /// From rollback command to restored.
    Rollback,
    /// From the last revert to recovered.
    Recovery,
    /// The author's own.
    Named(String),
}

/// The author's own window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedWindow {
    /// Name.
    pub name: String,
    /// From this offset.
    pub from: Span,
    /// To this offset.
    pub to: Span,
}

/// An accepted miss.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Who mends it.
    pub owner: String,
    /// Until when (date as written).
    pub by: String,
    /// What makes it done.
    pub ready_when: String,
}

/// A guard, judged on every snapshot over all slices, open ones too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Guard {
    /// Name.
    pub name: String,
    /// What is measured (rates, latency or burn rate).
    pub indicator: Indicator,
    /// Over the last this long.
    pub over: Span,
    /// Silent below this many samples.
    pub min_samples: u64,
    /// What it is held against.
    pub limit: Limit,
    /// Whose traffic.
    pub arm: ArmChoice,
    /// Only this stream.
    pub stream: Option<String>,
    /// Must be crossed for this long.
    pub lasting: Span,
    /// What happens.
    pub then: GuardAction,
}

/// What a guard does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuardAction {
    /// End the run, roll back (exit 13).
    Abort,
    /// Roll back (exit 10).
    Rollback,
    /// Set the canary to this weight.
    Reduce(Ppm),
    /// Hold the ramp until it clears; roll back after the stage's `extend`.
    Pause,
    /// Say so.
    Warn,
}

/// Which objectives decide.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictRule {
    /// Must pass; all objectives when neither key is given.
    pub mandatory: Vec<String>,
    /// At least so many of all must pass.
    pub at_least: Option<u32>,
}

// === impl Plan ===

impl Plan {
    /// The stream with this name and its index.
    #[must_use]
    pub fn stream(&self, name: &str) -> Option<(u16, &Stream)> {
        let found = self.streams.iter().enumerate().find(|(_, s)| s.name == name)?;
        Some((u16::try_from(found.0).ok()?, found.1))
    }

    /// The objective with this name.
    #[must_use]
    pub fn objective(&self, name: &str) -> Option<&Objective> {
        self.objectives.iter().find(|o| o.name == name)
    }

    /// Longest time a request may stay unanswered: how long after its end a slice closes.
    #[must_use]
    pub fn longest_timeout(&self) -> Span {
        self.streams.iter().map(|s| s.timeout).max().unwrap_or(Span::ZERO)
    }

    /// Longest warm-up of any stream.
    #[must_use]
    pub fn longest_warmup(&self) -> Span {
        self.streams.iter().map(|s| s.warmup).max().unwrap_or(Span::ZERO)
    }

    /// When the first stage starts: after the longest warm-up plus `baseline`.
    #[must_use]
    pub fn first_stage(&self) -> Span {
        self.longest_warmup().plus(self.rollout.as_ref().map_or(Span::ZERO, |r| r.baseline))
    }

    /// How long the stream's shape lasts (a replay's length is known to `load` only: zero here).
    #[must_use]
    pub fn stream_length(stream: &Stream) -> Span {
        match &stream.model {
            Model::Open { shape, .. } => Span(shape.iter().map(|s| s.length.0).sum()),
            Model::Closed { length, .. } => *length,
            Model::Replay(_) => Span::ZERO,
        }
    }

    /// SHA-256 input: the plan in canonical JSON (sorted keys, no spaces).
    #[must_use]
    pub fn canonical(&self) -> String {
        crate::canonical::to_canonical(&serde_json::to_value(self).expect("a plan is plain data"))
    }
}
