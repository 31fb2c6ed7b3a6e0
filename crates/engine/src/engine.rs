//! The engine's state, and what each worker brings to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use base::random::Rng;
use base::time::UnixMs;
use parking_lot::Mutex;
use store::{Garbage, Guard, Plan, Store};

use crate::blocking::{Deferred, Waiters};
use crate::clients::Clients;
use crate::command_log::CommandLogs;
use crate::config::Config;
use crate::defrag::Defrag;
use crate::effects::Effects;
use crate::evict::Evictor;
use crate::functions::Functions;
use crate::host::{Host, WorkerId};
use crate::log::Log;
use crate::long_reply::Readings;
use crate::memory::Memory;
use crate::multi::Pause;
use crate::observe::{LatencyMonitor, Monitors};
use crate::pubsub::PubSub;
use crate::scripts::{ScriptSeat, Scripts};
use crate::stats::{Counter, WorkerStats};
use crate::tracking::Tracking;
use crate::watch::Watches;

/// Everything the workers share.
pub struct Engine {
    pub store: Store,
    pub host: Box<dyn Host>,
    config: ArcSwap<Config>,
    /// Ascends with every change of the configuration; workers compare it with what they hold.
    pub(crate) config_version: AtomicU64,
    /// Held by whoever derives a new configuration from the current one.
    pub config_change: Mutex<()>,
    pub log: Log,
    pub clients: Clients,
    pub watches: Watches,
    pub tracking: Tracking,
    pub waiters: Waiters,
    pub readings: Readings,
    pub pubsub: PubSub,
    pub monitors: Monitors,
    pub command_logs: CommandLogs,
    pub latency: Mutex<LatencyMonitor>,
    pub pause: Pause,
    pub scripts: Scripts,
    pub functions: Functions,
    pub errors: ErrorCounts,
    pub stats: Box<[Arc<WorkerStats>]>,
    /// Statistics of the timed cycle, which belongs to no worker.
    pub cycle: CycleStats,
    pub run_id: String,
    pub started: UnixMs,
    pub loading: AtomicBool,
    /// How much memory is in use, and whether that is too much.
    pub memory: Memory,
    pub defrag: Defrag,
    /// The last save failed: writes are refused if configuration says so.
    pub writes_stopped: AtomicBool,
    pub log_fault: LogFault,
    pub used_memory_peak: AtomicUsize,
    pub used_memory_startup: AtomicUsize,
    /// `dirty` of all workers when the last good save was cut.
    pub dirty_saved: AtomicU64,
    pub rejected_connections: AtomicU64,
    pub evicted_keys: AtomicU64,
    /// What had been freed late when the statistics began.
    pub freed_late_before: AtomicU64,
    pub connections_received: AtomicU64,
    pub debug: DebugSwitches,
    /// Unix milliseconds at which a delayed shutdown ends the process; 0: none.
    pub shutdown_at_ms: AtomicI64,
}

/// Set by DEBUG.
#[derive(Debug)]
pub struct DebugSwitches {
    pub active_expire: AtomicBool,
    /// DEBUG SET-DISABLE-DENY-SCRIPTS: scripts may run what is not for them.
    pub scripts_run_all: AtomicBool,
    /// RESTORE and loads skip checksums (DEBUG SET-SKIP-CHECKSUM-VALIDATION).
    pub skip_checksums: AtomicBool,
    pub pause_cron: AtomicBool,
    /// How long to wait before each write of the log to its file.
    pub log_delay_us: AtomicU64,
}

/// Counters of the timed cycle.
#[derive(Default, Debug)]
pub struct CycleStats {
    pub expired_keys: Counter,
    pub expired_fields: Counter,
    pub expired_stale_permille: Counter,
    pub expire_time_cap_reached: Counter,
    pub expire_ns: Counter,
    pub dirty: Counter,
    /// Rates over the last seconds: operations, input and output bytes, each per second.
    pub rates: Mutex<Rates>,
}

/// Moving averages, sampled by the timed cycle.
#[derive(Default, Debug, Clone, Copy)]
pub struct Rates {
    pub operations: u64,
    pub input_bytes: u64,
    pub output_bytes: u64,
}

/// Error replies by their code, for INFO errorstats.
#[derive(Default)]
pub struct ErrorCounts(Mutex<BTreeMap<String, u64>>);

/// So many codes, and scripts invent no more: what else they return is counted together.
const ERROR_CODES_MAX: usize = 128;
const OTHER_CODES: &str = "ERRORSTATS_OVERFLOW";

impl ErrorCounts {
    pub fn count(&self, code: &str) {
        let mut counts = self.0.lock();
        match counts.get_mut(code) {
            Some(count) => *count += 1,
            None => drop(counts.insert(code.to_string(), 1)),
        }
    }

    /// As `count`, for a code that a script has chosen.
    pub fn count_invented(&self, code: &str) {
        let is_known = {
            let counts = self.0.lock();
            counts.len() < ERROR_CODES_MAX || counts.contains_key(code)
        };
        self.count(if is_known { code } else { OTHER_CODES });
    }

