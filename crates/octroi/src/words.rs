//! Every text that people read, in both languages side by side: a text exists
//! in both or does not compile.
//!
//! Numbers, sizes and durations are in `words/numbers.rs`, the one sentence
//! that says how the hub is in `words/verdict.rs`. Nothing here knows HTML or
//! terminals.

mod numbers;
mod verdict;

use crate::status::{BrokerState, OutletState};

pub use octroi_policy::Lang;

pub use numbers::{bytes, clock, count, day, duration, per_second, seconds_between, signed};
pub use verdict::{Tone, Verdict, Waiting};

/// The best of an `Accept-Language` header (RFC 9110, 12.5.4); French if it names neither.
#[must_use]
pub fn accepted(header: &str) -> Lang {
    let mut best: Option<(f32, Lang)> = None;
    // The header's size is bounded by the server's; more ranges than this say nothing new.
    for range in header.split(',').take(20) {
        let mut parts = range.split(';');
        let Some(lang) = parts.next().and_then(Lang::from_tag) else { continue };
        let quality = parts.find_map(|part| part.trim().strip_prefix("q=")).map_or(Ok(1.0), str::parse);
        let Ok(quality) = quality else { continue };
        if quality > 0.0 && best.is_none_or(|(highest, _)| quality > highest) {
            best = Some((quality, lang));
        }
    }
    best.map_or_else(Lang::default, |(_, lang)| lang)
}

/// One text in both languages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    fr: &'static str,
    en: &'static str,
}

impl Text {
    /// In a language.
    #[must_use]
    pub const fn in_(self, lang: Lang) -> &'static str {
        match lang {
            Lang::Fr => self.fr,
            Lang::En => self.en,
        }
    }
}

