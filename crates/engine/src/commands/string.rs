//! Strings: GET and SET with all their kin, counters, and parts of strings. A string is bytes here; those
//! that see bits in it are the bitmap family.

use base::longdouble::LongDouble;
use resp::reply::Reply;
use store::text::{Expiry, Incoming, TextRef};
use store::{Key, Text};

use super::condition::Condition;
use super::instant::{Lifetime, Unit};
use super::lcs::lcs;
use crate::command::{CmdResult, Command, Group, command};
use crate::ctx::Ctx;
use crate::error::CmdError;
use crate::keys::Event;
use crate::keyspec::{KeySpec, flag as key};
use crate::notify::class;
use crate::session::Origin;

pub(super) const fn row(name: &'static str, arity: i32, run: crate::command::Run) -> Command {
    command(name, arity, Group::String, run)
}

pub static TABLE: &[Command] = &[
    row("append", 3, append)
        .write()
        .deny_oom()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::INSERT)])
        .since("2.0.0")
        .syntax("key value")
        .docs(
            "Adds bytes to the end of a string; makes it if the key does not exist.",
            "O(1). The amortized time complexity is O(1) assuming the appended value is small and the \
             already present value is of any size, since the dynamic string library used by Redis will \
             double the free space available on every reallocation.",
        ),
    row("decr", 2, decr)
        .write()
        .deny_oom()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::ACCESS | key::UPDATE)])
        .since("1.0.0")
        .syntax("key")
        .docs("Takes one from a key's integer; a missing key counts as 0.", "O(1)"),
    row("decrby", 3, decrby)
        .write()
        .deny_oom()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::ACCESS | key::UPDATE)])
        .since("1.0.0")
        .syntax("key decrement")
        .docs("Takes a number from a key's integer; a missing key counts as 0.", "O(1)"),
    row("get", 2, get)
        .read()
        .fast()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("1.0.0")
        .syntax("key")
        .docs("Returns a key's string.", "O(1)"),
    row("getdel", 2, getdel)
        .write()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::ACCESS | key::DELETE)])
        .since("6.2.0")
        .syntax("key")
        .docs("Returns a key's string and deletes the key.", "O(1)"),
    row("getex", -2, getex)
        .write()
        .fast()
        .keys(&[KeySpec {
            notes: "RW and UPDATE because it changes the TTL",
            ..KeySpec::one(1, key::RW | key::ACCESS | key::UPDATE)
        }])
        .since("6.2.0")
        .syntax(
            "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | \
             PERSIST]",
        )
        .docs("Returns a key's string and may change when the key expires.", "O(1)"),
    row("getrange", 4, getrange)
        .read()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("2.4.0")
        .syntax("key start end")
        .docs("Returns a part of a key's string, by first and last byte.", RANGE_COMPLEXITY),
    row("getset", 3, getset)
        .write()
        .deny_oom()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::ACCESS | key::UPDATE)])
        .since("1.0.0")
        .deprecated("6.2.0", "`SET` with the `!GET` argument")
        .syntax("key value")
        .docs("Sets a key's string and returns the one before.", "O(1)"),
    row("incr", 2, incr)
        .write()
        .deny_oom()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::ACCESS | key::UPDATE)])
        .since("1.0.0")
        .syntax("key")
        .docs("Adds one to a key's integer; a missing key counts as 0.", "O(1)"),
    row("incrby", 3, incrby)
        .write()
        .deny_oom()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::ACCESS | key::UPDATE)])
        .since("1.0.0")
        .syntax("key increment")
        .docs("Adds a number to a key's integer; a missing key counts as 0.", "O(1)"),
    row("incrbyfloat", 3, incrbyfloat)
        .write()
        .deny_oom()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::ACCESS | key::UPDATE)])
        .since("2.6.0")
        .syntax("key increment=double")
        .docs("Adds a fraction to a key's number; a missing key counts as 0.", "O(1)"),
    row("lcs", -3, lcs)
        .read()
        .keys(&[KeySpec::range(1, 1, 1, key::RO | key::ACCESS)])
        .since("7.0.0")
        .syntax("key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]")
        .docs(
            "Finds the longest common subsequence of two strings.",
            "O(N*M) where N and M are the lengths of s1 and s2, respectively",
        ),
    row("mget", -2, mget)
        .read()
        .fast()
        .keys(&[KeySpec::range(1, -1, 1, key::RO | key::ACCESS)])
        .since("1.0.0")
        .tips(&["request_policy:multi_shard"])
        .syntax("key [key ...]")
        .docs("Returns the strings of several keys.", "O(N) where N is the number of keys to retrieve."),
    row("mset", -3, mset)
        .write()
        .deny_oom()
        .keys(&[KeySpec::range(1, -1, 2, key::OW | key::UPDATE)])
        .since("1.0.1")
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"])
        .syntax("key value [key value ...]")
        .docs("Sets the strings of several keys at once.", "O(N) where N is the number of keys to set."),
    row("msetnx", -3, msetnx)
        .write()
        .deny_oom()
        .keys(&[KeySpec::range(1, -1, 2, key::OW | key::INSERT)])
        .since("1.0.1")
        .tips(&["request_policy:multi_shard", "response_policy:agg_min"])
        .syntax("key value [key value ...]")
        .docs(
            "Sets the strings of several keys at once, if none of them exists.",
            "O(N) where N is the number of keys to set.",
        ),
    row("psetex", 4, psetex)
        .write()
        .deny_oom()
        .keys(&[KeySpec::one(1, key::OW | key::UPDATE)])
        .since("2.6.0")
        .syntax("key milliseconds value")
        .docs("Sets a key's string and how many milliseconds the key lives.", "O(1)"),
    row("set", -3, set)
        .write()
        .deny_oom()
        .keys(&[KeySpec {
            notes: "RW and ACCESS due to the optional `GET` argument",
            ..KeySpec::one(1, key::RW | key::ACCESS | key::UPDATE | key::VARIABLE_FLAGS)
        }])
        .since("1.0.0")
        .history(&[
            ("2.6.12", "Added the `EX`, `PX`, `NX` and `XX` options."),
            ("6.0.0", "Added the `KEEPTTL` option."),
            ("6.2.0", "Added the `GET`, `EXAT` and `PXAT` option."),
            ("7.0.0", "Allowed the `NX` and `GET` options to be used together."),
            ("8.1.0", "Added the `IFEQ` option."),
            ("8.4.0", "Added the `IFNE`, `IFDEQ` and `IFDNE` options."),
        ])
        .syntax(
            "key value [NX | XX | IFEQ comparison-value | IFNE ifne-value | IFDEQ ifdeq-digest=string | \
             IFDNE ifdne-digest=string] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | \
             PXAT unix-time-milliseconds | KEEPTTL]",
        )
        .docs("Sets a key's string, whatever the key held before.", "O(1)"),
    row("setex", 4, setex)
        .write()
        .deny_oom()
        .keys(&[KeySpec::one(1, key::OW | key::UPDATE)])
        .since("2.0.0")
        .syntax("key seconds value")
        .docs("Sets a key's string and how many seconds the key lives.", "O(1)"),
    row("setnx", 3, setnx)
        .write()
        .deny_oom()
        .fast()
        .keys(&[KeySpec::one(1, key::OW | key::INSERT)])
        .since("1.0.0")
        .syntax("key value")
        .docs("Sets a key's string if the key does not exist.", "O(1)"),
    row("setrange", 4, setrange)
        .write()
        .deny_oom()
        .keys(&[KeySpec::one(1, key::RW | key::UPDATE)])
        .since("2.2.0")
        .syntax("key offset value")
        .docs(
            "Overwrites a part of a key's string, from an offset on.",
            "O(1), not counting the time taken to copy the new string in place. Usually, this string is \
             very small so the amortized complexity is O(1). Otherwise, complexity is O(M) with M being the \
             length of the value argument.",
        ),
    row("strlen", 2, strlen)
        .read()
        .fast()
        .keys(&[KeySpec::one(1, key::RO)])
        .since("2.2.0")
        .syntax("key")
        .docs("Returns the length of a key's string in bytes.", "O(1)"),
    row("substr", 4, getrange)
        .read()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("1.0.0")
        .deprecated("2.0.0", "`GETRANGE`")
        .syntax("key start end")
        .docs("Returns a part of a key's string, by first and last byte.", RANGE_COMPLEXITY),
];

