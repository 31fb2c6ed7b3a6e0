//! LATENCY: the samples of slow events that `observe` kept, and the histograms of all commands.

use resp::reply::Reply;

use crate::command::{CmdResult, Command, Group, command, container, flag};
use crate::config::Config;
use crate::ctx::Ctx;
use crate::error::CmdError;
use crate::observe::{LatencyMonitor, LatencySeries};
use crate::registry::{REGISTRY, Registered};
use crate::stats::{latency_bucket_end, merged_latency};

pub static TABLE: &[Command] = &[container("latency", Group::Server, SUBCOMMANDS)
    .since("2.8.13")
    .docs("Reports when and where the server was slow.", "Depends on subcommand.")];

const ANY_TIME: u32 = flag::LOADING | flag::STALE;
const SPECIAL: &[&str] = &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"];

static SUBCOMMANDS: &[Command] = &[
    command("doctor", 2, Group::Server, doctor)
        .admin()
        .flags(ANY_TIME)
        .since("2.8.13")
        .tips(SPECIAL)
        .docs("Returns a report on slow events for people.", "O(1)"),
    command("graph", 3, Group::Server, graph)
        .admin()
        .flags(ANY_TIME)
        .since("2.8.13")
        .syntax("event")
        .tips(SPECIAL)
        .docs("Draws the samples of an event.", "O(1)"),
    command("history", 3, Group::Server, history)
        .admin()
        .flags(ANY_TIME)
        .since("2.8.13")
        .syntax("event")
        .tips(SPECIAL)
        .docs("Returns the samples of an event.", "O(1)"),
    command("latest", 2, Group::Server, latest)
        .admin()
        .flags(ANY_TIME)
        .since("2.8.13")
        .tips(SPECIAL)
        .docs("Returns the latest sample of every event.", "O(1)"),
    command("reset", -2, Group::Server, reset)
        .admin()
        .flags(ANY_TIME)
        .since("2.8.13")
        .syntax("[event [event ...]]")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .docs("Forgets the samples of some events, or of all.", "O(1)"),
    command("histogram", -2, Group::Server, histogram)
        .admin()
        .flags(ANY_TIME)
        .since("7.0.0")
        .syntax("[command [command ...]]")
        .tips(SPECIAL)
        .docs(
            "Returns how long calls took, by command, cumulated in powers of two.",
            "O(N) where N is the number of commands with latency information being retrieved.",
        ),
    command("help", 2, Group::Server, help)
        .flags(ANY_TIME)
        .since("2.8.13")
        .docs("Explains the subcommands.", "O(1)"),
];

fn latest(ctx: &mut Ctx) -> CmdResult {
    let monitor = ctx.engine.latency.lock();
    ctx.reply.array(monitor.events.len());
    for (event, series) in &monitor.events {
        let (unix_s, ms) = series.samples.back().copied().unwrap_or_default();
        ctx.reply.array(4);
        ctx.reply.bulk(event.as_bytes());
        ctx.reply.integer(unix_s);
        ctx.reply.integer(ms as i64);
        ctx.reply.integer(series.max_ms as i64);
    }
    Ok(())
}

fn history(ctx: &mut Ctx) -> CmdResult {
    let monitor = ctx.engine.latency.lock();
    let Some((_, series)) = find(&monitor, ctx.args.at(2)) else {
        ctx.reply.array(0);
        return Ok(());
    };
    ctx.reply.array(series.samples.len());
    for (unix_s, ms) in &series.samples {
        ctx.reply.array(2);
        ctx.reply.integer(*unix_s);
        ctx.reply.integer(*ms as i64);
    }
    Ok(())
}

fn find<'a>(monitor: &'a LatencyMonitor, event: &[u8]) -> Option<(&'static str, &'a LatencySeries)> {
    monitor.events.iter().find(|(name, _)| name.as_bytes() == event).map(|(name, series)| (*name, series))
}

