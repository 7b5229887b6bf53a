//! The JACK backend on a real server (jackd's dummy driver), in synchronous mode: the server waits
//! for its clients, so no sample is lost however busy the machine is. Skipped where jackd is not
//! installed. The allocator of this test program watches the audio thread.

#[path = "common/emulation.rs"]
mod emulation;
#[path = "common/watch.rs"]
mod watch;

use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use jack::{
    AsyncClient, AudioIn, AudioOut, Client, ClientOptions, Control, Port, ProcessHandler,
    ProcessScope,
};
use rigd::backend::jack::Jack;
use rigd::backend::{Backend, Deck, Format, Session};
use rigd::config::{Config, Features};
use rigd::desk::{ClientId, Desk, Fixed};
use rigd::rig::state::{MicFeed, Wiring, port_channels};
use rigd::rig::{State, Track};
use rigd::ring::rings;
use rigd::run;
use rigd::session::Role;
use rigd_rt::report::METER_FRAMES;
use rigd_rt::{Engine, Kind};
use serde_json::{Value, json};
use watch::{VIOLATIONS, WATCHED};

const RATE: u32 = 48_000;
const PATIENCE: Duration = Duration::from_secs(30);

#[global_allocator]
static ALLOCATOR: watch::Watching = watch::Watching;

/// Waits for something that another thread or process does.
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A server of this process's own; one test at a time has it.
struct Server {
    process: Child,
    _turn: MutexGuard<'static, ()>,
}

impl Server {
    /// `None`, and said so, where there is no jackd.
    fn start(block: u32) -> Option<Server> {
        static TURN: Mutex<()> = Mutex::new(());
        static NAME: Once = Once::new();
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        if emulation::skips("the JACK server is for another processor") {
            return None;
        }
        if jack::jack_sys::library().is_err() {
            eprintln!("SKIP: libjack is not installed");
            return None;
        }
        jack::set_logger(jack::LoggerType::None);
        let name = format!("rigd-test-{}", std::process::id());
        NAME.call_once(|| {
            // SAFETY: the other tests wait for their turn, and nobody else reads the environment.
            unsafe { std::env::set_var("JACK_DEFAULT_SERVER", &name) };
        });
        let arguments = format!("-n {name} -r -S -d dummy -r {RATE} -p {block} -C 2 -P 2");
        let process = Command::new("jackd")
            .args(arguments.split(' '))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match process {
            Ok(process) => Some(Server {
                process,
                _turn: turn,
            }),
            Err(error) => {
                eprintln!("SKIP: jackd cannot be started ({error})");
                None
            }
        }
    }

    fn client(&self, name: &str) -> Client {
        wait_for("the server", || {
            Client::new(name, ClientOptions::NO_START_SERVER).ok()
        })
        .0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.process.wait();
    }
}

/// A rig in this process, on the server.
struct Rig {
    desk: Desk,
    session: Box<dyn Session>,
    client: ClientId,
}

/// A desk with an engine that nobody drives yet.
fn desk_and_deck(config: &Config, format: &Format) -> (Desk, Deck) {
    let pool = run::pool(config);
    let tracks = config.tracks.iter().map(Track::from_settings).collect();
    let state = State::new(tracks, Wiring::new(format, MicFeed::Ports), pool.len());
    let mut limits = config.limits.clone();
    (limits.messages_per_s, limits.message_burst) = (1_000_000, 1_000_000);
    (limits.operations_per_s, limits.batches_per_s) = (1000, 1000);
    let fixed = Fixed {
        epoch: "test".to_owned(),
        limits,
        anonymous: Role::Host,
        features: Vec::new(),
        switches: Features::default(),
        log_messages: false,
    };
    let (control, engine_ends) = rings();
    let engine = Box::new(Engine::new(format.sample_rate_hz, 0, pool));
    let deck = Deck::new(engine, engine_ends, format.sample_rate_hz);
    let mut desk = Desk::new(fixed, state);
    desk.attach(control, format.clone(), MicFeed::Ports);
    (desk, deck)
}

