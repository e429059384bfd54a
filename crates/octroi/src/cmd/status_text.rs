//! [`Status`] as text, for `octroi status` and the demo's live table: the same
//! sentence, flows, targets and balance as the console's first page.
//!
//! INVARIANT: no line is longer than the width asked for, and no control
//! character of a name or reason reaches the terminal.

use crate::status::{BrokerState, Flow, OutletState, Status};
use crate::words::{self, Lang, Tone, Verdict};

/// Flows and quarantine reasons shown; the rest is counted.
const MAX_ROWS: usize = 20;
/// Below this a table says nothing.
const LEAST_WIDTH: usize = 40;
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const RED: &str = "\x1b[31m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// The status in lines of at most `width` characters (at least 40), each ended by a newline.
#[must_use]
pub fn table(status: &Status, lang: Lang, color: bool, width: usize) -> String {
    let mut out = Lines { text: String::new(), color, width: width.max(LEAST_WIDTH) };
    let verdict = Verdict::of(status);
    let paint = match verdict.tone() {
        Tone::Good => GREEN,
        Tone::Watch => YELLOW,
        Tone::Act => RED,
    };
    out.wrapped(&verdict.sentence(lang), paint);
    out.wrapped(&summary(status, lang), "");
    if !status.index_rebuilt.is_empty() {
        out.wrapped(words::INDEX_REBUILT.in_(lang), YELLOW);
    }
    for credential in status.credentials.iter().filter(|credential| !credential.reason.is_empty()) {
        out.wrapped(&format!("{}: {}", credential.listener, credential.reason.of(lang)), YELLOW);
    }
    if !status.slowed.is_empty() {
        let sources: Vec<String> = status.slowed.iter().map(|slowed| clean(&slowed.source)).collect();
        out.wrapped(&format!("{}{}", words::SLOWED.in_(lang), sources.join(", ")), YELLOW);
    }

    let mut flows: Vec<&Flow> = status.flows.iter().collect();
    flows.sort_by(|a, b| b.per_second.total_cmp(&a.per_second).then(b.messages.cmp(&a.messages)));
    let heads = [words::SOURCE, words::LEVEL, words::TARGET, words::RATE, words::SINCE_START];
    let rows: Vec<[String; 5]> = flows.iter().take(MAX_ROWS).map(|flow| flow_cells(flow, lang)).collect();
    out.table(words::FLOWS.in_(lang), &heads.map(|head| head.in_(lang).to_owned()), &rows, 3);
    if flows.len() > MAX_ROWS {
        out.line(&words::more_rows(lang, flows.len() - MAX_ROWS), "");
    }

    let heads = [words::TARGET, words::STATE, words::WAITING, words::OLDEST, words::DELIVERED, words::RATE];
    let rows: Vec<[String; 6]> = status
        .targets
        .iter()
        .map(|target| {
            [
                clean(&target.id),
                words::outlet_state(lang, target.state).to_owned(),
                words::count(lang, target.pending),
                if target.pending == 0 {
                    "–".to_owned()
                } else {
                    words::duration(lang, target.oldest_seconds)
                },
                words::count(lang, target.delivered),
                words::per_second(lang, target.per_second),
            ]
        })
        .collect();
    out.table(words::TARGETS.in_(lang), &heads.map(|head| head.in_(lang).to_owned()), &rows, 2);
    for target in status.targets.iter().filter(|target| !target.reason.is_empty()) {
        let paint = if target.state == OutletState::Blocked { RED } else { YELLOW };
        out.wrapped(&format!("{}: {}", clean(&target.id), clean(target.reason.of(lang))), paint);
    }

    brokers(&mut out, status, lang);

    let kept = status.quarantine.iter().filter(|kept| kept.messages > 0);
    let rows: Vec<[String; 2]> = kept
        .take(MAX_ROWS)
        .map(|kept| {
            let said = words::reason(lang, &kept.reason).map_or_else(|| clean(&kept.reason), str::to_owned);
            [said, words::count(lang, kept.messages)]
        })
        .collect();
    let heads = [words::REASON, words::MESSAGES].map(|head| head.in_(lang).to_owned());
    out.table(words::QUARANTINE.in_(lang), &heads, &rows, 1);

    out.line("", "");
    out.wrapped(&balance(status, lang), if status.conservation.unaccounted == 0 { GREEN } else { RED });
    out.text
}

/// Existing brokers, where the hub takes messages from any.
fn brokers(out: &mut Lines, status: &Status, lang: Lang) {
    let rows: Vec<[String; 4]> = status
        .brokers
        .iter()
        .map(|broker| {
            [
                clean(&broker.name),
                words::broker_state(lang, broker.state).to_owned(),
                words::count(lang, broker.received),
                words::count(lang, broker.acknowledged),
            ]
        })
        .collect();
    let heads = [words::BROKER, words::STATE, words::RECEIVED, words::ACKNOWLEDGED];
    out.table(words::BROKERS.in_(lang), &heads.map(|head| head.in_(lang).to_owned()), &rows, 2);
    for broker in status.brokers.iter().filter(|broker| !broker.reason.is_empty()) {
        let paint = if broker.state == BrokerState::Refused { RED } else { YELLOW };
        out.wrapped(&format!("{}: {}", clean(&broker.name), clean(broker.reason.of(lang))), paint);
    }
}

fn flow_cells(flow: &Flow, lang: Lang) -> [String; 5] {
    let target = clean(words::destination(lang, &flow.target));
    [
        clean(&flow.source),
        clean(words::level(lang, &flow.level)),
        if flow.copy.is_empty() { target } else { format!("{target} ({})", words::COPY.in_(lang)) },
        words::per_second(lang, flow.per_second),
        words::count(lang, flow.messages),
    ]
}

