//! Telling clients that their copies are void: collected while a request runs, sent when its shards are
//! unlocked and its reply is written. Never waits for a client.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use base::limits;
use resp::reply::{Protocol, Reply};

use super::keys::TrackedKeys;
use super::mode;
use super::prefixes::Prefixes;
use crate::args::shared_size;
use crate::clients::{Client, ClientId};
use crate::engine::{Engine, WorkerSeat};
use crate::host::Event;
use crate::pipeline::Outcome;
use crate::registry::Registered;
use crate::session::Session;

/// What is to be told, and has not been yet. Nothing is lost if it stays for a while, as who reads a key
/// meanwhile is told once too often at most.
#[derive(Default)]
pub struct Invalidations {
    messages: Vec<Invalidation>,
    /// Keys that some prefix covers, each with the client that changed it last.
    changed: BTreeMap<Box<[u8]>, ClientId>,
    changed_len: usize,
    /// Freed when no lock is held.
    garbage: Vec<TrackedKeys>,
}

struct Invalidation {
    client: ClientId,
    /// An array of one name as it goes over the wire; empty: all keys.
    keys: Arc<Vec<u8>>,
    /// Bytes that go when it is delivered.
    memory: usize,
    /// The client changed the key itself.
    own: bool,
}

/// Messages for which room is kept.
const MESSAGES_KEPT: usize = 32;

/// Bytes of a key that waits to be broadcast beyond its name.
const CHANGED_LEN: usize = 48;

impl Invalidations {
    /// Whether something waits that must not wait for the end of the batch.
    #[inline]
    pub fn are_due(&self) -> bool {
        !self.messages.is_empty()
            || !self.garbage.is_empty()
            || self.changed_len > limits::TRACKING_BROADCAST_LEN
    }

    /// Gives back the room that many messages have left.
    pub(crate) fn shrink(&mut self) {
        self.messages.shrink_to(MESSAGES_KEPT);
    }

    pub(super) fn add(&mut self, key: &[u8], holders: &[ClientId], writer: ClientId) {
        let keys = names(&[key]);
        let memory = part(&keys, holders.len());
        let messages = holders.iter().map(|&client| Invalidation {
            client,
            keys: Arc::clone(&keys),
            memory,
            own: client == writer,
        });
        self.messages.extend(messages);
    }

    pub(super) fn add_all_keys(&mut self, client: ClientId) {
        let memory = size_of::<Event>();
        self.messages.push(Invalidation { client, keys: Arc::default(), memory, own: false });
    }

    pub(super) fn free_later(&mut self, garbage: Vec<TrackedKeys>) {
        self.garbage = garbage;
    }

    pub(super) fn add_broadcast(&mut self, key: &[u8], writer: ClientId) {
        if self.changed.insert(key.into(), writer).is_none() {
            self.changed_len += key.len() + CHANGED_LEN;
        }
    }
}

/// The array of names that a message carries.
fn names(keys: &[&[u8]]) -> Arc<Vec<u8>> {
    let mut reply = Reply::default();
    reply.array(keys.len());
    keys.iter().for_each(|key| reply.bulk(key));
    Arc::new(reply.buf)
}

/// What one of so many messages takes that share their text.
fn part(keys: &Arc<Vec<u8>>, messages: usize) -> usize {
    size_of::<Event>() + shared_size(keys) / messages.max(1)
}

/// The session whose request has just been answered, and where its replies go.
type Own<'a> = (&'a Session, &'a mut Reply);

impl Engine {
    /// After a request and its reply: CLIENT CACHING is over, and who has to be told of changes is.
    #[cold]
    pub(crate) fn settle_tracking(
        &self,
        seat: &mut WorkerSeat,
        session: &Session,
        command: Option<&Registered>,
        outcome: Outcome,
        reply: &mut Reply,
    ) {
        let answered = outcome.is_answered();
        let is_client = command.is_some_and(|command| command.full_name.starts_with("client|"));
        if answered && !is_client && !session.in_multi() {
            session.client.tracking.end_caching();
        }
        let waiting = &mut seat.effects.invalidated;
        self.send_messages(waiting, Some((session, reply)));
        if waiting.are_due() {
            self.send_broadcasts(waiting);
        }
    }

    /// Tells who follows prefixes what a batch has changed: before its replies go out, so that whoever has
    /// heard of a change can count on that.
    #[inline]
    pub fn broadcast(&self, seat: &mut WorkerSeat) {
        if !seat.effects.invalidated.changed.is_empty() {
            self.send_broadcasts(&mut seat.effects.invalidated);
        }
    }

    /// Sends all that waits, on behalf of nobody.
    pub(crate) fn send_invalidations(&self, waiting: &mut Invalidations) {
        self.send_messages(waiting, None);
        self.send_broadcasts(waiting);
    }

    pub(crate) fn send_messages(&self, waiting: &mut Invalidations, mut own: Option<Own<'_>>) {
        waiting.garbage.clear();
        for message in waiting.messages.drain(..) {
            let Some(client) = self.clients.find(message.client) else { continue };
            let modes = client.tracking.modes();
            // Keys that were read before the client went over to prefixes are none of its business any more.
            let stale = modes & mode::BROADCAST != 0 && !message.keys.is_empty();
            let looped = message.own && modes & mode::NO_LOOP != 0;
            if modes & mode::ON != 0 && !stale && !looped {
                self.send(&client, message.keys, message.memory, &mut own);
            }
        }
    }

