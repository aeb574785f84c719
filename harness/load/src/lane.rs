//! One stream of a worker: its compiled requests towards its target, its connections, its arrivals. Plain data.

use crate::compile::{Group, Request, Step, Stream, Talk};
use crate::conn::Conn;
use crate::expect::Checks;
use crate::format::{Base, Head, Wire};
use crate::link::Link;
use crate::links::List;
use crate::record::{Recorder, Rows, WHOLE};
use crate::render::Values;
use crate::seeds::Seed;
use crate::source::Source;
use crate::trip::{TIMEOUTS, Trip, WAITING};
use shakedown_core::plan::{Connections, Model};
use shakedown_wire::http1::SeenHead;
use slab::Slab;

/// A request of a journey with everything that is known of it in advance.
#[derive(Debug)]
pub struct Ready<'a> {
    /// As compiled.
    pub request: &'a Request,
    /// As bytes.
    pub wire: Wire<'a>,
    /// Where it is counted.
    pub rows: Vec<Rows>,
    /// Grouping objectives that judge it.
    pub groups: Vec<&'a Group>,
    /// It goes over HTTP/1.1 by the direct path; else by the lane's client.
    pub direct: bool,
}

/// A journey.
#[derive(Debug)]
pub struct Route<'a> {
    /// Its steps; `None` where it thinks.
    pub steps: Vec<Option<Ready<'a>>>,
    /// Where whole journeys are counted.
    pub rows: Vec<Rows>,
}

/// Connections of a lane over the direct path.
#[derive(Debug)]
pub struct Pool {
    /// Most at once.
    pub max: u32,
    /// Open ones and those being made.
    pub open: u32,
    /// Idle ones, the last used first.
    pub idle: List<0>,
    /// Who waits for one, first come first served.
    pub waiting: List<WAITING>,
    /// The last head its server sent.
    pub seen: SeenHead,
}

/// Seeds of a stream, narrowed in advance.
#[derive(Clone, Copy, Debug)]
pub struct Seeds {
    /// Of steps.
    pub step: Seed,
    /// Of picked rows.
    pub feed: Seed,
}

/// One stream of a worker.
pub struct Lane<'a> {
    /// As compiled.
    pub spec: &'a Stream,
    /// What all its requests have in common.
    pub base: Base,
    /// How its target is reached.
    pub link: Link,
    /// Its journeys.
    pub routes: Vec<Route<'a>>,
    /// The head of replayed requests.
    pub replayed: Head,
    /// Where replayed requests and dropped arrivals are counted.
    pub rows: Vec<Rows>,
    /// Grouping objectives of a replay.
    pub groups: Vec<&'a Group>,
    /// Replayed requests go over the direct path; else by the lane's client.
    pub replays_directly: bool,
    /// Connections.
    pub pool: Pool,
    /// Open attempts by when they time out.
    pub timeouts: List<TIMEOUTS>,
    /// The arrivals that are this worker's.
    pub source: Option<Source>,
    /// When its shape began.
    pub started: Option<i64>,
    /// All arrivals are out.
    pub ended: bool,
    /// Users that have not ended.
    pub users: u32,
    /// Logical requests in flight.
    pub in_flight: u64,
    /// Seeds.
    pub seeds: Seeds,
}

