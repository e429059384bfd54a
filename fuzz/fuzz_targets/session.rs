//! Any bytes from a client, cut anywhere, in both versions. `cargo fuzz run session corpus/session seeds/session`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| octroi_mqtt::exercise::session(data, std::time::Instant::now()));
