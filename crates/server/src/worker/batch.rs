//! Requests that run together: collected across connections, prefetched together, run one by one in the order
//! in which they came. Replies collect in one arena, and each connection's are written once.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use base::alloc::size_class;
use base::limits;
use engine::host::Level;
use engine::pipeline::{is_script, may_write};
use engine::registry::Registered;
use engine::{Argv, Outcome, Prepared, Session};
use resp::reply::{Reply, SharedPart};
use resp::request::Span;
use store::{Wanted, WantedPart};

use super::Worker;
use crate::conn::{OutputVerdict, Slot, add};
use crate::output::Stretch;

/// Requests that run together.
pub const BATCH: usize = 32;

/// How long replies wait for others of the same tick, about.
const FLUSH_EVERY_NS: u64 = 1_000_000;

/// Reply bytes that collect before they are written.
const REPLIES_LEN: usize = 1 << 20;

/// Capacity that the arenas keep after one large use.
const REPLIES_KEPT: usize = 2 << 20;
const SPANS_KEPT: usize = 64 * 1024;

/// How long writers are held up, at most, for a snapshot that cannot keep pace: in steps, outside of any
/// lock. So many steps with one quarter of the limit filled, and four times as many with two: a client waits
/// hardly longer than without a save, and still what waits in memory stops growing.
const SNAPSHOT_DELAY_US: u64 = 200;
const SNAPSHOT_DELAYS: usize = 2;
const SNAPSHOT_QUARTERS: usize = 4;

/// Whole requests that have not run.
#[derive(Default)]
pub struct Batch {
    requests: Vec<Request>,
    pub spans: Vec<Span>,
    /// First keys of the requests, of those that have one.
    wanted: Vec<Wanted>,
    parts: Vec<WantedPart>,
    /// One of them may run a script.
    has_scripts: bool,
}

struct Request {
    slot: Slot,
    /// Where the part of the input begins to which its spans refer.
    input: u32,
    /// Its arguments in `spans`.
    first: u32,
    end: u32,
    /// It may run a script.
    is_script: bool,
    prepared: Prepared,
}

impl Batch {
    /// Bytes it has allocated.
    pub fn memory(&self) -> usize {
        let lists = [
            self.requests.capacity() * size_of::<Request>(),
            self.spans.capacity() * size_of::<Span>(),
            self.wanted.capacity() * size_of::<Wanted>(),
            self.parts.capacity() * size_of::<WantedPart>(),
        ];
        lists.into_iter().map(size_class).sum()
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Adds the request of the spans from `first` on.
    #[inline(always)]
    pub fn push(&mut self, session: &Session, slot: Slot, input: usize, first: usize, prepared: Prepared) {
        let (input, first, end) = (input as u32, first as u32, self.spans.len() as u32);
        let may_be_script = |command: &'static Registered| {
            // What an EXEC will run may still be in the batch.
            command.runs_scripts
                || is_script(command, session)
                || self.has_scripts && command.row.name == "exec" && self.has_script_of(slot)
        };
        let is_script = prepared.command.is_some_and(may_be_script);
        self.has_scripts |= is_script;
        self.requests.push(Request { slot, input, first, end, is_script, prepared });
    }

    #[cold]
    fn has_script_of(&self, slot: Slot) -> bool {
        self.requests.iter().any(|request| request.slot == slot && request.is_script)
    }

    fn clear(&mut self) {
        self.has_scripts = false;
        self.requests.clear();
        self.wanted.clear();
        self.parts.clear();
        self.spans.clear();
        self.spans.shrink_to(SPANS_KEPT);
    }
}

impl Request {
    #[inline]
    fn argv<'a>(&self, input: &'a [u8], spans: &'a [Span], big: &'a [Arc<Vec<u8>>]) -> Argv<'a> {
        Argv::new(&input[self.input as usize..], &spans[self.first as usize..self.end as usize], big)
    }
}

/// Replies that are not yet written, and whose they are.
#[derive(Default)]
pub struct Replies {
    reply: Reply,
    segments: Vec<Segment>,
}

