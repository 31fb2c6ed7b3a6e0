//! What the fuzz targets share: decisions taken from the input, a bound on what may be allocated, a value
//! as a model. Never part of a product.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use base::alloc::{Jemalloc, mallctl_read};
use ds::hash::HashRef;
use ds::list::ListRef;
use ds::listpack::Element;
use ds::set::SetRef;
use ds::sorted_set::SortedSetRef;
use ds::stream::{Stream, StreamId};
use rdb::{HashObject, ListObject, Object, SetObject, SortedSetObject};

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// The input as a source of decisions; zeros once it is used up.
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    pub fn new(input: &'a [u8]) -> Self {
        Choices(input)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number below `bound`, which is at most 65,536.
    pub fn below(&mut self, bound: usize) -> usize {
        (usize::from(self.byte()) << 8 | usize::from(self.byte())) % bound
    }

    pub fn is_true(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Up to `max` bytes of the input.
    pub fn bytes(&mut self, max: usize) -> &'a [u8] {
        let len = self.below(max + 1).min(self.0.len());
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken
    }

    /// All that is left.
    pub fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// Runs `work` and panics if it allocates, all in all, more than the input justifies: `fixed` bytes and
/// `per_byte` for each byte of the input.
pub fn bounded<R>(input_len: usize, fixed: u64, per_byte: u64, work: impl FnOnce() -> R) -> R {
    let before = allocated();
    let result = work();
    let used = allocated() - before;
    let allowed = fixed + per_byte * input_len as u64;
    assert!(used <= allowed, "{input_len} bytes of input made it allocate {used} bytes, not {allowed}");
    result
}

/// Bytes that this thread has ever allocated.
fn allocated() -> u64 {
    mallctl_read::<u64>(c"thread.allocated").expect("jemalloc counts what a thread allocates")
}

/// A value without its form: the text, the elements, or each field with value and expiry.
#[derive(PartialEq, Eq, Debug)]
pub enum Model {
    Text(Vec<u8>),
    List(Vec<Vec<u8>>),
    Hash(BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>),
    Set(BTreeSet<Vec<u8>>),
    /// Each member with its score as text, which tells -0 from 0.
    SortedSet(BTreeMap<Vec<u8>, String>),
    /// Each entry, and each pending entry of each group.
    Stream(Vec<String>),
}

/// Panics if the value is not sound: a field twice, a broken table.
pub fn model(object: &Object) -> Model {
    match object {
        Object::Bytes(bytes) => Model::Text(bytes.clone()),
        Object::Set(set) => Model::Set(members(set)),
        Object::List(list) => Model::List(elements(list)),
        Object::SortedSet(set) => Model::SortedSet(scores(set)),
        Object::Stream(stream) => Model::Stream(lines(stream)),
        Object::Int(number) => Model::Text(number.to_string().into_bytes()),
        Object::Hash(hash) => Model::Hash(fields(hash)),
    }
}

fn members(set: &SetObject) -> BTreeSet<Vec<u8>> {
    if let SetRef::Table(table) = set.view() {
        table.check_invariants();
    }
    let members: BTreeSet<_> = set.view().iter().map(Element::to_vec).collect();
    assert_eq!(members.len(), set.view().len(), "no member comes twice");
    members
}

fn scores(set: &SortedSetObject) -> BTreeMap<Vec<u8>, String> {
    if let SortedSetRef::Table(table) = set.view() {
        table.check_invariants();
    }
    let scores: BTreeMap<_, _> =
        set.view().iter().map(|item| (item.member.to_vec(), format!("{:?}", item.score))).collect();
    assert_eq!(scores.len(), set.view().len(), "no member comes twice");
    assert!(!scores.values().any(|score| score == "NaN"));
    scores
}

fn elements(list: &ListObject) -> Vec<Vec<u8>> {
    if let ListRef::Nodes(nodes) = list.view() {
        nodes.check_invariants();
    }
    let mut elements = Vec::new();
    list.view().for_each(|element| elements.push(element.to_vec()));
    elements
}

fn lines(stream: &Stream) -> Vec<String> {
    stream.check_invariants();
    let mut lines = Vec::new();
    for entry in stream.entries().range(StreamId::MIN, StreamId::MAX) {
        let pairs = entry.pairs().map(|(field, value)| (field.to_vec(), value.to_vec()));
        lines.push(format!("{:?} {:?}", entry.id, pairs.collect::<Vec<_>>()));
    }
    for (name, group) in stream.groups() {
        lines.push(format!("{name:?} {:?} {:?}", group.last_id, group.entries_read));
        lines.extend(group.consumers().map(|(_, consumer)| format!("{:?}", consumer.name())));
        // A consumer's number is its own in memory only: it is told by name.
        lines.extend(group.pending_from(StreamId::MIN).map(|(id, pending)| {
            let owner = pending.consumer.map(|consumer| group.consumer(consumer).name());
            format!("{id:?} {owner:?} {} {}", pending.delivered_at, pending.deliveries)
        }));
    }
    lines
}

fn fields(hash: &HashObject) -> BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)> {
    if let HashRef::Table(table) = hash.view() {
        table.check_invariants();
    }
    let mut fields = BTreeMap::new();
    hash.view().for_each(i64::MIN, |pair| {
        let before = fields.insert(pair.field.to_vec(), (pair.value.to_vec(), pair.expires_at));
        assert_eq!(before, None, "no field comes twice");
    });
    assert_eq!(fields.len(), hash.view().len());
    fields
}