const RANGE_COMPLEXITY: &str = "O(N) where N is the length of the returned string. The complexity is \
     ultimately determined by the returned length, but because creating a substring from an existing string \
     is very cheap, it can be considered O(1) for small strings.";

pub(super) const SET: Event = (class::STRING, "set");
const DEL: Event = (class::GENERIC, "del");
pub(super) const EXPIRE: Event = (class::GENERIC, "expire");

/// Replies a string; a large one by reference.
pub(super) fn reply_text(reply: &mut Reply, text: TextRef<'_>) {
    match text {
        TextRef::Bytes(bytes) => reply.bulk(bytes),
        TextRef::Int(value) => reply.bulk_i64(value),
        TextRef::Shared(shared) => reply.bulk_shared(&shared.to_arc(), 0..text.len()),
    }
}

fn get(ctx: &mut Ctx) -> CmdResult {
    reply_value(ctx).map(|_| ())
}

/// Replies the first argument's string or null; says whether it is there.
fn reply_value(ctx: &mut Ctx) -> Result<bool, CmdError> {
    let key = ctx.key(1);
    match ctx.keys.read::<Text>(key)? {
        Some(text) => {
            reply_text(ctx.reply, text);
            Ok(true)
        }
        None => {
            ctx.reply.null();
            Ok(false)
        }
    }
}

