//! Requests that wait for keys, as BLPOP, BZPOPMIN, XREAD BLOCK and their like, or for what has been written
//! to be safe, as WAIT and WAITAOF.
//!
//! A command that finds nothing leaves a [`Ticket`] at each of its keys while their shards are locked, so no
//! change is missed. Whoever changes a key serves those who wait for it in the order of their arrival, before
//! it unlocks: it runs the waiting request again, on behalf of its client, and posts the reply to the
//! client's worker. A request that needs further shards is served right after, under locks of its own. Those
//! who wait for the append-only file are answered when it has come further.
//!
//! Lock order: shards, then a ticket. The registry's own locks are never held while another is taken.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use base::alloc::size_class;
use base::sparse::shrink_sparse;
use base::time::UnixMs;
use parking_lot::Mutex;
use resp::reply::{Protocol, Reply};
use smallvec::SmallVec;
use store::expire::is_expired;
use store::{DbIndex, Guard, Key, Plan, ShardId, Type};

use crate::args::OwnedArgv;
use crate::clients::{Client, flag};
use crate::command::CmdResult;
use crate::ctx::Ctx;
use crate::engine::{Engine, WorkerSeat};
use crate::error::CmdError;
use crate::host::Event;
use crate::log::{FileState, Log, Offset};
use crate::pipeline::{Env, Outcome};
use crate::registry::Registered;
use crate::session::{Origin, Session};
use crate::stats::WorkerStats;

/// What a command that found nothing waits for.
pub struct Wait {
    /// Places of its keys among the arguments.
    pub keys: SmallVec<[usize; 4]>,
    /// Only a key of this type can serve it.
    pub awaits: Type,
    /// It is run again, too, when a key goes away or changes its type (XREADGROUP).
    pub missing_too: bool,
    /// It waits for the first of its keys only, and can only run with the shards of all; otherwise it passes
    /// over keys that are not held.
    pub all_keys: bool,
    /// `None`: for ever.
    pub until: Option<UnixMs>,
    pub on_timeout: NoReply,
    /// The request as it is to be run again, if not as it came (XREAD's `$`).
    pub again: Option<OwnedArgv>,
}

/// What WAIT and WAITAOF wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Acknowledgement {
    /// Where the log was behind the client's last write.
    pub logged: Offset,
    /// The server's own file has to have it.
    pub by_file: bool,
    /// Replicas have to have it, and there are none.
    pub by_replicas: bool,
}

/// The reply to a request whose time is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoReply {
    Null,
    NullArray,
    /// How many replicas have the client's last write.
    Replicas,
    /// How many files have it: the server's own, and replicas'.
    Files(Offset),
}

/// How CLIENT UNBLOCK ends a wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unblock {
    AsTimeout,
    WithError,
}

/// One waiting request.
pub struct Ticket {
    /// Ascends with arrival.
    pub arrival: u64,
    pub until: Option<UnixMs>,
    client: Arc<Client>,
    command: &'static Registered,
    argv: OwnedArgv,
    db: DbIndex,
    protocol: Protocol,
    keys: Vec<WaitedKey>,
    awaits: Type,
    missing_too: bool,
    all_keys: bool,
    acknowledgement: Option<Acknowledgement>,
    on_timeout: NoReply,
    /// It is run again as time passes, too.
    ageing: AtomicBool,
    /// Held while it is served: what happens at another of its keys meanwhile comes after that.
    answered: Mutex<bool>,
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ticket({}, {})", self.arrival, self.command.full_name)
    }
}

struct WaitedKey {
    shard: ShardId,
    name: Box<[u8]>,
}

/// A key that changed and that somebody waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReadyKey {
    pub db: DbIndex,
    pub name: Box<[u8]>,
    pub hash: u64,
}

/// Keys that became ready, each once, in the order in which they did.
#[derive(Default)]
pub struct ReadyKeys {
    keys: Vec<ReadyKey>,
    /// Where the first key of such a hash stands.
    places: HashMap<(DbIndex, u64), usize>,
}

