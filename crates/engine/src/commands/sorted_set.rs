//! Sorted sets: members with scores under one key, and what is asked of single members. Ranges, set algebra
//! and what pops members are told by the files beside this one.

use std::collections::HashSet;

use base::num::{write_f64, write_f64_shortest};
use ds::sorted_set::{Direction, ScoredMember, SortedSetRef};
use resp::reply::{Protocol, Reply};
use smallvec::SmallVec;
use store::sorted_set::SortedSetMut;
use store::{Key, SortedSet};

use super::hash::remove_emptied;
use super::scan::{ScanOptions, parse_cursor};
use crate::args::Argv;
use crate::command::{CmdResult, Command, Group, Run, command};
use crate::ctx::Ctx;
use crate::elements::{reply_element, reply_found};
use crate::error::CmdError;
use crate::keys::Event;
use crate::keyspec::{KeySpec, flag as key};
use crate::notify::class;

pub(super) const fn row(name: &'static str, arity: i32, run: Run) -> Command {
    command(name, arity, Group::SortedSet, run)
}

pub static TABLE: &[Command] = &[
    row("zadd", -4, zadd)
        .write()
        .deny_oom()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::UPDATE)])
        .since("1.2.0")
        .history(&[
            ("2.4.0", "Accepts multiple elements."),
            ("3.0.2", "Added the `XX`, `NX`, `CH` and `INCR` options."),
            ("6.2.0", "Added the `GT` and `LT` options."),
        ])
        .syntax("key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]")
        .docs(
            "Adds members to a sorted set or changes their scores; makes the set if the key does not exist.",
            "O(log(N)) for each item added, where N is the number of elements in the sorted set.",
        ),
    row("zcard", 2, zcard)
        .read()
        .fast()
        .keys(&[KeySpec::one(1, key::RO)])
        .since("1.2.0")
        .syntax("key")
        .docs("Returns how many members a sorted set has.", "O(1)"),
    row("zincrby", 4, zincrby)
        .write()
        .deny_oom()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::ACCESS | key::UPDATE)])
        .since("1.2.0")
        .syntax("key increment member")
        .docs(
            "Adds a number to a member's score; a missing member counts as 0.",
            "O(log(N)) where N is the number of elements in the sorted set.",
        ),
    row("zmscore", -3, zmscore)
        .read()
        .fast()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("6.2.0")
        .syntax("key member [member ...]")
        .docs(
            "Returns the scores of several members.",
            "O(N) where N is the number of members being requested.",
        ),
    row("zrandmember", -2, zrandmember)
        .read()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("6.2.0")
        .tips(&["nondeterministic_output"])
        .syntax("key [count [WITHSCORES]]")
        .docs(
            "Returns members of a sorted set picked at random.",
            "O(N) where N is the number of elements returned",
        ),
    row("zrank", -3, zrank)
        .read()
        .fast()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("2.0.0")
        .history(&[("7.2.0", "Added the optional `WITHSCORE` argument.")])
        .syntax("key member [WITHSCORE]")
        .docs("Returns how many members of a sorted set stand before a member.", "O(log(N))"),
    row("zrem", -3, zrem)
        .write()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::DELETE)])
        .since("1.2.0")
        .history(&[("2.4.0", "Accepts multiple elements.")])
        .syntax("key member [member ...]")
        .docs(
            "Removes members from a sorted set, and the set with its last one.",
            "O(M*log(N)) with N being the number of elements in the sorted set and M the number of elements \
             to be removed.",
        ),
    row("zrevrank", -3, zrevrank)
        .read()
        .fast()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("2.0.0")
        .history(&[("7.2.0", "Added the optional `WITHSCORE` argument.")])
        .syntax("key member [WITHSCORE]")
        .docs("Returns how many members of a sorted set stand behind a member.", "O(log(N))"),
    row("zscan", -3, zscan)
        .read()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("2.8.0")
        .tips(&["nondeterministic_output"])
        .history(&[("8.0.0", "Added the `NOSCORES` flag.")])
        .syntax("key cursor [MATCH pattern] [COUNT count] [NOSCORES]")
        .docs(
            "Walks through the members of a sorted set step by step.",
            "O(1) for every call. O(N) for a complete iteration, including enough command calls for the \
             cursor to return back to 0. N is the number of elements inside the collection.",
        ),
    row("zscore", 3, zscore)
        .read()
        .fast()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("1.2.0")
        .syntax("key member")
        .docs("Returns a member's score.", "O(1)"),
];

/// How ZADD is told to treat members that are there, or not.
#[derive(Clone, Copy, Default)]
pub(super) struct AddOptions {
    if_absent: bool,
    if_present: bool,
    if_greater: bool,
    if_less: bool,
    count_changed: bool,
    increment: bool,
    /// Where the first score stands, or the first point.
    pub first: usize,
}

