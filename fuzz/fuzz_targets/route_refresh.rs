//! See `bgp_fuzz::route_refresh`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bgp_fuzz::route_refresh(data));
