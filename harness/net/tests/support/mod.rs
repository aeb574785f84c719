//! What the tests of this crate share.
#![allow(dead_code, reason = "not every test uses everything")]

use shakedown_core::plan::{GrpcSchema, HttpVersion, Reach, Target, Tls};
use shakedown_core::seams::Endpoints;
use shakedown_core::{AllowList, Allowed};
use shakedown_net::{Alpn, Connected, Connector, Handle, NoConnection, Reactor, Ready, Route};
use std::future::Future;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Nothing in these tests takes longer.
pub const SOON: Duration = Duration::from_secs(20);

pub fn allow(blocks: &[&str]) -> AllowList {
    AllowList::parse(&blocks.iter().map(|b| (*b).to_owned()).collect::<Vec<_>>()).unwrap()
}

pub fn loopback() -> AllowList {
    allow(&["127.0.0.0/8", "::1"])
}

pub fn allowed(addr: SocketAddr) -> Allowed {
    loopback().check(addr).unwrap()
}

pub fn target(at: &str) -> Target {
    Target {
        name: "shop".to_owned(),
        at: at.to_owned(),
        http: HttpVersion::One,
        tls: Tls::default(),
        headers: Vec::new(),
        reach: Reach::default(),
        grpc: GrpcSchema::default(),
    }
}

pub fn route(target: &Target) -> Route {
    Route::new(target, Alpn::of(target), &Endpoints::default(), &loopback()).unwrap()
}

/// Runs one future to its end.
pub fn run<T: 'static, F: Future<Output = T> + 'static>(work: impl FnOnce(Handle) -> F) -> T {
    let mut reactor = Reactor::new().unwrap();
    let work = work(reactor.handle().clone());
    reactor.run(Instant::now() + SOON, work).unwrap().expect("nothing here takes so long")
}

/// Turns until `done`, or fails.
pub fn turn_until(reactor: &mut Reactor, what: &str, mut done: impl FnMut(&[Ready]) -> bool) {
    let (end, mut ready) = (Instant::now() + SOON, Vec::new());
    while Instant::now() < end {
        reactor.turn(Some(end), Duration::ZERO, &mut ready).unwrap();
        if done(&ready) {
            return;
        }
    }
    panic!("never: {what}");
}

pub fn connect(route: &Route) -> Result<Connected, NoConnection> {
    let route = route.clone();
    // The reactor ends with the call; what is looked at afterwards does not need it.
    run(|handle| async move { Connector::new(&handle, &route).connect().await })
}

/// A port nobody listens on.
pub fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A server on threads: `serve` gets each connection with its number.
pub fn server(serve: impl Fn(usize, TcpStream) + Send + Sync + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let serve = serve.clone();
            let stream = stream.unwrap();
            std::thread::spawn(move || serve(number, stream));
        }
    });
    addr
}
