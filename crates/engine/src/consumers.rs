//! Who holds memory: one row for each consumer but the data, which is what is left of the allocator's count.
//! It only adds up what others keep count of; DEBUG MEMORY compares the sum with the data counted key by key.

use std::sync::atomic::Ordering;

use base::alloc;

use crate::engine::Engine;
use crate::functions::Functions;
use crate::info::InfoInput;

/// Somebody who holds memory.
pub struct Consumer {
    /// As MEMORY STATS calls it.
    pub name: &'static str,
    /// Bytes it holds now.
    pub bytes: fn(&InfoInput<'_>) -> usize,
}

const fn consumer(name: &'static str, bytes: fn(&InfoInput<'_>) -> usize) -> Consumer {
    Consumer { name, bytes }
}

/// What nothing uses yet.
const NONE: fn(&InfoInput<'_>) -> usize = |_| 0;

pub static CONSUMERS: &[Consumer] = &[
    consumer("startup.allocated", |i| i.engine.used_memory_startup.load(Ordering::Relaxed)),
    consumer("replication.backlog", NONE),
    consumer("clients.slaves", |i| i.save().dumps.buffer_bytes),
    consumer("clients.normal", |i| i.clients().own_bytes()),
    consumer("clients.arguments", |i| i.clients().argument_bytes),
    consumer("clients.registries", |i| registries(i.engine)),
    consumer("cluster.links", NONE),
    consumer("load.buffers", |i| i.load().buffer_bytes as usize),
    consumer("aof.buffer", |i| i.log_file().buffer_memory as usize + i.engine.log.scratch()),
    consumer("transactions", |i| i.engine.log.withheld()),
    consumer("lua.caches", |i| i.engine.scripts.heap() + i.engine.scripts.held()),
    consumer("functions.caches", |i| functions(&i.engine.functions)),
    consumer("tracking.keys", |i| i.engine.tracking.memory()),
    consumer("snapshot.buffers", |i| i.engine.store.snapshot_memory()),
    consumer("lazyfree.waiting", |i| i.engine.host.reclaim_counts().waiting_bytes as usize),
    consumer("workers.buffers", |i| i.sum(|stats| stats.buffer_bytes.value()) as usize),
    consumer("command.statistics", |i| i.engine.stats.iter().map(|stats| stats.histogram_bytes()).sum()),
    consumer("command.logs", |i| i.engine.command_logs.memory()),
    consumer("segments.spare", |_| alloc::segment_pool_bytes()),
    consumer("allocator.internal", |i| i.allocator().internal),
];

/// Bytes of the names of what clients listen to, follow, watch and wait for: several may share one.
pub fn registries(engine: &Engine) -> usize {
    let (pubsub, prefixes) = (engine.pubsub.memory(), engine.tracking.prefix_memory());
    pubsub + prefixes + engine.watches.memory() + engine.waiters.memory()
}

fn functions(functions: &Functions) -> usize {
    functions.heap() + functions.buffers() + functions.memory()
}

/// Bytes of all of them.
pub fn held(input: &InfoInput<'_>) -> usize {
    CONSUMERS.iter().map(|consumer| (consumer.bytes)(input)).sum()
}
