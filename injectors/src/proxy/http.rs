//! HTTP proxies: shares are rolled per request that matches; a request is delayed, answered, swallowed or reset before
//! it is forwarded. Messages pass byte for byte.

use super::Shared;
use super::toxics::Live;
use crate::rolls::Rolls;
use crate::toxic::{Act, Shaper};
use bytes::Bytes;
use shakedown_core::seams::Boxed;
use shakedown_wire::forward::{DIAL_WITHIN, dial};
use shakedown_wire::{
    Answer, Direction, Ending, Exchange, Flow, Forward, Head, HttpError, HttpPolicy, Lane, Origin, Piece, Report, Verdict,
};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// Says that an answer is the proxy's own.
const PROXY_HEADER: &str = "x-shakedown-proxy";

pub(super) struct HttpProxy(Arc<Shared>);

/// A toxic that hit this request.
struct Struck {
    live: Arc<Live>,
    rolls: Rolls,
}

struct Proxied {
    shared: Arc<Shared>,
    struck: Vec<Struck>,
}

impl HttpProxy {
    pub(super) fn new(shared: Arc<Shared>) -> HttpProxy {
        HttpProxy(shared)
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.0
    }

    /// Runs the toxics in order; gives those that hit, or what ends the request here.
    async fn toxics(&self, head: &Head) -> Result<Vec<Struck>, Verdict> {
        let number = self.0.counters.request();
        let toxics = &self.0.toxics;
        let arrived = Instant::now();
        let size = head.raw().len() as u64;
        let mut held = Duration::ZERO;
        let mut struck = Vec::new();
        for live in toxics.list().iter().filter(|live| live.matches(head)) {
            // It may have gone while an earlier one held the request.
            if held > Duration::ZERO && !toxics.in_place(live.id) {
                continue;
            }
            live.counts.seen.fetch_add(1, Ordering::Relaxed);
            let Some(mut rolls) = live.roll(number) else { continue };
            live.counts.hits.fetch_add(1, Ordering::Relaxed);
            match live.behaviour.request(&mut rolls) {
                Act::Pass => {}
                Act::Hold(span) => {
                    held += span.duration();
                    if !toxics.wait(live.id, arrived + held, &self.0.timer).await {
                        held = arrived.elapsed();
                    }
                }
                Act::Answer(answer) => {
                    live.bytes(size);
                    return Err(Verdict::Answer(answer));
                }
                Act::End(after, how) => {
                    held += after.duration();
                    if toxics.wait(live.id, arrived + held, &self.0.timer).await {
                        live.bytes(size);
                        return Err(Verdict::End(how));
                    }
                    held = arrived.elapsed();
                }
                Act::Swallow => {
                    live.bytes(size);
                    let (shared, id) = (Arc::clone(&self.0), live.id);
                    return Err(Verdict::Swallow(Box::pin(async move {
                        shared.toxics.gone(id).await;
                        Ending::Close
                    })));
                }
            }
            struck.push(Struck { live: Arc::clone(live), rolls });
        }
        Ok(struck)
    }
}

impl HttpPolicy for HttpProxy {
    fn request<'a>(&'a self, _origin: &'a Origin, head: &'a mut Head) -> Boxed<'a, Verdict> {
        Box::pin(async move {
            let struck = match self.toxics(head).await {
                Ok(struck) => struck,
                Err(verdict) => return verdict,
            };
            let mut exchange = Proxied { shared: Arc::clone(&self.0), struck };
            match self.0.resolve().await {
                Ok(allowed) => Verdict::Forward(Forward { upstream: allowed.addr(), exchange: Box::new(exchange) }),
                Err(why) => {
                    let answer = exchange.unreachable(&why.0);
                    Box::new(exchange).end(Report { failure: Some(why.0), ..Report::default() });
                    Verdict::Answer(answer)
                }
            }
        })
    }

    fn dial(&self, upstream: SocketAddr) -> Boxed<'_, io::Result<TcpStream>> {
        // Checked again where the connect is: nothing but an allowed address is ever connected to.
        Box::pin(async move {
            let allowed = self.0.allow.check(upstream).map_err(|why| io::Error::other(why.0))?;
            dial(allowed.addr(), DIAL_WITHIN).await
        })
    }

    fn malformed(&self, _origin: &Origin, error: HttpError) {
        tracing::debug!(proxy = self.0.name, %error, "a client sent no HTTP");
        self.0.counters.malformed();
    }

    fn changed(&self) -> Option<watch::Receiver<u64>> {
        Some(self.0.toxics.subscribe())
    }
}

impl Exchange for Proxied {
    fn flow(&mut self, direction: Direction) -> Option<Box<dyn Flow>> {
        let shapers = self.struck.iter().filter_map(|s| Some((s.live.id, s.live.behaviour.exchange_shaper(direction)?)));
        let shapers: Vec<_> = shapers.collect();
        if shapers.is_empty() {
            return None;
        }
        Some(Box::new(ExchangeFlow { shared: Arc::clone(&self.shared), shapers }))
    }

    fn response<'a>(&'a mut self, _head: &'a mut Head) -> Boxed<'a, ()> {
        Box::pin(async move {
            let read = Instant::now();
            let mut held = Duration::ZERO;
            for Struck { live, rolls } in &mut self.struck {
                let hold = live.behaviour.answer(rolls).duration();
                if hold > Duration::ZERO {
                    held += hold;
                    if !self.shared.toxics.wait(live.id, read + held, &self.shared.timer).await {
                        held = read.elapsed();
                    }
                }
            }
        })
    }

    fn unreachable(&mut self, why: &str) -> Answer {
        let name = &self.shared.name;
        Answer::text(502, &format!("proxy {name}: upstream unreachable: {why}\n")).with(PROXY_HEADER, "upstream-unreachable")
    }

    fn end(self: Box<Self>, report: Report) {
        self.struck.iter().for_each(|s| s.live.bytes(report.up + report.down));
        self.shared.counters.ended(&report);
    }
}

/// Shapes one direction of one exchange.
struct ExchangeFlow {
    shared: Arc<Shared>,
    shapers: Vec<(u64, Box<dyn Shaper>)>,
}

impl Flow for ExchangeFlow {
    fn chunk(&mut self, data: Bytes, now: Instant, lane: &mut Lane) {
        let mut pieces = vec![Piece { data, read: now, holds: Vec::new() }];
        for (id, shaper) in &mut self.shapers {
            pieces = shaper.shape(*id, pieces);
        }
        pieces.into_iter().for_each(|piece| lane.push(piece));
    }

    fn changed(&mut self, _now: Instant, lane: &mut Lane) {
        let list = self.shared.toxics.list();
        self.shapers.retain(|(id, _)| {
            let stays = list.iter().any(|live| live.id == *id);
            if !stays {
                lane.release(*id);
            }
            stays
        });
    }
}
