//! The order of a large sorted set: a counted B+ tree by score and member, whose leaves link to blocks that
//! the set's table owns.
//!
//! It finds an item's rank and the item of a rank by summing counts on one way down. It never frees a block
//! and never changes a score: whoever links a block takes the link out before either happens. Only the height
//! of the tree, which is logarithmic, is ever recursed on.

use std::ops::Range;
use std::slice;

use base::alloc::size_class;
use base::defrag::Mover;

use crate::sorted_set::leaf::{self, Leaf, Target, order_key};
use crate::sorted_set::scored::{Link, ScoredRef};

#[derive(Default)]
pub struct RankTree {
    root: Node,
    len: usize,
    /// Bytes on the heap.
    bytes: usize,
}

/// Leaves are all at one depth.
enum Node {
    Leaf(Leaf),
    Branch(Box<Branch>),
}

/// Children in order; of each what a search needs.
#[derive(Default)]
struct Branch {
    /// The order key of each child's first item.
    keys: Vec<u64>,
    firsts: Vec<Link>,
    /// Items under each child.
    counts: Vec<usize>,
    children: Vec<Node>,
}

/// Which item is meant.
#[derive(Clone, Copy)]
enum Which<'a> {
    Rank(usize),
    Linked(Target<'a>, Link),
}

/// What a removal did to a node.
struct Removed {
    count: usize,
    /// The node has another first item now, or none.
    first: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    Ascending,
    Descending,
}

impl RankTree {
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes on the heap, as the allocator counts them; the blocks are somebody else's.
    pub fn memory(&self) -> usize {
        self.bytes
    }

    /// Adds an item that is not there.
    pub fn insert(&mut self, target: Target<'_>, link: Link) {
        self.len += 1;
        let Some(right) = self.root.insert(target, link, &mut self.bytes) else { return };
        let left = std::mem::take(&mut self.root);
        let mut branch = Box::<Branch>::default();
        branch.put_child(0, left);
        branch.put_child(1, right);
        self.bytes += branch.size();
        self.root = Node::Branch(branch);
    }

    pub fn remove(&mut self, target: Target<'_>, link: Link) {
        let count = self.root.remove(Which::Linked(target, link), 1, &mut |_| {}, &mut self.bytes).count;
        self.len -= count;
        self.lower();
    }

    /// Removes some items from `rank` on, at least one and at most `count`, telling of each; how many.
    pub fn remove_run(&mut self, rank: usize, count: usize, mut removed: impl FnMut(Link)) -> usize {
        assert!(rank < self.len && count > 0, "a run has items");
        let count = self.root.remove(Which::Rank(rank), count, &mut removed, &mut self.bytes).count;
        self.len -= count;
        self.lower();
        count
    }

    /// Moves an item to another score, which its block gets afterwards, if that is near its old one. False,
    /// and nothing happens, if not: the item has to be removed and added.
    pub fn shift(&mut self, from: Target<'_>, to: Target<'_>, link: Link) -> bool {
        let mut node = &mut self.root;
        loop {
            match node {
                Node::Leaf(leaf) => return leaf.shift(from, to, link),
                Node::Branch(branch) => {
                    let at = branch.child_for(from);
                    if branch.child_for(to) != at {
                        return false;
                    }
                    node = &mut branch.children[at];
                    node.prefetch();
                }
            }
        }
    }

    /// An item that is there has moved to another block; the old one is still there.
    pub fn relink(&mut self, target: Target<'_>, from: Link, to: Link) {
        let mut node = &mut self.root;
        loop {
            match node {
                Node::Leaf(leaf) => return leaf.relink(target.key, from, to),
                Node::Branch(branch) => {
                    let at = branch.child_for(target);
                    if branch.firsts[at].leads_to_same(from) {
                        branch.firsts[at] = to.with_mark(branch.firsts[at].mark());
                    }
                    node = &mut branch.children[at];
                }
            }
        }
    }

