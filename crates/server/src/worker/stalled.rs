//! Connections whose request would add to what there is too much of: what waits for the disk, for the
//! snapshots' threads or for the append-only file; and what the process occupies, while pages come free. They
//! are held until it is less, and others are served meanwhile. Neither a snapshot whose disk hangs nor pages
//! that stay hold anybody up for ever.

use engine::admit::needs_memory;
use engine::ahead::is_wide;
use engine::pipeline::{is_script, may_write};
use engine::registry::Registered;
use engine::{Argv, Engine, Prepared, Session};

use super::Worker;
use super::intake::Arena;
use crate::conn::{Connection, Slot};
use crate::governor;

/// How long snapshots hold them, at most: counted from the first of them.
const STALL_MOST_NS: u64 = 5_000_000_000;

/// How long pages do, counted in the same way: some times as long as defragmentation needs for what one look
/// at memory can find too much. Pages that stay for so long hold nobody up for as long again.
const PAGES_MOST_NS: u64 = 200_000_000;

/// How often a worker looks whether there is room.
pub const STALL_MS: i64 = 1;

#[derive(Default)]
pub struct Stalled {
    waiting: Vec<Waiting>,
    /// They have waited for as long as may be: in this tick nobody waits for snapshots.
    is_over: bool,
    /// Until then nobody waits for pages, on the monotonic clock.
    pages_stay_until_ns: u64,
    /// There is more to do for them at once.
    pub goes_on: bool,
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
    /// That unused pages go back to the system.
    Pages,
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

    /// Whether the first with such a cause has waited for so long.
    fn first_has_waited(&self, causes: &[Cause], most_ns: u64, now_ns: u64) -> bool {
        let first = self.waiting.iter().find(|waiting| causes.contains(&waiting.cause));
        first.is_some_and(|first| now_ns.saturating_sub(first.since_ns) >= most_ns)
    }
}

impl Worker {
    /// Whether there is anything that a request may have to wait for: asked before each of them.
    #[inline]
    pub fn may_stall(&self) -> bool {
        let Engine { store, log, memory, .. } = &*self.engine;
        store.snapshots_run() || log.is_behind() || memory.comes_free()
    }

    /// Whether a request waits: then its connection is among those that do.
    #[inline(never)]
    pub fn must_stall(&mut self, slot: Slot, prepared: &Prepared, argv: &Argv<'_>) -> bool {
        let Engine { store, log, memory, .. } = &*self.engine;
        let is_short = store.snapshots_are_behind() || log.is_behind() || memory.comes_free();
        if is_short && self.must_wait_for_room(slot, prepared) {
            return true;
        }
        self.engine.store.snapshots_run() && self.must_save_ahead(slot, prepared, argv)
    }

    /// As `must_stall`, for room of any kind. Within a script nobody waits: what makes room may wait for the
    /// script.
    #[cold]
    fn must_wait_for_room(&mut self, slot: Slot, prepared: &Prepared) -> bool {
        let now_ns = self.engine.host.monotonic_ns();
        let (lacks_room, lacks_pages) = (self.lacks_room(), self.lacks_pages(now_ns));
        let Some(command) = prepared.command.filter(|_| !self.engine.scripts.running.is_busy()) else {
            return false;
        };
        let free = |connection: &&mut Connection| !connection.closing && !connection.holds();
        let Some(connection) = self.connections.at(slot).filter(free) else { return false };
        let cause = if lacks_room && may_write(command) {
            if self.engine.log.is_behind() { Cause::Log } else { Cause::Room }
        } else if lacks_pages && may_need_memory(&connection.session, command) {
            Cause::Pages
        } else {
            return false;
        };
        connection.stalled = true;
        if cause == Cause::Log {
            self.engine.host.note_log_delay();
        }
        self.stalled.waiting.push(Waiting { slot, since_ns: now_ns, cause });
        true
    }

    /// As `must_stall`, for what running snapshots have to save before the request may change it.
    fn must_save_ahead(&mut self, slot: Slot, prepared: &Prepared, argv: &Argv<'_>) -> bool {
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

    /// Whether those that need memory have to.
    fn lacks_pages(&self, now_ns: u64) -> bool {
        self.engine.memory.comes_free() && now_ns >= self.stalled.pages_stay_until_ns
    }

    /// Lets those go on that have waited, if there is room or they have waited for too long: in turn, and no
    /// more of them than a round has time for.
    pub fn resume_stalled(&mut self, arena: &mut Arena) {
        self.stalled.goes_on = false;
        if self.stalled.is_empty() {
            return;
        }
        let now_ns = self.engine.host.monotonic_ns();
        self.stalled.is_over =
            self.stalled.first_has_waited(&[Cause::Log, Cause::Room], STALL_MOST_NS, now_ns);
        if self.stalled.first_has_waited(&[Cause::Pages], PAGES_MOST_NS, now_ns) {
            self.stalled.pages_stay_until_ns = now_ns + PAGES_MOST_NS;
        }
        let (lacks_room, lacks_pages) = (self.lacks_room(), self.lacks_pages(now_ns));
        let lacks = |cause| if cause == Cause::Pages { lacks_pages } else { lacks_room };
        let mut is_long = false;
        for waiting in std::mem::take(&mut self.stalled.waiting) {
            let may_go_on = !lacks(waiting.cause);
            if may_go_on && !is_long {
                self.end_wait(arena, waiting, now_ns);
                is_long = self.round_became_long();
            } else {
                self.stalled.goes_on |= may_go_on;
                self.stalled.waiting.push(waiting);
            }
        }
        self.stalled.is_over = false;
        self.help_pages();
    }

    /// Whose clients wait for pages makes them free, a slice in each tick; as for memory it evicts.
    fn help_pages(&mut self) {
        if self.stalled.waiting.iter().any(|waiting| waiting.cause == Cause::Pages) {
            governor::look_if_late(&self.engine);
            self.stalled.goes_on |= self.engine.defrag.help(&self.engine);
        }
    }

    fn end_wait(&mut self, arena: &mut Arena, waiting: Waiting, now_ns: u64) {
        let Waiting { slot, since_ns, cause } = waiting;
        // It may have ended since.
        let waits = |connection: &&mut Connection| connection.stalled;
        let Some(connection) = self.connections.at(slot).filter(waits) else { return };
        connection.stalled = false;
        self.resume(arena, slot);
        let again = self.stalled.waiting.last_mut().filter(|again| again.slot == slot);
        if cause == Cause::Ahead && again.is_some_and(|again| again.goes_on_from(since_ns)) {
            return;
        }
        let stats = &self.seat.worker.stats;
        let (delays, delay_us) = match cause {
            Cause::Log => return,
            Cause::Pages => (&stats.page_delays, &stats.page_delay_us),
            Cause::Room | Cause::Ahead => (&stats.snapshot_delays, &stats.snapshot_delay_us),
        };
        delays.add(1);
        delay_us.add(now_ns.saturating_sub(since_ns) / 1000);
    }
}

/// Whether a request may take memory: itself, or by a script that may write.
fn may_need_memory(session: &Session, command: &'static Registered) -> bool {
    let writes = may_write(command) || session.in_multi();
    needs_memory(session, command) || writes && is_script(command, session)
}
