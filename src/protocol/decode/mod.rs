//! A text frame → what it says and asks. Total: whatever comes in, a head to answer to comes out,
//! and either a body or the reason why there is none.

mod log;
mod people;
mod rig;

use rigd_rt::PanicMode;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use people::{given, whom};
use rig::{
    any, batch, client_id, meters_subscribe, parameter_change, plugin, position, printable,
    track_fields, track_kind,
};

use super::dialect::{Dialect, Kind};
use super::fields::{Fields, missing};
use super::incoming::{Body, DeviceAsk, Head, Incoming, Limits, SessionAsk};
use crate::provenance::query::Ask;
use crate::rig::{Reject, Request, ToneFields, TrackFields};

pub use people::pairing;

/// Objects in objects, at most.
const DEPTH_MAX: u64 = 32;
/// Characters in an id that names something in the rig.
const ID_MAX: usize = 64;
/// Characters in a message's id, a user's or a session's.
const NAME_MAX: usize = 128;
/// Characters in a path.
const PATH_MAX: usize = 1024;
/// Characters in a token.
const TOKEN_MAX: usize = 4096;
/// Bytes of a relayed cursor.
const CURSOR_MAX: usize = 1024;
/// Entries of an object that maps names to values.
const VALUES_MAX: usize = 256;

/// Reads one text frame.
pub fn decode(text: &str, limits: Limits) -> Incoming {
    let mut head = Head::default();
    let body = read(text, limits, &mut head);
    Incoming { head, body }
}

fn read(text: &str, limits: Limits, head: &mut Head) -> Result<Body, Reject> {
    if depth(text) > DEPTH_MAX {
        let reason = format!("is nested deeper than {DEPTH_MAX} levels");
        return Err(Reject::over(None, reason, DEPTH_MAX));
    }
    let top = Fields::parse(text).map_err(|_| not_an_object(text))?;
    // What an answer needs comes first, so that every fault is answered to the right message.
    head.id = match top.raw("id") {
        None => None,
        Some(id) => match top.string("id", NAME_MAX)? {
            Some(text) => Some(text),
            None => {
                return Err(Reject::field(
                    "id",
                    format!("must be a string, not {}", id.get()),
                ));
            }
        },
    };
    head.t0_timestamp = echoed(&top)?;
    head.requires_ack = top.boolean("requires_ack")?.unwrap_or(false);
    head.user_id = top.string("user_id", NAME_MAX)?.filter(|id| !id.is_empty());
    head.session_id = top
        .string("session_id", NAME_MAX)?
        .filter(|id| !id.is_empty());
    let name = top
        .text("type", usize::MAX)?
        .ok_or_else(|| missing("type"))?;
    head.kind = Kind::parse(&name);
    let Some((kind, _)) = head.kind else {
        return Err(Reject::UnknownMessageType(
            name.chars().take(ID_MAX).collect(),
        ));
    };
    top.text("timestamp", NAME_MAX)?;
    head.idempotency_key = top.string("idempotency_key", ID_MAX)?;
    if matches!(kind, Kind::Heartbeat | Kind::UserCursorUpdate) {
        let data = top.raw("data").map_or_else(empty, RawValue::to_owned);
        return match kind {
            Kind::Heartbeat => Ok(Body::Heartbeat(data)),
            _ if data.get().len() > CURSOR_MAX => {
                let reason = format!("must not be longer than {CURSOR_MAX} bytes");
                Err(Reject::over(Some("data"), reason, CURSOR_MAX as u64))
            }
            _ => Ok(Body::Cursor(data)),
        };
    }
    let data = match top.raw("data") {
        Some(data) if data.get() != "null" => {
            Fields::parse(data.get()).map_err(|_| Reject::field("data", "must be an object"))?
        }
        _ => Fields::default(),
    };
    let data = match kind {
        Kind::Auth => data,
        // Who asks does not say about whom.
        Kind::DaidQuery | Kind::SessionEnd | Kind::SessionRole => {
            data.or(top.without(&["user_id", "session_id"]))
        }
        _ => data.or(top),
    };
    head.base_seq = data.count("base_seq")?;
    body(kind, &data, head, limits)
}

fn empty() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).expect("an empty object is JSON")
}

fn not_an_object(text: &str) -> Reject {
    // What is found on the way to an object may repeat the whole text; what is no JSON is told by its place.
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => Reject::message("must be a JSON object"),
        Err(error) => Reject::message(format!("is not JSON ({error})")),
    }
}

