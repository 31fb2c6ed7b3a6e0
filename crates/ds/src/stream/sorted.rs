//! A map in key order for what a stream keeps by id: chunks of neighbours in a ring.
//!
//! It is made for keys that come in ascending order and go from the front, which fill chunks wholly and move
//! nothing; any other order costs a move within one chunk. A chunk has a mark of whoever changed it last. It
//! never knows what the keys mean, nor the marks.

use std::collections::VecDeque;

use base::alloc::size_class;
use base::defrag::Mover;

/// Keys are small and `Copy`; values are moved within a chunk.
pub(super) struct SortedMap<K, V> {
    /// In key order, none empty.
    chunks: VecDeque<Chunk<K, V>>,
    len: usize,
    /// Bytes that the chunks' entries have allocated.
    chunk_bytes: usize,
}

struct Chunk<K, V> {
    /// No key of this chunk is below, every key of the chunk before it is.
    bound: K,
    /// What came with the last change; greater than before, or 0.
    mark: u32,
    entries: VecDeque<(K, V)>,
}

/// Neighbouring entries that are kept together.
pub(super) struct ChunkRef<'a, K, V> {
    pub mark: u32,
    /// Never none.
    pub entries: &'a VecDeque<(K, V)>,
}

impl<K: Copy, V> ChunkRef<'_, K, V> {
    pub fn first(&self) -> K {
        self.entries[0].0
    }

    pub fn last(&self) -> K {
        self.entries[self.entries.len() - 1].0
    }
}

/// A place in the map. Valid until the next change.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    chunk: usize,
    index: usize,
}

impl<K, V> Default for SortedMap<K, V> {
    fn default() -> Self {
        SortedMap { chunks: VecDeque::new(), len: 0, chunk_bytes: 0 }
    }
}

