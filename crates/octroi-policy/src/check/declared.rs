//! C29: a rule that would lower by the sender's own word. A declaration can
//! only raise, so no rule may hang a low level on it, nor a high one on its
//! absence.
//!
//! The sender's word: what the hub itself reads (`declared_sensitivity`, the
//! user property or field `sensitivity`) and fields and properties that say the
//! same under another name. A rule with level `declared` is the one way to use
//! it: the engine only ever raises by that one.

use std::collections::BTreeMap;

use super::rules::{self, orders};
use super::{Report, Said};
use crate::ast::{Block, Classify, Document, Given, GivenFields, RuleLevel, Value, When};
use crate::text::text;
use crate::witness::Order;
use crate::{Code, Cog, Level, Witness, same_name};

/// Names under which senders say how sensitive their message is.
const WORDS: [&str; 10] = [
    "sensitivity",
    "sensitivity_level",
    "data_sensitivity",
    "declared",
    "declared_sensitivity",
    "confidentiality",
    "confidentialité",
    "confidentialite",
    "sensibilité",
    "sensibilite",
];

pub(super) fn check(document: &Document, cog: Option<&Cog>, report: &mut Report) {
    for rule in document.classify.iter().filter(|rule| rule.level != RuleLevel::Declared) {
        let level = rules::level_of(rule.level);
        if level <= Level::Internal
            && let Some(key) = said(&rule.when)
        {
            bought(rule, level, &key, document, cog, report);
        }
        if level > Level::Open
            && let Some(key) = unsaid(&rule.when)
        {
            escaped(rule, level, &key, document, cog, report);
        }
    }
}

fn is_word(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    WORDS.iter().any(|word| same_name(word, last))
}

/// The key by which a rule waits for the sender's word.
fn said(when: &When) -> Option<String> {
    if when.declared_sensitivity == Some(true) {
        return Some("when.declared_sensitivity".to_owned());
    }
    let property = when.user_property.iter().flat_map(|pairs| pairs.keys()).find(|name| is_word(name));
    if let Some(name) = property {
        return Some(format!("when.user_property.{name}"));
    }
    let compared = when.field.iter().flatten().find(|(name, to)| is_word(name) && to.exists != Some(false));
    if let Some((name, _)) = compared {
        return Some(format!("when.field.{name}"));
    }
    let any =
        when.field_any.as_ref().filter(|names| !names.is_empty() && names.iter().all(|name| is_word(name)));
    any.map(|_| "when.field_any".to_owned())
}

/// The key by which a rule waits for the sender's silence.
fn unsaid(when: &When) -> Option<String> {
    if when.declared_sensitivity == Some(false) {
        return Some("when.declared_sensitivity".to_owned());
    }
    let compared = when.field.iter().flatten().find(|(name, to)| is_word(name) && to.exists == Some(false));
    if let Some((name, _)) = compared {
        return Some(format!("when.field.{name}"));
    }
    let absent = when.field_absent.iter().flatten().position(|name| is_word(name));
    absent.map(|ix| format!("when.field_absent.{ix}"))
}

fn bought(
    rule: &Block<Classify>,
    level: Level,
    key: &str,
    document: &Document,
    cog: Option<&Cog>,
    report: &mut Report,
) {
    let id = &rule.id;
    let messages = orders(document, cog, rule).flat_map(Order::proposals);
    let given = report
        .replayed(document, messages, |_, decision| decision.is_labelled() && decision.label.level >= level);
    report.error(
        Code::C29,
        Said {
            subject: id,
            at: rule.at_key(key),
            message: text!(
                "rule `{id}` gives {level} because the sender says so",
                "la règle `{id}` donne {level} parce que l'émetteur le dit"
            ),
            why: text!(
                "a declaration can only raise: a camera that calls itself open is not",
                "une déclaration ne peut que relever : une caméra qui se dit ouverte ne l'est pas"
            ),
            fix: text!(
                "tell such messages by source, topic or fields; a rule at level = \"declared\" takes the sender's word upwards",
                "reconnaître ces messages à leur source, leur sujet ou leurs champs ; une règle à level = \"declared\" suit l'émetteur, vers le haut"
            ),
            witness: Some(Witness {
                text: text!(
                    "a message whose sender names a sensitivity gets {level}",
                    "un message dont l'émetteur nomme une sensibilité reçoit {level}"
                ),
                given,
                at: None,
            }),
        },
    );
}

fn escaped(
    rule: &Block<Classify>,
    level: Level,
    key: &str,
    document: &Document,
    cog: Option<&Cog>,
    report: &mut Report,
) {
    let id = &rule.id;
    let messages = orders(document, cog, rule).flat_map(Order::proposals);
    let messages = messages.filter_map(|given| with_a_word(given, &rule.when));
    let given = report
        .replayed(document, messages, |_, decision| !decision.is_labelled() || decision.label.level < level);
    report.error(
        Code::C29,
        Said {
            subject: id,
            at: rule.at_key(key),
            message: text!(
                "a sender escapes rule `{id}`, which gives {level}, by declaring a sensitivity",
                "un émetteur échappe à la règle `{id}`, qui donne {level}, en déclarant une sensibilité"
            ),
            why: text!(
                "a protection that a word takes away protects from nobody",
                "une protection qu'un mot retire ne protège de personne"
            ),
            fix: text!("take `{key}` from the rule", "retirer `{key}` de la règle"),
            witness: Some(Witness {
                text: text!(
                    "the same message with a declared sensitivity: the rule does not match",
                    "le même message avec une sensibilité déclarée : la règle ne s'applique pas"
                ),
                given,
                at: None,
            }),
        },
    );
}

/// The message with the word that the rule must not see.
fn with_a_word(mut given: Given, when: &When) -> Option<Given> {
    if when.declared_sensitivity == Some(false) {
        given.declared = Some(Level::Open.name().to_owned());
        return Some(given);
    }
    let compared = when.field.iter().flatten().find(|(name, to)| is_word(name) && to.exists == Some(false));
    let absent = when.field_absent.iter().flatten().find(|name| is_word(name));
    let name = compared.map(|(name, _)| name).or(absent)?;
    let word = Value::Text(Level::Open.name().to_owned());
    match &mut given.fields {
        Some(GivenFields::Values(values)) => {
            values.insert(name.clone(), word);
        }
        Some(GivenFields::Names(names)) => names.push(name.clone()),
        None => given.fields = Some(GivenFields::Values(BTreeMap::from([(name.clone(), word)]))),
    }
    Some(given)
}
