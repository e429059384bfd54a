//! What each key may hold, read from the JSON Schema, and a check of a spanned
//! TOML tree against it: every fault of a block with its own place and words,
//! where a derived deserializer would stop at the first and say little.
//!
//! Objects are closed here even where the schema leaves them open.

use std::collections::BTreeMap;

use serde_json::Value;
use toml::Spanned;
use toml::de::DeValue;

use super::text::{Lines, suggestion};
use crate::text::text;
use crate::{Code, Date, Finding, Location, Severity, Text, Timestamp};

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
    fn expected(&self) -> Text {
        match self {
            Self::Text => text!("text in quotes", "un texte entre guillemets"),
            Self::Date => text!("a day, as 2027-06-30", "un jour, comme 2027-06-30"),
            Self::Timestamp => {
                text!("an instant, as 2026-11-15T00:00:00Z", "un instant, comme 2026-11-15T00:00:00Z")
            }
            Self::Boolean => text!("`true` or `false`", "`true` ou `false`"),
            Self::Integer { .. } => text!("an integer", "un entier"),
            Self::Number => text!("a number", "un nombre"),
            Self::Words(words) => {
                let words = words.join("`, `");
                text!("one of `{words}`", "l'un de `{words}`")
            }
            Self::List(inner) => {
                let Text { en, fr } = inner.expected();
                text!("a list, each {en}", "une liste, chaque fois {fr}")
            }
            Self::Map(inner) => {
                let Text { en, fr } = inner.expected();
                text!("a table of names, each with {en}", "une table de noms, chacun avec {fr}")
            }
            Self::Table(table) => {
                let keys = table.keys.keys().map(String::as_str).collect::<Vec<_>>().join("`, `");
                text!("a table with `{keys}`", "une table avec `{keys}`")
            }
            Self::Tagged { tag, .. } => text!("a table with `{tag}`", "une table avec `{tag}`"),
            Self::AnyOf(shapes) => {
                let all: Vec<Text> = shapes.iter().map(Self::expected).collect();
                Text::join(&all, ", or ", ", ou ")
            }
        }
    }

    fn to_write(&self) -> Text {
        let Text { en, fr } = self.expected();
        text!("write {en}", "écrire {fr}")
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
    pub(super) text: &'a Lines<'a>,
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
                    let fix = text!("add `{tag}`: one of `{words}`", "ajouter `{tag}` : l'un de `{words}`",);
                    return self.missing(tag, path, value, fix);
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
                let message =
                    text!("`{word}` is no value of `{path}`", "`{word}` n'est pas une valeur de `{path}`");
                self.push(value.span().start, message, why_type(), fix);
            }
            (Shape::Date | Shape::Timestamp, _) => self.day(shape, value, path),
            (Shape::Integer { least, most }, DeValue::Integer(number)) => {
                let fits = i128::from_str_radix(number.as_str(), number.radix());
                if !fits.is_ok_and(|number| (*least..=*most).contains(&number)) {
                    let message = text!("`{path}` is out of range", "`{path}` est hors limites");
                    let fix = text!(
                        "write an integer from {least} to {most}",
                        "écrire un entier de {least} à {most}",
                    );
                    self.push(value.span().start, message, why_type(), fix);
                }
            }
            (Shape::Number, DeValue::Float(number))
                if !number.as_str().parse::<f64>().is_ok_and(f64::is_finite) =>
            {
                let message = text!("`{path}` is not finite", "`{path}` n'est pas fini");
                let fix = text!("write a finite number", "écrire un nombre fini");
                self.push(value.span().start, message, why_type(), fix);
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
                let header = self.header;
                let message = match path {
                    "" => {
                        text!("`{name}` is no key of `{header}`", "`{name}` n'est pas une clé de `{header}`",)
                    }
                    path => text!(
                        "`{name}` is no key of `{path}` in `{header}`",
                        "`{name}` n'est pas une clé de `{path}` dans `{header}`",
                    ),
                };
                self.push(key.span().start, message, why_key(), fix);
            }
        }
        for key in table.required.iter().filter(|key| !entries.contains_key(key.as_str())) {
            let Text { en, fr } = table.keys.get(key).map(Shape::expected).unwrap_or_default();
            self.missing(key, path, value, text!("add `{key}`: {en}", "ajouter `{key}` : {fr}"));
        }
    }

    fn missing(&mut self, key: &str, path: &str, value: &Spanned<DeValue<'_>>, fix: Text) {
        if self.broken {
            return;
        }
        let (key, header) = (join(path, key), self.header);
        let message = text!("`{key}` is missing in `{header}`", "`{key}` manque dans `{header}`");
        let at = if path.is_empty() { self.at.clone() } else { self.text.at(value.span().start) };
        let why = text!("this key has no default", "cette clé n'a pas de valeur par défaut");
        self.findings.push(error(Code::C01, at, message, why, fix));
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
        let Text { en, fr } = match node {
            DeValue::String(_) => text!("text", "du texte"),
            DeValue::Integer(_) => text!("an integer", "un entier"),
            DeValue::Float(_) => text!("a number", "un nombre"),
            DeValue::Boolean(_) => text!("a boolean", "un booléen"),
            DeValue::Datetime(_) => text!("a date", "une date"),
            DeValue::Array(_) => text!("a list", "une liste"),
            DeValue::Table(_) => text!("a table", "une table"),
        };
        let header = self.header;
        let message = text!("`{path}` in `{header}` holds {en}", "`{path}` dans `{header}` contient {fr}");
        self.push(value.span().start, message, why_type(), shape.to_write());
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
            let Text { en, fr } = shape.expected();
            let message =
                text!("`{written}` in `{path}` is not {en}", "`{written}` dans `{path}` n'est pas {fr}",);
            self.push(value.span().start, message, why_type(), shape.to_write());
        }
    }

    fn push(&mut self, offset: usize, message: Text, why: Text, fix: Text) {
        self.push_finding(error(Code::C01, self.text.at(offset), message, why, fix));
    }

    fn push_finding(&mut self, finding: Finding) {
        if !self.broken_lines.contains(&finding.location.line) {
            self.findings.push(finding);
        }
    }
}

pub(super) fn why_key() -> Text {
    text!(
        "a misspelt protection must not count as an absent one",
        "une protection mal orthographiée ne doit pas passer pour une protection absente",
    )
}

pub(super) fn why_type() -> Text {
    text!(
        "a value that is not understood protects nothing",
        "une valeur qui n'est pas comprise ne protège rien",
    )
}

pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

pub(super) fn code_as_number(at: Location, written: &str) -> Finding {
    let number = match written.trim_start_matches('0') {
        "" => "0",
        number => number,
    };
    let message = text!(
        "the code `{written}` is written as a number",
        "le code `{written}` est écrit comme un nombre",
    );
    let why = text!(
        "codes of the official registers are text: as a number, `01004` loses its zero and `2A004` is none",
        "les codes des registres officiels sont du texte : en nombre, `01004` perd son zéro et `2A004` n'en est pas un",
    );
    let fix = text!("write \"{written}\"", "écrire \"{written}\"");
    let witness = text!("read as a number it is {number}", "lu comme un nombre, c'est {number}");
    Finding { witness: Some(witness.into()), ..error(Code::C02, at, message, why, fix) }
}

pub(super) fn error(code: Code, location: Location, message: Text, why: Text, fix: Text) -> Finding {
    Finding { code, severity: Severity::Error, location, message, why, fix, witness: None }
}
