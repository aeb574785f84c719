//! Protocols, how targets are reached, connections, precision: what they mean, and what contradicts. `^` in a
//! replacement marks where the problem must stand.

mod common;

use common::{KINDS, PROTOCOLS, run};
use shakedown_core::plan::*;
use shakedown_core::template::{Part, Template};
use shakedown_core::units::{Rate, Span};
use shakedown_scenario::{line_column, render, resolve, schema};
use std::path::Path;

fn plan() -> Plan {
    run(PROTOCOLS).map_err(|p| render(&p, Path::new("protocols.yaml"), PROTOCOLS)).unwrap_or_else(|p| panic!("{p}")).plan
}

fn requests(plan: &Plan, stream: &str) -> Vec<RequestPlan> {
    let steps = plan.stream(stream).expect("a stream").1.journeys.iter().flat_map(|j| &j.steps);
    steps.filter_map(|s| if let Step::Request(r) = s { Some((**r).clone()) } else { None }).collect()
}

/// Replaces `from` by `to` (less its `^`) and expects exactly one problem, at the `^`.
fn check(from: &str, to: &str, message: &str, hint: &str) {
    assert!(PROTOCOLS.contains(from), "`{from}` is not in the scenario");
    let marked = PROTOCOLS.replacen(from, to, 1);
    let at = marked.find('^').expect("a mark");
    let text = marked.replacen('^', "", 1);
    let problems = run(&text).expect_err(to);
    let shown = render(&problems, Path::new("x.yaml"), &text);
    let [problem] = problems.0.as_slice() else { panic!("one problem expected for `{to}`:\n{shown}") };
    assert_eq!(line_column(&text, problem.span.start), line_column(&text, at), "place of `{to}`:\n{shown}");
    assert!(problem.message.contains(message), "message of `{to}`: {shown}");
    assert!(problem.hint.as_deref().unwrap_or_default().contains(hint), "hint of `{to}`: {shown}");
}

#[test]
fn targets_say_how_they_are_reached() {
    let plan = plan();
    assert_eq!(plan.precision, Precision { quantum: Some(Span(100_000)), spin: Some(Span(50_000)), workers: Some(2) });
    let target = |name: &str| &plan.environment.targets[name];
    let web = target("web");
    assert_eq!((web.http, web.tls.server_name.as_deref(), web.tls.full_handshakes), (HttpVersion::Two, Some("shop.internal"), true));
    assert_eq!(web.reach.pin, Some([127, 0, 0, 1].into()));
    assert_eq!(web.reach.sources, [[127, 0, 0, 2].into(), std::net::IpAddr::from([127, 0, 0, 3])]);
    assert_eq!((target("local").reach.unix.as_deref(), target("local").http), (Some("./app.sock"), HttpVersion::One));
    assert_eq!(target("far").reach.proxy.as_deref(), Some("http://127.0.0.1:3128"));
    assert_eq!(target("moving").reach.resolve_every, Some(Span::secs(30)));
    assert_eq!((target("cart").http, target("asked").http), (HttpVersion::Two, HttpVersion::Two), "gRPC implies HTTP/2");
    assert_eq!(target("cart").grpc, GrpcSchema::Proto { file: "shop.proto".into(), include: vec!["protos".into()] });
    assert_eq!(target("asked").grpc, GrpcSchema::Reflection);
    assert_eq!((target("feed").at.as_str(), target("clock").at.as_str()), ("ws://127.0.0.1:9092/live", "udp://127.0.0.1:123"));
    let files: Vec<&str> = plan.files.keys().map(String::as_str).collect();
    assert_eq!(files, ["ca.pem", "client.key", "protos/money.proto", "shop.proto"], "imports are hashed too, each once");
    let mut whole = plan.clone();
    resolve(&mut whole, Path::new("/base"));
    assert_eq!(whole.environment.targets["local"].reach.unix.as_deref(), Some("/base/./app.sock"));
    let proto = GrpcSchema::Proto { file: "/base/shop.proto".into(), include: vec!["/base/protos".into()] };
    assert_eq!(whole.environment.targets["cart"].grpc, proto);
    let back: Plan = serde_json::from_str(&plan.canonical()).expect("a plan survives JSON");
    assert_eq!(back, plan);
}

