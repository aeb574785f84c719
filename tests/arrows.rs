//! The allowed arrows between crates, read from `cargo metadata`. Any other arrow fails.

use std::collections::{BTreeMap, BTreeSet};

/// Every crate of the house and what it may use. Tests (dev-dependencies) may use more.
const ALLOWED: &[(&str, &[&str])] = &[
    ("shakedown-core", &[]),
    ("shakedown-scenario", &["shakedown-core"]),
    ("shakedown-judge", &["shakedown-core"]),
    ("shakedown-engine", &["shakedown-core"]),
    ("shakedown-report", &["shakedown-core"]),
    ("shakedown-wire", &["shakedown-core"]),
    ("shakedown-process", &["shakedown-core"]),
    ("shakedown-undo", &["shakedown-core", "shakedown-process"]),
    ("shakedown-net", &["shakedown-core"]),
    ("shakedown-protocols", &["shakedown-core", "shakedown-net"]),
    ("shakedown-load", &["shakedown-core", "shakedown-wire", "shakedown-net", "shakedown-protocols"]),
    ("shakedown-pilot", &["shakedown-core", "shakedown-wire"]),
    ("shakedown-rollout", &["shakedown-core", "shakedown-wire", "shakedown-undo"]),
    ("shakedown-injectors", &["shakedown-core", "shakedown-wire", "shakedown-undo"]),
    ("shakedown-peers", &[]), // sees the binary as a stranger does
];

/// Crates that may not be near a pure room: clocks, sockets, runtimes.
const PURE: &[&str] = &["shakedown-core", "shakedown-scenario", "shakedown-judge"];
const IMPURE: &[&str] = &["tokio", "hyper", "mio", "rustix", "nix"];

fn arrows() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = cargo_metadata::MetadataCommand::new().no_deps().exec().expect("cargo metadata works here");
    metadata
        .packages
        .iter()
        .map(|package| {
            let normal = package.dependencies.iter().filter(|d| d.kind == cargo_metadata::DependencyKind::Normal);
            (package.name.to_string(), normal.map(|d| d.name.clone()).collect())
        })
        .collect()
}

#[test]
fn only_the_allowed_arrows_exist() {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    for (package, uses) in arrows() {
        if package == "shakedown" {
            continue; // only the binary knows everything
        }
        let may = allowed.get(package.as_str()).unwrap_or_else(|| panic!("{package} is a new room: draw its arrows here"));
        for used in uses.iter().filter(|u| u.starts_with("shakedown")) {
            assert!(may.contains(&used.as_str()), "{package} must not use {used}");
        }
    }
}

#[test]
fn pure_rooms_know_no_runtime() {
    for (package, uses) in arrows() {
        if PURE.contains(&package.as_str()) {
            let found: Vec<_> = uses.iter().filter(|u| IMPURE.contains(&u.as_str())).collect();
            assert!(found.is_empty(), "{package} is pure and must not use {found:?}");
        }
    }
}
