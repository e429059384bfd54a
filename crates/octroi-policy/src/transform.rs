//! What a copy's transform does to one message: steps compiled once, applied to
//! the facts and the payload of each message that leaves. A transform with
//! `aggregate` makes nothing of one message: see `aggregate.rs`.
//!
//! The envelope starts from nothing and holds what a step produces: the device
//! from `pseudonymise`, the time from `generalise_time`, the commune from
//! `generalise_geo`. What no step produces is absent, the original topic and
//! record id first of all. The payload is the data of the message, without what
//! `keep_only` does not name or `drop` names; the format's metadata never leaves.
//!
//! INVARIANT: total, and closed: what cannot be done as written refuses the
//! copy. Keys, time and identities are arguments.

pub mod aggregate;
mod period;
mod prune;
mod pseudonym;
mod steps;

use thiserror::Error;

use aggregate::AggregatePlan;
pub use pseudonym::PseudonymKey;

use crate::ast::{GeoGrain, OldKeys, PseudonymScope, Step, Transform};
use crate::facts::{Facts, Kind};
use crate::{Text, Timestamp};
use period::Grid;

/// The reference of the hub's own key, for the identifiers of copies. Asked for
/// with an empty period: an id must not change when a message is sent again.
pub const COPY_ID_KEY: &str = "hub:copy-ids";

/// Who resolves the references of keys.
pub trait KeySource {
    /// The key of that reference (`file:name`, `env:NAME`, [`COPY_ID_KEY`]) in that period.
    fn key(&self, reference: &str, period: &str) -> Option<PseudonymKey>;

    /// The key of that reference in that period alone; `None` once it is destroyed, or where there are none.
    fn passing_key(&self, _reference: &str, _period: &Period<'_>) -> Option<PseudonymKey> {
        None
    }
}

/// A rotation period, as far as its key goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period<'p> {
    /// How long it is, as the policy writes it.
    pub rotate: &'p str,
    /// Its end.
    pub end: Timestamp,
}

/// A transform, compiled.
#[derive(Clone, Debug)]
pub struct TransformPlan {
    steps: Vec<PlanStep>,
    aggregate: Option<AggregatePlan>,
}

#[derive(Clone, Debug)]
enum PlanStep {
    KeepOnly(Vec<String>),
    Drop(Vec<String>),
    Round { field: String, digits: u8 },
    Pseudonymise { field: String, key: String, rotate: String, grid: Grid, old_keys: OldKeys },
    GeneraliseGeo(GeoGrain),
    GeneraliseTime(Grid),
    RewriteTopic(Vec<Vec<Piece>>),
}

/// A part of one topic level.
#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    Domain,
    Commune,
    Device,
    Copy,
}

/// A transform that cannot be run as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TransformError {
    /// Not one number and one unit.
    #[error("`{text}` is no duration; write one number and one unit, as `PT15M`, `P1D` or `P1M`")]
    Duration {
        /// As written.
        text: String,
    },
    /// A topic that cannot be published to, or a name in braces that is none.
    #[error(
        "`{text}` is no topic; use `{{domain}}`, `{{commune}}`, `{{device}}`, `{{copy}}` and levels that are not empty, without `+`, `#` or a leading `$`"
    )]
    Topic {
        /// As written.
        text: String,
    },
    /// Neither `file:` nor `env:`.
    #[error("`{text}` is no reference to a key; write `file:<name>` (in `keys_dir`) or `env:<NAME>`")]
    Key {
        /// As written, without what could be a secret.
        text: String,
    },
    /// An empty name or list.
    #[error("`{op}` names no field")]
    Fields {
        /// The step.
        op: &'static str,
    },
    /// Too many keys to make and destroy.
    #[error("`old_keys = \"destroy\"` makes a key a period: `rotate` is `PT1H` at least, not `{rotate}`")]
    Rotation {
        /// As written.
        rotate: String,
    },
    /// More digits than a measure has.
    #[error("`round` keeps 0 to {MAX_DIGITS} digits behind the point, not {digits}")]
    Digits {
        /// As written.
        digits: u8,
    },
    /// A step that an aggregate leaves nothing to do.
    #[error(
        "`{op}` has nothing to do in a transform that aggregates, which publishes its groups and measures alone; \
         only `round` of a measure and `rewrite_topic` may follow `aggregate`"
    )]
    Beside {
        /// The step.
        op: &'static str,
    },
    /// Nothing that messages can be grouped by.
    #[error("`by` takes `commune`, `domain`, `producer`, `source` and `space`, not `{text}`")]
    By {
        /// As written.
        text: String,
    },
}

