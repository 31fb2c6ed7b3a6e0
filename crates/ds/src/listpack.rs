//! The listpack: Redis' packed list of strings and integers, byte for byte as in its memory and RDB files.
//!
//! It reads, checks and edits bytes that someone else owns, and never decides when a collection is too big
//! for it. Format (all little-endian): total bytes as u32, element count as u16 (65,535: count them), the
//! elements, 0xff. An element is its encoding byte or bytes, its data, and the length of these two once
//! more, in groups of seven bits to be read backwards from the end.

use base::num;

/// Bytes that can be edited in the middle.
pub trait Buffer {
    fn bytes(&self) -> &[u8];

    /// Puts the pieces of `insert`, in a row, in the place of the `remove` bytes at `at`.
    fn splice(&mut self, at: usize, remove: usize, insert: &[&[u8]]);
}

impl Buffer for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn splice(&mut self, at: usize, remove: usize, insert: &[&[u8]]) {
        let added: usize = insert.iter().map(|piece| piece.len()).sum();
        let (old_len, tail) = (self.len(), at + remove);
        if added > remove {
            self.resize(old_len + added - remove, 0);
        }
        if added != remove {
            self.copy_within(tail..old_len, at + added);
            self.truncate(old_len - remove + added);
        }
        let mut to = at;
        for piece in insert {
            self[to..to + piece.len()].copy_from_slice(piece);
            to += piece.len();
        }
    }
}

/// Bytes that are no listpack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Corrupt;

/// A string, or an integer that stands for the string it prints as.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Element<'a> {
    Int(i64),
    Bytes(&'a [u8]),
}

impl Element<'_> {
    /// Length of the string.
    pub fn len(self) -> usize {
        match self {
            Element::Int(value) => num::i64_len(value),
            Element::Bytes(bytes) => bytes.len(),
        }
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    pub fn write_to(self, out: &mut Vec<u8>) {
        match self {
            Element::Int(value) => num::write_i64(out, value),
            Element::Bytes(bytes) => out.extend_from_slice(bytes),
        }
    }

    pub fn to_vec(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len());
        self.write_to(&mut out);
        out
    }

    pub fn eq_bytes(self, bytes: &[u8]) -> bool {
        match self {
            Element::Int(value) => num::parse_i64(bytes) == Some(value),
            Element::Bytes(own) => own == bytes,
        }
    }
}

/// A string to look for, read as a number once.
#[derive(Clone, Copy)]
pub struct Needle<'a> {
    bytes: &'a [u8],
    number: Option<i64>,
}

impl<'a> Needle<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Needle { bytes, number: num::parse_i64(bytes) }
    }

    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    #[inline]
    pub fn matches(&self, element: Element<'_>) -> bool {
        match element {
            Element::Int(value) => self.number == Some(value),
            Element::Bytes(bytes) => bytes == self.bytes,
        }
    }
}

/// Where an element starts. Valid until the next edit before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Position(usize);

/// The bytes of a well-formed listpack. Reading anything else may panic.
#[derive(Clone, Copy, Debug)]
pub struct Listpack<'a>(&'a [u8]);

impl<'a> Listpack<'a> {
    /// Bytes that this module made, or that `validate` has accepted down to the elements.
    pub fn trusted(bytes: &'a [u8]) -> Self {
        debug_assert!(Listpack::validate(bytes, false).is_ok(), "these bytes are no listpack");
        Listpack(bytes)
    }

    /// Checks bytes from outside: the header and the end and, if `deep`, every element.
    pub fn validate(bytes: &'a [u8], deep: bool) -> Result<Self, Corrupt> {
        let framed = bytes.len() > HEADER_LEN
            && usize::try_from(read_u32(bytes)) == Ok(bytes.len())
            && bytes.last() == Some(&END);
        if !framed {
            return Err(Corrupt);
        }
        if deep {
            validate_elements(bytes)?;
        }
        Ok(Listpack(bytes))
    }

    pub fn new_empty() -> Vec<u8> {
        vec![HEADER_LEN as u8 + 1, 0, 0, 0, 0, 0, END]
    }

    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// How many elements there are; more than 65,534 have to be counted.
    pub fn len(self) -> usize {
        match read_count(self.0) {
            COUNT_UNKNOWN => self.iter().count(),
            count => usize::from(count),
        }
    }

