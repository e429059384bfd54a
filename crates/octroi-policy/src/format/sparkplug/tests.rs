//! Payloads that no fixture shows: every type, every nesting, and hostile bytes.

use proptest::prelude::*;

use crate::ast::Format;
use crate::facts::{Facts, Kind, LeafRole, Scalar};
use crate::{ReadError, read};

const DATA: &str = "spBv1.0/g/DDATA/n/d";
const BIRTH: &str = "spBv1.0/g/DBIRTH/n/d";

/// A protobuf message being written.
#[derive(Clone, Debug, Default)]
pub(in crate::format) struct Message(pub(in crate::format) Vec<u8>);

impl Message {
    fn put_varint(&mut self, mut number: u64) {
        while number > 0x7f {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push((number & 0x7f) as u8);
    }
    pub(in crate::format) fn varint(mut self, field: u32, number: u64) -> Self {
        self.put_varint(u64::from(field << 3));
        self.put_varint(number);
        self
    }
    pub(in crate::format) fn bytes(mut self, field: u32, bytes: &[u8]) -> Self {
        self.put_varint(u64::from(field << 3 | 2));
        self.put_varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }
    pub(in crate::format) fn text(self, field: u32, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }
    pub(in crate::format) fn message(self, field: u32, message: &Self) -> Self {
        self.bytes(field, &message.0)
    }
    fn float(mut self, field: u32, number: f32) -> Self {
        self.put_varint(u64::from(field << 3 | 5));
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }
    pub(in crate::format) fn double(mut self, field: u32, number: f64) -> Self {
        self.put_varint(u64::from(field << 3 | 1));
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }
}

fn message() -> Message {
    Message::default()
}

/// A metric of that name and type, without value.
pub(in crate::format) fn metric(name: &str, datatype: u64) -> Message {
    message().text(1, name).varint(4, datatype)
}

/// A payload of these metrics.
pub(in crate::format) fn payload(metrics: &[Message]) -> Vec<u8> {
    metrics.iter().fold(message().varint(1, 1_795_154_400_000), |payload, one| payload.message(2, one)).0
}

fn facts<'a>(topic: &'a str, payload: &'a [u8]) -> Facts<'a> {
    read(Format::SparkplugB, topic, payload).unwrap()
}

fn refused(topic: &str, payload: &[u8]) -> &'static str {
    match read(Format::SparkplugB, topic, payload) {
        Ok(facts) => panic!("{payload:02x?} is read: {facts:?}"),
        Err(ReadError::Ambiguous(ambiguity)) => ambiguity.reason,
        Err(ReadError::CannotDecode { reason, .. }) => reason,
    }
}

