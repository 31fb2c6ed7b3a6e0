//! Requests of sets. `{skey}` is a key of theirs, `{sm}` a member, `{some}` a number of members: never one
//! alone, as chance would choose it.

use base::random::Rng;

pub const TEMPLATES: &[&str] = &[
    "SADD {skey} {sm}",
    "SADD {skey} {sm} {sm} {sm}",
    "SADD {skey} {sm} {sm} {sm} {sm} {sm} {sm}",
    "SADD {skey} {v}",
    "SADD {skey}",
    "SREM {skey} {sm}",
    "SREM {skey} {sm} {sm} {sm}",
    "SMOVE {skey} {skey} {sm}",
    "SISMEMBER {skey} {sm}",
    "SMISMEMBER {skey} {sm} {sm}",
    "SCARD {skey}",
    "SMEMBERS {skey}",
    "SPOP {skey} 1000",
    "SPOP {skey} 0|-1|x|1000 [1]",
    "SRANDMEMBER {skey}",
    "SRANDMEMBER {skey} {some}",
    "SRANDMEMBER {skey} x|-9223372036854775808|9223372036854775808",
    "SINTER {skey} [{skey}] [{skey}]",
    "SUNION {skey} [{skey}] [{skey}]",
    "SDIFF {skey} [{skey}] [{skey}]",
    "SDIFF {skey} {skey} {skey} {skey} {skey}",
    "SINTERSTORE {skey} {skey} [{skey}]",
    "SUNIONSTORE {skey} {skey} [{skey}]",
    "SDIFFSTORE {skey} {skey} [{skey}] [{skey}]",
    "SINTERCARD 2 {skey} {skey} [LIMIT {n}]",
    "SINTERCARD {n} {skey} {skey}",
    "SSCAN {skey} 0 [MATCH {p}|m*|1*] COUNT 1000",
    "SSCAN {skey} 0 COUNT {bad}",
    "OBJECT ENCODING {skey}",
    "TYPE {skey}",
    "DEL {skey}",
    "RENAME {skey} {skey}",
    "COPY {skey} {skey} [DB {db}] [REPLACE]",
    "MOVE {skey} {db}",
    "PEXPIRE {skey} {ms}",
    "SCAN 0 COUNT 10000 TYPE set",
    "SET {skey} {v}",
    "SREM {k}|{h} {sm}",
    "SINTER {skey} {k}|{h}",
    "SUNIONSTORE {skey} {skey} {k}|{h}",
    "SMOVE {k}|{h} {skey} {sm}",
    "GET {skey}",
    "HGET {skey} {f}",
];

pub fn word(rng: &mut Rng, name: &str) -> Option<Vec<u8>> {
    match name {
        "{skey}" => Some(format!("s{}", rng.below(6)).into_bytes()),
        "{sm}" => Some(member(rng)),
        "{some}" => {
            let counts = [0, 2, 3, 5, 1000, -2, -7];
            Some(counts[rng.below(counts.len() as u64) as usize].to_string().into_bytes())
        }
        _ => None,
    }
}

/// Mostly one of few integers, so that sets of nothing else come about, and of few names.
fn member(rng: &mut Rng) -> Vec<u8> {
    match rng.below(24) {
        0 => Vec::new(),
        1 => b"3000000000".to_vec(),
        2 => b"-70000".to_vec(),
        3 => b"007".to_vec(),
        4..8 => format!("m{}", rng.below(8)).into_bytes(),
        _ => (rng.below(16) as i64 - 3).to_string().into_bytes(),
    }
}
