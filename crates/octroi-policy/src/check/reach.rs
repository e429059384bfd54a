//! Rules that do nothing. C25: no message can match it. C26: another rule
//! matches whatever it matches and gives as much.
//!
//! Both err on the side of silence: what only a payload can tell is taken to be
//! possible, and a condition implies another only key by key. Rules that take
//! the sender's word give no label of their own, so C26 leaves them out.

use super::personal::{label_of, shown_by};
use super::rules::orders;
use super::{Report, Said};
use crate::ast::{Block, Classify, Comparison, Document, OneOrMany, RuleLevel, When};
use crate::text::text;
use crate::{Code, Cog, Severity, Text, Witness, same_name, topic};

/// C26 compares each rule with each: beyond so many it is not looked for.
const COMPARED: usize = 2_000;

pub(super) fn check(document: &Document, cog: Option<&Cog>, report: &mut Report) {
    // A block that could not be read may be what a rule waits for.
    if !document.unread.is_empty() {
        return;
    }
    document.classify.iter().for_each(|rule| never(rule, document, cog, report));
    if document.classify.len() <= COMPARED {
        dominated(document, cog, report);
    }
}

/// A key of a condition, and what takes it away.
type Key = (&'static str, fn(&mut When));

const KEYS: [Key; 13] = [
    ("topic", |when| when.topic = None),
    ("source", |when| when.source = None),
    ("domain", |when| when.domain = None),
    ("producer", |when| when.producer = None),
    ("format", |when| when.format = None),
    ("commune", |when| when.commune = None),
    ("perimeter", |when| when.perimeter = None),
    ("type_any", |when| when.type_any = None),
    ("tags", |when| when.tags = None),
    ("measure_any", |when| when.measure_any = None),
    ("field_any", |when| when.field_any = None),
    ("fields_within", |when| when.fields_within = None),
    ("field", |when| when.field = None),
];

fn never(rule: &Block<Classify>, document: &Document, cog: Option<&Cog>, report: &mut Report) {
    let Some((key, because)) = contradiction(rule).or_else(|| unreachable(rule, document, cog)) else {
        return;
    };
    let id = &rule.id;
    report.warning(
        Code::C25,
        Said {
            subject: id,
            at: rule.at_key(&key),
            message: text!("rule `{id}` can never match", "la règle `{id}` ne peut jamais s'appliquer"),
            why: text!(
                "who reads it believes that something is protected, or let go, and nothing is",
                "qui la lit croit qu'elle protège ou laisse passer quelque chose, et il n'en est rien"
            ),
            fix: text!("correct `{key}`, or take the rule away", "corriger `{key}`, ou retirer la règle"),
            witness: Some(Witness::from(because)),
        },
    );
}

/// What in the rule's own condition excludes itself.
fn contradiction(rule: &Classify) -> Option<(String, Text)> {
    let when = &rule.when;
    if let (Some(any), Some(absent)) = (&when.field_any, &when.field_absent)
        && any.iter().all(|name| absent.iter().any(|other| same_name(name, other)))
    {
        let names = any.join("`, `");
        let because = text!(
            "`{names}` must be there (`field_any`) and must not (`field_absent`)",
            "`{names}` doit être là (`field_any`) et ne doit pas y être (`field_absent`)"
        );
        return Some(("when.field_any".to_owned(), because));
    }
    if let Some((name, _)) = when.field.iter().flatten().find(|(_, comparison)| is_empty(comparison)) {
        let because = text!(
            "no value of `{name}` is all that at once",
            "aucune valeur de `{name}` n'est tout cela à la fois"
        );
        return Some((format!("when.field.{name}"), because));
    }
    if rule.level == RuleLevel::Declared && when.declared_sensitivity == Some(false) {
        let because = text!(
            "it takes the sender's word where the sender says none",
            "elle suit la parole de l'émetteur là où il ne dit rien"
        );
        return Some(("when.declared_sensitivity".to_owned(), because));
    }
    None
}

/// Whether no value satisfies all of it.
fn is_empty(comparison: &Comparison) -> bool {
    let Comparison { eq, one_of, lt, lte, gt, gte, exists, starts_with, contains } = comparison;
    let compares = eq.is_some() || one_of.is_some() || starts_with.is_some() || contains.is_some();
    let bounds = [lt, lte, gt, gte].into_iter().any(Option::is_some);
    let least = gt.unwrap_or(f64::NEG_INFINITY).max(gte.unwrap_or(f64::NEG_INFINITY));
    let most = lt.unwrap_or(f64::INFINITY).min(lte.unwrap_or(f64::INFINITY));
    let strict = gt.is_some_and(|bound| bound >= least) || lt.is_some_and(|bound| bound <= most);
    let unlisted = eq.as_ref().is_some_and(|eq| one_of.as_ref().is_some_and(|list| !list.contains(eq)));
    *exists == Some(false) && (compares || bounds)
        || bounds && (least > most || strict && least >= most)
        || unlisted
}

/// What outside the rule excludes every source, by the first key without which one would match.
fn unreachable(rule: &Block<Classify>, document: &Document, cog: Option<&Cog>) -> Option<(String, Text)> {
    if document.source.is_empty() || may_match(rule, document, cog) {
        return None;
    }
    for (key, take) in KEYS {
        let mut wider = rule.value.clone();
        take(&mut wider.when);
        if wider.when != rule.when && may_match(&wider, document, cog) {
            let because = text!(
                "without `{key}` some source could send what it matches; with it, none can",
                "sans `{key}`, une source pourrait envoyer ce qu'elle reconnaît ; avec, aucune ne le peut"
            );
            return Some((format!("when.{key}"), because));
        }
    }
    let because = text!(
        "no source sends such topics, of such a domain, from such communes",
        "aucune source n'envoie de tels sujets, pour un tel métier, depuis de telles communes"
    );
    Some(("when".to_owned(), because))
}

fn may_match(rule: &Classify, document: &Document, cog: Option<&Cog>) -> bool {
    // The sender's word classifies nothing by itself, but such a rule matches like another.
    let classifying =
        (rule.level == RuleLevel::Declared).then(|| Classify { level: RuleLevel::Internal, ..rule.clone() });
    let rule = classifying.as_ref().unwrap_or(rule);
    let says = |origin: &Option<String>, is: &str| {
        let tag = origin.as_deref().and_then(|origin| origin.strip_prefix("tag:"));
        let asked = tag.and_then(|tag| rule.when.tags.as_ref()?.get(tag));
        asked.is_none_or(|values| values.as_slice().iter().any(|value| value == is))
    };
    orders(document, cog, rule).any(|order| says(&order.source.domain_from, order.domain))
}

fn dominated(document: &Document, cog: Option<&Cog>, report: &mut Report) {
    for (ix, rule) in document.classify.iter().enumerate() {
        let as_much = |(other, by): &(usize, &Block<Classify>)| {
            *other != ix
                && by.level != RuleLevel::Declared
                && label_of(by).dominates(label_of(rule))
                && implies(&rule.when, &by.when)
                // Of two that say the same, the first stays.
                && (*other < ix || !(label_of(rule).dominates(label_of(by)) && implies(&by.when, &rule.when)))
        };
        if rule.level == RuleLevel::Declared {
            continue;
        }
        let Some((_, by)) = document.classify.iter().enumerate().find(as_much) else { continue };
        let (id, other, label) = (&rule.id, &by.id, label_of(by));
        report.push(
            Code::C26,
            Severity::Info,
            Said {
                subject: id,
                at: rule.at_key("when"),
                message: text!(
                    "rule `{id}` adds nothing to rule `{other}`",
                    "la règle `{id}` n'ajoute rien à la règle `{other}`"
                ),
                why: text!(
                    "`{other}` matches whatever it matches, and gives {label}",
                    "`{other}` reconnaît tout ce qu'elle reconnaît, et donne {label}"
                ),
                fix: text!(
                    "it may be taken away, unless `{other}` is what is too wide",
                    "elle peut être retirée, à moins que `{other}` ne soit trop large"
                ),
                witness: Some(shown_by(rule, document, cog, report)),
            },
        );
    }
}

/// Whether each message that meets `one` meets `other`, as far as key by key tells.
fn implies(one: &When, other: &When) -> bool {
    fn within<T: PartialEq>(one: Option<&OneOrMany<T>>, other: Option<&OneOrMany<T>>) -> bool {
        implied(one, other, |one, other| one.as_slice().iter().all(|item| other.as_slice().contains(item)))
    }
    fn implied<T>(one: Option<T>, other: Option<T>, is: impl Fn(T, T) -> bool) -> bool {
        match (one, other) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(one), Some(other)) => is(one, other),
        }
    }
    let listed = |one: &[String], other: &[String]| {
        one.iter().all(|name| other.iter().any(|known| same_name(name, known)))
    };
    let names = |one: &Option<Vec<String>>, other: &Option<Vec<String>>| {
        implied(one.as_ref(), other.as_ref(), |one, other| listed(one, other))
    };
    within(one.source.as_ref(), other.source.as_ref())
        && within(one.producer.as_ref(), other.producer.as_ref())
        && within(one.domain.as_ref(), other.domain.as_ref())
        && within(one.format.as_ref(), other.format.as_ref())
        && within(one.commune.as_ref(), other.commune.as_ref())
        && within(one.perimeter.as_ref(), other.perimeter.as_ref())
        && implied(one.topic.as_ref(), other.topic.as_ref(), |one, other| {
            one.as_slice().iter().all(|filter| other.as_slice().iter().any(|wider| covers(wider, filter)))
        })
        && names(&one.type_any, &other.type_any)
        && names(&one.measure_any, &other.measure_any)
        && names(&one.field_any, &other.field_any)
        && implied(one.field_absent.as_ref(), other.field_absent.as_ref(), |one, other| listed(other, one))
        && implied(one.fields_within.as_ref(), other.fields_within.as_ref(), |one, other| {
            one.iter().all(|(name, kind)| other.get(name) == Some(kind))
        })
        && pairs(one.tags.as_ref(), other.tags.as_ref())
        && pairs(one.user_property.as_ref(), other.user_property.as_ref())
        && implied(one.field.as_ref(), other.field.as_ref(), |one, other| {
            other.iter().all(|(name, comparison)| one.get(name) == Some(comparison))
        })
        && implied(one.payload_larger_than, other.payload_larger_than, |one, other| one >= other)
        && implied(one.declared_sensitivity, other.declared_sensitivity, |one, other| one == other)
}

