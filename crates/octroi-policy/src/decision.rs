//! What goes into a decision and what comes out of it. Shapes only: who fills
//! them is `engine.rs`.
//!
//! INVARIANT: a decision that doubts (quarantined, refused before a label was
//! found) carries the label `restricted`, never a lower one.

use std::borrow::Cow;
use std::fmt;

use crate::cog::CommuneIx;
use crate::{Kind, Label, Level, Markings, Policy, Timestamp};

macro_rules! indices {
    ($($(#[$doc:meta])* $name:ident;)*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub(crate) u16);

        impl $name {
            /// The place in the policy's list.
            #[must_use]
            pub const fn index(self) -> usize {
                self.0 as usize
            }

            /// The index of that place; `None` beyond what a policy can hold (65,536).
            #[must_use]
            pub fn from_index(index: usize) -> Option<Self> {
                u16::try_from(index).ok().map(Self)
            }
        }
    )* };
}

indices! {
    /// A source of one policy, in the order of its blocks.
    SourceIx;
    /// A domain of one policy, in the order of its blocks.
    DomainIx;
    /// A space of one policy, in the order of its blocks.
    SpaceIx;
    /// A copy of one policy, in the order of its blocks.
    CopyIx;
    /// A target of one policy, in the order of its blocks.
    TargetIx;
    /// A classification rule of one policy, in the order of its blocks.
    RuleIx;
}

/// One message, as the connection and the clock know it.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Who sent it, from the connection's identity.
    pub source: SourceIx,
    /// The topic it was published to.
    pub topic: &'a str,
    /// Its bytes.
    pub payload: &'a [u8],
    /// MQTT 5 user properties, as they came.
    pub user_properties: &'a [(&'a str, &'a str)],
    /// Policy time of arrival.
    pub received: Timestamp,
}

/// What is done with one message, and what it was found to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision<'a> {
    /// Where it goes, or why not.
    pub outcome: Outcome,
    /// Its label; `restricted` where none was found.
    pub label: Label,
    /// The domain, once found.
    pub domain: Option<DomainIx>,
    /// The commune, once found.
    pub commune: Option<CommuneIx>,
    /// The device's identifier.
    pub device: Option<Cow<'a, str>>,
    /// When it was measured, by the payload.
    pub time: Option<Timestamp>,
    /// What kind of message the format says it is.
    pub kind: Kind,
}

/// What is done with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Goes to the primary space, and to these copies.
    Routed {
        /// The primary space.
        space: SpaceIx,
        /// The copies, in the policy's order.
        copies: Vec<CopyIx>,
    },
    /// Kept on the hub's own disk: it was not understood or not expected.
    Quarantined(Reason),
    /// Labelled, but no target may have it today.
    Held {
        /// Why.
        reason: Reason,
        /// The space it waits for, if one would do but for a date.
        space: Option<SpaceIx>,
        /// That space's target.
        target: Option<TargetIx>,
    },
    /// Not taken.
    Refused(Reason),
}

impl Outcome {
    /// `routed`, `quarantined`, `held` or `refused`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Routed { .. } => "routed",
            Self::Quarantined(_) => "quarantined",
            Self::Held { .. } => "held",
            Self::Refused(_) => "refused",
        }
    }

    /// Why the message is not routed.
    #[must_use]
    pub const fn reason(&self) -> Option<Reason> {
        match self {
            Self::Routed { .. } => None,
            Self::Quarantined(reason) | Self::Refused(reason) | Self::Held { reason, .. } => Some(*reason),
        }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
        /// Why a message is not routed. The codes are those of records: they never change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Reason { $($(#[$doc])* $variant,)* }

        impl Reason {
            /// Every reason, in the order of the codes.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable name, as in policies, metrics and records.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

reasons! {
    /// No source of that identity, or one whose time is over.
    UnknownSource = "unknown_source";
    /// The source may not publish there.
    TopicNotAllowed = "topic_not_allowed";
    /// The format cannot read the payload.
    CannotDecode = "cannot_decode";
    /// Two readers could read the payload differently.
    AmbiguousPayload = "ambiguous_payload";
    /// No commune, or one that the official code does not know.
    UnknownTerritory = "unknown_territory";
    /// The commune lies outside the source's perimeter.
    OutsidePerimeter = "outside_perimeter";
    /// No domain, or one that is not the source's.
    DomainNotAllowed = "domain_not_allowed";
    /// No rule gives a label.
    NoRuleMatches = "no_rule_matches";
    /// Labelled, but no target may have it today.
    NoAllowedTarget = "no_allowed_target";
    /// An order to a device.
    Command = "command";
    /// Larger than the hub takes; given by the hub, not here.
    TooLarge = "too_large";
    /// A will of a client that is no longer who it proved to be; given by the hub, not here.
    IdentityLapsed = "identity_lapsed";
}

impl Reason {
    /// The stable code, for records.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The reason of that code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl<'a> Decision<'a> {
    /// A decision without label, for a doubt or a refusal.
    pub(crate) fn doubt(outcome: Outcome) -> Self {
        Decision {
            outcome,
            label: Label { level: Level::Restricted, markings: Markings::EMPTY },
            domain: None,
            commune: None,
            device: None,
            time: None,
            kind: Kind::default(),
        }
    }

    /// The same, borrowing nothing of the message.
    #[must_use]
    pub fn into_owned(self) -> Decision<'static> {
        let Self { outcome, label, domain, commune, device, time, kind } = self;
        let device = device.map(|device| Cow::Owned(device.into_owned()));
        Decision { outcome, label, domain, commune, device, time, kind }
    }

    /// Whether the label is one that rules gave, not the `restricted` of a doubt.
    #[must_use]
    pub const fn is_labelled(&self) -> bool {
        matches!(
            self.outcome,
            Outcome::Routed { .. } | Outcome::Held { .. } | Outcome::Refused(Reason::Command)
        )
    }

    /// The copies it goes to.
    #[must_use]
    pub fn copies(&self) -> &[CopyIx] {
        match &self.outcome {
            Outcome::Routed { copies, .. } => copies,
            Outcome::Quarantined(_) | Outcome::Held { .. } | Outcome::Refused(_) => &[],
        }
    }

    /// The targets it goes to: the primary one, then the copies' (one can come twice).
    pub fn targets<'p>(&'p self, policy: &'p Policy) -> impl Iterator<Item = TargetIx> + use<'p, 'a> {
        let primary = match &self.outcome {
            Outcome::Routed { space, .. } => policy.spaces().get(space.index()).map(|space| space.target),
            Outcome::Quarantined(_) | Outcome::Held { .. } | Outcome::Refused(_) => None,
        };
        let copies = self.copies().iter();
        primary
            .into_iter()
            .chain(copies.filter_map(|copy| policy.copies().get(copy.index()).map(|copy| copy.to)))
    }
}
