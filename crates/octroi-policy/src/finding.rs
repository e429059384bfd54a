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
    C12 "data about persons without a `processing` record",
        "des données sur des personnes sans fiche de traitement (`processing`)";
    C13 "a processing without legal basis, retention or, where sensitive, impact assessment",
        "un traitement sans base légale, durée de conservation ou, s'il est sensible, analyse d'impact";
    C14 "marking and level disagree",
        "marqueur et niveau se contredisent";
    C15 "a transform claims to lower more than its steps can",
        "une transformation prétend abaisser plus que ses étapes ne le peuvent";
    C16 "a declassification without scope, justification, approver or expiry, or an expired one",
        "une déclassification sans portée, justification, approbateur ou échéance, ou échue";
    C17 "an aggregate of fewer devices than `k_min`",
        "un agrégat de moins d'appareils que `k_min`";
    C18 "an identifier leaves through the topic or metadata of a copy",
        "un identifiant sort par le sujet ou les métadonnées d'une copie";
    C19 "a copy of personal input to a cloud without `keep_only` or `aggregate`",
        "une copie de données personnelles vers un nuage sans `keep_only` ni `aggregate`";
    C20 "a pseudonymisation key in the file, or one without rotation",
        "une clé de pseudonymisation dans le fichier, ou sans rotation";
    C21 "a dated record has expired or expires within 90 days",
        "un fait daté est échu ou échoit dans les 90 jours";
    C22 "exposure to extra-EU law not stated",
        "exposition à un droit extra-européen non déclarée";
    C23 "a requirement that is pending law, and flows that will stop conforming",
        "une exigence de droit à venir, et les flux qui cesseront d'être conformes";
    C24 "the quarantine's premises are not allowed for `restricted`",
        "les locaux de la quarantaine ne sont pas autorisés pour `restricted`";
    C25 "a rule that can never match",
        "une règle qui ne peut jamais convenir";
    C26 "a rule always dominated by another",
        "une règle toujours dominée par une autre";
    C27 "allowed topics that no rule classifies",
        "des sujets autorisés qu'aucune règle ne classe";
    C28 "a rule at `open` without a closed schema, or with `text` in it",
        "une règle à `open` sans schéma fermé, ou dont le schéma contient `text`";
    C29 "a rule that lowers by the sender's own declaration",
        "une règle qui abaisse d'après la déclaration de l'émetteur";
    C30 "a source without authenticated identity, or two sources with one identity",
        "une source sans identité authentifiée, ou deux sources de même identité";
    C31 "a path from a target back to devices",
        "un chemin d'un hébergement vers les appareils";
    C32 "an `open` flow with no place of publication",
        "un flux `open` sans lieu de publication";
    C33 "a mosaic: a space joins streams whose union is more sensitive than each",
        "une mosaïque : un espace réunit des flux dont l'ensemble est plus sensible que chacun";
    C34 "a test fails",
        "un essai échoue";
    C35 "the author approves, or the version does not increase",
        "l'auteur approuve, ou la version n'augmente pas";
    C36 "what changes against the policy in force",
        "ce qui change par rapport à la politique en vigueur";
    C38 "a target without a reversibility clause",
        "un hébergement sans clause de réversibilité";
    C39 "more than the hub takes: rules, fields, depth or lists",
        "plus que le concentrateur n'accepte : règles, champs, profondeur ou listes";
    C40 "health data that may be hosted without an HDS certificate",
        "des données de santé qui peuvent être hébergées sans certificat HDS";
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
