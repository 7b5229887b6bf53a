//! A processor that is too slow, by load reports that the test makes up: said to everyone, and effects
//! rest, by the rig's own numbered changes, where the settings allow it.

mod common;

use common::{Bench, format, generous};
use rigd::desk::ClientId;
use rigd::desk::load::Policy;
use rigd::rig::state::MicFeed;
use rigd::ring::rings;
use rigd_rt::{Command, Outbox, Report};
use serde_json::{Value, json};

const BUSY: f32 = 0.95;
const CALM: f32 = 0.2;

fn bench(sheds: bool) -> (Bench, ClientId) {
    let mut bench = Bench::new(generous());
    bench.desk.set_load_policy(Policy {
        sheds,
        load_max: 0.8,
    });
    let client = bench.connect();
    for (track, name, id) in [
        ("mic1", "Compressor", "c"),
        ("mic1", "Reverb", "r"),
        ("mic2", "Echo", "e"),
    ] {
        bench.ask(
            client,
            json!({"type": "plugin.add", "data": {"track_id": track, "name": name, "plugin_id": id}}),
        );
    }
    bench.taken.clear();
    (bench, client)
}

/// So many tenths of a second at a load.
fn load(bench: &mut Bench, reports: usize, mean: f32) {
    for _ in 0..reports {
        let report = Report::Load {
            xruns: 0,
            mean,
            worst: mean,
        };
        assert!(bench.engine.reports.push(report));
        bench.run_engine();
    }
    // What has come of the last one.
    bench.run_engine();
}

fn degraded(bench: &mut Bench, client: ClientId) -> String {
    let status = bench.ask(client, json!({"type": "status.get"}));
    let status = status.iter().find(|said| said["type"] == "status.get");
    status.unwrap()["data"]["degraded"].to_string()
}

fn rests(bench: &Bench) -> Vec<bool> {
    let commands = bench.taken.iter().flatten();
    commands
        .filter_map(|command| match command {
            Command::Rest { on, .. } => Some(*on),
            _ => None,
        })
        .collect()
}

/// Which plugins rest, by a snapshot.
fn resting(bench: &mut Bench, client: ClientId) -> Vec<String> {
    let heard = bench.ask(client, json!({"type": "state.get"}));
    let snapshot = heard
        .iter()
        .find(|said| said["type"] == "state.snapshot")
        .unwrap();
    let tracks = snapshot["data"]["tracks"].as_array().unwrap().iter();
    let plugins = tracks.flat_map(|track| track["plugins"].as_array().unwrap());
    plugins
        .filter(|plugin| plugin["shed"] == true)
        .map(|plugin| plugin["plugin_id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn without_the_setting_it_is_said_and_nothing_is_done() {
    let (mut bench, client) = bench(false);
    assert_eq!(degraded(&mut bench, client), "[]");
    load(&mut bench, 3, BUSY);
    assert!(degraded(&mut bench, client).contains("too slow"));
    assert!(rests(&bench).is_empty());
    load(&mut bench, 12, CALM);
    assert_eq!(degraded(&mut bench, client), "[]");
}

#[test]
fn effects_rest_in_their_order_and_everyone_is_told_by_numbered_changes() {
    let (mut bench, client) = bench(true);
    let other = bench.connect();
    load(&mut bench, 3, BUSY);
    load(&mut bench, 3, BUSY);
    for id in [client, other] {
        let heard: Vec<Value> = bench.heard(id);
        let told: Vec<&Value> = heard
            .iter()
            .filter(|said| said["type"] == "plugin.shed")
            .collect();
        let of = |name: &str| {
            told.iter()
                .map(|said| said["data"][name].clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(of("plugin_id"), ["r", "e"]);
        assert_eq!(of("shed"), [true, true]);
        assert_eq!(of("changed_by"), ["rigd", "rigd"]);
        let seqs: Vec<u64> = told
            .iter()
            .map(|said| said["seq"].as_u64().unwrap())
            .collect();
        assert_eq!(seqs, [4, 5], "after the three additions");
    }
    assert_eq!(rests(&bench), [true, true]);
    assert_eq!(resting(&mut bench, client), ["r", "e"]);
    assert!(degraded(&mut bench, client).contains("r, e rest"));
    load(&mut bench, 250, CALM);
    assert_eq!(rests(&bench), [true, true, false, false]);
    assert!(resting(&mut bench, client).is_empty());
    assert_eq!(degraded(&mut bench, client), "[]");
}

#[test]
fn a_new_engine_lets_the_same_effects_rest() {
    let (mut bench, client) = bench(true);
    load(&mut bench, 3, BUSY);
    assert_eq!(resting(&mut bench, client), ["r"]);
    bench.taken.clear();
    bench.desk.detach();
    let (control, engine) = rings();
    bench.engine = engine;
    bench.desk.attach(control, format(), MicFeed::InOrder);
    bench.run_engine();
    assert_eq!(rests(&bench), [true]);
    load(&mut bench, 101, CALM);
    assert_eq!(rests(&bench), [true, false]);
}

#[test]
fn one_that_is_removed_while_it_rests_is_forgotten() {
    let (mut bench, client) = bench(true);
    load(&mut bench, 3, BUSY);
    let remove = json!({"type": "plugin.remove", "data": {"track_id": "mic1", "plugin_id": "r"}});
    bench.ask(client, remove);
    load(&mut bench, 12, CALM);
    assert_eq!(degraded(&mut bench, client), "[]");
    load(&mut bench, 200, CALM);
    assert_eq!(rests(&bench), [true]);
}

#[test]
fn nobody_asks_for_it() {
    let (mut bench, client) = bench(true);
    let data = json!({"track_id": "mic1", "plugin_id": "r", "shed": true});
    let heard = bench.ask(client, json!({"type": "plugin.shed", "data": data}));
    assert_eq!(heard[0]["data"]["code"], "UNKNOWN_MESSAGE_TYPE");
}
