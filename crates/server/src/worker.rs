//! One worker thread: its poll loop, its connections, and the tick in which it serves them. It runs commands
//! through the engine and never looks into them; files and signals are others' work.
//!
//! A tick: poll; take the time; the inbox; read every readable connection once; run what became whole, in
//! batches across connections; write each connection's replies once, or sooner where that takes long; then
//! the timers.

mod batch;
mod blocked;
mod brisk;
mod closing;
mod crowded;
mod intake;
mod linking;
mod meanwhile;
mod pieces;
mod pools;
mod put_off;
mod stalled;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use base::recall::HeardRecall;
use base::time::UnixMs;
use engine::clients::{Arrival, ClientId};
use engine::config::ClientClass;
use engine::host::{Event, WorkerId};
use engine::{Engine, Session, WorkerSeat};
use resp::reply::Protocol;

use crate::conn::{Connection, Connections, OutputVerdict, Slot};
use crate::inbox::{Inbox, Message};
use crate::listener::NewConnection;
use crate::output::Owner;
use crate::persist::link::Links;
use crate::poll::{Poller, Ready, WAKE};
use batch::{Batch, Replies};
use blocked::Deadline;
use brisk::Briskness;
use closing::CLOSES;
use intake::Arena;
use meanwhile::Meanwhile;
pub use meanwhile::{attend, hear, say};
use pools::{Looked, VainLook};
use stalled::{STALL_MS, Stalled};

/// What a worker is given.
pub struct WorkerContext {
    pub engine: Arc<Engine>,
    pub id: WorkerId,
    pub inbox: Arc<Inbox>,
    pub links: Arc<Links>,
}

/// Serves until `Message::Stop`. An error means that the poll loop itself failed: the process cannot go on.
pub fn run(context: WorkerContext) -> io::Result<()> {
    let mut worker = Worker::new(context)?;
    let mut arena = Arena::new();
    let own = base::alloc::thread_balance().max(0) as usize;
    worker.engine.used_memory_startup.fetch_add(own, std::sync::atomic::Ordering::Relaxed);
    while !worker.stopped {
        worker.tick(&mut arena)?;
    }
    worker.finish();
    Ok(())
}

struct Worker {
    engine: Arc<Engine>,
    /// In a box, because a script takes it with it (`meanwhile.rs`).
    seat: Box<WorkerSeat>,
    inbox: Arc<Inbox>,
    links: Arc<Links>,
    poller: Poller,
    connections: Connections,
    batch: Batch,
    replies: Replies,
    news: Vec<Ready>,
    /// So many of them have been looked at in this tick.
    served: usize,
    /// What others have sent and this worker has not heard yet, in its order.
    messages: VecDeque<Message>,
    /// Room for what is taken out of the inbox.
    mailbag: Vec<Message>,
    meanwhile: Meanwhile,
    /// Connections to be read in the next tick although nothing is reported: their last read may have left
    /// something.
    again: Vec<Slot>,
    /// Connections whose argument waits for pages to be given back: to be read a little later.
    cramped: Vec<Slot>,
    /// Connections that have ended and are to be closed, and how many more may be in this tick.
    leaving: Vec<Slot>,
    closes: usize,
    /// Bytes written in this tick of what had waited.
    drained: usize,
    /// When replies went out last in this tick, or it began, on the monotonic clock.
    flushed_ns: u64,
    /// Connections with a request that CLIENT PAUSE holds.
    paused: Vec<Slot>,
    stalled: Stalled,
    /// Connections whose requests wait for the next round, in the order in which they began to.
    put_off: Vec<Slot>,
    /// When this round began, on the monotonic clock; and whether it has read a piece of a big argument.
    began_ns: u64,
    has_read_big: bool,
    /// So many are to be read again that were not read from briefly in this round.
    full_reads: usize,
    /// They have much to read before their requests go on.
    crowded: Vec<Slot>,
    /// Connections whose reply goes out in pieces.
    unfinished: Vec<Slot>,
    /// Connections that wait for keys until some time.
    deadlines: BTreeSet<Deadline>,
    /// Connections that wait for what the time may bring.
    ageing: BTreeSet<Slot>,
    /// Of messages that tell of changed keys, bytes that were heard and not written yet.
    told: usize,
    /// Connections that get a dump once all earlier replies are out.
    linking: Vec<Slot>,
    /// Connections that got messages in this tick.
    touched: Vec<Slot>,
    stopped: bool,
    timers_ran: UnixMs,
    heard_recall: HeardRecall,
    /// The next slot that the timers look at.
    sweep: Slot,
    peaks: Peaks,
    looked: Looked,
    vain_look: VainLook,
    /// Bytes taken since memory was looked at.
    unlooked: usize,
    http_warned: UnixMs,
    briskness: Briskness,
}

