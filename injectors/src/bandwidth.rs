//! `bandwidth`: bytes of a connection (TCP) or exchange (HTTP) leave at a bounded rate, paced by governor's GCRA on a
//! clock that is set to each piece's own moment: pure, so a piece's time does not depend on when it was computed.

use crate::params;
use crate::rolls::Rolls;
use crate::toxic::{Behaviour, Shaper, proxy_kind};
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shakedown_core::Fail;
use shakedown_core::seams::Kind;
use shakedown_core::tree::{Node, Problems};
use shakedown_core::units::parse_size;
use shakedown_wire::{Direction, Piece};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Highest rate in bytes a second; above it nothing would be limited.
const MAX_RATE: u64 = 100_000_000_000;
/// Pieces a second a stream is cut into, so that it flows and does not jump.
const PIECES_PER_SECOND: u64 = 200;
/// One cell of the limiter lasts at least so long; bytes are counted in cells, so that whole nanoseconds are exact
/// enough at any rate.
const CELLS_PER_SECOND: u64 = 50_000;

/// The kind.
#[derive(Debug)]
pub struct Bandwidth;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    /// Bytes a second.
    rate: u64,
    direction: String,
}

impl Kind for Bandwidth {
    fn name(&self) -> &'static str {
        "bandwidth"
    }
    fn about(&self) -> &'static str {
        "limits the bytes per second of each connection"
    }
    fn schema(&self) -> Value {
        let rate = params::schema_text("bytes per second of each connection", "64KiB/s");
        params::schema(json!({"rate": rate, "direction": params::schema_direction()}), &["rate"])
    }
    fn parse(&self, node: &Node, problems: &mut Problems) -> Option<Value> {
        let before = problems.0.len();
        let mut fields = node.fields("bandwidth", problems);
        let rate_node = fields.need("rate", problems);
        let rate = rate_node.and_then(|n| match n.text().ok_or_else(|| "it must be a text".to_owned()).and_then(rate) {
            Ok(rate) => Some(rate),
            Err(why) => {
                problems.hint(&n.span, format!("bandwidth.rate: {why}"), "write bytes per second, for one 64KiB/s or 10MB/s");
                None
            }
        });
        let direction = fields.take("direction").and_then(|n| params::direction(n, "bandwidth.direction", problems));
        fields.finish(problems);
        let direction = params::direction_name(direction.unwrap_or(Direction::Downstream)).to_owned();
        let params = Params { rate: rate?, direction };
        (problems.0.len() == before).then(|| json!(params))
    }
}

proxy_kind!(Bandwidth, "", &["proxy", "http-proxy"]);

/// Reads `64KiB/s`.
fn rate(text: &str) -> Result<u64, String> {
    let size = text.strip_suffix("/s").ok_or_else(|| format!("`{text}` is not a number of bytes per second"))?;
    let rate = parse_size(size.trim())?;
    if (1..=MAX_RATE).contains(&rate) { Ok(rate) } else { Err(format!("`{text}` is out of range; it must be 1B/s to 100GB/s")) }
}

/// The behaviour for canonical parameters.
pub fn behaviour(params: &Value) -> Result<Arc<dyn Behaviour>, Fail> {
    let read: Params = params::read("bandwidth", params)?;
    if !(1..=MAX_RATE).contains(&read.rate) {
        return Err(Fail::new(format!("bandwidth.rate: {} is out of range; it must be 1 to {MAX_RATE} bytes per second", read.rate)));
    }
    let direction = params::direction_of(Some(&read.direction)).unwrap_or(Direction::Downstream);
    Ok(Arc::new(Limited { rate: read.rate, direction }))
}

struct Limited {
    rate: u64,
    direction: Direction,
}

impl Behaviour for Limited {
    fn exchange_shaper(&self, direction: Direction) -> Option<Box<dyn Shaper>> {
        (direction == self.direction).then(|| Box::new(Paced::new(self.rate)) as Box<dyn Shaper>)
    }
    fn shaper(&self, direction: Direction, _rolls: Rolls) -> Option<Box<dyn Shaper>> {
        self.exchange_shaper(direction)
    }
}

/// A clock that stands where it is put: nanoseconds from the shaper's start.
#[derive(Clone, Debug, Default)]
struct Put(Arc<AtomicU64>);

