//! Every payload fixture: its facts, all that the index lists of them, or its
//! refusal.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "tests"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use octroi_policy::ast::Format;
use octroi_policy::{Facts, Kind, LeafRole, ReadError, Timestamp, read, same_name};
use sha2::{Digest as _, Sha256};
use toml::{Table, Value};

/// Keys of the index that say what a fixture is, and not what is in it.
const ABOUT: &[&str] = &["bytes", "file", "format", "name", "sha256", "topic", "what"];

/// What the index tells of a payload and the test below compares.
const COMPARED: &[&str] = &[
    "aliases",
    "ambiguous",
    "commune",
    "declared",
    "device",
    "domain",
    "fields",
    "hides",
    "kind",
    "location",
    "measures",
    "metrics",
    "reason",
    "tags",
    "time",
    "time_local",
    "time_offsets_s",
    "type",
    "types",
];

/// What it tells and no adapter does: an adapter sees one message, and no birth
/// before it, so an alias stays without name; and it counts no messages.
const SET_ASIDE: &[&str] = &["needs", "resolved", "seq", "unresolved"];

struct Fixture {
    index: Table,
    payload: Vec<u8>,
}

impl Fixture {
    fn text(&self, key: &str) -> Option<&str> {
        self.index.get(key).and_then(Value::as_str)
    }
    fn name(&self) -> &str {
        self.text("name").unwrap()
    }
    fn list(&self, key: &str) -> BTreeSet<String> {
        let list = self.index.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        list.iter().map(|item| item.as_str().unwrap().to_owned()).collect()
    }
    fn format(&self) -> Format {
        self.index["format"].clone().try_into().unwrap()
    }
    fn read(&self) -> Result<Facts<'_>, ReadError> {
        read(self.format(), self.text("topic").unwrap(), &self.payload)
    }
}

fn fixtures() -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let index: Table = fs::read_to_string(folder.join("fixtures.toml")).unwrap().parse().unwrap();
    let fixtures = index["fixture"].as_array().unwrap().iter();
    fixtures
        .map(|fixture| {
            let index = fixture.as_table().unwrap().clone();
            let payload = fs::read(folder.join(index["file"].as_str().unwrap())).unwrap();
            let digest: String = Sha256::digest(&payload).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(
                index["sha256"].as_str(),
                Some(digest.as_str()),
                "an editor or a checkout changed {index}"
            );
            Fixture { index, payload }
        })
        .collect()
}

fn names(kind: Kind) -> &'static str {
    match kind {
        Kind::Measure => "measure",
        Kind::Status => "status",
        Kind::Join => "join",
        Kind::Location => "location",
        Kind::Birth => "birth",
        Kind::Inventory => "inventory",
        Kind::Opaque => "opaque",
        Kind::Command => "command",
    }
}

fn set<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    names.into_iter().map(str::to_owned).collect()
}

fn facts_are_as_the_index_says(fixture: &Fixture) {
    let (name, facts) =
        (fixture.name(), fixture.read().unwrap_or_else(|why| panic!("{}: {why}", fixture.name())));
    assert_eq!(names(facts.kind), fixture.text("kind").unwrap(), "{name}");
    let topic = (fixture.format() == Format::Json).then(|| fixture.text("topic").unwrap());
    assert_eq!(facts.device.as_deref(), fixture.text("device").or(topic), "{name}");
    let time = fixture.text("time").map(|time| Timestamp::parse_rfc3339(time).unwrap());
    assert_eq!(facts.time, time, "{name}");
    assert_eq!(facts.commune.as_deref(), fixture.text("commune"), "{name}");
    assert_eq!(facts.domain.as_deref(), fixture.text("domain"), "{name}");
    assert_eq!(facts.declared.as_deref(), fixture.text("declared"), "{name}");
    // Of several types the index names the strictest, which is for a policy to say.
    let kinds = set(facts.types.iter().map(AsRef::as_ref));
    let listed = fixture.text("type").map(str::to_owned);
    assert!(listed.iter().all(|kind| kinds.contains(kind)), "{name}: {kinds:?}");
    let types = fixture.list("types").into_iter().chain(listed);
    assert_eq!(kinds, types.collect(), "{name}");
    let tags = fixture.index["tags"].as_table().unwrap();
    let tags: BTreeSet<_> = tags.iter().map(|(key, value)| (key.as_str(), value.as_str().unwrap())).collect();
    assert_eq!(
        facts.tags.iter().map(|(key, value)| (key.as_ref(), value.as_ref())).collect::<BTreeSet<_>>(),
        tags,
        "{name}"
    );
    let measures = set(facts.measures.iter().map(AsRef::as_ref));
    assert!(fixture.list("measures").is_subset(&measures), "{name}: {measures:?}");
    assert_eq!(measures.len(), facts.measures.len(), "{name}: each once");
    let named = facts.leaves.iter().filter(|leaf| leaf.node.is_some());
    let fields: BTreeSet<String> = named.map(|leaf| facts.dotted(leaf, 0)).collect();
    // The leaves of protobuf are its metrics; `name=alias` in a birth.
    let metrics = fixture.list("metrics").into_iter();
    let metrics = metrics.map(|metric| metric.split('=').next().unwrap().to_owned());
    assert_eq!(fields, fixture.list("fields").into_iter().chain(metrics).collect(), "{name}");
    let nameless = facts.leaves.iter().filter(|leaf| leaf.node.is_none()).count();
    let aliases = fixture.index.get("aliases").and_then(Value::as_array).map_or(0, Vec::len);
    // Bare text and bytes that no format reads are one leaf without name.
    let bare = !fixture.payload.is_empty()
        && (fixture.text("file").unwrap().ends_with(".txt") || fixture.format() == Format::Opaque);
    assert_eq!(nameless, aliases + usize::from(bare), "{name}");
    let location = fixture
        .index
        .get("location")
        .map(|at| (at["lat"].as_float().unwrap(), at["lon"].as_float().unwrap()));
    assert_eq!(facts.location.map(|at| (at.latitude, at.longitude)), location, "{name}");
}

