//! Scripts for the comparison: small Lua programs over the other families' commands, values of every kind
//! that become replies, and libraries of functions. What Redis 7.0 does otherwise than 7.2 is not drawn, nor
//! what depends on the order of a table.

use base::random::Rng;

use crate::requests::{FAMILIES, Templates, one_of};
use crate::{is_settled_outside_transactions, requests};

/// Scripts that are also loaded and called by name.
const KNOWN: &[&str] = &[
    "return 1",
    "return {KEYS, ARGV}",
    "return redis.call('get', KEYS[1])",
    "return redis.pcall('incrby', KEYS[1], ARGV[1])",
    "redis.call('rpush', KEYS[1], unpack(ARGV)) return redis.call('lrange', KEYS[1], 0, -1)",
    "#!lua flags=no-writes\nreturn redis.call('set', KEYS[1], 'x')",
    "#!lua flags=no-writes,allow-stale\nreturn redis.call('exists', KEYS[1])",
    "#!lua flags=whatever\nreturn 1",
    "#!python\nreturn 1",
    "return +",
    "return undefined",
    "x = 1",
    "error({err='MY error'})",
    "error('text')",
    "local ok, e = pcall(redis.call, 'set', KEYS[1]) return {ok, e.err or e}",
    "redis.call('select', 1) redis.call('set', KEYS[1], ARGV[1]) return redis.call('get', KEYS[1])",
];

const LIBRARIES: &[&str] = &[
    "#!lua name=one\nredis.register_function('put', function(k, a) return redis.call('set', k[1], a[1] or '') \
     end)",
    "#!lua name=one\nredis.register_function{function_name='look', callback=function(k, a) return \
     redis.call('exists', k[1]) end, flags={'no-writes'}}",
    "#!lua name=two\nlocal n = 5\nredis.register_function('count', function(k, a) return {n, #k, #a} end)\n\
     redis.register_function('fails', function() return redis.call('incr') end)",
    "#!lua name=two\nredis.register_function('put', function() return 'another' end)",
    "#!lua name=three\nredis.call('get', 'x')",
    "#!lua name=four\nreturn 1",
    "#!lua name=bad-name\nreturn 1",
    "redis.register_function('put', function() end)",
];

const FUNCTIONS: &[&str] = &["put", "look", "count", "fails", "PUT", "none"];

pub const SCRIPTS: Templates = &[
    "EVAL $script 0",
    "EVAL $script 1 $s $value",
    "EVAL $script 2 $key $key $value $member",
    "EVAL $script 1 $key",
    "EVAL_RO $script 1 $s $value",
    "EVAL $script $index $s",
    "EVAL $known 1 $key $number",
    "SCRIPT LOAD $known",
    "SCRIPT EXISTS $sha $sha x",
    "EVALSHA $sha 1 $key $number",
    "EVALSHA_RO $sha 1 $key $number",
    "FUNCTION LOAD $library",
    "FUNCTION LOAD REPLACE $library",
    "FUNCTION DELETE one",
    "FUNCTION LIST LIBRARYNAME t*",
    "FUNCTION LIST WITHCODE",
    "FUNCTION STATS",
    "FUNCTION FLUSH",
    "FUNCTION RESTORE $short",
    "FUNCTION KILL",
    "SCRIPT KILL",
    "SCRIPT FLUSH",
    "WATCH $key",
    "FCALL $function 1 $key $value",
    "FCALL_RO $function 1 $key $value",
    "SET $s $value",
    "RPUSH $l $member $member",
    "HSET $h $field $value",
    "SADD $t $member $member",
    "ZADD $z $score $member",
];

/// What waits and Redis 7.0 lets scripts call: the others since 7.2.
const WAITING: Templates = &["BLMPOP 0 2 $l $l RIGHT COUNT $count", "BZMPOP 0 2 $z $z MIN COUNT $count"];

/// Families whose commands scripts do not call: errors have another text since 7.2, and orders are chance.
const APART: &[&str] = &["streams", "groups", "geo", "SORT", "choices"];

/// As `requests::draw`, for the words above too.
pub fn draw(rng: &mut Rng, word: &str, words: &mut Vec<String>) {
    match word {
        "$script" => words.push(script(rng)),
        "$known" => words.push(one_of(rng, KNOWN)),
        "$sha" => {
            let sha = script::sha1_hex(one_of(rng, KNOWN).as_bytes());
            words.push(String::from_utf8_lossy(&sha).into_owned());
        }
        "$library" => words.push(one_of(rng, LIBRARIES)),
        "$function" => words.push(one_of(rng, FUNCTIONS)),
        _ => requests::draw(rng, word, words),
    }
}

