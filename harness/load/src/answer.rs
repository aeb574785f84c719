//! An answer as the checks see it: borrowed, and every part of it looked at only when somebody asks. Must not judge.

use crate::decode;
use http::{HeaderMap, HeaderName};
use serde_json::Value;
use shakedown_wire::http1::headers;
use std::borrow::Cow;
use std::cell::OnceCell;

/// Head of an answer.
#[derive(Clone, Copy, Debug)]
pub enum Head<'a> {
    /// As it came: status line, header lines, empty line.
    Raw(&'a [u8]),
    /// Taken apart.
    Map(&'a HeaderMap),
}

/// A complete (or cut) answer.
#[derive(Debug)]
pub struct Answer<'a> {
    /// Status; `None` where the protocol has none.
    pub status: Option<u16>,
    /// Head.
    pub head: Head<'a>,
    /// Bytes of the head.
    pub head_size: u64,
    /// The body as it was sent: whole when it was asked for, else its first bytes.
    pub body: &'a [u8],
    /// Bytes of the body.
    pub length: u64,
    /// Messages, where the protocol counts them.
    pub messages: u32,
    decoded: OnceCell<Result<Cow<'a, [u8]>, String>>,
    json: OnceCell<Option<Value>>,
}

impl<'a> Answer<'a> {
    /// An answer without a body.
    #[must_use]
    pub fn new(status: Option<u16>, head: Head<'a>, head_size: u64) -> Answer<'a> {
        let (decoded, json) = (OnceCell::new(), OnceCell::new());
        Answer { status, head, head_size, body: &[], length: 0, messages: 0, decoded, json }
    }

    /// Adds its body, or the first bytes of it, and how long all of it is.
    #[must_use]
    pub fn with_body(self, body: &'a [u8], length: u64) -> Answer<'a> {
        Answer { body, length, ..self }
    }

    /// Every value of a header, in order.
    pub fn headers<'s>(&'s self, name: &'s HeaderName) -> impl Iterator<Item = &'a [u8]> + 's {
        let (raw, map) = match self.head {
            Head::Raw(head) => {
                (Some(headers(head).filter(|(n, _)| n.eq_ignore_ascii_case(name.as_str().as_bytes())).map(|(_, v)| v)), None)
            }
            Head::Map(map) => (None, Some(map.get_all(name).into_iter().map(http::HeaderValue::as_bytes))),
        };
        raw.into_iter().flatten().chain(map.into_iter().flatten())
    }

    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &HeaderName) -> Option<&'a [u8]> {
        self.headers(name).next()
    }

    /// Every header, in order.
    pub fn each_header(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + '_ {
        let (raw, map) = match self.head {
            Head::Raw(head) => (Some(headers(head)), None),
            Head::Map(map) => (None, Some(map.iter().map(|(n, v)| (n.as_str().as_bytes(), v.as_bytes())))),
        };
        raw.into_iter().flatten().chain(map.into_iter().flatten())
    }

    /// The first line, for people.
    #[must_use]
    pub fn first_line(&self) -> String {
        match (self.head, self.status) {
            (Head::Raw(head), _) => {
                format!("{}\n", String::from_utf8_lossy(head.split(|&b| b == b'\n').next().unwrap_or_default()).trim_end())
            }
            (Head::Map(_), Some(status)) => format!("{status}\n"),
            (Head::Map(_), None) => String::new(),
        }
    }

    /// The body without its content coding.
    ///
    /// # Errors
    /// In words, why it cannot be decoded.
    pub fn text(&self) -> Result<&[u8], &str> {
        let decode = || {
            let coding = self.header(&http::header::CONTENT_ENCODING);
            coding.map_or(Ok(Cow::Borrowed(self.body)), |coding| decode::body(coding, self.body))
        };
        self.decoded.get_or_init(decode).as_ref().map(|b| &**b).map_err(String::as_str)
    }

    /// The body as JSON, parsed once; `None` when it is none.
    pub fn json(&self) -> Option<&Value> {
        self.json.get_or_init(|| self.text().ok().and_then(|body| serde_json::from_slice(body).ok())).as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_found_in_raw_heads_and_in_maps() {
        let raw = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nset-cookie:a=b\r\nSet-Cookie: c=d:e \r\n\r\n";
        let mut map = HeaderMap::new();
        map.insert("x-a", "1".parse().unwrap());
        map.append("set-cookie", "a=b".parse().unwrap());
        map.append("set-cookie", "c=d:e".parse().unwrap());
        for head in [Head::Raw(raw), Head::Map(&map)] {
            let answer = Answer::new(Some(200), head, 0);
            assert_eq!(answer.header(&HeaderName::from_static("x-a")), Some(&b"1"[..]));
            assert_eq!(answer.headers(&http::header::SET_COOKIE).collect::<Vec<_>>(), [&b"a=b"[..], b"c=d:e"]);
            assert_eq!(answer.header(&HeaderName::from_static("x-b")), None);
            assert_eq!(answer.each_header().count(), 3);
        }
    }

    #[test]
    fn json_is_parsed_from_what_was_encoded() {
        use std::io::Write as _;
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(br#"{"a":1}"#).unwrap();
        let packed = gzip.finish().unwrap();
        let head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n";
        let answer = Answer::new(Some(200), Head::Raw(head), 0).with_body(&packed, packed.len() as u64);
        assert_eq!(answer.json().and_then(|v| v["a"].as_u64()), Some(1));
        let cut = Answer::new(Some(200), Head::Raw(head), 0).with_body(&packed[..9], 9);
        assert!(cut.text().is_err() && cut.json().is_none());
    }
}
