//! One key with all that belongs to it, in one allocation.
//!
//! Layout, bytes in order:
//! ```text
//! head   1   bits 0-1 expiry form (none, 6 bytes, 8 bytes), bits 2-4 type, bits 5-7 payload form
//! clock  3   access clock: seconds for LRU, or minutes and counter for LFU; little endian
//! expiry 0/6/8  Unix milliseconds, little endian; 8 bytes only beyond 2^48 (the year 10889)
//! key    varint length, bytes
//! payload    Packed, Raw: varint length, bytes; Int: 8 bytes; Boxed, Paged: an owning 8-byte pointer
//! ```
//! An entry knows nothing of databases, locks or time: `expires_at` is a number here.
#![allow(unsafe_code)]

mod block;
mod boxed;

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;

use base::alloc::{prefetch, size_class};
use ds::hash::FieldTable;
use ds::intset::Intset;
use ds::list::PackedList;
use ds::listpack::Buffer;
use ds::set::MemberTable;
use ds::sorted_set::ScoredTable;
use ds::stream::Stream;
use ds::table::Item;

use self::block::{
    allocate, expiry_form, expiry_len, free, read_text, reallocate, text_len, varint_len, write_expiry,
    write_text, write_varint,
};
use self::boxed::pointed;
pub use self::boxed::{NewPayload, SharedRef};
use crate::paged::PagedText;
use crate::snapshot::pieces;

/// A value's type, with the number it has in an entry's head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Type {
    String = 0,
    List = 1,
    Set = 2,
    SortedSet = 3,
    Hash = 4,
    Stream = 5,
}

impl Type {
    /// As TYPE answers it.
    pub const fn name(self) -> &'static str {
        match self {
            Type::String => "string",
            Type::List => "list",
            Type::Set => "set",
            Type::SortedSet => "zset",
            Type::Hash => "hash",
            Type::Stream => "stream",
        }
    }

    const fn from_head(head: u8) -> Type {
        match (head >> 2) & 7 {
            0 => Type::String,
            1 => Type::List,
            2 => Type::Set,
            3 => Type::SortedSet,
            4 => Type::Hash,
            _ => Type::Stream,
        }
    }
}

/// How the payload lies in the entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Form {
    /// Bytes in place: a string as it was set, or a small collection's packed bytes.
    Packed = 0,
    /// A string in place that was edited since it was set (Redis calls it raw at any length).
    Raw = 1,
    Int = 2,
    /// A pointer: `Arc<Vec<u8>>` for a string, the box of its structure for any other type.
    Boxed = 3,
    /// A set of integers, packed.
    Ints = 4,
    /// A pointer to the box of a string that a snapshot takes page by page.
    Paged = 5,
}

impl Form {
    /// Whether the payload is a pointer that the entry owns.
    #[inline]
    fn is_pointer(self) -> bool {
        matches!(self, Form::Boxed | Form::Paged)
    }
}

/// Whether fields of an entry's hash have times of expiry, and whether the key has one besides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FieldsExpire {
    No,
    Alone,
    WithKey,
}

