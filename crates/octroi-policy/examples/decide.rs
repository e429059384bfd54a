//! What a decision costs: reading and deciding a 200-byte JSON message by 20
//! rules, beside `serde_json` into `Value` of the same payload; and deciding
//! by 1,000 and 10,000 rules; and what a review of 1,000 rules costs, proofs
//! included. Alternating, medians. Run with `--release`.
//!
//! `cargo run --release -p octroi-policy --example decide`

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints and reads the clock"
)]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark of a policy that compiles")]

use std::hint::black_box;
use std::time::Instant;

use octroi_policy::ast::{Block, Classify, Document, OneOrMany, RuleLevel, Source, When};
use octroi_policy::json::Scratch;
use octroi_policy::{Cog, Input, Marking, Policy, SourceFile, Timestamp, parse, prove, structural, unmissed};

const EXAMPLE: &str = include_str!("../../../policies/bretagne-exemple.toml");
const PAYLOAD: &str = r#"{"device":"compteur-7","ts":"2026-11-20T06:00:00Z","period":"PT15M","count":128,"speed_avg":43.7,"occupancy_pct":12.25,"by_class":{"car":109,"truck":6,"bicycle":13},"quality":"nominal","firmware":"2.14"}"#;

fn block<T>(value: T) -> Block<T> {
    Block { value, at: octroi_policy::Location::default(), keys: [].into() }
}

fn example() -> Document {
    parse(&[SourceFile { name: "p.toml".to_owned(), text: EXAMPLE.to_owned() }]).document
}

/// The example's policy with more rules: half of them of one source each, the
/// others of a domain, by topic, tag, field or measure.
fn document(rules: usize) -> Document {
    // As rules of one policy differ: a few kinds of sensitivity, in any order.
    let kinds = [
        (RuleLevel::Sensitive, vec![Marking::Personal]),
        (RuleLevel::Personal, vec![Marking::Personal, Marking::LocationTrace]),
        (RuleLevel::Internal, vec![Marking::VideoDerived]),
        (RuleLevel::Sensitive, vec![Marking::SecretSecurity]),
        (RuleLevel::Internal, vec![Marking::SecretBusiness]),
        (RuleLevel::Personal, vec![Marking::Personal, Marking::Minor]),
        (RuleLevel::Sensitive, vec![Marking::Personal, Marking::Offence]),
    ];
    let mut document = example();
    let camera = document.source.iter().find(|source| source.id == "ville-mobilite").unwrap().value.clone();
    let one = |text: String| Some(OneOrMany::One(text));
    for n in document.classify.len()..rules {
        let source = format!("capteurs-{}", n / 10);
        if n % 10 == 0 || !document.source.iter().any(|known| known.id == source) {
            document.source.push(block(Source {
                id: source.clone(),
                identity: format!("user:{source}"),
                topics: vec![format!("ville/{}/#", n / 10)],
                ..camera.clone()
            }));
        }
        let domain = ["mobility", "energy", "waste", "water", "air_quality"][n % 5].to_owned();
        let when = match n % 10 {
            0..5 => {
                When { source: one(source), field_any: Some(vec![format!("champ{n}")]), ..When::default() }
            }
            5 | 6 => When {
                domain: one(domain),
                topic: one(format!("ville/{}/+/count", n / 10)),
                ..When::default()
            },
            7 => When {
                domain: one(domain),
                tags: Some([("usage".to_owned(), OneOrMany::One(format!("usage{n}")))].into()),
                ..When::default()
            },
            8 => When {
                domain: one(domain),
                field_any: Some(vec![format!("nom{n}"), format!("alias{n}")]),
                ..When::default()
            },
            _ => {
                When { domain: one(domain), measure_any: Some(vec![format!("mesure{n}")]), ..When::default() }
            }
        };
        document.classify.push(block(Classify {
            id: format!("regle-{n}"),
            when,
            level: kinds[n % kinds.len()].0,
            markings: kinds[n % kinds.len()].1.clone(),
            processing: None,
            because: None,
        }));
    }
    // The payload has more than the example's closed schema: a rule that takes it.
    document.classify.push(block(Classify {
        id: "comptage".to_owned(),
        when: When {
            domain: one("mobility".to_owned()),
            topic: one("ville/mobilite/+/count".to_owned()),
            ..When::default()
        },
        level: RuleLevel::Internal,
        markings: vec![Marking::VideoDerived],
        processing: None,
        because: None,
    }));
    document
}

fn policy(rules: usize) -> Policy {
    Policy::compile(&document(rules), [0; 32]).unwrap()
}

