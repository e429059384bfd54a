//! The fuzz target `listener` on stable: its seeds, and mutations of them.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

mod exercise;

use std::time::Duration;

use exercise::{Stage, listener};
use octroi_journal::sim::Random;
use tokio::time::Instant;

#[test]
fn whatever_clients_send_the_honest_one_beside_them_is_served() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/listener");
    let mut seeds: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    seeds.sort();
    let seeds: Vec<_> = seeds.into_iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(seeds.len() >= 6);
    let (stage, began) = (Stage::new(), Instant::now());
    let acknowledged: u64 = seeds.iter().map(|seed| listener(&stage, seed)).sum();
    // Three of `v3-publishes`, two each of the take-over, the alias and the bridge, and the one of who falls silent.
    assert_eq!(acknowledged, 10, "publishes beside the honest client's");
    let mut numbers = Random(1);
    let mut random = move |below: usize| numbers.next() as usize % below.max(1);
    let mut rounds = 0;
    while began.elapsed() < Duration::from_secs(8) {
        let mut data = seeds[random(seeds.len())].clone();
        for _ in 0..=random(4) {
            let at = random(data.len());
            match random(4) {
                0 => data[at] = random(256) as u8,
                1 => data.insert(at, random(256) as u8),
                2 if data.len() > 3 => drop(data.remove(at)),
                _ => {
                    let other = &seeds[random(seeds.len())];
                    data.splice(at..at, other[1 + random(other.len() - 1)..].iter().copied());
                }
            }
        }
        listener(&stage, &data);
        rounds += 1;
    }
    println!("{rounds} mutations");
    assert!(rounds > 100, "only {rounds} mutations in the time");
}
