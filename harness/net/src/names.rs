//! Names to addresses: getaddrinfo in a helper thread, at most one at a time for a target, shared by all its connectors.
//! Every answer goes through the allow check whole. Must not connect.
//!
//! A name that was never resolved keeps its connections waiting for the running lookup; when that fails they fail with
//! [`Failure::Resolve`], and for [`NOT_AGAIN_WITHIN`] so does every other. An answer older than `resolve_every` is asked
//! for again by the next connection, which waits for it, but no longer than [`PATIENCE`]. When asking again fails, the last
//! good addresses stay in use and the failure is counted ([`Names::failed`]). An answer with an address that is not
//! allowed is different: nothing is connected to until an answer is allowed whole.

use crate::reactor::Handle;
use crate::trouble::NoConnection;
use shakedown_core::snapshot::Failure;
use shakedown_core::{AllowList, Allowed};
use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// After a failed lookup nobody asks again for so long.
const NOT_AGAIN_WITHIN: Duration = Duration::from_millis(500);
/// So long a connection waits for a fresher answer when there is an old one.
const PATIENCE: Duration = Duration::from_secs(1);
/// Most addresses of a name that are kept.
const ADDRESSES: usize = 64;

/// How a name is looked up; blocks.
pub(crate) type Lookup = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// One name and what is known of it.
pub(crate) struct Names {
    host: String,
    port: u16,
    allow: AllowList,
    every: Option<Duration>,
    lookup: Box<Lookup>,
    known: Mutex<Known>,
    failed: AtomicU64,
}

#[derive(Default)]
struct Known {
    /// The last good answer and when it came.
    good: Option<(Arc<[Allowed]>, Instant)>,
    /// The last failure and when it came; a good answer ends it.
    bad: Option<(NoConnection, Instant)>,
    /// A lookup is running.
    asking: bool,
    waiting: BTreeMap<u64, Waker>,
    tickets: u64,
}

/// Someone who waits for an answer; gone from the list when dropped.
struct Waiting<'a> {
    names: &'a Arc<Names>,
    ticket: u64,
    since: Instant,
}

impl Names {
    pub(crate) fn new(host: &str, port: u16, allow: &AllowList, every: Option<Duration>, lookup: Box<Lookup>) -> Arc<Names> {
        let (known, failed) = (Mutex::default(), AtomicU64::new(0));
        Arc::new(Names { host: host.to_owned(), port, allow: allow.clone(), every, lookup, known, failed })
    }

    /// The system's resolver.
    pub(crate) fn system() -> Box<Lookup> {
        Box::new(|host, port| (host, port).to_socket_addrs().map(|found| found.take(ADDRESSES).collect()))
    }

    /// Lookups that failed while older addresses stayed in use.
    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Its addresses now.
    pub(crate) async fn addresses(self: &Arc<Self>, handle: &Handle) -> Result<Arc<[Allowed]>, NoConnection> {
        let since = Instant::now();
        if let Some(fresh) = self.fresh(&self.known(), since) {
            return Ok(fresh);
        }
        let waiting = Waiting { names: self, ticket: self.ticket(), since };
        let mut patience = pin!(handle.sleep_until(since + PATIENCE));
        poll_fn(|cx| {
            let impatient = patience.as_mut().poll(cx).is_ready();
            waiting.poll(impatient, cx)
        })
        .await
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("no holder panics")
    }

    fn ticket(&self) -> u64 {
        let mut known = self.known();
        known.tickets += 1;
        known.tickets
    }

    /// The last good answer, unless it is too old for someone who came at `since`.
    fn fresh(&self, known: &Known, since: Instant) -> Option<Arc<[Allowed]>> {
        let (addresses, at) = known.good.as_ref()?;
        // One that came meanwhile has no age.
        let fresh = self.every.is_none_or(|every| *at > since || since.saturating_duration_since(*at) < every);
        fresh.then(|| Arc::clone(addresses))
    }

