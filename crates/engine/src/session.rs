//! One client's conversation: what its next request depends on. Owned by its worker, never shared.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use resp::reply::Protocol;
use store::DbIndex;

use crate::ahead::Ahead;
use crate::args::OwnedArgv;
use crate::blocking::Ticket;
use crate::clients::{Client, flag};
use crate::engine::Engine;
use crate::fieldsets::Fieldsets;
use crate::host::DumpContents;
use crate::long_reply::LongReply;
use crate::pubsub::Kind;
use crate::registry::Registered;
use crate::watch::Watched;

/// Which replies the client wants (CLIENT REPLY).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReplyMode {
    #[default]
    On,
    Off,
    /// None to the request that set it; then `SkipNext`.
    SkipThis,
    /// None to the next request; then `On`.
    SkipNext,
}

impl ReplyMode {
    /// The mode once a request has had its reply, or has gone without.
    pub fn after_reply(self) -> ReplyMode {
        match self {
            ReplyMode::SkipThis => ReplyMode::SkipNext,
            ReplyMode::SkipNext => ReplyMode::On,
            mode => mode,
        }
    }
}

/// Where the requests come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    Client,
    /// Effects replayed from a log: not checked against limits, not logged again.
    Replay,
}

/// Commands queued between MULTI and EXEC.
#[derive(Default)]
pub struct Multi {
    pub queue: Vec<Queued>,
    /// A command was refused while queueing: EXEC aborts.
    pub aborted: bool,
    pub bytes: usize,
}

pub struct Queued {
    pub command: &'static Registered,
    pub argv: OwnedArgv,
}

/// What a client has said with REPLCONF, and what it gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Replica {
    pub takes_eof: bool,
    /// It wants a dump, and nothing behind it.
    pub only_dump: bool,
    pub contents: DumpContents,
    /// It has asked for the dump: its requests wait for good.
    pub awaits_dump: bool,
}

pub struct Session {
    pub client: Arc<Client>,
    pub origin: Origin,
    pub db: DbIndex,
    pub protocol: Protocol,
    pub authenticated: bool,
    pub multi: Option<Multi>,
    pub watched: Watched,
    pub channels: BTreeSet<Box<[u8]>>,
    pub patterns: BTreeSet<Box<[u8]>>,
    pub shard_channels: BTreeSet<Box<[u8]>>,
    /// What it follows in broadcasting mode.
    pub tracking_prefixes: BTreeSet<Box<[u8]>>,
    /// Memory of the subscriptions, the registry's own names of them not counted.
    pub subscription_bytes: usize,
    /// It has ended a subscription: messages that were on their way then must not arrive.
    pub unsubscribed: bool,
    pub fieldsets: Fieldsets,
    pub reply_mode: ReplyMode,
    pub no_touch: bool,
    /// It says itself what of its data has expired, while the server is in import mode.
    pub import_source: bool,
    pub monitor: bool,
    pub replica: Replica,
    /// There was no room for an argument of the next request: it must not run.
    pub cut_short: bool,
    /// Close once the replies so far are out.
    pub closing: bool,
    /// Runs inside EXEC: blocking commands do not block, nothing is queued.
    pub in_exec: bool,
    /// Runs what a script calls.
    pub in_script: bool,
    /// Microseconds, wall clock, of the script's first look at it: for the script time stands still, until
    /// others are heard beside it.
    pub script_time_us: Option<i64>,
    /// The script has said that its effects are not to be logged.
    pub unlogged: bool,
    /// Its next EVAL is debugged (SCRIPT DEBUG).
    pub debugs_scripts: bool,
    /// Stands for a client whose waiting request is run again.
    pub serving: bool,
    /// What the client waits for: its requests wait too.
    pub blocked: Option<Arc<Ticket>>,
    /// What is left of the last reply: requests wait for it.
    pub long_reply: Option<LongReply>,
    /// Of a request that waits: what of its values is saved.
    pub ahead: Option<Box<Ahead>>,
}

