//! The configuration as the server uses it: one typed field for every directive that is served. Texts, bounds
//! and names of directives are rows of `directives`; nothing here parses or prints, and nothing reads a file.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use rdb::{Thresholds, VersionCheck};

/// One `save <seconds> <changes>` rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavePoint {
    pub seconds: i64,
    pub changes: i64,
}

/// When a client whose replies pile up is disconnected. 0 means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimit {
    pub hard_bytes: u64,
    pub soft_bytes: u64,
    pub soft_seconds: i64,
}

/// The index into `Config::client_output_limits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientClass {
    Normal,
    Replica,
    Pubsub,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Debug,
    Verbose,
    Notice,
    Warning,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyslogFacility {
    User,
    Local0,
    Local1,
    Local2,
    Local3,
    Local4,
    Local5,
    Local6,
    Local7,
}

/// How the server changes its score by which the kernel chooses whom to end when memory runs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OomScoreAdj {
    No,
    /// By the configured value.
    Relative,
    /// To the configured value.
    Absolute,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Supervisor {
    Upstart,
    Systemd,
    Auto,
    No,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvictionPolicy {
    VolatileLru,
    VolatileLfu,
    VolatileRandom,
    VolatileTtl,
    AllkeysLru,
    AllkeysLfu,
    AllkeysRandom,
    NoEviction,
    VolatileLrm,
    AllkeysLrm,
}

/// Whose RESTORE payloads and snapshot files are checked in depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SanitizePayload {
    No,
    Yes,
    Clients,
}

/// When the append-only file is forced to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendSync {
    EverySecond,
    /// Before anybody is answered.
    Always,
    No,
}

/// What becomes of a dump that holds more than `maxmemory` allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeyondMemory {
    /// Keys give way as `maxmemory-policy` says; if none may, the dump is refused.
    Evict,
    Refuse,
    /// It is loaded whatever it takes.
    Load,
}

/// What becomes of a log that holds what is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtRefusal {
    GoOn,
    End,
    /// Replicas end; the append-only file is loaded.
    EndReplica,
}

/// The version of Redis whose names encodings bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodingNames {
    Redis70,
    Redis72,
}

/// Who may use a dangerous command: nobody, everybody, or connections from this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebugAccess {
    No,
    Yes,
    Local,
}

/// What a signal asks of the shutdown. No flag set: save if save points exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShutdownFlags {
    pub save: bool,
    pub nosave: bool,
    pub now: bool,
    pub force: bool,
}

/// An amount of memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Amount {
    Bytes(u64),
    /// Of something else: 100 is all of it.
    Percent(u8),
}

impl Amount {
    pub fn of(self, whole: u64) -> u64 {
        match self {
            Amount::Bytes(bytes) => bytes,
            Amount::Percent(percent) => {
                whole / 100 * u64::from(percent) + whole % 100 * u64::from(percent) / 100
            }
        }
    }
}

/// Every served directive. Times and sizes carry their unit in the name.
#[derive(Clone, Debug)]
pub struct Config {
    /// What `io-threads 0` stands for; given in by the program that knows the machine.
    pub cores: usize,

    pub bind: Vec<Vec<u8>>,
    pub port: i64,
    /// Path of the Unix socket; empty for none.
    pub unixsocket: Vec<u8>,
    /// File mode of the Unix socket; 0 leaves it to the umask.
    pub unixsocketgroup: Vec<u8>,
    pub unixsocketperm: i64,
    pub tcp_backlog: i64,
    pub tcp_keepalive_seconds: i64,
    /// Idle clients are closed after so many seconds; 0 never.
    pub timeout_seconds: i64,
    pub maxclients: i64,
    pub protected_mode: bool,
    pub requirepass: Vec<u8>,
    pub proto_max_bulk_len: u64,
    pub client_query_buffer_limit: u64,
    /// By `ClientClass`.
    pub client_output_limits: [OutputLimit; 3],
    /// Worker threads; 0 is one for each core. Read it through `workers()`.
    pub io_threads: i64,

    pub databases: i64,
    pub daemonize: bool,
    pub supervised: Supervisor,
    pub pidfile: Vec<u8>,
    pub loglevel: LogLevel,
    /// Empty for standard output.
    pub logfile: Vec<u8>,
    pub syslog_enabled: bool,
    pub syslog_ident: Vec<u8>,
    pub syslog_facility: SyslogFacility,
    pub always_show_logo: bool,
    pub set_proc_title: bool,
    pub proc_title_template: Vec<u8>,
    pub hide_user_data_from_log: bool,
    pub crash_log_enabled: bool,
    pub enable_debug_command: DebugAccess,
    pub enable_protected_configs: DebugAccess,
    pub shutdown_on_sigint: ShutdownFlags,
    pub shutdown_on_sigterm: ShutdownFlags,

