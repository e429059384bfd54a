//! The official geographic code (COG), compiled in: communes, their EPCI,
//! département and region, for one vintage. Territory is not a tree (an EPCI
//! may span départements and regions), so perimeters are sets of communes.
//!
//! Reads no file and no network: `data/README.md` says where the data come
//! from and what is left out (overseas collectivities, municipal
//! arrondissements, past communes).
//!
//! INVARIANT: a code that is not of the vintage has no [`CommuneIx`]; what
//! cannot be located is never guessed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use crate::ast::Perimeter;

/// A commune of a [`Cog`]: its position in the order of codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommuneIx(u16);

impl CommuneIx {
    /// The position, from 0, below [`Cog::len`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// One vintage of the code.
#[derive(Debug)]
pub struct Cog {
    year: u16,
    communes: Vec<Commune>,
    /// By [`slot`] of the code, `NONE` where there is none.
    by_slot: Vec<u16>,
    epcis: BTreeMap<&'static str, Group>,
    departements: BTreeMap<&'static str, Group>,
    regions: BTreeMap<&'static str, Group>,
}

#[derive(Debug)]
struct Commune {
    code: String,
    name: &'static str,
    epci: Option<&'static str>,
    departement: &'static str,
    region: &'static str,
}

#[derive(Debug)]
struct Group {
    name: &'static str,
    members: Vec<CommuneIx>,
}

const NONE: u16 = u16::MAX;
const SLOTS: usize = 100_000;

static COG_2026: LazyLock<Cog> = LazyLock::new(|| Cog::read(2026, include_str!("../data/cog-2026.txt")));

/// A commune code is five characters: digits, but for `2A` and `2B`, which take
/// the free places of 20 and 96 (no département has them).
fn slot(code: &str) -> Option<usize> {
    let &[a, b, c, d, e] = code.as_bytes() else { return None };
    let digit = |byte: u8| byte.is_ascii_digit().then(|| usize::from(byte - b'0'));
    let head = match (a, b) {
        (b'2', b'A') => 20,
        (b'2', b'B') => 96,
        (b'2', b'0') | (b'9', b'6') => return None,
        (a, b) => digit(a)? * 10 + digit(b)?,
    };
    Some(head * 1000 + digit(c)? * 100 + digit(d)? * 10 + digit(e)?)
}

impl Cog {
    /// The code at 1 January of that year, if it is compiled in.
    #[must_use]
    pub fn vintage(year: u16) -> Option<&'static Self> {
        (year == 2026).then(|| &*COG_2026)
    }

    /// The years that are compiled in.
    pub const VINTAGES: &'static [u16] = &[2026];

    /// The year of this vintage.
    #[must_use]
    pub fn year(&self) -> u16 {
        self.year
    }

