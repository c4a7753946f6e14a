//! See `bgp_fuzz::session`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bgp_fuzz::session(data));
