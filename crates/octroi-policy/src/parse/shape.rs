//! What each key may hold, read from the JSON Schema, and a check of a spanned
//! TOML tree against it: every fault of a block with its own place and words,
//! where a derived deserializer would stop at the first and say little.
//!
//! Objects are closed here even where the schema leaves them open.

use std::collections::BTreeMap;

use serde_json::Value;
use toml::Spanned;
use toml::de::DeValue;

use super::text::{Text, suggestion};
use crate::{Code, Date, Finding, Location, Severity, Timestamp};

/// What a key may hold.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    Text,
    Date,
    Timestamp,
    Boolean,
    Integer {
        least: i128,
        most: i128,
    },
    Number,
    Words(Vec<String>),
    List(Box<Shape>),
    Map(Box<Shape>),
    Table(Table),
    /// A table whose key `tag` tells which keys it has.
    Tagged {
        tag: String,
        variants: BTreeMap<String, Table>,
    },
    AnyOf(Vec<Shape>),
}

/// A table with known keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) keys: BTreeMap<String, Shape>,
    pub(super) required: Vec<String>,
}

impl Shape {
    /// The shape of a schema; `defs` are its `$defs`. The types of `crate::ast` do not recurse.
    pub(super) fn of(schema: &Value, defs: &Value) -> Self {
        let text = |key: &str| schema.get(key).and_then(Value::as_str);
        if let Some(name) = text("$ref").and_then(|at| at.strip_prefix("#/$defs/")) {
            return Self::of(defs.get(name).unwrap_or(&Value::Null), defs);
        }
        let alternatives = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array);
        if let Some(alternatives) = alternatives {
            return Self::any_of(alternatives, defs);
        }
        if let Some(word) = text("const") {
            return Self::Words(vec![word.to_owned()]);
        }
        if let Some(words) = schema.get("enum").and_then(Value::as_array) {
            return Self::Words(words.iter().filter_map(Value::as_str).map(str::to_owned).collect());
        }
        let kind = match schema.get("type") {
            Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
            other => other.and_then(Value::as_str),
        };
        match (kind, text("format")) {
            (Some("string"), Some("date")) => Self::Date,
            (Some("string"), Some("date-time")) => Self::Timestamp,
            (Some("boolean"), _) => Self::Boolean,
            (Some("integer"), format) => Self::integer(format),
            (Some("number"), _) => Self::Number,
            (Some("array"), _) => {
                Self::List(Box::new(Self::of(schema.get("items").unwrap_or(&Value::Null), defs)))
            }
            (Some("object"), _) => match schema.get("additionalProperties").filter(|more| more.is_object()) {
                Some(more) => Self::Map(Box::new(Self::of(more, defs))),
                None => Self::Table(Table::of(schema, defs)),
            },
            _ => Self::Text,
        }
    }

    fn any_of(alternatives: &[Value], defs: &Value) -> Self {
        let is_null = |schema: &Value| schema.get("type").and_then(Value::as_str) == Some("null");
        let mut shapes = Vec::new();
        let mut words = Vec::new();
        let mut variants = BTreeMap::new();
        let mut tag = None;
        for schema in alternatives.iter().filter(|schema| !is_null(schema)) {
            let shape = Self::of(schema, defs);
            if let Self::Words(more) = shape {
                words.extend(more);
            } else if let Self::Table(mut table) = shape {
                match table.take_tag() {
                    Some((key, word)) => {
                        tag = Some(key);
                        variants.insert(word, table);
                    }
                    None => shapes.push(Self::Table(table)),
                }
            } else {
                shapes.push(shape);
            }
        }
        if let Some(tag) = tag {
            shapes.push(Self::Tagged { tag, variants });
        }
        if !words.is_empty() {
            shapes.push(Self::Words(words));
        }
        match (shapes.pop(), shapes.is_empty()) {
            (Some(only), true) => only,
            (last, _) => Self::AnyOf(shapes.into_iter().chain(last).collect()),
        }
    }

    fn integer(format: Option<&str>) -> Self {
        let (least, most) = match format {
            Some("uint8") => (0, u8::MAX.into()),
            Some("uint16") => (0, u16::MAX.into()),
            Some("uint32") => (0, u32::MAX.into()),
            Some("uint64") => (0, i64::MAX.into()),
            _ => (i64::MIN.into(), i64::MAX.into()),
        };
        Self::Integer { least, most }
    }

    /// What is expected, in words.
    fn expected(&self) -> String {
        match self {
            Self::Text => "text in quotes".to_owned(),
            Self::Date => "a day, as 2027-06-30".to_owned(),
            Self::Timestamp => "an instant, as 2026-11-15T00:00:00Z".to_owned(),
            Self::Boolean => "`true` or `false`".to_owned(),
            Self::Integer { .. } => "an integer".to_owned(),
            Self::Number => "a number".to_owned(),
            Self::Words(words) => format!("one of `{}`", words.join("`, `")),
            Self::List(inner) => format!("a list, each {}", inner.expected()),
            Self::Map(inner) => format!("a table of names, each with {}", inner.expected()),
            Self::Table(table) => {
                format!(
                    "a table with `{}`",
                    table.keys.keys().map(String::as_str).collect::<Vec<_>>().join("`, `")
                )
            }
            Self::Tagged { tag, .. } => format!("a table with `{tag}`"),
            Self::AnyOf(shapes) => shapes.iter().map(Self::expected).collect::<Vec<_>>().join(", or "),
        }
    }

    /// Whether a value is of the right kind at all, whatever it holds.
    fn takes(&self, value: &DeValue<'_>) -> bool {
        match self {
            Self::Text | Self::Words(_) => value.is_str(),
            Self::Date | Self::Timestamp => value.is_str() || value.is_datetime(),
            Self::Boolean => value.is_bool(),
            Self::Integer { .. } => value.is_integer(),
            Self::Number => value.is_float() || value.is_integer(),
            Self::List(_) => value.is_array(),
            Self::Map(_) | Self::Table(_) | Self::Tagged { .. } => value.is_table(),
            Self::AnyOf(shapes) => shapes.iter().any(|shape| shape.takes(value)),
        }
    }

    /// Its items, of a list.
    pub(super) fn item(&self) -> &Self {
        if let Self::List(item) = self { item } else { self }
    }

    /// Whether text stands at the end of it: then a number may be a code.
    fn wants_text(&self) -> bool {
        match self {
            Self::Text => true,
            Self::List(inner) => inner.wants_text(),
            Self::AnyOf(shapes) => shapes.iter().any(Self::wants_text),
            Self::Date
            | Self::Timestamp
            | Self::Boolean
            | Self::Integer { .. }
            | Self::Number
            | Self::Words(_)
            | Self::Map(_)
            | Self::Table(_)
            | Self::Tagged { .. } => false,
        }
    }
}

