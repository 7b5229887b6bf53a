//! The same input and the same commands at the same frames give the same bits, whatever the block size;
//! a group takes effect whole and at exactly its frame.

mod common;

use common::karaoke::{Karaoke, night};
use common::*;
use rigd_rt::{
    CHAIN_MAX, Command, Kind, PanicMode, Report, SENDS_MAX, SLOTS, TRACK_PLACES, TRACKS_MAX,
    TrackKind, command::TrackLevel,
};

const CHANNELS: usize = 4;

/// What a careful control side knows: who is live, and what may be used again.
struct Model {
    random: Random,
    tracks: [Place; TRACK_PLACES],
    slots: [Option<Slot>; SLOTS],
    /// Which parts of the pool are whose.
    pool: Vec<(u32, u32)>,
    pool_len: u32,
}

#[derive(Clone)]
struct Place {
    kind: Option<TrackKind>,
    is_leaving: bool,
    sends: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Slot {
    track: u8,
    kind: Kind,
    memory: (u32, u32),
    is_leaving: bool,
}

impl Model {
    fn new(seed: u64, pool_len: usize) -> Model {
        let place = Place {
            kind: None,
            is_leaving: false,
            sends: Vec::new(),
        };
        Model {
            random: Random(seed),
            tracks: std::array::from_fn(|_| place.clone()),
            slots: [None; SLOTS],
            pool: Vec::new(),
            pool_len: pool_len as u32,
        }
    }

    fn hear(&mut self, reports: &[Report]) {
        for report in reports {
            match *report {
                Report::SlotFreed { slot } => {
                    let slot = self.slots[usize::from(slot)].take();
                    let slot = slot.expect("a slot that nobody has is not freed");
                    assert!(slot.is_leaving, "a live slot is not freed");
                    self.pool.retain(|part| *part != slot.memory);
                }
                Report::TrackFreed { track } => {
                    let place = &mut self.tracks[usize::from(track)];
                    assert!(place.kind.is_some() && place.is_leaving);
                    place.kind = None;
                    place.is_leaving = false;
                    place.sends.clear();
                }
                _ => {}
            }
        }
    }

    fn live_tracks(&self, like: impl Fn(TrackKind) -> bool) -> Vec<u8> {
        (0..TRACK_PLACES as u8)
            .filter(|place| {
                let place = &self.tracks[usize::from(*place)];
                !place.is_leaving && place.kind.is_some_and(&like)
            })
            .collect()
    }

    fn live_slots(&self) -> Vec<u8> {
        (0..SLOTS as u8)
            .filter(|slot| self.slots[usize::from(*slot)].is_some_and(|slot| !slot.is_leaving))
            .collect()
    }

    /// First fit.
    fn claim(&mut self, len: u32) -> Option<(u32, u32)> {
        self.pool.sort_unstable();
        let mut start = 0;
        for (from, taken) in &self.pool {
            if start + len <= *from {
                break;
            }
            start = from + taken;
        }
        if start + len > self.pool_len {
            return None;
        }
        if len > 0 {
            self.pool.push((start, len));
        }
        Some((start, len))
    }

    fn add_track(&mut self, kind: TrackKind) -> Option<Command> {
        if self.live_tracks(|_| true).len() >= TRACKS_MAX {
            return None;
        }
        let track = self.tracks.iter().position(|place| place.kind.is_none())?;
        self.tracks[track].kind = Some(kind);
        Some(Command::AddTrack {
            track: track as u8,
            kind,
            stereo: self.random.chance(0.5),
        })
    }

    fn add_effect(&mut self, track: u8, kind: Kind) -> Option<Command> {
        let chain = self.slots.iter().flatten();
        let len = chain
            .filter(|slot| slot.track == track && !slot.is_leaving)
            .count();
        if len >= CHAIN_MAX {
            return None;
        }
        let slot = self.slots.iter().position(Option::is_none)?;
        let memory = self.claim(kind.memory(RATE_HZ) as u32)?;
        self.slots[slot] = Some(Slot {
            track,
            kind,
            memory,
            is_leaving: false,
        });
        Some(Command::AddEffect {
            track,
            slot: slot as u8,
            kind,
            position: self.random.below(CHAIN_MAX) as u8,
            memory: memory.0,
            memory_len: memory.1,
        })
    }

