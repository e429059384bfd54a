//! The judge of a fault run. It knows what was published and acknowledged,
//! where each kind of message must go and must never go, and what an
//! independent consumer found on the targets; from that alone it checks the
//! five invariants. It never asks the hub what happened, save for I5, which is
//! about the hub's own counters.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::delivered::Delivered;
use crate::hub::Hub;
use crate::load::{Outcome, Stream};
use crate::metrics::Scrape;
use crate::process::holds_within;
use crate::report;

/// What was seen in one run.
#[derive(Debug)]
pub struct Evidence<'a> {
    pub streams: &'a [Stream],
    pub outcomes: &'a [Outcome],
    /// Everything on every target, each list in its target's order.
    pub delivered: &'a [Delivered],
    /// The last scrape, after the targets were drained.
    pub scrape: &'a Scrape,
    /// Records that a target may hold twice: what an outlet may have in flight, times its restarts.
    pub repeats_allowed: usize,
}

/// Judges a run of which everything goes to archives, once they are drained: an archive repeats nothing at all.
pub fn judge_archives(hub: &Hub, streams: &[Stream], outcomes: &[Outcome], within: Duration) -> Verdict {
    let scrape = hub.drained(within);
    let delivered = hub.archives();
    judge(&Evidence { streams, outcomes, delivered: &delivered, scrape: &scrape, repeats_allowed: 0 })
}

/// Judges a run whose publishers were answered by another broker, which may still have some: waits until nothing
/// acknowledged is missing on the archives of these hubs together, at most `within`.
pub fn judge_arrived(hubs: &[&Hub], streams: &[Stream], outcomes: &[Outcome], within: Duration) -> Verdict {
    let mut verdict = Verdict::default();
    holds_within(within, || {
        let delivered: Vec<_> = hubs.iter().flat_map(|hub| hub.archives()).collect();
        let judged = hubs.iter().map(|hub| {
            let scrape = &hub.metrics();
            judge(&Evidence { streams, outcomes, delivered: &delivered, scrape, repeats_allowed: 0 })
        });
        let mut judged: Vec<Verdict> = judged.collect();
        // All but the balance is one hub's as it is another's.
        let unbalanced = judged.iter().flat_map(|verdict| verdict.unbalanced.clone()).collect();
        verdict = Verdict { unbalanced, ..judged.pop().unwrap_or_default() };
        verdict.missing.is_empty() && verdict.unbalanced.is_empty()
    });
    verdict
}

/// What breaks each invariant, as sentences; all empty: all kept.
#[derive(Debug, Default)]
pub struct Verdict {
    pub acknowledged: u64,
    pub delivered: usize,
    /// Records that stand on a target more than once, under one id.
    pub repeats: usize,
    /// Records that are aggregates.
    pub aggregates: usize,
    /// I1: acknowledged and missing on a target.
    pub missing: Vec<String>,
    /// I2: on a target that its label forbids.
    pub forbidden: Vec<String>,
    /// I3: out of order.
    pub disordered: Vec<String>,
    /// I4: duplicates that are not the publisher's, or too many.
    pub duplicated: Vec<String>,
    /// I5: counters that do not balance.
    pub unbalanced: Vec<String>,
}

impl Verdict {
    /// Prints the figures, and fails if an invariant is broken.
    #[track_caller]
    pub fn assert_kept(&self, title: &str) {
        let broken = |list: &[String]| match list {
            [] => "kept".to_owned(),
            [first, ..] => format!("BROKEN {} times, first: {first}", list.len()),
        };
        report::table(
            title,
            &[
                ("acknowledged", self.acknowledged.to_string()),
                ("on the targets", self.delivered.to_string()),
                ("of these, aggregates", self.aggregates.to_string()),
                ("repeats by the hub", self.repeats.to_string()),
                ("I1 nothing acknowledged is missing", broken(&self.missing)),
                ("I2 nothing where its label forbids", broken(&self.forbidden)),
                ("I3 order per source and topic", broken(&self.disordered)),
                ("I4 duplicates carry the same id", broken(&self.duplicated)),
                ("I5 the counters balance", broken(&self.unbalanced)),
            ],
        );
        let lists = [&self.missing, &self.forbidden, &self.disordered, &self.duplicated, &self.unbalanced];
        assert!(lists.iter().all(|list| list.is_empty()), "{title}: an invariant is broken, see the table");
    }
}

