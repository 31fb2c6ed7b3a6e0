//! Expiry: what "has expired" means, and the position of the active cycle.
//!
//! Removing an expired key is the caller's: it names effects and events, which this crate does not know.

use base::time::UnixMs;
use ds::table::DuePosition;

use crate::db::DbIndex;
use crate::entry::EntryRef;
use crate::plan::ShardId;

/// A key whose time is `now` has expired.
#[inline]
pub fn is_expired(entry: EntryRef<'_>, now: UnixMs) -> bool {
    entry.expires_at().is_some_and(|at| at <= now.0)
}

/// Where the active cycle goes on.
#[derive(Default)]
pub struct ExpireCursor {
    pub shard: u16,
    pub db: u16,
    pub position: DuePosition,
}

impl ExpireCursor {
    pub fn place(&self) -> (ShardId, DbIndex) {
        (ShardId(self.shard), DbIndex(self.db))
    }

    /// On to another database of the same shard.
    pub fn go_to(&mut self, db: DbIndex) {
        (self.db, self.position) = (db.0, DuePosition::default());
    }

    /// On to the next database, then to the next shard; true when it has gone round.
    pub fn advance(&mut self, databases: u16, shards: usize) -> bool {
        self.position = DuePosition::default();
        self.db += 1;
        if self.db < databases {
            return false;
        }
        (self.db, self.shard) = (0, self.shard + 1);
        if (self.shard as usize) < shards {
            return false;
        }
        self.shard = 0;
        true
    }
}