    /// Asks in a thread of its own: getaddrinfo cannot be interrupted and takes as long as it likes.
    fn ask(self: &Arc<Self>) -> io::Result<()> {
        let names = Arc::clone(self);
        let work = move || {
            let found = (names.lookup)(&names.host, names.port);
            names.answered(found);
        };
        std::thread::Builder::new().name("lookup".to_owned()).spawn(work).map(drop)
    }

    fn answered(&self, found: io::Result<Vec<SocketAddr>>) {
        let (now, mut known) = (Instant::now(), self.known());
        known.asking = false;
        match self.judge(found) {
            Ok(addresses) => {
                known.good = Some((addresses, now));
                known.bad = None;
            }
            Err((why, forbidden)) => {
                if forbidden {
                    known.good = None;
                }
                if known.good.is_some() {
                    self.failed.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!("{why}; its last addresses stay in use");
                }
                known.bad = Some((why, now));
            }
        }
        let waiting = std::mem::take(&mut known.waiting);
        drop(known);
        waiting.into_values().for_each(Waker::wake);
    }

    /// An answer through the allow check; with an error, whether that was it.
    fn judge(&self, found: io::Result<Vec<SocketAddr>>) -> Result<Arc<[Allowed]>, (NoConnection, bool)> {
        let none = |why: String| NoConnection::new(Failure::Resolve, format!("{}: {why}", self.host));
        let found = found.map_err(|e| (NoConnection { errno: e.raw_os_error(), ..none(e.to_string()) }, false))?;
        if found.is_empty() {
            return Err((none("has no address".to_owned()), false));
        }
        found.into_iter().map(|a| self.allow.check(a)).collect::<Result<_, _>>().map_err(|e| (none(e.0), true))
    }
}

