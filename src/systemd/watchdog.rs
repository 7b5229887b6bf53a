//! Who looks whether sound and control still move, and tells systemd's watchdog. A control side that
//! fails is begun anew inside the process; when that does not help, or the audio thread stands still,
//! systemd is asked to begin the whole process anew.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// How often it looks: what it finds, it finds so much later at most.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often systemd is told; a trouble it is told at once. Its own patience (`WatchdogSec=`) must be
/// longer; it then covers this thread.
const TELL_EVERY: Duration = Duration::from_millis(250);
/// How long the audio thread may stand still.
const AUDIO_PATIENCE: Duration = Duration::from_secs(2);
/// How long the control side has for coming back by itself.
const CONTROL_PATIENCE: Duration = Duration::from_secs(10);
/// So long a control side must run before it counts as come back.
const CONTROL_IS_BACK_AFTER: Duration = Duration::from_secs(1);
/// A look so late means that the whole process was not running: nobody is to blame.
const WAS_AWAY: Duration = Duration::from_secs(1);

/// Signs of life, each written by one thread. Wait-free.
#[derive(Debug, Default)]
pub struct Vital {
    /// Blocks that the engine has begun; the audio thread.
    blocks: Arc<AtomicU64>,
    /// Whether they must go on; the backend's thread.
    is_sound_due: AtomicBool,
    /// Rounds of the control side; the control thread.
    rounds: AtomicU64,
    is_ending: AtomicBool,
}

impl Vital {
    /// What the audio thread counts its blocks on.
    pub fn blocks(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.blocks)
    }

    /// Whether the engine must move now: not while its device or server is gone, nor where another
    /// program's clock moves it. Backend's thread.
    pub fn expect_sound(&self, is_due: bool) {
        self.is_sound_due.store(is_due, Ordering::Relaxed);
    }

    /// The control side, begun at `begun`, has done a round. Control thread.
    pub fn control_runs(&self, begun: Instant, now: Instant) {
        if now.saturating_duration_since(begun) >= CONTROL_IS_BACK_AFTER {
            self.rounds.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// rigd is ending: from now on everything may stand still.
    pub fn end(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
    }

    fn look(&self, now: Instant) -> Look {
        let is_ending = self.is_ending.load(Ordering::Relaxed);
        Look {
            now,
            blocks: self.blocks.load(Ordering::Relaxed),
            is_sound_due: self.is_sound_due.load(Ordering::Relaxed) && !is_ending,
            rounds: self.rounds.load(Ordering::Relaxed),
            is_control_due: !is_ending,
        }
    }
}

/// What was seen at one moment.
#[derive(Clone, Copy, Debug)]
struct Look {
    now: Instant,
    blocks: u64,
    is_sound_due: bool,
    rounds: u64,
    is_control_due: bool,
}

/// When something last moved.
#[derive(Clone, Copy, Debug)]
struct Moved {
    count: u64,
    at: Instant,
}

impl Moved {
    fn stands_still_for(&mut self, count: u64, is_due: bool, now: Instant) -> Duration {
        if count != self.count || !is_due {
            *self = Moved { count, at: now };
        }
        now.saturating_duration_since(self.at)
    }
}

/// Judges one look after the other. Pure.
#[derive(Debug)]
struct Judge {
    last: Instant,
    audio: Moved,
    control: Moved,
}

impl Judge {
    fn new(now: Instant) -> Judge {
        let moved = Moved { count: 0, at: now };
        Judge {
            last: now,
            audio: moved,
            control: moved,
        }
    }

    /// What is wrong, if anything is.
    fn look(&mut self, look: Look) -> Option<&'static str> {
        let now = look.now;
        if now.saturating_duration_since(self.last) > WAS_AWAY {
            (self.audio.at, self.control.at) = (now, now);
        }
        self.last = now;
        let audio = self
            .audio
            .stands_still_for(look.blocks, look.is_sound_due, now);
        let control = self
            .control
            .stands_still_for(look.rounds, look.is_control_due, now);
        if audio > AUDIO_PATIENCE {
            Some("the audio thread has stood still for 2 s")
        } else if control > CONTROL_PATIENCE {
            Some("the control side has not come back by itself within 10 s")
        } else {
            None
        }
    }
}

/// Starts looking, on a thread of its own, until the process ends.
pub fn start(vital: Arc<Vital>) -> io::Result<()> {
    std::thread::Builder::new()
        .name("rigd-watchdog".to_owned())
        .spawn(move || watch(&vital))
        .map(drop)
}

