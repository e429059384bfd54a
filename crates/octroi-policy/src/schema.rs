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
    policy: Option<ast::PolicyMeta>,
    defaults: Option<ast::Defaults>,
    acknowledge: Option<Vec<ast::Acknowledge>>,
    producer: Option<Vec<ast::Producer>>,
    perimeter: Option<Vec<ast::Perimeter>>,
    domain: Option<Vec<ast::Domain>>,
    target: Option<Vec<ast::Target>>,
    space: Option<Vec<ast::Space>>,
    source: Option<Vec<ast::Source>>,
    processing: Option<Vec<ast::Processing>>,
    classify: Option<Vec<ast::Classify>>,
    requirement: Option<Vec<ast::Requirement>>,
    transform: Option<Vec<ast::Transform>>,
    copy: Option<Vec<ast::Copy>>,
    derogation: Option<Vec<ast::Derogation>>,
    invariant: Option<Vec<ast::Invariant>>,
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
