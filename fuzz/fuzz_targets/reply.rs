//! `reply` for libFuzzer.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| parrot_fuzz::target::reply::run(data));
