//! A server of fixed answers: the first entry whose method and path match answers. Must not keep state.

use crate::pilot::{announce, end, stop_signal};
use crate::server::{Answer, bind, serve, text};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shakedown_core::Fail;
use std::collections::BTreeMap;
use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Longest delay of an answer.
const MAX_DELAY: Duration = Duration::from_secs(600);

/// The stub server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StubConfig {
    /// Service name; its endpoint is `<name>.http`.
    pub name: String,
    /// Where to listen; port 0 draws one.
    pub listen: SocketAddr,
    /// List of `{method?, path?, status?, headers?, body?, delay_ns?}`: without a method or path any matches, `*` in a
    /// path stands for any run of characters, the status is 200 when not given, a body that is no text is sent as JSON.
    /// What no entry matches is a 404.
    pub answers: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    status: Option<u16>,
    #[serde(default)]
    headers: Option<BTreeMap<String, String>>,
    #[serde(default)]
    body: Option<Value>,
    #[serde(default)]
    delay_ns: Option<u64>,
}

struct Fixed {
    method: Option<Method>,
    path: Option<String>,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    delay: Duration,
}

/// The stub server, bound but not yet serving.
pub struct Stub {
    listener: TcpListener,
    addr: SocketAddr,
    answers: Arc<Vec<Fixed>>,
}

/// Serves the stub until SIGTERM or SIGINT; announces `<name>.http` like [`crate::serve_shop`].
///
/// # Errors
/// Answers that are not as described, an address that cannot be bound, announcements that cannot be written.
pub async fn serve_stub(config: StubConfig, out: &mut impl Write) -> Result<(), Fail> {
    let stub = Stub::bind(&config).await?;
    let stop = stop_signal()?;
    announce(&config.name, &BTreeMap::from([("http", stub.addr)]), out)?;
    stub.serve(stop).await;
    Ok(())
}

impl Stub {
    /// Checks the answers and binds.
    ///
    /// # Errors
    /// As [`serve_stub`].
    pub async fn bind(config: &StubConfig) -> Result<Stub, Fail> {
        let Value::Array(entries) = &config.answers else {
            return Err(Fail::new(format!("the answers of {} are no list", config.name)));
        };
        let wrong = |index: usize, why: String| Fail::new(format!("answer {} of {} is wrong: {why}", index + 1, config.name));
        let answers = entries.iter().enumerate().map(|(k, entry)| fixed(entry).map_err(|why| wrong(k, why)));
        let answers = Arc::new(answers.collect::<Result<Vec<_>, _>>()?);
        let (listener, addr) = bind(&format!("{}.http", config.name), config.listen).await?;
        Ok(Stub { listener, addr, answers })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until `stop` is ready, then gives open requests 500 ms.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let (tell, told) = watch::channel(false);
        let answers = self.answers;
        let handle = move |request: Request<hyper::body::Incoming>| answer(answers.clone(), request);
        tokio::spawn(serve(self.listener, handle, told));
        stop.await;
        end(tell).await;
    }
}

async fn answer(answers: Arc<Vec<Fixed>>, request: Request<hyper::body::Incoming>) -> Answer {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    if let Err(answer) = crate::server::body_of(request.into_body()).await {
        return answer;
    }
    let fits = |fixed: &&Fixed| {
        fixed.method.as_ref().is_none_or(|wanted| *wanted == method) && fixed.path.as_ref().is_none_or(|glob| matches(glob, &path))
    };
    let Some(fixed) = answers.iter().find(fits) else {
        return text(StatusCode::NOT_FOUND, "no answer is given for this request\n");
    };
    if !fixed.delay.is_zero() {
        tokio::time::sleep(fixed.delay).await;
    }
    let mut answer = http::Response::new(Full::new(fixed.body.clone()));
    *answer.status_mut() = fixed.status;
    answer.headers_mut().clone_from(&fixed.headers);
    answer
}

fn fixed(entry: &Value) -> Result<Fixed, String> {
    let entry = Entry::deserialize(entry).map_err(|error| error.to_string())?;
    let method = entry.method.map(|name| Method::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is no method"))).transpose()?;
    let code = entry.status.unwrap_or(200);
    let status = StatusCode::from_u16(code).ok().filter(|_| (200..=599).contains(&code));
    let status = status.ok_or_else(|| format!("{code} is no final status; write 200 to 599"))?;
    let mut headers = HeaderMap::new();
    for (name, value) in entry.headers.unwrap_or_default() {
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is no header name"))?;
        if key == http::header::CONTENT_LENGTH || key == http::header::TRANSFER_ENCODING {
            return Err(format!("`{name}` follows from the body and cannot be given"));
        }
        headers.insert(key, HeaderValue::from_str(&value).map_err(|_| format!("`{value}` is no value for the header {name}"))?);
    }
    let body = match entry.body {
        None => Bytes::new(),
        Some(Value::String(text)) => text.into(),
        Some(value) => {
            headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
            value.to_string().into()
        }
    };
    let delay = Duration::from_nanos(entry.delay_ns.unwrap_or(0));
    if delay > MAX_DELAY {
        return Err(format!("a delay is at most {} s", MAX_DELAY.as_secs()));
    }
    Ok(Fixed { method, path: entry.path, status, headers, body, delay })
}

/// Does the path match the pattern, in which `*` stands for any run of characters? Quadratic at worst, no recursion.
fn matches(glob: &str, path: &str) -> bool {
    let parts: Vec<&str> = glob.split('*').collect();
    let (first, rest) = parts.split_first().expect("split gives at least one part");
    let Some((last, middle)) = rest.split_last() else {
        return glob == path;
    };
    let Some(mut left) = path.strip_prefix(first) else {
        return false;
    };
    for part in middle {
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (glob, path, want) in [
            ("/a", "/a", true),
            ("/a", "/ab", false),
            ("/a/*", "/a/b/c", true),
            ("/a/*", "/b/", false),
            ("*", "/x", true),
            ("/a*b*c", "/a1b2b3c", true),
            ("/a*b", "/ab", true),
            ("/ab*b", "/ab", false),
        ] {
            assert_eq!(matches(glob, path), want, "{glob} over {path}");
        }
    }

    #[test]
    fn wrong_answers_are_named() {
        for (entry, word) in [
            (serde_json::json!({"status": 99}), "99"),
            (serde_json::json!({"statuz": 200}), "statuz"),
            (serde_json::json!({"headers": {"a b": "c"}}), "a b"),
            (serde_json::json!({"delay_ns": 3_600_000_000_000_u64}), "delay"),
            (serde_json::json!("x"), "invalid type"),
        ] {
            let why = fixed(&entry).err().unwrap_or_default();
            assert!(why.contains(word), "{entry}: {why}");
        }
    }
}
