//! The steps, on one message. Each changes what becomes of the leaves and what
//! the envelope holds; the payload is written once, at the end.

use super::period::Grid;
use super::prune::{self, Keep, Unmade};
use super::{
    COPY_ID_KEY, KeySource, Period, Piece, PlanStep, PseudonymKey, TransformInput, TransformRefused,
    Transformed,
};
use crate::Timestamp;
use crate::ast::{GeoGrain, OldKeys};
use crate::facts::{Facts, Leaf, LeafRole, Scalar};
use crate::format::instant_of;
use crate::names::{fold, same_name};

/// Names on the path of a leaf that tell where something is; like all names here, each is its own key.
const GEO: [&str; 22] = [
    "lat",
    "latitude",
    "lon",
    "lng",
    "long",
    "longitude",
    "alt",
    "altitude",
    "elevation",
    "coordinates",
    "coordinate",
    "coords",
    "coord",
    "geometry",
    "geo",
    "geohash",
    "position",
    "location",
    "gps",
    "bbox",
    "pluscode",
    "geojson",
];
const LATITUDE: [&str; 2] = ["lat", "latitude"];
const LONGITUDE: [&str; 4] = ["lon", "lng", "long", "longitude"];
/// Names of an instant, and how longer ones end.
const TIME: [&str; 6] = ["ts", "t", "observedat", "receivedat", "createdat", "dateobserved"];
const TIME_ENDS: [&str; 3] = ["time", "timestamp", "date"];
/// A device identifier shorter than this is looked for as a whole value only.
const SHORT: usize = 4;

/// A copy in the making.
pub(super) struct Work<'w, 'm> {
    input: &'w TransformInput<'m>,
    keep: Vec<Keep>,
    device: Option<String>,
    time: Option<Timestamp>,
    commune: Option<String>,
    topic: Option<String>,
}

impl<'w, 'm> Work<'w, 'm> {
    /// All data of the message; metadata of its format never leaves.
    pub(super) fn new(input: &'w TransformInput<'m>) -> Self {
        let data = |leaf: &Leaf<'_>| if leaf.role == LeafRole::Metadata { Keep::No } else { Keep::AsIs };
        let keep = input.facts.leaves.iter().map(data).collect();
        Self { input, keep, device: None, time: None, commune: None, topic: None }
    }

    pub(super) fn run(&mut self, step: &PlanStep, keys: &dyn KeySource) -> Result<(), TransformRefused> {
        match step {
            PlanStep::KeepOnly(names) => {
                let facts = self.input.facts;
                for (leaf, keep) in facts.leaves.iter().zip(&mut self.keep) {
                    if !names.iter().any(|name| facts.name_is(leaf, name)) {
                        *keep = Keep::No;
                    }
                }
            }
            PlanStep::Pseudonymise { field, key: reference, rotate, grid, old_keys } => {
                let period = format!("{rotate}/{}", grid.floor(self.input.received));
                let key = match old_keys {
                    OldKeys::Keep => keys.key(reference, &period),
                    OldKeys::Destroy => {
                        keys.passing_key(reference, &Period { rotate, end: grid.end(self.input.received) })
                    }
                };
                self.pseudonymise(field, &period, &usable(key, reference)?);
            }
            PlanStep::Drop(names) => {
                for name in names {
                    self.named(name, |_, keep| *keep = Keep::No)?;
                }
            }
            PlanStep::Round { field, digits } => {
                self.named(field, |leaf, keep| round(leaf, keep, *digits))?
            }
            PlanStep::GeneraliseTime(grid) => self.generalise_time(*grid),
            PlanStep::GeneraliseGeo(grain) => self.generalise_geo(*grain),
            PlanStep::RewriteTopic(levels) => {
                let names = TopicNames {
                    domain: self.input.domain,
                    copy: self.input.copy,
                    commune: self.input.commune,
                    device: self.device.as_deref(),
                };
                self.topic = Some(topic(levels, &names)?);
            }
        }
        Ok(())
    }

