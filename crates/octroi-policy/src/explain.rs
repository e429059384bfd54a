//! One decision, with its reasons: the engine decides, and this shows what it
//! saw on the way. It never decides itself: outcome, label, space and copies
//! are those of [`Policy::decide`].
//!
//! The JSON is the one of `octroi explain --output json`; the words are in
//! `words.rs`. Values of the payload are not repeated, only names: an
//! explanation may be read by those who may not read the message.

mod words;

use serde::Serialize;

use crate::ast::{Classify, OneOrMany, RuleLevel, Scale, When};
use crate::engine::condition::View;
use crate::engine::{Gate, Gives, declared};
use crate::place::{Obstacle, Refusal, Way};
use crate::{
    Date, Decision, DomainIx, Facts, Input, Label, Level, Outcome, Policy, ReadError, TargetIx, Timestamp,
};

/// A decision with its reasons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "as in the policy and in decisions")]
pub struct Explanation {
    pub outcome: &'static str,
    pub reason: Option<&'static str>,
    /// `None`: no label was found.
    pub level: Option<Level>,
    pub markings: Vec<&'static str>,
    /// The rules that match.
    pub rules: Vec<MatchedRule>,
    pub space: Option<String>,
    pub scale: Option<Scale>,
    pub target: Option<String>,
    /// What the target must hold for this label.
    pub requirements: Vec<RequirementState>,
    /// The copies of the domain.
    pub copies: Vec<CopyState>,
    pub policy: PolicyName,
    pub facts: ShownFacts,
    #[serde(skip)]
    aside: Aside,
}

/// A rule that matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "as in the policy")]
pub struct MatchedRule {
    pub id: String,
    /// The level it gives.
    pub level: Level,
    pub because: Option<String>,
    /// What of its condition the message shows: `field plate`, `type AnprFlowObserved`.
    pub matched: Vec<String>,
}

/// A requirement that concerns the label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "as in the policy")]
pub struct RequirementState {
    pub id: String,
    pub held: bool,
    /// The last day it holds by the target's records.
    #[serde(skip)]
    until: Option<Date>,
    /// Held by a derogation only.
    #[serde(skip)]
    lifted: bool,
}

/// A copy, gone or refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "as in the policy")]
pub struct CopyState {
    pub id: String,
    pub target: String,
    /// The level after the transform.
    pub level: Level,
    /// `when`, `applies_to`, `declassification`, `max_level`, `target_max_level` or a requirement; `None`: it goes.
    pub refused_by: Option<String>,
}

/// The policy that decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "as in the policy")]
pub struct PolicyName {
    pub id: String,
    pub version: String,
    pub hash: String,
}

/// What was read from the message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "as in the facts")]
pub struct ShownFacts {
    pub source: String,
    pub producer: String,
    pub topic: String,
    pub received: String,
    pub device: Option<String>,
    pub domain: Option<String>,
    pub commune: Option<String>,
    pub time: Option<String>,
    pub types: Vec<String>,
    pub measures: Vec<String>,
    /// Keys and resolved names, each once.
    pub fields: Vec<String>,
    pub tags: Vec<(String, String)>,
    pub declared: Option<String>,
}

/// For the words only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Aside {
    producer_name: String,
    commune_name: Option<String>,
    /// Why the payload was not read.
    unread: Option<String>,
    /// The sender's level, if the label is higher or no rule asks for it.
    declared_ignored: Option<String>,
    floor: Option<Level>,
    attempts: Vec<Attempt>,
    processings: Vec<(String, String)>,
    max_levels: Vec<Option<Level>>,
}

/// One scale of the domain, tried in order.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Attempt {
    scale: Scale,
    /// Space and target; `None`: no one space there covers the commune.
    space: Option<(String, String)>,
    /// What is in the way whatever the date; then, what is in the way today.
    refused_by: Option<String>,
    lapsed: Option<String>,
}

