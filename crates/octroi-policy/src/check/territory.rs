//! C05: codes and SIREN that exist. C06: one space at most for a commune, a
//! domain and a scale. C07: one at least. C08: a domain that has a place.

use std::collections::BTreeMap;

use super::{Report, Said, rules};
use crate::ast::{Block, Document, Scale, Source, Space};
use crate::parse::{keyed, suggestion};
use crate::text::text;
use crate::witness::Order;
use crate::{Code, Cog, CommuneIx, CommuneSet, Location, Outcome, Reason, Text, Witness};

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
                message: text!(
                    "the geographic code of {year} is not compiled in",
                    "le code officiel géographique de {year} n'est pas fourni",
                    year = document.policy.cog,
                ),
                why: text!(
                    "communes merge and change EPCI: another year is another territory",
                    "les communes fusionnent et changent d'EPCI : une autre année est un autre territoire",
                ),
                fix: text!("write cog = {known}", "écrire cog = {known}", known = years.join(", cog = "),),
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
    let said = |message: Text, fix: Text| Said {
        subject: text,
        at,
        message,
        why: text!("a SIREN names who answers for the data", "un SIREN nomme qui répond des données"),
        fix,
        witness: None,
    };
    if digits.len() != 9 || text.len() != 9 {
        let message = text!("`{text}` is no SIREN", "`{text}` n'est pas un SIREN");
        let fix = text!(
            "write its nine digits, in quotes, without spaces",
            "écrire ses neuf chiffres, entre guillemets, sans espaces",
        );
        return report.error(Code::C05, said(message, fix));
    }
    // Luhn: from the right, every second digit doubled, digits of the products summed.
    let sum: u32 = digits
        .iter()
        .rev()
        .zip([1, 2].into_iter().cycle())
        .map(|(digit, factor)| digit * factor / 10 + digit * factor % 10)
        .sum();
    if !sum.is_multiple_of(10) {
        let message = text!(
            "the check digit of the SIREN `{text}` is wrong",
            "la clé de contrôle du SIREN `{text}` est fausse",
        );
        let fix = text!(
            "compare it with the SIRENE register; one digit is off",
            "le comparer au répertoire SIRENE ; un chiffre est faux",
        );
        report.warning(Code::C05, said(message, fix));
    }
}

const COMMUNE: (&str, &str) = ("commune", "une commune");
const EPCI: (&str, &str) = ("EPCI", "un EPCI");
const DEPARTEMENT: (&str, &str) = ("département", "un département");
const REGION: (&str, &str) = ("region", "une région");

