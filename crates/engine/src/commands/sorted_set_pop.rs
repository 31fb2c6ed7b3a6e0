//! What takes members from an end of a sorted set: ZPOPMIN and its kin, and the forms that wait for one.

use ds::sorted_set::Direction;
use resp::reply::Protocol;
use smallvec::SmallVec;
use store::{Key, SortedSet, Type};

use super::sorted_set::{announce_removed, row};
use crate::blocking::{NoReply, Wait};
use crate::command::{CmdResult, Command, flag};
use crate::ctx::Ctx;
use crate::elements::reply_element;
use crate::error::CmdError;
use crate::keys::Event;
use crate::keyspec::{KeySpec, flag as key};
use crate::notify::class;

pub static TABLE: &[Command] = &[
    row("bzmpop", -5, bzmpop)
        .write()
        .flags(flag::BLOCKING)
        .keys(&[KeySpec::counted(2, key::RW | key::ACCESS | key::DELETE)])
        .since("7.0.0")
        .syntax("timeout=double numkeys key [key ...] <MIN | MAX> [COUNT count]")
        .docs(
            "Pops members from an end of the first sorted set that has any; waits for one if none has.",
            "O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of elements in \
             the sorted set, and M being the number of elements popped.",
        ),
    row("bzpopmax", -3, bzpopmax)
        .write()
        .fast()
        .flags(flag::BLOCKING)
        .keys(&[KeySpec::range(1, -2, 1, key::RW | key::ACCESS | key::DELETE)])
        .since("5.0.0")
        .history(&[("6.0.0", "`timeout` is interpreted as a double instead of an integer.")])
        .syntax("key [key ...] timeout=double")
        .docs(
            "Pops the member of the highest score of the first sorted set that has any; waits for one if \
             none has.",
            "O(log(N)) with N being the number of elements in the sorted set.",
        ),
    row("bzpopmin", -3, bzpopmin)
        .write()
        .fast()
        .flags(flag::BLOCKING)
        .keys(&[KeySpec::range(1, -2, 1, key::RW | key::ACCESS | key::DELETE)])
        .since("5.0.0")
        .history(&[("6.0.0", "`timeout` is interpreted as a double instead of an integer.")])
        .syntax("key [key ...] timeout=double")
        .docs(
            "Pops the member of the lowest score of the first sorted set that has any; waits for one if \
             none has.",
            "O(log(N)) with N being the number of elements in the sorted set.",
        ),
    row("zmpop", -4, zmpop)
        .write()
        .keys(&[KeySpec::counted(1, key::RW | key::ACCESS | key::DELETE)])
        .since("7.0.0")
        .syntax("numkeys key [key ...] <MIN | MAX> [COUNT count]")
        .docs(
            "Pops members from an end of the first sorted set that has any.",
            "O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of elements in \
             the sorted set, and M being the number of elements popped.",
        ),
    row("zpopmax", -2, zpopmax)
        .write()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::ACCESS | key::DELETE)])
        .since("5.0.0")
        .syntax("key [count]")
        .docs(
            "Pops the members of the highest scores.",
            "O(log(N)*M) with N being the number of elements in the sorted set, and M being the number of \
             elements popped.",
        ),
    row("zpopmin", -2, zpopmin)
        .write()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::ACCESS | key::DELETE)])
        .since("5.0.0")
        .syntax("key [count]")
        .docs(
            "Pops the members of the lowest scores.",
            "O(log(N)*M) with N being the number of elements in the sorted set, and M being the number of \
             elements popped.",
        ),
];

/// From which end members are taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Min,
    Max,
}

/// How popped members are answered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Members and scores in one array.
    Flat,
    /// A pair for each member.
    Pairs,
    /// The key, a member, its score.
    KeyFirst,
    /// The key, and a pair for each member.
    KeyAndPairs,
}

impl End {
    fn event(self) -> Event {
        (class::SORTED_SET, if self == End::Min { "zpopmin" } else { "zpopmax" })
    }

    fn command(self) -> &'static [u8] {
        if self == End::Min { b"ZPOPMIN" } else { b"ZPOPMAX" }
    }
}

fn zpopmin(ctx: &mut Ctx) -> CmdResult {
    pop_one_key(ctx, End::Min)
}

fn zpopmax(ctx: &mut Ctx) -> CmdResult {
    pop_one_key(ctx, End::Max)
}

fn pop_one_key(ctx: &mut Ctx, end: End) -> CmdResult {
    if ctx.args.len() > 3 {
        return Err(CmdError::SYNTAX);
    }
    let counted = ctx.args.len() == 3;
    let out_of_range = CmdError::fixed("ERR value is out of range, must be positive");
    let count = if counted { ctx.args.integer(2).ok() } else { Some(1) };
    let count = count.and_then(|count| usize::try_from(count).ok()).ok_or(out_of_range)?;
    let paired = counted && count > 0 && ctx.reply.protocol == Protocol::Resp3;
    let key = ctx.key(1);
    if pop(ctx, key, end, count, if paired { Shape::Pairs } else { Shape::Flat })?.is_none() {
        ctx.reply.array(0);
    }
    Ok(())
}

