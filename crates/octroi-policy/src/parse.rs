//! From the text of a policy's files to a [`Document`], and every fault of form
//! on the way: syntax, unknown keys, wrong types, missing keys, codes written
//! as numbers (C01, C02), names given twice (C03).
//!
//! Reads no file: the caller reads the directory and what [`includes`] names.
//! What names refer to is for `check`.
//!
//! INVARIANT: total. Whatever the bytes, a block with a fault is a finding with
//! its place, stands in [`Document::unread`], and hides no other block.

mod forms;
mod rules;
mod shape;
mod text;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use crate::ast::{Block, Document, Unread};
use crate::text::text;
use crate::{Code, Finding, Location, Text, json_schema};
pub(crate) use rules::keyed;
use shape::{Checker, Shape, code_as_number, error, join, why_key};
use text::Lines;
pub(crate) use text::{nearest, suggestion};

/// A file of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// As findings will name it: a path relative to the policy, say.
    pub name: String,
    /// The whole text.
    pub text: String,
}

/// What [`parse`] made of the files.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Parsed {
    /// The blocks that could be read.
    pub document: Document,
    /// What is wrong, by place. With an error among them the document is not to be acted on.
    pub findings: Vec<Finding>,
}

/// The version of the language that this crate reads.
pub const SCHEMA: &str = "octroi-policy/1";

static BLOCKS: LazyLock<BTreeMap<String, Shape>> = LazyLock::new(|| {
    let schema = json_schema();
    let defs = schema.get("$defs").cloned().unwrap_or_default();
    let Shape::Table(file) = Shape::of(&schema, &defs) else { return BTreeMap::new() };
    file.keys
});

/// Reads the files as one policy.
pub fn parse(files: &[SourceFile]) -> Parsed {
    let mut reader = Reader { document: Document::default(), findings: Vec::new(), seen: Seen::default() };
    for file in files {
        reader.file(file);
    }
    reader.whole(files);
    let Reader { document, mut findings, .. } = reader;
    rules::check(&document, &mut findings);
    findings.sort_by(|a, b| (&a.location, a.code).cmp(&(&b.location, b.code)));
    findings.dedup_by(|a, b| a.location == b.location && a.code == b.code && a.message == b.message);
    Parsed { document, findings }
}

/// What a file includes, as written: relative paths of other files or directories.
#[must_use]
pub fn includes(file: &SourceFile) -> Vec<String> {
    let (table, _) = DeTable::parse_recoverable(&file.text);
    let listed = table.get_ref().get("include").and_then(|value| value.get_ref().as_array());
    listed
        .into_iter()
        .flat_map(|list| list.iter())
        .filter_map(|item| item.get_ref().as_str().map(str::to_owned))
        .collect()
}

/// The identity of a policy: BLAKE3 over its files, in whatever order they come.
/// Each name and text is preceded by its length (u64, little endian).
#[must_use]
pub fn hash(files: &[SourceFile]) -> [u8; 32] {
    let mut ordered: Vec<(&str, &str)> =
        files.iter().map(|file| (file.name.as_str(), file.text.as_str())).collect();
    ordered.sort_unstable();
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    part(SCHEMA.as_bytes());
    for (name, text) in ordered {
        part(name.as_bytes());
        part(text.as_bytes());
    }
    *hasher.finalize().as_bytes()
}

#[derive(Default)]
struct Seen {
    schema: bool,
    policy: Option<Location>,
    defaults: Option<Location>,
}

struct Reader {
    document: Document,
    findings: Vec<Finding>,
    seen: Seen,
}

/// One file while it is read.
struct Open<'a> {
    text: Lines<'a>,
    /// Lines with a syntax fault.
    broken_lines: Vec<u32>,
    /// Lines of the headers of the blocks that those lie in.
    broken_headers: Vec<u32>,
}