impl AddOptions {
    fn parse(args: &Argv, increment: bool) -> Result<AddOptions, CmdError> {
        let mut options = AddOptions { increment, first: 2, ..AddOptions::default() };
        while options.first < args.len() && options.take(args, options.first) {
            options.first += 1;
        }
        let count = args.len() - options.first;
        if count == 0 || !count.is_multiple_of(2) {
            return Err(CmdError::SYNTAX);
        }
        let AddOptions { if_absent, if_present, if_greater, if_less, increment, .. } = options;
        if if_absent && if_present {
            return Err(CmdError::fixed("ERR XX and NX options at the same time are not compatible"));
        }
        if (if_greater || if_less) && if_absent || if_greater && if_less {
            return Err(CmdError::fixed("ERR GT, LT, and/or NX options at the same time are not compatible"));
        }
        if increment && count > 2 {
            return Err(CmdError::fixed("ERR INCR option supports a single increment-element pair"));
        }
        Ok(options)
    }

    /// GEOADD's.
    pub fn of_points(args: &Argv) -> Result<AddOptions, CmdError> {
        let mut options = AddOptions { first: 2, ..AddOptions::default() };
        while ["nx", "xx", "ch"].iter().any(|word| args.is(options.first, word)) {
            options.take(args, options.first);
            options.first += 1;
        }
        let is_whole = (args.len() - options.first).is_multiple_of(3);
        if !is_whole || options.if_absent && options.if_present {
            return Err(CmdError::SYNTAX);
        }
        Ok(options)
    }

    fn take(&mut self, args: &Argv, index: usize) -> bool {
        let option = match () {
            () if args.is(index, "nx") => &mut self.if_absent,
            () if args.is(index, "xx") => &mut self.if_present,
            () if args.is(index, "gt") => &mut self.if_greater,
            () if args.is(index, "lt") => &mut self.if_less,
            () if args.is(index, "ch") => &mut self.count_changed,
            () if args.is(index, "incr") => &mut self.increment,
            () => return false,
        };
        *option = true;
        true
    }

    /// The score that a member with score `old` gets; None if it is to be left alone.
    fn choose(self, old: Option<f64>, given: f64) -> Result<Option<f64>, CmdError> {
        let Some(old) = old else { return Ok((!self.if_present).then_some(given)) };
        let new = if self.increment { old + given } else { given };
        if self.if_absent {
            return Ok(None);
        }
        if new.is_nan() {
            return Err(CmdError::fixed("ERR resulting score is not a number (NaN)"));
        }
        let refused = self.if_greater && new <= old || self.if_less && new >= old;
        Ok((!refused).then_some(new))
    }
}

/// What ZADD did.
#[derive(Default)]
struct Added {
    added: u64,
    updated: u64,
    /// Of the last member that was not left alone.
    score: Option<f64>,
}

fn zadd(ctx: &mut Ctx) -> CmdResult {
    add(ctx, false)
}

fn zincrby(ctx: &mut Ctx) -> CmdResult {
    add(ctx, true)
}

fn add(ctx: &mut Ctx, increment: bool) -> CmdResult {
    let args = ctx.args;
    let options = AddOptions::parse(&args, increment)?;
    let scores = (options.first..args.len()).step_by(2).map(|index| args.float(index));
    let scores: SmallVec<[f64; 8]> = scores.collect::<Result<_, _>>()?;
    add_members(ctx, options, &scores, 2)
}

/// Gives members these scores. Each stands at the end of its `width` arguments.
pub(super) fn add_members(ctx: &mut Ctx, options: AddOptions, scores: &[f64], width: usize) -> CmdResult {
    let (key, args) = (ctx.key(1), ctx.args);
    let set = match options.if_present {
        true => ctx.keys.write::<SortedSet>(key)?,
        false => Some(ctx.keys.write_or_create::<SortedSet>(key)?),
    };
    let mut done = Added::default();
    if let Some(mut set) = set {
        for (index, &score) in scores.iter().enumerate() {
            let member = args.at(options.first + width * (index + 1) - 1);
            add_member(&mut set, member, score, options, &mut done)?;
        }
    }
    let changed = done.added + done.updated;
    if changed > 0 {
        ctx.keys.changed_by(key, if options.increment { ZINCR } else { ZADD }, changed);
    }
    match (options.increment, done.score) {
        (true, Some(score)) => ctx.reply.double(score),
        (true, None) => ctx.reply.null(),
        (false, _) if options.count_changed => ctx.reply.integer(changed as i64),
        (false, _) => ctx.reply.integer(done.added as i64),
    }
    Ok(())
}

