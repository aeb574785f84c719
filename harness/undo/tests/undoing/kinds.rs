//! Undo by command and by request.

use crate::tools::{Test, run};
use serde_json::{Value, json};
use shakedown_core::Fail;
use shakedown_core::seams::{Owner, Undo, UndoRecord, UndoState};
use shakedown_undo::{CommandUndo, RequestUndo};
use std::io::{Read, Write};
use std::net::TcpListener;

pub const TESTS: &[Test] = &[
    ("a_command_gets_secrets_and_never_shows_them", a_command_gets_secrets_and_never_shows_them),
    ("a_request_is_undone_by_its_status", a_request_is_undone_by_its_status),
    ("a_service_of_the_run_that_is_gone_needs_no_request", a_service_of_the_run_that_is_gone_needs_no_request),
];

fn undo(kind: &dyn Undo, data: Value) -> Result<UndoState, Fail> {
    let record = UndoRecord { id: 1, kind: kind.kind().into(), what: "w".into(), data, owner: Owner::default(), deadline: 0 };
    run(kind.undo(&record))
}

fn a_command_gets_secrets_and_never_shows_them() {
    let dir = tempfile::tempdir().unwrap();
    let argv = |script: &str| {
        json!({"argv": ["sh", "-c", script, "x", "${secret:UNDO_TEST_SECRET}"], "env": {"FROM": "${secret:UNDO_TEST_SECRET}"},
               "cwd": dir.path(), "within": 5_000_000_000u64})
    };
    assert_eq!(undo(&CommandUndo, argv("echo $1 $FROM > out")), Ok(UndoState::Undone));
    assert_eq!(std::fs::read_to_string(dir.path().join("out")).unwrap(), "s3cret-value s3cret-value\n");
    let why = undo(&CommandUndo, argv("echo $FROM; exit 3")).unwrap_err().0;
    assert!(why.contains("status 3") && !why.contains("s3cret-value"), "{why}");
    let why = undo(&CommandUndo, json!({"argv": ["${secret:NO_SUCH_SECRET}"], "within": 1})).unwrap_err().0;
    assert!(why.contains("set NO_SUCH_SECRET or NO_SUCH_SECRET_FILE"), "{why}");
}

fn a_request_is_undone_by_its_status() {
    for (answer, wanted) in [
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", true),
        ("HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n", false),
        ("nonsense\r\n\r\n", false),
        ("", false),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/admin/reset?x=1", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut got = vec![0; 4096];
            let mut n = 0;
            while !got[..n].ends_with(b"{}") {
                n += stream.read(&mut got[n..]).unwrap();
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&got[..n]).into_owned()
        });
        let headers = json!([["authorization", "Bearer ${secret:UNDO_TEST_SECRET}"], ["Content-Length", "99"]]);
        let done = undo(&RequestUndo, json!({"method": "POST", "url": url, "headers": headers, "body": "{}"}));
        assert_eq!(done.is_ok(), wanted, "{done:?}");
        assert!(!format!("{done:?}").contains("s3cret"));
        let got = server.join().unwrap();
        assert!(got.starts_with("POST /admin/reset?x=1 HTTP/1.1\r\n") && got.contains("\r\ncontent-length: 2\r\n"), "{got}");
        assert!(got.contains("authorization: Bearer s3cret-value\r\n"), "{got}");
        assert_eq!(got.to_ascii_lowercase().matches("content-length").count(), 1, "{got}");
    }
}

fn a_service_of_the_run_that_is_gone_needs_no_request() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let data = |of_run: bool| json!({"method": "POST", "url": format!("http://127.0.0.1:{port}/"), "of_run": of_run});
    assert_eq!(undo(&RequestUndo, data(true)), Ok(UndoState::Already));
    assert!(undo(&RequestUndo, data(false)).unwrap_err().0.contains("nothing listens"));
    let outside = json!({"method": "POST", "url": format!("http://127.0.0.1:{port}/"), "allow": ["10.0.0.0/8"]});
    assert!(undo(&RequestUndo, outside).unwrap_err().0.contains("environment.allow"));
    assert!(undo(&RequestUndo, json!({"method": "POST", "url": "http://127.0.0.1/a b"})).is_err());
}
