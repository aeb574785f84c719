//! gRPC against a small server of our own: schema, statuses, messages, and what servers get wrong.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use bytes::{BufMut, Bytes, BytesMut};
use common::{connector, exchange, kind, post, run, tasks};
use h2::server::{self, SendResponse};
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use prost_reflect::prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, Value};
use shakedown_core::Fail;
use shakedown_core::plan::{Connections, GrpcSchema};
use shakedown_core::snapshot::Failure;
use shakedown_net::Handle;
use shakedown_protocols::{Grpc, Http2, Reply, Schema};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

const PROTO: &str = r#"
syntax = "proto3";
package test.v1;
import "item.proto";
message Ask { string name = 1; repeated Item items = 2; int64 count = 3; }
message Answer { string text = 1; bool ok = 2; }
service Echo {
  rpc Say(Ask) returns (Answer);
  rpc Count(Ask) returns (stream Answer);
  rpc Gather(stream Ask) returns (Answer);
}
"#;
const ITEM: &str = r#"
syntax = "proto3";
package test.v1;
message Item { uint32 price = 1; }
"#;
const SAY: &str = "/test.v1.Echo/Say";
const COUNT: &str = "/test.v1.Echo/Count";

/// A folder with the two files.
fn protos() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("types")).unwrap();
    std::fs::write(dir.path().join("echo.proto"), PROTO).unwrap();
    std::fs::write(dir.path().join("types/item.proto"), ITEM).unwrap();
    dir
}

fn from_proto() -> Schema {
    let dir = protos();
    Schema::proto(&dir.path().join("echo.proto"), &[dir.path().join("types")]).unwrap()
}

fn framed(message: &[u8]) -> Bytes {
    let mut all = BytesMut::new();
    all.put_u8(0);
    all.put_u32(u32::try_from(message.len()).unwrap());
    all.put_slice(message);
    all.freeze()
}

/// `Answer{text}` on the wire.
fn answer(text: &str) -> Bytes {
    let mut message = vec![0x0a, u8::try_from(text.len()).unwrap()];
    message.extend_from_slice(text.as_bytes());
    framed(&message)
}

fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
    all.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_str(v).unwrap())).collect()
}

fn head(status: u16, kind: &str) -> Response<()> {
    Response::builder().status(status).header("content-type", kind).body(()).unwrap()
}

async fn all_of(body: &mut RecvStream) -> Vec<u8> {
    let mut got = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.unwrap();
        body.flow_control().release_capacity(chunk.len()).unwrap();
        got.extend_from_slice(&chunk);
    }
    got
}

/// Sends body and trailers; whoever gave up has no use for them.
fn reply(mut respond: SendResponse<Bytes>, head: Response<()>, body: &[Bytes], trailers: Option<HeaderMap>) {
    let Ok(mut stream) = respond.send_response(head, body.is_empty() && trailers.is_none()) else { return };
    for (at, piece) in body.iter().enumerate() {
        let _ = stream.send_data(piece.clone(), trailers.is_none() && at + 1 == body.len());
    }
    if let Some(trailers) = trailers {
        let _ = stream.send_trailers(trailers);
    }
}

