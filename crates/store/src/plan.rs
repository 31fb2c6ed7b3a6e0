//! Which shards a command needs. Locks follow from a plan, ascending, before the command runs.

use smallvec::SmallVec;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct ShardId(pub u16);

/// Several shards: ascending and without repeats.
pub type ShardList = SmallVec<[ShardId; 8]>;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Plan {
    /// Touches no key.
    None,
    One(ShardId),
    /// Two or more, ascending, distinct.
    Some(ShardList),
    All,
}

impl Plan {
    /// The smallest plan that covers `shards`, given in any order and with repeats.
    pub fn of(shards: impl IntoIterator<Item = ShardId>) -> Plan {
        let mut list: ShardList = shards.into_iter().collect();
        list.sort_unstable();
        list.dedup();
        match list.len() {
            0 => Plan::None,
            1 => Plan::One(list[0]),
            _ => Plan::Some(list),
        }
    }

    /// What covers both.
    pub fn union(self, other: Plan) -> Plan {
        match (self, other) {
            (Plan::All, _) | (_, Plan::All) => Plan::All,
            (Plan::None, plan) | (plan, Plan::None) => plan,
            (a, b) => Plan::of(a.shards().chain(b.shards())),
        }
    }

    /// The named shards; none for `None` and `All`.
    fn shards(self) -> impl Iterator<Item = ShardId> {
        match self {
            Plan::One(shard) => ShardList::from_slice(&[shard]),
            Plan::Some(list) => list,
            Plan::None | Plan::All => ShardList::new(),
        }
        .into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[u16]) -> impl Iterator<Item = ShardId> + '_ {
        ids.iter().map(|&id| ShardId(id))
    }

    #[test]
    fn plans_are_ascending_distinct_and_minimal() {
        assert_eq!(Plan::of(ids(&[])), Plan::None);
        assert_eq!(Plan::of(ids(&[3, 3])), Plan::One(ShardId(3)));
        assert_eq!(Plan::of(ids(&[5, 1, 5])), Plan::Some(ids(&[1, 5]).collect()));
    }

    #[test]
    fn a_union_covers_both() {
        let cases = [
            (Plan::None, Plan::None, Plan::None),
            (Plan::None, Plan::One(ShardId(2)), Plan::One(ShardId(2))),
            (Plan::One(ShardId(2)), Plan::One(ShardId(1)), Plan::of(ids(&[1, 2]))),
            (Plan::of(ids(&[4, 9])), Plan::of(ids(&[9, 1])), Plan::of(ids(&[1, 4, 9]))),
            (Plan::All, Plan::One(ShardId(1)), Plan::All),
        ];
        for (a, b, expected) in cases {
            assert_eq!(a.union(b), expected);
        }
    }
}
