//! What an entry's access clock of 24 bits says of its use: when it was used last, or changed last, or how
//! often it was used. The policy decides which; this never decides what is evicted.

use std::sync::Arc;

use base::time::UnixMs;
use rdb::Attributes;
use store::snapshot::Uses;

use crate::config::{Config, EvictionPolicy};

/// The access clock's meaning under the policy in force, at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// The clock of an entry that is new.
    pub fresh: u32,
    noted: Noted,
}

/// What is noted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Noted {
    /// The second of the last use.
    Use,
    /// The second of the last change.
    Change,
    /// The minute of the last use, and a counter that grows with the logarithm of the uses and falls with
    /// time.
    Uses(Counting),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Counting {
    log_factor: u32,
    decay_minutes: u32,
    /// Chance, for this moment.
    dice: u64,
}

impl Access {
    /// `dice` is any number that differs from moment to moment.
    #[inline]
    pub fn at(now: UnixMs, config: &Config, dice: u64) -> Access {
        let noted = match config.maxmemory_policy {
            EvictionPolicy::VolatileLfu | EvictionPolicy::AllkeysLfu => {
                return Access::counting(now, config, dice);
            }
            EvictionPolicy::VolatileLrm | EvictionPolicy::AllkeysLrm => Noted::Change,
            _ => Noted::Use,
        };
        Access { fresh: now.seconds() as u32 & CLOCK_MASK, noted }
    }

    #[cold]
    fn counting(now: UnixMs, config: &Config, dice: u64) -> Access {
        let (log_factor, decay_minutes) = (config.lfu_log_factor as u32, config.lfu_decay_time as u32);
        let noted = Noted::Uses(Counting { log_factor, decay_minutes, dice });
        Access { fresh: clock_of(minutes(now), COUNTER_FRESH), noted }
    }

    /// The clock behind a read.
    #[inline]
    pub fn read(self, clock: u32) -> u32 {
        match self.noted {
            Noted::Use => self.fresh,
            Noted::Change => clock,
            Noted::Uses(counting) => self.counted(clock, counting),
        }
    }

    /// The clock behind a change.
    #[inline]
    pub fn changed(self, clock: u32) -> u32 {
        match self.noted {
            Noted::Use | Noted::Change => self.fresh,
            Noted::Uses(counting) => self.counted(clock, counting),
        }
    }

    #[cold]
    fn counted(self, clock: u32, counting: Counting) -> u32 {
        let counter = decayed(clock, self.fresh >> 8, counting.decay_minutes);
        let above = u64::from(counter.saturating_sub(COUNTER_FRESH));
        // The higher the counter, the fewer uses raise it: one of so many.
        let uses = above.saturating_mul(u64::from(counting.log_factor)) + 1;
        let mixed = base::random::Rng::from_seed(counting.dice ^ u64::from(clock) << 32).next_u64();
        let grows = counter < COUNTER_MOST && mixed <= u64::MAX / uses;
        clock_of(self.fresh >> 8, counter + u32::from(grows))
    }

    /// Whether uses are counted.
    pub fn counts(self) -> bool {
        matches!(self.noted, Noted::Uses(_))
    }

    /// Seconds since the entry was last used (or changed, if that is what is noted).
    pub fn idle_seconds(self, clock: u32) -> u32 {
        self.fresh.wrapping_sub(clock) & CLOCK_MASK
    }

    /// The counter of uses as it is by now, 0 to 255.
    pub fn frequency(self, clock: u32) -> u32 {
        match self.noted {
            Noted::Uses(counting) => decayed(clock, self.fresh >> 8, counting.decay_minutes),
            Noted::Use | Noted::Change => 0,
        }
    }

    /// The clock of a key of which a payload or a dump tells how many seconds ago it was used, or how often;
    /// what the policy does not use is ignored.
    pub fn clock_told(self, idle_s: Option<u64>, frequency: Option<u8>) -> u32 {
        match (idle_s, frequency) {
            (Some(seconds), _) if !self.counts() => {
                self.fresh.wrapping_sub(seconds.min(u64::from(CLOCK_MASK)) as u32) & CLOCK_MASK
            }
            (_, Some(frequency)) if self.counts() => clock_of(self.fresh >> 8, u32::from(frequency)),
            _ => self.fresh,
        }
    }

