//! See `bgp_fuzz::opaque_nlri`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bgp_fuzz::opaque_nlri(data));
