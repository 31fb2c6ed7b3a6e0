//! One field of a large hash with its value and expiry: a single heap block behind a thin pointer.
//!
//! It owns its block and knows its layout; it knows neither hashes nor the time. Layout: a flag byte, the
//! expiry in 8 bytes if the flag says so, the field's length as a varint, the field, the value's length as
//! a varint, the value. A field of 12 bytes with a value of 16 fits a block of 32.
#![allow(unsafe_code)]

use std::alloc::Layout;
use std::ptr::NonNull;

use base::alloc::size_class;

use crate::table::Item;

/// What a field is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FieldRef<'a> {
    pub field: &'a [u8],
    pub value: &'a [u8],
    /// Unix milliseconds.
    pub expires_at: Option<i64>,
}

impl FieldRef<'_> {
    pub fn is_expired(&self, now: i64) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

pub struct Field(NonNull<u8>);

// SAFETY: a Field is the only owner of its block, which is plain bytes.
unsafe impl Send for Field {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for Field {}

impl Field {
    /// An expiry of `i64::MAX` is none.
    pub fn new(field: &[u8], value: &[u8], expires_at: Option<i64>) -> Self {
        let expires_at = expires_at.filter(|&at| at != i64::MAX);
        let flags = if expires_at.is_some() { HAS_EXPIRY } else { 0 };
        let expiry = expires_at.unwrap_or(0).to_le_bytes();
        let expiry = if expires_at.is_some() { &expiry[..] } else { &[] };
        let (field_len, value_len) = (Varint::new(field.len()), Varint::new(value.len()));
        allocate(&[&[flags], expiry, field_len.bytes(), field, value_len.bytes(), value])
    }

    pub fn view(&self) -> FieldRef<'_> {
        // SAFETY: the block is this field's, which is borrowed for as long as the view.
        unsafe { <Field as Item>::view(self.0) }
    }

    /// Bytes the allocator sets aside for the block.
    pub fn size(&self) -> usize {
        size_class(self.parts().len())
    }

    /// The same field with another value.
    pub fn with_value(mut self, value: &[u8]) -> Self {
        if self.parts().value_len == value.len() {
            self.overwrite(self.parts().value_at, value);
            return self;
        }
        let view = self.view();
        Field::new(view.field, value, view.expires_at)
    }

    /// The same field with another expiry.
    pub fn with_expiry(mut self, expires_at: Option<i64>) -> Self {
        match expires_at.filter(|&at| at != i64::MAX) {
            Some(at) if self.view().expires_at.is_some() => {
                self.overwrite(EXPIRY_AT, &at.to_le_bytes());
                self
            }
            other if other == self.view().expires_at => self,
            other => Field::new(self.view().field, self.view().value, other),
        }
    }

    fn overwrite(&mut self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= self.parts().len(), "a field's bytes are overwritten in place");
        // SAFETY: the range lies in the block (asserted), which only this field refers to, as it is borrowed
        // mutably.
        unsafe { self.0.add(at).as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) }
    }

    fn parts(&self) -> Parts {
        // SAFETY: the block is this field's and written in full.
        unsafe { Parts::read(self.0) }
    }

    /// The whole block.
    fn bytes(&self) -> &[u8] {
        // SAFETY: as in `parts`; the block is as long as its parts say.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr(), self.parts().len()) }
    }
}

// SAFETY: blocks come from the general allocator, whose addresses are below 2^47 and, as asked for, multiples
// of 8. The pointer is the only one, and methods that change a block take the owning Field.
unsafe impl Item for Field {
    type Ref<'a> = FieldRef<'a>;

    fn into_raw(self) -> NonNull<u8> {
        std::mem::ManuallyDrop::new(self).0
    }

    unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        Field(raw)
    }

    #[inline]
    unsafe fn view<'a>(raw: NonNull<u8>) -> FieldRef<'a> {
        // SAFETY: the caller promises a live, unchanging block.
        let parts = unsafe { Parts::read(raw) };
        // SAFETY: as above; the parts are ranges of the block as `new` laid it out.
        let bytes = unsafe { std::slice::from_raw_parts(raw.as_ptr(), parts.len()) };
        FieldRef {
            field: &bytes[parts.field_at..][..parts.field_len],
            value: &bytes[parts.value_at..],
            expires_at: parts.expires_at,
        }
    }

    fn key<'a>(item: Self::Ref<'a>) -> &'a [u8] {
        item.field
    }

    fn moved(self) -> Self {
        allocate(&[self.bytes()])
    }

    fn expires_at(item: FieldRef<'_>) -> i64 {
        item.expires_at.unwrap_or(i64::MAX)
    }
}

