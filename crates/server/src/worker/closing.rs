//! The ends of connections: each with its line in the log, as Redis writes it, and its statistics.

use std::io;

use base::bytes::escape;
use engine::clients::Held;
use engine::config::LogLevel;
use engine::host::Level;
use store::Garbage;

use super::Worker;
use crate::conn::Slot;

/// Connections that have ended are closed in one tick, at most: each takes ten microseconds and more.
pub const CLOSES: usize = 64;

/// Bytes of a half-read request that are freed here; the pages of more take milliseconds to go back.
const FREED_AT_ONCE: usize = 4 << 20;

/// Bytes of an input over its limit that the log shows.
const SAMPLE_LEN: usize = 64;

impl Worker {
    /// Ends a connection at once: nothing more is read or written.
    pub fn close(&mut self, slot: Slot) {
        let Some(mut connection) = self.connections.remove(slot) else { return };
        self.forget_deadline(slot, &connection);
        if connection.crowded {
            self.crowded.retain(|other| *other != slot);
        }
        if connection.stalled {
            self.stalled.forget(slot);
        }
        if connection.put_off {
            self.put_off.retain(|other| *other != slot);
        }
        if connection.paused {
            self.paused.retain(|other| *other != slot);
        }
        if connection.session.replica.awaits_dump {
            self.linking.retain(|other| *other != slot);
            self.links.leave(connection.id());
        }
        if connection.session.long_reply.is_some() {
            self.unfinished.retain(|other| *other != slot);
        }
        // It fails only if it was never added.
        let _ = self.poller.remove(&connection.socket);
        self.engine.disconnect(&mut connection.session);
        if let Some(input) = connection.input.take_if(|input| input.memory() > FREED_AT_ONCE) {
            let bytes = input.memory();
            self.engine.memory.expect(bytes);
            self.engine.host.reclaim(Garbage::Other(input, bytes));
        }
        self.seat.worker.stats.connections.add(u64::MAX);
        self.recount(&connection.session.client, connection.counted, Held::default());
        self.inbox.connection_left();
    }

    pub fn close_logged(&mut self, slot: Slot, what: &str) {
        self.log_client(slot, what);
        self.close(slot);
    }

    /// The peer sends no more. It may still read what waits for it; if not, the next write will tell.
    pub fn close_when_written(&mut self, slot: Slot, what: &str) {
        self.log_client(slot, what);
        let Some(connection) = self.connections.at(slot) else { return };
        if connection.is_written() && self.closes > 0 {
            self.closes -= 1;
            return self.close(slot);
        }
        connection.closing = true;
        if connection.is_written() {
            self.leaving.push(slot);
        }
    }

    /// Closes some of those that have ended: if thousands do at once, others are served in between.
    pub fn close_leaving(&mut self) {
        while self.closes > 0
            && let Some(slot) = self.leaving.pop()
        {
            self.closes -= 1;
            // The slot may be another connection's by now.
            if self
                .connections
                .at(slot)
                .is_some_and(|connection| connection.closing && connection.is_written())
            {
                self.close(slot);
            }
        }
        self.closes = CLOSES;
    }

    fn log_client(&mut self, slot: Slot, what: &str) {
        if self.logs(Level::Verbose) {
            let line = format!("{what} {}", self.describe(slot));
            self.engine.host.log(Level::Verbose, &line);
        }
    }

    #[cold]
    pub fn close_failed(&mut self, slot: Slot, what: &str, error: &io::Error) {
        if self.logs(Level::Verbose) {
            self.engine.host.log(Level::Verbose, &format!("{what}: {error}"));
        }
        self.close(slot);
    }

    pub fn close_idle(&mut self, slot: Slot) {
        self.engine.host.log(Level::Verbose, "Closing idle client");
        self.close(slot);
    }

    /// Too much waits for it.
    #[cold]
    pub fn close_over_limit(&mut self, slot: Slot) {
        let client = self.describe(slot);
        let line =
            format!("Client {client} scheduled to be closed ASAP for overcoming of output buffer limits.");
        self.engine.host.log(Level::Warning, &line);
        self.seat.worker.stats.output_limit_closed.add(1);
        self.close(slot);
    }

    /// Its request grew too long.
    #[cold]
    pub fn close_over_input_limit(&mut self, slot: Slot) {
        let client = self.describe(slot);
        let input = self.connections.at(slot).and_then(|connection| connection.input.as_ref());
        let sample = input.map_or(&[][..], |input| &input.bytes[..input.bytes.len().min(SAMPLE_LEN)]);
        let sample = self.seat.config.for_log(escape(sample));
        let line = format!(
            "Closing client that reached max query buffer length: {client} (qbuf initial bytes: {sample})"
        );
        self.engine.host.log(Level::Warning, &line);
        self.seat.worker.stats.input_limit_closed.add(1);
        self.close(slot);
    }

    /// Whether lines of this level are wanted: making one that nobody reads costs more than a request.
    pub fn logs(&self, level: Level) -> bool {
        let least = match self.seat.config.loglevel {
            LogLevel::Debug => Level::Debug,
            LogLevel::Verbose => Level::Verbose,
            LogLevel::Notice => Level::Notice,
            LogLevel::Warning => Level::Warning,
        };
        level >= least
    }

    pub fn describe(&mut self, slot: Slot) -> String {
        let (config, now) = (&self.seat.config, self.seat.worker.now);
        self.connections.at(slot).map_or_else(String::new, |connection| connection.describe(config, now))
    }
}
