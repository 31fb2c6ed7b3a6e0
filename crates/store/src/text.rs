//! Strings in entries: integers stay integers, short ones lie in the entry, long ones in a shared block.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use base::num::{i64_len, parse_i64};
use ds::listpack::Buffer;
use ds::table::SlotId;

use crate::db::{Db, Key};
use crate::entry::{Entry, EntryRef, NewPayload, Payload, SHARED_LEN, SharedRef, Type};
use crate::value::Place;

/// A string, borrowed.
#[derive(Clone, Copy)]
pub enum TextRef<'a> {
    Bytes(&'a [u8]),
    Int(i64),
    Shared(SharedRef<'a>),
}

/// A string on its way in: a part of the request, or a block that was read for it alone.
pub enum Incoming<'a> {
    Slice(&'a [u8]),
    /// Not an integer, whatever it prints; raw at any length.
    Raw(&'a [u8]),
    Shared(Arc<Vec<u8>>),
}

/// Strings of at most so many bytes are called embstr when they were set and not edited.
const EMBEDDED_LEN: usize = 44;
/// Decimal digits and sign of an i64.
const INT_LEN: usize = 20;

impl<'a> TextRef<'a> {
    #[inline]
    pub(crate) fn of(entry: EntryRef<'a>) -> TextRef<'a> {
        match entry.payload() {
            Payload::Bytes(bytes) => TextRef::Bytes(bytes),
            Payload::Int(value) => TextRef::Int(value),
            Payload::Shared(shared) => TextRef::Shared(shared),
            _ => unreachable!("a string is bytes or a number"),
        }
    }

    pub fn len(self) -> usize {
        match self {
            TextRef::Bytes(bytes) => bytes.len(),
            TextRef::Int(value) => i64_len(value),
            TextRef::Shared(shared) => shared.bytes().len(),
        }
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The bytes; an integer is printed.
    pub fn bytes(self) -> Cow<'a, [u8]> {
        match self {
            TextRef::Bytes(bytes) => Cow::Borrowed(bytes),
            TextRef::Int(value) => Cow::Owned(value.to_string().into_bytes()),
            TextRef::Shared(shared) => Cow::Borrowed(shared.bytes()),
        }
    }

    /// The value as a strict integer.
    pub fn integer(self) -> Option<i64> {
        match self {
            TextRef::Int(value) => Some(value),
            TextRef::Bytes(bytes) => parse_i64(bytes),
            TextRef::Shared(_) => None,
        }
    }
}

/// The encoding's name, as OBJECT ENCODING answers it.
pub fn encoding(entry: EntryRef<'_>) -> &'static str {
    match entry.payload() {
        Payload::Int(_) => "int",
        Payload::Bytes(bytes) if bytes.len() <= EMBEDDED_LEN && !entry.is_raw() => "embstr",
        _ => "raw",
    }
}

impl<'a> Incoming<'a> {
    /// Bytes that a command made; a large block is taken, not copied.
    pub fn computed(bytes: &'a mut Vec<u8>) -> Incoming<'a> {
        if bytes.len() < SHARED_LEN {
            Incoming::Raw(bytes)
        } else {
            Incoming::Shared(Arc::new(std::mem::take(bytes)))
        }
    }

    pub fn bytes(&self) -> &[u8] {
        match self {
            Incoming::Slice(bytes) | Incoming::Raw(bytes) => bytes,
            Incoming::Shared(bytes) => bytes,
        }
    }

    /// The form it is kept in: an integer if it prints as one, in place if short, else a block.
    #[inline]
    fn payload(self) -> NewPayload<'a> {
        match self {
            Incoming::Slice(bytes) if bytes.len() <= INT_LEN => {
                parse_i64(bytes).map_or(NewPayload::Bytes(bytes), NewPayload::Int)
            }
            Incoming::Slice(bytes) if bytes.len() < SHARED_LEN => NewPayload::Bytes(bytes),
            Incoming::Raw(bytes) if bytes.len() < SHARED_LEN => NewPayload::Raw(bytes),
            Incoming::Slice(bytes) | Incoming::Raw(bytes) => NewPayload::Shared(Arc::new(bytes.to_vec())),
            Incoming::Shared(bytes) => NewPayload::Shared(bytes),
        }
    }
}

/// What becomes of a key's time of expiry when its value is set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expiry {
    Drop,
    Keep,
    /// Unix milliseconds.
    At(i64),
}

impl Expiry {
    /// The time a key has afterwards that had `old` before.
    #[inline]
    pub fn apply(self, old: Option<i64>) -> Option<i64> {
        match self {
            Expiry::Drop => None,
            Expiry::Keep => old,
            Expiry::At(at) => Some(at),
        }
    }
}

/// Sets a string over another, in the old one's block if the sizes allow.
#[inline]
pub fn overwrite(entry: &mut Entry, value: Incoming<'_>, expiry: Expiry, clock: u32) {
    let old = entry.view().expires_at();
    let new = expiry.apply(old);
    if new != old {
        entry.set_expires_at(new);
    }
    entry.set_payload(value.payload());
    entry.view().touch(clock);
}

/// A new string entry.
#[inline]
pub fn entry(key: &[u8], value: Incoming<'_>, expires_at: Option<i64>, clock: u32) -> Entry {
    Entry::new(key, Type::String, value.payload(), expires_at, clock)
}

/// A string, for edits in place.
pub struct TextMut<'a>(Place<'a>);

impl<'a> TextMut<'a> {
    #[inline]
    pub(crate) fn new(place: Place<'a>) -> TextMut<'a> {
        TextMut(place)
    }

    pub(crate) fn create(db: &mut Db, key: Key<'_>, clock: u32) -> SlotId {
        db.insert(key.hash, Entry::new(key.bytes, Type::String, NewPayload::Raw(b""), None, clock))
    }

    pub fn view(&self) -> TextRef<'_> {
        TextRef::of(self.0.view())
    }

    /// The value as a strict integer.
    #[inline]
    pub fn integer(&self) -> Option<i64> {
        self.0.view().int().or_else(|| self.view().integer())
    }

    pub fn set(&mut self, value: Incoming<'_>) {
        let payload = value.payload();
        self.0.db.edit(self.0.slot, |entry| entry.set_payload(payload));
    }

    #[inline]
    pub fn set_int(&mut self, value: i64) {
        if !self.0.db.replace_int(self.0.slot, value) {
            self.set_first_int(value);
        }
    }

    #[cold]
    fn set_first_int(&mut self, value: i64) {
        self.0.db.edit(self.0.slot, |entry| entry.set_payload(NewPayload::Int(value)));
    }

    /// Keeps an integer, or a string as it was set, as a raw string from now on.
    pub fn make_raw(&mut self) {
        let view = self.0.view();
        let is_raw = match view.payload() {
            Payload::Int(_) => false,
            Payload::Bytes(_) => view.is_raw(),
            _ => true,
        };
        if !is_raw {
            self.edit_bytes(0, 0..0, |_| ());
        }
    }

    /// Adds to the end; the new length in bytes.
    pub fn append(&mut self, suffix: &[u8]) -> usize {
        let len = self.view().len();
        self.splice(len, 0, suffix);
        len + suffix.len()
    }

    /// Overwrites from `offset` on, filling a gap before it with zeros; the new length in bytes.
    pub fn set_range(&mut self, offset: usize, bytes: &[u8]) -> usize {
        let end = offset + bytes.len();
        self.edit_bytes(end, offset..end, |all| {
            all[offset..offset + bytes.len()].copy_from_slice(bytes);
            all.len()
        })
    }

    /// Applies `change` to the bytes, made `len` long first if they are shorter (zeros are added). It changes
    /// none outside of `changed`.
    pub fn edit_bytes<R>(
        &mut self,
        len: usize,
        changed: Range<usize>,
        change: impl FnOnce(&mut [u8]) -> R,
    ) -> R {
        let missing = len.saturating_sub(self.view().len());
        self.0.db.edit(self.0.slot, |entry| {
            make_raw(entry, len);
            if let Some(bytes) = entry.shared_mut(changed) {
                reserve(bytes, missing);
                bytes.resize(bytes.len() + missing, 0);
                return change(bytes);
            }
            let old = entry.bytes_mut().len();
            entry.packed().splice(old, 0, &[&vec![0; missing]]);
            entry.mark_raw();
            change(entry.bytes_mut())
        })
    }

    /// Replaces `remove` bytes at `at` by others. Leaves the raw form, in place or as a block.
    fn splice(&mut self, at: usize, remove: usize, insert: &[u8]) {
        let len = self.view().len() - remove + insert.len();
        self.0.db.edit(self.0.slot, |entry| {
            make_raw(entry, len);
            let end = if insert.len() == remove { at + remove } else { usize::MAX };
            match entry.shared_mut(at..end) {
                Some(bytes) => splice_block(bytes, at, remove, insert),
                None => {
                    entry.packed().splice(at, remove, &[insert]);
                    entry.mark_raw();
                }
            }
        });
    }
}

/// Gives the string the form that bytes of this length are edited in. A block of its own has room for just
/// these: what grows again gets more then.
fn make_raw(entry: &mut Entry, len: usize) {
    let with_room = |bytes: &[u8]| {
        let mut block = Vec::with_capacity(len.max(bytes.len()));
        block.extend_from_slice(bytes);
        block
    };
    let payload = match entry.view().payload() {
        Payload::Int(value) => Some(with_room(value.to_string().as_bytes())),
        Payload::Bytes(bytes) if len >= SHARED_LEN => Some(with_room(bytes)),
        _ => None,
    };
    let Some(bytes) = payload else { return };
    if len >= SHARED_LEN {
        entry.set_payload(NewPayload::Shared(Arc::new(bytes)));
    } else {
        entry.set_payload(NewPayload::Raw(&bytes));
    }
}

/// Replaces a part of a block.
fn splice_block(bytes: &mut Vec<u8>, at: usize, remove: usize, insert: &[u8]) {
    reserve(bytes, insert.len().saturating_sub(remove));
    if remove == insert.len() {
        bytes[at..at + remove].copy_from_slice(insert);
    } else if at + remove == bytes.len() {
        bytes.truncate(at);
        bytes.extend_from_slice(insert);
    } else {
        bytes.splice(at..at + remove, insert.iter().copied());
    }
}

/// Makes room for `added` bytes more, and as many again up to a megabyte: appends come in series.
fn reserve(bytes: &mut Vec<u8>, added: usize) {
    let len = bytes.len() + added;
    if len > bytes.capacity() {
        bytes.reserve_exact(added + len.min(GROWTH_STEP_MAX));
    }
}

const GROWTH_STEP_MAX: usize = 1 << 20;
