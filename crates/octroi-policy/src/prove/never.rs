//! `prove --never`: whether something can ever happen, asked of a policy that
//! need not have an invariant for it. The same cells, flows and comparison as
//! for invariants; the answer is a count, or a flow with a message that takes it.
//!
//! The language of the question is small and total: `level >= personal and
//! marking health`, then a way and a place. It has no `or` and no `not`.
//!
//! INVARIANT: a counterexample's message, where there is one, was decided and
//! did go that way; without one the flow is still a cell that the policy allows.

use serde::Serialize;

use super::messages::along;
use super::{Arrival, Reach, Reached, breaks, flows, is_about, key_of, possible, reached, serves, table};
use crate::ast::{Given, Nature, Never, OneOrMany, TargetKind, Via};
use crate::question::{QuestionError, known};
use crate::text::text;
use crate::{Date, Label, Level, Marking, Markings, Policy};

const KINDS: [(&str, TargetKind); 5] = [
    ("local_room", TargetKind::LocalRoom),
    ("public_dc", TargetKind::PublicDc),
    ("trusted_cloud", TargetKind::TrustedCloud),
    ("commercial_cloud", TargetKind::CommercialCloud),
    ("open_data_portal", TargetKind::OpenDataPortal),
];

/// What is asked: can such a label arrive there, that way?
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    least: Level,
    most: Level,
    markings: Markings,
    /// Way and place; nothing of the label.
    way: Never,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// It can never happen.
    pub proved: bool,
    /// How many labels were tried.
    pub labels: usize,
    /// Cells of the table: label × space.
    pub table_cells: u64,
    /// Flows: label × copy.
    pub flows: u64,
    /// The targets that the question is about.
    pub targets: Vec<String>,
    /// How many cells and flows show that it can happen.
    pub broken: u64,
    /// One of them, if there is one: one with a message before one without.
    pub counterexample: Option<Counterexample>,
    /// Copies that take such labels there, lowered on the way; one flow each.
    pub lowered: Vec<Flow>,
}

/// That it can happen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Counterexample {
    /// How.
    pub flow: Flow,
    /// A message that goes so, on that day.
    pub given: Option<Given>,
    /// The day.
    pub at: Date,
}

/// One way of one label.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Flow {
    /// Who sends it; `None`: no rule of today gives the label there.
    pub sender: Option<Sender>,
    /// As rules give it.
    pub label: Label,
    /// `primary` or `copy`.
    pub via: Via,
    /// The space or copy.
    pub by: String,
    /// The copy's transform.
    pub transform: Option<String>,
    /// As it arrives.
    pub arrives: Label,
    /// Where.
    pub target: String,
}

/// Whose messages get a label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "as in the policy")]
pub struct Sender {
    pub source: String,
    pub domain: String,
    /// The rules that match together.
    pub rules: Vec<String>,
}

impl Statement {
    /// Reads a question: `level >= personal and marking health` for the label;
    /// for the place any of `dc-rennes`, `kind:trusted_cloud`,
    /// `operator:private`, `country-not-in:EEA`, all of which must hold.
    ///
    /// # Errors
    /// The word that is not understood, and what to write.
    pub fn parse(
        label: &str,
        to: &[String],
        via: Via,
        transformed: Option<bool>,
        policy: &Policy,
    ) -> Result<Self, QuestionError> {
        let mut statement = Self {
            least: Level::Open,
            most: Level::Restricted,
            markings: Markings::EMPTY,
            way: Never { via, transformed, ..Never::default() },
        };
        let words = words(label);
        for clause in words.split(|word| *word == "and") {
            statement.clause(clause)?;
        }
        if statement.least > statement.most {
            return Err(QuestionError(text!(
                "no level is so: `{label}`",
                "aucun niveau n'est ainsi : `{label}`"
            )));
        }
        to.iter().try_for_each(|to| statement.place(to, policy))?;
        Ok(statement)
    }

    fn clause(&mut self, clause: &[&str]) -> Result<(), QuestionError> {
        match *clause {
            ["level", sign @ (">=" | ">" | "="), word] => {
                let level = known(word, Level::ALL.map(|level| (level.name(), level)))?;
                let above = Level::ALL.into_iter().find(|other| *other > level);
                if sign == ">" {
                    self.least = self.least.max(above.ok_or_else(|| nothing_above(word))?);
                } else {
                    self.least = self.least.max(level);
                }
                if sign == "=" {
                    self.most = self.most.min(level);
                }
                Ok(())
            }
            ["marking", word] | ["marking", "=", word] => {
                let marking = known(word, Marking::ALL.iter().map(|marking| (marking.name(), *marking)))?;
                self.markings = self.markings.union([marking].into_iter().collect());
                Ok(())
            }
            _ => {
                let clause = clause.join(" ");
                Err(QuestionError(text!(
                    "`{clause}` is not understood: write `level >= personal`, `level = open`, `level > internal` \
                     or `marking health`, joined by `and`",
                    "`{clause}` n'est pas compris : écrivez `level >= personal`, `level = open`, \
                     `level > internal` ou `marking health`, reliés par `and`"
                )))
            }
        }
    }

