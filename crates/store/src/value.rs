//! Typed access to entries: a [`Kind`] is a marker whose references see a value only as that type.

use ds::hash::HashRef;
use ds::list::ListRef;
use ds::set::SetRef;
use ds::sorted_set::SortedSetRef;
use ds::table::SlotId;
pub use rdb::Thresholds;

use crate::db::{Db, Key};
use crate::entry::{EntryRef, Type};
use crate::hash::{HashMut, view_hash};
use crate::list::{self, ListMut};
use crate::set::{self, SetMut};
use crate::sorted_set::{self, SortedSetMut};
use crate::stream::{self, StreamMut};
use crate::text::{TextMut, TextRef};

/// Where a value lies, for the handles that change it.
pub struct Place<'a> {
    pub db: &'a mut Db,
    pub slot: SlotId,
    pub thresholds: &'a Thresholds,
    /// Unix milliseconds: fields whose time has passed are not there.
    pub now: i64,
}

impl Place<'_> {
    #[inline]
    pub fn view(&self) -> EntryRef<'_> {
        self.db.view(self.slot)
    }
}

/// A type of value.
pub trait Kind {
    const TYPE: Type;
    type Ref<'a>;
    type Mut<'a>;
    /// `entry` is of this type.
    fn view(entry: EntryRef<'_>) -> Self::Ref<'_>;
    /// The entry at `place` is of this type.
    fn edit(place: Place<'_>) -> Self::Mut<'_>;
    /// Adds an empty value under an absent key.
    fn create(db: &mut Db, key: Key<'_>, clock: u32) -> SlotId;
}

/// Strings.
pub struct Text;

impl Kind for Text {
    const TYPE: Type = Type::String;
    type Ref<'a> = TextRef<'a>;
    type Mut<'a> = TextMut<'a>;

    #[inline]
    fn view(entry: EntryRef<'_>) -> TextRef<'_> {
        TextRef::of(entry)
    }

    #[inline]
    fn edit(place: Place<'_>) -> TextMut<'_> {
        TextMut::new(place)
    }

    fn create(db: &mut Db, key: Key<'_>, clock: u32) -> SlotId {
        TextMut::create(db, key, clock)
    }
}

/// Hashes.
pub struct Hash;

impl Kind for Hash {
    const TYPE: Type = Type::Hash;
    type Ref<'a> = HashRef<'a>;
    type Mut<'a> = HashMut<'a>;

    fn view(entry: EntryRef<'_>) -> HashRef<'_> {
        view_hash(entry)
    }

    fn edit(place: Place<'_>) -> HashMut<'_> {
        HashMut::new(place)
    }

    fn create(db: &mut Db, key: Key<'_>, clock: u32) -> SlotId {
        HashMut::create(db, key, clock)
    }
}

/// Lists.
pub struct List;

impl Kind for List {
    const TYPE: Type = Type::List;
    type Ref<'a> = ListRef<'a>;
    type Mut<'a> = ListMut<'a>;

    fn view(entry: EntryRef<'_>) -> Self::Ref<'_> {
        list::view_list(entry)
    }

    fn edit(place: Place<'_>) -> ListMut<'_> {
        ListMut::new(place)
    }

    fn create(db: &mut Db, key: Key<'_>, clock: u32) -> SlotId {
        ListMut::create(db, key, clock)
    }
}

/// Sets.
pub struct Set;

impl Kind for Set {
    const TYPE: Type = Type::Set;
    type Ref<'a> = SetRef<'a>;
    type Mut<'a> = SetMut<'a>;

    fn view(entry: EntryRef<'_>) -> Self::Ref<'_> {
        set::view_set(entry)
    }

    fn edit(place: Place<'_>) -> SetMut<'_> {
        SetMut::new(place)
    }

    fn create(db: &mut Db, key: Key<'_>, clock: u32) -> SlotId {
        SetMut::create(db, key, clock)
    }
}

/// Sorted sets.
pub struct SortedSet;

impl Kind for SortedSet {
    const TYPE: Type = Type::SortedSet;
    type Ref<'a> = SortedSetRef<'a>;
    type Mut<'a> = SortedSetMut<'a>;

    fn view(entry: EntryRef<'_>) -> Self::Ref<'_> {
        sorted_set::view_sorted_set(entry)
    }

    fn edit(place: Place<'_>) -> SortedSetMut<'_> {
        SortedSetMut::new(place)
    }

    fn create(db: &mut Db, key: Key<'_>, clock: u32) -> SlotId {
        SortedSetMut::create(db, key, clock)
    }
}

/// Streams.
pub struct Stream;

impl Kind for Stream {
    const TYPE: Type = Type::Stream;
    type Ref<'a> = &'a ds::stream::Stream;
    type Mut<'a> = StreamMut<'a>;

    fn view(entry: EntryRef<'_>) -> Self::Ref<'_> {
        stream::view_stream(entry)
    }

    fn edit(place: Place<'_>) -> StreamMut<'_> {
        StreamMut::new(place)
    }

    fn create(db: &mut Db, key: Key<'_>, clock: u32) -> SlotId {
        StreamMut::create(db, key, clock)
    }
}
