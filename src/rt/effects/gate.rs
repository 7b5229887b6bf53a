//! `gate`: a downward expander with a floor, hysteresis and hold. No latency.
//!
//! The state machine is that of [`crate::switch`] (Zölzer, "DAFX", chapter 4), operated by the peak of
//! the frame.
//!
//! Attack and release are the whole way between `range_db` down and unity. The way is an S in
//! decibels: it has no corners, so nothing clicks. Open, what comes out is exactly what went in.
//! Channels are linked.
//!
//! It takes no part in the meters' gain reduction. That is one number for a track, the deepest of
//! its effects, and tells how hard a voice is compressed. A gate is closed most of the time: its
//! `range_db` would stand there whenever nobody sings, in each pause, and in the window in which a
//! word begins, and hide the few decibels that a host looks for. That it is closed shows in the
//! track's level.

use super::Context;
use crate::Frame;
use crate::decibel;
use crate::effect::{Param, linear};
use crate::ramp::Ramp;
pub use crate::switch::State;
use crate::switch::{Settings, Switch};

/// Its parameters.
pub const PARAMS: [Param; 6] = [
    linear("threshold_db", "Threshold", -80.0, 0.0, -50.0, "dB"),
    linear("hysteresis_db", "Hysteresis", 0.0, 12.0, 3.0, "dB"),
    linear("range_db", "Range", 0.0, 80.0, 20.0, "dB"),
    linear("attack_ms", "Attack", 0.1, 50.0, 1.0, "ms"),
    linear("hold_ms", "Hold", 0.0, 500.0, 60.0, "ms"),
    linear("release_ms", "Release", 5.0, 1000.0, 120.0, "ms"),
];

/// The shortest hold: between two peaks of a low voice (100 Hz) no gate closes.
const HOLD_MS_MIN: f32 = 5.0;

/// See the module.
pub struct Gate {
    rate_hz: f32,
    settings: Settings,
    range_db: Ramp,
    changed: bool,
    switch: Switch,
    /// Gain when closed.
    floor: f32,
}

impl Gate {
    /// At its defaults, closed.
    pub fn new(rate_hz: u32) -> Gate {
        let settings = Settings {
            threshold_db: -50.0,
            hysteresis_db: 3.0,
            attack_ms: 1.0,
            hold_ms: 60.0,
            release_ms: 120.0,
        };
        Gate {
            rate_hz: rate_hz as f32,
            settings,
            range_db: Ramp::new(20.0),
            changed: false,
            switch: Switch::new(settings, rate_hz as f32),
            floor: decibel::to_linear(-20.0),
        }
    }

    /// See [`super::Effect::set`].
    pub fn set(&mut self, param: u8, value: f32, samples: u32) {
        match param {
            0 => self.settings.threshold_db = value,
            1 => self.settings.hysteresis_db = value,
            2 => self.range_db.go(value, samples),
            3 => self.settings.attack_ms = value,
            4 => {
                self.settings.hold_ms = if value > HOLD_MS_MIN {
                    value
                } else {
                    HOLD_MS_MIN
                }
            }
            5 => self.settings.release_ms = value,
            _ => return,
        }
        self.changed = true;
        if samples == 0 {
            self.compute();
        }
    }

    /// What it is doing.
    pub const fn state(&self) -> State {
        self.switch.state()
    }

    fn compute(&mut self) {
        self.switch.set(self.settings, self.rate_hz);
        self.floor = decibel::to_linear(-self.range_db.value());
        self.changed = false;
    }