impl Rig {
    fn start() -> Rig {
        Rig::start_with(&[])
    }

    /// What is said before the first block takes effect at frame 0.
    fn start_with(messages: &[Value]) -> Rig {
        let mut config = Config::default();
        config.audio.delay_pool_mb = 2;
        let backend = Box::new(Jack::open(&config).unwrap());
        assert_eq!(backend.mic_feed(), MicFeed::Ports);
        let (mut desk, deck) = desk_and_deck(&config, &backend.format());
        let client = desk.connect("test".to_owned(), "127.0.0.1");
        for message in messages {
            desk.receive(client, &message.to_string(), Instant::now());
        }
        let mut session = backend.start(deck).unwrap();
        session.tend(&desk.wanted());
        Rig {
            desk,
            session,
            client,
        }
    }

    fn say(&mut self, message: Value) {
        let now = Instant::now();
        self.desk.receive(self.client, &message.to_string(), now);
        self.go_on();
    }

    /// What the control side and the backend's keeper would do now.
    fn go_on(&mut self) {
        self.desk.tick(Instant::now());
        while self.desk.next_frame(self.client).is_some() {}
        self.session.tend(&self.desk.wanted());
    }

    /// Goes on until the engine has computed so many more frames.
    fn run_for(&mut self, frames: u64) {
        let until = self.desk.telemetry().frame() + frames;
        wait_for("the sound", || {
            self.go_on();
            (self.desk.telemetry().frame() >= until).then_some(())
        });
    }
}

/// Plays and records; both begin in the same block.
#[derive(Default)]
struct Tape {
    /// Blocks that the player was asked for.
    blocks: AtomicUsize,
    is_rolling: AtomicBool,
    recorded: AtomicUsize,
}

struct Player {
    port: Port<AudioOut>,
    sound: Vec<f32>,
    at: usize,
    roll: Arc<AtomicBool>,
    tape: Arc<Tape>,
}

impl ProcessHandler for Player {
    fn process(&mut self, _: &Client, scope: &ProcessScope) -> Control {
        let block = self.port.as_mut_slice(scope);
        block.fill(0.0);
        self.tape.blocks.fetch_add(1, Ordering::Relaxed);
        if self.roll.load(Ordering::Acquire) {
            self.tape.is_rolling.store(true, Ordering::Release);
            let rest = &self.sound[self.at..];
            let count = rest.len().min(block.len());
            block[..count].copy_from_slice(&rest[..count]);
            self.at += count;
        }
        Control::Continue
    }
}

struct Recorder {
    ports: [Port<AudioIn>; 2],
    tape: Arc<Tape>,
    sound: Arc<Mutex<Vec<[f32; 2]>>>,
    length: usize,
}

impl ProcessHandler for Recorder {
    fn process(&mut self, _: &Client, scope: &ProcessScope) -> Control {
        // It comes behind the player in the graph, so it sees in the same block that it has begun.
        if self.tape.is_rolling.load(Ordering::Acquire) {
            let [left, right] = self.ports.each_ref().map(|port| port.as_slice(scope));
            let mut sound = self.sound.lock().unwrap();
            let frames = left.iter().zip(right).map(|(left, right)| [*left, *right]);
            let room = self.length - sound.len();
            sound.extend(frames.take(room));
            self.tape.recorded.store(sound.len(), Ordering::Release);
        }
        Control::Continue
    }
}

/// A player in front of rigd's mic1 and a recorder behind its master.
struct Loop {
    player: AsyncClient<(), Player>,
    recorder: AsyncClient<(), Recorder>,
    roll: Arc<AtomicBool>,
    tape: Arc<Tape>,
    sound: Arc<Mutex<Vec<[f32; 2]>>>,
    length: usize,
}

