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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_each_file_names_a_schema_that_is_written_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hub");
        let environment = config::Environment::default();
        let context =
            Context { json: false, lang: crate::words::Lang::En, color: false, terminal: false, environment };
        run(&InitArgs { dir: path.clone(), dry_run: false }, &context).ok().unwrap();
        for file in ["octroi.toml", "policy/policy.toml"] {
            let file = path.join(file);
            let text = fs::read_to_string(&file).unwrap();
            let schema = text.lines().next().and_then(|line| line.strip_prefix("#:schema ")).unwrap();
            let schema = fs::read_to_string(file.with_file_name(schema)).unwrap();
            let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
            assert_eq!(schema["additionalProperties"], false, "{}", file.display());
        }
        let text = fs::read_to_string(path.join("policy/policy.toml")).unwrap();
        let file = octroi_policy::SourceFile { name: "policy.toml".to_owned(), text: text.clone() };
        assert_eq!(octroi_policy::format_file(&file), Ok(text));
    }
}