fn mget(ctx: &mut Ctx) -> CmdResult {
    ctx.reply.array(ctx.args.len() - 1);
    for index in 1..ctx.args.len() {
        let key = ctx.key(index);
        match ctx.keys.read::<Text>(key) {
            Ok(Some(text)) => reply_text(ctx.reply, text),
            Ok(None) | Err(_) => ctx.reply.null(),
        }
    }
    Ok(())
}

fn set(ctx: &mut Ctx) -> CmdResult {
    if ctx.args.len() > 3 {
        return set_with_options(ctx);
    }
    let key = ctx.key(1);
    ctx.keys.set_text(key, ctx.args.value(2), Expiry::Drop);
    ctx.keys.changed(key, SET);
    ctx.reply.ok();
    Ok(())
}

struct SetOptions {
    condition: Condition,
    /// Reply what was there before.
    get: bool,
    lifetime: Lifetime,
}

fn set_options(ctx: &Ctx) -> Result<SetOptions, CmdError> {
    let mut options = SetOptions { condition: Condition::Always, get: false, lifetime: Lifetime::Default };
    let mut index = 3;
    while index < ctx.args.len() {
        if let Some(condition) = Condition::named(&ctx.args, index) {
            options.condition = options.condition.and(condition).ok_or(CmdError::SYNTAX)?;
            index = condition.last_word(index) + 1;
        } else if ctx.args.is(index, "get") {
            options.get = true;
            index += 1;
        } else {
            index = options.lifetime.take_option(&ctx.args, index, ctx.args.len())?;
        }
    }
    if options.lifetime == Lifetime::Persist { Err(CmdError::SYNTAX) } else { Ok(options) }
}

fn set_with_options(ctx: &mut Ctx) -> CmdResult {
    let options = set_options(ctx)?;
    let expiry = options.lifetime.expiry(&ctx.args, ctx.now(), ctx.name())?;
    if options.get {
        reply_value(ctx)?;
    }
    let key = ctx.key(1);
    if !options.condition.holds(ctx, key)? {
        if !options.get {
            ctx.reply.null();
        }
        return Ok(());
    }
    set_expiring(ctx, key, 2, expiry);
    if !options.get {
        ctx.reply.ok();
    }
    Ok(())
}

/// Sets a string from the argument at `value`, and names the effect: the time of expiry absolute, no
/// conditions.
fn set_expiring(ctx: &mut Ctx, key: Key<'_>, value: usize, expiry: Expiry) {
    if let Expiry::At(at) = expiry
        && at <= ctx.now().0
        && !ctx.keys.keeps_expired()
    {
        ctx.keys.expire_now(key);
        return;
    }
    ctx.keys.set_text(key, ctx.args.value(value), expiry);
    ctx.keys.changed(key, SET);
    if matches!(expiry, Expiry::At(_)) {
        ctx.keys.event(key, EXPIRE);
    }
    name_set(ctx, key, ctx.args.at(value), expiry);
}

