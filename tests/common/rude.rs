//! A server that misbehaves on purpose, for end-to-end tests: one thread, loopback only, everything bounded. What it does
//! is chosen by each request's path, or for all of a listener's connections. Must not judge, and must not outlive its
//! [`Rude`].

#![allow(dead_code, reason = "each test file uses a part")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Most connections at a time; more are accepted and closed.
const MOST_CONNECTIONS: usize = 512;
/// Most bytes that an endless answer has; then the connection stays open and silent.
const MOST_BYTES: usize = 8 * 1024 * 1024;
/// Longest request head.
const MOST_REQUEST: usize = 16 * 1024;
/// How long a round of the thread rests when nothing happened.
const REST: Duration = Duration::from_micros(200);
/// Time between two bytes of a slow answer.
const DRIP: Duration = Duration::from_millis(20);
/// How long the server lives at most, should its test hang.
const LIFE: Duration = Duration::from_secs(300);

/// What a connection does. By path: the name in kebab case, the number as `?n`: `/cut?17`, `/half-body`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// A proper answer: 200, two bytes.
    Fine,
    /// Bytes that are no HTTP, then a close.
    Garbage,
    /// Half a head, then silence.
    HalfHead,
    /// Half the promised body, then a close.
    HalfBody,
    /// The first so many bytes of a proper answer, then a close.
    Cut(usize),
    /// The first so many bytes of a chunked answer, then a close.
    CutChunked(usize),
    /// An answer as soon as the connection is there, before any request; one to each request too. For a listener only.
    Early,
    /// Two answers to one request.
    Twice,
    /// More content than was promised.
    TooMuch,
    /// Headers without end.
    HeaderBomb,
    /// One header of 100 KiB.
    LongHeader,
    /// Chunks without end.
    EndlessChunks,
    /// A chunk extension without end.
    EndlessExtension,
    /// `100 Continue` without end.
    EndlessInterim,
    /// A huge Content-Length, a few bytes, then silence.
    HugeLength,
    /// Two different Content-Lengths.
    TwoLengths,
    /// No answer.
    Never,
    /// A reset instead of an answer.
    Reset,
    /// A reset in the middle of the body.
    ResetInBody,
    /// A proper answer, a byte every 20 ms.
    Slow,
    /// A proper answer, then a close that was not announced.
    Closing,
    /// `503` and `connection: close`.
    Unavailable,
}

/// The proper answer.
pub const FINE: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok";
/// A proper chunked one.
pub const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n3\r\nyes\r\n0\r\n\r\n";

impl Manner {
    /// The manner that a request's target asks for; a proper answer for any other.
    pub fn of(target: &str) -> Manner {
        let (name, number) = target.trim_start_matches('/').split_once('?').unwrap_or((target.trim_start_matches('/'), ""));
        let number = number.parse().unwrap_or(0);
        match name {
            "garbage" => Manner::Garbage,
            "half-head" => Manner::HalfHead,
            "half-body" => Manner::HalfBody,
            "cut" => Manner::Cut(number),
            "cut-chunked" => Manner::CutChunked(number),
            "twice" => Manner::Twice,
            "too-much" => Manner::TooMuch,
            "header-bomb" => Manner::HeaderBomb,
            "long-header" => Manner::LongHeader,
            "endless-chunks" => Manner::EndlessChunks,
            "endless-extension" => Manner::EndlessExtension,
            "endless-interim" => Manner::EndlessInterim,
            "huge-length" => Manner::HugeLength,
            "two-lengths" => Manner::TwoLengths,
            "never" => Manner::Never,
            "reset" => Manner::Reset,
            "reset-in-body" => Manner::ResetInBody,
            "slow" => Manner::Slow,
            "closing" => Manner::Closing,
            "unavailable" => Manner::Unavailable,
            _ => Manner::Fine,
        }
    }