fn shown(facts: &Facts<'_>) -> String {
    let leaf = |leaf: &crate::Leaf<'_>| {
        let value = match &leaf.value {
            Scalar::Empty if leaf.role == LeafRole::Raw => "raw".to_owned(),
            Scalar::Empty => "null".to_owned(),
            Scalar::Boolean(value) => value.to_string(),
            Scalar::Number(number, _) => number.to_string(),
            Scalar::Text(text) => format!("'{text}'"),
        };
        format!("{}={value}", facts.data_name(leaf).unwrap_or_else(|| "metadata".to_owned()))
    };
    facts.leaves.iter().map(leaf).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_value_is_read_by_its_type_and_its_field_together() {
    const MINUS_2: u64 = 0xffff_fffe;
    const OTHER: &str = "Sparkplug value not of its datatype";
    for (datatype, value, read) in [
        (1, message().varint(10, 127), "m=127"),
        (1, message().varint(10, MINUS_2), "m=-2"),
        (1, message().varint(10, 0xfe), OTHER),
        (2, message().varint(10, MINUS_2), "m=-2"),
        (2, message().varint(10, 0x8000), OTHER),
        (3, message().varint(10, MINUS_2), "m=-2"),
        (3, message().varint(11, 5), OTHER),
        (4, message().varint(11, u64::MAX), "m=-1"),
        (4, message().varint(10, 1), OTHER),
        (4, message().varint(11, 1 << 53), "integer outside ±(2^53-1)"),
        (5, message().varint(10, 256), OTHER),
        (6, message().varint(10, 65535), "m=65535"),
        (7, message().varint(10, MINUS_2), "m=4294967294"),
        (7, message().varint(11, MINUS_2), "m=4294967294"),
        (7, message().varint(11, 1 << 32), OTHER),
        (8, message().varint(11, (1 << 53) - 1), "m=9007199254740991"),
        (8, message().varint(11, u64::MAX), "integer outside ±(2^53-1)"),
        (9, message().float(12, 1.5), "m=1.5"),
        (9, message().double(13, 1.5), OTHER),
        (9, message().float(12, f32::NAN), "number not finite"),
        (10, message().double(13, -0.25), "m=-0.25"),
        (10, message().double(13, f64::INFINITY), "number not finite"),
        (11, message().varint(14, 1), "m=true"),
        (11, message().varint(14, 2), "protobuf number wider than its field"),
        (11, message().varint(10, 1), OTHER),
        (12, message().text(15, "a"), "m='a'"),
        (13, message().varint(11, 5), "m=5"),
        (14, message().text(15, ""), "m=''"),
        (15, message().text(15, "u"), "m='u'"),
        (9, message().text(15, "a"), OTHER),
        (17, message().bytes(16, &[1]), "m=raw"),
        (18, message().bytes(16, &[]), "m=raw"),
        (30, message().bytes(16, &[0xff]), "m=raw"),
        (12, message().bytes(16, b"a"), OTHER),
        (99, message().varint(10, 1), OTHER),
        (3, message().varint(7, 1), "m=null"),
        (3, message().varint(7, 1).varint(10, 1), "Sparkplug value twice, or beside null"),
        (3, message().varint(10, 1).varint(11, 1), "Sparkplug value twice, or beside null"),
        (3, message(), "Sparkplug metric without value"),
        (3, message().varint(7, 0), "Sparkplug metric without value"),
        (3, message().varint(10, 1 << 32), "protobuf number wider than its field"),
        (3, message().text(10, "1"), "protobuf field of another type"),
        (20, message().bytes(19, &[]), "a field that Sparkplug B does not define"),
    ] {
        // Fields may stand in any order.
        let value_first = payload(&[Message([&value.0[..], &metric("m", datatype).0].concat())]);
        let payload = payload(&[Message([&metric("m", datatype).0[..], &value.0].concat())]);
        for payload in [payload, value_first] {
            let came = match read_shown(&payload) {
                Ok(shown) => shown,
                Err(reason) => reason.to_owned(),
            };
            assert_eq!(came, read, "{datatype} {value:02x?}");
        }
    }
}

fn read_shown(payload: &[u8]) -> Result<String, &'static str> {
    match read(Format::SparkplugB, DATA, payload) {
        Ok(facts) => Ok(shown(&facts)),
        Err(_) => Err(refused(DATA, payload)),
    }
}

#[test]
fn a_number_without_type_has_the_sign_that_only_a_birth_tells() {
    let untyped = |value: Message| payload(&[Message([&message().text(1, "m").0[..], &value.0].concat())]);
    assert_eq!(shown(&facts(DATA, &untyped(message().varint(10, 7)))), "m=7");
    for negative in [message().varint(10, 1 << 31), message().varint(11, 1 << 63)] {
        assert_eq!(refused(DATA, &untyped(negative)), "Sparkplug number of unknown sign");
    }
}

#[test]
fn datasets_templates_and_properties_give_every_value_under_its_name() {
    let row = |values: [Message; 2]| values.iter().fold(message(), |row, value| row.message(1, value));
    let rows = [
        row([message().text(6, "AB-123-CD"), message().varint(1, 3)]),
        row([message(), message().varint(1, 4)]),
    ];
    let data_set = message().varint(1, 2).text(2, "plate").text(2, "axles").bytes(3, &[12, 3]);
    let data_set = rows.iter().fold(data_set, |set, row| set.message(4, row));
    let table = metric("gate/table", 16).message(17, &data_set);
    let facts_of_table = payload(std::slice::from_ref(&table));
    let read = facts(BIRTH, &facts_of_table);
    assert_eq!(
        shown(&read),
        "gate/table.plate='AB-123-CD' gate/table.axles=3 gate/table.plate=null gate/table.axles=4"
    );
    assert_eq!(read.measures, ["gate/table.axles"]);

    let member = metric("flow", 9).float(12, 2.0);
    let parameter = message().text(1, "owner").varint(2, 12).text(8, "regie");
    let template =
        message().text(1, "v1").message(2, &member).message(3, &parameter).text(4, "Pump").varint(5, 0);
    let pump = metric("pump", 19).message(18, &template);
    let pump = payload(&[pump]);
    let read = facts(BIRTH, &pump);
    assert_eq!(
        shown(&read),
        "pump=null pump.version='v1' pump.flow=2 pump.owner='regie' pump.template_ref='Pump'"
    );
    assert_eq!(read.measures, ["pump.flow"]);

    let inner = message().text(1, "badge").message(2, &message().varint(1, 12).text(8, "0093"));
    let list = message().message(1, &inner).message(1, &message());
    let set = message()
        .text(1, "engUnit")
        .text(1, "set")
        .text(1, "list")
        .message(2, &message().text(8, "bar"))
        .message(2, &message().message(9, &inner))
        .message(2, &message().message(10, &list));
    let about = message().varint(1, 0).text(2, "text/plain").varint(3, 8).text(8, "salle 3");
    let rich = metric("p", 10).message(9, &set).message(8, &about).double(13, 1.0);
    let rich = payload(&[rich]);
    let read = facts(BIRTH, &rich);
    assert_eq!(
        shown(&read),
        "p.properties.engUnit='bar' p.properties.set.badge='0093' p.properties.list.badge='0093' \
         p.properties.list=null p.metadata.content_type='text/plain' p.metadata.description='salle 3' p=1"
    );
    assert_eq!(read.measures, ["p"]);
}

