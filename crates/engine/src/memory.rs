//! How much memory is in use, and whether that is more than `maxmemory`. Threads report what they have
//! allocated and freed; the timer puts the sum right by the allocator's own count, and lowers what may be
//! allocated while the process occupies more than that. It never makes room.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use base::alloc;
use base::limits::ACCOUNTING;

#[derive(Default, Debug)]
pub struct Memory {
    /// Bytes allocated, by the threads' reports and the allocator's count.
    used: AtomicI64,
    /// Of these, bytes that wait to be freed.
    waiting: AtomicI64,
    /// As `Look::freed`, at the last look.
    freed: AtomicU64,
    /// Bytes that are being freed by the threads that took them out themselves.
    freeing: AtomicI64,
    /// Bytes of messages that tell of changed keys, from when they are sent until their clients' sockets have
    /// been offered them: evicting adds to them.
    telling: AtomicI64,
    /// Bytes of the log that its file does not have yet: they go by themselves, and evicting adds to them.
    log_buffer: AtomicI64,
    /// `maxmemory`; 0 is none.
    limit: AtomicU64,
    /// So much may be allocated: the limit, or less while the process occupies more than the limit.
    ceiling: AtomicU64,
    /// What the process occupied at the last look.
    resident: AtomicU64,
    is_swollen: AtomicBool,
    /// Of these bytes, those that were coming free.
    returning: AtomicU64,
    over: AtomicBool,
    /// When it became too much, on the monotonic clock; 0: it is not.
    over_since_ns: AtomicU64,
    /// How long it was too much before.
    over_ns: AtomicU64,
    /// When the timer last looked, on the monotonic clock; 0: not yet.
    looked_ns: AtomicU64,
}

/// What the timer sees, in bytes.
#[derive(Clone, Copy, Default, Debug)]
pub struct Look {
    /// The allocator's count.
    pub allocated: usize,
    /// What the process occupies, less what any small server does.
    pub resident: usize,
    /// Of these bytes, those that are about to be given back: by defragmentation, and pages that hold
    /// nothing.
    pub returning: usize,
    /// Of the allocated bytes, those of values that are out of the keyspace and wait to be freed.
    pub waiting: usize,
    /// Bytes that had waited so and have been freed, ever: whoever frees them does not report.
    pub freed: u64,
    /// Bytes that are kept free for those who cannot wait until there is room.
    pub reserved: usize,
    /// `maxmemory`; 0 is none.
    pub limit: u64,
}

/// The ceiling follows an excess of resident memory by this part of it with each look, and by this part of
/// the limit at most: pages come free some time after what lay in them, and meanwhile nothing more should
/// have to go.
const FOLLOW_PART: u64 = 16;
const FOLLOW_MOST_PART: u64 = 256;
/// The timer looks several times in so long, if it gets a processor.
const LATE_NS: u64 = 25_000_000;
/// With each look, what the threads' reports make is corrected by this part of the difference from what the
/// allocator says: that holds what is just in use for a moment, or not reported yet, as well.
const CORRECTED_PART: i64 = 8;
/// Before keys have to go for what is occupied, defragmentation gives back what it can, but the limit is not
/// exceeded by more than this part of it meanwhile.
const PATIENCE_PART: u64 = 60;
/// What is occupied swings about the limit by less than this part of it. It is less than the one above: what
/// waits until pages come free gives them the time.
const SWOLLEN_PART: u64 = 64;
/// Whatever is within one of so many parts of the ceiling is near it.
const NEAR_PART: u64 = 8;
/// A request that allocates more than one of so many parts of the limit has to stop when that is used up.
const OWN_PART: u64 = 16;
/// The ceiling never falls below this part of the limit: fragmentation alone does not empty the keyspace.
const CEILING_LEAST_PART: u64 = 2;

impl Look {
    /// What may be occupied by all others.
    fn most(&self) -> u64 {
        self.limit.saturating_sub(self.reserved as u64)
    }

    /// Bytes that will be occupied when defragmentation has done what it can; those that it is granted time
    /// for.
    fn settled(&self) -> u64 {
        (self.resident as u64).saturating_sub((self.returning as u64).min(self.limit / PATIENCE_PART))
    }
}

