//! Who added which entry under which id of its own, so that an entry sent twice is added once.
//!
//! It remembers ids; whether an entry is added is the caller's. The time is an argument.

use std::collections::{BTreeMap, VecDeque};

use base::alloc::{counted, size_class};

use crate::stream::id::StreamId;

/// How much is remembered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IdempotenceLimits {
    /// For how long, from the entry's id on, in seconds.
    pub duration_s: u64,
    /// How many ids of each producer.
    pub max_size: u64,
}

impl IdempotenceLimits {
    pub const DURATION_S_MAX: u64 = 86_400;
    pub const SIZE_MAX: u64 = 10_000;
}

impl Default for IdempotenceLimits {
    /// Redis' defaults.
    fn default() -> Self {
        IdempotenceLimits { duration_s: 100, max_size: 100 }
    }
}

pub struct Producers {
    limits: IdempotenceLimits,
    /// By name; none is without an id.
    producers: BTreeMap<Box<[u8]>, Producer>,
    /// Ids of all producers.
    tracked: u64,
    added: u64,
    duplicates: u64,
    /// Bytes that all of this has allocated.
    bytes: usize,
    /// The name at which the search for what has expired goes on.
    swept_to: Box<[u8]>,
}

#[derive(Clone, Default)]
struct Producer {
    entries: BTreeMap<Box<[u8]>, StreamId>,
    /// As they were added.
    order: VecDeque<Box<[u8]>>,
}

impl Producers {
    pub fn new(limits: IdempotenceLimits) -> Producers {
        Producers {
            limits,
            producers: BTreeMap::new(),
            tracked: 0,
            added: 0,
            duplicates: 0,
            bytes: 0,
            swept_to: Box::default(),
        }
    }

    pub fn limits(&self) -> IdempotenceLimits {
        self.limits
    }

    /// Other limits make it forget all ids.
    pub fn set_limits(&mut self, limits: IdempotenceLimits) {
        if limits != self.limits {
            *self = Producers { added: self.added, duplicates: self.duplicates, ..Producers::new(limits) };
        }
    }

    /// How many producers have ids here.
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// Ids of all producers.
    pub fn tracked(&self) -> u64 {
        self.tracked
    }

    /// How many ids were ever added, and how many were found to be here already.
    pub fn totals(&self) -> (u64, u64) {
        (self.added, self.duplicates)
    }

    pub fn set_totals(&mut self, added: u64, duplicates: u64) {
        (self.added, self.duplicates) = (added, duplicates);
    }

    /// The entry that a producer has added under this id. Counts nothing.
    pub fn find(&self, producer: &[u8], id: &[u8], now: i64) -> Option<StreamId> {
        let found = *self.producers.get(producer)?.entries.get(id)?;
        (!self.is_expired(found, now)).then_some(found)
    }

    pub fn count_duplicate(&mut self) {
        self.duplicates = self.duplicates.wrapping_add(1);
    }

    /// Remembers an entry and forgets what is too old or too much.
    pub fn record(&mut self, producer: &[u8], id: &[u8], entry: StreamId, now: i64) {
        self.load(producer, id, entry);
        self.added = self.added.wrapping_add(1);
        self.change(|producers| {
            producers.forget_expired(producer, now);
            producers.sweep(now);
        });
    }

    /// As `record`, for what a file says: counts nothing and looks at no time.
    pub fn load(&mut self, producer: &[u8], id: &[u8], entry: StreamId) {
        self.change(|producers| producers.add(producer, id, entry));
    }

    fn change(&mut self, change: impl FnOnce(&mut Producers)) {
        let mut bytes = self.bytes;
        counted(&mut bytes, || change(self));
        self.bytes = bytes;
    }

    fn add(&mut self, producer: &[u8], id: &[u8], entry: StreamId) {
        if !self.producers.contains_key(producer) {
            self.producers.insert(producer.into(), Producer::default());
        }
        let known = self.producers.get_mut(producer).expect("was inserted above");
        if known.entries.insert(id.into(), entry).is_none() {
            known.order.push_back(id.into());
            self.tracked += 1;
        }
        while self
            .producers
            .get(producer)
            .is_some_and(|known| known.order.len() as u64 > self.limits.max_size)
        {
            self.forget_oldest(producer);
        }
    }

    /// Each producer with its ids in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], impl ExactSizeIterator<Item = (&[u8], StreamId)>)> {
        self.producers.iter().map(|(name, producer)| {
            (&name[..], producer.order.iter().map(|id| (&id[..], producer.entries[id])))
        })
    }

    /// Bytes it has allocated, with its own block.
    pub fn memory(&self) -> usize {
        size_class(size_of::<Producers>()) + self.bytes
    }

    pub(super) fn duplicate(&self) -> Producers {
        let mut bytes = 0;
        let copy = || (self.producers.clone(), self.swept_to.clone());
        let (producers, swept_to) = counted(&mut bytes, copy);
        Producers { producers, swept_to, bytes, ..*self }
    }

    pub(super) fn blocks(&self) -> usize {
        1 + self.producers.len() * 2 + self.tracked as usize * 2
    }

    pub(super) fn check_invariants(&self) {
        let ids = self.producers.values().map(|producer| {
            assert!(!producer.order.is_empty() && producer.order.len() as u64 <= self.limits.max_size);
            assert!(producer.order.iter().all(|id| producer.entries.contains_key(id)));
            assert_eq!(producer.order.len(), producer.entries.len());
            producer.order.len() as u64
        });
        assert_eq!(ids.sum::<u64>(), self.tracked);
    }

    fn is_expired(&self, entry: StreamId, now: i64) -> bool {
        let lives_ms = self.limits.duration_s.saturating_mul(1000);
        entry.ms.saturating_add(lives_ms) <= now.max(0) as u64
    }

    fn forget_oldest(&mut self, producer: &[u8]) {
        let Some(known) = self.producers.get_mut(producer) else { return };
        if let Some(id) = known.order.pop_front() {
            known.entries.remove(&id);
            self.tracked -= 1;
        }
        if known.order.is_empty() {
            self.producers.remove(producer);
        }
    }

    fn forget_expired(&mut self, producer: &[u8], now: i64) {
        let oldest = |known: &Producer| known.order.front().map(|id| known.entries[id]);
        while self.producers.get(producer).and_then(oldest).is_some_and(|entry| self.is_expired(entry, now)) {
            self.forget_oldest(producer);
        }
    }

    /// Looks at a few producers more, so that those who are gone are forgotten.
    fn sweep(&mut self, now: i64) {
        for _ in 0..SWEPT_PER_RECORD {
            let from = (std::ops::Bound::Excluded(&self.swept_to[..]), std::ops::Bound::Unbounded);
            let next = self.producers.range::<[u8], _>(from).next().map(|(name, _)| name.clone());
            self.swept_to = next.unwrap_or_default();
            let name = self.swept_to.clone();
            self.forget_expired(&name, now);
        }
    }
}

/// More than one: what a producer leaves behind is gone before as many have come again.
const SWEPT_PER_RECORD: usize = 2;
