//! Every bound of the hub, in one place. Units come last in a name.
//!
//! What has one right answer is a constant here and no configuration key.
//! `octroi config show` prints them.

use std::time::Duration;

/// In a hub with fail points, what is waited for comes sooner and files are smaller, so that a test passes
/// every point within seconds. What is done, and in which order, is the same.
const fn or_under_fire<T: Copy>(shipped: T, under_fire: T) -> T {
    if cfg!(feature = "fail-points") { under_fire } else { shipped }
}

/// Bytes of records between socket and disk, over all sessions. When they are
/// spent, sockets are not read: that is all there is to back-pressure.
pub const IN_FLIGHT_BYTES: usize = 32 << 20;
/// The most one session hands to the committer at once.
pub const CHUNK_BYTES: usize = or_under_fire(256 << 10, 32 << 10);
/// What a chunk is expected to hold.
pub const CHUNK_HINT_BYTES: usize = 16 << 10;
/// Chunks of one session that await their sync; then its socket is not read.
pub const SESSION_CHUNKS: usize = 32;
/// What one read of a socket takes.
pub const READ_BYTES: usize = 64 << 10;
/// What the first read of a socket makes room for; it grows with what comes.
pub const FIRST_READ_BYTES: usize = 512;
/// Events of one session between two hand-overs.
pub const EVENTS: usize = 512;
/// QoS 1 and 2 publishes of one session that may await their ack; announced to MQTT 5 clients.
pub const RECEIVE_MAXIMUM: u16 = 1_000;
/// A peer that takes nothing for so long is dropped.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client that connects again waits for its earlier connection to end.
pub const TAKE_OVER: Duration = Duration::from_secs(5);
/// A connection that ends takes its last words within this, or goes without.
pub const FAREWELL: Duration = Duration::from_secs(1);
/// MQTT connections in all where nothing is said.
pub const CONNECTIONS: u64 = 20_000;
/// Those of one source, likewise.
pub const CONNECTIONS_PER_SOURCE: u64 = 12_000;
/// Those of one address, likewise: gateways and proxies speak for many.
pub const CONNECTIONS_PER_ADDRESS: u64 = 2_000;
/// Connections that have not said yet who they are; the next ones wait in the kernel's queue.
pub const STRANGERS: usize = 8_192;
/// Connections that wait in the kernel's queue of a listener that was shut at the start; tokio's own of the others.
pub const LISTEN_BACKLOG: u32 = 1_024;
/// How long a connection's handshakes may take, TLS and WebSocket.
pub const HANDSHAKE: Duration = Duration::from_secs(10);
/// What a log line is said again after, with how often it would have been.
pub const SAID_AGAIN: Duration = Duration::from_secs(60);
/// What a source may send at once when it was silent: what its quota gives it in this time.
pub const QUOTA_BURST: Duration = Duration::from_secs(5);
/// How long a connection that its quota holds back waits before it looks at the policy in force again.
pub const QUOTA_LOOK: Duration = Duration::from_secs(1);
/// How long a publisher waits for its ack, when the disk is full, before it is told to keep its messages.
pub const ACK_GRACE: Duration = Duration::from_secs(10);
/// An idle journal is sealed after this long, so that its last group is distinguishable from a torn tail.
pub const SEAL_AFTER: Duration = or_under_fire(Duration::from_secs(1), Duration::from_millis(100));
/// How often the journal's figures are shown to the rest of the hub.
pub const SHOW_EVERY: Duration = Duration::from_millis(200);
/// What publishers leave of a segment to the hub's own records, so that a full journal can be emptied: an archive
/// writes nothing before its batch is on record.
pub const OWN_RECORDS_BYTES: u64 = or_under_fire(256 << 10, 64 << 10);
/// How often a full journal is tried again.
pub const FULL_RETRY: Duration = Duration::from_millis(250);
/// Refused publishes a minute that a 3.1.1 connection may send before it is closed.
pub const REFUSALS_PER_MINUTE: u32 = 100;
/// A group of so many bytes says that publishers keep the journal as busy as it can be.
pub const PRESSED_GROUP_BYTES: u64 = 32 << 10;
/// A session that handed over so much at once lets the journal's owner have the processor; what costs less than that
/// does not.
pub const YIELD_BYTES: u32 = 4 << 10;
/// How long relays give way, at most, while publishers press: what deliveries are behind for it.
pub const GIVE_WAY: Duration = Duration::from_secs(1);
/// One read of a relay from the journal.
pub const RELAY_READ_BYTES: usize = 1 << 20;
/// Records that a relay judges before it lets others have the processor.
pub const RELAY_TURN: usize = 128;
/// How long a relay sleeps, at most, when it has nothing to do.
pub const RELAY_IDLE: Duration = Duration::from_millis(200);
/// How long a reader of the journal that was woken lets more records gather before it reads.
pub const GATHER: Duration = Duration::from_millis(5);
/// One poll of an outlet by a relay that has nothing to read.
pub const RELAY_POLL: Duration = Duration::from_millis(20);
/// How often a relay puts its cursor on record while it moves.
pub const CURSOR_EVERY: Duration = Duration::from_millis(200);
/// How long an archive's batch waits to fill where nothing is said: what a reader of the archive is behind.
pub const ARCHIVE_AGE: Duration = or_under_fire(Duration::from_secs(5), Duration::from_millis(50));
/// The most that it may be told to wait.
pub const ARCHIVE_AGE_MOST: Duration = Duration::from_secs(10);
/// Targets (the journal has 64 bits; three are the quarantine's, the hold's and the aggregates').
pub const TARGETS: usize = 60;
/// What a backlog takes at once; twice as much fits into its smallest frame.
pub const BACKLOG_CHUNK_BYTES: usize = 512 << 10;
/// Size of a backlog's segment, before the cap of 1/16 of its limit: how far it can be from what waits.
pub const BACKLOG_SEGMENT_BYTES: u64 = 8 << 20;
/// A target that takes nothing for so long while it holds old segments back has what waits moved to its
/// backlog; one that is known to be down, at once. An archive's batch may take
/// [`ARCHIVE_AGE_MOST`].
pub const LAGGARD_AFTER: Duration = Duration::from_secs(15);
/// How long a backlog stays once it is empty: a target that lags now and then has one made and removed no more
/// often.
pub const BACKLOG_KEPT: Duration = or_under_fire(Duration::from_secs(5), Duration::from_millis(100));
/// What `stop` waits for the outlets to finish what waits.
pub const DRAIN: Duration = Duration::from_secs(25);
/// Size of a journal segment, before the cap of 1/16 of the journal's limit.
pub const SEGMENT_BYTES: u64 = or_under_fire(128 << 20, 512 << 10);
/// What the journal may take where nothing is said.
pub const JOURNAL_BYTES: u64 = 10 << 30;
/// The least journal that is accepted.
pub const JOURNAL_LEAST_BYTES: u64 = 64 << 20;
/// What quarantine and hold may take each where nothing is said, as a fraction of the journal's limit.
pub const SIDE_LOG_FRACTION: u64 = 8;
/// What a target's backlog may take where nothing is said, likewise.
pub const BACKLOG_FRACTION: u64 = 2;
/// The most percent of the journal that the messages of one source may take where nothing is said.
pub const SOURCE_SHARE: u64 = 50;
/// Persistent MQTT sessions on record.
pub const SESSIONS: usize = 100_000;
/// What those and their open packet identifiers may take of the state that a segment holds at its head, as a
/// fraction of it: beyond, no session is promised and QoS 2 publishes of those that are wait.
pub const SESSIONS_FRACTION: u64 = 2;
/// Expired sessions that a CONNECT takes off the record.
pub const SESSIONS_SWEPT: usize = 8;
/// Size of a policy, all its files.
pub const POLICY_BYTES: u64 = 16 << 20;
/// Recorded labels that two policies are compared on.
pub const RECORDED_LABELS_BYTES: u64 = 16 << 20;
/// Files of a policy.
pub const POLICY_FILES: usize = 1_000;
/// Commands from the admin server that wait for an answer.
pub const ADMIN_COMMANDS: usize = 16;
/// Argon2 verifications at once: each takes 19 MiB and tens of milliseconds.
pub const PASSWORD_CHECKS: usize = 2;
/// A file of certificates, revocation lists or passwords.
pub const MATERIAL_BYTES: u64 = 16 << 20;
/// How often these files are looked at; what two looks find alike is taken.
pub const CREDENTIALS_EVERY: Duration = Duration::from_millis(500);
/// How long a session relies on the wall clock not being set, while its certificate's end is awaited.
pub const CLOCK_LOOK: Duration = Duration::from_secs(30);
/// Records that a relay withholds before it waits for the side log's sync.
pub const WITHHELD: usize = 1_024;
/// Bytes of them.
pub const WITHHELD_BYTES: usize = 4 << 20;
/// Kept messages that leave a side log together, and whose fate the ledger remembers.
pub const LEAVING: usize = 1_024;
/// Ids that one answer to an operator's errand names; then it says where to go on.
pub const ERRAND_IDS: usize = 10_000;
/// Reads of a side log that one errand takes; then the same.
pub const ERRAND_READS: u32 = 64;
/// Reads of the journal that one request of a replay takes; then its answer says where to go on.
pub const REPLAY_READS: u32 = 16;
/// Errands that wait.
pub const ERRANDS: usize = 4;
/// How long a window stays open after its end, for messages that arrived in it and are still on their way to
/// the journal: a publisher waits [`ACK_GRACE`] at most.
pub const AGGREGATE_LATENESS: Duration = or_under_fire(Duration::from_secs(15), Duration::from_millis(500));
/// How often what the aggregates' thread has gathered is put on disk, so that its cursor can move.
pub const AGGREGATE_STORED_EVERY: Duration =
    or_under_fire(Duration::from_secs(5), Duration::from_millis(200));
