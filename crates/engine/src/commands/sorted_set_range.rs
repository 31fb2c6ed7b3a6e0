//! Ranges of sorted sets, by rank, by score or by member: returned, stored, counted, removed.

use std::ops::Range;

use base::num::parse_f64;
use ds::sorted_set::{Direction, Interval, LexBound, ScoreBound, SortedSetRef};
use store::{Entry, Key, Kind, SortedSet, sorted_set};

use super::hash::DEL;
use super::sorted_set::{PairsReply, announce_removed, row};
use crate::args::Argv;
use crate::command::{CmdResult, Command};
use crate::ctx::Ctx;
use crate::error::CmdError;
use crate::keys::Event;
use crate::keyspec::{KeySpec, flag as key};
use crate::notify::class;

pub static TABLE: &[Command] = &[
    row("zcount", 4, zcount)
        .read()
        .fast()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("2.0.0")
        .syntax("key min=double max=double")
        .docs("Counts the members with scores in a range.", LOG_N),
    row("zlexcount", 4, zlexcount)
        .read()
        .fast()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("2.8.9")
        .syntax("key min=string max=string")
        .docs("Counts the members in a range of members, where all scores are equal.", LOG_N),
    row("zrange", -4, zrange)
        .read()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("1.2.0")
        .history(&[("6.2.0", "Added the `REV`, `BYSCORE`, `BYLEX` and `LIMIT` options.")])
        .syntax("key start=string stop=string [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]")
        .docs(
            "Returns the members in a range of ranks, scores or members.",
            "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements \
             returned.",
        ),
    row("zrangebylex", -4, zrangebylex)
        .read()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("2.8.9")
        .deprecated("6.2.0", "`ZRANGE` with the `BYLEX` argument")
        .syntax("key min=string max=string [LIMIT offset count]")
        .docs("Returns the members in a range of members, where all scores are equal.", LOG_N_PLUS_M),
    row("zrangebyscore", -4, zrangebyscore)
        .read()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("1.0.5")
        .history(&[("2.0.0", "Added the `WITHSCORES` modifier.")])
        .deprecated("6.2.0", "`ZRANGE` with the `BYSCORE` argument")
        .syntax("key min=double max=double [WITHSCORES] [LIMIT offset count]")
        .docs("Returns the members with scores in a range.", LOG_N_PLUS_M),
    row("zrangestore", -5, zrangestore)
        .write()
        .deny_oom()
        .keys(&[KeySpec::one(1, key::OW | key::UPDATE), KeySpec::one(2, key::RO | key::ACCESS)])
        .since("6.2.0")
        .syntax("dst=key.0 src=key.1 min=string max=string [BYSCORE | BYLEX] [REV] [LIMIT offset count]")
        .docs(
            "Stores the members in a range of ranks, scores or members under another key.",
            "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements \
             stored into the destination key.",
        ),
    row("zremrangebylex", 4, zremrangebylex)
        .write()
        .keys(&[KeySpec::one(1, key::RW | key::DELETE)])
        .since("2.8.9")
        .syntax("key min=string max=string")
        .docs("Removes the members in a range of members, where all scores are equal.", LOG_N_REMOVED),
    row("zremrangebyrank", 4, zremrangebyrank)
        .write()
        .keys(&[KeySpec::one(1, key::RW | key::DELETE)])
        .since("2.0.0")
        .syntax("key start stop")
        .docs("Removes the members in a range of ranks.", LOG_N_REMOVED),
    row("zremrangebyscore", 4, zremrangebyscore)
        .write()
        .keys(&[KeySpec::one(1, key::RW | key::DELETE)])
        .since("1.2.0")
        .syntax("key min=double max=double")
        .docs("Removes the members with scores in a range.", LOG_N_REMOVED),
    row("zrevrange", -4, zrevrange)
        .read()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("1.2.0")
        .deprecated("6.2.0", "`ZRANGE` with the `REV` argument")
        .syntax("key start stop [WITHSCORES]")
        .docs(
            "Returns the members in a range of ranks counted from the highest score.",
            "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements \
             returned.",
        ),
    row("zrevrangebylex", -4, zrevrangebylex)
        .read()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("2.8.9")
        .deprecated("6.2.0", "`ZRANGE` with the `REV` and `BYLEX` arguments")
        .syntax("key max=string min=string [LIMIT offset count]")
        .docs("Returns the members in a range of members, the last first.", LOG_N_PLUS_M),
    row("zrevrangebyscore", -4, zrevrangebyscore)
        .read()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("2.2.0")
        .history(&[("2.1.6", "`min` and `max` can be exclusive.")])
        .deprecated("6.2.0", "`ZRANGE` with the `REV` and `BYSCORE` arguments")
        .syntax("key max=double min=double [WITHSCORES] [LIMIT offset count]")
        .docs("Returns the members with scores in a range, the highest first.", LOG_N_PLUS_M),
];

