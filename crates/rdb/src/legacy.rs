//! Packed forms that are only read: zipmap (before Redis 2.6) and ziplist (before Redis 7.0). It checks every
//! byte and yields borrowed elements; it never writes these forms. Sources: the head comments of `zipmap.c`
//! and `ziplist.c`.

use crate::error::ErrorKind;

/// An element of a ziplist.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Element<'a> {
    Int(i64),
    Bytes(&'a [u8]),
}

/// Calls `visit` with every field and value of a zipmap.
pub(crate) fn for_each_in_zipmap(
    zipmap: &[u8],
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), ErrorKind>,
) -> Result<(), ErrorKind> {
    let (&claimed, rest) = zipmap.split_first().ok_or(BAD_ZIPMAP)?;
    let mut rest = Bytes(rest);
    let mut count = 0u64;
    loop {
        let first = rest.byte().ok_or(BAD_ZIPMAP)?;
        if first == ZIPMAP_END {
            break;
        }
        let (field, value) = zipmap_pair(&mut rest, first).ok_or(BAD_ZIPMAP)?;
        visit(field, value)?;
        count += 1;
    }
    let count_holds = claimed >= ZIPMAP_BIG || u64::from(claimed) == count;
    if rest.0.is_empty() && count > 0 && count_holds { Ok(()) } else { Err(BAD_ZIPMAP) }
}

/// Length, field, length, unused count, value, unused bytes; `first` is the first byte of the first length.
fn zipmap_pair<'a>(rest: &mut Bytes<'a>, first: u8) -> Option<(&'a [u8], &'a [u8])> {
    let field_len = zipmap_len(rest, first)?;
    let field = rest.take(field_len)?;
    let first = rest.byte()?;
    let value_len = zipmap_len(rest, first)?;
    let unused = rest.byte()?;
    let value = rest.take(value_len)?;
    rest.take(usize::from(unused))?;
    Some((field, value))
}

fn zipmap_len(rest: &mut Bytes<'_>, first: u8) -> Option<usize> {
    match first {
        ZIPMAP_END => None,
        // A length that one byte can hold stands in one byte.
        ZIPMAP_BIG => {
            Some(u32::from_le_bytes(rest.array()?) as usize).filter(|&len| len >= ZIPMAP_BIG.into())
        }
        _ => Some(usize::from(first)),
    }
}

/// Calls `visit` with every element of a ziplist.
pub(crate) fn for_each_in_ziplist<'a>(
    ziplist: &'a [u8],
    mut visit: impl FnMut(Element<'a>) -> Result<(), ErrorKind>,
) -> Result<(), ErrorKind> {
    let mut rest = Bytes(ziplist);
    let header = ziplist_header(&mut rest).ok_or(BAD_ZIPLIST)?;
    if header.len as usize != ziplist.len() {
        return Err(BAD_ZIPLIST);
    }
    let (mut count, mut previous_len) = (0u64, 0);
    while rest.0.first() != Some(&ZIPLIST_END) {
        let len_before = rest.0.len();
        let element = ziplist_entry(&mut rest, previous_len).ok_or(BAD_ZIPLIST)?;
        visit(element)?;
        previous_len = len_before - rest.0.len();
        count += 1;
    }
    let last = ziplist.len() - 1 - previous_len;
    let count_holds = header.count == u16::MAX || u64::from(header.count) == count;
    let tail_holds = count == 0 || header.last as usize == last;
    if rest.0.len() == 1 && count_holds && tail_holds { Ok(()) } else { Err(BAD_ZIPLIST) }
}

struct ZiplistHeader {
    len: u32,
    /// Where the last entry begins.
    last: u32,
    count: u16,
}

fn ziplist_header(rest: &mut Bytes<'_>) -> Option<ZiplistHeader> {
    Some(ZiplistHeader {
        len: u32::from_le_bytes(rest.array()?),
        last: u32::from_le_bytes(rest.array()?),
        count: u16::from_le_bytes(rest.array()?),
    })
}

/// Length of the entry before (1 or 5 bytes), encoding, content.
fn ziplist_entry<'a>(rest: &mut Bytes<'a>, previous_len: usize) -> Option<Element<'a>> {
    let claimed = match rest.byte()? {
        ZIPLIST_BIG => u32::from_le_bytes(rest.array()?) as usize,
        small => usize::from(small),
    };
    if claimed != previous_len {
        return None;
    }
    let encoding = rest.byte()?;
    let low = encoding & 0x3F;
    let len = match encoding >> 6 {
        0 => usize::from(low),
        1 => usize::from(u16::from_be_bytes([low, rest.byte()?])),
        2 => u32::from_be_bytes(rest.array()?) as usize,
        _ => return ziplist_int(rest, encoding).map(Element::Int),
    };
    rest.take(len).map(Element::Bytes)
}

