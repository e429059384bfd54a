//! A compiled policy, and how it decides one message: authenticate, decode,
//! locate, classify, place, copy. The order is fixed.
//!
//! It reads no clock and no file; it does not log. It does not judge a policy
//! either: that is `prove.rs` and the checks.
//!
//! INVARIANT: total. Every doubt is an outcome that keeps the message in the
//! region, and a label can only rise on the way.

pub(crate) mod compile;
pub(crate) mod condition;
mod index;
pub(crate) mod info;
mod keys;
pub(crate) mod memo;
mod template;
mod topics;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

use crate::ast::{Document, Format};
use crate::cog::{Cog, CommuneIx, CommuneSet};
use crate::engine::condition::{Program, Sight, Span, View};
use crate::engine::index::Index;
use crate::engine::info::{CopyInfo, DomainInfo, RuleInfo, SourceInfo, SpaceInfo, TargetInfo};
use crate::engine::keys::{Keys, Of, Seen};
use crate::engine::memo::{Apparent, KnownWay, Memo, PolicyId, Standing};
use crate::engine::template::Template;
use crate::engine::topics::Topics;
use crate::json::NodesId;
use crate::place::{CopyRule, Duties, Lifted, Obstacle, Refusal, Way};
use crate::scratch::Scratch;
use crate::{
    CopyIx, Date, Decision, DomainIx, Facts, Finding, Input, Kind, Label, Level, Marking, Markings, Outcome,
    ReadError, Reason, Scalar, SourceIx, SpaceIx, TargetIx,
};

/// The blake3 hash of a policy's files: its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyHash(pub [u8; 32]);

impl PolicyHash {
    /// All 64 hex digits.
    #[must_use]
    pub fn full(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for PolicyHash {
    /// The first 16 hex digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(8).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A compiled policy.
#[derive(Debug)]
pub struct Policy {
    pub(crate) document: Document,
    pub(crate) cog: &'static Cog,
    hash: PolicyHash,
    identity: PolicyId,
    source_infos: Vec<SourceInfo>,
    target_infos: Vec<TargetInfo>,
    space_infos: Vec<SpaceInfo>,
    copy_infos: Vec<CopyInfo>,
    domain_infos: Vec<DomainInfo>,
    rule_infos: Vec<RuleInfo>,
    by_identity: BTreeMap<String, Option<SourceIx>>,
    pub(crate) gates: Vec<Gate>,
    keys: Keys,
    topics: Topics,
    pub(crate) program: Program,
    pub(crate) rules: Vec<Rule>,
    index: Index,
    /// The key of a commune that a rule names.
    by_commune: HashMap<usize, u32>,
    /// By domain: the markings it adds.
    pub(crate) essential: Vec<Markings>,
    /// By domain, by scale in order of preference.
    pub(crate) places: Vec<Vec<Vec<(SpaceIx, CommuneSet)>>>,
    /// By target.
    pub(crate) duties: Vec<Duties>,
    pub(crate) lifted: Vec<Lifted>,
    pub(crate) copy_rules: Vec<(CopyRule, Span)>,
    /// By domain: the copies that concern it.
    pub(crate) copies_of: Vec<Vec<u16>>,
    boundaries: Vec<Date>,
}

/// What a source's identity binds.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) topics: Topics,
    pub(crate) format: Format,
    pub(crate) domains: Vec<(String, DomainIx)>,
    domain_from: Option<From>,
    pub(crate) commune: Option<CommuneIx>,
    pub(crate) commune_from: Option<From>,
    device_from: Option<DeviceFrom>,
    pub(crate) perimeter: CommuneSet,
    /// Its own and its producer's.
    pub(crate) floor: Level,
    expires: Option<Date>,
}

/// Where a sender writes a commune or a domain.
#[derive(Debug)]
pub(crate) enum From {
    Tag(String),
    Topic(usize),
}

#[derive(Debug)]
pub(crate) enum DeviceFrom {
    Field(String),
    Topic(usize),
}

#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) condition: Span,
    pub(crate) gives: Gives,
}

/// What a rule gives.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Gives {
    Label(Label),
    /// The sender's own word as level, and these markings: only beside a rule
    /// that gives a label, for a declaration can only raise.
    Declared(Markings),
}

