//! Every metric, in one table: name, type, labels, help, and where its samples
//! come from. What is not in the table is not exported.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use octroi_policy::{Level, Timestamp};
use prometheus::core::Desc;
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use super::{
    ByPolicy, OTHER, Outcome, OutletError, QUARANTINE_REASONS, REJECTIONS, Series, SourceMetrics,
    TargetMetrics,
};
use crate::status::{
    BrokerState, BrokerStatus, CredentialState, CredentialStatus, OutletState, TargetStatus,
};

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, since the start of the process.
    Counter,
    /// A state.
    Gauge,
    /// A distribution of seconds.
    Histogram,
}

impl Kind {
    /// As in the text format.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Described {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
    samples: fn(&mut Samples<'_>, &Series, &ByPolicy),
}

/// Every metric, by name.
pub const TABLE: &[Described] = &[
    Described {
        name: "octroi_ack_seconds",
        kind: Kind::Histogram,
        labels: &[],
        help: "From the last byte of a message to its acknowledgement.",
        samples: |out, series, _| out.histogram(&series.ack),
    },
    Described {
        name: "octroi_aggregates_late_total",
        kind: Kind::Counter,
        labels: &["target"],
        help: "Messages that came after their window's aggregates were published to this target: left out.",
        samples: |out, series, policy| {
            for (id, target) in policy.targets(series) {
                out.count(&[id], &target.aggregates_late);
            }
        },
    },
    Described {
        name: "octroi_aggregates_suppressed_total",
        kind: Kind::Counter,
        labels: &["target"],
        help: "Groups of aggregates not published to this target: too few devices, or given up.",
        samples: |out, series, policy| {
            for (id, target) in policy.targets(series) {
                out.count(&[id], &target.aggregates_suppressed);
            }
        },
    },
    Described {
        name: "octroi_backlog_bytes",
        kind: Kind::Gauge,
        labels: &["target"],
        help: "Size on disk of what was moved out of the journal because this target lags behind.",
        samples: |out, _, policy| out.by_target(policy, |target| target.backlog_bytes as f64),
    },
    Described {
        name: "octroi_broker_acknowledged_total",
        kind: Kind::Counter,
        labels: &["broker"],
        help: "Messages of this broker that are on disk and acknowledged to it.",
        samples: |out, _, policy| out.by_broker(policy, |broker| broker.acknowledged),
    },
    Described {
        name: "octroi_broker_received_total",
        kind: Kind::Counter,
        labels: &["broker"],
        help: "Messages that came from this broker.",
        samples: |out, _, policy| out.by_broker(policy, |broker| broker.received),
    },
    Described {
        name: "octroi_broker_reconnects_total",
        kind: Kind::Counter,
        labels: &["broker"],
        help: "Connections to this broker after the first.",
        samples: |out, _, policy| out.by_broker(policy, |broker| broker.reconnects),
    },
    Described {
        name: "octroi_broker_up",
        kind: Kind::Gauge,
        labels: &["broker"],
        help: "1 while the hub is subscribed at this broker, else 0.",
        samples: |out, _, policy| {
            out.by_broker(policy, |broker| u64::from(broker.state == BrokerState::Up));
        },
    },
    Described {
        name: "octroi_build_info",
        kind: Kind::Gauge,
        labels: &["version"],
        help: "Always 1; the label says which program runs.",
        samples: |out, series, _| out.one(&[&series.program], 1.0),
    },
    Described {
        name: "octroi_connections",
        kind: Kind::Gauge,
        labels: &[],
        help: "MQTT connections.",
        samples: |out, _, policy| out.one(&[], float(policy.status.connections)),
    },
    Described {
        name: "octroi_credentials_refused",
        kind: Kind::Gauge,
        labels: &["listener", "part"],
        help: "1 while what is on disk cannot be used (the old stays in force, or the listener shut), or what is in force has expired.",
        samples: |out, _, policy| {
            for CredentialStatus { listener, part, state, .. } in &policy.status.credentials {
                out.one(&[listener, part], if *state == CredentialState::InForce { 0.0 } else { 1.0 });
            }
        },
    },
    Described {
        name: "octroi_credentials_valid_until_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &["listener", "part"],
        help: "When the first certificate or revocation list of this part ends, as seconds since 1970.",
        samples: |out, _, policy| {
            for CredentialStatus { listener, part, valid_until, .. } in &policy.status.credentials {
                if let Some(end) = Timestamp::parse_rfc3339(valid_until) {
                    out.one(&[listener, part], signed(end.0 / 1_000_000));
                }
            }
        },
    },
    Described {
        name: "octroi_decisions_total",
        kind: Kind::Counter,
        labels: &["source", "outcome", "level"],
        help: "Messages decided, by outcome and level.",
        samples: decisions,
    },
    Described {
        name: "octroi_delivered_bytes_total",
        kind: Kind::Counter,
        labels: &["target", "level"],
        help: "Payload bytes that the target has acknowledged.",
        samples: |out, series, policy| {
            for (id, target) in policy.targets(series) {
                out.by_level(id, &target.delivered_bytes);
            }
        },
    },
    Described {
        name: "octroi_delivered_total",
        kind: Kind::Counter,
        labels: &["target", "level"],
        help: "Records that the target has acknowledged.",
        samples: |out, series, policy| {
            for (id, target) in policy.targets(series) {
                out.by_level(id, &target.delivered);
            }
        },
    },
    Described {
        name: "octroi_gate_blocked_total",
        kind: Kind::Counter,
        labels: &["target"],
        help: "Records that the second gate did not let out to this target.",
        samples: |out, series, policy| {
            for (id, target) in policy.targets(series) {
                out.count(&[id], &target.gate_blocked);
            }
        },
    },
    Described {
        name: "octroi_held_messages",
        kind: Kind::Gauge,
        labels: &["target"],
        help: "Records withheld from this target and kept on the hub.",
        samples: |out, _, policy| out.by_target(policy, |target| float(target.held)),
    },
    Described {
        name: "octroi_hold_expired_messages_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Messages that were held for longer than the policy's `hold_max`: now in quarantine.",
        samples: |out, _, policy| out.one(&[], float(policy.status.left.hold_expired)),
    },
    Described {
        name: "octroi_journal_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "Size of the journal on disk.",
        samples: |out, _, policy| out.one(&[], float(policy.status.journal.bytes)),
    },
    Described {
        name: "octroi_journal_fenced_ranges",
        kind: Kind::Gauge,
        labels: &[],
        help: "Damaged ranges of journal and side logs found since the start: their records are lost, every byte is kept.",
        samples: |out, _, policy| out.one(&[], float(policy.status.journal.fenced.len() as u64)),
    },
    Described {
        name: "octroi_journal_limit_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "The most the journal may take; at this size nothing more is acknowledged.",
        samples: |out, _, policy| out.one(&[], float(policy.status.journal.limit_bytes)),
    },
    Described {
        name: "octroi_journal_sync_seconds",
        kind: Kind::Histogram,
        labels: &[],
        help: "Time that one sync of the journal took.",
        samples: |out, series, _| out.histogram(&series.journal_sync),
    },
    Described {
        name: "octroi_outlet_errors_total",
        kind: Kind::Counter,
        labels: &["target", "kind"],
        help: "Failures of the way to this target, by kind.",
        samples: |out, series, policy| {
            for (id, target) in policy.targets(series) {
                for (kind, count) in OutletError::ALL.iter().zip(&target.errors) {
                    out.count(&[id, kind.name()], count);
                }
            }
        },
    },
    Described {
        name: "octroi_outlet_oldest_seconds",
        kind: Kind::Gauge,
        labels: &["target"],
        help: "Age of the oldest record that waits for this target.",
        samples: |out, _, policy| out.by_target(policy, |target| target.oldest_seconds),
    },
    Described {
        name: "octroi_outlet_pending",
        kind: Kind::Gauge,
        labels: &["target"],
        help: "Records that wait for this target.",
        samples: |out, _, policy| out.by_target(policy, |target| float(target.pending)),
    },
    Described {
        name: "octroi_outlet_state",
        kind: Kind::Gauge,
        labels: &["target", "state"],
        help: "1 for the state that the way to this target is in, else 0.",
        samples: |out, _, policy| {
            for id in policy.targets.keys() {
                let state = policy.status.targets.iter().find(|target| target.id == *id).map(|t| t.state);
                for one in OutletState::ALL {
                    out.one(&[id, one.name()], f64::from(u8::from(state.unwrap_or_default() == one)));
                }
            }
        },
    },
    Described {
        name: "octroi_outlet_up",
        kind: Kind::Gauge,
        labels: &["target"],
        help: "1 if this target takes records, else 0.",
        samples: |out, _, policy| {
            out.by_target(policy, |target| f64::from(u8::from(target.state == OutletState::Up)));
        },
    },
    Described {
        name: "octroi_policy_info",
        kind: Kind::Gauge,
        labels: &["version"],
        help: "Always 1; the label says which policy is in force.",
        samples: |out, _, policy| out.one(&[&policy.version], 1.0),
    },
    Described {
        name: "octroi_policy_load_failures_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Policies that could not be loaded or were refused.",
        samples: |out, series, _| out.count(&[], &series.policy_load_failures),
    },
    Described {
        name: "octroi_purged_messages_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Messages purged from the quarantine, by an operator or after `quarantine_keep`: gone for good.",
        samples: |out, _, policy| out.one(&[], float(policy.status.left.quarantine_purged)),
    },
    Described {
        name: "octroi_qualification_valid_until_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &["target", "scheme"],
        help: "When a qualification of this target ends, as seconds since 1970.",
        samples: |out, _, policy| {
            for ((target, scheme), end) in &policy.qualifications {
                out.one(&[target, scheme], signed(*end));
            }
        },
    },
    Described {
        name: "octroi_quarantined_messages",
        kind: Kind::Gauge,
        labels: &["reason"],
        help: "Messages in quarantine, by reason.",
        samples: quarantined,
    },
    Described {
        name: "octroi_received_bytes_total",
        kind: Kind::Counter,
        labels: &["source"],
        help: "Payload bytes received.",
        samples: |out, series, policy| {
            for (id, source) in policy.sources(series) {
                out.count(&[id], &source.received_bytes);
            }
        },
    },
    Described {
        name: "octroi_received_messages_total",
        kind: Kind::Counter,
        labels: &["source", "qos"],
        help: "Messages received, by quality of service.",
        samples: |out, series, policy| {
            for (id, source) in policy.sources(series) {
                for (qos, count) in ["0", "1", "2"].iter().zip(&source.received) {
                    out.count(&[id, qos], count);
                }
            }
        },
    },
    Described {
        name: "octroi_rejected_total",
        kind: Kind::Counter,
        labels: &["stage", "reason"],
        help: "Connections and messages turned away.",
        samples: |out, series, _| {
            for ((stage, reasons), counts) in REJECTIONS.iter().zip(&series.rejected) {
                for (reason, count) in reasons.iter().zip(counts) {
                    out.count(&[stage, reason], count);
                }
            }
        },
    },
    Described {
        name: "octroi_released_messages_total",
        kind: Kind::Counter,
        labels: &["log"],
        help: "Messages that left the quarantine or the hold log, allowed by the policy in force.",
        samples: |out, _, policy| {
            let left = &policy.status.left;
            for (log, messages) in [("hold", left.hold_released), ("quarantine", left.quarantine_released)] {
                out.one(&[log], float(messages));
            }
        },
    },
    Described {
        name: "octroi_slowed_seconds_total",
        kind: Kind::Counter,
        labels: &["source"],
        help: "Time in which connections were not read because their source was over its quota.",
        samples: |out, series, policy| {
            for (id, source) in policy.sources(series) {
                out.one(&[id], float(source.slowed_micros()) / 1e6);
            }
        },
    },
    Described {
        name: "octroi_unaccounted_messages",
        kind: Kind::Gauge,
        labels: &[],
        help: "Messages that the hub's balance does not account for; must be 0.",
        samples: |out, _, policy| out.one(&[], signed(policy.status.conservation.unaccounted)),
    },
];

impl Described {
    pub(super) fn desc(&self) -> prometheus::Result<Desc> {
        let labels = self.labels.iter().map(|label| (*label).to_owned()).collect();
        Desc::new(self.name.to_owned(), self.help.to_owned(), labels, HashMap::new())
    }

