//! Sets: members without order or repetition under one key. What takes several sets stands in `set_algebra`.

use ds::listpack::Element;
use ds::set::SetRef;
use resp::reply::{Protocol, Reply};
use smallvec::SmallVec;
use store::{Key, Set};

use super::hash::remove_emptied;
use super::scan::{ScanOptions, parse_cursor};
use crate::command::{CmdResult, Command, Group, Run, command};
use crate::ctx::Ctx;
use crate::elements::{reply_element, reply_found};
use crate::error::CmdError;
use crate::keys::Event;
use crate::keyspec::{KeySpec, flag as key};
use crate::long_reply::{Halves, is_long};
use crate::notify::class;

pub(super) const fn row(name: &'static str, arity: i32, run: Run) -> Command {
    command(name, arity, Group::Set, run)
}

pub static TABLE: &[Command] = &[
    row("sadd", -3, sadd)
        .write()
        .deny_oom()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::INSERT)])
        .since("1.0.0")
        .history(&[("2.4.0", "Accepts multiple `member` arguments.")])
        .syntax("key member [member ...]")
        .docs(
            "Adds members to a set; makes the set if the key does not exist.",
            "O(1) for each element added, so O(N) to add N elements when the command is called with \
             multiple arguments.",
        ),
    row("scard", 2, scard)
        .read()
        .fast()
        .keys(&[KeySpec::one(1, key::RO)])
        .since("1.0.0")
        .syntax("key")
        .docs("Returns how many members a set has.", "O(1)"),
    row("sismember", 3, sismember)
        .read()
        .fast()
        .keys(&[KeySpec::one(1, key::RO)])
        .since("1.0.0")
        .syntax("key member")
        .docs("Tells whether a set has a member.", "O(1)"),
    row("smembers", 2, smembers)
        .read()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("1.0.0")
        .tips(&["nondeterministic_output_order"])
        .syntax("key")
        .docs("Returns all members of a set.", "O(N) where N is the set cardinality."),
    row("smismember", -3, smismember)
        .read()
        .fast()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("6.2.0")
        .syntax("key member [member ...]")
        .docs(
            "Tells of several members whether a set has them.",
            "O(N) where N is the number of elements being checked for membership",
        ),
    row("smove", 4, smove)
        .write()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::ACCESS | key::DELETE), KeySpec::one(2, key::RW | key::INSERT)])
        .since("1.0.0")
        .syntax("source destination member")
        .docs("Moves a member from one set to another.", "O(1)"),
    row("spop", -2, spop)
        .write()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::ACCESS | key::DELETE)])
        .since("1.0.0")
        .tips(&["nondeterministic_output"])
        .history(&[("3.2.0", "Added the `count` argument.")])
        .syntax("key [count]")
        .docs(
            "Removes members picked at random and returns them; removes the set with its last one.",
            "Without the count argument O(1), otherwise O(N) where N is the value of the passed count.",
        ),
    row("srandmember", -2, srandmember)
        .read()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("1.0.0")
        .tips(&["nondeterministic_output"])
        .history(&[("2.6.0", "Added the optional `count` argument.")])
        .syntax("key [count]")
        .docs(
            "Returns members of a set picked at random.",
            "Without the count argument O(1), otherwise O(N) where N is the absolute value of the passed \
             count.",
        ),
    row("srem", -3, srem)
        .write()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::DELETE)])
        .since("1.0.0")
        .history(&[("2.4.0", "Accepts multiple `member` arguments.")])
        .syntax("key member [member ...]")
        .docs(
            "Removes members from a set, and the set with its last one.",
            "O(N) where N is the number of members to be removed.",
        ),
    row("sscan", -3, sscan)
        .read()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("2.8.0")
        .tips(&["nondeterministic_output"])
        .syntax("key cursor [MATCH pattern] [COUNT count]")
        .docs(
            "Walks through the members of a set step by step.",
            "O(1) for every call. O(N) for a complete iteration, including enough command calls for the \
             cursor to return back to 0. N is the number of elements inside the collection.",
        ),
];

const SADD: Event = (class::SET, "sadd");
const SREM: Event = (class::SET, "srem");
const SPOP: Event = (class::SET, "spop");

fn sadd(ctx: &mut Ctx) -> CmdResult {
    let (key, args) = (ctx.key(1), ctx.args);
    let mut set = ctx.keys.write_or_create::<Set>(key)?;
    set.expect(args.at(2), args.len() - 2);
    let added = args.from(2).filter(|member| set.add(member)).count();
    if added > 0 {
        ctx.keys.changed_by(key, SADD, added as u64);
    }
    ctx.reply.integer(added as i64);
    Ok(())
}

