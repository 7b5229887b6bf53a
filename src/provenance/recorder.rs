//! Changes → what the log is to take: events, and the rows of the state that they changed. Pure: time is
//! passed in. Knows the state as the log has it, and follows it by the changes alone.
//!
//! Changes of one user to one plugin's parameters are one event for each gesture: it ends 100 ms after
//! its last change, after 2 s at most, at a change whose durability somebody waits for, or when
//! anything else happens to that plugin.
//!
//! Events wait in a queue of at most [`WAITING_MAX`]. When it is full (the disk does not keep up),
//! gestures stay open for longer, and past that events are lost: what they changed is still in the
//! state, which is written whole when there is room again, with an event that names the gap.
//!
//! Of the state only the parts that changed are remembered: what is written of them is how they are when
//! they are taken, however often they changed before.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::event::{self, EntityType, Event, Notice, RIG};
use super::rows::Row;
use crate::rig::durable::Part;
use crate::rig::state::parameter;
use crate::rig::{Change, Durable, What};
use crate::session::By;

/// A gesture ends so long after its last change.
const PAUSE: Duration = Duration::from_millis(100);
/// And so long after its first.
const GESTURE_MAX: Duration = Duration::from_secs(2);
/// Events that wait for the disk.
pub const WAITING_MAX: usize = 4096;

/// What goes to the log at once.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// What was recorded under this ticket, and before it, is in here or went before.
    pub ticket: u64,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// What of the state is another after that.
    pub rows: Vec<Touched>,
    /// The rows are the whole state: all others go.
    pub is_everything: bool,
}

/// A row of the state, and what made it so.
#[derive(Clone, Debug)]
pub struct Touched {
    /// As it is now.
    pub row: Row,
    /// Whose doing that is.
    pub touch: Touch,
}

/// Which events of [`Taken::events`] changed a part of the state.
#[derive(Clone, Copy, Debug, Default)]
pub struct Touch {
    /// The first one, since the part was made anew if it was.
    pub first: Option<usize>,
    /// The last one.
    pub last: Option<usize>,
    /// The part that was there before has gone.
    pub is_anew: bool,
}

/// How a change fared.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// When.
    pub at: Timestamp,
    /// Since the process began.
    pub now: Duration,
    /// The first frame computed with it.
    pub applied_frame: Option<u64>,
    /// Somebody waits for it to be on disk.
    pub is_awaited: bool,
}

#[derive(Debug)]
struct Gesture {
    track_id: String,
    by: Arc<By>,
    /// Parameter → value before, value after, changes.
    changes: BTreeMap<&'static str, (f64, f64, u64)>,
    seq_first: u64,
    seq_last: u64,
    began: Duration,
    last: Duration,
    at: Timestamp,
    applied_frame: Option<u64>,
}

impl Gesture {
    fn due(&self) -> Duration {
        (self.last + PAUSE).min(self.began + GESTURE_MAX)
    }
}

/// Events that could not be kept.
#[derive(Debug)]
struct Gap {
    seq_first: u64,
    seq_last: u64,
    events: u64,
    reason: &'static str,
}

const NOT_TAKEN: &str = "the disk did not take them";
const REPLACED: &str =
    "the database was damaged or replaced: what it held up to here is not in this one";

/// See the module.
pub struct Recorder {
    state: Durable,
    keeps_events: bool,
    /// By plugin.
    gestures: HashMap<String, Gesture>,
    waiting: Vec<Event>,
    touched: BTreeMap<Part, Touch>,
    is_everything: bool,
    ticket: u64,
    gap: Option<Gap>,
    rig: Arc<By>,
}

impl Recorder {
    /// From a state that the log has. Without `keeps_events` only the state is kept.
    pub fn new(state: Durable, keeps_events: bool) -> Recorder {
        Recorder {
            state,
            keeps_events,
            gestures: HashMap::new(),
            waiting: Vec::new(),
            touched: BTreeMap::new(),
            is_everything: false,
            ticket: 0,
            gap: None,
            rig: Arc::new(By::rig()),
        }
    }

    /// The state with everything that was ever recorded and closed.
    pub fn state(&self) -> &Durable {
        &self.state
    }

    /// Lets the whole state be written: the first thing that a new log gets.
    pub fn record_everything(&mut self) {
        self.ticket += 1;
        self.is_everything = true;
    }

