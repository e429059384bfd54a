use super::*;
use crate::{Level, SourceFile, hash, parse};

const EXAMPLE: &str = include_str!("../../../../policies/bretagne-exemple.toml");

fn policy(text: &str) -> Policy {
    let files = [SourceFile { name: "p.toml".to_owned(), text: text.to_owned() }];
    let parsed = parse(&files);
    assert_eq!(parsed.findings, []);
    Policy::compile(&parsed.document, hash(&files)).unwrap()
}

fn day(text: &str) -> Date {
    Date::parse(text).unwrap()
}

fn scenario(policy: &Policy) -> Scenario {
    Scenario::new(policy.document().policy.valid_from.date())
}

/// Each scenario of the example: a day, what is down, what has lapsed.
fn scenarios(policy: &Policy) -> Vec<Scenario> {
    let start = || scenario(policy);
    let mut all = vec![start()];
    for target in policy.targets() {
        all.push(start().down(policy, &target.id).unwrap());
        all.push(start().down(policy, &target.id).unwrap().on(day("2028-01-01")));
    }
    for record in [
        "dc-rennes:homologation",
        "dc-bretagne:homologation",
        "cloud-confiance:secnumcloud",
        "t-eau-agregat:declassification",
    ] {
        all.push(start().lapsed(policy, record).unwrap());
        all.push(start().lapsed(policy, record).unwrap().down(policy, "dc-rennes").unwrap());
    }
    all.extend(
        ["2026-01-01", "2027-07-01", "2027-11-16", "2028-01-01", "2029-01-01"]
            .map(|text| start().on(day(text))),
    );
    all
}

#[test]
fn no_primary_ever_moves() {
    let policy = policy(EXAMPLE);
    for scenario in scenarios(&policy) {
        let changed = Policy::compile(&scenario.applied(policy.document()), [0; 32]).unwrap();
        let none = BTreeSet::new();
        let before = World { policy: &policy, day: scenario.from, down: &none };
        let after = World { policy: &changed, day: scenario.on, down: &scenario.down };
        let mut placed = 0;
        for ((source, domain), labels) in reached(&policy, policy.document()) {
            for communes in classes(&policy, source, domain).values() {
                let class = Class { source, domain, commune: communes.first().unwrap(), communes: 1 };
                for key in labels.by_key.keys() {
                    let (place, _) = before.primary(class, label_of(*key));
                    assert_eq!(after.primary(class, label_of(*key)).0, place, "{scenario:?}");
                    placed += usize::from(place.is_some());
                }
            }
        }
        assert!(placed > 100);
    }
}

#[test]
fn the_same_day_changes_nothing() {
    let policy = policy(EXAMPLE);
    let simulation = simulate(&policy, &scenario(&policy)).unwrap();
    assert!(simulation.primaries.is_empty() && simulation.copies.is_empty() && simulation.tests.is_empty());
    assert!(simulation.classes > 100 && simulation.unchanged == simulation.classes, "{simulation:#?}");
}

#[test]
fn what_is_for_a_target_that_is_down_waits_for_it() {
    let policy = policy(EXAMPLE);
    for target in ["dc-rennes", "dc-bretagne", "cloud-confiance"] {
        let simulation = simulate(&policy, &scenario(&policy).down(&policy, target).unwrap()).unwrap();
        assert_eq!(simulation.primaries.is_empty(), target == "cloud-confiance");
        for change in &simulation.primaries {
            assert_eq!(change.place.as_ref().map(|place| place.target.as_str()), Some(target));
            assert_eq!((&change.before, &change.after), (&State::Goes, &State::Waits));
        }
        // Copies to other targets go on.
        assert_eq!(simulation.copies.is_empty(), target != "cloud-confiance");
        for change in &simulation.copies {
            assert_eq!((change.target.as_str(), &change.after), (target, &State::Waits));
        }
        assert!(simulation.tests.is_empty(), "a target that is down changes no decision");
    }
}

#[test]
fn a_lapsed_accreditation_holds_what_needs_it_since_that_day() {
    let policy = policy(EXAMPLE);
    let simulation = simulate(&policy, &scenario(&policy).on(day("2027-12-01"))).unwrap();
    let held = State::Stops { by: "E2-sensible".to_owned(), since: Some(day("2027-07-01")) };
    assert!(!simulation.primaries.is_empty());
    for change in &simulation.primaries {
        assert_eq!(change.after, held, "{change:#?}");
        assert_eq!(change.place.as_ref().unwrap().target, "dc-rennes");
        assert!(change.labels.levels.iter().all(|level| *level >= Level::Sensitive), "{change:#?}");
    }
    let lapsed = State::Stops { by: "declassification".to_owned(), since: Some(day("2027-11-16")) };
    assert!(simulation.copies.iter().any(|c| c.copy == "eau-agregats-vers-cloud" && c.after == lapsed));
    let failing: Vec<&str> = simulation.tests.iter().map(|test| test.name.as_str()).collect();
    assert!(failing.contains(&"Compteur d'eau : seul l'agrégat sort"), "{failing:?}");
}

#[test]
fn a_record_lapsed_today_is_as_if_its_last_day_were_yesterday() {
    let example = policy(EXAMPLE);
    let lapsed = scenario(&example).lapsed(&example, "dc-rennes:homologation").unwrap();
    let by_record = simulate(&example, &lapsed).unwrap();
    let dated = policy(&EXAMPLE.replace("until = 2027-06-30", "until = 2026-11-14"));
    let from = day("2026-11-14");
    let by_date = simulate(&dated, &Scenario::new(from).on(day("2026-11-15"))).unwrap();
    assert_eq!(by_record.primaries, by_date.primaries);
    assert!(!by_record.primaries.is_empty());
    assert!(
        by_record
            .primaries
            .iter()
            .all(|c| matches!(&c.after, State::Stops { since, .. } if *since == Some(day("2026-11-15"))))
    );
}

#[test]
fn another_record_that_holds_keeps_the_way_open() {
    let policy = policy(&EXAMPLE.replace(
        "one_of = [\"operator:public+homologation\", ",
        "one_of = [\"operator:public+homologation\", \"iso27001>=2022\", ",
    ));
    let lapsed = scenario(&policy).lapsed(&policy, "dc-rennes:homologation").unwrap();
    assert_eq!(simulate(&policy, &lapsed).unwrap().primaries, []);
}

#[test]
fn a_source_past_its_last_day_is_not_heard() {
    let policy = policy(&EXAMPLE.replace("commune = \"35238\"", "commune = \"35238\"\nexpires = 2026-12-31"));
    let simulation = simulate(&policy, &scenario(&policy).on(day("2027-01-01"))).unwrap();
    let over = State::Stops { by: "expires".to_owned(), since: Some(day("2027-01-01")) };
    assert!(!simulation.primaries.is_empty());
    assert!(simulation.primaries.iter().all(|c| c.source == "ville-mobilite" && c.after == over));
    assert!(simulation.copies.iter().all(|c| c.copy == "mobilite-vers-cloud"), "{:#?}", simulation.copies);
}

#[test]
fn what_is_not_known_is_said_with_what_is() {
    let policy = policy(EXAMPLE);
    let error = scenario(&policy).down(&policy, "dc-renes").unwrap_err();
    assert!(error.to_string().contains("write `dc-rennes`"), "{error}");
    let error = scenario(&policy).lapsed(&policy, "cloud-confiance:hds").unwrap_err();
    assert!(error.to_string().contains("cloud-confiance:secnumcloud"), "{error}");
}
