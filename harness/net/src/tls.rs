//! TLS settings of a target, built once and shared by all its connections on all threads: roots, client certificate,
//! ALPN, sessions to resume. Must not open sockets.

use crate::session::Session;
use crate::trouble;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, ClientConnection, Resumption};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use shakedown_core::Fail;
use shakedown_core::plan::{HttpVersion, Target, Tls};
use std::io;
use std::sync::Arc;

/// Server names whose sessions are kept.
const SESSIONS: usize = 256;

/// What is offered by ALPN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// Nothing.
    None,
    /// `http/1.1`; a server that does not answer is fine.
    Http1,
    /// `h2`, and the server must answer with it (RFC 9113 §3.2).
    Http2,
}

/// The TLS of a target.
#[derive(Clone, Debug)]
pub(crate) struct TlsClient {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    alpn: Alpn,
}

impl Alpn {
    /// What a target's scheme and version of HTTP ask for.
    #[must_use]
    pub fn of(target: &Target) -> Alpn {
        let scheme = target.at.split_once("://").map_or("http", |(scheme, _)| scheme);
        match (scheme, target.http) {
            ("tcp" | "tls" | "udp", _) => Alpn::None,
            ("grpc" | "grpcs", _) | ("http" | "https", HttpVersion::Two) => Alpn::Http2,
            _ => Alpn::Http1,
        }
    }

    fn offered(self) -> Vec<Vec<u8>> {
        match self {
            Alpn::None => Vec::new(),
            Alpn::Http1 => vec![b"http/1.1".to_vec()],
            Alpn::Http2 => vec![b"h2".to_vec()],
        }
    }
}

impl TlsClient {
    /// From a target's settings; `host` is verified unless they name another.
    ///
    /// # Errors
    /// Names the file that cannot be read or holds nothing of use, or the name that is none.
    pub(crate) fn new(tls: &Tls, host: &str, alpn: Alpn) -> Result<TlsClient, Fail> {
        let name = tls.server_name.as_deref().unwrap_or(host).to_owned();
        let name = ServerName::try_from(name.clone()).map_err(|e| Fail::new(format!("`{name}` cannot be a server name: {e}")))?;
        let mut config = config(tls)?;
        config.alpn_protocols = alpn.offered();
        config.resumption = if tls.full_handshakes { Resumption::disabled() } else { Resumption::in_memory_sessions(SESSIONS) };
        Ok(TlsClient { config: Arc::new(config), name, alpn })
    }

    /// A session that has not begun.
    pub(crate) fn session(&self) -> io::Result<Session> {
        let connection = ClientConnection::new(Arc::clone(&self.config), self.name.clone()).map_err(|e| trouble::tls(&e))?;
        Ok(Session::new(connection))
    }

    /// What is wrong with what the server chose by ALPN.
    pub(crate) fn refuse(&self, session: &Session) -> Option<&'static str> {
        let missing = self.alpn == Alpn::Http2 && session.alpn() != Some(b"h2");
        missing.then_some("the server does not speak HTTP/2: it did not choose h2 (ALPN)")
    }
}

fn config(tls: &Tls) -> Result<ClientConfig, Fail> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| Fail::new(format!("TLS: {e}")))?;
    let builder = if tls.insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider)))
    } else {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(file) = &tls.ca {
            for cert in certificates(file)? {
                roots.add(cert).map_err(|e| Fail::new(format!("{file}: {e}")))?;
            }
        }
        builder.with_root_certificates(roots)
    };
    match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => {
            let private = PrivateKeyDer::from_pem_file(key).map_err(|e| Fail::new(format!("{key}: {e}")))?;
            builder.with_client_auth_cert(certificates(cert)?, private).map_err(|e| Fail::new(format!("{cert}: {e}")))
        }
        (None, None) => Ok(builder.with_no_client_auth()),
        _ => Err(Fail::new("tls: `cert` and `key` belong together; give both or neither")),
    }
}

fn certificates(file: &str) -> Result<Vec<CertificateDer<'static>>, Fail> {
    let wrong = |e: rustls_pki_types::pem::Error| Fail::new(format!("{file}: {e}"));
    let all = CertificateDer::pem_file_iter(file).map_err(wrong)?.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    if all.is_empty() { Err(Fail::new(format!("{file}: holds no certificate"))) } else { Ok(all) }
}

/// Accepts every certificate, for `insecure: true`; signatures are still checked.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
