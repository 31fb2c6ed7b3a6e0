//! What the names in a syntax mean: the type that goes with a name, and names for what has none. Tables only;
//! where a command departs from them its row says so.

use super::syntax::{Argument, Kind};

/// The type of an argument of this name.
pub fn kind(name: &str) -> Kind {
    KINDS.iter().find(|(_, names)| names.contains(&name)).map_or(Kind::String, |(kind, _)| *kind)
}

/// What a word that stands alone is called.
pub fn token(word: &str) -> String {
    let special = TOKENS.iter().find(|(token, _)| *token == word);
    special.map_or_else(|| word.to_lowercase(), |(_, name)| name.to_string())
}

/// What a choice is called.
pub fn choice(choices: &[Argument]) -> String {
    let names: Vec<&str> = choices.iter().map(|choice| choice.name.as_str()).collect();
    let known = CHOICES.iter().find(|(first, _)| names.starts_with(first));
    known.map_or_else(|| names.join("_"), |(_, name)| name.to_string())
}

const KINDS: &[(Kind, &[&str])] = &[
    (
        Kind::Key,
        &[
            "key",
            "key1",
            "key2",
            "newkey",
            "source",
            "destination",
            "sourcekey",
            "destkey",
            "src",
            "dst",
            "storekey",
            "storedistkey",
        ],
    ),
    (
        Kind::Integer,
        &[
            "bit",
            "bits",
            "client-id",
            "cluster-bus-port",
            "config-epoch",
            "count",
            "cursor",
            "db",
            "decrement",
            "destination-db",
            "end",
            "end-slot",
            "entries-added",
            "entries-read",
            "entriesread",
            "frequency",
            "idle",
            "increment",
            "index",
            "index1",
            "index2",
            "len",
            "limit",
            "maxage",
            "milliseconds",
            "min-match-len",
            "ms",
            "not-client-id",
            "not-db",
            "num-matches",
            "numfields",
            "numkeys",
            "numlocal",
            "numreplicas",
            "num-vertices",
            "offset",
            "port",
            "protover",
            "rank",
            "seconds",
            "slot",
            "start",
            "start-slot",
            "stop",
            "timeout",
            "ttl",
            "version",
            "weight",
        ],
    ),
    (Kind::Double, &["height", "latitude", "longitude", "max", "min", "radius", "score", "width"]),
    (Kind::Pattern, &["pattern"]),
    (Kind::UnixTime, &["unix-time-milliseconds", "unix-time-seconds"]),
];

const TOKENS: &[(&str, &str)] = &[
    ("=", "equal"),
    ("~", "approximately"),
    ("*", "auto_id"),
    ("$", "new_id"),
    ("\"\"", "empty_string"),
    ("CH", "change"),
    ("INCR", "increment"),
    ("ALPHA", "sorting"),
];

/// By what they begin with.
const CHOICES: &[(&[&str], &str)] = &[
    (&["seconds", "milliseconds"], "expiration"),
    (&["nx", "xx"], "condition"),
    (&["gt", "lt"], "comparison"),
    (&["asc", "desc"], "order"),
    (&["on", "off"], "status"),
    (&["yes", "no"], "mode"),
    (&["write", "all"], "mode"),
    (&["left", "right"], "where"),
    (&["before", "after"], "where"),
    (&["min", "max"], "where"),
    (&["sum", "min", "max"], "aggregate"),
    (&["m", "km"], "unit"),
    (&["byte", "bit"], "unit"),
    (&["async", "sync"], "flush-type"),
    (&["equal", "approximately"], "operator"),
    (&["maxlen", "minid"], "strategy"),
    (&["byscore", "bylex"], "sortby"),
    (&["flush", "append", "replace"], "policy"),
    (&["module-name"], "filterby"),
];
