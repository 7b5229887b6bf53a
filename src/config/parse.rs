//! Text to [`Config`]: the whole file is looked at, and every fault in it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use rigd_rt::{TRACKS_MAX, TrackKind};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::field::parse_bool;
use super::track::is_id;
use super::{Config, Fault, Faults, Field, Track, TrackInput, Value};
use crate::session::Permission;

/// Name of the settings file in the state folder.
pub const FILE_NAME: &str = "rigd.toml";
/// Longest settings file; a longer one is refused.
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Variables of rigd's that are no settings.
const OTHERS: [&str; 2] = [crate::log::VARIABLE, "RIGD_TOKEN"];

/// Where the environment is looked up: name to value.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A setting from the command line; it wins over everything else.
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    /// The option as people write it, for messages: `--block`.
    pub option: &'static str,
    /// [`Field::section`].
    pub section: &'static str,
    /// [`Field::key`].
    pub key: &'static str,
    /// Its value.
    pub value: Value,
}

impl Config {
    /// Reads the settings: `overrides` (the command line) win over `env`, that over the file,
    /// that over the defaults. `file` must exist; without one, it is `rigd.toml` in the state
    /// folder, if that exists. Reads the file, and nothing else from outside.
    pub fn load(
        file: Option<&Path>,
        overrides: &[Override],
        env: Env<'_>,
    ) -> Result<Config, Faults> {
        let (path, text) = match file {
            Some(path) => {
                let text = read(path).map_err(|error| unreadable(path, &error))?;
                (Some(path.to_owned()), text)
            }
            None => {
                let path = state_folder(overrides, env).join(FILE_NAME);
                match read(&path) {
                    Ok(text) => (Some(path), text),
                    Err(error) if is_absent(&error) => (None, String::new()),
                    Err(error) => return Err(unreadable(&path, &error)),
                }
            }
        };
        Config::parse(&text, overrides, env).map_err(|list| Faults { file: path, list })
    }

    /// Like [`Config::load`], from text. Pure. The faults are in the order of their lines.
    pub fn parse(text: &str, overrides: &[Override], env: Env<'_>) -> Result<Config, Vec<Fault>> {
        let mut parser = Parser::new(text);
        parser.file();
        parser.environment(env);
        parser.command_line(overrides);
        parser.check_together();
        if parser.config.state_dir.as_os_str().is_empty() {
            parser.config.state_dir = default_state_folder(env);
        }
        parser.finish()
    }

    /// Those of the environment's names that look like a setting of rigd and are none.
    pub fn unknown_variables(names: impl IntoIterator<Item = String>) -> Vec<String> {
        let known: BTreeSet<String> = Config::fields().map(Field::variable).collect();
        names
            .into_iter()
            .filter(|name| name.starts_with("RIGD_") && !OTHERS.contains(&name.as_str()))
            .filter(|name| !known.contains(name))
            .collect()
    }
}

