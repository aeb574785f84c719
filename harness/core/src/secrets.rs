//! Secret values of a run: looked up at the last moment, redacted from everything that is kept or printed.

use std::collections::BTreeMap;
use std::fmt;

/// Shortest secret that is redacted by searching for it; anything shorter would cut ordinary text to pieces.
const SHORTEST: usize = 4;

/// Secrets by name. Its `Debug` shows names only.
#[derive(Clone, Default)]
pub struct Secrets(BTreeMap<String, String>);

impl Secrets {
    /// Adds a secret.
    pub fn insert(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }

    /// A secret's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Replaces `${secret:NAME}` references by their values; unknown names stay as they are.
    #[must_use]
    pub fn resolve(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |t, (name, value)| t.replace(&format!("${{secret:{name}}}"), value))
    }

    /// Replaces every occurrence of a value by its `${secret:NAME}` reference.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        let long = self.0.iter().filter(|(_, v)| v.len() >= SHORTEST);
        long.fold(text.to_owned(), |t, (name, value)| t.replace(value.as_str(), &format!("${{secret:{name}}}")))
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
