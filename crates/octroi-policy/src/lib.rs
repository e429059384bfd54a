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

pub mod ast;
mod facts;
mod finding;
mod label;
mod time;

pub use facts::{Ambiguity, Facts, Kind, Leaf, LeafRole, Node, Position, Scalar};
pub use finding::{Code, Finding, Location, Severity};
pub use label::{Label, Level, Marking, Markings};
pub use time::{Date, Timestamp};
