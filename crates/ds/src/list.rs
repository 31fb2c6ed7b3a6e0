//! The list value: one listpack while it is small, a sequence of nodes when it is not.
//!
//! A node is a listpack with room to grow at both ends, so that a push or a pop moves a few bytes only. An
//! element too long for a node is one by itself. Inner nodes can be kept compressed. It does not decide when
//! a small list gets nodes or is packed again; it says which of the two Redis' limits ask for.

mod chunks;
mod node;
pub mod packed;
mod reading;
mod roomy;
mod saving;

use std::ops::{ControlFlow, Range};

use base::defrag::Mover;

use self::chunks::{Chunks, Place};
pub use self::node::NodeRef;
use self::node::{Node, PACK_LEN_MAX};
pub use self::reading::ListReading;
use crate::listpack::{self, Element, Listpack, Needle};
use crate::moving::{Movable, MovePosition};
use crate::saving::{Ended, Savable, Saver};

/// A list in either form.
#[derive(Clone, Copy)]
pub enum ListRef<'a> {
    Packed(Listpack<'a>),
    Nodes(&'a PackedList),
}

/// An end of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    Front,
    Back,
}

/// Which way to go through a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    Forward,
    Backward,
}

impl<'a> ListRef<'a> {
    pub fn len(self) -> usize {
        match self {
            ListRef::Packed(pack) => pack.len(),
            ListRef::Nodes(list) => list.len(),
        }
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Shows the element at `index`, if there is one.
    pub fn get<R>(self, index: usize, show: impl FnOnce(Element<'_>) -> R) -> Option<R> {
        let (mut show, mut shown) = (Some(show), None);
        let _ = self.walk(index, 1, Direction::Forward, &mut |element| {
            shown = show.take().map(|show| show(element));
            ControlFlow::Continue(())
        });
        shown
    }

    /// Visits up to `count` elements, the one at `index` first, until `visit` breaks off.
    #[inline]
    pub fn walk(
        self,
        index: usize,
        count: usize,
        direction: Direction,
        visit: &mut impl FnMut(Element<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self {
            ListRef::Packed(pack) if index < pack.len() => packed::walk(pack, index, count, direction, visit),
            ListRef::Packed(_) => ControlFlow::Continue(()),
            ListRef::Nodes(list) => list.walk(index, count, direction, visit),
        }
    }

    /// Visits every element, the first one first.
    pub fn for_each(self, mut visit: impl FnMut(Element<'_>)) {
        let _ = self.walk(0, usize::MAX, Direction::Forward, &mut |element| {
            visit(element);
            ControlFlow::Continue(())
        });
    }

    /// The index of the first element that matches.
    pub fn find(self, needle: &Needle<'_>) -> Option<usize> {
        let mut index = 0;
        let found = self.walk(0, usize::MAX, Direction::Forward, &mut |element| {
            if needle.matches(element) {
                return ControlFlow::Break(());
            }
            index += 1;
            ControlFlow::Continue(())
        });
        found.is_break().then_some(index)
    }
}

/// How long nodes become, and which ones are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    node_len: u32,
    node_count: u16,
    compress_depth: u16,
    plain_from: u32,
}

impl Limits {
    /// `max_listpack_size` is Redis' directive: above 0 it is the number of a node's elements, below 0 it
    /// chooses a length. Nodes less than `compress_depth` from either end are not compressed; 0: none is.
    pub fn new(max_listpack_size: i64, compress_depth: usize) -> Limits {
        let (node_len, node_count) = match max_listpack_size {
            ..0 => {
                let choice = max_listpack_size.unsigned_abs().min(NODE_LENS.len() as u64) - 1;
                (NODE_LENS[choice as usize], u16::MAX)
            }
            count => (NODE_LEN_BY_COUNT, count.clamp(1, NODE_COUNT_MAX) as u16),
        };
        let compress_depth = u16::try_from(compress_depth).unwrap_or(u16::MAX);
        Limits { node_len, node_count, compress_depth, plain_from: u32::MAX }
    }

    /// Elements of this length and more get a node each, however long nodes become.
    pub fn with_plain_from(self, len: usize) -> Limits {
        Limits { plain_from: u32::try_from(len).unwrap_or(u32::MAX), ..self }
    }

    /// A listpack of so many bytes and elements is beyond the limits.
    pub fn are_exceeded_by(self, len: usize, count: usize) -> bool {
        len > self.node_len as usize || count > usize::from(self.node_count)
    }

    /// Half of what is limited.
    fn half(self) -> Limits {
        match self.node_count {
            u16::MAX => Limits { node_len: self.node_len / 2, ..self },
            node_count => Limits { node_count: node_count / 2, ..self },
        }
    }

    /// Bytes that an element takes at most in a node with others; None if it gets one of its own.
    #[inline]
    fn element_len(self, content: &[u8]) -> Option<usize> {
        let len = listpack::bytes_needed_at_most(content.len());
        let plain = content.len() >= self.plain_from as usize || len + FRAME_LEN > self.node_len as usize;
        (!plain).then_some(len)
    }
}

impl Default for Limits {
    /// Redis' defaults.
    fn default() -> Self {
        Limits::new(-2, 0)
    }
}

/// A list of any length.
#[derive(Default)]
pub struct PackedList {
    nodes: Chunks,
    limits: Limits,
}

impl PackedList {
    pub fn new(limits: Limits) -> Self {
        PackedList { nodes: Chunks::default(), limits }
    }

    /// The elements of a listpack.
    pub fn from_packed(pack: Listpack<'_>, limits: Limits) -> Self {
        let mut list = PackedList::new(limits);
        list.append_pack(pack.bytes().to_vec());
        list
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes on the heap, as the allocator counts them.
    pub fn memory(&self) -> usize {
        self.nodes.memory()
    }

    /// Bytes of all elements in RDB form, each behind its length, neither compressed nor turned into a
    /// number.
    pub fn rdb_len(&self) -> u64 {
        self.nodes.rdb_len()
    }

    /// Bytes of all nodes in an RDB file, each as it is: see [`NodeRef::stored_len`]. Looks at all of them.
    pub fn stored_len(&self) -> u64 {
        self.nodes.stored_len()
    }

    /// How many allocations dropping it frees.
    pub fn free_effort(&self) -> usize {
        self.nodes.node_count() + self.nodes.chunk_count()
    }

    pub fn node_count(&self) -> usize {
        self.nodes.node_count()
    }

    pub fn nodes(&self) -> impl Iterator<Item = NodeRef<'_>> {
        self.nodes.nodes().map(Node::view)
    }

    /// The one node's listpack, if the limits allow the list to be a listpack again.
    pub fn as_packed(&self, shrinking: Shrinking) -> Option<Listpack<'_>> {
        let limits = if shrinking == Shrinking::Yes { self.limits.half() } else { self.limits };
        let only = self.nodes.end(End::Front).filter(|_| self.nodes.node_count() == 1)?;
        match self.nodes.node(only).view() {
            NodeRef::Packed(pack) if !limits.are_exceeded_by(pack.bytes().len(), pack.len()) => Some(pack),
            _ => None,
        }
    }

    /// Up to `count` elements from `index` on, as they are now, to be shown in pieces.
    pub fn read(&self, index: usize, count: usize) -> ListReading {
        let count = count.min(self.len().saturating_sub(index));
        let Some((mut at, first)) = self.nodes.locate(index).filter(|_| count > 0) else {
            return ListReading::default();
        };
        let mut nodes = Vec::new();
        let mut ahead = first + count;
        loop {
            let node = self.nodes.node(at);
            nodes.push(node.share());
            ahead = ahead.saturating_sub(node.count());
            match self.nodes.next(at) {
                Some(next) if ahead > 0 => at = next,
                _ => return ListReading::new(nodes.into_iter(), first, count),
            }
        }
    }

    pub fn duplicate(&self) -> Self {
        PackedList { nodes: self.nodes.duplicate(), limits: self.limits }
    }

    pub fn push(&mut self, end: End, content: &[u8]) {
        match (self.limits.element_len(content), self.nodes.end(end)) {
            (Some(len), Some(at)) if self.has_room(at, len) => {
                self.edit(at, |node| node.push(end, content));
            }
            (Some(_), _) => self.push_node(end, Node::packed(content)),
            (None, _) => self.push_node(end, Node::plain(content.into())),
        }
    }

    /// Appends a listpack's elements, keeping it as a node if it is short enough.
    pub fn append_pack(&mut self, pack: Vec<u8>) {
        let elements = Listpack::trusted(&pack);
        if pack.len() > PACK_LEN_MAX {
            let mut content = Vec::new();
            for element in elements {
                content.clear();
                element.write_to(&mut content);
                self.push(End::Back, &content);
            }
        } else if !elements.is_empty() {
            self.push_node(End::Back, Node::from_pack(pack));
        }
    }

    /// Appends an element; a long one keeps its block.
    pub fn append_element(&mut self, content: Vec<u8>) {
        match self.limits.element_len(&content) {
            None => self.push_node(End::Back, Node::plain(content.into_boxed_slice())),
            Some(_) => self.push(End::Back, &content),
        }
    }

    /// Shows the element at that end and removes it, if there is one.
    pub fn pop<R>(&mut self, end: End, show: impl FnOnce(Element<'_>) -> R) -> Option<R> {
        let index = if end == End::Front { 0 } else { self.len().checked_sub(1)? };
        let shown = ListRef::Nodes(self).get(index, show)?;
        self.remove(index, 1);
        Some(shown)
    }

    /// Inserts before the element at `index`, or behind the last one.
    pub fn insert(&mut self, index: usize, content: &[u8]) {
        match self.nodes.locate(index) {
            None => self.push(End::Back, content),
            Some(_) if index == 0 => self.push(End::Front, content),
            Some((at, offset)) => self.insert_at(at, offset, content),
        }
    }

    /// Replaces the element at `index`, which is there.
    pub fn replace(&mut self, index: usize, content: &[u8]) {
        let (at, offset) = self.nodes.locate(index).expect("the index is that of an element");
        let fits = match (self.limits.element_len(content), self.nodes.node(at).pack_len()) {
            (Some(len), Some(pack_len)) => pack_len + len <= self.limits.node_len as usize,
            _ => false,
        };
        if fits {
            self.edit(at, |node| node.replace(offset, content));
        } else {
            self.remove(index, 1);
            self.insert(index, content);
        }
    }

    /// Removes up to `count` elements from `index` on.
    pub fn remove(&mut self, index: usize, count: usize) {
        let node_count = self.nodes.node_count();
        let mut left = count.min(self.len().saturating_sub(index));
        let in_middle = index > 0 && index + left < self.len();
        while left > 0 {
            let (at, offset) = self.nodes.locate(index).expect("elements are left to remove");
            let in_node = self.nodes.node(at).count();
            let taken = left.min(in_node - offset);
            if taken == in_node {
                self.nodes.remove(at);
            } else {
                self.edit(at, |node| node.remove(offset, taken));
            }
            left -= taken;
        }
        if in_middle {
            self.join_at(index);
        } else if node_count != self.nodes.node_count() {
            self.settle_ends();
        }
    }

    /// Removes up to `max` elements that match, the first or the last ones, and returns how many.
    pub fn remove_matching(&mut self, needle: &Needle<'_>, max: usize, direction: Direction) -> usize {
        let mut removed = 0;
        // What still has to be looked at: elements from `from` on, or those before `to`.
        let (mut from, mut to) = (0, self.len());
        while from < to && removed < max {
            let index = if direction == Direction::Forward { from } else { to - 1 };
            let (at, offset) = self.nodes.locate(index).expect("elements are left to look at");
            let start = index - offset;
            let in_node = self.nodes.node(at).count();
            let found = self.nodes.node(at).count_matching(needle, max - removed);
            if found == in_node {
                self.nodes.remove(at);
            } else if found > 0 {
                self.edit(at, |node| node.remove_matching(needle, found, direction));
            }
            removed += found;
            let end = start + in_node - found;
            (from, to) = match direction {
                Direction::Forward => (end, to - found),
                Direction::Backward => (0, start),
            };
            if found > 0 {
                self.join_at(if direction == Direction::Forward { start } else { end });
            }
        }
        removed
    }

    /// Panics if a count or a sum is wrong, or a node is compressed that should not be.
    pub fn check_invariants(&self) {
        self.nodes.check_invariants();
        let depth = usize::from(self.limits.compress_depth);
        let count = self.nodes.node_count();
        for (index, node) in self.nodes.nodes().enumerate() {
            let inner = depth > 0 && index >= depth && index < count - depth.min(count);
            assert!(inner || !node.is_compressed(), "node {index} of {count} is compressed");
        }
    }

    /// Visits up to `count` elements, the one at `index` first, until `visit` breaks off.
    #[inline]
    fn walk(
        &self,
        index: usize,
        count: usize,
        direction: Direction,
        visit: &mut impl FnMut(Element<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let (mut left, mut next) = (count, self.nodes.locate(index));
        while let Some((at, offset)) = next.filter(|_| left > 0) {
            let node = self.nodes.node(at);
            node.view().walk(offset, left, direction, visit)?;
            match direction {
                Direction::Forward => {
                    left -= left.min(node.count() - offset);
                    next = self.nodes.next(at).map(|at| (at, 0));
                }
                Direction::Backward => {
                    left -= left.min(offset + 1);
                    next = self.nodes.previous(at).map(|at| (at, self.nodes.node(at).count() - 1));
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Changes a node, which is compressed afterwards if it was before.
    #[inline]
    fn edit<R>(&mut self, at: Place, change: impl FnOnce(&mut Node) -> R) -> R {
        self.nodes.edit(at, |node| {
            if !node.is_compressed() {
                return change(node);
            }
            node.decompress();
            let result = change(node);
            node.compress();
            result
        })
    }

    #[inline]
    fn has_room(&self, at: Place, element_len: usize) -> bool {
        let node = self.nodes.node(at);
        let exceeds = |len| self.limits.are_exceeded_by(len + element_len, node.count() + 1);
        node.pack_len().is_some_and(|len| !exceeds(len))
    }

    fn push_node(&mut self, end: End, node: Node) {
        if let Some(last) = self.nodes.end(end) {
            self.nodes.edit(last, Node::trim);
        }
        self.nodes.push(end, node);
        self.settle_end(end);
    }

    fn insert_at(&mut self, at: Place, offset: usize, content: &[u8]) {
        let Some(len) = self.limits.element_len(content) else {
            return self.insert_node(at, offset, Node::plain(content.into()));
        };
        if self.has_room(at, len) {
            return self.edit(at, |node| node.insert(offset, content));
        }
        match self.nodes.previous(at).filter(|&before| offset == 0 && self.has_room(before, len)) {
            Some(before) => self.edit(before, |node| node.push(End::Back, content)),
            None => self.insert_node(at, offset, Node::packed(content)),
        }
    }

    /// Puts a node before the element at `offset` of the node at `at`, which is split for it.
    fn insert_node(&mut self, mut at: Place, offset: usize, node: Node) {
        if offset > 0 {
            let behind = self.edit(at, |node| node.split_off(offset));
            at = self.nodes.insert_after(at, behind);
        }
        let at = self.nodes.insert(at, node);
        self.join_around(at);
    }

    /// Joins the node of the element at `index` with its neighbours, if that is possible.
    fn join_at(&mut self, index: usize) {
        match self.nodes.locate(index) {
            Some((at, _)) => self.join_around(at),
            None => self.settle_ends(),
        }
    }

    fn join_around(&mut self, at: Place) {
        let at = self.join(at);
        let at = self.nodes.previous(at).map_or(at, |before| self.join(before));
        self.settle(at);
    }

    /// Joins a node with the next one if both fit into one. Returns where it is.
    fn join(&mut self, at: Place) -> Place {
        let Some(next) = self.nodes.next(at).filter(|&next| self.can_join(at, next)) else { return at };
        let mut taken = self.nodes.remove(next);
        taken.decompress();
        self.edit(at, |node| node.append(&taken));
        at
    }

    fn can_join(&self, left: Place, right: Place) -> bool {
        let (left, right) = (self.nodes.node(left), self.nodes.node(right));
        match (left.pack_len(), right.pack_len()) {
            (Some(a), Some(b)) => {
                !self.limits.are_exceeded_by(a + b - FRAME_LEN, left.count() + right.count())
            }
            _ => false,
        }
    }

    /// Compresses nodes around `at` that are inner ones, and opens nodes at the ends.
    fn settle(&mut self, at: Place) {
        if self.limits.compress_depth == 0 {
            return;
        }
        self.settle_ends();
        let before = self.nodes.previous(at);
        let after = self.nodes.next(at);
        for at in [before, Some(at), after].into_iter().flatten() {
            if self.is_inner(at) {
                self.nodes.edit(at, Node::compress);
            }
        }
    }

    fn settle_ends(&mut self) {
        self.settle_end(End::Front);
        self.settle_end(End::Back);
    }

    /// Opens the nodes near an end and compresses the first of the inner ones.
    fn settle_end(&mut self, end: End) {
        let depth = usize::from(self.limits.compress_depth);
        if depth == 0 {
            return;
        }
        let mut at = self.nodes.end(end);
        for _ in 0..depth {
            let Some(here) = at else { return };
            if self.nodes.node(here).is_compressed() {
                self.nodes.edit(here, Node::decompress);
            }
            at = self.step_in(here, end);
        }
        if let Some(at) = at.filter(|&at| self.is_inner(at)) {
            self.nodes.edit(at, Node::compress);
        }
    }

    /// The node is at least `compress_depth` nodes from both ends.
    fn is_inner(&self, at: Place) -> bool {
        let far_from = |end: End| {
            let mut here = self.nodes.end(end);
            (0..self.limits.compress_depth).all(|_| {
                let found = here.is_some_and(|here| here != at);
                here = here.and_then(|here| self.step_in(here, end));
                found
            })
        };
        far_from(End::Front) && far_from(End::Back)
    }

    /// The next node seen from that end.
    fn step_in(&self, at: Place, end: End) -> Option<Place> {
        match end {
            End::Front => self.nodes.next(at),
            End::Back => self.nodes.previous(at),
        }
    }
}

/// Nodes of a list as they were, in order. Some may be the list's own for as long as it does not change them.
pub struct SharedNodes {
    nodes: Vec<Node>,
    part: Range<u64>,
}

impl SharedNodes {
    /// All that lies in `part` of the stored bytes of these nodes: something of each.
    fn new(nodes: Vec<Node>, part: Range<u64>) -> SharedNodes {
        SharedNodes { nodes, part }
    }

    /// Each node, and which of the bytes belong here that it is stored in.
    pub fn parts(&self) -> impl Iterator<Item = (NodeRef<'_>, Range<u64>)> {
        let mut start = 0;
        self.nodes.iter().map(move |node| {
            let (own, len) = (start, node.stored_len());
            start += len;
            let from = self.part.start.saturating_sub(own);
            (node.view(), from..(self.part.end - own).min(len))
        })
    }

    /// Bytes of them in an RDB file.
    pub fn stored_len(&self) -> u64 {
        self.part.end - self.part.start
    }

    /// Whether nothing in it is long.
    pub fn is_short(&self) -> bool {
        self.nodes.iter().all(|node| node.stored_len() <= 2 * PACK_LEN_MAX as u64)
    }
}

impl Movable for PackedList {
    fn move_on(&mut self, position: &mut MovePosition, mover: &mut Mover) -> bool {
        self.nodes.move_on(position, mover)
    }
}

impl Savable for PackedList {
    fn begin_saving(&mut self, number: u32, saver: Box<dyn Saver>) {
        self.nodes.begin_saving(number, saver);
    }

    fn save_on(&mut self, number: u32) -> bool {
        self.nodes.save_on(number)
    }

    /// Of a node: with its neighbours in a page of the file, or those in a chunk of short ones.
    fn part_len(&self) -> u64 {
        self.rdb_len() / self.node_count().max(1) as u64 + AROUND_NODE_LEN
    }

    fn end_saving(&mut self, number: u32) -> Option<Ended> {
        self.nodes.savings_mut().end(number).map(Ended::alone)
    }

    fn saver(&self, number: u32) -> Option<&dyn Saver> {
        self.nodes.savings().saver(number)
    }

    fn each_saver(&mut self, visit: &mut dyn FnMut(&mut dyn Saver)) {
        self.nodes.savings_mut().each_saver(visit);
    }
}

/// Whether a list has just lost elements: it is packed again at half the limits only, so that it does not
/// change its form with every push and pop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shrinking {
    Yes,
    No,
}

/// What is saved beside a node that changes.
const AROUND_NODE_LEN: u64 = 8 * 1024;

/// What `list-max-listpack-size` from -1 to -5 stands for.
const NODE_LENS: [u32; 5] = [4 * 1024, 8 * 1024, 16 * 1024, 32 * 1024, 64 * 1024];

/// Redis' bound for nodes whose elements are counted.
const NODE_LEN_BY_COUNT: u32 = 8 * 1024;
const NODE_COUNT_MAX: i64 = 32_767;

/// Bytes of a listpack without elements.
const FRAME_LEN: usize = 7;
