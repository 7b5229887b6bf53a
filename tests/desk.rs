//! The desk without sockets and without sound: what clients are told, when, and in which order.

mod common;

use std::collections::BTreeMap;

use common::{Bench, generous};
use proptest::prelude::*;
use rigd::desk::ClientId;
use serde_json::{Value, json};

fn add(plugin: &str, track: &str) -> Value {
    json!({"id": "add", "type": "plugin.add", "data": {"track_id": track, "name": "Reverb", "plugin_id": plugin}})
}

fn set(id: &str, value: f64) -> Value {
    json!({"id": id, "type": "plugin.parameter", "data": {
        "track_id": "mic1", "plugin_id": "r", "parameter_id": "wet_dry", "parameter_value": value}})
}

fn batch(id: &str, changes: &[(&str, f64)], now: bool) -> Value {
    let changes: Vec<Value> = changes
        .iter()
        .map(|(parameter, value)| json!({"track_id": "mic1", "plugin_id": "r", "parameter_id": parameter, "value": value}))
        .collect();
    json!({"id": id, "type": "plugin.parameter.batch", "data": {"changes": changes, "apply_immediately": now}})
}

fn types(heard: &[Value]) -> Vec<&str> {
    heard
        .iter()
        .map(|message| message["type"].as_str().unwrap())
        .collect()
}

#[test]
fn a_reply_waits_for_the_engine_and_says_since_which_frame() {
    let mut bench = Bench::new(generous());
    let client = bench.connect();
    bench.say(client, add("r", "mic1"));
    bench.desk.tick(bench.now);
    assert_eq!(bench.heard(client), [] as [Value; 0], "not applied yet");
    let frame = bench.frame;
    bench.run_engine();
    let heard = bench.heard(client);
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0]["id"], "add");
    assert_eq!(heard[0]["data"]["applied_frame"], frame);
    assert_eq!(heard[0]["data"]["success"], true);
    assert_eq!(heard[0]["seq"], 1);
    assert!(heard[0]["t1_engine_call"].is_string());
}

#[test]
fn a_change_is_encoded_once_for_all_who_hear_it_in_a_dialect() {
    let mut bench = Bench::new(generous());
    let sender = bench.connect();
    let others: Vec<ClientId> = (0..6).map(|_| bench.connect()).collect();
    for (number, other) in others.iter().enumerate() {
        let dialect = ["dotted", "upper", "legacy"][number % 3];
        let features = json!({"type": "client.features", "data": {"dialect": dialect}});
        bench.ask(*other, features);
    }
    bench.ask(sender, add("r", "mic1"));
    let frames: Vec<_> = others
        .iter()
        .map(|other| {
            loop {
                let frame = bench.desk.next_frame(*other).expect("it hears of it");
                if !frame.to_text().unwrap().contains("session.presence") {
                    break frame;
                }
            }
        })
        .collect();
    let place = |number: usize| frames[number].to_text().unwrap().as_ptr();
    for number in 0..3 {
        assert_eq!(place(number), place(number + 3), "the very same bytes");
        assert_ne!(
            place(number),
            place((number + 1) % 3),
            "each dialect has its own"
        );
    }
}

#[test]
fn with_the_engine_standing_still_the_answer_comes_and_the_change_is_kept() {
    let mut bench = Bench::new(generous());
    let client = bench.connect();
    bench.say(client, add("r", "mic1"));
    bench.pass_ms(99);
    bench.desk.tick(bench.now);
    let heard = bench.heard(client);
    assert_eq!(heard[0]["data"]["applied_frame"], Value::Null);
    assert_eq!(heard[0]["data"]["success"], true);
    bench.run_engine();
    assert_eq!(bench.taken.len(), 1, "applied when the engine is back");
    assert!(bench.heard(client).is_empty(), "and answered once");
}

