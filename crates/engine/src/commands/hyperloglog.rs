//! HyperLogLogs: adding to them, counting, merging. What their bytes mean is `ds::hyperloglog`; to the
//! keyspace they are strings.

use std::ops::Range;

use ds::hyperloglog::{
    Corrupt, EMPTY, Encoding, Mark, REGISTERS, Registers, Sketch, invalidate_count, raise, raise_dense,
    set_cached_count,
};
use store::text::{Expiry, Incoming, TextMut};
use store::{Key, Text};

use crate::command::{CmdResult, Command, Group, Run, command, flag};
use crate::ctx::Ctx;
use crate::error::CmdError;
use crate::keys::Event;
use crate::keyspec::{KeySpec, flag as key};
use crate::notify::class;

const fn row(name: &'static str, arity: i32, run: Run) -> Command {
    command(name, arity, Group::HyperLogLog, run).since("2.8.9")
}

pub static TABLE: &[Command] = &[
    row("pfadd", -2, pfadd)
        .write()
        .deny_oom()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::INSERT)])
        .syntax("key [element [element ...]]")
        .docs(
            "Adds elements to a HyperLogLog; makes it if the key does not exist.",
            "O(1) to add every element.",
        ),
    row("pfcount", -2, pfcount)
        .read()
        .flags(flag::MAY_REPLICATE)
        .keys(&[KeySpec {
            notes: "RW because it may change the internal representation of the key, and propagate to replicas",
            ..KeySpec::range(1, -1, 1, key::RW | key::ACCESS)
        }])
        .syntax("key [key ...]")
        .docs(
            "Estimates how many different elements were added to HyperLogLogs.",
            "O(1) with a very small average constant time when called with a single key. O(N) with N being \
             the number of keys, and much bigger constant times, when called with multiple keys.",
        ),
    row("pfdebug", 3, pfdebug)
        .write()
        .deny_oom()
        .flags(flag::ADMIN)
        .keys(&[KeySpec::one(2, key::RW | key::ACCESS)])
        .syntax("subcommand key")
        .docs("Shows the inside of a HyperLogLog.", "N/A"),
    row("pfmerge", -2, pfmerge)
        .write()
        .deny_oom()
        .keys(&[
            KeySpec::one(1, key::RW | key::ACCESS | key::INSERT),
            KeySpec::range(2, -1, 1, key::RO | key::ACCESS),
        ])
        .syntax("destkey [sourcekey [sourcekey ...]]")
        .docs(
            "Adds what several HyperLogLogs count to one of them.",
            "O(N) to merge N HyperLogLogs, but with high constant times.",
        ),
    row("pfselftest", 1, pfselftest).flags(flag::ADMIN).docs("Tests the HyperLogLog itself.", "N/A"),
];

/// A sketch is short: any part of it may change.
const ALL: Range<usize> = 0..usize::MAX;

const PFADD: Event = (class::STRING, "pfadd");

const NOT_A_SKETCH: CmdError = CmdError::fixed("WRONGTYPE Key is not a valid HyperLogLog string value.");

impl From<Corrupt> for CmdError {
    fn from(_: Corrupt) -> CmdError {
        CmdError::fixed("INVALIDOBJ Corrupted HLL object detected")
    }
}

fn sketch(bytes: &[u8]) -> Result<Sketch<'_>, CmdError> {
    Sketch::of(bytes).ok_or(NOT_A_SKETCH)
}

fn pfadd(ctx: &mut Ctx) -> CmdResult {
    let key = ctx.key(1);
    let mut marks = ctx.args.from(2).map(Mark::of);
    let len_max = ctx.config.hll_sparse_max_bytes;
    let changes = match ctx.keys.write::<Text>(key)? {
        Some(mut text) => add(&mut text, &mut marks, len_max)?,
        None => {
            let mut bytes = EMPTY.to_vec();
            let raised = raise_all(&mut bytes, &mut marks, len_max)?;
            invalidate_count(&mut bytes);
            ctx.keys.set_text(key, Incoming::computed(&mut bytes), Expiry::Drop);
            raised + 1
        }
    };
    if changes > 0 {
        ctx.keys.changed_by(key, PFADD, changes);
    }
    ctx.reply.integer(i64::from(changes > 0));
    Ok(())
}

