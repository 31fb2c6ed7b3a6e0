//! Who listens to which channel. Messages go to the listeners' workers; nothing is kept for those absent.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base::alloc::size_class;
use base::glob::{Case, matches};
use base::num::parse_i64;
use base::sparse::shrink_sparse;
use parking_lot::RwLock;
use resp::reply::{Protocol, Reply};

use crate::clients::Client;
use crate::config::Config;
use crate::effects::KeyEvent;
use crate::engine::Engine;
use crate::notify::class;
use crate::session::Session;

pub type Listener = Arc<Client>;
type Channels = HashMap<Box<[u8]>, Vec<Listener>>;

/// What a client subscribes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Channel,
    Pattern,
    Shard,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Channel, Kind::Shard, Kind::Pattern];

    /// The first word of a message that came by such a subscription.
    fn message_word(self) -> &'static [u8] {
        match self {
            Kind::Channel => b"message",
            Kind::Pattern => b"pmessage",
            Kind::Shard => b"smessage",
        }
    }
}

#[derive(Default)]
pub struct PubSub {
    /// All subscriptions together: publishing with none costs one load.
    count: AtomicUsize,
    /// Of its maps, but their lists' listeners.
    bytes: AtomicUsize,
    pub channels: RwLock<Channels>,
    pub patterns: RwLock<Channels>,
    pub shard_channels: RwLock<Channels>,
}

impl PubSub {
    pub fn map(&self, kind: Kind) -> &RwLock<Channels> {
        match kind {
            Kind::Channel => &self.channels,
            Kind::Pattern => &self.patterns,
            Kind::Shard => &self.shard_channels,
        }
    }