impl Session {
    pub fn new(client: Arc<Client>, authenticated: bool) -> Session {
        let watched = Watched { dirty: Arc::clone(&client.watch_dirty), ..Watched::default() };
        Session {
            client,
            origin: Origin::Client,
            db: DbIndex(0),
            protocol: Protocol::Resp2,
            authenticated,
            multi: None,
            watched,
            channels: BTreeSet::new(),
            patterns: BTreeSet::new(),
            shard_channels: BTreeSet::new(),
            tracking_prefixes: BTreeSet::new(),
            subscription_bytes: 0,
            unsubscribed: false,
            fieldsets: Fieldsets::default(),
            reply_mode: ReplyMode::On,
            no_touch: false,
            import_source: false,
            monitor: false,
            replica: Replica::default(),
            cut_short: false,
            closing: false,
            in_exec: false,
            in_script: false,
            script_time_us: None,
            unlogged: false,
            debugs_scripts: false,
            serving: false,
            blocked: None,
            long_reply: None,
            ahead: None,
        }
    }

    pub fn select(&mut self, db: DbIndex) {
        self.db = db;
        self.client.db.store(db.0, Ordering::Relaxed);
    }

    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
        let number = if protocol == Protocol::Resp3 { 3 } else { 2 };
        self.client.protocol.store(number, Ordering::Relaxed);
    }

    pub fn set_no_touch(&mut self, on: bool) {
        self.no_touch = on;
        self.client.set_flag(flag::NO_TOUCH, on);
    }

    pub fn set_import_source(&mut self, on: bool) {
        self.import_source = on;
        self.client.set_flag(flag::IMPORT_SOURCE, on);
    }

    pub fn subscriptions(&self) -> usize {
        self.channels.len() + self.patterns.len() + self.shard_channels.len()
    }

    pub fn names(&self, kind: Kind) -> &BTreeSet<Box<[u8]>> {
        match kind {
            Kind::Channel => &self.channels,
            Kind::Pattern => &self.patterns,
            Kind::Shard => &self.shard_channels,
        }
    }

    pub fn names_mut(&mut self, kind: Kind) -> &mut BTreeSet<Box<[u8]>> {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::Shard => &mut self.shard_channels,
        }
    }

    /// Publishes the subscription counts for CLIENT LIST.
    pub fn show_subscriptions(&self) {
        self.client.channels.store(self.channels.len() as u32, Ordering::Relaxed);
        self.client.patterns.store(self.patterns.len() as u32, Ordering::Relaxed);
        self.client.shard_channels.store(self.shard_channels.len() as u32, Ordering::Relaxed);
        self.client.subscription_bytes.store(self.subscription_bytes, Ordering::Relaxed);
        self.client.set_flag(flag::SUBSCRIBED, self.subscriptions() > 0);
    }

    /// Publishes what the prepared fields take for CLIENT LIST.
    pub fn show_fieldsets(&self) {
        self.client.fieldset_bytes.store(self.fieldsets.memory(), Ordering::Relaxed);
    }

    /// Shows the others what is watched.
    pub fn show_watched(&self) {
        self.client.watched.store(self.watched.keys.len() as u32, Ordering::Relaxed);
        self.client.watched_bytes.store(self.watched.memory(), Ordering::Relaxed);
    }

    /// Publishes the state of the transaction for CLIENT LIST.
    pub fn show_multi(&self) {
        let (queued, bytes) = match &self.multi {
            Some(multi) => (multi.queue.len() as i64, multi.bytes),
            None => (-1, 0),
        };
        self.client.queued.store(queued, Ordering::Relaxed);
        self.client.queued_bytes.store(bytes, Ordering::Relaxed);
        self.client.set_flag(flag::MULTI, queued >= 0);
    }

    pub fn in_multi(&self) -> bool {
        self.multi.is_some() && !self.in_exec
    }
}

impl Engine {
    /// The end of a connection: nobody finds the client any more, and nothing is sent to it.
    pub fn disconnect(&self, session: &mut Session) {
        self.give_up_waiting(session);
        self.abandon_reply(session);
        self.clear_connection(session);
        self.clients.leave(session.client.id);
    }

    /// Takes back what the client asked the server to remember: transaction, watched keys, subscriptions,
    /// prepared fields, tracking, MONITOR.
    pub fn clear_connection(&self, session: &mut Session) {
        session.multi = None;
        session.show_multi();
        self.watches.clear(&session.client, &mut session.watched);
        session.show_watched();
        self.unsubscribe_all(session);
        session.fieldsets.discard_all();
        session.show_fieldsets();
        self.untrack(session);
        if session.monitor {
            session.monitor = false;
            self.monitors.remove(session.client.id);
            session.client.set_flag(flag::MONITOR, false);
        }
    }
}
