//! Compares with the Redis that is installed: numbers in and out, patterns, amounts, compression and
//! checksums.

mod peer;

use base::glob::Case;
use base::longdouble::LongDouble;
use base::random::Rng;
use base::{crc, glob, lzf, num, units};
use peer::Peer;

#[test]
fn increments_by_float() {
    let Some(mut peer) = Peer::start("redis-server", "increments_by_float") else { return };
    let mut rng = Rng::from_seed(1);
    for round in 0..1500 {
        let (value, increment) = (random_number(&mut rng), random_number(&mut rng));
        peer.call(&[b"SET", b"key", value.as_bytes()]);
        let reply = peer.text(&[b"INCRBYFLOAT", b"key", increment.as_bytes()]);
        let sum = LongDouble::parse(value.as_bytes())
            .and_then(|value| Some(value.add(LongDouble::parse(increment.as_bytes())?)));
        let expected = match sum {
            None => "ERR value is not a valid float".to_owned(),
            Some(sum) if !sum.is_finite() => "ERR increment would produce NaN or Infinity".to_owned(),
            Some(sum) => sum.print_human(),
        };
        assert_eq!(reply, expected, "round {round}: {value} + {increment}");
    }
}

#[test]
fn scores() {
    let Some(mut peer) = Peer::start("redis-server", "scores") else { return };
    // A small sorted set keeps whole scores as integers, and so forgets the sign of -0.
    peer.call(&[b"CONFIG", b"SET", b"zset-max-listpack-entries", b"0"]);
    let mut rng = Rng::from_seed(2);
    for round in 0..3000 {
        let text = random_number(&mut rng);
        let reply = peer.text(&[b"ZADD", b"key", text.as_bytes(), b"member"]);
        let expected = num::parse_f64(text.as_bytes());
        assert_eq!(
            reply == "ERR value is not a valid float",
            expected.is_none(),
            "round {round}: {text}: {reply}"
        );
        let Some(score) = expected else { continue };
        let mut printed = Vec::new();
        num::write_f64(&mut printed, score);
        let score = peer.text(&[b"ZSCORE", b"key", b"member"]);
        assert_eq!(score.as_bytes(), printed, "round {round}: {text}");
        peer.call(&[b"DEL", b"key"]);
    }
}

#[test]
fn shortest_scores() {
    let Some(mut peer) = Peer::start("valkey-server", "shortest_scores") else { return };
    peer.call(&[b"CONFIG", b"SET", b"zset-max-listpack-entries", b"0"]);
    let mut rng = Rng::from_seed(5);
    let (mut same, mut all) = (0, 0);
    for round in 0..5000 {
        let text = random_number(&mut rng);
        let Some(score) = num::parse_f64(text.as_bytes()) else { continue };
        // Printed anew: Valkey does not read hexadecimal any more.
        peer.call(&[b"ZADD", b"key", format!("{score:e}").as_bytes(), b"member"]);
        let theirs = peer.call(&[b"ZSCORE", b"key", b"member"]);
        peer.call(&[b"DEL", b"key"]);
        let mut ours = Vec::new();
        num::write_f64_shortest(&mut ours, score);
        // Its algorithm now and then misses the shortest or the nearest digits; layouts must agree all the
        // same.
        assert!(ours.len() <= theirs.len() + 1, "round {round}: {text}");
        assert_eq!(num::parse_f64(&theirs), Some(score), "round {round}: {text}");
        same += u32::from(ours == theirs);
        all += 1;
    }
    assert!(same * 1000 >= all * 995, "{same} of {all} agree");
}

#[test]
fn integers() {
    let Some(mut peer) = Peer::start("redis-server", "integers") else { return };
    let mut rng = Rng::from_seed(3);
    for round in 0..1000 {
        let text = random_number(&mut rng);
        peer.call(&[b"SET", b"key", text.as_bytes()]);
        let reply = peer.text(&[b"INCRBY", b"key", b"0"]);
        let expected = num::parse_i64(text.as_bytes());
        assert_eq!(reply.parse().ok(), expected, "round {round}: {text}: {reply}");
    }
}