/// From here to the next segment, the replies are one connection's.
struct Segment {
    slot: Slot,
    start: usize,
    /// The first of its shared parts.
    shared: usize,
}

impl Replies {
    /// Bytes it has allocated.
    pub fn memory(&self) -> usize {
        let shared = self.reply.shared.capacity() * size_of::<SharedPart>();
        let lists = [self.reply.buf.capacity(), shared, self.segments.capacity() * size_of::<Segment>()];
        lists.into_iter().map(size_class).sum()
    }

    /// The reply to write into, for a connection.
    #[inline(always)]
    pub fn of(&mut self, slot: Slot) -> &mut Reply {
        if self.segments.last().is_none_or(|last| last.slot != slot) {
            self.segments.push(Segment { slot, start: self.reply.len(), shared: self.reply.shared.len() });
        }
        &mut self.reply
    }

    #[inline]
    fn is_full(&self) -> bool {
        match self.reply.shared.is_empty() {
            true => self.reply.len() > REPLIES_LEN,
            false => self.reply.total_len() > REPLIES_LEN,
        }
    }

    #[inline]
    fn stretch(&self, index: usize) -> Stretch<'_> {
        let segment = &self.segments[index];
        let (end, shared_end) = match self.segments.get(index + 1) {
            Some(next) => (next.start, next.shared),
            None => (self.reply.len(), self.reply.shared.len()),
        };
        Stretch {
            buf: &self.reply.buf[segment.start..end],
            base: segment.start,
            shared: &self.reply.shared[segment.shared..shared_end],
        }
    }

    /// Replies of one connection, taken together.
    pub fn copy_of(&self, slot: Slot) -> Reply {
        let mut copy = Reply::default();
        for index in (0..self.segments.len()).filter(|&index| self.segments[index].slot == slot) {
            let Stretch { buf, base, shared } = self.stretch(index);
            copy.append(buf, base, shared);
        }
        copy
    }

    fn clear(&mut self) {
        self.reply.clear();
        self.reply.buf.shrink_to(REPLIES_KEPT);
        self.segments.clear();
    }
}

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ran {
    Done,
    /// It must be kept and tried again later.
    NotYet,
}

impl Worker {
    /// Runs all collected requests, whose arguments lie in `input` and `big`.
    pub fn run_batch(&mut self, input: &[u8], big: &[Arc<Vec<u8>>]) {
        if self.batch.is_empty() {
            return;
        }
        let mut batch = std::mem::take(&mut self.batch);
        if batch.len() > 1 {
            self.look_ahead(&mut batch, input, big);
        }
        // Within a script nothing is written, and what others wait for may wait for the script.
        let quiet = self.engine.scripts.running.is_busy();
        if !quiet {
            self.wait_for_snapshot(&batch);
        }
        self.seat.worker.clock_ns = self.engine.host.monotonic_ns();
        if self.seat.worker.clock_ns.saturating_sub(self.flushed_ns) > FLUSH_EVERY_NS {
            self.flush_early(quiet);
        }
        let waiting = self.meanwhile.waiting.len();
        let mut awaits_script = batch.has_scripts;
        if batch.has_scripts {
            self.put_scripts_last(&mut batch);
        }
        for request in &batch.requests {
            if awaits_script && request.is_script {
                awaits_script = false;
                self.flush_early(quiet);
            }
            let argv = request.argv(input, &batch.spans, big);
            if self.run_request(request.slot, &request.prepared, &argv) == Ran::NotYet {
                self.hold(request.slot, &argv);
            }
        }
        self.meanwhile.waiting.truncate(waiting);
        batch.clear();
        self.batch = batch;
        self.seat.evictor.meter.report(&self.engine.memory);
    }

    /// Replies go out before what may take long, but not if each time costs a sync of the append-only file.
    fn flush_early(&mut self, quiet: bool) {
        if !quiet && !self.engine.log.holds_replies() {
            self.flushed_ns = self.seat.worker.clock_ns;
            self.flush();
        }
    }

