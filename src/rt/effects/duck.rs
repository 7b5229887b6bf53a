//! `duck`: takes what goes through it down while somebody speaks into a microphone. No latency.
//!
//! A side-chained gain of two levels (U. Zölzer, "DAFX: Digital Audio Effects", 2nd ed., 2011, chapter
//! 4; the state machine is that of [`crate::switch`]): at rest what comes out is exactly what went in,
//! and while a microphone's peaks are at the threshold it is `amount_db` down. Attack and release are
//! the whole way, an S in decibels: it has no corners, so nothing clicks. The hold spans the pauses
//! between words.
//!
//! The key is what is heard of the microphones, behind their effects and faders: a muted one ducks
//! nothing. Its peak is taken over each cell of the grid, so the ducker answers at most 2 × 32 frames
//! later.

use super::Context;
use crate::Frame;
use crate::decibel;
use crate::effect::{Param, linear};
use crate::ramp::Ramp;
use crate::switch::{Settings, State, Switch};

/// Its parameters. `mic` is for the control side, which tells the engine the places that are meant
/// ([`crate::Command::Sidechain`]).
pub const PARAMS: [Param; 6] = [
    Param {
        step: Some(1.0),
        ..linear("mic", "Microphone (0: all)", 0.0, 15.0, 0.0, "")
    },
    linear("threshold_db", "Threshold", -60.0, 0.0, -30.0, "dB"),
    linear("amount_db", "Amount", 0.0, 40.0, 10.0, "dB"),
    linear("attack_ms", "Attack", 5.0, 500.0, 80.0, "ms"),
    linear("hold_ms", "Hold", 0.0, 2000.0, 500.0, "ms"),
    linear("release_ms", "Release", 50.0, 5000.0, 800.0, "ms"),
];

/// A voice that hovers about the threshold does not make it flutter.
const HYSTERESIS_DB: f32 = 4.0;

/// See the module.
pub struct Duck {
    rate_hz: f32,
    settings: Settings,
    amount_db: Ramp,
    changed: bool,
    switch: Switch,
    /// Gain while somebody speaks.
    down: f32,
    /// Least gain since it was last asked for.
    least: f32,
}

impl Duck {
    /// At its defaults, at rest.
    pub fn new(rate_hz: u32) -> Duck {
        let settings = Settings {
            threshold_db: -30.0,
            hysteresis_db: HYSTERESIS_DB,
            attack_ms: 80.0,
            hold_ms: 500.0,
            release_ms: 800.0,
        };
        Duck {
            rate_hz: rate_hz as f32,
            settings,
            amount_db: Ramp::new(10.0),
            changed: false,
            switch: Switch::new(settings, rate_hz as f32),
            down: decibel::to_linear(-10.0),
            least: 1.0,
        }
    }

    /// See [`super::Effect::set`].
    pub fn set(&mut self, param: u8, value: f32, samples: u32) {
        match param {
            1 => self.settings.threshold_db = value,
            2 => self.amount_db.go(value, samples),
            3 => self.settings.attack_ms = value,
            4 => self.settings.hold_ms = value,
            5 => self.settings.release_ms = value,
            _ => return,
        }
        self.changed = true;
        if samples == 0 {
            self.compute();
        }
    }

    fn compute(&mut self) {
        self.switch.set(self.settings, self.rate_hz);
        self.down = decibel::to_linear(-self.amount_db.value());
        self.changed = false;
    }

    /// See [`super::Effect::process`].
    pub fn process(&mut self, frames: &mut [Frame], context: &Context<'_>) {
        if context.on_grid && self.changed {
            self.compute();
        }
        for frame in frames {
            let moves = !self.amount_db.is_still();
            let amount_db = self.amount_db.tick();
            if moves {
                self.down = decibel::to_linear(-amount_db);
            }
            self.switch.follow(context.key);
            let gain = match self.switch.state() {
                State::Closed => continue,
                State::Open | State::Hold => self.down,
                State::Opening | State::Closing => {
                    decibel::to_linear(-amount_db * self.switch.openness())
                }
            };
            if gain < self.least {
                self.least = gain;
            }
            *frame = frame.map(|sample| sample * gain);
        }
    }

    /// The least gain since the last call, linear.
    pub fn take_reduction(&mut self) -> f32 {
        core::mem::replace(&mut self.least, 1.0)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::super::testing::{Rig, clicks_db, same_in_any_spans, sine};
    use crate::{Frame, Kind};
    use std::vec::Vec;

    const RATE: u32 = 48_000;

    fn level(frames: &[Frame]) -> f64 {
        let power: f64 = frames.iter().map(|frame| f64::from(frame[0]).powi(2)).sum();
        10.0 * (2.0 * power / frames.len() as f64).log10()
    }

    /// Music at full scale while somebody speaks from one second to two.
    fn spoken_over(settings: &[(u8, f32)]) -> Vec<Frame> {
        let mut rig = Rig::new(Kind::Duck, RATE);
        for (param, value) in settings {
            rig.set(*param, *value, 0);
        }
        let mut music = sine(1000.0, 1.0, RATE, 5 * RATE as usize);
        for (second, part) in music.chunks_mut(RATE as usize).enumerate() {
            rig.key = if second == 1 { 0.2 } else { 0.001 };
            rig.run(part);
        }
        music
    }

    fn at_ms(frames: &[Frame], ms: usize) -> f64 {
        level(&frames[ms * 48 - 240..ms * 48 + 240])
    }

    #[test]
    fn it_goes_down_by_the_amount_holds_and_comes_back() {
        for amount in [3.0, 10.0, 40.0] {
            let music = spoken_over(&[(2, amount)]);
            let amount = f64::from(amount);
            assert_eq!(
                &music[..RATE as usize],
                &sine(1000.0, 1.0, RATE, RATE as usize)[..],
                "at rest it changes nothing"
            );
            for (ms, expected) in [
                (1040, -amount / 2.0),
                (1090, -amount),
                (1990, -amount),
                (2490, -amount),
                (2900, -amount / 2.0),
                (3310, 0.0),
            ] {
                let level = at_ms(&music, ms);
                let slack = 0.1 + amount * 0.05;
                assert!(
                    (level - expected).abs() < slack,
                    "{amount} dB at {ms} ms: {level}"
                );
            }
        }
    }

    #[test]
    fn a_voice_below_the_threshold_ducks_nothing() {
        let music = spoken_over(&[(1, -13.0)]);
        assert_eq!(music, sine(1000.0, 1.0, RATE, music.len()));
    }

    #[test]
    fn what_it_took_away_is_reported_once() {
        let mut rig = Rig::new(Kind::Duck, RATE);
        rig.key = 1.0;
        rig.run(&mut sine(1000.0, 1.0, RATE, RATE as usize));
        let least = 20.0 * rig.effect.take_reduction().log10();
        assert!((least + 10.0).abs() < 0.01, "{least} dB");
        assert_eq!(rig.effect.take_reduction(), 1.0);
    }

    #[test]
    fn nothing_clicks() {
        for (param, what) in Kind::Duck.params().iter().enumerate() {
            let db = clicks_db(Kind::Duck, &[(3, 5.0), (4, 0.0), (5, 50.0)], param);
            assert!(db < -60.0, "{} clicks: {db} dB", what.id);
        }
    }

    #[test]
    fn spans_do_not_matter() {
        same_in_any_spans(Kind::Duck, 48_000);
        same_in_any_spans(Kind::Duck, 44_100);
    }
}
