//! A plan's streams made ready to be sent: templates, expectations and dimensions resolved once. Opens no socket.

use crate::expect::{Checks, Taker, header_name};
use crate::feeds::Rows;
use crate::forecast::replay_seed;
use crate::identify::Identifier;
use crate::render::{Scope, Text};
use crate::replay::Log;
use crate::seeds::Seed;
use http::header::CONTENT_TYPE;
use http::{HeaderName, Method};
use shakedown_core::plan::{self, Escape, Exchange, Indicator, Model, Plan, RequestPlan, Until};
use shakedown_core::template::Template;
use shakedown_core::{Dim, Fail, Secrets, Span};

/// A compiled stream.
#[derive(Debug)]
pub struct Stream {
    /// Index into the plan's streams.
    pub index: u16,
    /// As planned.
    pub plan: plan::Stream,
    /// Its data.
    pub feeds: Vec<(String, Rows)>,
    /// Its journeys.
    pub journeys: Vec<Journey>,
    /// What it replays.
    pub log: Option<Log>,
    /// Who answers.
    pub identifier: Identifier,
    /// Its part of the seed.
    pub seed: Seed,
    /// Grouping objectives.
    pub groups: Vec<Group>,
}

/// A compiled journey.
#[derive(Debug)]
pub struct Journey {
    /// Name.
    pub name: String,
    /// Steps in order.
    pub steps: Vec<Step>,
    /// Its own dimension, when someone asks.
    pub dim: Option<Dim>,
    upto: u64,
}

/// A compiled step.
#[derive(Debug)]
pub enum Step {
    /// A request.
    Request(Box<Request>),
    /// A uniform pause.
    Think(Span, Span),
}

/// A compiled request.
#[derive(Debug)]
pub struct Request {
    /// Step name.
    pub name: String,
    /// Method.
    pub method: Method,
    /// Path and query.
    pub path: Text,
    /// Headers in order.
    pub headers: Vec<(HeaderName, Text)>,
    /// Body and how values are escaped in it.
    pub body: Option<(Text, Escape)>,
    /// What is exchanged.
    pub talk: Talk,
    /// What counts as success.
    pub checks: Checks,
    /// What later steps need.
    pub takers: Vec<Taker>,
    /// The whole body must be kept.
    pub keep: bool,
    /// Its own dimension, when someone asks.
    pub dim: Option<Dim>,
}

/// What is exchanged in a step, with its own templates.
#[derive(Debug)]
pub enum Talk {
    /// HTTP.
    Http,
    /// gRPC.
    Grpc,
    /// A WebSocket.
    WebSocket {
        /// Sent in order.
        send: Vec<Text>,
        /// How many messages are awaited.
        receive: u32,
        /// Kept open for this long afterwards.
        hold: Span,
    },
    /// Bytes over a connection, and where the answer ends.
    Tcp(Until),
    /// One datagram for one.
    Udp,
}

/// An objective that is judged by the value of a response header.
#[derive(Debug)]
pub struct Group {
    /// Objective.
    pub objective: String,
    /// Response header.
    pub header: HeaderName,
    journey: Option<String>,
    step: Option<String>,
}

/// Compiles every stream.
///
/// # Errors
/// Names the stream and step, or the file and line.
pub fn streams(plan: &Plan, secrets: &Secrets) -> Result<Vec<Stream>, Fail> {
    plan.streams.iter().enumerate().map(|(i, s)| stream(plan, i, s, secrets)).collect()
}

/// Compiles a header: its name and value.
///
/// # Errors
/// Names the place and what cannot be compiled.
pub fn header(name: &str, value: &Template, scope: &Scope<'_>) -> Result<(HeaderName, Text), Fail> {
    Ok((header_name(name, scope.place)?, Text::compile(value, scope)?))
}

impl Stream {
    /// The journey of arrival `k`, by weight.
    #[must_use]
    pub fn pick(&self, k: u64) -> usize {
        let total = self.journeys.last().map_or(0, |j| j.upto);
        let roll = self.seed.and("journey").at(k).below(total);
        self.journeys.partition_point(|j| j.upto <= roll).min(self.journeys.len().saturating_sub(1))
    }
}

