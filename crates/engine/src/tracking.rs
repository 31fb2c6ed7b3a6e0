//! Client-side caching: who has to be told when a key changes.
//!
//! A client that tracks is remembered with each key it reads, under the lock of the key's shard, so whoever
//! changes the key next sees it; or, in broadcasting mode, with the prefixes it names. Keys go by their names
//! whatever their database. While nobody tracks, a change costs one relaxed load. The table is bounded: what
//! it forgets counts as changed.

mod keys;
mod messages;
mod prefixes;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use base::alloc::size_class;
use base::limits;
use base::random::Rng;
use parking_lot::{Mutex, RwLock};
use store::{Key, ShardId, Store};

use crate::args::Argv;
use crate::clients::{ClientId, flag};
use crate::command::{Group, flag as row_flag};
use crate::config::Config;
use crate::engine::Engine;
use crate::pipeline::Env;
use crate::registry::Registered;
use crate::session::Session;
use keys::TrackedKeys;
pub use messages::Invalidations;
pub use prefixes::check_overlaps;
use prefixes::{Prefixes, prefix_len};

/// What a client asked for, as bits.
pub mod mode {
    pub const ON: u32 = 1;
    /// All keys with certain prefixes, whether it has read them or not.
    pub const BROADCAST: u32 = 1 << 1;
    /// Only keys read right after CLIENT CACHING YES.
    pub const OPT_IN: u32 = 1 << 2;
    /// All but keys read right after CLIENT CACHING NO.
    pub const OPT_OUT: u32 = 1 << 3;
    /// CLIENT CACHING was given, for the next request or transaction.
    pub const CACHING: u32 = 1 << 4;
    /// No messages about what it changes itself.
    pub const NO_LOOP: u32 = 1 << 5;
}

/// A client's side. Its worker writes it, whoever changes a key reads it.
#[derive(Debug, Default)]
pub struct ClientTracking {
    modes: AtomicU32,
    /// The client that gets the messages; 0 is itself.
    redirect: AtomicU64,
    /// The redirection was found to lead nowhere.
    pub broken: AtomicBool,
    /// Memory of the prefixes it follows, the registry's own names of them not counted.
    pub prefix_bytes: AtomicUsize,
}

impl ClientTracking {
    #[inline]
    pub fn modes(&self) -> u32 {
        self.modes.load(Ordering::Relaxed)
    }

    #[inline]
    pub fn is_on(&self) -> bool {
        self.modes() != 0
    }

    pub fn redirect(&self) -> Option<ClientId> {
        match self.redirect.load(Ordering::Relaxed) {
            0 => None,
            id => Some(ClientId(id)),
        }
    }

    /// As CLIENT LIST and GETREDIR show it: -1 without tracking.
    pub fn shown_redirect(&self) -> i64 {
        if self.is_on() { self.redirect.load(Ordering::Relaxed) as i64 } else { -1 }
    }

    pub fn begin_caching(&self) {
        self.modes.store(self.modes() | mode::CACHING, Ordering::Relaxed);
    }

    pub fn end_caching(&self) {
        self.modes.store(self.modes() & !mode::CACHING, Ordering::Relaxed);
    }

    fn set(&self, modes: u32, redirect: Option<ClientId>) {
        self.modes.store(modes, Ordering::Relaxed);
        self.redirect.store(redirect.map_or(0, |id| id.0), Ordering::Relaxed);
        self.broken.store(false, Ordering::Relaxed);
    }

    /// Whether what the client reads now is to be remembered.
    fn remembers(&self) -> bool {
        let modes = self.modes();
        let has = |bit| modes & bit != 0;
        let chosen = match has(mode::CACHING) {
            true => !has(mode::OPT_OUT),
            false => !has(mode::OPT_IN),
        };
        has(mode::ON) && !has(mode::BROADCAST) && chosen
    }
}

/// The server's side.
pub struct Tracking {
    /// Keys remembered, and prefixes counted for each follower: while there are none, changes pass by.
    busy: AtomicUsize,
    /// Prefixes, counted for each follower.
    follows: AtomicUsize,
    clients: AtomicUsize,
    items: AtomicUsize,
    bytes: AtomicUsize,
    shards: Box<[Mutex<TrackedKeys>]>,
    shard_bits: u8,
    prefixes: RwLock<Prefixes>,
}

