//! The policy that the end-to-end tests run: the demo's, copied to where a
//! test may edit it, and the kinds of messages whose fate under it is known.

use std::fs;
use std::path::Path;

use crate::load::Stream;

/// Every hosting target of the demo's policy.
pub const TARGETS: [&str; 4] = ["dc-rennes", "dc-morbihan", "dc-bretagne", "cloud-confiance"];

/// Copies the demo's policy into `directory`.
pub fn install(directory: &Path) {
    fs::create_dir_all(directory).expect("the policy's directory is made");
    for entry in fs::read_dir(crate::root().join("policies/demo")).expect("policies/demo exists") {
        let path = entry.expect("policies/demo is readable").path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            fs::copy(&path, directory.join(path.file_name().expect("a file has a name")))
                .expect("it is copied");
        }
    }
}

/// Replaces text in the one file of the policy that has it.
#[track_caller]
pub fn edit(directory: &Path, from: &str, to: &str) {
    let mut edited = 0;
    for entry in fs::read_dir(directory).expect("the policy's directory is readable") {
        let path = entry.expect("the policy's directory is readable").path();
        let text = fs::read_to_string(&path).expect("a policy is text");
        if text.contains(from) {
            fs::write(&path, text.replacen(from, to, 1)).expect("the policy is writable");
            edited += 1;
        }
    }
    assert_eq!(edited, 1, "`{from}` stands in one file of the policy");
}

/// Takes the mobility's copy to the cloud away: its rule now wants a topic that nobody publishes to, and the
/// policy's tests expect none.
pub fn close_mobility_copy(directory: &Path) {
    let rule = "to = \"cloud-confiance\"\ntransform = \"t-mobilite-cloud\"";
    edit(directory, rule, &format!("when = {{ topic = \"ville/mobilite/+/nothing\" }}\n{rule}"));
    let path = directory.join("policy.toml");
    let text = fs::read_to_string(&path).expect("the policy is readable");
    let text = text.replace("copies = [\"mobilite-vers-cloud\"]", "copies = []");
    fs::write(&path, text).expect("the policy is writable");
}

/// The version the demo's policy has.
pub fn version(directory: &Path) -> String {
    let files = fs::read_dir(directory).expect("the policy's directory is readable");
    let texts = files.map(|entry| fs::read_to_string(entry.expect("readable").path()).expect("text"));
    let lines: Vec<String> =
        texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    let policy = lines.iter().position(|line| line == "[policy]").expect("a policy has [policy]");
    let version = lines[policy..].iter().find_map(|line| line.strip_prefix("version = \""));
    version.expect("[policy] has a version").trim_end_matches('"').to_owned()
}

/// Open traffic counts: kept in the mobility space, a transformed copy goes to the cloud.
pub const COUNTS: Stream = Stream {
    name: "count",
    user: "ville-mobilite",
    topic: "ville/mobilite/compteur-%N%/count",
    payload: r#"{"device":"compteur-%N%","ts":"2026-11-20T06:00:00Z","period":"PT15M","count":%ID%}"#,
    reaches: &["dc-rennes", "cloud-confiance"],
    never: &["dc-morbihan", "dc-bretagne"],
};

/// Plates: sensitive, never in the cloud.
pub const PLATES: Stream = Stream {
    name: "plate",
    user: "ville-mobilite",
    topic: "ville/mobilite/cam-%N%/anpr",
    payload: r#"{"type":"AnprFlowObserved","device":"cam-%N%","ts":"2026-11-20T06:01:10Z","plate":"T-%ID%"}"#,
    reaches: &["dc-rennes"],
    never: &["dc-morbihan", "dc-bretagne", "cloud-confiance"],
};

/// Fill levels of bottle banks: internal, region-wide, copied as they are.
pub const WASTE: Stream = Stream {
    name: "waste",
    user: "redon-lora",
    topic: "application/dechets/device/02b56e00000%N%/event/up",
    payload: r#"{"deduplicationId":"%ID%","time":"2026-11-20T06:02:11Z","deviceInfo":{"devEui":"02b56e00000%N%","tags":{"insee":"35236","domain":"waste","usage":"bottle_bank"}},"fCnt":1,"fPort":10,"object":{"fill_level":62,"temperature":4.5}}"#,
    reaches: &["dc-bretagne", "cloud-confiance"],
    never: &["dc-rennes", "dc-morbihan"],
};

/// Subscribers' water meters: personal, the département's datacenter; only an aggregate may leave it.
pub const WATER: Stream = Stream {
    name: "water",
    user: "telereleve-56",
    topic: "v3/telereleve@syndicat-eau/devices/wm-%N%/up",
    payload: r#"{"end_device_ids":{"device_id":"wm-%N%","application_ids":{"application_id":"telereleve"}},"correlation_ids":["%ID%"],"received_at":"2026-11-20T06:00:03Z","uplink_message":{"f_port":2,"f_cnt":3391,"decoded_payload":{"index_l":183442,"leak":false,"backflow":false}}}"#,
    reaches: &["dc-morbihan"],
    never: &["dc-rennes", "dc-bretagne", "cloud-confiance"],
};

/// One of each, so that every target gets something.
pub const ALL: [Stream; 4] = [COUNTS, PLATES, WASTE, WATER];