impl Loop {
    fn around(server: &Server, sound: Vec<f32>, length: usize) -> Loop {
        let roll = Arc::new(AtomicBool::new(false));
        let tape = Arc::new(Tape::default());
        let recorded = Arc::new(Mutex::new(Vec::with_capacity(length)));
        let client = server.client("player");
        let port = client.register_port("out", AudioOut::default()).unwrap();
        let player = Player {
            port,
            sound,
            at: 0,
            roll: Arc::clone(&roll),
            tape: Arc::clone(&tape),
        };
        let player = client.activate_async((), player).unwrap();
        let client = server.client("recorder");
        let ports = ["left", "right"].map(|side| {
            let port = client.register_port(side, AudioIn::default());
            port.unwrap()
        });
        let recorder = Recorder {
            ports,
            tape: Arc::clone(&tape),
            sound: Arc::clone(&recorded),
            length,
        };
        let recorder = client.activate_async((), recorder).unwrap();
        Loop {
            player,
            recorder,
            roll,
            tape,
            sound: recorded,
            length,
        }
    }

    fn connect(&self) {
        let client = self.recorder.as_client();
        for (from, to) in [
            ("player:out", "rigd:mic1"),
            ("rigd:master_L", "recorder:left"),
            ("rigd:master_R", "recorder:right"),
        ] {
            client.connect_ports_by_name(from, to).unwrap();
        }
        // The server takes a new graph up with one of its next blocks.
        let before = self.tape.blocks.load(Ordering::Relaxed);
        wait_for("the new graph", || {
            (self.tape.blocks.load(Ordering::Relaxed) > before + 4).then_some(())
        });
    }

    /// Plays everything, and gives what came back; `meanwhile` is done again and again.
    fn play(self, mut meanwhile: impl FnMut()) -> Vec<[f32; 2]> {
        self.roll.store(true, Ordering::Release);
        wait_for("the end of the tape", || {
            meanwhile();
            (self.tape.recorded.load(Ordering::Acquire) >= self.length).then_some(())
        });
        drop(self.player.deactivate().unwrap());
        drop(self.recorder.deactivate().unwrap());
        let sound = self.sound.lock().unwrap();
        sound.clone()
    }
}

/// White noise of a linear congruential generator, within ±0.25.
fn noise(frames: usize) -> Vec<f32> {
    let mut state = 1_u32;
    (0..frames)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 25) as f32 - 0.25
        })
        .collect()
}

#[test]
fn sound_goes_through_ports_bit_by_bit_at_the_stated_latency() {
    let Some(server) = Server::start(64) else {
        return;
    };
    drop(server.client("first"));
    let mut rig = Rig::start();
    // The half second in which a device's sound comes up.
    rig.run_for(u64::from(RATE) / 2);
    let latency = Kind::Limiter.latency_frames(RATE);
    for block in [64, 256, 1024] {
        let client = server.client("sizer");
        client.set_buffer_size(block).unwrap();
        drop(client);
        wait_for("the block size", || {
            rig.go_on();
            let format = rig.session.format().unwrap();
            (format.block_frames == block).then_some(())
        });
        let sound = noise(RATE as usize / 4);
        let length = sound.len() + latency;
        let through = Loop::around(&server, sound.clone(), length);
        through.connect();
        let heard = through.play(|| rig.go_on());
        assert_eq!(heard.len(), length);
        let silent = heard[..latency].iter().all(|frame| *frame == [0.0; 2]);
        assert!(silent, "{block}: nothing comes early");
        // A mono track in the centre: 3 dB down on either side.
        let expected = sound.iter().map(|s| s * std::f32::consts::FRAC_1_SQRT_2);
        for (index, (heard, expected)) in heard[latency..].iter().zip(expected).enumerate() {
            let heard = heard.map(f32::to_bits);
            assert_eq!(heard, [expected.to_bits(); 2], "{block}: frame {index}");
        }
    }
    drop(rig.session.stop().unwrap());
}

