//! Where a run happens and what it may touch: services, targets, proxies, ceilings, setup steps. Plain data.

use super::RequestPlan;
use crate::template::Template;
use crate::units::{Ppm, Rate, Span};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

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
    /// Version of HTTP spoken to it; TLS offers it by ALPN and takes no other.
    #[serde(default)]
    pub http: HttpVersion,
    /// TLS settings; for `https`, `wss`, `grpcs` and `tls` URLs.
    pub tls: Tls,
    /// Headers on every request (values may hold `${secret:NAME}`).
    pub headers: Vec<(String, Template)>,
    /// How its connections are made.
    #[serde(default)]
    pub reach: Reach,
    /// Where the messages of its gRPC services are described.
    #[serde(default)]
    pub grpc: GrpcSchema,
}

/// The version of HTTP spoken to a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HttpVersion {
    /// HTTP/1.1.
    #[default]
    #[serde(rename = "1.1")]
    One,
    /// HTTP/2; without TLS with prior knowledge (RFC 9113 §3.3).
    #[serde(rename = "2")]
    Two,
}

/// How connections to a target are made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reach {
    /// Unix socket instead of the URL's host and port; path relative to the scenario.
    pub unix: Option<String>,
    /// HTTP proxy (`http://host:port`): CONNECT for TLS, absolute form otherwise.
    pub proxy: Option<String>,
    /// Local addresses to connect from, in turn; empty leaves it to the system.
    pub sources: Vec<IpAddr>,
    /// Always connect to this address, whatever the name resolves to.
    pub pin: Option<IpAddr>,
    /// The name is resolved again when the last answer is older than this; `None` resolves it once.
    pub resolve_every: Option<Span>,
}

/// Where the messages of a target's gRPC services are described.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrpcSchema {
    /// Asked from the server by reflection (grpc.reflection.v1, then v1alpha) before load starts.
    #[default]
    Reflection,
    /// A `.proto` file, and the folders its imports are looked for in; paths relative to the scenario.
    Proto {
        /// File.
        file: String,
        /// Import folders; the file's own folder is always one.
        include: Vec<String>,
    },
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
    /// Name sent as SNI and verified instead of the URL's host.
    #[serde(default)]
    pub server_name: Option<String>,
    /// Every connection makes a full handshake: sessions are not resumed.
    #[serde(default)]
    pub full_handshakes: bool,
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
