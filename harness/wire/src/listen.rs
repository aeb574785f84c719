//! Listening: a bind that says what to do when the address is taken, and a bounded accept loop whose connections all
//! close when it is dropped. Must not know what is served.

use shakedown_core::Fail;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

/// Most connections one listener serves at once; more wait in the kernel's backlog.
pub const MAX_CONNECTIONS: usize = 16_384;
/// Length of the kernel's backlog.
const BACKLOG: u32 = 4_096;
/// Pause after a failed accept (out of descriptors, for one), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Binds a listener; `what` names it in the message.
///
/// # Errors
/// A sentence that names the address and what to do about it.
pub fn bind(addr: SocketAddr, what: &str) -> Result<TcpListener, Fail> {
    let listener = || {
        let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(addr)?;
        socket.listen(BACKLOG)
    };
    listener().map_err(|error: io::Error| {
        Fail::new(match error.kind() {
            io::ErrorKind::AddrInUse => format!(
                "{what} cannot listen on {addr}: address already in use; stop what listens there (`ss -ltnp 'sport = :{}'` shows it) or choose another port, 0 for any",
                addr.port()
            ),
            io::ErrorKind::AddrNotAvailable => {
                format!("{what} cannot listen on {addr}: this machine has no such address; use one of its own, 127.0.0.1 for loopback")
            }
            io::ErrorKind::PermissionDenied => {
                format!("{what} cannot listen on {addr}: permission denied; choose a port of 1024 or above")
            }
            _ => format!("{what} cannot listen on {addr}: {error}"),
        })
    })
}

/// A running accept loop. Dropping it closes the listener and every connection.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    /// Accepts until dropped or stopped; each connection gets its number (from 0) and runs in its own task. At most
    /// [`MAX_CONNECTIONS`] at once. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the listener's address cannot be read.
    pub fn start<H, F>(listener: TcpListener, handler: H) -> Result<Server, Fail>
    where
        H: Fn(TcpStream, SocketAddr, u64) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let addr = listener.local_addr().map_err(|e| Fail::new(format!("cannot read a listener's address: {e}")))?;
        Ok(Server { addr, task: tokio::spawn(accept(listener, handler)) })
    }

    /// Where it listens, resolved.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Closes the listener and every connection; all are gone when this returns.
    pub async fn stop(&mut self) {
        self.task.abort();
        if let Err(error) = (&mut self.task).await
            && error.is_panic()
        {
            tracing::error!(addr = %self.addr, "the accept loop panicked");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept<H, F>(listener: TcpListener, handler: H)
where
    H: Fn(TcpStream, SocketAddr, u64) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // The set aborts its tasks when this loop is aborted: no connection outlives it.
    let mut connections = JoinSet::new();
    let mut number = 0;
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Small messages must not wait for the acknowledgement of the one before.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%peer, %error, "cannot switch Nagle's algorithm off");
                }
                let served = handler(stream, peer, number);
                number += 1;
                connections.spawn(async move {
                    served.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
