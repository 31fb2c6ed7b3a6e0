//! Random requests: mostly valid, some with wrong types, wrong numbers, wrong arity or unknown options.

mod bits;
mod geo;
mod hyperloglog;
mod list;
mod script;
mod set;
mod sorted_set;
mod stream;

pub use script::ASKS_ENCODING;

use base::random::Rng;
use testkit::mistakes;

/// Databases the stream uses.
pub const DATABASES: u64 = 3;

pub struct Grammar {
    rng: Rng,
    templates: Vec<&'static str>,
    multi: bool,
}

/// Templates: a word in braces is replaced. `{k}` key, `{h}` key of hashes, `{f}` field, `{v}` value, `{i}`
/// integer, `{span}` one that is no time which ends meanwhile, `{bad}` no time, `{n}` small integer, `{d}`
/// decimal, `{ms}` `{s}` relative times, `{at}` `{atms}` absolute times, `{p}` pattern, `{db}` database.
/// `[..]` is left out half of the time; `a|b` picks one.
const TEMPLATES: &[&str] = &[
    "SET {k} {v}",
    "SET {k} {v} [EX {s}] [NX|XX] [GET]",
    "SET {k} {v} EX {span}",
    "SET {k} {v} PX|EXAT|PXAT {bad}",
    "SET {k} {v} EXAT {at}",
    "SET {k} {v} PXAT {atms}",
    "SET {k} {v} KEEPTTL [XX|NX]",
    "SET {k} {v} {v}",
    "SETNX {k} {v}",
    "SETEX {k} {s} {v}",
    "PSETEX {k} {ms} {v}",
    "GET {k}",
    "GETSET {k} {v}",
    "GETDEL {k}",
    "GETEX {k} [EX {s}|PERSIST|PXAT {atms}]",
    "MGET {k} {k} {k}",
    "MSET {k} {v} {k} {v}",
    "MSET {k} {v} {k}",
    "MSETNX {k} {v} {k} {v}",
    "INCR {k}",
    "DECR {k}",
    "INCRBY {k} {i}",
    "DECRBY {k} {i}",
    "INCRBYFLOAT {k} {d}",
    "APPEND {k} {v}",
    "STRLEN {k}",
    "GETRANGE {k} {n} {n}",
    "SUBSTR {k} {n} {n}",
    "SETRANGE {k} {n} {v}",
    "LCS {k} {k} [LEN|IDX] [MINMATCHLEN {n}] [WITHMATCHLEN]",
    "HSET {h} {f} {v}",
    "HSET {h} {f} {v} {f} {v} {f} {v}",
    "HSET {h} {f}",
    "HSETNX {h} {f} {v}",
    "HMSET {h} {f} {v} {f} {v}",
    "HGET {h} {f}",
    "HMGET {h} {f} {f} {f}",
    "HGETALL {h}",
    "HKEYS {h}",
    "HVALS {h}",
    "HLEN {h}",
    "HSTRLEN {h} {f}",
    "HEXISTS {h} {f}",
    "HDEL {h} {f} {f}",
    "HINCRBY {h} {f} {i}",
    "HINCRBYFLOAT {h} {f} {d}",
    "HRANDFIELD {h} [{n} [WITHVALUES]]",
    "HSCAN {h} 0 [MATCH {p}] COUNT 1000",
    "DEL {k} {h}",
    "UNLINK {k} {k}",
    "EXISTS {k} {k} {h}",
    "TOUCH {k} {h}",
    "TYPE {k}",
    "RENAME {k} {k}",
    "RENAMENX {k} {k}",
    "RENAME {h} {h}",
    "COPY {k} {k} [DB {db}] [REPLACE]",
    "COPY {h} {h} [REPLACE]",
    "MOVE {k} {db}",
    "EXPIRE {k} {s} [NX|XX|GT|LT]",
    "PEXPIRE {h} {ms} [NX|XX|GT|LT]",
    "EXPIREAT {k} {at} [NX|XX|GT|LT]",
    "PEXPIREAT {k} {atms}",
    "EXPIRE {k} {span}",
    "TTL {k}",
    "PTTL {k}",
    "EXPIRETIME {k}",
    "PEXPIRETIME {k}",
    "PERSIST {k}",
    "KEYS {p}",
    "DBSIZE",
    "SCAN 0 COUNT 10000 [MATCH {p}] [TYPE string|hash|list]",
    "OBJECT ENCODING {k}",
    "OBJECT ENCODING {h}",
    "OBJECT {k}",
    "SELECT {db}",
    "SWAPDB {db} {db}",
    "PING [{v}]",
    "ECHO {v}",
    "MULTI",
    "EXEC",
    "EXEC",
    "DISCARD",
    "WATCH {k}",
    "UNWATCH",
    "FLUSHDB [ASYNC|SYNC]",
    "DUMP {k}",
    "RESTORE {k} 0 garbage",
    "NOSUCHCOMMAND {k} {v}",
    "GET",
    "HGET {k} {f}",
    "GET {h}",
    "INCR {h}",
    "HSET {k} {f} {v}",
    "EXPIRE {k}",
    "SET {k}",
    "OBJECT NOSUCH {k}",
    "CLIENT SETNAME {v}",
    "CLIENT GETNAME",
    "CLIENT NOSUCH",
    "PUBLISH {k} {v}",
    "PUBSUB NUMPAT",
    "COMMAND COUNT {v}",
    "COMMAND GETKEYS SET {k} {v}",
    "SUBSTR {k} {i} {i}",
    "LASTSAVE {v}",
    "TIME {v}",
    "WAIT",
    "HELLO 1|4|x [SETNAME {f}] [AUTH]",
    "CLIENT NO-EVICT|REPLY on|x",
    "CLIENT TRACKING OFF",
    "CLIENT TRACKINGINFO",
    "CLIENT GETREDIR",
    "CLIENT CACHING YES|NO|x",
    "CLIENT UNBLOCK 0 [ERROR|TIMEOUT|x]",
    "CLIENT KILL x",
    "CLIENT UNPAUSE",
    "CLIENT LIST TYPE|ID x",
    "CONFIG SET nosuch 1",
    "CONFIG GET nosuch|maxmemory",
    "CONFIG RESETSTAT {v}",
    "COMMAND INFO nosuch",
    "COMMAND GETKEYSANDFLAGS SET|GETDEL|COPY {k} {v}",
    "MEMORY DOCTOR|NOSUCH {v}",
    "SLOWLOG RESET|LEN|NOSUCH {v}",
    "LATENCY RESET|HISTORY|NOSUCH {f}",
    "SUBSCRIBE|PSUBSCRIBE|SSUBSCRIBE",
    "RANDOMKEY {v}",
    "LOLWUT VERSION x",
    "SAVE|MONITOR|ROLE {v} {v}",
];