/// What the server does is asked for by name, or by path.
async fn serve(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, version: &'static str) {
    let (parts, mut body) = request.into_parts();
    let got = all_of(&mut body).await;
    let path = parts.uri.path().to_owned();
    assert_eq!((parts.method.as_str(), parts.headers["te"].as_bytes()), ("POST", &b"trailers"[..]));
    if path.starts_with("/grpc.reflection.") {
        if path != format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo") {
            return reply(respond, grpc_status(12), &[], None);
        }
        return reply(respond, head(200, "application/grpc"), &[reflected(&got[5..])], Some(headers(&[("grpc-status", "0")])));
    }
    let input = descriptor().get_message_by_name("test.v1.Ask").unwrap();
    let ask = DynamicMessage::decode(input, &got[5..]).unwrap();
    let name = ask.get_field_by_name("name").unwrap().as_str().unwrap().to_owned();
    let (grpc, ok) = (head(200, "application/grpc+proto"), Some(headers(&[("grpc-status", "0")])));
    match name.as_str() {
        "fails" => reply(respond, grpc, &[], Some(headers(&[("grpc-status", "5"), ("grpc-message", "not%20here")]))),
        "trailers-only" => reply(respond, grpc_status(7), &[], None),
        "no-trailers" => reply(respond, grpc, &[answer("x")], None),
        "html" => reply(respond, head(200, "text/html"), &[Bytes::from_static(b"<html>")], None),
        "unavailable" => reply(respond, head(503, "text/plain"), &[Bytes::from_static(b"busy")], None),
        "empty" => reply(respond, grpc, &[], ok),
        "two" => reply(respond, grpc, &[answer("x"), answer("y")], ok),
        "half" => reply(respond, grpc, &[answer("hello").slice(..7)], ok),
        "garbage" => reply(respond, grpc, &[framed(&[0xff; 9])], ok),
        "compressed" => reply(respond, grpc, &[Bytes::from_static(&[1, 0, 0, 0, 1, 7])], ok),
        "huge" => reply(respond, grpc, &[Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff])], ok),
        "reset" => respond.send_reset(Reason::INTERNAL_ERROR),
        _ if path == COUNT => {
            let count = ask.get_field_by_name("count").unwrap().as_i64().unwrap();
            let all: Vec<Bytes> = (0..count).map(|n| answer(&n.to_string())).collect();
            reply(respond, grpc, &[Bytes::from(all.concat())], ok);
        }
        _ => {
            let timeout = parts.headers.get("grpc-timeout").map_or("none", |v| v.to_str().unwrap());
            let price = match ask.get_field_by_name("items").unwrap().as_list().unwrap().first() {
                Some(Value::Message(item)) => item.get_field_by_name("price").unwrap().as_u32().unwrap(),
                _ => 0,
            };
            reply(respond, grpc, &[answer(&format!("{name} {price} {timeout}"))], ok);
        }
    }
}

fn grpc_status(status: u16) -> Response<()> {
    Response::builder().header("content-type", "application/grpc").header("grpc-status", status).body(()).unwrap()
}

fn descriptor() -> DescriptorPool {
    let dir = protos();
    let mut compiler = protox_compiler(dir.path());
    compiler.open_file(dir.path().join("echo.proto")).unwrap();
    compiler.descriptor_pool()
}

fn protox_compiler(dir: &Path) -> protox::Compiler {
    protox::Compiler::new([dir.to_path_buf(), dir.join("types")]).unwrap()
}

/// The answer to a reflection question: only the file itself, so that imports are asked for.
fn reflected(question: &[u8]) -> Bytes {
    let (tag, text) = (question[0] >> 3, std::str::from_utf8(&question[2..]).unwrap());
    let file = match (tag, text) {
        (3, name) => Some(name.to_owned()),
        (4, "test.v1.Echo") => Some("echo.proto".to_owned()),
        _ => None,
    };
    let part = |tag: u8, bytes: &[u8]| {
        let mut all = vec![tag << 3 | 2];
        prost_reflect::prost::encoding::encode_varint(bytes.len() as u64, &mut all);
        all.extend_from_slice(bytes);
        all
    };
    let said = match file.and_then(|name| descriptor().get_file_by_name(&name)) {
        Some(file) => part(4, &part(1, &file.file_descriptor_proto().encode_to_vec())),
        None if tag == 7 => part(6, &part(1, &part(1, b"test.v1.Echo"))),
        None => part(7, &part(2, b"not found")),
    };
    framed(&said)
}

fn server(version: &'static str) -> SocketAddr {
    tasks(move |stream, _| async move {
        let mut connection = server::handshake(stream).await.unwrap();
        while let Some(Ok((request, respond))) = connection.accept().await {
            tokio::task::spawn_local(serve(request, respond, version));
        }
    })
}

fn http(handle: &Handle, at: SocketAddr) -> Http2 {
    Http2::new(connector(handle, at), &Connections { max: 2, ..Connections::default() })
}

fn call(at: SocketAddr, path: &'static str, json: &'static str) -> Result<Reply, (Failure, String)> {
    run(move |handle| async move { exchange(&Grpc::new(http(&handle, at), from_proto()), post(path, json)).await.0 })
}

fn load(at: SocketAddr, source: GrpcSchema, calls: &[&str]) -> Result<Schema, Fail> {
    let calls: Vec<String> = calls.iter().map(|c| (*c).to_owned()).collect();
    run(move |handle| async move {
        let dir = protos();
        Schema::load(&source, dir.path(), &http(&handle, at), HeaderMap::new(), &calls, Duration::from_secs(10)).await
    })
}

