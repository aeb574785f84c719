//! Content codings of bodies that somebody looks at: gzip, deflate, br. Bounded; must not be on the path of bodies that
//! are only counted.

use std::borrow::Cow;
use std::io::Read;

/// Largest body after decoding, bytes.
const MAX_DECODED: u64 = 64 << 20;
/// Most codings applied one after another.
const MAX_CODINGS: usize = 4;
/// Buffer of the brotli decoder, bytes.
const BROTLI_BUFFER: usize = 4096;

/// The body without the codings that `Content-Encoding` lists.
///
/// # Errors
/// In words: an unknown coding, broken data, or a body that grows past the bound.
pub fn body<'a>(codings: &[u8], packed: &'a [u8]) -> Result<Cow<'a, [u8]>, String> {
    let codings = String::from_utf8_lossy(codings).to_ascii_lowercase();
    let codings: Vec<&str> = codings.split(',').map(str::trim).filter(|c| !matches!(*c, "" | "identity")).collect();
    if codings.len() > MAX_CODINGS {
        return Err(format!("the body has {} content codings; at most {MAX_CODINGS} are undone", codings.len()));
    }
    // Applied in the order listed (RFC 9110 §8.4), so undone from the last.
    codings.iter().rev().try_fold(Cow::Borrowed(packed), |body, coding| one(coding, &body).map(Cow::Owned))
}

fn one(coding: &str, packed: &[u8]) -> Result<Vec<u8>, String> {
    match coding {
        "gzip" | "x-gzip" => all(coding, flate2::read::MultiGzDecoder::new(packed)),
        // RFC 9110 §8.4.1.2 means zlib; some servers send the bare stream.
        "deflate" if zlib(packed) => all(coding, flate2::read::ZlibDecoder::new(packed)),
        "deflate" => all(coding, flate2::read::DeflateDecoder::new(packed)),
        "br" => all(coding, brotli_decompressor::Decompressor::new(packed, BROTLI_BUFFER)),
        other => Err(format!("the body has the content coding `{other}`; gzip, deflate and br are understood")),
    }
}

/// Whether it begins like zlib (RFC 1950): method 8 and a header that divides by 31.
fn zlib(packed: &[u8]) -> bool {
    matches!(packed, [cmf, flg, ..] if cmf & 0x0f == 8 && (u16::from(*cmf) << 8 | u16::from(*flg)) % 31 == 0)
}

fn all(coding: &str, reader: impl Read) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let read = reader.take(MAX_DECODED + 1).read_to_end(&mut out).map_err(|e| format!("the body is no {coding}: {e}"))?;
    if read as u64 > MAX_DECODED { Err(format!("the body is larger than {MAX_DECODED} bytes without its {coding}")) } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn codings_are_undone_and_bad_ones_named() {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(b"hello").unwrap();
        assert_eq!(&*body(b"GZIP", &gz.finish().unwrap()).unwrap(), b"hello");
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(b"hello").unwrap();
        assert_eq!(&*body(b"deflate", &zlib.finish().unwrap()).unwrap(), b"hello");
        let mut bare = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        bare.write_all(b"hello").unwrap();
        assert_eq!(&*body(b"deflate", &bare.finish().unwrap()).unwrap(), b"hello");
        // "hello" by the reference encoder, as one uncompressed meta-block.
        assert_eq!(&*body(b"br", b"\x0b\x02\x80hello\x03").unwrap(), b"hello");
        assert_eq!(&*body(b"identity", b"x").unwrap(), b"x");
        assert!(body(b"zstd", b"x").unwrap_err().contains("`zstd`"));
        assert!(body(b"gzip", b"no gzip at all").unwrap_err().contains("no gzip"));
    }

    #[test]
    fn a_bomb_is_cut_off() {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        let chunk = vec![0u8; 1 << 20];
        (0..65).for_each(|_| gz.write_all(&chunk).unwrap());
        assert!(body(b"gzip", &gz.finish().unwrap()).unwrap_err().contains("larger than"));
    }
}
