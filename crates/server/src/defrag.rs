//! The thread that defragments memory and lets unused pages go back to the system. How much it does, and
//! when, the engine says.

use std::io;
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::aside;
use crate::host::Process;

/// The thread, once it runs.
#[derive(Default)]
pub struct Defragmenter(OnceLock<Thread>);

impl Defragmenter {
    pub fn start(&self, process: &Arc<Process>) -> io::Result<()> {
        let process = Arc::clone(process);
        let handle = aside::spawn("defrag", move || run(&process))?;
        self.0.get_or_init(|| handle.thread().clone());
        Ok(())
    }

    /// Whatever it waits for, it looks now whether there is something to do.
    pub fn wake(&self) {
        if let Some(thread) = self.0.get() {
            thread.unpark();
        }
    }
}

/// Runs until the process ends.
fn run(process: &Process) {
    base::alloc::thread_cache_off();
    let engine = process.engine();
    let mut purged = Instant::now();
    loop {
        let rest = Duration::from_nanos(engine.defrag.tend(engine));
        if purged.elapsed() >= PURGE_EVERY {
            base::alloc::purge_due();
            purged = Instant::now();
        }
        thread::park_timeout(rest);
    }
}

/// How often arenas are asked for pages whose time has come: their threads do so themselves as long as they
/// allocate.
const PURGE_EVERY: Duration = Duration::from_secs(1);
