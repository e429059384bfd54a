//! The first page: how things are, where messages go, what waits.

use maud::{Markup, html};

use super::{brokers, flows};
use crate::status::{Conservation, KeptStatus, OutletState, PolicyStatus, Status, TargetStatus};
use crate::words::{self, Lang, Tone, Verdict};

/// Digits of a hash that tell versions apart at a glance; the title has them all.
const SHORT_HASH: usize = 12;

/// All that changes on the page. `kept`: whether somebody still keeps the status up to date.
pub(super) fn body(status: &Status, kept: bool, lang: Lang) -> Markup {
    html! {
        (sentence(status, kept, lang))
        (figures(status, lang))
        section aria-labelledby="flows" {
            h2 id="flows" { (words::FLOWS.in_(lang)) }
            (flows::body(&status.flows, lang))
        }
        section aria-labelledby="targets" {
            h2 id="targets" { (words::TARGETS.in_(lang)) }
            (targets(status, lang))
        }
        (brokers::section(&status.brokers, &status.now, lang))
        div class="pair" {
            section aria-labelledby="quarantine" {
                h2 id="quarantine" { (words::QUARANTINE.in_(lang)) }
                (quarantine(&status.quarantine, lang))
            }
            section aria-labelledby="policy" {
                h2 id="policy" { (words::POLICY.in_(lang)) }
                (policy(&status.policy, lang))
            }
        }
        section aria-labelledby="balance" {
            h2 id="balance" { (words::BALANCE.in_(lang)) }
            (balance(&status.conservation, lang))
        }
    }
}

fn sentence(status: &Status, kept: bool, lang: Lang) -> Markup {
    let verdict = Verdict::of(status);
    let (tone, text) = if kept {
        (verdict.tone(), verdict.sentence(lang))
    } else {
        (Tone::Act, words::STOPPING.in_(lang).to_owned())
    };
    let (class, icon) = match tone {
        Tone::Good => ("good", "M3 8.5l3.2 3.2L13 5"),
        Tone::Watch => ("watch", "M8 3v6M8 12v1"),
        Tone::Act => ("act", "M4 4l8 8M12 4l-8 8"),
    };
    html! {
        div class={ "verdict " (class) } {
            svg class="mark" viewBox="0 0 16 16" aria-hidden="true" focusable="false" { path d=(icon) {} }
            div {
                p class="sentence" id="sentence" { (text) }
                p class="taken" {
                    (words::TAKEN_AT.in_(lang)) " "
                    time datetime=(status.now) { (words::clock(&status.now)) }
                }
            }
        }
    }
}

fn figures(status: &Status, lang: Lang) -> Markup {
    let journal = &status.journal;
    let waiting = status.targets.iter().map(|target| target.pending).sum();
    html! {
        dl class="figures" {
            div {
                dt { (words::RECEIVED_RATE.in_(lang)) }
                dd { (words::per_second(lang, status.received_per_second)) }
            }
            div {
                dt { (words::WAITING_IN_ALL.in_(lang)) }
                dd { (words::count(lang, waiting)) }
            }
            div {
                dt { (words::CONNECTIONS.in_(lang)) }
                dd { (words::count(lang, status.connections)) }
            }
            div class="wide" {
                dt { (words::JOURNAL.in_(lang)) }
                dd {
                    (words::bytes(lang, journal.bytes))
                    small { " " (words::OF_LIMIT.in_(lang)) " " (words::bytes(lang, journal.limit_bytes)) }
                    @if journal.limit_bytes > 0 {
                        meter min="0" max=(journal.limit_bytes) high=(journal.limit_bytes / 10 * 8)
                            value=(journal.bytes.min(journal.limit_bytes)) aria-label=(words::JOURNAL.in_(lang)) {}
                    }
                    @if journal.full { span class="bad" { (words::JOURNAL_FULL.in_(lang)) } }
                    @if !journal.fenced.is_empty() {
                        span class="bad" {
                            (words::FENCED.in_(lang)) " : " (journal.fenced.join(", "))
                        }
                    }
                }
            }
        }
    }
}

fn targets(status: &Status, lang: Lang) -> Markup {
    if status.targets.is_empty() {
        return html! { p class="empty" { (words::NO_TARGET.in_(lang)) } };
    }
    html! {
        table class="targets" role="table" {
            caption class="unseen" { (words::TARGETS_CAPTION.in_(lang)) }
            thead role="rowgroup" {
                tr role="row" {
                    th role="columnheader" scope="col" { (words::TARGET.in_(lang)) }
                    th role="columnheader" scope="col" { (words::STATE.in_(lang)) }
                    th role="columnheader" scope="col" class="n" { (words::WAITING.in_(lang)) }
                    th role="columnheader" scope="col" class="n" { (words::OLDEST.in_(lang)) }
                    th role="columnheader" scope="col" class="n" { (words::RATE.in_(lang)) }
                    th role="columnheader" scope="col" class="n" { (words::DELIVERED.in_(lang)) }
                    th role="columnheader" scope="col" class="n" { (words::HELD.in_(lang)) }
                }
            }
            tbody role="rowgroup" {
                @for target in &status.targets { (target_row(target, &status.now, lang)) }
            }
        }
    }
}

