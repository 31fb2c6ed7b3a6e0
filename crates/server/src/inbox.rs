//! What other threads have for one that polls: for a worker events for its clients, connections, the order to
//! stop. Posting never waits for the reader, and wakes it once for all that it has not yet taken.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use engine::host::Event;
use mio::Waker;
use store::sync::Mutex;

use crate::listener::NewConnection;
use crate::poll::Poller;

pub enum Message {
    Event(Event),
    Connection(NewConnection),
    /// Write what can be written at once, close everything, return.
    Stop,
}

pub struct Inbox<M = Message> {
    mailbox: Mailbox<M>,
    waker: Waker,
    /// The reader's poll loop, until the reader takes it.
    poller: Mutex<Option<Poller>>,
    /// Of a worker: its connections, with those on their way to it.
    connections: AtomicUsize,
    /// When it last turned to what had come; 0: it waits for more.
    busy_since_ns: AtomicU64,
}

/// A worker that has not looked for so long at what comes may not soon.
const HELD_UP_NS: u64 = 10_000_000;

/// Messages on their way to one reader.
struct Mailbox<T>(Mutex<State<T>>);

struct State<T> {
    messages: Vec<T>,
    /// The reader has been woken and has not looked yet.
    woken: bool,
}

impl<T> Mailbox<T> {
    fn new() -> Mailbox<T> {
        Mailbox(Mutex::new(State { messages: Vec::new(), woken: false }))
    }

    /// Adds a message; true if the caller must wake the reader.
    fn post(&self, message: T) -> bool {
        let mut state = self.0.lock();
        state.messages.push(message);
        !std::mem::replace(&mut state.woken, true)
    }

    /// Moves all messages into `messages`, which must be empty. The next post wakes again.
    fn take(&self, messages: &mut Vec<T>) {
        let mut state = self.0.lock();
        state.woken = false;
        std::mem::swap(&mut state.messages, messages);
    }
}

impl<M> Inbox<M> {
    pub fn new() -> io::Result<Inbox<M>> {
        let poller = Poller::new()?;
        Ok(Inbox {
            mailbox: Mailbox::new(),
            waker: poller.waker()?,
            poller: Mutex::new(Some(poller)),
            connections: AtomicUsize::new(0),
            busy_since_ns: AtomicU64::new(0),
        })
    }

    pub fn post(&self, message: M) {
        if self.mailbox.post(message) {
            // It fails only when the reader's poll loop is gone, and then nobody reads the message.
            let _ = self.waker.wake();
        }
    }

    /// Moves all messages into `messages`, which must be empty; its room serves the next ones.
    pub(crate) fn take(&self, messages: &mut Vec<M>) {
        self.mailbox.take(messages);
    }

    /// The poll loop, for the one reader it belongs to.
    pub(crate) fn take_poller(&self) -> Option<Poller> {
        self.poller.lock().take()
    }
}

impl Inbox {
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn connection_came(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn connection_left(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// The worker turns to what has come, at a time of the host's clock; 0: it waits for more.
    #[inline]
    pub(crate) fn mark_busy(&self, since_ns: u64) {
        self.busy_since_ns.store(since_ns, Ordering::Relaxed);
    }

    /// The worker is busy for long already: with a script, or whatever else takes its time.
    pub fn is_held_up(&self, now_ns: u64) -> bool {
        let since_ns = self.busy_since_ns.load(Ordering::Relaxed);
        since_ns != 0 && now_ns.saturating_sub(since_ns) >= HELD_UP_NS
    }
}

#[cfg(all(test, not(feature = "shuttle")))]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_message_arrives_and_wakes() {
        let inbox = Arc::new(Inbox::<Message>::new().expect("an epoll descriptor"));
        let mut poller = inbox.take_poller().expect("not taken yet");
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let inbox = Arc::clone(&inbox);
                std::thread::spawn(move || (0..1000).for_each(|_| inbox.post(Message::Stop)))
            })
            .collect();
        let (mut seen, mut ready, mut messages) = (0, Vec::new(), Vec::new());
        while seen < 4000 {
            ready.clear();
            poller.wait(Duration::from_secs(60), &mut ready).expect("wait");
            assert!(!ready.is_empty(), "messages were posted, and nobody was woken");
            inbox.take(&mut messages);
            seen += messages.drain(..).count();
        }
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    }
}

/// `cargo test -p server --features shuttle schedules`: a scheduler chooses every step.
#[cfg(all(test, feature = "shuttle"))]
mod schedules {
    use std::sync::Arc;

    use shuttle::sync::atomic::{AtomicUsize, Ordering};
    use shuttle::thread;

    use super::*;

    const POSTERS: usize = 3;
    const MESSAGES: usize = 3;

    /// A reader that looks only when it was woken misses nothing.
    fn run() {
        let mailbox = Arc::new(Mailbox::new());
        let wakes = Arc::new(AtomicUsize::new(0));
        let posters: Vec<_> = (0..POSTERS)
            .map(|poster| {
                let (mailbox, wakes) = (Arc::clone(&mailbox), Arc::clone(&wakes));
                thread::spawn(move || {
                    for message in 0..MESSAGES {
                        if mailbox.post((poster, message)) {
                            wakes.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                })
            })
            .collect();
        let (mut seen, mut batch) = (Vec::new(), Vec::new());
        while seen.len() < POSTERS * MESSAGES {
            if wakes.swap(0, Ordering::SeqCst) == 0 {
                thread::yield_now();
                continue;
            }
            mailbox.take(&mut batch);
            seen.append(&mut batch);
        }
        posters.into_iter().for_each(|poster| poster.join().expect("no panic"));
        for poster in 0..POSTERS {
            let own: Vec<usize> =
                seen.iter().filter(|(from, _)| *from == poster).map(|(_, at)| *at).collect();
            assert_eq!(own, (0..MESSAGES).collect::<Vec<_>>(), "each poster's messages keep their order");
        }
    }

    #[test]
    fn no_wake_up_is_lost() {
        shuttle::check_random(run, 20_000);
    }
}
