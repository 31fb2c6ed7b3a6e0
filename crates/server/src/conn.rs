//! One connection as its worker holds it, and the table of them. An idle one holds no buffer: bytes are kept
//! only while a request is half read, held back, or its reply is not yet taken. Never runs a request.

use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base::alloc::{Reserve, size_class};
use base::limits::ACCOUNTING;
use base::time::UnixMs;
use engine::args::{OwnedArgv, shared_size};
use engine::clients::{ClientId, Held, flag};
use engine::commands::client::describe_for_log;
use engine::config::{ClientClass, Config, OutputLimit};
use engine::session::Session;
use resp::request::{Limits, Parser, Span};

use crate::output::Output;

/// Place of a connection in its worker's table.
pub type Slot = u32;

pub struct Connection {
    pub socket: OwnedFd,
    pub session: Session,
    pub parser: Parser,
    pub input: Option<Box<Input>>,
    pub output: Output,
    /// A request waits for the end of CLIENT PAUSE.
    pub paused: bool,
    /// A request waits for room among what waits for the disk, or for pages.
    pub stalled: bool,
    /// Its requests wait for the worker's next round.
    pub put_off: bool,
    /// More waits for it than may before its requests wait, and the worker knows of it.
    pub crowded: bool,
    /// With more bytes of output its requests wait.
    output_most: usize,
    /// Nothing is read any more; closed once the output is written.
    pub closing: bool,
    /// Readable, as far as is known.
    pub unread: bool,
    /// The peer has sent its last byte: reading goes on until the end is seen.
    pub ended: bool,
    /// Writability was asked for.
    pub awaits_write: bool,
    /// Messages that came in the middle of a long reply.
    pub behind_reply: Option<Box<Output>>,
    /// Bytes of messages about keys that were added to the output since it was empty.
    pub invalidation_bytes: usize,
    /// Since when the output has been over its soft limit.
    over_soft_since: Option<UnixMs>,
    /// What the worker's sums say of its memory.
    pub counted: Held,
}

/// What has arrived of a connection and was not run.
#[derive(Default)]
pub struct Input {
    /// From the beginning of the first request that was not taken.
    pub bytes: Vec<u8>,
    /// Arguments found so far of a half-read request.
    pub spans: Vec<Span>,
    /// Its big arguments.
    pub big: Vec<Arc<Vec<u8>>>,
    /// The big argument being read.
    pub filling: Option<Filling>,
    /// Requests that were whole when they could not run.
    pub held: VecDeque<OwnedArgv>,
}

/// A big argument, read straight into the memory that will be its value.
pub struct Filling {
    pub bytes: Vec<u8>,
    /// What of their block is no memory yet.
    reserve: Reserve,
    /// Bytes it will have.
    pub len: usize,
    /// There was no room for it: what comes of it is dropped, so many bytes up to now.
    pub dropped: Option<usize>,
    /// How long it has waited for unused pages to go back to the system; and since when it does so now, on
    /// the monotonic clock.
    waited_ns: u64,
    waits_since_ns: Option<u64>,
}

/// Whether what waits for a client may stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OutputVerdict {
    Fits,
    TooMuch,
}

impl Filling {
    /// Begins with what has arrived.
    pub fn begin(len: usize, arrived: &[u8]) -> Filling {
        let room = (arrived.len() * FILLING_FACTOR).clamp(FILLING_LEAST, FILLING_MOST);
        let mut bytes = Vec::with_capacity(len.min(room).max(arrived.len()));
        bytes.extend_from_slice(arrived);
        let mut filling = Filling {
            bytes,
            reserve: Reserve::default(),
            len,
            dropped: None,
            waited_ns: 0,
            waits_since_ns: None,
        };
        filling.count();
        filling
    }

    /// Makes room for more: in steps while it is small, and then for all of it, as a large block that grows
    /// is copied and is there twice meanwhile. That is address space; memory is what of it is filled. False
    /// if there is none.
    #[must_use]
    pub fn grow(&mut self) -> bool {
        let (capacity, len) = (self.bytes.capacity(), self.bytes.len());
        if len < capacity {
            return true;
        }
        let missing = self.len.saturating_sub(len);
        let step = if capacity < RESERVED_LEAST { capacity * (FILLING_FACTOR - 1) } else { missing };
        let wanted = step.min(missing);
        let grown = self.bytes.try_reserve_exact(wanted.max(1)).is_ok();
        self.count();
        grown
    }

