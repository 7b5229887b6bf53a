//! Who has been here, for the record: coming is noted once and leaving when somebody stays away, so that bad
//! Wi-Fi does not fill the log. Pure; time is passed in.

use std::collections::BTreeMap;
use std::time::Duration;

/// Whoever is back within this time has not left.
pub const AWAY: Duration = Duration::from_secs(60);
/// People that are kept in mind. Past that, coming is not noted.
const PEOPLE_MAX: usize = 1024;

/// See the module.
#[derive(Debug, Default)]
pub struct Attendance(BTreeMap<String, Option<Duration>>);

impl Attendance {
    /// Somebody has a connection. Whether that is to be noted.
    pub fn came(&mut self, user_id: &str) -> bool {
        if let Some(away_since) = self.0.get_mut(user_id) {
            *away_since = None;
            return false;
        }
        if self.0.len() >= PEOPLE_MAX {
            return false;
        }
        self.0.insert(user_id.to_owned(), None);
        true
    }

    /// Looks at who is here. Those who have left are to be noted.
    pub fn look(&mut self, is_here: impl Fn(&str) -> bool, now: Duration) -> Vec<String> {
        let mut left = Vec::new();
        self.0.retain(|user_id, away_since| {
            if is_here(user_id) {
                *away_since = None;
                return true;
            }
            let since = *away_since.get_or_insert(now);
            let has_left = now.saturating_sub(since) >= AWAY;
            if has_left {
                left.push(user_id.clone());
            }
            !has_left
        });
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn coming_and_leaving_are_noted_once_however_bad_the_wi_fi_is() {
        let mut seen = Attendance::default();
        assert!(seen.came("ana"));
        for second in 0..1000 {
            let is_here = second % 59 == 0;
            if is_here {
                assert!(!seen.came("ana"));
            }
            assert!(seen.look(|_| is_here, at(second)).is_empty());
        }
        assert!(seen.look(|_| false, at(1000)).is_empty());
        assert_eq!(seen.look(|_| false, at(1060)), ["ana"]);
        assert!(seen.look(|_| false, at(2000)).is_empty());
        assert!(seen.came("ana"));
    }
}
