//! `octroi policy fmt PATH [--check]`: the files of a policy in the one form.

use std::fs;
use std::path::Path;

use octroi_policy::{FormatError, SourceFile, format_file};

use super::show_findings;
use crate::cmd::{Context, print_json};
use crate::exit::{Exit, Failure, OrExit};
use crate::policies;

pub(super) fn run(path: &Path, check: bool, context: &Context) -> Result<Exit, Failure> {
    let mut changed = Vec::new();
    let mut refused = false;
    // What they include is another policy's, to be formatted by itself.
    for file in policies::toml_files(path).or_exit(Exit::Config)? {
        let name = file.display().to_string();
        let text = fs::read_to_string(&file);
        let text =
            text.map_err(|error| anyhow::Error::from(error).context(name.clone())).or_exit(Exit::Io)?;
        let source = SourceFile { name: name.clone(), text };
        match format_file(&source) {
            Ok(text) if text == source.text => {}
            Ok(text) => {
                if !check {
                    crate::cmd::init::write(&file, &text).or_exit(Exit::Io)?;
                }
                changed.push(name);
            }
            Err(error) => {
                refused = true;
                if let FormatError::Unreadable { findings } = &error {
                    show_findings(findings, &[source], context);
                }
                eprintln!("{name}: {error}");
            }
        }
    }
    if context.json {
        print_json(&changed)?;
    } else {
        let verb = if check { "would change" } else { "wrote" };
        changed.iter().for_each(|name| println!("{verb} {name}"));
    }
    Ok(if refused || check && !changed.is_empty() { Exit::Finding } else { Exit::Ok })
}
