//! Every connection as the others see it: CLIENT LIST, CLIENT KILL, INFO clients. What only its own worker
//! needs is in the session.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use base::alloc::size_class;
use base::time::UnixMs;
use parking_lot::{Mutex, RwLock};

use crate::blocking::Ticket;
use crate::host::WorkerId;
use crate::tracking::ClientTracking;
use crate::weights::Weights;

/// Ascends over the life of the process; 0 is nobody.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct ClientId(pub u64);

/// A connection's public face. Its worker writes it with relaxed stores, anyone may read it.
#[derive(Debug)]
pub struct Client {
    pub id: ClientId,
    pub worker: WorkerId,
    pub peer: String,
    pub local: String,
    pub descriptor: i32,
    /// Came through the unix socket.
    pub unix: bool,
    /// Memory it takes whatever it does.
    pub fixed_bytes: usize,
    pub created: UnixMs,
    pub last_interaction_ms: AtomicI64,
    pub last_command: AtomicU16,
    pub db: AtomicU16,
    pub flags: AtomicU32,
    pub protocol: AtomicU16,
    pub channels: AtomicU32,
    pub patterns: AtomicU32,
    pub shard_channels: AtomicU32,
    pub subscription_bytes: AtomicUsize,
    /// What the registries' own names of what it listens to, follows, watches and waits for take where nobody
    /// shares them.
    pub registered_bytes: AtomicUsize,
    pub fieldset_bytes: AtomicUsize,
    /// Commands queued in MULTI; -1 outside.
    pub queued: AtomicI64,
    pub queued_bytes: AtomicUsize,
    pub watched: AtomicU32,
    pub watched_bytes: AtomicUsize,
    pub tracking: ClientTracking,
    /// A watched key has changed: EXEC will fail. Marked by whoever changes the key.
    pub watch_dirty: Arc<AtomicBool>,
    pub input_bytes: AtomicUsize,
    pub input_free: AtomicUsize,
    /// Of its input, bytes of large arguments that are not whole or wait to be run.
    pub big_bytes: AtomicUsize,
    /// Where the log was behind its last write.
    pub logged: AtomicU64,
    /// Of a request that waits for keys.
    pub argument_bytes: AtomicUsize,
    /// Replies that wait for the socket.
    pub output_bytes: AtomicUsize,
    /// Of these, bytes of large values and messages that others may hold too.
    pub output_shared: AtomicUsize,
    /// Of those, bytes that are in memory for others' sake: they do not count against any limit.
    pub output_lent: AtomicUsize,
    pub output_parts: AtomicUsize,
    /// What is in memory only for the reply that is being read.
    pub reading_bytes: AtomicUsize,
    /// Of messages that its worker has not heard yet.
    pub posted_bytes: AtomicUsize,
    pub total_input: AtomicU64,
    pub total_output: AtomicU64,
    pub total_commands: AtomicU64,
    pub no_evict: AtomicBool,
    /// It says that it understands `-REDIRECT` (CLIENT CAPA).
    pub takes_redirects: AtomicBool,
    pub killed: AtomicBool,
    /// What it waits for, for CLIENT UNBLOCK.
    pub blocked: Mutex<Option<Arc<Ticket>>>,
    pub names: Mutex<Names>,
    pub name_bytes: AtomicUsize,
}

/// What a client says of itself.
#[derive(Clone, Debug, Default)]
pub struct Names {
    pub name: String,
    pub library: String,
    pub library_version: String,
    pub user: String,
}

impl Names {
    /// Bytes of what the client has chosen.
    fn memory(&self) -> usize {
        [&self.name, &self.library, &self.library_version]
            .map(|name| size_class(name.capacity()))
            .iter()
            .sum()
    }
}

/// CLIENT LIST flags, as bits of [`Client::flags`].
pub mod flag {
    pub const MONITOR: u32 = 1;
    pub const SUBSCRIBED: u32 = 1 << 1;
    pub const MULTI: u32 = 1 << 2;
    pub const BLOCKED: u32 = 1 << 3;
    /// Not stored: it is `Client::watch_dirty`.
    pub const DIRTY_EXEC: u32 = 1 << 4;
    pub const CLOSE_AFTER_REPLY: u32 = 1 << 5;
    /// Not stored: it is `Client::killed`.
    pub const CLOSE_NOW: u32 = 1 << 6;
    pub const UNIX: u32 = 1 << 7;
    pub const NO_EVICT: u32 = 1 << 8;
    pub const NO_TOUCH: u32 = 1 << 9;
    pub const TRACKING: u32 = 1 << 10;
    /// Not stored: it is `ClientTracking::broken`.
    pub const TRACKING_BROKEN: u32 = 1 << 11;
    pub const TRACKING_BROADCAST: u32 = 1 << 12;
    pub const IMPORT_SOURCE: u32 = 1 << 13;
    /// It gets a dump.
    pub const REPLICA: u32 = 1 << 14;