/// The place a label has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed {
    pub(crate) space: SpaceIx,
    pub(crate) target: TargetIx,
    /// What a date puts in the way today.
    pub(crate) today: Option<Obstacle>,
}

impl Policy {
    /// Compiles a document that has passed the structural checks.
    ///
    /// # Errors
    ///
    /// Everything that does not resolve, each with its place.
    pub fn compile(document: &Document, hash: [u8; 32]) -> Result<Self, Vec<Finding>> {
        compile::compile(document, hash)
    }

    /// `[policy] id`
    #[must_use]
    pub fn id(&self) -> &str {
        &self.document.policy.id
    }

    /// `[policy] version`
    #[must_use]
    pub fn version(&self) -> &str {
        &self.document.policy.version
    }

    /// `[policy] title`
    #[must_use]
    pub fn title(&self) -> &str {
        &self.document.policy.title
    }

    /// The hash it was compiled with.
    #[must_use]
    pub const fn hash(&self) -> PolicyHash {
        self.hash
    }

    /// What it was compiled from.
    #[must_use]
    pub const fn document(&self) -> &Document {
        &self.document
    }

    /// The official geographic code it counts by.
    #[must_use]
    pub const fn cog(&self) -> &'static Cog {
        self.cog
    }

    /// The source of an identity (`user:x`, `cert:CN=x`, `cert:URI=x`). An
    /// identity that two sources claim names neither.
    #[must_use]
    pub fn source(&self, identity: &str) -> Option<SourceIx> {
        self.by_identity.get(identity).copied().flatten()
    }

    /// The sources, by [`SourceIx`].
    #[must_use]
    pub fn sources(&self) -> &[SourceInfo] {
        &self.source_infos
    }

    /// The targets, by [`TargetIx`].
    #[must_use]
    pub fn targets(&self) -> &[TargetInfo] {
        &self.target_infos
    }

    /// The spaces, by [`SpaceIx`].
    #[must_use]
    pub fn spaces(&self) -> &[SpaceInfo] {
        &self.space_infos
    }

    /// The copies, by [`CopyIx`].
    #[must_use]
    pub fn copies(&self) -> &[CopyInfo] {
        &self.copy_infos
    }

    /// The domains, by [`DomainIx`].
    #[must_use]
    pub fn domains(&self) -> &[DomainInfo] {
        &self.domain_infos
    }

    /// The classification rules, by [`crate::RuleIx`].
    #[must_use]
    pub fn rules(&self) -> &[RuleInfo] {
        &self.rule_infos
    }

    /// The label with which a copy leaves, of a message with that label: its transform's effect, where the
    /// transform may be applied; else the label itself. Whether it may leave is [`Policy::decide`]'s to say.
    #[must_use]
    pub fn copy_label(&self, copy: CopyIx, label: Label) -> Label {
        let rule = self.copy_rules.get(copy.index());
        let effect = rule.and_then(|(rule, _)| rule.effect.as_ref());
        effect.and_then(|effect| effect.on(label, None).ok()).unwrap_or(label)
    }

    /// The label with which what a copy makes of messages with that label together may leave on that day;
    /// `None`: it may not. Lifted duties are left aside: they are a source's or a space's, never a mixture's.
    #[must_use]
    pub fn admit_aggregate(&self, copy: CopyIx, label: Label, on: Date) -> Option<Label> {
        let (rule, _) = self.copy_rules.get(copy.index())?;
        let target = self.copies().get(copy.index())?.to;
        rule.admit(label, self.duties.get(target.index())?, None, Some(on), &[]).ok()
    }

    /// The days on which a decision may change though the policy does not:
    /// the day after each expiry, the first day of each requirement. Sorted.
    #[must_use]
    pub fn boundaries(&self) -> &[Date] {
        &self.boundaries
    }

    /// The first day of the epoch that day lies in: within it, the same
    /// message gets the same decision.
    #[must_use]
    pub fn epoch_of(&self, date: Date) -> Date {
        let begun = self.boundaries.partition_point(|boundary| *boundary <= date);
        begun.checked_sub(1).and_then(|last| self.boundaries.get(last)).copied().unwrap_or(Date(i32::MIN))
    }

    /// Decides one message. Total.
    #[must_use]
    pub fn decide<'a>(&self, input: &Input<'a>) -> Decision<'a> {
        self.decide_with(input, &mut Scratch::default())
    }

    /// [`Self::decide`], with memory that the caller keeps from one message to the next.
    #[must_use]
    pub fn decide_with<'a>(&self, input: &Input<'a>, scratch: &mut Scratch) -> Decision<'a> {
        scratch.memo.turn_to(&self.identity, input.source);
        let gate = match self.admit_with(input, &mut scratch.memo) {
            Ok(gate) => gate,
            Err(reason) => return Decision::doubt(Outcome::Refused(reason)),
        };
        if let Some(decision) = scratch.memo.fill(input) {
            return decision;
        }
        match crate::read_with(gate.format, input.topic, input.payload, scratch) {
            Ok(mut facts) => {
                let nodes = scratch.learned.nodes();
                let decision = self.judge(gate, input, &mut facts, nodes, &mut scratch.memo);
                if nodes.is_some() {
                    scratch.memo.learn(|standing| {
                        Template::learn(gate, &self.program, standing, input, &facts, &decision)
                    });
                }
                decision
            }
            Err(error) => Decision::doubt(Outcome::Quarantined(reason_of(&error))),
        }
    }

    /// Decides one message whose facts are known: for tests in the abstract.
    #[must_use]
    pub fn decide_facts<'a>(&self, input: &Input<'a>, mut facts: Facts<'a>) -> Decision<'a> {
        let mut memo = Memo::default();
        match self.admit_with(input, &mut memo) {
            Ok(gate) => self.judge(gate, input, &mut facts, None, &mut memo),
            Err(reason) => Decision::doubt(Outcome::Refused(reason)),
        }
    }

    /// Steps 3 to 6. `nodes`: which nodes the facts have, where that is known.
    fn judge<'a>(
        &self,
        gate: &Gate,
        input: &Input<'a>,
        facts: &mut Facts<'a>,
        nodes: Option<NodesId>,
        memo: &mut Memo,
    ) -> Decision<'a> {
        let mut decision = Decision::doubt(Outcome::Refused(Reason::Command));
        decision.kind = facts.kind;
        decision.time = facts.time;
        decision.device = gate.device(input, facts);
        if facts.kind == Kind::Command {
            decision.label.markings = [Marking::Command].into_iter().collect();
            return decision;
        }
        let (commune, domain) = match self.locate(gate, input, facts, &mut decision) {
            Ok(located) => located,
            Err(reason) => {
                decision.outcome = Outcome::Quarantined(reason);
                return decision;
            }
        };
        memo.topic_words();
        self.words(input, facts, &mut memo.words);
        // Names beside the keys can come from values.
        let nodes = nodes.filter(|_| facts.names.is_empty());
        let apparent = Apparent { commune, domain, declared: declared(input, facts), nodes };
        let stands = memo.stands(&apparent);
        let standing = match &mut memo.standing {
            Some(standing) if stands => standing,
            slot => slot.insert(self.stand(gate, input, facts, apparent, &memo.words)),
        };
        let view = View { facts, payload: input.payload.len() as u64, sight: &standing.sight };
        let mut given = standing.given;
        for (rest, gives) in &standing.rules {
            if self.program.holds(*rest, &view, true) {
                given.add(*gives, apparent.declared);
            }
        }
        let Some(label) = given.label() else {
            decision.outcome = Outcome::Quarantined(Reason::NoRuleMatches);
            return decision;
        };
        decision.label = label;
        if label.markings.contains(Marking::Command) {
            return decision;
        }
        let today = input.received.date();
        let way = match &mut standing.way {
            Some(way) if (way.label, way.today) == (label, today) => way,
            slot => slot.insert(self.way(input, apparent, &view, label, today)),
        };
        decision.outcome = match way.placed {
            Some(Placed { space, today: None, .. }) => {
                let going = way.copies.iter().filter(|(_, rest)| self.program.holds(*rest, &view, false));
                Outcome::Routed { space, copies: going.map(|(copy, _)| *copy).collect() }
            }
            placed => Outcome::Held {
                reason: Reason::NoAllowedTarget,
                space: placed.map(|placed| placed.space),
                target: placed.map(|placed| placed.target),
            },
        };
        decision
    }

    /// Step 1: the source may publish, and there.
    pub(crate) fn admit(&self, input: &Input<'_>) -> Result<&Gate, Reason> {
        self.admit_with(input, &mut Memo::default())
    }

    fn admit_with(&self, input: &Input<'_>, memo: &mut Memo) -> Result<&Gate, Reason> {
        let gate = self.gates.get(input.source.index()).ok_or(Reason::UnknownSource)?;
        // `expires` is the last day, like every day of a policy.
        if gate.expires.is_some_and(|last| input.received.date() > last) {
            return Err(Reason::UnknownSource);
        }
        let topic = memo.topic(input.topic, |known| {
            known.allowed = false;
            gate.topics.matches(input.topic, &mut |_| known.allowed = true);
            self.topics.matches(input.topic, &mut |key| known.keys.push(key));
        });
        if topic.allowed { Ok(gate) } else { Err(Reason::TopicNotAllowed) }
    }

    /// Step 3: where it comes from, and of what domain; both go into the decision as they are found.
    pub(crate) fn locate(
        &self,
        gate: &Gate,
        input: &Input<'_>,
        facts: &Facts<'_>,
        decision: &mut Decision<'_>,
    ) -> Result<(CommuneIx, DomainIx), Reason> {
        let written = || gate.commune_from.as_ref()?.read(input.topic, facts);
        let commune =
            gate.commune.or_else(|| self.cog.commune(written()?)).ok_or(Reason::UnknownTerritory)?;
        decision.commune = Some(commune);
        if !gate.perimeter.contains(commune) {
            return Err(Reason::OutsidePerimeter);
        }
        let domain = gate.domain(input.topic, facts).ok_or(Reason::DomainNotAllowed)?;
        decision.domain = Some(domain);
        Ok((commune, domain))
    }

    /// The keys of types, measures, tags and user properties.
    pub(crate) fn words(&self, input: &Input<'_>, facts: &Facts<'_>, words: &mut Vec<u32>) {
        for (of, names) in [(Of::Type, &facts.types), (Of::Measure, &facts.measures)] {
            words.extend(names.iter().filter_map(|name| self.keys.find_name(of, name)));
        }
        if self.keys.has_tags() {
            let pairs = facts.tags.iter();
            words.extend(pairs.filter_map(|(name, value)| self.keys.find_pair(Of::Tag, name, value)));
        }
        if self.keys.has_properties() {
            let pairs = input.user_properties.iter();
            words
                .extend(pairs.filter_map(|(name, value)| self.keys.find_pair(Of::UserProperty, name, value)));
        }
    }

    /// Everything that conditions look for, seen or not; `words` with those of the topic.
    fn sight(&self, gate: &Gate, source: SourceIx, facts: &Facts<'_>, of: Apparent, words: &[u32]) -> Sight {
        let mut seen = Seen::new(self.keys.len());
        let (mut places, mut placeless) = (Vec::new(), Vec::new());
        words.iter().for_each(|key| seen.insert(*key));
        self.by_commune.get(&of.commune.index()).into_iter().for_each(|key| seen.insert(*key));
        for (node, key) in (0_u32..).zip(&facts.nodes) {
            self.keys.find_runs(facts, key, &mut |key| {
                seen.insert(key);
                if self.keys.is_located(key) {
                    places.push((node, key));
                }
            });
        }
        for name in &facts.names {
            if let Some(key) = self.keys.find_name(Of::Field, name) {
                seen.insert(key);
                placeless.push(key);
            }
        }
        Sight {
            source: u32::from(source.0),
            domain: u32::from(of.domain.0),
            format: gate.format,
            commune: of.commune,
            declared: of.declared.is_some(),
            seen,
            places,
            placeless,
            listings: Vec::new(),
        }
    }

    /// [`Self::sight`] of one message by itself.
    pub(crate) fn sight_of(
        &self,
        gate: &Gate,
        input: &Input<'_>,
        facts: &Facts<'_>,
        commune: CommuneIx,
        domain: DomainIx,
    ) -> Sight {
        let mut words = Vec::new();
        self.topics.matches(input.topic, &mut |key| words.push(key));
        self.words(input, facts, &mut words);
        let apparent = Apparent { commune, domain, declared: declared(input, facts), nodes: None };
        self.sight(gate, input.source, facts, apparent, &words)
    }

    /// Whether the message has a field of a name that a condition lists.
    pub(crate) fn sees_field(&self, name: &str, view: &View<'_, '_>) -> bool {
        self.keys.find_name(Of::Field, name).is_some_and(|key| view.sight.seen.contains(key))
    }

    /// Step 4 without values: the join of every rule that holds and the floors, and the rules left.
    fn stand(
        &self,
        gate: &Gate,
        input: &Input<'_>,
        facts: &Facts<'_>,
        of: Apparent,
        words: &[u32],
    ) -> Standing {
        let sight = self.sight(gate, input.source, facts, of, words);
        let mut standing = Standing::new(of, words, sight, self.floor(gate, of.domain));
        let sight = &standing.sight;
        let view = View { facts, payload: input.payload.len() as u64, sight };
        self.index.candidates(sight.source, sight.domain, &sight.seen, |rule| {
            let Some(rule) = self.rules.get(usize::from(rule)) else { return };
            match self.program.settle(rule.condition, &view) {
                Some(Span { len: 0, .. }) => standing.given.add(rule.gives, of.declared),
                Some(rest) => standing.rules.push((rest, rule.gives)),
                None => {}
            }
        });
        if of.nodes.is_some() {
            let listings = standing.rules.iter().flat_map(|(rest, _)| self.program.listings(*rest, facts));
            standing.sight.listings = listings.collect();
        }
        standing
    }

    /// What source, producer and domain give whatever the message says.
    pub(crate) fn floor(&self, gate: &Gate, domain: DomainIx) -> Label {
        Label { level: gate.floor, markings: self.essential.get(domain.index()).copied().unwrap_or_default() }
    }

    /// Step 5: the place, and what a date puts in the way.
    pub(crate) fn place(
        &self,
        source: SourceIx,
        domain: DomainIx,
        commune: CommuneIx,
        label: Label,
        today: Date,
    ) -> Option<Placed> {
        let (space, target) = self.may_place(Some(source), domain, commune, label)?;
        let way = Way { source: Some(source), space: Some(space), transformed: false };
        let today = self.duties.get(target.index())?.obstacle(label, way, Some(today), &self.lifted);
        Some(Placed { space, target, today })
    }

    /// The first scale whose one space may be the place, dates left aside; `source` as in [`Way`].
    pub(crate) fn may_place(
        &self,
        source: Option<SourceIx>,
        domain: DomainIx,
        commune: CommuneIx,
        label: Label,
    ) -> Option<(SpaceIx, TargetIx)> {
        self.places.get(domain.index())?.iter().find_map(|scale| {
            let (space, target) = self.at_scale(scale, commune)?;
            let way = Way { source, space: Some(space), transformed: false };
            let obstacle = self.duties.get(target.index())?.obstacle(label, way, None, &self.lifted);
            obstacle.is_none().then_some((space, target))
        })
    }

    /// The one space of a scale which covers the commune; two are none (C06).
    pub(crate) fn at_scale(
        &self,
        scale: &[(SpaceIx, CommuneSet)],
        commune: CommuneIx,
    ) -> Option<(SpaceIx, TargetIx)> {
        let mut covering = scale.iter().filter(|(_, perimeter)| perimeter.contains(commune));
        let (space, _) = covering.next()?;
        let alone = covering.next().is_none();
        let target = self.space_infos.get(space.index())?.target;
        alone.then_some((*space, target))
    }

    /// Steps 5 and 6 without values: the place, and the copies that may go if what is left of their `when` holds.
    fn way(
        &self,
        input: &Input<'_>,
        of: Apparent,
        view: &View<'_, '_>,
        label: Label,
        today: Date,
    ) -> KnownWay {
        let concerned = self.copies_of.get(of.domain.index()).into_iter().flatten();
        let copies = concerned.filter_map(|copy| {
            let (copy, when) = self.copy_rules.get(usize::from(*copy))?;
            let rest = self.program.settle(*when, view)?;
            self.admit_copy(copy, input.source, label, today).is_ok().then_some((copy.copy, rest))
        });
        KnownWay {
            label,
            today,
            placed: self.place(input.source, of.domain, of.commune, label, today),
            copies: copies.collect(),
        }
    }

    /// The copies of a domain whose `when` holds.
    pub(crate) fn applying(&self, domain: DomainIx, view: &View<'_, '_>) -> impl Iterator<Item = &CopyRule> {
        let concerned = self.copies_of.get(domain.index()).into_iter().flatten();
        let copies = concerned.filter_map(|copy| self.copy_rules.get(usize::from(*copy)));
        copies.filter(|(_, when)| self.program.holds(*when, view, false)).map(|(copy, _)| copy)
    }

    pub(crate) fn admit_copy(
        &self,
        copy: &CopyRule,
        source: SourceIx,
        label: Label,
        today: Date,
    ) -> Result<Label, (Label, Refusal)> {
        let to = self.copy_infos.get(copy.copy.index()).map(|info| info.to.index());
        match to.and_then(|to| self.duties.get(to)) {
            Some(duties) => copy.admit(label, duties, Some(source), Some(today), &self.lifted),
            None => Err((label, Refusal::CopyLevel)),
        }
    }
}

