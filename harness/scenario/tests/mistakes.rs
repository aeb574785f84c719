//! Every mistake has its place, a message and a hint. `^` in a replacement marks where the problem must stand.

mod common;

use common::{GOOD, run, run_with};
use shakedown_core::tree::Problems;
use shakedown_scenario::{line_column, render};
use std::path::Path;

/// Replaces `from` by `to` (less its `^`) and expects exactly one problem, at the `^`.
fn check(from: &str, to: &str, message: &str, hint: &str) {
    assert!(GOOD.contains(from), "`{from}` is not in the good scenario");
    let marked = GOOD.replacen(from, to, 1);
    let at = marked.find('^').expect("a mark");
    let text = marked.replacen('^', "", 1);
    let problems = run(&text).expect_err(to);
    let shown = render(&problems, Path::new("x.yaml"), &text);
    let [problem] = problems.0.as_slice() else { panic!("one problem expected for `{to}`:\n{shown}") };
    assert_eq!(line_column(&text, problem.span.start), line_column(&text, at), "place of `{to}`:\n{shown}");
    assert!(problem.message.contains(message), "message of `{to}`: {shown}");
    let got = problem.hint.as_deref().unwrap_or_default();
    assert_eq!(hint.is_empty(), got.is_empty(), "hint of `{to}`: {shown}");
    assert!(got.contains(hint), "hint of `{to}`: {shown}");
}

#[test]
fn head_and_environment() {
    for (from, to, message, hint) in [
        ("version: 1\n", "version: ^2\n", "`2` is not a version", "write version: 1"),
        ("owner: payments-sre", "^ownr: payments-sre", "unknown key `ownr` in scenario", "did you mean `owner`?"),
        ("name: checkout-canary", "name: ^Checkout", "`Checkout` is not a name", "small letters"),
        ("seed: 7", "seed: ^-1", "is not a seed", ""),
        ("time_box: 6m", "time_box: ^30", "`30` has no unit; write `30s`", ""),
        ("time_box: 6m", "time_box: ^100s", "below the least possible length, 2m", "at least time_box: 2m"),
        ("class: local", "class: ^lokal", "`lokal` is not a value of class", "did you mean `local`?"),
        ("[127.0.0.0/8,", "[127.0.0.0/8, ^10.0.0.0/8,", "outside loopback", "class: shared"),
        ("[127.0.0.0/8,", "[127.0.0.0/8, ^12.0/8,", "is not an address block", "write 127.0.0.0/8"),
        ("rate: 2000/s", "rate: ^2000", "has no unit", ""),
        ("in_flight: 2000}", "in_flight: 2000, ^cost: 5}", "`cost` is not available yet", "later version"),
        ("  class: local", "  class: local\n  ^lock: {webhook: x}", "`lock` is not available yet", "later version"),
        ("v2: [slow-tail]", "v2: [^slow-tale]", "there is no flaw `slow-tale`", "did you mean `slow-tail`?"),
        ("builtin: stub", "builtin: ^stupid", "`stupid` is not a value of builtin", "did you mean `stub`?"),
        ("answers: bank.yaml", "answers: ^nobank.yaml", "`nobank.yaml` cannot be read", "relative to the scenario"),
        ("payments: proxy.payments", "payments: ^proxy.payment", "there is no endpoint `proxy.payment`", "did you mean `proxy.payments`?"),
        ("pid_file: queue.pid", "^container: rabbit-1", "`container` is not available yet", "later"),
        ("signal: TERM", "signal: ^STOP", "`STOP` is not a value of signal", "there is: TERM"),
        ("shop: pilot.router", "shop: ^web.http", "the service `web` has no endpoints", "http://127.0.0.1:8080"),
        ("shop: pilot.router", "shop: ^127.0.0.1:80", "is not an endpoint", "write http://127.0.0.1:80"),
        ("http: 1.1", "http: ^3", "HTTP/3 is not spoken yet", "write http: 2"),
        (
            "url: \"http://127.0.0.1:9100/base\"",
            "url: ^\"http://10.0.0.1:9100/base\"",
            "10.0.0.1:9100 is not in environment.allow",
            "add its block",
        ),
        ("url: \"http://127.0.0.1:9100/base\"", "url: ^\"http://me:pw@127.0.0.1/\"", "user or password", "${secret:NAME}"),
        ("upstream: pilot.payments", "upstream: ^proxy.nothing", "no endpoint `proxy.nothing`", "there is: "),
        ("listen: 127.0.0.1:19001", "listen: ^0.0.0.0:19001", "outside loopback", "listen on 127.0.0.1"),
        (
            "  payments: {listen: 127.0.0.1:19001, upstream: pilot.payments",
            "  ^payments: {upstream: proxy.payments",
            "forwards to itself",
            "upstream",
        ),
    ] {
        check(from, to, message, hint);
    }
}

