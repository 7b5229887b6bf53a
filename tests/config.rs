//! Settings: what is accepted, what is refused and in which words, and which source wins.

#[path = "common/emulation.rs"]
mod emulation;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rigd::config::{
    Anonymous, BackendChoice, Config, Fault, Field, Override, Track, TrackInput, Value,
};
use rigd_rt::TrackKind;

fn parse(text: &str) -> Result<Config, Vec<Fault>> {
    Config::parse(text, &[], &|_| None)
}

fn with_env(text: &str, env: &[(&str, &str)]) -> Result<Config, Vec<Fault>> {
    let env: BTreeMap<String, String> = env
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect();
    Config::parse(text, &[], &|name| env.get(name).cloned())
}

/// The faults as `line: message`.
fn faults(text: &str) -> Vec<String> {
    let list = parse(text).expect_err("these settings are faulty");
    list.iter()
        .map(|fault| match fault.line {
            Some(line) => format!("{line}: {}", fault.message),
            None => fault.message.clone(),
        })
        .collect()
}

/// The only fault.
fn fault(text: &str) -> String {
    let list = faults(text);
    assert_eq!(list.len(), 1, "{list:#?}");
    list[0].clone()
}

fn scratch(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("rigd-config-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

#[test]
fn nothing_gives_the_defaults() {
    let config = parse("").unwrap();
    assert_eq!(config.listen, ["127.0.0.1:8000".parse().unwrap()]);
    assert_eq!(config.audio.backend, BackendChoice::Auto);
    assert_eq!(config.audio.sample_rate, 48_000);
    assert_eq!(config.audio.block_frames, 64);
    assert_eq!(config.limits.messages_per_s, 100);
    assert_eq!(config.limits.message_burst, 200);
    assert_eq!(config.limits.message_bytes, 65_536);
    assert_eq!(config.anonymous(), Anonymous::Host);
    assert!(config.features.enable_daid_tracking);
    let tracks: Vec<(String, TrackKind, String)> = config
        .tracks
        .iter()
        .map(|track| (track.track_id.clone(), track.kind, track.input.to_string()))
        .collect();
    let track = |id: &str, kind, input: &str| (id.to_string(), kind, input.to_string());
    assert_eq!(
        tracks,
        [
            track("mic1", TrackKind::Mic, "device:1"),
            track("mic2", TrackKind::Mic, "device:2"),
            track("music", TrackKind::Stem, "file"),
            track("master", TrackKind::Master, "none"),
        ]
    );
}

#[test]
fn every_default_is_in_its_own_range() {
    let config = Config::default();
    for field in Config::fields() {
        let mut copy = Config::default();
        let value = (field.get)(&config);
        assert_eq!(field.apply(&mut copy, value), Ok(()), "{}", field.key);
        assert_eq!(copy, config, "{}", field.key);
    }
}

#[test]
fn the_documented_file_is_complete_and_says_the_defaults() {
    let documented = Config::documented();
    assert_eq!(parse(&documented), parse(""), "as it is");

    // Every setting, its variable aside, with the comments of the defaults taken away.
    let is_setting = |line: &str| {
        let body = line.strip_prefix('#').unwrap_or("");
        body.starts_with("[[") || (!body.starts_with(' ') && body.contains(" = "))
    };
    let active: String = documented
        .lines()
        .map(|line| {
            let line = if is_setting(line) { &line[1..] } else { line };
            format!("{line}\n")
        })
        .collect();
    assert_eq!(parse(&active), parse(""), "uncommented:\n{active}");
    let (settings, _tracks) = documented.split_once("#[[tracks]]").unwrap();
    for field in Config::fields() {
        let line = format!("#{} = ", field.key);
        let count = settings.lines().filter(|l| l.starts_with(&line)).count();
        assert_eq!(count, 1, "{}", field.key);
        assert!(!field.doc.is_empty());
    }
    for field in Track::FIELDS {
        let line = format!("#{} = ", field.key);
        assert!(documented.contains(&line), "{}", field.key);
    }
    assert!(documented.contains("# 8000 to 192000 Hz."));
}

#[test]
fn what_check_prints_says_the_same_again() {
    let text = r#"
        allow_anonymous = "guest"
        allowed_origins = ["https://a.example", "http://10.0.0.1:3000"]
        listen = ["0.0.0.0:9000", "[::1]:9001"]
        state_dir = "/tmp/quote\"and\\slash"
        [realtime]
        cpus = [2, 3]
        [[tracks]]
        track_id = "a"
        kind = "mic"
        input = "device:3-4"
        sends = { fx = 0.5, "b.2" = 1 }
        [[tracks]]
        track_id = "fx"
        kind = "bus"
        [[tracks]]
        track_id = "b.2"
        kind = "bus"
        volume = 2
    "#;
    let config = parse(text).unwrap();
    assert_eq!(parse(&config.to_toml()), Ok(config));
}

#[test]
fn every_fault_is_told_with_its_line_in_one_go() {
    let text = "\
listn = [\"127.0.0.1:8000\"]
log_messages = \"yes\"

[audio]
sample_rate = 7999
block_frames = 64.5
bakend = \"null\"

[limits]
messages_per_s = 0

[[tracks]]
track_id = \"a:b\"
kind = \"microphone\"
";
    let list = faults(text);
    let expected = [
        "1: unknown key `listn`; did you mean `listen`?",
        "2: `log_messages` must be true or false, not \"yes\"",
        "5: `sample_rate` must be a whole number from 8000 to 192000 (Hz), not 7999",
        "6: `block_frames` must be a whole number from 16 to 4096 (frames), not 64.5",
        "7: unknown key `bakend` in [audio]; did you mean `backend`?",
        "10: `messages_per_s` must be a whole number from 1 to 1000000 (per second), not 0",
        "13: `track_id` must be 1 to 64 of A-Z a-z 0-9 _ . -",
        "14: `kind` must be one of \"mic\", \"stem\", \"bus\", \"master\", not \"microphone\"",
    ];
    assert_eq!(list, expected);
}

#[test]
fn ranges_include_their_ends_and_nothing_beyond() {
    for (good, value) in [
        (true, "8000"),
        (true, "192000"),
        (false, "7999"),
        (false, "192001"),
        (false, "-48000"),
        (false, "99999999999999999999"),
        (false, "48000.0"),
        (false, "true"),
        (false, "[48000]"),
        (false, "2026-01-01"),
    ] {
        let text = format!("[audio]\nsample_rate = {value}");
        assert_eq!(parse(&text).is_ok(), good, "{value}");
    }
    assert_eq!(
        parse("[audio]\nblock_frames = 0x40")
            .unwrap()
            .audio
            .block_frames,
        64
    );
}

#[test]
fn syntax_errors_have_their_line_and_hide_no_other_fault() {
    let list = faults("log_messages = maybe\n[audio]\nsample_rate = 1\n");
    assert!(list[0].starts_with("1: not TOML: "), "{list:?}");
    assert!(list[1].starts_with("3: `sample_rate`"), "{list:?}");
    assert_eq!(list.len(), 2, "{list:?}");
    let twice = fault("log_messages = true\nlog_messages = true\n");
    assert!(twice.starts_with("2: not TOML: "), "{twice}");
}

#[test]
fn a_key_in_the_wrong_place_is_told_where_it_belongs() {
    assert_eq!(
        fault("sample_rate = 48000"),
        "1: unknown key `sample_rate`; it belongs into [audio]"
    );
    assert_eq!(
        fault("[features]\nlisten = []"),
        "2: unknown key `listen` in [features]; it belongs at the top of the file, above the \
         first [section]"
    );
    assert_eq!(
        fault("[adio]\nx = 1"),
        "1: unknown section `adio`; did you mean `audio`?"
    );
    assert!(fault("audio = 3").contains("write [audio]"));
    assert!(fault("[tracks]\nx = 1").contains("write [[tracks]]"));
}

#[test]
fn roles_have_permissions_that_exist() {
    let config = parse("[roles]\nguest = [\"plugin:read\", \"log:read\"]").unwrap();
    let grants = config.roles.grants();
    assert_eq!(grants.guest.names(), ["plugin:read", "log:read"]);
    assert_eq!(grants.display.names(), ["plugin:read"]);
    let refused = fault("[roles]\ndisplay = [\"plugin:raed\"]");
    assert!(
        refused.starts_with("2: `display` holds \"plugin:raed\""),
        "{refused}"
    );
    assert!(fault("[roles]\nhost = []").contains("unknown key `host`"));
}

#[test]
fn on_the_network_nobody_is_anonymous_unless_it_is_said() {
    for network in ["0.0.0.0:8000", "192.168.1.7:80", "[::]:8000"] {
        let both = format!("listen = [\"127.0.0.1:1\", \"{network}\"]");
        assert_eq!(parse(&both).unwrap().anonymous(), Anonymous::Off);
        let said = format!("allow_anonymous = \"guest\"\n{both}");
        assert_eq!(parse(&said).unwrap().anonymous(), Anonymous::Guest);
    }
    for loopback in [
        "127.0.0.1:0",
        "127.8.9.1:80",
        "[::1]:80",
        "[::ffff:127.0.0.1]:80",
        "localhost:80",
    ] {
        let config = parse(&format!("listen = [\"{loopback}\"]")).unwrap();
        assert!(config.listen_is_loopback_only(), "{loopback}");
        assert_eq!(config.anonymous(), Anonymous::Host);
    }
    let open = with_env("listen = [\"[::]:8000\"]", &[("ALLOW_ANONYMOUS", "true")]).unwrap();
    assert_eq!(open.anonymous(), Anonymous::Host);
    assert!(!open.listen_is_loopback_only());
}

#[test]
fn the_command_line_beats_the_environment_beats_the_file() {
    let text = "[audio]\nsample_rate = 44100\nblock_frames = 32";
    let env = [
        ("RIGD_AUDIO_SAMPLE_RATE", "96000"),
        ("RIGD_AUDIO_INPUT", "/in.wav"),
        ("RIGD_LISTEN", "127.0.0.1:1, [::1]:2"),
        ("RIGD_REALTIME_CPUS", "2,3"),
        ("RIGD_LOG_MESSAGES", "true"),
    ];
    let config = with_env(text, &env).unwrap();
    assert_eq!(config.audio.sample_rate, 96_000);
    assert_eq!(config.audio.block_frames, 32);
    assert_eq!(config.audio.input.as_deref(), Some(Path::new("/in.wav")));
    assert_eq!(config.listen.len(), 2);
    assert_eq!(config.realtime.cpus, [2, 3]);
    assert!(config.log_messages);

    let given = Override {
        option: "--sample-rate",
        section: "audio",
        key: "sample_rate",
        value: Value::Int(8000),
    };
    let env = |name: &str| (name == "RIGD_AUDIO_SAMPLE_RATE").then(|| "96000".to_string());
    let config = Config::parse(text, &[given], &env).unwrap();
    assert_eq!(config.audio.sample_rate, 8000);
}

#[test]
fn a_fault_outside_the_file_names_its_source() {
    let list = with_env("", &[("RIGD_AUDIO_BLOCK_FRAMES", "many")]).unwrap_err();
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].line, None);
    assert_eq!(
        list[0].message,
        "RIGD_AUDIO_BLOCK_FRAMES must be a whole number from 16 to 4096 (frames), not \"many\""
    );
    let list = with_env("", &[("RIGD_ROLES_GUEST", "king")]).unwrap_err();
    assert!(
        list[0]
            .message
            .starts_with("RIGD_ROLES_GUEST holds \"king\"")
    );
    // An empty variable is none.
    assert!(with_env("", &[("RIGD_AUDIO_BLOCK_FRAMES", "")]).is_ok());
}

