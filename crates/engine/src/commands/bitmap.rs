//! Bits of strings: setting, reading, counting and finding them, operations on whole strings, integers of any
//! width. What bits are is `ds::bits`; lengths and types of strings are the string family's rules.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use base::num::parse_i64;
use ds::bits::{self, Field, Operation, Overflow};
use smallvec::SmallVec;
use store::Text;
use store::text::{Expiry, Incoming, TextRef};

use crate::args::Argv;
use crate::command::{CmdResult, Command, Group, Run, command};
use crate::commands::string::check_room;
use crate::ctx::Ctx;
use crate::error::CmdError;
use crate::keys::Event;
use crate::keyspec::{KeySpec, flag as key};
use crate::notify::class;
use crate::session::Origin;

const fn row(name: &'static str, arity: i32, run: Run) -> Command {
    command(name, arity, Group::Bitmap, run)
}

pub static TABLE: &[Command] = &[
    row("bitcount", -2, bitcount)
        .read()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("2.6.0")
        .history(&[
            ("7.0.0", "Added the `BYTE|BIT` option."),
            ("8.0.0", "`end` made optional; when called without argument the command reports the last BYTE."),
        ])
        .syntax("key [start [end [BYTE | BIT]]]")
        .docs("Counts the bits that are set in a string or a part of it.", "O(N)"),
    row("bitfield", -2, bitfield)
        .write()
        .deny_oom()
        .keys(&[KeySpec {
            notes: "This command allows both access and modification of the key",
            ..KeySpec::one(1, key::RW | key::UPDATE | key::ACCESS | key::VARIABLE_FLAGS)
        }])
        .since("3.2.0")
        .syntax(
            "key [<GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] \
             <SET encoding offset value=integer | INCRBY encoding offset increment>> ...]",
        )
        .docs(
            "Reads, sets and increments integers of any width in a string.",
            "O(1) for each subcommand specified",
        ),
    row("bitfield_ro", -2, bitfield_ro)
        .read()
        .fast()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("6.0.0")
        .syntax("key [GET encoding offset [GET encoding offset ...]]")
        .docs("Reads integers of any width in a string.", "O(1) for each subcommand specified"),
    row("bitop", -4, bitop)
        .write()
        .deny_oom()
        .keys(&[KeySpec::one(2, key::OW | key::UPDATE), KeySpec::range(3, -1, 1, key::RO | key::ACCESS)])
        .since("2.6.0")
        .history(&[("8.2.0", "Added the `DIFF`, `DIFF1`, `ANDOR`, and `ONE` operations.")])
        .syntax("<AND | OR | XOR | NOT | DIFF | DIFF1 | ANDOR | ONE> destkey key [key ...]")
        .docs("Combines several strings bit by bit and keeps the result.", "O(N)"),
    row("bitpos", -3, bitpos)
        .read()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("2.8.7")
        .history(&[("7.0.0", "Added the `BYTE|BIT` option.")])
        .syntax("key bit [start [end [BYTE | BIT]]]")
        .docs("Finds the first bit that is set, or that is not, in a string or a part of it.", "O(N)"),
    row("getbit", 3, getbit)
        .read()
        .fast()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("2.2.0")
        .syntax("key offset")
        .docs("Returns the bit at an offset of a string.", "O(1)"),
    row("setbit", 4, setbit)
        .write()
        .deny_oom()
        .keys(&[KeySpec::one(1, key::RW | key::ACCESS | key::UPDATE)])
        .since("2.2.0")
        .syntax("key offset value=integer")
        .docs("Sets or clears the bit at an offset of a string, and returns it as it was.", "O(1)"),
];

fn offset(ctx: &Ctx, index: usize) -> Result<usize, CmdError> {
    let offset = parse_i64(ctx.args.at(index)).and_then(|offset| u64::try_from(offset).ok());
    check_offset(ctx, offset).map(|offset| offset as usize)
}

/// Refuses an offset behind the longest string that a request could bring.
fn check_offset(ctx: &Ctx, offset: Option<u64>) -> Result<u64, CmdError> {
    let limit = if ctx.session.origin == Origin::Replay { u64::MAX } else { ctx.config.proto_max_bulk_len };
    let offset = offset.filter(|offset| offset / 8 < limit);
    offset.ok_or(CmdError::fixed("ERR bit offset is not an integer or out of range"))
}

