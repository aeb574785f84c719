//! The answer scanner: known answers, and a corpus of bad ones, in every cut.
// clippy takes helpers of integration tests for library code.
#![allow(clippy::unwrap_used)]

mod answers;

use answers::{End, Found, every_cut, follow};
use shakedown_wire::http1::{MAX_INTERIM, SeenHead, header, headers};
use shakedown_wire::{Framing, HttpError};

/// A complete answer in every cut: its status, content, and the bytes that follow it.
fn done(bytes: &str, closed: bool) -> (Found, Vec<u8>) {
    let found = every_cut(bytes.as_bytes(), false, closed, bytes);
    assert_eq!(found.end, End::Done, "{bytes:?}");
    let rest = bytes.as_bytes()[found.taken..].to_vec();
    (found, rest)
}

#[test]
fn known_answers_are_read_as_they_are() {
    let (found, rest) = done("HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 ", false);
    let head = found.head.unwrap();
    assert_eq!((head.status, head.minor, head.keep_alive, head.framing), (200, 1, true, Framing::Length(5)));
    assert_eq!((found.body.as_slice(), rest.as_slice()), (&b"hello"[..], &b"HTTP/1.1 "[..]));
    assert_eq!(head.whole(found.taken - 1), None);
    assert_eq!(head.whole(found.taken), Some(found.taken));

    let chunked =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, Chunked\r\n\r\n3;a=\"b\"\r\nabc\r\n0A \r\n0123456789\r\n000\r\nX-T: 1\r\n\r\nnext";
    let (found, rest) = done(chunked, false);
    assert_eq!((found.body.as_slice(), rest.as_slice()), (&b"abc0123456789"[..], &b"next"[..]));

    let (found, rest) = done("HTTP/1.1 404 \r\nX: y\n\nuntil the end", true);
    assert_eq!((found.body.as_slice(), rest.len(), found.head.unwrap().keep_alive), (&b"until the end"[..], 0, false));

    let (found, rest) = done("\r\nHTTP/1.1 204\r\ncontent-length: 7\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", false);
    assert_eq!((found.head.unwrap().framing, rest.as_slice()), (Framing::None, &b"HTTP/1.1 200 OK\r\n\r\n"[..]));

    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let (found, _) = done(interim, false);
    assert_eq!((found.interims, found.head.unwrap().status), (vec![100, 103], 200));

    let (found, rest) = done("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n\x01\x02", false);
    assert_eq!((found.head.unwrap().status, found.head.unwrap().keep_alive, rest.len()), (101, false, 2));
}

#[test]
fn an_answer_to_head_has_no_body() {
    for framing in ["Content-Length: 9", "Transfer-Encoding: chunked", "X: y", "Content-Length: x"] {
        let bytes = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
        let found = every_cut(bytes.as_bytes(), true, false, framing);
        assert_eq!((found.end, &bytes[found.taken..]), (End::Done, "HTTP/1.1 200 OK\r\n\r\n"), "{framing}");
        let mut seen = SeenHead::default();
        for to_head in [false, true, true, false] {
            let plain = follow(&[bytes.as_bytes()], to_head, false, None);
            assert_eq!(follow(&[bytes.as_bytes()], to_head, false, Some(&mut seen)), plain, "{framing}");
        }
    }
}

#[test]
fn who_may_send_another_request_is_told() {
    let keeps = |version: &str, lines: &str| {
        let bytes = format!("HTTP/{version} 200 OK\r\n{lines}Content-Length: 0\r\n\r\n");
        done(&bytes, false).0.head.unwrap().keep_alive
    };
    assert!(keeps("1.1", ""));
    assert!(keeps("1.1", "Connection: keep-alive\r\n"));
    assert!(keeps("1.1", "Connection: x-close, closed\r\nProxy-Connection: close\r\n"));
    assert!(!keeps("1.1", "CONNECTION:\tupgrade ,\t Close\t\r\n"));
    assert!(!keeps("1.1", "Connection: close\r\nConnection: keep-alive\r\n"));
    assert!(!keeps("1.0", ""));
    assert!(keeps("1.0", "connection: Keep-Alive\r\n"));
    assert!(!keeps("1.0", "Connection: keep-alive, close\r\n"));
    // Both: hyper reads the chunks; the connection is not to be trusted after that.
    let (found, _) = done("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", false);
    assert_eq!((found.body.as_slice(), found.head.unwrap().keep_alive), (&b"a"[..], false));
}

