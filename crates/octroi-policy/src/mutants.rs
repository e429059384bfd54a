//! What holds this policy, and would anybody notice if it went? Each protection
//! is removed or weakened in turn; the policy that is left is checked, proved
//! and tested like any other. What nothing notices is a survivor: a change
//! there would pass unseen.
//!
//! It mutates the document, never the text, and decides nothing itself: who
//! notices is `check`, the invariants and the policy's own tests. It costs a
//! review for each protection, so [`unmissed`], which `check` asks, is bounded.
//!
//! INVARIANT: a mutant is called equivalent only where the comparison of tables,
//! flows and reachable labels found no difference (`equivalence.rs`); every
//! doubt of that comparison is a survivor.

mod equivalence;
mod mutate;
mod words;

use serde::Serialize;

use crate::ast::{Block, Document, Invariant};
use crate::testing::run_tests;
use crate::text::text;
use crate::{
    Code, Cog, Date, Finding, Location, Policy, Proof, Severity, Text, acknowledged, prove, structural,
};
use equivalence::Picture;
use mutate::{Demand, Mutation};

/// One protection, taken away.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mutant {
    /// What an acknowledgement would name: `requirement:E3-restreint:must.tenancy`.
    pub id: String,
    /// What was done to the policy.
    pub what: Text,
    /// Where the protection stands.
    pub location: Location,
    /// What became of it.
    #[serde(flatten)]
    pub fate: Fate,
}

/// What became of a mutant.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "fate", rename_all = "snake_case")]
pub enum Fate {
    /// Somebody notices; at least one.
    Killed {
        /// Everybody who does: tests first, then invariants, then checks.
        by: Vec<Killer>,
    },
    /// Nothing is decided otherwise.
    Equivalent {
        /// How that was proved, and what decides in its place.
        proof: Text,
    },
    /// Nothing notices, and that is on record.
    Accepted {
        /// Who accepted it.
        by: String,
        /// Why.
        because: String,
        /// The last day it counts.
        expires: Date,
    },
    /// Nothing notices.
    Survived,
}

/// Who notices that a protection is gone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Killer {
    /// That `[[test]]` fails.
    Test(String),
    /// That invariant can be broken.
    Invariant(String),
    /// That check refuses the policy.
    Check(Code),
}

/// Protections that [`unmissed`] takes away, and the cells and flows that are proved again for all of them.
const MOST_PROTECTIONS: usize = 256;
const MOST_CELLS: u64 = 1 << 20;

/// Removes each protection in turn and tells who notices.
///
/// # Errors
///
/// The findings that refuse the policy as it is: what is broken already cannot show what is missed.
pub fn mutants(document: &Document, today: Date) -> Result<Vec<Mutant>, Vec<Finding>> {
    let mut found = each(document, mutate::all(document), today, |_| true)?;
    let invariants: Vec<Mutant> = document.invariant.iter().map(|block| invariant(block, &found)).collect();
    found.extend(invariants);
    Ok(found)
}

/// What `check` says of protections that nobody would miss: C34, a warning for each survivor, information where
/// it is accepted. Of a policy with more protections or a larger proof than can be gone through while somebody
/// waits, that it did not look; of one that is refused as it is, nothing.
#[must_use]
pub fn unmissed(document: &Document, proof: &Proof, today: Date) -> Vec<Finding> {
    let all = mutate::all(document);
    let cells = (proof.table_cells + proof.flows).saturating_mul(all.len() as u64);
    if all.len() > MOST_PROTECTIONS || cells > MOST_CELLS {
        return vec![words::not_looked(document, all.len(), cells)];
    }
    let found = each(document, all, today, |left| !fails_a_test(left)).unwrap_or_default();
    found.iter().filter_map(words::finding).collect()
}

