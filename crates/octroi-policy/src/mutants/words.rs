//! What is said of mutants, in both languages: the proof that one changes
//! nothing, one line for a terminal, a finding for `check`'s readers.

use super::equivalence::Equal;
use super::{Fate, Killer, MOST_CELLS, MOST_PROTECTIONS, Mutant};
use crate::ast::Document;
use crate::text::text;
use crate::{Code, Finding, Severity, Text};

impl Mutant {
    /// One line: what became of it, its id, and who notices or why nobody must.
    #[must_use]
    pub fn in_words(&self) -> Text {
        let id = &self.id;
        let joined = |word: Text, detail: &Text| Text {
            en: format!("{:<11} {id}: {}", word.en, detail.en),
            fr: format!("{:<11} {id} : {}", word.fr, detail.fr),
        };
        match &self.fate {
            Fate::Killed { by } => joined(text!("killed", "détecté"), &noticed_by(by)),
            Fate::Equivalent { proof } => joined(text!("equivalent", "équivalent"), proof),
            Fate::Accepted { by, because, expires } => {
                joined(text!("accepted", "accepté"), &on_record(by, &expires.to_string(), because))
            }
            Fate::Survived => {
                let (what, at) = (&self.what, &self.location);
                let detail = Text { en: format!("{} ({at})", what.en), fr: format!("{} ({at})", what.fr) };
                joined(text!("SURVIVED", "SURVIT"), &detail)
            }
        }
    }

    /// How many there are of each fate.
    #[must_use]
    pub fn summary(mutants: &[Self]) -> Text {
        let count = |is: fn(&Fate) -> bool| mutants.iter().filter(|mutant| is(&mutant.fate)).count();
        let all = mutants.len();
        let killed = count(|fate| matches!(fate, Fate::Killed { .. }));
        let equivalent = count(|fate| matches!(fate, Fate::Equivalent { .. }));
        let accepted = count(|fate| matches!(fate, Fate::Accepted { .. }));
        let survived = count(|fate| matches!(fate, Fate::Survived));
        text!(
            "{all} protections removed: {killed} noticed, {equivalent} change nothing, {accepted} accepted, {survived} survived",
            "{all} protections retirées : {killed} retraits remarqués, {equivalent} sans effet, {accepted} acceptés, {survived} inaperçus"
        )
    }
}

fn noticed_by(by: &[Killer]) -> Text {
    let Some(first) = by.first() else { return Text::default() };
    let first = match first {
        Killer::Test(name) => text!("test “{name}”", "essai « {name} »"),
        Killer::Invariant(id) => text!("invariant `{id}`", "garantie `{id}`"),
        Killer::Check(code) => text!("check {code}", "contrôle {code}"),
    };
    match by.len() - 1 {
        0 => first,
        more => Text {
            en: format!("{} (and {more} more)", first.en),
            fr: format!("{} (et {more} de plus)", first.fr),
        },
    }
}

fn on_record(by: &str, expires: &str, because: &str) -> Text {
    text!("accepted by {by} until {expires}: {because}", "accepté par {by} jusqu'au {expires} : {because}")
}

/// How it was proved that nothing is decided otherwise.
pub(super) fn of_equal(equal: &Equal, demand: bool) -> Text {
    let Equal { cells, flows, labels, instead } = equal;
    let names = instead.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let dominated = match (names.is_empty(), demand) {
        (false, _) => text!("dominated by {names}", "dominé par {names}"),
        (true, true) => text!(
            "every target of this policy that it concerns holds it",
            "tout hébergement de cette politique qu'elle concerne y satisfait"
        ),
        (true, false) => {
            text!("nothing that is decided here depends on it", "rien de ce qui se décide ici n'en dépend")
        }
    };
    let counted = text!(
        "no difference in {cells} cells, {flows} flows and {labels} reachable decisions",
        "aucune différence dans {cells} cases, {flows} flux et {labels} décisions atteignables"
    );
    Text { en: format!("{}; {}", dominated.en, counted.en), fr: format!("{} ; {}", dominated.fr, counted.fr) }
}

/// What an invariant is worth: what it notices, and what it alone notices.
pub(super) fn of_invariant(noticed: usize, alone: &[String]) -> Text {
    let names = alone.join(", ");
    match (noticed, alone.is_empty()) {
        (0, _) => text!(
            "an invariant decides nothing; no single removal breaks this one: at least two protections stand before it",
            "une garantie ne décide de rien ; aucun retrait isolé ne rompt celle-ci : au moins deux protections la précèdent"
        ),
        (_, true) => text!(
            "an invariant decides nothing; removals that it notices: {noticed}, each noticed otherwise too",
            "une garantie ne décide de rien ; retraits qu'elle remarque : {noticed}, tous remarqués aussi par ailleurs"
        ),
        (_, false) => text!(
            "an invariant decides nothing; removals that it notices: {noticed}; it alone notices {names}",
            "une garantie ne décide de rien ; retraits qu'elle remarque : {noticed} ; elle est seule à remarquer {names}"
        ),
    }
}

/// What `check` says where it did not look.
pub(super) fn not_looked(document: &Document, protections: usize, cells: u64) -> Finding {
    Finding {
        code: Code::C34,
        severity: Severity::Info,
        location: document.policy.at.clone(),
        message: text!(
            "not looked for here: protections that no test and no invariant would miss",
            "non recherché ici : les protections dont aucun essai et aucune garantie ne remarquerait l'absence"
        ),
        why: text!(
            "{protections} protections, each a review of its own, {cells} cells and flows in all: beyond {MOST_PROTECTIONS} protections or {MOST_CELLS} cells and flows that takes too long for a check",
            "{protections} protections, chacune une revue à part, {cells} cases et flux en tout : au-delà de {MOST_PROTECTIONS} protections ou de {MOST_CELLS} cases et flux, ce serait trop long pour un contrôle"
        ),
        fix: text!(
            "run `octroi policy mutants` before the policy is adopted",
            "lancer `octroi policy mutants` avant l'adoption de la politique"
        ),
        witness: None,
    }
}

/// A survivor, or one that is accepted.
pub(super) fn finding(mutant: &Mutant) -> Option<Finding> {
    let (severity, fix) = match &mutant.fate {
        Fate::Killed { .. } | Fate::Equivalent { .. } => return None,
        Fate::Survived => {
            let id = &mutant.id;
            let fix = text!(
                "add a [[test]] or an [[invariant]] that fails without it, or [[acknowledge]] code = \"C34\", subject = \"{id}\"",
                "ajoutez un [[test]] ou une [[invariant]] qui échoue sans elle, ou [[acknowledge]] code = \"C34\", subject = \"{id}\""
            );
            (Severity::Warning, fix)
        }
        Fate::Accepted { by, because, expires } => {
            (Severity::Info, on_record(by, &expires.to_string(), because))
        }
    };
    let what = &mutant.what;
    Some(Finding {
        code: Code::C34,
        severity,
        location: mutant.location.clone(),
        message: Text {
            en: format!("no test and no invariant would notice: {}", what.en),
            fr: format!("aucun essai et aucune garantie ne le remarquerait : {}", what.fr),
        },
        why: text!(
            "a protection that nobody would miss is lost at the next edit",
            "une protection dont nul ne remarquerait l'absence se perd à la prochaine retouche"
        ),
        fix,
        witness: None,
    })
}