#[test]
fn others_hear_it_in_their_own_dialect_and_the_sender_does_not() {
    let mut bench = Bench::new(generous());
    let (sender, dotted, upper, legacy) = (
        bench.connect(),
        bench.connect(),
        bench.connect(),
        bench.connect(),
    );
    bench.ask(upper, json!({"type": "STATE_GET"}));
    bench.ask(
        legacy,
        json!({"type": "GET_PARAMETERS", "pluginId": "limiter"}),
    );
    bench.ask(sender, add("r", "mic1"));
    for client in [dotted, upper, legacy] {
        bench.heard(client);
    }
    let mut message = set("x", 0.5);
    message["user_id"] = json!("ana");
    message["t0_timestamp"] = json!(123);
    assert_eq!(bench.ask(sender, message)[0]["t0_timestamp"], 123);
    bench.pass_ms(60);
    bench.desk.tick(bench.now);
    let heard = bench.heard(dotted);
    assert_eq!(types(&heard), ["plugin.parameter"]);
    assert_eq!(heard[0]["data"]["changed_by"], "ana");
    assert_ne!(heard[0]["id"], "x");
    assert_eq!(heard[0].get("t0_timestamp"), None);
    let heard = bench.heard(upper);
    assert_eq!(types(&heard), ["PLUGIN_PARAMETER", "PLUGIN_STATE_UPDATE"]);
    assert_eq!(heard[1]["data"]["state"]["parameters"]["wet_dry"], 0.5);
    assert_eq!(heard[1]["seq"], heard[0]["seq"]);
    let heard = bench.heard(legacy);
    assert_eq!(types(&heard), ["PARAMETER_UPDATED"]);
    assert_eq!(
        (&heard[0]["value"], &heard[0]["data"]["changedBy"]),
        (&json!(0.5), &json!("ana"))
    );
    assert!(bench.heard(sender).is_empty());
}

#[test]
fn an_immediate_batch_is_one_group_and_one_bad_change_stops_all() {
    let mut bench = Bench::new(generous());
    let (client, other) = (bench.connect(), bench.connect());
    bench.ask(client, add("r", "mic1"));
    bench.heard(other);
    bench.taken.clear();
    let heard = bench.ask(
        client,
        batch(
            "b",
            &[("wet_dry", 0.1), ("damping", 0.2), ("wet_dry", 0.3)],
            true,
        ),
    );
    assert_eq!(bench.taken.len(), 1);
    assert_eq!(bench.taken[0].len(), 2);
    assert_eq!(
        (
            &heard[0]["data"]["applied"],
            &heard[0]["data"]["superseded"]
        ),
        (&json!(2), &json!(1))
    );
    let told = bench.heard(other);
    assert_eq!(types(&told), ["plugin.parameter", "plugin.parameter"]);
    assert_eq!(
        told[1]["seq"], heard[0]["seq"],
        "the reply carries the last number of its range"
    );
    bench.taken.clear();
    let heard = bench.ask(
        client,
        batch(
            "b",
            &[("wet_dry", 0.9), ("wobble", 0.2), ("damping", 7.0)],
            true,
        ),
    );
    assert_eq!(heard[0]["data"]["code"], "INVALID_PARAMETER");
    let failures = heard[0]["data"]["details"]["failures"].as_array().unwrap();
    assert_eq!(
        failures
            .iter()
            .map(|fault| &fault["index"])
            .collect::<Vec<_>>(),
        [&json!(1), &json!(2)]
    );
    assert!(bench.taken.is_empty());
}

