//! Connections whose requests wait for the worker's next round, so that others are served who want little:
//! those whose request needs shards that somebody has held for long, a script of another worker's as a rule;
//! and those with more requests when the round has taken long already, by evicting for each of them, say.

use super::Worker;
use super::intake::Arena;
use crate::conn::Slot;

/// When a round has taken so long, little is read from a connection, and of what was read before, no more
/// than a batch of requests runs at once if that takes long. Pieces of big arguments and messages beyond the
/// first are for the next round.
const ROUND_NS: u64 = 2_000_000;

/// A batch takes so long if each of its requests evicts, or is no small one; others are done before it is
/// worth the while to come back to them.
pub const BATCH_NS: u64 = 100_000;

impl Worker {
    pub fn put_off(&mut self, slot: Slot) {
        if let Some(connection) = self.connections.at(slot).filter(|connection| !connection.put_off) {
            connection.put_off = true;
            self.put_off.push(slot);
        }
    }

    /// Whether what can wait for the next round has to.
    #[inline]
    pub fn round_is_long(&self) -> bool {
        self.seat.worker.clock_ns.saturating_sub(self.began_ns) > ROUND_NS
    }

    /// The same where time has passed without a command.
    pub fn round_became_long(&mut self) -> bool {
        self.seat.worker.clock_ns = self.engine.host.monotonic_ns();
        self.round_is_long()
    }

    /// Lets those go on that were put off. While a script of the worker's own runs, others than those with
    /// requests in what is under way.
    pub fn resume_put_off(&mut self, arena: &mut Arena) {
        for slot in std::mem::take(&mut self.put_off) {
            if self.is_owed(slot) {
                self.put_off.push(slot);
            } else if let Some(connection) = self.connections.at(slot) {
                connection.put_off = false;
                self.resume(arena, slot);
            }
        }
    }
}
