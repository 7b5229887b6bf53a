//! Settings: TOML, the environment and the command line to a [`Config`], checked as a whole.
//!
//! | file | noun |
//! |---|---|
//! | `field.rs` | one definition of a setting: type, unit, range, default, words |
//! | `mixer.rs` | what a hardware mixer is to be |
//! | `track.rs` | `[[tracks]]` |
//! | `parse.rs` | text to [`Config`], or every [`Fault`] with its line |
//! | `print.rs` | [`Config`] to text |
//!
//! The command line wins over the environment, that over the file, that over the defaults.

mod field;
pub mod mixer;
mod parse;
mod print;
mod track;

use std::net::SocketAddr;
use std::path::PathBuf;

use self::field::settings;
pub use self::field::{Fault, Faults, Field, Kind, Setting, Value};
pub use self::parse::{CONFIG_BYTES_MAX, FILE_NAME, Override};
pub use self::track::{DEVICE_CHANNELS_MAX, NotAnInput, Track, TrackInput, is_id};
use crate::session::Grants;
use crate::session::role::{Permission, Permissions};

/// What a client without a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anonymous {
    /// Everything.
    Host,
    /// Look and listen.
    Guest,
    /// Nothing before it has shown a token.
    Off,
}

/// Which backend to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendChoice {
    /// A running JACK server, else a card, else null until there is a card.
    Auto,
    /// A clock without a device.
    Null,
    /// A running JACK server.
    Jack,
    /// An ALSA card.
    Alsa,
}

settings! {
    /// All settings of rigd. Plain data; any thread.
    pub struct Config, section "" of Config at |c| c;

    /// What a client without a token may do: "host" (everything), "guest" (look) or "off". Left at
    /// "", it is "host" while rigd listens on loopback only and "off" otherwise.
    pub allow_anonymous: Option<Anonymous> = None, Kind::Choice(&["", "host", "guest", "off"]), "";
    /// Web origins, such as "https://karaoke.example", whose pages may connect besides rigd's own;
    /// each one trusts everybody who can put a script there.
    pub allowed_origins: Vec<String> = Vec::new(), Kind::Texts(64), "";
    /// Writes every message to the log: helps to find a fault, and fills the log with what people
    /// do.
    pub log_messages: bool = false, Kind::Bool, "";
    /// What the record of all changes may take on disk; the oldest go first, and what is left still
    /// proves that it is complete. 0 is no bound.
    pub log_max_mb: u32 = 256, Kind::Int(0, 1_000_000), "MiB";
    /// How long changes stay on record. 0 is for ever.
    pub log_max_days: u32 = 400, Kind::Int(0, 36_500), "days";
    /// What a new rig starts with: "karaoke" is a whole chain on every microphone, a reverb and an echo
    /// on buses that all share, the music under the voice and a venue's limiter; "none" (or "") is
    /// the master's limiter only.
    pub preset: String = String::new(), Kind::Text(64), "";
    /// Where to listen, as ADDRESS:PORT; "0.0.0.0:8000" is every network of this box; then people
    /// need a token, unless allow_anonymous says otherwise.
    pub listen: Vec<SocketAddr> = vec![SocketAddr::from(([127, 0, 0, 1], 8000))], Kind::Texts(16), "";
    /// The folder for what must survive a restart. Left at "", it is $STATE_DIRECTORY, else
    /// $XDG_STATE_HOME/rigd, else ~/.local/state/rigd, else /var/lib/rigd.
    pub state_dir: PathBuf = PathBuf::new(), Kind::Text(4096), "";
    /// This rig's own name in its log; 1 to 64 of A-Z a-z 0-9 _ . - so that the records of several
    /// rigs can be told apart.
    pub agent_id: String = "rigd".into(), Kind::Text(64), "";

    and {
        /// `[audio]`.
        pub audio: Audio = Audio::default();
        /// `[jack]`.
        pub jack: Jack = Jack::default();
        /// `[alsa]`.
        pub alsa: Alsa = Alsa::default();
        /// `[tls]`.
        pub tls: Tls = Tls::default();
        /// `[mixer]`.
        pub mixer: Mixer = Mixer::default();
        /// `[realtime]`.
        pub realtime: Realtime = Realtime::default();
        /// `[device]`.
        pub device: Device = Device::default();
        /// `[limits]`.
        pub limits: Limits = Limits::default();
        /// `[roles]`.
        pub roles: Roles = Roles::default();
        /// `[features]`.
        pub features: Features = Features::default();
        /// `[[tracks]]`: at most 16, exactly one of them the master.
        pub tracks: Vec<Track> = Track::default_rig();
    }
}

