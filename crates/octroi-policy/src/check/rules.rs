//! C14: marking and level agree. C27: what a source may send, some rule can
//! classify. C28: what is open has a closed schema.

use super::{Report, Said};
use crate::ast::{
    Block, Classify, Document, Format, Given, GivenFields, LeafType, LeafTypeName, OneOrMany, RuleLevel,
    Source, Value, When,
};
use crate::text::text;
use crate::witness::Order;
use crate::{Code, Cog, CommuneSet, Decision, Label, Level, Outcome, Policy, Reason, Text, Witness, topic};

pub(super) fn check(document: &Document, cog: Option<&Cog>, report: &mut Report) {
    for rule in &document.classify {
        marking_and_level(rule, document, cog, report);
        if rule.level == RuleLevel::Open {
            closed_schema(rule, document, cog, report);
        }
    }
    if document.unread.is_empty() {
        document.source.iter().for_each(|source| unclassified(source, document, cog, report));
    }
}

pub(super) fn level_of(level: RuleLevel) -> Level {
    // The sender's word can be any level: the lowest is what must agree.
    level.fixed().unwrap_or(Level::Open)
}

/// For every source and domain whose messages the rule can match, those messages.
pub(super) fn orders<'d>(
    document: &'d Document,
    cog: Option<&'d Cog>,
    rule: &'d Classify,
) -> impl Iterator<Item = Order<'d>> {
    document.source.iter().flat_map(move |source| {
        let sends = move |domain: &&String| {
            source.topics.iter().any(|filter| can_match(rule, source, filter, domain, document, cog))
        };
        let domains = source.domains.iter().filter(sends);
        domains.map(move |domain| Order::new(document, cog, source, domain, vec![&rule.when]))
    })
}

/// Messages that one rule should match, with these fields beside those it looks for.
fn matching<'a>(
    rule: &'a Classify,
    fields: &'a [&'a str],
    document: &'a Document,
    cog: Option<&'a Cog>,
) -> impl Iterator<Item = Given> {
    let orders = orders(document, cog, rule);
    orders.flat_map(|order| Order { fields: fields.to_vec(), ..order }.proposals())
}

/// Messages of that source, domain and commune that some rule should classify.
pub(super) fn classified<'a>(
    source: &'a Source,
    domain: &'a str,
    commune: &'a str,
    document: &'a Document,
    cog: &'a Cog,
) -> impl Iterator<Item = Given> {
    let can = move |rule: &&Block<Classify>| {
        source.topics.iter().any(|filter| can_match(rule, source, filter, domain, document, Some(cog)))
    };
    document.classify.iter().filter(can).flat_map(move |rule| {
        Order::new(document, Some(cog), source, domain, vec![&rule.when]).proposals_in(commune)
    })
}

fn marking_and_level(rule: &Block<Classify>, document: &Document, cog: Option<&Cog>, report: &mut Report) {
    let level = level_of(rule.level);
    for (ix, marking) in rule.markings.iter().enumerate() {
        let least = marking.least_level();
        if least <= level {
            continue;
        }
        let shows = |_: &Policy, decision: &Decision<'_>| {
            let Label { level, markings } = decision.label;
            decision.is_labelled() && markings.contains(*marking) && level < least
        };
        let given = report.replayed(document, matching(rule, &[], document, cog), shows);
        let text = text!(
            "a message that only this rule matches gets the label `{level}` (`{marking}`)",
            "un message que seule cette règle reconnaît reçoit l'étiquette `{level}` (`{marking}`)",
        );
        report.error(
            Code::C14,
            Said {
                subject: &rule.id,
                at: rule.at_key(&format!("markings.{ix}")),
                message: text!(
                    "rule `{id}` marks `{marking}` at the level `{level}`",
                    "la règle `{id}` pose le marqueur `{marking}` au niveau `{level}`",
                    id = rule.id,
                ),
                why: text!(
                    "requirements by level would miss what its marking says",
                    "les exigences par niveau ne verraient pas ce que dit le marqueur",
                ),
                fix: text!(
                    "raise the level to `{least}`, or take the marking away",
                    "relever le niveau à `{least}`, ou retirer le marqueur",
                ),
                witness: Some(Witness { text, given, at: None }),
            },
        );
    }
}

