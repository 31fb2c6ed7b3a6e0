//! What other threads have for a worker: events for its clients, connections, the order to stop. Posting
//! never waits for the worker, and wakes it once for all that it has not yet taken.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use engine::host::Event;
use mio::Waker;
use parking_lot::Mutex;

use crate::listener::{Listener, NewConnection};
use crate::poll::Poller;

pub enum Message {
    Event(Event),
    Connection(NewConnection),
    /// Takes the place of all TCP listeners: the port or the addresses were changed.
    Listeners(Vec<Listener>),
    /// Write what can be written at once, close everything, return.
    Stop,
}

pub struct Inbox {
    state: Mutex<State>,
    waker: Waker,
    /// The worker's poll loop, until the worker takes it.
    poller: Mutex<Option<Poller>>,
    connections: AtomicUsize,
}

#[derive(Default)]
struct State {
    messages: Vec<Message>,
    /// The worker has been woken and has not looked yet.
    woken: bool,
}

impl Inbox {
    pub fn new() -> io::Result<Inbox> {
        let poller = Poller::new()?;
        Ok(Inbox {
            state: Mutex::default(),
            waker: poller.waker()?,
            poller: Mutex::new(Some(poller)),
            connections: AtomicUsize::new(0),
        })
    }

    pub fn post(&self, message: Message) {
        let mut state = self.state.lock();
        state.messages.push(message);
        let wake = !state.woken;
        state.woken = true;
        drop(state);
        if wake {
            // It fails only when the worker's poll loop is gone, and then nobody reads the message.
            let _ = self.waker.wake();
        }
    }

    /// Connections of this worker, with those on their way to it.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn connection_came(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn connection_left(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// Moves all messages into `messages`, which must be empty; its room serves the next ones.
    pub(crate) fn take(&self, messages: &mut Vec<Message>) {
        let mut state = self.state.lock();
        state.woken = false;
        std::mem::swap(&mut state.messages, messages);
    }

    /// The poll loop, for the one worker it belongs to.
    pub(crate) fn take_poller(&self) -> Option<Poller> {
        self.poller.lock().take()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_message_arrives_and_wakes() {
        let inbox = Arc::new(Inbox::new().expect("an epoll descriptor"));
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
