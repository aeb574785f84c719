//! A bounded, seeded choice of failed and slowest requests, redacted before it is kept. Must not hold secrets.

use crate::answer::Answer;
use crate::render::{self, Place};
use crate::seeds::Seed;
use shakedown_core::Secrets;
use shakedown_core::plan::Escape;
use shakedown_core::snapshot::Sample;
use std::sync::Arc;

/// Failed requests kept.
pub const FAILED: usize = 100;
/// Slow successes kept.
pub const SLOWEST: usize = 100;
/// Bytes of a body kept.
pub const BODY: usize = 2048;
/// Bytes of a head kept.
const HEAD: usize = 8192;
/// Headers that are never kept.
const HIDDEN: [&str; 6] = ["authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "authentication-info"];

/// The samples of one worker.
#[derive(Debug)]
pub struct Samples {
    seed: Seed,
    offered: u64,
    failed: Vec<Sample>,
    slowest: Vec<Sample>,
}

impl Samples {
    /// Empty.
    #[must_use]
    pub fn new(seed: Seed) -> Samples {
        Samples { seed, offered: 0, failed: Vec::new(), slowest: Vec::new() }
    }

    /// Offers a failed request (Vitter's algorithm R); `make` is called only when it is kept.
    pub fn failed(&mut self, make: impl FnOnce() -> Sample) {
        self.offered += 1;
        if self.failed.len() < FAILED {
            self.failed.push(make());
            return;
        }
        let slot = self.seed.at(self.offered).below(self.offered) as usize;
        if let Some(old) = self.failed.get_mut(slot) {
            *old = make();
        }
    }

    /// Offers a success; `make` is called only when it is among the slowest.
    pub fn slow(&mut self, latency: u64, make: impl FnOnce() -> Sample) {
        if self.slowest.len() < SLOWEST {
            self.slowest.push(make());
        } else if let Some(least) = self.slowest.iter_mut().min_by_key(|s| s.latency)
            && least.latency < latency
        {
            *least = make();
        }
    }

    /// All samples in order of intended send.
    pub fn take(&mut self) -> Vec<Sample> {
        let mut all = std::mem::take(&mut self.failed);
        all.append(&mut self.slowest);
        all.sort_by(|a, b| (a.at, &a.trace).cmp(&(b.at, &b.trace)));
        all
    }
}

/// Removes secrets from what is kept, also where they were escaped for a path or a JSON body.
#[derive(Clone, Debug)]
pub struct Redactor {
    secrets: Arc<Secrets>,
    escaped: Vec<(String, String)>,
}

impl Redactor {
    /// For the secrets of these names.
    #[must_use]
    pub fn new(secrets: &Arc<Secrets>, names: &[String]) -> Redactor {
        let mut escaped = Vec::new();
        for (name, value) in names.iter().filter_map(|n| Some((n, secrets.get(n)?))) {
            for place in [Place::Path, Place::Body(Escape::Json), Place::Body(Escape::Url)] {
                let mut text = String::new();
                render::escape(place, value, &mut text);
                if text != value {
                    escaped.push((text, format!("${{secret:{name}}}")));
                }
            }
        }
        // Longest first, so that no secret is hidden in a piece of another.
        escaped.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
        Redactor { secrets: Arc::clone(secrets), escaped }
    }

    /// The text without secrets.
    #[must_use]
    pub fn clean(&self, text: &str) -> String {
        let plain = self.secrets.redact(text);
        self.escaped.iter().fold(plain, |t, (secret, name)| t.replace(secret.as_str(), name))
    }

    /// Head and first bytes of an answer, redacted.
    #[must_use]
    pub fn answer(&self, answer: &Answer) -> String {
        let mut text = format!("HTTP/1.1 {}\n", answer.status);
        for (name, value) in &answer.headers {
            let value = if HIDDEN.contains(&name.as_str()) { "[redacted]".into() } else { String::from_utf8_lossy(value.as_bytes()) };
            text.push_str(&format!("{name}: {value}\n"));
            if text.len() > HEAD {
                text.push_str("…\n");
                break;
            }
        }
        text.push('\n');
        // Redacted before it is cut, so that no half of a secret survives at the edge.
        let body = self.clean(&String::from_utf8_lossy(&answer.bytes()));
        let end = (0..=BODY.min(body.len())).rev().find(|&i| body.is_char_boundary(i)).unwrap_or(0);
        format!("{}{}", self.clean(&text), &body[..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, StatusCode};
    use shakedown_core::{Arm, Offset};

    fn sample(latency: u64) -> Sample {
        Sample {
            at: Offset(i64::try_from(latency).unwrap()),
            stream: String::new(),
            step: String::new(),
            trace: String::new(),
            arm: Arm::All,
            status: None,
            failure: None,
            detail: String::new(),
            latency,
            dispatch: 0,
            service: 0,
            request: String::new(),
            answer: String::new(),
        }
    }

    #[test]
    fn the_slowest_and_a_fair_choice_of_failures_are_kept() {
        let mut samples = Samples::new(Seed::of(7));
        for n in 0..10_000 {
            samples.failed(|| sample(n));
            samples.slow(n * 7919 % 10_007, || sample(n * 7919 % 10_007));
        }
        assert_eq!(samples.failed.len(), FAILED);
        let late = samples.failed.iter().filter(|s| s.latency >= 5_000).count();
        assert!((25..=75).contains(&late), "{late}");
        let mut slowest: Vec<u64> = samples.slowest.iter().map(|s| s.latency).collect();
        let mut all: Vec<u64> = (0..10_000u64).map(|n| n * 7919 % 10_007).collect();
        slowest.sort_unstable();
        all.sort_unstable();
        assert_eq!(slowest, all[all.len() - SLOWEST..]);
    }

    #[test]
    fn secrets_and_cookies_are_not_kept() {
        let mut secrets = Secrets::default();
        secrets.insert("TOKEN", "s3 cr\"et");
        let redactor = Redactor::new(&Arc::new(secrets), &["TOKEN".to_owned()]);
        let mut headers = HeaderMap::new();
        headers.insert("set-cookie", "session=abcdef".parse().unwrap());
        headers.insert("x-echo", "s3 cr\"et".parse().unwrap());
        let mut answer = Answer::new(StatusCode::OK, headers);
        answer.body.push(bytes::Bytes::from(format!("{{\"t\": \"s3 cr\\\"et\"}} {} {}", "s3%20cr%22et", "x".repeat(5000))));
        let text = redactor.answer(&answer);
        assert!(!text.contains("abcdef") && !text.contains("s3 cr") && !text.contains("s3%20"), "{text}");
        assert!(text.contains("${secret:TOKEN}") && text.len() < 2600);
    }
}
