//! The fault proxies of a run: each listens, forwards to its upstream, counts what passes, and lets toxics be added and
//! removed while connections are open. Addresses are checked against the allow list before any connect.

mod http;
mod stats;
mod tcp;
mod toxics;

pub use stats::ProxyStats;

use crate::rolls;
use http::HttpProxy;
use shakedown_core::event::Attestation;
use shakedown_core::plan::ProxyPlan;
use shakedown_core::seams::{Boxed, Endpoints, Proxies, Toxic};
use shakedown_core::{AllowList, Allowed, Fail};
use shakedown_wire::forward::{DIAL_WITHIN, dial};
use shakedown_wire::{Server, Timer, bind, serve_http, serve_tcp};
use stats::Counters;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tcp::TcpProxy;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use toxics::Toxics;

/// All proxies of a run. Dropping it closes them.
pub struct ProxySet {
    proxies: BTreeMap<String, One>,
    servers: Mutex<Vec<Server>>,
}

struct One {
    addr: SocketAddr,
    http: bool,
    shared: Arc<Shared>,
}

/// What every connection of one proxy shares.
struct Shared {
    name: String,
    upstream: String,
    endpoints: Endpoints,
    allow: AllowList,
    toxics: Toxics,
    counters: Counters,
    timer: Arc<Timer>,
}

impl ProxySet {
    /// Binds and serves every proxy on the current tokio runtime; sets the endpoint `proxy.<name>` of each to the
    /// address it really listens on. `seed` is the run's: rolls come from it, the proxy's name and the toxic's seed.
    ///
    /// # Errors
    /// When an address cannot be bound; nothing is left listening then.
    pub async fn start(plans: &[ProxyPlan], endpoints: Endpoints, allow: AllowList, seed: u64) -> Result<Arc<ProxySet>, Fail> {
        let timer = Arc::new(Timer::start()?);
        let mut proxies = BTreeMap::new();
        let mut servers = Vec::new();
        for plan in plans {
            let listener = bind(plan.listen, &format!("proxy {}", plan.name))?;
            let shared = Arc::new(Shared {
                name: plan.name.clone(),
                upstream: plan.upstream.clone(),
                endpoints: endpoints.clone(),
                allow: allow.clone(),
                toxics: Toxics::new(rolls::named(seed, &plan.name)),
                counters: Counters::default(),
                timer: Arc::clone(&timer),
            });
            let server = if plan.http { http(listener, Arc::clone(&shared)) } else { tcp(listener, Arc::clone(&shared)) }?;
            let addr = server.addr();
            servers.push(server);
            if proxies.insert(plan.name.clone(), One { addr, http: plan.http, shared }).is_some() {
                return Err(Fail::new(format!("there are two proxies named {}; names are unique", plan.name)));
            }
        }
        for (name, one) in &proxies {
            endpoints.set(&format!("proxy.{name}"), one.addr);
        }
        Ok(Arc::new(ProxySet { proxies, servers: Mutex::new(servers) }))
    }

    /// Closes every listener and connection; all are gone when this returns. Idempotent; counts stay readable.
    pub async fn stop(&self) {
        for mut server in std::mem::take(&mut *self.servers.lock().await) {
            server.stop().await;
        }
    }

    /// What passed a proxy so far, with or without toxics; `None` when there is no such proxy.
    #[must_use]
    pub fn stats(&self, proxy: &str) -> Option<ProxyStats> {
        self.proxies.get(proxy).map(|one| one.shared.counters.snapshot())
    }

    /// Where a proxy listens.
    #[must_use]
    pub fn addr(&self, proxy: &str) -> Option<SocketAddr> {
        self.proxies.get(proxy).map(|one| one.addr)
    }

    fn one(&self, proxy: &str) -> Result<&One, Fail> {
        self.proxies.get(proxy).ok_or_else(|| {
            let known: Vec<&str> = self.proxies.keys().map(String::as_str).collect();
            Fail::new(format!("there is no proxy named {proxy}; there are: {}", known.join(", ")))
        })
    }
}

impl Proxies for ProxySet {
    fn add<'a>(&'a self, proxy: &'a str, toxic: Toxic) -> Boxed<'a, Result<(), Fail>> {
        Box::pin(async move {
            let one = self.one(proxy)?;
            if !one.http && (toxic.kind == "abort" || toxic.matches.method.is_some() || toxic.matches.path.is_some()) {
                let hint = "set `protocol: http` on the proxy";
                return Err(Fail::new(format!("proxy {proxy} does not understand HTTP, which {} needs; {hint}", toxic.name)));
            }
            one.shared.toxics.add(toxic)
        })
    }

    fn remove<'a>(&'a self, proxy: &'a str, toxic: &'a str) -> Boxed<'a, Result<(), Fail>> {
        Box::pin(async move {
            // Waits for no connection: each notices by itself, so that a dead peer cannot hold the removal up.
            self.one(proxy)?.shared.toxics.remove(toxic);
            Ok(())
        })
    }

    fn attest(&self, proxy: &str, toxic: &str) -> Attestation {
        self.proxies.get(proxy).map(|one| one.shared.toxics.attest(toxic)).unwrap_or_default()
    }
}

fn http(listener: tokio::net::TcpListener, shared: Arc<Shared>) -> Result<Server, Fail> {
    let policy = Arc::new(HttpProxy::new(shared));
    Server::start(listener, move |stream, peer, number| {
        let policy = Arc::clone(&policy);
        async move {
            let _open = policy.shared().counters.connection();
            serve_http(stream, number, peer, &*policy, &policy.shared().timer).await;
        }
    })
}

fn tcp(listener: tokio::net::TcpListener, shared: Arc<Shared>) -> Result<Server, Fail> {
    let policy = Arc::new(TcpProxy::new(shared));
    Server::start(listener, move |stream, peer, number| {
        let policy = Arc::clone(&policy);
        async move {
            let _open = policy.shared().counters.connection();
            serve_tcp(stream, number, peer, &*policy, &policy.shared().timer).await;
        }
    })
}

impl Shared {
    /// The upstream's address now, checked.
    async fn resolve(&self) -> Result<Allowed, Fail> {
        if let Some(addr) = self.endpoints.get(&self.upstream) {
            return self.allow.check(addr);
        }
        if let Ok(addr) = self.upstream.parse::<SocketAddr>() {
            return self.allow.check(addr);
        }
        let unknown =
            |why: String| Fail::new(format!("proxy {}: upstream {} is no endpoint that is up, and {why}", self.name, self.upstream));
        if !self.upstream.contains(':') {
            return Err(unknown("no host:port either".to_owned()));
        }
        let found = tokio::time::timeout(DIAL_WITHIN, tokio::net::lookup_host(&self.upstream)).await;
        let found = found.map_err(|_| unknown(format!("its name was not resolved within {DIAL_WITHIN:?}")))?;
        let mut refused = unknown("its name has no address".to_owned());
        for addr in found.map_err(|e| unknown(format!("its name cannot be resolved: {e}")))? {
            match self.allow.check(addr) {
                Ok(allowed) => return Ok(allowed),
                Err(why) => refused = why,
            }
        }
        Err(refused)
    }

    async fn dial(&self) -> io::Result<TcpStream> {
        let allowed = self.resolve().await.map_err(|why| io::Error::other(why.0))?;
        dial(allowed.addr(), DIAL_WITHIN).await
    }
}
