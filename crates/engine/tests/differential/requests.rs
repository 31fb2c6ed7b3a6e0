//! What the requests look like: templates by family, and what is drawn for their words with a `$`. What Redis
//! 7.0 answers otherwise than 7.2 has no template.

use base::random::Rng;

pub type Templates = &'static [&'static str];

pub const FAMILIES: &[(&str, Templates)] = &[
    ("strings", STRINGS),
    ("bits", BITS),
    ("hashes", HASHES),
    ("lists", LISTS),
    ("sets", SETS),
    ("sorted sets", SORTED_SETS),
    ("sorted sets of names", NAMES),
    ("sorted sets joined", JOINED),
    ("streams", STREAMS),
    ("groups", GROUPS),
    ("geo", GEO),
    ("HyperLogLog", HYPERLOGLOGS),
    ("SORT", SORT),
    ("choices", CHOICES),
    ("keys", KEYS),
];

/// `$s`, `$b`, `$h`, `$l`, `$t`, `$z`, `$x`, `$g`, `$p` are keys of a family, now and then of another; `$n`
/// and `$q` never are: sorted sets of one score, and lists.
const STRINGS: Templates = &[
    "SET $s $value",
    "SET $s $value NX",
    "SET $s $value XX GET",
    "SET $s $value GET KEEPTTL",
    "SET $s $value EXAT $time",
    "SET $s $value EX $seconds",
    "SET $s $value PX $seconds NX",
    "SETEX $s $seconds $value",
    "PSETEX $s $seconds $value",
    "GET $s",
    "GETDEL $s",
    "GETSET $s $value",
    "GETEX $s EXAT $time",
    "GETEX $s EX $seconds",
    "GETEX $s PERSIST",
    "TTL $s",
    "SETNX $s $value",
    "MSET $s $value $s $value",
    "MSETNX $s $value $s $value",
    "MGET $s $s $s",
    "APPEND $s $value",
    "STRLEN $s",
    "GETRANGE $s $index $index",
    "SUBSTR $s $index $index",
    "SETRANGE $s $number $value",
    "INCR $s",
    "DECR $s",
    "INCRBY $s $number",
    "DECRBY $s $value",
    "INCRBYFLOAT $s $value",
    "LCS $s $s",
    "LCS $s $s LEN",
    "LCS $s $s IDX WITHMATCHLEN",
    "LCS $s $s IDX MINMATCHLEN $count",
    "DEL $s",
    "DUMP $s",
];

const BITS: Templates = &[
    "SET $b $short",
    "SETBIT $b $number $bit",
    "GETBIT $b $number",
    "BITCOUNT $b",
    "BITCOUNT $b $index $index BIT",
    "BITCOUNT $b $index $index",
    "BITPOS $b $bit",
    "BITPOS $b $bit $index",
    "BITPOS $b $bit $index $index",
    "BITPOS $b $bit $index $index BIT",
    "BITOP AND $b $b $b",
    "BITOP OR $b $b $b $b",
    "BITOP XOR $b $b $b",
    "BITOP NOT $b $b",
    "BITFIELD $b SET $width $number $value GET $width $number",
    "BITFIELD $b OVERFLOW SAT INCRBY $width #$count $value",
    "BITFIELD $b OVERFLOW FAIL INCRBY $width $number $value INCRBY $width $number 100",
    "BITFIELD $b INCRBY $width #$count $value GET u63 0 GET i64 $number",
    "BITFIELD_RO $b GET $width $number GET $width #$count",
    "BITFIELD_RO $b SET u8 0 1",
    "GET $b",
    "STRLEN $b",
    "DUMP $b",
];

const HASHES: Templates = &[
    "HSET $h $field $value $field $value",
    "HMSET $h $field $value",
    "HSETNX $h $field $value",
    "HGET $h $field",
    "HMGET $h $field $field",
    "HDEL $h $field $field",
    "HLEN $h",
    "HSTRLEN $h $field",
    "HEXISTS $h $field",
    "HINCRBY $h $field $number",
    "HINCRBYFLOAT $h $field $value",
    "HGETALL $h",
    "HKEYS $h",
    "HVALS $h",
    "HSCAN $h 0 COUNT 1000",
    "HSCAN $h 0 COUNT 1000 MATCH *1",
    "HRANDFIELD $h 0",
    "DUMP $h",
    "DEL $h",
];

