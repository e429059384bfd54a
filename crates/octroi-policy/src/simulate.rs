//! `simulate`: what a policy does when a target is down, a record lapses, or a
//! day comes: for every source, domain, class of communes and label that rules
//! give, the primary space and the copies, compared with the policy as it was.
//!
//! It decides nothing of its own: a record that lapses is the same policy with
//! that record's last day set to the day before, and the engine places labels.
//! A copy's `when` is taken to hold.
//!
//! INVARIANT: no primary space is another than before. What may not go to it
//! is held for it, and what cannot reach it waits for it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::ast::Document;
use crate::diff::{Grouped, Labels, Place};
use crate::place::{Refusal, day_after};
use crate::prove::{classes, label_of, reached};
use crate::question::{QuestionError, known};
use crate::testing::run_tests;
use crate::text::text;
use crate::{CommuneIx, CopyIx, Date, DomainIx, Label, Marking, Policy, SourceIx, TargetIx, TestResult};

/// What is supposed to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    from: Date,
    on: Date,
    down: BTreeSet<TargetIx>,
    lapsed: Vec<Record>,
}

/// A dated record.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Record {
    Qualification { target: usize, scheme: String },
    Homologation { target: usize },
    Declassification { transform: usize },
}

/// What comes of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Simulation {
    /// The day that is compared with.
    pub from: Date,
    /// The day of the scenario.
    pub on: Date,
    /// Source × domain × class of communes × label: how many were looked at.
    pub classes: usize,
    /// Of these, whose primary goes its way as before.
    pub unchanged: usize,
    /// What becomes of the others' primary.
    pub primaries: Vec<PrimaryChange>,
    /// What becomes of copies.
    pub copies: Vec<CopyChange>,
    /// The policy's tests that pass on the first day and fail on the other.
    pub tests: Vec<TestResult>,
}

/// The primary of some labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "as their names say")]
pub struct PrimaryChange {
    pub source: String,
    pub domain: String,
    /// How many communes.
    pub communes: usize,
    /// One of them.
    pub example: String,
    /// The space, before and after: it never changes. `None`: no space is fit on any day.
    pub place: Option<Place>,
    pub before: State,
    pub after: State,
    pub labels: Labels,
}

/// A copy of some labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "as their names say")]
pub struct CopyChange {
    pub copy: String,
    pub target: String,
    pub source: String,
    pub domain: String,
    pub before: State,
    pub after: State,
    pub labels: Labels,
}

/// What becomes of a message on its way to a target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// It arrives.
    Goes,
    /// It stays in the journal until the target is back.
    Waits,
    /// A primary is held for its target; a copy is not made.
    Stops {
        /// A requirement, `declassification`, `max_level`, `applies_to`, `target_max_level`;
        /// of a copy also `primary`; `expires`: the source's time is over.
        by: String,
        /// The first day; `None`: on any day.
        since: Option<Date>,
    },
    /// No target is fit for the label on any day.
    NoPlace,
}

impl Scenario {
    /// A day like the first.
    #[must_use]
    pub const fn new(from: Date) -> Self {
        Self { from, on: from, down: BTreeSet::new(), lapsed: Vec::new() }
    }

    /// On that day instead.
    #[must_use]
    pub fn on(mut self, day: Date) -> Self {
        self.on = day;
        self
    }

    /// With that target down.
    ///
    /// # Errors
    /// There is no such target.
    pub fn down(mut self, policy: &Policy, target: &str) -> Result<Self, QuestionError> {
        self.down
            .insert(known(target, (0..).map(TargetIx).zip(policy.targets()).map(|(ix, t)| (&*t.id, ix)))?);
        Ok(self)
    }

    /// With a record lapsed the day before: `cloud-confiance:secnumcloud`,
    /// `dc-rennes:homologation`, `t-eau-agregat:declassification`.
    ///
    /// # Errors
    /// There is no such record.
    pub fn lapsed(mut self, policy: &Policy, record: &str) -> Result<Self, QuestionError> {
        let document = policy.document();
        let mut records: Vec<(String, Record)> = Vec::new();
        for (n, target) in document.target.iter().enumerate() {
            let of = |record: &str| format!("{}:{record}", target.id);
            records.extend(
                target.homologation.iter().map(|_| (of("homologation"), Record::Homologation { target: n })),
            );
            records.extend(target.qualifications.iter().map(|found| {
                (of(&found.scheme), Record::Qualification { target: n, scheme: found.scheme.clone() })
            }));
        }
        for (n, transform) in document.transform.iter().enumerate() {
            let of = transform.declassification.iter();
            records.extend(of.map(|_| {
                (format!("{}:declassification", transform.id), Record::Declassification { transform: n })
            }));
        }
        self.lapsed.push(known(record, records.iter().map(|(name, record)| (&**name, record)))?.clone());
        Ok(self)
    }