impl ReadyKeys {
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub fn push(&mut self, key: ReadyKey) {
        let place = *self.places.entry((key.db, key.hash)).or_insert(self.keys.len());
        // Should two keys have the same hash, the second may stand there more than once.
        if self.keys.get(place) != Some(&key) {
            self.keys.push(key);
        }
    }

    pub fn take(&mut self) -> Vec<ReadyKey> {
        std::mem::take(self).keys
    }
}

/// A key that has to be looked at under other locks, from a ticket on: those before it have had their chance,
/// and would have it for ever if they still wait.
pub struct Deferred {
    key: ReadyKey,
    from: u64,
}

/// The tickets at one key, by arrival.
#[derive(Default)]
struct Queue {
    tickets: BTreeMap<u64, Arc<Ticket>>,
    missing_too: usize,
}

/// The databases in which somebody waits for a key of this name.
type Queues = SmallVec<[(DbIndex, Queue); 1]>;
type WaitShard = Mutex<HashMap<Box<[u8]>, Queues>>;

/// Memory of a name that is waited for: its place in its shard's table with its share of spare ones, and most
/// of the queue's first node.
fn name_bytes(name: &[u8]) -> usize {
    size_class(name.len()) + 2 * size_of::<(Box<[u8]>, Queues)>() + 160
}

/// What a ticket takes in a queue.
const PLACE_BYTES: usize = 32;

/// All tickets, by key.
pub struct Waiters {
    /// Tickets at keys: none is the common case, and costs one load.
    count: AtomicUsize,
    arrivals: AtomicU64,
    /// Of the shards' tables, but the tickets in their queues.
    bytes: AtomicUsize,
    shards: Box<[WaitShard]>,
    for_file: Mutex<FileWaits>,
}

/// Those who wait for the server's own file. First, by what it has to have and by arrival, those who wait for
/// nothing else.
type FileWaits = BTreeMap<FilePlace, Arc<Ticket>>;
/// Whether replicas are waited for, too; what the file has to have; arrival.
type FilePlace = (bool, Offset, u64);

/// A ticket in a key's queue, and whether any ticket there waits for the key to go away.
struct Next {
    ticket: Arc<Ticket>,
    missing_too: bool,
}

impl Waiters {
    pub fn new(shards: usize) -> Waiters {
        Waiters {
            count: AtomicUsize::new(0),
            arrivals: AtomicU64::new(0),
            bytes: AtomicUsize::new(0),
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            for_file: Mutex::default(),
        }
    }

    #[inline]
    pub fn any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Whether anybody waits for a key. The caller holds its shard.
    pub fn waits_for(&self, shard: ShardId, db: DbIndex, name: &[u8]) -> bool {
        let shard = self.shards[shard.0 as usize].lock();
        shard.get(name).is_some_and(|queues| queues.iter().any(|(own, _)| *own == db))
    }

    /// Every key that somebody waits for in the databases that `includes` names. The caller holds all shards.
    pub fn keys_in(&self, includes: impl Fn(DbIndex) -> bool) -> Vec<ReadyKey> {
        let mut keys = Vec::new();
        for shard in &self.shards {
            for (name, queues) in shard.lock().iter() {
                let found = queues.iter().filter(|(db, _)| includes(*db));
                keys.extend(found.map(|(db, _)| ReadyKey {
                    db: *db,
                    name: name.clone(),
                    hash: Key::new(name).hash,
                }));
            }
        }
        keys
    }

