//! Which arm gave an answer. Must not guess: whoever matches no pattern, or both arms' patterns, is unknown.

use crate::answer::Answer;
use crate::cookies::{self, Jar};
use crate::expect::{header_name, json_path};
use http::HeaderName;
use serde_json::Value;
use serde_json_path::JsonPath;
use shakedown_core::plan::{Identify, IdentifyBy};
use shakedown_core::{Arm, Fail};
use std::borrow::Cow;

/// Compiled identification of one stream.
#[derive(Debug)]
pub struct Identifier {
    by: By,
    control: Vec<String>,
    canary: Vec<String>,
}

#[derive(Debug)]
enum By {
    Header(HeaderName),
    Cookie(String),
    Json(JsonPath),
    Fixed(Arm),
}

impl Identifier {
    /// Compiles it for a stream towards `target`; without a rollout everybody is unknown.
    ///
    /// # Errors
    /// Names what cannot be compiled.
    pub fn compile(identify: Option<&Identify>, target: &str) -> Result<Identifier, Fail> {
        let place = "rollout.identify";
        let Some(identify) = identify else {
            return Ok(Identifier { by: By::Fixed(Arm::Unknown), control: Vec::new(), canary: Vec::new() });
        };
        let by = match &identify.by {
            IdentifyBy::Header(name) => By::Header(header_name(name, place)?),
            IdentifyBy::Cookie(name) => By::Cookie(name.clone()),
            IdentifyBy::Json(path) => By::Json(json_path(path, place)?),
            IdentifyBy::Target { control, .. } if control == target => By::Fixed(Arm::Control),
            IdentifyBy::Target { canary, .. } if canary == target => By::Fixed(Arm::Canary),
            IdentifyBy::Target { .. } => By::Fixed(Arm::Unknown),
        };
        Ok(Identifier { by, control: identify.control.clone(), canary: identify.canary.clone() })
    }

    /// Whether the whole body must be kept.
    #[must_use]
    pub fn needs_body(&self) -> bool {
        matches!(self.by, By::Json(_))
    }

    /// Who gave the answer (also a cut one: its head may say it), or who was asked when nobody answered.
    #[must_use]
    pub fn arm(&self, answer: Option<&Answer<'_>>, sent: Option<&Jar>) -> Arm {
        let answer = match (&self.by, answer) {
            (By::Fixed(arm), _) => return *arm,
            (_, None) => return Arm::Unknown,
            (_, Some(answer)) => answer,
        };
        let said = match &self.by {
            By::Header(name) => answer.header(name).and_then(|v| std::str::from_utf8(v).ok()).map(Cow::Borrowed),
            By::Cookie(name) => cookies::set_by(answer, name).or_else(|| sent.and_then(|jar| jar.get(name))).map(Cow::Borrowed),
            By::Json(path) => answer.json().and_then(|body| path.query(body).first()).map(|v| match v {
                Value::String(text) => Cow::Borrowed(text.as_str()),
                other => Cow::Owned(other.to_string()),
            }),
            By::Fixed(_) => None,
        };
        said.map_or(Arm::Unknown, |said| self.named(said.trim()))
    }

    fn named(&self, said: &str) -> Arm {
        let any = |patterns: &[String]| patterns.iter().any(|p| glob(p, said));
        match (any(&self.control), any(&self.canary)) {
            (true, false) => Arm::Control,
            (false, true) => Arm::Canary,
            _ => Arm::Unknown,
        }
    }
}

/// `*` stands for any text, everything else for itself. Linear by backtracking to the last star only.
#[must_use]
pub fn glob(pattern: &str, text: &str) -> bool {
    let (p, t) = (pattern.as_bytes(), text.as_bytes());
    let (mut i, mut j, mut star) = (0, 0, None);
    while j < t.len() {
        if i < p.len() && p[i] == b'*' {
            star = Some((i, j));
            i += 1;
        } else if i < p.len() && p[i] == t[j] {
            (i, j) = (i + 1, j + 1);
        } else if let Some((at, from)) = star {
            star = Some((at, from + 1));
            (i, j) = (at + 1, from + 1);
        } else {
            return false;
        }
    }
    p[i..].iter().all(|&b| b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Head;

    #[test]
    fn globs_match() {
        for (pattern, text, is) in [
            ("v2", "v2", true),
            ("v2", "v20", false),
            ("2.4.*", "2.4.17", true),
            ("*-b*", "a-b-c", true),
            ("*", "", true),
            ("a*c", "ab", false),
        ] {
            assert_eq!(glob(pattern, text), is, "{pattern} {text}");
        }
    }

    #[test]
    fn arms_come_from_header_cookie_json_or_target() {
        let identify = |by| Identify { by, control: vec!["v1".into()], canary: vec!["v2*".into()] };
        let arm = |by, a: Option<&Answer<'_>>, jar| Identifier::compile(Some(&identify(by)), "edge").unwrap().arm(a, jar);
        let head = b"HTTP/1.1 200 OK\r\nx-release: v2.1\r\nset-cookie: release=v1; Path=/\r\n\r\n";
        let answer = Answer::new(Some(200), Head::Raw(head), 0).with_body(br#"{"by":"v2"}"#, 11);
        let (a, empty) = (Some(&answer), Jar::default());
        let jar = Some(&empty);
        assert_eq!(arm(IdentifyBy::Header("x-release".into()), a, jar), Arm::Canary);
        assert_eq!(arm(IdentifyBy::Header("x-other".into()), a, jar), Arm::Unknown);
        assert_eq!(arm(IdentifyBy::Cookie("release".into()), a, jar), Arm::Control);
        assert_eq!(arm(IdentifyBy::Json("$.by".into()), a, jar), Arm::Canary);
        assert_eq!(arm(IdentifyBy::Header("x-release".into()), None, jar), Arm::Unknown);
        let target = IdentifyBy::Target { control: "edge".into(), canary: "new".into() };
        assert_eq!(arm(target, None, jar), Arm::Control);
    }

    #[test]
    fn an_answer_that_both_arms_could_give_is_unknown() {
        let both = Identify { by: IdentifyBy::Header("x-release".into()), control: vec!["v*".into()], canary: vec!["v2".into()] };
        let answer = Answer::new(Some(200), Head::Raw(b"HTTP/1.1 200 OK\r\nx-release: v2\r\n\r\n"), 0);
        assert_eq!(Identifier::compile(Some(&both), "edge").unwrap().arm(Some(&answer), None), Arm::Unknown);
    }
}
