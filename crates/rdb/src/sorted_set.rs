//! Sorted sets as bytes and back, in all the forms Redis and Valkey have had, and the form in which a sorted
//! set that comes member by member is kept. It does not know what the members are for.

use crate::error::ErrorKind;
use crate::format;
use crate::legacy;
use crate::length::{self, WriteOptions};
use crate::source::Input;
use crate::values::{Duplicates, Rules, Thresholds};
use base::num;
use ds::listpack::{Element, Listpack};
use ds::sorted_set::{
    Direction, ScoredTable, SortedSetRef, packed_bytes_needed, packed_items, packed_push, score_of,
};
use std::cmp::Ordering;
use std::collections::HashSet;
use std::hash::Hash;

/// A sorted set in the form the store keeps.
pub enum SortedSetObject {
    Packed(Vec<u8>),
    Table(Box<ScoredTable>),
}

impl SortedSetObject {
    /// The value as the writer sees it.
    pub fn view(&self) -> SortedSetRef<'_> {
        match self {
            SortedSetObject::Packed(packed) => SortedSetRef::Packed(Listpack::trusted(packed)),
            SortedSetObject::Table(table) => SortedSetRef::Table(table),
        }
    }
}

pub(crate) fn type_code(set: SortedSetRef<'_>) -> u8 {
    match set {
        SortedSetRef::Packed(_) => format::TYPE_ZSET_LISTPACK,
        SortedSetRef::Table(_) => format::TYPE_ZSET_2,
    }
}

pub(crate) fn version_needed(_: SortedSetRef<'_>) -> u32 {
    format::VERSION_PLAIN
}

/// Members go from the last to the first, as Redis writes them: its skip list grows fastest at its head.
pub(crate) fn write(out: &mut Vec<u8>, set: SortedSetRef<'_>, options: &WriteOptions) {
    let table = match set {
        SortedSetRef::Packed(packed) => return length::write_string(out, packed.bytes(), options),
        SortedSetRef::Table(table) => table,
    };
    length::write_len(out, table.len() as u64);
    for item in table.items(0..table.len(), Direction::Descending) {
        length::write_string(out, item.member(), options);
        out.extend_from_slice(&item.score().to_le_bytes());
    }
}

/// Reads a value of type `code`; None if it is empty.
pub(crate) fn read<I: Input>(
    source: &mut I,
    code: u8,
    rules: &Rules,
) -> Result<Option<SortedSetObject>, ErrorKind> {
    match code {
        format::TYPE_ZSET => read_plain(source, rules, read_score_text),
        format::TYPE_ZSET_2 => read_plain(source, rules, |source| Ok(f64::from_le_bytes(source.array()?))),
        format::TYPE_ZSET_ZIPLIST => read_ziplist(source, rules),
        format::TYPE_ZSET_LISTPACK => read_listpack(source, rules),
        _ => Err(ErrorKind::Corrupt("the type code is not one of a sorted set")),
    }
}

/// A count, then members, each with its score behind it.
fn read_plain<I: Input>(
    source: &mut I,
    rules: &Rules,
    score: impl Fn(&mut I) -> Result<f64, ErrorKind>,
) -> Result<Option<SortedSetObject>, ErrorKind> {
    let count = length::read_len(source)?;
    let mut builder = SortedSetBuilder::new(rules.thresholds);
    if count > rules.thresholds.zset_entries as u64 {
        builder.lay_out(source.items_ahead(count));
    }
    let mut member = Vec::new();
    for _ in 0..count {
        length::read_string_into(source, &mut member)?;
        builder.push_bytes(&member, score(source)?)?;
    }
    builder.finish()
}

/// A byte of length and so much text, or one of three bytes that stand for what has no digits.
fn read_score_text<I: Input>(source: &mut I) -> Result<f64, ErrorKind> {
    let mut text = Vec::new();
    match source.byte()? {
        TEXT_NAN => Err(BAD_SCORE),
        TEXT_INFINITY => Ok(f64::INFINITY),
        TEXT_NEGATIVE_INFINITY => Ok(f64::NEG_INFINITY),
        len => {
            source.append(&mut text, u64::from(len))?;
            num::parse_f64(&text).ok_or(BAD_SCORE)
        }
    }
}

fn read_ziplist<I: Input>(source: &mut I, rules: &Rules) -> Result<Option<SortedSetObject>, ErrorKind> {
    let blob = length::read_string(source)?;
    let mut builder = SortedSetBuilder::new(rules.thresholds);
    let mut member = Vec::new();
    let mut count = 0u64;
    legacy::for_each_in_ziplist(&blob, |element| {
        count += 1;
        let element = match element {
            legacy::Element::Int(number) => Element::Int(number),
            legacy::Element::Bytes(bytes) => Element::Bytes(bytes),
        };
        if count % 2 == 1 {
            member.clear();
            element.write_to(&mut member);
            return Ok(());
        }
        builder.push_bytes(&member, score_of(element).ok_or(BAD_SCORE)?)
    })?;
    if count.is_multiple_of(2) { builder.finish() } else { Err(ODD) }
}