#[test]
fn connections_and_rates() {
    let plan = plan();
    let of = |name: &str| &plan.stream(name).expect("a stream").1.connections;
    let pages = Connections { max: 4, streams: 16, idle: Span::secs(10), max_requests: Some(1000), ..Connections::default() };
    assert_eq!(of("pages"), &pages);
    assert_eq!(of("nearby").max, 20_000, "a connection for every user");
    assert_eq!((of("calls").max, of("calls").streams), (256, 8));
    let Model::Open { shape, .. } = &plan.stream("pages").expect("a stream").1.model else { panic!("open") };
    assert_eq!((shape[0].form, shape[1].form), (Form::Hold(Rate(10_000_000_000_000_000)), Form::Hold(Rate(0))));
    let auto = PROTOCOLS.replace("{quantum: 100us, spin: 50us, workers: 2}", "auto");
    assert_eq!(run(&auto).expect("auto").plan.precision, Precision::default());
    let some = PROTOCOLS.replace("{quantum: 100us, spin: 50us, workers: 2}", "{quantum: 0s}");
    assert_eq!(run(&some).expect("some").plan.precision, Precision { quantum: Some(Span::ZERO), ..Precision::default() });
}

#[test]
fn calls_and_sockets() {
    let plan = plan();
    let calls = requests(&plan, "calls");
    assert_eq!((calls[0].exchange.clone(), calls[0].method.as_str()), (Exchange::Grpc, "POST"));
    assert_eq!(calls[0].path.as_text(), Some("/shop.Cart/Add"));
    assert_eq!(calls[0].body.as_ref().and_then(|b| b.text.as_text()), Some("{\"n\":2,\"sku\":\"cup\"}"));
    assert_eq!(calls[0].expect.status, [(0, 0)], "OK when nothing is said");
    assert_eq!((calls[1].expect.status.as_slice(), calls[1].expect.messages), ([(0, 0), (1, 1)].as_slice(), Some((1, 5))));
    let body = calls[1].body.as_ref().expect("a message");
    assert_eq!((body.text.0[1].clone(), body.escape), (Part::Capture("id".into()), Escape::Json));
    let retry = plan.stream("calls").and_then(|(_, s)| s.retry.clone()).expect("a retry");
    assert_eq!(retry.on, [RetryOn::Connect, RetryOn::Status(14)]);
    let empty = &requests(&plan, "empty")[0];
    assert_eq!((empty.name.as_str(), empty.body.as_ref().and_then(|b| b.text.as_text())), ("grpc Ping/Ping", Some("{}")));
    let live = requests(&plan, "live");
    let send = vec![Template::text("hello"), Template(vec![Part::Uuid])];
    assert_eq!(live[0].exchange, Exchange::WebSocket { send, receive: 3, hold: Span::secs(5) });
    assert_eq!((live[0].expect.status.as_slice(), live[0].expect.messages), ([(101, 101)].as_slice(), Some((3, 3))));
    assert_eq!((live[0].name.as_str(), live[0].path.as_text()), ("websocket /feed?id=1", Some("/feed?id=1")));
    assert_eq!(live[1].expect.status, [(401, 401), (403, 403)]);
}

#[test]
fn bytes_and_datagrams() {
    let plan = plan();
    let raw: Vec<Exchange> = requests(&plan, "raw").into_iter().map(|r| r.exchange).collect();
    let until = [Until::Text("\r\n".into()), Until::Bytes(128), Until::Close, Until::Sent];
    assert_eq!(raw, until.map(|until| Exchange::Tcp { until }));
    let ping = &requests(&plan, "raw")[0];
    assert_eq!(ping.body.as_ref().and_then(|b| b.text.as_text()), Some("PING\r\n"));
    assert_eq!((ping.expect.status.len(), ping.expect.body_contains.as_deref()), (0, Some("PONG")));
    let udp = &requests(&plan, "times")[0];
    assert_eq!((udp.exchange.clone(), udp.name.as_str()), (Exchange::Udp, "udp"));
    let Indicator::StatusShare(statuses) = &plan.objective("gone").expect("an objective").indicator else { panic!("a share") };
    assert_eq!(statuses, &[(14, 14)]);
}

