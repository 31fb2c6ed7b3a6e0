//! When memory is defragmented and how much of the time that takes: from how much of it is wasted in slabs
//! that are not full, and less while workers are busy. It looks at what is allocated; whether that is too
//! much others tell it.
//!
//! Work is done in slices; between two steps of a slice, each a few microseconds under one shard's lock, and
//! between two slices nothing is locked. One thread calls [`Defrag::tend`] for ever; whose clients wait for
//! memory calls [`Defrag::help`].

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use base::defrag::Mover;
use base::{alloc, recall};
use parking_lot::Mutex;
use store::defrag::DefragCursor;

use crate::config::Config;
use crate::engine::Engine;

#[derive(Default)]
pub struct Defrag {
    work: Mutex<Work>,
    /// Per cent of one processor's time that it takes now; 0: it rests.
    percent: AtomicU64,
    /// Less memory should be occupied.
    hurried: AtomicBool,
    /// Until then it is in more of a hurry, on the monotonic clock; and until then others do the work.
    pressed_until_ns: AtomicU64,
    helped_until_ns: AtomicU64,
    /// Bytes that may come free by what it does now.
    gain: AtomicU64,
    counts: Counts,
    /// Nanoseconds in which it did not rest, before; and when it began, on the monotonic clock.
    active_ns: AtomicU64,
    since_ns: AtomicU64,
}

/// Since the statistics began.
#[derive(Default)]
struct Counts {
    moved: AtomicU64,
    stayed: AtomicU64,
    moved_keys: AtomicU64,
    stayed_keys: AtomicU64,
}

#[derive(Default)]
struct Work {
    mover: Mover,
    cursor: DefragCursor,
    /// Where what moves is to go.
    arena: Option<u32>,
    /// The keys of this round are done; and so many scripts are.
    keys_done: bool,
    scripts_done: usize,
    /// The configuration that it goes by.
    config_version: u64,
    load: Load,
    /// Per cent of the time to be taken, were the workers at rest.
    wanted: u64,
    /// When its share of the time has paid for the processor time that it took.
    due_ns: u64,
    /// When the slabs were looked at last; bytes that were free in sparse ones, and bytes in use.
    looked_ns: Option<u64>,
    /// When it was found last how much there is to do.
    judged_ns: Option<u64>,
    wasted: usize,
    used: usize,
    round: Round,
    /// The least that was wasted at any look in this round: that it could win, and what others freed behind
    /// its back it could not.
    least: usize,
    /// It rests until then: rounds moved too little.
    resting_ns: u64,
    /// For how long the next rest will be.
    rest_ns: u64,
    /// Bytes in sparse slabs when the rest began: what it could not win.
    left: usize,
}

/// How much the busiest worker has to do.
#[derive(Default)]
struct Load {
    looked_ns: u64,
    /// How long each worker has worked until then.
    worked_ns: Vec<u64>,
    /// Per cent of the time.
    percent: u64,
}

/// What a round has done so far.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Round {
    moved: u64,
    stayed: u64,
}

/// What INFO shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Figures {
    pub percent: u64,
    pub moved: u64,
    pub stayed: u64,
    pub moved_keys: u64,
    pub stayed_keys: u64,
    pub active_ms: u64,
    /// Since it began, if it goes on.
    pub current_ms: u64,
}

impl Defrag {
    /// Does a slice if one is due, and says for how many nanoseconds there is nothing to do. One thread calls
    /// it again and again, and has no cache of the allocator's.
    pub fn tend(&self, engine: &Engine) -> u64 {
        let now = engine.host.monotonic_ns();
        if self.is_helped(now) {
            return PRESSED_NS;
        }
        let mut work = self.work.lock();
        if self.is_due(&mut work, engine, now) {
            work.arena.map(alloc::join_arena);
        }
        let before = engine.host.processor_ns();
        let percent = self.go_on(&mut work, engine, now, Patience::Waits);
        if percent == 0 {
            return IDLE_NS;
        }
        work.pay(engine.host.processor_ns() - before, percent, now);
        work.due_ns.saturating_sub(engine.host.monotonic_ns())
    }

