//! Fields of INFO that are lists: a line for each command, error, database or listener.

use crate::info::InfoInput;
use crate::registry::{REGISTRY, Registered};
use crate::stats::{CommandStats, latency_bucket_end, merged_latency};

/// One command, summed over the workers.
#[derive(Default)]
struct CallTotals {
    calls: u64,
    us: u64,
    rejected: u64,
    failed: u64,
}

pub(super) fn command_stats(input: &InfoInput<'_>) -> Vec<String> {
    REGISTRY.all.iter().filter_map(|command| command_line(input, command)).collect()
}

fn command_line(input: &InfoInput<'_>, command: &Registered) -> Option<String> {
    let sum =
        |counter: fn(&CommandStats) -> u64| input.sum(|stats| counter(&stats.commands[command.id as usize]));
    let totals = CallTotals {
        calls: sum(|own| own.calls.value()),
        us: sum(|own| own.nanoseconds.value()) / 1000,
        rejected: sum(|own| own.rejected.value()),
        failed: sum(|own| own.failed.value()),
    };
    let CallTotals { calls, us, rejected, failed } = totals;
    if calls + rejected + failed == 0 {
        return None;
    }
    let average = us as f64 / calls.max(1) as f64;
    Some(format!(
        "cmdstat_{}:calls={calls},usec={us},usec_per_call={average:.2},rejected_calls={rejected},\
         failed_calls={failed}",
        command.full_name
    ))
}

pub(super) fn error_stats(input: &InfoInput<'_>) -> Vec<String> {
    let counts = input.engine.errors.all();
    counts.iter().map(|(code, count)| format!("errorstat_{}:count={count}", safe(code))).collect()
}

/// A code without the characters that separate the parts of a line.
fn safe(code: &str) -> String {
    code.replace(['#', ':', '\n', '\r'], "_")
}

pub(super) fn latency_stats(input: &InfoInput<'_>) -> Vec<String> {
    if !input.config.latency_tracking {
        return Vec::new();
    }
    REGISTRY.all.iter().filter_map(|command| latency_line(input, command)).collect()
}

fn latency_line(input: &InfoInput<'_>, command: &Registered) -> Option<String> {
    let buckets = merged_latency(&input.engine.stats, command.id)?;
    let percentiles = input.config.latency_tracking_info_percentiles.iter().map(|&percentile| {
        let us = percentile_ns(&buckets, percentile) as f64 / 1000.0;
        format!("p{percentile}={us:.3}")
    });
    let percentiles = percentiles.collect::<Vec<_>>().join(",");
    Some(format!("latency_percentiles_usec_{}:{percentiles}", command.full_name))
}

/// The duration that so many per cent of all calls did not exceed.
fn percentile_ns(buckets: &[u64], percentile: f64) -> u64 {
    let total: u64 = buckets.iter().sum();
    let wanted = ((total as f64 * percentile / 100.0).ceil() as u64).clamp(1, total.max(1));
    let mut seen = 0;
    let reached = buckets.iter().position(|count| {
        seen += count;
        seen >= wanted
    });
    latency_bucket_end(reached.unwrap_or(buckets.len() - 1))
}

pub(super) fn keyspace(input: &InfoInput<'_>) -> Vec<String> {
    let line = |totals: &super::DbTotals| {
        format!(
            "db{}:keys={},expires={},avg_ttl={},subexpiry={},keys_with_volatile_items={}",
            totals.db.0,
            totals.keys,
            totals.expires,
            totals.average_ttl_ms,
            totals.subexpiry,
            totals.subexpiry
        )
    };
    input.keyspace.iter().map(line).collect()
}

pub(super) fn listeners(input: &InfoInput<'_>) -> Vec<String> {
    input.facts().listeners.clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{LATENCY_BUCKETS, latency_bucket};

    #[test]
    fn percentiles_are_the_ends_of_buckets() {
        let mut buckets = vec![0; LATENCY_BUCKETS];
        buckets[latency_bucket(1_000)] = 98;
        buckets[latency_bucket(50_000)] = 1;
        buckets[latency_bucket(2_000_000)] = 1;
        let check = |percentile, at_least| {
            let found = percentile_ns(&buckets, percentile);
            assert!(found >= at_least && found <= at_least + at_least / 8, "p{percentile}: {found}");
        };
        check(0.0, 1_000);
        check(50.0, 1_000);
        check(98.0, 1_000);
        check(99.0, 50_000);
        check(100.0, 2_000_000);
    }
}
