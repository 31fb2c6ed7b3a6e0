//! Requests of sorted sets. `{zkey}` is a key of theirs, `{ykey}` one whose scores are all the same, as
//! ranges by member need them; `{zm}` a member, `{zs}` a score, `{lo}` and `{hi}` ends of ranges by score,
//! `{lex}` one by member, `{rank}` a place.

use base::random::Rng;

pub const TEMPLATES: &[&str] = &[
    "ZADD {zkey} {zs} {zm}",
    "ZADD {zkey} {zs} {zm} {zs} {zm} {zs} {zm}",
    "ZADD {zkey} {zs} {zm} {zs} {zm} {zs} {zm} {zs} {zm} {zs} {zm} {zs} {zm}",
    "ZADD {ykey} 0 {zm} 0 {zm} 0 {zm} 0 {zm}",
    "ZREM {ykey} {zm} {zm}",
    "ZADD {zkey} [NX|XX] [GT|LT] [CH] {zs} {zm} {zs} {zm}",
    "ZADD {zkey} [NX|XX] [GT|LT] [CH] INCR {zs} {zm}",
    "ZADD {zkey} INCR {zs} {zm} {zs} {zm}",
    "ZADD {zkey} {d} {v}",
    "ZADD {zkey} {zs} {zm} {zs}",
    "ZINCRBY {zkey} {zs} {zm}",
    "ZINCRBY {zkey} {d} {zm}",
    "ZREM {zkey} {zm}",
    "ZREM {zkey} {zm} {zm} {zm}",
    "ZCARD {zkey}",
    "ZSCORE {zkey} {zm}",
    "ZMSCORE {zkey} {zm} {zm} {zm}",
    "ZRANK|ZREVRANK {zkey} {zm}",
    "ZCOUNT {zkey} {lo} {hi}",
    "ZLEXCOUNT {ykey} {lex} {lex}",
    "ZRANGE {zkey} 0 -1 WITHSCORES",
    "ZRANGE {zkey} {rank} {rank} [REV] [WITHSCORES]",
    "ZRANGE {zkey} {lo} {hi} BYSCORE [LIMIT {n} {n}] [WITHSCORES]",
    "ZRANGE {zkey} {hi} {lo} BYSCORE REV [LIMIT {n} {n}] [WITHSCORES]",
    "ZRANGE {ykey} {lex} {lex} BYLEX [REV] [LIMIT {n} {n}]",
    "ZRANGE {zkey} {rank} {rank} LIMIT {n} {n}",
    "ZRANGE {ykey} {lo} {lex} BYLEX|BYSCORE|REV [WITHSCORES]",
    "ZREVRANGE {zkey} {rank} {rank} [WITHSCORES]",
    "ZRANGEBYSCORE {zkey} {lo} {hi} [WITHSCORES] [LIMIT {n} {n}]",
    "ZREVRANGEBYSCORE {zkey} {hi} {lo} [WITHSCORES] [LIMIT {n} {n}]",
    "ZRANGEBYLEX|ZREVRANGEBYLEX {ykey} {lex} {lex} [LIMIT {n} {n}]",
    "ZRANGESTORE {zkey} {zkey} {rank} {rank} [REV]",
    "ZRANGESTORE {zkey} {zkey} {lo} {hi} BYSCORE [LIMIT {n} {n}]",
    "ZRANGESTORE {ykey} {ykey} {lex} {lex} BYLEX [LIMIT {n} {n}]",
    "ZREMRANGEBYRANK {zkey} {rank} {rank}",
    "ZREMRANGEBYSCORE {zkey} {lo} {hi}",
    "ZREMRANGEBYLEX {ykey} {lex} {lex}",
    "ZPOPMIN|ZPOPMAX {zkey} [{n}]",
    "ZMPOP 2 {zkey} {zkey} MIN|MAX [COUNT {n}]",
    "ZMPOP {n} {zkey} MIN|MAX|MID",
    "BZPOPMIN|BZPOPMAX {zkey} {zkey} 0.001",
    "BZMPOP 0.001 2 {zkey} {zkey} MIN|MAX [COUNT {n}]",
    "ZUNION|ZINTER 2 {zkey} {zkey} [WEIGHTS {zs} {zs}] [AGGREGATE SUM|MIN|MAX] [WITHSCORES]",
    "ZUNION|ZINTER|ZDIFF 3 {zkey} {skey} {zkey} [WITHSCORES]",
    "ZUNION|ZINTER|ZDIFF {n} {zkey} {zkey} [WITHSCORES]",
    "ZDIFF 2 {zkey} {zkey} [WITHSCORES]",
    "ZUNIONSTORE|ZINTERSTORE {zkey} 2 {zkey} {zkey} [WEIGHTS {zs} {zs}] [AGGREGATE SUM|MIN|MAX]",
    "ZUNIONSTORE|ZINTERSTORE|ZDIFFSTORE {zkey} 3 {zkey} {skey} {zkey}",
    "ZINTERCARD 2 {zkey} {zkey} [LIMIT {n}]",
    "ZRANDMEMBER {zkey} 0|x|-9223372036854775808|1000 [WITHSCORES]",
    "ZSCAN {zkey} 0 [MATCH {p}|m*|1*] COUNT 1000",
    "OBJECT ENCODING {zkey}",
    "TYPE {zkey}",
    "DEL {zkey}",
    "RENAME {zkey} {zkey}",
    "COPY {zkey} {zkey} [DB {db}] [REPLACE]",
    "MOVE {zkey} {db}",
    "PEXPIRE {zkey} {ms}",
    "SET {zkey} {v}",
    "ZADD {k}|{h}|{skey} 1 {zm}",
    "ZRANGE|ZREVRANGE {k}|{h}|{skey} 0 -1",
    "ZUNION 2 {zkey} {k}|{h}",
    "ZINTERSTORE {zkey} 2 {zkey} {k}|{h}",
    "GET {zkey}",
    "HSET {zkey} {f} {v}",
];