    pub save: Vec<SavePoint>,
    pub dbfilename: Vec<u8>,
    /// The working directory. The server replaces the default by the absolute path it started in.
    pub dir: Vec<u8>,
    pub rdbcompression: bool,
    /// What HELLO tells; nothing if it is empty.
    pub availability_zone: Vec<u8>,
    pub rdbchecksum: bool,
    pub stop_writes_on_bgsave_error: bool,
    pub rdb_save_incremental_fsync: bool,
    pub lua_memory_limit: u64,
    pub script_cache_limit: u64,
    pub busy_reply_threshold_ms: i64,
    /// Scripts keep to the keys they declare, and run beside each other.
    pub lua_strict_keys: bool,
    pub snapshot_memory_limit: u64,
    /// Bytes a second; 0: as fast as it goes.
    pub snapshot_write_rate: u64,
    pub sanitize_dump_payload: SanitizePayload,
    pub rdb_version_check: VersionCheck,
    /// Debugging aid: microseconds slept for each key loaded; negative: once in so many keys.
    pub key_load_delay_us: i64,
    /// Debugging aid: microseconds slept for each key saved; negative: once in so many keys.
    pub rdb_key_save_delay_us: i64,

    pub appendonly: bool,
    pub appendfilename: Vec<u8>,
    pub appenddirname: Vec<u8>,
    pub appendfsync: AppendSync,
    pub no_appendfsync_on_rewrite: bool,
    pub auto_aof_rewrite_percentage: i64,
    pub auto_aof_rewrite_min_size: u64,
    pub aof_load_truncated: bool,
    /// Damaged bytes at the end that may be cut off; 0: none.
    pub aof_load_corrupt_tail_max_size: u64,
    /// A base is a snapshot; else it is commands.
    pub aof_use_rdb_preamble: bool,
    pub aof_timestamp_enabled: bool,
    pub aof_rewrite_incremental_fsync: bool,
    pub aof_disable_auto_gc: bool,

    /// What this process may use of the machine or its control group; the server finds it out.
    pub available_memory: u64,
    /// A share is one of `available_memory`.
    pub maxmemory: Amount,
    /// A share is one of `maxmemory`, here and below; nothing is no limit.
    pub maxmemory_clients: Amount,
    pub maxmemory_arguments: Amount,
    pub maxmemory_policy: EvictionPolicy,
    pub load_beyond_maxmemory: BeyondMemory,
    pub propagation_error_behavior: AtRefusal,
    pub maxmemory_samples: i64,
    pub maxmemory_eviction_tenacity: i64,
    pub lfu_log_factor: i64,
    pub lfu_decay_time: i64,
    pub active_expire_effort: i64,
    /// Nothing expires: the source of an import says what does.
    pub import_mode: bool,
    pub lazyfree_lazy_eviction: bool,
    pub lazyfree_lazy_expire: bool,
    pub lazyfree_lazy_user_flush: bool,

    /// Runs of the periodic work in a second, 1 to 500.
    pub hz: i64,
    pub dynamic_hz: bool,
    /// Microseconds; negative logs nothing, 0 everything.
    pub slowlog_log_slower_than_us: i64,
    pub slowlog_max_len: i64,
    pub commandlog_request_len: i64,
    pub commandlog_requests: i64,
    pub commandlog_reply_len: i64,
    pub commandlog_replies: i64,
    /// Keys remembered for clients that cache; 0 is no limit.
    pub tracking_table_max_keys: i64,
    /// Milliseconds; 0 is off.
    pub latency_monitor_threshold_ms: i64,
    pub latency_tracking: bool,
    pub latency_tracking_info_percentiles: Vec<f64>,
    /// Bits of `notify::class`.
    pub notify_keyspace_events: u32,

    /// Up to which size collections are packed. DEBUG QUICKLIST-PACKED-THRESHOLD sets what no directive does.
    pub thresholds: Thresholds,
    pub object_encoding_names: EncodingNames,
    pub active_defrag: bool,
    pub active_defrag_ignore_bytes: u64,
    /// Per cent of what is in use.
    pub active_defrag_threshold_lower: i64,
    pub active_defrag_threshold_upper: i64,
    /// Per cent of one processor's time.
    pub active_defrag_cycle_min: i64,
    pub active_defrag_cycle_max: i64,
    pub active_defrag_cycle_us: i64,
    pub active_defrag_max_scan_fields: i64,
    pub oom_score_adj: OomScoreAdj,
    /// Of a primary, a replica, and a process that saves.
    pub oom_score_adj_values: Vec<Vec<u8>>,
    pub hll_sparse_max_bytes: usize,

