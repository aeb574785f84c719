//! Kinds, files and a good scenario for the tests. Must not import an implementation.
#![allow(dead_code)]

use serde_json::{Value, json};
use shakedown_core::plan::FaultPlan;
use shakedown_core::seams::{Boxed, Class, Cx, Driver, DriverKind, Fail, Injector, Kind, LaterKind, Prepared};
use shakedown_core::tree::{Node, Problems};
use shakedown_scenario::{Checked, Files, Kinds, Source, check};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

pub struct Test(pub &'static str, pub &'static [&'static str]);
pub struct LaterDriver(LaterKind);

impl Kind for Test {
    fn name(&self) -> &'static str {
        self.0
    }
    fn about(&self) -> &'static str {
        "a test kind"
    }
    fn schema(&self) -> Value {
        Value::Bool(true)
    }
    fn parse(&self, node: &Node, problems: &mut Problems) -> Option<Value> {
        if self.0 == "builtin" {
            return Some(json!({"service": node.string("builtin", problems)?}));
        }
        let mut f = node.fields(self.0, problems);
        let delay = f.take("delay").and_then(|n| n.duration("delay", problems));
        f.finish(problems);
        Some(json!({"delay_ns": delay.unwrap_or_default().0}))
    }
    fn missing(&self, _params: &Value) -> Vec<String> {
        if self.0 == "netem" { vec!["netem needs root; run as root".into()] } else { Vec::new() }
    }
}

impl Injector for Test {
    fn class(&self, _params: &Value) -> Class {
        Class::Kernel
    }
    fn conflicts(&self, _params: &Value) -> &'static str {
        self.0
    }
    fn sits_on(&self) -> &'static [&'static str] {
        self.1
    }
    fn prepare<'a>(&'a self, _fault: &'a FaultPlan, _cx: &'a Cx) -> Boxed<'a, Result<Prepared, Fail>> {
        Box::pin(async { Err(Fail::new("only parsed here")) })
    }
    fn as_kind(&self) -> &dyn Kind {
        self
    }
}

impl DriverKind for Test {
    fn connect<'a>(&'a self, _params: &'a Value, _cx: &'a Cx) -> Boxed<'a, Result<Arc<dyn Driver>, Fail>> {
        Box::pin(async { Err(Fail::new("only parsed here")) })
    }
    fn as_kind(&self) -> &dyn Kind {
        self
    }
}

impl Kind for LaterDriver {
    fn name(&self) -> &'static str {
        self.0.name()
    }
    fn about(&self) -> &'static str {
        self.0.about()
    }
    fn schema(&self) -> Value {
        self.0.schema()
    }
    fn parse(&self, node: &Node, problems: &mut Problems) -> Option<Value> {
        self.0.parse(node, problems)
    }
    fn available(&self) -> shakedown_core::seams::Available {
        shakedown_core::seams::Available::Later
    }
}

impl DriverKind for LaterDriver {
    fn connect<'a>(&'a self, _params: &'a Value, _cx: &'a Cx) -> Boxed<'a, Result<Arc<dyn Driver>, Fail>> {
        Box::pin(async { Err(Fail::new("later")) })
    }
    fn as_kind(&self) -> &dyn Kind {
        self
    }
}

static LATENCY: Test = Test("latency", &["proxy"]);
static ABORT: Test = Test("abort", &["http-proxy"]);
static PAUSE: Test = Test("pause", &["service"]);
static NETEM: Test = Test("netem", &["service"]);
static BUILTIN: Test = Test("builtin", &[]);
static COMMAND: Test = Test("command", &[]);
static ENVOY: LaterDriver = LaterDriver(LaterKind("envoy", "later"));

pub static KINDS: Kinds<'static> = Kinds {
    injectors: &[&LATENCY, &ABORT, &PAUSE, &NETEM],
    drivers: &[&BUILTIN, &COMMAND, &ENVOY],
    signals: &[],
    reporters: &[],
    shop_flaws: &["slow-tail", "errors"],
};

pub struct Memory(pub BTreeMap<&'static str, &'static str>);

impl Files for Memory {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let found = self.0.get(path.to_str().unwrap_or_default());
        found.map(|t| t.as_bytes().to_vec()).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "not found"))
    }
}

pub fn files() -> Memory {
    Memory(BTreeMap::from([
        ("dir/products.csv", "id,name\n1,cup\n2,pot\n"),
        ("dir/bank.yaml", "- {method: POST, path: \"/charge/*\", body: {ok: true}, delay: 5ms}\n- {path: /health, status: 204}\n"),
        ("dir/broken.yaml", "- {path: health, statu: 204}\n"),
        ("dir/access.log", "127.0.0.1 - - [01/Jan/2025:00:00:00 +0000] \"GET / HTTP/1.1\" 200 1\n"),
        ("dir/ragged.csv", "id,name\n1,cup\n2\n"),
        ("dir/unnamed.csv", "id,\n1,cup\n"),
        ("dir/head.csv", "id,name\n"),
        ("dir/nothing", ""),
        ("dir/packed.log.gz", "packed"),
        ("dir/not.pem", "hello\n"),
        ("dir/ca.pem", "-----BEGIN CERTIFICATE-----\n"),
        ("dir/client.key", "-----BEGIN PRIVATE KEY-----\n"),
        ("dir/shop.proto", "syntax = \"proto3\";\nimport \"google/protobuf/empty.proto\";\nimport \"money.proto\";\n"),
        ("dir/protos/money.proto", "syntax = \"proto3\";\nimport \"shop.proto\";\n"),
        ("dir/torn.proto", "import \"gone.proto\";\n"),
        ("token-file", "from-a-file-42\n"),
    ]))
}

pub fn env(name: &str) -> Option<String> {
    match name {
        "TOKEN" => Some("planted-secret-value".into()),
        "FILED_FILE" => Some("token-file".into()),
        "RATE" => Some("50/s".into()),
        _ => None,
    }
}

pub fn run_with(text: &str, change: impl FnOnce(&mut Source)) -> Result<Checked, Problems> {
    let set = BTreeMap::from([("HOLD".to_owned(), "12s".to_owned())]);
    let mut source = Source {
        path: Path::new("dir/scenario.yaml"),
        text,
        set: &set,
        env: &env,
        files: &files(),
        seed: None,
        drawn_seed: 99,
        confirm: None,
        kinds: &KINDS,
    };
    change(&mut source);
    check(&source)
}

pub fn run(text: &str) -> Result<Checked, Problems> {
    run_with(text, |_| {})
}

pub const GOOD: &str = include_str!("good.yaml");
pub const PROTOCOLS: &str = include_str!("protocols.yaml");