const LISTS: Templates = &[
    "LPUSH $l $member $member",
    "RPUSH $l $member $value",
    "LPUSHX $l $member",
    "RPUSHX $l $member",
    "LPOP $l",
    "RPOP $l",
    "LPOP $l $count",
    "RPOP $l $count",
    "LLEN $l",
    "LINDEX $l $place",
    "LINSERT $l BEFORE $member $member",
    "LINSERT $l AFTER $member $value",
    "LRANGE $l $place $place",
    "LRANGE $l 0 -1",
    "LREM $l $place $member",
    "LSET $l $place $member",
    "LTRIM $l $place -1",
    "LTRIM $l 0 $index",
    "RPOPLPUSH $l $l",
    "LMOVE $l $l LEFT RIGHT",
    "LMOVE $l $l RIGHT LEFT",
    "LPOS $l $member",
    "LPOS $l $member RANK $place COUNT $count MAXLEN $number",
    "LMPOP 2 $l $l LEFT COUNT $count",
    "LMPOP 1 $l RIGHT",
];

const SETS: Templates = &[
    "SADD $t $member $member",
    "SADD $t $number $number",
    "SREM $t $member $number",
    "SISMEMBER $t $member",
    "SMISMEMBER $t $member $number",
    "SMEMBERS $t",
    "SCARD $t",
    "SMOVE $t $t $member",
    "SINTER $t $t",
    "SUNION $t $t $t",
    "SDIFF $t $t $t",
    "SINTERCARD 2 $t $t",
    "SINTERCARD 2 $t $t LIMIT $count",
    "SINTERSTORE $t $t $t",
    "SUNIONSTORE $t $t $t",
    "SDIFFSTORE $t $t $t",
    "SPOP $t 1000",
    "SRANDMEMBER $t 0",
    "SSCAN $t 0 COUNT 1000",
    "DUMP $t",
];

const SORTED_SETS: Templates = &[
    "ZADD $z $score $member $score $member",
    "ZADD $z NX $score $member",
    "ZADD $z XX CH $score $member",
    "ZADD $z GT CH $score $member",
    "ZADD $z LT $score $member",
    "ZADD $z INCR $score $member",
    "ZADD $z NX INCR $score $member",
    "ZINCRBY $z $score $member",
    "ZREM $z $member $member",
    "ZSCORE $z $member",
    "ZMSCORE $z $member $member",
    "ZCARD $z",
    "ZRANK $z $member",
    "ZREVRANK $z $member",
    "ZCOUNT $z $bound $bound",
    "ZRANGE $z $place $place WITHSCORES",
    "ZRANGE $z $place $place REV",
    "ZRANGE $z $bound $bound BYSCORE LIMIT $place $place",
    "ZRANGE $z $bound $bound BYSCORE REV WITHSCORES",
    "ZREVRANGE $z $place $place",
    "ZRANGEBYSCORE $z $bound $bound WITHSCORES LIMIT $count $place",
    "ZREVRANGEBYSCORE $z $bound $bound",
    "ZREMRANGEBYRANK $z $index $place",
    "ZREMRANGEBYSCORE $z $bound $bound",
    "ZPOPMIN $z",
    "ZPOPMAX $z $count",
    "ZMPOP 2 $z $z MIN COUNT $count",
    "ZMPOP 1 $z MAX",
    "ZRANGESTORE $z $z $place $place",
    "ZRANGESTORE $z $z $bound $bound BYSCORE LIMIT $count $place",
    "ZRANDMEMBER $z 0",
    "ZSCAN $z 0 COUNT 1000",
    "DUMP $z",
];

/// All members have one score.
const NAMES: Templates = &[
    "ZADD $n 0 $member 0 $member",
    "ZADD $n 0 $value",
    "ZREM $n $member",
    "ZRANGE $n $name $name BYLEX",
    "ZRANGE $n $name $name BYLEX REV LIMIT $place $place",
    "ZRANGEBYLEX $n $name $name LIMIT $count $place",
    "ZREVRANGEBYLEX $n $name $name",
    "ZLEXCOUNT $n $name $name",
    "ZREMRANGEBYLEX $n $name $name",
    "ZRANGESTORE $n $n $name $name BYLEX",
    "ZRANK $n $member",
    "ZCARD $n",
    "DUMP $n",
];

