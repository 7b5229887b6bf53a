//! The effects, one algorithm a file. Each owns its table of parameters, says how much delay memory
//! it needs and how much it delays, and computes a span of frames in place.

pub mod compressor;
pub mod deesser;
pub mod duck;
pub mod echo;
pub mod eq;
pub mod feedback;
pub mod gain;
pub mod gate;
pub mod hpf;
pub mod limiter;
pub mod reverb;
#[cfg(test)]
mod testing;

use crate::effect::Kind;
use crate::report::Report;
use crate::{Frame, Tables};

/// What an effect needs to know besides its own state.
pub struct Context<'a> {
    /// Its delay memory, which nobody else touches.
    pub memory: &'a mut [f32],
    /// Shared constants.
    pub tables: &'a Tables,
    /// Whether the span begins on the grid: the only moment for what happens now and then.
    pub on_grid: bool,
    /// What its side chain hears: the highest peak, linear, of the last cell of the grid.
    pub key: f32,
}

/// Any effect.
#[expect(
    clippy::large_enum_variant,
    reason = "slots are claimed once and are all alike"
)]
pub enum Effect {
    /// See [`gain`].
    Gain(gain::Gain),
    /// See [`hpf`].
    Hpf(hpf::Hpf),
    /// See [`gate`].
    Gate(gate::Gate),
    /// See [`compressor`].
    Compressor(compressor::Compressor),
    /// See [`eq`].
    Eq(eq::Eq),
    /// See [`deesser`].
    Deesser(deesser::Deesser),
    /// See [`echo`].
    Echo(echo::Echo),
    /// See [`reverb`].
    Reverb(reverb::Reverb),
    /// See [`limiter`].
    Limiter(limiter::Limiter),
    /// See [`duck`].
    Duck(duck::Duck),
    /// See [`feedback`].
    Feedback(feedback::Feedback),
}

impl Effect {
    /// A new effect with its parameters at their defaults.
    pub fn new(kind: Kind, rate_hz: u32) -> Effect {
        match kind {
            Kind::Gain => Effect::Gain(gain::Gain::new()),
            Kind::Hpf => Effect::Hpf(hpf::Hpf::new(rate_hz)),
            Kind::Gate => Effect::Gate(gate::Gate::new(rate_hz)),
            Kind::Compressor => Effect::Compressor(compressor::Compressor::new(rate_hz)),
            Kind::Eq => Effect::Eq(eq::Eq::new(rate_hz)),
            Kind::Deesser => Effect::Deesser(deesser::Deesser::new(rate_hz)),
            Kind::Echo => Effect::Echo(echo::Echo::new(rate_hz)),
            Kind::Reverb => Effect::Reverb(reverb::Reverb::new(rate_hz)),
            Kind::Limiter => Effect::Limiter(limiter::Limiter::new(rate_hz)),
            Kind::Duck => Effect::Duck(duck::Duck::new(rate_hz)),
            Kind::Feedback => Effect::Feedback(feedback::Feedback::new(rate_hz)),
        }
    }

    /// Which it is.
    pub const fn kind(&self) -> Kind {
        match self {
            Effect::Gain(_) => Kind::Gain,
            Effect::Hpf(_) => Kind::Hpf,
            Effect::Gate(_) => Kind::Gate,
            Effect::Compressor(_) => Kind::Compressor,
            Effect::Eq(_) => Kind::Eq,
            Effect::Deesser(_) => Kind::Deesser,
            Effect::Echo(_) => Kind::Echo,
            Effect::Reverb(_) => Kind::Reverb,
            Effect::Limiter(_) => Kind::Limiter,
            Effect::Duck(_) => Kind::Duck,
            Effect::Feedback(_) => Kind::Feedback,
        }
    }