    /// Moves the nodes around the item of this rank that have to be; the rank at which the next leaf begins,
    /// if there is one.
    pub fn move_nodes(&mut self, rank: usize, mover: &mut Mover) -> Option<usize> {
        if rank >= self.len {
            return None;
        }
        let (mut node, mut within) = (&mut self.root, rank);
        loop {
            match node {
                Node::Leaf(leaf) => {
                    leaf.move_links(mover);
                    return Some(rank + leaf.len() - within);
                }
                Node::Branch(branch) => {
                    if within == 0 {
                        mover.boxed(branch);
                        branch.move_arrays(mover);
                    }
                    let at;
                    (at, within) = branch.child_at(within);
                    node = &mut branch.children[at];
                }
            }
        }
    }

    /// How many items come before `target`.
    pub fn rank(&self, target: Target<'_>) -> usize {
        self.rank_where(target, |leaf| leaf.search(target))
    }

    /// How many items come before an item that is there.
    pub fn rank_of(&self, target: Target<'_>, link: Link) -> usize {
        self.rank_where(target, |leaf| leaf.position(target.key, link))
    }

    fn rank_where(&self, target: Target<'_>, in_leaf: impl FnOnce(&Leaf) -> usize) -> usize {
        let (mut node, mut before) = (&self.root, 0);
        loop {
            match node {
                Node::Leaf(leaf) => return before + in_leaf(leaf),
                Node::Branch(branch) => {
                    let at = branch.child_for(target);
                    node = &branch.children[at];
                    node.prefetch();
                    before += branch.counts[..at].iter().sum::<usize>();
                }
            }
        }
    }

    /// How many items come before the first that is not `before`, which no later one is either.
    pub fn rank_by(&self, before: impl Fn(ScoredRef<'_>) -> bool) -> usize {
        let (mut node, mut rank) = (&self.root, 0);
        loop {
            match node {
                Node::Leaf(leaf) => return rank + leaf.search_by(before),
                Node::Branch(branch) => {
                    let at = branch.firsts.partition_point(|first| before(first.view())).saturating_sub(1);
                    rank += branch.counts[..at].iter().sum::<usize>();
                    node = &branch.children[at];
                }
            }
        }
    }

    /// Asks for the leaf to be brought near in which a score has its place.
    #[inline]
    pub fn prefetch(&self, score: f64) {
        self.leaf_for(order_key(score)).prefetch();
    }

    /// Asks for the block to be brought near with which an item of this score may have to be compared. The
    /// leaf should have come by now.
    #[inline]
    pub fn prefetch_rival(&self, score: f64) {
        let key = order_key(score);
        self.leaf_for(key).prefetch_rival(key);
    }

    fn leaf_for(&self, key: u64) -> &Leaf {
        let mut node = &self.root;
        loop {
            match node {
                Node::Leaf(leaf) => return leaf,
                Node::Branch(branch) => node = &branch.children[branch.child_below(key).saturating_sub(1)],
            }
        }
    }

    /// The items of these ranks.
    pub fn items(&self, ranks: Range<usize>, direction: Direction) -> Items<'_> {
        assert!(ranks.end <= self.len, "ranks are below the length");
        Items { tree: self, ranks, direction, run: [].iter() }
    }

    /// Panics if an item is out of order, a count is wrong or a node is empty. Costs a visit to every item.
    pub fn check_invariants(&self) {
        let mut bytes = 0;
        let count = self.root.check(&mut bytes);
        assert_eq!((count, bytes), (self.len, self.bytes));
        let mut previous = None;
        for item in self.items(0..self.len, Direction::Ascending) {
            let target = Target::of(item);
            assert!(previous.is_none_or(|previous| previous < target), "items stand in order");
            previous = Some(target);
        }
    }

    /// The leaf with the item of this rank, and its index there.
    fn leaf_at(&self, mut rank: usize) -> (&[Link], usize) {
        let mut node = &self.root;
        loop {
            match node {
                Node::Leaf(leaf) => return (leaf.links(), rank),
                Node::Branch(branch) => {
                    let at;
                    (at, rank) = branch.child_at(rank);
                    node = &branch.children[at];
                }
            }
        }
    }

