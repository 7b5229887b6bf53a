//! What is asked of the log.

use super::{ID_MAX, NAME_MAX};
use crate::protocol::fields::{Fields, missing};
use crate::provenance::query::{self, Direction, Filter, Lineage, Origin, Query};
use crate::rig::Reject;

/// Characters in a DAID: a time, a hash, and three parts of at most 128 each.
const DAID_MAX: usize = 512;

pub fn query(data: &Fields) -> Result<Query, Reject> {
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

pub fn lineage(data: &Fields) -> Result<Lineage, Reject> {
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
