//! MEMORY: how much a key takes, and where the server's memory goes.

use base::{alloc, recall};
use resp::reply::Reply;

use crate::command::{CmdResult, Command, Group, PlanRule, command, container, flag};
use crate::consumers::CONSUMERS;
use crate::ctx::Ctx;
use crate::error::CmdError;
use crate::info::{DbTotals, InfoInput, MemoryUsage};
use crate::keyspec::{KeySpec, flag as key};

pub static TABLE: &[Command] = &[container("memory", Group::Server, SUBCOMMANDS)
    .since("4.0.0")
    .docs("Reports on the use of memory.", "Depends on subcommand.")];

const SPECIAL: &[&str] = &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"];

static SUBCOMMANDS: &[Command] = &[
    command("usage", -3, Group::Server, usage)
        .read()
        .keys(&[KeySpec::one(2, key::RO)])
        .since("4.0.0")
        .syntax("key [SAMPLES count]")
        .docs("Returns the bytes that a key takes with its value.", "O(N) where N is the number of samples."),
    command("stats", 2, Group::Server, stats)
        .plan(PlanRule::All)
        .since("4.0.0")
        .tips(SPECIAL)
        .docs("Returns what the server's memory is used for.", "O(1)"),
    command("doctor", 2, Group::Server, doctor)
        .plan(PlanRule::All)
        .since("4.0.0")
        .tips(SPECIAL)
        .docs("Returns a report on problems with memory for people.", "O(1)"),
    command("malloc-stats", 2, Group::Server, malloc_stats)
        .flags(flag::LOADING)
        .since("4.0.0")
        .tips(SPECIAL)
        .docs(
            "Returns the allocator's own report.",
            "Depends on how much memory is allocated, could be slow",
        ),
    command("purge", 2, Group::Server, purge)
        .flags(flag::LOADING)
        .since("4.0.0")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .docs(
            "Lets the allocator give unused memory back to the system.",
            "Depends on how much memory is allocated, could be slow",
        ),
    command("help", 2, Group::Server, help)
        .flags(flag::LOADING | flag::STALE)
        .since("4.0.0")
        .docs("Explains the subcommands.", "O(1)"),
];

/// A key's slot in its table, with the table's usual share of empty ones.
const SLOT_LEN: usize = 9;

/// Exact, whatever the number of samples: collections keep count of their bytes.
fn usage(ctx: &mut Ctx) -> CmdResult {
    check_samples(ctx)?;
    let key = ctx.key(2);
    match ctx.keys.peek(key) {
        Some(entry) => ctx.reply.integer((entry.memory() + SLOT_LEN) as i64),
        None => ctx.reply.null(),
    }
    Ok(())
}

fn check_samples(ctx: &Ctx) -> CmdResult {
    let mut index = 3;
    while index < ctx.args.len() {
        if !ctx.args.is(index, "samples") || ctx.args.integer(ctx.args.operand(index)?)? < 0 {
            return Err(CmdError::SYNTAX);
        }
        index += 2;
    }
    Ok(())
}

/// One line of MEMORY STATS.
struct Figure {
    name: &'static str,
    number: fn(&MemoryUsage) -> Number,
}

enum Number {
    Count(i64),
    Ratio(f64),
}

const fn count(name: &'static str, number: fn(&MemoryUsage) -> Number) -> Figure {
    Figure { name, number }
}

/// The first figures, those of each database between, and the last. The consumers come after the first two.
const BEFORE: &[Figure] =
    &[count("peak.allocated", |m| bytes(m.peak)), count("total.allocated", |m| bytes(m.used))];

const AFTER: &[Figure] = &[
    count("overhead.total", |m| bytes(m.overhead())),
    count("keys.count", |m| bytes(m.keys)),
    count("keys.bytes-per-key", |m| bytes(m.bytes_per_key())),
    count("dataset.bytes", |m| bytes(m.dataset())),
    count("dataset.percentage", |m| Number::Ratio(m.dataset_percent())),
    count("peak.percentage", |m| Number::Ratio(m.peak_percent())),
    count("allocator.allocated", |m| bytes(m.allocator.allocated)),
    count("allocator.active", |m| bytes(m.allocator.active)),
    count("allocator.resident", |m| bytes(m.allocator.resident)),
    count("allocator-fragmentation.ratio", |m| Number::Ratio(m.allocator_fragmentation().ratio)),
    count("allocator-fragmentation.bytes", |m| Number::Count(m.allocator_fragmentation().bytes)),
    count("allocator-rss.ratio", |m| Number::Ratio(m.allocator_resident().ratio)),
    count("allocator-rss.bytes", |m| Number::Count(m.allocator_resident().bytes)),
    count("rss-overhead.ratio", |m| Number::Ratio(m.process_overhead().ratio)),
    count("rss-overhead.bytes", |m| Number::Count(m.process_overhead().bytes)),
    count("fragmentation", |m| Number::Ratio(m.fragmentation().ratio)),
    count("fragmentation.bytes", |m| Number::Count(m.fragmentation().bytes)),
];