#[test]
fn traffic_and_requests() {
    for (from, to, message, hint) in [
        ("target: shop\n", "target: ^shoop\n", "there is no target `shoop`", "did you mean `shop`?"),
        ("arrivals: poisson", "arrivals: ^posson", "`posson` is not a value of arrivals", "did you mean `poisson`?"),
        ("to: 300/s", "to: ^300", "has no unit", ""),
        ("by: 3x", "by: ^3", "is not a factor", ""),
        ("{hold: 2m, rate: 300/s}", "^{hald: 2m, rate: 300/s}", "", ""),
        ("timeout: 2s", "timeout: ^2", "has no unit", ""),
        ("attempts: 2", "attempts: ^1", "out of range", ""),
        ("[connect, 503]", "[connect, ^5oo]", "nothing to retry on", "a status like 503"),
        ("prewarm: 16", "^prewarm: 300", "more than max", ""),
        ("pick: zipf(1.1)", "pick: ^zip", "is not a way to pick", ""),
        ("csv: products.csv", "csv: ^product.csv", "cannot be read", "relative"),
        ("{{ products.id }}\", expect", "{{ products.idd }}\", expect", "", ""),
        ("cookies: journey", "^cookies: user", "`cookies: user` needs `users`", "open traffic"),
        ("think: 200ms..1s", "think: ^2s..1s", "ends before it begins", ""),
        ("$.id}", "^$.[}", "", ""),
        ("capture: {cart: $.id}", "capture: {cart: ^id}", "is not a JSONPath", "write $.id"),
        ("{{ cart }}", "{{ basket }}", "", ""),
        ("status: [2xx, 302]", "status: [^7xx, 302]", "`7xx` is not a status", "2xx"),
        ("get: /orders/recent", "get: ^orders/recent", "is not a path", "`/orders/recent`"),
        ("format: access-log", "format: ^har", "`format: har` is not available yet", "later"),
        ("format: access-log", "format: ^accesslog", "is not a value of format", "access-log"),
        ("speed: 2x", "speed: ^2", "is not a speed", ""),
        ("[{post: \"{{ targets.shop }}/admin", "[{post: ^\"/admin", "is not a whole URL", "targets.NAME"),
        ("expect: {status: [2xx, 302]}}", "expect: {status: 200}, ^ledger: {key: x}}", "`ledger` is not available yet", "later"),
        ("count: 20", "count: ^0", "out of range", ""),
    ] {
        if message.is_empty() {
            let text = GOOD.replacen(from, &to.replace('^', ""), 1);
            assert!(run(&text).is_err(), "{to}");
        } else {
            check(from, to, message, hint);
        }
    }
}

