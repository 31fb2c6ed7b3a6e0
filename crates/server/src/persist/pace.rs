//! How fast a save works: it leaves the processor to those who wait for it, and keeps below the rate that is
//! configured for the disk. Knows nothing of what is saved.

use std::thread;
use std::time::{Duration, Instant};

use engine::Engine;

/// Leaves the processor to those who wait for it.
pub(super) struct Manners {
    /// When it last gave way.
    since: Instant,
    /// Rest to be taken.
    owed: Duration,
}

impl Manners {
    pub fn new() -> Manners {
        Manners { since: Instant::now(), owed: Duration::ZERO }
    }

    /// To be called without a lock.
    pub fn give_way(&mut self) {
        let before = Instant::now();
        thread::yield_now();
        let rest = self.rest_after(before - self.since, before.elapsed());
        if !rest.is_zero() {
            thread::sleep(rest);
        }
        self.since = Instant::now();
    }

    /// How long to rest after a quantum, if others then had the processor for so long. To let them go first
    /// is not enough, as each gets the same share then, and a save has time: it rests as long as it works.
    fn rest_after(&mut self, worked: Duration, away: Duration) -> Duration {
        if away >= SOMEBODY_RAN {
            self.owed += worked;
        }
        if self.owed < REST_LEAST {
            return Duration::ZERO;
        }
        std::mem::take(&mut self.owed).min(REST_MOST)
    }
}

/// Nobody gives the processor back sooner, and without anybody it comes back at once.
const SOMEBODY_RAN: Duration = Duration::from_micros(20);
/// A shorter one is not worth the switches.
const REST_LEAST: Duration = Duration::from_millis(1);
/// In a longer one writers would leave too many pre-images.
const REST_MOST: Duration = Duration::from_millis(10);

/// Keeps a save below `snapshot-write-rate`, which may change meanwhile: whoever rests asks again.
pub(super) struct Pace {
    last: Instant,
    /// Millionths of bytes that may be written at once; below 0 it is time to rest.
    allowance: i128,
    written: u64,
}

impl Pace {
    pub fn new() -> Pace {
        Pace { last: Instant::now(), allowance: 0, written: 0 }
    }

    /// How long to rest after `written` bytes in all.
    pub fn delay(&mut self, written: u64, engine: &Engine) -> Duration {
        let rate = engine.config().snapshot_write_rate;
        let (now, added) = (Instant::now(), written - self.written);
        let passed = now - std::mem::replace(&mut self.last, now);
        self.written = written;
        self.delay_at(rate, passed, added)
    }

    fn delay_at(&mut self, rate: u64, passed: Duration, added: u64) -> Duration {
        if rate == 0 {
            self.allowance = 0;
            return Duration::ZERO;
        }
        let rate = i128::from(rate);
        let earned = rate * passed.as_micros() as i128;
        self.allowance = (self.allowance + earned).min(rate * BURST.as_micros() as i128);
        self.allowance -= i128::from(added) * 1_000_000;
        Duration::from_micros((self.allowance.min(0).unsigned_abs() / rate.unsigned_abs()) as u64)
    }
}

/// What was not written in time is made up for as far as this goes back.
const BURST: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_save_keeps_to_its_rate() {
        let mut pace = Pace::new();
        let second = Duration::from_secs(1);
        assert_eq!(pace.delay_at(0, second, 1 << 40), Duration::ZERO);
        assert_eq!(pace.delay_at(1000, Duration::ZERO, 500), second / 2);
        assert_eq!(pace.delay_at(1000, second / 2, 500), second / 2);
        assert_eq!(pace.delay_at(2000, second / 2, 0), Duration::ZERO);
        // Of what was not used, only a little is left for later.
        assert_eq!(pace.delay_at(2000, second * 1000, 2100), second);
    }

    #[test]
    fn who_rests_may_ask_again() {
        let mut pace = Pace::new();
        let (step, second) = (Duration::from_millis(10), Duration::from_secs(1));
        assert_eq!(pace.delay_at(1, Duration::ZERO, 2), second * 2);
        (0..100).for_each(|_| _ = pace.delay_at(1, step, 0));
        assert_eq!(pace.delay_at(1, Duration::ZERO, 0), second);
        assert_eq!(pace.delay_at(1000, Duration::ZERO, 0), second / 1000);
        assert_eq!(pace.delay_at(0, Duration::ZERO, 0), Duration::ZERO);
    }

    #[test]
    fn a_save_rests_where_others_wait() {
        let mut manners = Manners::new();
        let (nobody, somebody) = (Duration::from_micros(1), Duration::from_micros(100));
        let quantum = REST_LEAST * 2 / 5;
        for _ in 0..1000 {
            assert_eq!(manners.rest_after(quantum, nobody), Duration::ZERO);
        }
        let rests: Duration = (0..1000).map(|_| manners.rest_after(quantum, somebody)).sum();
        assert!(rests <= quantum * 1000 && rests > quantum * 1000 - REST_LEAST, "{rests:?}");
        // Time in which the disk was waited for is no work.
        assert_eq!(manners.rest_after(REST_MOST * 100, somebody), REST_MOST);
        assert_eq!(manners.rest_after(quantum, somebody), Duration::ZERO);
    }
}
