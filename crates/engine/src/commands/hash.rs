//! Hashes: fields with values under one key. When single fields expire is told by the commands of `hash_ttl`;
//! here a field whose time has passed is not there.

use std::collections::HashSet;

use base::longdouble::LongDouble;
use base::num::parse_i64;
use ds::hash::{HashRef, Pair, Set, Ttl};
use ds::listpack::Element;
use resp::reply::{Protocol, Reply};
use smallvec::SmallVec;
use store::hash::HashMut;
use store::{Hash, Key};

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
    command(name, arity, Group::Hash, run)
}

pub static TABLE: &[Command] = &[
    row("hdel", -3, hdel)
        .write()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::DELETE)])
        .since("2.0.0")
        .history(&[("2.4.0", "Accepts multiple `field` arguments.")])
        .syntax("key field [field ...]")
        .docs(
            "Removes fields from a hash, and the hash with its last one.",
            "O(N) where N is the number of fields to be removed.",
        ),
    row("hexists", 3, hexists)
        .read()
        .fast()
        .keys(&[KeySpec::one(1, key::RO)])
        .since("2.0.0")
        .syntax("key field")
        .docs("Tells whether a hash has a field.", "O(1)"),
    row("hget", 3, hget)
        .read()
        .fast()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("2.0.0")
        .syntax("key field")
        .docs("Returns the value of a field.", "O(1)"),
    row("hgetall", 2, hgetall)
        .read()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("2.0.0")
        .tips(&["nondeterministic_output_order"])
        .syntax("key")
        .docs("Returns all fields of a hash with their values.", "O(N) where N is the size of the hash."),
    row("hincrby", 4, hincrby)
        .write()
        .deny_oom()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::ACCESS | key::UPDATE)])
        .since("2.0.0")
        .syntax("key field increment")
        .docs("Adds a number to a field's integer; a missing field counts as 0.", "O(1)"),
    row("hincrbyfloat", 4, hincrbyfloat)
        .write()
        .deny_oom()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::ACCESS | key::UPDATE)])
        .since("2.6.0")
        .syntax("key field increment=double")
        .docs("Adds a fraction to a field's number; a missing field counts as 0.", "O(1)"),
    row("hkeys", 2, hkeys)
        .read()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("2.0.0")
        .tips(&["nondeterministic_output_order"])
        .syntax("key")
        .docs("Returns the names of all fields of a hash.", "O(N) where N is the size of the hash."),
    row("hlen", 2, hlen)
        .read()
        .fast()
        .keys(&[KeySpec::one(1, key::RO)])
        .since("2.0.0")
        .syntax("key")
        .docs("Returns how many fields a hash has.", "O(1)"),
    row("hmget", -3, hmget)
        .read()
        .fast()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("2.0.0")
        .syntax("key field [field ...]")
        .docs(
            "Returns the values of several fields.",
            "O(N) where N is the number of fields being requested.",
        ),
    row("hmset", -4, hmset)
        .write()
        .deny_oom()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::UPDATE)])
        .since("2.0.0")
        .deprecated("4.0.0", "`HSET` with multiple field-value pairs")
        .syntax("key field value [field value ...]")
        .docs("Sets the values of several fields.", "O(N) where N is the number of fields being set."),
    row("hrandfield", -2, hrandfield)
        .read()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("6.2.0")
        .tips(&["nondeterministic_output"])
        .syntax("key [count [WITHVALUES]]")
        .docs("Returns fields of a hash picked at random.", "O(N) where N is the number of fields returned"),
    row("hscan", -3, hscan)
        .read()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("2.8.0")
        .tips(&["nondeterministic_output"])
        .history(&[("7.4.0", "Added the `NOVALUES` flag.")])
        .syntax("key cursor [MATCH pattern] [COUNT count] [NOVALUES]")
        .docs(
            "Walks through the fields of a hash step by step.",
            "O(1) for every call. O(N) for a complete iteration, including enough command calls for the \
             cursor to return back to 0. N is the number of elements inside the collection.",
        ),
    row("hset", -4, hset)
        .write()
        .deny_oom()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::UPDATE)])
        .since("2.0.0")
        .history(&[("4.0.0", "Accepts multiple `field` and `value` arguments.")])
        .syntax("key field value [field value ...]")
        .docs(
            "Sets the values of fields; makes the hash if the key does not exist.",
            "O(1) for each field/value pair added, so O(N) to add N field/value pairs when the command is \
             called with multiple field/value pairs.",
        ),
    row("hsetnx", 4, hsetnx)
        .write()
        .deny_oom()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::INSERT)])
        .since("2.0.0")
        .syntax("key field value")
        .docs("Sets the value of a field if the hash does not have the field.", "O(1)"),
    row("hstrlen", 3, hstrlen)
        .read()
        .fast()
        .keys(&[KeySpec::one(1, key::RO)])
        .since("3.2.0")
        .syntax("key field")
        .docs("Returns the length of a field's value in bytes.", "O(1)"),
    row("hvals", 2, hvals)
        .read()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("2.0.0")
        .tips(&["nondeterministic_output_order"])
        .syntax("key")
        .docs("Returns the values of all fields of a hash.", "O(N) where N is the size of the hash."),
];

