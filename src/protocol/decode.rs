//! A text frame → what it says and asks. Total: whatever comes in, a head to answer to comes out,
//! and either a body or the reason why there is none.

use rigd_rt::{PanicMode, TrackKind};
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

use super::dialect::{Dialect, Kind};
use super::fields::{Fields, missing};
use crate::provenance::query::{self, Ask, Direction, Filter, Lineage, Origin, Query};
use crate::rig::{ParameterChange, PluginRef, Reject, Request, ToneFields, TrackFields};
use crate::session::Role;
use crate::session::token::{TRACKS_MAX, is_name, is_tracks};

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
/// Characters in a DAID: a time, a hash, and three parts of at most 128 each.
const DAID_MAX: usize = 512;
/// Bytes of a relayed cursor.
const CURSOR_MAX: usize = 1024;
/// Entries of an object that maps names to values.
const VALUES_MAX: usize = 256;

/// How much one message may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Changes in a batch.
    pub batch_changes: usize,
}

/// The envelope.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// The client's message id.
    pub id: Option<String>,
    /// What kind of message, if it is a known one, and in which dialect.
    pub kind: Option<(Kind, Dialect)>,
    /// Claimed.
    pub user_id: Option<String>,
    /// Claimed.
    pub session_id: Option<String>,
    /// Echoed untouched.
    pub t0_timestamp: Option<Box<RawValue>>,
    /// One `ack` is wanted.
    pub requires_ack: bool,
    /// Names the message, should it come again.
    pub idempotency_key: Option<String>,
    /// Only if nobody else has changed it after this number.
    pub base_seq: Option<u64>,
}

/// A message, as far as it could be understood.
#[derive(Debug)]
pub struct Incoming {
    /// Whom to answer, and how.
    pub head: Head,
    /// What is asked.
    pub body: Result<Body, Reject>,
}

/// A batch of parameter changes.
#[derive(Clone, Debug)]
pub struct Batch {
    /// In the order given; a malformed entry carries its own fault.
    pub changes: Vec<Result<ParameterChange, Reject>>,
    /// Wait for a pause of so many milliseconds.
    pub debounce_ms: Option<f64>,
    /// Do not wait.
    pub apply_immediately: bool,
}

/// What is asked.
#[derive(Clone, Debug)]
pub enum Body {
    /// Something is to change.
    Change(Request),
    /// Many parameters are to change.
    Batch(Batch),
    /// A plugin's parameters.
    ParametersGet(PluginRef),
    /// A plugin's presets.
    PresetsGet(PluginRef),
    /// The chains that a microphone can take on.
    ChainsGet,
    /// Every kind of plugin.
    PluginList,
    /// Every track.
    TrackList,
    /// Everything.
    StateGet,
    /// What has changed since.
    StateResume {
        /// The newest number that is known.
        since_seq: u64,
        /// Of which run.
        epoch: Option<String>,
    },
    /// Which changes this client wants to hear of; `None` is all.
    Subscribe {
        /// On these tracks.
        track_ids: Option<Vec<String>>,
        /// Of these plugins.
        plugin_ids: Option<Vec<String>>,
        /// Of these types.
        types: Option<Vec<Kind>>,
    },
    /// How the box is.
    StatusGet,
    /// How this client wants to be spoken to.
    Features {
        /// Whole batches in one message.
        batch: Option<bool>,
        /// This dialect from now on.
        dialect: Option<Dialect>,
    },
    /// Meters, so many a second.
    MetersSubscribe {
        /// 1…60.
        rate_hz: f64,
        /// Binary frames rather than JSON.
        binary: bool,
    },
    /// No more meters.
    MetersUnsubscribe,
    /// For the others of the same session.
    Cursor(Box<RawValue>),
    /// To be sent back.
    Heartbeat(Box<RawValue>),
    /// About the log.
    Log(Ask),
    /// About people.
    Session(SessionAsk),
    /// About the box.
    Device(DeviceAsk),
    /// Who this is.
    Auth {
        /// A claim with proof.
        token: Option<String>,
        /// A claim without.
        user_id: Option<String>,
        /// A claim without.
        session_id: Option<String>,
    },
}

/// What a host asks about people.
#[derive(Clone, Debug, PartialEq)]
pub enum SessionAsk {
    /// Who is here.
    List,
    /// A code with which somebody can come.
    Invite {
        /// As what.
        given: Given,
        /// For so long.
        ttl_s: Option<f64>,
    },
    /// Somebody goes.
    End(Whom),
    /// Somebody is something else.
    Role {
        /// Who.
        user_id: String,
        /// What.
        given: Given,
    },
}

/// What a host asks of the box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceAsk {
    /// What it is, and what it may be asked.
    Get,
    /// It starts anew.
    Reboot,
    /// It is switched off.
    PowerOff,
    /// It forgets everything.
    Reset,
}

