//! Bytes from any `Read` or from memory, counted and summed as they are consumed. It never allocates beyond
//! what has arrived, bar one more piece, and knows nothing of what the bytes mean.

use crate::error::ErrorKind;
use base::crc::crc64;
use std::io::{self, Read, Seek, SeekFrom};

/// What values are decoded from: bytes that come one after the other, counted.
pub(crate) trait Input {
    /// Bytes consumed since the beginning of the file.
    fn offset(&self) -> u64;

    fn byte(&mut self) -> Result<u8, ErrorKind>;

    fn fill(&mut self, out: &mut [u8]) -> Result<(), ErrorKind>;

    /// Appends the next `len` bytes to `out`; a false length costs no memory. Capacity at the end is exact
    /// for an `out` that was empty.
    fn append(&mut self, out: &mut Vec<u8>, len: u64) -> Result<(), ErrorKind>;

    /// The next `len` bytes, in `scratch` unless they lie in memory already.
    fn bytes<'s>(&'s mut self, len: u64, scratch: &'s mut Vec<u8>) -> Result<&'s [u8], ErrorKind>;

    /// Consumes `len` bytes unseen.
    fn pass(&mut self, len: u64) -> Result<(), ErrorKind>;

    /// Bytes that may come: what is only announced gets no more memory than they justify.
    fn room(&self) -> u64;

    /// How many of the items of a collection that announces `count` a table is made ready for.
    fn items_ahead(&self, count: u64) -> usize {
        count.min(self.room() / ITEM_LEN) as usize
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ErrorKind> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }
}

/// Bytes in memory.
pub(crate) struct Slice<'a> {
    bytes: &'a [u8],
    /// Of `bytes`, consumed.
    at: usize,
    /// The offset of the first of them.
    begin: u64,
}

impl<'a> Slice<'a> {
    pub(crate) fn new(bytes: &'a [u8], begin: u64) -> Self {
        Slice { bytes, at: 0, begin }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// How many bytes were consumed.
    pub(crate) fn consumed(&self) -> usize {
        self.at
    }

    /// The next `len` bytes; if there are fewer, all are consumed.
    pub(crate) fn take(&mut self, len: u64) -> Result<&'a [u8], ErrorKind> {
        let rest = &self.bytes[self.at..];
        let taken = usize::try_from(len).ok().and_then(|len| rest.get(..len));
        self.at = taken.map_or(self.bytes.len(), |taken| self.at + taken.len());
        taken.ok_or(ErrorKind::Truncated)
    }
}

impl Input for Slice<'_> {
    fn offset(&self) -> u64 {
        self.begin + self.at as u64
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, ErrorKind> {
        let byte = *self.bytes.get(self.at).ok_or(ErrorKind::Truncated)?;
        self.at += 1;
        Ok(byte)
    }

    fn fill(&mut self, out: &mut [u8]) -> Result<(), ErrorKind> {
        out.copy_from_slice(self.take(out.len() as u64)?);
        Ok(())
    }

    fn append(&mut self, out: &mut Vec<u8>, len: u64) -> Result<(), ErrorKind> {
        let taken = self.take(len)?;
        out.reserve_exact(taken.len());
        out.extend_from_slice(taken);
        Ok(())
    }

    fn bytes<'s>(&'s mut self, len: u64, _: &'s mut Vec<u8>) -> Result<&'s [u8], ErrorKind> {
        self.take(len)
    }

    fn pass(&mut self, len: u64) -> Result<(), ErrorKind> {
        self.take(len).map(drop)
    }

    fn room(&self) -> u64 {
        (self.bytes.len() - self.at) as u64
    }
}

/// Whether a CRC-64 is kept of what is consumed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Summing {
    On,
    Off,
}

/// A buffered reader that knows how many bytes were consumed and their CRC-64.
pub(crate) struct Source<R> {
    input: R,
    buffer: Vec<u8>,
    /// Unread bytes are `buffer[start..end]`; those in `buffer[summed..start]` are read but not yet in `crc`.
    start: usize,
    end: usize,
    summed: usize,
    /// Bytes that left the buffer or never were in it.
    passed: u64,
    crc: u64,
    summing: Summing,
    /// Bytes that the input may have.
    room: u64,
}

