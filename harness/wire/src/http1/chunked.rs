//! The chunked transfer coding as a byte-counting automaton (RFC 9112 §7.1). Keeps nothing but its state: the bytes
//! stay with the caller.

use super::classes::{is_text, is_token};
use super::{HttpError, MAX_HEAD};

/// Longest chunk extension, in bytes.
const MAX_EXTENSION: usize = 4 * 1024;
/// Most digits of a chunk size: an exbibyte is no chunk, and a size never overflows.
const MAX_DIGITS: u8 = 15;

/// Where in a chunked body the next byte falls.
#[derive(Clone, Copy, Debug)]
pub(super) enum Chunked {
    Size {
        value: u64,
        digits: u8,
    },
    /// Blanks after a size: no digit may follow them.
    Blank {
        size: u64,
        seen: usize,
    },
    Extension {
        size: u64,
        seen: usize,
    },
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// In the trailers, of which so many bytes were seen.
    Trailer {
        seen: usize,
        place: Trailer,
    },
    Done,
}

/// Where in a line of the trailers the next byte falls.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trailer {
    Start,
    Name,
    Value,
    Lf,
    LastLf,
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Run {
    /// So many bytes of framing.
    Frame(usize),
    /// So many bytes of content.
    Data(usize),
}

impl Chunked {
    pub(super) fn new() -> Chunked {
        Chunked::Size { value: 0, digits: 0 }
    }

    pub(super) fn done(self) -> bool {
        matches!(self, Chunked::Done)
    }

    /// Advances over the longest run of one sort at the start of `bytes` (not empty, and not done).
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<Run, HttpError> {
        if let Chunked::Data { left } = *self {
            let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            let left = left - taken as u64;
            *self = if left == 0 { Chunked::DataCr } else { Chunked::Data { left } };
            return Ok(Run::Data(taken));
        }
        let mut taken = self.usual(bytes);
        while !matches!(self, Chunked::Data { .. } | Chunked::Done)
            && let Some(byte) = bytes.get(taken)
        {
            *self = self.step(*byte)?;
            taken += 1;
        }
        Ok(Run::Frame(taken))
    }

    /// Advances over the framing between chunks when all of it is there and written as usual: what [`Chunked::step`]
    /// does, for less. Otherwise takes nothing, or the line end alone.
    #[inline]
    fn usual(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        if let (Chunked::DataCr, [b'\r', b'\n', ..]) = (*self, bytes) {
            *self = Chunked::new();
            at = 2;
        }
        let Chunked::Size { digits: 0, .. } = *self else { return at };
        let mut value = 0;
        let rest = &bytes[at..];
        for (digits, byte) in rest.iter().enumerate().take(usize::from(MAX_DIGITS)) {
            match (hexadecimal(*byte), rest.get(digits + 1)) {
                (Some(digit), _) => value = value << 4 | digit,
                (None, Some(b'\n')) if *byte == b'\r' && digits > 0 => {
                    *self = Chunked::sized(value);
                    return at + digits + 2;
                }
                (None, _) => break,
            }
        }
        at
    }

    /// After a chunk's size: its content, or the trailers.
    fn sized(size: u64) -> Chunked {
        if size == 0 { Chunked::Trailer { seen: 0, place: Trailer::Start } } else { Chunked::Data { left: size } }
    }

    fn step(self, byte: u8) -> Result<Chunked, HttpError> {
        Ok(match (self, byte) {
            (Chunked::Size { value, digits }, b) if b.is_ascii_hexdigit() => {
                if digits >= MAX_DIGITS {
                    return Err(HttpError::BadChunk("a chunk size is too large"));
                }
                Chunked::Size { value: value << 4 | hexadecimal(b).unwrap_or(0), digits: digits + 1 }
            }
            (Chunked::Size { digits: 0, .. }, _) => return Err(HttpError::BadChunk("a chunk size is no hexadecimal number")),
            (Chunked::Size { value: size, .. } | Chunked::Blank { size, .. } | Chunked::Extension { size, .. }, b'\r') => {
                Chunked::SizeLf { size }
            }
            (Chunked::Size { value: size, .. }, b' ' | b'\t') => Chunked::Blank { size, seen: 0 },
            (Chunked::Size { value: size, .. }, b';') => Chunked::Extension { size, seen: 0 },
            (Chunked::Blank { seen, .. } | Chunked::Extension { seen, .. }, _) if seen >= MAX_EXTENSION => {
                return Err(HttpError::BadChunk("a chunk extension is too long"));
            }
            (Chunked::Blank { size, seen }, b' ' | b'\t') => Chunked::Blank { size, seen: seen + 1 },
            (Chunked::Blank { size, seen }, b';') => Chunked::Extension { size, seen },
            (Chunked::Size { .. } | Chunked::Blank { .. }, _) => {
                return Err(HttpError::BadChunk("a chunk size is no hexadecimal number"));
            }
            (Chunked::Extension { .. }, b'\n') => return Err(HttpError::BadChunk("a bare line feed ends a chunk size")),
            (Chunked::Extension { size, seen }, _) => Chunked::Extension { size, seen: seen + 1 },
            (Chunked::SizeLf { size }, b'\n') => Chunked::sized(size),
            (Chunked::DataCr, b'\r') => Chunked::DataLf,
            (Chunked::DataLf, b'\n') => Chunked::new(),
            (Chunked::SizeLf { .. } | Chunked::DataCr | Chunked::DataLf, _) => {
                return Err(HttpError::BadChunk("a chunk does not end in CR LF"));
            }
            (Chunked::Trailer { seen, .. }, _) if seen >= MAX_HEAD => return Err(HttpError::HeadTooLarge),
            (Chunked::Trailer { place: Trailer::LastLf, .. }, b'\n') => Chunked::Done,
            (Chunked::Trailer { seen, place }, b) => Chunked::Trailer { seen: seen + 1, place: place.step(b)? },
            (state @ (Chunked::Data { .. } | Chunked::Done), _) => state,
        })
    }
}

impl Trailer {
    fn step(self, byte: u8) -> Result<Trailer, HttpError> {
        Ok(match (self, byte) {
            (Trailer::Start, b'\r') => Trailer::LastLf,
            (Trailer::Name, b':') => Trailer::Value,
            (Trailer::Start | Trailer::Name, b) if is_token(b) => Trailer::Name,
            (Trailer::Value, b'\r') => Trailer::Lf,
            (Trailer::Value, b) if is_text(b) => Trailer::Value,
            (Trailer::Lf, b'\n') => Trailer::Start,
            _ => return Err(HttpError::BadChunk("a trailer is malformed")),
        })
    }
}

/// The value of a hexadecimal digit.
#[inline]
fn hexadecimal(byte: u8) -> Option<u64> {
    match byte {
        b'0'..=b'9' => Some(u64::from(byte - b'0')),
        b'a'..=b'f' => Some(u64::from(byte - b'a') + 10),
        b'A'..=b'F' => Some(u64::from(byte - b'A') + 10),
        _ => None,
    }
}
