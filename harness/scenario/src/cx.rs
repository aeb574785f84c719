//! What every decoder shares: names, problems, warnings, outside files. Must not decode anything itself.

use crate::address::Known;
use crate::names::Names;
use crate::source::Source;
use sha2::{Digest, Sha256};
use shakedown_core::allowed::AllowList;
use shakedown_core::tree::{Node, Problem, Problems};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

/// The state of one check.
pub struct Cx<'a> {
    /// What is checked.
    pub source: &'a Source<'a>,
    /// Everything that has a name.
    pub names: Names,
    /// Mistakes so far.
    pub p: Problems,
    /// Warnings so far.
    pub warnings: Vec<Problem>,
    /// Hashes of outside files.
    pub files: BTreeMap<String, String>,
    /// Releases of the embedded shops, by service.
    pub releases: BTreeMap<String, BTreeSet<String>>,
    /// What is known of the targets, once they are read; one that could not be read is not in it.
    pub targets: BTreeMap<String, Known>,
    /// The allow list, once it is read.
    pub allow: Option<AllowList>,
}

impl Cx<'_> {
    /// Adds a warning.
    pub fn warn(&mut self, span: &Range<usize>, message: impl Into<String>, hint: impl Into<String>) {
        self.warnings.push(Problem { span: span.clone(), message: message.into(), hint: Some(hint.into()) });
    }

    /// A path as written, resolved against the scenario.
    pub fn resolve(&self, written: &str) -> String {
        self.source.path.parent().map_or_else(|| written.into(), |dir| dir.join(written).to_string_lossy().into_owned())
    }

    /// Reads an outside file and notes its hash; what goes wrong is a problem.
    pub fn read(&mut self, node: &Node, written: &str, most: usize) -> Option<Vec<u8>> {
        let path = self.resolve(written);
        let bytes = match self.source.files.read(path.as_ref()) {
            Ok(bytes) => bytes,
            Err(why) => {
                let message = format!("`{written}` cannot be read: {why}");
                match why.kind() {
                    std::io::ErrorKind::NotFound => {
                        let hint =
                            format!("paths are relative to the scenario file: looked for {path}; an absolute path works from anywhere");
                        self.p.hint(&node.span, message, hint);
                    }
                    _ => self.p.add(&node.span, message),
                }
                return None;
            }
        };
        if bytes.len() > most {
            self.p.add(&node.span, format!("`{written}` has {} bytes; at most {most} are read", bytes.len()));
            return None;
        }
        let mut hex = String::new();
        for byte in Sha256::digest(&bytes) {
            let _ = write!(hex, "{byte:02x}");
        }
        self.files.insert(written.to_owned(), hex);
        Some(bytes)
    }

    /// Judges a literal address against `allow`; names other than `localhost` are judged when they are resolved.
    pub fn judge_host(&mut self, host: &str, port: u16, span: &Range<usize>) {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let literal = if bare == "localhost" { Ok(IpAddr::from([127, 0, 0, 1])) } else { bare.parse::<IpAddr>() };
        let (Ok(ip), Some(allow)) = (literal, &self.allow) else { return };
        if let Err(why) = allow.check(SocketAddr::new(ip, port)) {
            let why = why.to_string();
            let (cause, hint) = why.split_once("; ").unwrap_or((&why, "add its block to environment.allow"));
            self.p.hint(span, cause, hint);
        }
    }
}
