//! Requests of HyperLogLogs. `{pkey}` is a key of theirs, `{pel}` an element.

use base::random::Rng;

pub const TEMPLATES: &[&str] = &[
    "PFADD {pkey} {pel}",
    "PFADD {pkey} {pel} {pel} {pel} {pel} {pel} {pel} {pel} {pel}",
    "PFADD {pkey} {pel} {pel} {pel} {pel} {pel} {pel} {pel} {pel} {pel} {pel} {pel} {pel} {pel} {pel} {pel}",
    "PFADD {pkey} {v} {i}",
    "PFADD {pkey}",
    "PFADD {k} {pel}",
    "PFADD {h} {pel}",
    "PFCOUNT {pkey}",
    "PFCOUNT {pkey}",
    "PFCOUNT {pkey} {pkey} {pkey}",
    "PFCOUNT {pkey} {k}",
    "PFCOUNT {h}",
    "PFMERGE {pkey} {pkey} [{pkey}]",
    "PFMERGE {pkey}",
    "PFMERGE {pkey} {h}",
    "PFDEBUG ENCODING|DECODE {pkey}",
    "PFDEBUG ENCODING|DECODE {pkey}",
    "PFDEBUG TODENSE|NOSUCH {pkey}",
    "GET {pkey}",
    "STRLEN {pkey}",
    "OBJECT ENCODING {pkey}",
    "DEL {pkey}",
    "EXPIRE {pkey} {s}",
    "COPY {pkey} {pkey} [REPLACE]",
];

pub fn word(rng: &mut Rng, name: &str) -> Option<Vec<u8>> {
    match name {
        "{pkey}" => Some(format!("p{}", rng.below(6)).into_bytes()),
        "{pel}" => Some(format!("{}", rng.below(1 << 30)).into_bytes()),
        _ => None,
    }
}
