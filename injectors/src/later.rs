//! Kinds that are in the language but not in this version: they answer "not available yet" and never pass unnoticed.

use serde_json::Value;
use shakedown_core::Fail;
use shakedown_core::plan::FaultPlan;
use shakedown_core::seams::{Available, Boxed, Class, Cx, Injector, Kind, LaterKind, Prepared};
use shakedown_core::tree::{Node, Problems};

/// A later kind as an injector.
#[derive(Debug)]
pub struct Later(LaterKind, &'static [&'static str]);

const PROXY: &[&str] = &["proxy", "http-proxy"];
const HTTP: &[&str] = &["http-proxy"];
const SERVICE: &[&str] = &["service"];
/// Hosts, networks and the like: nothing of this version.
const ELSEWHERE: &[&str] = &[];

const fn later(name: &'static str, about: &'static str, on: &'static [&'static str]) -> Later {
    Later(LaterKind(name, about), on)
}

/// The connection is accepted late, or never.
pub const SLOW_CONNECT: Later = later("slow-connect", "accepts connections late, or never", PROXY);
/// Down and up in turns.
pub const FLAPPING: Later = later("flapping", "down for some seconds every so many", PROXY);
/// The close comes late.
pub const SLOW_CLOSE: Later = later("slow-close", "delays the close of connections", PROXY);
/// Small pieces.
pub const SLICER: Later = later("slicer", "cuts data into small pieces", PROXY);
/// Closes after so many bytes.
pub const LIMIT_DATA: Later = later("limit-data", "closes after exactly so many bytes", PROXY);
/// Bodies end early.
pub const TRUNCATE: Later = later("truncate", "ends bodies early", HTTP);
/// Bodies that do not parse.
pub const MALFORMED: Later = later("malformed", "sends bodies that do not parse", HTTP);
/// Flipped bytes.
pub const CORRUPT: Later = later("corrupt", "changes bytes of bodies", HTTP);
/// Byte by byte.
pub const DRIBBLE: Later = later("dribble", "sends bodies slowly, byte by byte", HTTP);
/// Header changes.
pub const HEADERS: Later = later("headers", "adds, changes or removes headers", HTTP);
/// 429 with Retry-After.
pub const RATE_LIMIT: Later = later("rate-limit", "answers 429 with Retry-After above a rate", HTTP);
/// 401 for a share.
pub const EXPIRED_CREDENTIALS: Later = later("expired-credentials", "answers 401 for a while, then lets through", HTTP);
/// Wrong, slow or no names.
pub const DNS: Later = later("dns", "slow, refused or wrong names", ELSEWHERE);
/// Datagrams.
pub const UDP: Later = later("udp", "delay, loss, duplication and reordering of datagrams", ELSEWHERE);
/// Busy processors.
pub const CPU: Later = later("cpu", "keeps processors busy", ELSEWHERE);
/// Memory in use.
pub const MEMORY: Later = later("memory", "uses memory up", ELSEWHERE);
/// No space left.
pub const DISK_FULL: Later = later("disk-full", "fills a file system", ELSEWHERE);
/// No descriptors left.
pub const DESCRIPTORS: Later = later("descriptors", "uses file descriptors up", SERVICE);
/// Busy disks.
pub const IO: Later = later("io", "keeps disks busy", ELSEWHERE);
/// A wrong clock.
pub const CLOCK: Later = later("clock", "shifts the clock of a service", SERVICE);
/// Lost packets.
pub const LOSS: Later = later("loss", "loses packets", ELSEWHERE);
/// A split network.
pub const PARTITION: Later = later("partition", "drops or rejects all packets between two sides", ELSEWHERE);
/// A slow network.
pub const NETWORK_BANDWIDTH: Later = later("network-bandwidth", "limits the bandwidth of a network", ELSEWHERE);
/// Containers.
pub const CONTAINER: Later = later("container", "pauses, kills, stops, restarts or disconnects a container", ELSEWHERE);
/// Your own program.
pub const COMMAND: Later = later("command", "runs commands to apply, check and revert", ELSEWHERE);
/// Your own service.
pub const WEBHOOK: Later = later("webhook", "calls a service to apply and revert, under a lease", ELSEWHERE);

impl Kind for Later {
    fn name(&self) -> &'static str {
        self.0.name()
    }
    fn about(&self) -> &'static str {
        self.0.about()
    }
    fn schema(&self) -> Value {
        self.0.schema()
    }
    fn parse(&self, node: &Node, problems: &mut Problems) -> Option<Value> {
        self.0.parse(node, problems)
    }
    fn available(&self) -> Available {
        Available::Later
    }
}

impl Injector for Later {
    fn class(&self, _params: &Value) -> Class {
        // Never applied; the strictest class for whoever asks.
        Class::Irreversible
    }
    fn conflicts(&self, _params: &Value) -> &'static str {
        self.0.0
    }
    fn sits_on(&self) -> &'static [&'static str] {
        self.1
    }
    fn prepare<'a>(&'a self, _fault: &'a FaultPlan, _cx: &'a Cx) -> Boxed<'a, Result<Prepared, Fail>> {
        Box::pin(async move { Err(Fail::new(format!("`{}` is not available yet; see `shakedown kinds`", self.name()))) })
    }
    fn as_kind(&self) -> &dyn Kind {
        self
    }
}
