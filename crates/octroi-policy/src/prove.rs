//! What a policy proves before it may act, by enumeration: the table (every
//! label × every space's target), the flows (label → transform → target of
//! each copy), the labels that rules and floors can reach (C09), the invariants
//! (C10), the premises of the quarantine (C24), the policy's own tests (C34).
//!
//! Dates are left aside: what is proved holds on every day of the policy's
//! life, as if every record were valid and every derogation in force. A lapse
//! can only hold messages back (C21).
//!
//! INVARIANT: invariants are proved over every label there can be, not only
//! over those that today's rules reach. C09 looks at reachable labels, each
//! with the fewest rules found to give it: what it misses is held, not leaked.

use std::collections::{BTreeMap, BTreeSet};

use crate::ast::{Block, Document, Invariant, Via};
use crate::check::proved;
use crate::engine::Gives;
use crate::engine::condition::Op;
use crate::place::{Way, country_in};
use crate::testing::run_tests;
use crate::{
    Code, CommuneIx, Date, DomainIx, Finding, Label, Level, Marking, Markings, Policy, Severity, SourceIx,
    SpaceIx, TargetIx, acknowledged, topic,
};

/// What the enumeration found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Proof {
    /// C09, C10, C21, C23, C24, C33, C34.
    pub findings: Vec<Finding>,
    /// Cells of the table: label × space.
    pub table_cells: u64,
    /// Flows: label × copy.
    pub flows: u64,
}

/// How a label comes about.
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    source: SourceIx,
    domain: DomainIx,
    pub(crate) rules: Vec<u16>,
    /// Only with the sender's own word.
    pub(crate) by_word: bool,
}

/// Proves the policy, which was compiled from that document. Acknowledgements
/// count as on the day the policy becomes valid.
#[must_use]
pub fn prove(policy: &Policy, document: &Document) -> Proof {
    prove_at(policy, document, document.policy.valid_from.date())
}

/// [`prove`], with the acknowledgements in force on that day.
#[must_use]
pub fn prove_at(policy: &Policy, document: &Document, today: Date) -> Proof {
    let mut proof = Proof::default();
    let reached = reached(policy, document);
    let labels = possible(policy, document, &reached);
    unplaceable(policy, &reached, today, &mut proof);
    let mut watch =
        Watch { policy, document, reached: &reached, broken: vec![false; document.invariant.len()] };
    table(&mut watch, &labels, &mut proof);
    flows(&mut watch, &labels, &mut proof);
    quarantine(policy, document, &mut proof);
    proof.findings.extend(proved(policy, document, &reached, today));
    for failed in run_tests(policy, document).into_iter().filter(|result| !result.passed) {
        proof.findings.push(Finding {
            code: Code::C34,
            severity: Severity::Error,
            location: failed.location,
            message: format!("the test `{}` fails", failed.name).into(),
            why: failed.why.into(),
            fix: "correct the rule, or what the test expects".to_owned().into(),
            witness: None,
        });
    }
    proof
}

/// One way a label gets to a target.
#[derive(Clone, Copy)]
struct Arrival<'p> {
    /// As rules gave it.
    label: Label,
    /// As it arrives.
    arrives: Label,
    target: TargetIx,
    via: Via,
    transformed: bool,
    /// The space or copy.
    name: &'p str,
}

pub(crate) type Reached = BTreeMap<(SourceIx, DomainIx), BTreeMap<LabelKey, Reach>>;

/// The invariants, and which are known to be broken.
struct Watch<'p> {
    policy: &'p Policy,
    document: &'p Document,
    reached: &'p Reached,
    broken: Vec<bool>,
}

impl Watch<'_> {
    fn arrival(&mut self, way: Arrival<'_>, proof: &mut Proof) {
        for (invariant, broken) in self.document.invariant.iter().zip(&mut self.broken) {
            if !*broken && breaks(self.policy, self.document, invariant, &way) {
                *broken = true;
                proof.findings.push(counterexample(self.policy, invariant, &way, self.reached));
            }
        }
    }
}