    /// Records one change. Returns the ticket that covers it, once what it belongs to is closed: at
    /// once if it is awaited. `None`: there was no room, and it is lost in a gap.
    pub fn record(&mut self, change: &Change, by: &Arc<By>, how: Circumstances) -> Option<u64> {
        if let What::Parameter {
            track_id,
            plugin_id,
            parameter_id,
            value,
        } = &change.what
        {
            let is_others = |gesture: &Gesture| {
                gesture.by.user_id != by.user_id || gesture.by.session_id != by.session_id
            };
            if self.gestures.get(plugin_id).is_some_and(is_others) {
                self.close(plugin_id);
            }
            self.gesture(
                change.seq,
                track_id,
                plugin_id,
                parameter_id,
                *value,
                by,
                how,
            );
            let is_kept = !how.is_awaited || self.close(plugin_id);
            return is_kept.then_some(self.ticket);
        }
        self.close_touched(&change.what);
        let (entity_type, entity_id, _) = event::entity(&change.what);
        let event = Event {
            operation: event::operation(&change.what),
            entity_type,
            entity_id: entity_id.to_owned(),
            by: Arc::clone(by),
            seq_first: change.seq,
            seq_last: change.seq,
            at: how.at,
            monotonic_us: how.now.as_micros() as u64,
            applied_frame: how.applied_frame,
            metadata: event::metadata(&change.what, by, &self.state),
        };
        let parts = self.state.follow(&change.what);
        self.push(event, parts).then_some(self.ticket)
    }

    /// Records something about people or the box, and keeps what is said of them. The ticket says when it is on disk;
    /// `None`: there was no room.
    pub fn record_notice(
        &mut self,
        notice: Notice,
        seq: u64,
        by: &Arc<By>,
        how: Circumstances,
    ) -> Option<u64> {
        let mut details = match notice.entity_type {
            EntityType::Session => json!({ "subject": notice.subject }),
            _ => json!({}),
        };
        if let (Value::Object(all), Value::Object(more)) = (&mut details, &notice.details) {
            all.extend(more.clone());
        }
        let event = Event {
            operation: notice.operation,
            entity_type: notice.entity_type,
            entity_id: notice.entity_id(),
            by: Arc::clone(by),
            seq_first: seq,
            seq_last: seq,
            at: how.at,
            monotonic_us: how.now.as_micros() as u64,
            applied_frame: how.applied_frame,
            metadata: event::with_who(None, by, details),
        };
        let mut parts = Vec::new();
        if let Some(person) = notice.person {
            parts.push(Part::Person(notice.subject.clone()));
            self.state.people.put(notice.subject, person);
        }
        self.push(event, parts).then_some(self.ticket)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one change")]
    fn gesture(
        &mut self,
        seq: u64,
        track_id: &str,
        plugin_id: &str,
        parameter_id: &'static str,
        value: f64,
        by: &Arc<By>,
        how: Circumstances,
    ) {
        let before = self.state.plugin(plugin_id).and_then(|(_, plugin)| {
            let (index, _) = parameter(plugin.kind, parameter_id)?;
            plugin.values.get(index).copied()
        });
        let gesture = self
            .gestures
            .entry(plugin_id.to_owned())
            .or_insert_with(|| Gesture {
                track_id: track_id.to_owned(),
                by: Arc::clone(by),
                changes: BTreeMap::new(),
                seq_first: seq,
                seq_last: seq,
                began: how.now,
                last: how.now,
                at: how.at,
                applied_frame: how.applied_frame,
            });
        gesture.seq_last = seq;
        gesture.last = how.now;
        gesture.at = how.at;
        gesture.applied_frame = how.applied_frame;
        let from = before.unwrap_or(value);
        let (_, to, count) = gesture
            .changes
            .entry(parameter_id)
            .or_insert((from, value, 0));
        *to = value;
        *count += 1;
    }

    /// Ends the gestures that a change to something else ends.
    fn close_touched(&mut self, what: &What) {
        match what {
            What::TrackRemoved { track_id } => {
                self.close_those(|gesture| gesture.track_id == *track_id);
            }
            _ => {
                if let (EntityType::Plugin, plugin_id, _) = event::entity(what) {
                    self.close(plugin_id);
                }
            }
        }
    }

    /// Ends a gesture. Says whether there was room for it.
    fn close(&mut self, plugin_id: &str) -> bool {
        let Some(gesture) = self.gestures.remove(plugin_id) else {
            return true;
        };
        let mut changes = Map::new();
        for (id, (from, to, count)) in &gesture.changes {
            changes.insert(
                (*id).to_owned(),
                json!({"from": from, "to": to, "count": count}),
            );
            self.state.follow(&What::Parameter {
                track_id: gesture.track_id.clone(),
                plugin_id: plugin_id.to_owned(),
                parameter_id: id,
                value: *to,
            });
        }
        let details = json!({ "changes": changes });
        let event = Event {
            operation: "plugin.parameter",
            entity_type: EntityType::Plugin,
            entity_id: plugin_id.to_owned(),
            seq_first: gesture.seq_first,
            seq_last: gesture.seq_last,
            at: gesture.at,
            monotonic_us: gesture.last.as_micros() as u64,
            applied_frame: gesture.applied_frame,
            metadata: event::with_who(Some(&gesture.track_id), &gesture.by, details),
            by: gesture.by,
        };
        self.push(event, vec![Part::Plugin(plugin_id.to_owned())])
    }

    /// Says whether there was room.
    fn push(&mut self, event: Event, parts: Vec<Part>) -> bool {
        self.ticket += 1;
        let has_room = !self.keeps_events || self.waiting.len() < WAITING_MAX;
        let index = (self.keeps_events && has_room).then_some(self.waiting.len());
        for part in parts {
            let is_gone = matches!(&part, Part::Plugin(id) if self.state.plugin(id).is_none());
            let touch = self.touched.entry(part).or_default();
            touch.last = index;
            if is_gone {
                (touch.first, touch.is_anew) = (None, true);
            } else if touch.first.is_none() {
                touch.first = index;
            }
        }
        if !has_room {
            let gap = self.gap.get_or_insert(Gap {
                seq_first: event.seq_first,
                seq_last: event.seq_last,
                events: 0,
                reason: NOT_TAKEN,
            });
            // A gesture may have begun before others that were lost earlier.
            gap.seq_first = gap.seq_first.min(event.seq_first);
            gap.seq_last = gap.seq_last.max(event.seq_last);
            gap.events += 1;
        } else if self.keeps_events {
            self.waiting.push(event);
        }
        has_room
    }

    /// The database is not the one that the log was in: what is to be known of it is that there is a gap
    /// up to `seq`, and the state is written whole.
    pub fn record_replaced(&mut self, seq: u64) {
        self.ticket += 1;
        self.gap.get_or_insert(Gap {
            seq_first: seq,
            seq_last: seq,
            events: 0,
            reason: REPLACED,
        });
    }

    /// Ends the gestures whose time has come. While the disk does not keep up they stay open.
    pub fn close_due(&mut self, now: Duration) {
        if self.waiting.len() >= WAITING_MAX / 2 {
            return;
        }
        self.close_those(|gesture| gesture.due() <= now);
    }

    /// Ends all gestures.
    pub fn close_all(&mut self) {
        self.close_those(|_| true);
    }

    /// Ends some gestures, in the order of their numbers.
    fn close_those(&mut self, wanted: impl Fn(&Gesture) -> bool) {
        let those = self.gestures.iter().filter(|(_, gesture)| wanted(gesture));
        let mut those: Vec<(u64, String)> = those
            .map(|(id, gesture)| (gesture.seq_last, id.clone()))
            .collect();
        those.sort();
        for (_, id) in &those {
            self.close(id);
        }
    }

    /// When the next gesture ends.
    pub fn next_due(&self) -> Option<Duration> {
        self.gestures.values().map(Gesture::due).min()
    }

    /// Whether anything waits.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
            || !self.touched.is_empty()
            || self.is_everything
            || self.gap.is_some()
    }

