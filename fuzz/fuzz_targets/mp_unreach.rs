//! See `bgp_fuzz::mp_unreach`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bgp_fuzz::mp_unreach(data));