impl Tracking {
    pub fn new(store: &Store) -> Tracking {
        let shard_bits = store.shard_bits();
        Tracking {
            busy: AtomicUsize::new(0),
            follows: AtomicUsize::new(0),
            clients: AtomicUsize::new(0),
            items: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            shards: store.ids().map(|_| Mutex::new(TrackedKeys::new(shard_bits))).collect(),
            shard_bits,
            prefixes: RwLock::default(),
        }
    }

    /// Whether anybody may have to be told of a change.
    #[inline]
    pub fn any(&self) -> bool {
        self.busy.load(Ordering::Relaxed) > 0
    }

    pub fn client_count(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }

    pub fn key_count(&self) -> usize {
        self.busy.load(Ordering::Relaxed).saturating_sub(self.follows.load(Ordering::Relaxed))
    }

    /// Keys, counted for each client that is remembered with them.
    pub fn item_count(&self) -> usize {
        self.items.load(Ordering::Relaxed)
    }

    pub fn prefix_count(&self) -> usize {
        self.prefixes.read().len()
    }

    /// Bytes of the prefixes, once for all followers.
    pub fn prefix_memory(&self) -> usize {
        self.prefixes.read().memory()
    }

    /// Bytes of the table of keys.
    pub fn memory(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Works on one shard's keys, and keeps the sums over all of them.
    fn with_keys<R>(&self, shard: usize, work: impl FnOnce(&mut TrackedKeys) -> R) -> R {
        let mut keys = self.shards[shard].lock();
        let before = keys.totals();
        let result = work(&mut keys);
        let after = keys.totals();
        if before != after {
            let sums = [
                (&self.busy, before.keys, after.keys),
                (&self.items, before.items, after.items),
                (&self.bytes, before.bytes, after.bytes),
            ];
            for (sum, before, after) in sums {
                sum.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
            }
        }
        result
    }

    /// A key changed; nobody holds a copy any more. The caller holds its shard.
    #[cold]
    pub fn change(&self, shard: ShardId, key: Key<'_>, writer: ClientId, told: &mut Invalidations) {
        if let Some(holders) = self.with_keys(shard.0 as usize, |keys| keys.remove(key)) {
            told.add(key.bytes, &holders, writer);
        }
        let followed = self.follows.load(Ordering::Relaxed) > 0;
        if followed && self.prefixes.read().of(key.bytes).next().is_some() {
            told.add_broadcast(key.bytes, writer);
        }
    }

    /// Forgets every key. Returns what is to be freed, best without a lock.
    #[must_use = "freeing much takes its time"]
    fn forget_all(&self) -> Vec<TrackedKeys> {
        let fresh = || TrackedKeys::new(self.shard_bits);
        let shards = 0..self.shards.len();
        shards.map(|shard| self.with_keys(shard, |keys| std::mem::replace(keys, fresh()))).collect()
    }

    /// Forgets any key, and has its clients told; false if there is none.
    fn forget_any(&self, rng: &mut Rng, told: &mut Invalidations) -> bool {
        let first = rng.below(self.shards.len() as u64) as usize;
        let shards = (first..self.shards.len()).chain(0..first);
        for shard in shards {
            if let Some((name, holders)) = self.with_keys(shard, |keys| keys.remove_any(rng)) {
                told.add(&name, &holders, NOBODY);
                return true;
            }
        }
        false
    }

    fn is_over_limit(&self, config: &Config) -> bool {
        let keys_max = config.tracking_table_max_keys as usize;
        let bytes_max = limits::TRACKING_TABLE_LEN.max(keys_max.saturating_mul(limits::TRACKING_KEY_LEN));
        keys_max > 0 && self.key_count() > keys_max || self.memory() > bytes_max
    }

    /// Forgets keys until the table keeps its limits, up to so many; true if it keeps them now.
    pub fn trim(&self, config: &Config, most: usize, rng: &mut Rng, told: &mut Invalidations) -> bool {
        let forgets = |_: &usize| self.is_over_limit(config) && self.forget_any(rng, told);
        (0..most).take_while(forgets).count() < most
    }
}

/// Whoever changes a key without being a client: time, or a limit.
pub const NOBODY: ClientId = ClientId(0);

/// Keys that may have to go for each one that came, so that the table shrinks while it is over its limits.
const TRIM_FACTOR: usize = 4;

/// Memory of a followed prefix: the client's own name of it, in a node, and its place in the list.
fn follow_len(prefix: &[u8]) -> usize {
    size_class(prefix.len()) + FOLLOW_LEN
}

const FOLLOW_LEN: usize = 48;

impl Engine {
    /// CLIENT TRACKING ON: what was asked for takes the place of what was before, but prefixes add up.
    pub fn track(&self, session: &mut Session, modes: u32, redirect: Option<ClientId>, prefixes: &[&[u8]]) {
        let state = &session.client.tracking;
        if !state.is_on() {
            self.tracking.clients.fetch_add(1, Ordering::Relaxed);
        }
        state.set(mode::ON | modes | state.modes() & mode::CACHING, redirect);
        session.client.set_flag(flag::TRACKING, true);
        session.client.set_flag(flag::TRACKING_BROADCAST, modes & mode::BROADCAST != 0);
        if modes & mode::BROADCAST == 0 {
            return;
        }
        let all: &[&[u8]] = &[b""];
        for prefix in if prefixes.is_empty() { all } else { prefixes } {
            self.follow(session, prefix);
        }
    }

