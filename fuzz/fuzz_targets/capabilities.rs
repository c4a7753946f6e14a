//! See `bgp_fuzz::capabilities`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bgp_fuzz::capabilities(data));
