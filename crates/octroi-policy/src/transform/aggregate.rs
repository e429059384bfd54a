//! `aggregate`: one publication of many messages, window by window.
//!
//! A message becomes a [`Contribution`]: its window, its group, its device and
//! its measures. [`Windows`] gathers those of one copy; a window that is over
//! becomes a [`Publication`]. Nothing here reads a clock, a file or a message
//! that has left: what has arrived and what time it is are arguments.
//!
//! **Time.** The window is that of the arrival, not of the measure: the arrival
//! is on record, so reading again gives the same window, and no sender can
//! choose a window of its own. A published window is never revised, or the
//! difference of two versions would be one device: what comes later is late,
//! counted and left out.
//!
//! **Who counts.** A device counts once a window, with the last value it
//! measured (by the measure's own time), so that neither order nor repetition
//! changes anything and eleven messages of one meter are one. A group, and each
//! measure in it, is published only from the least number of devices on. There
//! is a sum and a mean; no minimum and no maximum, which are one device's.
//! Devices of two producers are never counted together.
//!
//! Not prevented: a sum that one device dominates, and two copies whose groups
//! overlap so that a suppressed group is the difference of two published ones.
//!
//! INVARIANT: any order and repetition of the same contributions gives the same
//! publication, before and after a state was stored and read back.

mod windows;

use serde::{Deserialize, Serialize};

pub use windows::{Aggregate, Limits, Publication, Suppressed, Taken, Windows};

use super::period::Grid;
use super::steps::{TopicNames, copy_id_key, own_topic, topic};
use super::{KeySource, Piece, TransformError, TransformInput, TransformRefused, decimals, grid};
use crate::ast::{Step, Transform};
use crate::facts::{Facts, Kind, Scalar};
use crate::names::fold;
use crate::{Label, Timestamp};

/// A transform that aggregates, compiled.
#[derive(Clone, Debug)]
pub struct AggregatePlan {
    window: Grid,
    by: Vec<By>,
    measures: Vec<Measure>,
    least: usize,
    topic: Option<Vec<Vec<Piece>>>,
    fingerprint: u64,
}

#[derive(Clone, Debug)]
struct Measure {
    name: String,
    /// To how many digits it is published.
    digits: Option<u8>,
}

/// What messages are grouped by, beside their producer and domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Commune,
    Domain,
    Producer,
    Source,
    Space,
}

impl By {
    const ALL: [(&'static str, Self); 5] = [
        ("commune", Self::Commune),
        ("domain", Self::Domain),
        ("producer", Self::Producer),
        ("source", Self::Source),
        ("space", Self::Space),
    ];
}

/// A group. Producer and domain always tell groups apart; of the rest, what `by` names.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// SIREN.
    pub producer: String,
    /// The domain's id.
    pub domain: String,
    /// INSEE code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commune: Option<String>,
    /// The source's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The primary space's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space: Option<String>,
}

/// One message that an aggregate is made of.
#[derive(Clone, Copy, Debug)]
pub struct Contributor<'m> {
    /// The message, as every transform gets it.
    pub message: TransformInput<'m>,
    /// The source's id.
    pub source: &'m str,
    /// The primary space's id.
    pub space: &'m str,
    /// How sensitive the message is.
    pub label: Label,
}

/// What a message adds to its window.
#[derive(Clone, Debug, PartialEq)]
pub struct Contribution {
    received: Timestamp,
    group: Group,
    /// A keyed hash of the device's folded name: spelling makes no second device.
    device: u64,
    label: Label,
    /// When it was measured.
    at: Timestamp,
    /// By the plan's measures.
    values: Vec<Option<f64>>,
}

impl AggregatePlan {
    /// The plan of a transform that aggregates; `None`: it does not.
    pub(super) fn compile(transform: &Transform, k_min: u32) -> Result<Option<Self>, TransformError> {
        let mut plan: Option<Self> = None;
        let aggregates = transform.steps.iter().any(|step| matches!(step, Step::Aggregate { .. }));
        if !aggregates {
            return Ok(None);
        }
        for step in &transform.steps {
            let beside = |op| Err(TransformError::Beside { op });
            match (step, &mut plan) {
                (Step::Aggregate { window, by, measures, min_count }, None) => {
                    plan = Some(Self::of(window, by, measures, k_min.max(*min_count))?);
                }
                (Step::Aggregate { .. }, Some(_)) => return beside("aggregate"),
                (Step::Round { field, digits }, Some(plan)) => {
                    let measure = plan.measures.iter_mut().find(|measure| measure.name == *field);
                    let Some(measure) = measure else { return beside("round") };
                    measure.digits = Some(decimals(*digits)?);
                }
                (Step::RewriteTopic { to }, Some(plan)) => plan.topic = Some(plan.own_topic(to)?),
                (Step::Round { .. }, None) => return beside("round"),
                (Step::RewriteTopic { .. }, None) => return beside("rewrite_topic"),
                (Step::KeepOnly { .. }, _) => return beside("keep_only"),
                (Step::Drop { .. }, _) => return beside("drop"),
                (Step::Pseudonymise { .. }, _) => return beside("pseudonymise"),
                (Step::GeneraliseGeo { .. }, _) => return beside("generalise_geo"),
                (Step::GeneraliseTime { .. }, _) => return beside("generalise_time"),
            }
        }
        if let Some(plan) = &mut plan {
            plan.fingerprint = fingerprint(transform, plan.least);
        }
        Ok(plan)
    }

