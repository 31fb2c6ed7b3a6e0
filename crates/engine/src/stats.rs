//! Counters, one set for each worker: only its worker writes it, anybody sums them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base::alloc::size_class;

use crate::registry::REGISTRY;

/// A counter with one writer.
#[derive(Default, Debug)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Only the counter's own worker may call it: there is no read-modify-write.
    #[inline]
    pub fn add(&self, amount: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    }

    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// Buckets of a latency histogram: powers of two of a nanosecond in eighths.
pub const LATENCY_BUCKETS: usize = 8 * 40;

/// Of one command on one worker.
#[derive(Default, Debug)]
pub struct CommandStats {
    pub calls: Counter,
    pub nanoseconds: Counter,
    pub rejected: Counter,
    pub failed: Counter,
    /// Made on first use: most commands are never called.
    latency: std::sync::OnceLock<Box<[Counter]>>,
}

impl CommandStats {
    #[inline]
    pub fn record(&self, nanoseconds: u64, track_latency: bool) {
        self.calls.add(1);
        self.nanoseconds.add(nanoseconds);
        if track_latency {
            let buckets =
                self.latency.get_or_init(|| (0..LATENCY_BUCKETS).map(|_| Counter::default()).collect());
            buckets[latency_bucket(nanoseconds)].add(1);
        }
    }

    /// Bytes of the histogram.
    fn memory(&self) -> usize {
        self.latency.get().map_or(0, |buckets| size_class(size_of_val(&buckets[..])))
    }

    pub fn latency(&self) -> Option<&[Counter]> {
        self.latency.get().map(|buckets| &buckets[..])
    }

    fn reset(&self) {
        [&self.calls, &self.nanoseconds, &self.rejected, &self.failed].into_iter().for_each(Counter::reset);
        self.latency().into_iter().flatten().for_each(Counter::reset);
    }
}

/// The bucket of a duration: three bits below the highest one.
#[inline]
pub fn latency_bucket(nanoseconds: u64) -> usize {
    if nanoseconds < 8 {
        return nanoseconds as usize;
    }
    let exponent = 63 - nanoseconds.leading_zeros() as usize;
    let eighth = (nanoseconds >> (exponent - 3)) as usize & 7;
    ((exponent - 2) * 8 + eighth).min(LATENCY_BUCKETS - 1)
}

/// The highest duration that falls into a bucket, in nanoseconds.
pub fn latency_bucket_end(bucket: usize) -> u64 {
    if bucket < 8 {
        return bucket as u64;
    }
    let (exponent, eighth) = (bucket / 8 + 2, (bucket % 8) as u64);
    ((8 + eighth + 1) << (exponent - 3)) - 1
}

/// The histogram of one command over all workers; `None` if nothing was recorded.
pub fn merged_latency(stats: &[Arc<WorkerStats>], command: u16) -> Option<Vec<u64>> {
    let mut merged = vec![0; LATENCY_BUCKETS];
    for buckets in stats.iter().filter_map(|stats| stats.commands[command as usize].latency()) {
        merged.iter_mut().zip(buckets).for_each(|(sum, bucket)| *sum += bucket.value());
    }
    merged.iter().any(|&count| count > 0).then_some(merged)
}

/// What one worker counts.
#[derive(Debug)]
pub struct WorkerStats {
    pub commands: Box<[CommandStats]>,
    pub total_commands: Counter,
    pub hits: Counter,
    pub misses: Counter,
    pub expired_keys: Counter,
    pub expired_fields: Counter,
    pub dirty: Counter,
    pub input_bytes: Counter,
    pub output_bytes: Counter,
    pub reads: Counter,
    pub writes: Counter,
    pub connections: Counter,
    pub error_replies: Counter,
    pub unexpected_errors: Counter,
    pub input_limit_closed: Counter,
    pub output_limit_closed: Counter,
    pub ticks: Counter,
    pub tick_ns: Counter,
    pub command_ns: Counter,
    /// Batches with writes that waited for a snapshot, and for how long together.
    pub snapshot_delays: Counter,
    pub snapshot_delay_us: Counter,
    /// Requests that waited until pages had gone back to the system, and for how long together.
    pub page_delays: Counter,
    pub page_delay_us: Counter,
    pub evicted_clients: Counter,
    /// Looks at what each client holds, to end the largest.
    pub client_weighings: Counter,
    /// What it keeps from one tick to the next, as of the last timers.
    pub buffer_bytes: Counter,
    /// What its connections hold now, as in `Held`.
    pub clients_bytes: Counter,
    pub arguments_bytes: Counter,
    pub clients_input_peak: Counter,
    pub clients_output_peak: Counter,
}

impl Default for WorkerStats {
    fn default() -> WorkerStats {
        WorkerStats {
            commands: REGISTRY.all.iter().map(|_| CommandStats::default()).collect(),
            total_commands: Counter::default(),
            hits: Counter::default(),
            misses: Counter::default(),
            expired_keys: Counter::default(),
            expired_fields: Counter::default(),
            dirty: Counter::default(),
            input_bytes: Counter::default(),
            output_bytes: Counter::default(),
            reads: Counter::default(),
            writes: Counter::default(),
            connections: Counter::default(),
            error_replies: Counter::default(),
            unexpected_errors: Counter::default(),
            input_limit_closed: Counter::default(),
            output_limit_closed: Counter::default(),
            ticks: Counter::default(),
            tick_ns: Counter::default(),
            command_ns: Counter::default(),
            snapshot_delays: Counter::default(),
            snapshot_delay_us: Counter::default(),
            page_delays: Counter::default(),
            page_delay_us: Counter::default(),
            evicted_clients: Counter::default(),
            client_weighings: Counter::default(),
            buffer_bytes: Counter::default(),
            clients_bytes: Counter::default(),
            arguments_bytes: Counter::default(),
            clients_input_peak: Counter::default(),
            clients_output_peak: Counter::default(),
        }
    }
}

impl WorkerStats {
    /// Bytes of the histograms of all commands.
    pub fn histogram_bytes(&self) -> usize {
        self.commands.iter().map(CommandStats::memory).sum()
    }

    /// CONFIG RESETSTAT. The worker may add once more to an old value; that is accepted. `dirty` is kept: it
    /// is state, not a statistic.
    pub fn reset(&self) {
        self.commands.iter().for_each(CommandStats::reset);
        [
            &self.total_commands,
            &self.hits,
            &self.misses,
            &self.expired_keys,
            &self.expired_fields,
            &self.input_bytes,
            &self.output_bytes,
            &self.reads,
            &self.writes,
            &self.connections,
            &self.error_replies,
            &self.unexpected_errors,
            &self.input_limit_closed,
            &self.output_limit_closed,
            &self.ticks,
            &self.tick_ns,
            &self.command_ns,
            &self.snapshot_delays,
            &self.snapshot_delay_us,
            &self.page_delays,
            &self.page_delay_us,
            &self.evicted_clients,
        ]
        .into_iter()
        .for_each(Counter::reset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_a_bucket_that_ends_within_an_eighth() {
        for nanoseconds in (0..2000).chain((1..62).map(|bit| (1 << bit) + 3)) {
            let end = latency_bucket_end(latency_bucket(nanoseconds));
            assert!(
                end >= nanoseconds || latency_bucket(nanoseconds) == LATENCY_BUCKETS - 1,
                "{nanoseconds}"
            );
            assert!(end <= nanoseconds + nanoseconds / 8 + 1, "{nanoseconds} {end}");
        }
    }
}
