//! Groups on their way to the engine: handed to the ring, or, when it has no room, coalesced here
//! into one group that goes as soon as it has. Answers wait in order until the engine has applied
//! what they answer.
//!
//! Bounds: the coalesced group holds at most one command a key and [`HELD_OPERATIONS_MAX`] that have
//! no key (additions, removals, moves), so it always fits into an empty ring; past that
//! [`Handover::is_choked`] and such requests are refused. Answers wait at most as long as
//! [`super::settle`] lets them.

use std::collections::VecDeque;
use std::time::Instant;

use jiff::Timestamp;
use rigd_rt::{Command, Report};

use super::settle::Waiting;
use crate::ring::ControlEnds;

/// Commands without a key that are held for an engine that stands still.
const HELD_OPERATIONS_MAX: usize = 512;

/// Something that is answered when a group is applied.
pub struct InFlight {
    /// The group.
    pub group: u64,
    /// When it was handed over.
    pub since: Instant,
    /// The same on the wire's clock.
    pub at: Timestamp,
    /// What follows.
    pub waiting: Waiting,
    /// There was nothing to wait for but what came before it.
    was_applied: bool,
}

/// See the module.
#[derive(Default)]
pub struct Handover {
    ends: Option<ControlEnds>,
    group: u64,
    /// The newest group that the engine has applied.
    applied: u64,
    /// Groups that it has applied since the oldest answer began to wait, each with its frame.
    reported: VecDeque<(u64, u64)>,
    /// Did not fit into the ring.
    held: Vec<Command>,
    /// Number of the newest change that was handed over.
    seq: u64,
    /// In the ring, or applied since the last look: group, its number, what it says. As many as the ring
    /// holds.
    sent: VecDeque<(u64, u64, Vec<Command>)>,
    in_flight: VecDeque<InFlight>,
}

impl Handover {
    /// A new engine, which first of all gets everything that is.
    pub fn attach(&mut self, ends: ControlEnds, everything: Vec<Command>, seq: u64) {
        self.ends = Some(ends);
        self.held.clear();
        self.sent.clear();
        self.seq = seq;
        // What was held is in the state, and so in `everything`.
        self.send(everything);
    }

    /// Gives the ends back.
    pub fn detach(&mut self) -> Option<ControlEnds> {
        self.ends.take()
    }

    /// Whether there is an engine.
    pub fn is_attached(&self) -> bool {
        self.ends.is_some()
    }

    /// Hands one group over. What waits for it is answered after it was applied.
    pub fn hand_over(&mut self, commands: Vec<Command>, waiting: Waiting, now: Instant) {
        if let Waiting::Changes(changes) = &waiting
            && let Some((change, _)) = changes.changes.last()
        {
            self.seq = change.seq;
        }
        self.send(commands);
        self.wait_for_last(waiting, now);
    }

    /// Hands over what nobody waits for, and no change is.
    pub fn tell(&mut self, commands: Vec<Command>) {
        self.send(commands);
    }

    /// Answers after everything that was handed over so far is applied.
    pub fn wait_for_last(&mut self, waiting: Waiting, now: Instant) {
        self.in_flight.push_back(InFlight {
            group: self.group,
            since: now,
            at: Timestamp::now(),
            waiting,
            was_applied: self.group <= self.applied,
        });
    }

    /// How much waits for the engine: answers, and commands that the ring has no room for.
    pub fn waiting(&self) -> (usize, usize) {
        (self.in_flight.len(), self.held.len())
    }

    /// Whether anything waits for the engine.
    pub fn is_waiting(&self) -> bool {
        !self.in_flight.is_empty() || !self.held.is_empty()
    }

    /// Whether the engine has applied everything that it was told.
    pub fn is_settled(&self) -> bool {
        self.is_attached() && self.sent.is_empty() && !self.is_waiting()
    }

    /// Whether the engine has stood still for so long that only values can be taken.
    pub fn is_choked(&self) -> bool {
        self.held.len() > HELD_OPERATIONS_MAX
            && self
                .held
                .iter()
                .filter(|held| !replaces(held, held))
                .count()
                > HELD_OPERATIONS_MAX
    }

