//! What a worker does while a script runs for too long, its own or another worker's: it reads and answers its
//! clients, nearly all of whom learn that the server is busy. It must never wait for a shard here, because the
//! script may hold all of them on this very thread; what would need one is kept for the next real tick.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use engine::{Argv, Outcome, Prepared, WorkerSeat};

use super::Worker;
use super::batch::Segment;
use super::intake::Arena;
use crate::conn::Slot;
use crate::inbox::Message;
use crate::poll::{LISTENER, Ready, WAKE};

/// What a script leaves to others, and what others leave until it has ended.
#[derive(Default)]
pub struct Meanwhile {
    /// For whoever is served while a script has the worker's own.
    seat: Option<Box<WorkerSeat>>,
    arena: Option<Box<Arena>>,
    /// Connections with requests in the batch that the script is part of: their turn is after it.
    waiting: Vec<Slot>,
    /// Replies that were not yet written when the script began, by connection.
    segments: Vec<Segment>,
    news: Vec<Ready>,
    messages: Vec<Message>,
}

impl Meanwhile {
    pub fn is_empty(&self) -> bool {
        self.news.is_empty() && self.messages.is_empty()
    }

    /// A batch begins that may run scripts.
    pub fn note_batch(&mut self, slots: impl Iterator<Item = Slot>) {
        self.waiting.clear();
        self.waiting.extend(slots);
    }

    /// Whether a connection's next reply has to come behind one that is not there yet.
    fn is_owed(&self, slot: Slot) -> bool {
        self.waiting.contains(&slot) || self.segments.iter().any(|segment| segment.slot == slot)
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
        // Within a script, and there it is refused.
        if self.engine.scripts.running.is_busy() {
            return self.run_plainly(slot, prepared, argv);
        }
        self.replies.of(slot);
        let Some(mut connection) = self.connections.lend(slot) else { return Outcome::Done };
        let engine = Arc::clone(&self.engine);
        let id = self.seat.worker.id;
        let spare = self.meanwhile.seat.take();
        let spare = spare.unwrap_or_else(|| Box::new(WorkerSeat::new(&engine, id)));
        let mut seat = std::mem::replace(&mut self.seat, spare);
        let mut reply = std::mem::take(&mut self.replies.reply);
        self.meanwhile.segments = std::mem::take(&mut self.replies.segments);
        LENT.set(Some(NonNull::from(&mut *self)));
        let outcome = engine.run(&mut seat, &mut connection.session, prepared, argv, &mut reply);
        LENT.set(None);
        self.replies.reply = reply;
        self.replies.segments = std::mem::take(&mut self.meanwhile.segments);
        self.meanwhile.seat = Some(std::mem::replace(&mut self.seat, seat));
        self.meanwhile.arena = None;
        self.connections.give_back(slot, connection);
        outcome
    }

    #[cold]
    fn run_plainly(&mut self, slot: Slot, prepared: &Prepared, argv: &Argv<'_>) -> Outcome {
        let Some(connection) = self.connections.at(slot) else { return Outcome::Done };
        let reply = self.replies.of(slot);
        self.engine.run(&mut self.seat, &mut connection.session, prepared, argv, reply)
    }

    fn attend(&mut self) {
        let mut arena = self.meanwhile.arena.take().unwrap_or_else(|| Box::new(Arena::new()));
        // If the poll loop fails, the next real tick says so.
        let _ = self.quiet_tick(&mut arena, Duration::ZERO);
        self.meanwhile.arena = Some(arena);
    }

    /// A tick in which nobody waits for a shard.
    pub fn quiet_tick(&mut self, arena: &mut Arena, wait: Duration) -> std::io::Result<()> {
        let mut ready = std::mem::take(&mut self.ready);
        self.poller.wait(wait, &mut ready)?;
        self.begin_tick();
        for news in ready.drain(..) {
            match news.key {
                WAKE => self.sort_messages(),
                LISTENER.. => self.acceptor.ready(news.key),
                slot if self.must_wait(slot as Slot) => self.meanwhile.news.push(news),
                slot => self.serve_connection(arena, slot as Slot, &news),
            }
        }
        self.ready = ready;
        self.run_arena(arena);
        self.flush();
        self.accept();
        self.flush();
        Ok(())
    }

    /// Whether a connection's news is for later: it is owed replies, waits for something else, or may have to
    /// be closed in the middle of what needs shards.
    fn must_wait(&mut self, slot: Slot) -> bool {
        let owed = self.meanwhile.is_owed(slot);
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
        for news in std::mem::take(&mut self.meanwhile.news) {
            self.serve(arena, &news);
        }
    }
}
