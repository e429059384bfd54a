//! The demo's simulated sensors: what five gateways of three authorities send,
//! over real MQTT connections. The messages are those of `policies/demo/README.md`;
//! the values are made up by a generator with a fixed seed.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use octroi_mqtt::Version;
use octroi_mqtt::client::{self, AckReader};
use octroi_policy::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock::{Clock, SystemClock};

/// The gateways: the source that each is, and its share of the messages in percent.
pub(super) const GATEWAYS: &[(&str, u32)] = &[
    ("ville-mobilite", 40),
    ("lns-rennes", 25),
    ("telereleve-56", 10),
    ("scada-56", 10),
    ("redon-lora", 15),
];

/// Publishes that a gateway leaves unacknowledged at once.
const WINDOW: u64 = 64;

/// Publishes as `source` until `stop`, then waits for the last acks. Says how many were acknowledged.
pub(super) async fn gateway(
    broker: SocketAddr,
    source: &'static str,
    per_second: f64,
    mut stop: watch::Receiver<bool>,
) -> std::io::Result<u64> {
    let mut socket = TcpStream::connect(broker).await?;
    socket.set_nodelay(true)?;
    let id = format!("demo-{source}");
    let hello = client::Connect { user_name: Some(source), ..client::Connect::new(&id) };
    socket.write_all(&client::connect(Version::V5, &hello)).await?;
    let (mut from, mut to) = socket.into_split();
    let mut maker = Maker::new(source);
    let mut acks = AckReader::default();
    let mut buffer = vec![0; 16 << 10];
    let (mut sent, mut packet_id) = (0u64, 0u16);
    let period = Duration::from_secs_f64(1.0 / per_second.max(0.1));
    let mut due = Instant::now();
    loop {
        let answered = acks.accepted + acks.refused;
        let stopping = *stop.borrow();
        if stopping && answered >= sent {
            break;
        }
        tokio::select! {
            () = tokio::time::sleep_until(due), if !stopping && acks.connected > 0 && sent - answered < WINDOW => {
                due += period;
                packet_id = packet_id.checked_add(1).unwrap_or(1);
                let (topic, payload) = maker.next(SystemClock.now());
                to.write_all(&client::publish(Version::V5, &topic, &payload, Some(packet_id)).bytes).await?;
                sent += 1;
            }
            read = from.read(&mut buffer) => match read? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                read => acks
                    .feed(buffer.get(..read).unwrap_or_default(), |_| {})
                    .map_err(|_| std::io::Error::from(std::io::ErrorKind::InvalidData))?,
            },
            () = async { drop(stop.wait_for(|stop| *stop).await) }, if !stopping => {}
        }
    }
    to.write_all(&client::disconnect()).await?;
    Ok(acks.accepted + acks.refused)
}

/// Makes one gateway's messages.
struct Maker {
    source: &'static str,
    random: u64,
    count: u64,
}

impl Maker {
    fn new(source: &'static str) -> Self {
        let seed = source.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self { source, random: seed, count: 0 }
    }

    /// A number from `low` to `high`, inclusive.
    fn within(&mut self, low: i64, high: i64) -> i64 {
        // xorshift64*: good enough to look alive.
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let number = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 1;
        low + i64::try_from(number).unwrap_or(0) % (high - low + 1)
    }

    fn one_in(&mut self, share: i64) -> bool {
        self.within(1, share) == 1
    }

    /// The next message: topic and payload.
    fn next(&mut self, now: Timestamp) -> (String, Vec<u8>) {
        self.count += 1;
        match self.source {
            "ville-mobilite" => self.mobility(now),
            "lns-rennes" => self.rennes(now),
            "telereleve-56" => self.water_meter(now),
            "scada-56" => self.waterworks(),
            _ => self.redon(now),
        }
    }

