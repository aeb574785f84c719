//! What a target comes to: where, from where, through what, with which TLS, under which name. Built once, shared by all
//! threads. Must not send anything.

use crate::names::Names;
use crate::site::Site;
use crate::tls::{Alpn, TlsClient};
use http::Uri;
use shakedown_core::plan::{HttpVersion, Target};
use shakedown_core::seams::Endpoints;
use shakedown_core::{AllowList, Allowed, Fail};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How a target is spoken to, by the scheme of its URL; an endpoint of the run is `Http`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `http://`, or an endpoint by name.
    Http,
    /// `https://`
    Https,
    /// `ws://`
    Ws,
    /// `wss://`
    Wss,
    /// `grpc://`
    Grpc,
    /// `grpcs://`
    Grpcs,
    /// `tcp://`
    Tcp,
    /// `tls://`
    Tls,
    /// `udp://`
    Udp,
}

/// The way to a target. Cheap to clone; its addresses, TLS sessions and source addresses are shared by all clones.
#[derive(Clone, Debug)]
pub struct Route(pub(crate) Arc<Parts>);

#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) name: String,
    /// As written.
    pub(crate) at: String,
    pub(crate) scheme: Scheme,
    authority: String,
    base: String,
    url: String,
    pub(crate) absolute_form: bool,
    pub(crate) end: End,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) tls: Option<TlsClient>,
    sources: Vec<IpAddr>,
    turn: AtomicUsize,
}

/// The far end.
#[derive(Debug)]
pub(crate) enum End {
    Site(Site),
    Unix(PathBuf),
}

/// An HTTP proxy.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) site: Site,
    /// As written.
    pub(crate) at: String,
    /// What CONNECT asks for.
    pub(crate) wanted: String,
}

impl Scheme {
    fn of(text: Option<&str>) -> Option<Scheme> {
        Some(match text? {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "ws" => Scheme::Ws,
            "wss" => Scheme::Wss,
            "grpc" => Scheme::Grpc,
            "grpcs" => Scheme::Grpcs,
            "tcp" => Scheme::Tcp,
            "tls" => Scheme::Tls,
            "udp" => Scheme::Udp,
            _ => return None,
        })
    }

    /// With TLS.
    #[must_use]
    pub fn is_secure(self) -> bool {
        matches!(self, Scheme::Https | Scheme::Wss | Scheme::Grpcs | Scheme::Tls)
    }

    /// The port of a URL without one.
    fn port(self) -> Option<u16> {
        match self {
            Scheme::Tcp | Scheme::Tls | Scheme::Udp => None,
            secure if secure.is_secure() => Some(443),
            _ => Some(80),
        }
    }
}

/// A URL's parts.
struct Url {
    uri: Uri,
    scheme: Scheme,
    host: String,
    port: u16,
}

impl Url {
    fn parse(text: &str) -> Result<Url, String> {
        let uri: Uri = text.parse().map_err(|e| format!("is no URL: {e}"))?;
        let authority = uri.authority().ok_or("has no host")?;
        if authority.as_str().contains('@') {
            return Err("holds credentials; use `headers` with a secret instead".to_owned());
        }
        let scheme = Scheme::of(uri.scheme_str())
            .ok_or("must begin with http://, https://, ws://, wss://, grpc://, grpcs://, tcp://, tls:// or udp://")?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err("has no host".to_owned());
        }
        let port = authority.port_u16().or(scheme.port()).ok_or("has no port")?;
        Ok(Url { scheme, host, port, uri })
    }

    /// Where it is: an address is checked at once, a name whenever it is resolved.
    fn site(&self, pin: Option<IpAddr>, every: Option<Duration>, allow: &AllowList) -> Result<Site, String> {
        match pin.or_else(|| self.host.parse().ok()) {
            Some(ip) => allow.check(SocketAddr::new(ip, self.port)).map(Site::address).map_err(|e| e.0),
            None => Ok(Site::name(&self.host, self.port, allow, every, Names::system())),
        }
    }
}

impl Route {
    /// The way to a target; nothing is sent and no name resolved yet. TLS files are read here.
    ///
    /// # Errors
    /// Names the target, its address and what is wrong with it.
    pub fn new(target: &Target, alpn: Alpn, endpoints: &Endpoints, allow: &AllowList) -> Result<Route, Fail> {
        let parts = if target.at.contains("://") { from_url(target, alpn, allow) } else { from_endpoint(target, endpoints, allow) };
        let parts = parts.map_err(|why| Fail::new(format!("target `{}` at {}: {why}", target.name, target.at)))?;
        Ok(Route(Arc::new(parts)))
    }

    /// The plain way to one address.
    #[must_use]
    pub fn to(address: Allowed) -> Route {
        let text = address.addr().to_string();
        let end = End::Site(Site::address(address));
        let (scheme, base, url) = (Scheme::Http, String::new(), format!("http://{text}"));
        let (name, at, authority) = (text.clone(), text.clone(), text);
        let (absolute_form, proxy, tls, sources, turn) = (false, None, None, Vec::new(), AtomicUsize::new(0));
        Route(Arc::new(Parts { name, at, scheme, authority, base, url, absolute_form, end, proxy, tls, sources, turn }))
    }