#[test]
fn the_migration_guides_names_are_read() {
    let names = [
        "ENABLE_NEW_PLUGIN_SYSTEM",
        "ENABLE_SESSION_BROADCASTING",
        "ENABLE_DAID_TRACKING",
        "ENABLE_PARAMETER_BATCHING",
    ];
    for name in names {
        let on = |config: &Config| -> Vec<bool> {
            let features = &config.features;
            vec![
                features.enable_new_plugin_system,
                features.enable_session_broadcasting,
                features.enable_daid_tracking,
                features.enable_parameter_batching,
            ]
        };
        let config = with_env("", &[(name, "false")]).unwrap();
        let expected: Vec<bool> = names.iter().map(|other| *other != name).collect();
        assert_eq!(on(&config), expected, "{name}");
        // rigd's own name wins.
        let own = format!("RIGD_FEATURES_{name}");
        let config = with_env("", &[(name, "false"), (&own, "true")]).unwrap();
        assert_eq!(on(&config), [true; 4], "{name}");
    }
    let anonymous = |value| {
        with_env("allow_anonymous = \"guest\"", &[("ALLOW_ANONYMOUS", value)])
            .unwrap()
            .anonymous()
    };
    assert_eq!(anonymous("true"), Anonymous::Host);
    assert_eq!(anonymous("false"), Anonymous::Off);
    assert_eq!(anonymous(""), Anonymous::Guest);
}

