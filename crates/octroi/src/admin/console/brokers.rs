//! Existing brokers that messages come from: nothing on the page where there
//! are none.

use maud::{Markup, html};

use crate::status::{BrokerState, BrokerStatus};
use crate::words::{self, Lang};

pub(super) fn section(brokers: &[BrokerStatus], now: &str, lang: Lang) -> Markup {
    html! {
        @if !brokers.is_empty() {
            section aria-labelledby="brokers" {
                h2 id="brokers" { (words::BROKERS.in_(lang)) }
                table class="targets" role="table" {
                    caption class="unseen" { (words::BROKERS_CAPTION.in_(lang)) }
                    thead role="rowgroup" {
                        tr role="row" {
                            th role="columnheader" scope="col" { (words::BROKER.in_(lang)) }
                            th role="columnheader" scope="col" { (words::STATE.in_(lang)) }
                            th role="columnheader" scope="col" class="n" { (words::RECEIVED.in_(lang)) }
                            th role="columnheader" scope="col" class="n" { (words::ACKNOWLEDGED.in_(lang)) }
                        }
                    }
                    tbody role="rowgroup" {
                        @for broker in brokers { (row(broker, now, lang)) }
                    }
                }
            }
        }
    }
}

fn row(broker: &BrokerStatus, now: &str, lang: Lang) -> Markup {
    let (class, icon) = match broker.state {
        BrokerState::Starting => ("starting", "M8 1.5a6.5 6.5 0 1 0 .01 0M8 4.5V8l2.2 1.6"),
        BrokerState::Up => ("good", "M3 8.5l3.2 3.2L13 5"),
        BrokerState::Down => ("watch", "M8 3v6M8 12v1"),
        BrokerState::Refused => ("act", "M4 4l8 8M12 4l-8 8"),
    };
    let number = |name: words::Text, count| {
        html! { td role="cell" class="n" data-label=(name.in_(lang)) { (words::count(lang, count)) } }
    };
    html! {
        tr role="row" {
            th role="rowheader" scope="row" { span class="id" { (broker.name) } }
            td role="cell" class="state" {
                span class={ "badge " (class) } {
                    svg viewBox="0 0 16 16" aria-hidden="true" focusable="false" { path d=(icon) {} }
                    (words::broker_state(lang, broker.state))
                }
                @if let Some(seconds) = words::seconds_between(&broker.since, now) {
                    small { (words::SINCE.in_(lang)) " " (words::duration(lang, seconds)) }
                }
                @if !broker.reason.is_empty() { p class="why" { (broker.reason.of(lang)) } }
            }
            (number(words::RECEIVED, broker.received))
            (number(words::ACKNOWLEDGED, broker.acknowledged))
        }
    }
}
