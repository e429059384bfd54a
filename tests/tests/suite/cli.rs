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

use octroi_tests::golden::{lines_match, words};
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
