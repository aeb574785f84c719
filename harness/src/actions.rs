//! Setup, teardown and `rollback.before` steps: requests and commands, bounded. Must not retry.

use serde_json::{Value, json};
use shakedown_core::plan::{Action, Plan, Probe, RequestPlan, ServiceKind};
use shakedown_core::seams::{Actions, Boxed, Endpoints, Fail};
use shakedown_core::template::Part;
use shakedown_core::{AllowList, Secrets, Span};
use shakedown_process::Keeper;
use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;

/// Longest a step may take.
pub const STEP_WITHIN: Span = Span::secs(30);

/// Runs steps for one run.
pub struct Steps {
    /// Does the forking.
    pub keeper: Keeper,
    /// Where commands run.
    pub base: PathBuf,
    /// Resolves endpoints.
    pub endpoints: Endpoints,
    /// Only these addresses.
    pub allow: AllowList,
    /// Rendered at the last moment.
    pub secrets: Arc<Secrets>,
    /// Names targets.
    pub plan: Arc<Plan>,
    /// Environment of commands.
    pub env: Vec<(String, String)>,
}

/// A request with every hole filled.
#[derive(Debug)]
pub struct Rendered {
    /// Method.
    pub method: String,
    /// Absolute URL.
    pub url: String,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Steps {
    /// Fills a request's holes. Only targets, secrets and `uuid` make sense outside traffic.
    /// `reveal` puts secrets in; without it their references stay and proxies are left out, for what is kept and may be
    /// done when this process is gone.
    pub fn render(&self, request: &RequestPlan, reveal: bool) -> Result<Rendered, Fail> {
        let fill = |template: &shakedown_core::template::Template| -> Result<String, Fail> {
            let mut out = String::new();
            template.render(&mut out, |part, out| {
                out.push_str(&self.value(part, reveal)?);
                Ok::<(), Fail>(())
            })?;
            Ok(out)
        };
        let mut headers = Vec::new();
        for (name, value) in &request.headers {
            headers.push((name.clone(), fill(value)?));
        }
        let mut body = Vec::new();
        if let Some(b) = &request.body {
            headers.push(("content-type".into(), b.content_type.clone()));
            body = fill(&b.text)?.into_bytes();
        }
        Ok(Rendered { method: request.method.clone(), url: fill(&request.path)?, headers, body })
    }

    fn value(&self, part: &Part, reveal: bool) -> Result<String, Fail> {
        match part {
            Part::Text(text) => Ok(text.clone()),
            Part::Target(name) => self.target_url(name, !reveal),
            Part::Secret(name) if !reveal => Ok(format!("${{secret:{name}}}")),
            Part::Secret(name) => {
                self.secrets.get(name).map(str::to_owned).ok_or_else(|| Fail::new(format!("the secret {name} is not set")))
            }
            Part::Uuid => Ok(format!("{:032x}", rand::random::<u128>())),
            other => Err(Fail::new(format!("{other:?} has no value in setup and teardown"))),
        }
    }

    /// Where a target is. `direct` leaves out this run's proxies: they go with the harness, and what is behind them may not.
    fn target_url(&self, name: &str, direct: bool) -> Result<String, Fail> {
        let target = self.plan.environment.targets.get(name).ok_or_else(|| Fail::new(format!("there is no target {name}")))?;
        if target.at.contains("://") {
            return Ok(target.at.trim_end_matches('/').to_owned());
        }
        let at = if direct { self.behind_proxies(&target.at) } else { target.at.as_str() };
        let addr = self.endpoints.get(at).or_else(|| at.parse().ok()).ok_or_else(|| Fail::new(format!("{at} is not up yet")))?;
        Ok(format!("http://{addr}"))
    }

    /// What the proxies in front of an endpoint lead to. `check` refuses circles; the count bounds them all the same.
    fn behind_proxies<'a>(&'a self, at: &'a str) -> &'a str {
        let proxies = &self.plan.environment.proxies;
        let next = |at: &str| proxies.iter().find(|p| at.strip_prefix("proxy.") == Some(p.name.as_str())).map(|p| p.upstream.as_str());
        (0..proxies.len()).fold(at, |at, _| next(at).unwrap_or(at))
    }

    /// The URL is that of a service of this run: when nothing listens there any more, its state went with it.
    fn of_run(&self, url: &str) -> bool {
        let Ok((addr, _)) = split_url(url) else { return false };
        let environment = &self.plan.environment;
        let named = |endpoint: &str| {
            environment.services.iter().any(|s| endpoint.strip_prefix(s.name.as_str()).is_some_and(|r| r.starts_with('.')))
        };
        let probed = environment.services.iter().filter(|s| !matches!(s.kind, ServiceKind::AttachPidFile(_))).any(|s| {
            let probe = match s.ready.as_ref().map(|r| &r.probe) {
                Some(Probe::Http(url)) => split_url(url).ok().map(|(a, _)| a),
                Some(Probe::Tcp(at)) => at.to_socket_addrs().ok().and_then(|mut a| a.next()),
                _ => None,
            };
            probe == Some(addr)
        });
        probed || self.endpoints.all().iter().any(|(name, at)| *at == addr && named(name))
    }

    async fn request(&self, plan: &RequestPlan) -> Result<(), Fail> {
        let r = self.render(plan, true)?;
        let (addr, path) = split_url(&r.url)?;
        let allowed = self.allow.check(addr)?;
        let headers: Vec<(&str, &str)> = r.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let (status, _, body) =
            shakedown_wire::client::request(allowed.addr(), &r.method, &path, &headers, &r.body, STEP_WITHIN.duration())
                .await
                .map_err(|e| Fail::new(format!("{} {}: {e}", r.method, self.secrets.redact(&r.url))))?;
        let wanted = &plan.expect.status;
        let met = if wanted.is_empty() { (200..400).contains(&status) } else { wanted.iter().any(|(a, b)| (*a..=*b).contains(&status)) };
        if met {
            return Ok(());
        }
        let head: String = String::from_utf8_lossy(&body).chars().take(200).collect();
        Err(Fail::new(format!("{} {} answered {status}: {}", r.method, self.secrets.redact(&r.url), self.secrets.redact(&head))))
    }
}

impl Actions for Steps {
    fn run<'a>(&'a self, action: &'a Action) -> Boxed<'a, Result<(), Fail>> {
        Box::pin(async move {
            match action {
                Action::Request(plan) => self.request(plan).await,
                Action::Command(argv) => {
                    let argv: Vec<String> = argv.iter().map(|a| self.secrets.resolve(a)).collect();
                    shakedown_process::run_command(&self.keeper, &argv, &self.env, &self.base, STEP_WITHIN)
                        .await
                        .map(|_| ())
                        .map_err(|e| Fail::new(self.secrets.redact(&e.0)))
                }
            }
        })
    }
}

/// The address and the path of an `http://` URL.
pub fn split_url(url: &str) -> Result<(SocketAddr, String), Fail> {
    let rest = url.strip_prefix("http://").ok_or_else(|| Fail::new(format!("`{url}`: setup and teardown take http:// URLs")))?;
    let (host, path) = rest.find('/').map_or((rest, "/"), |i| (&rest[..i], &rest[i..]));
    let host = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
    let addr = host.to_socket_addrs().ok().and_then(|mut a| a.next()).ok_or_else(|| Fail::new(format!("`{host}` does not resolve")))?;
    Ok((addr, path.to_owned()))
}

/// The undo record of a teardown step: kind, words, data. Secrets stay references; the guard gets them by environment.
pub fn teardown_record(steps: &Steps, action: &Action) -> Result<(String, String, Value), Fail> {
    match action {
        Action::Command(argv) => {
            let env: BTreeMap<&String, &String> = steps.env.iter().map(|(k, v)| (k, v)).collect();
            let what = format!("teardown `{}`", argv.join(" "));
            let data = json!({"argv": argv, "env": env, "cwd": steps.base, "within": STEP_WITHIN});
            Ok(("command".into(), what, data))
        }
        Action::Request(plan) => {
            let r = steps.render(plan, false)?;
            let what = format!("teardown {} {}", r.method, steps.secrets.redact(&r.url));
            let data = json!({
                "method": r.method, "url": r.url, "headers": r.headers, "body": String::from_utf8_lossy(&r.body),
                "expect": plan.expect.status, "allow": steps.plan.environment.allow, "of_run": steps.of_run(&r.url),
            });
            Ok(("request".into(), what, data))
        }
    }
}
