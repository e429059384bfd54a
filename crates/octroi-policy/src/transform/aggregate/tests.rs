//! Aggregates of generated messages: who counts, what is told, and what is not.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::ast::Format;
use crate::transform::{PseudonymKey, TransformPlan};
use crate::{Level, Marking, Markings, read};

struct Key;

impl KeySource for Key {
    fn key(&self, _: &str, _: &str) -> Option<PseudonymKey> {
        Some(PseudonymKey::new("k7", &[7; 32]))
    }
}

const LIMITS: Limits = Limits { groups: 100, devices: 1_000 };
const DAILY: &str = r#"{ op = "aggregate", window = "P1D", by = ["commune"], measures = ["index_l"], min_count = 3 }, { op = "rewrite_topic", to = "b/{domain}/{commune}" }"#;

fn compile(steps: &str, k_min: u32) -> Result<TransformPlan, TransformError> {
    let transform: Transform = toml::from_str(&format!("id = \"t\"\nsteps = [{steps}]")).unwrap();
    TransformPlan::compile(&transform, k_min)
}

fn plan(steps: &str) -> AggregatePlan {
    compile(steps, 0).unwrap().aggregate().unwrap().clone()
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

/// A meter's message.
#[derive(Clone, Debug)]
struct Sent {
    device: String,
    commune: &'static str,
    producer: &'static str,
    received: Timestamp,
    measured: Option<Timestamp>,
    index: String,
    label: Label,
}

fn sent(device: &str, index: impl ToString + Copy) -> Sent {
    Sent {
        device: device.to_owned(),
        commune: "56260",
        producer: "255600058",
        received: at("2026-11-20T06:00:03Z"),
        measured: None,
        index: index.to_string(),
        label: Label { level: Level::Personal, markings: [Marking::Personal].into_iter().collect() },
    }
}

impl Sent {
    fn add(&self, plan: &AggregatePlan) -> Result<Contribution, TransformRefused> {
        let ts = self.measured.map(|time| format!(",\"ts\":\"{time}\"")).unwrap_or_default();
        let payload = format!("{{\"index_l\":{}{ts}}}", self.index);
        let facts = read(Format::Json, "t", payload.as_bytes()).unwrap();
        let message = TransformInput {
            facts: &facts,
            payload: payload.as_bytes(),
            topic: "t",
            device: Some(self.device.as_str()),
            domain: "water",
            commune: Some(self.commune).filter(|commune| !commune.is_empty()),
            producer: self.producer,
            purpose: "Observatoire de l'eau",
            copy: "eau",
            received: self.received,
            record_id: "hub-1/3/77",
        };
        plan.contribution(&Contributor { message, source: "s", space: "e", label: self.label }, &Key)
    }
}

fn windows<'s>(plan: &AggregatePlan, sent: impl IntoIterator<Item = &'s Sent>) -> Windows {
    let mut windows = Windows::new(plan, Timestamp(i64::MIN));
    for sent in sent {
        assert_eq!(windows.take(plan, sent.add(plan).unwrap(), &LIMITS), Taken::Counted);
    }
    windows
}

fn due(windows: &Windows, plan: &AggregatePlan, by: &str) -> Option<Publication> {
    windows.due(plan, "eau", "Observatoire de l'eau", at(by), &Key).unwrap()
}

fn payloads(publication: &Publication) -> Vec<serde_json::Value> {
    let of = |aggregate: &Aggregate| serde_json::from_slice(&aggregate.payload).unwrap();
    publication.aggregates.iter().map(of).collect()
}

fn meters(count: usize) -> Vec<Sent> {
    (0..count).map(|n| sent(&format!("wm-{n}"), n)).collect()
}

