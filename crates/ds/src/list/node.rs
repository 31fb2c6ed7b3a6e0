//! One node of a list: a listpack with spare room on both sides, one long element, or a compressed listpack.
//!
//! Its count and its size in RDB form are always right. It decides neither how long a node may become nor
//! which ones are compressed.

use std::ops::ControlFlow;
use std::sync::{Arc, Weak};

use base::{alloc::size_class, defrag::Mover, lzf};

use super::roomy::{BLOCK_LEN_MIN, Roomy};
use super::{Direction, End, packed};
use crate::hash::rdb_len;
use crate::listpack::{self, Element, Listpack, Needle};

/// A node's content, as a reader of the list or an RDB file wants it.
#[derive(Clone, Copy)]
pub enum NodeRef<'a> {
    Packed(Listpack<'a>),
    Plain(&'a [u8]),
    /// A listpack of `len` bytes in LZF's format.
    Compressed {
        lzf: &'a [u8],
        len: usize,
    },
}

impl<'a> NodeRef<'a> {
    /// Bytes of its listpack or its one element, uncompressed.
    pub fn content_len(self) -> usize {
        match self {
            NodeRef::Packed(pack) => pack.bytes().len(),
            NodeRef::Plain(element) => element.len(),
            NodeRef::Compressed { len, .. } => len,
        }
    }

    /// Bytes of it in an RDB file as it is: what it is, its length or lengths, its content.
    pub fn stored_len(self) -> u64 {
        match self {
            NodeRef::Packed(pack) => stored_len(pack.bytes().len()),
            NodeRef::Plain(element) => stored_len(element.len()),
            NodeRef::Compressed { lzf, len } => stored_compressed_len(lzf.len(), len),
        }
    }

    /// Visits up to `count` elements, the one at `index` first, until `visit` breaks off.
    #[inline]
    pub(super) fn walk(
        self,
        index: usize,
        count: usize,
        direction: Direction,
        visit: &mut impl FnMut(Element<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self {
            NodeRef::Packed(pack) => packed::walk(pack, index, count, direction, visit),
            NodeRef::Plain(_) if count == 0 => ControlFlow::Continue(()),
            NodeRef::Plain(element) => visit(Element::Bytes(element)),
            NodeRef::Compressed { lzf, len } => {
                let opened = open(lzf, len);
                packed::walk(Listpack::trusted(&opened), index, count, direction, visit)
            }
        }
    }
}

/// One byte says what the node is, its content follows as a plain string.
fn stored_len(content_len: usize) -> u64 {
    1 + rdb_len(content_len)
}

/// The content is a compressed string: a mark, and both lengths.
fn stored_compressed_len(lzf_len: usize, len: usize) -> u64 {
    1 + 1 + rdb_len(lzf_len) + rdb_len(len) - len as u64
}

/// What a node adds to the sums over a list.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Sums {
    pub count: usize,
    pub rdb_len: u64,
    /// Bytes of the node's block that can be used.
    pub block_len: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Packed,
    Plain,
    Compressed,
}

/// 24 bytes, as a list may have a node for each of its elements.
pub(super) struct Node {
    /// Packed: the listpack with spare room around it. Else the element or the compressed bytes, exactly. A
    /// reading of the list may hold it too: then the first change is made to a copy.
    block: Arc<Box<[u8]>>,
    /// Where the listpack begins in the block, or how many compressed bytes there are.
    start: u32,
    /// Bytes of the listpack, of what the compressed bytes stand for, or of the one element if they are fewer
    /// than the greatest number.
    len: u32,
    /// Of all elements of a listpack, see `rdb_len`.
    rdb_len: u32,
    count: u16,
    form: Form,
}

impl Node {
    /// A listpack of one element.
    pub fn packed(content: &[u8]) -> Node {
        let mut pack = Vec::with_capacity(size_class(BLOCK_LEN_MIN.max(content.len() + ELEMENT_OVERHEAD)));
        pack.extend_from_slice(&Listpack::new_empty());
        listpack::push_back(&mut pack, content);
        Node::of_pack(pack, 1, rdb_len(content.len()) as u32)
    }

    /// One element on its own.
    pub fn plain(content: Box<[u8]>) -> Node {
        let len = u32::try_from(content.len()).unwrap_or(u32::MAX);
        Node { block: Arc::new(content), start: 0, len, rdb_len: 0, count: 1, form: Form::Plain }
    }

    /// The elements of a listpack of at most [`PACK_LEN_MAX`] bytes, which is not empty.
    pub fn from_pack(pack: Vec<u8>) -> Node {
        let (mut count, mut len) = (0, 0);
        for element in Listpack::trusted(&pack) {
            count += 1;
            len += rdb_len(element.len());
        }
        Node::of_pack(pack, count, len as u32)
    }

    fn of_pack(mut pack: Vec<u8>, count: usize, rdb_len: u32) -> Node {
        assert!(pack.len() <= PACK_LEN_MAX && count > 0, "a node's listpack is short and not empty");
        let len = pack.len() as u32;
        pack.resize(pack.capacity().min(size_class(pack.len()).max(BLOCK_LEN_MIN)), 0);
        let block = Arc::new(pack.into_boxed_slice());
        Node { block, start: 0, len, rdb_len, count: count as u16, form: Form::Packed }
    }

    /// The same node, with the same block for as long as neither changes it.
    pub fn share(&self) -> Node {
        Node { block: Arc::clone(&self.block), ..*self }
    }

    /// A mark that a reading has the block, for as long as the mark is there.
    pub fn mark(&self) -> Weak<Box<[u8]>> {
        Arc::downgrade(&self.block)
    }

    /// Bytes of the block that each of its readings has to itself: none while somebody else has it too.
    pub fn memory_for_reading(&self) -> usize {
        let (holders, readings) = (Arc::strong_count(&self.block), Arc::weak_count(&self.block));
        if holders > readings { 0 } else { block_memory(self.block.len()) / readings }
    }

    /// The same node with a block of its own.
    pub fn duplicate(&self) -> Node {
        Node { block: Arc::new(self.block.as_ref().clone()), ..*self }
    }

    #[inline]
    pub fn count(&self) -> usize {
        usize::from(self.count)
    }

    /// Bytes of the listpack; None if the node is one long element.
    #[inline]
    pub fn pack_len(&self) -> Option<usize> {
        (self.form != Form::Plain).then_some(self.len as usize)
    }

    #[inline]
    pub fn is_compressed(&self) -> bool {
        self.form == Form::Compressed
    }

    #[inline]
    pub fn sums(&self) -> Sums {
        let rdb_len = match self.form {
            Form::Plain => rdb_len(self.block.len()),
            _ => u64::from(self.rdb_len),
        };
        Sums { count: self.count(), rdb_len, block_len: self.block.len() }
    }

    /// As `NodeRef::stored_len`, without a look into the block.
    pub fn stored_len(&self) -> u64 {
        let (start, len) = (self.start as usize, self.len as usize);
        match self.form {
            Form::Packed => stored_len(len),
            Form::Plain if self.len == u32::MAX => stored_len(self.block.len()),
            Form::Plain => stored_len(len),
            Form::Compressed => stored_compressed_len(start, len),
        }
    }

    #[inline]
    pub fn view(&self) -> NodeRef<'_> {
        match self.form {
            Form::Packed => NodeRef::Packed(Listpack::trusted(self.bytes())),
            Form::Plain => NodeRef::Plain(&self.block),
            Form::Compressed => NodeRef::Compressed { lzf: &self.block, len: self.len as usize },
        }
    }

    pub fn push(&mut self, end: End, content: &[u8]) {
        packed::push(&mut self.edit(), end, content);
        self.note_added(content);
    }

    pub fn insert(&mut self, index: usize, content: &[u8]) {
        packed::insert(&mut self.edit(), index, content);
        self.note_added(content);
    }

    /// Replaces an element of a listpack.
    pub fn replace(&mut self, index: usize, content: &[u8]) {
        self.rdb_len -= self.rdb_len_of(index, 1);
        self.rdb_len += rdb_len(content.len()) as u32;
        packed::replace(&mut self.edit(), index, content);
    }

    /// Removes some elements of a listpack, not all.
    pub fn remove(&mut self, index: usize, count: usize) {
        debug_assert!(index + count <= self.count() && count < self.count(), "a node is never empty");
        self.rdb_len -= self.rdb_len_of(index, count);
        self.count -= count as u16;
        packed::remove(&mut self.edit(), index, count);
        self.give_back();
    }

    /// How many elements match, up to `max`.
    pub fn count_matching(&self, needle: &Needle<'_>, max: usize) -> usize {
        let mut count = 0;
        let _ = self.view().walk(0, self.count(), Direction::Forward, &mut |element| {
            count += usize::from(needle.matches(element));
            if count < max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        count
    }

    /// Removes `count` of the elements that match, of which there are as many, but not all elements.
    pub fn remove_matching(&mut self, needle: &Needle<'_>, count: usize, direction: Direction) {
        debug_assert!(count < self.count(), "a node is never empty");
        let removed = packed::remove_matching(&mut self.edit(), needle, count, direction);
        debug_assert_eq!(removed, count, "the caller has counted them");
        self.rdb_len -= (rdb_len(needle.bytes().len()) * removed as u64) as u32;
        self.count -= removed as u16;
        self.give_back();
    }

    /// Takes the elements of a listpack from `index` on out: some, not all.
    pub fn split_off(&mut self, index: usize) -> Node {
        debug_assert!((1..self.count()).contains(&index), "both parts have elements");
        let at = packed::position(Listpack::trusted(self.bytes()), index);
        let taken = Node::from_pack(listpack::split_off(&mut self.edit(), at));
        self.count -= taken.count;
        self.rdb_len -= taken.rdb_len;
        self.give_back();
        taken
    }

    /// Appends all elements of another listpack.
    pub fn append(&mut self, other: &Node) {
        listpack::append(&mut self.edit(), Listpack::trusted(other.bytes()));
        self.count += other.count;
        self.rdb_len += other.rdb_len;
    }

    /// Compresses a listpack, if that saves enough.
    pub fn compress(&mut self) {
        if self.form != Form::Packed || self.bytes().len() < COMPRESSED_FROM {
            return;
        }
        let mut out = Vec::new();
        if lzf::compress(self.bytes(), &mut out) && out.len() + COMPRESSION_SAVES <= self.bytes().len() {
            self.start = out.len() as u32;
            self.block = Arc::new(out.into_boxed_slice());
            self.form = Form::Compressed;
        }
    }

    pub fn decompress(&mut self) {
        if self.form == Form::Compressed {
            self.block = Arc::new(open(&self.block, self.len as usize).into_boxed_slice());
            self.start = 0;
            self.form = Form::Packed;
        }
    }

    /// Gives back spare room: the node is not going to grow soon.
    pub fn trim(&mut self) {
        let tight = size_class(self.len as usize);
        if self.form == Form::Packed && tight < self.block.len() {
            self.edit().reallocate(tight, 0);
        }
    }

    /// Moves the block if it has to be, and if no reading holds it.
    pub fn move_block(&mut self, mover: &mut Mover) {
        if let Some(bytes) = Arc::get_mut(&mut self.block) {
            mover.bytes(bytes);
            mover.shared(&mut self.block);
        }
    }

    /// Panics if a count is wrong.
    pub fn check_invariants(&self) {
        assert_eq!(self.stored_len(), self.view().stored_len());
        let counted = match self.view() {
            NodeRef::Plain(_) => return assert_eq!(self.count, 1),
            NodeRef::Packed(pack) => Node::from_pack(pack.bytes().to_vec()),
            NodeRef::Compressed { lzf, len } => Node::from_pack(open(lzf, len)),
        };
        assert!(Listpack::validate(counted.bytes(), true).is_ok());
        let facts = |node: &Node| (node.count, node.rdb_len, node.len);
        assert_eq!(facts(self), facts(&counted));
    }

    fn note_added(&mut self, content: &[u8]) {
        self.rdb_len += rdb_len(content.len()) as u32;
        self.count += 1;
    }

    fn rdb_len_of(&self, index: usize, count: usize) -> u32 {
        let mut len = 0;
        let _ = self.view().walk(index, count, Direction::Forward, &mut |element| {
            len += rdb_len(element.len());
            ControlFlow::Continue(())
        });
        len as u32
    }

    /// The listpack, for changes: in a copy of the block if a reading holds it too.
    #[inline]
    fn edit(&mut self) -> Roomy<'_> {
        debug_assert_eq!(self.form, Form::Packed, "a node is opened before it is edited");
        Roomy::new(Arc::make_mut(&mut self.block), &mut self.start, &mut self.len)
    }

    /// Bytes of a listpack.
    fn bytes(&self) -> &[u8] {
        debug_assert_eq!(self.form, Form::Packed, "others are not open");
        &self.block[self.start as usize..][..self.len as usize]
    }

    /// Shrinks a block that is three quarters empty.
    fn give_back(&mut self) {
        if self.block.len() > BLOCK_LEN_MIN * 2 && self.len as usize * 4 <= self.block.len() {
            let len = self.len as usize;
            let wanted = size_class(BLOCK_LEN_MIN.max(len * 2));
            self.edit().reallocate(wanted, (wanted - len) / 2);
        }
    }
}

fn open(lzf: &[u8], len: usize) -> Vec<u8> {
    lzf::decompress(lzf, len).expect("`compress` made these bytes of so many")
}

/// Bytes of a listpack in a node: the largest that `list-max-listpack-size` allows, which keeps the element
/// count in 16 bits.
pub(super) const PACK_LEN_MAX: usize = 64 * 1024;

/// A listpack's frame, an element's lengths.
const ELEMENT_OVERHEAD: usize = 17;

/// Redis' bounds: shorter listpacks are not compressed, nor such as would not become shorter by this.
const COMPRESSED_FROM: usize = 48;
const COMPRESSION_SAVES: usize = 8;

/// What the allocator sets aside for a node's block: the block, and what counts who holds it.
#[inline]
pub(super) fn block_memory(block_len: usize) -> usize {
    size_class(block_len) + SHARED_HEAD_LEN
}

/// Two counts, and where the block is.
const SHARED_HEAD_LEN: usize = 32;

const _: () = assert!(size_of::<Node>() == 24);