    /// Nothing uses it yet; a small one is raised.
    pub repl_backlog_size: u64,
    pub repl_timeout_seconds: i64,
    /// Values of known directives that nothing uses yet, as CONFIG GET prints them; absent means the default.
    pub unserved: BTreeMap<&'static str, Vec<u8>>,
}

impl Config {
    /// The defaults on a machine with so many cores.
    pub fn with_cores(cores: usize) -> Config {
        Config { cores: cores.max(1), ..Config::default() }
    }

    /// Bytes that the process may use; 0 is no limit.
    pub fn memory_limit(&self) -> u64 {
        self.maxmemory.of(self.available_memory)
    }

    /// Bytes that all clients may take together; 0 is no limit. Never so few that nobody could connect to
    /// raise it: a `maxmemory` of 100 bytes still leaves room for those who say so.
    pub fn clients_limit(&self) -> u64 {
        match self.maxmemory_clients.of(self.memory_limit()) {
            0 => 0,
            limit => limit.max(LEAST_FOR_CLIENTS),
        }
    }

    /// Bytes that all clients may hold while such go on as do not read what they were answered. With their
    /// limit reached, those who hold most are ended.
    pub fn replies_room(&self) -> u64 {
        match (self.clients_limit(), self.memory_limit()) {
            (0, 0) => self.available_memory / UNREAD_PART,
            (0, limit) => limit / UNREAD_PART,
            (limit, _) => limit,
        }
    }

    /// Bytes that large arguments may take while they arrive; 0: they count for the clients.
    pub fn arguments_limit(&self) -> u64 {
        self.maxmemory_arguments.of(self.memory_limit())
    }

    /// Bytes that all running snapshots may take together.
    pub fn snapshot_limit(&self) -> u64 {
        self.within_memory(self.snapshot_memory_limit, SNAPSHOT_PART)
    }

    /// The command by which the log says that a key's time is over.
    pub fn expiry_verb(&self) -> &'static [u8] {
        if self.lazyfree_lazy_expire { b"UNLINK" } else { b"DEL" }
    }

    /// What users wrote, as a line of the log may show it.
    pub fn for_log(&self, text: String) -> String {
        if self.hide_user_data_from_log { REDACTED.to_owned() } else { text }
    }

    /// Bytes of the log that may wait for its file before writers wait.
    pub fn log_buffer_limit(&self) -> u64 {
        self.within_memory(LOG_BUFFER_MOST, LOG_BUFFER_PART)
    }

    /// Bytes that Lua may have; 0 is no limit.
    pub fn lua_limit(&self) -> u64 {
        self.within_memory(self.lua_memory_limit, LUA_PART).max(self.lua_memory_limit.min(LUA_LEAST))
    }

    /// Bytes of scripts' texts that are kept; 0 is no limit.
    pub fn script_cache_limit(&self) -> u64 {
        self.within_memory(self.script_cache_limit, SCRIPTS_PART)
    }

    /// `bytes`, but no more than one of so many parts of the memory there is.
    fn within_memory(&self, bytes: u64, part: u64) -> u64 {
        match self.memory_limit() {
            0 => bytes,
            limit => bytes.min((limit / part).max(POOL_LEAST)),
        }
    }

    /// How many worker threads the configuration asks for; at least one.
    pub fn workers(&self) -> usize {
        match usize::try_from(self.io_threads) {
            Ok(0) | Err(_) => self.cores.max(1),
            Ok(threads) => threads,
        }
    }

    pub fn output_limit(&self, class: ClientClass) -> OutputLimit {
        self.client_output_limits[class as usize]
    }
}

/// What the log shows in the place of users' data.
pub const REDACTED: &str = "*redacted*";

/// As Redis has it.
const LEAST_FOR_CLIENTS: u64 = 128 << 10;

impl Default for Config {
    fn default() -> Config {
        DEFAULTS.clone()
    }
}

impl OomScoreAdj {
    /// By the names of the directive: `yes` is short for `relative`.
    pub const BY_NAME: [OomScoreAdj; 4] =
        [OomScoreAdj::No, OomScoreAdj::Relative, OomScoreAdj::Relative, OomScoreAdj::Absolute];
}

impl LogLevel {
    pub const ALL: [LogLevel; 4] = [LogLevel::Debug, LogLevel::Verbose, LogLevel::Notice, LogLevel::Warning];
}

