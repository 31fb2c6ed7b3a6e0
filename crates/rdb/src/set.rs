//! Sets as bytes and back, in all the forms Redis and Valkey have had, and the form in which a set that comes
//! member by member is kept. It does not know what the members are for.

use crate::error::ErrorKind;
use crate::format;
use crate::length::{self, Text, WriteOptions};
use crate::source::Input;
use crate::values::{Duplicates, Rules, Thresholds};
use base::hash::hash;
use ds::intset::{self, Intset};
use ds::listpack::{Element, Listpack};
use ds::set::{MemberTable, SetRef, canonical, packed_push};
use std::collections::HashSet;

/// A set in the form the store keeps.
pub enum SetObject {
    Ints(Vec<u8>),
    Packed(Vec<u8>),
    Table(Box<MemberTable>),
}

impl SetObject {
    /// The value as the writer sees it.
    pub fn view(&self) -> SetRef<'_> {
        match self {
            SetObject::Ints(ints) => SetRef::Ints(Intset::trusted(ints)),
            SetObject::Packed(packed) => SetRef::Packed(Listpack::trusted(packed)),
            SetObject::Table(table) => SetRef::Table(table),
        }
    }
}

pub(crate) fn type_code(set: SetRef<'_>) -> u8 {
    match set {
        SetRef::Ints(_) => format::TYPE_SET_INTSET,
        SetRef::Packed(_) | SetRef::Table(_) => format::TYPE_SET,
    }
}

/// A packed set is written member by member: listpacks of sets are younger than version 10.
pub(crate) fn version_needed(_: SetRef<'_>) -> u32 {
    format::VERSION_PLAIN
}

pub(crate) fn write(out: &mut Vec<u8>, set: SetRef<'_>, options: &WriteOptions) {
    if let SetRef::Ints(ints) = set {
        return length::write_string(out, ints.bytes(), options);
    }
    length::write_len(out, set.len() as u64);
    set.iter().for_each(|member| match member {
        Element::Int(number) => length::write_int(out, number),
        Element::Bytes(bytes) => length::write_string(out, bytes, options),
    });
}

/// Reads a value of type `code`; None if it is empty.
pub(crate) fn read<I: Input>(
    source: &mut I,
    code: u8,
    rules: &Rules,
) -> Result<Option<SetObject>, ErrorKind> {
    match code {
        format::TYPE_SET => read_plain(source, rules),
        format::TYPE_SET_INTSET => read_intset(source, rules),
        format::TYPE_SET_LISTPACK => read_listpack(source, rules),
        _ => Err(ErrorKind::Corrupt("the type code is not one of a set")),
    }
}

fn read_plain<I: Input>(source: &mut I, rules: &Rules) -> Result<Option<SetObject>, ErrorKind> {
    let count = length::read_len(source)?;
    let mut builder = SetBuilder::new(rules.thresholds);
    if count > rules.thresholds.set_ints.max(rules.thresholds.set_entries) as u64 {
        builder.form = Form::of_many(source.items_ahead(count));
    }
    let mut member = Vec::new();
    for _ in 0..count {
        match length::read_text(source, &mut member)? {
            Text::Int(number) => builder.push(Element::Int(number))?,
            Text::Bytes => builder.push(Element::Bytes(&member))?,
        }
    }
    builder.finish()
}

/// Kept as it is, if there are not too many.
fn read_intset<I: Input>(source: &mut I, rules: &Rules) -> Result<Option<SetObject>, ErrorKind> {
    let blob = length::read_string(source)?;
    let ints =
        Intset::validate(&blob, true).map_err(|_| ErrorKind::Corrupt("a set of integers is damaged"))?;
    if ints.is_empty() {
        return Ok(None);
    }
    if ints.len() > int_count_max(&rules.thresholds) {
        return table_of(SetRef::Ints(ints)).map(Some);
    }
    Ok(Some(SetObject::Ints(blob)))
}

/// Kept as it is, if there are not too many.
fn read_listpack<I: Input>(source: &mut I, rules: &Rules) -> Result<Option<SetObject>, ErrorKind> {
    let blob = length::read_string(source)?;
    // Always down to the elements: code above trusts a listpack that was let in.
    let packed = Listpack::validate(&blob, true).map_err(|_| ErrorKind::Corrupt("a listpack is damaged"))?;
    if packed.is_empty() {
        return Ok(None);
    }
    if packed.len() > rules.thresholds.set_entries || blob.len() > PACKED_SET_LEN_MAX {
        return table_of(SetRef::Packed(packed)).map(Some);
    }
    if rules.duplicates == Duplicates::Sought && repeats(packed) {
        return Err(DUPLICATE);
    }
    Ok(Some(SetObject::Packed(blob)))
}

fn table_of(set: SetRef<'_>) -> Result<SetObject, ErrorKind> {
    let table = MemberTable::collect(set.iter());
    if table.len() == set.len() { Ok(SetObject::Table(Box::new(table))) } else { Err(DUPLICATE) }
}

fn repeats(packed: Listpack<'_>) -> bool {
    let mut hashes: Vec<u64> = packed.iter().map(member_hash).collect();
    hashes.sort_unstable();
    // Equal hashes of different members are as good as unheard of.
    hashes.windows(2).any(|pair| pair[0] == pair[1]) && {
        let mut seen = HashSet::new();
        packed.iter().any(|member| !seen.insert(canonical(member)))
    }
}