impl Stream {
    /// `n` arrivals over the journeys by weight (`None`: a replay); the last gets what is left over.
    pub fn share(&self, n: u64) -> impl Iterator<Item = (Option<usize>, u64)> + '_ {
        let total = u128::from(self.journeys.last().map_or(0, |j| j.upto).max(1));
        let upto = move |j: &Journey| u64::try_from(u128::from(n) * u128::from(j.upto) / total).unwrap_or(n);
        let before = std::iter::once(0).chain(self.journeys.iter().map(upto));
        let shares = self.journeys.iter().map(upto).zip(before).enumerate().map(|(i, (to, from))| (Some(i), to - from));
        shares.chain(self.journeys.is_empty().then_some((None, n))).filter(|(_, n)| *n > 0)
    }

    /// Every request of every journey.
    pub fn requests(&self) -> impl Iterator<Item = &Request> {
        let steps = self.journeys.iter().flat_map(|j| &j.steps);
        steps.filter_map(|s| if let Step::Request(r) = s { Some(&**r) } else { None })
    }
}

impl Journey {
    /// Whether its first request is a GET.
    #[must_use]
    pub fn begins_with_get(&self) -> bool {
        let first = self.steps.iter().find_map(|s| if let Step::Request(r) = s { Some(r) } else { None });
        first.is_some_and(|r| r.method == Method::GET)
    }
}

impl Group {
    /// Whether it judges this step.
    #[must_use]
    pub fn wants(&self, journey: &str, step: &str) -> bool {
        self.journey.as_deref().is_none_or(|j| j == journey) && self.step.as_deref().is_none_or(|s| s == step)
    }
}

fn stream(plan: &Plan, index: usize, s: &plan::Stream, secrets: &Secrets) -> Result<Stream, Fail> {
    let feeds = s.feeds.iter().map(|f| Ok((f.name.clone(), Rows::read(f)?))).collect::<Result<Vec<_>, Fail>>()?;
    let identifier = Identifier::compile(plan.rollout.as_ref().map(|r| &r.identify), &s.target)?;
    let mut upto = 0;
    let mut journeys = Vec::new();
    for j in &s.journeys {
        upto += u64::from(j.weight);
        journeys.push(journey(plan, s, j, upto, &feeds, identifier.needs_body(), secrets)?);
    }
    let log = match &s.model {
        Model::Replay(replay) => Some(Log::read(replay, replay_seed(plan, s))?),
        _ if journeys.is_empty() => return Err(Fail::new(format!("stream `{}` has neither journeys nor a replay", s.name))),
        _ => None,
    };
    let index = u16::try_from(index).map_err(|_| Fail::new("more than 65535 streams"))?;
    let groups = groups(plan, &s.name)?;
    Ok(Stream { index, plan: s.clone(), feeds, journeys, log, identifier, seed: Seed::of(plan.seed).and(&s.name), groups })
}

fn groups(plan: &Plan, stream: &str) -> Result<Vec<Group>, Fail> {
    let asked = plan.objectives.iter().filter(|o| o.stream.as_deref().is_none_or(|s| s == stream));
    let group = |o: &plan::Objective| {
        let header = o.by_header.as_ref()?;
        let header = header_name(header, &format!("objective `{}`", o.name));
        Some(header.map(|header| Group { objective: o.name.clone(), header, journey: o.journey.clone(), step: o.step.clone() }))
    };
    asked.filter_map(group).collect()
}

