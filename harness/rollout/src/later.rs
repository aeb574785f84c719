//! Driver kinds that are in the language but come with a later version. Must not contact anything.

use serde_json::Value;
use shakedown_core::seams::{Available, Boxed, Cx, Driver, DriverKind, Fail, Kind, LaterKind};
use shakedown_core::tree::{Node, Problems};
use std::sync::Arc;

/// A driver kind of a later version.
pub(crate) struct Later(pub(crate) LaterKind);

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
        self.0.available()
    }
}

impl DriverKind for Later {
    fn connect<'a>(&'a self, _params: &'a Value, _cx: &'a Cx) -> Boxed<'a, Result<Arc<dyn Driver>, Fail>> {
        Box::pin(async { Err(Fail::new(format!("the driver `{}` is not available yet", self.name()))) })
    }
    fn as_kind(&self) -> &dyn Kind {
        self
    }
}