const HSET: Event = (class::HASH, "hset");
const HDEL: Event = (class::HASH, "hdel");
const HEXPIRED: Event = (class::HASH, "hexpired");
pub(super) const DEL: Event = (class::GENERIC, "del");

fn hget(ctx: &mut Ctx) -> CmdResult {
    let (key, now) = (ctx.key(1), ctx.keys.field_now());
    let value = ctx.keys.read::<Hash>(key)?.and_then(|hash| hash.get(ctx.args.at(2), now));
    reply_found(ctx.reply, value);
    Ok(())
}

fn hmget(ctx: &mut Ctx) -> CmdResult {
    let (key, now) = (ctx.key(1), ctx.keys.field_now());
    let hash = ctx.keys.read::<Hash>(key)?;
    ctx.reply.array(ctx.args.len() - 2);
    for field in ctx.args.from(2) {
        reply_found(ctx.reply, hash.and_then(|hash| hash.get(field, now)));
    }
    Ok(())
}

fn hexists(ctx: &mut Ctx) -> CmdResult {
    let (key, now) = (ctx.key(1), ctx.keys.field_now());
    let found = ctx.keys.read::<Hash>(key)?.is_some_and(|hash| hash.get(ctx.args.at(2), now).is_some());
    ctx.reply.integer(i64::from(found));
    Ok(())
}

fn hstrlen(ctx: &mut Ctx) -> CmdResult {
    let (key, now) = (ctx.key(1), ctx.keys.field_now());
    let value = ctx.keys.read::<Hash>(key)?.and_then(|hash| hash.get(ctx.args.at(2), now));
    ctx.reply.integer(value.map_or(0, Element::len) as i64);
    Ok(())
}

/// Fields whose time has passed count until they are removed, as in Redis: counting the others would take a
/// walk.
fn hlen(ctx: &mut Ctx) -> CmdResult {
    let key = ctx.key(1);
    let len = ctx.keys.read::<Hash>(key)?.map_or(0, HashRef::len);
    ctx.reply.integer(len as i64);
    Ok(())
}

fn hgetall(ctx: &mut Ctx) -> CmdResult {
    reply_all(ctx, Halves::Both)
}

fn hkeys(ctx: &mut Ctx) -> CmdResult {
    reply_all(ctx, Halves::Fields)
}

fn hvals(ctx: &mut Ctx) -> CmdResult {
    reply_all(ctx, Halves::Values)
}

fn reply_all(ctx: &mut Ctx, halves: Halves) -> CmdResult {
    let (key, now) = (ctx.key(1), ctx.keys.field_now());
    let hash = ctx.keys.read::<Hash>(key)?;
    let len = hash.map_or(0, |hash| hash.live_len(now));
    let reply = &mut *ctx.reply;
    if halves == Halves::Both {
        reply.map(len)
    } else {
        reply.array(len)
    }
    let Some(hash) = hash else { return Ok(()) };
    // A field that has expired is not shown: where there may be one they are looked at now.
    if let HashRef::Table(table) = hash
        && table.next_expiry() > now
        && is_long(ctx.session, table.rdb_bytes())
    {
        let len = table.rdb_bytes();
        ctx.reply_table(key, halves, len);
        return Ok(());
    }
    hash.for_each(now, |pair| {
        if halves != Halves::Values {
            reply_element(reply, pair.field);
        }
        if halves != Halves::Fields {
            reply_element(reply, pair.value);
        }
    });
    Ok(())
}

fn hset(ctx: &mut Ctx) -> CmdResult {
    let added = set_pairs(ctx)?;
    ctx.reply.integer(added);
    Ok(())
}

fn hmset(ctx: &mut Ctx) -> CmdResult {
    set_pairs(ctx)?;
    ctx.reply.ok();
    Ok(())
}

