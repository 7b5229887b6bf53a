//! Where log lines go: the systemd journal when rigd's stderr is connected to it, else stderr.
//!
//! The libraries below rigd only warn: at their own trace level they would write out every message,
//! secrets included.

use log::LevelFilter;
use systemd_journal_logger::{JournalLog, connected_to_journal};

/// Environment variable with the log level: `off`, `error`, `warn`, `info`, `debug` or `trace`.
pub const VARIABLE: &str = "RIGD_LOG";

/// Sets logging up for the whole process; a second call changes nothing. Main thread.
pub fn init() {
    let level = std::env::var(VARIABLE).ok();
    let level = level
        .and_then(|level| level.parse().ok())
        .unwrap_or(LevelFilter::Info);
    if connected_to_journal()
        && let Ok(journal) = JournalLog::new()
        && journal
            .with_syslog_identifier("rigd".into())
            .install()
            .is_ok()
    {
        // The journal's logger knows one level for all; libraries write messages out at trace.
        log::set_max_level(level.min(LevelFilter::Debug));
        return;
    }
    // Only an earlier call can have set a logger already.
    let _ = env_logger::Builder::new()
        .filter_level(level.min(LevelFilter::Warn))
        .filter_module("rigd", level)
        .format_timestamp_millis()
        .try_init();
}
