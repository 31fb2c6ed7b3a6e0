//! Records that were cut out of a file as they are, to be decoded by whoever has time. It reads no file,
//! and what it yields and refuses is what the reader would.

use std::borrow::Cow;

use crate::error::{Error, ErrorKind, Stage};
use crate::format::{self, TypeName};
use crate::length::{self, Borrowed};
use crate::record::{Progress, known_type};
use crate::source::{Input, Slice};
use crate::values::{self, Object, Rules};
use crate::writer::Attributes;

/// Whole records, one behind the other.
#[derive(Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// The offset of the first byte in the file.
    begin: u64,
    rules: Option<Rules>,
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes that it takes.
    pub fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    /// Bytes of its records.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The offset in the file of the first record.
    pub fn begin(&self) -> u64 {
        self.begin
    }

    /// The records, from the first on.
    pub fn records(&self) -> BatchReader<'_> {
        let rules = self.rules.expect("a reader has filled the batch");
        BatchReader { input: Slice::new(&self.bytes, self.begin), progress: Progress::new(rules) }
    }

    /// Empties it; the records that follow begin at `begin`.
    pub(crate) fn restart(&mut self, begin: u64, rules: Rules) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_LEN);
        (self.begin, self.rules) = (begin, Some(rules));
    }

    pub(crate) fn append(&mut self, records: &[u8]) {
        self.bytes.extend_from_slice(records);
    }
}

/// What a batch yields: a record of which as much as possible is borrowed.
pub struct RecordRef<'a> {
    pub key: Cow<'a, [u8]>,
    pub attributes: Attributes,
    pub value: RawValue<'a>,
}

pub enum RawValue<'a> {
    /// A string that is not the digits of a number.
    Text(Cow<'a, [u8]>),
    Object(Object),
}

/// Reads a batch. After an error it must not be used further.
pub struct BatchReader<'a> {
    input: Slice<'a>,
    progress: Progress,
}

impl<'a> BatchReader<'a> {
    /// The next record; None behind the last.
    #[allow(clippy::should_implement_trait, reason = "an iterator would go on after an error")]
    pub fn next(&mut self) -> Result<Option<RecordRef<'a>>, Error> {
        self.next_record().map_err(|kind| self.progress.fault(kind, self.input.offset()))
    }

    /// Bytes consumed since the beginning of the file.
    pub fn offset(&self) -> u64 {
        self.input.offset()
    }

    /// Keys left out because their collection is empty.
    pub fn empty_count(&self) -> u64 {
        self.progress.empty_count
    }

    fn next_record(&mut self) -> Result<Option<RecordRef<'a>>, ErrorKind> {
        while !self.input.is_empty() {
            self.progress.begin(self.input.offset());
            let opcode = self.input.byte()?;
            if !self.progress.read_attribute(&mut self.input, opcode)?
                && let Some(record) = self.read_record(opcode)?
            {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// As `Progress::read_record`, without copying what can be borrowed.
    fn read_record(&mut self, code: u8) -> Result<Option<RecordRef<'a>>, ErrorKind> {
        let name = known_type(code, self.progress.rules.dialect)?;
        self.progress.stage = Stage::Key(name);
        let key = match length::read_borrowed(&mut self.input)? {
            Borrowed::Bytes(key) => key,
            Borrowed::Int(number) => Cow::Owned(number.to_string().into_bytes()),
        };
        self.progress.stage = Stage::Value(name);
        match self.read_value(name) {
            Ok(value) => {
                let attributes = std::mem::take(&mut self.progress.attributes);
                self.progress.empty_count += u64::from(value.is_none());
                Ok(value.map(|value| RecordRef { key, attributes, value }))
            }
            Err(kind) => {
                self.progress.key = Some(key.into_owned());
                Err(kind)
            }
        }
    }

    fn read_value(&mut self, name: TypeName) -> Result<Option<RawValue<'a>>, ErrorKind> {
        if name.code != format::TYPE_STRING {
            let value = values::read_value(&mut self.input, name.code, name, &self.progress.rules)?;
            return Ok(value.map(RawValue::Object));
        }
        Ok(Some(match length::read_borrowed(&mut self.input)? {
            Borrowed::Int(number) => RawValue::Object(Object::Int(number)),
            Borrowed::Bytes(bytes) => match values::number_of(&bytes) {
                Some(number) => RawValue::Object(Object::Int(number)),
                None => RawValue::Text(bytes),
            },
        }))
    }
}

/// A batch is filled up to this, or with one record that is larger.
pub(crate) const BATCH_LEN: usize = 256 << 10;
/// Memory that an emptied batch keeps.
const KEPT_LEN: usize = 2 * BATCH_LEN;
