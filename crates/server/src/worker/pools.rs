//! What connections hold in memory, in all and against their limits: the sums are kept as each of them
//! changes, and whoever holds most has to go when a limit is reached.

use std::sync::Arc;

use base::alloc::size_class;
use base::limits::ACCOUNTING;
use base::time::UnixMs;
use engine::clients::{Client, Held};
use engine::consumers::registries;
use engine::evict::Room;
use engine::host::{Event, Level};
use engine::weights::Pool;

use super::Worker;
use crate::conn::Slot;
use crate::governor;
use crate::inbox::Message;
use crate::poll::Ready;

/// Bytes that a worker takes between two looks at memory: this part of the limit, between these bounds. So
/// much is added before it is seen, and each look lowers what may be allocated by no more than that.
const LOOK_PART: u64 = 256;
const LOOK_LEAST: u64 = 64 << 10;
const LOOK_MOST: u64 = 1 << 20;

/// What the last look at the sums went by. Until one of these changes, or this worker counts something, there
/// is no other: what others count they look at, and this worker too with the next millisecond.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Looked {
    config_version: u64,
    at: UnixMs,
}

impl Looked {
    /// There was none, or not since a sum changed.
    pub const NEVER: Looked = Looked { config_version: 0, at: UnixMs(i64::MIN) };
}

/// A look that found nobody who may go: what is over a limit is held by clients that must not
/// be evicted, or by some that are about to end.
#[derive(Default)]
pub struct VainLook {
    /// Bytes that all held then.
    held: u64,
    at: UnixMs,
}

impl VainLook {
    /// Whether another look would find the same.
    fn holds(&self, held: u64, now: UnixMs) -> bool {
        held <= self.held + self.held / GROWTH_SEEN && (0..LOOK_AGAIN_MS).contains(&now.since(self.at))
    }
}

/// Clients are weighed again when they hold so great a part more, or after this time.
const GROWTH_SEEN: u64 = 64;
const LOOK_AGAIN_MS: i64 = 100;

impl Worker {
    /// Brings the sums up to date with one connection.
    #[inline]
    pub fn count_memory(&mut self, slot: Slot) {
        if let Some(connection) = self.connections.at(slot)
            && !connection.is_counted()
        {
            let now = connection.session.client.held();
            let before = std::mem::replace(&mut connection.counted, now);
            let client = Arc::clone(&connection.session.client);
            self.recount(&client, before, now);
        }
    }

    /// One connection held `before`, and holds `now`; nothing once it is closed.
    #[cold]
    pub fn recount(&mut self, client: &Arc<Client>, before: Held, now: Held) {
        self.looked = Looked::NEVER;
        self.engine.clients.weights.reweigh(client, before, now);
        let stats = &self.seat.worker.stats;
        stats.clients_bytes.add((now.client as u64).wrapping_sub(before.client as u64));
        stats.arguments_bytes.add((now.arguments as u64).wrapping_sub(before.arguments as u64));
    }

    /// Brings what the worker itself keeps up to date.
    pub fn count_buffers(&self) {
        let lists = [
            self.news.capacity() * size_of::<Ready>(),
            self.messages.capacity() * size_of::<Message>(),
            self.mailbag.capacity() * size_of::<Message>(),
        ];
        let lists: usize = lists.into_iter().map(size_class).sum();
        let own = self.batch.memory() + self.replies.memory() + self.connections.memory();
        let now = own + self.seats_memory() + lists;
        let counter = &self.seat.worker.stats.buffer_bytes;
        counter.add((now as u64).wrapping_sub(counter.value()));
    }

    /// Ends connections while all of them hold more than they may.
    #[inline]
    pub fn relieve_pools(&mut self) {
        if !ACCOUNTING {
            return;
        }
        self.seat.refresh(&self.engine);
        let look = Looked { config_version: self.seat.version, at: self.seat.worker.now };
        if self.looked != look {
            self.looked = look;
            self.look_at_pools();
        }
    }