    fn mobility(&mut self, now: Timestamp) -> (String, Vec<u8>) {
        let n = self.within(1, 40);
        let count = self.within(0, 300);
        let counting = format!("ville/mobilite/compteur-{n}/count");
        if self.one_in(100) {
            // Two readers would read two counts.
            let payload = format!(r#"{{"device":"compteur-{n}","count":{count},"count":13}}"#);
            return (counting, payload.into_bytes());
        }
        if self.one_in(50) {
            // A firmware update adds a plate, spelt so that a search of the bytes misses it.
            let payload = format!(
                r#"{{"device":"compteur-{n}","ts":"{now}","period":"PT15M","count":{count},"\u0070late":"AB-123-CD"}}"#
            );
            return (counting, payload.into_bytes());
        }
        if self.one_in(50) {
            let payload = format!(r#"{{"device":"borne-{n}","state":"up"}}"#);
            return (format!("ville/mobilite/borne-{n}/etat"), payload.into_bytes());
        }
        if self.one_in(3) {
            let (lane, speed) = (self.within(1, 3), self.within(20, 60));
            let payload = format!(
                r#"{{"type":"AnprFlowObserved","device":"cam-{n}","ts":"{now}","plate":"AB-{:03}-CD","lane":{lane},"speed":{speed},"sensitivity":"open"}}"#,
                self.within(0, 999)
            );
            return (format!("ville/mobilite/cam-{n}/anpr"), payload.into_bytes());
        }
        let (speed, occupancy) = (self.within(15, 55), self.within(0, 100));
        let payload = format!(
            r#"{{"device":"compteur-{n}","ts":"{now}","period":"PT15M","count":{count},"speed_avg":{speed}.5,"occupancy_pct":{occupancy}}}"#
        );
        (counting, payload.into_bytes())
    }

    fn rennes(&mut self, now: Timestamp) -> (String, Vec<u8>) {
        let n = self.within(1, 60);
        if self.one_in(50) {
            // Nobody filled in its tags.
            return self.uplink(
                "energie",
                &format!("02b56e0000015c{n:02x}"),
                "",
                r#"{"active_power":300}"#,
                now,
            );
        }
        match self.within(1, 4) {
            1 => {
                let object = format!(r#"{{"active_power":{}}}"#, self.within(100, 4000));
                let tags = r#""insee":"35238","domain":"energy","usage":"dwelling""#;
                self.uplink("logements", &format!("02b56e0000007c{n:02x}"), tags, &object, now)
            }
            2 => {
                let object = format!(
                    r#"{{"no2":{},"pm10":{},"pm25":{},"o3":{},"temperature":{},"humidity":{}}}"#,
                    self.within(5, 60),
                    self.within(5, 50),
                    self.within(2, 30),
                    self.within(20, 120),
                    self.within(-5, 35),
                    self.within(30, 95)
                );
                let tags = r#""insee":"35238","domain":"air_quality","usage":"fixed_station""#;
                self.uplink("environnement", &format!("02b56e0000012a{n:02x}"), tags, &object, now)
            }
            _ => {
                let object = format!(
                    r#"{{"active_power":{},"energy":{}}}"#,
                    self.within(800, 9000),
                    self.within(1000, 90000)
                );
                let tags = r#""insee":"35238","domain":"energy","usage":"public_building""#;
                self.uplink("energie", &format!("02b56e00000035{n:02x}"), tags, &object, now)
            }
        }
    }

    fn redon(&mut self, now: Timestamp) -> (String, Vec<u8>) {
        let n = self.within(1, 50);
        match self.within(1, 4) {
            1 => {
                let object = format!(r#"{{"badge":"B-{n:04}","weight":{}}}"#, self.within(1, 40));
                let tags = r#""insee":"44185","domain":"waste","usage":"household_bin""#;
                self.uplink("dechets", &format!("02b56e000000e6{n:02x}"), tags, &object, now)
            }
            2 => {
                let object = format!(r#"{{"active_power":{}}}"#, self.within(500, 6000));
                let tags = r#""insee":"56001","domain":"energy","usage":"public_building""#;
                self.uplink("energie", &format!("02b56e00000140{n:02x}"), tags, &object, now)
            }
            _ => {
                let object = format!(
                    r#"{{"fill_level":{},"temperature":{}}}"#,
                    self.within(0, 100),
                    self.within(-5, 35)
                );
                let tags = r#""insee":"35236","domain":"waste","usage":"bottle_bank""#;
                self.uplink("dechets", &format!("02b56e000000d4{n:02x}"), tags, &object, now)
            }
        }
    }

    /// A ChirpStack v4 uplink.
    fn uplink(
        &mut self,
        application: &str,
        device: &str,
        tags: &str,
        object: &str,
        now: Timestamp,
    ) -> (String, Vec<u8>) {
        let count = self.count;
        let mut payload = format!(
            r#"{{"deduplicationId":"1d7b96e3-0c42-4a8f-b5d1-{count:012x}","time":"{now}","deviceInfo":{{"tenantName":"{}","applicationName":"{application}","deviceProfileName":"sonde","deviceName":"{application}-{device}","devEui":"{device}","deviceClassEnabled":"CLASS_A","tags":{{{tags}}}}},"#,
            self.source
        );
        let (rssi, snr) = (self.within(-118, -70), self.within(-10, 10));
        // Writing to a string cannot fail.
        write!(
            payload,
            r#""devAddr":"0038e51b","adr":true,"dr":5,"fCnt":{count},"fPort":10,"confirmed":false,"data":"AQI=","object":{object},"rxInfo":[{{"gatewayId":"7276ff0056040102","uplinkId":7,"rssi":{rssi},"snr":{snr}.5}}],"txInfo":{{"frequency":868100000}}}}"#
        )
        .ok();
        (format!("application/{application}/device/{device}/event/up"), payload.into_bytes())
    }

    /// A subscriber's water meter, The Things Stack v3.
    fn water_meter(&mut self, now: Timestamp) -> (String, Vec<u8>) {
        let n = self.within(1, 400);
        let (count, index) = (self.count, self.within(100_000, 900_000));
        let payload = format!(
            r#"{{"end_device_ids":{{"device_id":"wm-{n:06}","application_ids":{{"application_id":"telereleve"}},"dev_eui":"02C1A2FFFE{n:06}"}},"received_at":"{now}","uplink_message":{{"f_port":2,"f_cnt":{count},"frm_payload":"AALMkgE=","decoded_payload":{{"index_l":{index},"leak":false,"backflow":false}},"rx_metadata":[{{"gateway_ids":{{"gateway_id":"gw-vannes-3"}},"rssi":-101,"snr":4.2}}]}}}}"#
        );
        (format!("v3/telereleve@syndicat-eau/devices/wm-{n:06}/up"), payload.into_bytes())
    }

    /// An automaton of the waterworks, Sparkplug B: one metric `pressure`, a double. And, now and then, a
    /// command to it, which the hub refuses.
    fn waterworks(&mut self) -> (String, Vec<u8>) {
        if self.count % 300 == 1 {
            return ("spBv1.0/eau-56/DCMD/p3/a1".to_owned(), vec![0x08, 0x01]);
        }
        let pressure = 3.0 + self.within(0, 200) as f64 / 100.0;
        // Protobuf: metric { name = 1, datatype = 4 (Double: 10), double_value = 13 }, in Payload.metrics = 2.
        let mut metric = vec![0x0A, 8];
        metric.extend_from_slice(b"pressure");
        metric.extend_from_slice(&[0x20, 10, 0x69]);
        metric.extend_from_slice(&pressure.to_le_bytes());
        let mut payload = vec![0x12, u8::try_from(metric.len()).unwrap_or(0)];
        payload.extend_from_slice(&metric);
        (format!("spBv1.0/eau-56/DDATA/p3/a{}", self.within(1, 12)), payload)
    }
}