#[test]
fn a_group_is_published_from_the_least_number_of_devices_on() {
    let plan = plan(DAILY);
    let publication = due(&windows(&plan, &meters(3)), &plan, "2026-11-21T00:00:00Z").unwrap();
    assert_eq!((publication.aggregates.len(), publication.suppressed), (1, 0));
    let expected = r#"{"commune":"56260","devices":3,"measures":{"index_l":{"devices":3,"mean":1.0,"sum":3.0}},"window":{"end":"2026-11-21T00:00:00Z","start":"2026-11-20T00:00:00Z"}}"#;
    let aggregate = &publication.aggregates[0];
    assert_eq!(String::from_utf8_lossy(&aggregate.payload), expected);
    assert_eq!(aggregate.topic, "b/water/56260");
    assert_eq!(aggregate.id.len(), 32);
    let publication = due(&windows(&plan, &meters(2)), &plan, "2026-11-21T00:00:00Z").unwrap();
    assert_eq!((publication.aggregates.len(), publication.suppressed), (0, 1));
    // Not before its end.
    assert_eq!(due(&windows(&plan, &meters(3)), &plan, "2026-11-20T23:59:59Z"), None);
}

#[test]
fn the_policys_least_number_holds_where_the_step_says_less() {
    let strict = compile(DAILY, 4).unwrap();
    let strict = strict.aggregate().unwrap();
    let publication = due(&windows(strict, &meters(3)), strict, "2026-11-21T00:00:00Z").unwrap();
    assert_eq!((publication.aggregates.len(), publication.suppressed), (0, 1));
    assert_ne!(strict.fingerprint(), plan(DAILY).fingerprint(), "another plan");
}

#[test]
fn one_meter_that_sends_eleven_times_is_one_however_it_spells_its_name() {
    let plan = plan(DAILY);
    let spelt = ["wm-1", "WM-1", "wm_1", "wm 1", "wm-1", "ｗｍ-1", "Wm1", "wm:1", "wm.1", "w-m-1", "wm-1"];
    let sent: Vec<Sent> = spelt.iter().map(|name| sent(name, 1)).collect();
    let publication = due(&windows(&plan, &sent), &plan, "2026-11-21T00:00:00Z").unwrap();
    assert_eq!((publication.aggregates.len(), publication.suppressed), (0, 1));
}

#[test]
fn a_device_counts_with_the_last_value_it_measured() {
    let plan = plan(DAILY);
    let mut all = meters(3);
    for (time, index) in
        [("2026-11-20T05:00:00Z", 500), ("2026-11-20T04:00:00Z", 400), ("2026-11-20T05:00:00Z", 499)]
    {
        all.push(Sent { measured: Some(at(time)), ..sent("wm-9", index) });
    }
    let publication = due(&windows(&plan, &all), &plan, "2026-11-21T00:00:00Z").unwrap();
    assert_eq!(
        payloads(&publication)[0]["measures"]["index_l"],
        json!({ "devices": 4, "sum": 503.0, "mean": 125.75 })
    );
}

#[test]
fn a_measure_of_fewer_devices_is_not_told_though_its_group_is() {
    let plan = plan(DAILY);
    let mut all = meters(2);
    all.push(sent("wm-2", "\"none\""));
    let publication = due(&windows(&plan, &all), &plan, "2026-11-21T00:00:00Z").unwrap();
    assert_eq!(payloads(&publication)[0]["devices"], 3);
    assert_eq!(payloads(&publication)[0]["measures"], json!({}), "two meters' own values");
}

#[test]
fn devices_of_two_producers_or_communes_are_not_counted_together() {
    let plan = plan(DAILY);
    let mut all = meters(2);
    all.push(Sent { producer: "200000000", ..sent("wm-2", 2) });
    all.push(Sent { commune: "56001", ..sent("wm-3", 2) });
    let publication = due(&windows(&plan, &all), &plan, "2026-11-21T00:00:00Z").unwrap();
    assert_eq!((publication.aggregates.len(), publication.suppressed), (0, 3));
}

#[test]
fn the_label_of_a_group_is_that_of_its_contributors_joined() {
    let plan = plan(DAILY);
    let mut all = meters(3);
    let health: Markings = [Marking::Health].into_iter().collect();
    all[1].label = Label { level: Level::Sensitive, markings: health };
    let publication = due(&windows(&plan, &all), &plan, "2026-11-21T00:00:00Z").unwrap();
    let label = publication.aggregates[0].label;
    assert_eq!(label.level, Level::Sensitive);
    assert_eq!(label.markings, [Marking::Health, Marking::Personal].into_iter().collect());
}

