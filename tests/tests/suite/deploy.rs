//! What is shipped beside the binary, checked by the tools it is for.

use std::process::Command;
use std::time::Duration;

use octroi_tests::{needs, process, root};

fn check(program: &str, package: &str, arguments: &[&str]) {
    let Some(path) = needs::tool(program, package) else { return };
    let mut command = Command::new(path);
    command.args(arguments).current_dir(root());
    let finished = process::run(&mut command, Duration::from_secs(60)).unwrap();
    assert_eq!(finished.code, 0, "{program} {arguments:?}: {}{}", finished.out, finished.err);
}

#[test]
fn promtool_accepts_the_alerts_and_the_scrape_example() {
    check("promtool", "prometheus", &["check", "rules", "deploy/alerts.yml"]);
    check("promtool", "prometheus", &["check", "config", "deploy/prometheus.yml"]);
}

#[test]
fn the_services_exposure_is_at_most_one_and_a_half() {
    // The threshold is in tenths.
    let arguments = ["security", "--offline=true", "--no-pager", "--threshold=15", "deploy/octroi.service"];
    check("systemd-analyze", "systemd", &arguments);
}

#[test]
fn the_scripts_parse() {
    for script in ["deploy/demo.sh", "tests/run.sh", ".ci/run"] {
        check("bash", "bash", &["-n", script]);
    }
}