#[test]
fn mistakes_in_targets() {
    let web = "http: 2, tls";
    let far = "far: {url: \"http://127.0.0.1:8080\", proxy: \"http://127.0.0.1:3128\"}";
    let local = "local: {url: \"http://localhost/\", unix: ./app.sock}";
    let moving = "moving: {url: \"http://localhost:8080\", resolve_every: 30s}";
    for (from, to, message, hint) in [
        (web, "http: ^3, tls", "HTTP/3 is not spoken yet", "write http: 2"),
        (web, "http: ^1.2, tls", "`1.2` is not a version of HTTP", "1.1 or 2"),
        ("feed: \"ws://127.0.0.1:9092/live\"", "feed: {url: \"ws://127.0.0.1:9092\", ^http: 2}", "no meaning for WebSocket", "remove"),
        ("proto: {file", "http: ^1.1, proto: {file", "gRPC is spoken over HTTP/2", "leave `http` out"),
        (
            "https://shop.internal:8443/base\", http: 2, tls",
            "http://shop.internal:8443\", http: 2, ^tls",
            "`tls` without a URL",
            "https://",
        ),
        ("\"udp://127.0.0.1:123\"", "{url: \"udp://127.0.0.1:123\", ^tls: {insecure: true}}", "no meaning for UDP", "remove"),
        ("ca: ca.pem", "^ca: ca.pem, insecure: true", "no meaning with `insecure`", "remove"),
        ("cert: ca.pem, key: client.key", "cert: ca.pem", "", ""),
        ("server_name: shop.internal", "server_name: ^sh op", "is not a server's name", "certificate"),
        (
            local,
            "local: {url: \"http://localhost/\", unix: ./app.sock, ^proxy: \"http://127.0.0.1:3128\"}",
            "no meaning with `unix`",
            "one of them",
        ),
        (local, "local: {url: \"http://localhost/\", unix: ./app.sock, ^pin: 127.0.0.1}", "no meaning with `unix`", "one of them"),
        (local, "local: {url: \"http://localhost/\", unix: ^\"\"}", "is not a socket's path", "./app.sock"),
        (far, "far: {url: ^\"http://shop.internal\", proxy: \"http://127.0.0.1:3128\"}", "nobody could judge `shop.internal`", "address"),
        (far, "far: {url: \"http://127.0.0.1:8080\", proxy: ^\"http://10.0.0.1:3128\"}", "not in environment.allow", "block"),
        (far, "far: {url: \"http://127.0.0.1:8080\", proxy: ^\"https://127.0.0.1:3128\"}", "is not a proxy", "http://host:port"),
        (far, "far: {url: \"http://127.0.0.1:8080\", ^pin: 127.0.0.1}", "no meaning with an address", "only a name"),
        (moving, "moving: {url: \"http://localhost:8080\", ^resolve_every: 30s, pin: 127.0.0.1}", "no meaning with `pin`", "one of them"),
        (moving, "moving: {url: \"http://127.0.0.1:8080\", ^resolve_every: 30s}", "no meaning with an address", "only a name"),
        ("pin: 127.0.0.1,", "pin: ^10.0.0.1,", "10.0.0.1:8443 is not in environment.allow", "block"),
        ("pin: 127.0.0.1,", "pin: ^shop,", "`shop` is not an address", "without a port"),
        ("sources: [127.0.0.2, 127.0.0.3]", "^sources: [\"::1\"]", "nothing connects from ::1", "one family"),
        ("127.0.0.3]", "^127.0.0.2]", "given twice", "in turn"),
        (
            "moving: {url: \"http://localhost:8080\", resolve_every: 30s}",
            "moving: {url: \"http://localhost:8080\", ^proto: shop.proto}",
            "`proto` has no meaning for HTTP",
            "grpc://",
        ),
        ("{file: shop.proto, include", "{file: ^gone.proto, include", "cannot be read", "relative"),
        ("{file: shop.proto, include", "{file: ^torn.proto, include", "imports `gone.proto`, which is not there", "include"),
        ("\"tcp://127.0.0.1:6379\"", "^\"tcp://127.0.0.1\"", "is not an address", "host:port"),
        ("\"tcp://127.0.0.1:6379\"", "^\"tcp://127.0.0.1:6379/0\"", "an address of TCP has no path", "write tcp://127.0.0.1:6379"),
        ("\"tcp://127.0.0.1:6379\"", "^\"redis://127.0.0.1:6379\"", "load over `redis` is not available yet", "later"),
        ("\"tcp://127.0.0.1:6379\"", "^\"ftp://127.0.0.1:6379\"", "is not one load can use", "udp"),
        ("\"udp://127.0.0.1:123\"", "{url: \"udp://127.0.0.1:123\", ^proxy: \"http://127.0.0.1:1\"}", "no meaning with UDP", "remove"),
        ("\"udp://127.0.0.1:123\"", "{url: \"udp://127.0.0.1:123\", ^unx: a}", "unknown key `unx`", "did you mean `unix`?"),
    ] {
        if message.is_empty() {
            assert!(run(&PROTOCOLS.replacen(from, to, 1)).is_err(), "{to}");
        } else {
            check(from, to, message, hint);
        }
    }
}