    /// Name of the target.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// How it is spoken to.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.0.scheme
    }

    /// Value of the `Host` header and of `:authority`.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.0.authority
    }

    /// Base path without a trailing slash, often empty.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.0.base
    }

    /// Base URL without a trailing slash.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// Connections use TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.0.tls.is_some()
    }

    /// Requests go to a proxy that wants the whole URL as request target (RFC 9112 §3.2.2): [`Route::url`] plus the path.
    #[must_use]
    pub fn absolute_form(&self) -> bool {
        self.0.absolute_form
    }

    /// Lookups of its name that failed while older addresses stayed in use.
    #[must_use]
    pub fn failed_lookups(&self) -> u64 {
        let end = if let End::Site(site) = &self.0.end { site.failed_lookups() } else { 0 };
        end + self.0.proxy.as_ref().map_or(0, |p| p.site.failed_lookups())
    }

    /// The local address to connect to `address` from: its turn among those of its family. `Err` when there are some but
    /// none of its family.
    pub(crate) fn source(&self, address: SocketAddr) -> Result<Option<IpAddr>, ()> {
        let all = &self.0.sources;
        if all.is_empty() {
            return Ok(None);
        }
        let family = |ip: &&IpAddr| ip.is_ipv4() == address.is_ipv4();
        let count = all.iter().filter(family).count();
        if count == 0 {
            return Err(());
        }
        let turn = self.0.turn.fetch_add(1, Ordering::Relaxed) % count;
        Ok(all.iter().filter(family).nth(turn).copied())
    }
}

fn from_endpoint(target: &Target, endpoints: &Endpoints, allow: &AllowList) -> Result<Parts, String> {
    let addr = endpoints.get(&target.at).ok_or("there is no such endpoint; is its service up?")?;
    let reach = &target.reach;
    let end = match &reach.unix {
        Some(path) => End::Unix(path.into()),
        None => {
            allow.check(SocketAddr::new(reach.pin.unwrap_or(addr.ip()), addr.port())).map_err(|e| e.0)?;
            End::Site(Site::endpoint(&target.at, endpoints, allow, reach.pin))
        }
    };
    let url = Url { uri: Uri::default(), scheme: Scheme::Http, host: addr.ip().to_string(), port: addr.port() };
    let proxy = proxy(target, &url, allow)?;
    Ok(Parts {
        name: target.name.clone(),
        at: target.at.clone(),
        scheme: Scheme::Http,
        authority: addr.to_string(),
        base: String::new(),
        url: format!("http://{addr}"),
        absolute_form: absolute_form(target, &url),
        end,
        proxy,
        tls: None,
        sources: reach.sources.clone(),
        turn: AtomicUsize::new(0),
    })
}

fn from_url(target: &Target, alpn: Alpn, allow: &AllowList) -> Result<Parts, String> {
    let (url, reach) = (Url::parse(&target.at)?, &target.reach);
    let end = match &reach.unix {
        Some(path) => End::Unix(path.into()),
        None => End::Site(url.site(reach.pin, reach.resolve_every.map(|s| Duration::from_nanos(s.0)), allow)?),
    };
    let tls = url.scheme.is_secure().then(|| TlsClient::new(&target.tls, &url.host, alpn)).transpose().map_err(|e| e.0)?;
    let proxy = proxy(target, &url, allow)?;
    Ok(Parts {
        name: target.name.clone(),
        at: target.at.clone(),
        scheme: url.scheme,
        authority: url.uri.authority().map(|a| a.as_str().to_owned()).unwrap_or_default(),
        base: url.uri.path().trim_end_matches('/').to_owned(),
        url: target.at.trim_end_matches('/').to_owned(),
        absolute_form: absolute_form(target, &url),
        end,
        proxy,
        tls,
        sources: reach.sources.clone(),
        turn: AtomicUsize::new(0),
    })
}

/// Plain HTTP/1.1 is sent to the proxy itself; everything else goes through a tunnel.
fn absolute_form(target: &Target, url: &Url) -> bool {
    target.reach.proxy.is_some() && url.scheme == Scheme::Http && target.http == HttpVersion::One
}

fn proxy(target: &Target, url: &Url, allow: &AllowList) -> Result<Option<Proxy>, String> {
    let reach = &target.reach;
    let Some(at) = &reach.proxy else { return Ok(None) };
    if reach.unix.is_some() {
        return Err("`unix` and `proxy` exclude each other; leave one out".to_owned());
    }
    if url.scheme == Scheme::Udp {
        return Err("datagrams do not go through an HTTP proxy; leave `proxy` out".to_owned());
    }
    if absolute_form(target, url) && reach.pin.is_some() {
        return Err("the proxy resolves the name of a plain http target itself, so `pin` has no effect; leave it out".to_owned());
    }
    let wrong = |why: String| format!("proxy {at}: {why}");
    let via = Url::parse(at).map_err(wrong)?;
    if via.scheme != Scheme::Http {
        return Err(wrong("must begin with http://".to_owned()));
    }
    let host = reach.pin.map_or_else(|| url.host.clone(), |ip| ip.to_string());
    let wanted = if host.contains(':') { format!("[{host}]:{}", url.port) } else { format!("{host}:{}", url.port) };
    let site = via.site(None, reach.resolve_every.map(|s| Duration::from_nanos(s.0)), allow).map_err(wrong)?;
    Ok(Some(Proxy { site, at: at.clone(), wanted }))
}
