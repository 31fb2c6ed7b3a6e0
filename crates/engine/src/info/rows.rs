//! The rows of INFO: what each field is called, where its value comes from and what it means. Fields that
//! Redis has too bear its names and stand in its order.

use base::time::UnixMs;
use std::fmt::Display;
use std::sync::atomic::Ordering;

use base::units::human;

use super::lines;
use super::{Field, InfoInput, Show};
use crate::config::{EvictionPolicy, Supervisor};
use crate::cycle::runs_per_second;
use crate::defrag::Figures;
use crate::engine::Engine;
use crate::{ONEFOLD_VERSION, REDIS_VERSION};

pub(super) const SERVER: &[Field] = &[
    value("redis_version", |_| text(REDIS_VERSION), "The version of Redis whose behaviour is served."),
    value(
        "redis_git_sha1",
        |_| text("00000000"),
        "Zeros, as in Redis' releases: builds go by `onefold_version`.",
    ),
    value("redis_git_dirty", |_| text(0), "As `redis_git_sha1`."),
    value("server_name", |_| text("onefold"), "The name of this server."),
    value("onefold_version", |_| text(ONEFOLD_VERSION), "The version of this server."),
    value("redis_mode", |_| text("standalone"), "`standalone`, `sentinel` or `cluster`."),
    value(
        "os",
        |i| i.facts().os.clone(),
        "The operating system, its release and the machine's architecture.",
    ),
    value("arch_bits", |_| text(usize::BITS), "Bits of a pointer."),
    value("monotonic_clock", |_| text("POSIX clock_gettime"), "The clock that durations are measured by."),
    value("multiplexing_api", |_| text(POLL), "How the server waits for its connections."),
    value("process_id", |i| text(i.facts().pid), "The process's number."),
    value("process_supervised", supervised, "The supervisor that is told of start and stop, or `no`."),
    value("run_id", |i| i.engine.run_id.clone(), "Forty random hexadecimal digits, new at every start."),
    value("tcp_port", |i| text(i.config.port), "The TCP port, as configured."),
    value("server_time_usec", |i| text(i.engine.host.unix_us()), "Unix time in microseconds."),
    value("uptime_in_seconds", |i| text(i.uptime_s()), "Seconds since the start."),
    value("uptime_in_days", |i| text(i.uptime_s() / 86_400), "Days since the start."),
    value(
        "hz",
        |i| text(runs_per_second(i.config, i.engine.clients.len())),
        "How often in a second the periodic work runs: with `dynamic-hz` more often if there are many clients.",
    ),
    value("configured_hz", |i| text(i.config.hz), "The directive `hz`."),
    value(
        "lru_clock",
        |i| text(i.now.seconds() & 0xff_ffff),
        "The clock by which accesses are noted: 24 bits of seconds.",
    ),
    value("executable", |i| i.facts().executable.clone(), "The path of the server's program."),
    value(
        "config_file",
        |i| i.facts().config_file.clone(),
        "The path of the configuration file; empty if there is none.",
    ),
    value("io_threads_active", |i| flag(i.config.workers() > 1), "1 if more than one thread serves clients."),
    maybe("shutdown_in_milliseconds", shutdown_ms, "While a shutdown waits: when it goes on at the latest."),
    list("listener<n>", lines::listeners, "What the server listens on: the kind, each address, the port."),
];

pub(super) const CLIENTS: &[Field] = &[
    value("connected_clients", |i| text(i.clients().connected), "Open connections."),
    value("cluster_connections", |_| text(0), "Connections between the nodes of a cluster."),
    value("maxclients", |i| text(i.config.maxclients), "The directive `maxclients`."),
    value(
        "client_recent_max_input_buffer",
        |i| text(most(i, |stats| stats.clients_input_peak.value())),
        "Bytes of the largest input buffer of a client lately.",
    ),
    value(
        "client_recent_max_output_buffer",
        |i| text(most(i, |stats| stats.clients_output_peak.value())),
        "Bytes of the longest queue of replies of a client lately.",
    ),
    value(
        "paused_reason",
        |i| text(if pause(i).is_some() { "client_pause" } else { "none" }),
        "Why commands are held back, if they are.",
    ),
    value(
        "paused_actions",
        |i| text(pause(i).map_or("none", |(_, all)| if all { "all" } else { "write" })),
        "Which commands are held back.",
    ),
    value(
        "paused_timeout_milliseconds",
        |i| text(pause(i).map_or(0, |(until, _)| until.since(i.now))),
        "For how long they are held back.",
    ),
    value("blocked_clients", |i| text(i.clients().blocked), "Clients that wait in a blocking command."),
    value(
        "tracking_clients",
        |i| text(i.engine.tracking.client_count()),
        "Clients that use client-side caching.",
    ),
    value(
        "pubsub_clients",
        |i| text(i.clients().subscribed),
        "Clients that subscribe to channels or patterns.",
    ),
    value("watching_clients", |i| text(i.clients().watching), "Clients that WATCH keys."),
    value(
        "total_watched_keys",
        |i| text(i.engine.watches.key_count()),
        "Keys watched, counted for each client.",
    ),
    value("total_blocking_keys", |i| text(i.waited_keys().0), "Keys that clients are blocked on."),
    value(
        "total_blocking_keys_on_nokey",
        |i| text(i.waited_keys().1),
        "Of these, keys whose removal ends the blocking too.",
    ),
];

