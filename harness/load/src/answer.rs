//! An answer as the checks see it. Plain data with a lazily parsed body; must not judge.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use std::cell::OnceCell;

/// A complete (or cut) answer.
#[derive(Debug)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// The body: whole when it was asked for, else its first bytes.
    pub body: Vec<Bytes>,
    /// Bytes of the body.
    pub length: u64,
    json: OnceCell<Option<Value>>,
}

impl Answer {
    /// A head; the body is added as it comes.
    #[must_use]
    pub fn new(status: StatusCode, headers: HeaderMap) -> Answer {
        Answer { status, headers, body: Vec::new(), length: 0, json: OnceCell::new() }
    }

    /// The body as JSON; `None` when it is none.
    pub fn json(&self) -> Option<&Value> {
        self.json.get_or_init(|| serde_json::from_slice(&self.bytes()).ok()).as_ref()
    }

    /// The kept bytes of the body in one piece.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        match self.body.as_slice() {
            [] => Bytes::new(),
            [one] => one.clone(),
            many => many.concat().into(),
        }
    }

    /// Size of the head in bytes as HTTP/1.1 writes it.
    #[must_use]
    pub fn head_size(&self) -> u64 {
        let reason = self.status.canonical_reason().unwrap_or("").len();
        let headers: usize = self.headers.iter().map(|(n, v)| n.as_str().len() + v.len() + 4).sum();
        (13 + reason + 2 + headers + 2) as u64
    }
}
