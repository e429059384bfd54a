//! Which rules a message can match at all. Each rule waits at one place: in
//! the list of its sources if it names any, else in the shared list; there,
//! under the keys of that one of its any-of conditions which the fewest rules
//! ask for, or among those to try always.
//!
//! INVARIANT: a rule whose condition holds is always among the candidates. A
//! candidate can come twice: joining a label twice changes nothing.

use std::collections::BTreeMap;

use crate::engine::condition::{Op, Program, Span};
use crate::engine::keys::Seen;

#[derive(Debug, Default)]
pub(crate) struct Index {
    /// By source.
    own: Vec<Bucket>,
    /// Rules that name no source: by domain, those to try always.
    always: Vec<Vec<u16>>,
    /// By key, a piece of `waiting`.
    by_key: Vec<Span>,
    waiting: Vec<u16>,
}

#[derive(Debug, Default)]
struct Bucket {
    always: Vec<u16>,
    /// Sorted by key.
    waiting: Vec<(u32, u16)>,
}

impl Index {
    /// From the rules' conditions, in the order of the rules.
    pub(crate) fn new(
        program: &Program,
        rules: &[Span],
        sources: usize,
        domains: usize,
        keys: usize,
    ) -> Self {
        let mut popular: BTreeMap<u32, usize> = BTreeMap::new();
        for rule in rules {
            for key in anchors(program, *rule).flatten() {
                *popular.entry(*key).or_default() += 1;
            }
        }
        let crowd = |keys: &&[u32]| -> usize { keys.iter().filter_map(|key| popular.get(key)).sum() };

        let mut index = Self {
            own: (0..sources).map(|_| Bucket::default()).collect(),
            always: vec![Vec::new(); domains],
            ..Self::default()
        };
        let mut shared: BTreeMap<u32, Vec<u16>> = BTreeMap::new();
        for (rule, condition) in (0_u16..).zip(rules) {
            let anchor = anchors(program, *condition).min_by_key(crowd);
            let scope = sources_of(program, *condition);
            let buckets = scope.unwrap_or_default().iter().copied();
            for source in buckets {
                let Some(bucket) = index.own.get_mut(source as usize) else { continue };
                match anchor {
                    Some(keys) => bucket.waiting.extend(keys.iter().map(|key| (*key, rule))),
                    None => bucket.always.push(rule),
                }
            }
            match (scope, anchor) {
                (Some(_), _) => {}
                (None, Some(keys)) => keys.iter().for_each(|key| shared.entry(*key).or_default().push(rule)),
                (None, None) => {
                    let only = domains_of(program, *condition);
                    for (domain, always) in (0_u32..).zip(&mut index.always) {
                        if only.is_none_or(|only| only.contains(&domain)) {
                            always.push(rule);
                        }
                    }
                }
            }
        }
        index.own.iter_mut().for_each(|bucket| bucket.waiting.sort_unstable());
        index.by_key = vec![Span::default(); keys];
        for (key, rules) in shared {
            if let Some(span) = index.by_key.get_mut(key as usize) {
                let start = u32::try_from(index.waiting.len()).unwrap_or(u32::MAX);
                *span = Span { start, len: u32::try_from(rules.len()).unwrap_or(u32::MAX) };
                index.waiting.extend(rules);
            }
        }
        index
    }

    /// Calls `try_rule` with every rule that could match.
    pub(crate) fn candidates(&self, source: u32, domain: u32, seen: &Seen, mut try_rule: impl FnMut(u16)) {
        let own = self.own.get(source as usize);
        let always = self.always.get(domain as usize);
        let mut all = |rules: &[u16]| rules.iter().for_each(|rule| try_rule(*rule));
        own.iter().for_each(|own| all(&own.always));
        always.into_iter().for_each(|always| all(always));
        for key in seen.iter() {
            if let Some(span) = self.by_key.get(key as usize) {
                all(span.of(&self.waiting));
            }
            let Some(own) = own.filter(|own| !own.waiting.is_empty()) else { continue };
            let from = own.waiting.partition_point(|(waits, _)| *waits < key);
            for (_, rule) in own.waiting.iter().skip(from).take_while(|(waits, _)| *waits == key) {
                all(&[*rule]);
            }
        }
    }
}

fn anchors(program: &Program, condition: Span) -> impl Iterator<Item = &[u32]> {
    let anchor = |op: &Op| if let Op::Any(keys) = *op { Some(keys.of(&program.pool)) } else { None };
    condition.of(&program.ops).iter().filter_map(anchor)
}

/// The sources a condition names; `None`: any.
fn sources_of(program: &Program, condition: Span) -> Option<&[u32]> {
    let sources = |op: &Op| if let Op::Source(span) = *op { Some(span.of(&program.pool)) } else { None };
    condition.of(&program.ops).iter().find_map(sources)
}

fn domains_of(program: &Program, condition: Span) -> Option<&[u32]> {
    let domains = |op: &Op| if let Op::Domain(span) = *op { Some(span.of(&program.pool)) } else { None };
    condition.of(&program.ops).iter().find_map(domains)
}