/// Sets all pairs of arguments; how many fields were added.
fn set_pairs(ctx: &mut Ctx) -> Result<i64, CmdError> {
    if !ctx.args.len().is_multiple_of(2) {
        return Err(CmdError::arity(ctx.name()));
    }
    let (key, args) = (ctx.key(1), ctx.args);
    let mut hash = ctx.keys.write_or_create::<Hash>(key)?;
    let (mut added, mut expired) = (0, 0);
    for index in (2..args.len()).step_by(2) {
        let set = set_field(&mut hash, args.at(index), args.at(index + 1), Ttl::Drop, &mut expired);
        added += i64::from(set == Set::Added);
    }
    announce_expired(ctx, key, expired);
    ctx.keys.changed_by(key, HSET, (args.len() as u64 - 2) / 2);
    Ok(added)
}

/// Sets a field, and counts it in `expired` if it takes the place of one whose time has passed.
pub(super) fn set_field(
    hash: &mut HashMut<'_>,
    field: &[u8],
    value: &[u8],
    ttl: Ttl,
    expired: &mut u32,
) -> Set {
    *expired += u32::from(hash.has_expired(field));
    hash.set(field, value, ttl)
}

/// Fields whose time had passed were overwritten: they count as expired just now.
pub(super) fn announce_expired(ctx: &mut Ctx, key: Key<'_>, count: u32) {
    if count > 0 {
        ctx.keys.count_expired_fields(count);
        ctx.keys.event(key, HEXPIRED);
    }
}

fn hsetnx(ctx: &mut Ctx) -> CmdResult {
    let (key, now) = (ctx.key(1), ctx.keys.field_now());
    let (field, value) = (ctx.args.at(2), ctx.args.at(3));
    let found = ctx.keys.peek_as::<Hash>(key)?.is_some_and(|hash| hash.get(field, now).is_some());
    if !found {
        let mut expired = 0;
        set_field(&mut ctx.keys.write_or_create::<Hash>(key)?, field, value, Ttl::Drop, &mut expired);
        announce_expired(ctx, key, expired);
        ctx.keys.changed(key, HSET);
        if expired > 0 {
            ctx.keys.effect(&[b"HSET", key.bytes, field, value]);
        }
    }
    ctx.reply.integer(i64::from(!found));
    Ok(())
}

fn hdel(ctx: &mut Ctx) -> CmdResult {
    let removed = remove_fields(ctx, 2, |_, _| {})?;
    ctx.reply.integer(removed as i64);
    Ok(())
}