    /// Does a slice for clients that wait for what comes free, by a thread that waits for nobody else: then
    /// that does not depend on when the one that tends gets a processor. False if there was nothing to do, or
    /// somebody else has what it takes.
    pub fn help(&self, engine: &Engine) -> bool {
        let Some(mut work) = self.work.try_lock() else { return false };
        let now = engine.host.monotonic_ns();
        self.helped_until_ns.store(now + PRESSED_NS, Ordering::Relaxed);
        self.press(now);
        self.is_due(&mut work, engine, now);
        let (before, _as_one_that_moves) = (Round::of(&work.mover), alloc::CacheOff::begin(work.arena));
        self.go_on(&mut work, engine, now, Patience::None);
        Round::of(&work.mover) != before
    }

    /// Whether somebody has helped a moment ago.
    pub fn is_helped(&self, now_ns: u64) -> bool {
        now_ns < self.helped_until_ns.load(Ordering::Relaxed)
    }

    /// Looks whether there is something to do, if the last time is long ago; true if that is so.
    fn is_due(&self, work: &mut Work, engine: &Engine, now: u64) -> bool {
        let (config, haste) = (engine.config(), self.haste(now));
        if !is_on(engine, &config) {
            return false;
        }
        work.load.look(now, engine.stats.iter().map(|stats| stats.tick_ns.value()));
        // What was configured since counts at once.
        let version = engine.config_version.load(Ordering::Acquire);
        let is_new = std::mem::replace(&mut work.config_version, version) != version;
        let every_ns = if is_new { 0 } else { haste.look_every_ns() };
        if work.judged_ns.is_some_and(|judged| now - judged < every_ns) {
            return false;
        }
        work.judged_ns = Some(now);
        work.look(now, 0);
        work.arena = alloc::fullest_arena();
        let is_active = self.percent.load(Ordering::Relaxed) > 0;
        work.wanted = work.judge(&config, is_active, haste, now);
        self.gain.store(if work.wanted > 0 { work.wasted as u64 } else { 0 }, Ordering::Relaxed);
        if work.wanted > 0 {
            recall::recall_caches();
        }
        true
    }

    /// A slice if there is something to do; and per cent of the time to be taken, 0 if there is nothing more.
    fn go_on(&self, work: &mut Work, engine: &Engine, now: u64, patience: Patience) -> u64 {
        let config = engine.config();
        if !is_on(engine, &config) {
            self.set_percent(0, now);
            self.gain.store(0, Ordering::Relaxed);
            return 0;
        }
        let percent = work.share(&config, self.haste(now));
        self.set_percent(percent, now);
        if percent == 0 || work.resting_ns > now {
            return 0;
        }
        let slice_ns = (config.active_defrag_cycle_us.max(1) as u64) * 1000;
        self.work_on(work, engine, &config, slice_ns, patience);
        let end = engine.host.monotonic_ns();
        note_latency(engine, &config, end - now);
        if work.resting_ns > end {
            self.await_look();
            return 0;
        }
        percent
    }

    /// Moves blocks out of sparse slabs for so many nanoseconds, and returns how many. The caller holds no
    /// lock.
    pub fn slice(&self, engine: &Engine, slice_ns: u64) -> u64 {
        let mut work = self.work.lock();
        work.look(engine.host.monotonic_ns(), LOOK_EVERY_NS);
        self.work_on(&mut work, engine, &engine.config(), slice_ns, Patience::Waits)
    }

    /// Whether the process occupies more than it may: then defragmentation begins with less waste, and takes
    /// as much time as it may.
    pub fn hurry(&self, hurried: bool) {
        self.hurried.store(hurried, Ordering::Relaxed);
    }

