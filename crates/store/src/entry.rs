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

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;

use base::alloc::size_class;
use ds::hash::FieldTable;
use ds::intset::Intset;
use ds::list::PackedList;
use ds::listpack::Buffer;
use ds::saving::{Savable, Saver};
use ds::set::MemberTable;
use ds::sorted_set::ScoredTable;
use ds::stream::Stream;
use ds::table::Item;

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

/// A string in a block of its own, borrowed from its entry.
#[derive(Clone, Copy)]
pub struct SharedRef<'a>(&'a Vec<u8>);

impl<'a> SharedRef<'a> {
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// Another owner of the same block.
    pub fn to_arc(self) -> Arc<Vec<u8>> {
        let raw = std::ptr::from_ref(self.0);
        // SAFETY: the reference comes from Arc::into_raw (only `EntryRef::boxed` makes a SharedRef), and
        // the entry's own count keeps the block alive meanwhile.
        unsafe {
            Arc::increment_strong_count(raw);
            Arc::from_raw(raw)
        }
    }
}

/// A value on its way into an entry.
pub enum NewPayload<'a> {
    Bytes(&'a [u8]),
    Raw(&'a [u8]),
    Int(i64),
    Shared(Arc<Vec<u8>>),
    Paged(Box<PagedText>),
    Ints(&'a [u8]),
    Nodes(Box<PackedList>),
    Members(Box<MemberTable>),
    Scored(Box<ScoredTable>),
    Fields(Box<FieldTable>),
    Stream(Box<Stream>),
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

    /// The string's own block, for edits in place of a range, and behind its end. Unshares it when a reply or
    /// snapshot still reads it.
    pub fn shared_mut(&mut self, changed: Range<usize>) -> Option<&mut Vec<u8>> {
        if self.view().form() == Form::Paged {
            return self.paged_mut().map(|text| Arc::make_mut(text.text_mut(changed)));
        }
        let view = self.view();
        if view.form() != Form::Boxed || view.kind() != Type::String {
            return None;
        }
        // SAFETY: a boxed string's payload is an Arc<Vec<u8>> that this entry owns; ManuallyDrop keeps
        // the count, and the pointer is written back in case make_mut moved it.
        unsafe {
            let at = self.0.as_ptr().add(view.payload_at()).cast::<*const Vec<u8>>();
            let mut shared = ManuallyDrop::new(Arc::from_raw(at.read_unaligned()));
            let raw: *mut Vec<u8> = Arc::make_mut(&mut shared);
            at.write_unaligned(raw);
            Some(&mut *raw)
        }
    }

    /// A large list, for edits.
    pub fn nodes_mut(&mut self) -> Option<&mut PackedList> {
        // SAFETY: a boxed list's payload is a Box<PackedList>.
        unsafe { self.boxed_mut(Type::List) }
    }

    /// A large set, for edits.
    pub fn members_mut(&mut self) -> Option<&mut MemberTable> {
        // SAFETY: a boxed set's payload is a Box<MemberTable>.
        unsafe { self.boxed_mut(Type::Set) }
    }

    /// A large sorted set, for edits.
    pub fn scored_mut(&mut self) -> Option<&mut ScoredTable> {
        // SAFETY: a boxed sorted set's payload is a Box<ScoredTable>.
        unsafe { self.boxed_mut(Type::SortedSet) }
    }

    /// A large hash, for edits.
    pub fn fields_mut(&mut self) -> Option<&mut FieldTable> {
        // SAFETY: a boxed hash's payload is a Box<FieldTable>.
        unsafe { self.boxed_mut(Type::Hash) }
    }

    /// A stream, for edits.
    pub fn stream_mut(&mut self) -> Option<&mut Stream> {
        // SAFETY: a stream's payload is a Box<Stream>.
        unsafe { self.boxed_mut(Type::Stream) }
    }

    /// The value, if a snapshot can save it in pieces.
    pub(crate) fn savable(&mut self) -> Option<&mut dyn Savable> {
        match self.view().kind() {
            Type::Set => self.members_mut().map(|table| table as &mut dyn Savable),
            Type::SortedSet => self.scored_mut().map(|table| table as &mut dyn Savable),
            Type::Hash => self.fields_mut().map(|table| table as &mut dyn Savable),
            Type::List => self.nodes_mut().map(|list| list as &mut dyn Savable),
            Type::Stream => self.stream_mut().map(|stream| stream as &mut dyn Savable),
            Type::String => self.paged_mut().map(|text| text as &mut dyn Savable),
        }
    }

    /// A string that a snapshot takes page by page.
    fn paged_mut(&mut self) -> Option<&mut PagedText> {
        if self.view().form() != Form::Paged {
            return None;
        }
        // SAFETY: the form says that the pointer is that of such a box, which the entry owns.
        unsafe { Some(&mut *self.boxed_at().cast::<PagedText>()) }
    }

    /// Lets a snapshot take a string in a block of its own page by page.
    pub(crate) fn make_paged(&mut self) {
        if self.view().kind() == Type::String && self.view().form() == Form::Boxed {
            // SAFETY: the pointer is overwritten next.
            if let NewPayload::Shared(text) = unsafe { self.boxed_payload() } {
                self.set_pointer(NewPayload::Paged(Box::new(PagedText::new(text))));
            }
        }
    }

    /// The snapshot needs no more pages.
    pub(crate) fn make_unpaged(&mut self) {
        if self.view().form() == Form::Paged {
            // SAFETY: the pointer is overwritten next.
            if let NewPayload::Paged(text) = unsafe { self.boxed_payload() } {
                self.set_pointer(NewPayload::Shared(text.into_text()));
            }
        }
    }

    /// Puts a pointer in the place of one that is not the entry's any more.
    fn set_pointer(&mut self, payload: NewPayload<'_>) {
        debug_assert!(self.view().form().is_pointer() && payload.form().is_pointer());
        let at = self.view().payload_at();
        // SAFETY: a pointer stands at `at`, and the payload is one.
        unsafe {
            *self.0.as_ptr() = *self.0.as_ptr() & 0x1f | (payload.form() as u8) << 5;
            payload.write(self.0.as_ptr().add(at));
        }
    }

    /// What the entry's box holds, if it is a boxed value of type `kind`.
    ///
    /// # Safety
    /// `T` is what entries of that type box.
    unsafe fn boxed_mut<T>(&mut self, kind: Type) -> Option<&mut T> {
        let view = self.view();
        if view.form() != Form::Boxed || view.kind() != kind {
            return None;
        }
        // SAFETY: the entry owns the box, and `&mut self` makes the access unique; the type is the caller's
        // promise.
        unsafe { Some(&mut *self.boxed_at().cast::<T>()) }
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

    fn boxed_at(&self) -> *mut u8 {
        // SAFETY: callers checked that the form is Boxed, so 8 bytes of pointer stand there.
        unsafe { self.0.as_ptr().add(self.view().payload_at()).cast::<*mut u8>().read_unaligned() }
    }

    /// Frees what the entry points to, or leaves it to the snapshot that is not done with it.
    #[inline]
    fn drop_boxed(&mut self) {
        if self.view().form().is_pointer() {
            // SAFETY: callers overwrite or free the pointer next.
            pieces::leave(self.view().kind(), unsafe { self.boxed_payload() });
        }
    }

    /// What the entry points to.
    ///
    /// # Safety
    /// The entry's payload is a pointer, which is not used again.
    unsafe fn boxed_payload(&mut self) -> NewPayload<'static> {
        let at = self.boxed_at();
        // SAFETY: the entry owns what it points to, and the caller promises that this is the last use; the
        // type says what it is.
        unsafe {
            match self.view().kind() {
                Type::String if self.view().form() == Form::Paged => {
                    NewPayload::Paged(Box::from_raw(at.cast()))
                }
                Type::String => NewPayload::Shared(Arc::from_raw(at.cast())),
                Type::List => NewPayload::Nodes(Box::from_raw(at.cast())),
                Type::Set => NewPayload::Members(Box::from_raw(at.cast())),
                Type::SortedSet => NewPayload::Scored(Box::from_raw(at.cast())),
                Type::Hash => NewPayload::Fields(Box::from_raw(at.cast())),
                Type::Stream => NewPayload::Stream(Box::from_raw(at.cast())),
            }
        }
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
    fn next_expiry(self) -> i64 {
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

    /// # Safety
    /// `at` is the payload of an entry of form Boxed.
    unsafe fn boxed(self, at: *mut u8) -> Payload<'a> {
        // SAFETY: what the pointer leads to lives as long as the entry.
        unsafe {
            match self.kind() {
                Type::String => Payload::Shared(SharedRef(pointed(at))),
                Type::List => Payload::Nodes(pointed(at)),
                Type::Set => Payload::Members(pointed(at)),
                Type::SortedSet => Payload::Scored(pointed(at)),
                Type::Hash => Payload::Fields(pointed(at)),
                Type::Stream => Payload::Stream(pointed(at)),
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

    /// Who is saving the value in pieces, if anybody is.
    pub(crate) fn saver(self) -> Option<&'a dyn Saver> {
        match self.payload() {
            Payload::Members(table) => table.saver(),
            Payload::Scored(table) => table.saver(),
            Payload::Fields(table) => table.saver(),
            Payload::Nodes(list) => list.saver(),
            Payload::Stream(stream) => stream.saver(),
            // SAFETY: the form says that such a box stands there, which lives as long as the entry.
            Payload::Shared(_) if self.form() == Form::Paged => unsafe {
                pointed::<PagedText>(self.0.as_ptr().add(self.payload_at())).saver()
            },
            _ => None,
        }
    }

    /// How many blocks freeing it gives back, about.
    pub fn free_effort(self) -> usize {
        match self.payload() {
            Payload::Nodes(list) => list.free_effort(),
            Payload::Members(table) => table.free_effort(),
            Payload::Scored(table) => table.free_effort(),
            Payload::Fields(table) => table.len(),
            Payload::Stream(stream) => stream.free_effort(),
            Payload::Bytes(_) | Payload::Ints(_) | Payload::Int(_) | Payload::Shared(_) => 1,
        }
    }

    /// Panics if a structure of the value is not as it should be.
    pub fn check_invariants(self) {
        match self.payload() {
            Payload::Ints(ints) => assert!(Intset::validate(ints, true).is_ok()),
            Payload::Members(table) => table.check_invariants(),
            Payload::Fields(table) => table.check_invariants(),
            _ => {}
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

impl NewPayload<'_> {
    /// The value, if a snapshot can save it in pieces.
    pub(crate) fn savable(&mut self) -> Option<&mut dyn Savable> {
        match self {
            NewPayload::Members(table) => Some(&mut **table),
            NewPayload::Scored(table) => Some(&mut **table),
            NewPayload::Fields(table) => Some(&mut **table),
            NewPayload::Nodes(list) => Some(&mut **list),
            NewPayload::Stream(stream) => Some(&mut **stream),
            NewPayload::Paged(text) => Some(&mut **text),
            _ => None,
        }
    }

    fn form(&self) -> Form {
        match self {
            NewPayload::Bytes(_) => Form::Packed,
            NewPayload::Raw(_) => Form::Raw,
            NewPayload::Int(_) => Form::Int,
            NewPayload::Ints(_) => Form::Ints,
            NewPayload::Paged(_) => Form::Paged,
            NewPayload::Shared(_)
            | NewPayload::Nodes(_)
            | NewPayload::Members(_)
            | NewPayload::Scored(_)
            | NewPayload::Fields(_)
            | NewPayload::Stream(_) => Form::Boxed,
        }
    }

    fn len(&self) -> usize {
        match self {
            NewPayload::Bytes(bytes) | NewPayload::Raw(bytes) | NewPayload::Ints(bytes) => {
                text_len(bytes.len())
            }
            _ => 8,
        }
    }

    /// # Safety
    /// `at` has room for `len()` bytes.
    unsafe fn write(self, at: *mut u8) -> *mut u8 {
        // SAFETY: by the contract above.
        unsafe {
            match self {
                NewPayload::Bytes(bytes) | NewPayload::Raw(bytes) | NewPayload::Ints(bytes) => {
                    return write_text(at, bytes);
                }
                NewPayload::Int(value) => at.cast::<i64>().write_unaligned(value),
                NewPayload::Shared(bytes) => point_to(at, Arc::into_raw(bytes)),
                NewPayload::Paged(text) => point_to(at, Box::into_raw(text)),
                NewPayload::Nodes(list) => point_to(at, Box::into_raw(list)),
                NewPayload::Members(table) => point_to(at, Box::into_raw(table)),
                NewPayload::Scored(table) => point_to(at, Box::into_raw(table)),
                NewPayload::Fields(table) => point_to(at, Box::into_raw(table)),
                NewPayload::Stream(stream) => point_to(at, Box::into_raw(stream)),
            }
            at.add(8)
        }
    }
}

/// # Safety
/// `at` has room for a pointer.
unsafe fn point_to<T>(at: *mut u8, to: *const T) {
    // SAFETY: by the contract above.
    unsafe { at.cast::<*const T>().write_unaligned(to) };
}

/// # Safety
/// A pointer to a live `T` stands at `at`, and the `T` does not change during `'a`.
unsafe fn pointed<'a, T>(at: *const u8) -> &'a T {
    // SAFETY: by the contract above.
    unsafe { &*at.cast::<*const T>().read_unaligned() }
}

fn expiry_form(expires_at: Option<i64>) -> u8 {
    match expires_at {
        None => 0,
        Some(at) if (0..1 << 48).contains(&at) => 1,
        Some(_) => 2,
    }
}

#[inline]
const fn expiry_len(form: u8) -> usize {
    match form {
        0 => 0,
        1 => 6,
        _ => 8,
    }
}

/// # Safety
/// `at` has room for the form's bytes.
unsafe fn write_expiry(at: *mut u8, form: u8, expires_at: i64) -> *mut u8 {
    let len = expiry_len(form);
    // SAFETY: at most 8 bytes of the number are copied.
    unsafe {
        std::ptr::copy_nonoverlapping(expires_at.to_le_bytes().as_ptr(), at, len);
        at.add(len)
    }
}

#[inline]
const fn varint_len(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        0x20_0000..0x1000_0000 => 4,
        _ => 5,
    }
}

#[inline]
const fn text_len(len: usize) -> usize {
    varint_len(len) + len
}

/// # Safety
/// `at` has room for `varint_len(value)` bytes.
#[inline]
unsafe fn write_varint(mut at: *mut u8, mut value: usize) -> *mut u8 {
    // SAFETY: one byte for every seven bits, which is what varint_len counts.
    unsafe {
        while value >= 0x80 {
            *at = value as u8 | 0x80;
            value >>= 7;
            at = at.add(1);
        }
        *at = value as u8;
        at.add(1)
    }
}

/// # Safety
/// `at` has room for `text_len(bytes.len())` bytes.
#[inline]
unsafe fn write_text(at: *mut u8, bytes: &[u8]) -> *mut u8 {
    // SAFETY: by the contract above.
    unsafe {
        let at = write_varint(at, bytes.len());
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len());
        at.add(bytes.len())
    }
}

/// The text at `at` and the bytes it takes with its length.
///
/// # Safety
/// A text written by `write_text` stands at `at` and lives for `'a`.
#[inline]
unsafe fn read_text<'a>(at: *const u8) -> (&'a [u8], usize) {
    // SAFETY: by the contract above.
    unsafe {
        let first = *at;
        if first < 0x80 {
            return (slice::from_raw_parts(at.add(1), first as usize), 1 + first as usize);
        }
        let (mut len, mut shift, mut used) = ((first & 0x7f) as usize, 7, 1);
        loop {
            let byte = *at.add(used);
            len |= ((byte & 0x7f) as usize) << shift;
            (shift, used) = (shift + 7, used + 1);
            if byte < 0x80 {
                return (slice::from_raw_parts(at.add(used), len), used + len);
            }
        }
    }
}

fn layout(len: usize) -> Layout {
    Layout::from_size_align(len, 8).expect("an entry is far smaller than the address space")
}

fn allocate(len: usize) -> NonNull<u8> {
    // SAFETY: len is never 0: an entry has a head.
    let block = unsafe { alloc(layout(len)) };
    NonNull::new(block).unwrap_or_else(|| handle_alloc_error(layout(len)))
}

/// # Safety
/// `block` was allocated with `old` bytes.
unsafe fn reallocate(block: NonNull<u8>, old: usize, new: usize) -> NonNull<u8> {
    // SAFETY: by the contract above; `new` is never 0.
    let block = unsafe { realloc(block.as_ptr(), layout(old), new) };
    NonNull::new(block).unwrap_or_else(|| handle_alloc_error(layout(new)))
}

/// # Safety
/// `block` was allocated with `len` bytes and is not used again.
unsafe fn free(block: NonNull<u8>, len: usize) {
    // SAFETY: by the contract above.
    unsafe { dealloc(block.as_ptr(), layout(len)) };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What an entry should be.
    #[derive(Clone, Debug)]
    struct Model {
        key: Vec<u8>,
        bytes: Vec<u8>,
        expires_at: Option<i64>,
    }

    #[derive(Clone, Debug)]
    enum Op {
        Expire(Option<i64>),
        Set(Vec<u8>),
        Share(Vec<u8>),
        Splice { at: usize, remove: usize, insert: Vec<u8> },
        Rename(Vec<u8>),
        Append(Vec<u8>),
    }

    fn check(entry: &Entry, model: &Model) {
        let view = entry.view();
        assert_eq!(view.key(), model.key);
        assert_eq!(view.expires_at(), model.expires_at);
        assert_eq!(view.kind(), Type::String);
        assert_eq!(view.clock(), 0x12_3456);
        match view.payload() {
            Payload::Bytes(bytes) => {
                assert_eq!(bytes, model.bytes);
                let image = view.image().expect("bytes in place have an image").to_vec();
                assert_eq!(EntryRef::from_image(&image).key(), model.key);
            }
            Payload::Shared(shared) => assert_eq!(shared.bytes(), model.bytes),
            other => panic!("an unexpected payload: {:?}", std::mem::discriminant(&other)),
        }
    }

    fn apply(entry: &mut Entry, model: &mut Model, op: Op) {
        match op {
            Op::Expire(at) => {
                entry.set_expires_at(at);
                model.expires_at = at;
            }
            Op::Set(bytes) => {
                entry.set_payload(NewPayload::Bytes(&bytes));
                model.bytes = bytes;
            }
            Op::Share(bytes) => {
                entry.set_payload(NewPayload::Shared(Arc::new(bytes.clone())));
                model.bytes = bytes;
            }
            Op::Splice { at, remove, insert } if entry.view().image().is_some() => {
                let at = at % (model.bytes.len() + 1);
                let remove = remove % (model.bytes.len() - at + 1);
                entry.packed().splice(at, remove, &[&insert]);
                model.bytes.splice(at..at + remove, insert);
            }
            Op::Append(bytes) => {
                let len = model.bytes.len();
                if let Some(block) = entry.shared_mut(len..len) {
                    block.extend_from_slice(&bytes);
                    model.bytes.extend_from_slice(&bytes);
                }
            }
            Op::Rename(key) => {
                let old =
                    std::mem::replace(entry, Entry::new(b"", Type::String, NewPayload::Int(0), None, 0));
                *entry = old.with_key(&key);
                model.key = key;
            }
            Op::Splice { .. } => {}
        }
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..20),
            proptest::collection::vec(any::<u8>(), 120..135),
            proptest::collection::vec(any::<u8>(), 16_380..16_390),
        ]
    }

    fn op() -> impl Strategy<Value = Op> {
        let expiry = prop_oneof![
            Just(None),
            (0..1i64 << 48).prop_map(Some),
            (1i64 << 48..i64::MAX).prop_map(Some),
            Just(Some(-5))
        ];
        prop_oneof![
            expiry.prop_map(Op::Expire),
            bytes().prop_map(Op::Set),
            bytes().prop_map(Op::Share),
            bytes().prop_map(Op::Append),
            bytes().prop_map(Op::Rename),
            (any::<usize>(), any::<usize>(), bytes()).prop_map(|(at, remove, insert)| Op::Splice {
                at,
                remove,
                insert
            }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 256 }))]
        #[test]
        fn an_entry_keeps_its_parts(key in bytes(), ops in proptest::collection::vec(op(), 0..20)) {
            let mut model = Model { key: key.clone(), bytes: b"first".to_vec(), expires_at: None };
            let payload = NewPayload::Bytes(b"first");
            let mut entry = Entry::new(&key, Type::String, payload, None, 0x12_3456);
            check(&entry, &model);
            for op in ops {
                apply(&mut entry, &mut model, op);
                check(&entry, &model);
            }
        }
    }

    #[test]
    fn a_shared_string_survives_its_entry_and_edits_do_not_reach_it() {
        let payload = NewPayload::Shared(Arc::new(b"large".to_vec()));
        let mut entry = Entry::new(b"k", Type::String, payload, None, 0);
        let Payload::Shared(shared) = entry.view().payload() else { panic!("it is shared") };
        let kept = shared.to_arc();
        entry.shared_mut(5..6).expect("a string's block").push(b'!');
        let Payload::Shared(shared) = entry.view().payload() else { panic!("it is shared") };
        assert_eq!((shared.bytes(), kept.as_slice()), (b"large!".as_slice(), b"large".as_slice()));
        drop(entry);
        assert_eq!(kept.as_slice(), b"large");
    }

    #[test]
    fn small_entries_fit_the_blocks_that_the_figures_count_on() {
        let cases = [(16, 8, None, 32), (16, 32, None, 56), (16, 100, Some(1_700_000_000_000), 128)];
        for (key, value, expires_at, block) in cases {
            let (key, value) = (vec![b'k'; key], vec![b'v'; value]);
            let entry = Entry::new(&key, Type::String, NewPayload::Bytes(&value), expires_at, 0);
            assert!(entry.view().block_len() <= block, "{}", entry.view().block_len());
        }
    }
}
