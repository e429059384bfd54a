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

pub(crate) mod messages;
pub mod never;
mod places;

use std::collections::{BTreeMap, BTreeSet};

use crate::ast::{Block, Document, Given, Invariant, Never, Target, Via};
use crate::check::proved;
use crate::engine::Gives;
use crate::engine::condition::Op;
use crate::place::{Way, country_in};
use crate::testing::run_tests;
use crate::text::text;
use crate::{
    Code, Date, DomainIx, Finding, Label, Level, Marking, Markings, Policy, Severity, SourceIx, SpaceIx,
    TargetIx, Text, Witness, topic,
};
pub(crate) use places::classes;

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
    pub(crate) source: SourceIx,
    pub(crate) domain: DomainIx,
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
    let labels = possible(policy, document, &reached, Markings::EMPTY);
    places::unplaceable(policy, &reached, today, &mut proof);
    let mut watch =
        Watch { policy, document, reached: &reached, broken: vec![None; document.invariant.len()] };
    let findings = &mut proof.findings;
    proof.table_cells = table(policy, &labels, &mut |way| watch.arrival(&way, findings));
    proof.flows = flows(policy, &labels, &mut |way| watch.arrival(&way, findings));
    quarantine(policy, document, &mut proof);
    proof.findings.extend(proved(policy, document, &reached, today));
    failing(policy, document, &mut proof);
    proof
}

/// C34: each test that fails is its own witness.
fn failing(policy: &Policy, document: &Document, proof: &mut Proof) {
    for (result, test) in run_tests(policy, document).into_iter().zip(&document.test) {
        if result.passed {
            continue;
        }
        let text = text!("the message that the test gives", "le message que donne l'essai");
        proof.findings.push(Finding {
            code: Code::C34,
            severity: Severity::Error,
            location: result.location,
            message: text!("the test `{name}` fails", "l'essai `{name}` échoue", name = result.name),
            why: result.why,
            fix: text!(
                "correct the rule, or what the test expects",
                "corriger la règle, ou ce que l'essai attend",
            ),
            witness: Some(Witness { text, given: Some(test.given.clone()), at: test.value.at }),
        });
    }
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

/// How many labels of one source and domain are told apart. Joins of fourteen markings are tens of
/// thousands; beyond this many, their common upper bound answers for all.
const MOST_LABELS: usize = 1_024;

/// The labels of one source and domain.
#[derive(Debug, Default)]
pub(crate) struct Labels {
    pub(crate) by_key: BTreeMap<LabelKey, Reach>,
    /// The join of every rule's label, commands aside.
    top: Label,
    /// Whether `by_key` lacks some.
    cut: bool,
}

pub(crate) type Reached = BTreeMap<(SourceIx, DomainIx), Labels>;

/// The invariants, and which are known to be broken.
struct Watch<'p> {
    policy: &'p Policy,
    document: &'p Document,
    reached: &'p Reached,
    /// Of each: where its finding stands and how well it is shown; `None`: it holds so far.
    broken: Vec<Option<(usize, Shown)>>,
}

/// How well a counterexample is shown, the best last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Shown {
    /// A label that no rule of today gives.
    Label,
    /// Rules that give the label.
    Rules,
    /// A message that was replayed.
    Message,
}

impl Watch<'_> {
    fn arrival(&mut self, way: &Arrival<'_>, findings: &mut Vec<Finding>) {
        for (invariant, broken) in self.document.invariant.iter().zip(&mut self.broken) {
            let worse = broken.is_none_or(|(_, shown)| shown < Shown::Message);
            if !worse || !breaks(self.document, &invariant.never, way) {
                continue;
            }
            let (finding, shown) = counterexample(self.policy, invariant, way, self.reached);
            match *broken {
                None => {
                    *broken = Some((findings.len(), shown));
                    findings.push(finding);
                }
                Some((at, before)) if shown > before => {
                    *broken = Some((at, shown));
                    findings.get_mut(at).into_iter().for_each(|known| *known = finding.clone());
                }
                Some(_) => {}
            }
        }
    }
}