    pub fn all(&self) -> Vec<(String, u64)> {
        self.0.lock().iter().map(|(code, count)| (code.clone(), *count)).collect()
    }

    pub fn reset(&self) {
        self.0.lock().clear();
    }
}

/// Why the log cannot be written to its file, while it cannot: writes are refused then.
#[derive(Default, Debug)]
pub struct LogFault {
    on: AtomicBool,
    reason: Mutex<String>,
}

impl LogFault {
    #[inline]
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    pub fn reason(&self) -> String {
        self.reason.lock().clone()
    }

    pub fn set(&self, reason: String) {
        *self.reason.lock() = reason;
        self.on.store(true, Ordering::Relaxed);
    }

    pub fn clear(&self) {
        self.on.store(false, Ordering::Relaxed);
    }
}

/// Shards are not to be had: a script has been running for too long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Busy;

impl Engine {
    pub fn new(config: Config, host: Box<dyn Host>, workers: usize, now: UnixMs) -> Engine {
        let mut rng = Rng::from_seed(host.random());
        let store = Store::new(workers * base::limits::SHARDS_PER_WORKER, config.databases as u16);
        store.set_snapshot_limit(config.snapshot_limit() as usize);
        let shards = store.shard_count();
        let tracking = Tracking::new(&store);
        let scripts = Scripts::new(workers, config.lua_limit() as usize);
        scripts.set_strict(config.lua_strict_keys);
        let functions = Functions::new(Arc::clone(&scripts.pool), workers);
        Engine {
            store,
            config: ArcSwap::from_pointee(config),
            config_version: AtomicU64::new(0),
            config_change: Mutex::new(()),
            log: Log::new(hex_id(&mut rng)),
            clients: Clients::default(),
            watches: Watches::new(shards),
            tracking,
            waiters: Waiters::new(shards),
            readings: Readings::default(),
            pubsub: PubSub::default(),
            monitors: Monitors::default(),
            command_logs: CommandLogs::default(),
            latency: Mutex::default(),
            pause: Pause::default(),
            scripts,
            functions,
            errors: ErrorCounts::default(),
            stats: (0..workers).map(|_| Arc::default()).collect(),
            cycle: CycleStats::default(),
            run_id: String::from_utf8_lossy(&hex_id(&mut rng)).into_owned(),
            started: now,
            loading: AtomicBool::new(false),
            memory: Memory::default(),
            defrag: Defrag::default(),
            writes_stopped: AtomicBool::new(false),
            log_fault: LogFault::default(),
            used_memory_peak: AtomicUsize::new(0),
            used_memory_startup: AtomicUsize::new(0),
            dirty_saved: AtomicU64::new(0),
            rejected_connections: AtomicU64::new(0),
            evicted_keys: AtomicU64::new(0),
            freed_late_before: AtomicU64::new(0),
            connections_received: AtomicU64::new(0),
            debug: DebugSwitches {
                active_expire: AtomicBool::new(true),
                scripts_run_all: AtomicBool::new(false),
                skip_checksums: AtomicBool::new(false),
                pause_cron: AtomicBool::new(false),
                log_delay_us: AtomicU64::new(0),
            },
            shutdown_at_ms: AtomicI64::new(0),
            host,
        }
    }

    pub fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// Publishes a new configuration; each worker takes it over before its next command.
    pub fn set_config(&self, config: Config) {
        self.store.set_snapshot_limit(config.snapshot_limit() as usize);
        self.scripts.pool.set_limit(config.lua_limit() as usize);
        self.scripts.set_strict(config.lua_strict_keys);
        self.config.store(Arc::new(config));
        self.config_version.fetch_add(1, Ordering::Release);
        self.host.wake_defragmenter();
    }

    /// The locks of a plan. A worker that has to wait for shards does it here: once a script has been running
    /// for too long it gives up, because nobody else answers its clients.
    #[inline]
    pub fn lock_unless_busy(&self, plan: &Plan) -> Result<Guard<'_>, Busy> {
        self.store.lock_unless(plan, &|| self.scripts.running.is_busy()).ok_or(Busy)
    }

    pub fn is_loading(&self) -> bool {
        self.loading.load(Ordering::Relaxed)
    }

    /// Time deletes nothing: not while loading, nor while an import says what expires.
    pub fn keeps_expired(&self) -> bool {
        self.is_loading() || self.config.load().import_mode
    }

    /// Sums a counter over the workers.
    pub fn sum(&self, counter: impl Fn(&WorkerStats) -> u64) -> u64 {
        self.stats.iter().map(|stats| counter(stats)).sum()
    }

    /// Changes since the process began.
    pub fn dirty(&self) -> u64 {
        self.sum(|stats| stats.dirty.value()) + self.cycle.dirty.value()
    }

    pub fn changes_since_save(&self) -> u64 {
        self.dirty().saturating_sub(self.dirty_saved.load(Ordering::Relaxed))
    }
}

/// Forty hexadecimal digits.
pub fn hex_id(rng: &mut Rng) -> [u8; 40] {
    std::array::from_fn(|_| b"0123456789abcdef"[rng.below(16) as usize])
}

