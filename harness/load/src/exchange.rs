//! Requests on connections: who gets which, what happens when one becomes ready, is given up or turns out to be closed.
//! Must not check or count answers.

use crate::answer::{Answer, Head};
use crate::conn::{Conn, Read, named, token};
use crate::link::Done;
use crate::request::ids;
use crate::trip::{NEVER, Owner, State, TripId};
use crate::world::World;
use shakedown_core::snapshot::Failure;
use shakedown_net::{Connected, NoConnection, Ready};
use shakedown_protocols::{Broken, NewConnection};
use std::rc::Rc;

/// How often a request is moved from a kept connection that turns out to be closed before it could be written.
const MAX_STALE: u8 = 8;

impl World<'_> {
    /// Gives a trip a connection, or lets it wait for one behind those who wait already.
    #[inline]
    pub fn acquire(&mut self, trip: u32) {
        let lane = &self.lanes[self.trips[trip as usize].lane as usize];
        if lane.pool.waiting.is_empty() { self.connect(trip) } else { self.queue(trip) }
    }

    /// Gives a trip an idle connection or lets it make one; without room it waits.
    fn connect(&mut self, trip: u32) {
        let index = self.trips[trip as usize].lane;
        loop {
            match self.lanes[index as usize].take_idle(&mut self.conns, self.now) {
                Ok(conn) => return self.transmit(conn, trip),
                Err(Some(old)) => self.close(old),
                Err(None) => break,
            }
        }
        let lane = &mut self.lanes[index as usize];
        if lane.pool.open >= lane.pool.max {
            return self.queue(trip);
        }
        lane.pool.open += 1;
        let (connector, completions, id) = (lane.link.connector().clone(), Rc::clone(&self.completions), self.id(trip));
        let task = self.handle.spawn(async move {
            let made = connector.connect().await;
            completions.add(Done::Connected(id, made));
        });
        self.trips[trip as usize].state = State::Connecting(task);
    }

    fn queue(&mut self, index: u32) {
        let trip = &mut self.trips[index as usize];
        trip.state = State::Waiting;
        let lane = &mut self.lanes[trip.lane as usize];
        self.recorder.totals(lane.spec.index).waited += 1;
        lane.pool.waiting.push_back(&mut self.trips, index);
        if self.drafted == Some(index) {
            self.drafted = None;
        }
    }

    /// Serves those who wait, as far as there are connections.
    fn serve_waiting(&mut self, index: u32) {
        loop {
            let lane = &mut self.lanes[index as usize];
            if lane.pool.idle.is_empty() && lane.pool.open >= lane.pool.max {
                return;
            }
            let Some(trip) = lane.pool.waiting.pop_front(&mut self.trips) else { return };
            self.connect(trip);
        }
    }

    /// Writes a trip's request to a connection.
    fn transmit(&mut self, conn: u32, index: u32) {
        if self.conns[conn as usize].served == 0 && self.conns[conn as usize].talked_first(&mut self.buffer) {
            self.drafted = None;
            self.close(conn);
            return self.attempt_over(index, Some((Failure::Protocol, "an answer came before the request".to_owned())), None);
        }
        let (run, drafted) = (self.run, self.drafted.take() == Some(index));
        let trip = &self.trips[index as usize];
        let lane = &mut self.lanes[trip.lane as usize];
        let ids = ids(run, trip, trip.attempt);
        let connection = &mut self.conns[conn as usize];
        let needs_body = lane.spec.identifier.needs_body();
        let begun = if let Some(journey) = trip.journey {
            let values = lane.values(trip);
            let ready = lane.routes[journey as usize].steps[trip.step as usize].as_mut().expect("only requests are sent");
            let (to_head, keep) = (ready.request.method == http::Method::HEAD, ready.request.keep);
            if drafted {
                Ok(connection.begin(self.scratch.out.as_bytes(), to_head, keep))
            } else {
                let bytes = ready.wire.render(&lane.base, &values, trip.jar(), &ids, &mut self.scratch);
                bytes.map(|bytes| connection.begin(bytes, to_head, keep))
            }
        } else {
            let (method, path, _) = lane.logged(trip.k);
            let bytes = lane.replayed.bare(&lane.base, method, path, &ids, &mut self.scratch.out);
            bytes.map(|()| connection.begin(self.scratch.out.as_bytes(), method == "HEAD", needs_body))
        };
        let written = match begun {
            Ok(written) => written,
            Err(why) => {
                self.close(conn);
                return self.attempt_over(index, Some((Failure::Capture, why)), None);
            }
        };
        connection.trip = Some(index);
        let now = self.tick();
        let trip = &mut self.trips[index as usize];
        trip.state = State::Exchanging(conn);
        let first = std::mem::replace(&mut trip.sent, now) == NEVER;
        let connection = &mut self.conns[conn as usize];
        connection.served += 1;
        if first {
            let lane = &self.lanes[trip.lane as usize];
            let totals = self.recorder.totals(lane.spec.index);
            totals.sent += 1;
            totals.reused += u64::from(connection.served > 1);
            self.on_time(index, now);
        }
        if let Err(e) = written {
            // The server has closed it, perhaps after an answer: what came is looked at first.
            self.cut(conn, &e.to_string());
        }
    }

    /// Records how late the first attempt of a paced arrival was sent.
    #[inline]
    pub fn on_time(&mut self, index: u32, sent: i64) {
        let trip = &self.trips[index as usize];
        let (Some(slice), Owner::Paced, 1, None) = (trip.slice, trip.owner, trip.attempt, &trip.last) else { return };
        let lane = &self.lanes[trip.lane as usize];
        for rows in lane.rows_of(trip) {
            self.recorder.at(slice, rows.of(shakedown_core::Arm::All)).send(World::since(sent, trip.due));
        }
    }

    /// A connection of the direct path became ready.
    #[inline]
    pub fn ready(&mut self, ready: Ready) {
        let (index, life) = named(ready.token);
        let Some(conn) = self.conns.get_mut(index as usize).filter(|c| c.life == life) else { return };
        let lane = conn.lane;
        if ready.writable
            && let Err(e) = conn.write_on()
        {
            self.cut(index, &e.to_string());
        } else if ready.readable {
            self.receive(index);
        }
        if ready.ended {
            self.ended(index, life);
        }
        self.serve_waiting(lane);
    }

    /// The peer sends nothing more. A connection that carries another request by now (its last answer and the end came
    /// together) is read to the end at once: this was the only event there will be.
    fn ended(&mut self, index: u32, life: u32) {
        let taken = self.conns.get(index as usize).is_some_and(|c| c.life == life && c.trip.is_some());
        if taken { self.receive(index) } else { self.close_idle(index, life) }
    }

    /// A connection whose peer has ended is not kept.
    fn close_idle(&mut self, index: u32, life: u32) {
        let idle = self.conns.get(index as usize).filter(|c| c.life == life && c.trip.is_none());
        if let Some(lane) = idle.map(|c| c.lane) {
            self.lanes[lane as usize].pool.idle.remove(&mut self.conns, index);
            self.close(index);
        }
    }

    /// Reads what came over a connection.
    fn receive(&mut self, index: u32) {
        let mut buffer = std::mem::take(&mut self.buffer);
        if buffer.is_empty() {
            // Within another answer's handling.
            buffer = vec![0; crate::conn::READ];
        }
        let conn = &mut self.conns[index as usize];
        let Some(trip) = conn.trip else {
            if !conn.quiet(&mut buffer) {
                let life = conn.life;
                self.close_idle(index, life);
            }
            self.buffer = buffer;
            return;
        };
        let read = conn.read(&mut buffer, &mut self.lanes[conn.lane as usize].pool.seen);
        let now = if matches!(read, Read::Nothing) { self.now } else { self.tick() };
        if !matches!(read, Read::Nothing | Read::Gone(_)) {
            let first_byte = &mut self.trips[trip as usize].first_byte;
            if *first_byte == NEVER {
                *first_byte = now;
            }
        }
        match read {
            Read::Nothing | Read::More => {}
            Read::Whole { head, body, info } => {
                let (head, body) = (&buffer[head], &buffer[body]);
                let answer = Answer::new(Some(info.status), Head::Raw(head), head.len() as u64).with_body(body, body.len() as u64);
                self.release_conn(index, info.keep_alive);
                self.attempt_over(trip, None, Some(&answer));
            }
            Read::Collected => self.over(index, trip, None),
            Read::Gone(why) => self.gone(index, trip, why),
            Read::Broken(kind, why) => self.over(index, trip, Some((kind, why))),
        }
        self.buffer = buffer;
    }

    /// Writing failed: an answer that came nevertheless counts, else the connection was closed beforehand.
    fn cut(&mut self, index: u32, why: &str) {
        let life = self.conns[index as usize].life;
        self.receive(index);
        let Some(conn) = self.conns.get(index as usize).filter(|c| c.life == life) else { return };
        match conn.trip {
            Some(trip) if conn.blank() => self.gone(index, trip, why.to_owned()),
            Some(trip) => self.over(index, trip, Some((Failure::Reset, why.to_owned()))),
            None => self.close_idle(index, life),
        }
    }

    /// A connection ended before a byte of an answer came. One that was kept and took nothing any more, or whose end was
    /// on its way from the kernel when it was written to, was closed before this request: another is tried.
    fn gone(&mut self, index: u32, trip: u32, why: String) {
        let conn = &self.conns[index as usize];
        let stale = conn.served > 1 && (conn.refused() || self.trips[trip as usize].sent >= self.looked);
        self.close(index);
        let moves = &mut self.trips[trip as usize].moves;
        if stale && *moves < MAX_STALE {
            *moves += 1;
            self.trips[trip as usize].state = State::Moving;
            return self.connect(trip);
        }
        let why = if stale { format!("{MAX_STALE} kept connections in a row were closed") } else { why };
        self.attempt_over(trip, Some((Failure::Reset, why)), None);
    }

    /// An answer that did not come in one piece is over, or will never be complete.
    fn over(&mut self, index: u32, trip: u32, broken: Option<Broken>) {
        let partial = self.conns[index as usize].take_partial();
        let answer = partial
            .as_ref()
            .map(|p| Answer::new(Some(p.info.status), Head::Raw(&p.head), p.head.len() as u64).with_body(&p.body, p.length));
        let keep = broken.is_none() && partial.as_ref().is_some_and(|p| p.info.keep_alive);
        self.release_conn(index, keep);
        self.attempt_over(trip, broken, answer.as_ref());
    }

    /// A connection has done its exchange: it is kept, if both sides want that.
    #[inline]
    fn release_conn(&mut self, index: u32, keep_alive: bool) {
        let conn = &mut self.conns[index as usize];
        conn.trip = None;
        let lane = &mut self.lanes[conn.lane as usize];
        let policy = lane.policy();
        let keep = keep_alive && policy.reuse && conn.written() && policy.max_requests.is_none_or(|most| conn.served < most);
        if keep {
            conn.since = self.now;
            lane.pool.idle.push_front(&mut self.conns, index);
        } else {
            self.close(index);
        }
    }

    /// Closes a connection that is in no list.
    fn close(&mut self, index: u32) {
        let conn = self.conns.remove(index as usize);
        self.lanes[conn.lane as usize].pool.open -= 1;
    }

    /// Closes connections that were idle for too long.
    pub fn close_old(&mut self) {
        for lane in &mut self.lanes {
            while let Some(last) = lane.pool.idle.last() {
                if World::since(self.now, self.conns[last as usize].since) <= lane.policy().idle.0 {
                    break;
                }
                lane.pool.idle.remove(&mut self.conns, last);
                self.conns.remove(last as usize);
                lane.pool.open -= 1;
            }
        }
    }

    /// Ends an attempt from here.
    pub fn give_up(&mut self, index: u32, why: Broken) {
        let trip = &mut self.trips[index as usize];
        let lane = trip.lane;
        match std::mem::replace(&mut trip.state, State::Moving) {
            State::Waiting => {
                self.lanes[lane as usize].pool.waiting.remove(&mut self.trips, index);
                self.attempt_over(index, Some(why), None);
            }
            State::Connecting(task) => {
                self.handle.cancel(task);
                self.lanes[lane as usize].pool.open -= 1;
                self.attempt_over(index, Some(why), None);
            }
            State::Exchanging(conn) => self.over(conn, index, Some(why)),
            State::Asking(task, progress) => {
                self.handle.cancel(task);
                let partial = progress.partial.borrow_mut().take();
                self.replied(index, &progress, partial.as_ref(), Some(why));
            }
            State::Moving | State::Thinking | State::Gated | State::BackingOff => self.attempt_over(index, Some(why), None),
        }
        self.serve_waiting(lane);
    }

    /// Takes up what tasks have come to.
    pub fn take_completions(&mut self) {
        while let Some(done) = self.completions.take() {
            self.tick();
            match done {
                Done::Connected(id, made) => self.connected(id, made),
                Done::Exchanged(id, result) => self.exchanged(id, result),
            }
        }
    }

    fn connected(&mut self, id: TripId, made: Result<Connected, NoConnection>) {
        // Given up in the meantime: its place was given back then.
        let waits = self.alive(id) && matches!(self.trips[id.index as usize].state, State::Connecting(_));
        if !waits {
            return;
        }
        let lane = self.trips[id.index as usize].lane;
        match made.map_err(|no| (no.kind, no.why)).and_then(|c| {
            let new = NewConnection { connect: c.connect, tls: c.tls, resumed: c.resumed };
            self.keep(lane, c).map(|conn| (conn, new))
        }) {
            Ok((conn, new)) => {
                self.count_connection(Some(id.index), lane, &new);
                self.transmit(conn, id.index);
            }
            Err(broken) => {
                self.lanes[lane as usize].pool.open -= 1;
                self.attempt_over(id.index, Some(broken), None);
            }
        }
        self.serve_waiting(lane);
    }

    /// Takes a connection into the world; it counts as open already.
    ///
    /// # Errors
    /// When it cannot be registered.
    pub fn keep(&mut self, lane: u32, made: Connected) -> Result<u32, Broken> {
        let life = self.life();
        let entry = self.conns.vacant_entry();
        let index = entry.key() as u32;
        let direct = made.stream.into_direct(&self.handle, token(index, life)).map_err(|e| (Failure::Connect, e.to_string()))?;
        entry.insert(Conn::new(direct, lane, life, self.now));
        Ok(index)
    }

    /// Takes a connection that was opened in advance.
    pub fn adopt(&mut self, lane: u32, made: Connected) {
        self.lanes[lane as usize].pool.open += 1;
        match self.keep(lane, made) {
            Ok(conn) => self.lanes[lane as usize].pool.idle.push_front(&mut self.conns, conn),
            Err((_, why)) => {
                self.lanes[lane as usize].pool.open -= 1;
                tracing::warn!("a connection opened in advance is lost: {why}");
            }
        }
    }

    /// Counts a new connection; for whom it was made, its times too.
    pub fn count_connection(&mut self, trip: Option<u32>, lane: u32, new: &NewConnection) {
        let lane = &self.lanes[lane as usize];
        let totals = self.recorder.totals(lane.spec.index);
        totals.connections += 1;
        totals.handshakes += u64::from(new.tls.is_some());
        totals.resumed += u64::from(new.resumed);
        let Some(trip) = trip.map(|t| &self.trips[t as usize]) else { return };
        let Some(slice) = trip.slice else { return };
        for rows in lane.rows_of(trip) {
            let tally = self.recorder.at(slice, rows.of(shakedown_core::Arm::All));
            tally.connect(u64::try_from(new.connect.as_nanos()).unwrap_or(u64::MAX));
            if let Some(tls) = new.tls {
                tally.tls(u64::try_from(tls.as_nanos()).unwrap_or(u64::MAX));
            }
        }
    }
}
