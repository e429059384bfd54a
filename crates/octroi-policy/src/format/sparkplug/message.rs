//! The messages of Sparkplug B's protobuf schema → nodes and leaves.
//!
//! Fields are gathered first, since they may stand in any order; repeated ones
//! stay where they are in the payload. Depth and number of values have the
//! bounds of the JSON reader.

use std::borrow::Cow;

use super::super::protobuf::{Field, Once, Span};
use super::super::{ReadError, not_of_the_format};
use super::value::{Plain, Typed};
use crate::Timestamp;
use crate::facts::{Ambiguity, Facts, Kind, Leaf, LeafRole, Node, Scalar};
use crate::json::{MAX_DEPTH, MAX_VALUES, reason as json_reason};

/// Why a payload is ambiguous: the stable names.
mod reason {
    pub(super) const ALIAS_AND_NAME: &str = "Sparkplug metric with name and alias outside a birth";
    pub(super) const VALUES: &str = "Sparkplug value twice, or beside null";
    pub(super) const NO_VALUE: &str = "Sparkplug metric without value";
    pub(super) const DATA_SET: &str = "Sparkplug dataset of unequal rows";
    pub(super) const PROPERTIES: &str = "Sparkplug properties of unequal number";
}

/// No field of Sparkplug has it: what an extension means is known to its readers only.
const UNDEFINED: ReadError = not_of_the_format("a field that Sparkplug B does not define");
const NAMELESS: ReadError = not_of_the_format("a Sparkplug metric without name and alias");

const DATA: LeafRole = LeafRole::Data { root: 0 };

/// What the specification itself names and types.
fn is_defined(name: &str, value: &Scalar<'_>) -> bool {
    matches!((name, value), ("bdSeq", Scalar::Number(..)) | ("Node Control/Rebirth", Scalar::Boolean(_)))
}

/// Reads a payload; `aliases`: whether a metric may do without a name.
pub(super) fn read<'a>(kind: Kind, aliases: bool, payload: &'a [u8]) -> Result<Facts<'a>, ReadError> {
    if payload.is_empty() {
        return Err(Ambiguity { reason: json_reason::EMPTY, offset: 0 }.into());
    }
    let facts = Facts { kind, ..Facts::default() };
    let mut reader = Reader { facts, aliases, values: 0 };
    let mut once = Once::default();
    for field in Span::new(payload).fields() {
        let field = field?;
        if field.number != 2 {
            once.field(&field)?;
        }
        match field.number {
            1 => reader.facts.time = instant(field.uint64()?),
            2 => reader.metric(field.bytes()?, None, 0)?,
            // The number of the message.
            3 => _ = field.uint64()?,
            4 => reader.text("uuid", &field, None, 0)?,
            5 => {
                field.bytes()?;
                let node = reader.node("body", None, 0, field.at)?;
                reader.leaf(Some(node), Scalar::Empty, LeafRole::Raw, field.at)?;
            }
            _ => return Err(UNDEFINED),
        }
    }
    let mut facts = reader.facts;
    facts.measures.sort_unstable();
    facts.measures.dedup();
    facts.read_declared();
    Ok(facts)
}

/// Milliseconds since 1970, until the year 5138 as elsewhere.
fn instant(milliseconds: u64) -> Option<Timestamp> {
    let milliseconds = i64::try_from(milliseconds).ok().filter(|ms| *ms < 100_000_000_000_000)?;
    Some(Timestamp(milliseconds * 1000))
}

/// Where the parts of a metric go.
#[derive(Clone, Copy)]
struct Place {
    /// `None`: it has no name.
    node: Option<u32>,
    /// Keys that lead there, itself included.
    depth: u8,
}

/// The value of a metric, a parameter or a property, as its fields say.
#[derive(Default)]
struct Valued<'a> {
    once: Once,
    datatype: Option<u32>,
    null: bool,
    value: Option<Value<'a>>,
}

