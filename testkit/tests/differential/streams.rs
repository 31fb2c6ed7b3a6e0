//! What counts as equal in replies of streams: times may differ, and so may what later versions of Redis do
//! in another way.

use resp::decode::Value;

/// A reply without what may differ, whatever stands around it.
pub fn settled(value: Value) -> Value {
    match value {
        Value::Array(Some(items)) => Value::Array(Some(settled_items(items))),
        Value::Map(pairs) => {
            let known = pairs.into_iter().filter(|(name, value)| !may_differ(name, value));
            Value::Map(known.map(|(name, value)| (name, settled(value))).collect())
        }
        Value::Integer(time) if time > LEAST_TIME_MS => Value::Integer(0),
        other => other,
    }
}

fn settled_items(mut items: Vec<Value>) -> Vec<Value> {
    if let [Value::Bulk(Some(_)), Value::Bulk(Some(_)), idle @ Value::Integer(_), Value::Integer(_)] =
        items.as_mut_slice()
    {
        *idle = Value::Integer(0);
    }
    let mut settled_items = Vec::with_capacity(items.len());
    let mut items = items.into_iter().filter(|item| !is_idle_consumer(item)).peekable();
    while let Some(item) = items.next() {
        if items.peek().is_some_and(|value| may_differ(&item, value)) {
            items.next();
        } else {
            settled_items.push(settled(item));
        }
    }
    settled_items
}

/// Whether this is the name of a field that may differ.
fn may_differ(name: &Value, value: &Value) -> bool {
    let is_count = is(name, "consumers") && matches!(value, Value::Integer(_));
    is_count || FREE.iter().any(|free| is(name, free))
}

/// A consumer that has nothing: since Redis 7.2 there is one from its first request on, before from its first
/// entry on.
fn is_idle_consumer(item: &Value) -> bool {
    let is_consumer = field(item, "seen-time").or(field(item, "idle")).is_some();
    let pending = field(item, "pel-count").or(field(item, "pending"));
    is_consumer && pending == Some(&Value::Integer(0))
}

/// A field of a map, or of an array that stands for one.
fn field<'a>(item: &'a Value, name: &str) -> Option<&'a Value> {
    match item {
        Value::Map(pairs) => pairs.iter().find(|(own, _)| is(own, name)).map(|(_, value)| value),
        Value::Array(Some(items)) => {
            items.chunks_exact(2).find(|pair| is(&pair[0], name)).map(|pair| &pair[1])
        }
        _ => None,
    }
}

fn is(value: &Value, text: &str) -> bool {
    value.as_bytes() == Some(text.as_bytes())
}

/// Times; what Redis 7.2 counts in another way; the size of an index that is no radix tree here and has no
/// nodes without entries, which Redis keeps after some trims.
const FREE: [&str; 8] = [
    "idle",
    "inactive",
    "seen-time",
    "active-time",
    "entries-read",
    "lag",
    "radix-tree-keys",
    "radix-tree-nodes",
];
/// No other number of these requests is as large.
const LEAST_TIME_MS: i64 = 1_500_000_000_000;
