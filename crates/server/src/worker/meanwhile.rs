//! What a worker does while a script runs for too long, its own or another worker's, or while a command of
//! its own loads all data again: it reads and answers its clients, nearly all of whom learn that the server
//! is busy. It must never wait for a shard here, because the script may hold all of them on this very thread;
//! what would need one is kept for the next real tick.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use engine::host::Heard;
use engine::{Argv, Outcome, Prepared, WorkerSeat};
use resp::reply::Reply;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use super::Worker;
use super::intake::Arena;
use crate::conn::{Connection, Slot};
use crate::inbox::Message;
use crate::poll::{Key, Ready, WAKE};

/// What a script leaves to others, and what others leave until it has ended.
#[derive(Default)]
pub struct Meanwhile {
    /// For whoever is served while a script has the worker's own.
    seat: Option<Box<WorkerSeat>>,
    arena: Option<Box<Arena>>,
    /// The worker's own script runs.
    is_lent: bool,
    /// The script's reply.
    reply: Reply,
    /// The connection whose script it is, and its replies that were not written when others came first.
    slot: Slot,
    earlier: Option<Reply>,
    connection: Option<NonNull<Connection>>,
    /// It does not read what the debugger says: nobody waits for it any more.
    is_deaf: bool,
    /// Connections with requests behind those of scripts in the batch.
    pub waiting: Vec<Slot>,
    /// The connection whose input is being parsed.
    pub parsing: Option<Slot>,
    ready: Vec<Ready>,
    news: BTreeMap<Key, Ready>,
}

impl Meanwhile {
    /// No news was left for later.
    pub fn is_empty(&self) -> bool {
        self.news.is_empty()
    }

    /// However often a descriptor has news, it is one thing to come back to.
    fn keep(&mut self, news: Ready) {
        let kept = self.news.entry(news.key).or_insert(news);
        kept.readable |= news.readable;
        kept.writable |= news.writable;
        kept.ended |= news.ended;
        kept.broken |= news.broken;
    }
}

thread_local! {
    /// The worker of this thread, while it runs a script and uses nothing of itself.
    static LENT: Cell<Option<NonNull<Worker>>> = const { Cell::new(None) };
}

/// Called from within a script that has been running for long: its worker hears its other clients.
pub fn attend() {
    with_lent(Worker::attend);
}

/// Called from within a script that is debugged: its client is shown this, behind the replies it has to get.
pub fn say(shown: &[u8]) {
    with_lent(|worker| worker.say(shown));
}

/// Called from within a script that is debugged: waits a moment for what its client sends.
pub fn hear(input: &mut Vec<u8>) -> Heard {
    with_lent(|worker| worker.hear(input)).unwrap_or(Heard::End)
}

fn with_lent<T>(act: impl FnOnce(&mut Worker) -> T) -> Option<T> {
    // Taken out, so that nothing gets at the worker twice.
    let mut worker = LENT.take()?;
    // SAFETY: `run_script` lends the worker of this thread, does not touch it before the script has ended,
    // and takes it back before it goes on.
    let done = act(unsafe { worker.as_mut() });
    LENT.set(Some(worker));
    Some(done)
}

impl Worker {
    /// Gives back what large requests have left, of the seat that runs scripts too.
    pub fn free_seats(&mut self) {
        self.seat.free(&self.engine);
        self.meanwhile.seat.iter_mut().for_each(|seat| seat.free(&self.engine));
    }

    /// Bytes that the scripts' machines take beside Lua's, and the other seat.
    pub fn seats_memory(&self) -> usize {
        let other = self.meanwhile.seat.as_ref();
        let other = other.map_or(0, |seat| size_of::<WorkerSeat>() + seat.memory());
        self.seat.memory() + other + self.meanwhile.reply.memory()
    }