    pub(super) fn family(&self, series: &Series, policy: &ByPolicy) -> MetricFamily {
        let mut samples = Samples { described: self, metrics: Vec::new() };
        (self.samples)(&mut samples, series, policy);
        let mut family = MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(match self.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
            Kind::Histogram => MetricType::HISTOGRAM,
        });
        family.set_metric(samples.metrics);
        family
    }
}

/// The samples of one metric, as they are gathered.
struct Samples<'a> {
    described: &'a Described,
    metrics: Vec<Metric>,
}

impl Samples<'_> {
    fn count(&mut self, labels: &[&str], count: &AtomicU64) {
        self.one(labels, float(count.load(Ordering::Relaxed)));
    }

    fn one(&mut self, values: &[&str], value: f64) {
        let mut metric = Metric::from_label(self.pairs(values));
        // The format has no other use for `kind` than which of the two is read.
        match self.described.kind {
            Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            Kind::Gauge | Kind::Histogram => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
        }
        self.metrics.push(metric);
    }

    fn histogram(&mut self, histogram: &super::Histogram) {
        let mut metric = Metric::default();
        metric.set_histogram(histogram.proto());
        self.metrics.push(metric);
    }

    fn by_level(&mut self, id: &str, counts: &[AtomicU64; Level::ALL.len()]) {
        for (level, count) in Level::ALL.iter().zip(counts) {
            self.count(&[id, level.name()], count);
        }
    }

    /// A state of each target of the policy; 0 for one that the status does not have yet.
    fn by_target(&mut self, policy: &ByPolicy, state: fn(&TargetStatus) -> f64) {
        for id in policy.targets.keys() {
            let status = policy.status.targets.iter().find(|target| target.id == *id);
            self.one(&[id], status.map_or(0.0, state));
        }
    }

    /// A figure of each broker of the configuration.
    fn by_broker(&mut self, policy: &ByPolicy, figure: fn(&BrokerStatus) -> u64) {
        for broker in &policy.status.brokers {
            self.one(&[&broker.name], float(figure(broker)));
        }
    }

    fn pairs(&self, values: &[&str]) -> Vec<LabelPair> {
        self.described
            .labels
            .iter()
            .zip(values)
            .map(|(name, value)| {
                let mut pair = LabelPair::default();
                pair.set_name((*name).to_owned());
                pair.set_value((*value).to_owned());
                pair
            })
            .collect()
    }
}

