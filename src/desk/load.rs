//! Is the processor fast enough for the rig? Says so when it is not and, if the settings allow, lets
//! effects rest, one after the other, rather than let the sound break off; and lets them work again
//! when there has been room for a while.
//!
//! A rest is a change of the rig's own: numbered, told to everyone, on record, and replayed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::Desk;
use super::client::ClientId;
use super::settle::{Settling, Waiting};
use crate::rig::Accepted;
use crate::session::By;

/// Load reports (ten a second) that are looked at together.
const WINDOW: usize = 10;
/// So many of them over the budget are no accident.
const OVER_MAX: usize = 3;
/// A block that took longer than it lasts counts where the load is above this share of what is allowed.
const BUSY: f32 = 0.5;
/// There is room when the load is below this share of what is allowed …
const ROOM: f32 = 0.7;
/// … for so many reports before an effect works again: 10 s.
const CALM_MIN: u32 = 100;
/// Each effect that had to rest again doubles that, up to 10 min.
const CALM_MAX: u32 = 6_000;
/// Nobody's connection: everybody is told what the rig does by itself.
const RIG: ClientId = ClientId(0);

/// What is allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// Whether effects may be let rest.
    pub sheds: bool,
    /// Share of the block time that may be used on average, 0…1.
    pub load_max: f32,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            sheds: false,
            load_max: 1.0,
        }
    }
}

/// What is to be done after a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Nothing.
    Wait,
    /// One more effect is to rest.
    Shed,
    /// One that rests is to work again.
    Restore,
}

/// What the reports come to. Pure.
pub struct Load {
    policy: Policy,
    /// Whether each of the latest reports was over the budget.
    recent: VecDeque<bool>,
    /// Reports in a row with room.
    calm: u32,
    /// How many of those are needed.
    calm_needed: u32,
    /// Whether the latest step was to let something work again.
    has_restored: bool,
    is_over: bool,
    /// What rests, in the order in which it was told to.
    resting: Vec<String>,
}

impl Default for Load {
    fn default() -> Load {
        Load {
            policy: Policy::default(),
            recent: VecDeque::with_capacity(WINDOW),
            calm: 0,
            calm_needed: CALM_MIN,
            has_restored: false,
            is_over: false,
            resting: Vec::new(),
        }
    }
}

impl Load {
    /// A tenth of a second's mean and worst share of the block time.
    fn take(&mut self, mean: f32, worst: f32) -> Step {
        // A late block in a rig with little to do is the machine's doing, and no effect could help it.
        let is_late = worst > 1.0 && mean > BUSY * self.policy.load_max;
        let is_over = mean > self.policy.load_max || is_late;
        if self.recent.len() == WINDOW {
            self.recent.pop_front();
        }
        self.recent.push_back(is_over);
        let over = self.recent.iter().filter(|over| **over).count();
        if over >= OVER_MAX {
            self.is_over = true;
        } else if over == 0 && self.recent.len() == WINDOW {
            self.is_over = false;
        }
        let has_room = !is_over && mean < ROOM * self.policy.load_max;
        self.calm = if has_room { self.calm + 1 } else { 0 };
        if over >= OVER_MAX && self.policy.sheds {
            // What the next one brings is seen in reports to come.
            self.recent.clear();
            if std::mem::take(&mut self.has_restored) {
                self.calm_needed = (2 * self.calm_needed).min(CALM_MAX);
            }
            return Step::Shed;
        }
        let is_due = self.calm >= self.calm_needed || !self.policy.sheds;
        if is_due && !self.resting.is_empty() {
            self.calm = 0;
            self.has_restored = true;
            return Step::Restore;
        }
        if self.resting.is_empty() && self.calm >= self.calm_needed {
            (self.calm_needed, self.has_restored) = (CALM_MIN, false);
        }
        Step::Wait
    }

    /// Whether the processor is too slow now.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// What is wrong, in a sentence for a person.
    pub fn trouble(&self) -> Option<String> {
        let resting = self.resting.join(", ");
        match (self.is_over, self.resting.is_empty()) {
            (false, true) => None,
            (_, false) => Some(format!(
                "the processor is too slow for all effects: {resting} rest until there is room"
            )),
            (true, true) => Some(
                "the processor is too slow for this rig, and sound may break off: remove or bypass effects, \
                 or use larger blocks (audio.block_frames)"
                    .to_owned(),
            ),
        }
    }
}

impl Desk {
    /// What is allowed from now on. What rests and may not any more works again.
    pub fn set_load_policy(&mut self, policy: Policy) {
        self.load.policy = policy;
    }