    /// In the order in which CLIENT LIST prints them.
    pub const LETTERS: [(u32, char); 15] = [
        (REPLICA, 'S'),
        (MONITOR, 'O'),
        (SUBSCRIBED, 'P'),
        (MULTI, 'x'),
        (BLOCKED, 'b'),
        (TRACKING, 't'),
        (TRACKING_BROKEN, 'R'),
        (TRACKING_BROADCAST, 'B'),
        (DIRTY_EXEC, 'd'),
        (CLOSE_AFTER_REPLY, 'c'),
        (CLOSE_NOW, 'A'),
        (UNIX, 'U'),
        (NO_EVICT, 'e'),
        (NO_TOUCH, 'T'),
        (IMPORT_SOURCE, 'I'),
    ];
}

/// What a new connection brings.
pub struct Arrival {
    pub worker: WorkerId,
    pub peer: String,
    pub local: String,
    pub descriptor: i32,
    pub unix: bool,
    /// Memory that its worker needs for it.
    pub worker_bytes: usize,
}

impl Client {
    fn new(id: ClientId, arrival: Arrival, now: UnixMs) -> Client {
        Client {
            id,
            worker: arrival.worker,
            peer: arrival.peer,
            local: arrival.local,
            descriptor: arrival.descriptor,
            unix: arrival.unix,
            fixed_bytes: size_of::<Client>() + ENTRY_BYTES + arrival.worker_bytes,
            created: now,
            last_interaction_ms: AtomicI64::new(now.0),
            last_command: AtomicU16::new(u16::MAX),
            db: AtomicU16::new(0),
            flags: AtomicU32::new(if arrival.unix { flag::UNIX } else { 0 }),
            protocol: AtomicU16::new(2),
            channels: AtomicU32::new(0),
            patterns: AtomicU32::new(0),
            shard_channels: AtomicU32::new(0),
            subscription_bytes: AtomicUsize::new(0),
            registered_bytes: AtomicUsize::new(0),
            fieldset_bytes: AtomicUsize::new(0),
            queued: AtomicI64::new(-1),
            queued_bytes: AtomicUsize::new(0),
            watched: AtomicU32::new(0),
            watched_bytes: AtomicUsize::new(0),
            tracking: ClientTracking::default(),
            watch_dirty: Arc::default(),
            input_bytes: AtomicUsize::new(0),
            input_free: AtomicUsize::new(0),
            big_bytes: AtomicUsize::new(0),
            logged: AtomicU64::new(0),
            argument_bytes: AtomicUsize::new(0),
            output_bytes: AtomicUsize::new(0),
            output_shared: AtomicUsize::new(0),
            output_lent: AtomicUsize::new(0),
            output_parts: AtomicUsize::new(0),
            reading_bytes: AtomicUsize::new(0),
            posted_bytes: AtomicUsize::new(0),
            total_input: AtomicU64::new(0),
            total_output: AtomicU64::new(0),
            total_commands: AtomicU64::new(0),
            no_evict: AtomicBool::new(false),
            takes_redirects: AtomicBool::new(false),
            killed: AtomicBool::new(false),
            blocked: Mutex::default(),
            names: Mutex::new(Names { user: "default".into(), ..Names::default() }),
            name_bytes: AtomicUsize::new(0),
        }
    }

    /// Nobody's: stands for a log that is replayed. No list shows it.
    pub(crate) fn nobody() -> Arc<Client> {
        Client::nameless(ClientId(0))
    }

    /// One that has no connection.
    pub(crate) fn nameless(id: ClientId) -> Arc<Client> {
        let (peer, local) = (String::new(), String::new());
        let (worker, worker_bytes) = (WorkerId(0), 0);
        let arrival = Arrival { worker, peer, local, descriptor: -1, unix: false, worker_bytes };
        Arc::new(Client::new(id, arrival, UnixMs(0)))
    }

