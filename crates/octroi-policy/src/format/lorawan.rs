//! `chirpstack-v4` and `tts-v3`: the JSON that LoRaWAN network servers publish.
//!
//! Their own keys are metadata, whatever the value says about the device
//! (`deviceName`, `rssi`); what the codec made of the frame is data; the frame
//! itself is raw; tags, attributes, gateway metadata and log contexts are free
//! maps and must be listed. A position of the device and what a status event
//! measures are data too, and session keys are not metadata to wave through.

use std::borrow::Cow;

use super::shape::{Shape, assign, measure_of, shape_of};
use super::{ReadError, Several, object_or_command, text_of, word_of};
use crate::Timestamp;
use crate::facts::{Facts, Kind, Leaf, Position, Scalar};
use crate::json::Scratch;
use Shape::{Boolean, Free, Number, Object, Raw, Root, Text, Value};

/// One network server.
struct Server {
    shape: &'static Shape,
    /// The topic level before the device's identifier.
    device_level: &'static str,
    /// Where in the payload: device, time, the map of tags, the data.
    device: &'static [&'static str],
    time: &'static str,
    tags: &'static str,
    data: &'static str,
    kind: fn(&[&str]) -> Kind,
}

/// Top-level keys first, in the order in which the server writes them.
static CHIRPSTACK: Server = Server {
    shape: &Object(&[
        ("deduplicationId", Text),
        ("time", Text),
        (
            "deviceInfo",
            Object(&[
                ("tenantId", Text),
                ("tenantName", Text),
                ("applicationId", Text),
                ("applicationName", Text),
                ("deviceProfileId", Text),
                ("deviceProfileName", Text),
                ("deviceName", Text),
                ("devEui", Text),
                ("deviceClassEnabled", Text),
                ("tags", Free),
            ]),
        ),
        ("devAddr", Text),
        ("adr", Boolean),
        ("dr", Number),
        ("fCnt", Number),
        ("fPort", Number),
        ("confirmed", Boolean),
        ("data", Raw),
        ("object", Root(1)),
        (
            "rxInfo",
            Object(&[
                ("gatewayId", Text),
                ("uplinkId", Number),
                ("gwTime", Text),
                ("nsTime", Text),
                ("timeSinceGpsEpoch", Text),
                ("fineTimeSinceGpsEpoch", Text),
                ("rssi", Number),
                ("snr", Number),
                ("channel", Number),
                ("rfChain", Number),
                ("board", Number),
                ("antenna", Number),
                (
                    "location",
                    Object(&[
                        ("latitude", Number),
                        ("longitude", Number),
                        ("altitude", Number),
                        ("source", Text),
                        ("accuracy", Number),
                    ]),
                ),
                ("context", Text),
                ("metadata", Free),
                ("crcStatus", Text),
            ]),
        ),
        (
            "txInfo",
            Object(&[
                ("frequency", Number),
                (
                    "modulation",
                    Object(&[
                        (
                            "lora",
                            Object(&[
                                ("bandwidth", Number),
                                ("spreadingFactor", Number),
                                ("codeRate", Text),
                                ("codeRateLegacy", Text),
                                ("polarizationInversion", Boolean),
                                ("preamble", Number),
                                ("noCrc", Boolean),
                            ]),
                        ),
                        ("fsk", Object(&[("frequencyDeviation", Number), ("datarate", Number)])),
                        (
                            "lrFhss",
                            Object(&[
                                ("operatingChannelWidth", Number),
                                ("codeRate", Text),
                                ("codeRateLegacy", Text),
                                ("gridSteps", Number),
                            ]),
                        ),
                    ]),
                ),
            ]),
        ),
        (
            "relayRxInfo",
            Object(&[
                ("devEui", Text),
                ("frequency", Number),
                ("dr", Number),
                ("snr", Number),
                ("rssi", Number),
                ("worChannel", Number),
            ]),
        ),
        ("regionConfigId", Text),
        ("margin", Value),
        ("externalPowerSource", Value),
        ("batteryLevelUnavailable", Value),
        ("batteryLevel", Value),
        // The position of the device itself.
        ("location", Free),
        ("context", Free),
        ("description", Free),
    ]),
    device_level: "device",
    device: &["deviceInfo.devEui", "devEui"],
    time: "time",
    tags: "deviceInfo.tags",
    data: "object",
    kind: |levels| match levels {
        [.., "command", _] => Kind::Command,
        [.., "event", "join"] => Kind::Join,
        [.., "event", "location"] => Kind::Location,
        [.., "event", "status" | "ack" | "txack" | "log"] => Kind::Status,
        _ => Kind::Measure,
    },
};