/// The value inside an entry, borrowed.
#[derive(Clone, Copy)]
pub enum Payload<'a> {
    Bytes(&'a [u8]),
    Int(i64),
    Shared(SharedRef<'a>),
    /// A set of integers, packed.
    Ints(&'a [u8]),
    Nodes(&'a PackedList),
    Members(&'a MemberTable),
    Scored(&'a ScoredTable),
    Fields(&'a FieldTable),
    Stream(&'a Stream),
}

/// Strings of this length and more live in a block of their own, which replies and snapshots share.
pub const SHARED_LEN: usize = 16 * 1024;

/// An owned entry: one heap block, and what its payload points to.
pub struct Entry(NonNull<u8>);

// SAFETY: an entry owns its block and whatever it points to; all of that is Send.
unsafe impl Send for Entry {}

/// A borrowed entry.
#[derive(Clone, Copy)]
pub struct EntryRef<'a>(NonNull<u8>, PhantomData<&'a u8>);

const HEAD_LEN: usize = 4;

/// Bytes of a large block that are as much work to free as a small one: their pages go back to the system.
const EFFORT_LEN: usize = 64 * 1024;

impl Entry {
    pub fn new(
        key: &[u8],
        kind: Type,
        payload: NewPayload<'_>,
        expires_at: Option<i64>,
        clock: u32,
    ) -> Entry {
        let expiry = expiry_form(expires_at);
        let form = payload.form();
        let len = HEAD_LEN + expiry_len(expiry) + text_len(key.len()) + payload.len();
        let block = allocate(len);
        // SAFETY: `block` has `len` bytes, and the writes below are the summands of `len` in order.
        unsafe {
            let start = block.as_ptr();
            let head = expiry | (kind as u8) << 2 | (form as u8) << 5;
            start.cast::<u32>().write_unaligned(u32::from(head) | clock << 8);
            let mut at = start.add(HEAD_LEN);
            at = write_expiry(at, expiry, expires_at.unwrap_or(0));
            at = write_text(at, key);
            at = payload.write(at);
            debug_assert_eq!(at.offset_from(start) as usize, len);
        }
        Entry(block)
    }

    pub fn view(&self) -> EntryRef<'_> {
        EntryRef(self.0, PhantomData)
    }

    /// Fetches where its key is.
    #[inline]
    pub fn prefetch(&self) {
        prefetch(self.0.as_ptr());
    }

    /// Changes or removes the time of expiry; the block moves when its form changes.
    pub fn set_expires_at(&mut self, expires_at: Option<i64>) {
        let (old, new) = (self.view().expiry_form(), expiry_form(expires_at));
        if old != new {
            let (old_len, new_len) = (expiry_len(old), expiry_len(new));
            self.resize_at(HEAD_LEN, old_len, new_len);
            // SAFETY: the block has a head.
            unsafe { *self.0.as_ptr() = *self.0.as_ptr() & !3 | new };
        }
        // SAFETY: the block now has room for this form at HEAD_LEN.
        unsafe { write_expiry(self.0.as_ptr().add(HEAD_LEN), new, expires_at.unwrap_or(0)) };
    }

    /// Replaces the value, keeping key, clock and expiry.
    pub fn set_payload(&mut self, payload: NewPayload<'_>) {
        self.drop_boxed();
        let at = self.view().payload_at();
        let old_len = self.view().payload_len(at);
        let form = payload.form();
        self.resize_at(at, old_len, payload.len());
        // SAFETY: the tail from `at` has exactly the payload's length now.
        unsafe {
            *self.0.as_ptr() = *self.0.as_ptr() & 0x1f | (form as u8) << 5;
            payload.write(self.0.as_ptr().add(at));
        }
    }

    /// The same value under another key. A boxed value moves, nothing is copied but bytes in place.
    pub fn with_key(mut self, key: &[u8]) -> Entry {
        if let Some(value) = self.savable() {
            pieces::moved(value, key);
        }
        let view = self.view();
        let at = view.payload_at();
        let tail_len = view.block_len() - at;
        let prefix = HEAD_LEN + expiry_len(view.expiry_form());
        let block = allocate(prefix + text_len(key.len()) + tail_len);
        // SAFETY: both blocks are as long as what is copied; the old one is freed without its payload.
        unsafe {
            std::ptr::copy_nonoverlapping(self.0.as_ptr(), block.as_ptr(), prefix);
            let to = write_text(block.as_ptr().add(prefix), key);
            std::ptr::copy_nonoverlapping(self.0.as_ptr().add(at), to, tail_len);
            free(self.0, view.block_len());
        }
        std::mem::forget(self);
        Entry(block)
    }

    /// The packed bytes in place, as a buffer a listpack or a set of integers can be edited in.
    pub fn packed(&mut self) -> PackedMut<'_> {
        debug_assert!(matches!(self.view().form(), Form::Packed | Form::Raw | Form::Ints));
        PackedMut(self)
    }

    /// The bytes in place, for edits that keep their number.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        debug_assert!(matches!(self.view().form(), Form::Packed | Form::Raw));
        let at = self.view().payload_at();
        // SAFETY: a length-prefixed text stands at payload_at; &mut self makes the access unique.
        unsafe {
            let (bytes, used) = read_text(self.0.as_ptr().add(at));
            slice::from_raw_parts_mut(self.0.as_ptr().add(at + used - bytes.len()), bytes.len())
        }
    }

    /// Marks an in-place string as edited.
    pub fn mark_raw(&mut self) {
        debug_assert!(matches!(self.view().form(), Form::Packed | Form::Raw));
        // SAFETY: the block has a head.
        unsafe { *self.0.as_ptr() = *self.0.as_ptr() & 0x1f | (Form::Raw as u8) << 5 };
    }

    /// Makes the `old` bytes at `at` into `new` bytes (the content of the new ones is unspecified).
    fn resize_at(&mut self, at: usize, old: usize, new: usize) {
        if old == new {
            return;
        }
        let len = self.view().block_len();
        let tail = len - at - old;
        let new_len = len - old + new;
        // SAFETY: `at + old + tail == len`; growing happens before the tail moves up, shrinking after.
        unsafe {
            if new > old {
                self.0 = reallocate(self.0, len, new_len);
            }
            let start = self.0.as_ptr();
            std::ptr::copy(start.add(at + old), start.add(at + new), tail);
            if new < old {
                self.0 = reallocate(self.0, len, new_len);
            }
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let len = self.view().block_len();
        self.drop_boxed();
        // SAFETY: the block was allocated with this length and is not used again.
        unsafe { free(self.0, len) };
    }
}

// SAFETY: into_raw and from_raw hand over the one owning pointer; blocks are 8-byte aligned heap blocks.
unsafe impl Item for Entry {
    type Ref<'a> = EntryRef<'a>;

    #[inline]
    fn into_raw(self) -> NonNull<u8> {
        ManuallyDrop::new(self).0
    }

    #[inline]
    unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        Entry(raw)
    }

    #[inline]
    unsafe fn view<'a>(raw: NonNull<u8>) -> EntryRef<'a> {
        EntryRef(raw, PhantomData)
    }

    #[inline]
    fn key<'a>(entry: Self::Ref<'a>) -> &'a [u8] {
        entry.key()
    }

    #[inline]
    fn block_len(entry: Self::Ref<'_>) -> Option<usize> {
        Some(entry.block_len())
    }

    fn moved(mut self) -> Self {
        let len = self.view().block_len();
        let block = allocate(len);
        // SAFETY: both blocks have `len` bytes; the old one is freed, and what it points to is the new one's.
        unsafe {
            std::ptr::copy_nonoverlapping(self.0.as_ptr(), block.as_ptr(), len);
            free(std::mem::replace(&mut self.0, block), len);
        }
        self
    }

    #[inline]
    fn expires_at(entry: Self::Ref<'_>) -> i64 {
        entry.next_expiry()
    }
}

impl<'a> EntryRef<'a> {
    #[inline]
    fn byte(self, at: usize) -> u8 {
        // SAFETY: callers stay within the block.
        unsafe { *self.0.as_ptr().add(at) }
    }

    #[inline]
    fn head(self) -> u8 {
        self.byte(0)
    }

    #[inline]
    pub fn kind(self) -> Type {
        Type::from_head(self.head())
    }

    #[inline]
    fn expiry_form(self) -> u8 {
        self.head() & 3
    }

    #[inline]
    fn form(self) -> Form {
        match self.head() >> 5 {
            0 => Form::Packed,
            1 => Form::Raw,
            2 => Form::Int,
            3 => Form::Boxed,
            4 => Form::Ints,
            _ => Form::Paged,
        }
    }

    /// An in-place string that was edited since it was set.
    pub fn is_raw(self) -> bool {
        self.form() == Form::Raw
    }

    #[inline]
    pub fn clock(self) -> u32 {
        // SAFETY: every block has a head of four bytes.
        unsafe { self.0.as_ptr().cast::<u32>().read_unaligned() >> 8 }
    }

    /// Sets the access clock (24 bits). The caller holds the shard's lock.
    #[inline]
    pub fn touch(self, clock: u32) {
        // SAFETY: every block has a head of four bytes, and no reference covers the clock's three.
        unsafe {
            let head = self.0.as_ptr().cast::<u32>();
            head.write_unaligned(head.read_unaligned() & 0xff | clock << 8);
        }
    }

    /// The integer, if the value is kept as one.
    #[inline]
    pub(crate) fn int(self) -> Option<i64> {
        // SAFETY: the form says what stands at payload_at.
        (self.form() == Form::Int)
            .then(|| unsafe { self.0.as_ptr().add(self.payload_at()).cast::<i64>().read_unaligned() })
    }

    /// Puts an integer in the place of the one that is there; false if the value is kept in another form.
    /// The caller may change the value.
    #[inline]
    pub(crate) fn replace_int(self, value: i64) -> bool {
        let is_int = self.form() == Form::Int;
        if is_int {
            // SAFETY: as in `int`, and nothing hands out a reference to an integer in place.
            unsafe { self.0.as_ptr().add(self.payload_at()).cast::<i64>().write_unaligned(value) };
        }
        is_int
    }

    #[inline]
    pub fn expires_at(self) -> Option<i64> {
        // SAFETY: the form says how many bytes stand at HEAD_LEN; reading 8 from offset 2 covers the
        // 6-byte form (offsets 4 to 9) without leaving the block.
        unsafe {
            match self.expiry_form() {
                0 => None,
                1 => Some((self.0.as_ptr().add(HEAD_LEN - 2).cast::<u64>().read_unaligned() >> 16) as i64),
                _ => Some(self.0.as_ptr().add(HEAD_LEN).cast::<i64>().read_unaligned()),
            }
        }
    }

    /// When something of it expires next: the key, or a field of its hash. `i64::MAX`: never.
    #[inline]
    pub fn next_expiry(self) -> i64 {
        let key = self.expires_at().unwrap_or(i64::MAX);
        if self.form() == Form::Boxed && self.kind() == Type::Hash {
            return key.min(self.fields_expiry());
        }
        key
    }

    fn fields_expiry(self) -> i64 {
        match self.payload() {
            Payload::Fields(table) => table.next_expiry(),
            _ => i64::MAX,
        }
    }

    /// Whether fields of a hash have times of expiry.
    #[inline]
    pub fn fields_expire(self) -> FieldsExpire {
        if self.form() != Form::Boxed || self.kind() != Type::Hash || self.fields_expiry() == i64::MAX {
            FieldsExpire::No
        } else if self.expiry_form() == 0 {
            FieldsExpire::Alone
        } else {
            FieldsExpire::WithKey
        }
    }

    #[inline]
    fn key_at(self) -> usize {
        HEAD_LEN + expiry_len(self.expiry_form())
    }

    #[inline]
    pub fn key(self) -> &'a [u8] {
        // SAFETY: a length-prefixed text stands at key_at.
        unsafe { read_text(self.0.as_ptr().add(self.key_at())).0 }
    }

    #[inline]
    fn payload_at(self) -> usize {
        let at = self.key_at();
        // SAFETY: as in `key`.
        at + unsafe { read_text(self.0.as_ptr().add(at)).1 }
    }

    #[inline]
    pub fn payload(self) -> Payload<'a> {
        let form = self.form();
        // SAFETY: the form says what stands at payload_at.
        unsafe {
            let at = self.0.as_ptr().add(self.payload_at());
            match form {
                Form::Packed | Form::Raw => Payload::Bytes(read_text(at).0),
                Form::Int => Payload::Int(at.cast::<i64>().read_unaligned()),
                Form::Boxed => self.boxed(at),
                Form::Ints => Payload::Ints(read_text(at).0),
                Form::Paged => Payload::Shared(SharedRef(&*Arc::as_ptr(pointed::<PagedText>(at).text()))),
            }
        }
    }

    /// Of a value in table form, fetches the line at which a search for this hash of a part begins.
    pub fn prefetch_line(self, hash: u64) {
        match self.payload() {
            Payload::Members(table) => table.prefetch_line(hash),
            Payload::Fields(table) => table.prefetch_line(hash),
            Payload::Scored(table) => table.prefetch_line(hash),
            _ => {}
        }
    }

    /// Of a value in table form, fetches the part that a search for this hash will most likely end at.
    pub fn prefetch_part(self, hash: u64) {
        match self.payload() {
            Payload::Members(table) => table.prefetch_item(hash),
            Payload::Fields(table) => table.prefetch_item(hash),
            Payload::Scored(table) => table.prefetch_item(hash),
            _ => {}
        }
    }

    /// Bytes of the entry's block.
    #[inline]
    pub fn block_len(self) -> usize {
        let at = self.payload_at();
        at + self.payload_len(at)
    }

    /// Whether the value has blocks of its own.
    #[inline]
    pub fn has_parts(self) -> bool {
        self.form().is_pointer()
    }

    /// Bytes of the payload, which stands at `at`.
    #[inline]
    fn payload_len(self, at: usize) -> usize {
        match self.form() {
            // SAFETY: as in `payload`.
            Form::Packed | Form::Raw | Form::Ints => unsafe { read_text(self.0.as_ptr().add(at)).1 },
            Form::Int | Form::Boxed | Form::Paged => 8,
        }
    }

    /// The block as it is, for a copy that [`EntryRef::from_image`] can read. Boxed payloads have none.
    pub fn image(self) -> Option<&'a [u8]> {
        if self.form().is_pointer() {
            return None;
        }
        // SAFETY: the block has block_len bytes.
        Some(unsafe { slice::from_raw_parts(self.0.as_ptr(), self.block_len()) })
    }

    /// Reads a copy of [`EntryRef::image`]. The bytes must be such a copy: they are not checked.
    pub fn from_image(image: &'a [u8]) -> EntryRef<'a> {
        assert!(image.len() > HEAD_LEN, "an entry's image has a head");
        let entry = EntryRef(NonNull::from(&image[0]), PhantomData);
        assert!(!entry.form().is_pointer(), "an image never holds a pointer");
        assert_eq!(entry.block_len(), image.len(), "an image is whole");
        entry
    }

    /// How many blocks freeing it gives back, about.
    pub fn free_effort(self) -> usize {
        match self.payload() {
            Payload::Nodes(list) => list.free_effort(),
            Payload::Members(table) => table.free_effort(),
            Payload::Scored(table) => table.free_effort(),
            Payload::Fields(table) => table.len(),
            Payload::Stream(stream) => stream.free_effort(),
            // The pages of a large block go back one by one.
            Payload::Shared(text) => 1 + text.0.capacity() / EFFORT_LEN,
            Payload::Bytes(_) | Payload::Ints(_) | Payload::Int(_) => 1,
        }
    }

    /// Panics if a structure of the value is not as it should be.
    pub fn check_invariants(self) {
        match self.payload() {
            Payload::Ints(ints) => assert!(Intset::validate(ints, true).is_ok()),
            Payload::Members(table) => table.check_invariants(),
            Payload::Fields(table) => table.check_invariants(),
            Payload::Scored(table) => table.check_invariants(),
            Payload::Nodes(list) => list.check_invariants(),
            Payload::Stream(stream) => stream.check_invariants(),
            Payload::Bytes(_) | Payload::Int(_) | Payload::Shared(_) => {}
        }
    }

    /// Bytes the allocator gave for the entry and all it points to.
    pub fn memory(self) -> usize {
        let block = size_class(self.block_len());
        block
            + match self.payload() {
                Payload::Bytes(_) | Payload::Ints(_) | Payload::Int(_) => 0,
                Payload::Shared(bytes) => size_class(bytes.0.capacity()) + size_class(40),
                Payload::Nodes(list) => list.memory() + size_class(size_of::<PackedList>()),
                Payload::Members(table) => table.memory() + size_class(size_of::<MemberTable>()),
                Payload::Scored(table) => table.memory() + size_class(size_of::<ScoredTable>()),
                Payload::Fields(table) => table.memory() + size_class(size_of::<FieldTable>()),
                Payload::Stream(stream) => stream.memory() + size_class(size_of::<Stream>()),
            }
    }
}

