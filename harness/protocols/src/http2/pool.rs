//! The HTTP/2 connections of a target: which one takes a request, when another is made, who waits. Must not know what is
//! sent.

use super::broken;
use super::lane::{self, Lane, Made};
use crate::face::{Broken, NewConnection, Progress};
use crate::gate::{Queue, Wait};
use bytes::Bytes;
use h2::RecvStream;
use h2::client::Connection;
use http::{Request, Response};
use shakedown_core::plan::Connections;
use shakedown_core::snapshot::Failure;
use shakedown_net::{Connector, Handle, Stream};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};

/// A connection that is not ready for requests within this has failed; whoever waits has usually given up long before.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// A connection nobody uses any more is dropped when it has not been closed in good order within this.
const CLOSED_WITHIN: Duration = Duration::from_secs(1);

/// The connections.
pub(crate) struct Pool {
    me: Weak<Pool>,
    handle: Handle,
    connector: Rc<Connector>,
    max: usize,
    streams: u32,
    per_connection: u32,
    idle: Duration,
    lanes: RefCell<Vec<Rc<Lane>>>,
    /// Where looking for room begins: when filling, no lane before it has any.
    cursor: Cell<usize>,
    /// Requests are spread over the connections that were opened in advance, instead of filling one after another.
    spread: Cell<bool>,
    dialing: Cell<usize>,
    waiting: Queue<Slot>,
}

/// A request's place on a connection, free again when dropped.
pub(crate) struct Slot {
    pool: Rc<Pool>,
    lane: Rc<Lane>,
    /// Another request had to leave first.
    left: bool,
}

impl Pool {
    pub(crate) fn new(connector: Connector, policy: &Connections) -> Rc<Pool> {
        let per_connection = if policy.reuse { policy.max_requests.unwrap_or(u32::MAX).max(1) } else { 1 };
        Rc::new_cyclic(|me| Pool {
            me: Weak::clone(me),
            handle: connector.handle().clone(),
            connector: Rc::new(connector),
            max: policy.max.max(1) as usize,
            streams: policy.streams.max(1).min(per_connection),
            per_connection,
            idle: Duration::from_nanos(policy.idle.0),
            lanes: RefCell::default(),
            cursor: Cell::new(0),
            spread: Cell::new(policy.prewarm > 0),
            dialing: Cell::new(0),
            waiting: Queue::default(),
        })
    }

    /// Most connections.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// A place on a connection: at once when one has room, otherwise when one is made or becomes free.
    pub(crate) async fn slot(&self, progress: &Progress) -> Result<Slot, Broken> {
        // Whoever waits comes first.
        let slot = match if self.waiting.is_empty() { self.take() } else { None } {
            Some(slot) => slot,
            None => {
                let place = self.waiting.join();
                if self.dial_as_needed() {
                    progress.waited.set(true);
                }
                place.await?
            }
        };
        if slot.left {
            progress.waited.set(true);
        }
        progress.reused.set(slot.lane.carried.get() > 1);
        if let Some(made) = slot.lane.made.take() {
            progress.connected.borrow_mut().push(made);
        }
        Ok(slot)
    }

    /// Opens connections until there are `count` (at most as many as allowed).
    pub(crate) async fn prewarm(&self, count: u32) -> Result<Vec<NewConnection>, Broken> {
        self.spread.set(count > 0);
        let missing = (count as usize).min(self.max).saturating_sub(self.lanes.borrow().len() + self.dialing.get());
        let all: Vec<Rc<Wait<NewConnection>>> = (0..missing).map(|_| Rc::default()).collect();
        all.iter().for_each(|one| self.dial(Some(Rc::clone(one))));
        let mut made = Vec::with_capacity(missing);
        for one in all {
            made.push(one.outcome().await?);
        }
        Ok(made)
    }

