//! C03: every name refers to something. C04: everything is referred to.

use std::collections::{BTreeMap, BTreeSet};

use super::{Report, Said};
use crate::ast::{Block, Document, Unread, When};
use crate::parse::{keyed, suggestion};
use crate::text::text;
use crate::{Code, Location};

pub(super) fn check(document: &Document, report: &mut Report) {
    let mut names = Names { defined: definitions(document), used: BTreeMap::new(), report };
    names.hosting(document);
    names.sources(document);
    names.rules(document);
    names.tests(document);
    let used = names.used;
    if document.unread.is_empty() {
        unused(document, &used, report);
    }
}

type Defined<'a> = BTreeMap<&'static str, BTreeSet<&'a str>>;

fn definitions(document: &Document) -> Defined<'_> {
    let mut defined = Defined::new();
    fn ids<'a, T>(blocks: &'a [Block<T>], id: impl Fn(&'a T) -> &'a str) -> BTreeSet<&'a str> {
        blocks.iter().map(|block| id(&block.value)).collect()
    }
    defined.insert("producer", ids(&document.producer, |b| &b.siren));
    defined.insert("perimeter", ids(&document.perimeter, |b| &b.id));
    defined.insert("domain", ids(&document.domain, |b| &b.id));
    defined.insert("target", ids(&document.target, |b| &b.id));
    defined.insert("space", ids(&document.space, |b| &b.id));
    defined.insert("source", ids(&document.source, |b| &b.id));
    defined.insert("processing", ids(&document.processing, |b| &b.id));
    defined.insert("requirement", ids(&document.requirement, |b| &b.id));
    defined.insert("transform", ids(&document.transform, |b| &b.id));
    defined.insert("copy", ids(&document.copy, |b| &b.id));
    if document.unread.iter().any(|unread| unread.block == Unread::UNKNOWN) {
        defined.values_mut().for_each(|names| {
            names.insert(ANY);
        });
    }
    for unread in &document.unread {
        let names = defined.entry(unread.block).or_default();
        // Without its id, it may be any of them.
        names.insert(unread.id.as_deref().unwrap_or(ANY));
    }
    defined
}

/// No id is empty: this one stands for every name.
const ANY: &str = "";

struct Names<'a, 'r> {
    defined: Defined<'a>,
    used: Defined<'a>,
    report: &'r mut Report,
}

