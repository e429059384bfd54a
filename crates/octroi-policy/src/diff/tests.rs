use proptest::prelude::*;

use super::*;
use crate::{SourceFile, hash, parse};

const EXAMPLE: &str = include_str!("../../../../policies/bretagne-exemple.toml");

fn policy(text: &str) -> Policy {
    let files = [SourceFile { name: "p.toml".to_owned(), text: text.to_owned() }];
    let parsed = parse(&files);
    assert_eq!(parsed.findings, []);
    Policy::compile(&parsed.document, hash(&files)).unwrap()
}

fn edited(from: &str, to: &str) -> Policy {
    assert!(EXAMPLE.contains(from), "{from}");
    policy(&EXAMPLE.replacen(from, to, 1))
}

/// Edits of every kind: what is replaced, by what.
#[rustfmt::skip]
const EDITS: &[(&str, &str)] = &[
    ("level = \"sensitive\"\nmarkings = [\"personal\", \"secret_privacy\"]", "level = \"personal\"\nmarkings = [\"personal\", \"secret_privacy\"]"),
    ("level = \"sensitive\"\nmarkings = [\"personal\", \"offence\"]", "level = \"sensitive\"\nmarkings = [\"personal\", \"secret_business\"]"),
    ("measure_any = [\"fill_level\", \"weight\"]", "measure_any = [\"fill_level\"]"),
    ("[\"plate\", \"anpr\", \"license_plate\"] }", "[\"plate\", \"license_plate\"] }"),
    ("must = { transformed = true }", "must = { country_in = \"EEA\" }"),
    ("id = \"dechets-vers-cloud\"\ndomains = [\"waste\"]\nto = \"cloud-confiance\"\nmax_level = \"internal\"", "id = \"dechets-vers-cloud\"\ndomains = [\"waste\"]\nto = \"cloud-confiance\"\nmax_level = \"open\""),
    ("result = { level = \"internal\", remove = [\"personal\"] }", "result = { level = \"open\", remove = [\"personal\"] }"),
    ("result = { add = [\"pseudonymised\"] }", "result = { add = [\"archive\"] }"),
    ("domains = [\"energy\"]\ntarget = \"dc-rennes\"", "domains = [\"energy\"]\ntarget = \"dc-bretagne\""),
    ("domains = [\"energy\", \"water\"]\ntarget = \"dc-bretagne\"", "domains = [\"water\"]\ntarget = \"dc-bretagne\""),
    ("homologation = { until = 2027-12-31, dr = false }", ""),
    ("extra_eu_law = \"immune\"\ntenancy = \"dedicated\"", "extra_eu_law = \"exposed\"\ntenancy = \"dedicated\""),
    ("to = \"cloud-confiance\"\nmax_level", "to = \"dc-rennes\"\nmax_level"),
    ("k_min = 11", "k_min = 12"),
    ("op = \"keep_only\", fields = [\"count\", ", "op = \"keep_only\", fields = [\"count\", \"id\", "),
    ("max_level = \"internal\"\npurpose = \"Modélisation du trafic\"", "max_level = \"internal\"\nwhen = { tags = { usage = \"parking\" } }\npurpose = \"Modélisation du trafic\""),
    ("[[invariant]]\nid = \"G4\"", "[[derogation]]\nrequirement = \"E3-restreint\"\nscope = { space = \"energie-rennes\" }\nreason = \"r\"\nevidence = \"e\"\napproved_by = []\nexpires = 2027-01-01\n\n[[invariant]]\nid = \"G4\""),
    ("copies = [\"eau-agregats-vers-cloud\"]", "copies = []"),
];

fn all_edits() -> impl Iterator<Item = (&'static str, Policy)> {
    EDITS.iter().map(|(from, to)| (*to, edited(from, to)))
}

#[test]
fn a_policy_and_itself_differ_in_nothing() {
    assert!(diff(&policy(EXAMPLE), &policy(EXAMPLE)).is_empty());
    let mut blocks: Vec<&str> = EXAMPLE.split("\n[[copy]]").collect();
    let (head, last) = (blocks.remove(0), blocks.pop().unwrap());
    let (copy, rest) = last.split_once("\n[[invariant]]").unwrap();
    blocks.insert(0, copy);
    let turned =
        format!("{head}\n[[copy]]{}\n# another layout\n[[invariant]]{rest}", blocks.join("\n[[copy]]"));
    assert_ne!(turned, EXAMPLE);
    let turned = turned.replace("version = \"2026.11.2\"", "version = \"2026.11.3\"   # the next");
    let diff = diff(&policy(EXAMPLE), &policy(&turned));
    assert!(diff.is_empty() && !diff.lowers(), "{diff:#?}");
}

