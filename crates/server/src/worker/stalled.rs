//! Connections whose request would add to what waits for the disk while that is as much as may wait: for the
//! snapshots' threads, or for the append-only file. They are held until some of it is on the disk, and others
//! are served meanwhile. A snapshot whose disk hangs holds nobody up for ever.

use engine::ahead::is_wide;
use engine::pipeline::may_write;
use engine::{Argv, Prepared};

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
    cause: Cause,
}

/// What a connection began to wait for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// Room for what the append-only file is to hold.
    Log,
    /// Room for what snapshots are to save.
    Room,
    /// That snapshots have saved what the request changes.
    Ahead,
}

impl Waiting {
    /// It still waits that began then; false if for something else.
    fn goes_on_from(&mut self, since_ns: u64) -> bool {
        self.since_ns = since_ns;
        self.cause == Cause::Ahead
    }
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
        let cause = if self.engine.log.is_behind() { Cause::Log } else { Cause::Room };
        if cause == Cause::Log {
            self.engine.host.note_log_delay();
        }
        self.stalled.waiting.push(Waiting { slot, since_ns: now_ns, cause });
        true
    }

    /// As `must_stall`, for what running snapshots have to save before the request may change it.
    pub fn must_save_ahead(&mut self, slot: Slot, prepared: &Prepared, argv: &Argv<'_>) -> bool {
        let Some(command) = prepared.command else { return false };
        let free = |connection: &&mut Connection| !connection.closing && !connection.holds();
        let Some(connection) = self.connections.at(slot).filter(free) else { return false };
        let session = &mut connection.session;
        if !is_wide(session, command, argv) {
            return false;
        }
        if self.stalled.is_over || self.engine.scripts.running.is_busy() {
            session.ahead = None;
            return false;
        }
        let now_ns = self.engine.host.monotonic_ns();
        if self.engine.save_ahead(session, command, argv, now_ns) {
            return false;
        }
        connection.stalled = true;
        self.stalled.waiting.push(Waiting { slot, since_ns: now_ns, cause: Cause::Ahead });
        true
    }

    /// Whether those that write have to wait.
    fn lacks_room(&self) -> bool {
        let log_is_behind = self.engine.log.is_behind() && self.engine.host.is_log_behind();
        log_is_behind || self.engine.store.snapshots_are_behind() && !self.stalled.is_over
    }

    /// Lets those go on that have waited, if there is room or they have waited for too long.
    pub fn resume_stalled(&mut self, arena: &mut Arena) {
        if self.stalled.is_empty() {
            return;
        }
        let now_ns = self.engine.host.monotonic_ns();
        let first = self.stalled.waiting.iter().find(|waiting| waiting.cause != Cause::Ahead);
        self.stalled.is_over =
            first.is_some_and(|first| now_ns.saturating_sub(first.since_ns) >= STALL_MOST_NS);
        if self.lacks_room() {
            return;
        }
        for Waiting { slot, since_ns, cause } in std::mem::take(&mut self.stalled.waiting) {
            let Some(connection) = self.connections.at(slot) else { continue };
            connection.stalled = false;
            self.resume(arena, slot);
            let again = self.stalled.waiting.last_mut().filter(|again| again.slot == slot);
            if cause == Cause::Ahead && again.is_some_and(|again| again.goes_on_from(since_ns)) {
                continue;
            }
            if cause != Cause::Log {
                let stats = &self.seat.worker.stats;
                stats.snapshot_delays.add(1);
                stats.snapshot_delay_us.add(now_ns.saturating_sub(since_ns) / 1000);
            }
        }
        self.stalled.is_over = false;
    }
}
