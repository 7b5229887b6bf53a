//! [`Config`] to TOML: what is in effect, and the file that explains every setting.

use std::fmt::Write;

use super::{Config, Field, Kind, Track};

impl Config {
    /// What is in effect, as a settings file that says the same again.
    pub fn to_toml(&self) -> String {
        self.listed(|_| false)
    }

    /// The same for others to read.
    pub fn to_toml_without_secrets(&self) -> String {
        self.listed(Field::is_secret)
    }

    fn listed(&self, is_left_out: impl Fn(&Field<Config>) -> bool) -> String {
        let mut out = String::new();
        let mut section = "";
        for field in Config::fields() {
            heading(&mut out, &mut section, field.section);
            if is_left_out(field) {
                let _ = writeln!(out, "# {} is left out: it is a secret.", field.key);
            } else {
                line(&mut out, field.key, &(field.get)(self).to_toml());
            }
        }
        for track in &self.tracks {
            out.push_str("\n[[tracks]]\n");
            for field in Track::FIELDS {
                line(&mut out, field.key, &(field.get)(track).to_toml());
            }
        }
        out
    }

    /// A settings file that explains every setting and sets none: each stands there with its
    /// default, commented out.
    pub fn documented() -> String {
        let defaults = Config::default();
        let mut out = String::from(
            "# Settings of rigd. Everything here is optional: a line that starts with # shows a\n\
             # default. `rigd check` tells what is in effect and what is wrong. The environment\n\
             # overrides this file (RIGD_<SECTION>_<KEY>, such as RIGD_AUDIO_BLOCK_FRAMES; at the\n\
             # top RIGD_<KEY>), and the command line overrides both.\n",
        );
        let mut section = "";
        for field in Config::fields() {
            heading(&mut out, &mut section, field.section);
            out.push('\n');
            explain(&mut out, field);
            out.push('#');
            line(&mut out, field.key, &(field.get)(&defaults).to_toml());
        }
        out.push_str(
            "\n# The tracks of a new rig, at most 16 with the master. Once one is listed, only the\n\
             # listed ones (and a master) are there; these four are the default.\n",
        );
        for (index, track) in defaults.tracks.iter().enumerate() {
            out.push_str("\n#[[tracks]]\n");
            for field in Track::FIELDS {
                if index == 0 {
                    explain(&mut out, field);
                }
                out.push('#');
                line(&mut out, field.key, &(field.get)(track).to_toml());
            }
        }
        out
    }
}

fn heading(out: &mut String, current: &mut &'static str, section: &'static str) {
    if *current != section {
        *current = section;
        let _ = write!(out, "\n[{section}]\n");
    }
}

fn line(out: &mut String, key: &str, value: &str) {
    let _ = writeln!(out, "{key} = {value}");
}

fn explain<T>(out: &mut String, field: &Field<T>) {
    for line in field.doc {
        let _ = writeln!(out, "#{line}");
    }
    let range = match field.kind {
        Kind::Int(min, max) => format!("{min} to {max}"),
        Kind::Float(min, max) => format!("{min} to {max}"),
        _ => return,
    };
    let unit = if field.unit.is_empty() { "" } else { " " };
    let _ = writeln!(out, "# {range}{unit}{}.", field.unit);
}