/// The master's left side from when rigd is heard until half a second later; rigd begins, and hears
/// a constant as soon as it is connected.
fn heard_at_the_start(server: &Server) -> Vec<f32> {
    let half = RATE as usize / 2;
    let through = Loop::around(server, vec![0.1; 60 * RATE as usize], 60 * RATE as usize);
    through.roll.store(true, Ordering::Release);
    let mut rig = Rig::start();
    through.connect();
    let heard = wait_for("the sound", || {
        rig.go_on();
        let sound = through.sound.lock().unwrap();
        let from = sound.iter().position(|frame| frame[0] > 0.0)?;
        sound.get(from..=from + half).map(<[_]>::to_vec)
    });
    drop(through);
    drop(rig.session.stop().unwrap());
    heard.iter().map(|frame| frame[0]).collect()
}

#[test]
fn it_begins_silent_and_comes_up_within_half_a_second() {
    let Some(server) = Server::start(256) else {
        return;
    };
    let full = 0.1 * std::f32::consts::FRAC_1_SQRT_2;
    // On a machine that is busy elsewhere, the connection may come after the half second.
    let attempts = (0..20).map(|_| heard_at_the_start(&server));
    let levels = attempts
        .into_iter()
        .find(|levels| levels[0] < 0.9 * full)
        .expect("it is not at its full level at once");
    assert_eq!(levels[levels.len() - 1].to_bits(), full.to_bits());
    let steps = levels.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(steps.clone().all(|step| step >= 0.0), "it only comes up");
    // The steepest part of the smooth step is 1.5 times as steep as a straight line.
    let steepest = steps.fold(0.0, f32::max);
    let straight = full / (RATE / 2) as f32;
    assert!(steepest < 1.6 * straight, "{steepest} a frame");
}

/// What an engine makes of a sound that begins at a frame, in blocks of another size.
fn computed(format: &Format, messages: &[Value], sound: &[f32], from: usize) -> Vec<[u32; 2]> {
    const BLOCK: usize = 441;
    let mut config = Config::default();
    config.audio.delay_pool_mb = 2;
    let (mut desk, mut deck) = desk_and_deck(&config, format);
    let client = desk.connect("test".to_owned(), "127.0.0.1");
    for message in messages {
        desk.receive(client, &message.to_string(), Instant::now());
    }
    let inputs = desk.wanted().inputs;
    let mic = inputs
        .iter()
        .find(|input| input.track_id == "mic1")
        .unwrap();
    let channel = usize::from(port_channels(mic.place)[0]);
    let input = [&vec![0.0; from], sound].concat();
    let mut heard = Vec::new();
    for block in input.chunks(BLOCK) {
        let mut channels: Vec<&[f32]> = vec![&[]; channel + 1];
        channels[channel] = block;
        let (mut left, mut right) = ([0.0; BLOCK], [0.0; BLOCK]);
        let (left, right) = (&mut left[..block.len()], &mut right[..block.len()]);
        deck.process(&channels, [left, right]);
        let frames = left.iter().zip(right.iter());
        heard.extend(frames.map(|(left, right)| [left.to_bits(), right.to_bits()]));
        desk.tick(Instant::now());
    }
    heard.split_off(from)
}

#[test]
fn a_whole_chain_sounds_bit_by_bit_as_without_jack() {
    const BLOCK: usize = 256;
    let Some(server) = Server::start(BLOCK as u32) else {
        return;
    };
    drop(server.client("first"));
    let messages: Vec<Value> = [
        "hpf", "gate", "compressor", "eq", "deesser", "echo", "reverb",
    ]
    .iter()
    .map(|name| {
        json!({"type": "plugin.add", "data": {"track_id": "mic1", "name": name, "plugin_id": name}})
    })
    .collect();
    let mut rig = Rig::start_with(&messages);
    let format = rig.session.format().unwrap();
    rig.run_for(u64::from(RATE) / 2 + 1024);
    let sound = noise(RATE as usize / 4);
    let through = Loop::around(&server, sound.clone(), sound.len());
    through.connect();
    let earliest = rig.desk.telemetry().frame() as usize / BLOCK * BLOCK;
    let heard = through.play(|| rig.go_on());
    let heard: Vec<[u32; 2]> = heard.iter().map(|frame| frame.map(f32::to_bits)).collect();
    // Past the next meter window, by which the engine tells where it is.
    rig.go_on();
    rig.run_for(2 * METER_FRAMES);
    let latest = rig.desk.telemetry().frame() as usize - sound.len();
    // At which of the engine's blocks the sound came is not known from outside.
    let mut starts = (earliest..=latest).step_by(BLOCK);
    let is_same = |from: usize| computed(&format, &messages, &sound, from) == heard;
    assert!(
        starts.any(is_same),
        "no start from {earliest} to {latest} gives what was heard"
    );
    let without = computed(&format, &[], &sound, earliest);
    assert_ne!(heard, without, "the effects were heard");
    drop(rig.session.stop().unwrap());
}

