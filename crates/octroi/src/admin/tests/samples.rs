//! Hubs to look at: one well, one cut off, one just started, one with hostile names.

use super::octroi::status::{
    BrokerState, BrokerStatus, Conservation, Flow, JournalStatus, KeptStatus, LeftStatus, OutletState,
    PolicyStatus, Status, TargetStatus,
};

#[expect(clippy::too_many_lines, reason = "a table of samples")]
pub(crate) fn well() -> Status {
    let flows = [
        ("lns-rennes", "Rennes Métropole", "open", "cloud-confiance", "", 412.4, 1_204_331),
        ("lns-rennes", "Rennes Métropole", "internal", "dc-rennes", "", 96.0, 288_004),
        ("ville-mobilite", "Rennes Métropole", "sensitive", "dc-rennes", "", 38.2, 110_207),
        ("ville-mobilite", "Rennes Métropole", "open", "cloud-confiance", "", 120.0, 361_022),
        (
            "ville-mobilite",
            "Rennes Métropole",
            "internal",
            "cloud-confiance",
            "mobilite-vers-cloud",
            38.2,
            110_207,
        ),
        (
            "sdem-compteurs",
            "Syndicat d’énergie du Morbihan (exemple)",
            "personal",
            "dc-morbihan",
            "",
            210.0,
            640_118,
        ),
        (
            "sdem-compteurs",
            "Syndicat d’énergie du Morbihan (exemple)",
            "open",
            "cloud-confiance",
            "agregat-k11",
            4.2,
            11_812,
        ),
        ("redon-eau", "Redon Agglomération", "internal", "dc-bretagne", "", 22.0, 66_104),
        ("redon-eau", "Redon Agglomération", "restricted", "quarantine", "", 0.4, 1_207),
        ("redon-eau", "Redon Agglomération", "sensitive", "hold", "", 0.0, 12),
    ];
    let targets = [
        ("dc-rennes", "Salle d’hébergement métropolitaine", "public_dc", "archive", 398_211, 134.2),
        ("dc-morbihan", "Datacenter public départemental", "public_dc", "archive", 640_118, 210.0),
        ("dc-bretagne", "Datacenter public régional", "public_dc", "kafka", 66_104, 22.0),
        ("cloud-confiance", "Cloud de confiance", "trusted_cloud", "kafka", 1_687_372, 574.8),
    ];
    Status {
        brokers: vec![],
        hub: "hub-1".to_owned(),
        program: "0.1.0".to_owned(),
        started: "2026-11-20T05:12:00Z".to_owned(),
        now: "2026-11-20T06:18:42Z".to_owned(),
        ready: true,
        policy: PolicyStatus {
            id: "bretagne-exemple".to_owned(),
            title: "Politique d’hébergement des données des territoires".to_owned(),
            version: "2026.11.2".to_owned(),
            hash: "9f3c51d2a07be418".repeat(4),
            activated: "2026-11-15T00:00:00Z".to_owned(),
            tests: 42,
            invariants: 9,
        },
        journal: JournalStatus {
            bytes: 7_730_941_132,
            limit_bytes: 20 << 30,
            records: 2_672_000,
            ..JournalStatus::default()
        },
        connections: 1_284,
        received_per_second: 899.0,
        flows: flows
            .map(|(source, producer, level, target, copy, per_second, messages)| Flow {
                source: source.to_owned(),
                producer: producer.to_owned(),
                level: level.to_owned(),
                target: target.to_owned(),
                copy: copy.to_owned(),
                messages,
                per_second,
            })
            .to_vec(),
        targets: targets
            .map(|(id, label, kind, outlet, delivered, per_second)| TargetStatus {
                id: id.to_owned(),
                label: label.to_owned(),
                kind: kind.to_owned(),
                outlet: outlet.to_owned(),
                state: OutletState::Up,
                since: "2026-11-20T05:12:01Z".to_owned(),
                pending: 3,
                oldest_seconds: 0.2,
                backlog_bytes: 0,
                delivered,
                per_second,
                ..TargetStatus::default()
            })
            .to_vec(),
        quarantine: [("no_rule_matches", 1_040), ("cannot_decode", 121), ("unknown_territory", 46)]
            .map(|(reason, messages)| KeptStatus { reason: reason.to_owned(), messages })
            .to_vec(),
        conservation: Conservation {
            received: 2_671_005,
            routed: 2_669_780,
            quarantined: 1_207,
            held: 12,
            refused: 6,
            purged: 0,
            unaccounted: 0,
        },
        slowed: Vec::new(),
        index_rebuilt: String::new(),
        credentials: Vec::new(),
        left: LeftStatus::default(),
    }
}