    fn place(&mut self, to: &str, policy: &Policy) -> Result<(), QuestionError> {
        let list = |text: &str| text.split(',').map(|part| part.trim().to_owned()).collect::<Vec<String>>();
        match to.split_once(':') {
            Some(("kind", kinds)) => {
                let kinds: Result<_, _> = list(kinds).iter().map(|kind| known(kind, KINDS)).collect();
                self.way.target_kind = Some(kinds?);
            }
            Some(("operator", nature)) => {
                self.way.operator =
                    Some(known(nature, [("public", Nature::Public), ("private", Nature::Private)])?);
            }
            Some(("country-not-in", countries)) => {
                self.way.country_not_in = Some(OneOrMany::Many(list(countries)));
            }
            Some(_) => {
                return Err(QuestionError(text!(
                    "`{to}` is no place: write a target's id, `kind:trusted_cloud`, `operator:private` or \
                     `country-not-in:EEA`",
                    "`{to}` n'est pas un lieu : écrivez l'identifiant d'un hébergement, `kind:trusted_cloud`, \
                     `operator:private` ou `country-not-in:EEA`"
                )));
            }
            None => {
                let ids = list(to);
                for id in &ids {
                    known(id, policy.targets().iter().map(|target| (target.id.as_str(), ())))?;
                }
                self.way.target = Some(OneOrMany::Many(ids));
            }
        }
        Ok(())
    }

    fn concerns(&self, label: Label) -> bool {
        (self.least..=self.most).contains(&label.level) && self.markings.is_subset(label.markings)
    }
}

/// Words and signs.
fn words(text: &str) -> Vec<&str> {
    let kind = |byte: u8| match byte {
        b'<' | b'>' | b'=' => 1,
        _ if byte.is_ascii_whitespace() => 0,
        _ => 2,
    };
    // Only between ASCII bytes is anything split.
    let runs = text.as_bytes().chunk_by(|a, b| kind(*a) == kind(*b));
    let runs = runs.map(|run| std::str::from_utf8(run).unwrap_or_default().trim_ascii());
    runs.filter(|run| !run.is_empty()).collect()
}

fn nothing_above(level: &str) -> QuestionError {
    QuestionError(text!("no level is above `{level}`", "aucun niveau n'est au-dessus de `{level}`"))
}

/// Answers for every label there can be, dates left aside.
#[must_use]
pub fn prove(policy: &Policy, statement: &Statement) -> Answer {
    let document = policy.document();
    let reached = reached(policy, document);
    let labels = possible(policy, document, &reached, statement.markings);
    let (mut broken, mut lowered) = (Vec::new(), Vec::new());
    let mut arrival = |way| {
        if !breaks(document, &statement.way, &way) {
            return;
        }
        if statement.concerns(way.arrives) {
            broken.push(way);
        } else if statement.concerns(way.label)
            && !lowered.iter().any(|known: &Arrival<'_>| known.name == way.name)
        {
            lowered.push(way);
        }
    };
    let table_cells = table(policy, &labels, &mut arrival);
    let flows = flows(policy, &labels, &mut arrival);
    let asked = document.target.iter().filter(|target| is_about(&statement.way, target));
    Answer {
        proved: broken.is_empty(),
        labels: labels.len(),
        table_cells,
        flows,
        targets: asked.map(|target| target.id.clone()).collect(),
        broken: broken.len() as u64,
        counterexample: counterexample(policy, &reached, &broken),
        lowered: lowered.iter().map(|way| flow(policy, way, reaches(policy, &reached, way).next())).collect(),
    }
}

/// The first with a message; else with a sender; else the first.
fn counterexample(policy: &Policy, reached: &Reached, broken: &[Arrival<'_>]) -> Option<Counterexample> {
    let at = policy.document().policy.valid_from.date();
    let sent = || broken.iter().flat_map(|way| reaches(policy, reached, way).map(move |reach| (way, reach)));
    let shown = sent().find_map(|(way, reach)| {
        let (given, by) = along(policy, way, reach)?;
        let flow = Flow { by, ..flow(policy, way, Some(reach)) };
        Some(Counterexample { flow, given: Some(given), at })
    });
    let unsent = || broken.first().map(|way| flow(policy, way, None));
    shown.or_else(|| {
        let flow = sent().next().map(|(way, reach)| flow(policy, way, Some(reach))).or_else(unsent)?;
        Some(Counterexample { flow, given: None, at })
    })
}

/// Who gives that label to messages that can go that way.
fn reaches<'r>(
    policy: &'r Policy,
    reached: &'r Reached,
    way: &'r Arrival<'_>,
) -> impl Iterator<Item = &'r Reach> {
    let served = reached.iter().filter(|((_, domain), _)| serves(policy, way, *domain));
    served.filter_map(|(_, labels)| labels.by_key.get(&key_of(way.label)))
}

fn flow(policy: &Policy, way: &Arrival<'_>, reach: Option<&Reach>) -> Flow {
    let copy = policy.document().copy.iter().find(|copy| way.via == Via::Copy && copy.id == way.name);
    Flow {
        sender: reach.map(|reach| sender(policy, reach)),
        label: way.label,
        via: way.via,
        by: way.name.to_owned(),
        transform: copy.and_then(|copy| copy.transform.clone()),
        arrives: way.arrives,
        target: policy.target_id(way.target),
    }
}

fn sender(policy: &Policy, reach: &Reach) -> Sender {
    let rules = reach.rules.iter().filter_map(|rule| policy.rules().get(usize::from(*rule)));
    Sender {
        source: policy.sources().get(reach.source.index()).map(|s| s.id.clone()).unwrap_or_default(),
        domain: policy.domains().get(reach.domain.index()).map(|d| d.id.clone()).unwrap_or_default(),
        rules: rules.map(|rule| rule.id.clone()).collect(),
    }
}

#[cfg(test)]
mod tests;
