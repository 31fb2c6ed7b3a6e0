//! Values in blocks of their own, to which an entry's payload points: how they come in, are looked at, edited
//! and let go. The pointer owns what it leads to.
#![allow(unsafe_code)]

use std::mem::ManuallyDrop;
use std::ops::Range;
use std::sync::Arc;

use base::defrag::Mover;
use ds::hash::FieldTable;
use ds::list::PackedList;
use ds::moving::{Movable, MovePosition};
use ds::saving::{Savable, Saver};
use ds::set::MemberTable;
use ds::sorted_set::ScoredTable;
use ds::stream::Stream;

use super::block::{text_len, write_text};
use super::{Entry, EntryRef, Form, Payload, Type};
use crate::paged::PagedText;
use crate::snapshot::pieces;

/// A string in a block of its own, borrowed from its entry.
#[derive(Clone, Copy)]
pub struct SharedRef<'a>(pub(super) &'a Vec<u8>);

impl<'a> SharedRef<'a> {
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// Another owner of the same block.
    pub fn to_arc(self) -> Arc<Vec<u8>> {
        let raw = std::ptr::from_ref(self.0);
        // SAFETY: an `Arc` owns what the reference points to (`EntryRef` makes them only, of a boxed or a
        // paged string), and the entry's own count keeps the block alive meanwhile.
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

impl Entry {
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

    /// Moves blocks that the entry points to, until the mover has done enough; false at the end.
    pub(crate) fn move_on(&mut self, position: &mut MovePosition, mover: &mut Mover) -> bool {
        if self.view().form() != Form::Boxed {
            return false;
        }
        // SAFETY: the pointer is overwritten next, whichever payload it is.
        let mut payload = unsafe { self.boxed_payload() };
        let more = payload.move_on(position, mover);
        self.set_pointer(payload);
        more
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

    /// A snapshot needs no more pages: if it was the last one, the string is as it was before.
    pub(crate) fn make_unpaged(&mut self) {
        if self.paged_mut().is_some_and(|text| !text.is_saved_by_any()) {
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

    fn boxed_at(&self) -> *mut u8 {
        // SAFETY: callers checked that the form is Boxed, so 8 bytes of pointer stand there.
        unsafe { self.0.as_ptr().add(self.view().payload_at()).cast::<*mut u8>().read_unaligned() }
    }

    /// Frees what the entry points to, or leaves it to the snapshots that are not done with it.
    #[inline]
    pub(super) fn drop_boxed(&mut self) {
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
}

impl<'a> EntryRef<'a> {
    /// # Safety
    /// `at` is the payload of an entry of form Boxed.
    pub(super) unsafe fn boxed(self, at: *mut u8) -> Payload<'a> {
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

    /// Who is saving the value in pieces under this number, if anybody is.
    pub(crate) fn saver(self, number: u32) -> Option<&'a dyn Saver> {
        match self.payload() {
            Payload::Members(table) => table.saver(number),
            Payload::Scored(table) => table.saver(number),
            Payload::Fields(table) => table.saver(number),
            Payload::Nodes(list) => list.saver(number),
            Payload::Stream(stream) => stream.saver(number),
            // SAFETY: the form says that such a box stands there, which lives as long as the entry.
            Payload::Shared(_) if self.form() == Form::Paged => unsafe {
                pointed::<PagedText>(self.0.as_ptr().add(self.payload_at())).saver(number)
            },
            _ => None,
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

    /// As `Entry::move_on`.
    fn move_on(&mut self, position: &mut MovePosition, mover: &mut Mover) -> bool {
        match self {
            NewPayload::Shared(text) => {
                mover.shared(text);
                if let Some(bytes) = Arc::get_mut(text) {
                    mover.vec(bytes);
                }
                false
            }
            NewPayload::Nodes(list) => move_boxed(list, position, mover),
            NewPayload::Members(table) => move_boxed(table, position, mover),
            NewPayload::Scored(table) => move_boxed(table, position, mover),
            NewPayload::Fields(table) => move_boxed(table, position, mover),
            NewPayload::Stream(stream) => move_boxed(stream, position, mover),
            _ => false,
        }
    }

    pub(super) fn form(&self) -> Form {
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

    pub(super) fn len(&self) -> usize {
        match self {
            NewPayload::Bytes(bytes) | NewPayload::Raw(bytes) | NewPayload::Ints(bytes) => {
                text_len(bytes.len())
            }
            _ => 8,
        }
    }

    /// # Safety
    /// `at` has room for `len()` bytes.
    pub(super) unsafe fn write(self, at: *mut u8) -> *mut u8 {
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

/// A structure's own box comes first.
fn move_boxed<T: Movable + Default>(
    value: &mut Box<T>,
    position: &mut MovePosition,
    mover: &mut Mover,
) -> bool {
    if *position == MovePosition::default() {
        mover.boxed(value);
    }
    value.move_on(position, mover)
}

/// # Safety
/// `at` has room for a pointer.
unsafe fn point_to<T>(at: *mut u8, to: *const T) {
    // SAFETY: by the contract above.
    unsafe { at.cast::<*const T>().write_unaligned(to) };
}

/// # Safety
/// A pointer to a live `T` stands at `at`, and the `T` does not change during `'a`.
pub(super) unsafe fn pointed<'a, T>(at: *const u8) -> &'a T {
    // SAFETY: by the contract above.
    unsafe { &*at.cast::<*const T>().read_unaligned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_moves_with_its_bytes() {
        let text = || NewPayload::Shared(Arc::new(vec![b'x'; 20_000]));
        let mut entry = Entry::new(b"key", Type::String, text(), None, 0);
        let mut mover = Mover::of_everything();
        mover.begin(1000);
        assert!(!entry.move_on(&mut MovePosition::default(), &mut mover));
        assert_eq!(mover.moved, 2, "the block that counts its owners, and the bytes");
        let same = Entry::new(b"key", Type::String, text(), None, 0);
        assert_eq!(entry.view().memory(), same.view().memory());
    }
}
