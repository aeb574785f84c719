//! Collects an answer within bounds; what came of one that breaks or is given up stays in its [`Progress`]. Must not know
//! a protocol.

use crate::face::{Broken, Progress, Reply};
use http::HeaderMap;
use shakedown_core::snapshot::Failure;
use std::rc::Rc;

/// Most bytes kept of one answer.
pub const MAX_BODY: u64 = 16 << 20;
/// Bytes kept of an answer nobody looks into.
pub const FIRST_BYTES: usize = 1024;

/// An answer that is coming in.
pub(crate) struct Answer {
    progress: Rc<Progress>,
    /// Gone once it is complete.
    reply: Option<Reply>,
    keep: bool,
}

impl Answer {
    pub(crate) fn new(progress: Rc<Progress>, keep: bool) -> Answer {
        Answer { progress, reply: Some(Reply::default()), keep }
    }

    /// The reply so far.
    pub(crate) fn reply(&mut self) -> &mut Reply {
        self.reply.as_mut().expect("taken only by `complete`, which consumes it")
    }

    pub(crate) fn keeps(&self) -> bool {
        self.keep
    }

    /// Status and headers came.
    pub(crate) fn head(&mut self, status: u16, headers: HeaderMap) {
        self.progress.receives();
        let reply = self.reply();
        reply.status = Some(status);
        reply.head = ":status".len() as u64 + 3 + bytes_of(&headers);
        reply.headers = headers;
    }

    /// Trailers came: they join the headers.
    pub(crate) fn trailers(&mut self, trailers: HeaderMap) {
        let reply = self.reply();
        reply.head += bytes_of(&trailers);
        reply.headers.extend(trailers);
    }

    /// Bytes of the body came.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        self.counted(bytes.len())?;
        self.text(bytes);
        Ok(())
    }

    /// Counts bytes of the body without keeping them.
    pub(crate) fn counted(&mut self, bytes: usize) -> Result<(), Broken> {
        self.progress.receives();
        let keep = self.keep;
        let reply = self.reply();
        reply.length += bytes as u64;
        if keep && reply.length > MAX_BODY {
            return Err((Failure::Protocol, format!("the answer is larger than {MAX_BODY} bytes")));
        }
        Ok(())
    }

    /// Keeps bytes without counting them, as far as they fit.
    pub(crate) fn text(&mut self, bytes: &[u8]) {
        let most = if self.keep { usize::try_from(MAX_BODY).unwrap_or(usize::MAX) } else { FIRST_BYTES };
        let reply = self.reply();
        let room = most.saturating_sub(reply.body.len()).min(bytes.len());
        reply.body.extend_from_slice(&bytes[..room]);
    }

    /// It is whole.
    pub(crate) fn complete(mut self) -> Reply {
        self.reply.take().expect("taken only here")
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(reply) = self.reply.take() {
            *self.progress.partial.borrow_mut() = Some(reply);
        }
    }
}

fn bytes_of(headers: &HeaderMap) -> u64 {
    headers.iter().map(|(name, value)| (name.as_str().len() + value.len()) as u64).sum()
}
