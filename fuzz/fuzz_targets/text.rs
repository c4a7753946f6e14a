//! See `bgp_fuzz::text`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bgp_fuzz::text(data));