impl Policy {
    /// Decides as [`Self::decide`] does, and says why.
    #[must_use]
    pub fn explain(&self, input: &Input<'_>) -> Explanation {
        let decision = self.decide(input);
        let mut explanation = self.outline(input, &decision);
        let Ok(gate) = self.admit(input) else { return explanation };
        match crate::read(gate.format, input.topic, input.payload) {
            Ok(facts) => self.fill(&mut explanation, gate, input, &facts, &decision),
            Err(error) => explanation.aside.unread = Some(unread(&error)),
        }
        explanation
    }

    /// Decides as [`Self::decide_facts`] does, and says why.
    #[must_use]
    pub fn explain_facts(&self, input: &Input<'_>, facts: &Facts<'_>) -> Explanation {
        let decision = self.decide_facts(input, facts.clone());
        let mut explanation = self.outline(input, &decision);
        if let Ok(gate) = self.admit(input) {
            self.fill(&mut explanation, gate, input, facts, &decision);
        }
        explanation
    }

    fn outline(&self, input: &Input<'_>, decision: &Decision<'_>) -> Explanation {
        let source = self.sources().get(input.source.index());
        let name = |text: fn(&crate::SourceInfo) -> &String| source.map(text).cloned().unwrap_or_default();
        let space = match &decision.outcome {
            Outcome::Routed { space, .. } => Some(*space),
            Outcome::Held { space, .. } => *space,
            Outcome::Quarantined(_) | Outcome::Refused(_) => None,
        };
        let space = space.and_then(|space| self.spaces().get(space.index()));
        let labelled = decision.is_labelled();
        let markings = decision.label.markings.iter().filter(|_| labelled).map(|marking| marking.name());
        Explanation {
            outcome: decision.outcome.name(),
            reason: decision.outcome.reason().map(|reason| reason.name()),
            level: labelled.then_some(decision.label.level),
            markings: markings.collect(),
            rules: Vec::new(),
            space: space.map(|space| space.id.clone()),
            scale: space.map(|space| space.scale),
            target: space.map(|space| self.target_id(space.target)),
            requirements: Vec::new(),
            copies: Vec::new(),
            policy: PolicyName {
                id: self.id().to_owned(),
                version: self.version().to_owned(),
                hash: self.hash().full(),
            },
            facts: ShownFacts {
                source: name(|source| &source.id),
                producer: name(|source| &source.producer),
                topic: input.topic.to_owned(),
                received: Timestamp(input.received.0 / 1_000_000 * 1_000_000).to_string(),
                device: decision.device.as_deref().map(str::to_owned),
                domain: decision.domain.and_then(|ix| self.domains().get(ix.index())).map(|d| d.id.clone()),
                commune: decision.commune.map(|ix| self.cog().code(ix).to_owned()),
                time: decision.time.map(|time| time.to_string()),
                ..ShownFacts::default()
            },
            aside: Aside {
                producer_name: name(|source| &source.producer_name),
                commune_name: decision.commune.map(|ix| self.cog().display(ix)),
                ..Aside::default()
            },
        }
    }

    fn fill(
        &self,
        explanation: &mut Explanation,
        gate: &Gate,
        input: &Input<'_>,
        facts: &Facts<'_>,
        decision: &Decision<'_>,
    ) {
        show(&mut explanation.facts, facts);
        let word = declared(input, facts);
        explanation.facts.declared = word.map(|level| level.name().to_owned());
        let (Some(commune), Some(domain)) = (decision.commune, decision.domain) else { return };
        let sight = self.sight_of(gate, input, facts, commune, domain);
        let view = View { facts, payload: input.payload.len() as u64, sight: &sight };
        let document = self.document();
        for (rule, block) in self.rules.iter().zip(&document.classify) {
            let level = match rule.gives {
                Gives::Label(label) => Some(label.level),
                Gives::Declared(_) => word,
            };
            let Some(level) = level.filter(|_| self.program.holds(rule.condition, &view, true)) else {
                continue;
            };
            explanation.rules.push(self.matched(block, level, &view));
            let processing = block.processing.as_ref();
            let processing = processing.and_then(|id| document.processing.iter().find(|p| p.id == *id));
            explanation.aside.processings.extend(processing.map(|p| (p.id.clone(), p.retention.clone())));
        }
        explanation.aside.processings.sort();
        explanation.aside.processings.dedup();
        if !decision.is_labelled() {
            return;
        }
        let heard = document.classify.iter().any(|rule| rule.level == RuleLevel::Declared);
        let ignored = word.filter(|word| !heard || *word < decision.label.level);
        explanation.aside.declared_ignored = ignored.map(|word| word.name().to_owned());
        explanation.aside.floor = (gate.floor > Level::Open).then_some(gate.floor);
        if matches!(decision.outcome, Outcome::Routed { .. } | Outcome::Held { .. }) {
            self.explain_place(explanation, input, decision.label, domain, commune);
        }
        if matches!(decision.outcome, Outcome::Routed { .. }) {
            self.explain_copies(explanation, input, decision.label, domain, &view);
        }
    }