impl Verdict {
    /// Prints the figures of a run behind another broker, and fails if anything was lost or is where it must not
    /// be. Such a broker sends again what was not acknowledged to it: a further message, under an id of its own.
    #[track_caller]
    pub fn assert_arrived(&self, title: &str, figures: &[(&str, String)]) {
        let more = [
            ("acknowledged by the broker", self.acknowledged.to_string()),
            ("on the targets", self.delivered.to_string()),
            ("messages that the broker sent again", self.duplicated.len().to_string()),
            ("acknowledged and missing", self.missing.len().to_string()),
            ("where their label forbids", self.forbidden.len().to_string()),
            ("repeats by the hub", self.repeats.to_string()),
        ];
        report::table(title, &[figures, &more].concat());
        let broken = [&self.missing, &self.forbidden, &self.unbalanced].map(|list| list.first());
        assert!(
            broken.iter().all(Option::is_none) && self.repeats == 0,
            "{title}: first of each: {broken:?}"
        );
        assert!(self.acknowledged > 500, "{title}: the load was a load");
    }
}

/// What a run's policies do beside passing messages on as they come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Detours<'a> {
    /// Streams that may wait in a side log and be released: their order is not promised.
    pub released: &'a [&'a str],
    /// Where aggregates go, as target and copy: records of many messages, under nobody's number.
    pub aggregates: &'a [(&'a str, &'a str)],
}

impl Detours<'_> {
    fn is_aggregate(&self, record: &Delivered) -> bool {
        self.aggregates.iter().any(|(target, copy)| record.target == *target && record.space == *copy)
    }
}

/// Judges a run whose targets have been drained.
pub fn judge(evidence: &Evidence<'_>) -> Verdict {
    judge_with(evidence, &Detours::default())
}

/// The same, of a run with detours.
pub fn judge_with(evidence: &Evidence<'_>, detours: &Detours<'_>) -> Verdict {
    let mut verdict = Verdict { delivered: evidence.delivered.len(), ..Verdict::default() };
    verdict.acknowledged = evidence.outcomes.iter().map(Outcome::acknowledged).sum();
    let found = Found::index(evidence.delivered);
    arrival(evidence, &found, detours, &mut verdict);
    order(evidence, detours, &mut verdict);
    copies(evidence, &found, &mut verdict);
    aggregates(evidence, detours, &mut verdict);
    balance(evidence, &mut verdict);
    verdict
}

/// Where each message stands: message → target → places with the record ids there.
struct Found<'a> {
    by_message: BTreeMap<u64, BTreeMap<&'a str, Vec<&'a Delivered>>>,
}

impl<'a> Found<'a> {
    fn index(delivered: &'a [Delivered]) -> Self {
        let mut by_message: BTreeMap<u64, BTreeMap<&str, Vec<&Delivered>>> = BTreeMap::new();
        for record in delivered {
            if let Some(message) = record.message() {
                by_message.entry(message).or_default().entry(&record.target).or_default().push(record);
            }
        }
        Self { by_message }
    }

    fn on(&self, message: u64, target: &str) -> &[&'a Delivered] {
        self.by_message.get(&message).and_then(|targets| targets.get(target)).map_or(&[], Vec::as_slice)
    }
}

/// I1 and I2.
fn arrival(evidence: &Evidence<'_>, found: &Found<'_>, detours: &Detours<'_>, verdict: &mut Verdict) {
    let published = evidence.outcomes.iter().flat_map(Outcome::messages);
    let mut known = BTreeSet::new();
    for sent in published {
        known.insert(sent.id);
        let stream = &evidence.streams[sent.stream];
        for target in stream.reaches {
            if sent.acknowledged && found.on(sent.id, target).is_empty() {
                verdict.missing.push(format!("{} {} on `{target}`", stream.name, sent.id));
            }
        }
        for target in stream.never {
            for record in found.on(sent.id, target) {
                verdict
                    .forbidden
                    .push(format!("{} {} on `{target}` as {}", stream.name, sent.id, record.level));
            }
        }
    }
    for record in evidence.delivered.iter().filter(|record| !detours.is_aggregate(record)) {
        if record.message().is_none_or(|message| !known.contains(&message)) {
            verdict.forbidden.push(format!("on `{}` and never published: {}", record.target, record.payload));
        }
    }
}