/// What `check` does after it has read the files: the structure, the references, the proofs, and what nobody would
/// miss.
fn review(what: &str, document: &Document) {
    let mut times = Vec::new();
    let mut last = String::new();
    for _ in 0..5 {
        let start = Instant::now();
        let structural = structural(document, Cog::vintage(document.policy.cog)).len();
        let policy = Policy::compile(document, [0; 32]).unwrap();
        let (before, proof) = (start.elapsed(), prove(&policy, document));
        let proved = start.elapsed() - before;
        let unmissed = unmissed(document, &proof, document.policy.valid_from.date()).len();
        times.push(start.elapsed().as_secs_f64() * 1e3);
        last = format!(
            "{structural} findings of structure in {before:?}; {} cells, {} flows, {} findings proved in {proved:?}; {unmissed} of what nobody would miss in {:?}",
            proof.table_cells,
            proof.flows,
            proof.findings.len(),
            start.elapsed() - before - proved
        );
    }
    println!("{} rules, {what}: reviewed in {:.0} ms ({last})", document.classify.len(), median(&mut times));
}

/// Every marking, any level, no two rules alike, and all of them for any message: the most labels there can be.
fn worst(mut document: Document) -> Document {
    let levels = [RuleLevel::Sensitive, RuleLevel::Restricted, RuleLevel::Personal];
    let markings = &Marking::ALL[..Marking::ALL.len() - 1];
    for (n, rule) in document.classify.iter_mut().enumerate().skip(20) {
        rule.value.level = levels[n % levels.len()];
        rule.value.markings =
            vec![markings[n % markings.len()], markings[(n / markings.len()) % markings.len()]];
        let field = vec![format!("champ{n}")];
        rule.value.when = When { field_any: Some(field), ..When::default() };
    }
    document
}

fn nanos(mut work: impl FnMut()) -> f64 {
    const ROUNDS: u32 = 2_000;
    let start = Instant::now();
    for _ in 0..ROUNDS {
        work();
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS)
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn main() {
    let sizes = [20, 1_000, 10_000];
    let policies: Vec<Policy> = sizes.iter().map(|rules| policy(rules - 1)).collect();
    let input = Input {
        source: policies.first().and_then(|policy| policy.source("cert:CN=mobilite.rennes.example")).unwrap(),
        topic: "ville/mobilite/c7/count",
        payload: PAYLOAD.as_bytes(),
        user_properties: &[],
        received: Timestamp::parse_rfc3339("2026-11-20T06:01:10Z").unwrap(),
    };
    let mut scratch = Scratch::default();
    let [mut serde, mut read] = [const { Vec::new() }; 2];
    let [mut decide, mut cold] = [vec![Vec::new(); sizes.len()], vec![Vec::new(); sizes.len()]];
    for _ in 0..61 {
        serde.push(nanos(|| {
            black_box(serde_json::from_slice::<serde_json::Value>(black_box(input.payload)).unwrap());
        }));
        read.push(nanos(|| {
            let format = octroi_policy::ast::Format::Json;
            black_box(
                octroi_policy::read_with(format, input.topic, black_box(input.payload), &mut scratch)
                    .unwrap(),
            );
        }));
        for ((policy, times), cold) in policies.iter().zip(&mut decide).zip(&mut cold) {
            times.push(nanos(|| {
                black_box(policy.decide_with(black_box(&input), &mut scratch));
            }));
            cold.push(nanos(|| {
                black_box(policy.decide(black_box(&input)));
            }));
        }
    }
    let (serde, read) = (median(&mut serde), median(&mut read));
    println!("{} bytes; serde_json into Value {serde:.0} ns; reading the facts {read:.0} ns", PAYLOAD.len());
    let mut least = None;
    for (((rules, times), cold), policy) in sizes.iter().zip(&mut decide).zip(&mut cold).zip(&policies) {
        let (whole, cold) = (median(times), median(cold));
        let (least, least_cold) = *least.get_or_insert((whole, cold));
        println!(
            "{:>6} rules: read and decide {whole:.0} ns, ÷ serde_json {:.2}, ÷ 20 rules {:.2}; deciding alone {:.0} ns ({}); without memory {cold:.0} ns, ÷ 20 rules {:.2}",
            rules,
            whole / serde,
            whole / least,
            whole - read,
            policy.decide(&input).outcome.name(),
            cold / least_cold,
        );
    }
    review("the example's", &example());
    review("of a few kinds", &document(1_000));
    review("of every marking, for every message", &worst(document(1_000)));
}
