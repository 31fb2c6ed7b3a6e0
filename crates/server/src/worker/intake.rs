//! From readable bytes to whole requests: one read of a connection, into the worker's arena or into the
//! connection's own buffers, and the parsing of what is there. A byte is never parsed twice, and nothing is
//! copied but the beginning of a request that did not arrive whole.

use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;

use engine::Argv;
use engine::evict::Room;
use engine::host::Level;
use resp::request::{Progress, ProtocolError, Span};
use rustix::buffer::{Buffer, spare_capacity};
use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::Worker;
use super::batch::{BATCH, Ran};
use super::put_off::BATCH_NS;
use crate::conn::{Connection, Filling, Input, Slot, add};
use crate::system;

/// Bytes asked for with one read: what one connection can bring into a tick.
const READ_LEN: usize = 64 * 1024;

/// Bytes of it when the round has taken long already.
const READ_BRIEFLY: usize = 16 * 1024;

/// Bytes of it while requests wait for pages: behind one that waits all that was read does, in memory.
const READ_IN_NEED: usize = 4 * 1024;

/// Bytes of a big argument that are read at once: a socket's buffer has megabytes, and to copy them into new
/// pages takes milliseconds. Others want their turn, and where memory is short each piece needs room.
const LITTLE: usize = 256 * 1024;

/// A half-read request up to this length is put in front of the next read; a longer one grows in its own
/// buffer.
const LEFT_IN_ARENA: usize = 16 * 1024;

/// Where the reads of a tick lie, until their requests have run.
pub struct Arena {
    bytes: Box<[u8]>,
    used: usize,
}

/// Bytes that came into `buffer`: a socket's own call costs the kernel less than a file's `read`.
#[inline]
fn receive<B: Buffer<u8, Output = usize>>(socket: impl AsFd, buffer: B) -> rustix::io::Result<usize> {
    Ok(rustix::net::recv(socket, buffer, RecvFlags::empty())?.0)
}

/// What parsing left over.
struct Rest {
    /// Where it begins.
    from: usize,
    /// The first span of the half-read request in the batch's list.
    first: usize,
    /// Its next argument is big: its length, and where it begins.
    big: Option<(usize, usize)>,
}

/// Arguments that are in nobody's input.
type Big = Vec<Arc<Vec<u8>>>;

impl Arena {
    pub fn new() -> Arena {
        Arena { bytes: vec![0; 4 * READ_LEN].into(), used: 0 }
    }

    fn room(&self) -> usize {
        self.bytes.len() - self.used
    }
}

impl Worker {
    /// Runs what is collected; the arena is empty then.
    pub fn run_arena(&mut self, arena: &mut Arena) {
        self.run_batch(&arena.bytes, &[]);
        arena.used = 0;
    }

    /// One read of a connection, and all requests that it completes.
    #[inline]
    pub fn receive(&mut self, arena: &mut Arena, slot: Slot) {
        if arena.room() < LEFT_IN_ARENA + READ_LEN {
            self.run_arena(arena);
        }
        let Some(connection) = self.connections.at(slot) else { return };
        connection.unread = true;
        if connection.closing || connection.holds() {
            return;
        }
        if connection.is_filling() {
            self.receive_big(arena, slot);
        } else if connection.left_len() > LEFT_IN_ARENA {
            self.receive_long(arena, slot);
        } else {
            self.receive_in_arena(arena, slot);
            if self
                .connections
                .at(slot)
                .is_some_and(|connection| connection.unread && connection.is_filling())
            {
                // The rest of the argument is there: what others sent after it comes after it.
                self.receive_big(arena, slot);
            }
        }
    }

    #[inline]
    fn receive_in_arena(&mut self, arena: &mut Arena, slot: Slot) {
        let most = self.read_len();
        let Some(connection) = self.connections.at(slot) else { return };
        let (start, left) = (arena.used, connection.left_len());
        let read = receive(&connection.socket, &mut arena.bytes[start + left..][..most]);
        let Some(len) = self.count_read(arena, slot, read, most) else { return };
        let end = start + left + len;
        let (first, mut big) = self.put_back(arena, slot, start);
        arena.used = end;
        if let Some(rest) = self.parse(slot, &mut arena.bytes, start..end, first, &mut big) {
            self.keep_rest(slot, &arena.bytes[start..end], rest, big);
        }
        if self.batch.is_empty() {
            arena.used = 0;
        }
    }