    pub fn is_empty(self) -> bool {
        self.first().is_none()
    }

    /// The first `N` elements, if all are numbers below 128: they then have fixed places.
    #[inline]
    pub fn small_ints<const N: usize>(self) -> Option<[u8; N]> {
        let numbers = std::array::from_fn(|index| self.0.get(small_int_at(index)).copied().unwrap_or(END));
        numbers.iter().all(|number| *number < 128).then_some(numbers)
    }

    pub fn first(self) -> Option<Position> {
        self.live(HEADER_LEN)
    }

    pub fn last(self) -> Option<Position> {
        self.previous(self.end())
    }

    pub fn next(self, at: Position) -> Option<Position> {
        self.live(at.0 + self.size_at(at))
    }

    pub fn previous(self, at: Position) -> Option<Position> {
        if at.0 == HEADER_LEN {
            return None;
        }
        let (len, width) = read_back_len(self.0, at.0).expect("a listpack's lengths are right");
        Some(Position(at.0 - len - width))
    }

    /// The place behind the last element, where `insert` appends.
    pub fn end(self) -> Position {
        Position(self.0.len() - 1)
    }

    pub fn element(self, at: Position) -> Element<'a> {
        self.decode(at).0
    }

    /// The element at `at` and the place behind it; `None` at the end.
    #[inline]
    pub fn read(self, at: Position) -> Option<(Element<'a>, Position)> {
        let at = self.live(at.0)?;
        let (element, size) = self.decode(at);
        Some((element, Position(at.0 + size)))
    }

    /// The element of this index; -1 is the last.
    pub fn at(self, index: i64) -> Option<Position> {
        if index >= 0 {
            return self.positions().nth(usize::try_from(index).ok()?);
        }
        let mut at = self.last()?;
        for _ in 1..index.unsigned_abs() {
            at = self.previous(at)?;
        }
        Some(at)
    }

    /// The first element equal to `needle` of those from `from` on, leaving out `skip` after each.
    pub fn find(self, needle: &[u8], from: Position, skip: usize) -> Option<Position> {
        let needle = Needle::new(needle);
        let mut at = self.live(from.0)?;
        loop {
            let (element, size) = self.decode(at);
            if needle.matches(element) {
                return Some(at);
            }
            at = self.live(at.0 + size)?;
            for _ in 0..skip {
                at = self.next(at)?;
            }
        }
    }

    pub fn iter(self) -> Iter<'a> {
        Iter { pack: self, front: HEADER_LEN, back: self.0.len() - 1 }
    }

    /// The elements from `from` on that stand before `to`.
    pub fn between(self, from: Position, to: Position) -> Iter<'a> {
        Iter { pack: self, front: from.0, back: to.0 }
    }

    pub fn positions(self) -> impl Iterator<Item = Position> {
        std::iter::successors(self.first(), move |&at| self.next(at))
    }

    fn live(self, at: usize) -> Option<Position> {
        (at < self.0.len() - 1).then_some(Position(at))
    }

    #[inline]
    fn decode(self, at: Position) -> (Element<'a>, usize) {
        let first = self.0[at.0];
        if first & !CODE_STRING_6_LEN == CODE_STRING_6 {
            let len = usize::from(first & CODE_STRING_6_LEN);
            return (Element::Bytes(&self.0[at.0 + 1..][..len]), len + 2);
        }
        self.decode_any(at)
    }

    fn decode_any(self, at: Position) -> (Element<'a>, usize) {
        let (element, len) = decode(&self.0[at.0..]).expect("a listpack's elements are whole");
        (element, len + back_len_width(len))
    }

    fn size_at(self, at: Position) -> usize {
        self.decode(at).1
    }
}

impl<'a> IntoIterator for Listpack<'a> {
    type Item = Element<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The elements, from both ends.
#[derive(Clone)]
pub struct Iter<'a> {
    pack: Listpack<'a>,
    front: usize,
    back: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        if self.front >= self.back {
            return None;
        }
        let (element, size) = self.pack.decode(Position(self.front));
        self.front += size;
        Some(element)
    }
}