    /// The process occupies so much that who needs memory waits: for a moment it takes much more time. True
    /// if nobody said so before.
    pub fn press(&self, now_ns: u64) -> bool {
        self.pressed_until_ns.swap(now_ns + PRESSED_NS, Ordering::Relaxed) < now_ns
    }

    fn haste(&self, now_ns: u64) -> Haste {
        match self.pressed_until_ns.load(Ordering::Relaxed) {
            until if now_ns < until => Haste::Pressed,
            _ if self.hurried.load(Ordering::Relaxed) => Haste::Hurried,
            _ => Haste::None,
        }
    }

    /// Bytes that may come free by what it does now; 0 while it rests.
    pub fn gain(&self) -> u64 {
        self.gain.load(Ordering::Relaxed)
    }

    fn work_on(
        &self,
        work: &mut Work,
        engine: &Engine,
        config: &Config,
        slice_ns: u64,
        patience: Patience,
    ) -> u64 {
        let effort = STEP_EFFORT.min(config.active_defrag_max_scan_fields.max(1) as usize);
        let (begin, before) = (engine.host.monotonic_ns(), Round::of(&work.mover));
        let mut now = begin;
        for _ in 0..STEPS_MOST {
            work.mover.begin(effort);
            let Some(is_end) = work.step(engine, patience) else { break };
            if is_end {
                work.look(now, PRESSED_NS);
                if work.end_round(now) {
                    // The last look may be from before the rounds in which all of it was won.
                    work.look(now, 0);
                    work.left = work.left.min(work.wasted);
                    break;
                }
            }
            let end = engine.host.monotonic_ns();
            let step_ns = end - now;
            now = end;
            // No step is begun that would likely take too long.
            if now - begin + step_ns > slice_ns {
                break;
            }
        }
        let done = Round::of(&work.mover).since(before);
        self.count(work, done);
        done.moved
    }

    fn count(&self, work: &mut Work, done: Round) {
        let Counts { moved, stayed, moved_keys, stayed_keys } = &self.counts;
        moved.fetch_add(done.moved, Ordering::Relaxed);
        stayed.fetch_add(done.stayed, Ordering::Relaxed);
        moved_keys.fetch_add(std::mem::take(&mut work.cursor.moved), Ordering::Relaxed);
        stayed_keys.fetch_add(std::mem::take(&mut work.cursor.stayed), Ordering::Relaxed);
    }

    fn set_percent(&self, percent: u64, now: u64) {
        let before = self.percent.swap(percent, Ordering::Relaxed);
        if before == 0 && percent > 0 {
            self.since_ns.store(now, Ordering::Relaxed);
        } else if before > 0 && percent == 0 {
            let since = self.since_ns.load(Ordering::Relaxed);
            self.active_ns.fetch_add(now - since, Ordering::Relaxed);
            self.await_look();
        }
    }

    /// There is nothing more to do. That it rests is found when the slabs are looked at: others see by then
    /// that it worked, however short that took.
    fn await_look(&self) {
        if self.gain.swap(0, Ordering::Relaxed) > 0 {
            return_pages();
        }
    }

    pub fn figures(&self, now: u64) -> Figures {
        let value = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let percent = value(&self.percent);
        let current_ns = if percent > 0 { now.saturating_sub(value(&self.since_ns)) } else { 0 };
        Figures {
            percent,
            moved: value(&self.counts.moved),
            stayed: value(&self.counts.stayed),
            moved_keys: value(&self.counts.moved_keys),
            stayed_keys: value(&self.counts.stayed_keys),
            active_ms: (value(&self.active_ns) + current_ns) / 1_000_000,
            current_ms: current_ns / 1_000_000,
        }
    }

    /// The statistics begin anew.
    pub fn reset(&self) {
        let Counts { moved, stayed, moved_keys, stayed_keys } = &self.counts;
        let counts = [moved, stayed, moved_keys, stayed_keys, &self.active_ns];
        counts.into_iter().for_each(|count| count.store(0, Ordering::Relaxed));
    }
}

