//! Any policy and messages that bytes can choose: the engine says what the reference says, with memory and
//! without. `cargo fuzz run decide`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| octroi_policy::reference::exercise(data));
