//! A large value that is saved as it was at one moment, piece by piece, while it changes. Several snapshots
//! may save it at once, each as it was at its own moment.
//!
//! Whoever changes or removes a part saves it first, for everyone who has not got it yet; what comes in
//! afterwards is not saved. Nothing is noted but one bit for each part, so memory does not grow with what is
//! changed. Nor with what is removed: while there is no room for pieces, a part that is taken out is kept as
//! it is. It does not know what becomes of the pieces.

use std::any::Any;
use std::ops::ControlFlow;

use base::hash::hash;
use base::limits::SNAPSHOTS;

use crate::gone::{Gone, wanters};
use crate::hash::FieldRef;
use crate::list::SharedNodes;
use crate::stream::{Consumer, Group, Pending, StreamId};
use crate::table::{Item, SlotId, Table, WalkPosition};

/// A part of a value as it was.
pub enum Piece<'a> {
    Field(FieldRef<'a>),
    Member(&'a [u8]),
    Scored {
        member: &'a [u8],
        score: f64,
    },
    /// Neighbouring nodes of a list, whose stored bytes begin at `at` among those of all.
    Nodes {
        at: u64,
        nodes: SharedNodes,
        fate: Fate,
    },
    StreamNode {
        master: StreamId,
        node: &'a [u8],
    },
    /// A part of a stream's groups, which begins at `at` among the bytes of all.
    OfGroup {
        at: u64,
        part: GroupPart<'a>,
    },
    /// Bytes of a string.
    Bytes {
        at: u64,
        bytes: &'a [u8],
    },
}

/// What becomes of what a piece shares with the value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Hardly any of it changes soon: it is to be kept as it is.
    Stays,
    /// It changes next: short nodes are to be copied, as else whoever changes one moves to another block.
    Changing,
    /// It leaves the value: who shares it takes no more memory than that did.
    Leaving,
}

