//! Single attempts to connect: TCP, Unix, UDP. Must not choose addresses.

use crate::reactor::Handle;
use crate::socket::Socket;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use shakedown_core::Allowed;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// Attempts on a Unix socket whose backlog is full: the kernel tells nobody when there is room.
const BACKLOG_TRIES: u32 = 400;
/// Between them.
const BACKLOG_PAUSE: Duration = Duration::from_millis(5);

/// Connects over TCP.
pub(crate) async fn tcp(handle: &Handle, to: Allowed, from: Option<IpAddr>) -> io::Result<Socket> {
    let to = to.addr();
    let fd = open(to, SocketType::STREAM, from)?;
    sockopt::set_tcp_nodelay(&fd, true)?;
    match rustix::net::connect(&fd, &to) {
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => {}
        Err(e) => return Err(e.into()),
    }
    let socket = Socket::new(handle, fd)?;
    socket.writable().await;
    sockopt::socket_error(&socket)??;
    if to.ip().is_loopback() && met_itself(&socket, to)? {
        return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "nobody listens there: the connection met itself"));
    }
    Ok(socket)
}

/// A connection to an unused port of this machine may draw that very port as its own and connect to itself (simultaneous
/// open, RFC 9293 §3.5): an echo where there is no server.
fn met_itself(socket: &Socket, to: SocketAddr) -> io::Result<bool> {
    let own = SocketAddr::try_from(rustix::net::getsockname(socket)?)?;
    Ok(own == to)
}

/// A datagram socket that sends to and receives from one address only.
pub(crate) fn datagram(handle: &Handle, to: Allowed, from: Option<IpAddr>) -> io::Result<Socket> {
    let fd = open(to.addr(), SocketType::DGRAM, from)?;
    rustix::net::connect(&fd, &to.addr())?;
    Socket::new(handle, fd)
}

/// Connects to a Unix socket.
pub(crate) async fn unix(handle: &Handle, path: &Path) -> io::Result<Socket> {
    let address = SocketAddrUnix::new(path)?;
    let fd = socket(AddressFamily::UNIX, SocketType::STREAM)?;
    for _ in 0..BACKLOG_TRIES {
        match rustix::net::connect(&fd, &address) {
            Ok(()) => return Socket::new(handle, fd),
            Err(Errno::AGAIN | Errno::INTR) => handle.sleep_until(Instant::now() + BACKLOG_PAUSE).await,
            Err(e) => return Err(e.into()),
        }
    }
    Err(Errno::AGAIN.into())
}

fn open(to: SocketAddr, kind: SocketType, from: Option<IpAddr>) -> io::Result<OwnedFd> {
    let fd = socket(if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 }, kind)?;
    if let Some(ip) = from {
        // The port is drawn when connecting, so that one source serves as many destinations as it has ports for each.
        nix::sys::socket::setsockopt(&fd, nix::sys::socket::sockopt::IpBindAddressNoPort, &true)?;
        rustix::net::bind(&fd, &SocketAddr::new(ip, 0))?;
    }
    Ok(fd)
}

fn socket(family: AddressFamily, kind: SocketType) -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(family, kind, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?)
}