    /// Sends to a client, or to whom it redirects.
    fn send(&self, origin: &Arc<Client>, keys: Arc<Vec<u8>>, memory: usize, own: &mut Option<Own<'_>>) {
        let target = match origin.tracking.redirect() {
            None => Arc::clone(origin),
            Some(redirect) => match self.clients.find(redirect) {
                Some(target) => target,
                None => return self.redirection_broke(origin, redirect),
            },
        };
        match own {
            // Into the middle of a reply that goes out in pieces nothing may be put.
            Some((session, reply)) if session.client.id == target.id && session.long_reply.is_none() => {
                let redirected = target.id != origin.id;
                if let Some(head) = session.invalidation_head(redirected, keys.is_empty()) {
                    reply.buf.extend_from_slice(head);
                    reply.buf.extend_from_slice(&keys);
                }
            }
            _ => {
                let len = keys.len();
                let event = Event::Invalidate { client: target.id, origin: origin.id, keys, memory };
                // Before it may be delivered.
                self.memory.tell(memory as i64);
                if !self.post_message(&target, len, event) {
                    self.memory.tell(-(memory as i64));
                }
            }
        }
    }

    /// A message came to nobody, because its client is gone.
    pub fn invalidation_was_lost(&self, target: ClientId, origin: ClientId) {
        if let Some(origin) = self.clients.find(origin) {
            self.redirection_broke(&origin, target);
        }
    }

    fn redirection_broke(&self, origin: &Client, target: ClientId) {
        if origin.tracking.redirect() != Some(target) {
            return;
        }
        origin.tracking.broken.store(true, Ordering::Relaxed);
        if origin.protocol.load(Ordering::Relaxed) == 3 {
            self.push(origin, &broken(target));
        }
    }

    #[cold]
    fn send_broadcasts(&self, waiting: &mut Invalidations) {
        waiting.changed_len = 0;
        let changed = std::mem::take(&mut waiting.changed);
        let prefixes = self.tracking.prefixes.read();
        for (prefix, changes) in by_prefix(&prefixes, &changed) {
            let all = names(&changes.iter().map(|(key, _)| *key).collect::<Vec<_>>());
            let followers = prefixes.followers(prefix);
            let of_all = part(&all, followers.len());
            for follower in followers {
                let Some(client) = self.clients.find(*follower) else { continue };
                let keys = match client.tracking.modes() & mode::NO_LOOP {
                    0 => Some((Arc::clone(&all), of_all)),
                    _ => names_of_others(&changes, *follower).map(|keys| {
                        let memory = part(&keys, 1);
                        (keys, memory)
                    }),
                };
                if let Some((keys, memory)) = keys {
                    self.send(&client, keys, memory, &mut None);
                }
            }
        }
    }
}

/// A key that changed, and who changed it last.
type Change<'a> = (&'a [u8], ClientId);

fn by_prefix<'a>(
    prefixes: &'a Prefixes,
    changed: &'a BTreeMap<Box<[u8]>, ClientId>,
) -> BTreeMap<&'a [u8], Vec<Change<'a>>> {
    let mut groups: BTreeMap<&[u8], Vec<Change<'a>>> = BTreeMap::new();
    for (key, writer) in changed {
        for prefix in prefixes.of(key) {
            groups.entry(prefix).or_default().push((key, *writer));
        }
    }
    groups
}

/// The keys that somebody else than this client has changed, if there are any.
fn names_of_others(changes: &[Change<'_>], client: ClientId) -> Option<Arc<Vec<u8>>> {
    let others = changes.iter().filter(|(_, writer)| *writer != client);
    let keys: Vec<&[u8]> = others.map(|(key, _)| *key).collect();
    (!keys.is_empty()).then(|| names(&keys))
}

/// The message to a client whose redirection leads nowhere.
fn broken(target: ClientId) -> Arc<Vec<u8>> {
    let mut reply = Reply::new(Protocol::Resp3);
    reply.push(2);
    reply.bulk(b"tracking-redir-broken");
    reply.integer(target.0 as i64);
    Arc::new(reply.buf)
}

impl Session {
    /// How a message about keys begins for this client; their names follow, or nothing if it is about all.
    /// `None`: the client cannot take it. In RESP2 it comes as a published message, to a redirection only.
    pub fn invalidation_head(&self, redirected: bool, all_keys: bool) -> Option<&'static [u8]> {
        match self.protocol {
            Protocol::Resp3 if redirected || self.client.tracking.is_on() => Some(match all_keys {
                false => b">2\r\n$10\r\ninvalidate\r\n",
                true => b">2\r\n$10\r\ninvalidate\r\n_\r\n",
            }),
            Protocol::Resp2 if redirected && self.subscriptions() > 0 => Some(match all_keys {
                false => b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n",
                true => b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n$-1\r\n",
            }),
            _ => None,
        }
    }
}
