//! `docs/mqtt-conformance.md` answers every normative statement of both
//! standards, once, and names tests that exist.

use std::collections::BTreeSet;

use crate::tidy::{nothing, read, sources, test_exists};

/// How many statements each section of MQTT 3.1.1 has; they are numbered from 1.
const V3: [(&str, u32); 39] = [
    ("1.5.3", 3),
    ("2.2.2", 2),
    ("2.3.1", 7),
    ("3.1.0", 2),
    ("3.1.2", 24),
    ("3.1.3", 11),
    ("3.1.4", 5),
    ("3.2.0", 1),
    ("3.2.2", 6),
    ("3.3.1", 12),
    ("3.3.2", 3),
    ("3.3.4", 1),
    ("3.3.5", 2),
    ("3.6.1", 1),
    ("3.8.1", 1),
    ("3.8.3", 4),
    ("3.8.4", 6),
    ("3.9.3", 2),
    ("3.10.1", 1),
    ("3.10.3", 2),
    ("3.10.4", 6),
    ("3.12.4", 1),
    ("3.14.1", 1),
    ("3.14.4", 3),
    ("4.1.0", 2),
    ("4.3.1", 1),
    ("4.3.2", 2),
    ("4.3.3", 2),
    ("4.4.0", 1),
    ("4.5.0", 2),
    ("4.6.0", 6),
    ("4.7.1", 3),
    ("4.7.2", 1),
    ("4.7.3", 4),
    ("4.8.0", 2),
    ("6.0.0", 4),
    ("7.0.0", 2),
    ("7.1.1", 1),
    ("7.1.2", 1),
];

/// The same of MQTT 5.
const V5: [(&str, u32); 56] = [
    ("1.5.4", 3),
    ("1.5.5", 1),
    ("1.5.7", 1),
    ("2.1.3", 1),
    ("2.2.1", 6),
    ("2.2.2", 1),
    ("3.1.0", 2),
    ("3.1.2", 30),
    ("3.1.3", 12),
    ("3.1.4", 6),
    ("3.2.0", 2),
    ("3.2.2", 22),
    ("3.3.1", 13),
    ("3.3.2", 20),
    ("3.3.4", 10),
    ("3.4.2", 3),
    ("3.5.2", 3),
    ("3.6.1", 1),
    ("3.6.2", 3),
    ("3.7.2", 3),
    ("3.8.1", 1),
    ("3.8.3", 5),
    ("3.8.4", 8),
    ("3.9.2", 2),
    ("3.9.3", 2),
    ("3.10.1", 1),
    ("3.10.3", 2),
    ("3.10.4", 6),
    ("3.11.2", 2),
    ("3.11.3", 2),
    ("3.12.4", 1),
    ("3.14.0", 1),
    ("3.14.1", 1),
    ("3.14.2", 4),
    ("3.14.4", 3),
    ("3.15.1", 1),
    ("3.15.2", 3),
    ("4.1.0", 2),
    ("4.2.0", 1),
    ("4.3.1", 1),
    ("4.3.2", 5),
    ("4.3.3", 13),
    ("4.4.0", 2),
    ("4.5.0", 2),
    ("4.6.0", 6),
    ("4.7.0", 1),
    ("4.7.1", 2),
    ("4.7.2", 1),
    ("4.7.3", 4),
    ("4.8.2", 6),
    ("4.9.0", 3),
    ("4.12.0", 7),
    ("4.12.1", 2),
    ("4.13.1", 1),
    ("4.13.2", 1),
    ("6.0.0", 4),
];

/// A number that the standard passes over.
const LEFT_OUT: [&str; 1] = ["2.2.1-1"];

/// The rows of a section's table: statements, and what holds them.
fn rows<'a>(page: &'a str, section: &str) -> Vec<(Vec<&'a str>, &'a str)> {
    let section = page.split(&format!("\n## {section}\n")).nth(1).expect("the section is there");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(2);
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 3, "{row}");
        (cells[0].split(", ").collect(), cells[2])
    })
    .collect()
}

/// Tests that an answer names and that do not exist.
fn missing_tests(sources: &[(String, String)], held_by: &str) -> Vec<String> {
    let tests = held_by.split("`test: ").skip(1).filter_map(|part| part.split('`').next());
    tests.filter(|test| !test_exists(sources, test)).map(|test| format!("no such test: {test}")).collect()
}

#[test]
fn every_interoperability_case_is_answered_once_by_tests_that_exist() {
    let (page, sources) = (read("docs/mqtt-conformance.md"), sources());
    let (mut seen, mut broken) = (BTreeSet::new(), Vec::new());
    for (cases, held_by) in rows(&page, "The Eclipse Paho interoperability cases") {
        broken.extend(missing_tests(&sources, held_by));
        broken.extend(
            cases.into_iter().filter(|case| !seen.insert(*case)).map(|case| format!("{case}: twice")),
        );
    }
    nothing("docs/mqtt-conformance.md", &broken);
    assert_eq!(seen.len(), 29, "{seen:?}");
}

#[test]
fn every_statement_of_both_standards_is_answered_once_by_tests_that_exist() {
    let page = read("docs/mqtt-conformance.md");
    let sources = sources();
    let mut broken = Vec::new();
    for (title, sections) in [("MQTT 3.1.1", &V3[..]), ("MQTT 5", &V5[..])] {
        let numbers =
            sections.iter().flat_map(|(section, count)| (1..=*count).map(move |n| format!("{section}-{n}")));
        let mut expected: BTreeSet<String> =
            numbers.filter(|number| !LEFT_OUT.contains(&number.as_str())).collect();
        for (statements, held_by) in rows(&page, title) {
            for statement in statements {
                if !expected.remove(statement) {
                    broken.push(format!("{title}: {statement} is no statement, or stands twice"));
                }
            }
            broken.extend(missing_tests(&sources, held_by));
            if held_by.is_empty() {
                broken.push(format!("{title}: a row without an answer"));
            }
        }
        broken.extend(expected.into_iter().map(|number| format!("{title}: {number} is not answered")));
    }
    nothing("docs/mqtt-conformance.md", &broken);
}