fn closed_schema(rule: &Block<Classify>, document: &Document, cog: Option<&Cog>, report: &mut Report) {
    let id = &rule.id;
    let shows =
        |_: &Policy, decision: &Decision<'_>| decision.is_labelled() && decision.label.level == Level::Open;
    let Some(fields) = &rule.when.fields_within else {
        let beside = &["vrn"];
        let given = report.replayed(document, matching(rule, beside, document, cog), shows);
        let text = text!(
            "a message with one more field, a plate under a name that no rule knows, is `open` all the same",
            "un message avec un champ de plus, une plaque sous un nom qu'aucune règle ne connaît, est `open` malgré tout",
        );
        return report.error(
            Code::C28,
            Said {
                subject: &rule.id,
                at: rule.at_key("level"),
                message: text!(
                    "rule `{id}` is `open` without a closed schema",
                    "la règle `{id}` est à `open` sans schéma fermé",
                ),
                why: text!(
                    "a list of forbidden names cannot know tomorrow's field: what is published cannot be taken back",
                    "une liste de noms interdits ignore le champ de demain : ce qui est publié ne se reprend pas",
                ),
                fix: text!(
                    "list every field in `when.fields_within = {{ count = \"number\", … }}`",
                    "énumérer tous les champs dans `when.fields_within = {{ count = \"number\", … }}`",
                ),
                witness: Some(Witness { text, given, at: None }),
            },
        );
    };
    let mut short = Vec::new();
    for (name, kind) in fields {
        match kind {
            LeafType::Named(LeafTypeName::Text) => {
                let given = report.replayed(document, with_a_plate(rule, name, document, cog), shows);
                report.error(Code::C28, free_text(rule, name, given));
            }
            LeafType::Named(LeafTypeName::Token | LeafTypeName::Raw) => short.push((name.as_str(), kind)),
            LeafType::Named(LeafTypeName::Number | LeafTypeName::Boolean | LeafTypeName::Time)
            | LeafType::In { .. } => {}
        }
    }
    let Some((first, _)) = short.first() else { return };
    // What a frame holds, no abstract message can say.
    let token = short.iter().find(|(_, kind)| **kind == LeafType::Named(LeafTypeName::Token));
    let given =
        token.and_then(|(name, _)| report.replayed(document, with_a_plate(rule, name, document, cog), shows));
    let named = token.map_or(*first, |(name, _)| name);
    let names = short.iter().map(|(name, _)| *name).collect::<Vec<_>>().join("`, `");
    let said = Said {
        subject: id,
        at: rule.at_key(&format!("when.fields_within.{first}")),
        message: text!(
            "rule `{id}` is `open` with a word or a raw frame in `{names}`",
            "la règle `{id}` est à `open` avec un mot ou une trame brute dans `{names}`",
        ),
        why: text!(
            "a short word can hold a plate, a frame can hold anything",
            "un mot court peut contenir une plaque, une trame n'importe quoi",
        ),
        fix: text!(
            "write `{{ in = [\"…\"] }}` with its words, or acknowledge it",
            "écrire `{{ in = [\"…\"] }}` avec ses mots, ou l'accepter par écrit",
        ),
        witness: Some(Witness { text: holding_a_plate(named), given, at: None }),
    };
    report.warning(Code::C28, said);
}

fn free_text<'a>(rule: &'a Block<Classify>, name: &str, given: Option<Given>) -> Said<'a> {
    let id = &rule.id;
    Said {
        subject: id,
        at: rule.at_key(&format!("when.fields_within.{name}")),
        message: text!(
            "rule `{id}` is `open` with free text in `{name}`",
            "la règle `{id}` est à `open` avec du texte libre dans `{name}`",
        ),
        why: text!(
            "text can hold anything: a plate, a name, a JSON of its own",
            "un texte peut contenir n'importe quoi : une plaque, un nom, un JSON entier",
        ),
        fix: text!(
            "write `{{ in = [\"…\"] }}` with its words, or raise the level",
            "écrire `{{ in = [\"…\"] }}` avec ses mots, ou relever le niveau",
        ),
        witness: Some(Witness { text: holding_a_plate(name), given, at: None }),
    }
}