fn bytes(bytes: usize) -> Number {
    Number::Count(bytes as i64)
}

impl Figure {
    fn write(&self, reply: &mut Reply, usage: &MemoryUsage) {
        reply.bulk(self.name.as_bytes());
        match (self.number)(usage) {
            Number::Count(number) => reply.integer(number),
            Number::Ratio(ratio) => reply.double(ratio),
        }
    }
}

fn stats(ctx: &mut Ctx) -> CmdResult {
    let input = InfoInput::measure(ctx);
    ctx.reply.map(BEFORE.len() + CONSUMERS.len() + input.keyspace.len() + AFTER.len());
    BEFORE.iter().for_each(|figure| figure.write(ctx.reply, input.memory()));
    for consumer in CONSUMERS {
        ctx.reply.bulk(consumer.name.as_bytes());
        ctx.reply.integer((consumer.bytes)(&input) as i64);
    }
    input.keyspace.iter().for_each(|totals| write_db(ctx.reply, totals));
    AFTER.iter().for_each(|figure| figure.write(ctx.reply, input.memory()));
    Ok(())
}

/// Times of expiry and slots of a cluster need no tables of their own.
fn write_db(reply: &mut Reply, totals: &DbTotals) {
    reply.bulk(format!("db.{}", totals.db.0).as_bytes());
    reply.map(3);
    reply.bulk(b"overhead.hashtable.main");
    reply.integer(totals.table_bytes as i64);
    for name in ["overhead.hashtable.expires", "overhead.hashtable.slot-to-keys"] {
        reply.bulk(name.as_bytes());
        reply.integer(0);
    }
}

