//! What a copy takes with it when the message is about a person. C18: no
//! identifier in the topic or the metadata. C19: to a cloud or a portal, only
//! what a list names (`keep_only`), or an aggregate.
//!
//! A copy is concerned if one rule, with the floors of a source that it can
//! match, gives a label about a person that the copy admits. One rule is
//! enough: a copy admits no join that it does not admit in parts. What the
//! target may have is left aside, so that a requirement taken away some day
//! does not open what nobody looked at.
//!
//! C18 asks for a `rewrite_topic` even where today's hub would write the copy's
//! id by itself: who reads the policy sees what the topic becomes.

use super::personal::{about_a_person, label_of};
use super::rules::orders;
use super::{Report, Said};
use crate::ast::{Block, Copy, Document, Given, RuleLevel, Source, Step, TargetKind, Transform};
use crate::place::Effect;
use crate::text::text;
use crate::{Code, Cog, Decision, Label, Level, Location, Marking, Policy, Text, Witness, same_name};

pub(super) fn check(document: &Document, cog: Option<&Cog>, report: &mut Report) {
    for copy in &document.copy {
        let transform = copy.transform.as_ref();
        let transform = transform.map(|id| document.transform.iter().find(|block| block.id == *id));
        // An undefined transform is C03's: nothing can be said of the copy.
        if transform == Some(None) {
            continue;
        }
        let leak = Leak { copy, transform: transform.flatten(), document };
        if let Some(taken) = leak.takes_persons(cog, report) {
            leak.identifier(&taken, report);
            leak.everything(&taken, report);
        }
    }
}

struct Leak<'d> {
    copy: &'d Block<Copy>,
    transform: Option<&'d Block<Transform>>,
    document: &'d Document,
}

/// A message about a person that the copy is meant for; a requirement may still stop it.
struct Taken<'d> {
    label: Label,
    source: &'d Source,
    given: Option<Given>,
}

