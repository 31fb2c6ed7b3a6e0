//! Pending entries change hands: XCLAIM, XAUTOCLAIM, and the XCLAIM that tells a log of it.

use base::num::parse_i64;
use ds::stream::{ConsumerId, Entries, GroupMut, Pending, StreamId};
use smallvec::SmallVec;
use store::{Key, Stream};

use super::stream::row;
use super::stream_args::{Ids, id, no_group, range_start, reply_entry, reply_id};
use super::stream_read::{CREATE_CONSUMER, name_group_id};
use crate::args::Argv;
use crate::command::{CmdResult, Command};
use crate::ctx::Ctx;
use crate::error::CmdError;
use crate::keyspec::{KeySpec, flag as key};

pub static TABLE: &[Command] = &[
    row("xautoclaim", -6, xautoclaim)
        .write()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::DELETE)])
        .since("6.2.0")
        .tips(&["nondeterministic_output"])
        .history(&[(
            "7.0.0",
            "Added an element to the reply array, containing deleted entries the command cleared from the PEL",
        )])
        .syntax("key group consumer min-idle-time start=string [COUNT count] [JUSTID]")
        .docs(
            "Gives a consumer the pending entries that others have had for too long.",
            "O(1) if COUNT is small.",
        ),
    row("xclaim", -6, xclaim)
        .write()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::UPDATE)])
        .since("5.0.0")
        .tips(&["nondeterministic_output"])
        .syntax(
            "key group consumer min-idle-time id [id ...] [IDLE ms] [TIME unix-time-milliseconds] \
             [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID lastid]",
        )
        .docs(
            "Gives a consumer pending entries of others.",
            "O(log N) with N being the number of messages in the PEL of the consumer group.",
        ),
];

/// A pending entry that a consumer got, and how often it has been given since.
#[derive(Clone, Copy)]
pub(super) struct Claim {
    pub id: StreamId,
    pub deliveries: u64,
}

/// Names the XCLAIMs that make entries pending for a consumer as they are now.
pub(super) fn name_claims(
    ctx: &mut Ctx,
    key: Key<'_>,
    (group, consumer): (&[u8], &[u8]),
    claims: &[Claim],
    delivered_at: i64,
    last_id: StreamId,
) {
    let (last_id, mut time) = (last_id.text(), itoa::Buffer::new());
    let time = time.format(delivered_at).as_bytes();
    let same = |a: &Claim, b: &Claim| a.deliveries == b.deliveries;
    for run in claims.chunk_by(same).flat_map(|run| run.chunks(CLAIMS_PER_EFFECT)) {
        let mut count = itoa::Buffer::new();
        let count = count.format(run[0].deliveries).as_bytes();
        let ids: SmallVec<[_; 4]> = run.iter().map(|claim| claim.id.text()).collect();
        let mut words: SmallVec<[&[u8]; 20]> =
            SmallVec::from_slice(&[b"XCLAIM".as_slice(), key.bytes, group, consumer, b"0"]);
        words.extend(ids.iter().map(|id| id.bytes()));
        words.extend([b"TIME".as_slice(), time, b"RETRYCOUNT", count, b"FORCE", b"JUSTID", b"LASTID"]);
        words.push(last_id.bytes());
        ctx.keys.effect(&words);
    }
}

/// Entries in one XCLAIM of the log: many, but not so many that one effect is a large block.
const CLAIMS_PER_EFFECT: usize = 256;

/// XCLAIM's words behind the ids.
struct ClaimOptions {
    ids: Ids,
    min_idle_ms: i64,
    /// As it was asked for; `None`: now.
    delivered_at: Option<i64>,
    deliveries: Option<u64>,
    force: bool,
    just_ids: bool,
    last_id: StreamId,
}

impl ClaimOptions {
    fn parse(args: &Argv<'_>, now: i64) -> Result<ClaimOptions, CmdError> {
        let number = |at: usize, error: &'static str| parse_i64(args.at(at)).ok_or(CmdError::new(error));
        let min_idle_ms = number(4, "ERR Invalid min-idle-time argument for XCLAIM")?.max(0);
        let ids: Ids = args.from(5).map_while(|text| StreamId::parse(text, 0)).collect();
        let mut at = 5 + ids.len();
        let mut options = ClaimOptions {
            ids,
            min_idle_ms,
            delivered_at: None,
            deliveries: None,
            force: false,
            just_ids: false,
            last_id: StreamId::MIN,
        };
        while at < args.len() {
            let has_operand = at < args.last();
            if args.is(at, "force") {
                options.force = true;
            } else if args.is(at, "justid") {
                options.just_ids = true;
            } else if args.is(at, "idle") && has_operand {
                let idle = number(at + 1, "ERR Invalid IDLE option argument for XCLAIM")?;
                options.delivered_at = Some(now.wrapping_sub(idle));
                at += 1;
            } else if args.is(at, "time") && has_operand {
                options.delivered_at = Some(number(at + 1, "ERR Invalid TIME option argument for XCLAIM")?);
                at += 1;
            } else if args.is(at, "retrycount") && has_operand {
                let count = number(at + 1, "ERR Invalid RETRYCOUNT option argument for XCLAIM")?;
                options.deliveries = u64::try_from(count).ok();
                at += 1;
            } else if args.is(at, "lastid") && has_operand {
                options.last_id = id(args.at(at + 1))?;
                at += 1;
            } else {
                let text = [b"ERR Unrecognized XCLAIM option '", args.at(at), b"'"].concat();
                return Err(CmdError::of_bytes(text));
            }
            at += 1;
        }
        Ok(options)
    }
}