fn ziplist_int(rest: &mut Bytes<'_>, encoding: u8) -> Option<i64> {
    Some(match encoding {
        0xC0 => i64::from(i16::from_le_bytes(rest.array()?)),
        0xD0 => i64::from(i32::from_le_bytes(rest.array()?)),
        0xE0 => i64::from_le_bytes(rest.array()?),
        0xF0 => {
            let [low, middle, high] = rest.array()?;
            i64::from(i32::from_le_bytes([0, low, middle, high]) >> 8)
        }
        0xFE => i64::from(i8::from_le_bytes(rest.array()?)),
        0xF1..=0xFD => i64::from(encoding & 0x0F) - 1,
        _ => return None,
    })
}

/// What is left to read of a slice.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (&first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(first)
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }
}

const ZIPMAP_BIG: u8 = 254;
const ZIPMAP_END: u8 = 255;
const ZIPLIST_BIG: u8 = 254;
const ZIPLIST_END: u8 = 255;
const BAD_ZIPMAP: ErrorKind = ErrorKind::Corrupt("a zipmap is damaged");
const BAD_ZIPLIST: ErrorKind = ErrorKind::Corrupt("a ziplist is damaged");

#[cfg(test)]
mod tests {
    use super::*;

    fn zipmap(bytes: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut pairs = Vec::new();
        let visited = for_each_in_zipmap(bytes, |field, value| {
            pairs.push((field.to_vec(), value.to_vec()));
            Ok(())
        });
        visited.is_ok().then_some(pairs)
    }

    fn ziplist(bytes: &[u8]) -> Option<Vec<Element<'_>>> {
        let mut elements = Vec::new();
        let visited = for_each_in_ziplist(bytes, |element| {
            elements.push(element);
            Ok(())
        });
        visited.is_ok().then_some(elements)
    }

    /// A ziplist of entries given as encoding and content.
    fn ziplist_of(entries: &[&[u8]]) -> Vec<u8> {
        let (mut body, mut previous, mut last) = (Vec::new(), 0, 10);
        for entry in entries {
            last = 10 + body.len();
            match u8::try_from(previous) {
                Ok(small) if small < ZIPLIST_BIG => body.push(small),
                _ => body.extend_from_slice(&[&[ZIPLIST_BIG][..], &(previous as u32).to_le_bytes()].concat()),
            }
            body.extend_from_slice(entry);
            previous = 10 + body.len() - last;
        }
        let len = 11 + body.len() as u32;
        let count = entries.len() as u16;
        [&len.to_le_bytes()[..], &(last as u32).to_le_bytes(), &count.to_le_bytes(), &body, &[ZIPLIST_END]]
            .concat()
    }

    #[test]
    fn zipmaps() {
        let pairs = vec![(b"foo".to_vec(), b"bar".to_vec()), (b"hello".to_vec(), b"world".to_vec())];
        let good = b"\x02\x03foo\x03\x00bar\x05hello\x05\x02world..\xff";
        assert_eq!(zipmap(good), Some(pairs));
        assert_eq!(zipmap(b"\x00\xff"), None, "an empty one is never saved");
        assert_eq!(zipmap(b"\x03\x03foo\x03\x00bar\xff"), None, "a false count");
        assert_eq!(zipmap(b"\x01\x03foo\x03\x00bar\xffx"), None, "bytes after the end");
        for len in 0..good.len() {
            assert_eq!(zipmap(&good[..len]), None, "cut at {len}");
        }
        let long = [&b"\xfe\xfe\x2c\x01\x00\x00"[..], &[b'f'; 300], b"\x00\x00\xff"].concat();
        assert_eq!(zipmap(&long), Some(vec![(vec![b'f'; 300], Vec::new())]));
    }

    #[test]
    fn ziplists() {
        let long = [&[0x41, 0x2C][..], &[b'x'; 300]].concat();
        let big = [&[0x80, 0, 0, 0, 2][..], b"yz"].concat();
        let bytes = ziplist_of(&[
            b"\x03abc",
            &long,
            &big,
            &[0xC0, 0, 0x80],
            &[0xD0, 0, 0, 0, 0x80],
            &[0xE0, 0, 0, 0, 0, 0, 0, 0, 0x80],
            &[0xF0, 0xFF, 0xFF, 0xFF],
            &[0xFE, 0x80],
            &[0xF1],
            &[0xFD],
        ]);
        let numbers = [-32768, i64::from(i32::MIN), i64::MIN, -1, -128, 0, 12].map(Element::Int);
        let strings = [Element::Bytes(b"abc"), Element::Bytes(&[b'x'; 300]), Element::Bytes(b"yz")];
        assert_eq!(ziplist(&bytes), Some([&strings[..], &numbers].concat()));
        for len in 0..bytes.len() {
            assert_eq!(ziplist(&bytes[..len]), None, "cut at {len}");
        }
        assert_eq!(ziplist(&ziplist_of(&[])), Some(Vec::new()));
        assert_eq!(ziplist(&ziplist_of(&[b"\x05abc"])), None, "an element beyond the end");
        assert_eq!(ziplist(&ziplist_of(&[b"\xff"])), None, "the end mark is no element");
    }
}