/// The templates of every family.
const FAMILIES: &[&[&str]] = &[
    TEMPLATES,
    bits::TEMPLATES,
    geo::TEMPLATES,
    hyperloglog::TEMPLATES,
    list::TEMPLATES,
    script::TEMPLATES,
    set::TEMPLATES,
    sorted_set::TEMPLATES,
    stream::TEMPLATES,
];

/// What a word in braces may stand for, if it is the family's.
type Word = fn(&mut Rng, &str) -> Option<Vec<u8>>;

/// The words in braces of the families.
const WORDS: &[Word] = &[
    bits::word,
    geo::word,
    hyperloglog::word,
    list::word,
    script::word,
    set::word,
    sorted_set::word,
    stream::word,
];

/// Names of keys: few, so that requests meet.
const KEYS: u64 = 12;
const FIELDS: u64 = 20;

impl Grammar {
    pub fn new(rng: Rng) -> Grammar {
        let templates = FAMILIES.iter().flat_map(|family| family.iter().copied()).collect();
        Grammar { rng, templates, multi: false }
    }

    pub fn request(&mut self) -> Vec<Vec<u8>> {
        let template = self.templates[self.rng.below(self.templates.len() as u64) as usize];
        if template.starts_with("FLUSHDB") && self.rng.below(10) != 0 {
            return self.request();
        }
        let mut words = Vec::new();
        self.expand(template, &mut words);
        // The members of some have one score, whatever mistakes there are.
        let is_apart = words.get(1).is_some_and(|key| key.starts_with(b"y"));
        if self.rng.below(12) == 0 && !is_apart && mistakes::may_err(&words) {
            mistakes::make(&mut self.rng, &mut words);
        }
        match words[0].as_slice() {
            b"MULTI" => self.multi = true,
            b"EXEC" | b"DISCARD" => self.multi = false,
            _ => {}
        }
        words
    }

    /// Expands a template without recursion: a bracketed part that is kept is pushed back as text.
    fn expand(&mut self, template: &str, words: &mut Vec<Vec<u8>>) {
        let mut rest = template.to_string();
        while !rest.is_empty() {
            let (part, after) = next_part(&rest);
            let after = after.to_string();
            if let Some(inner) = part.strip_prefix('[') {
                let inner = inner.strip_suffix(']').expect("brackets are balanced");
                let kept = if self.rng.below(2) == 0 { inner } else { "" };
                rest = format!("{kept} {after}").trim().to_string();
                continue;
            }
            let choices: Vec<&str> = part.split('|').collect();
            let choice = choices[self.rng.below(choices.len() as u64) as usize];
            words.push(self.word(choice));
            rest = after;
        }
    }