#[test]
fn a_debounced_batch_waits_and_an_immediate_change_overtakes_it() {
    let mut bench = Bench::new(generous());
    let (client, other) = (bench.connect(), bench.connect());
    bench.ask(client, add("r", "mic1"));
    bench.heard(other);
    assert!(
        bench
            .ask(
                client,
                batch("one", &[("wet_dry", 0.1), ("damping", 0.2)], false)
            )
            .is_empty()
    );
    assert!(
        bench
            .ask(client, batch("two", &[("damping", 0.3)], false))
            .is_empty()
    );
    bench.ask(other, set("now", 0.9));
    bench.pass_ms(50);
    bench.desk.tick(bench.now);
    bench.run_engine();
    let heard = bench.heard(client);
    assert_eq!(
        types(&heard),
        [
            "plugin.parameter",
            "plugin.parameter.batch",
            "plugin.parameter.batch"
        ]
    );
    assert_eq!(
        (&heard[1]["id"], &heard[2]["id"]),
        (&json!("one"), &json!("two"))
    );
    assert_eq!(
        (
            &heard[1]["data"]["applied"],
            &heard[1]["data"]["superseded"]
        ),
        (&json!(0), &json!(2))
    );
    assert_eq!(heard[1].get("seq"), None, "nothing of it was applied");
    assert_eq!(heard[2]["data"]["applied"], 1);
    assert_eq!(heard[2]["data"]["debounce_ms"], 50);
}

#[test]
fn a_client_that_asked_for_it_gets_batches_whole() {
    let mut bench = Bench::new(generous());
    let (client, other) = (bench.connect(), bench.connect());
    bench.ask(client, add("r", "mic1"));
    bench.ask(
        other,
        json!({"type": "client.features", "data": {"batch": true}}),
    );
    bench.ask(
        client,
        batch("b", &[("wet_dry", 0.1), ("damping", 0.2)], true),
    );
    let told = bench.heard(other);
    assert_eq!(types(&told), ["plugin.parameter.batch"]);
    assert_eq!(told[0]["data"]["changes"].as_array().unwrap().len(), 2);
    assert_eq!(told[0]["seq"], 3);
}

#[test]
fn a_stalled_engine_gets_one_coalesced_group_with_the_last_values() {
    let mut bench = Bench::new(generous());
    let client = bench.connect();
    bench.ask(client, add("r", "mic1"));
    bench.taken.clear();
    for step in 0..20_000 {
        bench.say(client, set("x", f64::from(step) / 20_000.0));
        bench.heard(client);
    }
    bench.run_engine();
    bench.run_engine();
    let last = bench.taken.last().unwrap();
    assert_eq!(
        last.len(),
        1,
        "what did not fit into the ring has become one command"
    );
    assert!(
        matches!(last[0], rigd_rt::Command::Set { value, .. } if value == (19_999.0f32 / 20_000.0))
    );
    assert_eq!(
        bench.heard(client).len(),
        20_000,
        "and every change is answered"
    );
}

#[test]
fn reads_wait_for_what_was_accepted_before_them() {
    let mut bench = Bench::new(generous());
    let client = bench.connect();
    bench.say(client, add("r", "mic1"));
    bench.say(
        client,
        json!({"id": "s", "type": "state.get", "requires_ack": true}),
    );
    bench.desk.tick(bench.now);
    assert!(bench.heard(client).is_empty());
    bench.run_engine();
    let heard = bench.heard(client);
    assert_eq!(types(&heard), ["plugin.add", "state.snapshot", "ack"]);
    assert_eq!(heard[1]["data"]["seq"], 1);
    assert_eq!(
        heard[1]["data"]["tracks"][0]["plugins"][0]["plugin_id"],
        "r"
    );
}

#[test]
fn every_refused_message_is_acknowledged_as_refused() {
    let mut bench = Bench::new(generous());
    let client = bench.connect();
    let mut message = set("x", 0.5);
    message["requires_ack"] = json!(true);
    let heard = bench.ask(client, message);
    assert_eq!(types(&heard), ["ERROR", "ack"]);
    assert_eq!(heard[0]["data"]["code"], "PLUGIN_NOT_FOUND");
    assert_eq!(heard[1]["data"]["original_message_id"], "x");
    assert_eq!(
        (&heard[1]["data"]["success"], &heard[1]["data"]["durable"]),
        (&json!(false), &json!(false))
    );
}