impl Drop for Field {
    fn drop(&mut self) {
        let layout = layout(self.parts().len());
        // SAFETY: `allocate` made the block with the layout of this length, which never changes.
        unsafe { std::alloc::dealloc(self.0.as_ptr(), layout) }
    }
}

/// Where a block's parts are.
struct Parts {
    expires_at: Option<i64>,
    field_at: usize,
    field_len: usize,
    value_at: usize,
    value_len: usize,
}

impl Parts {
    /// # Safety
    /// `raw` heads a block as `Field::new` writes it.
    #[inline]
    unsafe fn read(raw: NonNull<u8>) -> Self {
        // SAFETY: the caller's promise: the flag byte, the expiry if flagged, and both lengths are there.
        unsafe {
            let timed = raw.read() & HAS_EXPIRY != 0;
            let at = EXPIRY_AT + if timed { EXPIRY_LEN } else { 0 };
            let expires_at = timed.then(|| raw.add(EXPIRY_AT).cast::<[u8; EXPIRY_LEN]>().read());
            let (field_len, width) = Varint::read(raw.add(at));
            let field_at = at + width;
            let (value_len, width) = Varint::read(raw.add(field_at + field_len));
            let value_at = field_at + field_len + width;
            Parts { expires_at: expires_at.map(i64::from_le_bytes), field_at, field_len, value_at, value_len }
        }
    }

    fn len(&self) -> usize {
        self.value_at + self.value_len
    }
}

/// A length in groups of seven bits, the lowest first.
struct Varint {
    bytes: [u8; 10],
    len: usize,
}

impl Varint {
    fn new(mut value: usize) -> Self {
        let mut varint = Varint { bytes: [0; 10], len: 1 };
        while value > 0x7f {
            varint.bytes[varint.len - 1] = value as u8 | 0x80;
            varint.len += 1;
            value >>= 7;
        }
        varint.bytes[varint.len - 1] = value as u8;
        varint
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The value and how many bytes it takes.
    ///
    /// # Safety
    /// A whole varint stands at `at`.
    #[inline]
    unsafe fn read(at: NonNull<u8>) -> (usize, usize) {
        let (mut value, mut len) = (0, 0);
        loop {
            // SAFETY: the last byte of a varint, and only that, is below 0x80: none before it was.
            let byte = unsafe { at.add(len).read() };
            value |= usize::from(byte & 0x7f) << (7 * len);
            len += 1;
            if byte < 0x80 {
                return (value, len);
            }
        }
    }
}

fn allocate(pieces: &[&[u8]]) -> Field {
    let layout = layout(pieces.iter().map(|piece| piece.len()).sum());
    // SAFETY: a block has at least three bytes.
    let block = unsafe { std::alloc::alloc(layout) };
    let Some(block) = NonNull::new(block) else { std::alloc::handle_alloc_error(layout) };
    let mut at = block;
    for piece in pieces {
        // SAFETY: the pieces' lengths add up to the block's.
        unsafe {
            at.as_ptr().copy_from_nonoverlapping(piece.as_ptr(), piece.len());
            at = at.add(piece.len());
        }
    }
    Field(block)
}

fn layout(len: usize) -> Layout {
    Layout::from_size_align(len, 8).expect("a field and its value fit into memory")
}

const HAS_EXPIRY: u8 = 1;
const EXPIRY_AT: usize = 1;
const EXPIRY_LEN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_12_and_a_value_of_16_bytes_take_32() {
        assert_eq!(Field::new(&[b'f'; 12], &[b'v'; 16], None).size(), 32);
    }

    #[test]
    fn a_field_keeps_what_it_was_given() {
        let check = |field_len: usize, value_len: usize, expires_at| {
            let (field, value) = (vec![b'f'; field_len], vec![b'v'; value_len]);
            let made = Field::new(&field, &value, expires_at);
            let expected = FieldRef { field: &field, value: &value, expires_at };
            assert_eq!(made.view(), expected);
            let other = vec![b'w'; value_len / 2];
            let made = made.with_value(&other).with_expiry(Some(-7));
            assert_eq!(made.view(), FieldRef { value: &other, expires_at: Some(-7), ..expected });
            let same_len = vec![b'x'; other.len()];
            let made = made.with_value(&same_len).with_expiry(Some(8)).with_expiry(Some(9));
            assert_eq!(made.view(), FieldRef { value: &same_len, expires_at: Some(9), ..expected });
            let made = made.with_expiry(None).with_expiry(Some(i64::MAX));
            assert_eq!(made.view(), FieldRef { value: &same_len, expires_at: None, ..expected });
        };
        for field_len in [0, 1, 127, 128, 16_384] {
            for value_len in [0, 1, 127, 128, 20_000] {
                check(field_len, value_len, None);
                check(field_len, value_len, Some(i64::MIN));
                check(field_len, value_len, Some(i64::MAX - 1));
            }
        }
    }
}
