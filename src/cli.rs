//! The command line: what may be asked of `rigd`, and how it ends.
//!
//! Exit codes: 0 done, 1 failed, 2 bad usage or settings. Errors go to stderr, as sentences that
//! say what to do.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::care::{self, FileArgs, ResetArgs, SupportArgs};
use crate::config::{Config, Faults, Override, Value};
use crate::devices::{self, DevicesArgs};
use crate::doctor::{self, DoctorArgs};
use crate::provenance;
use crate::provenance::commands::LogCommand;
use crate::provenance::legacy::ImportArgs;
use crate::session;
use crate::session::commands::{PairArgs, TokenArgs};
use crate::tone::{self, ToneArgs};
use crate::update::{self, UpdateArgs};

/// Exit code of a command that could not do what it was asked.
pub const FAILED: u8 = 1;
/// Exit code of bad usage or bad settings.
pub const BAD_USAGE: u8 = 2;

/// How a command ends when it does not end well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Exit code: [`FAILED`] or [`BAD_USAGE`].
    pub code: u8,
    /// For stderr: a sentence that says what to do.
    pub message: String,
}

impl Failure {
    /// It could not be done: exit code 1.
    pub fn failed(message: impl Into<String>) -> Failure {
        Failure {
            code: FAILED,
            message: message.into(),
        }
    }

    /// It was asked for in the wrong way: exit code 2.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure {
            code: BAD_USAGE,
            message: message.into(),
        }
    }
}

/// An error as a sentence: a capital letter in front, a full stop behind.
pub fn sentence(error: &impl fmt::Display) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    let stop = if text.ends_with('.') { "" } else { "." };
    first.chain(letters).chain(stop.chars()).collect()
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<Faults> for Failure {
    fn from(faults: Faults) -> Failure {
        Failure::usage(faults.to_string())
    }
}

/// A karaoke rig that phones steer.
#[derive(Debug, Parser)]
#[command(name = "rigd", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the rig until it is told to stop (SIGTERM, SIGINT)
    Serve(ServeArgs),
    /// Run WAV files through the rig, faster than real time and the same every time
    Render(RenderArgs),
    /// Play a run of the log once more, to the bit
    Replay(ReplayArgs),
    /// Print the settings in effect, or every fault in them
    Check(CheckArgs),
    /// Print a token with which somebody can come in
    Token(TokenArgs),
    /// Print a link and QR code with which somebody can come in, once
    Pair(PairArgs),
    /// Show what JACK and ALSA offer: ports, cards, their formats and mixers
    Devices(DevicesArgs),
    /// Is this box fit for realtime sound, and what would mend it
    Doctor(DoctorArgs),
    /// Ask a rig that runs for a test tone
    Tone(ToneArgs),
    /// Read the log of every change; also while rigd is running
    #[command(subcommand)]
    Log(LogCommand),
    /// Write state, log and settings into a file; also while rigd is running
    Backup(FileArgs),
    /// Put what a backup holds in the place of what is there
    Restore(FileArgs),
    /// Write what a bug report needs into a file, without secrets
    Support(SupportArgs),
    /// Delete everything that rigd has kept
    Reset(ResetArgs),
    /// On the device image: put a signed new version into the other slot
    Update(UpdateArgs),
    /// Copy the plugin configurations of an older system into the state folder
    ImportLegacy(ImportArgs),
}

/// `rigd serve`.
#[derive(Args, Clone, Debug, Default)]
pub struct ServeArgs {
    /// Settings; without it, rigd.toml in the state folder, if there
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where to listen; can be given several times
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Vec<String>,
    /// Where sound comes from and goes to
    #[arg(long, value_parser = ["auto", "null", "jack", "alsa"])]
    pub backend: Option<String>,
    /// The folder for what must survive a restart
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<String>,
    /// Frames per second
    #[arg(long, value_name = "HZ", allow_negative_numbers = true)]
    pub sample_rate: Option<i64>,
    /// Frames computed at a time
    #[arg(long, value_name = "FRAMES", allow_negative_numbers = true)]
    pub block: Option<i64>,
    /// Its channels loop into the microphone tracks (null backend)
    #[arg(long, value_name = "FILE.wav")]
    pub input: Option<String>,
    /// Loops as the music (null backend)
    #[arg(long, value_name = "FILE.wav")]
    pub music: Option<String>,
    /// Records the master (null backend)
    #[arg(long, value_name = "FILE.wav")]
    pub output: Option<String>,
}

