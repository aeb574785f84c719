//! Certificates nobody should trust, TLS where none is spoken and the other way round, names without an address.

use crate::common::{Scratch, alone};
use crate::run::{run, scenario};
use crate::server::{Manner, Rude};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::server::{ServerConfig, ServerConnection};
use rustls::{StreamOwned, pki_types::PrivateKeyDer};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

/// A server that gives proper answers over TLS with this certificate, and the certificate.
fn server(name: &str, change: impl FnOnce(&mut CertificateParams)) -> (SocketAddr, String) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    let cert = params.self_signed(&key).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let private = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = builder.with_no_client_auth().with_single_cert(vec![cert.der().clone()], private).expect("a pair");
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").expect("a port"));
    let addr = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let session = ServerConnection::new(Arc::clone(&config)).expect("a session");
            std::thread::spawn(move || {
                let (mut tls, mut space) = (StreamOwned::new(session, socket), [0; 4096]);
                while let Ok(1..) = tls.read(&mut space) {
                    if tls.write_all(crate::server::FINE.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (addr, cert.pem())
}

#[test]
fn certificates_and_ports_that_do_not_fit_count_as_tls() {
    let _alone = alone();
    let s = Scratch::new();
    let (good, good_pem) = server("localhost", |_| {});
    let (expired, expired_pem) = server("localhost", |p| {
        (p.not_before, p.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
    });
    let (future, future_pem) = server("localhost", |p| {
        (p.not_before, p.not_after) = (date_time_ymd(3001, 1, 1), date_time_ymd(3002, 1, 1));
    });
    let (other, other_pem) = server("elsewhere.test", |_| {});
    for (name, pem) in [("good", good_pem), ("expired", expired_pem), ("future", future_pem), ("other", other_pem)] {
        s.write(&format!("{name}.pem"), &pem);
    }
    // Speaks first, so that nobody waits for the other.
    let plain = Rude::always(Manner::Early);
    let at = |name: &str, port: u16, ca: &str| format!("{name}: {{url: \"https://localhost:{port}\", pin: 127.0.0.1{ca}}}");
    let targets = [
        at("good", good.port(), ", tls: {ca: good.pem}"),
        at("self-signed", good.port(), ""),
        at("expired", expired.port(), ", tls: {ca: expired.pem}"),
        at("future", future.port(), ", tls: {ca: future.pem}"),
        at("other", other.port(), ", tls: {ca: other.pem}"),
        at("insecure", expired.port(), ", tls: {insecure: true}"),
        at("tls-to-plain", plain.address.port(), ", tls: {ca: good.pem}"),
        format!("plain-to-tls: \"http://{good}\""),
        format!("h2-without: {{url: \"https://localhost:{}\", pin: 127.0.0.1, http: 2, tls: {{ca: good.pem}}}}", good.port()),
    ]
    .join(", ");
    let names = ["good", "self-signed", "expired", "future", "other", "insecure", "tls-to-plain", "plain-to-tls", "h2-without"];
    let streams: String = names
        .iter()
        .map(|n| format!("{n}: {{target: {n}, timeout: 2s, shape: [{{hold: 1s, rate: 10/s}}], requests: [{{get: /}}]}}\n"))
        .collect();
    let run = run(&s, &scenario(&targets, &streams, ""), Duration::from_secs(20), &[]);
    assert_ne!(run.code, 0, "{run:#?}");
    run.all_ok("good", 10);
    run.all_ok("insecure", 10);
    for name in ["self-signed", "expired", "future", "other", "tls-to-plain", "h2-without"] {
        run.all_failed(name, 10, &["tls"]);
    }
    run.all_failed("plain-to-tls", 10, &["protocol", "reset"]);
}

#[test]
fn a_name_without_an_address_is_said_before_anything_is_sent() {
    let _alone = alone();
    let s = Scratch::new();
    let streams = "s: {target: t, shape: [{hold: 1s, rate: 10/s}], requests: [{get: /}]}";
    for (target, hint) in [("http://no-such-name.invalid:80", "no-such-name.invalid"), ("http://127.0.0.1:1", "127.0.0.1:1")] {
        let run = run(&s, &scenario(&format!("t: \"{target}\""), streams, ""), Duration::from_secs(15), &[]);
        assert!(run.code == 3 && (run.err.contains(hint) || run.out.contains(hint)), "{target}: {run:#?}");
    }
}

#[test]
fn a_name_that_is_asked_for_again_and_again_stays_usable() {
    let _alone = alone();
    let (s, fine) = (Scratch::new(), Rude::by_path());
    let target = format!("t: {{url: \"http://localhost:{}\", resolve_every: 50ms}}", fine.address.port());
    let streams = "s: {target: t, timeout: 3s, shape: [{hold: 1s, rate: 50/s}], connections: {reuse: false}, requests: [{get: /}]}";
    let run = run(&s, &scenario(&target, streams, ""), Duration::from_secs(15), &[]);
    run.all_ok("s", 50);
}