    pub fn set_flag(&self, flag: u32, on: bool) {
        let old = self.flags.load(Ordering::Relaxed);
        self.flags.store(if on { old | flag } else { old & !flag }, Ordering::Relaxed);
    }

    pub fn has_flag(&self, flag: u32) -> bool {
        self.flags.load(Ordering::Relaxed) & flag != 0
    }

    /// Changes what it says of itself.
    pub fn rename(&self, change: impl FnOnce(&mut Names)) {
        let mut names = self.names.lock();
        change(&mut names);
        self.name_bytes.store(names.memory(), Ordering::Relaxed);
    }

    /// A registry has a name for it.
    pub(crate) fn enter_name(&self, len: usize) {
        self.registered_bytes.fetch_add(len, Ordering::Relaxed);
    }

    pub(crate) fn strike_name(&self, len: usize) {
        self.registered_bytes.fetch_sub(len, Ordering::Relaxed);
    }

    /// So many bytes of messages have come to its worker.
    pub fn has_heard(&self, len: usize) {
        self.posted_bytes.fetch_sub(len, Ordering::Relaxed);
    }

    pub fn set_no_evict(&self, on: bool) {
        self.no_evict.store(on, Ordering::Relaxed);
        self.set_flag(flag::NO_EVICT, on);
    }

    pub(crate) fn may_be_evicted(&self) -> bool {
        !self.no_evict.load(Ordering::Relaxed) && !self.has_flag(flag::REPLICA)
    }

    /// All flags that hold now.
    pub fn all_flags(&self) -> u32 {
        let computed = [
            (flag::TRACKING_BROKEN, &self.tracking.broken),
            (flag::DIRTY_EXEC, &*self.watch_dirty),
            (flag::CLOSE_NOW, &self.killed),
        ];
        let stored = self.flags.load(Ordering::Relaxed);
        computed.iter().filter(|(_, on)| on.load(Ordering::Relaxed)).fold(stored, |all, (flag, _)| all | flag)
    }

    /// What its memory is counted among.
    pub fn held(&self) -> Held {
        let arguments = self.big_bytes.load(Ordering::Relaxed);
        let lent = self.output_lent.load(Ordering::Relaxed);
        let names = self.registered_bytes.load(Ordering::Relaxed);
        Held { client: self.memory().saturating_sub(arguments + lent), arguments, names }
    }

    /// Bytes the connection holds in all.
    pub fn memory(&self) -> usize {
        let parts = [
            &self.input_bytes,
            &self.input_free,
            &self.argument_bytes,
            &self.output_bytes,
            &self.reading_bytes,
            &self.posted_bytes,
            &self.queued_bytes,
            &self.watched_bytes,
            &self.subscription_bytes,
            &self.fieldset_bytes,
            &self.tracking.prefix_bytes,
            &self.name_bytes,
        ];
        self.fixed_bytes + parts.into_iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum::<usize>()
    }
}

/// Bytes of memory by what they are counted among.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Held {
    /// For `maxmemory-clients`.
    pub client: usize,
    /// For `maxmemory-arguments`.
    pub arguments: usize,
    /// What names that others may share take: clients are compared by it, too.
    pub names: usize,
}

impl Held {
    /// What a client is compared with others by, its arguments aside.
    pub(crate) fn weight(self) -> usize {
        self.client + self.names
    }
}

/// About what a client takes in the table of all, with its addresses.
const ENTRY_BYTES: usize = 256;

/// All connections, in the order of their ids.
#[derive(Default)]
pub struct Clients {
    by_id: RwLock<BTreeMap<ClientId, Arc<Client>>>,
    pub weights: Weights,
    next_id: AtomicU64,
}

impl Clients {
    pub fn arrive(&self, arrival: Arrival, now: UnixMs) -> Arc<Client> {
        let id = ClientId(self.next_id.fetch_add(1, Ordering::Relaxed) + 1);
        let client = Arc::new(Client::new(id, arrival, now));
        self.by_id.write().insert(id, Arc::clone(&client));
        client
    }

    pub fn leave(&self, id: ClientId) {
        self.by_id.write().remove(&id);
    }

    pub fn find(&self, id: ClientId) -> Option<Arc<Client>> {
        self.by_id.read().get(&id).cloned()
    }

    pub fn len(&self) -> usize {
        self.by_id.read().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those present at some moment during the call.
    pub fn all(&self) -> Vec<Arc<Client>> {
        self.by_id.read().values().cloned().collect()
    }
}