fn codes(document: &Document, cog: &Cog, report: &mut Report) {
    let mut unknown = |(en, fr): (&str, &str), code: &str, subject: &str, at: Location, fix: Text| {
        let message = text!(
            "`{code}` is no {en} of the geographic code of {year}",
            "`{code}` n'est pas {fr} du code officiel géographique de {year}",
            year = cog.year(),
        );
        let why = text!(
            "a territory that does not exist is covered by nobody",
            "un territoire qui n'existe pas n'est couvert par personne",
        );
        report.error(Code::C05, Said { subject, at, message, why, fix, witness: None });
    };
    let policy = &document.policy;
    if cog.region_name(&policy.region).is_none() {
        let fix = suggestion(&policy.region, cog.regions());
        unknown(REGION, &policy.region, &policy.id, policy.at_key("region"), fix);
    }
    for block in &document.perimeter {
        for (ix, code) in block.commune.iter().enumerate() {
            if cog.commune(code).is_none() {
                let at = block.at_key(&format!("commune.{ix}"));
                unknown(COMMUNE, code, &block.id, at, commune_fix(code, cog));
            }
        }
        for (ix, siren) in block.epci.iter().enumerate() {
            if cog.epci_name(siren).is_none() {
                let at = block.at_key(&format!("epci.{ix}"));
                unknown(EPCI, siren, &block.id, at, epci_fix(siren, cog));
            }
        }
        for (ix, code) in block.departement.iter().enumerate() {
            if cog.departement_name(code).is_none() {
                let at = block.at_key(&format!("departement.{ix}"));
                unknown(DEPARTEMENT, code, &block.id, at, suggestion(code, cog.departements()));
            }
        }
        for (ix, code) in block.region.iter().enumerate() {
            if cog.region_name(code).is_none() {
                let at = block.at_key(&format!("region.{ix}"));
                unknown(REGION, code, &block.id, at, suggestion(code, cog.regions()));
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
        unknown(COMMUNE, code, subject, at, commune_fix(code, cog));
    }
}

fn commune_fix(code: &str, cog: &Cog) -> Text {
    let meant = [format!("0{code}"), code.trim().to_uppercase()];
    if let Some(ix) = meant.iter().find_map(|code| cog.commune(code)) {
        let (code, name) = (cog.code(ix), cog.name(ix));
        return text!("write \"{code}\" for {name}", "écrire \"{code}\" pour {name}");
    }
    let city = match code.get(..3) {
        Some("751") => "75056",
        Some("132") => "13055",
        Some("693") => "69123",
        _ => {
            return text!(
                "write the INSEE code of a commune of that year (not a postal code, not a former commune)",
                "écrire le code INSEE d'une commune de cette année-là (ni un code postal, ni une ancienne commune)",
            );
        }
    };
    text!(
        "write \"{city}\": municipal arrondissements are no communes",
        "écrire \"{city}\" : un arrondissement municipal n'est pas une commune",
    )
}

fn epci_fix(siren: &str, cog: &Cog) -> Text {
    let edits = |known: &str| known.bytes().zip(siren.bytes()).filter(|(a, b)| a != b).count();
    let near =
        cog.epcis().filter(|known| siren.len() == 9 && edits(known) <= 1).min_by_key(|known| edits(known));
    match near.and_then(|siren| Some((siren, cog.epci_name(siren)?))) {
        Some((siren, name)) => text!("write \"{siren}\" for {name}", "écrire \"{siren}\" pour {name}"),
        None => text!(
            "write the SIREN of an EPCI with own taxation; list a syndicate's communes instead",
            "écrire le SIREN d'un EPCI à fiscalité propre ; pour un syndicat, énumérer ses communes",
        ),
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
                let Some(source) = sources().find(|source| self.producible(source).contains(commune)) else {
                    continue;
                };
                let found = Twice { domain, scale: *scale, commune, source, spaces: [*other, *space] };
                self.twice(&found, twice.len(), report);
            }
        }
    }

    fn twice(&self, found: &Twice<'_>, communes: usize, report: &mut Report) {
        let Twice { domain, scale, commune, source, spaces: [first, second] } = found;
        let code = self.cog.code(*commune);
        let messages = rules::classified(source, domain, code, self.document, self.cog);
        let given = report.replayed(self.document, messages, |policy, decision| {
            let at = match &decision.outcome {
                Outcome::Routed { space, .. } => policy.spaces().get(space.index()),
                Outcome::Held { .. } => None,
                Outcome::Quarantined(_) | Outcome::Refused(_) => return false,
            };
            at.is_none_or(|at| at.id != first.id && at.id != second.id)
        });
        let text = text!(
            "`{domain}` in {place}, from source `{source}`: neither of the two is taken",
            "`{domain}`, commune {place}, de la source `{source}` : aucun des deux n'est choisi",
            place = self.cog.display(*commune),
            source = source.id,
        );
        report.error(
            Code::C06,
            Said {
                subject: &second.id,
                at: second.at.clone(),
                message: text!(
                    "spaces `{first}` ({at}) and `{second}` both fit `{domain}` at the scale `{scale}`, for {communes} commune(s)",
                    "les espaces `{first}` ({at}) et `{second}` conviennent tous deux à `{domain}` à l'échelle `{scale}`, pour {communes} commune(s)",
                    first = first.id,
                    at = first.at,
                    second = second.id,
                    scale = scale_name(*scale),
                ),
                why: text!(
                    "which of two buildings data go to must not be a matter of chance",
                    "le hasard ne doit pas choisir lequel de deux bâtiments reçoit les données",
                ),
                fix: text!(
                    "make their perimeters disjoint, or their scales or domains different",
                    "rendre leurs périmètres disjoints, ou leurs échelles ou métiers différents",
                ),
                witness: Some(Witness { text, given, at: None }),
            },
        );
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
            self.outside(source, report);
            let producible = self.producible(source);
            for (ix, domain) in source.domains.iter().enumerate() {
                let hole = producible.difference(covered.get(domain.as_str()).unwrap_or(&none));
                let at = source.at_key(&format!("domains.{ix}"));
                self.hole(source, (domain, at), (&hole, producible.len()), report);
            }
        }
    }

    fn outside(&self, source: &Block<Source>, report: &mut Report) {
        let Some(code) = source.commune.as_deref() else { return };
        let Some(ix) = self.cog.commune(code) else { return };
        if self.perimeter(&source.perimeter).contains(ix) {
            return;
        }
        let domain = source.domains.first().map(String::as_str).unwrap_or_default();
        let order = Order::new(self.document, Some(self.cog), source, domain, Vec::new());
        let given = report.replayed(self.document, order.proposals(), |_, decision| {
            decision.outcome == Outcome::Quarantined(Reason::OutsidePerimeter)
        });
        let (id, place, perimeter) = (&source.id, self.cog.display(ix), &source.perimeter);
        let text = text!(
            "any message of source `{id}`, in {place}",
            "tout message de la source `{id}`, commune {place}"
        );
        report.warning(
            Code::C07,
            Said {
                subject: id,
                at: source.at_key("commune"),
                message: text!(
                    "{place} lies outside the perimeter `{perimeter}`",
                    "{place} est hors du périmètre `{perimeter}`",
                ),
                why: text!(
                    "every message of this source would be quarantined: `outside_perimeter`",
                    "tous les messages de cette source seraient mis en quarantaine : `outside_perimeter`",
                ),
                fix: text!(
                    "name a commune of the perimeter, or widen it",
                    "nommer une commune du périmètre, ou l'élargir",
                ),
                witness: Some(Witness { text, given, at: None }),
            },
        );
    }

    fn hole(
        &self,
        source: &Block<Source>,
        (domain, at): (&str, Location),
        (hole, all): (&CommuneSet, usize),
        report: &mut Report,
    ) {
        let Some(first) = hole.first() else { return };
        let messages = rules::classified(source, domain, self.cog.code(first), self.document, self.cog);
        let given = report.replayed(self.document, messages, |_, decision| {
            matches!(decision.outcome, Outcome::Held { space: None, .. })
        });
        let mut shown: Vec<String> = hole.iter().take(3).map(|ix| self.cog.display(ix)).collect();
        if hole.len() > 3 {
            shown.push("…".to_owned());
        }
        let (id, places, count) = (&source.id, shown.join(", "), hole.len());
        let text = text!("`{domain}` in {places}", "`{domain}`, communes {places}");
        report.warning(
            Code::C07,
            Said {
                subject: id,
                at,
                message: text!(
                    "{count} of the {all} communes of source `{id}` have no space for `{domain}`",
                    "{count} des {all} communes de la source `{id}` n'ont pas d'espace pour `{domain}`",
                ),
                why: text!(
                    "their messages would be held: no building is named for them",
                    "leurs messages seraient retenus : aucun bâtiment n'est désigné pour eux",
                ),
                fix: text!(
                    "add a space for `{domain}` that covers them, or narrow the source's perimeter",
                    "ajouter un espace pour `{domain}` qui les couvre, ou restreindre le périmètre de la source",
                ),
                witness: Some(Witness { text, given, at: None }),
            },
        );
    }
}

