//! Lengths and strings as bytes: the prefix of 1 to 9 bytes, integers in place of digits, LZF. It knows
//! nothing of keys or types. Source: the head comments of `rdb.h`.

use crate::error::ErrorKind;
use crate::source::{Input, Slice};
use base::{lzf, num};
use std::borrow::Cow;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WriteOptions {
    /// LZF for strings over 20 bytes.
    pub compress: bool,
}

/// A length: 6 bits in one byte, 14 bits in two, else 32 or 64 bits big-endian behind a marker.
pub fn write_len(out: &mut Vec<u8>, len: u64) {
    match len {
        0..=0x3F => out.push(len as u8),
        0x40..=0x3FFF => out.extend_from_slice(&(len as u16 | 0x4000).to_be_bytes()),
        0x4000..=0xFFFF_FFFF => {
            out.push(LEN_32);
            out.extend_from_slice(&(len as u32).to_be_bytes());
        }
        _ => write_long_len(out, len),
    }
}

/// As `write_len`, always in its longest form: nine bytes.
pub fn write_long_len(out: &mut Vec<u8>, len: u64) {
    out.push(LEN_64);
    out.extend_from_slice(&len.to_be_bytes());
}

/// Bytes that `write_len` writes.
pub fn len_size(len: u64) -> usize {
    match len {
        0..=0x3F => 1,
        0x40..=0x3FFF => 2,
        0x4000..=0xFFFF_FFFF => 5,
        _ => 9,
    }
}

/// A string in its shortest form: an integer if it is the digits of one of up to 32 bits, else LZF if that is
/// asked for and saves at least 4 bytes, else plain.
pub fn write_string(out: &mut Vec<u8>, bytes: &[u8], options: &WriteOptions) {
    let number = if bytes.len() <= SHORT_DIGITS { num::parse_i64(bytes) } else { None };
    if number.is_some_and(|number| write_short_int(out, number)) {
        return;
    }
    if !(options.compress && bytes.len() > UNCOMPRESSED_LEN && write_lzf(out, bytes)) {
        write_plain(out, bytes);
    }
}

/// A string as it is, behind its length.
pub fn write_plain(out: &mut Vec<u8>, bytes: &[u8]) {
    write_len(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A string that is the digits of `number`.
pub fn write_int(out: &mut Vec<u8>, number: i64) {
    if !write_short_int(out, number) {
        write_len(out, num::i64_len(number) as u64);
        num::write_i64(out, number);
    }
}

fn write_short_int(out: &mut Vec<u8>, number: i64) -> bool {
    if let Ok(small) = i8::try_from(number) {
        out.extend_from_slice(&[ENCODED | INT_8, small as u8]);
    } else if let Ok(small) = i16::try_from(number) {
        out.push(ENCODED | INT_16);
        out.extend_from_slice(&small.to_le_bytes());
    } else if let Ok(small) = i32::try_from(number) {
        out.push(ENCODED | INT_32);
        out.extend_from_slice(&small.to_le_bytes());
    } else {
        return false;
    }
    true
}

fn write_lzf(out: &mut Vec<u8>, bytes: &[u8]) -> bool {
    let start = out.len();
    let shorter = lzf::compress(bytes, out);
    if shorter {
        // How long the head is follows from what comes behind it.
        let packed_end = out.len();
        write_compressed_head(out, packed_end - start, bytes.len());
        out[start..].rotate_left(packed_end - start);
    }
    shorter
}

/// A string of `len` bytes that is compressed already.
pub fn write_compressed(out: &mut Vec<u8>, packed: &[u8], len: usize) {
    write_compressed_head(out, packed.len(), len);
    out.extend_from_slice(packed);
}

/// What comes before `packed_len` bytes that stand for `len`.
pub(crate) fn write_compressed_head(out: &mut Vec<u8>, packed_len: usize, len: usize) {
    out.push(ENCODED | LZF);
    write_len(out, packed_len as u64);
    write_len(out, len as u64);
}

/// What a length's first byte announces.
enum Prefix {
    Len(u64),
    Encoded(u8),
}

/// A string as the file holds it: the digits of a number, or bytes.
pub(crate) enum Text {
    Int(i64),
    Bytes,
}

pub(crate) fn read_len<I: Input>(source: &mut I) -> Result<u64, ErrorKind> {
    match read_prefix(source)? {
        Prefix::Len(len) => Ok(len),
        Prefix::Encoded(_) => Err(ErrorKind::Corrupt("an encoded string stands where a length must")),
    }
}

/// Reads a string; bytes replace what `out` held, a number leaves it empty.
pub(crate) fn read_text<I: Input>(source: &mut I, out: &mut Vec<u8>) -> Result<Text, ErrorKind> {
    let prefix = read_prefix(source)?;
    read_text_behind(source, prefix, out)
}

fn read_text_behind<I: Input>(source: &mut I, prefix: Prefix, out: &mut Vec<u8>) -> Result<Text, ErrorKind> {
    out.clear();
    let number = match prefix {
        Prefix::Len(len) => return source.append(out, len).map(|()| Text::Bytes),
        Prefix::Encoded(LZF) => return read_lzf(source, out).map(|()| Text::Bytes),
        Prefix::Encoded(INT_8) => i64::from(i8::from_le_bytes(source.array()?)),
        Prefix::Encoded(INT_16) => i64::from(i16::from_le_bytes(source.array()?)),
        Prefix::Encoded(INT_32) => i64::from(i32::from_le_bytes(source.array()?)),
        Prefix::Encoded(_) => return Err(ErrorKind::Corrupt("a string has an unknown encoding")),
    };
    Ok(Text::Int(number))
}

/// Reads a string's head: if its bytes follow as they are, how many. Any other string is read into `out`.
pub(crate) fn begin_string<I: Input>(source: &mut I, out: &mut Vec<u8>) -> Result<Option<u64>, ErrorKind> {
    let prefix = read_prefix(source)?;
    if let Prefix::Len(len) = prefix {
        return Ok(Some(len));
    }
    if let Text::Int(number) = read_text_behind(source, prefix, out)? {
        num::write_i64(out, number);
    }
    Ok(None)
}

/// A string that need not be copied.
pub(crate) enum Borrowed<'a> {
    Int(i64),
    Bytes(Cow<'a, [u8]>),
}

/// Reads a string out of memory; only one that was compressed is copied.
pub(crate) fn read_borrowed<'a>(source: &mut Slice<'a>) -> Result<Borrowed<'a>, ErrorKind> {
    let prefix = read_prefix(source)?;
    if let Prefix::Len(len) = prefix {
        return source.take(len).map(|bytes| Borrowed::Bytes(Cow::Borrowed(bytes)));
    }
    let mut out = Vec::new();
    Ok(match read_text_behind(source, prefix, &mut out)? {
        Text::Int(number) => Borrowed::Int(number),
        Text::Bytes => Borrowed::Bytes(Cow::Owned(out)),
    })
}