    /// Bytes that count against `maxmemory-clients`: what clients hold themselves, and the names under which
    /// registries have them.
    pub fn held_by_clients(&self) -> u64 {
        self.engine.sum(|stats| stats.clients_bytes.value()) + registries(&self.engine) as u64
    }

    #[cold]
    fn look_at_pools(&mut self) {
        let (limit, of_arguments) = (self.seat.clients_limit, self.seat.arguments_limit);
        if limit == 0 && of_arguments == 0 {
            return;
        }
        let clients = self.held_by_clients();
        let arguments = self.engine.sum(|stats| stats.arguments_bytes.value());
        if self.vain_look.holds(clients + arguments, self.seat.worker.now) {
            return;
        }
        if of_arguments == 0 {
            if limit > 0 && clients + arguments >= limit {
                self.evict_clients(clients + arguments, limit, Pool::Both);
            }
            return;
        }
        if arguments >= of_arguments {
            self.evict_clients(arguments, of_arguments, Pool::Arguments);
        }
        if limit > 0 && clients >= limit {
            self.evict_clients(clients, limit, Pool::Clients);
        }
    }

    #[cold]
    fn evict_clients(&mut self, held: u64, limit: u64, pool: Pool) {
        self.seat.worker.stats.client_weighings.add(1);
        let doomed = self.engine.clients.weights.doom_heaviest(held, limit, pool);
        if doomed.is_empty() {
            let held = self.held_by_clients() + self.engine.sum(|stats| stats.arguments_bytes.value());
            self.vain_look = VainLook { held, at: self.seat.worker.now };
        }
        for client in doomed {
            self.seat.worker.stats.evicted_clients.add(1);
            let slot = self.connections.find(client.id);
            // While a script runs, its end is left for later: what it was reading may be locked.
            let may_close = client.worker == self.seat.worker.id && !self.engine.scripts.running.is_busy();
            let own = slot.filter(|_| may_close);
            match own {
                Some(slot) => {
                    let line = format!("Evicting client: {}", self.describe(slot));
                    self.engine.host.log(Level::Notice, &line);
                    self.close(slot);
                }
                None => {
                    let line = format!("Evicting client: id={} addr={}", client.id.0, client.peer);
                    self.engine.host.log(Level::Notice, &line);
                    self.engine.host.post(client.worker, Event::Kill { client: client.id });
                }
            }
        }
    }

    /// So many bytes came in, or wait to go out: where memory is short, many of them are a reason to look at
    /// it.
    #[inline]
    pub fn note_bytes(&mut self, len: usize) {
        self.unlooked += len;
        if ACCOUNTING && self.unlooked >= self.look_every() {
            self.look_at_memory();
        }
    }

    #[inline]
    fn look_every(&self) -> usize {
        (self.engine.memory.limit() / LOOK_PART).clamp(LOOK_LEAST, LOOK_MOST) as usize
    }

    #[cold]
    fn look_at_memory(&mut self) {
        self.seat.evictor.meter.report(&self.engine.memory);
        let is_short = self.seat.config.memory_limit() > 0 && self.engine.memory.is_near();
        if !is_short || governor::look_again(&self.engine) {
            self.unlooked = 0;
        }
    }

    /// Much was taken, memory is short, and who looks at it has not finished yet.
    pub fn is_look_due(&mut self) -> bool {
        if self.unlooked >= self.look_every() {
            self.look_at_memory();
        }
        self.unlooked >= self.look_every()
    }

    /// Whether there is room for an argument that is being read: keys give way to it.
    pub fn room(&mut self) -> Room {
        let seat = &mut self.seat;
        seat.evictor.meter.report(&self.engine.memory);
        if !self.engine.memory.is_over() {
            return Room::Enough;
        }
        let worker = &mut seat.worker;
        seat.evictor.make_room(&self.engine, &seat.config, worker.now, &mut worker.rng)
    }
}
