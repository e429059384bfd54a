//! Labels: how sensitive a message is. `(level, markings)` with join `(max, ∪)`
//! is a lattice, so the order of rules never matters.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ast::RuleLevel;

/// The sensitivity levels, lowest first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// May be published.
    #[default]
    Open,
    /// For the bodies that share the space.
    Internal,
    /// Concerns an identified or identifiable person.
    Personal,
    /// Sensitive in the sense of the policy (law enforcement, private life, security).
    Sensitive,
    /// Restricted distribution; also how quarantine is treated.
    Restricted,
}

impl Level {
    /// Every level, lowest first.
    pub const ALL: [Self; 5] =
        [Self::Open, Self::Internal, Self::Personal, Self::Sensitive, Self::Restricted];

    /// The stable name, as in policies, metrics and headers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Internal => "internal",
            Self::Personal => "personal",
            Self::Sensitive => "sensitive",
            Self::Restricted => "restricted",
        }
    }

    /// The level of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }
}

impl RuleLevel {
    /// The level, unless the sender's own word is it.
    #[must_use]
    pub const fn fixed(self) -> Option<Level> {
        match self {
            Self::Open => Some(Level::Open),
            Self::Internal => Some(Level::Internal),
            Self::Personal => Some(Level::Personal),
            Self::Sensitive => Some(Level::Sensitive),
            Self::Restricted => Some(Level::Restricted),
            Self::Declared => None,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

macro_rules! markings {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $least:ident;)*) => {
        /// A marking: what kind of sensitivity, beside the level.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum Marking { $($(#[$doc])* $variant,)* }

        impl Marking {
            /// Every marking.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable name, as in policies and headers.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The least level that a rule with this marking may give (C14).
            #[must_use]
            pub const fn least_level(self) -> Level {
                match self { $(Self::$variant => Level::$least,)* }
            }
        }
    };
}

markings! {
    /// About a person.
    Personal = "personal", Personal;
    /// Went through a pseudonymising step.
    Pseudonymised = "pseudonymised", Personal;
    /// Special categories (RGPD art. 9).
    Art9 = "art9", Sensitive;
    /// Offences (RGPD art. 10).
    Offence = "offence", Sensitive;
    /// Health data.
    Health = "health", Sensitive;
    /// Biometric data.
    Biometric = "biometric", Sensitive;
    /// Where somebody went.
    LocationTrace = "location_trace", Personal;
    /// About a minor.
    Minor = "minor", Personal;
    /// Made from video.
    VideoDerived = "video_derived", Open;
    /// Business secret.
    SecretBusiness = "secret_business", Open;
    /// Public security (CRPA L.311-5).
    SecretSecurity = "secret_security", Open;
    /// Private life (CRPA L.311-6).
    SecretPrivacy = "secret_privacy", Open;
    /// Of an essential service.
    EssentialService = "essential_service", Open;
    /// Public archive.
    Archive = "archive", Open;
    /// A command to a device.
    Command = "command", Restricted;
}

impl Marking {
    /// The marking of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|marking| marking.name() == name)
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

impl fmt::Display for Marking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of markings, one bit each in the order of [`Marking::ALL`].
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Markings(u32);

impl Markings {
    /// No marking.
    pub const EMPTY: Self = Self(0);

    /// The set with these bits; unknown bits are kept, so that a newer record is not read as lower.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The bits, for records.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `marking` is in the set.
    #[must_use]
    pub const fn contains(self, marking: Marking) -> bool {
        self.0 & marking.bit() != 0
    }

    /// Whether every marking of the set is in `other`.
    #[must_use]
    pub const fn is_subset(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// The union.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The set without those of `other`.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The markings, in the order of [`Marking::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Marking> {
        Marking::ALL.iter().copied().filter(move |marking| self.contains(*marking))
    }
}

impl FromIterator<Marking> for Markings {
    fn from_iter<I: IntoIterator<Item = Marking>>(markings: I) -> Self {
        Self(markings.into_iter().fold(0, |bits, marking| bits | marking.bit()))
    }
}

impl fmt::Debug for Markings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Marking::name)).finish()
    }
}

impl Serialize for Markings {
    /// Their names, in order.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// How sensitive a message is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Label {
    /// How high.
    pub level: Level,
    /// Of what kind.
    pub markings: Markings,
}

impl Label {
    /// The least label that is at or above both.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        Self { level: self.level.max(other.level), markings: self.markings.union(other.markings) }
    }

    /// Whether `self` is at or above `other` in the lattice.
    #[must_use]
    pub fn dominates(self, other: Self) -> bool {
        self.level >= other.level && other.markings.is_subset(self.markings)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.level.name())?;
        for (n, marking) in self.markings.iter().enumerate() {
            f.write_str(if n == 0 { " (" } else { ", " })?;
            f.write_str(marking.name())?;
        }
        if self.markings.is_empty() { Ok(()) } else { f.write_str(")") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn join_is_idempotent_commutative_and_dominates_both() {
        let a = Label { level: Level::Open, markings: [Marking::Personal].into_iter().collect() };
        let b = Label { level: Level::Sensitive, markings: [Marking::Offence].into_iter().collect() };
        assert_eq!(a.join(b), b.join(a));
        assert_eq!(a.join(a), a);
        assert!(a.join(b).dominates(a) && a.join(b).dominates(b) && !a.dominates(b));
        assert_eq!(a.join(b).to_string(), "sensitive (personal, offence)");
    }

    #[test]
    fn every_name_is_read_back() {
        assert!(Level::ALL.into_iter().all(|level| Level::from_name(level.name()) == Some(level)));
        assert!(Marking::ALL.iter().all(|marking| Marking::from_name(marking.name()) == Some(*marking)));
        assert_eq!(Level::from_name("Open"), None);
    }
}