/// A listpack of members and scores: kept as it is, if there are not too many and they stand in order.
fn read_listpack<I: Input>(source: &mut I, rules: &Rules) -> Result<Option<SortedSetObject>, ErrorKind> {
    let blob = length::read_string(source)?;
    // Always down to the elements: code above trusts a listpack that was let in.
    let packed = Listpack::validate(&blob, true).map_err(|_| ErrorKind::Corrupt("a listpack is damaged"))?;
    let count = packed.len();
    if count % 2 != 0 {
        return Err(ODD);
    }
    if packed.iter().skip(1).step_by(2).any(|score| score_of(score).is_none()) {
        return Err(BAD_SCORE);
    }
    let fits = count / 2 <= rules.thresholds.zset_entries && blob.len() <= PACKED_SORTED_SET_LEN_MAX;
    if !fits || !is_in_order(packed) {
        let mut builder = SortedSetBuilder::new(rules.thresholds);
        packed_items(packed).try_for_each(|item| builder.push(item.member, item.score))?;
        return builder.finish();
    }
    if rules.duplicates == Duplicates::Sought
        && repeats(packed_items(packed).map(|item| item.member.to_vec()))
    {
        return Err(DUPLICATE);
    }
    Ok((count > 0).then_some(SortedSetObject::Packed(blob)))
}

/// Whether members come by score and, where that is equal, by their bytes.
fn is_in_order(packed: Listpack<'_>) -> bool {
    packed_items(packed).is_sorted_by(|one, next| {
        one.score < next.score || one.score == next.score && one.member.to_vec() < next.member.to_vec()
    })
}

/// Builds a sorted set in the form the store keeps it: a listpack as long as the members are few and short,
/// else a table.
pub struct SortedSetBuilder {
    thresholds: Thresholds,
    /// While there is no table: in any order, and perhaps more than once each.
    few: Vec<(f64, Vec<u8>)>,
    /// Bytes that `few` would take as a listpack.
    packed_len: usize,
    table: Option<Box<ScoredTable>>,
}

impl SortedSetBuilder {
    pub fn new(thresholds: Thresholds) -> SortedSetBuilder {
        SortedSetBuilder { thresholds, few: Vec::new(), packed_len: 0, table: None }
    }

    /// Adds a member. Fails if the score is a NaN or the member has come before, at once or in the end.
    pub fn push(&mut self, member: Element<'_>, score: f64) -> Result<(), ErrorKind> {
        match member {
            Element::Bytes(bytes) => self.push_bytes(bytes, score),
            Element::Int(_) => self.push_bytes(&member.to_vec(), score),
        }
    }

    fn push_bytes(&mut self, member: &[u8], score: f64) -> Result<(), ErrorKind> {
        if score.is_nan() {
            return Err(BAD_SCORE);
        }
        if self.table.is_none() {
            self.packed_len += packed_bytes_needed(member, score);
            let packs = self.few.len() < self.thresholds.zset_entries
                && member.len() <= self.thresholds.zset_value
                && self.packed_len <= PACKED_SORTED_SET_LEN_MAX;
            if packs {
                self.few.push((score, member.to_vec()));
                return Ok(());
            }
            self.make_table()?;
        }
        let table = self.table.as_mut().expect("was there or was just made");
        if table.insert_new(member, score) { Ok(()) } else { Err(DUPLICATE) }
    }

    /// The set; None if it is empty.
    pub fn finish(mut self) -> Result<Option<SortedSetObject>, ErrorKind> {
        if let Some(table) = self.table {
            return Ok((!table.is_empty()).then_some(SortedSetObject::Table(table)));
        }
        self.sort_few()?;
        let mut packed = Listpack::new_empty();
        self.few.iter().for_each(|(score, member)| packed_push(&mut packed, member, *score));
        Ok((!self.few.is_empty()).then_some(SortedSetObject::Packed(packed)))
    }

    /// So many members will come.
    fn lay_out(&mut self, count: usize) {
        self.table.get_or_insert_default().lay_out(count);
    }

    fn make_table(&mut self) -> Result<(), ErrorKind> {
        self.sort_few()?;
        let mut table = Box::<ScoredTable>::default();
        for (score, member) in std::mem::take(&mut self.few) {
            table.insert_new(&member, score);
        }
        self.table = Some(table);
        Ok(())
    }

    fn sort_few(&mut self) -> Result<(), ErrorKind> {
        if repeats(self.few.iter().map(|(_, member)| member)) {
            return Err(DUPLICATE);
        }
        self.few.sort_unstable_by(|one, other| {
            let by_score = one.0.partial_cmp(&other.0).unwrap_or(Ordering::Equal);
            by_score.then_with(|| one.1.cmp(&other.1))
        });
        Ok(())
    }
}

fn repeats<T: Eq + Hash>(mut members: impl Iterator<Item = T>) -> bool {
    let mut seen = HashSet::new();
    members.any(|member| !seen.insert(member))
}

/// A packed sorted set is never longer, whatever the thresholds are set to: it is copied as a whole.
pub const PACKED_SORTED_SET_LEN_MAX: usize = 1 << 20;
const TEXT_NAN: u8 = 253;
const TEXT_INFINITY: u8 = 254;
const TEXT_NEGATIVE_INFINITY: u8 = 255;
const BAD_SCORE: ErrorKind = ErrorKind::Corrupt("a score of a sorted set is not a number");
const DUPLICATE: ErrorKind = ErrorKind::Corrupt("a member comes twice in a sorted set");
const ODD: ErrorKind = ErrorKind::Corrupt("a packed sorted set lacks a score");
