//! What the messages before have settled for the next one: what its topic
//! matches, which rules and copies its names and sender leave standing, and
//! where their label goes. A message that differs in nothing they look at but
//! its values is decided by the values alone.
//!
//! It decides nothing: every answer in it was given by the engine.
//!
//! INVARIANT: an answer is used only for what it was given for. [`Memo`] is
//! emptied when policy or source change, and each part is compared with all
//! else that it depends on.

use std::sync::Arc;

use crate::cog::CommuneIx;
use crate::engine::condition::{Sight, Span};
use crate::engine::template::Template;
use crate::engine::{Gives, Placed};
use crate::json::NodesId;
use crate::{CopyIx, Date, Decision, DomainIx, Input, Label, Level, SourceIx};

/// So many messages in a row must not fit a template before another is made.
const PATIENCE: u32 = 4;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Memo {
    owner: Option<(PolicyId, SourceIx)>,
    topic: Option<KnownTopic>,
    pub(crate) standing: Option<Standing>,
    /// The words of the message at hand.
    pub(crate) words: Vec<u32>,
}

/// One compiled policy and no other, whatever its hash: as long as it is
/// remembered, no other gets its address.
#[derive(Clone, Debug, Default)]
pub(crate) struct PolicyId(Arc<u8>);

impl PartialEq for PolicyId {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// What a topic matches.
#[derive(Debug, Default)]
pub(crate) struct KnownTopic {
    topic: String,
    /// Whether the source may publish there.
    pub(crate) allowed: bool,
    /// The filters of rules.
    pub(crate) keys: Vec<u32>,
}

/// All that rules and copies can see of a message but its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Apparent {
    pub(crate) commune: CommuneIx,
    pub(crate) domain: DomainIx,
    pub(crate) declared: Option<Level>,
    /// `None`: like no other message.
    pub(crate) nodes: Option<NodesId>,
}

/// What stands once all is known but the values.
#[derive(Debug)]
pub(crate) struct Standing {
    apparent: Apparent,
    words: Vec<u32>,
    pub(crate) sight: Sight,
    /// By the floors, and the rules that need no value.
    pub(crate) given: Given,
    /// Rules whose values are still to be looked at: the rest of each condition.
    pub(crate) rules: Vec<(Span, Gives)>,
    pub(crate) way: Option<KnownWay>,
    template: Known,
}

/// Whether messages that look like this one can be decided by their bytes.
#[derive(Debug, Default)]
enum Known {
    #[default]
    Untried,
    /// They cannot.
    Unfit,
    /// By these, but for so many in a row that did not fit.
    As(Box<Template>, u32),
}

/// Where a label goes on a day.
#[derive(Debug)]
pub(crate) struct KnownWay {
    pub(crate) label: Label,
    pub(crate) today: Date,
    pub(crate) placed: Option<Placed>,
    /// The copies that may go, with the rest of their conditions.
    pub(crate) copies: Vec<(CopyIx, Span)>,
}

impl Memo {
    /// Forgets what another policy or source settled.
    pub(crate) fn turn_to(&mut self, policy: &PolicyId, source: SourceIx) {
        let same = self.owner.as_ref().is_some_and(|(owner, of)| owner == policy && *of == source);
        if !same {
            *self = Self { owner: Some((policy.clone(), source)), ..Self::default() };
        }
    }

    /// What the topic matches; `matching` finds it out.
    pub(crate) fn topic(&mut self, topic: &str, matching: impl FnOnce(&mut KnownTopic)) -> &KnownTopic {
        let known = self.topic.get_or_insert_default();
        // No topic is empty [MQTT-4.7.3-1], and an empty one matches nothing.
        if known.topic != topic {
            known.keys.clear();
            known.topic.clear();
            known.topic.push_str(topic);
            matching(known);
        }
        known
    }

    /// The keys that the topic at hand matches.
    pub(crate) fn topic_words(&mut self) {
        self.words.clear();
        self.words.extend(self.topic.iter().flat_map(|known| &known.keys));
    }

    /// The decision on a message that is the template's but for its values.
    pub(crate) fn fill<'a>(&mut self, input: &Input<'a>) -> Option<Decision<'a>> {
        let Known::As(template, misses) = &mut self.standing.as_mut()?.template else { return None };
        let decision = template.fill(input);
        *misses = if decision.is_some() { 0 } else { misses.saturating_add(1) };
        decision
    }

    /// Makes a template of the message just decided, unless there is one, or can be none.
    pub(crate) fn learn(&mut self, template: impl FnOnce(&Standing) -> Option<Template>) {
        let Some(standing) = &mut self.standing else { return };
        let wanted = match &standing.template {
            Known::Untried => true,
            Known::Unfit => false,
            Known::As(_, misses) => *misses > PATIENCE,
        };
        if wanted {
            let learned = template(standing);
            standing.template = learned.map_or(Known::Unfit, |template| Known::As(Box::new(template), 0));
        }
    }

    /// Whether what stands was settled for a message that looks the same.
    pub(crate) fn stands(&self, apparent: &Apparent) -> bool {
        apparent.nodes.is_some()
            && self
                .standing
                .as_ref()
                .is_some_and(|standing| standing.apparent == *apparent && standing.words == self.words)
    }
}

impl Standing {
    /// Before any rule.
    pub(crate) fn new(apparent: Apparent, words: &[u32], sight: Sight, floor: Label) -> Self {
        let given = Given { label: None, raised: floor };
        Self {
            apparent,
            words: words.to_vec(),
            sight,
            given,
            rules: Vec::new(),
            way: None,
            template: Known::Untried,
        }
    }
}

/// What rules give a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given {
    label: Option<Label>,
    raised: Label,
}

impl Given {
    /// By a rule that holds; `declared` is the sender's own word.
    pub(crate) fn add(&mut self, gives: Gives, declared: Option<Level>) {
        match gives {
            Gives::Label(label) => self.label = Some(self.label.unwrap_or_default().join(label)),
            Gives::Declared(markings) => {
                if let Some(level) = declared {
                    self.raised = self.raised.join(Label { level, markings });
                }
            }
        }
    }

    /// `None`: no rule gives a label.
    pub(crate) fn label(self) -> Option<Label> {
        self.label.map(|label| label.join(self.raised))
    }
}
