//! Where requests go: an endpoint of the run or a URL, resolved once, every address through the allow check.
//! Must not send requests.

use crate::render::{Scope, Text};
use crate::{compile, tls};
use http::{HeaderName, HeaderValue, Uri};
use rustls_pki_types::ServerName;
use shakedown_core::plan::Target;
use shakedown_core::seams::Endpoints;
use shakedown_core::{AllowList, Allowed, Fail, Secrets};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long a target may take to be resolved and to accept the first connection.
const CHECK_WITHIN: Duration = Duration::from_secs(5);

/// A resolved target.
pub struct Dest {
    /// `Host` header.
    pub host: HeaderValue,
    /// Base path without a trailing slash, often empty.
    pub base: String,
    /// Base URL without a trailing slash.
    pub url: String,
    /// TLS and the name the server must prove.
    pub tls: Option<(TlsConnector, ServerName<'static>)>,
    /// Headers on every request.
    pub headers: Vec<(HeaderName, Text)>,
    place: Place,
}

enum Place {
    Endpoint(String, Endpoints, AllowList),
    Address(Allowed),
}

impl Dest {
    /// Resolves a target (every address of a host name must be allowed) and makes one TCP connection to see that it is
    /// there.
    ///
    /// # Errors
    /// Names the target, its address and what is wrong with it.
    pub async fn resolve(target: &Target, endpoints: &Endpoints, allow: &AllowList, secrets: &Secrets) -> Result<Dest, Fail> {
        let at = |why: String| Fail::new(format!("target `{}` at {}: {why}", target.name, target.at));
        let place = format!("target `{}`", target.name);
        let scope = Scope { feeds: &[], captures: &[], secrets, place: &place };
        let headers = target.headers.iter().map(|(n, v)| compile::header(n, v, &scope)).collect::<Result<_, Fail>>()?;
        let value = |host: &str| HeaderValue::try_from(host).map_err(|_| at("its host is no header value".to_owned()));
        if !target.at.contains("://") {
            let addr = endpoints.get(&target.at).ok_or_else(|| at("there is no such endpoint; is its service up?".to_owned()))?;
            reachable(&[allow.check(addr).map_err(|e| at(e.0))?]).await.map_err(&at)?;
            let place = Place::Endpoint(target.at.clone(), endpoints.clone(), allow.clone());
            let (host, url) = (value(&addr.to_string())?, format!("http://{addr}"));
            return Ok(Dest { host, base: String::new(), url, tls: None, headers, place });
        }
        let uri: Uri = target.at.parse().map_err(|e| at(format!("is no URL: {e}")))?;
        let authority = uri.authority().ok_or_else(|| at("has no host".to_owned()))?;
        if authority.as_str().contains('@') {
            return Err(at("holds credentials; use `headers` with a secret instead".to_owned()));
        }
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(at("must begin with http:// or https://".to_owned())),
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let addresses = lookup(&host, port).await.map_err(&at)?;
        let allowed = addresses.into_iter().map(|a| allow.check(a)).collect::<Result<Vec<_>, Fail>>().map_err(|e| at(e.0))?;
        let tls = if secure {
            let name = ServerName::try_from(host).map_err(|e| at(e.to_string()))?;
            Some((tls::connector(&target.tls).map_err(|e| at(e.0))?, name))
        } else {
            None
        };
        let address = reachable(&allowed).await.map_err(&at)?;
        let base = uri.path().trim_end_matches('/').to_owned();
        let url = target.at.trim_end_matches('/').to_owned();
        Ok(Dest { host: value(authority.as_str())?, base, url, tls, headers, place: Place::Address(address) })
    }

    /// Where to connect to now: an endpoint may have moved, and is checked again.
    ///
    /// # Errors
    /// When the endpoint is gone or not allowed.
    pub fn address(&self) -> Result<Allowed, Fail> {
        match &self.place {
            Place::Address(address) => Ok(*address),
            Place::Endpoint(name, endpoints, allow) => {
                let addr = endpoints.get(name).ok_or_else(|| Fail::new(format!("endpoint {name} is gone")))?;
                allow.check(addr)
            }
        }
    }
}

async fn lookup(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let found = tokio::time::timeout(CHECK_WITHIN, tokio::net::lookup_host((host, port))).await;
    let found: Vec<_> =
        found.map_err(|_| format!("{host} was not resolved within {CHECK_WITHIN:?}"))?.map_err(|e| e.to_string())?.collect();
    if found.is_empty() { Err(format!("{host} has no address")) } else { Ok(found) }
}

/// The first address that accepts a connection.
async fn reachable(addresses: &[Allowed]) -> Result<Allowed, String> {
    let mut why = String::new();
    for address in addresses {
        match tokio::time::timeout(CHECK_WITHIN, TcpStream::connect(address.addr())).await {
            Ok(Ok(_)) => return Ok(*address),
            Ok(Err(e)) => why = format!("{}: {e}", address.addr()),
            Err(_) => why = format!("{}: no answer within {CHECK_WITHIN:?}", address.addr()),
        }
    }
    Err(format!("cannot be reached: {why}"))
}