    /// Bytes to ask for: a connection gets its turn in a long round too, but no more than that.
    #[inline]
    fn read_len(&mut self) -> usize {
        if self.engine.memory.comes_free() {
            return READ_IN_NEED;
        }
        if !self.round_is_long() {
            return READ_LEN;
        }
        self.full_reads = self.full_reads.min(self.again.len());
        READ_BRIEFLY
    }

    /// Puts the beginning of a half-read request back in front of what was read, its spans into the batch's
    /// list.
    #[inline]
    fn put_back(&mut self, arena: &mut Arena, slot: Slot, start: usize) -> (usize, Big) {
        let first = self.batch.spans.len();
        let Some(input) = self.connections.at(slot).and_then(|connection| connection.input.take()) else {
            return (first, Vec::new());
        };
        debug_assert!(input.held.is_empty() && input.filling.is_none());
        arena.bytes[start..start + input.bytes.len()].copy_from_slice(&input.bytes);
        self.batch.spans.extend_from_slice(&input.spans);
        (first, input.big)
    }

    /// Keeps what parsing an arena's stretch left over.
    #[inline]
    fn keep_rest(&mut self, slot: Slot, stretch: &[u8], rest: Rest, big: Big) {
        let Some(connection) = self.connections.at(slot) else { return };
        if rest.from == stretch.len() && big.is_empty() {
            if connection.session.client.input_bytes.load(std::sync::atomic::Ordering::Relaxed) != 0 {
                connection.settle_input();
            }
            return;
        }
        let input = connection.input.get_or_insert_default();
        input.spans = self.batch.spans[rest.first..].to_vec();
        self.batch.spans.truncate(rest.first);
        input.big = big;
        let end = rest.big.map_or(stretch.len(), |(_, at)| at);
        input.bytes = stretch[rest.from..end].to_vec();
        if let Some((len, at)) = rest.big {
            input.filling = Some(Filling::begin(len, &stretch[at..]));
        }
        rebase(connection, rest.from);
        self.check_input(slot);
    }

    /// A read into the connection's own buffer, for a request of many small arguments.
    #[cold]
    fn receive_long(&mut self, arena: &mut Arena, slot: Slot) {
        let Some(connection) = self.connections.at(slot) else { return };
        let Some(mut input) = connection.input.take() else { return };
        input.bytes.reserve(READ_LEN);
        let space = input.bytes.capacity() - input.bytes.len();
        let read = receive(&connection.socket, spare_capacity(&mut input.bytes));
        connection.input = Some(input);
        if self.count_read(arena, slot, read, space).is_some() {
            self.parse_own(arena, slot);
        }
    }

    /// A read into the memory of a big argument.
    #[cold]
    fn receive_big(&mut self, arena: &mut Arena, slot: Slot) {
        if std::mem::replace(&mut self.has_read_big, true) && self.round_became_long() {
            return note(&mut self.again, slot);
        }
        let input = self.connections.at(slot).and_then(|connection| connection.input.take());
        let Some(mut input) = input else { return };
        let Some(filling) = &mut input.filling else { return };
        let room = if !filling.grow() {
            Room::Nothing
        } else if filling.dropped.is_some() || filling.is_small() {
            Room::Enough
        } else {
            self.room()
        };
        let waits = room == Room::Enough && self.waits_for_pages(filling);
        let Some(connection) = self.connections.at(slot) else { return };
        if waits {
            connection.input = Some(input);
            return note(&mut self.cramped, slot);
        }
        match room {
            Room::Enough => {}
            Room::Later => {
                connection.input = Some(input);
                return note(&mut self.again, slot);
            }
            Room::Nothing => filling.refuse(),
        }
        let space = (filling.bytes.capacity() - filling.bytes.len()).min(LITTLE);
        let read = system::read_at_most(&connection.socket, &mut filling.bytes, space);
        filling.settle();
        let more = finish_big(connection, &mut input);
        connection.input = Some(input);
        if self.count_read(arena, slot, read, space).is_none() {
            return;
        }
        self.check_input(slot);
        if more {
            self.parse_own(arena, slot);
        }
    }

