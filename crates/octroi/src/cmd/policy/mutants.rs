//! `octroi policy mutants PATH`: which protections nobody would miss.

use std::path::Path;

use octroi_policy::{Fate, Mutant, mutants, text};

use super::{read, show_findings};
use crate::clock::{Clock, SystemClock};
use crate::cmd::{Context, print_json};
use crate::exit::{Exit, Failure};

pub(super) fn run(path: &Path, context: &Context) -> Result<Exit, Failure> {
    let (files, review) = read(path, None)?;
    let refusals = review.refusals();
    let today = SystemClock.now().date();
    let found = if refusals.is_empty() { mutants(&review.document, today) } else { Err(refusals) };
    let found = match found {
        Ok(found) => found,
        Err(refusals) => {
            show_findings(&refusals, &files, context);
            let said = text!(
                "the policy is refused as it is; nothing was removed",
                "la politique est refusée en l'état ; rien n'a été retiré"
            );
            println!("{}: {}", path.display(), said.of(context.lang));
            return Ok(Exit::Finding);
        }
    };
    if context.json {
        print_json(&found)?;
    } else {
        found.iter().for_each(|mutant| println!("{}", mutant.in_words().of(context.lang)));
        println!("{}: {}", path.display(), Mutant::summary(&found).of(context.lang));
    }
    let survived = found.iter().any(|mutant| mutant.fate == Fate::Survived);
    Ok(if survived { Exit::Finding } else { Exit::Ok })
}
