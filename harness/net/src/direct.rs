//! A connection driven by hand: non-blocking reads and writes, one registration for its whole life. Must not wait.

use crate::session::{self, Session};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A connection driven by hand. Events are edges: after [`crate::Ready::readable`] read until `WouldBlock`, after
/// [`crate::Ready::writable`] call [`Direct::try_flush`], then go on writing. Dropped, it is closed at once.
pub struct Direct {
    fd: OwnedFd,
    tls: Option<Session>,
}

impl Direct {
    pub(crate) fn new(fd: OwnedFd, tls: Option<Session>) -> Direct {
        Direct { fd, tls }
    }

    /// Without TLS: bytes written are in the kernel, and [`Direct::try_flush`] has nothing to do.
    #[inline]
    #[must_use]
    pub fn plain(&self) -> bool {
        self.tls.is_none()
    }

    /// Reads what is there now: 0 at the end.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there; the system's; with TLS also `InvalidData` (TLS's, see
    /// [`crate::failure_of`]) and `UnexpectedEof` (closed without close_notify: the end may be missing).
    #[inline]
    pub fn try_read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => session::receive(self.fd.as_fd(), into),
            Some(tls) => tls.try_read(self.fd.as_fd(), into),
        }
    }

    /// Writes what fits now. TLS takes bytes that the socket does not: [`Direct::try_flush`] sends them once it is
    /// writable.
    ///
    /// # Errors
    /// `WouldBlock` when nothing was taken; the system's.
    #[inline]
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => session::send(self.fd.as_fd(), bytes),
            Some(tls) => tls.try_write(self.fd.as_fd(), bytes),
        }
    }

    /// Sends what TLS still holds back of earlier writes; without TLS there is never anything.
    ///
    /// # Errors
    /// `WouldBlock` when it does not fit yet; the system's.
    #[inline]
    pub fn try_flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            None => Ok(()),
            Some(tls) => tls.push(self.fd.as_fd()),
        }
    }

    /// Closes; TLS says so to the peer if that fits now.
    pub fn close(mut self) {
        if let Some(tls) = &mut self.tls {
            tls.close();
            // A courtesy: nobody waits for it, and the connection goes in any case.
            let _courtesy = tls.push(self.fd.as_fd());
        }
    }
}

impl AsFd for Direct {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl fmt::Debug for Direct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Direct").field("fd", &self.fd).field("tls", &self.tls.is_some()).finish()
    }
}
