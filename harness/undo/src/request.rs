//! Undo by an HTTP request: teardown steps. Plain HTTP/1.1, one request, one connection, bounded.

use crate::secret;
use serde::Deserialize;
use shakedown_core::seams::{Boxed, Undo, UndoRecord, UndoState};
use shakedown_core::{AllowList, Fail};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};

/// Longest request, from connecting to the status line.
const WITHIN: Duration = Duration::from_secs(10);

/// Kind `request`: data `{method, url, headers: [[name, value]], body, expect: [[low, high]], allow: [block]}`. `expect`
/// defaults to 200–399; with `allow` the address must be in one of the blocks. Texts may hold `${secret:NAME}`.
#[derive(Debug)]
pub struct RequestUndo;

#[derive(Deserialize)]
struct Data {
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    expect: Vec<(u16, u16)>,
    #[serde(default)]
    allow: Vec<String>,
    #[serde(default)]
    of_run: bool,
}

impl Undo for RequestUndo {
    fn kind(&self) -> &'static str {
        "request"
    }

    fn undo<'a>(&'a self, record: &'a UndoRecord) -> Boxed<'a, Result<UndoState, Fail>> {
        Box::pin(async move {
            let data: Data = serde_json::from_value(record.data.clone()).map_err(|e| Fail::new(format!("its record is wrong: {e}")))?;
            let values = data.headers.iter().map(|(_, v)| v.as_str());
            let secrets = secret::of(values.chain([data.url.as_str(), data.body.as_str()]))?;
            let text = |t: &str| secrets.resolve(t);
            let sent = send(&data, text);
            let status = match tokio::time::timeout(WITHIN, sent).await {
                Ok(Ok(None)) if data.of_run => return Ok(UndoState::Already),
                Ok(Ok(None)) => return Err(Fail::new(format!("{} {}: nothing listens there", data.method, data.url))),
                Ok(Ok(Some(status))) => status,
                Ok(Err(why)) => return Err(Fail::new(secrets.redact(&why.0))),
                Err(_) => return Err(Fail::new(format!("{} {} did not answer within {WITHIN:?}", data.method, data.url))),
            };
            let wanted: &[(u16, u16)] = if data.expect.is_empty() { &[(200, 399)] } else { &data.expect };
            if wanted.iter().any(|(low, high)| (*low..=*high).contains(&status)) {
                return Ok(UndoState::Undone);
            }
            Err(Fail::new(format!("{} {} answered {status}", data.method, data.url)))
        })
    }
}

/// The status; `None` when the connection is refused.
async fn send(data: &Data, text: impl Fn(&str) -> String) -> Result<Option<u16>, Fail> {
    let url = text(&data.url);
    let fail = |why: &dyn std::fmt::Display| Fail::new(format!("{} {url}: {why}", data.method));
    let rest = url.strip_prefix("http://").ok_or_else(|| fail(&"only http:// URLs can be undone by request"))?;
    let (host, path) = rest.find(['/', '?']).map_or((rest, "/"), |at| rest.split_at(at));
    let path = if path.starts_with('?') { format!("/{path}") } else { path.to_owned() };
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let authority = if has_port { host.to_owned() } else { format!("{host}:80") };
    let addr = lookup_host(&authority).await.map_err(|e| fail(&e))?.next().ok_or_else(|| fail(&"the name has no address"))?;
    if !data.allow.is_empty() {
        AllowList::parse(&data.allow).map_err(Fail)?.check(addr)?;
    }
    let body = text(&data.body);
    let mut head = format!("{} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n", data.method, body.len());
    for (name, value) in &data.headers {
        if !["host", "connection", "content-length", "transfer-encoding"].contains(&name.to_ascii_lowercase().as_str()) {
            head.push_str(&format!("{name}: {}\r\n", text(value)));
        }
    }
    if head.split("\r\n").any(|line| line.contains(['\r', '\n'])) || path.contains(' ') {
        return Err(fail(&"its URL or a header holds a line end or a space"));
    }
    let mut stream = match TcpStream::connect(addr).await {
        Err(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => return Ok(None),
        stream => stream.map_err(|e| fail(&e))?,
    };
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).await.map_err(|e| fail(&e))?;
    status(&mut stream).await.map(Some).map_err(|e| fail(&e))
}

/// The first status that is not 1xx; interim answers have no body, so the next status line follows an empty line.
async fn status(stream: &mut TcpStream) -> std::io::Result<u16> {
    const LONGEST_HEAD: usize = 64 * 1024;
    let mut head = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&head).into_owned();
        let mut rest = text.as_str();
        while let Some((first, after)) = rest.split_once("\r\n\r\n") {
            let code = first.get(9..12).filter(|_| first.starts_with("HTTP/1.")).and_then(|c| c.parse::<u16>().ok());
            match code {
                Some(code) if code >= 200 => return Ok(code),
                Some(_) => rest = after,
                None => return Err(std::io::Error::other("the answer is not HTTP/1")),
            }
        }
        let n = stream.read(&mut chunk).await?;
        if n == 0 || head.len() > LONGEST_HEAD {
            return Err(std::io::Error::other("the connection ended before an answer"));
        }
        head.extend_from_slice(&chunk[..n]);
    }
}