#[test]
fn what_two_readers_could_count_differently_is_refused() {
    let set = |set: &Message| payload(&[metric("t", 16).message(17, set)]);
    let row = message().message(1, &message().varint(1, 3));
    let columns = message().text(2, "a").varint(3, 3);
    for wrong in [
        message().varint(1, 2).text(2, "a").varint(3, 3),
        message().text(2, "a"),
        columns.clone().message(4, &message()),
        columns.clone().message(4, &Message([row.0.clone(), row.0.clone()].concat())),
    ] {
        assert_eq!(refused(BIRTH, &set(&wrong)), "Sparkplug dataset of unequal rows");
    }
    let twice = message().message(1, &message().varint(1, 3).varint(1, 4));
    assert_eq!(refused(BIRTH, &set(&columns.message(4, &twice))), "Sparkplug value twice, or beside null");
    let keys = metric("p", 3).message(9, &message().text(1, "a")).varint(10, 1);
    assert_eq!(refused(BIRTH, &payload(&[keys])), "Sparkplug properties of unequal number");
}

#[test]
fn a_metric_that_only_has_an_alias_is_a_nameless_frame_and_no_measure() {
    let alias = payload(&[message().varint(2, 4).double(13, f64::NAN), message().varint(2, 5).varint(7, 1)]);
    let read = facts(DATA, &alias);
    assert_eq!((shown(&read).as_str(), read.measures.len()), ("=raw =raw", 0));
    assert_eq!(refused(BIRTH, &alias), "a Sparkplug metric without name and alias");
    // Names within it are names all the same.
    let inside = message().text(1, "plate").message(2, &message().text(8, "AB-123-CD"));
    let inside = payload(&[message().varint(2, 4).varint(10, 1).message(9, &inside)]);
    assert_eq!(shown(&facts(DATA, &inside)), "=raw properties.plate='AB-123-CD'");

    let both = payload(&[metric("open", 3).varint(2, 4).varint(10, 1)]);
    assert_eq!(shown(&facts(BIRTH, &both)), "open=1");
    assert_eq!(refused(DATA, &both), "Sparkplug metric with name and alias outside a birth");
    for none in [message().varint(10, 1), message().text(1, "").varint(10, 1)] {
        assert_eq!(refused(DATA, &payload(&[none])), "a Sparkplug metric without name and alias");
    }
}

#[test]
fn what_sparkplug_itself_names_is_metadata_with_its_type_only() {
    let metrics = [
        metric("bdSeq", 8).varint(11, 3),
        metric("Node Control/Rebirth", 11).varint(14, 0),
        metric("Node Control/Reboot", 11).varint(14, 0),
        metric("bdSeq", 12).text(15, "AB-123-CD"),
    ];
    let payload = payload(&metrics);
    let read = facts("spBv1.0/g/NBIRTH/n", &payload);
    assert_eq!(shown(&read), "metadata=3 metadata=false Node Control/Reboot=false bdSeq='AB-123-CD'");
    assert_eq!(read.measures, ["Node Control/Reboot"]);
    for name in ["Node Control", "Reboot"] {
        assert!(read.names.iter().any(|found| found == name), "{name} in {:?}", read.names);
    }
}

