//! Which kind of failure an HTTP/2 error is. Must not decide what is done about it.

use crate::face::Broken;
use h2::{Error, Reason};
use shakedown_core::snapshot::Failure;
use std::io;

/// The server said that it did not process the request: it may be sent again elsewhere (RFC 9113 §8.7).
pub(crate) fn unprocessed(e: &Error) -> bool {
    e.is_remote() && (e.is_go_away() || e.is_reset() && e.reason() == Some(Reason::REFUSED_STREAM))
}

/// The kind of an error, in words too.
pub(crate) fn kind(e: &Error) -> Broken {
    if let Some(io) = e.get_io() {
        return broken_io(io);
    }
    match e.reason() {
        Some(reason) if e.is_reset() && e.is_remote() => (Failure::Reset, format!("the server reset the stream: {reason}")),
        Some(reason) if e.is_go_away() && e.is_remote() => (Failure::Reset, format!("the server went away: {reason}")),
        Some(reason) => (Failure::Protocol, format!("the answer was no HTTP/2: {reason}")),
        None => (Failure::Protocol, format!("HTTP/2: {e}")),
    }
}

/// The kind of an error of an open connection, in words too.
pub(crate) fn broken_io(e: &io::Error) -> Broken {
    (shakedown_net::failure_of(e), format!("the connection broke: {e}"))
}
