//! An explanation in French and in English: sentences for an operator, a
//! controller or an elected member, from templates.

use std::fmt::Write as _;

use super::{CopyState, Explanation, RequirementState};
use crate::ast::Scale;
use crate::{Lang, Level};

impl Explanation {
    /// The explanation in sentences, Markdown.
    #[must_use]
    pub fn in_words(&self, lang: Lang) -> String {
        let parts = [
            self.head(lang),
            self.level_in_words(lang),
            self.place_in_words(lang),
            self.copies_in_words(lang),
            self.foot(lang),
        ];
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        parts.join("\n")
    }

    fn head(&self, lang: Lang) -> String {
        let facts = &self.facts;
        let received = facts.received.replace('T', " ");
        let received = received.trim_end_matches('Z');
        let (source, producer, topic) = (&facts.source, &self.aside.producer_name, &facts.topic);
        let mut head = match lang {
            Lang::Fr => format!("Message reçu le {received} UTC de `{source}` ({producer}), sujet `{topic}`"),
            Lang::En => {
                format!("Message received {received} UTC from `{source}` ({producer}), topic `{topic}`")
            }
        };
        if let Some(commune) = &self.aside.commune_name {
            write_to(&mut head, format_args!(", {commune}"));
        }
        head.push('.');
        let outcome = match self.outcome {
            "quarantined" => lang.pick("Mis en quarantaine", "Quarantined"),
            "refused" => lang.pick("Refusé", "Refused"),
            _ => return head,
        };
        let reason = self.reason.map(|reason| reason_in_words(reason, lang)).unwrap_or_default();
        write_to(&mut head, format_args!(" **{outcome}{} {reason}**", lang.colon()));
        if let Some(unread) = &self.aside.unread {
            write_to(&mut head, format_args!(" ({unread})"));
        }
        head.push('.');
        if self.outcome == "quarantined" {
            head.push_str(lang.pick(
                " Il reste sur le disque du concentrateur, traité comme restreint.",
                " It stays on the hub's own disk, treated as restricted.",
            ));
        }
        head
    }

    fn level_in_words(&self, lang: Lang) -> String {
        let Some(level) = self.level else { return String::new() };
        let mut text =
            format!("**{}{} {}**", lang.pick("Niveau", "Level"), lang.colon(), level_name(level, lang));
        if !self.markings.is_empty() {
            write_to(&mut text, format_args!(" ({})", self.markings.join(", ")));
        }
        let giving: Vec<String> = self
            .rules
            .iter()
            .filter(|rule| rule.level == level)
            .map(|rule| rule_in_words(rule, lang))
            .collect();
        if !giving.is_empty() {
            let because = lang.pick("selon", "because of");
            write_to(&mut text, format_args!(", {because} {}", list(&giving, lang)));
        }
        text.push('.');
        let below: Vec<String> = self
            .rules
            .iter()
            .filter(|rule| rule.level < level)
            .map(|rule| format!("`{}` ({})", rule.id, level_name(rule.level, lang)))
            .collect();
        if !below.is_empty() {
            let also = lang.pick("Correspondent aussi, plus bas", "Also matching, lower");
            write_to(&mut text, format_args!(" {also}{} {}.", lang.colon(), list(&below, lang)));
        }
        if let Some(floor) = self.aside.floor {
            let name = lang.pick("Plancher de la source ou du producteur", "Floor of the source or producer");
            write_to(&mut text, format_args!(" {name}{} {}.", lang.colon(), level_name(floor, lang)));
        }
        if let Some(word) = &self.aside.declared_ignored {
            let word = Level::from_name(word).map_or("", |level| level_name(level, lang));
            match lang {
                Lang::Fr => write_to(
                    &mut text,
                    format_args!(
                        " L'émetteur a déclaré « {word} » : ignoré, une source ne peut que relever."
                    ),
                ),
                Lang::En => write_to(
                    &mut text,
                    format_args!(" The sender said \"{word}\": ignored, a source can only raise."),
                ),
            }
        }
        text
    }

