//! Any bytes from a broker, cut anywhere, in both versions. `cargo fuzz run subscriber corpus/subscriber seeds/subscriber`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| octroi_mqtt::exercise::subscriber(data, std::time::Instant::now()));
