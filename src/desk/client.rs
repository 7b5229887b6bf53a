//! One connection, as the desk knows it.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rigd_rt::{Report, TRACK_PLACES};

use super::interest::Rules;
use super::visit::Visit;
use crate::protocol::Dialect;
use crate::protocol::meters::Reading;
pub use crate::session::By;
use crate::session::{Buckets, Rights};
use crate::sync::Outbox;

/// Names a connection inside the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub(super) u64);

impl ClientId {
    /// For the log.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// A token that was shown.
#[derive(Clone, Copy, Debug)]
pub struct Proof {
    /// The box's uptime when it is over.
    pub ends: Duration,
}

/// Where the snapshot is that a lagging client is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resync {
    /// None is.
    None,
    /// It waits for what it holds to be applied.
    Promised,
    /// It is in the outbox.
    Queued,
}

/// See the module.
pub struct Client {
    /// What it is told its name is.
    pub connection_id: String,
    /// What it may do.
    pub rights: Rights,
    pub(super) peer: IpAddr,
    /// What it said of itself by `AUTH`, or in its latest message.
    pub by: Arc<By>,
    /// By what it has proved who it is.
    pub(super) proof: Option<Proof>,
    pub(super) since: jiff::Timestamp,
    /// It came with this mark of the presence, and has not said who it is.
    pub(super) came: Option<u64>,
    /// It is to be closed, and why.
    pub ends: Option<&'static str>,
    /// The address or name of the rig that it connected to, with the port.
    pub came_to: Option<String>,
    pub(super) auth_user_id: Option<String>,
    pub(super) auth_session_id: Option<String>,
    /// What it is spoken to in.
    pub dialect: Dialect,
    pub(super) dialect_is_fixed: bool,
    pub(super) is_fresh: bool,
    /// What it has asked to hear of others, from its latest request on.
    pub(super) rules: Rc<Rules>,
    /// Boxed: most clients have none.
    pub(super) meters: Option<Box<Meters>>,
    pub(super) buckets: Buckets,
    /// That it is an HTTP request. Boxed: most clients are none.
    pub(super) visit: Option<Box<Visit>>,
    pub(super) legacy_ids: u64,
    pub(super) resync: Resync,
    /// What it still has to hear.
    pub outbox: Outbox<Rules>,
    /// Nothing waited when it was last looked at.
    pub(super) is_asleep: bool,
}

impl Client {
    /// What happens from now on is heard by other rules.
    pub(super) fn hear_by(&mut self, rules: Rules) {
        self.rules = Rc::new(rules);
        self.outbox.rule(Rc::clone(&self.rules));
    }
}

/// A subscription to meters.
pub struct Meters {
    pub(super) binary: bool,
    pub(super) every: Duration,
    pub(super) due: Instant,
    windows: u32,
    readings: [(Reading, u32); TRACK_PLACES],
}

impl Meters {
    /// So many a second, from now on.
    pub fn new(rate_hz: f64, binary: bool, now: Instant) -> Meters {
        let every = Duration::from_secs_f64(1.0 / rate_hz);
        Meters {
            binary,
            every,
            due: now + every,
            windows: 0,
            readings: Default::default(),
        }
    }

    /// Adds one window of one track.
    pub fn fold(&mut self, place: usize, report: &Report) {
        let Report::Meter {
            clipped,
            peak,
            mean_square,
            reduction_db,
            ..
        } = *report
        else {
            return;
        };
        let Some((reading, windows)) = self.readings.get_mut(place) else {
            return;
        };
        for side in 0..2 {
            reading.peak[side] = reading.peak[side].max(peak[side]);
            reading.mean_square[side] += mean_square[side];
        }
        reading.reduction_db = reading.reduction_db.max(reduction_db);
        reading.clipped |= clipped;
        *windows += 1;
        self.windows += 1;
    }

    /// What came since the last time, by place; `None` when nothing did.
    pub fn take(&mut self) -> Option<[Reading; TRACK_PLACES]> {
        if self.windows == 0 {
            return None;
        }
        self.windows = 0;
        let readings = std::mem::take(&mut self.readings);
        Some(readings.map(|(mut reading, windows)| {
            reading.mean_square = reading.mean_square.map(|sum| sum / windows.max(1) as f32);
            reading
        }))
    }
}
