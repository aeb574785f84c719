//! TLS towards a self-signed server: refused unless its root is given or verification is off.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "test helpers are test code too")]

mod support;

use shakedown_core::plan::Tls;
use shakedown_core::snapshot::Failure;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use support::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn tls_server() -> (SocketAddr, String) {
    let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let pem = key.cert.pem();
    let private = rustls_pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], private)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut head = [0u8; 4096];
                    while stream.read(&mut head).await.is_ok_and(|n| n > 0) {
                        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.ok();
                    }
                });
            }
        });
    });
    (addr, pem)
}

#[test]
fn self_signed_servers_are_refused_unless_told_otherwise() {
    let (addr, pem) = tls_server();
    let url = format!("https://localhost:{}", addr.port());
    let outcome = |tls: Tls| {
        let mut p = plan(&url, vec![stream(hold(200, 50), get("p", "/"))]);
        p.environment.allow.push("::1".into());
        p.environment.targets.get_mut("shop").unwrap().tls = tls;
        run(wiring(p))
    };
    let refused = outcome(Tls::default());
    assert_eq!((refused.failed(Failure::Tls), refused.all().ok, refused.totals[&0].sent), (10, 0, 0));
    assert!(refused.samples[0].detail.to_lowercase().contains("certificate"), "{}", refused.samples[0].detail);
    assert_eq!(outcome(Tls { insecure: true, ..Tls::default() }).all().ok, 10);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(pem.as_bytes()).unwrap();
    let ca = Some(file.path().to_str().unwrap().to_owned());
    assert_eq!(outcome(Tls { ca, ..Tls::default() }).all().ok, 10);
}