impl<K: Ord + Copy, V> SortedMap<K, V> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes it has allocated; what values point to is not counted.
    pub fn memory(&self) -> usize {
        size_class(self.chunks.capacity() * size_of::<Chunk<K, V>>()) + self.chunk_bytes
    }

    /// How many blocks of memory it has.
    pub fn blocks(&self) -> usize {
        self.chunks.len() + usize::from(self.chunks.capacity() > 0)
    }

    pub fn get(&self, key: &K) -> Option<&V> {
        let place = self.find(key)?;
        Some(&self.chunks[place.chunk].entries[place.index].1)
    }

    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let place = self.find(key)?;
        Some(&mut self.chunks[place.chunk].entries[place.index].1)
    }

    pub fn contains(&self, key: &K) -> bool {
        self.find(key).is_some()
    }

    pub fn last(&self) -> Option<(K, &V)> {
        self.chunks.back()?.entries.back().map(|(key, value)| (*key, value))
    }

    pub fn last_mut(&mut self) -> Option<(K, &mut V)> {
        self.chunks.back_mut()?.entries.back_mut().map(|(key, value)| (*key, value))
    }

    /// The entry of the greatest key that is not above `key`.
    pub fn floor(&self, key: &K) -> Option<(K, &V)> {
        self.up_to(key).next_back()
    }

    /// Adds an entry or replaces the value of an old one, which it returns.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.insert_marked(key, value, 0)
    }

    /// As `insert`; what is changed gets the mark.
    pub fn insert_marked(&mut self, key: K, value: V, mark: u32) -> Option<V> {
        if self.is_beyond(&key) {
            self.push(key, value, mark);
            return None;
        }
        let chunk = self.chunk_of(&key);
        self.chunks[chunk].mark = mark;
        match self.search(chunk, &key) {
            Ok(index) => Some(std::mem::replace(&mut self.chunks[chunk].entries[index].1, value)),
            Err(index) => {
                self.insert_at(chunk, index, key, value);
                None
            }
        }
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.remove_marked(key, 0)
    }

    /// As `remove`. With a mark, which is not 0, only the key's chunk changes: it is not merged with others.
    pub fn remove_marked(&mut self, key: &K, mark: u32) -> Option<V> {
        let place = self.find(key)?;
        let chunk = &mut self.chunks[place.chunk];
        chunk.mark = mark;
        let (_, value) = chunk.entries.remove(place.index)?;
        self.len -= 1;
        self.tidy(place.chunk, mark == 0);
        Some(value)
    }

    /// The chunk that has the key, or in which it would be put; `None` if that would be a new one.
    pub fn chunk_for(&self, key: &K) -> Option<ChunkRef<'_, K, V>> {
        let chunk = self.chunk(self.chunk_of(key))?;
        let is_new = chunk.entries.len() == CHUNK_LEN && self.is_beyond(key);
        (!is_new).then_some(chunk)
    }

    /// The first chunk with a key that is not below `key`.
    pub fn chunk_from(&self, key: &K) -> Option<ChunkRef<'_, K, V>> {
        self.chunk(self.seek(key).chunk)
    }

    pub fn chunks(&self) -> impl Iterator<Item = ChunkRef<'_, K, V>> {
        (0..self.chunks.len()).map_while(|index| self.chunk(index))
    }

    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter { map: self, front: Place { chunk: 0, index: 0 }, back: self.end() }
    }

    /// From the least key that is not below `key` on.
    pub fn from(&self, key: &K) -> Iter<'_, K, V> {
        Iter { map: self, front: self.seek(key), back: self.end() }
    }

    /// Keys that are not above `key`.
    pub fn up_to(&self, key: &K) -> Iter<'_, K, V> {
        let mut back = self.seek(key);
        if self.entry(back).is_some_and(|(found, _)| found == *key) {
            back.index += 1;
        }
        Iter { map: self, front: Place { chunk: 0, index: 0 }, back }
    }

    /// From the greatest key that is not above `from` (the first one if all are) to the greatest that is not
    /// above `to`.
    pub fn covering(&self, from: &K, to: &K) -> Iter<'_, K, V> {
        let mut before = self.up_to(from);
        before.next_back();
        Iter { map: self, front: before.back, back: self.up_to(to).back }
    }

    /// Panics if the order or a count is wrong.
    pub fn check_invariants(&self) {
        let keys: Vec<K> = self.iter().map(|(key, _)| key).collect();
        assert!(keys.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(keys.len(), self.len);
        assert_eq!(self.chunks.iter().map(Chunk::bytes).sum::<usize>(), self.chunk_bytes);
        let mut before = None;
        for chunk in &self.chunks {
            assert!(!chunk.entries.is_empty() && chunk.entries.len() <= CHUNK_LEN);
            assert!(before.is_none_or(|key| key < chunk.bound) && chunk.entries[0].0 >= chunk.bound);
            before = chunk.entries.back().map(|entry| entry.0);
        }
    }

    /// Whether all keys are below.
    fn is_beyond(&self, key: &K) -> bool {
        self.last().is_none_or(|(last, _)| last < *key)
    }

    fn chunk(&self, index: usize) -> Option<ChunkRef<'_, K, V>> {
        self.chunks.get(index).map(|chunk| ChunkRef { mark: chunk.mark, entries: &chunk.entries })
    }

    /// The chunk that has the key if any does.
    fn chunk_of(&self, key: &K) -> usize {
        self.chunks.partition_point(|chunk| chunk.bound <= *key).saturating_sub(1)
    }

    fn search(&self, chunk: usize, key: &K) -> Result<usize, usize> {
        self.chunks[chunk].entries.binary_search_by(|(found, _)| found.cmp(key))
    }

    fn find(&self, key: &K) -> Option<Place> {
        if self.is_empty() {
            return None;
        }
        let chunk = self.chunk_of(key);
        let index = self.search(chunk, key).ok()?;
        Some(Place { chunk, index })
    }

    /// Where the least key that is not below `key` is.
    fn seek(&self, key: &K) -> Place {
        if self.is_empty() {
            return self.end();
        }
        let chunk = self.chunk_of(key);
        let (Ok(index) | Err(index)) = self.search(chunk, key);
        if index == self.chunks[chunk].entries.len() {
            return Place { chunk: chunk + 1, index: 0 };
        }
        Place { chunk, index }
    }

    fn end(&self) -> Place {
        Place { chunk: self.chunks.len(), index: 0 }
    }

    fn entry(&self, place: Place) -> Option<(K, &V)> {
        let (key, value) = self.chunks.get(place.chunk)?.entries.get(place.index)?;
        Some((*key, value))
    }

    /// Adds an entry behind all others.
    fn push(&mut self, key: K, value: V, mark: u32) {
        if self.chunks.back().is_none_or(|chunk| chunk.entries.len() == CHUNK_LEN) {
            self.chunks.push_back(Chunk { bound: key, mark, entries: VecDeque::new() });
        }
        let chunk = self.chunks.len() - 1;
        self.chunks[chunk].mark = mark;
        self.len += 1;
        self.change(chunk, |entries| entries.push_back((key, value)));
    }

    fn insert_at(&mut self, mut chunk: usize, mut index: usize, key: K, value: V) {
        if self.chunks[chunk].entries.len() == CHUNK_LEN {
            self.split(chunk);
            if index > CHUNK_LEN / 2 {
                chunk += 1;
                index -= CHUNK_LEN / 2;
            }
        }
        let bound = &mut self.chunks[chunk].bound;
        *bound = key.min(*bound);
        self.len += 1;
        self.change(chunk, |entries| entries.insert(index, (key, value)));
    }

    /// Makes two of a full chunk.
    fn split(&mut self, chunk: usize) {
        let upper = self.change(chunk, |entries| entries.split_off(CHUNK_LEN / 2));
        let upper = Chunk { bound: upper[0].0, mark: self.chunks[chunk].mark, entries: upper };
        self.chunk_bytes += upper.bytes();
        self.chunks.insert(chunk + 1, upper);
    }

    /// A chunk lost an entry: keeps chunks from becoming many and nearly empty.
    fn tidy(&mut self, chunk: usize, merge: bool) {
        let len = self.chunks[chunk].entries.len();
        let fits = |other: usize| {
            let other = self.chunks.get(other).filter(|_| merge);
            other.is_some_and(|other| len + other.entries.len() <= CHUNK_LEN / 2)
        };
        if len == 0 {
            self.chunk_bytes -= self.chunks[chunk].bytes();
            self.chunks.remove(chunk);
        } else if len > CHUNK_LEN / 4 {
            return;
        } else if fits(chunk + 1) {
            self.merge(chunk);
        } else if chunk > 0 && fits(chunk - 1) {
            self.merge(chunk - 1);
        } else if len <= self.chunks[chunk].entries.capacity() / 4 {
            self.change(chunk, |entries| entries.shrink_to(2 * len));
        }
        if self.chunks.len() < self.chunks.capacity() / 4 {
            self.chunks.shrink_to(2 * self.chunks.len());
        }
    }

    /// Moves the entries of the chunk behind `chunk` into it.
    fn merge(&mut self, chunk: usize) {
        let Some(mut upper) = self.chunks.remove(chunk + 1) else { return };
        self.chunk_bytes -= upper.bytes();
        self.change(chunk, |entries| entries.append(&mut upper.entries));
    }

    /// Changes a chunk's entries and counts the bytes it has allocated.
    fn change<R>(&mut self, chunk: usize, work: impl FnOnce(&mut VecDeque<(K, V)>) -> R) -> R {
        let chunk = &mut self.chunks[chunk];
        let before = chunk.entries.capacity();
        let result = work(&mut chunk.entries);
        if chunk.entries.capacity() != before {
            self.chunk_bytes = self.chunk_bytes + chunk.bytes() - Chunk::<K, V>::bytes_for(before);
        }
        result
    }
}