/// What claiming did.
#[derive(Default)]
struct Claimed {
    is_new_consumer: bool,
    claims: Vec<Claim>,
    /// Pending entries that are no more in the stream.
    gone: Vec<StreamId>,
    /// Where a search goes on.
    next: StreamId,
    last_id: StreamId,
    moved: Option<Option<u64>>,
}

/// The consumer of this name, which is made if it is missing, now seen.
fn consumer(group: &mut GroupMut<'_>, name: &[u8], now: i64, claimed: &mut Claimed) -> ConsumerId {
    let created = group.create_consumer(name, now);
    claimed.is_new_consumer = created.is_some();
    let id = created.or_else(|| group.consumer_named(name)).expect("a consumer that cannot be made is there");
    group.consumer_mut(id).seen_at = now;
    id
}

fn xclaim(ctx: &mut Ctx) -> CmdResult {
    let (key, args, now) = (ctx.key(1), ctx.args, ctx.now().0);
    ctx.keys.no_effect();
    let mut stream = ctx.keys.write::<Stream>(key)?;
    let has_group = stream.as_ref().is_some_and(|stream| stream.view().group(args.at(2)).is_some());
    let Some(stream) = stream.as_mut().filter(|_| has_group) else {
        return Err(no_group(args.at(1), args.at(2), ""));
    };
    let options = ClaimOptions::parse(&args, now)?;
    let delivered_at = options.delivered_at.filter(|time| (0..=now).contains(time)).unwrap_or(now);
    let claimed = stream.edit(|stream| {
        let (mut group, entries) = stream.group_mut(args.at(2)).expect("it was found above");
        claim(&mut group, entries, args.at(3), &options, delivered_at, now)
    });
    finish(ctx, key, &claimed, delivered_at);
    ctx.reply.array(claimed.claims.len());
    reply_claims(ctx, key, &claimed, options.just_ids)
}

fn claim(
    group: &mut GroupMut<'_>,
    entries: &Entries,
    name: &[u8],
    options: &ClaimOptions,
    delivered_at: i64,
    now: i64,
) -> Claimed {
    let mut claimed = Claimed::default();
    if options.last_id > group.last_id {
        group.last_id = options.last_id;
        claimed.moved = Some(group.entries_read);
    }
    let consumer = consumer(group, name, now, &mut claimed);
    for &id in &options.ids {
        let old = group.pending(id);
        if !entries.contains(id) {
            if group.remove_pending(id).is_some() {
                claimed.gone.push(id);
            }
            continue;
        }
        if old.is_none() && !options.force {
            continue;
        }
        if old.is_some_and(|old| !is_idle(old, options.min_idle_ms, now)) {
            continue;
        }
        // An entry that FORCE makes pending counts as given once.
        let before = old.map_or(1, |old| old.deliveries);
        let deliveries = match options.deliveries {
            Some(count) => count,
            None if options.just_ids => before,
            None => before.saturating_add(1).min(i64::MAX as u64),
        };
        group.set_pending(id, Pending { consumer: Some(consumer), delivered_at, deliveries });
        group.consumer_mut(consumer).active_at = Some(now);
        claimed.claims.push(Claim { id, deliveries });
    }
    claimed.last_id = group.last_id;
    claimed
}

/// Whether it is long enough since an entry was given; one without a consumer waits for anybody.
fn is_idle(pending: Pending, min_idle_ms: i64, now: i64) -> bool {
    pending.consumer.is_none() || min_idle_ms == 0 || now.wrapping_sub(pending.delivered_at) >= min_idle_ms
}

/// Tells and names what was claimed.
fn finish(ctx: &mut Ctx, key: Key<'_>, claimed: &Claimed, delivered_at: i64) {
    let (group, name) = (ctx.args.at(2), ctx.args.at(3));
    let changes = claimed.claims.len() + claimed.gone.len();
    ctx.keys.add_dirty(changes as u64 + u64::from(claimed.is_new_consumer));
    if claimed.is_new_consumer {
        ctx.keys.event(key, CREATE_CONSUMER);
        ctx.keys.effect(&[b"XGROUP", b"CREATECONSUMER", key.bytes, group, name]);
    }
    for gone in &claimed.gone {
        ctx.keys.effect(&[b"XACK", key.bytes, group, gone.text().bytes()]);
    }
    if ctx.keys.is_logged() {
        name_claims(ctx, key, (group, name), &claimed.claims, delivered_at, claimed.last_id);
    }
    if let Some(read) = claimed.moved {
        ctx.keys.add_dirty(1);
        name_group_id(ctx, key, group, claimed.last_id, read);
    }
}

