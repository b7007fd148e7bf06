//! What libFuzzer calls: the target that the variable FUZZ_TARGET names.
#![no_main]

use std::sync::OnceLock;

use fuzz::{TARGETS, Target, target};

static CHOSEN: OnceLock<Target> = OnceLock::new();

fn choose() {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let Some(target) = target(&name) else {
        eprintln!("FUZZ_TARGET={name} is none of {}", TARGETS.map(|target| target.name).join(", "));
        std::process::exit(1);
    };
    let _ = CHOSEN.set(target);
}

libfuzzer_sys::fuzz_target!(init: choose(), |input: &[u8]| {
    if let Some(target) = CHOSEN.get() {
        (target.read)(input);
    }
});
