//! Descriptors of this process: how many there may be, how many there are. Must not open any for others.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;

/// Raises the soft limit on descriptors to the hard one and says what it is then (`u64::MAX` is none).
///
/// # Errors
/// The system's; the old limit stays.
pub fn raise_descriptors() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    }
    Ok(descriptor_limit())
}

/// The soft limit on descriptors (`u64::MAX` is none).
#[must_use]
pub fn descriptor_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Descriptors of this process that are open now. One system call since Linux 6.2, where the directory's size says it;
/// before that each one is looked at.
///
/// # Errors
/// When /proc is not there.
pub fn open_descriptors() -> io::Result<u64> {
    const OWN: &str = "/proc/self/fd";
    match std::fs::metadata(OWN)?.len() {
        // Listing takes a descriptor itself.
        0 => Ok((std::fs::read_dir(OWN)?.count() as u64).saturating_sub(1)),
        count => Ok(count),
    }
}
