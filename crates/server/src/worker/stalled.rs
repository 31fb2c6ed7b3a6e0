//! Connections whose request would add to what waits for the disk while that is as much as may wait: for the
//! snapshots' threads, or for the append-only file. They are held until some of it is on the disk, and others
//! are served meanwhile. A snapshot whose disk hangs holds nobody up for ever.

use engine::Prepared;
use engine::pipeline::may_write;

use super::Worker;
use super::intake::Arena;
use crate::conn::{Connection, Slot};

/// How long snapshots hold them, at most: counted from the first of them.
const STALL_MOST_NS: u64 = 5_000_000_000;

/// How often a worker looks whether there is room.
pub const STALL_MS: i64 = 1;

#[derive(Default)]
pub struct Stalled {
    waiting: Vec<Waiting>,
    /// They have waited for as long as may be: in this tick nobody waits.
    is_over: bool,
}

struct Waiting {
    slot: Slot,
    /// Since when, on the monotonic clock.
    since_ns: u64,
    /// It began to wait for the append-only file.
    by_log: bool,
}

impl Stalled {
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub fn forget(&mut self, slot: Slot) {
        self.waiting.retain(|waiting| waiting.slot != slot);
    }
}

impl Worker {
    #[inline]
    pub fn is_disk_behind(&self) -> bool {
        self.engine.store.snapshots_are_behind() || self.engine.log.is_behind()
    }

    /// Whether a request waits for room: then its connection is among those that do. Within a script nobody
    /// waits: what makes room may wait for the script.
    #[cold]
    pub fn must_stall(&mut self, slot: Slot, prepared: &Prepared) -> bool {
        let writes = prepared.command.is_some_and(may_write);
        if !writes || !self.lacks_room() || self.engine.scripts.running.is_busy() {
            return false;
        }
        let now_ns = self.engine.host.monotonic_ns();
        let free = |connection: &&mut Connection| !connection.closing && !connection.holds();
        let Some(connection) = self.connections.at(slot).filter(free) else { return false };
        connection.stalled = true;
        let by_log = self.engine.log.is_behind();
        if by_log {
            self.engine.host.note_log_delay();
        }
        self.stalled.waiting.push(Waiting { slot, since_ns: now_ns, by_log });
        true
    }

    /// Whether those that write have to wait.
    fn lacks_room(&self) -> bool {
        let log_is_behind = self.engine.log.is_behind() && self.engine.host.is_log_behind();
        log_is_behind || self.engine.store.snapshots_are_behind() && !self.stalled.is_over
    }

    /// Lets those go on that have waited, if there is room or they have waited for too long.
    pub fn resume_stalled(&mut self, arena: &mut Arena) {
        let Some(first) = self.stalled.waiting.first() else { return };
        let now_ns = self.engine.host.monotonic_ns();
        self.stalled.is_over = now_ns.saturating_sub(first.since_ns) >= STALL_MOST_NS;
        if self.lacks_room() {
            return;
        }
        for Waiting { slot, since_ns, by_log } in std::mem::take(&mut self.stalled.waiting) {
            let Some(connection) = self.connections.at(slot) else { continue };
            connection.stalled = false;
            if !by_log {
                let stats = &self.seat.worker.stats;
                stats.snapshot_delays.add(1);
                stats.snapshot_delay_us.add(now_ns.saturating_sub(since_ns) / 1000);
            }
            self.resume(arena, slot);
        }
        self.stalled.is_over = false;
    }
}