#[test]
fn presets_that_are_not_there_are_refused() {
    assert!(parse("preset = \"\"").is_ok());
    assert!(parse("preset = \"none\"").is_ok());
    assert!(parse("preset = \"karaoke\"").is_ok());
    assert!(fault("preset = \"opera\"").contains("no preset"));
}

#[test]
fn names_and_origins_are_checked() {
    assert!(fault("agent_id = \"a:b\"").starts_with("1: `agent_id` must be"));
    assert!(fault("agent_id = \"\"").starts_with("1: `agent_id` must be"));
    assert!(fault("allowed_origins = [\"example.com\"]").contains("no web origin"));
    assert!(fault("allowed_origins = [\"https://example.com/x\"]").contains("no web origin"));
    assert!(fault("listen = [\"8000\"]").contains("no ADDRESS:PORT"));
    assert!(fault("listen = []").contains("at least one address"));
    assert!(fault("listen = [\"127.0.0.1:1\", \"127.0.0.1:1\"]").contains("twice"));
    assert!(fault("[audio]\ninput = \"a.wav\"\noutput = \"a.wav\"").starts_with("3: `output`"));
}

#[test]
fn inputs_read_back_as_they_are_written() {
    for text in ["device:1", "device:62", "device:3-4", "file", "none"] {
        let input: TrackInput = text.parse().unwrap();
        assert_eq!(input.to_string(), text);
    }
    let stereo: TrackInput = "device:3-4".parse().unwrap();
    assert_eq!(stereo, TrackInput::Device { first: 3, last: 4 });
    for text in [
        "",
        "device",
        "device:",
        "device:0",
        "device:63",
        "device:+1",
        "device:01",
        "device:1-1",
        "device:1-3",
        "device:2-1",
        "device:1-",
        "device: 1",
        "File",
        "device:1-2-3",
        "device:256",
    ] {
        assert!(text.parse::<TrackInput>().is_err(), "{text:?}");
    }
}

