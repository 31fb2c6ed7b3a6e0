//! When the fields of hashes expire: HEXPIRE and its kin, and the commands that read or set fields together
//! with their times. Syntax and replies are those of Redis 7.4 and 8.0, error texts and events those of
//! Valkey 9.
//!
//! Effects name the fields that really changed, with absolute times: a log is replayed where no field counts
//! as expired.

use ds::hash::{HashRef, Ttl};
use store::{Hash, Key};

use super::hash::{announce_expired, remove_emptied, remove_fields, row, set_field};
use super::instant::{Lifetime, Unit};
use crate::args::Argv;
use crate::command::{CmdResult, Command};
use crate::ctx::Ctx;
use crate::elements::reply_found;
use crate::error::CmdError;
use crate::keys::Event;
use crate::keyspec::{KeySpec, flag as key};
use crate::notify::class;

const UPDATED: &[KeySpec] = &[KeySpec::one(1, key::RW | key::UPDATE)];
const READ: &[KeySpec] = &[KeySpec::one(1, key::RO | key::ACCESS)];

const fn expire_row(name: &'static str, run: crate::command::Run) -> Command {
    row(name, -6, run).write().fast().keys(UPDATED).since("9.0.0")
}

const fn time_row(name: &'static str, run: crate::command::Run) -> Command {
    row(name, -5, run)
        .read()
        .fast()
        .keys(READ)
        .since("9.0.0")
        .syntax("key FIELDS numfields field [field ...]")
}

pub static TABLE: &[Command] = &[
    expire_row("hexpire", hexpire)
        .syntax("key seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]")
        .docs("Sets in how many seconds fields of a hash expire.", PER_FIELD),
    expire_row("hexpireat", hexpireat)
        .syntax("key unix-time-seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]")
        .docs("Sets the Unix second at which fields of a hash expire.", PER_FIELD),
    time_row("hexpiretime", hexpiretime)
        .docs("Returns the Unix seconds at which fields of a hash expire.", PER_FIELD),
    row("hgetdel", -5, hgetdel)
        .write()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::ACCESS | key::DELETE)])
        .since("9.1.0")
        .syntax("key FIELDS numfields field [field ...]")
        .docs(
            "Returns the values of fields and removes the fields.",
            "O(N) where N is the number of fields to be retrieved and deleted.",
        ),
    row("hgetex", -5, hgetex)
        .write()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::ACCESS | key::UPDATE)])
        .since("9.0.0")
        .syntax(
            "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | \
             PERSIST] FIELDS numfields field [field ...]",
        )
        .docs("Returns the values of fields and may change when they expire.", PER_FIELD),
    row("hpersist", -5, hpersist)
        .write()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::UPDATE)])
        .since("9.0.0")
        .syntax("key FIELDS numfields field [field ...]")
        .docs("Makes fields of a hash stay for good.", PER_FIELD),
    expire_row("hpexpire", hpexpire)
        .syntax("key milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]")
        .docs("Sets in how many milliseconds fields of a hash expire.", PER_FIELD),
    expire_row("hpexpireat", hpexpireat)
        .syntax("key unix-time-milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]")
        .docs("Sets the Unix millisecond at which fields of a hash expire.", PER_FIELD),
    time_row("hpexpiretime", hpexpiretime)
        .docs("Returns the Unix milliseconds at which fields of a hash expire.", PER_FIELD),
    time_row("hpttl", hpttl).docs("Returns in how many milliseconds fields of a hash expire.", PER_FIELD),
    row("hsetex", -6, hsetex)
        .write()
        .deny_oom()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::INSERT)])
        .since("9.0.0")
        .syntax(
            "key [NX | XX] [FNX | FXX] [EX seconds | PX milliseconds | EXAT unix-time-seconds | \
             PXAT unix-time-milliseconds | KEEPTTL] FIELDS numfields field value [field value ...]",
        )
        .docs("Sets the values of fields and when they expire.", PER_FIELD),
    time_row("httl", httl).docs("Returns in how many seconds fields of a hash expire.", PER_FIELD),
];

const PER_FIELD: &str = "O(N) where N is the number of specified fields.";

