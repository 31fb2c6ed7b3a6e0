//! One member of a large sorted set with its score: a single heap block behind a thin pointer, and the link
//! by which the rank tree refers to a block that the table owns.
//!
//! It knows no order among members. Layout: the score in 8 bytes, the member's length in one byte (255: in
//! the 8 bytes that follow), the member. A member of 12 bytes fits a block of 24.
#![allow(unsafe_code)]

use std::alloc::Layout;
use std::marker::PhantomData;
use std::ptr::NonNull;

use base::alloc::{prefetch, size_class};

use crate::table::Item;

pub struct Scored(NonNull<u8>);

// SAFETY: a Scored is the only owner of its block, which is plain bytes.
unsafe impl Send for Scored {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for Scored {}

impl Scored {
    pub fn new(member: &[u8], score: f64) -> Self {
        let layout = layout(member.len());
        // SAFETY: a block has at least nine bytes.
        let block = unsafe { std::alloc::alloc(layout) };
        let Some(block) = NonNull::new(block) else { std::alloc::handle_alloc_error(layout) };
        let at = member_at(member.len());
        // SAFETY: the block is `at + member.len()` bytes long and aligned to 8; where the length takes nine
        // bytes, `at` is 17.
        unsafe {
            block.cast::<f64>().write(score);
            if at == SHORT_AT {
                block.add(LEN_AT).write(member.len() as u8);
            } else {
                block.add(LEN_AT).write(LONG);
                block.add(LEN_AT + 1).cast::<u64>().write_unaligned(member.len() as u64);
            }
            block.add(at).as_ptr().copy_from_nonoverlapping(member.as_ptr(), member.len());
        }
        Scored(block)
    }

    pub fn view(&self) -> ScoredRef<'_> {
        ScoredRef(self.0, PhantomData)
    }

    /// The same member with another score, in the same block.
    pub fn with_score(self, score: f64) -> Self {
        // SAFETY: every block begins with a score, which nobody refers to: views read it anew each time.
        unsafe { self.0.cast::<f64>().write(score) };
        self
    }

    /// Bytes the allocator sets aside for the block.
    pub fn size(&self) -> usize {
        let len = self.view().member().len();
        size_class(member_at(len) + len)
    }
}

impl Drop for Scored {
    fn drop(&mut self) {
        let layout = layout(self.view().member().len());
        // SAFETY: `new` made the block with the layout of this length, which never changes.
        unsafe { std::alloc::dealloc(self.0.as_ptr(), layout) }
    }
}

// SAFETY: blocks come from the general allocator, whose addresses are below 2^47 and, as asked for, multiples
// of 8. A table's pointer is the only owner; the member never changes.
unsafe impl Item for Scored {
    type Ref<'a> = ScoredRef<'a>;

    fn into_raw(self) -> NonNull<u8> {
        std::mem::ManuallyDrop::new(self).0
    }

    unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        Scored(raw)
    }

    #[inline]
    unsafe fn view<'a>(raw: NonNull<u8>) -> ScoredRef<'a> {
        ScoredRef(raw, PhantomData)
    }

    #[inline]
    fn key<'a>(item: Self::Ref<'a>) -> &'a [u8] {
        item.member()
    }

    fn moved(self) -> Self {
        Scored::new(self.view().member(), self.view().score())
    }
}

/// A borrowed block.
#[derive(Clone, Copy)]
pub struct ScoredRef<'a>(NonNull<u8>, PhantomData<&'a u8>);

impl<'a> ScoredRef<'a> {
    #[inline]
    pub fn score(self) -> f64 {
        // SAFETY: every block begins with a score.
        unsafe { self.0.cast::<f64>().read() }
    }

    #[inline]
    pub fn member(self) -> &'a [u8] {
        // SAFETY: `Scored::new` wrote the length in one of its two forms, and so many bytes behind it; the
        // block is borrowed for 'a, and the member's bytes never change.
        unsafe {
            let short = self.0.add(LEN_AT).read();
            let len = if short == LONG {
                self.0.add(LEN_AT + 1).cast::<u64>().read_unaligned() as usize
            } else {
                usize::from(short)
            };
            std::slice::from_raw_parts(self.0.add(member_at(len)).as_ptr(), len)
        }
    }
}

/// A block that somebody else owns, and 16 bits of the holder's own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Link(u64);

impl Link {
    /// # Safety
    /// Nobody looks through the link or a copy of it once the block is freed.
    pub unsafe fn new(block: ScoredRef<'_>) -> Link {
        let address = block.0.as_ptr().expose_provenance() as u64;
        assert!(address <= ADDRESS_MASK, "a block lies in the lower half of the address space");
        Link(address)
    }

    #[inline]
    pub fn mark(self) -> u16 {
        (self.0 >> MARK_SHIFT) as u16
    }

    #[inline]
    pub fn with_mark(self, mark: u16) -> Link {
        Link(self.0 & ADDRESS_MASK | u64::from(mark) << MARK_SHIFT)
    }

    /// Whether both are to the same block.
    pub fn leads_to_same(self, other: Link) -> bool {
        (self.0 ^ other.0) & ADDRESS_MASK == 0
    }

    #[inline]
    pub fn view(&self) -> ScoredRef<'_> {
        let block = std::ptr::with_exposed_provenance_mut((self.0 & ADDRESS_MASK) as usize);
        // SAFETY: the address is that of a block, which `new`'s caller keeps for as long as anybody looks.
        ScoredRef(unsafe { NonNull::new_unchecked(block) }, PhantomData)
    }

    /// Asks for the block to be brought near.
    #[inline]
    pub fn prefetch(self) {
        prefetch(std::ptr::with_exposed_provenance::<u8>((self.0 & ADDRESS_MASK) as usize));
    }
}

/// Where a member of this length begins.
#[inline]
fn member_at(len: usize) -> usize {
    if len < usize::from(LONG) { SHORT_AT } else { SHORT_AT + size_of::<u64>() }
}

fn layout(member_len: usize) -> Layout {
    let len = member_at(member_len) + member_len;
    Layout::from_size_align(len, 8).expect("a member fits into memory")
}

const LEN_AT: usize = 8;
const SHORT_AT: usize = LEN_AT + 1;
/// In place of a length: the length follows.
const LONG: u8 = u8::MAX;
const MARK_SHIFT: u32 = 48;
const ADDRESS_MASK: u64 = (1 << MARK_SHIFT) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_of_12_bytes_takes_24() {
        assert_eq!(Scored::new(&[b'm'; 12], 1.0).size(), 24);
    }

    #[test]
    fn a_block_keeps_what_it_was_given() {
        for len in [0, 1, 7, 8, 253, 254, 255, 256, 70_000] {
            let member: Vec<u8> = (0..len).map(|index: usize| index as u8).collect();
            let made = Scored::new(&member, -0.0);
            assert_eq!(
                (made.view().member(), made.view().score().to_bits()),
                (&member[..], (-0.0f64).to_bits())
            );
            let made = made.with_score(f64::INFINITY);
            assert_eq!((made.view().member(), made.view().score()), (&member[..], f64::INFINITY));
            // SAFETY: the block outlives the link.
            let link = unsafe { Link::new(made.view()) }.with_mark(7).with_mark(65_535);
            assert_eq!((link.mark(), link.view().member()), (65_535, &member[..]));
        }
    }
}
