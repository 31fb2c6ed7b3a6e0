//! What the engine asks of the process around it: a closed list. The server implements it with threads,
//! sockets and files; tests implement it with vectors.

use std::sync::Arc;

use base::time::UnixMs;
use store::Garbage;

use crate::blocking::ReadyKey;
use crate::clients::{Client, ClientId};
use crate::config::Config;
use crate::engine::Busy;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct WorkerId(pub u16);

/// Log levels, Redis' four.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    Debug,
    Verbose,
    Notice,
    Warning,
}

/// What was handed over to be freed. An entry is one object, a table as many as it holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReclaimCounts {
    pub waiting: u64,
    /// Bytes of what waits; a table's are an estimate.
    pub waiting_bytes: u64,
    /// Objects freed so far, and their bytes.
    pub freed: u64,
    pub freed_bytes: u64,
}

/// Work for the worker that owns a client.
#[derive(Clone, Debug)]
pub enum Event {
    /// A message outside of request and reply. Its first byte is `>`; a RESP2 client gets `*` instead. It is
    /// dropped unless `Session::wants` it when it is delivered.
    Push { client: ClientId, message: Arc<Vec<u8>> },
    /// Keys that `origin` holds copies of have changed: an array of their names, or nothing for all keys. It
    /// is for `origin` itself or for the client it redirects to, in the form that
    /// `Session::invalidation_head` begins.
    /// `memory` bytes are its part of what `Memory::tell` knows to go with it.
    Invalidate { client: ClientId, origin: ClientId, keys: Arc<Vec<u8>>, memory: usize },
    /// Bytes as they are (MONITOR lines).
    Line { client: ClientId, line: Arc<Vec<u8>> },
    /// End the connection; nothing more is read or written.
    Kill { client: ClientId },
    /// The same, because more waits for it than may.
    Overwhelmed { client: ClientId },
    /// Run again what CLIENT PAUSE held back.
    Resume,
    /// The reply to a request that waited, if the client still waits with that ticket.
    Unblocked { client: ClientId, ticket: u64, reply: Arc<Vec<u8>> },
    /// The append-only file has come to what somebody waits for, or is no more.
    FileReached,
    /// Serve who waits for a key.
    Ready { key: ReadyKey },
}

/// How SHUTDOWN treats the data set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ShutdownSave {
    /// Save if save points are configured.
    AsConfigured,
    Always,
    Never,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shutdown {
    pub save: ShutdownSave,
    /// Do not wait for replicas.
    pub now: bool,
    /// Go on although saving failed.
    pub force: bool,
}

/// Whether the caller waits until what it ends has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    ForEnd,
    /// It sits on shards that the other needs to come to its end.
    Not,
}

/// A background save that was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SaveStarted {
    Started,
    /// Another one is running; this one follows it (BGSAVE SCHEDULE).
    Scheduled,
}

/// What came of waiting for a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    Bytes,
    Nothing,
    /// Nothing will come any more.
    End,
}

/// What a dump for a client has of the data (REPLCONF rdb-filter-only).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DumpContents {
    #[default]
    Everything,
    Functions,
    Nothing,
}

/// Why a save did not start or did not succeed; the text of the reply.
pub type SaveRefused = &'static str;
/// A script has been running for too long: the reply says so in the words for that script.
pub const SCRIPT_RUNS: SaveRefused = "BUSY";

/// Facts about the process that only its host can know.
#[derive(Clone, Debug, Default)]
pub struct ProcessFacts {
    pub pid: u32,
    pub resident_bytes: u64,
    pub cpu_system_s: f64,
    pub cpu_user_s: f64,
    pub cpu_system_main_thread_s: f64,
    pub cpu_user_main_thread_s: f64,
    pub system_memory_bytes: u64,
    pub os: String,
    pub executable: String,
    pub config_file: String,
    pub supervised: bool,
    /// `listener0:name=tcp,bind=127.0.0.1,port=6379` lines.
    pub listeners: Vec<String>,
}

