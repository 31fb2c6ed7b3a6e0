//! How much memory is in use, and whether that is more than `maxmemory`. Threads report what they have
//! allocated and freed; the timer puts the sum right by the allocator's own count. It never makes room.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use base::alloc;

#[derive(Default, Debug)]
pub struct Memory {
    /// Bytes allocated: the allocator's count at the timer's last look, and what was reported since.
    used: AtomicI64,
    /// Of these, bytes of values that were evicted and wait to be freed.
    owed: AtomicI64,
    /// `maxmemory`; 0 is none.
    limit: AtomicU64,
    over: AtomicBool,
    /// When it became too much, on the monotonic clock; 0: it is not.
    over_since_ns: AtomicU64,
    /// How long it was too much before.
    over_ns: AtomicU64,
}

impl Memory {
    /// The allocator's count; `freeing` says whether evicted values still wait to be freed.
    pub fn refresh(&self, allocated: usize, limit: u64, freeing: bool, now_ns: u64) {
        self.limit.store(limit, Ordering::Relaxed);
        if !freeing {
            self.owed.store(0, Ordering::Relaxed);
        }
        self.used.store(allocated as i64, Ordering::Relaxed);
        let over = self.judge();
        match (over, self.over_since_ns.load(Ordering::Relaxed)) {
            (true, 0) => self.over_since_ns.store(now_ns.max(1), Ordering::Relaxed),
            (false, since) if since != 0 => {
                self.over_since_ns.store(0, Ordering::Relaxed);
                self.over_ns.fetch_add(now_ns.saturating_sub(since), Ordering::Relaxed);
            }
            _ => {}
        }
    }

    #[inline]
    fn is_limited(&self) -> bool {
        self.limit.load(Ordering::Relaxed) != 0
    }

    /// A thread has allocated so many bytes more than it has freed.
    pub fn add(&self, bytes: i64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        self.judge();
    }

    /// A value of so many bytes was evicted and will be freed by another thread.
    pub fn owe(&self, bytes: usize) {
        self.owed.fetch_add(bytes as i64, Ordering::Relaxed);
    }

    /// More than `maxmemory` is in use, what will be freed soon not counted.
    #[inline]
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Says so, whatever is in use; the next report judges anew.
    pub fn set_over(&self, over: bool) {
        self.over.store(over, Ordering::Relaxed);
    }

    fn judge(&self) -> bool {
        let (used, owed) = (self.used.load(Ordering::Relaxed), self.owed.load(Ordering::Relaxed));
        let limit = self.limit.load(Ordering::Relaxed);
        let over = limit != 0 && (used - owed).max(0) as u64 > limit;
        self.over.store(over, Ordering::Relaxed);
        over
    }

    /// Nanoseconds for which it was too much: until it last became enough, and since it last was not.
    pub fn exceeded_ns(&self, now_ns: u64) -> (u64, u64) {
        let since = self.over_since_ns.load(Ordering::Relaxed);
        let current = if since == 0 { 0 } else { now_ns.saturating_sub(since) };
        (self.over_ns.load(Ordering::Relaxed), current)
    }
}

/// What one thread reports.
#[derive(Default)]
pub struct Meter {
    reported: i64,
}

impl Meter {
    /// Reports what this thread has allocated and freed since it was last called, if anybody asks.
    #[inline]
    pub fn report(&mut self, memory: &Memory) {
        let balance = alloc::thread_balance();
        let grown = balance - std::mem::replace(&mut self.reported, balance);
        if grown != 0 && memory.is_limited() {
            memory.add(grown);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_count_until_the_next_look() {
        let memory = Memory::default();
        memory.refresh(100, 0, false, 0);
        assert!(!memory.is_over(), "without a limit nothing is too much");
        memory.refresh(100, 100, false, 5);
        assert!(!memory.is_over());
        memory.add(1);
        assert!(memory.is_over());
        memory.owe(1);
        memory.add(0);
        assert!(!memory.is_over(), "what is about to be freed is not in use");
        memory.refresh(102, 100, true, 10);
        assert!(memory.is_over());
        memory.refresh(100, 100, false, 25);
        assert!(!memory.is_over());
        assert_eq!(memory.exceeded_ns(30), (15, 0));
    }

    #[test]
    fn a_thread_reports_what_it_holds() {
        let (memory, mut meter) = (Memory::default(), Meter::default());
        memory.refresh(0, 1 << 30, false, 0);
        meter.report(&memory);
        let before = memory.used.load(Ordering::Relaxed);
        let block = vec![1u8; 1 << 20];
        meter.report(&memory);
        let held = memory.used.load(Ordering::Relaxed);
        drop(block);
        meter.report(&memory);
        let freed = memory.used.load(Ordering::Relaxed);
        // The standard library's allocator stands in for ours in some builds of the tests.
        if held != before {
            assert!((1 << 20..2 << 20).contains(&(held - before)));
            assert!((freed - before).abs() < 1 << 16);
        }
    }
}