#[test]
fn patterns() {
    let Some(mut peer) = Peer::start("redis-server", "patterns") else { return };
    let script = "redis.call('FLUSHALL') redis.call('SET', ARGV[2], '') return #redis.call('KEYS', ARGV[1])";
    let mut rng = Rng::from_seed(4);
    for round in 0..3000 {
        let pattern = random_text(&mut rng, b"abA*?[]^\\-\xff\xc0", 10);
        let text = random_text(&mut rng, b"abAB]^\\-\xff\xc0", 6);
        // KEYS takes a lone star for "all", before any matching.
        if pattern == b"*" {
            continue;
        }
        let reply = peer.text(&[b"EVAL", script.as_bytes(), b"0", &pattern, &text]);
        let expected = i32::from(glob::matches(&pattern, &text, Case::Sensitive)).to_string();
        assert_eq!(reply, expected, "round {round}: {:?} {:?}", pattern.escape_ascii(), text.escape_ascii());
    }
}

#[test]
fn patterns_without_case() {
    let Some(mut peer) = Peer::start("redis-server", "patterns_without_case") else { return };
    // CONFIG GET matches directives without case, if the pattern has a star, a question mark or a bracket.
    for pattern in [
        "HZ*", "h[X-z]*", "[g-I]z*", "[^A]Z*", "[\\H]z*", "[\\h]Z*", "h[z-A]*", "h[Z-a]*", "h[a-Z]*", "\\Hz*",
    ] {
        let reply = peer.call_all(&[b"CONFIG", b"GET", pattern.as_bytes()]);
        let found = reply.iter().any(|name| name == b"hz");
        assert_eq!(found, glob::matches(pattern.as_bytes(), b"hz", Case::Insensitive), "{pattern}");
    }
}

#[test]
fn amounts() {
    let Some(mut peer) = Peer::start("redis-server", "amounts") else { return };
    for text in [
        "", "0", "b", "kb", "1k", "1KB", "5b", "2M", "3mB", "1g", "7GB", "007", "1t", "-1", "+1", " 1",
        "1.5gb", "x",
    ] {
        let reply = peer.text(&[b"CONFIG", b"SET", b"maxmemory", text.as_bytes()]);
        let expected = units::parse_memory(text.as_bytes());
        assert_eq!(reply == "OK", expected.is_ok(), "{text:?}: {reply}");
        peer.call(&[b"CONFIG", b"SET", b"maxmemory", b"0"]);
    }
}

#[test]
fn dumps() {
    let Some(mut peer) = Peer::start("redis-server", "dumps") else { return };
    for value in [
        b"a".repeat(5000),
        b"the quick brown fox ".repeat(700),
        [b"x".repeat(300), (0..=255).collect()].concat(),
    ] {
        peer.call(&[b"SET", b"key", &value]);
        let dump = peer.call(&[b"DUMP", b"key"]);
        let (body, checksum) = dump.split_last_chunk().expect("a dump ends in a checksum");
        assert_eq!(crc::crc64(0, body), u64::from_le_bytes(*checksum));
        // Type, marker of a compressed string, two lengths, the text, the version.
        assert_eq!(body[..2], [0, 0xc3]);
        let (compressed_len, rest) = read_length(&body[2..]);
        let (len, rest) = read_length(rest);
        let (compressed, version) = rest.split_at(compressed_len);
        assert_eq!((len, version.len()), (value.len(), 2));
        assert_eq!(lzf::decompress(compressed, len), Ok(value.clone()));
        check_restore(&mut peer, &value);
    }
}

/// Redis must read what we compress.
fn check_restore(peer: &mut Peer, value: &[u8]) {
    let mut compressed = Vec::new();
    assert!(lzf::compress(value, &mut compressed));
    let mut dump = vec![0, 0xc3];
    for len in [compressed.len(), value.len()] {
        dump.push(0x80);
        dump.extend_from_slice(&(len as u32).to_be_bytes());
    }
    dump.extend_from_slice(&compressed);
    dump.extend_from_slice(&10u16.to_le_bytes());
    dump.extend_from_slice(&crc::crc64(0, &dump).to_le_bytes());
    assert_eq!(peer.text(&[b"RESTORE", b"copy", b"0", &dump, b"REPLACE"]), "OK");
    assert_eq!(peer.call(&[b"GET", b"copy"]), value);
}