    /// Connections with a script in the batch come last: others do not wait for it, however long it takes.
    fn put_scripts_last(&mut self, batch: &mut Batch) {
        let waiting = &mut self.meanwhile.waiting;
        let scripts = batch.requests.iter().filter(|request| request.is_script);
        waiting.extend(scripts.map(|request| request.slot));
        // Spans lie in the order in which the requests came.
        batch.requests.sort_unstable_by_key(|request| (waiting.contains(&request.slot), request.first));
    }

    /// Fetches what the requests' first keys lead to; of a key that several in a row want, parts too.
    #[inline]
    fn look_ahead(&mut self, batch: &mut Batch, input: &[u8], big: &[Arc<Vec<u8>>]) {
        for request in &batch.requests {
            let Some(hash) = request.prepared.hash else { continue };
            let Some(connection) = self.connections.at(request.slot) else { continue };
            let wanted = Wanted { db: connection.session.db, hash: hash.get() };
            if batch.wanted.last() != Some(&wanted) {
                batch.wanted.push(wanted);
            } else if let Some(hash) = request.prepared.part(&request.argv(input, &batch.spans, big)) {
                batch.parts.push(WantedPart { of: batch.wanted.len() - 1, hash });
            }
        }
        self.engine.store.look_ahead(&batch.wanted, &batch.parts);
    }

    /// Delays writers while a snapshot's blocks pile up, before they take a lock.
    #[inline]
    fn wait_for_snapshot(&mut self, batch: &Batch) {
        let store = &self.engine.store;
        let bearable = store.snapshot_limit() / SNAPSHOT_QUARTERS;
        if store.snapshot_backlog() <= bearable {
            return;
        }
        if batch.requests.iter().any(|request| request.prepared.command.is_some_and(may_write)) {
            self.delay_writers(bearable);
        }
    }

    #[cold]
    fn delay_writers(&mut self, bearable: usize) {
        let (store, host) = (&self.engine.store, &self.engine.host);
        let begin_ns = host.monotonic_ns();
        // With more than that each writer waits, whatever others do.
        let times =
            (store.snapshot_backlog() / bearable.max(1)).min(SNAPSHOT_QUARTERS / limits::SNAPSHOT_FULL_SHARE);
        for _ in 0..times * times * SNAPSHOT_DELAYS {
            if store.snapshot_backlog() <= bearable {
                break;
            }
            host.sleep_us(SNAPSHOT_DELAY_US);
        }
        let stats = &self.seat.worker.stats;
        stats.snapshot_delays.add(1);
        stats.snapshot_delay_us.add(host.monotonic_ns().saturating_sub(begin_ns) / 1000);
    }

    /// Nobody is told what the append-only file does not have for certain, if that was asked for.
    #[inline]
    pub fn wait_until_durable(&mut self) {
        if self.engine.log.holds_replies() {
            self.engine.host.await_log();
        }
    }

    /// Runs one request of a connection that may be gone, closing, or held up.
    #[inline]
    pub fn run_request(&mut self, slot: Slot, prepared: &Prepared, argv: &Argv<'_>) -> Ran {
        if self.may_stall() && self.must_stall(slot, prepared, argv) {
            return Ran::NotYet;
        }
        let Some(connection) = self.connections.at(slot) else { return Ran::Done };
        // Of a client that CLIENT KILL has named, nothing runs any more: the order to close it is on its way.
        if connection.closing || connection.session.client.killed.load(Ordering::Relaxed) {
            return Ran::Done;
        }
        if connection.holds() {
            return Ran::NotYet;
        }
        if prepared.command.is_none() && is_http(argv) {
            self.refuse_http(slot);
            return Ran::Done;
        }
        let outcome = match prepared.command {
            Some(command) if is_script(command, &connection.session) => self.run_script(slot, prepared, argv),
            _ => {
                let reply = self.replies.of(slot);
                self.engine.run(&mut self.seat, &mut connection.session, prepared, argv, reply)
            }
        };
        let Some(connection) = self.connections.at(slot) else { return Ran::Done };
        match outcome {
            Outcome::Done if connection.session.replica.awaits_dump => self.linking.push(slot),
            Outcome::Done => {}
            Outcome::Close => connection.closing = true,
            Outcome::Blocked => {
                self.note_deadline(slot);
                return Ran::Done;
            }
            Outcome::Unfinished => self.unfinished.push(slot),
            Outcome::TooLong => {
                self.close_over_limit(slot);
                return Ran::Done;
            }
            Outcome::Paused => {
                connection.set_paused(true);
                self.paused.push(slot);
                return Ran::NotYet;
            }
            Outcome::Later => {
                self.put_off(slot);
                return Ran::NotYet;
            }
        }
        connection.closing |= connection.session.closing;
        if self.replies.is_full() {
            self.flush();
        }
        Ran::Done
    }

