//! Publish and subscribe: the commands. Who listens to what is kept by the engine's registry and the session.

use std::sync::Arc;

use base::glob::{Case, matches};
use resp::reply::Reply;
use store::Plan;

use crate::command::{CmdResult, Command, Group, PlanInput, PlanRule, command, container, flag};
use crate::ctx::Ctx;
use crate::keyspec::{KeySpec, flag as key};
use crate::pubsub::Kind;
use crate::session::{ReplyMode, Session};

pub static TABLE: &[Command] = &[
    command("publish", 3, Group::PubSub, publish)
        .flags(flag::PUBSUB | flag::LOADING | flag::STALE | flag::FAST | flag::MAY_REPLICATE)
        .since("2.0.0")
        .syntax("channel message")
        .docs(
            "Sends a message to everybody who listens to a channel.",
            "O(N+M) where N is the number of clients subscribed to the receiving channel and M is the total number of \
             subscribed patterns (by any client).",
        ),
    container("pubsub", Group::PubSub, PUBSUB)
        .since("2.8.0")
        .docs("Asks about subscriptions.", "Depends on subcommand."),
    command("psubscribe", -2, Group::PubSub, psubscribe)
        .flags(LISTEN)
        .since("2.0.0")
        .syntax("pattern [pattern ...]")
        .docs(
            "Listens to all channels whose names match patterns.",
            "O(N) where N is the number of patterns to subscribe to.",
        ),
    command("punsubscribe", -1, Group::PubSub, punsubscribe)
        .flags(LISTEN)
        .since("2.0.0")
        .syntax("[pattern [pattern ...]]")
        .docs("Stops listening to patterns.", "O(N) where N is the number of patterns to unsubscribe."),
    command("spublish", 3, Group::PubSub, spublish)
        .flags(flag::PUBSUB | flag::LOADING | flag::STALE | flag::FAST | flag::MAY_REPLICATE)
        .keys(&[KeySpec::one(1, key::NOT_KEY)])
        .plan(PlanRule::Custom(no_shards))
        .since("7.0.0")
        .syntax("shardchannel message")
        .docs(
            "Sends a message to everybody who listens to a shard channel.",
            "O(N) where N is the number of clients subscribed to the receiving shard channel.",
        ),
    command("ssubscribe", -2, Group::PubSub, ssubscribe)
        .flags(LISTEN)
        .keys(&[KeySpec::range(1, -1, 1, key::NOT_KEY)])
        .plan(PlanRule::Custom(no_shards))
        .since("7.0.0")
        .syntax("shardchannel [shardchannel ...]")
        .docs("Listens to shard channels.", "O(N) where N is the number of shard channels to subscribe to."),
    command("subscribe", -2, Group::PubSub, subscribe)
        .flags(LISTEN)
        .since("2.0.0")
        .syntax("channel [channel ...]")
        .docs("Listens to channels.", "O(N) where N is the number of channels to subscribe to."),
    command("sunsubscribe", -1, Group::PubSub, sunsubscribe)
        .flags(LISTEN)
        .keys(&[KeySpec::range(1, -1, 1, key::NOT_KEY)])
        .plan(PlanRule::Custom(no_shards))
        .since("7.0.0")
        .syntax("[shardchannel [shardchannel ...]]")
        .docs("Stops listening to shard channels.", "O(N) where N is the number of shard channels to unsubscribe."),
    command("unsubscribe", -1, Group::PubSub, unsubscribe)
        .flags(LISTEN)
        .since("2.0.0")
        .syntax("[channel [channel ...]]")
        .docs("Stops listening to channels.", "O(N) where N is the number of channels to unsubscribe."),
];

static PUBSUB: &[Command] = &[
    command("channels", -2, Group::PubSub, channels)
        .flags(ASK)
        .since("2.8.0")
        .syntax("[pattern]")
        .docs(
            "Names the channels that somebody listens to.",
            "O(N) where N is the number of active channels, and assuming constant time pattern matching (relatively \
             short channels and patterns)",
        ),
    command("help", 2, Group::PubSub, help)
        .flags(flag::LOADING | flag::STALE)
        .since("6.2.0")
        .docs("Explains the subcommands.", "O(1)"),
    command("numpat", 2, Group::PubSub, numpat)
        .flags(ASK)
        .since("2.8.0")
        .docs("Counts the different patterns that somebody listens to.", "O(1)"),
    command("numsub", -2, Group::PubSub, numsub)
        .flags(ASK)
        .since("2.8.0")
        .syntax("[channel [channel ...]]")
        .docs(
            "Counts those who listen to each channel.",
            "O(N) for the NUMSUB subcommand, where N is the number of requested channels",
        ),
    command("shardchannels", -2, Group::PubSub, shardchannels)
        .flags(ASK)
        .since("7.0.0")
        .syntax("[pattern]")
        .docs(
            "Names the shard channels that somebody listens to.",
            "O(N) where N is the number of active shard channels, and assuming constant time pattern matching \
             (relatively short shard channels).",
        ),
    command("shardnumsub", -2, Group::PubSub, shardnumsub)
        .flags(ASK)
        .since("7.0.0")
        .syntax("[shardchannel [shardchannel ...]]")
        .docs(
            "Counts those who listen to each shard channel.",
            "O(N) for the SHARDNUMSUB subcommand, where N is the number of requested shard channels",
        ),
];

const LISTEN: u32 = flag::PUBSUB | flag::NO_SCRIPT | flag::LOADING | flag::STALE;
const ASK: u32 = flag::PUBSUB | flag::LOADING | flag::STALE;

/// Channels have key specs, for the cluster's routing, but lie in no shard of the keyspace.
fn no_shards(_: &PlanInput<'_>) -> Plan {
    Plan::None
}

