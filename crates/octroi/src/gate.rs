//! The second gate: may this record leave for this target, now?
//!
//! INVARIANT: an [`Outgoing`] is made here and nowhere else, and only with the
//! permit for its own record and target.

use octroi_policy::TargetIx;

use crate::outlet::Event;

/// The right to hand one record to one target.
/// INVARIANT: made only by the gate, from a decision. No `Clone`, no `Deserialize`.
#[derive(Debug)]
pub struct Permit {
    seq: u64,
    target: TargetIx,
}

/// A record that passed the gate.
#[derive(Debug)]
pub struct Outgoing<'a> {
    permit: Permit,
    event: Event<'a>,
}

impl<'a> Outgoing<'a> {
    /// What leaves.
    #[must_use]
    pub fn event(&self) -> &Event<'a> {
        &self.event
    }
}
