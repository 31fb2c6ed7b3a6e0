//! The thread that accepts connections: who may stay, and which worker serves whom. It does nothing else, so
//! that nobody waits at the door for a worker that is busy, and never reads what a connection sends.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use engine::Engine;
use engine::config::LogLevel;
use engine::host::Level;
use rustix::io::Errno;

use crate::inbox::{Inbox, Message};
use crate::listener::{Listener, NewConnection};
use crate::poll::{Key, Poller, WAKE};

/// What others have for the thread.
pub enum Order {
    /// Takes the place of all TCP listeners: the port or the addresses were changed.
    Listeners(Vec<Listener>),
    /// Close the listeners, return.
    Stop,
}

/// Connections accepted at one listener before the others get their turn.
const ACCEPTS_AT_ONCE: usize = 16;

/// How long a lack of descriptors is waited out.
const BACK_OFF_NS: u64 = 100_000_000;
/// Failures are logged once in so long a time.
const WARN_EVERY_NS: u64 = 1_000_000_000;
/// How long the thread waits if nothing is due; whoever wants something wakes it.
const WAIT: Duration = Duration::from_secs(3600);

/// Accepts until `Order::Stop`. An error means that the poll loop itself failed: the process cannot go on.
pub fn run(
    engine: Arc<Engine>,
    orders: &Inbox<Order>,
    workers: Arc<[Arc<Inbox>]>,
    listeners: Vec<Listener>,
) -> io::Result<()> {
    let poller = orders.take_poller().ok_or_else(|| io::Error::other("somebody accepts already"))?;
    let mut acceptor = Acceptor {
        engine,
        workers,
        poller,
        listeners: Vec::new(),
        next_key: 0,
        turn: 0,
        blocked_until_ns: 0,
        warned_ns: None,
    };
    for listener in listeners {
        acceptor.add(listener)?;
    }
    let (mut news, mut received) = (Vec::new(), Vec::new());
    loop {
        acceptor.poller.wait(acceptor.timeout(), &mut news)?;
        for news in news.drain(..).filter(|news| news.key != WAKE) {
            acceptor.note_ready(news.key);
        }
        orders.take(&mut received);
        for order in received.drain(..) {
            match order {
                Order::Listeners(listeners) => acceptor.replace(listeners),
                Order::Stop => return Ok(()),
            }
        }
        acceptor.accept();
    }
}

struct Acceptor {
    engine: Arc<Engine>,
    workers: Arc<[Arc<Inbox>]>,
    poller: Poller,
    listeners: Vec<Waiting>,
    /// Keys are never used twice.
    next_key: Key,
    /// Where the search for a worker begins.
    turn: usize,
    /// No descriptor was left: not before this time again.
    blocked_until_ns: u64,
    warned_ns: Option<u64>,
}

struct Waiting {
    listener: Listener,
    key: Key,
    /// Somebody may be waiting.
    ready: bool,
}

impl Acceptor {
    fn add(&mut self, listener: Listener) -> io::Result<()> {
        let key = self.next_key;
        self.next_key += 1;
        self.poller.add(&listener, key)?;
        self.listeners.push(Waiting { listener, key, ready: false });
        Ok(())
    }

    /// Takes these in place of all TCP listeners.
    fn replace(&mut self, listeners: Vec<Listener>) {
        let old = std::mem::take(&mut self.listeners);
        let (kept, dropped): (Vec<_>, Vec<_>) =
            old.into_iter().partition(|waiting| waiting.listener.is_unix());
        self.listeners = kept;
        for waiting in dropped {
            let _ = self.poller.remove(&waiting.listener);
        }
        for listener in listeners {
            if let Err(error) = self.add(listener) {
                self.engine.host.log(Level::Warning, &format!("Listening failed: {error}"));
            }
        }
    }

    fn note_ready(&mut self, key: Key) {
        self.listeners
            .iter_mut()
            .filter(|waiting| waiting.key == key)
            .for_each(|waiting| waiting.ready = true);
    }

    fn now_ns(&self) -> u64 {
        self.engine.host.monotonic_ns()
    }

    /// How long nothing is due.
    fn timeout(&self) -> Duration {
        match self.listeners.iter().any(|waiting| waiting.ready) {
            true => Duration::from_nanos(self.blocked_until_ns.saturating_sub(self.now_ns())),
            false => WAIT,
        }
    }

    /// Accepts some of those who wait.
    fn accept(&mut self) {
        for index in 0..self.listeners.len() {
            for _ in 0..ACCEPTS_AT_ONCE {
                if !self.listeners[index].ready || self.now_ns() < self.blocked_until_ns {
                    break;
                }
                self.accept_at(index);
            }
        }
    }