impl<'a> DoubleEndedIterator for Iter<'a> {
    fn next_back(&mut self) -> Option<Element<'a>> {
        if self.front >= self.back {
            return None;
        }
        let at = self.pack.previous(Position(self.back))?;
        self.back = at.0;
        Some(self.pack.element(at))
    }
}

/// How many bytes an element of this content takes.
pub fn bytes_needed(content: &[u8]) -> usize {
    let (code, data) = encode(content);
    let len = code.len() + data.len();
    len + back_len_width(len)
}

/// How many bytes an element of this length takes at most: one that is a number takes fewer.
pub fn bytes_needed_at_most(content_len: usize) -> usize {
    let len = Code::string(content_len).len() + content_len;
    len + back_len_width(len)
}

pub fn push_back(buffer: &mut impl Buffer, content: &[u8]) {
    let end = Listpack(buffer.bytes()).end();
    insert(buffer, end, content);
}

pub fn push_front(buffer: &mut impl Buffer, content: &[u8]) {
    insert(buffer, Position(HEADER_LEN), content);
}

/// Inserts before the element at `at`, which then is the new one's position.
pub fn insert(buffer: &mut impl Buffer, at: Position, content: &[u8]) {
    write(buffer, at.0, 0, content);
    adjust_count(buffer, 1);
}

/// Inserts behind the element at `at` and returns the new one's position.
pub fn insert_after(buffer: &mut impl Buffer, at: Position, content: &[u8]) -> Position {
    let next = Position(at.0 + Listpack(buffer.bytes()).size_at(at));
    insert(buffer, next, content);
    next
}

/// Replaces the element at `at`, whose position stays.
pub fn replace(buffer: &mut impl Buffer, at: Position, content: &[u8]) {
    let size = Listpack(buffer.bytes()).size_at(at);
    write(buffer, at.0, size, content);
}

/// Replaces the element at `at` by an integer.
pub fn replace_int(buffer: &mut impl Buffer, at: Position, value: i64) {
    let size = Listpack(buffer.bytes()).size_at(at);
    write_encoded(buffer, at.0, size, &Code::int(value), &[]);
}

/// Replaces an element up to which all are numbers below 128, and itself too, by another such number.
#[inline]
pub fn replace_small_int(bytes: &mut [u8], index: usize, value: u8) {
    assert!(value < 128 && bytes[small_int_at(index)] < 128, "neither changes the element's size");
    bytes[small_int_at(index)] = value;
}

/// Where an element starts that comes behind `index` numbers below 128: each takes a byte and its length one.
fn small_int_at(index: usize) -> usize {
    HEADER_LEN + 2 * index
}

/// Appends all that `work` writes, with one change of the header.
pub fn append_with(bytes: &mut Vec<u8>, work: impl FnOnce(&mut Appender<'_>)) {
    bytes.pop();
    let mut appender = Appender { bytes, count: 0 };
    work(&mut appender);
    let count = appender.count;
    bytes.push(END);
    set_size(bytes);
    adjust_count(bytes, count);
}

/// Elements on their way to the end of a listpack.
pub struct Appender<'a> {
    bytes: &'a mut Vec<u8>,
    count: i64,
}

impl Appender<'_> {
    /// A string, which is kept as an integer if it is one.
    #[inline]
    pub fn bytes(&mut self, content: &[u8]) {
        let (code, data) = encode(content);
        self.element(code.bytes(), data);
    }

    #[inline]
    pub fn int(&mut self, value: i64) {
        match value {
            0..=127 => self.element(&[value as u8], &[]),
            _ => self.element(Code::int(value).bytes(), &[]),
        }
    }

    fn element(&mut self, code: &[u8], data: &[u8]) {
        let len = code.len() + data.len();
        self.bytes.extend_from_slice(code);
        self.bytes.extend_from_slice(data);
        let width = back_len_width(len);
        self.bytes.extend((0..width).map(|index| back_len_byte(len, width, index)));
        self.count += 1;
    }
}

/// Removes up to `count` elements from `at` on; `at` then is the position of what follows.
pub fn remove(buffer: &mut impl Buffer, at: Position, count: usize) {
    let pack = Listpack(buffer.bytes());
    let mut end = at.0;
    let mut removed = 0;
    while removed < count && end < pack.end().0 {
        end += pack.size_at(Position(end));
        removed += 1;
    }
    buffer.splice(at.0, end - at.0, &[]);
    set_size(buffer);
    adjust_count(buffer, -(removed as i64));
}

