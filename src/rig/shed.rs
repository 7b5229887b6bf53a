//! Load shedding: which effect rests first when the processor is too slow for the rig. It is the rig's
//! own doing and temporary: a change that everybody is told of, but not what somebody has set.

use rigd_rt::{Command, Kind};

use super::apply::Accepted;
use super::change::What;
use super::state::{Plugin, State};

/// What may rest, the least important first. The others cost little, or keep people from harm.
pub const ORDER: [Kind; 6] = [
    Kind::Reverb,
    Kind::Echo,
    Kind::Deesser,
    Kind::Eq,
    Kind::Compressor,
    Kind::Gate,
];

impl State {
    /// The plugin that is to rest next: what is bypassed goes before what is heard, then kinds in
    /// [`ORDER`], and of one kind the last one in `track.list`. `None`: there is nothing left.
    pub fn least_important(&self) -> Option<String> {
        let plugins = self.tracks.iter().flat_map(|track| &track.plugins);
        let rank = |plugin: &Plugin| ORDER.iter().position(|kind| *kind == plugin.kind);
        let candidates = plugins.filter(|plugin| !plugin.shed);
        candidates
            .enumerate()
            .filter_map(|(place, plugin)| Some((plugin, rank(plugin)?, place)))
            .min_by_key(|(plugin, rank, place)| {
                (!plugin.bypassed, *rank, std::cmp::Reverse(*place))
            })
            .map(|(plugin, ..)| plugin.id.clone())
    }

    /// Lets a plugin rest, or work again; `None` when it is not there, or is so already.
    pub fn shed(&mut self, plugin_id: &str, shed: bool) -> Option<Accepted> {
        let is_it = |plugin: &&mut Plugin| plugin.id == plugin_id && plugin.shed != shed;
        let (track_id, plugin) = self.tracks.iter_mut().find_map(|track| {
            let plugin = track.plugins.iter_mut().find(is_it)?;
            Some((track.id.clone(), plugin))
        })?;
        plugin.shed = shed;
        let command = Command::Rest {
            slot: plugin.slot,
            on: shed,
        };
        let what = What::Shed {
            track_id,
            plugin_id: plugin_id.to_owned(),
            shed,
        };
        Some(Accepted::one(self, what, vec![command]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Track as Settings};
    use crate::rig::state::Wiring;
    use crate::rig::{MicFeed, Request, Track, apply};

    fn state() -> State {
        let wiring = Wiring {
            sample_rate_hz: 48_000,
            device_channels: 2,
            file_channels: 0,
            mic_feed: MicFeed::Device,
        };
        let settings: Vec<Settings> = Config::default().tracks;
        let tracks = settings.iter().map(Track::from_settings).collect();
        State::new(tracks, wiring, 1 << 20)
    }

    fn add(state: &mut State, track_id: &str, name: &str, plugin_id: &str) {
        let request = Request::PluginAdd {
            track_id: track_id.to_owned(),
            name: name.to_owned(),
            plugin_path: None,
            position: None,
            plugin_id: Some(plugin_id.to_owned()),
        };
        apply(state, request).unwrap();
    }

    #[test]
    fn the_least_important_rests_first_and_what_protects_never() {
        let mut state = state();
        for (track, name, id) in [
            ("mic1", "feedback", "f"),
            ("mic1", "compressor", "c"),
            ("mic1", "reverb", "r1"),
            ("mic2", "hpf", "h"),
            ("mic2", "reverb", "r2"),
            ("mic2", "eq", "e"),
        ] {
            add(&mut state, track, name, id);
        }
        state.tracks[0].plugins[1].bypassed = true;
        let mut order = Vec::new();
        while let Some(id) = state.least_important() {
            assert!(state.shed(&id, true).is_some());
            assert!(state.shed(&id, true).is_none(), "once");
            order.push(id);
        }
        assert_eq!(order, ["c", "r2", "r1", "e"]);
        assert!(state.shed("r1", false).is_some());
        assert_eq!(state.least_important().as_deref(), Some("r1"));
        assert!(state.shed("nobody", true).is_none());
    }
}
