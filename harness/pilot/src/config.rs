//! What the embedded shop is started with. Plain data: must not open sockets.

use crate::flaws::Flaws;
use serde::{Deserialize, Serialize};
use shakedown_core::Fail;
use shakedown_core::plan::Sticky;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

/// The shop's endpoints, announced as `<name>.<endpoint>` and keys of [`ShopConfig::listen`].
pub const ENDPOINTS: [&str; 5] = ["router", "control", "canary", "payments", "admin"];

/// The embedded shop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShopConfig {
    /// Service name, first half of its endpoints' names.
    pub name: String,
    /// Release name and flaws of the control.
    pub control: (String, Vec<String>),
    /// Release name and flaws of the canary; the router's flaws are written here too.
    pub canary: (String, Vec<String>),
    /// What the shop calls for payments; `None` is its own payments service.
    pub payments: Option<SocketAddr>,
    /// Endpoint (one of [`ENDPOINTS`]) to address; what is not given gets 127.0.0.1 and a free port.
    #[serde(default)]
    pub listen: BTreeMap<String, SocketAddr>,
    /// Seed of service times and of the flaws' draws.
    pub seed: u64,
    /// What keeps a caller on one release; `None` splits by request.
    #[serde(default)]
    pub sticky: Option<Sticky>,
}

impl ShopConfig {
    /// Where an endpoint shall listen.
    pub(crate) fn listen_on(&self, endpoint: &str) -> SocketAddr {
        self.listen.get(endpoint).copied().unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 0).into())
    }

    /// The flaws of control and canary, after all names are checked.
    pub(crate) fn check(&self) -> Result<(Flaws, Flaws), Fail> {
        if let Some(unknown) = self.listen.keys().find(|key| !ENDPOINTS.contains(&key.as_str())) {
            return Err(Fail::new(format!("{} has no endpoint `{unknown}`; its endpoints: {}", self.name, ENDPOINTS.join(", "))));
        }
        for release in [&self.control.0, &self.canary.0] {
            if release.is_empty() || http::HeaderValue::from_str(release).is_err() {
                return Err(Fail::new(format!("`{release}` is no release name: it must fit into a header")));
            }
        }
        let sticky = self.sticky.as_ref().map(|sticky| match sticky {
            Sticky::Header(name) | Sticky::Cookie(name) => name,
        });
        if let Some(name) = sticky.filter(|name| http::HeaderName::from_bytes(name.as_bytes()).is_err()) {
            return Err(Fail::new(format!("`{name}` is no name of a header or cookie to be sticky by")));
        }
        let control = Flaws::parse(&self.control.0, &self.control.1)?;
        if let Some(flaw) = control.of_router().first() {
            return Err(Fail::new(format!(
                "`{flaw}` is a flaw of the router; write it with the canary {}, not with {}",
                self.canary.0, self.control.0
            )));
        }
        Ok((control, Flaws::parse(&self.canary.0, &self.canary.1)?))
    }
}
