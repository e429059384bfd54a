//! What nobody should have to remember, read from the sources themselves.
//! Each rule is a test; each says what to do when it fails.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use octroi_tests::{report, root};

/// Direct dependencies that a core crate may have. Each core is free of I/O frameworks, clocks, logging and
/// async: a new entry here is a decision about the architecture.
const CORES: [(&str, &[&str]); 3] = [
    (
        "octroi-policy",
        &[
            "blake3",
            "hmac",
            "schemars",
            "serde",
            "serde_json",
            "sha2",
            "simdutf8",
            "thiserror",
            "toml",
            "toml_parser",
            "unicode-normalization",
            "unicode-security",
        ],
    ),
    ("octroi-journal", &["crc32c", "rustix", "thiserror"]),
    ("octroi-mqtt", &["bytes", "rumqttd", "thiserror"]),
];

/// What no source of a core may name: the rest of "knows nothing of".
const FOREIGN: [(&str, &[&str]); 3] = [
    (
        "octroi-policy",
        &[
            "std::fs",
            "std::net",
            "std::env",
            "std::process",
            "SystemTime",
            "std::time::Instant",
            "std::thread",
        ],
    ),
    (
        "octroi-journal",
        &["std::net", "std::env", "std::process", "SystemTime", "Instant::now", "octroi_policy"],
    ),
    ("octroi-mqtt", &["std::fs", "std::net", "std::env", "std::process", "SystemTime::now", "Instant::now"]),
];

/// Files longer than [`CEILING`] lines, with what they may not grow beyond. The list only shrinks.
const CEILING: usize = 700;
const LONG: [(&str, usize); 0] = [];

/// Every file of the repository that is text and ours, with its path from the root.
fn files() -> Vec<(String, String)> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                let ours = !["target", ".git", "artifacts", "corpus", "node_modules"].contains(&name);
                if ours && !path.is_symlink() {
                    walk(&path, found);
                }
            } else if !path.is_symlink() && name != ".git" {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root(), &mut found);
    found.sort();
    let name = |path: &Path| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    found.iter().filter_map(|path| Some((name(path), fs::read_to_string(path).ok()?))).collect()
}

pub(crate) fn sources() -> Vec<(String, String)> {
    files().into_iter().filter(|(path, _)| path.ends_with(".rs")).collect()
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("`{path}`: {error}"))
}

/// A source without its unit tests (which stand last) and its comments.
fn product_code(text: &str) -> String {
    let before_tests = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let lines = before_tests.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

#[track_caller]
pub(crate) fn nothing(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

/// Keys of `[dependencies]` (not of `[dev-dependencies]`).
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut section = String::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']).to_owned();
            // `[dependencies.name]`, `[target.'cfg(…)'.dependencies.name]`
            if let Some((head, name)) = section.rsplit_once("dependencies.")
                && !head.ends_with("dev-")
            {
                names.insert(name.to_owned());
            }
        } else if section.ends_with("dependencies") && !section.ends_with("dev-dependencies") {
            let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
            if !name.is_empty() && !name.starts_with('#') {
                names.insert(name.to_owned());
            }
        }
    }
    names
}

#[test]
fn each_core_depends_on_what_the_architecture_allows_and_no_more() {
    for (name, allowed) in CORES {
        let found = dependencies(&read(&format!("crates/{name}/Cargo.toml")));
        let more: Vec<_> =
            found.into_iter().filter(|dependency| !allowed.contains(&dependency.as_str())).collect();
        nothing(&format!("`{name}` may not depend on these (see CORES)"), &more);
    }
}

#[test]
fn the_cores_name_no_clock_no_socket_and_no_neighbour() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        for (name, foreign) in FOREIGN {
            if path.starts_with(&format!("crates/{name}/src/")) && !path.ends_with("/tests.rs") {
                let code = product_code(&text);
                broken.extend(
                    foreign.iter().filter(|word| code.contains(**word)).map(|word| format!("{path}: {word}")),
                );
            }
        }
    }
    nothing("a core must not know these; take them as arguments", &broken);
}

#[test]
fn the_journal_touches_files_in_one_place() {
    let elsewhere: Vec<_> = sources()
        .into_iter()
        .filter(|(path, _)| path.starts_with("crates/octroi-journal/src/"))
        .filter(|(path, text)| !path.ends_with("/disk/real.rs") && product_code(text).contains("std::fs"))
        .map(|(path, _)| path)
        .collect();
    nothing("`std::fs` belongs in disk/real.rs only", &elsewhere);
}

#[test]
fn modules_are_files_of_their_own_name() {
    let found: Vec<_> =
        sources().into_iter().map(|(path, _)| path).filter(|path| path.ends_with("/mod.rs")).collect();
    nothing("`foo.rs` + `foo/`, never `mod.rs`", &found);
}