fn getbit(ctx: &mut Ctx) -> CmdResult {
    let (key, offset) = (ctx.key(1), offset(ctx, 2)?);
    let bit = ctx.keys.read::<Text>(key)?.is_some_and(|text| bits::bit(&text.bytes(), offset));
    ctx.reply.integer(i64::from(bit));
    Ok(())
}

fn setbit(ctx: &mut Ctx) -> CmdResult {
    let (key, offset) = (ctx.key(1), offset(ctx, 2)?);
    let on = match parse_i64(ctx.args.at(3)) {
        Some(0) => false,
        Some(1) => true,
        _ => return Err(CmdError::new("ERR bit is not an integer or out of range")),
    };
    let len = offset / 8 + 1;
    check_room(ctx, len)?;
    let mut text = ctx.keys.write_or_create::<Text>(key)?;
    let was_on = bits::bit(&text.view().bytes(), offset);
    if was_on != on || text.view().len() < len {
        text.edit_bytes(len, len - 1..len, |bytes| bits::set_bit(bytes, offset, on));
        ctx.keys.changed(key, SETBIT);
    } else {
        text.make_raw();
    }
    ctx.reply.integer(i64::from(was_on));
    Ok(())
}

/// A part of a string as a command names it: first and last byte or bit, from the end if negative.
#[derive(Clone, Copy)]
struct Part {
    start: i64,
    /// `None`: to the end.
    end: Option<i64>,
    in_bits: bool,
}

impl Part {
    /// From the argument at `index` on: nothing, or start, end and unit, of which the last ones may lack.
    fn parse(args: &Argv<'_>, index: usize) -> Result<Option<Part>, CmdError> {
        let count = args.len() - index;
        if count == 0 {
            return Ok(None);
        }
        if count > 3 {
            return Err(CmdError::SYNTAX);
        }
        let start = args.integer(index)?;
        let in_bits = args.is(index + 2, "bit");
        if count == 3 && !in_bits && !args.is(index + 2, "byte") {
            return Err(CmdError::SYNTAX);
        }
        let end = if count > 1 { Some(args.integer(index + 1)?) } else { None };
        Ok(Some(Part { start, end, in_bits }))
    }

    /// The bits of a string of `len` bytes that it names.
    fn bits(self, len: usize) -> Range<usize> {
        let width = if self.in_bits { 1 } else { 8 };
        let total = (len * 8 / width) as i64;
        let from_front = |index: i64| if index < 0 { index.saturating_add(total).max(0) } else { index };
        let (start, end) = (from_front(self.start), from_front(self.end.unwrap_or(-1)).min(total - 1));
        if start > end { 0..0 } else { start as usize * width..(end as usize + 1) * width }
    }
}

fn bitcount(ctx: &mut Ctx) -> CmdResult {
    let part = Part::parse(&ctx.args, 2)?;
    let key = ctx.key(1);
    let Some(text) = ctx.keys.read::<Text>(key)? else {
        ctx.reply.integer(0);
        return Ok(());
    };
    let bytes = text.bytes();
    let bits = match part {
        // Before the string's beginning there is nothing, wherever in it the two end up.
        Some(Part { start, end: Some(end), .. }) if start < 0 && end < 0 && start > end => 0..0,
        Some(part) => part.bits(bytes.len()),
        None => 0..bytes.len() * 8,
    };
    ctx.reply.integer(bits::count(&bytes, bits) as i64);
    Ok(())
}

fn bitpos(ctx: &mut Ctx) -> CmdResult {
    let bit = match ctx.args.integer(2)? {
        0 => false,
        1 => true,
        _ => return Err(CmdError::new("ERR The bit argument must be 1 or 0.")),
    };
    let part = Part::parse(&ctx.args, 3)?;
    let key = ctx.key(1);
    let Some(text) = ctx.keys.read::<Text>(key)? else {
        ctx.reply.integer(if bit { -1 } else { 0 });
        return Ok(());
    };
    let bytes = text.bytes();
    let bits = part.map_or(0..bytes.len() * 8, |part| part.bits(bytes.len()));
    let (end, is_open) = (bits.end, part.is_none_or(|part| part.end.is_none()));
    let is_empty = bits.is_empty();
    let found = match bits::find(&bytes, bit, bits) {
        Some(at) => at as i64,
        // Behind an open end zeros go on for ever.
        None if !bit && is_open && !is_empty => end as i64,
        None => -1,
    };
    ctx.reply.integer(found);
    Ok(())
}

