//! How far the saving of a list has come. A node is handed over as it was before it changes, to everyone who
//! has not got it. It never looks into a node.
//!
//! What a node's place in the file is follows from the nodes before it at the beginning, so it is noted for a
//! chunk, and for each node of it only once something in the chunk has changed.

use std::collections::VecDeque;

use super::SharedNodes;
use super::chunks::Place;
use super::node::Node;
use crate::saving::{Piece, Saver, Saving};

pub(super) struct Progress {
    /// Of each chunk.
    parts: VecDeque<Part>,
    /// The chunk to go on with; some before it may have come and gone meanwhile.
    next: usize,
}

enum Part {
    /// Nothing in it is saved or has changed. Where its first node stood among the stored bytes of all.
    Whole(u64),
    /// Of each node: where it stood, or [`SAVED`]. One at least is to be saved.
    Nodes(Vec<u64>),
    Saved,
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
        if let Some(starts) = self.open(place.chunk, nodes) {
            starts.insert(place.node, SAVED);
        }
    }

    /// A node that was saved has been taken out.
    pub fn remove_node(&mut self, place: Place) {
        if let Part::Nodes(starts) = &mut self.parts[place.chunk] {
            starts.remove(place.node);
        }
    }

    /// The nodes of a chunk from `at` on are going to be moved to a new one behind it.
    pub fn split(&mut self, chunk: usize, at: usize, nodes: &VecDeque<Node>) {
        let moved = self.open(chunk, nodes).map(|starts| starts.split_off(at));
        self.parts.insert(chunk + 1, moved.map_or(Part::Saved, Part::Nodes));
        self.note_saved(chunk);
        self.note_saved(chunk + 1);
    }

    /// All nodes of the next chunk are going to be moved to this one.
    pub fn join(&mut self, chunk: usize, own: &VecDeque<Node>, next: &VecDeque<Node>) {
        let mut starts = self.take_starts(chunk, own);
        starts.extend(self.take_starts(chunk + 1, next));
        self.parts[chunk] = Part::Nodes(starts);
        self.note_saved(chunk);
    }

    /// The first chunk that is not saved.
    fn find_next(&self) -> Option<usize> {
        let from = self.next.min(self.parts.len());
        let unsaved = |index: &usize| !matches!(self.parts[*index], Part::Saved);
        (from..self.parts.len()).chain(0..from).find(unsaved)
    }

    /// Where the nodes of a chunk stood, if any of them is not saved.
    fn open(&mut self, chunk: usize, nodes: &VecDeque<Node>) -> Option<&mut Vec<u64>> {
        let part = &mut self.parts[chunk];
        if let Part::Whole(start) = *part {
            let mut end = start;
            let begin = |node: &Node| {
                let start = end;
                end += node.stored_len();
                start
            };
            *part = Part::Nodes(nodes.iter().map(begin).collect());
        }
        match part {
            Part::Nodes(starts) => Some(starts),
            Part::Whole(_) | Part::Saved => None,
        }
    }

    fn take_starts(&mut self, chunk: usize, nodes: &VecDeque<Node>) -> Vec<u64> {
        self.open(chunk, nodes).map_or_else(|| vec![SAVED; nodes.len()], std::mem::take)
    }

    /// Forgets the nodes of a chunk when all of them are saved; else it has to be gone on with.
    fn note_saved(&mut self, chunk: usize) -> bool {
        let saved = match &self.parts[chunk] {
            Part::Whole(_) => false,
            Part::Nodes(starts) => starts.iter().all(|start| *start == SAVED),
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
            if let Part::Nodes(starts) = part {
                assert_eq!(starts.len(), nodes.len());
                assert!(starts.iter().any(|start| *start != SAVED));
            }
        }
    }
}

impl Saving<Progress> {
    /// A node is going to be changed or taken out.
    pub fn keep(&mut self, place: Place, nodes: &VecDeque<Node>) {
        let Saving { saver, progress, .. } = self;
        let Some(starts) = progress.open(place.chunk, nodes) else { return };
        // To note the places of short nodes would take too much beside what they hold.
        if nodes.iter().map(Node::stored_len).sum::<u64>() <= SHORT_CHUNK_LEN {
            save_runs(&mut **saver, starts, nodes, 0, u64::MAX, Node::set_aside);
        } else {
            save_runs(&mut **saver, starts, nodes, place.node, 0, Node::set_aside);
        }
        progress.note_saved(place.chunk);
    }

    /// Saves some nodes of the next chunk; false if all are saved. `nodes_of` says which nodes a chunk has.
    pub fn save_on<'a>(&mut self, nodes_of: impl Fn(usize) -> &'a VecDeque<Node>) -> bool {
        let Saving { saver, progress, .. } = self;
        let Some(chunk) = progress.find_next() else { return false };
        let nodes = nodes_of(chunk);
        let starts = progress.open(chunk, nodes).expect("the chunk is not saved");
        // Hardly any changes before it is written: they are not copied.
        save_runs(&mut **saver, starts, nodes, 0, QUANTUM_LEN, Node::share);
        progress.next = chunk + usize::from(progress.note_saved(chunk));
        true
    }
}

/// Saves nodes from an index on until that is `most` bytes, but one at least if that one is not saved: those
/// that are neighbours in the file in one piece.
fn save_runs(
    saver: &mut dyn Saver,
    starts: &mut [u64],
    nodes: &VecDeque<Node>,
    from: usize,
    most: u64,
    take: fn(&Node) -> Node,
) {
    let (mut index, mut len) = (from, 0);
    while index < starts.len() && len <= most {
        let at = starts[index];
        let (mut end, mut run) = (at, Vec::new());
        while index < starts.len() && starts[index] != SAVED && starts[index] == end && len <= most {
            let node_len = nodes[index].stored_len();
            run.push(take(&nodes[index]));
            starts[index] = SAVED;
            (index, end, len) = (index + 1, end + node_len, len + node_len);
        }
        if run.is_empty() {
            index += 1;
        } else {
            // How much is saved in one go is decided here.
            let _ = saver.save(Piece::Nodes { at, nodes: SharedNodes::new(run) });
        }
    }
}

/// In place of a node's beginning: it is saved, or came later.
const SAVED: u64 = u64::MAX;

/// Bytes that are saved in one go, about.
const QUANTUM_LEN: u64 = 64 * 1024;

/// A chunk of so many bytes is saved at once before anything in it changes.
const SHORT_CHUNK_LEN: u64 = 16 * 1024;
