//! The answer scanner on real sockets against the server that misbehaves: each manner ends in its kind of error, and in
//! bounded time and memory.
// clippy takes helpers of integration tests for library code.
#![allow(clippy::unwrap_used)]

#[path = "../../../tests/common/rude.rs"]
mod rude;

use rude::{CHUNKED, FINE, Manner, Rude};
use shakedown_wire::HttpError;
use shakedown_wire::http1::{AnswerScan, Step};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Most content that is taken: endless answers are left then.
const ENOUGH: usize = 1024 * 1024;
/// How long silence is listened to, and how long an answer is waited for.
const SILENCE: Duration = Duration::from_millis(150);
const PATIENCE: Duration = Duration::from_secs(20);

/// How an exchange ended, and the content.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Done {
        status: u16,
        content: usize,
        left: usize,
    },
    Refused(HttpError),
    /// Nothing came for a while.
    Silent,
    /// Closed before a byte of the answer.
    Closed,
    Broken,
    /// More content than anyone wants.
    Endless,
}

/// Asks for `target` and follows the answer.
fn ask(stream: &mut TcpStream, target: &str) -> End {
    let silent = ["half-head", "huge-length", "never"].contains(&target);
    stream.set_read_timeout(Some(if silent { SILENCE } else { PATIENCE })).unwrap();
    if stream.write_all(format!("GET /{target} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).is_err() {
        return End::Broken;
    }
    let mut scan = AnswerScan::new(false);
    let (mut buffer, mut at, mut content, mut status) = (Vec::new(), 0, 0, 0);
    let mut space = [0; 16 * 1024];
    loop {
        match scan.advance(&buffer[at..]) {
            Ok(Step::More { consumed }) => {
                drop(buffer.drain(..at + consumed));
                at = 0;
            }
            Ok(Step::Interim(head)) => {
                at += head.length;
                continue;
            }
            Ok(Step::Head(head)) => {
                (at, status) = (at + head.length, head.status);
                continue;
            }
            Ok(Step::Body { from, to }) => {
                (at, content) = (at + to, content + to - from);
                if content > ENOUGH {
                    return End::Endless;
                }
                continue;
            }
            Ok(Step::Done { consumed }) => return End::Done { status, content, left: buffer.len() - at - consumed },
            Err(error) => return End::Refused(error),
        }
        match stream.read(&mut space) {
            Ok(0) if scan.in_head() && buffer.is_empty() => return End::Closed,
            Ok(0) => return scan.end().map_or_else(End::Refused, |()| End::Done { status, content, left: 0 }),
            Ok(n) => buffer.extend_from_slice(&space[..n]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return End::Silent,
            Err(_) => return End::Broken,
        }
    }
}

#[test]
fn each_manner_ends_in_its_own_way() {
    let server = Rude::by_path();
    let end = |target: &str| ask(&mut TcpStream::connect(server.address).unwrap(), target);
    let fine = End::Done { status: 200, content: 2, left: 0 };
    assert_eq!(end("fine"), fine);
    assert_eq!(end("slow-not"), fine);
    assert_eq!(end("closing"), fine);
    assert_eq!(end("unavailable"), End::Done { status: 503, content: 0, left: 0 });
    assert!(matches!(end("garbage"), End::Refused(HttpError::BadHead(_))));
    for silent in ["half-head", "huge-length", "never"] {
        assert_eq!(end(silent), End::Silent, "{silent}");
    }
    assert_eq!(end("half-body"), End::Refused(HttpError::Truncated));
    for large in ["header-bomb", "long-header"] {
        assert_eq!(end(large), End::Refused(HttpError::HeadTooLarge), "{large}");
    }
    assert_eq!(end("endless-chunks"), End::Endless);
    assert!(matches!(end("endless-extension"), End::Refused(HttpError::BadChunk(_))));
    assert!(matches!(end("endless-interim"), End::Refused(HttpError::BadHead(_))));
    assert!(matches!(end("two-lengths"), End::Refused(HttpError::Ambiguous(_))));
    assert_eq!(end("reset"), End::Broken);
    assert!(matches!(end("reset-in-body"), End::Broken | End::Refused(HttpError::Truncated)));
    assert!(matches!(end("twice"), End::Done { status: 200, content: 2, .. }));
    assert!(matches!(end("too-much"), End::Done { status: 200, content: 2, .. }));
    assert_eq!(server.connections(), server.requests());
}

#[test]
fn an_answer_cut_anywhere_is_no_answer() {
    let server = Rude::by_path();
    for (name, whole, content) in [("cut", FINE, 2), ("cut-chunked", CHUNKED, 5)] {
        for length in 0..=whole.len() {
            let end = ask(&mut TcpStream::connect(server.address).unwrap(), &format!("{name}?{length}"));
            let expected = match length {
                0 => End::Closed,
                n if n == whole.len() => End::Done { status: 200, content, left: 0 },
                _ => End::Refused(HttpError::Truncated),
            };
            assert_eq!(end, expected, "{name} at {length}");
        }
    }
}

#[test]
fn a_connection_is_used_again_and_a_slow_answer_comes_in_the_end() {
    let server = Rude::by_path();
    let mut stream = TcpStream::connect(server.address).unwrap();
    for target in ["fine", "slow", "fine"] {
        assert_eq!(ask(&mut stream, target), End::Done { status: 200, content: 2, left: 0 }, "{target}");
    }
    assert_eq!((server.connections(), server.requests()), (1, 3));
}

#[test]
fn an_answer_that_comes_too_early_is_there_before_the_request() {
    let server = Rude::always(Manner::Early);
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut early = vec![0; FINE.len()];
    stream.read_exact(&mut early).unwrap();
    assert_eq!((early.as_slice(), server.requests()), (FINE.as_bytes(), 0));
    assert_eq!(ask(&mut stream, ""), End::Done { status: 200, content: 2, left: 0 });
}