const BUS: &str = "[[tracks]]\ntrack_id = \"fx\"\nkind = \"bus\"\n";

#[test]
fn a_master_is_added_and_a_second_one_refused() {
    let config = parse(BUS).unwrap();
    let kinds: Vec<TrackKind> = config.tracks.iter().map(|track| track.kind).collect();
    assert_eq!(kinds, [TrackKind::Bus, TrackKind::Master]);
    assert_eq!(config.tracks[0].name, "fx", "the id stands in for the name");

    let masters = "[[tracks]]\ntrack_id = \"a\"\nkind = \"master\"\n\
                   [[tracks]]\ntrack_id = \"b\"\nkind = \"master\"\n";
    assert_eq!(
        fault(masters),
        "6: there is one master: make this a \"bus\", or leave it out"
    );
}

#[test]
fn a_rig_has_sixteen_tracks_with_its_master() {
    let tracks = |count: usize| -> String {
        (0..count)
            .map(|n| format!("[[tracks]]\ntrack_id = \"t{n}\"\nkind = \"mic\"\n"))
            .collect()
    };
    assert_eq!(parse(&tracks(15)).unwrap().tracks.len(), 16);
    let refused = fault(&tracks(16));
    assert!(refused.starts_with("46: "), "{refused}");
    assert!(refused.contains("at most 16"), "{refused}");
}