#[test]
fn no_file_outgrows_its_ceiling() {
    let lengths: Vec<_> = sources().into_iter().map(|(path, text)| (path, text.lines().count())).collect();
    let ceiling =
        |path: &str| LONG.iter().find(|(long, _)| *long == path).map_or(CEILING, |(_, lines)| *lines);
    let mut longest = lengths.clone();
    longest.sort_by_key(|(_, lines)| std::cmp::Reverse(*lines));
    let rows: Vec<_> =
        longest.iter().take(8).map(|(path, lines)| (path.as_str(), lines.to_string())).collect();
    report::table("longest files (lines)", &rows);
    let mut broken: Vec<_> = lengths
        .iter()
        .filter(|(path, lines)| *lines > ceiling(path))
        .map(|(path, lines)| format!("{path}: {lines} lines, at most {}", ceiling(path)))
        .collect();
    for (path, _) in LONG {
        if lengths.iter().find(|(name, _)| name == path).is_none_or(|(_, lines)| *lines <= CEILING) {
            broken.push(format!("{path}: no longer long, take it off the list"));
        }
    }
    nothing("split these by owner", &broken);
}

/// The grammar that ARCHITECTURE.md explains: in its section `## Invariants` every list item or table row
/// (the header aside) names at least one test, as `test: path::of::the::function` in backticks.
fn named_tests(architecture: &str) -> Vec<(String, Vec<String>)> {
    let section =
        architecture.split("\n## Invariants\n").nth(1).expect("ARCHITECTURE.md has `## Invariants`");
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut items: Vec<String> = Vec::new();
    for line in section.lines() {
        let separator = line.starts_with('|') && line.chars().all(|c| "|-: ".contains(c));
        if separator {
            items.pop(); // what stood before is the table's header
        } else if line.starts_with("- ") || line.starts_with('|') {
            items.push(line.to_owned());
        } else if line.starts_with("  ")
            && let Some(item) = items.last_mut()
        {
            item.push_str(line);
        }
    }
    let tests = |item: &str| {
        let parts = item.split("`test: ").skip(1);
        parts.map(|part| part.split('`').next().unwrap_or_default().trim().to_owned()).collect()
    };
    items.into_iter().map(|item| (item.clone(), tests(&item))).collect()
}

/// Whether a source has that test, named as `path::of::the::function`.
pub(crate) fn test_exists(sources: &[(String, String)], path: &str) -> bool {
    let function = path.rsplit("::").next().unwrap_or(path);
    let head = format!("fn {function}(");
    sources.iter().any(|(_, text)| {
        text.match_indices(&head).any(|(at, _)| {
            let before: Vec<_> = text[..at].lines().rev().take(6).collect();
            // `#[test]`, `#[tokio::test]`, or a function inside `proptest! {`
            before.iter().any(|line| line.trim().starts_with("#[test") || line.contains("::test"))
        })
    })
}

#[test]
fn every_invariant_of_the_architecture_names_a_test_that_exists() {
    let sources = sources();
    let invariants = named_tests(&read("ARCHITECTURE.md"));
    assert!(!invariants.is_empty(), "ARCHITECTURE.md lists no invariant");
    let mut broken = Vec::new();
    for (invariant, tests) in invariants {
        if tests.is_empty() {
            broken.push(format!("no test named: {invariant}"));
        }
        broken.extend(
            tests
                .iter()
                .filter(|test| !test_exists(&sources, test))
                .map(|test| format!("no such test: {test}")),
        );
    }
    nothing("an invariant is what a test holds", &broken);
}

#[test]
fn nothing_in_the_repository_points_at_somebodys_machine() {
    // Put together here, so that this file does not contain what it looks for.
    let forbidden = ["work", "root", "home"].map(|name| format!("/{name}/")).into_iter();
    let forbidden: Vec<_> = forbidden.chain([format!("..{}", "/shared")]).collect();
    let mut broken = Vec::new();
    for (path, text) in files() {
        for (at, line) in text.lines().enumerate() {
            // A path begins a word; `https://host/work/` or `a/home/b` do not.
            let hit = |needle: &String| {
                line.match_indices(needle.as_str()).any(|(at, _)| {
                    !line[..at].ends_with(|c: char| c.is_alphanumeric() || "_-.}/".contains(c))
                        || needle.starts_with("..")
                })
            };
            broken.extend(
                forbidden.iter().filter(|n| hit(n)).map(|needle| format!("{path}:{}: {needle}", at + 1)),
            );
        }
    }
    nothing("paths of one machine", &broken);
}

/// `octroi_…` words of a text, histogram suffixes taken off.
fn metric_names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let names = words.filter(|word| word.starts_with("octroi_") && word.len() > "octroi_".len());
    names
        .map(|name| {
            ["_bucket", "_sum", "_count"].iter().find_map(|s| name.strip_suffix(s)).unwrap_or(name).to_owned()
        })
        .collect()
}

