//! How a target is reached: over the direct HTTP/1.1 path, or by a client of its protocol. The one place that decides
//! which. Must not send.

use crate::compile::{Stream, Talk};
use crate::render::Place;
use crate::trip::TripId;
use http::HeaderMap;
use shakedown_core::Fail;
use shakedown_core::plan::{Connections, HttpVersion, Target};
use shakedown_net::{Connected, Connector, NoConnection};
use shakedown_protocols::{Broken, Client, Grpc, Http2, NewConnection, Reply, Schema, Tcp, Udp, WebSocket};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::OnceCell;

/// How long the descriptions of gRPC services may take to come.
const SCHEMA_WITHIN: Duration = Duration::from_secs(10);

/// A task has come to something.
#[derive(Debug)]
pub enum Done {
    /// A connection for this trip.
    Connected(TripId, Result<Connected, NoConnection>),
    /// An exchange of this trip.
    Exchanged(TripId, Result<Reply, Broken>),
}

/// What tasks have come to: at most one entry a trip.
#[derive(Debug, Default)]
pub struct Completions(RefCell<VecDeque<Done>>);

/// What a target's gRPC services look like, or why that is not known; for all workers.
pub type Described = OnceCell<Result<Schema, Fail>>;

/// What a stream's link is made for.
#[derive(Clone, Copy, Debug)]
pub struct Purpose<'a> {
    /// Where to.
    pub target: &'a Target,
    /// The stream.
    pub stream: &'a Stream,
    /// Every stream of the run: gRPC services are described once for all that use them.
    pub all: &'a [Stream],
    /// This worker's part of the stream's connections.
    pub policy: &'a Connections,
    /// Base URLs by target.
    pub targets: &'a BTreeMap<String, String>,
}

impl Purpose<'_> {
    /// The gRPC calls made to the target, by path.
    fn calls(&self) -> Vec<String> {
        let streams = self.all.iter().filter(|s| s.plan.target == self.target.name);
        let calls = streams.flat_map(Stream::requests).filter(|r| matches!(r.talk, Talk::Grpc));
        calls.filter_map(|r| r.path.constant(Place::Path, self.targets)?.ok()).collect()
    }
}

/// A stream's way to its target.
#[derive(Clone)]
pub struct Link {
    connector: Connector,
    version: HttpVersion,
    http2: Option<Rc<dyn Client>>,
    grpc: Option<Rc<dyn Client>>,
    websocket: Option<Rc<dyn Client>>,
    tcp: Option<Rc<dyn Client>>,
    udp: Option<Rc<dyn Client>>,
}

impl Completions {
    /// Adds one.
    pub fn add(&self, done: Done) {
        self.0.borrow_mut().push_back(done);
    }

    /// The oldest.
    #[inline]
    #[must_use]
    pub fn take(&self) -> Option<Done> {
        self.0.borrow_mut().pop_front()
    }
}

impl Link {
    /// The way of a stream to its target, with the clients its steps need. `described` is the target's, filled by the first
    /// worker that needs it.
    ///
    /// # Errors
    /// When the descriptions of gRPC services cannot be had, or one of its calls is not among them.
    pub async fn open(connector: Connector, purpose: Purpose<'_>, described: &Described) -> Result<Link, Fail> {
        let Purpose { target, stream, policy, .. } = purpose;
        let talks = |wanted: fn(&Talk) -> bool| stream.requests().any(|r| wanted(&r.talk));
        let two = target.http == HttpVersion::Two && (talks(|t| matches!(t, Talk::Http)) || stream.log.is_some());
        let grpc = talks(|t| matches!(t, Talk::Grpc));
        let http2 = (two || grpc).then(|| Http2::new(connector.clone(), policy));
        let mut link =
            Link { connector: connector.clone(), version: target.http, http2: None, grpc: None, websocket: None, tcp: None, udp: None };
        if grpc && let Some(http2) = &http2 {
            let calls = purpose.calls();
            let load = || Schema::load(&target.grpc, Path::new("."), http2, HeaderMap::new(), &calls, SCHEMA_WITHIN);
            let schema = described.get_or_init(load).await.clone().map_err(|e| Fail::new(format!("target `{}`: {e}", target.name)))?;
            link.grpc = Some(Rc::new(Grpc::new(http2.clone(), schema)));
        }
        if let Some(http2) = http2.filter(|_| two) {
            link.http2 = Some(Rc::new(http2));
        }
        if talks(|t| matches!(t, Talk::WebSocket { .. })) {
            link.websocket = Some(Rc::new(WebSocket::new(connector.clone(), policy)));
        }
        if talks(|t| matches!(t, Talk::Tcp(_))) {
            link.tcp = Some(Rc::new(Tcp::new(connector.clone(), policy)));
        }
        if talks(|t| matches!(t, Talk::Udp)) {
            link.udp = Some(Rc::new(Udp::new(connector, policy)));
        }
        Ok(link)
    }

    /// Makes connections.
    #[must_use]
    pub fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Whether this goes over the direct path.
    #[must_use]
    pub fn is_direct(&self, talk: &Talk) -> bool {
        matches!(talk, Talk::Http) && self.version == HttpVersion::One
    }

    /// The client that does this.
    ///
    /// # Errors
    /// When there is none: the step was not known when the link was opened.
    pub fn client(&self, talk: &Talk) -> Result<&Rc<dyn Client>, String> {
        let client = match talk {
            Talk::Http => &self.http2,
            Talk::Grpc => &self.grpc,
            Talk::WebSocket { .. } => &self.websocket,
            Talk::Tcp(_) => &self.tcp,
            Talk::Udp => &self.udp,
        };
        client.as_ref().ok_or_else(|| "this target has no client for what the step exchanges".to_owned())
    }

    /// Opens connections in advance with every client.
    ///
    /// # Errors
    /// Why one cannot be opened.
    pub async fn prewarm(&self, count: u32) -> Result<Vec<NewConnection>, Broken> {
        let mut all = Vec::new();
        let clients = [&self.http2, &self.grpc, &self.websocket, &self.tcp, &self.udp];
        for client in clients.into_iter().flatten() {
            all.extend(client.prewarm(count).await?);
        }
        Ok(all)
    }
}