fn srem(ctx: &mut Ctx) -> CmdResult {
    let (key, args) = (ctx.key(1), ctx.args);
    let Some(mut set) = ctx.keys.write::<Set>(key)? else {
        ctx.reply.integer(0);
        return Ok(());
    };
    let removed = args.from(2).filter(|member| set.remove(member)).count();
    let emptied = set.is_empty();
    if removed > 0 {
        ctx.keys.changed_by(key, SREM, removed as u64);
    }
    if emptied {
        remove_emptied(ctx, key);
    }
    ctx.reply.integer(removed as i64);
    Ok(())
}

fn smove(ctx: &mut Ctx) -> CmdResult {
    let (from, to, member) = (ctx.key(1), ctx.key(2), ctx.args.at(3));
    let moved = move_member(ctx, from, to, member)?;
    ctx.reply.integer(i64::from(moved));
    Ok(())
}

fn move_member(ctx: &mut Ctx, from: Key<'_>, to: Key<'_>, member: &[u8]) -> Result<bool, CmdError> {
    if ctx.keys.found(from).is_none() {
        return Ok(false);
    }
    let is_member = ctx.keys.peek_as::<Set>(from)?.is_some_and(|set| set.contains(member));
    ctx.keys.write::<Set>(to)?;
    if from.bytes == to.bytes || !is_member {
        return Ok(is_member);
    }
    if let Some(mut set) = ctx.keys.write::<Set>(from)? {
        set.remove(member);
        let emptied = set.is_empty();
        ctx.keys.changed(from, SREM);
        if emptied {
            remove_emptied(ctx, from);
        }
    }
    let mut set = ctx.keys.write_or_create::<Set>(to)?;
    set.expect(member, 1);
    if set.add(member) {
        ctx.keys.changed(to, SADD);
    }
    Ok(true)
}

fn sismember(ctx: &mut Ctx) -> CmdResult {
    let key = ctx.key(1);
    let found = ctx.keys.read::<Set>(key)?.is_some_and(|set| set.contains(ctx.args.at(2)));
    ctx.reply.integer(i64::from(found));
    Ok(())
}

fn smismember(ctx: &mut Ctx) -> CmdResult {
    let key = ctx.key(1);
    let set = ctx.keys.read::<Set>(key)?;
    ctx.reply.array(ctx.args.len() - 2);
    for member in ctx.args.from(2) {
        ctx.reply.integer(i64::from(set.is_some_and(|set| set.contains(member))));
    }
    Ok(())
}

fn scard(ctx: &mut Ctx) -> CmdResult {
    let key = ctx.key(1);
    let len = ctx.keys.read::<Set>(key)?.map_or(0, SetRef::len);
    ctx.reply.integer(len as i64);
    Ok(())
}

fn smembers(ctx: &mut Ctx) -> CmdResult {
    let key = ctx.key(1);
    let set = ctx.keys.read::<Set>(key)?;
    if let Some(SetRef::Table(table)) = set
        && is_long(ctx.session, table.rdb_len())
    {
        let len = table.rdb_len();
        ctx.reply.set(table.len());
        ctx.reply_table(key, Halves::Fields, len);
        return Ok(());
    }
    reply_all(ctx.reply, set);
    Ok(())
}

fn reply_all(reply: &mut Reply, set: Option<SetRef<'_>>) {
    reply.set(set.map_or(0, SetRef::len));
    if let Some(set) = set {
        set.iter().for_each(|member| reply_element(reply, member));
    }
}

fn spop(ctx: &mut Ctx) -> CmdResult {
    match ctx.args.len() {
        2 => pop_one(ctx),
        3 => pop_count(ctx),
        _ => Err(CmdError::SYNTAX),
    }
}

/// The effect removes the member that chance chose.
fn pop_one(ctx: &mut Ctx) -> CmdResult {
    let (key, logged) = (ctx.key(1), ctx.keys.is_logged());
    let Some(mut set) = ctx.keys.write::<Set>(key)? else {
        ctx.reply.null();
        return Ok(());
    };
    let (rng, reply) = (&mut ctx.worker.rng, &mut *ctx.reply);
    let mut popped = Vec::new();
    set.remove_random(&mut |bound| rng.below(bound), &mut |member| {
        reply_element(reply, member);
        if logged {
            member.write_to(&mut popped);
        }
    });
    let emptied = set.is_empty();
    ctx.keys.changed(key, SPOP);
    ctx.keys.effect(&[b"SREM", key.bytes, &popped]);
    if emptied {
        remove_emptied(ctx, key);
    }
    Ok(())
}