/// Names SET as the effect, with an absolute time.
pub(super) fn name_set(ctx: &mut Ctx, key: Key<'_>, bytes: &[u8], expiry: Expiry) {
    let mut digits = itoa::Buffer::new();
    match expiry {
        Expiry::Drop => ctx.keys.effect(&[b"SET", key.bytes, bytes]),
        Expiry::Keep => ctx.keys.effect(&[b"SET", key.bytes, bytes, b"KEEPTTL"]),
        Expiry::At(at) => {
            ctx.keys.effect(&[b"SET", key.bytes, bytes, b"PXAT", digits.format(at).as_bytes()]);
        }
    }
}

fn setex(ctx: &mut Ctx) -> CmdResult {
    set_for(ctx, Unit::Seconds)
}

fn psetex(ctx: &mut Ctx) -> CmdResult {
    set_for(ctx, Unit::Milliseconds)
}

fn set_for(ctx: &mut Ctx, unit: Unit) -> CmdResult {
    let at = unit.parse_positive(&ctx.args, 2, ctx.now(), ctx.name())?;
    let key = ctx.key(1);
    set_expiring(ctx, key, 3, Expiry::At(at));
    ctx.reply.ok();
    Ok(())
}

fn setnx(ctx: &mut Ctx) -> CmdResult {
    let key = ctx.key(1);
    let absent = !ctx.keys.exists(key);
    if absent {
        ctx.keys.set_text(key, ctx.args.value(2), Expiry::Drop);
        ctx.keys.changed(key, SET);
    }
    ctx.reply.integer(i64::from(absent));
    Ok(())
}

fn getset(ctx: &mut Ctx) -> CmdResult {
    reply_value(ctx)?;
    let key = ctx.key(1);
    ctx.keys.set_text(key, ctx.args.value(2), Expiry::Drop);
    ctx.keys.changed(key, SET);
    ctx.keys.effect(&[b"SET", key.bytes, ctx.args.at(2)]);
    Ok(())
}

fn getdel(ctx: &mut Ctx) -> CmdResult {
    if reply_value(ctx)? {
        let key = ctx.key(1);
        delete(ctx, key);
    }
    Ok(())
}

/// Deletes a key that is there, with the effect DEL.
pub(super) fn delete(ctx: &mut Ctx, key: Key<'_>) {
    delete_as(ctx, key, b"DEL");
}

/// Deletes a key that is there instead of giving it a time that has passed.
pub(super) fn delete_expired(ctx: &mut Ctx, key: Key<'_>) {
    delete_as(ctx, key, ctx.config.expiry_verb());
}

fn delete_as(ctx: &mut Ctx, key: Key<'_>, verb: &[u8]) {
    ctx.keys.delete(key);
    ctx.keys.changed(key, DEL);
    ctx.keys.effect(&[verb, key.bytes]);
}

fn getex(ctx: &mut Ctx) -> CmdResult {
    let mut lifetime = Lifetime::Default;
    let mut index = 2;
    while index < ctx.args.len() {
        index = lifetime.take_option(&ctx.args, index, ctx.args.len())?;
    }
    if lifetime == Lifetime::Keep {
        return Err(CmdError::SYNTAX);
    }
    if !reply_value(ctx)? {
        return Ok(());
    }
    let key = ctx.key(1);
    match lifetime {
        Lifetime::Until(unit, index) => expire_at(ctx, key, unit, index)?,
        Lifetime::Persist => persist(ctx, key),
        Lifetime::Default | Lifetime::Keep => {}
    }
    Ok(())
}

