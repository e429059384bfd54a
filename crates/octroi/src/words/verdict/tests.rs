use super::*;
use crate::status::{Conservation, Flow, JournalStatus};

fn well() -> Status {
    Status {
        now: "2026-11-20T06:18:00Z".to_owned(),
        ready: true,
        received_per_second: 1240.0,
        flows: vec![Flow { messages: 7, ..Flow::default() }],
        targets: vec![
            TargetStatus { id: "dc-rennes".to_owned(), state: OutletState::Up, ..TargetStatus::default() },
            TargetStatus { id: "cloud".to_owned(), state: OutletState::Up, ..TargetStatus::default() },
        ],
        ..Status::default()
    }
}

fn with_broker(state: BrokerState) -> Status {
    let broker = BrokerStatus { name: "ville".to_owned(), state, ..BrokerStatus::default() };
    Status { brokers: vec![broker], ..well() }
}

fn with_cloud(state: OutletState, pending: u64, oldest_seconds: f64) -> Status {
    let mut status = well();
    let cloud = &mut status.targets[1];
    *cloud = TargetStatus {
        state,
        pending,
        oldest_seconds,
        since: "2026-11-20T06:00:00Z".to_owned(),
        ..cloud.clone()
    };
    status
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn each_state_has_its_sentence_in_both_languages() {
    let conservation = |unaccounted| Conservation { unaccounted, ..Conservation::default() };
    let journal = |full, fenced: &[&str]| JournalStatus {
        full,
        fenced: fenced.iter().map(|range| (*range).to_owned()).collect(),
        ..JournalStatus::default()
    };
    for (status, tone, fr, en) in [
        (
            well(),
            Tone::Good,
            "Tout va bien : 1 240 /s reçus, toutes les cibles livrées.",
            "All is well: receiving 1,240 /s, every target delivers.",
        ),
        (
            with_cloud(OutletState::Down, 120_000, 1079.0),
            Tone::Watch,
            "cloud : liaison coupée depuis 18 min. Rien n’est perdu, 120 000 messages attendent.",
            "cloud cut off for 18 min. Nothing lost, 120,000 messages wait.",
        ),
        (
            with_broker(BrokerState::Down),
            Tone::Watch,
            "Broker ville : liaison coupée. Rien d’acquitté n’est perdu ; nouvel essai automatique.",
            "Broker ville cut off. Nothing acknowledged is lost; tried again by itself.",
        ),
        (
            with_broker(BrokerState::Refused),
            Tone::Act,
            "Plus rien ne vient du broker ville : il faut agir. Rien d’acquitté n’est perdu.",
            "Nothing comes from the broker ville any more: somebody must act. Nothing acknowledged is lost.",
        ),
        (
            with_cloud(OutletState::Blocked, 1, 1079.0),
            Tone::Act,
            "cloud refuse ce que le hub envoie depuis 18 min : il faut agir. Rien n’est perdu, un message attend.",
            "cloud refuses what the hub sends for 18 min: somebody must act. Nothing lost, one message waits.",
        ),
        (
            with_cloud(OutletState::Up, 9_000, 720.0),
            Tone::Watch,
            "Retard vers cloud : le plus ancien message attend depuis 12 min. Rien n’est perdu, 9 000 messages attendent.",
            "cloud behind: the oldest message has waited for 12 min. Nothing lost, 9,000 messages wait.",
        ),
        (
            Status { ready: false, ..well() },
            Tone::Watch,
            "Le hub n’est pas prêt : il n’accepte pas encore de message.",
            "The hub is not ready: it accepts no message yet.",
        ),
        (
            Status { flows: Vec::new(), received_per_second: 0.0, ..well() },
            Tone::Good,
            "Le hub est prêt et n’a encore reçu aucun message.",
            "The hub is ready and has received no message yet.",
        ),
        (
            Status { journal: journal(true, &[]), ..with_cloud(OutletState::Down, 5, 9.0) },
            Tone::Act,
            "Journal plein : le hub n’accepte plus de message. Rien de ce qui est acquitté n’est perdu ; \
             les sources gardent le reste.",
            "The journal is full: the hub accepts no message. Nothing acknowledged is lost; publishers keep \
             the rest.",
        ),
        (
            Status { journal: journal(false, &["4-9"]), ..with_cloud(OutletState::Down, 5, 9.0) },
            Tone::Act,
            "Journal endommagé : 1 plage mise à part, tous les octets sont conservés. \
             Lancez « octroi journal verify ».",
            "The journal is damaged: 1 range fenced off, every byte kept. Run “octroi journal verify”.",
        ),
        (
            Status { conservation: conservation(-3), ..with_cloud(OutletState::Down, 5, 9.0) },
            Tone::Act,
            "−3 messages inexpliqués : le bilan ne tombe pas juste. Gardez le journal tel quel et prévenez \
             l’équipe du hub.",
            "−3 messages unaccounted for: the balance does not hold. Keep the journal as it is and tell the \
             hub’s team.",
        ),
    ] {
        let verdict = Verdict::of(&status);
        let plain = |lang| verdict.sentence(lang).replace(['\u{a0}', '\u{202f}'], " ");
        assert_eq!((plain(Lang::Fr).as_str(), plain(Lang::En).as_str()), (fr, en));
        assert_eq!(verdict.tone(), tone, "{en}");
    }
}

#[test]
fn nothing_lost_is_never_said_over_a_balance_or_journal_that_says_otherwise() {
    let states = [
        OutletState::Starting,
        OutletState::Up,
        OutletState::Down,
        OutletState::Blocked,
        OutletState::Paused,
    ];
    for state in states {
        for (unaccounted, fenced) in [(1, false), (-1, false), (0, true)] {
            let mut status = with_cloud(state, 5, 9_999.0);
            status.conservation.unaccounted = unaccounted;
            status.journal.fenced = if fenced { vec!["4-9".to_owned()] } else { Vec::new() };
            let verdict = Verdict::of(&status);
            assert!(!verdict.sentence(Lang::Fr).contains("Rien n’est perdu"), "{status:?}");
            assert!(!verdict.sentence(Lang::En).contains("Nothing lost"), "{status:?}");
        }
    }
}
