//! A stream's entries and the numbers kept of them: the nodes in order of their first ids.
//!
//! It knows no consumer groups: whoever deletes is asked, or has decided, whether an entry may go.

use std::ops::ControlFlow;

use base::alloc::size_class;
use base::defrag::Mover;

use crate::listpack::Corrupt;
use crate::moving::MovePosition;
use crate::saving::{Piece, Saving};
use crate::stream::id::StreamId;
use crate::stream::node::{Content, Entry, Node, Record, Records, Tombstone};
use crate::stream::saving::{Progress, StreamSavings};
use crate::stream::sorted::{self, SortedMap};

/// When a node is full: the next entry would bring it to so many bytes, or it has so many entries. 0: no
/// limit of that kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeLimits {
    pub bytes: usize,
    pub entries: u64,
}

impl Default for NodeLimits {
    /// Redis' defaults.
    fn default() -> Self {
        NodeLimits { bytes: 4096, entries: 100 }
    }
}

/// Why an entry was not added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppendError {
    /// The id is not above the last one.
    NotAbove,
    TooLarge,
}

/// How far to trim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TrimTo {
    /// So many entries stay.
    Len(u64),
    /// Entries with ids below go.
    Id(StreamId),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trim {
    pub to: TrimTo,
    /// Only whole nodes go.
    pub approximate: bool,
    /// Entries that are looked at, at most; 0: any number.
    pub limit: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Trimmed {
    pub removed: u64,
    /// Where an approximate trim stopped short: the first id it did not look at. `None` if an exact one would
    /// have done the same.
    pub stopped_at: Option<StreamId>,
}

/// Whether a trim takes an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Remove,
    Keep,
    /// Neither this one nor any behind it.
    Stop,
}

/// Says what becomes of an entry before a trim removes it.
pub(super) trait Judge: FnMut(StreamId, &mut StreamSavings) -> Verdict {}

impl<F: FnMut(StreamId, &mut StreamSavings) -> Verdict> Judge for F {}

#[derive(Default)]
pub struct Entries {
    /// By the id of the first entry each ever had. None is without a live entry.
    nodes: SortedMap<StreamId, Node>,
    len: u64,
    first_id: StreamId,
    pub(super) last_id: StreamId,
    pub(super) max_deleted_id: StreamId,
    pub(super) added: u64,
    /// Bytes the nodes have allocated, and those they take in plain RDB form.
    node_bytes: usize,
    rdb_bytes: u64,
}

impl Entries {
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// 0-0 if there is none.
    pub fn first_id(&self) -> StreamId {
        self.first_id
    }

    /// The greatest id that was ever given, or set since.
    pub fn last_id(&self) -> StreamId {
        self.last_id
    }

    /// The greatest id that was deleted one by one; 0-0 if none was.
    pub fn max_deleted_id(&self) -> StreamId {
        self.max_deleted_id
    }

    /// How many entries were ever added.
    pub fn added(&self) -> u64 {
        self.added
    }

    /// The id that `*` stands for; `None` if there is none left.
    pub fn next_id(&self, now_ms: u64) -> Option<StreamId> {
        if now_ms > self.last_id.ms { Some(StreamId::new(now_ms, 0)) } else { self.last_id.next() }
    }

    /// Entries with ids from `from` to `to`, both included, from both ends.
    pub fn range(&self, from: StreamId, to: StreamId) -> Range<'_> {
        Range { records: self.nodes.covering(&from, &to).flat_map(records_of as RecordsOf<'_>), from, to }
    }

    pub fn get(&self, id: StreamId) -> Option<Entry<'_>> {
        Some(self.find(id)?.1.entry)
    }

    pub fn contains(&self, id: StreamId) -> bool {
        self.find(id).is_some()
    }

    /// The id of the last entry.
    pub fn last_entry_id(&self) -> Option<StreamId> {
        Some(self.range(StreamId::MIN, StreamId::MAX).next_back()?.id)
    }

