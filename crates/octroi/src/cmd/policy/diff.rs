//! `octroi policy diff OLD NEW`

use std::fs::File;
use std::io::Read;
use std::path::Path;

use octroi_policy::diff::{
    Arriving, Block, BlockChange, CellChange, Diff, FlowChange, MessageChange, Moves, PlaceChange, Recorded,
    Turn, Verdict, diff, moves,
};
use octroi_policy::{Level, Policy};
use serde_json::json;

use super::words::{communes, given, labels, number, place, print};
use super::{Context, Exit, Failure, Hub, OrExit, compiled, print_json};
use crate::cli::DiffArgs;
use crate::limits;
use crate::status::Status;
use crate::words::Lang;

pub(super) fn run(args: &DiffArgs, context: &Context) -> Result<Exit, Failure> {
    let (old, new) = (compiled(&args.old, context)?, compiled(&args.new, context)?);
    let found = diff(&old, &new);
    let mut recorded = match &args.labels {
        Some(path) => read_labels(path, context.lang)?,
        None => Vec::new(),
    };
    let asked = args.hub.config.is_some() || args.hub.url.is_some();
    if asked {
        let status = Hub::find(&args.hub, context)?.get("/api/v1/status")?;
        let status: Status = serde_json::from_value(status).or_exit(Exit::Unreachable)?;
        recorded.extend(present(&status));
    }
    let moved = (asked || args.labels.is_some()).then(|| moves(&old, &new, &found.messages, &recorded));
    if context.json {
        print_json(&json!({ "lowers": found.lowers(), "diff": found, "moves": moved }))?;
    } else {
        print(&words(&old, &new, &found, moved.as_ref(), context.lang));
    }
    Ok(if found.lowers() { Exit::Finding } else { Exit::Ok })
}

fn read_labels(path: &Path, lang: Lang) -> Result<Vec<Recorded>, Failure> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| {
        let limit = limits::RECORDED_LABELS_BYTES.saturating_add(1);
        file.take(limit).read_to_string(&mut text)
    });
    let shown = path.display();
    let reason = say!(lang, "cannot read `{shown}`", "impossible de lire `{shown}`");
    let size = read.map_err(|error| anyhow::Error::from(error).context(reason)).or_exit(Exit::Io)?;
    if size as u64 > limits::RECORDED_LABELS_BYTES {
        let most = limits::RECORDED_LABELS_BYTES;
        let reason = say!(
            lang,
            "`{shown}` has more than {most} bytes: sum the rates of equal labels",
            "`{shown}` dépasse {most} octets : additionnez les débits des étiquettes égales"
        );
        return Err(Failure::new(Exit::Usage, anyhow::anyhow!("{reason}")));
    }
    recorded(&text).map_err(|(line, error)| {
        let mend = r#"{"source":"s","domain":"d","level":"open","markings":[],"per_hour":60}"#;
        let reason =
            say!(lang, "{shown}:{line}: {error}; write {mend}", "{shown}:{line} : {error} ; écrivez {mend}");
        Failure::new(Exit::Usage, anyhow::anyhow!("{reason}"))
    })
}

/// One record a line, or the number of the line that is none.
pub(super) fn recorded(text: &str) -> Result<Vec<Recorded>, (usize, serde_json::Error)> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(n, line)| serde_json::from_str(line).map_err(|error| (n, error))).collect()
}

/// The flows of a running hub: a level without domain and markings, of primaries and of what is held.
pub(super) fn present(status: &Status) -> impl Iterator<Item = Recorded> {
    let labelled = status.flows.iter().filter(|flow| {
        flow.copy.is_empty() && !["quarantine", "refused", "withheld"].contains(&flow.target.as_str())
    });
    labelled.filter_map(|flow| {
        let (level, per_hour) = (Level::from_name(&flow.level)?, flow.per_second * 3_600.0);
        Some(Recorded { source: flow.source.clone(), domain: None, level, markings: None, per_hour })
    })
}

