//! The schema that `octroi policy schema` prints, read by a validator that shares nothing with what made it:
//! every policy shipped is valid there, and what the parser refuses for its shape is not.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use boon::{Compiler, SchemaIndex, Schemas};
use octroi_tests::{hub, process, root};
use serde_json::Value;

struct Schema {
    schemas: Schemas,
    file: SchemaIndex,
}

impl Schema {
    fn printed() -> Self {
        let mut command = hub::cli_command(&["policy", "schema"]);
        let finished = process::run(&mut command, Duration::from_secs(60)).expect("it runs");
        let schema = serde_json::from_str(&finished.out).expect("the schema is JSON");
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.enable_format_assertions();
        compiler.add_resource("policy.json", schema).expect("the schema has no other than itself");
        let file = compiler.compile("policy.json", &mut schemas).expect("a schema of draft 2020-12");
        Self { schemas, file }
    }

    /// Why the file is not valid; empty if it is.
    fn refuses(&self, text: &str) -> String {
        let file = json(toml::Value::Table(toml::from_str(text).expect("TOML")));
        self.schemas.validate(&file, self.file).err().map_or_else(String::new, |error| format!("{error:#}"))
    }
}

/// As editors turn TOML into JSON: a date is its text.
fn json(value: toml::Value) -> Value {
    match value {
        toml::Value::Datetime(date) => Value::String(date.to_string()),
        toml::Value::Array(values) => values.into_iter().map(json).collect(),
        toml::Value::Table(table) => table.into_iter().map(|(key, value)| (key, json(value))).collect(),
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(value) => value.into(),
    }
}

fn toml_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            toml_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            found.push(path);
        }
    }
}

#[test]
fn every_policy_shipped_is_valid_by_the_printed_schema() {
    let (schema, mut files) = (Schema::printed(), Vec::new());
    toml_files(&root().join("policies"), &mut files);
    assert!(files.len() > 12, "{files:?}");
    for file in files {
        let refused = schema.refuses(&fs::read_to_string(&file).expect("text"));
        assert_eq!(refused, "", "{}", file.display());
    }
}

#[test]
fn what_is_misspelt_or_of_a_wrong_type_is_not_valid_by_the_printed_schema() {
    const CASES: [(&str, &str, &str); 9] = [
        ("an unknown block", "[[produser]]", "produser"),
        ("an unknown key", "[[producer]]\nsirene = \"243500741\"", "sirene"),
        ("a missing key", "[[space]]\nid = \"s\"", "perimeter"),
        ("a number for a text", "[[producer]]\nsiren = 243500741", "string"),
        ("a text for a number", "[policy]\nk_min = \"eleven\"", "integer"),
        ("a level that is none", "[[classify]]\nid = \"c\"\nlevel = \"secret\"", "/classify/0/level"),
        ("a date that is none", "[[derogation]]\nexpires = \"tomorrow\"", "date"),
        ("a day that is none", "[[derogation]]\nexpires = \"2027-02-30\"", "date"),
        (
            "an unknown step",
            "[[transform]]\nid = \"t\"\nsteps = [{ op = \"encrypt\" }]",
            "/transform/0/steps/0",
        ),
    ];
    let schema = Schema::printed();
    for (what, text, named) in CASES {
        let refused = schema.refuses(text);
        assert!(refused.contains(named), "{what}: {refused}");
    }
    // And the same whole policy with one key misspelt, so that nothing else can be the reason.
    let whole = fs::read_to_string(root().join("policies/bretagne-exemple.toml")).expect("text");
    assert_eq!(schema.refuses(&whole), "");
    let refused = schema.refuses(&whole.replacen("measure_any", "mesure_any", 1));
    assert!(refused.contains("mesure_any"), "{refused}");
}