settings! {
    /// Where sound comes from and goes to.
    pub struct Audio, section "audio" of Config at |c| c.audio;

    /// "auto" takes a running JACK server, else the first ALSA card that plays (and records), else "null",
    /// which is a clock without a device.
    pub backend: BackendChoice = BackendChoice::Auto, Kind::Choice(&["auto", "null", "jack", "alsa"]), "";
    /// Frames per second; more costs processor time in proportion. JACK's own rate wins, and a
    /// card that has none such takes the nearest.
    pub sample_rate: u32 = 48_000, Kind::Int(8_000, 192_000), "Hz";
    /// Frames computed at a time; fewer means less delay and less tolerance for a busy processor.
    /// JACK's own number wins, and a card's that cannot do this one.
    pub block_frames: u32 = 64, Kind::Int(16, 4096), "frames";
    /// A WAV file whose channels loop into the microphone tracks ("null" only); "" is a built-in
    /// pair of voices.
    pub input: Option<PathBuf> = None, Kind::Text(4096), "";
    /// A WAV file that loops as the music ("null" only); "" is silence.
    pub music: Option<PathBuf> = None, Kind::Text(4096), "";
    /// A WAV file that records the master ("null" only), at 8 bytes a frame; "" records nothing.
    pub output: Option<PathBuf> = None, Kind::Text(4096), "";
    /// Memory for echoes and reverbs, claimed at the start; with none left, another one is refused.
    pub delay_pool_mb: u32 = 8, Kind::Int(1, 256), "MiB";
}

settings! {
    /// How rigd is seen by a JACK server. JACK_DEFAULT_SERVER in the environment says which server.
    pub struct Jack, section "jack" of Config at |c| c.jack;

    /// rigd's name among the server's clients; the server adds a number when it is taken.
    pub client_name: String = "rigd".into(), Kind::Text(32), "";
    /// Connects microphones to the physical inputs that their `input` names, and the master to the
    /// first two physical outputs. false leaves that to a patchbay.
    pub connect: bool = true, Kind::Bool, "";
}

settings! {
    /// Which sound card, and how. Only the "alsa" backend looks here.
    pub struct Alsa, section "alsa" of Config at |c| c.alsa;

    /// The card, by its id (the word after "card 1:" of `arecord -l`, such as "M2"), or any PCM that ALSA knows;
    /// "" is the first card that plays and records, else the first that plays.
    pub device: String = String::new(), Kind::Text(256), "";
    /// Where microphones come from, if not from device; "none" if there are none.
    pub capture: String = String::new(), Kind::Text(256), "";
    /// Where the master goes, if not to device.
    pub playback: String = String::new(), Kind::Text(256), "";
    /// How many blocks of audio.block_frames the loudspeakers' buffer holds; more means more delay and
    /// more tolerance for a busy box.
    pub periods: u32 = 3, Kind::Int(2, 32), "blocks";
    /// How samples are coded; "" is the best that the card speaks.
    pub format: String = String::new(), Kind::Choice(&["", "float", "s32", "s24_3", "s24", "s16"]), "";
    /// How many channels to record; 0 is all that the card has.
    pub capture_channels: u32 = 0, Kind::Int(0, 256), "channels";
    /// How many channels to play; 0 is all that the card has.
    pub playback_channels: u32 = 0, Kind::Int(0, 256), "channels";
    /// The card's channels that are left and right of the master, such as [3, 4]; [] is what the card
    /// says, else [1, 2].
    pub master: Vec<usize> = Vec::new(), Kind::Ints(2, 1, 256), "";
    /// Capture and playback are different cards, and a cable between them (word clock, S/PDIF, ADAT) keeps
    /// them in step.
    pub one_clock: bool = false, Kind::Bool, "";
}

settings! {
    /// The hardware mixer of a sound card. What is wanted of it is set whenever the backend is opened:
    /// interfaces often come up muted.
    pub struct Mixer, section "mixer" of Config at |c| c.mixer;

    /// A card that rigd plays to by itself, without a JACK server, is made audible if it comes up mute: outputs
    /// that are off are turned on, and those at their very bottom come to 0 dB. What is in `set` is left out.
    pub audible: bool = true, Kind::Bool, "";
    /// The card, by its id; "" is the one that ALSA's settings play to.
    pub card: String = String::new(), Kind::Text(64), "";
    /// What its controls are to be, such as ["Master = 80%", "Mic capture = 12dB", "Mic capture = on"]; `rigd
    /// devices` shows their names. [] leaves them alone.
    pub set: mixer::Dials = mixer::Dials::default(), Kind::Texts(64), "";
}