    /// The number of communes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.communes.len()
    }

    /// Whether it holds no commune (never, for a compiled-in vintage).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.communes.is_empty()
    }

    /// The commune of an INSEE code, written exactly (`"01004"`, `"2A004"`). Constant time, no allocation.
    #[must_use]
    pub fn commune(&self, code: &str) -> Option<CommuneIx> {
        self.by_slot.get(slot(code)?).filter(|ix| **ix != NONE).map(|ix| CommuneIx(*ix))
    }

    /// Every commune, in the order of codes.
    pub fn communes(&self) -> impl ExactSizeIterator<Item = CommuneIx> + use<> {
        (0..u16::try_from(self.communes.len()).unwrap_or(NONE)).map(CommuneIx)
    }

    /// The INSEE code.
    #[must_use]
    pub fn code(&self, ix: CommuneIx) -> &str {
        self.communes.get(ix.index()).map_or("", |commune| &commune.code)
    }

    /// The name, with article.
    #[must_use]
    pub fn name(&self, ix: CommuneIx) -> &'static str {
        self.communes.get(ix.index()).map_or("", |commune| commune.name)
    }

    /// The SIREN of its EPCI with own taxation; four islands have none.
    #[must_use]
    pub fn epci(&self, ix: CommuneIx) -> Option<&'static str> {
        self.communes.get(ix.index())?.epci
    }

    /// The code of its département (`"35"`, `"2A"`, `"974"`).
    #[must_use]
    pub fn departement(&self, ix: CommuneIx) -> &'static str {
        self.communes.get(ix.index()).map_or("", |commune| commune.departement)
    }

    /// The code of its region.
    #[must_use]
    pub fn region(&self, ix: CommuneIx) -> &'static str {
        self.communes.get(ix.index()).map_or("", |commune| commune.region)
    }

    /// The communes of the EPCI of that SIREN; `None`: there is no such EPCI.
    pub fn in_epci(&self, siren: &str) -> Option<impl ExactSizeIterator<Item = CommuneIx> + '_> {
        members(&self.epcis, siren)
    }

    /// The communes of that département.
    pub fn in_departement(&self, code: &str) -> Option<impl ExactSizeIterator<Item = CommuneIx> + '_> {
        members(&self.departements, code)
    }

    /// The communes of that region.
    pub fn in_region(&self, code: &str) -> Option<impl ExactSizeIterator<Item = CommuneIx> + '_> {
        members(&self.regions, code)
    }

    /// The name of the EPCI of that SIREN.
    #[must_use]
    pub fn epci_name(&self, siren: &str) -> Option<&'static str> {
        self.epcis.get(siren).map(|group| group.name)
    }

    /// The name of that département.
    #[must_use]
    pub fn departement_name(&self, code: &str) -> Option<&'static str> {
        self.departements.get(code).map(|group| group.name)
    }

    /// The name of that region.
    #[must_use]
    pub fn region_name(&self, code: &str) -> Option<&'static str> {
        self.regions.get(code).map(|group| group.name)
    }

    /// The SIREN of every EPCI, in order.
    pub fn epcis(&self) -> impl ExactSizeIterator<Item = &'static str> + '_ {
        self.epcis.keys().copied()
    }

    /// The code of every département, in order.
    pub fn departements(&self) -> impl ExactSizeIterator<Item = &'static str> + '_ {
        self.departements.keys().copied()
    }

    /// The code of every region, in order.
    pub fn regions(&self) -> impl ExactSizeIterator<Item = &'static str> + '_ {
        self.regions.keys().copied()
    }

    /// `Rennes (35238)`, as people read it.
    #[must_use]
    pub fn display(&self, ix: CommuneIx) -> String {
        format!("{} ({})", self.name(ix), self.code(ix))
    }

    /// The union of what a perimeter's lists name. Codes that are not of this
    /// vintage add nothing (C05 reports them).
    #[must_use]
    pub fn perimeter(&self, perimeter: &Perimeter) -> CommuneSet {
        let Perimeter { id: _, kind: _, commune, epci, departement, region } = perimeter;
        let mut set: CommuneSet = commune.iter().filter_map(|code| self.commune(code)).collect();
        set.extend(epci.iter().filter_map(|siren| self.in_epci(siren)).flatten());
        set.extend(departement.iter().filter_map(|code| self.in_departement(code)).flatten());
        set.extend(region.iter().filter_map(|code| self.in_region(code)).flatten());
        set
    }

    /// Reads the form described in `data/README.md`. What is malformed is left
    /// out: a test holds the committed file to have nothing of that kind.
    fn read(year: u16, text: &'static str) -> Self {
        let mut cog = Self {
            year,
            communes: Vec::new(),
            by_slot: vec![NONE; SLOTS],
            epcis: BTreeMap::new(),
            departements: BTreeMap::new(),
            regions: BTreeMap::new(),
        };
        let mut region_of: BTreeMap<&'static str, &'static str> = BTreeMap::new();
        let (mut departement, mut epci) = ("", None);
        for line in text.lines() {
            let Some((head, rest)) = line.split_once(' ') else { continue };
            let group = Group { name: rest, members: Vec::new() };
            if let Some(code) = head.strip_prefix('R') {
                cog.regions.insert(code, group);
            } else if let Some(code) = head.strip_prefix('D') {
                let Some((region, name)) = rest.split_once(' ') else { continue };
                region_of.insert(code, region);
                cog.departements.insert(code, Group { name, ..group });
            } else if let Some(siren) = head.strip_prefix('E') {
                cog.epcis.insert(siren, group);
            } else if let Some(code) = head.strip_prefix('@') {
                departement = code;
                epci = (rest != "-").then_some(rest);
            } else if let Some(region) = region_of.get(departement) {
                let code = format!("{departement}{head}");
                cog.communes.push(Commune { code, name: rest, epci, departement, region });
            }
        }
        cog.communes.retain(|commune| slot(&commune.code).is_some());
        cog.communes.sort_by(|a, b| a.code.cmp(&b.code));
        for (ix, commune) in cog.communes.iter().enumerate() {
            let Ok(ix) = u16::try_from(ix) else { break };
            if let Some(place) = slot(&commune.code).and_then(|slot| cog.by_slot.get_mut(slot)) {
                *place = ix;
            }
            let groups = [
                commune.epci.and_then(|siren| cog.epcis.get_mut(siren)),
                cog.departements.get_mut(commune.departement),
                cog.regions.get_mut(commune.region),
            ];
            groups.into_iter().flatten().for_each(|group| group.members.push(CommuneIx(ix)));
        }
        cog
    }
}