fn pop_count(ctx: &mut Ctx) -> CmdResult {
    let out_of_range = CmdError::fixed("ERR value is out of range, must be positive");
    let count = ctx.args.integer(2).ok().and_then(|count| usize::try_from(count).ok()).ok_or(out_of_range)?;
    let (key, logged) = (ctx.key(1), ctx.keys.is_logged());
    let Some(mut set) = ctx.keys.write::<Set>(key)?.filter(|_| count > 0) else {
        ctx.reply.set(0);
        return Ok(());
    };
    if count >= set.len() {
        reply_all(ctx.reply, Some(set.view()));
        let len = set.len();
        ctx.keys.changed_by(key, SPOP, len as u64);
        ctx.keys.effect(&[b"DEL", key.bytes]);
        remove_emptied(ctx, key);
        return Ok(());
    }
    let (rng, reply) = (&mut ctx.worker.rng, &mut *ctx.reply);
    reply.set(count);
    let mut popped = Popped::default();
    set.remove_sample(count, &mut |bound| rng.below(bound), &mut |member| {
        reply_element(reply, member);
        if logged {
            popped.push(member);
        }
    });
    ctx.keys.changed_by(key, SPOP, count as u64);
    popped.name_removal(ctx, key);
    Ok(())
}

/// Members that chance chose, until the effects that remove them are named.
#[derive(Default)]
struct Popped {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Popped {
    fn push(&mut self, member: Element<'_>) {
        member.write_to(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    fn name_removal(&self, ctx: &mut Ctx, key: Key<'_>) {
        ctx.keys.no_effect();
        let mut begin = 0;
        for ends in self.ends.chunks(MEMBERS_PER_EFFECT) {
            let mut words: SmallVec<[&[u8]; 16]> = SmallVec::from_slice(&[b"SREM".as_slice(), key.bytes]);
            for &end in ends {
                words.push(&self.bytes[begin..end]);
                begin = end;
            }
            ctx.keys.effect(&words);
        }
    }
}

/// As many as Redis names in one effect.
const MEMBERS_PER_EFFECT: usize = 1024;

fn srandmember(ctx: &mut Ctx) -> CmdResult {
    match ctx.args.len() {
        2 => {
            let (key, rng) = (ctx.key(1), &mut ctx.worker.rng);
            let set = ctx.keys.read::<Set>(key)?;
            reply_found(ctx.reply, set.and_then(|set| set.random(&mut |bound| rng.below(bound))));
            Ok(())
        }
        3 => random_members(ctx),
        _ => Err(CmdError::SYNTAX),
    }
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
    let (key, rng) = (ctx.key(1), &mut ctx.worker.rng);
    let Some(set) = ctx.keys.read::<Set>(key)? else {
        ctx.reply.array(0);
        return Ok(());
    };
    let below = &mut |bound| rng.below(bound);
    if count < 0 {
        let len_max = ctx.config.proto_max_bulk_len as usize;
        return reply_repeated(ctx.reply, set, count.unsigned_abs(), len_max, below);
    }
    let sample = set.sample(count as usize, below);
    ctx.reply.array(sample.len());
    sample.into_iter().for_each(|member| reply_element(ctx.reply, member));
    Ok(())
}

/// Members drawn one by one, so that the same may come again. A client that asks for ever more is refused
/// before memory is gone.
fn reply_repeated(
    reply: &mut Reply,
    set: SetRef<'_>,
    count: u64,
    len_max: usize,
    below: &mut dyn FnMut(u64) -> u64,
) -> CmdResult {
    // A pack has to be walked through to find a member: once for all.
    let listed: Vec<_> = if matches!(set, SetRef::Packed(_)) { set.iter().collect() } else { Vec::new() };
    reply.array(count as usize);
    let start = reply.len();
    for _ in 0..count {
        let member = match set {
            SetRef::Packed(_) => Some(listed[below(listed.len() as u64) as usize]),
            _ => set.random(below),
        };
        reply_found(reply, member);
        if reply.len() - start > len_max {
            return Err(CmdError::OUT_OF_RANGE);
        }
    }
    Ok(())
}

fn sscan(ctx: &mut Ctx) -> CmdResult {
    let cursor = parse_cursor(ctx.args.at(2))?;
    let key = ctx.key(1);
    let Some(set) = ctx.keys.read::<Set>(key)? else {
        ctx.reply.array(2);
        ctx.reply.bulk(b"0");
        ctx.reply.array(0);
        return Ok(());
    };
    let options = ScanOptions::of_elements(&ctx.args, |_| false)?;
    let (mut found, mut count) = (Reply::new(Protocol::Resp2), 0);
    let mut text = Vec::new();
    let next = set.scan(cursor, options.count, &mut |member| {
        text.clear();
        member.write_to(&mut text);
        if options.matches(&text) {
            found.bulk(&text);
            count += 1;
        }
    });
    ctx.reply.array(2);
    // Cursors are below 2^63.
    ctx.reply.bulk_i64(next as i64);
    ctx.reply.array(count);
    ctx.reply.raw(&found.buf);
    Ok(())
}
