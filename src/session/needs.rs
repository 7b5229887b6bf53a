//! What each message takes: one table. A new type of message cannot be left out of it.

use super::role::{Permission, Reach, Rights};
use crate::protocol::{Body, Kind};
use crate::rig::{ParameterChange, PluginRef, Reject, Request, State};

/// How far a type of message reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// No track.
    Nothing,
    /// The track that it names, or the one of the plugin that it names.
    ItsTrack,
    /// What all share.
    TheRig,
}

/// The permission that a type of message takes, and how far; `None`: anyone may say it, also before
/// signing in.
pub fn needs(kind: Kind) -> Option<(Permission, Over)> {
    use {Over::*, Permission as May};
    Some(match kind {
        Kind::Auth | Kind::Heartbeat => return None,
        Kind::PluginAdd => (May::PluginAdd, ItsTrack),
        Kind::PluginRemove => (May::PluginRemove, ItsTrack),
        Kind::PluginParameter
        | Kind::PluginParameterBatch
        | Kind::PluginBypass
        | Kind::PluginPreset
        | Kind::PluginMove => (May::PluginWrite, ItsTrack),
        Kind::TrackUpdate | Kind::TrackPreset => (May::TrackModify, ItsTrack),
        Kind::TrackAdd | Kind::TrackRemove => (May::TrackModify, TheRig),
        // What is kept is everyone's, and keeping it again takes the old one away.
        Kind::PluginPresetSave => (May::PluginWrite, TheRig),
        Kind::TrackPresetSave => (May::TrackModify, TheRig),
        // The safe direction is open to everyone who steers anything; the way back to one who steers all.
        Kind::RigPanic => (May::PluginWrite, Nothing),
        Kind::RigRestore => (May::TrackModify, TheRig),
        Kind::PluginPresetsGet
        | Kind::PluginParametersGet
        | Kind::PluginList
        | Kind::TrackList
        | Kind::TrackPresetsGet
        | Kind::StateGet
        | Kind::StateResume
        | Kind::StatusGet
        | Kind::ClientFeatures
        | Kind::ClientSubscribe
        | Kind::MetersSubscribe
        | Kind::MetersUnsubscribe
        | Kind::UserCursorUpdate => (May::PluginRead, Nothing),
        Kind::DaidQuery | Kind::DaidLineage | Kind::DaidVerify => (May::LogRead, Nothing),
        // Loud, in front of everybody; and the rig's own, which nobody asks for.
        Kind::RigTone | Kind::PluginShed => (May::SessionManage, TheRig),
        // Whoever may make hosts may do what a host may: the box itself is everyone's.
        Kind::DeviceGet | Kind::DeviceReboot | Kind::DevicePowerOff | Kind::DeviceReset => {
            (May::SessionManage, TheRig)
        }
        Kind::SessionList | Kind::SessionInvite | Kind::SessionEnd | Kind::SessionRole => {
            (May::SessionManage, Nothing)
        }
    })
}

impl Rights {
    /// Refuses a message that these rights do not allow. The changes of a batch are looked at one by one,
    /// by [`Rights::check_change`].
    pub fn check_message(
        &self,
        user_id: &str,
        kind: Kind,
        body: &Body,
        state: &State,
    ) -> Result<(), Reject> {
        let Some((permission, over)) = needs(kind) else {
            return Ok(());
        };
        let reach = match over {
            Over::Nothing => Reach::None,
            Over::TheRig => Reach::Rig,
            Over::ItsTrack => track_of(body, state).map_or(Reach::None, Reach::Track),
        };
        self.check(user_id, permission, reach)?;
        if let Body::Change(Request::TrackUpdate { fields, .. }) = body
            && (fields.solo.is_some() || fields.input.is_some())
        {
            // A solo silences the others, and an input may be somebody else's microphone.
            return self.check(user_id, permission, Reach::Rig);
        }
        Ok(())
    }

    /// Refuses a type of message that these rights do not allow anywhere, whatever is in it.
    pub fn check_kind(&self, user_id: &str, kind: Kind) -> Result<(), Reject> {
        match needs(kind) {
            Some((permission, _)) => self.check(user_id, permission, Reach::None),
            None => Ok(()),
        }
    }

    /// Refuses a change of a batch that these rights do not allow.
    pub fn check_change(
        &self,
        user_id: &str,
        change: &ParameterChange,
        state: &State,
    ) -> Result<(), Reject> {
        let reach = of_plugin(&change.plugin, state).map_or(Reach::Rig, Reach::Track);
        self.check(user_id, Permission::PluginWrite, reach)
    }
}