    fn accept_at(&mut self, index: usize) {
        let waiting = &mut self.listeners[index];
        match waiting.listener.accept() {
            Ok(connection) => self.judge(connection),
            // The latter when the process ends.
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::InvalidInput) => {
                waiting.ready = false;
            }
            Err(error) if exhausted(&error) => {
                self.blocked_until_ns = self.now_ns() + BACK_OFF_NS;
                self.log_error(&error);
            }
            // The one who waited has gone; the next may be there.
            Err(error) => self.log_error(&error),
        }
    }

    fn log_error(&mut self, error: &io::Error) {
        let now = self.now_ns();
        if self.warned_ns.is_none_or(|warned| now.saturating_sub(warned) >= WARN_EVERY_NS) {
            self.warned_ns = Some(now);
            self.engine.host.log(Level::Warning, &format!("Accepting client connection: accept: {error}"));
        }
    }

    /// Turns a connection away, or gives it to a worker.
    fn judge(&mut self, connection: NewConnection) {
        let config = self.engine.config();
        if matches!(config.loglevel, LogLevel::Debug | LogLevel::Verbose) {
            let (word, place) = match connection.unix {
                true => ("connection to", connection.local.trim_end_matches(":0")),
                false => ("", connection.peer.as_str()),
            };
            let line = format!("Accepted {word}{}{place}", if word.is_empty() { "" } else { " " });
            self.engine.host.log(Level::Verbose, &line);
        }
        let clients: usize = self.workers.iter().map(|worker| worker.connections()).sum();
        if clients as i64 >= config.maxclients {
            return self.turn_away(&connection, "-ERR max number of clients reached\r\n");
        }
        if config.protected_mode && config.requirepass.is_empty() && !connection.loopback {
            return self.turn_away(&connection, PROTECTED);
        }
        connection.set_options(&config);
        self.engine.connections_received.fetch_add(1, Ordering::Relaxed);
        self.hand_over(connection);
    }

    fn turn_away(&mut self, connection: &NewConnection, text: &str) {
        // As far as it goes: the peer learns of the end in any case.
        let _ = rustix::io::write(&connection.socket, text.as_bytes());
        self.engine.rejected_connections.fetch_add(1, Ordering::Relaxed);
    }

    fn hand_over(&mut self, connection: NewConnection) {
        let now_ns = self.now_ns();
        let state = |worker: &Arc<Inbox>| (worker.is_held_up(now_ns), worker.connections());
        let chosen = choose(self.turn, self.workers.iter().map(state));
        self.turn = chosen + 1;
        let inbox = &self.workers[chosen];
        inbox.connection_came();
        inbox.post(Message::Connection(connection));
    }
}

/// The worker for a new connection: of those that are not held up the one with the fewest connections; among
/// equals they take turns.
fn choose(turn: usize, workers: impl ExactSizeIterator<Item = (bool, usize)>) -> usize {
    let count = workers.len();
    let turns =
        workers.enumerate().map(|(index, state)| (state, (index + count - turn % count) % count, index));
    turns.min().map_or(0, |(_, _, index)| index)
}

/// The process or the machine has no descriptors or no memory for another connection.
fn exhausted(error: &io::Error) -> bool {
    let exhausted = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    error.raw_os_error().is_some_and(|code| exhausted.contains(&Errno::from_raw_os_error(code)))
}

const PROTECTED: &str = "\
    -DENIED Redis is running in protected mode because protected mode is enabled and no password is set \
    for the default user. In this mode connections are only accepted from the loopback interface. If you \
    want to connect from external computers to Redis you may adopt one of the following solutions: 1) Just \
    disable protected mode sending the command 'CONFIG SET protected-mode no' from the loopback interface \
    by connecting to Redis from the same host the server is running, however MAKE SURE Redis is not \
    publicly accessible from internet if you do so. Use CONFIG REWRITE to make this change permanent. 2) \
    Alternatively you can just disable the protected mode by editing the Redis configuration file, and \
    setting the protected mode option to 'no', and then restarting the server. 3) If you started the \
    server manually just for testing, restart it with the '--protected-mode no' option. 4) Setup a an \
    authentication password for the default user. NOTE: You only need to do one of the above things in \
    order for the server to start accepting connections from the outside.\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_serves_a_new_connection() {
        let check = |turn: usize, workers: &[(bool, usize)], expected: usize| {
            assert_eq!(choose(turn, workers.iter().copied()), expected, "{turn} {workers:?}");
        };
        check(0, &[(false, 3)], 0);
        check(1, &[(true, 3)], 0);
        check(0, &[(false, 3), (false, 2), (false, 2)], 1);
        check(2, &[(false, 3), (false, 2), (false, 2)], 2);
        check(3, &[(false, 2), (false, 2), (false, 2)], 0);
        check(0, &[(true, 0), (false, 9), (false, 8)], 2);
        check(2, &[(true, 1), (true, 0), (true, 1)], 1);
    }
}
