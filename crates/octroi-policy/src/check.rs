//! What can be said of a policy from its text and the official geographic code
//! alone: references (C03, C04), territory (C05–C08), rules (C14, C25–C29),
//! hosting facts and identities (C22, C30, C38), persons (C12, C13, C40),
//! transforms and copies (C15–C20, C31), publication (C32), who approves (C35),
//! limits (C39).
//!
//! Places nothing: what needs the engine (C09, C10, C24, C34) is in `prove`;
//! [`proved`] and [`against`] ask it, for dates (C21, C23), mosaics (C33) and
//! the policy in force (C35, C36). Here it is asked for one thing, whether a
//! message shows the fault it is a witness of. Expects what `parse` found to be right in form; a block
//! that could not be read (`Document::unread`) makes no reference undefined,
//! and while there is one nothing is called unused or uncovered.

mod against;
mod approval;
mod copies;
mod dates;
mod declared;
mod identities;
mod limits;
mod mosaic;
mod personal;
mod reach;
mod references;
mod release;
mod rules;
mod territory;
mod transforms;

pub use against::against;

use std::cell::OnceCell;

use crate::ast::{Acknowledge, Block, Document, Given};
use crate::prove::Reached;
use crate::text::text;
use crate::{Code, Cog, Date, Decision, Finding, Location, Policy, Severity, Text, Witness};

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
    identities::check(document, &mut report);
    let within = limits::check(document, &mut report);
    if within {
        rules::check(document, cog, &mut report);
        personal::check(document, cog, &mut report);
        transforms::check(document, cog, today, &mut report);
        copies::check(document, cog, &mut report);
        reach::check(document, cog, &mut report);
        declared::check(document, cog, &mut report);
        release::check(document, cog, &mut report);
        approval::check(document, &mut report);
    }
    report.acknowledge(document, if within { WARNED_HERE } else { &[] }, today);
    report.findings()
}

/// What the engine tells beside the proofs: flows that a date will hold (C21,
/// C23), spaces that join too much (C33).
pub(crate) fn proved(policy: &Policy, document: &Document, reached: &Reached, today: Date) -> Vec<Finding> {
    let mut report = Report::default();
    dates::check(policy, document, reached, today, &mut report);
    mosaic::check(policy, document, reached, &mut report);
    report.acknowledge(document, WARNED_BY_PROOF, today);
    report.findings()
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

/// What stands in the place of the mend once a warning is accepted.
pub(crate) fn on_record(block: &Acknowledge) -> Text {
    text!(
        "accepted by {by} until {until}: {because}",
        "accepté par {by} jusqu'au {until} : {because}",
        by = block.by,
        until = block.expires,
        because = block.because,
    )
}

/// Findings with the id that an acknowledgement would name.
#[derive(Default)]
struct Report {
    entries: Vec<(String, Finding)>,
    /// The policy as it would decide, once a witness asked for it.
    policy: OnceCell<Option<Box<Policy>>>,
}

/// What a check says, before its place in a [`Finding`].
struct Said<'a> {
    subject: &'a str,
    at: Location,
    message: Text,
    why: Text,
    fix: Text,
    witness: Option<Witness>,
}

/// How many messages are tried for one witness.
const PROPOSALS: usize = 256;

/// The codes of [`structural`] whose severity can be a warning.
const WARNED_HERE: &[Code] =
    &[Code::C04, Code::C05, Code::C07, Code::C22, Code::C25, Code::C27, Code::C28, Code::C32, Code::C38];

/// Those of [`proved`].
const WARNED_BY_PROOF: &[Code] = &[Code::C21, Code::C23, Code::C33];

impl Report {
    fn error(&mut self, code: Code, said: Said<'_>) {
        self.push(code, Severity::Error, said);
    }

    fn warning(&mut self, code: Code, said: Said<'_>) {
        self.push(code, Severity::Warning, said);
    }

    fn push(&mut self, code: Code, severity: Severity, said: Said<'_>) {
        let Said { subject, at, message, why, fix, witness } = said;
        let finding = Finding { code, severity, location: at, message, why, fix, witness };
        self.entries.push((subject.to_owned(), finding));
    }

    /// The first of the messages that, decided by this very policy, shows the fault; none
    /// if the policy does not even compile.
    fn replayed(
        &self,
        document: &Document,
        messages: impl Iterator<Item = Given>,
        shows: impl Fn(&Policy, &Decision<'_>) -> bool,
    ) -> Option<Given> {
        let policy = self.policy.get_or_init(|| Policy::compile(document, [0; 32]).ok().map(Box::new));
        let policy = policy.as_ref()?;
        let received = document.policy.valid_from;
        messages.take(PROPOSALS).find(|given| {
            policy.decide_given(given, received).is_some_and(|decision| shows(policy, &decision))
        })
    }

    fn findings(self) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.entries.into_iter().map(|(_, finding)| finding).collect();
        findings.sort_by(|a, b| (&a.location, a.code, &a.message).cmp(&(&b.location, b.code, &b.message)));
        findings
    }

    /// Warnings accepted on record only inform; an acknowledgement of nothing,
    /// for the codes that were looked for here, is said.
    fn acknowledge(&mut self, document: &Document, codes: &[Code], today: Date) {
        for (subject, finding) in &mut self.entries {
            let accepted = acknowledged(document, finding.code, subject, today);
            if let Some(block) = accepted.filter(|_| finding.severity == Severity::Warning) {
                finding.severity = Severity::Info;
                finding.fix = on_record(block);
            }
        }
        for block in &document.acknowledge {
            let is_about = |(subject, finding): &(String, Finding)| {
                finding.code.name() == block.code && *subject == block.subject
            };
            let here = codes.iter().any(|code| code.name() == block.code);
            if here && document.unread.is_empty() && !self.entries.iter().any(is_about) {
                self.warning(
                    Code::C04,
                    Said {
                        subject: &block.subject,
                        at: block.at_key("subject"),
                        message: text!(
                            "there is no {code} about `{subject}` to acknowledge",
                            "il n'y a pas de {code} sur `{subject}` à accepter",
                            code = block.code,
                            subject = block.subject,
                        ),
                        why: text!(
                            "an acknowledgement of nothing would cover what comes later unseen",
                            "une acceptation sans objet couvrirait, sans qu'on le voie, ce qui viendra plus tard",
                        ),
                        fix: text!(
                            "take it away, or name the subject of the warning",
                            "la retirer, ou nommer l'objet de l'avertissement",
                        ),
                        witness: None,
                    },
                );
            }
        }
    }
}

#[cfg(test)]
mod cases;
#[cfg(test)]
mod tests;
