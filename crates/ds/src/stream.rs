//! The stream: entries in order of their ids, and the groups that read them.
//!
//! It gives no ids, knows no time of its own and no clients: who reads what when is told to it. Its nodes are
//! Redis' own bytes, so that files are copied as they are.

mod entries;
mod group;
mod group_mut;
mod id;
mod node;
mod producers;
mod saving;
mod sorted;

use std::collections::BTreeMap;
use std::ops::Bound;

use base::alloc::{counted, size_class};
use base::defrag::Mover;

use self::entries::Verdict;
pub use self::entries::{AppendError, Entries, NodeLimits, Range, Trim, TrimTo, Trimmed};
pub use self::group::{Consumer, ConsumerId, Group, Pending};
pub use self::group_mut::GroupMut;
pub use self::id::{IdText, StreamId};
pub use self::node::{Content, Entry};
pub use self::producers::{IdempotenceLimits, Producers};
use self::saving::{StreamSavings, save_groups};
use crate::listpack::Corrupt;
use crate::moving::{Movable, MovePosition};
use crate::saving::{Ended, Savable, Saver};

/// What becomes of the groups' pending entries when entries of the stream are removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum References {
    /// They stay, and point nowhere.
    #[default]
    Keep,
    /// They go too.
    Drop,
    /// Only entries are removed that every group has read and acknowledged.
    Acked,
}

/// What removing one entry did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Removal {
    Absent,
    Removed,
    /// A group has not read or not acknowledged it.
    Referenced,
}

/// What a file has to say of groups.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// What Redis 7.0 knows.
    Plain,
    /// Also when consumers last got something.
    Active,
    /// And which entries were given back.
    Returned,
}

#[derive(Default)]
pub struct Stream {
    entries: Entries,
    groups: Groups,
    /// Bytes of the tree that has them by name, beyond the names and themselves.
    tree_bytes: usize,
    /// How many groups were ever made.
    groups_made: u32,
    producers: Option<Box<Producers>>,
    savings: StreamSavings,
    /// Groups that were removed before they were saved for all.
    left: Vec<LeftGroup>,
}

impl Stream {
    pub fn entries(&self) -> &Entries {
        &self.entries
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len() as usize
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds an entry of fields and values.
    pub fn append<'c>(
        &mut self,
        id: StreamId,
        content: impl Content<'c>,
        limits: NodeLimits,
    ) -> Result<(), AppendError> {
        self.entries.append(id, content, limits, &mut self.savings)
    }

    pub fn remove(&mut self, id: StreamId, references: References) -> Removal {
        if references == References::Drop {
            self.forget(id);
        }
        if !self.entries.contains(id) {
            return Removal::Absent;
        }
        if references == References::Acked && judge(&self.groups, id) != Verdict::Remove {
            return Removal::Referenced;
        }
        self.entries.delete(&[id], &mut self.savings);
        Removal::Removed
    }

    /// Removes entries, whatever groups know of them, and returns how many were there.
    pub fn remove_each(&mut self, ids: &[StreamId]) -> u64 {
        self.entries.delete(ids, &mut self.savings)
    }

    /// Removes entries from the front.
    pub fn trim(&mut self, trim: Trim, references: References) -> Trimmed {
        let (entries, groups, savings) = (&mut self.entries, &mut self.groups, &mut self.savings);
        match references {
            _ if groups.is_empty() => entries.trim(trim, savings, NOBODY),
            References::Keep => entries.trim(trim, savings, NOBODY),
            References::Drop => {
                let forget = |id, savings: &mut StreamSavings| {
                    forget(groups, id, savings);
                    Verdict::Remove
                };
                entries.trim(trim, savings, Some(forget))
            }
            References::Acked => {
                entries.trim(trim, savings, Some(|id, _: &mut StreamSavings| judge(groups, id)))
            }
        }
    }

    /// The id from which on new entries get greater ones.
    pub fn set_last_id(&mut self, id: StreamId) {
        self.entries.last_id = id;
    }

    pub fn set_max_deleted_id(&mut self, id: StreamId) {
        self.entries.max_deleted_id = id;
    }

    pub fn set_added(&mut self, added: u64) {
        self.entries.added = added;
    }

