//! Two people at a desk with an engine that goes on when the input says so: a line is a message, whose first
//! byte tells who says it and what happens behind it. Each hears changes in order, and in the end both hear
//! the same state.
#![no_main]

#[path = "../../common/mod.rs"]
mod common;

use common::{Bench, generous};
#[path = "shape.rs"]
mod shape;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use rigd::desk::ClientId;
use serde_json::{Value, json};

const LINES_MAX: usize = 64;

fn hear(bench: &mut Bench, client: ClientId, newest: &mut u64) -> Vec<Value> {
    let mut heard = Vec::new();
    while let Some(frame) = bench.desk.next_frame(client) {
        let Ok(text) = frame.to_text() else { continue };
        if text.is_empty() || frame.is_binary() {
            continue;
        }
        let message: Value = serde_json::from_str(text).expect("what the rig says is JSON");
        assert!(message["type"].is_string() && message["id"].is_string());
        let is_others = !message["data"]["changed_by"].is_null();
        if let Some(seq) = message["seq"].as_u64().filter(|_| is_others)
            && message["type"] != "PLUGIN_STATE_UPDATE"
        {
            assert!(seq > *newest, "{seq} after {newest}");
            *newest = seq;
        }
        if message["type"] == "state.resume" || message["type"] == "STATE_RESUME" {
            *newest = message["data"]["since_seq"].as_u64().expect("as asked");
        }
        heard.push(message);
    }
    heard
}

/// Other lines, or another line.
fn mutate(bytes: &[u8], dice: &mut shape::Dice) -> Option<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let (one, other) = (dice.below(lines.len()), dice.below(lines.len()));
    match dice.below(8) {
        0 => drop(lines.remove(one)),
        1 => lines.insert(other, lines[one].clone()),
        2 => lines.swap(one, other),
        // Who says it, and what happens then.
        3 => *lines[one].first_mut()? = b'0' + dice.below(16) as u8,
        _ => {
            let (first, message) = lines[one].split_first()?;
            let changed = shape::mutate(message, dice)?;
            lines[one] = [&[*first], &changed[..]].concat();
        }
    }
    Some(lines.join(&b'\n'))
}

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut dice = shape::Dice::new(seed);
    if dice.below(4) > 0
        && let Some(changed) = mutate(&data[..size], &mut dice)
        && changed.len() <= max_size
    {
        data[..changed.len()].copy_from_slice(&changed);
        return changed.len();
    }
    fuzzer_mutate(data, size, max_size)
});

fuzz_target!(|bytes: &[u8]| {
    let mut bench = Bench::new(generous());
    let mut people = [(bench.connect(), 0), (bench.connect(), 0)];
    for line in bytes.split(|byte| *byte == b'\n').take(LINES_MAX) {
        let Some((first, message)) = line.split_first() else {
            continue;
        };
        let who = usize::from(first & 1);
        match std::str::from_utf8(message) {
            Ok(text) => {
                bench.desk.receive(people[who].0, text, bench.now);
            }
            Err(_) => bench.desk.receive_binary(people[who].0, message.len()),
        }
        if first & 2 != 0 {
            bench.run_engine();
        }
        if first & 4 != 0 {
            bench.pass_ms(u64::from(*first));
            bench.desk.tick(bench.now);
        }
        if first & 8 != 0 {
            bench.desk.disconnect(people[who].0);
            people[who] = (bench.connect(), 0);
        }
        for (client, newest) in &mut people {
            hear(&mut bench, *client, newest);
        }
    }
    bench.pass_ms(3000);
    bench.run_engine();
    for (client, newest) in &mut people {
        hear(&mut bench, *client, newest);
    }
    let states = people.map(|(client, mut newest)| {
        bench.say(client, json!({"id": "the end", "type": "state.get"}));
        bench.run_engine();
        let heard = hear(&mut bench, client, &mut newest);
        let state = heard
            .into_iter()
            .find(|message| message["type"] == "state.snapshot");
        state.map(|state| state["data"]["tracks"].clone())
    });
    // One may have signed the other out.
    if let [Some(one), Some(other)] = states {
        assert_eq!(one, other);
    }
});