    /// What is sent once, what is sent again and again after that, and what comes last.
    fn script(self) -> (String, &'static str, After) {
        let ok = "HTTP/1.1 200 OK\r\n";
        match self {
            Manner::Fine | Manner::Early => (FINE.into(), "", After::Next),
            Manner::Garbage => ("\u{1}\u{2}\u{3} this is no HTTP \0\r\n\r\n".into(), "", After::Close),
            Manner::HalfHead => (format!("{ok}content-le"), "", After::Silence),
            Manner::HalfBody => (format!("{ok}content-length: 10\r\n\r\nhello"), "", After::Close),
            Manner::Cut(n) => (FINE[..n.min(FINE.len())].into(), "", After::Close),
            Manner::CutChunked(n) => (CHUNKED[..n.min(CHUNKED.len())].into(), "", After::Close),
            Manner::Twice => (FINE.repeat(2), "", After::Next),
            Manner::TooMuch => (format!("{FINE}and more than was promised"), "", After::Next),
            Manner::HeaderBomb => (ok.into(), "x-header: and its value\r\n", After::Silence),
            Manner::LongHeader => (format!("{ok}x: {}\r\n\r\n", "v".repeat(100 * 1024)), "", After::Silence),
            Manner::EndlessChunks => (format!("{ok}transfer-encoding: chunked\r\n\r\n"), "4\r\nmore\r\n", After::Silence),
            Manner::EndlessExtension => (format!("{ok}transfer-encoding: chunked\r\n\r\n4;"), "extension", After::Silence),
            Manner::EndlessInterim => (String::new(), "HTTP/1.1 100 Continue\r\n\r\n", After::Silence),
            Manner::HugeLength => (format!("{ok}content-length: 9000000000000000000\r\n\r\nhello"), "", After::Silence),
            Manner::TwoLengths => (format!("{ok}content-length: 2\r\ncontent-length: 3\r\n\r\nabc"), "", After::Next),
            Manner::Never => (String::new(), "", After::Silence),
            Manner::Reset => (String::new(), "", After::Reset),
            Manner::ResetInBody => (format!("{ok}content-length: 10\r\n\r\nhello"), "", After::Reset),
            Manner::Slow => (FINE.into(), "", After::Next),
            Manner::Closing => (FINE.into(), "", After::Close),
            Manner::Unavailable => {
                ("HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".into(), "", After::Close)
            }
        }
    }
}

/// What follows the bytes of a manner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// The next request.
    Next,
    /// Nothing more, with the connection open.
    Silence,
    Close,
    Reset,
}

/// A running server; it ends when this is dropped.
pub struct Rude {
    /// Where it listens.
    pub address: SocketAddr,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Counts {
    stop: AtomicBool,
    connections: AtomicU64,
    requests: AtomicU64,
}

impl Rude {
    /// A server whose manner each request's path chooses.
    pub fn by_path() -> Rude {
        Rude::start(None)
    }

    /// A server that does the same on every connection, whatever is asked.
    pub fn always(manner: Manner) -> Rude {
        Rude::start(Some(manner))
    }

    fn start(manner: Option<Manner>) -> Rude {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port");
        listener.set_nonblocking(true).expect("a non-blocking listener");
        let address = listener.local_addr().expect("its address");
        let counts = Arc::new(Counts::default());
        let shared = Arc::clone(&counts);
        let thread = std::thread::spawn(move || serve(&listener, manner, &shared));
        Rude { address, counts, thread: Some(thread) }
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::Relaxed)
    }

