//! Whatever a client sends: it is understood or refused in a sentence that repeats little of it.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rigd::protocol::decode::pairing;
use rigd::protocol::{Body, Limits, decode};
use rigd::rig::Request;

/// A fault on purpose, by which .ci/fuzz sees that faults are found.
static IS_SEEDED: LazyLock<bool> = LazyLock::new(|| std::env::var_os("RIGD_FUZZ_SEEDED").is_some());

fuzz_target!(|bytes: &[u8]| {
    if let Err(reject) = pairing(bytes) {
        assert!(reject.details().to_string().len() + reject.sentence().len() < 4096);
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match decode(text, Limits { batch_changes: 8 }).body {
        Err(reject) => {
            assert!(reject.details().to_string().len() + reject.sentence().len() < 4096);
        }
        Ok(Body::Batch(batch)) => assert!(batch.changes.len() <= 8),
        Ok(Body::Change(Request::PluginMove { plugin, position })) if *IS_SEEDED => {
            assert!(
                position != 7 || !plugin.plugin_id.starts_with("fz"),
                "the seeded fault"
            );
        }
        Ok(_) => {}
    }
});
