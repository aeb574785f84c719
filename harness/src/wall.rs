//! Wall-clock time for the journal. Nothing else reads the wall clock.

/// Now, RFC 3339 in UTC with milliseconds.
#[must_use]
pub fn now() -> String {
    humantime::format_rfc3339_millis(std::time::SystemTime::now()).to_string()
}
