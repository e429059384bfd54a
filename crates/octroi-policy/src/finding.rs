//! What `check` says: one finding a fault, each with its code, place, reason,
//! mend and, where there can be one, a witness that shows it.
//!
//! INVARIANT: a sentence exists in both languages or does not compile
//! ([`Text`] is made by `text!` alone), and a witness's message was replayed
//! before it was shown.

use std::fmt;

use serde::Serialize;

use crate::ast::Given;
use crate::text::text;
use crate::{Date, Lang, Text};

/// Where in the policy's files.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Location {
    /// As it was given to the parser.
    pub file: String,
    /// From 1; 0: the policy as a whole.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// What a finding does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Severity {
    /// Refuses the policy.
    #[serde(rename = "error")]
    Error,
    /// Needs an `[[acknowledge]]`.
    #[serde(rename = "warning")]
    Warning,
    /// Informs.
    #[serde(rename = "info")]
    Info,
}

macro_rules! codes {
    ($($code:ident $en:literal, $fr:literal;)*) => {
        /// The checks, by the code that operators, editors and acknowledgements use.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub enum Code { $(#[doc = $en] $code,)* }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$code,)*];

            /// `"C01"`, …
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$code => stringify!($code),)* }
            }

            /// What the check finds, in a phrase.
            #[must_use]
            pub fn meaning(self) -> Text {
                match self { $(Self::$code => text!($en, $fr),)* }
            }
        }
    };
}

codes! {
    C01 "syntax, unknown key or wrong type",
        "syntaxe, clé inconnue ou type erroné";
    C02 "a code written as a number",
        "un code écrit comme un nombre";
    C03 "an undefined reference, or a name given twice",
        "une référence à ce qui n'est pas défini, ou un nom donné deux fois";
    C04 "defined, never used",
        "défini, jamais utilisé";
    C05 "unknown commune, EPCI, département, region or SIREN form, or wrong vintage",
        "commune, EPCI, département ou région inconnus, SIREN mal formé, ou mauvais millésime";
    C06 "two spaces fit at the same scale for a commune a source can produce",
        "deux espaces conviennent à la même échelle pour une commune qu'une source peut produire";
    C07 "a coverage hole: a commune and domain of a source with no space",
        "un trou de couverture : une commune et un métier d'une source sans espace";
    C08 "a domain without a space at any of its scales",
        "un métier sans espace à aucune de ses échelles";
    C09 "a reachable label has no allowed space at any scale",
        "une étiquette possible n'a d'espace autorisé à aucune échelle";
    C10 "an invariant can be broken",
        "une garantie peut être violée";
    C14 "marking and level disagree",
        "marqueur et niveau se contredisent";
    C22 "exposure to extra-EU law not stated",
        "exposition à un droit extra-européen non déclarée";
    C24 "the quarantine's premises are not allowed for `restricted`",
        "les locaux de la quarantaine ne sont pas autorisés pour `restricted`";
    C27 "allowed topics that no rule classifies",
        "des sujets autorisés qu'aucune règle ne classe";
    C28 "a rule at `open` without a closed schema, or with `text` in it",
        "une règle à `open` sans schéma fermé, ou dont le schéma contient `text`";
    C30 "a source without authenticated identity, or two sources with one identity",
        "une source sans identité authentifiée, ou deux sources de même identité";
    C34 "a test fails",
        "un essai échoue";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What shows a fault: fed to `explain`, it comes out as the finding says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Witness {
    /// In words: a commune, a flow, a message.
    pub text: Text,
    /// The message, written as a test gives one; `None` where no message can show it.
    pub given: Option<Given>,
    /// The day on which it shows, where that is not any day.
    pub at: Option<Date>,
}

impl From<Text> for Witness {
    fn from(text: Text) -> Self {
        Self { text, given: None, at: None }
    }
}

impl Witness {
    /// The message, as it would stand in a `[[test]]`: `given = { … }`, and its day.
    #[must_use]
    pub fn as_test(&self) -> Option<String> {
        let mut text = "given = ".to_owned();
        self.given.as_ref()?.serialize(toml::ser::ValueSerializer::new(&mut text)).ok()?;
        self.at.into_iter().for_each(|at| text.push_str(&format!(", at = {at}")));
        Some(text)
    }
}

/// One fault found in a policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Which check.
    pub code: Code,
    /// What it does.
    pub severity: Severity,
    /// Where.
    pub location: Location,
    /// What is wrong, with names in backticks.
    pub message: Text,
    /// Why it matters.
    pub why: Text,
    /// How to mend it.
    pub fix: Text,
    /// A concrete message, commune or flow that shows it.
    pub witness: Option<Witness>,
}

/// A finding for machines, in one language.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "as in the finding")]
pub struct PlainFinding<'a> {
    pub code: Code,
    pub severity: Severity,
    pub file: &'a str,
    pub line: u32,
    pub column: u32,
    pub message: &'a str,
    pub why: &'a str,
    pub fix: &'a str,
    pub witness: Option<PlainWitness<'a>>,
}

/// A witness for machines, in one language.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "as in the witness")]
pub struct PlainWitness<'a> {
    pub text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given: Option<&'a Given>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Date>,
}

impl Finding {
    /// The finding in that language: what `--output json` prints.
    #[must_use]
    pub fn plain(&self, lang: Lang) -> PlainFinding<'_> {
        let Self { code, severity, location: Location { file, line, column }, message, why, fix, witness } =
            self;
        let witness = witness.as_ref().map(|Witness { text, given, at }| PlainWitness {
            text: text.of(lang),
            given: given.as_ref(),
            at: *at,
        });
        PlainFinding {
            code: *code,
            severity: *severity,
            file,
            line: *line,
            column: *column,
            message: message.of(lang),
            why: why.of(lang),
            fix: fix.of(lang),
            witness,
        }
    }
}
