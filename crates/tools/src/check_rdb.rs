//! Reads a dump file from end to end and tells whether a server would load it, what it holds, and if it is
//! damaged where. It writes nothing and prints nothing: `report`, `json` and `repair` hear what happens.
//!
//! A value is decoded as the server would decode it, so the largest one must fit into memory; a false length
//! costs nothing.

pub mod json;
pub mod options;
pub mod progress;
pub mod repair;
pub mod report;
pub mod statistics;

use std::io::{Read, Seek};

use rdb::format::{self, TypeName};
use rdb::{Dialect, Error, ErrorKind, Item, ReadOptions, Reader, Stage};
use statistics::Statistics;

/// What happens along the way.
pub enum Event<'a> {
    Aux {
        key: &'a [u8],
        value: &'a [u8],
    },
    Db(u64),
    ModuleAux(&'a str),
    /// The bytes from here up to the offset reached are whole, and more than a hint.
    Whole {
        from: u64,
    },
    Fault(&'a Fault),
}

/// What is wrong, with all that is known of the place.
pub struct Fault {
    pub error: Error,
    pub db: Option<u64>,
}

impl Fault {
    /// The type that the damaged record should have.
    pub fn type_name(&self) -> Option<TypeName> {
        match self.error.stage {
            Stage::Key(name) | Stage::Value(name) => Some(name),
            _ => None,
        }
    }
}

/// What follows a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AtFault {
    Stop,
    /// Go on behind the record, if its lengths say where that is.
    GoOn,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checksum {
    /// The end of the file was not reached, or something before it is damaged.
    Unknown,
    /// Files of this version have none.
    None,
    /// The writer had it switched off.
    Disabled,
    Holds,
}

/// What came of it.
pub struct Checked {
    pub version: Option<(Dialect, u32)>,
    /// Bytes read, the checksum included.
    pub offset: u64,
    pub statistics: Statistics,
    pub checksum: Checksum,
    pub fault_count: u64,
    /// Whether the end of the file was reached.
    pub ended: bool,
    /// Whether the file could not be read, whatever is in it.
    pub unreadable: bool,
}

impl Checked {
    pub fn is_sound(&self) -> bool {
        self.fault_count == 0
    }
}

/// Checks a file. `now` is unix ms; `listen` is told of events, each with the offset reached.
pub fn check<R: Read + Seek>(
    input: R,
    now: i64,
    at_fault: AtFault,
    listen: &mut dyn FnMut(u64, Event<'_>),
) -> Checked {
    let checked = Checked {
        version: None,
        offset: 0,
        statistics: Statistics::default(),
        checksum: Checksum::Unknown,
        fault_count: 0,
        ended: false,
        unreadable: false,
    };
    let mut check = Check { checked, db: None, now, listen };
    match Reader::new(input, &ReadOptions::default()) {
        Ok(mut reader) => check.run(&mut reader, at_fault),
        Err(error) => check.note_fault(error),
    }
    check.checked
}

struct Check<'a> {
    checked: Checked,
    db: Option<u64>,
    now: i64,
    listen: &'a mut dyn FnMut(u64, Event<'_>),
}

impl Check<'_> {
    fn run<R: Read + Seek>(&mut self, reader: &mut Reader<R>, at_fault: AtFault) {
        self.checked.version = Some((reader.dialect(), reader.version()));
        loop {
            match reader.next() {
                Ok(Item::End) => return self.note_end(reader),
                Ok(item) => {
                    self.checked.offset = reader.offset();
                    self.note_item(item, reader.item_offset());
                }
                Err(error) => {
                    if !self.pass(reader, error, at_fault) {
                        return;
                    }
                }
            }
        }
    }

    fn note_item(&mut self, item: Item, from: u64) {
        let offset = self.checked.offset;
        match &item {
            Item::ResizeDb { .. } | Item::SlotInfo { .. } => return,
            Item::Aux { key, value } => (self.listen)(offset, Event::Aux { key, value }),
            Item::SelectDb(db) => {
                self.db = Some(*db);
                (self.listen)(offset, Event::Db(*db));
            }
            Item::ModuleAux { module } => (self.listen)(offset, Event::ModuleAux(module)),
            Item::Function(_) => self.checked.statistics.functions += 1,
            Item::Record(record) => self.checked.statistics.count(record, offset - from, self.now),
            Item::End => {}
        }
        (self.listen)(offset, Event::Whole { from });
    }

    /// Whether reading goes on behind an error.
    fn pass<R: Read + Seek>(&mut self, reader: &mut Reader<R>, error: Error, at_fault: AtFault) -> bool {
        let is_module =
            matches!(&error.kind, ErrorKind::UnsupportedType(name) if name.code == format::TYPE_MODULE_2);
        let passes = is_module || at_fault == AtFault::GoOn && ends_by_its_lengths(&error);
        let expires_at = reader.expires_at();
        let end = if passes { reader.pass_damaged(&error).err() } else { None };
        if is_module && end.is_none() {
            self.checked.offset = reader.offset();
            let bytes = reader.offset() - error.item_offset;
            self.checked.statistics.count_module(bytes, expires_at, self.now);
            (self.listen)(reader.offset(), Event::Whole { from: error.item_offset });
            return true;
        }
        self.note_fault(error);
        self.checked.unreadable |= end.as_ref().is_some_and(|end| matches!(end.kind, ErrorKind::Io(_)));
        // A second fault in the same record says only that there is no way past it.
        passes && end.is_none()
    }

    fn note_fault(&mut self, error: Error) {
        self.checked.offset = error.offset;
        self.checked.fault_count += 1;
        self.checked.unreadable |= matches!(error.kind, ErrorKind::Io(_));
        if self.db.is_none() && error.key.is_some() {
            self.db = Some(0);
        }
        let fault = Fault { error, db: self.db };
        (self.listen)(fault.error.offset, Event::Fault(&fault));
    }

    fn note_end<R: Read>(&mut self, reader: &Reader<R>) {
        self.checked.offset = reader.offset();
        self.checked.ended = true;
        self.checked.checksum = match reader.checksum() {
            _ if self.checked.fault_count > 0 => Checksum::Unknown,
            None => Checksum::None,
            Some(0) => Checksum::Disabled,
            Some(_) => Checksum::Holds,
        };
    }
}

/// Whether it may be tried to find the end of the record by its lengths. The header and the checksum are no
/// records, and an input that fails will fail again.
fn ends_by_its_lengths(error: &Error) -> bool {
    let in_record = matches!(error.stage, Stage::Key(_) | Stage::Value(_));
    in_record && !matches!(error.kind, ErrorKind::Truncated | ErrorKind::Io(_))
}
