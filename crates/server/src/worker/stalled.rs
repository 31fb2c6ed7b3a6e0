//! Connections whose request would add to what waits for the snapshots' threads while that is as much as may
//! wait: they are held until some of it is on the disk, and others are served meanwhile. A disk that hangs
//! holds nobody up for ever.

use engine::Prepared;
use engine::pipeline::may_write;

use super::Worker;
use super::intake::Arena;
use crate::conn::{Connection, Slot};

/// With one of so many parts of the limit filled nothing is added any more; the rest is for what the file
/// system has not written yet.
pub const SNAPSHOT_FULL: usize = 2;

/// How long they are held, at most: counted from the first of them.
const STALL_MOST_NS: u64 = 5_000_000_000;

/// How often a worker looks whether there is room.
pub const STALL_MS: i64 = 1;

#[derive(Default)]
pub struct Stalled {
    /// Since when each of them waits, on the monotonic clock.
    since: Vec<(Slot, u64)>,
    /// They have waited for as long as may be: in this tick nobody waits.
    is_over: bool,
}

impl Stalled {
    pub fn is_empty(&self) -> bool {
        self.since.is_empty()
    }

    pub fn forget(&mut self, slot: Slot) {
        self.since.retain(|(other, _)| *other != slot);
    }
}

impl Worker {
    #[inline]
    pub fn is_snapshot_full(&self) -> bool {
        let store = &self.engine.store;
        store.snapshot_backlog() > store.snapshot_limit() / SNAPSHOT_FULL
    }

    /// Whether a request waits for room: then its connection is among those that do. Within a script nobody
    /// waits: what makes room may wait for the script.
    #[cold]
    pub fn must_stall(&mut self, slot: Slot, prepared: &Prepared) -> bool {
        let writes = prepared.command.is_some_and(may_write);
        if !writes || self.stalled.is_over || self.engine.scripts.running.is_busy() {
            return false;
        }
        let now_ns = self.engine.host.monotonic_ns();
        let free = |connection: &&mut Connection| !connection.closing && !connection.holds();
        let Some(connection) = self.connections.at(slot).filter(free) else { return false };
        connection.stalled = true;
        self.stalled.since.push((slot, now_ns));
        true
    }

    /// Lets those go on that have waited, if there is room or they have waited for too long.
    pub fn resume_stalled(&mut self, arena: &mut Arena) {
        let Some((_, first_ns)) = self.stalled.since.first() else { return };
        let now_ns = self.engine.host.monotonic_ns();
        self.stalled.is_over = now_ns.saturating_sub(*first_ns) >= STALL_MOST_NS;
        if self.is_snapshot_full() && !self.stalled.is_over {
            return;
        }
        for (slot, since_ns) in std::mem::take(&mut self.stalled.since) {
            let Some(connection) = self.connections.at(slot) else { continue };
            connection.stalled = false;
            let stats = &self.seat.worker.stats;
            stats.snapshot_delays.add(1);
            stats.snapshot_delay_us.add(now_ns.saturating_sub(since_ns) / 1000);
            self.resume(arena, slot);
        }
        self.stalled.is_over = false;
    }
}