/// Every label a source and domain can get from rules and floors: the joins of
/// sets of rules that can match one message together.
pub(crate) fn reached(policy: &Policy, document: &Document) -> Reached {
    let mut all = BTreeMap::new();
    for (source, gate) in (0_u16..).map(SourceIx).zip(&policy.gates) {
        for (_, domain) in &gate.domains {
            let floor = policy.floor(gate, *domain);
            let start = Reach { source, domain: *domain, rules: vec![], by_word: false };
            let mut labels = Labels { top: floor, ..Labels::default() };
            let mut declared = Vec::new();
            let mut seen: BTreeMap<LabelKey, Vec<u16>> = BTreeMap::new();
            for (rule, compiled) in (0_u16..).zip(&policy.rules) {
                if !can_match(policy, document, rule, source, *domain) {
                    continue;
                }
                match compiled.gives {
                    Gives::Declared(markings) => declared.push((rule, markings)),
                    Gives::Label(label) => {
                        let label = label.join(floor);
                        let alike = seen.entry(key_of(label)).or_default();
                        // Of two that match the same and give the same, one will do.
                        if !alike.iter().any(|other| same_scope(document, *other, rule)) {
                            alike.push(rule);
                            labels.extend(document, (rule, label), &start);
                        }
                    }
                }
            }
            labels.declare(&declared);
            all.insert((source, *domain), labels);
        }
    }
    all
}

pub(crate) type LabelKey = (Level, u32);

pub(crate) const fn key_of(label: Label) -> LabelKey {
    (label.level, label.markings.bits())
}

pub(crate) const fn label_of((level, bits): LabelKey) -> Label {
    Label { level, markings: Markings::from_bits(bits) }
}

impl Labels {
    /// Adds a rule's label, alone and joined to every label it can come together with.
    fn extend(&mut self, document: &Document, (rule, label): (u16, Label), alone: &Reach) {
        if !label.markings.contains(Marking::Command) {
            self.top = self.top.join(label);
        }
        let mut new = vec![(key_of(label), Reach { rules: vec![rule], ..alone.clone() })];
        self.cut |= self.by_key.len() >= MOST_LABELS;
        for (key, reach) in self.by_key.iter().filter(|_| !self.cut) {
            let joined = key_of(label_of(*key).join(label));
            // A label known by as few rules needs no other witness; most joins give one.
            let known =
                self.by_key.get(&joined).is_some_and(|known| known.rules.len() <= reach.rules.len() + 1);
            if !known && reach.rules.iter().all(|other| compatible(document, *other, rule)) {
                let mut reach = reach.clone();
                reach.rules.push(rule);
                new.push((joined, reach));
            }
        }
        for (key, reach) in new {
            let known = self.by_key.entry(key).or_insert_with(|| reach.clone());
            // The fewest rules are the best witness, and the least bound.
            if reach.rules.len() < known.rules.len() {
                *known = reach;
            }
        }
    }

    /// The sender's word comes last: it only raises what rules gave.
    fn declare(&mut self, rules: &[(u16, Markings)]) {
        for (rule, markings) in rules {
            // A label that only a sender's word gives is a warning: the first of them tell.
            if self.by_key.len() >= MOST_LABELS {
                return;
            }
            for (key, reach) in self.by_key.clone() {
                for level in Level::ALL {
                    let label = label_of(key).join(Label { level, markings: *markings });
                    let mut reach = reach.clone();
                    reach.rules.push(*rule);
                    reach.by_word = true;
                    self.by_key.entry(key_of(label)).or_insert(reach);
                }
            }
        }
    }
}

/// Whether two rules ask for the same topics and tags, which is all that [`compatible`] looks at.
fn same_scope(document: &Document, one: u16, other: u16) -> bool {
    let scope =
        |n: u16| document.classify.get(usize::from(n)).map(|rule| (&rule.when.topic, &rule.when.tags));
    scope(one) == scope(other)
}