/// Whom a host means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// One connection.
    Connection(String),
    /// A user, with all their connections.
    User(String),
}

/// A role, and a performer's tracks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// What.
    pub role: Role,
    /// Where.
    pub tracks: Vec<String>,
}

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
        Kind::DaidQuery => Body::Log(Ask::Query(log_query(data)?)),
        Kind::DaidLineage => Body::Log(Ask::Lineage(log_lineage(data)?)),
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

/// A place in a chain, which must be a number; whether it is one of the chain's is for the rig to say.
fn position(data: &Fields) -> Result<Option<Value>, Reject> {
    match data.value("position").filter(|value| !value.is_null()) {
        Some(value) if !value.is_number() => {
            Err(Reject::field("position", "must be a whole number"))
        }
        position => Ok(position),
    }
}

fn plugin(data: &Fields, is_legacy: bool) -> Result<PluginRef, Reject> {
    let track_id = if is_legacy {
        data.string("track_id", ID_MAX)?
    } else {
        Some(data.required("track_id", ID_MAX)?)
    };
    Ok(PluginRef {
        track_id,
        plugin_id: data.required("plugin_id", ID_MAX)?,
    })
}

fn parameter_change(data: &Fields, is_legacy: bool) -> Result<ParameterChange, Reject> {
    Ok(ParameterChange {
        plugin: plugin(data, is_legacy)?,
        parameter_id: data.required("parameter_id", ID_MAX)?,
        value: data
            .value("parameter_value")
            .ok_or_else(|| missing("parameter_value"))?,
    })
}

fn batch(data: &Fields, limits: Limits) -> Result<Batch, Reject> {
    let changes = if let Some(changes) = data.list("changes", limits.batch_changes)? {
        changes
            .into_iter()
            .map(|change| parameter_change(&change?, false))
            .collect()
    } else if let Some(parameters) = data.list("parameters", limits.batch_changes)? {
        let plugin = plugin(data, false)?;
        let change = |parameter: Result<Fields, Reject>| {
            let parameter = parameter?;
            Ok(ParameterChange {
                plugin: plugin.clone(),
                parameter_id: parameter.required("parameter_id", ID_MAX)?,
                value: parameter
                    .value("parameter_value")
                    .ok_or_else(|| missing("parameter_value"))?,
            })
        };
        parameters.into_iter().map(change).collect()
    } else {
        return Err(missing("changes"));
    };
    Ok(Batch {
        changes,
        debounce_ms: data.number("debounce_ms")?,
        apply_immediately: data.boolean("apply_immediately")?.unwrap_or(false),
    })
}

/// A value that is there and not null, whatever it is.
fn any(data: &Fields, name: &'static str) -> Option<Value> {
    data.value(name).filter(|value| !value.is_null())
}

fn track_fields(data: &Fields) -> Result<TrackFields, Reject> {
    Ok(TrackFields {
        name: match data.string("name", NAME_MAX)? {
            Some(name) => Some(printable("name", name)?),
            None => None,
        },
        input: data.string("input", ID_MAX)?,
        input_gain_db: any(data, "input_gain_db"),
        volume: any(data, "volume"),
        pan: any(data, "pan"),
        mute: data.boolean("mute")?,
        solo: data.boolean("solo")?,
        sends: data.values("sends", VALUES_MAX)?,
    })
}

fn track_kind(name: &str) -> Result<TrackKind, Reject> {
    Ok(match name {
        "mic" => TrackKind::Mic,
        "stem" => TrackKind::Stem,
        "bus" => TrackKind::Bus,
        "master" => TrackKind::Master,
        _ => return Err(Reject::field("kind", "must be mic, stem or bus")),
    })
}

fn meters_subscribe(data: &Fields) -> Result<Body, Reject> {
    let rate_hz = data.number("rate_hz")?.ok_or_else(|| missing("rate_hz"))?;
    if !(1.0..=60.0).contains(&rate_hz) {
        return Err(Reject::InvalidParameter {
            parameter_id: "rate_hz".to_owned(),
            parameter_value: Box::new(rate_hz.into()),
            validation_error: "must be from 1 to 60".to_owned(),
            range: Some((1.0, 60.0)),
        });
    }
    let binary = match data.string("format", ID_MAX)?.as_deref() {
        None | Some("json") => false,
        Some("binary") => true,
        Some(_) => return Err(Reject::field("format", "must be json or binary")),
    };
    Ok(Body::MetersSubscribe { rate_hz, binary })
}