/// Two spaces for one commune, and whose data that concerns.
struct Twice<'a> {
    domain: &'a str,
    scale: Scale,
    commune: CommuneIx,
    source: &'a Source,
    spaces: [&'a Block<Space>; 2],
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
            let other = serving.next().map(|space| {
                text!(
                    "space `{id}` serves it at another scale",
                    "l'espace `{id}` le sert à une autre échelle",
                    id = space.id,
                )
            });
            let (id, scales) = (&domain.id, scales.join("`, `"));
            report.error(
                Code::C08,
                Said {
                    subject: &domain.id,
                    at: domain.at.clone(),
                    message: text!(
                        "no space serves `{id}` at any of its scales: `{scales}`",
                        "aucun espace ne sert `{id}` à l'une de ses échelles : `{scales}`",
                    ),
                    why: text!(
                        "every message of this domain would be held",
                        "tous les messages de ce métier seraient retenus",
                    ),
                    fix: text!(
                        "add a space for `{id}` whose perimeter has one of these types",
                        "ajouter un espace pour `{id}` dont le périmètre est de l'un de ces types",
                    ),
                    witness: other.map(Into::into),
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
                message: text!(
                    "space `{space}` serves `{id}` at the scale `{scale}`, which `{id}` does not have",
                    "l'espace `{space}` sert `{id}` à l'échelle `{scale}`, que `{id}` n'a pas",
                    space = space.id,
                ),
                why: text!(
                    "the scales of the domain say where its data go: this space never receives any of it",
                    "les échelles du métier disent où vont ses données : cet espace n'en reçoit jamais",
                ),
                fix: text!(
                    "add `{scale}` to the scales of `{id}`, or take `{id}` from the space",
                    "ajouter `{scale}` aux échelles de `{id}`, ou retirer `{id}` de l'espace",
                ),
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
