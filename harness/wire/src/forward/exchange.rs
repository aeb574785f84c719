//! One exchange: the request goes up while the answer comes down, over a connection of the client's own small pool.
//! Must not answer by itself: what to say when there is no answer is the policy's.

use super::http::{Client, Forward, HttpPolicy};
use super::lane::{Flow, Plain};
use super::pump::{Broken, Changed, Source, fill, pump};
use super::{Direction, Ending, Report, arm_reset, half_close};
use crate::http1::{Framer, Framing, Head, Part};
use crate::timer::Timer;
use bytes::Bytes;
use std::future::pending;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// Most idle upstream connections a client connection keeps.
const MAX_POOL: usize = 8;
/// Longest wait for the head of an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(600);
/// Most interim (1xx) answers before the final one.
const MAX_INTERIM: usize = 16;

/// How an exchange came out.
pub(super) enum Outcome {
    /// The answer went out whole; `reusable` when the client connection can carry another.
    Done { reusable: bool },
    /// No byte of an answer reached the client.
    NoAnswer { why: String },
    /// The connection is to end so.
    Ended(Ending),
}

/// A client connection's idle upstream connections.
#[derive(Default)]
pub(super) struct Pool {
    idle: Vec<(SocketAddr, Upstream)>,
}

pub(super) struct Upstream {
    stream: TcpStream,
    framer: Framer,
    reused: bool,
}

/// How the answer's side came out.
enum Answered {
    Whole {
        keep: bool,
    },
    /// The protocol was switched: both directions are raw from here on.
    Switched,
    Nothing(String),
    Cut {
        why: String,
        ending: Ending,
    },
    ClientGone,
    Stopped,
}

impl Pool {
    fn take(&mut self, addr: SocketAddr) -> Option<Upstream> {
        while let Some(at) = self.idle.iter().position(|(a, _)| *a == addr) {
            let (_, upstream) = self.idle.swap_remove(at);
            if upstream.quiet() {
                return Some(upstream);
            }
        }
        None
    }

    fn put(&mut self, addr: SocketAddr, upstream: Upstream) {
        if self.idle.len() >= MAX_POOL {
            self.idle.remove(0);
        }
        self.idle.push((addr, Upstream { reused: true, ..upstream }));
    }

    /// Makes every kept connection end with a reset.
    pub(super) fn reset(&self) {
        self.idle.iter().for_each(|(_, upstream)| arm_reset(&upstream.stream));
    }
}

impl Upstream {
    fn new(stream: TcpStream) -> Upstream {
        Upstream { stream, framer: Framer::responses(), reused: false }
    }

    /// Open, and nothing unasked arrived: asks the kernel, since the runtime may not know of a close yet.
    fn quiet(&self) -> bool {
        let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
        let mut byte = [0_u8; 1];
        matches!(rustix::net::recv(&self.stream, &mut byte[..], flags), Err(rustix::io::Errno::AGAIN))
    }
}

