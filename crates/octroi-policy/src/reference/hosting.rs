//! The naive answer to one question: may a target have a label? Read from the
//! blocks as written, each time: what requirements ask, what lifts them, what
//! the target holds and until when, what a copy's transform makes of the label.
//! It knows no message. `on = None` leaves dates aside.

use super::any;
use crate::ast::*;
use crate::place::{at_least, country_in};
use crate::{Date, Label, Level};

/// How something gets to a target: from a source to a space of it, or (no space) as a copy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way<'w> {
    pub(super) source: &'w str,
    pub(super) space: Option<&'w str>,
    pub(super) transformed: bool,
}

/// Whether a target takes that label, that way.
pub(super) fn allowed(d: &Document, label: Label, target: &str, way: Way<'_>, on: Option<Date>) -> bool {
    let target = d.target.iter().find(|block| block.id == target).unwrap();
    let concerned = |r: &Requirement| {
        r.from.is_none_or(|from| from <= on.unwrap_or(d.policy.valid_from.date()))
            && r.when.min_level.is_none_or(|min| label.level >= min)
            && r.when.marking.is_none_or(|marking| label.markings.contains(marking))
            && any(&r.when.target_kind, |kind| *kind == target.kind)
    };
    label.level <= target.max_level.unwrap_or(Level::Restricted)
        && d.requirement.iter().filter(|r| concerned(r)).all(|r| {
            let mut derogations = d.derogation.iter().filter(|block| block.requirement == r.id);
            r.legal_status != LegalStatus::Obligation && derogations.any(|block| lifts(block, way, on))
                || satisfies(&r.must, target, way.transformed, on)
        })
}

/// The label with which a copy of a source's messages leaves; `None`: it does not.
pub(super) fn copied(
    d: &Document,
    copy: &Copy,
    label: Label,
    source: &str,
    on: Option<Date>,
) -> Option<Label> {
    let transform = copy.transform.as_ref();
    let transform = transform.map(|id| d.transform.iter().find(|block| block.id == *id).unwrap());
    let out = transform.map_or(Some(label), |transform| transformed(transform, label, on))?;
    let way = Way { source, space: None, transformed: transform.is_some() };
    (out.level <= copy.max_level && allowed(d, out, &copy.to, way, on)).then_some(out)
}

/// What a transform makes of a label; `None`: it may not be applied.
fn transformed(t: &Transform, label: Label, on: Option<Date>) -> Option<Label> {
    let (scope, result) = (t.applies_to.clone().unwrap_or_default(), &t.result);
    let expires = t.declassification.as_ref().map(|on_record| on_record.expires);
    let applies = label.level <= scope.max_level.unwrap_or(Level::Restricted)
        && label.markings.iter().all(|marking| any(&scope.only_markings, |only| *only == marking))
        && valid(expires, on);
    let lowers = expires.is_some() && t.steps.iter().any(|step| matches!(step, Step::Aggregate { .. }));
    let least = if lowers { Level::Open } else { label.level };
    let kept = label.markings.iter().filter(|marking| !lowers || !result.remove.contains(marking));
    let markings = kept.chain(result.add.iter().copied()).collect();
    applies.then(|| Label { level: result.level.unwrap_or(label.level).max(least), markings })
}

/// Whether a derogation acts there; one without scope acts nowhere.
fn lifts(derogation: &Derogation, way: Way<'_>, on: Option<Date>) -> bool {
    let DerogationScope { source, space } = &derogation.scope;
    (source.is_some() || space.is_some())
        && source.as_ref().is_none_or(|id| id == way.source)
        && space.as_ref().is_none_or(|id| Some(id.as_str()) == way.space)
        && valid(Some(derogation.expires), on)
}

fn satisfies(must: &Must, target: &Target, changed: bool, on: Option<Date>) -> bool {
    let homologated =
        |dr: bool| target.homologation.as_ref().is_some_and(|h| valid(Some(h.until), on) && h.dr >= dr);
    let part = |part: &str| match part {
        "operator:public" => target.operator.nature == Nature::Public,
        "operator:private" => target.operator.nature == Nature::Private,
        "homologation" => homologated(false),
        "homologation_dr" => homologated(true),
        part => target.qualifications.iter().any(|q| {
            let (scheme, least) = part.split_once(">=").map_or((part, None), |(s, v)| (s, Some(v)));
            q.scheme == scheme && at_least(&q.version, least) && valid(Some(q.valid_until), on)
        }),
    };
    (must.processor_contract != Some(true) || target.processor_contract.is_some())
        && must.country_in.as_ref().is_none_or(|list| country_in(&target.country, list))
        && (must.extra_eu_law != Some(ExtraEuLaw::Immune) || target.extra_eu_law == must.extra_eu_law)
        && must.operator.is_none_or(|nature| nature == target.operator.nature)
        && (must.tenancy != Some(Tenancy::Dedicated) || target.tenancy == Tenancy::Dedicated)
        && (must.homologation_dr != Some(true) || homologated(true))
        && (must.transformed != Some(true) || changed)
        && any(&must.one_of, |option| option.split('+').all(part))
}

/// Whether what ends with that day, if it ends, still counts.
fn valid(until: Option<Date>, on: Option<Date>) -> bool {
    until.is_none_or(|until| on.is_none_or(|date| date <= until))
}

#[cfg(test)]
mod tests;
