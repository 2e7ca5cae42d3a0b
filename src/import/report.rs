//! What is carried and what is not.

use std::collections::BTreeMap;

/// Sentences for the operator. What repeats is counted, not repeated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    carried: Vec<String>,
    left: BTreeMap<String, u64>,
}

impl Report {
    /// Notes something that is carried, perhaps with what is different now.
    pub fn carried(&mut self, what: impl Into<String>) {
        self.carried.push(what.into());
    }

    /// Notes something that is not carried, and why.
    pub fn left(&mut self, what: impl Into<String>) {
        self.left_times(what, 1);
    }

    /// The same, `n` times.
    pub fn left_times(&mut self, what: impl Into<String>, n: u64) {
        if n > 0 {
            *self.left.entry(what.into()).or_default() += n;
        }
    }

    /// Adds another report.
    pub fn extend(&mut self, other: Self) {
        self.carried.extend(other.carried);
        other.left.into_iter().for_each(|(what, n)| self.left_times(what, n));
    }

    /// What is carried, in the order it was found.
    #[must_use]
    pub fn all_carried(&self) -> &[String] {
        &self.carried
    }

    /// What is not, each sentence once.
    #[must_use]
    pub fn all_left(&self) -> Vec<String> {
        let counted = |(what, n): (&String, &u64)| if *n > 1 { format!("{what} ({n} times)") } else { what.clone() };
        self.left.iter().map(counted).collect()
    }
}