/// Every label a source and domain can get from rules and floors: the joins of
/// sets of rules that can match one message together.
fn reached(policy: &Policy, document: &Document) -> Reached {
    let mut all = BTreeMap::new();
    for (source, gate) in (0_u16..).map(SourceIx).zip(&policy.gates) {
        for (_, domain) in &gate.domains {
            let floor = policy.floor(gate, *domain);
            let mut labels: BTreeMap<LabelKey, Reach> = BTreeMap::new();
            let mut declared = Vec::new();
            for (rule, compiled) in (0_u16..).zip(&policy.rules) {
                if !can_match(policy, document, rule, source, *domain) {
                    continue;
                }
                match compiled.gives {
                    Gives::Declared(markings) => declared.push((rule, markings)),
                    Gives::Label(label) => {
                        let start = Reach { source, domain: *domain, rules: vec![], by_word: false };
                        extend(document, &mut labels, (rule, label.join(floor)), &start);
                    }
                }
            }
            // The sender's word comes last: it only raises what rules gave.
            for (rule, markings) in declared {
                for (key, reach) in labels.clone() {
                    for level in Level::ALL {
                        let label = label_of(key).join(Label { level, markings });
                        let mut reach = reach.clone();
                        reach.rules.push(rule);
                        reach.by_word = true;
                        labels.entry(key_of(label)).or_insert(reach);
                    }
                }
            }
            all.insert((source, *domain), labels);
        }
    }
    all
}

pub(crate) type LabelKey = (Level, u32);

const fn key_of(label: Label) -> LabelKey {
    (label.level, label.markings.bits())
}

pub(crate) const fn label_of((level, bits): LabelKey) -> Label {
    Label { level, markings: Markings::from_bits(bits) }
}

/// Adds a rule's label, alone and joined to every label it can come together with.
fn extend(
    document: &Document,
    labels: &mut BTreeMap<LabelKey, Reach>,
    (rule, label): (u16, Label),
    alone: &Reach,
) {
    let mut new = vec![(key_of(label), Reach { rules: vec![rule], ..alone.clone() })];
    for (key, reach) in labels.iter() {
        if reach.rules.iter().all(|other| compatible(document, *other, rule)) {
            let mut reach = reach.clone();
            reach.rules.push(rule);
            new.push((key_of(label_of(*key).join(label)), reach));
        }
    }
    for (key, reach) in new {
        let known = labels.entry(key).or_insert_with(|| reach.clone());
        // The fewest rules are the best witness, and the least bound.
        if reach.rules.len() < known.rules.len() {
            *known = reach;
        }
    }
}

/// Whether a rule can match any message of that source and domain.
fn can_match(policy: &Policy, document: &Document, rule: u16, source: SourceIx, domain: DomainIx) -> bool {
    let (Some(compiled), Some(written)) =
        (policy.rules.get(usize::from(rule)), document.classify.get(usize::from(rule)))
    else {
        return false;
    };
    let Some(gate) = policy.gates.get(source.index()) else { return false };
    let pool = |span: crate::engine::condition::Span| span.of(&policy.program.pool);
    let fixed = compiled.condition.of(&policy.program.ops).iter().all(|op| match *op {
        Op::Source(span) => pool(span).contains(&u32::from(source.0)),
        Op::Domain(span) => pool(span).contains(&u32::from(domain.0)),
        Op::Format(bits) => bits & crate::engine::condition::format_bit(gate.format) != 0,
        Op::Any(span) => span.len > 0,
        Op::Declared(_) | Op::Larger(_) | Op::None(_) | Op::Perimeter(_) | Op::Field(_) | Op::Within(_) => {
            true
        }
    });
    let topics =
        document.source.get(source.index()).map(|source| source.topics.as_slice()).unwrap_or_default();
    let meets = |filter: &String| topics.iter().any(|allowed| topic::overlaps(allowed, filter));
    fixed && written.when.topic.as_ref().is_none_or(|filters| filters.as_slice().iter().any(meets))
}

