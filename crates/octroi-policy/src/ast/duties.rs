//! What targets must be, what is done to a copy before it leaves, and what
//! lifts a requirement for a time. Types only.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ExtraEuLaw, Nature, OneOrMany, TargetKind, Tenancy, When};
use crate::{Date, Level, Marking};

/// Which labels and targets a requirement concerns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequirementWhen {
    /// Labels at or above that level.
    pub min_level: Option<Level>,
    /// Labels with that marking.
    pub marking: Option<Marking>,
    /// Targets of these kinds only.
    pub target_kind: Option<Vec<TargetKind>>,
}

/// What a target must be; all keys must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Must {
    /// There is a contract with the processor.
    pub processor_contract: Option<bool>,
    /// It stands in one of these countries; `EEA` is a list.
    pub country_in: Option<OneOrMany<String>>,
    /// It is not exposed to law from outside the EU.
    pub extra_eu_law: Option<ExtraEuLaw>,
    /// Its operator is of that nature.
    pub operator: Option<Nature>,
    /// It is dedicated.
    pub tenancy: Option<Tenancy>,
    /// It is accredited for restricted distribution.
    pub homologation_dr: Option<bool>,
    /// Only transformed copies go there.
    pub transformed: Option<bool>,
    /// One of these holds: `operator:public+homologation`, `secnumcloud>=3.2`, `hds>=2024`.
    pub one_of: Option<Vec<String>>,
}

/// What stands behind a requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "as their names say")]
pub enum LegalStatus {
    Obligation,
    Pending,
    Doctrine,
}

/// `[[requirement]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Requirement {
    /// Its name.
    pub id: String,
    /// Which labels and targets it concerns.
    pub when: RequirementWhen,
    /// What the target must be; all keys must hold.
    pub must: Must,
    /// The text or decision behind it.
    pub because: String,
    /// What stands behind it: an obligation is never lifted.
    pub legal_status: LegalStatus,
    /// The first day it counts.
    pub from: Option<Date>,
    /// From when on the law in preparation would demand it.
    pub pending_from: Option<Date>,
}

/// One duty of a transform.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// An allow-list: what is not listed does not leave.
    KeepOnly {
        /// The dotted paths that leave.
        fields: Vec<String>,
    },
    /// Takes fields out.
    Drop {
        /// The dotted paths that go.
        fields: Vec<String>,
    },
    /// Replaces an identifier by a keyed hash; never lowers the level.
    Pseudonymise {
        /// The field, or `device`.
        field: String,
        /// The key's reference: `file:<name>` (in `keys_dir`) or `env:<NAME>`.
        key: String,
        /// How often the pseudonym changes (ISO 8601 duration).
        rotate: String,
        /// Within what pseudonyms can be joined.
        scope: PseudonymScope,
        /// What becomes of the keys of past periods; default: `keep`.
        #[serde(default)]
        old_keys: OldKeys,
    },
    /// Makes the place coarser.
    GeneraliseGeo {
        /// How coarse.
        to: GeoGrain,
    },
    /// Makes the time coarser.
    GeneraliseTime {
        /// How coarse (ISO 8601 duration).
        to: String,
    },
    /// Rounds a number.
    Round {
        /// The field.
        field: String,
        /// Digits behind the point.
        digits: u8,
    },
    /// Replaces messages by sums over a window.
    Aggregate {
        /// How long a window is (ISO 8601 duration).
        window: String,
        /// What groups are made by.
        by: Vec<String>,
        /// What is summed up.
        measures: Vec<String>,
        /// The least number of distinct devices in a group; smaller groups are suppressed.
        min_count: u32,
    },
    /// Gives the copy a topic that carries no device as it is.
    RewriteTopic {
        /// The topic, with `{domain}`, `{commune}`, `{device}` (transformed), `{copy}`.
        to: String,
    },
}

/// Within what a pseudonym can be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "as their names say")]
pub enum PseudonymScope {
    PerProducer,
}

/// What becomes of a pseudonym's key when its rotation period is past.
///
/// The period is part of what is hashed in either case: pseudonyms of two periods never look alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OldKeys {
    /// There is one key for all periods: who holds it can make any pseudonym again and compare.
    #[default]
    Keep,
    /// The hub adds a random secret of its own in each period and destroys it a week after the period's end:
    /// from then on nobody can tell whose pseudonym it was. A copy that has waited longer is refused. The
    /// period is an hour at least.
    Destroy,
}

/// How coarse a place becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "as their names say")]
pub enum GeoGrain {
    #[serde(rename = "commune")]
    Commune,
    #[serde(rename = "1km")]
    Kilometre,
}

/// What a transform does to the label.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TransformResult {
    /// The level of what comes out; lower only through an aggregate with a declassification.
    pub level: Option<Level>,
    /// Markings that what comes out has.
    #[serde(default)]
    pub add: Vec<Marking>,
    /// Markings that what comes out has no more; only through an aggregate with a declassification.
    #[serde(default)]
    pub remove: Vec<Marking>,
}

/// Which labels a transform may be applied to; outside it the copy is refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AppliesTo {
    /// The highest level it may be applied to.
    pub max_level: Option<Level>,
    /// It may be applied to labels with no other markings.
    pub only_markings: Option<Vec<Marking>>,
}

/// Why a transform may lower a label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Declassification {
    /// Why what comes out is less sensitive.
    pub justification: String,
    /// Who approved it.
    pub approved_by: Vec<String>,
    /// The last day it counts.
    pub expires: Date,
}

/// `[[transform]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Transform {
    /// Its name.
    pub id: String,
    /// What is done, in order.
    pub steps: Vec<Step>,
    /// What it does to the label.
    #[serde(default)]
    pub result: TransformResult,
    /// The labels it may be applied to; others: the copy is refused.
    pub applies_to: Option<AppliesTo>,
    /// What allows it to lower a label.
    pub declassification: Option<Declassification>,
}

/// `[[copy]]`: a second destination beside the primary space, never instead of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Copy {
    /// Its name, and the prefix of its topics.
    pub id: String,
    /// The domains it concerns.
    pub domains: Vec<String>,
    /// Which messages are copied; absent: all of the domains.
    pub when: Option<When>,
    /// The target it goes to.
    pub to: String,
    /// What is done to each message first.
    pub transform: Option<String>,
    /// The highest level that may leave, after the transform.
    pub max_level: Level,
    /// What it is for; pseudonyms of two purposes cannot be joined.
    pub purpose: String,
    /// The processing it belongs to.
    pub processing: Option<String>,
}

/// Where a derogation acts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DerogationScope {
    /// Only messages of that source.
    pub source: Option<String>,
    /// Only messages to that space.
    pub space: Option<String>,
}

/// `[[derogation]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Derogation {
    /// The requirement it lifts; never an obligation.
    pub requirement: String,
    /// Where it acts; without scope, nowhere.
    pub scope: DerogationScope,
    /// Why.
    pub reason: String,
    /// The reference of what shows it.
    pub evidence: String,
    /// Who approved it.
    pub approved_by: Vec<String>,
    /// The last day it counts.
    pub expires: Date,
}
