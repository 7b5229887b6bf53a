//! Ramps: how every number that is heard gets from one value to another.
//!
//! Along a smooth step (3t² − 2t³): a straight line's corners would be heard as ticks on a low note.

/// A value on its way to another, sample by sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ramp {
    value: f32,
    from: f32,
    target: f32,
    at: u32,
    len: u32,
    per: f32,
}

impl Ramp {
    /// At rest at a value.
    pub const fn new(value: f32) -> Ramp {
        Ramp {
            value,
            from: value,
            target: value,
            at: 0,
            len: 0,
            per: 0.0,
        }
    }

    /// Is there at once.
    pub fn snap(&mut self, value: f32) {
        *self = Ramp::new(value);
    }

    /// Will be there after so many samples (0: at once).
    pub fn go(&mut self, target: f32, samples: u32) {
        if samples == 0 || target == self.value {
            self.snap(target);
            return;
        }
        *self = Ramp {
            value: self.value,
            from: self.value,
            target,
            at: 0,
            len: samples,
            per: 1.0 / samples as f32,
        };
    }

    /// The value of the next sample.
    #[inline]
    pub fn tick(&mut self) -> f32 {
        if self.at < self.len {
            self.advance(1);
        }
        self.value
    }

    /// Skips so many samples; the same as calling [`Ramp::tick`] as often.
    pub fn skip(&mut self, samples: usize) -> f32 {
        if self.at < self.len {
            self.advance(u32::try_from(samples).unwrap_or(u32::MAX));
        }
        self.value
    }

    fn advance(&mut self, samples: u32) {
        self.at = self.at.saturating_add(samples).min(self.len);
        if self.at == self.len {
            self.snap(self.target);
        } else {
            let t = self.at as f32 * self.per;
            self.value = self.from + (self.target - self.from) * (t * t * (3.0 - 2.0 * t));
        }
    }

    /// The present value.
    pub const fn value(&self) -> f32 {
        self.value
    }

    /// Where it is going.
    pub const fn target(&self) -> f32 {
        self.target
    }

    /// Whether it has arrived.
    pub const fn is_still(&self) -> bool {
        self.at == self.len
    }

    /// Whether it rests at a value.
    pub fn rests_at(&self, value: f32) -> bool {
        self.is_still() && self.value == value
    }
}
