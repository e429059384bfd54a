//! Transforms as they are written: what is done to a copy before it leaves, and
//! why its label may be lower. What the steps do is `crate::transform`'s.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Date, Level, Marking};

/// One duty of a transform.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained once, in the guide to the policy language")]
pub enum Step {
    KeepOnly {
        fields: Vec<String>,
    },
    Drop {
        fields: Vec<String>,
    },
    Pseudonymise {
        field: String,
        key: String,
        rotate: String,
        scope: PseudonymScope,
        #[serde(default)]
        old_keys: OldKeys,
    },
    GeneraliseGeo {
        to: GeoGrain,
    },
    GeneraliseTime {
        to: String,
    },
    Round {
        field: String,
        digits: u8,
    },
    Aggregate {
        window: String,
        by: Vec<String>,
        measures: Vec<String>,
        min_count: u32,
    },
    RewriteTopic {
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
#[expect(missing_docs, reason = "the keys are explained once, in the guide to the policy language")]
pub struct TransformResult {
    pub level: Option<Level>,
    #[serde(default)]
    pub add: Vec<Marking>,
    #[serde(default)]
    pub remove: Vec<Marking>,
}

/// Which labels a transform may be applied to; outside it the copy is refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained once, in the guide to the policy language")]
pub struct AppliesTo {
    pub max_level: Option<Level>,
    pub only_markings: Option<Vec<Marking>>,
}

/// Why a transform may lower a label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained once, in the guide to the policy language")]
pub struct Declassification {
    pub justification: String,
    pub approved_by: Vec<String>,
    pub expires: Date,
}

/// `[[transform]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained once, in the guide to the policy language")]
pub struct Transform {
    pub id: String,
    pub steps: Vec<Step>,
    #[serde(default)]
    pub result: TransformResult,
    pub applies_to: Option<AppliesTo>,
    pub declassification: Option<Declassification>,
}