pub(super) const MEMORY: &[Field] = &[
    value(
        "used_memory",
        |i| text(i.memory().used),
        "Bytes that the server has allocated, in the allocator's classes.",
    ),
    value("used_memory_human", |i| size(i.memory().used), "The same for people."),
    value("used_memory_rss", |i| text(i.memory().resident), "Bytes of memory that the process occupies."),
    value("used_memory_rss_human", |i| size(i.memory().resident), "The same for people."),
    value("used_memory_peak", |i| text(i.memory().peak), "The most `used_memory` has been."),
    value("used_memory_peak_human", |i| size(i.memory().peak), "The same for people."),
    value(
        "used_memory_peak_perc",
        |i| percent(i.memory().peak_percent()),
        "`used_memory` in per cent of its peak.",
    ),
    value(
        "used_memory_overhead",
        |i| text(i.memory().overhead()),
        "Bytes that are not keys and values: at the start, for clients, and the keyspace's tables.",
    ),
    value("used_memory_startup", |i| text(i.memory().startup), "`used_memory` when the server was ready."),
    value(
        "used_memory_dataset",
        |i| text(i.memory().dataset()),
        "`used_memory` less the overhead: keys and values.",
    ),
    value(
        "used_memory_dataset_perc",
        |i| percent(i.memory().dataset_percent()),
        "The data set in per cent of what was allocated since the start.",
    ),
    value(
        "used_memory_lua",
        |i| text(i.memory().vm_eval),
        "Bytes of Lua's heaps for scripts, as its allocator counts.",
    ),
    value("used_memory_vm_eval", |i| text(i.memory().vm_eval), "The same, under its name since Redis 7."),
    value("used_memory_lua_human", |i| size(i.memory().vm_eval), "The same for people."),
    value(
        "used_memory_scripts_eval",
        |i| text(i.memory().scripts),
        "Bytes of the scripts that the server knows.",
    ),
    value(
        "number_of_cached_scripts",
        |i| text(i.engine.scripts.count()),
        "How many scripts the server knows.",
    ),
    value(
        "number_of_functions",
        |i| text(i.engine.functions.current().function_count()),
        "How many functions there are.",
    ),
    value(
        "number_of_libraries",
        |i| text(i.engine.functions.current().len()),
        "How many libraries there are.",
    ),
    value(
        "used_memory_vm_functions",
        |i| text(i.memory().vm_functions),
        "Bytes of Lua's heaps for functions.",
    ),
    value("used_memory_vm_total", |i| text(i.memory().lua()), "Bytes of all of Lua's heaps."),
    value("used_memory_vm_total_human", |i| size(i.memory().lua()), "The same for people."),
    value("used_memory_functions", |i| text(i.memory().functions), "Bytes of the libraries."),
    value(
        "used_memory_scripts",
        |i| text(i.memory().scripts + i.memory().functions),
        "Bytes of all scripts and libraries.",
    ),
    value(
        "used_memory_scripts_human",
        |i| size(i.memory().scripts + i.memory().functions),
        "The same for people.",
    ),
    value(
        "allocator_allocated",
        |i| text(i.memory().allocator.allocated),
        "Bytes allocated, by the allocator's count.",
    ),
    value(
        "allocator_active",
        |i| text(i.memory().allocator.active),
        "Bytes of the pages that hold an allocation.",
    ),
    value(
        "allocator_resident",
        |i| text(i.memory().allocator.resident),
        "Bytes of all pages the allocator occupies.",
    ),
    value(
        "total_system_memory",
        |i| text(i.facts().system_memory_bytes),
        "Bytes of memory that the machine has.",
    ),
    value("total_system_memory_human", |i| human(i.facts().system_memory_bytes), "The same for people."),
    value("maxmemory", |i| text(i.config.memory_limit()), "The directive `maxmemory`."),
    value("maxmemory_human", |i| human(i.config.memory_limit()), "The same for people."),
    value("maxmemory_policy", policy, "The directive `maxmemory-policy`."),
    value(
        "allocator_frag_ratio",
        |i| ratio(i.memory().allocator_fragmentation().ratio),
        "`allocator_active` divided by `allocator_allocated`.",
    ),
    value("allocator_frag_bytes", |i| text(i.memory().allocator_fragmentation().bytes), "Their difference."),
    value(
        "allocator_rss_ratio",
        |i| ratio(i.memory().allocator_resident().ratio),
        "`allocator_resident` divided by `allocator_active`.",
    ),
    value("allocator_rss_bytes", |i| text(i.memory().allocator_resident().bytes), "Their difference."),
    value(
        "rss_overhead_ratio",
        |i| ratio(i.memory().process_overhead().ratio),
        "`used_memory_rss` divided by `allocator_resident`.",
    ),
    value("rss_overhead_bytes", |i| text(i.memory().process_overhead().bytes), "Their difference."),
    value(
        "mem_fragmentation_ratio",
        |i| ratio(i.memory().fragmentation().ratio),
        "`used_memory_rss` divided by `used_memory`.",
    ),
    value("mem_fragmentation_bytes", |i| text(i.memory().fragmentation().bytes), "Their difference."),
    value(
        "mem_not_counted_for_evict",
        |i| text(i.log_file().buffered),
        "Bytes of buffers that empty by themselves: no key is evicted for them.",
    ),
    value("mem_replication_backlog", |_| text(0), "Bytes of the replication backlog."),
    value("mem_total_replication_buffers", |_| text(0), "Bytes of the backlog and of all replicas' buffers."),
    value("mem_clients_slaves", |i| text(i.save().dumps.buffer_bytes), "Bytes for connections of replicas."),
    value("mem_clients_normal", |i| text(i.memory().clients), "Bytes for all other connections."),
    value("mem_cluster_links", |_| text(0), "Bytes for connections of a cluster."),
    value(
        "mem_aof_buffer",
        |i| text(i.log_file().buffer_memory),
        "Bytes for what waits to be written to the append-only file, and for a rewrite into commands.",
    ),
    value("mem_allocator", |_| text(ALLOCATOR), "The allocator and its version."),
    value(
        "mem_snapshot_buffer",
        |i| text(i.engine.store.snapshot_memory()),
        "Bytes that the running snapshot holds.",
    ),
    value(
        "active_defrag_running",
        |i| text(defrag(i).percent),
        "Per cent of one processor's time that defragmentation takes; 0 while it rests.",
    ),
    value(
        "lazyfree_pending_objects",
        |i| text(i.engine.host.reclaim_counts().waiting),
        "Values that wait to be freed by a thread of its own.",
    ),
    value("lazyfreed_objects", |i| text(freed_late(i.engine)), "Values that the thread has freed."),
];