    fn follow(&self, session: &mut Session, prefix: &[u8]) {
        if session.tracking_prefixes.insert(prefix.into()) {
            self.tracking.prefixes.write().add(prefix, session.client.id);
            self.tracking.follows.fetch_add(1, Ordering::Relaxed);
            self.tracking.busy.fetch_add(1, Ordering::Relaxed);
            session.client.tracking.prefix_bytes.fetch_add(follow_len(prefix), Ordering::Relaxed);
            session.client.enter_name(prefix_len(prefix));
        }
    }

    /// The keys it has read stay in the table until they change or have to give way: that costs less than to
    /// look for them.
    pub fn untrack(&self, session: &mut Session) {
        if !session.client.tracking.is_on() {
            return;
        }
        for prefix in std::mem::take(&mut session.tracking_prefixes) {
            self.tracking.prefixes.write().remove(&prefix, session.client.id);
            session.client.strike_name(prefix_len(&prefix));
            self.tracking.busy.fetch_sub(1, Ordering::Relaxed);
            self.tracking.follows.fetch_sub(1, Ordering::Relaxed);
        }
        let client = &session.client;
        client.tracking.prefix_bytes.store(0, Ordering::Relaxed);
        client.tracking.set(0, None);
        client.set_flag(flag::TRACKING | flag::TRACKING_BROADCAST, false);
        self.tracking.clients.fetch_sub(1, Ordering::Relaxed);
    }

    /// Remembers the keys of a request that read them for a client that tracks. Their shards are locked.
    #[cold]
    pub(crate) fn remember(&self, env: &mut Env<'_, '_>, command: &Registered, argv: &Argv<'_>) {
        let client = &env.session.client;
        // The shard channels of some commands pass for keys, for the cluster's routing. Of a script its
        // commands are looked at.
        let names_no_keys = command.row.has(row_flag::PUBSUB) || command.row.group == Group::Scripting;
        if !client.tracking.remembers() || names_no_keys {
            return;
        }
        let (told, mut added) = (&mut env.effects.invalidated, 0);
        command.row.visit_keys(argv, &mut |index| {
            let key = Key::new(argv.at(index));
            if key.bytes.len() > limits::TRACKING_NAME_LEN {
                return told.add(key.bytes, &[client.id], NOBODY);
            }
            let shard = self.store.shard_of(key.hash);
            self.tracking.with_keys(shard.0 as usize, |keys| keys.add(key, client.id));
            added += 1;
        });
        self.tracking.trim(env.config, added * TRIM_FACTOR, &mut env.worker.rng, told);
    }

    /// Databases were emptied, or filled anew: whatever a client holds is void.
    pub(crate) fn invalidate_all(&self, told: &mut Invalidations) {
        if self.tracking.client_count() > 0 {
            let tracking = self.clients.all().into_iter().filter(|client| client.tracking.is_on());
            tracking.for_each(|client| told.add_all_keys(client.id));
        }
        if self.tracking.any() {
            told.free_later(self.tracking.forget_all());
        }
    }
}