/// `rigd render`.
#[derive(Args, Clone, Debug)]
pub struct RenderArgs {
    /// Its channels feed the microphone tracks in order, one each
    #[arg(long, value_name = "FILE.wav")]
    pub input: PathBuf,
    /// Feeds the tracks whose input is "file"
    #[arg(long, value_name = "FILE.wav")]
    pub music: Option<PathBuf>,
    /// Takes the master: stereo, 32-bit float
    #[arg(long, value_name = "FILE.wav")]
    pub output: PathBuf,
    /// Changes, one {"frame": N, "message": {...}} a line
    #[arg(long, value_name = "FILE.jsonl")]
    pub commands: Option<PathBuf>,
    /// Settings; without it, rigd.toml in the state folder, if there
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Frames computed at a time; changes nothing in the result
    #[arg(long, value_name = "FRAMES", allow_negative_numbers = true)]
    pub block: Option<i64>,
}

/// `rigd replay`.
#[derive(Args, Clone, Debug)]
pub struct ReplayArgs {
    /// The folder with the log
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<String>,
    /// Which run; the newest one if left out
    #[arg(long, value_name = "ID")]
    pub epoch: Option<String>,
    /// Begins at the last snapshot that holds nothing behind this change, instead of at the beginning
    #[arg(long, value_name = "SEQ")]
    pub from: Option<u64>,
    /// Ends where the change after this one took effect
    #[arg(long, value_name = "SEQ")]
    pub until: Option<u64>,
    /// What the run's microphones heard; its channels go round and round
    #[arg(long, value_name = "FILE.wav")]
    pub input: PathBuf,
    /// The music that was played
    #[arg(long, value_name = "FILE.wav")]
    pub music: Option<PathBuf>,
    /// Takes the master: stereo, 32-bit float
    #[arg(long, value_name = "FILE.wav")]
    pub output: PathBuf,
}

/// `rigd check`.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// Settings; without it, rigd.toml in the state folder, if there
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl ServeArgs {
    /// The settings that these options override.
    pub fn overrides(&self) -> Vec<Override> {
        let mut given = Vec::new();
        if !self.listen.is_empty() {
            let value = Value::Texts(self.listen.clone());
            given.push(over("--listen", "", "listen", Some(value)));
        }
        let text = |text: &Option<String>| text.clone().map(Value::Text);
        let audio = "audio";
        given.extend([
            over("--backend", audio, "backend", text(&self.backend)),
            over("--state-dir", "", "state_dir", text(&self.state_dir)),
            over(
                "--sample-rate",
                audio,
                "sample_rate",
                self.sample_rate.map(Value::Int),
            ),
            over("--block", audio, "block_frames", self.block.map(Value::Int)),
            over("--input", audio, "input", text(&self.input)),
            over("--music", audio, "music", text(&self.music)),
            over("--output", audio, "output", text(&self.output)),
        ]);
        given.into_iter().flatten().collect()
    }

    /// The settings with these options on top. Reads the settings file and the environment.
    pub fn config(&self) -> Result<Config, Failure> {
        load(self.config.as_deref(), &self.overrides())
    }
}

impl RenderArgs {
    /// The settings with `--block` on top; `[audio]`'s files are not part of a render and are
    /// left as the file has them. Reads the settings file and the environment.
    pub fn settings(&self) -> Result<Config, Failure> {
        let block = self.block.map(Value::Int);
        let overrides: Vec<Override> = over("--block", "audio", "block_frames", block)
            .into_iter()
            .collect();
        load(self.config.as_deref(), &overrides)
    }
}