#[test]
fn faulty_tracks_are_told_each_with_its_line() {
    assert_eq!(
        faults("\n[[tracks]]\nname = \"x\"\n"),
        [
            "2: this track has no `track_id`",
            "2: this track has no `kind`"
        ]
    );
    let mic = "[[tracks]]\ntrack_id = \"m\"\nkind = \"mic\"\n";
    assert_eq!(
        fault(&format!("{mic}{mic}")),
        "5: `track_id` \"m\" is taken by the track in line 1"
    );
    assert_eq!(
        fault(&format!("{mic}sends = {{ fy = 1 }}\n{BUS}")),
        "4: `sends` names \"fy\", which is no track; did you mean `fx`?"
    );
    assert_eq!(
        fault(&format!("{mic}sends = {{ m = 1 }}\n")),
        "4: `sends` names \"m\", which is not a bus"
    );
    assert_eq!(
        fault(&format!("{mic}sends = {{ fx = 1.5 }}\n{BUS}")),
        "4: `sends` sets fx to 1.5; it must be a table of at most 4 names with numbers from 0 to 1"
    );
    assert!(fault(&format!("{BUS}sends = {{ fx = 1 }}\n")).contains("cannot send"));
    assert!(fault(&format!("{BUS}input = \"file\"\n")).contains("must be \"none\""));
    assert!(fault(&format!("{mic}input = \"device:0\"\n")).contains("`input` cannot be"));
    assert!(fault(&format!("{mic}volme = 1\n")).contains("did you mean `volume`?"));
    assert!(fault(&format!("{mic}volume = 2.01\n")).contains("from 0 to 2"));
    assert!(fault(&format!("{mic}pan = nan\n")).contains("from -1 to 1"));
    assert!(fault(&format!("{mic}input_gain_db = -24.5\n")).contains("(dB)"));
    assert!(parse(&format!("{mic}[tracks.sends]\nfx = 0.3\n{BUS}")).is_ok());
    let many: String = (0..5).map(|n| format!("b{n} = 1, ")).collect();
    let list = faults(&format!(
        "{mic}sends = {{ {} }}\n",
        many.trim_end_matches(", ")
    ));
    assert!(list[0].contains("at most 4"), "{list:?}");
}

#[test]
fn the_state_folder_is_where_the_environment_says() {
    let folder = |env: &[(&str, &str)]| with_env("", env).unwrap().state_dir;
    let all = [
        ("RIGD_STATE_DIR", "/own"),
        ("STATE_DIRECTORY", "/service:/other"),
        ("XDG_STATE_HOME", "/xdg"),
        ("HOME", "/home/ana"),
    ];
    let expected = [
        "/own",
        "/service",
        "/xdg/rigd",
        "/home/ana/.local/state/rigd",
        "/var/lib/rigd",
    ];
    for (skip, expected) in expected.iter().enumerate() {
        assert_eq!(folder(&all[skip..]), Path::new(expected));
    }
    assert_eq!(
        folder(&[("XDG_STATE_HOME", "relative")]),
        Path::new("/var/lib/rigd")
    );
    let set = with_env("state_dir = \"/file\"", &[("HOME", "/h")]).unwrap();
    assert_eq!(set.state_dir, Path::new("/file"));
}

