//! Effects act in the order that was asked for; what is removed comes back once, and clean.

mod common;

use common::*;
use rigd_rt::command::TrackLevel;
use rigd_rt::effects::limiter::MARGIN;
use rigd_rt::{CHAIN_MAX, Command, Kind, Report, SLOTS, TrackKind};

/// A chain as the control side sees it: slots in order.
struct Model {
    rig: Rig,
    random: Random,
    /// Slot and whether it is a limiter (with this ceiling in dB) or a gain (of this factor).
    order: Vec<(u8, Effect)>,
    free: Vec<u8>,
    leaving: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum Effect {
    Gain(f32),
    Ceiling(f32),
}

/// Memory of slot `n`, for whichever effect is in it.
fn memory(slot: u8) -> u32 {
    u32::from(slot) * Kind::Limiter.memory(RATE_HZ) as u32
}

impl Model {
    fn new(seed: u64) -> Model {
        Model {
            rig: Rig::desk(RATE_HZ),
            random: Random(seed),
            order: Vec::new(),
            free: (0..40).collect(),
            leaving: Vec::new(),
        }
    }

    fn change(&mut self) -> Vec<Command> {
        match self.random.below(3) {
            0 if self.order.len() < CHAIN_MAX && !self.free.is_empty() => {
                let slot = self.free.remove(self.random.below(self.free.len()));
                let position = self.random.below(self.order.len() + 1);
                // Gains and limiters do not commute: the value that comes out tells the order.
                let (kind, effect, value) = if self.random.chance(0.6) {
                    let gain = 0.6 + self.random.unit() as f32;
                    (Kind::Gain, Effect::Gain(gain), gain)
                } else {
                    let ceiling_db = -12.0 * self.random.unit() as f32;
                    (Kind::Limiter, Effect::Ceiling(ceiling_db), ceiling_db)
                };
                self.order.insert(position, (slot, effect));
                let add = Command::AddEffect {
                    track: STEM,
                    slot,
                    kind,
                    position: position as u8,
                    memory: memory(slot),
                    memory_len: kind.memory(RATE_HZ) as u32,
                };
                vec![add, set(slot, 0, value)]
            }
            1 if !self.order.is_empty() => {
                let (slot, _) = self.order.remove(self.random.below(self.order.len()));
                self.leaving.push(slot);
                vec![Command::RemoveEffect { slot }]
            }
            _ if !self.order.is_empty() => {
                let moved = self.order.remove(self.random.below(self.order.len()));
                let position = self.random.below(self.order.len() + 1);
                self.order.insert(position, moved);
                vec![Command::MoveEffect {
                    slot: moved.0,
                    position: position as u8,
                }]
            }
            _ => Vec::new(),
        }
    }

    /// Runs on a constant input and gives what comes out last.
    fn run(&mut self, frames: usize) -> f32 {
        let [left, right] = self.rig.run_twin(&vec![INPUT; frames]);
        assert!(left.iter().all(|sample| sample.is_finite()));
        assert_eq!(left.last(), right.last());
        for report in self.rig.take_reports() {
            if let Report::SlotFreed { slot } = report {
                let at = self.leaving.iter().position(|leaving| *leaving == slot);
                self.leaving
                    .remove(at.expect("freed once, and only what was removed"));
                self.free.push(slot);
            }
        }
        left.last().copied().unwrap_or_default()
    }

