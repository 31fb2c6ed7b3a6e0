//! Replies on their way out of one connection: written at once where the socket takes them, kept in order
//! where it does not. Large values are never copied. Decides nothing about how much may wait.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::{Arc, Weak};

use base::alloc::size_class;
use resp::reply::SharedPart;
use rustix::io::Errno;
use rustix::net::SendFlags;
use smallvec::SmallVec;

/// A stretch of a reply arena: the bytes `buf`, which begin at `base` of the arena, and the shared parts
/// among them.
#[derive(Clone, Copy)]
pub struct Stretch<'a> {
    pub buf: &'a [u8],
    pub base: usize,
    pub shared: &'a [SharedPart],
}

/// What waits until the socket is writable. Holds no memory when it is empty.
#[derive(Default)]
pub struct Output {
    parts: VecDeque<Part>,
    len: usize,
    /// Bytes allocated for what is its own, and bytes of what it refers to.
    own: usize,
    shared: usize,
    /// Of the latter, those that are in memory for others' sake.
    lent: usize,
}

struct Part {
    bytes: Bytes,
    /// How much of it is gone already.
    sent: usize,
}

enum Bytes {
    Owned(Vec<u8>),
    Shared(Shared),
}

/// A part of what others may hold too.
struct Shared {
    bytes: Arc<Vec<u8>>,
    /// Tells outputs from other holders: each output has one.
    marker: Weak<Vec<u8>>,
    end: usize,
    /// Bytes of it that others pay for.
    lent: usize,
}

/// Who pays for a block that an output refers to, before that is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// It was read from the data, where as a rule it stays.
    Data,
    /// A message has no other.
    Outputs,
}

/// Small parts are joined up to this length.
const PART_LEN: usize = 16 * 1024;

/// Messages from this length on are sent by reference.
const SHARED_LEN: usize = 4 * 1024;

/// Pieces given to one system call.
const PIECES: usize = 64;

impl Part {
    fn rest(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Owned(bytes) => &bytes[self.sent..],
            Bytes::Shared(shared) => &shared.bytes[self.sent..shared.end],
        }
    }
}

impl Shared {
    fn new(bytes: &Arc<Vec<u8>>, end: usize, owner: Owner) -> Shared {
        let lent = if owner == Owner::Data { bytes.len() } else { 0 };
        Shared { bytes: Arc::clone(bytes), marker: Arc::downgrade(bytes), end, lent }
    }

    /// Bytes that others pay for: all as long as anybody but outputs has the block, else outputs share.
    fn judge(&self) -> usize {
        let (holders, outputs) = (self.marker.strong_count(), self.marker.weak_count());
        let len = self.bytes.len();
        if holders > outputs { len } else { len - len / holders.max(1) }
    }
}

impl<'a> Stretch<'a> {
    pub fn len(&self) -> usize {
        self.buf.len() + self.shared.iter().map(|part| part.range.len()).sum::<usize>()
    }

    /// Its bytes in order: pieces of the arena, each followed by the shared part that comes after it.
    fn pieces(self) -> impl Iterator<Item = (&'a [u8], Option<&'a SharedPart>)> {
        let ends = self.shared.iter().map(move |part| part.at - self.base).chain([self.buf.len()]);
        let starts = [0].into_iter().chain(self.shared.iter().map(move |part| part.at - self.base));
        let parts = self.shared.iter().map(Some).chain([None]);
        starts.zip(ends).zip(parts).map(move |((start, end), part)| (&self.buf[start..end], part))
    }
}

impl Output {
    /// Bytes that wait.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory that wait, of these the ones that others may hold too, and of those the ones for which
    /// others pay.
    pub fn memory(&self) -> (usize, usize, usize) {
        (self.own + self.shared, self.shared, self.lent)
    }

    /// Looks who else has what it refers to: a value may have left the data meanwhile.
    pub fn settle(&mut self) {
        if self.shared == 0 {
            return;
        }
        self.lent = 0;
        for part in &mut self.parts {
            if let Bytes::Shared(shared) = &mut part.bytes {
                shared.lent = shared.judge();
                self.lent += shared.lent;
            }
        }
    }