    /// The newest ticket given out.
    pub fn ticket(&self) -> u64 {
        self.ticket
    }

    /// Takes everything that waits, in order; behind a gap, what it is and the whole state.
    pub fn take(&mut self, at: Timestamp, now: Duration) -> Taken {
        let mut events = std::mem::take(&mut self.waiting);
        let mut touched = std::mem::take(&mut self.touched);
        let mut is_everything = std::mem::take(&mut self.is_everything);
        if let Some(gap) = self.gap.take() {
            is_everything = true;
            events.extend(self.keeps_events.then(|| self.gap_event(&gap, at, now)));
        }
        if is_everything {
            let whose = |part: Part| {
                let touch = touched.get(&part).copied().unwrap_or_default();
                (part, touch)
            };
            touched = self.state.parts().into_iter().map(whose).collect();
        }
        let row = |(part, touch): (Part, Touch)| Touched {
            row: Row::of(&part, &self.state),
            touch,
        };
        Taken {
            ticket: self.ticket,
            events,
            rows: touched.into_iter().map(row).collect(),
            is_everything,
        }
    }

    fn gap_event(&self, gap: &Gap, at: Timestamp, now: Duration) -> Event {
        let details: Value = json!({
            "events": gap.events, "seq_first": gap.seq_first, "seq_last": gap.seq_last,
            "reason": gap.reason,
        });
        Event {
            operation: "rig.gap",
            entity_type: EntityType::Configuration,
            entity_id: RIG.to_owned(),
            seq_first: gap.seq_first,
            seq_last: gap.seq_last,
            at,
            monotonic_us: now.as_micros() as u64,
            applied_frame: None,
            metadata: event::with_who(None, &self.rig, details),
            by: Arc::clone(&self.rig),
        }
    }
}