fn summary(status: &Status, lang: Lang) -> String {
    let journal = &status.journal;
    format!(
        "{} · {} {} · {} {} · {} {} {} {} · {} {}",
        clean(&status.hub),
        words::RECEIVED_RATE.in_(lang),
        words::per_second(lang, status.received_per_second),
        words::CONNECTIONS.in_(lang),
        words::count(lang, status.connections),
        words::JOURNAL.in_(lang),
        words::bytes(lang, journal.bytes),
        words::OF_LIMIT.in_(lang),
        words::bytes(lang, journal.limit_bytes),
        words::POLICY_SHORT.in_(lang),
        clean(&status.policy.version),
    )
}

fn balance(status: &Status, lang: Lang) -> String {
    let balance = &status.conservation;
    let term = |n, name: words::Text| format!("{} {}", words::count(lang, n), name.in_(lang));
    let mut placed = vec![
        term(balance.routed, words::B_ROUTED),
        term(balance.quarantined, words::B_QUARANTINED),
        term(balance.held, words::B_HELD),
        term(balance.refused, words::B_REFUSED),
    ];
    if balance.purged > 0 {
        placed.push(term(balance.purged, words::B_PURGED));
    }
    format!(
        "{} = {} · {}",
        term(balance.received, words::B_RECEIVED),
        placed.join(" + "),
        words::unaccounted(lang, balance.unaccounted),
    )
}

/// What another wrote, without what a terminal would act on (C0, C1, and the marks that turn text round).
fn clean(text: &str) -> String {
    let acts = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if acts(c) { '\u{fffd}' } else { c }).collect()
}

struct Lines {
    text: String,
    color: bool,
    width: usize,
}

impl Lines {
    fn line(&mut self, line: &str, paint: &str) {
        let cut = shortened(line, self.width);
        if self.color && !paint.is_empty() {
            self.text.extend([paint, cut.as_str(), PLAIN, "\n"]);
        } else {
            self.text.extend([cut.as_str(), "\n"]);
        }
    }

    /// Broken at spaces; a word longer than a line is cut.
    fn wrapped(&mut self, text: &str, paint: &str) {
        let mut line = String::new();
        for word in text.split(' ') {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > self.width {
                self.line(&line, paint);
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.line(&line, paint);
    }

    /// Columns from `numbers` on are flush right; nothing for no rows. The widest column gives way.
    fn table<const N: usize>(
        &mut self,
        title: &str,
        heads: &[String; N],
        rows: &[[String; N]],
        numbers: usize,
    ) {
        if rows.is_empty() {
            return;
        }
        let mut widths = [0; N];
        for row in std::iter::once(heads).chain(rows) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        while widths.iter().sum::<usize>() + 2 * (N - 1) > self.width {
            let Some(widest) = widths.iter_mut().max() else { break };
            if *widest <= 1 {
                break;
            }
            *widest -= 1;
        }
        self.line("", "");
        self.line(title, BOLD);
        for row in std::iter::once(heads).chain(rows) {
            let mut line = String::new();
            for (n, (width, cell)) in widths.iter().zip(row).enumerate() {
                let cell = shortened(cell, *width);
                let gap = if n == 0 { "" } else { "  " };
                let space = " ".repeat(width - cell.chars().count());
                let (before, after) = if n < numbers { ("", space.as_str()) } else { (space.as_str(), "") };
                line.extend([gap, before, cell.as_str(), after]);
            }
            self.line(line.trim_end_matches(' '), "");
        }
    }
}

fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::samples;
    use crate::status::SlowedStatus;

    #[test]
    fn the_text_says_what_the_page_says() {
        let text = table(&samples::cut_off(), Lang::En, false, 120).replace('\u{a0}', " ");
        for line in [
            "cloud-confiance cut off for 18 min. Nothing lost, 120,000 messages wait.",
            "lns-rennes      open        cloud-confiance",
            "cloud-confiance  cut off     120,000  18 min",
            "ville   subscribed   110,207       110,207",
            "No rule of the policy covers this message",
            "0 messages unaccounted for",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(!text.contains('\x1b'));
        let french = table(&samples::cut_off(), Lang::Fr, false, 120).replace(['\u{a0}', '\u{202f}'], " ");
        assert!(french.contains("cloud-confiance : liaison coupée depuis 18 min."), "{french}");
    }

    #[test]
    fn who_is_slowed_is_named_and_nobody_else() {
        let mut status = samples::well();
        let text = |status: &Status| table(status, Lang::En, false, 120);
        assert!(!text(&status).contains("slowed"));
        let slowed = |source: &str| SlowedStatus { source: source.to_owned(), connections: 1.0 };
        status.slowed = vec![slowed("lns-rennes"), slowed("scada-56")];
        let expected = "Sources slowed to their quota; nothing is lost: lns-rennes, scada-56\n";
        assert!(text(&status).contains(expected), "{}", text(&status));
    }

    #[test]
    fn no_line_is_too_long_and_no_name_speaks_to_the_terminal() {
        let mut status = samples::hostile();
        status.hub = "\x1b]0;owned\x07\u{9b}31m\u{202e}".to_owned();
        status.targets[0].id = "a\nb\r\x1b[2J".to_owned();
        for lang in Lang::ALL {
            for width in [40, 80, 200] {
                let text = table(&status, lang, false, width);
                assert!(text.lines().all(|line| line.chars().count() <= width), "{text}");
                assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text}");
            }
        }
        let painted = table(&samples::well(), Lang::En, true, 80);
        assert!(painted.starts_with(GREEN), "{painted}");
    }
}
