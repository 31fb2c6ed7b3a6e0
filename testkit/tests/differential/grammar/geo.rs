//! Requests of points. `{gkey}` is a key of theirs, `{point}` a longitude and a latitude, `{gm}` a member,
//! `{far}` a length, `{unit}` a unit.

use base::random::Rng;

pub const TEMPLATES: &[&str] = &[
    "GEOADD {gkey} {lon} {lat} {gm}",
    "GEOADD {gkey} {lon} {lat} {gm} {lon} {lat} {gm} {lon} {lat} {gm}",
    "GEOADD {gkey} [NX|XX] [CH] {lon} {lat} {gm} {lon} {lat} {gm}",
    "GEOADD {gkey} {lon} {lat}",
    "GEOADD {gkey} {d} {d} {gm}",
    "GEOPOS|GEOHASH {gkey} {gm} {gm}",
    "GEODIST {gkey} {gm} {gm} [{unit}]",
    "GEOSEARCH {gkey} FROMLONLAT {lon} {lat} BYRADIUS {far} {unit} {order} [WITHDIST] [WITHHASH] [WITHCOORD]",
    "GEOSEARCH {gkey} FROMLONLAT {lon} {lat} BYBOX {far} {far} {unit} {order} [WITHDIST] [WITHCOORD]",
    "GEOSEARCH {gkey} FROMLONLAT {lon} {lat} BYRADIUS {far} km COUNT {n} [ANY]",
    "GEOSEARCHSTORE {gkey} {gkey} FROMLONLAT {lon} {lat} BYBOX {far} {far} km [STOREDIST] [COUNT 3]",
    "GEOSEARCHSTORE {gkey} {gkey} FROMLONLAT {lon} {lat} BYRADIUS {far} {unit} [STOREDIST]",
    "GEORADIUS|GEORADIUS_RO {gkey} {lon} {lat} {far} {unit} [WITHDIST] [COUNT {n}] {order}",
    "GEOSEARCH {gkey} FROMMEMBER {gm} BYRADIUS|BYBOX {far} [{far}] {unit} {order} [WITHDIST]",
    "GEORADIUSBYMEMBER|GEORADIUSBYMEMBER_RO {gkey} {gm} {far} {unit} [WITHDIST] {order} [COUNT {n}]",
    "GEORADIUS {gkey} {lon} {lat} {far} {unit} STORE|STOREDIST {gkey}",
    "GEOSEARCH {gkey} FROMLONLAT {lon} {lat} [BYRADIUS {far} {unit}] [BYBOX {far} {far} {unit}] [ANY] {order}",
    "ZRANGE {gkey} 0 -1 WITHSCORES",
    "ZREM {gkey} {gm}",
    "DEL {gkey}",
    "GEOADD {k}|{h} {lon} {lat} {gm}",
    "GEOPOS|GEOHASH {k}|{h} {gm}",
];

pub fn word(rng: &mut Rng, name: &str) -> Option<Vec<u8>> {
    match name {
        "{gkey}" => Some(format!("g{}", rng.below(3)).into_bytes()),
        "{gm}" => Some(format!("p{}", rng.below(40)).into_bytes()),
        "{lon}" => Some(degrees(rng, 180)),
        "{lat}" => Some(degrees(rng, 85)),
        "{far}" => Some(far(rng)),
        "{unit}" => Some(pick(rng, &["m", "km", "ft", "mi", "KM", "x"])),
        "{order}" => Some(pick(rng, &["ASC", "DESC"])),
        _ => None,
    }
}

fn pick(rng: &mut Rng, words: &[&str]) -> Vec<u8> {
    words[rng.below(words.len() as u64) as usize].as_bytes().to_vec()
}

/// Anywhere, near one place, or on an edge of the map.
fn degrees(rng: &mut Rng, max: i64) -> Vec<u8> {
    let range = (2 * max) as u64;
    match rng.below(12) {
        0 => pick(rng, &["180", "-180", "85.05112878", "-85.05112878", "0", "90", "x"]),
        1..7 => format!("13.{}", rng.below(100_000)).into_bytes(),
        _ => format!("{}.{}", rng.below(range) as i64 - max, rng.below(100_000)).into_bytes(),
    }
}

fn far(rng: &mut Rng) -> Vec<u8> {
    match rng.below(12) {
        0 => pick(rng, &["0", "-1", "x", "inf", "1e9", "20000000"]),
        1..5 => rng.below(100).to_string().into_bytes(),
        5..9 => rng.below(10_000).to_string().into_bytes(),
        _ => rng.below(10_000_000).to_string().into_bytes(),
    }
}
