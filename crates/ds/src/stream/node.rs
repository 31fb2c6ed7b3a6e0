//! A run of a stream's entries in one listpack, byte for byte as Redis keeps them.
//!
//! It reads, checks and edits one node under the master id that its owner keeps, and never decides when a
//! node is full. Format, in elements: a master entry (live entries, deleted ones, number of fields, the
//! fields, 0), then for each entry its flags, its milliseconds and sequence number less the master id's,
//! if it has other fields than the master entry their number, fields and values, else the values alone;
//! and how many elements that was, for the way back.

use base::defrag::Mover;

use crate::listpack::{self, Corrupt, Element, Listpack, Position};
use crate::stream::id::StreamId;

pub(super) struct Node {
    bytes: Vec<u8>,
    /// Of the stream's savings, those begun first, so many, have got it or did not find it.
    pub saved_for: u32,
}

/// What an entry is made of: field, value, field, value.
pub trait Content<'c>: Iterator<Item = &'c [u8]> + Clone {}

impl<'c, I: Iterator<Item = &'c [u8]> + Clone> Content<'c> for I {}

/// An entry of a stream.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    pub id: StreamId,
    pack: Listpack<'a>,
    /// Where the fields stand, if that is not between the values.
    fields: Option<Position>,
    values: Position,
    count: usize,
}

impl<'a> Entry<'a> {
    /// How many fields it has.
    pub fn len(self) -> usize {
        self.count
    }

    pub fn is_empty(self) -> bool {
        self.count == 0
    }

    /// Fields with their values, in the order of XADD.
    pub fn pairs(self) -> impl Iterator<Item = (Element<'a>, Element<'a>)> {
        let (pack, mut fields, mut values) = (self.pack, self.fields, self.values);
        (0..self.count).map(move |_| {
            let field = read(pack, fields.as_mut().unwrap_or(&mut values));
            (field, read(pack, &mut values))
        })
    }
}

/// An entry as it lies in its node, deleted or not.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    pub entry: Entry<'a>,
    pub deleted: bool,
    flags: i64,
    flags_at: Position,
}

/// What the check of a node from outside found.
pub(super) struct Checked {
    pub node: Node,
    pub live: u64,
    pub last_id: StreamId,
}

