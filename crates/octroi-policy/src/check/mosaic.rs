//! C33: a mosaic. Several streams, none of them sensitive, tell of the same
//! persons more than each does by itself: the bin, the meter and the car park
//! of one street say who is at home.
//!
//! The reading taken here: a *stream* is what one source sends in one domain
//! with a label about persons below `sensitive`. Two streams make a mosaic in a
//! space if both are placed there for a commune in common, and either they are
//! of different domains, or of different sources and both carry something to
//! join them by (`pseudonymised`, `location_trace`). Streams that are sensitive
//! already are guarded as such; many messages of one stream are not a mosaic but
//! that stream, and its rule's to judge.
//!
//! One finding a space, with the first pair. Dates are left aside.

use super::personal::about_a_person;
use super::{Report, Said};
use crate::ast::Document;
use crate::place::Way;
use crate::prove::messages::message;
use crate::prove::{Reach, Reached, label_of};
use crate::text::text;
use crate::{
    Code, CommuneSet, Decision, DomainIx, Label, Level, Marking, Outcome, Policy, SourceIx, SpaceIx, Witness,
};

/// One stream as it is placed in one space.
struct Stream<'r> {
    source: SourceIx,
    domain: DomainIx,
    label: Label,
    reach: &'r Reach,
    communes: CommuneSet,
}

pub(super) fn check(policy: &Policy, document: &Document, reached: &Reached, report: &mut Report) {
    let streams = streams(policy, reached);
    for (ix, space) in document.space.iter().enumerate() {
        let Some(streams) = streams.get(ix) else { continue };
        let pairs = streams
            .iter()
            .enumerate()
            .flat_map(|(n, one)| streams.iter().skip(n + 1).map(move |other| (one, other)));
        let Some((one, other)) = pairs.into_iter().find(|(one, other)| joins(one, other)) else { continue };
        let Some(commune) = one.communes.intersection(&other.communes).first() else { continue };
        let placed = |decision: &Decision<'_>| {
            let here = matches!(decision.outcome, Outcome::Routed { space, .. } if space.index() == ix);
            here.then_some(())
        };
        let given = message(policy, (one.label, one.reach), Some(commune), None, placed);
        let given = given.map(|(given, ())| given);
        let name = |stream: &Stream<'_>| {
            let source = policy.sources().get(stream.source.index()).map_or("", |source| &source.id);
            let domain = policy.domains().get(stream.domain.index()).map_or("", |domain| &domain.id);
            format!("`{domain}` ({source}, {})", stream.label)
        };
        let (id, one_name, other_name) = (&space.id, name(one), name(other));
        report.warning(
            Code::C33,
            Said {
                subject: id,
                at: space.at_key("domains"),
                message: text!(
                    "space `{id}` joins {one_name} and {other_name}: together they may be sensitive",
                    "l'espace `{id}` réunit {one_name} et {other_name} : ensemble, ils peuvent être sensibles"
                ),
                why: text!(
                    "streams about the same persons tell together what none tells alone: presence, habits, movements",
                    "des flux sur les mêmes personnes disent ensemble ce qu'aucun ne dit seul : présence, habitudes, déplacements"
                ),
                fix: text!(
                    "separate the spaces, raise one of the rules, or acknowledge it with the impact assessment that covers the joining",
                    "séparer les espaces, relever l'une des règles, ou l'accepter avec l'analyse d'impact qui couvre le rapprochement"
                ),
                witness: Some(Witness {
                    text: text!(
                        "both are placed in `{id}` for {commune}",
                        "les deux sont placés dans `{id}` pour {commune}",
                        commune = policy.cog().display(commune),
                    ),
                    given,
                    at: None,
                }),
            },
        );
    }
}

fn joins(one: &Stream<'_>, other: &Stream<'_>) -> bool {
    let traced = |stream: &Stream<'_>| {
        let markings = stream.label.markings;
        markings.contains(Marking::Pseudonymised) || markings.contains(Marking::LocationTrace)
    };
    let apart = one.domain != other.domain || one.source != other.source && traced(one) && traced(other);
    apart && one.communes.intersects(&other.communes)
}

/// By space: the streams that are placed there.
fn streams<'r>(policy: &Policy, reached: &'r Reached) -> Vec<Vec<Stream<'r>>> {
    let mut streams: Vec<Vec<Stream<'r>>> = policy.spaces().iter().map(|_| Vec::new()).collect();
    for ((source, domain), labels) in reached {
        for (key, reach) in &labels.by_key {
            let label = label_of(*key);
            if reach.by_word || !about_a_person(label) || label.level >= Level::Sensitive {
                continue;
            }
            for (space, communes) in placed(policy, *source, *domain, label) {
                let Some(here) = streams.get_mut(space.index()) else { continue };
                here.push(Stream { source: *source, domain: *domain, label, reach, communes });
            }
        }
    }
    streams
}

/// Where a label of that source and domain is placed, with the communes: as `Policy::place`, for all at once.
fn placed(policy: &Policy, source: SourceIx, domain: DomainIx, label: Label) -> Vec<(SpaceIx, CommuneSet)> {
    let Some(gate) = policy.gates.get(source.index()) else { return Vec::new() };
    let mut left = gate.perimeter.clone();
    if let Some(commune) = gate.commune {
        left = left.intersection(&std::iter::once(commune).collect());
    }
    let mut placed = Vec::new();
    for scale in policy.places.get(domain.index()).into_iter().flatten() {
        for (space, perimeter) in scale {
            let target = policy.spaces().get(space.index()).map(|space| space.target.index());
            let duties = target.and_then(|target| policy.duties.get(target));
            let way = Way { source: Some(source), space: Some(*space), transformed: false };
            let fits =
                duties.is_some_and(|duties| duties.obstacle(label, way, None, &policy.lifted).is_none());
            let here = left.intersection(perimeter);
            if fits && !here.is_empty() {
                left = left.difference(&here);
                placed.push((*space, here));
            }
        }
    }
    placed
}
