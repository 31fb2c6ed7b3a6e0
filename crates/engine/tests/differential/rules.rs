//! What counts as the same reply: without orders that nobody promises, without what chance or the clock
//! decides, and in the form of Redis 7.0 where later versions have another.

use std::borrow::Cow;

use base::num::parse_f64;
use engine::testing::{TestEngine, show};
use resp::Value;

use crate::Request;

/// Whether the requests before have had SORT unpack sorted sets, as only Redis does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sorts {
    No,
    Yes,
}

/// Replies whose elements come in any order.
const UNORDERED: &[&str] = &[
    "SMEMBERS",
    "SINTER",
    "SUNION",
    "SDIFF",
    "HGETALL",
    "HKEYS",
    "HVALS",
    "KEYS",
    "SCAN",
    "HSCAN",
    "SSCAN",
    "ZSCAN",
    "SPOP",
    "SRANDMEMBER",
    "HRANDFIELD",
    "ZRANDMEMBER",
    "EXEC",
    "EVAL",
    "EVAL_RO",
    "EVALSHA",
    "EVALSHA_RO",
    "FCALL",
    "FCALL_RO",
    "FUNCTION",
];

/// Replies that tell of the clock.
const TIMES: &[&str] = &["TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"];

/// A reply as text, without what depends on time, chance or the order of a set.
pub fn canonical(request: &Request, reply: Value, sorts: Sorts) -> String {
    match (request[0].as_str(), reply) {
        (name, Value::Integer(time)) if TIMES.contains(&name) && is_relative(name, time) => {
            "later".to_owned()
        }
        ("DUMP", Value::Bulk(Some(payload))) => dumped(&request[1], payload, sorts),
        ("OBJECT", Value::Bulk(Some(name))) if name == b"skiplist" && sorts == Sorts::Yes => {
            "\"listpack\"".to_owned()
        }
        // Redis has the small numbers once, and says so.
        ("OBJECT", Value::Integer(SHARED)) => "1".to_owned(),
        (_, Value::Array(Some(items))) if is_choice(request) => format!("{} chosen", items.len()),
        (_, Value::Bulk(Some(_))) if is_choice(request) => "one chosen".to_owned(),
        ("GEOSEARCH", Value::Array(Some(items))) if request.contains(&"COUNT".to_owned()) => {
            as_before(&show(&Value::Array(Some(items.into_iter().map(nameless).collect()))))
        }
        ("XINFO", reply) => as_before(&show(&settled(reply))),
        (name, reply) if UNORDERED.contains(&name) => sorted(&settled(reply)),
        (_, reply) => as_before(&show(&reply)),
    }
}

/// Of members at the same place Redis gives those that its partial sort happens to leave among the first;
/// their places are compared.
fn nameless(found: Value) -> Value {
    match found {
        Value::Array(Some(about)) => Value::Array(Some(about.into_iter().skip(1).collect())),
        found => found,
    }
}

/// Holders of an object that Redis does not count.
const SHARED: i64 = i32::MAX as i64;

/// A transaction's replies are compared without knowledge of its requests: these stand alone.
pub fn is_settled_outside_transactions(request: &Request) -> bool {
    !is_choice(request) && !TIMES.contains(&request[0].as_str()) && request[0] != "DUMP"
}

/// Whether chance decides, and not only in which order.
pub fn is_choice(request: &Request) -> bool {
    let choosing = ["SRANDMEMBER", "HRANDFIELD", "ZRANDMEMBER"].contains(&request[0].as_str());
    choosing && !request.get(2).is_some_and(|count| ["0", "1000"].contains(&count.as_str()))
}

/// All that was chosen is there, and no more than was asked for; nothing twice if that was not allowed.
pub fn check_choice(test: &mut TestEngine, request: &Request, reply: &Value) {
    let Some(key) = request.get(1).map(String::as_str) else { return };
    let all = match (request[0].as_str(), request.len()) {
        ("SRANDMEMBER", _) => vec!["SMEMBERS", key],
        ("HRANDFIELD", 4) => vec!["HGETALL", key],
        ("HRANDFIELD", _) => vec!["HKEYS", key],
        (_, 4) => vec!["ZRANGE", key, "0", "-1", "WITHSCORES"],
        _ => vec!["ZRANGE", key, "0", "-1"],
    };
    let width = if request.len() == 4 { 2 } else { 1 };
    let chosen = match reply {
        Value::Array(Some(items)) => pieces(items, width),
        Value::Bulk(Some(_)) => vec![show(reply)],
        _ => return,
    };
    let Value::Array(Some(items)) = test.run_words(&all) else { panic!("{request:?} found something") };
    let all = pieces(&items, width);
    assert!(chosen.iter().all(|piece| all.contains(piece)), "{request:?}: {chosen:?} of {all:?}");
    let count: i64 = request.get(2).map_or(1, |count| count.parse().expect("it was accepted"));
    let expected = if count < 0 { count.unsigned_abs() as usize } else { all.len().min(count as usize) };
    assert_eq!(chosen.len(), if all.is_empty() { 0 } else { expected }, "{request:?}");
    let twice = |at: usize| chosen[..at].contains(&chosen[at]);
    assert!(count < 0 || !(0..chosen.len()).any(twice), "{request:?}: {chosen:?}");
}

fn pieces(items: &[Value], width: usize) -> Vec<String> {
    items.chunks(width).map(|piece| piece.iter().map(show).collect::<Vec<_>>().join(" ")).collect()
}

