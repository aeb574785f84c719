//! Expectations and captures, compiled once. Must not send or record.

use crate::answer::Answer;
use http::HeaderName;
use serde_json::Value;
use serde_json_path::JsonPath;
use shakedown_core::Fail;
use shakedown_core::plan::{Capture, CaptureFrom, Exchange, Expect};
use shakedown_core::snapshot::Failure;

/// What an answer must be like.
#[derive(Debug, Default)]
pub struct Checks {
    status: Vec<(u16, u16)>,
    json: Vec<(String, JsonPath, Value)>,
    headers: Vec<(HeaderName, String)>,
    contains: Option<Vec<u8>>,
    text: String,
    messages: Option<(u32, u32)>,
    any_status: bool,
}

/// Where a captured value comes from.
#[derive(Debug)]
pub struct Taker {
    /// Slot of the value in the journey.
    pub slot: usize,
    name: String,
    from: Source,
}

#[derive(Debug)]
enum Source {
    Json(String, JsonPath),
    Header(HeaderName),
}

/// Compiles a JSONPath.
///
/// # Errors
/// Names the place and the path.
pub fn json_path(text: &str, place: &str) -> Result<JsonPath, Fail> {
    JsonPath::parse(text).map_err(|e| Fail::new(format!("{place}: `{text}` is no JSONPath: {e}")))
}

/// Compiles a header name.
///
/// # Errors
/// Names the place and the name.
pub fn header_name(text: &str, place: &str) -> Result<HeaderName, Fail> {
    HeaderName::try_from(text).map_err(|_| Fail::new(format!("{place}: `{text}` is no header name")))
}

impl Checks {
    /// Compiles expectations.
    ///
    /// # Errors
    /// Names the place and what cannot be compiled.
    pub fn compile(expect: &Expect, exchange: &Exchange, place: &str) -> Result<Checks, Fail> {
        let usual = match exchange {
            Exchange::Http => vec![(200, 399)],
            Exchange::Grpc => vec![(0, 0)],
            Exchange::WebSocket { .. } => vec![(101, 101)],
            Exchange::Tcp { .. } | Exchange::Udp => Vec::new(),
        };
        let status = if expect.status.is_empty() { usual } else { expect.status.clone() };
        let json = expect.json.iter().map(|(p, v)| Ok((p.clone(), json_path(p, place)?, v.clone()))).collect::<Result<_, Fail>>()?;
        let headers = expect.headers.iter().map(|(n, v)| Ok((header_name(n, place)?, v.clone()))).collect::<Result<_, Fail>>()?;
        let text = expect.body_contains.clone().unwrap_or_default();
        let (any_status, contains) = (status.is_empty(), expect.body_contains.as_ref().map(|t| t.clone().into_bytes()));
        Ok(Checks { status, json, headers, contains, text, messages: expect.messages, any_status })
    }

    /// Checks of the status alone.
    #[must_use]
    pub fn status(ranges: Vec<(u16, u16)>) -> Checks {
        Checks { status: ranges, ..Checks::default() }
    }

    /// Whether the whole body must be kept.
    #[must_use]
    pub fn needs_body(&self) -> bool {
        !self.json.is_empty() || self.contains.is_some()
    }

    /// Holds an answer against them.
    ///
    /// # Errors
    /// The kind of failure and which expectation was not met, in words.
    pub fn check(&self, answer: &Answer<'_>) -> Result<(), (Failure, String)> {
        let code = answer.status.unwrap_or(0);
        if !self.any_status && !self.status.iter().any(|(low, high)| (*low..=*high).contains(&code)) {
            return Err((Failure::Status, format!("status {code}; expected {}", ranges(&self.status))));
        }
        let unmet = |why: String| Err((Failure::Expectation, why));
        for (name, wanted) in &self.headers {
            if !answer.headers(name).any(|v| v == wanted.as_bytes()) {
                let found: Vec<_> = answer.headers(name).map(String::from_utf8_lossy).collect();
                return unmet(format!("header {name} is `{}`; expected `{wanted}`", found.join(", ")));
            }
        }
        if let Some((least, most)) = self.messages
            && !(least..=most).contains(&answer.messages)
        {
            return unmet(format!("{} messages came; expected {least} to {most}", answer.messages));
        }
        if let Some(needle) = &self.contains {
            let body = answer.text().map_err(|why| (Failure::Expectation, why.to_owned()))?;
            if !needle.is_empty() && !body.windows(needle.len()).any(|w| w == needle) {
                return unmet(format!("the body does not contain `{}`", self.text));
            }
        }
        for (path, compiled, wanted) in &self.json {
            let Some(body) = answer.json() else { return unmet("the body is no JSON".to_owned()) };
            let found = compiled.query(body).all();
            if found.is_empty() || !found.iter().all(|v| same(v, wanted)) {
                let shown = found.first().map_or("not there".to_owned(), ToString::to_string);
                return unmet(format!("{path} is {shown}; expected {wanted}"));
            }
        }
        Ok(())
    }
}