/// Counters of saving; kept by the server, shown by INFO, read by the MISCONF gate.
#[derive(Clone, Debug)]
pub struct SaveStatus {
    pub in_progress: bool,
    pub scheduled: bool,
    pub last_save: UnixMs,
    pub last_ok: bool,
    pub last_seconds: Option<i64>,
    pub started: Option<UnixMs>,
    pub saves: u64,
    pub keys_done: u64,
    pub keys_total: u64,
    /// Bytes the last snapshot held in memory at most.
    pub last_snapshot_bytes: u64,
    pub snapshot_bytes: u64,
    /// Microseconds for which the last cut held all locks.
    pub cut_us: u64,
    pub cuts: u64,
    pub dumps: DumpStatus,
}

/// Dumps for clients (SYNC).
#[derive(Clone, Copy, Debug, Default)]
pub struct DumpStatus {
    /// Of those being taken: since when, keys, and the most bytes that a snapshot has held.
    pub started: Option<UnixMs>,
    pub keys_done: u64,
    pub keys_total: u64,
    pub snapshot_bytes: u64,
    /// Memory of those being sent.
    pub buffer_bytes: usize,
    /// Begun so far, and bytes sent of them.
    pub begun: u64,
    pub sent_bytes: u64,
}

/// The append-only file as INFO tells of it.
#[derive(Clone, Debug)]
pub struct LogFileStatus {
    pub enabled: bool,
    pub rewriting: bool,
    pub rewrite_scheduled: bool,
    pub last_rewrite_seconds: Option<i64>,
    pub rewrite_started: Option<UnixMs>,
    pub last_rewrite_ok: bool,
    pub rewrites: u64,
    pub failed_in_a_row: u64,
    pub last_write_ok: bool,
    /// Bytes the last rewrite's snapshot held in memory at most.
    pub last_snapshot_bytes: u64,
    pub current_size: u64,
    /// When the last rewrite ended, or at the start.
    pub base_size: u64,
    /// Bytes that wait to be written.
    pub buffered: u64,
    /// Memory of these and for those to come.
    pub buffer_memory: u64,
    pub is_syncing: bool,
    /// Times that writers waited for a disk that was behind.
    pub delays: u64,
}

impl Default for LogFileStatus {
    /// There is none.
    fn default() -> LogFileStatus {
        LogFileStatus {
            enabled: false,
            rewriting: false,
            rewrite_scheduled: false,
            last_rewrite_seconds: None,
            rewrite_started: None,
            last_rewrite_ok: true,
            rewrites: 0,
            failed_in_a_row: 0,
            last_write_ok: true,
            last_snapshot_bytes: 0,
            current_size: 0,
            base_size: 0,
            buffered: 0,
            buffer_memory: 0,
            is_syncing: false,
            delays: 0,
        }
    }
}

/// Progress of the load at start.
#[derive(Clone, Debug, Default)]
pub struct LoadStatus {
    pub started: UnixMs,
    pub total_bytes: u64,
    pub loaded_bytes: u64,
    /// Of the file, bytes in memory: what is read and not yet data.
    pub buffer_bytes: u64,
    /// What the writer of the dump used, as the dump tells.
    pub rdb_used_memory: u64,
    pub keys_loaded: u64,
    pub keys_expired: u64,
}

/// What becomes of a key or a library that is loaded and is there already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AtDuplicate {
    /// The load fails.
    Refuse,
    /// It takes the other's place.
    Replace,
}

/// Why data was not loaded again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotReloaded {
    /// A load is under way.
    Loading,
    /// A script has been running for too long.
    Busy,
    /// The log says why.
    Failed,
}

impl From<Busy> for NotReloaded {
    fn from(_: Busy) -> NotReloaded {
        NotReloaded::Busy
    }
}