fn read(path: &Path) -> io::Result<String> {
    let length = std::fs::metadata(path)?.len();
    if length > CONFIG_BYTES_MAX {
        return Err(io::Error::other(format!(
            "it has {length} bytes, and settings have at most {CONFIG_BYTES_MAX}"
        )));
    }
    std::fs::read_to_string(path)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn unreadable(path: &Path, error: &io::Error) -> Faults {
    let message = format!(
        "cannot read the settings in {}: {error}; name a readable TOML file with --config",
        path.display()
    );
    Faults {
        file: Some(path.to_owned()),
        list: vec![Fault {
            line: None,
            message,
        }],
    }
}

/// An empty variable counts as not set.
fn variable(env: Env<'_>, name: &str) -> Option<String> {
    env(name).filter(|value| !value.is_empty())
}

/// The state folder as far as it is known before the file is.
fn state_folder(overrides: &[Override], env: Env<'_>) -> PathBuf {
    let given = overrides.iter().rev().find_map(|given| match &given.value {
        Value::Text(path) if given.section.is_empty() && given.key == "state_dir" => {
            Some(path.clone())
        }
        _ => None,
    });
    given
        .filter(|path| !path.is_empty())
        .or_else(|| variable(env, "RIGD_STATE_DIR"))
        .map_or_else(|| default_state_folder(env), PathBuf::from)
}

fn default_state_folder(env: Env<'_>) -> PathBuf {
    // systemd separates several folders with colons; the first one is ours.
    let of_service = variable(env, "STATE_DIRECTORY")
        .and_then(|folders| folders.split(':').next().map(PathBuf::from));
    // A relative XDG folder is to be ignored, says the XDG base directory specification.
    let absolute = |name: &str| {
        variable(env, name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    of_service
        .or_else(|| absolute("XDG_STATE_HOME").map(|state| state.join("rigd")))
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state/rigd")))
        .unwrap_or_else(|| PathBuf::from("/var/lib/rigd"))
}

/// Where a setting's value has come from.
#[derive(Clone, Debug)]
enum Origin {
    Line(usize),
    Named(String),
}

/// A table of `[[tracks]]` and what is known about it.
struct Listed {
    track: Track,
    line: usize,
    lines: BTreeMap<&'static str, usize>,
    bad: BTreeSet<&'static str>,
}

impl Listed {
    fn line_of(&self, key: &str) -> usize {
        self.lines.get(key).copied().unwrap_or(self.line)
    }

    fn label(&self) -> String {
        if self.track.track_id.is_empty() {
            "this track".into()
        } else {
            format!("track \"{}\"", self.track.track_id)
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    config: Config,
    origins: BTreeMap<(&'static str, &'static str), Origin>,
    /// Lines that are no TOML: what has been rescued from them is not judged.
    broken_lines: BTreeSet<usize>,
    faults: Vec<Fault>,
}

type Entries<'i> = DeTable<'i>;

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Parser<'a> {
        Parser {
            text,
            config: Config::default(),
            origins: BTreeMap::new(),
            broken_lines: BTreeSet::new(),
            faults: Vec::new(),
        }
    }

    fn finish(mut self) -> Result<Config, Vec<Fault>> {
        if self.faults.is_empty() {
            return Ok(self.config);
        }
        // Faults from elsewhere come last.
        self.faults
            .sort_by_key(|fault| fault.line.unwrap_or(usize::MAX));
        Err(self.faults)
    }

    fn line_at(&self, offset: usize) -> usize {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    fn fault_at(&mut self, line: usize, message: String) {
        if !self.broken_lines.contains(&line) {
            self.faults.push(Fault {
                line: Some(line),
                message,
            });
        }
    }

    /// A fault of a setting, wherever it has come from.
    fn fault_of(&mut self, section: &'static str, key: &'static str, message: String) {
        match self.origins.get(&(section, key)).cloned() {
            Some(Origin::Line(line)) => {
                self.fault_at(line, format!("`{key}` {message}"));
            }
            Some(Origin::Named(name)) => self.faults.push(Fault {
                line: None,
                message: format!("{name} {message}"),
            }),
            None => self.faults.push(Fault {
                line: None,
                message: format!("`{key}` {message}"),
            }),
        }
    }

    fn file(&mut self) {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let offset = error.span().map_or(self.text.len(), |span| span.start);
            let line = self.line_at(offset);
            if self.broken_lines.insert(line) {
                self.faults.push(Fault {
                    line: Some(line),
                    message: format!("not TOML: {}", error.message()),
                });
            }
        }
        for (name, value) in table.get_ref() {
            self.top_entry(name.get_ref(), self.line_at(name.span().start), value);
        }
    }

    fn top_entry(&mut self, name: &str, line: usize, value: &Spanned<DeValue<'_>>) {
        if let Some(field) = Config::FIELDS.iter().find(|field| field.key == name) {
            self.setting(field, value);
        } else if name == "tracks" {
            self.tracks(line, value.get_ref());
        } else if sections().any(|section| section == name) {
            let DeValue::Table(entries) = value.get_ref() else {
                return self.fault_at(
                    line,
                    format!("`{name}` is a section: write [{name}] on a line of its own"),
                );
            };
            self.section(name, entries);
        } else {
            let candidates = Config::FIELDS
                .iter()
                .map(|field| field.key)
                .chain(sections())
                .chain(["tracks"]);
            let what = if value.get_ref().is_table() {
                "section"
            } else {
                "key"
            };
            let advice = belongs(name, "").unwrap_or_else(|| meant(name, candidates));
            self.fault_at(line, format!("unknown {what} `{name}`{advice}"));
        }
    }

    fn section(&mut self, section: &str, entries: &Entries<'_>) {
        for (name, value) in entries {
            let key = name.get_ref();
            let mut fields = Config::fields().filter(|field| field.section == section);
            if let Some(field) = fields.find(|field| field.key == key) {
                self.setting(field, value);
                continue;
            }
            let line = self.line_at(name.span().start);
            let candidates = Config::fields()
                .filter(|field| field.section == section)
                .map(|field| field.key);
            let advice = belongs(key, section).unwrap_or_else(|| meant(key, candidates));
            self.fault_at(line, format!("unknown key `{key}` in [{section}]{advice}"));
        }
    }

    fn setting(&mut self, field: &'static Field<Config>, value: &Spanned<DeValue<'_>>) {
        let line = self.line_at(value.span().start);
        self.origins
            .insert((field.section, field.key), Origin::Line(line));
        if let Err(message) = apply(field, &mut self.config, value.get_ref()) {
            self.fault_at(line, format!("`{}` {message}", field.key));
        }
    }

    fn environment(&mut self, env: Env<'_>) {
        self.legacy_anonymous(env);
        for field in Config::fields() {
            // Names of the migration guide; rigd's own name wins.
            let legacy = (field.section == "features").then(|| field.key.to_ascii_uppercase());
            for name in legacy.into_iter().chain([field.variable()]) {
                let Some(text) = variable(env, &name) else {
                    continue;
                };
                let result = field
                    .kind
                    .parse(&text, field.unit)
                    .map_err(|wanted| format!("must be {wanted}, not \"{text}\""))
                    .and_then(|value| field.apply(&mut self.config, value));
                self.named(field, name, result);
            }
        }
    }

    fn legacy_anonymous(&mut self, env: Env<'_>) {
        let name = "ALLOW_ANONYMOUS";
        let Some(text) = variable(env, name) else {
            return;
        };
        let value = match parse_bool(&text) {
            Some(true) => "host".into(),
            Some(false) => "off".into(),
            None => text,
        };
        for field in Config::FIELDS {
            if field.key == "allow_anonymous" {
                let result = field.apply(&mut self.config, Value::Text(value.clone()));
                self.named(field, name.into(), result);
            }
        }
    }

    fn command_line(&mut self, overrides: &[Override]) {
        for given in overrides {
            let mut fields = Config::fields();
            let field =
                fields.find(|field| field.section == given.section && field.key == given.key);
            debug_assert!(field.is_some(), "{} sets nothing", given.option);
            if let Some(field) = field {
                let result = field.apply(&mut self.config, given.value.clone());
                self.named(field, given.option.into(), result);
            }
        }
    }

    fn named(&mut self, field: &Field<Config>, name: String, result: Result<(), String>) {
        if let Err(message) = result {
            self.faults.push(Fault {
                line: None,
                message: format!("{name} {message}"),
            });
        }
        self.origins
            .insert((field.section, field.key), Origin::Named(name));
    }

    /// What no setting can tell alone.
    fn check_together(&mut self) {
        if !is_id(&self.config.agent_id) {
            let message = "must be 1 to 64 of A-Z a-z 0-9 _ . -".into();
            self.fault_of("", "agent_id", message);
        }
        match self.config.preset.as_str() {
            "" | "none" | "karaoke" => (),
            other => {
                let message =
                    format!("names no preset of rigd: \"{other}\"; set \"karaoke\" or \"none\"");
                self.fault_of("", "preset", message);
            }
        }
        for origin in self.config.allowed_origins.clone() {
            if !is_origin(&origin) {
                let message = format!(
                    "holds \"{origin}\", which is no web origin: write scheme, host and port only, \
                     like \"https://karaoke.example\" or \"http://192.168.1.5:3000\""
                );
                self.fault_of("", "allowed_origins", message);
            }
        }
        let name = &self.config.jack.client_name;
        if name.is_empty() || name.contains(':') || name.chars().any(char::is_control) {
            let message = "must be printable text without a colon".into();
            self.fault_of("jack", "client_name", message);
        }
        if self.config.alsa.master.len() == 1 {
            let message = "must name two channels, left and right, which may be the same".into();
            self.fault_of("alsa", "master", message);
        }
        self.check_tls();
        self.check_listen();
        self.check_roles();
        let audio = self.config.audio.clone();
        if audio.output.is_some() && (audio.output == audio.input || audio.output == audio.music) {
            self.fault_of(
                "audio",
                "output",
                "would overwrite the file that is played: name another one".into(),
            );
        }
    }

    fn check_tls(&mut self) {
        let tls = self.config.tls.clone();
        let message = match (&tls.cert, &tls.key) {
            (Some(_), None) => Some(("cert", "needs the `key` that belongs to it")),
            (None, Some(_)) => Some(("key", "needs the `cert` that belongs to it")),
            (Some(_), Some(_)) if tls.self_signed => Some((
                "self_signed",
                "makes a certificate, and there is one already: take it or `cert` away",
            )),
            _ => None,
        };
        if let Some((key, message)) = message {
            self.fault_of("tls", key, message.into());
        }
    }

    fn check_listen(&mut self) {
        let listen = self.config.listen.clone();
        for (index, address) in listen.iter().enumerate() {
            if address.port() != 0 && listen[..index].contains(address) {
                self.fault_of("", "listen", format!("names {address} twice"));
            }
        }
    }

    fn check_roles(&mut self) {
        let roles = self.config.roles.clone();
        for (key, names) in [
            ("performer", roles.performer),
            ("guest", roles.guest),
            ("display", roles.display),
        ] {
            let unknown = names
                .iter()
                .find(|name| Permission::from_name(name).is_none());
            if let Some(name) = unknown {
                let all = Permission::ALL.map(Permission::name).join(", ");
                let message =
                    format!("holds \"{name}\", which is no permission: choose from {all}");
                self.fault_of("roles", key, message);
            }
        }
    }

    fn tracks(&mut self, line: usize, value: &DeValue<'_>) {
        let usage = "`tracks` is a list: write [[tracks]] on a line of its own above each track";
        let DeValue::Array(items) = value else {
            return self.fault_at(line, usage.into());
        };
        let mut listed = Vec::new();
        for item in items.iter() {
            let line = self.line_at(item.span().start);
            match item.get_ref() {
                DeValue::Table(entries) => listed.push(self.track(line, entries)),
                _ => self.fault_at(line, usage.into()),
            }
        }
        self.check_tracks(&listed);
        self.config.tracks = listed.into_iter().map(|listed| listed.track).collect();
        if !self
            .config
            .tracks
            .iter()
            .any(|track| track.kind == TrackKind::Master)
        {
            self.config.tracks.push(Track::master());
        }
    }

    fn track(&mut self, line: usize, entries: &Entries<'_>) -> Listed {
        let mut listed = Listed {
            track: Track::default(),
            line,
            lines: BTreeMap::new(),
            bad: BTreeSet::new(),
        };
        for (name, value) in entries {
            let key = name.get_ref();
            let Some(field) = Track::FIELDS.iter().find(|field| field.key == key) else {
                let line = self.line_at(name.span().start);
                let advice = meant(key, Track::FIELDS.iter().map(|field| field.key));
                self.fault_at(line, format!("unknown key `{key}` in [[tracks]]{advice}"));
                continue;
            };
            let line = self.line_at(value.span().start);
            listed.lines.insert(field.key, line);
            if let Err(message) = apply(field, &mut listed.track, value.get_ref()) {
                listed.bad.insert(field.key);
                self.fault_at(line, format!("`{key}` {message}"));
            }
        }
        if listed.track.name.is_empty() {
            listed.track.name = listed.track.track_id.clone();
        }
        listed
    }

    fn check_tracks(&mut self, listed: &[Listed]) {
        let mut masters = 0;
        for (index, this) in listed.iter().enumerate() {
            let track = &this.track;
            for key in ["track_id", "kind"] {
                if !this.lines.contains_key(key) {
                    self.fault_at(this.line, format!("{} has no `{key}`", this.label()));
                }
            }
            if this.lines.contains_key("track_id") && !this.bad.contains("track_id") {
                let line = this.line_of("track_id");
                if !is_id(&track.track_id) {
                    let message = "`track_id` must be 1 to 64 of A-Z a-z 0-9 _ . -";
                    self.fault_at(line, message.into());
                }
                let earlier = &listed[..index];
                if let Some(first) = earlier
                    .iter()
                    .find(|other| other.track.track_id == track.track_id)
                {
                    let message = format!(
                        "`track_id` \"{}\" is taken by the track in line {}",
                        track.track_id, first.line
                    );
                    self.fault_at(line, message);
                }
            }
            if track.name.chars().any(char::is_control) {
                let message = "`name` must be printable text".into();
                self.fault_at(this.line_of("name"), message);
            }
            if this.bad.contains("kind") {
                continue;
            }
            if track.kind == TrackKind::Master {
                masters += 1;
                if masters > 1 {
                    let message = "there is one master: make this a \"bus\", or leave it out";
                    self.fault_at(this.line_of("kind"), message.into());
                }
            }
            let is_source = matches!(track.kind, TrackKind::Mic | TrackKind::Stem);
            if !is_source && track.input != TrackInput::None {
                let message = format!(
                    "`input` of {} must be \"none\": only mics and stems have one",
                    this.label()
                );
                self.fault_at(this.line_of("input"), message);
            }
            if !is_source && !track.sends.is_empty() {
                let message = format!("{} cannot send: only mics and stems do", this.label());
                self.fault_at(this.line_of("sends"), message);
            }
            self.check_sends(this, listed);
        }
        let count = listed.len() + usize::from(masters == 0);
        if count > TRACKS_MAX {
            let message = format!(
                "a rig has at most {TRACKS_MAX} tracks with its master, and this makes {count}"
            );
            let line = listed.last().map_or(1, |last| last.line);
            self.fault_at(line, message);
        }
    }

    fn check_sends(&mut self, this: &Listed, listed: &[Listed]) {
        for (bus, _) in &this.track.sends {
            let target = listed.iter().find(|other| other.track.track_id == *bus);
            let message = match target {
                Some(other) if other.track.kind == TrackKind::Bus || other.bad.contains("kind") => {
                    continue;
                }
                Some(_) => format!("`sends` names \"{bus}\", which is not a bus"),
                None => {
                    let buses = listed
                        .iter()
                        .filter(|other| other.track.kind == TrackKind::Bus);
                    let advice = meant(bus, buses.map(|other| other.track.track_id.as_str()));
                    format!("`sends` names \"{bus}\", which is no track{advice}")
                }
            };
            self.fault_at(this.line_of("sends"), message);
        }
    }
}

fn apply<T>(field: &Field<T>, target: &mut T, value: &DeValue<'_>) -> Result<(), String> {
    match Value::from_toml(value) {
        Ok(value) => field.apply(target, value),
        Err(what) => Err(format!(
            "must be {}, not {what}",
            field.kind.wanted(field.unit)
        )),
    }
}

/// The sections of the file but for `[[tracks]]`.
fn sections() -> impl Iterator<Item = &'static str> {
    let mut before = "";
    Config::fields().filter_map(move |field| {
        let is_new = std::mem::replace(&mut before, field.section) != field.section;
        is_new.then_some(field.section)
    })
}

/// Where a key that is not known here is known.
fn belongs(key: &str, here: &str) -> Option<String> {
    let field = Config::fields().find(|field| field.key == key && field.section != here)?;
    Some(if field.section.is_empty() {
        "; it belongs at the top of the file, above the first [section]".into()
    } else {
        format!("; it belongs into [{}]", field.section)
    })
}

/// The known name that is nearest to an unknown one, as a question.
fn meant<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let bound = (name.chars().count() / 3).max(1);
    known
        .map(|known| (strsim::osa_distance(name, known), known))
        .filter(|(distance, _)| *distance <= bound)
        .min()
        .map_or(String::new(), |(_, known)| {
            format!("; did you mean `{known}`?")
        })
}

/// `scheme://host[:port]` and nothing behind.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else {
        return false;
    };
    let is_scheme = !scheme.is_empty()
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let is_host = !host.is_empty()
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte));
    is_scheme && is_host
}