    /// See [`super::Effect::process`].
    pub fn process(&mut self, frames: &mut [Frame], context: &Context<'_>) {
        if context.on_grid && self.changed {
            self.compute();
        }
        for frame in frames {
            let moves = !self.range_db.is_still();
            let range_db = self.range_db.tick();
            if moves {
                self.floor = decibel::to_linear(-range_db);
            }
            self.switch.follow(decibel::peak(*frame));
            let gain = match self.switch.state() {
                State::Open | State::Hold => continue,
                State::Closed => self.floor,
                State::Opening | State::Closing => {
                    decibel::to_linear(range_db * (self.switch.openness() - 1.0))
                }
            };
            *frame = frame.map(|sample| sample * gain);
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::super::Effect;
    use super::super::testing::{Rig, clicks_db, same_in_any_spans, sine};
    use super::State;
    use crate::Kind;
    use std::vec;
    use std::vec::Vec;

    const RATE: u32 = 48_000;

    fn state(rig: &Rig) -> State {
        match &rig.effect {
            Effect::Gate(gate) => gate.state(),
            _ => panic!("not a gate"),
        }
    }

    /// The gate's gain, sample by sample, for a level in dB at each sample; and its states.
    fn gains(rig: &mut Rig, levels: &[f32]) -> (Vec<f32>, Vec<State>) {
        levels
            .iter()
            .enumerate()
            .map(|(n, db)| {
                let sample = 10f32.powf(db / 20.0) * if n.is_multiple_of(2) { 1.0 } else { -1.0 };
                let mut frame = [[sample; 2]];
                rig.run(&mut frame);
                (20.0 * (frame[0][0] / sample).log10(), state(rig))
            })
            .unzip()
    }

    /// For so many ms at a level in dB.
    fn part(ms: usize, db: f32) -> Vec<f32> {
        vec![db; ms * 48]
    }

    /// Milliseconds spent in a state.
    fn spent(states: &[State], wanted: State) -> f32 {
        states.iter().filter(|state| **state == wanted).count() as f32 / 48.0
    }

    #[test]
    fn states_and_times_are_as_stated() {
        for (attack, hold, release, range) in [
            (1.0, 60.0, 120.0, 20.0),
            (10.0, 200.0, 300.0, 40.0),
            (50.0, 20.0, 50.0, 80.0),
        ] {
            let mut rig = Rig::new(Kind::Gate, RATE);
            for (param, value) in [(2, range), (3, attack), (4, hold), (5, release)] {
                rig.set(param, value, 0);
            }
            let levels = [part(50, -60.0), part(200, -20.0), part(800, -60.0)].concat();
            let (gain, states) = gains(&mut rig, &levels);
            assert!((gain[0] + range).abs() < 0.01);
            let mut order = states.clone();
            order.dedup();
            assert_eq!(
                order,
                [
                    State::Closed,
                    State::Opening,
                    State::Open,
                    State::Hold,
                    State::Closing,
                    State::Closed
                ]
            );
            let measured = [State::Opening, State::Hold, State::Closing].map(|s| spent(&states, s));
            std::println!(
                "gate: attack {attack} measured {:.2}, hold {hold} measured {:.2}, release {release} measured {:.2} ms",
                measured[0],
                measured[1],
                measured[2]
            );
            for (ms, stated) in measured.into_iter().zip([attack, hold, release]) {
                assert!((ms / stated - 1.0).abs() < 0.05, "{ms} ms for {stated}");
            }
            // Open is exactly unity, and the way has no step larger than the S's steepest.
            let end = 250 * 48 - 1;
            assert_eq!(gain[end], 0.0);
            let steepest = 1.6 * range / (48.0 * attack.min(release));
            let step = gain.windows(2).map(|g| (g[1] - g[0]).abs());
            assert!(step.fold(0.0, f32::max) < steepest);
        }
    }

    #[test]
    fn hysteresis_keeps_it_open_between_the_thresholds() {
        let mut rig = Rig::new(Kind::Gate, RATE);
        // −51.5 dB: too quiet to open, loud enough to stay open.
        gains(&mut rig, &part(300, -51.5));
        assert_eq!(state(&rig), State::Closed);
        gains(&mut rig, &part(10, -49.5));
        assert_eq!(state(&rig), State::Open);
        gains(&mut rig, &part(300, -51.5));
        assert_eq!(state(&rig), State::Open);
        gains(&mut rig, &part(300, -53.5));
        assert_eq!(state(&rig), State::Closed);
    }

    #[test]
    fn it_opens_again_from_half_way_without_a_jump() {
        let mut rig = Rig::new(Kind::Gate, RATE);
        let levels = [part(50, -20.0), part(60 + 60, -60.0), part(20, -20.0)].concat();
        let (gain, states) = gains(&mut rig, &levels);
        assert_eq!(states[170 * 48 - 1], State::Closing);
        assert!(states.contains(&State::Opening) && gain[190 * 48 - 1] == 0.0);
        let step = gain[51 * 48..].windows(2).map(|g| (g[1] - g[0]).abs());
        assert!(step.fold(0.0, f32::max) < 1.6 * 20.0 / 48.0);
    }

    #[test]
    fn a_low_note_never_chatters_even_without_hold() {
        let mut rig = Rig::new(Kind::Gate, RATE);
        rig.set(4, 0.0, 0);
        rig.set(1, 0.0, 0);
        let mut frames = sine(110.0, 0.004, RATE, 48_000);
        let before = frames.clone();
        rig.run(&mut frames);
        assert_eq!(frames[4800..], before[4800..]);
    }

    #[test]
    fn either_side_opens_both() {
        let mut rig = Rig::new(Kind::Gate, RATE);
        let mut frames = vec![[1e-4, 0.5]; 480];
        rig.run(&mut frames);
        assert_eq!(frames[479], [1e-4, 0.5]);
    }

    #[test]
    fn nothing_clicks() {
        for (param, what) in Kind::Gate.params().iter().enumerate() {
            let db = clicks_db(Kind::Gate, &[(0, -3.0)], param);
            std::println!("gate: {} at {db:.1} dB", what.id);
            assert!(db < -60.0, "{} clicks: {db} dB", what.id);
        }
    }

    #[test]
    fn spans_do_not_matter() {
        same_in_any_spans(Kind::Gate, 48_000);
        same_in_any_spans(Kind::Gate, 44_100);
    }
}