    /// Nodes with their master ids, as RDB files hold them.
    pub fn nodes(&self) -> impl Iterator<Item = (StreamId, &[u8])> {
        self.nodes.iter().map(|(master, node)| (master, node.bytes()))
    }

    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// How many reads a group has behind it that has read up to `id`: known at the edges only, and where no
    /// entry was deleted since.
    pub fn reads_up_to(&self, id: StreamId) -> Option<u64> {
        if self.added == 0 {
            return Some(0);
        }
        if self.len == 0 && id <= self.last_id {
            return Some(self.added);
        }
        if id != StreamId::MIN && id < self.max_deleted_id {
            return None;
        }
        let whole = self.max_deleted_id == StreamId::MIN || self.max_deleted_id < self.first_id;
        match id.cmp(&self.first_id) {
            _ if id == self.last_id => Some(self.added),
            _ if id > self.last_id || !whole => None,
            std::cmp::Ordering::Less => Some(self.added.wrapping_sub(self.len)),
            std::cmp::Ordering::Equal => Some(self.added.wrapping_sub(self.len).wrapping_add(1)),
            std::cmp::Ordering::Greater => None,
        }
    }

    /// Whether entries may be missing from `from` on, so that counting reads from there would be wrong.
    pub fn has_gaps_from(&self, from: StreamId) -> bool {
        self.len > 0 && self.max_deleted_id != StreamId::MIN && self.max_deleted_id >= from
    }

