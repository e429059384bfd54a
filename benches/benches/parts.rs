//! How long one message takes in each part of the data path: the parts whose instructions `counts` guards.

use std::env;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use octroi_benches::Outcome;
use octroi_benches::counted::{ALL, Counted};

fn parts(criterion: &mut Criterion) {
    let directory = env::temp_dir().join(format!("octroi-parts-{}", std::process::id()));
    let mut group = criterion.benchmark_group("parts");
    for part in &ALL {
        group.throughput(Throughput::Elements(part.messages as u64));
        group.bench_function(part.name, |bencher| {
            bencher.iter_custom(|rounds| match rounds_of(part, rounds, &directory) {
                Ok(took) => took,
                Err(error) => {
                    eprintln!("{}: {error}", part.name);
                    std::process::exit(1)
                }
            });
        });
    }
    group.finish();
}

/// The time of so many rounds alone: what comes before them is measured with one round, and taken off.
fn rounds_of(part: &Counted, rounds: u64, directory: &Path) -> Outcome<Duration> {
    let time = |rounds| {
        fs::create_dir_all(directory)?;
        let began = Instant::now();
        (part.work)(rounds, directory)?;
        let took = began.elapsed();
        fs::remove_dir_all(directory)?;
        Outcome::Ok(took)
    };
    let before = time(1)?;
    Ok(time(usize::try_from(rounds)? + 1)?.saturating_sub(before))
}

criterion_group!(benches, parts);
criterion_main!(benches);
