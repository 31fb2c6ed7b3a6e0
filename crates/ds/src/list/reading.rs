//! A stretch of a list as it was, shown in pieces while the list changes. It shares the list's nodes: who
//! changes one of them meanwhile does so in a copy.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Weak;

use super::node::Node;
use super::{Direction, Element};

/// Needs nothing of the list any more.
#[derive(Default)]
pub struct ListReading {
    nodes: VecDeque<Marked>,
    /// Where in the first node to go on.
    first: usize,
    left: usize,
}

/// A node whose block knows how many readings have it.
struct Marked {
    node: Node,
    _mark: Weak<Box<[u8]>>,
}

/// Nodes looked at to estimate what all of them hold.
const SAMPLES: usize = 128;

impl ListReading {
    pub(super) fn new(nodes: impl Iterator<Item = Node>, first: usize, left: usize) -> ListReading {
        let marked = |node: Node| Marked { _mark: node.mark(), node };
        ListReading { nodes: nodes.map(marked).collect(), first, left }
    }

    /// Bytes that are in memory for readings only, this one's share of them: exactly if the nodes are few,
    /// else about.
    pub fn memory(&self) -> usize {
        let step = self.nodes.len().div_ceil(SAMPLES).max(1);
        let looked_at = self.nodes.iter().skip(step / 2).step_by(step);
        let (count, bytes) = looked_at
            .fold((0, 0), |(count, bytes), marked| (count + 1, bytes + marked.node.memory_for_reading()));
        self.nodes.capacity() * size_of::<Marked>() + bytes * self.nodes.len() / count.max(1)
    }

    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// How many elements are still to be shown.
    pub fn left(&self) -> usize {
        self.left
    }

    /// Shows up to `wanted` elements, of one node only; false if there are no more.
    pub fn next(&mut self, wanted: usize, show: &mut dyn FnMut(Element<'_>)) -> bool {
        let Some(Marked { node, .. }) = self.nodes.front() else { return false };
        let count = (node.count() - self.first).min(self.left).min(wanted);
        let _ = node.view().walk(self.first, count, Direction::Forward, &mut |element| {
            show(element);
            ControlFlow::Continue(())
        });
        self.first += count;
        self.left -= count;
        if self.first == node.count() || self.left == 0 {
            self.nodes.pop_front();
            self.first = 0;
        }
        !self.nodes.is_empty()
    }
}
