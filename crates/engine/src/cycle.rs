//! Timed duties of the engine, in slices with a budget: active expiry, rates, limits of memory.
//!
//! The server calls them from its timer; none of them waits.

use std::sync::atomic::Ordering;

use base::limits;
use base::random::Rng;
use base::time::UnixMs;
use store::expire::ExpireCursor;
use store::{DbIndex, Key, Plan};

use crate::access::Access;
use crate::config::Config;
use crate::effects::Effects;
use crate::engine::{Busy, Engine};
use crate::keys::Keys;
use crate::tracking::NOBODY;

/// The timed cycle's own state: one thread calls it.
#[derive(Default)]
pub struct Cycle {
    cursor: ExpireCursor,
    effects: Effects,
    /// Keys at the cursor's place of which something is due.
    due: Vec<Box<[u8]>>,
    /// Items looked at in this call, and how many of them were due.
    seen: u64,
    found: u64,
}

/// Items looked at under one lock.
const EXPIRE_BATCH: usize = 64;

/// How often one call makes room in the table of keys that clients cache.
const TRIM_ROUNDS: usize = 16;

/// Clients served by one run of the timer, before it runs more often (`dynamic-hz`): Redis' number.
const CLIENTS_PER_RUN: usize = 200;
const HZ_MAX: u64 = 500;

/// How often the periodic work runs.
pub fn runs_per_second(config: &Config, clients: usize) -> u64 {
    let mut hz = config.hz.clamp(1, HZ_MAX as i64) as u64;
    while config.dynamic_hz && hz < HZ_MAX && clients / hz as usize > CLIENTS_PER_RUN {
        hz = (hz * 2).min(HZ_MAX);
    }
    hz
}

impl Cycle {
    /// Removes expired keys until a round is complete or `budget_ns` is used up. The share of due keys that
    /// had to be left is an estimate of how much of the keyspace is stale.
    pub fn expire(&mut self, engine: &Engine, now: UnixMs, budget_ns: u64) {
        let paused = engine.pause.is_on();
        if paused || engine.keeps_expired() || !engine.debug.active_expire.load(Ordering::Relaxed) {
            return;
        }
        let start = engine.host.monotonic_ns();
        let mut round = 0;
        (self.seen, self.found) = (0, 0);
        loop {
            // A script has locked the shard: the next run goes on there.
            let Ok(more) = self.expire_batch(engine, now) else { return };
            let databases = engine.store.databases();
            if !more && self.cursor.advance(databases, engine.store.shard_count()) {
                round += 1;
            }
            let elapsed = engine.host.monotonic_ns() - start;
            if round > 0 || elapsed > budget_ns {
                engine.cycle.expire_time_cap_reached.add(u64::from(round == 0));
                engine.cycle.expire_ns.add(elapsed);
                self.estimate_stale(engine, round > 0);
                return;
            }
        }
    }

    /// Makes the table of keys that clients cache keep its limits, should a command have left it over them.
    pub fn trim_tracking(&mut self, engine: &Engine) {
        if !engine.tracking.any() {
            return;
        }
        let (config, mut rng) = (engine.config(), Rng::from_seed(engine.host.random()));
        for _ in 0..TRIM_ROUNDS {
            let told = &mut self.effects.invalidated;
            let is_done = engine.tracking.trim(&config, limits::TRACKING_TRIM_KEYS, &mut rng, told);
            engine.send_invalidations(told);
            if is_done {
                return;
            }
        }
    }

    /// A round that was completed has left nothing that is due; else what was not looked at is taken to be
    /// as stale as what was.
    fn estimate_stale(&self, engine: &Engine, complete: bool) {
        let permille = if complete { 0 } else { self.found * 1000 / self.seen.max(1) };
        engine.cycle.expired_stale_permille.reset();
        engine.cycle.expired_stale_permille.add(permille);
    }

    /// One batch under one shard's lock, from the cursor's place on; true if there may be more where it is
    /// then.
    fn expire_batch(&mut self, engine: &Engine, now: UnixMs) -> Result<bool, Busy> {
        let (shard, first) = self.cursor.place();
        let mut guard = engine.lock_unless_busy(&Plan::One(shard))?;
        // Databases in which nothing expires are passed over under the same lock.
        let expires = |db: &DbIndex| guard.shard(shard).db(*db).table().expiring_count() > 0;
        let Some(db) = (first.0..engine.store.databases()).map(DbIndex).find(expires) else {
            self.cursor.db = engine.store.databases() - 1;
            self.due.clear();
            return Ok(false);
        };
        if db != first {
            self.due.clear();
            self.cursor.go_to(db);
        }
        let config = engine.config();
        self.effects.begin(engine.log.is_active(), db);
        let mut budget = EXPIRE_BATCH;
        let part = guard.shard(shard).db(db);
        // Hashes with further fields that are due come first.
        if self.due.is_empty() {
            while let Some(slot) = part.next_due(&mut self.cursor.position, now.0, &mut budget) {
                self.due.push(part.view(slot).key().into());
            }
            self.seen += (EXPIRE_BATCH - budget) as u64;
        } else {
            budget = 0;
            self.seen += self.due.len() as u64;
        }
        self.found += self.due.len() as u64;
        let mut keys = Keys {
            guard: &mut guard,
            engine,
            effects: &mut self.effects,
            config: &config,
            db,
            client: NOBODY,
            now,
            access: Access::at(now, &config, 0),
            no_touch: true,
            shows_expired: false,
            hides_expired: false,
        };
        self.due.retain(|key| keys.expire_due(Key::new(key)));
        engine.cycle.expired_keys.add(u64::from(self.effects.expired));
        engine.cycle.expired_fields.add(u64::from(self.effects.expired_fields));
        engine.cycle.dirty.add(self.effects.dirty);
        if self.effects.any() && self.effects.logged {
            engine.log.append_apart(db, &self.effects);
        }
        engine.publish_events(&config, &self.effects.events);
        drop(guard);
        engine.post_ready(&mut self.effects.ready);
        engine.send_invalidations(&mut self.effects.invalidated);
        Ok(budget == 0 || !self.due.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_clients_make_the_timer_run_more_often() {
        let config = |hz, dynamic_hz| Config { hz, dynamic_hz, ..Config::default() };
        assert_eq!(runs_per_second(&config(10, true), 2_000), 10);
        assert_eq!(runs_per_second(&config(10, true), 2_400), 20);
        assert_eq!(runs_per_second(&config(10, true), 10_000_000), 500);
        assert_eq!(runs_per_second(&config(10, false), 10_000), 10);
    }
}