pub(super) fn words(old: &Policy, new: &Policy, found: &Diff, moved: Option<&Moves>, lang: Lang) -> String {
    let name = |policy: &Policy| format!("{} {}", policy.id(), policy.version());
    let mut lines = vec![format!("{} → {}", name(old), name(new))];
    if found.is_empty() {
        lines.push(say!(lang, "the two mean the same", "les deux politiques disent la même chose"));
    }
    let changes = |lowers: bool| -> Vec<String> {
        let messages = found.messages.iter().filter(|change| change.turn.lowers() == lowers);
        let cells = found.cells.iter().filter(|change| change.turn.lowers() == lowers);
        let flows = found.flows.iter().filter(|change| change.turn.lowers() == lowers);
        let mut all: Vec<String> = messages.flat_map(|change| message(change, lang)).collect();
        all.extend(cells.map(|change| cell(change, lang)));
        all.extend(flows.map(|change| flow(change, lang)));
        all
    };
    let mut lowered = changes(true);
    lowered.extend(found.doubts().map(|change| doubt(change, lang)));
    section(&mut lines, say!(lang, "LOWERED", "ABAISSÉ"), lowered);
    section(
        &mut lines,
        say!(lang, "Other changes of labels and ways", "Autres changements d'étiquettes et de voies"),
        changes(false),
    );
    let places = found.places.iter().map(|change| moved_place(change, lang)).collect();
    section(&mut lines, say!(lang, "Primary spaces", "Espaces principaux"), places);
    let blocks = found.blocks.iter().map(block).collect();
    section(
        &mut lines,
        say!(lang, "Blocks (+ added, - removed, ~ changed)", "Blocs (+ ajouté, - retiré, ~ modifié)"),
        blocks,
    );
    section(&mut lines, say!(lang, "Tests", "Essais"), tests(found, lang));
    if let Some(moved) = moved {
        section(&mut lines, say!(lang, "Recorded messages", "Messages relevés"), rates(moved, lang));
    }
    if !found.is_empty() {
        lines.push(if found.lowers() {
            say!(lang, "something is lowered", "une protection est abaissée")
        } else {
            say!(lang, "nothing is lowered", "aucune protection n'est abaissée")
        });
    }
    lines.join("\n")
}

fn section(lines: &mut Vec<String>, title: String, entries: Vec<String>) {
    if !entries.is_empty() {
        lines.push(title);
        lines.extend(entries.into_iter().map(|entry| format!("  {entry}")));
    }
}

fn message(change: &MessageChange, lang: Lang) -> [String; 2] {
    let (source, domain, rules) = (&change.source, &change.domain, change.rules.join(", "));
    let (before, after, turn) = (verdict(&change.before), verdict(&change.after), turn(change.turn, lang));
    let rules = if rules.is_empty() { say!(lang, "no rule", "aucune règle") } else { rules };
    let line = say!(
        lang,
        "{turn}: messages of `{source}`, {domain} ({rules}): {before} → {after}",
        "{turn} : messages de `{source}`, {domain} ({rules}) : {before} → {after}"
    );
    [line, format!("  {}", given(&change.given))]
}

fn verdict(verdict: &Verdict) -> String {
    match (verdict.label, verdict.reason) {
        (Some(label), _) => label.to_string(),
        (None, Some(reason)) => format!("{} ({reason})", verdict.outcome),
        (None, None) => verdict.outcome.to_owned(),
    }
}

fn turn(turn: Turn, lang: Lang) -> String {
    match turn {
        Turn::Lowered => say!(lang, "lowered", "abaissé"),
        Turn::Mixed => say!(lang, "neither above nor below", "ni au-dessus ni au-dessous"),
        Turn::Raised => say!(lang, "raised", "relevé"),
        Turn::Classified => say!(lang, "now classified", "désormais classé"),
        Turn::Unclassified => say!(lang, "no longer classified", "n'est plus classé"),
        Turn::Moved => say!(lang, "moved", "déplacé"),
    }
}

fn cell(change: &CellChange, lang: Lang) -> String {
    let labels = labels(&change.labels, lang);
    let (target, by) = (&change.target, &change.requirement);
    let space = change.space.as_ref().map(|space| format!(" ({space})")).unwrap_or_default();
    if change.turn.lowers() {
        say!(
            lang,
            "{target}{space} may get {labels}, which {by} kept away",
            "{target}{space} peut recevoir {labels}, ce que {by} interdisait"
        )
    } else {
        say!(
            lang,
            "{target}{space} may no longer get {labels}, by {by}",
            "{target}{space} ne peut plus recevoir {labels}, par {by}"
        )
    }
}

