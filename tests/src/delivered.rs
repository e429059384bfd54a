//! What a consumer found on a target: one record, whatever carried it.

/// A record on a target. Lists of them keep the target's own order within a place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// The policy's target.
    pub target: String,
    /// Where on it: a Kafka topic; `space/domain` of an archive.
    pub place: String,
    /// The CloudEvents id: `hub/generation/sequence`, or a transformed copy's own.
    pub id: String,
    /// The policy's source id.
    pub source: String,
    /// The MQTT topic, or a transformed copy's.
    pub topic: String,
    /// Level name.
    pub level: String,
    /// Space id, or the copy's id.
    pub space: String,
    /// The policy's version.
    pub policy: String,
    /// The Kafka key; empty in an archive.
    pub key: String,
    /// The payload; base64 where it is no JSON.
    pub payload: String,
}

impl Delivered {
    /// The publisher's message that the payload carries.
    pub fn message(&self) -> Option<u64> {
        crate::load::find_id(self.payload.as_bytes())
    }

    /// The journal's sequence number, where the id tells it.
    pub fn sequence(&self) -> Option<(&str, u64)> {
        let (generation, sequence) = self.id.rsplit_once('/')?;
        Some((generation, sequence.parse().ok()?))
    }
}
