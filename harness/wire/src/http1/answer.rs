//! Following one HTTP/1.1 answer over the bytes as they lie in a read buffer: the load generator's hot path. Keeps
//! nothing but its state; must not copy or own bytes.

use super::chunked::{Chunked, Run};
use super::scan::{Facts, HeadScan};
use super::seen::SeenHead;
use super::{Framing, HttpError};

/// Most interim answers (100, 102 to 199) before an answer.
pub const MAX_INTERIM: u8 = 32;

/// Follows one answer over a connection. Fed the bytes that have come, it says which of them are what.
#[derive(Clone, Copy, Debug)]
pub struct AnswerScan {
    state: State,
    to_head: bool,
    interim: u8,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Head(HeadScan),
    /// So many bytes of content are to come.
    Length(u64),
    Chunked(Chunked),
    Close,
    End,
}

impl State {
    /// After a head: the body.
    #[inline]
    fn after(framing: Framing) -> State {
        match framing {
            Framing::None => State::End,
            Framing::Length(left) => State::Length(left),
            Framing::Chunked => State::Chunked(Chunked::new()),
            Framing::Close => State::Close,
        }
    }
}

/// What the bytes given to [`AnswerScan::advance`] begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// More bytes are needed. The first `consumed` are done with; none of them while in a head, which is to be given
    /// again from its first byte on.
    More {
        /// Bytes that need not be given again.
        consumed: usize,
    },
    /// An interim answer (100 Continue, 103 Early Hints): the first [`HeadInfo::length`] bytes. The answer itself is
    /// still to come.
    Interim(HeadInfo),
    /// The answer's head: the first [`HeadInfo::length`] bytes.
    Head(HeadInfo),
    /// Content at `from..to`; what is before it is framing. The first `to` bytes are done with.
    Body {
        /// Where the content begins.
        from: usize,
        /// Where it ends.
        to: usize,
    },
    /// The answer ended with the first `consumed` bytes; what follows belongs to the next one.
    Done {
        /// The last bytes of this answer.
        consumed: usize,
    },
}

/// What is known of an answer once its head is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadInfo {
    /// Bytes of the head, its empty line and any empty lines before it included.
    pub length: usize,
    /// The status: 100 to 999.
    pub status: u16,
    /// HTTP/1.`minor`.
    pub minor: u8,
    /// Another request may follow on this connection once the answer is complete.
    pub keep_alive: bool,
    /// How the body ends. A `Content-Length` of 0 is [`Framing::None`].
    pub framing: Framing,
}

impl HeadInfo {
    /// How long the whole answer is when it lies in the first `available` bytes and has no chunks: then the scan is
    /// finished with, and the content is `length..whole`.
    #[inline]
    #[must_use]
    pub fn whole(&self, available: usize) -> Option<usize> {
        let left = available.checked_sub(self.length)?;
        match self.framing {
            Framing::None => Some(self.length),
            Framing::Length(body) if body <= left as u64 => Some(self.length + body as usize),
            Framing::Length(_) | Framing::Chunked | Framing::Close => None,
        }
    }
}

impl AnswerScan {
    /// For the next answer of a connection. `to_head`: the request is HEAD, so that no body follows whatever the head
    /// says.
    #[inline]
    #[must_use]
    pub fn new(to_head: bool) -> AnswerScan {
        AnswerScan { state: State::Head(HeadScan::default()), to_head, interim: 0 }
    }

    /// What `bytes` begin with. They begin where the last step ended: after the `length` of a head, the `to` of
    /// content, the `consumed` of [`Step::More`]. A head is given whole, from its first byte on, each time. After
    /// [`Step::Done`] nothing more comes.
    ///
    /// # Errors
    /// When no further byte can make an answer of it; the connection is of no further use.
    #[inline]
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Step, HttpError> {
        match self.state {
            State::Head(mut head) => match head.advance(bytes)? {
                Some(length) => self.enter(head.facts(), length),
                None => {
                    self.state = State::Head(head);
                    Ok(Step::More { consumed: 0 })
                }
            },
            _ => self.body(bytes),
        }
    }

    /// As [`AnswerScan::advance`], by way of the head that came last: servers repeat theirs byte for byte, and comparing
    /// is cheaper than reading.
    ///
    /// # Errors
    /// As [`AnswerScan::advance`].
    #[inline]
    pub fn advance_seen(&mut self, bytes: &[u8], seen: &mut SeenHead) -> Result<Step, HttpError> {
        if !matches!(self.state, State::Head(head) if head.fresh()) {
            return self.advance(bytes);
        }
        if let Some(info) = seen.find(bytes, self.to_head) {
            self.state = State::after(info.framing);
            return Ok(Step::Head(info));
        }
        let step = self.advance(bytes)?;
        if let Step::Head(info) = step {
            seen.note(bytes, info, self.to_head);
        }
        Ok(step)
    }

    /// The peer closed. Fine at the end of an answer, which for some is only known by this.
    ///
    /// # Errors
    /// [`HttpError::Truncated`] when more was to come.
    pub fn end(&mut self) -> Result<(), HttpError> {
        match self.state {
            State::Close | State::End => {
                self.state = State::End;
                Ok(())
            }
            State::Head(_) | State::Length(_) | State::Chunked(_) => Err(HttpError::Truncated),
        }
    }

    /// The head is not complete yet.
    #[must_use]
    pub fn in_head(&self) -> bool {
        matches!(self.state, State::Head(_))
    }

    /// A head is complete: says so, and how the body will be found.
    #[inline]
    fn enter(&mut self, facts: Facts, length: usize) -> Result<Step, HttpError> {
        let framing = facts.framing(self.to_head)?;
        let info = HeadInfo { length, status: facts.status, minor: facts.minor, keep_alive: facts.keep_alive(framing), framing };
        if info.status < 200 && info.status != 101 {
            return self.interim(info);
        }
        self.state = State::after(framing);
        Ok(Step::Head(info))
    }

    #[cold]
    fn interim(&mut self, info: HeadInfo) -> Result<Step, HttpError> {
        if info.status < 100 {
            return Err(HttpError::BadHead("the status is below 100"));
        }
        if self.interim == MAX_INTERIM {
            return Err(HttpError::BadHead("more than 32 interim answers came before the answer"));
        }
        self.interim += 1;
        self.state = State::Head(HeadScan::default());
        Ok(Step::Interim(info))
    }

    fn body(&mut self, bytes: &[u8]) -> Result<Step, HttpError> {
        match &mut self.state {
            State::End => Ok(Step::Done { consumed: 0 }),
            _ if bytes.is_empty() => Ok(Step::More { consumed: 0 }),
            State::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= taken as u64;
                if *left == 0 {
                    self.state = State::End;
                }
                Ok(Step::Body { from: 0, to: taken })
            }
            State::Chunked(chunked) => {
                let mut at = 0;
                while at < bytes.len() {
                    match chunked.advance(&bytes[at..])? {
                        Run::Data(n) => return Ok(Step::Body { from: at, to: at + n }),
                        Run::Frame(n) => at += n,
                    }
                    if chunked.done() {
                        self.state = State::End;
                        return Ok(Step::Done { consumed: at });
                    }
                }
                Ok(Step::More { consumed: at })
            }
            State::Close => Ok(Step::Body { from: 0, to: bytes.len() }),
            // `advance` sees to heads.
            State::Head(_) => Ok(Step::More { consumed: 0 }),
        }
    }
}