#[test]
fn limits_refuse_and_panic_is_never_refused() {
    let mut bench = Bench::new(rigd::config::Config::default().limits);
    let client = bench.connect();
    let mut refused = 0;
    for _ in 0..250 {
        let heard = bench.ask(client, json!({"type": "heartbeat"}));
        refused += usize::from(heard[0]["data"]["code"] == "RATE_LIMITED");
    }
    assert_eq!(refused, 50);
    assert_eq!(
        bench.ask(
            client,
            json!({"type": "rig.panic", "data": {"mode": "mute"}})
        )[0]["type"],
        "rig.panic"
    );
    let quieter = json!({"type": "track.update", "data": {"track_id": "mic1", "mute": true}});
    assert_eq!(bench.ask(client, quieter)[0]["type"], "track.update");
    let louder = json!({"type": "track.update", "data": {"track_id": "mic1", "mute": false}});
    assert_eq!(bench.ask(client, louder)[0]["data"]["code"], "RATE_LIMITED");
}

/// What a client believes: its first snapshot, and every change that it was told of since.
#[derive(Default)]
struct Believer {
    seq: u64,
    plugins: BTreeMap<String, BTreeMap<String, Value>>,
    panic: Value,
}

impl Believer {
    fn hear(&mut self, message: &Value) {
        let data = &message["data"];
        if message["type"] == "state.snapshot" {
            self.plugins = plugins_of(data);
            self.panic = data["panic"].clone();
            self.seq = data["seq"].as_u64().unwrap();
            return;
        }
        let Some(seq) = message["seq"].as_u64() else {
            return;
        };
        assert!(
            seq > self.seq,
            "in order, each once: {seq} after {}",
            self.seq
        );
        self.seq = seq;
        let plugin = data["plugin_id"].as_str().unwrap_or_default().to_owned();
        match message["type"].as_str().unwrap() {
            "plugin.add" => {
                self.plugins.insert(plugin, values_of(&data["parameters"]));
            }
            "plugin.remove" => {
                self.plugins.remove(&plugin);
            }
            "plugin.parameter" => {
                let parameter = data["parameter_id"].as_str().unwrap().to_owned();
                // One's own reply may come while a snapshot is owed for a change that was given up.
                if let Some(values) = self.plugins.get_mut(&plugin) {
                    values.insert(parameter, data["parameter_value"].clone());
                }
            }
            "plugin.preset" => {
                self.plugins.insert(plugin, values_of(&data["parameters"]));
            }
            "plugin.parameter.batch" => {}
            "rig.panic" => self.panic = data["mode"].clone(),
            "rig.restore" => self.panic = Value::Null,
            other => panic!("unexpected {other}"),
        }
    }
}

fn values_of(parameters: &Value) -> BTreeMap<String, Value> {
    parameters
        .as_object()
        .unwrap()
        .clone()
        .into_iter()
        .collect()
}

fn plugins_of(snapshot: &Value) -> BTreeMap<String, BTreeMap<String, Value>> {
    let tracks = snapshot["tracks"].as_array().unwrap();
    let plugins = tracks
        .iter()
        .flat_map(|track| track["plugins"].as_array().unwrap());
    plugins
        .map(|plugin| {
            (
                plugin["plugin_id"].as_str().unwrap().to_owned(),
                values_of(&plugin["parameters"]),
            )
        })
        .collect()
}

/// The one of four clients that only listens.
const LISTENER: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Add(u8),
    Remove(u8),
    Set(u8, u8, u16),
    Batch(Vec<(u8, u8, u16)>, bool),
    Preset(u8),
    Panic,
    Restore,
    Engine,
    Pass(u8),
    Read(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let change = || (0u8..4, 0u8..3, any::<u16>());
    prop_oneof![
        1 => (0u8..4).prop_map(Step::Add),
        1 => (0u8..4).prop_map(Step::Remove),
        6 => change().prop_map(|(plugin, parameter, value)| Step::Set(plugin, parameter, value)),
        3 => (prop::collection::vec(change(), 1..5), any::<bool>()).prop_map(|(changes, now)| Step::Batch(changes, now)),
        1 => (0u8..4).prop_map(Step::Preset),
        1 => Just(Step::Panic),
        1 => Just(Step::Restore),
        4 => Just(Step::Engine),
        3 => (1u8..60).prop_map(Step::Pass),
        2 => (0usize..4).prop_map(Step::Read),
    ]
}