const HEXPIRE: Event = (class::HASH, "hexpire");
const HEXPIRED: Event = (class::HASH, "hexpired");
const HPERSIST: Event = (class::HASH, "hpersist");
const HSET: Event = (class::HASH, "hset");

fn wrong_count() -> CmdError {
    CmdError::new("ERR numfields should be greater than 0 and match the provided number of fields")
}

/// The place of the first field, behind `FIELDS` at `index` and a number that must fit what follows it.
fn fields_at(args: &Argv<'_>, index: usize, words_per_field: usize) -> Result<usize, CmdError> {
    let count = args.integer(index + 1)?;
    let first = index + 2;
    let words = usize::try_from(count).ok().and_then(|count| count.checked_mul(words_per_field));
    if count == 0 || words != Some(args.len() - first) {
        return Err(wrong_count());
    }
    Ok(first)
}

/// As `fields_at`, for the commands without options before FIELDS.
fn plain_fields(args: &Argv<'_>) -> Result<usize, CmdError> {
    if args.is(2, "fields") { fields_at(args, 2, 1) } else { Err(CmdError::SYNTAX) }
}

/// The place of the word FIELDS, from argument `from` on; it has something behind it.
fn find_fields(args: &Argv<'_>, from: usize) -> Result<usize, CmdError> {
    (from..args.last()).find(|&index| args.is(index, "fields")).ok_or_else(wrong_count)
}

// --- HEXPIRE, HPEXPIRE, HEXPIREAT, HPEXPIREAT

fn hexpire(ctx: &mut Ctx) -> CmdResult {
    expire(ctx, Unit::Seconds)
}

fn hpexpire(ctx: &mut Ctx) -> CmdResult {
    expire(ctx, Unit::Milliseconds)
}

fn hexpireat(ctx: &mut Ctx) -> CmdResult {
    expire(ctx, Unit::UnixSeconds)
}

fn hpexpireat(ctx: &mut Ctx) -> CmdResult {
    expire(ctx, Unit::UnixMilliseconds)
}

/// What must hold for a field's time to be changed.
#[derive(Clone, Copy, Default)]
struct Conditions {
    none_yet: bool,
    has_one: bool,
    later: bool,
    sooner: bool,
}

impl Conditions {
    fn parse(args: &Argv<'_>, words: std::ops::Range<usize>) -> Result<Conditions, CmdError> {
        let mut conditions = Conditions::default();
        for index in words {
            match () {
                () if args.is(index, "nx") => conditions.none_yet = true,
                () if args.is(index, "xx") => conditions.has_one = true,
                () if args.is(index, "gt") => conditions.later = true,
                () if args.is(index, "lt") => conditions.sooner = true,
                () => {
                    let option = String::from_utf8_lossy(args.at(index));
                    return Err(CmdError::new(format!("ERR Unsupported option {option}")));
                }
            }
        }
        conditions.check()
    }