fn doctor(ctx: &mut Ctx) -> CmdResult {
    let input = InfoInput::measure(ctx);
    let text = report(input.memory(), input.clients().connected);
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// Below this nothing can be said.
const SMALL: usize = 5 << 20;
/// An excess below this is no problem, whatever the ratio.
const EXCESS_BYTES: i64 = 10 << 20;
/// Of each client, on average.
const CLIENT_BYTES: usize = 200 << 10;

fn report(usage: &MemoryUsage, clients: usize) -> String {
    if usage.used < SMALL {
        return "The server holds too little data to say anything about its memory.\n".to_owned();
    }
    let high = |excess: crate::info::Excess, ratio| excess.ratio > ratio && excess.bytes > EXCESS_BYTES;
    let findings = [
        (usage.peak > usage.used / 2 * 3, PEAK),
        (high(usage.fragmentation(), 1.4), RESIDENT),
        (high(usage.allocator_fragmentation(), 1.1), FRAGMENTED),
        (high(usage.allocator_resident(), 1.1), HELD),
        (high(usage.process_overhead(), 1.1), PROCESS),
        (usage.clients / clients.max(1) > CLIENT_BYTES, CLIENTS),
    ];
    let found: Vec<&str> = findings.iter().filter(|(is, _)| *is).map(|(_, text)| *text).collect();
    match found.is_empty() {
        true => "No problem was found with the server's memory.\n".to_owned(),
        false => format!("Found with the server's memory:\n\n * {}\n", found.join("\n\n * ")),
    }
}

const PEAK: &str = "Peak: the server has used more than one and a half times what it uses now. What the \
                    allocator still holds of that is used again when the data grow; MEMORY PURGE returns \
                    whole free pages.";
const RESIDENT: &str = "Resident memory: the process occupies more than 1.4 times what it has allocated, \
                        after a peak or because freed values lie between others.";
const FRAGMENTED: &str = "Fragmentation: pages that are only partly filled make up more than a tenth of the \
                          allocated memory.";
const HELD: &str = "Held pages: the allocator keeps free pages of more than a tenth of what it uses. MEMORY \
                    PURGE returns them to the system.";
const PROCESS: &str = "Process: more than a tenth of the resident memory is not the allocator's: program, \
                       threads, other libraries.";
const CLIENTS: &str = "Clients: connections hold more than 200 kilobytes each on average. CLIENT LIST shows \
                       which (tot-mem): often subscribers that read too slowly, or very long pipelines.";

fn malloc_stats(ctx: &mut Ctx) -> CmdResult {
    ctx.reply.verbatim("txt", alloc::malloc_stats_text().as_bytes());
    Ok(())
}

fn purge(ctx: &mut Ctx) -> CmdResult {
    recall::recall_caches();
    if !alloc::flush_thread_cache() || !alloc::purge() {
        return Err(CmdError::new("ERR Error purging dirty pages"));
    }
    ctx.reply.ok();
    Ok(())
}

fn help(ctx: &mut Ctx) -> CmdResult {
    ctx.help(
        "MEMORY",
        &[
            "DOCTOR",
            "    Return a report on problems with memory for people.",
            "MALLOC-STATS",
            "    Return the allocator's own report.",
            "PURGE",
            "    Let the allocator give unused memory back to the system.",
            "STATS",
            "    Return what the server's memory is used for.",
            "USAGE <key> [SAMPLES <count>]",
            "    Return the bytes that <key> takes with its value. The result is exact: <count> is",
            "    accepted and changes nothing.",
        ],
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TestEngine, check_script};

    #[test]
    fn usage_counts_key_and_value() {
        let mut test = TestEngine::new();
        let bytes = |test: &mut TestEngine, line: &str| {
            test.run(line);
            test.run("MEMORY USAGE k SAMPLES 0").as_i64().expect("a number")
        };
        let short = bytes(&mut test, "SET k short");
        assert!((20..60).contains(&short), "{short}");
        let long = bytes(&mut test, &format!("SET k {}", "x".repeat(1000)));
        assert!((1000..1300).contains(&long), "{long}");
        let huge = bytes(&mut test, &format!("SET k {}", "x".repeat(100_000)));
        assert!((100_000..130_000).contains(&huge), "{huge}");
        check_script(
            &mut test,
            &[
                ("MEMORY USAGE nothing", "nil"),
                ("MEMORY USAGE k SAMPLES", "-ERR syntax error"),
                ("MEMORY USAGE k SAMPLES -1", "-ERR syntax error"),
                ("MEMORY USAGE k SAMPLES x", "-ERR value is not an integer or out of range"),
                ("MEMORY USAGE k EXAMPLES 1", "-ERR syntax error"),
                ("MEMORY PURGE", "+OK"),
            ],
        );
    }

    #[test]
    fn figures_add_up() {
        let mut test = TestEngine::new();
        test.run("SET k v");
        let reply = test.run("MEMORY STATS");
        let items = reply.as_items().expect("pairs");
        let find = |name: &str| {
            let at = items.iter().position(|item| item.as_text().as_deref() == Some(name)).expect(name);
            items[at + 1].as_i64().expect("a number")
        };
        assert_eq!(find("keys.count"), 1);
        // Only tables come from the allocator that is asked here: the rest may be more than that.
        let data = (find("total.allocated") - find("overhead.total")).max(0);
        assert_eq!(find("dataset.bytes"), data);
        assert!(items.iter().any(|item| item.as_text().as_deref() == Some("db.0")));
    }

    #[test]
    fn the_doctor_names_what_is_wrong() {
        let healthy =
            MemoryUsage { used: 100 << 20, resident: 105 << 20, peak: 100 << 20, ..MemoryUsage::default() };
        let healthy = MemoryUsage {
            allocator: alloc::Stats {
                allocated: 100 << 20,
                active: 102 << 20,
                resident: 104 << 20,
                ..Default::default()
            },
            ..healthy
        };
        let check = |usage: MemoryUsage, expected: &str| {
            assert!(report(&usage, 1).contains(expected), "{}", report(&usage, 1));
        };
        check(healthy, "No problem");
        check(MemoryUsage { used: 1 << 20, ..healthy }, "too little data");
        check(MemoryUsage { peak: 200 << 20, ..healthy }, "Peak:");
        check(MemoryUsage { resident: 200 << 20, ..healthy }, "Resident memory:");
        check(MemoryUsage { clients: 1 << 20, ..healthy }, "Clients:");
    }
}
