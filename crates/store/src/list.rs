//! Lists in entries: one listpack in the entry while small, nodes in a box beyond the limits of one. Redis'
//! rules decide: a list leaves the listpack before it grows too long, and is packed again at half the limits.

use ds::list::{Direction, End, ListRef, PackedList, Shrinking, packed};
use ds::listpack::{Listpack, Needle};
use ds::table::SlotId;

use crate::db::{Db, Key};
use crate::entry::{Entry, EntryRef, NewPayload, Payload, Type};
use crate::value::Place;

/// The value in an entry of that type.
#[inline]
pub fn view_list(entry: EntryRef<'_>) -> ListRef<'_> {
    match entry.payload() {
        Payload::Bytes(packed) => ListRef::Packed(Listpack::trusted(packed)),
        Payload::Nodes(nodes) => ListRef::Nodes(nodes),
        _ => unreachable!("a list is packed or nodes"),
    }
}

/// The encoding's name, as OBJECT ENCODING answers it.
pub fn encoding(entry: EntryRef<'_>) -> &'static str {
    match entry.payload() {
        Payload::Nodes(_) => "quicklist",
        _ => "listpack",
    }
}

/// The value, for edits.
pub struct ListMut<'a>(Place<'a>);

impl<'a> ListMut<'a> {
    pub(crate) fn new(place: Place<'a>) -> ListMut<'a> {
        ListMut(place)
    }

    pub(crate) fn create(db: &mut Db, key: Key<'_>, clock: u32) -> SlotId {
        let empty = Listpack::new_empty();
        db.insert(key.hash, Entry::new(key.bytes, Type::List, NewPayload::Bytes(&empty), None, clock))
    }

    pub fn view(&self) -> ListRef<'_> {
        view_list(self.0.view())
    }

    pub fn len(&self) -> usize {
        self.view().len()
    }

    pub fn is_empty(&self) -> bool {
        self.view().is_empty()
    }

    /// How long the list is then.
    pub fn push(&mut self, end: End, element: &[u8]) -> usize {
        self.make_room(element.len(), 1);
        self.0.db.edit(self.0.slot, |entry| {
            if let Some(list) = entry.nodes_mut() {
                list.push(end, element);
                return list.len();
            }
            packed::push(&mut entry.packed(), end, element);
            view_list(entry.view()).len()
        })
    }

    /// Pushes one element after the other. How long the list is then.
    pub fn push_all<'e>(
        &mut self,
        end: End,
        mut elements: impl ExactSizeIterator<Item = &'e [u8]> + Clone,
    ) -> usize {
        if elements.len() == 1 {
            return elements.next().map_or(0, |element| self.push(end, element));
        }
        let len = elements.clone().map(<[u8]>::len).sum();
        self.make_room(len, elements.len());
        self.0.db.edit(self.0.slot, |entry| {
            if let Some(list) = entry.nodes_mut() {
                return elements.for_each(|element| list.push(end, element));
            }
            let Payload::Bytes(old) = entry.view().payload() else { return };
            // In the entry each push would allocate.
            let mut pack = Vec::with_capacity(old.len() + len + elements.len() * ELEMENT_OVERHEAD);
            pack.extend_from_slice(old);
            elements.for_each(|element| packed::push(&mut pack, end, element));
            entry.set_payload(NewPayload::Bytes(&pack));
        });
        self.len()
    }

    /// Inserts before the element at `index`, or behind the last one.
    pub fn insert(&mut self, index: usize, element: &[u8]) {
        self.make_room(element.len(), 1);
        self.0.db.edit(self.0.slot, |entry| match entry.nodes_mut() {
            Some(list) => list.insert(index, element),
            None => packed::insert(&mut entry.packed(), index, element),
        });
    }

    /// Replaces the element at `index`, which is there.
    pub fn replace(&mut self, index: usize, element: &[u8]) {
        self.make_room(element.len(), 1);
        self.0.db.edit(self.0.slot, |entry| match entry.nodes_mut() {
            Some(list) => list.replace(index, element),
            None => packed::replace(&mut entry.packed(), index, element),
        });
        self.pack_if_small();
    }

    /// Removes `count` elements from `index` on.
    pub fn remove(&mut self, index: usize, count: usize) {
        self.0.db.edit(self.0.slot, |entry| match entry.nodes_mut() {
            Some(list) => list.remove(index, count),
            None => packed::remove(&mut entry.packed(), index, count),
        });
        self.pack_if_small();
    }

    /// Removes up to `max` elements that match, the first or the last ones, and returns how many.
    pub fn remove_matching(&mut self, needle: &Needle<'_>, max: usize, direction: Direction) -> usize {
        // A list that stays as it is needs no pre-image.
        if self.view().find(needle).is_none() {
            return 0;
        }
        let removed = self.0.db.edit(self.0.slot, |entry| match entry.nodes_mut() {
            Some(list) => list.remove_matching(needle, max, direction),
            None => packed::remove_matching(&mut entry.packed(), needle, max, direction),
        });
        self.pack_if_small();
        removed
    }

    /// Gives a packed list nodes if it would exceed the limits with so many bytes and elements more.
    fn make_room(&mut self, added_len: usize, added_count: usize) {
        let ListRef::Packed(pack) = self.view() else { return };
        let limits = self.0.thresholds.list_limits();
        if limits.are_exceeded_by(pack.bytes().len() + added_len, pack.len() + added_count) {
            let list = Box::new(PackedList::from_packed(pack, limits));
            self.0.db.edit(self.0.slot, |entry| entry.set_payload(NewPayload::Nodes(list)));
        }
    }

    fn pack_if_small(&mut self) {
        let ListRef::Nodes(list) = self.view() else { return };
        if let Some(pack) = list.as_packed(Shrinking::Yes) {
            let pack = pack.bytes().to_vec();
            self.0.db.edit(self.0.slot, |entry| entry.set_payload(NewPayload::Bytes(&pack)));
        }
    }
}

/// Bytes that an element takes beside its content, mostly.
const ELEMENT_OVERHEAD: usize = 4;