/// Goes past a string.
pub(crate) fn pass_string<I: Input>(source: &mut I) -> Result<(), ErrorKind> {
    let len = match read_prefix(source)? {
        Prefix::Len(len) => len,
        Prefix::Encoded(LZF) => {
            let packed_len = read_len(source)?;
            read_len(source)?;
            packed_len
        }
        Prefix::Encoded(INT_8) => 1,
        Prefix::Encoded(INT_16) => 2,
        Prefix::Encoded(INT_32) => 4,
        Prefix::Encoded(_) => return Err(ErrorKind::Corrupt("a string has an unknown encoding")),
    };
    source.pass(len)
}

/// Reads a string into `out`, numbers as their digits.
pub(crate) fn read_string_into<I: Input>(source: &mut I, out: &mut Vec<u8>) -> Result<(), ErrorKind> {
    if let Text::Int(number) = read_text(source, out)? {
        num::write_i64(out, number);
    }
    Ok(())
}

pub(crate) fn read_string<I: Input>(source: &mut I) -> Result<Vec<u8>, ErrorKind> {
    let mut out = Vec::new();
    read_string_into(source, &mut out)?;
    Ok(out)
}

fn read_prefix<I: Input>(source: &mut I) -> Result<Prefix, ErrorKind> {
    let first = source.byte()?;
    let low = first & 0x3F;
    Ok(match first >> 6 {
        0 => Prefix::Len(u64::from(low)),
        1 => Prefix::Len(u64::from(u16::from_be_bytes([low, source.byte()?]))),
        3 => Prefix::Encoded(low),
        _ if first == LEN_32 => Prefix::Len(u64::from(u32::from_be_bytes(source.array()?))),
        _ if first == LEN_64 => Prefix::Len(u64::from_be_bytes(source.array()?)),
        _ => return Err(ErrorKind::Corrupt("a length has an unknown form")),
    })
}

fn read_lzf<I: Input>(source: &mut I, out: &mut Vec<u8>) -> Result<(), ErrorKind> {
    let packed_len = read_len(source)?;
    let len = read_len(source)?;
    if len > MAX_UNPACKED_LEN || len > packed_len.saturating_mul(LZF_MAX_RATIO) {
        return Err(ErrorKind::Corrupt("a compressed string claims an impossible length"));
    }
    let mut scratch = Vec::new();
    let packed = source.bytes(packed_len, &mut scratch)?;
    *out = lzf::decompress(packed, len as usize)
        .map_err(|_| ErrorKind::Corrupt("a compressed string does not unpack to its length"))?;
    Ok(())
}

const LEN_32: u8 = 0x80;
const LEN_64: u8 = 0x81;
/// The two top bits of a string that is not plain; the rest says how it is encoded.
const ENCODED: u8 = 0xC0;
const INT_8: u8 = 0;
const INT_16: u8 = 1;
const INT_32: u8 = 2;
const LZF: u8 = 3;

