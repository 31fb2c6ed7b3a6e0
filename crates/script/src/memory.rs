//! The memory of all machines: every block Lua asks for is counted as what is set aside for it, and refused
//! beyond the limit. It must never depend on what Lua says of itself.

use std::alloc::{Layout, alloc, dealloc, realloc};
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base::alloc::size_class;

use crate::lua::Lua;

/// What the machines of a process share.
#[derive(Debug)]
pub struct Pool {
    /// Bytes for all machines together, and so for each; 0: no limit.
    limit: AtomicUsize,
    /// Bytes in use, by machine.
    used: Box<[AtomicUsize]>,
}

impl Pool {
    pub fn new(machines: usize, limit: usize) -> Pool {
        Pool {
            limit: AtomicUsize::new(limit),
            used: (0..machines.max(1)).map(|_| AtomicUsize::new(0)).collect(),
        }
    }

    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Bytes of all machines.
    pub fn used(&self) -> usize {
        self.used.iter().map(|used| used.load(Ordering::Relaxed)).sum()
    }

    /// Bytes that are left, one at least; 0: there is no limit.
    pub(crate) fn room(&self) -> usize {
        match self.limit() {
            0 => 0,
            limit => limit.saturating_sub(self.used()).max(1),
        }
    }

    /// Bytes that may be taken still, once there are machines; 0 if there is no limit.
    pub fn unused(&self) -> usize {
        match self.used() {
            0 => 0,
            used => self.limit().saturating_sub(used),
        }
    }

    /// Bytes of some machines.
    pub fn used_by(&self, machines: std::ops::Range<usize>) -> usize {
        self.used[machines].iter().map(|used| used.load(Ordering::Relaxed)).sum()
    }

    pub fn machines(&self) -> usize {
        self.used.len()
    }
}

/// One machine's part of the pool.
pub(crate) struct Meter {
    pool: Arc<Pool>,
    index: usize,
    used: usize,
    /// Up to here the pool need not be asked again.
    granted: usize,
    /// Nothing is refused: the collector works, and takes a little to give back much.
    lenient: bool,
    /// The state whose collector it paces, and the pace.
    lua: Option<Lua>,
    pace: Pace,
}

/// How Lua's collector works: the arguments of `Lua::set_pace`.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Pace {
    pause: c_int,
    step: c_int,
}

/// Lua's own.
const PACE: Pace = Pace { pause: 200, step: 200 };
/// The step where memory is short: ten bytes are looked at for each that is taken.
const STEP_SHORT: usize = 1000;
const STEP_MAX: usize = 1 << 28;

/// How much a machine may grow before it looks at the others again.
const GRANT: usize = 64 * 1024;

/// The collector alone would wait until a machine has twice of what it needs.
const GARBAGE_MAX: usize = 16 << 20;

impl Meter {
    pub(crate) fn new(pool: Arc<Pool>, index: usize) -> Meter {
        Meter { pool, index, used: 0, granted: 0, lenient: false, lua: None, pace: PACE }
    }

    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Bytes that what a script makes outside of Lua may have.
    pub(crate) fn text_max(&self) -> usize {
        match self.pool.limit() {
            0 => usize::MAX,
            limit => limit,
        }
    }

    /// Bytes of garbage that a machine may keep: all machines together have a quarter of the limit for it,
    /// because no machine can collect another's.
    pub(crate) fn garbage_max(&self) -> usize {
        match self.pool.limit() {
            0 => GARBAGE_MAX,
            limit => (limit / (4 * self.pool.machines())).min(GARBAGE_MAX),
        }
    }

    /// The same for a machine with so much that is in use: where the pool has room it is not looked through
    /// for each little.
    pub(crate) fn garbage_max_beside(&self, live: usize) -> usize {
        let has_room = self.pool.limit() == 0 || self.pool.room() > self.pool.limit() / 4;
        if has_room { self.garbage_max().max(live / 2) } else { self.garbage_max() }
    }