#[test]
fn every_fixture_gives_its_facts_or_its_refusal() {
    let fixtures = fixtures();
    let (mut equal, mut refused, mut unresolved) = (0, 0, Vec::new());
    for fixture in &fixtures {
        let name = fixture.name();
        for key in fixture.index.keys().map(String::as_str) {
            let known = [ABOUT, COMPARED, SET_ASIDE].concat();
            assert!(known.contains(&key), "{name} tells `{key}`, which nothing compares");
        }
        if fixture.index.get("ambiguous").is_some() {
            let listed = fixture.text("reason").unwrap();
            let Err(ReadError::Ambiguous(ambiguity)) = fixture.read() else { panic!("{name} is ambiguous") };
            // The index adds which key or character, and where.
            assert!(listed.starts_with(ambiguity.reason), "{name}: {listed} / {}", ambiguity.reason);
            refused += 1;
            continue;
        }
        facts_are_as_the_index_says(fixture);
        equal += 1;
        if fixture.index.contains_key("needs") {
            unresolved.push(name);
        }
    }
    println!(
        "{} fixtures: {equal} with facts equal ({} of them with aliases that only a birth resolves), \
         {refused} refused as listed",
        fixtures.len(),
        unresolved.len()
    );
    assert_eq!(
        unresolved,
        ["sparkplug-ddata-alias", "sparkplug-ddata-unknown-alias", "sparkplug-dcmd-alias"]
    );
    assert_eq!((fixtures.len(), equal, refused), (95, 74, 21));
}

#[test]
fn what_a_payload_hides_is_found_by_folding_its_names_or_listed_here() {
    let mut hidden = Vec::new();
    for fixture in &fixtures() {
        let Ok(facts) = fixture.read() else { continue };
        let names: Vec<&str> = facts
            .nodes
            .iter()
            .map(|node| node.key.as_ref())
            .chain(facts.names.iter().map(AsRef::as_ref))
            .collect();
        for hides in fixture.list("hides") {
            if !names.iter().any(|name| same_name(name, &hides)) {
                hidden.push(fixture.name().to_owned());
            }
        }
    }
    // A name in a value, in base64, in a string, or nowhere: for closed schemas.
    assert_eq!(
        hidden,
        ["json-mac-as-key", "evade-key-value-pairs", "evade-base64-json", "evade-json-in-string"]
    );
}

#[test]
fn what_a_format_defines_is_metadata_and_nothing_else() {
    let mut listed = Vec::new();
    for fixture in &fixtures() {
        if !["chirpstack-up-air-station", "tts-up-water-meter", "chirpstack-status", "senml-base-names"]
            .contains(&fixture.name())
        {
            continue;
        }
        let facts = fixture.read().unwrap();
        let mut data: Vec<String> = facts.leaves.iter().filter_map(|leaf| facts.data_name(leaf)).collect();
        data.dedup();
        listed.push(format!("{}: {}", fixture.name(), data.join(" ")));
        assert!(facts.leaves.iter().any(|leaf| leaf.role == LeafRole::Metadata));
    }
    expect_test::expect![[r#"
        chirpstack-up-air-station: deviceInfo.tags.insee deviceInfo.tags.domain deviceInfo.tags.usage data humidity no2 o3 pm10 pm25 temperature rxInfo.metadata.region_config_id rxInfo.metadata.region_common_name
        chirpstack-status: deviceInfo.tags.insee deviceInfo.tags.domain deviceInfo.tags.usage margin externalPowerSource batteryLevelUnavailable batteryLevel
        tts-up-water-meter: uplink_message.frm_payload backflow index_l leak uplink_message.locations.user.latitude uplink_message.locations.user.longitude uplink_message.locations.user.altitude uplink_message.locations.user.source uplink_message.attributes.insee uplink_message.attributes.domain uplink_message.attributes.usage
        senml-base-names: bn bu n v n v n v n v n u v"#]].assert_eq(&listed.join("\n"));
}
