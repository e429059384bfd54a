//! `octroi init DIR`: a configuration and a first policy with tests, ready to run on loopback.

use std::fs;
use std::path::Path;

use super::Context;
use crate::cli::InitArgs;
use crate::config;
use crate::exit::{Exit, Failure, OrExit};

const CONFIG: &str = include_str!("init/octroi.toml");
const POLICY: &str = include_str!("init/policy.toml");

pub(super) fn run(args: &InitArgs, _context: &Context) -> Result<Exit, Failure> {
    let dir = &args.dir;
    let holds_files = fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
    if holds_files {
        let reason = format!("`{}` holds files already: name a new directory", dir.display());
        return Err(Failure::new(Exit::Usage, anyhow::anyhow!("{reason}")));
    }
    let schema = |value: &serde_json::Value| serde_json::to_string_pretty(value).or_exit(Exit::Io);
    let files = [
        ("octroi.toml", CONFIG.to_owned()),
        ("octroi.schema.json", schema(&config::json_schema())?),
        ("policy/policy.toml", POLICY.to_owned()),
        ("policy/policy.schema.json", schema(&octroi_policy::json_schema())?),
    ];
    for (name, text) in &files {
        println!("{} {}", if args.dry_run { "would write" } else { "wrote" }, dir.join(name).display());
        if !args.dry_run {
            write(&dir.join(name), text).or_exit(Exit::Io)?;
        }
    }
    println!("next: octroi policy test {0}/policy; octroi run --config {0}/octroi.toml", dir.display());
    Ok(Exit::Ok)
}

pub(super) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let context = |error| anyhow::Error::from(error).context(format!("cannot write `{}`", path.display()));
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(context)?;
    }
    fs::write(path, text).map_err(context)
}
