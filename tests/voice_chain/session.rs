//! One `rigd render`: WAV files and commands in a folder of their own, and what came out.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use hound::{SampleFormat, WavSpec};
use rigd::cli::RenderArgs;
use rigd::config::Config;
use rigd::render::render;
use rigd_rt::Kind;
use serde_json::{Value, json};

pub const RATE_HZ: u32 = 48_000;

/// Left and right.
pub type Stereo = [Vec<f32>; 2];

/// A folder that goes away with its test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("rigd-voice-chain-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).expect("the temporary folder can be written");
        Scratch(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What goes into a rendering, and what is done to it.
pub struct Session {
    rate_hz: u32,
    mics: Vec<Vec<f32>>,
    music: Stereo,
    lines: String,
}

impl Session {
    /// The same signal on both sides of the music, which passes at unity.
    pub fn music(signal: &[f32]) -> Session {
        Session::new(Vec::new(), [signal.to_vec(), signal.to_vec()])
    }

    /// Signals for the mics in their order.
    pub fn mics(mics: &[&[f32]]) -> Session {
        let mics: Vec<_> = mics.iter().map(|mic| mic.to_vec()).collect();
        Session::new(mics, [Vec::new(), Vec::new()])
    }

    fn new(mics: Vec<Vec<f32>>, music: Stereo) -> Session {
        Session {
            rate_hz: RATE_HZ,
            mics,
            music,
            lines: String::new(),
        }
    }

    pub fn rate(mut self, rate_hz: u32) -> Session {
        self.rate_hz = rate_hz;
        self
    }

    /// A message at a frame.
    pub fn say(mut self, frame: usize, kind: &str, data: Value) -> Session {
        let line = json!({"frame": frame, "message": {"type": kind, "data": data}});
        writeln!(self.lines, "{line}").expect("a string takes everything");
        self
    }

    /// An effect at the end of a track's chain, from the first frame on; its id is [`id`].
    pub fn add(self, track: &str, kind: Kind, params: &[(&str, f64)]) -> Session {
        let id = id(kind);
        let name = kind.name();
        let added = self.say(
            0,
            "plugin.add",
            json!({"track_id": track, "plugin_id": id, "name": name}),
        );
        params.iter().fold(added, |session, (param, value)| {
            session.set(0, track, &id, param, *value)
        })
    }

    pub fn set(self, frame: usize, track: &str, plugin: &str, param: &str, value: f64) -> Session {
        self.say(
            frame,
            "plugin.parameter",
            json!({"track_id": track, "plugin_id": plugin, "parameter_id": param, "value": value}),
        )
    }

    /// What is heard, without the latency of the master's limiter: as long as the longest input, and
    /// in time with it.
    pub fn play(mut self) -> Stereo {
        let latency = Kind::Limiter.latency_frames(self.rate_hz);
        let inputs = self.mics.iter().chain(&self.music);
        let frames = inputs.map(Vec::len).max().unwrap_or(0);
        for input in self.mics.iter_mut().chain(&mut self.music) {
            input.resize(frames + latency, 0.0);
        }
        if self.mics.is_empty() {
            self.mics.push(vec![0.0]);
        }
        let scratch = Scratch::new();
        let file = |name: &str| scratch.0.join(name);
        write(&file("mics.wav"), self.rate_hz, &self.mics);
        write(&file("music.wav"), self.rate_hz, &self.music);
        std::fs::write(file("commands.jsonl"), &self.lines).expect("the commands can be written");
        let mut config = Config::default();
        config.audio.sample_rate = self.rate_hz;
        let args = RenderArgs {
            input: file("mics.wav"),
            music: Some(file("music.wav")),
            output: file("out.wav"),
            commands: Some(file("commands.jsonl")),
            config: None,
            block: None,
        };
        render(&args, &config).expect("it renders");
        let [left, right] = read(&file("out.wav"));
        assert_eq!(left.len(), frames + latency);
        [left[latency..].to_vec(), right[latency..].to_vec()]
    }
}

/// What the effects of [`Session::add`] are called.
pub fn id(kind: Kind) -> String {
    format!("the_{}", kind.name())
}

fn write(path: &Path, rate_hz: u32, channels: &[Vec<f32>]) {
    let spec = WavSpec {
        channels: channels.len() as u16,
        sample_rate: rate_hz,
        bits_per_sample: 32,
        sample_format: SampleFormat::Float,
    };
    let mut writer = hound::WavWriter::create(path, spec).expect("the file can be written");
    for frame in 0..channels[0].len() {
        for channel in channels {
            writer.write_sample(channel[frame]).expect("there is room");
        }
    }
    writer.finalize().expect("there is room");
}

/// A stereo file as floats.
fn read(path: &Path) -> Stereo {
    let mut reader = hound::WavReader::open(path).expect("a WAV file");
    assert_eq!(reader.spec().channels, 2);
    let mut sides = [Vec::new(), Vec::new()];
    for (index, sample) in reader.samples::<f32>().enumerate() {
        sides[index % 2].push(sample.expect("a whole file"));
    }
    sides
}
