//! Bits of strings: setting, reading, counting and finding them. Bit 0 is the highest of the first byte.
//! Lengths and types of strings are the string family's rules.

use std::ops::Range;

use base::num::parse_i64;
use store::Text;

use crate::args::Argv;
use crate::command::{CmdResult, Command, Group, Run, command};
use crate::ctx::Ctx;
use crate::error::CmdError;
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
        .history(&[("7.0.0", "Added the `BYTE|BIT` option.")])
        .syntax("key [start end [BYTE | BIT]]")
        .docs("Counts the bits that are set in a string or a part of it.", "O(N)"),
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
    let offset = parse_i64(ctx.args.at(index)).and_then(|offset| usize::try_from(offset).ok());
    let limit = if ctx.session.origin == Origin::Replay { u64::MAX } else { ctx.config.proto_max_bulk_len };
    let offset = offset.filter(|offset| (offset / 8) as u64 <= limit.saturating_sub(1));
    offset.ok_or(CmdError::new("ERR bit offset is not an integer or out of range"))
}

fn bit_at(bytes: &[u8], offset: usize) -> bool {
    bytes.get(offset / 8).is_some_and(|byte| byte >> (7 - offset % 8) & 1 == 1)
}

fn getbit(ctx: &mut Ctx) -> CmdResult {
    let (key, offset) = (ctx.key(1), offset(ctx, 2)?);
    let bit = ctx.keys.read::<Text>(key)?.is_some_and(|text| bit_at(&text.bytes(), offset));
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
    let old = ctx.keys.peek_as::<Text>(key)?;
    let was_on = old.is_some_and(|text| bit_at(&text.bytes(), offset));
    if was_on != on || old.is_none_or(|text| text.len() < len) {
        ctx.keys.write_or_create::<Text>(key)?.edit_bytes(len, |bytes| {
            let mask = 1 << (7 - offset % 8);
            let byte = &mut bytes[offset / 8];
            *byte = if on { *byte | mask } else { *byte & !mask };
        });
        ctx.keys.changed(key, (class::STRING, "setbit"));
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
    /// From the argument at `index` on: nothing, or start, end and unit, of which `optional` says how many
    /// may lack.
    fn parse(args: &Argv<'_>, index: usize, optional_end: bool) -> Result<Option<Part>, CmdError> {
        let count = args.len() - index;
        if count == 0 {
            return Ok(None);
        }
        if count > 3 || (count == 1 && !optional_end) {
            return Err(CmdError::SYNTAX);
        }
        let start = args.integer(index)?;
        let end = if count > 1 { Some(args.integer(index + 1)?) } else { None };
        let in_bits = args.is(index + 2, "bit");
        if count == 3 && !in_bits && !args.is(index + 2, "byte") {
            return Err(CmdError::SYNTAX);
        }
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
    let part = Part::parse(&ctx.args, 2, false)?;
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
    ctx.reply.integer(count_ones(&bytes, bits) as i64);
    Ok(())
}

fn bitpos(ctx: &mut Ctx) -> CmdResult {
    let bit = match ctx.args.integer(2)? {
        0 => false,
        1 => true,
        _ => return Err(CmdError::new("ERR The bit argument must be 1 or 0.")),
    };
    let part = Part::parse(&ctx.args, 3, true)?;
    let key = ctx.key(1);
    let Some(text) = ctx.keys.read::<Text>(key)? else {
        ctx.reply.integer(if bit { -1 } else { 0 });
        return Ok(());
    };
    let bytes = text.bytes();
    let bits = part.map_or(0..bytes.len() * 8, |part| part.bits(bytes.len()));
    let (end, is_open) = (bits.end, part.is_none_or(|part| part.end.is_none()));
    let is_empty = bits.is_empty();
    let found = match find_bit(&bytes, bit, bits) {
        Some(at) => at as i64,
        // Behind an open end zeros go on for ever.
        None if !bit && is_open && !is_empty => end as i64,
        None => -1,
    };
    ctx.reply.integer(found);
    Ok(())
}

/// Splits a range of bits into those before the first whole byte, the whole bytes, and those behind the last.
fn split(bits: Range<usize>) -> (Range<usize>, Range<usize>, Range<usize>) {
    let (first, last) = (bits.start.div_ceil(8), bits.end / 8);
    if first >= last {
        return (bits.clone(), 0..0, bits.end..bits.end);
    }
    (bits.start..first * 8, first..last, last * 8..bits.end)
}

fn count_ones(bytes: &[u8], bits: Range<usize>) -> usize {
    let (before, whole, behind) = split(bits);
    let single = before.chain(behind).filter(|&bit| bit_at(bytes, bit)).count();
    let (words, rest) = bytes[whole].as_chunks::<8>();
    let in_words: usize = words.iter().map(|word| u64::from_ne_bytes(*word).count_ones() as usize).sum();
    let in_rest: usize = rest.iter().map(|byte| byte.count_ones() as usize).sum();
    single + in_words + in_rest
}

/// The first bit that is as wanted.
fn find_bit(bytes: &[u8], wanted: bool, bits: Range<usize>) -> Option<usize> {
    let (mut before, whole, mut behind) = split(bits);
    let is_wanted = |bit: &usize| bit_at(bytes, *bit) == wanted;
    let dull = if wanted { 0 } else { u8::MAX };
    before
        .find(is_wanted)
        .or_else(|| {
            let first = whole.start;
            let at = first + first_other(&bytes[whole], dull)?;
            (at * 8..at * 8 + 8).find(is_wanted)
        })
        .or_else(|| behind.find(is_wanted))
}

/// The place of the first byte other than `dull`.
fn first_other(bytes: &[u8], dull: u8) -> Option<usize> {
    let (words, _) = bytes.as_chunks::<8>();
    let skipped = words.iter().take_while(|word| **word == [dull; 8]).count() * 8;
    let at = bytes[skipped..].iter().position(|byte| *byte != dull)?;
    Some(skipped + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every range of a string against looking at each bit.
    #[test]
    fn counting_and_finding_agree_with_single_bits() {
        let strings: [&[u8]; 4] =
            [&[0; 19], &[0xff; 19], &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0x80], b"\x01\xfe"];
        for bytes in strings {
            let total = bytes.len() * 8;
            for (start, end) in (0..=total).flat_map(|start| (start..=total).map(move |end| (start, end))) {
                let ones = (start..end).filter(|&bit| bit_at(bytes, bit)).count();
                assert_eq!(count_ones(bytes, start..end), ones);
                for wanted in [false, true] {
                    let first = (start..end).find(|&bit| bit_at(bytes, bit) == wanted);
                    assert_eq!(find_bit(bytes, wanted, start..end), first, "{start}..{end}");
                }
            }
        }
    }
}