    /// The listener had not subscribed.
    fn add(&self, kind: Kind, name: &[u8], listener: Listener) {
        listener.enter_name(channel_len(name));
        let listeners = &mut *self.map(kind).write();
        let listeners = listeners.entry(name.into()).or_insert_with(|| {
            self.bytes.fetch_add(channel_len(name), Ordering::Relaxed);
            Vec::new()
        });
        listeners.push(listener);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// The listener had subscribed.
    fn remove(&self, kind: Kind, name: &[u8], listener: &Listener) {
        listener.strike_name(channel_len(name));
        let mut map = self.map(kind).write();
        let listeners = map.get_mut(name).expect("a session's subscriptions are in the registry");
        let place = listeners.iter().position(|other| Arc::ptr_eq(other, listener));
        let place = place.expect("it is among its listeners");
        listeners.swap_remove(place);
        if listeners.is_empty() {
            map.remove(name);
            shrink_sparse(&mut map);
            self.bytes.fetch_sub(channel_len(name), Ordering::Relaxed);
        }
        self.count.fetch_sub(1, Ordering::Relaxed);
    }

    /// For a listener that is no session, and had not subscribed.
    pub fn subscribe_pattern(&self, pattern: &[u8], listener: Listener) {
        self.add(Kind::Pattern, pattern, listener);
    }

    #[inline]
    pub fn any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Bytes of the names, once for all listeners.
    pub fn memory(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Memory of a name that is listened to: its place in the map with its share of spare ones, and a list's
/// least room.
fn channel_len(name: &[u8]) -> usize {
    size_class(name.len()) + CHANNEL_LEN
}

const CHANNEL_LEN: usize = 88;

/// Memory of a subscription: the listener's own name of it, in a node, and its place in the list.
fn subscription_len(name: &[u8]) -> usize {
    size_class(name.len()) + SUBSCRIPTION_LEN
}

const SUBSCRIPTION_LEN: usize = 44;

impl Engine {
    /// Does nothing if it is subscribed already.
    pub fn subscribe(&self, session: &mut Session, kind: Kind, name: &[u8]) {
        if session.names_mut(kind).insert(name.into()) {
            self.pubsub.add(kind, name, Arc::clone(&session.client));
            session.subscription_bytes += subscription_len(name);
            session.show_subscriptions();
        }
    }

    /// Does nothing if it is not subscribed.
    pub fn unsubscribe(&self, session: &mut Session, kind: Kind, name: &[u8]) {
        if session.names_mut(kind).remove(name) {
            self.pubsub.remove(kind, name, &session.client);
            session.subscription_bytes -= subscription_len(name);
            session.unsubscribed = true;
            session.show_subscriptions();
        }
    }

    pub fn unsubscribe_all(&self, session: &mut Session) {
        for kind in Kind::ALL {
            while let Some(name) = session.names(kind).first().cloned() {
                self.unsubscribe(session, kind, &name);
            }
        }
    }
}

impl Session {
    /// Whether a message posted to this client still has its subscription. A RESP2 client that has left its
    /// last channel would take a late message for a reply.
    #[inline]
    pub fn wants(&self, message: &[u8]) -> bool {
        !self.unsubscribed || self.is_subscribed_to(message)
    }

    #[cold]
    fn is_subscribed_to(&self, message: &[u8]) -> bool {
        let parts = first_bulk(message).and_then(|(word, rest)| Some((word, first_bulk(rest)?.0)));
        let Some((word, name)) = parts else { return true };
        match Kind::ALL.into_iter().find(|kind| kind.message_word() == word) {
            Some(kind) => self.names(kind).contains(name),
            None => true,
        }
    }
}

/// The first bulk of a message, and what follows it.
fn first_bulk(message: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = message.iter().position(|byte| *byte == b'$')? + 1;
    let end = start + message[start..].iter().position(|byte| *byte == b'\r')?;
    let len = usize::try_from(parse_i64(&message[start..end])?).ok()?;
    Some((message.get(end + 2..end + 2 + len)?, message.get(end + 4 + len..)?))
}

impl Engine {
    /// Sends a message to all who listen; how many that were.
    pub fn publish(&self, channel: &[u8], payload: &[u8]) -> usize {
        if !self.pubsub.any() {
            return 0;
        }
        self.publish_to_channel(Kind::Channel, channel, payload) + self.publish_to_patterns(channel, payload)
    }

    /// Sends a message to those who listen to a shard channel; patterns do not apply to these.
    pub fn publish_to_shard(&self, channel: &[u8], payload: &[u8]) -> usize {
        self.publish_to_channel(Kind::Shard, channel, payload)
    }

    fn publish_to_channel(&self, kind: Kind, channel: &[u8], payload: &[u8]) -> usize {
        let channels = self.pubsub.map(kind).read();
        let Some(listeners) = channels.get(channel) else { return 0 };
        let message = message(&[kind.message_word(), channel, payload]);
        self.deliver(listeners, &message);
        listeners.len()
    }

    fn publish_to_patterns(&self, channel: &[u8], payload: &[u8]) -> usize {
        let patterns = self.pubsub.patterns.read();
        let mut count = 0;
        for (pattern, listeners) in patterns.iter() {
            if matches(pattern, channel, Case::Sensitive) {
                let message = message(&[Kind::Pattern.message_word(), pattern, channel, payload]);
                self.deliver(listeners, &message);
                count += listeners.len();
            }
        }
        count
    }

    fn deliver(&self, listeners: &[Listener], message: &Arc<Vec<u8>>) {
        listeners.iter().for_each(|client| self.push(client, message));
    }

    /// Publishes a command's keyspace events, in their order.
    #[cold]
    pub(crate) fn publish_events(&self, config: &Config, events: &[KeyEvent]) {
        let classes = config.notify_keyspace_events;
        for event in events {
            let db = event.db.0;
            if classes & class::KEYSPACE != 0 {
                let mut channel = format!("__keyspace@{db}__:").into_bytes();
                channel.extend_from_slice(&event.key);
                self.publish(&channel, event.name.as_bytes());
            }
            if classes & class::KEYEVENT != 0 {
                self.publish(format!("__keyevent@{db}__:{}", event.name).as_bytes(), &event.key);
            }
        }
    }
}

/// A push of bulks, as RESP3 writes it; for RESP2 its first byte is changed on delivery.
pub fn message(parts: &[&[u8]]) -> Arc<Vec<u8>> {
    let mut reply = Reply::new(Protocol::Resp3);
    reply.push(parts.len());
    parts.iter().for_each(|part| reply.bulk(part));
    Arc::new(reply.buf)
}