pub(super) const PERSISTENCE: &[Field] = &[
    value("loading", |i| flag(i.engine.is_loading()), "1 while the data set is loaded."),
    value("async_loading", |_| text(0), "1 while a replica loads a new data set and serves the old one."),
    value(
        "current_cow_peak",
        |i| text(i.save().snapshot_bytes),
        "The most bytes that the running snapshot has held.",
    ),
    value(
        "current_cow_size",
        |i| text(if is_saving(i) { i.engine.store.snapshot_memory() } else { 0 }),
        "Bytes that the running snapshot holds.",
    ),
    value("current_cow_size_age", |_| text(0), "Always 0: `current_cow_size` is that of this moment."),
    value(
        "current_fork_perc",
        |i| format!("{:.2}", save_percent(i)),
        "Per cent of the keys that the running snapshot has saved.",
    ),
    value(
        "current_save_keys_processed",
        |i| text(i.save().keys_done),
        "Keys that the running snapshot has saved.",
    ),
    value(
        "current_save_keys_total",
        |i| text(i.save().keys_total),
        "Keys that it will have saved at its end.",
    ),
    value(
        "rdb_changes_since_last_save",
        |i| text(i.engine.changes_since_save()),
        "Changes since the last good save.",
    ),
    value("rdb_bgsave_in_progress", |i| flag(takes_dump(i)), "1 while a snapshot is saved."),
    value("rdb_last_save_time", |i| text(i.save().last_save.seconds()), "Unix time of the last good save."),
    value("rdb_last_bgsave_status", save_status, "`ok`, or `err` if the last background save failed."),
    value(
        "rdb_last_bgsave_time_sec",
        |i| text(i.save().last_seconds.unwrap_or(-1)),
        "Seconds the last background save took; -1 if there was none.",
    ),
    value(
        "rdb_current_bgsave_time_sec",
        save_seconds,
        "Seconds the running one has taken; -1 if there is none.",
    ),
    value("rdb_saves", |i| text(i.save().saves), "Saves since the start, or since CONFIG RESETSTAT."),
    value(
        "rdb_last_cow_size",
        |i| text(i.save().last_snapshot_bytes),
        "The most bytes that the last snapshot held.",
    ),
    value(
        "rdb_last_load_keys_expired",
        |i| text(i.load().keys_expired),
        "Keys of the dump file that had expired.",
    ),
    value("rdb_last_load_keys_loaded", |i| text(i.load().keys_loaded), "Keys loaded from the dump file."),
    value(
        "snapshot_cut_usec",
        |i| text(i.save().cut_us),
        "Microseconds for which the last snapshot's cut held every lock.",
    ),
    value(
        "snapshot_cuts",
        |i| text(i.save().cuts),
        "Snapshots begun since the start, or since CONFIG RESETSTAT.",
    ),
    value(
        "snapshot_delayed_writes",
        |i| text(i.engine.sum(|stats| stats.snapshot_delays.value())),
        "Times that commands which write waited until a snapshot had brought its backlog to the disk.",
    ),
    value(
        "snapshot_delay_usec",
        |i| text(i.engine.sum(|stats| stats.snapshot_delay_us.value())),
        "Microseconds they waited, in all.",
    ),
    value("aof_enabled", |i| flag(i.log_file().enabled), "1 if an append-only file is written."),
    value("aof_rewrite_in_progress", |i| flag(i.log_file().rewriting), "1 while it is rewritten."),
    value(
        "aof_rewrite_scheduled",
        |i| flag(i.log_file().rewrite_scheduled),
        "1 if a rewrite follows as soon as it can begin.",
    ),
    value(
        "aof_last_rewrite_time_sec",
        |i| text(i.log_file().last_rewrite_seconds.unwrap_or(-1)),
        "Seconds the last rewrite took; -1 if there was none.",
    ),
    value(
        "aof_current_rewrite_time_sec",
        rewrite_seconds,
        "Seconds the running one has taken; -1 if there is none.",
    ),
    value(
        "aof_last_bgrewrite_status",
        |i| outcome(i.log_file().last_rewrite_ok),
        "`ok`, or `err` if the last rewrite failed.",
    ),
    value(
        "aof_rewrites",
        |i| text(i.log_file().rewrites),
        "Rewrites since the start, or since CONFIG RESETSTAT.",
    ),
    value(
        "aof_rewrites_consecutive_failures",
        |i| text(i.log_file().failed_in_a_row),
        "Rewrites that failed since the last good one, or since CONFIG RESETSTAT.",
    ),
    value(
        "aof_last_write_status",
        |i| outcome(i.log_file().last_write_ok),
        "`ok`, or `err` if the last write to the append-only file failed, or the last fsync of it.",
    ),
    value(
        "aof_last_cow_size",
        |i| text(i.log_file().last_snapshot_bytes),
        "The most bytes that the last rewrite's snapshot held.",
    ),
    value("module_fork_in_progress", |_| text(0), "Always 0: there are no modules that fork."),
    value("module_fork_last_cow_size", |_| text(0), "Always 0, as `module_fork_in_progress`."),
    maybe(
        "aof_current_size",
        |i| while_logging(i, |log| log.current_size),
        "With `appendonly`: bytes of the base and of all increments.",
    ),
    maybe(
        "aof_base_size",
        |i| while_logging(i, |log| log.base_size),
        "With `appendonly`: what `aof_current_size` was after the last rewrite, or at the start.",
    ),
    maybe(
        "aof_pending_rewrite",
        |i| while_logging(i, |log| u8::from(log.rewrite_scheduled)),
        "With `appendonly`: as `aof_rewrite_scheduled`.",
    ),
    maybe(
        "aof_buffer_length",
        |i| while_logging(i, |log| log.buffered),
        "With `appendonly`: bytes that wait to be written.",
    ),
    maybe(
        "aof_pending_bio_fsync",
        |i| while_logging(i, |log| u8::from(log.is_syncing)),
        "With `appendonly`: 1 while the file is forced to the disk.",
    ),
    maybe(
        "aof_delayed_fsync",
        |i| while_logging(i, |log| log.delays),
        "With `appendonly`: times that commands which write waited for a disk that was behind.",
    ),
    maybe(
        "loading_start_time",
        |i| while_loading(i, |load| load.started.seconds()),
        "While loading: Unix time it began.",
    ),
    maybe(
        "loading_total_bytes",
        |i| while_loading(i, |load| load.total_bytes),
        "While loading: bytes of the file.",
    ),
    maybe(
        "loading_rdb_used_mem",
        |i| while_loading(i, |load| load.rdb_used_memory),
        "While loading: memory that the dump says its writer used.",
    ),
    maybe(
        "loading_loaded_bytes",
        |i| while_loading(i, |load| load.loaded_bytes),
        "While loading: bytes read.",
    ),
    maybe("loading_loaded_perc", loading_percent, "While loading: bytes read in per cent."),
    maybe(
        "loading_eta_seconds",
        loading_eta,
        "While loading: seconds it will still take, by the rate so far.",
    ),
];

