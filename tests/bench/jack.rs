//! rigd on a real JACK server (jackd's dummy driver), beside a client that only passes sound through:
//! processor time, late cycles, and how long a change takes from the wire to the sound.
//!
//! `cargo bench -- jack` prints the tables; `cargo bench -- jack SECONDS` listens so long for late cycles
//! at each of two periods (600 by hand; 20 else).

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use jack::{
    AsyncClient, AudioIn, AudioOut, Client, ClientOptions, Control, Port, ProcessHandler,
    ProcessScope,
};
use tokio_tungstenite::tungstenite::Message;

use super::process::{Server, processor_us};
use super::wire::{self, block_on};

const BLOCKS: [u32; 4] = [64, 128, 256, 1024];
/// Clients that late cycles are compared with.
const THROUGH: &str = "through";
const AS_LONG: &str = "as-long";
/// A server that is told to end has so long.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Ports and connections settle; rigd's blocks are timed.
const SETTLE: Duration = Duration::from_secs(2);
/// Where late cycles are counted.
const LATE_BLOCKS: [u32; 2] = [64, 256];
/// How long processor time is looked at.
const LOOK: Duration = Duration::from_secs(8);
/// Listened for late cycles, if nothing else is said.
const LISTEN_S: u64 = 20;
const PATIENCE: Duration = Duration::from_secs(30);
/// Steps whose way to the sound is measured, with a crowd and without.
const STEPS: usize = 300;
/// Of the storm: clients, and the pause between two changes of one.
const CROWD: usize = 50;
const CROWD_PAUSE: Duration = Duration::from_millis(10);
/// What a change of volume must make of a constant to be seen.
const SEEN: f32 = 1e-5;

/// jackd, under a name of its own.
struct Jackd {
    process: Child,
    name: String,
}

impl Jackd {
    fn start(name: &str, block: u32) -> Option<Jackd> {
        Some(Jackd::start_heard(name, block, Stdio::null())?.0)
    }

    /// What it complains of goes to `said`; it is there to be read where that is a pipe.
    fn start_heard(name: &str, block: u32, said: Stdio) -> Option<(Jackd, Option<ChildStderr>)> {
        let name = format!("rigd-bench-{}-{name}", std::process::id());
        let arguments = format!("-n {name} -R -P 70 -d dummy -r 48000 -p {block} -C 2 -P 2");
        let mut process = Command::new("jackd")
            .args(arguments.split(' '))
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .ok()?;
        let said = process.stderr.take();
        Some((Jackd { process, name }, said))
    }

