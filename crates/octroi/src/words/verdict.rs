//! How things are, in one sentence: what an operator reads first, and on a bad
//! night only.
//!
//! The worst thing wins. "Nothing lost" is said only where the balance and the
//! journal say so: both are looked at before any state that says it.

use super::numbers::{count, duration, per_second, seconds_between};
use super::{Lang, unaccounted};
use crate::status::{BrokerState, BrokerStatus, OutletState, Status, TargetStatus};

/// A target that takes records is late when its oldest waits longer than this.
const LATE_SECONDS: f64 = 300.0;

/// How much the operator should care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Nothing to do.
    Good,
    /// To be watched; the hub copes.
    Watch,
    /// Somebody must act.
    Act,
}

/// How things are; one at a time, the worst.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict<'a> {
    /// Messages that the balance does not explain.
    Unaccounted(i64),
    /// Damage in the journal, fenced.
    Fenced(usize),
    /// The disk's quota is used up.
    JournalFull,
    /// Not accepting messages.
    NotReady,
    /// Targets that refuse what is sent.
    Blocked(Vec<&'a TargetStatus>, Waiting),
    /// Brokers that messages come from no more, because somebody refuses.
    BrokersRefused(Vec<&'a str>),
    /// Brokers that cannot be reached.
    BrokersAway(Vec<&'a str>),
    /// Targets that cannot be reached.
    CutOff(Vec<&'a TargetStatus>, Waiting),
    /// Targets that an operator has paused.
    Paused(Vec<&'a TargetStatus>, Waiting),
    /// Targets that take records, too slowly.
    Late(Vec<&'a TargetStatus>, Waiting),
    /// Ready, and nothing has come yet.
    Fresh,
    /// All is well, at this rate.
    Well(f64),
}

/// What waits for the targets that a verdict is about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Waiting {
    /// Records.
    pub records: u64,
    /// For how long the worst has lasted, if it is known.
    pub seconds: Option<f64>,
}

impl<'a> Verdict<'a> {
    /// Of a status.
    #[must_use]
    pub fn of(status: &'a Status) -> Self {
        let of_state = |wanted: OutletState| -> Vec<&'a TargetStatus> {
            status.targets.iter().filter(|target| target.state == wanted).collect()
        };
        if status.conservation.unaccounted != 0 {
            return Self::Unaccounted(status.conservation.unaccounted);
        }
        if !status.journal.fenced.is_empty() {
            return Self::Fenced(status.journal.fenced.len());
        }
        if status.journal.full {
            return Self::JournalFull;
        }
        if !status.ready {
            return Self::NotReady;
        }
        let blocked = of_state(OutletState::Blocked);
        if !blocked.is_empty() {
            let waiting = Waiting::since(&blocked, &status.now);
            return Self::Blocked(blocked, waiting);
        }
        let brokers = |wanted: BrokerState| -> Vec<&'a str> {
            let of_state = status.brokers.iter().filter(|broker| broker.state == wanted);
            of_state.map(|broker: &BrokerStatus| broker.name.as_str()).collect()
        };
        let refused = brokers(BrokerState::Refused);
        if !refused.is_empty() {
            return Self::BrokersRefused(refused);
        }
        let away = brokers(BrokerState::Down);
        if !away.is_empty() {
            return Self::BrokersAway(away);
        }
        let down = of_state(OutletState::Down);
        if !down.is_empty() {
            let waiting = Waiting::since(&down, &status.now);
            return Self::CutOff(down, waiting);
        }
        let paused = of_state(OutletState::Paused);
        if !paused.is_empty() {
            let waiting = Waiting::since(&paused, &status.now);
            return Self::Paused(paused, waiting);
        }
        let late: Vec<_> =
            status.targets.iter().filter(|target| target.oldest_seconds > LATE_SECONDS).collect();
        if !late.is_empty() {
            let records = late.iter().map(|target| target.pending).sum();
            let oldest = late.iter().map(|target| target.oldest_seconds).fold(0.0, f64::max);
            return Self::Late(late, Waiting { records, seconds: Some(oldest) });
        }
        if status.flows.iter().all(|flow| flow.messages == 0) && status.received_per_second <= 0.0 {
            return Self::Fresh;
        }
        Self::Well(status.received_per_second)
    }

    /// How much to care.
    #[must_use]
    pub const fn tone(&self) -> Tone {
        match self {
            Self::Fresh | Self::Well(_) => Tone::Good,
            Self::NotReady | Self::BrokersAway(_) | Self::CutOff(..) | Self::Paused(..) | Self::Late(..) => {
                Tone::Watch
            }
            Self::Unaccounted(_)
            | Self::Fenced(_)
            | Self::JournalFull
            | Self::Blocked(..)
            | Self::BrokersRefused(_) => Tone::Act,
        }
    }

    /// The sentence.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "every sentence in both languages, side by side")]
    pub fn sentence(&self, lang: Lang) -> String {
        match (self, lang) {
            (Self::Unaccounted(n), Lang::Fr) => format!(
                "{} : le bilan ne tombe pas juste. Gardez le journal tel quel et prévenez l’équipe du hub.",
                unaccounted(lang, *n)
            ),
            (Self::Unaccounted(n), Lang::En) => format!(
                "{}: the balance does not hold. Keep the journal as it is and tell the hub’s team.",
                unaccounted(lang, *n)
            ),
            (Self::Fenced(n), Lang::Fr) => format!(
                "Journal endommagé : {n} {} à part, tous les octets sont conservés. Lancez « octroi journal verify ».",
                if *n == 1 { "plage mise" } else { "plages mises" }
            ),
            (Self::Fenced(n), Lang::En) => format!(
                "The journal is damaged: {n} {} fenced off, every byte kept. Run “octroi journal verify”.",
                if *n == 1 { "range" } else { "ranges" }
            ),
            (Self::JournalFull, Lang::Fr) => {
                "Journal plein : le hub n’accepte plus de message. Rien de ce qui \
                 est acquitté n’est perdu ; les sources gardent le reste."
                    .to_owned()
            }
            (Self::JournalFull, Lang::En) => "The journal is full: the hub accepts no message. Nothing \
                 acknowledged is lost; publishers keep the rest."
                .to_owned(),
            (Self::NotReady, Lang::Fr) => {
                "Le hub n’est pas prêt : il n’accepte pas encore de message.".to_owned()
            }
            (Self::NotReady, Lang::En) => "The hub is not ready: it accepts no message yet.".to_owned(),
            (Self::Blocked(targets, waiting), Lang::Fr) => format!(
                "{} {} ce que le hub envoie{} : il faut agir. Rien n’est perdu, {}.",
                names(lang, targets),
                if targets.len() == 1 { "refuse" } else { "refusent" },
                waiting.lasting(lang),
                waiting.waits(lang)
            ),
            (Self::Blocked(targets, waiting), Lang::En) => format!(
                "{} {} what the hub sends{}: somebody must act. Nothing lost, {}.",
                names(lang, targets),
                if targets.len() == 1 { "refuses" } else { "refuse" },
                waiting.lasting(lang),
                waiting.waits(lang)
            ),
            (Self::BrokersRefused(brokers), Lang::Fr) => format!(
                "Plus rien ne vient du broker {} : il faut agir. Rien d’acquitté n’est perdu.",
                brokers.join(", ")
            ),
            (Self::BrokersRefused(brokers), Lang::En) => format!(
                "Nothing comes from the broker {} any more: somebody must act. Nothing acknowledged is lost.",
                brokers.join(", ")
            ),
            (Self::BrokersAway(brokers), Lang::Fr) => format!(
                "Broker {} : liaison coupée. Rien d’acquitté n’est perdu ; nouvel essai automatique.",
                brokers.join(", ")
            ),
            (Self::BrokersAway(brokers), Lang::En) => format!(
                "Broker {} cut off. Nothing acknowledged is lost; tried again by itself.",
                brokers.join(", ")
            ),
            (Self::CutOff(targets, waiting), Lang::Fr) => format!(
                "{} : {}{}. Rien n’est perdu, {}.",
                names(lang, targets),
                if targets.len() == 1 { "liaison coupée" } else { "liaisons coupées" },
                waiting.lasting(lang),
                waiting.waits(lang)
            ),
            (Self::CutOff(targets, waiting), Lang::En) => format!(
                "{} cut off{}. Nothing lost, {}.",
                names(lang, targets),
                waiting.lasting(lang),
                waiting.waits(lang)
            ),
            (Self::Paused(targets, waiting), Lang::Fr) => format!(
                "{} : livraison suspendue{}. Rien n’est perdu, {} ; reprendre : « octroi outlet resume ».",
                names(lang, targets),
                waiting.lasting(lang),
                waiting.waits(lang)
            ),
            (Self::Paused(targets, waiting), Lang::En) => format!(
                "{} paused{}. Nothing lost, {}; go on with “octroi outlet resume”.",
                names(lang, targets),
                waiting.lasting(lang),
                waiting.waits(lang)
            ),
            (Self::Late(targets, waiting), Lang::Fr) => format!(
                "Retard vers {} : le plus ancien message attend{}. Rien n’est perdu, {}.",
                names(lang, targets),
                waiting.lasting(lang),
                waiting.waits(lang)
            ),
            (Self::Late(targets, waiting), Lang::En) => format!(
                "{} behind: the oldest message has waited{}. Nothing lost, {}.",
                names(lang, targets),
                waiting.lasting(lang),
                waiting.waits(lang)
            ),
            (Self::Fresh, Lang::Fr) => "Le hub est prêt et n’a encore reçu aucun message.".to_owned(),
            (Self::Fresh, Lang::En) => "The hub is ready and has received no message yet.".to_owned(),
            (Self::Well(rate), Lang::Fr) => {
                format!("Tout va bien : {} reçus, toutes les cibles livrées.", per_second(lang, *rate))
            }
            (Self::Well(rate), Lang::En) => {
                format!("All is well: receiving {}, every target delivers.", per_second(lang, *rate))
            }
        }
    }
}

impl Waiting {
    fn since(targets: &[&TargetStatus], now: &str) -> Self {
        let lasted = targets.iter().filter_map(|target| seconds_between(&target.since, now));
        Self {
            records: targets.iter().map(|target| target.pending).sum(),
            seconds: lasted.fold(None, |longest: Option<f64>, s| Some(longest.map_or(s, |l| l.max(s)))),
        }
    }

    /// With a space before it, or nothing.
    fn lasting(&self, lang: Lang) -> String {
        let Some(seconds) = self.seconds else { return String::new() };
        let lasted = duration(lang, seconds);
        match lang {
            Lang::Fr => format!(" depuis {lasted}"),
            Lang::En => format!(" for {lasted}"),
        }
    }

    fn waits(&self, lang: Lang) -> String {
        let n = count(lang, self.records);
        match (lang, self.records) {
            (Lang::Fr, 0) => "rien n’attend".to_owned(),
            (Lang::Fr, 1) => "un message attend".to_owned(),
            (Lang::Fr, _) => format!("{n} messages attendent"),
            (Lang::En, 0) => "nothing waits".to_owned(),
            (Lang::En, 1) => "one message waits".to_owned(),
            (Lang::En, _) => format!("{n} messages wait"),
        }
    }
}

fn names(lang: Lang, targets: &[&TargetStatus]) -> String {
    let and = match lang {
        Lang::Fr => " et ",
        Lang::En => " and ",
    };
    match targets {
        [] => String::new(),
        [one] => one.id.clone(),
        [one, two] => format!("{}{and}{}", one.id, two.id),
        [one, rest @ ..] => match lang {
            Lang::Fr => format!("{} et {} autres cibles", one.id, rest.len()),
            Lang::En => format!("{} and {} other targets", one.id, rest.len()),
        },
    }
}

#[cfg(test)]
mod tests;
