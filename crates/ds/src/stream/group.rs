//! A consumer group: how far it has read, its consumers, and the entries they were given and have not
//! acknowledged.
//!
//! A pending entry is stored once, in the group, in order of ids; a consumer has the ids of its own. It knows
//! no entries and no clock: whether an entry still exists and what time it is are the caller's to say.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::ops::Bound;

use base::alloc::{counted, size_class};
use base::defrag::Mover;

use crate::moving::MovePosition;
use crate::stream::Form;
use crate::stream::entries::{Entries, Verdict};
use crate::stream::id::StreamId;
use crate::stream::sorted::SortedMap;

/// A consumer's place in its group, as long as it exists.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ConsumerId(NonZeroU32);

impl ConsumerId {
    fn index(self) -> usize {
        self.0.get() as usize - 1
    }

    fn at(index: usize) -> Self {
        let number = u32::try_from(index + 1).ok().and_then(NonZeroU32::new);
        ConsumerId(number.expect("there are fewer than 2^32 consumers"))
    }
}

/// An entry that was given to a consumer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pending {
    /// `None`: the consumer gave it back.
    pub consumer: Option<ConsumerId>,
    /// Unix milliseconds; 0 for one that was given back.
    pub delivered_at: i64,
    pub deliveries: u64,
}

pub struct Consumer {
    name: Box<[u8]>,
    /// When it last asked for something, in Unix milliseconds.
    pub seen_at: i64,
    /// When it last got something.
    pub active_at: Option<i64>,
    pub(super) pending: SortedMap<StreamId, ()>,
    /// The saving that was going on when it was made, or 0.
    pub(super) born: u32,
}

impl Consumer {
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// Ids of its pending entries from `from` on.
    pub fn pending_ids(&self, from: StreamId) -> impl Iterator<Item = StreamId> {
        self.pending.from(&from).map(|(id, ())| id)
    }

    /// Bytes in plain RDB form without its ids.
    pub(super) fn head_len(&self, form: Form) -> u64 {
        super::rdb_len(self.name.len()) + times_len(form) + super::rdb_number_len(self.pending.len() as u64)
    }

    fn memory(&self) -> usize {
        size_class(self.name.len()) + self.pending.memory()
    }
}

/// A pending entry as it is kept.
#[derive(Clone, Copy)]
pub(super) struct Kept {
    pub owner: Option<ConsumerId>,
    /// When it was delivered. Without an owner its turn among those given back.
    pub time: i64,
    pub deliveries: u64,
}

impl Kept {
    pub fn shown(self) -> Pending {
        let delivered_at = if self.owner.is_some() { self.time } else { 0 };
        Pending { consumer: self.owner, delivered_at, deliveries: self.deliveries }
    }
}

pub struct Group {
    /// The last id that was given to anybody.
    pub last_id: StreamId,
    /// How many entries it would have read to get there from the first one on, if that is known.
    pub entries_read: Option<u64>,
    /// Its own in its stream, and the saving that was going on when it was made, or 0.
    pub(super) number: u32,
    pub(super) born: u32,
    pub(super) pending: SortedMap<StreamId, Kept>,
    /// Entries that were given back, in this order, by their turns.
    pub(super) returned: SortedMap<i64, StreamId>,
    /// Delivered entries by time, from the first time that order is asked for on.
    by_time: Option<Box<SortedMap<(i64, StreamId), ()>>>,
    consumers: Vec<Option<Consumer>>,
    /// Where a consumer was.
    free: Vec<ConsumerId>,
    names: BTreeMap<Box<[u8]>, ConsumerId>,
    /// Bytes of this tree and its names.
    tree_bytes: usize,
    /// Bytes that the pending entries' counts of deliveries take in plain RDB form, and consumers' names, and
    /// their counts of pending entries.
    deliveries_len: u64,
    names_len: u64,
    counts_len: u64,
}

impl Group {
    pub(super) fn new(number: u32, born: u32, last_id: StreamId, entries_read: Option<u64>) -> Group {
        Group {
            last_id,
            entries_read,
            number,
            born,
            pending: SortedMap::default(),
            returned: SortedMap::default(),
            by_time: None,
            consumers: Vec::new(),
            free: Vec::new(),
            names: BTreeMap::new(),
            tree_bytes: 0,
            deliveries_len: 0,
            names_len: 0,
            counts_len: 0,
        }
    }

    /// An entry beyond the last one is given to somebody: counts it as read, if the count is known or can be.
    pub fn advance(&mut self, entries: &Entries, id: StreamId) {
        if id <= self.last_id {
            return;
        }
        self.entries_read = match self.entries_read {
            Some(read) if self.last_id >= entries.first_id() && !entries.has_gaps_from(self.last_id) => {
                Some(read.wrapping_add(1))
            }
            _ if entries.added() > 0 => entries.reads_up_to(id),
            other => other,
        };
        self.last_id = id;
    }

