//! What targets must be, and what they are: each requirement against each
//! target once, when the policy compiles; then a label and a date give yes or
//! no. Also a transform's effect on a label.
//!
//! Two questions, kept apart. *May this be the place?* leaves dates aside: the
//! answer is the same on every day of a policy's life, so that a date never
//! moves data to another building. *May it go there today?* looks at dates.
//! For the first, every record counts whatever its date, and a requirement
//! counts unless it begins after the policy's `valid_from`; for the second,
//! what has lapsed does not count, and a requirement counts from its day on.

use crate::ast::{self, ExtraEuLaw, LegalStatus, Nature, OneOrMany, Step, Target, Tenancy, Transform};
use crate::{CopyIx, Date, Label, Level, Marking, Markings, SourceIx, SpaceIx};

/// What a requirement finds in a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// Not on any day.
    Never,
    /// Until the end of that day.
    Until(Date),
    Always,
}

impl Verdict {
    const fn when(holds: bool) -> Self {
        if holds { Self::Always } else { Self::Never }
    }

    /// The last day it holds, if it has one.
    pub(crate) const fn until(self) -> Option<Date> {
        match self {
            Self::Until(until) => Some(until),
            Self::Never | Self::Always => None,
        }
    }

    /// `None`: dates left aside.
    pub(crate) fn holds(self, on: Option<Date>) -> bool {
        match (self, on) {
            (Self::Never, _) => false,
            (Self::Until(until), Some(date)) => date <= until,
            (Self::Until(_), None) | (Self::Always, _) => true,
        }
    }
}

/// One requirement as it concerns one target.
#[derive(Clone, Debug)]
pub(crate) struct Duty {
    /// In the order of the policy's blocks.
    pub(crate) requirement: usize,
    min_level: Level,
    marking: Option<Marking>,
    /// The day it begins, if it has one.
    pub(crate) from: Option<Date>,
    /// Whether it counts in the choice of a place.
    in_choice: bool,
    plain: Verdict,
    transformed: Verdict,
}

impl Duty {
    pub(crate) fn concerns(&self, label: Label) -> bool {
        label.level >= self.min_level && self.marking.is_none_or(|marking| label.markings.contains(marking))
    }

    /// Whether it counts on that day; `None`: dates left aside.
    pub(crate) fn counts(&self, on: Option<Date>) -> bool {
        match on {
            None => self.in_choice,
            Some(date) => self.from.is_none_or(|from| from <= date),
        }
    }

    pub(crate) const fn verdict(&self, transformed: bool) -> Verdict {
        if transformed { self.transformed } else { self.plain }
    }
}

/// What one target must hold, and the highest level it may get.
#[derive(Clone, Debug)]
pub(crate) struct Duties {
    pub(crate) duties: Vec<Duty>,
    max_level: Level,
}

/// A requirement that is lifted somewhere for a time.
#[derive(Clone, Debug)]
pub(crate) struct Lifted {
    pub(crate) requirement: usize,
    pub(crate) source: Option<SourceIx>,
    pub(crate) space: Option<SpaceIx>,
    pub(crate) expires: Date,
}

/// The way a message gets to a target.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    /// `None`: of any source, as far as derogations go (for proofs, which doubt).
    pub(crate) source: Option<SourceIx>,
    /// `None`: a copy.
    pub(crate) space: Option<SpaceIx>,
    pub(crate) transformed: bool,
}

/// Why a target may not have a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// Above the target's own `max_level`.
    TargetLevel,
    /// That requirement does not hold.
    Requirement(usize),
}

impl Duties {
    pub(crate) fn of(target: &Target, requirements: &[ast::Block<ast::Requirement>], from: Date) -> Self {
        let concerned = requirements.iter().enumerate().filter(|(_, requirement)| {
            requirement.when.target_kind.as_ref().is_none_or(|kinds| kinds.contains(&target.kind))
        });
        let duties = concerned.map(|(n, requirement)| Duty {
            requirement: n,
            min_level: requirement.when.min_level.unwrap_or(Level::Open),
            marking: requirement.when.marking,
            from: requirement.from,
            in_choice: requirement.from.is_none_or(|begins| begins <= from),
            plain: verdict(&requirement.must, target, false),
            transformed: verdict(&requirement.must, target, true),
        });
        Self { duties: duties.collect(), max_level: target.max_level.unwrap_or(Level::Restricted) }
    }

