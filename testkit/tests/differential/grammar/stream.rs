//! Requests of streams. `{xkey}` is a key of theirs, `{new}` an id that rises from request to request,
//! `{later}` one above all of these, `{past}` one of the last ones, `{id}` one of those or another, `{end}`
//! the end of a range, `{grp}` a group, `{who}` a consumer, `{cnt}` a count, `{idle}` a time that all or no
//! pending entries have waited.

use std::cell::Cell;

use base::random::Rng;

pub const TEMPLATES: &[&str] = &[
    "XADD {xkey} {new} {f} {v}",
    "XADD {xkey} {new} {f} {v}",
    "XADD {xkey} {new} f1 {v} f2 {v}",
    "XADD {xkey} {new} f1 {v} f2 {v} f3 {v}",
    "XADD {xkey} [NOMKSTREAM] {new} f1 {v}",
    "XADD {xkey} MAXLEN [=|~] {cnt} {new} f1 {v}",
    "XADD {xkey} MAXLEN ~ {cnt} LIMIT {cnt} {new} f1 {v}",
    "XADD {xkey} MINID [=|~] {id} {new} f1 {v}",
    "XADD {xkey} {past} {f} {v}",
    "XADD {xkey} {new} {f}",
    "XADD {k} {new} {f} {v}",
    "XLEN {xkey}",
    "XLEN {k}",
    "XRANGE {xkey} - + [COUNT {cnt}]",
    "XRANGE {xkey} {end} {end} [COUNT {cnt}]",
    "XREVRANGE {xkey} + - [COUNT {cnt}]",
    "XREVRANGE {xkey} {end} {end} [COUNT {cnt}]",
    "XDEL {xkey} {id}",
    "XDEL {xkey} {id} {id} {id} {id}",
    "XTRIM {xkey} MAXLEN|MINID [=|~] {cnt}",
    "XTRIM {xkey} MINID [=|~] {id}",
    "XTRIM {xkey} MAXLEN|MINID ~ {cnt} LIMIT {cnt}",
    "XTRIM {xkey} MAXLEN|MINID = {cnt} LIMIT {cnt}",
    "XSETID {xkey} {later}",
    "XSETID {xkey} {later} ENTRIESADDED {i} MAXDELETEDID 0-0",
    "XREAD [COUNT {cnt}] STREAMS {xkey} {id}",
    "XREAD [COUNT {cnt}] STREAMS {xkey} {xkey} {id} {id}",
    "XREAD [BLOCK 1] STREAMS {xkey} $",
    "XREAD COUNT {cnt} STREAMS {k} {id}",
    "XGROUP CREATE {xkey} {grp} {id} [MKSTREAM]",
    "XGROUP CREATE {xkey} {grp} $|0|{id} [MKSTREAM] [ENTRIESREAD {i}]",
    "XGROUP CREATE {xkey} {grp} 0 MKSTREAM",
    "XGROUP SETID {xkey} {grp} $|0|{id} [ENTRIESREAD {cnt}]",
    "XGROUP DESTROY {xkey} {grp}",
    "XGROUP CREATECONSUMER {xkey} {grp} {who}",
    "XGROUP DELCONSUMER {xkey} {grp} {who}",
    "XGROUP CREATE {k} {grp} 0",
    "XGROUP NOSUCH {xkey} {grp}",
    "XREADGROUP GROUP {grp} {who} [COUNT {cnt}] [NOACK] STREAMS {xkey} >",
    "XREADGROUP GROUP {grp} {who} COUNT 3 STREAMS {xkey} >",
    "XREADGROUP GROUP {grp} {who} COUNT 3 STREAMS {xkey} >",
    "XREADGROUP GROUP {grp} {who} COUNT 2 [BLOCK 1] STREAMS {xkey} {xkey} > >",
    "XREADGROUP GROUP {grp} {who} [COUNT {cnt}] STREAMS {xkey} {id}|0",
    "XACK {xkey} {grp} {id}",
    "XACK {xkey} {grp} {id} {id} {id} {id} {id} {id}",
    "XPENDING {xkey} {grp}",
    "XPENDING {xkey} {grp} [IDLE {idle}] - + {cnt} [{who}]",
    "XPENDING {xkey} {grp} [IDLE {idle}] {end} {end} {cnt} [{who}]",
    "XCLAIM {xkey} {grp} {who} {idle} {id} {id} {id} [RETRYCOUNT {cnt}] [FORCE] [JUSTID]",
    "XCLAIM {xkey} {grp} {who} {idle} {id} [IDLE {idle}] [FORCE] [LASTID {id}]",
    "XAUTOCLAIM {xkey} {grp} {who} {idle} {end} [COUNT {cnt}] [JUSTID]",
    "XINFO STREAM {xkey} [FULL [COUNT {cnt}]]",
    "XINFO GROUPS {xkey}",
    "XINFO CONSUMERS {xkey} {grp}",
    "XINFO STREAM|GROUPS {k}",
    "COPY {xkey} {xkey} [REPLACE]",
    "RENAME {xkey} {xkey}",
    "DEL {xkey}",
    "OBJECT ENCODING {xkey}",
];

pub fn word(rng: &mut Rng, name: &str) -> Option<Vec<u8>> {
    let text = match name {
        "{xkey}" => format!("x{}", rng.below(5)),
        "{new}" => new_id(rng),
        "{later}" => later_id(),
        "{past}" => format!("{}-{}", LAST.get() - rng.below(60), rng.below(9)),
        "{id}" => recent_id(rng),
        "{end}" => range_end(rng),
        "{grp}" => format!("g{}", rng.below(3)),
        "{who}" => format!("c{}", rng.below(4)),
        "{cnt}" => (rng.below(14) as i64 - 2).to_string(),
        "{idle}" => ["0", "100000000", "-5", "x"][pick(rng, &[12, 4, 1, 1])].to_string(),
        _ => return None,
    };
    Some(text.into_bytes())
}

thread_local! {
    /// The last id's milliseconds: each test has a thread of its own.
    static LAST: Cell<u64> = const { Cell::new(1000) };
}

fn new_id(rng: &mut Rng) -> String {
    let ms = LAST.get() + rng.below(2);
    LAST.set(ms);
    match pick(rng, &[16, 8, 4, 1, 1]) {
        0 => format!("{ms}-{}", rng.below(9)),
        1 => format!("{ms}-*"),
        2 => ms.to_string(),
        3 => "0-0".to_string(),
        _ => "no-id".to_string(),
    }
}

/// Above all ids so far: Redis 7.0 takes some that were deleted, later versions do not.
fn later_id() -> String {
    LAST.set(LAST.get() + 1);
    LAST.get().to_string()
}

fn recent_id(rng: &mut Rng) -> String {
    let ms = LAST.get() - rng.below(60);
    match pick(rng, &[16, 6, 1, 1]) {
        0 => format!("{ms}-{}", rng.below(9)),
        1 => ms.to_string(),
        2 => "18446744073709551615-18446744073709551615".to_string(),
        _ => "x-1".to_string(),
    }
}

fn range_end(rng: &mut Rng) -> String {
    match pick(rng, &[2, 2, 4, 3]) {
        0 => "-".to_string(),
        1 => "+".to_string(),
        2 => recent_id(rng),
        _ => format!("({}", recent_id(rng)),
    }
}

/// One of several, each as likely as it weighs.
fn pick(rng: &mut Rng, weights: &[u64]) -> usize {
    let mut left = rng.below(weights.iter().sum());
    weights
        .iter()
        .position(|weight| {
            let here = left < *weight;
            left = left.wrapping_sub(*weight);
            here
        })
        .expect("less than the sum of all")
}