const LOG_N: &str = "O(log(N)) with N being the number of elements in the sorted set.";
const LOG_N_PLUS_M: &str = "O(log(N)+M) with N being the number of elements in the sorted set and M the \
                            number of elements being returned. If M is constant (e.g. always asking for \
                            the first 10 elements with LIMIT), you can consider it O(log(N)).";
const LOG_N_REMOVED: &str = "O(log(N)+M) with N being the number of elements in the sorted set and M the \
                             number of elements removed by the operation.";

/// By what a range is given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// Which members are meant.
#[derive(Clone, Copy)]
enum Selection<'a> {
    /// From one to the other, negative ones counted from the end.
    Ranks(i64, i64),
    Interval(Interval<'a>),
}

/// A range as a request gives it.
struct Request<'a> {
    selection: Selection<'a>,
    direction: Direction,
    /// How many members of the selection are passed over; with a negative number, all.
    offset: i64,
    /// A negative number is no limit.
    limit: i64,
    with_scores: bool,
}

/// What a command's name says of its ranges; what it does not say, options may.
#[derive(Clone, Copy)]
struct Fixed {
    by: Option<By>,
    direction: Option<Direction>,
    stores: bool,
}

impl<'a> Request<'a> {
    /// Reads the two ends, the first of them at `at`, and the options behind them.
    fn parse(args: &Argv<'a>, at: usize, fixed: Fixed) -> Result<Request<'a>, CmdError> {
        let (mut by, mut direction) = (fixed.by, fixed.direction);
        let (mut offset, mut limit, mut with_scores) = (0, NO_LIMIT, false);
        let mut index = at + 2;
        while index < args.len() {
            match () {
                () if !fixed.stores && args.is(index, "withscores") => with_scores = true,
                () if args.is(index, "limit") && index + 2 < args.len() => {
                    (offset, limit) = (args.integer(index + 1)?, args.integer(index + 2)?);
                    index += 2;
                }
                () if direction.is_none() && args.is(index, "rev") => {
                    direction = Some(Direction::Descending);
                }
                () if by.is_none() && args.is(index, "bylex") => by = Some(By::Lex),
                () if by.is_none() && args.is(index, "byscore") => by = Some(By::Score),
                () => return Err(CmdError::SYNTAX),
            }
            index += 1;
        }
        let (by, direction) = (by.unwrap_or(By::Rank), direction.unwrap_or(Direction::Ascending));
        if limit != NO_LIMIT && by == By::Rank {
            return Err(CmdError::fixed(LIMIT_OF_RANKS));
        }
        if with_scores && by == By::Lex {
            return Err(CmdError::fixed(SCORES_OF_LEX));
        }
        let selection = Selection::parse(args, at, by, direction)?;
        Ok(Request { selection, direction, offset, limit, with_scores })
    }

    /// The ranks that are meant of a set.
    fn ranks(&self, set: SortedSetRef<'_>) -> Range<usize> {
        let Range { start, end } = match self.selection {
            Selection::Ranks(start, stop) => return rank_range(start, stop, set.len(), self.direction),
            Selection::Interval(interval) => set.ranks(interval),
        };
        let Ok(offset) = usize::try_from(self.offset) else { return 0..0 };
        let offset = offset.min(end - start);
        let count = usize::try_from(self.limit).unwrap_or(usize::MAX).min(end - start - offset);
        match self.direction {
            Direction::Ascending => start + offset..start + offset + count,
            Direction::Descending => end - offset - count..end - offset,
        }
    }
}

impl<'a> Selection<'a> {
    /// In a descending range by score or member, the upper end comes first.
    fn parse(args: &Argv<'a>, at: usize, by: By, direction: Direction) -> Result<Selection<'a>, CmdError> {
        let (min, max) = if direction == Direction::Ascending { (at, at + 1) } else { (at + 1, at) };
        match by {
            By::Rank => Ok(Selection::Ranks(args.integer(at)?, args.integer(at + 1)?)),
            By::Score => score_interval(args, min, max).map(Selection::Interval),
            By::Lex => lex_interval(args, min, max).map(Selection::Interval),
        }
    }
}

/// The ranks from `start` to `stop`, counted from the end that comes first; negative ones from the other.
fn rank_range(start: i64, stop: i64, len: usize, direction: Direction) -> Range<usize> {
    let resolve = |index: i64| if index < 0 { (len as i64).saturating_add(index) } else { index };
    let (start, stop) = (resolve(start).max(0), resolve(stop));
    if start > stop || start >= len as i64 {
        return 0..0;
    }
    let (start, end) = (start as usize, (stop as usize).saturating_add(1).min(len));
    if direction == Direction::Ascending { start..end } else { len - end..len - start }
}

fn score_interval<'a>(args: &Argv<'a>, min: usize, max: usize) -> Result<Interval<'a>, CmdError> {
    let bounds = score_bound(args.at(min)).zip(score_bound(args.at(max)));
    let (min, max) = bounds.ok_or(CmdError::fixed("ERR min or max is not a float"))?;
    Ok(Interval::Scores(min, max))
}

