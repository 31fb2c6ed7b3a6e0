//! Why bytes were refused, told in a full sentence. It never holds more of the data than the key's name.

use crate::format::{self, TypeName};
use base::bytes::escape;
use std::fmt;
use std::io;

/// A refusal, with the place.
#[derive(Debug)]
pub struct Error {
    /// Bytes consumed when the fault was found; for truncated input its whole length.
    pub offset: u64,
    /// Where the record or field begins in which it was found.
    pub item_offset: u64,
    /// The key being read, once its name was known.
    pub key: Option<Vec<u8>>,
    pub stage: Stage,
    pub kind: ErrorKind,
}

/// What was being read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    Header,
    Opcode,
    Field(&'static str),
    Key(TypeName),
    Value(TypeName),
    Checksum,
}

#[derive(Debug)]
pub enum ErrorKind {
    Truncated,
    Corrupt(&'static str),
    /// The first bytes are not those of an RDB file.
    NotRdb,
    UnsupportedVersion(u32),
    UnknownType(u8),
    /// Boxed, so that a result stays small.
    UnsupportedType(Box<TypeName>),
    Checksum {
        expected: u64,
        found: u64,
    },
    Io(io::Error),
}

impl ErrorKind {
    pub(crate) fn at(self, offset: u64, stage: Stage) -> Error {
        Error { offset, item_offset: 0, key: None, stage, kind: self }
    }
}

impl From<io::Error> for ErrorKind {
    fn from(error: io::Error) -> Self {
        ErrorKind::Io(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "RDB data cannot be read: {} at offset {}, while reading {}",
            self.kind, self.offset, self.stage
        )?;
        match &self.key {
            Some(key) => write!(f, " of key {}.", escape(&key[..key.len().min(KEY_SHOWN)])),
            None => write!(f, "."),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            ErrorKind::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stage::Header => write!(f, "the header"),
            Stage::Opcode => write!(f, "an opcode"),
            Stage::Field(name) => write!(f, "{name}"),
            Stage::Key(name) => write!(f, "the key of a {} ({})", name.family, name.name),
            Stage::Value(name) => write!(f, "the {} ({})", name.family, name.name),
            Stage::Checksum => write!(f, "the checksum"),
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorKind::Truncated => write!(f, "the data ends too early"),
            ErrorKind::Corrupt(reason) => write!(f, "{reason}"),
            ErrorKind::NotRdb => write!(f, "the data is not an RDB file"),
            ErrorKind::UnknownType(_) => write!(f, "there is no such type or opcode"),
            ErrorKind::UnsupportedVersion(version) => {
                let (redis, valkey) = (format::VERSION_REDIS_MAX, format::VERSION_VALKEY);
                write!(f, "version {version} is not supported (Redis 1 to {redis} and Valkey {valkey} are)")
            }
            ErrorKind::UnsupportedType(unsupported) => {
                let TypeName { code, family, name } = **unsupported;
                write!(f, "{family} (type {code}, {name}) is not supported")
            }
            ErrorKind::Checksum { expected, found } => {
                write!(f, "CRC error: the checksum is {found:016x} where the data gives {expected:016x}")
            }
            ErrorKind::Io(error) => write!(f, "{error}"),
        }
    }
}

/// A key is at most this many bytes of a message.
const KEY_SHOWN: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: Error, expected: &str) {
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn sentences() {
        let list = TypeName { code: 18, family: "list", name: "LIST_QUICKLIST_2" };
        let (stage, kind) = (Stage::Value(list), ErrorKind::UnsupportedType(Box::new(list)));
        check(
            Error { offset: 9, item_offset: 2, key: Some(b"a\nb".to_vec()), stage, kind },
            "RDB data cannot be read: list (type 18, LIST_QUICKLIST_2) is not supported at offset 9, \
             while reading the list (LIST_QUICKLIST_2) of key \"a\\nb\".",
        );
        check(
            ErrorKind::UnsupportedVersion(15).at(9, Stage::Header),
            "RDB data cannot be read: version 15 is not supported (Redis 1 to 14 and Valkey 80 are) at offset 9, \
             while reading the header.",
        );
        check(
            ErrorKind::Checksum { expected: 1, found: 2 }.at(30, Stage::Checksum),
            "RDB data cannot be read: CRC error: the checksum is 0000000000000002 where the data gives 0000000000000001 \
             at offset 30, while reading the checksum.",
        );
    }
}
