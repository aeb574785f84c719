//! The floor: what a closed loop over keep-alive connections costs when nothing else is done. Preformatted requests, one
//! registration a connection, answers of known length, a histogram of latency. Nothing a user would want is here.

use crate::truth::now;
use anyhow::{Context, Result, ensure};
use rustix::event::{Timespec, epoll};
use rustix::net::{self, RecvFlags, SendFlags};
use std::io::{ErrorKind, Write};
use std::net::TcpStream;

const EVENTS: usize = 512;
const PATIENCE: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// Settings of the floor.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// Port on 127.0.0.1.
    #[arg(long)]
    pub port: u16,
    /// Connections; each has one request under way.
    #[arg(long, default_value_t = 64)]
    pub connections: usize,
    /// For how long.
    #[arg(long, default_value_t = 5)]
    pub seconds: u64,
}

struct Connection {
    stream: TcpStream,
    sent: u64,
    got: usize,
}

/// Log-linear: 64 steps for each power of two.
struct Histogram(Vec<u64>);

impl Histogram {
    fn record(&mut self, value: u64) {
        let shift = 58u32.saturating_sub(value.leading_zeros());
        self.0[shift as usize * 64 + (value >> shift) as usize] += 1;
    }
}

/// Runs and prints `requests N`.
pub fn run(settings: &Settings) -> Result<()> {
    let request = format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n", settings.port).into_bytes();
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut connections = Vec::with_capacity(settings.connections);
    let end = now() + settings.seconds * 1_000_000_000;
    for slot in 0..settings.connections {
        let stream = TcpStream::connect(("127.0.0.1", settings.port)).context("the floor cannot connect")?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        epoll::add(&epoll, &stream, epoll::EventData::new_u64(slot as u64), epoll::EventFlags::IN)?;
        net::send(&stream, &request, SendFlags::NOSIGNAL)?;
        connections.push(Connection { stream, sent: now(), got: 0 });
    }
    let done = pump(&epoll, &mut connections, &request, end)?;
    writeln!(std::io::stdout(), "requests {done}")?;
    Ok(())
}

fn pump(epoll: &std::os::fd::OwnedFd, connections: &mut [Connection], request: &[u8], end: u64) -> Result<u64> {
    let mut events = Vec::with_capacity(EVENTS);
    let mut buffer = vec![0u8; 64 * 1024];
    let mut histogram = Histogram(vec![0; 64 * 64]);
    let (mut length, mut done, mut open) = (0, 0u64, connections.len());
    while open > 0 {
        events.clear();
        match epoll::wait(epoll, rustix::buffer::spare_capacity(&mut events), Some(&PATIENCE)) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        ensure!(!events.is_empty(), "no answer for {} s", PATIENCE.tv_sec);
        for event in &events {
            let connection = &mut connections[event.data.u64() as usize];
            let read = match net::recv(&connection.stream, buffer.as_mut_slice(), RecvFlags::DONTWAIT) {
                Ok((_, read)) if read > 0 => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                other => anyhow::bail!("the server closed or failed: {other:?}"),
            };
            if length == 0 {
                length = answer_length(&buffer[..read])?;
            }
            connection.got += read;
            if connection.got < length {
                continue;
            }
            connection.got = 0;
            let time = now();
            histogram.record(time - connection.sent);
            done += 1;
            if time >= end {
                open -= 1;
                continue;
            }
            connection.sent = time;
            net::send(&connection.stream, request, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
        }
    }
    ensure!(histogram.0.iter().sum::<u64>() == done, "the histogram lost requests");
    Ok(done)
}

/// Head and body of the first answer; all others are as long.
fn answer_length(answer: &[u8]) -> Result<usize> {
    let text = String::from_utf8_lossy(answer);
    let head = text.find("\r\n\r\n").context("the first answer has no whole head")? + 4;
    let body = text.lines().find_map(|l| l.strip_prefix("Content-Length: ")).context("the first answer has no length")?;
    Ok(head + body.trim().parse::<usize>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_its_cell() {
        let mut histogram = Histogram(vec![0; 64 * 64]);
        for value in [0, 1, 63, 64, 127, 128, 1_000_000, u64::from(u32::MAX), u64::MAX] {
            histogram.record(value);
        }
        assert_eq!(histogram.0.iter().sum::<u64>(), 9);
        assert_eq!((histogram.0[63], histogram.0[64 + 32]), (1, 1));
    }

    #[test]
    fn the_length_of_an_answer_is_head_and_body() {
        let answer = crate::truth::Answer::Tiny.bytes();
        assert_eq!(answer_length(&answer).unwrap(), answer.len());
        assert!((120..=150).contains(&(answer.len() - 2)), "{}", answer.len());
    }
}
