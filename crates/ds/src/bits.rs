//! Strings as bits: counting and finding them, operations on whole strings, integers of any width. Bit 0 is
//! the highest of the first byte, and a string goes on in zeros behind its end. It knows no keys and no
//! limits: how long a string may become is the caller's rule.
#![allow(unsafe_code)]

use std::ops::Range;

use base::num::parse_i64;

/// The bit at an offset; unset behind the end.
#[inline]
pub fn bit(bytes: &[u8], offset: usize) -> bool {
    bytes.get(offset / 8).is_some_and(|byte| byte >> (7 - offset % 8) & 1 == 1)
}

/// Sets or clears a bit that is there.
#[inline]
pub fn set_bit(bytes: &mut [u8], offset: usize, on: bool) {
    let mask = 1 << (7 - offset % 8);
    let byte = &mut bytes[offset / 8];
    *byte = if on { *byte | mask } else { *byte & !mask };
}

/// How many bits of a range are set.
pub fn count(bytes: &[u8], bits: Range<usize>) -> usize {
    let (before, whole, behind) = split(bits);
    let single = before.chain(behind).filter(|&at| bit(bytes, at)).count();
    let (words, rest) = bytes[whole].as_chunks::<8>();
    let in_rest: usize = rest.iter().map(|byte| byte.count_ones() as usize).sum();
    single + count_words(words) + in_rest
}

/// The first bit of a range that is as wanted.
pub fn find(bytes: &[u8], wanted: bool, bits: Range<usize>) -> Option<usize> {
    let (mut before, whole, mut behind) = split(bits);
    let is_wanted = |at: &usize| bit(bytes, *at) == wanted;
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

/// Splits a range of bits into those before the first whole byte, the whole bytes, and those behind the last.
fn split(bits: Range<usize>) -> (Range<usize>, Range<usize>, Range<usize>) {
    let (first, last) = (bits.start.div_ceil(8), bits.end / 8);
    if first >= last {
        return (bits.clone(), 0..0, bits.end..bits.end);
    }
    (bits.start..first * 8, first..last, last * 8..bits.end)
}

/// The place of the first byte other than `dull`.
fn first_other(bytes: &[u8], dull: u8) -> Option<usize> {
    let (words, _) = bytes.as_chunks::<8>();
    let skipped = words.iter().take_while(|word| **word == [dull; 8]).count() * 8;
    let at = bytes[skipped..].iter().position(|byte| *byte != dull)?;
    Some(skipped + at)
}

#[cfg(target_arch = "x86_64")]
fn count_words(words: &[[u8; 8]]) -> usize {
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt") {
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { count_words_avx2(words) };
    }
    count_words_anywhere(words)
}

#[cfg(not(target_arch = "x86_64"))]
fn count_words(words: &[[u8; 8]]) -> usize {
    count_words_anywhere(words)
}

/// The same loop for processors that add up 32 bytes at once.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,popcnt")]
fn count_words_avx2(words: &[[u8; 8]]) -> usize {
    count_words_anywhere(words)
}

#[inline(always)]
fn count_words_anywhere(words: &[[u8; 8]]) -> usize {
    words.iter().map(|word| u64::from_ne_bytes(*word).count_ones() as usize).sum()
}

/// What becomes of several strings bit by bit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    And,
    Or,
    Xor,
    /// Of the first string alone.
    Not,
    /// In the first, and in none of the others.
    Diff,
    /// In any of the others, and not in the first.
    Diff1,
    /// In the first, and in any of the others.
    AndOr,
    /// In exactly one.
    One,
}

/// Bytes combined at a time: they stay in the first-level cache while all strings pass over them.
const BLOCK_LEN: usize = 4096;

/// The result, as long as the longest of the strings; shorter ones count as if zeros followed. There is at
/// least one string.
pub fn combine(operation: Operation, strings: &[&[u8]]) -> Vec<u8> {
    let len = strings.iter().map(|bytes| bytes.len()).max().unwrap_or(0);
    let mut result = vec![0; len];
    for (index, block) in result.chunks_mut(BLOCK_LEN).enumerate() {
        let (from, len) = (index * BLOCK_LEN, block.len());
        let parts = strings.iter().map(|bytes| part(bytes, from, len));
        combine_block(operation, block, parts);
    }
    result
}

/// At most `len` bytes of a string from a place on.
fn part(bytes: &[u8], from: usize, len: usize) -> &[u8] {
    let rest = bytes.get(from..).unwrap_or_default();
    &rest[..rest.len().min(len)]
}

/// Into a block of zeros.
fn combine_block<'a>(operation: Operation, block: &mut [u8], mut parts: impl Iterator<Item = &'a [u8]>) {
    let first = parts.next().unwrap_or_default();
    match operation {
        Operation::And => {
            block[..first.len()].copy_from_slice(first);
            parts.for_each(|part| and(block, part));
        }
        Operation::Or => {
            block[..first.len()].copy_from_slice(first);
            parts.for_each(|part| or(block, part));
        }
        Operation::Xor => {
            block[..first.len()].copy_from_slice(first);
            parts.for_each(|part| update(block, part, |byte, other| byte ^ other));
        }
        Operation::Not => {
            block.fill(u8::MAX);
            update(block, first, |_, other| !other);
        }
        Operation::Diff => {
            parts.for_each(|part| or(block, part));
            update(block, first, |byte, other| other & !byte);
            block[first.len()..].fill(0);
        }
        Operation::Diff1 => {
            parts.for_each(|part| or(block, part));
            update(block, first, |byte, other| byte & !other);
        }
        Operation::AndOr => {
            parts.for_each(|part| or(block, part));
            and(block, first);
        }
        Operation::One => {
            block[..first.len()].copy_from_slice(first);
            one_of(block, parts);
        }
    }
}