fn bitop(ctx: &mut Ctx) -> CmdResult {
    let operation = operation(&ctx.args)?;
    let mut strings = Strings::default();
    for index in 3..ctx.args.len() {
        let key = ctx.key(index);
        let text = ctx.keys.read::<Text>(key)?;
        strings.push(text);
    }
    let mut result = bits::combine(operation, &strings.views());
    let (key, len) = (ctx.key(2), result.len());
    if len > 0 {
        ctx.keys.set_text(key, Incoming::computed(&mut result), Expiry::Drop);
        ctx.keys.changed(key, (class::STRING, "set"));
    } else if ctx.keys.delete(key) {
        ctx.keys.changed(key, (class::GENERIC, "del"));
    }
    ctx.reply.integer(len as i64);
    Ok(())
}

/// The operation that the first argument names, if there are as many strings as it takes.
fn operation(args: &Argv<'_>) -> Result<Operation, CmdError> {
    let named = OPERATIONS.iter().find(|(word, _)| args.is(1, word));
    let (word, operation) = named.copied().ok_or(CmdError::SYNTAX)?;
    let strings = args.len() - 3;
    match operation {
        Operation::Not if strings > 1 => {
            Err(CmdError::fixed("ERR BITOP NOT must be called with a single source key."))
        }
        Operation::Diff | Operation::Diff1 | Operation::AndOr if strings < 2 => {
            Err(CmdError::new(format!("ERR BITOP {word} must be called with at least two source keys.")))
        }
        operation => Ok(operation),
    }
}

const OPERATIONS: [(&str, Operation); 8] = [
    ("AND", Operation::And),
    ("OR", Operation::Or),
    ("XOR", Operation::Xor),
    ("NOT", Operation::Not),
    ("DIFF", Operation::Diff),
    ("DIFF1", Operation::Diff1),
    ("ANDOR", Operation::AndOr),
    ("ONE", Operation::One),
];

/// Strings of several keys at once: large ones are shared, the others copied one after the other.
#[derive(Default)]
struct Strings {
    copied: Vec<u8>,
    all: Vec<Place>,
}

enum Place {
    Copied(Range<usize>),
    Shared(Arc<Vec<u8>>),
}

impl Strings {
    fn push(&mut self, text: Option<TextRef<'_>>) {
        self.all.push(match text {
            Some(TextRef::Shared(shared)) => Place::Shared(shared.to_arc()),
            small => {
                let start = self.copied.len();
                self.copied.extend_from_slice(&small.map_or(Cow::default(), TextRef::bytes));
                Place::Copied(start..self.copied.len())
            }
        });
    }

    fn views(&self) -> Vec<&[u8]> {
        let places = self.all.iter();
        let views = places.map(|place| match place {
            Place::Copied(range) => &self.copied[range.clone()],
            Place::Shared(bytes) => bytes.as_slice(),
        });
        views.collect()
    }
}

fn bitfield(ctx: &mut Ctx) -> CmdResult {
    let steps = steps(ctx)?;
    if steps.iter().any(Step::writes) { change_fields(ctx, &steps) } else { read_fields(ctx, &steps) }
}

fn bitfield_ro(ctx: &mut Ctx) -> CmdResult {
    let steps = steps(ctx)?;
    if steps.iter().any(Step::writes) {
        return Err(CmdError::fixed("ERR BITFIELD_RO only supports the GET subcommand"));
    }
    read_fields(ctx, &steps)
}

/// What BITFIELD does with one field.
#[derive(Clone, Copy)]
struct Step {
    field: Field,
    offset: u64,
    action: Action,
}

#[derive(Clone, Copy)]
enum Action {
    Get,
    Set(i64, Overflow),
    Add(i64, Overflow),
}

/// What a step did: the answer, and whether it wrote and thereby changed the number.
struct Done {
    answer: Option<i64>,
    wrote: bool,
    changed: bool,
}

type Steps = SmallVec<[Step; 4]>;

impl Step {
    fn writes(&self) -> bool {
        !matches!(self.action, Action::Get)
    }

