//! The nodes of a list in order, in chunks: an index is found by the chunks' counts first, and a node put in
//! the middle moves only its chunk. It keeps the sums over all nodes; it never looks into one.
//!
//! It tells the savings of the list of each change before it is made.

use std::collections::VecDeque;

use base::alloc::size_class;
use base::defrag::Mover;

use super::End;
use super::node::{Node, Sums, block_memory};
use super::saving::Progress;
use crate::moving::MovePosition;
use crate::saving::{Fate, Saver, Savings};

/// Where a node is. Valid until one is put in or taken out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub chunk: usize,
    pub node: usize,
}

#[derive(Default)]
pub(super) struct Chunks {
    chunks: VecDeque<Chunk>,
    node_count: usize,
    len: usize,
    rdb_len: u64,
    /// Bytes of the nodes' blocks and of the chunks.
    memory: usize,
    savings: Savings<Progress>,
}

/// Never without nodes, and never with more than [`CHUNK_NODES`].
#[derive(Default)]
struct Chunk {
    nodes: VecDeque<Node>,
    /// Elements.
    len: usize,
}

impl Chunks {
    /// Elements in all nodes.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn node_count(&self) -> usize {
        self.node_count
    }

    pub fn chunk_count(&self) -> usize {
        self.chunks.len()
    }

    pub fn rdb_len(&self) -> u64 {
        self.rdb_len
    }

    /// Bytes of all nodes in an RDB file. Looks at each of them.
    pub fn stored_len(&self) -> u64 {
        self.chunks.iter().map(Chunk::stored_len).sum()
    }

    /// Bytes on the heap, as the allocator counts them.
    pub fn memory(&self) -> usize {
        self.memory + size_class(self.chunks.capacity() * size_of::<Chunk>())
    }

    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.chunks.iter().flat_map(|chunk| &chunk.nodes)
    }

    #[inline]
    pub fn node(&self, at: Place) -> &Node {
        &self.chunks[at.chunk].nodes[at.node]
    }

    /// The first or the last node.
    #[inline]
    pub fn end(&self, end: End) -> Option<Place> {
        let chunk = match end {
            End::Front => 0,
            End::Back => self.chunks.len().wrapping_sub(1),
        };
        let nodes = &self.chunks.get(chunk)?.nodes;
        Some(Place { chunk, node: if end == End::Front { 0 } else { nodes.len() - 1 } })
    }

    pub fn next(&self, at: Place) -> Option<Place> {
        if at.node + 1 < self.chunks[at.chunk].nodes.len() {
            return Some(Place { node: at.node + 1, ..at });
        }
        (at.chunk + 1 < self.chunks.len()).then_some(Place { chunk: at.chunk + 1, node: 0 })
    }

    pub fn previous(&self, at: Place) -> Option<Place> {
        if at.node > 0 {
            return Some(Place { node: at.node - 1, ..at });
        }
        let chunk = at.chunk.checked_sub(1)?;
        Some(Place { chunk, node: self.chunks[chunk].nodes.len() - 1 })
    }

    /// The node with the element at `index`, and its index there.
    pub fn locate(&self, index: usize) -> Option<(Place, usize)> {
        if index >= self.len {
            return None;
        }
        let (chunk, index) = find(&self.chunks, self.len, index, |chunk| chunk.len);
        let found = &self.chunks[chunk];
        let (node, index) = find(&found.nodes, found.len, index, Node::count);
        Some((Place { chunk, node }, index))
    }

    /// Changes a node, which must have elements afterwards.
    #[inline]
    pub fn edit<R>(&mut self, at: Place, change: impl FnOnce(&mut Node) -> R) -> R {
        self.keep(at, Fate::Changing);
        let chunk = &mut self.chunks[at.chunk];
        let node = &mut chunk.nodes[at.node];
        let before = node.sums();
        let result = change(node);
        let after = node.sums();
        chunk.len = chunk.len - before.count + after.count;
        self.len = self.len - before.count + after.count;
        self.rdb_len = self.rdb_len - before.rdb_len + after.rdb_len;
        if before.block_len != after.block_len {
            self.memory = self.memory - block_memory(before.block_len) + block_memory(after.block_len);
        }
        result
    }

    pub fn push(&mut self, end: End, node: Node) -> Place {
        let full = |chunk: &Chunk| chunk.nodes.len() == CHUNK_NODES;
        match end {
            End::Front => {
                if self.chunks.front().is_none_or(full) {
                    self.push_chunk(End::Front);
                }
                self.insert_in(Place { chunk: 0, node: 0 }, node)
            }
            End::Back => {
                if self.chunks.back().is_none_or(full) {
                    self.push_chunk(End::Back);
                }
                let chunk = self.chunks.len() - 1;
                self.insert_in(Place { chunk, node: self.chunks[chunk].nodes.len() }, node)
            }
        }
    }

    /// Puts a node behind another one.
    pub fn insert_after(&mut self, at: Place, node: Node) -> Place {
        self.insert(Place { node: at.node + 1, ..at }, node)
    }

    /// Puts a node before another one, or behind the last one of a chunk.
    pub fn insert(&mut self, mut at: Place, node: Node) -> Place {
        if self.chunks[at.chunk].nodes.len() == CHUNK_NODES {
            self.split(at.chunk);
            let kept = self.chunks[at.chunk].nodes.len();
            if at.node > kept {
                at = Place { chunk: at.chunk + 1, node: at.node - kept };
            }
        }
        self.insert_in(at, node)
    }

    /// Takes a node out. The places of those before it stay valid.
    pub fn remove(&mut self, at: Place) -> Node {
        self.keep(at, Fate::Leaving);
        let node = self.change_chunk(at.chunk, |chunk| {
            let node = chunk.nodes.remove(at.node).expect("the place is that of a node");
            chunk.len -= node.count();
            node
        });
        self.savings.iter_mut().for_each(|saving| saving.progress.remove_node(at));
        let Sums { count, rdb_len, block_len } = node.sums();
        self.len -= count;
        self.rdb_len -= rdb_len;
        self.memory -= block_memory(block_len);
        self.node_count -= 1;
        self.join_chunk(at.chunk);
        node
    }

    /// The same nodes in full chunks.
    pub fn duplicate(&self) -> Self {
        let mut copy = Chunks::default();
        self.nodes().for_each(|node| {
            copy.push(End::Back, node.duplicate());
        });
        copy
    }

    /// Panics if a sum is wrong.
    pub fn check_invariants(&self) {
        let (mut memory, mut rdb_len, mut len, mut node_count) = (0, 0, 0, 0);
        for saving in self.savings.iter() {
            saving.progress.check_invariants(self.chunks.iter().map(|chunk| &chunk.nodes));
        }
        for chunk in &self.chunks {
            assert!((1..=CHUNK_NODES).contains(&chunk.nodes.len()));
            memory += chunk.memory();
            node_count += chunk.nodes.len();
            len += chunk.len;
            assert_eq!(chunk.len, chunk.nodes.iter().map(Node::count).sum::<usize>());
            for node in &chunk.nodes {
                node.check_invariants();
                rdb_len += node.sums().rdb_len;
                memory += block_memory(node.sums().block_len);
            }
        }
        let counted = (memory, rdb_len, len, node_count);
        assert_eq!(counted, (self.memory, self.rdb_len, self.len, self.node_count));
    }

    /// Moves blocks; where nodes stand and what is saved of them stays as it is.
    pub fn move_on(&mut self, position: &mut MovePosition, mover: &mut Mover) -> bool {
        if position.at == 0 && position.index == 0 {
            mover.deque(&mut self.chunks);
        }
        while !mover.is_spent() {
            // `at` is the chunk, `index` the node in it.
            let Some(Chunk { nodes, .. }) = self.chunks.get_mut(position.at as usize) else { return false };
            if position.index == 0 {
                mover.deque(nodes);
            }
            match nodes.get_mut(position.index) {
                Some(node) => {
                    node.move_block(mover);
                    position.index += 1;
                }
                None => (position.at, position.index) = (position.at + 1, 0),
            }
        }
        true
    }

    /// From now on every node that is there has to be saved.
    pub fn begin_saving(&mut self, number: u32, saver: Box<dyn Saver>) {
        let progress = Progress::new(self.chunks.iter().map(Chunk::stored_len));
        self.savings.begin(number, saver, progress);
    }

    /// Saves some nodes; false if none is left.
    pub fn save_on(&mut self, number: u32) -> bool {
        let Chunks { chunks, savings, .. } = self;
        savings.get_mut(number).is_some_and(|saving| saving.save_on(|chunk| &chunks[chunk].nodes))
    }

    pub fn savings(&self) -> &Savings<Progress> {
        &self.savings
    }

    pub fn savings_mut(&mut self) -> &mut Savings<Progress> {
        &mut self.savings
    }

    /// A node is about to change or to leave.
    #[inline]
    fn keep(&mut self, at: Place, fate: Fate) {
        if self.savings.any() {
            self.save_for_all(at, fate);
        }
    }

    #[cold]
    fn save_for_all(&mut self, at: Place, fate: Fate) {
        self.savings.iter_mut().for_each(|saving| saving.keep(at, &self.chunks[at.chunk].nodes, fate));
    }

    fn insert_in(&mut self, at: Place, node: Node) -> Place {
        for saving in self.savings.iter_mut() {
            saving.progress.insert_node(at, &self.chunks[at.chunk].nodes);
        }
        let Sums { count, rdb_len, block_len } = node.sums();
        self.len += count;
        self.rdb_len += rdb_len;
        self.memory += block_memory(block_len);
        self.node_count += 1;
        self.change_chunk(at.chunk, |chunk| {
            chunk.nodes.insert(at.node, node);
            chunk.len += count;
        });
        at
    }

    fn push_chunk(&mut self, end: End) {
        if self.chunks.capacity() == 0 {
            self.chunks.reserve_exact(1);
        }
        match end {
            End::Front => self.chunks.push_front(Chunk::default()),
            End::Back => self.chunks.push_back(Chunk::default()),
        }
        let index = if end == End::Front { 0 } else { self.chunks.len() - 1 };
        self.savings.iter_mut().for_each(|saving| saving.progress.insert_chunk(index));
    }

    /// Moves the second half of a chunk's nodes to a new one behind it.
    fn split(&mut self, chunk: usize) {
        let nodes = &self.chunks[chunk].nodes;
        let half = nodes.len() / 2;
        self.savings.iter_mut().for_each(|saving| saving.progress.split(chunk, half, nodes));
        let moved = self.change_chunk(chunk, |chunk| {
            let nodes = chunk.nodes.split_off(half);
            let len = nodes.iter().map(Node::count).sum();
            chunk.len -= len;
            Chunk { nodes, len }
        });
        self.memory += moved.memory();
        self.chunks.insert(chunk + 1, moved);
    }

    /// Drops a chunk without nodes; joins one of few with a neighbour of few.
    fn join_chunk(&mut self, chunk: usize) {
        let node_count = |index: usize| self.chunks.get(index).map(|chunk: &Chunk| chunk.nodes.len());
        let own = node_count(chunk).expect("a node was removed from it");
        if own == 0 {
            self.take_chunk(chunk);
        } else if node_count(chunk + 1).is_some_and(|next| own + next <= CHUNK_NODES / 2) {
            let (left, right) = (&self.chunks[chunk].nodes, &self.chunks[chunk + 1].nodes);
            self.savings.iter_mut().for_each(|saving| saving.progress.join(chunk, left, right));
            let next = self.take_chunk(chunk + 1);
            self.change_chunk(chunk, |chunk| {
                chunk.nodes.extend(next.nodes);
                chunk.len += next.len;
            });
        }
    }

    fn take_chunk(&mut self, chunk: usize) -> Chunk {
        let taken = self.chunks.remove(chunk).expect("the index is that of a chunk");
        self.memory -= taken.memory();
        self.savings.iter_mut().for_each(|saving| saving.progress.remove_chunk(chunk));
        taken
    }

    /// Counts what a change does to the memory of a chunk itself.
    fn change_chunk<R>(&mut self, chunk: usize, change: impl FnOnce(&mut Chunk) -> R) -> R {
        let chunk = &mut self.chunks[chunk];
        let before = chunk.nodes.capacity();
        let result = change(chunk);
        if before != chunk.nodes.capacity() {
            self.memory = self.memory - chunk_memory(before) + chunk.memory();
        }
        result
    }
}

impl Chunk {
    fn stored_len(&self) -> u64 {
        self.nodes.iter().map(Node::stored_len).sum()
    }

    fn memory(&self) -> usize {
        chunk_memory(self.nodes.capacity())
    }
}

/// The part that the element at `index` of `total` ones is in, and its index there; looked for from the
/// nearer end.
#[inline]
fn find<T>(parts: &VecDeque<T>, total: usize, mut index: usize, len: impl Fn(&T) -> usize) -> (usize, usize) {
    if index < total / 2 {
        for (at, part) in parts.iter().enumerate() {
            if index < len(part) {
                return (at, index);
            }
            index -= len(part);
        }
    } else {
        let mut start = total;
        for (at, part) in parts.iter().enumerate().rev() {
            start -= len(part);
            if index >= start {
                return (at, index - start);
            }
        }
    }
    unreachable!("the total is that of the parts")
}

fn chunk_memory(capacity: usize) -> usize {
    size_class(capacity * size_of::<Node>())
}

/// 1.5 KB of nodes, by default with 30,000 elements of 16 bytes: a list of ten million has 300 chunks to go
/// through, and a chunk is quick to move.
const CHUNK_NODES: usize = 64;
