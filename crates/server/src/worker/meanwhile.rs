//! What a worker does while a script runs for too long, its own or another worker's, or while a command of
//! its own loads all data again: it reads and answers its clients, nearly all of whom learn that the server
//! is busy. It must never wait for a shard here, because the script may hold all of them on this very thread;
//! what would need one is kept for the next real tick.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use engine::{Argv, Outcome, Prepared, WorkerSeat};
use resp::reply::Reply;

use super::Worker;
use super::intake::Arena;
use crate::conn::Slot;
use crate::inbox::Message;
use crate::poll::{Key, LISTENER, Ready, WAKE};

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
    /// Connections with requests behind those of scripts in the batch.
    pub waiting: Vec<Slot>,
    /// The connection whose input is being parsed.
    pub parsing: Option<Slot>,
    ready: Vec<Ready>,
    news: BTreeMap<Key, Ready>,
    messages: Vec<Message>,
}

impl Meanwhile {
    /// Nothing was left for later.
    pub fn is_empty(&self) -> bool {
        self.news.is_empty() && self.messages.is_empty()
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
    // Taken out, so that nothing gets at the worker twice.
    let Some(mut worker) = LENT.take() else { return };
    // SAFETY: `run_script` lends the worker of this thread, does not touch it before the script has ended,
    // and takes it back before it goes on.
    unsafe { worker.as_mut() }.attend();
    LENT.set(Some(worker));
}

impl Worker {
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
        self.meanwhile.is_lent = true;
        LENT.set(Some(NonNull::from(&mut *self)));
        let outcome = engine.run(&mut seat, &mut connection.session, prepared, argv, &mut reply);
        LENT.set(None);
        self.meanwhile.is_lent = false;
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

    fn attend(&mut self) {
        if self.meanwhile.earlier.is_none() {
            self.meanwhile.earlier = Some(self.replies.copy_of(self.meanwhile.slot));
            self.flush();
        }
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
                LISTENER.. => self.acceptor.ready(news.key),
                slot if self.must_wait(slot as Slot) => self.meanwhile.keep(news),
                slot => self.serve_connection(arena, slot as Slot, &news),
            }
        }
        self.meanwhile.ready = ready;
        self.run_arena(arena);
        self.flush();
        self.accept();
        self.flush();
        Ok(())
    }

    /// Whether a connection's news is for later: it waits for replies to come or for something else, or may
    /// have to be closed in the middle of what needs shards.
    fn must_wait(&mut self, slot: Slot) -> bool {
        let owed = self.meanwhile.waiting.contains(&slot) || self.meanwhile.parsing == Some(slot);
        let Some(connection) = self.connections.at(slot) else { return true };
        owed || connection.holds() || connection.closing || connection.is_filling()
    }

    /// New connections are welcome; other messages can wait.
    fn sort_messages(&mut self) {
        let mut messages = std::mem::take(&mut self.messages);
        self.inbox.take(&mut messages);
        for message in messages.drain(..) {
            match message {
                Message::Connection(connection) => self.begin(connection),
                Message::Stop => self.stopped = true,
                other => self.meanwhile.messages.push(other),
            }
        }
        self.messages = messages;
    }

    /// After a script: what was left for later.
    #[cold]
    pub fn catch_up(&mut self, arena: &mut Arena) {
        for message in std::mem::take(&mut self.meanwhile.messages) {
            self.take_message(arena, message);
        }
        for news in std::mem::take(&mut self.meanwhile.news).into_values() {
            self.serve(arena, &news);
        }
    }
}

/// Capacity that the buffer for scripts' replies keeps.
const REPLY_KEPT: usize = 64 * 1024;
