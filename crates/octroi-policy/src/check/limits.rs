//! C39: how much a policy may hold. Every bound stands here, with its reason;
//! beyond it, checks and proofs would take longer than a person waits, or the
//! engine could not count.
//!
//! INVARIANT: the checks that compare rules with sources run only within them.

use super::{Report, Said};
use crate::ast::{Block, Document, Given, Source, When};
use crate::text::text;
use crate::{Code, Location, Witness};

/// Rules; a decision looks at a few of them, the checks at all.
pub(super) const RULES: usize = 10_000;
/// Sources, and so connections that mean something.
const SOURCES: usize = 10_000;
/// Targets: a record has a bit for each, and some are the journal's own.
const TARGETS: usize = 60;
/// Any other block.
const BLOCKS: usize = 10_000;
/// Rules × sources: pairs that C25, C27 and the proofs look at.
const PAIRS: usize = 4_000_000;
/// Names in one list of a condition or step; France has 35,000 communes.
const LISTED: usize = 40_000;
/// Fields of a closed schema: a payload has as many values (RFC 7493 reading).
const FIELDS: usize = 4_096;
/// Keys in a dotted path: a payload is as deep.
const DEPTH: usize = 32;
/// Steps of a transform.
const STEPS: usize = 64;
/// Topic filters of one source.
const FILTERS: usize = 1_024;

/// Says what is too large; whether nothing is.
pub(super) fn check(document: &Document, report: &mut Report) -> bool {
    let mut bounds = Bounds { report, kept: true };
    bounds.blocks(document);
    document.source.iter().for_each(|source| bounds.source(source));
    for rule in &document.classify {
        bounds.condition(rule, &rule.id, &rule.when);
    }
    for copy in &document.copy {
        if let Some(when) = &copy.when {
            bounds.condition(copy, &copy.id, when);
        }
    }
    for transform in &document.transform {
        let at = || transform.at_key("steps");
        bounds.bound(&transform.id, at, "steps", transform.steps.len(), STEPS);
    }
    for perimeter in &document.perimeter {
        let at = || perimeter.at_key("commune");
        bounds.bound(&perimeter.id, at, "commune", perimeter.commune.len(), LISTED);
    }
    for test in &document.test {
        let Given { tags, measures, .. } = &test.given;
        let count =
            tags.as_ref().map_or(0, std::collections::BTreeMap::len) + measures.as_ref().map_or(0, Vec::len);
        bounds.bound(&test.name, || test.at_key("given"), "given", count, FIELDS);
    }
    bounds.kept
}

struct Bounds<'r> {
    report: &'r mut Report,
    kept: bool,
}

impl Bounds<'_> {
    fn bound(&mut self, subject: &str, at: impl FnOnce() -> Location, what: &str, count: usize, most: usize) {
        if count <= most {
            return;
        }
        self.kept = false;
        self.report.error(
            Code::C39,
            Said {
                subject,
                at: at(),
                message: text!(
                    "`{subject}`: {what} holds {count}, and {most} is the most",
                    "`{subject}` : {what} en compte {count}, et {most} est le maximum"
                ),
                why: text!(
                    "a bound keeps the check short and every decision fast",
                    "une borne garde la vérification courte et chaque décision rapide"
                ),
                fix: text!(
                    "group what is alike: wider filters, perimeters by EPCI or département, fewer rules",
                    "regrouper ce qui se ressemble : filtres plus larges, périmètres par EPCI ou département, moins de règles"
                ),
                witness: Some(Witness::from(text!("{what}: {count} > {most}", "{what} : {count} > {most}"))),
            },
        );
    }

    fn blocks(&mut self, document: &Document) {
        let pairs = document.classify.len().saturating_mul(document.source.len());
        for (what, count, most) in [
            ("classify", document.classify.len(), RULES),
            ("source", document.source.len(), SOURCES),
            ("target", document.target.len(), TARGETS),
            ("producer", document.producer.len(), BLOCKS),
            ("perimeter", document.perimeter.len(), BLOCKS),
            ("domain", document.domain.len(), BLOCKS),
            ("space", document.space.len(), BLOCKS),
            ("copy", document.copy.len(), BLOCKS),
            ("transform", document.transform.len(), BLOCKS),
            ("test", document.test.len(), BLOCKS),
            ("classify × source", pairs, PAIRS),
        ] {
            self.bound(&document.policy.id, || document.policy.at.clone(), what, count, most);
        }
    }

    fn source(&mut self, source: &Block<Source>) {
        self.bound(&source.id, || source.at_key("topics"), "topics", source.topics.len(), FILTERS);
    }

    fn condition<T>(&mut self, block: &Block<T>, id: &str, when: &When) {
        let lists = [
            ("type_any", &when.type_any),
            ("measure_any", &when.measure_any),
            ("field_any", &when.field_any),
            ("field_absent", &when.field_absent),
        ];
        for (key, names) in lists {
            let at = || block.at_key(&format!("when.{key}"));
            self.bound(id, at, key, names.as_ref().map_or(0, Vec::len), LISTED);
        }
        for (key, names) in [
            ("topic", &when.topic),
            ("commune", &when.commune),
            ("perimeter", &when.perimeter),
            ("source", &when.source),
        ] {
            let count = names.as_ref().map_or(0, |names| names.as_slice().len());
            self.bound(id, || block.at_key(&format!("when.{key}")), key, count, LISTED);
        }
        let within = when.fields_within.as_ref();
        let at = || block.at_key("when.fields_within");
        self.bound(id, at, "fields_within", within.map_or(0, std::collections::BTreeMap::len), FIELDS);
        let within = within.into_iter().flat_map(|fields| fields.keys());
        let compared = when.field.iter().flat_map(|fields| fields.keys());
        let deepest = within.chain(compared).map(|name| name.split('.').count()).max().unwrap_or(0);
        self.bound(id, || block.at_key("when"), "a.b.c…", deepest, DEPTH);
    }
}
