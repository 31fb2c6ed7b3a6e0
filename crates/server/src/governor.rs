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

/// Unused pages that are worth giving back.
const PURGE_LEAST: usize = 1 << 20;

/// One look at a time.
static LOOKING: Mutex<()> = Mutex::new(());

/// From now on so many bytes are the limit; 0 is none.
pub fn set_limit(engine: &Engine, limit: u64) {
    look_around(engine, limit, &LOOKING.lock());
}

/// Brings the verdict on memory up to date.
pub fn look(engine: &Engine) {
    let turn = LOOKING.lock();
    look_around(engine, engine.memory.limit(), &turn);
}

/// The same, for whoever has taken much memory: the timer may have to wait for a processor meanwhile.
/// Somebody else's look will do.
pub fn look_again(engine: &Engine) {
    if let Some(turn) = LOOKING.try_lock() {
        look_around(engine, engine.memory.limit(), &turn);
    }
}

fn look_around(engine: &Engine, limit: u64, _turn: &MutexGuard<'_, ()>) {
    let mut stats = alloc::stats();
    engine.used_memory_peak.fetch_max(stats.allocated, Ordering::Relaxed);
    let mut resident = if limit > 0 { resident() } else { 0 };
    if resident as u64 > limit && stats.resident.saturating_sub(stats.active) > PURGE_LEAST {
        alloc::purge();
        (stats, resident) = (alloc::stats(), self::resident());
    }
    engine.defrag.hurry(resident as u64 > limit);
    let look = Look {
        allocated: stats.allocated,
        resident,
        returning: engine.defrag.gain() as usize,
        waiting: engine.host.reclaim_counts().waiting_bytes as usize,
        limit,
    };
    engine.memory.refresh(look, engine.host.monotonic_ns());
}

/// Bytes that the process occupies beyond the fixed ones.
fn resident() -> usize {
    (facts::own_bytes() as usize).saturating_sub(FIXED)
}
