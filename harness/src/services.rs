//! Turns the plan's services into what `process` starts. Must not start anything.

use serde_json::json;
use shakedown_core::event::Input;
use shakedown_core::plan::{Plan, Ready, Service, ServiceKind, Sticky};
use shakedown_core::seams::{Endpoints, Fail, Sink};
use shakedown_core::{AllowList, Secrets};
use shakedown_pilot::{ShopConfig, StubConfig};
use shakedown_process::{OnExit, ServiceSpec};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Hands a service's unexpected end to the engine.
pub fn on_exit(sink: Arc<dyn Sink>) -> OnExit {
    Arc::new(move |service, status| sink.send(Input::ServiceExited { service: service.to_owned(), status }))
}

/// Specs of all services, in the plan's order.
pub fn specs(
    plan: &Plan,
    base: &Path,
    dir: &Path,
    secrets: &Secrets,
    endpoints: &Endpoints,
    env: &[(String, String)],
) -> Result<Vec<ServiceSpec>, Fail> {
    let logs = dir.join("services");
    let allow = AllowList::parse(&plan.environment.allow).map_err(Fail)?;
    plan.environment.services.iter().map(|s| spec(plan, s, base, &logs, secrets, endpoints, &allow, env)).collect()
}

#[expect(clippy::too_many_arguments, reason = "one call, and each is a different thing")]
fn spec(
    plan: &Plan,
    service: &Service,
    base: &Path,
    logs: &Path,
    secrets: &Secrets,
    endpoints: &Endpoints,
    allow: &AllowList,
    shared: &[(String, String)],
) -> Result<ServiceSpec, Fail> {
    let scratch = logs.join(&service.name);
    std::fs::create_dir_all(&scratch).map_err(|e| Fail::new(format!("cannot make {}: {e}", scratch.display())))?;
    let scratch = std::fs::canonicalize(&scratch).map_err(|e| Fail::new(format!("cannot find {}: {e}", scratch.display())))?;
    let mut env = shared.to_vec();
    env.push(("SHAKEDOWN_SCRATCH".into(), scratch.display().to_string()));
    env.extend(service.env.iter().map(|(k, v)| (k.clone(), secrets.resolve(v))));
    let mut builtin = true;
    let mut attach_pid_file = None;
    let argv = match &service.kind {
        ServiceKind::Command(argv) => {
            builtin = false;
            argv.iter().map(|a| secrets.resolve(a)).collect()
        }
        ServiceKind::Shop { releases, payments, sticky } => {
            let payments = payments.as_deref().map(|p| endpoint(endpoints, allow, p)).transpose()?;
            own("pilot-serve", &shop(plan, &service.name, releases, payments, sticky.clone()))?
        }
        ServiceKind::Stub { answers, listen } => {
            let listen = listen.parse().map_err(|_| Fail::new(format!("service {}: `{listen}` is not an address", service.name)))?;
            own("stub-serve", &StubConfig { name: service.name.clone(), listen, answers: answers.clone() })?
        }
        ServiceKind::AttachPidFile(file) => {
            builtin = false;
            attach_pid_file = Some(PathBuf::from(file));
            Vec::new()
        }
    };
    Ok(ServiceSpec {
        name: service.name.clone(),
        argv,
        env,
        cwd: base.to_owned(),
        ready: service.ready.clone().map(|r| Ready { probe: r.probe, within: r.within }),
        stop_signal: service.stop_signal.clone(),
        stop_within: service.stop_within,
        restart: service.restart,
        builtin,
        attach_pid_file,
        log: logs.join(format!("{}.log", service.name)),
    })
}

fn endpoint(endpoints: &Endpoints, allow: &AllowList, name: &str) -> Result<SocketAddr, Fail> {
    let addr = endpoints.get(name).or_else(|| name.parse().ok());
    let addr =
        addr.ok_or_else(|| Fail::new(format!("the shop's `payments: {name}` is not up when the shop starts; name a proxy or an address")))?;
    Ok(allow.check(addr)?.addr())
}

fn shop(
    plan: &Plan,
    name: &str,
    releases: &BTreeMap<String, Vec<String>>,
    payments: Option<SocketAddr>,
    sticky: Option<Sticky>,
) -> ShopConfig {
    let mut named = releases.iter().map(|(n, f)| (n.clone(), f.clone()));
    let rollout = plan.rollout.as_ref();
    let release = |wanted: Option<&String>| wanted.and_then(|w| releases.get_key_value(w)).map(|(n, f)| (n.clone(), f.clone()));
    let control = release(rollout.map(|r| &r.control)).or_else(|| named.next()).unwrap_or_else(|| ("v1".into(), Vec::new()));
    let canary = release(rollout.map(|r| &r.canary))
        .or_else(|| releases.iter().find(|(n, _)| **n != control.0).map(|(n, f)| (n.clone(), f.clone())));
    let canary = canary.unwrap_or_else(|| control.clone());
    ShopConfig { name: name.to_owned(), control, canary, payments, listen: BTreeMap::new(), seed: plan.seed, sticky }
}

/// This binary, re-executed with a hidden subcommand and its configuration.
pub fn own(subcommand: &str, config: &impl serde::Serialize) -> Result<Vec<String>, Fail> {
    let exe: PathBuf = std::env::current_exe().map_err(|e| Fail::new(format!("cannot find this program's own file: {e}")))?;
    let config = serde_json::to_value(config).map_err(|e| Fail::new(format!("cannot hand {subcommand} its configuration: {e}")))?;
    Ok(vec![exe.display().to_string(), subcommand.to_owned(), "--config".into(), json!(config).to_string()])
}