    fn check(self) -> Result<Conditions, CmdError> {
        if self.none_yet && (self.has_one || self.later || self.sooner) {
            return Err(CmdError::new("ERR NX and XX, GT or LT options at the same time are not compatible"));
        }
        if self.later && self.sooner {
            return Err(CmdError::new("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(self)
    }

    /// No time counts as the latest of all.
    fn hold(self, old: Option<i64>, new: i64) -> bool {
        !(self.none_yet && old.is_some()
            || self.has_one && old.is_none()
            || self.later && old.is_none_or(|old| new <= old)
            || self.sooner && old.is_some_and(|old| new >= old))
    }
}

/// What happens to a field's time of expiry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Set(i64),
    /// The time has passed: the field goes.
    Remove,
    Persist,
}

impl Change {
    fn at(ctx: &Ctx, instant: i64) -> Change {
        let passed = instant <= ctx.now().0 && !ctx.keys.keeps_expired();
        if passed { Change::Remove } else { Change::Set(instant) }
    }
}

fn expire(ctx: &mut Ctx, unit: Unit) -> CmdResult {
    let args = ctx.args;
    let word = find_fields(&args, 3)?;
    let conditions = Conditions::parse(&args, 3..word)?;
    let first = fields_at(&args, word, 1)?;
    let at = unit.parse(&args, 2, ctx.now(), ctx.name())?;
    let change = Change::at(ctx, at);
    let (key, now) = (ctx.key(1), ctx.keys.field_now());
    let mut hash = ctx.keys.write::<Hash>(key)?;
    ctx.reply.array(args.len() - first);
    let mut changed = Vec::new();
    for field in args.from(first) {
        let old = hash.as_ref().and_then(|hash| hash.view().expiry(field, now));
        let result = match (old, &mut hash) {
            (Some(old), Some(hash)) if conditions.hold(old, at) => {
                changed.push(field);
                apply(hash, field, change)
            }
            (Some(_), _) => 0,
            (None, _) => NO_FIELD,
        };
        ctx.reply.integer(result);
    }
    announce(ctx, key, change, &changed);
    Ok(())
}

const NO_FIELD: i64 = -2;
const NO_TIME: i64 = -1;

/// Changes a field that is there; HEXPIRE's reply for it.
fn apply(hash: &mut store::hash::HashMut<'_>, field: &[u8], change: Change) -> i64 {
    match change {
        Change::Set(at) => hash.set_expiry(field, Some(at)),
        Change::Persist => hash.set_expiry(field, None),
        Change::Remove => {
            hash.remove(field);
            return 2;
        }
    };
    1
}

/// Makes known that the same was done to these fields; removes the hash if none is left.
fn announce(ctx: &mut Ctx, key: Key<'_>, change: Change, fields: &[&[u8]]) {
    if fields.is_empty() {
        return;
    }
    let (mut digits, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
    let count = count.format(fields.len()).as_bytes();
    let (event, mut words): (Event, Vec<&[u8]>) = match change {
        Change::Set(at) => {
            let at = digits.format(at).as_bytes();
            (HEXPIRE, vec![b"HPEXPIREAT", key.bytes, at, b"FIELDS", count])
        }
        Change::Persist => (HPERSIST, vec![b"HPERSIST", key.bytes, b"FIELDS", count]),
        Change::Remove => (HEXPIRED, vec![b"HDEL", key.bytes]),
    };
    words.extend_from_slice(fields);
    ctx.keys.changed_by(key, event, fields.len() as u64);
    ctx.keys.effect(&words);
    if change == Change::Remove {
        ctx.keys.count_expired_fields(fields.len() as u32);
        remove_if_empty(ctx, key);
    }
}

fn remove_if_empty(ctx: &mut Ctx, key: Key<'_>) {
    let emptied = ctx.keys.peek_as::<Hash>(key).is_ok_and(|hash| hash.is_some_and(HashRef::is_empty));
    if emptied {
        remove_emptied(ctx, key);
    }
}

fn hpersist(ctx: &mut Ctx) -> CmdResult {
    let args = ctx.args;
    let first = plain_fields(&args)?;
    let (key, now) = (ctx.key(1), ctx.keys.field_now());
    let mut hash = ctx.keys.write::<Hash>(key)?;
    ctx.reply.array(args.len() - first);
    let mut changed = Vec::new();
    for field in args.from(first) {
        let old = hash.as_ref().and_then(|hash| hash.view().expiry(field, now));
        let result = match (old, &mut hash) {
            (Some(Some(_)), Some(hash)) => {
                changed.push(field);
                apply(hash, field, Change::Persist)
            }
            (Some(_), _) => NO_TIME,
            (None, _) => NO_FIELD,
        };
        ctx.reply.integer(result);
    }
    announce(ctx, key, Change::Persist, &changed);
    Ok(())
}

// --- HTTL, HPTTL, HEXPIRETIME, HPEXPIRETIME

fn httl(ctx: &mut Ctx) -> CmdResult {
    let now = ctx.now().0;
    reply_times(ctx, |at| to_seconds(at.saturating_sub(now).max(0)))
}

fn hpttl(ctx: &mut Ctx) -> CmdResult {
    let now = ctx.now().0;
    reply_times(ctx, |at| at.saturating_sub(now).max(0))
}

fn hexpiretime(ctx: &mut Ctx) -> CmdResult {
    reply_times(ctx, to_seconds)
}

fn hpexpiretime(ctx: &mut Ctx) -> CmdResult {
    reply_times(ctx, |at| at)
}

/// Rounded as Redis rounds times to live.
fn to_seconds(ms: i64) -> i64 {
    ms.saturating_add(500) / 1000
}

fn reply_times(ctx: &mut Ctx, show: impl Fn(i64) -> i64) -> CmdResult {
    let args = ctx.args;
    if !args.is(2, "fields") {
        return Err(CmdError::SYNTAX);
    }
    if args.integer(3)? != args.len() as i64 - 4 {
        return Err(CmdError::SYNTAX);
    }
    let (key, now) = (ctx.key(1), ctx.keys.field_now());
    let hash = ctx.keys.read::<Hash>(key)?;
    ctx.reply.array(args.len() - 4);
    for field in args.from(4) {
        let time = match hash.and_then(|hash| hash.expiry(field, now)) {
            Some(Some(at)) => show(at),
            Some(None) => NO_TIME,
            None => NO_FIELD,
        };
        ctx.reply.integer(time);
    }
    Ok(())
}

// --- HGETDEL, HGETEX, HSETEX

fn hgetdel(ctx: &mut Ctx) -> CmdResult {
    let first = plain_fields(&ctx.args)?;
    ctx.reply.array(ctx.args.len() - first);
    remove_fields(ctx, first, reply_found)?;
    Ok(())
}

fn hgetex(ctx: &mut Ctx) -> CmdResult {
    let args = ctx.args;
    let word = find_fields(&args, 2)?;
    let mut lifetime = Lifetime::Default;
    let mut index = 2;
    while index < word {
        index = lifetime.take_option(&args, index, word)?;
    }
    let first = fields_at(&args, word, 1)?;
    let key = ctx.key(1);
    ctx.keys.read::<Hash>(key)?;
    let change = match lifetime {
        Lifetime::Default => None,
        Lifetime::Persist => Some(Change::Persist),
        Lifetime::Until(unit, index) => {
            Some(Change::at(ctx, unit.parse(&args, index, ctx.now(), ctx.name())?))
        }
        Lifetime::Keep => return Err(CmdError::SYNTAX),
    };
    ctx.reply.array(args.len() - first);
    reply_and_change(ctx, key, first, change)
}

fn reply_and_change(ctx: &mut Ctx, key: Key<'_>, first: usize, change: Option<Change>) -> CmdResult {
    let (args, now) = (ctx.args, ctx.keys.field_now());
    let mut hash = ctx.keys.write::<Hash>(key)?;
    let mut changed = Vec::new();
    for field in args.from(first) {
        reply_found(ctx.reply, hash.as_ref().and_then(|hash| hash.view().get(field, now)));
        let (Some(hash), Some(change)) = (&mut hash, change) else { continue };
        let old = hash.view().expiry(field, now);
        if old.is_some_and(|old| change != Change::Persist || old.is_some()) {
            apply(hash, field, change);
            changed.push(field);
        }
    }
    if let Some(change) = change {
        announce(ctx, key, change, &changed);
    }
    Ok(())
}

/// What HSETEX is told besides fields and values.
struct SetOptions {
    /// The key must be there, or must not.
    key_present: Option<bool>,
    /// All the fields must be there, or none.
    fields_present: Option<bool>,
    lifetime: Lifetime,
}

impl SetOptions {
    fn parse(args: &Argv<'_>, end: usize) -> Result<SetOptions, CmdError> {
        let mut options = SetOptions { key_present: None, fields_present: None, lifetime: Lifetime::Default };
        let mut index = 2;
        while index < end {
            let (condition, present) = match () {
                () if args.is(index, "nx") => (&mut options.key_present, false),
                () if args.is(index, "xx") => (&mut options.key_present, true),
                () if args.is(index, "fnx") => (&mut options.fields_present, false),
                () if args.is(index, "fxx") => (&mut options.fields_present, true),
                () => {
                    index = options.lifetime.take_option(args, index, end)?;
                    continue;
                }
            };
            if condition.replace(present).is_some_and(|other| other != present) {
                return Err(CmdError::SYNTAX);
            }
            index += 1;
        }
        if options.lifetime == Lifetime::Persist { Err(CmdError::SYNTAX) } else { Ok(options) }
    }
}

fn hsetex(ctx: &mut Ctx) -> CmdResult {
    let args = ctx.args;
    let word = find_fields(&args, 2)?;
    let options = SetOptions::parse(&args, word)?;
    let first = fields_at(&args, word, 2)?;
    let (key, now) = (ctx.key(1), ctx.keys.field_now());
    let key_present = ctx.keys.peek_as::<Hash>(key)?.is_some();
    if options.key_present.is_some_and(|wanted| wanted != key_present) {
        ctx.reply.integer(0);
        return Ok(());
    }
    let change = match options.lifetime {
        Lifetime::Until(unit, index) => {
            Some(Change::at(ctx, unit.parse(&args, index, ctx.now(), ctx.name())?))
        }
        _ => None,
    };
    let hash = ctx.keys.peek_as::<Hash>(key)?;
    let present = |field: &[u8]| hash.is_some_and(|hash| hash.get(field, now).is_some());
    let fits = options
        .fields_present
        .is_none_or(|wanted| fields(&args, first).all(|field| present(field) == wanted));
    if fits {
        match change {
            Some(Change::Remove) => remove_given(ctx, key, first)?,
            _ => set_given(ctx, key, first, change, options.lifetime == Lifetime::Keep)?,
        }
    }
    ctx.reply.integer(i64::from(fits));
    Ok(())
}

/// Every other argument from `first` on.
fn fields<'a>(args: &Argv<'a>, first: usize) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    args.from(first).step_by(2)
}

/// HSETEX with a time that has passed: the fields are gone, as if they had been set and expired at once.
fn remove_given(ctx: &mut Ctx, key: Key<'_>, first: usize) -> CmdResult {
    let args = ctx.args;
    let Some(mut hash) = ctx.keys.write::<Hash>(key)? else { return Ok(()) };
    let removed: Vec<&[u8]> = fields(&args, first).filter(|field| hash.remove_any(field)).collect();
    if !removed.is_empty() {
        ctx.keys.event(key, HSET);
        ctx.keys.event(key, HEXPIRE);
    }
    announce(ctx, key, Change::Remove, &removed);
    // Those that were not there have come and gone.
    let given = fields(&args, first).count();
    ctx.keys.count_expired_fields((given - removed.len()) as u32);
    Ok(())
}

fn set_given(ctx: &mut Ctx, key: Key<'_>, first: usize, change: Option<Change>, keep: bool) -> CmdResult {
    let args = ctx.args;
    let ttl = if keep { Ttl::Keep } else { Ttl::Drop };
    let mut hash = ctx.keys.write_or_create::<Hash>(key)?;
    let mut overwritten: Vec<&[u8]> = Vec::new();
    for index in (first..args.len()).step_by(2) {
        let (field, value, mut expired) = (args.at(index), args.at(index + 1), 0);
        set_field(&mut hash, field, value, ttl, &mut expired);
        if expired > 0 {
            overwritten.extend([field, value]);
        }
        if let Some(change) = change {
            apply(&mut hash, field, change);
        }
    }
    announce_expired(ctx, key, overwritten.len() as u32 / 2);
    let count = (args.len() - first) / 2;
    ctx.keys.changed_by(key, HSET, count as u64);
    if change.is_some() {
        ctx.keys.event(key, HEXPIRE);
    }
    if keep && !overwritten.is_empty() {
        // Where the log is replayed these are still there, with a time that must not be kept.
        ctx.keys.effect(&[&[b"HSET".as_slice(), key.bytes], overwritten.as_slice()].concat());
    }
    name_set(ctx, key, first, change, keep);
    Ok(())
}

fn name_set(ctx: &mut Ctx, key: Key<'_>, first: usize, change: Option<Change>, keep: bool) {
    let (mut at, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
    let count = count.format((ctx.args.len() - first) / 2).as_bytes();
    let mut words: Vec<&[u8]> = match change {
        Some(Change::Set(instant)) => {
            vec![b"HSETEX", key.bytes, b"PXAT", at.format(instant).as_bytes(), b"FIELDS", count]
        }
        _ if keep => vec![b"HSETEX", key.bytes, b"KEEPTTL", b"FIELDS", count],
        _ => vec![b"HSET", key.bytes],
    };
    words.extend(ctx.args.from(first));
    ctx.keys.effect(&words);
}