/// Removes each protection in turn; those of which what is left is worth a review, with who notices.
fn each(
    document: &Document,
    mutations: Vec<Mutation>,
    today: Date,
    worth: impl Fn(&Document) -> bool,
) -> Result<Vec<Mutant>, Vec<Finding>> {
    // Places of keys are not needed to judge, and cost as much to copy as all the rest.
    let mut lean = document.clone();
    lean.each_place(|_, keys| keys.clear());
    let cog = Cog::vintage(lean.policy.cog);
    let (policy, refusals) = judge(&lean, cog);
    let Some(policy) = policy.filter(|_| refusals.is_empty()) else { return Err(refusals) };
    let base = Picture::of(&policy);
    let mutant = |mutation: Mutation| {
        let mut left = lean.clone();
        (mutation.apply)(&mut left);
        let fate = worth(&left).then(|| fate(&left, mutation.demand.as_ref(), &base, cog))?;
        let Mutation { id, what, at, .. } = mutation;
        Some(Mutant { fate: on_record(fate, &id, document, today), id, what, location: at })
    };
    Ok(mutations.into_iter().filter_map(mutant).collect())
}

/// What notices most, and is asked soonest.
fn fails_a_test(document: &Document) -> bool {
    let policy = Policy::compile(document, [0; 32]);
    policy.is_ok_and(|policy| run_tests(&policy, document).iter().any(|test| !test.passed))
}

/// Everything that refuses a document, and what it compiles to.
fn judge(document: &Document, cog: Option<&Cog>) -> (Option<Policy>, Vec<Finding>) {
    let mut findings = structural(document, cog);
    // Compiled in spite of them: a test says more than a check.
    let policy = match Policy::compile(document, [0; 32]) {
        Ok(policy) => {
            findings.extend(prove(&policy, document).findings);
            Some(policy)
        }
        Err(more) => {
            findings.extend(more);
            None
        }
    };
    findings.retain(|finding| finding.severity == Severity::Error);
    (policy, findings)
}

/// What becomes of what is left without a protection; `demand`: of a requirement, what went.
fn fate(left: &Document, demand: Option<&Demand>, base: &Picture<'_>, cog: Option<&Cog>) -> Fate {
    let (policy, refusals) = judge(left, cog);
    let mut by: Vec<Killer> = refusals.iter().map(|finding| killer(finding, left)).collect();
    by.sort();
    by.dedup();
    match policy {
        Some(policy) if by.is_empty() => {
            let equal = base.same(&Picture::of(&policy), demand);
            equal.map_or(Fate::Survived, |equal| Fate::Equivalent {
                proof: words::of_equal(&equal, demand.is_some()),
            })
        }
        Some(_) | None => Fate::Killed { by },
    }
}

fn killer(finding: &Finding, document: &Document) -> Killer {
    let at = &finding.location;
    let test =
        || document.test.iter().find(|test| test.at == *at).map(|test| Killer::Test(test.name.clone()));
    let invariant = || {
        let found = document.invariant.iter().find(|invariant| invariant.at == *at);
        found.map(|invariant| Killer::Invariant(invariant.id.clone()))
    };
    let named = if finding.code == Code::C34 {
        test()
    } else if finding.code == Code::C10 {
        invariant()
    } else {
        None
    };
    named.unwrap_or(Killer::Check(finding.code))
}

/// A survivor that is on record as defence in depth.
fn on_record(fate: Fate, id: &str, document: &Document, today: Date) -> Fate {
    match acknowledged(document, Code::C34, id, today) {
        Some(block) if fate == Fate::Survived => {
            Fate::Accepted { by: block.by.clone(), because: block.because.clone(), expires: block.expires }
        }
        Some(_) | None => fate,
    }
}

/// An invariant decides nothing: what it is worth is what it notices.
fn invariant(block: &Block<Invariant>, mutants: &[Mutant]) -> Mutant {
    let me = Killer::Invariant(block.id.clone());
    let (mut noticed, mut alone) = (0_usize, Vec::new());
    for mutant in mutants {
        if let Fate::Killed { by } = &mutant.fate
            && by.contains(&me)
        {
            noticed += 1;
            alone.extend((by.len() == 1).then(|| format!("`{}`", mutant.id)));
        }
    }
    let proof = words::of_invariant(noticed, &alone);
    Mutant {
        id: format!("invariant:{}", block.id),
        what: text!("invariant `{id}` removed", "garantie `{id}` retirée", id = block.id),
        location: block.at.clone(),
        fate: Fate::Equivalent { proof },
    }
}

#[cfg(test)]
mod tests;