    fn matched(&self, rule: &Classify, level: Level, view: &View<'_, '_>) -> MatchedRule {
        MatchedRule {
            id: rule.id.clone(),
            level,
            because: rule.because.clone(),
            matched: self.shown(&rule.when, view),
        }
    }

    /// What of a condition that holds the message shows.
    fn shown(&self, when: &When, view: &View<'_, '_>) -> Vec<String> {
        let mut shown = Vec::new();
        let mut names = |kind: &str, listed: &Option<Vec<String>>, seen: &dyn Fn(&str) -> bool| {
            let found = listed.iter().flatten().filter(|name| seen(name));
            shown.extend(found.map(|name| format!("{kind} {name}")));
        };
        names("field", &when.field_any, &|name| self.sees_field(name, view));
        names("type", &when.type_any, &|name| {
            view.facts.types.iter().any(|other| crate::same_name(other, name))
        });
        names("measure", &when.measure_any, &|name| {
            view.facts.measures.iter().any(|other| crate::same_name(other, name))
        });
        shown.extend(when.field.iter().flatten().map(|(name, _)| format!("value {name}")));
        for (name, values) in when.tags.iter().flatten() {
            let found = view.facts.tags.iter().find(|(tag, value)| {
                *tag == name.as_str() && values.as_slice().iter().any(|one| *one == **value)
            });
            shown.extend(found.map(|(_, value)| format!("tag {name}={value}")));
        }
        shown.extend(when.user_property.iter().flatten().map(|(name, _)| format!("property {name}")));
        let ids = |list: &Option<OneOrMany<String>>| list.as_ref().map(|list| list.as_slice().join(", "));
        for (kind, list) in [
            ("topic", &when.topic),
            ("domain", &when.domain),
            ("source", &when.source),
            ("producer", &when.producer),
        ] {
            shown.extend(ids(list).map(|list| format!("{kind} {list}")));
        }
        shown.extend(when.payload_larger_than.map(|bytes| format!("larger {bytes}")));
        shown.extend(when.fields_within.as_ref().map(|_| "schema closed".to_owned()));
        shown
    }

    fn explain_place(
        &self,
        explanation: &mut Explanation,
        input: &Input<'_>,
        label: Label,
        domain: DomainIx,
        commune: crate::CommuneIx,
    ) {
        let today = input.received.date();
        let scales = self.document().domain.get(domain.index()).map(|domain| &domain.scales);
        let places = self.places.get(domain.index()).into_iter().flatten();
        for (scale, spaces) in scales.into_iter().flatten().zip(places) {
            let found = self.at_scale(spaces, commune);
            let mut attempt = Attempt { scale: *scale, space: None, refused_by: None, lapsed: None };
            if let Some((space, target)) = found
                && let Some(duties) = self.duties.get(target.index())
            {
                let way = Way { source: Some(input.source), space: Some(space), transformed: false };
                let id = self.spaces().get(space.index()).map(|space| space.id.clone()).unwrap_or_default();
                let obstacle = |on| duties.obstacle(label, way, on, &self.lifted).map(|o| self.named(o));
                attempt.space = Some((id, self.target_id(target)));
                attempt.refused_by = obstacle(None);
                attempt.lapsed = obstacle(Some(today));
                if explanation.requirements.is_empty() || attempt.refused_by.is_none() {
                    explanation.requirements = self.requirement_states(label, target, way, today);
                }
            }
            let chosen = attempt.space.is_some() && attempt.refused_by.is_none();
            explanation.aside.attempts.push(attempt);
            if chosen {
                return;
            }
        }
    }

