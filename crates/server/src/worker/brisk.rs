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

    /// Whether to ask for short slices from now on, or for them no more; `None`: as before.
    #[inline]
    fn turn(&mut self, snapshots_run: bool) -> Option<bool> {
        let wanted = self.helps && snapshots_run;
        (wanted != std::mem::replace(&mut self.on, wanted)).then_some(wanted)
    }
}

impl Worker {
    /// Before each tick.
    #[inline]
    pub fn keep_brisk(&mut self) {
        if let Some(wanted) = self.briskness.turn(self.engine.store.snapshots_run()) {
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

    #[test]
    fn slices_are_short_while_a_snapshot_runs_and_ticks_are_short() {
        let mut briskness = Briskness::default();
        assert_eq!(briskness.turn(true), None, "nothing is known of its ticks");
        let (short, long) = (SLICE.as_nanos() as u64 / 2, SLICE.as_nanos() as u64 * 2);
        let mut ns = 0;
        let mut steps = |tick_ns: u64, snapshots_run| {
            ns += 100 * tick_ns;
            briskness.weigh(briskness.ticks + 100, ns);
            briskness.turn(snapshots_run)
        };
        for (tick_ns, snapshots_run, turned) in [
            (short, false, None),
            (short, true, Some(true)),
            (short, true, None),
            // Full load, and less again.
            (long, true, Some(false)),
            (long, true, None),
            (short, true, Some(true)),
            // The snapshot ends.
            (short, false, Some(false)),
            (long, true, None),
        ] {
            assert_eq!(steps(tick_ns, snapshots_run), turned, "{tick_ns} ns a tick, {snapshots_run}");
        }
    }
}