/// Gives a key that is there its time of expiry; deletes it if that has passed.
fn expire_at(ctx: &mut Ctx, key: Key<'_>, unit: Unit, index: usize) -> CmdResult {
    let at = unit.parse_positive(&ctx.args, index, ctx.now(), ctx.name())?;
    if at <= ctx.now().0 && !ctx.keys.keeps_expired() {
        delete_expired(ctx, key);
        return Ok(());
    }
    ctx.keys.set_expires_at(key, Some(at));
    ctx.keys.changed(key, EXPIRE);
    ctx.keys.effect(&[b"PEXPIREAT", key.bytes, itoa::Buffer::new().format(at).as_bytes()]);
    Ok(())
}

fn persist(ctx: &mut Ctx, key: Key<'_>) {
    if ctx.keys.peek(key).is_some_and(|entry| entry.expires_at().is_some()) {
        ctx.keys.set_expires_at(key, None);
        ctx.keys.changed(key, (class::GENERIC, "persist"));
        ctx.keys.effect(&[b"PERSIST", key.bytes]);
    }
}

fn mset(ctx: &mut Ctx) -> CmdResult {
    check_pairs(ctx)?;
    set_pairs(ctx);
    ctx.reply.ok();
    Ok(())
}

fn msetnx(ctx: &mut Ctx) -> CmdResult {
    check_pairs(ctx)?;
    let any = (1..ctx.args.len()).step_by(2).any(|index| {
        let key = ctx.key(index);
        ctx.keys.exists(key)
    });
    if !any {
        set_pairs(ctx);
    }
    ctx.reply.integer(i64::from(!any));
    Ok(())
}

fn check_pairs(ctx: &Ctx) -> CmdResult {
    if ctx.args.len().is_multiple_of(2) { Err(CmdError::arity(ctx.name())) } else { Ok(()) }
}

fn set_pairs(ctx: &mut Ctx) {
    for index in (1..ctx.args.len()).step_by(2) {
        let key = ctx.key(index);
        ctx.keys.set_text(key, ctx.args.value(index + 1), Expiry::Drop);
        ctx.keys.changed(key, SET);
    }
}

fn incr(ctx: &mut Ctx) -> CmdResult {
    increment(ctx, 1)
}

fn decr(ctx: &mut Ctx) -> CmdResult {
    increment(ctx, -1)
}

fn incrby(ctx: &mut Ctx) -> CmdResult {
    let by = ctx.args.integer(2)?;
    increment(ctx, by)
}

fn decrby(ctx: &mut Ctx) -> CmdResult {
    let by = ctx.args.integer(2)?.checked_neg().ok_or(CmdError::new("ERR decrement would overflow"))?;
    increment(ctx, by)
}

fn increment(ctx: &mut Ctx, by: i64) -> CmdResult {
    let key = ctx.key(1);
    let sum = match ctx.keys.write::<Text>(key)? {
        Some(mut text) => {
            let old = text.integer().ok_or(CmdError::NOT_INTEGER)?;
            let sum = old.checked_add(by);
            let sum = sum.ok_or(CmdError::new("ERR increment or decrement would overflow"))?;
            text.set_int(sum);
            sum
        }
        None => {
            let mut digits = itoa::Buffer::new();
            ctx.keys.set_text(key, Incoming::Slice(digits.format(by).as_bytes()), Expiry::Drop);
            by
        }
    };
    ctx.keys.changed(key, (class::STRING, "incrby"));
    ctx.reply.integer(sum);
    Ok(())
}

fn incrbyfloat(ctx: &mut Ctx) -> CmdResult {
    let key = ctx.key(1);
    let old = match ctx.keys.peek_as::<Text>(key)? {
        Some(TextRef::Int(value)) => LongDouble::from_i64(value),
        Some(text) => LongDouble::parse(&text.bytes()).ok_or(CmdError::NOT_FLOAT)?,
        None => LongDouble::from_i64(0),
    };
    let by = LongDouble::parse(ctx.args.at(2)).ok_or(CmdError::NOT_FLOAT)?;
    let sum = old.add(by);
    if !sum.is_finite() {
        return Err(CmdError::new("ERR increment would produce NaN or Infinity"));
    }
    let text = sum.print_human();
    ctx.keys.set_text(key, Incoming::Slice(text.as_bytes()), Expiry::Keep);
    ctx.keys.changed(key, (class::STRING, "incrbyfloat"));
    ctx.keys.effect(&[b"SET", key.bytes, text.as_bytes(), b"KEEPTTL"]);
    ctx.reply.bulk(text.as_bytes());
    Ok(())
}