    /// Does to every leaf that a name concerns. A deny-list must find more than an allow-list: a name
    /// concerns all that stands below it, wherever it stands, however it is spelled.
    fn named(&mut self, name: &str, act: impl Fn(&Leaf<'_>, &mut Keep)) -> Result<(), TransformRefused> {
        let facts = self.input.facts;
        if facts.names.iter().any(|other| same_name(other, name)) {
            return Err(TransformRefused::NameWithin);
        }
        // A dotted name is looked for in as many keys as it has parts, or fewer: a key may hold the dots.
        let parts = name.split('.').count();
        let mut concerned: Vec<bool> = Vec::with_capacity(facts.nodes.len());
        for (at, node) in facts.nodes.iter().enumerate() {
            let above = node.parent.and_then(|parent| concerned.get(usize::try_from(parent).ok()?).copied());
            let mut run = String::new();
            let here = facts.path_up(u32::try_from(at).ok()).take(parts).any(|node| {
                run = if run.is_empty() { node.key.to_string() } else { format!("{}.{run}", node.key) };
                same_name(&run, name)
            });
            concerned.push(above == Some(true) || here);
        }
        for (_, leaf, keep) in self.kept() {
            let node = leaf.node.and_then(|node| usize::try_from(node).ok());
            if node.and_then(|node| concerned.get(node)) == Some(&true) {
                act(leaf, keep);
            }
        }
        Ok(())
    }

    pub(super) fn finish(self, keys: &dyn KeySource) -> Result<Transformed, TransformRefused> {
        let input = self.input;
        let payload =
            prune::payload(input.facts, input.payload, &self.keep).map_err(|unmade| match unmade {
                Unmade::Mismatch => TransformRefused::FactsMismatch,
                Unmade::Collision => TransformRefused::NameCollision,
                Unmade::Nothing => TransformRefused::NothingKept,
            })?;
        let key = copy_id_key(keys)?;
        let id = key.digest(&["octroi:copy-id", input.producer, input.purpose, input.copy, input.record_id]);
        let topic = self.topic.unwrap_or_else(|| own_topic(input.copy));
        Ok(Transformed { payload, topic, device: self.device, time: self.time, commune: self.commune, id })
    }

    /// The leaves that are still kept, with what becomes of them.
    fn kept(&mut self) -> impl Iterator<Item = (&'m Facts<'m>, &'m Leaf<'m>, &mut Keep)> {
        let facts = self.input.facts;
        facts
            .leaves
            .iter()
            .zip(&mut self.keep)
            .filter(|(_, keep)| **keep != Keep::No)
            .map(move |(leaf, keep)| (facts, leaf, keep))
    }

    fn pseudonymise(&mut self, field: &str, period: &str, key: &PseudonymKey) {
        let input = *self.input;
        let pseudonym = |value: &str| key.pseudonym(&[field, input.producer, input.purpose, period, value]);
        let device = input.device.filter(|device| field == "device" && !device.is_empty());
        for (facts, leaf, keep) in self.kept() {
            if facts.name_is(leaf, field) {
                let value = match &leaf.value {
                    Scalar::Text(text) => text.as_ref(),
                    Scalar::Number(_, text) => text,
                    Scalar::Boolean(true) => "true",
                    Scalar::Boolean(false) => "false",
                    Scalar::Empty => continue,
                };
                *keep = Keep::Text(pseudonym(value));
            } else if let (Keep::AsIs, Some(device), Scalar::Text(text)) = (&*keep, device, &leaf.value) {
                // The identifier in another field would undo the pseudonym.
                if text == device || device.len() >= SHORT && text.contains(device) {
                    *keep = Keep::Text(text.replace(device, &pseudonym(device)));
                }
            }
        }
        if let Some(device) = device {
            self.device = Some(pseudonym(device));
        }
    }

    fn generalise_time(&mut self, grid: Grid) {
        self.time = Some(grid.floor(self.input.facts.time.unwrap_or(self.input.received)));
        for (facts, leaf, keep) in self.kept() {
            if *keep != Keep::AsIs {
                continue; // a pseudonym stays one
            }
            match &leaf.value {
                Scalar::Text(text) => {
                    if let Some(floored) = floored(text, grid) {
                        *keep = Keep::Text(floored);
                    }
                }
                Scalar::Number(number, _) if *number >= 1e8 && is_time(facts, leaf) => {
                    if let Some(instant) = instant_of(&leaf.value) {
                        // Back in the unit it came in: see `instant_of`.
                        let micros = if *number < 1e11 { 1_000_000 } else { 1_000 };
                        *keep = Keep::Number((grid.floor(instant).0 / micros).to_string());
                    }
                }
                Scalar::Number(..) | Scalar::Boolean(_) | Scalar::Empty => {}
            }
        }
    }

    fn generalise_geo(&mut self, grain: GeoGrain) {
        self.commune = self.input.commune.map(str::to_owned);
        for (facts, leaf, keep) in self.kept() {
            if !facts.path_up(leaf.node).any(|node| is_one_of(&node.key, &GEO)) {
                continue;
            }
            *keep = match grain {
                GeoGrain::Commune => Keep::No,
                GeoGrain::Kilometre if *keep != Keep::AsIs => continue,
                GeoGrain::Kilometre => on_grid(facts, leaf).map_or(Keep::No, Keep::Number),
            };
        }
    }
}

/// What the names in braces of a topic stand for.
pub(super) struct TopicNames<'t> {
    pub(super) domain: &'t str,
    pub(super) copy: &'t str,
    pub(super) commune: Option<&'t str>,
    pub(super) device: Option<&'t str>,
}