type Pairs = std::collections::BTreeMap<String, OneOrMany<String>>;

/// Whether what `one` asks of each name is as narrow as what `other` asks.
fn pairs(one: Option<&Pairs>, other: Option<&Pairs>) -> bool {
    other.into_iter().flatten().all(|(name, wider)| {
        let narrower = one.and_then(|one| one.get(name));
        narrower.is_some_and(|values| values.as_slice().iter().all(|value| wider.as_slice().contains(value)))
    })
}

/// Whether each topic that matches `narrow` matches `wide`.
fn covers(wide: &str, narrow: &str) -> bool {
    if !topic::overlaps(wide, narrow) {
        return false;
    }
    let (mut wide, mut narrow) = (wide.split('/'), narrow.split('/'));
    loop {
        match (wide.next(), narrow.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(level)) if level != "#" => {}
            (Some(one), Some(other)) if one == other => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ast::Value;
    use proptest::prelude::*;

    #[test]
    fn a_comparison_that_no_value_satisfies_is_empty() {
        let of = |edit: fn(&mut Comparison)| {
            let mut comparison = Comparison::default();
            edit(&mut comparison);
            is_empty(&comparison)
        };
        assert!(of(|c| (c.gt, c.lt) = (Some(3.0), Some(3.0))));
        assert!(of(|c| (c.gte, c.lt) = (Some(3.0), Some(3.0))));
        assert!(of(|c| (c.gte, c.lte) = (Some(4.0), Some(3.0))));
        assert!(!of(|c| (c.gte, c.lte) = (Some(3.0), Some(3.0))));
        assert!(!of(|c| c.gt = Some(3.0)));
        assert!(of(|c| (c.exists, c.eq) = (Some(false), Some(Value::Integer(1)))));
        assert!(!of(|c| c.exists = Some(false)));
        assert!(of(|c| (c.eq, c.one_of) = (Some(Value::Integer(1)), Some(vec![Value::Integer(2)]))));
    }

    proptest! {
        #[test]
        fn a_filter_that_covers_another_matches_what_it_matches(
            wide in "(a|b|\\+)(/(a|b|\\+)){0,2}(/#)?", narrow in "(a|b|\\+)(/(a|b|\\+)){0,2}(/#)?", topic in "[ab](/[ab]){0,3}"
        ) {
            if covers(&wide, &narrow) && topic::matches(&narrow, &topic) {
                prop_assert!(topic::matches(&wide, &topic), "{wide} {narrow} {topic}");
            }
        }
    }
}