static TTS: Server = Server {
    shape: &Object(&[
        (
            "end_device_ids",
            Object(&[
                ("device_id", Text),
                ("application_ids", Object(&[("application_id", Text)])),
                ("dev_eui", Text),
                ("join_eui", Text),
                ("dev_addr", Text),
            ]),
        ),
        ("correlation_ids", Text),
        ("received_at", Text),
        (
            "uplink_message",
            Object(&[
                ("session_key_id", Text),
                ("f_port", Number),
                ("f_cnt", Number),
                ("frm_payload", Raw),
                ("decoded_payload", Root(2)),
                ("normalized_payload", Root(2)),
                (
                    "rx_metadata",
                    Object(&[
                        ("gateway_ids", Object(&[("gateway_id", Text), ("eui", Text)])),
                        (
                            "packet_broker",
                            Object(&[
                                ("message_id", Text),
                                ("forwarder_net_id", Text),
                                ("forwarder_tenant_id", Text),
                                ("forwarder_cluster_id", Text),
                                ("forwarder_gateway_eui", Text),
                                ("forwarder_gateway_id", Text),
                                ("home_network_net_id", Text),
                                ("home_network_tenant_id", Text),
                                ("home_network_cluster_id", Text),
                            ]),
                        ),
                        ("antenna_index", Number),
                        ("time", Text),
                        ("timestamp", Number),
                        ("fine_timestamp", Number),
                        ("rssi", Number),
                        ("signal_rssi", Number),
                        ("channel_rssi", Number),
                        ("rssi_standard_deviation", Number),
                        ("snr", Number),
                        ("frequency_offset", Number),
                        (
                            "location",
                            Object(&[
                                ("latitude", Number),
                                ("longitude", Number),
                                ("altitude", Number),
                                ("accuracy", Number),
                                ("source", Text),
                            ]),
                        ),
                        ("downlink_path_constraint", Text),
                        ("uplink_token", Text),
                        ("channel_index", Number),
                        ("gps_time", Text),
                        ("received_at", Text),
                    ]),
                ),
                (
                    "settings",
                    Object(&[
                        (
                            "data_rate",
                            Object(&[
                                (
                                    "lora",
                                    Object(&[
                                        ("bandwidth", Number),
                                        ("spreading_factor", Number),
                                        ("coding_rate", Text),
                                    ]),
                                ),
                                ("fsk", Object(&[("bit_rate", Number)])),
                                (
                                    "lrfhss",
                                    Object(&[
                                        ("modulation_type", Number),
                                        ("operating_channel_width", Number),
                                        ("coding_rate", Text),
                                    ]),
                                ),
                            ]),
                        ),
                        ("frequency", Number),
                        ("timestamp", Number),
                        ("time", Text),
                    ]),
                ),
                ("received_at", Text),
                ("last_a_f_cnt_down", Number),
                ("confirmed", Boolean),
                ("consumed_airtime", Text),
                ("packet_error_rate", Number),
                // Positions of the device, by who gave them.
                ("locations", Free),
                (
                    "version_ids",
                    Object(&[
                        ("brand_id", Text),
                        ("model_id", Text),
                        ("hardware_version", Text),
                        ("firmware_version", Text),
                        ("band_id", Text),
                    ]),
                ),
                (
                    "network_ids",
                    Object(&[
                        ("net_id", Text),
                        ("ns_id", Text),
                        ("tenant_id", Text),
                        ("cluster_id", Text),
                        ("cluster_address", Text),
                        ("tenant_address", Text),
                    ]),
                ),
                ("attributes", Free),
            ]),
        ),
        (
            "join_accept",
            Object(&[("session_key_id", Text), ("received_at", Text), ("pending_session", Boolean)]),
        ),
        ("location_solved", Free),
        ("simulated", Boolean),
    ]),
    device_level: "devices",
    device: &["end_device_ids.device_id"],
    time: "received_at",
    tags: "uplink_message.attributes",
    data: "uplink_message.decoded_payload",
    kind: |levels| match levels {
        [.., "down", "push" | "replace"] => Kind::Command,
        [.., "down", _] => Kind::Status,
        [.., "join"] => Kind::Join,
        [.., "location", "solved"] => Kind::Location,
        _ => Kind::Measure,
    },
};