impl<K, V> SortedMap<K, V> {
    /// Moves blocks from entry `index` of chunk `at` on; false at the end. `inner` moves what a value
    /// points to.
    pub fn move_on(
        &mut self,
        at: &mut u64,
        index: &mut usize,
        mover: &mut Mover,
        inner: impl Fn(&mut V, &mut Mover),
    ) -> bool {
        if *at == 0 && *index == 0 {
            mover.deque(&mut self.chunks);
        }
        while !mover.is_spent() {
            let Some(chunk) = self.chunks.get_mut(*at as usize) else { return false };
            if *index == 0 {
                mover.deque(&mut chunk.entries);
            }
            for (_, value) in chunk.entries.range_mut((*index).min(chunk.entries.len())..) {
                inner(value, mover);
                *index += 1;
                if mover.is_spent() {
                    return true;
                }
            }
            (*at, *index) = (*at + 1, 0);
        }
        true
    }
}

impl<K: Ord + Copy, V: Clone> SortedMap<K, V> {
    pub fn duplicate(&self) -> Self {
        let mut copy = SortedMap::default();
        self.iter().for_each(|(key, value)| copy.push(key, value.clone(), 0));
        copy
    }
}

impl<K, V> Chunk<K, V> {
    fn bytes(&self) -> usize {
        Self::bytes_for(self.entries.capacity())
    }

