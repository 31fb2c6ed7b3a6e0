//! Where the table departs from what the other servers answer, and why.

/// A command, the field that differs, the reason.
pub type Difference = (&'static str, &'static str, &'static str);

/// Of COMMAND INFO.
pub const INFO: &[Difference] = &[
    ("blmove", "flags", IN_SCRIPTS),
    ("blpop", "flags", IN_SCRIPTS),
    ("brpop", "flags", IN_SCRIPTS),
    ("brpoplpush", "flags", IN_SCRIPTS),
    ("bzpopmax", "flags", IN_SCRIPTS),
    ("bzpopmin", "flags", IN_SCRIPTS),
    ("command|getkeys", "arity", SHORTER),
    ("command|getkeysandflags", "arity", SHORTER),
    ("memory|malloc-stats", "flags", LOADING),
    ("memory|purge", "flags", LOADING),
    ("multi", "flags", NO_MULTI),
    ("sort", "key specs", SORT_KEYS),
    ("sort_ro", "key specs", SORT_KEYS),
    ("wait", "categories", IN_SCRIPTS),
    ("wait", "flags", IN_SCRIPTS),
    ("watch", "flags", NO_MULTI),
    ("zrank", "arity", WITH_SCORE),
    ("zrevrank", "arity", WITH_SCORE),
];

/// Of COMMAND DOCS.
pub const DOCS: &[Difference] = &[
    ("bitop", "arguments", "Redis 8.2 has four operations more"),
    ("client|kill", "arguments", "filters follow one another; the others call them a choice"),
    ("georadius", "arguments", STORE_OR_STOREDIST),
    ("georadiusbymember", "arguments", STORE_OR_STOREDIST),
    ("geosearch", "arguments", POLYGON),
    ("geosearchstore", "arguments", POLYGON),
    ("hexpireat", "arguments", UNIX_TIME),
    ("hpexpireat", "arguments", UNIX_TIME),
    ("hscan", "complexity", "two full stops in the original"),
    ("psubscribe", "complexity", SUBSCRIPTIONS),
    ("punsubscribe", "complexity", SUBSCRIPTIONS),
    ("quit", "deprecated_since", QUIT),
    ("quit", "doc_flags", QUIT),
    ("quit", "replaced_by", QUIT),
    ("set", "arguments", "Redis 8.4 has three conditions more"),
    ("sscan", "complexity", "two full stops in the original"),
    ("sunsubscribe", "complexity", SUBSCRIPTIONS),
    ("unsubscribe", "complexity", SUBSCRIPTIONS),
    ("xadd", "arguments", STREAM_OPTIONS),
    ("xread", "arguments", STREAM_OPTIONS),
    ("xreadgroup", "arguments", STREAM_OPTIONS),
    ("xtrim", "arguments", STREAM_OPTIONS),
    ("zinter", "arguments", COUNT),
    ("zinterstore", "arguments", COUNT),
    ("zscan", "complexity", "two full stops in the original"),
    ("zunion", "arguments", COUNT),
    ("zunionstore", "arguments", COUNT),
];

const STORE_OR_STOREDIST: &str = "one of the two: the last counts";
const POLYGON: &str = "Valkey 9.0 has one shape more";
const COUNT: &str = "Redis 8.8 has one aggregate more";
const WITH_SCORE: &str = "-3 since Redis 7.2: WITHSCORE may follow";
const SHORTER: &str = "-3 since Redis 7.2: a request of one word has an answer too";
const NO_MULTI: &str = "flagged as Valkey flags it: its error is that of every command refused in MULTI";
const IN_SCRIPTS: &str = "since Redis 7.2 scripts may call what waits, and WAIT is flagged as waiting";
const LOADING: &str = "allowed while loading since Valkey 9.1";
const SORT_KEYS: &str = "notes in words of our own; the keys of patterns are called incomplete, as they are";
const UNIX_TIME: &str = "a time, as in EXPIREAT; Valkey calls it an integer";
const SUBSCRIPTIONS: &str = "as Valkey measures it: what is asked for counts, not what there is";
const STREAM_OPTIONS: &str = "Redis 8.2 and later have options more";
const QUIT: &str = "deprecated since Redis 7.2";

/// Commands of which no server says a complexity.
pub const NO_COMPLEXITY: &[&str] = &["lolwut", "monitor", "psync", "sync"];

/// Commands whose syntax does not tell their arity.
pub const ODD_ARITY: &[(&str, &str)] = &[
    ("client|kill", "each filter may be left out, but not all"),
    ("command", "its subcommands are rows of their own"),
    ("debug", "its subcommands are no rows: see DEBUG HELP"),
    ("geohash", "without a member the reply is empty"),
    ("geopos", "without a member the reply is empty"),
    ("geosearch", "a polygon needs no center, other shapes do"),
    ("geosearchstore", "a polygon needs no center, other shapes do"),
    ("psync", "a failover adds a word, which is not documented"),
    ("quit", "takes words, as Redis does, and makes nothing of them"),
    ("replconf", "its options are for replicas, and not documented"),
];
