//! Intersection, union and difference of sets: as a reply, as a count, into a key.

use std::ops::ControlFlow;

use ds::listpack::Element;
use ds::set::SetRef;
use ds::set_algebra::{difference, intersection, union, union_estimate};
use rdb::Object;
use smallvec::SmallVec;
use store::set::SetBuilder;
use store::{Entry, Key, Kind, Set, Type};

use super::set::row;
use crate::command::{CmdResult, Command};
use crate::ctx::Ctx;
use crate::elements::reply_element;
use crate::error::CmdError;
use crate::keys::{Event, Keys};
use crate::keyspec::{KeySpec, flag as key};
use crate::notify::class;

pub static TABLE: &[Command] = &[
    row("sdiff", -2, sdiff)
        .read()
        .keys(&[KeySpec::range(1, -1, 1, key::RO | key::ACCESS)])
        .since("1.0.0")
        .tips(&["nondeterministic_output_order"])
        .syntax("key [key ...]")
        .docs("Returns the members of a set that none of the others has.", EACH_MEMBER),
    row("sdiffcard", -3, sdiffcard)
        .read()
        .keys(&[KeySpec::counted(1, key::RO | key::ACCESS)])
        .since("8.10.0")
        .syntax("numkeys key [key ...] [LIMIT limit]")
        .docs("Counts the members of a set that none of the others has.", EACH_MEMBER),
    row("sdiffstore", -3, sdiffstore)
        .write()
        .deny_oom()
        .keys(&[KeySpec::one(1, key::OW | key::UPDATE), KeySpec::range(2, -1, 1, key::RO | key::ACCESS)])
        .since("1.0.0")
        .syntax("destination key [key ...]")
        .docs("Stores the members of a set that none of the others has under a key.", EACH_MEMBER),
    row("sinter", -2, sinter)
        .read()
        .keys(&[KeySpec::range(1, -1, 1, key::RO | key::ACCESS)])
        .since("1.0.0")
        .tips(&["nondeterministic_output_order"])
        .syntax("key [key ...]")
        .docs("Returns the members that all the sets have.", SMALLEST_TIMES_SETS),
    row("sintercard", -3, sintercard)
        .read()
        .keys(&[KeySpec::counted(1, key::RO | key::ACCESS)])
        .since("7.0.0")
        .syntax("numkeys key [key ...] [LIMIT limit]")
        .docs("Counts the members that all the sets have.", SMALLEST_TIMES_SETS),
    row("sinterstore", -3, sinterstore)
        .write()
        .deny_oom()
        .keys(&[KeySpec::one(1, key::RW | key::UPDATE), KeySpec::range(2, -1, 1, key::RO | key::ACCESS)])
        .since("1.0.0")
        .syntax("destination key [key ...]")
        .docs("Stores the members that all the sets have under a key.", SMALLEST_TIMES_SETS),
    row("sunion", -2, sunion)
        .read()
        .keys(&[KeySpec::range(1, -1, 1, key::RO | key::ACCESS)])
        .since("1.0.0")
        .tips(&["nondeterministic_output_order"])
        .syntax("key [key ...]")
        .docs("Returns the members that any of the sets has.", EACH_MEMBER),
    row("sunioncard", -3, sunioncard)
        .read()
        .keys(&[KeySpec::counted(1, key::RO | key::ACCESS)])
        .since("8.10.0")
        .syntax("numkeys key [key ...] [APPROX] [LIMIT limit]")
        .docs("Counts the members that any of the sets has, or estimates how many they are.", EACH_MEMBER),
    row("sunionstore", -3, sunionstore)
        .write()
        .deny_oom()
        .keys(&[KeySpec::one(1, key::OW | key::UPDATE), KeySpec::range(2, -1, 1, key::RO | key::ACCESS)])
        .since("1.0.0")
        .syntax("destination key [key ...]")
        .docs("Stores the members that any of the sets has under a key.", EACH_MEMBER),
];

const EACH_MEMBER: &str = "O(N) where N is the total number of elements in all given sets.";
const SMALLEST_TIMES_SETS: &str = "O(N*M) worst case where N is the cardinality of the smallest set and M is \
                                   the number of sets.";

const DEL: Event = (class::GENERIC, "del");

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Intersection,
    Union,
    Difference,
}

type SetList<'a> = SmallVec<[Option<SetRef<'a>>; 8]>;

fn sdiff(ctx: &mut Ctx) -> CmdResult {
    reply_members(ctx, Operation::Difference)
}

fn sinter(ctx: &mut Ctx) -> CmdResult {
    reply_members(ctx, Operation::Intersection)
}

fn sunion(ctx: &mut Ctx) -> CmdResult {
    reply_members(ctx, Operation::Union)
}

fn reply_members(ctx: &mut Ctx, operation: Operation) -> CmdResult {
    let keys = keys(ctx, 1, ctx.args.len() - 1);
    let sets = read_sets(&mut ctx.keys, &keys)?;
    let reply = &mut *ctx.reply;
    let mark = reply.defer();
    let mut count = 0;
    walk(operation, sets, &mut |member| {
        reply_element(reply, member);
        count += 1;
        ControlFlow::Continue(())
    });
    reply.close_set(mark, count);
    Ok(())
}

