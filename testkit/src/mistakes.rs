//! Mistakes in random requests: a word too few or too many, two in each other's place, an option where none
//! belongs. So every command meets a wrong number of arguments and wrong options, whatever its templates say.

use base::random::Rng;

/// Makes one mistake. The command's name stays.
pub fn make<W>(rng: &mut Rng, words: &mut Vec<W>)
where
    W: Clone + AsRef<[u8]> + for<'a> From<&'a str>,
{
    let place = |rng: &mut Rng, count: usize| 1 + rng.below(count as u64 - 1) as usize;
    let count = words.len();
    let kind = rng.below(6);
    if count == 1 || kind == 0 {
        return words.push(odd(rng));
    }
    let at = place(rng, count);
    match kind {
        1 => drop(words.remove(at)),
        2 => words.insert(at, words[at].clone()),
        3 => words[at] = odd(rng),
        4 => words.swap(at, place(rng, count)),
        _ => words.truncate(at),
    }
}

/// Whether one mistake in it leaves nothing to chance, and nothing waiting: of what is chosen or scanned the
/// arguments decide how much, and numbers are times.
pub fn may_err<W: AsRef<[u8]>>(words: &[W]) -> bool {
    let name = words[0].as_ref();
    let is_option = |word: &W| TIMES.contains(&word.as_ref());
    !KEPT.contains(&name)
        && !CHANGED.contains(&name)
        && !name.ends_with(b"SCAN")
        && !words.iter().any(is_option)
}

fn odd<W: for<'a> From<&'a str>>(rng: &mut Rng) -> W {
    W::from(ODD[rng.below(ODD.len() as u64) as usize])
}

const ODD: &[&str] = &[
    "",
    "x",
    "-1",
    "0",
    "1.5",
    "+",
    "-",
    "(",
    "4294967296",
    "NX",
    "xx",
    "GT",
    "LIMIT",
    "WITHSCORES",
    "BYLEX",
    "rev",
    "STORE",
    "GET",
    "BY",
    "FORCE",
    "STREAMS",
    "KEYS",
];
const KEPT: &[&[u8]] = &[
    b"CLIENT",
    b"COMMAND",
    b"CONFIG",
    b"HELLO",
    b"LASTSAVE",
    b"LATENCY",
    b"LOLWUT",
    b"MEMORY",
    b"MONITOR",
    b"PSUBSCRIBE",
    b"RANDOMKEY",
    b"ROLE",
    b"SAVE",
    b"SLOWLOG",
    b"SSUBSCRIBE",
    b"SUBSCRIBE",
    b"TIME",
    b"SPOP",
    b"SORT",
    b"SORT_RO",
    b"XPENDING",
    b"BLPOP",
    b"BRPOP",
    b"BLMOVE",
    b"BRPOPLPUSH",
    b"BLMPOP",
    b"BZPOPMIN",
    b"BZPOPMAX",
    b"BZMPOP",
    b"SETEX",
    b"PSETEX",
    b"EXPIRE",
    b"PEXPIRE",
    b"RESTORE",
    b"WAIT",
    b"FLUSHDB",
    b"GEOADD",
    b"GEORADIUS",
    b"GEORADIUS_RO",
    b"GEORADIUSBYMEMBER",
    b"GEORADIUSBYMEMBER_RO",
    b"GEOSEARCH",
    b"GEOSEARCHSTORE",
];
/// Later versions take more of these, look at the arguments before the key, or say it in other words.
const CHANGED: &[&[u8]] = &[b"BITCOUNT", b"BITPOS", b"ZRANK", b"ZREVRANK", b"XREAD", b"XREADGROUP"];
const TIMES: &[&[u8]] = &[b"EX", b"PX", b"BLOCK", b"IDLE"];
