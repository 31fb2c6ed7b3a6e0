//! Streams in entries: always boxed.

use ds::stream::{NodeLimits, Stream};
use ds::table::SlotId;

use crate::db::{Db, Key};
use crate::entry::{Entry, EntryRef, NewPayload, Payload, Type};
use crate::value::Place;

/// The stream in an entry of that type.
pub fn view_stream(entry: EntryRef<'_>) -> &Stream {
    match entry.payload() {
        Payload::Stream(stream) => stream,
        _ => unreachable!("a stream is boxed"),
    }
}

/// The encoding's name, as OBJECT ENCODING answers it.
pub fn encoding(_: EntryRef<'_>) -> &'static str {
    "stream"
}

/// A stream, for edits.
pub struct StreamMut<'a>(Place<'a>);

impl<'a> StreamMut<'a> {
    pub(crate) fn new(place: Place<'a>) -> StreamMut<'a> {
        StreamMut(place)
    }

    pub(crate) fn create(db: &mut Db, key: Key<'_>, clock: u32) -> SlotId {
        let stream = NewPayload::Stream(Box::default());
        db.insert(key.hash, Entry::new(key.bytes, Type::Stream, stream, None, clock))
    }

    pub fn view(&self) -> &Stream {
        view_stream(self.0.view())
    }

    /// Changes the stream.
    #[inline]
    pub fn edit<R>(&mut self, change: impl FnOnce(&mut Stream) -> R) -> R {
        self.0.db.edit(self.0.slot, |entry| change(entry.stream_mut().expect("a stream is boxed")))
    }

    /// When a node is full.
    pub fn node_limits(&self) -> NodeLimits {
        let thresholds = self.0.thresholds;
        NodeLimits { bytes: thresholds.stream_node_bytes, entries: thresholds.stream_node_entries as u64 }
    }
}
