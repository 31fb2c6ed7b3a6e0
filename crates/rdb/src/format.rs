//! The numbers of the format: opcodes, type codes by dialect, versions, the file's magic. It reads and writes
//! nothing beyond the magic. Source: `rdb.h` of Redis 7.0 and 7.4 and of Valkey 9.1.

/// Who defined the numbers from 22 up: Redis and Valkey went apart after version 11.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    Redis,
    Valkey,
}

impl Dialect {
    /// The dialect of a DUMP payload, which has no magic; None for a version that is not read.
    pub fn of_version(version: u32) -> Option<Dialect> {
        VersionCheck::Strict.dialect(version)
    }
}

/// Which versions are read: those that are known, or newer ones too, for what they have in common with these.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VersionCheck {
    Strict,
    Relaxed,
}

impl VersionCheck {
    /// The dialect of a version; None if it is not read. Redis' versions are those below Valkey's first.
    pub fn dialect(self, version: u32) -> Option<Dialect> {
        match version {
            1..=VERSION_REDIS_MAX => Some(Dialect::Redis),
            VERSION_VALKEY => Some(Dialect::Valkey),
            0 => None,
            _ if self == VersionCheck::Strict => None,
            _ if version < VERSION_VALKEY => Some(Dialect::Redis),
            _ => Some(Dialect::Valkey),
        }
    }
}

/// A type code's meaning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TypeName {
    pub code: u8,
    /// What a user calls it: `list`.
    pub family: &'static str,
    /// What the format calls it: `LIST_QUICKLIST_2`.
    pub name: &'static str,
}

/// What the first nine bytes of a file say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Magic {
    Readable(Dialect, u32),
    Unsupported(u32),
    NotRdb,
}

/// The first nine bytes of a file of `version`.
pub fn magic(version: u32) -> [u8; MAGIC_LEN] {
    assert!((1..=999).contains(&version), "a version has at most three digits");
    let text = match Dialect::of_version(version) {
        Some(Dialect::Valkey) => format!("VALKEY{version:03}"),
        _ => format!("REDIS{version:04}"),
    };
    text.as_bytes().try_into().expect("both forms are nine bytes")
}

/// Reads the first nine bytes of a file: `REDIS` and four digits, or `VALKEY` and three.
pub fn parse_magic(bytes: &[u8; MAGIC_LEN], check: VersionCheck) -> Magic {
    let (dialect, digits) = match bytes {
        [b'R', b'E', b'D', b'I', b'S', digits @ ..] => (Dialect::Redis, &digits[..]),
        [b'V', b'A', b'L', b'K', b'E', b'Y', digits @ ..] => (Dialect::Valkey, &digits[..]),
        _ => return Magic::NotRdb,
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return Magic::NotRdb;
    }
    let version = digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
    match check.dialect(version) {
        Some(found) if found == dialect => Magic::Readable(dialect, version),
        _ => Magic::Unsupported(version),
    }
}

/// The meaning of a type code in a file of `dialect`, None if it has none there.
pub fn type_name(code: u8, dialect: Dialect) -> Option<TypeName> {
    let common = TYPES.iter().find(|row| row.0 == code);
    let own = match dialect {
        Dialect::Redis => TYPES_REDIS.iter().find(|row| row.0 == code),
        Dialect::Valkey => TYPES_VALKEY.iter().find(|row| row.0 == code),
    };
    common.or(own).map(|&(code, family, name)| TypeName { code, family, name })
}

pub const MAGIC_LEN: usize = 9;
/// The newest version of Redis that is read: 8.8. Of versions 13 and 14 streams are; arrays and the data that
/// modules attach to keys are refused where they come.
pub const VERSION_REDIS_MAX: u32 = 14;
/// The version of Valkey that is read: 9.0 and 9.1.
pub const VERSION_VALKEY: u32 = 80;
/// What is written when the content needs no more; Redis 7.0 loads it.
pub const VERSION_PLAIN: u32 = 10;
/// What a hash with field TTLs needs.
pub const VERSION_FIELD_TTL: u32 = 12;
/// What a stream with producers' ids needs.
pub const VERSION_STREAM_PRODUCERS: u32 = 13;
/// What a stream needs of which entries were given back.
pub const VERSION_STREAM_RETURNED: u32 = 14;
/// The first version that ends with a checksum.
pub const VERSION_CHECKSUM: u32 = 5;