/// Whether an expiry was said from the moment of the request on: what is left of it, and when that is,
/// differ. The other times are those of `$time`.
fn is_relative(name: &str, time: i64) -> bool {
    let unit = if name.starts_with('P') { 1000 } else { 1 };
    time > 0 && (name.ends_with("TTL") || !ABSOLUTE_S.contains(&(time / unit)))
}

/// A payload without version and checksum. What may have no order has the same bytes in any. A stream's
/// groups have times in them and the consumers that 7.2 makes earlier. A list's element that is too long for
/// a node has one of its own since 7.2, with others in it before.
fn dumped(key: &str, mut payload: Vec<u8>, sorts: Sorts) -> String {
    payload.truncate(payload.len().saturating_sub(DUMP_FOOTER_LEN));
    let is_one_of = |codes: &[u8]| payload.first().is_some_and(|code| codes.contains(code));
    let is_long_list = is_one_of(&[LIST_TYPE]) && payload.len() > LIST_NODE_LEN;
    if is_long_list || is_one_of(&STREAM_TYPES) || sorts == Sorts::Yes && is_one_of(&SORTED_SET_TYPES) {
        return format!("{key} is of another form");
    }
    if !is_one_of(&ORDERED_TYPES) {
        payload.sort_unstable();
    }
    format!("{key} {}", base::bytes::escape(&payload))
}

/// Elements in their texts' order, those of elements too.
fn sorted(value: &Value) -> String {
    let Value::Array(Some(items)) = value else { return as_before(&show(value)) };
    if items.iter().any(|item| ["\"consumers\"", "\"groups\""].contains(&show(item).as_str())) {
        return as_before(&show(value));
    }
    let mut texts: Vec<String> = items.iter().map(sorted).collect();
    texts.sort();
    format!("{texts:?}")
}

/// What XINFO says, without times, an index that is no radix tree here, and consumers that have nothing:
/// since 7.2 there is one from its first request on, before from its first entry on.
fn settled(value: Value) -> Value {
    let Value::Array(Some(items)) = value else { return value };
    let mut kept = Vec::with_capacity(items.len());
    let mut items = items.into_iter().filter(|item| !is_idle_consumer(item)).peekable();
    while let Some(item) = items.next() {
        let is_free =
            matches!(&item, Value::Bulk(Some(name)) if FREE.iter().any(|free| free.as_bytes() == name));
        if is_free && matches!(items.peek(), Some(Value::Integer(_))) {
            items.next();
        } else {
            kept.push(settled(item));
        }
    }
    Value::Array(Some(kept))
}

fn is_idle_consumer(item: &Value) -> bool {
    let text = show(item);
    text.starts_with("[\"name\"") && text.contains("\"pending\" 0 \"idle\"")
}

/// What is known to differ, as Redis 7.0 has it. The text for a member that is not there is that of 7.2, and
/// what INCRBYFLOAT makes is a number if it is whole.
fn as_before(text: &str) -> String {
    let no_member = text.starts_with("-ERR member ") && text.ends_with(" does not exist");
    match text {
        _ if no_member => "-ERR could not decode requested zset member".to_owned(),
        _ if text.contains("\"entries-read\"") => without_counts(text),
        "\"embstr\"" => "\"int\"".to_owned(),
        _ => text.split('"').map(short_number).collect::<Vec<_>>().join("\""),
    }
}

/// A long fraction in one form: Redis 7.0 shows all its digits, later versions as few as are the same number,
/// and seven of them behind the point only with an exponent.
fn short_number(text: &str) -> Cow<'_, str> {
    let is_long = text.len() > if text.contains('.') { 12 } else { 15 };
    let number = if is_long { parse_f64(text.as_bytes()) } else { None };
    number.map_or(Cow::Borrowed(text), |number| Cow::Owned(format!("{number:e}")))
}

/// The groups of a stream without what was counted otherwise before 7.2: XREADGROUP makes a consumer even if
/// there is nothing to read, and what a group has read is known more often.
fn without_counts(groups: &str) -> String {
    let (mut kept, mut rest) = (String::new(), groups);
    while let Some((before, behind)) = rest.split_once("\"consumers\" ") {
        let pending = behind.find(" \"pending\"").unwrap_or(0);
        let read = behind.find("\"entries-read\"").unwrap_or(behind.len());
        kept.push_str(before);
        kept.push_str(&behind[pending..read]);
        rest = behind[read..].split_once(']').map_or("", |(_, next)| next);
    }
    kept + rest
}

/// Two bytes of version, eight of checksum.
const DUMP_FOOTER_LEN: usize = 10;
/// Strings, lists, sets of integers, and what is packed.
const ORDERED_TYPES: [u8; 5] = [0, 11, 16, 17, 18];
const LIST_TYPE: u8 = 18;
/// Bytes of a node, by the default of `list-max-listpack-size`.
const LIST_NODE_LEN: usize = 8192;
const STREAM_TYPES: [u8; 3] = [15, 19, 21];
/// A table, and a listpack.
const SORTED_SET_TYPES: [u8; 2] = [5, 17];
const ABSOLUTE_S: [i64; 3] = [4_000_000_000, 4_000_000_001, 4_100_000_000];
const FREE: [&str; 4] = ["idle", "inactive", "radix-tree-keys", "radix-tree-nodes"];