/// Removes the fields named from argument `first` on, after showing the value of each or its absence, and
/// announces it. Fields whose time has passed are left to the active cycle, so the effect names those that
/// were there.
pub(super) fn remove_fields(
    ctx: &mut Ctx,
    first: usize,
    mut show: impl FnMut(&mut Reply, Option<Element<'_>>),
) -> Result<usize, CmdError> {
    let (key, args, now) = (ctx.key(1), ctx.args, ctx.keys.field_now());
    let mut hash = ctx.keys.write::<Hash>(key)?;
    let mut effect: SmallVec<[&[u8]; 8]> = SmallVec::from_slice(&[b"HDEL".as_slice(), key.bytes]);
    for field in args.from(first) {
        show(ctx.reply, hash.as_ref().and_then(|hash| hash.view().get(field, now)));
        if hash.as_mut().is_some_and(|hash| hash.remove(field)) {
            effect.push(field);
        }
    }
    let emptied = hash.is_some_and(|hash| hash.is_empty());
    let removed = effect.len() - 2;
    if removed > 0 {
        ctx.keys.changed_by(key, HDEL, removed as u64);
        ctx.keys.effect(&effect);
    }
    if emptied {
        remove_emptied(ctx, key);
    }
    Ok(removed)
}

/// Removes a hash that has lost its last field.
pub(super) fn remove_emptied(ctx: &mut Ctx, key: Key<'_>) {
    ctx.keys.delete(key);
    ctx.keys.event(key, DEL);
}

fn hincrby(ctx: &mut Ctx) -> CmdResult {
    let by = ctx.args.integer(3)?;
    let (key, field, now) = (ctx.key(1), ctx.args.at(2), ctx.keys.field_now());
    let old = match ctx.keys.peek_as::<Hash>(key)?.and_then(|hash| hash.get(field, now)) {
        Some(Element::Int(value)) => value,
        Some(Element::Bytes(bytes)) => {
            parse_i64(bytes).ok_or(CmdError::new("ERR hash value is not an integer"))?
        }
        None => 0,
    };
    let sum = old.checked_add(by).ok_or(CmdError::new("ERR increment or decrement would overflow"))?;
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(sum).as_bytes();
    let mut expired = 0;
    set_field(&mut ctx.keys.write_or_create::<Hash>(key)?, field, digits, Ttl::Keep, &mut expired);
    announce_expired(ctx, key, expired);
    ctx.keys.changed(key, (class::HASH, "hincrby"));
    if expired > 0 {
        ctx.keys.effect(&[b"HSET", key.bytes, field, digits]);
    }
    ctx.reply.integer(sum);
    Ok(())
}

fn hincrbyfloat(ctx: &mut Ctx) -> CmdResult {
    let by = LongDouble::parse(ctx.args.at(3)).ok_or(CmdError::NOT_FLOAT)?;
    if !by.is_finite() {
        return Err(CmdError::new("ERR value is NaN or Infinity"));
    }
    let (key, field, now) = (ctx.key(1), ctx.args.at(2), ctx.keys.field_now());
    let hash = ctx.keys.peek_as::<Hash>(key)?;
    let old = match hash.and_then(|hash| hash.get(field, now)) {
        Some(Element::Int(value)) => LongDouble::from_i64(value),
        Some(Element::Bytes(bytes)) => {
            LongDouble::parse(bytes).ok_or(CmdError::new("ERR hash value is not a float"))?
        }
        None => LongDouble::from_i64(0),
    };
    let keeps_ttl = hash.and_then(|hash| hash.expiry(field, now)).flatten().is_some();
    let sum = old.add(by);
    if !sum.is_finite() {
        return Err(CmdError::new("ERR increment would produce NaN or Infinity"));
    }
    let text = sum.print_human();
    let mut expired = 0;
    set_field(&mut ctx.keys.write_or_create::<Hash>(key)?, field, text.as_bytes(), Ttl::Keep, &mut expired);
    announce_expired(ctx, key, expired);
    ctx.keys.changed(key, (class::HASH, "hincrbyfloat"));
    if keeps_ttl {
        ctx.keys.effect(&[b"HSETEX", key.bytes, b"KEEPTTL", b"FIELDS", b"1", field, text.as_bytes()]);
    } else {
        ctx.keys.effect(&[b"HSET", key.bytes, field, text.as_bytes()]);
    }
    ctx.reply.bulk(text.as_bytes());
    Ok(())
}

fn hrandfield(ctx: &mut Ctx) -> CmdResult {
    if ctx.args.len() > 2 {
        return random_fields(ctx);
    }
    let (key, now) = (ctx.key(1), ctx.keys.field_now());
    let rng = &mut ctx.worker.rng;
    let pair = ctx.keys.read::<Hash>(key)?.and_then(|hash| hash.random(now, &mut |bound| rng.below(bound)));
    reply_found(ctx.reply, pair.map(|pair| pair.field));
    Ok(())
}

fn random_fields(ctx: &mut Ctx) -> CmdResult {
    let count = ctx.args.integer(2)?;
    if count == i64::MIN {
        return Err(CmdError::new(format!(
            "ERR value is out of range, value must between {} and {}",
            -i64::MAX,
            i64::MAX
        )));
    }
    let with_values = ctx.args.is(3, "withvalues");
    if ctx.args.len() > 4 || (ctx.args.len() == 4 && !with_values) {
        return Err(CmdError::SYNTAX);
    }
    if with_values && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(CmdError::OUT_OF_RANGE);
    }
    let (key, now) = (ctx.key(1), ctx.keys.field_now());
    let Some(hash) = ctx.keys.read::<Hash>(key)? else {
        ctx.reply.array(0);
        return Ok(());
    };
    let rng = &mut ctx.worker.rng;
    let mut reply =
        PairsReply { reply: ctx.reply, with_values, len_max: ctx.config.proto_max_bulk_len as usize };
    let below = &mut |bound| rng.below(bound);
    if count < 0 {
        return reply.repeated(hash, now, count.unsigned_abs(), below);
    }
    reply.distinct(hash, now, count as usize, below);
    Ok(())
}

/// Writes pairs as HRANDFIELD does: flat in RESP2, pair by pair in RESP3.
struct PairsReply<'a> {
    reply: &'a mut Reply,
    with_values: bool,
    /// A client that asks for ever more of the same is refused before memory is gone.
    len_max: usize,
}