/// Takes the elements from `at` on out into a listpack of their own.
pub fn split_off(buffer: &mut impl Buffer, at: Position) -> Vec<u8> {
    let pack = Listpack(buffer.bytes());
    let tail = &pack.bytes()[at.0..pack.end().0];
    let count = pack.between(at, pack.end()).count();
    let mut taken = Vec::with_capacity(HEADER_LEN + tail.len() + 1);
    taken.extend_from_slice(&[0; HEADER_LEN]);
    taken.extend_from_slice(tail);
    taken.push(END);
    let tail_len = tail.len();
    set_size(&mut taken);
    adjust_count(&mut taken, count as i64);
    buffer.splice(at.0, tail_len, &[]);
    set_size(buffer);
    adjust_count(buffer, -(count as i64));
    taken
}

/// Appends every element of another listpack.
pub fn append(buffer: &mut impl Buffer, other: Listpack<'_>) {
    let end = Listpack(buffer.bytes()).end().0;
    buffer.splice(end, 0, &[&other.bytes()[HEADER_LEN..other.end().0]]);
    set_size(buffer);
    adjust_count(buffer, other.len() as i64);
}

fn write(buffer: &mut impl Buffer, at: usize, remove: usize, content: &[u8]) {
    let (code, data) = encode(content);
    write_encoded(buffer, at, remove, &code, data);
}

fn write_encoded(buffer: &mut impl Buffer, at: usize, remove: usize, code: &Code, data: &[u8]) {
    let len = code.len() + data.len();
    let width = back_len_width(len);
    let back: [u8; 5] = std::array::from_fn(|i| back_len_byte(len, width, i));
    buffer.splice(at, remove, &[code.bytes(), data, &back[..width]]);
    if remove != len + width {
        set_size(buffer);
    }
}

fn set_size(buffer: &mut impl Buffer) {
    let size = u32::try_from(buffer.bytes().len()).expect("a listpack is kept far below 4 GB by its users");
    buffer.splice(0, 4, &[&size.to_le_bytes()]);
}

fn adjust_count(buffer: &mut impl Buffer, change: i64) {
    let count = read_count(buffer.bytes());
    if count != COUNT_UNKNOWN {
        let count = (i64::from(count) + change).clamp(0, i64::from(COUNT_UNKNOWN)) as u16;
        buffer.splice(4, 2, &[&count.to_le_bytes()]);
    }
}

fn validate_elements(bytes: &[u8]) -> Result<(), Corrupt> {
    let end = bytes.len() - 1;
    let (mut at, mut count) = (HEADER_LEN, 0usize);
    while at < end {
        let (_, len) = decode(&bytes[at..end]).ok_or(Corrupt)?;
        at += len + back_len_width(len);
        if at > end || read_back_len(bytes, at) != Some((len, back_len_width(len))) {
            return Err(Corrupt);
        }
        count += 1;
    }
    let stated = read_count(bytes);
    if stated == COUNT_UNKNOWN || usize::from(stated) == count { Ok(()) } else { Err(Corrupt) }
}

/// The element that `bytes` begin with, and the length of its encoding and data.
fn decode(bytes: &[u8]) -> Option<(Element<'_>, usize)> {
    let int = |value, len| Some((Element::Int(value), len));
    let first = *bytes.first()?;
    match first {
        0..=0x7f => int(i64::from(first), 1),
        0x80..=0xbf => string(bytes, 1, usize::from(first & CODE_STRING_6_LEN)),
        0xc0..=0xdf => {
            let raw = u16::from(first & 0x1f) << 8 | u16::from(*bytes.get(1)?);
            int(i64::from((raw << 3) as i16 >> 3), 2)
        }
        0xe0..=0xef => string(bytes, 2, usize::from(first & 0x0f) << 8 | usize::from(*bytes.get(1)?)),
        CODE_STRING_32 => string(bytes, 5, u32::from_le_bytes(*bytes.get(1..)?.first_chunk()?) as usize),
        CODE_INT_16..=CODE_INT_64 => {
            let width = INT_WIDTHS[usize::from(first - CODE_INT_16)];
            int(read_int(bytes.get(1..1 + width)?), 1 + width)
        }
        _ => None,
    }
}

