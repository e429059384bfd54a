//! What a date will hold back. C21: a record that has expired, or will within
//! [`AHEAD_DAYS`], with the flows that need it. C23: a requirement that begins
//! later, or becomes law while a derogation lifts it, with the flows that it
//! will stop.
//!
//! A flow is a source, a domain and a label that rules can give there, on its
//! way to a space or a copy. It needs a record if it goes on the record's last
//! day and not on the next: so of two records of which either would do, none is
//! missed. A record that no flow needs is worth a word only once it has expired.
//!
//! Declassifications that have expired are C16's. In C23 records count as if
//! they were renewed in time: that they are is C21's question.

use super::{Report, Said};
use crate::ast::{Document, Given, LegalStatus};
use crate::place::{Lifted, Way, day_after};
use crate::prove::messages::{candidates, message};
use crate::prove::{Reach, Reached, classes, label_of};
use crate::text::text;
use crate::{
    Code, CommuneIx, CopyIx, Date, DomainIx, Label, Location, Marking, Policy, Severity, SourceIx, SpaceIx,
    Text, Witness,
};

/// How long beforehand an expiry is said.
const AHEAD_DAYS: i32 = 90;
/// Flows named in one finding; the rest are counted.
const NAMED: usize = 3;

pub(super) fn check(
    policy: &Policy,
    document: &Document,
    reached: &Reached,
    today: Date,
    report: &mut Report,
) {
    let flows = flows(policy, reached);
    let view = View { policy, document, flows: &flows };
    for record in records(document) {
        view.record(&record, today, report);
    }
    view.sources(reached, today, report);
    view.pending(today, report);
}

/// Something that holds until the end of a day.
struct Record<'d> {
    subject: &'d str,
    what: Text,
    at: Location,
    until: Date,
    once_past: OncePast,
}

/// What the end of a record does once it is past, if flows need it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OncePast {
    Refuses,
    Warns,
    /// Another check speaks of it.
    ToldElsewhere,
}

fn records(document: &Document) -> Vec<Record<'_>> {
    let mut records = Vec::new();
    for target in &document.target {
        let id = &target.id;
        if let Some(homologation) = &target.homologation {
            records.push(Record {
                subject: id,
                what: text!("the homologation of `{id}`", "l'homologation de `{id}`"),
                at: target.at_key("homologation.until"),
                until: homologation.until,
                once_past: OncePast::Refuses,
            });
        }
        for (ix, qualification) in target.qualifications.iter().enumerate() {
            let (scheme, version) = (&qualification.scheme, &qualification.version);
            records.push(Record {
                subject: id,
                what: text!(
                    "the qualification {scheme} {version} of `{id}`",
                    "la qualification {scheme} {version} de `{id}`"
                ),
                at: target.at_key(&format!("qualifications.{ix}.valid_until")),
                until: qualification.valid_until,
                once_past: OncePast::Refuses,
            });
        }
    }
    for derogation in &document.derogation {
        let id = &derogation.requirement;
        records.push(Record {
            subject: id,
            what: text!("the derogation from `{id}`", "la dérogation à `{id}`"),
            at: derogation.at_key("expires"),
            until: derogation.expires,
            once_past: OncePast::Warns,
        });
    }
    for transform in &document.transform {
        let Some(declassification) = &transform.declassification else { continue };
        let id = &transform.id;
        records.push(Record {
            subject: id,
            what: text!("the declassification of `{id}`", "la déclassification de `{id}`"),
            at: transform.at_key("declassification.expires"),
            until: declassification.expires,
            once_past: OncePast::ToldElsewhere,
        });
    }
    records
}

/// One way that messages go.
struct Flow<'r> {
    source: SourceIx,
    domain: DomainIx,
    label: Label,
    to: To,
    commune: CommuneIx,
    reach: &'r Reach,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    Space(SpaceIx),
    Copy(CopyIx),
}

