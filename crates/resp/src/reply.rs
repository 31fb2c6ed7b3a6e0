//! The reply encoder: appends RESP2 or RESP3 to one buffer, large values by reference. Never decides what a
//! command answers, never writes to a socket.

use std::ops::Range;
use std::sync::Arc;

use base::num::write_f64_shortest;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    #[default]
    Resp2,
    Resp3,
}

/// What goes to one client: the bytes of `buf`, with each shared part put in at its place.
#[derive(Debug, Default)]
pub struct Reply {
    pub buf: Vec<u8>,
    pub protocol: Protocol,
    /// Ascending by `at`.
    pub shared: Vec<SharedPart>,
    /// No memory is asked for beyond this length of `buf`; 0: whatever it takes.
    bound: usize,
    /// Something did not fit and is not there.
    cut: bool,
}

/// A large value sent by reference: written after `buf[..at]`.
#[derive(Clone, Debug)]
pub struct SharedPart {
    pub at: usize,
    pub bytes: Arc<Vec<u8>>,
    /// What is sent of them.
    pub range: Range<usize>,
}

impl SharedPart {
    /// The bytes that are sent.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[self.range.clone()]
    }
}

/// An aggregate whose length is not known yet. Marks are closed in the reverse order of their making.
#[must_use = "close it with its length"]
#[derive(Debug)]
pub struct Mark(usize);

impl Reply {
    pub fn new(protocol: Protocol) -> Self {
        Self { protocol, ..Self::default() }
    }

    /// A reply begins for which memory of `len` bytes may be taken: what does not fit is left out, and the
    /// reply `is_cut` then. 0 is no bound.
    #[inline]
    pub fn begin(&mut self, len: usize) {
        self.bound = if len == 0 { 0 } else { self.buf.len() + len };
        self.cut = false;
    }

    #[inline]
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// Whether `len` bytes more fit; then there is memory for them.
    #[inline]
    fn has_room(&mut self, len: usize) -> bool {
        self.buf.capacity() - self.buf.len() >= len || self.grow(len)
    }

    #[cold]
    fn grow(&mut self, len: usize) -> bool {
        self.cut |= self.bound != 0 && self.buf.len() + len > self.bound;
        if !self.cut {
            self.buf.reserve(len);
        }
        !self.cut
    }

    #[inline]
    pub fn ok(&mut self) {
        self.buf.extend_from_slice(b"+OK\r\n");
    }

    /// A status; must hold no line end.
    #[inline]
    pub fn simple(&mut self, text: &str) {
        debug_assert!(!text.bytes().any(is_line_end));
        self.line(b'+', text.as_bytes());
    }

    /// An error: its code and text, without the minus. Line ends, which clients may have sent in, become
    /// spaces.
    pub fn error(&mut self, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        let kept = text.iter().rposition(|byte| !is_line_end(*byte)).map_or(0, |last| last + 1);
        self.buf.reserve(kept + 3);
        self.buf.push(b'-');
        self.buf.extend(text[..kept].iter().map(|byte| if is_line_end(*byte) { b' ' } else { *byte }));
        self.buf.extend_from_slice(LINE_END);
    }

