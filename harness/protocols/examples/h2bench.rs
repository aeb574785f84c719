//! A closed loop of requests over HTTP/2, for measuring what one costs: `h2bench ADDR PATH CONNECTIONS STREAMS REQUESTS`.

#![allow(clippy::print_stdout, reason = "it prints what it measured")]

use bytes::Bytes;
use http::{HeaderMap, Method};
use shakedown_core::AllowList;
use shakedown_core::plan::Connections;
use shakedown_net::{Connector, Reactor, Route};
use shakedown_protocols::{Ask, Client, Http2, Part, Progress};
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let number = |at: usize| args[at].parse::<u32>().expect("a number");
    let (connections, streams, requests) = (number(3), number(4), number(5));
    let address = args[1].parse().expect("an address");
    let allowed = AllowList::parse(&["127.0.0.0/8".to_owned()]).expect("a block").check(address).expect("a loopback address");
    let mut reactor = Reactor::new().expect("a loop");
    let policy = Connections { max: connections, streams, prewarm: connections, ..Connections::default() };
    let client = Http2::new(Connector::new(reactor.handle(), &Route::to(allowed)), &policy);
    let (left, done, failed) = (Rc::new(Cell::new(requests)), Rc::new(Cell::new(0u32)), Rc::new(Cell::new(0u32)));
    let started = Instant::now();
    for _ in 0..connections * streams {
        let (client, path) = (client.clone(), args[2].clone());
        let (left, done, failed) = (Rc::clone(&left), Rc::clone(&done), Rc::clone(&failed));
        reactor.handle().spawn(async move {
            while left.get() > 0 {
                left.set(left.get() - 1);
                let ask = Ask {
                    method: Method::GET,
                    path: path.clone(),
                    headers: HeaderMap::new(),
                    body: Bytes::new(),
                    part: Part::Request,
                    keep: false,
                    within: None,
                };
                match client.exchange(ask, Rc::new(Progress::default())).await {
                    Ok(reply) if reply.status == Some(200) => done.set(done.get() + 1),
                    Ok(_) | Err(_) => failed.set(failed.get() + 1),
                }
            }
        });
    }
    let mut ready = Vec::new();
    while done.get() + failed.get() < requests {
        reactor.turn(None, Duration::ZERO, &mut ready).expect("the loop turns");
    }
    println!("{} done, {} failed, {:?}", done.get(), failed.get(), started.elapsed());
}
