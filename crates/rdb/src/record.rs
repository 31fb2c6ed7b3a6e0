//! A key with its value and what is said of it before, out of any input. It knows nothing of what stands
//! between records.

use crate::error::{Error, ErrorKind, Stage};
use crate::format::{self, Dialect, TypeName};
use crate::length;
use crate::source::Input;
use crate::values::{self, Object, Rules};
use crate::writer::Attributes;

#[derive(Debug)]
pub struct Record {
    pub key: Vec<u8>,
    /// Unix ms.
    pub expires_at: Option<i64>,
    pub idle_s: Option<u64>,
    pub freq: Option<u8>,
    pub value: Object,
}

/// What is known of the record that is being read.
pub(crate) struct Progress {
    pub(crate) rules: Rules,
    /// Of the record that comes next.
    pub(crate) attributes: Attributes,
    /// Keys left out because their collection is empty.
    pub(crate) empty_count: u64,
    /// Where the record or field begins.
    pub(crate) item_offset: u64,
    /// What is being read, for errors.
    pub(crate) stage: Stage,
    pub(crate) key: Option<Vec<u8>>,
}

impl Progress {
    pub(crate) fn new(rules: Rules) -> Progress {
        let (attributes, stage) = (Attributes::default(), Stage::Opcode);
        Progress { rules, attributes, empty_count: 0, item_offset: 0, stage, key: None }
    }

    /// To be called before an opcode is read at `offset`.
    pub(crate) fn begin(&mut self, offset: u64) {
        self.stage = Stage::Opcode;
        if self.attributes == Attributes::default() {
            self.item_offset = offset;
        }
    }

    /// The refusal, with the place.
    pub(crate) fn fault(&mut self, kind: ErrorKind, offset: u64) -> Error {
        Error { offset, item_offset: self.item_offset, key: self.key.take(), stage: self.stage, kind }
    }

    /// What an opcode says of the record that comes next; false if it is no such opcode.
    pub(crate) fn read_attribute<I: Input>(&mut self, input: &mut I, opcode: u8) -> Result<bool, ErrorKind> {
        if !matches!(
            opcode,
            format::OPCODE_EXPIRE_MS | format::OPCODE_EXPIRE_S | format::OPCODE_IDLE | format::OPCODE_FREQ
        ) {
            return Ok(false);
        }
        self.stage = Stage::Field(ATTRIBUTE);
        match opcode {
            format::OPCODE_EXPIRE_MS => self.set_expiry(i64::from_le_bytes(input.array()?)),
            format::OPCODE_EXPIRE_S => {
                self.set_expiry(i64::from(i32::from_le_bytes(input.array()?)) * 1000);
            }
            format::OPCODE_IDLE => self.attributes.idle_s = Some(length::read_len(input)?),
            _ => self.attributes.freq = Some(input.byte()?),
        }
        Ok(true)
    }

    fn set_expiry(&mut self, time: i64) {
        self.attributes.expires_at = (time != NO_EXPIRY).then_some(time);
    }

    /// A key and its value; None if the value is an empty collection.
    pub(crate) fn read_record<I: Input>(
        &mut self,
        input: &mut I,
        code: u8,
    ) -> Result<Option<Record>, ErrorKind> {
        let name = known_type(code, self.rules.dialect)?;
        self.stage = Stage::Key(name);
        let key = length::read_string(input)?;
        self.stage = Stage::Value(name);
        self.key = Some(key);
        let value = values::read_value(input, code, name, &self.rules)?;
        let key = self.key.take().unwrap_or_default();
        let Attributes { expires_at, idle_s, freq } = std::mem::take(&mut self.attributes);
        self.empty_count += u64::from(value.is_none());
        Ok(value.map(|value| Record { key, expires_at, idle_s, freq, value }))
    }
}

/// The name of a type of values; other codes are refused.
pub(crate) fn known_type(code: u8, dialect: Dialect) -> Result<TypeName, ErrorKind> {
    match format::type_name(code, dialect) {
        Some(name) if code >= format::OPCODE_MIN => Err(ErrorKind::UnsupportedType(Box::new(name))),
        Some(name) => Ok(name),
        None => Err(ErrorKind::UnknownType(code)),
    }
}

pub(crate) const ATTRIBUTE: &str = "a key's expiry, idle time or frequency";
/// What Redis writes for a key without TTL, should it write anything.
const NO_EXPIRY: i64 = -1;