    /// Runs a request that may be a script. The connection and the worker's seat go with it, so that the
    /// others can be served if it takes long.
    pub fn run_script(&mut self, slot: Slot, prepared: &Prepared, argv: &Argv<'_>) -> Outcome {
        // Within a script, and there it is refused. Another worker's may end at any moment.
        if self.meanwhile.is_lent {
            return self.run_plainly(slot, prepared, argv);
        }
        let Some(mut connection) = self.connections.lend(slot) else { return Outcome::Done };
        let engine = Arc::clone(&self.engine);
        let id = self.seat.worker.id;
        let spare = self.meanwhile.seat.take();
        let spare = spare.unwrap_or_else(|| Box::new(WorkerSeat::new(&engine, id)));
        let mut seat = std::mem::replace(&mut self.seat, spare);
        let mut reply = std::mem::take(&mut self.meanwhile.reply);
        self.meanwhile.slot = slot;
        (self.meanwhile.is_lent, self.meanwhile.is_deaf) = (true, false);
        let lent = NonNull::from(&mut *connection);
        self.meanwhile.connection = Some(lent);
        LENT.set(Some(NonNull::from(&mut *self)));
        // SAFETY: the connection is here until the script has ended. Meanwhile `say` and `hear` use what of
        // it is not its session.
        let session = unsafe { &mut (*lent.as_ptr()).session };
        let outcome = engine.run(&mut seat, session, prepared, argv, &mut reply);
        LENT.set(None);
        self.meanwhile.is_lent = false;
        self.meanwhile.connection = None;
        self.meanwhile.seat = Some(std::mem::replace(&mut self.seat, seat));
        self.meanwhile.arena = None;
        self.connections.give_back(slot, connection);
        self.add_reply(slot, reply);
        outcome
    }

    fn add_reply(&mut self, slot: Slot, mut reply: Reply) {
        let replies = self.replies.of(slot);
        if let Some(earlier) = self.meanwhile.earlier.take() {
            replies.append(&earlier.buf, 0, &earlier.shared);
        }
        replies.append(&reply.buf, 0, &reply.shared);
        reply.clear();
        reply.buf.shrink_to(REPLY_KEPT);
        self.meanwhile.reply = reply;
    }

    #[cold]
    fn run_plainly(&mut self, slot: Slot, prepared: &Prepared, argv: &Argv<'_>) -> Outcome {
        let Some(connection) = self.connections.at(slot) else { return Outcome::Done };
        let reply = self.replies.of(slot);
        self.engine.run(&mut self.seat, &mut connection.session, prepared, argv, reply)
    }

    /// Writes the others' replies and keeps those of the script's client.
    fn let_replies_go(&mut self) {
        if self.meanwhile.earlier.is_none() {
            self.meanwhile.earlier = Some(self.replies.copy_of(self.meanwhile.slot));
            self.flush();
        }
    }

    fn say(&mut self, shown: &[u8]) {
        self.let_replies_go();
        let (Some(earlier), Some(lent)) = (&mut self.meanwhile.earlier, self.meanwhile.connection) else {
            return;
        };
        if self.meanwhile.is_deaf {
            return;
        }
        // SAFETY: `run_script` has the connection until the script has ended, and nobody else uses these
        // parts.
        let (output, socket) = unsafe { (&mut (*lent.as_ptr()).output, &(*lent.as_ptr()).socket) };
        earlier.chunks().for_each(|chunk| output.push(chunk));
        earlier.clear();
        output.push(shown);
        for _ in 0..SAY_TRIES {
            if output.drain(socket, usize::MAX).is_err() || output.is_empty() {
                return;
            }
            is_ready(socket, PollFlags::OUT);
            // The others do not wait for a client that reads slowly.
            if self.engine.scripts.running.is_busy() {
                self.attend();
            }
        }
        self.meanwhile.is_deaf = true;
    }