/// The topic of a copy.
pub(super) fn topic(levels: &[Vec<Piece>], names: &TopicNames<'_>) -> Result<String, TransformRefused> {
    let mut topic = String::with_capacity(64);
    for (at, level) in levels.iter().enumerate() {
        if at > 0 {
            topic.push('/');
        }
        for piece in level {
            let value = match piece {
                Piece::Text(text) => {
                    topic.push_str(text);
                    continue;
                }
                Piece::Domain => names.domain,
                Piece::Copy => names.copy,
                Piece::Commune => names.commune.ok_or(TransformRefused::CommuneAbsent)?,
                Piece::Device => names.device.ok_or(TransformRefused::DeviceAbsent)?,
            };
            level_safe(value, &mut topic);
        }
    }
    Ok(topic)
}

/// The topic of a copy whose transform says none.
pub(super) fn own_topic(copy: &str) -> String {
    let mut topic = String::new();
    level_safe(copy, &mut topic);
    topic
}

/// Rounds a leaf; what is no number cannot be rounded, so it does not leave.
fn round(leaf: &Leaf<'_>, keep: &mut Keep, digits: u8) {
    let number = match (&*keep, &leaf.value) {
        (Keep::No | Keep::Text(_), _) => return, // a pseudonym stays one
        (Keep::Number(text), _) => text.parse().ok(),
        (Keep::AsIs, Scalar::Number(number, _)) => Some(*number),
        (Keep::AsIs, Scalar::Empty | Scalar::Boolean(_) | Scalar::Text(_)) => None,
    };
    *keep = number.map_or(Keep::No, |number| Keep::Number(rounded(number, digits)));
}

/// To so many digits behind the point, half to even, of the number as a binary64 reads it.
pub(super) fn rounded(number: f64, digits: u8) -> String {
    /// From 2^53 on there is no digit behind the point.
    const WHOLE: f64 = 9_007_199_254_740_992.0;
    let digits = if number.abs() < WHOLE { usize::from(digits) } else { 0 };
    let text = format!("{number:.digits$}");
    // What rounds to nothing has no sign.
    if text.bytes().any(|byte| (b'1'..=b'9').contains(&byte)) {
        text
    } else {
        text.trim_start_matches('-').to_owned()
    }
}