fn append(ctx: &mut Ctx) -> CmdResult {
    let key = ctx.key(1);
    let suffix = ctx.args.at(2);
    let old = ctx.keys.peek_as::<Text>(key)?.map(TextRef::len);
    let len = match old {
        Some(old) => {
            check_len(ctx, old, suffix.len())?;
            let text = ctx.keys.write::<Text>(key)?;
            text.map_or(0, |mut text| text.append(suffix))
        }
        None => {
            ctx.keys.set_text(key, ctx.args.value(2), Expiry::Drop);
            suffix.len()
        }
    };
    ctx.keys.changed(key, (class::STRING, "append"));
    ctx.reply.integer(len as i64);
    Ok(())
}

/// Refuses to make a string longer than a request could bring one.
pub(super) fn check_len(ctx: &Ctx, len: usize, added: usize) -> CmdResult {
    let total = len.checked_add(added).filter(|total| *total as u64 <= ctx.config.proto_max_bulk_len);
    match total {
        Some(total) => check_room(ctx, total),
        None if ctx.session.origin == Origin::Replay => Ok(()),
        None => Err(CmdError::new("ERR string exceeds maximum allowed size (proto-max-bulk-len)")),
    }
}

/// Refuses to make a string longer than all memory there may be.
pub(super) fn check_room(ctx: &Ctx, len: usize) -> CmdResult {
    let fits = ctx.session.origin == Origin::Replay || ctx.engine.memory.could_hold(len);
    if fits { Ok(()) } else { Err(CmdError::OUT_OF_MEMORY) }
}

fn setrange(ctx: &mut Ctx) -> CmdResult {
    let offset = ctx.args.integer(2)?;
    let offset = usize::try_from(offset).map_err(|_| CmdError::new("ERR offset is out of range"))?;
    let (key, bytes) = (ctx.key(1), ctx.args.at(3));
    let old = ctx.keys.peek_as::<Text>(key)?.map_or(0, TextRef::len);
    if bytes.is_empty() {
        ctx.reply.integer(old as i64);
        return Ok(());
    }
    check_len(ctx, offset, bytes.len())?;
    let len = ctx.keys.write_or_create::<Text>(key)?.set_range(offset, bytes);
    ctx.keys.changed(key, (class::STRING, "setrange"));
    ctx.reply.integer(len as i64);
    Ok(())
}

fn getrange(ctx: &mut Ctx) -> CmdResult {
    let (start, end) = (ctx.args.integer(2)?, ctx.args.integer(3)?);
    let key = ctx.key(1);
    let Some(text) = ctx.keys.read::<Text>(key)? else {
        ctx.reply.bulk(b"");
        return Ok(());
    };
    let (from, to) = range(start, end, text.len());
    match text {
        TextRef::Shared(shared) if is_most(to - from, text.len()) => {
            ctx.reply.bulk_shared(&shared.to_arc(), from..to)
        }
        _ => ctx.reply.bulk(&text.bytes()[from..to]),
    }
    Ok(())
}

/// Whether a part is sent by reference: who is slow to read it keeps the whole string in memory.
fn is_most(part_len: usize, len: usize) -> bool {
    part_len >= PART_LEN && part_len >= len / 4
}

/// Parts that are worth a reference.
const PART_LEN: usize = 64 * 1024;

/// First byte and the one after the last of a part given by indexes that count from the end if negative.
pub(super) fn range(start: i64, end: i64, len: usize) -> (usize, usize) {
    if start < 0 && end < 0 && start > end {
        return (0, 0);
    }
    let len = len as i64;
    let from_front = |index: i64| if index < 0 { index.saturating_add(len).max(0) } else { index };
    let (start, end) = (from_front(start), from_front(end).min(len - 1));
    if start > end { (0, 0) } else { (start as usize, end as usize + 1) }
}

fn strlen(ctx: &mut Ctx) -> CmdResult {
    let key = ctx.key(1);
    let len = ctx.keys.read::<Text>(key)?.map_or(0, TextRef::len);
    ctx.reply.integer(len as i64);
    Ok(())
}