pub(crate) fn cut_off() -> Status {
    let mut status = well();
    status.brokers = vec![BrokerStatus {
        name: "ville".to_owned(),
        state: BrokerState::Up,
        since: "2026-11-20T05:12:02Z".to_owned(),
        received: 110_207,
        acknowledged: 110_207,
        ..BrokerStatus::default()
    }];
    for target in status.targets.iter_mut().filter(|target| target.id == "cloud-confiance") {
        target.state = OutletState::Down;
        target.reason = octroi_policy::text!(
            "kafka.cloud.example:9093: connection timed out; retried in 30 s. Check the line to the cloud.",
            "kafka.cloud.example:9093 : délai dépassé ; nouvel essai dans 30 s. Vérifiez la liaison vers le cloud."
        );
        target.since = "2026-11-20T06:00:30Z".to_owned();
        target.pending = 120_000;
        target.oldest_seconds = 1_092.0;
        target.per_second = 0.0;
    }
    status
}

pub(crate) fn just_started() -> Status {
    Status {
        flows: Vec::new(),
        quarantine: Vec::new(),
        conservation: Conservation::default(),
        slowed: Vec::new(),
        index_rebuilt: String::new(),
        credentials: Vec::new(),
        left: LeftStatus::default(),
        connections: 0,
        received_per_second: 0.0,
        targets: well()
            .targets
            .into_iter()
            .map(|target| TargetStatus {
                state: OutletState::Starting,
                pending: 0,
                delivered: 0,
                per_second: 0.0,
                ..target
            })
            .collect(),
        journal: JournalStatus { limit_bytes: 20 << 30, ..JournalStatus::default() },
        ..well()
    }
}

pub(crate) fn hostile() -> Status {
    let mut status = well();
    let script = "\"><script>alert(1)</script>".to_owned();
    let long = "capteurs-de-la-communaute-de-communes-du-pays-de-".repeat(4);
    status.hub = format!("{script}{long}");
    status.policy.title = format!("{script} {long}");
    status.policy.version.clone_from(&script);
    status.journal.fenced = vec![script.clone(), "18446744073709551000-18446744073709551615".to_owned()];
    status.journal.full = true;
    status.conservation.unaccounted = -3;
    status.quarantine.push(KeptStatus { reason: script.clone(), messages: u64::MAX });
    for (n, flow) in (0_u32..).zip(&mut status.flows) {
        flow.source = format!("{n}-{long}");
        flow.producer.clone_from(&script);
        flow.per_second *= 1e9;
    }
    if let Some(flow) = status.flows.first_mut() {
        flow.level.clone_from(&script);
        flow.target.clone_from(&script);
        flow.copy.clone_from(&script);
    }
    for target in &mut status.targets {
        target.state = OutletState::Blocked;
        target.reason = octroi_policy::text!("{script} {long}", "{script} {long}");
        target.label.clone_from(&long);
        target.pending = u64::MAX / 8;
        target.kind.clone_from(&script);
        target.since.clone_from(&script);
    }
    if let Some(target) = status.targets.first_mut() {
        target.id = format!("{script}{long}");
    }
    status
}
