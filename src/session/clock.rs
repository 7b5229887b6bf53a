//! How old a token is, on a box whose clock may be wrong. Pure but for [`Moment::now`].
//!
//! What was made since the box was switched on ages by the time that it has been on, whatever the clock
//! says meanwhile: setting the clock ends nothing. What is older goes by the clock; while that has not
//! been set, by the time that the box has been on.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// When this was written, in seconds since 1970: a clock that says it is earlier has not been set.
const WRITTEN_S: f64 = 1_793_491_200.0;

/// What the clocks say.
#[derive(Clone, Debug)]
pub struct Moment {
    /// Seconds since 1970, as far as the box knows.
    pub wall_s: f64,
    /// How long the box has been on, sleep included.
    pub uptime: Duration,
    /// Names the time since it was switched on; empty where that has no name.
    pub boot: &'static str,
}

impl Moment {
    /// Asks the system. Any thread.
    pub fn now() -> Moment {
        static BOOT: OnceLock<String> = OnceLock::new();
        let boot = BOOT.get_or_init(|| {
            let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
            id.map_or(String::new(), |id| id.trim().to_owned())
        });
        let uptime = clock_gettime(ClockId::Boottime);
        Moment {
            wall_s: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0.0, |since| since.as_secs_f64()),
            uptime: Duration::new(uptime.tv_sec.max(0) as u64, uptime.tv_nsec.max(0) as u32),
            boot,
        }
    }

    fn is_set(&self) -> bool {
        self.wall_s >= WRITTEN_S
    }
}

/// From when to when something is good.
#[derive(Clone, Debug, PartialEq)]
pub struct Life {
    /// Made then, in seconds since 1970.
    pub iat: Option<f64>,
    /// Over then.
    pub exp: f64,
    /// Made when the box had been on so long (in seconds) since that start.
    pub made: Option<(String, f64)>,
}

impl Life {
    /// From now on, for so long.
    pub fn new(lasts: Duration, now: &Moment) -> Life {
        let iat = now.wall_s.floor();
        Life {
            iat: Some(iat),
            exp: iat + lasts.as_secs_f64().ceil(),
            made: (!now.boot.is_empty()).then(|| (now.boot.to_owned(), now.uptime.as_secs_f64())),
        }
    }

    /// When it is over, as the box's uptime. It may be over already.
    pub fn ends(&self, now: &Moment) -> Duration {
        let lasts = self.iat.map(|iat| self.exp - iat);
        let ends_s = match (&self.made, lasts) {
            (Some((boot, made_s)), Some(lasts)) if boot == now.boot => made_s + lasts,
            // From before, and nobody knows how long before: at least as long as the box has been on.
            (_, Some(lasts)) if !now.is_set() => lasts,
            _ => now.uptime.as_secs_f64() + (self.exp - now.wall_s),
        };
        Duration::try_from_secs_f64(ends_s.max(0.0)).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: f64 = 3600.0;

    fn at(wall_s: f64, uptime_s: f64, boot: &'static str) -> Moment {
        Moment {
            wall_s,
            uptime: Duration::from_secs_f64(uptime_s),
            boot,
        }
    }

    fn is_good(life: &Life, now: &Moment) -> bool {
        life.ends(now) > now.uptime
    }

    #[test]
    fn setting_the_clock_ends_nothing() {
        let life = Life::new(Duration::from_secs(12 * 3600), &at(86_400.0, 60.0, "a"));
        assert!(is_good(&life, &at(86_400.0 + HOUR, 60.0 + HOUR, "a")));
        let jumped = WRITTEN_S + 1e7;
        assert!(is_good(&life, &at(jumped, 60.0 + HOUR, "a")));
        assert!(
            !is_good(&life, &at(jumped, 61.0 + 12.0 * HOUR, "a")),
            "and what is over is over"
        );
        assert!(
            !is_good(&life, &at(0.0, 61.0 + 12.0 * HOUR, "a")),
            "also back"
        );
    }

    #[test]
    fn what_is_from_before_the_box_was_switched_on_goes_by_a_clock_that_is_set() {
        let life = Life::new(Duration::from_secs(3600), &at(WRITTEN_S, 9e6, "a"));
        assert!(is_good(&life, &at(WRITTEN_S + 3599.0, 10.0, "b")));
        assert!(!is_good(&life, &at(WRITTEN_S + 3601.0, 10.0, "b")));
    }

    #[test]
    fn while_the_clock_is_not_set_it_ages_by_uptime() {
        let life = Life::new(Duration::from_secs(3600), &at(WRITTEN_S + 1e6, 9e6, "a"));
        assert!(is_good(&life, &at(100.0, 100.0, "b")));
        assert!(!is_good(&life, &at(3601.0, 3601.0, "b")));
        let unset = Life::new(Duration::from_secs(3600), &at(50.0, 50.0, "a"));
        assert!(
            !is_good(&unset, &at(WRITTEN_S, 10.0, "b")),
            "made without a clock, and not since this start: nobody knows how old it is"
        );
    }

    proptest! {
        #[test]
        fn no_clock_makes_a_token_last_longer_than_it_should_nor_shorter(
            made_wall in 0.0..4e9f64, made_up in 0.0..1e7f64, lasts in 1u64..1_000_000,
            passed in 0.0..2e6f64, wall in 0.0..4e9f64,
        ) {
            let made = at(made_wall, made_up, "a");
            let life = Life::new(Duration::from_secs(lasts), &made);
            let later = at(wall, made_up + passed, "a");
            if (passed - lasts as f64).abs() > 0.01 {
                prop_assert_eq!(is_good(&life, &later), passed < lasts as f64);
            }
        }

        #[test]
        fn no_number_is_too_strange(
            exp in any::<f64>(), iat in proptest::option::of(any::<f64>()), wall in any::<f64>(),
        ) {
            let life = Life { iat, exp, made: None };
            let _ = life.ends(&at(wall, 5.0, "a"));
        }
    }
}
