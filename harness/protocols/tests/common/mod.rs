//! What every test needs: a loop that must end, servers on threads of their own, and the shortest ways to ask.

#![allow(dead_code, reason = "each test file uses its part")]

use bytes::Bytes;
use http::{HeaderMap, Method};
use shakedown_core::AllowList;
use shakedown_core::snapshot::Failure;
use shakedown_net::{Connector, Handle, Reactor, Route};
use shakedown_protocols::{Ask, Broken, Client, Part, Progress, Reply};
use std::cell::RefCell;
use std::future::Future;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Longer than anything here may take; reached only by what hangs.
pub const HANGS: Duration = Duration::from_secs(30);

/// Runs a future on a loop of its own to its end.
pub fn run<T: 'static, F: Future<Output = T> + 'static>(work: impl FnOnce(Handle) -> F) -> T {
    let mut reactor = Reactor::new().unwrap();
    let done = Rc::new(RefCell::new(None));
    let (tell, work) = (Rc::clone(&done), work(reactor.handle().clone()));
    reactor.handle().spawn(async move {
        let outcome = work.await;
        *tell.borrow_mut() = Some(outcome);
    });
    let (until, mut ready) = (Instant::now() + HANGS, Vec::new());
    while done.borrow().is_none() {
        assert!(Instant::now() < until, "it hangs");
        reactor.turn(Some(until), Duration::ZERO, &mut ready).unwrap();
    }
    done.take().unwrap()
}

pub fn connector(handle: &Handle, to: SocketAddr) -> Connector {
    let loopback = AllowList::parse(&["127.0.0.0/8".to_owned()]).unwrap();
    Connector::new(handle, &Route::to(loopback.check(to).unwrap()))
}

pub fn ask(path: &str) -> Ask {
    let (method, headers, part) = (Method::GET, HeaderMap::new(), Part::Request);
    Ask { method, path: path.to_owned(), headers, body: Bytes::new(), part, keep: true, within: None }
}

pub fn post(path: &str, body: &str) -> Ask {
    Ask { method: Method::POST, body: Bytes::copy_from_slice(body.as_bytes()), ..ask(path) }
}

/// One exchange and what was known of it.
pub async fn exchange(client: &impl Client, ask: Ask) -> (Result<Reply, Broken>, Rc<Progress>) {
    let progress = Rc::new(Progress::default());
    (client.exchange(ask, Rc::clone(&progress)).await, progress)
}

/// The kind of a failure; what succeeded has none.
pub fn kind(outcome: &Result<Reply, Broken>) -> Option<Failure> {
    outcome.as_ref().err().map(|(kind, _)| *kind)
}

/// Many exchanges at once.
pub async fn all(
    handle: &Handle,
    count: usize,
    client: &(impl Client + Clone + 'static),
    ask: Ask,
) -> Vec<(Result<Reply, Broken>, Rc<Progress>)> {
    let done = Rc::new(RefCell::new(Vec::new()));
    for _ in 0..count {
        let (client, ask, done) = (client.clone(), ask.clone(), Rc::clone(&done));
        handle.spawn(async move {
            let one = exchange(&client, ask).await;
            done.borrow_mut().push(one);
        });
    }
    while done.borrow().len() < count {
        handle.sleep_until(Instant::now() + Duration::from_millis(1)).await;
    }
    done.take()
}

/// A server of plain sockets: `each` gets every connection and its number, on a thread of its own.
pub fn sockets(each: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let each = std::sync::Arc::new(each);
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let each = std::sync::Arc::clone(&each);
            std::thread::spawn(move || each(stream.unwrap(), number));
        }
    });
    addr
}

/// A server on tokio: `each` gets every connection and its number.
pub fn tasks<F: Future<Output = ()> + 'static>(each: impl Fn(tokio::net::TcpStream, usize) -> F + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::task::spawn_local(each(stream, number));
            }
        });
    });
    addr
}

/// An address where nobody listens.
pub fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
