//! C35: who writes does not approve. As far as the files tell: the author of a
//! policy is who adopts it (`adopted_by`); an exception that only the author
//! approved, or that one person approved twice, was approved by nobody else.
//!
//! Who may activate is not said here: that is `approvals_required`, which the
//! hub counts. The half about versions is in `against.rs`.

use super::{Report, Said};
use crate::ast::Document;
use crate::text::text;
use crate::{Code, Location, Text, Witness, fold};

/// Words with which a form is filled in without an answer, as `fold` writes them.
const BLANKS: [&str; 9] = ["", "?", "todo", "tbd", "na", "n/a", "adéfinir", "àcompléter", "àdéfinir"];

/// Whether a text says something, and does not only fill the place.
pub(super) fn says_something(text: &str) -> bool {
    let key = fold(text);
    text.chars().any(char::is_alphanumeric) && !BLANKS.iter().any(|blank| fold(blank) == key)
}

pub(super) fn check(document: &Document, report: &mut Report) {
    let author = &document.policy.adopted_by;
    let mut judge = |subject: &str, Text { en, fr }: Text, at: Location, by: &[&str]| {
        let again = |(n, name): &(usize, &&str)| by.iter().take(*n).any(|other| fold(other) == fold(name));
        let twice = by.iter().enumerate().find(again).map(|(_, name)| *name);
        let alone = by.iter().all(|name| fold(name) == fold(author));
        let (name, message) = match (by.first(), twice) {
            (Some(name), _) if alone => {
                let message = text!(
                    "{en} is approved by `{name}` alone, who adopts the policy",
                    "{fr} n'a d'autre approbateur que `{name}`, qui adopte la politique"
                );
                (*name, message)
            }
            (_, Some(name)) => {
                let message = text!(
                    "{en} is approved twice by `{name}`",
                    "{fr} porte deux fois l'approbation de `{name}`"
                );
                (name, message)
            }
            (_, None) => return,
        };
        report.error(
            Code::C35,
            Said {
                subject,
                at,
                message,
                why: text!(
                    "nobody approves their own exception: a second person reads what the first wrote",
                    "nul n'approuve sa propre exception : une seconde personne relit ce que la première a écrit"
                ),
                fix: text!(
                    "have another person approve it, and write their name",
                    "la faire approuver par une autre personne, et écrire son nom"
                ),
                witness: Some(Witness::from(text!(
                    "author and approver: `{name}`",
                    "auteur et approbateur : `{name}`"
                ))),
            },
        );
    };
    for block in &document.transform {
        let Some(declassification) = &block.declassification else { continue };
        let what = text!("the declassification of `{id}`", "la déclassification de `{id}`", id = block.id);
        let by: Vec<&str> = declassification.approved_by.iter().map(String::as_str).collect();
        judge(&block.id, what, block.at_key("declassification.approved_by"), &by);
    }
    for block in &document.derogation {
        let what = text!("the derogation from `{id}`", "la dérogation à `{id}`", id = block.requirement);
        let by: Vec<&str> = block.approved_by.iter().map(String::as_str).collect();
        judge(&block.requirement, what, block.at_key("approved_by"), &by);
    }
    for block in &document.acknowledge {
        let what = text!(
            "the acknowledgement of {code} about `{id}`",
            "l'acceptation de {code} sur `{id}`",
            code = block.code,
            id = block.subject,
        );
        judge(&block.subject, what, block.at_key("by"), &[&block.by]);
    }
}
