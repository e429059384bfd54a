//! Pauses any outlet on an operator's word. Whether it is paused stands in the
//! journal alone (`record/pause.rs`), so a restart changes nothing.
//!
//! What is on its way when the pause begins may still arrive; what has not after
//! [`DRAIN`] is given back to the relay, so that a target that comes up again
//! while it is paused gets nothing.
//!
//! INVARIANT: while it is paused, nothing is offered to the outlet inside.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use octroi_policy::{Timestamp, text};

use super::{Bounds, DeliverError, Outgoing, Outlet, Progress};
use crate::committer::JournalView;
use crate::status::OutletState;

/// How long what is on its way may take to arrive.
const DRAIN: Duration = Duration::from_secs(10);

/// An outlet that can be paused.
pub struct Switch {
    inner: Box<dyn Outlet>,
    /// The journal's bit for the target.
    target: u8,
    journal: Arc<ArcSwap<JournalView>>,
    state: State,
    /// Something is on its way, as of the last poll.
    in_flight: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Paused; what is on its way may arrive until then.
    Draining(Timestamp),
    Paused,
}

impl Switch {
    /// Around `inner`, which serves the target of that bit.
    #[must_use]
    pub fn new(inner: Box<dyn Outlet>, target: u8, journal: Arc<ArcSwap<JournalView>>) -> Self {
        let paused = journal.load().ledger.paused.contains_key(&target);
        let state = if paused { State::Paused } else { State::Open };
        Self { inner, target, journal, state, in_flight: false }
    }
}

impl Outlet for Switch {
    fn offer(&mut self, record: &Outgoing<'_>) -> Result<(), DeliverError> {
        if self.state == State::Open { self.inner.offer(record) } else { Err(DeliverError::Full) }
    }

    fn poll(&mut self, wait: Duration, now: Timestamp) -> Result<Progress, DeliverError> {
        let why = self.journal.load().ledger.paused.get(&self.target).map(|paused| paused.why.clone());
        let Some(why) = why else {
            self.state = State::Open;
            return self.inner.poll(wait, now);
        };
        self.state = match self.state {
            State::Open => {
                let drain = i64::try_from(DRAIN.as_micros()).unwrap_or(i64::MAX);
                State::Draining(Timestamp(now.0.saturating_add(drain)))
            }
            State::Draining(until) if now >= until => {
                self.state = State::Paused;
                if self.in_flight {
                    let reason = "the way is paused: what did not arrive is kept for later".to_owned();
                    return Err(DeliverError::Rewind { reason });
                }
                State::Paused
            }
            state @ (State::Draining(_) | State::Paused) => state,
        };
        let progress = self.inner.poll(wait, now)?;
        self.in_flight = progress.unacked_from.is_some();
        let reason = text!(
            "paused by an operator ({why}): nothing is sent, nothing is lost; go on with `octroi outlet resume`",
            "suspendue par un opérateur ({why}) : rien n'est envoyé, rien n'est perdu ; reprendre avec `octroi outlet \
             resume`"
        );
        Ok(Progress { state: OutletState::Paused, reason, ..progress })
    }

    fn intended(&mut self, bounds: Bounds) {
        self.inner.intended(bounds);
    }

    fn rewind(&mut self, to: u64, intents: &[Bounds]) {
        self.in_flight = false;
        self.inner.rewind(to, intents);
    }

    fn flush(&mut self, through: u64) {
        self.inner.flush(through);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Paused;
    use crate::outlet::cloudevents::tests::event;

    /// Takes everything and acknowledges nothing.
    #[derive(Default)]
    struct Hanging(Vec<u64>);

    impl Outlet for Hanging {
        fn offer(&mut self, record: &Outgoing<'_>) -> Result<(), DeliverError> {
            self.0.push(record.event().seq);
            Ok(())
        }

        fn poll(&mut self, _: Duration, _: Timestamp) -> Result<Progress, DeliverError> {
            let unacked_from = self.0.first().copied();
            Ok(Progress { state: OutletState::Up, unacked_from, ..Progress::default() })
        }

        fn intended(&mut self, _: Bounds) {}

        fn rewind(&mut self, to: u64, _: &[Bounds]) {
            self.0.retain(|seq| *seq < to);
        }

        fn flush(&mut self, _: u64) {}
    }

    fn pause(journal: &ArcSwap<JournalView>, paused: bool) {
        let mut view = JournalView::default();
        if paused {
            view.ledger.paused.insert(3, Paused { since: 1, why: "works".to_owned() });
        }
        journal.store(Arc::new(view));
    }

    #[test]
    fn nothing_is_offered_while_it_is_paused_and_what_hangs_is_given_back() {
        let journal = Arc::new(ArcSwap::from_pointee(JournalView::default()));
        let mut switch = Switch::new(Box::new(Hanging::default()), 3, Arc::clone(&journal));
        let at = |seconds: i64| Timestamp(seconds * 1_000_000);
        let offer = |switch: &mut Switch, seq| switch.offer(&Outgoing::for_tests(event(seq, "id", b"")));
        assert!(offer(&mut switch, 1).is_ok());
        assert_eq!(switch.poll(Duration::ZERO, at(1)).unwrap().state, OutletState::Up);

        pause(&journal, true);
        let paused = switch.poll(Duration::ZERO, at(2)).unwrap();
        assert_eq!((paused.state, paused.unacked_from), (OutletState::Paused, Some(1)));
        assert!(paused.reason.en.contains("(works)") && paused.reason.fr.contains("(works)"));
        assert!(matches!(offer(&mut switch, 2), Err(DeliverError::Full)));
        assert!(switch.poll(Duration::ZERO, at(11)).is_ok(), "it may still arrive");
        assert!(matches!(switch.poll(Duration::ZERO, at(12)), Err(DeliverError::Rewind { .. })));
        switch.rewind(1, &[]);
        let paused = switch.poll(Duration::ZERO, at(60)).unwrap();
        assert_eq!((paused.state, paused.unacked_from), (OutletState::Paused, None));

        pause(&journal, false);
        assert_eq!(switch.poll(Duration::ZERO, at(61)).unwrap().state, OutletState::Up);
        assert!(offer(&mut switch, 1).is_ok());
    }

    #[test]
    fn a_pause_on_record_holds_from_the_start() {
        let journal = Arc::new(ArcSwap::from_pointee(JournalView::default()));
        pause(&journal, true);
        let mut switch = Switch::new(Box::new(Hanging::default()), 3, journal);
        assert!(matches!(switch.offer(&Outgoing::for_tests(event(1, "id", b""))), Err(DeliverError::Full)));
    }
}
