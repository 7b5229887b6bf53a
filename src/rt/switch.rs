//! A switch that a level operates: hysteresis, hold, and a way of set length between its two ends.
//!
//! The state machine of U. Zölzer, "DAFX: Digital Audio Effects" (2nd ed., 2011, chapter 4), with
//! hysteresis: from [`State::Closed`] a level at the threshold leads through [`State::Opening`] to
//! [`State::Open`]; when every level is below threshold − hysteresis, [`State::Hold`] waits, and
//! [`State::Closing`] leads back. A level at the threshold opens it again from wherever it is.

use crate::decibel;

/// What it is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// At the closed end.
    Closed,
    /// On its way to the open end.
    Opening,
    /// At the open end, and hears something.
    Open,
    /// At the open end, and hears nothing.
    Hold,
    /// On its way back.
    Closing,
}

/// How it is set. Times are of the whole way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// dB of full scale.
    pub threshold_db: f32,
    /// It closes so many dB below.
    pub hysteresis_db: f32,
    /// Closed to open.
    pub attack_ms: f32,
    /// Open with nothing heard.
    pub hold_ms: f32,
    /// Open to closed.
    pub release_ms: f32,
}

/// See the module.
pub struct Switch {
    /// Linear levels.
    opens_at: f32,
    closes_below: f32,
    /// Of the way, each sample.
    attack_step: f32,
    release_step: f32,
    hold: u32,
    state: State,
    way: f32,
    /// Samples of [`State::Hold`] that are left.
    left: u32,
}

impl Switch {
    /// Closed.
    pub fn new(settings: Settings, rate_hz: f32) -> Switch {
        let mut switch = Switch {
            opens_at: 1.0,
            closes_below: 1.0,
            attack_step: 1.0,
            release_step: 1.0,
            hold: 1,
            state: State::Closed,
            way: 0.0,
            left: 0,
        };
        switch.set(settings, rate_hz);
        switch
    }

    /// Sets it, wherever it is.
    pub fn set(&mut self, settings: Settings, rate_hz: f32) {
        let per_ms = 0.001 * rate_hz;
        self.opens_at = decibel::to_linear(settings.threshold_db);
        self.closes_below = decibel::to_linear(settings.threshold_db - settings.hysteresis_db);
        let step = |ms: f32| {
            let samples = ms * per_ms;
            if samples > 1.0 { 1.0 / samples } else { 1.0 }
        };
        self.attack_step = step(settings.attack_ms);
        self.release_step = step(settings.release_ms);
        self.hold = (settings.hold_ms * per_ms) as u32;
    }

    /// What it is doing.
    pub const fn state(&self) -> State {
        self.state
    }

    /// How far it is open, as an S without corners: 0 closed, 1 open.
    #[inline]
    pub fn openness(&self) -> f32 {
        self.way * self.way * (3.0 - 2.0 * self.way)
    }

    /// One sample, at a level (linear, 0 or more).
    #[inline]
    pub fn follow(&mut self, level: f32) {
        if level >= self.opens_at && matches!(self.state, State::Closed | State::Closing) {
            self.state = State::Opening;
        }
        match self.state {
            State::Closed => {}
            State::Opening => {
                self.way += self.attack_step;
                if self.way >= 1.0 {
                    self.way = 1.0;
                    self.state = State::Open;
                }
            }
            State::Open | State::Hold if level >= self.closes_below => {
                self.state = State::Open;
            }
            State::Open => {
                self.state = State::Hold;
                self.left = self.hold;
            }
            State::Hold => {
                self.left = self.left.saturating_sub(1);
                if self.left == 0 {
                    self.state = State::Closing;
                }
            }
            State::Closing => {
                self.way -= self.release_step;
                if self.way <= 0.0 {
                    self.way = 0.0;
                    self.state = State::Closed;
                }
            }
        }
    }
}