const JOINED: Templates = &[
    "ZADD $z $score $member $score $member",
    "SADD $t $member $member",
    "ZREM $z $member",
    "ZUNION 2 $z $z WITHSCORES",
    "ZUNION 2 $z $t WEIGHTS 2 0.5 AGGREGATE MAX WITHSCORES",
    "ZINTER 2 $z $z AGGREGATE MIN WITHSCORES",
    "ZINTER 3 $z $z $t",
    "ZDIFF 2 $z $z WITHSCORES",
    "ZDIFF 2 $z $t",
    "ZINTERCARD 2 $z $z",
    "ZINTERCARD 2 $z $t LIMIT $count",
    "ZUNIONSTORE $z 2 $z $z WEIGHTS $score $score",
    "ZINTERSTORE $z 2 $z $t AGGREGATE MAX",
    "ZDIFFSTORE $z 2 $z $z",
    "ZRANGE $z 0 -1 WITHSCORES",
];

const STREAMS: Templates = &[
    "XADD $x $id $field $value",
    "XADD $x $id $field $short $field $short",
    "XADD $x $count-* $field $value",
    "XADD $x $number-* $field $value",
    "XADD $x MAXLEN $count $id $field $short",
    "XADD $x MAXLEN ~ $count $id $field $short",
    "XADD $x NOMKSTREAM MINID $id $id $field $short",
    "XADD $x NOMKSTREAM $number-$count $field $short",
    "XDEL $x $id $id",
    "XLEN $x",
    "XRANGE $x $id $id",
    "XRANGE $x - + COUNT $count",
    "XRANGE $x ($id +",
    "XREVRANGE $x $id $id",
    "XREVRANGE $x + - COUNT $place",
    "XTRIM $x MAXLEN $number",
    "XTRIM $x MAXLEN = $count",
    "XTRIM $x MAXLEN ~ $count LIMIT $number",
    "XTRIM $x MINID $id",
    "XREAD STREAMS $x $entry",
    "XREAD COUNT $count STREAMS $x $x $entry $",
    "XSETID $x 210-$count",
    "XSETID $x 210-0 ENTRIESADDED -1 MAXDELETEDID $entry",
    "DEL $x",
    "XINFO STREAM $x",
];

const GROUPS: Templates = &[
    "XADD $x $number-* $field $short",
    "XADD $x $number-$count $field $short",
    "XADD $x MAXLEN 20 $number-* $field $short",
    "XDEL $x $id",
    "XTRIM $x MAXLEN $number",
    "XGROUP CREATE $x $group $id",
    "XGROUP CREATE $x $group $ MKSTREAM",
    "XGROUP CREATE $x $group 0 ENTRIESREAD 0",
    "XGROUP SETID $x $group $id",
    "XGROUP SETID $x $group 0 ENTRIESREAD 0",
    "XGROUP DESTROY $x $group",
    "XGROUP DELCONSUMER $x $group $consumer",
    "XREADGROUP GROUP $group $consumer COUNT $count STREAMS $x >",
    "XREADGROUP GROUP $group $consumer NOACK STREAMS $x >",
    "XREADGROUP GROUP $group $consumer STREAMS $x $entry",
    "XREADGROUP GROUP $group $consumer COUNT $count STREAMS $x $x > 0",
    "XACK $x $group $id $id",
    "XPENDING $x $group",
    "XPENDING $x $group IDLE 100000000 - + 10",
    "XCLAIM $x $group $consumer 0 $id $id JUSTID",
    "XCLAIM $x $group $consumer 0 $id FORCE RETRYCOUNT $count",
    "XCLAIM $x $group $consumer 0 $id FORCE JUSTID LASTID $id",
    "XCLAIM $x $group $consumer 100000000 $id",
    "XAUTOCLAIM $x $group $consumer 0 $id COUNT $count",
    "XAUTOCLAIM $x $group $consumer 0 - JUSTID",
    "XINFO GROUPS $x",
    "XINFO CONSUMERS $x $group",
    "XINFO STREAM $x",
    "XLEN $x",
];

