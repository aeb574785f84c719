//! TCP connections forwarded whole: both directions at once, half-close kept. Must not look into the bytes.

use super::lane::Flow;
use super::pump::{Broken, Source, pump};
use super::{Ending, Report, arm_reset, half_close};
use crate::timer::Timer;
use shakedown_core::seams::Boxed;
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio::sync::watch;

/// Decides about TCP connections.
pub trait TcpPolicy: Send + Sync + 'static {
    /// A client connected.
    fn open(&self, number: u64, peer: SocketAddr) -> TcpSession;
}

/// What a policy decided about one connection.
pub struct TcpSession {
    /// Connects to the upstream; must be bounded, see [`super::dial`].
    pub dial: Boxed<'static, io::Result<TcpStream>>,
    /// From the client to the upstream.
    pub up: Box<dyn Flow>,
    /// From the upstream to the client.
    pub down: Box<dyn Flow>,
    /// Ends the connection when it resolves.
    pub ending: Boxed<'static, Ending>,
    /// Told when the policy changes; when its sender is gone the connection closes.
    pub changed: watch::Receiver<u64>,
    /// Told how it went.
    pub end: Box<dyn FnOnce(Report) + Send>,
}

/// Forwards one client connection until both directions have ended, one broke, or the policy ends it.
pub async fn serve_tcp(client: TcpStream, number: u64, peer: SocketAddr, policy: &dyn TcpPolicy, timer: &Timer) {
    let mut session = policy.open(number, peer);
    let mut report = Report::default();
    let dialled = tokio::select! {
        biased;
        ending = &mut session.ending => Err(ending),
        dialled = &mut session.dial => dialled.map_err(|error| {
            report.failure = Some(format!("unreachable: {error}"));
            Ending::Close
        }),
    };
    let (upstream, ending) = match dialled {
        Err(ending) => (None, ending),
        Ok(upstream) => {
            let (up, down) = (&mut *session.up, &mut *session.down);
            let relay = relay(&client, &upstream, up, down, &session.changed, timer, &mut report);
            let ending = tokio::select! {
                biased;
                ending = &mut session.ending => ending,
                ending = relay => ending,
            };
            (Some(upstream), ending)
        }
    };
    if ending == Ending::Reset {
        arm_reset(&client);
        if let Some(upstream) = &upstream {
            arm_reset(upstream);
        }
    }
    drop((client, upstream));
    (session.end)(report);
}

async fn relay(
    client: &TcpStream,
    upstream: &TcpStream,
    up: &mut dyn Flow,
    down: &mut dyn Flow,
    changed: &watch::Receiver<u64>,
    timer: &Timer,
    report: &mut Report,
) -> Ending {
    let Report { up: sent, down: received, failure, .. } = report;
    let there = async {
        pump(Source::raw(client), upstream, up, Some(changed.clone()), timer, sent).await.map_err(|broken| (broken, false))?;
        half_close(upstream);
        Ok(())
    };
    let back = async {
        pump(Source::raw(upstream), client, down, Some(changed.clone()), timer, received).await.map_err(|broken| (broken, true))?;
        half_close(client);
        Ok::<(), (Broken, bool)>(())
    };
    match tokio::try_join!(there, back) {
        Ok(_) | Err((Broken::Stopped, _)) => Ending::Close,
        // A broken connection is passed on as it broke: a reset here is a reset there.
        Err((Broken::Source(why, reset), from_upstream)) => {
            if from_upstream {
                *failure = Some(why);
            }
            if reset { Ending::Reset } else { Ending::Close }
        }
        Err((Broken::Sink(_), _)) => Ending::Reset,
    }
}