fn holding_a_plate(name: &str) -> Text {
    text!(
        "a message with `{name} = \"AB-123-CD\"` is `open`",
        "un message avec `{name} = \"AB-123-CD\"` est `open`",
    )
}

/// Messages that the rule should match, with nothing in them but a plate in that field.
fn with_a_plate<'a>(
    rule: &'a Classify,
    name: &'a str,
    document: &'a Document,
    cog: Option<&'a Cog>,
) -> impl Iterator<Item = Given> {
    matching(rule, &[], document, cog).map(move |given| {
        let plate = (name.to_owned(), Value::Text("AB-123-CD".to_owned()));
        Given { fields: Some(GivenFields::Values([plate].into())), ..given }
    })
}

fn unclassified(source: &Block<Source>, document: &Document, cog: Option<&Cog>, report: &mut Report) {
    for (ix, filter) in source.topics.iter().enumerate() {
        let reaches = |domain: &String| {
            document.classify.iter().any(|rule| can_match(rule, source, filter, domain, document, cog))
        };
        let missing: Vec<&str> =
            source.domains.iter().filter(|domain| !reaches(domain)).map(String::as_str).collect();
        let Some(domain) = missing.first() else { continue };
        let filters = std::slice::from_ref(filter);
        let order = Order { filters, ..Order::new(document, cog, source, domain, Vec::new()) };
        let shows = |_: &Policy, decision: &Decision<'_>| {
            decision.outcome == Outcome::Quarantined(Reason::NoRuleMatches)
        };
        let given = report.replayed(document, order.proposals(), shows);
        let topic = match &given {
            Some(given) => given.topic.clone(),
            None => filter.replace(['#', '+'], "x"),
        };
        let id = &source.id;
        let domains = missing.join("`, `");
        let text = text!(
            "a message of source `{id}` to `{topic}`, domain `{domain}`, is quarantined",
            "un message de la source `{id}` sur `{topic}`, métier `{domain}`, est mis en quarantaine",
        );
        report.warning(
            Code::C27,
            Said {
                subject: id,
                at: source.at_key(&format!("topics.{ix}")),
                message: text!(
                    "no rule can classify what source `{id}` sends to `{filter}` for `{domains}`",
                    "aucune règle ne peut classer ce que la source `{id}` envoie sur `{filter}` pour `{domains}`",
                ),
                why: text!(
                    "every such message would be quarantined: `no_rule_matches`",
                    "tous ces messages seraient mis en quarantaine : `no_rule_matches`",
                ),
                fix: text!(
                    "add a rule for it, or take the topic or the domain from the source",
                    "ajouter une règle, ou retirer le sujet ou le métier à la source",
                ),
                witness: Some(Witness { text, given, at: None }),
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
    reach(rule, source, document, cog).is_none_or(|communes| !communes.is_empty())
}

/// The communes of a source's messages; `None`: its perimeter is not known.
fn territory(source: &Source, document: &Document, cog: &Cog) -> Option<CommuneSet> {
    let perimeter = perimeter(&source.perimeter, document, cog)?;
    Some(match &source.commune {
        Some(code) => perimeter.intersection(&cog.commune(code).into_iter().collect()),
        None => perimeter,
    })
}

fn perimeter(id: &str, document: &Document, cog: &Cog) -> Option<CommuneSet> {
    document.perimeter.iter().find(|block| block.id == id).map(|block| cog.perimeter(block))
}

/// Those of them that a rule looks at.
fn reach(rule: &Classify, source: &Source, document: &Document, cog: &Cog) -> Option<CommuneSet> {
    let mut reach = territory(source, document, cog)?;
    if let Some(codes) = &rule.when.commune {
        let listed = codes.as_slice().iter().filter_map(|code| cog.commune(code)).collect();
        reach = reach.intersection(&listed);
    }
    if let Some(ids) = &rule.when.perimeter {
        let named = ids.as_slice().iter().filter_map(|id| perimeter(id, document, cog));
        reach = reach.intersection(&named.fold(CommuneSet::new(), |all, set| all.union(&set)));
    }
    Some(reach)
}
