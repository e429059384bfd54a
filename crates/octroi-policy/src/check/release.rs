//! What leaves, and what must be able to come back. C31: nothing that leaves
//! returns as a device's message or as an order to a device. C32: what is open
//! is published somewhere. C38: what is hosted can be taken elsewhere.
//!
//! C31 compares names: where a copy or a space publishes (`rewrite_topic`,
//! else its namespace) with what sources may send, and with the topics on which
//! devices take orders. A namespace is compared by its first level only with
//! filters that name theirs: one that begins with a wildcard takes every
//! namespace there is, and would accuse each policy.

use std::collections::BTreeMap;

use super::approval::says_something;
use super::rules::orders;
use super::{Report, Said};
use crate::ast::{Block, Copy, Document, Given, RuleLevel, Source, Step, Target, TargetKind};
use crate::text::text;
use crate::witness::topic_under;
use crate::{Code, Cog, Level, Location, Text, Witness, topic};

/// Where devices of the known formats take orders.
const ORDERS: [&str; 9] = [
    "application/+/device/+/command/#",
    "v3/+/devices/+/down/#",
    "spBv1.0/+/NCMD/#",
    "spBv1.0/+/DCMD/#",
    "zigbee2mqtt/+/set/#",
    "zigbee2mqtt/bridge/request/#",
    "cmnd/#",
    "+/rpc",
    "shellies/+/+/+/command",
];

pub(super) fn check(document: &Document, cog: Option<&Cog>, report: &mut Report) {
    for copy in &document.copy {
        copied_back(copy, document, report);
    }
    for space in &document.space {
        let (namespace, key) = match &space.namespace {
            Some(namespace) => (namespace, "namespace"),
            None => (&space.id, "id"),
        };
        published_back(&space.id, namespace, space.at_key(key), document, report);
    }
    if document.unread.is_empty() {
        unpublished(document, cog, report);
    }
    document.target.iter().for_each(|target| captive(target, report));
}

fn copied_back(copy: &Block<Copy>, document: &Document, report: &mut Report) {
    let transform = document.transform.iter().find(|block| Some(&block.id) == copy.transform.as_ref());
    let rewritten = transform.into_iter().flat_map(|transform| {
        let steps = transform.steps.iter().enumerate();
        steps.filter_map(move |(ix, step)| {
            let Step::RewriteTopic { to } = step else { return None };
            Some((to, transform.at_key(&format!("steps.{ix}.to"))))
        })
    });
    let Some((to, at)) = rewritten.last() else {
        return published_back(&copy.id, &copy.id, copy.at_key("id"), document, report);
    };
    for domain in &copy.domains {
        let filter: Vec<String> = to
            .split('/')
            .map(|level| match level.replace("{domain}", domain).replace("{copy}", &copy.id) {
                level if level.contains('{') => "+".to_owned(),
                level => level,
            })
            .collect();
        let filter = filter.join("/");
        let orders = ORDERS.iter().find(|orders| topic::overlaps(orders, &filter));
        if let Some(topic) = orders.and_then(|orders| topic::common(orders, &filter)) {
            return order(&copy.id, &topic, at, report);
        }
        let sent = |source: &&Block<Source>| source.topics.iter().any(|sent| topic::overlaps(sent, &filter));
        if let Some(source) = document.source.iter().find(sent) {
            return comes_back(&copy.id, &filter, source, at, report);
        }
    }
}

fn published_back(id: &str, namespace: &str, at: Location, document: &Document, report: &mut Report) {
    let below = format!("{namespace}/#");
    let first = |filter: &str| filter.split('/').next().map(str::to_owned);
    let sends = |source: &&Block<Source>| {
        let mut topics = source.topics.iter();
        topics.any(|sent| first(sent) == first(namespace) && topic::overlaps(sent, &below))
    };
    let orders =
        ORDERS.iter().find(|orders| first(orders) == first(namespace) && topic::overlaps(orders, &below));
    if let Some(topic) = orders.and_then(|orders| topic::common(orders, &below)) {
        order(id, &topic, at, report);
    } else if let Some(source) = document.source.iter().find(sends) {
        comes_back(id, &below, source, at, report);
    }
}

fn why_path() -> Text {
    text!(
        "a way back makes the hub's own data a device's message, or an order: data goes out, nothing comes back",
        "un chemin de retour fait des données du hub un message d'appareil, ou un ordre : les données sortent, rien ne revient"
    )
}