/// Codes from here up are no types of values.
pub const OPCODE_MIN: u8 = 243;
pub const OPCODE_SLOT_IMPORT: u8 = 243;
pub const OPCODE_SLOT_INFO: u8 = 244;
pub const OPCODE_FUNCTION2: u8 = 245;
pub const OPCODE_MODULE_AUX: u8 = 247;
pub const OPCODE_IDLE: u8 = 248;
pub const OPCODE_FREQ: u8 = 249;
pub const OPCODE_AUX: u8 = 250;
pub const OPCODE_RESIZE_DB: u8 = 251;
pub const OPCODE_EXPIRE_MS: u8 = 252;
pub const OPCODE_EXPIRE_S: u8 = 253;
pub const OPCODE_SELECT_DB: u8 = 254;
pub const OPCODE_EOF: u8 = 255;

pub const MODULE_EOF: u64 = 0;
pub const MODULE_SINT: u64 = 1;
pub const MODULE_UINT: u64 = 2;
pub const MODULE_FLOAT: u64 = 3;
pub const MODULE_DOUBLE: u64 = 4;
pub const MODULE_STRING: u64 = 5;

pub const TYPE_STRING: u8 = 0;
pub const TYPE_LIST: u8 = 1;
pub const TYPE_SET: u8 = 2;
/// Scores as text.
pub const TYPE_ZSET: u8 = 3;
pub const TYPE_HASH: u8 = 4;
/// Scores in eight bytes.
pub const TYPE_ZSET_2: u8 = 5;
pub const TYPE_MODULE_2: u8 = 7;
pub const TYPE_HASH_ZIPMAP: u8 = 9;
pub const TYPE_LIST_ZIPLIST: u8 = 10;
pub const TYPE_SET_INTSET: u8 = 11;
pub const TYPE_ZSET_ZIPLIST: u8 = 12;
pub const TYPE_HASH_ZIPLIST: u8 = 13;
pub const TYPE_LIST_QUICKLIST: u8 = 14;
pub const TYPE_STREAM_LISTPACKS: u8 = 15;
pub const TYPE_HASH_LISTPACK: u8 = 16;
pub const TYPE_ZSET_LISTPACK: u8 = 17;
pub const TYPE_LIST_QUICKLIST_2: u8 = 18;
pub const TYPE_STREAM_LISTPACKS_2: u8 = 19;
/// From version 11 on.
pub const TYPE_SET_LISTPACK: u8 = 20;
/// From version 11 on.
pub const TYPE_STREAM_LISTPACKS_3: u8 = 21;
/// Redis only: field TTLs, absolute (7.4's release candidates).
pub const TYPE_HASH_METADATA_PRE_GA: u8 = 22;
pub const TYPE_HASH_LISTPACK_EX_PRE_GA: u8 = 23;
/// Redis only: field TTLs relative to the least of them, which comes first.
pub const TYPE_HASH_METADATA: u8 = 24;
pub const TYPE_HASH_LISTPACK_EX: u8 = 25;
/// Redis only: with the ids that producers gave their entries.
pub const TYPE_STREAM_LISTPACKS_4: u8 = 26;
/// Redis only: with the pending entries that consumers gave back.
pub const TYPE_STREAM_LISTPACKS_5: u8 = 27;
/// Valkey only: field, value, expiry.
pub const TYPE_HASH_2: u8 = 22;

