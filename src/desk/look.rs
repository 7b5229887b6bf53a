//! What is shown of the state: parameters, snapshots.

use std::time::Instant;

use rigd_rt::command::TrackLevel;
use rigd_rt::{Command, TrackKind};
use serde_json::{Map, Value, json};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::Desk;
use super::client::ClientId;
use super::settle::{Origin, own_id, reply_as};
use crate::protocol::Head;
use crate::protocol::views::{self, object};
use crate::rig::{PluginRef, Reject};

impl Desk {
    /// Fades the sound out, for the end: the state stays as it is, and so does what the next start plays.
    pub fn fall_silent(&mut self) {
        let masters = self.state.tracks.iter();
        let masters = masters.filter(|track| track.kind == TrackKind::Master);
        let silence = masters.map(|master| Command::Level {
            track: master.place(),
            level: TrackLevel::Volume,
            value: 0.0,
        });
        self.handover.tell(silence.collect());
        self.read_reports(Instant::now());
    }

    pub(super) fn find(&self, plugin: &PluginRef) -> Result<(String, rigd_rt::Kind), Reject> {
        self.state
            .locate(plugin)
            .map(|(track, plugin)| (track.id.clone(), plugin.kind))
    }

    pub(super) fn parameters(
        &self,
        at: &PluginRef,
        origin: &Origin,
    ) -> Result<Map<String, Value>, Reject> {
        let (track, plugin) = self.state.locate(at)?;
        let parameters = views::Parameters(plugin.kind, &plugin.values);
        let mut data = object(if origin.kind.is_legacy(origin.dialect) {
            json!({ "pluginId": plugin.id, "parameters": parameters, "bypassed": plugin.bypassed, "success": true })
        } else {
            json!({
                "track_id": track.id,
                "plugin_id": plugin.id,
                "parameters": parameters,
                "parameter_info": views::Info(plugin.kind),
                "bypassed": plugin.bypassed,
                "success": true,
            })
        });
        if plugin.kind == rigd_rt::Kind::Feedback {
            data.extend(views::howl(&plugin.howl));
        }
        Ok(data)
    }

    pub(super) fn snapshot(&self, origin: &Origin, now: Instant) -> Utf8Bytes {
        let data = views::snapshot(
            &self.state,
            &self.fixed.epoch,
            self.telemetry.engine(self.is_engine_alive(now)),
        );
        reply_as(origin, "state.snapshot", Some(self.state.seq), None, &data)
    }

    /// A lagging client gets everything anew, once all that it holds is applied.
    pub(super) fn promise_snapshot(&mut self, id: ClientId) {
        let now = Instant::now();
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let mut origin = client.origin(id, Head::default());
        origin.id = own_id();
        let frame = self.snapshot(&origin, now);
        self.frames_when_settled(id, vec![frame], true, now);
    }
}