    /// Keeps a whole request that cannot run now.
    #[cold]
    fn hold(&mut self, slot: Slot, argv: &Argv<'_>) {
        if let Some(connection) = self.connections.at(slot) {
            connection.input.get_or_insert_default().held.push_back(argv.to_owned());
            connection.settle_input();
            self.count_memory(slot);
        }
    }

    /// A web browser was made to speak to this port.
    #[cold]
    fn refuse_http(&mut self, slot: Slot) {
        if self.seat.worker.now.since(self.http_warned) > 60_000 {
            self.http_warned = self.seat.worker.now;
            self.engine.host.log(Level::Warning, HTTP_WARNING);
        }
        self.flush();
        self.close(slot);
    }

    /// Writes all collected replies; messages about what was changed come before them.
    pub fn flush(&mut self) {
        self.engine.broadcast(&mut self.seat);
        if self.replies.segments.is_empty() {
            return;
        }
        self.wait_until_durable();
        let mut replies = std::mem::take(&mut self.replies);
        for index in 0..replies.segments.len() {
            self.deliver(replies.segments[index].slot, replies.stretch(index));
        }
        replies.clear();
        self.replies = replies;
    }

    /// Writes replies to one connection, and closes it if it was to be closed or cannot be served.
    #[inline]
    fn deliver(&mut self, slot: Slot, stretch: Stretch<'_>) {
        let Some(connection) = self.connections.at(slot) else { return };
        let (config, now) = (&self.seat.config, self.seat.worker.now);
        if connection.judge_output(stretch.len(), config, now) == OutputVerdict::TooMuch {
            return self.close_over_limit(slot);
        }
        let waited = connection.output.len();
        let result = connection.output.send(&connection.socket, stretch);
        self.sent(slot, waited, result);
    }

    /// After an attempt to write: accounts for it and asks for writability where something waits.
    #[inline]
    pub fn sent(&mut self, slot: Slot, waited: usize, result: std::io::Result<usize>) {
        let Some(connection) = self.connections.at(slot) else { return };
        let written = match result {
            Ok(written) => written,
            Err(error) => return self.close_failed(slot, "Error writing to client", &error),
        };
        let stats = &self.seat.worker.stats;
        stats.output_bytes.add(written as u64);
        stats.writes.add(u64::from(written > 0));
        add(&connection.session.client.total_output, written as u64);
        let grown = connection.output.len().saturating_sub(waited);
        if connection.output.len() != waited {
            connection.show_output();
        }
        if connection.output_is_full() && !connection.crowded {
            connection.crowded = true;
            self.crowded.push(slot);
        }
        let (waits, written_out) = (!connection.output.is_empty(), connection.is_written());
        if waits != connection.awaits_write {
            connection.awaits_write = waits;
            if !waits {
                connection.narrow_output();
            }
            let changed = self.poller.change(&connection.socket, slot as usize, waits);
            if let Err(error) = changed {
                return self.close_failed(slot, "Error writing to client", &error);
            }
        }
        if connection.closing && written_out {
            return self.close(slot);
        }
        if !connection.is_counted() {
            self.count_memory(slot);
        }
        self.note_bytes(grown);
    }
}

/// The first words of a request by HTTP.
fn is_http(argv: &Argv<'_>) -> bool {
    argv.is(0, "post") || argv.is(0, "host:")
}

const HTTP_WARNING: &str = "\
    Possible SECURITY ATTACK detected. It looks like somebody is sending POST or Host: commands to Redis. \
    This is likely due to an attacker attempting to use Cross Protocol Scripting to compromise your Redis \
    instance. Connection aborted.";
