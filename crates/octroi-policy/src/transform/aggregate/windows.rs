//! The open windows of one copy: a value that contributions go into and
//! publications come out of. It can be stored at any moment.
//!
//! INVARIANT: bounded. A window that outgrows the limits is given up whole: it
//! publishes nothing, and says so.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{AggregatePlan, By, Contribution, Group, Measure};
use crate::transform::steps::{copy_id_key, rounded};
use crate::transform::{KeySource, TransformRefused};
use crate::{Label, Level, Markings, Timestamp};

/// What the open windows of a copy may hold, all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Groups.
    pub groups: usize,
    /// Devices, counted in each group and window anew.
    pub devices: usize,
}

/// What became of a contribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is in its window.
    Counted,
    /// Its window is published, or was given up: it is left out.
    Late,
    /// Its window outgrew the limits: nothing of it is published.
    Overgrown,
}

/// Groups that are not published. They leave no trace but this number.
pub type Suppressed = u64;

/// The open windows of one copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Windows {
    /// Of the plan.
    fingerprint: u64,
    /// Everything received before is published or given up, microseconds.
    closed: i64,
    /// By their starts.
    open: BTreeMap<i64, Window>,
    /// What they hold, so that nothing is counted again for each message.
    held: Limits,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Window {
    end: i64,
    groups: Vec<Gathered>,
    /// How many groups it had when it outgrew the limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    overgrown: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Gathered {
    group: Group,
    level: Level,
    markings: u32,
    /// By the device's hash: of each measure the last value and when it was measured.
    devices: BTreeMap<u64, Vec<Option<Last>>>,
}

/// When it was measured, microseconds, and the bits of a binary64: JSON's numbers would not keep them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Last(i64, u64);

impl Last {
    fn value(self) -> f64 {
        f64::from_bits(self.1)
    }

    /// The later one; of two at one instant the greater, so that order does not matter.
    fn max(self, other: Self) -> Self {
        let later = self.0.cmp(&other.0).then(self.value().total_cmp(&other.value()));
        if later.is_lt() { other } else { self }
    }
}

/// What a window publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Its start.
    pub start: Timestamp,
    /// Its end, which is not in it.
    pub end: Timestamp,
    /// One a group, in the order of the groups.
    pub aggregates: Vec<Aggregate>,
    /// Too small to be published, or given up.
    pub suppressed: Suppressed,
}

/// What leaves for one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aggregate {
    /// Of whom.
    pub group: Group,
    /// The contributors' labels, joined.
    pub label: Label,
    /// A keyed hash of copy, window and group: made again, it is the same.
    pub id: String,
    /// As `rewrite_topic` says, else the copy's id.
    pub topic: String,
    /// JSON.
    pub payload: Vec<u8>,
}

impl Windows {
    /// No window yet; what was received before `closed` is late.
    #[must_use]
    pub fn new(plan: &AggregatePlan, closed: Timestamp) -> Self {
        Self {
            fingerprint: plan.fingerprint(),
            closed: closed.0,
            open: BTreeMap::new(),
            held: Limits::default(),
        }
    }

    /// No window yet, and none that has begun: what would have been in it was lost or is another plan's.
    #[must_use]
    pub fn after(plan: &AggregatePlan, closed: Timestamp, now: Timestamp) -> Self {
        Self::new(plan, closed.max(plan.window.end(now)))
    }

    /// Whether they are that plan's.
    #[must_use]
    pub fn is_of(&self, plan: &AggregatePlan) -> bool {
        self.fingerprint == plan.fingerprint()
    }

    /// Everything received before is published or given up.
    #[must_use]
    pub fn closed(&self) -> Timestamp {
        Timestamp(self.closed)
    }

    /// How many groups the open windows hold.
    #[must_use]
    pub fn groups(&self) -> u64 {
        self.open.values().map(|window| window.overgrown.unwrap_or(window.groups.len() as u64)).sum()
    }

    /// Takes a contribution of the plan that these windows are of.
    pub fn take(&mut self, plan: &AggregatePlan, contribution: Contribution, limits: &Limits) -> Taken {
        if contribution.received.0 < self.closed {
            return Taken::Late;
        }
        let start = plan.window.floor(contribution.received);
        let end = plan.window.end(contribution.received);
        let empty = Window { end: end.0, groups: Vec::new(), overgrown: None };
        let window = self.open.entry(start.0).or_insert(empty);
        if window.overgrown.is_none() {
            window.take(contribution, &mut self.held, limits);
        }
        if window.overgrown.is_none() {
            return Taken::Counted;
        }
        self.count();
        Taken::Overgrown
    }

    fn count(&mut self) {
        self.held = Limits::default();
        for group in self.open.values().flat_map(|window| &window.groups) {
            self.held.groups += 1;
            self.held.devices += group.devices.len();
        }
    }

    /// Whether the oldest window ended at or before `by`.
    #[must_use]
    pub fn is_over(&self, by: Timestamp) -> bool {
        self.open.first_key_value().is_some_and(|(_, window)| window.end <= by.0)
    }

