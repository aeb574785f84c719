//! Moving bytes: HTTP/1.1 framing without I/O, the one forwarding loop that fault proxy, router, recorder and shadow
//! share, listening, a tiny HTTP client, and a timer that is exact to microseconds. No policy: what to delay, where to
//! send and what to change is decided by whoever implements [`forward::Flow`], [`forward::TcpPolicy`] or
//! [`forward::HttpPolicy`].

pub mod client;
pub mod forward;
pub mod http1;
pub mod listen;
pub mod timer;

pub use client::request;
pub use forward::{
    Answer, Direction, Ending, Exchange, Flow, Forward, HttpPolicy, Lane, Origin, Piece, Report, TcpPolicy, TcpSession, Verdict,
    serve_http, serve_tcp,
};
pub use http1::{Framer, Framing, Head, HttpError, Part};
pub use listen::{Server, bind};
pub use timer::Timer;
