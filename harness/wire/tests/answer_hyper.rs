//! The answer scanner against hyper's client: on the same bytes, valid or mutated, both come to the same end. A fixed seed
//! unless `ANSWER_SEED` and `ANSWER_CASES` say otherwise.
// clippy takes helpers of integration tests for library code.
#![allow(clippy::unwrap_used)]

mod answers;

use answers::{Dice, End, Found, every_cut, follow};
use http_body_util::Empty;
use hyper::body::{Body, Bytes};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use shakedown_wire::HttpError;
use shakedown_wire::http1::MAX_HEADERS;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};

/// What hyper makes of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Hyper {
    head: Option<(u16, u8)>,
    body: Vec<u8>,
    end: Ended,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Ended {
    #[default]
    More,
    Done,
    Refused,
}

/// Gives these bytes to hyper as the answer to a request. Everything is in memory and polled by hand: no runtime, no time.
fn hyper(bytes: &[u8], to_head: bool, closed: bool) -> Hyper {
    let mut context = Context::from_waker(Waker::noop());
    let (near, mut far) = tokio::io::duplex(1 << 20);
    let mut builder = http1::Builder::new();
    let mut handshake = pin!(builder.max_headers(MAX_HEADERS).handshake::<_, Empty<Bytes>>(TokioIo::new(near)));
    let Poll::Ready(Ok((mut sender, connection))) = handshake.as_mut().poll(&mut context) else { panic!("no handshake") };
    let request = hyper::Request::builder().method(if to_head { "HEAD" } else { "GET" }).uri("/").header("host", "x");
    let mut answer = pin!(sender.send_request(request.body(Empty::new()).unwrap()));
    let mut connection = pin!(connection);
    let mut connected = true;
    let mut drive = |context: &mut Context<'_>| {
        if connected && connection.as_mut().poll(context).is_ready() {
            connected = false;
        }
    };
    // The request is to be out before its answer comes.
    let mut space = [0; 256];
    for _ in 0..3 {
        assert!(answer.as_mut().poll(&mut context).is_pending());
        drive(&mut context);
    }
    assert!(Pin::new(&mut far).poll_read(&mut context, &mut ReadBuf::new(&mut space)).is_ready());
    assert!(pin!(far.write_all(bytes)).poll(&mut context).is_ready(), "the pipe holds it all");
    let far = if closed {
        drop(far);
        None
    } else {
        Some(far)
    };
    let mut found = Hyper::default();
    let mut body = None;
    // Each round moves at least one piece of the body; chunks have a byte at least.
    for _ in 0..bytes.len() + 16 {
        drive(&mut context);
        if body.is_none() {
            match answer.as_mut().poll(&mut context) {
                Poll::Ready(Ok(response)) => {
                    let minor = u8::from(response.version() == hyper::Version::HTTP_11);
                    found.head = Some((response.status().as_u16(), minor));
                    body = Some(response.into_body());
                }
                Poll::Ready(Err(_)) => {
                    found.end = Ended::Refused;
                    break;
                }
                Poll::Pending => {}
            }
        }
        if let Some(body) = &mut body {
            match Pin::new(body).poll_frame(&mut context) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        found.body.extend_from_slice(&data);
                    }
                }
                Poll::Ready(Some(Err(_))) => {
                    found.end = Ended::Refused;
                    break;
                }
                Poll::Ready(None) => {
                    found.end = Ended::Done;
                    break;
                }
                Poll::Pending => {}
            }
        }
    }
    drop(far);
    found
}

/// Both on the same bytes; says how it ended.
fn compare(bytes: &[u8], to_head: bool, closed: bool) -> End {
    let ours = follow(&[bytes], to_head, closed, None);
    let theirs = hyper(bytes, to_head, closed);
    let text = String::from_utf8_lossy(bytes);
    let what = format!("HEAD {to_head}, closed {closed}: {text:?}\nours: {ours:?}\nhyper: {theirs:?}");
    if stricter(&ours) {
        return ours.end;
    }
    let end = match ours.end {
        End::Done => Ended::Done,
        End::More => Ended::More,
        End::Refused(_) => Ended::Refused,
    };
    assert_eq!(end, theirs.end, "{what}");
    assert_eq!(ours.head.map(|head| (head.status, head.minor)), theirs.head, "{what}");
    if end != Ended::Refused {
        assert_eq!(ours.body, theirs.body, "{what}");
    }
    if ours.end == End::Done && !closed && ours.taken > 0 {
        // The answer ends exactly where it is said to end.
        let exact = hyper(&bytes[..ours.taken], to_head, false);
        assert_eq!((exact.end, &exact.body), (Ended::Done, &ours.body), "{what}");
        assert_eq!(hyper(&bytes[..ours.taken - 1], to_head, false).end, Ended::More, "{what}");
    }
    ours.end
}

/// Where the scanner refuses what hyper takes, or earlier than hyper: trailers are checked as they come, not when all are
/// there, and a line feed alone ends none; sizes and extensions have closer bounds.
fn stricter(ours: &Found) -> bool {
    let chunk = ["a trailer is malformed", "a chunk size is too large", "a chunk extension is too long"];
    matches!(ours.end, End::Refused(HttpError::BadChunk(why)) if chunk.contains(&why))
}

const STATUS: &[&str] =
    &["200 OK", "200 OK", "200 OK", "404 Not Found", "204 No Content", "304 Not Modified", "500", "200 ", "101 Switching", "999 \u{e9}"];