    fn place_in_words(&self, lang: Lang) -> String {
        if self.aside.attempts.is_empty() {
            return String::new();
        }
        let mut text = String::new();
        for attempt in &self.aside.attempts {
            let scale = scale_name(attempt.scale, lang);
            let Some((space, target)) = &attempt.space else {
                let none =
                    lang.pick("aucun espace unique ne couvre la commune", "no one space covers the commune");
                write_to(
                    &mut text,
                    format_args!("{} {scale}{} {none}. ", lang.pick("Échelle", "Scale"), lang.colon()),
                );
                continue;
            };
            if let Some(by) = &attempt.refused_by {
                let refused = lang.pick("ne satisfait pas", "does not satisfy");
                write_to(
                    &mut text,
                    format_args!(
                        "{} {scale}{} `{space}` ({target}) {refused} {by}. ",
                        lang.pick("Échelle", "Scale"),
                        lang.colon()
                    ),
                );
                continue;
            }
            let hosting = match &attempt.lapsed {
                None => lang.pick("Hébergement", "Hosting"),
                Some(_) => lang.pick("Retenu pour", "Held for"),
            };
            write_to(
                &mut text,
                format_args!(
                    "**{hosting}{} {target}**, {} `{space}` ({}{} {scale}). ",
                    lang.colon(),
                    lang.pick("espace", "space"),
                    lang.pick("échelle", "scale"),
                    lang.colon()
                ),
            );
        }
        if self.target.is_none() {
            let nowhere = lang.pick(
                "**Retenu : aucun hébergement autorisé pour cette étiquette.** ",
                "**Held: no hosting is allowed for this label.** ",
            );
            text.push_str(nowhere);
        }
        text.push_str(&self.requirements_in_words(lang));
        text.trim_end().to_owned()
    }

    fn requirements_in_words(&self, lang: Lang) -> String {
        let of = |held: bool| -> Vec<String> {
            let states = self.requirements.iter().filter(|state| state.held == held);
            states.map(|state| state.in_words(lang)).collect()
        };
        let mut text = String::new();
        for (held, name) in [
            (true, lang.pick("Exigences tenues", "Requirements held")),
            (false, lang.pick("Exigences non tenues", "Requirements not held")),
        ] {
            let states = of(held);
            if !states.is_empty() {
                write_to(&mut text, format_args!("{name}{} {}. ", lang.colon(), list(&states, lang)));
            }
        }
        text
    }

    fn copies_in_words(&self, lang: Lang) -> String {
        let mut text = String::new();
        for (copy, max) in self.copies.iter().zip(&self.aside.max_levels) {
            let name = match copy.refused_by {
                None => lang.pick("Copie", "Copy"),
                Some(_) => lang.pick("Copie refusée", "Copy refused"),
            };
            let why = copy.why(*max, lang);
            write_to(
                &mut text,
                format_args!(
                    "**{name}{}** `{}` {} {}{why}. ",
                    lang.colon(),
                    copy.id,
                    lang.pick("vers", "to"),
                    copy.target
                ),
            );
        }
        text.trim_end().to_owned()
    }

    fn foot(&self, lang: Lang) -> String {
        let mut text = String::new();
        for (id, retention) in &self.aside.processings {
            let kept = duration(retention, lang);
            write_to(
                &mut text,
                format_args!(
                    "{} {id}, {} {kept}. ",
                    lang.pick("Traitement", "Processing"),
                    lang.pick("conservé", "kept")
                ),
            );
        }
        let hash: String = self.policy.hash.chars().take(16).collect();
        write_to(
            &mut text,
            format_args!("{} {} (blake3 {hash}).", lang.pick("Politique", "Policy"), self.policy.version),
        );
        text
    }
}

impl RequirementState {
    fn in_words(&self, lang: Lang) -> String {
        match (self.until, self.lifted) {
            (_, true) => format!("{} ({})", self.id, lang.pick("par dérogation", "by derogation")),
            (Some(until), false) if self.held => {
                format!("{} ({} {until})", self.id, lang.pick("jusqu'au", "until"))
            }
            (Some(until), false) => {
                format!("{} ({} {until})", self.id, lang.pick("échue après le", "lapsed after"))
            }
            (None, false) => self.id.clone(),
        }
    }
}

impl CopyState {
    fn why(&self, max: Option<Level>, lang: Lang) -> String {
        let level = level_name(self.level, lang);
        match self.refused_by.as_deref() {
            None => format!(" ({} {level})", lang.pick("niveau", "level")),
            Some("max_level") => {
                let max = max.map_or("", |max| level_name(max, lang));
                match lang {
                    Lang::Fr => format!(" (niveau {level}, maximum {max})"),
                    Lang::En => format!(" (level {level}, maximum {max})"),
                }
            }
            Some("when") => {
                lang.pick(" (sa condition n'est pas remplie)", " (its condition does not hold)").to_owned()
            }
            Some("applies_to") => lang
                .pick(
                    " (la transformation ne s'applique pas à cette étiquette)",
                    " (the transform does not apply to this label)",
                )
                .to_owned(),
            Some("declassification") => {
                lang.pick(" (déclassification échue)", " (the declassification has expired)").to_owned()
            }
            Some("target_max_level") => {
                lang.pick(" (niveau maximal de l'hébergement)", " (the target's maximum level)").to_owned()
            }
            Some(requirement) => format!(" ({} {requirement})", lang.pick("exigence", "requirement")),
        }
    }
}

fn rule_in_words(rule: &super::MatchedRule, lang: Lang) -> String {
    let matched: Vec<String> = rule.matched.iter().map(|matched| matched_in_words(matched, lang)).collect();
    let mut text = format!("{} `{}`", lang.pick("la règle", "rule"), rule.id);
    if !matched.is_empty() {
        write_to(&mut text, format_args!(" ({})", matched.join(", ")));
    }
    if let Some(because) = &rule.because {
        write_to(&mut text, format_args!(" [{because}]"));
    }
    text
}

