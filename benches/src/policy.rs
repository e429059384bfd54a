//! A policy of any size, for what the example's cannot show: one that sends
//! every message to each of so many targets, by so many rules. It is as plain
//! as a policy can be: nothing is transformed, and every rule asks.

use std::fmt::Write as _;
use std::path::Path;

use crate::Outcome;

/// The source that `octroi bench` publishes as, on a `username-only` listener.
pub const SOURCE: &str = "ville-mobilite";
/// The broker that a hub may subscribe at, as the policy knows it.
pub const BROKER: &str = "avant";

/// The id of a target, by its number from 0. The first is the space's own; the others get copies.
pub fn target(number: usize) -> String {
    format!("dc-{number}")
}

/// Writes the policy to `path`: at least one rule, at least one target.
///
/// # Errors
/// The disk's.
pub fn write(path: &Path, rules: usize, targets: usize) -> Outcome<()> {
    Ok(std::fs::write(path, text(rules, targets)?)?)
}

fn text(rules: usize, targets: usize) -> Outcome<String> {
    let mut text = HEAD.to_owned();
    for number in 0..targets {
        let id = target(number);
        write!(text, "\n[[target]]\nid = \"{id}\"\nlabel = \"Datacenter {number}\"\n{TARGET}")?;
        if number > 0 {
            write!(
                text,
                "\n[[copy]]\nid = \"vers-{id}\"\ndomains = [\"mobility\"]\nto = \"{id}\"\nmax_level = \"internal\"\npurpose = \"Mesure\"\n"
            )?;
        }
    }
    for (id, identity) in [(SOURCE, format!("user:{SOURCE}")), (BROKER, format!("broker:{BROKER}"))] {
        write!(text, "\n[[source]]\nid = \"{id}\"\nidentity = \"{identity}\"\n{SENDER}")?;
    }
    text += COUNTS;
    for number in 1..rules {
        write!(
            text,
            "\n[[classify]]\nid = \"regle-{number}\"\nwhen = {{ domain = \"mobility\", field_any = [\"champ{number}\"] }}\nlevel = \"sensitive\"\nmarkings = [\"secret_business\"]\n"
        )?;
    }
    Ok(text)
}

const HEAD: &str = r#"schema = "octroi-policy/1"
producer = [{ siren = "243500139", name = "Rennes Métropole", kind = "metropole", dpo = "dpo@collectivite.example" }]
perimeter = [{ id = "metropole", type = "metropole", epci = ["243500139"] }]
domain = [{ id = "mobility", label = "Mobilité", scales = ["metropole"] }]
space = [{ id = "mobilite", perimeter = "metropole", domains = ["mobility"], target = "dc-0", managed_by = "243500139" }]

[policy]
id = "mesure"
version = "1.0.0"
title = "Une politique à mesurer"
region = "53"
cog = 2026
adopted_by = "à adopter"
valid_from = 2026-11-15T00:00:00Z
dpo = "dpo@collectivite.example"
rssi = "rssi@collectivite.example"
approvals_required = 1
k_min = 11

[defaults]
quarantine_target = "dc-0"
"#;

const TARGET: &str = r#"kind = "public_dc"
country = "FR"
operator = { name = "Opérateur public (exemple)", nature = "public" }
extra_eu_law = "immune"
tenancy = "dedicated"
processor_contract = "CONV-1"
homologation = { until = 2029-12-31, dr = true }
reversibility = "article 9 de la convention"
"#;

const SENDER: &str = r#"producer = "243500139"
format = "json"
topics = ["ville/mobilite/#"]
domains = ["mobility"]
commune = "35238"
perimeter = "metropole"
"#;

const COUNTS: &str = r#"
[[classify]]
id = "comptage"
when = { domain = "mobility", topic = "ville/mobilite/+/count" }
level = "internal"
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_and_targets_are_as_many_as_asked_for() {
        for (rules, targets) in [(1, 1), (10, 8)] {
            let text = text(rules, targets).unwrap();
            assert_eq!(text.matches("[[classify]]").count(), rules);
            assert_eq!(text.matches("[[target]]").count(), targets);
            assert_eq!(text.matches("[[copy]]").count(), targets - 1);
        }
    }
}