/// Pops up to `count` members and answers them; how many. None, and nothing is answered, if the key is
/// absent.
fn pop(ctx: &mut Ctx, key: Key<'_>, end: End, count: usize, shape: Shape) -> Result<Option<usize>, CmdError> {
    let Some(mut set) = ctx.keys.write::<SortedSet>(key)? else { return Ok(None) };
    let len = set.len();
    let count = count.min(len);
    let (ranks, direction) = match end {
        End::Min => (0..count, Direction::Ascending),
        End::Max => (len - count..len, Direction::Descending),
    };
    let reply = &mut *ctx.reply;
    match shape {
        Shape::Flat => reply.array(count * 2),
        Shape::Pairs => reply.array(count),
        Shape::KeyFirst => {
            reply.array(count * 2 + 1);
            reply.bulk(key.bytes);
        }
        Shape::KeyAndPairs => {
            reply.array(2);
            reply.bulk(key.bytes);
            reply.array(count);
        }
    }
    for item in set.view().items(ranks.clone(), direction) {
        if matches!(shape, Shape::Pairs | Shape::KeyAndPairs) {
            reply.array(2);
        }
        reply_element(reply, item.member);
        reply.double(item.score);
    }
    if count < len {
        set.remove_ranks(ranks);
    }
    announce_removed(ctx, key, end.event(), count, count == len);
    Ok(Some(count))
}

fn zmpop(ctx: &mut Ctx) -> CmdResult {
    let request = Request::parse(ctx, 1)?;
    if !request.serve(ctx)? {
        ctx.reply.null_array();
    }
    Ok(())
}

fn bzmpop(ctx: &mut Ctx) -> CmdResult {
    let request = Request::parse(ctx, 2)?;
    request.serve_or_wait(ctx, 1)
}

fn bzpopmin(ctx: &mut Ctx) -> CmdResult {
    pop_or_wait(ctx, End::Min)
}

fn bzpopmax(ctx: &mut Ctx) -> CmdResult {
    pop_or_wait(ctx, End::Max)
}

fn pop_or_wait(ctx: &mut Ctx, end: End) -> CmdResult {
    let last = ctx.args.last();
    Request { keys: (1..last).collect(), end, count: None }.serve_or_wait(ctx, last)
}

/// What is popped from the first of several keys that is there.
struct Request {
    /// Places among the arguments.
    keys: SmallVec<[usize; 4]>,
    end: End,
    /// None: one member, answered without a pair of its own.
    count: Option<usize>,
}

impl Request {
    /// Reads `numkeys key [key ...] <MIN | MAX> [COUNT count]`.
    fn parse(ctx: &Ctx, at: usize) -> Result<Request, CmdError> {
        let args = &ctx.args;
        let positive = |index: usize, text| {
            let number = args.integer(index).ok().and_then(|number| usize::try_from(number).ok());
            number.filter(|&number| number > 0).ok_or(CmdError::fixed(text))
        };
        let key_count = positive(at, "ERR numkeys should be greater than 0")?;
        let end_at = at.saturating_add(key_count).saturating_add(1);
        let end = match () {
            () if args.is(end_at, "min") => End::Min,
            () if args.is(end_at, "max") => End::Max,
            () => return Err(CmdError::SYNTAX),
        };
        let mut count = None;
        let mut index = end_at + 1;
        while index < args.len() {
            if count.is_some() || !args.is(index, "count") || index == args.last() {
                return Err(CmdError::SYNTAX);
            }
            count = Some(positive(index + 1, "ERR count should be greater than 0")?);
            index += 2;
        }
        Ok(Request { keys: (at + 1..end_at).collect(), end, count: Some(count.unwrap_or(1)) })
    }

    fn serve_or_wait(self, ctx: &mut Ctx, timeout_at: usize) -> CmdResult {
        let until = ctx.timeout_seconds(timeout_at)?;
        if self.serve(ctx)? {
            return Ok(());
        }
        ctx.wait(Wait {
            keys: self.keys,
            awaits: Type::SortedSet,
            missing_too: false,
            all_keys: false,
            until,
            on_timeout: NoReply::NullArray,
            again: None,
        })
    }

    /// Serves the request if a key is there; says whether it did.
    fn serve(&self, ctx: &mut Ctx) -> Result<bool, CmdError> {
        let shape = if self.count.is_some() { Shape::KeyAndPairs } else { Shape::KeyFirst };
        for &index in &self.keys {
            let key = ctx.key(index);
            if !ctx.holds(key) {
                continue;
            }
            if let Some(popped) = pop(ctx, key, self.end, self.count.unwrap_or(1), shape)? {
                let mut digits = itoa::Buffer::new();
                let mut effect: SmallVec<[&[u8]; 3]> = SmallVec::from_slice(&[self.end.command(), key.bytes]);
                if self.count.is_some() {
                    effect.push(digits.format(popped).as_bytes());
                }
                ctx.keys.effect(&effect);
                return Ok(true);
            }
        }
        Ok(false)
    }
}