    fn take(&self) -> Option<Slot> {
        let lanes = self.lanes.borrow();
        let (count, start) = (lanes.len(), self.cursor.get());
        let mut stale = Vec::new();
        let mut found = None;
        for step in 0..count {
            let at = if start + step < count { start + step } else { start + step - count };
            let lane = &lanes[at];
            if !self.has_room(lane) {
                continue;
            }
            if lane.active.get() == 0 && lane.carried.get() > 0 && lane.idle_since.get().elapsed() > self.idle {
                stale.push(Rc::clone(lane));
                continue;
            }
            self.cursor.set(if self.spread.get() { at + 1 } else { at });
            found = Some(self.occupy(lane));
            break;
        }
        drop(lanes);
        for lane in stale {
            self.remove(&lane);
        }
        found
    }

    fn has_room(&self, lane: &Lane) -> bool {
        !lane.closing.get() && lane.active.get() < self.streams.min(lane.allowed.get())
    }

    fn occupy(&self, lane: &Rc<Lane>) -> Slot {
        lane.active.set(lane.active.get() + 1);
        lane.carried.set(lane.carried.get() + 1);
        if lane.carried.get() >= self.per_connection {
            lane.closing.set(true);
        }
        let pool = self.me.upgrade().expect("a pool that is borrowed is there");
        Slot { pool, lane: Rc::clone(lane), left: false }
    }

    /// Makes as many connections as those who wait can fill and the limit allows; whether the limit stood in the way.
    fn dial_as_needed(&self) -> bool {
        loop {
            let coming = self.dialing.get().saturating_mul(self.streams as usize);
            if coming >= self.waiting.len() {
                return false;
            }
            if self.lanes.borrow().len() + self.dialing.get() >= self.max {
                return true;
            }
            self.dial(None);
        }
    }

    /// Makes one connection in a task of its own: who waits for it may give up without the others losing it.
    fn dial(&self, told: Option<Rc<Wait<NewConnection>>>) {
        self.dialing.set(self.dialing.get() + 1);
        let (pool, connector, handle) = (Weak::clone(&self.me), Rc::clone(&self.connector), self.handle.clone());
        self.handle.spawn(async move {
            let made = handle.before(Instant::now() + READY_WITHIN, lane::make(&connector)).await;
            let made = made.unwrap_or_else(|| Err((Failure::Connect, format!("no connection within {READY_WITHIN:?}"))));
            if let Some(pool) = pool.upgrade() {
                pool.dialed(made, told.as_deref());
            }
        });
    }

    fn dialed(&self, made: Result<Made, Broken>, told: Option<&Wait<NewConnection>>) {
        self.dialing.set(self.dialing.get() - 1);
        match made {
            Ok(Made { lane, connection }) => {
                if let Some(told) = told {
                    told.tell(Ok(lane.made.take().expect("nobody but us has had it")));
                }
                self.add(Rc::new(lane), connection);
            }
            Err(broken) => match told {
                Some(told) => told.tell(Err(broken)),
                // As many as it would have carried.
                None => {
                    for _ in 0..self.streams {
                        if self.waiting.tell_first(Err(broken.clone())).is_some() {
                            break;
                        }
                    }
                }
            },
        }
        self.serve(false);
    }

    fn add(&self, lane: Rc<Lane>, connection: Connection<Stream, Bytes>) {
        let mut lanes = self.lanes.borrow_mut();
        lane.place.set(lanes.len());
        self.cursor.set(self.cursor.get().min(lanes.len()));
        let task = self.handle.spawn(drive(Weak::clone(&self.me), self.handle.clone(), Rc::clone(&lane), connection));
        lane.task.set(Some(task));
        lanes.push(lane);
    }

    /// Gives free places to those who wait; `left` when another request made room.
    fn serve(&self, left: bool) {
        while !self.waiting.is_empty() {
            let Some(mut slot) = self.take() else { break };
            slot.left = left;
            drop(self.waiting.tell_first(Ok(slot)));
        }
        self.dial_as_needed();
    }

