//! Whatever a client sends: it is understood or refused in a sentence that repeats little of it.
#![no_main]

#[path = "shape.rs"]
mod shape;

use std::sync::LazyLock;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use rigd::protocol::decode::pairing;
use rigd::protocol::{Body, Limits, decode};
use rigd::rig::Request;

/// A fault on purpose, by which .ci/fuzz sees that faults are found.
static IS_SEEDED: LazyLock<bool> = LazyLock::new(|| std::env::var_os("RIGD_FUZZ_SEEDED").is_some());

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut dice = shape::Dice::new(seed);
    if dice.below(3) > 0
        && let Some(changed) = shape::mutate(&data[..size], &mut dice)
        && changed.len() <= max_size
    {
        data[..changed.len()].copy_from_slice(&changed);
        return changed.len();
    }
    fuzzer_mutate(data, size, max_size)
});

fuzz_target!(|bytes: &[u8]| {
    if let Err(reject) = pairing(bytes) {
        assert!(reject.details().to_string().len() + reject.sentence().len() < 1024);
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match decode(text, Limits { batch_changes: 8 }).body {
        Err(reject) => {
            assert!(reject.details().to_string().len() + reject.sentence().len() < 1024);
        }
        Ok(Body::Batch(batch)) => assert!(batch.changes.len() <= 8),
        Ok(Body::Change(Request::PluginMove { plugin, position })) if *IS_SEEDED => {
            // Two things that no message of the corpus has; each is a branch that coverage sees.
            let is_between = position.as_f64().is_some_and(|position| position.fract() != 0.0);
            if is_between && plugin.plugin_id.len() > 8 {
                panic!("the seeded fault");
            }
        }
        Ok(_) => {}
    }
});
