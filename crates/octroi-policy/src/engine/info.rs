//! What a policy says about its parts to those who act on its decisions: the
//! hub, its outlets, its metrics. Copied from the blocks; nothing is judged.

use crate::aggregate::AggregatePlan;
use crate::ast::{self, Format, Homologation, Nature, Qualification, Quota, Scale, TargetKind};
use crate::{Date, TargetIx, TransformPlan};

/// A source.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "as in the policy")]
pub struct SourceInfo {
    pub id: String,
    pub identity: String,
    /// The producer's SIREN.
    pub producer: String,
    pub producer_name: String,
    pub format: Format,
    /// MQTT filters.
    pub topics: Vec<String>,
    pub quota: Option<Quota>,
    /// The last day on which it may publish.
    pub expires: Option<Date>,
}

/// A target.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "as in the policy")]
pub struct TargetInfo {
    pub id: String,
    pub label: String,
    pub kind: TargetKind,
    pub country: String,
    pub operator: Nature,
    pub qualifications: Vec<Qualification>,
    pub homologation: Option<Homologation>,
}

/// A space.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in the policy")]
pub struct SpaceInfo {
    pub id: String,
    pub namespace: String,
    pub target: TargetIx,
    pub scale: Scale,
}

/// A copy.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the policy")]
pub struct CopyInfo {
    pub id: String,
    pub to: TargetIx,
    /// What must be done to each message before it leaves.
    pub transform: Option<TransformPlan>,
    pub purpose: String,
    /// The copy's id.
    pub namespace: String,
}

/// A domain.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in the policy")]
pub struct DomainInfo {
    pub id: String,
}

/// A classification rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in the policy")]
pub struct RuleInfo {
    pub id: String,
}

impl SourceInfo {
    pub(crate) fn of(source: &ast::Source, producer_name: &str) -> Self {
        Self {
            id: source.id.clone(),
            identity: source.identity.clone(),
            producer: source.producer.clone(),
            producer_name: producer_name.to_owned(),
            format: source.format,
            topics: source.topics.clone(),
            quota: source.quota.clone(),
            expires: source.expires,
        }
    }
}

impl TargetInfo {
    pub(crate) fn of(target: &ast::Target) -> Self {
        Self {
            id: target.id.clone(),
            label: target.label.clone(),
            kind: target.kind,
            country: target.country.clone(),
            operator: target.operator.nature,
            qualifications: target.qualifications.clone(),
            homologation: target.homologation.clone(),
        }
    }
}

impl CopyInfo {
    /// How it aggregates; `None`: each message leaves by itself.
    #[must_use]
    pub fn aggregate(&self) -> Option<&AggregatePlan> {
        self.transform.as_ref().and_then(TransformPlan::aggregate)
    }

    pub(crate) fn of(copy: &ast::Copy, to: TargetIx, transform: Option<TransformPlan>) -> Self {
        Self { id: copy.id.clone(), to, transform, purpose: copy.purpose.clone(), namespace: copy.id.clone() }
    }
}