/// One worker's part of the engine.
pub struct Worker {
    pub id: WorkerId,
    pub stats: Arc<WorkerStats>,
    pub rng: Rng,
    /// Wall clock, as old as `CLOCK_EVERY_NS` when a command begins.
    pub now: UnixMs,
    /// Monotonic clock when `now` was read.
    now_ns: u64,
    /// Monotonic clock when the last command ended: where the next one begins.
    pub clock_ns: u64,
    /// Effects of the transaction that is running, in place of the log.
    pub(crate) transaction: Option<crate::multi::TransactionLog>,
    /// Memory was used up, and no key could give way, when that was last looked at.
    pub(crate) out_of_room: bool,
    /// For so long a client's request may wait for shards; not at all once one has waited in vain in this
    /// round. `None` is no bound.
    pub(crate) patience_ns: Option<u64>,
    pub(crate) scripts: ScriptSeat,
    /// Why libraries were refused that the log holds.
    pub(crate) refused_libraries: Option<Vec<u8>>,
    /// What a command took out and frees itself, once its shards are unlocked.
    pub(crate) garbage: Vec<Garbage>,
    /// All was flushed: a dump is not to outlive what it holds.
    pub(crate) dump_is_stale: bool,
}

impl Worker {
    /// Reads the clocks; returns the monotonic one.
    pub fn read_clocks(&mut self, host: &dyn Host) -> u64 {
        self.now = UnixMs(host.unix_us() / 1000);
        self.clock_ns = host.monotonic_ns();
        self.now_ns = self.clock_ns;
        self.now_ns
    }

    /// Reads the wall clock anew behind what took long.
    #[inline]
    pub fn refresh_clock(&mut self, host: &dyn Host) {
        if self.clock_ns.saturating_sub(self.now_ns) >= CLOCK_EVERY_NS {
            self.read_clocks(host);
        }
    }
}

/// What comes behind something that took so long has a time of its own.
const CLOCK_EVERY_NS: u64 = 1_000_000;

/// For so long a worker waits for shards that somebody holds. A script may take much longer.
pub(crate) const LOCK_PATIENCE_NS: u64 = 1_000_000;

/// A worker with what its commands borrow beside it.
pub struct WorkerSeat {
    pub worker: Worker,
    pub config: Arc<Config>,
    /// It grows with each change of the configuration.
    pub version: u64,
    pub effects: Effects,
    /// Keys whose waiters need shards that were not locked.
    pub(crate) deferred: Vec<Deferred>,
    pub evictor: Evictor,
    /// Bytes that all clients may hold, and so what one reply may take, and those of large arguments; 0 is no
    /// limit. Worked out when the configuration changes: workers look at them with every request.
    pub clients_limit: u64,
    pub arguments_limit: u64,
}

impl WorkerSeat {
    pub fn new(engine: &Engine, id: WorkerId) -> WorkerSeat {
        WorkerSeat::counting(engine, id, Arc::clone(&engine.stats[id.0 as usize]))
    }

    /// Between requests: gives back what large ones have left, and scripts that were flushed.
    pub fn free(&mut self, engine: &Engine) {
        self.effects.free();
        self.worker.scripts.follow_flushes(&engine.scripts);
    }

    /// Bytes that it keeps from request to request, Lua's own not counted.
    pub fn memory(&self) -> usize {
        self.worker.scripts.memory()
    }

    /// A seat whose statistics nobody sees.
    pub(crate) fn uncounted(engine: &Engine) -> WorkerSeat {
        WorkerSeat::counting(engine, WorkerId(0), Arc::default())
    }

    fn counting(engine: &Engine, id: WorkerId, stats: Arc<WorkerStats>) -> WorkerSeat {
        let worker = Worker {
            id,
            stats,
            rng: Rng::from_seed(engine.host.random()),
            now: engine.started,
            now_ns: 0,
            clock_ns: engine.host.monotonic_ns(),
            transaction: None,
            out_of_room: false,
            patience_ns: None,
            scripts: ScriptSeat::default(),
            refused_libraries: None,
            garbage: Vec::new(),
            dump_is_stale: false,
        };
        let (effects, deferred, evictor) = (Effects::default(), Vec::new(), Evictor::default());
        let config = engine.config();
        let (clients_limit, arguments_limit) = (config.clients_limit(), config.arguments_limit());
        WorkerSeat { worker, config, version: 0, effects, deferred, evictor, clients_limit, arguments_limit }
    }

    /// A worker turns to its clients: what makes some wait for others is bounded from here on.
    pub fn begin_round(&mut self) {
        self.worker.patience_ns = Some(LOCK_PATIENCE_NS);
        self.evictor.begin_round();
    }

    /// Takes over a changed configuration.
    #[inline]
    pub fn refresh(&mut self, engine: &Engine) {
        let version = engine.config_version.load(Ordering::Acquire);
        if version != self.version {
            self.take_over(version, engine);
        }
    }

    #[cold]
    fn take_over(&mut self, version: u64, engine: &Engine) {
        (self.version, self.config) = (version, engine.config());
        self.clients_limit = self.config.clients_limit();
        self.arguments_limit = self.config.arguments_limit();
    }
}