impl ByPolicy {
    fn sources<'a>(&'a self, series: &'a Series) -> impl Iterator<Item = (&'a str, &'a SourceMetrics)> {
        let known = self.sources.iter().map(|(id, source)| (id.as_str(), source.as_ref()));
        // A policy whose own source is called `other` must not make a series twice.
        let other = (!self.sources.contains_key(OTHER)).then_some((OTHER, series.other_source.as_ref()));
        known.chain(other)
    }

    fn targets<'a>(&'a self, series: &'a Series) -> impl Iterator<Item = (&'a str, &'a TargetMetrics)> {
        let known = self.targets.iter().map(|(id, target)| (id.as_str(), target.as_ref()));
        let other = (!self.targets.contains_key(OTHER)).then_some((OTHER, series.other_target.as_ref()));
        known.chain(other)
    }
}

fn decisions(out: &mut Samples<'_>, series: &Series, policy: &ByPolicy) {
    for (id, source) in policy.sources(series) {
        for (outcome, levels) in Outcome::ALL.iter().zip(&source.decisions) {
            for (level, count) in Level::ALL.iter().zip(levels) {
                out.count(&[id, outcome.name(), level.name()], count);
            }
        }
    }
}

fn quarantined(out: &mut Samples<'_>, _: &Series, policy: &ByPolicy) {
    for reason in QUARANTINE_REASONS {
        let kept = policy.status.quarantine.iter().filter(|kept| {
            kept.reason == *reason
                || (*reason == OTHER && !QUARANTINE_REASONS.contains(&kept.reason.as_str()))
        });
        out.one(&[reason], float(kept.map(|kept| kept.messages).sum()));
    }
}

/// Exact up to 2^53, which no counter here reaches.
#[expect(clippy::cast_precision_loss, reason = "the text format has floats only")]
fn float(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "the text format has floats only")]
fn signed(count: i64) -> f64 {
    count as f64
}
