//! The TLS of one connection over a non-blocking descriptor: rustls without a runtime. Must not wait, connect or know
//! settings.

use crate::trouble;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use rustls::ClientConnection;
use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;

/// A TLS connection's state; the descriptor comes with every call.
pub(crate) struct Session(Box<ClientConnection>);

/// A non-blocking socket as rustls reads and writes it.
struct Raw<'a>(BorrowedFd<'a>);

impl Read for Raw<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        receive(self.0, into)
    }
}

impl Write for Raw<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        send(self.0, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads what is there now.
#[inline]
pub(crate) fn receive(fd: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match rustix::net::recv(fd, &mut *into, RecvFlags::empty()) {
            Ok((n, _)) => return Ok(n),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Writes what fits now.
#[inline]
pub(crate) fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match rustix::net::send(fd, bytes, SendFlags::NOSIGNAL) {
            Ok(n) => return Ok(n),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

impl Session {
    pub(crate) fn new(connection: ClientConnection) -> Session {
        Session(Box::new(connection))
    }

    /// The handshake is not over.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    /// Something is to be sent that [`Session::push`] would send.
    pub(crate) fn wants_write(&self) -> bool {
        self.0.wants_write()
    }

    pub(crate) fn resumed(&self) -> bool {
        self.0.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    }

    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        self.0.alpn_protocol()
    }

    /// Reads what has been decrypted already: `Ok(0)` after the peer's close_notify, `WouldBlock` when there is nothing,
    /// `UnexpectedEof` when the peer closed without close_notify.
    pub(crate) fn decrypted(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.reader().read(into)
    }

    /// Takes in what the peer sent: the number of bytes, 0 at the end.
    pub(crate) fn pull(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        let n = self.0.read_tls(&mut Raw(fd))?;
        if let Err(e) = self.0.process_new_packets() {
            // The peer is told why; the connection is of no use whether or not that arrives.
            let _alert = self.push(fd);
            return Err(trouble::tls(&e));
        }
        Ok(n)
    }

    /// Sends what is to be sent, to the end: `WouldBlock` when it does not all fit.
    pub(crate) fn push(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        while self.0.wants_write() {
            if self.0.write_tls(&mut Raw(fd))? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    /// Encrypts bytes, as many as there is room for (about 64 KiB wait at most).
    pub(crate) fn encrypt(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.writer().write(bytes)
    }

    /// No more bytes will be written: the peer is to know.
    pub(crate) fn close(&mut self) {
        self.0.send_close_notify();
    }

    /// Reads what is there now, decrypted or not.
    pub(crate) fn try_read(&mut self, fd: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            match self.decrypted(into) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.pull(fd)?,
                other => return other,
            };
        }
    }

    /// Takes bytes and sends what fits: `WouldBlock` only when none were taken.
    pub(crate) fn try_write(&mut self, fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        self.push_some(fd)?;
        let taken = self.encrypt(bytes)?;
        if taken == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.push_some(fd)?;
        Ok(taken)
    }

    fn push_some(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        match self.push(fd) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(()),
            other => other,
        }
    }
}
