//! Which clients may hold copies of which keys: one shard's part, in little more memory than the names take.
//! Knows ids and names; neither databases nor whether a client still lives.

use std::collections::{HashMap, HashSet};

use base::random::Rng;
use base::sparse::shrink_sparse;
use ds::field::Field;
use ds::{SlotId, Table};
use smallvec::SmallVec;
use store::Key;

use crate::clients::ClientId;

pub struct TrackedKeys {
    /// A key's name with the ids of its clients, eight bytes each. Without any, they are in `crowds`.
    table: Table<Field>,
    shard_bits: u8,
    /// The clients of keys that many have read.
    crowds: HashMap<Box<[u8]>, HashSet<ClientId>>,
    /// Without the table's own bytes.
    totals: Totals,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Totals {
    pub keys: usize,
    /// Keys, counted for each of their clients.
    pub items: usize,
    pub bytes: usize,
}

pub type Holders = SmallVec<[ClientId; 4]>;

/// Ids in one row at most: looking through them and copying them stays in the nanoseconds.
const ROW_IDS: usize = 32;

/// Bytes of a crowd beyond its key's name, and of each of its ids.
const CROWD_LEN: usize = 96;
const CROWD_ID_LEN: usize = 16;

impl TrackedKeys {
    /// For keys whose hashes agree in their `shard_bits` highest bits.
    pub fn new(shard_bits: u8) -> TrackedKeys {
        TrackedKeys {
            table: Table::new(shard_bits),
            shard_bits,
            crowds: HashMap::new(),
            totals: Totals::default(),
        }
    }

    pub fn totals(&self) -> Totals {
        Totals { bytes: self.totals.bytes + self.table.memory(), ..self.totals }
    }

    pub fn add(&mut self, key: Key<'_>, client: ClientId) {
        if let Some(slot) = self.table.find(key.hash, key.bytes) {
            return self.add_client(slot, key.bytes, client);
        }
        let field = Field::new(key.bytes, &client.0.to_le_bytes(), None);
        self.totals.keys += 1;
        self.totals.items += 1;
        self.totals.bytes += field.size();
        self.table.insert_new(key.hash, field);
    }

    fn add_client(&mut self, slot: SlotId, name: &[u8], client: ClientId) {
        let row = self.table.view(slot).value;
        if row.is_empty() {
            let crowd = self.crowds.get_mut(name).expect("the clients of a key without ids are a crowd");
            let added = usize::from(crowd.insert(client));
            self.totals.items += added;
            self.totals.bytes += added * CROWD_ID_LEN;
            return;
        }
        if ids(row).any(|id| id == client) {
            return;
        }
        self.totals.items += 1;
        if row.len() < ROW_IDS * ID_LEN {
            let longer = [row, &client.0.to_le_bytes()].concat();
            return self.set_row(slot, &longer);
        }
        let crowd: HashSet<ClientId> = ids(row).chain([client]).collect();
        self.totals.bytes += crowd_len(name, crowd.len());
        self.crowds.insert(name.into(), crowd);
        self.set_row(slot, b"");
    }

    fn set_row(&mut self, slot: SlotId, row: &[u8]) {
        let (before, after) = self.table.update(slot, |field| {
            let before = field.size();
            let field = field.with_value(row);
            let after = field.size();
            (field, (before, after))
        });
        self.totals.bytes = self.totals.bytes + after - before;
    }

    /// Forgets a key; its clients, if it had any.
    pub fn remove(&mut self, key: Key<'_>) -> Option<Holders> {
        let slot = self.table.find(key.hash, key.bytes)?;
        Some(self.remove_at(slot))
    }

    /// Forgets any key.
    pub fn remove_any(&mut self, rng: &mut Rng) -> Option<(Box<[u8]>, Holders)> {
        let slot = self.table.random(&mut |bound| rng.below(bound))?;
        let name = self.table.view(slot).field.into();
        Some((name, self.remove_at(slot)))
    }

    fn remove_at(&mut self, slot: SlotId) -> Holders {
        let field = self.table.remove(slot);
        let parts = field.view();
        let mut holders: Holders = ids(parts.value).collect();
        self.totals.bytes -= field.size();
        if let Some(crowd) = self.crowds.remove(parts.field) {
            self.totals.bytes -= crowd_len(parts.field, crowd.len());
            holders.extend(crowd);
            shrink_sparse(&mut self.crowds);
        }
        if self.table.is_empty() {
            // Its directory goes too.
            self.table = Table::new(self.shard_bits);
        }
        self.totals.keys -= 1;
        self.totals.items -= holders.len();
        holders
    }
}

const ID_LEN: usize = size_of::<u64>();

fn ids(row: &[u8]) -> impl Iterator<Item = ClientId> {
    let (ids, rest) = row.as_chunks::<ID_LEN>();
    debug_assert!(rest.is_empty(), "a row is whole ids");
    ids.iter().map(|id| ClientId(u64::from_le_bytes(*id)))
}

fn crowd_len(name: &[u8], clients: usize) -> usize {
    name.len() + CROWD_LEN + clients * CROWD_ID_LEN
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// Random steps against a plain map; at the end everything is forgotten, and nothing is left.
    fn check(clients: u64, names: u64, steps: usize) {
        let mut rng = Rng::from_seed(clients);
        let mut tracked = TrackedKeys::new(0);
        let mut model: BTreeMap<Vec<u8>, BTreeSet<u64>> = BTreeMap::new();
        let sorted = |holders: Holders| holders.into_iter().map(|id| id.0).collect::<BTreeSet<u64>>();
        for _ in 0..steps {
            let name = format!("key:{}", rng.below(names)).into_bytes();
            match rng.below(50) {
                0 => {
                    let removed = tracked.remove(Key::new(&name)).map(sorted);
                    assert_eq!(removed, model.remove(&name));
                }
                1 => {
                    let removed = tracked.remove_any(&mut rng);
                    let removed = removed.map(|(name, holders)| (name.into_vec(), sorted(holders)));
                    let expected = removed.as_ref().and_then(|(name, _)| model.remove_entry(name));
                    assert_eq!(removed, expected);
                }
                _ => {
                    let client = rng.below(clients);
                    tracked.add(Key::new(&name), ClientId(client));
                    model.entry(name).or_default().insert(client);
                }
            }
            let items = model.values().map(BTreeSet::len).sum::<usize>();
            assert_eq!((tracked.totals.keys, tracked.totals.items), (model.len(), items));
        }
        for (name, holders) in model {
            assert_eq!(tracked.remove(Key::new(&name)).map(sorted), Some(holders));
        }
        assert_eq!(tracked.totals, Totals::default());
        assert!(tracked.remove_any(&mut rng).is_none() && tracked.crowds.is_empty());
        assert!(tracked.crowds.capacity() < 50, "room of a burst is given back");
    }

    #[test]
    fn agrees_with_a_plain_map() {
        check(3, 200, 5000);
        check(ROW_IDS as u64 + 1, 5, 5000);
        check(500, 3, 5000);
        check(ROW_IDS as u64 + 10, 200, 30_000);
    }
}
