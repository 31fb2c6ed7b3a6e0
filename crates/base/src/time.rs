//! The seam for time: instants as numbers, the clock they come from, and the calendar in UTC. It must never
//! read the system's clock: the server's implementation of [`Clock`] does that.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Milliseconds since 1970-01-01 00:00 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMs(pub i64);

impl UnixMs {
    /// Whole seconds since the epoch, rounded down.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    pub fn saturating_add(self, ms: i64) -> UnixMs {
        UnixMs(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this instant; negative if it is later.
    pub fn since(self, earlier: UnixMs) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Where time comes from.
pub trait Clock {
    fn now(&self) -> UnixMs;

    /// Nanoseconds from some fixed instant; never goes back.
    fn monotonic_ns(&self) -> u64;
}

/// A clock that stands still until a test moves it.
#[derive(Debug, Default)]
pub struct ManualClock {
    now_ms: AtomicI64,
    monotonic_ns: AtomicU64,
}

impl ManualClock {
    pub fn at(now: UnixMs) -> ManualClock {
        ManualClock { now_ms: AtomicI64::new(now.0), monotonic_ns: AtomicU64::new(0) }
    }

    /// Lets `ms` milliseconds pass.
    pub fn advance_ms(&self, ms: u64) {
        self.now_ms.fetch_add(ms as i64, Ordering::Relaxed);
        self.monotonic_ns.fetch_add(ms * 1_000_000, Ordering::Relaxed);
    }

    /// Sets the wall clock alone, as an administrator would, forward or back.
    pub fn set(&self, now: UnixMs) {
        self.now_ms.store(now.0, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixMs {
        UnixMs(self.now_ms.load(Ordering::Relaxed))
    }

    fn monotonic_ns(&self) -> u64 {
        self.monotonic_ns.load(Ordering::Relaxed)
    }
}

/// A date and time of day in the Gregorian calendar, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    pub year: i64,
    /// From 1.
    pub month: u32,
    /// From 1.
    pub day: u32,
    pub hour: u32,
    pub minute: u32,
    pub second: u32,
}

/// The date and time of `unix_seconds`, any instant of the 584 thousand million years an i64 reaches.
pub fn civil(unix_seconds: i64) -> Civil {
    let (year, month, day) = civil_date(unix_seconds.div_euclid(86_400));
    let second_of_day = unix_seconds.rem_euclid(86_400) as u32;
    let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
    Civil { year, month, day, hour, minute, second }
}

/// Year, month and day of a day counted from 1970-01-01.
fn civil_date(day: i64) -> (i64, u32, u32) {
    // Years are counted from 1 March, so that the leap day is a year's last.
    let day = day + DAYS_TO_1970;
    let era = day.div_euclid(DAYS_PER_ERA);
    let day_of_era = day.rem_euclid(DAYS_PER_ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / (DAYS_PER_ERA - 1)) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // March to July and August to December have 153 days each: month m begins on day (153 m + 2) / 5.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month as u32, day_of_month as u32)
}

/// From 0000-03-01 to 1970-01-01.
const DAYS_TO_1970: i64 = 719_468;

/// The calendar repeats after 400 years.
const DAYS_PER_ERA: i64 = 146_097;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendar() {
        let check = |seconds, year, month, day, hour, minute, second| {
            assert_eq!(civil(seconds), Civil { year, month, day, hour, minute, second }, "{seconds}");
        };
        check(0, 1970, 1, 1, 0, 0, 0);
        check(-1, 1969, 12, 31, 23, 59, 59);
        check(951_782_400, 2000, 2, 29, 0, 0, 0);
        check(1_709_251_199, 2024, 2, 29, 23, 59, 59);
        check(4_107_542_400, 2100, 3, 1, 0, 0, 0);
        check(1_700_000_000, 2023, 11, 14, 22, 13, 20);
        check(253_402_300_799, 9999, 12, 31, 23, 59, 59);
        civil(i64::MIN);
        civil(i64::MAX);
    }

    #[test]
    fn every_day_of_two_eras_follows_the_one_before() {
        let mut last = civil_date(-300_000);
        for day in -299_999..=100_000 {
            let next = civil_date(day);
            assert!(next.1.cmp(&last.1).then(next.2.cmp(&last.2)).is_gt() || next == (last.0 + 1, 1, 1));
            assert!(next.2 == last.2 + 1 || next.2 == 1, "{day}");
            last = next;
        }
    }

    #[test]
    fn the_manual_clock_moves_when_told() {
        let clock = ManualClock::at(UnixMs(5_000));
        clock.advance_ms(1_500);
        assert_eq!((clock.now(), clock.monotonic_ns()), (UnixMs(6_500), 1_500_000_000));
        clock.set(UnixMs(-1));
        assert_eq!((clock.now().seconds(), clock.monotonic_ns()), (-1, 1_500_000_000));
        assert_eq!(UnixMs(7).since(UnixMs(10)), -3);
        assert_eq!(UnixMs(i64::MAX).saturating_add(1), UnixMs(i64::MAX));
    }
}
