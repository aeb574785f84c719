//! Puts the shop together: binds every endpoint, announces them, serves until it is told to stop. Must not answer
//! requests itself.

use crate::admin::Admin;
use crate::client::Pool;
use crate::config::{ENDPOINTS, ShopConfig};
use crate::flaws::Flaws;
use crate::orders::Orders;
use crate::payments;
use crate::router::Router;
use crate::server::{bind, serve};
use crate::shop::Shop;
use crate::weights::Weights;
use shakedown_core::Fail;
use std::collections::BTreeMap;
use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Requests in flight get this long once the servers shall end.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// The shop with all its endpoints bound, not yet serving.
pub struct Pilot {
    config: ShopConfig,
    flaws: (Flaws, Flaws),
    listeners: BTreeMap<&'static str, TcpListener>,
    endpoints: BTreeMap<&'static str, SocketAddr>,
}

/// The runtime the servers here are made for: everything on the calling thread, the cheapest at their rates.
///
/// # Errors
/// When the system gives no event queue.
pub fn runtime() -> Result<tokio::runtime::Runtime, Fail> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(|error| Fail::new(format!("the runtime cannot start: {error}")))
}

/// Serves the shop until SIGTERM or SIGINT. Writes one line `SHAKEDOWN-ENDPOINT <name>.<endpoint> <address>` for each of
/// [`ENDPOINTS`] and then `SHAKEDOWN-READY` to `out`. Ends within a second of the signal.
///
/// # Errors
/// Unknown flaws or endpoints, an address that cannot be bound, announcements that cannot be written.
pub async fn serve_shop(config: ShopConfig, out: &mut impl Write) -> Result<(), Fail> {
    let name = config.name.clone();
    let pilot = Pilot::bind(config).await?;
    let stop = stop_signal()?;
    announce(&name, &pilot.endpoints, out)?;
    pilot.serve(stop).await;
    Ok(())
}

impl Pilot {
    /// Checks the configuration and binds every endpoint.
    ///
    /// # Errors
    /// As [`serve_shop`].
    pub async fn bind(config: ShopConfig) -> Result<Pilot, Fail> {
        let flaws = config.check()?;
        let (mut listeners, mut endpoints) = (BTreeMap::new(), BTreeMap::new());
        for endpoint in ENDPOINTS {
            let (listener, addr) = bind(&format!("{}.{endpoint}", config.name), config.listen_on(endpoint)).await?;
            listeners.insert(endpoint, listener);
            endpoints.insert(endpoint, addr);
        }
        Ok(Pilot { config, flaws, listeners, endpoints })
    }

    /// Where an endpoint (one of [`ENDPOINTS`]) listens.
    #[must_use]
    pub fn endpoint(&self, endpoint: &str) -> Option<SocketAddr> {
        self.endpoints.get(endpoint).copied()
    }

    /// Serves until `stop` is ready, then gives open requests 500 ms.
    pub async fn serve(mut self, stop: impl Future<Output = ()>) {
        let (tell, told) = watch::channel(false);
        let orders = Arc::new(Orders::default());
        let payments_addr = self.config.payments.unwrap_or(self.endpoints["payments"]);
        let payments = Arc::new(Pool::new(payments_addr));
        let weights = Arc::new(Weights::new(self.flaws.1));
        let releases = [("control", &self.config.control.0, self.flaws.0), ("canary", &self.config.canary.0, self.flaws.1)];
        for (endpoint, release, flaws) in releases {
            // Two releases of one name still draw apart.
            let seed = self.config.seed ^ crate::draw::hash(endpoint.as_bytes());
            let shop = Arc::new(Shop::new(release, flaws, seed, orders.clone(), (payments.clone(), payments_addr)));
            let listener = self.listeners.remove(endpoint).expect("bind made every listener");
            tokio::spawn(serve(listener, move |request| shop.clone().answer(request), told.clone()));
        }
        let listener = self.listeners.remove("payments").expect("bind made every listener");
        tokio::spawn(serve(listener, payments::answer, told.clone()));
        let admin = Arc::new(Admin::new(&self.config.name, weights.clone()));
        let listener = self.listeners.remove("admin").expect("bind made every listener");
        tokio::spawn(serve(listener, move |request| admin.clone().answer(request), told.clone()));
        let sticky = self.config.sticky.take();
        let router = Arc::new(Router::new(weights, sticky, self.endpoints["control"], self.endpoints["canary"]));
        let listener = self.listeners.remove("router").expect("bind made every listener");
        tokio::spawn(serve(listener, move |request| router.clone().answer(request), told));
        stop.await;
        end(tell).await;
    }
}

/// Tells every server to end and waits for open requests, at most [`LAST_ANSWERS`].
pub(crate) async fn end(tell: watch::Sender<bool>) {
    tell.send_replace(true);
    if tokio::time::timeout(LAST_ANSWERS, tell.closed()).await.is_err() {
        tracing::debug!("some requests were still open at the end");
    }
}

/// Ready at the first SIGTERM or SIGINT; the handlers are in place when this returns.
pub(crate) fn stop_signal() -> Result<impl Future<Output = ()>, Fail> {
    let handler = |kind| signal(kind).map_err(|error| Fail::new(format!("signals cannot be handled: {error}")));
    let (mut terminate, mut interrupt) = (handler(SignalKind::terminate())?, handler(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Writes the announcements that the harness waits for.
pub(crate) fn announce(name: &str, endpoints: &BTreeMap<&'static str, SocketAddr>, out: &mut impl Write) -> Result<(), Fail> {
    let mut lines = String::new();
    for (endpoint, addr) in endpoints {
        lines.push_str(&format!("SHAKEDOWN-ENDPOINT {name}.{endpoint} {addr}\n"));
    }
    lines.push_str("SHAKEDOWN-READY\n");
    let written = out.write_all(lines.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| Fail::new(format!("{name} cannot announce its endpoints: {error}")))
}
