//! Messages on their way to clients: what is no reply. A worker that is kept does not hear of them, so what
//! may be on the way to one client is bounded here, as what waits in its output is bounded there.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::clients::{Client, flag};
use crate::config::{ClientClass, Config};
use crate::engine::Engine;
use crate::host::Event;

impl Engine {
    /// Sends a message outside of request and reply.
    pub(crate) fn push(&self, client: &Client, message: &Arc<Vec<u8>>) {
        let event = Event::Push { client: client.id, message: Arc::clone(message) };
        self.post_message(client, message.len(), event);
    }

    /// Sends an event that brings a client so many bytes; its worker counts them off. False if it must not
    /// have more.
    pub(crate) fn post_message(&self, client: &Client, len: usize, event: Event) -> bool {
        if client.killed.load(Ordering::Relaxed) {
            return false;
        }
        let posted = client.posted_bytes.fetch_add(len, Ordering::Relaxed) + len;
        if posted > POSTED_FREELY && posted as u64 >= most(client, &self.config()) {
            self.end_overwhelmed(client);
            return false;
        }
        self.host.post(client.worker, event);
        true
    }

    #[cold]
    fn end_overwhelmed(&self, client: &Client) {
        if !client.killed.swap(true, Ordering::Relaxed) {
            self.host.post(client.worker, Event::Overwhelmed { client: client.id });
        }
    }
}

/// Bytes that may be on their way to a client: as many as may wait for it, or as all clients may hold.
fn most(client: &Client, config: &Config) -> u64 {
    let class = if client.has_flag(flag::MONITOR) { ClientClass::Normal } else { ClientClass::Pubsub };
    let may_be_evicted = !client.no_evict.load(Ordering::Relaxed);
    match (config.output_limit(class).hard_bytes, config.clients_limit()) {
        (0, limit) if limit > 0 && may_be_evicted => limit,
        (0, _) => u64::MAX,
        (limit, _) => limit,
    }
}

/// With so little on the way limits are not looked at.
const POSTED_FREELY: usize = 64 << 10;