#[test]
fn faults_and_rollout() {
    for (from, to, message, hint) in [
        ("on: {proxy: payments}", "on: {proxy: ^payment}", "there is no proxy `payment`", "did you mean `payments`?"),
        ("on: {proxy: payments}", "on: {^host: h}", "`host` is not available yet", "later"),
        ("share: 30%", "share: ^0.3", "a share is written with %", "did you mean `30%`?"),
        ("    latency: {delay: 200ms}", "    latency: {^delai: 200ms}", "unknown key `delai`", "did you mean `delay`?"),
        ("    latency: {delay: 200ms}", "    ^latenzy: {delay: 200ms}", "", ""),
        ("    for: 45s", "    for: 45s\n    ^until: mark", "`until` is not available yet", "later"),
        ("on: {service: web}, pause: {}", "on: {service: web}, ^latency: {}", "cannot sit on a service", "it sits on: proxy"),
        ("on: {service: web}, pause: {}}", "on: {service: web}, netem: {}}", "", ""),
        ("{after: payments-slow, plus", "{after: ^payments-slo, plus", "there is no fault `payments-slo`", "did you mean `payments-slow`?"),
        ("  web-stops: {at: {after: payments-slow,", "  ^web-stops: {at: {after: web-stops,", "waits for itself", "after"),
        ("  web-stops: {at: {after: payments-slow, plus: 5s}", "  web-stops: {at: ^{recorded: x}", "", ""),
        ("late: {from: 30s", "^full: {from: 30s", "", ""),
        ("windows: {late", "windows: {^steady: {from: 1s, to: 2s}, late", "`steady` is a reserved word", "rename the window"),
        ("driver: {builtin: pilot}", "driver: {builtin: ^web}", "there is no embedded shop `web`", "there is: pilot"),
        ("driver: {builtin: pilot}", "driver: {^envoy: {}}\n  identify: {header: x}", "the driver `envoy` is not available yet", "later"),
        ("driver: {builtin: pilot}", "^driver: {command: {}}", "rollout needs `identify`", "identify: {header: NAME}"),
        ("control: v1", "control: ^v3", "there is no release of `pilot` `v3`", "v1"),
        ("weight: 25%", "weight: ^25", "a share is written with %", "`25%`"),
        (
            "hold: 60s, min_samples: 500, gate: [availability, p95]",
            "hold: 60s, min_samples: 500, gate: [availability, ^p59]",
            "there is no objective `p59`",
            "did you mean `p95`?",
        ),
        (
            "hold: 60s, min_samples: 500, gate: [availability, p95]",
            "hold: 60s, min_samples: 500, gate: [^in-fault]",
            "cannot be judged in the stage `canary-25`",
            "window of its own",
        ),
        (
            "weight: 100%, hold: 30s}",
            "weight: 100%, hold: 30s, gate: [^p95]}",
            "cannot be judged in the stage `full`",
            "no concurrent control",
        ),
        ("hold: 60s,", "hold: 60s, ^before: {approval: x},", "`before` is not available yet", "later"),
        ("rehearse: {rollback: last-stage}", "rehearse: {^detect: payments-slow}", "`detect` is not available yet", "later"),
        ("restored_when: [availability]", "restored_when: [^p95]", "cannot say that service is restored", "fixed limit"),
        ("  baseline: 10s\n", "  baseline: 10s\n  ^shadow: {by: harness}\n", "`shadow` is not available yet", "later"),
    ] {
        if message.is_empty() {
            let text = GOOD.replacen(from, &to.replace('^', ""), 1);
            assert!(run(&text).is_err(), "{to}");
        } else {
            check(from, to, message, hint);
        }
    }
}

#[test]
fn objectives_guards_and_verdict() {
    for (from, to, message, hint) in [
        (
            "indicator: success_rate, min: 99.5%",
            "indicator: ^sucess_rate, min: 99.5%",
            "no indicator `sucess_rate`",
            "did you mean `success_rate`?",
        ),
        ("indicator: success_rate, min: 95%", "indicator: ^lost_writes, max: 0", "`lost_writes` is not available yet", "later"),
        ("indicator: success_rate, min: 95%", "indicator: success_rate, ^max: 95%", "`max` makes no sense", "write min"),
        ("min: 99.5%", "min: ^0.995", "a share is written with %", "99.5%"),
        ("max: 1.5x control, confidence", "max: ^1.5x run:old, confidence", "`x run:DIR` is not available yet", "later"),
        ("max: 1.5x control, confidence", "max: ^1.5x contrl, confidence", "nothing to compare with", "control or before"),
        ("max: 1.5x control, floor: 0.1%", "max: ^1.5x control", "a ratio of rates needs `floor`", "floor: 0.1%"),
        ("quantile: p95,", "quantile: ^95,", "is not a quantile", "p95"),
        ("journey: buy, min", "journey: ^bui, min", "there is no journey `bui`", "did you mean `buy`?"),
        ("step: order, window", "step: ^ordr, window", "there is no step `ordr`", "did you mean `order`?"),
        ("by: 2026-12-01", "by: ^soon", "is not a date", "2026-12-01"),
        ("window: steady", "window: ^stedy", "there is no window `stedy`", "did you mean `steady`?"),
        ("of: availability, after: payments-slow", "of: availability, after: ^payments", "there is no fault `payments`", "payments-slow"),
        ("confidence: 95%", "confidence: ^20%", "confidence is 50% to 99.99%", ""),
        ("indicator: journey_success,", "indicator: journey_success, ^arm: canary,", "cannot be told by arm", "arm: all"),
        ("over: 500ms", "^over: 50ms", "over is 100ms to 1h", ""),
        ("then: abort", "then: ^explode", "`explode` is not a value of then", "there is: abort"),
        ("max: 20%, then", "max: ^20, then", "a share is written with %", "20%"),
        ("mandatory: [availability]", "mandatory: [^avail]", "there is no objective `avail`", "there is:"),
        ("at_least: 5", "at_least: ^50", "out of range", ""),
        (
            "preflight: [availability]",
            "preflight: [^{indicator: alerts_firing, via: a, max: 0}]",
            "by a signal is not available yet",
            "later",
        ),
        ("preflight: [availability]", "preflight: [^p95]", "cannot be judged before the first change", "fixed limit"),
        ("verdict:", "^signals: {a: {prometheus: x}}\nverdict:", "`signals` is not available yet", "later"),
    ] {
        check(from, to, message, hint);
    }
}

