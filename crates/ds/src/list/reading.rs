//! A stretch of a list as it was, shown in pieces while the list changes. It shares the list's nodes: who
//! changes one of them meanwhile does so in a copy.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use super::node::Node;
use super::{Direction, Element};

/// Needs nothing of the list any more.
#[derive(Default)]
pub struct ListReading {
    nodes: VecDeque<Node>,
    /// Where in the first node to go on.
    first: usize,
    left: usize,
}

impl ListReading {
    pub(super) fn new(nodes: VecDeque<Node>, first: usize, left: usize) -> ListReading {
        ListReading { nodes, first, left }
    }

    /// How many elements are still to be shown.
    pub fn left(&self) -> usize {
        self.left
    }

    /// Shows up to `wanted` elements, of one node only; false if there are no more.
    pub fn next(&mut self, wanted: usize, show: &mut dyn FnMut(Element<'_>)) -> bool {
        let Some(node) = self.nodes.front() else { return false };
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