impl SyslogFacility {
    pub const ALL: [SyslogFacility; 9] = [
        SyslogFacility::User,
        SyslogFacility::Local0,
        SyslogFacility::Local1,
        SyslogFacility::Local2,
        SyslogFacility::Local3,
        SyslogFacility::Local4,
        SyslogFacility::Local5,
        SyslogFacility::Local6,
        SyslogFacility::Local7,
    ];
}

impl Supervisor {
    pub const ALL: [Supervisor; 4] =
        [Supervisor::Upstart, Supervisor::Systemd, Supervisor::Auto, Supervisor::No];
}

impl EvictionPolicy {
    pub const ALL: [EvictionPolicy; 10] = [
        EvictionPolicy::VolatileLru,
        EvictionPolicy::VolatileLfu,
        EvictionPolicy::VolatileRandom,
        EvictionPolicy::VolatileTtl,
        EvictionPolicy::AllkeysLru,
        EvictionPolicy::AllkeysLfu,
        EvictionPolicy::AllkeysRandom,
        EvictionPolicy::NoEviction,
        EvictionPolicy::VolatileLrm,
        EvictionPolicy::AllkeysLrm,
    ];
}

impl EvictionPolicy {
    /// Only keys with a time to live may go.
    pub fn is_volatile(self) -> bool {
        use EvictionPolicy::{VolatileLfu, VolatileLrm, VolatileLru, VolatileRandom, VolatileTtl};
        matches!(self, VolatileLru | VolatileLfu | VolatileRandom | VolatileTtl | VolatileLrm)
    }
}

impl BeyondMemory {
    pub const ALL: [BeyondMemory; 3] = [BeyondMemory::Evict, BeyondMemory::Refuse, BeyondMemory::Load];
}

impl AtRefusal {
    pub const ALL: [AtRefusal; 3] = [AtRefusal::GoOn, AtRefusal::End, AtRefusal::EndReplica];
}

impl SanitizePayload {
    pub const ALL: [SanitizePayload; 3] =
        [SanitizePayload::No, SanitizePayload::Yes, SanitizePayload::Clients];
}

impl AppendSync {
    pub const ALL: [AppendSync; 3] = [AppendSync::EverySecond, AppendSync::Always, AppendSync::No];
}

impl EncodingNames {
    pub const ALL: [EncodingNames; 2] = [EncodingNames::Redis70, EncodingNames::Redis72];
}

impl DebugAccess {
    pub const ALL: [DebugAccess; 3] = [DebugAccess::No, DebugAccess::Yes, DebugAccess::Local];
}

/// What snapshots, the log and scripts may take of `maxmemory`, and what they get however little it is.
const SNAPSHOT_PART: u64 = 8;
const LOG_BUFFER_PART: u64 = 16;
const LUA_PART: u64 = 32;
const SCRIPTS_PART: u64 = 8;
const POOL_LEAST: u64 = 1 << 20;
/// Each worker's machine takes some hundred kilobytes before a script has done anything.
const LUA_LEAST: u64 = 8 << 20;
/// What clients that do not read may take of memory, where nothing is said of clients.
const UNREAD_PART: u64 = 4;
const LOG_BUFFER_MOST: u64 = 8 << 20;

const DEFAULT_SAVE: [SavePoint; 3] = [
    SavePoint { seconds: 3600, changes: 1 },
    SavePoint { seconds: 300, changes: 100 },
    SavePoint { seconds: 60, changes: 10_000 },
];

const DEFAULT_OUTPUT_LIMITS: [OutputLimit; 3] = [
    OutputLimit { hard_bytes: 0, soft_bytes: 0, soft_seconds: 0 },
    OutputLimit { hard_bytes: 256 << 20, soft_bytes: 64 << 20, soft_seconds: 60 },
    OutputLimit { hard_bytes: 32 << 20, soft_bytes: 8 << 20, soft_seconds: 60 },
];

