//! The chunked transfer coding as a byte-counting automaton (RFC 9112 §7.1). Keeps nothing but its state: the bytes
//! stay with the caller.

use super::{HttpError, MAX_HEAD};

/// Longest chunk extension, in bytes.
const MAX_EXTENSION: usize = 4 * 1024;

/// Where in a chunked body the next byte falls.
#[derive(Clone, Copy, Debug)]
pub(super) enum Chunked {
    Size {
        value: u64,
        digits: u8,
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
    /// In the trailers: bytes seen in all, and in this line (a CR is not counted).
    Trailer {
        seen: usize,
        line: usize,
    },
    Done,
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
        let mut taken = 0;
        for &byte in bytes {
            self.step(byte)?;
            taken += 1;
            if matches!(self, Chunked::Data { .. } | Chunked::Done) {
                break;
            }
        }
        Ok(Run::Frame(taken))
    }

    fn step(&mut self, byte: u8) -> Result<(), HttpError> {
        *self = match (*self, byte) {
            (Chunked::Size { value, digits }, b) if b.is_ascii_hexdigit() => {
                if digits >= 15 {
                    return Err(HttpError::BadChunk("a chunk size is too large"));
                }
                let digit = char::from(b).to_digit(16).unwrap_or(0);
                Chunked::Size { value: value * 16 + u64::from(digit), digits: digits + 1 }
            }
            (Chunked::Size { digits: 0, .. }, _) => return Err(HttpError::BadChunk("a chunk size is no hexadecimal number")),
            (Chunked::Size { value, .. }, b'\r') => Chunked::SizeLf { size: value },
            (Chunked::Size { value, .. }, b';' | b' ' | b'\t') => Chunked::Extension { size: value, seen: 0 },
            (Chunked::Size { .. }, _) => return Err(HttpError::BadChunk("a chunk size is no hexadecimal number")),
            (Chunked::Extension { size, .. }, b'\r') => Chunked::SizeLf { size },
            (Chunked::Extension { .. }, b'\n') => return Err(HttpError::BadChunk("a bare line feed ends a chunk size")),
            (Chunked::Extension { size, seen }, _) if seen < MAX_EXTENSION => Chunked::Extension { size, seen: seen + 1 },
            (Chunked::Extension { .. }, _) => return Err(HttpError::BadChunk("a chunk extension is too long")),
            (Chunked::SizeLf { size: 0 }, b'\n') => Chunked::Trailer { seen: 0, line: 0 },
            (Chunked::SizeLf { size }, b'\n') => Chunked::Data { left: size },
            (Chunked::DataCr, b'\r') => Chunked::DataLf,
            (Chunked::DataLf, b'\n') => Chunked::new(),
            (Chunked::Trailer { line: 0, .. }, b'\n') => Chunked::Done,
            (Chunked::Trailer { seen, .. }, b'\n') if seen < MAX_HEAD => Chunked::Trailer { seen: seen + 1, line: 0 },
            (Chunked::Trailer { seen, line }, b'\r') if seen < MAX_HEAD => Chunked::Trailer { seen: seen + 1, line },
            (Chunked::Trailer { seen, line }, _) if seen < MAX_HEAD => Chunked::Trailer { seen: seen + 1, line: line + 1 },
            (Chunked::Trailer { .. }, _) => return Err(HttpError::HeadTooLarge),
            (Chunked::SizeLf { .. } | Chunked::DataCr | Chunked::DataLf, _) => {
                return Err(HttpError::BadChunk("a chunk does not end in CR LF"));
            }
            (state @ (Chunked::Data { .. } | Chunked::Done), _) => state,
        };
        Ok(())
    }
}
