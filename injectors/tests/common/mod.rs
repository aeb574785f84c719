//! What the live tests share: proxies on loopback, small upstreams, toxics by YAML-like trees.
#![allow(dead_code)]

use shakedown_core::plan::{Match, ProxyPlan};
use shakedown_core::seams::{Endpoints, Proxies, Toxic};
use shakedown_core::tree::{Node, Problems, Tree};
use shakedown_core::{AllowList, Ppm};
use shakedown_injectors::{KINDS, ProxySet};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub const NAME: &str = "p";

/// A map node from pairs, scalars plain.
pub fn map(pairs: &[(&str, Node)]) -> Node {
    Node { span: 0..1, tree: Tree::Map(pairs.iter().map(|(k, v)| ((*k).to_owned(), 0..1, v.clone())).collect()) }
}

pub fn scalar(text: &str) -> Node {
    Node { span: 0..1, tree: Tree::Scalar { text: text.to_owned(), quoted: false } }
}

pub fn texts(pairs: &[(&str, &str)]) -> Node {
    map(&pairs.iter().map(|(k, v)| (*k, scalar(v))).collect::<Vec<_>>())
}

/// A toxic as a scenario would write it.
pub fn toxic(name: &str, kind: &str, params: &[(&str, &str)]) -> Toxic {
    let mut problems = Problems::default();
    let injector = KINDS.iter().find(|k| k.name() == kind).unwrap();
    let params = injector.parse(&texts(params), &mut problems);
    assert!(problems.is_empty(), "{problems:?}");
    Toxic { name: name.into(), kind: kind.into(), params: params.unwrap(), share: Ppm::ONE, matches: Match::default(), seed: 5 }
}

pub async fn proxy_to(upstream: &str, http: bool, endpoints: Endpoints) -> Arc<ProxySet> {
    let plan = ProxyPlan { name: NAME.into(), listen: "127.0.0.1:0".parse().unwrap(), upstream: upstream.into(), http };
    let allow = AllowList::parse(&["127.0.0.0/8".into()]).unwrap();
    ProxySet::start(&[plan], endpoints, allow, 1).await.unwrap()
}

pub async fn proxy(upstream: SocketAddr, http: bool) -> (Arc<ProxySet>, SocketAddr) {
    let set = proxy_to(&upstream.to_string(), http, Endpoints::default()).await;
    let addr = set.addr(NAME).unwrap();
    (set, addr)
}

pub async fn add(set: &ProxySet, toxic: Toxic) {
    set.add(NAME, toxic).await.unwrap();
}

/// Echoes until end of file, then closes its side; says at the end how many bytes came.
pub async fn echo() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
                let _ = write.shutdown().await;
            });
        }
    });
    (addr, task)
}

/// Answers every request head with `answer`, as it is.
pub async fn canned(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            tokio::spawn(async move {
                let mut seen = Vec::new();
                let mut buffer = [0; 4096];
                while let Ok(count) = stream.read(&mut buffer).await {
                    if count == 0 {
                        return;
                    }
                    seen.extend_from_slice(&buffer[..count]);
                    while let Some(at) = seen.windows(4).position(|w| w == b"\r\n\r\n") {
                        seen.drain(..at + 4);
                        stream.write_all(answer).await.unwrap();
                    }
                }
            });
        }
    });
    addr
}

pub async fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Sends and reads exactly so many bytes.
pub async fn exchange(stream: &mut TcpStream, send: &[u8], expect: usize) -> Vec<u8> {
    stream.write_all(send).await.unwrap();
    let mut got = vec![0; expect];
    stream.read_exact(&mut got).await.unwrap();
    got
}
