//! The log and the state that survives: the state follows from the changes alone, whatever is asked; a
//! gesture is one event; what the disk does not take is named; and what is found at a start, whatever
//! it is, leaves the rig playable.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use rigd::config::Config;
use rigd::provenance::recorder::{Circumstances, Entry, Recorder, WAITING_MAX};
use rigd::provenance::rows::Row;
use rigd::provenance::writer::Run;
use rigd::provenance::{self, Log, SEQ_MARK, database};
use rigd::rig::state::{MicFeed, Wiring};
use rigd::rig::{
    self, Change, Durable, ParameterChange, PluginRef, Request, State, Track, TrackFields, What,
};
use rigd::session::By;
use rigd_rt::{Command, Kind, PanicMode, TrackKind};
use rusqlite::Connection;
use serde_json::{Value, json};

const POOL_SAMPLES: usize = 1 << 21;

fn wiring() -> Wiring {
    Wiring {
        sample_rate_hz: 48_000,
        device_channels: 2,
        file_channels: 2,
        mic_feed: MicFeed::InOrderLooped,
    }
}

fn new_rig() -> State {
    let config = Config::default();
    let tracks = config.tracks.iter().map(Track::from_settings).collect();
    let mut state = State::new(tracks, wiring(), POOL_SAMPLES);
    state.build(wiring());
    state
}

/// Everything of it that is ever written.
fn rows(state: &Durable) -> Vec<Row> {
    let parts = state.parts();
    parts.iter().map(|part| Row::of(part, state)).collect()
}

fn by(user: &str) -> Arc<By> {
    Arc::new(By {
        user_id: user.to_owned(),
        ..By::rig()
    })
}

fn how(ms: u64, is_awaited: bool) -> Circumstances {
    Circumstances {
        at: Timestamp::from_millisecond(1_700_000_000_000 + ms as i64).unwrap(),
        now: Duration::from_millis(ms),
        applied_frame: None,
        is_awaited,
    }
}

fn run(epoch: &str) -> Run {
    Run {
        agent_id: "test".to_owned(),
        epoch: epoch.to_owned(),
        retention: Default::default(),
    }
}

/// A folder that goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let path = std::env::temp_dir().join(format!("rigd-log-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn database(&self) -> PathBuf {
        self.0.join(database::FILE)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

// What may be asked.

const TRACKS: [&str; 7] = ["mic1", "mic2", "music", "master", "t0", "t1", "bus"];
const KINDS: [Kind; 5] = [
    Kind::Gain,
    Kind::Eq,
    Kind::Gate,
    Kind::Duck,
    Kind::Compressor,
];

fn track_id() -> impl Strategy<Value = String> {
    prop::sample::select(&TRACKS[..]).prop_map(str::to_owned)
}

fn plugin() -> impl Strategy<Value = PluginRef> {
    let ids = prop::sample::select(&["p0", "p1", "p2", "gain_1", "eq_2", "limiter"][..]);
    ids.prop_map(|id| PluginRef {
        track_id: None,
        plugin_id: id.to_owned(),
    })
}

fn parameter() -> impl Strategy<Value = ParameterChange> {
    let ids = KINDS
        .iter()
        .flat_map(|kind| kind.params())
        .collect::<Vec<_>>();
    (plugin(), prop::sample::select(ids), 0.0f64..=1.0).prop_map(|(plugin, param, share)| {
        let value = param.min + share * (param.max - param.min);
        ParameterChange {
            plugin,
            parameter_id: param.id.to_owned(),
            value: json!(value.clamp(param.min, param.max)),
        }
    })
}

