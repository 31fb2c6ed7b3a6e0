//! A file taken apart, item by item. It neither applies nor drops what it reads: expired keys, duplicate keys
//! and unknown names are the caller's to judge. After an error it must not be used further.

use crate::batch::{BATCH_LEN, Batch};
use crate::error::{Error, ErrorKind, Stage};
use crate::format::{self, Dialect, Magic, VersionCheck};
use crate::length;
use crate::record::{Progress, Record};
use crate::skip::{self, Ahead};
use crate::source::{BUFFER_LEN, Input, Source, Summing};
use crate::values::{Duplicates, Rules, Thresholds};
use crate::writer::Attributes;
use std::io::{Read, Seek};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadOptions {
    pub thresholds: Thresholds,
    pub verify_checksum: bool,
    /// Also look for fields that come twice in a packed hash; only files of a trusted writer may go without.
    pub deep_sanitize: bool,
    pub version_check: VersionCheck,
    /// Bytes that a file is known to have, and that there is memory for: tables are made ready for as many
    /// items as it announces, as far as so many bytes may hold them.
    pub room: u64,
}

impl Default for ReadOptions {
    fn default() -> Self {
        ReadOptions {
            thresholds: Thresholds::default(),
            verify_checksum: true,
            deep_sanitize: true,
            version_check: VersionCheck::Strict,
            room: 0,
        }
    }
}

#[derive(Debug)]
pub enum Item {
    Aux {
        key: Vec<u8>,
        value: Vec<u8>,
    },
    SelectDb(u64),
    ResizeDb {
        keys: u64,
        expires: u64,
    },
    SlotInfo {
        slot: u64,
        keys: u64,
        expires: u64,
    },
    /// A function library's source.
    Function(Vec<u8>),
    /// A module's data outside the keyspace, checked and skipped.
    ModuleAux {
        module: String,
    },
    Record(Record),
    End,
}

/// Reads a file from its first byte to its checksum; what follows is left to `into_rest`.
pub struct Reader<R: Read> {
    pub(crate) source: Source<R>,
    pub(crate) version: u32,
    pub(crate) progress: Progress,
    checksum: Option<u64>,
    ended: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    pub fn new(input: R, options: &ReadOptions) -> Result<Self, Error> {
        let summing = if options.verify_checksum { Summing::On } else { Summing::Off };
        let mut source = Source::new(input, BUFFER_LEN, summing).with_room(options.room);
        let (dialect, version) = read_header(&mut source, options.version_check)
            .map_err(|kind| kind.at(source.offset(), Stage::Header))?;
        let duplicates = if options.deep_sanitize { Duplicates::Sought } else { Duplicates::Trusted };
        let rules = Rules { dialect, thresholds: options.thresholds, duplicates };
        Ok(Reader { source, version, progress: Progress::new(rules), checksum: None, ended: false })
    }

    /// Bytes that it keeps of the file.
    pub fn memory(&self) -> usize {
        BUFFER_LEN
    }

    pub fn version(&self) -> u32 {
        self.version
    }

    pub fn dialect(&self) -> Dialect {
        self.progress.rules.dialect
    }

    /// Bytes consumed since the beginning of the file.
    pub fn offset(&self) -> u64 {
        self.source.offset()
    }

    /// Keys left out because their collection is empty, as old versions of Redis could save by mistake.
    pub fn empty_count(&self) -> u64 {
        self.progress.empty_count
    }

    /// The checksum at the end of the file, once that was read; 0 where the writer had them switched off.
    pub fn checksum(&self) -> Option<u64> {
        self.checksum
    }

    /// The input and the bytes that were read from it but lie behind the end of the file.
    pub fn into_rest(self) -> (Vec<u8>, R) {
        self.source.into_rest()
    }

    /// Where the last item begins: a record with what is said of its key before it.
    pub fn item_offset(&self) -> u64 {
        self.progress.item_offset
    }

    /// Expiry of the record that the last fault was found in, in unix ms, as far as it was said.
    pub fn expires_at(&self) -> Option<i64> {
        self.progress.attributes.expires_at
    }

    /// The next item; `End` again and again once the checksum held.
    #[allow(clippy::should_implement_trait, reason = "an iterator would go on after an error")]
    pub fn next(&mut self) -> Result<Item, Error> {
        self.next_item().map_err(|kind| self.fault(kind))
    }

    /// Fills `batch` with the records that come next. Leaves it empty and returns the next item if that is
    /// none, or one too large for a batch, or damaged so that where it ends cannot be told. It reads ahead,
    /// and so is for files.
    pub fn next_batch(&mut self, batch: &mut Batch) -> Result<Option<Item>, Error> {
        batch.restart(self.source.offset(), self.progress.rules);
        if self.progress.attributes == Attributes::default() && !self.ended {
            self.cut_records(batch).map_err(|kind| self.fault(kind))?;
        }
        if batch.is_empty() { self.next().map(Some) } else { Ok(None) }
    }

    pub(crate) fn fault(&mut self, kind: ErrorKind) -> Error {
        self.progress.fault(kind, self.source.offset())
    }

    /// Moves whole records into the batch, until it is full or what comes is no whole record.
    fn cut_records(&mut self, batch: &mut Batch) -> Result<(), ErrorKind> {
        loop {
            let (window, mut end) = (self.source.window(), 0);
            let ahead = loop {
                match skip::look(&window[end..], self.progress.rules.dialect) {
                    Ahead::Record(len) if batch.len() + end < BATCH_LEN => end += len,
                    ahead => break ahead,
                }
            };
            batch.append(&window[..end]);
            self.source.consume(end);
            // A record that does not fit behind others begins the next batch.
            let is_full = end == 0 && !batch.is_empty();
            if is_full || !matches!(ahead, Ahead::Part) || !self.source.widen_window()? {
                return Ok(());
            }
        }
    }