pub(crate) const fn reason_of(error: &ReadError) -> Reason {
    match error {
        ReadError::Ambiguous(_) => Reason::AmbiguousPayload,
        ReadError::CannotDecode { .. } => Reason::CannotDecode,
    }
}

/// The sender's own word, the strictest of all it says; a word that is no level is `restricted`.
pub(crate) fn declared(input: &Input<'_>, facts: &Facts<'_>) -> Option<Level> {
    let properties = input.user_properties.iter().filter(|(name, _)| *name == "sensitivity");
    let words = properties.map(|(_, word)| *word).chain(facts.declared.as_deref());
    words.map(|word| Level::from_name(word).unwrap_or(Level::Restricted)).max()
}

impl Gate {
    /// The domain that the sender names, if it is one of the source's; else the only one.
    fn domain(&self, topic: &str, facts: &Facts<'_>) -> Option<DomainIx> {
        match self.domain_from.as_ref().and_then(|from| from.read(topic, facts)) {
            Some(written) => self.domains.iter().find(|(id, _)| id == written).map(|(_, domain)| *domain),
            None => match self.domains.as_slice() {
                [(_, only)] => Some(*only),
                _ => None,
            },
        }
    }

    pub(crate) fn device<'a>(&self, input: &Input<'a>, facts: &mut Facts<'a>) -> Option<Cow<'a, str>> {
        let named = match &self.device_from {
            Some(DeviceFrom::Topic(level)) => input.topic.split('/').nth(*level).map(Cow::Borrowed),
            Some(DeviceFrom::Field(path)) => facts.find(path).and_then(|leaf| match &leaf.value {
                Scalar::Text(text) => Some(text.clone()),
                Scalar::Number(_, text) => Some(Cow::Borrowed(*text)),
                Scalar::Empty | Scalar::Boolean(_) => None,
            }),
            None => None,
        };
        let named = named.filter(|device| !device.is_empty());
        named.or_else(|| facts.device.take())
    }
}

impl From {
    /// What is written there; two tags of one name that differ say nothing.
    fn read<'f>(&self, topic: &'f str, facts: &'f Facts<'_>) -> Option<&'f str> {
        match self {
            Self::Topic(level) => topic.split('/').nth(*level),
            Self::Tag(name) => {
                let mut values = facts.tags.iter().filter(|(key, _)| key == name).map(|(_, value)| value);
                let value = values.next()?;
                values.all(|other| other == value).then_some(value.as_ref())
            }
        }
    }
}
