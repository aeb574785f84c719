//! Certificates and TLS servers on threads.
#![allow(dead_code, reason = "not every test uses everything")]

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::server::{ServerConfig, ServerConnection, WebPkiClientVerifier};
use rustls::{RootCertStore, StreamOwned};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;

static AUTHORITIES: AtomicU32 = AtomicU32::new(0);

/// A certificate authority, its root in a file.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

/// A chain and its key.
pub struct Identity(pub Vec<CertificateDer<'static>>, pub PrivateKeyDer<'static>, pub KeyPair);

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // Two of them must not be mistaken for one another.
        let number = AUTHORITIES.fetch_add(1, Ordering::Relaxed);
        params.distinguished_name.push(rcgen::DnType::CommonName, format!("authority {number}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Authority { issuer, folder }
    }

    pub fn file(&self) -> String {
        self.folder.path().join("ca.pem").display().to_string()
    }

    pub fn issue(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Identity(vec![cert.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap(), key)
    }

    /// A client's certificate and key in files.
    pub fn client(&self) -> (String, String) {
        let Identity(chain, _, key) = self.issue("client", |_| {});
        let (cert, private) = (self.folder.path().join("client.pem"), self.folder.path().join("client.key"));
        std::fs::write(&cert, pem(&chain[0])).unwrap();
        std::fs::write(&private, key.serialize_pem()).unwrap();
        (cert.display().to_string(), private.display().to_string())
    }

    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        roots
    }

    /// A server's settings for `localhost`.
    pub fn server(&self) -> ServerConfig {
        settings(self.issue("localhost", |_| {}), None)
    }
}

fn pem(cert: &CertificateDer<'_>) -> String {
    use std::fmt::Write as _;
    let mut text = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in base64(cert).as_bytes().chunks(64) {
        writeln!(text, "{}", std::str::from_utf8(line).unwrap()).unwrap();
    }
    text + "-----END CERTIFICATE-----\n"
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let sextets = |chunk: &[u8]| {
        let word = chunk.iter().fold(0u32, |w, b| w << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        (0..4).map(move |n| ALPHABET[(word >> (18 - 6 * n) & 63) as usize] as char).take(chunk.len() + 1).collect::<String>()
    };
    let text: String = bytes.chunks(3).map(sextets).collect();
    let pad = (4 - text.len() % 4) % 4;
    text + &"=".repeat(pad)
}

pub fn settings(Identity(chain, key, _): Identity, clients: Option<RootCertStore>) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(roots) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    builder.with_single_cert(chain, key).unwrap()
}

/// Speaks TLS over every connection: `serve` gets the session.
pub fn serve(config: ServerConfig, serve: impl Fn(StreamOwned<ServerConnection, TcpStream>) + Send + Sync + Clone + 'static) -> SocketAddr {
    let config = Arc::new(config);
    super::server(move |_, stream| {
        let session = ServerConnection::new(Arc::clone(&config)).unwrap();
        serve(StreamOwned::new(session, stream));
    })
}

/// Gives everything back, then closes as TLS wants it.
pub fn echo(config: ServerConfig) -> SocketAddr {
    serve(config, |mut stream| {
        let mut buffer = vec![0; 64 << 10];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(n) if stream.write_all(&buffer[..n]).is_err() => break,
                Ok(_) => {}
            }
        }
        stream.conn.send_close_notify();
        // Whoever has gone does not read it.
        let _gone = stream.flush();
    })
}
