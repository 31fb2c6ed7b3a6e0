//! Readiness of descriptors: the seam behind which the operating system's poll lies. Edge-triggered: who is
//! told that a socket is readable reads until a short read. Never reads or writes a socket itself.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

/// What a readiness belongs to: the slot of a connection, a listener, or the inbox.
pub type Key = usize;

/// The inbox has messages.
pub const WAKE: Key = usize::MAX;

/// One descriptor's news.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    pub key: Key,
    pub readable: bool,
    pub writable: bool,
    /// The peer sends no more: what is left must be read up to the end.
    pub ended: bool,
    /// Both directions are gone.
    pub broken: bool,
}

impl Ready {
    /// For a descriptor that may have more to read than was reported.
    pub fn to_read(key: Key) -> Ready {
        Ready { key, readable: true, writable: false, ended: false, broken: false }
    }
}

pub struct Poller {
    poll: Poll,
    events: Events,
}

/// Descriptors reported by one wait at most; the others follow with the next.
const EVENTS: usize = 1024;

impl Poller {
    pub fn new() -> io::Result<Poller> {
        Ok(Poller { poll: Poll::new()?, events: Events::with_capacity(EVENTS) })
    }

    /// Lets other threads end a wait.
    pub fn waker(&self) -> io::Result<Waker> {
        Waker::new(self.poll.registry(), Token(WAKE))
    }

    pub fn add(&self, socket: impl AsFd, key: Key) -> io::Result<()> {
        let descriptor = socket.as_fd().as_raw_fd();
        self.poll.registry().register(&mut SourceFd(&descriptor), Token(key), Interest::READABLE)
    }

    /// Asks for readability, and for writability if `write`. What is ready already is reported again.
    pub fn change(&self, socket: impl AsFd, key: Key, write: bool) -> io::Result<()> {
        let descriptor = socket.as_fd().as_raw_fd();
        let interest = if write { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        self.poll.registry().reregister(&mut SourceFd(&descriptor), Token(key), interest)
    }

    pub fn remove(&self, socket: impl AsFd) -> io::Result<()> {
        let descriptor = socket.as_fd().as_raw_fd();
        self.poll.registry().deregister(&mut SourceFd(&descriptor))
    }

    /// Waits until something is ready or the time is over, and appends what is.
    pub fn wait(&mut self, timeout: Duration, ready: &mut Vec<Ready>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        ready.extend(self.events.iter().map(|event| Ready {
            key: event.token().0,
            readable: event.is_readable(),
            writable: event.is_writable(),
            ended: event.is_read_closed(),
            broken: event.is_error() || (event.is_read_closed() && event.is_write_closed()),
        }));
        Ok(())
    }
}