/// A length of an RDB file: 6, 14 or 32 bits.
fn read_length(bytes: &[u8]) -> (usize, &[u8]) {
    match bytes {
        [first @ 0..=0x3f, rest @ ..] => (usize::from(*first), rest),
        [first @ 0x40..=0x7f, second, rest @ ..] => {
            (usize::from(first & 0x3f) << 8 | usize::from(*second), rest)
        }
        [0x80, a, b, c, d, rest @ ..] => (u32::from_be_bytes([*a, *b, *c, *d]) as usize, rest),
        _ => panic!("no length: {bytes:?}"),
    }
}

/// Mostly a number, sometimes an extreme one or none at all.
fn random_number(rng: &mut Rng) -> String {
    let integer = rng.next_u64() as i64 >> rng.below(64);
    match rng.below(13) {
        0 => integer.to_string(),
        1 => format!("{}", f64::from_bits(rng.next_u64())),
        2 => format!("{:e}", f64::from_bits(rng.next_u64())),
        3 => format!("{}.{}", integer >> 40, rng.next_u64() >> rng.below(64)),
        4 => format!("{:.1$}", integer as f64 / 1e6, rng.below(9) as usize),
        5 => format!("{}e{}", integer, rng.below(80) as i64 - 40),
        6 => format!("{}e{}", integer, rng.below(10_000) as i64 - 5_000),
        7 => format!("{:#x}p{}", rng.next_u64() >> rng.below(64), rng.below(80) as i64 - 70),
        8 => format!("-0x{:x}.{:x}P{}", rng.below(100), rng.next_u64(), rng.below(1200) as i64 - 1100),
        // A tie or near one in the 17th digit or place.
        9 => format!("{}", 1.0 + rng.below(1 << 20) as f64 / (1u64 << (15 + rng.below(37))) as f64),
        10 => format!("{}{}", rng.next_u64(), rng.next_u64()),
        11 => format!("{}.5", rng.below(1000) as i64 - 500),
        _ => ODD[rng.below(ODD.len() as u64) as usize].to_owned(),
    }
}

fn random_text(rng: &mut Rng, alphabet: &[u8], max_len: u64) -> Vec<u8> {
    (0..rng.below(max_len + 1)).map(|_| alphabet[rng.below(alphabet.len() as u64) as usize]).collect()
}

const ODD: &[&str] = &[
    "",
    "0",
    "-0",
    "+0",
    "00",
    "01",
    "+1",
    " 1",
    "1 ",
    "1\t",
    ".",
    "-",
    "+",
    ".5",
    "5.",
    "-.5e1",
    "1e",
    "1e+",
    "e1",
    "0x",
    "0x.p1",
    "0x.8",
    "0x1p",
    "0x1.p0",
    "inf",
    "-inf",
    "+inf",
    "INF",
    "infinity",
    "Infinity",
    "infinit",
    "nan",
    "-nan",
    "nan(1)",
    "1e309",
    "-1e309",
    "1.7976931348623159e308",
    "4.9e-324",
    "2e-324",
    "1e-400",
    "0e-400",
    "0e999",
    "1e4932",
    "1.2e4932",
    "-1e4932",
    "1e5000",
    "3.6e-4951",
    "1e-4951",
    "1,5",
    "1_000",
    "1e5.5",
    "--1",
    "1\0",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551616",
    "0.000000000000000005",
    "0.000000000000000015",
    "0x1p-1074",
    "0x1p-1075",
    "0x1.fffffffffffff8p1023",
    "99999999999999999",
    "100000000000000000",
    "1e16",
    "1e17",
    "0.0001",
    "0.00001",
];
