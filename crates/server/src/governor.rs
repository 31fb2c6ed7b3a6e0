//! Looks at how much memory the process has allocated and how much it occupies, and when that is too much
//! gives unused pages back and has memory defragmented, before keys pay for it. It never evicts and never
//! refuses: what it finds is in `engine.memory`.

use std::sync::atomic::Ordering;

use base::alloc;
use engine::Engine;
use engine::memory::Look;
use parking_lot::{Mutex, MutexGuard};

use crate::facts;

/// What a server without data occupies beyond what it has allocated: stacks, the allocator's own tables, the
/// program's variables. `maxmemory` leaves it out.
const FIXED: usize = 12 << 20;

/// What the kernel keeps for a connection, beside what waits in it: a control group counts it too.
const SOCKET: usize = 3 << 10;

/// Unused pages that are worth giving back.
const PURGE_LEAST: usize = 1 << 20;

/// Room is kept for scripts, which take it while nobody can make any, but no more than one of so many parts
/// of the limit.
const RESERVED_PART: usize = 16;

/// Whether unused pages go back to the system if too much is occupied.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pages {
    GiveBack,
    Keep,
}

/// One look at a time.
static LOOKING: Mutex<()> = Mutex::new(());

/// From now on so many bytes are the limit; 0 is none.
pub fn set_limit(engine: &Engine, limit: u64) {
    look_around(engine, limit, Pages::GiveBack, &LOOKING.lock());
}

/// Brings the verdict on memory up to date.
pub fn look(engine: &Engine) {
    let turn = LOOKING.lock();
    // Not before: whoever has the turn may set it.
    look_around(engine, engine.memory.limit(), Pages::GiveBack, &turn);
}

/// The same, for whoever waits for what it finds: if the timer is late, for it gets no processor.
pub fn look_if_late(engine: &Engine) {
    let Some(turn) = LOOKING.try_lock() else { return };
    if engine.memory.is_look_late(engine.host.monotonic_ns()) {
        look_around(engine, engine.memory.limit(), Pages::GiveBack, &turn);
    }
}

/// The same, for whoever has taken much memory: the timer may have to wait for a processor meanwhile.
/// Pages are not given back, which takes milliseconds. False if somebody else is looking.
pub fn look_again(engine: &Engine) -> bool {
    let turn = LOOKING.try_lock();
    if let Some(turn) = &turn {
        look_around(engine, engine.memory.limit(), Pages::Keep, turn);
    }
    turn.is_some()
}

fn look_around(engine: &Engine, limit: u64, pages: Pages, _turn: &MutexGuard<'_, ()>) {
    let mut stats = alloc::stats();
    engine.used_memory_peak.fetch_max(stats.allocated, Ordering::Relaxed);
    let mut resident = if limit > 0 { resident(engine) } else { 0 };
    let reserved = engine.scripts.pool.unused().min(limit as usize / RESERVED_PART);
    let most = limit - reserved as u64;
    let now_ns = engine.host.monotonic_ns();
    if pages == Pages::GiveBack {
        engine.memory.note_look(now_ns);
    }
    if pages == Pages::GiveBack && resident as u64 > most && stats.unused > PURGE_LEAST {
        alloc::purge();
        (stats, resident) = (alloc::stats(), self::resident(engine));
    }
    engine.defrag.hurry(resident as u64 > most);
    let unused = if stats.unused > PURGE_LEAST { stats.unused } else { 0 };
    let reclaimed = engine.host.reclaim_counts();
    let look = Look {
        allocated: stats.allocated,
        resident,
        returning: engine.defrag.gain() as usize + unused,
        waiting: reclaimed.waiting_bytes as usize,
        freed: reclaimed.freed_bytes,
        reserved,
        limit,
    };
    engine.memory.refresh(look, now_ns);
    if engine.memory.is_swollen() && engine.defrag.press(now_ns) {
        engine.host.wake_defragmenter();
    }
}

/// Bytes that the process occupies beyond the fixed ones, and what the kernel keeps for its connections.
fn resident(engine: &Engine) -> usize {
    (facts::own_bytes() as usize + engine.clients.len() * SOCKET).saturating_sub(FIXED)
}