    /// The string is long enough for a step that writes.
    fn run(&self, bytes: &mut [u8]) -> Done {
        let old = self.field.get(bytes, self.offset);
        let new = match self.action {
            Action::Get => return Done { answer: Some(old), wrote: false, changed: false },
            Action::Set(value, overflow) => self.field.fit(value, overflow),
            Action::Add(increment, overflow) => self.field.add(old, increment, overflow),
        };
        let Some(new) = new else { return Done { answer: None, wrote: false, changed: false } };
        self.field.put(bytes, self.offset, new);
        let answer = if matches!(self.action, Action::Set(..)) { old } else { new };
        Done { answer: Some(answer), wrote: true, changed: new != old }
    }
}

fn steps(ctx: &Ctx) -> Result<Steps, CmdError> {
    let args = &ctx.args;
    let (mut steps, mut overflow, mut index) = (Steps::new(), Overflow::default(), 2);
    while index < args.len() {
        let operands = args.len() - index - 1;
        if args.is(index, "overflow") && operands >= 1 {
            overflow = overflow_named(args, index + 1)?;
            index += 2;
            continue;
        }
        let gets = args.is(index, "get") && operands >= 2;
        let sets = args.is(index, "set") && operands >= 3;
        let adds = args.is(index, "incrby") && operands >= 3;
        if !(gets || sets || adds) {
            return Err(CmdError::SYNTAX);
        }
        let field = Field::parse(args.at(index + 1)).ok_or(BAD_FIELD)?;
        let offset = check_offset(ctx, field.parse_offset(args.at(index + 2)))?;
        let action = match (gets, sets) {
            (true, _) => Action::Get,
            (_, true) => Action::Set(args.integer(index + 3)?, overflow),
            _ => Action::Add(args.integer(index + 3)?, overflow),
        };
        steps.push(Step { field, offset, action });
        index += if gets { 3 } else { 4 };
    }
    Ok(steps)
}

fn overflow_named(args: &Argv<'_>, index: usize) -> Result<Overflow, CmdError> {
    let named = OVERFLOWS.iter().find(|(word, _)| args.is(index, word));
    named.map(|(_, overflow)| *overflow).ok_or(CmdError::fixed("ERR Invalid OVERFLOW type specified"))
}

const OVERFLOWS: [(&str, Overflow); 3] =
    [("wrap", Overflow::Wrap), ("sat", Overflow::Saturate), ("fail", Overflow::Fail)];

const BAD_FIELD: CmdError = CmdError::fixed(
    "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
);

fn read_fields(ctx: &mut Ctx, steps: &[Step]) -> CmdResult {
    let key = ctx.key(1);
    let bytes = ctx.keys.read::<Text>(key)?.map_or(Cow::default(), TextRef::bytes);
    ctx.reply.array(steps.len());
    steps.iter().for_each(|step| ctx.reply.integer(step.field.get(&bytes, step.offset)));
    Ok(())
}

fn change_fields(ctx: &mut Ctx, steps: &[Step]) -> CmdResult {
    let writing = steps.iter().filter(|step| step.writes());
    let len = writing.clone().map(|step| step.field.end_byte(step.offset)).max().unwrap_or(0) as usize;
    let first = writing.map(|step| step.offset as usize / 8).min().unwrap_or(0);
    check_room(ctx, len)?;
    let key = ctx.key(1);
    let mut text = ctx.keys.write_or_create::<Text>(key)?;
    let is_grown = text.view().len() < len;
    let reply = &mut *ctx.reply;
    reply.array(steps.len());
    let changes = text.edit_bytes(len, first..len, |bytes| {
        let mut changes = 0;
        for step in steps {
            let done = step.run(bytes);
            changes += u64::from(done.changed || (done.wrote && is_grown));
            match done.answer {
                Some(number) => reply.integer(number),
                None => reply.null(),
            }
        }
        changes
    });
    if changes > 0 {
        ctx.keys.changed_by(key, SETBIT, changes);
    } else if is_grown {
        // Every write failed, but the string is longer than before: no event, as in Redis, and yet a change.
        ctx.keys.touch(key);
        ctx.keys.add_dirty(1);
    }
    Ok(())
}

const SETBIT: Event = (class::STRING, "setbit");