const END: &[&str] = &["\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n"];
const HEADERS: &[&str] = &[
    "Server: nginx/1.26.0",
    "Date: Thu, 20 Nov 2026 06:00:00 GMT",
    "content-type:text/plain",
    "X-Empty:",
    "X-Tab: \ta\tb\t ",
    "Connection: keep-alive",
    "connection: close",
    "Connection: x, Close",
    "X-Odd!#$%&'*+.^_`|~: y",
    "Set-Cookie: a=b; Path=/",
    "Content-Length: 5",
    "Content-Length: 5, 5",
    "Content-Length: 4",
    "Content-Length: x",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: gzip",
    "Trailer: X-Sum",
    "Keep-Alive: timeout=5",
    "X-High: \u{e9}\u{fc}",
    "A-name-of-thirty-three-characters: and a value that is longer than that, to fill more than one block of bytes",
];
const NOISE: &[&str] = &[
    "\r",
    "\n",
    "\r\n",
    " ",
    "\t",
    ":",
    "\0",
    "\x7f",
    ",",
    ";",
    "0",
    "5",
    "f",
    "-",
    "x",
    "\r\n\r\n",
    "HTTP/1.1 200 OK\r\n\r\n",
    "\u{e9}",
    "chunked",
    "Content-Length: 3\r\n",
    "Connection: close\r\n",
];

/// An answer that is often valid: head, body as the head says it, something after it at times.
fn answer(dice: &mut Dice) -> Vec<u8> {
    let mut text = String::new();
    for _ in 0..dice.below(8).saturating_sub(6) {
        text += dice.of(&["\r\n", "\n", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Hints\r\nLink: </a>\r\n\r\n"]);
    }
    text += dice.of(&["HTTP/1.1 ", "HTTP/1.1 ", "HTTP/1.1 ", "HTTP/1.0 "]);
    text += dice.of(STATUS);
    text += dice.of(END);
    for _ in 0..dice.below(6) {
        text += dice.of(HEADERS);
        text += dice.of(END);
    }
    match dice.below(4) {
        0 => {
            text += "Transfer-Encoding: chunked\r\n\r\n";
            for _ in 0..dice.below(4) {
                let size = dice.below(40) + 1;
                let extension = dice.of(&["", "", "", ";a=b", " ", "\t;x"]);
                text += &format!("{size:x}{extension}\r\n{}\r\n", "z".repeat(size));
            }
            text += dice.of(&["0\r\n\r\n", "0\r\n\r\n", "00;e\r\n\r\n", "0\r\nX-Sum: 1\r\nY:\r\n\r\n"]);
        }
        1 => text += dice.of(&["\r\n", "\n"]),
        _ => {
            let length = dice.below(30);
            text += &format!("Content-Length: {length}\r\n\r\n{}", "b".repeat(length));
        }
    }
    text += dice.of(&["", "", "", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "garbage"]);
    text.into_bytes()
}

/// Changes an answer in some places: cuts, doubles, replaces, inserts.
fn mutate(bytes: &mut Vec<u8>, dice: &mut Dice) {
    for _ in 0..dice.below(4) {
        let at = dice.below(bytes.len().max(1)).min(bytes.len());
        let to = (at + dice.below(12)).min(bytes.len());
        match dice.below(6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..to)),
            2 => {
                let part = bytes[at..to].to_vec();
                bytes.splice(at..at, part);
            }
            3 if at < bytes.len() => bytes[at] = u8::try_from(dice.below(256)).unwrap(),
            4 if at < bytes.len() => bytes[at] ^= 0x20,
            _ => drop(bytes.splice(at..at, dice.of(NOISE).bytes())),
        }
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a whole number")))
}

#[test]
fn random_answers_end_as_they_do_with_hyper() {
    let seed = setting("ANSWER_SEED", 1);
    let cases = setting("ANSWER_CASES", 8_000);
    let (mut done, mut more, mut refused) = (0, 0, 0);
    for case in 0..cases {
        let mut dice = Dice(seed.wrapping_mul(1 << 32).wrapping_add(case));
        let mut bytes = answer(&mut dice);
        mutate(&mut bytes, &mut dice);
        let (to_head, closed) = (dice.below(8) == 0, dice.below(3) == 0);
        match compare(&bytes, to_head, closed) {
            End::Done => done += 1,
            End::More => more += 1,
            End::Refused(_) => refused += 1,
        }
        if case % 16 == 0 {
            every_cut(&bytes, to_head, closed, &format!("seed {seed}, case {case}"));
        }
    }
    // The cases are worth something: none of the ends is rare.
    let enough = cases / 20;
    assert!(done >= enough && more >= enough && refused >= enough, "done {done}, more {more}, refused {refused}");
}

#[test]
fn every_beginning_of_an_answer_ends_as_it_does_with_hyper() {
    for answer in [
        "\r\nHTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.0 404\nConnection: keep-alive\nContent-Length:2\n\nab",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: y\r\n\r\nto the end",
        "HTTP/1.1 101 Up\r\nUpgrade: x\r\n\r\n",
    ] {
        for length in 0..=answer.len() {
            for (to_head, closed) in [(false, false), (false, true), (true, false)] {
                compare(&answer.as_bytes()[..length], to_head, closed);
            }
        }
    }
}

#[test]
fn every_byte_at_every_place_ends_as_it_does_with_hyper() {
    let answer = b"HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 2\r\n\r\nab";
    for place in 0..answer.len() {
        for byte in 0..=255u8 {
            let mut bytes = answer.to_vec();
            bytes[place] = byte;
            compare(&bytes, false, false);
        }
    }
}
