//! The settings, read again while rigd runs (SIGHUP): what changed, and what that takes. Pure.
//!
//! | takes | settings |
//! |---|---|
//! | nothing: it holds at once, without a gap | `allowed_origins`, `allow_anonymous`, `[device]`, `[limits]` (`message_bytes` and `backlog_messages` for connections to come), `load_max`, `shed_load`; of `[tls]` which certificate, for connections to come, as long as there was one and is one |
//! | the sound stops and comes up again | `[audio]` but `delay_pool_mb`, `[jack]`, `[alsa]`, `[mixer]`, `realtime.priority`, `realtime.cpus` |
//! | a restart | everything else |

use crate::config::{Config, Field};

/// What a changed setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing.
    Nothing,
    /// The backend is opened anew.
    Sound,
    /// rigd must be started anew.
    Restart,
}

/// What is to be done about new settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Changed, and in effect at once.
    pub at_once: Vec<String>,
    /// Changed, and in effect when the backend is opened anew.
    pub sound: Vec<String>,
    /// Changed, and without effect before the next start.
    pub restart: Vec<String>,
}

fn takes(section: &str, key: &str) -> Takes {
    match (section, key) {
        ("", "allowed_origins" | "allow_anonymous")
        | ("device" | "limits", _)
        | ("realtime", "load_max" | "shed_load") => Takes::Nothing,
        ("audio", "delay_pool_mb") => Takes::Restart,
        ("audio" | "jack" | "alsa" | "mixer", _) | ("realtime", "priority" | "cpus") => {
            Takes::Sound
        }
        _ => Takes::Restart,
    }
}

/// Compares the settings in effect with new ones. The second part is what is in effect afterwards: the
/// new settings, but for what takes a restart.
pub fn plan(now: &Config, wanted: &Config) -> (Plan, Config) {
    let mut plan = Plan::default();
    let mut then = now.clone();
    // A recording would begin anew, over what was recorded.
    let is_recording = now.audio.output.is_some() && now.audio.output == wanted.audio.output;
    for field in Config::fields() {
        let value = (field.get)(wanted);
        if (field.get)(now) == value {
            continue;
        }
        let name = name(field);
        // The addresses stay what they were: https, or not.
        let is_certificate = field.section == "tls" && now.tls.is_on() && wanted.tls.is_on();
        let takes = match takes(field.section, field.key) {
            Takes::Restart if is_certificate => Takes::Nothing,
            takes => takes,
        };
        let list = match takes {
            Takes::Sound if is_recording => {
                plan.restart.push(format!("{name} (a recording runs)"));
                continue;
            }
            Takes::Restart => {
                plan.restart.push(name);
                continue;
            }
            Takes::Sound => &mut plan.sound,
            Takes::Nothing => &mut plan.at_once,
        };
        list.push(name);
        // It was accepted as a whole.
        let _ = (field.set)(&mut then, value);
    }
    if now.tracks != wanted.tracks {
        plan.restart
            .push("[[tracks]] (for a new state folder)".to_owned());
    }
    (plan, then)
}

fn name(field: &Field<Config>) -> String {
    if field.section.is_empty() {
        field.key.to_owned()
    } else {
        format!("{}.{}", field.section, field.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text, &[], &|_| None).unwrap()
    }

    fn planned(before: &str, after: &str) -> (Plan, Config) {
        plan(&config(before), &config(after))
    }

    #[test]
    fn what_is_the_same_takes_nothing() {
        let text = "[audio]\nbackend = \"null\"\n[limits]\nconnections = 7\n";
        assert_eq!(planned(text, text), (Plan::default(), config(text)));
    }

    #[test]
    fn each_setting_takes_what_it_must() {
        let (plan, then) = planned(
            "",
            "allow_anonymous = \"guest\"\nlisten = [\"127.0.0.1:9000\"]\npreset = \"karaoke\"\n[audio]\nblock_frames = 256\n\
             delay_pool_mb = 16\n[limits]\nmessages_per_s = 5\n[realtime]\nshed_load = true\npriority = 60\n\
             [jack]\nconnect = false\n",
        );
        assert_eq!(
            plan.at_once,
            [
                "allow_anonymous",
                "realtime.shed_load",
                "limits.messages_per_s"
            ]
        );
        assert_eq!(
            plan.sound,
            ["audio.block_frames", "jack.connect", "realtime.priority"]
        );
        assert_eq!(plan.restart, ["preset", "listen", "audio.delay_pool_mb"]);
        assert_eq!(then.audio.block_frames, 256);
        assert_eq!(then.limits.messages_per_s, 5);
        // Told again at the next reload, too.
        assert_eq!(then.listen, Config::default().listen);
        assert_eq!(
            then.audio.delay_pool_mb,
            Config::default().audio.delay_pool_mb
        );
    }

    #[test]
    fn another_certificate_needs_no_restart_and_another_scheme_does() {
        let (own, theirs) = (
            "[tls]\nself_signed = true\n",
            "[tls]\ncert = \"a.pem\"\nkey = \"b.pem\"\n",
        );
        let (plan, then) = planned(own, theirs);
        assert_eq!(plan.at_once, ["tls.cert", "tls.key", "tls.self_signed"]);
        assert_eq!(then, config(theirs));
        let (plan, then) = planned("", own);
        assert_eq!(plan.restart, ["tls.self_signed"]);
        assert_eq!(then, config(""));
    }

    #[test]
    fn a_recording_is_not_overwritten() {
        let (before, after) = (
            "[audio]\noutput = \"a.wav\"\n",
            "[audio]\noutput = \"a.wav\"\nblock_frames = 256\n",
        );
        let (plan, then) = planned(before, after);
        assert_eq!(plan.restart, ["audio.block_frames (a recording runs)"]);
        assert_eq!(then, config(before));
        let (plan, _) = planned(before, "[audio]\noutput = \"b.wav\"\n");
        assert_eq!(plan.sound, ["audio.output"]);
    }

    #[test]
    fn tracks_are_for_a_new_folder() {
        let master = "[[tracks]]\ntrack_id = \"master\"\nkind = \"master\"\n";
        let (plan, _) = planned("", master);
        assert_eq!(plan.restart.len(), 1);
        assert!(plan.restart[0].contains("[[tracks]]"));
    }
}
