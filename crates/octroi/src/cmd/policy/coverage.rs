//! `octroi policy coverage PATH`: what the policy's own tests never reach.

use std::path::Path;

use octroi_policy::coverage;

use super::{read, show_findings};
use crate::cmd::{Context, print_json};
use crate::exit::{Exit, Failure};

/// Names of what is never reached, on one line.
const SHOWN: usize = 8;

pub(super) fn run(path: &Path, context: &Context) -> Result<Exit, Failure> {
    let (files, review) = read(path, None)?;
    let Some(policy) = &review.policy else {
        show_findings(&review.refusals(), &files, context);
        println!("{}: the policy cannot be compiled; no test was run", path.display());
        return Ok(Exit::Finding);
    };
    let kinds = coverage(policy, &review.document);
    if context.json {
        print_json(&kinds)?;
        return Ok(Exit::Ok);
    }
    for kind in &kinds {
        println!("{}", kind.in_words(SHOWN).of(context.lang));
    }
    Ok(Exit::Ok)
}