#[test]
fn the_levels_of_a_name_are_names_alone_and_together() {
    let payload = payload(&[metric("gate/license/plate/last", 12).text(15, "AB-123-CD")]);
    let read = facts(DATA, &payload);
    for name in ["plate", "license_plate", "gate_license_plate"] {
        assert!(read.names.iter().any(|found| crate::same_name(found, name)), "{name} in {:?}", read.names);
    }
}

#[test]
fn a_payload_that_is_compressed_or_numbered_is_read_as_far_as_it_says() {
    let compressed = message().varint(1, 1).varint(3, 9).text(4, "SPBV1.0_COMPRESSED").bytes(5, &[1, 2]).0;
    assert_eq!(shown(&facts(DATA, &compressed)), "uuid='SPBV1.0_COMPRESSED' body=raw");
    let silent = message().varint(3, 0).0;
    let read = facts("spBv1.0/g/DDEATH/n/d", &silent);
    assert_eq!((read.kind, read.time, read.leaves.len()), (Kind::Status, None, 0));
    assert_eq!(read.device.as_deref(), Some("n/d"));
}

#[test]
fn hostile_protobuf_is_refused_with_its_reason() {
    let ok = payload(&[metric("m", 3).varint(10, 1)]);
    for cut in 1..ok.len() {
        if cut != 7 {
            // Behind the timestamp there may be nothing; anywhere else something is missing.
            assert_eq!(refused(DATA, &ok[..cut]), "protobuf cut short", "{cut}");
        }
    }
    let wide = [0xff; 10];
    for (payload, reason) in [
        (&b""[..], "empty payload"),
        (b"\x08", "protobuf cut short"),
        (b"\x08\x80", "protobuf cut short"),
        (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", "protobuf varint beyond 64 bits"),
        (&[&b"\x08"[..], &wide].concat(), "protobuf varint beyond 64 bits"),
        (&[&wide[..], b"\x01"].concat(), "protobuf varint beyond 64 bits"),
        (b"\x12\x05\x0a\x01m", "protobuf cut short"),
        (b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "protobuf cut short"),
        (b"\x12\x03\x0a\x09m", "protobuf cut short"),
        (b"\x13\x14", "protobuf group"),
        (b"{\"a\":1}", "protobuf group"),
        (b"\x0e", "not a protobuf field"),
        (b"\x0f", "not a protobuf field"),
        (b"\x00\x01", "not a protobuf field"),
        (b"\x80\x80\x80\x80\x10\x01", "not a protobuf field"),
        (b"\x08\x01\x08\x01", "protobuf field twice"),
        (b"\x18\x01\x18\x02", "protobuf field twice"),
        (b"\x0a\x01a", "protobuf field of another type"),
        (b"\x10\x01", "protobuf field of another type"),
        (b"\x30\x01", "a field that Sparkplug B does not define"),
        (b"[1]", "protobuf group"),
    ] {
        assert_eq!(refused(DATA, payload), reason, "{payload:02x?}");
    }
    for (field, reason) in [
        (message().bytes(1, b"pl\xc0\xafte").varint(10, 1), "invalid UTF-8"),
        (message().bytes(1, b"\xed\xa0\x80").varint(10, 1), "invalid UTF-8"),
        (message().text(1, "pla\u{fdd0}te").varint(10, 1), "noncharacter"),
        (message().text(1, "m").text(1, "plate").varint(10, 1), "protobuf field twice"),
        (metric("m", 3).varint(10, 1).varint(10, 2), "protobuf field twice"),
        (metric("m", 3).varint(4, 3).varint(10, 2), "protobuf field twice"),
        (metric("m", 12).bytes(15, b"\xff"), "invalid UTF-8"),
    ] {
        assert_eq!(refused(DATA, &payload(&[field])), reason);
    }
    // Zeros before the end of a varint change no reader's number.
    assert_eq!(facts(DATA, b"\x08\x81\x80\x00").time.map(|time| time.0), Some(1000));
}

#[test]
fn depth_and_number_have_bounds() {
    let nested = |depth: usize| {
        let innermost = metric("m", 3).varint(10, 1);
        let one = (1..depth)
            .fold(innermost, |member, _| metric("t", 19).message(18, &message().message(2, &member)));
        payload(&[one])
    };
    let deepest = nested(32);
    assert_eq!(facts(BIRTH, &deepest).leaves.len(), 32);
    assert_eq!(refused(BIRTH, &nested(33)), "deeper than 32");
    let sets = |depth: usize| {
        let innermost = message().text(1, "k").message(2, &message().varint(3, 1));
        let set = (1..depth)
            .fold(innermost, |set, _| message().text(1, "k").message(2, &message().message(9, &set)));
        payload(&[metric("m", 3).varint(10, 1).message(9, &set)])
    };
    let deepest = sets(30);
    assert_eq!(facts(BIRTH, &deepest).leaves.len(), 2);
    assert_eq!(refused(BIRTH, &sets(31)), "deeper than 32");

    let nameless = |depth: usize| {
        let innermost = message().varint(2, 4).varint(10, 1);
        let one = (1..depth)
            .fold(innermost, |member, _| message().varint(2, 4).message(18, &message().message(2, &member)));
        payload(&[one])
    };
    assert!(facts(DATA, &nameless(32)).nodes.is_empty());
    assert_eq!(refused(DATA, &nameless(33)), "deeper than 32");
    assert_eq!(refused(DATA, &nameless(4000)), "deeper than 32");

    let many = |number| payload(&vec![metric("m", 3).varint(10, 1); number]);
    let most = many(4096);
    let read = facts(DATA, &most);
    assert_eq!((read.leaves.len(), read.measures.len()), (4096, 1));
    assert_eq!(refused(DATA, &many(4097)), "more than 4,096 values");
    let columns = (0..4097).fold(message(), |set, _| set.text(2, "c").varint(3, 3));
    assert_eq!(refused(BIRTH, &payload(&[metric("t", 16).message(17, &columns)])), "more than 4,096 values");
}

/// A metric that Sparkplug allows, and how many leaves it has.
fn any_metric() -> impl Strategy<Value = (Message, usize)> {
    let name = "[a-z]{1,4}(/[a-z]{1,4}){0,2}";
    let plain = (name, 0..5_u8, any::<u32>(), "\\PC{0,6}").prop_map(|(name, kind, bits, text)| {
        let metric = match kind {
            0 => metric(&name, 3).varint(10, u64::from(bits)),
            1 => metric(&name, 8).varint(11, u64::from(bits)),
            2 => metric(&name, 10).double(13, f64::from(bits)),
            3 => metric(&name, 11).varint(14, u64::from(bits & 1)),
            _ => metric(&name, 12).text(15, &text),
        };
        (metric, 1)
    });
    plain.prop_recursive(6, 24, 4, move |inner| {
        let inner = prop::collection::vec(inner, 0..4);
        (name, inner, any::<bool>()).prop_map(|(name, members, with_set)| {
            let template =
                members.iter().fold(message(), |template, (member, _)| template.message(2, member));
            let metric = metric(&name, 19).message(18, &template);
            let set = message().text(1, "k").message(2, &message().varint(7, 1));
            let metric = if with_set { metric.message(9, &set) } else { metric };
            let leaves = members.iter().map(|(_, leaves)| leaves).sum::<usize>();
            (metric, leaves + 1 + usize::from(with_set))
        })
    })
}

proptest! {
    #[test]
    fn each_value_of_an_allowed_payload_is_a_leaf(metrics in prop::collection::vec(any_metric(), 0..6)) {
        let (metrics, leaves): (Vec<_>, Vec<_>) = metrics.into_iter().unzip();
        let payload = payload(&metrics);
        let facts = read(Format::SparkplugB, BIRTH, &payload).unwrap();
        prop_assert_eq!(facts.leaves.len(), leaves.iter().sum::<usize>());
    }

    #[test]
    fn an_allowed_payload_with_bytes_changed_ends_in_finite_facts_or_a_reason(
        metrics in prop::collection::vec(any_metric(), 1..4),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let metrics: Vec<_> = metrics.into_iter().map(|(metric, _)| metric).collect();
        let mut payload = payload(&metrics);
        for (at, byte) in changes {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        for topic in [DATA, BIRTH, "spBv1.0/g/NCMD/n"] {
            if let Ok(facts) = read(Format::SparkplugB, topic, &payload) {
                prop_assert!(facts.leaves.len() <= payload.len());
                for leaf in &facts.leaves {
                    prop_assert!(facts.path_up(leaf.node).count() <= 32);
                    prop_assert!(!matches!(leaf.value, Scalar::Number(number, _) if !number.is_finite()));
                }
            }
        }
    }
}