/// The settings with `--state-dir` on top.
fn in_folder(state_dir: &Option<String>) -> Result<Config, Failure> {
    let folder = state_dir.clone().map(Value::Text);
    let overrides: Vec<Override> = over("--state-dir", "", "state_dir", folder)
        .into_iter()
        .collect();
    load(None, &overrides)
}

fn over(
    option: &'static str,
    section: &'static str,
    key: &'static str,
    value: Option<Value>,
) -> Option<Override> {
    value.map(|value| Override {
        option,
        section,
        key,
        value,
    })
}

fn load(file: Option<&Path>, overrides: &[Override]) -> Result<Config, Failure> {
    let env = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    Ok(Config::load(file, overrides, &env)?)
}

/// Reads the command line, does what it says and tells how it ended. Main thread.
pub fn main() -> ExitCode {
    // What is in memory is nobody else's, after a crash neither: keys, tokens and codes are among it.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    let cli = Cli::parse();
    let result =
        match cli.command {
            Command::Serve(args) => args.config().and_then(|config| {
                crate::run::serve(config, args.config.clone(), &|| args.config())
            }),
            Command::Render(args) => args
                .settings()
                .and_then(|config| crate::render::render(&args, &config)),
            Command::Replay(args) => in_folder(&args.state_dir)
                .and_then(|config| crate::replay::replay(&args, &config.state_dir)),
            Command::Check(args) => check(&args),
            Command::Devices(args) => devices::run(&args),
            Command::Doctor(args) => {
                doctor_settings(&args).and_then(|config| doctor::run(&args, &config))
            }
            Command::Tone(args) => {
                load(args.config.as_deref(), &[]).and_then(|config| tone::run(&args, &config))
            }
            Command::Token(args) => in_folder(&args.state_dir)
                .and_then(|config| session::commands::token(&args, &config)),
            Command::Pair(args) => in_folder(&args.state_dir)
                .and_then(|config| session::commands::pair(&args, &config)),
            Command::Log(command) => provenance::commands::run(command, state_dir),
            Command::Backup(args) => args
                .state_dir
                .clone()
                .map_or_else(state_dir, Ok)
                .and_then(|folder| care::backup(&args, &folder)),
            Command::Restore(args) => args
                .state_dir
                .clone()
                .map_or_else(state_dir, Ok)
                .and_then(|folder| care::restore(&args, &folder)),
            Command::Support(args) => {
                support_settings(&args).and_then(|config| care::support(&args, &config))
            }
            Command::Reset(args) => args
                .state_dir
                .map_or_else(state_dir, Ok)
                .and_then(|folder| care::reset(&folder)),
            Command::Update(args) => update::run(&args),
            Command::ImportLegacy(args) => args
                .state_dir
                .map_or_else(state_dir, Ok)
                .and_then(|folder| provenance::legacy::import(&args.file, &folder)),
        };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(failure.code)
        }
    }
}

fn doctor_settings(args: &DoctorArgs) -> Result<Config, Failure> {
    let backend = args.backend.clone().map(Value::Text);
    let overrides: Vec<Override> = over("--backend", "audio", "backend", backend)
        .into_iter()
        .collect();
    load(args.config.as_deref(), &overrides)
}

fn support_settings(args: &SupportArgs) -> Result<Config, Failure> {
    let folder = args.state_dir.clone().map(Value::Text);
    let overrides: Vec<Override> = over("--state-dir", "", "state_dir", folder)
        .into_iter()
        .collect();
    load(args.config.as_deref(), &overrides)
}

/// The state folder of the settings.
fn state_dir() -> Result<PathBuf, Failure> {
    Ok(load(None, &[])?.state_dir)
}

fn check(args: &CheckArgs) -> Result<(), Failure> {
    use std::io::Write;

    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in Config::unknown_variables(names) {
        eprintln!("{name} in the environment is no setting of rigd and changes nothing.");
    }
    let config = load(args.config.as_deref(), &[])?;
    std::io::stdout()
        .write_all(config.to_toml().as_bytes())
        .map_err(|error| Failure::failed(format!("Cannot print the settings: {error}.")))
}
