//! C05: codes and SIREN that exist. C06: one space at most for a commune, a
//! domain and a scale. C07: one at least. C08: a domain that has a place.

use std::collections::BTreeMap;

use super::{Report, Said};
use crate::ast::{Block, Document, Scale, Source, Space};
use crate::parse::{keyed, suggestion};
use crate::{Code, Cog, CommuneSet, Location};

pub(super) fn check(document: &Document, cog: Option<&Cog>, report: &mut Report) {
    sirens(document, report);
    let cog = cog.filter(|cog| cog.year() == document.policy.cog);
    if let Some(cog) = cog {
        codes(document, cog, report);
        let territory = Territory::new(document, cog);
        territory.two_spaces(report);
        if document.unread.is_empty() {
            territory.holes(report);
        }
    } else if document.policy.at.line > 0 {
        let years: Vec<String> = Cog::VINTAGES.iter().map(u16::to_string).collect();
        report.error(
            Code::C05,
            Said {
                subject: &document.policy.id,
                at: document.policy.at_key("cog"),
                message: format!("the geographic code of {} is not compiled in", document.policy.cog),
                why: "communes merge and change EPCI: another year is another territory",
                fix: format!("write cog = {}", years.join(" or ")),
                witness: None,
            },
        );
    }
    if document.unread.is_empty() {
        homeless(document, report);
        document.space.iter().for_each(|space| idle(space, document, report));
    }
}

fn sirens(document: &Document, report: &mut Report) {
    for block in &document.producer {
        siren(&block.siren, block.at_key("siren"), report);
    }
    let known = |siren: &str| document.producer.iter().any(|producer| producer.siren == siren);
    let managers = document.space.iter().map(|b| (&b.managed_by, b.at_key("managed_by")));
    let controllers = document.processing.iter().map(|b| (&b.controller, b.at_key("controller")));
    let others = managers.chain(controllers.filter(|(controller, _)| *controller != "producer"));
    // A producer's SIREN is judged once, where it is defined.
    others.filter(|(text, _)| !known(text)).for_each(|(text, at)| siren(text, at, report));
}

fn siren(text: &str, at: Location, report: &mut Report) {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
    let said = |message: String, fix: &str| Said {
        subject: text,
        at,
        message,
        why: "a SIREN names who answers for the data",
        fix: fix.to_owned(),
        witness: None,
    };
    if digits.len() != 9 || text.len() != 9 {
        let message = format!("`{text}` is no SIREN");
        return report.error(Code::C05, said(message, "write its nine digits, in quotes, without spaces"));
    }
    // Luhn: from the right, every second digit doubled, digits of the products summed.
    let sum: u32 = digits
        .iter()
        .rev()
        .zip([1, 2].into_iter().cycle())
        .map(|(digit, factor)| digit * factor / 10 + digit * factor % 10)
        .sum();
    if !sum.is_multiple_of(10) {
        let message = format!("the check digit of the SIREN `{text}` is wrong");
        report.warning(Code::C05, said(message, "compare it with the SIRENE register; one digit is off"));
    }
}

fn codes(document: &Document, cog: &Cog, report: &mut Report) {
    let mut unknown = |what: &str, code: &str, subject: &str, at: Location, fix: String| {
        let message = format!("`{code}` is no {what} of the geographic code of {}", cog.year());
        let why = "a territory that does not exist is covered by nobody";
        report.error(Code::C05, Said { subject, at, message, why, fix, witness: None });
    };
    let policy = &document.policy;
    if cog.region_name(&policy.region).is_none() {
        let fix = suggestion(&policy.region, cog.regions());
        unknown("region", &policy.region, &policy.id, policy.at_key("region"), fix);
    }
    for block in &document.perimeter {
        for (ix, code) in block.commune.iter().enumerate() {
            if cog.commune(code).is_none() {
                let at = block.at_key(&format!("commune.{ix}"));
                unknown("commune", code, &block.id, at, commune_fix(code, cog));
            }
        }
        for (ix, siren) in block.epci.iter().enumerate() {
            if cog.epci_name(siren).is_none() {
                let at = block.at_key(&format!("epci.{ix}"));
                unknown("EPCI", siren, &block.id, at, epci_fix(siren, cog));
            }
        }
        for (ix, code) in block.departement.iter().enumerate() {
            if cog.departement_name(code).is_none() {
                let at = block.at_key(&format!("departement.{ix}"));
                unknown("département", code, &block.id, at, suggestion(code, cog.departements()));
            }
        }
        for (ix, code) in block.region.iter().enumerate() {
            if cog.region_name(code).is_none() {
                let at = block.at_key(&format!("region.{ix}"));
                unknown("region", code, &block.id, at, suggestion(code, cog.regions()));
            }
        }
    }
    let mut communes: Vec<(&String, &String, Location)> = Vec::new();
    for block in &document.source {
        communes.extend(block.commune.iter().map(|code| (code, &block.id, block.at_key("commune"))));
    }
    for block in &document.classify {
        let listed = block.when.commune.iter().flat_map(|codes| keyed("when.commune", codes));
        communes.extend(listed.map(|(key, code)| (code, &block.id, block.at_key(&key))));
    }
    for block in &document.copy {
        let when = block.when.iter().filter_map(|when| when.commune.as_ref());
        let listed = when.flat_map(|codes| keyed("when.commune", codes));
        communes.extend(listed.map(|(key, code)| (code, &block.id, block.at_key(&key))));
    }
    for (code, subject, at) in communes.into_iter().filter(|(code, ..)| cog.commune(code).is_none()) {
        unknown("commune", code, subject, at, commune_fix(code, cog));
    }
}

