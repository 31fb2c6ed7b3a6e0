//! Replies that go out in pieces: the next one is made when the socket has taken the last one, or sooner if
//! the client sends on and may not read before it has sent all. Where the pieces come from is the engine's
//! business.

use super::Worker;
use super::intake::Arena;
use crate::conn::{Connection, Slot};

impl Worker {
    /// Whether a piece can be made at once.
    pub fn has_pieces(&mut self) -> bool {
        if self.unfinished.is_empty() {
            return false;
        }
        let has_room = self.has_reply_room();
        let Worker { unfinished, connections, .. } = self;
        unfinished
            .iter()
            .any(|&slot| connections.at(slot).is_some_and(|connection| takes_piece(connection, has_room)))
    }

    /// One more piece for each connection whose socket takes it.
    pub fn continue_replies(&mut self, arena: &mut Arena) {
        if self.unfinished.is_empty() {
            return;
        }
        self.flush();
        let mut slots = std::mem::take(&mut self.unfinished);
        slots.retain(|&slot| self.continue_reply(arena, slot));
        self.unfinished.append(&mut slots);
    }

    /// Who does not read on may hold ever more, as others change what is read.
    pub fn inspect_replies(&mut self) {
        for slot in self.unfinished.clone() {
            self.inspect(slot);
        }
    }

    /// False if nothing is left to be written.
    fn continue_reply(&mut self, arena: &mut Arena, slot: Slot) -> bool {
        let has_room = self.has_reply_room();
        let Some(connection) = self.connections.at(slot) else { return false };
        if !takes_piece(connection, has_room) {
            return true;
        }
        let reply = self.replies.of(slot);
        let more = self.engine.continue_reply(&mut connection.session, reply);
        self.flush();
        if !more {
            self.end_reply(arena, slot);
        }
        more
    }

    /// What came in the middle of the reply follows it, and the requests behind it run.
    fn end_reply(&mut self, arena: &mut Arena, slot: Slot) {
        let Some(connection) = self.connections.at(slot) else { return };
        if let Some(behind) = connection.behind_reply.take() {
            connection.output.append(*behind);
            self.drain(slot);
        }
        self.resume(arena, slot);
    }
}

fn takes_piece(connection: &Connection, has_room: bool) -> bool {
    connection.output.is_empty() || has_room && connection.unread && !connection.output_is_full()
}