    /// How many entries are still to be read, if that is known.
    pub fn lag(&self, entries: &Entries) -> Option<i64> {
        if entries.added() == 0 {
            return Some(0);
        }
        let counted = self.entries_read.filter(|_| !entries.has_gaps_from(self.last_id));
        let read = counted.or_else(|| entries.reads_up_to(self.last_id))?;
        Some(entries.added().wrapping_sub(read) as i64)
    }

    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    pub fn pending(&self, id: StreamId) -> Option<Pending> {
        self.pending.get(&id).map(|kept| kept.shown())
    }

    /// Pending entries in order of ids, from `from` on.
    pub fn pending_from(
        &self,
        from: StreamId,
    ) -> impl DoubleEndedIterator<Item = (StreamId, Pending)> + Clone {
        self.pending.from(&from).map(|(id, kept)| (id, kept.shown()))
    }

    /// How many pending entries were given back and belong to no consumer.
    pub fn returned_len(&self) -> usize {
        self.returned.len()
    }

    /// Entries that were given back, in this order.
    pub fn returned_ids(&self) -> impl Iterator<Item = StreamId> {
        self.returned.iter().map(|(_, id)| *id)
    }

    /// As `GroupMut::set_pending`; what is changed gets the mark.
    pub(super) fn set_pending(&mut self, id: StreamId, pending: Pending, mark: u32) {
        let old = self.pending.get(&id).copied();
        let time = match (pending.consumer, old) {
            (Some(_), _) => pending.delivered_at,
            (None, Some(Kept { owner: None, time, .. })) => time,
            (None, _) => self.next_turn(),
        };
        let new = Kept { owner: pending.consumer, time, deliveries: pending.deliveries };
        let old_owner = old.and_then(|old| old.owner);
        self.pending.insert_marked(id, new, mark);
        match old {
            // It keeps its place in the list.
            Some(old) if old.owner == new.owner && old.time == new.time => {
                self.deliveries_len -= super::rdb_number_len(old.deliveries);
                self.deliveries_len += super::rdb_number_len(new.deliveries);
            }
            _ => {
                if let Some(old) = old {
                    self.unlist(id, old, mark);
                }
                self.list(id, new, mark);
            }
        }
        if old_owner != new.owner {
            self.disown(old_owner, id, mark);
            if let Some(owner) = new.owner {
                self.change_owned(owner, |own| own.insert_marked(id, (), mark));
            }
        }
    }

    pub(super) fn remove_pending(&mut self, id: StreamId, mark: u32) -> Option<Pending> {
        let kept = self.pending.remove_marked(&id, mark)?;
        self.unlist(id, kept, mark);
        self.disown(kept.owner, id, mark);
        Some(kept.shown())
    }

    /// The turn of the entry that is given back next.
    pub(super) fn next_turn(&self) -> i64 {
        self.returned.last().map_or(0, |(turn, _)| turn + 1)
    }

    /// Up to `max` pending entries that may be claimed: those given back, then those delivered no later than
    /// `until`, the oldest delivery first. The first call sorts all.
    pub fn claimable(&mut self, until: i64, max: usize) -> Vec<StreamId> {
        if self.by_time.is_none() {
            self.sort_by_time();
        }
        let sorted = self.by_time.iter().flat_map(|sorted| sorted.iter()).map(|((time, id), ())| (time, id));
        let due = sorted.take_while(|(time, _)| *time <= until).map(|(_, id)| id);
        self.returned_ids().chain(due).take(max).collect()
    }

    pub fn consumer_count(&self) -> usize {
        self.names.len()
    }

    /// Consumers in order of their names.
    pub fn consumers(&self) -> impl Iterator<Item = (ConsumerId, &Consumer)> {
        self.names.values().map(|&id| (id, self.consumer(id)))
    }

    pub fn consumer_named(&self, name: &[u8]) -> Option<ConsumerId> {
        self.names.get(name).copied()
    }

    /// The first consumer in order of names whose own is not before `name`.
    pub(super) fn consumer_from(&self, name: &[u8]) -> Option<(&[u8], ConsumerId)> {
        let range = (Bound::Included(name), Bound::Unbounded);
        self.names.range::<[u8], _>(range).next().map(|(name, id)| (&**name, *id))
    }

    pub fn consumer(&self, id: ConsumerId) -> &Consumer {
        self.consumers[id.index()].as_ref().expect("an id is as old as its consumer at most")
    }

    pub(super) fn consumer_mut(&mut self, id: ConsumerId) -> &mut Consumer {
        self.consumers[id.index()].as_mut().expect("an id is as old as its consumer at most")
    }

