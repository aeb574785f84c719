//! Length-prefixed messages of gRPC: one byte of flags, four of length. Must not know what is in them.

use crate::answer::MAX_BODY;
use crate::face::Broken;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::HeaderMap;
use shakedown_core::snapshot::Failure;

/// Bytes before each message.
const PREFIX: usize = 5;

/// Takes messages out of a body.
#[derive(Default)]
pub(crate) struct Frames(BytesMut);

/// A message as it is sent.
pub(crate) fn frame(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(PREFIX + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).expect("bounded where it is encoded"));
    framed.put_slice(message);
    framed.freeze()
}

impl Frames {
    /// Adds bytes of the body.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Nothing is left over.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next whole message; `headers` say how it would be compressed, which was not allowed.
    pub(crate) fn next(&mut self, headers: &HeaderMap) -> Result<Option<Bytes>, Broken> {
        let Some(mut prefix) = self.0.get(..PREFIX) else { return Ok(None) };
        let (flags, length) = (prefix.get_u8(), prefix.get_u32());
        match flags {
            0 => {}
            1 => {
                let with = headers.get("grpc-encoding").map_or("something", |v| v.to_str().unwrap_or("something"));
                let why = format!("a message is compressed with {with}, though only `identity` was accepted");
                return Err((Failure::Protocol, why));
            }
            flags => return Err((Failure::Protocol, format!("a message begins with {flags:#04x}, which is no gRPC"))),
        }
        if u64::from(length) > MAX_BODY {
            return Err((Failure::Protocol, format!("a message of {length} bytes is larger than {MAX_BODY}")));
        }
        let length = length as usize;
        if self.0.len() < PREFIX + length {
            return Ok(None);
        }
        self.0.advance(PREFIX);
        Ok(Some(self.0.split_to(length).freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_whole_however_they_are_cut() {
        let all = [frame(b"one"), frame(b""), frame(&[7; 300])].concat();
        for piece in 1..20 {
            let (mut frames, mut got) = (Frames::default(), Vec::new());
            for bytes in all.chunks(piece) {
                frames.push(bytes);
                while let Some(message) = frames.next(&HeaderMap::new()).unwrap() {
                    got.push(message);
                }
            }
            assert_eq!(got, [Bytes::from_static(b"one"), Bytes::new(), Bytes::from(vec![7; 300])]);
            assert!(frames.is_empty());
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for (bytes, why) in [(&b"HTTP/1.1 200"[..], "no gRPC"), (&[1, 0, 0, 0, 0], "compressed"), (&[0, 255, 0, 0, 0], "larger")] {
            let mut frames = Frames::default();
            frames.push(bytes);
            let (kind, said) = frames.next(&HeaderMap::new()).unwrap_err();
            assert_eq!(kind, Failure::Protocol);
            assert!(said.contains(why), "{said}");
        }
    }
}
