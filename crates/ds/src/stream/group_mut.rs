//! A consumer group for changes: what is about to change is saved first, for all who are saving the stream.
//! It never decides what changes.

use std::ops::{Deref, DerefMut};

use crate::stream::group::{Consumer, ConsumerId, Group, Pending};
use crate::stream::id::StreamId;
use crate::stream::saving::StreamSavings;

/// As the group itself for reading, and for what it says of itself.
pub struct GroupMut<'a> {
    group: &'a mut Group,
    savings: &'a mut StreamSavings,
}

impl<'a> GroupMut<'a> {
    #[inline]
    pub(super) fn new(name: &[u8], group: &'a mut Group, savings: &'a mut StreamSavings) -> GroupMut<'a> {
        if savings.any() {
            savings.open(name, group);
        }
        GroupMut { group, savings }
    }

    /// Makes an entry pending, or changes how it is. One without a consumer goes behind the others of its
    /// kind, or keeps its turn.
    pub fn set_pending(&mut self, id: StreamId, pending: Pending) {
        if self.savings.any() {
            let (group, turn) = (&*self.group, self.group.next_turn());
            let old = group.pending.get(&id);
            self.savings.keep_pending(group, id);
            // With the same owner it stays in the owner's list, or keeps its turn.
            if old.is_none_or(|old| old.owner != pending.consumer) {
                old.inspect(|old| self.savings.keep_listed(group, id, (old.owner, old.time)));
                self.savings.keep_listed(group, id, (pending.consumer, turn));
            }
        }
        self.group.set_pending(id, pending, self.savings.mark());
    }

    /// An entry is acknowledged; `None` if it was not pending.
    pub fn remove_pending(&mut self, id: StreamId) -> Option<Pending> {
        if self.savings.any() {
            let old = self.group.pending.get(&id)?;
            self.savings.keep_pending(self.group, id);
            self.savings.keep_listed(self.group, id, (old.owner, old.time));
        }
        self.group.remove_pending(id, self.savings.mark())
    }

    pub fn consumer_mut(&mut self, id: ConsumerId) -> &mut Consumer {
        if self.savings.any() {
            self.savings.keep_consumer(self.group, id);
        }
        self.group.consumer_mut(id)
    }

    /// A new consumer; `None` if there is one of this name.
    pub fn create_consumer(&mut self, name: &[u8], now: i64) -> Option<ConsumerId> {
        self.group.create_consumer(name, now, self.savings.mark())
    }

    /// Removes a consumer and its pending entries, and says how many those were.
    pub fn remove_consumer(&mut self, id: ConsumerId) -> usize {
        let count = self.consumer_mut(id).pending_len();
        let first = |group: &Group| Some(group.consumer(id).pending.chunk_from(&StreamId::MIN)?.first());
        while let Some(entry) = first(self.group) {
            self.remove_pending(entry);
        }
        self.group.remove_consumer(id);
        self.savings.forget_consumer(self.group, id);
        count
    }
}

impl Deref for GroupMut<'_> {
    type Target = Group;

    fn deref(&self) -> &Group {
        self.group
    }
}

impl DerefMut for GroupMut<'_> {
    fn deref_mut(&mut self) -> &mut Group {
        self.group
    }
}
