#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crossfade_fuzz::scim::run(data));
