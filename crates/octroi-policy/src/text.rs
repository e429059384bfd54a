//! The two languages, and a sentence in both.

use serde::{Deserialize, Serialize};

/// A language that operators read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lang {
    /// Français.
    #[default]
    Fr,
    /// English.
    En,
}

impl Lang {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Fr, Self::En];

    /// BCP 47.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Fr => "fr",
            Self::En => "en",
        }
    }

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Fr => Self::En,
            Self::En => Self::Fr,
        }
    }

    /// Of a tag like `fr`, `fr-FR` or `en_US.UTF-8`.
    #[must_use]
    pub fn from_tag(tag: &str) -> Option<Self> {
        let primary = tag.trim().split(['-', '_', '.']).next().unwrap_or_default();
        Self::ALL.into_iter().find(|lang| lang.tag().eq_ignore_ascii_case(primary))
    }

    /// ` :` or `:`
    pub(crate) const fn colon(self) -> &'static str {
        self.pick(" :", ":")
    }

    pub(crate) const fn pick(self, fr: &'static str, en: &'static str) -> &'static str {
        match self {
            Self::Fr => fr,
            Self::En => en,
        }
    }
}

/// One sentence in each language that operators read.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Text {
    /// English.
    pub en: String,
    /// French.
    pub fr: String,
}

impl Text {
    /// The sentence in that language.
    #[must_use]
    pub fn of(&self, lang: Lang) -> &str {
        match lang {
            Lang::En => &self.en,
            Lang::Fr => &self.fr,
        }
    }

    /// Whether there is nothing to read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.en.is_empty() && self.fr.is_empty()
    }

    /// One text after another, in each language, with its own word between.
    pub fn join(parts: &[Self], en: &str, fr: &str) -> Self {
        let all = |lang: Lang, between: &str| {
            parts.iter().map(|part| part.of(lang)).collect::<Vec<_>>().join(between)
        };
        Self { en: all(Lang::En, en), fr: all(Lang::Fr, fr) }
    }
}

/// `text!("{n} rules", "{n} règles")`: names in braces are those of the place.
#[macro_export]
macro_rules! text {
    ($en:literal, $fr:literal $(, $name:ident = $value:expr)* $(,)?) => {
        $crate::Text {
            en: format!($en $(, $name = $value)*),
            fr: format!($fr $(, $name = $value)*),
        }
    };
}
pub(crate) use text;