#[test]
fn the_file_is_the_named_one_or_the_state_folders() {
    let dir = scratch("load");
    let own = dir.join("own.toml");
    std::fs::write(&own, "agent_id = \"own\"").unwrap();
    let state = dir.to_string_lossy().into_owned();
    let env = |name: &str| (name == "STATE_DIRECTORY").then(|| state.clone());

    let none = Config::load(None, &[], &env).unwrap();
    assert_eq!(none.agent_id, "rigd");
    std::fs::write(dir.join("rigd.toml"), "agent_id = \"state\"").unwrap();
    assert_eq!(Config::load(None, &[], &env).unwrap().agent_id, "state");
    assert_eq!(Config::load(Some(&own), &[], &env).unwrap().agent_id, "own");

    let missing = dir.join("missing.toml");
    let told = Config::load(Some(&missing), &[], &env)
        .unwrap_err()
        .to_string();
    assert!(
        told.contains("missing.toml") && told.contains("--config"),
        "{told}"
    );

    std::fs::write(&own, "a = 1\n\nb = 2").unwrap();
    let told = Config::load(Some(&own), &[], &env).unwrap_err().to_string();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].ends_with("own.toml:1: unknown key `a`"), "{told}");
    assert!(lines[1].ends_with("own.toml:3: unknown key `b`"), "{told}");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn variables_that_set_nothing_are_noticed() {
    let names = ["RIGD_AUDIO_BLOCK", "RIGD_LISTEN", "RIGD_LOG", "HOME"];
    let unknown = Config::unknown_variables(names.map(String::from));
    assert_eq!(unknown, ["RIGD_AUDIO_BLOCK"]);
    let variables: Vec<String> = Config::fields().map(Field::variable).collect();
    assert!(variables.contains(&"RIGD_LIMITS_MESSAGES_PER_S".to_string()));
}

fn rigd(arguments: &[&str]) -> (i32, String, String) {
    let output = emulation::command(env!("CARGO_BIN_EXE_rigd"))
        .args(arguments)
        .env_clear()
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn check_prints_settings_or_faults_and_the_exit_code_tells_which() {
    let dir = scratch("check");
    let file = dir.join("rigd.toml");
    let path = file.to_str().unwrap();
    std::fs::write(&file, "[audio]\nsample_rate = 44100\n").unwrap();
    let (code, out, err) = rigd(&["check", "--config", path]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("sample_rate = 44100"), "{out}");
    assert_eq!(parse(&out).unwrap().audio.sample_rate, 44_100);

    std::fs::write(&file, "[audio]\nsample_rate = 1\n").unwrap();
    let (code, out, err) = rigd(&["check", "--config", path]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("rigd.toml:2: `sample_rate`"), "{err}");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn bad_usage_exits_with_2_and_says_so_on_stderr() {
    for arguments in [
        &["sing"][..],
        &[],
        &["serve", "--blok", "64"],
        &["serve", "--block", "sixty"],
        &["serve", "--block", "8"],
        &["serve", "--backend", "pulse"],
        &["serve", "--listen", "0.0.0.0"],
        &["token", "--role", "host"],
        &["pair", "--role", "king"],
        &["render"],
    ] {
        let (code, out, err) = rigd(arguments);
        assert_eq!(code, 2, "{arguments:?}: {err}");
        assert_eq!(out, "", "{arguments:?}");
        assert!(!err.is_empty(), "{arguments:?}");
    }
    let (_, _, err) = rigd(&["serve", "--block", "8"]);
    assert_eq!(
        err,
        "--block must be a whole number from 16 to 4096 (frames), not 8\n"
    );
    let (code, out, _) = rigd(&["--version"]);
    assert_eq!(code, 0);
    assert_eq!(out, format!("rigd {}\n", env!("CARGO_PKG_VERSION")));
}
