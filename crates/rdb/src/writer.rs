//! The parts of a file as bytes: header, fields, records, end. Order, checksum of the whole and I/O are the
//! caller's.

use crate::format;
use crate::length::{self, WriteOptions};
use crate::values::{self, ValueRef};
use base::crc::crc64;

/// What a record says of its key beyond the value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Attributes {
    /// Unix ms.
    pub expires_at: Option<i64>,
    /// Seconds since the last access, written where keys are evicted by age.
    pub idle_s: Option<u64>,
    /// The access counter, written where keys are evicted by frequency.
    pub freq: Option<u8>,
}

/// The file's first bytes: `REDIS` and four digits, or `VALKEY` and three from version 80.
pub fn write_header(version: u32) -> [u8; format::MAGIC_LEN] {
    format::magic(version)
}

/// A named fact about the file; readers skip names they do not know.
pub fn write_aux(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    out.push(format::OPCODE_AUX);
    length::write_string(out, key, &PLAIN);
    length::write_string(out, value, &PLAIN);
}

/// Exactly `len` bytes that say nothing, [`PADDING_LEAST`] at least.
pub fn write_padding(out: &mut Vec<u8>, len: usize) {
    let end = out.len() + len;
    out.push(format::OPCODE_AUX);
    length::write_plain(out, PADDING);
    length::write_long_len(out, (len - PADDING_LEAST) as u64);
    out.resize(end, b' ');
}

const PADDING: &[u8] = b"padding";
/// The opcode, the name and its length, and the length of an empty value.
pub const PADDING_LEAST: usize = 1 + 1 + PADDING.len() + 9;

/// The database of all records up to the next such opcode.
pub fn write_select_db(out: &mut Vec<u8>, db: u64) {
    out.push(format::OPCODE_SELECT_DB);
    length::write_len(out, db);
}

/// How many keys the database has, and how many of them with a TTL: a hint.
pub fn write_resize_db(out: &mut Vec<u8>, keys: u64, expires: u64) {
    out.push(format::OPCODE_RESIZE_DB);
    length::write_len(out, keys);
    length::write_len(out, expires);
}

/// A function library's source.
pub fn write_function(out: &mut Vec<u8>, code: &[u8], options: &WriteOptions) {
    out.push(format::OPCODE_FUNCTION2);
    length::write_string(out, code, options);
}

/// A key with its value; `expires_at` in unix ms.
pub fn write_record(
    out: &mut Vec<u8>,
    key: &[u8],
    expires_at: Option<i64>,
    value: ValueRef<'_>,
    options: &WriteOptions,
) {
    write_record_with(out, key, Attributes { expires_at, ..Attributes::default() }, value, options);
}

/// A key with all that a file may say of it.
pub fn write_record_with(
    out: &mut Vec<u8>,
    key: &[u8],
    attributes: Attributes,
    value: ValueRef<'_>,
    options: &WriteOptions,
) {
    write_head(out, key, attributes, value, options);
    values::write_value(out, value, options);
}

/// A string key up to its value, which follows as it is: `len` bytes.
pub fn write_string_head(
    out: &mut Vec<u8>,
    key: &[u8],
    attributes: Attributes,
    len: usize,
    options: &WriteOptions,
) {
    write_head(out, key, attributes, ValueRef::Bytes(&[]), options);
    length::write_len(out, len as u64);
}

/// A record up to its value.
pub(crate) fn write_head(
    out: &mut Vec<u8>,
    key: &[u8],
    attributes: Attributes,
    value: ValueRef<'_>,
    options: &WriteOptions,
) {
    write_attributes(out, attributes);
    out.push(values::type_code(value));
    length::write_string(out, key, options);
}

/// The end mark and the checksum: `crc` is the CRC-64 of every byte before, None to switch checksums off.
pub fn write_eof(out: &mut Vec<u8>, crc: Option<u64>) {
    out.push(format::OPCODE_EOF);
    let sum = crc.map_or(0, |crc| crc64(crc, &[format::OPCODE_EOF]));
    out.extend_from_slice(&sum.to_le_bytes());
}

fn write_attributes(out: &mut Vec<u8>, attributes: Attributes) {
    if let Some(time) = attributes.expires_at {
        out.push(format::OPCODE_EXPIRE_MS);
        out.extend_from_slice(&time.to_le_bytes());
    }
    if let Some(idle_s) = attributes.idle_s {
        out.push(format::OPCODE_IDLE);
        length::write_len(out, idle_s);
    }
    if let Some(freq) = attributes.freq {
        out.extend_from_slice(&[format::OPCODE_FREQ, freq]);
    }
}

const PLAIN: WriteOptions = WriteOptions { compress: false };

#[cfg(test)]
mod tests {
    use super::*;

    fn check(write: impl Fn(&mut Vec<u8>), expected: &[u8]) {
        let mut out = Vec::new();
        write(&mut out);
        assert_eq!(out, expected);
    }

    #[test]
    fn parts() {
        check(|out| write_aux(out, b"redis-bits", b"64"), b"\xfa\x0aredis-bits\xc0\x40");
        check(|out| write_select_db(out, 3), b"\xfe\x03");
        check(|out| write_resize_db(out, 2, 1), b"\xfb\x02\x01");
        check(|out| write_function(out, b"#!lua", &PLAIN), b"\xf5\x05#!lua");
        check(|out| write_padding(out, PADDING_LEAST), b"\xfa\x07padding\x81\0\0\0\0\0\0\0\0");
        check(|out| write_padding(out, PADDING_LEAST + 2), b"\xfa\x07padding\x81\0\0\0\0\0\0\0\x02  ");
        check(|out| write_eof(out, None), b"\xff\0\0\0\0\0\0\0\0");
        check(
            |out| write_eof(out, Some(crc64(0, b"REDIS0010"))),
            &[&b"\xff"[..], &crc64(0, b"REDIS0010\xff").to_le_bytes()].concat(),
        );
    }

    #[test]
    fn records() {
        let attributes = Attributes { expires_at: Some(1), idle_s: Some(70), freq: Some(5) };
        check(
            |out| write_record_with(out, b"k", attributes, ValueRef::Int(7), &PLAIN),
            b"\xfc\x01\0\0\0\0\0\0\0\xf8\x40\x46\xf9\x05\0\x01k\xc0\x07",
        );
        check(|out| write_record(out, b"k", None, ValueRef::Bytes(b"v"), &PLAIN), b"\0\x01k\x01v");
    }
}