fn journey(
    plan: &Plan,
    s: &plan::Stream,
    j: &plan::Journey,
    upto: u64,
    feeds: &[(String, Rows)],
    identify_needs_body: bool,
    secrets: &Secrets,
) -> Result<Journey, Fail> {
    let mut captures: Vec<String> = Vec::new();
    let mut steps = Vec::new();
    for step in &j.steps {
        match step {
            plan::Step::Think(from, to) => steps.push(Step::Think(*from, *to)),
            plan::Step::Request(r) => {
                let place = format!("stream `{}`, journey `{}`, step `{}`", s.name, j.name, r.name);
                let scope = Scope { feeds, captures: &captures, secrets, place: &place };
                let mut request = request(r, &scope)?;
                for capture in &r.capture {
                    let known = captures.iter().position(|c| *c == capture.name);
                    let slot = known.unwrap_or_else(|| {
                        captures.push(capture.name.clone());
                        captures.len() - 1
                    });
                    request.takers.push(Taker::compile(capture, slot, &place)?);
                }
                request.keep = identify_needs_body || request.checks.needs_body() || request.takers.iter().any(Taker::needs_body);
                request.dim =
                    wants_step(plan, &s.name, &j.name, &r.name).then(|| Dim::Step { journey: j.name.clone(), step: r.name.clone() });
                steps.push(Step::Request(Box::new(request)));
            }
        }
    }
    if !steps.iter().any(|s| matches!(s, Step::Request(_))) {
        return Err(Fail::new(format!("stream `{}`, journey `{}` has no request", s.name, j.name)));
    }
    let dim = wants_journey(plan, &s.name, &j.name).then(|| Dim::Journey(j.name.clone()));
    Ok(Journey { name: j.name.clone(), steps, dim, upto })
}

fn request(r: &RequestPlan, scope: &Scope<'_>) -> Result<Request, Fail> {
    let method = Method::from_bytes(r.method.as_bytes()).map_err(|_| Fail::new(format!("{}: no method `{}`", scope.place, r.method)))?;
    let mut headers = r.headers.iter().map(|(n, v)| header(n, v, scope)).collect::<Result<Vec<_>, Fail>>()?;
    let mut body = None;
    if let Some(b) = &r.body {
        if !b.content_type.is_empty() && !headers.iter().any(|(n, _)| n == CONTENT_TYPE) {
            headers.push((CONTENT_TYPE, Text::compile(&Template::text(&b.content_type), scope)?));
        }
        body = Some((Text::compile(&b.text, scope)?, b.escape));
    }
    let checks = Checks::compile(&r.expect, &r.exchange, scope.place)?;
    let path = Text::compile(&r.path, scope)?;
    let talk = talk(&r.exchange, scope)?;
    Ok(Request { name: r.name.clone(), method, path, headers, body, talk, checks, takers: Vec::new(), keep: false, dim: None })
}

fn talk(exchange: &Exchange, scope: &Scope<'_>) -> Result<Talk, Fail> {
    Ok(match exchange {
        Exchange::Http => Talk::Http,
        Exchange::Grpc => Talk::Grpc,
        Exchange::WebSocket { send, receive, hold } => {
            let send = send.iter().map(|t| Text::compile(t, scope)).collect::<Result<_, Fail>>()?;
            Talk::WebSocket { send, receive: *receive, hold: *hold }
        }
        Exchange::Tcp { until } => Talk::Tcp(until.clone()),
        Exchange::Udp => Talk::Udp,
    })
}

fn of_journey(indicator: &Indicator) -> bool {
    matches!(indicator, Indicator::JourneySuccess | Indicator::JourneyDuration(_))
}

fn names(wanted: Option<&String>, name: &str) -> bool {
    wanted.is_none_or(|w| w == name)
}

/// Whole journeys are counted for their own indicators, and where an objective names the journey alone.
fn wants_journey(plan: &Plan, stream: &str, journey: &str) -> bool {
    let objective = |o: &plan::Objective| {
        let asks = of_journey(&o.indicator) || (o.journey.is_some() && o.step.is_none());
        asks && names(o.stream.as_ref(), stream) && names(o.journey.as_ref(), journey)
    };
    let guard = |g: &plan::Guard| of_journey(&g.indicator) && names(g.stream.as_ref(), stream);
    plan.objectives.iter().any(objective) || plan.guards.iter().any(guard)
}

/// Steps are counted where an objective names the step, or the journey alone (its requests are all its steps').
fn wants_step(plan: &Plan, stream: &str, journey: &str, step: &str) -> bool {
    plan.objectives.iter().any(|o| {
        let asks = o.step.is_some() || (o.journey.is_some() && !of_journey(&o.indicator));
        asks && names(o.stream.as_ref(), stream) && names(o.journey.as_ref(), journey) && names(o.step.as_ref(), step)
    })
}
