//! Intersection, union and difference of sets in any form, without copying a member.
//!
//! Each visits the members of the result once, until it is told to stop. None of them changes a set, and
//! none keeps more than a reference to each member it has to remember.

use std::collections::HashSet;
use std::ops::ControlFlow;

use base::hash::hash;

use crate::listpack::Element;
use crate::set::{SetRef, canonical};

/// What a result's members are shown to; `Break` ends the walk.
pub type Visit<'v, 'a> = &'v mut dyn FnMut(Element<'a>) -> ControlFlow<()>;

/// Members of every set. The smallest is gone through, and the others are asked in order of size: the
/// smaller a set, the likelier it lacks the member.
pub fn intersection<'a>(sets: &mut [SetRef<'a>], visit: Visit<'_, 'a>) {
    sets.sort_by_key(|set| set.len());
    let Some((smallest, others)) = sets.split_first() else { return };
    let in_all = |member: &Element<'a>| others.iter().all(|set| set.contains_element(*member));
    let _ = smallest.iter().filter(in_all).try_for_each(visit);
}

/// Members of any set. Those of the largest table are asked for there; what other sets have in common has to
/// be remembered.
pub fn union<'a>(sets: &mut [SetRef<'a>], visit: Visit<'_, 'a>) {
    sets.sort_by_key(|set| std::cmp::Reverse(set.len()));
    let Some((largest, others)) = sets.split_first() else { return };
    if largest.iter().try_for_each(&mut *visit).is_break() {
        return;
    }
    let mut seen = HashSet::new();
    let asks_largest = matches!(largest, SetRef::Table(_) | SetRef::Ints(_));
    if !asks_largest && !others.is_empty() {
        seen.extend(largest.iter().map(canonical));
    }
    for (index, set) in others.iter().enumerate() {
        let is_last = index + 1 == others.len();
        let is_new = |member: &Element<'a>| {
            if asks_largest && largest.contains_element(*member) {
                return false;
            }
            if is_last { !seen.contains(&canonical(*member)) } else { seen.insert(canonical(*member)) }
        };
        if set.iter().filter(is_new).try_for_each(&mut *visit).is_break() {
            return;
        }
    }
}

/// About how many members `union` visits, with a standard error of 0.8 %: 16 KB suffice for sets of any size.
///
/// A HyperLogLog sketch and its improved raw estimator: Otmar Ertl, "New cardinality estimation algorithms for
/// HyperLogLog sketches", 2017, algorithm 6.
pub fn union_estimate(sets: &[SetRef<'_>]) -> u64 {
    let mut ranks = vec![0u8; RANK_COUNT];
    for member in sets.iter().flat_map(|set| set.iter()) {
        let hash = match member {
            Element::Bytes(bytes) => hash(bytes),
            Element::Int(value) => hash(itoa::Buffer::new().format(value).as_bytes()),
        };
        let (place, rest) = ((hash >> RANK_BITS) as usize, hash << (64 - RANK_BITS));
        let rank = rest.leading_zeros().min(RANK_BITS) as u8 + 1;
        ranks[place] = ranks[place].max(rank);
    }
    estimate(&ranks)
}

/// How many distinct hashes leave such ranks.
fn estimate(ranks: &[u8]) -> u64 {
    let mut counts = [0.0; RANK_BITS as usize + 2];
    ranks.iter().for_each(|&rank| counts[usize::from(rank)] += 1.0);
    let total = ranks.len() as f64;
    let mut sum = total * tau(1.0 - counts[RANK_BITS as usize + 1] / total);
    for count in counts[1..=RANK_BITS as usize].iter().rev() {
        sum = 0.5 * (sum + count);
    }
    sum += total * sigma(counts[0] / total);
    (total * total / (2.0 * std::f64::consts::LN_2 * sum)).round() as u64
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut sum, mut before) = (1.0, x, f64::NAN);
    while sum != before {
        before = sum;
        x *= x;
        sum += x * y;
        y += y;
    }
    sum
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut sum, mut before) = (1.0, 1.0 - x, f64::NAN);
    while sum != before {
        before = sum;
        x = x.sqrt();
        y *= 0.5;
        sum -= (1.0 - x) * (1.0 - x) * y;
    }
    sum / 3.0
}

/// Members of `first` that no other set has.
pub fn difference<'a>(first: SetRef<'a>, others: &mut [SetRef<'a>], visit: Visit<'_, 'a>) {
    // Asking others is the cheaper of both ways for each member, and may end early.
    let asking = first.len().saturating_mul(others.len() + 1) / 2;
    let striking = first.len() + others.iter().map(|set| set.len()).sum::<usize>();
    if asking <= striking {
        return difference_by_asking(first, others, visit);
    }
    difference_by_striking(first, others, visit);
}

/// Asks the other sets for each member, the largest first: it is the likeliest to have it.
fn difference_by_asking<'a>(first: SetRef<'a>, others: &mut [SetRef<'a>], visit: Visit<'_, 'a>) {
    others.sort_by_key(|set| std::cmp::Reverse(set.len()));
    let in_none = |member: &Element<'a>| !others.iter().any(|set| set.contains_element(*member));
    let _ = first.iter().filter(in_none).try_for_each(visit);
}

/// Strikes the members of every other set off a list.
fn difference_by_striking<'a>(first: SetRef<'a>, others: &[SetRef<'a>], visit: Visit<'_, 'a>) {
    let mut left: HashSet<_> = first.iter().map(canonical).collect();
    for member in others.iter().flat_map(|set| set.iter()) {
        left.remove(&canonical(member));
        if left.is_empty() {
            return;
        }
    }
    let _ = first.iter().filter(|member| left.contains(&canonical(*member))).try_for_each(visit);
}

/// Bits of a hash that are searched for the rank; the others choose its place.
const RANK_BITS: u32 = 50;
const RANK_COUNT: usize = 1 << (64 - RANK_BITS);