    /// The first thing in the way of a message with that label; `on = None`: dates left aside.
    pub(crate) fn obstacle(
        &self,
        label: Label,
        way: Way,
        on: Option<Date>,
        lifted: &[Lifted],
    ) -> Option<Obstacle> {
        if label.level > self.max_level {
            return Some(Obstacle::TargetLevel);
        }
        let fails = |duty: &&Duty| {
            duty.concerns(label)
                && duty.counts(on)
                && !duty.verdict(way.transformed).holds(on)
                && !is_lifted(lifted, duty.requirement, way, on)
        };
        self.duties.iter().find(fails).map(|duty| Obstacle::Requirement(duty.requirement))
    }

    /// Every date at which an answer may change.
    pub(crate) fn boundaries(&self) -> impl Iterator<Item = Date> + '_ {
        self.duties.iter().flat_map(|duty| {
            let ends = [duty.plain, duty.transformed].map(|verdict| match verdict {
                Verdict::Until(until) => Some(day_after(until)),
                Verdict::Never | Verdict::Always => None,
            });
            ends.into_iter().flatten().chain(duty.from)
        })
    }
}

pub(crate) const fn day_after(date: Date) -> Date {
    Date(date.0.saturating_add(1))
}

/// Whether a derogation acts; one without scope acts nowhere.
pub(crate) fn is_lifted(lifted: &[Lifted], requirement: usize, way: Way, on: Option<Date>) -> bool {
    lifted.iter().any(|lifted| {
        let source = match (lifted.source, way.source) {
            (Some(scope), Some(source)) => scope == source,
            (Some(_), None) | (None, _) => true,
        };
        let space = lifted.space.is_none_or(|scope| way.space == Some(scope));
        lifted.requirement == requirement
            && (lifted.source.is_some() || lifted.space.is_some())
            && source
            && space
            && on.is_none_or(|date| date <= lifted.expires)
    })
}

/// Whether a derogation may lift it at all.
pub(crate) fn may_be_lifted(requirement: &ast::Requirement) -> bool {
    requirement.legal_status != LegalStatus::Obligation
}

/// The states of the European Economic Area, ISO 3166-1 alpha-2.
pub(crate) const EEA: [&str; 30] = [
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IS", "IT",
    "LI", "LT", "LU", "LV", "MT", "NL", "NO", "PL", "PT", "RO", "SE", "SI", "SK",
];

/// Whether a country is in a list of countries and `EEA`.
pub(crate) fn country_in(country: &str, list: &OneOrMany<String>) -> bool {
    list.as_slice().iter().any(|entry| entry == country || entry == "EEA" && EEA.contains(&country))
}

/// All keys must hold; a key that is `false`, `shared` or `exposed` asks for nothing.
fn verdict(must: &ast::Must, target: &Target, transformed: bool) -> Verdict {
    let asks = |key: Option<bool>| key == Some(true);
    let contract = target.processor_contract.as_ref().is_some_and(|contract| !contract.trim().is_empty());
    let immune = target.extra_eu_law == Some(ExtraEuLaw::Immune);
    let plain = (!asks(must.processor_contract) || contract)
        && must.country_in.as_ref().is_none_or(|list| country_in(&target.country, list))
        && (must.extra_eu_law != Some(ExtraEuLaw::Immune) || immune)
        && must.operator.is_none_or(|nature| nature == target.operator.nature)
        && (must.tenancy != Some(Tenancy::Dedicated) || target.tenancy == Tenancy::Dedicated)
        && (!asks(must.transformed) || transformed);
    let dr = if asks(must.homologation_dr) { homologated(target, true) } else { Verdict::Always };
    let one_of = must.one_of.as_ref().map_or(Verdict::Always, |options| {
        options.iter().map(|option| option_verdict(option, target)).max().unwrap_or(Verdict::Never)
    });
    Verdict::when(plain).min(dr).min(one_of)
}