fn member_hash(member: Element<'_>) -> u64 {
    match canonical(member) {
        Element::Int(number) => hash(&number.to_le_bytes()),
        Element::Bytes(bytes) => hash(bytes),
    }
}

/// Builds a set in the form the store keeps it: integers as long as there is nothing else and they are few, a
/// listpack as long as the members are few and short, then a table.
pub struct SetBuilder {
    thresholds: Thresholds,
    form: Form,
}

enum Form {
    /// In any order, and perhaps more than once each.
    Ints(Vec<i64>),
    /// Perhaps more than once each, and how many.
    Packed(Vec<u8>, usize),
    Table(Box<MemberTable>),
}

impl Form {
    /// For so many members that are to come.
    fn of_many(count: usize) -> Form {
        let mut table = Box::<MemberTable>::default();
        table.lay_out(count);
        Form::Table(table)
    }
}

impl SetBuilder {
    pub fn new(thresholds: Thresholds) -> SetBuilder {
        SetBuilder { thresholds, form: Form::Ints(Vec::new()) }
    }

    /// Adds a member. Fails if it has come before, at once or in the end.
    pub fn push(&mut self, member: Element<'_>) -> Result<(), ErrorKind> {
        let member = canonical(member);
        if !self.admits(member) {
            self.convert_for(member)?;
        }
        match (&mut self.form, member) {
            (Form::Ints(numbers), Element::Int(number)) => numbers.push(number),
            (Form::Ints(_), Element::Bytes(_)) => unreachable!("integers were converted for it"),
            (Form::Packed(packed, count), _) => {
                packed_push(packed, member);
                *count += 1;
            }
            (Form::Table(table), _) => {
                if !table.insert_element(member) {
                    return Err(DUPLICATE);
                }
            }
        }
        Ok(())
    }

    /// The set; None if it is empty.
    pub fn finish(self) -> Result<Option<SetObject>, ErrorKind> {
        let object = match self.form {
            Form::Ints(numbers) if numbers.is_empty() => return Ok(None),
            Form::Ints(numbers) => SetObject::Ints(intset::from_sorted(&sorted(numbers)?)),
            Form::Packed(packed, _) if repeats(Listpack::trusted(&packed)) => return Err(DUPLICATE),
            Form::Packed(packed, _) => SetObject::Packed(packed),
            Form::Table(table) if table.is_empty() => return Ok(None),
            Form::Table(table) => SetObject::Table(table),
        };
        Ok(Some(object))
    }

    /// Whether the form it has now takes this member.
    fn admits(&self, member: Element<'_>) -> bool {
        match &self.form {
            Form::Ints(numbers) => {
                matches!(member, Element::Int(_)) && numbers.len() < int_count_max(&self.thresholds)
            }
            Form::Packed(packed, count) => self.packs(member, packed.len(), *count),
            Form::Table(_) => true,
        }
    }

    /// Whether a listpack of this size takes this member.
    fn packs(&self, member: Element<'_>, len: usize, count: usize) -> bool {
        count < self.thresholds.set_entries
            && member.len() <= self.thresholds.set_value
            && len + member.len() < PACKED_SET_LEN_MAX
    }

    /// Takes on the next larger form that takes this member.
    fn convert_for(&mut self, member: Element<'_>) -> Result<(), ErrorKind> {
        let packs = match (&self.form, member) {
            (Form::Ints(numbers), Element::Bytes(_)) => {
                let digits = numbers.iter().map(|&number| Element::Int(number).len()).max().unwrap_or(0);
                digits <= self.thresholds.set_value
                    && self.packs(member, numbers.len() * INT_LEN_MAX, numbers.len())
            }
            _ => false,
        };
        if !packs {
            return self.make_table();
        }
        if let Form::Ints(numbers) = &self.form {
            let mut packed = Listpack::new_empty();
            numbers.iter().for_each(|&number| packed_push(&mut packed, Element::Int(number)));
            self.form = Form::Packed(packed, numbers.len());
        }
        Ok(())
    }

    fn make_table(&mut self) -> Result<(), ErrorKind> {
        let (table, count) = match &self.form {
            Form::Ints(numbers) => {
                (MemberTable::collect(numbers.iter().map(|&number| Element::Int(number))), numbers.len())
            }
            Form::Packed(packed, count) => (MemberTable::collect(Listpack::trusted(packed).iter()), *count),
            Form::Table(_) => return Ok(()),
        };
        if table.len() != count {
            return Err(DUPLICATE);
        }
        self.form = Form::Table(Box::new(table));
        Ok(())
    }
}

fn sorted(mut numbers: Vec<i64>) -> Result<Vec<i64>, ErrorKind> {
    numbers.sort_unstable();
    if numbers.is_sorted_by(|one, next| one < next) { Ok(numbers) } else { Err(DUPLICATE) }
}

/// How many integers a packed set of nothing else may have.
pub fn int_count_max(thresholds: &Thresholds) -> usize {
    thresholds.set_ints.min(PACKED_SET_LEN_MAX / size_of::<i64>())
}

/// A packed set is never longer, whatever the thresholds are set to: it is copied as a whole.
pub const PACKED_SET_LEN_MAX: usize = 1 << 20;
/// Bytes that an integer takes in a listpack, at most.
const INT_LEN_MAX: usize = 10;
const DUPLICATE: ErrorKind = ErrorKind::Corrupt("a member comes twice in a set");
