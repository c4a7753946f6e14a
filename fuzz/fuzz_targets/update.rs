//! See `bgp_fuzz::update`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bgp_fuzz::update(data));
