//! The policy as written: one type per block, keys as in the files. No meaning
//! here beyond types; `deny_unknown_fields` everywhere, so that a misspelt
//! protection is an error and never an absent one.
//!
//! The JSON Schema that editors use is generated from these types: what is
//! written above a key here is what an editor shows.

mod classify;
mod duties;
mod hosting;
mod proofs;
mod region;
mod source;

use std::collections::BTreeMap;
use std::ops::Deref;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Location;

pub use classify::*;
pub use duties::*;
pub use hosting::*;
pub use proofs::*;
pub use region::*;
pub use source::*;

/// One block with where it stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Block<T> {
    /// The keys.
    pub value: T,
    /// The block's header.
    pub at: Location,
    /// Where each dotted key (`when.min_level`, `steps.0.op`, `domains.1`) has its value.
    pub keys: BTreeMap<String, Location>,
}

impl<T> Deref for Block<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Block<T> {
    /// Where that key's value stands, else the block.
    #[must_use]
    pub fn at_key(&self, dotted: &str) -> Location {
        self.keys.get(dotted).unwrap_or(&self.at).clone()
    }
}

/// A whole policy: every block of its files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    /// `[policy]`
    pub policy: Block<PolicyMeta>,
    /// `[defaults]`
    pub defaults: Block<Defaults>,
    /// `[[acknowledge]]`
    pub acknowledge: Vec<Block<Acknowledge>>,
    /// `[[producer]]`
    pub producer: Vec<Block<Producer>>,
    /// `[[perimeter]]`
    pub perimeter: Vec<Block<Perimeter>>,
    /// `[[domain]]`
    pub domain: Vec<Block<Domain>>,
    /// `[[target]]`
    pub target: Vec<Block<Target>>,
    /// `[[space]]`
    pub space: Vec<Block<Space>>,
    /// `[[source]]`
    pub source: Vec<Block<Source>>,
    /// `[[processing]]`
    pub processing: Vec<Block<Processing>>,
    /// `[[classify]]`
    pub classify: Vec<Block<Classify>>,
    /// `[[requirement]]`
    pub requirement: Vec<Block<Requirement>>,
    /// `[[transform]]`
    pub transform: Vec<Block<Transform>>,
    /// `[[copy]]`
    pub copy: Vec<Block<Copy>>,
    /// `[[derogation]]`
    pub derogation: Vec<Block<Derogation>>,
    /// `[[invariant]]`
    pub invariant: Vec<Block<Invariant>>,
    /// `[[test]]`
    pub test: Vec<Block<Test>>,
    /// Blocks with faults of their own: nothing of them stands above, but what
    /// names them is no undefined reference.
    pub unread: Vec<Unread>,
}

impl Document {
    /// The same without where anything stands: equal for two texts that mean the same.
    #[must_use]
    pub fn placeless(&self) -> Self {
        let mut document = self.clone();
        document.each_place(|at, keys| {
            *at = Location::default();
            keys.clear();
        });
        document
    }

    /// Every block's place, and those of its keys.
    pub(crate) fn each_place(&mut self, change: fn(&mut Location, &mut BTreeMap<String, Location>)) {
        macro_rules! each {
            ($($kind:ident)*) => {
                $(self.$kind.iter_mut().for_each(|block| change(&mut block.at, &mut block.keys));)*
            };
        }
        change(&mut self.policy.at, &mut self.policy.keys);
        change(&mut self.defaults.at, &mut self.defaults.keys);
        each!(acknowledge producer perimeter domain target space source processing classify);
        each!(requirement transform copy derogation invariant test);
    }
}

/// A block that could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// `target`, `space`, …, or [`Unread::UNKNOWN`].
    pub block: &'static str,
    /// Its `id` (of a producer, its `siren`), where that much could be read.
    pub id: Option<String>,
}

impl Unread {
    /// Of a block whose header could not be read.
    pub const UNKNOWN: &'static str = "?";
}

/// One value or a list of them: any of them will do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// `"a"`
    One(T),
    /// `["a", "b"]`
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    /// All of them.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

impl<T> AsRef<[T]> for OneOrMany<T> {
    fn as_ref(&self) -> &[T] {
        self.as_slice()
    }
}