fn turned(diff: Diff) -> Diff {
    let Diff { messages, cells, flows, places, blocks, tests_failing_after, tests_failing_before } = diff;
    let mut turned = Diff {
        messages: messages
            .into_iter()
            .map(|c| MessageChange { turn: c.turn.turned(), before: c.after, after: c.before, ..c })
            .collect(),
        cells: cells.into_iter().map(|c| CellChange { turn: c.turn.turned(), ..c }).collect(),
        flows: flows
            .into_iter()
            .map(|c| FlowChange { turn: c.turn.turned(), before: c.after, after: c.before, ..c })
            .collect(),
        places: places.into_iter().map(|c| PlaceChange { before: c.after, after: c.before, ..c }).collect(),
        blocks: blocks
            .into_iter()
            .map(|c| BlockChange { change: c.change.turned(), may_lower: false, ..c })
            .collect(),
        tests_failing_after: tests_failing_before,
        tests_failing_before: tests_failing_after,
    };
    sorted(&mut turned);
    turned
}

/// In an order that does not depend on the direction, and without doubts, which do.
fn sorted(diff: &mut Diff) {
    diff.blocks.iter_mut().for_each(|change| change.may_lower = false);
    diff.messages.sort_by_cached_key(|c| format!("{c:?}"));
    diff.cells.sort_by_cached_key(|c| format!("{c:?}"));
    diff.flows.sort_by_cached_key(|c| format!("{c:?}"));
    diff.places.sort_by_cached_key(|c| format!("{c:?}"));
    diff.blocks.sort();
}

#[test]
fn the_difference_the_other_way_round_is_the_same_turned_and_what_lowers_comes_first() {
    let example = policy(EXAMPLE);
    for (to, other) in all_edits() {
        let (mut there, back) = (diff(&example, &other), diff(&other, &example));
        assert!(!there.is_empty(), "{to}");
        for diff in [&there, &back] {
            assert!(diff.messages.iter().map(|change| change.turn).is_sorted(), "{to}");
            assert!(diff.cells.iter().map(|change| change.turn).is_sorted(), "{to}");
            assert!(diff.flows.iter().map(|change| change.turn).is_sorted(), "{to}");
        }
        sorted(&mut there);
        assert_eq!(there, turned(back), "{to}");
    }
}

/// The diff of the example with one replacement: as lines of `turn what`.
fn check(from: &str, to: &str, expected: &[&str]) {
    let diff = diff(&policy(EXAMPLE), &edited(from, to));
    let label = |label: &Option<Label>| label.map_or("none".to_owned(), |label| label.to_string());
    let mut lines: Vec<String> = Vec::new();
    lines.extend(diff.messages.iter().map(|c| {
        let (before, after) = (label(&c.before.label), label(&c.after.label));
        format!("{:?} {} {}: {before} → {after}", c.turn, c.source, c.domain)
    }));
    lines.extend(diff.cells.iter().map(|c| {
        let space = c.space.as_ref().map(|space| format!("/{space}")).unwrap_or_default();
        format!("{:?} {}{space}: {:?} by {}", c.turn, c.target, c.labels.levels, c.requirement)
    }));
    lines.extend(diff.flows.iter().map(|c| {
        let end = |end: &Option<Arriving>| end.as_ref().map_or("refused", |end| end.label.level.name());
        format!("{:?} {}: {} → {}", c.turn, c.copy, end(&c.before), end(&c.after))
    }));
    lines.extend(diff.places.iter().map(|c| {
        let end = |end: &Option<Place>| end.as_ref().map_or("none".to_owned(), |end| end.target.clone());
        format!("place {} {}: {} → {}", c.domain, c.communes, end(&c.before), end(&c.after))
    }));
    lines.extend(diff.doubts().map(|c| format!("doubt {} {}", c.kind, c.id)));
    lines.extend(diff.tests_failing_after.iter().map(|name| format!("fails {name}")));
    assert_eq!(lines, expected, "{from}");
    let lowers =
        expected.iter().any(|line| ["Lowered", "Mixed", "doubt"].iter().any(|w| line.starts_with(w)));
    assert_eq!(diff.lowers(), lowers, "{from}");
}