impl<'d> Leak<'d> {
    fn takes_persons(&self, cog: Option<&'d Cog>, report: &Report) -> Option<Taken<'d>> {
        let rules = self.document.classify.iter().filter(|rule| rule.level != RuleLevel::Declared);
        let effect = self.transform.map(|transform| Effect::of(transform));
        let admitted = |label| {
            let left = effect.as_ref().map_or(Ok(label), |effect| effect.on(label, None));
            left.is_ok_and(|left| left.level <= self.copy.max_level)
        };
        rules.into_iter().find_map(|rule| {
            orders(self.document, cog, rule).find_map(|mut order| {
                let source = order.source;
                let label = label_of(rule).join(self.floor(source, order.domain));
                let concerned = self.copy.domains.iter().any(|id| id == order.domain)
                    && self.may_apply(source, order.domain)
                    && about_a_person(label)
                    && admitted(label);
                order.conditions.extend(&self.copy.when);
                let shows = |_: &Policy, decision: &Decision<'_>| decision.label == label;
                let given = || report.replayed(self.document, order.proposals(), shows);
                concerned.then(|| Taken { label, source, given: given() })
            })
        })
    }

    /// Whether the copy's own condition leaves that source and domain.
    fn may_apply(&self, source: &Source, domain: &str) -> bool {
        let Some(when) = &self.copy.when else { return true };
        let names = |list: &Option<crate::ast::OneOrMany<String>>, name: &str| {
            list.as_ref().is_none_or(|list| list.as_slice().iter().any(|other| other == name))
        };
        names(&when.source, &source.id)
            && names(&when.producer, &source.producer)
            && names(&when.domain, domain)
            && when.format.as_ref().is_none_or(|list| list.as_slice().contains(&source.format))
    }

    fn floor(&self, source: &Source, domain: &str) -> Label {
        let producer = self.document.producer.iter().find(|producer| producer.siren == source.producer);
        let floors = source.floor.into_iter().chain(producer.and_then(|producer| producer.floor));
        let domain = self.document.domain.iter().find(|block| block.id == domain);
        let essential = domain.is_some_and(|domain| domain.essential_service);
        Label {
            level: floors.max().unwrap_or(Level::Open),
            markings: essential.then_some(Marking::EssentialService).into_iter().collect(),
        }
    }

    fn steps(&self) -> impl Iterator<Item = (usize, &'d Step)> {
        self.transform.into_iter().flat_map(|transform| transform.steps.iter().enumerate())
    }

    fn tell(
        &self,
        code: Code,
        at: Location,
        [message, why, fix]: [Text; 3],
        taken: &Taken<'_>,
        report: &mut Report,
    ) {
        let text = text!(
            "a message of `{source}`, {label}, that the copy is meant for",
            "un message de `{source}`, {label}, auquel la copie est destinée",
            source = taken.source.id,
            label = taken.label,
        );
        let witness = Some(Witness { text, given: taken.given.clone(), at: None });
        report.error(code, Said { subject: &self.copy.id, at, message, why, fix, witness });
    }

    /// C18.
    fn identifier(&self, taken: &Taken<'_>, report: &mut Report) {
        let id = &self.copy.id;
        let Some(transform) = self.transform else {
            let message = text!(
                "copy `{id}` sends messages about persons under their own topic and device",
                "la copie `{id}` envoie des messages sur des personnes sous leur propre sujet et leur appareil"
            );
            let fix = text!(
                "give it a transform with `keep_only`, `pseudonymise` and `rewrite_topic`, or lower its `max_level`",
                "lui donner une transformation avec `keep_only`, `pseudonymise` et `rewrite_topic`, ou abaisser son `max_level`"
            );
            let at = self.copy.at_key("transform");
            return self.tell(Code::C18, at, [message, why_identifier(), fix], taken, report);
        };
        let name = &transform.id;
        let mut rewritten = false;
        for (ix, step) in self.steps() {
            if let Step::RewriteTopic { to } = step {
                rewritten = true;
                self.device_in_topic(transform, (ix, to), taken, report);
            } else if let Step::KeepOnly { fields } = step {
                self.device_kept(transform, (ix, fields), taken, report);
            }
        }
        if !rewritten {
            let message = text!(
                "transform `{name}` of copy `{id}` does not say what the topic becomes",
                "la transformation `{name}` de la copie `{id}` ne dit pas ce que devient le sujet"
            );
            let fix = text!(
                "add a step {{ op = \"rewrite_topic\", to = \"{{copy}}/{{domain}}\" }}",
                "ajouter une étape {{ op = \"rewrite_topic\", to = \"{{copy}}/{{domain}}\" }}"
            );
            let at = transform.at_key("steps");
            self.tell(Code::C18, at, [message, why_identifier(), fix], taken, report);
        }
    }

    fn pseudonymises(&self, name: &str) -> bool {
        self.steps()
            .any(|(_, step)| matches!(step, Step::Pseudonymise { field, .. } if same_name(field, name)))
    }

    fn device_in_topic(
        &self,
        transform: &Block<Transform>,
        (ix, to): (usize, &str),
        taken: &Taken<'_>,
        report: &mut Report,
    ) {
        if !to.contains("{device}") || self.pseudonymises("device") {
            return;
        }
        let (id, name) = (&self.copy.id, &transform.id);
        let message = text!(
            "transform `{name}` of copy `{id}` puts `{{device}}` into the topic, and nothing pseudonymises it",
            "la transformation `{name}` de la copie `{id}` met `{{device}}` dans le sujet, et rien ne le pseudonymise"
        );
        let fix = text!(
            "add a step `pseudonymise` with field = \"device\", or take `{{device}}` from the topic",
            "ajouter une étape `pseudonymise` avec field = \"device\", ou retirer `{{device}}` du sujet"
        );
        let at = transform.at_key(&format!("steps.{ix}.to"));
        self.tell(Code::C18, at, [message, why_identifier(), fix], taken, report);
    }

    /// The list keeps the field in which the source names the device.
    fn device_kept(
        &self,
        transform: &Block<Transform>,
        (ix, fields): (usize, &[String]),
        taken: &Taken<'_>,
        report: &mut Report,
    ) {
        let from = taken.source.device_from.as_deref();
        let Some(path) = from.and_then(|from| from.strip_prefix("field:")) else { return };
        let Some(at) = fields.iter().position(|field| same_name(path, field)) else { return };
        // The pseudonym of the device replaces it wherever it stands.
        if self.pseudonymises(path) || self.pseudonymises("device") {
            return;
        }
        let (id, name) = (&self.copy.id, &transform.id);
        let message = text!(
            "transform `{name}` of copy `{id}` keeps `{path}`, which names the device",
            "la transformation `{name}` de la copie `{id}` conserve `{path}`, qui nomme l'appareil"
        );
        let fix = text!(
            "pseudonymise `{path}`, or take it from the list",
            "pseudonymiser `{path}`, ou le retirer de la liste"
        );
        let at = transform.at_key(&format!("steps.{ix}.fields.{at}"));
        self.tell(Code::C18, at, [message, why_identifier(), fix], taken, report);
    }

    /// C19.
    fn everything(&self, taken: &Taken<'_>, report: &mut Report) {
        let Some(target) = self.document.target.iter().find(|target| target.id == self.copy.to) else {
            return;
        };
        let away = match target.kind {
            TargetKind::TrustedCloud | TargetKind::CommercialCloud | TargetKind::OpenDataPortal => true,
            TargetKind::LocalRoom | TargetKind::PublicDc => false,
        };
        let chosen =
            |(_, step): (usize, &Step)| matches!(step, Step::KeepOnly { .. } | Step::Aggregate { .. });
        if !away || self.steps().any(chosen) {
            return;
        }
        let (id, to) = (&self.copy.id, &self.copy.to);
        let at = match self.transform {
            Some(transform) => transform.at_key("steps"),
            None => self.copy.at_key("to"),
        };
        let message = text!(
            "copy `{id}` sends every field of messages about persons to `{to}`",
            "la copie `{id}` envoie à `{to}` tous les champs de messages sur des personnes"
        );
        let why = text!(
            "a list of what to drop cannot know the field that tomorrow's firmware adds; a list of what to keep can",
            "une liste de ce qui s'enlève ne connaît pas le champ qu'ajoutera le prochain micrologiciel ; une liste de ce qui se garde, si"
        );
        let fix = text!(
            "add a step {{ op = \"keep_only\", fields = [\"…\"] }} or an `aggregate`",
            "ajouter une étape {{ op = \"keep_only\", fields = [\"…\"] }} ou un `aggregate`"
        );
        self.tell(Code::C19, at, [message, why, fix], taken, report);
    }
}

fn why_identifier() -> Text {
    text!(
        "topics and keys carry device identifiers: who has them knows whose message it is",
        "sujets et clés portent l'identifiant de l'appareil : qui les a sait de qui vient le message"
    )
}
