//! HTTP/1.1 message framing without I/O: bytes in, heads and body pieces out, every byte accounted for so that a proxy
//! can forward a message unchanged. Must not read sockets or decide what a message means.

mod answer;
mod chunked;
mod classes;
mod framer;
mod head;
mod lookup;
mod scan;
mod seen;
mod values;

pub use answer::{AnswerScan, HeadInfo, MAX_INTERIM, Step};
pub use framer::{Framer, Part};
pub use head::{Framing, Head};
pub use lookup::{Headers, header, headers};
pub use seen::SeenHead;

/// Most bytes of a message head (start line and headers) or of a chunked body's trailers.
pub const MAX_HEAD: usize = 64 * 1024;
/// Most headers in one head.
pub const MAX_HEADERS: usize = 128;

/// Why bytes are no HTTP/1.1 message that may be forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The head is longer than [`MAX_HEAD`] or has more headers than [`MAX_HEADERS`].
    #[error("the message head is longer than 64 KiB or has more than 128 headers")]
    HeadTooLarge,
    /// Not a start line and headers.
    #[error("the bytes are no HTTP/1.1 message head: {0}")]
    BadHead(&'static str),
    /// Two readers could disagree about where the body ends: request smuggling.
    #[error("the body's length is ambiguous: {0}")]
    Ambiguous(&'static str),
    /// The chunked framing is broken.
    #[error("the chunked body is malformed: {0}")]
    BadChunk(&'static str),
    /// The connection ended inside a message.
    #[error("the connection ended in the middle of a message")]
    Truncated,
}