/// The largest buffers seen in a sweep over all connections.
#[derive(Default)]
struct Peaks {
    input: usize,
    output: usize,
}

/// Messages for which room is kept after a flood.
const MESSAGES_KEPT: usize = 1024;

/// New connections in one tick: after a long one thousands may have come, and requests want their turn.
const NEWCOMERS_AT_ONCE: usize = 64;

/// How often timers run, and how many of their runs look at all connections once.
const TIMERS_MS: i64 = 100;

/// Bytes written in one tick of what waits for connections, for all of them and for each at least: requests
/// want their turn.
const DRAIN_ALL: usize = 2 << 20;
const DRAIN_LEAST: usize = 64 << 10;

/// How long an argument waits for pages before it is looked at again.
const CRAMPED_MS: i64 = 1;

/// How long requests are collected at most, for one sync.
const GATHER_NS_MOST: u64 = 1_000_000;

/// How long a worker waits for its clients before it looks whether another one's script has ended.
const QUIET_WAIT: Duration = Duration::from_millis(5);

const SWEEP_PARTS: u32 = 10;

impl Worker {
    fn new(context: WorkerContext) -> io::Result<Worker> {
        let WorkerContext { engine, id, inbox, links } = context;
        let poller = inbox.take_poller().ok_or_else(|| io::Error::other("the inbox has a worker already"))?;
        Ok(Worker {
            seat: Box::new(WorkerSeat::new(&engine, id)),
            engine,
            inbox,
            links,
            poller,
            connections: Connections::default(),
            batch: Batch::default(),
            replies: Replies::default(),
            news: Vec::new(),
            served: 0,
            messages: VecDeque::new(),
            mailbag: Vec::new(),
            meanwhile: Meanwhile::default(),
            again: Vec::new(),
            cramped: Vec::new(),
            leaving: Vec::new(),
            closes: CLOSES,
            drained: 0,
            flushed_ns: 0,
            paused: Vec::new(),
            stalled: Stalled::default(),
            put_off: Vec::new(),
            began_ns: 0,
            has_read_big: false,
            full_reads: usize::MAX,
            crowded: Vec::new(),
            unfinished: Vec::new(),
            deadlines: BTreeSet::new(),
            ageing: BTreeSet::new(),
            told: 0,
            linking: Vec::new(),
            touched: Vec::new(),
            stopped: false,
            timers_ran: UnixMs(0),
            heard_recall: HeardRecall::default(),
            sweep: 0,
            peaks: Peaks::default(),
            looked: Looked::NEVER,
            vain_look: VainLook::default(),
            unlooked: 0,
            http_warned: UnixMs(0),
            briskness: Briskness::default(),
        })
    }

    fn tick(&mut self, arena: &mut Arena) -> io::Result<()> {
        if self.engine.scripts.running.is_busy() {
            return self.quiet_tick(arena, QUIET_WAIT);
        }
        self.keep_brisk();
        let timeout = self.timeout();
        self.inbox.mark_busy(0);
        self.collect_news(timeout)?;
        let began_ns = self.begin_tick();
        self.resume_put_off(arena);
        self.take_news(arena);
        while self.expects_more(began_ns)? {
            self.take_news(arena);
        }
        // Before anybody learns that a request has run which may have lowered a limit.
        self.relieve_pools();
        self.flush();
        self.close_leaving();
        self.run_timers(arena);
        self.drain_touched(arena);
        self.continue_replies(arena);
        self.flush();
        self.hand_over_sockets();
        self.relieve_pools();
        self.connections.recycle();
        let stats = &self.seat.worker.stats;
        stats.ticks.add(1);
        let ended_ns = self.engine.host.monotonic_ns();
        stats.tick_ns.add(ended_ns.saturating_sub(began_ns));
        // How long nothing can be due counts from here.
        self.seat.worker.clock_ns = ended_ns;
        self.seat.worker.refresh_clock(&*self.engine.host);
        Ok(())
    }