    /// Groups in order of their names.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = (&[u8], &Group)> {
        self.groups.iter().map(|(name, group)| (&name[..], &**group))
    }

    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.get(name).map(|group| &**group)
    }

    /// A group for changes, and the entries it reads.
    pub fn group_mut(&mut self, name: &[u8]) -> Option<(GroupMut<'_>, &Entries)> {
        let group = self.groups.get_mut(name)?;
        Some((GroupMut::new(name, group, &mut self.savings), &self.entries))
    }

    /// A new group; `None` if there is one of this name.
    pub fn create_group(
        &mut self,
        name: &[u8],
        last_id: StreamId,
        entries_read: Option<u64>,
    ) -> Option<GroupMut<'_>> {
        if self.groups.contains_key(name) {
            return None;
        }
        self.groups_made = self.groups_made.wrapping_add(1);
        let born = self.savings.mark();
        let group = Box::new(Group::new(self.groups_made, born, last_id, entries_read));
        self.add_group(name.into(), group);
        self.group_mut(name).map(|(group, _)| group)
    }

    fn add_group(&mut self, name: Box<[u8]>, group: Box<Group>) {
        let old = counted(&mut self.tree_bytes, || self.groups.insert(name, group));
        assert!(old.is_none(), "there is no other of this name");
    }

    pub fn remove_group(&mut self, name: &[u8]) -> bool {
        let removed = counted(&mut self.tree_bytes, || self.groups.remove_entry(name));
        let Some((name, group)) = removed else { return false };
        if self.savings.open(&name, &group) {
            self.left.push((name, group));
        }
        true
    }

    /// What is known of entries added under ids of their producers', if anything ever was.
    pub fn producers(&self) -> Option<&Producers> {
        self.producers.as_deref()
    }

    /// As `producers`; made under `limits` if there is nothing yet.
    pub fn producers_mut(&mut self, limits: IdempotenceLimits) -> &mut Producers {
        self.producers.get_or_insert_with(|| Box::new(Producers::new(limits)))
    }

    pub fn set_producers(&mut self, producers: Producers) {
        self.producers = Some(Box::new(producers));
    }

    /// Takes over a node from a file; nodes come in order.
    pub fn load_node(&mut self, master: StreamId, bytes: Vec<u8>) -> Result<(), Corrupt> {
        self.entries.load_node(master, bytes)
    }

    /// What a file says of the entries beyond their nodes, all of which have been loaded. A last id below the
    /// last entry's is raised to it.
    pub fn load_ids(&mut self, last_id: StreamId, max_deleted_id: StreamId, added: u64) {
        self.entries.load_ids(last_id, max_deleted_id, added);
    }

    /// Bytes it has allocated beyond itself, but for what savings keep.
    pub fn memory(&self) -> usize {
        let left = self.left.iter().map(|(name, group)| (&**name, &**group));
        let groups = self.groups().chain(left);
        self.entries.memory()
            + self.tree_bytes
            + size_class(self.left.capacity() * size_of::<LeftGroup>())
            + groups.map(|(name, group)| size_class(name.len()) + group.memory()).sum::<usize>()
            + self.producers.as_ref().map_or(0, |producers| producers.memory())
    }

    /// How many blocks of memory dropping it frees, about.
    pub fn free_effort(&self) -> usize {
        self.entries.blocks()
            + self.groups.values().map(|group| 2 + group.blocks()).sum::<usize>()
            + self.left.iter().map(|(_, group)| 2 + group.blocks()).sum::<usize>()
            + self.producers.as_ref().map_or(0, |producers| producers.blocks())
    }

    /// The form that holds what is to be said of its groups.
    pub fn form(&self) -> Form {
        if self.groups.values().any(|group| group.returned_len() > 0) {
            Form::Returned
        } else if self.producers.is_some() {
            Form::Active
        } else {
            Form::Plain
        }
    }

    /// Bytes that all groups take in plain RDB form.
    pub fn groups_rdb_len(&self) -> u64 {
        let form = self.form();
        self.groups.iter().map(|(name, group)| group.rdb_len(name.len(), form)).sum()
    }

    /// Bytes that nodes and groups take in plain RDB form; what stands around them comes on top.
    pub fn rdb_len(&self) -> u64 {
        self.entries.rdb_bytes() + self.groups_rdb_len()
    }

    pub fn duplicate(&self) -> Stream {
        let mut copy = Stream {
            entries: self.entries.duplicate(),
            groups: Groups::new(),
            tree_bytes: 0,
            groups_made: self.groups_made,
            producers: self.producers.as_ref().map(|producers| Box::new(producers.duplicate())),
            savings: StreamSavings::default(),
            left: Vec::new(),
        };
        for (name, group) in self.groups() {
            copy.add_group(name.into(), Box::new(group.duplicate()));
        }
        copy
    }

    /// Panics if a node, an order or a count is wrong.
    pub fn check_invariants(&self) {
        self.entries.check_invariants();
        self.groups.values().for_each(|group| group.check_invariants());
        self.producers.iter().for_each(|producers| producers.check_invariants());
    }

    fn forget(&mut self, id: StreamId) {
        forget(&mut self.groups, id, &mut self.savings);
    }
}