    /// Whether it is read without asking for room: it makes little of a difference, and limits on clients end
    /// who has many.
    pub fn is_small(&self) -> bool {
        self.len < RESERVED_LEAST
    }

    /// Goes on waiting for pages, or begins to; false if it has waited for long enough to go on without them.
    pub fn wait(&mut self, now_ns: u64) -> bool {
        let since = self.waits_since_ns.replace(now_ns).unwrap_or(now_ns);
        self.waited_ns += now_ns.saturating_sub(since);
        self.waited_ns < PAGES_PATIENCE_NS + self.len as u64 * PAGES_PATIENCE_NS_PER_BYTE
    }

    /// It need not wait now.
    pub fn go_on(&mut self) {
        self.waits_since_ns = None;
    }

    /// Brings the reserve up to date.
    fn count(&mut self) {
        let capacity = self.bytes.capacity();
        let reserved = if capacity < RESERVED_LEAST { 0 } else { size_class(capacity) - self.bytes.len() };
        self.reserve.set(reserved);
    }

    /// Bytes of memory that it fills.
    fn memory(&self) -> usize {
        size_class(self.bytes.capacity()) - self.reserve.bytes()
    }

    /// Drops what has come of it, and what will come.
    pub fn refuse(&mut self) {
        self.dropped = Some(self.bytes.len());
        self.bytes = Vec::with_capacity(self.len.min(DROPPED_AT_ONCE));
        self.count();
    }

    /// Something was read into it.
    pub fn settle(&mut self) {
        let whole = self.is_whole();
        if let Some(dropped) = self.dropped.as_mut().filter(|_| !whole) {
            *dropped += self.bytes.len();
            self.bytes.clear();
        }
        self.count();
    }

    pub fn is_whole(&self) -> bool {
        self.missing() <= self.bytes.len()
    }

    /// Bytes of it that are in `bytes` once it is whole; behind them the input goes on.
    pub fn missing(&self) -> usize {
        self.len - self.dropped.unwrap_or(0)
    }
}

/// So long an argument waits in all while the process occupies too much: what gave way to it may lie among
/// what stays, and then pages come free as fast as memory is defragmented.
const PAGES_PATIENCE_NS: u64 = 1_000_000_000;
/// And so long for each byte: small entries come free by tens of megabytes in a second.
const PAGES_PATIENCE_NS_PER_BYTE: u64 = 50;

/// Bytes of an argument without room that are read at once.
const DROPPED_AT_ONCE: usize = 64 * 1024;

/// Room made for a big argument, for each byte of it that came with its length; at least and at most.
const FILLING_FACTOR: usize = 16;
const FILLING_LEAST: usize = 2 * 1024;
const FILLING_MOST: usize = 1 << 20;
/// Smaller blocks count whole, as in Redis: what was announced is what a client holds.
const RESERVED_LEAST: usize = 512 * 1024;

impl Input {
    pub fn memory(&self) -> usize {
        let held: usize = self.held.iter().map(|argv| argv.memory() - argv.big_memory()).sum();
        let spans = self.spans.capacity() * size_of::<Span>();
        let own = [size_of::<Input>(), self.bytes.capacity(), spans];
        own.into_iter().map(size_class).sum::<usize>() + self.big_memory() + held
    }

    /// Of its big arguments, those of requests that wait among them.
    fn big_memory(&self) -> usize {
        let filling = self.filling.as_ref().map_or(0, Filling::memory);
        let held = self.held.iter().map(OwnedArgv::big_memory).sum::<usize>();
        filling + held + self.big.iter().map(shared_size).sum::<usize>()
    }

    /// Bytes of the request being read. As in Redis the lengths in front of large arguments are not among
    /// them.
    pub fn len(&self) -> usize {
        let big: usize = self.big.iter().map(|argument| argument.len()).sum();
        let filling = self.filling.as_ref().map_or(0, |filling| filling.bytes.len());
        let is_all_big = big + filling > 0 && self.spans.iter().all(|span| span.is_big());
        big + filling + if is_all_big { 0 } else { self.bytes.len() }
    }

    fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.big.is_empty() && self.filling.is_none() && self.held.is_empty()
    }
}

impl Connection {
    pub fn new(socket: OwnedFd, session: Session) -> Connection {
        Connection {
            socket,
            session,
            parser: Parser::default(),
            input: None,
            output: Output::default(),
            paused: false,
            stalled: false,
            put_off: false,
            crowded: false,
            output_most: OUTPUT_FULL,
            closing: false,
            unread: false,
            ended: false,
            awaits_write: false,
            behind_reply: None,
            invalidation_bytes: 0,
            over_soft_since: None,
            counted: Held::default(),
        }
    }