fn log_query(data: &Fields) -> Result<Query, Reject> {
    let text = |name| {
        let text = data.string(name, NAME_MAX)?;
        Ok::<_, Reject>(text.filter(|text| !text.is_empty()))
    };
    let time = |name| match data.string(name, NAME_MAX)? {
        Some(text) => match query::time(&text) {
            Some(time) => Ok(Some(time)),
            None => Err(Reject::field(
                name,
                "must be a time of ISO 8601, like 2026-01-31T20:00:00Z",
            )),
        },
        None => Ok(None),
    };
    Ok(Query {
        filter: Filter {
            entity_type: text("entity_type")?,
            entity_id: text("entity_id")?,
            user_id: text("user_id")?,
            session_id: text("session_id")?,
            operation: text("operation")?,
            since: time("since")?,
            until: time("until")?,
        },
        after: match data.string("cursor", NAME_MAX)? {
            Some(text) => query::cursor(&text)
                .ok_or_else(|| Reject::field("cursor", "must be a next_cursor as it came"))?,
            None => 0,
        },
        limit: match data.number("limit")? {
            None => query::LIMIT,
            Some(limit) if limit >= 1.0 && limit.fract() == 0.0 => {
                if limit > query::LIMIT_MAX as f64 {
                    let reason = format!("must not be over {}", query::LIMIT_MAX);
                    return Err(Reject::over(Some("limit"), reason, query::LIMIT_MAX as u64));
                }
                limit as usize
            }
            Some(_) => return Err(Reject::field("limit", "must be a whole number from 1")),
        },
    })
}

fn log_lineage(data: &Fields) -> Result<Lineage, Reject> {
    let daid = data.string("daid", DAID_MAX)?;
    let from = match (daid, data.string("entity_id", NAME_MAX)?) {
        (Some(_), Some(_)) => {
            let reason = "must not be there beside daid: a lineage begins at one of them";
            return Err(Reject::field("entity_id", reason));
        }
        (Some(daid), None) if daid.starts_with("daid:") => Origin::Daid(daid),
        (Some(_), None) => return Err(Reject::field("daid", "must be a DAID")),
        (None, Some(entity)) if !entity.is_empty() => Origin::Entity(entity),
        (None, Some(_)) => return Err(Reject::field("entity_id", "must not be empty")),
        (None, None) => return Err(missing("daid")),
    };
    let direction = Direction::from_name(&data.required("direction", ID_MAX)?)
        .ok_or_else(|| Reject::field("direction", "must be backward or forward"))?;
    Ok(Lineage { from, direction })
}

fn whom(data: &Fields) -> Result<Whom, Reject> {
    let user = data.string("user_id", NAME_MAX)?;
    match (data.string("connection_id", NAME_MAX)?, user) {
        (Some(_), Some(_)) => {
            let reason = "must not be there beside connection_id: name one of them";
            Err(Reject::field("user_id", reason))
        }
        (Some(id), None) => Ok(Whom::Connection(id)),
        (None, Some(id)) => Ok(Whom::User(id)),
        (None, None) => Err(missing("connection_id")),
    }
}

/// A role that somebody is given.
pub fn given(data: &Fields) -> Result<Given, Reject> {
    let role = data.required("role", ID_MAX)?;
    let Some(role) = Role::from_name(&role) else {
        let reason = "must be host, performer, guest or display";
        return Err(Reject::field("role", reason));
    };
    let tracks = data.strings("tracks", TRACKS_MAX, ID_MAX)?;
    let tracks = tracks.unwrap_or_default();
    if !is_tracks(&tracks) {
        return Err(Reject::field("tracks", "must be a list of track ids"));
    }
    Ok(Given { role, tracks })
}

/// Reads what somebody sends who has a code: the code, and who they are.
pub fn pairing(body: &[u8]) -> Result<(String, String), Reject> {
    let text = std::str::from_utf8(body).map_err(|_| Reject::message("is not UTF-8"))?;
    if depth(text) > DEPTH_MAX {
        let reason = format!("is nested deeper than {DEPTH_MAX} levels");
        return Err(Reject::over(None, reason, DEPTH_MAX));
    }
    let data = Fields::parse(text).map_err(|_| not_an_object(text))?;
    let code = data.required("code", ID_MAX)?;
    let user_id = data.required("user_id", NAME_MAX)?;
    if !is_name(&user_id) {
        return Err(Reject::field("user_id", "must be printable text"));
    }
    Ok((code, user_id))
}

/// An id that a client chooses.
fn client_id(field: &str, id: String) -> Result<String, Reject> {
    if id
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
    {
        Ok(id)
    } else {
        Err(Reject::field(field, "may hold only A–Z a–z 0–9 _ . -"))
    }
}

fn printable(field: &str, text: String) -> Result<String, Reject> {
    if text.chars().any(char::is_control) {
        return Err(Reject::field(field, "must be printable text"));
    }
    Ok(text)
}
