//! `docs/policy-guide.md`, followed literally from an empty directory: a block
//! that names a file is written there, a `console` block is typed in.

use std::fs;
use std::path::Path;
use std::time::Duration;

use octroi_tests::golden::{lines_match, words};
use octroi_tests::{hub, process, root};

/// Fenced blocks: what stands behind the fence, and the block.
fn blocks(page: &str) -> Vec<(&str, &str)> {
    let fenced = page.split("```").skip(1).step_by(2);
    fenced.filter_map(|block| block.split_once('\n')).collect()
}

/// Each command of a console block with the lines below it.
fn commands(block: &str) -> Vec<(&str, Vec<String>)> {
    let mut commands: Vec<(&str, Vec<String>)> = Vec::new();
    for line in block.lines() {
        match line.strip_prefix("$ ") {
            Some(command) => commands.push((command, Vec::new())),
            None => commands.last_mut().expect("a command stands first").1.push(line.to_owned()),
        }
    }
    commands
}

fn typed(command: &str, within: &Path) -> String {
    let words = words(command);
    let arguments: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
    match words[0].as_str() {
        "mkdir" => fs::create_dir_all(within.join(arguments.last().expect("a directory"))).unwrap(),
        "octroi" => {
            let mut command = hub::cli_command(&arguments);
            let finished = process::run(command.current_dir(within), Duration::from_secs(60)).unwrap();
            return finished.out + &finished.err;
        }
        other => panic!("the guide types `{other}`"),
    }
    String::new()
}

#[test]
fn the_guide_followed_literally_ends_in_a_passing_policy() {
    let page = fs::read_to_string(root().join("docs/policy-guide.md")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (mut files, mut last) = (0, String::new());
    for (info, block) in blocks(&page) {
        match info.split_once(' ') {
            Some((_, name)) => {
                fs::write(directory.path().join(name), block).unwrap();
                files += 1;
            }
            None if info == "console" => {
                for (command, expected) in commands(block) {
                    let said = typed(command, directory.path());
                    println!("$ {command}\n{said}");
                    let lines: Vec<&str> = said.lines().map(str::trim_end).collect();
                    assert!(
                        lines_match(&expected, &lines),
                        "$ {command}\nexpected:\n{}\n\ngot:\n{said}",
                        expected.join("\n")
                    );
                    if command.starts_with("octroi policy test") {
                        last = said;
                    }
                }
            }
            None => panic!("a block that is neither a file nor a session: {block}"),
        }
    }
    assert!(files >= 5 && last.contains("0 failed"), "{files} files; {last}");
}