/// What the open windows of one copy may hold; a window that outgrows them publishes nothing.
pub const AGGREGATE: octroi_policy::aggregate::Limits =
    octroi_policy::aggregate::Limits { groups: 2_000, devices: 200_000 };
/// What one window of a copy may publish: one chunk, which a journal takes whole.
pub const PUBLICATION_BYTES: usize = 960 << 10;
/// How long the secret of a rotation period outlives it, where the policy has it destroyed: what has waited
/// longer for its target leaves no more by that copy.
pub const PERIOD_KEYS_KEPT: Duration = Duration::from_secs(7 * 86_400);
/// How often the secrets of past periods are looked for.
pub const PERIOD_KEYS_EVERY: Duration = Duration::from_secs(600);

const _: () = assert!(CHUNK_BYTES * 4 <= IN_FLIGHT_BYTES);
const _: () = assert!((CHUNK_BYTES as u64) * 16 < JOURNAL_LEAST_BYTES);
const _: () = assert!(TARGETS + 3 <= 64);
const _: () = assert!((PUBLICATION_BYTES as u64) < JOURNAL_LEAST_BYTES / 16 / 4);

/// A broker that is silent for so long is asked for a sign of life, and given up after as long again.
pub const BROKER_KEEP_ALIVE_S: u16 = 30;
/// How long a connection to a broker may take, and its TLS.
pub const BROKER_CONNECT: Duration = Duration::from_secs(10);
/// The first wait before a broker is connected to again; each is twice the one before.
pub const BROKER_RETRY: Duration = Duration::from_millis(250);
/// The longest wait.
pub const BROKER_RETRY_MOST: Duration = Duration::from_secs(30);
/// How long a broker is to keep what comes while the hub is away, where nothing is said.
pub const BROKER_SESSION_EXPIRY_S: u32 = 7 * 86_400;
/// Topic filters of a broker: one SUBSCRIBE.
pub const BROKER_FILTERS: usize = 64;