    /// Bytes of the names, once for all who wait.
    pub fn memory(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Keys that are waited for, and of these the ones whose going away is.
    pub fn key_counts(&self) -> (usize, usize) {
        let mut counts = (0, 0);
        for shard in &self.shards {
            for (_, queue) in shard.lock().values().flatten() {
                counts.0 += 1;
                counts.1 += usize::from(queue.missing_too > 0);
            }
        }
        counts
    }

    /// The caller holds the shards of all keys.
    fn add(&self, ticket: &Arc<Ticket>) {
        if let Some(place) = ticket.place_for_file() {
            self.for_file.lock().insert(place, Arc::clone(ticket));
        }
        for key in ticket.waited_keys() {
            let mut shard = self.shards[key.shard.0 as usize].lock();
            let queues = shard.entry(key.name.clone()).or_insert_with(|| {
                self.bytes.fetch_add(name_bytes(&key.name), Ordering::Relaxed);
                Queues::new()
            });
            let at = queues.iter().position(|(db, _)| *db == ticket.db).unwrap_or_else(|| {
                queues.push((ticket.db, Queue::default()));
                queues.len() - 1
            });
            let queue = &mut queues[at].1;
            // A key that is named twice counts once.
            if queue.tickets.insert(ticket.arrival, Arc::clone(ticket)).is_none() {
                queue.missing_too += usize::from(ticket.missing_too);
                ticket.client.enter_name(name_bytes(&key.name));
                self.count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn remove(&self, ticket: &Ticket) {
        if let Some(place) = ticket.place_for_file() {
            self.for_file.lock().remove(&place);
        }
        for key in ticket.waited_keys() {
            let mut shard = self.shards[key.shard.0 as usize].lock();
            let Some(queues) = shard.get_mut(&key.name) else { continue };
            let Some(at) = queues.iter().position(|(db, _)| *db == ticket.db) else { continue };
            let queue = &mut queues[at].1;
            if queue.tickets.remove(&ticket.arrival).is_some() {
                queue.missing_too -= usize::from(ticket.missing_too);
                ticket.client.strike_name(name_bytes(&key.name));
                self.count.fetch_sub(1, Ordering::Relaxed);
            }
            if queue.tickets.is_empty() {
                queues.swap_remove(at);
            }
            if queues.is_empty() {
                shard.remove(&key.name);
                shrink_sparse(&mut shard);
                self.bytes.fetch_sub(name_bytes(&key.name), Ordering::Relaxed);
            }
        }
    }

    /// The first ticket at a key that did not arrive before `from`.
    fn next(&self, shard: ShardId, key: &ReadyKey, from: u64) -> Option<Next> {
        let shard = self.shards[shard.0 as usize].lock();
        let (_, queue) = shard.get(&key.name)?.iter().find(|(db, _)| *db == key.db)?;
        let (_, ticket) = queue.tickets.range(from..).next()?;
        Some(Next { ticket: Arc::clone(ticket), missing_too: queue.missing_too > 0 })
    }
}

impl Ctx<'_, '_> {
    /// Waits, or answers at once where nothing may wait: in a transaction or a script, while a log is
    /// replayed. Called by a command that found nothing and wrote nothing.
    pub fn wait(&mut self, wait: Wait) -> CmdResult {
        if self.session.in_exec || self.session.origin == Origin::Replay {
            wait.on_timeout.write(self.reply, &self.engine.log);
            return Ok(());
        }
        self.outcome = Outcome::Blocked;
        if !self.session.serving {
            let ticket = self.ticket(wait, None);
            self.begin_waiting(ticket);
        }
        Ok(())
    }

    /// Waits until what the client has written is safe, or answers at once: as `wait`, with how far that is.
    pub fn wait_for_safety(
        &mut self,
        what: Acknowledgement,
        until: Option<UnixMs>,
        on_timeout: NoReply,
    ) -> CmdResult {
        let is_there = !what.by_replicas && (!what.by_file || self.engine.log.file_has(what.logged));
        if is_there || self.session.in_exec || self.session.origin == Origin::Replay {
            on_timeout.write(self.reply, &self.engine.log);
            return Ok(());
        }
        let wait = Wait {
            keys: SmallVec::new(),
            awaits: Type::String,
            missing_too: false,
            all_keys: false,
            until,
            on_timeout,
            again: None,
        };
        self.outcome = Outcome::Blocked;
        let ticket = self.ticket(wait, Some(what));
        self.begin_waiting(ticket);
        // The file may have come so far before anybody could see that somebody waits.
        self.engine.serve_file_waits(&self.worker.stats);
        Ok(())
    }

    fn begin_waiting(&mut self, ticket: Arc<Ticket>) {
        self.engine.waiters.add(&ticket);
        self.session.client.set_flag(flag::BLOCKED, true);
        self.session.client.argument_bytes.store(ticket.memory(), Ordering::Relaxed);
        *self.session.client.blocked.lock() = Some(Arc::clone(&ticket));
        self.session.blocked = Some(ticket);
    }

    /// The request that waits now is run again as time passes, too: what it waits for may come of age.
    pub fn wait_for_age(&mut self) {
        if let Some(ticket) = &self.session.blocked {
            ticket.ageing.store(true, Ordering::Relaxed);
        }
    }

    fn ticket(&self, wait: Wait, acknowledgement: Option<Acknowledgement>) -> Arc<Ticket> {
        let keys = wait.keys.iter().map(|&index| {
            let key = self.key(index);
            WaitedKey { shard: self.engine.store.shard_of(key.hash), name: key.bytes.into() }
        });
        Arc::new(Ticket {
            arrival: self.engine.waiters.arrivals.fetch_add(1, Ordering::Relaxed),
            until: wait.until,
            client: Arc::clone(&self.session.client),
            command: self.command,
            keys: keys.collect(),
            argv: wait.again.unwrap_or_else(|| self.args.to_owned()),
            db: self.session.db,
            protocol: self.session.protocol,
            awaits: wait.awaits,
            missing_too: wait.missing_too,
            all_keys: wait.all_keys,
            acknowledgement,
            on_timeout: wait.on_timeout,
            ageing: AtomicBool::new(false),
            answered: Mutex::new(false),
        })
    }

    /// Whether a key can be looked at: a request that is served for one of its keys may not hold the others,
    /// which nothing has happened to.
    pub fn holds(&self, key: Key<'_>) -> bool {
        !self.session.serving || self.keys.guard.holds(self.engine.store.shard_of(key.hash))
    }

    /// A timeout in seconds, perhaps a fraction, from an argument; 0 is for ever.
    pub fn timeout_seconds(&self, index: usize) -> Result<Option<UnixMs>, CmdError> {
        let seconds = base::num::parse_f64(self.args.at(index))
            .ok_or(CmdError::fixed("ERR timeout is not a float or out of range"))?;
        let ms = (seconds * 1000.0).ceil();
        if ms > i64::MAX as f64 {
            return Err(CmdError::fixed(TIMEOUT_RANGE));
        }
        self.deadline(ms as i64)
    }

    /// A timeout in milliseconds from an argument; 0 is for ever.
    pub fn timeout_ms(&self, index: usize) -> Result<Option<UnixMs>, CmdError> {
        let ms = base::num::parse_i64(self.args.at(index))
            .ok_or(CmdError::fixed("ERR timeout is not an integer or out of range"))?;
        self.deadline(ms)
    }

    fn deadline(&self, ms: i64) -> Result<Option<UnixMs>, CmdError> {
        match ms {
            ..0 => Err(CmdError::fixed("ERR timeout is negative")),
            0 => Ok(None),
            _ => match self.now().0.checked_add(ms) {
                Some(at) => Ok(Some(UnixMs(at))),
                None => Err(CmdError::fixed(TIMEOUT_RANGE)),
            },
        }
    }
}

const TIMEOUT_RANGE: &str = "ERR timeout is out of range";
/// WAITAOF asks for a file that is not there.
pub const NO_FILE: CmdError =
    CmdError::fixed("ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.");
const UNBLOCKED: &str = "UNBLOCKED client unblocked via CLIENT UNBLOCK";

impl NoReply {
    pub fn write(self, reply: &mut Reply, log: &Log) {
        match self {
            NoReply::Null => reply.null(),
            NoReply::NullArray => reply.null_array(),
            NoReply::Replicas => reply.integer(0),
            NoReply::Files(logged) => {
                reply.array(2);
                reply.integer(i64::from(log.file_has(logged)));
                reply.integer(0);
            }
        }
    }
}

impl Ticket {
    /// Calls `write` with a reply if the request is not answered yet; from then on it is.
    fn answer(&self, write: impl FnOnce(&mut Reply)) -> Option<Vec<u8>> {
        let mut answered = self.answered.lock();
        if std::mem::replace(&mut *answered, true) {
            return None;
        }
        let mut reply = Reply::new(self.protocol);
        write(&mut reply);
        Some(flat(&reply))
    }

    /// Where it stands among those who wait for the server's own file.
    fn place_for_file(&self) -> Option<FilePlace> {
        let what = self.acknowledgement.filter(|what| what.by_file)?;
        Some((what.by_replicas, what.logged, self.arrival))
    }

    /// The keys whose changes it waits for.
    fn waited_keys(&self) -> &[WaitedKey] {
        if self.all_keys { &self.keys[..1] } else { &self.keys }
    }

    fn plan(&self, engine: &Engine, key: &ReadyKey) -> Plan {
        let shards = self.keys.iter().map(|key| key.shard);
        Plan::of(shards.chain([engine.store.shard_of(key.hash)]))
    }

    /// Whether time alone may serve it.
    pub fn is_ageing(&self) -> bool {
        self.ageing.load(Ordering::Relaxed)
    }

    /// Bytes it takes, the queues' own names of its keys not counted.
    fn memory(&self) -> usize {
        let keys = self.keys.iter().map(|key| size_class(key.name.len()) + PLACE_BYTES);
        let list = size_class(self.keys.capacity() * size_of::<WaitedKey>());
        let place = self.place_for_file().map_or(0, |_| 2 * size_of::<(FilePlace, Arc<Ticket>)>());
        size_class(size_of::<Ticket>() + 16) + self.argv.memory() + list + place + keys.sum::<usize>()
    }
}

fn flat(reply: &Reply) -> Vec<u8> {
    reply.chunks().collect::<Vec<_>>().concat()
}

impl Engine {
    /// Serves who waits for the keys that commands have changed. Under the locks of those commands.
    #[cold]
    pub(crate) fn serve_ready(&self, seat: &mut WorkerSeat, guard: &mut Guard<'_>) {
        // What made the keys ready may have taken long, and they may have expired since.
        seat.worker.read_clocks(&*self.host);
        // What is served may make further keys ready.
        while !seat.effects.ready.is_empty() {
            for key in seat.effects.ready.take() {
                self.serve_key(seat, guard, key, 0);
            }
        }
    }

    /// Serves requests that need more shards than were locked when their key became ready. Under no lock.
    /// What a script or the end of the process does not let it do is left for later.
    #[cold]
    pub(crate) fn serve_deferred(&self, seat: &mut WorkerSeat) {
        while let Some(Deferred { key, from }) = seat.deferred.pop() {
            let shard = self.store.shard_of(key.hash);
            let Some(first) = self.waiters.next(shard, &key, from) else { continue };
            let Ok(mut guard) = self.lock_unless_busy(&first.ticket.plan(self, &key)) else {
                return seat.deferred.push(Deferred { key, from });
            };
            if self.pause.is_ending() {
                return seat.deferred.push(Deferred { key, from });
            }
            self.serve_key(seat, &mut guard, key, from);
            self.serve_ready(seat, &mut guard);
        }
    }

    /// Serves who waits for a key, those that arrived before `from` left out.
    fn serve_key(&self, seat: &mut WorkerSeat, guard: &mut Guard<'_>, key: ReadyKey, mut from: u64) {
        let shard = self.store.shard_of(key.hash);
        while let Some(Next { ticket, missing_too }) = self.waiters.next(shard, &key, from) {
            from = ticket.arrival + 1;
            let kind = kind_of(guard, &key, seat.worker.now);
            if kind.is_none() && !missing_too {
                return;
            }
            if kind != Some(ticket.awaits) && !ticket.missing_too {
                continue;
            }
            if ticket.all_keys && !ticket.keys.iter().all(|key| guard.holds(key.shard)) {
                return seat.deferred.push(Deferred { key, from: ticket.arrival });
            }
            self.serve(seat, guard, &ticket);
        }
    }

    /// Runs a waiting request again, for its client.
    fn serve(&self, seat: &mut WorkerSeat, guard: &mut Guard<'_>, ticket: &Arc<Ticket>) {
        let mut answered = ticket.answered.lock();
        if *answered {
            return;
        }
        let mut session = Session::new(Arc::clone(&ticket.client), true);
        (session.db, session.protocol, session.serving) = (ticket.db, ticket.protocol, true);
        session.import_source = ticket.client.has_flag(flag::IMPORT_SOURCE);
        let mut reply = Reply::new(ticket.protocol);
        let WorkerSeat { worker, config, effects, .. } = seat;
        let mut env = Env { config, worker, effects, guard, session: &mut session, reply: &mut reply };
        let outcome = self.execute(&mut env, ticket.command, None, &ticket.argv.view());
        if outcome == Outcome::Blocked {
            return;
        }
        *answered = true;
        drop(answered);
        self.send_reply(ticket, flat(&reply));
    }

    /// The append-only file has come further, or is no more: has a worker look who waits for that.
    pub fn post_file_waits(&self) {
        if let Some(ticket) = self.due_file_waits(1).first() {
            self.host.post(ticket.client.worker, Event::FileReached);
        }
    }

    /// Answers those who wait for the append-only file and do not have to any more.
    pub fn serve_file_waits(&self, stats: &WorkerStats) {
        for ticket in self.due_file_waits(usize::MAX) {
            let is_file_there = self.log.file() != FileState::None;
            let reply = ticket.answer(|reply| match is_file_there {
                true => ticket.on_timeout.write(reply, &self.log),
                false => reply.error(NO_FILE.text()),
            });
            if let Some(reply) = reply {
                self.count_end(stats, &ticket, (!is_file_there).then_some("ERR"));
                self.send_reply(&ticket, reply);
            }
        }
    }

    fn due_file_waits(&self, most: usize) -> Vec<Arc<Ticket>> {
        let waiting = self.waiters.for_file.lock();
        let is_due = |(more, logged, _): &FilePlace| match self.log.file() {
            FileState::None => true,
            _ => !more && self.log.file_has(*logged),
        };
        let due = waiting.iter().take_while(|(place, _)| is_due(place));
        due.map(|(_, ticket)| Arc::clone(ticket)).take(most).collect()
    }

    /// A wait has ended without its request being run again: it counts as a call, and perhaps as an error.
    fn count_end(&self, stats: &WorkerStats, ticket: &Ticket, error: Option<&str>) {
        let command = &stats.commands[usize::from(ticket.command.id)];
        command.record(0, false);
        if let Some(code) = error {
            command.failed.add(1);
            stats.error_replies.add(1);
            self.errors.count(code);
        }
    }

    /// Looks at a request that waits for what the time may bring.
    pub fn serve_again(&self, seat: &mut WorkerSeat, ticket: &Arc<Ticket>) {
        let plan = Plan::of(ticket.keys.iter().map(|key| key.shard));
        let Ok(mut guard) = self.lock_unless_busy(&plan) else { return };
        // Whatever is served writes.
        if self.pause.is_on() {
            return;
        }
        self.serve(seat, &mut guard, ticket);
        self.serve_ready(seat, &mut guard);
        drop(guard);
        self.serve_deferred(seat);
        self.send_messages(&mut seat.effects.invalidated, None);
    }

    /// Serves what was left for later.
    #[inline]
    pub fn serve_left(&self, seat: &mut WorkerSeat) {
        if !seat.deferred.is_empty() {
            self.serve_deferred(seat);
            self.send_messages(&mut seat.effects.invalidated, None);
        }
    }

    /// Hands a reply to the worker of the client that waits for it.
    fn send_reply(&self, ticket: &Arc<Ticket>, reply: Vec<u8>) {
        self.waiters.remove(ticket);
        let (client, ticket) = (ticket.client.id, ticket.arrival);
        let worker = self.clients.find(client).map(|client| client.worker);
        if let Some(worker) = worker {
            self.host.post(worker, Event::Unblocked { client, ticket, reply: Arc::new(reply) });
        }
    }

    /// The time of a wait is over: the reply, unless it was answered just now.
    pub fn time_out(&self, stats: &WorkerStats, ticket: &Arc<Ticket>) -> Option<Vec<u8>> {
        let reply = ticket.answer(|reply| ticket.on_timeout.write(reply, &self.log))?;
        self.waiters.remove(ticket);
        self.count_end(stats, ticket, None);
        Some(reply)
    }

    /// CLIENT UNBLOCK; false if the client does not wait.
    pub fn unblock(&self, stats: &WorkerStats, client: &Client, how: Unblock) -> bool {
        let Some(ticket) = client.blocked.lock().clone() else { return false };
        let reply = ticket.answer(|reply| match how {
            Unblock::AsTimeout => ticket.on_timeout.write(reply, &self.log),
            Unblock::WithError => reply.error(UNBLOCKED),
        });
        let Some(reply) = reply else { return false };
        self.count_end(stats, &ticket, (how == Unblock::WithError).then_some("UNBLOCKED"));
        self.send_reply(&ticket, reply);
        true
    }

    /// The client takes no reply any more.
    pub(crate) fn give_up_waiting(&self, session: &mut Session) {
        if let Some(ticket) = end_wait(session) {
            *ticket.answered.lock() = true;
            self.waiters.remove(&ticket);
        }
    }

    /// Has the workers of those who wait for keys look at them again, because here is no worker that could
    /// serve them.
    pub(crate) fn post_ready(&self, ready: &mut ReadyKeys) {
        for key in ready.take() {
            let first = self.waiters.next(self.store.shard_of(key.hash), &key, 0);
            if let Some(Next { ticket, .. }) = first {
                self.host.post(ticket.client.worker, Event::Ready { key });
            }
        }
    }

    /// A worker was asked to serve who waits for a key.
    pub fn serve_posted(&self, seat: &mut WorkerSeat, key: ReadyKey) {
        seat.deferred.push(Deferred { key, from: 0 });
        self.serve_left(seat);
    }
}

/// A session whose wait is over: its ticket.
pub fn end_wait(session: &mut Session) -> Option<Arc<Ticket>> {
    let ticket = session.blocked.take()?;
    *session.client.blocked.lock() = None;
    session.client.set_flag(flag::BLOCKED, false);
    session.client.argument_bytes.store(0, Ordering::Relaxed);
    Some(ticket)
}

fn kind_of(guard: &mut Guard<'_>, key: &ReadyKey, now: UnixMs) -> Option<Type> {
    let db = guard.db(key.db, key.hash);
    let entry = db.view(db.find(Key { bytes: &key.name, hash: key.hash })?);
    (!is_expired(entry, now)).then(|| entry.kind())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many that looking for each of them among all others would not come to an end.
    #[test]
    fn a_key_becomes_ready_once() {
        let key = |number: u64| {
            // Some have the same hash.
            let (db, hash) = (DbIndex((number % 3) as u16), number / 3 / 2);
            ReadyKey { db, name: number.to_string().as_bytes().into(), hash }
        };
        let mut ready = ReadyKeys::default();
        assert!(ready.is_empty());
        let numbers = 0..1_000_000;
        numbers.clone().for_each(|number| ready.push(key(number)));
        numbers.clone().filter(|number| number / 3 % 2 == 0).for_each(|number| ready.push(key(number)));
        assert!(ready.take().into_iter().eq(numbers.map(key)));
        assert!(ready.is_empty() && ready.take().is_empty());
    }
}