impl Reader {
    fn file(&mut self, file: &SourceFile) {
        let text = Lines::new(&file.name, &file.text);
        let (tree, faults) = DeTable::parse_recoverable(&file.text);
        let mut open = Open { text, broken_lines: Vec::new(), broken_headers: Vec::new() };
        for fault in faults {
            let finding = syntax(&open.text, &fault);
            let line = finding.location.line;
            // What follows a syntax fault on its line is mostly its echo.
            if !open.broken_lines.contains(&line) || finding.code == Code::C02 {
                self.findings.push(finding);
            }
            open.broken_lines.push(line);
            if open.text.header_before(line) == line {
                // Which block stood there cannot be told.
                self.document.unread.push(Unread { block: Unread::UNKNOWN, id: None });
            }
            open.broken_headers.push(open.text.header_before(line));
        }
        for (key, value) in tree.into_inner() {
            self.top_level(&open, &key, value);
        }
    }

    fn top_level(
        &mut self,
        open: &Open<'_>,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        value: Spanned<DeValue<'_>>,
    ) {
        let name = key.get_ref().as_ref();
        let at = open.text.at(key.span().start);
        let document = &mut self.document;
        let seen = &mut self.seen;
        let mut blocks = Blocks { open, findings: &mut self.findings, unread: &mut document.unread };
        match name {
            "schema" => {
                seen.schema = true;
                if value.get_ref().as_str() != Some(SCHEMA) {
                    let at = open.text.at(value.span().start);
                    let message = text!(
                        "`schema` is not one that this version reads",
                        "`schema` n'est pas de ceux que cette version lit",
                    );
                    let why =
                        text!("another language has other meanings", "un autre langage a d'autres sens");
                    let fix = text!("write schema = \"{SCHEMA}\"", "écrire schema = \"{SCHEMA}\"");
                    blocks.findings.push(error(Code::C01, at, message, why, fix));
                }
            }
            "include" => blocks.include(&value),
            "policy" => blocks.single("policy", value, &mut document.policy, &mut seen.policy),
            "defaults" => blocks.single("defaults", value, &mut document.defaults, &mut seen.defaults),
            "acknowledge" => blocks.many("acknowledge", value, &mut document.acknowledge),
            "producer" => blocks.many("producer", value, &mut document.producer),
            "perimeter" => blocks.many("perimeter", value, &mut document.perimeter),
            "domain" => blocks.many("domain", value, &mut document.domain),
            "target" => blocks.many("target", value, &mut document.target),
            "space" => blocks.many("space", value, &mut document.space),
            "source" => blocks.many("source", value, &mut document.source),
            "processing" => blocks.many("processing", value, &mut document.processing),
            "classify" => blocks.many("classify", value, &mut document.classify),
            "requirement" => blocks.many("requirement", value, &mut document.requirement),
            "transform" => blocks.many("transform", value, &mut document.transform),
            "copy" => blocks.many("copy", value, &mut document.copy),
            "derogation" => blocks.many("derogation", value, &mut document.derogation),
            "invariant" => blocks.many("invariant", value, &mut document.invariant),
            "test" => blocks.many("test", value, &mut document.test),
            unknown => {
                blocks.unread.push(Unread { block: Unread::UNKNOWN, id: None });
                let fix = suggestion(unknown, BLOCKS.keys().map(String::as_str));
                let message = text!(
                    "`{unknown}` is no block of a policy",
                    "`{unknown}` n'est pas un bloc d'une politique",
                );
                blocks.findings.push(error(Code::C01, at, message, why_key(), fix));
            }
        }
    }

    /// What only all the files together must have.
    fn whole(&mut self, files: &[SourceFile]) {
        let first = files.first().map(|file| file.name.clone()).unwrap_or_default();
        let at = Location { file: first, line: 0, column: 0 };
        let mut missing = |what: &str, fix: Text| {
            let message = text!("`{what}` is missing", "`{what}` manque");
            let why = text!("every policy has one", "toute politique en a un");
            self.findings.push(error(Code::C01, at.clone(), message, why, fix));
        };
        if !self.seen.schema {
            let fix = text!("begin with schema = \"{SCHEMA}\"", "commencer par schema = \"{SCHEMA}\"");
            missing("schema", fix);
        }
        if self.seen.policy.is_none() {
            let fix = text!(
                "add the block: who adopted this policy, and when",
                "ajouter le bloc : qui a adopté cette politique, et quand",
            );
            missing("[policy]", fix);
        }
        if self.seen.defaults.is_none() {
            let fix = text!(
                "add the block, with `quarantine_target`",
                "ajouter le bloc, avec `quarantine_target`",
            );
            missing("[defaults]", fix);
        }
    }
}