fn fields() -> impl Strategy<Value = TrackFields> {
    let sends = prop::option::of(prop::sample::select(&[0.0, 0.1, 1.0][..]));
    (
        prop::option::of("\\PC{0,8}"),
        prop::option::of(prop::sample::select(
            &["device:1", "device:2", "file", "none"][..],
        )),
        prop::option::of(0.0f64..2.0),
        prop::option::of(-1.0f64..1.0),
        prop::option::of(any::<bool>()),
        sends,
    )
        .prop_map(|(name, input, volume, pan, mute, send)| TrackFields {
            name,
            input: input.map(str::to_owned),
            volume: volume.map(|volume| json!(volume)),
            pan: pan.map(|pan| json!(pan)),
            mute,
            solo: mute.map(|mute| !mute),
            sends: send.map(|level| vec![("bus".to_owned(), json!(level))]),
            input_gain_db: pan.map(|pan| json!(pan * 20.0)),
        })
}

fn request() -> impl Strategy<Value = Request> {
    let names = || prop::sample::select(&["mine", "a/b", "natural", "Default"][..]);
    let kinds = prop::sample::select(
        &[
            (TrackKind::Mic, "t0"),
            (TrackKind::Stem, "t1"),
            (TrackKind::Bus, "bus"),
        ][..],
    );
    prop_oneof![
        4 => (track_id(), prop::sample::select(&KINDS[..]), prop::option::of(plugin()), prop::option::of(0u8..4), any::<bool>())
            .prop_map(|(track_id, kind, plugin, position, is_other)| Request::PluginAdd {
                track_id,
                name: kind.name().to_owned(),
                plugin_path: is_other.then(|| "/x.lv2".to_owned()),
                position: position.map(|position| json!(position)),
                plugin_id: plugin.map(|plugin| plugin.plugin_id),
            }),
        1 => plugin().prop_map(Request::PluginRemove),
        6 => parameter().prop_map(Request::PluginParameter),
        2 => prop::collection::vec(parameter(), 1..4).prop_map(Request::Parameters),
        2 => (plugin(), any::<bool>()).prop_map(|(plugin, bypass)| Request::PluginBypass { plugin, bypass }),
        2 => (plugin(), names()).prop_map(|(plugin, name)| Request::PluginPreset { plugin, name: Some(name.to_owned()), data: None }),
        1 => (plugin(), names()).prop_map(|(plugin, name)| Request::PresetSave { plugin, name: name.to_owned() }),
        2 => (plugin(), 0u8..4).prop_map(|(plugin, position)| Request::PluginMove { plugin, position: json!(position) }),
        2 => (kinds, fields()).prop_map(|((kind, id), fields)| Request::TrackAdd { track_id: id.to_owned(), kind, fields }),
        1 => track_id().prop_map(|track_id| Request::TrackRemove { track_id }),
        3 => (track_id(), fields()).prop_map(|(track_id, fields)| Request::TrackUpdate { track_id, fields }),
        1 => (track_id(), names()).prop_map(|(track_id, name)| Request::ChainLoad { track_id, name: name.to_owned() }),
        1 => (track_id(), names()).prop_map(|(track_id, name)| Request::ChainSave { track_id, name: name.to_owned() }),
        1 => prop::sample::select(&[PanicMode::Mute, PanicMode::Dry][..]).prop_map(Request::Panic),
        1 => Just(Request::Restore),
    ]
}