impl<R: Read> Source<R> {
    /// `capacity` is the buffer's size: what one read asks for.
    pub(crate) fn new(input: R, capacity: usize, summing: Summing) -> Self {
        let buffer = vec![0; capacity.clamp(1, BUFFER_LEN)];
        Source { input, buffer, start: 0, end: 0, summed: 0, passed: 0, crc: 0, summing, room: 0 }
    }

    /// The same of an input that may have so many bytes.
    pub(crate) fn with_room(self, room: u64) -> Self {
        Source { room, ..self }
    }

    pub(crate) fn summing(&self) -> Summing {
        self.summing
    }

    /// CRC-64 of all bytes consumed; 0 if none is kept.
    pub(crate) fn crc(&mut self) -> u64 {
        self.sum_up();
        self.crc
    }

    /// What is in the buffer and not consumed.
    pub(crate) fn window(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Consumes bytes of the window.
    pub(crate) fn consume(&mut self, len: usize) {
        assert!(len <= self.end - self.start, "only what is there can be consumed");
        self.start += len;
    }

    /// Reads more into the window, which grows up to `WINDOW_MAX`. False if it cannot, or if nothing comes.
    pub(crate) fn widen_window(&mut self) -> Result<bool, ErrorKind> {
        if self.start > 0 {
            self.sum_up();
            self.passed += self.start as u64;
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end, self.summed) = (0, self.end - self.start, 0);
        } else if self.end == self.buffer.len() {
            if self.end >= WINDOW_MAX {
                return Ok(false);
            }
            self.buffer.resize(self.end * 2, 0);
        }
        match read_some(&mut self.input, &mut self.buffer[self.end..]) {
            Ok(len) => {
                self.end += len;
                Ok(true)
            }
            Err(ErrorKind::Truncated) => Ok(false),
            Err(kind) => Err(kind),
        }
    }

    /// The input and what was read from it but not consumed.
    pub(crate) fn into_rest(self) -> (Vec<u8>, R) {
        (self.buffer[self.start..self.end].to_vec(), self.input)
    }

    fn take(&mut self, out: &mut [u8]) -> usize {
        let len = out.len().min(self.end - self.start);
        out[..len].copy_from_slice(&self.buffer[self.start..self.start + len]);
        self.start += len;
        len
    }

    fn read_past_buffer(&mut self, out: &mut [u8]) -> Result<usize, ErrorKind> {
        self.drop_consumed();
        let len = read_some(&mut self.input, out)?;
        if self.summing == Summing::On {
            self.crc = crc64(self.crc, &out[..len]);
        }
        self.passed += len as u64;
        Ok(len)
    }

    fn refill(&mut self) -> Result<(), ErrorKind> {
        self.drop_consumed();
        self.end = read_some(&mut self.input, &mut self.buffer)?;
        Ok(())
    }

    fn drop_consumed(&mut self) {
        debug_assert_eq!(self.start, self.end, "only an empty buffer is refilled");
        self.sum_up();
        self.passed += self.start as u64;
        (self.start, self.end, self.summed) = (0, 0, 0);
    }

    fn sum_up(&mut self) {
        if self.summing == Summing::On {
            self.crc = crc64(self.crc, &self.buffer[self.summed..self.start]);
        }
        self.summed = self.start;
    }
}

impl<R: Read + Seek> Source<R> {
    /// Goes to `offset`, back or forth. From then on no sum is kept.
    pub(crate) fn seek(&mut self, offset: u64) -> Result<(), ErrorKind> {
        self.summing = Summing::Off;
        match offset.checked_sub(self.passed) {
            Some(start) if start <= self.end as u64 => self.start = start as usize,
            _ => {
                self.input.seek(SeekFrom::Start(offset))?;
                (self.start, self.end, self.passed) = (0, 0, offset);
            }
        }
        self.summed = self.start;
        Ok(())
    }
}

