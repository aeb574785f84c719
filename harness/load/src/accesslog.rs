//! Lines of an access log in common or combined format (Apache, nginx). One line in, one record or a reason out;
//! must not read files or sort.

use crate::render;
use http::uri::PathAndQuery;

/// Longest path taken, bytes (nginx's own default bound of a request line).
pub const MAX_PATH: usize = 8 * 1024;

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Seconds after 1970.
    pub second: i64,
    /// Method.
    pub method: &'a str,
    /// Path and query as they are sent.
    pub path: String,
    /// Recorded status.
    pub status: u16,
}

/// Reads one line.
///
/// # Errors
/// Why it is no log line. The line itself is not repeated: it may hold secrets.
pub fn parse(line: &str) -> Result<Line<'_>, &'static str> {
    let open = line.find('[').ok_or("it has no [time]")?;
    let close = line[open..].find(']').ok_or("its [time] is not closed")? + open;
    let second = time(&line[open + 1..close]).ok_or("its [time] is not like 17/May/2015:10:05:03 +0000")?;
    let rest = line[close + 1..].trim_start();
    let (request, rest) = quoted(rest).ok_or("it has no \"request\"")?;
    let mut words = request.split(' ');
    let method = words.next().unwrap_or("");
    if method.is_empty() || method.len() > 20 || !method.bytes().all(|b| b.is_ascii_uppercase()) {
        return Err("its request has no method");
    }
    // A path with blanks in it stays one path: the protocol is the last word, when there is one.
    let target = request[method.len()..].trim();
    let target = target.rsplit_once(' ').filter(|(_, last)| last.starts_with("HTTP/")).map_or(target, |(path, _)| path);
    let status = rest.split_whitespace().next().and_then(|s| s.parse().ok()).filter(|s| (100..=999).contains(s));
    Ok(Line { second, method, path: path(target)?, status: status.ok_or("it has no status")? })
}

/// The path and query of a recorded target, with only what no URL may hold percent-encoded.
fn path(target: &str) -> Result<String, &'static str> {
    let own = match target.split_once("://") {
        Some((scheme, rest)) if scheme.bytes().all(|b| b.is_ascii_alphabetic()) => rest.find('/').map_or("/", |i| &rest[i..]),
        _ => target,
    };
    if !own.starts_with('/') {
        return Err("its request has no path");
    }
    if own.len() > MAX_PATH {
        return Err("its path is too long");
    }
    if PathAndQuery::try_from(own).is_ok_and(|p| p.as_str() == own) {
        return Ok(own.to_owned());
    }
    let mut safe = String::with_capacity(own.len() + 16);
    render::percent(own, &mut safe, render::allowed_in_path);
    PathAndQuery::try_from(safe.as_str()).map_err(|_| "its path cannot be sent")?;
    Ok(safe)
}

/// The text between quotes (with `\"` inside left as it is) and what follows.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('"')?;
    let mut escaped = false;
    for (i, b) in inner.bytes().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some((&inner[..i], &inner[i + 1..])),
            _ => {}
        }
    }
    None
}

/// `17/May/2015:10:05:03 +0000` as seconds after 1970.
fn time(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (stamp, zone) = text.split_once(' ')?;
    let mut parts = stamp.split(['/', ':']);
    let day: i64 = parts.next()?.parse().ok()?;
    let name = parts.next()?;
    let month = MONTHS.iter().position(|m| *m == name)? as i64 + 1;
    let year: i64 = parts.next()?.parse().ok()?;
    let mut clock = [0i64; 3];
    for (slot, most) in clock.iter_mut().zip([23, 59, 60]) {
        *slot = parts.next()?.parse().ok().filter(|v| (0..=most).contains(v))?;
    }
    if parts.next().is_some() || !(1..=31).contains(&day) || !(1970..=9999).contains(&year) {
        return None;
    }
    let zone: i64 = zone.parse().ok().filter(|z: &i64| z.abs() <= 1500)?;
    let offset = (zone / 100 * 60 + zone % 100) * 60;
    Some(days(year, month, day) * 86_400 + clock[0] * 3600 + clock[1] * 60 + clock[2] - offset)
}

/// Days from 1970-01-01 (Hinnant, "chrono-compatible low-level date algorithms").
fn days(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let of_era = y.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_and_combined_lines_are_read() {
        let common = r#"10.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326"#;
        let line = parse(common).unwrap();
        assert_eq!((line.second, line.method, line.path.as_str(), line.status), (971_211_336, "GET", "/apache_pb.gif", 200));
        let combined = r#"::1 - - [17/May/2015:10:05:03 +0000] "POST /a?q=1%20x HTTP/1.1" 404 - "http://r/" "Agent \"quoted\" 1""#;
        let line = parse(combined).unwrap();
        assert_eq!((line.second, line.method, line.path.as_str(), line.status), (1_431_857_103, "POST", "/a?q=1%20x", 404));
    }

    #[test]
    fn odd_but_sendable_paths_are_kept() {
        let path = |request: &str| parse(&format!(r#"h - - [17/May/2015:10:05:03 +0000] "{request}" 200 1"#)).map(|l| l.path);
        assert_eq!(path("GET http://host:80/x?y HTTP/1.1").unwrap(), "/x?y");
        assert_eq!(path("GET /a b HTTP/1.1").unwrap(), "/a%20b");
        assert_eq!(path(r"GET /\x22 HTTP/1.1").unwrap(), r"/\x22");
        assert_eq!(path("GET /ü HTTP/1.1").map(|p| p.is_ascii() || p == "/ü"), Ok(true));
        assert_eq!(path("GET /old").unwrap(), "/old");
    }

    #[test]
    fn garbage_is_named_not_taken() {
        for line in [
            "",
            "hello",
            "h - - [not a time] \"GET / HTTP/1.1\" 200 1",
            "h - - [17/May/2015:10:05:03 +0000] \"-\" 408 0",
            "h - - [17/May/2015:10:05:03 +0000] \"GET / HTTP/1.1",
            "h - - [17/May/2015:10:05:03 +0000] \"OPTIONS * HTTP/1.1\" 200 1",
            "h - - [17/May/2015:25:05:03 +0000] \"GET / HTTP/1.1\" 200 1",
            "h - - [17/May/2015:10:05:03 +0000] \"GET / HTTP/1.1\" OK 1",
            "h - - [17/Mai/2015:10:05:03 +0000] \"GET / HTTP/1.1\" 200 1",
            "h - - [17/May/2015:10:05:03 +0000] \"\\x16\\x03\\x01\" 400 166",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
