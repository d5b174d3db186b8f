//! The fuzzer: libFuzzer feeds one target, which [`TARGET`] names. `cargo xtask fuzz` builds and runs it.
#![no_main]

use std::sync::LazyLock;

/// The environment variable that names the target.
const TARGET: &str = "DOCKER_UNIVERSE_FUZZ_TARGET";

static CHECK: LazyLock<fn(&str)> = LazyLock::new(|| {
    let name = std::env::var(TARGET).unwrap_or_default();
    let target = duj_fuzz::TARGETS.iter().find(|target| target.name == name);
    target.unwrap_or_else(|| panic!("{TARGET} names no target: '{name}'")).check
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| CHECK(&String::from_utf8_lossy(bytes)));