/// What the rig makes of a request; the engine is quick with what it is asked to free.
fn ask(state: &mut State, request: Request) -> Vec<Change> {
    let Ok(accepted) = rig::apply(state, request) else {
        return Vec::new();
    };
    for command in &accepted.commands {
        match command {
            Command::RemoveEffect { slot } => state.slot_freed(*slot),
            Command::RemoveTrack { track } => state.track_freed(*track),
            _ => {}
        }
    }
    accepted.changes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// The state that follows from the changes is the state.
    #[test]
    fn the_state_follows_from_the_changes(requests in prop::collection::vec(request(), 1..80)) {
        let mut state = new_rig();
        let mut durable = state.durable();
        for request in requests {
            for change in ask(&mut state, request) {
                durable.follow(&change.what);
            }
            prop_assert_eq!(rows(&durable), rows(&state.durable()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// What is loaded from the database is the state, through every restart, and numbers go on.
    #[test]
    fn the_database_holds_the_state(lives in prop::collection::vec(prop::collection::vec((request(), any::<bool>()), 0..40), 1..4)) {
        let folder = Folder::new();
        let mut state = new_rig();
        for (life, requests) in lives.into_iter().enumerate() {
            let mut opened = provenance::open(&folder.0).unwrap();
            prop_assert_eq!(&opened.troubles, &Vec::<String>::new());
            prop_assert_eq!(opened.seq, state.seq);
            if life > 0 {
                let found = opened.state.take().unwrap();
                prop_assert_eq!(rows(&found), rows(&state.durable()));
                state = State::restore(found, opened.seq, wiring(), POOL_SAMPLES);
                prop_assert!(state.build(wiring()).1.is_empty());
            }
            let mut log = opened.begin(state.durable(), state.seq, run(&life.to_string()), true);
            for (ms, (request, is_awaited)) in (0u64..).step_by(7).zip(requests) {
                for change in ask(&mut state, request) {
                    log.record(&change, &by("ana"), how(ms, is_awaited));
                }
                log.tick(Duration::from_millis(ms));
            }
            log.finish(Duration::from_secs(60), 0);
        }
        let found = provenance::open(&folder.0).unwrap().state.unwrap();
        prop_assert_eq!(rows(&found), rows(&state.durable()));
    }
}

// Gestures.

#[derive(Clone, Debug)]
enum Step {
    /// Somebody moves a fader.
    Move {
        user: u8,
        plugin: u8,
        parameter: u8,
        value: u8,
        is_awaited: bool,
    },
    /// Something else happens to a plugin.
    Bypass(u8),
    Pass(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let moves = (0u8..2, 0u8..2, 0u8..2, 0u8..4, 0u8..12).prop_map(
        |(user, plugin, parameter, value, awaited)| Step::Move {
            user,
            plugin,
            parameter,
            value,
            is_awaited: awaited == 0,
        },
    );
    prop_oneof![
        10 => moves,
        1 => (0u8..2).prop_map(Step::Bypass),
        6 => (1u16..60).prop_map(Step::Pass),
        1 => (60u16..300).prop_map(Step::Pass),
    ]
}

/// What an event of a gesture says.
#[derive(Clone, Debug, PartialEq)]
struct Told {
    user: u8,
    seq_first: u64,
    seq_last: u64,
    /// Parameter → first value, last value, changes.
    changes: BTreeMap<String, (f64, f64, u64)>,
}

/// The gestures of one plugin by the words of the contract: each change goes on with the one before
/// it, unless 100 ms have passed since that or 2 s since the first, somebody else is at it, or something
/// ended it.
#[derive(Default)]
struct Gestures {
    told: Vec<Told>,
    /// When the open one began, and its last change.
    open: Option<(u64, u64)>,
    values: BTreeMap<String, f64>,
}

impl Gestures {
    fn moved(&mut self, user: u8, seq: u64, parameter: &str, value: f64, ms: u64) {
        let goes_on = self.open.filter(|(began, last)| {
            let same = self.told.last().is_some_and(|told| told.user == user);
            same && ms < last + 100 && ms < began + 2000
        });
        if goes_on.is_none() {
            self.told.push(Told {
                user,
                seq_first: seq,
                seq_last: seq,
                changes: BTreeMap::new(),
            });
        }
        self.open = Some((goes_on.map_or(ms, |(began, _)| began), ms));
        let told = self.told.last_mut().unwrap();
        told.seq_last = seq;
        let from = *self.values.get(parameter).unwrap_or(&1.0);
        let change = told
            .changes
            .entry(parameter.to_owned())
            .or_insert((from, value, 0));
        (change.1, change.2) = (value, change.2 + 1);
        self.values.insert(parameter.to_owned(), value);
    }
}

fn told(entry: &Entry) -> Option<(String, Told)> {
    let event = entry.event.as_ref()?;
    if event.operation != "plugin.parameter" {
        return None;
    }
    let changes = event.metadata["changes"].as_object()?;
    let number = |change: &Value, name: &str| change[name].as_f64().unwrap();
    let changes = changes.iter().map(|(id, change)| {
        let count = change["count"].as_u64().unwrap();
        (
            id.clone(),
            (number(change, "from"), number(change, "to"), count),
        )
    });
    let told = Told {
        user: u8::from(event.by.user_id == "bob"),
        seq_first: event.seq_first,
        seq_last: event.seq_last,
        changes: changes.collect(),
    };
    Some((event.entity_id.clone(), told))
}

/// Parameters whose values are 1 at first.
const QS: [&str; 2] = ["mid1_q", "mid2_q"];

fn two_equalisers() -> State {
    let mut state = new_rig();
    for id in ["p0", "p1"] {
        let added = ask(
            &mut state,
            Request::PluginAdd {
                track_id: "mic1".to_owned(),
                name: "eq".to_owned(),
                plugin_path: None,
                position: None,
                plugin_id: Some(id.to_owned()),
            },
        );
        assert_eq!(added.len(), 1);
    }
    state
}

fn moved(seq: u64, plugin: u8, parameter: u8, value: f64) -> Change {
    let what = What::Parameter {
        track_id: "mic1".to_owned(),
        plugin_id: format!("p{plugin}"),
        parameter_id: QS[usize::from(parameter)],
        value,
    };
    Change { seq, what }
}

fn bypassed(seq: u64, plugin: u8, bypass: bool) -> Change {
    let what = What::Bypassed {
        track_id: "mic1".to_owned(),
        plugin_id: format!("p{plugin}"),
        bypass,
    };
    Change { seq, what }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// One event for each gesture, whoever does what and when; no change is missing or told twice, and a
    /// change that somebody waits for is closed at once.
    #[test]
    fn a_gesture_is_one_event(steps in prop::collection::vec(step(), 1..200)) {
        let state = two_equalisers();
        let mut recorder = Recorder::new(state.durable(), true);
        let mut expected: BTreeMap<String, Gestures> = BTreeMap::new();
        let users = [by("ana"), by("bob")];
        let (mut seq, mut ms, mut others) = (0, 0u64, Vec::new());
        let mut entries = Vec::new();
        for step in steps {
            match step {
                Step::Move { user, plugin, parameter, value, is_awaited } => {
                    seq += 1;
                    let value = 0.5 + f64::from(value);
                    let change = moved(seq, plugin, parameter, value);
                    let ticket = recorder.record(&change, &users[usize::from(user)], how(ms, is_awaited));
                    let gestures = expected.entry(format!("p{plugin}")).or_default();
                    gestures.moved(user, seq, QS[usize::from(parameter)], value, ms);
                    if is_awaited {
                        gestures.open = None;
                        entries.extend(recorder.take(how(ms, false).at, Duration::from_millis(ms)));
                        let last = entries.last().unwrap();
                        prop_assert_eq!(Some(last.ticket), ticket);
                        prop_assert_eq!(last.event.as_ref().unwrap().seq_last, seq);
                    }
                }
                Step::Bypass(plugin) => {
                    seq += 1;
                    others.push(seq);
                    recorder.record(&bypassed(seq, plugin, seq % 2 == 0), &users[0], how(ms, false));
                    expected.entry(format!("p{plugin}")).or_default().open = None;
                }
                Step::Pass(more) => {
                    ms += u64::from(more);
                    recorder.close_due(Duration::from_millis(ms));
                    prop_assert!(recorder.next_due().is_none_or(|due| due > Duration::from_millis(ms)));
                }
            }
        }
        recorder.close_all();
        entries.extend(recorder.take(how(ms, false).at, Duration::from_millis(ms)));
        prop_assert!(entries.iter().map(|entry| entry.ticket).is_sorted_by(|a, b| a < b));
        let mut found: BTreeMap<String, Vec<Told>> = BTreeMap::new();
        let mut others_found = Vec::new();
        for entry in &entries {
            match told(entry) {
                Some((plugin, told)) => found.entry(plugin).or_default().push(told),
                None => others_found.push(entry.event.as_ref().unwrap().seq_first),
            }
        }
        let counts = found.values().flatten().flat_map(|told| told.changes.values());
        prop_assert_eq!(counts.map(|change| change.2).sum::<u64>() + others.len() as u64, seq);
        for (plugin, gestures) in &expected {
            prop_assert_eq!(&found.remove(plugin).unwrap_or_default(), &gestures.told);
        }
        prop_assert_eq!(others_found, others);
    }
}

// What the disk does not take.

/// The rows that a database has once it has taken these entries.
fn taken(before: &Durable, entries: &[Entry]) -> BTreeMap<String, Row> {
    let name = |row: &Row| match row {
        Row::State { key, .. } => key.clone(),
        Row::Plugin { id, .. } => format!("plugin {id}"),
    };
    let mut found: BTreeMap<_, _> = rows(before)
        .into_iter()
        .map(|row| (name(&row), row))
        .collect();
    for entry in entries {
        if entry.is_everything {
            found.clear();
        }
        for row in &entry.rows {
            found.insert(name(row), row.clone());
        }
    }
    found
}

#[test]
fn a_gap_is_named_and_the_state_behind_it_is_whole() {
    let state = two_equalisers();
    let before = state.durable();
    let mut recorder = Recorder::new(before.clone(), true);
    let ana = by("ana");
    // A gesture that began before everything that is lost, and ends after it.
    recorder.record(&moved(1, 1, 0, 2.5), &ana, how(0, false));
    let room = WAITING_MAX as u64;
    for seq in 2..=room + 1 {
        let ticket = recorder.record(&bypassed(seq, 0, seq % 2 == 0), &ana, how(0, true));
        assert!(ticket.is_some(), "there is room for change {seq}");
    }
    for seq in room + 2..room + 12 {
        let lost = recorder.record(&bypassed(seq, 0, seq % 2 == 0), &ana, how(0, true));
        assert_eq!(lost, None, "what is lost is never said to be kept");
    }
    let lost = recorder.record(&moved(room + 12, 1, 0, 3.5), &ana, how(0, true));
    assert_eq!(lost, None);
    let entries = recorder.take(how(9, false).at, Duration::from_millis(9));
    assert_eq!(entries.len(), WAITING_MAX + 1);
    let gap = entries.last().unwrap().event.as_ref().unwrap();
    assert_eq!(gap.operation, "rig.gap");
    assert_eq!((gap.seq_first, gap.seq_last), (1, room + 12));
    assert_eq!(gap.metadata["events"], 11);
    assert_eq!(entries.last().unwrap().ticket, recorder.ticket());
    assert!(
        recorder
            .state()
            .plugin("p1")
            .unwrap()
            .1
            .values
            .contains(&3.5)
    );
    assert_eq!(taken(&before, &entries), taken(recorder.state(), &[]));
    assert!(!recorder.is_waiting());
    // And it is over.
    let ticket = recorder.record(&bypassed(room + 13, 0, true), &ana, how(10, true));
    assert_eq!(ticket, Some(recorder.ticket()));
    assert_eq!(
        recorder
            .take(how(11, false).at, Duration::from_millis(11))
            .len(),
        1
    );
}

#[test]
fn while_the_disk_is_slow_gestures_stay_open() {
    let mut recorder = Recorder::new(two_equalisers().durable(), true);
    let ana = by("ana");
    for seq in 1..=(WAITING_MAX / 2) as u64 {
        recorder.record(&bypassed(seq, 0, seq % 2 == 0), &ana, how(0, false));
    }
    for step in 0..100u64 {
        let at = step * 500;
        recorder.record(
            &moved(10_000 + step, 1, 0, 1.0 + step as f64 / 100.0),
            &ana,
            how(at, false),
        );
        recorder.close_due(Duration::from_millis(at + 499));
    }
    assert_eq!(
        recorder
            .take(how(0, false).at, Duration::ZERO)
            .iter()
            .filter_map(told)
            .count(),
        0
    );
    recorder.close_due(Duration::from_secs(51));
    let entries = recorder.take(how(0, false).at, Duration::ZERO);
    let (_, one) = told(&entries[0]).unwrap();
    assert_eq!(one.changes[QS[0]], (1.0, 1.99, 100));
    assert_eq!(entries.len(), 1);
}

// What is found at a start.

/// A log with a few changes in it, ended well; the state that it holds.
fn kept(folder: &Folder) -> Vec<Row> {
    let mut state = two_equalisers();
    let opened = provenance::open(&folder.0).unwrap();
    let mut log = opened.begin(state.durable(), state.seq, run("first"), true);
    let request = Request::Panic(PanicMode::Dry);
    for change in ask(&mut state, request) {
        log.record(&change, &by("ana"), how(1, true));
    }
    log.finish(Duration::from_secs(1), 0);
    rows(&state.durable())
}

fn mark(path: &Path) -> u64 {
    let db = database::open_to_read(path).unwrap();
    database::number(&db, SEQ_MARK).unwrap().unwrap()
}

#[test]
fn no_number_is_given_out_before_it_is_reserved() {
    let folder = Folder::new();
    let first = provenance::open(&folder.0).unwrap();
    assert_eq!(first.seq, 0);
    assert!(mark(&folder.database()) > 1_000_000, "before any change");
    drop(first);
    let second = provenance::open(&folder.0).unwrap();
    assert!(second.seq > 1_000_000, "the first may have given some out");
    assert!(mark(&folder.database()) > second.seq);
}

#[test]
fn after_a_clean_end_no_number_is_left_out() {
    let folder = Folder::new();
    kept(&folder);
    assert_eq!(provenance::open(&folder.0).unwrap().seq, 3);
}

#[test]
fn a_start_that_finds_the_state_as_it_is_writes_nothing_but_the_mark() {
    let folder = Folder::new();
    kept(&folder);
    let mut opened = provenance::open(&folder.0).unwrap();
    let found = opened.state.take().unwrap();
    let mut state = State::restore(found, opened.seq, wiring(), POOL_SAMPLES);
    let mut log: Log = opened.begin(state.durable(), state.seq, run("second"), true);
    state.build(wiring());
    log.tick(Duration::from_secs(10));
    assert_eq!(log.next_due(), None);
    assert!(!log.health().unwrap().is_busy(), "nothing was handed over");
    log.finish(Duration::from_secs(11), 0);
}

#[test]
fn a_damaged_log_is_set_aside_with_what_it_holds_and_the_rig_starts() {
    let folder = Folder::new();
    kept(&folder);
    let garbage = b"this was a database once, and is none any more. ".repeat(200);
    fs::write(folder.database(), &garbage).unwrap();
    let opened = provenance::open(&folder.0).unwrap();
    assert!(opened.state.is_none());
    assert!(
        opened.seq > 1 << 40,
        "numbers go on behind all that were used"
    );
    assert!(
        opened.troubles[0].contains("set aside"),
        "{:?}",
        opened.troubles
    );
    let state = new_rig();
    opened
        .begin(state.durable(), 7, run("second"), true)
        .finish(Duration::ZERO, 0);
    let aside = fs::read_dir(&folder.0).unwrap().flatten();
    let aside: Vec<_> = aside
        .filter(|file| file.file_name().to_string_lossy().contains("damaged"))
        .collect();
    assert_eq!(aside.len(), 1);
    assert_eq!(
        fs::read(aside[0].path()).unwrap(),
        garbage,
        "nothing is deleted"
    );
    let found = provenance::open(&folder.0).unwrap();
    assert_eq!(rows(&found.state.unwrap()), rows(&state.durable()));
    assert!(
        found.troubles.is_empty(),
        "the new one is well: {:?}",
        found.troubles
    );
}

#[test]
fn of_a_log_that_is_damaged_in_places_the_state_is_saved() {
    let folder = Folder::new();
    let before = kept(&folder);
    {
        let db = Connection::open(folder.database()).unwrap();
        let page: u32 = db
            .query_row(
                "SELECT rootpage FROM sqlite_schema WHERE name = 'daid_events'",
                [],
                |row| row.get(0),
            )
            .unwrap();
        let size: u32 = db
            .query_row("PRAGMA page_size", [], |row| row.get(0))
            .unwrap();
        drop(db);
        let mut bytes = fs::read(folder.database()).unwrap();
        let at = ((page - 1) * size) as usize;
        bytes[at..at + 64].fill(0xff);
        fs::write(folder.database(), bytes).unwrap();
    }
    let opened = provenance::open(&folder.0).unwrap();
    assert!(
        opened.troubles[0].contains("set aside"),
        "{:?}",
        opened.troubles
    );
    assert_eq!(rows(opened.state.as_ref().unwrap()), before);
}

#[test]
fn a_log_from_a_newer_rigd_is_refused_and_left_alone() {
    let folder = Folder::new();
    kept(&folder);
    let db = Connection::open(folder.database()).unwrap();
    db.execute_batch("PRAGMA user_version = 999").unwrap();
    drop(db);
    let before = fs::read(folder.database()).unwrap();
    let failure = provenance::open(&folder.0).err().unwrap();
    assert_eq!(failure.code, 1);
    assert!(failure.message.contains("newer rigd"), "{failure:?}");
    assert_eq!(fs::read(folder.database()).unwrap(), before);
}

#[test]
fn a_folder_that_cannot_be_made_leaves_the_rig_playable() {
    let folder = Folder::new();
    let file = folder.0.join("file");
    fs::write(&file, "").unwrap();
    let opened = provenance::open(&file.join("state")).unwrap();
    assert!(opened.troubles[0].contains("--state-dir"));
    let mut state = two_equalisers();
    let mut log = opened.begin(state.durable(), state.seq, run("first"), true);
    assert!(!log.is_kept() && log.is_dead(Duration::ZERO));
    for change in ask(&mut state, Request::Restore) {
        log.record(&change, &by("ana"), how(1, true));
    }
    log.tick(Duration::from_millis(1));
    assert_eq!(log.next_due(), None);
    log.finish(Duration::from_millis(2), 0);
}

#[test]
fn a_folder_has_one_rigd() {
    let folder = Folder::new();
    let first = provenance::open(&folder.0).unwrap();
    let second = provenance::open(&folder.0).unwrap();
    assert!(first.troubles.is_empty());
    assert!(second.troubles[0].contains("another rigd"));
    assert!(second.seq > first.seq, "and no number of the first");
    drop(first);
    assert!(
        provenance::open(&folder.0).unwrap().troubles.is_empty(),
        "the lock goes with its holder"
    );
}

#[test]
fn what_no_longer_fits_is_gone_from_the_log_as_well() {
    let folder = Folder::new();
    let mut state = new_rig();
    let add = |id: &str| Request::PluginAdd {
        track_id: "mic1".to_owned(),
        name: "echo".to_owned(),
        plugin_path: None,
        position: None,
        plugin_id: Some(id.to_owned()),
    };
    let mut log =
        provenance::open(&folder.0)
            .unwrap()
            .begin(state.durable(), state.seq, run("first"), true);
    for id in ["e0", "e1"] {
        for change in ask(&mut state, add(id)) {
            log.record(&change, &by("ana"), how(1, false));
        }
    }
    log.finish(Duration::from_secs(1), 0);
    let mut opened = provenance::open(&folder.0).unwrap();
    let found = opened.state.take().unwrap();
    // Memory for the limiter and one echo.
    let pool = Kind::Limiter.memory(48_000) + Kind::Echo.memory(48_000) * 3 / 2;
    let mut state = State::restore(found, opened.seq, wiring(), pool);
    let mut log = opened.begin(state.durable(), state.seq, run("second"), true);
    let (_, dropped) = state.build(wiring());
    assert_eq!(dropped, ["e1"]);
    log.record_dropped(state.next_seq(), "e1", Duration::ZERO);
    log.finish(Duration::from_secs(1), 0);
    let found = provenance::open(&folder.0).unwrap();
    assert_eq!(rows(&found.state.unwrap()), rows(&state.durable()));
    assert_eq!(found.seq, state.seq);
}
