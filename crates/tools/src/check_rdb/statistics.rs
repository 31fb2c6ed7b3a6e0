//! What a file holds, counted by type. It keeps counts only, never a key.

use rdb::{Object, Record};

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Count {
    pub keys: u64,
    /// A string counts as one.
    pub elements: u64,
    /// Of whole records as they stand in the file: key, value and what is said of the key.
    pub bytes: u64,
    pub expires: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    pub already_expired: u64,
    pub functions: u64,
    /// In the order of `TYPES`.
    types: [Count; TYPES.len()],
}

impl Statistics {
    /// Counts a record of `bytes` in the file; `now` is unix ms.
    pub fn count(&mut self, record: &Record, bytes: u64, now: i64) {
        let (index, elements) = kind_and_elements(&record.value);
        self.types[index].elements += elements;
        self.count_key(index, bytes, record.expires_at, now);
    }

    /// Counts a module's value, of which only its length is known.
    pub fn count_module(&mut self, bytes: u64, expires_at: Option<i64>, now: i64) {
        self.count_key(MODULE, bytes, expires_at, now);
    }

    fn count_key(&mut self, index: usize, bytes: u64, expires_at: Option<i64>, now: i64) {
        let count = &mut self.types[index];
        count.keys += 1;
        count.bytes += bytes;
        count.expires += u64::from(expires_at.is_some());
        self.already_expired += u64::from(expires_at.is_some_and(|at| at < now));
    }

    pub fn keys(&self) -> u64 {
        self.types.iter().map(|count| count.keys).sum()
    }

    pub fn expires(&self) -> u64 {
        self.types.iter().map(|count| count.expires).sum()
    }

    /// Every type's name and counts.
    pub fn by_type(&self) -> impl Iterator<Item = (&'static str, Count)> {
        TYPES.into_iter().zip(self.types)
    }
}

fn kind_and_elements(value: &Object) -> (usize, u64) {
    match value {
        Object::Bytes(_) | Object::Int(_) => (0, 1),
        Object::List(list) => (1, list.view().len() as u64),
        Object::Set(set) => (2, set.view().len() as u64),
        Object::SortedSet(set) => (3, set.view().len() as u64),
        Object::Hash(hash) => (4, hash.view().len() as u64),
        Object::Stream(stream) => (5, stream.len() as u64),
    }
}

const TYPES: [&str; 7] = ["string", "list", "set", "zset", "hash", "stream", "module"];
const MODULE: usize = 6;