/// A few statements, and what is returned.
fn script(rng: &mut Rng) -> String {
    let mut text = String::new();
    if rng.below(12) == 0 {
        text.push_str(&one_of(rng, &["#!lua\n", "#!lua flags=no-writes\n", "#!lua flags=\n"]));
    }
    if rng.below(6) == 0 {
        text.push_str("redis.setresp(3) ");
    }
    let count = rng.below(4);
    for number in 0..count {
        text.push_str(&format!("local r{number} = {} ", command(rng)));
    }
    let results: Vec<String> = (0..count).map(|number| result(rng, number)).collect();
    let all = results.join(", ");
    match rng.below(6) {
        0 => text + "return " + &value(rng, 0),
        1 => text + "return " + &encoded(rng),
        2 if count > 0 => text + "return r0",
        3 => {
            text + &format!("if #KEYS > 0 then return {{KEYS[1], {all}}} else return {{ARGV[1], #ARGV}} end")
        }
        _ => text + &format!("return {{{all}}}"),
    }
}

/// What a reply is in Lua.
fn result(rng: &mut Rng, number: u64) -> String {
    match rng.below(8) {
        0 => format!("type(r{number})"),
        1 => format!("type(r{number}) == 'table' and (r{number}.ok or r{number}.err or #r{number}) or false"),
        2 => format!("r{number} == false"),
        _ => format!("r{number}"),
    }
}

fn command(rng: &mut Rng) -> String {
    let call = one_of(rng, &["redis.call", "redis.pcall", "redis.pcall"]);
    let words = loop {
        let (name, family) = FAMILIES[rng.below(FAMILIES.len() as u64) as usize];
        let family = if rng.below(40) == 0 { WAITING } else { family };
        let template = family[rng.below(family.len() as u64) as usize];
        let mut words = Vec::new();
        template.split(' ').for_each(|word| requests::draw(rng, word, &mut words));
        if !APART.contains(&name) && is_settled_outside_transactions(&words) {
            break words;
        }
    };
    let words: Vec<String> = words.iter().map(|word| argument(rng, word)).collect();
    match rng.below(30) {
        0 => format!("{call}()"),
        1 => format!("{call}('none', {{}})"),
        2 => format!("{call}('nonesuch', 'x')"),
        _ => format!("{call}({})", words.join(", ")),
    }
}

/// A word as Lua has it: small numbers may be numbers.
fn argument(rng: &mut Rng, word: &str) -> String {
    let is_small = word.parse::<i32>().is_ok_and(|number| number.to_string() == word);
    if is_small && rng.below(2) == 0 { word.to_owned() } else { quoted(word) }
}

fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n");
    format!("'{escaped}'")
}

const SCALARS: &[&str] = &[
    "1",
    "-7",
    "3.99",
    "-3.99",
    "1e15",
    "2^53",
    "0/1",
    "true",
    "false",
    "nil",
    "'text'",
    "''",
    "'\\0\\255'",
    "'two\\r\\nlines'",
    "KEYS[1]",
    "ARGV[1]",
    "#ARGV",
    "tostring(12.5)",
    "tostring(1e20)",
    "tonumber('0x10')",
    "('x'):rep(3)",
    "string.format('%5.2f|%d|%s', 1.5, 3, 'x')",
    "redis.sha1hex('x')",
    "bit.band(255, 15)",
    "bit.tohex(255, 4)",
    "bit.lshift(1, 31)",
    "string.reverse('abc')",
    "select('#', 1, 2, 3)",
    "math.floor(2.5)",
    "table.concat({1, 2, 'x'}, ',')",
    "string.gsub('hello', 'l', 'L')",
    "redis.status_reply('FINE')",
    "redis.error_reply('MY text')",
    "redis.error_reply('-MY text')",
    "redis.error_reply('one')",
    "{ok='OK'}",
    "{err='ERR of mine'}",
    "{ok=1}",
    "{double=1.5}",
    "{double='x'}",
    "{big_number='123456789012345678901234567890'}",
    "{verbatim_string={string='text', format='txt'}}",
    "{map={a=1}}",
    "{set={a=true}}",
    "{map=1}",
    "{set=1}",
    "{}",
    "{nil, 1}",
    "{1, nil, 3}",
    "{[2]='x'}",
    "{a=1}",
    "function() end",
    "redis.call",
    "redis.REPL_ALL",
    "redis.LOG_WARNING",
    "redis.setresp(2)",
    "pcall(redis.setresp, 4)",
    "redis.replicate_commands()",
];

