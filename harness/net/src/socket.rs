//! A non-blocking socket for tasks: tokio's `AsyncRead` and `AsyncWrite` on this loop (the traits only; no runtime of
//! tokio's is involved). Must not connect or interpret bytes.

use crate::reactor::Handle;
use crate::session::{receive, send};
use rustix::io::Errno;
use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Most reads in a row that find something before the task has to let others go first: a peer that never stops sending
/// would keep the loop for itself.
const READS: u32 = 16;

/// A stream or datagram socket, registered once for its whole life.
#[derive(Debug)]
pub struct Socket {
    /// Always there but while it is being taken out.
    fd: Option<OwnedFd>,
    handle: Handle,
    source: usize,
    /// Reads in a row that found something.
    reads: Cell<u32>,
}

const THERE: &str = "taken out only by `into_fd`, which consumes it";

impl Socket {
    /// Registers a socket, which must be non-blocking.
    ///
    /// # Errors
    /// The system's.
    pub fn new(handle: &Handle, fd: OwnedFd) -> io::Result<Socket> {
        let source = handle.watch(fd.as_fd())?;
        Ok(Socket { fd: Some(fd), handle: handle.clone(), source, reads: Cell::new(0) })
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

    /// The descriptor, given to the loop's owner under `token`.
    pub(crate) fn hand_over(mut self, token: u64) -> io::Result<OwnedFd> {
        let fd = self.fd.take().expect(THERE);
        self.handle.hand_over(fd.as_fd(), self.source, token)?;
        Ok(fd)
    }

    /// Waits until it can be written to: a connect has come out.
    pub async fn writable(&self) {
        poll_fn(|cx| self.handle.poll_ready(self.source, true, cx)).await;
    }

    /// Waits until it may be read from: the last [`Socket::try_read`] would not block any more.
    pub async fn readable(&self) {
        poll_fn(|cx| self.handle.poll_ready(self.source, false, cx)).await;
    }

    /// Reads what is there now; of a datagram what fits.
    ///
    /// # Errors
    /// The system's; `WouldBlock` when nothing is there.
    pub fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        self.noted(false, receive(self.as_fd(), into))
    }

    /// Writes what fits now.
    ///
    /// # Errors
    /// The system's; `WouldBlock` when nothing fits.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.noted(true, send(self.as_fd(), bytes))
    }

    /// An attempt to read, made past this type, would have blocked.
    pub(crate) fn would_block(&self) {
        self.handle.not_ready(self.source, false);
    }

    fn noted<T>(&self, write: bool, result: io::Result<T>) -> io::Result<T> {
        if result.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock) {
            self.handle.not_ready(self.source, write);
        }
        result
    }

    /// Whether a task that reads has to let others go first; it is woken again at once.
    fn yields(&self, cx: &Context<'_>) -> bool {
        let yields = self.reads.get() >= READS;
        if yields {
            self.reads.set(0);
            cx.waker().wake_by_ref();
        }
        yields
    }

    /// Does `attempt` again each time the socket becomes ready, until it does not block.
    pub(crate) fn poll_attempt<T>(
        &self,
        write: bool,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        if !write && self.yields(cx) {
            return Poll::Pending;
        }
        loop {
            if self.handle.poll_ready(self.source, write, cx).is_pending() {
                if !write {
                    self.reads.set(0);
                }
                return Poll::Pending;
            }
            match self.noted(write, attempt(self.as_fd())) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                other => {
                    if !write {
                        self.reads.set(self.reads.get() + 1);
                    }
                    return Poll::Ready(other);
                }
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
        let n = ready!(self.poll_attempt(false, cx, |fd| receive(fd, buf.initialize_unfilled())))?;
        buf.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_attempt(true, cx, |fd| send(fd, bytes))
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