    /// Whether a machine has more garbage than the pool has room: `live` bytes were left when it was last
    /// collected.
    pub(crate) fn is_short_with(&self, live: usize) -> bool {
        let garbage = self.used.saturating_sub(live);
        garbage > GRANT && (1..garbage).contains(&self.pool.room())
    }

    /// While the collector works: Lua makes its tables smaller by making new ones.
    pub(crate) fn set_lenient(&mut self, lenient: bool) {
        self.lenient = lenient;
    }

    /// Takes bytes of the pool; false: there are not so many.
    pub(crate) fn grow(&mut self, len: usize) -> bool {
        let wanted = self.used + len;
        if wanted > self.granted && !self.lenient {
            let (limit, others) = (self.pool.limit(), self.pool.used().saturating_sub(self.used));
            if limit != 0 && others + wanted > limit {
                return false;
            }
            self.granted = wanted + GRANT;
            if limit != 0 {
                self.granted = self.granted.min(limit.saturating_sub(others)).max(wanted);
                self.keep_pace(len, wanted, limit - others - wanted);
            }
        }
        self.set_used(wanted);
        true
    }

    /// Lua collects no garbage for the sake of a block that is refused, and on its own begins when there is
    /// twice as much as it needs: where there is no room for that, when three quarters of the room are
    /// used up; an eighth of the rest then has to do for a round. And one step has to do for a block of any
    /// size.
    fn keep_pace(&mut self, len: usize, used: usize, room: usize) {
        let pause = (room.saturating_mul(75) / used).clamp(2, 100);
        let hurried = (used / (room / 800).max(1)).clamp(STEP_SHORT, STEP_MAX);
        let step = (len / 5).clamp(if pause < 100 { hurried } else { PACE.step as usize }, STEP_MAX);
        let pace = Pace { pause: 100 + pause as c_int, step: step as c_int };
        if let Some(lua) = self.lua.filter(|_| pace != self.pace) {
            lua.set_pace(pace.pause, pace.step);
            self.pace = pace;
        }
    }

    /// From now on it paces the collector of this state.
    pub(crate) fn attach(&mut self, lua: Lua) {
        self.lua = Some(lua);
    }

    pub(crate) fn shrink(&mut self, len: usize) {
        self.set_used(self.used - len);
        self.granted = self.granted.min(self.used + GRANT);
    }

    fn set_used(&mut self, used: usize) {
        self.used = used;
        self.pool.used[self.index].store(used, Ordering::Relaxed);
    }
}

/// Lua's allocator: `user` is the machine's meter.
pub(crate) unsafe extern "C" fn allocate(
    user: *mut c_void,
    block: *mut c_void,
    old_len: usize,
    new_len: usize,
) -> *mut c_void {
    // SAFETY: the machine passes its own meter, which outlives its Lua state, and no other reference to it
    // lives while Lua runs.
    let meter = unsafe { &mut *user.cast::<Meter>() };
    // No class is so large that a length of any size would be in one.
    let [old_size, new_size] = [old_len, new_len].map(|len| size_class(len).max(len));
    // SAFETY: Lua gives blocks back with the length it got them with.
    unsafe {
        if new_len == 0 {
            if !block.is_null() {
                dealloc(block.cast(), layout(old_len));
                meter.shrink(old_size);
            }
            return ptr::null_mut();
        }
        if new_size > old_size && !meter.grow(new_size - old_size) {
            return ptr::null_mut();
        }
        let fresh = match block.is_null() {
            true => alloc(layout(new_len)),
            false => realloc(block.cast(), layout(old_len), new_len),
        };
        let counted = if fresh.is_null() { new_size } else { old_size };
        let kept = if fresh.is_null() { old_size } else { new_size };
        if counted > kept {
            meter.shrink(counted - kept);
        }
        fresh.cast()
    }
}

/// Lua asks for the alignment of a double or a pointer.
fn layout(len: usize) -> Layout {
    Layout::from_size_align(len, align_of::<f64>()).expect("no block is longer than the address space")
}