/// The nodes come first, then the groups; all else is told at the beginning.
impl Savable for Stream {
    fn begin_saving(&mut self, number: u32, saver: Box<dyn Saver>) {
        let (form, last_node, left) = (self.form(), self.entries.last_id(), self.left.len());
        self.savings.begin(number, saver, form, last_node, left);
    }

    fn save_on(&mut self, number: u32) -> bool {
        if self.savings.save_gone(number) {
            return true;
        }
        let Some(saving) = self.savings.get_mut(number) else { return false };
        self.entries.save_on(saving) || save_groups(saving, &self.groups, &self.left)
    }

    /// Of an entry, its node.
    fn save_named(&mut self, name: &[u8]) {
        if let Some(id) = StreamId::parse(name, 0) {
            self.entries.keep_around(id, &mut self.savings);
        }
    }

    /// Of a pending entry: those beside it, in its group and with its consumer.
    fn part_len(&self) -> u64 {
        PENDING_PART_LEN
    }

    fn end_saving(&mut self, number: u32) -> Option<Ended> {
        let (saver, nodes) = self.savings.end(number)?;
        let groups = if self.savings.any() { Vec::new() } else { std::mem::take(&mut self.left) };
        Some(Ended::new(saver, (!nodes.is_empty() || !groups.is_empty()).then_some((nodes, groups))))
    }

    fn saver(&self, number: u32) -> Option<&dyn Saver> {
        self.savings.saver(number)
    }

    fn each_saver(&mut self, visit: &mut dyn FnMut(&mut dyn Saver)) {
        self.savings.iter_mut().for_each(|saving| visit(&mut *saving.saver));
    }
}

/// First the nodes, then the groups in order of their names.
impl Movable for Stream {
    fn move_on(&mut self, position: &mut MovePosition, mover: &mut Mover) -> bool {
        if position.part == NODES {
            if self.entries.move_on(position, mover) {
                return true;
            }
            position.next_part();
        }
        while !mover.is_spent() {
            let rest = (Bound::Included(&*position.name), Bound::Unbounded);
            let Some((name, group)) = self.groups.range_mut::<[u8], _>(rest).next() else { return false };
            if **name != *position.name {
                *position = MovePosition { part: GROUP, name: name.clone(), ..MovePosition::default() };
            }
            if group.move_on(position, mover) {
                return true;
            }
            let next = [&name[..], &[0]].concat().into();
            *position = MovePosition { part: GROUP, name: next, ..MovePosition::default() };
        }
        true
    }
}

/// Nobody is asked before a trim removes an entry.
const NOBODY: Option<fn(StreamId, &mut StreamSavings) -> Verdict> = None;

/// Bytes of a chunk of pending entries, and of the ids of a consumer: about 100 each.
const PENDING_PART_LEN: u64 = 8 * 1024;

/// The parts of a round that moves blocks: the last one is each group's first.
const NODES: u32 = 0;
const GROUP: u32 = 1;

type Groups = BTreeMap<Box<[u8]>, Box<Group>>;
type LeftGroup = (Box<[u8]>, Box<Group>);

/// No group has the entry pending any more.
fn forget(groups: &mut Groups, id: StreamId, savings: &mut StreamSavings) {
    for (name, group) in groups.iter_mut().filter(|(_, group)| group.pending(id).is_some()) {
        GroupMut::new(name, group, savings).remove_pending(id);
    }
}

/// Whether every group has read and acknowledged an entry.
fn judge(groups: &Groups, id: StreamId) -> Verdict {
    let mut result = Verdict::Remove;
    for group in groups.values() {
        match group.judge(id) {
            Verdict::Stop => return Verdict::Stop,
            Verdict::Keep => result = Verdict::Keep,
            Verdict::Remove => {}
        }
    }
    result
}

/// Bytes of a plain RDB string: its length in 6, 14, 32 or 64 bits, then itself.
fn rdb_len(len: usize) -> u64 {
    rdb_number_len(len as u64) + len as u64
}

/// Bytes of a number in RDB form.
fn rdb_number_len(number: u64) -> u64 {
    match number {
        0..64 => 1,
        64..16_384 => 2,
        16_384..=0xffff_ffff => 5,
        _ => 9,
    }
}