settings! {
    /// Encrypted connections, https:// and wss://, on the same port; without a certificate all are plain.
    pub struct Tls, section "tls" of Config at |c| c.tls;

    /// The certificate, and those between it and its authority: a PEM file.
    pub cert: Option<PathBuf> = None, Kind::Text(4096), "";
    /// Its private key: a PEM file that only rigd can read.
    pub key: Option<PathBuf> = None, Kind::Text(4096), "";
    /// Makes a certificate and keeps it in the state folder; browsers warn of it, and people compare the
    /// fingerprint that rigd logs at its start.
    pub self_signed: bool = false, Kind::Bool, "";
}

impl Tls {
    /// Whether connections are encrypted.
    pub fn is_on(&self) -> bool {
        self.self_signed || self.cert.is_some()
    }

    /// What the rig's addresses begin with.
    pub fn scheme(&self) -> &'static str {
        if self.is_on() { "https" } else { "http" }
    }
}

settings! {
    /// What the audio thread asks of the system.
    pub struct Realtime, section "realtime" of Config at |c| c.realtime;

    /// SCHED_FIFO priority of the audio thread; higher keeps more of the system from interrupting
    /// sound. 0 does not ask.
    pub priority: u8 = 70, Kind::Int(0, 99), "";
    /// Processors that the audio thread may run on; one of its own avoids dropouts and is lost to
    /// the rest. [] is any.
    pub cpus: Vec<usize> = Vec::new(), Kind::Ints(64, 0, 1023), "";
    /// Processors that everything else may run on; [] is any.
    pub control_cpus: Vec<usize> = Vec::new(), Kind::Ints(64, 0, 1023), "";
    /// Keeps rigd's memory from being swapped out, at the price of that much memory.
    pub lock_memory: bool = true, Kind::Bool, "";
    /// Share of the block time that effects may use on average; above it, or above half of it when blocks
    /// take longer than they last, rigd says that the processor is too slow.
    pub load_max: f64 = 0.85, Kind::Float(0.001, 1.0), "";
    /// Lets effects rest then, the least important first (bypassed ones, reverb, echo, deesser, eq,
    /// compressor, gate), and has them back when there is room; without it sound may break off.
    pub shed_load: bool = false, Kind::Bool, "";
}

settings! {
    /// What a host may ask of the box itself, from a phone.
    pub struct Device, section "device" of Config at |c| c.device;

    /// Reboot and power-off, through systemd-logind. false is for a box that has more to do than this.
    pub allow_power: bool = true, Kind::Bool, "";
    /// Joining a Wi-Fi network, through NetworkManager. true is for a box whose network is the hosts' to choose.
    pub allow_wifi: bool = false, Kind::Bool, "";
    /// The file that is there while the box has a Wi-Fi network of its own: its address there, its name, and a
    /// line for each network in reach. Phones that come to that address by another name are led to the page
    /// where a network is entered. "" is never.
    pub access_point: Option<PathBuf> = None, Kind::Text(4096), "";
    /// The largest backup that is taken for a restore.
    pub restore_max_mb: u32 = 1_024, Kind::Int(1, 1_000_000), "MiB";
    /// The largest update that is taken, on a box with two slots.
    pub update_max_mb: u32 = 1_024, Kind::Int(1, 1_000_000), "MiB";
}

settings! {
    /// How much one client may ask for. A limit refuses the message and never cuts the connection.
    pub struct Limits, section "limits" of Config at |c| c.limits;

    /// Messages of one connection on average; higher lets one client take more of the processor.
    pub messages_per_s: u32 = 100, Kind::Int(1, 1_000_000), "per second";
    /// Messages of one connection at once before messages_per_s counts.
    pub message_burst: u32 = 200, Kind::Int(1, 1_000_000), "messages";
    /// Parameter batches of one connection; a debounced batch above it joins the pending one.
    pub batches_per_s: u32 = 20, Kind::Int(1, 1_000_000), "per second";
    /// Additions, removals, moves, presets and track changes of one connection.
    pub operations_per_s: u32 = 10, Kind::Int(1, 100_000), "per second";
    /// Connections that one user may have open at a time.
    pub connections_per_user: u32 = 5, Kind::Int(1, 1_000), "connections";
    /// New connections of one address beyond its first 20; loopback is exempt.
    pub connects_per_minute: u32 = 10, Kind::Int(1, 10_000), "per minute";
    /// Connections in all; each costs some memory and one copy of every change.
    pub connections: u32 = 256, Kind::Int(1, 10_000), "connections";
    /// Longest message; a longer one closes its connection.
    pub message_bytes: usize = 65_536, Kind::Int(1_024, 1_048_576), "bytes";
    /// Changes in one batch.
    pub batch_changes: usize = 256, Kind::Int(1, 2_048), "changes";
    /// Messages that wait for a slow client before it gets a fresh snapshot instead.
    pub backlog_messages: usize = 1_024, Kind::Int(16, 65_536), "messages";
}