    fn hear(&mut self, input: &mut Vec<u8>) -> Heard {
        let Some(lent) = self.meanwhile.connection.filter(|_| !self.meanwhile.is_deaf) else {
            return Heard::End;
        };
        // SAFETY: as in `say`.
        let socket = unsafe { &(*lent.as_ptr()).socket };
        if !is_ready(socket, PollFlags::IN) {
            return Heard::Nothing;
        }
        let mut buffer = [0; HEARD_LEN];
        match rustix::io::read(socket, &mut buffer) {
            Ok(0) => Heard::End,
            Ok(len) => {
                input.extend_from_slice(&buffer[..len]);
                Heard::Bytes
            }
            Err(Errno::AGAIN | Errno::INTR) => Heard::Nothing,
            Err(_) => Heard::End,
        }
    }

    fn attend(&mut self) {
        self.let_replies_go();
        let mut arena = self.meanwhile.arena.take().unwrap_or_else(|| Box::new(Arena::new()));
        // If the poll loop fails, the next real tick says so.
        let _ = self.quiet_tick(&mut arena, Duration::ZERO);
        self.meanwhile.arena = Some(arena);
    }

    /// A tick in which nobody waits for a shard.
    pub fn quiet_tick(&mut self, arena: &mut Arena, wait: Duration) -> std::io::Result<()> {
        let mut ready = std::mem::take(&mut self.meanwhile.ready);
        // What the tick that is under way has not come to is not reported again.
        ready.extend(self.news.drain(self.served.min(self.news.len())..));
        ready.extend(self.again.drain(..).map(|slot| Ready::to_read(slot as usize)));
        self.poller.wait(if ready.is_empty() { wait } else { Duration::ZERO }, &mut ready)?;
        self.begin_tick();
        for news in ready.drain(..) {
            match news.key {
                WAKE => self.sort_messages(),
                slot if self.must_wait(slot as Slot) => self.meanwhile.keep(news),
                slot => self.serve_connection(arena, slot as Slot, &news),
            }
        }
        self.meanwhile.ready = ready;
        self.resume_put_off(arena);
        self.run_arena(arena);
        self.flush();
        self.close_leaving();
        Ok(())
    }

    /// Whether a connection's news is for later: it waits for replies to come or for something else, or may
    /// have to be closed in the middle of what needs shards.
    fn must_wait(&mut self, slot: Slot) -> bool {
        let owed = self.is_owed(slot);
        let Some(connection) = self.connections.at(slot) else { return true };
        owed || connection.holds() || connection.closing || connection.is_filling()
    }

    /// Whether requests of a connection come before others of it in what is under way.
    pub fn is_owed(&self, slot: Slot) -> bool {
        self.meanwhile.waiting.contains(&slot) || self.meanwhile.parsing == Some(slot)
    }

    /// New connections are welcome; other messages can wait.
    fn sort_messages(&mut self) {
        let first = self.messages.len();
        self.collect_messages();
        for message in self.messages.split_off(first) {
            match message {
                Message::Connection(connection) => self.begin(connection),
                Message::Stop => self.stopped = true,
                other => self.messages.push_back(other),
            }
        }
    }

    /// After a script: the news that were left for later.
    #[cold]
    pub fn catch_up(&mut self, arena: &mut Arena) {
        for news in std::mem::take(&mut self.meanwhile.news).into_values() {
            self.serve(arena, &news);
        }
    }
}

/// Waits a moment for a socket to be readable or writable.
fn is_ready(socket: &OwnedFd, flags: PollFlags) -> bool {
    let mut polled = [PollFd::new(socket, flags)];
    // A signal only makes it shorter.
    rustix::event::poll(&mut polled, Some(&MOMENT)).is_ok_and(|ready| ready > 0)
}

const MOMENT: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
/// Moments that a client which debugs may take to read: five seconds.
const SAY_TRIES: usize = 250;
const HEARD_LEN: usize = 4096;

/// Capacity that the buffer for scripts' replies keeps.
const REPLY_KEPT: usize = 64 * 1024;