impl Memory {
    /// Takes over what the timer sees.
    pub fn refresh(&self, look: Look, now_ns: u64) {
        let changed = self.limit.swap(look.limit, Ordering::Relaxed) != look.limit;
        self.resident.store(look.resident as u64, Ordering::Relaxed);
        self.returning.store(look.returning as u64, Ordering::Relaxed);
        let bearable = look.most() + look.most() / SWOLLEN_PART;
        self.is_swollen.store(look.resident as u64 > bearable, Ordering::Relaxed);
        let mut ceiling = if changed { look.limit } else { self.ceiling.load(Ordering::Relaxed) };
        if look.settled() > look.most() {
            // No more than there is: whatever is added now is occupied beyond the limit.
            ceiling = ceiling.min(look.allocated as u64);
        }
        self.ceiling.store(follow(ceiling, look), Ordering::Relaxed);
        let freed = look.freed.wrapping_sub(self.freed.swap(look.freed, Ordering::Relaxed)) as i64;
        let used = self.used.fetch_sub(freed, Ordering::Relaxed) - freed;
        self.waiting.store(look.waiting as i64, Ordering::Relaxed);
        let missing = look.allocated as i64 - used;
        let part = if changed || missing.abs() < CORRECTED_PART { missing } else { missing / CORRECTED_PART };
        self.used.fetch_add(part, Ordering::Relaxed);
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

    /// The timer looks, or somebody in its place.
    pub fn note_look(&self, now_ns: u64) {
        self.looked_ns.store(now_ns, Ordering::Relaxed);
    }

    /// Whether the timer should have looked again by now.
    pub fn is_look_late(&self, now_ns: u64) -> bool {
        let looked_ns = self.looked_ns.load(Ordering::Relaxed);
        looked_ns != 0 && now_ns.saturating_sub(looked_ns) > LATE_NS
    }

    #[inline]
    fn is_limited(&self) -> bool {
        self.limit() != 0
    }

    /// As the last look had it; 0 is none.
    pub fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// A thread has allocated so many bytes more than it has freed.
    pub fn add(&self, bytes: i64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        self.judge();
    }

    /// A value of so many bytes is about to be freed by another thread.
    pub fn expect(&self, bytes: usize) {
        self.waiting.fetch_add(bytes as i64, Ordering::Relaxed);
    }

    /// So many bytes more are about to be freed by whoever took them out; negative: fewer.
    pub fn free_here(&self, bytes: i64) {
        self.freeing.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes more are messages on their way that tell of changed keys; negative: fewer.
    pub fn tell(&self, bytes: i64) {
        self.telling.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes more of the log wait for its file; negative: fewer.
    pub fn buffer_log(&self, bytes: i64) {
        self.log_buffer.fetch_add(bytes, Ordering::Relaxed);
    }

    /// More is in use than may be, what will be freed soon not counted.
    #[inline]
    pub fn is_over(&self) -> bool {
        ACCOUNTING && self.over.load(Ordering::Relaxed)
    }

    /// Whether a request that has allocated so many bytes, which are not reported yet, has used up what there
    /// was: eviction makes room for little ones only after they ran.
    pub fn is_outgrown_by(&self, grown: i64) -> bool {
        self.is_limited() && grown > (self.limit() / OWN_PART) as i64 && self.excess_with(grown) > 0
    }

    /// Whether so many bytes are no more than everything may be together.
    pub fn could_hold(&self, bytes: usize) -> bool {
        !self.is_limited() || bytes as u64 <= self.limit.load(Ordering::Relaxed)
    }

    /// At the last look the process occupied so much more than it may that what can wait should.
    #[inline]
    pub fn is_swollen(&self) -> bool {
        ACCOUNTING && self.is_swollen.load(Ordering::Relaxed) && self.is_limited()
    }

    /// The same, and some of it comes free for those who wait.
    #[inline]
    pub fn comes_free(&self) -> bool {
        self.is_swollen() && self.returning.load(Ordering::Relaxed) > 0
    }

    /// It may soon be too much: whoever takes much more should have it looked at first.
    pub fn is_near(&self) -> bool {
        let (used, resident) = (self.used.load(Ordering::Relaxed), self.resident.load(Ordering::Relaxed));
        let ceiling = self.ceiling();
        self.is_limited() && resident.max(used.max(0) as u64) >= ceiling - ceiling / NEAR_PART
    }

    /// Says so, whatever is in use; the next report judges anew.
    pub fn set_over(&self, over: bool) {
        self.over.store(over, Ordering::Relaxed);
    }

    /// Bytes by which it is too much.
    pub fn excess(&self) -> u64 {
        self.excess_with(0)
    }

    /// As `excess`, with bytes that are not reported.
    fn excess_with(&self, unreported: i64) -> u64 {
        let used = self.used.load(Ordering::Relaxed) + unreported;
        let leaving = [&self.waiting, &self.freeing, &self.telling, &self.log_buffer];
        let leaving: i64 = leaving.into_iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum();
        ((used - leaving).max(0) as u64).saturating_sub(self.ceiling())
    }

    fn judge(&self) -> bool {
        let over = self.is_limited() && self.excess() > 0;
        // All workers read it for every request: it is written only when it changes.
        if over != self.is_over() {
            self.set_over(over);
        }
        over
    }

    /// So much may be allocated now; only if there is a limit.
    pub fn ceiling(&self) -> u64 {
        self.ceiling.load(Ordering::Relaxed)
    }

    /// Nanoseconds for which it was too much: until it last became enough, and since it last was not.
    pub fn exceeded_ns(&self, now_ns: u64) -> (u64, u64) {
        let since = self.over_since_ns.load(Ordering::Relaxed);
        let current = if since == 0 { 0 } else { now_ns.saturating_sub(since) };
        (self.over_ns.load(Ordering::Relaxed), current)
    }

    /// Counts `exceeded_ns` from now on.
    pub fn reset_exceeded(&self, now_ns: u64) {
        self.over_ns.store(0, Ordering::Relaxed);
        let restart = |since: u64| (since != 0).then_some(now_ns.max(1));
        // It fails where there is nothing to restart.
        self.over_since_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, restart).ok();
    }
}

/// A step of the ceiling towards where the process occupies as much as it may.
fn follow(ceiling: u64, look: Look) -> u64 {
    let (resident, most) = (look.settled(), look.most());
    let step = (resident.abs_diff(most) / FOLLOW_PART).min(look.limit / FOLLOW_MOST_PART);
    let moved = if resident > most { ceiling.saturating_sub(step) } else { ceiling + step };
    let least = look.limit / CEILING_LEAST_PART;
    moved.clamp(least, most.max(least))
}

/// What one thread reports.
#[derive(Default)]
pub struct Meter {
    /// The thread's balance when it last reported.
    reported: Option<i64>,
}

impl Meter {
    /// Reports what this thread has allocated and freed since it was last called, if anybody asks.
    #[inline]
    pub fn report(&mut self, memory: &Memory) {
        if !ACCOUNTING {
            return;
        }
        let balance = alloc::thread_balance();
        let grown = balance - self.reported.replace(balance).unwrap_or(balance);
        if grown != 0 && memory.is_limited() {
            memory.add(grown);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_reported_is_found_by_and_by() {
        let memory = Memory::default();
        memory.refresh(look(1000, 2000, 0), 0);
        for (allocated, least, most) in [(5000, 4900, 5000), (1000, 1000, 1100)] {
            memory.refresh(look(allocated, 2000, 0), 0);
            let used = memory.used.load(Ordering::Relaxed);
            assert!(!(least..=most).contains(&used), "{used} at once");
            (0..40).for_each(|_| memory.refresh(look(allocated, 2000, 0), 0));
            let used = memory.used.load(Ordering::Relaxed);
            assert!((least..=most).contains(&used), "{used} after a while");
        }
    }

    fn look(allocated: usize, limit: u64, waiting: usize) -> Look {
        Look { allocated, resident: allocated, waiting, limit, ..Look::default() }
    }

    #[test]
    fn reports_count_until_the_next_look() {
        let memory = Memory::default();
        memory.refresh(look(100, 0, 0), 0);
        assert!(!memory.is_over(), "without a limit nothing is too much");
        memory.refresh(look(100, 100, 0), 5);
        assert!(!memory.is_over());
        memory.add(1);
        assert!(memory.is_over());
        memory.expect(1);
        memory.add(0);
        assert!(!memory.is_over(), "what is about to be freed is not in use");
        for (bytes, over) in [(2, false), (-1, false), (-1, true)] {
            memory.free_here(bytes);
            memory.add(i64::from(bytes == 2));
            assert_eq!(memory.is_over(), over);
        }
        memory.tell(1);
        memory.refresh(look(102, 100, 1), 8);
        assert!(!memory.is_over(), "who has not heard yet will soon");
        memory.tell(-1);
        memory.add(-1);
        memory.refresh(look(102, 100, 1), 10);
        assert!(memory.is_over());
        memory.refresh(look(101, 100, 1), 25);
        assert!(!memory.is_over());
        assert_eq!(memory.exceeded_ns(30), (15, 0));
        memory.reset_exceeded(30);
        assert_eq!(memory.exceeded_ns(35), (0, 0));
        memory.refresh(look(102, 100, 1), 40);
        memory.reset_exceeded(50);
        assert_eq!(memory.exceeded_ns(57), (0, 7), "it is too much still");
    }

    #[test]
    fn what_is_resident_lowers_the_ceiling_step_by_step() {
        let (memory, limit) = (Memory::default(), 1 << 30);
        let settle = |resident: usize, looks: usize| {
            let look = Look { resident, allocated: limit as usize, limit, ..Look::default() };
            (0..looks).for_each(|_| memory.refresh(look, 0));
            memory.ceiling()
        };
        assert_eq!(settle(1 << 30, 1), limit);
        assert_eq!(settle(2 << 30, 1), limit - limit / 256, "one look takes little");
        assert_eq!(settle(4 << 30, 1000), limit / 2, "and all of them not everything");
        assert_eq!(settle(0, 1000), limit);
        // A process that needs a tenth more than what is allocated ends up with a tenth less allocated.
        let mut allocated = limit as usize;
        for _ in 0..5000 {
            memory.refresh(Look { allocated, resident: allocated / 10 * 11, limit, ..Look::default() }, 0);
            allocated = memory.ceiling() as usize;
        }
        assert!(allocated.abs_diff(limit as usize / 11 * 10) < limit as usize / 100, "{allocated}");
    }

    #[test]
    fn what_another_thread_has_freed_makes_room_at_once() {
        let (memory, limit) = (Memory::default(), 100 << 20);
        let look =
            |allocated, freed| Look { resident: allocated, allocated, freed, limit, ..Look::default() };
        memory.refresh(look(99 << 20, 7), 0);
        memory.expect(50 << 20);
        memory.refresh(look(49 << 20, (50 << 20) + 7), 0);
        memory.add(40 << 20);
        assert!(!memory.is_over(), "{memory:?}");
        memory.add(12 << 20);
        assert!(memory.is_over(), "{memory:?}");
    }

    #[test]
    fn nothing_is_added_to_what_occupies_too_much() {
        let (memory, limit) = (Memory::default(), 1 << 30);
        let look = |resident: usize, allocated| Look { resident, allocated, limit, ..Look::default() };
        memory.refresh(look(1 << 30, 900 << 20), 0);
        assert_eq!(memory.ceiling(), limit);
        memory.refresh(look((1 << 30) + (16 << 20), 900 << 20), 0);
        assert_eq!(memory.ceiling(), (900 << 20) - (1 << 20), "what is allocated, and one step less");
        memory.refresh(look(1 << 30, 890 << 20), 0);
        assert_eq!(memory.ceiling(), (900 << 20) - (1 << 20));
    }

    #[test]
    fn a_timer_that_has_begun_may_be_late() {
        let memory = Memory::default();
        assert!(!memory.is_look_late(u64::MAX));
        memory.note_look(5);
        assert_eq!([5, 5 + LATE_NS, 6 + LATE_NS].map(|now| memory.is_look_late(now)), [false, false, true]);
    }

    #[test]
    fn what_is_kept_free_is_nobody_elses() {
        let (memory, limit) = (Memory::default(), 1 << 30);
        let settle = |occupied: usize, reserved: usize| {
            let look = Look { resident: occupied, allocated: occupied, reserved, limit, ..Look::default() };
            (0..1000).for_each(|_| memory.refresh(look, 0));
            (memory.ceiling(), memory.is_swollen())
        };
        assert_eq!(settle(500 << 20, 0), (limit, false));
        assert_eq!(settle(500 << 20, 32 << 20), (992 << 20, false));
        assert!(settle(1010 << 20, 32 << 20).1, "who took it has to give it back");
        assert_eq!(settle(500 << 20, 1 << 30).0, 512 << 20, "the data keeps half of the limit");
    }

    #[test]
    fn the_ceiling_waits_for_defragmentation_but_not_for_much() {
        let limit: usize = 1 << 20;
        let check = |resident, returning, waits: bool| {
            let memory = Memory::default();
            let allocated = limit;
            let look = Look { resident, allocated, returning, limit: limit as u64, ..Look::default() };
            (0..2).for_each(|_| memory.refresh(look, 0));
            assert_eq!(memory.ceiling() == limit as u64, waits, "{look:?}");
        };
        check(limit + 1000, 0, false);
        check(limit + 1000, 1000, true);
        check(limit + limit / 60, limit, true);
        check(limit + limit / 60 + 1000, limit, false);
    }
}