fn reply_claims(ctx: &mut Ctx, key: Key<'_>, claimed: &Claimed, just_ids: bool) -> CmdResult {
    let stream = ctx.keys.peek_as::<Stream>(key)?.expect("it was just changed");
    for claim in &claimed.claims {
        match stream.entries().get(claim.id) {
            Some(entry) if !just_ids => reply_entry(ctx.reply, entry),
            _ => reply_id(ctx.reply, claim.id),
        }
    }
    Ok(())
}

/// XAUTOCLAIM's words.
struct SearchOptions {
    min_idle_ms: i64,
    start: StreamId,
    count: usize,
    just_ids: bool,
}

impl SearchOptions {
    fn parse(args: &Argv<'_>) -> Result<SearchOptions, CmdError> {
        let min_idle_ms = parse_i64(args.at(4))
            .ok_or(CmdError::new("ERR Invalid min-idle-time argument for XAUTOCLAIM"))?
            .max(0);
        let start = range_start(args.at(5))?;
        let mut options = SearchOptions { min_idle_ms, start, count: 100, just_ids: false };
        let mut at = 6;
        while at < args.len() {
            if args.is(at, "count") && at < args.last() {
                let count = args.integer(at + 1).ok().filter(|count| (1..=COUNT_MAX).contains(count));
                options.count = count.ok_or(CmdError::new("ERR COUNT must be > 0"))? as usize;
                at += 1;
            } else if args.is(at, "justid") {
                options.just_ids = true;
            } else {
                return Err(CmdError::SYNTAX);
            }
            at += 1;
        }
        Ok(options)
    }
}

fn xautoclaim(ctx: &mut Ctx) -> CmdResult {
    let options = SearchOptions::parse(&ctx.args)?;
    let (key, args, now) = (ctx.key(1), ctx.args, ctx.now().0);
    ctx.keys.no_effect();
    let mut stream = ctx.keys.write::<Stream>(key)?;
    let has_group = stream.as_ref().is_some_and(|stream| stream.view().group(args.at(2)).is_some());
    let Some(stream) = stream.as_mut().filter(|_| has_group) else {
        return Err(no_group(args.at(1), args.at(2), ""));
    };
    let claimed = stream.edit(|stream| {
        let (mut group, entries) = stream.group_mut(args.at(2)).expect("it was found above");
        search(&mut group, entries, args.at(3), &options, now)
    });
    finish(ctx, key, &claimed, now);
    ctx.reply.array(3);
    reply_id(ctx.reply, claimed.next);
    ctx.reply.array(claimed.claims.len());
    reply_claims(ctx, key, &claimed, options.just_ids)?;
    ctx.reply.array(claimed.gone.len());
    claimed.gone.iter().for_each(|id| reply_id(ctx.reply, *id));
    Ok(())
}

/// Looks at pending entries in order of ids, at ten for each that may be claimed.
fn search(
    group: &mut GroupMut<'_>,
    entries: &Entries,
    name: &[u8],
    options: &SearchOptions,
    now: i64,
) -> Claimed {
    let mut claimed = Claimed { last_id: group.last_id, ..Claimed::default() };
    let consumer = consumer(group, name, now, &mut claimed);
    let mut next = group.pending_from(options.start).next();
    for _ in 0..options.count.saturating_mul(LOOKS_PER_CLAIM) {
        let Some((id, pending)) = next else { break };
        if claimed.claims.len() + claimed.gone.len() == options.count {
            break;
        }
        if !entries.contains(id) {
            group.remove_pending(id);
            claimed.gone.push(id);
        } else if is_idle(pending, options.min_idle_ms, now) {
            let more = u64::from(!options.just_ids);
            let deliveries = pending.deliveries.saturating_add(more).min(i64::MAX as u64);
            group.set_pending(id, Pending { consumer: Some(consumer), delivered_at: now, deliveries });
            group.consumer_mut(consumer).active_at = Some(now);
            claimed.claims.push(Claim { id, deliveries });
        }
        next = id.next().and_then(|from| group.pending_from(from).next());
    }
    claimed.next = next.map_or(StreamId::MIN, |(id, _)| id);
    claimed
}

const LOOKS_PER_CLAIM: usize = 10;
/// So that ten looks for each and an id for each are still numbers.
const COUNT_MAX: i64 = i64::MAX / 16;