macro_rules! texts {
    ($($name:ident = $fr:literal, $en:literal;)*) => {
        $(#[doc = $en] pub const $name: Text = Text { fr: $fr, en: $en };)*
        #[cfg(test)]
        const TEXTS: &[Text] = &[$($name,)*];
    };
}

texts! {
    SKIP = "Aller au contenu", "Skip to content";
    NAV = "Pages de la console", "Pages of the console";
    OVERVIEW = "Vue d’ensemble", "Overview";
    THIS_LANGUAGE = "Français", "English";
    PAUSE = "Figer la page", "Pause updates";
    RESUME = "Reprendre le suivi", "Resume updates";
    NO_ANSWER = "Le hub ne répond plus ; état affiché au ", "The hub no longer answers; shown as of ";
    STOPPING = "Le hub s’arrête : cet état n’est plus tenu à jour.",
        "The hub is stopping: this state is no longer kept up to date.";
    SINCE = "depuis", "for";
    TAKEN_AT = "état du", "as of";
    STARTED = "démarré le", "started";
    RECEIVED_RATE = "Reçus", "Received";
    WAITING_IN_ALL = "En attente", "Waiting";
    CONNECTIONS = "Connexions", "Connections";
    JOURNAL = "Journal", "Journal";
    OF_LIMIT = "sur", "of";
    JOURNAL_FULL = "plein : les messages sont refusés", "full: messages are refused";
    INDEX_REBUILT = "L’index des messages gardés a été refait au démarrage à partir des messages eux-mêmes ; rien n’est perdu.",
        "The index of the kept messages was made anew from them at the start; nothing is lost.";
    SLOWED = "Sources ralenties à leur quota ; rien n’est perdu : ",
        "Sources slowed to their quota; nothing is lost: ";
    FENCED = "Plages endommagées, conservées à part", "Damaged ranges, fenced off and kept";
    FLOWS = "Flux", "Flows";
    FLOWS_CAPTION = "Flux par source, niveau et cible, les plus forts d’abord",
        "Flows by source, level and target, strongest first";
    FLOWS_DRAWING = "Schéma des flux : source, niveau, cible. Le tableau qui suit dit la même chose.",
        "Drawing of the flows: source, level, target. The table below says the same.";
    NO_FLOW = "Aucun message reçu depuis le démarrage. Les flux apparaîtront ici.",
        "No message received since the start. Flows will appear here.";
    SOURCE = "Source", "Source";
    LEVEL = "Niveau", "Level";
    TARGET = "Cible", "Target";
    RATE = "Débit", "Rate";
    SINCE_START = "Depuis le démarrage", "Since the start";
    COPY = "copie", "copy";
    TARGETS = "Cibles", "Targets";
    TARGETS_CAPTION = "Cibles : état, ce qui attend, ce qui est livré",
        "Targets: state, what waits, what is delivered";
    NO_TARGET = "La politique ne nomme encore aucune cible.", "The policy names no target yet.";
    STATE = "État", "State";
    WAITING = "En attente", "Waiting";
    OLDEST = "Plus ancien", "Oldest";
    DELIVERED = "Livrés", "Delivered";
    HELD = "Retenus", "Withheld";
    BROKERS = "Brokers", "Brokers";
    BROKERS_CAPTION = "Brokers d’où viennent des messages : état, reçus, acquittés",
        "Brokers that messages come from: state, received, acknowledged";
    BROKER = "Broker", "Broker";
    RECEIVED = "Reçus", "Received";
    ACKNOWLEDGED = "Acquittés", "Acknowledged";
    QUARANTINE = "Quarantaine", "Quarantine";
    QUARANTINE_CAPTION = "Messages en quarantaine, par motif", "Messages in quarantine, by reason";
    QUARANTINE_EMPTY = "Rien en quarantaine.", "Nothing in quarantine.";
    REASON = "Motif", "Reason";
    MESSAGES = "Messages", "Messages";
    POLICY = "Politique en vigueur", "Policy in force";
    POLICY_SHORT = "Politique", "Policy";
    NO_POLICY = "Aucune politique en vigueur : tout message est refusé.",
        "No policy in force: every message is refused.";
    ID = "Identifiant", "Id";
    VERSION = "Version", "Version";
    HASH = "Empreinte", "Hash";
    IN_FORCE_SINCE = "En vigueur depuis", "In force since";
    TESTS = "Tests réussis", "Tests passed";
    INVARIANTS = "Invariants prouvés", "Invariants proved";
    BALANCE = "Bilan", "Balance";
    BALANCE_HELP = "Depuis l’ouverture du journal, chaque message reçu est quelque part.",
        "Since the journal was opened, every message received is somewhere.";
    B_RECEIVED = "reçus", "received";
    B_ROUTED = "acheminés", "routed";
    B_QUARANTINED = "en quarantaine", "quarantined";
    B_HELD = "retenus", "held";
    B_REFUSED = "refusés", "refused";
    B_PURGED = "supprimés", "purged";
    BALANCED = "Le compte est bon", "It balances";
}

/// The name of a level.
#[must_use]
pub fn level(lang: Lang, name: &str) -> &str {
    match (name, lang) {
        ("open", Lang::Fr) => "ouvert",
        ("internal", Lang::Fr) => "interne",
        ("personal", Lang::Fr) => "personnel",
        ("sensitive", Lang::Fr) => "sensible",
        ("restricted", Lang::Fr) => "restreint",
        (name, Lang::Fr | Lang::En) => name,
    }
}

/// Where a message goes: a target keeps its own name, what stays on the hub has one in each language.
#[must_use]
pub fn destination(lang: Lang, target: &str) -> &str {
    match (target, lang) {
        ("quarantine", Lang::Fr) => "quarantaine",
        ("hold", Lang::Fr) => "retenue",
        ("refused", Lang::Fr) => "refus",
        ("hold", Lang::En) => "hold",
        ("aggregated", Lang::Fr) => "agrégats",
        ("aggregated", Lang::En) => "aggregates",
        (target, Lang::Fr | Lang::En) => target,
    }
}

/// The kind of a target.
#[must_use]
pub fn target_kind(lang: Lang, kind: &str) -> &str {
    match (kind, lang) {
        ("local_room", Lang::Fr) => "salle locale",
        ("local_room", Lang::En) => "local room",
        ("public_dc", Lang::Fr) => "datacenter public",
        ("public_dc", Lang::En) => "public datacenter",
        ("trusted_cloud", Lang::Fr) => "cloud de confiance",
        ("trusted_cloud", Lang::En) => "trusted cloud",
        ("commercial_cloud", Lang::Fr) => "cloud commercial",
        ("commercial_cloud", Lang::En) => "commercial cloud",
        ("open_data_portal", Lang::Fr) => "portail de données ouvertes",
        ("open_data_portal", Lang::En) => "open data portal",
        (kind, Lang::Fr | Lang::En) => kind,
    }
}

/// The state of an outlet.
#[must_use]
pub const fn outlet_state(lang: Lang, state: OutletState) -> &'static str {
    match (state, lang) {
        (OutletState::Starting, Lang::Fr) => "démarre",
        (OutletState::Starting, Lang::En) => "starting",
        (OutletState::Up, Lang::Fr) => "livre",
        (OutletState::Up, Lang::En) => "delivering",
        (OutletState::Down, Lang::Fr) => "coupée",
        (OutletState::Down, Lang::En) => "cut off",
        (OutletState::Blocked, Lang::Fr) => "refuse",
        (OutletState::Blocked, Lang::En) => "refusing",
        (OutletState::Paused, Lang::Fr) => "suspendue",
        (OutletState::Paused, Lang::En) => "paused",
    }
}