fn members<'a>(
    groups: &'a BTreeMap<&'static str, Group>,
    code: &str,
) -> Option<impl ExactSizeIterator<Item = CommuneIx> + 'a> {
    groups.get(code).map(|group| group.members.iter().copied())
}

/// A set of communes of one [`Cog`]: a bit each.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct CommuneSet {
    /// No trailing zero word, so that equal sets are equal values.
    words: Vec<u64>,
}

impl CommuneSet {
    /// The empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a commune; whether it was new.
    pub fn insert(&mut self, ix: CommuneIx) -> bool {
        let (word, bit) = (ix.index() / 64, 1 << (ix.index() % 64));
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        let Some(word) = self.words.get_mut(word) else { return false };
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// Whether the commune is in the set.
    #[must_use]
    pub fn contains(&self, ix: CommuneIx) -> bool {
        self.words.get(ix.index() / 64).is_some_and(|word| word >> (ix.index() % 64) & 1 == 1)
    }

    /// What is in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let (long, short) = if self.words.len() < other.words.len() { (other, self) } else { (self, other) };
        let mut words = long.words.clone();
        words.iter_mut().zip(&short.words).for_each(|(word, more)| *word |= more);
        Self { words }
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self::trimmed(self.words.iter().zip(&other.words).map(|(a, b)| a & b).collect())
    }

    /// What is here and not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let others = other.words.iter().copied().chain(std::iter::repeat(0));
        Self::trimmed(self.words.iter().zip(others).map(|(a, b)| a & !b).collect())
    }

    /// Whether every commune of this set is in `other`.
    #[must_use]
    pub fn is_subset(&self, other: &Self) -> bool {
        self.difference(other).is_empty()
    }

    /// Whether the sets share a commune.
    #[must_use]
    pub fn intersects(&self, other: &Self) -> bool {
        self.words.iter().zip(&other.words).any(|(a, b)| a & b != 0)
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// How many communes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The first in the order of codes.
    #[must_use]
    pub fn first(&self) -> Option<CommuneIx> {
        self.iter().next()
    }

    /// The communes, in the order of codes.
    pub fn iter(&self) -> impl Iterator<Item = CommuneIx> + '_ {
        (0_u16..).zip(&self.words).flat_map(|(word, bits)| {
            (0..64_u16).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| CommuneIx(word * 64 + bit))
        })
    }

    fn trimmed(mut words: Vec<u64>) -> Self {
        while words.last() == Some(&0) {
            words.pop();
        }
        Self { words }
    }
}

impl Extend<CommuneIx> for CommuneSet {
    fn extend<I: IntoIterator<Item = CommuneIx>>(&mut self, communes: I) {
        for ix in communes {
            self.insert(ix);
        }
    }
}

impl FromIterator<CommuneIx> for CommuneSet {
    fn from_iter<I: IntoIterator<Item = CommuneIx>>(communes: I) -> Self {
        let mut set = Self::new();
        set.extend(communes);
        set
    }
}

