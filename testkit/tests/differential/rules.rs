//! What counts as equal: orders that no server promises are sorted, times may be a little apart, and known,
//! wanted differences are listed with their reason.

use base::num::parse_f64;
use base::sha1::{hex, sha1};
use resp::decode::Value;

use crate::grammar::ASKS_ENCODING;
use crate::streams::settled;

/// Milliseconds by which two servers' clocks may differ when a request reaches them one after the other.
const TIME_SLACK_MS: i64 = 1500;

pub fn same(words: &[Vec<u8>], ours: &Value, theirs: &Value) -> bool {
    let name = words[0].to_ascii_uppercase();
    let is_meant = is_wanted_difference(&name, words, ours, theirs);
    if is_meant || lacks_member(ours, theirs) || is_stale(&name, ours, theirs) {
        return true;
    }
    match name.as_slice() {
        b"HRANDFIELD" | b"SRANDMEMBER" | b"ZRANDMEMBER" | b"RANDOMKEY" | b"DUMP" => same_shape(ours, theirs),
        b"TTL" | b"PTTL" | b"EXPIRETIME" | b"PEXPIRETIME" => close(ours, theirs),
        name if is_scored(name) => {
            numbers(normalized(words, ours.clone())) == numbers(normalized(words, theirs.clone()))
        }
        b"SORT" | b"SORT_RO" if has_zero_byte(ours) || has_zero_byte(theirs) => same_shape(ours, theirs),
        b"XINFO" | b"XPENDING" => settled(ours.clone()) == settled(theirs.clone()),
        _ => normalized(words, ours.clone()) == normalized(words, theirs.clone()),
    }
}

/// To Redis' ALPHA an element ends before its first byte of zero: what agrees up to there has no order.
fn has_zero_byte(value: &Value) -> bool {
    let mut items = value.as_items().into_iter().flatten();
    items.any(|item| item.as_bytes().is_some_and(|bytes| bytes.contains(&0)))
}

/// Differences that are meant.
fn is_wanted_difference(name: &[u8], words: &[Vec<u8>], ours_value: &Value, theirs_value: &Value) -> bool {
    let text = |value: &Value| String::from_utf8_lossy(value.as_bytes().unwrap_or_default()).into_owned();
    let (ours, theirs) = (text(ours_value), text(theirs_value));
    // Redis 7.2 says which limits an option has; 7.0 says only that it failed.
    let newer_text = ours.starts_with("ERR") && theirs.starts_with("ERR");
    // WAIT comes with replication.
    let later = matches!(name, b"WAIT") && newer_text;
    let encoded = key_of_encoding(name, words);
    // An integer that INCRBYFLOAT arrived at is kept as an integer at once, in Redis only after a reload.
    let integer = encoded.is_some() && ours == "int" && theirs == "embstr";
    // Redis 7.2 packs sets, 7.0 does not; and what a difference went through on its way does not stay with
    // it.
    let set = encoded.is_some_and(|key| key.starts_with(b"s"))
        && (ours == "listpack" || ours == "intset")
        && theirs == "hashtable";
    // A sorted set at a key of another family, which Redis' SORT has unpacked.
    let sorted = encoded.is_some_and(|key| !key.starts_with(b"z") && !key.starts_with(b"y"))
        && ours == "listpack"
        && theirs == "skiplist";
    // Since Redis 7.2 a consumer is there from its first request on, before from its first entry on.
    let consumer = name == b"XGROUP" && words.get(1).is_some_and(|word| word == b"CREATECONSUMER");
    let consumer = consumer && matches!((ours_value, theirs_value), (Value::Integer(_), Value::Integer(_)));
    later || consumer || integer || set || sorted || (newer_text && name == b"OBJECT" && words.len() > 1)
}

/// The key whose encoding a request asks for, itself or by a script.
fn key_of_encoding<'a>(name: &[u8], words: &'a [Vec<u8>]) -> Option<&'a [u8]> {
    let script = words.get(1)?;
    let asks = match name {
        b"OBJECT" => return words.last().map(Vec::as_slice),
        b"EVAL" | b"EVAL_RO" => *script == *ASKS_ENCODING.as_bytes(),
        b"EVALSHA" | b"EVALSHA_RO" => *script == *hex(&sha1(ASKS_ENCODING.as_bytes())).as_bytes(),
        _ => false,
    };
    words.get(3).filter(|_| asks).map(Vec::as_slice)
}