    fn of(window: &str, by: &[String], measures: &[String], least: u32) -> Result<Self, TransformError> {
        let by = by.iter().map(|word| {
            let found = By::ALL.iter().find(|(name, _)| name == word);
            found.map(|(_, by)| *by).ok_or_else(|| TransformError::By { text: word.clone() })
        });
        if measures.iter().any(String::is_empty) {
            return Err(TransformError::Fields { op: "aggregate" });
        }
        let measures = measures.iter().map(|name| Measure { name: name.clone(), digits: None });
        Ok(Self {
            window: grid(window)?,
            by: by.collect::<Result<_, _>>()?,
            measures: measures.collect(),
            least: usize::try_from(least).unwrap_or(usize::MAX),
            topic: None,
            fingerprint: 0,
        })
    }

    /// An aggregate has no device, and a commune only if it is grouped by it.
    fn own_topic(&self, to: &str) -> Result<Vec<Vec<Piece>>, TransformError> {
        let levels = super::topic(to)?;
        let absent = |piece: &Piece| match piece {
            Piece::Device => true,
            Piece::Commune => !self.by.contains(&By::Commune),
            Piece::Text(_) | Piece::Domain | Piece::Copy => false,
        };
        if levels.iter().flatten().any(absent) {
            return Err(TransformError::Topic { text: to.to_owned() });
        }
        Ok(levels)
    }

    /// What tells this plan from any other: an aggregate leaves only under the plan it was made by.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// What a message adds.
    ///
    /// # Errors
    ///
    /// Why it adds nothing; the original is not concerned.
    pub fn contribution(
        &self,
        contributor: &Contributor<'_>,
        keys: &dyn KeySource,
    ) -> Result<Contribution, TransformRefused> {
        let message = &contributor.message;
        match message.facts.kind {
            Kind::Command => return Err(TransformRefused::Command),
            Kind::Opaque => return Err(TransformRefused::Opaque),
            Kind::Measure | Kind::Status | Kind::Join | Kind::Location | Kind::Birth | Kind::Inventory => {}
        }
        let device = message.device.filter(|device| !device.is_empty());
        let device = fold(device.ok_or(TransformRefused::NoDevice)?);
        let key = copy_id_key(keys)?;
        let digest = key.digest(&["octroi:aggregate-device", message.producer, message.copy, &device]);
        let device = digest.get(..16).and_then(|head| u64::from_str_radix(head, 16).ok());
        let given = |by: By, text: &str| self.by.contains(&by).then(|| text.to_owned());
        let commune = match message.commune {
            Some(commune) => given(By::Commune, commune),
            None if self.by.contains(&By::Commune) => return Err(TransformRefused::CommuneAbsent),
            None => None,
        };
        Ok(Contribution {
            received: message.received,
            group: Group {
                producer: message.producer.to_owned(),
                domain: message.domain.to_owned(),
                commune,
                source: given(By::Source, contributor.source),
                space: given(By::Space, contributor.space),
            },
            device: device.ok_or(TransformRefused::NoDevice)?,
            label: contributor.label,
            at: message.facts.time.unwrap_or(message.received),
            values: self.measures.iter().map(|measure| value(message.facts, &measure.name)).collect(),
        })
    }

    /// The topic of a group's aggregate.
    fn topic_for(&self, copy: &str, group: &Group) -> Result<String, TransformRefused> {
        let Some(levels) = &self.topic else { return Ok(own_topic(copy)) };
        let commune = group.commune.as_deref();
        topic(levels, &TopicNames { domain: &group.domain, copy, commune, device: None })
    }
}

/// The one number of that name; of several nobody could say which one counts.
fn value(facts: &Facts<'_>, name: &str) -> Option<f64> {
    let mut leaves = facts.leaves.iter().filter(|leaf| facts.name_is(leaf, name));
    let leaf = leaves.next()?;
    match leaf.value {
        Scalar::Number(number, _) if leaves.next().is_none() => Some(number),
        Scalar::Number(..) | Scalar::Empty | Scalar::Boolean(_) | Scalar::Text(_) => None,
    }
}

fn fingerprint(transform: &Transform, least: usize) -> u64 {
    // Plain values: serialising cannot fail.
    let text = serde_json::to_vec(&(&transform.steps, least)).unwrap_or_default();
    let mut head = [0; 8];
    for (to, from) in head.iter_mut().zip(blake3::hash(&text).as_bytes()) {
        *to = *from;
    }
    u64::from_le_bytes(head)
}

#[cfg(test)]
mod tests;
