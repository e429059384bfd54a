//! `octroi policy simulate PATH`

use octroi_policy::Policy;
use octroi_policy::simulate::{CopyChange, PrimaryChange, Scenario, Simulation, State, simulate};

use super::words::{communes, labels, number, place, print};
use super::{Context, Exit, Failure, compiled, day, misasked, print_json};
use crate::cli::SimulateArgs;
use crate::words::Lang;

pub(super) fn run(args: &SimulateArgs, context: &Context) -> Result<Exit, Failure> {
    let policy = compiled(&args.path, context)?;
    let simulation = simulate(&policy, &scenario(&policy, args, context)?);
    let simulation = simulation.map_err(|error| misasked(&error, context))?;
    if context.json {
        print_json(&simulation)?;
    } else {
        print(&words(&simulation, context.lang));
    }
    Ok(Exit::Ok)
}

pub(super) fn scenario(policy: &Policy, args: &SimulateArgs, context: &Context) -> Result<Scenario, Failure> {
    let from = match &args.from {
        Some(text) => day(text, context)?,
        None => policy.document().policy.valid_from.date(),
    };
    let mut scenario = Scenario::new(from);
    if let Some(text) = &args.date {
        scenario = scenario.on(day(text, context)?);
    }
    for target in &args.target_down {
        scenario = scenario.down(policy, target).map_err(|error| misasked(&error, context))?;
    }
    for record in &args.expired {
        scenario = scenario.lapsed(policy, record).map_err(|error| misasked(&error, context))?;
    }
    Ok(scenario)
}

pub(super) fn words(simulation: &Simulation, lang: Lang) -> String {
    let Simulation { from, on, .. } = simulation;
    let (classes, unchanged) = (number(simulation.classes, lang), number(simulation.unchanged, lang));
    let day = if from == on {
        say!(lang, "{on}, compared with the same day as planned", "{on}, comparé au même jour tel que prévu")
    } else {
        say!(lang, "{on}, compared with {from}", "{on}, comparé au {from}")
    };
    let mut lines = vec![say!(
        lang,
        "{day}: {unchanged} of {classes} cases (source × domain × communes × label) go as before",
        "{day} : {unchanged} cas sur {classes} (source × métier × communes × étiquette) restent comme avant"
    )];
    if !simulation.primaries.is_empty() {
        lines.push(say!(
            lang,
            "Primary spaces (nothing is rerouted)",
            "Espaces principaux (rien n'est envoyé ailleurs)"
        ));
        lines.extend(simulation.primaries.iter().map(|change| primary(change, lang)));
    }
    if !simulation.copies.is_empty() {
        lines.push(say!(lang, "Copies", "Copies"));
        lines.extend(simulation.copies.iter().map(|change| copy(change, lang)));
    }
    if !simulation.tests.is_empty() {
        lines.push(say!(lang, "Tests that would fail that day", "Essais qui échoueraient ce jour-là"));
        lines.extend(simulation.tests.iter().map(|test| format!("  {}: {}", test.location, test.name)));
    }
    lines.join("\n")
}

fn primary(change: &PrimaryChange, lang: Lang) -> String {
    let (source, domain, labels) = (&change.source, &change.domain, labels(&change.labels, lang));
    let communes = communes(change.communes, &change.example, lang);
    let (place, target) =
        (place(change.place.as_ref(), lang), change.place.as_ref().map(|p| p.target.as_str()));
    let (before, after) = (state(&change.before, target, lang), state(&change.after, target, lang));
    say!(
        lang,
        "  `{source}`, {domain}, {communes}: {labels}: {place}: {before} → {after}",
        "  `{source}`, {domain}, {communes} : {labels} : {place} : {before} → {after}"
    )
}

fn copy(change: &CopyChange, lang: Lang) -> String {
    let (copy, source, domain) = (&change.copy, &change.source, &change.domain);
    let labels = labels(&change.labels, lang);
    let target = Some(change.target.as_str());
    let (before, after) = (copied(&change.before, target, lang), copied(&change.after, target, lang));
    say!(
        lang,
        "  `{copy}` of `{source}`, {domain}: {labels}: {before} → {after}",
        "  `{copy}` de `{source}`, {domain} : {labels} : {before} → {after}"
    )
}

/// What becomes of a primary.
fn state(state: &State, target: Option<&str>, lang: Lang) -> String {
    match state {
        State::Stops { by, since } if by != "expires" => {
            let since = day_since(*since, lang);
            say!(lang, "held{since} ({by})", "retenu{since} ({by})")
        }
        State::Stops { since, .. } => {
            let since = day_since(*since, lang);
            say!(
                lang,
                "refused{since} (the source's time is over)",
                "refusé{since} (la source est arrivée à son terme)"
            )
        }
        State::Goes | State::Waits | State::NoPlace => copied(state, target, lang),
    }
}

/// What becomes of a copy.
fn copied(state: &State, target: Option<&str>, lang: Lang) -> String {
    let target = target.unwrap_or_default();
    match state {
        State::Goes => say!(lang, "goes", "part"),
        State::Waits => say!(lang, "waits for {target}", "attend {target}"),
        State::NoPlace => say!(lang, "no place", "aucun lieu"),
        State::Stops { by, since } => {
            let since = day_since(*since, lang);
            match by.as_str() {
                "primary" => say!(
                    lang,
                    "stops{since} (its message is held)",
                    "s'arrête{since} (son message est retenu)"
                ),
                by => say!(lang, "stops{since} ({by})", "s'arrête{since} ({by})"),
            }
        }
    }
}

fn day_since(since: Option<octroi_policy::Date>, lang: Lang) -> String {
    since.map_or_else(String::new, |day| say!(lang, " since {day}", " depuis le {day}"))
}