const GEO: Templates = &[
    "GEOADD $g $where $member",
    "GEOADD $g NX CH $where $member $where $member",
    "GEOADD $g XX $where $member",
    "GEODIST $g $member $member km",
    "GEOPOS $g $member $member",
    "GEOHASH $g $member $member",
    "GEOSEARCH $g FROMMEMBER $member BYRADIUS $far km ASC WITHDIST",
    "GEOSEARCH $g FROMLONLAT $where BYRADIUS $far mi DESC COUNT $count WITHCOORD WITHHASH",
    "GEOSEARCH $g FROMLONLAT $where BYBOX $far $far km ASC WITHDIST",
    "GEOSEARCHSTORE $z $g FROMLONLAT $where BYBOX $far $far ft ASC COUNT 3",
    "GEOSEARCHSTORE $g $g FROMMEMBER $member BYRADIUS $far km",
    "GEORADIUS $g $where $far m ASC WITHDIST",
    "GEORADIUS_RO $g $where $far km DESC",
    "GEORADIUSBYMEMBER $g $member $far km ASC",
    "GEORADIUSBYMEMBER $g $member $far km STORE $g",
    "ZREM $g $member",
    "ZRANGE $g 0 -1 WITHSCORES",
];

const HYPERLOGLOGS: Templates = &[
    "PFADD $p $member $value",
    "PFADD $p $number $number $number",
    "PFADD $p",
    "PFCOUNT $p",
    "PFCOUNT $p $p",
    "PFMERGE $p $p $p",
    "PFMERGE $p",
    "STRLEN $p",
    "GET $p",
    "DUMP $p",
    "DEL $p",
];

const SORT: Templates = &[
    "RPUSH $l $number $number",
    "SADD $t $number $number",
    "ZADD $z $score $number $score $number",
    "SET weight_$number $number",
    "HSET hash_$number $field $number",
    "SORT $l",
    "SORT $l ALPHA DESC",
    "SORT $l LIMIT $place $count",
    "SORT $l BY weight_*",
    "SORT $l BY hash_*->field1 GET # GET weight_*",
    "SORT $t ALPHA GET hash_*->field2",
    "SORT $t DESC LIMIT $count $place",
    "SORT $z DESC LIMIT $count $place",
    "SORT $l STORE $l",
    "SORT $t ALPHA STORE $l",
    "SORT_RO $l BY weight_* DESC GET #",
    "SORT $s",
    "LRANGE $l 0 -1",
    "RPUSH $q $member $short",
    "LPUSH $q $short",
    "RPOP $q",
    "DUMP $q",
    "ZADD $n 0 $number 0 $member",
    "SORT $q BY nosort GET # GET weight_*",
    "SORT $q BY nosort DESC LIMIT $place $count",
    "SORT $n BY nosort LIMIT $place $count",
    "SORT $n BY nosort DESC GET hash_*->field1",
    "SORT $n BY nosort STORE $l",
    "SORT $t BY nosort STORE $l",
];

/// Some of many, by chance: how many, and whether they are there, is not.
const CHOICES: Templates = &[
    "SADD $t $member $member $member",
    "SADD $t $number",
    "SREM $t $member",
    "HSET $h $field $value $field $value",
    "HDEL $h $field",
    "ZADD $z $score $member $score $member",
    "ZREM $z $member",
    "SRANDMEMBER $t",
    "SRANDMEMBER $t $some",
    "SRANDMEMBER $t 1000",
    "HRANDFIELD $h",
    "HRANDFIELD $h $some",
    "HRANDFIELD $h $some WITHVALUES",
    "HRANDFIELD $h 1000 WITHVALUES",
    "ZRANDMEMBER $z",
    "ZRANDMEMBER $z $some",
    "ZRANDMEMBER $z $some WITHSCORES",
    "ZRANDMEMBER $z 1000 WITHSCORES",
    "SPOP $t 1000",
];

