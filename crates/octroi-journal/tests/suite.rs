//! The rules of the journal, each with a test that bears its name, over a simulated disk.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

#[path = "suite/crash.rs"]
mod crash;
#[path = "suite/damage.rs"]
mod damage;
#[path = "suite/faults.rs"]
mod faults;
#[path = "suite/golden.rs"]
mod golden;
#[path = "suite/life.rs"]
mod life;
#[path = "suite/model.rs"]
mod model;
#[path = "suite/repair.rs"]
mod repair;
#[path = "suite/rules.rs"]
mod rules;
#[path = "suite/support.rs"]
mod support;