fn score_bound(text: &[u8]) -> Option<ScoreBound> {
    match text.strip_prefix(b"(") {
        Some(text) => c_double(text).map(ScoreBound::Exclusive),
        None => c_double(text).map(ScoreBound::Inclusive),
    }
}

/// A double as C's strtod takes it, which Redis asks here directly: blanks before it are fine, what is too
/// large is infinite, and nothing at all is 0.
fn c_double(text: &[u8]) -> Option<f64> {
    if text.is_empty() {
        return Some(0.0);
    }
    let text = text.trim_ascii_start();
    let lenient = || std::str::from_utf8(text).ok()?.parse().ok().filter(|value: &f64| !value.is_nan());
    parse_f64(text).or_else(lenient)
}

fn lex_interval<'a>(args: &Argv<'a>, min: usize, max: usize) -> Result<Interval<'a>, CmdError> {
    let bounds = lex_bound(args.at(min)).zip(lex_bound(args.at(max)));
    let (min, max) = bounds.ok_or(CmdError::fixed("ERR min or max not valid string range item"))?;
    Ok(Interval::Members(min, max))
}

fn lex_bound(text: &[u8]) -> Option<LexBound<'_>> {
    match text {
        b"-" => Some(LexBound::Lowest),
        b"+" => Some(LexBound::Highest),
        [b'[', member @ ..] => Some(LexBound::Inclusive(member)),
        [b'(', member @ ..] => Some(LexBound::Exclusive(member)),
        _ => None,
    }
}

fn zrange(ctx: &mut Ctx) -> CmdResult {
    reply_range(ctx, None, None)
}

fn zrevrange(ctx: &mut Ctx) -> CmdResult {
    reply_range(ctx, Some(By::Rank), Some(Direction::Descending))
}

fn zrangebyscore(ctx: &mut Ctx) -> CmdResult {
    reply_range(ctx, Some(By::Score), Some(Direction::Ascending))
}

fn zrevrangebyscore(ctx: &mut Ctx) -> CmdResult {
    reply_range(ctx, Some(By::Score), Some(Direction::Descending))
}

fn zrangebylex(ctx: &mut Ctx) -> CmdResult {
    reply_range(ctx, Some(By::Lex), Some(Direction::Ascending))
}

fn zrevrangebylex(ctx: &mut Ctx) -> CmdResult {
    reply_range(ctx, Some(By::Lex), Some(Direction::Descending))
}