fn flow(change: &FlowChange, lang: Lang) -> String {
    let (copy, domain, labels) = (&change.copy, &change.domain, labels(&change.labels, lang));
    let end = |end: &Option<Arriving>| match end {
        Some(end) => format!("{} → {}", end.label, end.target),
        None => say!(lang, "refused", "refusée"),
    };
    let (before, after, turn) = (end(&change.before), end(&change.after), turn(change.turn, lang));
    say!(
        lang,
        "{turn}: copy `{copy}`, {domain}, of {labels}: before {before}, now {after}",
        "{turn} : copie `{copy}`, {domain}, de {labels} : avant {before}, désormais {after}"
    )
}

fn doubt(change: &BlockChange, lang: Lang) -> String {
    let (kind, id) = (change.kind, &change.id);
    say!(
        lang,
        "{kind} `{id}` works otherwise, in a way that labels do not show: it may protect less",
        "{kind} `{id}` opère autrement, sans que les étiquettes le montrent : la protection est peut-être moindre"
    )
}

fn moved_place(change: &PlaceChange, lang: Lang) -> String {
    let (domain, labels) = (&change.domain, labels(&change.labels, lang));
    let communes = communes(change.communes, &change.example, lang);
    let (before, after) = (place(change.before.as_ref(), lang), place(change.after.as_ref(), lang));
    say!(
        lang,
        "{domain}, {communes}: {labels}: {before} → {after}",
        "{domain}, {communes} : {labels} : {before} → {after}"
    )
}

fn block(change: &BlockChange) -> String {
    let sign = match change.change {
        Block::Added => '+',
        Block::Removed => '-',
        Block::Changed => '~',
    };
    format!("{sign} {} {}", change.kind, change.id)
}

fn tests(found: &Diff, lang: Lang) -> Vec<String> {
    let after = found.tests_failing_after.iter().map(|name| {
        say!(
            lang,
            "of the old policy, fails by the new one: {name}",
            "de l'ancienne, échoue selon la nouvelle : {name}"
        )
    });
    let before = found.tests_failing_before.iter().map(|name| {
        say!(
            lang,
            "of the new policy, fails by the old one: {name}",
            "de la nouvelle, échoue selon l'ancienne : {name}"
        )
    });
    after.chain(before).collect()
}

fn rates(moved: &Moves, lang: Lang) -> Vec<String> {
    let at_most = |at_most: bool| match at_most {
        true => say!(lang, "at most ", "au plus "),
        false => String::new(),
    };
    let (all, some) = (rate(moved.recorded_per_hour, lang), rate(moved.moved_per_hour, lang));
    let bound = at_most(moved.at_most);
    let mut lines = vec![say!(
        lang,
        "{bound}{some} of {all} messages an hour go elsewhere",
        "{bound}{some} messages sur {all} par heure vont ailleurs"
    )];
    for one in &moved.moved {
        let (source, level) = (&one.recorded.source, one.recorded.level);
        let (bound, some) = (at_most(one.at_most), rate(one.recorded.per_hour, lang));
        let (before, after) = (one.before.join(", "), one.after.join(", "));
        let after = if after.is_empty() { say!(lang, "nowhere", "nulle part") } else { after };
        let domain = one.recorded.domain.as_ref().map(|domain| format!(", {domain}")).unwrap_or_default();
        lines.push(say!(
            lang,
            "`{source}`{domain}, {level}: {bound}{some} an hour: {before} → {after}",
            "`{source}`{domain}, {level} : {bound}{some} par heure : {before} → {after}"
        ));
    }
    if !moved.unknown.is_empty() {
        let n = number(moved.unknown.len(), lang);
        lines.push(say!(
            lang,
            "{n} record(s) of sources, domains or labels that the old policy does not have",
            "{n} relevé(s) de sources, métiers ou étiquettes que l'ancienne politique n'a pas"
        ));
    }
    lines
}

/// A rate an hour, in whole messages.
fn rate(per_hour: f64, lang: Lang) -> String {
    let text = format!("{per_hour:.0}");
    text.parse().map_or(text, |n: usize| number(n, lang))
}