/// `-2147483648` is the longest number of 32 bits.
const SHORT_DIGITS: usize = 11;
/// LZF gains nothing on strings up to this.
const UNCOMPRESSED_LEN: usize = 20;
/// A back reference of 3 bytes gives at most 264.
const LZF_MAX_RATIO: u64 = 88;
/// The largest string Redis makes by default; more is not unpacked in memory on a file's word.
const MAX_UNPACKED_LEN: u64 = 512 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{Source, Summing};

    const PLAIN: WriteOptions = WriteOptions { compress: false };
    const COMPRESSED: WriteOptions = WriteOptions { compress: true };

    fn read<'a, T>(
        bytes: &'a [u8],
        f: impl Fn(&mut Source<&'a [u8]>) -> Result<T, ErrorKind>,
    ) -> Result<T, String> {
        let mut source = Source::new(bytes, 16, Summing::Off);
        let value = f(&mut source).map_err(|kind| kind.to_string())?;
        assert_eq!(source.offset(), bytes.len() as u64, "all of it is read");
        Ok(value)
    }

    #[test]
    fn lengths() {
        let check = |len: u64, expected: &[u8]| {
            let mut out = Vec::new();
            write_len(&mut out, len);
            assert_eq!(out, expected, "{len}");
            assert_eq!(out.len(), len_size(len));
            assert_eq!(read(&out, read_len), Ok(len));
        };
        check(0, &[0]);
        check(63, &[63]);
        check(64, &[0x40, 64]);
        check(16383, &[0x7F, 0xFF]);
        check(16384, &[0x80, 0, 0, 0x40, 0]);
        check(u64::from(u32::MAX), &[0x80, 0xFF, 0xFF, 0xFF, 0xFF]);
        check(1 << 32, &[0x81, 0, 0, 0, 1, 0, 0, 0, 0]);
        check(u64::MAX, &[0x81, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]);
    }

    #[test]
    fn strings() {
        let check = |text: &[u8], options: &WriteOptions, expected: &[u8]| {
            let mut out = Vec::new();
            write_string(&mut out, text, options);
            assert_eq!(out, expected, "{}", String::from_utf8_lossy(text));
            assert_eq!(read(&out, read_string).as_deref(), Ok(text));
        };
        check(b"", &PLAIN, &[0]);
        check(b"abc", &PLAIN, b"\x03abc");
        check(b"7", &PLAIN, &[0xC0, 7]);
        check(b"-128", &PLAIN, &[0xC0, 0x80]);
        check(b"128", &PLAIN, &[0xC1, 0x80, 0]);
        check(b"-2147483648", &PLAIN, &[0xC2, 0, 0, 0, 0x80]);
        check(b"2147483648", &PLAIN, b"\x0A2147483648");
        check(b"007", &PLAIN, b"\x03007");
        check(&[b'a'; 20], &COMPRESSED, &[&[20u8][..], &[b'a'; 20]].concat());
    }

    #[test]
    fn numbers() {
        let check = |number: i64, expected: &[u8]| {
            let mut out = Vec::new();
            write_int(&mut out, number);
            assert_eq!(out, expected, "{number}");
            assert_eq!(read(&out, read_string), Ok(number.to_string().into_bytes()));
        };
        check(-1, &[0xC0, 0xFF]);
        check(32767, &[0xC1, 0xFF, 0x7F]);
        check(32768, &[0xC2, 0, 0x80, 0, 0]);
        check(i64::MIN, b"\x14-9223372036854775808");
    }

    #[test]
    fn long_strings_are_compressed() {
        let text = b"0123456789".repeat(1000);
        let mut out = Vec::new();
        write_string(&mut out, &text, &COMPRESSED);
        assert!(out.len() < text.len() / 10);
        assert_eq!(out[0], ENCODED | LZF);
        assert_eq!(read(&out, read_string), Ok(text));
    }

    #[test]
    fn damage() {
        let check = |bytes: &[u8], expected: &str| {
            assert_eq!(read(bytes, read_string), Err(expected.to_owned()), "{bytes:?}");
        };
        check(&[], "the data ends too early");
        check(&[5, b'a'], "the data ends too early");
        check(&[0x82], "a length has an unknown form");
        check(&[0xC4], "a string has an unknown encoding");
        check(&[0xC3, 0xC0], "an encoded string stands where a length must");
        check(&[0xC3, 1, 0x40, 89], "a compressed string claims an impossible length");
        check(
            &[0xC3, 0x80, 255, 0, 0, 0, 0x80, 0x20, 0, 0, 1],
            "a compressed string claims an impossible length",
        );
        check(&[0xC3, 2, 9, 0, b'a'], "a compressed string does not unpack to its length");
        check(&[0x81, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], "the data ends too early");
    }
}
