//! Watches over threads that load: tells when it takes long, how far it is, and looks at memory. It knows
//! nothing of what they load, and whoever calls it can serve clients meanwhile.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use engine::Engine;

use super::Progress;
use crate::boot::RESERVE_LEN;
use crate::governor;

/// A client that comes up to so much earlier rather waits than hears that the server is loading.
const NOTICEABLE: Duration = Duration::from_millis(25);
/// How often a long load says in the log how far it is.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// Runs `work` on each of so many threads until all have ended. If it takes long enough for somebody to
/// notice, `takes_long` is called, again and again.
pub fn watch_over(
    count: usize,
    (engine, progress): (&Engine, &Progress),
    takes_long: &mut dyn FnMut(),
    work: impl Fn() + Sync,
) {
    let (watcher, running) = (thread::current(), AtomicUsize::new(0));
    let (begin, mut reported) = (Instant::now(), Instant::now());
    thread::scope(|scope| {
        let spawn = |index| {
            let (work, ended) = (&work, Ended::new(&running, &watcher));
            let body = move || {
                let _ended = ended;
                base::alloc::limit_reserve(RESERVE_LEN);
                work();
            };
            thread::Builder::new().name(format!("load-{index}")).spawn_scoped(scope, body).ok()
        };
        if (0..count).map_while(spawn).count() == 0 {
            work();
        }
        while running.load(Ordering::Acquire) > 0 {
            thread::park_timeout(NOTICEABLE);
            if begin.elapsed() >= NOTICEABLE {
                takes_long();
            }
            governor::look(engine);
            if reported.elapsed() >= REPORT_EVERY {
                reported = Instant::now();
                progress.log_state();
            }
        }
    });
}

/// Counts a thread, and tells the watcher however it ends.
struct Ended<'a> {
    running: &'a AtomicUsize,
    watcher: &'a Thread,
}

impl<'a> Ended<'a> {
    fn new(running: &'a AtomicUsize, watcher: &'a Thread) -> Self {
        running.fetch_add(1, Ordering::Relaxed);
        Ended { running, watcher }
    }
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.running.fetch_sub(1, Ordering::Release);
        self.watcher.unpark();
    }
}
