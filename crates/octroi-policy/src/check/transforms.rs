//! What a transform claims, against what its steps do. C15: only an aggregate
//! lowers. C16: and only by a declassification on record. C17: of enough
//! devices. C20: a pseudonym's key is elsewhere, and changes.
//!
//! The engine gives no effect to a claim that C15 or C16 refuses (see
//! `place.rs`): the check is there so that nobody believes it.
//!
//! Reading of "lowers": the result's level is below the highest level the
//! transform may be applied to, or a marking is removed. An aggregate speaks of
//! many, so it can take away what hangs on one person, and nothing else: the
//! secret of a network stays a secret when its readings are summed. Scope: the
//! highest level (`applies_to.max_level`) and, where markings are removed, the
//! markings it may meet (`only_markings`).

use super::approval::says_something;
use super::personal::is_of_a_person;
use super::rules::orders;
use super::{Report, Said};
use crate::ast::{Block, Declassification, Document, Step, Transform};
use crate::text::text;
use crate::transform::key_reference;
use crate::{Code, Cog, Date, Level, Location, Marking, Text, Witness};

/// Fewer are no group, whatever `k_min` says.
const LEAST_GROUP: u32 = 2;
/// A key older than that is one that does not change.
const ROTATION_DAYS: u64 = 366;

pub(super) fn check(document: &Document, cog: Option<&Cog>, today: Date, report: &mut Report) {
    for transform in &document.transform {
        let claim = Claim { transform, document, cog };
        if claim.aggregates() {
            claim.beyond_an_aggregate(report);
            claim.declassified(today, report);
        } else {
            claim.without_an_aggregate(report);
        }
        claim.groups(report);
        claim.keys(report);
    }
}

struct Claim<'d> {
    transform: &'d Block<Transform>,
    document: &'d Document,
    cog: Option<&'d Cog>,
}