/// Whether two rules can match one message: their topics share one, and the
/// tags they ask for can be the same.
fn compatible(document: &Document, one: u16, other: u16) -> bool {
    let rule = |n: u16| document.classify.get(usize::from(n)).map(|rule| &rule.when);
    let (Some(one), Some(other)) = (rule(one), rule(other)) else { return true };
    let topics = match (&one.topic, &other.topic) {
        (Some(a), Some(b)) => a.as_slice().iter().any(|a| b.as_slice().iter().any(|b| topic::overlaps(a, b))),
        (Some(_) | None, _) => true,
    };
    let tags = one.tags.iter().flatten().all(|(name, values)| {
        let others = other.tags.as_ref().and_then(|tags| tags.get(name));
        others.is_none_or(|others| others.as_slice().iter().any(|value| values.as_slice().contains(value)))
    });
    topics && tags
}

/// C09: for each commune of the source that some space covers, a place for each
/// label. One error a source and domain; one warning a rule that takes the sender's word.
fn unplaceable(policy: &Policy, reached: &Reached, today: Date, proof: &mut Proof) {
    let mut warned = BTreeSet::new();
    for ((source, domain), labels) in reached {
        let classes = classes(policy, *source, *domain);
        let mut failed = false;
        for (key, reach) in labels {
            let label = label_of(*key);
            if label.markings.contains(Marking::Command) || failed && !reach.by_word {
                continue;
            }
            let homeless = classes.iter().find(|(spaces, _)| {
                !spaces.is_empty() && !spaces.iter().any(|space| may_be(policy, label, *source, *space))
            });
            let Some((spaces, commune)) = homeless else { continue };
            if reach.by_word && !warned.insert(reach.rules.last()) {
                continue;
            }
            failed |= !reach.by_word;
            proof.findings.extend(no_place(policy, label, reach, (spaces, *commune), today));
        }
    }
}

/// The communes a source can be in, by the spaces that cover them, each with one of them.
pub(crate) fn classes(
    policy: &Policy,
    source: SourceIx,
    domain: DomainIx,
) -> BTreeMap<Vec<SpaceIx>, CommuneIx> {
    let mut classes = BTreeMap::new();
    let Some(gate) = policy.gates.get(source.index()) else { return classes };
    let fixed = gate.commune.into_iter();
    let communes: Vec<CommuneIx> = match gate.commune {
        Some(_) => fixed.filter(|commune| gate.perimeter.contains(*commune)).collect(),
        None => gate.perimeter.iter().collect(),
    };
    let scales = policy.places.get(domain.index()).map(Vec::as_slice).unwrap_or_default();
    for commune in communes {
        let spaces =
            scales.iter().filter_map(|scale| policy.at_scale(scale, commune)).map(|(space, _)| space);
        classes.entry(spaces.collect()).or_insert(commune);
    }
    classes
}

/// Whether a space may be the place for a label of that source, dates aside.
fn may_be(policy: &Policy, label: Label, source: SourceIx, space: SpaceIx) -> bool {
    let target = policy.spaces().get(space.index()).map(|space| space.target);
    let duties = target.and_then(|target| policy.duties.get(target.index()));
    let way = Way { source: Some(source), space: Some(space), transformed: false };
    duties.is_some_and(|duties| duties.obstacle(label, way, None, &policy.lifted).is_none())
}

fn no_place(
    policy: &Policy,
    label: Label,
    reach: &Reach,
    (spaces, commune): (&[SpaceIx], CommuneIx),
    today: Date,
) -> Option<Finding> {
    let rule = if reach.by_word { reach.rules.last() } else { reach.rules.first() };
    let rule = rule.and_then(|rule| policy.document().classify.get(usize::from(*rule)))?;
    let names = spaces.iter().filter_map(|space| policy.spaces().get(space.index()));
    let names: Vec<&str> = names.map(|space| space.id.as_str()).collect();
    let fix = "host a space of the domain on a target that satisfies the requirements, or correct the rule";
    let mut finding = Finding {
        code: Code::C09,
        severity: Severity::Error,
        location: rule.at.clone(),
        message: format!("the label {label} has no allowed space at any scale").into(),
        why: format!("such messages are held until a policy allows a place; tried: {}", names.join(", "))
            .into(),
        fix: fix.to_owned().into(),
        witness: Some(format!("{}, {}", in_words(policy, reach), policy.cog().display(commune)).into()),
    };
    if reach.by_word {
        finding.severity = Severity::Warning;
        finding.message = format!(
            "by rule `{}` a sender can have its own messages held: {label} has no allowed space",
            rule.id
        )
        .into();
        if let Some(block) = acknowledged(policy.document(), Code::C09, &rule.id, today) {
            finding.severity = Severity::Info;
            finding.fix =
                format!("accepted by {} until {}: {}", block.by, block.expires, block.because).into();
        }
    }
    Some(finding)
}