    #[inline]
    pub fn integer(&mut self, value: i64) {
        if let Ok(digit @ 0..=9) = u8::try_from(value) {
            self.buf.extend_from_slice(&[b':', b'0' + digit, b'\r', b'\n']);
        } else {
            self.line(b':', itoa::Buffer::new().format(value).as_bytes());
        }
    }

    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        if bytes.len() < SHORT_HEADS.len() {
            return self.short_bulk(bytes);
        }
        if !self.has_room(bytes.len() + HEADER_LEN_MAX + LINE_END.len()) {
            return;
        }
        self.header(b'$', bytes.len());
        self.buf.extend_from_slice(bytes);
        self.buf.extend_from_slice(LINE_END);
    }

    /// One check of the room for all three parts: most of what is read comes this way.
    #[inline]
    #[allow(unsafe_code)]
    fn short_bulk(&mut self, bytes: &[u8]) {
        let head = &SHORT_HEADS[bytes.len()];
        let (head_len, len) = (usize::from(head[HEAD_ROOM - 1]), bytes.len());
        if !self.has_room(HEAD_ROOM + len + LINE_END.len()) {
            return;
        }
        // SAFETY: there is room for a whole head, which is longer than the part of it that counts, for the
        // bytes and for a line end; `bytes` is borrowed, so it is not in that room; all of the new length is
        // written.
        unsafe {
            let at = self.buf.as_mut_ptr().add(self.buf.len());
            at.cast::<[u8; HEAD_ROOM]>().write_unaligned(*head);
            at.add(head_len).copy_from_nonoverlapping(bytes.as_ptr(), len);
            at.add(head_len + len).cast::<[u8; 2]>().write_unaligned([b'\r', b'\n']);
            self.buf.set_len(self.buf.len() + head_len + len + LINE_END.len());
        }
    }

    /// A bulk whose bytes are not copied; worth it for large ones only.
    pub fn bulk_shared(&mut self, bytes: &Arc<Vec<u8>>, range: Range<usize>) {
        self.header(b'$', range.len());
        self.shared.push(SharedPart { at: self.buf.len(), bytes: Arc::clone(bytes), range });
        self.buf.extend_from_slice(LINE_END);
    }

    /// A number as a bulk.
    #[inline]
    pub fn bulk_i64(&mut self, value: i64) {
        self.bulk(itoa::Buffer::new().format(value).as_bytes());
    }

    #[inline]
    pub fn null(&mut self) {
        match self.protocol {
            Protocol::Resp2 => self.buf.extend_from_slice(b"$-1\r\n"),
            Protocol::Resp3 => self.buf.extend_from_slice(b"_\r\n"),
        }
    }

    #[inline]
    pub fn null_array(&mut self) {
        match self.protocol {
            Protocol::Resp2 => self.buf.extend_from_slice(b"*-1\r\n"),
            Protocol::Resp3 => self.buf.extend_from_slice(b"_\r\n"),
        }
    }

    /// `count` elements follow.
    #[inline]
    pub fn array(&mut self, count: usize) {
        self.header(b'*', count);
    }

    /// `pairs` keys, each followed by its value, follow.
    pub fn map(&mut self, pairs: usize) {
        self.aggregate(Aggregate::Map, pairs);
    }

    pub fn set(&mut self, count: usize) {
        self.aggregate(Aggregate::Set, count);
    }

    /// A message that is not an answer.
    pub fn push(&mut self, count: usize) {
        self.aggregate(Aggregate::Push, count);
    }

    /// `pairs` of annotations, then the value they belong to. RESP3 only: RESP2 has no word for it.
    pub fn attribute(&mut self, pairs: usize) {
        debug_assert_eq!(self.protocol, Protocol::Resp3);
        self.header(b'|', pairs);
    }

    /// With the fewest digits that read back as the same number, as since Redis 7.2.
    pub fn double(&mut self, value: f64) {
        let mut text = Vec::with_capacity(DOUBLE_LEN);
        write_f64_shortest(&mut text, value);
        self.double_text(&text);
    }

    /// A double that is already text, such as one of more than 64 bits.
    pub fn double_text(&mut self, text: impl AsRef<[u8]>) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text.as_ref()),
            Protocol::Resp3 => self.line(b',', text.as_ref()),
        }
    }

    pub fn bool(&mut self, value: bool) {
        self.buf.extend_from_slice(match (self.protocol, value) {
            (Protocol::Resp2, false) => b":0\r\n",
            (Protocol::Resp2, true) => b":1\r\n",
            (Protocol::Resp3, false) => b"#f\r\n",
            (Protocol::Resp3, true) => b"#t\r\n",
        });
    }

    /// Decimal digits of any length.
    pub fn big_number(&mut self, digits: &str) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(digits.as_bytes()),
            Protocol::Resp3 => self.line(b'(', digits.as_bytes()),
        }
    }

    /// Text to be shown as it is; `ext` is its three-letter format: `txt`, `mkd`.
    pub fn verbatim(&mut self, ext: &str, text: &[u8]) {
        debug_assert_eq!(ext.len(), 3);
        if self.protocol == Protocol::Resp2 {
            return self.bulk(text);
        }
        self.header(b'=', text.len() + ext.len() + 1);
        self.buf.extend_from_slice(ext.as_bytes());
        self.buf.push(b':');
        self.buf.extend_from_slice(text);
        self.buf.extend_from_slice(LINE_END);
    }

    /// Bytes that are RESP already.
    pub fn raw(&mut self, bytes: &[u8]) {
        if self.has_room(bytes.len()) {
            self.buf.extend_from_slice(bytes);
        }
    }

    /// Begins an aggregate of unknown length: its elements follow, then one of the `close_` methods.
    pub fn defer(&mut self) -> Mark {
        let mark = Mark(self.buf.len());
        // Room for a length of one digit: closing a short aggregate, the usual case, moves no byte.
        self.buf.extend_from_slice(b"*0\r\n");
        mark
    }

    /// The same as `defer`, under the name of what is begun.
    pub fn defer_array(&mut self) -> Mark {
        self.defer()
    }

    pub fn close_array(&mut self, mark: Mark, count: usize) {
        self.close(mark, Aggregate::Array, count);
    }

    pub fn close_map(&mut self, mark: Mark, pairs: usize) {
        self.close(mark, Aggregate::Map, pairs);
    }

    pub fn close_set(&mut self, mark: Mark, count: usize) {
        self.close(mark, Aggregate::Set, count);
    }

    /// Bytes of `buf`, a position for `truncate`; without the shared parts.
    #[inline]
    pub fn len(&self) -> usize {
        self.buf.len()
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.buf.is_empty()
    }

    /// Bytes that will go over the wire.
    pub fn total_len(&self) -> usize {
        self.buf.len() + self.shared.iter().map(|part| part.range.len()).sum::<usize>()
    }

    /// What was written since `len` returned `position`, with its shared parts.
    #[inline]
    pub fn total_len_since(&self, position: usize) -> usize {
        let shared = self.shared.iter().rev().take_while(|part| part.at >= position);
        self.buf.len() - position + shared.map(|part| part.range.len()).sum::<usize>()
    }

    /// Takes back what was written since `len` returned `position`.
    pub fn truncate(&mut self, position: usize) {
        self.buf.truncate(position);
        let kept = self.shared.partition_point(|part| part.at < position);
        self.shared.truncate(kept);
    }

    pub fn clear(&mut self) {
        self.buf.clear();
        self.shared.clear();
    }

    /// Bytes it has allocated, its shared parts not counted.
    pub fn memory(&self) -> usize {
        self.buf.capacity() + self.shared.capacity() * size_of::<SharedPart>()
    }

    /// Adds a stretch of another reply; its shared parts are placed as if it began at `base`.
    pub fn append(&mut self, buf: &[u8], base: usize, shared: &[SharedPart]) {
        let at = self.buf.len();
        self.buf.extend_from_slice(buf);
        let moved = |part: &SharedPart| SharedPart {
            at: part.at - base + at,
            bytes: Arc::clone(&part.bytes),
            range: part.range.clone(),
        };
        self.shared.extend(shared.iter().map(moved));
    }

    /// What goes over the wire, in order: pieces of `buf` and shared values.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        let ends = self.shared.iter().map(|part| part.at).chain([self.buf.len()]);
        let starts = [0].into_iter().chain(self.shared.iter().map(|part| part.at));
        let values = self.shared.iter().map(SharedPart::as_slice).chain([&[][..]]);
        starts
            .zip(ends)
            .zip(values)
            .flat_map(|((start, end), value)| [&self.buf[start..end], value])
            .filter(|piece| !piece.is_empty())
    }

    #[inline]
    fn line(&mut self, marker: u8, text: &[u8]) {
        if !self.has_room(text.len() + 1 + LINE_END.len()) {
            return;
        }
        self.buf.push(marker);
        self.buf.extend_from_slice(text);
        self.buf.extend_from_slice(LINE_END);
    }

    /// A length with its marker, as one append in the usual cases.
    #[inline]
    fn header(&mut self, marker: u8, len: usize) {
        match len {
            0..=9 => self.buf.extend_from_slice(&[marker, b'0' + len as u8, b'\r', b'\n']),
            10..=99 => {
                let (tens, ones) = (b'0' + (len / 10) as u8, b'0' + (len % 10) as u8);
                self.buf.extend_from_slice(&[marker, tens, ones, b'\r', b'\n']);
            }
            _ => self.line(marker, itoa::Buffer::new().format(len).as_bytes()),
        }
    }

    fn aggregate(&mut self, kind: Aggregate, count: usize) {
        let (marker, count) = kind.header(self.protocol, count);
        self.header(marker, count);
    }

    fn close(&mut self, mark: Mark, kind: Aggregate, count: usize) {
        let (marker, count) = kind.header(self.protocol, count);
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(count).as_bytes();
        self.buf[mark.0] = marker;
        self.buf[mark.0 + 1] = digits[0];
        let grown = digits.len() - 1;
        if grown > 0 {
            self.buf.splice(mark.0 + 2..mark.0 + 2, digits[1..].iter().copied());
            let first = self.shared.partition_point(|part| part.at < mark.0);
            self.shared[first..].iter_mut().for_each(|part| part.at += grown);
        }
    }
}

