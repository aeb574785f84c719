//! Making connections: where to, from where, through what; how long each part took. Must not keep connections.

use crate::reactor::Handle;
use crate::socket::Socket;
use crate::stream::Stream;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use shakedown_core::seams::Endpoints;
use shakedown_core::snapshot::Failure;
use shakedown_core::{AllowList, Allowed};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Where connections lead. Every address goes through the allow check each time it becomes known.
#[derive(Clone, Debug)]
pub enum Place {
    /// An endpoint of the run, looked up anew for every connection.
    Endpoint(String, Endpoints, AllowList),
    /// One address.
    Address(Allowed),
}

/// Makes connections to one place.
#[derive(Debug)]
pub struct Connector {
    handle: Handle,
    place: Place,
}

/// A new connection and what it took.
#[derive(Debug)]
pub struct Connected {
    /// The connection.
    pub stream: Stream,
    /// From the first attempt to connected (name resolution and proxy included, handshake not).
    pub connect: Duration,
    /// The TLS handshake; `None` without TLS.
    pub tls: Option<Duration>,
    /// The handshake resumed a session.
    pub resumed: bool,
    /// The protocol agreed by ALPN.
    pub alpn: Option<Vec<u8>>,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct NoConnection {
    /// Kind.
    pub kind: Failure,
    /// In words, with the address.
    pub why: String,
    /// The system's error number, for counting what ran out.
    pub errno: Option<i32>,
}

impl Connector {
    /// A connector on a loop.
    #[must_use]
    pub fn new(handle: Handle, place: Place) -> Connector {
        Connector { handle, place }
    }

    /// Makes a connection. Has no time limit of its own: whoever waits gives up by dropping it.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn connect(&self) -> Result<Connected, NoConnection> {
        let started = Instant::now();
        let allowed = match &self.place {
            Place::Address(address) => *address,
            Place::Endpoint(name, endpoints, allow) => {
                let gone = |why: String| NoConnection { kind: Failure::Connect, why, errno: None };
                let addr = endpoints.get(name).ok_or_else(|| gone(format!("endpoint {name} is gone")))?;
                allow.check(addr).map_err(|e| gone(e.0))?
            }
        };
        let address = allowed.addr();
        let socket = self.tcp(address).await.map_err(|e| {
            let kind = if e.kind() == io::ErrorKind::ConnectionRefused { Failure::Refused } else { Failure::Connect };
            NoConnection { kind, why: format!("{address}: {e}"), errno: e.raw_os_error() }
        })?;
        Ok(Connected { stream: Stream::Plain(socket), connect: started.elapsed(), tls: None, resumed: false, alpn: None })
    }

    async fn tcp(&self, address: SocketAddr) -> io::Result<Socket> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        sockopt::set_tcp_nodelay(&fd, true)?;
        match rustix::net::connect(&fd, &address) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(e) => return Err(e.into()),
        }
        let socket = Socket::new(&self.handle, fd)?;
        socket.writable().await;
        match sockopt::socket_error(&socket)? {
            Ok(()) => Ok(socket),
            Err(e) => Err(e.into()),
        }
    }
}