#[test]
fn a_rule_that_gives_less_lowers_the_messages_it_takes() {
    let (from, to) = EDITS[0];
    let labels = "energy: sensitive (personal, secret_privacy) → personal (personal, secret_privacy)";
    check(
        from,
        to,
        &[
            &format!("Lowered lns-rennes {labels}"),
            &format!("Lowered redon-lora {labels}"),
            "fails Logement : courbe de charge fine, jamais dans le cloud",
        ],
    );
}

#[test]
fn a_requirement_taken_away_opens_the_cells_it_closed() {
    check(
        "must = { transformed = true }",
        "must = { country_in = \"EEA\" }",
        &["Lowered cloud-confiance: [Personal, Sensitive] by E5-transformer-avant-cloud"],
    );
}

#[test]
fn a_derogation_lowers_its_own_space_only() {
    let (from, to) = EDITS.iter().find(|(_, to)| to.contains("derogation")).unwrap();
    check(
        from,
        to,
        &[
            "Lowered dc-rennes/energie-rennes: [Restricted] by E3-restreint",
            "place energy 43: dc-bretagne → dc-rennes",
        ],
    );
}

#[test]
fn a_space_that_moves_lowers_nothing_and_is_shown() {
    let (from, to) = EDITS.iter().find(|(_, to)| to.starts_with("domains = [\"energy\"]\ntarget")).unwrap();
    check(
        from,
        to,
        &[
            "place energy 43: dc-bretagne → dc-bretagne",
            "place energy 43: dc-rennes → dc-bretagne",
            "fails École : énergie interne, espace métropolitain",
        ],
    );
}

#[test]
fn a_copy_that_takes_more_and_one_whose_condition_changes_lower() {
    let copy = "max_level = \"internal\"\npurpose = \"Modélisation du trafic\"";
    let taken = &["Lowered mobilite-vers-cloud: refused → personal"];
    check(copy, &copy.replace("internal", "personal"), taken);
    check(
        copy,
        &format!("{copy}\nwhen = {{ tags = {{ usage = \"parking\" }} }}"),
        &["doubt copy mobilite-vers-cloud", "fails Comptage : ouvert, copie transformée vers le cloud"],
    );
}

/// A rule of the example's size changed from one condition to another: whether that is a doubt.
fn doubted(level: &str, from: &str, to: Option<&str>) -> bool {
    let rule = |when: &str| {
        format!(
            "{EXAMPLE}\n[[classify]]\nid = \"x\"\nwhen = {{ domain = \"waste\", {when} }}\nlevel = \"{level}\"\n"
        )
    };
    let new = to.map_or(EXAMPLE.to_owned(), rule);
    let diff = diff(&policy(&rule(from)), &policy(&new));
    let doubted = diff.doubts().any(|change| change.kind == "classify" && change.id == "x");
    assert!(diff.lowers() || !doubted);
    doubted
}

#[test]
fn a_rule_that_may_take_less_unseen_is_a_doubt() {
    let speed = |least: &str| format!("field = {{ speed = {{ gt = {least} }} }}");
    let within = |names: &str| format!("fields_within = {{ {names} }}");
    let (one, two) = (within("a = \"number\""), within("a = \"number\", b = \"number\""));
    let cases = [
        (speed("30.0"), Some(speed("50.0")), true),
        (speed("30.0"), Some(speed("30.0")), false),
        (two.clone(), Some(one.clone()), true),
        (one, Some(two), false),
        ("field_absent = [\"a\"]".to_owned(), Some("field_absent = [\"a\", \"b\"]".to_owned()), true),
        ("field_absent = [\"a\", \"b\"]".to_owned(), Some("field_absent = [\"a\"]".to_owned()), false),
        ("payload_larger_than = 100".to_owned(), Some("payload_larger_than = 200".to_owned()), true),
        ("payload_larger_than = 200".to_owned(), None, true),
        ("user_property = { a = \"b\" }".to_owned(), None, true),
        // Seen on messages: no doubt is needed.
        ("measure_any = [\"a\", \"b\"]".to_owned(), Some("measure_any = [\"a\"]".to_owned()), false),
        ("measure_any = [\"a\", \"b\"]".to_owned(), None, false),
    ];
    for (from, to, expected) in cases {
        assert_eq!(doubted("personal", &from, to.as_deref()), expected, "{from} → {to:?}");
        assert!(!doubted("open", &from, to.as_deref()), "the lowest label protects nothing: {from} → {to:?}");
    }
}