    /// Whether replies that wait for the disk wait for requests too that have come meanwhile: the sync before
    /// them is for all. Not for longer than it takes, by the last one.
    fn expects_more(&mut self, began_ns: u64) -> io::Result<bool> {
        let log = &self.engine.log;
        if !log.holds_replies() || self.stopped || self.engine.scripts.running.is_busy() {
            return Ok(false);
        }
        let ns = self.engine.host.monotonic_ns().saturating_sub(began_ns);
        if ns > log.sync_ns().min(GATHER_NS_MOST) {
            return Ok(false);
        }
        self.collect_news(Duration::ZERO)?;
        if self.news.is_empty() {
            // While the disk works for others, more may come.
            self.engine.host.await_log_turn();
            if self.engine.log.holds_replies() {
                self.collect_news(Duration::ZERO)?;
            }
        }
        Ok(!self.news.is_empty())
    }

    fn take_news(&mut self, arena: &mut Arena) {
        // First, so that nobody is answered before it has heard what it was sent earlier.
        if !self.messages.is_empty() || self.news.iter().any(|news| news.key == WAKE) {
            self.take_messages(arena);
            // Who has too much waiting for it goes before others hear of it.
            self.drain_touched(arena);
            self.relieve_pools();
        }
        if !self.meanwhile.is_empty() {
            self.catch_up(arena);
        }
        while let Some(news) = self.next_news() {
            self.serve(arena, &news);
        }
        self.run_arena(arena);
    }

    /// The connections that are to be read again, then the news: who waits longer is served first.
    #[inline]
    fn collect_news(&mut self, timeout: Duration) -> io::Result<()> {
        self.news.clear();
        self.served = 0;
        // Who was read from briefly comes first.
        let full_reads = std::mem::replace(&mut self.full_reads, usize::MAX).min(self.again.len());
        self.again.rotate_left(full_reads);
        self.again.append(&mut self.cramped);
        self.news.extend(self.again.drain(..).map(|slot| Ready::to_read(slot as usize)));
        self.poller.wait(timeout, &mut self.news)
    }

    #[inline]
    fn next_news(&mut self) -> Option<Ready> {
        let news = self.news.get(self.served).copied();
        self.served += usize::from(news.is_some());
        news
    }

    /// How long nothing can be due.
    fn timeout(&mut self) -> Duration {
        if !self.again.is_empty()
            || !self.leaving.is_empty()
            || !self.messages.is_empty()
            || !self.meanwhile.is_empty()
            || !self.put_off.is_empty()
            || !self.touched.is_empty()
            || self.has_pieces()
            || self.can_widen()
            || self.stalled.goes_on
        {
            return Duration::ZERO;
        }
        let pause = self.engine.pause.current(self.seat.worker.now).filter(|_| !self.paused.is_empty());
        let due = pause.map_or(TIMERS_MS, |(until, _)| until.since(self.seat.worker.now).clamp(1, TIMERS_MS));
        let due = if self.cramped.is_empty() { due } else { CRAMPED_MS };
        let due = if self.stalled.is_empty() { due } else { due.min(STALL_MS) };
        Duration::from_millis(self.until_deadline().min(due) as u64)
    }

    #[inline]
    fn begin_tick(&mut self) -> u64 {
        self.drained = 0;
        self.has_read_big = false;
        self.seat.begin_round();
        self.seat.refresh(&self.engine);
        self.began_ns = self.seat.worker.read_clocks(&*self.engine.host);
        self.flushed_ns = self.began_ns;
        self.inbox.mark_busy(self.flushed_ns);
        self.flushed_ns
    }