/// A value that may become a reply.
fn value(rng: &mut Rng, depth: u32) -> String {
    if depth > 3 || rng.below(3) > 0 {
        return one_of(rng, SCALARS);
    }
    let items: Vec<String> = (0..rng.below(5)).map(|_| value(rng, depth + 1)).collect();
    format!("{{{}}}", items.join(", "))
}

const PLAIN: &[&str] = &[
    "1",
    "-7",
    "3.5",
    "1e15",
    "2^40",
    "-2^33",
    "65536",
    "true",
    "false",
    "'text'",
    "''",
    "'\\0\\255\"/\\\\'",
    "'\\t\\n'",
    "{a=1}",
    "{[3]='x'}",
    "{}",
    "{1, 2}",
    "255",
    "128",
    "-128",
    "-129",
    "('y'):rep(40)",
    "0.1",
    "1/3",
];

/// A value whose encodings have one order.
fn plain(rng: &mut Rng, depth: u32) -> String {
    if depth > 4 || rng.below(3) > 0 {
        return one_of(rng, PLAIN);
    }
    let items: Vec<String> = (0..rng.below(5)).map(|_| plain(rng, depth + 1)).collect();
    format!("{{{}}}", items.join(", "))
}

const JSON: &[&str] = &[
    "[1,2.5,-3e2,\"x\",null,true,[],{}]",
    "{\"a\":{\"b\":[1]}}",
    "\"\\u00e9\\ud83d\\ude00\\n\"",
    "[1,",
    "nul",
    "{\"a\" 1}",
    "[01]",
    "1e400",
    "[\"\\ud800\"]",
    "  [ ] ",
    "[nan]",
    "[0x10]",
    "",
];

const PACKED: &[&str] = &[
    "\\147\\1\\2\\3",
    "\\192",
    "\\195",
    "\\203\\63\\248\\0\\0\\0\\0\\0\\0",
    "\\161x\\2",
    "\\129\\161a\\1",
    "\\145",
    "\\193",
    "",
    "\\218\\0\\2ab",
    "\\205\\1\\0",
    "\\224",
];

const STRUCTS: &[(&str, &str)] = &[
    ("'>I2i4'", "258, -2"),
    ("'<bBhH'", "-1, 255, -2, 65535"),
    ("'>lL'", "-5, 5"),
    ("'s'", "'text'"),
    ("'c0'", "'text'"),
    ("'>I1c0'", "4, 'text'"),
    ("'c2'", "'text'"),
    ("'d'", "1.5"),
    ("'>f'", "0.25"),
    ("'!4bi4'", "1, 2"),
    ("'x'", "1"),
    ("'z'", "1"),
    ("'I33'", "1"),
    ("'>I4'", "'no'"),
];

/// Round trips through the libraries.
fn encoded(rng: &mut Rng) -> String {
    match rng.below(12) {
        0 => format!("cjson.encode({})", plain(rng, 0)),
        1 => format!("cjson.decode(cjson.encode({}))", plain(rng, 0)),
        2 => format!("cjson.encode(cjson.decode({}))", quoted(&one_of(rng, JSON))),
        3 => format!("{{pcall(cjson.decode, {})}}", quoted(&one_of(rng, JSON))),
        4 => format!("cmsgpack.pack({}, {})", plain(rng, 0), plain(rng, 0)),
        5 => format!("{{cmsgpack.unpack(cmsgpack.pack({}, {}))}}", plain(rng, 0), plain(rng, 0)),
        6 => format!("{{pcall(cmsgpack.unpack, '{}')}}", one_of(rng, PACKED)),
        7 => format!("{{cmsgpack.unpack_limit(cmsgpack.pack(1, {}), 1, {})}}", plain(rng, 0), rng.below(4)),
        8 => format!("cjson.encode({{redis.call('strlen', 's1'), {}}})", plain(rng, 0)),
        9 => {
            let (format, values) = STRUCTS[rng.below(STRUCTS.len() as u64) as usize];
            format!("struct.pack({format}, {values})")
        }
        10 => {
            let (format, values) = STRUCTS[rng.below(STRUCTS.len() as u64) as usize];
            format!("{{pcall(struct.unpack, {format}, struct.pack({format}, {values}))}}")
        }
        _ => format!(
            "{{pcall(struct.unpack, {}, 'abcdefgh', {})}}",
            STRUCTS[rng.below(14) as usize].0,
            rng.below(12)
        ),
    }
}