/// Code, family, name of what both dialects share.
const TYPES: &[(u8, &str, &str)] = &[
    (0, "string", "STRING"),
    (1, "list", "LIST"),
    (2, "set", "SET"),
    (3, "sorted set", "ZSET"),
    (4, "hash", "HASH"),
    (5, "sorted set", "ZSET_2"),
    (6, "module", "MODULE_PRE_GA"),
    (7, "module", "MODULE_2"),
    (9, "hash", "HASH_ZIPMAP"),
    (10, "list", "LIST_ZIPLIST"),
    (11, "set", "SET_INTSET"),
    (12, "sorted set", "ZSET_ZIPLIST"),
    (13, "hash", "HASH_ZIPLIST"),
    (14, "list", "LIST_QUICKLIST"),
    (15, "stream", "STREAM_LISTPACKS"),
    (16, "hash", "HASH_LISTPACK"),
    (17, "sorted set", "ZSET_LISTPACK"),
    (18, "list", "LIST_QUICKLIST_2"),
    (19, "stream", "STREAM_LISTPACKS_2"),
    (20, "set", "SET_LISTPACK"),
    (21, "stream", "STREAM_LISTPACKS_3"),
    (246, "functions", "FUNCTION_PRE_GA"),
];

const TYPES_REDIS: &[(u8, &str, &str)] = &[
    (22, "hash", "HASH_METADATA_PRE_GA"),
    (23, "hash", "HASH_LISTPACK_EX_PRE_GA"),
    (24, "hash", "HASH_METADATA"),
    (25, "hash", "HASH_LISTPACK_EX"),
    (26, "stream", "STREAM_LISTPACKS_4"),
    (27, "stream", "STREAM_LISTPACKS_5"),
    (28, "array", "ARRAY"),
    (243, "key metadata", "KEY_META"),
];

const TYPES_VALKEY: &[(u8, &str, &str)] = &[(22, "hash", "HASH_2"), (243, "slot migration", "SLOT_IMPORT")];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8; MAGIC_LEN], expected: Magic) {
        assert_eq!(parse_magic(bytes, VersionCheck::Strict), expected, "{}", String::from_utf8_lossy(bytes));
        if let Magic::Readable(_, version) = expected {
            assert_eq!(&magic(version), bytes);
        }
    }

    #[test]
    fn magics() {
        check(b"REDIS0001", Magic::Readable(Dialect::Redis, 1));
        check(b"REDIS0010", Magic::Readable(Dialect::Redis, 10));
        check(b"REDIS0012", Magic::Readable(Dialect::Redis, 12));
        check(b"VALKEY080", Magic::Readable(Dialect::Valkey, 80));
        check(b"REDIS0014", Magic::Readable(Dialect::Redis, 14));
        check(b"REDIS0015", Magic::Unsupported(15));
        check(b"REDIS0080", Magic::Unsupported(80));
        check(b"REDIS0000", Magic::Unsupported(0));
        check(b"VALKEY081", Magic::Unsupported(81));
        check(b"VALKEY011", Magic::Unsupported(11));
        check(b"REDIS00a1", Magic::NotRdb);
        check(b"FOOBAR080", Magic::NotRdb);
    }

    #[test]
    fn newer_versions_are_read_if_the_check_is_relaxed() {
        for (bytes, expected) in [
            (b"REDIS0014", Magic::Readable(Dialect::Redis, 14)),
            (b"REDIS0015", Magic::Readable(Dialect::Redis, 15)),
            (b"REDIS0079", Magic::Readable(Dialect::Redis, 79)),
            (b"REDIS0080", Magic::Unsupported(80)),
            (b"REDIS0000", Magic::Unsupported(0)),
            (b"VALKEY079", Magic::Unsupported(79)),
            (b"VALKEY222", Magic::Readable(Dialect::Valkey, 222)),
        ] {
            assert_eq!(parse_magic(bytes, VersionCheck::Relaxed), expected);
        }
    }

    #[test]
    fn code_22_depends_on_the_dialect() {
        let name = |dialect| type_name(22, dialect).map(|found| found.name);
        assert_eq!(name(Dialect::Redis), Some("HASH_METADATA_PRE_GA"));
        assert_eq!(name(Dialect::Valkey), Some("HASH_2"));
        assert_eq!(type_name(24, Dialect::Valkey), None);
        assert_eq!(type_name(8, Dialect::Redis), None);
    }
}