fn homologated(target: &Target, dr: bool) -> Verdict {
    let homologation = target.homologation.as_ref().filter(|homologation| homologation.dr || !dr);
    homologation.map_or(Verdict::Never, |homologation| Verdict::Until(homologation.until))
}

/// `operator:public+homologation`, `secnumcloud>=3.2`: every part of it.
fn option_verdict(option: &str, target: &Target) -> Verdict {
    let part = |part: &str| match OptionPart::parse(part) {
        Some(OptionPart::Operator(nature)) => Verdict::when(nature == target.operator.nature),
        Some(OptionPart::Homologation { dr }) => homologated(target, dr),
        Some(OptionPart::Scheme { scheme, least }) => {
            let counts = target.qualifications.iter().filter(|qualification| {
                qualification.scheme == scheme && at_least(&qualification.version, least)
            });
            counts
                .map(|qualification| Verdict::Until(qualification.valid_until))
                .max()
                .unwrap_or(Verdict::Never)
        }
        None => Verdict::Never,
    };
    option.split('+').map(part).min().unwrap_or(Verdict::Never)
}

/// One part of an entry of `one_of`.
pub(crate) enum OptionPart<'p> {
    Operator(Nature),
    Homologation { dr: bool },
    Scheme { scheme: &'p str, least: Option<&'p str> },
}

impl<'p> OptionPart<'p> {
    /// `None`: nothing that a target could hold.
    pub(crate) fn parse(part: &'p str) -> Option<Self> {
        match part.trim() {
            "operator:public" => Some(Self::Operator(Nature::Public)),
            "operator:private" => Some(Self::Operator(Nature::Private)),
            "homologation" => Some(Self::Homologation { dr: false }),
            "homologation_dr" => Some(Self::Homologation { dr: true }),
            part => {
                let (scheme, least) = match part.split_once(">=") {
                    Some((scheme, least)) => (scheme.trim(), Some(least.trim())),
                    None => (part, None),
                };
                let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
                let named = !scheme.is_empty() && scheme.bytes().all(known);
                let dated = least.is_none_or(|least| version(least).is_some());
                (named && dated).then_some(Self::Scheme { scheme, least })
            }
        }
    }
}

/// Dotted integers; `3.2` and `3.2.0` are equal.
fn version(text: &str) -> Option<Vec<u64>> {
    let mut numbers = text.split('.').map(|part| part.parse().ok()).collect::<Option<Vec<u64>>>()?;
    while numbers.last() == Some(&0) {
        numbers.pop();
    }
    Some(numbers)
}

pub(crate) fn at_least(have: &str, least: Option<&str>) -> bool {
    least.is_none_or(|least| version(have).is_some_and(|have| Some(have) >= version(least)))
}

/// What a transform does to a label, and to which labels it may be applied.
#[derive(Clone, Debug)]
pub(crate) struct Effect {
    level: Option<Level>,
    add: Markings,
    remove: Markings,
    /// Only an aggregate with a declassification on record.
    may_lower: bool,
    max_level: Level,
    only: Option<Markings>,
    pub(crate) expires: Option<Date>,
}

/// Why a copy is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The label is not one that the transform applies to.
    Inapplicable,
    /// The declassification is past its day.
    Expired(Date),
    /// Above the copy's `max_level`.
    CopyLevel,
    Target(Obstacle),
}

impl Effect {
    pub(crate) fn of(transform: &Transform) -> Self {
        let aggregates = transform.steps.iter().any(|step| matches!(step, Step::Aggregate { .. }));
        let applies_to = transform.applies_to.clone().unwrap_or_default();
        Self {
            level: transform.result.level,
            add: transform.result.add.iter().copied().collect(),
            remove: transform.result.remove.iter().copied().collect(),
            may_lower: aggregates && transform.declassification.is_some(),
            max_level: applies_to.max_level.unwrap_or(Level::Restricted),
            only: applies_to.only_markings.map(|only| only.into_iter().collect()),
            expires: transform.declassification.as_ref().map(|declassification| declassification.expires),
        }
    }

