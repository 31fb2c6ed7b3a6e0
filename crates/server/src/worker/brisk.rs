//! A worker that comes to run as soon as there is a request, although a snapshot's thread has its processor:
//! a kernel that shares out time in slices (Linux since 6.6) lets a running thread have its slice to the end,
//! however low its priority, up to some milliseconds; unless who waits asks for short slices itself. It never
//! asks for them where its ticks are longer: then they would only cost.

use std::time::Duration;

use super::Worker;
use crate::system;

/// The shortest that kernels grant.
const SLICE: Duration = Duration::from_micros(100);

#[derive(Default)]
pub struct Briskness {
    on: bool,
    /// Its last ticks were no longer than a slice.
    helps: bool,
    /// The worker's counters when that was looked at.
    ticks: u64,
    tick_ns: u64,
}

impl Briskness {
    /// Looks at the worker's counters every now and then.
    fn weigh(&mut self, ticks: u64, tick_ns: u64) {
        let (count, ns) = (ticks.saturating_sub(self.ticks), tick_ns.saturating_sub(self.tick_ns));
        (self.ticks, self.tick_ns) = (ticks, tick_ns);
        self.helps = u128::from(ns) <= u128::from(count) * SLICE.as_nanos();
    }
}

impl Worker {
    /// Before each tick.
    #[inline]
    pub fn keep_brisk(&mut self) {
        let wanted = self.briskness.helps && self.engine.store.snapshots_run();
        if wanted != self.briskness.on {
            self.briskness.on = wanted;
            // Where that cannot be asked for, it is as it always was.
            system::set_slice(wanted.then_some(SLICE)).ok();
        }
    }

    pub fn weigh_ticks(&mut self) {
        let stats = &self.seat.worker.stats;
        self.briskness.weigh(stats.ticks.value(), stats.tick_ns.value());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_slices_are_for_short_ticks() {
        let mut briskness = Briskness::default();
        let slice = SLICE.as_nanos() as u64;
        for (ticks, ns, helps) in [(10, 5, true), (100, 101, false), (7, 7, true), (0, 0, true)] {
            briskness.weigh(briskness.ticks + ticks, briskness.tick_ns + ns * slice);
            assert_eq!(briskness.helps, helps, "{ticks} ticks of {ns} slices");
        }
        // The counters were reset.
        briskness.weigh(0, 0);
        assert!(briskness.helps);
    }
}