pub(super) const STATS: &[Field] = &[
    value(
        "total_connections_received",
        |i| text(i.engine.connections_received.load(Ordering::Relaxed)),
        "Connections accepted.",
    ),
    value("total_commands_processed", |i| text(i.sum(|s| s.total_commands.value())), "Commands that ran."),
    value(
        "instantaneous_ops_per_sec",
        |i| text(i.engine.cycle.rates.lock().operations),
        "Commands in a second, of late.",
    ),
    value(
        "total_net_input_bytes",
        |i| text(i.sum(|s| s.input_bytes.value())),
        "Bytes read from connections.",
    ),
    value(
        "total_net_output_bytes",
        |i| text(i.sum(|s| s.output_bytes.value())),
        "Bytes written to connections.",
    ),
    value("total_net_repl_input_bytes", |_| text(0), "Bytes read for replication."),
    value(
        "total_net_repl_output_bytes",
        |i| text(i.save().dumps.sent_bytes),
        "Bytes written for replication.",
    ),
    value(
        "instantaneous_input_kbps",
        |i| kilobytes(i.engine.cycle.rates.lock().input_bytes),
        "Kilobytes read in a second, of late.",
    ),
    value(
        "instantaneous_output_kbps",
        |i| kilobytes(i.engine.cycle.rates.lock().output_bytes),
        "Kilobytes written in a second, of late.",
    ),
    value("instantaneous_input_repl_kbps", |_| kilobytes(0), "The same for replication."),
    value("instantaneous_output_repl_kbps", |_| kilobytes(0), "The same for replication."),
    value(
        "rejected_connections",
        |i| text(i.engine.rejected_connections.load(Ordering::Relaxed)),
        "Connections refused because of `maxclients`.",
    ),
    value("sync_full", |i| text(i.save().dumps.begun), "Full synchronizations of replicas."),
    value("sync_partial_ok", |_| text(0), "Partial ones."),
    value("sync_partial_err", |_| text(0), "Partial ones that had to become full."),
    value("expired_keys", |i| text(expired_keys(i)), "Keys removed because their time had passed."),
    value(
        "expired_subkeys",
        |i| text(expired_fields(i)),
        "Fields of hashes removed because their time had passed.",
    ),
    value("expired_fields", |i| text(expired_fields(i)), "The same, by Valkey's name."),
    value(
        "expired_stale_perc",
        |i| format!("{:.2}", i.engine.cycle.expired_stale_permille.value() as f64 / 10.0),
        "Per cent of the keys with a time of expiry that are probably due.",
    ),
    value(
        "expired_time_cap_reached_count",
        |i| text(i.engine.cycle.expire_time_cap_reached.value()),
        "Times the expiry cycle ended because its time was up.",
    ),
    value(
        "expire_cycle_cpu_milliseconds",
        |i| text(i.engine.cycle.expire_ns.value() / 1_000_000),
        "Milliseconds spent in the expiry cycle.",
    ),
    value(
        "evicted_keys",
        |i| text(i.engine.evicted_keys.load(Ordering::Relaxed)),
        "Keys removed because of `maxmemory`.",
    ),
    value(
        "evicted_scripts",
        |i| text(i.engine.scripts.evicted.load(Ordering::Relaxed)),
        "Scripts forgotten because of `script-cache-limit`.",
    ),
    value(
        "evicted_clients",
        |i| text(i.sum(|stats| stats.evicted_clients.value())),
        "Connections closed because of `maxmemory-clients`.",
    ),
    value(
        "total_eviction_exceeded_time",
        |i| text(exceeded_ms(i).0),
        "Milliseconds for which memory was over `maxmemory`.",
    ),
    value(
        "current_eviction_exceeded_time",
        |i| text(exceeded_ms(i).1),
        "Milliseconds since memory went over `maxmemory`; else 0.",
    ),
    value(
        "maxmemory_delayed_requests",
        |i| text(i.engine.sum(|stats| stats.page_delays.value())),
        "Times that requests which need memory waited because the process occupied more than `maxmemory`.",
    ),
    value(
        "maxmemory_delay_usec",
        |i| text(i.engine.sum(|stats| stats.page_delay_us.value())),
        "Microseconds they waited, in all.",
    ),
    value("keyspace_hits", |i| text(i.sum(|s| s.hits.value())), "Reads of a key that was there."),
    value("keyspace_misses", |i| text(i.sum(|s| s.misses.value())), "Reads of a key that was not."),
    value("pubsub_channels", |i| text(i.engine.pubsub.channels.read().len()), "Channels with subscribers."),
    value("pubsub_patterns", |i| text(i.engine.pubsub.patterns.read().len()), "Patterns with subscribers."),
    value(
        "pubsubshard_channels",
        |i| text(i.engine.pubsub.shard_channels.read().len()),
        "Shard channels with subscribers.",
    ),
    value("latest_fork_usec", |_| text(0), "Always 0: the server never forks."),
    value("total_forks", |_| text(0), "Always 0: the server never forks."),
    value("active_defrag_hits", |i| text(defrag(i).moved), "Blocks that defragmentation moved."),
    value("active_defrag_misses", |i| text(defrag(i).stayed), "Blocks that it looked at and left alone."),
    value("active_defrag_key_hits", |i| text(defrag(i).moved_keys), "Keys that it moved."),
    value("active_defrag_key_misses", |i| text(defrag(i).stayed_keys), "Keys that it left alone."),
    value(
        "total_active_defrag_time",
        |i| text(defrag(i).active_ms),
        "Milliseconds for which defragmentation did not rest.",
    ),
    value(
        "current_active_defrag_time",
        |i| text(defrag(i).current_ms),
        "Milliseconds since defragmentation last rested; 0 while it does.",
    ),
    value(
        "tracking_total_keys",
        |i| text(i.engine.tracking.key_count()),
        "Keys remembered for client-side caching.",
    ),
    value(
        "tracking_total_items",
        |i| text(i.engine.tracking.item_count()),
        "Keys remembered, counted for each client.",
    ),
    value(
        "tracking_total_prefixes",
        |i| text(i.engine.tracking.prefix_count()),
        "Prefixes in broadcasting mode.",
    ),
    value(
        "unexpected_error_replies",
        |i| text(i.sum(|s| s.unexpected_errors.value())),
        "Errors in the effects of a log that was replayed.",
    ),
    value("total_error_replies", |i| text(i.sum(|s| s.error_replies.value())), "Replies that were errors."),
    value("total_reads_processed", |i| text(i.sum(|s| s.reads.value())), "Reads from connections."),
    value("total_writes_processed", |i| text(i.sum(|s| s.writes.value())), "Writes to connections."),
    value(
        "client_query_buffer_limit_disconnections",
        |i| text(i.sum(|s| s.input_limit_closed.value())),
        "Connections closed because a request was too long.",
    ),
    value(
        "client_output_buffer_limit_disconnections",
        |i| text(i.sum(|s| s.output_limit_closed.value())),
        "Connections closed because their replies piled up.",
    ),
    value("eventloop_cycles", |i| text(i.sum(|s| s.ticks.value())), "Rounds of all worker threads."),
    value(
        "eventloop_duration_sum",
        |i| text(i.sum(|s| s.tick_ns.value()) / 1000),
        "Microseconds of all rounds.",
    ),
    value(
        "eventloop_duration_cmd_sum",
        |i| text(i.sum(|s| s.command_ns.value()) / 1000),
        "Microseconds of all commands.",
    ),
];

