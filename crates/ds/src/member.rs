//! One member of a large set: a single heap block behind a thin pointer.
//!
//! It owns its block and knows its layout; it knows nothing of sets. Layout: the member's length as a varint,
//! the member. A member of up to 15 bytes fits a block of 16.
#![allow(unsafe_code)]

use std::alloc::Layout;
use std::ptr::NonNull;

use base::alloc::size_class;

use crate::table::Item;

pub struct Member(NonNull<u8>);

// SAFETY: a Member is the only owner of its block, which is plain bytes.
unsafe impl Send for Member {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for Member {}

impl Member {
    #[inline]
    pub fn new(bytes: &[u8]) -> Self {
        let prefix = prefix_len(bytes.len());
        let layout = layout(prefix + bytes.len());
        // SAFETY: a block has at least one byte.
        let block = unsafe { std::alloc::alloc(layout) };
        let Some(block) = NonNull::new(block) else { std::alloc::handle_alloc_error(layout) };
        let mut rest = bytes.len();
        // SAFETY: the block has room for `prefix` bytes of length, seven bits each, and for the member.
        unsafe {
            for at in 0..prefix {
                let more = if at + 1 < prefix { 0x80 } else { 0 };
                block.add(at).write(rest as u8 & 0x7f | more);
                rest >>= 7;
            }
            block.add(prefix).as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
        Member(block)
    }

    #[inline]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the block is this member's, which is borrowed for as long as the bytes.
        unsafe { <Member as Item>::view(self.0) }
    }

    /// Bytes the allocator sets aside for a member of these bytes.
    #[inline]
    pub fn size_of(bytes: &[u8]) -> usize {
        match prefix_len(bytes.len()) + bytes.len() {
            // The allocator's classes are 8 bytes apart up to here.
            len @ 0..=64 => len.next_multiple_of(8),
            len => size_class(len),
        }
    }
}

// SAFETY: blocks come from the general allocator, whose addresses are below 2^47 and, as asked for, multiples
// of 8. The pointer is the only one, and nothing changes a block.
unsafe impl Item for Member {
    type Ref<'a> = &'a [u8];

    #[inline]
    fn into_raw(self) -> NonNull<u8> {
        std::mem::ManuallyDrop::new(self).0
    }

    #[inline]
    unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        Member(raw)
    }

    #[inline]
    unsafe fn view<'a>(raw: NonNull<u8>) -> &'a [u8] {
        // SAFETY: the caller promises a live, unchanging block; it holds a whole varint, whose last byte, and
        // only that, is below 0x80, and as many bytes behind it as that says.
        unsafe {
            let (mut len, mut prefix) = (usize::from(raw.read() & 0x7f), 1);
            while raw.add(prefix - 1).read() >= 0x80 {
                len |= usize::from(raw.add(prefix).read() & 0x7f) << (7 * prefix);
                prefix += 1;
            }
            std::slice::from_raw_parts(raw.as_ptr().add(prefix), len)
        }
    }

    #[inline]
    fn key<'a>(item: Self::Ref<'a>) -> &'a [u8] {
        item
    }

    fn moved(self) -> Self {
        Member::new(self.bytes())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let len = self.bytes().len();
        // SAFETY: `new` made the block with the layout of this length, which never changes.
        unsafe { std::alloc::dealloc(self.0.as_ptr(), layout(prefix_len(len) + len)) }
    }
}

/// How many bytes a length takes as a varint.
#[inline]
fn prefix_len(len: usize) -> usize {
    let bits = usize::BITS - len.leading_zeros();
    bits.div_ceil(7).max(1) as usize
}

fn layout(len: usize) -> Layout {
    Layout::from_size_align(len, 8).expect("a member fits into memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_of_12_bytes_takes_16() {
        assert_eq!(Member::size_of(&[b'm'; 12]), 16);
        assert_eq!(Member::size_of(&[b'm'; 15]), 16);
        assert_eq!(Member::size_of(&[b'm'; 16]), 24);
    }

    #[test]
    fn a_member_keeps_its_bytes_and_takes_what_is_said() {
        for len in (0..300).chain([16_382, 16_383, 16_384, 2_097_151, 2_097_152]) {
            let bytes: Vec<u8> = (0..len).map(|index| index as u8).collect();
            assert_eq!(Member::new(&bytes).bytes(), bytes);
            assert_eq!(Member::size_of(&bytes), size_class(prefix_len(len) + len), "{len}");
        }
    }
}