    /// A client, once the server answers.
    fn client(&self, name: &str) -> Client {
        // SAFETY: this program's other threads do not look at the environment meanwhile.
        unsafe { std::env::set_var("JACK_DEFAULT_SERVER", &self.name) };
        let until = Instant::now() + PATIENCE;
        loop {
            if let Ok((client, _)) = Client::new(name, ClientOptions::NO_START_SERVER) {
                return client;
            }
            assert!(Instant::now() < until, "jackd does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Jackd {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        // It tidies up, unless it waits for a client that was killed.
        let until = Instant::now() + LAST_WORDS;
        while matches!(self.process.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// This program again: a client of that name which passes two channels through and computes for so many µs,
/// until it is killed.
pub fn through(name: &str, busy_us: u64) {
    struct Through([Port<AudioIn>; 2], [Port<AudioOut>; 2], Duration);
    impl ProcessHandler for Through {
        fn process(&mut self, _: &Client, scope: &ProcessScope) -> Control {
            let begun = Instant::now();
            for (from, to) in self.0.iter().zip(&mut self.1) {
                to.as_mut_slice(scope).copy_from_slice(from.as_slice(scope));
            }
            while begun.elapsed() < self.2 {
                std::hint::spin_loop();
            }
            Control::Continue
        }
    }
    let (client, _) = Client::new(name, ClientOptions::NO_START_SERVER).expect("a server");
    let inputs = ["in1", "in2"].map(|name| {
        client
            .register_port(name, AudioIn::default())
            .expect("a port")
    });
    let outputs = ["out1", "out2"].map(|name| {
        client
            .register_port(name, AudioOut::default())
            .expect("a port")
    });
    let busy = Duration::from_micros(busy_us);
    let active = client
        .activate_async((), Through(inputs, outputs, busy))
        .expect("active");
    let client = active.as_client();
    for side in ["1", "2"] {
        let _ = client.connect_ports_by_name(
            &format!("system:capture_{side}"),
            &format!("{name}:in{side}"),
        );
        let _ = client.connect_ports_by_name(
            &format!("{name}:out{side}"),
            &format!("system:playback_{side}"),
        );
    }
    loop {
        std::thread::park();
    }
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start_through(server: &Jackd, name: &str, busy_us: u64) -> Killed {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command
        .args(["jack-through", name, &busy_us.to_string()])
        .env("JACK_DEFAULT_SERVER", &server.name);
    let child = Killed(command.spawn().expect("this program starts"));
    let client = server.client("looks");
    let (until, port) = (Instant::now() + PATIENCE, format!("{name}:out2"));
    while client.port_by_name(&port).is_none() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

/// Everything, or why not.
pub fn run(seconds: &str) {
    println!("\n== JACK (jackd -R -P 70 -d dummy, 48 kHz)");
    if jack::jack_sys::library().is_err() || Jackd::start("try", 256).is_none() {
        println!("SKIP: jackd and libjack are not installed");
        return;
    }
    jack::set_logger(jack::LoggerType::None);
    processor();
    let listen = seconds.parse().unwrap_or(LISTEN_S);
    for block in LATE_BLOCKS {
        late_cycles(block, Duration::from_secs(listen));
    }
    to_sound();
}

fn processor() {
    println!(
        "processor time of the whole process, karaoke rig beside a client that passes two channels through"
    );
    println!(
        "{:>8} {:>10} {:>10} {:>8}",
        "frames", "rigd", "through", "ratio"
    );
    for block in BLOCKS {
        let Some(server) = Jackd::start("cpu", block) else {
            return;
        };
        let _client = server.client("first");
        let through = start_through(&server, THROUGH, 0);
        let rigd = Server::rigd_on_jack(&server.name);
        // Ports and connections settle.
        std::thread::sleep(Duration::from_secs(1));
        let of = || (rigd.processor_us(), processor_us(through.0.id()));
        let (before, begun) = (of(), Instant::now());
        std::thread::sleep(LOOK);
        let (after, took_us) = (of(), begun.elapsed().as_secs_f64() * 1e6);
        let share = |after: f64, before: f64| 100.0 * (after - before) / took_us;
        let (mine, bare) = (share(after.0, before.0), share(after.1, before.1));
        println!(
            "{block:>8} {mine:>8.2} % {bare:>8.2} % {:>8.1}",
            mine / bare
        );
    }
}

fn late_cycles(block: u32, listen: Duration) {
    let Some((server, Some(said))) = Jackd::start_heard("late", block, Stdio::piped()) else {
        return;
    };
    let late = Late::read(said);
    let _client = server.client("first");
    let rigd = Server::rigd_on_jack(&server.name);
    std::thread::sleep(SETTLE);
    let (before_us, begun) = (rigd.thread_us("rigd-audio"), Instant::now());
    std::thread::sleep(SETTLE);
    let share = (rigd.thread_us("rigd-audio") - before_us) / begun.elapsed().as_micros() as f64;
    let busy_us = share * f64::from(block) / 48_000.0 * 1e6;
    let others = [
        start_through(&server, THROUGH, 0),
        start_through(&server, AS_LONG, busy_us as u64),
    ];
    std::thread::sleep(SETTLE);
    let before = late.counts();
    std::thread::sleep(listen);
    let after = late.counts();
    println!(
        "late cycles in {} s at {block} frames on one server, as it names who was late",
        listen.as_secs()
    );
    println!("{:<52} {:>10} {:>16}", "", "not begun", "begun, not done");
    let rows = [
        format!("rigd, a karaoke rig ({busy_us:.0} µs each)"),
        "a client that passes sound through".to_owned(),
        "one that passes it through and computes as long".to_owned(),
    ];
    for (who, name) in rows.iter().enumerate() {
        let [triggered, running] = [0, 1].map(|state| after[who][state] - before[who][state]);
        println!("{name:<52} {triggered:>10} {running:>16}");
    }
    drop((rigd, others));
}

/// How often a server has called rigd, the client that passes sound through, and the one that computes as long
/// late: not woken by the system yet, or still at work.
#[derive(Clone, Default)]
struct Late(Arc<[[AtomicU64; 2]; 3]>);

impl Late {
    /// Counts what the server says from now on.
    fn read(said: ChildStderr) -> Late {
        let late = Late::default();
        let counts = late.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(said).lines().map_while(Result::ok) {
                let is_late = |name: &&str| line.contains(&format!("client = {name} "));
                if let Some(who) = ["rigd", THROUGH, AS_LONG].iter().position(is_late) {
                    let state = usize::from(line.contains("state = Running"));
                    counts.0[who][state].fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        late
    }

    fn counts(&self) -> [[u64; 2]; 3] {
        let of =
            |counts: &[AtomicU64; 2]| counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        self.0.each_ref().map(of)
    }
}

/// Plays a constant, and looks when what comes back leaves its level.
struct Watch {
    out: Port<AudioOut>,
    input: Port<AudioIn>,
    is_armed: Arc<AtomicBool>,
    steady: f32,
    seen: mpsc::SyncSender<u64>,
}

impl ProcessHandler for Watch {
    fn process(&mut self, _: &Client, scope: &ProcessScope) -> Control {
        self.out.as_mut_slice(scope).fill(0.25);
        let sound = self.input.as_slice(scope);
        if !self.is_armed.load(Ordering::Acquire) {
            self.steady = sound.last().copied().unwrap_or(0.0);
            return Control::Continue;
        }
        let steady = self.steady;
        let leaves = |sample: &f32| (sample - steady).abs() > SEEN * steady.abs();
        if let Some(at) = sound.iter().position(leaves) {
            self.is_armed.store(false, Ordering::Release);
            let _ = self
                .seen
                .try_send(u64::from(scope.last_frame_time()) + at as u64);
        }
        Control::Continue
    }
}

fn to_sound() {
    println!("from the WebSocket to the master's port, in frames (the limiter's 95 among them)");
    println!("{:>8} {:>8} {:>8} {:>8}", "frames", "crowd", "p50", "p99");
    for block in [64, 256] {
        let Some(server) = Jackd::start("step", block) else {
            return;
        };
        let client = server.client("watch");
        let rigd = Server::rigd_on_jack(&server.name);
        let (sender, seen) = mpsc::sync_channel(1);
        let is_armed = Arc::new(AtomicBool::new(false));
        let watch = Watch {
            out: client
                .register_port("out", AudioOut::default())
                .expect("a port"),
            input: client
                .register_port("in", AudioIn::default())
                .expect("a port"),
            is_armed: Arc::clone(&is_armed),
            steady: 0.0,
            seen: sender,
        };
        let active = client.activate_async((), watch).expect("active");
        for crowd in [0, CROWD] {
            let mut took = block_on(steps(&rigd, &active, &is_armed, &seen, crowd));
            took.sort_unstable();
            let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
            println!("{block:>8} {crowd:>8} {:>8} {:>8}", at(0.5), at(0.99));
        }
    }
}

/// Frames from sending a change to the first sample that shows it.
async fn steps(
    rigd: &Server,
    active: &AsyncClient<(), Watch>,
    is_armed: &AtomicBool,
    seen: &mpsc::Receiver<u64>,
    crowd: usize,
) -> Vec<i64> {
    let mut socket = wire::connect(rigd).await;
    // A line that is heard as it is: no gate and no duck of the karaoke rig in between.
    for message in [
        r#"{"id":"m0","type":"track.add","data":{"track_id":"step","kind":"mic","input":"device:32"}}"#,
        r#"{"id":"m0","type":"track.update","data":{"track_id":"music","mute":true}}"#,
    ] {
        let _ = socket.send(Message::text(message)).await;
    }
    let client = active.as_client();
    let until = Instant::now() + PATIENCE;
    while client.port_by_name("rigd:step").is_none() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let _ = client.connect_ports_by_name("watch:out", "rigd:step");
    let _ = client.connect_ports_by_name("rigd:master_L", "watch:in");
    let mut storm = Vec::new();
    for number in 0..crowd {
        let other = wire::connect(rigd).await;
        storm.push(tokio::spawn(storm_on(other, number)));
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut took = Vec::with_capacity(STEPS);
    for step in 0..STEPS {
        // Until the last one's ramp is over, and not in step with the blocks.
        tokio::time::sleep(Duration::from_micros(60_000 + (step as u64 * 7919) % 5_000)).await;
        is_armed.store(true, Ordering::Release);
        let volume = if step % 2 == 0 { 0.5 } else { 1.0 };
        let message = format!(
            r#"{{"id":"m1","type":"track.update","data":{{"track_id":"step","volume":{volume}}}}}"#
        );
        let sent = i64::from(client.frame_time());
        socket.send(Message::text(message)).await.expect("sent");
        let until = Instant::now() + PATIENCE;
        let at = loop {
            if let Ok(at) = seen.try_recv() {
                break at as i64;
            }
            assert!(Instant::now() < until, "a step is heard");
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        took.push(at - sent);
        while tokio::time::timeout(Duration::from_millis(1), socket.next())
            .await
            .is_ok()
        {}
    }
    storm.iter().for_each(|task| task.abort());
    took
}

/// One of the crowd: turns a knob that is not heard in the step.
async fn storm_on(mut socket: wire::Socket, number: usize) {
    for turn in 0.. {
        let pan = (turn % 100) as f64 / 100.0;
        let message = format!(
            r#"{{"id":"{number}.{turn}","type":"track.update","data":{{"track_id":"music","pan":{pan}}}}}"#
        );
        if socket.send(Message::text(message)).await.is_err() {
            return;
        }
        let pause = tokio::time::sleep(CROWD_PAUSE);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => break,
                message = socket.next() => if message.is_none() { return },
            }
        }
    }
}
