//! Makes room when more than `maxmemory` is in use: keys that the policy names give way, the best of a few
//! that are looked at by chance. Each worker does so for itself, a shard at a time, before a command takes
//! its locks. It never judges how much is in use.

use std::sync::atomic::Ordering;

use base::hash::hash;
use base::random::Rng;
use base::time::UnixMs;
use store::{Db, DbIndex, EntryRef, Guard, Key, Plan, ShardId};

use crate::access::Access;
use crate::config::{Config, EvictionPolicy};
use crate::effects::Effects;
use crate::engine::{Busy, Engine};
use crate::keys::Keys;
use crate::memory::Meter;
use crate::tracking::NOBODY;

/// What one worker knows of keys that could go.
#[derive(Default)]
pub struct Evictor {
    /// The best last.
    pool: Vec<Candidate>,
    policy: Option<EvictionPolicy>,
    effects: Effects,
    pub meter: Meter,
    /// What is left of the time for which others may be kept waiting, in all; `None` is no bound.
    left_ns: Option<u64>,
}

struct Candidate {
    /// The higher, the sooner it goes.
    rank: u64,
    db: DbIndex,
    key: Box<[u8]>,
}

impl Candidate {
    fn is_short(&self) -> bool {
        self.key.len() <= NAME_LEN_KEPT
    }
}

/// What became of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    /// There is enough.
    Enough,
    /// The time for it was up; it goes on later.
    Later,
    /// No key may go.
    Nothing,
}

/// Candidates kept from one look to the next: Redis' number.
const POOL: usize = 16;
/// The longest name that stays in the pool.
const NAME_LEN_KEPT: usize = 4096;
/// Keys evicted between two looks at the clock.
const KEYS_PER_LOOK: usize = 16;
/// For so long commands that run together make room, before all others wait less for each.
const ROUND_NS: u64 = 2_000_000;
/// What `maxmemory-eviction-tenacity` stands for: so long for each step up to ten, and beyond that so much
/// of a factor for each. Redis' numbers.
const STEP_NS: f64 = 50_000.0;
const STEP_FACTOR: f64 = 1.15;

impl Evictor {
    /// Evicts until there is room or the time for it is up. The caller holds no lock.
    pub fn make_room(&mut self, engine: &Engine, config: &Config, now: UnixMs, rng: &mut Rng) -> Room {
        if config.maxmemory_policy == EvictionPolicy::NoEviction || config.import_mode {
            return Room::Nothing;
        }
        if engine.pause.is_on() {
            return Room::Later;
        }
        if self.policy.replace(config.maxmemory_policy) != Some(config.maxmemory_policy) {
            self.pool.clear();
        }
        let began = engine.host.monotonic_ns();
        let patience_ns = match patience_ns(config.maxmemory_eviction_tenacity) {
            u64::MAX => u64::MAX,
            patience_ns => patience_ns.min(self.left_ns.unwrap_or(u64::MAX)),
        };
        let room = self.evict_until(began.saturating_add(patience_ns), engine, config, now, rng);
        if let Some(left_ns) = &mut self.left_ns {
            *left_ns = left_ns.saturating_sub(engine.host.monotonic_ns() - began);
        }
        self.pool.retain(Candidate::is_short);
        room
    }

    /// A worker turns to its clients. Each of their commands may have to make room: once all of them together
    /// have taken long enough, every further one evicts a few keys only.
    pub fn begin_round(&mut self) {
        self.left_ns = Some(ROUND_NS);
    }

    /// Frees as many bytes as there are too many now: what is told of an eviction may take more memory than
    /// it frees, and must not lead to the next one.
    fn evict_until(
        &mut self,
        end: u64,
        engine: &Engine,
        config: &Config,
        now: UnixMs,
        rng: &mut Rng,
    ) -> Room {
        self.meter.report(&engine.memory);
        let mut left = engine.memory.excess();
        loop {
            for _ in 0..KEYS_PER_LOOK {
                if left == 0 || !engine.memory.is_over() {
                    return Room::Enough;
                }
                match self.evict_one(end, engine, config, now, rng) {
                    Ok(Some(freed)) => left = left.saturating_sub(freed as u64),
                    Ok(None) => return Room::Nothing,
                    Err(Busy) => return Room::Later,
                }
                self.meter.report(&engine.memory);
            }
            if engine.host.monotonic_ns() >= end {
                return Room::Later;
            }
        }
    }

    /// The bytes of a key that has gone; `None` if no key may go.
    fn evict_one(
        &mut self,
        end: u64,
        engine: &Engine,
        config: &Config,
        now: UnixMs,
        rng: &mut Rng,
    ) -> Result<Option<usize>, Busy> {
        let count = engine.store.shard_count() as u64;
        let first = rng.below(count);
        // As a rule the first shard has some.
        for step in 0..count {
            let shard = engine.store.ids().nth(((first + step) % count) as usize).expect("below the count");
            let mut guard = lock_until(end, engine, shard)?;
            for (index, db) in guard.shard(shard).dbs().filter(|(_, db)| !db.is_empty()) {
                self.look(db, index, config, now, rng);
            }
            drop(guard);
            while let Some(candidate) = self.pool.pop() {
                let freed = self.evict(end, engine, config, now, &candidate)?;
                if freed.is_some() {
                    return Ok(freed);
                }
            }
        }
        Ok(None)
    }

