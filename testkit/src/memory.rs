//! Whether a server's memory is accounted for: DEBUG MEMORY's sum against the allocator's count.

use std::collections::BTreeMap;
use std::io;

use resp::Value;

use crate::client::Client;

/// What differs by a fixed amount whatever the data: jemalloc's rounding of what has no exact count.
const FIXED: i64 = 64 << 10;

/// Each consumer's bytes, the sum, and what the allocator counts.
pub type Figures = BTreeMap<String, i64>;

pub fn memory(client: &mut Client) -> Figures {
    let reply = client.run("DEBUG MEMORY");
    figures(&reply).unwrap_or_else(|| panic!("DEBUG MEMORY answers {reply:?}"))
}

/// `None` if the server does not tell.
fn figures(reply: &Value) -> Option<Figures> {
    let pairs: Vec<(&Value, &Value)> = match reply {
        Value::Map(pairs) => pairs.iter().map(|(name, bytes)| (name, bytes)).collect(),
        Value::Array(Some(items)) => items.chunks(2).map(|pair| (&pair[0], &pair[1])).collect(),
        _ => return None,
    };
    pairs.into_iter().map(|(name, bytes)| Some((name.as_text()?, bytes.as_i64()?))).collect()
}

/// Panics unless what consumers hold adds up to what is allocated within one per cent.
pub fn check_memory(client: &mut Client, what: &str) {
    memory(client);
    if let Some(figures) = at_odds(client).expect("the server answers") {
        panic!("{what}: the sum is not what is allocated: {figures:#?}");
    }
}

/// The figures, if they do not add up; those that are not told do. What is handed over from thread to thread
/// may be on its way: asks again for a while.
pub fn at_odds(client: &mut Client) -> io::Result<Option<Figures>> {
    let mut last = None;
    for _ in 0..PATIENCE {
        match figures(&client.try_call(&["DEBUG", "MEMORY"])?) {
            Some(figures) if !adds_up(&figures) => last = Some(figures),
            _ => return Ok(None),
        }
        client.try_call(&["DEBUG", "SLEEP", "0.05"])?;
    }
    Ok(last)
}

const PATIENCE: usize = 100;

/// Large values that replies refer to may be the data's still, or nobody else's.
fn adds_up(figures: &Figures) -> bool {
    let (sum, shared, allocated) = (figures["sum"], figures["clients.shared"], figures["allocated"]);
    let most = allocated / 100 + FIXED;
    (-most..=shared + most).contains(&(allocated - sum))
}