#[test]
fn a_freewheeling_server_is_told_of_and_followed() {
    let Some(server) = Server::start(256) else {
        return;
    };
    let client = server.client("hurry");
    // SAFETY: the client is open.
    let freewheel = |on| unsafe { jack::jack_sys::jack_set_freewheel(client.raw(), on) };
    let mut rig = Rig::start();
    rig.run_for(4800);
    assert_eq!(rig.session.trouble(), None);
    assert_eq!(freewheel(1), 0);
    let trouble = wait_for("the trouble", || rig.session.trouble());
    assert!(trouble.contains("freewheeling"), "{trouble}");
    rig.run_for(4800);
    assert_eq!(freewheel(0), 0);
    wait_for("its end", || rig.session.trouble().is_none().then_some(()));
    rig.run_for(4800);
    assert!(rig.session.is_running());
    drop(rig.session.stop().unwrap());
}

fn thread_named(name: &str) -> i32 {
    wait_for("the thread", || {
        let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
        tasks
            .filter(|task| {
                let comm = fs::read_to_string(task.path().join("comm"));
                comm.is_ok_and(|comm| comm.trim() == name)
            })
            .find_map(|task| task.file_name().to_str()?.parse().ok())
    })
}

#[test]
fn the_callback_does_not_allocate_while_tracks_and_ports_come_and_go() {
    let Some(server) = Server::start(64) else {
        return;
    };
    let lister = server.client("lister");
    let mut rig = Rig::start();
    rig.run_for(4800);
    WATCHED.store(thread_named("rigd-audio"), Ordering::SeqCst);
    let ports = |lister: &Client| lister.ports(Some("^rigd:extra"), None, jack::PortFlags::empty());
    for round in 0..10 {
        let id = format!("extra{}", round % 2);
        rig.say(json!({"type": "track.add", "data": {"track_id": id, "kind": "stem", "input": "device:1-2"}}));
        rig.say(json!({"type": "plugin.add", "data": {"track_id": id, "name": "reverb", "plugin_id": "r"}}));
        wait_for("the ports", || {
            rig.go_on();
            let both = [format!("rigd:{id}_L"), format!("rigd:{id}_R")];
            (ports(&lister) == both).then_some(())
        });
        rig.say(json!({"type": "track.update", "data": {"track_id": id, "input": "device:2", "volume": 0.5}}));
        wait_for("the one port", || {
            rig.go_on();
            (ports(&lister) == [format!("rigd:{id}")]).then_some(())
        });
        rig.say(json!({"type": "track.remove", "data": {"track_id": id}}));
        wait_for("nothing", || {
            rig.go_on();
            ports(&lister).is_empty().then_some(())
        });
    }
    let before = rig.desk.telemetry().frame();
    rig.run_for(4800);
    WATCHED.store(0, Ordering::SeqCst);
    assert!(rig.desk.telemetry().frame() > before);
    assert_eq!(
        VIOLATIONS.load(Ordering::SeqCst),
        0,
        "allocations or frees on the audio thread"
    );
    drop(rig.session.stop().unwrap());
}
