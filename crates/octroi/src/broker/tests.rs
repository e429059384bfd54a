use std::sync::Arc;

use octroi_mqtt::{Asks, CloseReason, Lack, Version};
use octroi_policy::{Timestamp, text};

use super::*;

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }
}

fn broker(version: Version) -> Broker {
    let asks = Asks {
        version,
        client_id: "octroi-hub-1-ville".into(),
        user_name: Some("hub".into()),
        password: Some("s3cret".into()),
        keep_alive: 30,
        session_expiry: 60,
        receive_maximum: 10,
        filters: vec!["$share/octroi/ville/#".into(), "eau/#".into()],
    };
    let config = BrokerConfig { host: "broker.ville.example".into(), port: 8883, tls: None, asks };
    Broker::new("ville", config, &Shares::new(1 << 20), Arc::new(Stopped))
}

/// Every way not to have a connection.
fn troubles() -> Vec<Trouble> {
    let timed_out = || std::io::Error::from(std::io::ErrorKind::TimedOut);
    let mut troubles = vec![
        Trouble::UnknownSource,
        Trouble::Files(Refusal {
            what: text!("no", "non"),
            mend: text!("make it", "faites-le"),
            by_time: false,
        }),
        Trouble::Connect(timed_out()),
        Trouble::Tls(timed_out()),
        Trouble::NoRoom,
    ];
    let ends = [End::Left, End::Lost, End::NoAnswer, End::Silent, End::TooLarge(300_000)];
    let lacks = [Lack::AtLeastOnce, Lack::SharedSubscriptions, Lack::Wildcards].map(End::Lacks);
    let fault = End::Fault(CloseReason::MalformedPacket, "packet type 0");
    troubles.extend(ends.into_iter().chain(lacks).chain([fault]).map(Trouble::Ended));
    for code in 0..=u8::MAX {
        let ends = [End::Refused(code), End::Disconnected(code), End::NotSubscribed { filter: 1, code }];
        troubles.extend(ends.map(Trouble::Ended));
    }
    troubles
}

#[test]
fn every_trouble_is_told_with_its_mend_in_both_languages_and_without_the_password() {
    for version in [Version::V3, Version::V5] {
        let broker = broker(version);
        for trouble in troubles() {
            let (state, Text { en, fr }) = broker.told(&trouble);
            assert!(!en.contains("s3cret") && !fr.contains("s3cret"));
            assert_ne!(en, fr, "{trouble:?}");
            if matches!(trouble, Trouble::Ended(End::Left)) {
                continue;
            }
            let mends = if state == BrokerState::Down {
                en.ends_with("by itself") && fr.ends_with("automatique")
            } else {
                en.contains([':', ';']) && (fr.contains(" : ") || fr.contains(" ; "))
            };
            assert!(mends, "{en}\n{fr}");
        }
    }
}

#[test]
fn only_what_mends_itself_is_down_and_the_rest_is_refused() {
    let broker = broker(Version::V5);
    let state = |end| broker.told(&Trouble::Ended(end)).0;
    for end in [End::Lost, End::Silent, End::Refused(3), End::Refused(0x88), End::Disconnected(0x8B)] {
        assert_eq!(state(end), BrokerState::Down, "{end:?}");
    }
    for end in [
        End::Refused(5),
        End::Refused(0x86),
        End::Disconnected(0x8E),
        End::NotSubscribed { filter: 0, code: 0 },
        End::NotSubscribed { filter: 0, code: 0x9E },
        End::TooLarge(300_000),
    ] {
        assert_eq!(state(end), BrokerState::Refused, "{end:?}");
    }
}

#[test]
fn a_state_is_dated_from_its_beginning_and_counts_reconnects_alone() {
    let broker = broker(Version::V5);
    let seen = broker.seen();
    assert_eq!((seen.status().state, seen.status().reconnects), (BrokerState::Starting, 0));
    seen.connections.store(1, Ordering::Relaxed);
    seen.show(BrokerState::Up, Text::default());
    assert_eq!((seen.status().state, seen.status().reconnects), (BrokerState::Up, 0));
    seen.connections.store(3, Ordering::Relaxed);
    assert_eq!(seen.status().reconnects, 2);
}
