//! How far the saving of a list has come. A node is handed over as it was before it changes, to everyone who
//! has not got it. It never looks into a node.
//!
//! What a node's place in the file is follows from the nodes before it at the beginning, so it is noted for a
//! chunk, and for each node of it only once something in the chunk has changed.
//!
//! Parts end where pages of the file end: of the neighbours of a node that changes, as much is handed over as
//! lies in the same pages. A page that is written in two parts has to be read back from the disk between
//! them.

use std::collections::VecDeque;
use std::ops::Range;

use super::SharedNodes;
use super::chunks::Place;
use super::node::Node;
use crate::saving::{Fate, Piece, Saver, Saving};

pub(super) struct Progress {
    /// Of each chunk.
    parts: VecDeque<Part>,
    /// The chunk to go on with; some before it may have come and gone meanwhile.
    next: usize,
}

enum Part {
    /// Nothing in it is saved or has changed. Where its first node stood among the stored bytes of all.
    Whole(u64),
    /// What is left of each node; of one at least something is.
    Nodes(Vec<Left>),
    Saved,
}

/// What of a node is to be saved, by where it stood among the stored bytes of all.
#[derive(Clone)]
struct Left {
    /// Where the node began.
    start: u64,
    /// Empty once the node is saved.
    part: Range<u64>,
}

impl Left {
    /// Of a node that is saved, or came later.
    const NONE: Left = Left { start: 0, part: 0..0 };

    fn is_saved(&self) -> bool {
        self.part.is_empty()
    }

    fn begins_at(&self, at: u64) -> bool {
        !self.is_saved() && self.part.start == at
    }

    fn ends_at(&self, at: u64) -> bool {
        !self.is_saved() && self.part.end == at
    }

    /// Takes out what is saved now: all, its beginning or its end.
    fn take(&mut self, saved: &Range<u64>) {
        if self.part.start < saved.start {
            self.part.end = saved.start;
        } else {
            self.part.start = saved.end.min(self.part.end);
        }
    }
}

impl Progress {
    /// All of these chunks, of so many stored bytes, have to be saved.
    pub fn new(chunk_lens: impl Iterator<Item = u64>) -> Progress {
        let mut end = 0;
        let begin = |len| {
            let start = end;
            end += len;
            Part::Whole(start)
        };
        Progress { parts: chunk_lens.map(begin).collect(), next: 0 }
    }

    /// A chunk comes in; what it is going to hold is not saved.
    pub fn insert_chunk(&mut self, index: usize) {
        self.parts.insert(index, Part::Saved);
    }

    /// A chunk goes that has no nodes any more.
    pub fn remove_chunk(&mut self, index: usize) {
        self.parts.remove(index);
    }

    /// A node is going to be put among these.
    pub fn insert_node(&mut self, place: Place, nodes: &VecDeque<Node>) {
        if let Some(left) = self.open(place.chunk, nodes) {
            left.insert(place.node, Left::NONE);
        }
    }

    /// A node that was saved has been taken out.
    pub fn remove_node(&mut self, place: Place) {
        if let Part::Nodes(left) = &mut self.parts[place.chunk] {
            left.remove(place.node);
        }
    }

    /// The nodes of a chunk from `at` on are going to be moved to a new one behind it.
    pub fn split(&mut self, chunk: usize, at: usize, nodes: &VecDeque<Node>) {
        let moved = self.open(chunk, nodes).map(|left| left.split_off(at));
        self.parts.insert(chunk + 1, moved.map_or(Part::Saved, Part::Nodes));
        self.note_saved(chunk);
        self.note_saved(chunk + 1);
    }

    /// All nodes of the next chunk are going to be moved to this one.
    pub fn join(&mut self, chunk: usize, own: &VecDeque<Node>, next: &VecDeque<Node>) {
        let mut left = self.take_left(chunk, own);
        left.extend(self.take_left(chunk + 1, next));
        self.parts[chunk] = Part::Nodes(left);
        self.note_saved(chunk);
    }

