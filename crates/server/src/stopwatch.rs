//! The clock that durations are taken from: read once for every command. It is the processor's own counter
//! where that runs at one rate, and the system's monotonic clock until the counter's rate is known, which
//! takes a fraction of a second on a thread of its own. Nobody may take a time of day from it.

use std::sync::OnceLock;
use std::time::Instant;

pub struct Stopwatch {
    origin: Instant,
    counter: OnceLock<Counter>,
}

/// The processor's counter, and where it joined the system's clock.
struct Counter {
    clock: quanta::Clock,
    joined: u64,
    joined_ns: u64,
}

impl Stopwatch {
    pub fn new() -> Stopwatch {
        Stopwatch { origin: Instant::now(), counter: OnceLock::new() }
    }

    /// Nanoseconds since some instant, for differences. One thread never sees it go back.
    #[inline]
    pub fn ns(&self) -> u64 {
        match self.counter.get() {
            Some(counter) => counter.ns(),
            None => self.system_ns(),
        }
    }

    #[inline(never)]
    fn system_ns(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    /// Measures the counter's rate, which takes up to 0.2 s; from then on it is the clock.
    pub fn calibrate(&self) {
        let clock = quanta::Clock::new();
        let joined = clock.raw();
        let counter = Counter { clock, joined, joined_ns: self.system_ns() };
        assert!(self.counter.set(counter).is_ok(), "it is calibrated once");
    }
}

impl Counter {
    #[inline]
    fn ns(&self) -> u64 {
        self.joined_ns + self.clock.delta_as_nanos(self.joined, self.clock.raw())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_when_the_counter_takes_over() {
        let stopwatch = Stopwatch::new();
        let mut last = 0;
        let mut check = |stopwatch: &Stopwatch| {
            let now = stopwatch.ns();
            assert!(now >= last, "{now} after {last}");
            last = now;
        };
        check(&stopwatch);
        stopwatch.calibrate();
        for _ in 0..1000 {
            check(&stopwatch);
        }
    }
}