/// A value as it stands in its field.
enum Value<'a> {
    Plain(Plain<'a>),
    Bytes,
    DataSet(Span<'a>),
    Template(Span<'a>),
    PropertySet(Span<'a>),
    PropertySets(Span<'a>),
}

impl<'a> Valued<'a> {
    fn set(&mut self, value: Value<'a>, field: &Field<'a>) -> Result<(), Ambiguity> {
        match self.value.replace(value) {
            None => Ok(()),
            Some(_) => Err(field.fault(reason::VALUES)),
        }
    }

    /// The value, and its type; `at` is where the message stands.
    fn finish(self, at: usize) -> Result<(Option<Value<'a>>, Typed), Ambiguity> {
        let typed = Typed { datatype: self.datatype, at };
        match (&self.value, self.null) {
            (Some(_), true) => Err(typed.fault(reason::VALUES)),
            (None, false) => Err(typed.fault(reason::NO_VALUE)),
            (Some(_), false) | (None, true) => Ok((self.value, typed)),
        }
    }
}

/// A metric, as its fields say.
#[derive(Default)]
struct Metric<'a> {
    name: Option<&'a str>,
    alias: bool,
    properties: Option<Span<'a>>,
    metadata: Option<Span<'a>>,
    valued: Valued<'a>,
}

impl<'a> Metric<'a> {
    fn read(span: Span<'a>) -> Result<Self, ReadError> {
        let mut metric = Self::default();
        let valued = &mut metric.valued;
        for field in span.fields() {
            let field = field?;
            valued.once.field(&field)?;
            match field.number {
                1 => metric.name = Some(field.text()?).filter(|name| !name.is_empty()),
                2 => (_, metric.alias) = (field.uint64()?, true),
                3 => _ = field.uint64()?,
                4 => valued.datatype = Some(field.uint32()?),
                // Historical, transient: how to keep it.
                5 | 6 => _ = field.boolean()?,
                7 => valued.null = field.boolean()?,
                8 => metric.metadata = Some(field.bytes()?),
                9 => metric.properties = Some(field.bytes()?),
                number @ 10..16 => valued.set(Value::Plain(Plain::read(number - 10, &field)?), &field)?,
                16 => {
                    field.bytes()?;
                    valued.set(Value::Bytes, &field)?;
                }
                17 => valued.set(Value::DataSet(field.bytes()?), &field)?,
                18 => valued.set(Value::Template(field.bytes()?), &field)?,
                _ => return Err(UNDEFINED),
            }
        }
        Ok(metric)
    }
}

struct Reader<'a> {
    facts: Facts<'a>,
    aliases: bool,
    values: u32,
}

impl<'a> Reader<'a> {
    fn metric(&mut self, span: Span<'a>, parent: Option<u32>, depth: u8) -> Result<(), ReadError> {
        let Metric { name, alias, properties, metadata, valued } = Metric::read(span)?;
        let (value, typed) = valued.finish(span.at)?;
        let place = match name {
            Some(_) if alias && self.aliases => return Err(typed.fault(reason::ALIAS_AND_NAME).into()),
            Some(name) => {
                Place { node: Some(self.node(name, parent, depth, span.at)?), depth: below(depth, span.at)? }
            }
            None if alias && self.aliases => {
                self.leaf(parent, Scalar::Empty, LeafRole::Raw, span.at)?;
                // Without name it is a level all the same, or nothing would bound how deep it goes.
                Place { node: parent, depth: below(depth, span.at)? }
            }
            None => return Err(NAMELESS),
        };
        if let Some(properties) = properties {
            let node = self.node("properties", place.node, place.depth, properties.at)?;
            self.property_set(properties, node, place.depth + 1)?;
        }
        if let Some(metadata) = metadata {
            let node = self.node("metadata", place.node, place.depth, metadata.at)?;
            self.metadata(metadata, node, place.depth + 1)?;
        }
        match value {
            Some(Value::DataSet(span)) => {
                typed.expect_data_set()?;
                self.data_set(span, place)
            }
            Some(Value::Template(span)) => {
                typed.expect_template()?;
                self.template(span, place)
            }
            // Its type is that of a birth.
            _ if name.is_none() => Ok(()),
            Some(Value::Plain(plain)) => {
                let value = plain.scalar(typed)?;
                let defined = parent.is_none() && name.is_some_and(|name| is_defined(name, &value));
                let role = if defined { LeafRole::Metadata } else { DATA };
                let measures = !defined && !typed.is_time();
                self.value(place, value, role, measures, typed.at)
            }
            Some(Value::Bytes) => {
                typed.expect_bytes()?;
                self.value(place, Scalar::Empty, LeafRole::Raw, false, typed.at)
            }
            None | Some(Value::PropertySet(_) | Value::PropertySets(_)) => {
                self.value(place, Scalar::Empty, DATA, false, typed.at)
            }
        }
    }

    fn metadata(&mut self, span: Span<'a>, node: u32, depth: u8) -> Result<(), ReadError> {
        let mut once = Once::default();
        for field in span.fields() {
            let field = field?;
            once.field(&field)?;
            match field.number {
                1 => _ = field.boolean()?,
                2 => self.text("content_type", &field, Some(node), depth)?,
                3 | 4 => _ = field.uint64()?,
                5 => self.text("file_name", &field, Some(node), depth)?,
                6 => self.text("file_type", &field, Some(node), depth)?,
                7 => self.text("md5", &field, Some(node), depth)?,
                8 => self.text("description", &field, Some(node), depth)?,
                _ => return Err(UNDEFINED),
            }
        }
        Ok(())
    }

    fn property_set(&mut self, span: Span<'a>, node: u32, depth: u8) -> Result<(), ReadError> {
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        for field in span.fields() {
            let field = field?;
            match field.number {
                1 => keys.push(field.text()?),
                2 => values.push(field.bytes()?),
                _ => return Err(UNDEFINED),
            }
        }
        if keys.len() != values.len() {
            return Err(ambiguous(reason::PROPERTIES, span.at));
        }
        if keys.is_empty() {
            self.leaf(Some(node), Scalar::Empty, DATA, span.at)?;
        }
        for (key, value) in keys.into_iter().zip(values) {
            let node = self.node(key, Some(node), depth, value.at)?;
            self.property(value, node, depth + 1)?;
        }
        Ok(())
    }

    fn property(&mut self, span: Span<'a>, node: u32, depth: u8) -> Result<(), ReadError> {
        let mut valued = Valued::default();
        for field in span.fields() {
            let field = field?;
            valued.once.field(&field)?;
            match field.number {
                1 => valued.datatype = Some(field.uint32()?),
                2 => valued.null = field.boolean()?,
                number @ 3..9 => valued.set(Value::Plain(Plain::read(number - 3, &field)?), &field)?,
                9 => valued.set(Value::PropertySet(field.bytes()?), &field)?,
                10 => valued.set(Value::PropertySets(field.bytes()?), &field)?,
                _ => return Err(UNDEFINED),
            }
        }
        let (value, typed) = valued.finish(span.at)?;
        match value {
            Some(Value::Plain(plain)) => {
                let value = plain.scalar(typed)?;
                self.leaf(Some(node), value, DATA, span.at)
            }
            Some(Value::PropertySet(set)) => {
                typed.expect_property_set()?;
                self.property_set(set, node, depth)
            }
            Some(Value::PropertySets(list)) => {
                typed.expect_property_set()?;
                for field in list.fields() {
                    let field = field?;
                    if field.number != 1 {
                        return Err(UNDEFINED);
                    }
                    self.property_set(field.bytes()?, node, depth)?;
                }
                Ok(())
            }
            None | Some(Value::Bytes | Value::DataSet(_) | Value::Template(_)) => {
                self.leaf(Some(node), Scalar::Empty, DATA, span.at)
            }
        }
    }

    fn data_set(&mut self, span: Span<'a>, place: Place) -> Result<(), ReadError> {
        let (mut once, mut count) = (Once::default(), None);
        let (mut columns, mut types, mut rows) = (Vec::new(), Vec::new(), Vec::new());
        for field in span.fields() {
            let field = field?;
            match field.number {
                1 => {
                    once.field(&field)?;
                    count = usize::try_from(field.uint64()?).ok();
                }
                2 => columns.push((field.text()?, field.at)),
                3 => field.uint32s(&mut types)?,
                4 => rows.push(field.bytes()?),
                _ => return Err(UNDEFINED),
            }
        }
        if types.len() != columns.len() || count.is_some_and(|count| count != columns.len()) {
            return Err(ambiguous(reason::DATA_SET, span.at));
        }
        if rows.is_empty() || columns.is_empty() {
            self.value(place, Scalar::Empty, DATA, false, span.at)?;
        }
        let mut nodes = Vec::new();
        for ((name, at), datatype) in columns.into_iter().zip(types) {
            self.count(at)?;
            nodes.push((self.node(name, place.node, place.depth, at)?, datatype));
        }
        for row in rows {
            let mut columns = nodes.iter();
            for element in row.fields() {
                let element = element?;
                if element.number != 1 {
                    return Err(UNDEFINED);
                }
                let (node, datatype) =
                    *columns.next().ok_or_else(|| ambiguous(reason::DATA_SET, element.at))?;
                self.element(element.bytes()?, Place { node: Some(node), depth: place.depth + 1 }, datatype)?;
            }
            if columns.next().is_some() {
                return Err(ambiguous(reason::DATA_SET, row.at));
            }
        }
        Ok(())
    }

    /// A value of a dataset; one without field is null.
    fn element(&mut self, span: Span<'a>, place: Place, datatype: u32) -> Result<(), ReadError> {
        let typed = Typed { datatype: Some(datatype), at: span.at };
        let mut value = None;
        for field in span.fields() {
            let field = field?;
            let slot = field.number - 1;
            if slot >= Plain::FIELDS {
                return Err(UNDEFINED);
            }
            if value.replace(Plain::read(slot, &field)?).is_some() {
                return Err(field.fault(reason::VALUES).into());
            }
        }
        let value = value.map_or(Ok(Scalar::Empty), |plain| plain.scalar(typed))?;
        self.value(place, value, DATA, !typed.is_time(), span.at)
    }

    fn template(&mut self, span: Span<'a>, place: Place) -> Result<(), ReadError> {
        let mut once = Once::default();
        // The template itself, or one without members would hide that it is there.
        self.value(place, Scalar::Empty, DATA, false, span.at)?;
        for field in span.fields() {
            let field = field?;
            if !matches!(field.number, 2 | 3) {
                once.field(&field)?;
            }
            match field.number {
                1 => self.text("version", &field, place.node, place.depth)?,
                2 => self.metric(field.bytes()?, place.node, place.depth)?,
                3 => self.parameter(field.bytes()?, place)?,
                4 => self.text("template_ref", &field, place.node, place.depth)?,
                // Whether it is a definition.
                5 => _ = field.boolean()?,
                _ => return Err(UNDEFINED),
            }
        }
        Ok(())
    }

    fn parameter(&mut self, span: Span<'a>, place: Place) -> Result<(), ReadError> {
        let mut name = None;
        let mut valued = Valued::default();
        for field in span.fields() {
            let field = field?;
            valued.once.field(&field)?;
            match field.number {
                1 => name = Some(field.text()?).filter(|name| !name.is_empty()),
                2 => valued.datatype = Some(field.uint32()?),
                number @ 3..9 => valued.set(Value::Plain(Plain::read(number - 3, &field)?), &field)?,
                _ => return Err(UNDEFINED),
            }
        }
        let node = self.node(name.ok_or(NAMELESS)?, place.node, place.depth, span.at)?;
        // One without value is a definition's, without default.
        valued.null = valued.value.is_none();
        let (value, typed) = valued.finish(span.at)?;
        let value = match value {
            Some(Value::Plain(plain)) => plain.scalar(typed)?,
            _ => Scalar::Empty,
        };
        self.value(Place { node: Some(node), depth: place.depth + 1 }, value, DATA, !typed.is_time(), span.at)
    }

    fn text(
        &mut self,
        key: &'static str,
        field: &Field<'a>,
        parent: Option<u32>,
        depth: u8,
    ) -> Result<(), ReadError> {
        let text = field.text()?;
        let node = self.node(key, parent, depth, field.at)?;
        self.leaf(Some(node), Scalar::Text(Cow::Borrowed(text)), DATA, field.at)
    }

    fn node(&mut self, key: &'a str, parent: Option<u32>, depth: u8, at: usize) -> Result<u32, ReadError> {
        below(depth, at)?;
        let node = u32::try_from(self.facts.nodes.len()).unwrap_or(u32::MAX);
        self.facts.nodes.push(Node { key: Cow::Borrowed(key), parent });
        Ok(node)
    }

    fn leaf(
        &mut self,
        node: Option<u32>,
        value: Scalar<'a>,
        role: LeafRole,
        at: usize,
    ) -> Result<(), ReadError> {
        self.count(at)?;
        self.facts.leaves.push(Leaf { node, value, role });
        Ok(())
    }

    /// A leaf that is a measure if it is a number or a boolean.
    fn value(
        &mut self,
        place: Place,
        value: Scalar<'a>,
        role: LeafRole,
        measures: bool,
        at: usize,
    ) -> Result<(), ReadError> {
        let measures = measures && matches!(value, Scalar::Number(..) | Scalar::Boolean(_));
        self.leaf(place.node, value, role, at)?;
        if measures && let Some(leaf) = self.facts.leaves.last() {
            let name = self.facts.measure_name(leaf, None);
            self.facts.measures.push(name);
        }
        Ok(())
    }

    /// One more leaf, or a column that may have none: as many as JSON may have values.
    fn count(&mut self, at: usize) -> Result<(), ReadError> {
        self.values += 1;
        if self.values > MAX_VALUES { Err(ambiguous(json_reason::VALUES, at)) } else { Ok(()) }
    }
}

/// One level more, within the bound.
fn below(depth: u8, at: usize) -> Result<u8, ReadError> {
    if depth < MAX_DEPTH { Ok(depth + 1) } else { Err(ambiguous(json_reason::DEPTH, at)) }
}

fn ambiguous(reason: &'static str, offset: usize) -> ReadError {
    Ambiguity { reason, offset }.into()
}