#[test]
fn substitution_and_secrets() {
    check("\"${RATE}\"", "^\"${NOPE}\"", "`NOPE` is not set", "--set NOPE=");
    check("description: Canary", "description: ^${UNCLOSED Canary", "`${` is not closed", "$${");
    check("KEY: \"${secret:TOKEN}\"", "KEY: ^\"${secret:NOPE}\"", "the secret `NOPE` is not set", "NOPE_FILE");
    check("KEY: \"${secret:TOKEN}\"", "KEY: ^\"${secret:HOLD}\"", "the secret `HOLD` is not set", "--set is not used");
    let literal = run(&GOOD.replacen("description: Canary", "description: $${X} Canary", 1)).unwrap();
    assert!(literal.plan.description.starts_with("${X} Canary"));
    let text = GOOD.replacen("\"${RATE}\"", "\"${BAD}\"", 1);
    let set = [("BAD".to_owned(), "${secret:TOKEN}".to_owned())].into();
    let problems = run_with(&text, |s| s.set = Box::leak(Box::new(set))).unwrap_err();
    assert!(problems.0.iter().any(|p| p.message.contains("refers to a secret")), "{problems:?}");
}

#[test]
fn columns_and_captures_are_named() {
    let message = |from: &str, to: &str| -> String {
        let problems = run(&GOOD.replacen(from, to, 1)).unwrap_err();
        problems.0.iter().map(|p| format!("{} / {}\n", p.message, p.hint.as_deref().unwrap_or_default())).collect()
    };
    let got = message("{{ products.id }}\", expect", "{{ products.price }}\", expect");
    assert_eq!(got, "there is no column of `products` `price` / there is: id, name\n");
    let got = message("a b {{ cart }}", "a b {{ basket }}");
    assert!(got.contains("`{{ basket }}` is not defined here") && got.contains("cart"), "{got}");
    let got = message("{{ targets.shop }}", "{{ targets.shp }}");
    assert!(got.contains("no target `shp` / did you mean `shop`?"), "{got}");
    let got = message("answers: bank.yaml", "answers: broken.yaml");
    assert!(got.contains("broken.yaml:1:10: `health` is not a path") && got.contains("broken.yaml:1:18: unknown key `statu`"), "{got}");
}

#[test]
fn gates_need_samples_that_can_come() {
    let one = GOOD.replace("availability: {indicator: success_rate,", "availability: {indicator: success_rate, stream: shoppers,");
    let problems = run(&one.replace("min_samples: 100,", "min_samples: 100000,")).unwrap_err();
    assert_eq!(problems.0.len(), 1, "p95 also counts streams that cannot be foretold: {problems:?}");
    assert!(problems.0[0].message.contains("`availability` cannot be judged in the stage `canary-5`"), "{problems:?}");
    // From 15 s: 15 s at 50/s, then 27 s of a ramp by 8.33/s each second; at 1.1 requests an arrival, 5 % of them.
    let hint = problems.0[0].hint.as_deref().unwrap_or_default();
    assert_eq!(hint, "it needs 100000 samples and about 283 are expected within hold + extend");
}

