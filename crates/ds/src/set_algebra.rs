//! Intersection, union and difference of sets in any form, without copying a member.
//!
//! Each visits the members of the result once, until it is told to stop. None of them changes a set, and
//! none keeps more than a reference to each member it has to remember.

use std::collections::HashSet;
use std::ops::ControlFlow;

use base::num::parse_i64;

use crate::listpack::Element;
use crate::set::SetRef;

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

/// The one form of a member by which it is compared across forms of sets.
fn canonical(member: Element<'_>) -> Element<'_> {
    match member {
        Element::Bytes(bytes) => parse_i64(bytes).map_or(member, Element::Int),
        Element::Int(_) => member,
    }
}