fn watch(vital: &Vital) {
    let patience = sd_notify::watchdog_enabled();
    let is_asked_for = patience.is_some();
    if let Some(patience) = patience {
        // Before rigd began anew it may have asked for more.
        let micros = u32::try_from(patience.as_micros()).unwrap_or(u32::MAX);
        super::tell(NotifyState::WatchdogUsec(micros));
    }
    let mut judge = Judge::new(Instant::now());
    let mut told = None;
    let mut told_at = None;
    loop {
        let now = Instant::now();
        let trouble = judge.look(vital.look(now));
        if trouble != told {
            told_at = None;
            match trouble {
                Some(trouble) if is_asked_for => {
                    log::error!("{trouble}: systemd is asked to start rigd anew");
                }
                Some(trouble) => log::error!("{trouble}: start rigd anew"),
                None => log::info!("sound and control move again"),
            }
            told = trouble;
        }
        let is_time = told_at.is_none_or(|then| now.duration_since(then) >= TELL_EVERY);
        if is_asked_for && is_time {
            told_at = Some(now);
            super::tell(match trouble {
                None => NotifyState::Watchdog,
                Some(_) => NotifyState::WatchdogTrigger,
            });
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks every 250 ms for so many seconds; when the judge first found something wrong, in ms.
    fn first_trouble(
        seconds: u64,
        at: impl Fn(u64, Instant) -> Look,
    ) -> Option<(u64, &'static str)> {
        let start = Instant::now();
        let mut judge = Judge::new(start);
        (1..=seconds * 4).find_map(|step| {
            let ms = step * 250;
            let trouble = judge.look(at(ms, start + Duration::from_millis(ms)));
            trouble.map(|trouble| (ms, trouble))
        })
    }

    fn all_moves(ms: u64, now: Instant) -> Look {
        Look {
            now,
            blocks: ms,
            is_sound_due: true,
            rounds: ms,
            is_control_due: true,
        }
    }

    #[test]
    fn nothing_is_wrong_while_all_moves() {
        assert_eq!(first_trouble(60, all_moves), None);
    }

    #[test]
    fn an_audio_thread_that_stands_still_is_found_after_two_seconds() {
        let stuck = |ms: u64, now| Look {
            blocks: ms.min(5_000),
            ..all_moves(ms, now)
        };
        let (ms, trouble) = first_trouble(60, stuck).expect("it is found");
        assert!((7_000..7_500).contains(&ms), "{ms} ms");
        assert!(trouble.contains("audio thread"), "{trouble}");
    }

    #[test]
    fn a_device_that_is_gone_is_no_fault_of_the_audio_thread() {
        let gone = |ms: u64, now| Look {
            blocks: ms.min(5_000),
            is_sound_due: ms < 5_000,
            ..all_moves(ms, now)
        };
        assert_eq!(first_trouble(60, gone), None);
    }

    #[test]
    fn the_control_side_has_its_chance_first() {
        let back_after_9_s = |ms: u64, now| Look {
            rounds: if ms < 14_000 { ms.min(5_000) } else { ms },
            ..all_moves(ms, now)
        };
        assert_eq!(first_trouble(60, back_after_9_s), None);
        let never_back = |ms: u64, now| Look {
            rounds: ms.min(5_000),
            ..all_moves(ms, now)
        };
        let (ms, trouble) = first_trouble(60, never_back).expect("it is found");
        assert!((15_000..15_500).contains(&ms), "{ms} ms");
        assert!(trouble.contains("control side"), "{trouble}");
    }

    #[test]
    fn a_control_side_that_fails_again_and_again_has_not_come_back() {
        let vital = Vital::default();
        let begun = Instant::now();
        vital.control_runs(begun, begun + Duration::from_millis(999));
        assert_eq!(vital.look(begun).rounds, 0);
        vital.control_runs(begun, begun + Duration::from_secs(1));
        assert_eq!(vital.look(begun).rounds, 1);
    }

    #[test]
    fn a_process_that_was_stopped_as_a_whole_gets_its_time() {
        let stopped = |ms: u64, now| {
            let since = if ms < 5_000 { ms } else { ms + 60_000 };
            Look {
                blocks: if ms < 6_000 { ms.min(5_000) } else { ms },
                ..all_moves(ms, now + Duration::from_millis(since - ms))
            }
        };
        assert_eq!(first_trouble(60, stopped), None);
    }

    #[test]
    fn at_the_end_everything_may_stand_still() {
        let vital = Vital::default();
        vital.expect_sound(true);
        vital.end();
        let still = |_, now| vital.look(now);
        assert_eq!(first_trouble(60, still), None);
    }
}