impl fmt::Debug for CommuneSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(CommuneIx::index)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ast::Scale;

    fn cog() -> &'static Cog {
        &COG_2026
    }

    #[test]
    fn the_vintage_holds_the_official_numbers() {
        assert_eq!(cog().len(), 34_875);
        assert_eq!(cog().epcis().len(), 1_255);
        assert_eq!(cog().departements().len(), 101);
        assert_eq!(cog().regions().len(), 18);
        assert_eq!(Cog::VINTAGES.iter().filter_map(|year| Cog::vintage(*year)).count(), 1);
        assert!(Cog::vintage(2025).is_none());
    }

    #[test]
    fn known_communes_are_where_they_are() {
        let facts = |code: &str| {
            let ix = cog().commune(code)?;
            Some((cog().name(ix), cog().epci(ix), cog().departement(ix), cog().region(ix)))
        };
        assert_eq!(facts("35238"), Some(("Rennes", Some("243500139"), "35", "53")));
        assert_eq!(facts("35236"), Some(("Redon", Some("243500741"), "35", "53")));
        assert_eq!(facts("44185"), Some(("Saint-Nicolas-de-Redon", Some("243500741"), "44", "52")));
        assert_eq!(facts("56001"), Some(("Allaire", Some("243500741"), "56", "53")));
        assert_eq!(facts("01004").map(|f| f.0), Some("Ambérieu-en-Bugey"));
        assert_eq!(facts("2A004").map(|f| (f.0, f.2, f.3)), Some(("Ajaccio", "2A", "94")));
        assert_eq!(facts("97411").map(|f| (f.0, f.2, f.3)), Some(("Saint-Denis", "974", "04")));
        assert_eq!(facts("29155").map(|f| (f.0, f.1)), Some(("Ouessant", None)));
        for unknown in
            ["", "1004", "01999", "2a004", "20004", "96004", "75101", "97502", "35238 ", "٣٥238", "3523é"]
        {
            assert_eq!(facts(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn redon_spans_three_departements_and_two_regions() {
        let communes: Vec<CommuneIx> = cog().in_epci("243500741").unwrap().collect();
        let of = |f: fn(&Cog, CommuneIx) -> &'static str| {
            communes.iter().map(|ix| f(cog(), *ix)).collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(of(Cog::departement).into_iter().collect::<Vec<_>>(), ["35", "44", "56"]);
        assert_eq!(of(Cog::region).into_iter().collect::<Vec<_>>(), ["52", "53"]);
        assert_eq!(cog().epci_name("243500741"), Some("CA Redon Agglomération"));
        assert_eq!(cog().in_epci("243500139").unwrap().len(), 43);
        assert!(cog().in_epci("999999999").is_none() && cog().in_departement("20").is_none());
    }

    #[test]
    fn every_line_of_the_file_is_well_formed() {
        let text = include_str!("../data/cog-2026.txt");
        let (mut communes, mut last) = (0, "");
        for (n, line) in text.lines().enumerate() {
            let (head, rest) = line.split_once(' ').unwrap();
            let name = if head.starts_with('D') { rest.split_once(' ').unwrap().1 } else { rest };
            assert!(!name.is_empty() && name.trim() == name && !name.contains("  "), "line {}", n + 1);
            match head.as_bytes() {
                b"#" => assert_eq!(n, 0),
                [b'R', code @ ..] => assert!(code.len() == 2 && rest.chars().next().unwrap().is_alphabetic()),
                [b'D', ..] => assert!(cog().region_name(rest.split_once(' ').unwrap().0).is_some()),
                [b'E', siren @ ..] => assert!(siren.len() == 9 && siren.iter().all(u8::is_ascii_digit)),
                [b'@', ..] => {
                    assert!(cog().departement_name(head.trim_start_matches('@')).is_some(), "line {}", n + 1);
                    assert!(rest == "-" || cog().epci_name(rest).is_some(), "line {}", n + 1);
                    last = head.trim_start_matches('@');
                }
                _ => {
                    let code = format!("{last}{head}");
                    let ix = cog().commune(&code).unwrap();
                    assert_eq!((cog().code(ix), cog().name(ix)), (code.as_str(), rest));
                    communes += 1;
                }
            }
        }
        assert_eq!(communes, cog().len(), "a code stands twice");
        assert!(cog().communes().is_sorted_by_key(|ix| cog().code(ix)));
        let in_groups: usize =
            cog().departements().map(|code| cog().in_departement(code).unwrap().len()).sum();
        assert_eq!(in_groups, cog().len());
        assert!(cog().epcis().all(|siren| cog().in_epci(siren).unwrap().len() > 0));
        assert!(cog().regions().all(|code| cog().in_region(code).unwrap().len() > 0));
    }

    #[test]
    fn a_perimeter_is_the_union_of_its_lists_and_ignores_unknown_codes() {
        let text = |codes: &[&str]| codes.iter().map(|code| (*code).to_owned()).collect::<Vec<_>>();
        let set = cog().perimeter(&Perimeter {
            id: "p".into(),
            kind: Scale::Custom,
            commune: text(&["2A004", "00000"]),
            epci: text(&["243500741"]),
            departement: text(&["35"]),
            region: text(&["99"]),
        });
        let expected: CommuneSet = cog()
            .communes()
            .filter(|ix| {
                cog().code(*ix) == "2A004"
                    || cog().epci(*ix) == Some("243500741")
                    || cog().departement(*ix) == "35"
            })
            .collect();
        assert_eq!(set, expected);
        assert_eq!(set.len(), expected.iter().count());
    }

    #[test]
    fn sets_behave_as_sets() {
        let set = |items: &[u16]| items.iter().map(|ix| CommuneIx(*ix)).collect::<CommuneSet>();
        let (a, b) = (set(&[1, 64, 34_874]), set(&[1, 2, 65]));
        assert_eq!(a.union(&b), set(&[1, 2, 64, 65, 34_874]));
        assert_eq!(b.union(&a), a.union(&b));
        assert_eq!(a.intersection(&b), set(&[1]));
        assert_eq!(a.difference(&b), set(&[64, 34_874]));
        assert_eq!(a.difference(&a), CommuneSet::new());
        assert!(a.contains(CommuneIx(64)) && !a.contains(CommuneIx(65)) && !a.contains(CommuneIx(60_000)));
        assert!(a.intersects(&b) && !set(&[3]).intersects(&a) && set(&[64]).is_subset(&a));
        assert_eq!(a.first(), Some(CommuneIx(1)));
        assert_eq!(CommuneSet::new().first(), None);
        assert_eq!(a.len(), 3);
    }
}
