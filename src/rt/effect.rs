//! The kinds of effect and their parameters: what both sides of the ring know of them.

use crate::effects::{
    compressor, deesser, duck, echo, eq, feedback, gain, gate, hpf, limiter, reverb,
};

/// How a control for a parameter should move between its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Equal steps.
    Linear,
    /// Equal ratios.
    Log,
}

/// What a parameter is: the same table serves the engine, the wire and the documentation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Param {
    /// Its name on the wire.
    pub id: &'static str,
    /// Its name for a person.
    pub name: &'static str,
    /// Lowest value, in `unit`.
    pub min: f64,
    /// Highest value, in `unit`.
    pub max: f64,
    /// Value of a new effect.
    pub default: f64,
    /// `""`, `"dB"`, `"Hz"`, `"ms"` …
    pub unit: &'static str,
    /// Where only `min + n * step` is allowed.
    pub step: Option<f64>,
    /// How a control should move.
    pub scale: Scale,
}

/// The built-in effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Kind {
    /// A linear factor.
    Gain,
    /// High-pass filter.
    Hpf,
    /// Downward expander with hysteresis and hold.
    Gate,
    /// Soft-knee compressor.
    Compressor,
    /// Two shelves and two peaks.
    Eq,
    /// Takes sibilants down.
    Deesser,
    /// Feedback delay.
    Echo,
    /// Reverberation.
    Reverb,
    /// Look-ahead true-peak limiter.
    Limiter,
    /// Takes music down while somebody speaks.
    Duck,
    /// Hears howls and puts notches where they are.
    Feedback,
}

impl Kind {
    /// Every kind, in the order of the wire's table, and behind them those that it only names.
    pub const ALL: [Kind; 11] = [
        Kind::Gain,
        Kind::Hpf,
        Kind::Gate,
        Kind::Compressor,
        Kind::Eq,
        Kind::Deesser,
        Kind::Echo,
        Kind::Reverb,
        Kind::Limiter,
        Kind::Duck,
        Kind::Feedback,
    ];

    /// Its name on the wire, behind `builtin:`.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Gain => "gain",
            Kind::Hpf => "hpf",
            Kind::Gate => "gate",
            Kind::Compressor => "compressor",
            Kind::Eq => "eq",
            Kind::Deesser => "deesser",
            Kind::Echo => "echo",
            Kind::Reverb => "reverb",
            Kind::Limiter => "limiter",
            Kind::Duck => "duck",
            Kind::Feedback => "feedback",
        }
    }
}

/// A parameter whose control moves in equal steps.
pub(crate) const fn linear(
    id: &'static str,
    name: &'static str,
    min: f64,
    max: f64,
    default: f64,
    unit: &'static str,
) -> Param {
    Param {
        id,
        name,
        min,
        max,
        default,
        unit,
        step: None,
        scale: Scale::Linear,
    }
}

/// A parameter whose control moves in equal ratios.
pub(crate) const fn log(
    id: &'static str,
    name: &'static str,
    min: f64,
    max: f64,
    default: f64,
    unit: &'static str,
) -> Param {
    Param {
        scale: Scale::Log,
        ..linear(id, name, min, max, default, unit)
    }
}

impl Kind {
    /// Its parameters; the index is the one of [`crate::Command::Set`].
    pub const fn params(self) -> &'static [Param] {
        match self {
            Kind::Gain => &gain::PARAMS,
            Kind::Hpf => &hpf::PARAMS,
            Kind::Gate => &gate::PARAMS,
            Kind::Compressor => &compressor::PARAMS,
            Kind::Eq => &eq::PARAMS,
            Kind::Deesser => &deesser::PARAMS,
            Kind::Echo => &echo::PARAMS,
            Kind::Reverb => &reverb::PARAMS,
            Kind::Limiter => &limiter::PARAMS,
            Kind::Duck => &duck::PARAMS,
            Kind::Feedback => &feedback::PARAMS,
        }
    }

    /// Delay memory that it needs, in samples of the pool, at a rate in Hz.
    pub fn memory(self, sample_rate_hz: u32) -> usize {
        match self {
            Kind::Gain
            | Kind::Hpf
            | Kind::Compressor
            | Kind::Gate
            | Kind::Eq
            | Kind::Deesser
            | Kind::Duck => 0,
            Kind::Echo => echo::memory(sample_rate_hz),
            Kind::Reverb => reverb::memory(sample_rate_hz),
            Kind::Limiter => limiter::memory(sample_rate_hz),
            Kind::Feedback => feedback::memory(sample_rate_hz),
        }
    }

    /// Frames by which it delays what goes through it, at a rate in Hz.
    pub fn latency_frames(self, sample_rate_hz: u32) -> usize {
        match self {
            Kind::Gain
            | Kind::Hpf
            | Kind::Reverb
            | Kind::Compressor
            | Kind::Gate
            | Kind::Eq
            | Kind::Echo
            | Kind::Deesser
            | Kind::Duck
            | Kind::Feedback => 0,
            Kind::Limiter => limiter::latency_frames(sample_rate_hz),
        }
    }
}
