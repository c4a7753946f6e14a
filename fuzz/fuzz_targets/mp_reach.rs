//! See `bgp_fuzz::mp_reach`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bgp_fuzz::mp_reach(data));
