//! Edits and walks of one listpack that holds a list, or a part of one, by index. It never decides how long a
//! listpack may become.

use std::ops::ControlFlow;

use super::{Direction, End};
use crate::listpack::{self, Buffer, Element, Listpack, Needle, Position};

pub fn push(buffer: &mut impl Buffer, end: End, content: &[u8]) {
    match end {
        End::Front => listpack::push_front(buffer, content),
        End::Back => listpack::push_back(buffer, content),
    }
}

/// Inserts before the element at `index`, or behind the last one.
pub fn insert(buffer: &mut impl Buffer, index: usize, content: &[u8]) {
    let at = position(Listpack::trusted(buffer.bytes()), index);
    listpack::insert(buffer, at, content);
}

/// Replaces the element at `index`.
pub fn replace(buffer: &mut impl Buffer, index: usize, content: &[u8]) {
    let at = position(Listpack::trusted(buffer.bytes()), index);
    listpack::replace(buffer, at, content);
}

/// Removes `count` elements from `index` on.
pub fn remove(buffer: &mut impl Buffer, index: usize, count: usize) {
    let at = position(Listpack::trusted(buffer.bytes()), index);
    listpack::remove(buffer, at, count);
}

/// Removes up to `max` elements that match, the first or the last ones, and returns how many.
pub fn remove_matching(
    buffer: &mut impl Buffer,
    needle: &Needle<'_>,
    max: usize,
    direction: Direction,
) -> usize {
    let pack = Listpack::trusted(buffer.bytes());
    let mut at = match direction {
        Direction::Forward => pack.first(),
        Direction::Backward => pack.last(),
    };
    let mut removed = 0;
    while let Some(here) = at.filter(|_| removed < max) {
        let pack = Listpack::trusted(buffer.bytes());
        let matches = needle.matches(pack.element(here));
        at = match direction {
            Direction::Forward if matches => Some(here),
            Direction::Forward => pack.next(here),
            Direction::Backward => pack.previous(here),
        };
        if matches {
            listpack::remove(buffer, here, 1);
            removed += 1;
            at = at.filter(|&at| at < Listpack::trusted(buffer.bytes()).end());
        }
    }
    removed
}

/// Visits up to `count` elements, the one at `index` first, until `visit` breaks off.
#[inline]
pub fn walk(
    pack: Listpack<'_>,
    index: usize,
    count: usize,
    direction: Direction,
    visit: &mut impl FnMut(Element<'_>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let Some(first) = pack.first() else { return ControlFlow::Continue(()) };
    match direction {
        Direction::Forward => {
            let from = if index == 0 { first } else { position(pack, index) };
            pack.between(from, pack.end()).take(count).try_for_each(visit)
        }
        Direction::Backward => {
            let end = position(pack, index + 1);
            pack.between(first, end).rev().take(count).try_for_each(visit)
        }
    }
}

/// Where the element at `index` starts, or where the last one ends; found from the nearer end.
pub fn position(pack: Listpack<'_>, index: usize) -> Position {
    let len = pack.len();
    let found = match index {
        _ if index >= len => None,
        _ if index <= len / 2 => pack.at(index as i64),
        _ => pack.at(index as i64 - len as i64),
    };
    found.unwrap_or_else(|| pack.end())
}
