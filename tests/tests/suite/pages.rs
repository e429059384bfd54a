//! README.md and ARCHITECTURE.md against the sources they describe: tables, excerpts and paths. Everything is
//! read as text, so that a page can be checked without building the product.
//!
//! It does not run the commands that the pages show.

use std::collections::BTreeSet;
use std::fs;

use octroi_tests::root;

const PAGES: [&str; 4] = ["README.md", "ARCHITECTURE.md", "docs/policy-guide.md", "docs/identities.md"];

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("`{path}`: {error}"))
}

/// What stands between two marks; the marks must be there.
#[track_caller]
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(start).unwrap_or_else(|| panic!("`{start}` is not there"));
    rest.split_once(end).unwrap_or_else(|| panic!("`{end}` does not follow `{start}`")).0
}

/// The string literals of a piece of source. Escapes are not read: the tables have none, and one that had would
/// not equal its row.
fn literals(source: &str) -> Vec<String> {
    let code: Vec<_> = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    code.join("\n").split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The rows of a page's table below the header that begins so, cells trimmed.
#[track_caller]
fn rows(page: &str, header: &str) -> Vec<Vec<String>> {
    let (_, rest) = page.split_once(header).unwrap_or_else(|| panic!("README.md has no table `{header}`"));
    let lines = rest.lines().skip(2).take_while(|line| line.starts_with('|'));
    let cells =
        |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    lines.map(cells).collect()
}

/// Fenced blocks of a language, in order.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    page.split(fence.as_str()).skip(1).filter_map(|rest| rest.split("\n```").next()).collect()
}

#[test]
fn the_readme_lists_every_configuration_key_as_the_source_does() {
    let source = read("crates/octroi/src/config/raw.rs");
    let keys = literals(between(&source, "pub const KEYS: &[(&str, &str)] = &[", "\n];"));
    let expected: Vec<_> =
        keys.chunks(2).map(|pair| vec![format!("`{}`", pair[0]), pair[1].clone()]).collect();
    assert!(expected.len() > 20, "KEYS was not read: {expected:?}");
    assert_eq!(rows(&read("README.md"), "| key | what |"), expected);
}

#[test]
fn the_readme_lists_every_exit_code_as_the_source_does() {
    let source = read("crates/octroi/src/exit.rs");
    let codes = between(&source, "pub enum Exit {", "\n}");
    let number = |name: &str| {
        let line = codes.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(" = "));
        line.unwrap_or_else(|| panic!("`Exit::{name}` has no number")).trim_end_matches(',').to_owned()
    };
    let table = between(&source, "pub const TABLE: &'static [(Self, &'static str)] = &[", "\n    ];");
    let entries: Vec<_> = table.lines().filter_map(|line| line.trim().strip_prefix("(Self::")).collect();
    let expected: Vec<_> = entries
        .into_iter()
        .map(|entry| {
            let (name, meaning) = entry.split_once(", ").expect("a code and its meaning");
            vec![number(name), literals(meaning).concat()]
        })
        .collect();
    let variants = codes.lines().filter(|line| line.contains(" = ")).count();
    assert_eq!(expected.len(), variants, "every code has its meaning: {expected:?}");
    assert_eq!(rows(&read("README.md"), "| code | meaning |"), expected);
}

#[test]
fn the_readme_lists_every_metric_as_the_source_does() {
    let source = read("crates/octroi/src/metrics/table.rs");
    let table = between(&source, "pub const TABLE: &[Described] = &[", "\n];");
    let expected: Vec<_> = table
        .split("Described {")
        .skip(1)
        .map(|entry| {
            let kind = between(entry, "kind: Kind::", ",").to_lowercase();
            let labels: Vec<_> = literals(between(entry, "labels: &[", "]"));
            let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
            let name = format!("`{}`", between(entry, "name: \"", "\""));
            vec![name, kind, labels.join(", "), between(entry, "help: \"", "\",").to_owned()]
        })
        .collect();
    assert!(expected.len() > 10, "TABLE was not read: {expected:?}");
    assert_eq!(rows(&read("README.md"), "| metric | type | labels | help |"), expected);
}

/// Each excerpt of the first policy stands in the file that `octroi init` writes, word for word.
#[test]
fn the_first_policy_of_the_readme_is_the_one_that_init_writes() {
    let (page, policy) = (read("README.md"), read("crates/octroi/src/cmd/init/policy.toml"));
    let excerpts = blocks(between(&page, "\n## A first policy\n", "\n## "), "toml");
    assert!(excerpts.len() >= 6, "{} excerpts", excerpts.len());
    let missing: Vec<_> = excerpts.into_iter().filter(|excerpt| !policy.contains(excerpt)).collect();
    assert_eq!(missing, [""; 0], "not in crates/octroi/src/cmd/init/policy.toml");
}