fn sdiffstore(ctx: &mut Ctx) -> CmdResult {
    store_members(ctx, Operation::Difference, "sdiffstore")
}

fn sinterstore(ctx: &mut Ctx) -> CmdResult {
    store_members(ctx, Operation::Intersection, "sinterstore")
}

fn sunionstore(ctx: &mut Ctx) -> CmdResult {
    store_members(ctx, Operation::Union, "sunionstore")
}

fn store_members(ctx: &mut Ctx, operation: Operation, event: &'static str) -> CmdResult {
    let (destination, keys) = (ctx.key(1), keys(ctx, 2, ctx.args.len() - 2));
    let mut builder = SetBuilder::new(ctx.config.thresholds);
    let sets = read_sets(&mut ctx.keys, &keys)?;
    let mut pushed = Ok(());
    walk(operation, sets, &mut |member| {
        pushed = builder.push(member);
        if pushed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    // Fails only for a payload that was restored unchecked.
    let result = pushed.and_then(|()| builder.finish());
    let result = result.map_err(|error| CmdError::new(format!("ERR {error}")))?;
    let len = result.as_ref().map_or(0, |set| set.view().len());
    match result {
        Some(set) => {
            let entry = Entry::from_object(destination.bytes, Object::Set(set), None, ctx.keys.access.fresh);
            ctx.keys.put(destination, entry);
            ctx.keys.changed(destination, (class::SET, event));
        }
        None if ctx.keys.delete(destination) => ctx.keys.changed(destination, DEL),
        None => {}
    }
    ctx.reply.integer(len as i64);
    Ok(())
}

fn sdiffcard(ctx: &mut Ctx) -> CmdResult {
    reply_count(ctx, Operation::Difference)
}

fn sintercard(ctx: &mut Ctx) -> CmdResult {
    reply_count(ctx, Operation::Intersection)
}

fn sunioncard(ctx: &mut Ctx) -> CmdResult {
    reply_count(ctx, Operation::Union)
}

fn reply_count(ctx: &mut Ctx, operation: Operation) -> CmdResult {
    let options = CountOptions::parse(ctx, operation)?;
    let keys = keys(ctx, 2, options.key_count);
    let sets = read_sets(&mut ctx.keys, &keys)?;
    let count = if options.approximate {
        let present: SmallVec<[SetRef<'_>; 8]> = sets.into_iter().flatten().collect();
        union_estimate(&present).min(options.limit)
    } else {
        let mut count = 0;
        walk(operation, sets, &mut |_| {
            count += 1;
            if count < options.limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        count
    };
    ctx.reply.integer(count as i64);
    Ok(())
}

struct CountOptions {
    key_count: usize,
    /// Counting ends here.
    limit: u64,
    approximate: bool,
}

impl CountOptions {
    fn parse(ctx: &Ctx, operation: Operation) -> Result<CountOptions, CmdError> {
        let args = &ctx.args;
        let key_count = args.integer(1).ok().and_then(|count| usize::try_from(count).ok());
        let Some(key_count) = key_count.filter(|&count| count > 0) else {
            return Err(CmdError::fixed("ERR numkeys should be greater than 0"));
        };
        if key_count > args.len() - 2 {
            return Err(CmdError::fixed("ERR Number of keys can't be greater than number of args"));
        }
        let mut options = CountOptions { key_count, limit: u64::MAX, approximate: false };
        let mut index = 2 + key_count;
        while index < args.len() {
            if operation == Operation::Union && args.is(index, "approx") {
                options.approximate = true;
            } else if args.is(index, "limit") && index < args.last() {
                index += 1;
                let limit = args.integer(index).ok().and_then(|limit| u64::try_from(limit).ok());
                let limit = limit.ok_or(CmdError::fixed("ERR LIMIT can't be negative"))?;
                options.limit = if limit == 0 { u64::MAX } else { limit };
            } else {
                return Err(CmdError::SYNTAX);
            }
            index += 1;
        }
        Ok(options)
    }
}

fn keys<'a>(ctx: &Ctx<'a, '_>, first: usize, count: usize) -> SmallVec<[Key<'a>; 8]> {
    (first..first + count).map(|index| ctx.key(index)).collect()
}

fn read_sets<'k>(keys: &'k mut Keys<'_, '_>, names: &[Key<'_>]) -> Result<SetList<'k>, CmdError> {
    let entries = keys.entries(names, &[Type::Set])?;
    Ok(entries.into_iter().map(|entry| entry.map(Set::view)).collect())
}

/// Visits the members of the result; a missing set is an empty one.
fn walk<'a>(operation: Operation, sets: SetList<'a>, visit: &mut dyn FnMut(Element<'a>) -> ControlFlow<()>) {
    let (first, all_there) = (sets[0], sets.iter().all(Option::is_some));
    let mut present: SmallVec<[SetRef<'a>; 8]> = sets.into_iter().flatten().collect();
    match (operation, first) {
        (Operation::Intersection, _) if all_there => intersection(&mut present, visit),
        (Operation::Union, _) => union(&mut present, visit),
        (Operation::Difference, Some(first)) => difference(first, &mut present[1..], visit),
        (Operation::Intersection | Operation::Difference, _) => {}
    }
}