pub fn word(rng: &mut Rng, name: &str) -> Option<Vec<u8>> {
    match name {
        "{zkey}" => Some(format!("z{}", rng.below(6)).into_bytes()),
        "{ykey}" => Some(format!("y{}", rng.below(3)).into_bytes()),
        "{zm}" => Some(member(rng)),
        "{zs}" => Some(score(rng)),
        "{lo}" => Some(bound(rng, "-inf")),
        "{hi}" => Some(bound(rng, "+inf")),
        "{lex}" => Some(lex(rng)),
        "{rank}" => Some((rng.below(30) as i64 - 15).to_string().into_bytes()),
        _ => None,
    }
}

fn pick(rng: &mut Rng, words: &[&str]) -> Vec<u8> {
    words[rng.below(words.len() as u64) as usize].as_bytes().to_vec()
}

fn member(rng: &mut Rng) -> Vec<u8> {
    match rng.below(24) {
        0 => pick(rng, &["", "007", "-70000", "3000000000"]),
        1..6 => (rng.below(12) as i64 - 3).to_string().into_bytes(),
        _ => format!("m{}", rng.below(20)).into_bytes(),
    }
}

/// Mostly few integers, so that many are equal.
fn score(rng: &mut Rng) -> Vec<u8> {
    match rng.below(24) {
        0 => pick(rng, &["inf", "-inf", "+inf", "nan", "x", "", "0x1f", "1e300", "5e-324", "1e400", "-0"]),
        1 => pick(rng, &["9007199254740993", "123456789012345678", "1e17", "0.30000000000000004", "1e-7"]),
        2..8 => format!("{}.{}", rng.below(20) as i64 - 5, rng.below(100)).into_bytes(),
        _ => (rng.below(16) as i64 - 4).to_string().into_bytes(),
    }
}

fn bound(rng: &mut Rng, open: &str) -> Vec<u8> {
    match rng.below(8) {
        0..3 => open.as_bytes().to_vec(),
        3..5 => [b"(".as_slice(), &score(rng)].concat(),
        _ => score(rng),
    }
}

fn lex(rng: &mut Rng) -> Vec<u8> {
    match rng.below(12) {
        0..2 => b"-".to_vec(),
        2..4 => b"+".to_vec(),
        4 => member(rng),
        5..8 => [b"(".as_slice(), &member(rng)].concat(),
        _ => [b"[".as_slice(), &member(rng)].concat(),
    }
}