/// Runs one exchange. A kept upstream connection that turns out dead before anything came back is replaced by a fresh
/// one, once, when the request is safe to repeat.
pub(super) async fn run(
    client: &mut Client,
    head: &Head,
    forward: &mut Forward,
    policy: &dyn HttpPolicy,
    pool: &mut Pool,
    timer: &Timer,
    report: &mut Report,
) -> Outcome {
    let mut ending = forward.exchange.ending().unwrap_or_else(|| Box::pin(pending()));
    let bodyless = matches!(head.framing(false), Ok(Framing::None));
    let repeatable = bodyless && matches!(head.method(), "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE" | "TRACE");
    if bodyless && client.framer.at_end() {
        // Nothing follows the head: its end is taken here, so that the request can be sent again.
        if let Err(error) = client.framer.next_part() {
            return Outcome::NoAnswer { why: error.to_string() };
        }
    }
    let mut kept = pool.take(forward.upstream);
    loop {
        let upstream = match kept.take() {
            Some(upstream) => Ok(upstream),
            None => tokio::select! {
                biased;
                how = &mut ending => return Outcome::Ended(how),
                dialled = policy.dial(forward.upstream) => dialled.map(Upstream::new),
            },
        };
        let mut upstream = match upstream {
            Ok(upstream) => upstream,
            Err(error) => return Outcome::NoAnswer { why: format!("{}: {error}", forward.upstream) },
        };
        let mut talk = Talk { client, upstream: &mut upstream, head, bodyless, forward, changed: policy.changed(), timer, report };
        let outcome = tokio::select! {
            biased;
            how = &mut ending => {
                if how == Ending::Reset {
                    arm_reset(&upstream.stream);
                }
                return Outcome::Ended(how);
            }
            outcome = talk.exchange() => outcome,
        };
        let (answered, sent) = outcome;
        match answered {
            Answered::Whole { keep } => {
                if keep && sent && upstream.framer.idle() {
                    pool.put(forward.upstream, upstream);
                }
                // An answer that says the upstream closes is passed on as it is: the client connection closes too.
                return Outcome::Done { reusable: sent && keep };
            }
            Answered::Switched => return tunnel(client, &mut upstream, forward, policy, timer, report, ending).await,
            Answered::Nothing(_) if upstream.reused && repeatable => {}
            Answered::Nothing(why) => return Outcome::NoAnswer { why },
            Answered::Cut { why, ending } => {
                report.failure = Some(why);
                return Outcome::Ended(ending);
            }
            Answered::ClientGone | Answered::Stopped => return Outcome::Ended(Ending::Close),
        }
    }
}

struct Talk<'a> {
    client: &'a mut Client,
    upstream: &'a mut Upstream,
    head: &'a Head,
    bodyless: bool,
    forward: &'a mut Forward,
    changed: Changed,
    timer: &'a Timer,
    report: &'a mut Report,
}

impl Talk<'_> {
    /// Both directions at once; also says whether the request was sent whole.
    async fn exchange(&mut self) -> (Answered, bool) {
        let Talk { client, upstream, head, bodyless, forward, changed, timer, report } = self;
        let mut plain = [Plain, Plain];
        let [plain_up, plain_down] = &mut plain;
        let mut shaped = [forward.exchange.flow(Direction::Upstream), forward.exchange.flow(Direction::Downstream)];
        let [up, down] = &mut shaped;
        let up: &mut dyn Flow = up.as_deref_mut().map_or(plain_up as &mut dyn Flow, |f| f as &mut dyn Flow);
        let down: &mut dyn Flow = down.as_deref_mut().map_or(plain_down as &mut dyn Flow, |f| f as &mut dyn Flow);
        upstream.framer.answers(head.method());
        let Report { up: sent, down: received, status, upstream_latency, .. } = &mut **report;
        let started = Instant::now();
        let Client { stream: client_stream, framer } = &mut **client;
        let raw = head.raw().clone();
        let request = if *bodyless { Source::only(client_stream, raw) } else { Source::framed(client_stream, framer, Some(raw)) };
        let there = pump(request, &upstream.stream, up, changed.clone(), timer, sent);
        let answer = Back {
            client: client_stream,
            stream: &upstream.stream,
            framer: &mut upstream.framer,
            to_head: head.method() == "HEAD",
            changed: changed.clone(),
            timer,
            passed: received,
        };
        let back = answer.run(&mut *forward.exchange, down, |head_status| {
            *status = Some(head_status);
            *upstream_latency = Some(started.elapsed());
        });
        tokio::pin!(there, back);
        let mut whole = false;
        let mut open = true;
        loop {
            tokio::select! {
                biased;
                done = &mut there, if open => {
                    open = false;
                    match done {
                        Ok(()) => whole = true,
                        // The upstream may answer early and stop reading; its answer still counts.
                        Err(Broken::Sink(_)) => {}
                        Err(Broken::Source(..)) => return (Answered::ClientGone, false),
                        Err(Broken::Stopped) => return (Answered::Stopped, false),
                    }
                }
                answered = &mut back => return (answered, whole),
            }
        }
    }
}

/// The answer's way back.
struct Back<'a> {
    client: &'a TcpStream,
    stream: &'a TcpStream,
    framer: &'a mut Framer,
    to_head: bool,
    changed: Changed,
    timer: &'a Timer,
    passed: &'a mut u64,
}

