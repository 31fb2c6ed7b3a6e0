//! The intset: Redis' sorted array of distinct integers, byte for byte as in its memory and RDB files.
//!
//! It reads, checks and edits bytes that someone else owns, and never decides when a set is too big for it.
//! Format (all little-endian): bytes of each integer (2, 4 or 8) as u32, their count as u32, the integers in
//! ascending order. The width never shrinks.

use crate::listpack::{Buffer, Corrupt};

/// The bytes of a well-formed intset. Reading anything else may panic.
#[derive(Clone, Copy, Debug)]
pub struct Intset<'a> {
    bytes: &'a [u8],
    width: Width,
}

/// Bytes of each integer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
enum Width {
    Two = 2,
    Four = 4,
    Eight = 8,
}

impl<'a> Intset<'a> {
    /// Bytes that this module made, or that `validate` has accepted in depth.
    #[inline]
    pub fn trusted(bytes: &'a [u8]) -> Self {
        debug_assert!(Intset::validate(bytes, false).is_ok(), "these bytes are no intset");
        Intset { bytes, width: Width::of_code(read_u32(bytes, 0)).expect("an intset's width is sound") }
    }

    /// Checks bytes from outside: the header and the length and, if `deep`, the order.
    pub fn validate(bytes: &'a [u8], deep: bool) -> Result<Self, Corrupt> {
        if bytes.len() < HEADER_LEN {
            return Err(Corrupt);
        }
        let width = Width::of_code(read_u32(bytes, 0)).ok_or(Corrupt)?;
        let set = Intset { bytes, width };
        let framed = (bytes.len() - HEADER_LEN) as u64 == set.len() as u64 * width as u64;
        let sorted = || set.iter().zip(set.iter().skip(1)).all(|(one, next)| one < next);
        if framed && (!deep || sorted()) { Ok(set) } else { Err(Corrupt) }
    }

    pub fn new_empty() -> Vec<u8> {
        EMPTY.to_vec()
    }

    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    #[inline]
    pub fn len(self) -> usize {
        read_u32(self.bytes, COUNT_AT) as usize
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The integer of this rank, 0 being the least.
    pub fn at(self, rank: usize) -> Option<i64> {
        (rank < self.len()).then(|| self.read(rank))
    }

    pub fn contains(self, value: i64) -> bool {
        self.search(value).is_ok()
    }

    /// The integers in ascending order.
    pub fn iter(self) -> impl Iterator<Item = i64> + Clone + use<'a> {
        (0..self.len()).map(move |rank| self.read(rank))
    }

    /// The rank of `value`, or the one it would get.
    fn search(self, value: i64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.read(middle).cmp(&value) {
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    fn read(self, rank: usize) -> i64 {
        let bytes = &self.bytes[self.offset(rank)..];
        let whole = "an intset is as long as its header says";
        match self.width {
            Width::Two => i64::from(i16::from_le_bytes(*bytes.first_chunk().expect(whole))),
            Width::Four => i64::from(i32::from_le_bytes(*bytes.first_chunk().expect(whole))),
            Width::Eight => i64::from_le_bytes(*bytes.first_chunk().expect(whole)),
        }
    }

    fn offset(self, rank: usize) -> usize {
        HEADER_LEN + rank * self.width as usize
    }
}

impl Width {
    fn of_code(code: u32) -> Option<Width> {
        match code {
            2 => Some(Width::Two),
            4 => Some(Width::Four),
            8 => Some(Width::Eight),
            _ => None,
        }
    }

    fn of_value(value: i64) -> Width {
        if i16::try_from(value).is_ok() {
            Width::Two
        } else if i32::try_from(value).is_ok() {
            Width::Four
        } else {
            Width::Eight
        }
    }
}

/// Adds an integer; says whether it was absent.
pub fn insert(buffer: &mut impl Buffer, value: i64) -> bool {
    let set = Intset::trusted(buffer.bytes());
    let Err(rank) = set.search(value) else { return false };
    let (width, count) = (set.width, set.len() as u32 + 1);
    if Width::of_value(value) > width {
        let (before, after) = (set.iter().take(rank), set.iter().skip(rank));
        let widened = encode(Width::of_value(value), before.chain([value]).chain(after));
        let old_len = set.bytes.len();
        buffer.splice(0, old_len, &[&widened]);
        return true;
    }
    let at = set.offset(rank);
    buffer.splice(at, 0, &[&value.to_le_bytes()[..width as usize]]);
    buffer.splice(COUNT_AT, 4, &[&count.to_le_bytes()]);
    true
}

/// Removes an integer; says whether it was there.
pub fn remove(buffer: &mut impl Buffer, value: i64) -> bool {
    let set = Intset::trusted(buffer.bytes());
    let Ok(rank) = set.search(value) else { return false };
    let (at, width, count) = (set.offset(rank), set.width as usize, set.len() as u32 - 1);
    buffer.splice(at, width, &[]);
    buffer.splice(COUNT_AT, 4, &[&count.to_le_bytes()]);
    true
}

/// The intset of integers that ascend.
pub fn from_sorted(values: &[i64]) -> Vec<u8> {
    debug_assert!(values.is_sorted_by(|one, next| one < next), "an intset's integers ascend");
    let ends = [values.first(), values.last()];
    let widest = ends.into_iter().flatten().map(|&value| Width::of_value(value)).max();
    encode(widest.unwrap_or(Width::Two), values.iter().copied())
}

fn encode(width: Width, values: impl Iterator<Item = i64>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_LEN + values.size_hint().0 * width as usize);
    bytes.extend_from_slice(&(width as u32).to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    let mut count = 0u32;
    for value in values {
        bytes.extend_from_slice(&value.to_le_bytes()[..width as usize]);
        count += 1;
    }
    bytes[COUNT_AT..HEADER_LEN].copy_from_slice(&count.to_le_bytes());
    bytes
}

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// An intset of no integers.
pub const EMPTY: &[u8] = &[Width::Two as u8, 0, 0, 0, 0, 0, 0, 0];

const COUNT_AT: usize = 4;
const HEADER_LEN: usize = 8;
