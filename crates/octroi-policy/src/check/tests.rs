//! Broken policies: the example with one edit each.

use expect_test::expect;
use proptest::prelude::*;

use crate::*;

pub(super) const EXAMPLE: &str = include_str!("../../../../policies/bretagne-exemple.toml");

pub(super) fn file(text: &str) -> SourceFile {
    SourceFile { name: "p.toml".into(), text: text.into() }
}

fn findings(files: &[SourceFile]) -> Vec<Finding> {
    let Parsed { document, mut findings } = parse(files);
    findings.extend(structural(&document, Cog::vintage(document.policy.cog)));
    findings
}

/// What the text under the place begins with, as an editor would jump there.
pub(super) fn under(text: &str, location: &Location) -> String {
    let line = text.lines().nth(location.line.saturating_sub(1) as usize).unwrap_or_default();
    line.chars().skip(location.column.saturating_sub(1) as usize).collect()
}

/// What, the text replaced (its first occurrence), by what, then the finding: its code, what stands at its place,
/// a part of its message or mend, and of its witness.
struct Broken(&'static str, &'static str, &'static str, Code, &'static str, &'static str, &'static str);

/// Each edit gives its finding, and no error with another code.
fn check(cases: &[Broken]) {
    check_each(cases, true);
}

fn check_each(cases: &[Broken], alone: bool) {
    let before = findings(&[file(EXAMPLE)]);
    let mut failures = Vec::new();
    for Broken(what, old, new, code, place, words, witness) in cases {
        assert!(EXAMPLE.contains(old), "{what}: the example has no such text");
        let text = EXAMPLE.replacen(old, new, 1);
        let found = findings(&[file(&text)]);
        let fits = |finding: &Finding| {
            let said = format!("{} | {}", finding.message.en, finding.fix.en);
            finding.code == *code
                && under(&text, &finding.location).starts_with(place)
                && said.contains(words)
                && finding.witness.as_ref().map_or("", |w| &w.text.en).contains(witness)
        };
        let fresh: Vec<&Finding> =
            found.iter().filter(|f| !before.iter().any(|old| old.message == f.message)).collect();
        let others = fresh.iter().filter(|f| f.code != *code && f.severity == Severity::Error).count();
        if !fresh.iter().any(|finding| fits(finding)) || alone && others > 0 {
            let fresh: Vec<Finding> = fresh.into_iter().cloned().collect();
            let said = render_all(&fresh, &[file(&text)], Lang::En, false);
            failures.push(format!(
                "\n## {what}: expected only {code} at `{place}` with `{words}`, `{witness}`\n{said}"
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.concat());
}

#[test]
fn the_example_has_no_error_and_these_warnings() {
    let file = file(EXAMPLE);
    let found = findings(std::slice::from_ref(&file));
    expect![[r#"
        warning[C38]: `dc-rennes` has no reversibility clause
           --> p.toml:114:1
            |
        114 | [[target]]
            | ^^
            = why: data that cannot be taken back decides who hosts it next time
            = fix: write reversibility = "…": the clause of the contract, formats and delay of restitution

        warning[C38]: `dc-morbihan` has no reversibility clause
           --> p.toml:126:1
            |
        126 | [[target]]
            | ^^
            = why: data that cannot be taken back decides who hosts it next time
            = fix: write reversibility = "…": the clause of the contract, formats and delay of restitution

        warning[C38]: `dc-bretagne` has no reversibility clause
           --> p.toml:138:1
            |
        138 | [[target]]
            | ^^
            = why: data that cannot be taken back decides who hosts it next time
            = fix: write reversibility = "…": the clause of the contract, formats and delay of restitution

        warning[C38]: `cloud-confiance` has no reversibility clause
           --> p.toml:150:1
            |
        150 | [[target]]
            | ^^
            = why: data that cannot be taken back decides who hosts it next time
            = fix: write reversibility = "…": the clause of the contract, formats and delay of restitution

        warning[C28]: rule `mobilite-comptage` is `open` with a word or a raw frame in `device`, `period`
           --> p.toml:355:231
            |
        355 | … speed_avg = "number", occupancy_pct = "number", period = "token", ts = "time", device = "token" } }
            |                                                                                           ^^^^^^^
            = why: a short word can hold a plate, a frame can hold anything
            = fix: write `{ in = ["…"] }` with its words, or acknowledge it
            = witness: a message with `device = "AB-123-CD"` is `open`
            = replay: given = { source = "ville-mobilite", topic = "ville/mobilite/x/count", fields = { device = "AB-123-CD" } }

        warning[C32]: what rule `mobilite-comptage` finds open is published nowhere (`mobility`)
           --> p.toml:356:9
            |
        356 | level = "open"
            |         ^^^^^^
            = why: what a public body holds and may publish is due to the public (CRPA L.312-1-1)
            = fix: add a target of kind open_data_portal and a copy to it, or acknowledge it with the reason
            = witness: a message of `ville-mobilite` is open and reaches no portal
            = replay: given = { source = "ville-mobilite", topic = "ville/mobilite/x/count", fields = ["count"] }

        warning[C28]: rule `air-station-fixe` is `open` with a word or a raw frame in `data`
           --> p.toml:392:214
            |
        392 | …mber", pm25 = "number", o3 = "number", temperature = "number", humidity = "number", data = "raw" } }
            |                                                                                             ^^^^^
            = why: a short word can hold a plate, a frame can hold anything
            = fix: write `{ in = ["…"] }` with its words, or acknowledge it
            = witness: a message with `data = "AB-123-CD"` is `open`

        warning[C32]: what rule `air-station-fixe` finds open is published nowhere (`air_quality`)
           --> p.toml:393:9
            |
        393 | level = "open"
            |         ^^^^^^
            = why: what a public body holds and may publish is due to the public (CRPA L.312-1-1)
            = fix: add a target of kind open_data_portal and a copy to it, or acknowledge it with the reason
            = witness: a message of `lns-rennes` is open and reaches no portal
            = replay: given = { source = "lns-rennes", topic = "application/x/device/x/event/up", tags = { domain = "air_quality", insee = "35001" }, measures = ["no2"], fields = ["data"] }

        no error: 0 errors, 8 warnings, 0 notes
    "#]]
    .assert_eq(&render_all(&found, &[file], Lang::En, false));
}

#[test]
#[rustfmt::skip]
fn faults_of_form_are_found_where_they_stand() {
    use Code::{C01, C02};
    check(&[
        Broken("a word without quotes", "country = \"FR\"", "country = FR", C01, "FR", "write \"FR\"", ""),
        Broken("a header left open", "[[target]]\nid = \"dc-rennes\"", "[[target\nid = \"dc-rennes\"", C01, "", "TOML", ""),
        Broken("text left open", "version = \"2026.11.2\"", "version = \"2026.11.2", C01, "", "TOML", ""),
        Broken("a key twice", "cog = 2026", "cog = 2026\ncog = 2026", C01, "cog", "duplicate", ""),
        Broken("an unknown block", "[[copy]]", "[[copies]]", C01, "copies", "`copies` is no block", ""),
        Broken("a block in single brackets", "[[invariant]]\nid = \"G1\"", "[invariant]\nid = \"G1\"", C01, "", "invariant", ""),
        Broken("the policy twice", "[defaults]", "[policy]\n[defaults]", C01, "policy]", "duplicate", ""),
        Broken("no schema", "schema = \"octroi-policy/1\"", "", C01, "", "`schema` is missing", ""),
        Broken("another schema", "octroi-policy/1", "octroi-policy/2", C01, "\"octroi-policy/2\"", "octroi-policy/1", ""),
        Broken("no defaults", "[defaults] ", "[default] ", C01, "default]", "write `defaults`", ""),
        Broken("a misspelt key, first depth", "managed_by", "manged_by", C01, "manged_by", "write `managed_by`", ""),
        Broken("a misspelt key, second depth", "measure_any", "mesure_any", C01, "mesure_any", "write `measure_any`", ""),
        Broken("a misspelt key, third depth", "valid_until = 2028-03-01", "valid_untill = 2028-03-01", C01, "valid_untill", "write `valid_until`", ""),
        Broken("a misspelt key of a step", "rotate = ", "rotation = ", C01, "rotation", "`steps.1`", ""),
        Broken("a misspelt key of a comparison", "tags = { usage = \"dwelling\" }", "field = { \"a.b\" = { grt = 3 } }", C01, "grt", "`when.field.a.b`", ""),
        Broken("a comparison with nothing", "tags = { usage = \"dwelling\" }", "field = { \"a.b\" = {} }", C01, "{}", "compares with nothing", ""),
        Broken("an unknown word", "kind = \"public_dc\"", "kind = \"pubic_dc\"", C01, "\"pubic_dc\"", "write `public_dc`", ""),
        Broken("an unknown step", "op = \"generalise_geo\"", "op = \"generalize_geo\"", C01, "\"generalize_geo\"", "write `generalise_geo`", ""),
        Broken("an unknown level", "level = \"sensitive\"", "level = \"sensible\"", C01, "\"sensible\"", "write `sensitive`", ""),
        Broken("an unknown marking", "markings = [\"command\"]", "markings = [\"comand\"]", C01, "\"comand\"", "write `command`", ""),
        Broken("a missing key", "adopted_by = \"Délibération n° 2026-114 du comité syndical (exemple)\"", "", C01, "[policy]", "`adopted_by` is missing", ""),
        Broken("a missing nested key", ", nature = \"public\"", "", C01, "{ name", "`operator.nature` is missing", ""),
        Broken("text where a number stands", "k_min = 11 ", "k_min = \"11\" ", C01, "\"11\"", "an integer", ""),
        Broken("a number out of range", "approvals_required = 2 ", "approvals_required = 300 ", C01, "300", "from 0 to 255", ""),
        Broken("one where a list stands", "domains = [\"energy\"]", "domains = \"energy\"", C01, "\"energy\"", "a list", ""),
        Broken("no date", "until = 2027-06-30", "until = 2027-06-31", C01, "", "", ""),
        Broken("text that is no date", "until = 2027-06-30", "until = \"2027-06-31\"", C01, "\"2027-06-31\"", "a day", ""),
        Broken("a local time", "valid_from = 2026-11-15T00:00:00Z", "valid_from = 2026-11-15T00:00:00", C01, "2026-11-15T", "an instant", ""),
        Broken("no duration", "retention = \"P3Y\"", "retention = \"3 ans\"", C01, "\"3 ans\"", "ISO 8601", ""),
        Broken("no filter", "topics = [\"ville/mobilite/#\"]", "topics = [\"ville/mobilite#\"]", C01, "\"ville/mobilite#\"", "MQTT filter", ""),
        Broken("several domains and no origin", "domain_from = \"tag:domain\"\n", "", C01, "[[source]]", "domain_from", ""),
        Broken("two communes of a source", "commune = \"35238\"", "commune = \"35238\"\ncommune_from = \"tag:insee\"", C01, "\"35238\"", "keep one", ""),
        Broken("no commune of a source", "commune = \"35238\"", "", C01, "[[source]]", "neither", ""),
        Broken("a requirement for no label", "when = { min_level = \"internal\" }", "when = {}", C01, "{}", "min_level", ""),
        Broken("a requirement that requires nothing", "must = { transformed = true }", "must = { transformed = false }", C01, "false", "requires nothing", ""),
        Broken("a way that is not understood", "secnumcloud>=3.2", "secnumcloud=>3.2", C01, "\"secnumcloud=>3.2\"", "is not understood", ""),
        Broken("an outcome that is none", "outcome = \"refused\"", "outcome = \"refuse\"", C01, "\"refuse\"", "write `refused`", ""),
        Broken("a condition that names nothing", "measure_any = [\"fill_level\", \"weight\"]", "measure_any = []", C01, "[]", "empty list", ""),
        Broken("a closed schema with another key", "period = \"token\", ts", "period = { in = [\"a\"], max = 3 }, ts", C01, "max", "is no key", ""),
        Broken("a commune as a number", "commune = \"35238\"", "commune = 35238", C02, "35238", "write \"35238\"", ""),
        Broken("a commune with a zero in front", "commune = \"35238\"", "commune = 01004", C02, "01004", "write \"01004\"", ""),
        Broken("a Corsican commune", "commune = \"35238\"", "commune = 2A004", C02, "2A004", "write \"2A004\"", ""),
        Broken("a number in a list of codes", "epci = [\"243500139\"]", "commune = [\"35238\", 01004]", C02, "01004", "write \"01004\"", ""),
        Broken("an EPCI as a number", "epci = [\"243500741\"]", "epci = [243500741]", C02, "243500741", "write \"243500741\"", ""),
        Broken("a SIREN as a number", "siren = \"243500139\"", "siren = 243500139", C02, "243500139", "write \"243500139\"", ""),
        Broken("a département as a number", "departement = [\"56\"]", "departement = [56]", C02, "56", "write \"56\"", ""),
        Broken("a département with a zero in front", "departement = [\"56\"]", "departement = [01]", C02, "01", "write \"01\"", ""),
        Broken("a tag as a number", "tags = { insee = \"35238\"", "tags = { insee = 35238", C02, "35238", "write \"35238\"", ""),
        Broken("the region as a number", "region = \"53\"", "region = 53", C02, "53", "write \"53\"", ""),
    ]);
}

#[test]
#[rustfmt::skip]
fn a_name_given_twice_or_misspelt_is_found_with_what_follows_from_it() {
    use Code::{C01, C03};
    check_each(&[
        Broken("an id with capitals", "id = \"dc-rennes\"", "id = \"DC-rennes\"", C01, "\"DC-rennes\"", "is no id", ""),
        Broken("an id twice", "id = \"dc-morbihan\"", "id = \"dc-rennes\"", C03, "\"dc-rennes\"", "stands twice", ""),
        Broken("a producer twice", "siren = \"255600058\"", "siren = \"243500139\"", C03, "\"243500139\"", "stands twice", ""),
    ], false);
}

#[test]
#[rustfmt::skip]
fn faults_of_meaning_are_found_with_a_witness() {
    use Code::{C03, C04, C05, C06, C07, C08, C14, C22, C27, C28, C30};
    check(&[
        Broken("a space on an unknown target", "target = \"dc-morbihan\"", "target = \"dc-morbian\"", C03, "\"dc-morbian\"", "write `dc-morbihan`", ""),
        Broken("an unknown quarantine", "quarantine_target = \"dc-bretagne\"", "quarantine_target = \"dc-bretange\"", C03, "\"dc-bretange\"", "write `dc-bretagne`", ""),
        Broken("an unknown perimeter", "perimeter = \"dept-35\"", "perimeter = \"dept-36\"", C03, "\"dept-36\"", "`perimeter`", ""),
        Broken("an unknown producer", "producer = \"243500741\"", "producer = \"243500742\"", C03, "\"243500742\"", "write `243500741`", ""),
        Broken("an unknown domain of a source", "domains = [\"energy\", \"waste\", \"air_quality\"]", "domains = [\"energy\", \"wate\", \"air_quality\"]", C03, "\"wate\"", "write `waste`", ""),
        Broken("an unknown domain of a rule", "when = { domain = \"energy\", tags = { usage = \"dwelling\" } }", "when = { domain = \"enegy\" }", C03, "\"enegy\"", "write `energy`", ""),
        Broken("an unknown source of a rule", "source = \"scada-56\", topic = \"spBv1.0/+/+/#\"", "source = \"scada56\"", C03, "\"scada56\"", "write `scada-56`", ""),
        Broken("an unknown processing", "processing = \"T-dechets-badge\"", "processing = \"T-dechet-badge\"", C03, "\"T-dechet-badge\"", "write `T-dechets-badge`", ""),
        Broken("an unknown transform", "transform = \"t-eau-agregat\"", "transform = \"t-eau\"", C03, "\"t-eau\"", "`transform`", ""),
        Broken("an unknown destination of a copy", "to = \"cloud-confiance\"", "to = \"cloud\"", C03, "\"cloud\"", "`target`", ""),
        Broken("an unknown source of a test", "given = { source = \"redon-lora\"", "given = { source = \"redon\"", C03, "\"redon\"", "`source`", ""),
        Broken("an unknown copy of a test", "copies = [\"mobilite-vers-cloud\"]", "copies = [\"mobilite-cloud\"]", C03, "\"mobilite-cloud\"", "write `mobilite-vers-cloud`", ""),
        Broken("an unknown target of a guarantee", "operator = \"private\", via", "target = \"nowhere\", via", C03, "\"nowhere\"", "`target`", ""),
        Broken("an unknown target that a test fears", "must_not_reach = [\"cloud-confiance\"]", "must_not_reach = [\"cloud-defiance\"]", C03, "\"cloud-defiance\"", "write `cloud-confiance`", ""),
        Broken("a transform that no copy uses", "transform = \"t-eau-agregat\"\n", "", C04, "\"t-eau-agregat\"", "never used", ""),
        Broken("a space at a scale that its domain has not", "type = \"departement\"\ndepartement = [\"56\"]", "type = \"syndicat\"\ndepartement = [\"56\"]", C04, "\"energy\"", "`syndicat`", ""),
        Broken("an acknowledgement of nothing", "[defaults]", "[[acknowledge]]\ncode = \"C27\"\nsubject = \"redon-lora\"\nby = \"x\"\nbecause = \"y\"\nexpires = 2027-01-01\n[defaults]", C04, "\"redon-lora\"", "to acknowledge", ""),
        Broken("an unknown commune", "commune = \"35238\"", "commune = \"35999\"", C05, "\"35999\"", "INSEE code", ""),
        Broken("a commune without its zero", "commune = \"35238\"", "commune = \"1004\"", C05, "\"1004\"", "write \"01004\" for Ambérieu-en-Bugey", ""),
        Broken("an arrondissement of Paris", "epci = [\"243500139\"]", "epci = [\"243500139\"]\ncommune = [\"75101\"]", C05, "\"75101\"", "75056", ""),
        Broken("an unknown EPCI", "epci = [\"200067932\"]", "epci = [\"200067933\"]", C05, "\"200067933\"", "200067932", ""),
        Broken("an unknown département", "departement = [\"35\"]", "departement = [\"35\", \"20\"]", C05, "\"20\"", "département", ""),
        Broken("an unknown region", "region = [\"53\"]", "region = [\"53\", \"54\"]", C05, "\"54\"", "region", ""),
        Broken("another vintage", "cog = 2026", "cog = 2019", C05, "2019", "write cog = 2026", ""),
        Broken("no SIREN", "controller = \"255600058\"", "controller = \"25560005\"", C05, "\"25560005\"", "nine digits", ""),
        Broken("a SIREN with a wrong digit", "controller = \"255600058\"", "controller = \"255600059\"", C05, "\"255600059\"", "check digit", ""),
        Broken("two spaces at one scale", "perimeter = \"dept-56\"\ndomains = [\"energy\", \"water\"]\ntarget", "perimeter = \"dept-35\"\ndomains = [\"energy\", \"water\"]\ntarget", C06, "[[space]]", "energie-eau-35", "35"),
        Broken("two spaces for one commune", "[[perimeter]]\nid = \"bretagne\"", "[[space]]\nid = \"autre\"\nperimeter = \"autre\"\ndomains = [\"mobility\"]\ntarget = \"dc-rennes\"\nmanaged_by = \"243500139\"\n[[perimeter]]\nid = \"autre\"\ntype = \"bassin_mobilite\"\ncommune = [\"44185\", \"01004\"]\n[[perimeter]]\nid = \"bretagne\"", C06, "[[space]]", "for 1 commune(s)", "`mobility` in Saint-Nicolas-de-Redon (44185), from source `redon-lora`"),
        Broken("a source beside its perimeter", "commune = \"35238\"", "commune = \"56260\"", C07, "\"56260\"", "outside the perimeter", "Vannes (56260)"),
        Broken("a domain at scales where no space is", "scales = [\"bassin_mobilite\", \"bassin_vie\"]", "scales = [\"bassin_vie\"]", C08, "[[domain]]", "`mobility`", "mobilite-rennes"),
        Broken("a personal marking at `internal`", "level = \"personal\"\nmarkings = [\"personal\"]", "level = \"internal\"\nmarkings = [\"personal\"]", C14, "\"personal\"", "raise the level to `personal`", "`internal` (`personal`)"),
        Broken("a command that is not restricted", "level = \"restricted\"\nmarkings", "level = \"sensitive\"\nmarkings", C14, "\"command\"", "raise the level to `restricted`", ""),
        Broken("exposure not stated", "extra_eu_law = \"immune\"\n", "", C22, "[[target]]", "`dc-rennes` does not state its exposure", ""),
        Broken("exposure unknown", "extra_eu_law = \"immune\"", "extra_eu_law = \"unknown\"", C22, "\"unknown\"", "`dc-rennes` has an unknown exposure", ""),
        Broken("topics that no rule reads", "topics = [\"spBv1.0/eau-56/#\"]", "topics = [\"spBv1.0/eau-56/#\", \"autre/+\"]", C27, "\"autre/+\"", "`scada-56`", "`autre/x`"),
        Broken("an open rule without a schema", ", fields_within = { count = \"number\", speed_avg = \"number\", occupancy_pct = \"number\", period = \"token\", ts = \"time\", device = \"token\" }", "", C28, "\"open\"", "without a closed schema", "plate"),
        Broken("text in an open rule", "period = \"token\"", "period = \"text\"", C28, "\"text\"", "free text in `period`", "AB-123-CD"),
        Broken("two sources with one identity", "cert:CN=mobilite.rennes.example", "cert:CN=lns.rennes.example", C30, "\"cert:CN=lns.rennes.example\"", "have one identity", "cert:CN=lns.rennes.example"),
        Broken("an identity that nobody checked", "cert:CN=lns.rennes.example", "ip:10.0.0.1", C30, "\"ip:10.0.0.1\"", "none of `cert`, `user` and `broker`", ""),
        Broken("an identity for everyone", "cert:CN=lns.rennes.example", "cert:CN=*.example", C30, "\"cert:CN=*", "wildcard", ""),
    ]);
}

#[test]
fn a_warning_is_accepted_on_record_until_its_day() {
    let acknowledge = "[[acknowledge]]\ncode = \"C28\"\nsubject = \"air-station-fixe\"\nby = \"dpo\"\n\
                       because = \"trames lues\"\nexpires = 2027-01-31\n[defaults]";
    let files = [file(&EXAMPLE.replacen("[defaults]", acknowledge, 1))];
    let document = parse(&files).document;
    let severity = |today: &str| {
        let found = structural_at(&document, Cog::vintage(2026), Date::parse(today).unwrap());
        let about = found.iter().find(|f| f.message.en.contains("air-station-fixe")).unwrap();
        (about.severity, about.fix.en.contains("accepted by dpo until 2027-01-31: trames lues"))
    };
    assert_eq!(severity("2027-01-31"), (Severity::Info, true));
    assert_eq!(severity("2027-02-01"), (Severity::Warning, false));
}

#[test]
fn one_run_finds_every_fault() {
    let mut text = EXAMPLE.to_owned();
    for (old, new) in [
        ("measure_any", "mesure_any"),
        ("commune = \"35238\"", "commune = 01004"),
        ("kind = \"public_dc\"", "kind = \"pubic_dc\""),
        (
            "country = \"FR\"\noperator = { name = \"Opérateur",
            "country = FR\noperator = { name = \"Opérateur",
        ),
        ("outcome = \"refused\"", "outcome = \"refuse\""),
        ("to = \"cloud-confiance\"", "to = \"cloud\""),
        (
            "level = \"personal\"\nmarkings = [\"personal\", \"essential",
            "level = \"open\"\nmarkings = [\"personal\", \"essential",
        ),
    ] {
        assert!(text.contains(old), "{old}");
        text = text.replacen(old, new, 1);
    }
    let found = findings(&[file(&text)]);
    let codes: Vec<String> = found
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .map(|finding| {
            format!(
                "{} {}",
                finding.code,
                under(&text, &finding.location).chars().take(12).collect::<String>()
            )
        })
        .collect();
    expect![[r#"
        [
            "C01 \"pubic_dc\"",
            "C01 FR",
            "C02 01004",
            "C01 mesure_any =",
            "C01 \"refuse\" }",
            "C28 \"open\"",
            "C14 \"personal\", ",
            "C03 \"cloud\"",
        ]
    "#]]
    .assert_debug_eq(&codes);
}

#[test]
fn a_policy_is_read_the_same_from_one_file_or_several() {
    let half = EXAMPLE.find("# ── Sources").unwrap();
    let (head, tail) = EXAMPLE.split_at(half);
    let part = |name: &str, text: &str| SourceFile { name: name.into(), text: text.into() };
    let two = [part("a.toml", head), part("b.toml", tail)];
    let (one, several) = (parse(&[file(EXAMPLE)]), parse(&two));
    assert_eq!(several.findings, []);
    let names = |document: &ast::Document| {
        document.classify.iter().map(|rule| rule.value.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&one.document), names(&several.document));
    assert_eq!(several.document.source[0].at.file, "b.toml");
    let twice = parse(&[two[0].clone(), two[0].clone()]);
    assert!(twice.findings.iter().any(|f| f.message.en.contains("`[policy]` stands twice")));

    let swapped = [two[1].clone(), two[0].clone()];
    assert_eq!(hash(&two), hash(&swapped));
    let moved = [part("a.toml", head.trim_end()), part("b.toml", tail)];
    assert_ne!(hash(&two), hash(&moved));
    assert_ne!(hash(&two), hash(&[part("a.tomlb", head), part(".toml", tail)]));
    assert_ne!(hash(&[]), hash(&[part("", "")]));
}

#[test]
fn includes_are_read_even_from_a_broken_file() {
    let text = "include = [\"../doctrine-fr\", \"more.toml\"]\n[broken";
    assert_eq!(includes(&file(text)), ["../doctrine-fr", "more.toml"]);
    for bad in ["include = \"x\"", "include = [\"/etc\"]", "include = [3]", "include = [\"\"]"] {
        let found = findings(&[file(&format!("{bad}\n{EXAMPLE}"))]);
        assert!(found.iter().any(|f| f.message.en.contains("`include`")), "{bad}");
    }
}

/// Every finding renders, and points into the text; no block is dropped unsaid.
fn is_total(text: &str) {
    let files = [file(text)];
    let Parsed { document, findings: faults } = parse(&files);
    assert!(document.unread.is_empty() || faults.iter().any(|fault| fault.severity == Severity::Error));
    for finding in findings(&files) {
        let lines = text.split('\n').count();
        assert!(finding.location.line as usize <= lines, "{finding:?}");
        assert!(!render(&finding, &files, Lang::En, true).is_empty());
    }
}

#[test]
fn deep_and_wide_texts_are_refused_without_harm() {
    for text in [
        format!("policy = {}", "[".repeat(50_000)),
        format!("policy = {}", "{ a = ".repeat(50_000)),
        format!("policy.{}b = 1", "a.".repeat(50_000)),
        format!("[policy.{}b]", "a.".repeat(50_000)),
        "[[classify]]\n".repeat(20_000),
        format!("{} = 1", "k".repeat(1_000_000)),
    ] {
        assert!(!parse(&[file(&text)]).findings.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_without_panic(text in "\\PC{0,200}") {
        is_total(&text);
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        is_total(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_mutated_example_is_read_without_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..40, "[a-z0-9\"=.,\\[\\]{}#\\n \u{0}é]{0,8}"), 1..6)
    ) {
        let mut text: Vec<char> = EXAMPLE.chars().collect();
        for (at, len, new) in edits {
            let at = at.index(text.len());
            let end = (at + len).min(text.len());
            text.splice(at..end, new.chars());
        }
        is_total(&text.into_iter().collect::<String>());
    }
}
