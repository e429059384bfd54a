//! Whether each reachable label has a place in each commune its source can be in (C09).

use std::collections::{BTreeMap, BTreeSet};

use super::{MOST_LABELS, Proof, Reach, Reached, in_words, label_of, messages, no_message};
use crate::check::on_record;
use crate::place::Way;
use crate::text::text;
use crate::{
    Code, CommuneIx, CommuneSet, Date, Decision, DomainIx, Finding, Label, Marking, Outcome, Policy,
    Severity, SourceIx, SpaceIx, Text, Witness, acknowledged,
};

/// C09: for each commune of the source that some space covers, a place for each
/// label. One error a source and domain; one warning a rule that takes the sender's word.
pub(super) fn unplaceable(policy: &Policy, reached: &Reached, today: Date, proof: &mut Proof) {
    let mut warned = BTreeSet::new();
    for ((source, domain), labels) in reached {
        let classes = classes(policy, *source, *domain);
        let mut failed = false;
        for (key, reach) in &labels.by_key {
            let label = label_of(*key);
            if label.markings.contains(Marking::Command) || failed && !reach.by_word {
                continue;
            }
            let Some((spaces, commune)) = homeless(policy, &classes, label, *source) else { continue };
            if reach.by_word && !warned.insert(reach.rules.last()) {
                continue;
            }
            failed |= !reach.by_word;
            proof.findings.extend(no_place(policy, label, reach, (spaces, commune), today));
        }
        // What may be the place for a label may be it for every lower one: the join answers for all.
        let top = homeless(policy, &classes, labels.top, *source).filter(|_| labels.cut && !failed);
        proof.findings.extend(top.and_then(|_| not_all_tried(policy, labels.top, *source, *domain)));
    }
}

pub(crate) type Classes = BTreeMap<Vec<SpaceIx>, CommuneSet>;

/// Communes that some space covers and none may take the label of.
fn homeless<'c>(
    policy: &Policy,
    classes: &'c Classes,
    label: Label,
    source: SourceIx,
) -> Option<(&'c Vec<SpaceIx>, CommuneIx)> {
    let homeless = |spaces: &[SpaceIx]| {
        !spaces.is_empty() && !spaces.iter().any(|space| may_be(policy, label, source, *space))
    };
    let (spaces, communes) = classes.iter().find(|(spaces, _)| homeless(spaces))?;
    Some((spaces, communes.first()?))
}

/// C09 where the labels are too many to try each.
fn not_all_tried(policy: &Policy, top: Label, source: SourceIx, domain: DomainIx) -> Option<Finding> {
    let (source, domain) = (policy.sources().get(source.index())?, policy.domains().get(domain.index())?);
    Some(Finding {
        code: Code::C09,
        severity: Severity::Warning,
        location: policy.document().policy.at.clone(),
        message: text!(
            "the labels of source `{source}`, domain `{domain}`, are more than {most}: not all were tried for a place",
            "les étiquettes de la source « {source} », métier « {domain} », sont plus de {most} : toutes n'ont pas été essayées",
            source = source.id,
            domain = domain.id,
            most = MOST_LABELS,
        ),
        why: text!(
            "all of its rules together give {top}, which has no allowed space; such messages would be held",
            "toutes ses règles ensemble donnent {top}, sans espace autorisé ; de tels messages seraient retenus",
            top = top,
        ),
        fix: text!(
            "use fewer markings, or rules of narrower topics",
            "employez moins de marqueurs, ou des règles aux sujets plus étroits"
        ),
        witness: None,
    })
}

/// The communes a source can be in, by the spaces that cover them, in the order of the domain's scales.
pub(crate) fn classes(policy: &Policy, source: SourceIx, domain: DomainIx) -> Classes {
    let mut classes = Classes::new();
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
        classes.entry(spaces.collect()).or_default().insert(commune);
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
    let held =
        |decision: &Decision<'_>| matches!(decision.outcome, Outcome::Held { space: None, .. }).then_some(());
    let given = messages::message(policy, (label, reach), Some(commune), None, held).map(|(given, ())| given);
    let words = in_words(policy, reach);
    let Text { en, fr } = if given.is_some() { words } else { no_message(&words) };
    let text = text!("{en}, in {place}", "{fr}, commune {place}", place = policy.cog().display(commune));
    let mut finding = Finding {
        code: Code::C09,
        severity: Severity::Error,
        location: rule.at.clone(),
        message: text!(
            "the label {label} has no allowed space at any scale",
            "l'étiquette {label} n'a d'espace autorisé à aucune échelle",
        ),
        why: text!(
            "such messages are held until a policy allows a place; tried: `{tried}`",
            "ces messages sont retenus jusqu'à ce qu'une politique autorise un lieu ; essayés : `{tried}`",
            tried = names.join("`, `"),
        ),
        fix: text!(
            "host a space of the domain on a target that satisfies the requirements, or correct the rule",
            "héberger un espace du métier là où les exigences sont tenues, ou corriger la règle",
        ),
        witness: Some(Witness { text, given, at: None }),
    };
    if reach.by_word {
        finding.severity = Severity::Warning;
        finding.message = text!(
            "by rule `{id}` a sender can have its own messages held: {label} has no allowed space",
            "par la règle `{id}`, un émetteur peut faire retenir ses propres messages : {label} n'a pas d'espace autorisé",
            id = rule.id,
        );
        if let Some(block) = acknowledged(policy.document(), Code::C09, &rule.id, today) {
            finding.severity = Severity::Info;
            finding.fix = on_record(block);
        }
    }
    Some(finding)
}
