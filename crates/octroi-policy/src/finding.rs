//! What `check` says: one finding a fault, each with its code, place, reason,
//! mend and, where there can be one, a witness that shows it.

use std::fmt;

use serde::Serialize;

use crate::ast::Given;
use crate::{Date, Text};

/// Where in the policy's files.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Location {
    /// As it was given to the parser.
    pub file: String,
    /// From 1; 0: the policy as a whole.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// What a finding does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Severity {
    /// Refuses the policy.
    #[serde(rename = "error")]
    Error,
    /// Needs an `[[acknowledge]]`.
    #[serde(rename = "warning")]
    Warning,
    /// Informs.
    #[serde(rename = "info")]
    Info,
}

macro_rules! codes {
    ($($code:ident $meaning:literal,)*) => {
        /// The checks, by the code that operators, editors and acknowledgements use.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub enum Code { $(#[doc = $meaning] $code,)* }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$code,)*];

            /// `"C01"`, …
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$code => stringify!($code),)* }
            }

            /// What the check finds, in a phrase.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$code => $meaning,)* }
            }
        }
    };
}

codes! {
    C01 "syntax, unknown key or wrong type",
    C02 "a code written as a number",
    C03 "an undefined reference",
    C04 "defined, never used",
    C05 "unknown commune, EPCI, département, region or SIREN form, or wrong vintage",
    C06 "two spaces fit at the same scale for a commune a source can produce",
    C07 "a coverage hole: a commune and domain of a source with no space",
    C08 "a domain without a space at any of its scales",
    C09 "a reachable label has no allowed space at any scale",
    C10 "an invariant can be broken",
    C12 "data about persons without a `processing` record",
    C13 "a processing without legal basis, retention or, where sensitive, impact assessment",
    C14 "marking and level disagree",
    C15 "a transform claims to lower more than its steps can",
    C16 "a declassification without scope, justification, approver or expiry, or an expired one",
    C17 "an aggregate of fewer devices than `k_min`",
    C18 "an identifier leaves through the topic or metadata of a copy",
    C19 "a copy of personal input to a cloud without `keep_only` or `aggregate`",
    C20 "a pseudonymisation key in the file, or one without rotation",
    C21 "a dated record has expired or expires within 90 days",
    C22 "exposure to extra-EU law not stated",
    C23 "a requirement that is pending law, and flows that will stop conforming",
    C24 "the quarantine's premises are not allowed for `restricted`",
    C25 "a rule that can never match",
    C26 "a rule always dominated by another",
    C27 "allowed topics that no rule classifies",
    C28 "a rule at `open` without a closed schema, or with `text` in it",
    C29 "a rule that lowers by the sender's own declaration",
    C30 "a source without authenticated identity, or two sources with one identity",
    C31 "a path from a target back to devices",
    C32 "an `open` flow with no place of publication",
    C33 "a mosaic: a space joins streams whose union is more sensitive than each",
    C34 "a test fails",
    C35 "the author approves, or the version does not increase",
    C36 "what changes against the policy in force",
    C38 "a target without a reversibility clause",
    C39 "more than the hub takes: rules, fields, depth or lists",
    C40 "health data that may be hosted without an HDS certificate",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What shows a fault: fed to `explain`, it comes out as the finding says.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Witness {
    /// In words: a commune, a flow, a message.
    pub text: Text,
    /// The message, written as a test gives one; `None` where no message can show it.
    pub given: Option<Given>,
    /// The day on which it shows, where that is not any day.
    pub at: Option<Date>,
}

impl<T: Into<Text>> From<T> for Witness {
    fn from(text: T) -> Self {
        Self { text: text.into(), given: None, at: None }
    }
}

/// One fault found in a policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// Which check.
    pub code: Code,
    /// What it does.
    pub severity: Severity,
    /// Where.
    pub location: Location,
    /// What is wrong, with names in backticks.
    pub message: Text,
    /// Why it matters.
    pub why: Text,
    /// How to mend it.
    pub fix: Text,
    /// A concrete message, commune or flow that shows it.
    pub witness: Option<Witness>,
}
