//! See `bgp_fuzz::decode_message`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bgp_fuzz::decode_message(data));