    #[inline]
    fn serve(&mut self, arena: &mut Arena, news: &Ready) {
        match news.key {
            WAKE => {}
            slot => self.serve_connection(arena, slot as Slot, news),
        }
    }

    #[inline]
    fn serve_connection(&mut self, arena: &mut Arena, slot: Slot, news: &Ready) {
        let Some(connection) = self.connections.at(slot) else { return };
        connection.ended |= news.ended;
        let (writes, unserved) = (connection.awaits_write, connection.closing || connection.holds());
        if news.broken && unserved {
            return self.close_logged(slot, "Client closed connection");
        }
        // It may have ended before its request began to wait: then the end was told earlier.
        let waits = connection.session.blocked.is_some() || connection.session.replica.awaits_dump;
        if connection.ended && waits {
            return self.close_logged(slot, "Client closed connection");
        }
        if news.writable && writes {
            self.write_more(arena, slot);
        }
        if news.readable || news.ended || news.broken {
            self.receive(arena, slot);
        }
    }

    /// The socket may take more of what waits. Requests that waited for that go on.
    fn write_more(&mut self, arena: &mut Arena, slot: Slot) {
        self.drain(slot);
        let Some(connection) = self.connections.at(slot) else { return };
        let unfinished = connection.session.long_reply.is_some();
        if connection.closing || connection.paused || unfinished || connection.output_is_full() {
            return;
        }
        if connection.input.is_some() || connection.unread {
            self.resume(arena, slot);
        }
    }

    /// Writes what waits for a connection.
    fn drain(&mut self, slot: Slot) {
        self.wait_until_durable();
        let Some(connection) = self.connections.at(slot) else { return };
        let waited = connection.output.len();
        let most = DRAIN_ALL.saturating_sub(self.drained).max(DRAIN_LEAST);
        let result = connection.output.drain(&connection.socket, most);
        self.drained += result.as_ref().map_or(0, |written| *written);
        if result.as_ref().is_ok_and(|written| *written > 0) {
            connection.mark_interaction(self.seat.worker.now);
        }
        // The socket may be writable still, and an edge is not reported twice: ask anew.
        let stopped_early = result.as_ref().is_ok_and(|written| *written >= most);
        connection.awaits_write &= !stopped_early;
        self.sent(slot, waited, result);
    }

    fn take_messages(&mut self, arena: &mut Arena) {
        self.collect_messages();
        let mut newcomers = 0;
        // A script that one of them lets run may add others to the end.
        while newcomers < NEWCOMERS_AT_ONCE
            && let Some(message) = self.messages.pop_front()
        {
            newcomers += usize::from(matches!(message, Message::Connection(_)));
            self.take_message(arena, message);
        }
        self.messages.shrink_to(MESSAGES_KEPT);
    }

    /// Puts what is in the inbox behind what has not been heard yet.
    fn collect_messages(&mut self) {
        self.inbox.take(&mut self.mailbag);
        self.messages.extend(self.mailbag.drain(..));
        self.mailbag.shrink_to(MESSAGES_KEPT);
    }

    /// Writes what messages and timers have appended; if that takes long, the rest in the next round. If the
    /// socket takes all of it at once, nothing else tells that requests which waited for room can go on.
    fn drain_touched(&mut self, arena: &mut Arena) {
        let mut touched = std::mem::take(&mut self.touched);
        let mut written = 0;
        while let Some(&slot) = touched.get(written)
            && (written == 0 || !self.round_became_long())
        {
            written += 1;
            self.write_more(arena, slot);
        }
        touched.drain(..written);
        touched.append(&mut self.touched);
        self.touched = touched;
        self.settle_told();
    }

    /// Messages that tell of changed keys are freed, or wait for a client that does not read: that counts.
    fn settle_told(&mut self) {
        if self.told > 0 {
            self.seat.evictor.meter.report(&self.engine.memory);
            self.engine.memory.tell(-(std::mem::take(&mut self.told) as i64));
        }
    }