impl Node {
    /// A node without entries whose master entry has the fields of `content`.
    pub fn new<'c>(content: impl Content<'c>, count: usize) -> Node {
        let mut bytes = Vec::with_capacity(FIRST_LEN);
        bytes.extend_from_slice(&Listpack::new_empty());
        let mut node = Node { bytes, saved_for: 0 };
        node.reserve(content.clone().map(<[u8]>::len).sum(), count);
        listpack::append_with(&mut node.bytes, |out| {
            [0, 0, count as i64].into_iter().for_each(|head| out.int(head));
            content.step_by(2).for_each(|field| out.bytes(field));
            out.int(0);
        });
        node
    }

    /// Checks a listpack from outside in every detail that reading relies on: the counts, the form of each
    /// entry, ascending ids from the master's on.
    pub fn check(bytes: Vec<u8>, master: StreamId) -> Result<Checked, Corrupt> {
        let pack = Listpack::validate(&bytes, true)?;
        let mut reader = Reader { pack, at: pack.first().ok_or(Corrupt)? };
        let (live, deleted) = (reader.count()?, reader.count()?);
        let fields = reader.count()?;
        reader.skip(fields)?;
        if reader.int()? != 0 {
            return Err(Corrupt);
        }
        let (mut found, mut before) = ([0u64; 2], None);
        while reader.at < pack.end() {
            let (flags, id) = reader.record(fields, master)?;
            if before.is_none_or(|before| before >= id) && (before.is_some() || id < master) {
                return Err(Corrupt);
            }
            before = Some(id);
            found[usize::from(flags & DELETED != 0)] += 1;
        }
        if found != [live, deleted] {
            return Err(Corrupt);
        }
        Ok(Checked { node: Node { bytes, saved_for: 0 }, live, last_id: before.unwrap_or(master) })
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes it has room for.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    pub fn move_bytes(&mut self, mover: &mut Mover) {
        mover.vec(&mut self.bytes);
    }

    pub fn live(&self) -> u64 {
        self.head(0)
    }

    /// Entries, deleted ones included.
    pub fn entry_count(&self) -> u64 {
        match Listpack::trusted(&self.bytes).small_ints() {
            Some([live, deleted]) => u64::from(live) + u64::from(deleted),
            None => self.head(0) + self.head(1),
        }
    }

    /// Appends an entry of `count` fields, `len` bytes in all.
    pub fn append<'c>(
        &mut self,
        master: StreamId,
        id: StreamId,
        content: impl Content<'c>,
        (count, len): (usize, usize),
    ) {
        let same = self.has_fields(content.clone(), count);
        self.reserve(len, if same { count } else { 2 * count });
        self.set_head(0, self.live() as i64 + 1);
        listpack::append_with(&mut self.bytes, |out| {
            out.int(if same { SAME_FIELDS } else { 0 });
            out.int(id.ms.wrapping_sub(master.ms) as i64);
            out.int(id.seq.wrapping_sub(master.seq) as i64);
            if same {
                content.skip(1).step_by(2).for_each(|value| out.bytes(value));
                out.int(count as i64 + 3);
            } else {
                out.int(count as i64);
                content.for_each(|part| out.bytes(part));
                out.int(2 * count as i64 + 4);
            }
        });
    }

    /// Marks records as deleted, which they are not yet. They come in order.
    pub fn delete(&mut self, tombstones: &[Tombstone]) {
        let (live, deleted) = (self.live() as i64, self.head(1) as i64);
        // From the last one on: should a flag take another width now, no place still needed moves.
        for at in tombstones.iter().rev() {
            listpack::replace_int(&mut self.bytes, at.flags_at, at.flags | DELETED);
        }
        self.set_head(0, live - tombstones.len() as i64);
        self.set_head(1, deleted + tombstones.len() as i64);
    }

    /// Gives back the room that entries to come would have had.
    pub fn close(&mut self) {
        self.bytes.shrink_to_fit();
    }

    pub fn records(&self, master: StreamId) -> Records<'_> {
        let pack = Listpack::trusted(&self.bytes);
        let mut at = pack.first().expect("a node has a master entry");
        read(pack, &mut at);
        read(pack, &mut at);
        let field_count = int(read(pack, &mut at)) as usize;
        let fields_at = at;
        skip(pack, &mut at, field_count + 1);
        Records { pack, master, fields_at, field_count, front: at, back: pack.end() }
    }

    /// The record of this id, deleted or not.
    pub fn find(&self, master: StreamId, id: StreamId) -> Option<Record<'_>> {
        self.records(master).find(|record| record.entry.id >= id).filter(|record| record.entry.id == id)
    }

    pub fn duplicate(&self) -> Node {
        Node { bytes: self.bytes.clone(), saved_for: 0 }
    }

    /// One of the two counts the master entry begins with.
    fn head(&self, index: usize) -> u64 {
        let pack = Listpack::trusted(&self.bytes);
        match pack.small_ints::<2>() {
            Some(heads) => u64::from(heads[index]),
            None => int(pack.element(self.head_at(index))) as u64,
        }
    }

    fn set_head(&mut self, index: usize, value: i64) {
        if (0..128).contains(&value) && Listpack::trusted(&self.bytes).small_ints::<2>().is_some() {
            return listpack::replace_small_int(&mut self.bytes, index, value as u8);
        }
        let at = self.head_at(index);
        listpack::replace_int(&mut self.bytes, at, value);
    }

    fn head_at(&self, index: usize) -> Position {
        let pack = Listpack::trusted(&self.bytes);
        let mut at = pack.first().expect("a node has a master entry");
        skip(pack, &mut at, index);
        at
    }

    fn has_fields<'c>(&self, content: impl Content<'c>, count: usize) -> bool {
        let pack = Listpack::trusted(&self.bytes);
        let mut at = self.head_at(2);
        int(read(pack, &mut at)) as usize == count
            && content.step_by(2).all(|field| read(pack, &mut at).eq_bytes(field))
    }

    /// Makes room for an entry of so many bytes and elements, and for some more: twice what there is, but
    /// not beyond a usual node's size.
    fn reserve(&mut self, len: usize, elements: usize) {
        let needed = self.bytes.len() + len + len / 16 + 2 * elements + HEAD_LEN;
        if needed > self.bytes.capacity() {
            let roomy = (2 * self.bytes.capacity()).min(ROOMY_LEN).max(needed);
            self.bytes.reserve_exact(roomy - self.bytes.len());
        }
    }
}

/// Which record to delete.
#[derive(Clone, Copy)]
pub(super) struct Tombstone {
    flags: i64,
    flags_at: Position,
}

