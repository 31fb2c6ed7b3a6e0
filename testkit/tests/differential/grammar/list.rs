//! Requests of lists and SORT. `{lkey}` is a key of theirs.

use base::random::Rng;

pub const TEMPLATES: &[&str] = &[];

pub fn word(rng: &mut Rng, name: &str) -> Option<Vec<u8>> {
    match name {
        "{lkey}" => Some(format!("l{}", rng.below(6)).into_bytes()),
        _ => None,
    }
}