impl<'a> Names<'a, '_> {
    fn refer(&mut self, block: &'static str, name: &'a str, subject: &str, at: Location) {
        self.used.entry(block).or_default().insert(name);
        self.must_exist(block, name, subject, at);
    }

    fn must_exist(&mut self, block: &'static str, name: &str, subject: &str, at: Location) {
        let none = BTreeSet::new();
        let defined = self.defined.get(block).unwrap_or(&none);
        if defined.contains(name) || defined.contains(ANY) {
            return;
        }
        self.report.error(
            Code::C03,
            Said {
                subject,
                at,
                message: text!(
                    "`{name}` is no `{block}` of this policy",
                    "`{name}` n'est défini par aucun bloc `{block}` de cette politique",
                ),
                why: text!(
                    "a reference to nothing would silently match nothing",
                    "une référence à rien ne correspondrait à rien, sans que personne ne le voie",
                ),
                fix: suggestion(name, defined.iter().copied()),
                witness: Some(
                    text!(
                        "`{subject}` names `{name}`, and no `[[{block}]]` has that id",
                        "`{subject}` nomme `{name}`, et aucun `[[{block}]]` ne porte cet identifiant",
                    )
                    .into(),
                ),
            },
        );
    }

    fn hosting(&mut self, document: &'a Document) {
        let defaults = &document.defaults;
        if defaults.at.line > 0 {
            let at = defaults.at_key("quarantine_target");
            self.refer("target", &defaults.quarantine_target, "defaults", at);
        }
        for space in &document.space {
            self.refer("perimeter", &space.perimeter, &space.id, space.at_key("perimeter"));
            self.refer("target", &space.target, &space.id, space.at_key("target"));
            self.domains(space, &space.domains, &space.id);
            self.used.entry("producer").or_default().insert(&space.managed_by);
        }
        for processing in &document.processing {
            self.used.entry("producer").or_default().insert(&processing.controller);
        }
        for block in &document.derogation {
            self.refer("requirement", &block.requirement, &block.requirement, block.at_key("requirement"));
            if let Some(source) = &block.scope.source {
                self.refer("source", source, &block.requirement, block.at_key("scope.source"));
            }
            if let Some(space) = &block.scope.space {
                self.refer("space", space, &block.requirement, block.at_key("scope.space"));
            }
        }
        for block in &document.invariant {
            for (key, target) in block.never.target.iter().flat_map(|names| keyed("never.target", names)) {
                // A guarantee about a target does not put it to use.
                self.must_exist("target", target, &block.id, block.at_key(&key));
            }
        }
    }

    fn domains<T>(&mut self, block: &'a Block<T>, domains: &'a [String], subject: &str) {
        for (ix, domain) in domains.iter().enumerate() {
            self.refer("domain", domain, subject, block.at_key(&format!("domains.{ix}")));
        }
    }

    fn sources(&mut self, document: &'a Document) {
        for source in &document.source {
            self.refer("producer", &source.producer, &source.id, source.at_key("producer"));
            self.refer("perimeter", &source.perimeter, &source.id, source.at_key("perimeter"));
            self.domains(source, &source.domains, &source.id);
        }
    }

    fn rules(&mut self, document: &'a Document) {
        for rule in &document.classify {
            self.when(rule, &rule.when, &rule.id);
            if let Some(processing) = &rule.processing {
                self.refer("processing", processing, &rule.id, rule.at_key("processing"));
            }
        }
        for copy in &document.copy {
            self.domains(copy, &copy.domains, &copy.id);
            self.refer("target", &copy.to, &copy.id, copy.at_key("to"));
            if let Some(when) = &copy.when {
                self.when(copy, when, &copy.id);
            }
            if let Some(transform) = &copy.transform {
                self.refer("transform", transform, &copy.id, copy.at_key("transform"));
            }
            if let Some(processing) = &copy.processing {
                self.refer("processing", processing, &copy.id, copy.at_key("processing"));
            }
        }
    }

    fn when<T>(&mut self, block: &'a Block<T>, when: &'a When, subject: &str) {
        for (kind, path, names) in [
            ("source", "when.source", &when.source),
            ("producer", "when.producer", &when.producer),
            ("domain", "when.domain", &when.domain),
            ("perimeter", "when.perimeter", &when.perimeter),
        ] {
            for (key, name) in names.iter().flat_map(|names| keyed(path, names)) {
                self.refer(kind, name, subject, block.at_key(&key));
            }
        }
    }

    /// What only a test names is not in use.
    fn tests(&mut self, document: &Document) {
        for test in &document.test {
            let subject = &test.name;
            self.must_exist("source", &test.given.source, subject, test.at_key("given.source"));
            if let Some(space) = &test.expect.space {
                self.must_exist("space", space, subject, test.at_key("expect.space"));
            }
            if let Some(target) = &test.expect.target {
                self.must_exist("target", target, subject, test.at_key("expect.target"));
            }
            for (ix, copy) in test.expect.copies.iter().flatten().enumerate() {
                self.must_exist("copy", copy, subject, test.at_key(&format!("expect.copies.{ix}")));
            }
            for (ix, target) in test.expect.must_not_reach.iter().enumerate() {
                self.must_exist(
                    "target",
                    target,
                    subject,
                    test.at_key(&format!("expect.must_not_reach.{ix}")),
                );
            }
        }
    }
}

fn unused(document: &Document, used: &Defined<'_>, report: &mut Report) {
    let mut unused = |block: &'static str, id: &str, at: Location| {
        if used.get(block).is_some_and(|names| names.contains(id)) {
            return;
        }
        report.warning(
            Code::C04,
            Said {
                subject: id,
                at,
                message: text!(
                    "`{block}` `{id}` is defined and never used",
                    "`{block}` `{id}` est défini et jamais utilisé",
                ),
                why: text!(
                    "what nothing uses protects nothing, and may be a misspelt use",
                    "ce que rien n'utilise ne protège rien, et cache peut-être une faute de frappe ailleurs",
                ),
                fix: text!("use it, or take it away", "l'utiliser, ou le retirer"),
                witness: None,
            },
        );
    };
    document.producer.iter().for_each(|b| unused("producer", &b.siren, b.at_key("siren")));
    document.perimeter.iter().for_each(|b| unused("perimeter", &b.id, b.at_key("id")));
    document.domain.iter().for_each(|b| unused("domain", &b.id, b.at_key("id")));
    document.target.iter().for_each(|b| unused("target", &b.id, b.at_key("id")));
    document.processing.iter().for_each(|b| unused("processing", &b.id, b.at_key("id")));
    document.transform.iter().for_each(|b| unused("transform", &b.id, b.at_key("id")));
}