struct Blocks<'a> {
    open: &'a Open<'a>,
    findings: &'a mut Vec<Finding>,
    unread: &'a mut Vec<Unread>,
}

impl Blocks<'_> {
    fn include(&mut self, value: &Spanned<DeValue<'_>>) {
        let at = self.open.text.at(value.span().start);
        let paths = value.get_ref().as_array();
        let relative = |path: &str| !path.is_empty() && !path.starts_with(['/', '\\']) && !path.contains(':');
        if !paths.is_some_and(|list| list.iter().all(|path| path.get_ref().as_str().is_some_and(relative))) {
            let message = text!(
                "`include` is no list of relative paths",
                "`include` n'est pas une liste de chemins relatifs",
            );
            let why = text!("what is not found protects nothing", "ce qui n'est pas trouvé ne protège rien");
            let fix = text!("write include = [\"../doctrine-fr\"]", "écrire include = [\"../doctrine-fr\"]",);
            self.findings.push(error(Code::C01, at, message, why, fix));
        }
    }

    fn single<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
        value: Spanned<DeValue<'_>>,
        into: &mut Block<T>,
        seen: &mut Option<Location>,
    ) {
        let at = self.open.text.at(value.span().start);
        if let Some(first) = seen {
            let message = text!(
                "`[{name}]` stands twice: the first is at {first}",
                "`[{name}]` figure deux fois : le premier est en {first}",
            );
            let why = text!(
                "two could disagree, and neither would be obeyed",
                "les deux pourraient se contredire, et aucun ne serait suivi",
            );
            let fix = text!("keep one", "n'en garder qu'un");
            self.findings.push(error(Code::C01, at, message, why, fix));
            return;
        }
        *seen = Some(at);
        let header = format!("[{name}]");
        if !value.get_ref().is_table() {
            return self.not_a_block(name, &header, &value);
        }
        if let Some(block) = self.block(name, &header, value) {
            *into = block;
        }
    }

    fn many<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
        value: Spanned<DeValue<'_>>,
        into: &mut Vec<Block<T>>,
    ) {
        let header = format!("[[{name}]]");
        let span = value.span();
        let DeValue::Array(items) = value.into_inner() else {
            return self.not_a_block(name, &header, &Spanned::new(span, DeValue::Boolean(false)));
        };
        for item in items {
            if item.get_ref().is_table() {
                into.extend(self.block(name, &header, item));
            } else {
                self.not_a_block(name, &header, &item);
            }
        }
    }

    fn not_a_block(&mut self, name: &'static str, header: &str, value: &Spanned<DeValue<'_>>) {
        let at = self.open.text.at(value.span().start);
        self.unread.push(Unread { block: name, id: None });
        if !self.open.broken_lines.contains(&at.line) {
            let message =
                text!("`{name}` is not written as a block", "`{name}` n'est pas écrit comme un bloc");
            let why = text!("it cannot be read otherwise", "il ne peut être lu autrement");
            let fix = text!(
                "write `{header}` on a line of its own, and its keys below",
                "écrire `{header}` seul sur sa ligne, et ses clés dessous",
            );
            self.findings.push(error(Code::C01, at, message, why, fix));
        }
    }

    fn block<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
        header: &str,
        value: Spanned<DeValue<'_>>,
    ) -> Option<Block<T>> {
        let text = &self.open.text;
        let at = text.at(value.span().start);
        let broken = self.open.broken_headers.contains(&at.line);
        let faults = self.findings.len();
        if let Some(shape) = BLOCKS.get(name).map(Shape::item) {
            let mut checker = Checker {
                text,
                header,
                at: at.clone(),
                broken_lines: &self.open.broken_lines,
                broken,
                findings: self.findings,
            };
            checker.check(shape, &value, "");
        }
        let id_key = if name == "producer" { "siren" } else { "id" };
        let id = value.get_ref().get(id_key).and_then(|id| id.get_ref().as_str()).map(str::to_owned);
        let mut keys = BTreeMap::new();
        locate(text, &value, "", &mut keys);
        let read = if broken || self.findings.len() > faults {
            None
        } else {
            match T::deserialize(ValueDeserializer::from(value)) {
                Ok(value) => Some(Block { value, at: at.clone(), keys }),
                Err(fault) => {
                    let place = fault.span().map_or(at, |span| text.at(span.start));
                    // Not reached by what the shapes know; a date of the year 0, say, would be.
                    let message = text!(
                        "`{header}` cannot be read: {fault}",
                        "`{header}` ne peut être lu : « {fault} »",
                        fault = one_line(fault.message()),
                    );
                    let why = text!(
                        "a block is read whole or not at all",
                        "un bloc est lu tout entier ou pas du tout",
                    );
                    let fix = text!(
                        "compare with the guide to the policy language",
                        "comparer avec le guide du langage des politiques",
                    );
                    self.findings.push(error(Code::C01, place, message, why, fix));
                    None
                }
            }
        };
        if read.is_none() {
            self.unread.push(Unread { block: name, id });
        }
        read
    }
}

