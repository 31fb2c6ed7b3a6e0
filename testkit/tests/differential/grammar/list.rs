//! Requests of lists and SORT. `{lkey}` is a key of theirs, `{le}` an element, `{li}` a place in a list.
//!
//! Not of SORT: sorted sets, which Redis 7.0 unpacks to sort them; texts of other keys, where elements
//! without one may come in any order; sets that stay unsorted.

use base::random::Rng;

pub const TEMPLATES: &[&str] = &[
    "LPUSH|RPUSH {lkey} {le}",
    "LPUSH|RPUSH {lkey} {le} {le} {le}",
    "RPUSH {lkey} {le} {le} {le} {le} {le} {le} {le} {le}",
    "LPUSHX|RPUSHX {lkey} {le} [{le}]",
    "LPUSH|RPUSH {lkey}",
    "LPOP|RPOP {lkey}",
    "LPOP|RPOP {lkey} {n}",
    "LPOP|RPOP {lkey} {bad}|4 [1]",
    "LLEN {lkey}",
    "LRANGE {lkey} 0 -1",
    "LRANGE {lkey} {li} {li}",
    "LINDEX {lkey} {li}",
    "LINDEX {lkey} {i}",
    "LSET {lkey} {li} {le}",
    "LINSERT {lkey} BEFORE|AFTER {le} {le}",
    "LINSERT {lkey} BESIDE {le} {le}",
    "LREM {lkey} {li} {le}",
    "LREM {lkey} 0 {le}",
    "LTRIM {lkey} {li} {li}",
    "LTRIM {lkey} 0 12",
    "LPOS {lkey} {le}",
    "LPOS {lkey} {le} [RANK {n}] [COUNT {n}] [MAXLEN {n}]",
    "LPOS {lkey} {le} [COUNT 0] [RANK -1] [MAXLEN {li}]",
    "LPOS {lkey} {le} RANK|COUNT|MAXLEN x|1.5|9223372036854775808",
    "LMOVE {lkey} {lkey} LEFT|RIGHT LEFT|RIGHT",
    "LMOVE {lkey} {lkey} LEFT UP",
    "RPOPLPUSH {lkey} {lkey}",
    "LMPOP {n} {lkey} LEFT|RIGHT [COUNT {n}]",
    "LMPOP 2 {lkey} {lkey} LEFT|RIGHT [COUNT {n}]",
    "LMPOP 2 {lkey} {lkey} LEFT COUNT 1 COUNT 2",
    "BLPOP|BRPOP {lkey} 0.001",
    "BLPOP|BRPOP {lkey} {lkey} {lkey} 0.001",
    "BLPOP|BRPOP {lkey} -1|x",
    "BLMOVE {lkey} {lkey} LEFT|RIGHT LEFT|RIGHT 0.001",
    "BRPOPLPUSH {lkey} {lkey} 0.001",
    "BLMPOP 0.001 2 {lkey} {lkey} LEFT|RIGHT [COUNT {n}]",
    "SORT|SORT_RO {lkey}",
    "SORT|SORT_RO {lkey} [LIMIT {li} {li}] [DESC] [ALPHA]",
    "SORT|SORT_RO {lkey} ALPHA [ASC|DESC] [LIMIT {li} {li}]",
    "SORT|SORT_RO {lkey} BY k* [LIMIT {li} {li}] [DESC] [GET #] [GET k*]",
    "SORT|SORT_RO {lkey} BY h*->f1 [GET h*->f2] [GET h*->] [GET #]",
    "SORT|SORT_RO {lkey} BY nosort [GET k*] [GET k] [DESC] [LIMIT {li} {li}]",
    "SORT {lkey} ALPHA [BY nosort] [GET k*] [LIMIT {li} {li}] STORE {lkey}",
    "SORT|SORT_RO {skey} [LIMIT {li} {li}] [DESC]",
    "SORT|SORT_RO {skey} ALPHA [GET #] [GET k*]",
    "SORT {skey} BY nosort STORE {lkey}",
    "SORT_RO {lkey} STORE {lkey}",
    "SORT {lkey} GET|BY|LIMIT|STORE",
    "SORT {k}|{h}",
    "OBJECT ENCODING {lkey}",
    "TYPE {lkey}",
    "DEL {lkey}",
    "RENAME|RENAMENX {lkey} {lkey}",
    "COPY {lkey} {lkey} [DB {db}] [REPLACE]",
    "MOVE {lkey} {db}",
    "PEXPIRE {lkey} {ms}",
    "SET {lkey} {v}",
    "LPUSH|LPOP|LLEN|LREM {k}|{h}|{skey} {le}",
    "LRANGE|LTRIM {k}|{h} 0 1",
    "LMOVE {lkey} {k}|{h} LEFT LEFT",
    "GET {lkey}",
    "PUBSUB CHANNELS|SHARDCHANNELS [{p}]",
    "PUBSUB NUMSUB|SHARDNUMSUB [{k}] [{k}]",
    "SPUBLISH {k} {v}",
    "OBJECT FREQ {k}",
];

pub fn word(rng: &mut Rng, name: &str) -> Option<Vec<u8>> {
    match name {
        "{lkey}" => Some(format!("l{}", rng.below(6)).into_bytes()),
        "{li}" => Some((rng.below(40) as i64 - 14).to_string().into_bytes()),
        "{le}" => Some(element(rng)),
        _ => None,
    }
}

/// Mostly one of few, so that they are found; some fill a node alone.
fn element(rng: &mut Rng) -> Vec<u8> {
    match rng.below(24) {
        0 => vec![b'l'; 40 + rng.below(120) as usize],
        1 => Vec::new(),
        2 => ["1.5", "-7", "9223372036854775807", "007", "nan"][rng.below(5) as usize].into(),
        3..7 => [b'a' + rng.below(6) as u8].to_vec(),
        _ => rng.below(12).to_string().into_bytes(),
    }
}