fn target_row(target: &TargetStatus, now: &str, lang: Lang) -> Markup {
    let (class, icon) = match target.state {
        OutletState::Starting => ("starting", "M8 1.5a6.5 6.5 0 1 0 .01 0M8 4.5V8l2.2 1.6"),
        OutletState::Up => ("good", "M3 8.5l3.2 3.2L13 5"),
        OutletState::Down => ("watch", "M8 3v6M8 12v1"),
        OutletState::Blocked => ("act", "M4 4l8 8M12 4l-8 8"),
        OutletState::Paused => ("watch", "M6 3v10M10 3v10"),
    };
    let lasted = words::seconds_between(&target.since, now);
    let cell = |name: words::Text, value: String| {
        html! { td role="cell" class="n" data-label=(name.in_(lang)) { (value) } }
    };
    html! {
        tr role="row" {
            th role="rowheader" scope="row" {
                span class="id" { (target.id) }
                small { (target.label) }
                small {
                    (words::target_kind(lang, &target.kind))
                    @if !target.outlet.is_empty() { ", " (target.outlet) }
                }
            }
            td role="cell" class="state" {
                span class={ "badge " (class) } {
                    svg viewBox="0 0 16 16" aria-hidden="true" focusable="false" { path d=(icon) {} }
                    (words::outlet_state(lang, target.state))
                }
                @if let Some(seconds) = lasted {
                    small { (words::SINCE.in_(lang)) " " (words::duration(lang, seconds)) }
                }
                @if !target.reason.is_empty() { p class="why" { (target.reason.of(lang)) } }
            }
            (cell(words::WAITING, words::count(lang, target.pending)))
            (cell(words::OLDEST, if target.pending == 0 { "–".to_owned() } else { words::duration(lang, target.oldest_seconds) }))
            (cell(words::RATE, words::per_second(lang, target.per_second)))
            (cell(words::DELIVERED, words::count(lang, target.delivered)))
            (cell(words::HELD, words::count(lang, target.withheld)))
        }
    }
}

fn quarantine(kept: &[KeptStatus], lang: Lang) -> Markup {
    if kept.iter().all(|kept| kept.messages == 0) {
        return html! { p class="empty" { (words::QUARANTINE_EMPTY.in_(lang)) } };
    }
    html! {
        table class="quarantine" {
            caption class="unseen" { (words::QUARANTINE_CAPTION.in_(lang)) }
            thead {
                tr {
                    th scope="col" { (words::REASON.in_(lang)) }
                    th scope="col" class="n" { (words::MESSAGES.in_(lang)) }
                }
            }
            tbody {
                @for kept in kept.iter().filter(|kept| kept.messages > 0) {
                    tr {
                        th scope="row" {
                            @if let Some(said) = words::reason(lang, &kept.reason) { (said) }
                            small class="code" { (kept.reason) }
                        }
                        td class="n" { (words::count(lang, kept.messages)) }
                    }
                }
            }
        }
    }
}

fn policy(policy: &PolicyStatus, lang: Lang) -> Markup {
    if policy.version.is_empty() {
        return html! { p class="empty" { (words::NO_POLICY.in_(lang)) } };
    }
    let short: String = policy.hash.chars().take(SHORT_HASH).collect();
    html! {
        p class="lead" { (policy.title) }
        dl class="rows" {
            div { dt { (words::ID.in_(lang)) } dd class="code" { (policy.id) } }
            div { dt { (words::VERSION.in_(lang)) } dd { (policy.version) } }
            div { dt { (words::HASH.in_(lang)) } dd class="code" title=(policy.hash) { (short) "…" } }
            div { dt { (words::IN_FORCE_SINCE.in_(lang)) } dd { (words::day(lang, &policy.activated)) } }
            div { dt { (words::TESTS.in_(lang)) } dd { (words::count(lang, policy.tests)) } }
            div { dt { (words::INVARIANTS.in_(lang)) } dd { (words::count(lang, policy.invariants)) } }
        }
    }
}

fn balance(balance: &Conservation, lang: Lang) -> Markup {
    let mut terms = vec![
        (balance.routed, words::B_ROUTED),
        (balance.quarantined, words::B_QUARANTINED),
        (balance.held, words::B_HELD),
        (balance.refused, words::B_REFUSED),
    ];
    if balance.purged > 0 {
        terms.push((balance.purged, words::B_PURGED));
    }
    html! {
        @if balance.unaccounted == 0 { p class="note" { (words::BALANCE_HELP.in_(lang)) } }
        p class="balance" {
            span class="term" { b { (words::count(lang, balance.received)) } " " (words::B_RECEIVED.in_(lang)) }
            @for (n, (messages, name)) in terms.into_iter().enumerate() {
                " " span class="sign" { (if n == 0 { "=" } else { "+" }) } " "
                span class="term" { b { (words::count(lang, messages)) } " " (name.in_(lang)) }
            }
        }
        @if balance.unaccounted == 0 {
            p class="verdict-line good" {
                svg viewBox="0 0 16 16" aria-hidden="true" focusable="false" { path d="M3 8.5l3.2 3.2L13 5" {} }
                (words::BALANCED.in_(lang)) " · " (words::unaccounted(lang, 0))
            }
        } @else {
            p class="verdict-line act" {
                svg viewBox="0 0 16 16" aria-hidden="true" focusable="false" { path d="M4 4l8 8M12 4l-8 8" {} }
                (words::unaccounted(lang, balance.unaccounted))
            }
        }
    }
}
