//! The ends of connections: each with its line in the log, as Redis writes it, and its statistics.

use std::io;

use base::bytes::escape;
use engine::clients::Held;
use engine::config::LogLevel;
use engine::host::Level;

use super::Worker;
use crate::conn::Slot;

/// Bytes of an input over its limit that the log shows.
const SAMPLE_LEN: usize = 64;

impl Worker {
    /// Ends a connection at once: nothing more is read or written.
    pub fn close(&mut self, slot: Slot) {
        let Some(mut connection) = self.connections.remove(slot) else { return };
        self.forget_deadline(slot, &connection);
        if connection.paused {
            self.paused.retain(|other| *other != slot);
        }
        if connection.session.long_reply.is_some() {
            self.unfinished.retain(|other| *other != slot);
        }
        // It fails only if it was never added.
        let _ = self.poller.remove(&connection.socket);
        self.engine.disconnect(&mut connection.session);
        self.seat.worker.stats.connections.add(u64::MAX);
        self.recount(connection.counted, Held::default());
        self.inbox.connection_left();
    }

    pub fn close_logged(&mut self, slot: Slot, what: &str) {
        self.log_client(slot, what);
        self.close(slot);
    }

    /// The peer sends no more. It may still read what waits for it; if not, the next write will tell.
    pub fn close_when_written(&mut self, slot: Slot, what: &str) {
        self.log_client(slot, what);
        match self.connections.at(slot) {
            Some(connection) if !connection.is_written() => connection.closing = true,
            _ => self.close(slot),
        }
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
        let sample =
            if self.seat.config.hide_user_data_from_log { "*redacted*".into() } else { escape(sample) };
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
        let now = self.seat.worker.now;
        self.connections.at(slot).map_or_else(String::new, |connection| connection.describe(now))
    }
}