pub(super) const REPLICATION: &[Field] = &[
    value("role", |_| text("master"), "`master` or `slave`."),
    value("connected_slaves", |_| text(0), "Connected replicas."),
    value("master_failover_state", |_| text("no-failover"), "State of a failover that was asked for."),
    value("master_replid", replication_id, "The name of this history of changes."),
    value(
        "master_replid2",
        |_| "0".repeat(40),
        "The name it had before the last failover; zeros if there was none.",
    ),
    value(
        "master_repl_offset",
        |i| text(i.engine.log.offset().0),
        "Bytes of changes so far; they are counted with `appendonly` only.",
    ),
    value("second_repl_offset", |_| text(-1), "Up to where the earlier name is valid; -1: it is not."),
    value("repl_backlog_active", |_| text(0), "1 if changes are kept for replicas that come back."),
    value("repl_backlog_size", |i| text(i.config.repl_backlog_size), "The directive `repl-backlog-size`."),
    value("repl_backlog_first_byte_offset", |_| text(0), "Offset of the first byte kept."),
    value("repl_backlog_histlen", |_| text(0), "Bytes kept."),
];

pub(super) const CPU: &[Field] = &[
    value("used_cpu_sys", |i| seconds(i.facts().cpu_system_s), "Seconds spent in the kernel, all threads."),
    value("used_cpu_user", |i| seconds(i.facts().cpu_user_s), "Seconds spent in the program, all threads."),
    value("used_cpu_sys_children", |_| seconds(0.0), "Always 0: the server has no children."),
    value("used_cpu_user_children", |_| seconds(0.0), "Always 0: the server has no children."),
    value(
        "used_cpu_sys_main_thread",
        |i| seconds(i.facts().cpu_system_main_thread_s),
        "Seconds in the kernel, main thread.",
    ),
    value(
        "used_cpu_user_main_thread",
        |i| seconds(i.facts().cpu_user_main_thread_s),
        "Seconds in the program, main thread.",
    ),
];