fn order(id: &str, topic: &str, at: Location, report: &mut Report) {
    report.error(
        Code::C31,
        Said {
            subject: id,
            at,
            message: text!(
                "`{id}` publishes where devices take orders: `{topic}`",
                "`{id}` publie là où des appareils reçoivent des ordres : `{topic}`"
            ),
            why: why_path(),
            fix: text!(
                "publish under a name of its own, as \"b/{{domain}}/{{commune}}\"",
                "publier sous un nom propre, comme \"b/{{domain}}/{{commune}}\""
            ),
            witness: Some(Witness::from(text!("the topic `{topic}`", "le sujet `{topic}`"))),
        },
    );
}

fn comes_back(id: &str, published: &str, source: &Block<Source>, at: Location, report: &mut Report) {
    let met = source.topics.iter().find_map(|sent| topic::common(sent, published));
    let topic =
        met.and_then(|met| topic_under(&met, &BTreeMap::new())).unwrap_or_else(|| published.to_owned());
    let name = &source.id;
    let given = Given { source: name.clone(), topic: topic.clone(), ..Given::default() };
    report.error(
        Code::C31,
        Said {
            subject: id,
            at,
            message: text!(
                "`{id}` publishes to `{published}`, which source `{name}` may send",
                "`{id}` publie vers `{published}`, que la source `{name}` peut envoyer"
            ),
            why: why_path(),
            fix: text!(
                "give it a name that no source's `topics` begins with",
                "lui donner un nom par lequel ne commencent les `topics` d'aucune source"
            ),
            witness: Some(Witness {
                text: text!(
                    "`{topic}` would be taken from `{name}` as its own",
                    "`{topic}` serait reçu de `{name}` comme le sien"
                ),
                given: Some(given),
                at: None,
            }),
        },
    );
}

/// C32: rules at `open`, and where their domain is published.
fn unpublished(document: &Document, cog: Option<&Cog>, report: &mut Report) {
    let is_portal = |id: &String| {
        let target = document.target.iter().find(|target| target.id == *id);
        target.is_some_and(|target| target.kind == TargetKind::OpenDataPortal)
    };
    let published = |domain: &str| {
        let serves = |domains: &[String]| domains.iter().any(|id| id == domain);
        document.copy.iter().any(|copy| serves(&copy.domains) && is_portal(&copy.to))
            || document.space.iter().any(|space| serves(&space.domains) && is_portal(&space.target))
    };
    let floor = |source: &Source| {
        let producer = document.producer.iter().find(|producer| producer.siren == source.producer);
        source.floor.max(producer.and_then(|producer| producer.floor)).unwrap_or(Level::Open)
    };
    for rule in document.classify.iter().filter(|rule| rule.level == RuleLevel::Open) {
        let mut open = orders(document, cog, rule).filter(|order| floor(order.source) == Level::Open);
        let Some(order) = open.find(|order| !published(order.domain)) else { continue };
        let (id, domain, source) = (&rule.id, order.domain, &order.source.id);
        let given = report.replayed(document, order.proposals(), |_, decision| {
            decision.is_labelled() && decision.label.level == Level::Open
        });
        report.warning(
            Code::C32,
            Said {
                subject: id,
                at: rule.at_key("level"),
                message: text!(
                    "what rule `{id}` finds open is published nowhere (`{domain}`)",
                    "ce que la règle `{id}` reconnaît ouvert n'est publié nulle part (`{domain}`)"
                ),
                why: text!(
                    "what a public body holds and may publish is due to the public (CRPA L.312-1-1)",
                    "ce qu'une personne publique détient et peut publier est dû au public (CRPA L.312-1-1)"
                ),
                fix: text!(
                    "add a target of kind open_data_portal and a copy to it, or acknowledge it with the reason",
                    "ajouter une cible de type open_data_portal et une copie vers elle, ou l'accepter avec son motif"
                ),
                witness: Some(Witness {
                    text: text!(
                        "a message of `{source}` is open and reaches no portal",
                        "un message de `{source}` est ouvert et n'atteint aucun portail",
                    ),
                    given,
                    at: None,
                }),
            },
        );
    }
}

fn captive(target: &Block<Target>, report: &mut Report) {
    if target.reversibility.as_deref().is_some_and(says_something) {
        return;
    }
    let id = &target.id;
    report.warning(
        Code::C38,
        Said {
            subject: id,
            at: target.at_key("reversibility"),
            message: text!("`{id}` has no reversibility clause", "`{id}` n'a pas de clause de réversibilité"),
            why: text!(
                "data that cannot be taken back decides who hosts it next time",
                "des données qui ne se reprennent pas décident du prochain hébergeur"
            ),
            fix: text!(
                "write reversibility = \"…\": the clause of the contract, formats and delay of restitution",
                "écrire reversibility = \"…\" : la clause du contrat, les formats et le délai de restitution"
            ),
            witness: None,
        },
    );
}