    /// A request is held until CLIENT PAUSE is over; others see the client as one that waits.
    pub fn set_paused(&mut self, on: bool) {
        self.paused = on;
        self.session.client.set_flag(flag::BLOCKED, on);
    }

    /// Its requests wait: for the end of a pause, for a snapshot, for the next round, for room in its output,
    /// or behind others that wait.
    #[inline]
    pub fn holds(&self) -> bool {
        self.paused
            || self.stalled
            || self.put_off
            || self.session.blocked.is_some()
            || self.session.long_reply.is_some()
            || self.session.replica.awaits_dump
            || self.output_is_full()
            || self.input.as_ref().is_some_and(|input| !input.held.is_empty())
    }

    #[inline]
    pub fn output_is_full(&self) -> bool {
        self.output.len() > self.output_most
    }

    /// Its requests may go on until as much again waits.
    pub fn widen_output(&mut self) {
        self.output_most = self.output.len() + OUTPUT_FULL;
    }

    /// Nothing waits any more.
    pub fn narrow_output(&mut self) {
        self.output_most = OUTPUT_FULL;
    }

    /// Nothing of a reply is left to be written.
    pub fn is_written(&self) -> bool {
        self.output.is_empty() && self.session.long_reply.is_none()
    }

    /// Bytes of a half-read request, or of requests not yet looked at.
    pub fn left_len(&self) -> usize {
        self.input.as_ref().map_or(0, |input| input.bytes.len())
    }

    pub fn is_filling(&self) -> bool {
        self.input.as_ref().is_some_and(|input| input.filling.is_some())
    }

    /// Forgets an input that holds nothing any more, and shows the rest to CLIENT LIST.
    pub fn settle_input(&mut self) {
        if self.input.as_ref().is_some_and(|input| input.is_empty()) {
            self.input = None;
        }
        let input = self.input.as_ref();
        let (len, memory) = input.map_or((0, 0), |input| (input.len(), input.memory()));
        let client = &self.session.client;
        client.big_bytes.store(input.map_or(0, |input| input.big_memory()), Ordering::Relaxed);
        client.input_bytes.store(len, Ordering::Relaxed);
        client.input_free.store(memory.saturating_sub(len), Ordering::Relaxed);
    }

    /// Whether the sums have what it holds.
    #[inline]
    pub fn is_counted(&self) -> bool {
        !ACCOUNTING || self.session.client.held() == self.counted
    }

    /// Shows what waits to CLIENT LIST.
    pub fn show_output(&self) {
        let client = &self.session.client;
        let behind = self.behind_reply.as_ref().map_or_else(Default::default, |behind| behind.memory());
        let (memory, shared, lent) = self.output.memory();
        let (memory, shared, lent) = (memory + behind.0, shared + behind.1, lent + behind.2);
        client.output_bytes.store(memory, Ordering::Relaxed);
        client.output_shared.store(shared, Ordering::Relaxed);
        client.output_lent.store(lent, Ordering::Relaxed);
        client.output_parts.store(self.output.parts(), Ordering::Relaxed);
    }

    #[inline]
    pub fn parse_limits(&self, config: &Config) -> Limits {
        Limits {
            bulk_len_max: config.proto_max_bulk_len,
            authenticated: self.session.authenticated,
            ..Limits::default()
        }
    }

    fn output_limit(&self, config: &Config) -> OutputLimit {
        let class = if self.session.subscriptions() > 0 { ClientClass::Pubsub } else { ClientClass::Normal };
        config.output_limit(class)
    }

    /// Judges the output when `more` bytes are added to it: what waits, and what is in memory for the rest of
    /// its reply.
    pub fn judge_output(&mut self, more: usize, config: &Config, now: UnixMs) -> OutputVerdict {
        let limit = self.output_limit(config);
        let behind = self.behind_reply.as_ref().map_or(0, |behind| behind.len());
        let len = self.output.len() + behind + self.session.reading_bytes() + more;
        let len = if len <= OUTPUT_ALLOWED { 0 } else { len as u64 };
        if limit.hard_bytes > 0 && len >= limit.hard_bytes {
            return OutputVerdict::TooMuch;
        }
        if limit.soft_bytes == 0 || len < limit.soft_bytes {
            self.over_soft_since = None;
            return OutputVerdict::Fits;
        }
        let since = *self.over_soft_since.get_or_insert(now);
        match now.since(since) > limit.soft_seconds.saturating_mul(1000) {
            true => OutputVerdict::TooMuch,
            false => OutputVerdict::Fits,
        }
    }