    fn next_item(&mut self) -> Result<Item, ErrorKind> {
        loop {
            if self.ended {
                return Ok(Item::End);
            }
            self.progress.begin(self.source.offset());
            let opcode = self.source.byte()?;
            if let Some(item) = self.read_item(opcode)? {
                return Ok(item);
            }
        }
    }

    /// What an opcode announces; None if it was about the next record.
    fn read_item(&mut self, opcode: u8) -> Result<Option<Item>, ErrorKind> {
        if self.progress.read_attribute(&mut self.source, opcode)? {
            return Ok(None);
        }
        let item = match opcode {
            format::OPCODE_AUX => self.read_aux()?,
            format::OPCODE_SELECT_DB => Item::SelectDb(self.read_len("SELECTDB")?),
            format::OPCODE_RESIZE_DB => {
                Item::ResizeDb { keys: self.read_len("RESIZEDB")?, expires: self.read_len("RESIZEDB")? }
            }
            format::OPCODE_SLOT_INFO => self.read_slot_info()?,
            format::OPCODE_FUNCTION2 => self.read_function()?,
            format::OPCODE_MODULE_AUX => self.read_module_aux()?,
            format::OPCODE_EOF => self.read_end()?,
            code => return Ok(self.progress.read_record(&mut self.source, code)?.map(Item::Record)),
        };
        Ok(Some(item))
    }

    fn read_len(&mut self, field: &'static str) -> Result<u64, ErrorKind> {
        self.progress.stage = Stage::Field(field);
        length::read_len(&mut self.source)
    }

    fn read_aux(&mut self) -> Result<Item, ErrorKind> {
        self.progress.stage = Stage::Field("AUX");
        let key = length::read_string(&mut self.source)?;
        let value = length::read_string(&mut self.source)?;
        Ok(Item::Aux { key, value })
    }

    fn read_slot_info(&mut self) -> Result<Item, ErrorKind> {
        Ok(Item::SlotInfo {
            slot: self.read_len("SLOT_INFO")?,
            keys: self.read_len("SLOT_INFO")?,
            expires: self.read_len("SLOT_INFO")?,
        })
    }

    fn read_function(&mut self) -> Result<Item, ErrorKind> {
        self.progress.stage = Stage::Field("FUNCTION2");
        length::read_string(&mut self.source).map(Item::Function)
    }

    /// The module's number, when its data belongs (a tagged number), then tagged values up to an end tag.
    fn read_module_aux(&mut self) -> Result<Item, ErrorKind> {
        let module = module_name(self.read_len("MODULE_AUX")?);
        if length::read_len(&mut self.source)? != format::MODULE_UINT {
            return Err(ErrorKind::Corrupt("a module's data lacks its time"));
        }
        length::read_len(&mut self.source)?;
        skip::pass_module_values(&mut self.source)?;
        Ok(Item::ModuleAux { module })
    }

    fn read_end(&mut self) -> Result<Item, ErrorKind> {
        self.progress.stage = Stage::Checksum;
        if self.version >= format::VERSION_CHECKSUM {
            let expected = self.source.crc();
            let found = u64::from_le_bytes(self.source.array()?);
            self.checksum = Some(found);
            if self.source.summing() == Summing::On && found != NO_CHECKSUM && found != expected {
                return Err(ErrorKind::Checksum { expected, found });
            }
        }
        self.ended = true;
        Ok(Item::End)
    }
}

impl<R: Read + Seek> Reader<R> {
    /// Goes on behind the record that `fault` was found in, by its lengths. Behind a damaged one the checksum
    /// is not checked any more; behind one of a type that is not supported it is. Fails if the lengths lead
    /// nowhere: then nothing more can be read.
    pub fn pass_damaged(&mut self, fault: &Error) -> Result<(), Error> {
        let dialect = self.progress.rules.dialect;
        self.progress.attributes = Attributes::default();
        (self.progress.item_offset, self.progress.stage) = (fault.item_offset, fault.stage);
        let passed = match (&fault.kind, fault.stage) {
            // Of its value nothing has been read.
            (ErrorKind::UnsupportedType(name), Stage::Value(_)) => {
                skip::pass_value(&mut self.source, name.code, dialect)
            }
            _ => {
                let sought = self.source.seek(fault.item_offset);
                sought.and_then(|()| skip::pass_record(&mut self.source, dialect))
            }
        };
        passed.map_err(|kind| self.fault(kind))
    }
}

fn read_header<R: Read>(source: &mut Source<R>, check: VersionCheck) -> Result<(Dialect, u32), ErrorKind> {
    match format::parse_magic(&source.array()?, check) {
        Magic::Readable(dialect, version) => Ok((dialect, version)),
        Magic::Unsupported(version) => Err(ErrorKind::UnsupportedVersion(version)),
        Magic::NotRdb => Err(ErrorKind::NotRdb),
    }
}

/// Nine characters of 6 bits each, above 10 bits of version.
fn module_name(id: u64) -> String {
    (0..9).map(|index| char::from(MODULE_LETTERS[(id >> (58 - 6 * index)) as usize & 63])).collect()
}

const MODULE_LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// Stands where the writer had checksums switched off.
const NO_CHECKSUM: u64 = 0;
