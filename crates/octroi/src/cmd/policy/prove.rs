//! `octroi policy prove PATH --never STATEMENT --to PLACE`

use octroi_policy::ast::Via;
use octroi_policy::never::{Answer, Counterexample, Flow, Statement, prove};

use super::words::{given, number, print};
use super::{Context, Exit, Failure, compiled, misasked, print_json};
use crate::cli::{ProveArgs, ViaArg};
use crate::words::{Lang, count};

pub(super) fn run(args: &ProveArgs, context: &Context) -> Result<Exit, Failure> {
    let policy = compiled(&args.path, context)?;
    let via = match args.via {
        ViaArg::Primary => Via::Primary,
        ViaArg::Copy => Via::Copy,
        ViaArg::Any => Via::Any,
    };
    let statement = Statement::parse(&args.never, &args.to, via, args.transformed, &policy)
        .map_err(|error| misasked(&error, context))?;
    let answer = prove(&policy, &statement);
    if context.json {
        print_json(&answer)?;
    } else {
        print(&words(&answer, args, context.lang));
    }
    Ok(if answer.proved { Exit::Ok } else { Exit::Finding })
}

pub(super) fn words(answer: &Answer, args: &ProveArgs, lang: Lang) -> String {
    let (never, to) = (&args.never, args.to.join(", "));
    let (labels, cells, flows) =
        (number(answer.labels, lang), count(lang, answer.table_cells), count(lang, answer.flows));
    let tried = say!(
        lang,
        "tried: {labels} labels, {cells} table cells (label × target), {flows} flows (label → transform → target)",
        "examinés : {labels} étiquettes, {cells} cases du tableau (étiquette × hébergement), {flows} flux \
         (étiquette → transformation → hébergement)"
    );
    let mut lines = Vec::new();
    match &answer.counterexample {
        None => {
            lines.push(say!(
                lang,
                "proved: `{never}` never arrives there ({to})",
                "prouvé : `{never}` n'y arrive jamais ({to})"
            ));
            lines.push(tried);
        }
        Some(found) => {
            let broken = count(lang, answer.broken);
            lines.push(say!(
                lang,
                "not so: `{never}` can arrive there ({to}), by {broken} of these cells and flows",
                "c'est faux : `{never}` peut y arriver ({to}), par {broken} de ces cases et flux"
            ));
            lines.push(tried);
            lines.extend(shown(found, args, lang));
        }
    }
    if !answer.lowered.is_empty() {
        lines.push(say!(lang, "arrives there lowered:", "y arrive abaissé :"));
        lines.extend(answer.lowered.iter().map(|way| format!("  {}", flow(way))));
    }
    if answer.targets.is_empty() {
        lines.push(say!(
            lang,
            "the policy has no such target",
            "la politique n'a aucun hébergement de ce genre"
        ));
    }
    lines.join("\n")
}

fn shown(found: &Counterexample, args: &ProveArgs, lang: Lang) -> Vec<String> {
    let mut lines = vec![format!("  {}", flow(&found.flow))];
    if let Some(sender) = &found.flow.sender {
        let (source, domain, rules) = (&sender.source, &sender.domain, sender.rules.join(", "));
        lines.push(say!(
            lang,
            "  source `{source}`, domain `{domain}`, by {rules}",
            "  source `{source}`, métier `{domain}`, par {rules}"
        ));
    }
    match (&found.given, &found.flow.sender) {
        (Some(message), _) => {
            let (path, at) = (args.path.display(), found.at);
            lines.push(say!(lang, "this message does it:", "ce message le montre :"));
            lines.push(format!("  {}", given(message)));
            lines.push(say!(
                lang,
                "put it into message.json and ask why:",
                "placez-le dans message.json et demandez pourquoi :"
            ));
            lines.push(format!("  octroi explain --policy {path} --given message.json --date {at}"));
        }
        (None, Some(_)) => lines.push(say!(
            lang,
            "the rules' conditions allow it; no message of facts alone was found that shows it",
            "les conditions des règles le permettent ; aucun message fait de seuls faits ne le montre"
        )),
        (None, None) => lines.push(say!(
            lang,
            "no rule of today gives this label; the proof covers every label there can be",
            "aucune règle d'aujourd'hui ne donne cette étiquette ; la preuve couvre toutes les étiquettes possibles"
        )),
    }
    lines
}

/// `personal → copy `c` → t → internal → cloud`
fn flow(flow: &Flow) -> String {
    let Flow { label, by, transform, arrives, target, .. } = flow;
    match transform {
        Some(transform) => format!("{label} → `{by}` → {transform} → {arrives} → {target}"),
        None => format!("{label} → `{by}` → {target}"),
    }
}