/// The limits of MQTT sessions.
#[must_use]
pub fn mqtt() -> octroi_mqtt::Limits {
    octroi_mqtt::Limits::default()
}

/// `name value` lines for `octroi config show`.
#[must_use]
pub fn table() -> Vec<(&'static str, String)> {
    vec![
        ("in_flight_bytes", IN_FLIGHT_BYTES.to_string()),
        ("chunk_bytes", CHUNK_BYTES.to_string()),
        ("session_chunks", SESSION_CHUNKS.to_string()),
        ("strangers", STRANGERS.to_string()),
        ("handshake_s", HANDSHAKE.as_secs().to_string()),
        ("quota_burst_s", QUOTA_BURST.as_secs().to_string()),
        ("ack_grace_s", ACK_GRACE.as_secs().to_string()),
        ("refusals_per_minute", REFUSALS_PER_MINUTE.to_string()),
        ("relay_read_bytes", RELAY_READ_BYTES.to_string()),
        ("targets", TARGETS.to_string()),
        ("drain_s", DRAIN.as_secs().to_string()),
        ("segment_bytes", SEGMENT_BYTES.to_string()),
        ("journal_least_bytes", JOURNAL_LEAST_BYTES.to_string()),
        ("sessions", SESSIONS.to_string()),
        ("policy_bytes", POLICY_BYTES.to_string()),
        ("aggregate_groups", AGGREGATE.groups.to_string()),
        ("aggregate_devices", AGGREGATE.devices.to_string()),
        ("aggregate_lateness_s", AGGREGATE_LATENESS.as_secs().to_string()),
    ]
}