    /// What a dump tells of keys' use: nothing where the policy does not ask for it.
    pub fn uses(self, policy: EvictionPolicy) -> Option<Uses> {
        use EvictionPolicy::*;
        match policy {
            VolatileLfu | AllkeysLfu => Some(Arc::new(move |clock| Attributes {
                freq: Some(self.frequency(clock) as u8),
                ..Attributes::default()
            })),
            VolatileLru | AllkeysLru | VolatileLrm | AllkeysLrm => Some(Arc::new(move |clock| Attributes {
                idle_s: Some(u64::from(self.idle_seconds(clock))),
                ..Attributes::default()
            })),
            NoEviction | AllkeysRandom | VolatileRandom | VolatileTtl => None,
        }
    }
}

fn minutes(now: UnixMs) -> u32 {
    (now.seconds() / 60) as u32
}

fn clock_of(minutes: u32, counter: u32) -> u32 {
    (minutes & MINUTES_MASK) << 8 | counter
}

/// The counter, one less for each `decay_minutes` since it was brought up to date.
fn decayed(clock: u32, now_minutes: u32, decay_minutes: u32) -> u32 {
    let passed = now_minutes.wrapping_sub(clock >> 8) & MINUTES_MASK;
    let periods = passed.checked_div(decay_minutes).unwrap_or(0);
    (clock & COUNTER_MOST).saturating_sub(periods)
}

/// The seconds wrap every 194 days, the minutes every 45.
const CLOCK_MASK: u32 = 0xff_ffff;
const MINUTES_MASK: u32 = 0xffff;
const COUNTER_MOST: u32 = 0xff;
/// A new key is not the first to go.
const COUNTER_FRESH: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn access(policy: EvictionPolicy, seconds: i64, dice: u64) -> Access {
        let config = Config { maxmemory_policy: policy, ..Config::default() };
        Access::at(UnixMs(seconds * 1000), &config, dice)
    }

    #[test]
    fn last_uses_and_changes() {
        let (lru, lrm) = (EvictionPolicy::AllkeysLru, EvictionPolicy::VolatileLrm);
        let before = access(lru, 100, 0).fresh;
        assert_eq!(access(lru, 160, 0).idle_seconds(access(lru, 150, 0).read(before)), 10);
        assert_eq!(access(lrm, 160, 0).idle_seconds(access(lrm, 150, 0).read(before)), 60);
        assert_eq!(access(lrm, 160, 0).idle_seconds(access(lrm, 150, 0).changed(before)), 10);
        let wrapped = access(lru, 1 << 24, 0);
        assert_eq!(wrapped.idle_seconds(wrapped.clock_told(Some(1000), Some(9))), 1000);
    }

    #[test]
    fn counters_decay() {
        let now = access(EvictionPolicy::AllkeysLfu, 60 * 70_000, 0);
        let used = now.clock_told(Some(9), Some(200));
        let later = |minutes: i64| access(EvictionPolicy::AllkeysLfu, 60 * (70_000 + minutes), 0);
        assert_eq!(
            (now.frequency(used), later(7).frequency(used), later(700).frequency(used)),
            (200, 193, 0)
        );
        assert_eq!(now.frequency(now.fresh), 5);
    }

    /// Redis documents about 10 after 100 uses, 18 after 1,000 and 142 after 100,000 for a factor of 10.
    #[test]
    fn counters_grow_with_the_logarithm_of_the_uses() {
        let mut clock = access(EvictionPolicy::AllkeysLfu, 0, 0).fresh;
        let mut seen = Vec::new();
        for dice in 1..=100_000 {
            clock = access(EvictionPolicy::AllkeysLfu, 0, dice).read(clock);
            if [100, 1000, 100_000].contains(&dice) {
                seen.push(clock & 0xff);
            }
        }
        assert!((8..=13).contains(&seen[0]), "{seen:?}");
        assert!((15..=23).contains(&seen[1]), "{seen:?}");
        assert!((125..=160).contains(&seen[2]), "{seen:?}");
    }
}