    /// Takes off roots with a single child.
    fn lower(&mut self) {
        while let Node::Branch(branch) = &mut self.root {
            match branch.children.len() {
                0 => {
                    self.bytes -= branch.size();
                    self.root = Node::default();
                }
                1 => {
                    self.bytes -= branch.size();
                    self.root = branch.take_child(0);
                }
                _ => return,
            }
        }
    }
}

impl Default for Node {
    fn default() -> Self {
        Node::Leaf(Leaf::default())
    }
}

impl Node {
    /// Adds an item; a full node splits, and its right part is returned. `bytes` follows all nodes' sizes.
    fn insert(&mut self, target: Target<'_>, link: Link, bytes: &mut usize) -> Option<Node> {
        match self {
            Node::Leaf(leaf) => {
                let before = leaf.size();
                let right = leaf.insert(target, link);
                *bytes = *bytes + leaf.size() + right.as_ref().map_or(0, Leaf::size) - before;
                right.map(Node::Leaf)
            }
            Node::Branch(branch) => {
                branch.insert(target, link, bytes).map(|right| Node::Branch(Box::new(right)))
            }
        }
    }

    /// Removes up to `count` items of one leaf, at least one.
    fn remove(
        &mut self,
        which: Which<'_>,
        count: usize,
        removed: &mut dyn FnMut(Link),
        bytes: &mut usize,
    ) -> Removed {
        match self {
            Node::Branch(branch) => branch.remove(which, count, removed, bytes),
            Node::Leaf(leaf) => {
                let index = match which {
                    Which::Rank(rank) => rank,
                    Which::Linked(target, link) => leaf.position(target.key, link),
                };
                *bytes -= leaf.size();
                let count = leaf.remove(index, count, removed);
                *bytes += leaf.size();
                Removed { count, first: index == 0 }
            }
        }
    }

    #[inline]
    fn prefetch(&self) {
        if let Node::Leaf(leaf) = self {
            leaf.prefetch();
        }
    }

    /// Children of a branch or links of a leaf.
    fn fan(&self) -> usize {
        match self {
            Node::Leaf(leaf) => leaf.len(),
            Node::Branch(branch) => branch.children.len(),
        }
    }

    fn fan_max(&self) -> usize {
        match self {
            Node::Leaf(_) => leaf::CAPACITY,
            Node::Branch(_) => FAN,
        }
    }

    /// Items below.
    fn count(&self) -> usize {
        match self {
            Node::Leaf(leaf) => leaf.len(),
            Node::Branch(branch) => branch.counts.iter().sum(),
        }
    }

    fn first(&self) -> Link {
        match self {
            Node::Leaf(leaf) => leaf.links()[0],
            Node::Branch(branch) => branch.firsts[0],
        }
    }

    /// Bytes of this node, without those of its children.
    fn size(&self) -> usize {
        match self {
            Node::Leaf(leaf) => leaf.size(),
            Node::Branch(branch) => branch.size(),
        }
    }

    /// Takes in the neighbour to the right.
    fn absorb(&mut self, right: Node) {
        match (self, right) {
            (Node::Leaf(leaf), Node::Leaf(right)) => leaf.absorb(right),
            (Node::Branch(branch), Node::Branch(mut right)) => branch.append(&mut right),
            _ => unreachable!("leaves are all at one depth"),
        }
    }

    /// Checks what is below and counts it.
    fn check(&self, bytes: &mut usize) -> usize {
        *bytes += self.size();
        match self {
            Node::Leaf(leaf) => leaf.check_invariants(),
            Node::Branch(branch) => {
                let fan = branch.children.len();
                assert!((1..=FAN).contains(&fan));
                assert_eq!([branch.keys.len(), branch.firsts.len(), branch.counts.len()], [fan; 3]);
                for (at, child) in branch.children.iter().enumerate() {
                    assert!(child.fan() > 0, "an empty node is removed");
                    assert!(child.first().view().member() == branch.firsts[at].view().member());
                    assert_eq!(order_key(child.first().view().score()), branch.keys[at]);
                    assert_eq!(child.check(bytes), branch.counts[at]);
                }
            }
        }
        self.count()
    }
}