#[test]
fn metrics_that_dashboards_and_alerts_use_exist() {
    let owners =
        |path: &str| path == "crates/octroi/src/metrics.rs" || path.starts_with("crates/octroi/src/metrics/");
    let exported: BTreeSet<String> =
        sources().iter().filter(|(path, _)| owners(path)).flat_map(|(_, text)| metric_names(text)).collect();
    assert!(!exported.is_empty(), "crates/octroi/src/metrics.rs names no metric");
    let used: Vec<_> = files().into_iter().filter(|(path, _)| path.starts_with("deploy/")).collect();
    let missing: Vec<_> = used
        .iter()
        .flat_map(|(path, text)| metric_names(text).into_iter().map(move |name| (path, name)))
        .filter(|(_, name)| !exported.contains(name))
        .map(|(path, name)| format!("{path}: {name}"))
        .collect();
    nothing("no such metric in crates/octroi/src/metrics.rs", &missing);
}

/// Dotted keys of the configuration examples in a page: every fenced `toml` block that is a configuration.
fn configuration_keys(page: &str) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for block in page.split("```toml\n").skip(1).filter_map(|rest| rest.split("\n```").next()) {
        let sections = ["[hub]", "[[listener]]", "[journal]", "[http]", "[outlet.", "[log]"];
        if !sections.iter().any(|section| block.contains(section)) {
            continue;
        }
        let mut section = String::new();
        for line in block.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(name) = line.strip_prefix("[[") {
                section = format!("{}[]", name.split(']').next().unwrap_or_default());
            } else if let Some(name) = line.strip_prefix('[') {
                let name = name.split(']').next().unwrap_or_default();
                let outlet = name.strip_prefix("outlet.").map(|_| "outlet.<target>".to_owned());
                section = outlet.unwrap_or_else(|| name.to_owned());
            } else if let Some((key, value)) = line.split_once('=') {
                let key = format!("{section}.{}", key.trim());
                match value.trim().strip_prefix('{') {
                    Some(table) => keys.extend(inline_keys(table).map(|inner| format!("{key}.{inner}"))),
                    None => _ = keys.insert(key),
                }
            }
        }
    }
    keys
}

/// Keys of a one-level inline table.
fn inline_keys(table: &str) -> impl Iterator<Item = String> {
    let outside_quotes: String = table.split('"').step_by(2).collect();
    let keys: Vec<_> = outside_quotes
        .split(',')
        .filter_map(|pair| Some(pair.split_once('=')?.0.trim().to_owned()))
        .collect();
    keys.into_iter()
}

#[test]
fn configuration_keys_in_the_readme_exist() {
    let known = read("crates/octroi/src/config/raw.rs");
    let keys = configuration_keys(&read("README.md"));
    assert!(!keys.is_empty(), "README.md shows no configuration");
    let missing: Vec<_> = keys.into_iter().filter(|key| !known.contains(&format!("(\"{key}\""))).collect();
    nothing("no such key in crates/octroi/src/config/raw.rs", &missing);
}

#[test]
fn no_page_claims_that_the_code_cannot_fail() {
    let claims = ["never panics", "cannot panic", "panic-free", "unwrap-free", "bug-free", "100% safe"];
    let pages = files().into_iter().filter(|(path, _)| path.ends_with(".md"));
    let broken: Vec<_> = pages
        .flat_map(|(path, text)| {
            let text = text.to_lowercase();
            claims
                .into_iter()
                .filter(move |claim| text.contains(claim))
                .map(move |claim| format!("{path}: {claim}"))
        })
        .collect();
    nothing("say what a test shows instead", &broken);
}

#[test]
fn the_rules_above_read_what_they_should() {
    let manifest = "[dependencies]\na.workspace = true\nb = \"1\"\n# c\n[dependencies.d]\nx = 1\n[dev-dependencies]\ne = \"1\"\n";
    assert_eq!(dependencies(manifest).into_iter().collect::<Vec<_>>(), ["a", "b", "d"]);
    let page = "x\n```toml\n[hub]\nid = \"a\" # c\n[[listener]]\ntls = { key = \"file:a,b=c\", crl = \"x\" }\n[outlet.dc-x]\nkind = \"a\"\n```\n";
    let keys = ["hub.id", "listener[].tls.crl", "listener[].tls.key", "outlet.<target>.kind"];
    assert_eq!(configuration_keys(page).into_iter().collect::<Vec<_>>(), keys);
    assert_eq!(
        metric_names("rate(octroi_ack_seconds_bucket[5m]) octroi_").into_iter().collect::<Vec<_>>(),
        ["octroi_ack_seconds"]
    );
    let page = "# A\n\n## Invariants\n\nProse.\n\n- One.\n  `test: a::b`, `test: c`\n\n| what | test |\n|---|---|\n| Two. | none |\n\n## Next\n- Three.\n";
    let named: Vec<_> = named_tests(page).into_iter().map(|(_, tests)| tests).collect();
    assert_eq!(named, [vec!["a::b".to_owned(), "c".to_owned()], vec![]]);
}
