//! How much: token buckets. Pure; time is passed in.

use std::time::Duration;

use crate::config::Limits;
use crate::rig::Reject;

/// Operations may come in bursts of so many seconds' worth.
const OPERATIONS_BURST_S: u32 = 2;

/// So many a second, in bursts of so many.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    limit: &'static str,
    per_s: f64,
    burst: f64,
    tokens: f64,
    filled: Duration,
}

impl Bucket {
    /// A full bucket. `limit` is the setting that a refusal names.
    pub fn new(limit: &'static str, per_s: f64, burst: f64) -> Bucket {
        Bucket {
            limit,
            per_s,
            burst,
            tokens: burst,
            filled: Duration::ZERO,
        }
    }

    /// Takes one, or says when there will be one. `now` is since any fixed start.
    pub fn take(&mut self, now: Duration) -> Result<(), Reject> {
        let passed = now.saturating_sub(self.filled).as_secs_f64();
        self.filled = now;
        self.tokens = (self.tokens + passed * self.per_s).min(self.burst);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        let wait_s = (1.0 - self.tokens) / self.per_s;
        let retry_after = ((wait_s * 100.0).ceil() / 100.0).max(0.01);
        Err(Reject::RateLimited {
            retry_after,
            limit: self.limit,
        })
    }
}

/// What one connection may ask.
#[derive(Clone, Copy, Debug)]
pub struct Buckets {
    /// Messages of any kind.
    pub messages: Bucket,
    /// Batches.
    pub batches: Bucket,
    /// Add, remove, move, preset, track changes.
    pub operations: Bucket,
}

impl Buckets {
    /// Full ones.
    pub fn new(limits: &Limits) -> Buckets {
        let bucket =
            |name, per_s: u32, burst: u32| Bucket::new(name, f64::from(per_s), f64::from(burst));
        Buckets {
            messages: bucket(
                "messages_per_s",
                limits.messages_per_s,
                limits.message_burst,
            ),
            batches: bucket("batches_per_s", limits.batches_per_s, limits.batches_per_s),
            operations: bucket(
                "operations_per_s",
                limits.operations_per_s,
                limits.operations_per_s * OPERATIONS_BURST_S,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_burst_then_the_rate_and_an_honest_retry_after() {
        let mut bucket = Bucket::new("messages_per_s", 100.0, 200.0);
        assert!((0..200).all(|_| bucket.take(at(5)).is_ok()));
        let Err(Reject::RateLimited { retry_after, limit }) = bucket.take(at(5)) else {
            panic!("not refused")
        };
        assert_eq!((retry_after, limit), (0.01, "messages_per_s"));
        assert!(
            bucket.take(at(15)).is_ok(),
            "after retry_after it is accepted"
        );
        assert!(bucket.take(at(15)).is_err());
    }

    #[test]
    fn waiting_never_saves_up_more_than_a_burst() {
        let mut bucket = Bucket::new("operations_per_s", 10.0, 20.0);
        assert!((0..20).all(|_| bucket.take(at(1_000_000)).is_ok()));
        let Err(Reject::RateLimited { retry_after, .. }) = bucket.take(at(1_000_000)) else {
            panic!("not refused")
        };
        assert_eq!(retry_after, 0.1);
    }
}
