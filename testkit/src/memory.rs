//! Whether a server's memory is accounted for: DEBUG MEMORY's sum against the allocator's count.

use std::collections::BTreeMap;

use resp::Value;

use crate::client::Client;

/// What differs by a fixed amount whatever the data: jemalloc's rounding of what has no exact count.
const FIXED: i64 = 64 << 10;

/// Each consumer's bytes, the sum, and what the allocator counts.
pub fn memory(client: &mut Client) -> BTreeMap<String, i64> {
    let Value::Array(Some(items)) = client.run("DEBUG MEMORY") else { panic!("DEBUG MEMORY has an answer") };
    let pairs = items.chunks(2).map(|pair| {
        let (name, bytes) = (pair[0].as_text(), pair[1].as_i64());
        (name.expect("a name"), bytes.expect("a number"))
    });
    pairs.collect()
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