    fn take_message(&mut self, arena: &mut Arena, message: Message) {
        match message {
            Message::Event(Event::Push { client, message }) => self.push(client, &message),
            Message::Event(Event::Invalidate { client, origin, keys, memory }) => {
                self.told += memory;
                self.invalidate(client, origin, &keys)
            }
            Message::Event(Event::Line { client, line }) => self.push_line(client, &line),
            Message::Event(Event::Kill { client }) => self.end_client(client, Self::close),
            Message::Event(Event::Overwhelmed { client }) => {
                self.end_client(client, Self::close_over_limit);
            }
            Message::Event(Event::Resume) => self.resume_paused(arena),
            Message::Event(Event::Unblocked { client, ticket, reply }) => {
                self.unblock(arena, client, ticket, &reply);
            }
            Message::Event(Event::FileReached) => self.engine.serve_file_waits(&self.seat.worker.stats),
            Message::Event(Event::Ready { key }) => self.engine.serve_posted(&mut self.seat, key),
            Message::Connection(connection) => self.begin(connection),
            Message::Stop => self.stopped = true,
        }
    }

    /// A published message. Who has ended all subscriptions meanwhile would take it for a reply in RESP2.
    fn push(&mut self, client: ClientId, message: &Arc<Vec<u8>>) {
        let Some(slot) = self.connections.find(client) else { return };
        let Some(connection) = self.connections.at(slot) else { return };
        connection.session.client.has_heard(message.len());
        if !connection.session.wants(message) {
            return;
        }
        if connection.session.protocol == Protocol::Resp3 {
            return self.append(slot, b"", message, 0);
        }
        if connection.session.subscriptions() > 0 {
            self.append(slot, b"*", message, 1);
        }
    }

    /// Tells a client that copies of keys are void: its own, or those of the client that redirects to it.
    /// They may come for as long as others write; who does not read them is closed as a subscriber would be.
    fn invalidate(&mut self, client: ClientId, origin: ClientId, keys: &Arc<Vec<u8>>) {
        let slot = self.connections.find(client);
        let Some((slot, connection)) = slot.and_then(|slot| Some((slot, self.connections.at(slot)?))) else {
            return self.engine.invalidation_was_lost(client, origin);
        };
        connection.session.client.has_heard(keys.len());
        let Some(head) = connection.session.invalidation_head(client != origin, keys.is_empty()) else {
            return;
        };
        let waiting = if connection.output.is_empty() { 0 } else { connection.invalidation_bytes };
        connection.invalidation_bytes = waiting + head.len() + keys.len();
        let limit = self.seat.config.output_limit(ClientClass::Pubsub).hard_bytes;
        if limit > 0 && connection.invalidation_bytes as u64 >= limit {
            return self.close_over_limit(slot);
        }
        self.append(slot, head, keys, 0);
    }

    fn push_line(&mut self, client: ClientId, line: &Arc<Vec<u8>>) {
        let Some(slot) = self.connections.find(client) else { return };
        let Some(connection) = self.connections.at(slot) else { return };
        connection.session.client.has_heard(line.len());
        if connection.session.monitor {
            self.append(slot, b"", line, 0);
        }
    }

    /// Appends to a connection's output what is no reply: `head`, and the message but for its first bytes.
    fn append(&mut self, slot: Slot, head: &[u8], message: &Arc<Vec<u8>>, skipped: usize) {
        let Some(connection) = self.connections.at(slot) else { return };
        if connection.closing || connection.session.replica.awaits_dump {
            return;
        }
        let (config, now) = (&self.seat.config, self.seat.worker.now);
        if connection.judge_output(message.len(), config, now) == OutputVerdict::TooMuch {
            return self.close_over_limit(slot);
        }
        if connection.session.long_reply.is_some() {
            let behind = connection.behind_reply.get_or_insert_default();
            behind.push(head);
            behind.push_shared(message, skipped..message.len(), Owner::Outputs);
            connection.show_output();
            return self.count_memory(slot);
        }
        if connection.output.is_empty() {
            self.touched.push(slot);
        }
        connection.output.push(head);
        connection.output.push_shared(message, skipped..message.len(), Owner::Outputs);
        connection.show_output();
        self.count_memory(slot);
        self.note_bytes(message.len());
    }

