//! The flaws a release can have, by name. Must not implement them: `shop`, `router` and `admin` ask [`Flaws::has`].

use shakedown_core::Fail;

/// Every flaw: name and what it does. The order is the order of [`Flaw`].
pub const FLAWS: &[(&str, &str)] = &[
    ("slow-tail", "15% of the requests take 60 to 150 ms longer"),
    ("errors", "5% of the requests are answered with 500"),
    ("slow", "every request takes twice as long"),
    ("empty-body", "every answer is 200 with an empty body"),
    ("drops-writes", "5% of the accepted orders are acknowledged but never stored"),
    ("no-retry-budget", "a failed payment is tried three more times at once"),
    ("refuses-rollback", "the router answers 409 to every decrease of the canary's weight"),
    ("slow-rollback", "the router acknowledges and reports a decrease at once, but routes by the old weight for 8 s"),
    ("ignores-weight", "the router acknowledges and reports every weight, but after the first one above 0 sends 12% to the canary"),
    ("rollback-errors", "the router answers 503 to every request for 2 s after a decrease"),
];

/// Index into [`FLAWS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    SlowTail,
    Errors,
    Slow,
    EmptyBody,
    DropsWrites,
    NoRetryBudget,
    RefusesRollback,
    SlowRollback,
    IgnoresWeight,
    RollbackErrors,
}

/// Flaws that are the router's, though they are written with the canary release.
const ROUTER: [Flaw; 4] = [Flaw::RefusesRollback, Flaw::SlowRollback, Flaw::IgnoresWeight, Flaw::RollbackErrors];

/// A set of flaws.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flaws(u16);

impl Flaws {
    /// Reads names; an unknown one fails with the known ones in the message.
    pub(crate) fn parse(release: &str, names: &[String]) -> Result<Flaws, Fail> {
        let mut set = Flaws::default();
        for name in names {
            let Some(index) = FLAWS.iter().position(|(known, _)| known == name) else {
                let known: Vec<&str> = FLAWS.iter().map(|(known, _)| *known).collect();
                return Err(Fail::new(format!("release {release} has no flaw `{name}`; known flaws: {}", known.join(", "))));
            };
            set.0 |= 1 << index;
        }
        Ok(set)
    }

    /// Is the flaw in the set?
    pub(crate) fn has(self, flaw: Flaw) -> bool {
        self.0 & (1 << flaw as u16) != 0
    }

    /// The names of the router's flaws in the set.
    pub(crate) fn of_router(self) -> Vec<&'static str> {
        ROUTER.into_iter().filter(|flaw| self.has(*flaw)).map(|flaw| FLAWS[flaw as usize].0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_variants_have_the_same_order() {
        let pairs = [
            ("slow-tail", Flaw::SlowTail),
            ("errors", Flaw::Errors),
            ("slow", Flaw::Slow),
            ("empty-body", Flaw::EmptyBody),
            ("drops-writes", Flaw::DropsWrites),
            ("no-retry-budget", Flaw::NoRetryBudget),
            ("refuses-rollback", Flaw::RefusesRollback),
            ("slow-rollback", Flaw::SlowRollback),
            ("ignores-weight", Flaw::IgnoresWeight),
            ("rollback-errors", Flaw::RollbackErrors),
        ];
        assert_eq!(pairs.len(), FLAWS.len());
        for (name, flaw) in pairs {
            let set = Flaws::parse("v2", &[name.to_owned()]).expect("a known flaw");
            assert!(set.has(flaw), "{name}");
            assert_eq!(set.0.count_ones(), 1, "{name}");
        }
    }

    #[test]
    fn an_unknown_flaw_names_the_known_ones() {
        let fail = Flaws::parse("v2", &["slow-tale".to_owned()]).expect_err("unknown");
        assert!(fail.0.contains("`slow-tale`") && fail.0.contains("slow-tail"), "{fail}");
    }
}
