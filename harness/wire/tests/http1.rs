//! Framing without I/O: every cut of the bytes gives the same parts, and ambiguous messages are refused.
// clippy takes helpers of integration tests for library code.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use shakedown_wire::http1::MAX_HEAD;
use shakedown_wire::{Framer, Framing, Head, HttpError, Part};

/// Feeds in pieces of `cut` bytes; gives heads, all bytes in order, content, and how many messages ended.
fn run(mut framer: Framer, bytes: &[u8], cut: usize, end: bool) -> Result<(usize, Vec<u8>, Vec<u8>, usize), HttpError> {
    let (mut heads, mut raw, mut content, mut ends) = (0, Vec::new(), Vec::new(), 0);
    let mut take = |part: Part| match part {
        Part::Head(head) => {
            heads += 1;
            raw.extend_from_slice(head.raw());
        }
        Part::Body(data) => {
            raw.extend_from_slice(&data);
            content.extend_from_slice(&data);
        }
        Part::Frame(data) => raw.extend_from_slice(&data),
        Part::End => ends += 1,
    };
    for piece in bytes.chunks(cut) {
        framer.feed(piece);
        while let Some(part) = framer.next_part()? {
            take(part);
        }
    }
    if end && let Some(part) = framer.end()? {
        take(part);
    }
    Ok((heads, raw, content, ends))
}

#[test]
fn every_cut_gives_the_same_bytes() {
    let requests = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nPOST /b HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello\
        PUT /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\nA\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\nGET /d HTTP/1.0\r\n\r\n";
    for cut in 1..=requests.len() {
        let (heads, raw, content, ends) = run(Framer::requests(), requests, cut, true).unwrap();
        assert_eq!((heads, ends), (4, 4), "cut {cut}");
        assert_eq!(raw, requests, "cut {cut}");
        assert_eq!(content, b"helloabc0123456789");
    }
    let response = b"HTTP/1.1 200 OK\r\nX: y\r\n\r\nuntil the end";
    for cut in 1..=response.len() {
        assert_eq!(run(Framer::responses(), response, cut, true).unwrap(), (1, response.to_vec(), b"until the end".to_vec(), 1));
    }
}

#[test]
fn answers_without_body_end_at_their_head() {
    let mut framer = Framer::responses();
    framer.answers("HEAD");
    framer.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n");
    let kinds: Vec<&str> = std::iter::from_fn(|| framer.next_part().unwrap())
        .map(|part| match part {
            Part::Head(_) => "head",
            Part::Body(_) | Part::Frame(_) => "bytes",
            Part::End => "end",
        })
        .collect();
    assert_eq!(kinds, ["head", "end", "head", "end"]);
    assert!(framer.idle());
}

#[test]
fn what_two_readers_could_read_differently_is_refused() {
    let refused = |text: &str| {
        let mut framer = Framer::requests();
        framer.feed(text.as_bytes());
        loop {
            match framer.next_part() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("{text:?} was taken"),
                Err(error) => return error,
            }
        }
    };
    for headers in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Content-Length: 3\r\nContent-Length: 4",
        "Content-Length: +3",
        "Content-Length: 3, 3",
        "Content-Length: 99999999999999999999",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: xchunked",
    ] {
        let error = refused(&format!("POST / HTTP/1.1\r\n{headers}\r\n\r\n"));
        assert!(matches!(error, HttpError::Ambiguous(_)), "{headers}: {error}");
    }
    assert!(matches!(refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), HttpError::Ambiguous(_)));
    let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in ["x\r\n", "\r\n", "3\nabc", "3\r\nabcd", "3\r\nabc\n", "1234567890123456\r\n", "3;a\nabc"] {
        assert!(matches!(refused(&format!("{chunked}{body}")), HttpError::BadChunk(_)), "{body:?}");
    }
    for head in [
        "\x16\x03\x01",
        "GET /\r\n\r\n",
        "GET / HTTP/2.0\r\n\r\n",
        "GET / HTTP/1.1\r\na b: c\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
    ] {
        assert!(matches!(refused(head), HttpError::BadHead(_)), "{head:?}");
    }
    assert_eq!(refused(&format!("GET / HTTP/1.1\r\nA: {}", "b".repeat(MAX_HEAD))), HttpError::HeadTooLarge);
    assert_eq!(refused(&format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(200))), HttpError::HeadTooLarge);
    let mut cut = Framer::requests();
    cut.feed(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc");
    while cut.next_part().unwrap().is_some() {}
    assert_eq!(cut.end().unwrap_err(), HttpError::Truncated);
}

#[test]
fn a_head_says_what_it_says_and_can_be_amended() {
    let raw = b"GET http://host:1/p/q?x=1 HTTP/1.1\r\nHost: h\r\nX-A:  one \r\nx-a: two\r\n\r\nrest";
    let mut head = Head::parse_request(raw).unwrap().unwrap();
    assert_eq!((head.method(), head.path(), head.minor()), ("GET", "/p/q", 1));
    assert_eq!(head.header_str("x-A"), Some("one"));
    assert!(head.keep_alive() && head.framing(false) == Ok(Framing::None));
    assert!(head.append("x-release", "v2") && !head.append("bad name", "v") && !head.append("x", "a\r\nb: c"));
    assert!(head.raw().ends_with(b"x-a: two\r\nx-release: v2\r\n\r\n"));
    head.remove("X-A");
    assert_eq!((head.header("x-a"), head.header_str("x-release")), (None, Some("v2")));
    assert_eq!(&head.raw()[..], b"GET http://host:1/p/q?x=1 HTTP/1.1\r\nHost: h\r\nx-release: v2\r\n\r\n");
    let response = Head::parse_response(b"HTTP/1.0 200 OK\r\n\r\n").unwrap().unwrap();
    assert!(!response.keep_alive() && response.framing(false) == Ok(Framing::Close) && response.framing(true) == Ok(Framing::None));
    assert!(Head::parse_request(b"GET / HTTP/1.1\r\nHost").unwrap().is_none());
}
