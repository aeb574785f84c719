//! A non-blocking socket for tasks: tokio's `AsyncRead` and `AsyncWrite` on this loop (the traits only; no runtime of
//! tokio's is involved). Must not connect or interpret bytes.

use crate::reactor::Handle;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream or datagram socket, registered once for its whole life.
#[derive(Debug)]
pub struct Socket {
    /// Always there but while it is being taken out.
    fd: Option<OwnedFd>,
    handle: Handle,
    source: usize,
}

const THERE: &str = "taken out only by `into_fd`, which consumes it";

impl Socket {
    /// Registers a socket, which must be non-blocking.
    ///
    /// # Errors
    /// The system's.
    pub fn new(handle: &Handle, fd: OwnedFd) -> io::Result<Socket> {
        let source = handle.watch(fd.as_fd())?;
        Ok(Socket { fd: Some(fd), handle: handle.clone(), source })
    }

    /// The descriptor, no longer registered: for whoever goes on with it by [`Handle::register`].
    ///
    /// # Errors
    /// The system's.
    pub fn into_fd(mut self) -> io::Result<OwnedFd> {
        let fd = self.fd.take().expect(THERE);
        self.handle.unwatch(fd.as_fd(), self.source)?;
        Ok(fd)
    }

    /// Waits until it can be written to: a connect has come out.
    pub async fn writable(&self) {
        poll_fn(|cx| self.handle.poll_ready(self.source, true, cx)).await;
    }

    /// Reads what is there now.
    ///
    /// # Errors
    /// The system's; `WouldBlock` when nothing is there.
    pub fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::net::recv(self.fd.as_ref().expect(THERE), into, RecvFlags::empty()).map(|(n, _)| n)?)
    }

    /// Writes what fits now.
    ///
    /// # Errors
    /// The system's; `WouldBlock` when nothing fits.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(self.fd.as_ref().expect(THERE), bytes, SendFlags::NOSIGNAL)?)
    }

    /// Does `attempt` again each time the socket becomes ready, until it does not block.
    fn poll_io<T>(&self, write: bool, cx: &mut Context<'_>, mut attempt: impl FnMut() -> rustix::io::Result<T>) -> Poll<io::Result<T>> {
        loop {
            if self.handle.poll_ready(self.source, write, cx).is_pending() {
                return Poll::Pending;
            }
            match attempt() {
                Err(Errno::AGAIN) => self.handle.not_ready(self.source, write),
                Err(Errno::INTR) => {}
                other => return Poll::Ready(other.map_err(io::Error::from)),
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().expect(THERE).as_fd()
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (fd, into) = (self.fd.as_ref().expect(THERE), buf.initialize_unfilled());
        match self.poll_io(false, cx, || rustix::net::recv(fd, &mut *into, RecvFlags::empty()).map(|(n, _)| n)) {
            Poll::Ready(Ok(n)) => {
                buf.advance(n);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let fd = self.fd.as_ref().expect(THERE);
        self.poll_io(true, cx, || rustix::net::send(fd, bytes, SendFlags::NOSIGNAL))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = rustix::net::shutdown(self.fd.as_ref().expect(THERE), rustix::net::Shutdown::Write);
        Poll::Ready(match shut {
            // The peer was faster.
            Ok(()) | Err(Errno::NOTCONN) => Ok(()),
            Err(e) => Err(e.into()),
        })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(fd) = self.fd.take()
            && let Err(e) = self.handle.unwatch(fd.as_fd(), self.source)
        {
            tracing::warn!("a socket cannot be unregistered: {e}");
        }
    }
}