impl TransformError {
    /// For those who write policies.
    pub(crate) fn in_words(&self) -> Text {
        let en = self.to_string();
        let fr = match self {
            Self::Duration { text } => format!(
                "`{text}` n'est pas une durée ; écrire un nombre et une unité, comme `PT15M`, `P1D` ou `P1M`"
            ),
            Self::Topic { text } => format!(
                "`{text}` n'est pas un sujet ; employer `{{domain}}`, `{{commune}}`, `{{device}}`, `{{copy}}` et des niveaux non vides, sans `+`, `#` ni `$` en tête"
            ),
            Self::Key { text } => format!(
                "`{text}` n'est pas une référence à une clé ; écrire `file:<name>` (dans `keys_dir`) ou `env:<NAME>`"
            ),
            Self::Fields { op } => format!("`{op}` ne nomme aucun champ"),
            Self::Rotation { rotate } => format!(
                "`old_keys = \"destroy\"` fait une clé par période : `rotate` vaut `PT1H` au moins, non `{rotate}`"
            ),
            Self::Digits { digits } => {
                format!("`round` garde de 0 à {MAX_DIGITS} chiffres après la virgule, non {digits}")
            }
            Self::Beside { op } => format!(
                "`{op}` n'a rien à faire dans une transformation qui agrège, laquelle ne publie que ses groupes et ses mesures ; seuls `round` d'une mesure et `rewrite_topic` peuvent suivre `aggregate`"
            ),
            Self::By { text } => {
                format!("`by` accepte `commune`, `domain`, `producer`, `source` et `space`, non `{text}`")
            }
        };
        Text { en, fr }
    }
}

/// The most digits that `round` keeps.
const MAX_DIGITS: u8 = 9;

/// One message that is to leave as a copy.
#[derive(Clone, Copy, Debug)]
pub struct TransformInput<'m> {
    /// As [`crate::read`] gave them from `payload`.
    pub facts: &'m Facts<'m>,
    /// The original bytes.
    pub payload: &'m [u8],
    /// The original topic.
    pub topic: &'m str,
    /// The device as the source resolves it.
    pub device: Option<&'m str>,
    /// The domain's id.
    pub domain: &'m str,
    /// INSEE code.
    pub commune: Option<&'m str>,
    /// SIREN.
    pub producer: &'m str,
    /// The copy's purpose: pseudonyms of two purposes cannot be joined.
    pub purpose: &'m str,
    /// The copy's id.
    pub copy: &'m str,
    /// The arrival.
    pub received: Timestamp,
    /// The original's id.
    pub record_id: &'m str,
}

/// The copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transformed {
    /// A JSON object (SenML: an array), keys in the order of their bytes.
    pub payload: Vec<u8>,
    /// As `rewrite_topic` says, else the copy's id.
    pub topic: String,
    /// The pseudonym; `None` if no step made one.
    pub device: Option<String>,
    /// As `generalise_time` made it; `None` if no step did. Never fall back to the arrival.
    pub time: Option<Timestamp>,
    /// INSEE code, if `generalise_geo` is a step.
    pub commune: Option<String>,
    /// 32 hexadecimal digits: a keyed hash of the original's id and the copy.
    pub id: String,
}

/// Why a copy cannot be made of this message.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TransformRefused {
    /// The transform aggregates: it makes nothing of one message.
    #[error("the transform aggregates: no single message leaves by it")]
    Aggregated,
    /// What is to be dropped or rounded stands where no single leaf can be taken out.
    #[error("a name that the transform drops or rounds stands within another key or a value")]
    NameWithin,
    /// A command never leaves.
    #[error("the message is a command")]
    Command,
    /// No field can be chosen from bytes that are not read.
    #[error("the payload is opaque: no field can be kept from it")]
    Opaque,
    /// No field of the message is in the list.
    #[error("the message has none of the fields that the transform keeps")]
    NothingKept,
    /// Two kept fields have one name.
    #[error("two kept fields have the same name below the data root")]
    NameCollision,
    /// The facts were read from other bytes.
    #[error("the facts are not those of the payload")]
    FactsMismatch,
    /// The reference leads to no key.
    #[error(
        "there is no key `{reference}`; put it where the configuration's `keys_dir` or the environment has it"
    )]
    KeyMissing {
        /// As in the policy.
        reference: String,
    },
    /// Too short, or an id that cannot be shown.
    #[error(
        "the key `{reference}` cannot be used: it needs 16 bytes or more and an id of 1 to 16 of `a-z0-9`"
    )]
    KeyUnusable {
        /// As in the policy.
        reference: String,
    },
    /// The message names no device, and an aggregate counts devices.
    #[error("the message names no device, and an aggregate counts devices")]
    NoDevice,
    /// The topic needs a device and no step made one.
    #[error("the topic needs `{{device}}`, and the message has no pseudonymised device")]
    DeviceAbsent,
    /// The topic needs a commune.
    #[error("the topic needs `{{commune}}`, and the message has none")]
    CommuneAbsent,
}

impl TransformRefused {
    /// The stable name, for records and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Aggregated => "aggregated",
            Self::NameWithin => "name_within",
            Self::Command => "command",
            Self::Opaque => "opaque_payload",
            Self::NothingKept => "nothing_kept",
            Self::NameCollision => "name_collision",
            Self::FactsMismatch => "facts_mismatch",
            Self::KeyMissing { .. } => "key_missing",
            Self::KeyUnusable { .. } => "key_unusable",
            Self::DeviceAbsent => "device_absent",
            Self::NoDevice => "no_device",
            Self::CommuneAbsent => "commune_absent",
        }
    }
}

