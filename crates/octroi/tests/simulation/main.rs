//! The hub in simulation: journal, side logs, aggregates, relays and the way in
//! are the hub's own; disks, targets, publishers and time are simulated, and one
//! thread steps all of it in an order that a seed says. The server, its sockets
//! and its commands are not in it.
//!
//! A run that breaks a promise prints its seed and what led to it. `run` with
//! that seed, in a test of its own, is the same run again, step by step.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests"
)]

mod hub;
mod oracle;
mod publisher;
mod target;
mod truth;
mod world;

use std::collections::BTreeSet;
use std::thread;

use hub::Stage;
use target::{Lie, Mood};
use truth::{Class, Variant};
use world::{Backlogs, HOUR, Outcome, SECOND, World, run};

/// Runs of the main test, and the threads that share them.
const RUNS: u64 = 2_000;
const THREADS: u64 = 2;
/// Things that happen in a run: some hundred messages among them.
const ACTS: usize = 500;

#[track_caller]
fn holds(seed: u64, outcome: &Outcome) {
    let Outcome { broken, recent, .. } = outcome;
    assert!(broken.is_empty(), "seed {seed} breaks {broken:#?}\nafter, latest first, {recent:#?}");
}

#[test]
fn every_promise_holds_whatever_fails() {
    let began = tokio::time::Instant::now();
    let seeds = |first: u64| {
        move || {
            let stage = Stage::new();
            let (mut messages, mut lives, mut steps, mut backlogs) = (0, 0, 0, Backlogs::default());
            for seed in (first..RUNS).step_by(usize::try_from(THREADS).unwrap()) {
                let outcome = run(&stage, seed, ACTS, |_| {});
                holds(seed, &outcome);
                messages += outcome.messages;
                lives += outcome.lives;
                steps += outcome.steps;
                backlogs += outcome.backlogs;
            }
            (messages, lives, steps, backlogs)
        }
    };
    let mut all = Backlogs::default();
    let threads: Vec<_> = (0..THREADS).map(|first| thread::spawn(seeds(first))).collect();
    for thread in threads {
        let (messages, lives, steps, backlogs) = thread.join().unwrap();
        println!("{messages} messages, {lives} lives, {steps} steps, {backlogs:?}, {:?}", began.elapsed());
        assert!(messages > 0 && lives > 0);
        all += backlogs;
    }
    assert!(all.made > 100 && all.given_back > 100 && all.made_again > 20, "{all:?}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let [first, second] = [Stage::new(), Stage::new()];
    let mut traces = Vec::new();
    for seed in 0..8 {
        let trace = run(&first, seed, ACTS, |_| {}).trace;
        assert_eq!(trace, run(&second, seed, ACTS, |_| {}).trace, "seed {seed}");
        println!("seed {seed}: {trace}");
        traces.push(trace);
    }
    traces.dedup();
    assert_eq!(traces.len(), 8, "another seed, another trace");
}

/// Whether one of some seeds breaks that promise once something is planted.
fn breaks(promise: &str, plant: impl Fn(&mut World<'_>)) -> bool {
    let stage = Stage::new();
    (0..20).any(|seed| {
        let outcome = run(&stage, seed, ACTS, &plant);
        // What is synced and damaged is seen at a start, which says so.
        outcome.broken.iter().any(|broken| broken.contains(&format!("{promise} ")))
    })
}

#[test]
fn an_ack_before_the_sync_is_seen() {
    assert!(breaks("I1", |world| world.let_disk_lie()));
}

#[test]
fn a_target_that_loses_leaks_swaps_or_repeats_is_seen() {
    let lies = [(Lie::Loses, "I1"), (Lie::Leaks, "I2"), (Lie::Swaps, "I3"), (Lie::Repeats, "I4")];
    for (lie, promise) in lies {
        assert!(breaks(promise, |world| world.let_target_lie(0, lie)), "{lie:?}");
    }
}

#[test]
fn a_target_whose_records_are_counted_twice_or_not_at_all_is_seen() {
    assert!(breaks("I5", |world| world.let_counts_slip()));
}

#[test]
fn a_target_that_is_down_for_72_hours_holds_back_nobody_and_then_gets_everything_in_order() {
    let stage = Stage::new();
    let mut world = World::new(&stage, 72);
    world.activate(Variant::Renewed);
    world.targets[0].set(Mood::Hangs);
    for turn in 0..72 * 6 {
        for publisher in 0..3 {
            world.send(publisher, &[(Class::Open, false), (Class::Sensitive, false)]);
        }
        for _ in 0..4 {
            world.step_all();
            world.pass(SECOND / 10);
        }
        assert!(world.is_acknowledged(), "it is absorbed");
        world.pass(HOUR / 6);
        if turn == 36 * 6 {
            world.end_life(true);
        }
    }
    world.rest();
    let sent = world.watch.see().sent.len();
    let on = |world: &World<'_>, target: &str| -> BTreeSet<usize> {
        let oracle = world.watch.see();
        let arrivals = oracle.arrivals.iter().filter(|arrival| arrival.target == target);
        arrivals.map(|arrival| arrival.number).collect()
    };
    assert!(on(&world, "dc").is_empty() && on(&world, "voisin").is_empty(), "nothing takes another way");
    assert_eq!((sent, on(&world, "cloud").len()), (72 * 36, 72 * 18), "nor does it hold back another");
    world.targets[0].set(Mood::Takes);
    world.rest();
    assert_eq!(on(&world, "dc").len(), sent);
    world.judge();
    holds(72, &world.outcome());
}

#[test]
fn a_journal_gives_back_its_room_though_its_side_logs_and_a_target_get_nothing() {
    let stage = Stage::new();
    let mut world = World::with_segments(&stage, 1, 64 << 10);
    for turn in 0..400 {
        world.send(turn % 3, &[(Class::Open, false); 20]);
        for _ in 0..80 {
            world.step_all();
            world.pass(SECOND / 10);
            if world.is_acknowledged() {
                break;
            }
        }
        assert!(world.is_acknowledged(), "the journal is full after {turn} turns");
    }
    world.rest();
    world.judge();
    holds(1, &world.outcome());
}