    fn command(&mut self) -> Option<Command> {
        let tracks = self.live_tracks(|_| true);
        let sources = self.live_tracks(|kind| matches!(kind, TrackKind::Mic | TrackKind::Stem));
        let buses = self.live_tracks(|kind| kind == TrackKind::Bus);
        let slots = self.live_slots();
        let dice = self.random.below(100);
        match dice {
            0..5 => {
                let kinds = [TrackKind::Mic, TrackKind::Stem, TrackKind::Bus];
                let kind = self.random.pick(&kinds)?;
                self.add_track(kind)
            }
            5..7 => {
                let but_master = self.live_tracks(|kind| kind != TrackKind::Master);
                let track = self.random.pick(&but_master)?;
                self.tracks[usize::from(track)].is_leaving = true;
                for slot in self.slots.iter_mut().flatten() {
                    slot.is_leaving |= slot.track == track;
                }
                for place in &mut self.tracks {
                    place.sends.retain(|bus| *bus != track);
                }
                Some(Command::RemoveTrack { track })
            }
            7..20 => {
                let track = self.random.pick(&tracks)?;
                let kind = self.random.pick(&Kind::ALL)?;
                self.add_effect(track, kind)
            }
            20..28 => {
                let slot = self.random.pick(&slots)?;
                self.slots[usize::from(slot)].as_mut()?.is_leaving = true;
                Some(Command::RemoveEffect { slot })
            }
            28..36 => Some(Command::MoveEffect {
                slot: self.random.pick(&slots)?,
                position: self.random.below(CHAIN_MAX) as u8,
            }),
            36..43 => Some(Command::Bypass {
                slot: self.random.pick(&slots)?,
                on: self.random.chance(0.5),
            }),
            43..68 => {
                let slot = self.random.pick(&slots)?;
                let params = self.slots[usize::from(slot)]?.kind.params();
                let param = self.random.below(params.len());
                let rigd_rt::Param { min, max, .. } = params[param];
                let value = match self.random.below(4) {
                    0 => min,
                    1 => max,
                    _ => min + (max - min) * self.random.unit(),
                };
                Some(set(slot, param as u8, value as f32))
            }
            68..71 => Some(Command::Tone {
                track: self.random.pick(&tracks)?,
                freq_hz: 20.0 + 19_980.0 * self.random.unit() as f32,
                level: self.random.unit() as f32,
                frames: self.random.below(4_800) as u32,
            }),
            71..74 => Some(Command::Rest {
                slot: self.random.pick(&slots)?,
                on: self.random.chance(0.5),
            }),
            74..78 => {
                let (level, value) = match self.random.below(3) {
                    0 => (TrackLevel::InputGain, self.random.unit() * 4.0),
                    1 => (TrackLevel::Volume, self.random.unit() * 2.0),
                    _ => (TrackLevel::Pan, self.random.unit() * 2.0 - 1.0),
                };
                Some(Command::Level {
                    track: self.random.pick(&tracks)?,
                    level,
                    value: value as f32,
                })
            }
            78..82 => Some(Command::Mute {
                track: self.random.pick(&sources)?,
                on: self.random.chance(0.3),
            }),
            82..85 => Some(Command::Solo {
                track: self.random.pick(&tracks)?,
                on: self.random.chance(0.3),
            }),
            85..92 => {
                let track = self.random.pick(&sources)?;
                let bus = self.random.pick(&buses)?;
                let sends = &mut self.tracks[usize::from(track)].sends;
                if !sends.contains(&bus) {
                    if sends.len() >= SENDS_MAX {
                        return None;
                    }
                    sends.push(bus);
                }
                Some(Command::Send {
                    track,
                    bus,
                    level: self.random.unit() as f32,
                })
            }
            92..98 => Some(Command::Input {
                track: self.random.pick(&sources)?,
                left: self.random.below(CHANNELS + 1) as u8,
                right: self.random.below(CHANNELS + 1) as u8,
                stereo: self.random.chance(0.5),
            }),
            _ => Some(Command::Panic {
                mode: [
                    Some(PanicMode::Mute),
                    Some(PanicMode::Dry),
                    None,
                    None,
                    None,
                ][self.random.below(5)],
            }),
        }
    }
}

fn inputs(seed: u64, frames: usize) -> Vec<Vec<f32>> {
    let mut inputs: Vec<Vec<f32>> = (0..CHANNELS as u64)
        .map(|channel| noise(seed * 17 + channel, frames, 0.3))
        .collect();
    // What a broken driver sends now and then.
    for (frame, sample) in inputs[1].iter_mut().enumerate() {
        match frame % 997 {
            11 => *sample = f32::NAN,
            500 => *sample = 1e-40,
            800 => *sample = f32::INFINITY,
            _ => {}
        }
    }
    inputs
}

fn slices(inputs: &[Vec<f32>]) -> Vec<&[f32]> {
    inputs.iter().map(Vec::as_slice).collect()
}

const POOL: usize = 1_200_000;
const STORM_FRAMES: usize = 24_000;

/// Storms a rig in blocks of 16 frames, as a control side that uses again whatever is freed; gives back
/// everything that it asked for, and what came out.
fn storm(seed: u64, inputs: &[&[f32]]) -> (Vec<Command>, [Vec<f32>; 2], Vec<Report>) {
    let mut rig = Rig::new(RATE_HZ, POOL);
    rig.block = 16;
    let mut model = Model::new(seed, POOL);
    let mut journal = Vec::new();
    let mut reports = Vec::new();
    let mut out = [Vec::new(), Vec::new()];
    let mut begin = vec![model.add_track(TrackKind::Master).unwrap()];
    begin.extend(model.add_effect(0, Kind::Limiter));
    for _ in 0..3 {
        begin.extend(model.add_track(TrackKind::Mic));
        begin.extend(model.add_track(TrackKind::Bus));
    }
    let mut group = begin;
    let mut at = 0;
    while out[0].len() < STORM_FRAMES {
        let from = rig.queue.0.len();
        if !group.is_empty() {
            rig.at(at, &group);
            journal.extend(rig.queue.0.range(from..).copied());
        }
        let done = out[0].len();
        // Mostly one block, sometimes a while.
        let frames = 16 * (1 + model.random.below(3) * model.random.below(20));
        let end = (done + frames).min(STORM_FRAMES);
        let block: Vec<&[f32]> = inputs.iter().map(|input| &input[done..end]).collect();
        let [left, right] = rig.run_frames(end - done, &block);
        out[0].extend(left);
        out[1].extend(right);
        let new = rig.take_reports();
        model.hear(&new);
        reports.extend(new);
        // Sometimes several groups for one frame, mostly odd frames ahead.
        at = at.max(end as u64) + [0, 1, 7, 13, 33][model.random.below(5)];
        group = (0..model.random.below(12))
            .filter_map(|_| model.command())
            .collect();
    }
    (journal, out, reports)
}

#[test]
fn a_storm_sounds_the_same_at_every_block_size() {
    for seed in 1..=6 {
        let inputs = inputs(seed, STORM_FRAMES);
        let inputs = slices(&inputs);
        let (journal, [left, right], reports) = storm(seed, &inputs);
        let loud = left.iter().filter(|sample| sample.abs() > 0.001).count();
        assert!(loud > STORM_FRAMES / 10, "seed {seed}: it hardly sounds");
        let freed = |report: &&Report| matches!(report, Report::SlotFreed { .. });
        assert!(reports.iter().filter(freed).count() > 10);
        assert!(left.iter().chain(&right).all(|sample| sample.is_finite()));
        for block in [1, 16, 64, 128, 441, 1024, 4096] {
            let mut rig = Rig::new(RATE_HZ, POOL);
            rig.block = block;
            rig.queue.0.extend(&journal);
            let [l, r] = rig.run(&inputs);
            let differs = (0..STORM_FRAMES).find(|frame| {
                l[*frame].to_bits() != left[*frame].to_bits()
                    || r[*frame].to_bits() != right[*frame].to_bits()
            });
            assert_eq!(differs, None, "seed {seed}, blocks of {block}: first frame");
            let replayed = rig.take_reports();
            let mut pairs = replayed.iter().zip(&reports);
            let differs = pairs.find(|(replayed, report)| replayed != report);
            assert_eq!(differs, None, "seed {seed}, blocks of {block}");
            assert_eq!(replayed.len(), reports.len());
        }
    }
}

#[test]
fn blocks_of_changing_size_sound_the_same_too() {
    let inputs = inputs(9, STORM_FRAMES);
    let inputs = slices(&inputs);
    let (journal, [left, _], _) = storm(9, &inputs);
    let mut rig = Rig::new(RATE_HZ, POOL);
    rig.queue.0.extend(&journal);
    let mut random = Random(4);
    let mut out = Vec::new();
    while out.len() < STORM_FRAMES {
        rig.block = random.below(300).max(1);
        let end = (out.len() + rig.block).min(STORM_FRAMES);
        let block: Vec<&[f32]> = inputs.iter().map(|input| &input[out.len()..end]).collect();
        // A block of no frames at all changes nothing.
        rig.engine
            .process(&[], [&mut [], &mut []], &mut rig.queue, &mut rig.shelf);
        let [l, _] = rig.run(&block);
        out.extend(l);
    }
    assert!(bits(&out) == bits(&left));
}

#[test]
fn a_full_karaoke_rig_sounds_the_same_at_every_block_size() {
    for rate_hz in [RATE_HZ, 44_100] {
        let frames = rate_hz as usize;
        let inputs = night(1, rate_hz, frames);
        let inputs = slices(&inputs);
        let night = |block: usize| {
            let mut karaoke = Karaoke::new(rate_hz);
            let mut random = Random(7);
            // Mostly odd frames, some on the grid, some at once with others.
            let mut at = 1_000;
            while at < frames as u64 {
                let turn = karaoke.turn(&mut random);
                karaoke.rig.at(at, &turn);
                at += [0, 32, 97, 331, 1_021][random.below(5)];
            }
            karaoke.rig.block = block;
            let [left, right] = karaoke.rig.run(&inputs);
            (left, right, karaoke.rig.take_reports())
        };
        let (left, right, reports) = night(64);
        assert!(left.iter().chain(&right).all(|sample| sample.is_finite()));
        assert!(rms(&left) > 0.05 && left != right, "it hardly sounds");
        let bits_of = [bits(&left), bits(&right)];
        for block in [1, 16, 31, 33, 100, 128, 441, 480, 1024, 4096] {
            let (l, r, meters) = night(block);
            let differs = (0..frames).find(|frame| {
                l[*frame].to_bits() != bits_of[0][*frame]
                    || r[*frame].to_bits() != bits_of[1][*frame]
            });
            assert_eq!(
                differs, None,
                "{rate_hz} Hz, blocks of {block}: first frame"
            );
            assert!(
                meters == reports,
                "{rate_hz} Hz, blocks of {block}: reports"
            );
        }
    }
}

#[test]
fn a_group_takes_effect_at_exactly_its_frame() {
    for block in [1, 16, 64, 441, 4096] {
        for at in [1u64, 31, 32, 33, 64, 100, 441, 777] {
            let mut rig = Rig::desk(RATE_HZ);
            rig.block = block;
            let group = rig.at(
                at,
                &[Command::Level {
                    track: STEM,
                    level: TrackLevel::Volume,
                    value: 0.0,
                }],
            );
            let [left, _] = rig.run_twin(&vec![0.5; 1000]);
            let first = left.iter().position(|sample| *sample != 0.5);
            assert_eq!(first, Some(at as usize), "blocks of {block}");
            let applied = Report::Applied { group, frame: at };
            assert!(rig.take_reports().contains(&applied));
        }
    }
}

#[test]
fn a_group_is_heard_whole() {
    // Two gains that undo each other: whoever hears only one of them hears a factor of 4.
    for block in [1, 16, 441] {
        let mut rig = Rig::desk(RATE_HZ);
        rig.block = block;
        let (one, add_one) = rig.effect(STEM, Kind::Gain, 0);
        let (two, add_two) = rig.effect(STEM, Kind::Gain, 1);
        rig.now(&[add_one, add_two, set(one, 0, 4.0), set(two, 0, 0.25)]);
        rig.run_twin(&[0.25; 100]);
        for turn in 0..20u64 {
            let (a, b) = if turn % 2 == 0 {
                (0.25, 4.0)
            } else {
                (4.0, 0.25)
            };
            rig.at(200 + turn * 1001, &[set(one, 0, a), set(two, 0, b)]);
        }
        let [left, _] = rig.run_twin(&vec![0.25; 21_000]);
        // On their way the two ramps' product is at most (4 + ¼)²/4 = 4.52 in the middle; it moves
        // from 1 on at the same sample for both, so it never falls below 1.
        let least = left.iter().fold(1.0f32, |least, sample| sample.min(least));
        assert!(least > 0.2499, "blocks of {block}: {least}");
    }
}

#[test]
fn groups_of_the_future_wait_and_keep_their_order() {
    let mut rig = Rig::desk(RATE_HZ);
    let volume = |value| Command::Level {
        track: STEM,
        level: TrackLevel::InputGain,
        value,
    };
    rig.at(10_000, &[volume(0.5)]);
    // Behind one that waits, also a late one waits: order is order.
    rig.at(5_000, &[volume(0.25)]);
    let [left, _] = rig.run_twin(&vec![0.5; 12_000]);
    assert!(left[..10_000].iter().all(|sample| *sample == 0.5));
    assert_eq!(left[11_999], 0.125);
    let applied: Vec<Report> = rig
        .take_reports()
        .into_iter()
        .filter(|report| matches!(report, Report::Applied { .. }))
        .collect();
    assert_eq!(
        applied,
        [
            Report::Applied { group: 1, frame: 0 },
            Report::Applied {
                group: 3,
                frame: 10_000
            }
        ]
    );
}

#[test]
fn no_group_is_taken_for_whose_report_there_is_no_room() {
    let mut rig = Rig::desk(RATE_HZ);
    rig.run_twin(&[0.5; 64]);
    rig.shelf.places = rig.shelf.reports.len();
    rig.now(&[Command::Mute {
        track: STEM,
        on: true,
    }]);
    let [left, _] = rig.run_twin(&[0.5; 4800]);
    assert!(left.iter().all(|sample| *sample == 0.5));
    rig.shelf.places = 1 << 20;
    let [left, _] = rig.run_twin(&[0.5; 4800]);
    assert_eq!(left[4799], 0.0);
}

#[test]
fn two_runs_are_the_same_at_every_rate() {
    for rate_hz in [8_000, 44_100, 96_000, 192_000] {
        let render = |block| {
            let mut rig = Rig::desk(rate_hz);
            rig.block = block;
            let adds: Vec<Command> = Kind::ALL
                .into_iter()
                .map(|kind| rig.effect(STEM, kind, 8).1)
                .collect();
            rig.now(&adds);
            rig.at(333, &[set(2, 0, 1.0), set(2, 3, 100.0), set(1, 0, 500.0)]);
            rig.run_twin(&noise(3, 9_000, 1.5))
        };
        assert!(render(64) == render(441), "{rate_hz} Hz");
    }
}