/// What holds where nothing is said: Redis' defaults, but a worker for each core.
pub(crate) static DEFAULTS: LazyLock<Config> = LazyLock::new(|| Config {
    cores: 1,
    bind: vec![b"*".to_vec(), b"-::*".to_vec()],
    port: 6379,
    unixsocket: Vec::new(),
    unixsocketgroup: Vec::new(),
    unixsocketperm: 0,
    tcp_backlog: 511,
    tcp_keepalive_seconds: 300,
    timeout_seconds: 0,
    maxclients: 10_000,
    protected_mode: true,
    requirepass: Vec::new(),
    proto_max_bulk_len: 512 << 20,
    client_query_buffer_limit: 1 << 30,
    client_output_limits: DEFAULT_OUTPUT_LIMITS,
    io_threads: 0,
    databases: 16,
    daemonize: false,
    supervised: Supervisor::No,
    pidfile: Vec::new(),
    loglevel: LogLevel::Notice,
    logfile: Vec::new(),
    syslog_enabled: false,
    syslog_ident: b"redis".to_vec(),
    syslog_facility: SyslogFacility::Local0,
    always_show_logo: false,
    set_proc_title: true,
    proc_title_template: b"{title} {listen-addr} {server-mode}".to_vec(),
    hide_user_data_from_log: false,
    crash_log_enabled: true,
    enable_debug_command: DebugAccess::No,
    enable_protected_configs: DebugAccess::No,
    shutdown_on_sigint: ShutdownFlags::default(),
    shutdown_on_sigterm: ShutdownFlags::default(),
    save: DEFAULT_SAVE.to_vec(),
    dbfilename: b"dump.rdb".to_vec(),
    dir: b".".to_vec(),
    rdbcompression: true,
    availability_zone: Vec::new(),
    rdbchecksum: true,
    stop_writes_on_bgsave_error: true,
    rdb_save_incremental_fsync: true,
    lua_memory_limit: base::limits::LUA_MEMORY_DEFAULT as u64,
    script_cache_limit: base::limits::SCRIPT_CACHE_DEFAULT as u64,
    busy_reply_threshold_ms: 5000,
    lua_strict_keys: false,
    snapshot_memory_limit: base::limits::SNAPSHOT_MEMORY_DEFAULT as u64,
    snapshot_write_rate: 0,
    sanitize_dump_payload: SanitizePayload::No,
    rdb_version_check: VersionCheck::Strict,
    key_load_delay_us: 0,
    rdb_key_save_delay_us: 0,
    appendonly: false,
    appendfilename: b"appendonly.aof".to_vec(),
    appenddirname: b"appendonlydir".to_vec(),
    appendfsync: AppendSync::EverySecond,
    no_appendfsync_on_rewrite: false,
    auto_aof_rewrite_percentage: 100,
    auto_aof_rewrite_min_size: 64 << 20,
    aof_load_truncated: true,
    aof_load_corrupt_tail_max_size: 0,
    aof_use_rdb_preamble: true,
    aof_timestamp_enabled: false,
    aof_rewrite_incremental_fsync: true,
    aof_disable_auto_gc: false,
    available_memory: 0,
    maxmemory: Amount::Bytes(0),
    maxmemory_clients: Amount::Percent(10),
    maxmemory_arguments: Amount::Percent(50),
    maxmemory_policy: EvictionPolicy::NoEviction,
    load_beyond_maxmemory: BeyondMemory::Evict,
    propagation_error_behavior: AtRefusal::GoOn,
    maxmemory_samples: 5,
    maxmemory_eviction_tenacity: 10,
    lfu_log_factor: 10,
    lfu_decay_time: 1,
    active_expire_effort: 1,
    import_mode: false,
    lazyfree_lazy_eviction: false,
    lazyfree_lazy_expire: false,
    lazyfree_lazy_user_flush: false,
    hz: 10,
    dynamic_hz: true,
    slowlog_log_slower_than_us: 10_000,
    slowlog_max_len: 128,
    commandlog_request_len: 1 << 20,
    commandlog_requests: 128,
    commandlog_reply_len: 1 << 20,
    commandlog_replies: 128,
    tracking_table_max_keys: 1_000_000,
    latency_monitor_threshold_ms: 0,
    latency_tracking: true,
    latency_tracking_info_percentiles: vec![50.0, 99.0, 99.9],
    notify_keyspace_events: 0,
    thresholds: Thresholds::DEFAULT,
    object_encoding_names: EncodingNames::Redis72,
    active_defrag: true,
    active_defrag_ignore_bytes: 16 << 20,
    active_defrag_threshold_lower: 5,
    active_defrag_threshold_upper: 100,
    active_defrag_cycle_min: 2,
    active_defrag_cycle_max: 5,
    active_defrag_cycle_us: 100,
    active_defrag_max_scan_fields: 1000,
    oom_score_adj: OomScoreAdj::No,
    oom_score_adj_values: vec![b"0".to_vec(), b"200".to_vec(), b"800".to_vec()],
    hll_sparse_max_bytes: 3000,
    repl_backlog_size: 1 << 20,
    repl_timeout_seconds: 60,
    unserved: BTreeMap::new(),
});
