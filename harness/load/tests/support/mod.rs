//! A server that misbehaves on demand, a plan by hand, and a sink that adds everything up. No assertions here.
#![allow(dead_code, reason = "each test binary uses its part")]

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use shakedown_core::plan::*;
use shakedown_core::seams::{Endpoints, Load, Sink};
use shakedown_core::snapshot::{Failure, Sample, StreamTotals};
use shakedown_core::template::Template;
use shakedown_core::{AllowList, Arm, Cell, CellKey, Dim, Epoch, Input, Offset, Plan, Rate, Secrets, Span};
use shakedown_load::{Wiring, generator};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// One request as the server saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at: Instant,
    pub path: String,
    pub headers: HeaderMap,
}

/// What the server saw.
#[derive(Default)]
pub struct Log {
    pub seen: Mutex<Vec<Seen>>,
    pub connections: AtomicU64,
}

impl Log {
    pub fn count(&self) -> u64 {
        self.seen.lock().unwrap().len() as u64
    }
    pub fn header(&self, name: &str) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter_map(|s| Some(s.headers.get(name)?.to_str().ok()?.to_owned())).collect()
    }
}

/// A server; `answer` gets the number of the request and the request, and says status, body, headers and delay.
pub fn server(answer: impl Fn(u64, &Seen) -> Reply + Send + Sync + 'static) -> (SocketAddr, Arc<Log>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let log = Arc::new(Log::default());
    let (own, answer) = (Arc::clone(&log), Arc::new(answer));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                own.connections.fetch_add(1, Ordering::SeqCst);
                let (log, answer) = (Arc::clone(&own), Arc::clone(&answer));
                tokio::spawn(async move {
                    let service = service_fn(move |r: Request<Incoming>| serve(r, Arc::clone(&log), Arc::clone(&answer)));
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
                });
            }
        });
    });
    (addr, log)
}

async fn serve(
    request: Request<Incoming>,
    log: Arc<Log>,
    answer: Arc<impl Fn(u64, &Seen) -> Reply>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let seen = Seen { at: Instant::now(), path: request.uri().to_string(), headers: request.headers().clone() };
    let number = {
        let mut all = log.seen.lock().unwrap();
        all.push(seen.clone());
        all.len() as u64 - 1
    };
    let reply = answer(number, &seen);
    tokio::time::sleep(reply.delay).await;
    let mut response = Response::new(Full::new(Bytes::from(reply.body)));
    *response.status_mut() = reply.status.try_into().unwrap();
    for (name, value) in reply.headers {
        response.headers_mut().append(name, value.parse().unwrap());
    }
    Ok(response)
}

/// What the server answers.
pub struct Reply {
    pub status: u16,
    pub body: String,
    pub headers: Vec<(&'static str, String)>,
    pub delay: Duration,
}

impl Reply {
    pub fn ok(body: &str) -> Reply {
        Reply { status: 200, body: body.to_owned(), headers: vec![], delay: Duration::ZERO }
    }
    pub fn status(status: u16) -> Reply {
        Reply { status, ..Reply::ok("x") }
    }
    pub fn with(mut self, name: &'static str, value: &str) -> Reply {
        self.headers.push((name, value.to_owned()));
        self
    }
    pub fn after(mut self, delay: Duration) -> Reply {
        self.delay = delay;
        self
    }
}

/// A server that reads a little, writes `bytes` and closes (or, with nothing to write, never answers).
pub fn raw_server(bytes: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            if bytes.is_empty() {
                held.push(stream);
                continue;
            }
            std::thread::spawn(move || {
                let mut head = [0u8; 4096];
                if stream.read(&mut head).is_ok_and(|n| n > 0) {
                    stream.write_all(bytes).ok();
                }
            });
        }
    });
    addr
}

pub fn hold(ms: u64, per_second: u64) -> Model {
    let form = Form::Hold(Rate(per_second * 1_000_000_000));
    Model::Open { poisson: false, shape: vec![Segment { length: Span::millis(ms), form }] }
}

pub fn get(name: &str, path: &str) -> RequestPlan {
    RequestPlan {
        name: name.into(),
        method: "GET".into(),
        path: Template::parse(path).unwrap(),
        headers: vec![],
        body: None,
        expect: Expect::default(),
        capture: vec![],
        exchange: Exchange::Http,
    }
}

pub fn journey(name: &str, steps: Vec<Step>) -> Journey {
    Journey { name: name.into(), weight: 1, steps }
}

pub fn stream(model: Model, request: RequestPlan) -> Stream {
    Stream {
        name: "shoppers".into(),
        target: "shop".into(),
        at: When::At(Span::ZERO),
        model,
        warmup: Span::ZERO,
        timeout: Span::secs(1),
        retry: None,
        connections: Connections { max: 256, prewarm: 0, ..Connections::default() },
        cookies: Cookies::Journey,
        feeds: vec![],
        journeys: vec![journey("browse", vec![Step::Request(Box::new(request))])],
    }
}

