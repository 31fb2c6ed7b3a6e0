//! XINFO: what a stream, its groups and their consumers are like. It changes nothing.

use ds::stream::{Consumer, Entries, Group, Pending, Producers, Stream as Value, StreamId};
use resp::reply::Reply;
use store::{Key, Stream};

use super::stream::row;
use super::stream_args::{reply_entry, reply_id};
use super::stream_group::no_group_of;
use crate::args::Argv;
use crate::command::{CmdResult, Command, Group as Family, container, flag};
use crate::ctx::Ctx;
use crate::error::CmdError;
use crate::keyspec::{KeySpec, flag as key};

pub static TABLE: &[Command] = &[container("xinfo", Family::Stream, XINFO)
    .since("5.0.0")
    .docs("Commands that look at a stream and its groups.", "Depends on subcommand.")];

const XINFO: &[Command] = &[
    row("consumers", 4, consumers)
        .read()
        .keys(&[KeySpec::one(2, key::RO | key::ACCESS)])
        .since("5.0.0")
        .tips(&["nondeterministic_output"])
        .history(&[("7.2.0", "Added the `inactive` field, and changed the meaning of `idle`.")])
        .syntax("key group")
        .docs("Returns what is known of a group's consumers.", "O(1)"),
    row("groups", 3, groups)
        .read()
        .keys(&[KeySpec::one(2, key::RO | key::ACCESS)])
        .since("5.0.0")
        .history(&[("7.0.0", "Added the `entries-read` and `lag` fields")])
        .syntax("key")
        .docs("Returns what is known of a stream's groups.", "O(1)"),
    row("help", 2, help)
        .flags(flag::LOADING | flag::STALE)
        .since("5.0.0")
        .docs("Lists the subcommands.", "O(1)"),
    row("stream", -3, stream)
        .read()
        .keys(&[KeySpec::one(2, key::RO | key::ACCESS)])
        .since("5.0.0")
        .history(&[
            ("6.0.0", "Added the `FULL` modifier."),
            (
                "7.0.0",
                "Added the `max-deleted-entry-id`, `entries-added`, `recorded-first-entry-id`, `entries-read` \
                 and `lag` fields",
            ),
            ("7.2.0", "Added the `active-time` field, and changed the meaning of `seen-time`."),
            ("8.6.0", "Added the `idmp-*`, `pids-*` and `iids-*` fields."),
            ("8.8.0", "Added the `nacked-count` field."),
        ])
        .syntax("key [FULL [COUNT count]]")
        .docs("Returns what is known of a stream.", "O(1)"),
];

fn help(ctx: &mut Ctx) -> CmdResult {
    ctx.help(
        "XINFO",
        &[
            "CONSUMERS <key> <groupname>",
            "    Show consumers of <groupname>.",
            "GROUPS <key>",
            "    Show the stream consumer groups.",
            "STREAM <key> [FULL [COUNT <count>]",
            "    Show information about the stream.",
        ],
    );
    Ok(())
}

fn find<'c>(ctx: &'c mut Ctx) -> Result<(&'c Value, &'c mut Reply), CmdError> {
    let key: Key<'_> = ctx.key(2);
    let stream = ctx.keys.read::<Stream>(key)?.ok_or(CmdError::NO_SUCH_KEY)?;
    Ok((stream, ctx.reply))
}

fn consumers(ctx: &mut Ctx) -> CmdResult {
    let (key, name, now) = (ctx.key(2), ctx.args.at(3), ctx.now().0);
    let (stream, reply) = find(ctx)?;
    let group = stream.group(name).ok_or_else(|| no_group_of(key, name))?;
    reply.array(group.consumer_count());
    for (_, consumer) in group.consumers() {
        reply.map(4);
        reply.bulk(b"name");
        reply.bulk(consumer.name());
        integer(reply, "pending", consumer.pending_len() as i64);
        integer(reply, "idle", now.wrapping_sub(consumer.seen_at).max(0));
        integer(reply, "inactive", consumer.active_at.map_or(-1, |at| now.wrapping_sub(at)));
    }
    Ok(())
}

fn groups(ctx: &mut Ctx) -> CmdResult {
    let (stream, reply) = find(ctx)?;
    reply.array(stream.groups().len());
    for (name, group) in stream.groups() {
        reply.map(6);
        reply.bulk(b"name");
        reply.bulk(name);
        integer(reply, "consumers", group.consumer_count() as i64);
        integer(reply, "pending", group.pending_len() as i64);
        reply_progress(reply, group, stream.entries());
    }
    Ok(())
}

/// How far a group has read: three fields.
fn reply_progress(reply: &mut Reply, group: &Group, entries: &Entries) {
    field_id(reply, "last-delivered-id", group.last_id);
    known(reply, "entries-read", group.entries_read.map(|read| read as i64));
    known(reply, "lag", group.lag(entries));
}

fn stream(ctx: &mut Ctx) -> CmdResult {
    // Redis finds the key before it reads the options.
    find(ctx)?;
    let count = full_count(&ctx.args).ok_or_else(|| ctx.bad_subcommand("XINFO"))??;
    let key = ctx.key(2);
    let stream = ctx.keys.peek_as::<Stream>(key)?.ok_or(CmdError::NO_SUCH_KEY)?;
    let reply = &mut *ctx.reply;
    let own_fields = if count.is_some() { 9 } else { 10 };
    reply.map(own_fields + if stream.producers().is_some() { 6 } else { 0 });
    reply_counts(reply, stream);
    if let Some(producers) = stream.producers() {
        reply_producers(reply, producers);
    }
    match count {
        Some(count) => reply_full(reply, stream, count),
        None => reply_edges(reply, stream),
    }
    Ok(())
}