fn in_words(policy: &Policy, reach: &Reach) -> String {
    let rules: Vec<&str> = reach
        .rules
        .iter()
        .filter_map(|rule| policy.rules().get(usize::from(*rule)))
        .map(|rule| rule.id.as_str())
        .collect();
    let source = policy.sources().get(reach.source.index()).map_or("", |source| &source.id);
    let domain = policy.domains().get(reach.domain.index()).map_or("", |domain| &domain.id);
    format!("a message of source `{source}`, domain `{domain}`, that matches {}", rules.join(" and "))
}

/// Every label to prove: all levels × markings in use, as high as each marking
/// demands (C14), and whatever else rules can reach. Commands are refused.
fn possible(policy: &Policy, document: &Document, reached: &Reached) -> Vec<Label> {
    let mut used: Vec<Marking> =
        document.classify.iter().flat_map(|rule| rule.markings.iter().copied()).collect();
    used.extend(document.requirement.iter().filter_map(|requirement| requirement.when.marking));
    used.extend(document.invariant.iter().filter_map(|invariant| invariant.never.marking));
    used.extend(policy.essential.iter().flat_map(|markings| markings.iter()));
    used.sort_unstable();
    used.dedup();
    used.retain(|marking| *marking != Marking::Command);
    let mut sets = vec![(Markings::EMPTY, Level::Open)];
    for marking in used {
        let with = sets.iter().map(|(set, least)| {
            let one: Markings = [marking].into_iter().collect();
            (set.union(one), marking.least_level().max(*least))
        });
        sets.extend(with.collect::<Vec<_>>());
    }
    let all = sets.into_iter().flat_map(|(markings, least)| {
        Level::ALL
            .into_iter()
            .filter(move |level| *level >= least)
            .map(move |level| Label { level, markings })
    });
    let mut keys: Vec<LabelKey> = all.map(key_of).collect();
    keys.extend(
        reached
            .values()
            .flat_map(BTreeMap::keys)
            .filter(|key| !label_of(**key).markings.contains(Marking::Command)),
    );
    keys.sort_unstable();
    keys.dedup();
    keys.into_iter().map(label_of).collect()
}

/// Every label that a space's target may get. Spaces of one target are alike
/// unless a derogation tells them apart.
fn table(watch: &mut Watch<'_>, labels: &[Label], proof: &mut Proof) {
    let policy = watch.policy;
    let mut proved = BTreeSet::new();
    for (n, space) in (0_u16..).map(SpaceIx).zip(policy.spaces()) {
        let special = policy.lifted.iter().any(|lifted| lifted.space == Some(n));
        if !special && !proved.insert(space.target) {
            continue;
        }
        let Some(duties) = policy.duties.get(space.target.index()) else { continue };
        let way = Way { source: None, space: Some(n), transformed: false };
        for label in labels {
            proof.table_cells += 1;
            if duties.obstacle(*label, way, None, &policy.lifted).is_none() {
                let (label, arrives, target, name) = (*label, *label, space.target, space.id.as_str());
                let arrival = Arrival { label, arrives, target, via: Via::Primary, transformed: false, name };
                watch.arrival(arrival, proof);
            }
        }
    }
}

/// Every label that a copy's target may get, as the transform leaves it.
fn flows(watch: &mut Watch<'_>, labels: &[Label], proof: &mut Proof) {
    let policy = watch.policy;
    for ((rule, _), copy) in policy.copy_rules.iter().zip(policy.copies()) {
        let Some(duties) = policy.duties.get(copy.to.index()) else { continue };
        for label in labels {
            proof.flows += 1;
            if let Ok(arrives) = rule.admit(*label, duties, None, None, &policy.lifted) {
                let (label, target, name) = (*label, copy.to, copy.id.as_str());
                let transformed = rule.effect.is_some();
                watch.arrival(Arrival { label, arrives, target, via: Via::Copy, transformed, name }, proof);
            }
        }
    }
}