#[derive(Clone, Copy)]
enum Aggregate {
    Array,
    Map,
    Set,
    Push,
}

impl Aggregate {
    fn header(self, protocol: Protocol, count: usize) -> (u8, usize) {
        match (protocol, self) {
            (Protocol::Resp3, Self::Map) => (b'%', count),
            (Protocol::Resp3, Self::Set) => (b'~', count),
            (Protocol::Resp3, Self::Push) => (b'>', count),
            (Protocol::Resp2, Self::Map) => (b'*', count * 2),
            _ => (b'*', count),
        }
    }
}

fn is_line_end(byte: u8) -> bool {
    byte == b'\r' || byte == b'\n'
}

const LINE_END: &[u8] = b"\r\n";
const HEAD_ROOM: usize = 8;
/// The heads of bulks by their length; a head's own length stands in its last byte.
static SHORT_HEADS: [[u8; HEAD_ROOM]; 100] = short_heads();

const fn short_heads() -> [[u8; HEAD_ROOM]; 100] {
    let mut heads = [[0; HEAD_ROOM]; 100];
    let mut len = 0;
    while len < heads.len() {
        let (tens, ones) = (b'0' + len as u8 / 10, b'0' + len as u8 % 10);
        heads[len] = if len < 10 {
            [b'$', ones, b'\r', b'\n', 0, 0, 0, 4]
        } else {
            [b'$', tens, ones, b'\r', b'\n', 0, 0, 5]
        };
        len += 1;
    }
    heads
}
/// A marker, the digits of a `usize`, a line end.
const HEADER_LEN_MAX: usize = 1 + 20 + 2;
/// Room for every text of a double.
const DOUBLE_LEN: usize = 32;