const KEYS: Templates = &[
    "SET $s $value",
    "RPUSH $l $member $member",
    "HSET $h $field $value",
    "ZADD $z $score $member",
    "XADD $x $number-* $field $short",
    "DEL $key $key",
    "UNLINK $key",
    "EXISTS $key $key $key",
    "TOUCH $key $key",
    "TYPE $key",
    "RENAME $key $key",
    "RENAMENX $key $key",
    "COPY $key $key",
    "COPY $key $key REPLACE",
    "COPY $key $key DB 1 REPLACE",
    "MOVE $key 1",
    "SELECT $bit",
    "SWAPDB 0 1",
    "KEYS *1",
    "SCAN 0 COUNT 100000 TYPE list",
    "SCAN 0 COUNT 100000 MATCH ?1",
    "DBSIZE",
    "EXPIRE $key -1",
    "EXPIREAT $key 1",
    "EXPIREAT $key -1 NX",
    "EXPIREAT $key $time",
    "EXPIREAT $key $time NX",
    "PEXPIREAT $key $time GT",
    "EXPIREAT $key $time LT",
    "EXPIREAT $key $time XX",
    "EXPIRE $key $seconds",
    "EXPIRE $key $seconds NX",
    "EXPIRE $key $seconds XX",
    "PEXPIRE $key $seconds",
    "TTL $key",
    "PTTL $key",
    "EXPIRETIME $key",
    "PEXPIRETIME $key",
    "PERSIST $key",
    "OBJECT REFCOUNT none",
    "FLUSHDB",
    "PUBLISH $key $value",
    "WATCH $key",
    "UNWATCH",
    "ECHO $value",
    "COMMAND GETKEYS MSET $key $value $key $value",
];

/// In a transaction they do not wait.
pub const WAITING: Templates = &[
    "BLPOP $l $l 0",
    "BRPOP $l $l 0.5",
    "BLMOVE $l $l LEFT RIGHT 0",
    "BRPOPLPUSH $l $l 0",
    "BLMPOP 0 2 $l $l RIGHT COUNT $count",
    "BZPOPMIN $z $z 0",
    "BZPOPMAX $z 0",
    "BZMPOP 0 2 $z $z MIN COUNT $count",
    "XREAD BLOCK 0 STREAMS $x $entry",
    "XREADGROUP GROUP $group $consumer BLOCK 10 COUNT $count STREAMS $x >",
];

const VALUES: &[&str] = &[
    "",
    "0",
    "1",
    "-1",
    "12",
    "007",
    "+5",
    "3.0",
    "-0",
    "1e3",
    "0.1",
    "inf",
    "text",
    "9223372036854775807",
    "-9223372036854775808",
    "123456789012345678901",
    "a much longer text, which is over forty-four bytes long",
    "a text of more than the sixty-four bytes that make a packed hash or sorted set a table",
];

const SCORES: &[&str] = &["0", "1", "-1", "2", "2.5", "-0.25", "100", "inf", "-inf", "nan", "x"];
const BOUNDS: &[&str] = &["-inf", "+inf", "0", "(0", "(1", "1", "2.5", "-0.25", "(-inf", "100", "x", "("];
const NAME_BOUNDS: &[&str] = &["-", "+", "[a", "(a", "[c", "(m1", "[m2", "[", "(", "[0", "x"];
const WIDTHS: &[&str] = &["u1", "i1", "u8", "i8", "u7", "i13", "u32", "i64", "u63", "u64", "i65", "x8"];
const DISTANCES: &[&str] = &["0", "1", "200", "1000.5", "20000", "-1", "x"];
const SPECIAL_IDS: &[&str] = &["0", "-", "+", "0-0", "18446744073709551616", "x", "1-x", "5"];
const TIMES: &[&str] = &["4000000000", "4000000001", "4100000000", "x"];
/// So many seconds or milliseconds that a test is over long before, or that no clock makes them right.
const SECONDS: &[&str] = &["90000000", "80000000", "0", "-1", "x", "9223372036854775807", "9223372036854775"];

pub fn one_of(rng: &mut Rng, texts: &[&str]) -> String {
    texts[rng.below(texts.len() as u64) as usize].to_owned()
}