/// Whether a rule can match any message of that source and domain.
pub(crate) fn can_match(
    policy: &Policy,
    document: &Document,
    rule: u16,
    source: SourceIx,
    domain: DomainIx,
) -> bool {
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

fn in_words(policy: &Policy, reach: &Reach) -> Text {
    let rules = reach.rules.iter().filter_map(|rule| policy.rules().get(usize::from(*rule)));
    let rules: Vec<Text> = rules.map(|rule| text!("`{id}`", "`{id}`", id = rule.id)).collect();
    let Text { en, fr } = Text::join(&rules, " and ", " et ");
    let source = policy.sources().get(reach.source.index()).map_or("", |source| &source.id);
    let domain = policy.domains().get(reach.domain.index()).map_or("", |domain| &domain.id);
    text!(
        "a message of source `{source}`, domain `{domain}`, that matches {en}",
        "un message de la source `{source}`, métier `{domain}`, qui correspond à {fr}",
    )
}

/// Every label to prove: all levels × markings in use, as high as each marking
/// demands (C14), and whatever else rules can reach. Commands are refused.
/// `more`: markings that count as in use.
pub(crate) fn possible(
    policy: &Policy,
    document: &Document,
    reached: &Reached,
    more: Markings,
) -> Vec<Label> {
    let mut used: Vec<Marking> = more.iter().collect();
    used.extend(document.classify.iter().flat_map(|rule| rule.markings.iter().copied()));
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
            .flat_map(|labels| labels.by_key.keys())
            .filter(|key| !label_of(**key).markings.contains(Marking::Command)),
    );
    keys.sort_unstable();
    keys.dedup();
    keys.into_iter().map(label_of).collect()
}

/// Every label that a space's target may get. Spaces of one target are alike
/// unless a derogation tells them apart.
fn table<'p>(policy: &'p Policy, labels: &[Label], arrival: &mut dyn FnMut(Arrival<'p>)) -> u64 {
    let mut proved = BTreeSet::new();
    let mut cells = 0;
    for (n, space) in (0_u16..).map(SpaceIx).zip(policy.spaces()) {
        let special = policy.lifted.iter().any(|lifted| lifted.space == Some(n));
        if !special && !proved.insert(space.target) {
            continue;
        }
        let Some(duties) = policy.duties.get(space.target.index()) else { continue };
        let way = Way { source: None, space: Some(n), transformed: false };
        for label in labels {
            cells += 1;
            if duties.obstacle(*label, way, None, &policy.lifted).is_none() {
                let (label, arrives, target, name) = (*label, *label, space.target, space.id.as_str());
                arrival(Arrival { label, arrives, target, via: Via::Primary, transformed: false, name });
            }
        }
    }
    cells
}

/// Every label that a copy's target may get, as the transform leaves it.
fn flows<'p>(policy: &'p Policy, labels: &[Label], arrival: &mut dyn FnMut(Arrival<'p>)) -> u64 {
    let mut flows = 0;
    for ((rule, _), copy) in policy.copy_rules.iter().zip(policy.copies()) {
        let Some(duties) = policy.duties.get(copy.to.index()) else { continue };
        for label in labels {
            flows += 1;
            if let Ok(arrives) = rule.admit(*label, duties, None, None, &policy.lifted) {
                let (label, target, name) = (*label, copy.to, copy.id.as_str());
                let transformed = rule.effect.is_some();
                arrival(Arrival { label, arrives, target, via: Via::Copy, transformed, name });
            }
        }
    }
    flows
}

/// Whether an arrival is what must never be.
fn breaks(document: &Document, never: &Never, way: &Arrival<'_>) -> bool {
    let Some(target) = document.target.get(way.target.index()) else { return true };
    never.min_level.is_none_or(|level| way.arrives.level >= level)
        && never.marking.is_none_or(|marking| way.arrives.markings.contains(marking))
        && is_about(never, target)
        && never.transformed.is_none_or(|transformed| transformed == way.transformed)
        && (never.via == Via::Any || never.via == way.via)
}