pub(super) const COMMANDSTATS: &[Field] = &[list(
    "cmdstat_<command>",
    lines::command_stats,
    "For each command that was called: calls, microseconds in all and for one call, calls refused before \
     they ran, calls that failed.",
)];

pub(super) const ERRORSTATS: &[Field] =
    &[list("errorstat_<code>", lines::error_stats, "For each code, how many replies were errors with it.")];

pub(super) const LATENCYSTATS: &[Field] = &[list(
    "latency_percentiles_usec_<command>",
    lines::latency_stats,
    "For each command, microseconds that were not exceeded by so many per cent of its calls; which \
     percentiles is the directive `latency-tracking-info-percentiles`.",
)];

pub(super) const CLUSTER: &[Field] =
    &[value("cluster_enabled", |_| text(0), "1 if this server is a node of a cluster.")];

pub(super) const KEYSPACE: &[Field] = &[list(
    "db<n>",
    lines::keyspace,
    "For each database with keys: keys, keys with a time of expiry, milliseconds these have left on average \
     (estimated), hashes of which only fields expire.",
)];

const fn value(name: &'static str, show: fn(&InfoInput<'_>) -> String, doc: &'static str) -> Field {
    Field { name, show: Show::Value(show), doc }
}

const fn maybe(name: &'static str, show: fn(&InfoInput<'_>) -> Option<String>, doc: &'static str) -> Field {
    Field { name, show: Show::Maybe(show), doc }
}

