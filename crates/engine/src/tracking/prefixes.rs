//! The prefixes that clients follow in broadcasting mode. Keeps names and ids; sends nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use base::alloc::size_class;

use crate::clients::ClientId;
use crate::error::CmdError;

#[derive(Default)]
pub struct Prefixes {
    followers: BTreeMap<Box<[u8]>, Vec<ClientId>>,
    /// Of the names.
    bytes: usize,
}

/// Memory of a prefix beside its name: its place in a node, and a list's least room.
const PREFIX_LEN: usize = 96;

pub fn prefix_len(prefix: &[u8]) -> usize {
    size_class(prefix.len()) + PREFIX_LEN
}

impl Prefixes {
    pub fn len(&self) -> usize {
        self.followers.len()
    }

    /// Bytes of the prefixes, once for all followers.
    pub fn memory(&self) -> usize {
        self.bytes
    }

    /// The client does not follow it yet.
    pub fn add(&mut self, prefix: &[u8], client: ClientId) {
        let followers = self.followers.entry(prefix.into()).or_insert_with(|| {
            self.bytes += prefix_len(prefix);
            Vec::new()
        });
        followers.push(client);
    }

    /// The client follows it.
    pub fn remove(&mut self, prefix: &[u8], client: ClientId) {
        let followers = self.followers.get_mut(prefix).expect("a session's prefixes are in the registry");
        let place = followers.iter().position(|other| *other == client).expect("it is among its followers");
        followers.swap_remove(place);
        if followers.is_empty() {
            self.followers.remove(prefix);
            self.bytes -= prefix_len(prefix);
        }
    }

    pub fn followers(&self, prefix: &[u8]) -> &[ClientId] {
        self.followers.get(prefix).map_or(&[], Vec::as_slice)
    }

    /// The prefixes that a key begins with, the longest first. Costs a search for each, and one for each
    /// neighbour that is none: not a look at all of them.
    pub fn of<'a>(&'a self, key: &[u8]) -> impl Iterator<Item = &'a [u8]> {
        // What is left to find is no longer than `key[..end]`, and sorts before it.
        let mut end = Some(key.len());
        std::iter::from_fn(move || {
            loop {
                let longest = &key[..end?];
                let range = (Bound::Unbounded, Bound::Included(longest));
                let (candidate, _) = self.followers.range::<[u8], _>(range).next_back()?;
                let common = candidate.iter().zip(longest).take_while(|(a, b)| a == b).count();
                if common == candidate.len() {
                    end = common.checked_sub(1);
                    return Some(&**candidate);
                }
                end = Some(common);
            }
        })
    }
}

/// Refuses prefixes of which one key could begin with two: among themselves, or with those that the client
/// follows already.
pub fn check_overlaps(own: &BTreeSet<Box<[u8]>>, given: &[&[u8]]) -> Result<(), CmdError> {
    let collides = collisions(given);
    for (index, prefix) in given.iter().enumerate() {
        if let Some(existing) = overlapping(own, prefix) {
            return Err(overlap(prefix, b"an existing", existing));
        }
        if !collides[index] {
            continue;
        }
        let overlaps = |other: &&&[u8]| other.starts_with(prefix) || prefix.starts_with(other);
        let other = given[index + 1..].iter().find(overlaps);
        return Err(overlap(prefix, b"another provided", other.expect("what it collides with comes later")));
    }
    Ok(())
}

/// For each prefix, whether it overlaps with another one: in sorted order those that begin with the same one
/// stand together, behind it.
fn collisions(given: &[&[u8]]) -> Vec<bool> {
    let mut collides = vec![false; given.len()];
    let mut order: Vec<usize> = (0..given.len()).collect();
    order.sort_by_key(|&index| given[index]);
    let mut root: Option<usize> = None;
    for index in order {
        match root {
            Some(first) if given[index].starts_with(given[first]) => {
                (collides[first], collides[index]) = (true, true);
            }
            _ => root = Some(index),
        }
    }
    collides
}

/// The first of a client's prefixes that overlaps. They overlap with each other only if one is empty.
fn overlapping<'a>(own: &'a BTreeSet<Box<[u8]>>, prefix: &[u8]) -> Option<&'a [u8]> {
    let first = own.first()?;
    if first.is_empty() {
        return Some(first);
    }
    let before = own.range::<[u8], _>((Bound::Unbounded, Bound::Included(prefix))).next_back();
    let behind = own.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded)).next();
    let before = before.filter(|existing| prefix.starts_with(existing));
    before.or(behind.filter(|existing| existing.starts_with(prefix))).map(|existing| &**existing)
}

fn overlap(prefix: &[u8], which: &[u8], other: &[u8]) -> CmdError {
    let parts = [
        b"ERR Prefix '",
        prefix,
        b"' overlaps with ",
        which,
        b" prefix '",
        other,
        b"'. Prefixes for a single client must not overlap.",
    ];
    CmdError::of_bytes(parts.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_finds_its_prefixes() {
        let mut prefixes = Prefixes::default();
        for prefix in ["", "a", "ab", "abd", "abcde", "b", "aa", "abb", "az"] {
            prefixes.add(prefix.as_bytes(), ClientId(1));
        }
        let check = |key: &str, expected: &[&str]| {
            let found: Vec<_> = prefixes.of(key.as_bytes()).map(String::from_utf8_lossy).collect();
            assert_eq!(found, expected, "{key}");
        };
        check("abcd", &["ab", "a", ""]);
        check("abcdef", &["abcde", "ab", "a", ""]);
        check("abe", &["ab", "a", ""]);
        check("ab", &["ab", "a", ""]);
        check("b", &["b", ""]);
        check("c", &[""]);
        check("", &[""]);
    }

    #[test]
    fn overlaps_are_refused() {
        let check = |own: &[&str], given: &[&str], expected: &str| {
            let own = own.iter().map(|prefix| prefix.as_bytes().into()).collect();
            let given: Vec<&[u8]> = given.iter().map(|prefix| prefix.as_bytes()).collect();
            let text = match check_overlaps(&own, &given) {
                Ok(()) => String::new(),
                Err(error) => error.to_string(),
            };
            let words: Vec<&str> = text.split('\'').collect();
            let shown = if words.len() == 1 { "" } else { &format!("{}{}{}", words[1], words[2], words[3]) };
            assert_eq!(shown, expected, "{own:?} {given:?}");
        };
        let (old, new) = (" overlaps with an existing prefix ", " overlaps with another provided prefix ");
        check(&[], &[], "");
        check(&[], &["foo", "bar", "fob"], "");
        check(&[], &["x", "foobar", "y", "foo"], &format!("foobar{new}foo"));
        check(&[], &["x", "foo", "y", "foobar", "foo"], &format!("foo{new}foobar"));
        check(&[], &["foo", "foo"], &format!("foo{new}foo"));
        check(&[], &["a", ""], &format!("a{new}"));
        check(&["bar", "foo"], &["fo"], &format!("fo{old}foo"));
        check(&["bar", "foo"], &["barb"], &format!("barb{old}bar"));
        check(&["bar", "foo"], &["c", "bar"], &format!("bar{old}bar"));
        check(&["bar", "foo"], &["c", "fop", "ba"], &format!("ba{old}bar"));
        check(&["bar", "foo"], &[""], &format!("{old}bar"));
        check(&["", "foo"], &["foo"], &format!("foo{old}"));
        check(&["bar", "foo"], &["baz", "fop"], "");
        check(&["bar"], &["x", "xy", "bar"], &format!("x{new}xy"));
    }
}