/// Every flow, dates left aside. What only a sender's own word reaches is no flow that is promised.
fn flows<'r>(policy: &Policy, reached: &'r Reached) -> Vec<Flow<'r>> {
    let mut flows = Vec::new();
    for ((source, domain), labels) in reached {
        let (source, domain) = (*source, *domain);
        let communes: Vec<CommuneIx> =
            classes(policy, source, domain).into_values().filter_map(|set| set.first()).collect();
        for (key, reach) in &labels.by_key {
            let label = label_of(*key);
            if reach.by_word || label.markings.contains(Marking::Command) {
                continue;
            }
            let mut known: Vec<SpaceIx> = Vec::new();
            for commune in &communes {
                let placed = policy.place(source, domain, *commune, label, Date::default());
                let Some(space) = placed.map(|placed| placed.space) else { continue };
                let flow = |to| Flow { source, domain, label, to, commune: *commune, reach };
                if known.is_empty() {
                    let copies = policy.copies_of.get(domain.index()).into_iter().flatten();
                    let copies = copies.map(|copy| To::Copy(CopyIx(*copy)));
                    flows.extend(copies.map(flow).filter(|flow| flow.goes(policy, None)));
                }
                if !known.contains(&space) {
                    known.push(space);
                    flows.push(flow(To::Space(space)));
                }
            }
        }
    }
    flows
}

impl Flow<'_> {
    const fn way(&self) -> (SourceIx, DomainIx, To) {
        (self.source, self.domain, self.to)
    }

    /// Whether it goes on that day; `None`: dates left aside.
    fn goes(&self, policy: &Policy, on: Option<Date>) -> bool {
        self.goes_with(policy, on, &policy.lifted)
    }

    fn goes_with(&self, policy: &Policy, on: Option<Date>, lifted: &[Lifted]) -> bool {
        match self.to {
            To::Space(space) => {
                let target = policy.spaces().get(space.index()).map(|space| space.target.index());
                let duties = target.and_then(|target| policy.duties.get(target));
                let way = Way { source: Some(self.source), space: Some(space), transformed: false };
                duties.is_some_and(|duties| duties.obstacle(self.label, way, on, lifted).is_none())
            }
            To::Copy(copy) => {
                let rule = policy.copy_rules.get(copy.index()).map(|(rule, _)| rule);
                let target = policy.copies().get(copy.index()).map(|copy| copy.to.index());
                let duties = target.and_then(|target| policy.duties.get(target));
                rule.zip(duties).is_some_and(|(rule, duties)| {
                    rule.admit(self.label, duties, Some(self.source), on, lifted).is_ok()
                })
            }
        }
    }

    fn named(&self, policy: &Policy) -> Text {
        let source = policy.sources().get(self.source.index()).map_or("", |source| &source.id);
        let domain = policy.domains().get(self.domain.index()).map_or("", |domain| &domain.id);
        let label = self.label;
        match self.to {
            To::Space(space) => {
                let space = policy.spaces().get(space.index()).map_or("", |space| &space.id);
                text!(
                    "`{source}`, `{domain}`, {label} to space `{space}`",
                    "`{source}`, `{domain}`, {label} vers l'espace `{space}`"
                )
            }
            To::Copy(copy) => {
                let copy = policy.copies().get(copy.index()).map_or("", |copy| &copy.id);
                text!(
                    "`{source}`, `{domain}`, {label} by copy `{copy}`",
                    "`{source}`, `{domain}`, {label} par la copie `{copy}`"
                )
            }
        }
    }
}

struct View<'p> {
    policy: &'p Policy,
    document: &'p Document,
    flows: &'p [Flow<'p>],
}