    /// As `GroupMut::create_consumer`, while the saving of this number goes on.
    pub(super) fn create_consumer(&mut self, name: &[u8], now: i64, born: u32) -> Option<ConsumerId> {
        if self.names.contains_key(name) {
            return None;
        }
        let pending = SortedMap::default();
        let consumer = Consumer { name: name.into(), seen_at: now, active_at: None, pending, born };
        let id = self.free.pop().unwrap_or_else(|| ConsumerId::at(self.consumers.len()));
        if id.index() == self.consumers.len() {
            self.consumers.push(None);
        }
        self.consumers[id.index()] = Some(consumer);
        counted(&mut self.tree_bytes, || self.names.insert(name.into(), id));
        self.names_len += super::rdb_len(name.len());
        self.counts_len += super::rdb_number_len(0);
        Some(id)
    }

    /// Removes a consumer that has no pending entries.
    pub(super) fn remove_consumer(&mut self, id: ConsumerId) {
        let Some(consumer) = self.consumers[id.index()].take() else { return };
        assert!(consumer.pending.is_empty(), "its entries are removed first");
        self.free.push(id);
        counted(&mut self.tree_bytes, || self.names.remove(&consumer.name));
        self.names_len -= super::rdb_len(consumer.name.len());
        self.counts_len -= super::rdb_number_len(0);
    }

    /// Bytes it has allocated, with its own block.
    pub fn memory(&self) -> usize {
        let consumers: usize = self.consumers.iter().flatten().map(Consumer::memory).sum();
        size_class(size_of::<Group>())
            + self.pending.memory()
            + self.returned.memory()
            + self.by_time.as_ref().map_or(0, |sorted| size_class(size_of_val(&**sorted)) + sorted.memory())
            + size_class(self.consumers.capacity() * size_of::<Option<Consumer>>())
            + size_class(self.free.capacity() * size_of::<ConsumerId>())
            + consumers
            + self.tree_bytes
    }

    /// How many blocks of memory it has, about.
    pub(super) fn blocks(&self) -> usize {
        let consumers: usize = self.consumers.iter().flatten().map(|one| 2 + one.pending.blocks()).sum();
        1 + self.pending.blocks() + self.returned.blocks() + consumers
    }

    /// Bytes in plain RDB form, behind a name of `name_len` bytes.
    pub(super) fn rdb_len(&self, name_len: usize, form: Form) -> u64 {
        let counts = super::rdb_number_len(self.consumer_count() as u64) + self.returned_rdb_len(form);
        self.head_len(name_len) + self.pending_rdb_len() + counts + self.consumers_rdb_len(form)
    }

    /// All before its pending entries.
    pub(super) fn head_len(&self, name_len: usize) -> u64 {
        let numbers = [
            self.last_id.ms,
            self.last_id.seq,
            self.entries_read.unwrap_or(u64::MAX),
            self.pending.len() as u64,
        ];
        super::rdb_len(name_len) + numbers.into_iter().map(super::rdb_number_len).sum::<u64>()
    }

    /// Of each pending entry its id, a time and a count.
    pub(super) fn pending_rdb_len(&self) -> u64 {
        self.pending.len() as u64 * (ID_LEN + TIME_LEN) + self.deliveries_len
    }

    /// Consumers with the ids of their entries.
    pub(super) fn consumers_rdb_len(&self, form: Form) -> u64 {
        let ids = (self.pending.len() - self.returned.len()) as u64 * ID_LEN;
        self.names_len + self.counts_len + self.consumer_count() as u64 * times_len(form) + ids
    }

    /// Ids of entries that were given back, and how many they are.
    fn returned_rdb_len(&self, form: Form) -> u64 {
        match form {
            Form::Plain | Form::Active => 0,
            Form::Returned => {
                super::rdb_number_len(self.returned.len() as u64) + self.returned.len() as u64 * ID_LEN
            }
        }
    }

    pub(super) fn duplicate(&self) -> Group {
        let consumer = |consumer: &Consumer| Consumer {
            name: consumer.name.clone(),
            pending: consumer.pending.duplicate(),
            born: 0,
            ..*consumer
        };
        Group {
            born: 0,
            pending: self.pending.duplicate(),
            returned: self.returned.duplicate(),
            by_time: None,
            consumers: self.consumers.iter().map(|slot| slot.as_ref().map(consumer)).collect(),
            free: self.free.clone(),
            names: self.names.clone(),
            ..*self
        }
    }

    /// Moves blocks of the maps by id, those of the consumers last. The tree of names stays.
    pub(super) fn move_on(&mut self, position: &mut MovePosition, mover: &mut Mover) -> bool {
        loop {
            mover.spend(1);
            let MovePosition { at, index, part, .. } = position;
            let more = match *part - super::GROUP {
                0 => self.pending.move_on(at, index, mover, |_, _| {}),
                1 => self.returned.move_on(at, index, mover, |_, _| {}),
                2 => self.by_time.as_mut().is_some_and(|map| map.move_on(at, index, mover, |_, _| {})),
                part => {
                    let Some(slot) = self.consumers.get_mut(part as usize - MAPS) else { return false };
                    slot.as_mut().is_some_and(|one| one.pending.move_on(at, index, mover, |_, _| {}))
                }
            };
            if more || mover.is_spent() {
                return true;
            }
            (*at, *index, *part) = (0, 0, *part + 1);
        }
    }