fn publish(ctx: &mut Ctx) -> CmdResult {
    let receivers = ctx.engine.publish(ctx.args.at(1), ctx.args.at(2));
    ctx.reply.integer(receivers as i64);
    Ok(())
}

fn spublish(ctx: &mut Ctx) -> CmdResult {
    let receivers = ctx.engine.publish_to_shard(ctx.args.at(1), ctx.args.at(2));
    ctx.reply.integer(receivers as i64);
    Ok(())
}

fn subscribe(ctx: &mut Ctx) -> CmdResult {
    listen(ctx, Kind::Channel)
}

fn psubscribe(ctx: &mut Ctx) -> CmdResult {
    listen(ctx, Kind::Pattern)
}

fn ssubscribe(ctx: &mut Ctx) -> CmdResult {
    listen(ctx, Kind::Shard)
}

fn unsubscribe(ctx: &mut Ctx) -> CmdResult {
    stop_listening(ctx, Kind::Channel)
}

fn punsubscribe(ctx: &mut Ctx) -> CmdResult {
    stop_listening(ctx, Kind::Pattern)
}

fn sunsubscribe(ctx: &mut Ctx) -> CmdResult {
    stop_listening(ctx, Kind::Shard)
}

fn listen(ctx: &mut Ctx, kind: Kind) -> CmdResult {
    for name in ctx.args.from(1) {
        ctx.engine.subscribe(ctx.session, kind, name);
        confirm(ctx, kind, Some(name));
    }
    Ok(())
}

fn stop_listening(ctx: &mut Ctx, kind: Kind) -> CmdResult {
    if ctx.args.len() == 1 {
        return stop_listening_to_all(ctx, kind);
    }
    for name in ctx.args.from(1) {
        ctx.engine.unsubscribe(ctx.session, kind, name);
        confirm(ctx, kind, Some(name));
    }
    Ok(())
}

fn stop_listening_to_all(ctx: &mut Ctx, kind: Kind) -> CmdResult {
    if ctx.session.names(kind).is_empty() {
        confirm(ctx, kind, None);
    }
    while let Some(name) = ctx.session.names(kind).first().cloned() {
        ctx.engine.unsubscribe(ctx.session, kind, &name);
        confirm(ctx, kind, Some(&name));
    }
    Ok(())
}

/// Tells the client of one change. It is a message rather than a reply: a client that wants no replies gets
/// it, the way messages come.
fn confirm(ctx: &mut Ctx, kind: Kind, name: Option<&[u8]>) {
    let (word, session) = (ctx.command.row.name, &*ctx.session);
    if session.reply_mode == ReplyMode::On {
        return write_confirmation(ctx.reply, session, kind, word, name);
    }
    let mut reply = Reply::new(session.protocol);
    write_confirmation(&mut reply, session, kind, word, name);
    reply.buf[0] = b'>';
    ctx.engine.push(&session.client, &Arc::new(reply.buf));
}

fn write_confirmation(reply: &mut Reply, session: &Session, kind: Kind, word: &str, name: Option<&[u8]>) {
    let count = match kind {
        Kind::Shard => session.shard_channels.len(),
        Kind::Channel | Kind::Pattern => session.channels.len() + session.patterns.len(),
    };
    reply.push(3);
    reply.bulk(word.as_bytes());
    match name {
        Some(name) => reply.bulk(name),
        None => reply.null(),
    }
    reply.integer(count as i64);
}

fn channels(ctx: &mut Ctx) -> CmdResult {
    list(ctx, Kind::Channel)
}

fn shardchannels(ctx: &mut Ctx) -> CmdResult {
    list(ctx, Kind::Shard)
}

fn numsub(ctx: &mut Ctx) -> CmdResult {
    count(ctx, Kind::Channel)
}

fn shardnumsub(ctx: &mut Ctx) -> CmdResult {
    count(ctx, Kind::Shard)
}

fn numpat(ctx: &mut Ctx) -> CmdResult {
    let patterns = ctx.engine.pubsub.patterns.read().len();
    ctx.reply.integer(patterns as i64);
    Ok(())
}

fn list(ctx: &mut Ctx, kind: Kind) -> CmdResult {
    if ctx.args.len() > 3 {
        return Err(ctx.bad_subcommand("PUBSUB"));
    }
    let pattern = ctx.args.iter().nth(2);
    let fits = |name: &[u8]| pattern.is_none_or(|pattern| matches(pattern, name, Case::Sensitive));
    let map = ctx.engine.pubsub.map(kind).read();
    let mark = ctx.reply.defer_array();
    let names = map.keys().filter(|name| fits(name)).map(|name| ctx.reply.bulk(name)).count();
    ctx.reply.close_array(mark, names);
    Ok(())
}

fn count(ctx: &mut Ctx, kind: Kind) -> CmdResult {
    let map = ctx.engine.pubsub.map(kind).read();
    ctx.reply.array((ctx.args.len() - 2) * 2);
    for name in ctx.args.from(2) {
        ctx.reply.bulk(name);
        ctx.reply.integer(map.get(name).map_or(0, Vec::len) as i64);
    }
    Ok(())
}

fn help(ctx: &mut Ctx) -> CmdResult {
    ctx.help("PUBSUB", HELP);
    Ok(())
}

const HELP: &[&str] = &[
    "CHANNELS [<pattern>]",
    "    Name the channels that have listeners and match <pattern> (default: all).",
    "NUMPAT",
    "    Count the patterns that have listeners.",
    "NUMSUB [<channel> ...]",
    "    Count the listeners of each channel; those of patterns are left out.",
    "SHARDCHANNELS [<pattern>]",
    "    Name the shard channels that have listeners and match <pattern> (default: all).",
    "SHARDNUMSUB [<shardchannel> ...]",
    "    Count the listeners of each shard channel.",
];
