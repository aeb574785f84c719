//! What a run touches and how much at most: load, services, weights, faults, limits. Must not resolve or contact
//! anything; addresses are shown as planned.

use super::labelled;
use crate::style::{Style, clean};
use crate::units::{count, percent};
use shakedown_core::Plan;
use shakedown_core::plan::{Action, Afterwards, EnvironmentClass, FaultPlan, On, Rehearse, ServiceKind};

/// One line a thing touched.
pub(super) fn lines(plan: &Plan, style: Style) -> Vec<String> {
    let env = &plan.environment;
    let class = match env.class {
        EnvironmentClass::Local => "local: loopback only",
        EnvironmentClass::Shared => "shared with others",
        EnvironmentClass::Production => "PRODUCTION: real users",
    };
    let mut told = vec![("environment", format!("{} ({class}); one run at a time", clean(&env.name)))];
    told.push(("allowed", clean(&env.allow.join(", "))));
    for target in env.targets.values() {
        let by: Vec<&str> = plan.streams.iter().filter(|s| s.target == target.name).map(|s| s.name.as_str()).collect();
        let load = if by.is_empty() { "no load".to_owned() } else { format!("load by {}", by.join(", ")) };
        told.push(("target", clean(&format!("{} at {}: {load}", target.name, target.at))));
    }
    told.extend(env.services.iter().map(|s| ("service", clean(&format!("{}: {}", s.name, service(&s.kind))))));
    told.extend(env.proxies.iter().map(|p| ("proxy", clean(&format!("{} {}, forwards to {}", p.name, listens(p.listen), p.upstream)))));
    told.extend(plan.setup.iter().map(|a| ("setup", action(a))));
    told.extend(plan.teardown.iter().map(|a| ("teardown", action(a))));
    told.extend(weights(plan).map(|w| ("weights", w)));
    told.extend(plan.faults.iter().map(|f| ("fault", format!("{}: {}", clean(&f.name), fault(f)))));
    told.push(("limits", limits(plan)));
    told.iter().flat_map(|(label, text)| labelled(label, text, style)).collect()
}

/// Port 0 is drawn when the run begins.
fn listens(on: std::net::SocketAddr) -> String {
    if on.port() == 0 { format!("listens on {}, any free port", on.ip()) } else { format!("listens on {on}") }
}

fn service(kind: &ServiceKind) -> String {
    match kind {
        ServiceKind::Command(args) => format!("started and stopped: {}", args.join(" ")),
        ServiceKind::Shop { releases, .. } => {
            let told: Vec<String> = releases
                .iter()
                .map(|(name, flaws)| if flaws.is_empty() { name.clone() } else { format!("{name} with {}", flaws.join(", ")) })
                .collect();
            format!("embedded shop, started and stopped; releases {}", told.join("; "))
        }
        ServiceKind::Stub { listen, .. } => format!("fixed answers on {listen}, started and stopped"),
        ServiceKind::AttachPidFile(path) => format!("already there (pid file {path}); never started or stopped"),
    }
}

fn action(action: &Action) -> String {
    match action {
        Action::Command(args) => clean(&format!("runs {}", args.join(" "))),
        Action::Request(request) => clean(&format!("{} {}", request.method, request.name)),
    }
}

fn weights(plan: &Plan) -> Option<String> {
    let rollout = plan.rollout.as_ref()?;
    let steps: Vec<String> = rollout.stages.iter().map(|s| percent(s.weight.fraction())).collect();
    let rehearse = match rollout.rehearse {
        Rehearse::Never => "rollback not rehearsed",
        Rehearse::LastStage => "rollback rehearsed after the last stage",
        Rehearse::EveryStage => "rollback rehearsed after every stage",
    };
    let after = match rollout.afterwards {
        Afterwards::Restore => "the weights found are put back",
        Afterwards::Promoted => "on promote the last weight stays",
    };
    let (driver, canary, control) = (&rollout.driver, &rollout.canary, &rollout.control);
    Some(clean(&format!("{driver} gives {canary} {} (the rest {control}); {rehearse}; {after}", steps.join(" → "))))
}

/// What a fault does to what: `latency 100 ms ± 20 ms, normal on 30 % of proxy payments matching POST /charge/* for 5s`.
pub(crate) fn fault(fault: &FaultPlan) -> String {
    let on = match &fault.on {
        On::Proxy(name) => format!("proxy {name}"),
        On::Service(name) => format!("service {name}"),
    };
    let matched = match (&fault.matches.method, &fault.matches.path) {
        (None, None) => String::new(),
        (method, path) => format!(" matching {} {}", method.as_deref().unwrap_or("any method"), path.as_deref().unwrap_or("any path")),
    };
    let share = percent(fault.share.fraction());
    let stays = if fault.during_rollback { "; stays during a rollback" } else { "" };
    let params = match crate::params::told(&fault.kind, &fault.params) {
        told if told.is_empty() => String::new(),
        told => format!(" {told}"),
    };
    // A process is hit or not: only traffic can be hit in part.
    let on = if matches!(fault.on, On::Service(_)) { on } else { format!("{share} of {on}") };
    clean(&format!("{}{params} on {on}{matched} for {}{stays}", fault.kind, fault.length))
}

fn limits(plan: &Plan) -> String {
    let l = &plan.environment.limits;
    let told: Vec<String> = [
        l.rate.map(|r| format!("rate {r}")),
        l.requests.map(|n| format!("{} requests", count(n))),
        l.in_flight.map(|n| format!("{} in flight", count(n))),
        l.max_weight.map(|w| format!("weight {}", percent(w.fraction()))),
        l.max_share.map(|s| format!("fault share {}", percent(s.fraction()))),
    ]
    .into_iter()
    .flatten()
    .collect();
    if told.is_empty() { "none set".to_owned() } else { told.join(", ") }
}