#[test]
fn calls_are_answered_with_status_and_json() {
    let at = server("v1");
    let reply = call(at, SAY, r#"{"name": "hi", "items": [{"price": 7}]}"#).unwrap();
    assert_eq!((reply.status, reply.messages), (Some(0), 1));
    assert_eq!(String::from_utf8(reply.body).unwrap(), r#"{"text":"hi 7 none","ok":false}"#);
    let reply = call(at, COUNT, r#"{"count": 3}"#).unwrap();
    assert_eq!((reply.status, reply.messages, reply.length), (Some(0), 3, 9));
    let texts: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(texts[2]["text"], "2");
    assert_eq!(call(at, COUNT, "").unwrap().body, b"[]");
    let with_timeout = run(move |handle| async move {
        let client = Grpc::new(http(&handle, at), from_proto());
        let mut ask = post(SAY, r#"{"name": "a"}"#);
        ask.within = Some(Duration::from_millis(250));
        exchange(&client, ask).await.0.unwrap()
    });
    assert!(String::from_utf8(with_timeout.body).unwrap().contains("250000u"));
}

#[test]
fn the_status_is_the_outcome() {
    let at = server("v1");
    for (name, status) in [("fails", 5), ("trailers-only", 7), ("no-trailers", 2), ("html", 2), ("unavailable", 14)] {
        let json: &'static str = Box::leak(format!(r#"{{"name": "{name}"}}"#).into_boxed_str());
        let reply = call(at, SAY, json).unwrap();
        assert_eq!(reply.status, Some(status), "{name}");
        if name == "fails" {
            assert_eq!(reply.headers["grpc-message"], "not%20here");
        }
    }
}

#[test]
fn what_is_no_answer_is_a_failure() {
    let at = server("v1");
    for name in ["empty", "two", "half", "garbage", "compressed", "huge"] {
        let json: &'static str = Box::leak(format!(r#"{{"name": "{name}"}}"#).into_boxed_str());
        let outcome = call(at, SAY, json);
        assert_eq!(kind(&outcome), Some(Failure::Protocol), "{name}: {outcome:?}");
    }
    assert_eq!(kind(&call(at, SAY, r#"{"name": "reset"}"#)), Some(Failure::Reset));
}

#[test]
fn schemas_come_from_files_and_from_both_reflections() {
    let proto =
        |include: &[&str]| GrpcSchema::Proto { file: "echo.proto".into(), include: include.iter().map(|i| (*i).to_owned()).collect() };
    let at = server("v1");
    load(at, proto(&["types"]), &[SAY, COUNT]).unwrap();
    let missing = load(at, proto(&[]), &[SAY]).unwrap_err().0;
    assert!(missing.contains("item.proto"), "{missing}");
    for version in ["v1", "v1alpha"] {
        let schema = load(server(version), GrpcSchema::Reflection, &[SAY, COUNT]).unwrap();
        assert!(schema.method(COUNT).unwrap().streams());
        assert_eq!(schema.method(SAY).unwrap().encode(br#"{"items":[{"price":7}]}"#).unwrap(), [0x12, 2, 8, 7]);
    }
    let none = load(server("v0"), GrpcSchema::Reflection, &[SAY]).unwrap_err().0;
    assert!(none.contains("has no reflection"), "{none}");
    let unknown = load(at, GrpcSchema::Reflection, &["/test.v1.Ecco/Say"]).unwrap_err().0;
    assert!(unknown.contains("`test.v1.Ecco`") && unknown.contains("test.v1.Echo"), "{unknown}");
    let nobody = load(common::nobody(), GrpcSchema::Reflection, &[SAY]).unwrap_err().0;
    assert!(nobody.contains("refused"), "{nobody}");
}

#[test]
fn mistakes_are_told_with_their_place() {
    let schema = from_proto();
    let method = schema.method(SAY).unwrap();
    for (outcome, said) in [
        (schema.method("/test.v1.Echo/Sy").map(|_| ()), "`Sy`; the nearest are Say"),
        (schema.method("/test.v2.Echo/Say").map(|_| ()), "nearest are test.v1.Echo"),
        (schema.method("/test.v1.Echo/Gather").map(|_| ()), "streamed to by the client"),
        (schema.method("Say").map(|_| ()), "no gRPC path"),
        (method.encode(br#"{"items": [{"price": 1}, {"price": "a"}]}"#).map(|_| ()), "at items[1].price"),
        (method.encode(br#"{"nme": "a"}"#).map(|_| ()), "nme"),
        (method.encode(b"{} {}").map(|_| ()), "not one JSON object"),
        (method.encode(b"{").map(|_| ()), "does not fit test.v1.Ask"),
    ] {
        let why = outcome.unwrap_err().0;
        assert!(why.contains(said), "{why}");
    }
}
