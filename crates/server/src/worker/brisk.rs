//! A worker that comes to run as soon as there is a request, although a snapshot's thread has its processor:
//! a kernel that shares out time in slices (Linux since 6.6) lets a running thread have its slice to the end,
//! however low its priority, up to some milliseconds; unless who waits asks for short slices itself. It never
//! asks for them where its ticks are longer, or where it hardly ever waits for requests: then they would only
//! cost.

use std::time::Duration;

use super::Worker;
use crate::system;

/// The shortest that kernels grant.
const SLICE: Duration = Duration::from_micros(100);

#[derive(Default)]
pub struct Briskness {
    on: bool,
    /// Its last ticks were no longer than a slice, and it slept before many of them.
    helps: bool,
    /// The worker's counters when that was looked at.
    ticks: u64,
    tick_ns: u64,
    sleeps: u64,
}

/// Who sleeps before fewer ticks than one of so many has requests to go on with as soon as it runs.
const TICKS_A_SLEEP: u64 = 2;

impl Briskness {
    /// Looks at the worker's counters every now and then.
    fn weigh(&mut self, ticks: u64, tick_ns: u64, sleeps: u64) {
        let (count, ns) = (ticks.saturating_sub(self.ticks), tick_ns.saturating_sub(self.tick_ns));
        let slept = sleeps.saturating_sub(self.sleeps);
        (self.ticks, self.tick_ns, self.sleeps) = (ticks, tick_ns, sleeps);
        let are_short = u128::from(ns) <= u128::from(count) * SLICE.as_nanos();
        self.helps = are_short && slept * TICKS_A_SLEEP >= count;
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
        self.briskness.weigh(stats.ticks.value(), stats.tick_ns.value(), system::sleeps());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_slices_are_for_short_ticks_of_a_worker_that_sleeps() {
        let mut briskness = Briskness::default();
        let slice = SLICE.as_nanos() as u64;
        for (ticks, ns, sleeps, helps) in [
            (10, 5, 10, true),
            (100, 101, 100, false),
            (7, 7, 7, true),
            (0, 0, 0, true),
            (100, 5, 50, true),
            (100, 5, 49, false),
            (100, 101, 10, false),
        ] {
            let (tick_ns, sleeps) = (briskness.tick_ns + ns * slice, briskness.sleeps + sleeps);
            briskness.weigh(briskness.ticks + ticks, tick_ns, sleeps);
            assert_eq!(briskness.helps, helps, "{ticks} ticks of {ns} slices");
        }
        // The counters were reset.
        briskness.weigh(0, 0, 0);
        assert!(briskness.helps);
    }

    #[test]
    fn slices_are_short_while_a_snapshot_runs_and_ticks_are_short() {
        let mut briskness = Briskness::default();
        assert_eq!(briskness.turn(true), None, "nothing is known of its ticks");
        let (short, long) = (SLICE.as_nanos() as u64 / 2, SLICE.as_nanos() as u64 * 2);
        let (mut ns, mut slept) = (0, 0);
        let mut steps = |tick_ns: u64, sleeps: u64, snapshots_run| {
            (ns, slept) = (ns + 100 * tick_ns, slept + sleeps);
            briskness.weigh(briskness.ticks + 100, ns, slept);
            briskness.turn(snapshots_run)
        };
        for (tick_ns, sleeps, snapshots_run, turned) in [
            (short, 90, false, None),
            (short, 90, true, Some(true)),
            (short, 90, true, None),
            // Full load in long ticks, less, and full load in short ones.
            (long, 10, true, Some(false)),
            (long, 10, true, None),
            (short, 90, true, Some(true)),
            (short, 10, true, Some(false)),
            (short, 90, true, Some(true)),
            // The snapshot ends.
            (short, 90, false, Some(false)),
            (long, 90, true, None),
        ] {
            let what = format!("{tick_ns} ns a tick, {sleeps} sleeps, {snapshots_run}");
            assert_eq!(steps(tick_ns, sleeps, snapshots_run), turned, "{what}");
        }
    }
}
