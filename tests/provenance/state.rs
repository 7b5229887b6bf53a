//! The state follows from the changes alone, and the database holds it.

use std::time::Duration;

use proptest::prelude::*;
use rigd::provenance::{self, database};
use rigd::rig::{PluginRef, Request, State};

use super::requests::request;
use super::*;

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

/// Of the one plugin that there is: who made it, and the event that changed it last.
fn whose(folder: &Folder) -> (String, String) {
    let db = database::open_to_read(&folder.database()).unwrap();
    db.query_row(
        "SELECT created_by, daid_events.user_id || ' ' || action FROM plugin_configurations
         JOIN daid_events ON daid_events.id = daid_id WHERE plugin_configurations.id = 'p0'",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
    .unwrap()
}

#[test]
fn a_plugin_is_whose_added_it_last_however_much_was_in_one_commit() {
    let folder = Folder::new();
    let mut state = new_rig();
    let p0 = || PluginRef {
        track_id: None,
        plugin_id: "p0".to_owned(),
    };
    let add = Request::PluginAdd {
        track_id: "mic1".to_owned(),
        name: "eq".to_owned(),
        plugin_path: None,
        position: None,
        plugin_id: Some("p0".to_owned()),
    };
    let bypass = |bypass| Request::PluginBypass {
        plugin: p0(),
        bypass,
    };
    let remove = Request::PluginRemove(p0());
    let steps = [
        (
            vec![("ana", add.clone()), ("ben", bypass(true))],
            ("ana", "ben plugin.bypass"),
        ),
        (
            vec![("eve", bypass(false)), ("ana", bypass(true))],
            ("ana", "ana plugin.bypass"),
        ),
        (
            vec![("ana", remove), ("ben", add), ("eve", bypass(true))],
            ("ben", "eve plugin.bypass"),
        ),
    ];
    for (requests, (maker, last)) in steps {
        let opened = provenance::open(&folder.0).unwrap();
        let mut log = opened.begin(state.durable(), state.seq, run("one"), true);
        for (user, request) in requests {
            for change in ask(&mut state, request) {
                log.record(&change, &by(user), how(1, false));
            }
        }
        log.finish(Duration::from_secs(1), 0);
        assert_eq!(whose(&folder), (maker.to_owned(), last.to_owned()));
    }
}