impl Claim<'_> {
    fn aggregates(&self) -> bool {
        self.transform.steps.iter().any(|step| matches!(step, Step::Aggregate { .. }))
    }

    /// The highest level it may be applied to.
    fn highest(&self) -> Level {
        self.transform.applies_to.as_ref().and_then(|scope| scope.max_level).unwrap_or(Level::Restricted)
    }

    fn lowered_to(&self) -> Option<Level> {
        self.transform.result.level.filter(|level| *level < self.highest())
    }

    /// A message that a copy with this transform is meant for; without a valid transform it is not made.
    fn shown(&self, at: Option<Date>, report: &Report) -> Witness {
        let id = &self.transform.id;
        let copy = self.document.copy.iter().find(|copy| copy.transform.as_ref() == Some(id));
        let Some(copy) = copy else {
            let text = text!(
                "transform `{id}`, which no copy uses",
                "transformation `{id}`, qu'aucune copie n'emploie"
            );
            return Witness { text, given: None, at };
        };
        let orders = self.document.classify.iter().flat_map(|rule| orders(self.document, self.cog, rule));
        let concerned = orders.filter(|order| copy.domains.iter().any(|id| id == order.domain));
        let messages = concerned.flat_map(|mut order| {
            order.conditions.extend(&copy.when);
            order.proposals()
        });
        let given = report.replayed(self.document, messages, |_, decision| decision.is_labelled());
        let text = text!(
            "a message that copy `{copy}` is meant for",
            "un message auquel la copie `{copy}` est destinée",
            copy = copy.id,
        );
        Witness { text, given, at }
    }

    /// `on`: the day on which it shows, where that is not any day.
    fn error(
        &self,
        code: Code,
        at: Location,
        [message, why, fix]: [Text; 3],
        on: Option<Date>,
        report: &mut Report,
    ) {
        let witness = Some(self.shown(on, report));
        report.error(code, Said { subject: &self.transform.id, at, message, why, fix, witness });
    }

    fn without_an_aggregate(&self, report: &mut Report) {
        let id = &self.transform.id;
        let why = text!(
            "fewer fields about one person are still about that person; only an `aggregate` speaks of many",
            "moins de champs sur une personne portent encore sur elle ; seul un `aggregate` parle de plusieurs"
        );
        if let Some(level) = self.lowered_to() {
            let highest = self.highest();
            let message = text!(
                "transform `{id}` claims to lower {highest} to {level}, and no step of it can",
                "la transformation `{id}` prétend abaisser {highest} à {level}, et aucune de ses étapes ne le peut"
            );
            let fix = text!(
                "take `result.level` away, add an `aggregate`, or write applies_to = {{ max_level = \"{level}\" }}",
                "retirer `result.level`, ajouter un `aggregate`, ou écrire applies_to = {{ max_level = \"{level}\" }}"
            );
            let at = self.transform.at_key("result.level");
            self.error(Code::C15, at, [message, why.clone(), fix], None, report);
        }
        if let Some(marking) = self.transform.result.remove.first() {
            let message = text!(
                "transform `{id}` claims to remove the marking `{marking}`, and no step of it can",
                "la transformation `{id}` prétend retirer le marqueur `{marking}`, et aucune de ses étapes ne le peut"
            );
            let fix = text!(
                "take `result.remove` away, or add an `aggregate` with its declassification",
                "retirer `result.remove`, ou ajouter un `aggregate` avec sa déclassification"
            );
            let at = self.transform.at_key("result.remove.0");
            self.error(Code::C15, at, [message, why, fix], None, report);
        }
    }

    fn beyond_an_aggregate(&self, report: &mut Report) {
        let id = &self.transform.id;
        let of_many = |marking: Marking| {
            is_of_a_person(marking) || matches!(marking, Marking::SecretPrivacy | Marking::VideoDerived)
        };
        let removed = self.transform.result.remove.iter().enumerate();
        for (ix, marking) in removed.filter(|(_, marking)| !of_many(**marking)) {
            let message = text!(
                "transform `{id}` claims to remove `{marking}` by an `aggregate`",
                "la transformation `{id}` prétend retirer `{marking}` par un `aggregate`"
            );
            let why = text!(
                "a sum hides persons, not what is secret or essential about the thing that was measured",
                "une somme cache des personnes, non ce que la chose mesurée a de secret ou d'essentiel"
            );
            let fix =
                text!("take `{marking}` from `result.remove`", "retirer `{marking}` de `result.remove`");
            let at = self.transform.at_key(&format!("result.remove.{ix}"));
            self.error(Code::C15, at, [message, why, fix], None, report);
        }
    }

    fn declassified(&self, today: Date, report: &mut Report) {
        let (transform, id) = (self.transform, &self.transform.id);
        let removes = !transform.result.remove.is_empty();
        if self.lowered_to().is_none() && !removes {
            return;
        }
        let why = text!(
            "who lowers a level signs for it: for what, why, until when",
            "qui abaisse un niveau en répond : pour quoi, pourquoi, jusqu'à quand"
        );
        let mut fault = |at: Location, message: Text, fix: Text, on: Option<Date>| {
            self.error(Code::C16, at, [message, why.clone(), fix], on, report);
        };
        let Some(declassification) = &transform.declassification else {
            let at = transform.at_key(if removes { "result.remove.0" } else { "result.level" });
            let message = text!(
                "transform `{id}` lowers a label without `declassification`",
                "la transformation `{id}` abaisse une étiquette sans `declassification`"
            );
            let fix = text!(
                "add declassification = {{ justification = \"…\", approved_by = [\"…\"], expires = … }}",
                "ajouter declassification = {{ justification = \"…\", approved_by = [\"…\"], expires = … }}"
            );
            return fault(at, message, fix, None);
        };
        let scope = transform.applies_to.as_ref();
        let bounded = scope.is_some_and(|scope| scope.max_level.is_some());
        let listed = scope.is_some_and(|scope| scope.only_markings.is_some());
        if !bounded || removes && !listed {
            let key = if bounded { "only_markings" } else { "max_level" };
            let message = text!(
                "the declassification of `{id}` has no scope: `applies_to.{key}` is missing",
                "la déclassification de `{id}` n'a pas de portée : `applies_to.{key}` manque"
            );
            let fix = text!(
                "write applies_to = {{ max_level = \"…\", only_markings = [\"…\"] }}",
                "écrire applies_to = {{ max_level = \"…\", only_markings = [\"…\"] }}"
            );
            fault(transform.at_key("applies_to"), message, fix, None);
        }
        self.unsaid(declassification, &mut fault);
        if declassification.expires < today {
            let day = declassification.expires;
            let message = text!(
                "the declassification of `{id}` expired on {day}",
                "la déclassification de `{id}` a expiré le {day}"
            );
            let fix = text!("renew it, or take the copy away", "la renouveler, ou retirer la copie");
            fault(transform.at_key("declassification.expires"), message, fix, Some(today));
        }
    }

    fn unsaid(
        &self,
        declassification: &Declassification,
        fault: &mut impl FnMut(Location, Text, Text, Option<Date>),
    ) {
        let (transform, id) = (self.transform, &self.transform.id);
        if !says_something(&declassification.justification) {
            let message = text!(
                "the declassification of `{id}` gives no justification",
                "la déclassification de `{id}` ne donne pas de justification"
            );
            let fix = text!("write why, in a sentence", "écrire pourquoi, en une phrase");
            fault(transform.at_key("declassification.justification"), message, fix, None);
        }
        let by = &declassification.approved_by;
        if by.is_empty() || !by.iter().all(|name| says_something(name)) {
            let message = text!(
                "nobody approved the declassification of `{id}`",
                "personne n'a approuvé la déclassification de `{id}`"
            );
            let fix = text!("write who approved it", "écrire qui l'a approuvée");
            fault(transform.at_key("declassification.approved_by"), message, fix, None);
        }
    }

    fn groups(&self, report: &mut Report) {
        let (id, least) = (&self.transform.id, self.document.policy.k_min.max(LEAST_GROUP));
        for (ix, step) in self.transform.steps.iter().enumerate() {
            let Step::Aggregate { min_count, .. } = step else { continue };
            if *min_count >= least {
                continue;
            }
            let message = text!(
                "transform `{id}` aggregates {min_count} device(s), fewer than {least}",
                "la transformation `{id}` agrège {min_count} appareil(s), moins de {least}"
            );
            let why = text!(
                "in a small group each one is recognised; `k_min` is the least that this policy allows",
                "dans un petit groupe chacun se reconnaît ; `k_min` est l'effectif le plus bas que cette politique admet"
            );
            let fix = text!("write min_count = {least} or more", "écrire min_count = {least} ou plus");
            let at = self.transform.at_key(&format!("steps.{ix}.min_count"));
            self.error(Code::C17, at, [message, why, fix], None, report);
        }
    }

    fn keys(&self, report: &mut Report) {
        let id = &self.transform.id;
        for (ix, step) in self.transform.steps.iter().enumerate() {
            let Step::Pseudonymise { key, rotate, field, .. } = step else { continue };
            if key_reference(key).is_err() {
                // What stands there could be the key itself: it is not shown.
                let message = text!(
                    "the key with which `{id}` pseudonymises `{field}` is no reference",
                    "la clé avec laquelle `{id}` pseudonymise `{field}` n'est pas une référence"
                );
                let why = text!(
                    "a key in a file that many read makes every pseudonym a name again",
                    "une clé dans un fichier que beaucoup lisent refait un nom de chaque pseudonyme"
                );
                let fix = text!(
                    "write key = \"file:<name>\" (in `keys_dir` of the configuration) or \"env:<NAME>\", and change the key if it stood here",
                    "écrire key = \"file:<nom>\" (dans `keys_dir` de la configuration) ou \"env:<NOM>\", et changer la clé si elle figurait ici"
                );
                let at = self.transform.at_key(&format!("steps.{ix}.key"));
                self.error(Code::C20, at, [message, why, fix], None, report);
            }
            if days_of(rotate) > ROTATION_DAYS {
                let message = text!(
                    "`{id}` keeps one key for `{field}` for {rotate}: that is no rotation",
                    "`{id}` garde une même clé pour `{field}` pendant {rotate} : ce n'est pas une rotation"
                );
                let why = text!(
                    "under one key a pseudonym follows a person for years",
                    "sous une même clé, un pseudonyme suit une personne pendant des années"
                );
                let fix = text!(
                    "write a period of a year or less, as rotate = \"P1D\"",
                    "écrire une période d'un an au plus, comme rotate = \"P1D\""
                );
                let at = self.transform.at_key(&format!("steps.{ix}.rotate"));
                self.error(Code::C20, at, [message, why, fix], None, report);
            }
        }
    }
}

/// The days of an ISO 8601 duration, a month as thirty; 0: no duration (C01).
fn days_of(duration: &str) -> u64 {
    let date = duration.strip_prefix('P').and_then(|body| body.split('T').next()).unwrap_or_default();
    let (mut days, mut number) = (0_u64, 0_u64);
    for c in date.chars() {
        let unit: u64 = match c {
            'Y' => 366,
            'M' => 30,
            'W' => 7,
            'D' => 1,
            _ => {
                number = number.saturating_mul(10).saturating_add(u64::from(c.to_digit(10).unwrap_or(0)));
                continue;
            }
        };
        days = days.saturating_add(std::mem::take(&mut number).saturating_mul(unit));
    }
    days
}