    /// The first chunk that is not saved.
    fn find_next(&self) -> Option<usize> {
        let from = self.next.min(self.parts.len());
        let unsaved = |index: &usize| !matches!(self.parts[*index], Part::Saved);
        (from..self.parts.len()).chain(0..from).find(unsaved)
    }

    /// What is left of the nodes of a chunk, if anything is.
    fn open(&mut self, chunk: usize, nodes: &VecDeque<Node>) -> Option<&mut Vec<Left>> {
        let part = &mut self.parts[chunk];
        if let Part::Whole(start) = *part {
            let mut end = start;
            let begin = |node: &Node| {
                let start = end;
                end += node.stored_len();
                Left { start, part: start..end }
            };
            *part = Part::Nodes(nodes.iter().map(begin).collect());
        }
        match part {
            Part::Nodes(left) => Some(left),
            Part::Whole(_) | Part::Saved => None,
        }
    }

    fn take_left(&mut self, chunk: usize, nodes: &VecDeque<Node>) -> Vec<Left> {
        self.open(chunk, nodes).map_or_else(|| vec![Left::NONE; nodes.len()], std::mem::take)
    }

    /// Forgets the nodes of a chunk when all of them are saved; else it has to be gone on with.
    fn note_saved(&mut self, chunk: usize) -> bool {
        let saved = match &self.parts[chunk] {
            Part::Whole(_) => false,
            Part::Nodes(left) => left.iter().all(Left::is_saved),
            Part::Saved => true,
        };
        if saved {
            self.parts[chunk] = Part::Saved;
        }
        saved
    }

    /// Panics if a chunk or a node is missing.
    pub fn check_invariants<'a>(&self, chunks: impl ExactSizeIterator<Item = &'a VecDeque<Node>>) {
        assert_eq!(self.parts.len(), chunks.len());
        for (part, nodes) in self.parts.iter().zip(chunks) {
            if let Part::Nodes(left) = part {
                assert_eq!(left.len(), nodes.len());
                assert!(left.iter().any(|left| !left.is_saved()));
            }
        }
    }
}

impl Saving<Progress> {
    /// A node is going to be changed or taken out.
    pub fn keep(&mut self, place: Place, nodes: &VecDeque<Node>, fate: Fate) {
        let Saving { saver, progress, .. } = self;
        let Some(left) = progress.open(place.chunk, nodes) else { return };
        // Where one goes, many do: they wait in larger pieces.
        let unit = if fate == Fate::Leaving && saver.lacks_room() { QUANTUM_LEN } else { PAGE_LEN };
        let mut chunk = Chunk { saver: &mut **saver, left, nodes, fate };
        // To note the places of short nodes would take too much beside what they hold.
        if nodes.iter().map(Node::stored_len).sum::<u64>() <= SHORT_CHUNK_LEN {
            chunk.save_runs(u64::MAX);
        } else {
            chunk.save_around(place.node, unit);
        }
        progress.note_saved(place.chunk);
    }

    /// Saves some nodes of the next chunk; false if all are saved. `nodes_of` says which nodes a chunk has.
    pub fn save_on<'a>(&mut self, nodes_of: impl Fn(usize) -> &'a VecDeque<Node>) -> bool {
        let Saving { saver, progress, .. } = self;
        let Some(chunk) = progress.find_next() else { return false };
        let nodes = nodes_of(chunk);
        let left = progress.open(chunk, nodes).expect("the chunk is not saved");
        Chunk { saver: &mut **saver, left, nodes, fate: Fate::Stays }.save_runs(QUANTUM_LEN);
        progress.next = chunk + usize::from(progress.note_saved(chunk));
        true
    }
}

/// A chunk of which something is to be saved.
struct Chunk<'a> {
    saver: &'a mut dyn Saver,
    left: &'a mut [Left],
    nodes: &'a VecDeque<Node>,
    fate: Fate,
}