    /// Request heads read so far.
    pub fn requests(&self) -> u64 {
        self.counts.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Rude {
    fn drop(&mut self) {
        self.counts.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the rude server panicked");
        }
    }
}

fn serve(listener: &TcpListener, manner: Option<Manner>, counts: &Counts) {
    let end = Instant::now() + LIFE;
    let mut guests: Vec<Guest> = Vec::new();
    while !counts.stop.load(Ordering::Relaxed) && Instant::now() < end {
        let mut moved = false;
        while let Ok((stream, _)) = listener.accept() {
            moved = true;
            counts.connections.fetch_add(1, Ordering::Relaxed);
            if guests.len() < MOST_CONNECTIONS && stream.set_nonblocking(true).is_ok() {
                guests.push(Guest::new(stream, manner));
            }
        }
        guests.retain_mut(|guest| {
            let went = guest.go(manner, counts);
            moved |= went == Went::On;
            went != Went::Away
        });
        if !moved {
            std::thread::sleep(REST);
        }
    }
}

/// One connection.
struct Guest {
    stream: TcpStream,
    request: Vec<u8>,
    /// What is being sent; nothing while a request is awaited.
    sending: Option<Sending>,
}

struct Sending {
    bytes: Vec<u8>,
    sent: usize,
    again: &'static str,
    total: usize,
    slow: bool,
    last: Instant,
    after: After,
}

/// What became of a connection in a round.
#[derive(PartialEq, Eq)]
enum Went {
    On,
    Nowhere,
    Away,
}

impl Guest {
    fn new(stream: TcpStream, manner: Option<Manner>) -> Guest {
        let early = manner.filter(|manner| *manner == Manner::Early);
        Guest { stream, request: Vec::new(), sending: early.map(Sending::new) }
    }

    fn go(&mut self, manner: Option<Manner>, counts: &Counts) -> Went {
        let read = self.read();
        if read == Went::Away {
            return Went::Away;
        }
        let asked = self.request.windows(4).position(|end| end == b"\r\n\r\n");
        if self.sending.is_none()
            && let Some(end) = asked
        {
            let head: Vec<u8> = self.request.drain(..end + 4).collect();
            let head = String::from_utf8_lossy(&head);
            let target = head.split(' ').nth(1).unwrap_or("/");
            counts.requests.fetch_add(1, Ordering::Relaxed);
            self.sending = Some(Sending::new(manner.unwrap_or_else(|| Manner::of(target))));
        }
        match self.send() {
            Went::Nowhere => read,
            went => went,
        }
    }

    /// Takes what came; bodies of requests are taken for the beginning of the next, and are to be left out.
    fn read(&mut self) -> Went {
        let mut space = [0; 4096];
        match self.stream.read(&mut space) {
            Ok(0) => Went::Away,
            Ok(n) => {
                self.request.extend_from_slice(&space[..n]);
                if self.request.len() > MOST_REQUEST { Went::Away } else { Went::On }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Went::Nowhere,
            Err(_) => Went::Away,
        }
    }

    fn send(&mut self) -> Went {
        let Some(sending) = &mut self.sending else { return Went::Nowhere };
        if sending.sent == sending.bytes.len() && !sending.refill() {
            return match sending.after {
                After::Silence => Went::Nowhere,
                After::Next => {
                    self.sending = None;
                    Went::On
                }
                After::Close => {
                    // The peer may be gone already.
                    let _ = self.stream.shutdown(Shutdown::Write);
                    Went::Away
                }
                After::Reset => {
                    reset(&self.stream);
                    Went::Away
                }
            };
        }
        let rest = &sending.bytes[sending.sent..];
        let now = Instant::now();
        let part = if !sending.slow {
            rest
        } else if now.duration_since(sending.last) < DRIP {
            return Went::Nowhere;
        } else {
            &rest[..1]
        };
        match self.stream.write(part) {
            Ok(n) => {
                sending.sent += n;
                sending.total += n;
                sending.last = now;
                Went::On
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Went::Nowhere,
            Err(_) => Went::Away,
        }
    }
}

impl Sending {
    fn new(manner: Manner) -> Sending {
        let (first, again, after) = manner.script();
        let slow = manner == Manner::Slow;
        Sending { bytes: first.into_bytes(), sent: 0, again, total: 0, slow, last: Instant::now(), after }
    }

    /// Some more of what never ends; `false` when there is no more.
    fn refill(&mut self) -> bool {
        if self.again.is_empty() || self.total >= MOST_BYTES {
            return false;
        }
        self.bytes = self.again.repeat(256).into_bytes();
        self.sent = 0;
        true
    }
}

/// Closing then sends a reset instead of a proper end.
fn reset(stream: &TcpStream) {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO)).expect("SO_LINGER is taken");
}
