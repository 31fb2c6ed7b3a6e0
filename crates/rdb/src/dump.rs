//! The payload of DUMP and RESTORE: one value with its type, the version, a checksum. It has no magic and no
//! key.

use crate::error::{Error, ErrorKind, Stage};
use crate::format::{self, Dialect};
use crate::length::{self, WriteOptions};
use crate::reader::ReadOptions;
use crate::record::known_type;
use crate::source::{Input, Slice};
use crate::values::{self, Duplicates, Object, Rules, ValueRef};
use crate::writer::write_function;
use base::crc::crc64;

/// Which of RESTORE's two refusals.
#[derive(Debug)]
pub enum RestoreError {
    /// "DUMP payload version or checksum are wrong".
    VersionOrChecksum,
    /// "Bad data format".
    BadData(Error),
}

/// Type, value, version (2 bytes), CRC-64 of all that (8 bytes), both little-endian. `version` is raised if
/// the value needs more.
pub fn dump(value: ValueRef<'_>, version: u32, options: &WriteOptions) -> Vec<u8> {
    let version = version.max(values::version_needed(value));
    assert_eq!(Dialect::of_version(version), Some(Dialect::Redis), "values are written in Redis' dialect");
    let mut out = vec![values::type_code(value)];
    values::write_value(&mut out, value, options);
    close(out, version)
}

fn close(mut out: Vec<u8>, version: u32) -> Vec<u8> {
    out.extend_from_slice(&(version as u16).to_le_bytes());
    let sum = crc64(0, &out);
    out.extend_from_slice(&sum.to_le_bytes());
    out
}

/// The payload of FUNCTION DUMP: the libraries' sources in place of a value.
pub fn dump_functions<'a>(codes: impl Iterator<Item = &'a [u8]>, options: &WriteOptions) -> Vec<u8> {
    let mut out = Vec::new();
    codes.for_each(|code| write_function(&mut out, code, options));
    close(out, format::VERSION_PLAIN)
}

/// The sources in a payload of FUNCTION DUMP.
pub fn restore_functions(payload: &[u8], options: &ReadOptions) -> Result<Vec<Vec<u8>>, FunctionsError> {
    let (body, _) = open(payload, options).ok_or(FunctionsError::VersionOrChecksum)?;
    let mut source = Slice::new(body, 0);
    let mut codes = Vec::new();
    while (source.offset() as usize) < body.len() {
        if source.byte().map_err(|_| FunctionsError::BadData)? != format::OPCODE_FUNCTION2 {
            return Err(FunctionsError::OtherType);
        }
        codes.push(length::read_string(&mut source).map_err(|_| FunctionsError::BadData)?);
    }
    Ok(codes)
}

/// Which of FUNCTION RESTORE's refusals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FunctionsError {
    VersionOrChecksum,
    OtherType,
    BadData,
}

/// The value of a payload. `verify_checksum` should be set unless an operator switched it off; bytes between
/// the value and the version are ignored, as Redis does.
pub fn restore(payload: &[u8], options: &ReadOptions) -> Result<Object, RestoreError> {
    let (body, dialect) = open(payload, options).ok_or(RestoreError::VersionOrChecksum)?;
    let duplicates = if options.deep_sanitize { Duplicates::Sought } else { Duplicates::Trusted };
    let rules = Rules { dialect, thresholds: options.thresholds, duplicates };
    let mut source = Slice::new(body, 0);
    let mut stage = Stage::Opcode;
    read_body(&mut source, &rules, &mut stage)
        .map_err(|kind| RestoreError::BadData(kind.at(source.offset(), stage)))
}

/// Type and value, and the dialect they are in, if version and checksum hold.
fn open<'a>(payload: &'a [u8], options: &ReadOptions) -> Option<(&'a [u8], Dialect)> {
    let (summed, sum) = payload.split_last_chunk()?;
    let (body, version) = summed.split_last_chunk()?;
    let dialect = options.version_check.dialect(u32::from(u16::from_le_bytes(*version)))?;
    let holds = !options.verify_checksum || crc64(0, summed) == u64::from_le_bytes(*sum);
    holds.then_some((body, dialect))
}

fn read_body(source: &mut Slice<'_>, rules: &Rules, stage: &mut Stage) -> Result<Object, ErrorKind> {
    let code = source.byte()?;
    let name = known_type(code, rules.dialect)?;
    *stage = Stage::Value(name);
    let value = values::read_value(source, code, name, rules)?;
    value.ok_or(ErrorKind::Corrupt("the collection is empty"))
}