/// Only an increment fails, and that of a single member: nothing has changed then.
fn add_member(
    set: &mut SortedSetMut<'_>,
    member: &[u8],
    given: f64,
    options: AddOptions,
    done: &mut Added,
) -> CmdResult {
    let mut result = Ok(());
    set.update(member, (!options.increment).then_some(given), |old| {
        let chosen = options.choose(old, given).unwrap_or_else(|error| {
            result = Err(error);
            None
        })?;
        done.score = Some(chosen);
        match old {
            None => done.added += 1,
            Some(old) if old == chosen => return None,
            Some(_) => done.updated += 1,
        }
        Some(chosen)
    });
    result
}

fn zrem(ctx: &mut Ctx) -> CmdResult {
    let (key, args) = (ctx.key(1), ctx.args);
    let Some(mut set) = ctx.keys.write::<SortedSet>(key)? else {
        ctx.reply.integer(0);
        return Ok(());
    };
    let removed = args.from(2).filter(|member| set.remove(member)).count();
    let emptied = set.is_empty();
    announce_removed(ctx, key, ZREM, removed, emptied);
    ctx.reply.integer(removed as i64);
    Ok(())
}

/// Members were removed; a set that has lost its last one goes, too.
pub(super) fn announce_removed(ctx: &mut Ctx, key: Key<'_>, event: Event, removed: usize, emptied: bool) {
    if removed > 0 {
        ctx.keys.changed_by(key, event, removed as u64);
        if emptied {
            remove_emptied(ctx, key);
        }
    }
}

fn zcard(ctx: &mut Ctx) -> CmdResult {
    let key = ctx.key(1);
    let len = ctx.keys.read::<SortedSet>(key)?.map_or(0, SortedSetRef::len);
    ctx.reply.integer(len as i64);
    Ok(())
}

fn zscore(ctx: &mut Ctx) -> CmdResult {
    let key = ctx.key(1);
    let score = ctx.keys.read::<SortedSet>(key)?.and_then(|set| set.score(ctx.args.at(2)));
    reply_score(ctx.reply, score);
    Ok(())
}

fn zmscore(ctx: &mut Ctx) -> CmdResult {
    let key = ctx.key(1);
    let set = ctx.keys.read::<SortedSet>(key)?;
    ctx.reply.array(ctx.args.len() - 2);
    for member in ctx.args.from(2) {
        reply_score(ctx.reply, set.and_then(|set| set.score(member)));
    }
    Ok(())
}

fn reply_score(reply: &mut Reply, score: Option<f64>) {
    match score {
        Some(score) => reply.double(score),
        None => reply.null(),
    }
}

fn zrank(ctx: &mut Ctx) -> CmdResult {
    reply_rank(ctx, Direction::Ascending)
}

fn zrevrank(ctx: &mut Ctx) -> CmdResult {
    reply_rank(ctx, Direction::Descending)
}

fn reply_rank(ctx: &mut Ctx, direction: Direction) -> CmdResult {
    if ctx.args.len() > 4 {
        return Err(CmdError::arity(ctx.name()));
    }
    let with_score = ctx.args.is(3, "withscore");
    if ctx.args.len() == 4 && !with_score {
        return Err(CmdError::SYNTAX);
    }
    let key = ctx.key(1);
    let set = ctx.keys.read::<SortedSet>(key)?;
    let found = set.and_then(|set| {
        let (rank, score) = set.rank(ctx.args.at(2))?;
        let rank = if direction == Direction::Ascending { rank } else { set.len() - 1 - rank };
        Some((rank, score))
    });
    match found {
        None if with_score => ctx.reply.null_array(),
        None => ctx.reply.null(),
        Some((rank, score)) => {
            if with_score {
                ctx.reply.array(2);
            }
            ctx.reply.integer(rank as i64);
            if with_score {
                ctx.reply.double(score);
            }
        }
    }
    Ok(())
}

fn zrandmember(ctx: &mut Ctx) -> CmdResult {
    if ctx.args.len() > 2 {
        return random_members(ctx);
    }
    let key = ctx.key(1);
    let rng = &mut ctx.worker.rng;
    let item = ctx.keys.read::<SortedSet>(key)?.and_then(|set| set.random(&mut |bound| rng.below(bound)));
    reply_found(ctx.reply, item.map(|item| item.member));
    Ok(())
}

