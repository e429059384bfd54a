//! The data-sensitivity policy: what may leave, and where to.
//!
//! This crate parses a policy, checks it, decides messages by it and explains
//! its decisions. It is pure: it sees no clock, no file, no socket, no log.
//! Today's date, the bytes of the files and the pseudonymisation keys are
//! arguments.
//!
//! INVARIANT: deciding is total. [`Policy::decide`] returns a [`Decision`],
//! never an error; every doubt is an outcome that keeps the message in the
//! region.

mod arrivals;
pub mod ast;
mod check;
mod cog;
mod compare;
mod coverage;
mod decision;
pub mod diff;
mod engine;
mod explain;
mod facts;
mod finding;
mod fmt;
mod format;
pub mod json;
mod label;
mod mutants;
mod names;
mod parse;
mod place;
mod prove;
mod question;
#[cfg(any(test, feature = "test-util"))]
pub mod reference;
mod render;
mod schema;
mod scratch;
pub mod simulate;
mod testing;
mod text;
mod time;
pub mod topic;
mod transform;
mod witness;

pub use arrivals::{Arrival, arrivals};
pub use check::{acknowledged, against, structural, structural_at};
pub use cog::{Cog, CommuneIx, CommuneSet};
pub use coverage::{Coverage, coverage};
pub use decision::{CopyIx, Decision, DomainIx, Input, Outcome, Reason, RuleIx, SourceIx, SpaceIx, TargetIx};
pub use engine::info::{CopyInfo, DomainInfo, RuleInfo, SourceInfo, SpaceInfo, TargetInfo};
pub use engine::{Policy, PolicyHash};
pub use explain::{CopyState, Explanation, MatchedRule, PolicyName, RequirementState, ShownFacts};
pub use facts::{Ambiguity, Facts, Kind, Leaf, LeafRole, Node, Position, Scalar, leaf_has_type};
pub use finding::{Code, Finding, Location, PlainFinding, PlainWitness, Severity, Witness};
pub use fmt::{FormatError, format_file};
pub use format::{ReadError, read, read_with};
pub use label::{Label, Level, Marking, Markings};
pub use mutants::{Fate, Killer, Mutant, mutants, unmissed};
pub use names::{fold, fold_into, same_name};
pub use parse::{Parsed, SCHEMA, SourceFile, hash, includes, parse};
pub use prove::never;
pub use prove::{Proof, prove, prove_at};
pub use question::QuestionError;
pub use render::{counts, render, render_all, shown};
pub use schema::json_schema;
pub use testing::{TestResult, run_tests};
pub use text::{Lang, Text};
pub use time::{Date, Timestamp, duration_micros};
pub use transform::aggregate;
pub use transform::{
    COPY_ID_KEY, KeySource, Period, PseudonymKey, TransformError, TransformInput, TransformPlan,
    TransformRefused, Transformed,
};
