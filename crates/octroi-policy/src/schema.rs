//! The JSON Schema of a policy file, from the types of [`crate::ast`]: editors
//! complete and check with it, and the parser words its findings from it, so
//! that neither can know a key that the other does not.

use schemars::JsonSchema;
use serde_json::Value;

use crate::ast;

/// A file of a policy: every top-level key, every block.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "a shape for the schema; blocks are read one by one, so that none hides another"
)]
struct PolicyFile {
    /// `octroi-policy/1`
    schema: Option<String>,
    /// Other policies, by relative path.
    include: Option<Vec<String>>,
    /// `[policy]`: who adopted this policy, and when.
    policy: Option<ast::PolicyMeta>,
    /// `[defaults]`: what a doubt becomes.
    defaults: Option<ast::Defaults>,
    /// A warning accepted on record.
    acknowledge: Option<Vec<ast::Acknowledge>>,
    /// The public body that messages belong to.
    producer: Option<Vec<ast::Producer>>,
    /// A set of communes.
    perimeter: Option<Vec<ast::Perimeter>>,
    /// What messages are about, and at which scale it is shared.
    domain: Option<Vec<ast::Domain>>,
    /// A place data can live, as legal facts.
    target: Option<Vec<ast::Target>>,
    /// A perimeter and domains, hosted on one target.
    space: Option<Vec<ast::Space>>,
    /// An authenticated identity and what it is bound to.
    source: Option<Vec<ast::Source>>,
    /// A processing of personal data (RGPD art. 30).
    processing: Option<Vec<ast::Processing>>,
    /// A rule that gives a label; the highest of all that match counts.
    classify: Option<Vec<ast::Classify>>,
    /// What a target must be for some labels.
    requirement: Option<Vec<ast::Requirement>>,
    /// What is done to a copy before it leaves.
    transform: Option<Vec<ast::Transform>>,
    /// A second destination, beside the primary space.
    copy: Option<Vec<ast::Copy>>,
    /// A requirement lifted somewhere for a time.
    derogation: Option<Vec<ast::Derogation>>,
    /// What must never be possible, proved over every case.
    invariant: Option<Vec<ast::Invariant>>,
    /// A message and what must become of it.
    test: Option<Vec<ast::Test>>,
}

/// The JSON Schema (draft 2020-12) of one file of a policy.
#[must_use]
pub fn json_schema() -> Value {
    schemars::schema_for!(PolicyFile).to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every key of a tree, with the schemas that may describe it.
    fn unknown_keys(
        value: &toml::Value,
        schemas: &[&Value],
        defs: &Value,
        path: &str,
        unknown: &mut Vec<String>,
    ) {
        let schemas = resolved(schemas, defs);
        if let Some(entries) = value.as_table() {
            for (key, value) in entries {
                let inner: Vec<&Value> = schemas
                    .iter()
                    .filter_map(|schema| {
                        schema["properties"].get(key).or_else(|| schema.get("additionalProperties"))
                    })
                    .filter(|schema| schema.is_object())
                    .collect();
                if inner.is_empty() {
                    unknown.push(format!("{path}.{key}"));
                }
                unknown_keys(value, &inner, defs, &format!("{path}.{key}"), unknown);
            }
        }
        let inner: Vec<&Value> = schemas.iter().filter_map(|schema| schema.get("items")).collect();
        let items = value.as_array().into_iter().flatten();
        items.for_each(|item| unknown_keys(item, &inner, defs, path, unknown));
    }

    fn resolved<'a>(schemas: &[&'a Value], defs: &'a Value) -> Vec<&'a Value> {
        let mut found = Vec::new();
        for schema in schemas {
            let referred = schema["$ref"].as_str().and_then(|at| defs.get(at.trim_start_matches("#/$defs/")));
            let more: Vec<&Value> = referred
                .into_iter()
                .chain(schema["anyOf"].as_array().into_iter().flatten())
                .chain(schema["oneOf"].as_array().into_iter().flatten())
                .collect();
            if more.is_empty() {
                found.push(*schema);
            } else {
                found.extend(resolved(&more, defs));
            }
        }
        found
    }

    fn unknown_in(text: &str) -> Vec<String> {
        let (schema, mut unknown) = (json_schema(), Vec::new());
        let tree = toml::Value::Table(toml::from_str(text).unwrap());
        unknown_keys(&tree, &[&schema], &schema["$defs"], "", &mut unknown);
        unknown
    }

    /// Every key of an object, with the path to it; of a tagged variant, its tag aside.
    fn undescribed(schema: &Value, path: &str, found: &mut Vec<String>) {
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            let is_tag = property.get("const").is_some();
            if !is_tag && property["description"].as_str().is_none_or(|text| text.len() < 4) {
                found.push(format!("{path}.{key}"));
            }
        }
        for variants in ["oneOf", "anyOf"] {
            let variants = schema[variants].as_array().into_iter().flatten();
            variants.for_each(|variant| undescribed(variant, path, found));
        }
    }

    #[test]
    fn every_key_of_every_block_is_described() {
        let schema = json_schema();
        let mut found = Vec::new();
        undescribed(&schema, "", &mut found);
        for (name, def) in schema["$defs"].as_object().unwrap() {
            undescribed(def, name, &mut found);
        }
        assert_eq!(found, [""; 0]);
        undescribed(&serde_json::json!({ "properties": { "a": {} } }), "x", &mut found);
        assert_eq!(found, ["x.a"], "this test can fail");
    }

    #[test]
    fn every_key_of_the_example_stands_in_the_schema() {
        let example = include_str!("../../../policies/bretagne-exemple.toml");
        assert_eq!(unknown_in(example), [""; 0]);
        assert_eq!(
            unknown_in(&example.replacen("measure_any", "mesure_any", 1)),
            [".classify.when.mesure_any"],
            "this test can fail"
        );
    }

    #[test]
    fn every_object_of_the_schema_says_which_keys_it_has() {
        let schema = json_schema();
        for (name, def) in schema["$defs"].as_object().unwrap() {
            let variants = def["oneOf"].as_array().or(def["anyOf"].as_array());
            for object in variants.into_iter().flatten().chain([def]).filter(|def| def["type"] == "object") {
                assert!(object.get("additionalProperties").is_some(), "{name} is open");
            }
        }
    }
}