    /// The policy as written, with the records lapsed.
    fn applied(&self, document: &Document) -> Document {
        let mut document = document.clone();
        let last = Date(self.on.0.saturating_sub(1));
        for record in &self.lapsed {
            match record {
                Record::Qualification { target, scheme } => {
                    let target = document.target.get_mut(*target);
                    let all = target.into_iter().flat_map(|target| &mut target.value.qualifications);
                    all.filter(|found| found.scheme == *scheme)
                        .for_each(|found| found.valid_until = found.valid_until.min(last));
                }
                Record::Homologation { target } => {
                    let target = document.target.get_mut(*target);
                    let found = target.and_then(|target| target.value.homologation.as_mut());
                    found.into_iter().for_each(|found| found.until = found.until.min(last));
                }
                Record::Declassification { transform } => {
                    let transform = document.transform.get_mut(*transform);
                    let found = transform.and_then(|transform| transform.value.declassification.as_mut());
                    found.into_iter().for_each(|found| found.expires = found.expires.min(last));
                }
            }
        }
        document
    }
}

/// Plays a scenario.
///
/// # Errors
/// The policy with those records lapsed does not compile.
pub fn simulate(policy: &Policy, scenario: &Scenario) -> Result<Simulation, QuestionError> {
    let document = scenario.applied(policy.document());
    let changed = Policy::compile(&document, policy.hash().0).map_err(|_| {
        QuestionError(text!(
            "the policy cannot be compiled with those records lapsed",
            "la politique ne se compile pas une fois ces actes échus"
        ))
    })?;
    let none = BTreeSet::new();
    let before = World { policy, day: scenario.from, down: &none };
    let after = World { policy: &changed, day: scenario.on, down: &scenario.down };
    let mut all = Collected::default();
    for ((source, domain), labels) in reached(policy, policy.document()) {
        let labels: Vec<Label> = labels.by_key.keys().map(|key| label_of(*key)).collect();
        let labels: Vec<Label> =
            labels.into_iter().filter(|label| !label.markings.contains(Marking::Command)).collect();
        for communes in classes(policy, source, domain).values() {
            let Some(commune) = communes.first() else { continue };
            let class = Class { source, domain, commune, communes: communes.len() };
            all.class(&before, &after, class, &labels);
        }
    }
    Ok(Simulation {
        from: scenario.from,
        on: scenario.on,
        classes: all.classes,
        unchanged: all.unchanged,
        primaries: all.primaries(policy),
        copies: all.copies(policy),
        tests: failing(&before, &after),
    })
}

/// A policy on a day.
struct World<'w> {
    policy: &'w Policy,
    day: Date,
    down: &'w BTreeSet<TargetIx>,
}

/// Messages that are placed alike.
#[derive(Clone, Copy)]
struct Class {
    source: SourceIx,
    domain: DomainIx,
    commune: CommuneIx,
    communes: usize,
}

impl World<'_> {
    fn primary(&self, class: Class, label: Label) -> (Option<Place>, State) {
        let Class { source, domain, commune, .. } = class;
        let placed = |day| self.policy.place(source, domain, commune, label, day);
        let Some(found) = placed(self.day) else { return (None, State::NoPlace) };
        let space = self.policy.spaces().get(found.space.index()).map(|space| space.id.clone());
        let place = Place { space: space.unwrap_or_default(), target: self.policy.target_id(found.target) };
        let expires = self.policy.sources().get(source.index()).and_then(|source| source.expires);
        let state = match (expires.filter(|last| self.day > *last), found.today) {
            (Some(last), _) => State::Stops { by: "expires".to_owned(), since: Some(day_after(last)) },
            (None, Some(obstacle)) => {
                let held = |day| placed(day).is_none_or(|placed| placed.today.is_some());
                State::Stops { by: self.policy.named(obstacle), since: self.since(held) }
            }
            (None, None) => self.open(found.target),
        };
        (Some(place), state)
    }

    fn open(&self, target: TargetIx) -> State {
        if self.down.contains(&target) { State::Waits } else { State::Goes }
    }

    /// `primary`: what becomes of the message itself, without which there is no copy.
    fn copy(&self, copy: CopyIx, class: Class, label: Label, primary: &State) -> State {
        match primary {
            State::Goes | State::Waits => {}
            State::Stops { since, .. } => return State::Stops { by: "primary".to_owned(), since: *since },
            State::NoPlace => return State::Stops { by: "primary".to_owned(), since: None },
        }
        let rule = self.policy.copy_rules.get(copy.index()).map(|(rule, _)| rule);
        let to = self.policy.copies().get(copy.index()).map(|copy| copy.to);
        let (Some(rule), Some(to)) = (rule, to) else { return State::NoPlace };
        let admitted = |day| self.policy.admit_copy(rule, class.source, label, day);
        match admitted(self.day) {
            Ok(_) => self.open(to),
            Err((_, Refusal::Expired(last))) => {
                State::Stops { by: "declassification".to_owned(), since: Some(day_after(last)) }
            }
            Err((_, refusal)) => {
                let since = self.since(|day| admitted(day).is_err());
                State::Stops { by: self.policy.refusal(refusal), since }
            }
        }
    }

    /// The first day from which on it fails until today; `None`: there is none.
    fn since(&self, fails: impl Fn(Date) -> bool) -> Option<Date> {
        let mut first = self.policy.epoch_of(self.day);
        // One step an epoch: as many as the policy has boundaries.
        while first > Date(i32::MIN) {
            let before = Date(first.0.saturating_sub(1));
            if !fails(before) {
                return Some(first);
            }
            first = self.policy.epoch_of(before);
        }
        None
    }
}