/// The tail of an entry that packed bytes are edited in.
pub struct PackedMut<'a>(&'a mut Entry);

impl Buffer for PackedMut<'_> {
    fn bytes(&self) -> &[u8] {
        match self.0.view().payload() {
            Payload::Bytes(bytes) | Payload::Ints(bytes) => bytes,
            _ => &[],
        }
    }

    fn splice(&mut self, at: usize, remove: usize, insert: &[&[u8]]) {
        let old_len = self.bytes().len();
        assert!(at + remove <= old_len, "a splice stays within the bytes");
        let added: usize = insert.iter().map(|part| part.len()).sum();
        let start = self.0.view().payload_at();
        let new_len = old_len - remove + added;
        let (old_prefix, new_prefix) = (varint_len(old_len), varint_len(new_len));
        self.0.resize_at(start, old_prefix, new_prefix);
        self.0.write_varint_at(start, new_len);
        self.0.resize_in(start + new_prefix + old_len, start + new_prefix + at, remove, added);
        self.0.fill_at(start + new_prefix + at, insert);
    }
}

impl Entry {
    /// As `resize_at`, when the block's own length fields may already be inconsistent: `end` is its
    /// true length.
    fn resize_in(&mut self, end: usize, at: usize, old: usize, new: usize) {
        let tail = end - at - old;
        let new_end = end - old + new;
        // SAFETY: as in resize_at, with `end` as the block's length.
        unsafe {
            if new > old {
                self.0 = reallocate(self.0, end, new_end);
            }
            let start = self.0.as_ptr();
            std::ptr::copy(start.add(at + old), start.add(at + new), tail);
            if new < old {
                self.0 = reallocate(self.0, end, new_end);
            }
        }
    }

    fn write_varint_at(&mut self, at: usize, value: usize) {
        // SAFETY: the caller made room for this varint at `at`.
        unsafe { write_varint(self.0.as_ptr().add(at), value) };
    }

    fn fill_at(&mut self, mut at: usize, parts: &[&[u8]]) {
        for part in parts {
            // SAFETY: the caller made room for all parts at `at`; they lie outside the block.
            unsafe { std::ptr::copy_nonoverlapping(part.as_ptr(), self.0.as_ptr().add(at), part.len()) };
            at += part.len();
        }
    }
}

#[cfg(test)]
mod tests;