    fn end_client(&mut self, client: ClientId, close: fn(&mut Worker, Slot)) {
        if let Some(slot) = self.connections.find(client) {
            close(self, slot);
        }
    }

    /// A new connection becomes a client of this worker.
    fn begin(&mut self, new: NewConnection) {
        let NewConnection { socket, peer, local, unix, .. } = new;
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&socket);
        let worker_bytes = size_of::<Connection>();
        let worker = self.seat.worker.id;
        let arrival = Arrival { worker, peer, local, descriptor, unix, worker_bytes };
        let client = self.engine.clients.arrive(arrival, self.seat.worker.now);
        let session = Session::new(client, self.seat.config.requirepass.is_empty());
        let slot = self.connections.insert(Connection::new(socket, session));
        self.seat.worker.stats.connections.add(1);
        let Some(connection) = self.connections.at(slot) else { return };
        if let Err(error) = self.poller.add(&connection.socket, slot as usize) {
            self.close_failed(slot, "Error registering fd event for the new client", &error);
        }
        self.count_memory(slot);
    }

    fn resume_paused(&mut self, arena: &mut Arena) {
        for slot in std::mem::take(&mut self.paused) {
            if let Some(connection) = self.connections.at(slot) {
                connection.set_paused(false);
                self.resume(arena, slot);
            }
        }
    }

    fn run_timers(&mut self, arena: &mut Arena) {
        let now = self.seat.worker.now;
        self.end_overdue(arena);
        self.resume_stalled(arena);
        self.widen_outputs(arena);
        let pause = &self.engine.pause;
        if !self.paused.is_empty() && pause.current(now).is_none() && !pause.is_ending() {
            self.resume_paused(arena);
        }
        // A wall clock that was set back must not stop them.
        if (0..TIMERS_MS).contains(&now.since(self.timers_ran)) {
            return;
        }
        self.timers_ran = now;
        self.weigh_ticks();
        self.heard_recall.heed();
        self.look_at_ageing();
        self.engine.serve_left(&mut self.seat);
        self.free_seats();
        self.count_buffers();
        self.inspect_replies();
        let part = self.connections.slot_count() / SWEEP_PARTS + 1;
        for _ in 0..part {
            if self.sweep >= self.connections.slot_count() {
                return self.end_sweep();
            }
            let slot = self.sweep;
            self.sweep += 1;
            self.inspect(slot);
        }
    }

    /// Looks after one connection: idle for too long, output over its soft limit for too long.
    fn inspect(&mut self, slot: Slot) {
        let (now, config) = (self.seat.worker.now, &self.seat.config);
        let Some(connection) = self.connections.at(slot) else { return };
        self.peaks.input = self.peaks.input.max(connection.input.as_ref().map_or(0, |input| input.memory()));
        self.peaks.output = self.peaks.output.max(connection.output.len());
        self.engine.weigh_reply(&connection.session);
        if connection.is_idle(config.timeout_seconds, now) {
            self.close_idle(slot);
        } else if connection.judge_output(0, config, now) == OutputVerdict::TooMuch {
            self.close_over_limit(slot);
        }
        if let Some(connection) = self.connections.at(slot).filter(|connection| !connection.output.is_empty())
        {
            connection.output.settle();
            connection.show_output();
        }
        self.count_memory(slot);
    }

    fn end_sweep(&mut self) {
        let stats = &self.seat.worker.stats;
        let Peaks { input, output } = std::mem::take(&mut self.peaks);
        for (counter, peak) in [(&stats.clients_input_peak, input), (&stats.clients_output_peak, output)] {
            counter.reset();
            counter.add(peak as u64);
        }
        self.sweep = 0;
    }

    /// The last act: what the sockets take at once is written, then everything is closed.
    fn finish(&mut self) {
        self.flush();
        for slot in 0..self.connections.slot_count() {
            self.drained = 0;
            self.drain(slot);
            self.close(slot);
        }
    }
}
