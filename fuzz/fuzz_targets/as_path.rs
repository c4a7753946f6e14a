//! See `bgp_fuzz::as_path`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bgp_fuzz::as_path(data));
