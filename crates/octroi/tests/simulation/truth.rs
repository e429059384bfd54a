//! What is true of a message, whatever the hub makes of it: its topic says how
//! sensitive it is, and a table by hand says where it may live. Not a word of
//! it is asked of the policy engine.

use octroi_policy::{Date, SourceFile, Timestamp};

const TEXT: &str = include_str!("policy.toml");

/// The day after which the first target is accredited no more, but for [`Variant::Renewed`].
pub(crate) const LAPSE: &str = "2026-11-30";

/// The policies that take turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Variant {
    /// As the file says.
    AsItIs,
    /// What was open is sensitive.
    Tight,
    /// The first target has lost its accreditation.
    Lapsed,
    /// There is a rule for what was unknown.
    Known,
    /// The first target is accredited for years.
    Renewed,
}

impl Variant {
    pub(crate) const ALL: [Self; 5] = [Self::AsItIs, Self::Tight, Self::Lapsed, Self::Known, Self::Renewed];

    pub(crate) fn files(self) -> Vec<SourceFile> {
        const OPEN: &str = "when = { topic = \"ville/ouvert/+\" }\nlevel = \"open\"";
        const RULE: &str = "[[classify]]\nid = \"ouvert\"";
        let (from, to) = match self {
            Self::AsItIs => (OPEN, OPEN.to_owned()),
            Self::Tight => (OPEN, OPEN.replace("\"open\"", "\"sensitive\"")),
            Self::Lapsed => ("until = 2026-11-30", "until = 2025-11-30".to_owned()),
            Self::Known => (
                RULE,
                format!(
                    "[[classify]]\nid = \"inconnu\"\nwhen = {{ topic = \"ville/inconnu/+\" }}\nlevel = \"internal\"\n\n{RULE}"
                ),
            ),
            Self::Renewed => ("until = 2026-11-30", "until = 2028-11-30".to_owned()),
        };
        assert!(TEXT.contains(from), "{from}");
        vec![SourceFile { name: "policy.toml".into(), text: TEXT.replace(from, &to) }]
    }

    fn accredits_dc(self, now: Timestamp) -> bool {
        match self {
            Self::Renewed => true,
            Self::Lapsed => false,
            Self::AsItIs | Self::Tight | Self::Known => now.date() <= day(LAPSE),
        }
    }
}

fn day(text: &str) -> Date {
    Timestamp::parse_rfc3339(&format!("{text}T12:00:00Z")).unwrap().date()
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Anybody may have it, but for a policy that says otherwise.
    Open,
    /// Accredited targets alone may.
    Sensitive,
    /// No rule is for it, but in one policy.
    Unknown,
    /// On a topic that its source may not use.
    Foreign,
}

impl Class {
    pub(crate) fn topic(self, device: usize) -> String {
        match self {
            Self::Open => format!("ville/ouvert/d{device}"),
            Self::Sensitive => format!("ville/sensible/d{device}"),
            Self::Unknown => format!("ville/inconnu/d{device}"),
            Self::Foreign => format!("campagne/ouvert/d{device}"),
        }
    }

    /// Whether this policy lets that target have it at that time.
    pub(crate) fn may_live_on(self, target: &str, variant: Variant, now: Timestamp) -> bool {
        match (target, self) {
            ("dc", Self::Open) => variant != Variant::Tight || variant.accredits_dc(now),
            ("dc", Self::Sensitive) => variant.accredits_dc(now),
            ("dc", Self::Unknown) => variant == Variant::Known,
            ("cloud", Self::Open) => variant != Variant::Tight,
            _ => false,
        }
    }
}
