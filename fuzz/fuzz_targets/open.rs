//! See `bgp_fuzz::open`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bgp_fuzz::open(data));