/// How the hub stands with a broker.
#[must_use]
pub const fn broker_state(lang: Lang, state: BrokerState) -> &'static str {
    match (state, lang) {
        (BrokerState::Starting, Lang::Fr) => "démarre",
        (BrokerState::Starting, Lang::En) => "starting",
        (BrokerState::Up, Lang::Fr) => "abonné",
        (BrokerState::Up, Lang::En) => "subscribed",
        (BrokerState::Down, Lang::Fr) => "coupé",
        (BrokerState::Down, Lang::En) => "cut off",
        (BrokerState::Refused, Lang::Fr) => "refusé",
        (BrokerState::Refused, Lang::En) => "refused",
    }
}

/// Why a message is kept, in a short phrase; none for a reason of a later version.
#[must_use]
pub fn reason(lang: Lang, name: &str) -> Option<&'static str> {
    let text = match name {
        "ambiguous_payload" => {
            Text { fr: "Deux lectures possibles du contenu", en: "The payload can be read in two ways" }
        }
        "cannot_decode" => Text {
            fr: "Contenu illisible dans le format annoncé par la source",
            en: "The payload does not decode in the source’s format",
        },
        "domain_not_allowed" => Text {
            fr: "Métier que cette source ne traite pas",
            en: "A domain that this source does not serve",
        },
        "hold_max" => Text {
            fr: "Retenu plus longtemps que la politique ne le permet",
            en: "Held for longer than the policy allows",
        },
        "invalid_record" => Text {
            fr: "La cible a refusé ce message comme invalide",
            en: "The target refused this message as invalid",
        },
        "no_allowed_target" => Text {
            fr: "Aucune cible n’est autorisée aujourd’hui pour ce niveau",
            en: "No target is allowed today for this level",
        },
        "no_rule_matches" => Text {
            fr: "Aucune règle de la politique ne prévoit ce message",
            en: "No rule of the policy covers this message",
        },
        "other" => Text { fr: "Autre motif", en: "Another reason" },
        "outside_perimeter" => Text {
            fr: "Commune hors du périmètre de la source",
            en: "A commune outside the source’s perimeter",
        },
        "too_large" => Text {
            fr: "Message plus grand que ce que la cible accepte",
            en: "The message is larger than the target accepts",
        },
        "unknown_source" => Text {
            fr: "Source que la politique ne connaît pas",
            en: "A source that the policy does not know",
        },
        "unknown_territory" => {
            Text { fr: "Territoire absent ou inconnu", en: "The territory is missing or unknown" }
        }
        _ => return None,
    };
    Some(text.in_(lang))
}

/// What the drawing merges.
#[must_use]
pub fn others(lang: Lang, n: usize) -> String {
    match (lang, n) {
        (Lang::Fr, 1) => "1 autre".to_owned(),
        (Lang::Fr, n) => format!("{n} autres"),
        (Lang::En, 1) => "1 other".to_owned(),
        (Lang::En, n) => format!("{n} others"),
    }
}

/// Rows that a table leaves out.
#[must_use]
pub fn more_rows(lang: Lang, n: usize) -> String {
    match (lang, n) {
        (Lang::Fr, 1) => "et un autre flux, dans /api/v1/status".to_owned(),
        (Lang::Fr, n) => format!("et {n} autres flux, dans /api/v1/status"),
        (Lang::En, 1) => "and one more flow, in /api/v1/status".to_owned(),
        (Lang::En, n) => format!("and {n} more flows, in /api/v1/status"),
    }
}

/// What does not balance.
#[must_use]
pub fn unaccounted(lang: Lang, messages: i64) -> String {
    let n = signed(lang, messages);
    match (lang, messages.unsigned_abs()) {
        (Lang::Fr, 0 | 1) => format!("{n} message inexpliqué"),
        (Lang::Fr, _) => format!("{n} messages inexpliqués"),
        (Lang::En, 1) => format!("{n} message unaccounted for"),
        (Lang::En, _) => format!("{n} messages unaccounted for"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::QUARANTINE_REASONS;

    #[test]
    fn no_text_is_empty_in_either_language() {
        for text in TEXTS {
            assert!(!text.fr.is_empty() && !text.en.is_empty(), "{text:?}");
        }
    }

    #[test]
    fn every_quarantine_reason_is_explained() {
        for name in QUARANTINE_REASONS {
            for lang in Lang::ALL {
                assert!(reason(lang, name).is_some(), "{name}");
            }
        }
    }

    #[test]
    fn the_language_is_the_one_most_wanted() {
        for (header, lang) in [
            ("", Lang::Fr),
            ("de, it", Lang::Fr),
            ("en", Lang::En),
            ("EN-us,en;q=0.9", Lang::En),
            ("fr;q=0.4, en;q=0.7", Lang::En),
            ("en;q=0, fr;q=0.1", Lang::Fr),
            ("en;q=NaN, fr;q=0.1", Lang::Fr),
            ("en;q=x, de", Lang::Fr),
            ("french", Lang::Fr),
            ("english", Lang::Fr),
        ] {
            assert_eq!(accepted(header), lang, "{header}");
        }
    }
}