    /// What a constant must come out as, once all is settled.
    fn expected(&self) -> f32 {
        self.order
            .iter()
            .fold(INPUT, |value, (_, effect)| match effect {
                Effect::Gain(gain) => value * gain,
                Effect::Ceiling(db) => {
                    let ceiling = 10f32.powf(db / 20.0);
                    // The limiter keeps a little below its ceiling, for the moving gain.
                    if value > ceiling * MARGIN {
                        ceiling * MARGIN
                    } else {
                        value
                    }
                }
            })
    }
}

const INPUT: f32 = 0.4;

#[test]
fn effects_act_in_the_order_of_a_plain_list() {
    for seed in 0..40 {
        let mut model = Model::new(seed);
        model.run(500);
        for _ in 0..5 {
            // Several before the earlier ones have finished, in one group and in many.
            for _ in 0..1 + model.random.below(12) {
                let group: Vec<Command> = (0..1 + model.random.below(4))
                    .flat_map(|_| model.change())
                    .collect();
                model.rig.now(&group);
                let wait = model.random.below(400);
                model.run(wait);
            }
            // All limiters at rest: their release is a few hundred ms at most.
            let found = model.run(120_000);
            let expected = model.expected();
            assert!(
                (found / expected - 1.0).abs() < 2e-3,
                "seed {seed}: {found} and not {expected} for {:?}",
                model.order
            );
            assert_eq!(
                model.leaving,
                [],
                "seed {seed}: all removed slots came back"
            );
        }
    }
}

#[test]
fn more_that_leave_at_once_than_a_chain_has_room_for_all_come_back() {
    let mut rig = Rig::desk(RATE_HZ);
    rig.silence(64);
    let mut live = Vec::new();
    for _ in 0..6 {
        let mut group: Vec<Command> = live
            .drain(..)
            .map(|slot| Command::RemoveEffect { slot })
            .collect();
        for position in 0..CHAIN_MAX as u8 {
            let (slot, add) = rig.effect(STEM, Kind::Gain, position);
            group.push(add);
            live.push(slot);
        }
        rig.now(&group);
        rig.silence(64);
    }
    rig.silence(48_000);
    let mut freed: Vec<u8> = freed_slots(&rig.take_reports());
    freed.sort_unstable();
    assert_eq!(freed, (0..40).collect::<Vec<u8>>());
}

fn freed_slots(reports: &[Report]) -> Vec<u8> {
    reports
        .iter()
        .filter_map(|report| match report {
            Report::SlotFreed { slot } => Some(*slot),
            _ => None,
        })
        .collect()
}

#[test]
fn memory_is_clean_when_its_slot_is_freed() {
    let mut rig = Rig::desk(RATE_HZ);
    let adds = [Kind::Reverb, Kind::Limiter, Kind::Reverb].map(|kind| rig.effect(STEM, kind, 8).1);
    rig.now(&adds);
    rig.run_twin(&noise(1, 20_000, 0.9));
    rig.now(&[
        Command::RemoveEffect { slot: 0 },
        Command::RemoveEffect { slot: 1 },
    ]);
    let mut freed = Vec::new();
    while freed.len() < 2 {
        rig.run_twin(&noise(2, 64, 0.9));
        freed.extend(freed_slots(&rig.take_reports()));
        assert!(rig.engine.frame() < 100_000, "not freed within 2 s");
    }
    let (reverb, limiter) = (Kind::Reverb.memory(RATE_HZ), Kind::Limiter.memory(RATE_HZ));
    let pool = rig.engine.into_pool();
    assert!(pool[..reverb + limiter].iter().all(|sample| *sample == 0.0));
    assert!(pool[reverb + limiter..].iter().any(|sample| *sample != 0.0));
}

#[test]
fn a_removed_track_takes_its_effects_along_and_comes_back_after_them() {
    let mut rig = Rig::desk(RATE_HZ);
    let adds = Kind::ALL.map(|kind| rig.effect(STEM, kind, 8).1);
    rig.now(&adds);
    rig.run_twin(&noise(1, 10_000, 0.9));
    rig.now(&[Command::RemoveTrack { track: STEM }]);
    let [left, _] = rig.run_twin(&noise(2, 48_000, 0.9));
    assert!(left[600..].iter().all(|sample| *sample == 0.0));
    let freed: Vec<Report> = rig
        .take_reports()
        .into_iter()
        .filter(|report| matches!(report, Report::SlotFreed { .. } | Report::TrackFreed { .. }))
        .collect();
    assert_eq!(freed.len(), Kind::ALL.len() + 1, "each once: {freed:?}");
    assert_eq!(freed[Kind::ALL.len()], Report::TrackFreed { track: STEM });
    assert!(rig.engine.into_pool().iter().all(|sample| *sample == 0.0));
}

#[test]
fn a_full_report_ring_loses_no_freed_slot_and_no_freed_track() {
    let mut rig = Rig::desk(RATE_HZ);
    let adds = Kind::ALL.map(|kind| rig.effect(STEM, kind, 8).1);
    rig.now(&adds);
    rig.run_twin(&noise(1, 1_000, 0.9));
    rig.now(&[Command::RemoveTrack { track: STEM }]);
    rig.run_twin(&noise(1, 64, 0.9));
    // Nothing fits for two seconds, and then one report at a time.
    rig.take_reports();
    rig.shelf.places = 0;
    rig.silence(96_000);
    assert_eq!(rig.take_reports(), []);
    rig.shelf.places = 1;
    let mut freed = Vec::new();
    for _ in 0..100 {
        rig.silence(64);
        freed.extend(rig.take_reports());
    }
    let slots = freed_slots(&freed);
    assert_eq!(slots.len(), Kind::ALL.len());
    assert_eq!(
        freed[Kind::ALL.len()..],
        [Report::TrackFreed { track: STEM }]
    );
}

#[test]
fn every_slot_can_be_used_again_and_again() {
    let mut rig = Rig::desk(RATE_HZ);
    for round in 0..3 {
        let slots: Vec<u8> = (0..SLOTS as u8).collect();
        for chunk in slots.chunks(CHAIN_MAX) {
            let adds: Vec<Command> = chunk
                .iter()
                .map(|slot| Command::AddEffect {
                    track: STEM,
                    slot: *slot,
                    kind: Kind::Gain,
                    position: 8,
                    memory: 0,
                    memory_len: 0,
                })
                .chain(chunk.iter().map(|slot| set(*slot, 0, 0.5)))
                .collect();
            rig.now(&adds);
            let [left, _] = rig.run_twin(&[0.5; 1000]);
            let expected = 0.5 * 0.5f32.powi(CHAIN_MAX as i32);
            assert_eq!(left[999], expected, "round {round}");
            let removes: Vec<Command> = chunk
                .iter()
                .map(|slot| Command::RemoveEffect { slot: *slot })
                .collect();
            rig.now(&removes);
            let [left, _] = rig.run_twin(&[0.5; 1000]);
            assert_eq!(left[999], 0.5);
        }
        let mut freed = freed_slots(&rig.take_reports());
        freed.sort_unstable();
        assert_eq!(freed, slots, "round {round}");
    }
}

#[test]
fn what_is_out_of_range_is_ignored() {
    let mut rig = Rig::desk(RATE_HZ);
    rig.run_twin(&[0.5; 64]);
    for id in [3, 19, 20, 100, 159, 160, 200, 255] {
        rig.now(&[
            Command::RemoveTrack { track: id },
            mono_input(id, 0),
            Command::Level {
                track: id,
                level: TrackLevel::Volume,
                value: 2.0,
            },
            Command::Mute {
                track: id,
                on: true,
            },
            Command::Send {
                track: id,
                bus: id,
                level: 1.0,
            },
            Command::AddEffect {
                track: id,
                slot: 0,
                kind: Kind::Gain,
                position: 255,
                memory: u32::MAX,
                memory_len: u32::MAX,
            },
            Command::RemoveEffect { slot: id },
            Command::MoveEffect {
                slot: id,
                position: id,
            },
            Command::Bypass { slot: id, on: true },
            set(id, id, f32::NAN),
        ]);
        if id >= 20 {
            rig.now(&[add_track(id, TrackKind::Mic)]);
        }
        if id >= 160 {
            rig.now(&[Command::AddEffect {
                track: STEM,
                slot: id,
                kind: Kind::Gain,
                position: 0,
                memory: 0,
                memory_len: 0,
            }]);
        }
    }
    // A place that is taken is not taken anew.
    rig.now(&[add_track(STEM, TrackKind::Bus)]);
    let [left, _] = rig.run_twin(&[0.5; 10_000]);
    assert!(left.iter().all(|sample| *sample == 0.5));
}

#[test]
fn what_is_added_or_moved_does_not_dip_the_level() {
    for (kind, dry) in [
        (Kind::Limiter, None),
        (Kind::Reverb, Some(0)),
        (Kind::Echo, Some(3)),
    ] {
        let mut rig = Rig::desk(RATE_HZ);
        let constant = vec![INPUT; 9_600];
        rig.run_twin(&constant);
        let (slot, add) = rig.effect(STEM, kind, 0);
        let (_, gain) = rig.effect(STEM, Kind::Gain, 1);
        let mut group = vec![add, gain];
        group.extend(dry.map(|wet| set(slot, wet, 0.0)));
        rig.now(&group);
        let [added, _] = rig.run_twin(&constant);
        rig.now(&[Command::MoveEffect { slot, position: 1 }]);
        let [moved, _] = rig.run_twin(&constant);
        let lowest = |signal: &[f32]| signal.iter().copied().fold(f32::MAX, f32::min);
        let (added, moved) = (lowest(&added) / INPUT, lowest(&moved) / INPUT);
        println!("{kind:?}: {added} when added, {moved} when moved");
        assert!(added > 0.9999 && moved > 0.9999, "{kind:?}");
    }
}
