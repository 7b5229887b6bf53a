//! The engine's places for tracks, slots for effects and delay memory: which are free. The control
//! side decides, the engine obeys; what was given up counts as taken until the engine says that it
//! is clean.

use rigd_rt::{Kind, SLOTS, TRACK_PLACES};

/// A run of the delay pool, in samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// First sample.
    pub start: u32,
    /// Samples.
    pub len: u32,
}

/// Free and taken.
#[derive(Clone, Debug)]
pub struct Places {
    pool_samples: u32,
    tracks: [bool; TRACK_PLACES],
    slots: [Option<Memory>; SLOTS],
}

impl Places {
    /// All free, with a delay pool of so many samples.
    pub fn new(pool_samples: usize) -> Places {
        Places {
            pool_samples: u32::try_from(pool_samples).unwrap_or(u32::MAX),
            tracks: [false; TRACK_PLACES],
            slots: [None; SLOTS],
        }
    }

    /// Samples in the pool.
    pub fn pool_samples(&self) -> u32 {
        self.pool_samples
    }

    /// Takes a place for a track.
    pub fn take_track(&mut self) -> Option<u8> {
        let place = self.tracks.iter().position(|taken| !taken)?;
        self.tracks[place] = true;
        Some(place as u8)
    }

    /// The engine is done with a track.
    pub fn free_track(&mut self, place: u8) {
        if let Some(taken) = self.tracks.get_mut(usize::from(place)) {
            *taken = false;
        }
    }

    /// Takes a slot and the memory that `kind` needs at a rate; `None` when either is not there.
    pub fn take_slot(&mut self, kind: Kind, sample_rate_hz: u32) -> Option<(u8, Memory)> {
        let slot = self.slots.iter().position(Option::is_none)?;
        let memory = self.find(kind.memory(sample_rate_hz) as u32)?;
        self.slots[slot] = Some(memory);
        Some((slot as u8, memory))
    }

    /// The engine is done with a slot, and its memory is clean.
    pub fn free_slot(&mut self, slot: u8) {
        if let Some(taken) = self.slots.get_mut(usize::from(slot)) {
            *taken = None;
        }
    }

    /// First fit: the earliest gap between taken runs that is long enough.
    fn find(&self, len: u32) -> Option<Memory> {
        if len == 0 {
            return Some(Memory::default());
        }
        let mut taken: Vec<Memory> = self
            .slots
            .iter()
            .flatten()
            .copied()
            .filter(|run| run.len > 0)
            .collect();
        taken.sort_by_key(|run| run.start);
        let mut start = 0;
        for run in taken {
            if run.start - start >= len {
                break;
            }
            start = run.start + run.len;
        }
        (self.pool_samples.checked_sub(start)? >= len).then_some(Memory { start, len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever is taken and freed, runs never overlap and never leave the pool.
        #[test]
        fn runs_are_disjoint(steps in prop::collection::vec((0u32..5000, any::<bool>()), 1..200)) {
            let mut places = Places::new(20_000);
            let mut held: Vec<u8> = Vec::new();
            for (len, free) in steps {
                if free && !held.is_empty() {
                    let slot = held.remove(len as usize % held.len());
                    places.free_slot(slot);
                } else if let Some(memory) = places.find(len)
                    && let Some(slot) = places.slots.iter().position(Option::is_none)
                {
                    places.slots[slot] = Some(memory);
                    held.push(slot as u8);
                }
                let mut runs: Vec<Memory> = places.slots.iter().flatten().copied().filter(|run| run.len > 0).collect();
                runs.sort_by_key(|run| run.start);
                for pair in runs.windows(2) {
                    prop_assert!(pair[0].start + pair[0].len <= pair[1].start);
                }
                if let Some(last) = runs.last() {
                    prop_assert!(last.start + last.len <= 20_000);
                }
            }
        }
    }

    #[test]
    fn a_full_house_says_so() {
        let mut places = Places::new(0);
        assert!((0..TRACK_PLACES).all(|_| places.take_track().is_some()));
        assert_eq!(places.take_track(), None);
        places.free_track(7);
        assert_eq!(places.take_track(), Some(7));
    }
}