/// The hub's own key for identifiers.
pub(super) fn copy_id_key(keys: &dyn KeySource) -> Result<PseudonymKey, TransformRefused> {
    usable(keys.key(COPY_ID_KEY, ""), COPY_ID_KEY)
}

fn usable(key: Option<PseudonymKey>, reference: &str) -> Result<PseudonymKey, TransformRefused> {
    match key {
        None => Err(TransformRefused::KeyMissing { reference: reference.to_owned() }),
        Some(key) if key.is_usable() => Ok(key),
        Some(_) => Err(TransformRefused::KeyUnusable { reference: reference.to_owned() }),
    }
}

/// Appends a value as one topic level: nothing in it can end the level or widen it.
fn level_safe(value: &str, topic: &mut String) {
    let plain =
        |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | ':' | '-');
    if !value.is_empty() && value.chars().all(plain) {
        return topic.push_str(value);
    }
    topic.extend(value.chars().map(|character| if plain(character) { character } else { '_' }));
    if value.is_empty() {
        topic.push('_');
    }
}

/// An instant on the grid, as text; a local time stays local.
fn floored(text: &str, grid: Grid) -> Option<String> {
    // Both forms begin with the year; most texts do not.
    if !text.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    if let Some(instant) = Timestamp::parse_rfc3339(text) {
        return Some(grid.floor(instant).to_string());
    }
    let local = Timestamp::parse_rfc3339(&format!("{text}Z"))?;
    Some(grid.floor(local).to_string().trim_end_matches('Z').to_owned())
}

/// Whether a number under that name can be an instant.
fn is_time(facts: &Facts<'_>, leaf: &Leaf<'_>) -> bool {
    facts.node(leaf.node).is_some_and(|node| {
        let key = fold(&node.key);
        TIME_ENDS.iter().any(|end| key.ends_with(end)) || TIME.contains(&key.as_ref())
    })
}

/// Whether the key folds like one of `names`, each of which is its own key.
fn is_one_of(key: &str, names: &[&str]) -> bool {
    names.contains(&fold(key).as_ref())
}

/// A coordinate on a grid of a kilometre or a little more; `None` for anything else.
fn on_grid(facts: &Facts<'_>, leaf: &Leaf<'_>) -> Option<String> {
    const STEP: f64 = 0.01; // of latitude: 1.11 km
    let snap = |degrees: f64, step: f64| (degrees / step).round() * step;
    let Scalar::Number(degrees, _) = leaf.value else { return None };
    let node = facts.node(leaf.node)?;
    if is_one_of(&node.key, &LATITUDE) {
        return Some(format!("{:.2}", snap(degrees, STEP)));
    }
    if !is_one_of(&node.key, &LONGITUDE) {
        return None;
    }
    // Meridians draw together: the step depends on the latitude beside it.
    let beside = facts.leaves.iter().find_map(|other| {
        let place = facts.node(other.node)?;
        match other.value {
            Scalar::Number(degrees, _) if place.parent == node.parent && is_one_of(&place.key, &LATITUDE) => {
                Some(degrees)
            }
            Scalar::Number(..) | Scalar::Empty | Scalar::Boolean(_) | Scalar::Text(_) => None,
        }
    })?;
    let narrowing = snap(beside, STEP).to_radians().cos().max(0.01);
    let step = (STEP / narrowing * 1000.0).ceil() / 1000.0;
    Some(format!("{:.3}", snap(degrees, step)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_that_keys_are_compared_with_are_their_own_keys() {
        for name in GEO.iter().chain(&LATITUDE).chain(&LONGITUDE).chain(&TIME).chain(&TIME_ENDS) {
            assert_eq!(fold(name), *name);
        }
    }
}