impl Table {
    fn of(schema: &Value, defs: &Value) -> Self {
        let properties = schema.get("properties").and_then(Value::as_object);
        let required = schema.get("required").and_then(Value::as_array);
        Self {
            keys: properties
                .into_iter()
                .flatten()
                .map(|(key, schema)| (key.clone(), Shape::of(schema, defs)))
                .collect(),
            required: required.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect(),
        }
    }

    /// The one key that must be one word, which tells variants apart.
    fn take_tag(&mut self) -> Option<(String, String)> {
        let is_tag = |shape: &Shape| matches!(shape, Shape::Words(words) if words.len() == 1);
        let key = self.required.iter().find(|key| self.keys.get(*key).is_some_and(is_tag))?.clone();
        let Some(Shape::Words(mut words)) = self.keys.remove(&key) else { return None };
        self.required.retain(|required| *required != key);
        Some((key, words.pop()?))
    }
}

/// Codes of the official registers: a number would lose its zeros.
const CODE_KEYS: &[&str] =
    &["commune", "epci", "departement", "region", "insee", "siren", "producer", "managed_by", "controller"];

/// A check of one block; what it finds goes to `findings`.
pub(super) struct Checker<'a> {
    pub(super) text: &'a Text<'a>,
    /// As it is written: `[[classify]]`.
    pub(super) header: &'a str,
    pub(super) at: Location,
    /// Lines of syntax faults: what follows from them is not said again.
    pub(super) broken_lines: &'a [u32],
    /// Whether a syntax fault lies in the block, which may hide keys.
    pub(super) broken: bool,
    pub(super) findings: &'a mut Vec<Finding>,
}

