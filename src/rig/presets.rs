//! Presets of single effects: those that came with the box, and those that users keep.

use std::collections::BTreeMap;

use rigd_rt::Kind;

use super::state::{defaults, parameter};

/// Presets that users can keep for one kind of effect.
pub const PRESETS_MAX: usize = 128;

/// Values by parameter. A parameter that a preset does not name stays as it is.
pub type Named = Vec<(&'static str, f64)>;

/// Kind of effect, name, values.
type Factory = (Kind, &'static str, &'static [(&'static str, f64)]);

/// What every effect has: everything at its default.
const DEFAULT: &str = "Default";

/// Those of the box. Reverbs and echoes leave `wet_dry` alone: a preset chooses the sound, and how much
/// of it there is stays what it was, on a bus (1) as in a chain.
#[rustfmt::skip]
const FACTORY: &[Factory] = &[
    (Kind::Gain, "Quieter", &[("volume", 0.5)]),
    (Kind::Gain, "Louder", &[("volume", 2.0)]),
    (Kind::Hpf, "Deep voice", &[("freq", 75.0), ("slope", 12.0)]),
    (Kind::Hpf, "Voice", &[("freq", 100.0), ("slope", 12.0)]),
    (Kind::Hpf, "High voice", &[("freq", 140.0), ("slope", 12.0)]),
    (Kind::Hpf, "Handling noise", &[("freq", 130.0), ("slope", 24.0)]),
    (Kind::Gate, "Gentle", &[("threshold_db", -48.0), ("hysteresis_db", 4.0), ("range_db", 12.0),
        ("attack_ms", 1.0), ("hold_ms", 150.0), ("release_ms", 250.0)]),
    (Kind::Gate, "Loud room", &[("threshold_db", -36.0), ("hysteresis_db", 4.0), ("range_db", 18.0),
        ("attack_ms", 1.0), ("hold_ms", 150.0), ("release_ms", 200.0)]),
    (Kind::Gate, "Tight", &[("threshold_db", -34.0), ("hysteresis_db", 3.0), ("range_db", 40.0),
        ("attack_ms", 0.5), ("hold_ms", 80.0), ("release_ms", 100.0)]),
    (Kind::Compressor, "Gentle", &[("threshold_db", -22.0), ("ratio", 2.0), ("knee_db", 10.0),
        ("attack_ms", 10.0), ("release_ms", 150.0), ("makeup_db", 3.0)]),
    (Kind::Compressor, "Even", &[("threshold_db", -24.0), ("ratio", 3.0), ("knee_db", 8.0), ("attack_ms", 6.0),
        ("release_ms", 120.0), ("makeup_db", 5.0)]),
    (Kind::Compressor, "Up front", &[("threshold_db", -28.0), ("ratio", 4.0), ("knee_db", 6.0),
        ("attack_ms", 4.0), ("release_ms", 100.0), ("makeup_db", 8.0)]),
    (Kind::Compressor, "Talk", &[("threshold_db", -26.0), ("ratio", 4.0), ("knee_db", 8.0), ("attack_ms", 3.0),
        ("release_ms", 200.0), ("makeup_db", 8.0)]),
    (Kind::Eq, "Natural", &[("low_freq", 120.0), ("low_gain_db", 0.0), ("mid1_freq", 300.0),
        ("mid1_gain_db", -2.0), ("mid1_q", 1.0), ("mid2_freq", 3500.0), ("mid2_gain_db", 1.5), ("mid2_q", 0.8),
        ("high_freq", 10_000.0), ("high_gain_db", 1.0)]),
    (Kind::Eq, "Warm", &[("low_freq", 180.0), ("low_gain_db", 2.5), ("mid1_freq", 450.0),
        ("mid1_gain_db", -1.5), ("mid1_q", 1.0), ("mid2_freq", 3000.0), ("mid2_gain_db", -1.5),
        ("mid2_q", 0.8), ("high_freq", 7000.0), ("high_gain_db", -3.0)]),
    (Kind::Eq, "Bright", &[("low_freq", 150.0), ("low_gain_db", -2.0), ("mid1_freq", 350.0),
        ("mid1_gain_db", -3.0), ("mid1_q", 1.0), ("mid2_freq", 4000.0), ("mid2_gain_db", 3.0), ("mid2_q", 0.8),
        ("high_freq", 9000.0), ("high_gain_db", 4.0)]),
    (Kind::Eq, "Clear speech", &[("low_freq", 150.0), ("low_gain_db", -4.0), ("mid1_freq", 300.0),
        ("mid1_gain_db", -4.0), ("mid1_q", 0.9), ("mid2_freq", 2800.0), ("mid2_gain_db", 4.0), ("mid2_q", 0.7),
        ("high_freq", 8000.0), ("high_gain_db", 0.0)]),
    (Kind::Eq, "Less boom", &[("low_freq", 140.0), ("low_gain_db", -5.0), ("mid1_freq", 250.0),
        ("mid1_gain_db", -4.0), ("mid1_q", 1.2), ("mid2_freq", 3000.0), ("mid2_gain_db", 0.0), ("mid2_q", 1.0),
        ("high_freq", 8000.0), ("high_gain_db", 0.0)]),
    (Kind::Eq, "Telephone", &[("low_freq", 350.0), ("low_gain_db", -18.0), ("mid1_freq", 400.0),
        ("mid1_gain_db", -8.0), ("mid1_q", 0.7), ("mid2_freq", 1800.0), ("mid2_gain_db", 9.0), ("mid2_q", 0.8),
        ("high_freq", 3500.0), ("high_gain_db", -18.0)]),
    (Kind::Deesser, "Light", &[("freq", 6500.0), ("threshold_db", -28.0), ("range_db", 5.0)]),
    (Kind::Deesser, "Strong", &[("freq", 6000.0), ("threshold_db", -36.0), ("range_db", 12.0)]),
    (Kind::Echo, "Slap", &[("time_ms", 110.0), ("feedback", 0.08), ("tone_freq", 5500.0)]),
    (Kind::Echo, "Karaoke", &[("time_ms", 260.0), ("feedback", 0.35), ("tone_freq", 3500.0)]),
    (Kind::Echo, "Ballad", &[("time_ms", 420.0), ("feedback", 0.42), ("tone_freq", 3000.0)]),
    (Kind::Echo, "Canyon", &[("time_ms", 700.0), ("feedback", 0.55), ("tone_freq", 2500.0)]),
    (Kind::Reverb, "Room", &[("room_size", 0.15), ("damping", 0.5), ("pre_delay", 5.0), ("high_freq", 9000.0),
        ("low_freq", 150.0)]),
    (Kind::Reverb, "Plate", &[("room_size", 0.4), ("damping", 0.25), ("pre_delay", 15.0),
        ("high_freq", 10_000.0), ("low_freq", 200.0)]),
    (Kind::Reverb, "Hall", &[("room_size", 0.6), ("damping", 0.5), ("pre_delay", 25.0), ("high_freq", 7500.0),
        ("low_freq", 150.0)]),
    (Kind::Reverb, "Big hall", &[("room_size", 0.85), ("damping", 0.45), ("pre_delay", 40.0),
        ("high_freq", 7000.0), ("low_freq", 180.0)]),
    (Kind::Reverb, "Church", &[("room_size", 1.0), ("damping", 0.6), ("pre_delay", 60.0),
        ("high_freq", 6000.0), ("low_freq", 150.0)]),
    (Kind::Limiter, "Venue", &[("ceiling_db", -3.0), ("release_ms", 120.0)]),
    (Kind::Limiter, "Neighbours", &[("ceiling_db", -12.0), ("release_ms", 200.0)]),
    (Kind::Feedback, "Careful", &[("sensitivity", 0.3), ("depth_db", 12.0), ("width", 0.08)]),
    (Kind::Feedback, "Loud stage", &[("sensitivity", 0.8), ("depth_db", 24.0), ("width", 0.15), ("life_s", 300.0)]),
    (Kind::Duck, "Under the voice", &[("threshold_db", -30.0), ("amount_db", 3.0), ("attack_ms", 120.0),
        ("hold_ms", 600.0), ("release_ms", 1200.0)]),
    (Kind::Duck, "Talkover", &[("threshold_db", -32.0), ("amount_db", 12.0), ("attack_ms", 60.0),
        ("hold_ms", 700.0), ("release_ms", 1000.0)]),
    (Kind::Duck, "Announcement", &[("threshold_db", -36.0), ("amount_db", 24.0), ("attack_ms", 40.0),
        ("hold_ms", 1200.0), ("release_ms", 1500.0)]),
];

fn same(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

/// The box's own presets of a kind.
fn factory(kind: Kind) -> impl Iterator<Item = (&'static str, Named)> {
    let default = kind.params().iter().map(|param| (param.id, param.default));
    let others = FACTORY.iter().filter(move |(of, _, _)| *of == kind);
    std::iter::once((DEFAULT, default.collect()))
        .chain(others.map(|(_, name, values)| (*name, values.to_vec())))
}

/// All values of an effect that is new and has had one of the box's presets loaded.
pub fn from_factory(kind: Kind, name: &str) -> Vec<f64> {
    let mut values = defaults(kind);
    for (id, value) in factory(kind)
        .filter(|(other, _)| same(other, name))
        .flat_map(|(_, values)| values)
    {
        if let Some((index, _)) = parameter(kind, id) {
            values[index] = value;
        }
    }
    values
}

/// What users keep, by kind of effect and name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Presets(BTreeMap<&'static str, BTreeMap<String, Vec<f64>>>);

impl Presets {
    /// Name, whether it came with the box, values: those of the box first.
    pub fn of(&self, kind: Kind) -> Vec<(String, bool, Named)> {
        let kept = self.0.get(kind.name()).into_iter().flatten();
        factory(kind)
            .map(|(name, values)| (name.to_owned(), true, values))
            .chain(kept.map(|(name, values)| (name.clone(), false, named(kind, values))))
            .collect()
    }

    /// The values under a name. The box's names are found in any case.
    pub fn find(&self, kind: Kind, name: &str) -> Option<Named> {
        let mut factory = factory(kind);
        if let Some((_, values)) = factory.find(|(other, _)| same(other, name)) {
            return Some(values);
        }
        let values = self.0.get(kind.name())?.get(name)?;
        Some(named(kind, values))
    }

    /// Whether the box came with it.
    pub fn is_factory(kind: Kind, name: &str) -> bool {
        factory(kind).any(|(other, _)| same(other, name))
    }

    /// Whether one more name fits.
    pub fn has_room(&self, kind: Kind, name: &str) -> bool {
        let kept = self.0.get(kind.name());
        kept.is_none_or(|kept| kept.len() < PRESETS_MAX || kept.contains_key(name))
    }

    /// What users keep: kind of effect, name, values in the order of [`Kind::params`].
    pub fn kept(&self) -> impl Iterator<Item = (&'static str, &str, &[f64])> {
        self.0.iter().flat_map(|(kind, kept)| {
            let kept = kept.iter();
            kept.map(|(name, values)| (*kind, name.as_str(), values.as_slice()))
        })
    }

    /// Keeps values under a name.
    pub fn keep(&mut self, kind: Kind, name: &str, values: Vec<f64>) {
        self.0
            .entry(kind.name())
            .or_default()
            .insert(name.to_owned(), values);
    }
}

fn named(kind: Kind, values: &[f64]) -> Named {
    let ids = kind.params().iter().map(|param| param.id);
    ids.zip(values.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boxs_presets_are_values_that_the_effects_can_take() {
        for (kind, preset, values) in FACTORY {
            assert!(Presets::is_factory(*kind, preset));
            assert!(!values.is_empty());
            for (id, value) in *values {
                let (_, param) = parameter(*kind, id).unwrap_or_else(|| panic!("{preset}: {id}"));
                assert!(
                    (param.min..=param.max).contains(value),
                    "{preset}: {id} = {value}"
                );
                assert!(
                    param
                        .step
                        .is_none_or(|step| (value - param.min) % step == 0.0),
                    "{preset}: {id} = {value}"
                );
            }
        }
    }

    #[test]
    fn every_effect_has_some_and_no_name_twice() {
        for kind in Kind::ALL {
            let names: Vec<String> = factory(kind).map(|(name, _)| name.to_lowercase()).collect();
            assert!(names.len() > 2, "{}", kind.name());
            let mut unique = names.clone();
            unique.sort();
            unique.dedup();
            assert_eq!(unique.len(), names.len(), "{}", kind.name());
        }
    }
}
