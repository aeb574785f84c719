//! Exchanges by the clients of other protocols than HTTP/1.1: each is a task of the loop that reports its end. Must not know
//! what a protocol does.

use crate::answer::{Answer, Head};
use crate::compile::Talk;
use crate::link::Done;
use crate::request::ids;
use crate::trip::{NEVER, State, TripId};
use crate::world::World;
use shakedown_core::snapshot::Failure;
use shakedown_protocols::{Broken, Progress, Reply};
use std::rc::Rc;

impl World<'_> {
    /// Gives a request to the client of its protocol.
    pub fn exchange(&mut self, index: u32) {
        let trip = &self.trips[index as usize];
        let lane = &self.lanes[trip.lane as usize];
        let ids = ids(self.run, trip, trip.attempt);
        let left = lane.spec.plan.timeout.0.saturating_sub(World::since(self.now, trip.due));
        let (talk, asked) = match lane.ready(trip) {
            Some(ready) => (&ready.request.talk, ready.wire.ask(&lane.base, &lane.values(trip), trip.jar(), &ids)),
            None => {
                let (method, path, _) = lane.logged(trip.k);
                (&Talk::Http, lane.replayed.ask(&lane.base, method, path, &ids, lane.spec.identifier.needs_body()))
            }
        };
        let asked = asked.and_then(|mut ask| {
            ask.within = Some(std::time::Duration::from_nanos(left));
            Ok((lane.link.client(talk)?.clone(), ask))
        });
        let (client, ask) = match asked {
            Ok(asked) => asked,
            Err(why) => return self.attempt_over(index, Some((Failure::Protocol, why)), None),
        };
        let (completions, progress, id) = (Rc::clone(&self.completions), Rc::new(Progress::default()), self.id(index));
        let exchange = client.exchange(ask, Rc::clone(&progress));
        let task = self.handle.spawn(async move {
            let result = exchange.await;
            completions.add(Done::Exchanged(id, result));
        });
        self.trips[index as usize].state = State::Asking(task, progress);
    }

    /// Takes up the end of a task.
    pub fn exchanged(&mut self, id: TripId, result: Result<Reply, Broken>) {
        if !self.alive(id) || !matches!(self.trips[id.index as usize].state, State::Asking(..)) {
            return;
        }
        let state = std::mem::replace(&mut self.trips[id.index as usize].state, State::Moving);
        let State::Asking(_, progress) = state else { return };
        match result {
            Ok(reply) => self.replied(id.index, &progress, Some(&reply), None),
            Err(broken) => {
                let partial = progress.partial.borrow_mut().take();
                self.replied(id.index, &progress, partial.as_ref(), Some(broken));
            }
        }
    }

    /// Takes over what is known of an exchange of another protocol that has ended.
    pub fn replied(&mut self, index: u32, progress: &Progress, reply: Option<&Reply>, broken: Option<Broken>) {
        let at = |moment: std::time::Instant| self.epoch.offset(moment).0;
        let (sent, first_byte) = (progress.sent.get().map(at), progress.first_byte.get().map(at));
        let trip = &mut self.trips[index as usize];
        (trip.sent, trip.first_byte) = (sent.unwrap_or(NEVER), first_byte.unwrap_or(NEVER));
        let lane = trip.lane;
        let totals = self.recorder.totals(self.lanes[lane as usize].spec.index);
        totals.waited += u64::from(progress.waited.get());
        if let Some(sent) = sent {
            totals.sent += 1;
            totals.reused += u64::from(progress.reused.get());
            self.on_time(index, sent);
        }
        for new in progress.connected.take() {
            self.count_connection(Some(index), lane, &new);
        }
        let answer = reply.map(|r| {
            let mut answer = Answer::new(r.status, Head::Map(&r.headers), r.head).with_body(&r.body, r.length);
            answer.messages = r.messages;
            answer
        });
        self.attempt_over(index, broken, answer.as_ref());
    }
}