    /// Keys have given way to an argument, but the process occupies too much still, for all that is known.
    fn waits_for_pages(&mut self, filling: &mut Filling) -> bool {
        if filling.dropped.is_some() || filling.is_small() {
            return false;
        }
        let waits = self.is_look_due() || self.engine.memory.comes_free();
        let waits = waits && filling.wait(self.engine.host.monotonic_ns());
        if !waits {
            filling.go_on();
        }
        waits
    }

    /// Parses and runs what lies in a connection's own buffer.
    pub fn parse_own(&mut self, arena: &mut Arena, slot: Slot) {
        self.run_arena(arena);
        let Some(connection) = self.connections.at(slot).filter(|connection| !connection.holds()) else {
            return;
        };
        let Some(mut input) = connection.input.take() else { return };
        debug_assert!(input.filling.is_none());
        std::mem::swap(&mut self.batch.spans, &mut input.spans);
        let Input { bytes, big, .. } = &mut *input;
        let end = bytes.len();
        let rest = self.parse(slot, bytes, 0..end, 0, big);
        if rest.is_some() {
            // Spans of a half-read request are last in the list.
            let first = rest.as_ref().map_or(0, |rest| rest.first);
            self.run_whole(&input.bytes, first);
        }
        std::mem::swap(&mut self.batch.spans, &mut input.spans);
        if let Some(rest) = rest {
            self.keep_own(slot, *input, rest);
        }
    }

    /// Runs the batch although spans of a half-read request follow it, and keeps those.
    fn run_whole(&mut self, input: &[u8], first: usize) {
        if self.batch.is_empty() {
            return;
        }
        let half = self.batch.spans.split_off(first);
        self.run_batch(input, &[]);
        self.batch.spans = half;
    }

    /// Keeps what parsing a connection's own buffer left over. Requests may have been held meanwhile.
    fn keep_own(&mut self, slot: Slot, mut own: Input, rest: Rest) {
        let Some(connection) = self.connections.at(slot) else { return };
        if let Some((len, at)) = rest.big {
            own.filling = Some(Filling::begin(len, &own.bytes[at..]));
            own.bytes.truncate(at);
        }
        own.bytes.drain(..rest.from);
        own.bytes.shrink_to(own.bytes.len() * 2);
        if let Some(meanwhile) = connection.input.take() {
            own.held = meanwhile.held;
        }
        connection.input = Some(Box::new(own));
        rebase(connection, rest.from);
        self.check_input(slot);
    }

    /// Closes a connection whose input is over `client-query-buffer-limit`; else shows it to CLIENT LIST.
    fn check_input(&mut self, slot: Slot) {
        let limit = self.seat.config.client_query_buffer_limit;
        let Some(connection) = self.connections.at(slot) else { return };
        connection.settle_input();
        if connection.input.as_ref().is_some_and(|input| input.len() as u64 > limit) {
            return self.close_over_input_limit(slot);
        }
        self.count_memory(slot);
        self.relieve_pools();
    }

    /// Accounts for a read. `None`: nothing came, or the connection is closed.
    #[inline]
    fn count_read(
        &mut self,
        arena: &mut Arena,
        slot: Slot,
        read: rustix::io::Result<usize>,
        space: usize,
    ) -> Option<usize> {
        let connection = self.connections.at(slot)?;
        let stats = &self.seat.worker.stats;
        stats.reads.add(1);
        match read {
            Ok(len) if len > 0 => {
                stats.input_bytes.add(len as u64);
                add(&connection.session.client.total_input, len as u64);
                connection.mark_interaction(self.seat.worker.now);
                connection.unread = len == space || connection.ended;
                if connection.unread {
                    self.again.push(slot);
                }
                self.note_bytes(len);
                Some(len)
            }
            Err(Errno::AGAIN) => {
                (connection.unread, connection.ended) = (false, false);
                None
            }
            Err(Errno::INTR) => {
                self.again.push(slot);
                None
            }
            other => {
                self.end(arena, slot, other);
                None
            }
        }
    }

