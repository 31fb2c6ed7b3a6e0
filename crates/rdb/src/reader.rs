//! A file taken apart, item by item. It neither applies nor drops what it reads: expired keys, duplicate keys
//! and unknown names are the caller's to judge. After an error it must not be used further.

use crate::error::{Error, ErrorKind, Stage};
use crate::format::{self, Dialect, Magic, TypeName};
use crate::length;
use crate::source::{BUFFER_LEN, Source, Summing};
use crate::values::{self, Duplicates, Object, Rules, Thresholds};
use crate::writer::Attributes;
use std::io::Read;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadOptions {
    pub thresholds: Thresholds,
    pub verify_checksum: bool,
    /// Also look for fields that come twice in a packed hash; only files of a trusted writer may go without.
    pub deep_sanitize: bool,
}

impl Default for ReadOptions {
    fn default() -> Self {
        ReadOptions { thresholds: Thresholds::default(), verify_checksum: true, deep_sanitize: true }
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

#[derive(Debug)]
pub struct Record {
    pub key: Vec<u8>,
    /// Unix ms.
    pub expires_at: Option<i64>,
    pub idle_s: Option<u64>,
    pub freq: Option<u8>,
    pub value: Object,
}

/// Reads a file from its first byte to its checksum; what follows is left to `into_rest`.
pub struct Reader<R: Read> {
    source: Source<R>,
    version: u32,
    rules: Rules,
    /// Of the record that comes next.
    attributes: Attributes,
    empty_count: u64,
    /// What is being read, for errors.
    stage: Stage,
    key: Option<Vec<u8>>,
    ended: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    pub fn new(input: R, options: &ReadOptions) -> Result<Self, Error> {
        let summing = if options.verify_checksum { Summing::On } else { Summing::Off };
        let mut source = Source::new(input, BUFFER_LEN, summing);
        let (dialect, version) =
            read_header(&mut source).map_err(|kind| kind.at(source.offset(), Stage::Header))?;
        let duplicates = if options.deep_sanitize { Duplicates::Sought } else { Duplicates::Trusted };
        let rules = Rules { dialect, thresholds: options.thresholds, duplicates };
        Ok(Reader {
            source,
            version,
            rules,
            attributes: Attributes::default(),
            empty_count: 0,
            stage: Stage::Opcode,
            key: None,
            ended: false,
        })
    }

    pub fn version(&self) -> u32 {
        self.version
    }

    pub fn dialect(&self) -> Dialect {
        self.rules.dialect
    }

    /// Bytes consumed since the beginning of the file.
    pub fn offset(&self) -> u64 {
        self.source.offset()
    }

    /// Keys left out because their collection is empty, as old versions of Redis could save by mistake.
    pub fn empty_count(&self) -> u64 {
        self.empty_count
    }

    /// The input and the bytes that were read from it but lie behind the end of the file.
    pub fn into_rest(self) -> (Vec<u8>, R) {
        self.source.into_rest()
    }

    /// The next item; `End` again and again once the checksum held.
    #[allow(clippy::should_implement_trait, reason = "an iterator would go on after an error")]
    pub fn next(&mut self) -> Result<Item, Error> {
        self.next_item().map_err(|kind| Error {
            offset: self.source.offset(),
            key: self.key.take(),
            stage: self.stage,
            kind,
        })
    }

    fn next_item(&mut self) -> Result<Item, ErrorKind> {
        loop {
            if self.ended {
                return Ok(Item::End);
            }
            self.stage = Stage::Opcode;
            let opcode = self.source.byte()?;
            if let Some(item) = self.read_item(opcode)? {
                return Ok(item);
            }
        }
    }

    /// What an opcode announces; None if it was about the next record.
    fn read_item(&mut self, opcode: u8) -> Result<Option<Item>, ErrorKind> {
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
            format::OPCODE_EXPIRE_MS
            | format::OPCODE_EXPIRE_S
            | format::OPCODE_IDLE
            | format::OPCODE_FREQ => return self.read_attribute(opcode).map(|()| None),
            code => return Ok(self.read_record(code)?.map(Item::Record)),
        };
        Ok(Some(item))
    }

    fn read_attribute(&mut self, opcode: u8) -> Result<(), ErrorKind> {
        self.stage = Stage::Field("a key's expiry, idle time or frequency");
        match opcode {
            format::OPCODE_EXPIRE_MS => self.set_expiry(i64::from_le_bytes),
            format::OPCODE_EXPIRE_S => self.set_expiry(|bytes| i64::from(i32::from_le_bytes(bytes)) * 1000),
            format::OPCODE_IDLE => {
                self.attributes.idle_s = Some(length::read_len(&mut self.source)?);
                Ok(())
            }
            _ => {
                self.attributes.freq = Some(self.source.byte()?);
                Ok(())
            }
        }
    }

    fn set_expiry<const N: usize>(&mut self, decode: impl Fn([u8; N]) -> i64) -> Result<(), ErrorKind> {
        let time = decode(self.source.array()?);
        self.attributes.expires_at = (time != NO_EXPIRY).then_some(time);
        Ok(())
    }

    /// A key and its value; None if the value is an empty collection.
    fn read_record(&mut self, code: u8) -> Result<Option<Record>, ErrorKind> {
        let name = known_type(code, self.rules.dialect)?;
        self.stage = Stage::Key(name);
        let key = length::read_string(&mut self.source)?;
        self.stage = Stage::Value(name);
        self.key = Some(key);
        let value = values::read_value(&mut self.source, code, name, &self.rules)?;
        let key = self.key.take().unwrap_or_default();
        let Attributes { expires_at, idle_s, freq } = std::mem::take(&mut self.attributes);
        self.empty_count += u64::from(value.is_none());
        Ok(value.map(|value| Record { key, expires_at, idle_s, freq, value }))
    }

    fn read_len(&mut self, field: &'static str) -> Result<u64, ErrorKind> {
        self.stage = Stage::Field(field);
        length::read_len(&mut self.source)
    }

    fn read_aux(&mut self) -> Result<Item, ErrorKind> {
        self.stage = Stage::Field("AUX");
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
        self.stage = Stage::Field("FUNCTION2");
        length::read_string(&mut self.source).map(Item::Function)
    }

    /// The module's number, when its data belongs (a tagged number), then tagged values up to an end tag.
    fn read_module_aux(&mut self) -> Result<Item, ErrorKind> {
        let module = module_name(self.read_len("MODULE_AUX")?);
        if length::read_len(&mut self.source)? != format::MODULE_UINT {
            return Err(ErrorKind::Corrupt("a module's data lacks its time"));
        }
        length::read_len(&mut self.source)?;
        skip_module_values(&mut self.source)?;
        Ok(Item::ModuleAux { module })
    }

    fn read_end(&mut self) -> Result<Item, ErrorKind> {
        self.stage = Stage::Checksum;
        if self.version >= format::VERSION_CHECKSUM {
            let expected = self.source.crc();
            let found = u64::from_le_bytes(self.source.array()?);
            if self.source.summing() == Summing::On && found != NO_CHECKSUM && found != expected {
                return Err(ErrorKind::Checksum { expected, found });
            }
        }
        self.ended = true;
        Ok(Item::End)
    }
}

fn read_header<R: Read>(source: &mut Source<R>) -> Result<(Dialect, u32), ErrorKind> {
    match format::parse_magic(&source.array()?) {
        Magic::Readable(dialect, version) => Ok((dialect, version)),
        Magic::Unsupported(version) => Err(ErrorKind::UnsupportedVersion(version)),
        Magic::NotRdb => Err(ErrorKind::Corrupt("the data is not an RDB file")),
    }
}

/// The name of a type of values; other codes are refused.
pub(crate) fn known_type(code: u8, dialect: Dialect) -> Result<TypeName, ErrorKind> {
    match format::type_name(code, dialect) {
        Some(name) if code >= format::OPCODE_MIN => Err(ErrorKind::UnsupportedType { code, name }),
        Some(name) => Ok(name),
        None => Err(ErrorKind::Corrupt("there is no such type or opcode")),
    }
}

fn skip_module_values<R: Read>(source: &mut Source<R>) -> Result<(), ErrorKind> {
    loop {
        match length::read_len(source)? {
            format::MODULE_EOF => return Ok(()),
            format::MODULE_SINT | format::MODULE_UINT => length::read_len(source).map(drop)?,
            format::MODULE_FLOAT => source.array::<4>().map(drop)?,
            format::MODULE_DOUBLE => source.array::<8>().map(drop)?,
            format::MODULE_STRING => length::read_string(source).map(drop)?,
            _ => return Err(ErrorKind::Corrupt("a module's data has an unknown tag")),
        }
    }
}

/// Nine characters of 6 bits each, above 10 bits of version.
fn module_name(id: u64) -> String {
    (0..9).map(|index| char::from(MODULE_LETTERS[(id >> (58 - 6 * index)) as usize & 63])).collect()
}

const MODULE_LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// What Redis writes for a key without TTL, should it write anything.
const NO_EXPIRY: i64 = -1;
/// Stands where the writer had checksums switched off.
const NO_CHECKSUM: u64 = 0;
