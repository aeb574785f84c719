//! A small cookie jar for one target: names and values. Domain and path attributes are not looked at, since a stream
//! talks to one target only.

use crate::answer::Answer;
use http::header::SET_COOKIE;

/// Most cookies of one jar; more are not taken.
pub const MAX_COOKIES: usize = 64;
/// Longest cookie taken, bytes.
pub const MAX_LENGTH: usize = 4096;

/// Cookies kept for one journey or user.
#[derive(Clone, Debug, Default)]
pub struct Jar(Vec<(String, String)>);

impl Jar {
    /// Takes over what an answer sets; an expired cookie is forgotten.
    pub fn take(&mut self, answer: &Answer<'_>) {
        for value in answer.headers(&SET_COOKIE) {
            let Some((name, value, gone)) = std::str::from_utf8(value).ok().and_then(parse) else { continue };
            self.0.retain(|(n, _)| n != name);
            if !gone && self.0.len() < MAX_COOKIES && name.len() + value.len() <= MAX_LENGTH {
                self.0.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends the value of the `Cookie` header to send.
    pub fn write(&self, out: &mut String) {
        for (i, (name, value)) in self.0.iter().enumerate() {
            if i > 0 {
                out.push_str("; ");
            }
            out.push_str(name);
            out.push('=');
            out.push_str(value);
        }
    }

    /// A cookie's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// The value that an answer sets for a cookie.
#[must_use]
pub fn set_by<'a>(answer: &Answer<'a>, name: &str) -> Option<&'a str> {
    let set = answer.headers(&SET_COOKIE).filter_map(|v| std::str::from_utf8(v).ok().and_then(parse));
    set.filter(|(n, ..)| *n == name).map(|(_, v, _)| v).last()
}

/// Name, value, and whether the cookie is being deleted.
fn parse(text: &str) -> Option<(&str, &str, bool)> {
    let mut parts = text.split(';');
    let (name, value) = parts.next()?.split_once('=')?;
    let gone = parts.any(|a| {
        let (key, value) = a.split_once('=').unwrap_or((a, ""));
        let (key, value) = (key.trim(), value.trim());
        (key.eq_ignore_ascii_case("max-age") && (value.starts_with('-') || value == "0"))
            || (key.eq_ignore_ascii_case("expires") && value.contains("1970"))
    });
    let name = name.trim();
    let sendable = |text: &str| text.bytes().all(|b| b == b'\t' || (b >= b' ' && b != 0x7f));
    (!name.is_empty() && sendable(name) && sendable(value)).then_some((name, value.trim(), gone))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Head;

    #[test]
    fn cookies_are_kept_replaced_and_deleted() {
        let mut jar = Jar::default();
        let mut set = |text: &str| {
            let head = format!("HTTP/1.1 200 OK\r\nSet-Cookie: {text}\r\n\r\n");
            jar.take(&Answer::new(Some(200), Head::Raw(head.as_bytes()), 0));
            let mut out = String::new();
            jar.write(&mut out);
            (!jar.is_empty()).then_some(out)
        };
        assert_eq!(set("a=1; Path=/; HttpOnly").as_deref(), Some("a=1"));
        assert_eq!(set("b=2; Max-Age=60").as_deref(), Some("a=1; b=2"));
        assert_eq!(set("a=3").as_deref(), Some("b=2; a=3"));
        assert_eq!(set("b=; Max-Age=0").as_deref(), Some("a=3"));
        assert_eq!(set("a=x; Expires=Thu, 01 Jan 1970 00:00:00 GMT"), None);
        assert_eq!(set("garbage"), None);
    }
}