    /// Blocks of memory that wait.
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
        if let Some(Part { bytes: Bytes::Owned(last), .. }) = self.parts.back_mut()
            && last.len() + bytes.len() <= PART_LEN
        {
            self.own -= size_class(last.capacity());
            last.extend_from_slice(bytes);
            self.own += size_class(last.capacity());
            return;
        }
        if !bytes.is_empty() {
            let bytes = bytes.to_vec();
            self.own += size_class(bytes.capacity());
            self.parts.push_back(Part { bytes: Bytes::Owned(bytes), sent: 0 });
        }
    }

    /// What waits elsewhere waits behind the rest.
    pub fn append(&mut self, mut other: Output) {
        self.len += other.len;
        self.own += other.own;
        self.shared += other.shared;
        self.lent += other.lent;
        self.parts.append(&mut other.parts);
    }

    /// A part of the bytes, by reference if it is long.
    pub fn push_shared(&mut self, bytes: &Arc<Vec<u8>>, part: Range<usize>, owner: Owner) {
        if part.len() < SHARED_LEN {
            return self.push(&bytes[part]);
        }
        self.len += part.len();
        self.shared += bytes.len();
        let shared = Shared::new(bytes, part.end, owner);
        self.lent += shared.lent;
        self.parts.push_back(Part { bytes: Bytes::Shared(shared), sent: part.start });
    }

    /// Sends a stretch of replies after what waits; what the socket does not take waits too. Returns the
    /// bytes that were written.
    #[inline]
    pub fn send(&mut self, socket: impl AsFd, stretch: Stretch<'_>) -> io::Result<usize> {
        if !self.is_empty() {
            self.push_stretch(stretch, 0);
            return Ok(0);
        }
        let written = match stretch.shared {
            [] => write(socket, stretch.buf)?,
            _ => write_stretch(socket, stretch)?,
        };
        if written < stretch.len() {
            self.push_stretch(stretch, written);
        }
        Ok(written)
    }

    /// Writes what waits, as far as the socket takes it, and about `most` bytes. Returns the bytes that were
    /// written.
    pub fn drain(&mut self, socket: impl AsFd, most: usize) -> io::Result<usize> {
        let mut total = 0;
        while !self.is_empty() {
            let mut left = most - total;
            let pieces = self.parts.iter().map(Part::rest).take_while(|piece| {
                let is_wanted = left > 0;
                left = left.saturating_sub(piece.len());
                is_wanted
            });
            let (written, offered) = offer(&socket, pieces)?;
            self.advance(written);
            total += written;
            if written < offered || total >= most {
                break;
            }
        }
        Ok(total)
    }

    fn advance(&mut self, mut written: usize) {
        self.len -= written;
        while let Some(part) = self.parts.front_mut() {
            let rest = part.rest().len();
            if written < rest {
                part.sent += written;
                return;
            }
            written -= rest;
            match &part.bytes {
                Bytes::Owned(bytes) => self.own -= size_class(bytes.capacity()),
                Bytes::Shared(shared) => {
                    self.shared -= shared.bytes.len();
                    self.lent -= shared.lent;
                }
            }
            self.parts.pop_front();
        }
        self.parts = VecDeque::new();
    }

    /// Keeps the stretch but for its first `skip` bytes.
    fn push_stretch(&mut self, stretch: Stretch<'_>, mut skip: usize) {
        for (piece, part) in stretch.pieces() {
            let skipped = skip.min(piece.len());
            self.push(&piece[skipped..]);
            skip -= skipped;
            if let Some(part) = part {
                let skipped = skip.min(part.range.len());
                let rest = part.range.start + skipped..part.range.end;
                self.push_shared(&part.bytes, rest, Owner::Data);
                skip -= skipped;
            }
        }
    }
}

/// Writes a stretch with shared parts, as far as the socket takes it.
fn write_stretch(socket: impl AsFd, stretch: Stretch<'_>) -> io::Result<usize> {
    let all = stretch.pieces().flat_map(|(piece, part)| [piece, part.map_or(&[][..], SharedPart::as_slice)]);
    let mut all = all.filter(|piece| !piece.is_empty()).peekable();
    let mut total = 0;
    while all.peek().is_some() {
        let (written, offered) = offer(&socket, all.by_ref())?;
        total += written;
        if written < offered {
            break;
        }
    }
    Ok(total)
}

