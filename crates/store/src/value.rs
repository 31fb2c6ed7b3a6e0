//! Typed access to entries: a [`Kind`] is a marker whose references see a value only as that type.

use ds::hash::HashRef;
use ds::table::SlotId;
pub use rdb::Thresholds;

use crate::db::{Db, Key};
use crate::entry::{EntryRef, Type};
use crate::hash::{HashMut, view_hash};
use crate::text::{TextMut, TextRef};

/// Where a value lies, for the handles that change it.
pub struct Place<'a> {
    pub db: &'a mut Db,
    pub slot: SlotId,
    pub thresholds: Thresholds,
    /// Unix milliseconds: fields whose time has passed are not there.
    pub now: i64,
}

impl Place<'_> {
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
