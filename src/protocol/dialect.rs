//! The dialects, and every message type's name in each.

/// A way of spelling messages. What a client last used is what it is spoken to in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// `plugin.parameter`, snake_case fields.
    #[default]
    Dotted,
    /// `PLUGIN_PARAMETER`, snake_case fields.
    Upper,
    /// `UPDATE_PARAMETER`, camelCase fields, flat.
    Legacy,
}

impl Dialect {
    /// All of them; the index is the dialect's own.
    pub const ALL: [Dialect; 3] = [Dialect::Dotted, Dialect::Upper, Dialect::Legacy];

    /// Its name in `client.features`.
    pub const fn name(self) -> &'static str {
        match self {
            Dialect::Dotted => "dotted",
            Dialect::Upper => "upper",
            Dialect::Legacy => "legacy",
        }
    }

    /// By its name.
    pub fn from_name(name: &str) -> Option<Dialect> {
        Dialect::ALL
            .into_iter()
            .find(|dialect| dialect.name() == name)
    }
}

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table below says it")]
pub enum Kind {
    Auth,
    PluginAdd,
    PluginRemove,
    PluginParameter,
    PluginParameterBatch,
    PluginBypass,
    PluginPreset,
    PluginPresetSave,
    PluginPresetsGet,
    PluginParametersGet,
    PluginList,
    PluginMove,
    PluginShed,
    TrackList,
    TrackAdd,
    TrackRemove,
    TrackUpdate,
    TrackPreset,
    TrackPresetSave,
    TrackPresetsGet,
    RigPanic,
    RigRestore,
    RigTone,
    StateGet,
    StateResume,
    StatusGet,
    ClientFeatures,
    ClientSubscribe,
    MetersSubscribe,
    MetersUnsubscribe,
    DaidQuery,
    DaidLineage,
    DaidVerify,
    SessionList,
    SessionInvite,
    SessionEnd,
    SessionRole,
    DeviceGet,
    DeviceReboot,
    DevicePowerOff,
    DeviceReset,
    UserCursorUpdate,
    Heartbeat,
}

struct Names {
    kind: Kind,
    dotted: &'static str,
    upper: &'static str,
    /// As old clients say it, and as they hear it.
    legacy: Option<(&'static str, &'static str)>,
}

const fn names(kind: Kind, dotted: &'static str, upper: &'static str) -> Names {
    Names {
        kind,
        dotted,
        upper,
        legacy: None,
    }
}

const fn old(names: Names, said: &'static str, heard: &'static str) -> Names {
    Names {
        legacy: Some((said, heard)),
        ..names
    }
}

/// In the order of [`Kind`].
const TABLE: [Names; 43] = [
    names(Kind::Auth, "auth", "AUTH"),
    old(
        names(Kind::PluginAdd, "plugin.add", "PLUGIN_ADD"),
        "ADD_PLUGIN",
        "PLUGIN_ADDED",
    ),
    old(
        names(Kind::PluginRemove, "plugin.remove", "PLUGIN_REMOVE"),
        "REMOVE_PLUGIN",
        "PLUGIN_REMOVED",
    ),
    old(
        names(
            Kind::PluginParameter,
            "plugin.parameter",
            "PLUGIN_PARAMETER",
        ),
        "UPDATE_PARAMETER",
        "PARAMETER_UPDATED",
    ),
    names(
        Kind::PluginParameterBatch,
        "plugin.parameter.batch",
        "PLUGIN_PARAMETER_BATCH",
    ),
    old(
        names(Kind::PluginBypass, "plugin.bypass", "PLUGIN_BYPASS"),
        "BYPASS_PLUGIN",
        "PLUGIN_BYPASSED",
    ),
    old(
        names(Kind::PluginPreset, "plugin.preset", "PLUGIN_PRESET"),
        "LOAD_PRESET",
        "PRESET_LOADED",
    ),
    names(
        Kind::PluginPresetSave,
        "plugin.preset.save",
        "PLUGIN_PRESET_SAVE",
    ),
    names(
        Kind::PluginPresetsGet,
        "plugin.presets.get",
        "PLUGIN_PRESETS_GET",
    ),
    old(
        names(
            Kind::PluginParametersGet,
            "plugin.parameters.get",
            "PLUGIN_PARAMETERS_GET",
        ),
        "GET_PARAMETERS",
        "PARAMETERS",
    ),
    names(Kind::PluginList, "plugin.list", "PLUGIN_LIST"),
    names(Kind::PluginMove, "plugin.move", "PLUGIN_MOVE"),
    names(Kind::PluginShed, "plugin.shed", "PLUGIN_SHED"),
    names(Kind::TrackList, "track.list", "TRACK_LIST"),
    names(Kind::TrackAdd, "track.add", "TRACK_ADD"),
    names(Kind::TrackRemove, "track.remove", "TRACK_REMOVE"),
    names(Kind::TrackUpdate, "track.update", "TRACK_UPDATE"),
    names(Kind::TrackPreset, "track.preset", "TRACK_PRESET"),
    names(
        Kind::TrackPresetSave,
        "track.preset.save",
        "TRACK_PRESET_SAVE",
    ),
    names(
        Kind::TrackPresetsGet,
        "track.presets.get",
        "TRACK_PRESETS_GET",
    ),
    names(Kind::RigPanic, "rig.panic", "RIG_PANIC"),
    names(Kind::RigRestore, "rig.restore", "RIG_RESTORE"),
    names(Kind::RigTone, "rig.tone", "RIG_TONE"),
    names(Kind::StateGet, "state.get", "STATE_GET"),
    names(Kind::StateResume, "state.resume", "STATE_RESUME"),
    names(Kind::StatusGet, "status.get", "STATUS_GET"),
    names(Kind::ClientFeatures, "client.features", "CLIENT_FEATURES"),
    names(
        Kind::ClientSubscribe,
        "client.subscribe",
        "CLIENT_SUBSCRIBE",
    ),
    names(
        Kind::MetersSubscribe,
        "meters.subscribe",
        "METERS_SUBSCRIBE",
    ),
    names(
        Kind::MetersUnsubscribe,
        "meters.unsubscribe",
        "METERS_UNSUBSCRIBE",
    ),
    names(Kind::DaidQuery, "daid.query", "DAID_QUERY"),
    names(Kind::DaidLineage, "daid.lineage", "DAID_LINEAGE"),
    names(Kind::DaidVerify, "daid.verify", "DAID_VERIFY"),
    names(Kind::SessionList, "session.list", "SESSION_LIST"),
    names(Kind::SessionInvite, "session.invite", "SESSION_INVITE"),
    names(Kind::SessionEnd, "session.end", "SESSION_END"),
    names(Kind::SessionRole, "session.role", "SESSION_ROLE"),
    names(Kind::DeviceGet, "device.get", "DEVICE_GET"),
    names(Kind::DeviceReboot, "device.reboot", "DEVICE_REBOOT"),
    names(Kind::DevicePowerOff, "device.power_off", "DEVICE_POWER_OFF"),
    names(Kind::DeviceReset, "device.reset", "DEVICE_RESET"),
    names(
        Kind::UserCursorUpdate,
        "USER_CURSOR_UPDATE",
        "USER_CURSOR_UPDATE",
    ),
    names(Kind::Heartbeat, "heartbeat", "HEARTBEAT"),
];