    /// The peer has closed, or is gone. What it sent before runs, and is answered as far as that is possible.
    #[cold]
    fn end(&mut self, arena: &mut Arena, slot: Slot, read: rustix::io::Result<usize>) {
        self.run_arena(arena);
        self.flush();
        match read {
            Ok(_) => self.close_when_written(slot, "Client closed connection"),
            Err(error) => self.close_failed(slot, "Reading from client", &io::Error::from(error)),
        }
    }

    /// Finds whole requests in `input[range]` and runs them in batches. `None`: nothing of the rest matters.
    #[inline]
    fn parse(
        &mut self,
        slot: Slot,
        input: &mut [u8],
        range: Range<usize>,
        first: usize,
        big: &mut Big,
    ) -> Option<Rest> {
        let outer = self.meanwhile.parsing.replace(slot);
        let rest = self.parse_all(slot, input, range, first, big);
        self.meanwhile.parsing = outer;
        rest
    }

    #[inline]
    fn parse_all(
        &mut self,
        slot: Slot,
        input: &mut [u8],
        range: Range<usize>,
        mut first: usize,
        big: &mut Big,
    ) -> Option<Rest> {
        let mut from = 0;
        loop {
            let connection = self.connections.at(slot)?;
            if connection.closing {
                self.batch.spans.truncate(first);
                return None;
            }
            if connection.holds() {
                return Some(Rest { from, first, big: None });
            }
            let limits = connection.parse_limits(&self.seat.config);
            let progress =
                connection.parser.parse(&input[range.clone()], from, &limits, &mut self.batch.spans);
            match progress {
                Ok(Progress::Done { end, inline }) => {
                    if inline {
                        let words = connection.parser.take_inline();
                        lay_out(&words, &mut input[range.clone()], from, &mut self.batch.spans);
                    }
                    from = end;
                    self.collect(slot, input, range.clone(), first, big);
                    first = self.batch.spans.len();
                }
                Ok(Progress::More) => return Some(Rest { from, first, big: None }),
                Ok(Progress::Big { len, at }) => return Some(Rest { from, first, big: Some((len, at)) }),
                Err(error) => {
                    self.batch.spans.truncate(first);
                    self.run_batch(input, &[]);
                    if big.is_empty()
                        && self.connections.at(slot).is_some_and(|connection| connection.holds())
                    {
                        // What was held is answered first; then this request fails again.
                        return Some(Rest { from, first: 0, big: None });
                    }
                    self.protocol_error(slot, error, &input[range.start + from..range.end]);
                    return None;
                }
            }
        }
    }

    /// Takes a whole request into the batch, and runs the batch when it is full or must not wait.
    #[inline]
    fn collect(&mut self, slot: Slot, input: &[u8], range: Range<usize>, first: usize, big: &mut Big) {
        let spans = &self.batch.spans[first..];
        let Some(connection) = self.connections.at(slot).filter(|_| !spans.is_empty()) else { return };
        let argv = Argv::new(&input[range.clone()], spans, big);
        let prepared = self.engine.prepare(&argv);
        // Before it has logged in, a client's next request cannot be parsed until this one has run.
        let alone = !big.is_empty() || !connection.session.authenticated;
        self.batch.push(&connection.session, slot, range.start, first, prepared);
        if alone || self.batch.len() == BATCH {
            let begun_ns = self.seat.worker.clock_ns;
            self.run_batch(input, big);
            big.clear();
            if self.round_is_long() && self.seat.worker.clock_ns.saturating_sub(begun_ns) > BATCH_NS {
                self.put_off(slot);
            }
        }
    }

    #[cold]
    fn protocol_error(&mut self, slot: Slot, error: ProtocolError, sample: &[u8]) {
        let text = error.text();
        let Some(connection) = self.connections.at(slot) else { return };
        if connection.closing {
            return;
        }
        connection.closing = true;
        self.replies.of(slot).error(&text);
        if self.logs(Level::Verbose) {
            let reason = text.strip_prefix("ERR Protocol error: ").unwrap_or(&text);
            let sample = match self.seat.config.hide_user_data_from_log {
                true => "Query buffer during protocol error: '*redacted*'".to_owned(),
                false => dump(sample),
            };
            let line = format!("Protocol error ({reason}) from client: {}. {sample}", self.describe(slot));
            self.engine.host.log(Level::Verbose, &line);
        }
    }