impl View<'_> {
    fn record(&self, record: &Record<'_>, today: Date, report: &mut Report) {
        let expired = record.until < today;
        if record.until.0 > today.0.saturating_add(AHEAD_DAYS)
            || expired && record.once_past == OncePast::ToldElsewhere
        {
            return;
        }
        let (until, next) = (record.until, day_after(record.until));
        let stopped =
            |flow: &&Flow<'_>| flow.goes(self.policy, Some(until)) && !flow.goes(self.policy, Some(next));
        let stopped: Vec<&Flow<'_>> = self.flows.iter().filter(stopped).collect();
        if stopped.is_empty() && !expired {
            return;
        }
        let Text { en, fr } = &record.what;
        let message = if expired {
            text!("{en} expired on {until}", "{fr} a expiré le {until}")
        } else {
            text!("{en} expires on {until}", "{fr} expire le {until}")
        };
        let why = if stopped.is_empty() {
            text!(
                "no flow needs it; what is past is not shown as if it held",
                "aucun flux n'en dépend ; ce qui est passé ne s'affiche pas comme s'il valait encore"
            )
        } else {
            let Text { en, fr } = self.list(&stopped);
            text!("held from {next}: {en}", "retenus à partir du {next} : {fr}")
        };
        let severity = if expired && record.once_past == OncePast::Refuses && !stopped.is_empty() {
            Severity::Error
        } else {
            Severity::Warning
        };
        let fix = text!(
            "renew it and write the new date, or take it away with what needs it",
            "la renouveler et écrire la nouvelle date, ou la retirer avec ce qui en dépend"
        );
        let witness = self.witness(&stopped, Some(next));
        report.push(
            Code::C21,
            severity,
            Said { subject: record.subject, at: record.at.clone(), message, why, fix, witness },
        );
    }

    /// Experiments that end by themselves.
    fn sources(&self, reached: &Reached, today: Date, report: &mut Report) {
        for (ix, source) in (0_u16..).map(SourceIx).zip(&self.document.source) {
            let Some(until) = source.expires.filter(|until| until.0 <= today.0.saturating_add(AHEAD_DAYS))
            else {
                continue;
            };
            let (id, next) = (&source.id, day_after(until));
            let ways = reached.iter().filter(|((of, _), _)| *of == ix);
            let mut labels = ways.flat_map(|(_, labels)| &labels.by_key);
            let given = labels.find_map(|(key, reach)| {
                let mut messages = candidates(self.policy, (label_of(*key), reach), None, None);
                messages.find(|given| self.stops(given, next))
            });
            report.warning(
                Code::C21,
                Said {
                    subject: id,
                    at: source.at_key("expires"),
                    message: text!("source `{id}` ends on {until}", "la source `{id}` prend fin le {until}"),
                    why: text!(
                        "from {next} on its messages are refused: `unknown_source`",
                        "à partir du {next} ses messages sont refusés : `unknown_source`"
                    ),
                    fix: text!(
                        "write a later day, or take the source away when it has ended",
                        "écrire un jour plus lointain, ou retirer la source une fois terminée"
                    ),
                    witness: Some(Witness {
                        text: text!("a message of `{id}` on {next}", "un message de `{id}` le {next}"),
                        given,
                        at: Some(next),
                    }),
                },
            );
        }
    }

    /// C23.
    fn pending(&self, today: Date, report: &mut Report) {
        for (n, requirement) in self.document.requirement.iter().enumerate() {
            let begins = requirement.from.filter(|from| *from > today);
            let pending = requirement.pending_from.filter(|from| *from > today);
            let is_law = requirement.legal_status == LegalStatus::Pending || pending.is_some();
            let key = match (begins, pending) {
                (Some(_), _) => "from",
                (None, Some(_)) => "pending_from",
                (None, None) => "legal_status",
            };
            if begins.is_none() && !is_law {
                continue;
            }
            let without: Vec<Lifted> =
                self.policy.lifted.iter().filter(|lifted| lifted.requirement != n).cloned().collect();
            let stops =
                |flow: &&Flow<'_>| flow.goes(self.policy, None) && !self.may_go_under(flow, n, &without);
            let stopped: Vec<&Flow<'_>> = self.flows.iter().filter(stops).collect();
            if stopped.is_empty() {
                continue;
            }
            let (id, Text { en, fr }) = (&requirement.id, self.list(&stopped));
            let message = match begins.or(pending) {
                Some(day) => text!(
                    "from {day} on, requirement `{id}` will stop {count} flow(s)",
                    "à partir du {day}, l'exigence `{id}` arrêtera {count} flux",
                    count = stopped.len(),
                ),
                None => text!(
                    "once it is law, requirement `{id}` will stop {count} flow(s)",
                    "une fois en vigueur, l'exigence `{id}` arrêtera {count} flux",
                    count = stopped.len(),
                ),
            };
            report.warning(
                Code::C23,
                Said {
                    subject: id,
                    at: requirement.at_key(key),
                    message,
                    why: text!(
                        "not conforming then: {en}; no derogation lifts an obligation",
                        "non conformes alors : {fr} ; aucune dérogation ne lève une obligation"
                    ),
                    fix: text!(
                        "prepare a target that satisfies it, or acknowledge it with the plan",
                        "préparer une cible qui y satisfait, ou l'accepter avec le plan prévu"
                    ),
                    witness: self.witness(&stopped, begins),
                },
            );
        }
    }

    /// Whether a flow satisfies that requirement, with no derogation from it and as if it had begun.
    fn may_go_under(&self, flow: &Flow<'_>, requirement: usize, lifted: &[Lifted]) -> bool {
        let (target, label, space, transformed) = match flow.to {
            To::Space(space) => {
                let target = self.policy.spaces().get(space.index()).map(|space| space.target);
                (target, flow.label, Some(space), false)
            }
            To::Copy(copy) => {
                let target = self.policy.copies().get(copy.index()).map(|copy| copy.to);
                let rule = self.policy.copy_rules.get(copy.index());
                let transformed = rule.is_some_and(|(rule, _)| rule.effect.is_some());
                (target, self.policy.copy_label(copy, flow.label), None, transformed)
            }
        };
        let way = Way { source: Some(flow.source), space, transformed };
        let duties = target.and_then(|target| self.policy.duties.get(target.index()));
        let duty =
            duties.and_then(|duties| duties.duties.iter().find(|duty| duty.requirement == requirement));
        duty.is_none_or(|duty| {
            !duty.concerns(label)
                || duty.verdict(transformed).holds(None)
                || crate::place::is_lifted(lifted, requirement, way, None)
        })
    }

    /// The ways that stop, each with the label that the fewest rules give.
    fn list(&self, flows: &[&Flow<'_>]) -> Text {
        let mut ways: Vec<&Flow<'_>> = Vec::new();
        for flow in flows {
            match ways.iter_mut().find(|known| known.way() == flow.way()) {
                Some(known) if flow.reach.rules.len() < known.reach.rules.len() => *known = flow,
                Some(_) => {}
                None => ways.push(flow),
            }
        }
        let named: Vec<Text> = ways.iter().take(NAMED).map(|flow| flow.named(self.policy)).collect();
        let en: Vec<&str> = named.iter().map(|text| text.en.as_str()).collect();
        let fr: Vec<&str> = named.iter().map(|text| text.fr.as_str()).collect();
        let (en, fr) = (en.join("; "), fr.join(" ; "));
        match ways.len().saturating_sub(NAMED) {
            0 => Text { en, fr },
            more => text!("{en}; and {more} more", "{fr} ; et {more} autre(s)"),
        }
    }

    /// A message of the first flow that can be shown, stopped on `at`.
    fn witness(&self, flows: &[&Flow<'_>], at: Option<Date>) -> Option<Witness> {
        let given = |flow: &Flow<'_>| {
            let (of, first) = ((flow.label, flow.reach), Some(flow.commune));
            match at {
                Some(day) => candidates(self.policy, of, first, None).find(|given| self.stops(given, day)),
                None => message(self.policy, of, first, None, |_| Some(())).map(|(given, ())| given),
            }
        };
        let shown = flows.iter().find_map(|flow| Some((flow, Some(given(flow)?))));
        let (flow, given) = shown.or(flows.first().map(|flow| (flow, None)))?;
        Some(Witness { text: flow.named(self.policy), given, at })
    }

    /// Whether a message reaches fewer targets on that day than on the day before.
    fn stops(&self, given: &Given, day: Date) -> bool {
        let reached = |day: Date| {
            let decision = self.policy.decide_given(given, day.start());
            decision.map_or(0, |decision| decision.targets(self.policy).count())
        };
        reached(Date(day.0.saturating_sub(1))) > reached(day)
    }
}