type PrimaryKey = (SourceIx, DomainIx, Option<Place>, State, State, Labels);
type CopyKey = (CopyIx, SourceIx, DomainIx, State, State);

#[derive(Default)]
struct Collected {
    classes: usize,
    unchanged: usize,
    primaries: BTreeMap<PrimaryKey, (usize, CommuneIx)>,
    copies: BTreeMap<CopyKey, BTreeSet<Label>>,
}

impl Collected {
    fn class(&mut self, before: &World<'_>, after: &World<'_>, class: Class, labels: &[Label]) {
        let mut groups = Grouped::new();
        let concerned = before.policy.copies_of.get(class.domain.index()).into_iter().flatten();
        let copies: Vec<CopyIx> = concerned.map(|copy| CopyIx(*copy)).collect();
        for label in labels {
            self.classes += 1;
            let ((place, was), (_, is)) = (before.primary(class, *label), after.primary(class, *label));
            for copy in &copies {
                let states = (before.copy(*copy, class, *label, &was), after.copy(*copy, class, *label, &is));
                let lost = |state: &State| matches!(state, State::Stops { .. } | State::NoPlace);
                // What was never made is no change, whatever the reason.
                if states.0 != states.1 && !(lost(&states.0) && lost(&states.1)) {
                    let key = (*copy, class.source, class.domain, states.0, states.1);
                    self.copies.entry(key).or_default().insert(*label);
                }
            }
            if was == is {
                self.unchanged += 1;
            } else {
                groups.add((place, was, is), *label);
            }
        }
        for (place, was, is, labels) in groups.into_changes(|(place, was, is), l| (place, was, is, l)) {
            let key = (class.source, class.domain, place, was, is, labels);
            self.primaries.entry(key).or_insert((0, class.commune)).0 += class.communes;
        }
    }

    fn primaries(&self, policy: &Policy) -> Vec<PrimaryChange> {
        let changes = self.primaries.iter();
        let change = |(key, (communes, example)): (&PrimaryKey, &(usize, CommuneIx))| {
            let (source, domain, place, before, after, labels) = key.clone();
            PrimaryChange {
                source: policy.sources().get(source.index()).map(|s| s.id.clone()).unwrap_or_default(),
                domain: policy.domains().get(domain.index()).map(|d| d.id.clone()).unwrap_or_default(),
                communes: *communes,
                example: policy.cog().display(*example),
                place,
                before,
                after,
                labels,
            }
        };
        changes.map(change).collect()
    }

    fn copies(&self, policy: &Policy) -> Vec<CopyChange> {
        let changes = self.copies.iter();
        let change = |(key, labels): (&CopyKey, &BTreeSet<Label>)| {
            let (copy, source, domain, before, after) = key.clone();
            let info = policy.copies().get(copy.index())?;
            let labels: Vec<Label> = labels.iter().copied().collect();
            Some(CopyChange {
                copy: info.id.clone(),
                target: policy.target_id(info.to),
                source: policy.sources().get(source.index())?.id.clone(),
                domain: policy.domains().get(domain.index())?.id.clone(),
                before,
                after,
                labels: Labels::of(&labels)?,
            })
        };
        changes.filter_map(change).collect()
    }
}

/// Tests without a day of their own, run on both days.
fn failing(before: &World<'_>, after: &World<'_>) -> Vec<TestResult> {
    let on = |world: &World<'_>| {
        let mut document = world.policy.document().clone();
        for test in document.test.iter_mut().filter(|test| test.value.at.is_none()) {
            test.value.at = Some(world.day);
        }
        run_tests(world.policy, &document)
    };
    let pairs = on(before).into_iter().zip(on(after));
    pairs.filter(|(was, is)| was.passed && !is.passed).map(|(_, is)| is).collect()
}

#[cfg(test)]
mod tests;