#[test]
fn what_comes_after_its_window_was_published_is_late() {
    let plan = plan(DAILY);
    let mut windows = windows(&plan, &meters(3));
    windows.retire(at("2026-11-21T00:00:00Z"));
    assert_eq!(due(&windows, &plan, "2026-12-01T00:00:00Z"), None, "published once");
    let late = sent("wm-9", 9).add(&plan).unwrap();
    assert_eq!(windows.take(&plan, late, &LIMITS), Taken::Late);
    let next = Sent { received: at("2026-11-21T00:00:00Z"), ..sent("wm-9", 9) };
    assert_eq!(windows.take(&plan, next.add(&plan).unwrap(), &LIMITS), Taken::Counted);
    // After a loss nothing is published of a window that had begun.
    let mut after = Windows::after(&plan, Timestamp(0), at("2026-11-20T12:00:00Z"));
    assert_eq!(after.closed(), at("2026-11-21T00:00:00Z"));
    assert_eq!(after.take(&plan, sent("wm-9", 9).add(&plan).unwrap(), &LIMITS), Taken::Late);
}

#[test]
fn a_window_that_outgrows_its_limits_publishes_nothing() {
    let plan = plan(DAILY);
    for limits in [Limits { groups: 9, devices: 3 }, Limits { groups: 0, devices: 9 }] {
        let mut windows = Windows::new(&plan, Timestamp(0));
        let taken: Vec<Taken> =
            meters(5).iter().map(|sent| windows.take(&plan, sent.add(&plan).unwrap(), &limits)).collect();
        assert_eq!(taken.last(), Some(&Taken::Overgrown));
        let publication = due(&windows, &plan, "2026-11-21T00:00:00Z").unwrap();
        assert_eq!(publication.aggregates, []);
        // What it held is free for the next.
        let next = Sent { received: at("2026-11-21T00:00:00Z"), ..sent("wm-9", 9) };
        let expected = if limits.groups > 0 { Taken::Counted } else { Taken::Overgrown };
        assert_eq!(windows.take(&plan, next.add(&plan).unwrap(), &limits), expected);
    }
}

#[test]
fn what_cannot_be_counted_adds_nothing() {
    let plan = plan(DAILY);
    assert_eq!(sent("", 1).add(&plan), Err(TransformRefused::NoDevice));
    assert_eq!(Sent { commune: "", ..sent("a", 1) }.add(&plan), Err(TransformRefused::CommuneAbsent));
    let facts = read(Format::Json, "t", b"{\"a\":[{\"b\":1},{\"b\":2}],\"c\":{\"d\":3}}").unwrap();
    assert_eq!((value(&facts, "a.b"), value(&facts, "c.d"), value(&facts, "d")), (None, Some(3.0), None));
}

#[test]
fn sums_and_means_are_rounded_as_the_transform_says() {
    let steps = DAILY.replace(
        ", { op = \"rewrite",
        ", { op = \"round\", field = \"index_l\", digits = 1 }, { op = \"rewrite",
    );
    let plan = plan(&steps);
    let all = [sent("a", "0.11"), sent("b", "0.11"), sent("c", "0.11")];
    let publication = due(&windows(&plan, &all), &plan, "2026-11-21T00:00:00Z").unwrap();
    assert_eq!(
        payloads(&publication)[0]["measures"]["index_l"],
        json!({ "devices": 3, "sum": 0.3, "mean": 0.1 })
    );
}

#[test]
fn an_aggregate_that_is_not_written_as_it_must_be_is_refused() {
    let aggregate =
        r#"{ op = "aggregate", window = "P1D", by = ["space"], measures = ["a"], min_count = 3 }"#;
    for (steps, expected) in [
        (format!("{aggregate}, {aggregate}"), "`aggregate` has nothing"),
        (format!("{{ op = \"keep_only\", fields = [\"a\"] }}, {aggregate}"), "`keep_only` has nothing"),
        (format!("{{ op = \"round\", field = \"a\", digits = 1 }}, {aggregate}"), "`round` has nothing"),
        (format!("{aggregate}, {{ op = \"round\", field = \"b\", digits = 1 }}"), "`round` has nothing"),
        (format!("{aggregate}, {{ op = \"round\", field = \"a\", digits = 10 }}"), "0 to 9 digits"),
        (format!("{aggregate}, {{ op = \"rewrite_topic\", to = \"a/{{device}}\" }}"), "is no topic"),
        (format!("{aggregate}, {{ op = \"rewrite_topic\", to = \"a/{{commune}}\" }}"), "is no topic"),
        (aggregate.replace("P1D", "1D"), "is no duration"),
        (aggregate.replace("space", "street"), "not `street`"),
        (aggregate.replace("\"a\"", "\"\""), "names no field"),
    ] {
        let error = compile(&steps, 0).unwrap_err().to_string();
        assert!(error.contains(expected), "{steps}: {error}");
    }
    assert!(compile(&format!("{aggregate}, {{ op = \"rewrite_topic\", to = \"a/{{copy}}\" }}"), 0).is_ok());
}