    /// The engine was so busy.
    pub(super) fn note_load(&mut self, mean: f32, worst: f32, now: Instant) {
        // What is gone rests no more.
        let state = &self.state;
        self.load
            .resting
            .retain(|id| state.plugin(id).is_some_and(|(_, plugin)| plugin.shed));
        match self.load.take(mean, worst) {
            Step::Wait => {}
            Step::Shed => {
                let Some(id) = self.state.least_important() else {
                    return;
                };
                log::warn!("the processor is too slow: the effect {id} rests");
                self.load.resting.push(id.clone());
                let accepted = self.state.shed(&id, true);
                self.change_by_rig(accepted, now);
            }
            Step::Restore => {
                let Some(id) = self.load.resting.pop() else {
                    return;
                };
                log::info!("there is room for the effect {id} again");
                let accepted = self.state.shed(&id, false);
                self.change_by_rig(accepted, now);
            }
        }
    }

    /// A change that nobody has asked for.
    fn change_by_rig(&mut self, accepted: Option<Accepted>, now: Instant) {
        let Some(accepted) = accepted else { return };
        self.note(RIG, &accepted);
        let by = Arc::new(By::rig());
        let changes = accepted.changes.into_iter();
        let settling = Settling {
            client: RIG,
            changes: changes
                .map(|change| (Arc::new(change), Arc::clone(&by)))
                .collect(),
            answers: Vec::new(),
        };
        self.handover
            .hand_over(accepted.commands, Waiting::Changes(settling), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(sheds: bool) -> Load {
        Load {
            policy: Policy {
                sheds,
                load_max: 0.8,
            },
            ..Load::default()
        }
    }

    /// Steps for so many reports of one kind.
    fn steps(load: &mut Load, reports: usize, mean: f32, worst: f32) -> Vec<(usize, Step)> {
        let mut steps = Vec::new();
        for report in 0..reports {
            match load.take(mean, worst) {
                Step::Wait => {}
                step => {
                    if step == Step::Shed {
                        load.resting.push("one".to_owned());
                    } else {
                        load.resting.pop();
                    }
                    steps.push((report, step));
                }
            }
        }
        steps
    }

    #[test]
    fn one_late_block_is_an_accident_and_three_reports_are_not() {
        let mut load = load(false);
        for _ in 0..20 {
            assert_eq!(load.take(0.5, 1.5), Step::Wait);
            assert!(!load.is_over());
            steps(&mut load, 9, 0.3, 0.5);
        }
        steps(&mut load, 20, 0.1, 1.5);
        assert!(!load.is_over(), "the machine is busy elsewhere");
        steps(&mut load, 9, 0.3, 0.5);
        steps(&mut load, 3, 0.5, 1.5);
        assert!(load.is_over() && load.trouble().unwrap().contains("larger blocks"));
        steps(&mut load, 9, 0.3, 0.5);
        assert!(load.is_over(), "not over before a second has passed");
        steps(&mut load, 3, 0.3, 0.5);
        assert!(!load.is_over() && load.trouble().is_none());
    }

    #[test]
    fn effects_rest_one_by_one_and_come_back_when_there_has_been_room() {
        let mut load = load(true);
        let shed = steps(&mut load, 7, 0.9, 0.95);
        assert_eq!(shed, [(2, Step::Shed), (5, Step::Shed)]);
        assert!(load.trouble().unwrap().contains("one, one rest"));
        // Below the limit, but without room: as it is.
        assert_eq!(steps(&mut load, 1000, 0.7, 0.8), []);
        let back = steps(&mut load, 250, 0.3, 0.5);
        assert_eq!(back, [(99, Step::Restore), (199, Step::Restore)]);
        assert!(load.trouble().is_none());
    }

    #[test]
    fn what_had_to_rest_again_comes_back_later() {
        let mut load = load(true);
        let mut waited = Vec::new();
        for _ in 0..9 {
            steps(&mut load, 3, 0.9, 0.95);
            assert_eq!(load.resting.len(), 1);
            let reports = (1..).find(|_| load.take(0.3, 0.5) == Step::Restore);
            load.resting.clear();
            waited.extend(reports);
        }
        assert_eq!(waited, [100, 200, 400, 800, 1600, 3200, 6000, 6000, 6000]);
        // After as long a time without trouble all is forgotten.
        steps(&mut load, 6_001, 0.3, 0.5);
        steps(&mut load, 3, 0.9, 0.95);
        assert_eq!(steps(&mut load, 150, 0.3, 0.5), [(99, Step::Restore)]);
    }

    #[test]
    fn when_it_may_rest_no_more_all_works_again() {
        let mut load = load(true);
        steps(&mut load, 7, 0.9, 0.95);
        load.policy.sheds = false;
        let back = steps(&mut load, 3, 0.9, 0.95);
        assert_eq!(back, [(0, Step::Restore), (1, Step::Restore)]);
    }
}
