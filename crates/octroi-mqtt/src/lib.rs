//! MQTT 3.1.1 and 5, the server's side of one client's session, without I/O; and, in `subscriber`, the
//! other side, as far as the hub needs it to take messages from a broker.
//!
//! Bytes go in, [`Event`]s and bytes come out; the present time is an argument. The crate knows no
//! socket, no policy and no journal. It serves an ingress: publishes are the point, SUBSCRIBE is answered
//! and refused.
//!
//! ```
//! use std::{sync::Arc, time::Instant};
//! use octroi_mqtt::{Ack, Event, Grant, Limits, Session, Version, client};
//!
//! # #[expect(clippy::disallowed_methods, reason = "an example")]
//! let now = Instant::now();
//! let mut session = Session::new(Arc::new(Limits::default()), now);
//! let (mut input, mut events) = (bytes::BytesMut::new(), Vec::new());
//!
//! input.extend_from_slice(&client::connect(Version::V5, &client::Connect::new("pump-7")));
//! session.receive(&mut input, now, 100, &mut events);
//! assert!(matches!(events.pop(), Some(Event::Connect(_))));
//! session.accept(Grant::default(), now, &mut events);
//!
//! input.extend_from_slice(&client::publish(Version::V5, "a/b", b"21.5", Some(1)).bytes);
//! session.receive(&mut input, now, 100, &mut events);
//! let Some(Event::Publish(publish)) = events.pop() else { panic!("a publish") };
//! assert_eq!((publish.message.topic(), publish.message.payload()), ("a/b", &b"21.5"[..]));
//! // Once it is stored:
//! session.acknowledge(publish.receipt, Ack::Accepted, &mut events).unwrap();
//! assert!(session.output().ends_with(&[0x40, 2, 0, 1]));
//! ```
//!
//! # The codec and what stands before it
//!
//! `rumqttd::protocol` is fast and lax. It sees exactly one whole packet, and only after a check of
//! everything the standard says of it (`wire`, `properties`, `topic`, and the module of each packet).
//! It decodes CONNECT, SUBSCRIBE, UNSUBSCRIBE and the properties of publishes, and encodes CONNACK,
//! SUBACK and UNSUBACK. PUBLISH and PUBREL are read, and PUBACK, PUBREC, PUBCOMP and DISCONNECT are written
//! here: see `publish` and `encode`.
//!
//! # QoS 2
//!
//! A packet identifier is open from its PUBLISH to its PUBREL, over reconnects: what comes with an open one is
//! no second message, whatever its DUP flag says. The session knows the open ones of its connection; those of
//! earlier connections come with [`Grant::open`]. The hub puts each on record together with its message
//! ([`Publish::opens`]) and takes it off the record ([`Event::Release`]) before it acknowledges.
//!
//! # Where the standard leaves a choice
//!
//! - A topic that the standard allows and this server does not take (`$…`, too long, too deep, control
//!   characters) is an [`Event::Inadmissible`], refused in its turn like any publish, so that nothing
//!   bypasses the order of acknowledgements or the record of refusals.
//! - A 3.1.1 client cannot be told a receive maximum: it feels back-pressure ([`Progress::AwaitHub`]).
//! - Beside the receive maximum, as many QoS 2 publishes of earlier connections may be open again; more end
//!   the session.

mod connect;
mod encode;
mod event;
mod limits;
mod properties;
mod publish;
mod reason;
mod session;
mod subscribe;
mod subscriber;
mod topic;
mod wire;

pub mod client;
#[cfg(any(test, feature = "test-util"))]
pub mod exercise;

pub use event::{
    Ack, Closed, Connect, Event, Grant, Message, OutOfOrder, Properties, Publish, Qos, Receipt, Refusal,
    Release, Version, Will,
};
pub use limits::Limits;
pub use reason::{CloseReason, ConnectRefusal, DisconnectReason};
pub use session::{Progress, Session};
pub use subscriber::{Asks, End, Heard, Lack, Subscriber};
pub use topic::Inadmissible;