#[test]
fn mistakes_in_steps() {
    let ping = "{name: ping, tcp: \"PING\\r\\n\", until: \"\\r\\n\", expect: {body: PONG}}";
    let add = "message: {sku: cup, n: 2}";
    for (from, to, message, hint) in [
        (
            "requests: [{grpc: Ping/Ping}]",
            "requests: [{^get: /}]",
            "a `get` step needs a target that speaks HTTP, and this one speaks gRPC",
            "http://",
        ),
        ("[{grpc: Ping/Ping}]", "[{^websocket: /}]", "needs a target that speaks WebSocket", "ws:// or wss://"),
        ("grpc: Ping/Ping", "grpc: ^/Ping/Ping", "is not a gRPC method", "shop.Cart/Get"),
        ("grpc: Ping/Ping", "grpc: ^Ping", "is not a gRPC method", "shop.Cart/Get"),
        (add, "message: ^[1]", "message must be a map", "id: 7"),
        (add, "^json: {sku: cup}", "`json` does not belong to a `grpc` step", "message"),
        (add, "^mesage: {sku: cup}", "unknown key `mesage`", "did you mean `message`?"),
        ("[OK, CANCELLED]", "[OK, ^CANCELED]", "is not a gRPC status", "did you mean `CANCELLED`?"),
        ("[OK, CANCELLED]", "[OK, ^5]", "is not a gRPC status", "write NOT_FOUND"),
        ("{grpc_status: [OK, CANCELLED]", "{^status: 200", "`status` has no meaning for gRPC", "grpc_status: OK"),
        ("messages: 1..5", "messages: ^5..1", "ends before it begins", ""),
        ("messages: 1..5", "messages: ^few", "is not a number of messages", ""),
        ("on: [connect, UNAVAILABLE]", "on: [connect, ^503]", "nothing to retry on", "UNAVAILABLE"),
        ("retry: {on: timeout}", "retry: {on: ^503}", "nothing to retry on", "connect, reset or timeout"),
        ("expect: {messages: 3, body", "^expect: {messages: 2, body", "3 messages are awaited and at most 2 expected", "awaited"),
        ("timeout: 6s", "timeout: 5s", "", ""),
        ("receive: 3", "receive: ^-3", "is not a whole number", ""),
        (ping, "{name: ping, ^tcp: x}", "needs `until`", "until: close"),
        (ping, "{name: ping, tcp: x, until: ^\"\"}", "an empty text ends nothing", "until: sent"),
        (ping, "{name: ping, tcp: x, until: ^{}}", "until needs `bytes`", ""),
        (ping, "{name: ping, tcp: x, until: close, expect: {^status: 200}}", "`status` has no meaning for TCP", "body or json"),
        (ping, "{name: ping, tcp: x, until: sent, ^expect: {body: x}}", "nothing is awaited", "until"),
        (ping, "{name: ping, tcp: x, until: close, ^headers: {a: b}}", "`headers` does not belong to a `tcp` step", "until"),
        (ping, "{name: ping, tcp: x, until: close, capture: {a: {header: ^b}}}", "has no headers", "JSONPath"),
        ("expect: {body: pong}", "^until: close", "`until` does not belong to a `udp` step", "its text"),
        ("expect: {body: pong}", "expect: {^messages: 1}", "`messages` has no meaning for UDP", "websocket"),
        ("expect: {body: pong}", "expect: {^grpc_status: OK}", "`grpc_status` has no meaning for UDP", "`grpc` steps"),
        ("precision:", "setup: [{^tcp: x, until: close}]\nprecision:", "a `tcp` step belongs to traffic", "run commands"),
        ("precision:", "setup: [{get: ^\"{{ targets.feed }}/x\"}]\nprecision:", "the target `feed` speaks WebSocket", "command"),
        ("precision:", "setup: [{get: ^\"{{ targets.local }}/x\"}]\nprecision:", "is reached by a Unix socket", "command"),
        ("shape: [{hold: 10s, rate: 10/s}], requests: [{grpc", "^replay: {file: access.log, format: access-log}, no: [{grpc", "", ""),
    ] {
        if message.is_empty() {
            assert!(run(&PROTOCOLS.replacen(from, &to.replace('^', ""), 1)).is_err(), "{to}");
        } else {
            check(from, to, message, hint);
        }
    }
    let replayed =
        PROTOCOLS.replacen("users: {count: 20000, for: 10s}, requests: [{get: /}]", "replay: {file: access.log, format: access-log}", 1);
    assert!(run(&replayed).is_ok(), "{:?}", run(&replayed).err());
    let problems = run(&replayed.replacen("target: local", "target: cache", 1)).expect_err("raw");
    assert!(problems.0.iter().any(|p| p.message == "a recording cannot be replayed over TCP"), "{problems:?}");
}