/// Adds to a string that is there; how many of the marks changed a register. One that is damaged stays as it
/// is.
fn add(
    text: &mut TextMut<'_>,
    marks: &mut impl Iterator<Item = Mark>,
    len_max: usize,
) -> Result<u64, CmdError> {
    let bytes = text.view().bytes();
    let sketch = sketch(&bytes)?;
    let first = loop {
        match marks.next() {
            Some(mark) if sketch.is_raised_by(mark)? => break mark,
            Some(_) => {}
            None => return Ok(0),
        }
    };
    let mut marks = std::iter::once(first).chain(marks);
    if sketch.encoding == Encoding::Dense {
        return Ok(text.edit_bytes(0, ALL, |bytes| {
            invalidate_count(bytes);
            marks.filter(|mark| raise_dense(bytes, *mark)).count() as u64
        }));
    }
    let mut bytes = bytes.into_owned();
    let raised = raise_all(&mut bytes, &mut marks, len_max)?;
    text.set(Incoming::computed(&mut bytes));
    Ok(raised)
}

fn raise_all(
    bytes: &mut Vec<u8>,
    marks: &mut impl Iterator<Item = Mark>,
    len_max: usize,
) -> Result<u64, CmdError> {
    let mut raised = 0;
    for mark in marks {
        raised += u64::from(raise(bytes, mark, len_max)?);
    }
    Ok(raised)
}

fn pfcount(ctx: &mut Ctx) -> CmdResult {
    let count = if ctx.args.len() == 2 { count_one(ctx)? } else { count_several(ctx)? };
    ctx.reply.integer(count as i64);
    Ok(())
}

/// The count that the value remembers, or a new estimate that it then remembers.
fn count_one(ctx: &mut Ctx) -> Result<u64, CmdError> {
    let key = ctx.key(1);
    let Some(text) = ctx.keys.read::<Text>(key)? else { return Ok(0) };
    let bytes = text.bytes();
    let sketch = sketch(&bytes)?;
    if let Some(count) = sketch.cached_count() {
        return Ok(count);
    }
    let count = sketch.count()?;
    if let Some(mut text) = ctx.keys.write::<Text>(key)? {
        text.edit_bytes(0, ALL, |bytes| set_cached_count(bytes, count));
    }
    changed_silently(ctx, key);
    Ok(count)
}

fn count_several(ctx: &mut Ctx) -> Result<u64, CmdError> {
    let mut registers = Registers::default();
    for index in 1..ctx.args.len() {
        merge_key(ctx, index, &mut registers)?;
    }
    Ok(registers.count())
}

/// Merges in what a key holds; its form, if there is one.
fn merge_key(ctx: &mut Ctx, index: usize, registers: &mut Registers) -> Result<Option<Encoding>, CmdError> {
    let key = ctx.key(index);
    let Some(text) = ctx.keys.read::<Text>(key)? else { return Ok(None) };
    let bytes = text.bytes();
    let sketch = sketch(&bytes)?;
    registers.merge(sketch)?;
    Ok(Some(sketch.encoding))
}

/// The bytes changed, and no event tells of it.
fn changed_silently(ctx: &mut Ctx, key: Key<'_>) {
    ctx.keys.touch(key);
    ctx.keys.add_dirty(1);
}

fn pfmerge(ctx: &mut Ctx) -> CmdResult {
    let mut registers = Registers::default();
    let mut any_dense = false;
    for index in 1..ctx.args.len() {
        any_dense |= merge_key(ctx, index, &mut registers)? == Some(Encoding::Dense);
    }
    let key = ctx.key(1);
    let old = ctx.keys.peek_as::<Text>(key)?;
    let mut bytes = old.map_or_else(|| EMPTY.to_vec(), |text| text.bytes().into_owned());
    if any_dense {
        bytes = sketch(&bytes)?.to_dense()?;
        registers.overwrite(&mut bytes);
    } else {
        raise_all(&mut bytes, &mut registers.marks(), ctx.config.hll_sparse_max_bytes)?;
    }
    invalidate_count(&mut bytes);
    ctx.keys.set_text(key, Incoming::computed(&mut bytes), Expiry::Keep);
    ctx.keys.changed(key, PFADD);
    ctx.reply.ok();
    Ok(())
}

fn pfdebug(ctx: &mut Ctx) -> CmdResult {
    if ctx.args.is(1, "simd") {
        return choose_vectors(ctx);
    }
    let key = ctx.key(2);
    match ctx.keys.write::<Text>(key)? {
        Some(text) => sketch(&text.view().bytes()).map(|_| ())?,
        None => return Err(CmdError::fixed("ERR The specified key does not exist")),
    }
    let named = SUBCOMMANDS.iter().find(|(word, _)| ctx.args.is(1, word));
    match named {
        Some((_, run)) => run(ctx, key),
        None => {
            let text = [b"ERR Unknown PFDEBUG subcommand '", ctx.args.at(1), b"'"].concat();
            Err(CmdError::of_bytes(text))
        }
    }
}

