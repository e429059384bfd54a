//! Any policy and messages that bytes can choose: the engine says what the reference says, with memory and
//! without. `cargo fuzz run decide -- -len_control=0`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| octroi_policy::reference::exercise(data));
