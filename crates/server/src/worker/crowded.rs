//! Connections whose requests wait because much of what they were answered waits for them. They go on once
//! they have read it, or at once while all clients together leave room: a client may send all of its requests
//! before it reads the first reply, and would never come to read if it were not heard to the end.

use super::Worker;
use super::intake::Arena;

impl Worker {
    /// Whether some of them can go on although they have not read.
    pub fn can_widen(&self) -> bool {
        !self.crowded.is_empty() && self.has_reply_room()
    }

    /// Whether more may be put into memory for clients that do not read.
    pub fn has_reply_room(&self) -> bool {
        !self.engine.memory.is_over() && self.held_by_clients() < self.seat.config.replies_room()
    }

    /// Lets those go on for whom there is room, each by as much again: the next look is at what all hold
    /// then.
    pub fn widen_outputs(&mut self, arena: &mut Arena) {
        if !self.can_widen() {
            return;
        }
        for slot in std::mem::take(&mut self.crowded) {
            let Some(connection) = self.connections.at(slot) else { continue };
            connection.crowded = false;
            let waited = connection.output_is_full();
            connection.widen_output();
            if waited && !connection.closing && (connection.input.is_some() || connection.unread) {
                self.resume(arena, slot);
            }
        }
    }
}