fn generated() -> impl Strategy<Value = Vec<Sent>> {
    let one = (0..9_u8, 0..3_usize, 0..3_i64, 0..4_i64, -99..99_i32, any::<bool>());
    let one = one.prop_map(|(device, commune, hour, measured, index, high)| Sent {
        commune: ["56260", "56001", "56002"][commune],
        received: Timestamp(at("2026-11-20T06:00:03Z").0 + hour * 36_000_000_000),
        measured: (measured > 0).then(|| Timestamp(at("2026-11-20T01:00:00Z").0 + measured)),
        label: Label {
            level: if high { Level::Sensitive } else { Level::Personal },
            markings: Markings::from_bits(u32::from(device)),
        },
        ..sent(&format!("wm-{device}"), f64::from(index) / 10.0)
    });
    prop::collection::vec(one, 0..60)
}

/// Everything that is published, window by window.
fn all_of(windows: &mut Windows, plan: &AggregatePlan) -> Vec<Publication> {
    let mut all = Vec::new();
    while let Some(publication) = due(windows, plan, "2027-01-01T00:00:00Z") {
        windows.retire(publication.end);
        all.push(publication);
    }
    all
}

proptest! {
    #[test]
    fn order_and_repetition_change_nothing(
        (sent, shuffled) in generated().prop_flat_map(|sent| {
            let twice: Vec<Sent> = sent.iter().chain(sent.iter().step_by(2)).cloned().collect();
            (Just(sent), Just(twice).prop_shuffle())
        })
    ) {
        let plan = plan(DAILY);
        let (mut one, mut other) = (windows(&plan, &sent), windows(&plan, &shuffled));
        prop_assert_eq!(&one, &other);
        prop_assert_eq!(all_of(&mut one, &plan), all_of(&mut other, &plan));
    }

    #[test]
    fn a_state_that_was_stored_and_read_back_at_any_point_goes_on_alike(sent in generated(), cut in any::<prop::sample::Index>()) {
        let plan = plan(DAILY);
        let (before, after) = sent.split_at(cut.index(sent.len() + 1));
        let stored = serde_json::to_vec(&windows(&plan, before)).unwrap();
        let mut read: Windows = serde_json::from_slice(&stored).unwrap();
        for sent in after {
            read.take(&plan, sent.add(&plan).unwrap(), &LIMITS);
        }
        let mut straight = windows(&plan, &sent);
        prop_assert_eq!(&read, &straight);
        prop_assert_eq!(all_of(&mut read, &plan), all_of(&mut straight, &plan));
    }

    #[test]
    fn nothing_is_told_of_fewer_devices_than_the_least(sent in generated()) {
        let plan = plan(DAILY);
        let mut windows = windows(&plan, &sent);
        let groups = windows.groups();
        let published = all_of(&mut windows, &plan);
        let told: u64 = published.iter().map(|one| one.aggregates.len() as u64 + one.suppressed).sum();
        prop_assert_eq!(told, groups, "every group is published or counted");
        for payload in published.iter().flat_map(payloads) {
            let (commune, start) = (payload["commune"].as_str().unwrap(), payload["window"]["start"].as_str().unwrap());
            let of_group = sent.iter().filter(|sent| sent.commune == commune && sent.received.date().start() == at(start));
            let devices: std::collections::BTreeSet<&str> = of_group.map(|sent| sent.device.as_str()).collect();
            prop_assert_eq!(payload["devices"].as_u64(), Some(devices.len() as u64));
            prop_assert!(devices.len() >= 3);
        }
        prop_assert_eq!(windows.groups(), 0);
    }
}