/// Paths in backticks that begin with a directory of the repository.
fn paths(page: &str) -> BTreeSet<&str> {
    let prose = page.split("\n```").step_by(2).flat_map(|text| text.split('`').skip(1).step_by(2));
    let tops = ["crates/", "tests/", "deploy/", "policies/", "benches/", "fuzz/", "docs/"];
    prose.filter(|word| tops.iter().any(|top| word.starts_with(top)) && !word.contains(['*', ' '])).collect()
}

#[test]
fn files_that_the_pages_name_exist() {
    let (mut missing, mut found) = (Vec::new(), 0);
    for page in PAGES {
        let text = read(page);
        let named = paths(&text);
        assert!(!named.is_empty(), "{page} names nothing");
        found += named.len();
        missing.extend(
            named
                .into_iter()
                .filter(|path| !root().join(path).exists())
                .map(|path| format!("{page}: {path}")),
        );
    }
    assert_eq!(missing, [""; 0], "no such file");
    assert!(found > 20, "only {found} paths were read");
}

/// The commands of `octroi` that a page shows are commands of the command line.
#[test]
fn commands_that_the_pages_show_exist() {
    let source = read("crates/octroi/src/cli.rs");
    let commands = variants(between(&source, "pub enum Command {", "\n}"));
    let mut unknown = Vec::new();
    for page in PAGES {
        let text = read(page);
        let mut shown = 0;
        for rest in text.split("octroi ").skip(1) {
            let before = &text[..offset(&text, rest) - "octroi ".len()];
            let mut words = rest.split(|c: char| c.is_whitespace() || c == '`');
            let command = words.next().unwrap_or_default();
            // Of prose, only what stands at the beginning of code is a command.
            if !before.ends_with(['`', '$']) && !before.ends_with("$ ") {
                continue;
            }
            shown += 1;
            if !commands.contains(command) && !command.starts_with('-') {
                unknown.push(format!("{page}: octroi {command}"));
            }
            let group = match command {
                "policy" => "Policy",
                "journal" => "Journal",
                "quarantine" => "Quarantine",
                "config" => "Config",
                "tls" => "Tls",
                _ => continue,
            };
            let verbs = variants(between(&source, &format!("pub enum {group}Command {{"), "\n}"));
            let verb = words.next().unwrap_or_default();
            if verb.starts_with(|c: char| c.is_ascii_lowercase())
                && !verb.split('|').all(|v| verbs.contains(v))
            {
                unknown.push(format!("{page}: octroi {command} {verb}"));
            }
        }
        assert!(page != "README.md" || shown > 8, "{page} shows {shown} commands");
    }
    assert_eq!(unknown, [""; 0], "no such command in crates/octroi/src/cli.rs");
}

/// Where a rest of a text begins in it.
fn offset(text: &str, rest: &str) -> usize {
    rest.as_ptr() as usize - text.as_ptr() as usize
}

/// The variants of a `clap` enum, as they are typed.
fn variants(body: &str) -> BTreeSet<String> {
    let lines = body.lines().filter_map(|line| line.strip_prefix("    "));
    let names = lines.filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
    names
        .map(|line| {
            line.chars().take_while(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
        })
        .collect()
}

#[test]
fn the_readers_above_read_what_they_should() {
    let page = "x\n| key | what |\n| --- | --- |\n| `a` | b `c`, d |\n| `e` | f |\n\n| g |\n";
    assert_eq!(rows(page, "| key | what |"), [["`a`", "b `c`, d"], ["`e`", "f"]]);
    assert_eq!(literals("(\"a\", \"b\"),\n// (\"c\", \"d\")\n(\"e\", \"\")"), ["a", "b", "e", ""]);
    assert_eq!(blocks("```toml\na\n```\n```\nb\n```\n```toml\nc\nd\n```\n", "toml"), ["a", "c\nd"]);
    let page = "`tests/a.rs`, `octroi run`, `tests/*.rs`\n```\n`tests/b.rs`\n```\n`deploy/c`";
    assert_eq!(paths(page).into_iter().collect::<Vec<_>>(), ["deploy/c", "tests/a.rs"]);
    let found = variants("\n    /// Run.\n    Run(Args),\n    Ls {\n        Path: X,\n    },");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["ls", "run"]);
}