fn matched_in_words(matched: &str, lang: Lang) -> String {
    let (kind, name) = matched.split_once(' ').unwrap_or((matched, ""));
    match kind {
        "field" => match lang {
            Lang::Fr => format!("champ `{name}` présent"),
            Lang::En => format!("field `{name}` present"),
        },
        "type" => format!("type `{name}`"),
        "measure" => format!("{} `{name}`", lang.pick("mesure", "measure")),
        "value" => format!("{} `{name}`", lang.pick("valeur de", "value of")),
        "tag" => format!("{} `{name}`", lang.pick("étiquette technique", "tag")),
        "property" => format!("{} `{name}`", lang.pick("propriété", "user property")),
        "topic" => format!("{} `{name}`", lang.pick("sujet", "topic")),
        "domain" => format!("{} {name}", lang.pick("métier", "domain")),
        "source" => format!("source {name}"),
        "producer" => format!("{} {name}", lang.pick("producteur", "producer")),
        "larger" => format!("{} {name} {}", lang.pick("plus de", "more than"), lang.pick("octets", "bytes")),
        _ => lang.pick("schéma fermé respecté", "within its closed schema").to_owned(),
    }
}

fn reason_in_words(reason: &str, lang: Lang) -> &'static str {
    let (fr, en) = match reason {
        "unknown_source" => ("source inconnue ou échue", "unknown or expired source"),
        "topic_not_allowed" => ("sujet non permis à cette source", "topic not allowed to this source"),
        "cannot_decode" => ("charge utile illisible dans ce format", "payload not readable in its format"),
        "ambiguous_payload" => ("charge utile ambiguë", "ambiguous payload"),
        "unknown_territory" => ("commune absente ou inconnue", "no commune, or an unknown one"),
        "outside_perimeter" => {
            ("commune hors du périmètre de la source", "commune outside the source's perimeter")
        }
        "domain_not_allowed" => {
            ("métier absent ou non permis à cette source", "no domain, or not one of the source's")
        }
        "no_rule_matches" => ("aucune règle ne correspond", "no rule matches"),
        "no_allowed_target" => ("aucun hébergement autorisé", "no allowed target"),
        "command" => ("commande vers un équipement", "a command to a device"),
        "identity_lapsed" => {
            ("client dont l'identité n'est plus valable", "a client whose identity stands no more")
        }
        _ => ("trop volumineux", "too large"),
    };
    lang.pick(fr, en)
}

const fn level_name(level: Level, lang: Lang) -> &'static str {
    let fr = match level {
        Level::Open => "ouvert",
        Level::Internal => "interne",
        Level::Personal => "personnel",
        Level::Sensitive => "sensible",
        Level::Restricted => "restreint",
    };
    lang.pick(fr, level.name())
}

const fn scale_name(scale: Scale, lang: Lang) -> &'static str {
    match scale {
        Scale::Commune => lang.pick("commune", "commune"),
        Scale::Epci => lang.pick("intercommunalité", "intermunicipal body"),
        Scale::Metropole => lang.pick("métropole", "metropolis"),
        Scale::BassinMobilite => lang.pick("bassin de mobilité", "mobility basin"),
        Scale::BassinVie => lang.pick("bassin de vie", "living area"),
        Scale::Departement => lang.pick("département", "département"),
        Scale::Region => lang.pick("région", "region"),
        Scale::Syndicat => lang.pick("syndicat", "joint authority"),
        Scale::Custom => lang.pick("périmètre particulier", "custom perimeter"),
    }
}

/// `P7D` → `7 jours`; what is not of that simple form stays.
fn duration(text: &str, lang: Lang) -> String {
    let simple = text.strip_prefix('P').and_then(|rest| {
        let (number, unit) = rest.split_at_checked(rest.len().checked_sub(1)?)?;
        let one = number.parse::<u32>().ok()? == 1;
        let unit = match (unit, one) {
            ("D", true) => lang.pick("jour", "day"),
            ("D", false) => lang.pick("jours", "days"),
            ("M", true) => lang.pick("mois", "month"),
            ("M", false) => lang.pick("mois", "months"),
            ("Y", true) => lang.pick("an", "year"),
            ("Y", false) => lang.pick("ans", "years"),
            _ => return None,
        };
        Some(format!("{number} {unit}"))
    });
    simple.unwrap_or_else(|| text.to_owned())
}

fn list(items: &[String], lang: Lang) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [head @ .., last] => format!("{} {} {last}", head.join(", "), lang.pick("et", "and")),
    }
}

fn write_to(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a `String` never fails.
    let _never_fails = text.write_fmt(arguments).is_ok();
}
