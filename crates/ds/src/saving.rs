//! A large value that is saved as it was at one moment, piece by piece, while it changes.
//!
//! Whoever changes or removes a part that is not saved yet saves it first; what comes in afterwards is not
//! saved. Nothing is noted but one bit for each part, so memory does not grow with what is changed. It does
//! not know what becomes of the pieces.

use std::any::Any;
use std::ops::ControlFlow;

use crate::hash::FieldRef;
use crate::list::SharedNodes;
use crate::stream::StreamId;
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
    },
    StreamNode {
        master: StreamId,
        node: &'a [u8],
    },
    /// Bytes of a string.
    Bytes {
        at: u64,
        bytes: &'a [u8],
    },
}

/// Takes the pieces of one value.
pub trait Saver: Any + Send + Sync {
    /// `Break` says that this is enough for one go.
    fn save(&mut self, piece: Piece<'_>) -> ControlFlow<()>;
}

/// A value that can be saved in pieces.
pub trait Savable {
    /// From now on every part that is there has to be saved. `number` was never used before.
    fn begin_saving(&mut self, number: u32, saver: Box<dyn Saver>);

    /// Saves some of the parts that are left; false if none is.
    fn save_on(&mut self) -> bool;

    /// Ends the saving, finished or not.
    fn end_saving(&mut self) -> Option<Box<dyn Saver>>;

    /// Who is saving it, if anybody is.
    fn saver(&self) -> Option<&dyn Saver>;

    fn saver_mut(&mut self) -> Option<&mut dyn Saver>;
}

/// An item of a table as a piece.
pub(crate) trait Part: Item {
    fn piece<'a>(item: Self::Ref<'a>) -> Piece<'a>;
}

/// The saving of a table's items.
#[derive(Default)]
pub(crate) struct Saving {
    saver: Option<Box<dyn Saver>>,
    position: WalkPosition,
}

impl Saving {
    pub fn begin<T: Part>(&mut self, table: &mut Table<T>, number: u32, saver: Box<dyn Saver>) {
        table.snapshot_begin(number);
        *self = Saving { saver: Some(saver), position: WalkPosition::default() };
    }

    #[inline]
    pub fn is_active(&self) -> bool {
        self.saver.is_some()
    }

    /// An item is about to be changed or removed.
    #[inline]
    pub fn keep<T: Part>(&mut self, table: &mut Table<T>, slot: SlotId) {
        if self.is_active() {
            self.save(table, slot);
        }
    }

    #[cold]
    fn save<T: Part>(&mut self, table: &mut Table<T>, slot: SlotId) {
        let saver = self.saver.as_mut().expect("the caller saw it");
        if !table.is_done(slot) {
            table.mark_done(slot);
            // A writer saves what it has to, however much that is.
            let _ = saver.save(T::piece(table.view(slot)));
        }
    }

    pub fn go_on<T: Part>(&mut self, table: &mut Table<T>) -> bool {
        let Some(saver) = &mut self.saver else { return false };
        let next = table.snapshot_walk(self.position, LINES, &mut |item| saver.save(T::piece(item)));
        self.position = next.unwrap_or(self.position);
        next.is_some()
    }

    pub fn end<T: Part>(&mut self, table: &mut Table<T>) -> Option<Box<dyn Saver>> {
        table.snapshot_end();
        self.saver.take()
    }
}

/// A value whose parts are the items of one table.
pub(crate) trait TableSaving {
    type Part: Part;

    fn saving(&self) -> &Saving;

    fn parts(&mut self) -> (&mut Saving, &mut Table<Self::Part>);
}

impl<V: TableSaving> Savable for V {
    fn begin_saving(&mut self, number: u32, saver: Box<dyn Saver>) {
        let (saving, table) = self.parts();
        saving.begin(table, number, saver);
    }

    fn save_on(&mut self) -> bool {
        let (saving, table) = self.parts();
        saving.go_on(table)
    }

    fn end_saving(&mut self) -> Option<Box<dyn Saver>> {
        let (saving, table) = self.parts();
        saving.end(table)
    }

    fn saver(&self) -> Option<&dyn Saver> {
        self.saving().saver.as_deref()
    }

    fn saver_mut(&mut self) -> Option<&mut dyn Saver> {
        self.parts().0.saver.as_deref_mut()
    }
}

/// Lines of a table looked at in one go: some hundred items, a few dozen microseconds.
const LINES: usize = 32;