/// The search for points around a member that is not there: as Valkey does, ours says which it is.
fn lacks_member(ours: &Value, theirs: &Value) -> bool {
    matches!((ours, theirs), (Value::Error(ours), Value::Error(theirs))
        if ours.ends_with(b"does not exist") && theirs == b"ERR could not decode requested zset member")
}

/// Redis' SORT takes an error that reading an earlier request's number left behind (1e400) for its own.
fn is_stale(name: &[u8], ours: &Value, theirs: &Value) -> bool {
    let no_score = b"ERR One or more scores can't be converted into double";
    name.starts_with(b"SORT")
        && !ours.is_error()
        && matches!(theirs, Value::Error(theirs) if theirs == no_score)
}

/// Sorts what has no order: keys, fields of a large hash, members of a set.
pub fn normalized(words: &[Vec<u8>], value: Value) -> Value {
    let name = words[0].to_ascii_uppercase();
    match (name.as_slice(), value) {
        (
            b"KEYS" | b"HKEYS" | b"HVALS" | b"SMEMBERS" | b"SINTER" | b"SUNION" | b"SDIFF" | b"SPOP"
            | b"FUNCTION",
            Value::Array(Some(items)),
        ) => Value::Array(Some(sorted(items))),
        (_, Value::Set(items)) => Value::Set(sorted(items)),
        (b"HGETALL", Value::Array(Some(items))) => Value::Array(Some(sorted_pairs(items))),
        (b"HGETALL", Value::Map(mut pairs)) => {
            pairs.sort_by_key(|pair| format!("{pair:?}"));
            Value::Map(pairs)
        }
        (b"SCAN" | b"HSCAN" | b"SSCAN" | b"ZSCAN", Value::Array(Some(mut parts))) if parts.len() == 2 => {
            if let Some(Value::Array(Some(items))) = parts.pop() {
                let pairs = matches!(name.as_slice(), b"HSCAN" | b"ZSCAN");
                let items = if pairs { sorted_pairs(items) } else { sorted(items) };
                parts.push(Value::Array(Some(items)));
            }
            Value::Array(Some(parts))
        }
        (_, value) => value,
    }
}

fn sorted(mut items: Vec<Value>) -> Vec<Value> {
    items.sort_by_key(|item| format!("{item:?}"));
    items
}

fn sorted_pairs(items: Vec<Value>) -> Vec<Value> {
    let mut pairs: Vec<[Value; 2]> =
        items.chunks_exact(2).map(|pair| [pair[0].clone(), pair[1].clone()]).collect();
    pairs.sort_by_key(|pair| format!("{pair:?}"));
    pairs.into_iter().flatten().collect()
}

/// Commands whose replies have scores.
fn is_scored(name: &[u8]) -> bool {
    name.starts_with(b"Z") || name.starts_with(b"BZ")
}

/// Fractions as numbers: since Redis 7.2 they have the fewest digits, before all that a double has.
fn numbers(value: Value) -> Value {
    let number = |text: &[u8]| {
        let is_fraction = text.iter().any(|byte| matches!(byte, b'.' | b'e'));
        parse_f64(text).filter(|number| is_fraction || number.abs() > MOST_EXACT)
    };
    match value {
        Value::Array(Some(items)) => Value::Array(Some(items.into_iter().map(numbers).collect())),
        Value::Bulk(Some(text)) => match number(&text) {
            Some(number) => Value::Double(number),
            None => Value::Bulk(Some(text)),
        },
        other => other,
    }
}

/// From here on a double has no digits behind the point.
const MOST_EXACT: f64 = 9_007_199_254_740_992.0;

pub fn same_shape(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Array(Some(a)), Value::Array(Some(b))) => a.len() == b.len(),
        (Value::Error(a), Value::Error(b)) => a == b,
        _ => {
            std::mem::discriminant(ours) == std::mem::discriminant(theirs)
                && ours.is_null() == theirs.is_null()
        }
    }
}

fn close(ours: &Value, theirs: &Value) -> bool {
    match (ours.as_i64(), theirs.as_i64()) {
        (Some(a), Some(b)) => a == b || a.abs_diff(b) <= TIME_SLACK_MS as u64,
        _ => ours == theirs,
    }
}

/// The replies to a transaction, each as it would be compared outside of one.
pub fn same_exec(queued: &[Vec<Vec<u8>>], ours: &Value, theirs: &Value) -> bool {
    let (Some(a), Some(b)) = (ours.as_items(), theirs.as_items()) else { return ours == theirs };
    let mut replies = queued.iter().zip(a.iter().zip(b));
    a.len() == b.len() && a.len() == queued.len() && replies.all(|(words, (a, b))| same(words, a, b))
}
