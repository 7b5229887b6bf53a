//! The line in `systemctl status`: how the rig is, in a few words.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// The line changes at most this often.
const TOLD_EVERY: Duration = Duration::from_secs(3);

/// See the module. Control thread.
#[derive(Default)]
pub struct StatusLine {
    told: Option<(String, Instant)>,
}

impl StatusLine {
    /// Tells systemd the line that `write` gives, when there is a new one.
    pub fn tell(&mut self, now: Instant, write: impl FnOnce() -> String) {
        if let Some(line) = self.renew(now, write) {
            super::tell(NotifyState::Status(line));
        }
    }

    fn renew(&mut self, now: Instant, write: impl FnOnce() -> String) -> Option<&str> {
        let told = self.told.as_ref();
        if told.is_some_and(|(_, at)| now.saturating_duration_since(*at) < TOLD_EVERY) {
            return None;
        }
        let line = write();
        let is_new = told.is_none_or(|(before, _)| *before != line);
        let (line, _) = self.told.insert((line, now));
        is_new.then_some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_line_is_told_once_and_at_most_every_few_seconds() {
        let start = Instant::now();
        let mut status = StatusLine::default();
        let mut at = |seconds: u64, line: &str| {
            let now = start + Duration::from_secs(seconds);
            status.renew(now, || line.to_owned()).map(str::to_owned)
        };
        assert_eq!(at(0, "1 client").as_deref(), Some("1 client"));
        assert_eq!(at(1, "2 clients"), None, "too soon");
        assert_eq!(at(3, "2 clients").as_deref(), Some("2 clients"));
        assert_eq!(at(9, "2 clients"), None, "nothing new");
        assert_eq!(at(12, "3 clients").as_deref(), Some("3 clients"));
    }
}