/// How deep objects and lists are nested, or a number that is not smaller where neither is beyond the
/// bound; brackets in strings do not count.
fn depth(text: &str) -> u64 {
    // Hardly any message has so many brackets that it could be too deep.
    let opened = text.bytes().filter(|byte| matches!(byte, b'{' | b'['));
    let opened = opened.count() as u64;
    if opened <= DEPTH_MAX {
        return opened;
    }
    let (mut depth, mut deepest) = (0u64, 0);
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                while let Some(byte) = bytes.next() {
                    match byte {
                        b'\\' => {
                            bytes.next();
                        }
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    deepest
}

fn echoed(top: &Fields) -> Result<Option<Box<RawValue>>, Reject> {
    let Some(value) = top
        .raw("t0_timestamp")
        .filter(|value| value.get() != "null")
    else {
        return Ok(None);
    };
    let text = value.get();
    let is_scalar = text.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit());
    if !is_scalar || text.len() > NAME_MAX {
        return Err(Reject::field(
            "t0_timestamp",
            "must be an ISO 8601 time or a number of milliseconds",
        ));
    }
    Ok(Some(value.to_owned()))
}

fn body(kind: Kind, data: &Fields, head: &Head, limits: Limits) -> Result<Body, Reject> {
    let is_legacy = matches!(head.kind, Some((_, Dialect::Legacy)));
    Ok(match kind {
        Kind::PluginAdd => Body::Change(Request::PluginAdd {
            track_id: data.required("track_id", ID_MAX)?,
            name: data.required("name", NAME_MAX)?,
            plugin_path: {
                data.string("plugin_format", ID_MAX)?;
                data.string("plugin_path", PATH_MAX)?
                    .filter(|path| !path.is_empty())
            },
            position: position(data)?,
            plugin_id: match data.string("plugin_id", ID_MAX)? {
                Some(id) if !id.is_empty() => Some(client_id("plugin_id", id)?),
                _ => None,
            },
        }),
        Kind::PluginRemove => Body::Change(Request::PluginRemove(plugin(data, is_legacy)?)),
        Kind::PluginParameter => {
            Body::Change(Request::PluginParameter(parameter_change(data, is_legacy)?))
        }
        Kind::PluginParameterBatch => Body::Batch(batch(data, limits)?),
        Kind::PluginBypass => Body::Change(Request::PluginBypass {
            plugin: plugin(data, is_legacy)?,
            bypass: data.boolean("bypass")?.ok_or_else(|| missing("bypass"))?,
        }),
        Kind::PluginPreset => Body::Change(Request::PluginPreset {
            plugin: plugin(data, is_legacy)?,
            name: data.string("preset_name", ID_MAX)?,
            data: data.values("preset_data", VALUES_MAX)?,
        }),
        Kind::PluginPresetSave => Body::Change(Request::PresetSave {
            plugin: plugin(data, is_legacy)?,
            name: printable("preset_name", data.required("preset_name", ID_MAX)?)?,
        }),
        Kind::PluginPresetsGet => Body::PresetsGet(plugin(data, is_legacy)?),
        Kind::PluginParametersGet => Body::ParametersGet(plugin(data, is_legacy)?),
        Kind::PluginList => Body::PluginList,
        Kind::PluginMove => Body::Change(Request::PluginMove {
            plugin: plugin(data, is_legacy)?,
            position: position(data)?.ok_or_else(|| missing("position"))?,
        }),
        Kind::TrackList => Body::TrackList,
        Kind::TrackAdd => Body::Change(Request::TrackAdd {
            track_id: client_id("track_id", data.required("track_id", ID_MAX)?)?,
            kind: track_kind(&data.required("kind", ID_MAX)?)?,
            fields: track_fields(data)?,
        }),
        Kind::TrackRemove => Body::Change(Request::TrackRemove {
            track_id: data.required("track_id", ID_MAX)?,
        }),
        Kind::TrackUpdate => {
            let fields = track_fields(data)?;
            let track_id = data.required("track_id", ID_MAX)?;
            if fields == TrackFields::default() {
                return Err(Reject::message(
                    "changes nothing: give name, input, input_gain_db, volume, pan, mute, solo or sends",
                ));
            }
            Body::Change(Request::TrackUpdate { track_id, fields })
        }
        Kind::TrackPreset => Body::Change(Request::ChainLoad {
            track_id: data.required("track_id", ID_MAX)?,
            name: data.required("preset_name", ID_MAX)?,
        }),
        Kind::TrackPresetSave => Body::Change(Request::ChainSave {
            track_id: data.required("track_id", ID_MAX)?,
            name: printable("preset_name", data.required("preset_name", ID_MAX)?)?,
        }),
        Kind::TrackPresetsGet => Body::ChainsGet,
        Kind::RigPanic => Body::Change(Request::Panic(
            match data.string("mode", ID_MAX)?.as_deref() {
                // Whoever forgets to say how wants it silent.
                None | Some("mute") => PanicMode::Mute,
                Some("dry") => PanicMode::Dry,
                Some(_) => return Err(Reject::field("mode", "must be mute or dry")),
            },
        )),
        Kind::RigTone => Body::Change(Request::Tone(ToneFields {
            track_id: data.string("track_id", ID_MAX)?,
            freq_hz: any(data, "freq_hz"),
            level_db: any(data, "level_db"),
            seconds: any(data, "seconds"),
        })),
        // The rig's own doing: it is told, never asked for.
        Kind::PluginShed => return Err(Reject::UnknownMessageType("plugin.shed".to_owned())),
        Kind::RigRestore => Body::Change(Request::Restore),
        Kind::StateGet => Body::StateGet,
        Kind::StateResume => Body::StateResume {
            since_seq: data
                .count("since_seq")?
                .ok_or_else(|| missing("since_seq"))?,
            epoch: data.string("epoch", ID_MAX)?,
        },
        Kind::ClientSubscribe => Body::Subscribe {
            track_ids: data.strings("track_ids", VALUES_MAX, ID_MAX)?,
            plugin_ids: data.strings("plugin_ids", VALUES_MAX, ID_MAX)?,
            types: match data.strings("types", VALUES_MAX, ID_MAX)? {
                None => None,
                Some(names) => {
                    let kind = |name: &String| {
                        Kind::named(name).ok_or_else(|| {
                            Reject::field("types", format!("holds \"{name}\", which is no type"))
                        })
                    };
                    Some(names.iter().map(kind).collect::<Result<_, _>>()?)
                }
            },
        },
        Kind::StatusGet => Body::StatusGet,
        Kind::ClientFeatures => Body::Features {
            batch: data.boolean("batch")?,
            dialect: match data.string("dialect", ID_MAX)? {
                Some(name) => {
                    let known = Dialect::from_name(&name);
                    Some(known.ok_or_else(|| {
                        Reject::field("dialect", "must be dotted, upper or legacy")
                    })?)
                }
                None => None,
            },
        },
        Kind::MetersSubscribe => meters_subscribe(data)?,
        Kind::MetersUnsubscribe => Body::MetersUnsubscribe,
        Kind::DaidQuery => Body::Log(Ask::Query(log::query(data)?)),
        Kind::DaidLineage => Body::Log(Ask::Lineage(log::lineage(data)?)),
        Kind::DaidVerify => Body::Log(Ask::Verify),
        Kind::SessionList => Body::Session(SessionAsk::List),
        Kind::SessionInvite => Body::Session(SessionAsk::Invite {
            given: given(data)?,
            ttl_s: data.number("ttl_s")?,
        }),
        Kind::SessionEnd => Body::Session(SessionAsk::End(whom(data)?)),
        Kind::SessionRole => Body::Session(SessionAsk::Role {
            user_id: data.required("user_id", NAME_MAX)?,
            given: given(data)?,
        }),
        Kind::DeviceGet => Body::Device(DeviceAsk::Get),
        Kind::DeviceReboot => Body::Device(DeviceAsk::Reboot),
        Kind::DevicePowerOff => Body::Device(DeviceAsk::PowerOff),
        Kind::DeviceReset => match data.boolean("factory")? {
            // Nobody is to do this by accident.
            Some(true) => Body::Device(DeviceAsk::Reset),
            _ => {
                let reason = "must be true: everything that the rig has kept is deleted";
                return Err(Reject::field("factory", reason));
            }
        },
        Kind::Auth => Body::Auth {
            token: data.string("token", TOKEN_MAX)?,
            user_id: data
                .string("user_id", NAME_MAX)?
                .filter(|id| !id.is_empty()),
            session_id: data
                .string("session_id", NAME_MAX)?
                .filter(|id| !id.is_empty()),
        },
        Kind::UserCursorUpdate | Kind::Heartbeat => {
            unreachable!("answered before their data is read")
        }
    })
}