pub trait Host: Send + Sync {
    /// Writes a line to the log.
    fn log(&self, level: Level, message: &str);
    /// Puts an event into a worker's inbox and wakes it. Never blocks.
    fn post(&self, worker: WorkerId, event: Event);
    /// Frees what nobody can reach any more, on another thread.
    fn reclaim(&self, garbage: Garbage);
    fn reclaim_counts(&self) -> ReclaimCounts;
    /// Has whoever defragments memory look now whether there is something to do.
    fn wake_defragmenter(&self);
    /// Starts a background save (the reply has the error text if it cannot).
    fn save_in_background(&self, schedule: bool) -> Result<SaveStarted, SaveRefused>;
    /// Saves and returns when the file is in place.
    fn save_now(&self) -> Result<(), SaveRefused>;
    /// Ends a running or scheduled background save; false if there was none.
    fn cancel_save(&self, wait: Wait) -> bool;
    fn save_status(&self) -> SaveStatus;
    /// Has a dump taken for a client, or later when others are done. It is sent once all earlier replies are
    /// out, and ends the connection.
    fn begin_dump(&self, client: &Arc<Client>, contents: DumpContents) -> Result<(), SaveRefused>;
    fn log_file_status(&self) -> LogFileStatus;
    /// Sets to zero what these two count: saves, cuts, rewrites, failures and delays (CONFIG RESETSTAT).
    fn reset_counts(&self);
    /// Waits until the append-only file has for certain what is in the log now.
    fn await_log(&self);
    /// Waits until the append-only file's disk works for nobody.
    fn await_log_turn(&self);
    /// Whether the append-only file is still too far behind for more to be added; the log knows it then.
    fn is_log_behind(&self) -> bool;
    /// A request has to wait for that.
    fn note_log_delay(&self);
    /// Starts to rewrite the append-only file, or has it done later: when a save has ended, or if the caller
    /// sits on shards (EXEC) when it lets go.
    fn rewrite_log(&self, later: bool) -> Result<SaveStarted, SaveRefused>;
    /// Loads the append-only file in place of what is in memory (DEBUG LOADAOF): `empty` empties the keyspace
    /// when all that was logged is in the file, and nobody changes anything any more.
    fn reload_log(&self, empty: &dyn Fn() -> Result<(), Busy>) -> Result<(), NotReloaded>;
    fn load_status(&self) -> LoadStatus;
    /// Loads the dump file (DEBUG RELOAD) when nobody changes anything any more and `prepare` has ended.
    fn reload(
        &self,
        at_duplicate: AtDuplicate,
        prepare: &dyn Fn() -> Result<(), Busy>,
    ) -> Result<(), NotReloaded>;
    /// Ends the process. Returns only if it did not come to that: the reply's error text.
    fn shutdown(&self, how: Shutdown) -> Result<(), String>;
    fn cancel_shutdown(&self) -> bool;
    /// Makes a changed directive take effect outside of the engine (ports, log file, limits of descriptors).
    /// An error undoes the CONFIG SET.
    fn apply(&self, directive: &str, config: &Config) -> Result<(), String>;
    /// The configuration file's text, for CONFIG REWRITE. `Err`: there is none.
    fn read_config_file(&self) -> Result<Vec<u8>, String>;
    fn write_config_file(&self, text: &[u8]) -> Result<(), String>;
    fn facts(&self) -> ProcessFacts;
    /// Microseconds, wall clock, for TIME.
    fn unix_us(&self) -> i64;
    /// Nanoseconds, monotonic.
    fn monotonic_ns(&self) -> u64;
    /// Nanoseconds for which the calling thread has had a processor.
    fn processor_ns(&self) -> u64;
    /// A script has been running for long: its worker, which calls this, hears its other clients.
    fn attend(&self);
    /// Shows bytes to the client whose script this worker debugs, behind all replies that it has to get.
    fn say(&self, shown: &[u8]);
    /// Waits a moment for bytes of that client, and adds what has come.
    fn hear(&self, input: &mut Vec<u8>) -> Heard;
    /// Blocks the calling worker (DEBUG SLEEP).
    fn sleep_us(&self, us: u64);
    /// Ends the process as a crash would (DEBUG SEGFAULT, PANIC) or starts it again (DEBUG RESTART).
    fn crash(&self, how: &str);
    /// Seeds and run ids: unpredictable bytes.
    fn random(&self) -> u64;
}
