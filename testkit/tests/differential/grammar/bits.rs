//! Requests of bit operations and bit fields. `{bkey}` is a key of theirs, `{boff}` an offset in bits,
//! `{bbit}` a bit, `{bpart}` a place in a string, `{btype}` and `{bfoff}` type and offset of a field,
//! `{bval}` a number in it.

use base::random::Rng;

pub const TEMPLATES: &[&str] = &[
    "SETBIT {bkey} {boff} {bbit}",
    "SETBIT {bkey} {boff} {bbit}",
    "GETBIT {bkey} {boff}",
    "SETBIT {h} {boff} {bbit}",
    "GETBIT {h} 5",
    "SET {bkey} {v}",
    "APPEND {bkey} {v}",
    "GET {bkey}",
    "OBJECT ENCODING {bkey}",
    "DEL {bkey}",
    "EXPIRE {bkey} {s}",
    "BITCOUNT {bkey}",
    "BITCOUNT {bkey} {bpart} {bpart} [BIT|BYTE]",
    "BITCOUNT {h}",
    "BITPOS {bkey} 0|1",
    "BITPOS {bkey} 0|1 {bpart}",
    "BITPOS {bkey} 0|1 {bpart} {bpart} [BIT|BYTE]",
    "BITPOS {bkey} 2|x",
    "BITOP AND|OR|XOR {bkey} {bkey}",
    "BITOP AND|OR|XOR {bkey} {bkey} {bkey}",
    "BITOP AND|OR|XOR|NOT {bkey} {bkey} {bkey} {bkey} {bkey}",
    "BITOP NOT {bkey} {bkey}",
    "BITOP AND|NO {bkey} {h} {bkey}",
    "BITFIELD {bkey} GET {btype} {bfoff}",
    "BITFIELD {bkey} SET {btype} {bfoff} {bval}",
    "BITFIELD {bkey} [OVERFLOW WRAP|SAT|FAIL|NO] INCRBY {btype} {bfoff} {bval}",
    "BITFIELD {bkey} OVERFLOW SAT|FAIL SET {btype} {bfoff} {bval} GET {btype} {bfoff} INCRBY {btype} {bfoff} {bval}",
    "BITFIELD {bkey} [GET u8] [SET i8 0 1]",
    "BITFIELD {h} GET|SET u8 0",
    "BITFIELD_RO {bkey} GET {btype} {bfoff} GET {btype} {bfoff}",
    "BITFIELD_RO {bkey} [GET u8 0] [SET u8 0 1]",
    "COMMAND GETKEYSANDFLAGS BITFIELD {bkey} [GET u8 0] [OVERFLOW FAIL] [SET u8 0 1] [NO]",
];

pub fn word(rng: &mut Rng, name: &str) -> Option<Vec<u8>> {
    let text = match name {
        "{bkey}" => format!("b{}", rng.below(6)),
        "{boff}" => match rng.below(30) {
            0 => pick(rng, &["-1", "x", "", "4294967296", "9223372036854775808", "#1"]),
            _ => rng.below(300).to_string(),
        },
        "{bbit}" => match rng.below(20) {
            0 => pick(rng, &["2", "-1", "x", "01"]),
            _ => rng.below(2).to_string(),
        },
        "{bpart}" => match rng.below(30) {
            0 => pick(rng, &["9223372036854775807", "-9223372036854775808", "1000", "-1000"]),
            _ => (rng.below(80) as i64 - 40).to_string(),
        },
        "{btype}" => match rng.below(40) {
            0 => pick(rng, &["u64", "i65", "u0", "i0", "8", "x8", "u", "u-1", "U8", "i08"]),
            1..=9 => pick(rng, &["i64", "u63", "i1", "u1"]),
            n if n % 2 == 0 => format!("i{}", 1 + rng.below(64)),
            _ => format!("u{}", 1 + rng.below(63)),
        },
        "{bfoff}" => match rng.below(40) {
            0 => pick(rng, &["-1", "#-1", "#", "x", "4294967296", "#9223372036854775807", "##1"]),
            n if n % 2 == 0 => format!("#{}", rng.below(4)),
            _ => rng.below(100).to_string(),
        },
        // Not the least of all: where that is too low for a field, Redis saturates upwards.
        "{bval}" => match rng.below(10) {
            0 => {
                pick(rng, &["9223372036854775807", "-4611686018427387904", "x", "1.5", "9223372036854775808"])
            }
            n if n % 2 == 0 => (rng.below(1 << 40) as i64 - (1 << 39)).to_string(),
            _ => (rng.below(600) as i64 - 300).to_string(),
        },
        _ => return None,
    };
    Some(text.into_bytes())
}

fn pick(rng: &mut Rng, words: &[&str]) -> String {
    words[rng.below(words.len() as u64) as usize].to_owned()
}
