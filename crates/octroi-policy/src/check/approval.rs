//! C35: who writes does not approve. As far as the files tell: the author of a
//! policy is who adopts it (`adopted_by`); an exception that only the author
//! approved, or that one person approved twice, was approved by nobody else.
//!
//! Who may activate is not said here: that is `approvals_required`, which the
//! hub counts. The half about versions is in `against.rs`.

use super::{Report, Told};
use crate::ast::Document;
use crate::text::text;
use crate::{Code, Location, Witness, fold};

/// Words with which a form is filled in without an answer, as `fold` writes them.
const BLANKS: [&str; 9] = ["", "?", "todo", "tbd", "na", "n/a", "adéfinir", "àcompléter", "àdéfinir"];

/// Whether a text says something, and does not only fill the place.
pub(super) fn says_something(text: &str) -> bool {
    let key = fold(text);
    text.chars().any(char::is_alphanumeric) && !BLANKS.iter().any(|blank| fold(blank) == key)
}

pub(super) fn check(document: &Document, report: &mut Report) {
    let author = &document.policy.adopted_by;
    let mut judge = |subject: &str, what: &str, at: Location, by: &[&str]| {
        let (Some(first), others) = (by.first(), by.get(1..).unwrap_or_default()) else { return };
        let twice = others.iter().any(|other| fold(other) == fold(first));
        let alone = by.iter().all(|name| fold(name) == fold(author));
        let message = if alone {
            text!(
                "the {what} `{subject}` is approved by `{first}`, who adopts the policy",
                "`{subject}` ({what}) est approuvé par `{first}`, qui adopte la politique"
            )
        } else if twice {
            text!(
                "the {what} `{subject}` is approved twice by `{first}`",
                "`{subject}` ({what}) est approuvé deux fois par `{first}`"
            )
        } else {
            return;
        };
        report.error(
            Code::C35,
            Told {
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
                    "author and approver: `{first}`",
                    "auteur et approbateur : `{first}`"
                ))),
            },
        );
    };
    for block in &document.transform {
        let Some(declassification) = &block.declassification else { continue };
        let by: Vec<&str> = declassification.approved_by.iter().map(String::as_str).collect();
        let at = block.at_key("declassification.approved_by");
        judge(&block.id, "declassification", at, &by);
    }
    for block in &document.derogation {
        let by: Vec<&str> = block.approved_by.iter().map(String::as_str).collect();
        judge(&block.requirement, "derogation", block.at_key("approved_by"), &by);
    }
    for block in &document.acknowledge {
        judge(&block.subject, "acknowledge", block.at_key("by"), &[&block.by]);
    }
}