    /// What the engine says next.
    pub fn next_report(&mut self) -> Option<Report> {
        let report = self.ends.as_mut()?.reports.next()?;
        if let Report::Applied { group, frame } = report {
            self.applied = group;
            let oldest = self
                .in_flight
                .front()
                .map_or(u64::MAX, |waiting| waiting.group);
            while self
                .reported
                .pop_front_if(|(group, _)| *group < oldest)
                .is_some()
            {}
            self.reported.push_back((group, frame));
        }
        Some(report)
    }

    /// Takes the oldest group that the engine has applied: number of its newest change, what it said.
    pub fn take_sent(&mut self) -> Option<(u64, Vec<Command>)> {
        let applied = self.applied;
        let (_, seq, commands) = self.sent.pop_front_if(|(group, _, _)| *group <= applied)?;
        Some((seq, commands))
    }

    /// Takes the oldest answer that waits for nothing more, and the frame since which what it answers is
    /// heard: `now` if it only had to wait for its turn.
    pub fn take_applied(&mut self, now: u64) -> Option<(InFlight, u64)> {
        let applied = self.applied;
        let answer = self
            .in_flight
            .pop_front_if(|waiting| waiting.group <= applied)?;
        let report = self
            .reported
            .iter()
            .find(|(group, _)| *group >= answer.group);
        let frame = match report {
            Some((_, frame)) if !answer.was_applied => *frame,
            _ => now,
        };
        Some((answer, frame))
    }

    /// Whether [`Handover::take_applied`] has something to give.
    pub fn owes(&self) -> bool {
        let oldest = self.in_flight.front();
        oldest.is_some_and(|waiting| waiting.group <= self.applied)
    }

    /// Takes the oldest answer if it has waited since `before`.
    pub fn take_older(&mut self, before: Instant) -> Option<InFlight> {
        self.in_flight
            .pop_front_if(|waiting| waiting.since <= before)
    }

    /// Tries again to send what did not fit.
    pub fn send_waiting(&mut self) {
        let Some(ends) = &mut self.ends else { return };
        if !self.held.is_empty() && ends.commands.send(self.group, 0, &self.held) {
            let held = std::mem::take(&mut self.held);
            self.sent.push_back((self.group, self.seq, held));
        }
    }

    fn send(&mut self, commands: Vec<Command>) {
        self.group += 1;
        let Some(ends) = &mut self.ends else { return };
        if self.held.is_empty() && ends.commands.send(self.group, 0, &commands) {
            self.sent.push_back((self.group, self.seq, commands));
            return;
        }
        for command in commands {
            self.held.retain(|held| !replaces(&command, held));
            self.held.push(command);
        }
    }
}

/// Whether the older command has no effect once the newer one follows it in the same group.
fn replaces(newer: &Command, older: &Command) -> bool {
    match (newer, older) {
        (
            Command::Set { slot, param, .. },
            Command::Set {
                slot: s, param: p, ..
            },
        ) => (slot, param) == (s, p),
        (Command::Bypass { slot, .. }, Command::Bypass { slot: s, .. }) => slot == s,
        (
            Command::Level { track, level, .. },
            Command::Level {
                track: t, level: l, ..
            },
        ) => (track, level) == (t, l),
        (Command::Mute { track, .. }, Command::Mute { track: t, .. })
        | (Command::Solo { track, .. }, Command::Solo { track: t, .. })
        | (Command::Input { track, .. }, Command::Input { track: t, .. }) => track == t,
        (
            Command::Send { track, bus, .. },
            Command::Send {
                track: t, bus: b, ..
            },
        ) => (track, bus) == (t, b),
        (Command::Tone { track, .. }, Command::Tone { track: t, .. }) => track == t,
        (Command::Rest { slot, .. }, Command::Rest { slot: s, .. }) => slot == s,
        (Command::Panic { .. }, Command::Panic { .. }) => true,
        _ => false,
    }
}
