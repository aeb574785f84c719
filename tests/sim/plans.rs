//! Plans for simulated and in-memory runs. Must not touch anything.

use shakedown_core::plan::{
    Action, Afterwards, ArmChoice, Connections, Cookies, Environment, EnvironmentClass, FaultPlan, Form, Identify, IdentifyBy, Indicator,
    Limit, LimitValue, Limits, Match, Model, Objective, On, Plan, Rehearse, RollbackPlan, Rollout, Segment, Service, ServiceKind, Stage,
    Stream, VerdictRule, When, WindowRef,
};
use shakedown_core::units::{Ppm, Rate, Span};
use std::collections::BTreeMap;

/// A plan with one stream and one service, no faults and no rollout.
pub fn plain(traffic: Span) -> Plan {
    Plan {
        version: 1,
        name: "simulated".into(),
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
            name: "sim".into(),
            class: EnvironmentClass::Local,
            allow: vec!["127.0.0.0/8".into()],
            limits: Limits::default(),
            services: vec![service("shop")],
            targets: BTreeMap::new(),
            proxies: Vec::new(),
        },
        setup: vec![command("setup")],
        teardown: vec![command("teardown")],
        preflight: Vec::new(),
        streams: vec![stream("shoppers", When::At(Span::ZERO), traffic)],
        faults: Vec::new(),
        rollout: None,
        objectives: vec![availability()],
        windows: Vec::new(),
        guards: Vec::new(),
        verdict: VerdictRule::default(),
        files: BTreeMap::new(),
        secrets: Vec::new(),
    }
}

/// At least 90 % of the requests succeed.
fn availability() -> Objective {
    Objective {
        name: "availability".into(),
        indicator: Indicator::SuccessRate,
        limit: Limit { min: true, value: LimitValue::Fixed(0.9), floor: None, text: "90%".into() },
        arm: ArmChoice::All,
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

/// A service of that name.
pub fn service(name: &str) -> Service {
    Service {
        name: name.into(),
        kind: ServiceKind::Command(vec!["./service".into()]),
        env: BTreeMap::new(),
        ready: None,
        stop_signal: "TERM".into(),
        stop_within: Span::secs(2),
        restart: false,
    }
}

/// A command action.
pub fn command(name: &str) -> Action {
    Action::Command(vec![name.into()])
}

/// A stream at 100/s.
pub fn stream(name: &str, at: When, length: Span) -> Stream {
    let shape = vec![Segment { length, form: Form::Hold(Rate::from_per_second(100.0)) }];
    Stream {
        name: name.into(),
        target: "shop".into(),
        at,
        model: Model::Open { poisson: false, shape },
        warmup: Span::secs(1),
        timeout: Span::secs(1),
        retry: None,
        connections: Connections { max: 8, prewarm: 0, ..Connections::default() },
        cookies: Cookies::None,
        feeds: Vec::new(),
        journeys: Vec::new(),
    }
}

/// A fault on a service.
pub fn fault(name: &str, at: When, length: Span) -> FaultPlan {
    FaultPlan {
        name: name.into(),
        at,
        length,
        on: On::Service("shop".into()),
        share: Ppm::ONE,
        matches: Match::default(),
        kind: "latency".into(),
        params: serde_json::Value::Null,
        during_rollback: false,
    }
}

/// A stage in percent and seconds.
pub fn stage(name: &str, percent: u32, hold: u64, extend: u64) -> Stage {
    Stage {
        name: name.into(),
        weight: Ppm(percent * 10_000),
        hold: Span::secs(hold),
        extend: Span::secs(extend),
        min_samples: None,
        gate: vec!["availability".into()],
    }
}

/// A rollout over these stages.
pub fn rollout(stages: Vec<Stage>) -> Rollout {
    Rollout {
        driver: "fake".into(),
        params: serde_json::Value::Null,
        control: "v1".into(),
        canary: "v2".into(),
        artifact: None,
        identify: Identify { by: IdentifyBy::Header("x-release".into()), control: vec!["v1".into()], canary: vec!["v2".into()] },
        baseline: Span::secs(2),
        stages,
        rehearse: Rehearse::LastStage,
        rollback: RollbackPlan {
            before: vec![command("compensate")],
            restored_when: vec!["availability".into()],
            restored_within: Span::secs(5),
            failed_requests: None,
        },
        afterwards: Afterwards::Restore,
    }
}
