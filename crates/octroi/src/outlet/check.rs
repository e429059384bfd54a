//! What a look at a target, or at a listener's certificates, finds before a hub
//! relies on it: facts, and what is missing with what mends it. Looking changes
//! nothing there.

use octroi_policy::Text;
use serde::Serialize;

/// What a look at one of them found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Whether it answered at all; if not, the first finding says why.
    pub reached: bool,
    /// Name and value, in the order looked at.
    pub facts: Vec<(&'static str, String)>,
    /// What is missing, and what is to be thought about.
    pub findings: Vec<Finding>,
}

/// One thing found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub weight: Weight,
    /// What is wrong.
    pub message: Text,
    /// What mends it: a command wherever there is one.
    pub mend: Text,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// Deliveries fail, or can be lost, until it is mended.
    Missing,
    /// It works as it is.
    Advice,
}

impl Checked {
    /// A target that did not answer, and why.
    #[must_use]
    pub fn unreachable(message: Text, mend: Text) -> Self {
        let mut checked = Self::default();
        checked.missing(message, mend);
        checked
    }

    /// Whether something is missing.
    #[must_use]
    pub fn is_missing_something(&self) -> bool {
        self.findings.iter().any(|finding| finding.weight == Weight::Missing)
    }

    pub(crate) fn fact(&mut self, name: &'static str, value: impl Into<String>) {
        self.facts.push((name, value.into()));
    }

    pub(crate) fn missing(&mut self, message: Text, mend: Text) {
        self.findings.push(Finding { weight: Weight::Missing, message, mend });
    }

    pub(crate) fn advice(&mut self, message: Text, mend: Text) {
        self.findings.push(Finding { weight: Weight::Advice, message, mend });
    }
}