#[test]
fn faults_that_do_not_compose() {
    let more = "faults:\n  again: {at: 90s, for: 30s, on: {proxy: payments}, latency: {delay: 1ms}}\n";
    let problems = run(&GOOD.replacen("faults:\n", more, 1)).unwrap_err();
    assert!(problems.0[0].message.contains("`again` and `payments-slow` change the same thing"), "{problems:?}");
    let problems = run(&GOOD.replacen("on: {service: web}, pause: {}", "on: {service: web}, netem: {}", 1)).unwrap_err();
    assert_eq!((problems.0[0].message.as_str(), problems.0[0].hint.as_deref()), ("netem: netem needs root", Some("run as root")));
    let other = more.replace("90s", "105s");
    assert!(run(&GOOD.replacen("faults:\n", &other, 1)).is_ok(), "one after the other is fine");
}

#[test]
fn limits_bind_the_scenario() {
    let all = |text: &str, confirm: Option<&'static str>| -> Vec<String> {
        let found: Problems = run_with(text, |s| s.confirm = confirm).err().unwrap_or_default();
        found.0.into_iter().map(|p| p.message).collect()
    };
    let got = all(&GOOD.replace("rate: 2000/s", "rate: 299/s"), None);
    assert_eq!(got, ["the shapes reach 300/s together, more than limits.rate, 299/s"]);
    let bare = GOOD.replace("class: local", "class: shared").replace("time_box: 6m\n", "").replace("owner: payments-sre\n", "");
    let got = all(&bare.replace("then: abort", "then: warn"), None);
    assert_eq!(got.len(), 3, "{got:?}");
    assert!(got[0].contains("needs `owner`") && got[1].contains("`time_box`") && got[2].contains("then: abort"), "{got:?}");
    let production =
        GOOD.replace("class: local", "class: production").replace("in_flight: 2000}", "in_flight: 2000, max_weight: 50%, max_share: 20%}");
    let got = all(&production, None);
    assert!(got.iter().any(|m| m.contains("needs a confirmation")), "{got:?}");
    assert!(got.iter().any(|m| m.contains("`full` has weight 100%, more than limits.max_weight")), "{got:?}");
    assert!(got.iter().any(|m| m.contains("`payments-slow` hits 30%, more than limits.max_share")), "{got:?}");
    assert!(!all(&production, Some("pilot-eu")).iter().any(|m| m.contains("confirmation")));
}

#[test]
fn many_problems_in_one_pass() {
    let mut text = GOOD.to_owned();
    for (from, to) in [
        ("owner:", "ownr:"),
        ("seed: 7", "seed: x"),
        ("class: local", "class: l"),
        ("to: 300/s", "to: 300"),
        ("timeout: 2s", "timeout: 2"),
        ("share: 30%", "share: 30"),
        ("weight: 5%", "weight: 5"),
        ("by: 2026-12-01", "by: soon"),
        ("then: abort", "then: x"),
        ("at_least: 5", "at_least: x"),
        ("listen: 127.0.0.1:19001", "listen: nowhere"),
        ("{{ cart }}", "{{ nothing }}"),
        ("seed, expect", "seed, expect"),
    ] {
        text = text.replacen(from, to, 1);
    }
    let problems = run(&text).unwrap_err();
    let shown = render(&problems, Path::new("many.yaml"), &text);
    assert!(problems.0.len() >= 12, "{shown}");
    assert!(problems.0.is_sorted_by_key(|p| p.span.start));
    assert!(
        shown.contains("many.yaml:5:1: unknown key `ownr` in scenario\n 5 | ownr: payments-sre\n   | ^^^^\n   hint: did you mean `owner`?"),
        "{shown}"
    );
}

#[test]
fn what_must_be_there() {
    let got: Vec<String> = run("version: 1\nname: x\n").unwrap_err().0.into_iter().map(|p| p.message).collect();
    assert_eq!(got, ["scenario needs `environment`", "scenario needs `traffic`", "a scenario without `slos` proves nothing"]);
    assert!(run("").unwrap_err().0[0].message.contains("empty"));
    assert!(run("- a\n").unwrap_err().0[0].message.contains("must be a map"));
    let empty = GOOD.split("slos:").next().unwrap().to_owned() + "slos: {}\n";
    assert!(run(&empty).unwrap_err().0.iter().any(|p| p.message.contains("without objectives")));
}
