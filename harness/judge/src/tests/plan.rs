//! A plan in the shape of the quickstart.

use serde_json::Value;
use shakedown_core::plan::*;
use shakedown_core::{Ppm, Quantile, Rate, Span};
use std::collections::BTreeMap;

pub fn objective(name: &str, indicator: Indicator, min: bool, value: LimitValue, text: &str) -> Objective {
    Objective {
        name: name.into(),
        indicator,
        limit: Limit { min, value, floor: None, text: text.into() },
        arm: ArmChoice::Canary,
        stream: None,
        journey: None,
        step: None,
        window: WindowRef::Default,
        every: None,
        confidence: Ppm(950_000),
        min_samples: None,
        condition: None,
        by_header: None,
    }
}

pub fn availability() -> Objective {
    objective("availability", Indicator::SuccessRate, true, LimitValue::Fixed(0.99), "99%")
}

pub fn p95() -> Objective {
    objective("p95", Indicator::Latency(Quantile(950_000)), false, LimitValue::Times(1.5, Reference::Control), "1.5x control")
}

fn stage(name: &str, weight: u32, hold: u64, extend: u64) -> Stage {
    let gate = if weight < 100 { vec!["availability".into(), "p95".into()] } else { vec!["availability".into()] };
    Stage { name: name.into(), weight: Ppm(weight * 10_000), hold: Span::secs(hold), extend: Span::secs(extend), min_samples: None, gate }
}

fn stream() -> Stream {
    Stream {
        name: "shoppers".into(),
        target: "shop".into(),
        at: When::At(Span::ZERO),
        model: Model::Open {
            poisson: false,
            shape: vec![Segment { length: Span::secs(34), form: Form::Hold(Rate::from_per_second(1500.0)) }],
        },
        warmup: Span::secs(2),
        timeout: Span::secs(1),
        retry: None,
        connections: Connections { max: 64, prewarm: 0, ..Connections::default() },
        cookies: Cookies::None,
        feeds: Vec::new(),
        journeys: Vec::new(),
    }
}

fn rollout() -> Rollout {
    Rollout {
        driver: "builtin".into(),
        params: Value::Null,
        control: "v1".into(),
        canary: "v2".into(),
        artifact: None,
        identify: Identify { by: IdentifyBy::Header("x-release".into()), control: vec!["v1".into()], canary: vec!["v2".into()] },
        baseline: Span::secs(4),
        stages: vec![stage("canary-5", 5, 11, 4), stage("canary-25", 25, 6, 4), stage("canary-50", 50, 6, 4), stage("full", 100, 5, 4)],
        rehearse: Rehearse::LastStage,
        rollback: RollbackPlan {
            before: Vec::new(),
            restored_when: vec!["availability".into()],
            restored_within: Span::secs(6),
            failed_requests: Some(Ppm(10_000)),
        },
        afterwards: Afterwards::Restore,
    }
}

pub fn quickstart() -> Plan {
    Plan {
        version: 1,
        name: "quickstart".into(),
        description: String::new(),
        hypothesis: String::new(),
        owner: String::new(),
        labels: BTreeMap::new(),
        seed: 7,
        time_box: None,
        slice: Span::secs(1),
        max_cells: 1000,
        precision: shakedown_core::plan::Precision::default(),
        environment: Environment {
            name: "local".into(),
            class: EnvironmentClass::Local,
            allow: Vec::new(),
            limits: Limits::default(),
            services: Vec::new(),
            targets: BTreeMap::new(),
            proxies: Vec::new(),
        },
        setup: Vec::new(),
        teardown: Vec::new(),
        preflight: vec!["availability".into()],
        streams: vec![stream()],
        faults: vec![FaultPlan {
            name: "payments-slow".into(),
            at: When::At(Span::secs(20)),
            length: Span::secs(4),
            on: On::Proxy("payments".into()),
            share: Ppm(10_000),
            matches: Match::default(),
            kind: "latency".into(),
            params: Value::Null,
            during_rollback: false,
        }],
        rollout: Some(rollout()),
        objectives: vec![availability(), p95()],
        windows: Vec::new(),
        guards: Vec::new(),
        verdict: VerdictRule::default(),
        files: BTreeMap::new(),
        secrets: Vec::new(),
    }
}
