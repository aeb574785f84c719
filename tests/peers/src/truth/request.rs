//! Counts the requests in a connection's bytes, however they are cut. Only the length of a body is looked at.
//! Must not judge requests: the server is an instrument, not a web server.

/// Heads of requests with bodies longer than this are not looked at further.
const HEAD_MAX: usize = 64 * 1024;
/// `\r\n\r\n` as the last four bytes seen.
const END: u32 = u32::from_be_bytes(*b"\r\n\r\n");

/// Where one connection is in its requests.
#[derive(Debug, Default)]
pub struct Scanner {
    last: u32,
    /// First byte of the head being read; zero between requests.
    first: u8,
    /// Bytes of the body still to come.
    body: usize,
    /// The head so far, for methods that carry a body.
    head: Vec<u8>,
}

impl Scanner {
    /// Takes the next bytes; how many requests they complete.
    pub fn feed(&mut self, mut bytes: &[u8]) -> usize {
        let mut done = 0;
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.body > 0 {
                let taken = self.body.min(bytes.len());
                self.body -= taken;
                bytes = &bytes[taken..];
                done += usize::from(self.body == 0);
                continue;
            }
            bytes = rest;
            if self.first == 0 {
                (self.first, self.last) = (byte, 0);
                self.head.clear();
            }
            if self.first == b'P' && self.head.len() < HEAD_MAX {
                self.head.push(byte);
            }
            self.last = self.last << 8 | u32::from(byte);
            if self.last == END {
                self.body = if self.first == b'P' { content_length(&self.head) } else { 0 };
                self.first = 0;
                done += usize::from(self.body == 0);
            }
        }
        done
    }
}

/// The number after `content-length:`; zero when there is none.
fn content_length(head: &[u8]) -> usize {
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    let value = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    value.and_then(|v| v.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\nPOST /cart HTTP/1.1\r\nContent-Length: 6\r\n\r\n{\r\n\r\n}GET / HTTP/1.1\r\n\r\n";

    #[test]
    fn pipelined_requests_are_counted_at_every_cut() {
        for cut in 0..=TWO.len() {
            let mut scanner = Scanner::default();
            assert_eq!(scanner.feed(&TWO[..cut]) + scanner.feed(&TWO[cut..]), 3, "cut at {cut}");
        }
        let mut scanner = Scanner::default();
        assert_eq!(TWO.iter().map(|b| scanner.feed(&[*b])).sum::<usize>(), 3);
    }

    #[test]
    fn half_a_request_is_none() {
        assert_eq!(Scanner::default().feed(b"GET / HTTP/1.1\r\nhost: a\r\n"), 0);
        assert_eq!(Scanner::default().feed(b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\na"), 0);
    }
}