const fn list(name: &'static str, show: fn(&InfoInput<'_>) -> Vec<String>, doc: &'static str) -> Field {
    Field { name, show: Show::Lines(show), doc }
}

fn freed_late(engine: &Engine) -> u64 {
    engine.host.reclaim_counts().freed.saturating_sub(engine.freed_late_before.load(Ordering::Relaxed))
}

/// Until when CLIENT PAUSE holds commands back, and whether all of them.
fn pause(input: &InfoInput<'_>) -> Option<(UnixMs, bool)> {
    input.engine.pause.current(input.now)
}

fn text(value: impl Display) -> String {
    value.to_string()
}

fn flag(on: bool) -> String {
    text(u8::from(on))
}

fn size(bytes: usize) -> String {
    human(bytes as u64)
}

fn percent(value: f64) -> String {
    format!("{value:.2}%")
}

fn ratio(value: f64) -> String {
    format!("{value:.2}")
}

fn seconds(value: f64) -> String {
    format!("{value:.6}")
}

fn kilobytes(bytes: u64) -> String {
    format!("{:.2}", bytes as f64 / 1024.0)
}

fn most(input: &InfoInput<'_>, counter: impl Fn(&crate::stats::WorkerStats) -> u64) -> u64 {
    input.engine.stats.iter().map(|stats| counter(stats)).max().unwrap_or(0)
}

fn supervised(input: &InfoInput<'_>) -> String {
    let name = match (input.facts().supervised, input.config.supervised) {
        (false, _) => "no",
        (true, Supervisor::Systemd) => "systemd",
        (true, Supervisor::Upstart) => "upstart",
        (true, _) => "unknown",
    };
    text(name)
}