    fn word(&mut self, name: &str) -> Vec<u8> {
        let below = |rng: &mut Rng, n| rng.below(n);
        match name {
            "{k}" => format!("k{}", below(&mut self.rng, KEYS)).into_bytes(),
            "{h}" => format!("h{}", below(&mut self.rng, KEYS / 2)).into_bytes(),
            "{f}" => format!("f{}", below(&mut self.rng, FIELDS)).into_bytes(),
            "{v}" => self.value(),
            "{i}" => self.integer(),
            "{span}" => self.span(),
            "{bad}" => {
                self.pick(&["0", "-1", "abc", "", "9223372036854775807", "-9223372036854775808", "1.5"])
            }
            "{n}" => (below(&mut self.rng, 24) as i64 - 6).to_string().into_bytes(),
            "{d}" => self.decimal(),
            "{s}" => (1000 + below(&mut self.rng, 100_000)).to_string().into_bytes(),
            "{ms}" => (1_000_000 + below(&mut self.rng, 100_000_000)).to_string().into_bytes(),
            "{at}" => (2_000_000_000 + below(&mut self.rng, 1000)).to_string().into_bytes(),
            "{atms}" => (2_000_000_000_000 + below(&mut self.rng, 1000)).to_string().into_bytes(),
            "{p}" => self.pick(&["*", "k*", "k[1-4]", "h?", "f*", "*1", "nothing", "k1", "[^k]*"]),
            "{db}" => below(&mut self.rng, DATABASES).to_string().into_bytes(),
            word => {
                let known = WORDS.iter().find_map(|family| family(&mut self.rng, word));
                known.unwrap_or_else(|| word.as_bytes().to_vec())
            }
        }
    }

    fn pick(&mut self, words: &[&str]) -> Vec<u8> {
        words[self.rng.below(words.len() as u64) as usize].as_bytes().to_vec()
    }

    fn value(&mut self) -> Vec<u8> {
        match self.rng.below(8) {
            0 => self.integer(),
            1 => self.decimal(),
            2 => Vec::new(),
            3 => vec![b'x'; self.rng.below(100) as usize],
            4 => vec![b'y'; 40 + self.rng.below(8) as usize],
            5 => (0..self.rng.below(30)).map(|_| self.rng.below(256) as u8).collect(),
            _ => format!("v{}", self.rng.below(1000)).into_bytes(),
        }
    }

    fn integer(&mut self) -> Vec<u8> {
        match self.rng.below(8) {
            0 => {
                self.pick(&["9223372036854775807", "-9223372036854775808", "9223372036854775808", "0", "-1"])
            }
            1 => self.pick(&["1.5", "abc", "", " 1", "1 ", "+1", "01", "-0", "1e3", "2147483648"]),
            _ => (self.rng.below(2000) as i64 - 1000).to_string().into_bytes(),
        }
    }

    /// Seconds that are past, wrong or so many that no key expires between its two servers.
    fn span(&mut self) -> Vec<u8> {
        let drawn = self.integer();
        let is_short = base::num::parse_i64(&drawn).is_some_and(|seconds| (1..1000).contains(&seconds));
        if is_short { b"1000".to_vec() } else { drawn }
    }

    fn decimal(&mut self) -> Vec<u8> {
        match self.rng.below(6) {
            0 => {
                self.pick(&["nan", "inf", "-inf", "1e400", "abc", "", "0x10", "1e-5", "3.0", "-0.0", "1.5e3"])
            }
            _ => format!("{}.{}", self.rng.below(1000) as i64 - 500, self.rng.below(1000)).into_bytes(),
        }
    }
}

/// The first part of a template, brackets kept whole, and what follows it.
fn next_part(template: &str) -> (&str, &str) {
    let mut depth = 0;
    let end = template.char_indices().find(|(_, letter)| {
        match letter {
            '[' if depth > 0 || template.starts_with('[') => depth += 1,
            ']' if depth > 0 => depth -= 1,
            _ => {}
        }
        *letter == ' ' && depth == 0
    });
    match end {
        Some((at, _)) => (&template[..at], template[at + 1..].trim_start()),
        None => (template, ""),
    }
}

/// Whether the requests so far leave a transaction open.
pub fn in_transaction(history: &[String]) -> bool {
    let quoted = |line: &String, word: &str| *line == format!("\"{word}\"");
    let last = history
        .iter()
        .rev()
        .find(|line| quoted(line, "MULTI") || quoted(line, "EXEC") || quoted(line, "DISCARD"));
    last.is_some_and(|line| quoted(line, "MULTI"))
}
