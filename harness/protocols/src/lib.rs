//! One exchange over protocols other than HTTP/1.1: HTTP/2, gRPC, WebSocket, TCP, UDP. On the loop of `net`; every
//! client pools its own connections. Must not pace, record, retry or judge.
//!
//! HTTP/3 is not here. Its only kept pure Rust client, `h3` over `quinn`, is at 0.0.x and calls itself experimental, and
//! `quinn` brings timers and a UDP stack of its own: neither would be solid as an instrument, nor on this loop. A target
//! that asks for it is refused when the scenario is checked, which is better than figures nobody could believe.

mod answer;
mod face;
mod gate;
mod grpc;
mod http2;
mod raw;
mod udp;
mod websocket;

pub use answer::{FIRST_BYTES, MAX_BODY};
pub use face::{Ask, Broken, Client, Local, NewConnection, Part, Progress, Reply};
pub use grpc::{Grpc, Method, Schema};
pub use http2::Http2;
pub use raw::Tcp;
pub use udp::Udp;
pub use websocket::WebSocket;