pub(super) fn chirpstack<'a>(
    topic: &'a str,
    payload: &'a [u8],
    scratch: &mut Scratch,
) -> Result<Facts<'a>, ReadError> {
    read(&CHIRPSTACK, topic, payload, scratch)
}

pub(super) fn tts<'a>(
    topic: &'a str,
    payload: &'a [u8],
    scratch: &mut Scratch,
) -> Result<Facts<'a>, ReadError> {
    read(&TTS, topic, payload, scratch)
}

fn read<'a>(
    server: &'static Server,
    topic: &'a str,
    payload: &'a [u8],
    scratch: &mut Scratch,
) -> Result<Facts<'a>, ReadError> {
    let levels: Vec<&str> = topic.split('/').collect();
    let kind = (server.kind)(&levels);
    let (mut facts, arrays) = object_or_command(kind, payload, scratch)?;
    let shapes = assign(&mut facts, server.shape);
    let (mut tags, mut measures) = (Vec::new(), Vec::new());
    let mut places = Places::default();
    for leaf in &facts.leaves {
        let Some(node) = facts.node(leaf.node) else { continue };
        let shape = shape_of(&shapes, leaf);
        match shape {
            Some(Free) if facts.path_is(node.parent, 0, server.tags) => {
                tags.extend(word_of(&leaf.value).map(|value| (node.key.clone(), value)));
            }
            Some(Root(_) | Value | Free) => places.add(server, &facts, leaf),
            _ => {}
        }
        measures.extend(measure_of(&facts, leaf, shape).filter(|name| measures.last() != Some(name)));
    }
    if arrays {
        measures.sort_unstable();
        measures.dedup();
    }
    facts.location = places.best();
    let said = server.device.iter().find_map(|path| text_of(&facts.find(path)?.value));
    facts.device = said.or_else(|| device_of(&levels, server.device_level).map(Cow::Borrowed));
    facts.time = facts.find(server.time).and_then(|leaf| match &leaf.value {
        Scalar::Text(text) => Timestamp::parse_rfc3339(text),
        Scalar::Empty | Scalar::Boolean(_) | Scalar::Number(..) => None,
    });
    (facts.tags, facts.measures) = (tags, measures);
    facts.read_tags();
    facts.read_declared();
    Ok(facts)
}

/// The identifier behind the last such level.
fn device_of<'a>(levels: &[&'a str], before: &str) -> Option<&'a str> {
    let at = levels.iter().rposition(|level| *level == before)?;
    levels.get(at + 1).copied().filter(|device| !device.is_empty())
}

/// The positions of the device that a payload gives, each in its own place.
#[derive(Default)]
struct Places {
    solved: Place,
    registered: Place,
    measured: Place,
}

#[derive(Default)]
struct Place {
    latitude: Several<f64>,
    longitude: Several<f64>,
}

impl Places {
    fn add(&mut self, server: &Server, facts: &Facts<'_>, leaf: &Leaf<'_>) {
        let (Scalar::Number(degrees, _), Some(node)) = (&leaf.value, facts.node(leaf.node)) else { return };
        let latitude = match node.key.as_ref() {
            "latitude" | "lat" => true,
            "longitude" | "lon" | "lng" => false,
            _ => return,
        };
        let place = if facts.path_is(node.parent, 0, "location")
            || facts.path_is(node.parent, 0, "location_solved.location")
        {
            &mut self.solved
        } else if facts.path_is(node.parent, 0, "uplink_message.locations.user") {
            &mut self.registered
        } else if facts.path_is(node.parent, 0, server.data) {
            &mut self.measured
        } else {
            return;
        };
        if latitude { &mut place.latitude } else { &mut place.longitude }.add(Some(*degrees));
    }

    /// What was measured now before what was solved, before what was registered once.
    fn best(self) -> Option<Position> {
        [self.measured, self.solved, self.registered]
            .into_iter()
            .find_map(|place| Position::of(place.latitude.only(), place.longitude.only()))
    }
}