    /// The label of what comes out; `on = None`: dates left aside.
    pub(crate) fn on(&self, label: Label, on: Option<Date>) -> Result<Label, Refusal> {
        if label.level > self.max_level || self.only.is_some_and(|only| !label.markings.is_subset(only)) {
            return Err(Refusal::Inapplicable);
        }
        if let (Some(expires), Some(date)) = (self.expires, on)
            && date > expires
        {
            return Err(Refusal::Expired(expires));
        }
        let level = self.level.unwrap_or(label.level);
        Ok(if self.may_lower {
            Label { level, markings: label.markings.minus(self.remove).union(self.add) }
        } else {
            Label { level: level.max(label.level), markings: label.markings.union(self.add) }
        })
    }
}

/// A copy as far as labels and targets go.
#[derive(Clone, Debug)]
pub(crate) struct CopyRule {
    pub(crate) copy: CopyIx,
    pub(crate) max_level: Level,
    pub(crate) effect: Option<Effect>,
}

impl CopyRule {
    /// The label with which the copy goes to a target with those duties, or what refuses it.
    pub(crate) fn admit(
        &self,
        label: Label,
        target: &Duties,
        source: Option<SourceIx>,
        on: Option<Date>,
        lifted: &[Lifted],
    ) -> Result<Label, (Label, Refusal)> {
        let out = match &self.effect {
            Some(effect) => effect.on(label, on).map_err(|refusal| (label, refusal))?,
            None => label,
        };
        if out.level > self.max_level {
            return Err((out, Refusal::CopyLevel));
        }
        let way = Way { source, space: None, transformed: self.effect.is_some() };
        match target.obstacle(out, way, on, lifted) {
            Some(obstacle) => Err((out, Refusal::Target(obstacle))),
            None => Ok(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_dotted_integers() {
        assert!(
            at_least("3.10", Some("3.2")) && at_least("3.2", Some("3.2.0")) && at_least("2024", Some("2024"))
        );
        assert!(!at_least("3.1.9", Some("3.2")) && !at_least("latest", Some("3.2")));
        assert!(at_least("latest", None));
    }

    #[test]
    fn an_option_nobody_could_hold_is_none() {
        for option in ["", "operator:state", "SecNumCloud>=3.2", "secnumcloud>=new", "secnumcloud > 3"] {
            assert!(OptionPart::parse(option).is_none(), "{option}");
        }
    }

    #[test]
    fn only_a_declassified_aggregate_lowers() {
        let label = Label { level: Level::Personal, markings: [Marking::Personal].into_iter().collect() };
        let effect = |steps: Vec<Step>, declassified: bool| {
            Effect::of(&Transform {
                id: "t".to_owned(),
                steps,
                result: ast::TransformResult {
                    level: Some(Level::Internal),
                    add: vec![Marking::Archive],
                    remove: vec![Marking::Personal],
                },
                applies_to: None,
                declassification: declassified.then(|| ast::Declassification {
                    justification: "j".to_owned(),
                    approved_by: vec![],
                    expires: Date(10),
                }),
            })
        };
        let aggregate = || {
            vec![Step::Aggregate { window: "P1D".to_owned(), by: vec![], measures: vec![], min_count: 11 }]
        };
        let lowered = Label { level: Level::Internal, markings: [Marking::Archive].into_iter().collect() };
        let kept = Label {
            level: Level::Personal,
            markings: [Marking::Personal, Marking::Archive].into_iter().collect(),
        };
        assert_eq!(effect(aggregate(), true).on(label, Some(Date(10))), Ok(lowered));
        assert_eq!(effect(aggregate(), true).on(label, Some(Date(11))), Err(Refusal::Expired(Date(10))));
        assert_eq!(effect(aggregate(), false).on(label, Some(Date(0))), Ok(kept));
        assert_eq!(effect(vec![Step::Drop { fields: vec![] }], true).on(label, Some(Date(0))), Ok(kept));
    }
}
