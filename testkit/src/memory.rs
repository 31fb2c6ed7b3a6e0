//! Whether a server's memory is accounted for: DEBUG MEMORY's sum against the allocator's count.

use std::collections::BTreeMap;

use resp::Value;

use crate::client::Client;

/// What differs by a fixed amount whatever the data: jemalloc's rounding of what has no exact count.
const FIXED: i64 = 64 << 10;

/// Each consumer's bytes, the sum, and what the allocator counts.
pub fn memory(client: &mut Client) -> BTreeMap<String, i64> {
    let pairs = match client.run("DEBUG MEMORY") {
        Value::Map(pairs) => pairs,
        Value::Array(Some(items)) => items.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect(),
        other => panic!("DEBUG MEMORY answers {other:?}"),
    };
    let figure =
        |(name, bytes): (Value, Value)| (name.as_text().expect("a name"), bytes.as_i64().expect("a number"));
    pairs.into_iter().map(figure).collect()
}

/// Panics unless what consumers hold adds up to what is allocated within one per cent. What is handed over
/// from thread to thread may be on its way: asks again for a while.
pub fn check_memory(client: &mut Client, what: &str) {
    let mut figures = memory(client);
    for _ in 0..PATIENCE {
        if adds_up(&figures) {
            return;
        }
        client.run("DEBUG SLEEP 0.05");
        figures = memory(client);
    }
    panic!("{what}: the sum is not what is allocated: {figures:#?}");
}

const PATIENCE: usize = 100;

/// Large values that replies refer to may be the data's still, or nobody else's.
fn adds_up(figures: &BTreeMap<String, i64>) -> bool {
    let (sum, shared, allocated) = (figures["sum"], figures["clients.shared"], figures["allocated"]);
    let most = allocated / 100 + FIXED;
    (-most..=shared + most).contains(&(allocated - sum))
}
