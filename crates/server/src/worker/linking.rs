//! Connections on their way to a thread that sends them a dump: it gets the socket once all that was to be
//! written before is written. The connection stays its worker's, which writes nothing more to it and sees its
//! end.

use super::Worker;

impl Worker {
    /// Hands over the sockets of those for whom nothing waits any more.
    pub fn hand_over_sockets(&mut self) {
        if self.linking.is_empty() {
            return;
        }
        for slot in std::mem::take(&mut self.linking) {
            let Some(connection) = self.connections.at(slot) else { continue };
            if !connection.is_written() {
                self.linking.push(slot);
            } else if let Err(error) = self.links.hand_over(connection.id(), &connection.socket) {
                self.close_failed(slot, "Error handing a socket to the thread for its dump", &error);
            }
        }
    }
}
