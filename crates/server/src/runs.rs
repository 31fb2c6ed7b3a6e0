//! The checksum of a file that is not written from front to back: of each run of bytes without a gap, until
//! they are one. It also tells whether any byte was written twice, or not at all.

use std::collections::BTreeMap;

use base::crc::{crc64, crc64_combine};

/// What has been written, by where it begins. No two runs touch.
pub struct Runs {
    runs: BTreeMap<u64, Run>,
    checksum: bool,
}

#[derive(Clone, Copy)]
struct Run {
    len: u64,
    /// 0 if nobody asks for checksums.
    crc: u64,
}

impl Runs {
    /// With `checksum` false it only keeps account of what is written.
    pub fn new(checksum: bool) -> Runs {
        Runs { runs: BTreeMap::new(), checksum }
    }

    /// Bytes are written at `from`; false if some were before.
    #[must_use]
    pub fn add(&mut self, from: u64, bytes: &[u8]) -> bool {
        if bytes.is_empty() {
            return true;
        }
        let end = from + bytes.len() as u64;
        let before = self.runs.range(..=from).next_back().map(|(start, run)| (*start, *run));
        let next = self.runs.range(from..).next().map(|(start, run)| (*start, *run));
        if before.is_some_and(|(start, run)| start + run.len > from)
            || next.is_some_and(|(start, _)| start < end)
        {
            return false;
        }
        let (start, mut run) = match before.filter(|(start, run)| start + run.len == from) {
            Some(before) => before,
            None => (from, Run { len: 0, crc: 0 }),
        };
        run = Run { len: run.len + bytes.len() as u64, crc: self.sum(run.crc, bytes) };
        if let Some((next, after)) = next.filter(|(next, _)| *next == end) {
            self.runs.remove(&next);
            run = Run { len: run.len + after.len, crc: self.combine(run.crc, after) };
        }
        self.runs.insert(start, run);
        true
    }

    /// The checksum of all bytes from `from` to `to`, if each of them was written.
    pub fn whole(&self, from: u64, to: u64) -> Option<u64> {
        match self.runs.first_key_value() {
            None => (from == to).then_some(0),
            Some((start, run)) => {
                (self.runs.len() == 1 && *start == from && from + run.len == to).then_some(run.crc)
            }
        }
    }

    /// Bytes of memory that they take, about.
    pub fn memory(&self) -> usize {
        self.runs.len() * RUN_COST
    }

    fn sum(&self, state: u64, bytes: &[u8]) -> u64 {
        if self.checksum { crc64(state, bytes) } else { 0 }
    }

    fn combine(&self, crc: u64, behind: Run) -> u64 {
        if self.checksum { crc64_combine(crc, behind.crc, behind.len) } else { 0 }
    }
}

/// A run and its beginning in nodes that are two thirds full.
const RUN_COST: usize = (size_of::<u64>() + size_of::<Run>()) * 3 / 2;

#[cfg(test)]
mod tests {
    use super::*;
    use base::random::Rng;

    #[test]
    fn in_any_order_the_sum_is_that_of_the_whole() {
        for seed in 0..50 {
            let mut rng = Rng::from_seed(seed);
            let bytes: Vec<u8> = (0..1 + rng.below(5000)).map(|_| rng.below(256) as u8).collect();
            let mut pieces = Vec::new();
            let mut at = 0;
            while at < bytes.len() {
                let end = bytes.len().min(at + 1 + rng.below(300) as usize);
                pieces.push(at..end);
                at = end;
            }
            for index in (1..pieces.len()).rev() {
                pieces.swap(index, rng.below(index as u64 + 1) as usize);
            }
            let mut runs = Runs::new(true);
            let end = 9 + bytes.len() as u64;
            for piece in pieces {
                assert_eq!(runs.whole(9, end), None, "seed {seed}: a piece is missing");
                assert!(runs.add(9 + piece.start as u64, &bytes[piece]));
            }
            assert_eq!(runs.whole(9, end), Some(crc64(0, &bytes)), "seed {seed}");
            assert_eq!((runs.whole(8, end), runs.whole(9, end + 1)), (None, None));
        }
    }

    #[test]
    fn nothing_is_written_twice() {
        let mut runs = Runs::new(false);
        assert_eq!(runs.whole(9, 9), Some(0));
        assert!(runs.add(10, &[0; 10]) && runs.add(30, &[0; 10]));
        for (from, len) in [(10, 1), (19, 1), (15, 20), (5, 6), (25, 6), (0, 100), (20, 11)] {
            assert!(!runs.add(from, &vec![0; len]), "{len} at {from}");
        }
        assert!(runs.add(20, &[0; 10]));
        assert_eq!(runs.whole(10, 40), Some(0));
    }
}