/// I3: per source, publisher, topic and place, first appearances are in the order of publication. (Two
/// publishers of one topic have no order between them.)
fn order(evidence: &Evidence<'_>, detours: &Detours<'_>, verdict: &mut Verdict) {
    let published = evidence.outcomes.iter().flat_map(Outcome::messages);
    let released = published.filter(|sent| detours.released.contains(&evidence.streams[sent.stream].name));
    let released: BTreeSet<u64> = released.map(|sent| sent.id).collect();
    let mut last: BTreeMap<_, u64> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for record in evidence.delivered {
        let Some(message) = record.message().filter(|message| !released.contains(message)) else { continue };
        let lane =
            (record.target.as_str(), record.place.as_str(), record.source.as_str(), record.topic.as_str());
        if !seen.insert((lane, message)) {
            continue;
        }
        let before = last.insert((lane, crate::load::publisher(message)), message);
        if before.is_some_and(|before| before > message) {
            verdict.disordered.push(format!("{message} after {before:?} in {lane:?}"));
        }
    }
}

/// I4: as many record ids as the publisher sent the message, never more; and few whole repeats.
fn copies(evidence: &Evidence<'_>, found: &Found<'_>, verdict: &mut Verdict) {
    for sent in evidence.outcomes.iter().flat_map(Outcome::messages) {
        let Some(targets) = found.by_message.get(&sent.id) else { continue };
        for (target, records) in targets {
            let mut places: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
            for record in records {
                places.entry(&record.place).or_default().push(&record.id);
            }
            for (place, ids) in places {
                let distinct: BTreeSet<&str> = ids.iter().copied().collect();
                verdict.repeats += ids.len() - distinct.len();
                if distinct.len() > sent.attempts as usize {
                    let (id, sends) = (sent.id, sent.attempts);
                    verdict.duplicated.push(format!(
                        "{id}, sent {sends} times, has the ids {distinct:?} on `{target}` in {place}"
                    ));
                }
            }
        }
    }
    if verdict.repeats > evidence.repeats_allowed {
        let (seen, allowed) = (verdict.repeats, evidence.repeats_allowed);
        verdict.duplicated.push(format!("{seen} repeats, of which {allowed} are explained by restarts"));
    }
}

/// I4, of aggregates: one record for each group and window of a copy.
fn aggregates(evidence: &Evidence<'_>, detours: &Detours<'_>, verdict: &mut Verdict) {
    let mut seen = BTreeSet::new();
    for record in evidence.delivered.iter().filter(|record| detours.is_aggregate(record)) {
        let payload: serde_json::Value = serde_json::from_str(&record.payload).unwrap_or_default();
        let window = payload["window"].to_string();
        verdict.aggregates += 1;
        if !seen.insert((record.target.as_str(), record.topic.as_str(), window.clone())) {
            verdict.duplicated.push(format!("two aggregates of `{}` for {window}", record.topic));
        }
    }
}

