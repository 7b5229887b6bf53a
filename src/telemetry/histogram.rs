//! How long something took, how often: a fixed number of buckets.

use std::time::Duration;

/// Upper ends of the buckets, in seconds: from what a loopback takes to what a failing disk does.
pub const ENDS_S: [f64; 14] = [
    0.000_25, 0.000_5, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0,
    4.0,
];

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    /// Of each bucket alone; what is longer than the last one is only in `count`.
    buckets: [u64; ENDS_S.len()],
    sum_s: f64,
    count: u64,
}

impl Histogram {
    /// It took so long.
    pub fn observe(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = ENDS_S.partition_point(|end| *end < seconds);
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += 1;
        }
        self.sum_s += seconds;
        self.count += 1;
    }

    /// Up to each end, everything shorter included.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut sum = 0;
        ENDS_S.iter().zip(self.buckets).map(move |(end, count)| {
            sum += count;
            (*end, sum)
        })
    }

    /// Of all that was observed, in seconds.
    pub fn sum_s(&self) -> f64 {
        self.sum_s
    }

    /// How often.
    pub fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_took_as_long_as_an_end_is_within_it() {
        let mut histogram = Histogram::default();
        for micros in [1, 250, 251, 1000, 3_999_999, 4_000_000, 9_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let up_to: Vec<_> = histogram.cumulative().map(|(_, count)| count).collect();
        assert_eq!(up_to, [2, 3, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 6]);
        assert_eq!(histogram.count(), 7);
        assert!((histogram.sum_s() - 17.001_501).abs() < 1e-9);
    }
}