impl PairsReply<'_> {
    fn begin(&mut self, pairs: usize) {
        let flat = self.with_values && self.reply.protocol == Protocol::Resp2;
        self.reply.array(if flat { pairs * 2 } else { pairs });
    }

    fn pair(&mut self, pair: Pair<'_>) {
        if self.with_values && self.reply.protocol == Protocol::Resp3 {
            self.reply.array(2);
        }
        reply_element(self.reply, pair.field);
        if self.with_values {
            reply_element(self.reply, pair.value);
        }
    }

    fn repeated(
        &mut self,
        hash: HashRef<'_>,
        now: i64,
        count: u64,
        below: &mut dyn FnMut(u64) -> u64,
    ) -> CmdResult {
        let any = hash.random(now, below).is_some();
        self.begin(if any { count as usize } else { 0 });
        let start = self.reply.len();
        for _ in 0..count {
            let Some(pair) = hash.random(now, below) else { break };
            self.pair(pair);
            if self.reply.len() - start > self.len_max {
                return Err(CmdError::OUT_OF_RANGE);
            }
        }
        Ok(())
    }

    fn distinct(&mut self, hash: HashRef<'_>, now: i64, count: usize, below: &mut dyn FnMut(u64) -> u64) {
        let few = matches!(hash, HashRef::Table(_)) && count.saturating_mul(FEW_SHARE) < hash.len();
        let sampled = if few { sample(hash, now, count, below) } else { None };
        let pairs = sampled.unwrap_or_else(|| shuffle(hash, now, count, below));
        self.begin(pairs.len());
        pairs.into_iter().for_each(|pair| self.pair(pair));
    }
}

/// So many times more fields than are wanted: drawing finds the same one twice rarely enough.
const FEW_SHARE: usize = 3;
/// Draws for each field wanted; if they do not suffice, most fields have expired.
const DRAWS_PER_FIELD: usize = 10;

/// Distinct fields by drawing until there are enough; `None` if that takes too long.
fn sample<'a>(
    hash: HashRef<'a>,
    now: i64,
    count: usize,
    below: &mut dyn FnMut(u64) -> u64,
) -> Option<Vec<Pair<'a>>> {
    let (mut seen, mut pairs) = (HashSet::with_capacity(count), Vec::with_capacity(count));
    for _ in 0..count * DRAWS_PER_FIELD {
        if pairs.len() == count {
            break;
        }
        let pair = hash.random(now, below)?;
        let Element::Bytes(field) = pair.field else { return None };
        if seen.insert(field) {
            pairs.push(pair);
        }
    }
    (pairs.len() == count).then_some(pairs)
}

/// Distinct fields from a list of all.
fn shuffle<'a>(
    hash: HashRef<'a>,
    now: i64,
    count: usize,
    below: &mut dyn FnMut(u64) -> u64,
) -> Vec<Pair<'a>> {
    let mut pairs = Vec::with_capacity(hash.len());
    hash.for_each(now, |pair| pairs.push(pair));
    if count >= pairs.len() {
        return pairs;
    }
    for index in 0..count {
        let other = index + below((pairs.len() - index) as u64) as usize;
        pairs.swap(index, other);
    }
    pairs.truncate(count);
    pairs
}

fn hscan(ctx: &mut Ctx) -> CmdResult {
    let cursor = parse_cursor(ctx.args.at(2))?;
    let (key, now) = (ctx.key(1), ctx.keys.field_now());
    let Some(hash) = ctx.keys.read::<Hash>(key)? else {
        ctx.reply.array(2);
        ctx.reply.bulk(b"0");
        ctx.reply.array(0);
        return Ok(());
    };
    let mut values = true;
    let options = ScanOptions::of_elements(&ctx.args, |index| {
        let is_flag = ctx.args.is(index, "novalues");
        values &= !is_flag;
        is_flag
    })?;
    let mut found = Vec::new();
    let next = hash.scan(cursor, options.count, now, &mut |pair| {
        let field = pair.field.to_vec();
        if options.matches(&field) {
            found.push((field, values.then(|| pair.value.to_vec())));
        }
    });
    ctx.reply.array(2);
    // Cursors are below 2^63.
    ctx.reply.bulk_i64(next as i64);
    ctx.reply.array(if values { found.len() * 2 } else { found.len() });
    for (field, value) in found {
        ctx.reply.bulk(&field);
        value.iter().for_each(|value| ctx.reply.bulk(value));
    }
    Ok(())
}