fn commune_fix(code: &str, cog: &Cog) -> String {
    let meant = [format!("0{code}"), code.trim().to_uppercase()];
    if let Some(ix) = meant.iter().find_map(|code| cog.commune(code)) {
        return format!("write \"{}\" for {}", cog.code(ix), cog.name(ix));
    }
    let city = match code.get(..3) {
        Some("751") => "75056",
        Some("132") => "13055",
        Some("693") => "69123",
        _ => {
            return "write the INSEE code of a commune of that year (not a postal code, not a former commune)"
                .to_owned();
        }
    };
    format!("write \"{city}\": municipal arrondissements are no communes")
}

fn epci_fix(siren: &str, cog: &Cog) -> String {
    let edits = |known: &str| known.bytes().zip(siren.bytes()).filter(|(a, b)| a != b).count();
    let near =
        cog.epcis().filter(|known| siren.len() == 9 && edits(known) <= 1).min_by_key(|known| edits(known));
    match near.and_then(|siren| Some((siren, cog.epci_name(siren)?))) {
        Some((siren, name)) => format!("write \"{siren}\" for {name}"),
        None => {
            "write the SIREN of an EPCI with own taxation; list a syndicate's communes instead".to_owned()
        }
    }
}

/// Where messages can come from, and who covers it.
struct Territory<'a> {
    cog: &'a Cog,
    document: &'a Document,
    perimeters: BTreeMap<&'a str, (Scale, CommuneSet)>,
    /// By domain and scale, where the domain has that scale.
    spaces: BTreeMap<(&'a str, Scale), Vec<&'a Block<Space>>>,
}

impl<'a> Territory<'a> {
    fn new(document: &'a Document, cog: &'a Cog) -> Self {
        let perimeters: BTreeMap<_, _> = document
            .perimeter
            .iter()
            .map(|block| (block.id.as_str(), (block.kind, cog.perimeter(block))))
            .collect();
        let mut spaces: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for space in &document.space {
            let Some((scale, _)) = perimeters.get(space.perimeter.as_str()) else { continue };
            let serves = |domain: &&Block<crate::ast::Domain>| {
                space.domains.contains(&domain.id) && domain.scales.contains(scale)
            };
            for domain in document.domain.iter().filter(serves) {
                spaces.entry((domain.id.as_str(), *scale)).or_default().push(space);
            }
        }
        Self { cog, document, perimeters, spaces }
    }

    fn perimeter(&self, id: &str) -> CommuneSet {
        self.perimeters.get(id).map(|(_, set)| set.clone()).unwrap_or_default()
    }

    /// The communes that a source's messages can be located in.
    fn producible(&self, source: &Source) -> CommuneSet {
        let perimeter = self.perimeter(&source.perimeter);
        match &source.commune {
            Some(code) => self.cog.commune(code).into_iter().filter(|ix| perimeter.contains(*ix)).collect(),
            None => perimeter,
        }
    }

    fn two_spaces(&self, report: &mut Report) {
        for ((domain, scale), spaces) in &self.spaces {
            let sources = || self.document.source.iter().filter(|s| s.domains.iter().any(|d| d == domain));
            let reachable = sources().fold(CommuneSet::new(), |all, s| all.union(&self.producible(s)));
            let mut claimed = CommuneSet::new();
            for (ix, space) in spaces.iter().enumerate() {
                let own = self.perimeter(&space.perimeter);
                let twice = claimed.intersection(&own).intersection(&reachable);
                claimed = claimed.union(&own);
                let Some(commune) = twice.first() else { continue };
                let covers = |other: &&&Block<Space>| self.perimeter(&other.perimeter).contains(commune);
                let Some(other) = spaces.iter().take(ix).find(covers) else { continue };
                let source = sources().find(|source| self.producible(source).contains(commune));
                let source = source.map(|source| source.id.as_str()).unwrap_or_default();
                report.error(
                    Code::C06,
                    Said {
                        subject: &space.id,
                        at: space.at.clone(),
                        message: format!(
                            "spaces `{}` ({}) and `{}` both fit `{domain}` at the scale `{}`, for {} commune(s)",
                            other.id,
                            other.at,
                            space.id,
                            scale_name(*scale),
                            twice.len()
                        ),
                        why: "which of two buildings data go to must not be a matter of chance",
                        fix: "make their perimeters disjoint, or their scales or domains different".to_owned(),
                        witness: Some(format!("{}, `{domain}` from source `{source}`", self.cog.display(commune))),
                    },
                );
            }
        }
    }