impl<R: Read> Input for Source<R> {
    fn offset(&self) -> u64 {
        self.passed + self.start as u64
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, ErrorKind> {
        if self.start == self.end {
            self.refill()?;
        }
        self.start += 1;
        Ok(self.buffer[self.start - 1])
    }

    fn fill(&mut self, out: &mut [u8]) -> Result<(), ErrorKind> {
        let mut filled = 0;
        while filled < out.len() {
            let rest = &mut out[filled..];
            filled += match self.end - self.start {
                0 if rest.len() >= self.buffer.len() => self.read_past_buffer(rest)?,
                0 => {
                    self.refill()?;
                    0
                }
                _ => self.take(rest),
            };
        }
        Ok(())
    }

    fn append(&mut self, out: &mut Vec<u8>, len: u64) -> Result<(), ErrorKind> {
        let mut left = len;
        while left > 0 {
            let begin = out.len();
            let piece = left.min(begin.max(PIECE_LEN) as u64) as usize;
            out.reserve_exact(piece);
            out.resize(begin + piece, 0);
            self.fill(&mut out[begin..])?;
            left -= piece as u64;
        }
        Ok(())
    }

    fn bytes<'s>(&'s mut self, len: u64, scratch: &'s mut Vec<u8>) -> Result<&'s [u8], ErrorKind> {
        scratch.clear();
        self.append(scratch, len)?;
        Ok(scratch)
    }

    fn pass(&mut self, len: u64) -> Result<(), ErrorKind> {
        let mut left = len;
        while left > 0 {
            if self.start == self.end {
                self.refill()?;
            }
            let passed = left.min((self.end - self.start) as u64);
            self.start += passed as usize;
            left -= passed;
        }
        Ok(())
    }

    fn room(&self) -> u64 {
        self.room
    }
}

/// At least one byte, or Truncated.
fn read_some(input: &mut impl Read, out: &mut [u8]) -> Result<usize, ErrorKind> {
    loop {
        match input.read(out) {
            Ok(0) => return Err(ErrorKind::Truncated),
            Ok(len) => return Ok(len),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(ErrorKind::Io(error)),
        }
    }
}

/// What an item of a large collection takes in a file, mostly, and more than it takes in a table.
const ITEM_LEN: u64 = 16;
/// What one read asks for.
pub(crate) const BUFFER_LEN: usize = 64 * 1024;
/// Records longer than this are never looked at as a whole.
pub(crate) const WINDOW_MAX: usize = 4 << 20;
/// The first allocation for a string whose length is only claimed.
const PIECE_LEN: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one to three bytes per read.
    struct Trickle<'a>(&'a [u8]);

    impl Read for Trickle<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let len = out.len().min(self.0.len() % 3 + 1).min(self.0.len());
            self.0.read(&mut out[..len])
        }
    }

    fn check(capacity: usize, pieces: &[u64]) {
        let data: Vec<u8> = (0..200u8).collect();
        let mut source = Source::new(Trickle(&data), capacity, Summing::On);
        let mut out = Vec::new();
        for &piece in pieces {
            source.append(&mut out, piece).expect("the data is long enough");
            assert_eq!(source.offset(), out.len() as u64);
            assert_eq!(source.crc(), crc64(0, &out));
        }
        assert_eq!(out, data[..out.len()]);
        let (mut rest, mut input) = source.into_rest();
        input.read_to_end(&mut rest).expect("memory does not fail");
        assert_eq!(rest, data[out.len()..]);
    }

    #[test]
    fn offsets_and_sums_hold_for_any_cut() {
        for capacity in [1, 2, 7, 64, 1000] {
            check(capacity, &[1, 1, 1]);
            check(capacity, &[3, 0, 70, 9, 100]);
            check(capacity, &[200]);
        }
    }

    #[test]
    fn a_false_length_costs_one_piece() {
        let mut out = Vec::new();
        let mut source = Source::new(&b"short"[..], 64, Summing::Off);
        let error = source.append(&mut out, u64::MAX).expect_err("the data is short");
        assert!(matches!(error, ErrorKind::Truncated));
        assert!(out.capacity() <= PIECE_LEN);
        assert_eq!(source.offset(), 5);
    }
}
