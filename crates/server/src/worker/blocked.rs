//! Connections whose request waits for keys: until its reply comes, its time is over, or they end. What a
//! request waits for is the engine's business.

use std::sync::Arc;

use base::time::UnixMs;
use engine::blocking::end_wait;
use engine::clients::ClientId;
use engine::pipeline::takes_reply;

use super::intake::Arena;
use super::{TIMERS_MS, Worker};
use crate::conn::{Connection, Slot};

/// When a wait ends, and whose it is.
pub type Deadline = (UnixMs, Slot);

impl Worker {
    /// A request of this connection has begun to wait.
    pub fn note_deadline(&mut self, slot: Slot) {
        let Some(connection) = self.connections.at(slot) else { return };
        let Some(ticket) = &connection.session.blocked else { return };
        if let Some(until) = ticket.until {
            self.deadlines.insert((until, slot));
        }
        if ticket.is_ageing() {
            self.ageing.insert(slot);
        }
    }

    /// Serves those who wait for what the time has brought.
    pub fn look_at_ageing(&mut self) {
        if self.ageing.is_empty() {
            return;
        }
        let mut waiting = std::mem::take(&mut self.ageing);
        waiting.retain(|&slot| {
            let blocked = self.connections.at(slot).and_then(|connection| connection.session.blocked.clone());
            let Some(ticket) = blocked.filter(|ticket| ticket.is_ageing()) else { return false };
            self.engine.serve_again(&mut self.seat, &ticket);
            true
        });
        self.ageing = waiting;
    }

    pub fn forget_deadline(&mut self, slot: Slot, connection: &Connection) {
        if let Some(until) = connection.session.blocked.as_ref().and_then(|ticket| ticket.until) {
            self.deadlines.remove(&(until, slot));
        }
    }

    /// Milliseconds until a wait is over, at most those between two runs of the timers.
    pub fn until_deadline(&self) -> i64 {
        let first = self.deadlines.first();
        first.map_or(TIMERS_MS, |(until, _)| until.since(self.seat.worker.now).clamp(0, TIMERS_MS))
    }

    /// Answers those whose time is over.
    pub fn end_overdue(&mut self, arena: &mut Arena) {
        while let Some(&(until, slot)) = self.deadlines.first()
            && until <= self.seat.worker.now
        {
            self.deadlines.pop_first();
            let Some(connection) = self.connections.at(slot) else { continue };
            // Who was served just now gets that reply, which is on its way.
            let Some(ticket) = &connection.session.blocked else { continue };
            if let Some(reply) = self.engine.time_out(&self.seat.worker.stats, ticket) {
                self.answer(arena, slot, &Arc::new(reply));
            }
        }
    }

    /// The reply to a request that waited has come.
    pub fn unblock(&mut self, arena: &mut Arena, client: ClientId, ticket: u64, reply: &Arc<Vec<u8>>) {
        let Some(slot) = self.connections.find(client) else { return };
        let Some(connection) = self.connections.at(slot) else { return };
        if connection.session.blocked.as_ref().is_some_and(|own| own.arrival == ticket) {
            self.answer(arena, slot, reply);
        }
    }

    /// The wait is over: the reply goes out, and the requests behind it run.
    fn answer(&mut self, arena: &mut Arena, slot: Slot, reply: &Arc<Vec<u8>>) {
        let Some(connection) = self.connections.at(slot) else { return };
        let until = end_wait(&mut connection.session).and_then(|ticket| ticket.until);
        connection.mark_interaction(self.seat.worker.now);
        let takes = takes_reply(&mut connection.session);
        if let Some(until) = until {
            self.deadlines.remove(&(until, slot));
        }
        if takes {
            self.append(slot, b"", reply, 0);
        }
        self.resume(arena, slot);
    }
}