impl TransformPlan {
    /// Compiles the steps, in the order written. `k_min` is the policy's least number of devices.
    ///
    /// # Errors
    ///
    /// The first step that is not written as it must be.
    pub fn compile(transform: &Transform, k_min: u32) -> Result<Self, TransformError> {
        let aggregate = AggregatePlan::compile(transform, k_min)?;
        let steps = match &aggregate {
            Some(_) => Vec::new(),
            None => transform.steps.iter().map(plan_step).collect::<Result<_, _>>()?,
        };
        Ok(Self { steps, aggregate })
    }

    /// How it aggregates; `None`: each message leaves by itself.
    #[must_use]
    pub fn aggregate(&self) -> Option<&AggregatePlan> {
        self.aggregate.as_ref()
    }

    /// Makes the copy of one message.
    ///
    /// # Errors
    ///
    /// Why the copy is refused; the original is not concerned.
    pub fn apply(
        &self,
        input: &TransformInput<'_>,
        keys: &dyn KeySource,
    ) -> Result<Transformed, TransformRefused> {
        if self.aggregate.is_some() {
            return Err(TransformRefused::Aggregated);
        }
        match input.facts.kind {
            Kind::Command => return Err(TransformRefused::Command),
            Kind::Opaque => return Err(TransformRefused::Opaque),
            Kind::Measure | Kind::Status | Kind::Join | Kind::Location | Kind::Birth | Kind::Inventory => {}
        }
        let mut work = steps::Work::new(input);
        for step in &self.steps {
            work.run(step, keys)?;
        }
        work.finish(keys)
    }
}

/// A step of a transform that does not aggregate.
fn plan_step(step: &Step) -> Result<PlanStep, TransformError> {
    let named = |op, fields: &[String]| {
        let none = fields.is_empty() || fields.iter().any(String::is_empty);
        if none { Err(TransformError::Fields { op }) } else { Ok(()) }
    };
    Ok(match step {
        Step::KeepOnly { fields } => {
            named("keep_only", fields)?;
            PlanStep::KeepOnly(fields.clone())
        }
        Step::Drop { fields } => {
            named("drop", fields)?;
            PlanStep::Drop(fields.clone())
        }
        Step::Round { field, digits } => {
            named("round", std::slice::from_ref(field))?;
            PlanStep::Round { field: field.clone(), digits: decimals(*digits)? }
        }
        Step::Pseudonymise { field, key, rotate, scope: PseudonymScope::PerProducer, old_keys } => {
            named("pseudonymise", std::slice::from_ref(field))?;
            let (field, key, grid) = (field.clone(), key_reference(key)?, grid(rotate)?);
            if *old_keys == OldKeys::Destroy && grid.is_below_an_hour() {
                return Err(TransformError::Rotation { rotate: rotate.clone() });
            }
            PlanStep::Pseudonymise { field, key, rotate: rotate.clone(), grid, old_keys: *old_keys }
        }
        Step::GeneraliseGeo { to } => PlanStep::GeneraliseGeo(*to),
        Step::GeneraliseTime { to } => PlanStep::GeneraliseTime(grid(to)?),
        Step::RewriteTopic { to } => PlanStep::RewriteTopic(topic(to)?),
        Step::Aggregate { .. } => return Err(TransformError::Beside { op: "aggregate" }),
    })
}

fn decimals(digits: u8) -> Result<u8, TransformError> {
    if digits > MAX_DIGITS { Err(TransformError::Digits { digits }) } else { Ok(digits) }
}

fn grid(text: &str) -> Result<Grid, TransformError> {
    Grid::parse(text).ok_or_else(|| TransformError::Duration { text: text.to_owned() })
}

pub(crate) fn key_reference(text: &str) -> Result<String, TransformError> {
    let name = text.strip_prefix("file:").or_else(|| text.strip_prefix("env:")).unwrap_or_default();
    // One name, never a path: keys lie in one directory, outside the policy's.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty() || name.starts_with('.') || !name.bytes().all(plain) {
        // What stands there could be the key itself.
        let shown = text.split_once(':').map_or("…".to_owned(), |(scheme, _)| format!("{scheme}:…"));
        return Err(TransformError::Key { text: shown });
    }
    Ok(text.to_owned())
}

fn topic(text: &str) -> Result<Vec<Vec<Piece>>, TransformError> {
    let refused = || TransformError::Topic { text: text.to_owned() };
    if text.starts_with('$')
        || text.len() > 512
        || text.contains(|c: char| matches!(c, '+' | '#') || c.is_control())
    {
        return Err(refused());
    }
    text.split('/').map(|level| pieces(level).ok_or_else(refused)).collect()
}

fn pieces(level: &str) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = level;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}')?;
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        pieces.push(match name {
            "domain" => Piece::Domain,
            "commune" => Piece::Commune,
            "device" => Piece::Device,
            "copy" => Piece::Copy,
            _ => return None,
        });
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    let closed = pieces.iter().all(|piece| !matches!(piece, Piece::Text(text) if text.contains('}')));
    (closed && !pieces.is_empty()).then_some(pieces)
}

#[cfg(test)]
mod tests;
