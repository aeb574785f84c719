//! Rollout drivers, one a file: each sets a canary's weight, reads it back from the router and restores what was there.
//! Must not decide when: the engine does.

mod builtin;
mod http_client;
mod later;

use later::Later;
use shakedown_core::seams::{DriverKind, LaterKind, Undo};

pub use builtin::{Builtin, BuiltinUndo};

/// Every driver kind.
pub const KINDS: &[&dyn DriverKind] = &[
    &Builtin,
    &Later(LaterKind("haproxy", "HAProxy over its admin socket")),
    &Later(LaterKind("envoy", "Envoy by runtime key or route file")),
    &Later(LaterKind("nginx", "nginx by split_clients and reload")),
    &Later(LaterKind("flagd", "flagd by its flag file")),
    &Later(LaterKind("command", "programs that set and read the weight")),
    &Later(LaterKind("webhook", "an HTTP interface that sets and reads the weight")),
    &Later(LaterKind("kubernetes", "a Kubernetes Deployment")),
    &Later(LaterKind("gateway", "a Gateway API HTTPRoute")),
    &Later(LaterKind("argo-rollouts", "an Argo Rollout")),
    &Later(LaterKind("external", "somebody else shifts the weight; it is only observed")),
];

/// What takes back the drivers' changes after the harness was killed.
pub const UNDO: &[&dyn Undo] = &[&BuiltinUndo];
