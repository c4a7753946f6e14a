//! See `bgp_fuzz::aigp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bgp_fuzz::aigp(data));