/// Bits that are set in exactly one of the block and the others.
fn one_of<'a>(block: &mut [u8], parts: impl Iterator<Item = &'a [u8]>) {
    let mut twice = [0; BLOCK_LEN];
    for part in parts {
        for ((once, twice), byte) in block.iter_mut().zip(&mut twice).zip(part) {
            *twice |= *once & byte;
            *once |= byte;
        }
    }
    update(block, &twice, |byte, twice| byte & !twice);
}

fn and(block: &mut [u8], part: &[u8]) {
    update(block, part, |byte, other| byte & other);
    block[part.len()..].fill(0);
}

fn or(block: &mut [u8], part: &[u8]) {
    update(block, part, |byte, other| byte | other);
}

#[inline(always)]
fn update(block: &mut [u8], part: &[u8], change: impl Fn(u8, u8) -> u8) {
    block.iter_mut().zip(part).for_each(|(byte, other)| *byte = change(*byte, *other));
}

/// What happens to a number that does not fit its field.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Overflow {
    #[default]
    Wrap,
    Saturate,
    Fail,
}

/// An integer in a string: signed of up to 64 bits, or unsigned of up to 63.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field {
    is_signed: bool,
    bits: u32,
}

impl Field {
    /// A type such as `i16` or `u8`.
    pub fn parse(text: &[u8]) -> Option<Field> {
        let (is_signed, digits) = match text {
            [b'i', digits @ ..] => (true, digits),
            [b'u', digits @ ..] => (false, digits),
            _ => return None,
        };
        let widest = if is_signed { 64 } else { 63 };
        let bits = parse_i64(digits).filter(|bits| (1..=widest).contains(bits))?;
        Some(Field { is_signed, bits: bits as u32 })
    }

    /// An offset in bits; behind `#` it counts in fields of this width.
    pub fn parse_offset(self, text: &[u8]) -> Option<u64> {
        let offset = match text {
            [b'#', index @ ..] => parse_i64(index)?.checked_mul(i64::from(self.bits))?,
            _ => parse_i64(text)?,
        };
        u64::try_from(offset).ok()
    }

    /// How long a string is at least that has this field at `offset`.
    pub fn end_byte(self, offset: u64) -> u64 {
        (offset + u64::from(self.bits) - 1) / 8 + 1
    }

    /// The number at an offset.
    pub fn get(self, bytes: &[u8], offset: u64) -> i64 {
        let window = Window::of(self, offset);
        self.extend((window.load(bytes) >> window.shift) as u64)
    }

    /// Writes a number that fits at an offset where the string is long enough.
    pub fn put(self, bytes: &mut [u8], offset: u64, value: i64) {
        debug_assert!(self.end_byte(offset) <= bytes.len() as u64);
        let window = Window::of(self, offset);
        let mask = u128::from(self.mask()) << window.shift;
        let new = window.load(bytes) & !mask | (u128::from(value as u64) << window.shift) & mask;
        window.store(bytes, new);
    }

    /// The number that is kept when a client sets this one; `None`: it fails. An unsigned field takes a
    /// negative number for one that is too large.
    pub fn fit(self, value: i64, overflow: Overflow) -> Option<i64> {
        let value = if self.is_signed { i128::from(value) } else { i128::from(value as u64) };
        self.bound(value, overflow)
    }

    /// The sum that is kept; `None`: it fails.
    pub fn add(self, value: i64, increment: i64, overflow: Overflow) -> Option<i64> {
        self.bound(i128::from(value) + i128::from(increment), overflow)
    }

    fn bound(self, value: i128, overflow: Overflow) -> Option<i64> {
        let (min, max) = self.range();
        if (min..=max).contains(&value) {
            return Some(value as i64);
        }
        match overflow {
            Overflow::Wrap => Some(self.extend(value as u64)),
            Overflow::Saturate => Some(value.clamp(min, max) as i64),
            Overflow::Fail => None,
        }
    }

    fn range(self) -> (i128, i128) {
        let span = 1i128 << self.bits;
        if self.is_signed { (-span / 2, span / 2 - 1) } else { (0, span - 1) }
    }

    fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits)
    }

    /// The number that the lowest bits make.
    fn extend(self, word: u64) -> i64 {
        if !self.is_signed {
            return (word & self.mask()) as i64;
        }
        let unused = 64 - self.bits;
        ((word << unused) as i64) >> unused
    }
}

/// The bytes that a field touches, at most nine, as one big-endian number.
struct Window {
    first: u64,
    len: usize,
    /// Bits behind the field in its last byte.
    shift: u32,
}

impl Window {
    fn of(field: Field, offset: u64) -> Window {
        let first = offset / 8;
        let end = (offset % 8) as u32 + field.bits;
        Window { first, len: end.div_ceil(8) as usize, shift: end.next_multiple_of(8) - end }
    }

    fn load(&self, bytes: &[u8]) -> u128 {
        let start = bytes.len().min(usize::try_from(self.first).unwrap_or(usize::MAX));
        let mut window = [0; 9];
        window.iter_mut().zip(&bytes[start..]).take(self.len).for_each(|(to, from)| *to = *from);
        window[..self.len].iter().fold(0, |word, byte| word << 8 | u128::from(*byte))
    }

    fn store(&self, bytes: &mut [u8], word: u128) {
        let start = self.first as usize;
        let window = word.to_be_bytes();
        bytes[start..start + self.len].copy_from_slice(&window[window.len() - self.len..]);
    }
}