    fn holes(&self, report: &mut Report) {
        let mut covered: BTreeMap<&str, CommuneSet> = BTreeMap::new();
        for ((domain, _), spaces) in &self.spaces {
            let entry = covered.entry(domain).or_default();
            *entry =
                spaces.iter().fold(std::mem::take(entry), |all, s| all.union(&self.perimeter(&s.perimeter)));
        }
        let none = CommuneSet::new();
        for source in &self.document.source {
            if let Some(ix) = source.commune.as_deref().and_then(|code| self.cog.commune(code))
                && !self.perimeter(&source.perimeter).contains(ix)
            {
                let place = self.cog.display(ix);
                let message = format!("{place} lies outside the perimeter `{}`", source.perimeter);
                let why = "every message of this source would be quarantined: `outside_perimeter`";
                let fix = "name a commune of the perimeter, or widen it".to_owned();
                let at = source.at_key("commune");
                let said = Said { subject: &source.id, at, message, why, fix, witness: Some(place) };
                report.warning(Code::C07, said);
            }
            let producible = self.producible(source);
            for (ix, domain) in source.domains.iter().enumerate() {
                let hole = producible.difference(covered.get(domain.as_str()).unwrap_or(&none));
                if hole.is_empty() {
                    continue;
                }
                let mut shown: Vec<String> = hole.iter().take(3).map(|ix| self.cog.display(ix)).collect();
                if hole.len() > 3 {
                    shown.push("…".to_owned());
                }
                report.warning(
                    Code::C07,
                    Said {
                        subject: &source.id,
                        at: source.at_key(&format!("domains.{ix}")),
                        message: format!(
                            "{} of the {} communes of source `{}` have no space for `{domain}`",
                            hole.len(),
                            producible.len(),
                            source.id
                        ),
                        why: "their messages would be held: no building is named for them",
                        fix: format!(
                            "add a space for `{domain}` that covers them, or narrow the source's perimeter"
                        ),
                        witness: Some(format!("`{domain}` in {}", shown.join(", "))),
                    },
                );
            }
        }
    }
}

/// C08 needs no geography.
fn homeless(document: &Document, report: &mut Report) {
    let scale_of = |id: &str| document.perimeter.iter().find(|p| p.id == id).map(|p| p.kind);
    for domain in &document.domain {
        let mut serving = document.space.iter().filter(|space| space.domains.contains(&domain.id));
        let fits = |space: &Block<Space>| {
            scale_of(&space.perimeter).is_some_and(|scale| domain.scales.contains(&scale))
        };
        if !serving.clone().any(fits) {
            let scales: Vec<&str> = domain.scales.iter().map(|scale| scale_name(*scale)).collect();
            let other =
                serving.next().map(|space| format!("space `{}` serves it at another scale", space.id));
            report.error(
                Code::C08,
                Said {
                    subject: &domain.id,
                    at: domain.at.clone(),
                    message: format!(
                        "no space serves `{}` at any of its scales: {}",
                        domain.id,
                        scales.join(", ")
                    ),
                    why: "every message of this domain would be held",
                    fix: format!("add a space for `{}` whose perimeter has one of these types", domain.id),
                    witness: other,
                },
            );
        }
    }
}

/// C04: a space that serves a domain at a scale where nobody looks for it.
fn idle(space: &Block<Space>, document: &Document, report: &mut Report) {
    let Some(perimeter) = document.perimeter.iter().find(|p| p.id == space.perimeter) else { return };
    for (ix, id) in space.domains.iter().enumerate() {
        let Some(domain) = document.domain.iter().find(|d| d.id == *id) else { continue };
        if domain.scales.contains(&perimeter.kind) {
            continue;
        }
        let scale = scale_name(perimeter.kind);
        report.warning(
            Code::C04,
            Said {
                subject: &space.id,
                at: space.at_key(&format!("domains.{ix}")),
                message: format!(
                    "space `{}` serves `{id}` at the scale `{scale}`, which `{id}` does not have",
                    space.id
                ),
                why: "the scales of the domain say where its data go: this space never receives any of it",
                fix: format!("add `{scale}` to the scales of `{id}`, or take `{id}` from the space"),
                witness: None,
            },
        );
    }
}

/// The word of the policy's files.
fn scale_name(scale: Scale) -> &'static str {
    match scale {
        Scale::Commune => "commune",
        Scale::Epci => "epci",
        Scale::Metropole => "metropole",
        Scale::BassinMobilite => "bassin_mobilite",
        Scale::BassinVie => "bassin_vie",
        Scale::Departement => "departement",
        Scale::Region => "region",
        Scale::Syndicat => "syndicat",
        Scale::Custom => "custom",
    }
}
