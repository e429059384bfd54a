//! What the answers of `prove`, `diff` and `simulate` have in common.

use octroi_policy::ast::Given;
use octroi_policy::diff::{Labels, Place};
use serde_json::Value;

use crate::words::{Lang, count};

/// Prints line by line, so that no name of a policy steers the terminal.
pub(super) fn print(text: &str) {
    for line in text.lines() {
        println!("{}", octroi_policy::shown(line));
    }
}

/// A message as `octroi explain --given` reads it: one line of JSON.
pub(super) fn given(given: &Given) -> String {
    let mut value = serde_json::to_value(given).unwrap_or_default();
    if let Value::Object(keys) = &mut value {
        keys.retain(|_, value| !value.is_null());
    }
    value.to_string()
}

/// `personal, sensitive (12 labels, lowest: personal (minor))`; one label is itself.
pub(super) fn labels(labels: &Labels, lang: Lang) -> String {
    let least = labels.least;
    if labels.count == 1 {
        return least.to_string();
    }
    let levels: Vec<&str> = labels.levels.iter().map(|level| level.name()).collect();
    let (levels, n) = (levels.join(", "), number(labels.count, lang));
    say!(lang, "{levels} ({n} labels, lowest: {least})", "{levels} ({n} étiquettes, la plus basse : {least})")
}

pub(super) fn number(n: usize, lang: Lang) -> String {
    count(lang, n as u64)
}

/// `43 communes, such as Rennes (35238)`
pub(super) fn communes(n: usize, example: &str, lang: Lang) -> String {
    let many = number(n, lang);
    match n {
        1 => example.to_owned(),
        _ => say!(lang, "{many} communes, such as {example}", "{many} communes, dont {example}"),
    }
}

/// `dc-rennes (energie-rennes)`
pub(super) fn place(place: Option<&Place>, lang: Lang) -> String {
    match place {
        Some(place) => format!("{} ({})", place.target, place.space),
        None => say!(lang, "no place", "aucun lieu"),
    }
}
