//! The fields of a message made to order: by name where any value will do,
//! with values where a condition compares one. What is proposed meets each
//! condition by itself; whether all are met together the engine says.

use std::collections::BTreeMap;

use super::{ANY, turned};
use crate::ast::{Comparison, GivenFields, LeafType, LeafTypeName, Value, When};
use crate::same_name;

/// Fields that meet the conditions, those names among them. Where only closed
/// schemas speak of fields, one that they list.
pub(super) fn given(conditions: &[&When], beside: &[&str], variant: usize) -> Option<GivenFields> {
    let schemas = || conditions.iter().filter_map(|when| when.fields_within.as_ref());
    let absent = |name: &str| {
        let mut names = conditions.iter().filter_map(|when| when.field_absent.as_ref()).flatten();
        names.any(|other| same_name(other, name))
    };
    let fits = |name: &str| !absent(name) && schemas().all(|schema| schema.contains_key(name));
    let mut wanted: BTreeMap<&str, Option<&Comparison>> = beside.iter().map(|name| (*name, None)).collect();
    let compared = conditions.iter().flat_map(|when| when.field.iter().flatten());
    let compared = compared.filter(|(_, comparison)| comparison.exists != Some(false));
    wanted.extend(compared.map(|(name, comparison)| (name.as_str(), Some(comparison))));
    for names in conditions.iter().filter_map(|when| when.field_any.as_ref()) {
        if !names.iter().any(|name| wanted.contains_key(name.as_str())) {
            let name = turned(names, variant).find(|name| fits(name)).or_else(|| names.first());
            wanted.extend(name.map(|name| (name.as_str(), None)));
        }
    }
    if wanted.is_empty() {
        let listed: Vec<&String> = schemas().flat_map(BTreeMap::keys).filter(|name| fits(name)).collect();
        wanted.extend(turned(&listed, variant).next().map(|name| (name.as_str(), None)));
    }
    if wanted.is_empty() {
        return None;
    }
    if wanted.values().all(Option::is_none) {
        return Some(GivenFields::Names(wanted.into_keys().map(str::to_owned).collect()));
    }
    let value = |(name, comparison): (&str, Option<&Comparison>)| {
        let value = comparison.and_then(satisfying);
        (name.to_owned(), value.unwrap_or_else(|| of_type(schemas().find_map(|schema| schema.get(name)))))
    };
    Some(GivenFields::Values(wanted.into_iter().map(value).collect()))
}

fn of_type(kind: Option<&LeafType>) -> Value {
    match kind {
        Some(LeafType::In { one_of }) => Value::Text(one_of.first().map_or(ANY, String::as_str).to_owned()),
        Some(LeafType::Named(LeafTypeName::Number)) => Value::Integer(1),
        Some(LeafType::Named(LeafTypeName::Boolean)) => Value::Boolean(true),
        Some(LeafType::Named(LeafTypeName::Time)) => Value::Text("2026-01-01T00:00:00Z".to_owned()),
        Some(LeafType::Named(LeafTypeName::Token | LeafTypeName::Raw | LeafTypeName::Text)) | None => {
            Value::Text(ANY.to_owned())
        }
    }
}

/// A value for which a comparison holds, if one does; `None`: any will do.
fn satisfying(comparison: &Comparison) -> Option<Value> {
    let listed = || comparison.one_of.as_ref().and_then(|values| values.first().cloned());
    if let Some(value) = comparison.eq.clone().or_else(listed) {
        return Some(value);
    }
    let least = comparison.gte.or_else(|| comparison.gt.map(|bound| bound + 1.0));
    let most = comparison.lte.or_else(|| comparison.lt.map(|bound| bound - 1.0));
    match (least, most) {
        (Some(least), Some(most)) if least > most => {
            Some(Value::Number(f64::midpoint(least - 1.0, most + 1.0)))
        }
        (Some(value), _) | (None, Some(value)) => Some(Value::Number(value)),
        (None, None) => {
            let text = [&comparison.starts_with, &comparison.contains].into_iter().flatten();
            let text: String = text.map(String::as_str).collect();
            (!text.is_empty()).then_some(Value::Text(text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given_by(conditions: &[&str], variant: usize) -> Option<String> {
        let whens: Vec<When> = conditions.iter().map(|text| toml::from_str(text).unwrap()).collect();
        let fields = given(&whens.iter().collect::<Vec<_>>(), &[], variant)?;
        Some(serde_json::to_string(&fields).unwrap())
    }

    #[test]
    fn fields_are_names_until_a_condition_compares_a_value() {
        for (conditions, variant, expected) in [
            (&["topic = 'a'"][..], 0, None),
            (&["field_any = ['a', 'b']"], 0, Some(r#"["a"]"#)),
            (&["field_any = ['a', 'b']"], 1, Some(r#"["b"]"#)),
            (&["field_any = ['a', 'b']", "field_absent = ['A']"], 0, Some(r#"["b"]"#)),
            (&["field_any = ['a', 'b']", "fields_within = { b = 'number' }"], 0, Some(r#"["b"]"#)),
            (&["field_any = ['a', 'b']", "field_any = ['c']"], 0, Some(r#"["a","c"]"#)),
            (&["field_any = ['c', 'a']", "field_any = ['b', 'c']"], 0, Some(r#"["c"]"#)),
            (&["fields_within = { a = 'number', b = 'time' }"], 1, Some(r#"["b"]"#)),
            (&["field = { a = { exists = false } }"], 0, None),
            (&["field = { a = { exists = true } }"], 0, Some(r#"{"a":"x"}"#)),
            (&["field = { a = { in = ['u', 'v'] } }"], 0, Some(r#"{"a":"u"}"#)),
            (&["field = { a = { gt = 1.0, lt = 2.0 } }"], 0, Some(r#"{"a":1.5}"#)),
            (
                &["field = { a = { starts_with = 'u' } }", "field_any = ['b']"],
                0,
                Some(r#"{"a":"u","b":"x"}"#),
            ),
        ] {
            assert_eq!(given_by(conditions, variant).as_deref(), expected, "{conditions:?} {variant}");
        }
    }
}