impl Kind {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Kind> {
        TABLE.iter().map(|names| names.kind)
    }

    /// A message type by its name, and the dialect that the name shows.
    pub fn parse(name: &str) -> Option<(Kind, Dialect)> {
        TABLE.iter().find_map(|names| {
            if names.dotted == name {
                Some((names.kind, Dialect::Dotted))
            } else if names.upper == name {
                Some((names.kind, Dialect::Upper))
            } else if names.legacy.is_some_and(|(said, _)| said == name) {
                Some((names.kind, Dialect::Legacy))
            } else {
                None
            }
        })
    }

    /// A message type by any name under which it is sent or heard.
    pub fn named(name: &str) -> Option<Kind> {
        let heard = |kind: &Kind| kind.name(Dialect::Legacy) == name;
        Kind::parse(name).map_or_else(|| Kind::all().find(heard), |(kind, _)| Some(kind))
    }

    /// The type of a reply or broadcast in a dialect; dotted where the dialect has none.
    pub fn name(self, dialect: Dialect) -> &'static str {
        let names = &TABLE[self as usize];
        match (dialect, names.legacy) {
            (Dialect::Dotted, _) => names.dotted,
            (Dialect::Upper, _) => names.upper,
            (Dialect::Legacy, Some((_, heard))) => heard,
            (Dialect::Legacy, None) => names.dotted,
        }
    }

    /// Whether the dialect has a name of its own for it, and so fields of its own.
    pub fn is_legacy(self, dialect: Dialect) -> bool {
        dialect == Dialect::Legacy && TABLE[self as usize].legacy.is_some()
    }

    /// Whether a message of this type shows its sender's dialect.
    pub fn shows_dialect(self) -> bool {
        !matches!(self, Kind::Auth | Kind::UserCursorUpdate | Kind::Heartbeat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_finds_its_kind_and_dialect() {
        for (index, names) in TABLE.iter().enumerate() {
            assert_eq!(
                names.kind as usize, index,
                "the table is in the order of Kind"
            );
            assert_eq!(
                Kind::parse(names.dotted),
                Some((names.kind, Dialect::Dotted))
            );
            if names.upper != names.dotted {
                assert_eq!(Kind::parse(names.upper), Some((names.kind, Dialect::Upper)));
                assert_eq!(names.upper, names.dotted.to_uppercase().replace('.', "_"));
            }
            if let Some((said, heard)) = names.legacy {
                assert_eq!(Kind::parse(said), Some((names.kind, Dialect::Legacy)));
                assert_eq!(names.kind.name(Dialect::Legacy), heard);
            }
        }
        assert_eq!(Kind::parse("plugin.wobble"), None);
        assert_eq!(Kind::TrackAdd.name(Dialect::Legacy), "track.add");
    }
}
