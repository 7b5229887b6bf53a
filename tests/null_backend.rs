//! The null backend: it keeps time, loses no frame of a recording, allocates nothing on its audio
//! thread, and outlives a full disk. And the voices that it sings with.

#[path = "common/emulation.rs"]
mod emulation;

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rigd::backend::null::Null;
use rigd::backend::{Backend, Deck, Session, realtime};
use rigd::config::{Config, Realtime};
use rigd::ring::{ControlEnds, rings};
use rigd::voice;
use rigd_rt::{Engine, Report};

/// Counts what one thread asks of the allocator.
struct Counting;

static WATCHED: AtomicI32 = AtomicI32::new(0);
static COUNT: AtomicUsize = AtomicUsize::new(0);

fn count() {
    let watched = WATCHED.load(Ordering::Relaxed);
    // SAFETY: no arguments, no memory.
    if watched != 0 && unsafe { libc::gettid() } == watched {
        COUNT.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: everything is the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A folder that goes away with its test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let dir = std::env::temp_dir().join(format!("rigd-null-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        Scratch(dir)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn settings() -> Config {
    let mut config = Config::default();
    config.realtime.priority = 0;
    config.realtime.lock_memory = false;
    config
}

fn write_wav(path: &Path, channels: u16, frames: usize) {
    let spec = hound::WavSpec {
        channels,
        sample_rate: 48_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    for n in 0..frames * usize::from(channels) {
        writer.write_sample(n as i16).unwrap();
    }
    writer.finalize().unwrap();
}

fn frames_of(path: &Path) -> u64 {
    u64::from(hound::WavReader::open(path).unwrap().duration())
}

fn start(config: &Config) -> (Box<dyn Session>, ControlEnds) {
    let backend = Box::new(Null::open(config).unwrap());
    let rate = backend.format().sample_rate_hz;
    let pool = Box::leak(vec![0.0; 1 << 16].into_boxed_slice());
    let (control, ends) = rings();
    let deck = Deck::new(Box::new(Engine::new(rate, 0, pool)), ends, rate);
    (backend.start(deck).unwrap(), control)
}

fn xruns(control: &mut ControlEnds) -> u32 {
    let loads = control.reports.by_ref().filter_map(|report| match report {
        Report::Load { xruns, .. } => Some(xruns),
        _ => None,
    });
    loads.last().unwrap_or(0)
}

/// Runs a test again in a process of its own, where a variable says so. `false`: this is it.
fn in_a_child(test: &str, value: &Path) -> bool {
    if std::env::var_os(CHILD).is_some() {
        return false;
    }
    let output = emulation::command(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env(CHILD, value)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    true
}

/// Tells a child that it is one, and where its files are.
const CHILD: &str = "TEST_IN_A_CHILD";

#[test]
fn the_format_is_what_the_settings_and_files_say() {
    let scratch = Scratch::new("format");
    let (input, music) = (scratch.file("in.wav"), scratch.file("music.wav"));
    let mut config = settings();
    config.audio.sample_rate = 44_100;
    config.audio.block_frames = 441;
    let format = Null::open(&config).unwrap().format();
    assert_eq!(format.backend, "null");
    assert_eq!((format.sample_rate_hz, format.block_frames), (44_100, 441));
    assert_eq!((format.device_channels, format.file_channels), (2, 0));

    write_wav(&input, 5, 10);
    write_wav(&music, 2, 10);
    config.audio.input = Some(input.clone());
    config.audio.music = Some(music);
    let format = Null::open(&config).unwrap().format();
    assert_eq!((format.device_channels, format.file_channels), (5, 2));

    config.audio.output = Some(input.clone());
    let refused = Null::open(&config).err().unwrap();
    assert_eq!(refused.code, 2);
    assert!(refused.message.contains("overwritten"), "{refused}");
    assert_eq!(frames_of(&input), 10, "it is still there");
}

#[test]
fn it_keeps_time() {
    if emulation::skips("it takes longer than sound does") {
        return;
    }
    let mut config = settings();
    config.audio.block_frames = 256;
    let begun = Instant::now();
    let (session, _control) = start(&config);
    sleep(Duration::from_millis(1_000));
    assert!(session.is_running());
    assert_eq!(session.trouble(), None);
    let deck = session.stop().unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    let computed = deck.frame() as f64 / 48_000.0;
    assert_eq!(deck.frame() % 256, 0);
    // Never ahead but for the block in hand; behind only as far as the machine was busy.
    assert!(computed <= seconds + 0.006, "{computed} s in {seconds} s");
    assert!(computed > 0.7 * seconds, "{computed} s in {seconds} s");
}

#[test]
fn a_recording_has_every_frame_that_the_engine_computed() {
    if emulation::skips("it takes longer than sound does") {
        return;
    }
    let scratch = Scratch::new("record");
    let path = scratch.file("out.wav");
    let mut config = settings();
    config.audio.output = Some(path.clone());
    let (session, _control) = start(&config);
    sleep(Duration::from_millis(700));
    // What another process would find now.
    assert!(frames_of(&path) > 8_000);
    let deck = session.stop().unwrap();
    assert_eq!(frames_of(&path), deck.frame());
    assert!(deck.frame() > 24_000);
}

#[test]
fn a_disk_that_fills_up_ends_the_recording_and_not_the_sound() {
    // A limit on the size of files stands in for a full disk; it holds for the whole process.
    if let Some(path) = std::env::var_os(CHILD) {
        return limited(Path::new(&path));
    }
    let scratch = Scratch::new("limited");
    let path = scratch.file("out.wav");
    let name = "a_disk_that_fills_up_ends_the_recording_and_not_the_sound";
    assert!(in_a_child(name, &path));
    assert_eq!(frames_of(&path), (100_000 - 58) / 8);
}

fn limited(path: &Path) {
    let limit = libc::rlimit {
        rlim_cur: 100_000,
        rlim_max: 100_000,
    };
    // SAFETY: plain system calls; the pointer is to a live struct.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &limit), 0);
    }
    let mut config = settings();
    config.audio.output = Some(path.to_owned());
    let (session, mut control) = start(&config);
    let patience = Instant::now() + Duration::from_secs(20);
    while session.trouble().is_none() && Instant::now() < patience {
        sleep(Duration::from_millis(20));
    }
    let trouble = session.trouble().expect("the recording has failed");
    assert!(trouble.contains("ends after 12492 frames"), "{trouble}");
    // Longer than the ring could have held.
    control.reports.by_ref().for_each(drop);
    sleep(Duration::from_millis(2_500));
    assert!(session.is_running());
    let windows = control.reports.by_ref();
    let windows = windows.filter(|report| matches!(report, Report::Load { .. }));
    assert!(windows.count() > 10, "the engine still computes");
    let told = session.stop().err().expect("the file is not whole");
    assert!(told.to_string().contains("out.wav"), "{told}");
}

#[test]
fn the_audio_thread_allocates_nothing_and_nothing_is_late_for_long() {
    if emulation::skips("its blocks are late") {
        return;
    }
    // Other tests have audio threads of their own.
    let name = "the_audio_thread_allocates_nothing_and_nothing_is_late_for_long";
    if in_a_child(name, Path::new("-")) {
        return;
    }
    let scratch = Scratch::new("alloc");
    let (input, music) = (scratch.file("in.wav"), scratch.file("music.wav"));
    write_wav(&input, 3, 1_001);
    write_wav(&music, 2, 7);
    let mut config = settings();
    config.audio.input = Some(input);
    config.audio.music = Some(music);
    config.audio.output = Some(scratch.file("out.wav"));
    let (session, mut control) = start(&config);
    sleep(Duration::from_millis(100));
    let ours = audio_thread();
    COUNT.store(0, Ordering::Relaxed);
    WATCHED.store(ours, Ordering::Relaxed);
    sleep(Duration::from_millis(500));
    WATCHED.store(0, Ordering::Relaxed);
    assert_eq!(COUNT.load(Ordering::Relaxed), 0);
    let late = xruns(&mut control);
    let deck = session.stop().unwrap();
    let blocks = deck.frame() / 64;
    assert!(u64::from(late) < blocks / 4, "{late} of {blocks} late");
}

fn audio_thread() -> i32 {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let mut audio = threads.filter_map(|entry| {
        let entry = entry.ok()?;
        let name = std::fs::read_to_string(entry.path().join("comm")).ok()?;
        (name.trim() == "rigd-audio").then(|| entry.file_name().to_str()?.parse().ok())?
    });
    audio.next().expect("an audio thread runs")
}

#[test]
fn a_thread_becomes_realtime_where_the_system_lets_it() {
    std::thread::spawn(|| {
        let asked = Realtime {
            priority: 5,
            cpus: vec![0, 1_000],
            ..Realtime::default()
        };
        realtime::become_realtime(&asked);
        let (policy, priority) = realtime::scheduling();
        let expected = [(libc::SCHED_FIFO, 5), (libc::SCHED_OTHER, 0)];
        assert!(
            expected.contains(&(policy, priority)),
            "{policy} {priority}"
        );
        let mut set = rustix::thread::sched_getaffinity(None).unwrap();
        assert!(set.is_set(0));
        assert_eq!(set.count(), 1);
        // Processors that are not there leave things as they are.
        realtime::pin(&[1_000]);
        set = rustix::thread::sched_getaffinity(None).unwrap();
        assert_eq!(set.count(), 1);
    })
    .join()
    .unwrap();
}

#[test]
fn the_voices_are_two_the_same_every_time_and_at_their_level() {
    for rate in [8_000, 44_100, 48_000] {
        let voices = voice::voices(rate);
        assert_eq!(voices, voice::voices(rate));
        assert_eq!(voices.len(), 2);
        assert_ne!(voices[0], voices[1]);
        for voice in &voices {
            assert_eq!(voice.len(), (rate * voice::LOOP_S) as usize);
            let peak = voice.iter().fold(0.0_f32, |peak, s| peak.max(s.abs()));
            assert!((peak - voice::PEAK).abs() < 1e-6, "{peak}");
            let power: f64 = voice.iter().map(|s| f64::from(*s).powi(2)).sum();
            let rms_db = 10.0 * (power / voice.len() as f64).log10();
            assert!((-32.0..-12.0).contains(&rms_db), "{rms_db} dB");
        }
    }
}

#[test]
fn the_voices_pause_and_have_no_seam() {
    for voice in voice::voices(48_000) {
        let ends = voice
            .iter()
            .take(4_800)
            .chain(voice.iter().rev().take(4_800));
        let loudest = ends.fold(0.0_f32, |peak, s| peak.max(s.abs()));
        assert!(loudest < 1e-5, "{loudest}");
        let is_quiet = |window: &[f32]| window.iter().all(|s| s.abs() < 0.003);
        let windows: Vec<bool> = voice.chunks(4_800).map(is_quiet).collect();
        let quiet = windows.iter().filter(|quiet| **quiet).count();
        assert!(
            (8..48).contains(&quiet),
            "{quiet} of {} quiet",
            windows.len()
        );
        // A step would be a click.
        let step = voice.windows(2).map(|w| (w[1] - w[0]).abs());
        assert!(step.fold(0.0, f32::max) < 0.35);
    }
}

#[test]
fn one_voice_is_low_and_the_other_high() {
    let voices = voice::voices(48_000);
    // Both sing a long last note: the low one around 131 Hz, the high one around 262 Hz.
    let (low, high) = (pitch(&voices[0], 6.8), pitch(&voices[1], 7.0));
    assert!((low - 131.0).abs() < 8.0, "{low} Hz");
    assert!((high - 262.0).abs() < 14.0, "{high} Hz");
}

/// The pitch at a time, by the lag that repeats best.
fn pitch(voice: &[f32], at_s: f64) -> f64 {
    let window = &voice[(at_s * 48_000.0) as usize..][..4_096];
    let like = |lag: usize| -> f64 {
        let pairs = window.iter().zip(&window[lag..]);
        let product: f64 = pairs.map(|(a, b)| f64::from(a * b)).sum();
        product / (window.len() - lag) as f64
    };
    let best = (100..600).max_by(|a, b| like(*a).total_cmp(&like(*b)));
    48_000.0 / best.unwrap() as f64
}