fn reset(ctx: &mut Ctx) -> CmdResult {
    let mut monitor = ctx.engine.latency.lock();
    let before = monitor.events.len();
    let args = ctx.args;
    monitor.events.retain(|event, _| {
        args.len() > 2 && !args.from(2).any(|asked| asked.eq_ignore_ascii_case(event.as_bytes()))
    });
    ctx.reply.integer((before - monitor.events.len()) as i64);
    Ok(())
}

fn histogram(ctx: &mut Ctx) -> CmdResult {
    let commands: Vec<&Registered> = match ctx.args.len() {
        2 => REGISTRY.all.iter().collect(),
        _ => ctx.args.from(2).filter_map(|name| REGISTRY.find_full(name)).flat_map(with_children).collect(),
    };
    let mark = ctx.reply.defer();
    let mut count = 0;
    for command in commands {
        if let Some(buckets) = merged_latency(&ctx.engine.stats, command.id) {
            ctx.reply.bulk(command.full_name.as_bytes());
            write_histogram(ctx.reply, &buckets);
            count += 1;
        }
    }
    ctx.reply.close_map(mark, count);
    Ok(())
}

fn with_children(command: &'static Registered) -> impl Iterator<Item = &'static Registered> {
    std::iter::once(command).chain(command.children.iter().map(|&id| &REGISTRY.all[id as usize]))
}

/// Calls in all, and for each power of two of a microsecond how many took no longer; only where that grows.
fn write_histogram(reply: &mut Reply, buckets: &[u64]) {
    reply.map(2);
    reply.bulk(b"calls");
    reply.integer(buckets.iter().sum::<u64>() as i64);
    reply.bulk(b"histogram_usec");
    let mark = reply.defer();
    let (mut count, mut limit_ns, mut seen, mut shown) = (0, 1024, 0, 0);
    for (bucket, calls) in buckets.iter().enumerate() {
        while latency_bucket_end(bucket) >= limit_ns {
            count += usize::from(write_step(reply, limit_ns, seen, &mut shown));
            limit_ns *= 2;
        }
        seen += calls;
    }
    count += usize::from(write_step(reply, limit_ns, seen, &mut shown));
    reply.close_map(mark, count);
}

fn write_step(reply: &mut Reply, limit_ns: u64, seen: u64, shown: &mut u64) -> bool {
    let grows = seen > *shown;
    if grows {
        *shown = seen;
        reply.integer((limit_ns / 1000) as i64);
        reply.integer(seen as i64);
    }
    grows
}

fn graph(ctx: &mut Ctx) -> CmdResult {
    let monitor = ctx.engine.latency.lock();
    let Some((event, series)) = find(&monitor, ctx.args.at(2)) else {
        let event = String::from_utf8_lossy(ctx.args.at(2));
        return Err(CmdError::new(format!("ERR No samples available for event '{event}'")));
    };
    let text = draw(event, series, ctx.worker.now.seconds());
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// Samples in a row of the graph.
const GRAPH_COLUMNS: usize = 80;
/// Rows of a bar, each in three steps.
const GRAPH_ROWS: usize = 4;
const STEPS: [char; 3] = ['_', 'o', '#'];

/// A bar for each sample, higher for longer, with its age written downwards below it.
fn draw(event: &str, series: &LatencySeries, now_s: i64) -> String {
    let samples: Vec<(i64, u64)> = series.samples.iter().copied().collect();
    let high = samples.iter().map(|sample| sample.1).max().unwrap_or(0);
    let low = samples.iter().map(|sample| sample.1).min().unwrap_or(0);
    let mut text = format!("{event} - high {high} ms, low {low} ms (all time high {} ms)\n", series.max_ms);
    text.push_str(&"-".repeat(GRAPH_COLUMNS));
    text.push('\n');
    for chunk in samples.chunks(GRAPH_COLUMNS) {
        let levels: Vec<usize> = chunk.iter().map(|sample| level(sample.1, low, high)).collect();
        (0..GRAPH_ROWS)
            .rev()
            .for_each(|row| push_row(&mut text, levels.iter().map(|level| bar(*level, row))));
        text.push('\n');
        let ages: Vec<String> = chunk.iter().map(|sample| age(now_s - sample.0)).collect();
        let tallest = ages.iter().map(String::len).max().unwrap_or(0);
        (0..tallest).for_each(|row| push_row(&mut text, ages.iter().map(|age| char_at(age, row))));
    }
    text
}

fn push_row(text: &mut String, row: impl Iterator<Item = char>) {
    let row: String = row.collect();
    text.push_str(row.trim_end());
    text.push('\n');
}

/// The height of a bar in steps.
fn level(ms: u64, low: u64, high: u64) -> usize {
    let steps = (GRAPH_ROWS * STEPS.len()) as u64;
    let share = u128::from(ms - low) * u128::from(steps) / u128::from((high - low).max(1));
    (share as usize).min(steps as usize - 1)
}

fn bar(level: usize, row: usize) -> char {
    match level.checked_sub(row * STEPS.len()) {
        None => ' ',
        Some(above) => STEPS.get(above).copied().unwrap_or('|'),
    }
}

fn char_at(text: &str, index: usize) -> char {
    text.as_bytes().get(index).map_or(' ', |&byte| char::from(byte))
}

fn age(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn doctor(ctx: &mut Ctx) -> CmdResult {
    let text = report(&ctx.engine.latency.lock(), ctx.config, ctx.worker.now.seconds());
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

fn report(monitor: &LatencyMonitor, config: &Config, now_s: i64) -> String {
    if monitor.events.is_empty() {
        return match config.latency_monitor_threshold_ms {
            0 => {
                "Latency monitoring is off. Turn it on with CONFIG SET latency-monitor-threshold \
                  <milliseconds>.\n"
            }
            _ => "No event was slower than latency-monitor-threshold.\n",
        }
        .to_owned();
    }
    let mut text = String::from("Slow events:\n\n");
    for (index, (event, series)) in monitor.events.iter().enumerate() {
        text.push_str(&format!("{}. {}\n", index + 1, describe(event, series, now_s)));
    }
    text.push_str("\nAdvice:\n\n");
    monitor.events.keys().for_each(|event| text.push_str(advice(event)));
    if monitor.events.contains_key("command") {
        text.push_str(&slow_log_advice(config));
    }
    text
}

fn describe(event: &str, series: &LatencySeries, now_s: i64) -> String {
    let count = series.samples.len().max(1) as u64;
    let average = series.samples.iter().map(|sample| sample.1).sum::<u64>() / count;
    let deviation = series.samples.iter().map(|sample| sample.1.abs_diff(average)).sum::<u64>() / count;
    let oldest = series.samples.front().map_or(now_s, |sample| sample.0);
    let period = (now_s - oldest).max(1) as f64 / count as f64;
    format!(
        "{event}: {} latency spikes (average {average}ms, mean deviation {deviation}ms, period {period:.2} \
         sec). Worst all time event {}ms.",
        series.samples.len(),
        series.max_ms
    )
}

fn advice(event: &str) -> &'static str {
    match event {
        "command" => {
            "- command: some commands do much work at once. SLOWLOG GET shows which; split them into \
             smaller ones, or use SCAN, HSCAN and their kin.\n"
        }
        "fast-command" => {
            "- fast-command: commands that do little work were held up. Usually the machine is overloaded, \
             or its host is: look at the load, at steal time and at swapping.\n"
        }
        _ => "",
    }
}

fn slow_log_advice(config: &Config) -> String {
    let threshold_us = config.latency_monitor_threshold_ms * 1000;
    let logged_us = config.slowlog_log_slower_than_us;
    if logged_us >= 0 && logged_us <= threshold_us {
        return String::new();
    }
    format!(
        "- The slow log leaves out commands that are reported here: CONFIG SET slowlog-log-slower-than \
         {threshold_us} includes them.\n"
    )
}

fn help(ctx: &mut Ctx) -> CmdResult {
    ctx.help(
        "LATENCY",
        &[
            "DOCTOR",
            "    Return a report on slow events for people.",
            "GRAPH <event>",
            "    Draw the samples of <event>.",
            "HISTOGRAM [COMMAND ...]",
            "    Return how long calls of the commands took (default: of all commands), cumulated",
            "    in powers of two.",
            "HISTORY <event>",
            "    Return time and duration of the samples of <event>.",
            "LATEST",
            "    Return the latest sample of every event.",
            "RESET [<event> ...]",
            "    Forget the samples of the events (default: of all events).",
        ],
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{LATENCY_BUCKETS, latency_bucket};
    use crate::testing::{TestEngine, check_script};

    fn with_samples() -> TestEngine {
        let mut test = TestEngine::new();
        for (event, ms) in [("command", 5), ("command", 15), ("fast-command", 3)] {
            test.advance_ms(1000);
            test.engine.latency.lock().add(event, test.now().seconds(), ms);
        }
        test
    }

    #[test]
    fn samples_are_listed_and_forgotten() {
        check_script(
            &mut with_samples(),
            &[
                ("LATENCY LATEST", "[[\"command\" 1700000002 15 15] [\"fast-command\" 1700000003 3 3]]"),
                ("LATENCY HISTORY command", "[[1700000001 5] [1700000002 15]]"),
                ("LATENCY HISTORY nothing", "[]"),
                ("LATENCY GRAPH nothing", "-ERR No samples available for event 'nothing'"),
                ("LATENCY RESET nothing", "0"),
                ("LATENCY RESET COMMAND nothing", "1"),
                ("LATENCY RESET", "1"),
                ("LATENCY LATEST", "[]"),
                ("LATENCY HELP x", "-ERR wrong number of arguments for 'latency|help' command"),
            ],
        );
    }

    #[test]
    fn reports_are_for_people() {
        let mut test = with_samples();
        let text = test.run("LATENCY DOCTOR").as_text().expect("text");
        let line = "1. command: 2 latency spikes (average 10ms, mean deviation 5ms, period 1.00 sec). Worst \
                    all time event 15ms.";
        assert!(text.contains(line), "{text}");
        let graph = test.run("LATENCY GRAPH command").as_text().expect("text");
        let (_, bars) = graph.split_once("-\n").expect("a line of hyphens");
        assert_eq!(bars, " #\n |\n |\n_|\n\n21\nss\n");
    }

    #[test]
    fn histograms_are_cumulated() {
        let mut buckets = vec![0; LATENCY_BUCKETS];
        for (ns, calls) in [(500, 1), (1_500, 2), (1_900, 3), (9_000_000, 1)] {
            buckets[latency_bucket(ns)] += calls;
        }
        let mut reply = Reply::default();
        write_histogram(&mut reply, &buckets);
        let text = String::from_utf8_lossy(&reply.buf).replace("\r\n", " ");
        assert_eq!(text, "*4 $5 calls :7 $14 histogram_usec *6 :1 :1 :2 :6 :16777 :7 ");
        let mut test = TestEngine::new();
        check_script(
            &mut test,
            &[
                ("LATENCY HISTOGRAM", "[]"),
                ("ECHO 1", "\"1\""),
                ("LATENCY HISTOGRAM nothing echo", "[\"echo\" [\"calls\" 1 \"histogram_usec\" [1 1]]]"),
                (
                    "LATENCY HISTOGRAM latency|latest latency",
                    "[\"latency|histogram\" [\"calls\" 2 \"histogram_usec\" [1 2]]]",
                ),
            ],
        );
    }
}
