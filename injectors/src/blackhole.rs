//! `blackhole`: everything is swallowed and nothing comes back; when the fault goes, the connection closes.

use crate::params;
use crate::rolls::Rolls;
use crate::toxic::{Act, Behaviour, proxy_kind};
use serde_json::Value;
use shakedown_core::seams::Kind;
use shakedown_core::tree::{Node, Problems};
use std::sync::Arc;

/// The kind.
#[derive(Debug)]
pub struct Blackhole;

impl Kind for Blackhole {
    fn name(&self) -> &'static str {
        "blackhole"
    }
    fn about(&self) -> &'static str {
        "swallows everything; nothing comes back, and the connection closes when the fault goes"
    }
    fn schema(&self) -> Value {
        params::schema_none()
    }
    fn parse(&self, node: &Node, problems: &mut Problems) -> Option<Value> {
        params::none("blackhole", node, problems)
    }
}

proxy_kind!(Blackhole, "", &["proxy", "http-proxy"]);

/// The behaviour.
pub fn behaviour() -> Arc<dyn Behaviour> {
    Arc::new(Swallows)
}

struct Swallows;

impl Behaviour for Swallows {
    fn request(&self, _rolls: &mut Rolls) -> Act {
        Act::Swallow
    }
    fn swallows(&self) -> bool {
        true
    }
}
