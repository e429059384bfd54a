//! Any bytes of four clients on the listener without TLS, end to end, beside an honest one.
//! `cargo fuzz run listener corpus/listener seeds/listener`.
#![no_main]

#[path = "../../crates/octroi/tests/listener/exercise.rs"]
mod exercise;

use std::sync::LazyLock;

static STAGE: LazyLock<exercise::Stage> = LazyLock::new(exercise::Stage::new);

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    exercise::listener(&STAGE, data);
});
