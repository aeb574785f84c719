//! Where a run happens and what it may touch: services, targets, proxies, ceilings, setup steps. Plain data.

use super::RequestPlan;
use crate::template::Template;
use crate::units::{Ppm, Rate, Span};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;

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
        /// What keeps a caller on one release; without it requests are split one by one.
        sticky: Option<Sticky>,
    },
    /// Fixed answers on an endpoint `<name>.http`.
    Stub {
        /// Parsed answers file: list of `{method, path, status, headers, body, delay_ns}`.
        answers: Value,
        /// Where to listen; port 0 draws one.
        listen: String,
    },
    /// Already there, never started or stopped: found by its pid file (as written, relative to the scenario).
    AttachPidFile(String),
}

/// What keeps a caller of the embedded router on one release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sticky {
    /// Value of this request header.
    Header(String),
    /// Value of this cookie.
    Cookie(String),
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

/// TLS towards a target. Paths are as written, relative to the scenario.
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