impl Taker {
    /// Compiles a capture into a slot.
    ///
    /// # Errors
    /// Names the place and what cannot be compiled.
    pub fn compile(capture: &Capture, slot: usize, place: &str) -> Result<Taker, Fail> {
        let from = match &capture.from {
            CaptureFrom::Json(path) => Source::Json(path.clone(), json_path(path, place)?),
            CaptureFrom::Header(name) => Source::Header(header_name(name, place)?),
        };
        Ok(Taker { slot, name: capture.name.clone(), from })
    }

    /// Whether the whole body must be kept.
    #[must_use]
    pub fn needs_body(&self) -> bool {
        matches!(self.from, Source::Json(..))
    }

    /// Takes the value: text as it is, other JSON as written.
    ///
    /// # Errors
    /// Says what is not in the answer.
    pub fn take(&self, answer: &Answer<'_>) -> Result<String, String> {
        match &self.from {
            Source::Json(path, compiled) => match answer.json().and_then(|body| compiled.query(body).first()) {
                Some(Value::String(text)) => Ok(text.clone()),
                Some(Value::Null) | None => Err(format!("capture `{}`: {path} is not in the answer", self.name)),
                Some(other) => Ok(other.to_string()),
            },
            Source::Header(name) => {
                let value = answer.header(name).and_then(|v| std::str::from_utf8(v).ok());
                value.map(str::to_owned).ok_or_else(|| format!("capture `{}`: the answer has no header {name}", self.name))
            }
        }
    }
}

/// Equal, with `1` and `1.0` being one number.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => x == y || x.as_f64() == y.as_f64(),
        _ => a == b,
    }
}

fn ranges(list: &[(u16, u16)]) -> String {
    let one = |(low, high): &(u16, u16)| if low == high { low.to_string() } else { format!("{low}-{high}") };
    list.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Head;
    use serde_json::json;

    fn answer(status: u16, body: &str) -> Answer<'_> {
        let head = Head::Raw(b"HTTP/1.1 200 OK\r\nX-Release: v2\r\n\r\n");
        Answer::new(Some(status), head, 0).with_body(body.as_bytes(), body.len() as u64)
    }

    fn kind(expect: &Expect, a: &Answer<'_>) -> Option<Failure> {
        Checks::compile(expect, &Exchange::Http, "x").unwrap().check(a).err().map(|e| e.0)
    }

    #[test]
    fn every_expectation_can_fail() {
        assert_eq!(kind(&Expect::default(), &answer(302, "")), None);
        assert_eq!(kind(&Expect::default(), &answer(404, "")), Some(Failure::Status));
        let json = Expect { json: vec![("$.state".into(), json!("open")), ("$.n".into(), json!(1.0))], ..Expect::default() };
        assert_eq!(kind(&json, &answer(200, r#"{"state":"open","n":1}"#)), None);
        assert_eq!(kind(&json, &answer(200, r#"{"state":"shut","n":1}"#)), Some(Failure::Expectation));
        assert_eq!(kind(&json, &answer(200, "no json")), Some(Failure::Expectation));
        let contains = Expect { body_contains: Some("needle".into()), ..Expect::default() };
        assert_eq!(kind(&contains, &answer(200, "a needle.")), None);
        assert_eq!(kind(&contains, &answer(200, "")), Some(Failure::Expectation));
        let header = Expect { headers: vec![("X-Release".into(), "v1".into())], ..Expect::default() };
        assert_eq!(kind(&header, &answer(200, "")), Some(Failure::Expectation));
        let messages = Expect { messages: Some((2, 3)), ..Expect::default() };
        let mut counted = answer(200, "");
        counted.messages = 2;
        assert_eq!(kind(&messages, &counted), None);
        counted.messages = 4;
        assert_eq!(kind(&messages, &counted), Some(Failure::Expectation));
    }

    #[test]
    fn the_usual_status_is_the_protocols() {
        let met = |exchange, status| {
            let mut answer = answer(0, "");
            answer.status = status;
            Checks::compile(&Expect::default(), &exchange, "x").unwrap().check(&answer).is_ok()
        };
        assert!(met(Exchange::Grpc, Some(0)) && !met(Exchange::Grpc, Some(14)));
        assert!(met(Exchange::Udp, None));
    }

    #[test]
    fn captures_take_text_numbers_and_headers() {
        let take = |from| Taker::compile(&Capture { name: "c".into(), from }, 0, "x").unwrap().take(&answer(200, r#"{"id":"a","n":7}"#));
        assert_eq!(take(CaptureFrom::Json("$.id".into())), Ok("a".into()));
        assert_eq!(take(CaptureFrom::Json("$.n".into())), Ok("7".into()));
        assert!(take(CaptureFrom::Json("$.gone".into())).is_err());
        assert_eq!(take(CaptureFrom::Header("x-release".into())), Ok("v2".into()));
        assert!(take(CaptureFrom::Header("x-gone".into())).is_err());
    }
}