impl Chunk<'_> {
    /// Saves about that many bytes: those that are neighbours in the file in one piece.
    fn save_runs(&mut self, most: u64) {
        let (mut index, mut len) = (0, 0);
        while len < most && index < self.left.len() {
            let Left { part, .. } = &self.left[index];
            if part.is_empty() {
                index += 1;
                continue;
            }
            let (first, mut bytes) = (index, part.clone());
            index += 1;
            while len + (bytes.end - bytes.start) < most && self.goes_on(index, bytes.end) {
                bytes.end = self.left[index].part.end;
                index += 1;
            }
            len += bytes.end - bytes.start;
            if self.goes_on(index, bytes.end) && page_start(bytes.end) > bytes.start {
                bytes.end = page_start(bytes.end);
            }
            bytes.end = quantum_end(&bytes);
            // Nodes may lie in what is cut off.
            while self.left[index - 1].part.start >= bytes.end {
                index -= 1;
            }
            self.save(first..index, bytes);
        }
    }

    /// Saves what is left of a node, and the units of so many bytes, whole pages, that it begins and ends in.
    fn save_around(&mut self, node: usize, unit: u64) {
        let Left { part, .. } = &self.left[node];
        if part.is_empty() {
            return;
        }
        let pages = part.start - part.start % unit..part.end.next_multiple_of(unit);
        let (mut first, mut end, mut bytes) = (node, node + 1, part.clone());
        while bytes.start > pages.start && first > 0 && self.left[first - 1].ends_at(bytes.start) {
            first -= 1;
            bytes.start = self.left[first].part.start.max(pages.start);
        }
        while bytes.end < pages.end && self.goes_on(end, bytes.end) {
            bytes.end = self.left[end].part.end.min(pages.end);
            end += 1;
        }
        self.save(first..end, bytes);
    }

    /// Whether what is left of a node begins at `end`.
    fn goes_on(&self, index: usize, end: u64) -> bool {
        self.left.get(index).is_some_and(|left| left.begins_at(end))
    }

    /// Saves bytes that lie in these nodes; of a long one in several pieces.
    fn save(&mut self, mut indices: Range<usize>, mut bytes: Range<u64>) {
        while !bytes.is_empty() {
            let end = quantum_end(&bytes);
            let reaches = |left: &Left| left.part.end >= end;
            let last = self.left[indices.clone()].iter().position(reaches);
            let last = indices.start + last.expect("the bytes lie in these nodes");
            self.save_piece(indices.start..last + 1, bytes.start..end);
            indices.start = last + usize::from(self.left[last].is_saved());
            bytes.start = end;
        }
    }

    fn save_piece(&mut self, indices: Range<usize>, bytes: Range<u64>) {
        let skipped = bytes.start - self.left[indices.start].start;
        let part = skipped..skipped + (bytes.end - bytes.start);
        self.left[indices.clone()].iter_mut().for_each(|left| left.take(&bytes));
        let nodes = SharedNodes::new(self.nodes.range(indices).map(Node::share).collect(), part);
        // How much is saved in one go is decided here.
        let _ = self.saver.save(Piece::Nodes { at: bytes.start, nodes, fate: self.fate });
    }
}

/// How far one piece of these bytes reaches: to their end, or to that of a page.
fn quantum_end(bytes: &Range<u64>) -> u64 {
    let len = bytes.end - bytes.start;
    if len <= 2 * QUANTUM_LEN { bytes.end } else { page_start(bytes.start + QUANTUM_LEN) }
}

fn page_start(at: u64) -> u64 {
    at - at % PAGE_LEN
}

/// Bytes of a page of a file; the first node begins with one.
const PAGE_LEN: u64 = 4096;

/// Bytes that are saved in one go, about.
const QUANTUM_LEN: u64 = 64 * 1024;

/// A chunk of so many bytes is saved at once before anything in it changes.
const SHORT_CHUNK_LEN: u64 = 16 * 1024;
