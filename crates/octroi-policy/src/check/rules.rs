//! C14: marking and level agree. C27: what a source may send, some rule can
//! classify. C28: what is open has a closed schema.

use super::{Report, Said};
use crate::ast::{
    Block, Classify, Document, Format, LeafType, LeafTypeName, OneOrMany, RuleLevel, Source, When,
};
use crate::{Code, Cog, Level, topic};

pub(super) fn check(document: &Document, cog: Option<&Cog>, report: &mut Report) {
    for rule in &document.classify {
        marking_and_level(rule, report);
        if rule.level == RuleLevel::Open {
            closed_schema(rule, report);
        }
    }
    if document.unread.is_empty() {
        document.source.iter().for_each(|source| unclassified(source, document, cog, report));
    }
}

pub(super) fn level_of(level: RuleLevel) -> Level {
    match level {
        // The sender's word can be any level: the lowest is what must agree.
        RuleLevel::Open | RuleLevel::Declared => Level::Open,
        RuleLevel::Internal => Level::Internal,
        RuleLevel::Personal => Level::Personal,
        RuleLevel::Sensitive => Level::Sensitive,
        RuleLevel::Restricted => Level::Restricted,
    }
}

fn marking_and_level(rule: &Block<Classify>, report: &mut Report) {
    let level = level_of(rule.level);
    for (ix, marking) in rule.markings.iter().enumerate() {
        let least = marking.least_level();
        if least <= level {
            continue;
        }
        report.error(
            Code::C14,
            Said {
                subject: &rule.id,
                at: rule.at_key(&format!("markings.{ix}")),
                message: format!("rule `{}` marks `{marking}` at the level `{level}`", rule.id),
                why: "requirements by level would miss what its marking says",
                fix: format!("raise the level to `{least}`, or take the marking away"),
                witness: Some(format!("a message that only this rule matches: {level} ({marking})")),
            },
        );
    }
}

fn closed_schema(rule: &Block<Classify>, report: &mut Report) {
    let Some(fields) = &rule.when.fields_within else {
        return report.error(
            Code::C28,
            Said {
                subject: &rule.id,
                at: rule.at_key("level"),
                message: format!("rule `{}` is `open` without a closed schema", rule.id),
                why: "a list of forbidden names cannot know tomorrow's field: what is published cannot be taken back",
                fix: "list every field in when.fields_within = { count = \"number\", … }".to_owned(),
                witness: Some("the same message with one more field, a plate under a new name".to_owned()),
            },
        );
    };
    let mut short = Vec::new();
    for (name, kind) in fields {
        match kind {
            LeafType::Named(LeafTypeName::Text) => report.error(
                Code::C28,
                Said {
                    subject: &rule.id,
                    at: rule.at_key(&format!("when.fields_within.{name}")),
                    message: format!("rule `{}` is `open` with free text in `{name}`", rule.id),
                    why: "text can hold anything: a plate, a name, a JSON of its own",
                    fix: "write { in = [\"…\"] } with its words, or raise the level".to_owned(),
                    witness: Some(format!("{name} = \"AB-123-CD\"")),
                },
            ),
            LeafType::Named(LeafTypeName::Token | LeafTypeName::Raw) => short.push(name.as_str()),
            LeafType::Named(LeafTypeName::Number | LeafTypeName::Boolean | LeafTypeName::Time)
            | LeafType::In { .. } => {}
        }
    }
    if let Some(first) = short.first() {
        report.warning(
            Code::C28,
            Said {
                subject: &rule.id,
                at: rule.at_key(&format!("when.fields_within.{first}")),
                message: format!(
                    "rule `{}` is `open` with a word or a raw frame in `{}`",
                    rule.id,
                    short.join("`, `")
                ),
                why: "a short word can hold a plate, a frame can hold anything",
                fix: "write { in = [\"…\"] } with its words, or acknowledge it".to_owned(),
                witness: Some(format!("{first} = \"AB-123-CD\"")),
            },
        );
    }
}

fn unclassified(source: &Block<Source>, document: &Document, cog: Option<&Cog>, report: &mut Report) {
    for (ix, filter) in source.topics.iter().enumerate() {
        let reaches = |domain: &String| {
            document.classify.iter().any(|rule| can_match(rule, source, filter, domain, document, cog))
        };
        let missing: Vec<&str> =
            source.domains.iter().filter(|domain| !reaches(domain)).map(String::as_str).collect();
        let Some(first) = missing.first() else { continue };
        let topic = filter.replace(['#', '+'], "x");
        report.warning(
            Code::C27,
            Said {
                subject: &source.id,
                at: source.at_key(&format!("topics.{ix}")),
                message: format!(
                    "no rule can classify what source `{}` sends to `{filter}` for `{}`",
                    source.id,
                    missing.join("`, `")
                ),
                why: "every such message would be quarantined: `no_rule_matches`",
                fix: "add a rule for it, or take the topic or the domain from the source".to_owned(),
                witness: Some(format!("`{topic}`, `{first}`, from `{}`", source.id)),
            },
        );
    }
}

/// Whether some message of that source, filter and domain could match the rule,
/// as far as what stands outside the payload tells. A rule that only takes the
/// sender's word classifies nothing by itself.
pub(super) fn can_match(
    rule: &Classify,
    source: &Source,
    filter: &str,
    domain: &str,
    document: &Document,
    cog: Option<&Cog>,
) -> bool {
    fn allows<T: PartialEq>(list: Option<&OneOrMany<T>>, is: impl Fn(&T) -> bool) -> bool {
        list.is_none_or(|list| list.as_slice().iter().any(is))
    }
    let when = &rule.when;
    rule.level != RuleLevel::Declared
        && allows(when.source.as_ref(), |id| *id == source.id)
        && allows(when.producer.as_ref(), |siren| *siren == source.producer)
        && allows(when.domain.as_ref(), |id| id == domain)
        && allows(when.format.as_ref(), |format| *format == source.format)
        && can_hold(source.format, when)
        && allows(when.topic.as_ref(), |other| topic::overlaps(other, filter))
        && (when.commune.is_none() && when.perimeter.is_none() || in_territory(rule, source, document, cog))
}

/// Whether a payload of that format can hold what the condition looks for:
/// entity types are of NGSI-LD and free JSON, and opaque bytes hold nothing.
fn can_hold(format: Format, when: &When) -> bool {
    let typed = matches!(format, Format::Json | Format::NgsiLd);
    let inside = when.measure_any.is_some()
        || when.field_any.is_some()
        || when.fields_within.is_some()
        || when.tags.is_some()
        || when.field.is_some();
    (when.type_any.is_none() || typed) && !(inside && format == Format::Opaque)
}

fn in_territory(rule: &Classify, source: &Source, document: &Document, cog: Option<&Cog>) -> bool {
    let Some(cog) = cog else { return true };
    let perimeter =
        |id: &str| document.perimeter.iter().find(|block| block.id == id).map(|block| cog.perimeter(block));
    let Some(mut reach) = perimeter(&source.perimeter) else { return true };
    if let Some(code) = &source.commune {
        reach = reach.intersection(&cog.commune(code).into_iter().collect());
    }
    if let Some(codes) = &rule.when.commune {
        let listed = codes.as_slice().iter().filter_map(|code| cog.commune(code)).collect();
        reach = reach.intersection(&listed);
    }
    rule.when.perimeter.as_ref().is_none_or(|ids| {
        ids.as_slice().iter().filter_map(|id| perimeter(id)).any(|set| set.intersects(&reach))
    }) && !reach.is_empty()
}