    fn requirement_states(
        &self,
        label: Label,
        target: TargetIx,
        way: Way,
        today: Date,
    ) -> Vec<RequirementState> {
        let duties =
            self.duties.get(target.index()).map(|duties| duties.duties.as_slice()).unwrap_or_default();
        let concerned = duties.iter().filter(|duty| duty.concerns(label) && duty.counts(Some(today)));
        let state = |duty: &crate::place::Duty| {
            let verdict = duty.verdict(way.transformed);
            let kept = verdict.holds(Some(today));
            let lifted = !kept && crate::place::is_lifted(&self.lifted, duty.requirement, way, Some(today));
            RequirementState {
                id: self.named(Obstacle::Requirement(duty.requirement)),
                held: kept || lifted,
                until: verdict.until(),
                lifted,
            }
        };
        concerned.map(state).collect()
    }

    fn explain_copies(
        &self,
        explanation: &mut Explanation,
        input: &Input<'_>,
        label: Label,
        domain: DomainIx,
        view: &View<'_, '_>,
    ) {
        let applying: Vec<_> = self.applying(domain, view).map(|copy| copy.copy).collect();
        for n in self.copies_of.get(domain.index()).into_iter().flatten() {
            let Some((rule, _)) = self.copy_rules.get(usize::from(*n)) else { continue };
            let Some(info) = self.copies().get(usize::from(*n)) else { continue };
            let (out, refused_by) = if applying.contains(&rule.copy) {
                match self.admit_copy(rule, input.source, label, input.received.date()) {
                    Ok(out) => (out, None),
                    Err((out, refusal)) => (out, Some(self.refusal(refusal))),
                }
            } else {
                (label, Some("when".to_owned()))
            };
            explanation.aside.max_levels.push(Some(rule.max_level));
            explanation.copies.push(CopyState {
                id: info.id.clone(),
                target: self.target_id(info.to),
                level: out.level,
                refused_by,
            });
        }
    }

    pub(crate) fn refusal(&self, refusal: Refusal) -> String {
        match refusal {
            Refusal::Inapplicable => "applies_to".to_owned(),
            Refusal::Expired(_) => "declassification".to_owned(),
            Refusal::CopyLevel => "max_level".to_owned(),
            Refusal::Target(obstacle) => self.named(obstacle),
        }
    }

    /// An obstacle by the name that operators know.
    pub(crate) fn named(&self, obstacle: Obstacle) -> String {
        match obstacle {
            Obstacle::TargetLevel => "target_max_level".to_owned(),
            Obstacle::Requirement(n) => self
                .document()
                .requirement
                .get(n)
                .map(|requirement| requirement.id.clone())
                .unwrap_or_default(),
        }
    }

    pub(crate) fn target_id(&self, target: TargetIx) -> String {
        self.targets().get(target.index()).map(|target| target.id.clone()).unwrap_or_default()
    }
}

fn unread(error: &ReadError) -> String {
    match error {
        ReadError::Ambiguous(ambiguity) => format!("{} (byte {})", ambiguity.reason, ambiguity.offset),
        ReadError::CannotDecode { reason, offset } => format!("{reason} (byte {offset})"),
    }
}

fn show(shown: &mut ShownFacts, facts: &Facts<'_>) {
    let owned = |names: &[std::borrow::Cow<'_, str>]| names.iter().map(|name| name.to_string()).collect();
    shown.types = owned(&facts.types);
    shown.measures = owned(&facts.measures);
    shown.tags = facts.tags.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let keys = facts.nodes.iter().map(|node| node.key.to_string());
    shown.fields = keys.chain(facts.names.iter().map(|name| name.to_string())).collect();
    shown.fields.sort();
    shown.fields.dedup();
}

#[cfg(test)]
mod tests;
