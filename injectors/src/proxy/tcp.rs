//! TCP proxies: shares are rolled per connection; toxics shape the bytes of each direction. Must not look into them.

use super::Shared;
use super::toxics::Live;
use crate::toxic::Shaper;
use bytes::Bytes;
use shakedown_wire::{Direction, Ending, Flow, Lane, Piece, Report, TcpPolicy, TcpSession};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Instant;

pub(super) struct TcpProxy(Arc<Shared>);

/// One connection.
struct Link {
    number: u64,
    opened: Instant,
    shared: Arc<Shared>,
    counted: Mutex<Counted>,
}

/// Toxics this connection was counted for.
#[derive(Default)]
struct Counted {
    seen: BTreeSet<u64>,
    hit: BTreeSet<u64>,
}

/// One direction of a connection.
struct LinkFlow {
    link: Arc<Link>,
    direction: Direction,
    parts: Vec<Part>,
}

/// One toxic in one direction.
struct Part {
    live: Arc<Live>,
    hit: bool,
    shaper: Option<Box<dyn Shaper>>,
}

impl TcpProxy {
    pub(super) fn new(shared: Arc<Shared>) -> TcpProxy {
        TcpProxy(shared)
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.0
    }
}

impl TcpPolicy for TcpProxy {
    fn open(&self, number: u64, _peer: SocketAddr) -> TcpSession {
        // Subscribed before the list is read, so that no change falls between.
        let changed = self.0.toxics.subscribe();
        let link = Arc::new(Link { number, opened: Instant::now(), shared: Arc::clone(&self.0), counted: Mutex::default() });
        self.0.toxics.list().iter().for_each(|live| link.see(live));
        let (dialling, ended) = (Arc::clone(&link), Arc::clone(&self.0));
        TcpSession {
            dial: Box::pin(async move {
                let dialled = dialling.shared.dial().await;
                if dialled.is_err() && dialling.swallowed() {
                    // A black hole shows nothing of what is behind it; the connection ends when the fault goes.
                    std::future::pending::<()>().await;
                }
                dialled
            }),
            up: Box::new(LinkFlow::new(&link, Direction::Upstream)),
            down: Box::new(LinkFlow::new(&link, Direction::Downstream)),
            ending: Box::pin(ending(link)),
            changed,
            end: Box::new(move |report: Report| ended.counters.ended(&report)),
        }
    }
}

impl Link {
    fn see(&self, live: &Live) {
        if self.counted.lock().expect("no holder panics").seen.insert(live.id) {
            live.counts.seen.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn strike(&self, live: &Live) {
        self.see(live);
        if self.counted.lock().expect("no holder panics").hit.insert(live.id) {
            live.counts.hits.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn swallowed(&self) -> bool {
        let list = self.shared.toxics.list();
        list.iter().any(|live| live.behaviour.swallows() && live.roll(self.number).is_some())
    }
}

impl LinkFlow {
    fn new(link: &Arc<Link>, direction: Direction) -> LinkFlow {
        let mut flow = LinkFlow { link: Arc::clone(link), direction, parts: Vec::new() };
        flow.refresh();
        flow
    }

    /// Takes the toxics that are in place now; gives the ids of those that went.
    fn refresh(&mut self) -> Vec<u64> {
        let list = self.link.shared.toxics.list();
        let mut gone = Vec::new();
        self.parts.retain(|part| {
            let stays = list.iter().any(|live| live.id == part.live.id);
            if !stays {
                gone.push(part.live.id);
            }
            stays
        });
        for live in list.iter().filter(|live| self.parts.iter().all(|part| part.live.id != live.id)).collect::<Vec<_>>() {
            let rolls = live.roll(self.link.number);
            let hit = rolls.is_some();
            let shaper = rolls.and_then(|rolls| live.behaviour.shaper(self.direction, rolls));
            self.parts.push(Part { live: Arc::clone(live), hit, shaper });
        }
        gone
    }
}

impl Flow for LinkFlow {
    fn chunk(&mut self, data: Bytes, now: Instant, lane: &mut Lane) {
        let length = data.len() as u64;
        let mut pieces = vec![Piece { data, read: now, holds: Vec::new() }];
        for part in &mut self.parts {
            self.link.see(&part.live);
            if !part.hit {
                continue;
            }
            let swallows = part.live.behaviour.swallows();
            if swallows || part.shaper.is_some() {
                self.link.strike(&part.live);
                part.live.bytes(length);
            }
            if swallows {
                return;
            }
            if let Some(shaper) = &mut part.shaper {
                pieces = shaper.shape(part.live.id, pieces);
            }
        }
        pieces.into_iter().for_each(|piece| lane.push(piece));
    }

    fn changed(&mut self, _now: Instant, lane: &mut Lane) {
        self.refresh().into_iter().for_each(|id| lane.release(id));
        if self.parts.iter().any(|part| part.hit && part.live.behaviour.swallows()) {
            // What waited when the hole opened falls into it too.
            lane.clear();
        }
    }
}

/// Resolves when a toxic ends the connection: its time has come, or what swallowed the connection's bytes is gone.
async fn ending(link: Arc<Link>) -> Ending {
    let toxics = &link.shared.toxics;
    let mut changed = toxics.subscribe();
    let mut swallowing = BTreeSet::new();
    loop {
        let list = toxics.list();
        if swallowing.iter().any(|id| list.iter().all(|live| live.id != *id)) {
            return Ending::Close;
        }
        let mut first: Option<(Instant, Ending, &Arc<Live>)> = None;
        for live in list.iter().filter(|live| live.roll(link.number).is_some()) {
            if live.behaviour.swallows() {
                swallowing.insert(live.id);
            }
            if let Some((after, how)) = live.behaviour.ending() {
                link.see(live);
                let at = link.opened.max(live.since) + after.duration();
                if first.as_ref().is_none_or(|(earliest, ..)| at < *earliest) {
                    first = Some((at, how, live));
                }
            }
        }
        let due = async {
            match first {
                Some((at, how, live)) => {
                    link.shared.timer.until(at).await;
                    link.strike(live);
                    how
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            told = changed.changed() => if told.is_err() {
                return Ending::Close;
            },
            how = due => return how,
        }
    }
}
