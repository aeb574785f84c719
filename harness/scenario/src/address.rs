//! Addresses in a scenario: schemes, URLs, `host:port`. Must not judge them against `allow`: that is `cx`.

use shakedown_core::plan::HttpVersion;
use std::net::IpAddr;

/// What a target speaks, as far as steps and settings have to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP requests.
    Http,
    /// WebSockets.
    WebSocket,
    /// gRPC calls.
    Grpc,
    /// Bytes over a connection.
    Tcp,
    /// Datagrams.
    Udp,
}

impl Speaks {
    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Speaks::Http => "HTTP",
            Speaks::WebSocket => "WebSocket",
            Speaks::Grpc => "gRPC",
            Speaks::Tcp => "TCP",
            Speaks::Udp => "UDP",
        }
    }

    /// The URLs of such a target.
    pub fn urls(self) -> &'static str {
        match self {
            Speaks::Http => "http:// or https://",
            Speaks::WebSocket => "ws:// or wss://",
            Speaks::Grpc => "grpc:// or grpcs://",
            Speaks::Tcp => "tcp:// or tls://",
            Speaks::Udp => "udp://",
        }
    }
}

/// What the rest of a scenario must know of a target.
#[derive(Clone, Debug)]
pub struct Known {
    /// What it speaks.
    pub speaks: Speaks,
    /// Over which version of HTTP.
    pub http: HttpVersion,
    /// What keeps setup and teardown from reaching it, for messages.
    pub hidden: Option<&'static str>,
}

/// A URL's scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheme {
    /// Before `://`.
    pub name: &'static str,
    /// What is spoken.
    pub speaks: Speaks,
    /// Over TLS.
    pub tls: bool,
    /// The port when none is written; 0 is none.
    port: u16,
}

const fn scheme(name: &'static str, speaks: Speaks, tls: bool, port: u16) -> Scheme {
    Scheme { name, speaks, tls, port }
}

/// All schemes load can use.
const SCHEMES: [Scheme; 9] = [
    scheme("http", Speaks::Http, false, 80),
    scheme("https", Speaks::Http, true, 443),
    scheme("ws", Speaks::WebSocket, false, 80),
    scheme("wss", Speaks::WebSocket, true, 443),
    scheme("grpc", Speaks::Grpc, false, 80),
    scheme("grpcs", Speaks::Grpc, true, 443),
    scheme("tcp", Speaks::Tcp, false, 0),
    scheme("tls", Speaks::Tcp, true, 0),
    scheme("udp", Speaks::Udp, false, 0),
];

/// A URL taken apart.
#[derive(Clone, Copy, Debug)]
pub struct Url<'a> {
    /// Scheme.
    pub scheme: Scheme,
    /// Host, with brackets when IPv6.
    pub host: &'a str,
    /// Port, the scheme's own when not given.
    pub port: u16,
}

impl Url<'_> {
    /// The host when it is an address and no name.
    pub fn literal(&self) -> Option<IpAddr> {
        self.host.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }
}

/// Reads `http://host:port/base`; no user, no query.
///
/// # Errors
/// What is wrong and, after `; `, what to write.
pub fn url(text: &str) -> Result<Url<'_>, String> {
    let url = any(text, "http:// or https://")?;
    if url.scheme.speaks != Speaks::Http {
        return Err(format!("the scheme `{}` has no meaning here; write http:// or https://", url.scheme.name));
    }
    Ok(url)
}

/// Reads a target's URL, of any scheme load can use.
///
/// # Errors
/// What is wrong and, after `; `, what to write.
pub fn target(text: &str) -> Result<Url<'_>, String> {
    let url = any(text, "http, https, ws, wss, grpc, grpcs, tcp, tls or udp")?;
    let base = text.splitn(4, '/').nth(3).unwrap_or_default();
    if !base.is_empty() && !matches!(url.scheme.speaks, Speaks::Http | Speaks::WebSocket) {
        let end = text.len() - base.len() - 1;
        return Err(format!("an address of {} has no path; write {}", url.scheme.speaks.name(), &text[..end]));
    }
    Ok(url)
}

fn any<'a>(text: &'a str, schemes: &str) -> Result<Url<'a>, String> {
    let (name, rest) = text.split_once("://").ok_or_else(|| format!("`{text}` is not a URL; write http://127.0.0.1:8080"))?;
    let found = SCHEMES.into_iter().find(|s| s.name == name);
    let scheme = found.ok_or_else(|| format!("the scheme `{name}` is not one load can use; write {schemes}"))?;
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        return Err("a URL must not hold a user or password; use a header with ${secret:NAME}".into());
    }
    if rest.contains(['?', '#']) || rest.contains(char::is_whitespace) {
        return Err(format!("`{text}` is not a base URL; leave out query and fragment"));
    }
    let (host, port) = host_port(authority, scheme.port)?;
    Ok(Url { scheme, host, port })
}

/// Reads `host:port` or, with a default port, `host`.
///
/// # Errors
/// What is wrong and what to write.
pub fn host_port(text: &str, default: u16) -> Result<(&str, u16), String> {
    let wrong = || format!("`{text}` is not an address; write host:port");
    let bracket = text.starts_with('[');
    let split =
        if bracket { text.find(']').map(|i| text.split_at(i + 1)) } else { Some(text.split_at(text.find(':').unwrap_or(text.len()))) };
    let (host, rest) = split.ok_or_else(wrong)?;
    let port = match rest.strip_prefix(':') {
        Some(port) => port.parse().map_err(|_| wrong())?,
        None if rest.is_empty() && default != 0 => default,
        None => return Err(wrong()),
    };
    if !is_host(host) {
        return Err(wrong());
    }
    Ok((host, port))
}

/// Whether it is a name or address, an IPv6 address in brackets.
pub fn is_host(host: &str) -> bool {
    match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|ip| ip.parse::<IpAddr>().is_ok()),
        None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-' || c == '_'),
    }
}