/// What is done where somebody else has the shard.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    Waits,
    None,
}

/// What depends on its work.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Haste {
    None,
    /// The process occupies more than it may.
    Hurried,
    /// So much more that clients wait.
    Pressed,
}

impl Haste {
    fn look_every_ns(self) -> u64 {
        match self {
            Haste::None => LOOK_EVERY_NS,
            Haste::Hurried => IDLE_NS,
            Haste::Pressed => PRESSED_NS,
        }
    }
}

impl Work {
    /// Learns which slabs are sparse, if the last time is long ago.
    fn look(&mut self, now: u64, every_ns: u64) {
        if self.looked_ns.is_none_or(|looked| now - looked >= every_ns) {
            self.looked_ns = Some(now);
            self.used = alloc::stats().allocated;
            self.wasted = self.mover.aim(&alloc::slabs());
        }
    }

    /// Per cent of the time to be taken.
    fn judge(&mut self, config: &Config, is_active: bool, haste: Haste, now: u64) -> u64 {
        let is_hurried = haste != Haste::None;
        let wasted_percent = (self.wasted * 100 / self.used.max(1)) as i64;
        let lower = config.active_defrag_threshold_lower;
        // Once begun it goes on for a while, not to begin again at once.
        let part = if is_active || is_hurried { GOES_ON_PART } else { 1 };
        if wasted_percent * part < lower || self.wasted as u64 * (part as u64) < ignored(config) {
            (self.rest_ns, self.resting_ns) = (0, 0);
            return 0;
        }
        // What is occupied too much may be just what came since.
        let grown = if is_hurried { self.left + ignored(config) as usize } else { usize::MAX };
        if now < self.resting_ns && self.wasted <= grown.min(GROWN_FACTOR * self.left) {
            return 0;
        }
        let goes_on = is_active && self.resting_ns == 0;
        self.least = if goes_on { self.least.min(self.wasted) } else { self.wasted };
        self.resting_ns = 0;
        let upper = config.active_defrag_threshold_upper;
        percent_for(config, if is_hurried { wasted_percent.max(upper) } else { wasted_percent })
    }

    /// Per cent of the time that it takes now: it gives way to busy workers, unless memory is short.
    fn share(&self, config: &Config, haste: Haste) -> u64 {
        match haste {
            Haste::Pressed if self.wanted > 0 => self.wanted.max(PRESSED_PERCENT),
            Haste::None => {
                let least = self.wanted.min(config.active_defrag_cycle_min as u64);
                let rest = BUSY_PERCENT.saturating_sub(self.load.percent);
                least + (self.wanted - least) * rest / BUSY_PERCENT
            }
            _ => self.wanted,
        }
    }

    /// It took so much processor time of which it may take so many per cent. A wait for a processor is no
    /// work, and who comes late catches up.
    fn pay(&mut self, spent_ns: u64, percent: u64, now: u64) {
        self.due_ns = self.due_ns.max(now.saturating_sub(LATE_MOST_NS)) + spent_ns * 100 / percent;
    }

    /// Looks at some more blocks; true at the end of a round. `None` if it would have to wait.
    fn step(&mut self, engine: &Engine, patience: Patience) -> Option<bool> {
        let (was_done, store, mover) = (self.keys_done, &engine.store, &mut self.mover);
        self.keys_done = match (was_done, patience) {
            (true, _) => engine.scripts.move_on(&mut self.scripts_done, mover),
            (false, Patience::Waits) => self.cursor.step(store, mover),
            (false, Patience::None) => self.cursor.step_at_once(store, mover)?,
        };
        Some(was_done && !self.keys_done)
    }

