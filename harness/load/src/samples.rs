//! A bounded, seeded choice of failed and slowest requests, redacted before it is kept. Must not hold secrets.

use crate::answer::Answer;
use crate::render::{self, Place};
use crate::seeds::Seed;
use shakedown_core::Secrets;
use shakedown_core::plan::Escape;
use shakedown_core::snapshot::Sample;
use std::sync::{Arc, Mutex};

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
    /// Latency of the fastest of the slowest, once there are enough of them.
    least: u64,
}

impl Samples {
    /// Empty.
    #[must_use]
    pub fn new(seed: Seed) -> Samples {
        Samples { seed, offered: 0, failed: Vec::new(), slowest: Vec::new(), least: 0 }
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

    /// Whether a success would be kept: one comparison, asked for every request.
    #[inline]
    #[must_use]
    pub fn wants(&self, latency: u64) -> bool {
        self.slowest.len() < SLOWEST || latency > self.least
    }

    /// Offers a success; `make` is called only when it is among the slowest.
    pub fn slow(&mut self, latency: u64, make: impl FnOnce() -> Sample) {
        if !self.wants(latency) {
            return;
        }
        if self.slowest.len() < SLOWEST {
            self.slowest.push(make());
        } else if let Some(least) = self.slowest.iter_mut().min_by_key(|s| s.latency) {
            *least = make();
        }
        self.least = self.slowest.iter().map(|s| s.latency).min().unwrap_or(0);
    }
}

/// Gathers the samples of workers as they end.
#[derive(Debug)]
pub struct Finale(Mutex<Gathered>);

#[derive(Debug)]
struct Gathered {
    left: usize,
    offered: u64,
    failed: Vec<Vec<Sample>>,
    weights: Vec<u64>,
    slowest: Vec<Sample>,
}

impl Finale {
    /// For so many workers.
    #[must_use]
    pub fn new(workers: usize) -> Finale {
        let (failed, weights, slowest) = (Vec::new(), Vec::new(), Vec::new());
        Finale(Mutex::new(Gathered { left: workers, offered: 0, failed, weights, slowest }))
    }

    /// Takes a worker's samples; the last one to leave gets everybody's, chosen fairly and in order of intended send.
    pub fn leave(&self, samples: &mut Samples) -> Option<Vec<Sample>> {
        let mut all = self.0.lock().expect("no holder panics");
        all.left = all.left.saturating_sub(1);
        all.offered += samples.offered;
        all.weights.push(samples.offered);
        all.failed.push(std::mem::take(&mut samples.failed));
        all.slowest.append(&mut samples.slowest);
        if all.left > 0 {
            return None;
        }
        let mut slowest = std::mem::take(&mut all.slowest);
        slowest.sort_by_key(|s| std::cmp::Reverse(s.latency));
        slowest.truncate(SLOWEST);
        let (offered, weights) = (all.offered.max(1), std::mem::take(&mut all.weights));
        // Each worker's choice is fair among its own; a share of it by how many it chose from is fair among all.
        for (mut failed, weight) in std::mem::take(&mut all.failed).into_iter().zip(weights) {
            let share = (FAILED as u128 * u128::from(weight)).div_ceil(u128::from(offered));
            failed.truncate(usize::try_from(share).unwrap_or(FAILED));
            slowest.append(&mut failed);
        }
        slowest.sort_by(|a, b| (a.at, &a.trace).cmp(&(b.at, &b.trace)));
        Some(slowest)
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
    pub fn answer(&self, answer: &Answer<'_>) -> String {
        let mut text = answer.first_line();
        for (name, value) in answer.each_header() {
            let hidden = HIDDEN.iter().any(|h| name.eq_ignore_ascii_case(h.as_bytes()));
            let value = if hidden { "[redacted]".into() } else { String::from_utf8_lossy(value) };
            text.push_str(&format!("{}: {value}\n", String::from_utf8_lossy(name)));
            if text.len() > HEAD {
                text.push_str("…\n");
                break;
            }
        }
        text.push('\n');
        // Redacted before it is cut, so that no half of a secret survives at the edge.
        let body = self.clean(&String::from_utf8_lossy(answer.text().unwrap_or(answer.body)));
        let end = (0..=BODY.min(body.len())).rev().find(|&i| body.is_char_boundary(i)).unwrap_or(0);
        format!("{}{}", self.clean(&text), &body[..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Head;
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
        let head = b"HTTP/1.1 200 OK\r\nSet-Cookie: session=abcdef\r\nx-echo: s3 cr\"et\r\n\r\n";
        let body = format!("{{\"t\": \"s3 cr\\\"et\"}} {} {}", "s3%20cr%22et", "x".repeat(5000));
        let answer = Answer::new(Some(200), Head::Raw(head), 0).with_body(body.as_bytes(), body.len() as u64);
        let text = redactor.answer(&answer);
        assert!(!text.contains("abcdef") && !text.contains("s3 cr") && !text.contains("s3%20"), "{text}");
        assert!(text.contains("${secret:TOKEN}") && text.len() < 2600);
    }
}
