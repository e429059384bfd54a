//! Any bytes on any topic, through every format and the strict reader, twice with one memory: facts or a
//! reason, the same both times. The first byte says where the topic ends. `cargo fuzz run payload`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| octroi_policy::reference::read_any(data));