impl Clock for Put {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.0.load(Ordering::Relaxed))
    }
}

struct Paced {
    limiter: RateLimiter<NotKeyed, InMemoryState, Put, NoOpMiddleware<Nanos>>,
    clock: Put,
    start: Instant,
    /// Bytes of one cell.
    cell: u64,
    /// Bytes of one piece.
    piece: usize,
}

impl Paced {
    fn new(rate: u64) -> Paced {
        let cell = rate.div_ceil(CELLS_PER_SECOND);
        let period = Duration::from_nanos((cell * 1_000_000_000 / rate).max(1));
        let cells = (rate / PIECES_PER_SECOND / cell).clamp(1, u64::from(u32::MAX));
        let burst = NonZeroU32::new(u32::try_from(cells).unwrap_or(u32::MAX)).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(period).unwrap_or_else(|| Quota::per_second(NonZeroU32::MIN)).allow_burst(burst);
        let clock = Put::default();
        let limiter = RateLimiter::direct_with_clock(quota, clock.clone());
        let piece = usize::try_from(cells * cell).unwrap_or(usize::MAX);
        Paced { limiter, clock, start: Instant::now(), cell, piece }
    }

    /// When so many bytes that come at `at` (from the start) may leave.
    fn leave(&self, at: Duration, bytes: usize) -> Duration {
        let at = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
        // The clock never goes back: a piece cannot leave before the one in front of it.
        self.clock.0.fetch_max(at, Ordering::Relaxed);
        let cells = u32::try_from((bytes as u64).div_ceil(self.cell)).unwrap_or(u32::MAX);
        let cells = NonZeroU32::new(cells).unwrap_or(NonZeroU32::MIN);
        // Bounded: a piece is at most one burst, so the second check at the moment named passes.
        for _ in 0..2 {
            if let Ok(Err(not_yet)) = self.limiter.check_n(cells) {
                self.clock.0.fetch_max(not_yet.earliest_possible().as_u64(), Ordering::Relaxed);
            } else {
                break;
            }
        }
        Duration::from_nanos(self.clock.0.load(Ordering::Relaxed))
    }
}

impl Shaper for Paced {
    fn shape(&mut self, holder: u64, pieces: Vec<Piece>) -> Vec<Piece> {
        let mut out = Vec::new();
        for mut whole in pieces {
            while !whole.data.is_empty() {
                let data = whole.data.split_to(self.piece.min(whole.data.len()));
                let mut piece = Piece { data, read: whole.read, holds: whole.holds.clone() };
                let due = piece.due();
                let leaves = self.start + self.leave(due.saturating_duration_since(self.start), piece.data.len());
                piece.holds.push((holder, leaves.saturating_duration_since(due)));
                out.push(piece);
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_rate_is_exact_on_the_clock_of_its_own() {
        for rate in [1, 10, 1_000, 65_536, 3_000_017, 300_000_000, MAX_RATE] {
            let mut paced = Paced::new(rate);
            let read = paced.start;
            let total = rate.clamp(4, 40_000_000);
            let data = bytes::Bytes::from(vec![0; usize::try_from(total).unwrap()]);
            let out = paced.shape(1, vec![Piece { data, read, holds: Vec::new() }]);
            assert_eq!(out.iter().map(|p| p.data.len() as u64).sum::<u64>(), total);
            assert!(out.windows(2).all(|w| w[0].due() <= w[1].due()));
            let took = out.last().unwrap().due().duration_since(read).as_secs_f64();
            let wanted = (total as f64 - out[0].data.len() as f64) / rate as f64;
            assert!((took - wanted).abs() <= wanted * 0.05 + 0.0001, "{rate}: took {took}, wanted {wanted}");
        }
    }

    #[test]
    fn an_idle_connection_saves_up_no_more_than_one_piece() {
        let mut paced = Paced::new(1_000);
        let read = paced.start + Duration::from_secs(60);
        let out = paced.shape(1, vec![Piece { data: bytes::Bytes::from_static(&[0; 100]), read, holds: Vec::new() }]);
        let took = out.last().unwrap().due().duration_since(read);
        assert!(took >= Duration::from_millis(90), "{took:?}");
    }
}