impl Waiting<'_> {
    fn poll(&self, impatient: bool, cx: &mut Context<'_>) -> Poll<Result<Arc<[Allowed]>, NoConnection>> {
        let (now, mut known) = (Instant::now(), self.names.known());
        if let Some(fresh) = self.names.fresh(&known, self.since) {
            return Poll::Ready(Ok(fresh));
        }
        let refused = known.bad.as_ref().filter(|(_, at)| now.saturating_duration_since(*at) < NOT_AGAIN_WITHIN);
        match (&known.good, refused) {
            (Some((old, _)), refused) if impatient || refused.is_some() => return Poll::Ready(Ok(Arc::clone(old))),
            (None, Some((why, _))) => return Poll::Ready(Err(why.clone())),
            _ => {}
        }
        if !known.asking {
            known.asking = true;
            if let Err(e) = self.names.ask() {
                known.asking = false;
                let why = format!("{}: no thread to look it up: {e}", self.names.host);
                let why = NoConnection { kind: Failure::Resolve, why, errno: e.raw_os_error() };
                return Poll::Ready(known.good.as_ref().map_or(Err(why), |(old, _)| Ok(Arc::clone(old))));
            }
        }
        known.waiting.insert(self.ticket, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let gone = self.names.known().waiting.remove(&self.ticket);
        drop(gone);
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reactor;
    use std::sync::atomic::AtomicUsize;
    use std::sync::mpsc;

    const LONG: Duration = Duration::from_secs(20);

    fn addr(last: u8) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, last], 80))
    }

    fn names(
        every: Option<Duration>,
        lookup: impl Fn(usize) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> (Arc<Names>, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let lookup = Box::new(move |_: &str, _: u16| lookup(count.fetch_add(1, Ordering::SeqCst)));
        let allow = AllowList::parse(&["127.0.0.0/8".to_owned()]).expect("it is one");
        (Names::new("shop.example", 80, &allow, every, lookup), asked)
    }

    fn ask(names: &Arc<Names>) -> Result<Vec<SocketAddr>, NoConnection> {
        let (names, mut reactor) = (Arc::clone(names), Reactor::new().expect("there are descriptors"));
        let handle = reactor.handle().clone();
        let found = reactor.run(Instant::now() + LONG, async move { names.addresses(&handle).await });
        found.expect("the kernel waits").expect("in time").map(|all| all.iter().map(|a| a.addr()).collect())
    }

    #[test]
    fn a_name_is_resolved_once_for_all_who_wait() {
        let (names, asked) = names(None, |_| {
            std::thread::sleep(Duration::from_millis(5));
            Ok(vec![addr(1), addr(2)])
        });
        std::thread::scope(|s| {
            for _ in 0..8 {
                s.spawn(|| assert_eq!(ask(&names).expect("it resolves"), [addr(1), addr(2)]));
            }
        });
        assert_eq!((asked.load(Ordering::SeqCst), names.known().waiting.len()), (1, 0));
    }

    #[test]
    fn a_stale_answer_is_asked_for_again_and_kept_when_that_fails() {
        let (names, asked) = names(Some(Duration::ZERO), |n| match n {
            0 => Ok(vec![addr(1)]),
            1 => Ok(vec![addr(2)]),
            _ => Err(io::Error::other("no answer")),
        });
        assert_eq!(ask(&names).expect("it resolves"), [addr(1)]);
        assert_eq!(ask(&names).expect("it resolves again"), [addr(2)]);
        assert_eq!((ask(&names).expect("kept"), names.failed()), (vec![addr(2)], 1));
        assert_eq!(ask(&names).expect("kept, not asked for again at once"), [addr(2)]);
        assert_eq!((asked.load(Ordering::SeqCst), names.failed()), (3, 1));
    }

    #[test]
    fn a_name_that_never_resolved_fails_and_is_left_alone_for_a_while() {
        let (names, asked) = names(None, |n| if n == 0 { Err(io::Error::other("no answer")) } else { Ok(vec![addr(1)]) });
        for _ in 0..3 {
            let e = ask(&names).expect_err("it does not resolve");
            assert_eq!((e.kind, e.why.as_str()), (Failure::Resolve, "shop.example: no answer"));
        }
        assert_eq!((asked.load(Ordering::SeqCst), names.failed()), (1, 0));
        names.known().bad.as_mut().expect("it failed").1 -= NOT_AGAIN_WITHIN;
        assert_eq!(ask(&names).expect("it resolves now"), [addr(1)]);
    }

    #[test]
    fn one_forbidden_or_no_address_is_an_error() {
        let (none, _) = names(None, |_| Ok(Vec::new()));
        assert_eq!(ask(&none).expect_err("none").why, "shop.example: has no address");
        let stranger = SocketAddr::from(([192, 0, 2, 1], 80));
        let (moved, _) = names(Some(Duration::from_millis(1)), move |n| Ok(if n == 0 { vec![addr(1)] } else { vec![addr(1), stranger] }));
        assert_eq!(ask(&moved).expect("allowed"), [addr(1)]);
        std::thread::sleep(Duration::from_millis(2));
        let e = ask(&moved).expect_err("it moved where nothing may be sent");
        assert!(e.kind == Failure::Resolve && e.why.contains("192.0.2.1:80 is not in environment.allow"), "{e}");
    }

    #[test]
    fn a_lookup_that_hangs_holds_nobody_who_has_an_old_answer() {
        let (release, hang) = mpsc::channel::<()>();
        let hang = Mutex::new(hang);
        let (names, _) = names(Some(Duration::from_millis(100)), move |n| {
            if n > 0 {
                let _released = hang.lock().expect("no holder panics").recv();
            }
            Ok(vec![addr(1)])
        });
        assert_eq!(ask(&names).expect("it resolves"), [addr(1)]);
        names.known().good.as_mut().expect("it is there").1 -= Duration::from_secs(1);
        let begin = Instant::now();
        assert_eq!(ask(&names).expect("the old one"), [addr(1)]);
        assert!(begin.elapsed() >= PATIENCE && begin.elapsed() < LONG / 2);
        drop(release);
    }
}
