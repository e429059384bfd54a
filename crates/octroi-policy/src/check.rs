//! What can be said of a policy from its text and the official geographic code
//! alone: references (C03, C04), territory (C05–C08), rules (C14, C27, C28),
//! hosting facts and identities (C22, C30).
//!
//! Decides nothing and places nothing: what needs the engine (C09, C10, C24,
//! C34) is beside it. Expects what `parse` found to be right in form; a block
//! that could not be read (`Document::unread`) makes no reference undefined,
//! and while there is one nothing is called unused or uncovered.

mod identities;
mod references;
mod rules;
mod territory;

use crate::ast::{Acknowledge, Block, Document};
use crate::text::text;
use crate::{Code, Cog, Date, Finding, Location, Severity};

/// Every structural finding on the day the policy takes effect, by place.
/// `cog` is the vintage that the policy names, `None` if there is none of it.
#[must_use]
pub fn structural(document: &Document, cog: Option<&Cog>) -> Vec<Finding> {
    structural_at(document, cog, document.policy.valid_from.date())
}

/// The same on another day: an acknowledgement past its day does not count.
#[must_use]
pub fn structural_at(document: &Document, cog: Option<&Cog>, today: Date) -> Vec<Finding> {
    let mut report = Report::default();
    references::check(document, &mut report);
    territory::check(document, cog, &mut report);
    rules::check(document, cog, &mut report);
    identities::check(document, &mut report);
    report.acknowledge(document, today);
    let mut findings: Vec<Finding> = report.entries.into_iter().map(|(_, finding)| finding).collect();
    findings.sort_by(|a, b| (&a.location, a.code, &a.message).cmp(&(&b.location, b.code, &b.message)));
    findings
}

/// The acknowledgement in force for a warning of that code about that subject.
#[must_use]
pub fn acknowledged<'a>(
    document: &'a Document,
    code: Code,
    subject: &str,
    today: Date,
) -> Option<&'a Block<Acknowledge>> {
    document
        .acknowledge
        .iter()
        .find(|block| block.code == code.name() && block.subject == subject && block.expires >= today)
}

/// Findings with the id that an acknowledgement would name.
#[derive(Default)]
struct Report {
    entries: Vec<(String, Finding)>,
}

/// What a check says, before its place in a [`Finding`].
struct Said<'a> {
    subject: &'a str,
    at: Location,
    message: String,
    why: &'a str,
    fix: String,
    witness: Option<String>,
}

/// The codes above whose severity can be a warning.
const WARNED_HERE: &[Code] = &[Code::C04, Code::C05, Code::C07, Code::C22, Code::C27, Code::C28];

impl Report {
    fn error(&mut self, code: Code, said: Said<'_>) {
        self.push(code, Severity::Error, said);
    }

    fn warning(&mut self, code: Code, said: Said<'_>) {
        self.push(code, Severity::Warning, said);
    }

    fn push(&mut self, code: Code, severity: Severity, said: Said<'_>) {
        let Said { subject, at, message, why, fix, witness } = said;
        let finding = Finding {
            code,
            severity,
            location: at,
            message: message.into(),
            why: why.into(),
            fix: fix.into(),
            witness: witness.map(Into::into),
        };
        self.entries.push((subject.to_owned(), finding));
    }

    /// Warnings accepted on record only inform; an acknowledgement of nothing is said.
    fn acknowledge(&mut self, document: &Document, today: Date) {
        for (subject, finding) in &mut self.entries {
            let accepted = acknowledged(document, finding.code, subject, today);
            if let Some(block) = accepted.filter(|_| finding.severity == Severity::Warning) {
                finding.severity = Severity::Info;
                finding.fix = text!(
                    "accepted by {by} until {until}: {because}",
                    "accepté par {by} jusqu'au {until} : {because}",
                    by = block.by,
                    until = block.expires,
                    because = block.because,
                );
            }
        }
        for block in &document.acknowledge {
            let is_about = |(subject, finding): &(String, Finding)| {
                finding.code.name() == block.code && *subject == block.subject
            };
            let here = WARNED_HERE.iter().any(|code| code.name() == block.code);
            if here && document.unread.is_empty() && !self.entries.iter().any(is_about) {
                self.warning(
                    Code::C04,
                    Said {
                        subject: &block.subject,
                        at: block.at_key("subject"),
                        message: format!(
                            "there is no {} about `{}` to acknowledge",
                            block.code, block.subject
                        ),
                        why: "an acknowledgement of nothing would cover what comes later unseen",
                        fix: "take it away, or name the subject of the warning".to_owned(),
                        witness: None,
                    },
                );
            }
        }
    }
}

#[cfg(test)]
mod tests;