fn random_members(ctx: &mut Ctx) -> CmdResult {
    let count = ctx.args.integer(2)?;
    if count == i64::MIN {
        return Err(CmdError::new(format!(
            "ERR value is out of range, value must between {} and {}",
            -i64::MAX,
            i64::MAX
        )));
    }
    let with_scores = ctx.args.is(3, "withscores");
    if ctx.args.len() > 4 || ctx.args.len() == 4 && !with_scores {
        return Err(CmdError::SYNTAX);
    }
    if with_scores && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(CmdError::OUT_OF_RANGE);
    }
    let key = ctx.key(1);
    let Some(set) = ctx.keys.read::<SortedSet>(key)? else {
        ctx.reply.array(0);
        return Ok(());
    };
    let rng = &mut ctx.worker.rng;
    let below = &mut |bound| rng.below(bound);
    let mut reply = PairsReply { reply: ctx.reply, with_scores };
    if count >= 0 {
        let items = distinct(set, count as usize, below);
        reply.begin(items.len());
        items.into_iter().for_each(|item| reply.pair(item));
        return Ok(());
    }
    reply.repeated(set, count.unsigned_abs(), ctx.config.proto_max_bulk_len as usize, below)
}

/// Writes members with their scores, if those are wanted: flat in RESP2, pair by pair in RESP3.
pub(super) struct PairsReply<'a> {
    pub reply: &'a mut Reply,
    pub with_scores: bool,
}

impl PairsReply<'_> {
    pub fn begin(&mut self, count: usize) {
        let flat = self.with_scores && self.reply.protocol == Protocol::Resp2;
        self.reply.array(if flat { count * 2 } else { count });
    }

    pub fn pair(&mut self, item: ScoredMember<'_>) {
        if self.with_scores && self.reply.protocol == Protocol::Resp3 {
            self.reply.array(2);
        }
        reply_element(self.reply, item.member);
        if self.with_scores {
            self.reply.double(item.score);
        }
    }

    /// A client that asks for ever more of the same is refused before memory is gone.
    fn repeated(
        &mut self,
        set: SortedSetRef<'_>,
        count: u64,
        len_max: usize,
        below: &mut dyn FnMut(u64) -> u64,
    ) -> CmdResult {
        self.begin(count as usize);
        let start = self.reply.len();
        for _ in 0..count {
            let Some(item) = set.random(below) else { break };
            self.pair(item);
            if self.reply.len() - start > len_max {
                return Err(CmdError::OUT_OF_RANGE);
            }
        }
        Ok(())
    }
}

/// Up to `count` distinct members, every choice of so many with the same probability.
fn distinct<'a>(
    set: SortedSetRef<'a>,
    count: usize,
    below: &mut dyn FnMut(u64) -> u64,
) -> Vec<ScoredMember<'a>> {
    let len = set.len();
    if matches!(set, SortedSetRef::Packed(_)) || count.saturating_mul(FEW_SHARE) >= len {
        let mut items: Vec<_> = set.iter().collect();
        for index in 0..count.min(len.saturating_sub(1)) {
            let other = index + below((len - index) as u64) as usize;
            items.swap(index, other);
        }
        items.truncate(count);
        return items;
    }
    let mut ranks = HashSet::with_capacity(count);
    while ranks.len() < count {
        ranks.insert(below(len as u64) as usize);
    }
    let at = |rank: usize| set.items(rank..rank + 1, Direction::Ascending).next();
    ranks.into_iter().filter_map(at).collect()
}

/// So many times more members than are wanted: drawing finds the same one twice rarely enough.
const FEW_SHARE: usize = 3;

fn zscan(ctx: &mut Ctx) -> CmdResult {
    let cursor = parse_cursor(ctx.args.at(2))?;
    let (key, args) = (ctx.key(1), ctx.args);
    let Some(set) = ctx.keys.read::<SortedSet>(key)? else {
        ctx.reply.array(2);
        ctx.reply.bulk(b"0");
        ctx.reply.array(0);
        return Ok(());
    };
    let mut scores = true;
    let options = ScanOptions::of_elements(&args, |index| {
        let is_flag = args.is(index, "noscores");
        scores &= !is_flag;
        is_flag
    })?;
    // A pack's scores go out as they are kept, a table's with all their digits.
    let write_score = if matches!(set, SortedSetRef::Packed(_)) { write_f64_shortest } else { write_f64 };
    let mut text = Vec::new();
    let mut found = Vec::new();
    let next = set.scan(cursor, options.count, &mut |item| {
        let member = item.member.to_vec();
        if options.matches(&member) {
            found.push((member, item.score));
        }
    });
    ctx.reply.array(2);
    // Cursors are below 2^63.
    ctx.reply.bulk_i64(next as i64);
    ctx.reply.array(if scores { found.len() * 2 } else { found.len() });
    for (member, score) in found {
        ctx.reply.bulk(&member);
        if scores {
            text.clear();
            write_score(&mut text, score);
            ctx.reply.bulk(&text);
        }
    }
    Ok(())
}

const ZADD: Event = (class::SORTED_SET, "zadd");
const ZINCR: Event = (class::SORTED_SET, "zincr");
const ZREM: Event = (class::SORTED_SET, "zrem");