    /// What deleting an entry that all groups must have dealt with has to know.
    pub(super) fn judge(&self, id: StreamId) -> Verdict {
        match () {
            () if id > self.last_id => Verdict::Stop,
            () if self.pending.contains(&id) => Verdict::Keep,
            () => Verdict::Remove,
        }
    }

    /// Panics if the orders do not agree.
    pub(super) fn check_invariants(&self) {
        self.pending.check_invariants();
        self.returned.check_invariants();
        assert_eq!(self.names.len(), self.consumers.iter().flatten().count());
        let mut owned = self.returned.len();
        for (id, consumer) in self.consumers() {
            consumer.pending.check_invariants();
            owned += consumer.pending.len();
            let own = |entry: &StreamId| self.pending.get(entry).is_some_and(|kept| kept.owner == Some(id));
            assert!(consumer.pending_ids(StreamId::MIN).all(|entry| own(&entry)));
            assert_eq!(self.consumer_named(&consumer.name), Some(id));
        }
        assert_eq!(owned, self.pending.len());
        for (turn, id) in self.returned.iter() {
            assert!(self.pending.get(id).is_some_and(|kept| kept.owner.is_none() && kept.time == turn));
        }
        if let Some(sorted) = &self.by_time {
            sorted.check_invariants();
            assert_eq!(sorted.len() + self.returned.len(), self.pending.len());
            let known = |(time, id): (i64, StreamId)| self.pending.get(&id).is_some_and(|k| k.time == time);
            assert!(sorted.iter().all(|(key, ())| known(key)));
        }
        let lens: u64 = self.pending.iter().map(|(_, kept)| super::rdb_number_len(kept.deliveries)).sum();
        assert_eq!(lens, self.deliveries_len);
        let consumers: u64 = self.consumers().map(|(_, one)| one.head_len(Form::Plain)).sum();
        let ids = (self.pending.len() - self.returned.len()) as u64 * ID_LEN;
        assert_eq!(consumers + ids, self.consumers_rdb_len(Form::Plain));
    }

    fn sort_by_time(&mut self) {
        let owned = self.pending.iter().filter(|(_, kept)| kept.owner.is_some());
        let mut keys: Vec<_> = owned.map(|(id, kept)| (kept.time, id)).collect();
        keys.sort_unstable();
        let mut sorted = Box::new(SortedMap::default());
        keys.into_iter().for_each(|key| {
            sorted.insert(key, ());
        });
        self.by_time = Some(sorted);
    }

    /// Takes a pending entry out of the orders beside that of ids.
    fn unlist(&mut self, id: StreamId, kept: Kept, mark: u32) {
        self.deliveries_len -= super::rdb_number_len(kept.deliveries);
        if kept.owner.is_none() {
            self.returned.remove_marked(&kept.time, mark);
        } else if let Some(sorted) = &mut self.by_time {
            sorted.remove(&(kept.time, id));
        }
    }

    fn list(&mut self, id: StreamId, kept: Kept, mark: u32) {
        self.deliveries_len += super::rdb_number_len(kept.deliveries);
        if kept.owner.is_none() {
            self.returned.insert_marked(kept.time, id, mark);
        } else if let Some(sorted) = &mut self.by_time {
            sorted.insert((kept.time, id), ());
        }
    }

    fn disown(&mut self, owner: Option<ConsumerId>, id: StreamId, mark: u32) {
        if let Some(owner) = owner {
            self.change_owned(owner, |own| own.remove_marked(&id, mark));
        }
    }

    fn change_owned(
        &mut self,
        owner: ConsumerId,
        change: impl FnOnce(&mut SortedMap<StreamId, ()>) -> Option<()>,
    ) {
        let own = &mut self.consumer_mut(owner).pending;
        let before = own.len() as u64;
        change(own);
        let after = own.len() as u64;
        self.counts_len = self.counts_len + super::rdb_number_len(after) - super::rdb_number_len(before);
    }
}

/// A group's own maps by id, those of its consumers not counted.
const MAPS: usize = 3;

/// A consumer's times.
fn times_len(form: Form) -> u64 {
    match form {
        Form::Plain => TIME_LEN,
        Form::Active | Form::Returned => 2 * TIME_LEN,
    }
}

/// Bytes of an id and of a time where neither is a number of its own length.
pub(super) const ID_LEN: u64 = 16;
pub(super) const TIME_LEN: u64 = 8;
