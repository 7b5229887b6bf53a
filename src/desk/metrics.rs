//! The desk's part of `/metrics`: who is here, what waits and what that takes, how far the log is behind.

use std::time::Instant;

use super::Desk;
use crate::telemetry::page::Page;

impl Desk {
    /// Writes what there is to know.
    pub fn metrics(&self, page: &mut Page, now: Instant) {
        page.gauge(
            "rigd_uptime_seconds",
            "Since start.",
            self.started.elapsed().as_secs_f64(),
        );
        page.gauge(
            "rigd_connections",
            "Open WebSocket connections.",
            self.clients() as f64,
        );
        page.counter(
            "rigd_clients_seen_total",
            "WebSocket connections, and HTTP requests to the desk, since start.",
            self.next_client as f64,
        );
        page.gauge(
            "rigd_polls",
            "Long polls that wait for news.",
            self.visitors.polls() as f64,
        );
        page.gauge(
            "rigd_seq",
            "Number of the newest change.",
            self.settled_seq as f64,
        );
        page.gauge(
            "rigd_engine_running",
            "Whether an engine is there and moves.",
            f64::from(self.is_engine_alive(now)),
        );
        page.gauge(
            "rigd_troubles",
            "Sentences in status.degraded.",
            self.troubles(now).len() as f64,
        );
        self.queues(page);
        self.log_lag(page);
        self.telemetry.metrics(page);
    }

    fn queues(&self, page: &mut Page) {
        let outboxes = || self.clients.values().map(|client| &client.outbox);
        let waiting: usize = outboxes().map(|outbox| outbox.len()).sum();
        let longest = outboxes().map(|outbox| outbox.len()).max().unwrap_or(0);
        let lagging = outboxes().filter(|outbox| outbox.is_lagging());
        let (in_flight, held) = self.handover.waiting();
        page.gauges(
            "rigd_queue_depth",
            "What waits, by where.",
            "queue",
            [
                ("outboxes", waiting),
                ("longest_outbox", longest),
                ("lagging_clients", lagging.count() - self.visits()),
                ("changes_held", self.stream.len()),
                ("engine_answers", in_flight),
                ("engine_commands", held),
                ("acks", self.acks.len()),
                ("log_questions", self.questions.waiting()),
            ]
            .map(|(queue, depth)| (queue, depth as f64)),
        );
        let bytes: usize = outboxes().map(|outbox| outbox.bytes()).sum();
        page.gauges(
            "rigd_buffer_bytes",
            "Memory of what waits, by where.",
            "buffer",
            [
                ("outboxes", bytes),
                ("remembered_answers", self.repeats.bytes()),
                (
                    "delay_pool",
                    self.state.pool_samples() as usize * size_of::<f32>(),
                ),
            ]
            .map(|(buffer, bytes)| (buffer, bytes as f64)),
        );
    }

    fn log_lag(&self, page: &mut Page) {
        let (entries, lag) = match &self.log {
            Some(log) => (log.ticket().saturating_sub(log.synced()), log.lag()),
            None => (0, Default::default()),
        };
        page.gauge(
            "rigd_log_lag_entries",
            "Events that are not on disk yet.",
            entries as f64,
        );
        page.gauge(
            "rigd_log_lag_seconds",
            "How long the disk has been at what it was given last.",
            lag.as_secs_f64(),
        );
        page.gauge(
            "rigd_log_dead",
            "Whether the disk takes nothing any more.",
            f64::from(!self.is_disk_alive()),
        );
    }

    fn visits(&self) -> usize {
        let visits = self.clients.values();
        visits.filter(|client| client.visit.is_some()).count()
    }
}