    fn bytes_for(capacity: usize) -> usize {
        size_class(capacity * size_of::<(K, V)>())
    }
}

/// Entries in key order, from both ends.
pub(super) struct Iter<'a, K, V> {
    map: &'a SortedMap<K, V>,
    front: Place,
    back: Place,
}

impl<K, V> Clone for Iter<'_, K, V> {
    fn clone(&self) -> Self {
        Iter { ..*self }
    }
}

impl<'a, K: Ord + Copy, V> Iterator for Iter<'a, K, V> {
    type Item = (K, &'a V);

    fn next(&mut self) -> Option<(K, &'a V)> {
        if self.front >= self.back {
            return None;
        }
        let entries = &self.map.chunks[self.front.chunk].entries;
        let (key, value) = &entries[self.front.index];
        self.front.index += 1;
        if self.front.index == entries.len() {
            self.front = Place { chunk: self.front.chunk + 1, index: 0 };
        }
        Some((*key, value))
    }
}

impl<'a, K: Ord + Copy, V> DoubleEndedIterator for Iter<'a, K, V> {
    fn next_back(&mut self) -> Option<(K, &'a V)> {
        if self.front >= self.back {
            return None;
        }
        if self.back.index == 0 {
            self.back.chunk -= 1;
            self.back.index = self.map.chunks[self.back.chunk].entries.len();
        }
        self.back.index -= 1;
        let (key, value) = &self.map.chunks[self.back.chunk].entries[self.back.index];
        Some((*key, value))
    }
}

/// Entries of a full chunk: what an insertion in the middle moves stays within some 5 KB.
const CHUNK_LEN: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use base::random::Rng;
    use std::collections::BTreeMap;

    fn check(map: &SortedMap<u64, u64>, model: &BTreeMap<u64, u64>, probe: u64) {
        map.check_invariants();
        assert!(map.iter().map(|(key, value)| (key, *value)).eq(model.iter().map(|(k, v)| (*k, *v))));
        assert!(map.iter().rev().map(|(key, _)| key).eq(model.keys().rev().copied()));
        assert!(map.from(&probe).map(|(key, _)| key).eq(model.range(probe..).map(|(key, _)| *key)));
        let below = model.range(..=probe).rev().map(|(key, _)| *key);
        assert!(map.up_to(&probe).rev().map(|(key, _)| key).eq(below.clone()));
        assert_eq!(map.floor(&probe).map(|(key, _)| key), below.clone().next());
        assert_eq!(map.last().map(|entry| entry.0), model.keys().next_back().copied());
    }

    #[test]
    fn agrees_with_a_tree() {
        for (seed, span) in [(1, 50), (2, 1000), (3, 100_000)] {
            let (mut map, mut model) = (SortedMap::default(), BTreeMap::new());
            let mut rng = Rng::from_seed(seed);
            for step in 0..6000 {
                let key = rng.below(span);
                if rng.below(if step < 3000 { 5 } else { 2 }) > 0 {
                    assert_eq!(map.insert(key, step), model.insert(key, step));
                } else {
                    assert_eq!(map.remove(&key), model.remove(&key));
                }
                assert_eq!(map.get(&key), model.get(&key));
                if step % 97 == 0 {
                    check(&map, &model, rng.below(span));
                }
            }
            check(&map.duplicate(), &model, span / 2);
            for key in model.keys().copied().collect::<Vec<_>>() {
                assert_eq!(map.remove(&key), model.remove(&key));
            }
            check(&map, &model, 0);
            assert_eq!(map.chunk_bytes, 0);
        }
    }

    #[test]
    fn ascending_keys_fill_chunks() {
        let mut map = SortedMap::default();
        (0..10_000u64).for_each(|key| assert_eq!(map.insert(key, ()), None));
        assert_eq!(map.chunks.len(), 10_000usize.div_ceil(CHUNK_LEN));
        (0..10_000u64).for_each(|key| assert_eq!(map.remove(&key), Some(())));
        assert!(map.is_empty() && map.memory() < 1024);
    }
}
