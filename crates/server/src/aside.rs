//! Threads beside the workers and the timer. They must not keep data: what they allocate is soon freed, so
//! they need no arena of the allocator each, which takes a fifth of a megabyte before it holds anything.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Starts a thread that allocates where the process's first one does.
pub fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name.into()).spawn(move || {
        base::alloc::join_first_arena();
        work();
    })
}