/// Whether a target is one that a `never` speaks of.
fn is_about(never: &Never, target: &Target) -> bool {
    never.target.as_ref().is_none_or(|ids| ids.as_slice().contains(&target.id))
        && never.target_kind.as_ref().is_none_or(|kinds| kinds.contains(&target.kind))
        && never.operator.is_none_or(|nature| target.operator.nature == nature)
        && never.country_not_in.as_ref().is_none_or(|list| !country_in(&target.country, list))
}

fn counterexample(
    policy: &Policy,
    invariant: &Block<Invariant>,
    way: &Arrival<'_>,
    reached: &Reached,
) -> (Finding, Shown) {
    let (label, name) = (way.label, way.name);
    let target = policy.target_id(way.target);
    let by = match way.via {
        Via::Copy if way.transformed => text!(
            "copy `{name}`, as {arrives} after its transform",
            "la copie `{name}`, en {arrives} après sa transformation",
            arrives = way.arrives,
        ),
        Via::Copy => text!("copy `{name}`, not transformed", "la copie `{name}`, sans transformation"),
        Via::Primary | Via::Any => text!("space `{name}`", "l'espace `{name}`"),
    };
    let (head, given, shown) = shown_by(policy, way, reached);
    let (Text { en, fr }, Text { en: by, fr: par }) = (&head, &by);
    let witness = Text {
        en: format!("{en}: {label} → {by} → `{target}`"),
        fr: format!("{fr} : {label} → {par} → `{target}`"),
    };
    (
        Finding {
            code: Code::C10,
            severity: Severity::Error,
            location: invariant.at.clone(),
            message: text!(
                "the invariant `{id}` can be broken: {label} may reach `{target}`",
                "la garantie `{id}` peut être violée : {label} peut atteindre `{target}`",
                id = invariant.id,
            ),
            why: text!("by {by}", "par {par}"),
            fix: text!(
                "add a requirement that forbids it, lower the copy's `max_level`, or give up the invariant",
                "ajouter une exigence qui l'interdit, abaisser le `max_level` de la copie, ou renoncer à la garantie",
            ),
            witness: Some(Witness { text: witness, given, at: None }),
        },
        shown,
    )
}

/// What gives the label: a message, else rules, else nothing of today.
fn shown_by(policy: &Policy, way: &Arrival<'_>, reached: &Reached) -> (Text, Option<Given>, Shown) {
    let served = || reached.iter().filter(|((_, domain), _)| serves(policy, way, *domain));
    let reaches = || served().filter_map(|(_, labels)| labels.by_key.get(&key_of(way.label)));
    if let Some((reach, (given, _))) =
        reaches().find_map(|reach| Some((reach, messages::along(policy, way, reach)?)))
    {
        return (in_words(policy, reach), Some(given), Shown::Message);
    }
    match reaches().next() {
        Some(reach) => (no_message(&in_words(policy, reach)), None, Shown::Rules),
        None => {
            let head = text!(
                "no rule of today gives that label; the next one may",
                "aucune règle d'aujourd'hui ne donne cette étiquette ; la prochaine le pourra",
            );
            (head, None, Shown::Label)
        }
    }
}

/// Said of rules that ask for what no message in the abstract holds, or that do not go together after all.
fn no_message(Text { en, fr }: &Text) -> Text {
    text!(
        "{en} (a label by these rules; no message was found that shows it)",
        "{fr} (une étiquette selon ces règles ; aucun message trouvé ne la montre)",
    )
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
            message: text!(
                "the quarantine's premises `{id}` are not allowed for `restricted`",
                "les locaux de la quarantaine, `{id}`, ne sont pas autorisés pour `restricted`",
            ),
            why: text!(
                "not satisfied: `{obstacle}`; every doubt is kept there, and a doubt can be anything",
                "non tenue : `{obstacle}` ; tout doute y est gardé, et un doute peut être n'importe quoi",
                obstacle = policy.named(obstacle),
            ),
            fix: text!(
                "run the hub on the premises of a target that is allowed for `restricted`",
                "exploiter le concentrateur dans les locaux d'un hébergement autorisé pour `restricted`",
            ),
            witness: None,
        });
    }
}

#[cfg(test)]
mod tests;