fn defrag(input: &InfoInput<'_>) -> Figures {
    input.engine.defrag.figures(input.engine.host.monotonic_ns())
}

/// In all, and since memory went over the limit.
fn exceeded_ms(input: &InfoInput<'_>) -> (u64, u64) {
    let (before, current) = input.engine.memory.exceeded_ns(input.engine.host.monotonic_ns());
    ((before + current) / 1_000_000, current / 1_000_000)
}

fn shutdown_ms(input: &InfoInput<'_>) -> Option<String> {
    let at = input.engine.shutdown_at_ms.load(Ordering::Relaxed);
    (at != 0).then(|| text(at.saturating_sub(input.now.0)))
}

fn policy(input: &InfoInput<'_>) -> String {
    let name = match input.config.maxmemory_policy {
        EvictionPolicy::VolatileLru => "volatile-lru",
        EvictionPolicy::VolatileLfu => "volatile-lfu",
        EvictionPolicy::VolatileRandom => "volatile-random",
        EvictionPolicy::VolatileTtl => "volatile-ttl",
        EvictionPolicy::AllkeysLru => "allkeys-lru",
        EvictionPolicy::AllkeysLfu => "allkeys-lfu",
        EvictionPolicy::AllkeysRandom => "allkeys-random",
        EvictionPolicy::NoEviction => "noeviction",
        EvictionPolicy::VolatileLrm => "volatile-lrm",
        EvictionPolicy::AllkeysLrm => "allkeys-lrm",
    };
    text(name)
}

/// Whether a save or a rewrite is in progress. One that was ended may hold memory yet, which others count.
fn is_saving(input: &InfoInput<'_>) -> bool {
    takes_dump(input) || input.log_file().rewriting
}

/// Whether a save is in progress, or a dump for a client is taken.
fn takes_dump(input: &InfoInput<'_>) -> bool {
    input.save().in_progress || input.save().dumps.started.is_some()
}

fn save_percent(input: &InfoInput<'_>) -> f64 {
    let save = input.save();
    save.keys_done as f64 * 100.0 / save.keys_total.max(1) as f64
}

fn save_status(input: &InfoInput<'_>) -> String {
    outcome(input.save().last_ok)
}

fn outcome(good: bool) -> String {
    text(if good { "ok" } else { "err" })
}

fn rewrite_seconds(input: &InfoInput<'_>) -> String {
    let started = input.log_file().rewrite_started;
    text(started.map_or(-1, |started| input.now.since(started) / 1000))
}

fn while_logging<T: Display>(
    input: &InfoInput<'_>,
    show: fn(&crate::host::LogFileStatus) -> T,
) -> Option<String> {
    let log = input.log_file();
    log.enabled.then(|| text(show(log)))
}

fn save_seconds(input: &InfoInput<'_>) -> String {
    let save = input.save();
    let started = save.started.filter(|_| save.in_progress).or(save.dumps.started);
    text(started.map_or(-1, |started| input.now.since(started) / 1000))
}

fn while_loading<T: Display>(
    input: &InfoInput<'_>,
    show: fn(&crate::host::LoadStatus) -> T,
) -> Option<String> {
    input.engine.is_loading().then(|| text(show(input.load())))
}

fn loading_percent(input: &InfoInput<'_>) -> Option<String> {
    while_loading(input, |load| {
        format!("{:.2}", load.loaded_bytes as f64 * 100.0 / load.total_bytes.max(1) as f64)
    })
}

fn loading_eta(input: &InfoInput<'_>) -> Option<String> {
    let load = input.load();
    let elapsed = input.now.since(load.started).max(0) as f64 / 1000.0;
    let rest = load.total_bytes.saturating_sub(load.loaded_bytes) as f64;
    let eta = elapsed * rest / load.loaded_bytes.max(1) as f64;
    input.engine.is_loading().then(|| text(eta as i64))
}

fn expired_keys(input: &InfoInput<'_>) -> u64 {
    input.sum(|stats| stats.expired_keys.value()) + input.engine.cycle.expired_keys.value()
}

fn expired_fields(input: &InfoInput<'_>) -> u64 {
    input.sum(|stats| stats.expired_fields.value()) + input.engine.cycle.expired_fields.value()
}

fn replication_id(input: &InfoInput<'_>) -> String {
    String::from_utf8_lossy(&input.engine.log.replication_id()).into_owned()
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const POLL: &str = "epoll";
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const POLL: &str = "kqueue";

const ALLOCATOR: &str = "jemalloc-5.3.0";