impl Branch {
    /// The child in whose range `target` is: the last that does not begin behind it, or the first.
    #[inline]
    fn child_for(&self, target: Target<'_>) -> usize {
        let below = self.child_below(target.key);
        if self.keys.get(below) != Some(&target.key) {
            return below.saturating_sub(1);
        }
        let equal = self.keys[below..].partition_point(|&key| key == target.key);
        let firsts = &self.firsts[below..below + equal];
        let begun = below + firsts.partition_point(|first| first.view().member() <= target.member);
        begun.saturating_sub(1)
    }

    /// How many children begin with a lower key.
    #[inline]
    fn child_below(&self, key: u64) -> usize {
        for line in self.keys.chunks(KEYS_PER_LINE) {
            base::alloc::prefetch(line.as_ptr());
        }
        self.keys.partition_point(|&own| own < key)
    }

    /// The child with the item of this rank, and the rank in it.
    fn child_at(&self, mut rank: usize) -> (usize, usize) {
        for (at, &count) in self.counts.iter().enumerate() {
            if rank < count {
                return (at, rank);
            }
            rank -= count;
        }
        panic!("a rank is below the number of items");
    }

    fn insert(&mut self, target: Target<'_>, link: Link, bytes: &mut usize) -> Option<Branch> {
        let at = self.child_for(target);
        let right = self.children[at].insert(target, link, bytes);
        self.counts[at] += 1;
        if at == 0 {
            self.note_first(0);
        }
        self.add_child(at + 1, right?, bytes)
    }

    /// Puts in the right part of the child before `at`, which split.
    fn add_child(&mut self, at: usize, child: Node, bytes: &mut usize) -> Option<Branch> {
        *bytes -= self.size();
        self.counts[at - 1] -= child.count();
        let right = if self.children.len() == FAN {
            // Items that come in order leave full branches behind them.
            let cut = if at == 1 || at == FAN { at } else { FAN / 2 };
            let mut right = self.split_off(cut);
            if at > cut || cut == at {
                right.put_child(at - cut, child)
            } else {
                self.put_child(at, child)
            }
            Some(right)
        } else {
            self.put_child(at, child);
            None
        };
        *bytes += self.size() + right.as_ref().map_or(0, Branch::size);
        right
    }

    fn remove(
        &mut self,
        which: Which<'_>,
        count: usize,
        removed: &mut dyn FnMut(Link),
        bytes: &mut usize,
    ) -> Removed {
        let (at, which) = match which {
            Which::Rank(rank) => {
                let (at, rank) = self.child_at(rank);
                (at, Which::Rank(rank))
            }
            Which::Linked(target, _) => (self.child_for(target), which),
        };
        let Removed { count, first } = self.children[at].remove(which, count, removed, bytes);
        self.counts[at] -= count;
        if self.children[at].fan() == 0 {
            *bytes -= self.size() + self.children[at].size();
            self.take_child(at);
            *bytes += self.size();
        } else {
            if first {
                self.note_first(at);
            }
            self.join_small(at, bytes);
        }
        Removed { count, first: first && at == 0 }
    }

    /// Joins a child that has become small with a neighbour, if they leave room in one node.
    fn join_small(&mut self, at: usize, bytes: &mut usize) {
        let max = self.children[at].fan_max();
        if self.children[at].fan() >= max / 4 {
            return;
        }
        let fan_at = |at: usize| self.children.get(at).map(Node::fan);
        let fits = |left: &usize| {
            let fans = fan_at(*left).zip(fan_at(left + 1));
            fans.is_some_and(|(left, right)| left + right <= max / 4 * 3)
        };
        let Some(left) = at.checked_sub(1).into_iter().chain([at]).find(fits) else { return };
        *bytes -= self.size() + self.children[left].size() + self.children[left + 1].size();
        let count = self.counts[left + 1];
        let right = self.take_child(left + 1);
        self.children[left].absorb(right);
        self.counts[left] += count;
        *bytes += self.size() + self.children[left].size();
    }

    /// The child at `at` may have another first item.
    fn note_first(&mut self, at: usize) {
        let first = self.children[at].first();
        self.firsts[at] = first;
        self.keys[at] = order_key(first.view().score());
    }