    /// Adds an entry of fields and values.
    pub(super) fn append<'c>(
        &mut self,
        id: StreamId,
        content: impl Content<'c>,
        limits: NodeLimits,
        savings: &mut StreamSavings,
    ) -> Result<(), AppendError> {
        if id <= self.last_id {
            return Err(AppendError::NotAbove);
        }
        let size = |(count, len): (usize, usize), part: &[u8]| (count + 1, len + part.len());
        let (parts, len) = content.clone().fold((0, 0), size);
        assert!(parts > 0 && parts % 2 == 0, "each field has a value");
        if len > NODE_LEN_MAX {
            return Err(AppendError::TooLarge);
        }
        if savings.any()
            && let Some((master, _)) = self.nodes.last()
        {
            self.keep(master, savings);
        }
        if self.nodes.last().is_none_or(|(_, node)| is_full(node, len, limits)) {
            self.open_node(id, content.clone(), parts / 2, savings.mark());
        }
        self.edit_last(|master, node| node.append(master, id, content, (parts / 2, len)));
        self.len += 1;
        self.added = self.added.wrapping_add(1);
        self.last_id = id;
        if self.len == 1 {
            self.first_id = id;
        }
        Ok(())
    }

    /// Deletes entries and returns how many were there. Those of one node go together if they are named in
    /// their order.
    pub(super) fn delete(&mut self, ids: &[StreamId], savings: &mut StreamSavings) -> u64 {
        let (before, mut rest) = (self.len, ids);
        while !rest.is_empty() {
            let (run, behind) = rest.split_at(self.run_len(rest));
            self.delete_run(run, savings);
            rest = behind;
        }
        before - self.len
    }

    /// How many of these ids ascend and can only be in one node, from the first on.
    fn run_len(&self, ids: &[StreamId]) -> usize {
        let next_node = ids[0].next().and_then(|behind| self.nodes.from(&behind).next());
        let end = next_node.map_or(StreamId::MAX, |(master, _)| master);
        let goes_on = |pair: &&[StreamId]| pair[0] < pair[1] && pair[1] < end;
        1 + ids.windows(2).take_while(goes_on).count()
    }

    fn delete_run(&mut self, ids: &[StreamId], savings: &mut StreamSavings) {
        let found: Vec<_> = ids.iter().filter_map(|id| self.find(*id)).collect();
        let (Some((master, first)), Some((_, last))) = (found.first(), found.last()) else { return };
        let (master, first, last) = (*master, first.entry.id, last.entry.id);
        let tombstones: Vec<_> = found.iter().map(|(_, record)| record.tombstone()).collect();
        self.delete_records(master, &tombstones, savings);
        self.max_deleted_id = self.max_deleted_id.max(last);
        if first == self.first_id || self.len == 0 {
            self.find_first();
        }
    }

    /// Removes entries from the front as far as `trim` says; `judge` is asked of each, if there is one.
    pub(super) fn trim(
        &mut self,
        trim: Trim,
        savings: &mut StreamSavings,
        mut judge: Option<impl Judge>,
    ) -> Trimmed {
        let (before, mut looked_at, mut from) = (self.len, 0, StreamId::MIN);
        let stopped_at = loop {
            let Some((master, node)) = self.nodes.from(&from).next() else { break None };
            let live = node.live();
            let whole = match trim.to {
                TrimTo::Len(max) => self.len - live >= max,
                TrimTo::Id(min) => node.records(master).next_back().is_none_or(|last| last.entry.id < min),
            };
            if matches!(trim.to, TrimTo::Len(max) if self.len <= max)
                || (trim.limit > 0 && looked_at + live > trim.limit)
                || (trim.approximate && !whole)
            {
                break Some(master);
            }
            looked_at += live;
            if whole && judge.is_none() {
                self.remove_node(master, live, savings);
                continue;
            }
            if self.trim_node(master, trim.to, savings, &mut judge) == Verdict::Stop {
                break None;
            }
            let Some(behind) = master.next() else { break None };
            from = behind;
        };
        if self.len < before {
            self.find_first();
        }
        Trimmed { removed: before - self.len, stopped_at }
    }

    /// Takes over a node from a file. Nodes come in ascending order of ids.
    pub(super) fn load_node(&mut self, master: StreamId, bytes: Vec<u8>) -> Result<(), Corrupt> {
        let checked = Node::check(bytes, master)?;
        if self.len > 0 && master <= self.last_id {
            return Err(Corrupt);
        }
        if checked.live > 0 {
            self.node_bytes += size_class(checked.node.capacity());
            self.rdb_bytes += rdb_len(&checked.node);
            self.nodes.insert(master, checked.node);
            self.len += checked.live;
        }
        self.last_id = checked.last_id;
        Ok(())
    }

    /// What a file says of the entries beyond their nodes; a last id below the last entry's is raised to it.
    pub(super) fn load_ids(&mut self, last_id: StreamId, max_deleted_id: StreamId, added: u64) {
        self.last_id = self.last_id.max(last_id);
        self.max_deleted_id = max_deleted_id;
        self.added = added;
        self.find_first();
    }

    /// Bytes the nodes and their index have allocated.
    pub(super) fn memory(&self) -> usize {
        self.nodes.memory() + self.node_bytes
    }

    pub(super) fn blocks(&self) -> usize {
        self.nodes.len() + self.nodes.blocks()
    }

    /// Moves blocks; see [`crate::moving::Movable`].
    pub(super) fn move_on(&mut self, position: &mut MovePosition, mover: &mut Mover) -> bool {
        self.nodes.move_on(&mut position.at, &mut position.index, mover, Node::move_bytes)
    }

    /// Bytes that the nodes with their ids take in plain RDB form.
    pub fn rdb_bytes(&self) -> u64 {
        self.rdb_bytes
    }

    pub(super) fn duplicate(&self) -> Entries {
        let mut copy = Entries { nodes: SortedMap::default(), node_bytes: 0, ..*self };
        for (master, node) in self.nodes.iter() {
            let node = node.duplicate();
            copy.node_bytes += size_class(node.capacity());
            copy.nodes.insert(master, node);
        }
        copy
    }

    /// Panics if a node or a count is wrong.
    pub(super) fn check_invariants(&self) {
        self.nodes.check_invariants();
        let (mut len, mut before) = (0, None);
        for (master, node) in self.nodes.iter() {
            let checked = Node::check(node.bytes().to_vec(), master).expect("a node is sound");
            assert!(checked.live > 0 && before.is_none_or(|before| before < master));
            len += checked.live;
            before = Some(checked.last_id);
        }
        assert_eq!(len, self.len);
        assert!(before.is_none_or(|last| last <= self.last_id));
        let first = self.range(StreamId::MIN, StreamId::MAX).next();
        assert_eq!(first.map_or(StreamId::MIN, |entry| entry.id), self.first_id);
        let bytes: usize = self.nodes.iter().map(|(_, node)| size_class(node.capacity())).sum();
        assert_eq!(bytes, self.node_bytes);
        assert_eq!(self.nodes.iter().map(|(_, node)| rdb_len(node)).sum::<u64>(), self.rdb_bytes);
    }

    /// Saves some nodes; false if none is left.
    pub(super) fn save_on(&self, saving: &mut Saving<Progress>) -> bool {
        for _ in 0..NODES_AT_ONCE {
            let Progress { next_node: Some(from), last_node, .. } = &saving.progress else { return false };
            let next = self.nodes.from(from).next().filter(|(master, _)| master <= last_node);
            let full = next.is_some_and(|(master, node)| save(saving, master, node).is_break());
            saving.progress.next_node = next.and_then(|(master, _)| master.next());
            if full {
                break;
            }
        }
        true
    }

    /// An entry is about to be removed, and may be there.
    pub(super) fn keep_around(&mut self, id: StreamId, savings: &mut StreamSavings) {
        if let Some((master, _)) = self.nodes.floor(&id) {
            self.keep(master, savings);
        }
    }

    /// A node is about to be changed or removed.
    #[inline]
    fn keep(&mut self, master: StreamId, savings: &mut StreamSavings) {
        if savings.any() {
            self.save_for_all(master, savings);
        }
    }

    #[cold]
    fn save_for_all(&mut self, master: StreamId, savings: &mut StreamSavings) {
        let Some(node) = self.nodes.get_mut(&master) else { return };
        for saving in savings.iter_mut() {
            // A writer saves what it has to, however much that is.
            let _ = save(saving, master, node);
        }
        node.saved_for = savings.mark();
    }

    /// A live entry and its node's master id.
    fn find(&self, id: StreamId) -> Option<(StreamId, Record<'_>)> {
        let (master, node) = self.nodes.floor(&id)?;
        let record = node.find(master, id)?;
        (!record.deleted).then_some((master, record))
    }

    fn find_first(&mut self) {
        let first = self.range(StreamId::MIN, StreamId::MAX).next();
        self.first_id = first.map_or(StreamId::MIN, |entry| entry.id);
    }

    fn open_node<'c>(&mut self, master: StreamId, content: impl Content<'c>, count: usize, mark: u32) {
        if !self.nodes.is_empty() {
            self.edit_last(|_, node| node.close());
        }
        let mut node = Node::new(content, count);
        node.saved_for = mark;
        self.node_bytes += size_class(node.capacity());
        self.rdb_bytes += rdb_len(&node);
        self.nodes.insert(master, node);
    }

    fn edit_last(&mut self, work: impl FnOnce(StreamId, &mut Node)) {
        let (master, node) = self.nodes.last_mut().expect("a node was opened");
        let (capacity, rdb) = (node.capacity(), rdb_len(node));
        work(master, node);
        if node.capacity() != capacity {
            self.node_bytes = self.node_bytes + size_class(node.capacity()) - size_class(capacity);
        }
        self.rdb_bytes = self.rdb_bytes + rdb_len(node) - rdb;
    }

    /// Deletes live records of a node, and the node with its last one.
    fn delete_records(&mut self, master: StreamId, tombstones: &[Tombstone], savings: &mut StreamSavings) {
        let count = tombstones.len() as u64;
        if self.nodes.get(&master).is_some_and(|node| node.live() == count) {
            return self.remove_node(master, count, savings);
        }
        self.keep(master, savings);
        let node = self.nodes.get_mut(&master).expect("the records are in a node");
        let (capacity, rdb) = (node.capacity(), rdb_len(node));
        node.delete(tombstones);
        if node.capacity() != capacity {
            self.node_bytes = self.node_bytes + size_class(node.capacity()) - size_class(capacity);
        }
        self.rdb_bytes = self.rdb_bytes + rdb_len(node) - rdb;
        self.len -= count;
    }

    fn remove_node(&mut self, master: StreamId, live: u64, savings: &mut StreamSavings) {
        let is_handed_over = savings.lack_room();
        if !is_handed_over {
            self.keep(master, savings);
        }
        let node = self.nodes.remove(&master).expect("the node is there");
        self.node_bytes -= size_class(node.capacity());
        self.rdb_bytes -= rdb_len(&node);
        self.len -= live;
        if is_handed_over {
            savings.take_node(master, node);
        }
    }

    /// Trims within a node; `Stop` if nothing behind it is to be trimmed.
    fn trim_node(
        &mut self,
        master: StreamId,
        to: TrimTo,
        savings: &mut StreamSavings,
        judge: &mut Option<impl Judge>,
    ) -> Verdict {
        let node = self.nodes.get(&master).expect("the caller found the node");
        let (mut tombstones, mut result) = (Vec::new(), Verdict::Keep);
        for record in node.records(master).filter(|record| !record.deleted) {
            let id = record.entry.id;
            let reached = match to {
                TrimTo::Len(max) => self.len - tombstones.len() as u64 <= max,
                TrimTo::Id(min) => id >= min,
            };
            let verdict = if reached {
                Verdict::Stop
            } else {
                judge.as_mut().map_or(Verdict::Remove, |judge| judge(id, savings))
            };
            match verdict {
                Verdict::Remove => tombstones.push(record.tombstone()),
                Verdict::Keep => {}
                Verdict::Stop => {
                    result = Verdict::Stop;
                    break;
                }
            }
        }
        if !tombstones.is_empty() {
            self.delete_records(master, &tombstones, savings);
        }
        result
    }
}

