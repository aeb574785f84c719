//! Names: their form, reserved words, the index of everything a scenario names, suggestions. The index is made from the
//! raw tree before anything is decoded, so that references resolve whichever way they point.

use shakedown_core::tree::{Node, Problems, Tree};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Words that mean a window of their own.
pub const WINDOWS: [&str; 7] = ["default", "run", "steady", "warmup", "baseline", "rollback", "recovery"];
/// Endpoints of the embedded shop.
pub const SHOP_ENDPOINTS: [&str; 5] = ["router", "control", "canary", "payments", "admin"];
/// Longest name.
const MAX_NAME: usize = 100;
/// Most names a hint lists.
const MAX_LISTED: usize = 20;

/// Everything a scenario names.
#[derive(Default)]
pub struct Names {
    /// Services and the endpoints they offer.
    pub services: BTreeMap<String, Vec<String>>,
    /// Proxies; `true` when HTTP is understood.
    pub proxies: BTreeMap<String, bool>,
    /// Targets.
    pub targets: BTreeSet<String>,
    /// Streams.
    pub streams: BTreeSet<String>,
    /// Faults.
    pub faults: BTreeSet<String>,
    /// Stages.
    pub stages: BTreeSet<String>,
    /// The author's own windows.
    pub windows: BTreeSet<String>,
    /// Objectives.
    pub objectives: BTreeSet<String>,
}

/// Checks a name's form.
pub fn check(name: &str, span: &Range<usize>, p: &mut Problems) -> bool {
    let first = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let rest = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if first && rest && name.len() <= MAX_NAME {
        return true;
    }
    p.hint(
        span,
        format!("`{name}` is not a name"),
        format!("names have small letters, digits and `-`, and start with a letter or digit, at most {MAX_NAME} characters"),
    );
    false
}

/// `did you mean …?`, or the list of what there is.
pub fn suggest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let best = known.iter().map(|k| (strsim::damerau_levenshtein(k, name), *k)).min();
    match best {
        Some((distance, near)) if distance <= 1 + name.len() / 3 => format!("did you mean `{near}`?"),
        Some(_) => {
            let more = if known.len() > MAX_LISTED { ", …" } else { "" };
            format!("there is: {}{more}", known.iter().take(MAX_LISTED).copied().collect::<Vec<_>>().join(", "))
        }
        None => "there is none".into(),
    }
}

/// Checks that a reference resolves.
pub fn resolve<'a>(what: &str, name: &str, known: impl IntoIterator<Item = &'a str>, span: &Range<usize>, p: &mut Problems) -> bool {
    let known: Vec<&str> = known.into_iter().collect();
    let found = known.contains(&name);
    if !found {
        p.hint(span, format!("there is no {what} `{name}`"), suggest(name, known));
    }
    found
}

// === impl Names ===

impl Names {
    /// Reads the names out of the raw tree.
    pub fn index(root: &Node) -> Names {
        let keys = |node: Option<&Node>| -> BTreeSet<String> { entries(node).iter().map(|(k, ..)| k.clone()).collect() };
        let environment = child(root, "environment");
        let environment = |key| environment.and_then(|e| child(e, key));
        let services = entries(environment("services")).iter().map(|(k, _, n)| (k.clone(), endpoints(n))).collect();
        let http = |n: &Node| child(n, "protocol").and_then(Node::text) == Some("http");
        let proxies = entries(environment("proxies")).iter().map(|(k, _, n)| (k.clone(), http(n))).collect();
        let stages = child(root, "rollout").and_then(|r| child(r, "stages"));
        let stages = match stages.map(|s| &s.tree) {
            Some(Tree::Seq(items)) => items.iter().filter_map(|s| Some(child(s, "name")?.text()?.to_owned())).collect(),
            _ => BTreeSet::new(),
        };
        Names {
            services,
            proxies,
            targets: keys(environment("targets")),
            streams: keys(child(root, "traffic")),
            faults: keys(child(root, "faults")),
            stages,
            windows: keys(child(root, "windows")),
            objectives: keys(child(root, "slos")),
        }
    }

    /// All endpoints by their full names.
    pub fn endpoints(&self) -> Vec<String> {
        let of_services = self.services.iter().flat_map(|(s, all)| all.iter().map(move |e| format!("{s}.{e}")));
        of_services.chain(self.proxies.keys().map(|p| format!("proxy.{p}"))).collect()
    }

    /// Checks an endpoint.
    pub fn endpoint(&self, name: &str, span: &Range<usize>, p: &mut Problems) -> bool {
        let all = self.endpoints();
        let bare = name.split_once('.').map(|(s, _)| s).filter(|s| self.services.get(*s).is_some_and(Vec::is_empty));
        if let Some(service) = bare {
            p.hint(
                span,
                format!("the service `{service}` has no endpoints of its own"),
                "only builtin services have; write the address it listens on, like http://127.0.0.1:8080",
            );
            return false;
        }
        resolve("endpoint", name, all.iter().map(String::as_str), span, p)
    }

    /// Faults, stages and windows share one space of names, away from the words that mean windows.
    pub fn unique_timeline(&self, root: &Node, p: &mut Problems) {
        let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
        let stages = child(root, "rollout").and_then(|r| child(r, "stages"));
        let stages: Vec<(&str, &Range<usize>)> = match stages.map(|s| &s.tree) {
            Some(Tree::Seq(items)) => items.iter().filter_map(|s| child(s, "name")).filter_map(|n| Some((n.text()?, &n.span))).collect(),
            _ => Vec::new(),
        };
        let of = |key| entries(child(root, key)).iter().map(|(k, s, _)| (k.as_str(), s)).collect::<Vec<_>>();
        for (what, all) in [("fault", of("faults")), ("stage", stages), ("window", of("windows"))] {
            for (name, span) in all {
                if WINDOWS.contains(&name) {
                    p.hint(span, format!("`{name}` is a reserved word"), format!("it names a window of its own; rename the {what}"));
                } else if let Some(other) = seen.insert(name, what) {
                    p.hint(
                        span,
                        format!("the name `{name}` is taken by a {other}"),
                        "faults, stages and windows have names that are unique together",
                    );
                }
            }
        }
    }
}

/// The value under a key of a map; an explicit null counts as not given.
pub fn child<'a>(node: &'a Node, key: &str) -> Option<&'a Node> {
    entries(Some(node)).iter().find(|(k, ..)| k == key).map(|(.., n)| n).filter(|n| n.tree != Tree::Null)
}

fn entries(node: Option<&Node>) -> &[(String, Range<usize>, Node)] {
    match node.map(|n| &n.tree) {
        Some(Tree::Map(entries)) => entries,
        _ => &[],
    }
}

fn endpoints(service: &Node) -> Vec<String> {
    match child(service, "builtin").and_then(Node::text) {
        Some("shop") => SHOP_ENDPOINTS.iter().map(|e| (*e).to_owned()).collect(),
        Some("stub") => vec!["http".into()],
        // What it was meant to be is unknown: its endpoints are no mistake of their own.
        _ if child(service, "command").is_none() && child(service, "attach").is_none() => {
            SHOP_ENDPOINTS.into_iter().chain(["http"]).map(str::to_owned).collect()
        }
        _ => Vec::new(),
    }
}