    /// A round is complete; true if so little moved that another one is not worth it now.
    fn end_round(&mut self, now: u64) -> bool {
        let done = Round::of(&self.mover).since(self.round);
        self.round = Round::of(&self.mover);
        let least = std::mem::replace(&mut self.least, self.wasted).min(self.wasted);
        if done.moved >= done.stayed / WORTH_SHARE && done.moved > 0 {
            self.rest_ns = 0;
            return false;
        }
        self.rest_ns = (self.rest_ns * 2).clamp(LOOK_EVERY_NS, REST_MOST_NS);
        self.resting_ns = now + self.rest_ns;
        self.left = least;
        true
    }
}

impl Load {
    fn look(&mut self, now: u64, worked_ns: impl Iterator<Item = u64>) {
        let elapsed = now - self.looked_ns;
        if elapsed < LOAD_EVERY_NS {
            return;
        }
        let before = std::mem::replace(&mut self.worked_ns, worked_ns.collect());
        // Counters may have been reset; a long piece of work counts when it is done.
        let worked = |(now, before): (&u64, &u64)| now.saturating_sub(*before).min(elapsed);
        let busiest = self.worked_ns.iter().zip(&before).map(worked).max().unwrap_or(0);
        (self.looked_ns, self.percent) = (now, busiest * 100 / elapsed);
    }
}

impl Round {
    fn of(mover: &Mover) -> Round {
        Round { moved: mover.moved, stayed: mover.stayed }
    }

    fn since(self, before: Round) -> Round {
        Round { moved: self.moved - before.moved, stayed: self.stayed - before.stayed }
    }
}

fn is_on(engine: &Engine, config: &Config) -> bool {
    config.active_defrag && !engine.debug.pause_cron.load(Ordering::Relaxed)
}

/// The pages of slabs that became free go back to the system, if they are many: by themselves they would stay
/// for some seconds.
fn return_pages() {
    let stats = alloc::stats();
    if stats.resident - stats.active.min(stats.resident) > stats.active / PAGES_SHARE {
        alloc::purge();
    }
}

fn note_latency(engine: &Engine, config: &Config, slice_ns: u64) {
    let (ms, threshold) = (slice_ns / 1_000_000, config.latency_monitor_threshold_ms);
    if threshold > 0 && ms >= threshold as u64 {
        engine.latency.lock().add("active-defrag-cycle", engine.host.unix_us() / 1_000_000, ms);
    }
}

/// So many wasted bytes do not matter; fewer if there is a limit to all memory.
fn ignored(config: &Config) -> u64 {
    let limit = config.memory_limit();
    let of_limit = if limit > 0 { limit / IGNORED_SHARE } else { u64::MAX };
    config.active_defrag_ignore_bytes.min(of_limit)
}

/// Between the least and the most that is configured, as the waste is between its bounds.
fn percent_for(config: &Config, wasted_percent: i64) -> u64 {
    let (lower, upper) = (config.active_defrag_threshold_lower, config.active_defrag_threshold_upper);
    let (least, most) = (config.active_defrag_cycle_min, config.active_defrag_cycle_max);
    let beyond = (wasted_percent - lower).max(0);
    let percent = least + (most - least) * beyond / (upper - lower).max(1);
    percent.clamp(least.min(most), most.max(least)) as u64
}