#[test]
fn headers_are_found_when_asked_for() {
    let head = b"\r\nHTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nETag:  \"x:y\" \t\nempty:\r\nset-cookie:c=d\r\n\r\n";
    let all: Vec<(&[u8], &[u8])> = headers(head).collect();
    assert_eq!(all.len(), 4);
    assert_eq!(all[1], (&b"ETag"[..], &b"\"x:y\""[..]));
    assert_eq!(all[3], (&b"set-cookie"[..], &b"c=d"[..]));
    assert_eq!(header(head, "SET-COOKIE"), Some(&b"a=b"[..]));
    assert_eq!(header(head, "Empty"), Some(&b""[..]));
    assert_eq!(header(head, "set"), None);
    for nonsense in [&b""[..], b"\r\n", b"x", b":\r\n:", b"\0\0\0", b"a:b\rc:d"] {
        assert!(headers(nonsense).count() < 3);
    }
}

#[test]
fn a_head_seen_before_is_read_the_same() {
    let mut seen = SeenHead::default();
    for round in 0..2000u32 {
        // Sometimes the same head for a while, sometimes another each time, sometimes one that begins as the last.
        let part = if round % 700 < 300 { 7 } else { round };
        let bytes = format!("HTTP/1.1 200 OK\r\nX-Id: {part}\r\nContent-Length: {}\r\n\r\n0123456789", part % 10);
        let plain = follow(&[bytes.as_bytes()], false, false, None);
        assert_eq!(follow(&[bytes.as_bytes()], false, false, Some(&mut seen)), plain);
    }
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(5000));
    for _ in 0..600 {
        assert_eq!(follow(&[long.as_bytes()], false, true, Some(&mut seen)), follow(&[long.as_bytes()], false, true, None));
    }
}

#[test]
fn interim_answers_have_a_bound() {
    let interims = |n: u8| "HTTP/1.1 100 Continue\r\n\r\n".repeat(usize::from(n)) + "HTTP/1.1 204 No Content\r\n\r\n";
    assert_eq!(done(&interims(MAX_INTERIM), false).0.interims.len(), usize::from(MAX_INTERIM));
    let found = every_cut(interims(MAX_INTERIM + 1).as_bytes(), false, false, "too many");
    assert!(matches!(found.end, End::Refused(HttpError::BadHead(_))), "{found:?}");
}

/// Text of a corpus file as bytes: line breaks are nothing, `\r`, `\n`, `\t`, `\\`, `\{` and `\xNN` are bytes, and
/// `{text}*N ` is N times the text.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut repeated = None;
    let mut letters = text.chars().filter(|c| *c != '\n');
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next().unwrap() {
                'r' => bytes.push(b'\r'),
                'n' => bytes.push(b'\n'),
                't' => bytes.push(b'\t'),
                'x' => {
                    let digits: String = letters.by_ref().take(2).collect();
                    bytes.push(u8::from_str_radix(&digits, 16).unwrap());
                }
                other => bytes.extend(other.to_string().bytes()),
            },
            '{' => repeated = Some(bytes.len()),
            '}' => {
                assert_eq!(letters.next(), Some('*'));
                let times: String = letters.by_ref().take_while(char::is_ascii_digit).collect();
                let from = repeated.take().unwrap();
                let part = bytes.split_off(from);
                bytes.extend(part.repeat(times.parse().unwrap()));
            }
            other => bytes.extend(other.to_string().bytes()),
        }
    }
    bytes
}

/// What a corpus file says of its end, in the words of its `expect` line.
fn words(found: &Found, length: usize) -> String {
    match found.end {
        End::Done => format!("done {} {} {}", found.head.unwrap().status, found.body.len(), length - found.taken),
        End::More => "more".to_owned(),
        End::Refused(HttpError::HeadTooLarge) => "too large".to_owned(),
        End::Refused(HttpError::BadHead(_)) => "bad head".to_owned(),
        End::Refused(HttpError::Ambiguous(_)) => "ambiguous".to_owned(),
        End::Refused(HttpError::BadChunk(_)) => "bad chunk".to_owned(),
        End::Refused(HttpError::Truncated) => "truncated".to_owned(),
    }
}

/// Cases of `corpus/*.txt`, parted by `===`: a title, `expect: … [closed] [head]`, and bytes. `expect` is `done STATUS
/// CONTENT LEFT`, `more`, or an error.
#[test]
fn the_corpus_ends_as_each_case_says_in_every_cut() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut cases = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for case in text.split("===\n").filter(|case| !case.trim().is_empty()) {
            let (title, rest) = case.trim_start().split_once('\n').unwrap();
            let (expect, bytes) = rest.split_once('\n').unwrap();
            let expect = expect.strip_prefix("expect: ").unwrap();
            let (closed, to_head) = (expect.contains("[closed]"), expect.contains("[head]"));
            let bytes = unescape(bytes);
            let what = format!("{}: {title}", path.display());
            let found = every_cut(&bytes, to_head, closed, &what);
            let expect = expect.replace("[closed]", "").replace("[head]", "");
            assert_eq!(words(&found, bytes.len()), expect.trim(), "{what}");
            cases += 1;
        }
    }
    assert!(cases >= 60, "the corpus is gone: {cases}");
}
