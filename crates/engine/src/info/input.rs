//! What the fields of INFO are computed from. Costly parts are fetched once, when the first field asks.

use std::cell::OnceCell;
use std::sync::atomic::Ordering;

use base::alloc::{self, Stats};
use base::random::Rng;
use base::time::UnixMs;
use store::{Db, DbIndex, Guard};

use crate::clients::flag;
use crate::config::Config;
use crate::ctx::Ctx;
use crate::engine::Engine;
use crate::host::{LoadStatus, LogFileStatus, ProcessFacts, SaveStatus};
use crate::info::usage::MemoryUsage;
use crate::stats::WorkerStats;

pub struct InfoInput<'a> {
    pub engine: &'a Engine,
    pub config: &'a Config,
    pub now: UnixMs,
    /// Databases that hold keys; empty unless all shards were held.
    pub keyspace: Vec<DbTotals>,
    allocator: OnceCell<Stats>,
    facts: OnceCell<ProcessFacts>,
    save: OnceCell<SaveStatus>,
    load: OnceCell<LoadStatus>,
    log_file: OnceCell<LogFileStatus>,
    clients: OnceCell<ClientTotals>,
    memory: OnceCell<MemoryUsage>,
}

/// One database, summed over the shards.
#[derive(Clone, Copy, Debug)]
pub struct DbTotals {
    pub db: DbIndex,
    pub keys: usize,
    /// Keys with a time of expiry of their own.
    pub expires: usize,
    /// Hashes of which only fields have a time of expiry.
    pub subexpiry: usize,
    /// Milliseconds, estimated from a sample; 0 if the sample had no key with a time of expiry.
    pub average_ttl_ms: i64,
    pub table_bytes: usize,
}

/// Sums over all connections.
#[derive(Clone, Copy, Default, Debug)]
pub struct ClientTotals {
    pub connected: usize,
    pub blocked: usize,
    pub subscribed: usize,
    pub watching: usize,
    pub bytes: usize,
    /// Of these, bytes of large arguments, and of replies that others may hold too.
    pub argument_bytes: usize,
    pub shared_bytes: usize,
}

impl ClientTotals {
    /// What no other figure includes.
    pub fn own_bytes(&self) -> usize {
        self.bytes.saturating_sub(self.argument_bytes + self.shared_bytes)
    }
}

impl<'a> InfoInput<'a> {
    pub fn new(
        engine: &'a Engine,
        config: &'a Config,
        now: UnixMs,
        keyspace: Vec<DbTotals>,
    ) -> InfoInput<'a> {
        InfoInput {
            engine,
            config,
            now,
            keyspace,
            allocator: OnceCell::new(),
            facts: OnceCell::new(),
            save: OnceCell::new(),
            load: OnceCell::new(),
            log_file: OnceCell::new(),
            clients: OnceCell::new(),
            memory: OnceCell::new(),
        }
    }

    /// For a command that holds all shards.
    pub fn measure(ctx: &mut Ctx<'a, '_>) -> InfoInput<'a> {
        let now = ctx.now();
        let keyspace = keyspace_totals(ctx.keys.guard(), now, &mut ctx.worker.rng);
        InfoInput::new(ctx.engine, ctx.config, now, keyspace)
    }

    /// What jemalloc counts, as it was when this was first asked for: nine tenths of what INFO would cost.
    pub fn allocator(&self) -> Stats {
        *self.allocator.get_or_init(alloc::stats)
    }

    #[cfg(test)]
    pub fn has_asked_allocator(&self) -> bool {
        self.allocator.get().is_some()
    }

    pub fn facts(&self) -> &ProcessFacts {
        self.facts.get_or_init(|| self.engine.host.facts())
    }

    pub fn save(&self) -> &SaveStatus {
        self.save.get_or_init(|| self.engine.host.save_status())
    }

    pub fn load(&self) -> &LoadStatus {
        self.load.get_or_init(|| self.engine.host.load_status())
    }

    pub fn log_file(&self) -> &LogFileStatus {
        self.log_file.get_or_init(|| self.engine.host.log_file_status())
    }

    pub fn clients(&self) -> &ClientTotals {
        self.clients.get_or_init(|| client_totals(self.engine))
    }

    pub fn memory(&self) -> &MemoryUsage {
        self.memory.get_or_init(|| {
            let rss = self.facts().resident_bytes as usize;
            MemoryUsage::measure(self, rss)
        })
    }

    /// Keys that clients wait for, and of these the ones whose going away they wait for too.
    pub fn waited_keys(&self) -> (usize, usize) {
        self.engine.waiters.key_counts()
    }

    pub fn sum(&self, counter: impl Fn(&WorkerStats) -> u64) -> u64 {
        self.engine.sum(counter)
    }

    pub fn uptime_s(&self) -> i64 {
        self.now.since(self.engine.started).max(0) / 1000
    }
}

fn client_totals(engine: &Engine) -> ClientTotals {
    let mut totals = ClientTotals::default();
    for client in engine.clients.all() {
        totals.connected += 1;
        totals.blocked += usize::from(client.has_flag(flag::BLOCKED));
        totals.subscribed += usize::from(client.has_flag(flag::SUBSCRIBED));
        totals.watching += usize::from(client.watched.load(Ordering::Relaxed) > 0);
        totals.bytes += client.memory();
        totals.argument_bytes += client.big_bytes.load(Ordering::Relaxed);
        totals.shared_bytes += client.output_shared.load(Ordering::Relaxed);
    }
    totals
}

/// Counts every database that holds keys. All shards are held.
pub fn keyspace_totals(guard: &mut Guard<'_>, now: UnixMs, rng: &mut Rng) -> Vec<DbTotals> {
    let databases = guard.store().databases();
    let totals = (0..databases).map(|db| db_totals(guard, DbIndex(db), now, rng));
    totals.filter(|totals| totals.keys > 0).collect()
}

fn db_totals(guard: &mut Guard<'_>, db: DbIndex, now: UnixMs, rng: &mut Rng) -> DbTotals {
    let mut totals = DbTotals { db, keys: 0, expires: 0, subexpiry: 0, average_ttl_ms: 0, table_bytes: 0 };
    let mut ttls = TtlSample::default();
    for (_, shard) in guard.shards() {
        let part = shard.db(db);
        totals.keys += part.len();
        totals.expires += part.expires_count();
        totals.subexpiry += part.fields_expire_count();
        totals.table_bytes += part.table().memory();
        ttls.draw(part, now, rng);
    }
    totals.average_ttl_ms = ttls.average_ms();
    totals
}

#[derive(Default)]
struct TtlSample {
    count: i64,
    sum_ms: i64,
}

/// Entries looked at in each shard: enough for an estimate over all of them, little enough to hold every
/// lock.
const TTL_SAMPLES: usize = 4;

impl TtlSample {
    fn draw(&mut self, part: &Db, now: UnixMs, rng: &mut Rng) {
        if part.expires_count() == 0 {
            return;
        }
        for _ in 0..TTL_SAMPLES {
            let drawn = part.table().random(&mut |limit| rng.below(limit));
            if let Some(at) = drawn.and_then(|slot| part.view(slot).expires_at()) {
                self.count += 1;
                self.sum_ms = self.sum_ms.saturating_add(at.saturating_sub(now.0).max(0));
            }
        }
    }

    fn average_ms(&self) -> i64 {
        self.sum_ms.checked_div(self.count).unwrap_or(0)
    }
}