    /// Goes on with a connection whose requests had to wait.
    pub fn resume(&mut self, arena: &mut Arena, slot: Slot) {
        self.run_arena(arena);
        let goes_on = self.run_held(slot);
        if !goes_on {
            return self.look_for_end(slot);
        }
        let Some(connection) = self.connections.at(slot) else { return };
        connection.settle_input();
        if connection.left_len() > 0 && !connection.is_filling() {
            self.parse_own(arena, slot);
        }
        if self.connections.at(slot).is_some_and(|connection| connection.unread) {
            self.again.push(slot);
        }
    }

    /// A request that waited may wait for keys now, and its client may have gone meanwhile.
    #[cold]
    fn look_for_end(&mut self, slot: Slot) {
        if self.connections.at(slot).is_some_and(|connection| connection.ended) {
            self.again.push(slot);
        }
    }

    /// Runs the requests that were held; false if some must go on waiting.
    fn run_held(&mut self, slot: Slot) -> bool {
        self.seat.worker.clock_ns = self.engine.host.monotonic_ns();
        let Some(input) = self.connections.at(slot).and_then(|connection| connection.input.as_mut()) else {
            return true;
        };
        let mut held = std::mem::take(&mut input.held);
        while let Some(argv) = held.front() {
            let argv = argv.view();
            if self.connections.at(slot).is_none() {
                return false;
            }
            let prepared = self.engine.prepare(&argv);
            if self.run_request(slot, &prepared, &argv) == Ran::NotYet {
                break;
            }
            held.pop_front();
        }
        let done = held.is_empty();
        if let Some(connection) = self.connections.at(slot) {
            connection.input.get_or_insert_default().held = held;
        }
        done
    }
}

/// A connection is in the list once, however often it is heard of: each time keys would have to make room.
fn note(list: &mut Vec<Slot>, slot: Slot) {
    if !list.contains(&slot) {
        list.push(slot);
    }
}

/// A big argument that is whole joins the others. Bytes behind it, if there are any, return to the input.
fn finish_big(connection: &mut Connection, input: &mut Input) -> bool {
    let Some(mut filling) = input.filling.take_if(|filling| filling.is_whole()) else { return false };
    let behind = filling.bytes.split_off(filling.missing());
    input.bytes.extend_from_slice(&behind);
    if filling.dropped.is_some() {
        connection.session.cut_short = true;
        filling.bytes = Vec::new();
    }
    let index = input.big.len() as u32;
    input.big.push(Arc::new(filling.bytes));
    connection.parser.big_done(index, &mut input.spans);
    !behind.is_empty()
}

/// Tells the parser that its half-read request now begins the input.
fn rebase(connection: &mut Connection, by: usize) {
    if connection.parser.is_idle() || by == 0 {
        return;
    }
    if let Some(input) = &mut connection.input {
        connection.parser.rebase(by, &mut input.spans);
    }
}

/// Writes the words of an inline request over its line, which is never shorter than they are.
fn lay_out(words: &[Vec<u8>], input: &mut [u8], mut at: usize, spans: &mut Vec<Span>) {
    for word in words {
        input[at..at + word.len()].copy_from_slice(word);
        spans.push(Span { start: at as u32, len: word.len() as u32 });
        at += word.len();
    }
}

/// Bytes of a broken request that the log shows.
const DUMP_LEN: usize = 128;

fn dump(sample: &[u8]) -> String {
    let text = |bytes: &[u8]| -> String {
        bytes.iter().map(|byte| if (b' '..=b'~').contains(byte) { char::from(*byte) } else { '.' }).collect()
    };
    if sample.len() < DUMP_LEN {
        return format!("Query buffer during protocol error: '{}'", text(sample));
    }
    let (head, tail) = (&sample[..DUMP_LEN / 2], &sample[sample.len() - DUMP_LEN / 2..]);
    let between = sample.len() - DUMP_LEN;
    format!(
        "Query buffer during protocol error: '{}' (... more {between} bytes ...) '{}'",
        text(head),
        text(tail)
    )
}
