//! The status of a call, from trailers, headers or what HTTP said ("HTTP to gRPC Status Code Mapping" of the gRPC
//! documents). Must not judge it.

use http::response::Parts;
use http::{HeaderMap, header};

/// `OK`.
pub(crate) const OK: u16 = 0;
/// `UNKNOWN`: the server did not say.
pub(crate) const UNKNOWN: u16 = 2;
/// `UNIMPLEMENTED`: the server has no such method.
pub(crate) const UNIMPLEMENTED: u16 = 12;

/// The answer is one to a gRPC call: HTTP is content and the body holds messages.
pub(crate) fn is_grpc(parts: &Parts) -> bool {
    let kind = parts.headers.get(header::CONTENT_TYPE).map(http::HeaderValue::as_bytes);
    parts.status.as_u16() == 200 && kind.is_some_and(|k| k.starts_with(b"application/grpc"))
}

/// The status, once trailers are among the headers. What is missing or no number is unknown, never a success.
pub(crate) fn of(http: u16, is_grpc: bool, headers: &HeaderMap) -> u16 {
    // A status is believed from whoever is no gRPC server only where it is a failure.
    let said = headers.get_all("grpc-status").iter().next_back();
    let said = said.map(|v| v.to_str().ok().and_then(|v| v.parse().ok()).unwrap_or(UNKNOWN));
    match said {
        Some(OK) if !is_grpc => UNKNOWN,
        Some(status) => status,
        None => match http {
            400 => 13,
            401 => 16,
            403 => 7,
            404 => UNIMPLEMENTED,
            429 | 502 | 503 | 504 => 14,
            _ => UNKNOWN,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn nothing_that_was_not_said_is_a_success() {
        let said = |v: &'static str| HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static(v))]);
        assert_eq!(of(200, true, &said("0")), OK);
        assert_eq!(of(200, false, &said("0")), UNKNOWN);
        assert_eq!(of(200, true, &said("5")), 5);
        assert_eq!(of(200, true, &said("zero")), UNKNOWN);
        assert_eq!(of(200, true, &said("-1")), UNKNOWN);
        assert_eq!(of(200, true, &HeaderMap::new()), UNKNOWN);
        assert_eq!(of(404, false, &HeaderMap::new()), UNIMPLEMENTED);
        assert_eq!(of(503, false, &HeaderMap::new()), 14);
        assert_eq!(of(500, false, &HeaderMap::new()), UNKNOWN);
    }
}
