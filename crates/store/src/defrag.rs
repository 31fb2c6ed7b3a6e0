//! The way through the keyspace that moves entries and what they point to out of sparse slabs, a few at a
//! time under one shard's lock.
//!
//! A move changes nothing of a key: no snapshot, reading or watcher hears of it. What comes or goes meanwhile
//! may be passed over; the next round comes to it. How often and how long is the caller's business.

use base::defrag::Mover;
use ds::moving::MovePosition;
use ds::table::SlotId;

use crate::db::{Db, DbIndex, Key};
use crate::keyspace::{Guard, Store};
use crate::plan::{Plan, ShardId};

/// Where a round through the keyspace has come.
#[derive(Default)]
pub struct DefragCursor {
    shard: u16,
    db: u16,
    position: MovePosition,
    /// The line that was looked at last: its keys whose values have not been gone through.
    ahead: Vec<Box<[u8]>>,
    /// How far the last of them has been.
    within: MovePosition,
    /// Keys of which something moved, and of which nothing did.
    pub moved: u64,
    pub stayed: u64,
}

impl DefragCursor {
    /// Goes on until the mover has done enough, in one database of one shard at most; true at the end of a
    /// round.
    pub fn step(&mut self, store: &Store, mover: &mut Mover) -> bool {
        self.step_with(store.lock(&Plan::One(ShardId(self.shard))), store, mover)
    }

    /// The same, unless somebody else has the shard.
    pub fn step_at_once(&mut self, store: &Store, mover: &mut Mover) -> Option<bool> {
        let guard = store.lock_at_once(&Plan::One(ShardId(self.shard)))?;
        Some(self.step_with(guard, store, mover))
    }

    fn step_with(&mut self, mut guard: Guard<'_>, store: &Store, mover: &mut Mover) -> bool {
        let more = self.step_in(guard.shard(ShardId(self.shard)).db(DbIndex(self.db)), mover);
        drop(guard);
        !more && self.advance(store)
    }

    /// False at the end of the database.
    fn step_in(&mut self, db: &mut Db, mover: &mut Mover) -> bool {
        while !mover.is_spent() {
            if let Some(key) = self.ahead.last() {
                let within = &mut self.within;
                let slot = db.find(Key::new(key));
                let more = slot.is_some_and(|slot| db.edit_aside(slot, |entry| entry.move_on(within, mover)));
                if !more {
                    self.within = MovePosition::default();
                    self.ahead.pop();
                }
                continue;
            }
            let Some(looked) = db.table_mut().look_on(&mut self.position, mover) else { return false };
            let (live, sparse) = (looked.live().count() as u64, looked.sparse().count() as u64);
            (self.moved, self.stayed) = (self.moved + sparse, self.stayed + live - sparse);
            looked.sparse().for_each(|slot| db.table_mut().move_item(slot));
            looked.live().for_each(|slot| self.note_parts(db, slot, mover));
        }
        true
    }

    /// A value of many blocks is gone through by its key: there may be a pause in the middle.
    fn note_parts(&mut self, db: &mut Db, slot: SlotId, mover: &mut Mover) {
        let view = db.view(slot);
        if view.has_parts() {
            mover.spend(1);
            self.ahead.push(view.key().into());
        }
    }

    /// On to the next database, then to the next shard; true when it has gone round.
    fn advance(&mut self, store: &Store) -> bool {
        self.position = MovePosition::default();
        self.db += 1;
        if self.db < store.databases() {
            return false;
        }
        (self.db, self.shard) = (0, self.shard + 1);
        if usize::from(self.shard) < store.shard_count() {
            return false;
        }
        self.shard = 0;
        true
    }
}
