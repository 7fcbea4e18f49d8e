#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sframe_bridge_fuzz::codecs(data));
