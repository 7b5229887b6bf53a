//! Who is meant, what they may be, and who comes with a code.

use super::{DEPTH_MAX, ID_MAX, NAME_MAX, depth, not_an_object};
use crate::protocol::fields::{Fields, missing};
use crate::protocol::incoming::{Given, Whom};
use crate::rig::Reject;
use crate::session::Role;
use crate::session::token::{TRACKS_MAX, is_name, is_tracks};

/// Whom a host means.
pub fn whom(data: &Fields) -> Result<Whom, Reject> {
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