#[test]
fn mistakes_in_connections_and_precision() {
    let pages = "connections: {max: 4, streams: 16, idle: 10s, max_requests: 1000}";
    for (from, to, message, hint) in [
        (pages, "connections: {reuse: false, ^idle: 10s}", "`idle` has no meaning with `reuse: false`", "remove"),
        (pages, "connections: {^max_requests: 1}", "is not used again", "reuse: false"),
        (pages, "connections: {idle: ^0s}", "longer than 0s", ""),
        (pages, "connections: {streams: ^0}", "out of range", ""),
        ("requests: [{get: /}]}\n  calls", "connections: {^streams: 8}, requests: [{get: /}]}\n  calls", "HTTP/2 only", "http: 2"),
        ("quantum: 100us", "quantum: ^101ms", "quantum is 101ms, which is too long", "100ms"),
        ("spin: 50us", "spin: ^2ms", "spin is 2ms, which is too long", "1ms"),
        ("spin: 50us", "spin: ^50", "has no unit", ""),
        ("workers: 2", "workers: ^65", "out of range", ""),
        ("workers: 2", "^worker: 2", "unknown key `worker`", "did you mean `workers`?"),
        ("{quantum: 100us, spin: 50us, workers: 2}", "^exact", "`exact` is not a value of precision", "auto"),
        ("rate: 10000000/s", "rate: ^1000000000/s", "out of range", ""),
        ("[{hold: 10s, rate: 10000000/s}, {hold: 10s, rate: 0/s}]", "^[{hold: 10s, rate: 0/s}]", "never sends anything", "50/s"),
    ] {
        check(from, to, message, hint);
    }
}

#[test]
fn the_schema_knows_the_same_keys() {
    let mut schemas = boon::Schemas::new();
    let mut compiler = boon::Compiler::new();
    compiler.add_resource("urn:shakedown:scenario:1", schema(&KINDS)).expect("the schema is JSON");
    let index = compiler.compile("urn:shakedown:scenario:1", &mut schemas).expect("the schema is a schema");
    let accepts = |text: &str| {
        let value: serde_json::Value = serde_yaml::from_str(text).expect("the text is YAML");
        schemas.validate(&value, index).map_err(|e| format!("{e:#}"))
    };
    accepts(PROTOCOLS).unwrap_or_else(|e| panic!("{e}"));
    for (from, to) in [
        ("http: 2,", "http: 3,"),
        ("unix: ./app.sock", "unx: ./app.sock"),
        ("message: {sku: cup, n: 2}", "json: {sku: cup}"),
        ("until: close", "till: close"),
        (", until: sent", ""),
        ("messages: 1..5", "messages: few"),
        ("quantum: 100us", "quantum: 100"),
        ("idle: 10s", "idle: 10"),
        ("include: [protos]", "includes: [protos]"),
        ("udp: \"ping {{ uuid }}\"", "udp: x, until: close"),
    ] {
        assert!(PROTOCOLS.contains(from), "{from}");
        assert!(accepts(&PROTOCOLS.replacen(from, to, 1)).is_err(), "{to}");
    }
}