/// Whether an arrival is what an invariant says must never be.
fn breaks(policy: &Policy, document: &Document, invariant: &Invariant, way: &Arrival<'_>) -> bool {
    let never = &invariant.never;
    let Some(target) = policy.targets().get(way.target.index()) else { return true };
    let Some(written) = document.target.get(way.target.index()) else { return true };
    never.min_level.is_none_or(|level| way.arrives.level >= level)
        && never.marking.is_none_or(|marking| way.arrives.markings.contains(marking))
        && never.target.as_ref().is_none_or(|ids| ids.as_slice().contains(&target.id))
        && never.target_kind.as_ref().is_none_or(|kinds| kinds.contains(&target.kind))
        && never.operator.is_none_or(|nature| written.operator.nature == nature)
        && never.country_not_in.as_ref().is_none_or(|list| !country_in(&target.country, list))
        && never.transformed.is_none_or(|transformed| transformed == way.transformed)
        && (never.via == Via::Any || never.via == way.via)
}

fn counterexample(
    policy: &Policy,
    invariant: &Block<Invariant>,
    way: &Arrival<'_>,
    reached: &Reached,
) -> Finding {
    let target = policy.target_id(way.target);
    let by = match way.via {
        Via::Copy if way.transformed => {
            format!("copy `{}`, as {} after its transform", way.name, way.arrives)
        }
        Via::Copy => format!("copy `{}`, not transformed", way.name),
        Via::Primary | Via::Any => format!("space `{}`", way.name),
    };
    let served = reached.iter().filter(|((_, domain), _)| serves(policy, way, *domain));
    let reach = served.filter_map(|(_, labels)| labels.get(&key_of(way.label))).next();
    let message = match reach {
        Some(reach) => in_words(policy, reach),
        None => "no rule of today gives that label; the next one may".to_owned(),
    };
    Finding {
        code: Code::C10,
        severity: Severity::Error,
        location: invariant.at.clone(),
        message: format!(
            "the invariant `{}` can be broken: {} may reach `{target}`",
            invariant.id, way.label
        )
        .into(),
        why: format!("by {by}").into(),
        fix: "add a requirement that forbids it, lower the copy's `max_level`, or give up the invariant"
            .to_owned()
            .into(),
        witness: Some(format!("{}: {} → {by} → `{target}`", message, way.label).into()),
    }
}

/// Whether messages of a domain can go that way.
fn serves(policy: &Policy, way: &Arrival<'_>, domain: DomainIx) -> bool {
    let document = policy.document();
    let Some(domain) = policy.domains().get(domain.index()) else { return false };
    if way.via == Via::Copy {
        return document.copy.iter().any(|copy| copy.id == way.name && copy.domains.contains(&domain.id));
    }
    let target = policy.target_id(way.target);
    document.space.iter().any(|space| space.target == target && space.domains.contains(&domain.id))
}

/// C24: the premises of hub and quarantine are fit for `restricted`.
fn quarantine(policy: &Policy, document: &Document, proof: &mut Proof) {
    let id = &document.defaults.quarantine_target;
    let target = document.target.iter().position(|target| target.id == *id);
    let Some(duties) = target.and_then(|target| policy.duties.get(target)) else { return };
    let label = Label { level: Level::Restricted, markings: Markings::EMPTY };
    let way = Way { source: None, space: None, transformed: false };
    // No derogation: none is about the quarantine.
    if let Some(obstacle) = duties.obstacle(label, way, None, &[]) {
        proof.findings.push(Finding {
            code: Code::C24,
            severity: Severity::Error,
            location: document.defaults.at_key("quarantine_target"),
            message: format!("the quarantine's premises `{id}` are not allowed for `restricted`").into(),
            why: format!(
                "not satisfied: {}; every doubt is kept there, and a doubt can be anything",
                policy.named(obstacle)
            )
            .into(),
            fix: "run the hub on the premises of a target that is allowed for `restricted`".to_owned().into(),
            witness: None,
        });
    }
}

#[cfg(test)]
mod tests;
