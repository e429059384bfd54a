//! The index of the side logs, harmed between two lives of a hub: it is made
//! anew from the side logs, the hub says so, and nothing that was kept is lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use octroi_tests::hub::Hub;
use octroi_tests::load::{Load, Plan, Version};
use octroi_tests::needs;
use octroi_tests::oracle::{Evidence, judge_with};
use octroi_tests::process::wait_until;

use crate::fire::{DETOURS, POSTS, Policies, RESTRICTED, kept, release};

/// Every file of a directory that holds something.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Turns every sixteenth byte of the store's own files, so that damage is sure to hit something.
fn flip(index: &Path) {
    for file in files(index).into_iter().filter(|file| !file.ends_with("octroi-format")) {
        let mut bytes = fs::read(&file).unwrap();
        bytes.iter_mut().step_by(16).filter(|byte| **byte != 0).for_each(|byte| *byte ^= 0x10);
        fs::write(&file, bytes).unwrap();
    }
}

/// How the index can be harmed, and what the status says of it then.
type Harm = (fn(&Path), &'static str);

const HARMS: [Harm; 4] = [
    (flip, "damaged"),
    (|index| fs::remove_dir_all(index).unwrap(), "missing"),
    (|index| fs::write(index.join("octroi-format"), "octroi-index/99\n").unwrap(), "of another format"),
    (|_| {}, ""),
];

#[test]
fn an_index_that_is_damaged_deleted_or_from_the_future_is_made_anew_and_nothing_kept_is_lost() {
    let _machine = needs::exclusive();
    let mut hub = Hub::prepared(&[], "");
    let policies = Policies::install(&hub);
    hub.run();
    wait_until("the policy is closed", Duration::from_secs(30), || policies.close());
    let streams = [POSTS, RESTRICTED];
    let plan = Plan { version: Version::V5, connections: 2, window: 20, rate: None, messages: Some(20) };
    let outcomes = [Load::start(hub.mqtt(), &streams, plan, 0).finish(Duration::from_secs(30))];
    wait_until("all is kept", Duration::from_secs(30), || kept(&hub) == [40, 40]);
    for (harm, said) in HARMS {
        hub.kill();
        harm(&hub.data().join("state"));
        hub.run();
        wait_until("all is in the index", Duration::from_secs(30), || kept(&hub) == [40, 40]);
        assert_eq!(hub.cli_json(&["status"])["index_rebuilt"], said);
        assert!(said.is_empty() || hub.log().contains(&format!("the index of the side logs was {said}")));
    }
    wait_until("the policy is open", Duration::from_secs(30), || policies.open());
    wait_until("nothing is kept any more", Duration::from_secs(60), || {
        release(hub.http());
        kept(&hub) == [0, 0]
    });
    let scrape = hub.drained(Duration::from_secs(60));
    let delivered = hub.archives();
    let evidence = Evidence {
        streams: &streams,
        outcomes: &outcomes,
        delivered: &delivered,
        scrape: &scrape,
        repeats_allowed: 0,
    };
    judge_with(&evidence, &DETOURS).assert_kept("an index that was harmed three times");
    assert_eq!(delivered.len(), 80, "each once");
}