/// FULL's COUNT, `usize::MAX` for all, or that FULL is not asked for. `None`: the words are wrong.
fn full_count(args: &Argv<'_>) -> Option<Result<Option<usize>, CmdError>> {
    match args.len() {
        3 => Some(Ok(None)),
        4 if args.is(3, "full") => Some(Ok(Some(FULL_COUNT))),
        6 if args.is(3, "full") && args.is(4, "count") => Some(args.integer(5).map(|count| {
            Some(match count {
                0 => usize::MAX,
                ..0 => FULL_COUNT,
                count => count as usize,
            })
        })),
        _ => None,
    }
}

/// Entries shown by FULL unless it says how many.
const FULL_COUNT: usize = 10;

fn reply_counts(reply: &mut Reply, stream: &Value) {
    let entries = stream.entries();
    integer(reply, "length", entries.len() as i64);
    integer(reply, "radix-tree-keys", entries.node_count() as i64);
    // The index has no tree: as many as Redis has at least.
    integer(reply, "radix-tree-nodes", entries.node_count() as i64 + 1);
    field_id(reply, "last-generated-id", entries.last_id());
    field_id(reply, "max-deleted-entry-id", entries.max_deleted_id());
    integer(reply, "entries-added", entries.added() as i64);
    field_id(reply, "recorded-first-entry-id", entries.first_id());
}

fn reply_producers(reply: &mut Reply, producers: &Producers) {
    let (added, duplicates) = producers.totals();
    integer(reply, "idmp-duration", producers.limits().duration_s as i64);
    integer(reply, "idmp-maxsize", producers.limits().max_size as i64);
    integer(reply, "pids-tracked", producers.len() as i64);
    integer(reply, "iids-tracked", producers.tracked() as i64);
    integer(reply, "iids-added", added as i64);
    integer(reply, "iids-duplicates", duplicates as i64);
}

/// The first entry and the last.
fn reply_edges(reply: &mut Reply, stream: &Value) {
    integer(reply, "groups", stream.groups().len() as i64);
    let mut range = stream.entries().range(StreamId::MIN, StreamId::MAX);
    let last = range.clone().next_back();
    for (name, entry) in [("first-entry", range.next()), ("last-entry", last)] {
        reply.bulk(name.as_bytes());
        match entry {
            Some(entry) => reply_entry(reply, entry),
            None => reply.null(),
        }
    }
}

fn reply_full(reply: &mut Reply, stream: &Value, count: usize) {
    reply.bulk(b"entries");
    let (mark, mut sent) = (reply.defer_array(), 0);
    for entry in stream.entries().range(StreamId::MIN, StreamId::MAX).take(count) {
        reply_entry(reply, entry);
        sent += 1;
    }
    reply.close_array(mark, sent);
    reply.bulk(b"groups");
    reply.array(stream.groups().len());
    for (name, group) in stream.groups() {
        reply_full_group(reply, name, group, stream.entries(), count);
    }
}

fn reply_full_group(reply: &mut Reply, name: &[u8], group: &Group, entries: &Entries, count: usize) {
    let returned = group.returned_len();
    reply.map(if returned > 0 { 8 } else { 7 });
    reply.bulk(b"name");
    reply.bulk(name);
    reply_progress(reply, group, entries);
    integer(reply, "pel-count", group.pending_len() as i64);
    if returned > 0 {
        integer(reply, "nacked-count", returned as i64);
    }
    reply.bulk(b"pending");
    reply.array(group.pending_len().min(count));
    for (id, pending) in group.pending_from(StreamId::MIN).take(count) {
        reply.array(4);
        reply_id(reply, id);
        reply.bulk(pending.consumer.map_or(&b""[..], |owner| group.consumer(owner).name()));
        reply_delivery(reply, pending);
    }
    reply.bulk(b"consumers");
    reply.array(group.consumer_count());
    for (_, consumer) in group.consumers() {
        reply_full_consumer(reply, group, consumer, count);
    }
}

fn reply_full_consumer(reply: &mut Reply, group: &Group, consumer: &Consumer, count: usize) {
    reply.map(5);
    reply.bulk(b"name");
    reply.bulk(consumer.name());
    integer(reply, "seen-time", consumer.seen_at);
    integer(reply, "active-time", consumer.active_at.unwrap_or(-1));
    integer(reply, "pel-count", consumer.pending_len() as i64);
    reply.bulk(b"pending");
    reply.array(consumer.pending_len().min(count));
    let own = consumer.pending_ids(StreamId::MIN).take(count);
    for (id, pending) in own.filter_map(|id| Some((id, group.pending(id)?))) {
        reply.array(3);
        reply_id(reply, id);
        reply_delivery(reply, pending);
    }
}

fn reply_delivery(reply: &mut Reply, pending: Pending) {
    reply.integer(pending.delivered_at);
    reply.integer(pending.deliveries as i64);
}

fn integer(reply: &mut Reply, name: &str, value: i64) {
    reply.bulk(name.as_bytes());
    reply.integer(value);
}

/// A number that may not be known.
fn known(reply: &mut Reply, name: &str, value: Option<i64>) {
    reply.bulk(name.as_bytes());
    match value {
        Some(value) => reply.integer(value),
        None => reply.null(),
    }
}

fn field_id(reply: &mut Reply, name: &str, id: StreamId) {
    reply.bulk(name.as_bytes());
    reply_id(reply, id);
}
