//! Streams in entries (placeholder).

use ds::stream::Stream;
use ds::table::SlotId;

use crate::db::{Db, Key};
use crate::entry::{Entry, EntryRef, NewPayload, Payload, Type};
use crate::value::Place;

/// The value in an entry of that type.
pub fn view_stream(entry: EntryRef<'_>) -> &Stream {
    match entry.payload() {
        Payload::Stream(stream) => stream,
        _ => unreachable!("a stream is boxed"),
    }
}

/// The encoding's name, as OBJECT ENCODING answers it.
pub fn encoding(entry: EntryRef<'_>) -> &'static str {
    match entry.payload() {
        _ => "stream",
    }
}

/// The value, for edits.
pub struct StreamMut<'a>(Place<'a>);

impl<'a> StreamMut<'a> {
    pub(crate) fn new(place: Place<'a>) -> StreamMut<'a> {
        StreamMut(place)
    }

    pub(crate) fn create(db: &mut Db, key: Key<'_>, clock: u32) -> SlotId {
        db.insert(
            key.hash,
            Entry::new(key.bytes, Type::Stream, NewPayload::Stream(Box::default()), None, clock),
        )
    }

    pub fn view(&self) -> &Stream {
        view_stream(self.0.view())
    }
}