impl Back<'_> {
    async fn run(self, exchange: &mut dyn super::http::Exchange, flow: &mut dyn Flow, mut seen: impl FnMut(u16)) -> Answered {
        for _ in 0..MAX_INTERIM {
            let mut head = match tokio::time::timeout(ANSWER_WITHIN, answer_head(self.stream, self.framer)).await {
                Ok(Ok(head)) => head,
                Ok(Err(why)) => return nothing_or_cut(*self.passed, why),
                Err(_) => return nothing_or_cut(*self.passed, format!("no answer within {ANSWER_WITHIN:?}")),
            };
            let status = head.status();
            let interim = (100..200).contains(&status) && status != 101;
            if !interim {
                seen(status);
                exchange.response(&mut head).await;
            }
            let keep = head.keep_alive() && !matches!(head.framing(self.to_head), Ok(Framing::Close));
            let source = Source::framed(self.stream, &mut *self.framer, Some(head.raw().clone()));
            let before = *self.passed;
            match pump(source, self.client, flow, self.changed.clone(), self.timer, self.passed).await {
                Ok(()) if interim => {}
                Ok(()) if status == 101 => return Answered::Switched,
                Ok(()) => return Answered::Whole { keep },
                Err(Broken::Stopped) => return Answered::Stopped,
                Err(Broken::Sink(_)) => return Answered::ClientGone,
                Err(Broken::Source(why, _)) if *self.passed == before && before == 0 => return Answered::Nothing(why),
                Err(Broken::Source(why, reset)) => {
                    return Answered::Cut { why, ending: if reset { Ending::Reset } else { Ending::Close } };
                }
            }
        }
        Answered::Cut { why: format!("more than {MAX_INTERIM} interim answers"), ending: Ending::Close }
    }
}

/// Before any byte went to the client there is still room for an answer of ours.
fn nothing_or_cut(passed: u64, why: String) -> Answered {
    if passed == 0 { Answered::Nothing(why) } else { Answered::Cut { why, ending: Ending::Close } }
}

async fn answer_head(stream: &TcpStream, framer: &mut Framer) -> Result<Head, String> {
    loop {
        match framer.next_part() {
            Ok(Some(Part::Head(head))) => return Ok(head),
            Ok(Some(_)) => return Err("a body where a head should be".to_owned()),
            Ok(None) => {}
            Err(error) => return Err(error.to_string()),
        }
        match fill(stream, framer).await {
            Ok(true) => {}
            Ok(false) => return Err("the upstream closed without an answer".to_owned()),
            Err(Broken::Source(why, _)) => return Err(why),
            Err(Broken::Sink(error)) => return Err(error.to_string()),
            Err(Broken::Stopped) => return Err("stopped".to_owned()),
        }
    }
}

/// After `101 Switching Protocols`: both directions raw, half-close kept.
async fn tunnel(
    client: &mut Client,
    upstream: &mut Upstream,
    forward: &mut Forward,
    policy: &dyn HttpPolicy,
    timer: &Timer,
    report: &mut Report,
    ending: shakedown_core::seams::Boxed<'static, Ending>,
) -> Outcome {
    let mut up = forward.exchange.flow(Direction::Upstream).unwrap_or_else(|| Box::new(Plain));
    let mut down = forward.exchange.flow(Direction::Downstream).unwrap_or_else(|| Box::new(Plain));
    client.framer.raw();
    upstream.framer.raw();
    let none: Option<Bytes> = None;
    let there = async {
        let source = Source::framed(&client.stream, &mut client.framer, none.clone());
        pump(source, &upstream.stream, &mut *up, policy.changed(), timer, &mut report.up).await?;
        half_close(&upstream.stream);
        Ok(())
    };
    let back = async {
        let source = Source::framed(&upstream.stream, &mut upstream.framer, none.clone());
        pump(source, &client.stream, &mut *down, policy.changed(), timer, &mut report.down).await?;
        half_close(&client.stream);
        Ok::<(), Broken>(())
    };
    tokio::select! {
        biased;
        how = ending => Outcome::Ended(how),
        done = async { tokio::try_join!(there, back) } => Outcome::Ended(match done {
            Err(Broken::Source(_, true) | Broken::Sink(_)) => Ending::Reset,
            _ => Ending::Close,
        }),
    }
}
