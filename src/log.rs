//! Where log lines go: the systemd journal when rigd's stderr is connected to it, else stderr.
//!
//! A line about a client, a change or a refusal has the fields `client`, `seq` and `code`: the journal
//! keeps them as `CLIENT=`, `SEQ=` and `CODE=`.
//!
//! The libraries below rigd only warn: at their own trace level they would write out every message,
//! secrets included.

use log::{LevelFilter, Log, Metadata, Record};
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
    {
        let journal = journal.with_syslog_identifier("rigd".into());
        let journal = Journal { journal, level };
        if log::set_boxed_logger(Box::new(journal)).is_ok() {
            log::set_max_level(level);
        }
        return;
    }
    // Only an earlier call can have set a logger already.
    let _ = env_logger::Builder::new()
        .filter_level(level.min(LevelFilter::Warn))
        .filter_module("rigd", level)
        .format_timestamp_millis()
        .try_init();
}

/// The journal's logger knows one level for all.
struct Journal {
    journal: JournalLog,
    level: LevelFilter,
}

impl Log for Journal {
    fn enabled(&self, metadata: &Metadata) -> bool {
        let is_ours = metadata.target().split("::").next() == Some("rigd");
        metadata.level() <= self.level && (is_ours || metadata.level() <= LevelFilter::Warn)
    }

    fn log(&self, record: &Record) {
        if self.enabled(record.metadata()) {
            self.journal.log(record);
        }
    }

    fn flush(&self) {
        self.journal.flush();
    }
}
