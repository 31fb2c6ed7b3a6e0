//! Every bound on something that grows, with its reason. It must never hold state: what an operator can
//! change is a default here and lives in the configuration.

/// Bytes of an inline request, and of a multibulk or bulk header line, without a line end: Redis' limit
/// (PROTO_INLINE_MAX_SIZE). More than this is no protocol line.
pub const INLINE_REQUEST_LEN: usize = 64 * 1024;

/// Bytes of a `*count` or `$len` line without a line end; Redis uses the same limit for both.
pub const BULK_HEADER_LEN: usize = 64 * 1024;

/// Arguments of one request. Redis 7 allows i32::MAX; each argument costs at least 5 bytes on the wire, so
/// memory is bounded by what arrives and never reserved from the count alone (see `ARGUMENTS_RESERVED`).
pub const MULTIBULK_COUNT: i64 = i32::MAX as i64;

/// Arguments that a request's header alone may reserve room for: 16 bytes each, so a header costs at most 16
/// KB.
pub const ARGUMENTS_RESERVED: usize = 1024;

/// Arguments of a request before AUTH: nobody needs more to authenticate (Redis' limit).
pub const UNAUTHENTICATED_MULTIBULK: i64 = 10;

/// Bytes of one argument before AUTH (Redis' limit).
pub const UNAUTHENTICATED_BULK: i64 = 16 * 1024;

/// Arguments from this length on are read straight into their own allocation: one copy less (Redis'
/// PROTO_MBULK_BIG_ARG).
pub const BIG_ARGUMENT: usize = 32 * 1024;

/// Bytes of one string, key or argument: the default of `proto-max-bulk-len`.
pub const BULK_LEN_DEFAULT: u64 = 512 * 1024 * 1024;

/// Bytes of a key: lengths in entries are 32 bits, and Redis' default for any string.
pub const KEY_LEN: usize = 512 * 1024 * 1024;

/// Logical databases by default (`databases`).
pub const DATABASES_DEFAULT: usize = 16;

/// Logical databases at most: each takes 140 bytes in every shard, whatever is in it, and SELECT's cost
/// must stay that of an array.
pub const DATABASES: usize = 16_384;

/// Bytes of a pattern for KEYS, SCAN, PSUBSCRIBE and ACL: matching costs up to pattern times text, and nobody
/// writes longer ones.
pub const GLOB_PATTERN_LEN: usize = 64 * 1024;

/// Characters of a floating point argument of INCRBYFLOAT (Redis' MAX_LONG_DOUBLE_CHARS): the longest finite
/// value has 4,933 digits before the point.
pub const LONG_DOUBLE_LEN: usize = 5 * 1024;

/// Bytes of the table of keys that clients cache, and for each key that `tracking-table-max-keys` allows,
/// whichever is more: a million names of 200 bytes fit, and names of any length cannot fill the memory.
pub const TRACKING_TABLE_LEN: usize = 256 * 1024 * 1024;
pub const TRACKING_KEY_LEN: usize = 256;

/// Bytes of a name in that table: a longer one counts as changed as soon as it was read, so that forgetting
/// a few keys always makes room.
pub const TRACKING_NAME_LEN: usize = 64 * 1024;

/// Bytes of Lua's memory by default (`lua-memory-limit`): scripts are short, and what holds more is a
/// mistake.
pub const LUA_MEMORY_DEFAULT: usize = 64 * 1024 * 1024;

/// Bytes of cached scripts by default (`script-cache-limit`): a hundred thousand of the usual length.
pub const SCRIPT_CACHE_DEFAULT: usize = 32 * 1024 * 1024;

/// Keys that the table forgets in one go: a smaller limit must not make one command send a million messages.
pub const TRACKING_TRIM_KEYS: usize = 1000;

/// Bytes of changed keys that wait to be broadcast together, at the end of a batch at the latest.
pub const TRACKING_BROADCAST_LEN: usize = 64 * 1024;

/// Hash slots of a cluster, fixed by the protocol.
pub const CLUSTER_SLOTS: u16 = 16_384;

/// Shards at most: taking all locks stays in the microseconds.
pub const SHARDS: usize = 1024;

/// Shards for each worker: the chance that two workers want the same one stays low.
pub const SHARDS_PER_WORKER: usize = 16;

/// Bytes of entries a snapshot copies under one lock, and collects in one block.
pub const SNAPSHOT_BLOCK_LEN: usize = 64 * 1024;

/// Table lines of eight slots that a snapshot visits under one lock.
pub const SNAPSHOT_WALK_LINES: usize = 16;

/// RDB bytes of a collection from which a snapshot saves it in pieces: a smaller one is encoded whole under
/// its shard's lock, which takes some ten microseconds.
pub const SNAPSHOT_LARGE: u64 = 64 * 1024;

/// Bytes that running snapshots hold in memory, all together: the default of `snapshot-memory-limit`.
/// Writers are delayed when a quarter of it waits for the snapshots' threads, and wait with half of it; the
/// rest is for buffers and for what the file system has not written yet.
pub const SNAPSHOT_MEMORY_DEFAULT: usize = 32 * 1024 * 1024;

/// With more than one of so many parts of that limit filled nothing is added any more.
pub const SNAPSHOT_FULL_SHARE: usize = 2;

/// Snapshots that run at once: a save, a rewrite of the AOF, full syncs. Whoever changes an entry copies it
/// for each of them, and a segment has done bits for each.
pub const SNAPSHOTS_MOST: usize = 4;

/// Without them none ever begins, and nothing asks whether one runs: what that costs is counted against such
/// a build (`bench/instructions.py`).
pub const SNAPSHOTS: bool = !cfg!(feature = "no-snapshots");

/// Without it nobody reports or asks how much memory is in use, and nothing gives way: as above.
pub const ACCOUNTING: bool = !cfg!(feature = "no-accounting");

/// Dumps for clients that are taken or sent at once: each has a snapshot, a file as long as the data, and a
/// thread.
pub const DUMPS_AT_ONCE: usize = SNAPSHOTS_MOST;

/// Clients that have asked for a dump, with those who wait until it is their turn: each takes a descriptor
/// beside its connection's.
pub const DUMPS_MOST: usize = 16;

/// Bytes of a dump that are in memory while it is sent.
pub const DUMP_BUFFER_LEN: usize = 64 * 1024;

/// Blocks of memory that a command frees itself; more go to the lazy-free thread.
pub const LAZY_FREE_EFFORT: usize = 64;