fn reply_range(ctx: &mut Ctx, by: Option<By>, direction: Option<Direction>) -> CmdResult {
    let request = Request::parse(&ctx.args, 2, Fixed { by, direction, stores: false })?;
    let key = ctx.key(1);
    let Some(set) = ctx.keys.read::<SortedSet>(key)? else {
        ctx.reply.array(0);
        return Ok(());
    };
    let items = set.items(request.ranks(set), request.direction);
    let mut reply = PairsReply { reply: ctx.reply, with_scores: request.with_scores };
    reply.begin(items.len());
    items.for_each(|item| reply.pair(item));
    Ok(())
}

fn zrangestore(ctx: &mut Ctx) -> CmdResult {
    let request = Request::parse(&ctx.args, 3, Fixed { by: None, direction: None, stores: true })?;
    let (destination, source, clock) = (ctx.key(1), ctx.key(2), ctx.keys.access.fresh);
    let entry = match ctx.keys.read::<SortedSet>(source)? {
        None => None,
        Some(set) => {
            let items = set.items(request.ranks(set), Direction::Ascending);
            let made = sorted_set::entry(destination.bytes, items, ctx.config.thresholds, clock);
            made.map_err(|error| CmdError::new(format!("ERR {error}")))?
        }
    };
    store_result(ctx, destination, entry, (class::SORTED_SET, "zrangestore"), 1);
    Ok(())
}

/// Puts a sorted set under a key and answers how many members it has; without one, the key goes.
/// It counts as `changes`.
pub(super) fn store_result(
    ctx: &mut Ctx,
    destination: Key<'_>,
    entry: Option<Entry>,
    event: Event,
    changes: u64,
) {
    let len = entry.as_ref().map_or(0, |entry| SortedSet::view(entry.view()).len());
    match entry {
        Some(entry) => {
            ctx.keys.put(destination, entry);
            ctx.keys.changed_by(destination, event, changes);
        }
        None if ctx.keys.delete(destination) => ctx.keys.changed(destination, DEL),
        None => {}
    }
    ctx.reply.integer(len as i64);
}

fn zcount(ctx: &mut Ctx) -> CmdResult {
    let interval = score_interval(&ctx.args, 2, 3)?;
    reply_count(ctx, interval)
}

fn zlexcount(ctx: &mut Ctx) -> CmdResult {
    let interval = lex_interval(&ctx.args, 2, 3)?;
    reply_count(ctx, interval)
}

fn reply_count(ctx: &mut Ctx, interval: Interval<'_>) -> CmdResult {
    let key = ctx.key(1);
    let count = ctx.keys.read::<SortedSet>(key)?.map_or(0, |set| set.ranks(interval).len());
    ctx.reply.integer(count as i64);
    Ok(())
}

fn zremrangebyrank(ctx: &mut Ctx) -> CmdResult {
    remove_range(ctx, By::Rank, "zremrangebyrank")
}

fn zremrangebyscore(ctx: &mut Ctx) -> CmdResult {
    remove_range(ctx, By::Score, "zremrangebyscore")
}

fn zremrangebylex(ctx: &mut Ctx) -> CmdResult {
    remove_range(ctx, By::Lex, "zremrangebylex")
}

fn remove_range(ctx: &mut Ctx, by: By, event: &'static str) -> CmdResult {
    let direction = Direction::Ascending;
    let selection = Selection::parse(&ctx.args, 2, by, direction)?;
    let request = Request { selection, direction, offset: 0, limit: NO_LIMIT, with_scores: false };
    let key = ctx.key(1);
    let Some(mut set) = ctx.keys.write::<SortedSet>(key)? else {
        ctx.reply.integer(0);
        return Ok(());
    };
    let (ranks, len) = (request.ranks(set.view()), set.len());
    let removed = ranks.len();
    // A set that loses all its members goes as a whole.
    if removed < len {
        set.remove_ranks(ranks);
    }
    announce_removed(ctx, key, (class::SORTED_SET, event), removed, removed == len);
    ctx.reply.integer(removed as i64);
    Ok(())
}

const NO_LIMIT: i64 = -1;
const LIMIT_OF_RANKS: &str =
    "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX";
const SCORES_OF_LEX: &str = "ERR syntax error, WITHSCORES not supported in combination with BYLEX";
