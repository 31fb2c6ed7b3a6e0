//! Room of hash maps that a burst has filled and left. Never shrinks a map that is still in good use.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

/// Smaller ones are left as they are.
const CAPACITY_LEAST: usize = 16;
/// A map is sparse when less than this part of it is used.
const USED_LEAST: usize = 8;

/// Called after a removal: gives room back when most of it is unused. All calls together cost each removal a
/// constant time.
pub fn shrink_sparse<K: Eq + Hash, V, S: BuildHasher>(map: &mut HashMap<K, V, S>) {
    if map.capacity() > CAPACITY_LEAST && map.len() < map.capacity() / USED_LEAST {
        map.shrink_to(2 * map.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emptied_map_gives_its_room_back() {
        let mut map: HashMap<usize, usize> = (0..10_000).map(|key| (key, key)).collect();
        for key in 0..10_000 {
            map.remove(&key);
            shrink_sparse(&mut map);
            assert!(map.capacity() <= CAPACITY_LEAST.max(20 * (map.len() + 1)), "{}", map.len());
        }
        assert!(map.capacity() <= CAPACITY_LEAST);
    }
}