/// A part of a consumer group.
pub enum GroupPart<'a> {
    /// All before its pending entries.
    Head {
        name: &'a [u8],
        group: &'a Group,
    },
    Pending(&'a mut dyn Iterator<Item = (StreamId, Pending)>),
    /// How many consumers follow, or entries that were given back.
    Count(u64),
    /// All before the ids of its entries.
    Consumer(&'a Consumer),
    Ids(&'a mut dyn Iterator<Item = StreamId>),
}

/// Takes the pieces of one value.
pub trait Saver: Any + Send + Sync {
    /// `Break` says that this is enough for one go.
    fn save(&mut self, piece: Piece<'_>) -> ControlFlow<()>;

    /// Whether copies of what is removed would take more memory than there is for them.
    fn lacks_room(&self) -> bool {
        false
    }
}

/// A value that can be saved in pieces, by several snapshots at once: each gets it as it was at its own
/// beginning.
pub trait Savable {
    /// From now on every part that is there has to be saved. `number` was never used before.
    fn begin_saving(&mut self, number: u32, saver: Box<dyn Saver>);

    /// Saves some of the parts that are left; false if none is.
    fn save_on(&mut self, number: u32) -> bool;

    /// Saves the part of this name, if parts have names: the caller is about to change it.
    fn save_named(&mut self, _name: &[u8]) {}

    /// Bytes that are saved, about, because of a change to one part that cannot be named.
    fn part_len(&self) -> u64 {
        0
    }

    /// Ends a saving, finished or not.
    fn end_saving(&mut self, number: u32) -> Option<Ended>;

    /// Who is saving it under this number, if anybody is.
    fn saver(&self, number: u32) -> Option<&dyn Saver>;

    /// Shows all who are saving it.
    fn each_saver(&mut self, visit: &mut dyn FnMut(&mut dyn Saver));
}

/// What is left of a saving.
pub struct Ended {
    pub saver: Box<dyn Saver>,
    /// Parts that were kept for it alone, if there are any: much to free.
    pub kept: Option<Box<dyn Send>>,
}

impl Ended {
    pub(crate) fn new<T: Send + 'static>(saver: Box<dyn Saver>, kept: Option<T>) -> Ended {
        Ended { saver, kept: kept.map(|kept| Box::new(kept) as Box<dyn Send>) }
    }

    /// Of a value that never keeps what is taken out.
    pub fn alone(saver: Box<dyn Saver>) -> Ended {
        Ended { saver, kept: None }
    }
}

/// The savings of one value, and how far each has come.
pub struct Savings<P>(Vec<Saving<P>>);

pub struct Saving<P> {
    pub number: u32,
    pub saver: Box<dyn Saver>,
    pub progress: P,
}

impl<P> Default for Savings<P> {
    #[inline]
    fn default() -> Self {
        Savings(Vec::new())
    }
}

impl<P> Savings<P> {
    #[inline]
    pub fn any(&self) -> bool {
        SNAPSHOTS && !self.0.is_empty()
    }

    pub fn begin(&mut self, number: u32, saver: Box<dyn Saver>, progress: P) {
        assert!(self.saver(number).is_none(), "snapshot numbers are not used twice");
        self.0.push(Saving { number, saver, progress });
    }

    pub fn end(&mut self, number: u32) -> Option<Box<dyn Saver>> {
        let at = self.0.iter().position(|saving| saving.number == number)?;
        let saver = self.0.swap_remove(at).saver;
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
        Some(saver)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Saving<P>> {
        self.0.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Saving<P>> {
        self.0.iter_mut()
    }

    /// Whether anybody is without room for copies.
    pub fn lack_room(&self) -> bool {
        self.iter().any(|saving| saving.saver.lacks_room())
    }

    pub fn get_mut(&mut self, number: u32) -> Option<&mut Saving<P>> {
        self.iter_mut().find(|saving| saving.number == number)
    }

    pub fn saver(&self, number: u32) -> Option<&dyn Saver> {
        Some(&*self.iter().find(|saving| saving.number == number)?.saver)
    }

    pub fn each_saver(&mut self, visit: &mut dyn FnMut(&mut dyn Saver)) {
        self.iter_mut().for_each(|saving| visit(&mut *saving.saver));
    }
}

/// An item of a table as a piece.
pub(crate) trait Part: Item + Send + 'static {
    fn piece<'a>(item: Self::Ref<'a>) -> Piece<'a>;

    fn content(&self) -> Self::Ref<'_>;

    /// Another one with the same content.
    fn copy(item: Self::Ref<'_>) -> Self;
}

/// The savings of a table's items.
pub(crate) struct TableSavings<T> {
    savings: Savings<WalkPosition>,
    gone: Gone<T>,
}

impl<T> Default for TableSavings<T> {
    fn default() -> Self {
        TableSavings { savings: Savings::default(), gone: Gone::default() }
    }
}

impl<T: Part> TableSavings<T> {
    #[inline]
    pub fn any(&self) -> bool {
        self.savings.any()
    }

    /// An item is about to be changed.
    #[inline]
    pub fn keep(&mut self, table: &mut Table<T>, slot: SlotId) {
        if self.any() {
            self.save(table, slot);
        }
    }

    /// Takes an item out of the table.
    #[inline]
    pub fn take(&mut self, table: &mut Table<T>, slot: SlotId) -> T {
        if self.any() {
            return self.take_out(table, slot);
        }
        table.remove(slot)
    }

    #[cold]
    fn save(&mut self, table: &mut Table<T>, slot: SlotId) {
        for Saving { number, saver, .. } in self.savings.iter_mut() {
            if !table.is_done(*number, slot) {
                table.mark_done(*number, slot);
                // A writer saves what it has to, however much that is.
                let _ = saver.save(T::piece(table.view(slot)));
            }
        }
    }

    #[cold]
    fn take_out(&mut self, table: &mut Table<T>, slot: SlotId) -> T {
        if !self.savings.lack_room() {
            self.save(table, slot);
            return table.remove(slot);
        }
        let numbers = self.savings.iter().map(|saving| saving.number);
        let wanters = wanters(numbers.filter(|number| !table.is_done(*number, slot)));
        let item = table.remove(slot);
        // What the caller gets is gone soon; what is kept has its place already.
        let copy = T::copy(item.content());
        self.gone.put(wanters, item);
        copy
    }
}

/// A value whose parts are the items of one table.
pub(crate) trait TableSaving {
    type Part: Part;

    fn savings(&self) -> &TableSavings<Self::Part>;

    fn parts(&mut self) -> (&mut TableSavings<Self::Part>, &mut Table<Self::Part>);
}

impl<V: TableSaving> Savable for V {
    fn begin_saving(&mut self, number: u32, saver: Box<dyn Saver>) {
        let (TableSavings { savings, .. }, table) = self.parts();
        table.snapshot_begin(number);
        savings.begin(number, saver, WalkPosition::default());
    }

    fn save_on(&mut self, number: u32) -> bool {
        let (TableSavings { savings, gone }, table) = self.parts();
        let Some(Saving { saver, progress, .. }) = savings.get_mut(number) else { return false };
        // These free memory.
        if gone.save_on(number, |item| saver.save(V::Part::piece(item.content()))) {
            return true;
        }
        let next =
            table.snapshot_walk(number, *progress, LINES, &mut |item| saver.save(V::Part::piece(item)));
        *progress = next.unwrap_or(*progress);
        next.is_some()
    }

    fn save_named(&mut self, name: &[u8]) {
        let (savings, table) = self.parts();
        if let Some(slot) = table.find(hash(name), name) {
            savings.keep(table, slot);
        }
    }

    fn end_saving(&mut self, number: u32) -> Option<Ended> {
        let (TableSavings { savings, gone }, table) = self.parts();
        table.snapshot_end(number);
        let kept = gone.forget(number);
        Some(Ended::new(savings.end(number)?, (!kept.is_empty()).then_some(kept)))
    }

    fn saver(&self, number: u32) -> Option<&dyn Saver> {
        self.savings().savings.saver(number)
    }

    fn each_saver(&mut self, visit: &mut dyn FnMut(&mut dyn Saver)) {
        self.parts().0.savings.each_saver(visit);
    }
}

/// Lines of a table looked at in one go: some hundred items, a few dozen microseconds.
const LINES: usize = 32;