type Subcommand = fn(&mut Ctx, Key<'_>) -> CmdResult;

/// Of PFDEBUG; the key holds a HyperLogLog.
const SUBCOMMANDS: [(&str, Subcommand); 4] =
    [("getreg", getreg), ("decode", decode), ("encoding", encoding), ("todense", todense)];

/// All registers; a sparse form becomes dense, as in Redis.
fn getreg(ctx: &mut Ctx, key: Key<'_>) -> CmdResult {
    make_dense(ctx, key)?;
    let mut registers = Registers::default();
    if let Some(text) = ctx.keys.peek_as::<Text>(key)? {
        registers.merge(sketch(&text.bytes())?)?;
    }
    ctx.reply.array(REGISTERS);
    registers.values().iter().for_each(|value| ctx.reply.integer(i64::from(*value)));
    Ok(())
}

fn decode(ctx: &mut Ctx, key: Key<'_>) -> CmdResult {
    let Some(text) = ctx.keys.peek_as::<Text>(key)? else { return Ok(()) };
    let bytes = text.bytes();
    let sketch = sketch(&bytes)?;
    if sketch.encoding != Encoding::Sparse {
        return Err(CmdError::fixed("ERR HLL encoding is not sparse"));
    }
    ctx.reply.bulk(sketch.runs_as_text().as_bytes());
    Ok(())
}

fn encoding(ctx: &mut Ctx, key: Key<'_>) -> CmdResult {
    let Some(text) = ctx.keys.peek_as::<Text>(key)? else { return Ok(()) };
    let is_dense = sketch(&text.bytes())?.encoding == Encoding::Dense;
    ctx.reply.simple(if is_dense { "dense" } else { "sparse" });
    Ok(())
}

fn todense(ctx: &mut Ctx, key: Key<'_>) -> CmdResult {
    let changed = make_dense(ctx, key)?;
    ctx.reply.integer(i64::from(changed));
    Ok(())
}

fn make_dense(ctx: &mut Ctx, key: Key<'_>) -> Result<bool, CmdError> {
    let Some(mut text) = ctx.keys.write::<Text>(key)? else { return Ok(false) };
    let bytes = text.view().bytes();
    let sketch = sketch(&bytes)?;
    if sketch.encoding == Encoding::Dense {
        return Ok(false);
    }
    let mut dense = sketch.to_dense()?;
    text.set(Incoming::computed(&mut dense));
    changed_silently(ctx, key);
    Ok(true)
}

/// Valkey's switch between two implementations. Here there is one.
fn choose_vectors(ctx: &mut Ctx) -> CmdResult {
    if !ctx.args.is(2, "on") && !ctx.args.is(2, "off") {
        return Err(CmdError::fixed("ERR Argument must be ON or OFF"));
    }
    ctx.reply.simple("disabled");
    Ok(())
}

/// Elements that the self test adds: a moment's work, where Redis' takes seconds.
const TEST_ELEMENTS: u64 = 1_000_000;

fn pfselftest(ctx: &mut Ctx) -> CmdResult {
    let (seed, len_max) = (ctx.engine.host.random(), ctx.config.hll_sparse_max_bytes);
    let (mut dense, mut other) = (sketch(&EMPTY)?.to_dense()?, EMPTY.to_vec());
    let mut checkpoint = 1;
    for number in 1..=TEST_ELEMENTS {
        let mark = Mark::of(&(number ^ seed).to_le_bytes());
        raise_dense(&mut dense, mark);
        raise(&mut other, mark, len_max)?;
        if number == checkpoint {
            check_counts(number, sketch(&dense)?.count()?, sketch(&other)?.count()?)?;
            checkpoint *= 10;
        }
    }
    ctx.reply.ok();
    Ok(())
}

/// Both forms agree, and are off by less than six times the standard error.
fn check_counts(number: u64, dense: u64, other: u64) -> CmdResult {
    if dense != other {
        return Err(CmdError::fixed("TESTFAILED dense/sparse disagree"));
    }
    let standard_error = 1.04 / (REGISTERS as f64).sqrt();
    let error = number.abs_diff(dense);
    if error as f64 > (standard_error * 6.0 * number as f64).ceil() {
        let text = format!("TESTFAILED Too big error. card:{number} abserr:{error}");
        return Err(CmdError::new(text));
    }
    Ok(())
}
