//! Why there is no connection, and what errors of a connection mean: kinds and words for people. Must not do anything
//! about it.

use rustix::io::Errno;
use rustls::{AlertDescription, CertificateError, Error};
use shakedown_core::snapshot::Failure;
use std::io;

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

/// Connects that failed because this machine, not the target, had run out of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shortage {
    /// For want of a descriptor (EMFILE, ENFILE).
    pub descriptors: u64,
    /// For want of a local port (EADDRNOTAVAIL).
    pub ports: u64,
}

impl Shortage {
    /// This and one more failed connect, if that is one.
    pub(crate) fn and(mut self, no: &NoConnection) -> Shortage {
        match no.errno.map(Errno::from_raw_os_error) {
            Some(Errno::MFILE | Errno::NFILE) => self.descriptors += 1,
            Some(Errno::ADDRNOTAVAIL) => self.ports += 1,
            _ => {}
        }
        self
    }
}

/// What TLS found wrong, as an `io::Error` of kind `InvalidData` carries it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct TlsTrouble(String);

impl NoConnection {
    pub(crate) fn new(kind: Failure, why: impl Into<String>) -> NoConnection {
        NoConnection { kind, why: why.into(), errno: None }
    }

    /// An attempt to connect failed at `place`.
    pub(crate) fn system(place: &str, e: &io::Error) -> NoConnection {
        let kind = if e.kind() == io::ErrorKind::ConnectionRefused { Failure::Refused } else { Failure::Connect };
        NoConnection { kind, why: format!("{place}: {e}"), errno: e.raw_os_error() }
    }

    /// A handshake failed.
    pub(crate) fn handshake(place: &str, e: &io::Error) -> NoConnection {
        use io::ErrorKind as K;
        let why = match e.kind() {
            K::UnexpectedEof | K::ConnectionReset | K::BrokenPipe => "the server closed the connection in the TLS handshake".to_owned(),
            _ => format!("TLS: {e}"),
        };
        NoConnection { kind: Failure::Tls, why: format!("{place}: {why}"), errno: e.raw_os_error() }
    }
}

/// What an error of an established connection counts as: TLS trouble as [`Failure::Tls`] (a server may refuse a client
/// certificate after the handshake), everything else as [`Failure::Reset`].
#[must_use]
pub fn failure_of(e: &io::Error) -> Failure {
    if e.get_ref().is_some_and(|inner| inner.is::<TlsTrouble>()) { Failure::Tls } else { Failure::Reset }
}

/// An error of rustls as an `io::Error` for people.
pub(crate) fn tls(e: &Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, TlsTrouble(words(e)))
}

fn words(e: &Error) -> String {
    match e {
        Error::InvalidCertificate(e) => certificate(e),
        Error::AlertReceived(alert) => alerted(*alert),
        Error::InvalidMessage(e) => format!("the peer does not speak TLS on this port, or speaks it wrongly ({e:?})"),
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            format!("the peer breaks the TLS protocol: {e}")
        }
        Error::PeerIncompatible(e) => format!("no TLS version or cipher in common with the server ({e:?})"),
        Error::PeerMisbehaved(e) => format!("the peer breaks the TLS protocol ({e:?})"),
        Error::NoApplicationProtocol => "the server does not speak the protocol that was offered (ALPN)".to_owned(),
        Error::DecryptError => "the peer sent what cannot be decrypted".to_owned(),
        e => e.to_string(),
    }
}

fn certificate(e: &CertificateError) -> String {
    use CertificateError as C;
    let hint = "give its CA with `tls: {ca: …}`, or do not verify with `tls: {insecure: true}`";
    match e {
        C::Expired => "the server's certificate has expired".to_owned(),
        C::ExpiredContext { time, not_after } => {
            format!("the server's certificate expired {} s ago", time.as_secs().saturating_sub(not_after.as_secs()))
        }
        C::NotValidYet => "the server's certificate is not valid yet".to_owned(),
        C::NotValidYetContext { time, not_before } => {
            format!("the server's certificate becomes valid only in {} s", not_before.as_secs().saturating_sub(time.as_secs()))
        }
        C::Revoked => "the server's certificate was revoked".to_owned(),
        C::UnknownIssuer => format!("the server's certificate is self-signed or from an unknown issuer; {hint}"),
        C::NotValidForName => "the server's certificate is for another name".to_owned(),
        C::NotValidForNameContext { expected, presented } => {
            let names = presented.join(", ");
            format!("the server's certificate is for another name: for [{names}], not for {}", expected.to_str())
        }
        C::BadEncoding => "the server's certificate cannot be read".to_owned(),
        C::BadSignature => "a signature in the server's certificate chain is wrong".to_owned(),
        C::Other(inner) if inner.to_string().contains("CaUsedAsEndEntity") => {
            format!("the server shows a CA certificate as its own; {hint}")
        }
        e => format!("the server's certificate is not acceptable: {e}"),
    }
}

fn alerted(alert: AlertDescription) -> String {
    use AlertDescription as A;
    match alert {
        A::NoApplicationProtocol => "the server refused: it speaks none of the protocols offered (ALPN)".to_owned(),
        A::CertificateRequired => "the server refused: it wants a client certificate; give `tls: {cert: …, key: …}`".to_owned(),
        A::UnknownCA
        | A::BadCertificate
        | A::CertificateUnknown
        | A::UnsupportedCertificate
        | A::CertificateExpired
        | A::CertificateRevoked => {
            format!("the server refused the client's certificate ({alert:?})")
        }
        A::ProtocolVersion => "the server refused: no TLS version in common".to_owned(),
        A::UnrecognisedName => "the server refused: it does not know the name that was sent (SNI)".to_owned(),
        other => format!("the server refused ({other:?})"),
    }
}