fn between(rng: &mut Rng, least: i64, bound: u64) -> String {
    (least + rng.below(bound) as i64).to_string()
}

/// Pushes a template's word, or what is drawn for it; what stands around a drawn part stays.
pub fn draw(rng: &mut Rng, word: &str, words: &mut Vec<String>) {
    let Some((before, name)) = word.split_once('$').filter(|(_, name)| !name.is_empty()) else {
        return words.push(word.to_owned());
    };
    let len = name.find(|letter: char| !letter.is_ascii_lowercase()).unwrap_or(name.len());
    let (name, after) = name.split_at(len);
    if name == "where" {
        // Hardly ever two at one distance, whose order would be chance.
        words.push(format!("{}.{:05}", between(rng, -180, 360), rng.below(100_000)));
        return words.push(format!("{}.{:05}", between(rng, -86, 172), rng.below(100_000)));
    }
    let after = match after.strip_prefix("-$") {
        Some(second) => format!("-{}", drawn(rng, second)),
        None => after.to_owned(),
    };
    words.push(format!("{before}{}{after}", drawn(rng, name)));
}

fn drawn(rng: &mut Rng, name: &str) -> String {
    match name {
        "value" if rng.below(60) == 0 => "long".repeat(rng.below(9_000) as usize),
        "value" | "short" => one_of(rng, VALUES),
        "field" => format!("field{}", rng.below(5)),
        "member" if rng.below(3) == 0 => between(rng, 0, 20),
        "member" if rng.below(40) == 0 => "m".repeat(70),
        "member" => format!("m{}", rng.below(12)),
        "number" if rng.below(60) == 0 => one_of(rng, &["9223372036854775807", "-1", "x", "4294967296"]),
        "number" => between(rng, 0, 200),
        "index" => between(rng, -60, 120),
        "place" => between(rng, -4, 12),
        "count" if rng.below(20) == 0 => one_of(rng, &["-1", "x"]),
        "count" => between(rng, 0, 6),
        "bit" => between(rng, 0, 2),
        "time" => one_of(rng, TIMES),
        "seconds" if rng.below(2) == 0 => one_of(rng, SECONDS),
        "seconds" => between(rng, 70_000_000, 20_000_000),
        "some" => between(rng, -8, 14),
        "score" if rng.below(2) == 0 => between(rng, -5, 20),
        "score" => one_of(rng, SCORES),
        "bound" => one_of(rng, BOUNDS),
        "name" => one_of(rng, NAME_BOUNDS),
        "width" => one_of(rng, WIDTHS),
        "far" => one_of(rng, DISTANCES),
        "id" => drawn_id(rng),
        "entry" => format!("{}-{}", rng.below(200), rng.below(5)),
        "group" => format!("group{}", rng.below(2)),
        "consumer" => format!("consumer{}", rng.below(3)),
        key => drawn_key(rng, key),
    }
}

fn drawn_id(rng: &mut Rng) -> String {
    match rng.below(12) {
        0 => one_of(rng, SPECIAL_IDS),
        1..4 => between(rng, 0, 200),
        _ => format!("{}-{}", rng.below(200), rng.below(5)),
    }
}

/// A key of the family, now and then of any. Some are apart: what has several scores has no order by name,
/// and what is a set has none at all.
fn drawn_key(rng: &mut Rng, family: &str) -> String {
    let is_apart = APART.contains(&family);
    assert!(family == "key" || is_apart || LETTERS.contains(&family), "{family} stands for nothing");
    let any = family == "key" || !is_apart && rng.below(30) == 0;
    let letter = if any { one_of(rng, LETTERS) } else { family.to_owned() };
    format!("{letter}{}", rng.below(KEYS_OF_FAMILY))
}

/// Every key there may be.
pub fn keys() -> impl Iterator<Item = String> {
    let letters = LETTERS.iter().chain(APART);
    letters.flat_map(|letter| (0..KEYS_OF_FAMILY).map(move |number| format!("{letter}{number}")))
}

const LETTERS: &[&str] = &["s", "b", "h", "l", "t", "z", "x", "g", "p"];
const APART: &[&str] = &["n", "q"];
const KEYS_OF_FAMILY: u64 = 4;
