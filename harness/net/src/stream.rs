//! A connection, with or without TLS, for tasks ([`Stream`]) and for whoever drives it by hand ([`Direct`]). Must not
//! connect.

use crate::reactor::Handle;
use crate::socket::Socket;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection for tasks.
#[derive(Debug)]
pub enum Stream {
    /// Bytes as they are.
    Plain(Socket),
}

/// A connection driven by hand: non-blocking, one registration for its whole life.
#[derive(Debug)]
pub struct Direct {
    fd: OwnedFd,
}

impl Stream {
    /// Takes the connection out of the tasks' hands and registers it under `token` ([`Handle::register`]).
    ///
    /// # Errors
    /// The system's.
    pub fn into_direct(self, handle: &Handle, token: u64) -> io::Result<Direct> {
        let Stream::Plain(socket) = self;
        let fd = socket.into_fd()?;
        handle.register(fd.as_fd(), token)?;
        Ok(Direct { fd })
    }
}

impl Direct {
    /// Reads what is there now: 0 at the end.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there; the system's, or TLS's (`InvalidData`).
    pub fn try_read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::net::recv(&self.fd, into, rustix::net::RecvFlags::empty()).map(|(n, _)| n)?)
    }

    /// Writes what fits now.
    ///
    /// # Errors
    /// `WouldBlock` when nothing fits; the system's.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(&self.fd, bytes, rustix::net::SendFlags::NOSIGNAL)?)
    }

    /// Pushes out what TLS still holds back of earlier writes; without TLS there is never anything.
    ///
    /// # Errors
    /// `WouldBlock` when it does not fit yet.
    pub fn try_flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Direct {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}