    /// Takes a connection out; what is on it goes on.
    fn remove(&self, lane: &Rc<Lane>) {
        lane.close();
        let mut lanes = self.lanes.borrow_mut();
        let at = lane.place.get();
        if lanes.get(at).is_some_and(|l| Rc::ptr_eq(l, lane)) {
            lanes.swap_remove(at);
            if let Some(moved) = lanes.get(at) {
                moved.place.set(at);
            }
            self.cursor.set(self.cursor.get().min(at));
        }
    }
}

impl Drop for Pool {
    /// Ends the drivers: they hold their connections.
    fn drop(&mut self) {
        for lane in self.lanes.take() {
            if let Some(task) = lane.task.get() {
                self.handle.cancel(task);
            }
        }
    }
}

/// Drives a connection to its end: one task for all its streams, so that what they send in one turn is written at once.
async fn drive(pool: Weak<Pool>, handle: Handle, lane: Rc<Lane>, mut connection: Connection<Stream, Bytes>) {
    let end = poll_fn(|cx| {
        let end = Pin::new(&mut connection).poll(cx);
        let allowed = lane::streams(&connection);
        if allowed != lane.allowed.replace(allowed)
            && let Some(pool) = pool.upgrade()
        {
            pool.freed(&lane);
        }
        match end {
            Poll::Ready(end) => Poll::Ready(Some(end)),
            Poll::Pending if lane.is_closed() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    if let Some(pool) = pool.upgrade() {
        pool.remove(&lane);
        pool.serve(false);
    }
    match end {
        Some(Ok(())) => {}
        Some(Err(e)) => tracing::debug!("an HTTP/2 connection ended: {e}"),
        None => drop(handle.before(Instant::now() + CLOSED_WITHIN, connection).await),
    }
}

impl Pool {
    /// There may be room on a connection.
    fn freed(&self, lane: &Lane) {
        if !self.spread.get() {
            self.cursor.set(self.cursor.get().min(lane.place.get()));
        }
        if !self.waiting.is_empty() {
            self.serve(true);
        }
    }
}

/// Why a request has no answer.
pub(crate) enum Unanswered {
    /// The connection had ended already: nothing of it was written.
    Unsent(h2::Error),
    /// The server says that it did nothing about it: it may be sent elsewhere.
    Unprocessed(h2::Error),
    /// Nobody knows.
    Broken(Broken),
}

impl Slot {
    /// Sends a request over the connection and waits for the head of its answer.
    pub(crate) async fn send(&self, request: Request<()>, body: Bytes, progress: &Progress) -> Result<Response<RecvStream>, Unanswered> {
        let sent = {
            let mut sender = self.lane.sender().expect("taken away only once no request is on the connection");
            progress.sends();
            sender.send_request(request, body.is_empty())
        };
        let (response, mut stream) =
            sent.map_err(|e| if e.is_io() || e.is_go_away() { Unanswered::Unsent(e) } else { Unanswered::Broken(broken::kind(&e)) })?;
        if !body.is_empty() {
            stream.send_data(body, true).map_err(answered)?;
        }
        let response = response.await.map_err(answered)?;
        self.lane.answered.set(true);
        Ok(response)
    }

    /// The connection has answered a request, this or another.
    pub(crate) fn answered(&self) -> bool {
        self.lane.answered.get()
    }

    /// The connection takes no more requests.
    pub(crate) fn take_no_more(&self) {
        self.lane.closing.set(true);
    }
}

fn answered(e: h2::Error) -> Unanswered {
    if broken::unprocessed(&e) { Unanswered::Unprocessed(e) } else { Unanswered::Broken(broken::kind(&e)) }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let left = self.lane.active.get() - 1;
        self.lane.active.set(left);
        if left == 0 {
            self.lane.idle_since.set(Instant::now());
            if self.lane.closing.get() {
                self.pool.remove(&self.lane);
            }
        }
        self.pool.freed(&self.lane);
    }
}