/// How often the slabs are looked at.
const LOOK_EVERY_NS: u64 = 1_000_000_000;
/// How often it looks whether there is something to do; and at the slabs, while less should be occupied.
const IDLE_NS: u64 = 100_000_000;
/// For more time than this nothing is made up.
const LATE_MOST_NS: u64 = 10_000_000;
/// How often it looks at how busy the workers are.
const LOAD_EVERY_NS: u64 = 50_000_000;
/// Where a worker has so much to do, each per cent of a processor that is taken is felt.
const BUSY_PERCENT: u64 = 50;
/// For so long it is pressed when somebody says so, and then it looks as often; and so much time it takes.
const PRESSED_NS: u64 = 20_000_000;
const PRESSED_PERCENT: u64 = 50;
/// A rest ends early when so many times what was left is wasted.
const GROWN_FACTOR: usize = 2;
/// It stops when this part of what it needs to begin is left.
const GOES_ON_PART: i64 = 4;
/// A larger share of `maxmemory` is not ignored.
const IGNORED_SHARE: u64 = 32;
/// Blocks looked at in a step, about: ten to twenty microseconds.
const STEP_EFFORT: usize = 128;
/// A clock that stands still does not make a slice longer.
const STEPS_MOST: usize = 100;
/// A round that moves a smaller share of what it looks at is not worth it.
const WORTH_SHARE: u64 = 100;
/// A smaller share of unused pages is not worth it.
const PAGES_SHARE: usize = 16;
/// The longest rest after such rounds.
const REST_MOST_NS: u64 = 60_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_taken_follows_the_waste() {
        let config = Config {
            active_defrag_threshold_lower: 10,
            active_defrag_threshold_upper: 110,
            active_defrag_cycle_min: 1,
            active_defrag_cycle_max: 21,
            ..Config::default()
        };
        let check = |wasted, percent| assert_eq!(percent_for(&config, wasted), percent, "{wasted}");
        [(0, 1), (10, 1), (60, 11), (110, 21), (900, 21)].into_iter().for_each(|(w, p)| check(w, p));
    }

    #[test]
    fn it_begins_earlier_and_takes_more_when_less_should_be_occupied() {
        let config = Config {
            active_defrag_ignore_bytes: 4000,
            active_defrag_cycle_min: 1,
            active_defrag_cycle_max: 5,
            ..Config::default()
        };
        let check = |wasted, is_active, haste, percent| {
            let mut work = Work { wasted, used: 100_000, ..Work::default() };
            assert_eq!(work.judge(&config, is_active, haste, 0), percent, "{wasted}");
        };
        check(5000, false, Haste::None, 1);
        check(4999, false, Haste::None, 0);
        check(2000, true, Haste::None, 1);
        check(1000, true, Haste::None, 0);
        check(2000, false, Haste::Hurried, 5);
        check(1000, false, Haste::Hurried, 0);
        check(2000, false, Haste::Pressed, 5);
        check(100_000, false, Haste::None, 5);
    }

    #[test]
    fn it_gives_way_to_busy_workers() {
        let config = Config { active_defrag_cycle_min: 2, ..Config::default() };
        let (mut work, mut now, mut worked) = (Work::default(), 0, [0; 2]);
        let mut check = |wanted, worked_ms: [u64; 2], haste, percent| {
            now += 100_000_000;
            worked = std::array::from_fn(|worker| worked[worker] + worked_ms[worker] * 1_000_000);
            work.wanted = wanted;
            work.load.look(now, worked.into_iter());
            assert_eq!(work.share(&config, haste), percent, "{wanted} with {worked_ms:?}");
        };
        check(10, [100, 100], Haste::None, 10);
        check(10, [0, 0], Haste::None, 10);
        check(10, [25, 3], Haste::None, 6);
        check(10, [0, 50], Haste::None, 2);
        check(10, [900, 0], Haste::None, 2);
        check(1, [100, 0], Haste::None, 1);
        check(0, [100, 0], Haste::None, 0);
        check(10, [100, 0], Haste::Hurried, 10);
        check(10, [100, 0], Haste::Pressed, PRESSED_PERCENT);
        check(0, [100, 0], Haste::Pressed, 0);
        let percent = work.load.percent;
        work.load.look(now + LOAD_EVERY_NS - 1, [0; 2].into_iter());
        assert_eq!((work.load.percent, work.load.looked_ns), (percent, now), "too early");
        work.load.look(now + LOAD_EVERY_NS, [0; 2].into_iter());
        assert_eq!(work.load.percent, 0, "the counters were reset");
    }

    #[test]
    fn it_takes_its_share_of_processor_time_however_late_it_gets_one() {
        let (mut work, ms) = (Work::default(), 1_000_000);
        let mut pay = |spent, percent, now| {
            work.pay(spent, percent, now);
            work.due_ns
        };
        assert_eq!(pay(ms, 10, 1000 * ms), 1000 * ms - LATE_MOST_NS + 10 * ms);
        assert_eq!(pay(ms, 10, 1000 * ms), 1010 * ms);
        assert_eq!(pay(ms, 10, 1013 * ms), 1020 * ms, "it came a little late");
        assert_eq!(pay(2 * ms, 50, 1020 * ms), 1024 * ms);
        assert_eq!(pay(ms, 10, 9000 * ms), 9000 * ms - LATE_MOST_NS + 10 * ms, "far too late");
    }

    #[test]
    fn it_is_pressed_for_a_moment() {
        let defrag = Defrag::default();
        assert!(defrag.press(1) && !defrag.press(2));
        assert!(
            defrag.haste(PRESSED_NS + 1) == Haste::Pressed && defrag.haste(PRESSED_NS + 2) == Haste::None
        );
        defrag.hurry(true);
        assert!(defrag.haste(PRESSED_NS + 1) == Haste::Pressed);
        assert!(defrag.haste(PRESSED_NS + 2) == Haste::Hurried && defrag.press(PRESSED_NS + 3));
    }

    #[test]
    fn a_rest_ends_when_much_more_is_wasted() {
        let config = Config { active_defrag_ignore_bytes: 4000, ..Config::default() };
        let mut work = Work { wasted: 20_000, used: 100_000, ..Work::default() };
        assert!(work.judge(&config, false, Haste::None, 0) > 0);
        assert!(work.end_round(0), "nothing moved");
        for (wasted, haste, rests) in [
            (20_000, Haste::None, true),
            (24_000, Haste::Hurried, true),
            (24_001, Haste::None, true),
            (40_000, Haste::None, true),
            (40_001, Haste::None, false),
            (20_000, Haste::None, false),
        ] {
            work.wasted = wasted;
            assert_eq!(work.judge(&config, true, haste, 1) == 0, rests, "{wasted}");
        }
        assert!(work.end_round(0), "nothing moved again");
        for (wasted, rests) in [(24_000, true), (24_001, false)] {
            work.wasted = wasted;
            assert_eq!(work.judge(&config, true, Haste::Pressed, 1) == 0, rests, "{wasted}");
        }
    }

    /// Nearly all keys go while a round is past most of them: it has moved nothing, and there is much to do.
    #[test]
    fn no_rest_follows_where_much_was_freed_in_the_round() {
        let config = Config { active_defrag_ignore_bytes: 4000, ..Config::default() };
        let mut work = Work { used: 100_000, ..Work::default() };
        for (wasted, is_active) in [(20_000, false), (50_000, true)] {
            work.wasted = wasted;
            assert!(work.judge(&config, is_active, Haste::Hurried, 0) > 0, "{wasted}");
        }
        assert!(work.end_round(0));
        for (wasted, rests) in [(40_000, true), (50_000, false)] {
            work.wasted = wasted;
            assert_eq!(work.judge(&config, true, Haste::None, 1) == 0, rests, "{wasted}");
        }
    }

    #[test]
    fn rounds_that_move_nothing_are_followed_by_longer_and_longer_rests() {
        let mut work = Work::default();
        let mut end = |moved, stayed| {
            work.mover.moved += moved;
            work.mover.stayed += stayed;
            work.end_round(0).then_some(work.rest_ns / LOOK_EVERY_NS)
        };
        assert_eq!(end(100, 900), None);
        assert_eq!([end(0, 0), end(0, 1000), end(9, 1000), end(10, 1000)], [Some(1), Some(2), Some(4), None]);
        assert_eq!(end(1, 1000), Some(1));
    }
}
