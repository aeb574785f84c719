//! A tunnel through an HTTP proxy (CONNECT, RFC 9110 §9.3.6). Takes exactly the answer's head from the socket: the next
//! byte is the tunnel's. Must not connect to the proxy.

use crate::session::receive;
use crate::socket::Socket;
use crate::trouble::NoConnection;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use shakedown_core::snapshot::Failure;
use std::io;
use std::os::fd::AsFd as _;
use tokio::io::AsyncWriteExt as _;

/// Largest head of the proxy's answer.
const HEAD: usize = 16 << 10;

/// Asks the proxy at the other end of `socket` for a tunnel to `wanted` (`host:port`).
pub(crate) async fn tunnel(socket: &mut Socket, proxy: &str, wanted: &str) -> Result<(), NoConnection> {
    let broken = |e: io::Error| NoConnection { kind: Failure::Connect, why: format!("proxy {proxy}: {e}"), errno: e.raw_os_error() };
    let refused = |why: &str| NoConnection::new(Failure::Connect, format!("proxy {proxy}: {why}"));
    let ask = format!("CONNECT {wanted} HTTP/1.1\r\nHost: {wanted}\r\n\r\n");
    socket.write_all(ask.as_bytes()).await.map_err(broken)?;
    let head = head(socket).await.map_err(broken)?;
    let Some(head) = head else {
        return Err(refused("closed the connection, or its answer is no HTTP or too long"));
    };
    match status(&head) {
        Some((200..=299, _)) => Ok(()),
        Some((code, reason)) => Err(refused(format!("answered {code} {reason} to CONNECT {wanted}").as_str())),
        None => Err(refused("its answer is no HTTP")),
    }
}

/// The answer's head with its empty line; `None` when it does not end, or is no head from its first bytes on.
async fn head(socket: &Socket) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    let mut seen = [0u8; 2048];
    while head.len() < HEAD {
        socket.readable().await;
        let n = match rustix::net::recv(socket, &mut seen, RecvFlags::PEEK) {
            Ok((n, _)) => n,
            Err(Errno::AGAIN) => {
                // Makes the next wait a wait.
                socket.would_block();
                continue;
            }
            Err(e) => return Err(e.into()),
        };
        if n == 0 {
            return Ok(None);
        }
        let before = head.len();
        head.extend_from_slice(&seen[..n]);
        let from = before.saturating_sub(3);
        let end = head[from..].windows(4).position(|w| w == b"\r\n\r\n").map(|at| from + at + 4);
        head.truncate(end.unwrap_or(head.len()));
        let taken = head.len() - before;
        receive(socket.as_fd(), &mut seen[..taken])?;
        if end.is_some() {
            return Ok(Some(head));
        }
        if !b"HTTP/1.".starts_with(&head[..head.len().min(7)]) {
            return Ok(None);
        }
    }
    Ok(None)
}

/// Status code and reason of `HTTP/1.x NNN reason`.
fn status(head: &[u8]) -> Option<(u16, String)> {
    let line = std::str::from_utf8(head.split(|b| *b == b'\r').next()?).ok()?;
    let (version, rest) = line.split_once(' ')?;
    let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    let code = code.parse().ok().filter(|_| code.len() == 3 && version.starts_with("HTTP/1."))?;
    let reason: String = reason.chars().filter(|c| !c.is_control()).take(80).collect();
    Some((code, reason))
}
