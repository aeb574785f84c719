//! Scans the same answer again and again, for counting instructions: `valgrind --tool=callgrind scan HOW TIMES`, where HOW is
//! `read`, `seen`, `httparse` or `chunked`. The difference of two TIMES is the price of one answer. Must not measure time.

use shakedown_wire::http1::{AnswerScan, HttpError, SeenHead, Step};
use std::hint::black_box;

const SHORT: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx/1.26.0\r\nDate: Thu, 20 Nov 2026 06:00:00 GMT\r\nContent-Type: text/plain\r\n\
    Content-Length: 13\r\nConnection: keep-alive\r\n\r\nHello, World!";
const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx/1.26.0\r\nDate: Thu, 20 Nov 2026 06:00:00 GMT\r\nContent-Type: text/plain\r\n\
    Transfer-Encoding: chunked\r\n\r\nd\r\nHello, World!\r\n0\r\n\r\n";

fn follow(bytes: &[u8], mut seen: Option<&mut SeenHead>) -> Result<usize, HttpError> {
    let mut scan = AnswerScan::new(false);
    let (mut at, mut content) = (0, 0);
    loop {
        let rest = &bytes[at..];
        let step = match &mut seen {
            Some(seen) => scan.advance_seen(rest, seen)?,
            None => scan.advance(rest)?,
        };
        match step {
            Step::Head(head) => {
                if let Some(whole) = head.whole(rest.len()) {
                    return Ok(whole - head.length);
                }
                at += head.length;
            }
            Step::Body { from, to } => {
                content += to - from;
                at += to;
            }
            Step::Interim(head) => at += head.length,
            Step::More { .. } => return Err(HttpError::Truncated),
            Step::Done { .. } => return Ok(content),
        }
    }
}

fn parse(bytes: &[u8]) -> usize {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length + response.headers.len(),
        _ => 0,
    }
}

fn main() {
    let mut words = std::env::args().skip(1);
    let how = words.next().unwrap_or_default();
    let times: u64 = words.next().and_then(|n| n.parse().ok()).unwrap_or(1);
    let mut seen = SeenHead::default();
    for _ in 0..times {
        let done = match how.as_str() {
            "read" => follow(black_box(SHORT), None).expect("a valid answer"),
            "seen" => follow(black_box(SHORT), Some(&mut seen)).expect("a valid answer"),
            "chunked" => follow(black_box(CHUNKED), Some(&mut seen)).expect("a valid answer"),
            "unseen-chunked" => follow(black_box(CHUNKED), None).expect("a valid answer"),
            _ => parse(black_box(SHORT)),
        };
        black_box(done);
    }
}
