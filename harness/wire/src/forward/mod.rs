//! The one forwarding loop. A connection's bytes go from a source through a [`Lane`] to a sink; a policy sees
//! connections, request heads and chunks, and decides when each piece may leave, where a request goes and how a
//! connection ends. Must not decide any of that itself.

mod exchange;
mod http;
mod lane;
mod pump;
mod tcp;

pub use http::{Answer, Exchange, Forward, HttpPolicy, Origin, Verdict, serve_http};
pub use lane::{Flow, LANE_LIMIT, Lane, Piece};
pub use tcp::{TcpPolicy, TcpSession, serve_tcp};

use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// Longest wait for a connection to an upstream.
pub const DIAL_WITHIN: Duration = Duration::from_secs(5);

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client to the upstream: requests.
    Upstream,
    /// From the upstream to the client: answers.
    Downstream,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Closed, what is under way in the kernel still goes out.
    Close,
    /// Reset (RST): whatever is under way is lost.
    Reset,
}

/// What passed, told to the policy at the end of a connection (TCP) or exchange (HTTP).
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Bytes written to the upstream.
    pub up: u64,
    /// Bytes written to the client.
    pub down: u64,
    /// Status of the upstream's answer (HTTP).
    pub status: Option<u16>,
    /// From the start of forwarding to a connected upstream until its answer's head was read (HTTP).
    pub upstream_latency: Option<Duration>,
    /// What the upstream did wrong: unreachable, vanished, not HTTP. `None` when it did nothing wrong.
    pub failure: Option<String>,
}

/// Connects within `within`, with Nagle's algorithm off.
///
/// # Errors
/// As the system says, or `TimedOut`.
pub async fn dial(addr: SocketAddr, within: Duration) -> io::Result<TcpStream> {
    let stream = tokio::time::timeout(within, TcpStream::connect(addr))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {within:?}")))??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Makes the kernel send RST when the stream is dropped.
fn arm_reset(stream: &TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%error, "cannot arm a reset");
    }
}

/// Ends our writing direction; the other stays open.
fn half_close(stream: &TcpStream) {
    // A peer that is gone already makes this fail; there is nothing left to close then.
    if let Err(error) = rustix::net::shutdown(stream, rustix::net::Shutdown::Write) {
        tracing::trace!(%error, "half-close on a dead connection");
    }
}