/// The track that a message is about.
fn track_of<'a>(body: &'a Body, state: &'a State) -> Option<&'a str> {
    let Body::Change(request) = body else {
        return None;
    };
    match request {
        Request::PluginAdd { track_id, .. }
        | Request::TrackAdd { track_id, .. }
        | Request::TrackRemove { track_id }
        | Request::TrackUpdate { track_id, .. }
        | Request::ChainLoad { track_id, .. }
        | Request::ChainSave { track_id, .. } => Some(track_id),
        Request::PluginRemove(plugin)
        | Request::PluginBypass { plugin, .. }
        | Request::PluginPreset { plugin, .. }
        | Request::PresetSave { plugin, .. }
        | Request::PluginMove { plugin, .. } => of_plugin(plugin, state),
        Request::PluginParameter(change) => of_plugin(&change.plugin, state),
        Request::Parameters(_) | Request::Tone(_) | Request::Panic(_) | Request::Restore => None,
    }
}

/// Where a plugin really is, whatever the message says; of one that is not there, what it says.
fn of_plugin<'a>(plugin: &'a PluginRef, state: &'a State) -> Option<&'a str> {
    match state.plugin(&plugin.plugin_id) {
        Some((track, _)) => Some(&track.id),
        None => plugin.track_id.as_deref(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::role::{Grants, Role};
    use super::*;

    fn named(list: &[&str]) -> Vec<Kind> {
        let kind = |name: &&str| Kind::parse(name).expect("a type of message").0;
        list.iter().map(kind).collect()
    }

    /// What a role may say at all: about nothing, about its own track, about another's.
    fn allowed(role: Role) -> [Vec<Kind>; 3] {
        let rights = Rights::new(role, &["mine".to_owned()], &Grants::default());
        let may = |track: &str, kind: &Kind| match needs(*kind) {
            None => true,
            Some((permission, over)) => {
                let reach = match over {
                    Over::Nothing => Reach::None,
                    Over::TheRig => Reach::Rig,
                    Over::ItsTrack => Reach::Track(track),
                };
                rights.allow(permission, reach)
            }
        };
        let is_about_tracks = |kind: &Kind| matches!(needs(*kind), Some((_, Over::ItsTrack)));
        [
            Kind::all()
                .filter(|kind| !is_about_tracks(kind) && may("", kind))
                .collect(),
            Kind::all()
                .filter(|kind| is_about_tracks(kind) && may("mine", kind))
                .collect(),
            Kind::all()
                .filter(|kind| is_about_tracks(kind) && may("other", kind))
                .collect(),
        ]
    }

    #[test]
    fn each_role_may_say_what_it_should() {
        let open = ["auth", "heartbeat"];
        let looks = [
            "plugin.presets.get",
            "plugin.parameters.get",
            "plugin.list",
            "track.list",
            "track.presets.get",
            "state.get",
            "state.resume",
            "status.get",
            "client.features",
            "client.subscribe",
            "meters.subscribe",
            "meters.unsubscribe",
            "USER_CURSOR_UPDATE",
        ];
        let performs = [
            "plugin.parameter",
            "plugin.parameter.batch",
            "plugin.bypass",
            "plugin.preset",
            "plugin.move",
            "track.update",
            "track.preset",
        ];
        let is = |mut found: Vec<Kind>, lists: &[&[&str]]| {
            let mut wanted = named(&lists.concat());
            found.sort_by_key(|kind| *kind as usize);
            wanted.sort_by_key(|kind| *kind as usize);
            assert_eq!(found, wanted);
        };
        let [rig, mine, others] = allowed(Role::Nobody);
        is(rig, &[&open]);
        assert!(mine.is_empty() && others.is_empty());
        for role in [Role::Guest, Role::Display] {
            let [rig, mine, others] = allowed(role);
            is(rig, &[&open, &looks]);
            assert!(mine.is_empty() && others.is_empty());
        }
        let [rig, mine, others] = allowed(Role::Performer);
        is(rig, &[&open, &looks, &["rig.panic"]]);
        is(mine, &[&performs]);
        assert!(others.is_empty());
        let [rig, mine, others] = allowed(Role::Host);
        assert_eq!(rig.len() + others.len(), Kind::all().count(), "everything");
        assert_eq!(mine, others);
    }
}