    /// Looks at a few keys of a database, and keeps the best.
    fn look(&mut self, db: &Db, index: DbIndex, config: &Config, now: UnixMs, rng: &mut Rng) {
        let ranks = Ranks::new(config, now);
        let pool = &mut self.pool;
        let mut keep = |entry: EntryRef<'_>| {
            if let Some(rank) = ranks.of(entry) {
                insert(pool, rank, index, entry.key());
            }
        };
        let mut below = |bound| rng.below(bound);
        let samples = if ranks.any() { 1 } else { config.maxmemory_samples.max(1) as usize };
        if config.maxmemory_policy.is_volatile() {
            // Of others only fields expire.
            if db.expires_count() > 0 {
                let wanted = |entry: EntryRef<'_>| entry.expires_at().is_some();
                db.table().some_expiring(samples, &mut below, &wanted, &mut keep);
            }
        } else {
            for _ in 0..samples {
                if let Some(slot) = db.table().random(&mut below) {
                    keep(db.view(slot));
                }
            }
        }
    }

    /// Its bytes; `None` if the key is not there any more, or was used since it was looked at.
    fn evict(
        &mut self,
        end: u64,
        engine: &Engine,
        config: &Config,
        now: UnixMs,
        candidate: &Candidate,
    ) -> Result<Option<usize>, Busy> {
        let (db, key) = (candidate.db, Key { bytes: &candidate.key, hash: hash(&candidate.key) });
        let shard = engine.store.shard_of(key.hash);
        let mut guard = lock_until(end, engine, shard)?;
        let part = guard.shard(shard).db(db);
        let Some(slot) = part.find(key) else { return Ok(None) };
        let entry = part.view(slot);
        if Ranks::new(config, now).of(entry).is_none_or(|rank| rank < candidate.rank) {
            return Ok(None);
        }
        self.effects.begin(engine.log.is_active(), db);
        let freed = self.keys(engine, config, now, db, &mut guard).evict(key);
        engine.evicted_keys.fetch_add(1, Ordering::Relaxed);
        if self.effects.any() && self.effects.logged {
            engine.log.append_apart(db, &self.effects);
        }
        engine.publish_events(config, &self.effects.events);
        drop(guard);
        engine.post_ready(&mut self.effects.ready);
        engine.send_invalidations(&mut self.effects.invalidated);
        Ok(Some(freed))
    }

    fn keys<'k, 's>(
        &'k mut self,
        engine: &'k Engine,
        config: &'k Config,
        now: UnixMs,
        db: DbIndex,
        guard: &'k mut Guard<'s>,
    ) -> Keys<'k, 's> {
        Keys {
            guard,
            engine,
            effects: &mut self.effects,
            config,
            db,
            client: NOBODY,
            now,
            access: Access::at(now, config, 0),
            no_touch: true,
            shows_expired: false,
            hides_expired: false,
        }
    }
}

/// A shard, unless a script has been running for too long or somebody holds it beyond the end of the time.
fn lock_until(end: u64, engine: &Engine, shard: ShardId) -> Result<Guard<'_>, Busy> {
    let give_up = || engine.scripts.running.is_busy() || engine.host.monotonic_ns() >= end;
    engine.store.lock_unless(&Plan::One(shard), &give_up).ok_or(Busy)
}

/// Puts a candidate in its place; the worst of too many is dropped, and whatever has a long name: the pool
/// holds one of these at most.
fn insert(pool: &mut Vec<Candidate>, rank: u64, db: DbIndex, key: &[u8]) {
    pool.retain(Candidate::is_short);
    let at = pool.partition_point(|other| other.rank < rank);
    if pool.len() >= POOL && at == 0 || pool.iter().any(|other| other.db == db && *other.key == *key) {
        return;
    }
    pool.insert(at, Candidate { rank, db, key: key.into() });
    if pool.len() > POOL {
        pool.remove(0);
    }
}

/// In which order keys go.
struct Ranks {
    policy: EvictionPolicy,
    access: Access,
}

impl Ranks {
    fn new(config: &Config, now: UnixMs) -> Ranks {
        Ranks { policy: config.maxmemory_policy, access: Access::at(now, config, 0) }
    }

    /// One key is as good as another.
    fn any(&self) -> bool {
        matches!(self.policy, EvictionPolicy::AllkeysRandom | EvictionPolicy::VolatileRandom)
    }

    /// `None`: the key may not go.
    fn of(&self, entry: EntryRef<'_>) -> Option<u64> {
        use EvictionPolicy::{
            AllkeysLfu, AllkeysRandom, NoEviction, VolatileLfu, VolatileRandom, VolatileTtl,
        };
        let expires_at = entry.expires_at();
        if self.policy.is_volatile() && expires_at.is_none() {
            return None;
        }
        match self.policy {
            NoEviction => None,
            AllkeysRandom | VolatileRandom => Some(0),
            VolatileTtl => Some(u64::MAX - expires_at.unwrap_or(i64::MAX).max(0) as u64),
            AllkeysLfu | VolatileLfu => {
                Some(u64::from(u8::MAX) - u64::from(self.access.frequency(entry.clock())))
            }
            _ => Some(u64::from(self.access.idle_seconds(entry.clock()))),
        }
    }
}

/// How long a command may be kept waiting.
fn patience_ns(tenacity: i64) -> u64 {
    match tenacity {
        ..=10 => (STEP_NS * tenacity.max(0) as f64) as u64,
        11..=99 => (STEP_NS * 10.0 * STEP_FACTOR.powf((tenacity - 10) as f64)) as u64,
        _ => u64::MAX,
    }
}