prop_compose! {
    fn rule()(
        level in prop::sample::select(vec!["open", "internal", "personal", "sensitive", "restricted", "declared"]),
        markings in prop::sample::subsequence(vec!["personal", "health", "archive", "video_derived", "command"], 0..3),
        conditions in prop::sample::subsequence(vec![
            "domain = [\"energy\", \"waste\"]", "domain = \"mobility\"", "source = \"lns-rennes\"", "topic = \"ville/#\"",
            "tags = { usage = [\"parking\", \"dwelling\"] }", "measure_any = [\"weight\", \"co2\"]", "field_any = [\"plate\", \"name\"]",
            "type_any = [\"AnprFlowObserved\"]", "perimeter = \"dept-56\"", "field_absent = [\"badge\"]", "format = \"json\"",
            "fields_within = { count = \"number\" }", "declared_sensitivity = true", "field = { \"speed\" = { gt = 30.0 } }",
        ], 1..4),
    ) -> Option<String> {
        let keys: Vec<&str> = conditions.iter().filter_map(|c| c.split(' ').next()).collect();
        let doubled = keys.iter().collect::<BTreeSet<_>>().len() < keys.len();
        let conditions = conditions.join(", ");
        (!doubled).then(|| format!(
            "\n[[classify]]\nid = \"more\"\nwhen = {{ {conditions} }}\nlevel = \"{level}\"\nmarkings = {markings:?}\nprocessing = \"T-eau-telereleve\"\n"
        ))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn one_rule_more_never_lowers(rule in rule()) {
        let Some(rule) = rule else { return Ok(()) };
        let example = policy(EXAMPLE);
        let diff = diff(&example, &policy(&format!("{EXAMPLE}{rule}")));
        let lowered: Vec<_> = diff.messages.iter().filter(|change| change.turn.lowers()).collect();
        prop_assert!(lowered.is_empty() && !diff.lowers(), "{rule}{lowered:#?}");
        prop_assert!(diff.cells.is_empty() && diff.flows.is_empty() && diff.places.is_empty());
    }
}

fn record(source: &str, level: Level, markings: Option<&[crate::Marking]>, per_hour: f64) -> Recorded {
    let markings = markings.map(<[_]>::to_vec);
    Recorded { source: source.to_owned(), domain: None, level, markings, per_hour }
}

#[test]
fn recorded_messages_that_would_go_elsewhere_are_counted() {
    let (from, to) = EDITS.iter().find(|(_, to)| to.starts_with("domains = [\"energy\"]\ntarget")).unwrap();
    let (old, new) = (policy(EXAMPLE), edited(from, to));
    let energy = Recorded {
        domain: Some("energy".to_owned()),
        ..record("lns-rennes", Level::Internal, Some(&[]), 120.0)
    };
    let recorded = [
        energy.clone(),
        record("ville-mobilite", Level::Open, None, 60.0),
        record("lns-rennes", Level::Internal, None, 30.0),
        record("nobody", Level::Open, None, 5.0),
        record("scada-56", Level::Open, None, 2.0),
    ];
    let changes = diff(&old, &new).messages;
    let found = moves(&old, &new, &changes, &recorded);
    assert_eq!((found.recorded_per_hour, found.moved_per_hour, found.at_most), (217.0, 150.0, true));
    assert_eq!(found.unknown, recorded[3..]);
    let [first, second] = found.moved.as_slice() else { panic!("{found:#?}") };
    assert_eq!((&first.recorded, first.at_most), (&energy, false));
    assert_eq!(
        (first.before.as_slice(), first.after.as_slice()),
        (&["dc-rennes".to_owned()][..], &["dc-bretagne".to_owned()][..])
    );
    assert!(second.at_most, "waste stays where it is");
    assert_eq!(moves(&old, &old, &[], &recorded).moved, []);
}

#[test]
fn a_raised_label_moves_at_most_what_was_recorded_with_it() {
    let rule = "\n[[classify]]\nid = \"more\"\nwhen = { domain = \"waste\", measure_any = [\"weight\"] }\nlevel = \"sensitive\"\n";
    let (old, new) = (policy(EXAMPLE), policy(&format!("{EXAMPLE}{rule}")));
    let changes = diff(&old, &new).messages;
    let recorded = [Recorded {
        domain: Some("waste".to_owned()),
        ..record("lns-rennes", Level::Internal, Some(&[]), 10.0)
    }];
    let found = moves(&old, &new, &changes, &recorded);
    let [moved] = found.moved.as_slice() else { panic!("{found:#?}") };
    assert!(moved.at_most && moved.before.iter().any(|way| way.contains("dechets-vers-cloud")), "{moved:#?}");
    assert_eq!(moved.after, ["dc-bretagne"]);
}