/// Offers the first of the pieces to the socket in one call: bytes written, bytes offered.
fn offer<'a>(socket: impl AsFd, pieces: impl Iterator<Item = &'a [u8]>) -> io::Result<(usize, usize)> {
    let pieces: SmallVec<[IoSlice<'_>; PIECES]> = pieces.take(PIECES).map(IoSlice::new).collect();
    let offered = pieces.iter().map(|piece| piece.len()).sum();
    Ok((taken(|| rustix::io::writev(&socket, &pieces))?, offered))
}

/// A socket's own call costs the kernel less than a file's `write`.
#[inline]
fn write(socket: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    if bytes.is_empty() {
        return Ok(0);
    }
    taken(|| rustix::net::send(&socket, bytes, SendFlags::NOSIGNAL))
}

/// A full socket takes nothing; that is no error.
#[inline]
fn taken(write: impl Fn() -> rustix::io::Result<usize>) -> io::Result<usize> {
    loop {
        match write() {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(0),
            result => return result.map_err(io::Error::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use resp::reply::{Protocol, Reply};

    use super::*;

    /// Writes the same reply many times into a socket that is read slowly; nothing may be lost or turned
    /// round.
    fn check(reply: &Reply, times: usize, read_len: usize) {
        let (near, mut far) = UnixStream::pair().expect("a socket pair");
        near.set_nonblocking(true).expect("non-blocking");
        let once: Vec<u8> = reply.chunks().flatten().copied().collect();
        let stretch = Stretch { buf: &reply.buf, base: 0, shared: &reply.shared };
        assert_eq!(stretch.len(), once.len());
        let (mut output, mut seen, mut buffer) = (Output::default(), Vec::new(), vec![0; read_len]);
        for _ in 0..times {
            output.send(&near, stretch).expect("send");
        }
        while seen.len() < once.len() * times {
            let len = far.read(&mut buffer).expect("read");
            seen.extend_from_slice(&buffer[..len]);
            output.drain(&near, 1 << 20).expect("drain");
        }
        assert!(output.is_empty() && output.parts() == 0);
        assert!(seen.chunks(once.len()).all(|chunk| chunk == once), "bytes differ");
    }

    #[test]
    fn all_bytes_come_out_in_order() {
        let mut reply = Reply::new(Protocol::Resp3);
        reply.bulk(b"small");
        check(&reply, 1, 3);
        check(&reply, 100_000, 50_000);
        let large = Arc::new((0..300_000).map(|index| (index % 251) as u8).collect::<Vec<u8>>());
        for _ in 0..200 {
            reply.bulk_shared(&large, 0..large.len());
            reply.bulk_shared(&large, 5000..150_000);
            reply.bulk_shared(&large, 5000..5007);
            reply.integer(7);
        }
        check(&reply, 1, 100_000);
        let mut begins_shared = Reply::new(Protocol::Resp2);
        begins_shared.bulk_shared(&Arc::new(vec![b'x'; 10]), 0..10);
        check(&begins_shared, 3, 1);
    }

    #[test]
    fn others_pay_while_they_hold_it() {
        let (data, message) = (Arc::new(vec![b'd'; 9000]), Arc::new(vec![b'm'; 9000]));
        let mut outputs = [Output::default(), Output::default()];
        for output in &mut outputs {
            output.push_shared(&data, 10..8000, Owner::Data);
            output.push_shared(&message, 0..9000, Owner::Outputs);
        }
        let check = |outputs: &mut [Output], lent: usize| {
            outputs.iter_mut().for_each(Output::settle);
            assert!(outputs.iter().all(|output| output.memory() == (18_000, 18_000, lent)));
        };
        assert_eq!(outputs[0].memory(), (18_000, 18_000, 9000));
        check(&mut outputs, 18_000);
        drop(message);
        check(&mut outputs, 13_500);
        drop(data);
        check(&mut outputs, 9000);
        check(&mut outputs[..1], 9000);
        let [mut first, second] = outputs;
        drop(second);
        first.settle();
        assert_eq!(first.memory(), (18_000, 18_000, 0));
    }

    #[test]
    fn a_stretch_in_the_middle_of_an_arena() {
        let mut reply = Reply::new(Protocol::Resp2);
        reply.bulk(b"of another client");
        let base = reply.len();
        reply.bulk_shared(&Arc::new(vec![b'y'; 5000]), 0..5000);
        let stretch = Stretch { buf: &reply.buf[base..], base, shared: &reply.shared };
        let mut output = Output::default();
        output.push(b"before ");
        output.push_stretch(stretch, 3);
        let text: Vec<u8> = output.parts.iter().flat_map(|part| part.rest().to_vec()).collect();
        let expected = [b"before 00\r\n".as_slice(), &[b'y'; 5000], b"\r\n"].concat();
        assert_eq!(text, expected);
        assert_eq!(output.len(), expected.len());
    }
}
