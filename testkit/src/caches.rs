//! What eviction is measured against: requests for keys of which few are asked for often, and caches of fixed
//! size that know exactly which key was used least.

use std::collections::{BTreeSet, HashMap};

use base::random::Rng;

/// Keys by Zipf's law: the one of number n is asked for with a chance in proportion to 1 / (n + 1).
pub struct Zipf {
    /// Sums of the weights up to each key.
    sums: Vec<u64>,
}

impl Zipf {
    pub fn new(keys: u64) -> Zipf {
        let weights = (1..=keys).map(|rank| WEIGHT_MOST / rank);
        let sums = weights.scan(0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        Zipf { sums: sums.collect() }
    }

    pub fn key(&self, rng: &mut Rng) -> usize {
        let place = rng.below(*self.sums.last().expect("there are keys"));
        self.sums.partition_point(|&sum| sum <= place)
    }
}

/// The most common key's weight; that of the rarest should not be rounded to nothing.
const WEIGHT_MOST: u64 = 1 << 40;

/// Which key gives way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    LeastRecent,
    /// The one asked for least often so far, in the cache or not; of those, the least recent.
    LeastFrequent,
}

/// How many of these requests a cache of so many keys misses, those before `from` not counted.
pub fn misses(trace: &[usize], from: usize, capacity: usize, rule: Rule) -> usize {
    let (mut uses, mut ranks, mut order) = (HashMap::new(), HashMap::new(), BTreeSet::new());
    let mut missed = 0;
    for (time, &key) in trace.iter().enumerate() {
        let uses = uses.entry(key).or_insert(0u64);
        *uses += 1;
        let rank = (if rule == Rule::LeastFrequent { *uses } else { 0 }, time);
        let before = ranks.insert(key, rank);
        if let Some(before) = before {
            order.remove(&(before, key));
        } else {
            missed += usize::from(time >= from);
            if order.len() == capacity {
                let (_, gone) = order.pop_first().expect("a cache has room for a key");
                ranks.remove(&gone);
            }
        }
        order.insert((rank, key));
    }
    missed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_keep_what_their_rule_says() {
        let check =
            |trace: &[usize], rule, expected| assert_eq!(misses(trace, 0, 2, rule), expected, "{trace:?}");
        check(&[1, 1, 1, 2, 3, 1], Rule::LeastRecent, 4);
        check(&[1, 1, 1, 2, 3, 1], Rule::LeastFrequent, 3);
        check(&[1, 2, 1, 3, 1, 2], Rule::LeastRecent, 4);
        assert_eq!(misses(&[1, 2, 1, 3, 1, 2], 3, 2, Rule::LeastRecent), 2);
    }

    #[test]
    fn the_second_key_is_half_as_common_as_the_first() {
        let (zipf, mut rng) = (Zipf::new(100), Rng::from_seed(1));
        let mut counts = [0; 100];
        (0..100_000).for_each(|_| counts[zipf.key(&mut rng)] += 1);
        assert!((counts[0] as f64 / counts[1] as f64 - 2.0).abs() < 0.1, "{counts:?}");
        assert!(counts[99] > 100, "{counts:?}");
    }
}
