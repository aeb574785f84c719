//! Answers that are whole in unusual ways: compressed, announced, ended together with their connection.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "test helpers are test code too")]

mod support;

use shakedown_core::plan::*;
use shakedown_core::snapshot::Failure;
use std::io::{Read as _, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use support::*;

fn packed(coding: &str, json: &str) -> Vec<u8> {
    let level = flate2::Compression::fast();
    match coding {
        "gzip" => {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), level);
            out.write_all(json.as_bytes()).unwrap();
            out.finish().unwrap()
        }
        "deflate" => {
            let mut out = flate2::write::ZlibEncoder::new(Vec::new(), level);
            out.write_all(json.as_bytes()).unwrap();
            out.finish().unwrap()
        }
        // One uncompressed meta-block, then an empty last one (RFC 7932 §9.2).
        _ => {
            let size = u32::try_from(json.len()).unwrap() - 1;
            // WBITS 16 (0), ISLAST 0, MNIBBLES 4 (00), MLEN−1 in 16 bits, ISUNCOMPRESSED 1.
            let bits = size << 4 | 1 << 20;
            let mut out = bits.to_le_bytes()[..3].to_vec();
            out.extend_from_slice(json.as_bytes());
            out.push(3);
            out
        }
    }
}

fn expecting(addr: SocketAddr, state: &str) -> support::Sum {
    let mut request = get("page", "/");
    request.expect.json.push(("$.state".into(), state.into()));
    run(wiring(plan(&format!("http://{addr}"), vec![stream(hold(200, 25), request)])))
}

#[test]
fn expectations_look_into_compressed_bodies() {
    for coding in ["gzip", "deflate", "br"] {
        for chunked in [false, true] {
            let body = packed(coding, r#"{"state": "open", "more": "more and more"}"#);
            let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-encoding: {coding}\r\n").into_bytes();
            if chunked {
                answer.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
                for piece in body.chunks(7) {
                    write!(answer, "{:x}\r\n", piece.len()).unwrap();
                    answer.extend_from_slice(piece);
                    answer.extend_from_slice(b"\r\n");
                }
                answer.extend_from_slice(b"0\r\n\r\n");
            } else {
                write!(answer, "content-length: {}\r\n\r\n", body.len()).unwrap();
                answer.extend_from_slice(&body);
            }
            let addr = raw_server(answer.leak());
            assert_eq!(expecting(addr, "open").all().ok, 5, "{coding}, chunked {chunked}");
            assert_eq!(expecting(addr, "shut").failed(Failure::Expectation), 5, "{coding}, chunked {chunked}");
        }
    }
}

#[test]
fn interim_answers_come_before_the_answer() {
    let addr = raw_server(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\n{\"state\":\"open\"}",
    );
    let sum = expecting(addr, "open");
    assert_eq!((sum.all().ok, sum.all().status.get(&200), sum.all().status.len()), (5, Some(&5), 1));
}

/// Answers whole, and in the same breath says that it will send nothing more; it reads on and never answers again.
fn last_words() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut head = [0u8; 4096];
                if stream.read(&mut head).is_ok_and(|n| n > 0) {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").ok();
                    stream.shutdown(Shutdown::Write).ok();
                    while stream.read(&mut head).is_ok_and(|n| n > 0) {}
                }
            });
        }
    });
    addr
}

#[test]
fn a_connection_that_ended_with_its_answer_is_not_waited_for() {
    let addr = last_words();
    let mut s = stream(hold(300, 100), get("unused", "/"));
    let step = |name: &str| Step::Request(Box::new(get(name, "/")));
    s.journeys = vec![journey("three", vec![step("a"), step("b"), step("c")])];
    let sum = run(wiring(plan(&format!("http://{addr}"), vec![s])));
    let all = sum.all();
    // Moved to another connection where the end was there first, else reset; never silence until the timeout.
    assert_eq!((all.due as u64, sum.failed(Failure::Timeout)), (all.ok + sum.failed(Failure::Reset), 0), "{:?}", all.failed);
}