    /// Moves a parameter to a value within so many samples (0: at once). What is not a value of the
    /// parameter, or no number, is ignored.
    pub fn set(&mut self, param: u8, value: f32, samples: u32) {
        let params = self.kind().params();
        if !params
            .get(usize::from(param))
            .is_some_and(|param| (param.min as f32..=param.max as f32).contains(&value))
        {
            return;
        }
        match self {
            Effect::Gain(effect) => effect.set(param, value, samples),
            Effect::Hpf(effect) => effect.set(param, value, samples),
            Effect::Gate(effect) => effect.set(param, value, samples),
            Effect::Compressor(effect) => effect.set(param, value, samples),
            Effect::Eq(effect) => effect.set(param, value, samples),
            Effect::Deesser(effect) => effect.set(param, value, samples),
            Effect::Echo(effect) => effect.set(param, value, samples),
            Effect::Reverb(effect) => effect.set(param, value, samples),
            Effect::Limiter(effect) => effect.set(param, value, samples),
            Effect::Duck(effect) => effect.set(param, value, samples),
            Effect::Feedback(effect) => effect.set(param, value, samples),
        }
    }

    /// Computes a span in place.
    pub fn process(&mut self, frames: &mut [Frame], context: Context<'_>) {
        match self {
            Effect::Gain(effect) => effect.process(frames),
            Effect::Hpf(effect) => effect.process(frames, &context),
            Effect::Gate(effect) => effect.process(frames, &context),
            Effect::Compressor(effect) => effect.process(frames, &context),
            Effect::Eq(effect) => effect.process(frames, &context),
            Effect::Deesser(effect) => effect.process(frames, &context),
            Effect::Echo(effect) => effect.process(frames, context),
            Effect::Reverb(effect) => effect.process(frames, context),
            Effect::Limiter(effect) => effect.process(frames, context),
            Effect::Duck(effect) => effect.process(frames, &context),
            Effect::Feedback(effect) => effect.process(frames, context),
        }
    }

    /// The least gain since the last call, linear; 1 for effects that do not reduce.
    pub fn take_reduction(&mut self) -> f32 {
        match self {
            Effect::Compressor(effect) => effect.take_reduction(),
            Effect::Deesser(effect) => effect.take_reduction(),
            Effect::Limiter(effect) => effect.take_reduction(),
            Effect::Duck(effect) => effect.take_reduction(),
            _ => 1.0,
        }
    }

    /// Is told whether it is bypassed.
    pub fn bypass(&mut self, on: bool) {
        if let Effect::Feedback(effect) = self {
            effect.bypass(on);
        }
    }

    /// What the control side does not know yet of the effect in a slot.
    pub fn take_news(&mut self, slot: u8) -> Option<Report> {
        match self {
            Effect::Feedback(effect) => effect.take_news(slot),
            _ => None,
        }
    }

    /// Whether it is a limiter.
    pub const fn is_limiter(&self) -> bool {
        matches!(self, Effect::Limiter(_))
    }
}

#[cfg(test)]
mod tests {
    use super::Effect;
    use super::testing::{Rig, noise};
    use crate::Kind;

    #[test]
    fn what_is_not_a_value_is_ignored() {
        for kind in Kind::ALL {
            assert_eq!(Effect::new(kind, 48_000).kind(), kind);
            let mut plain = Rig::new(kind, 48_000);
            let mut pestered = Rig::new(kind, 48_000);
            for param in 0..=u8::MAX {
                for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1e9, 1e9] {
                    for samples in [0, 960] {
                        pestered.set(param, value, samples);
                    }
                }
            }
            let (mut a, mut b) = (noise(9600), noise(9600));
            plain.run(&mut a);
            pestered.run(&mut b);
            assert!(a == b, "{}", kind.name());
        }
    }

    #[test]
    fn tables_are_sound() {
        for kind in Kind::ALL {
            assert!(kind.params().len() <= crate::PARAMS_MAX);
            for param in kind.params() {
                assert!(param.min < param.max);
                assert!((param.min..=param.max).contains(&param.default));
            }
        }
    }
}
