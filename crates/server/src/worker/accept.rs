//! Accepting connections: who may stay, and which worker serves whom. Runs in the worker that has the
//! listeners.

use std::io;
use std::sync::atomic::Ordering;

use base::time::UnixMs;
use engine::host::Level;
use rustix::io::Errno;

use super::Worker;
use crate::inbox::Message;
use crate::listener::{Listener, NewConnection};
use crate::poll::{Key, LISTENER, Poller};

/// How long connections are accepted in one tick: those that are open want their turn.
const ACCEPT_NS: u64 = 500_000;
/// Connections accepted between two looks at the clock.
const ACCEPTS_PER_LOOK: usize = 16;

/// How long a lack of descriptors is waited out.
const BACK_OFF_MS: i64 = 100;

/// The listeners and what is known of them.
pub struct Acceptor {
    listeners: Vec<Waiting>,
    /// No descriptor was left: not before this time again.
    blocked_until: UnixMs,
    warned: UnixMs,
    /// Where the search for the worker with the fewest connections begins.
    turn: usize,
    /// Keys are never used twice.
    next_key: Key,
}

struct Waiting {
    listener: Listener,
    key: Key,
    /// Somebody may be waiting.
    ready: bool,
}

impl Acceptor {
    pub fn new(listeners: Vec<Listener>, poller: &Poller) -> io::Result<Acceptor> {
        let never = UnixMs(0);
        let mut acceptor = Acceptor {
            listeners: Vec::new(),
            blocked_until: never,
            warned: never,
            turn: 0,
            next_key: LISTENER,
        };
        for listener in listeners {
            acceptor.add(listener, poller)?;
        }
        Ok(acceptor)
    }

    fn add(&mut self, listener: Listener, poller: &Poller) -> io::Result<()> {
        let key = self.next_key;
        self.next_key += 1;
        poller.add(&listener, key)?;
        self.listeners.push(Waiting { listener, key, ready: false });
        Ok(())
    }

    pub fn ready(&mut self, key: Key) {
        self.listeners
            .iter_mut()
            .filter(|waiting| waiting.key == key)
            .for_each(|waiting| waiting.ready = true);
    }

    /// Somebody may be waiting who can be accepted now.
    pub fn is_waiting(&self, now: UnixMs) -> bool {
        now >= self.blocked_until && self.listeners.iter().any(|waiting| waiting.ready)
    }

    /// The next one who waits at any listener.
    fn next(&mut self) -> Option<io::Result<NewConnection>> {
        for waiting in self.listeners.iter_mut().filter(|waiting| waiting.ready) {
            match waiting.listener.accept() {
                // The latter when the process ends.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::InvalidInput) =>
                {
                    waiting.ready = false;
                }
                result => return Some(result),
            }
        }
        None
    }
}

impl Worker {
    /// Accepts those who wait.
    #[inline]
    pub fn accept(&mut self) {
        if self.acceptor.is_waiting(self.seat.worker.now) {
            self.accept_some();
        }
    }

    #[inline(never)]
    fn accept_some(&mut self) {
        let end = self.engine.host.monotonic_ns() + ACCEPT_NS;
        while self.accept_few() && self.engine.host.monotonic_ns() < end {}
    }

    /// False if there are no more.
    fn accept_few(&mut self) -> bool {
        for _ in 0..ACCEPTS_PER_LOOK {
            match self.acceptor.next() {
                None => return false,
                Some(Ok(connection)) => self.judge(connection),
                Some(Err(error)) if exhausted(&error) => {
                    self.back_off(&error);
                    return false;
                }
                // The one who waited has gone; the next may be there.
                Some(Err(error)) => self.log_accept_error(&error),
            }
        }
        true
    }

    fn back_off(&mut self, error: &io::Error) {
        let now = self.seat.worker.now;
        self.acceptor.blocked_until = now.saturating_add(BACK_OFF_MS);
        self.log_accept_error(error);
    }

    /// At most once in a second.
    fn log_accept_error(&mut self, error: &io::Error) {
        let now = self.seat.worker.now;
        if now.since(self.acceptor.warned) >= 1000 {
            self.acceptor.warned = now;
            self.engine.host.log(Level::Warning, &format!("Accepting client connection: accept: {error}"));
        }
    }

    /// Turns a connection away, or gives it to a worker.
    fn judge(&mut self, connection: NewConnection) {
        if self.logs(Level::Verbose) {
            let (word, place) = match connection.unix {
                true => ("connection to", connection.local.trim_end_matches(":0")),
                false => ("", connection.peer.as_str()),
            };
            let line = format!("Accepted {word}{}{place}", if word.is_empty() { "" } else { " " });
            self.engine.host.log(Level::Verbose, &line);
        }
        let config = &self.seat.config;
        let clients: usize = self.peers.iter().map(|peer| peer.connections()).sum();
        if clients as i64 >= config.maxclients {
            return self.turn_away(&connection, "-ERR max number of clients reached\r\n");
        }
        if config.protected_mode && config.requirepass.is_empty() && !connection.loopback {
            return self.turn_away(&connection, PROTECTED);
        }
        connection.set_options(config);
        self.engine.connections_received.fetch_add(1, Ordering::Relaxed);
        self.hand_over(connection);
    }

    fn turn_away(&mut self, connection: &NewConnection, text: &str) {
        // As far as it goes: the peer learns of the end in any case.
        let _ = rustix::io::write(&connection.socket, text.as_bytes());
        self.engine.rejected_connections.fetch_add(1, Ordering::Relaxed);
    }

    /// To the worker with the fewest connections; among equals they take turns.
    fn hand_over(&mut self, connection: NewConnection) {
        let workers = self.peers.len();
        let turns = (0..workers).map(|step| (self.acceptor.turn + step) % workers);
        let chosen = turns.min_by_key(|worker| self.peers[*worker].connections()).unwrap_or(0);
        self.acceptor.turn = chosen + 1;
        let inbox = &self.peers[chosen];
        inbox.connection_came();
        if chosen == usize::from(self.seat.worker.id.0) {
            self.begin(connection);
        } else {
            inbox.post(Message::Connection(connection));
        }
    }

    /// Takes these in place of all TCP listeners.
    pub fn replace_listeners(&mut self, listeners: Vec<Listener>) {
        let old = std::mem::take(&mut self.acceptor.listeners);
        let (kept, dropped): (Vec<_>, Vec<_>) =
            old.into_iter().partition(|waiting| waiting.listener.is_unix());
        self.acceptor.listeners = kept;
        for waiting in dropped {
            let _ = self.poller.remove(&waiting.listener);
        }
        for listener in listeners.into_iter().filter(|listener| !listener.is_unix()) {
            if let Err(error) = self.acceptor.add(listener, &self.poller) {
                self.engine.host.log(Level::Warning, &format!("Listening failed: {error}"));
            }
        }
    }
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