impl Record<'_> {
    pub fn tombstone(self) -> Tombstone {
        Tombstone { flags: self.flags, flags_at: self.flags_at }
    }
}

/// The records of a node, from both ends.
#[derive(Clone)]
pub(super) struct Records<'a> {
    pack: Listpack<'a>,
    master: StreamId,
    fields_at: Position,
    field_count: usize,
    front: Position,
    back: Position,
}

impl<'a> Records<'a> {
    /// The record that starts at `at`, and where the next one does.
    fn record(&self, flags_at: Position) -> (Record<'a>, Position) {
        let (pack, mut at) = (self.pack, flags_at);
        let flags = int(read(pack, &mut at));
        let id = moved(self.master, int(read(pack, &mut at)), int(read(pack, &mut at)));
        let same = flags & SAME_FIELDS != 0;
        let count = if same { self.field_count } else { int(read(pack, &mut at)) as usize };
        let entry = Entry { id, pack, fields: same.then_some(self.fields_at), values: at, count };
        skip(pack, &mut at, if same { count } else { 2 * count } + 1);
        (Record { entry, deleted: flags & DELETED != 0, flags, flags_at }, at)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        if self.front >= self.back {
            return None;
        }
        let (record, end) = self.record(self.front);
        self.front = end;
        Some(record)
    }
}

impl<'a> DoubleEndedIterator for Records<'a> {
    fn next_back(&mut self) -> Option<Record<'a>> {
        if self.front >= self.back {
            return None;
        }
        let mut at = self.pack.previous(self.back)?;
        for _ in 0..int(self.pack.element(at)) {
            at = self.pack.previous(at)?;
        }
        self.back = at;
        Some(self.record(at).0)
    }
}

/// Reads a listpack whose elements are sound, but perhaps not those of a node.
struct Reader<'a> {
    pack: Listpack<'a>,
    at: Position,
}

impl Reader<'_> {
    fn int(&mut self) -> Result<i64, Corrupt> {
        match self.pack.read(self.at) {
            Some((Element::Int(value), next)) => {
                self.at = next;
                Ok(value)
            }
            _ => Err(Corrupt),
        }
    }

    fn count(&mut self) -> Result<u64, Corrupt> {
        u64::try_from(self.int()?).map_err(|_| Corrupt)
    }

    /// Ends with the listpack, however much it is told to skip.
    fn skip(&mut self, count: u64) -> Result<(), Corrupt> {
        for _ in 0..count {
            (_, self.at) = self.pack.read(self.at).ok_or(Corrupt)?;
        }
        Ok(())
    }

    /// Flags and id of the record that begins here.
    fn record(&mut self, master_fields: u64, master: StreamId) -> Result<(i64, StreamId), Corrupt> {
        let flags = self.int()?;
        let id = moved(master, self.int()?, self.int()?);
        let (elements, expected) = if flags & SAME_FIELDS != 0 {
            (master_fields, master_fields.checked_add(3))
        } else {
            let pairs = self.count()?.checked_mul(2).ok_or(Corrupt)?;
            (pairs, pairs.checked_add(4))
        };
        self.skip(elements)?;
        let told = self.count()?;
        if Some(told) == expected { Ok((flags, id)) } else { Err(Corrupt) }
    }
}

fn moved(master: StreamId, ms: i64, seq: i64) -> StreamId {
    StreamId::new(master.ms.wrapping_add(ms as u64), master.seq.wrapping_add(seq as u64))
}

fn read<'a>(pack: Listpack<'a>, at: &mut Position) -> Element<'a> {
    let (element, next) = pack.read(*at).expect("a node was checked or made here");
    *at = next;
    element
}

fn skip(pack: Listpack<'_>, at: &mut Position, count: usize) {
    (0..count).for_each(|_| {
        read(pack, at);
    });
}

fn int(element: Element<'_>) -> i64 {
    match element {
        Element::Int(value) => value,
        Element::Bytes(_) => unreachable!("a node's counts, flags and ids are integers"),
    }
}

const DELETED: i64 = 1;
const SAME_FIELDS: i64 = 2;
/// At most what an entry's flags, id and counts take. A string of less than 64 bytes takes 2 more than its
/// length, a longer one at most a 16th.
const HEAD_LEN: usize = 40;
/// A node grows in steps of twice its size up to this, which is where the default limit ends it.
const ROOMY_LEN: usize = 4096 + 256;
/// Room of a new node.
const FIRST_LEN: usize = 64;
