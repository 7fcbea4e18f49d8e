#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mls_fuzz::group_info(data));