fn message(step: &Step) -> Option<Value> {
    const PARAMETERS: [&str; 3] = ["wet_dry", "damping", "room_size"];
    let at = |plugin: u8| json!({"track_id": "mic1", "plugin_id": format!("p{plugin}")});
    let change = |plugin: u8, parameter: u8, value: u16| {
        json!({"track_id": "mic1", "plugin_id": format!("p{plugin}"), "parameter_id": PARAMETERS[usize::from(parameter)],
            "value": f64::from(value) / f64::from(u16::MAX)})
    };
    Some(match step {
        Step::Add(plugin) => json!({"type": "plugin.add",
            "data": {"track_id": "mic1", "name": "reverb", "plugin_id": format!("p{plugin}")}}),
        Step::Remove(plugin) => json!({"type": "plugin.remove", "data": at(*plugin)}),
        Step::Set(plugin, parameter, value) => {
            json!({"type": "plugin.parameter", "data": change(*plugin, *parameter, *value)})
        }
        Step::Batch(changes, now) => {
            let changes: Vec<_> = changes.iter().map(|(p, q, v)| change(*p, *q, *v)).collect();
            json!({"type": "plugin.parameter.batch", "data": {"changes": changes, "apply_immediately": now}})
        }
        Step::Preset(plugin) => {
            let mut data = at(*plugin);
            data["preset_name"] = json!("Default");
            json!({"type": "plugin.preset", "data": data})
        }
        Step::Panic => json!({"type": "rig.panic", "data": {"mode": "dry"}}),
        Step::Restore => json!({"type": "rig.restore"}),
        _ => return None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever several clients do, and however the engine, time and their reading interleave, every
    /// one of them hears every change at most once and in order, and believes in the end what is.
    #[test]
    fn everyone_believes_the_same_in_the_end(steps in prop::collection::vec((0..LISTENER, step()), 1..120), backlog in 16usize..200) {
        let mut limits = generous();
        limits.backlog_messages = backlog;
        let mut bench = Bench::new(limits);
        let clients: Vec<ClientId> = (0..4).map(|_| bench.connect()).collect();
        let mut believers: Vec<Believer> = (0..4).map(|_| Believer::default()).collect();
        for (client, believer) in clients.iter().zip(&mut believers) {
            bench.ask(*client, json!({"type": "state.get"})).iter().for_each(|message| believer.hear(message));
        }
        for (client, step) in steps.into_iter().chain([(0, Step::Pass(255)), (0, Step::Engine), (0, Step::Pass(255)), (0, Step::Engine)]) {
            match &step {
                Step::Engine => bench.run_engine(),
                Step::Pass(ms) => {
                    bench.pass_ms(u64::from(*ms));
                    bench.desk.tick(bench.now);
                }
                Step::Read(client) => {
                    bench.heard(clients[*client]).iter().for_each(|message| believers[*client].hear(message));
                }
                step => bench.say(clients[client], message(step).unwrap()),
            }
        }
        for (index, (client, believer)) in clients.iter().zip(&mut believers).enumerate() {
            bench.heard(*client).iter().for_each(|message| believer.hear(message));
            let mut truth = Value::Null;
            for message in bench.ask(*client, json!({"type": "state.get"})) {
                if message["type"] == "state.snapshot" {
                    truth = message["data"].clone();
                } else {
                    believer.hear(&message);
                }
            }
            prop_assert_eq!(&believer.panic, &truth["panic"]);
            let plugins = plugins_of(&truth);
            prop_assert_eq!(believer.plugins.keys().collect::<Vec<_>>(), plugins.keys().collect::<Vec<_>>());
            // A batch's own sender is told how much of it was applied, not every value again.
            if index == LISTENER {
                prop_assert_eq!(&believer.plugins, &plugins);
            }
        }
    }
}