    /// Nothing has come or gone for so long that `timeout` closes it.
    pub fn is_idle(&self, timeout_seconds: i64, now: UnixMs) -> bool {
        let exempt = self.session.monitor || self.session.subscriptions() > 0 || self.paused;
        let exempt = exempt || self.stalled || self.put_off || self.session.blocked.is_some();
        let exempt = exempt || self.session.replica.awaits_dump;
        let last = UnixMs(self.session.client.last_interaction_ms.load(Ordering::Relaxed));
        timeout_seconds > 0 && !exempt && now.since(last) / 1000 > timeout_seconds
    }

    #[inline]
    pub fn mark_interaction(&self, now: UnixMs) {
        self.session.client.last_interaction_ms.store(now.0, Ordering::Relaxed);
    }

    pub fn id(&self) -> ClientId {
        self.session.client.id
    }

    /// The line by which the log speaks of a client.
    pub fn describe(&self, config: &Config, now: UnixMs) -> String {
        describe_for_log(&self.session.client, now, config)
    }
}

/// Bytes of output that are below every limit: Redis does not count what lies in a client's own buffer.
const OUTPUT_ALLOWED: usize = 16 << 10;

/// While more than this waits for a client, its requests wait too, unless there is room: who does not read
/// cannot make memory grow.
const OUTPUT_FULL: usize = 1 << 20;

/// Adds to a counter that only this worker writes.
#[inline]
pub fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Ordering::Relaxed) + amount, Ordering::Relaxed);
}

/// All connections of a worker. A slot that was given up is not used again before `recycle`: what the poll
/// loop reported earlier may still name it.
#[derive(Default)]
pub struct Connections {
    slots: Vec<Option<Box<Connection>>>,
    free: Vec<Slot>,
    given_up: Vec<Slot>,
    by_client: HashMap<ClientId, Slot>,
}

impl Connections {
    pub fn insert(&mut self, connection: Connection) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as Slot
        });
        self.by_client.insert(connection.id(), slot);
        self.slots[slot as usize] = Some(Box::new(connection));
        slot
    }

    pub fn remove(&mut self, slot: Slot) -> Option<Box<Connection>> {
        let connection = self.slots.get_mut(slot as usize)?.take()?;
        self.by_client.remove(&connection.id());
        self.given_up.push(slot);
        Some(connection)
    }

    #[inline]
    pub fn at(&mut self, slot: Slot) -> Option<&mut Connection> {
        self.slots.get_mut(slot as usize)?.as_deref_mut()
    }

    /// Takes a connection out for a while; its slot stays its own.
    pub fn lend(&mut self, slot: Slot) -> Option<Box<Connection>> {
        self.slots.get_mut(slot as usize)?.take()
    }

    pub fn give_back(&mut self, slot: Slot, connection: Box<Connection>) {
        self.slots[slot as usize] = Some(connection);
    }

    pub fn find(&self, client: ClientId) -> Option<Slot> {
        self.by_client.get(&client).copied()
    }

    /// Bytes of the table itself: it remembers how many connections there were.
    pub fn memory(&self) -> usize {
        let lists = [
            self.slots.capacity() * size_of::<Option<Box<Connection>>>(),
            self.free.capacity() * size_of::<Slot>(),
            self.given_up.capacity() * size_of::<Slot>(),
            // A hash map is full at seven eighths, and has a byte more for each place.
            self.by_client.capacity() / 7 * 8 * (size_of::<(ClientId, Slot)>() + 1),
        ];
        lists.into_iter().map(size_class).sum()
    }

    /// Slots in use or free: all are below it.
    pub fn slot_count(&self) -> Slot {
        self.slots.len() as Slot
    }

    pub fn recycle(&mut self) {
        self.free.append(&mut self.given_up);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_argument_waits_longer_for_pages() {
        let check = |len, seconds: u64, waits| {
            let mut filling = Filling::begin(len, b"");
            assert!(filling.wait(1), "it has not waited yet");
            assert_eq!(filling.wait(1 + seconds * 1_000_000_000), waits, "{len} bytes for {seconds} s");
        };
        check(1 << 20, 1, true);
        check(1 << 20, 2, false);
        check(100 << 20, 6, true);
        check(100 << 20, 7, false);
    }
}