fn locate(text: &Lines<'_>, value: &Spanned<DeValue<'_>>, path: &str, keys: &mut BTreeMap<String, Location>) {
    if !path.is_empty() {
        keys.insert(path.to_owned(), text.at(value.span().start));
    }
    match value.get_ref() {
        DeValue::Array(items) => {
            for (ix, item) in items.iter().enumerate() {
                locate(text, item, &join(path, &ix.to_string()), keys);
            }
        }
        DeValue::Table(entries) => {
            for (key, value) in entries {
                locate(text, value, &join(path, key.get_ref()), keys);
            }
        }
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => {}
    }
}

/// A fault that TOML itself finds; a code with a leading zero or a letter is one too.
fn syntax(lines: &Lines<'_>, fault: &toml::de::Error) -> Finding {
    let offset = fault.span().map_or(0, |span| span.start);
    let (start, word) = lines.word_at(offset);
    if looks_like_a_code(word) {
        return code_as_number(lines.at(start), word);
    }
    let why = text!("what cannot be read protects nothing", "ce qui ne peut être lu ne protège rien");
    if word.starts_with(|c: char| c.is_ascii_alphabetic()) && is_value_after(lines.before(start)) {
        let message = text!("`{word}` stands without quotes", "`{word}` n'est pas entre guillemets");
        let fix = text!(
            "write \"{word}\", or a value of the right kind",
            "écrire \"{word}\", ou une valeur de la bonne sorte",
        );
        return error(Code::C01, lines.at(start), message, why, fix);
    }
    let fix = if word.is_empty() {
        text!(
            "mend the line; values that are text stand in \"quotes\"",
            "corriger la ligne ; une valeur qui est du texte se met entre \"guillemets\"",
        )
    } else {
        text!(
            "mend the line near `{word}`; values that are text stand in \"quotes\"",
            "corriger la ligne près de `{word}` ; une valeur qui est du texte se met entre \"guillemets\"",
        )
    };
    error(Code::C01, lines.at(offset), toml_fault(fault.message()), why, fix)
}

/// In French as far as the parser's words are known; its own words else.
fn toml_fault(message: &str) -> Text {
    let en = one_line(message);
    let fr = match en.as_str() {
        "duplicate key" => "clé donnée deux fois",
        _ => return text!("TOML: {en}", "TOML : « {en} »"),
    };
    text!("TOML: {en}", "TOML : {fr}")
}

/// Whether a value can follow that head of a line; a name follows the `[` of a header.
fn is_value_after(head: &str) -> bool {
    head.ends_with(['=', ',']) || head.ends_with('[') && !head.starts_with('[')
}

/// `01004`, `2A004`, `01`, `2B`: what TOML refuses and INSEE writes.
fn looks_like_a_code(word: &str) -> bool {
    match word.as_bytes() {
        [b'0', rest @ ..] => !rest.is_empty() && rest.iter().all(u8::is_ascii_digit),
        [b'2', b'A' | b'B', rest @ ..] => matches!(rest.len(), 0 | 3) && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