/// Saves a node that the walk has not passed, unless that is done.
fn save(saving: &mut Saving<Progress>, master: StreamId, node: &Node) -> ControlFlow<()> {
    if !saving.progress.needs(master, node) {
        return ControlFlow::Continue(());
    }
    saving.saver.save(Piece::StreamNode { master, node: node.bytes() })
}

type RecordsOf<'a> = fn((StreamId, &'a Node)) -> Records<'a>;

fn records_of<'a>((master, node): (StreamId, &'a Node)) -> Records<'a> {
    node.records(master)
}

/// Entries in order, from both ends; deleted ones are left out.
#[derive(Clone)]
pub struct Range<'a> {
    records: std::iter::FlatMap<sorted::Iter<'a, StreamId, Node>, Records<'a>, RecordsOf<'a>>,
    from: StreamId,
    to: StreamId,
}

impl<'a> Iterator for Range<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            let record = self.records.next()?;
            if record.entry.id > self.to {
                return None;
            }
            if !record.deleted && record.entry.id >= self.from {
                return Some(record.entry);
            }
        }
    }
}

impl<'a> DoubleEndedIterator for Range<'a> {
    fn next_back(&mut self) -> Option<Entry<'a>> {
        loop {
            let record = self.records.next_back()?;
            if record.entry.id < self.from {
                return None;
            }
            if !record.deleted && record.entry.id <= self.to {
                return Some(record.entry);
            }
        }
    }
}

fn is_full(node: &Node, added: usize, limits: NodeLimits) -> bool {
    let bytes = if limits.bytes == 0 { NODE_LEN_MAX } else { limits.bytes.min(NODE_LEN_MAX) };
    node.bytes().len() + added >= bytes || (limits.entries > 0 && node.entry_count() >= limits.entries)
}

/// Bytes of a node with its id in plain RDB form: two strings behind their lengths.
fn rdb_len(node: &Node) -> u64 {
    17 + super::rdb_len(node.bytes().len())
}

/// Nodes looked at in one go while the stream is saved: 64 KB, by default.
const NODES_AT_ONCE: usize = 16;
/// No node becomes longer, nor an entry (Redis' STREAM_LISTPACK_MAX_SIZE).
const NODE_LEN_MAX: usize = 1 << 30;