    fn put_child(&mut self, at: usize, child: Node) {
        let first = child.first();
        put(&mut self.keys, at, order_key(first.view().score()));
        put(&mut self.firsts, at, first);
        put(&mut self.counts, at, child.count());
        put(&mut self.children, at, child);
    }

    fn take_child(&mut self, at: usize) -> Node {
        self.keys.remove(at);
        self.firsts.remove(at);
        self.counts.remove(at);
        self.children.remove(at)
    }

    fn split_off(&mut self, at: usize) -> Branch {
        Branch {
            keys: self.keys.split_off(at),
            firsts: self.firsts.split_off(at),
            counts: self.counts.split_off(at),
            children: self.children.split_off(at),
        }
    }

    fn append(&mut self, right: &mut Branch) {
        self.keys.append(&mut right.keys);
        self.firsts.append(&mut right.firsts);
        self.counts.append(&mut right.counts);
        self.children.append(&mut right.children);
    }

    fn move_arrays(&mut self, mover: &mut Mover) {
        mover.vec(&mut self.keys);
        mover.vec(&mut self.firsts);
        mover.vec(&mut self.counts);
        mover.vec(&mut self.children);
    }

    fn size(&self) -> usize {
        fn of<T>(vec: &Vec<T>) -> usize {
            size_class(vec.capacity() * size_of::<T>())
        }
        let arrays = [of(&self.keys), of(&self.firsts), of(&self.counts), of(&self.children)];
        size_class(size_of::<Branch>()) + arrays.iter().sum::<usize>()
    }
}

/// Inserts into one of a branch's arrays, which never has room for more than a full branch.
fn put<T>(array: &mut Vec<T>, at: usize, item: T) {
    if array.len() == array.capacity() {
        array.reserve_exact((2 * array.len()).clamp(FAN_LEAST, FAN) - array.len());
    }
    array.insert(at, item);
}

/// Items in order, from either end.
pub struct Items<'a> {
    tree: &'a RankTree,
    /// Those that are not in `run` yet.
    ranks: Range<usize>,
    direction: Direction,
    run: slice::Iter<'a, Link>,
}

impl<'a> Items<'a> {
    /// Takes up the next leaf.
    fn refill(&mut self) {
        if self.ranks.is_empty() {
            return;
        }
        let links = match self.direction {
            Direction::Ascending => {
                let (links, index) = self.tree.leaf_at(self.ranks.start);
                &links[index..links.len().min(index + self.ranks.len())]
            }
            Direction::Descending => {
                let (links, index) = self.tree.leaf_at(self.ranks.end - 1);
                &links[(index + 1).saturating_sub(self.ranks.len())..=index]
            }
        };
        match self.direction {
            Direction::Ascending => self.ranks.start += links.len(),
            Direction::Descending => self.ranks.end -= links.len(),
        }
        self.run = links.iter();
        (0..AHEAD).for_each(|ahead| self.prefetch(ahead));
    }

    fn prefetch(&self, ahead: usize) {
        let links = self.run.as_slice();
        let link = match self.direction {
            Direction::Ascending => links.get(ahead),
            Direction::Descending => links.len().checked_sub(ahead + 1).map(|index| &links[index]),
        };
        if let Some(link) = link {
            link.prefetch();
        }
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = ScoredRef<'a>;

    fn next(&mut self) -> Option<ScoredRef<'a>> {
        if self.run.as_slice().is_empty() {
            self.refill();
        }
        self.prefetch(AHEAD);
        let link = match self.direction {
            Direction::Ascending => self.run.next(),
            Direction::Descending => self.run.next_back(),
        };
        link.map(Link::view)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.ranks.len() + self.run.len();
        (left, Some(left))
    }
}

impl ExactSizeIterator for Items<'_> {}

/// Children of a branch at most.
const FAN: usize = 64;
const KEYS_PER_LINE: usize = 8;
/// For how many children a new branch has room.
const FAN_LEAST: usize = 4;
/// How many blocks an iteration asks for before it comes to them.
const AHEAD: usize = 8;