/// I5.
fn balance(evidence: &Evidence<'_>, verdict: &mut Verdict) {
    for metric in ["octroi_unaccounted_messages", "octroi_outlet_pending"] {
        let value = evidence.scrape.sum(metric, &[]);
        if value != 0.0 {
            verdict.unbalanced.push(format!("{metric} is {value} after the targets were drained"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Sent;

    const STREAMS: &[Stream] =
        &[Stream { name: "s", user: "u", topic: "t", payload: "", reaches: &["a"], never: &["c"] }];

    fn record(target: &str, message: u64, id: &str) -> Delivered {
        Delivered {
            target: target.to_owned(),
            id: id.to_owned(),
            payload: format!("{{\"n\":{message}}}"),
            ..Delivered::default()
        }
    }

    fn sent(id: u64, attempts: u32) -> Sent {
        Sent { id, stream: 0, attempts, acknowledged: true, refused: None }
    }

    /// Two messages, the second sent twice, and what is found.
    fn verdict(delivered: &[Delivered], scrape: &str) -> Verdict {
        let connections = vec![vec![sent(770_000_000_000_001, 1), sent(770_000_000_000_002, 2)]];
        let outcome = Outcome { connections, ..Outcome::default() };
        judge(&Evidence {
            streams: STREAMS,
            outcomes: &[outcome],
            delivered,
            scrape: &Scrape::parse(scrape),
            repeats_allowed: 1,
        })
    }

    const BALANCED: &str = "octroi_unaccounted_messages 0\noctroi_outlet_pending{target=\"a\"} 0\n";
    const ONE: u64 = 770_000_000_000_001;
    const TWO: u64 = 770_000_000_000_002;

    #[test]
    fn a_clean_run_with_a_resend_and_one_repeat_is_kept() {
        let delivered = [
            record("a", ONE, "h/g/1"),
            record("a", TWO, "h/g/2"),
            record("a", TWO, "h/g/3"),
            record("a", TWO, "h/g/3"),
        ];
        verdict(&delivered, BALANCED).assert_kept("a clean run");
    }

    #[test]
    fn an_acknowledged_message_that_is_nowhere_breaks_i1() {
        assert_eq!(verdict(&[record("a", ONE, "1")], BALANCED).missing.len(), 1);
    }

    #[test]
    fn a_forbidden_target_or_an_invented_message_breaks_i2() {
        assert_eq!(verdict(&[record("c", ONE, "1")], BALANCED).forbidden.len(), 1);
        assert_eq!(verdict(&[record("a", ONE + 7, "1")], BALANCED).forbidden.len(), 1);
    }

    #[test]
    fn a_first_appearance_out_of_order_breaks_i3_and_a_repeated_tail_does_not() {
        let [one, two] = [record("a", ONE, "1"), record("a", TWO, "2")];
        assert_eq!(verdict(&[two.clone(), one.clone()], BALANCED).disordered.len(), 1);
        assert!(verdict(&[one.clone(), two.clone(), one, two], BALANCED).disordered.is_empty());
    }

    #[test]
    fn a_second_id_for_a_message_sent_once_or_too_many_repeats_break_i4() {
        assert_eq!(verdict(&[record("a", ONE, "1"), record("a", ONE, "2")], BALANCED).duplicated.len(), 1);
        let thrice = [record("a", ONE, "1"), record("a", ONE, "1"), record("a", ONE, "1")];
        assert_eq!(verdict(&thrice, BALANCED).duplicated.len(), 1);
    }

    #[test]
    fn what_is_released_may_come_late_and_a_window_comes_once() {
        let connections = vec![vec![sent(ONE, 1), sent(TWO, 1)]];
        let outcomes = [Outcome { connections, ..Outcome::default() }];
        let payload = r#"{"devices":11,"window":{"start":"a","end":"b"}}"#.to_owned();
        let aggregate = Delivered { space: "sums".to_owned(), payload, ..record("c", 0, "x") };
        let delivered = [record("a", TWO, "2"), record("a", ONE, "1"), aggregate.clone(), aggregate];
        let judged = |delivered: &[Delivered], detours: &Detours<'_>| {
            let scrape = Scrape::parse(BALANCED);
            let evidence = Evidence {
                streams: STREAMS,
                outcomes: &outcomes,
                delivered,
                scrape: &scrape,
                repeats_allowed: 0,
            };
            judge_with(&evidence, detours)
        };
        let detours = Detours { released: &["s"], aggregates: &[("c", "sums")] };
        judged(&delivered[..3], &detours).assert_kept("a release and an aggregate");
        assert_eq!(judged(&delivered, &detours).duplicated.len(), 1, "the window came twice");
        let elsewhere = Detours { aggregates: &[("a", "sums")], ..detours };
        assert_eq!(judged(&delivered[..3], &elsewhere).forbidden.len(), 1);
        assert_eq!(judged(&delivered[..3], &Detours { released: &[], ..detours }).disordered.len(), 1);
    }

    #[test]
    fn a_counter_that_does_not_balance_breaks_i5() {
        let scrape = "octroi_unaccounted_messages -1\noctroi_outlet_pending{target=\"a\"} 0\n";
        assert_eq!(verdict(&[], scrape).unbalanced.len(), 1);
    }
}