fn string(bytes: &[u8], at: usize, len: usize) -> Option<(Element<'_>, usize)> {
    Some((Element::Bytes(bytes.get(at..at.checked_add(len)?)?), at + len))
}

/// A little-endian two's complement number of up to 8 bytes.
fn read_int(bytes: &[u8]) -> i64 {
    let mut raw = [0; 8];
    raw[8 - bytes.len()..].copy_from_slice(bytes);
    i64::from_le_bytes(raw) >> (64 - 8 * bytes.len())
}

/// The bytes before an element's data.
struct Code {
    bytes: [u8; 9],
    len: usize,
}

impl Code {
    fn new(pieces: &[&[u8]]) -> Self {
        let mut code = Code { bytes: [0; 9], len: 0 };
        for piece in pieces {
            code.bytes[code.len..code.len + piece.len()].copy_from_slice(piece);
            code.len += piece.len();
        }
        code
    }

    fn int(value: i64) -> Self {
        match value {
            0..=127 => Code::new(&[&[value as u8]]),
            -4096..=4095 => Code::new(&[&(0xc000 | (value as u16 & 0x1fff)).to_be_bytes()]),
            _ => {
                let fits = |&(_, &width): &(usize, &usize)| {
                    let unused = 64 - 8 * width as u32;
                    value << unused >> unused == value
                };
                let found = INT_WIDTHS.iter().enumerate().find(fits);
                let (kind, &width) = found.expect("every number fits into 8 bytes");
                Code::new(&[&[CODE_INT_16 + kind as u8], &value.to_le_bytes()[..width]])
            }
        }
    }

    fn string(len: usize) -> Self {
        match len {
            0..64 => Code::new(&[&[0x80 | len as u8]]),
            64..4096 => Code::new(&[&(0xe000 | len as u16).to_be_bytes()]),
            _ => {
                let len = u32::try_from(len).expect("a string is kept far below 4 GB by its users");
                Code::new(&[&[CODE_STRING_32], &len.to_le_bytes()])
            }
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn len(&self) -> usize {
        self.len
    }
}

/// How `content` is stored: an integer, if it is one as it would be printed, is all code.
#[inline]
fn encode(content: &[u8]) -> (Code, &[u8]) {
    match num::parse_i64(content) {
        Some(value) => (Code::int(value), &[]),
        None => (Code::string(content.len()), content),
    }
}

/// How many bytes the length at an element's end takes. Redis' limits, each of which wastes one value.
fn back_len_width(len: usize) -> usize {
    match len {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    }
}

/// Byte `index` of such a length: seven bits, and whether more precede.
fn back_len_byte(len: usize, width: usize, index: usize) -> u8 {
    let shift = 7 * (width.saturating_sub(index + 1));
    (len >> shift & 0x7f) as u8 | if index > 0 { 0x80 } else { 0 }
}

/// The length that ends before `end`, and its width.
fn read_back_len(bytes: &[u8], end: usize) -> Option<(usize, usize)> {
    let mut len = 0;
    for width in 1..=5 {
        let byte = *bytes.get(end.checked_sub(width)?)?;
        len |= usize::from(byte & 0x7f) << (7 * (width - 1));
        if byte & 0x80 == 0 {
            return Some((len, width));
        }
    }
    None
}

fn read_u32(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

fn read_count(bytes: &[u8]) -> u16 {
    u16::from_le_bytes([bytes[4], bytes[5]])
}

/// Redis stops adding to a listpack of this size.
pub const MAX_SIZE: usize = 1 << 30;

const HEADER_LEN: usize = 6;
const END: u8 = 0xff;
const COUNT_UNKNOWN: u16 = u16::MAX;
/// A string of less than 64 bytes, the usual element, and the bits of its length.
const CODE_STRING_6: u8 = 0x80;
const CODE_STRING_6_LEN: u8 = 0x3f;
const CODE_STRING_32: u8 = 0xf0;
const CODE_INT_16: u8 = 0xf1;
const CODE_INT_64: u8 = 0xf4;
/// Bytes of the integers from CODE_INT_16 on.
const INT_WIDTHS: [usize; 4] = [2, 3, 4, 8];
