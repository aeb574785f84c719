//! `latency`: bytes (TCP) or whole requests (HTTP) go on later. Order is kept; waits overlap.

use crate::params;
use crate::rolls::Rolls;
use crate::sampler::{Distribution, Sampler};
use crate::toxic::{Act, Behaviour, Shaper, proxy_kind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shakedown_core::seams::Kind;
use shakedown_core::tree::{Node, Problems};
use shakedown_core::{Fail, Span};
use shakedown_wire::{Direction, Piece};
use std::sync::Arc;

/// Longest delay that can be asked for.
const MAX_DELAY: Span = Span::secs(600);

/// The kind.
#[derive(Debug)]
pub struct Latency;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    delay: Span,
    jitter: Span,
    distribution: Distribution,
    direction: Option<String>,
}

impl Kind for Latency {
    fn name(&self) -> &'static str {
        "latency"
    }
    fn about(&self) -> &'static str {
        "delays requests (http) or bytes (tcp): fixed, uniform, normal or pareto"
    }
    fn schema(&self) -> Value {
        params::schema(
            json!({
                "delay": params::schema_text("mean delay", "200ms"),
                "jitter": params::schema_text("half-width (uniform) or standard deviation (normal, pareto)", "50ms"),
                "distribution": {"type": "string", "enum": ["fixed", "uniform", "normal", "pareto"]},
                "direction": params::schema_direction(),
            }),
            &["delay"],
        )
    }
    fn parse(&self, node: &Node, problems: &mut Problems) -> Option<Value> {
        let before = problems.0.len();
        let mut fields = node.fields("latency", problems);
        let delay_node = fields.need("delay", problems);
        let delay = delay_node.and_then(|n| n.duration("latency.delay", problems));
        let jitter_node = fields.take("jitter");
        let jitter = jitter_node.and_then(|n| n.duration("latency.jitter", problems));
        let distribution_node = fields.take("distribution");
        let given = distribution_node.and_then(|n| distribution(n, problems));
        let direction = fields.take("direction").and_then(|n| params::direction(n, "latency.direction", problems));
        fields.finish(problems);
        if let (Some(delay), Some(n)) = (delay, delay_node)
            && delay > MAX_DELAY
        {
            problems.hint(
                &n.span,
                format!("latency.delay: {delay} is too long"),
                format!("at most {MAX_DELAY}; use `blackhole` for longer"),
            );
        }
        if let (Some(delay), Some(jitter), Some(n)) = (delay, jitter, jitter_node)
            && jitter > delay
        {
            let hint = format!("a delay is never negative; write at most `jitter: {delay}`");
            problems.hint(&n.span, format!("latency.jitter: {jitter} is more than the delay of {delay}"), hint);
        }
        match (given, jitter_node, distribution_node) {
            (Some(Distribution::Fixed), Some(n), _) => {
                problems.hint(&n.span, "latency.jitter: a fixed delay has none", "leave `jitter` out, or write `distribution: uniform`");
            }
            (Some(d), None, Some(n)) if d != Distribution::Fixed => {
                problems.hint(&n.span, "latency.distribution: this one needs `jitter`", "add `jitter`, for one `jitter: 50ms`");
            }
            _ => {}
        }
        let default = if jitter_node.is_some() { Distribution::Uniform } else { Distribution::Fixed };
        let params = Params {
            delay: delay?,
            jitter: jitter.unwrap_or_default(),
            distribution: given.unwrap_or(default),
            direction: direction.map(|d| params::direction_name(d).to_owned()),
        };
        (problems.0.len() == before).then(|| json!(params))
    }
}

// Toxics chain: two latencies add up.
proxy_kind!(Latency, "", &["proxy", "http-proxy"]);

fn distribution(node: &Node, problems: &mut Problems) -> Option<Distribution> {
    let known = match node.text() {
        Some("fixed") => Some(Distribution::Fixed),
        Some("uniform") => Some(Distribution::Uniform),
        Some("normal") => Some(Distribution::Normal),
        Some("pareto") => Some(Distribution::Pareto),
        Some("lognormal" | "recorded") => {
            problems.later(&node.span, &format!("latency.distribution {}", node.describe()));
            return None;
        }
        _ => None,
    };
    if known.is_none() {
        let message = format!("latency.distribution: {} is not a distribution", node.describe());
        problems.hint(&node.span, message, "write fixed, uniform, normal or pareto");
    }
    known
}

/// The behaviour for canonical parameters.
pub fn behaviour(params: &Value) -> Result<Arc<dyn Behaviour>, Fail> {
    let read: Params = params::read("latency", params)?;
    let sampler = Sampler { delay: read.delay, jitter: read.jitter, distribution: read.distribution };
    Ok(Arc::new(Delay { sampler, direction: params::direction_of(read.direction.as_deref()) }))
}

struct Delay {
    sampler: Sampler,
    direction: Option<Direction>,
}

impl Behaviour for Delay {
    /// The request is held whole, unless the answer was asked for.
    fn request(&self, rolls: &mut Rolls) -> Act {
        if self.direction == Some(Direction::Downstream) { Act::Pass } else { Act::Hold(self.sampler.draw(rolls)) }
    }
    fn answer(&self, rolls: &mut Rolls) -> Span {
        if self.direction == Some(Direction::Downstream) { self.sampler.draw(rolls) } else { Span::ZERO }
    }
    fn shaper(&self, direction: Direction, rolls: Rolls) -> Option<Box<dyn Shaper>> {
        let on = self.direction.unwrap_or(Direction::Downstream);
        (on == direction).then(|| Box::new(Delayed { sampler: self.sampler, rolls }) as Box<dyn Shaper>)
    }
}

struct Delayed {
    sampler: Sampler,
    rolls: Rolls,
}

impl Shaper for Delayed {
    fn shape(&mut self, holder: u64, mut pieces: Vec<Piece>) -> Vec<Piece> {
        for piece in &mut pieces {
            piece.holds.push((holder, self.sampler.draw(&mut self.rolls).duration()));
        }
        pieces
    }
}
