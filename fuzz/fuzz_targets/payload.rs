//! Any bytes through every format and the strict JSON reader: facts or a reason, the same with memory as
//! without, and nothing that another JSON reader refuses.
//! `cargo fuzz run payload corpus/payload ../crates/octroi-policy/tests/fixtures`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| octroi_policy::reference::read_any(data));