impl<'a> Lane<'a> {
    /// A lane; where it counts is entered into `recorder`. `connections` is this worker's part of the plan's.
    #[must_use]
    pub fn new(spec: &'a Stream, base: Base, link: Link, connections: u32, recorder: &mut Recorder) -> Lane<'a> {
        let route = |j: &'a crate::compile::Journey| {
            let ready = |s: &'a Step| {
                let Step::Request(request) = s else { return None };
                let mut rows = vec![recorder.rows(spec.index, WHOLE)];
                if let Some(dim) = &request.dim {
                    let dim = recorder.dim(dim.clone());
                    rows.push(recorder.rows(spec.index, dim));
                }
                let groups = spec.groups.iter().filter(|g| g.wants(&j.name, &request.name)).collect();
                let direct = link.is_direct(&request.talk);
                Some(Ready { request, wire: Wire::new(request, &base), rows, groups, direct })
            };
            let steps = j.steps.iter().map(ready).collect();
            let rows = j.dim.iter().map(|d| recorder.dim(d.clone())).collect::<Vec<_>>();
            let rows = rows.into_iter().map(|d| recorder.rows(spec.index, d)).collect();
            Route { steps, rows }
        };
        let routes = spec.journeys.iter().map(route).collect();
        let rows = vec![recorder.rows(spec.index, WHOLE)];
        let seeds = Seeds { step: spec.seed.and("step"), feed: spec.seed.and("feed") };
        let replayed = Head::new(&base, std::iter::empty());
        let groups = spec.groups.iter().filter(|g| g.wants("", "")).collect();
        let replays_directly = link.is_direct(&Talk::Http);
        let pool = Pool { max: connections.max(1), open: 0, idle: List::default(), waiting: List::default(), seen: SeenHead::default() };
        Lane {
            spec,
            base,
            link,
            routes,
            replayed,
            rows,
            groups,
            replays_directly,
            pool,
            timeouts: List::default(),
            source: None,
            started: None,
            ended: false,
            users: 0,
            in_flight: 0,
            seeds,
        }
    }

    /// The connection policy.
    #[must_use]
    pub fn policy(&self) -> &'a Connections {
        &self.spec.plan.connections
    }

    /// What a trip's request is, `None` for a replayed one.
    #[must_use]
    pub fn ready(&self, trip: &Trip) -> Option<&Ready<'a>> {
        self.routes[trip.journey? as usize].steps[trip.step as usize].as_ref()
    }

    /// Where a trip's request is counted.
    #[inline]
    #[must_use]
    pub fn rows_of(&self, trip: &Trip) -> &[Rows] {
        self.ready(trip).map_or(&self.rows, |r| &r.rows)
    }

    /// Grouping objectives that judge a trip's request.
    #[must_use]
    pub fn groups_of(&self, trip: &Trip) -> &[&'a Group] {
        self.ready(trip).map_or(&self.groups, |r| &r.groups)
    }

    /// What fills the holes of a trip's request.
    #[must_use]
    pub fn values<'t>(&self, trip: &'t Trip) -> Values<'t>
    where
        'a: 't,
    {
        let captures = trip.captures();
        Values { feeds: &self.spec.feeds, pick: self.seeds.feed, k: trip.k, wraps: trip.probes(), captures, own: trip.own }
    }

    /// Method, path and recorded status of a replayed request.
    #[must_use]
    pub fn logged(&self, k: u64) -> (&'a str, &'a str, u16) {
        let Some(log) = &self.spec.log else { return ("GET", "/", 0) };
        let entry = &log.entries[(k % crate::trip::PROBE) as usize % log.entries.len()];
        (log.method(entry), log.path(entry), entry.status)
    }

    /// What counts as success of a replayed request: below 500, or the recorded class. A recorded 304 may come back as
    /// 2xx: a log holds no conditional headers.
    #[must_use]
    pub fn replay_checks(&self, recorded: u16) -> Checks {
        let strict = matches!(&self.spec.plan.model, Model::Replay(r) if r.expect_recorded);
        Checks::status(match recorded {
            _ if !strict => vec![(100, 499)],
            304 => vec![(200, 399)],
            status => vec![(status / 100 * 100, status / 100 * 100 + 99)],
        })
    }

    /// Journey and step, for samples.
    #[must_use]
    pub fn label(&self, trip: &Trip) -> String {
        match (trip.journey, self.ready(trip)) {
            (Some(j), Some(ready)) => format!("{}/{}", self.spec.journeys[j as usize].name, ready.request.name),
            _ => "replay".to_owned(),
        }
    }

    /// Takes an idle connection that was used no longer ago than the policy allows; the older ones are given back to be
    /// closed.
    pub fn take_idle(&mut self, conns: &mut Slab<Conn>, now: i64) -> Result<u32, Option<u32>> {
        let Some(conn) = self.pool.idle.pop_front(conns) else { return Err(None) };
        let idle = u64::try_from(now - conns[conn as usize].since).unwrap_or(0);
        if idle > self.policy().idle.0 { Err(Some(conn)) } else { Ok(conn) }
    }
}