pub fn plan(target: &str, streams: Vec<Stream>) -> Plan {
    let shop = Target {
        name: "shop".into(),
        at: target.into(),
        http: HttpVersion::default(),
        tls: Tls::default(),
        headers: vec![],
        reach: Reach::default(),
        grpc: GrpcSchema::default(),
    };
    Plan {
        version: 1,
        name: "t".into(),
        description: String::new(),
        hypothesis: String::new(),
        owner: String::new(),
        labels: BTreeMap::new(),
        seed: 7,
        time_box: None,
        slice: Span::millis(100),
        max_cells: 1000,
        precision: Precision::default(),
        environment: Environment {
            name: "e".into(),
            class: EnvironmentClass::Local,
            allow: vec!["127.0.0.0/8".into()],
            limits: Limits::default(),
            services: vec![],
            targets: BTreeMap::from([("shop".to_owned(), shop)]),
            proxies: vec![],
        },
        setup: vec![],
        teardown: vec![],
        preflight: vec![],
        streams,
        faults: vec![],
        rollout: None,
        objectives: vec![],
        windows: vec![],
        guards: vec![],
        verdict: VerdictRule::default(),
        files: BTreeMap::new(),
        secrets: vec![],
    }
}

pub fn rollout(by: IdentifyBy) -> Rollout {
    Rollout {
        driver: "pilot".into(),
        params: serde_json::Value::Null,
        control: "v1".into(),
        canary: "v2".into(),
        artifact: None,
        identify: Identify { by, control: vec!["v1".into()], canary: vec!["v2".into()] },
        baseline: Span::ZERO,
        stages: vec![],
        rehearse: Rehearse::Never,
        rollback: RollbackPlan { before: vec![], restored_when: vec![], restored_within: Span::secs(1), failed_requests: None },
        afterwards: Afterwards::Restore,
    }
}

/// Everything that came in.
#[derive(Default)]
pub struct Taken(pub Mutex<Vec<Input>>);

impl Sink for Taken {
    fn send(&self, input: Input) {
        self.0.lock().unwrap().push(input);
    }
}

/// Everything added up.
#[derive(Default, Debug)]
pub struct Sum {
    pub cells: BTreeMap<CellKey, Cell>,
    pub totals: BTreeMap<u16, StreamTotals>,
    pub samples: Vec<Sample>,
    pub last_answer: BTreeMap<Arm, Offset>,
    pub halts: Vec<Input>,
    pub snapshots: usize,
    pub cpu: u64,
}

impl Taken {
    pub fn sum(&self) -> Sum {
        let mut sum = Sum::default();
        let mut before = Offset(i64::MIN);
        for input in self.0.lock().unwrap().iter() {
            match input {
                Input::Snapshot(s) => {
                    assert!(s.as_of >= before, "as_of went back");
                    before = s.as_of;
                    sum.snapshots += 1;
                    sum.cpu += s.cpu;
                    s.cells.iter().for_each(|(k, c)| sum.cells.entry(k.clone()).or_default().merge(c));
                    for (i, t) in &s.streams {
                        let all = sum.totals.entry(*i).or_default();
                        all.asked += t.asked;
                        all.sent += t.sent;
                        all.dropped += t.dropped;
                        all.connections += t.connections;
                        (all.in_flight, all.ended) = (t.in_flight, t.ended);
                    }
                    s.last_answer.iter().for_each(|(a, at)| assert!(sum.last_answer.insert(*a, *at) <= Some(*at)));
                }
                Input::Samples(s) => sum.samples.clone_from(s),
                other => sum.halts.push(other.clone()),
            }
        }
        sum
    }
}

impl Sum {
    /// All slices of one arm and dimension together.
    pub fn arm(&self, arm: Arm, dim: &Dim) -> Cell {
        let mut all = Cell::default();
        self.cells.iter().filter(|(k, _)| k.arm == arm && k.dim == *dim).for_each(|(_, c)| all.merge(c));
        all
    }
    pub fn all(&self) -> Cell {
        self.arm(Arm::All, &Dim::Whole)
    }
    pub fn failed(&self, kind: Failure) -> u64 {
        self.all().failed.get(&kind).copied().unwrap_or(0)
    }
}

pub fn wiring(plan: Plan) -> Wiring {
    Wiring {
        allow: AllowList::parse(&plan.environment.allow).unwrap(),
        plan: Arc::new(plan),
        endpoints: Endpoints::default(),
        secrets: Arc::new(Secrets::default()),
        run: "00112233445566778899aabbccddeeff".into(),
        segment: (0, 1),
    }
}

/// Runs a plan until its streams have ended (in mode Finish), then stops it.
pub fn run(w: Wiring) -> Sum {
    run_with(w, |_, _| ())
}

pub fn run_with(w: Wiring, during: impl FnOnce(&dyn Load, &Taken)) -> Sum {
    let taken = Arc::new(Taken::default());
    let load = generator(w).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(load.prepare()).unwrap();
    load.mode(shakedown_core::seams::LoadMode::Finish);
    load.start(Epoch(Instant::now()), taken.clone());
    during(&*load, &taken);
    until("streams end", || taken.sum().totals.values().any(|t| t.ended && t.in_flight == 0) || !taken.sum().halts.is_empty());
    runtime.block_on(load.stop()).unwrap();
    taken.sum()
}

pub fn until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(15), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn objective(indicator: Indicator) -> Objective {
    Objective {
        name: "o".into(),
        indicator,
        limit: Limit { min: true, value: LimitValue::Fixed(0.99), floor: None, text: String::new() },
        arm: ArmChoice::All,
        stream: None,
        journey: None,
        step: None,
        window: WindowRef::Default,
        every: None,
        confidence: shakedown_core::Ppm(950_000),
        min_samples: None,
        condition: None,
        by_header: None,
    }
}