impl Checker<'_> {
    /// Checks `value`, which stands at the dotted `path` of the block.
    pub(super) fn check(&mut self, shape: &Shape, value: &Spanned<DeValue<'_>>, path: &str) {
        let node = value.get_ref();
        if !shape.takes(node) {
            return self.wrong_type(shape, value, path);
        }
        match (shape, node) {
            (Shape::AnyOf(shapes), _) => {
                if let Some(shape) = shapes.iter().find(|shape| shape.takes(node)) {
                    self.check(shape, value, path);
                }
            }
            (Shape::List(inner), DeValue::Array(items)) => {
                for (ix, item) in items.iter().enumerate() {
                    self.check(inner, item, &join(path, &ix.to_string()));
                }
            }
            (Shape::Map(inner), DeValue::Table(entries)) => {
                for (key, value) in entries {
                    self.check(inner, value, &join(path, key.get_ref()));
                }
            }
            (Shape::Table(table), DeValue::Table(_)) => self.table(table, None, value, path),
            (Shape::Tagged { tag, variants }, DeValue::Table(entries)) => {
                let Some(word) = entries.get(tag.as_str()) else {
                    let words = variants.keys().map(String::as_str).collect::<Vec<_>>().join("`, `");
                    return self.missing(tag, path, value, &format!("add `{tag}`: one of `{words}`"));
                };
                match word.get_ref().as_str().and_then(|word| variants.get(word)) {
                    Some(table) => self.table(table, Some(tag), value, path),
                    None => {
                        let words = Shape::Words(variants.keys().cloned().collect());
                        self.check(&words, word, &join(path, tag));
                    }
                }
            }
            (Shape::Words(words), DeValue::String(word)) if !words.iter().any(|known| known == word) => {
                let fix = suggestion(word, words.iter().map(String::as_str));
                self.push(value.span().start, format!("`{word}` is no value of `{path}`"), WHY_TYPE, fix);
            }
            (Shape::Date | Shape::Timestamp, _) => self.day(shape, value, path),
            (Shape::Integer { least, most }, DeValue::Integer(number)) => {
                let fits = i128::from_str_radix(number.as_str(), number.radix());
                if !fits.is_ok_and(|number| (*least..=*most).contains(&number)) {
                    let fix = format!("write an integer from {least} to {most}");
                    self.push(value.span().start, format!("`{path}` is out of range"), WHY_TYPE, fix);
                }
            }
            (Shape::Number, DeValue::Float(number))
                if !number.as_str().parse::<f64>().is_ok_and(f64::is_finite) =>
            {
                let fix = "write a finite number".to_owned();
                self.push(value.span().start, format!("`{path}` is not finite"), WHY_TYPE, fix);
            }
            _ => {}
        }
    }

    fn table(&mut self, table: &Table, tag: Option<&str>, value: &Spanned<DeValue<'_>>, path: &str) {
        let Some(entries) = value.get_ref().as_table() else { return };
        for (key, value) in entries {
            let name = key.get_ref();
            if let Some(shape) = table.keys.get(name.as_ref()) {
                self.check(shape, value, &join(path, name));
            } else if tag != Some(name) {
                let fix = suggestion(name, table.keys.keys().map(String::as_str));
                let place = match path {
                    "" => format!("`{}`", self.header),
                    path => format!("`{path}` in `{}`", self.header),
                };
                self.push(key.span().start, format!("`{name}` is no key of {place}"), WHY_KEY, fix);
            }
        }
        for key in table.required.iter().filter(|key| !entries.contains_key(key.as_str())) {
            let expected = table.keys.get(key).map(Shape::expected).unwrap_or_default();
            self.missing(key, path, value, &format!("add `{key}`: {expected}"));
        }
    }

    fn missing(&mut self, key: &str, path: &str, value: &Spanned<DeValue<'_>>, fix: &str) {
        if self.broken {
            return;
        }
        let message = format!("`{}` is missing in `{}`", join(path, key), self.header);
        let at = if path.is_empty() { self.at.clone() } else { self.text.at(value.span().start) };
        self.findings.push(error(Code::C01, at, message, "this key has no default", fix.to_owned()));
    }

    fn wrong_type(&mut self, shape: &Shape, value: &Spanned<DeValue<'_>>, path: &str) {
        let node = value.get_ref();
        let written = self.text.slice(value.span());
        let key = path.rsplit('.').find(|part| part.parse::<u32>().is_err()).unwrap_or(path);
        let is_number = node.is_integer() || node.is_float();
        if is_number && shape.wants_text() && CODE_KEYS.contains(&key) {
            let finding = code_as_number(self.text.at(value.span().start), written);
            return self.push_finding(finding);
        }
        let found = match node {
            DeValue::String(_) => "text",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let message = format!("`{path}` in `{}` holds {found}", self.header);
        self.push(value.span().start, message, WHY_TYPE, format!("write {}", shape.expected()));
    }

    fn day(&mut self, shape: &Shape, value: &Spanned<DeValue<'_>>, path: &str) {
        let node = value.get_ref();
        let written = match (node.as_datetime(), node.as_str()) {
            (Some(datetime), _) => datetime.to_string(),
            (None, text) => text.unwrap_or_default().to_owned(),
        };
        let valid = if matches!(shape, Shape::Date) {
            Date::parse(&written).is_some()
        } else {
            Timestamp::parse_rfc3339(&written).is_some()
        };
        if !valid {
            let message = format!("`{written}` in `{path}` is not {}", shape.expected());
            self.push(value.span().start, message, WHY_TYPE, format!("write {}", shape.expected()));
        }
    }

    fn push(&mut self, offset: usize, message: String, why: &str, fix: String) {
        self.push_finding(error(Code::C01, self.text.at(offset), message, why, fix));
    }

    fn push_finding(&mut self, finding: Finding) {
        if !self.broken_lines.contains(&finding.location.line) {
            self.findings.push(finding);
        }
    }
}

const WHY_KEY: &str = "a misspelt protection must not count as an absent one";
const WHY_TYPE: &str = "a value that is not understood protects nothing";

pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

pub(super) fn code_as_number(at: Location, written: &str) -> Finding {
    let number = written.trim_start_matches('0');
    let witness = format!("read as a number it is {}", if number.is_empty() { "0" } else { number });
    let found = error(
        Code::C02,
        at,
        format!("the code `{written}` is written as a number"),
        "codes of the official registers are text: as a number, `01004` loses its zero and `2A004` is none",
        format!("write \"{written}\""),
    );
    Finding { witness: Some(witness.into()), ..found }
}

pub(super) fn error(code: Code, location: Location, message: String, why: &str, fix: String) -> Finding {
    Finding {
        code,
        severity: Severity::Error,
        location,
        message: message.into(),
        why: why.into(),
        fix: fix.into(),
        witness: None,
    }
}
