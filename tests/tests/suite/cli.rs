//! Golden sessions: `tests/cli/*.txt`, an operator's commands and what they see.
//!
//! ```text
//! # a comment
//! $ octroi policy check policies/demo
//! expected output, line by line: stdout, then stderr
//! ? 0
//! ```
//!
//! `[..]` stands for anything within a line; a line `[...]` for any number of
//! lines. Commands run in the repository's root; `octroi` is the binary under
//! test; there is no shell (single quotes keep a word together).

use std::fs;
use std::time::Duration;

use octroi_tests::{hub, process, root};

struct Step {
    command: String,
    expected: Vec<String>,
    code: i32,
    line: usize,
}

fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut open = false;
    for (at, line) in text.lines().enumerate() {
        if let Some(command) = line.strip_prefix("$ ") {
            assert!(!open, "line {}: the command before has no `? <code>`", at + 1);
            steps.push(Step { command: command.to_owned(), expected: Vec::new(), code: 0, line: at + 1 });
            open = true;
        } else if let Some(code) = line.strip_prefix("? ") {
            let step = steps.last_mut().filter(|_| open).expect("`?` follows a command");
            step.code = code.trim().parse().expect("an exit code");
            open = false;
        } else if open {
            steps.last_mut().expect("a command is open").expected.push(line.to_owned());
        } else {
            assert!(
                line.is_empty() || line.starts_with('#'),
                "line {}: `{line}` is outside a command",
                at + 1
            );
        }
    }
    assert!(!open && !steps.is_empty(), "a session has commands, and each ends with `? <code>`");
    steps
}

/// `[..]` within a line.
fn line_matches(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split("[..]");
    let Some(rest) = parts.next().and_then(|first| line.strip_prefix(first)) else { return false };
    let parts: Vec<_> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    let mut rest = rest;
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// `[...]` between lines.
fn lines_match(patterns: &[String], lines: &[&str]) -> bool {
    match patterns.split_first() {
        None => lines.is_empty(),
        Some((any, rest)) if any == "[...]" => {
            (0..=lines.len()).any(|skip| lines_match(rest, &lines[skip..]))
        }
        Some((pattern, rest)) => lines
            .split_first()
            .is_some_and(|(line, more)| line_matches(pattern, line) && lines_match(rest, more)),
    }
}

fn words(command: &str) -> Vec<String> {
    let quoted = command.split('\'').enumerate().flat_map(|(at, part)| match at % 2 {
        0 => part.split_whitespace().map(str::to_owned).collect::<Vec<_>>(),
        _ => vec![part.to_owned()],
    });
    quoted.collect()
}

#[test]
fn operators_sessions_look_as_written_down() {
    let mut failures = Vec::new();
    let mut sessions: Vec<_> =
        fs::read_dir(root().join("tests/cli")).unwrap().map(|e| e.unwrap().path()).collect();
    sessions.sort();
    for path in sessions.iter().filter(|path| path.extension().is_some_and(|extension| extension == "txt")) {
        for step in steps(&fs::read_to_string(path).unwrap()) {
            let words = words(&step.command);
            let (program, arguments) = words.split_first().expect("a command has a program");
            assert_eq!(program, "octroi", "{}:{}", path.display(), step.line);
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let finished = process::run(&mut hub::cli_command(&arguments), Duration::from_secs(60)).unwrap();
            let said = format!("{}{}", finished.out, finished.err);
            let lines: Vec<&str> = said.lines().map(str::trim_end).collect();
            if finished.code != step.code || !lines_match(&step.expected, &lines) {
                failures.push(format!(
                    "{}:{}: $ {}\n--- expected (? {})\n{}\n--- got (? {})\n{said}",
                    path.display(),
                    step.line,
                    step.command,
                    step.code,
                    step.expected.join("\n"),
                    finished.code,
                ));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn wildcards_match_what_they_say() {
    assert!(line_matches("a [..] c", "a bb c") && line_matches("[..]", "") && line_matches("a", "a"));
    assert!(!line_matches("a", "ab") && !line_matches("a[..]c", "ab") && !line_matches("[..]x[..]", "abc"));
    let patterns = |text: &[&str]| text.iter().map(|&line| line.to_owned()).collect::<Vec<_>>();
    assert!(lines_match(&patterns(&["[...]", "b", "[...]"]), &["a", "a", "b"]));
    assert!(!lines_match(&patterns(&["[...]", "b"]), &["b", "c"]));
    assert_eq!(words("octroi explain --topic 'a b' x"), ["octroi", "explain", "--topic", "a b", "x"]);
}
