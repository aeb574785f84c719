//! The server's loop. One thread does all: it accepts, reads, notes, answers.

use super::hold::{Held, Holding};
use super::log::Log;
use super::request::Scanner;
use super::{Mode, Settings, now};
use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use rustix::event::{Timespec, epoll};
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};

const LISTENER: u64 = u64::MAX;
const SIGNALS: u64 = u64::MAX - 1;
const BACKLOG: i32 = 4096;
/// Connections accepted at one go, so that accepting never starves those that are there.
const ACCEPTS: usize = 64;
const EVENTS: usize = 512;
const FIRST_STALL_NS: u64 = 3_000_000_000;
const STALL_NS: u64 = 1_000_000_000;
const STALL_EVERY_NS: u64 = 10_000_000_000;
/// Longest sleep of a server that blocks and holds nothing.
const IDLE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
const ZERO: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
const MILLISECOND: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };

struct Connection {
    socket: OwnedFd,
    generation: u64,
    scanner: Scanner,
}

struct Server {
    mode: Mode,
    answer: Vec<u8>,
    epoll: OwnedFd,
    listener: OwnedFd,
    /// By descriptor number.
    connections: Vec<Option<Connection>>,
    generation: u64,
    holding: Holding,
    log: Log,
}

/// Serves until SIGTERM or SIGINT; says its port on stdout once it listens, and how many requests it saw at the end.
pub fn serve(settings: &Settings) -> Result<()> {
    if let Some(core) = settings.core {
        super::pin(core)?;
    }
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGTERM);
    mask.add(Signal::SIGINT);
    mask.thread_block()?;
    let signals = SignalFd::new(&mask)?;
    let mut server = Server::new(settings)?;
    epoll::add(&server.epoll, &signals, epoll::EventData::new_u64(SIGNALS), epoll::EventFlags::IN)?;
    let port = SocketAddr::try_from(net::getsockname(&server.listener)?)?.port();
    say(&format!("port {port}"))?;
    server.run(settings.block)?;
    if let Some(path) = &settings.dump {
        server.log.dump(path)?;
    }
    say(&format!("seen {}", server.log.seen()))
}

fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

impl Server {
    fn new(settings: &Settings) -> Result<Self> {
        let listener = net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?;
        net::sockopt::set_socket_reuseaddr(&listener, true)?;
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, settings.port);
        net::bind(&listener, &address).with_context(|| format!("cannot listen on {address}"))?;
        net::listen(&listener, BACKLOG)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        Ok(Self {
            mode: settings.mode,
            answer: settings.answer.bytes(),
            epoll,
            listener,
            connections: Vec::new(),
            generation: 0,
            holding: Holding::new(settings.seed),
            log: Log::new(settings.room),
        })
    }

    fn run(&mut self, block: bool) -> Result<()> {
        let mut events = Vec::with_capacity(EVENTS);
        let mut buffer = vec![0; 64 * 1024];
        let mut stall = now() + FIRST_STALL_NS;
        let pause = match (block, self.mode) {
            (false, _) => ZERO,
            (true, Mode::Now) => IDLE,
            (true, _) => MILLISECOND,
        };
        loop {
            if self.mode == Mode::Stall && now() >= stall {
                while now() < stall + STALL_NS {
                    std::hint::spin_loop();
                }
                stall += STALL_EVERY_NS;
            }
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&pause)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).context("the server's epoll failed"),
            }
            if self.mode == Mode::Delay {
                self.release();
            }
            for event in &events {
                match event.data.u64() {
                    SIGNALS => return Ok(()),
                    LISTENER => self.accept()?,
                    slot => self.readable(slot as usize, &mut buffer),
                }
            }
        }
    }

    fn accept(&mut self) -> Result<()> {
        for _ in 0..ACCEPTS {
            let socket = match net::accept_with(&self.listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(socket) => socket,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("the server cannot accept; `ulimit -n` too low?"),
            };
            net::sockopt::set_tcp_nodelay(&socket, true)?;
            let slot = usize::try_from(socket.as_raw_fd()).context("a descriptor is not negative")?;
            epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(slot as u64), epoll::EventFlags::IN)?;
            if self.connections.len() <= slot {
                self.connections.resize_with(slot + 1, || None);
            }
            self.generation += 1;
            self.connections[slot] = Some(Connection { socket, generation: self.generation, scanner: Scanner::default() });
        }
        Ok(())
    }

    fn readable(&mut self, slot: usize, buffer: &mut Vec<u8>) {
        let Some(connection) = self.connections.get_mut(slot).and_then(Option::as_mut) else { return };
        let read = match net::recv(&connection.socket, buffer.as_mut_slice(), RecvFlags::DONTWAIT) {
            Ok((_, read)) if read > 0 => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Ok(_) | Err(_) => {
                self.connections[slot] = None; // closing takes it out of epoll
                return;
            }
        };
        let arrived = now();
        let requests = connection.scanner.feed(&buffer[..read]);
        let generation = connection.generation;
        for _ in 0..requests {
            let number = self.log.arrived(arrived);
            if self.mode == Mode::Delay {
                let due = arrived + self.holding.draw();
                self.holding.push(Held { due, number, slot, generation });
            } else {
                self.reply(slot, generation, number);
            }
        }
    }

    /// Sends every held answer that is due.
    fn release(&mut self) {
        let mut time = now();
        while let Some(held) = self.holding.pop(time) {
            self.reply(held.slot, held.generation, held.number);
            time = now();
        }
    }

    /// Answers are far smaller than a socket's buffer: one that does not fit means a peer that does not read.
    fn reply(&mut self, slot: usize, generation: u64, number: usize) {
        let Some(connection) = self.connections.get(slot).and_then(Option::as_ref).filter(|c| c.generation == generation) else { return };
        match net::send(&connection.socket, &self.answer, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(sent) if sent == self.answer.len() => self.log.replied(number, now()),
            Ok(_) | Err(_) => self.connections[slot] = None,
        }
    }
}
