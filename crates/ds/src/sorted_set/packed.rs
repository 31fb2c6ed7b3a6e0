//! The packed sorted set: a listpack of members, each followed by its score, in order, as Redis has it.
//!
//! Scores are integers or the text of doubles, and never a NaN. It does not decide when a set is too big for
//! this form.

use base::num;

use crate::listpack::{self, Buffer, Element, Iter, Listpack, Position};
use crate::sorted_set::ScoredMember;
use crate::sorted_set::leaf::order_key;

/// The members in order, from both ends.
#[derive(Clone)]
pub struct PackedItems<'a>(Iter<'a>);

/// A member's score.
pub fn packed_score(pack: Listpack<'_>, member: &[u8]) -> Option<f64> {
    let (_, score) = locate(pack, member)?;
    Some(score)
}

pub fn packed_items(pack: Listpack<'_>) -> PackedItems<'_> {
    PackedItems(pack.iter())
}

/// Sets a member's score, and returns the score it had.
pub fn packed_set(buffer: &mut impl Buffer, member: &[u8], score: f64) -> Option<f64> {
    let pack = Listpack::trusted(buffer.bytes());
    let found = locate(pack, member);
    if let Some((at, _)) = found {
        if stays(pack, at, member, score) {
            let score_at = pack.next(at).expect("a score follows each member");
            with_score_text(score, |text| listpack::replace(buffer, score_at, text));
            return found.map(|(_, old)| old);
        }
        listpack::remove(buffer, at, 2);
    }
    let pack = Listpack::trusted(buffer.bytes());
    let after = positions(pack).find(|&at| is_after(pack, at, member, score));
    let at = after.unwrap_or(pack.end());
    with_score_text(score, |text| listpack::insert(buffer, at, text));
    listpack::insert(buffer, at, member);
    found.map(|(_, old)| old)
}

/// Removes a member and returns its score.
pub fn packed_remove(buffer: &mut impl Buffer, member: &[u8]) -> Option<f64> {
    let (at, score) = locate(Listpack::trusted(buffer.bytes()), member)?;
    listpack::remove(buffer, at, 2);
    Some(score)
}

/// Removes up to `count` members from `rank` on.
pub fn packed_remove_ranks(buffer: &mut impl Buffer, rank: usize, count: usize) {
    let at = positions(Listpack::trusted(buffer.bytes())).nth(rank);
    if let Some(at) = at {
        listpack::remove(buffer, at, 2 * count);
    }
}

/// Appends a member that comes after all others.
pub fn packed_push(buffer: &mut impl Buffer, member: &[u8], score: f64) {
    listpack::push_back(buffer, member);
    with_score_text(score, |text| listpack::push_back(buffer, text));
}

/// Bytes that a member takes with its score.
pub fn packed_bytes_needed(member: &[u8], score: f64) -> usize {
    let mut needed = listpack::bytes_needed(member);
    with_score_text(score, |text| needed += listpack::bytes_needed(text));
    needed
}

/// The score that an element stands for; None for what is not a number, which no sound set has.
pub fn score_of(element: Element<'_>) -> Option<f64> {
    match element {
        Element::Int(value) => Some(value as f64),
        Element::Bytes(text) => num::parse_f64(text),
    }
}

impl<'a> Iterator for PackedItems<'a> {
    type Item = ScoredMember<'a>;

    fn next(&mut self) -> Option<ScoredMember<'a>> {
        let member = self.0.next()?;
        let score = self.0.next()?;
        Some(ScoredMember { member, score: sound_score(score) })
    }
}

impl DoubleEndedIterator for PackedItems<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let score = self.0.next_back()?;
        let member = self.0.next_back()?;
        Some(ScoredMember { member, score: sound_score(score) })
    }
}

fn locate(pack: Listpack<'_>, member: &[u8]) -> Option<(Position, f64)> {
    let at = pack.find(member, pack.first()?, 1)?;
    Some((at, score_behind(pack, at)))
}

/// The positions of the members.
fn positions(pack: Listpack<'_>) -> impl Iterator<Item = Position> {
    std::iter::successors(pack.first(), move |&at| pack.next(pack.next(at)?))
}

/// Whether the member at `at` may have another score without another place.
fn stays(pack: Listpack<'_>, at: Position, member: &[u8], score: f64) -> bool {
    let score_before = pack.previous(at).and_then(|score_at| pack.previous(score_at));
    let follower = pack.next(at).and_then(|score_at| pack.next(score_at));
    score_before.is_none_or(|before| !is_after(pack, before, member, score))
        && follower.is_none_or(|follower| is_after(pack, follower, member, score))
}

/// Whether the item at `at` comes after another member with a score.
fn is_after(pack: Listpack<'_>, at: Position, member: &[u8], score: f64) -> bool {
    let (own, other) = (order_key(score_behind(pack, at)), order_key(score));
    own > other || own == other && cmp_bytes(pack.element(at), member).is_gt()
}

pub(super) fn cmp_bytes(element: Element<'_>, bytes: &[u8]) -> std::cmp::Ordering {
    match element {
        Element::Int(value) => itoa::Buffer::new().format(value).as_bytes().cmp(bytes),
        Element::Bytes(own) => own.cmp(bytes),
    }
}

fn score_behind(pack: Listpack<'_>, at: Position) -> f64 {
    let score_at = pack.next(at).expect("a score follows each member");
    sound_score(pack.element(score_at))
}

fn sound_score(element: Element<'_>) -> f64 {
    score_of(element).expect("packed scores are numbers: made here, or checked when they were read")
}

/// The score as an element: an integer where it is one, else its shortest digits. -0.0 becomes 0, as in
/// Redis.
fn with_score_text<R>(score: f64, work: impl FnOnce(&[u8]) -> R) -> R {
    debug_assert!(!score.is_nan(), "a score is a number");
    let integer = score as i64;
    if integer as f64 == score && integer.unsigned_abs() <= INTEGER_MAX {
        return work(itoa::Buffer::new().format(integer).as_bytes());
    }
    let mut text = Vec::with_capacity(SCORE_LEN);
    num::write_f64_shortest(&mut text, score);
    work(&text)
}

/// Redis' bound: no rounding leads from a double below it to the limits of 64 bits.
const INTEGER_MAX: u64 = 1 << 62;
/// `-2.2250738585072014e-308`.
const SCORE_LEN: usize = 24;