settings! {
    /// What the roles may do: any of plugin:read, plugin:write, plugin:add, plugin:remove, track:modify,
    /// session:manage, log:read. A host may do everything.
    pub struct Roles, section "roles" of Config at |c| c.roles;

    /// A performer; what changes something, on the tracks that its token names.
    pub performer: Vec<String> = ["plugin:read", "plugin:write", "track:modify"].map(String::from).into(), Kind::Texts(16), "";
    /// A guest.
    pub guest: Vec<String> = vec!["plugin:read".into()], Kind::Texts(16), "";
    /// A screen.
    pub display: Vec<String> = vec!["plugin:read".into()], Kind::Texts(16), "";
}

impl Roles {
    /// What they may do. Names that are none give nothing.
    pub fn grants(&self) -> Grants {
        let of = |names: &[String]| {
            let known = names.iter().filter_map(|name| Permission::from_name(name));
            known.collect::<Permissions>()
        };
        Grants {
            performer: of(&self.performer),
            guest: of(&self.guest),
            display: of(&self.display),
        }
    }
}

settings! {
    /// Parts of rigd that can be turned off.
    pub struct Features, section "features" of Config at |c| c.features;

    /// All messages are served. Without it only the old ones (ADD_PLUGIN, UPDATE_PARAMETER…) are, with
    /// AUTH, heartbeat, status.get, rig.panic and rig.restore.
    pub enable_new_plugin_system: bool = true, Kind::Bool, "";
    /// Accepted changes reach the other clients; without it each hears its own replies only, and has
    /// to ask for the state.
    pub enable_session_broadcasting: bool = true, Kind::Bool, "";
    /// Every change is put on record; without it nobody can tell later who did what.
    pub enable_daid_tracking: bool = true, Kind::Bool, "";
    /// Batches of parameter changes are accepted.
    pub enable_parameter_batching: bool = true, Kind::Bool, "";
}

impl Config {
    /// Every setting outside `[[tracks]]`, in the order of the documented file.
    pub fn fields() -> impl Iterator<Item = &'static Field<Config>> {
        Config::FIELDS
            .iter()
            .chain(Audio::FIELDS)
            .chain(Jack::FIELDS)
            .chain(Alsa::FIELDS)
            .chain(Tls::FIELDS)
            .chain(Mixer::FIELDS)
            .chain(Realtime::FIELDS)
            .chain(Device::FIELDS)
            .chain(Limits::FIELDS)
            .chain(Roles::FIELDS)
            .chain(Features::FIELDS)
    }

    /// Whether only this box itself can connect.
    pub fn listen_is_loopback_only(&self) -> bool {
        let is_loopback = |address: &SocketAddr| address.ip().to_canonical().is_loopback();
        self.listen.iter().all(is_loopback)
    }

    /// What a client without a token may do, the default resolved.
    pub fn anonymous(&self) -> Anonymous {
        match self.allow_anonymous {
            Some(anonymous) => anonymous,
            None if self.listen_is_loopback_only() => Anonymous::Host,
            None => Anonymous::Off,
        }
    }
}

macro_rules! words {
    ($ty:ty: $($word:literal = $value:expr),+) => {
        impl Setting for $ty {
            fn to_value(&self) -> Value {
                let words = [$(($word, $value)),+];
                let word = words.iter().find(|(_, value)| value == self);
                Value::Text(word.map_or("", |(word, _)| word).into())
            }

            fn from_value(value: Value) -> Result<$ty, String> {
                let text = String::from_value(value)?;
                match text.as_str() {
                    $($word => Ok($value),)+
                    _ => Err(format!("cannot be \"{text}\"")),
                }
            }
        }
    };
}

words!(Option<Anonymous>:
    "" = None,
    "host" = Some(Anonymous::Host),
    "guest" = Some(Anonymous::Guest),
    "off" = Some(Anonymous::Off));
words!(BackendChoice:
    "auto" = BackendChoice::Auto,
    "null" = BackendChoice::Null,
    "jack" = BackendChoice::Jack,
    "alsa" = BackendChoice::Alsa);
