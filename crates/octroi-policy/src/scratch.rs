//! What the caller keeps from one message to the next: memory, and what the
//! messages before have taught. Most senders repeat themselves, key for key.
//!
//! INVARIANT: what is kept changes the time that a message takes and nothing
//! else. Each piece names all that it depends on, and is used for that alone.

use crate::engine::memo::Memo;
use crate::json::Learned;

/// What the reader needs beside the facts; reusable from one message to the
/// next, whatever the source and the policy.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The keys of the objects that are open: hash above, node below.
    pub(crate) keys: Vec<u64>,
    /// Where the key of each node stands.
    pub(crate) offsets: Vec<u32>,
    /// The first node of the object that each node stands in.
    pub(crate) objects: Vec<u32>,
    /// The first node of each element, if the payload is an array (an element
    /// without keys: the node after it).
    pub(crate) elements: Vec<u32>,
    /// Whether a key of the payload just read holds `.`, `/`, `:` or a
    /// character that is not ASCII.
    pub(crate) odd_keys: bool,
    /// The keys of an earlier payload.
    pub(crate) learned: Learned,
    /// What an earlier decision settled.
    pub(crate) memo: Memo,
}