    /// What the oldest window publishes, if it ended at or before `by`. It stays until [`Self::retire`].
    ///
    /// # Errors
    ///
    /// The key of identifiers cannot be used.
    pub fn due(
        &self,
        plan: &AggregatePlan,
        copy: &str,
        purpose: &str,
        by: Timestamp,
        keys: &dyn KeySource,
    ) -> Result<Option<Publication>, TransformRefused> {
        let oldest = self.open.first_key_value().filter(|(_, window)| window.end <= by.0);
        let Some((start, window)) = oldest else { return Ok(None) };
        let mut publication = Publication {
            start: Timestamp(*start),
            end: Timestamp(window.end),
            aggregates: Vec::new(),
            suppressed: window.overgrown.unwrap_or(0),
        };
        let key = copy_id_key(keys)?;
        for gathered in &window.groups {
            if gathered.devices.len() < plan.least {
                publication.suppressed += 1;
                continue;
            }
            let group = &gathered.group;
            let or_none = |text: &Option<String>| text.clone().unwrap_or_default();
            let (commune, source, space) =
                (or_none(&group.commune), or_none(&group.source), or_none(&group.space));
            let (from, to) = (publication.start.to_string(), publication.end.to_string());
            let parts: [&str; 9] =
                [copy, purpose, &from, &to, &group.producer, &group.domain, &commune, &source, &space];
            publication.aggregates.push(Aggregate {
                id: key.digest(&[&["octroi:aggregate-id"], parts.as_slice()].concat()),
                topic: plan.topic_for(copy, group)?,
                payload: payload(plan, &publication, gathered),
                label: Label { level: gathered.level, markings: Markings::from_bits(gathered.markings) },
                group: group.clone(),
            });
        }
        Ok(Some(publication))
    }

    /// Every window that ended at or before `end` is published, or is not to be.
    pub fn retire(&mut self, end: Timestamp) {
        self.closed = self.closed.max(end.0);
        self.open.retain(|_, window| window.end > end.0);
        self.count();
    }
}

impl Window {
    fn take(&mut self, contribution: Contribution, held: &mut Limits, limits: &Limits) {
        let Contribution { group, device, label, at, values, .. } = contribution;
        let place = match self.groups.binary_search_by(|gathered| gathered.group.cmp(&group)) {
            Ok(place) => place,
            Err(_) if held.groups >= limits.groups => return self.give_up(),
            Err(place) => {
                held.groups += 1;
                let (level, markings) = (label.level, label.markings.bits());
                self.groups.insert(place, Gathered { group, level, markings, devices: BTreeMap::new() });
                place
            }
        };
        let Some(gathered) = self.groups.get_mut(place) else { return };
        if !gathered.devices.contains_key(&device) {
            if held.devices >= limits.devices {
                return self.give_up();
            }
            held.devices += 1;
        }
        gathered.level = gathered.level.max(label.level);
        gathered.markings |= label.markings.bits();
        let lasts = gathered.devices.entry(device).or_insert_with(|| vec![None; values.len()]);
        for (last, value) in lasts.iter_mut().zip(values) {
            let value = value.map(|value| Last(at.0, value.to_bits()));
            *last = match (*last, value) {
                (Some(one), Some(other)) => Some(one.max(other)),
                (one, other) => one.or(other),
            };
        }
    }

    /// Part of a window says something false: it is given up whole.
    fn give_up(&mut self) {
        self.overgrown = Some(self.groups.len() as u64);
        self.groups = Vec::new();
    }
}

/// The payload: what the group is, and of each measure what enough devices give.
fn payload(plan: &AggregatePlan, publication: &Publication, gathered: &Gathered) -> Vec<u8> {
    let Group { producer, domain, commune, source, space } = &gathered.group;
    let mut payload = Map::new();
    for (name, by) in By::ALL {
        let value = match by {
            By::Producer => Some(producer),
            By::Domain => Some(domain),
            By::Commune => commune.as_ref(),
            By::Source => source.as_ref(),
            By::Space => space.as_ref(),
        };
        if let Some(value) = value.filter(|_| plan.by.contains(&by)) {
            payload.insert(name.to_owned(), value.clone().into());
        }
    }
    let measures = plan.measures.iter().enumerate().filter_map(|(n, measure)| {
        let lasts = gathered.devices.values().filter_map(|lasts| lasts.get(n).copied().flatten());
        let values: Vec<f64> = lasts.map(Last::value).collect();
        // Fewer devices measure this than are in the group: then it could be one's own.
        let told = (values.len() >= plan.least).then(|| summary(measure, &values))??;
        Some((measure.name.clone(), told))
    });
    let measures: Map<String, Value> = measures.collect();
    payload.insert("devices".to_owned(), gathered.devices.len().into());
    payload.insert("measures".to_owned(), measures.into());
    let (start, end) = (publication.start.to_string(), publication.end.to_string());
    payload.insert("window".to_owned(), json!({ "start": start, "end": end }));
    Value::Object(payload).to_string().into_bytes()
}

/// Devices, sum and mean, in the order of the devices' hashes: the same values give the same bits.
fn summary(measure: &Measure, values: &[f64]) -> Option<Value> {
    #[expect(clippy::cast_precision_loss, reason = "far fewer devices than 2^53")]
    let count = values.len() as f64;
    let sum: f64 = values.iter().sum();
    let told = |value: f64| match measure.digits {
        Some(digits) => rounded(value, digits).parse().unwrap_or(value),
        None => value,
    };
    // A sum beyond what a number holds is told to nobody.
    (count > 0.0 && sum.is_finite())
        .then(|| json!({ "devices": values.len(), "sum": told(sum), "mean": told(sum / count) }))
}
