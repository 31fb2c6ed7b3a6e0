//! The one straight path of every command: from a client, from EXEC, from a log that is replayed.

use std::cell::Cell;
use std::num::NonZeroU64;
use std::sync::atomic::Ordering;

use base::time::UnixMs;
use resp::reply::Reply;
use store::{Guard, Plan};

use crate::access::Access;
use crate::admit::{self, Request};
use crate::args::Argv;
use crate::command::{Group, PlanInput, PlanRule, flag};
use crate::config::Config;
use crate::ctx::Ctx;
use crate::effects::Effects;
use crate::engine::{Engine, ErrorCounts, LOCK_PATIENCE_NS, Worker, WorkerSeat};
use crate::error::CmdError;
use crate::evict::Room;
use crate::host::Wait;
use crate::keys::Keys;
use crate::multi;
use crate::observe;
use crate::registry::{REGISTRY, Registered};
use crate::session::{Origin, ReplyMode, Session};

/// What the worker does with the connection after a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Outcome {
    #[default]
    Done,
    /// Close once the replies so far are written.
    Close,
    /// Not run: hold this request and those after it until CLIENT PAUSE is over.
    Paused,
    /// Not run: somebody has held its shards for long. Hold this request and those after it until the next
    /// round.
    Later,
    /// It waits for keys, and those after it for its reply.
    Blocked,
    /// The reply goes on: the session has what is left of it, and those after it wait for that.
    Unfinished,
    /// Its reply would take more memory than all clients may.
    TooLong,
}

impl Outcome {
    /// The request was answered, or has begun to be.
    pub fn is_answered(self) -> bool {
        !matches!(self, Outcome::Paused | Outcome::Later | Outcome::Blocked)
    }
}

/// What is known of a request before it runs: found when it is parsed.
#[derive(Clone, Copy, Default)]
pub struct Prepared {
    pub command: Option<&'static Registered>,
    /// Of the first key, if the row has one at a fixed place; whoever lacks it hashes the key again.
    pub hash: Option<NonZeroU64>,
}

impl Prepared {
    /// The hash of the field or member that the request names first.
    #[inline]
    pub fn part(&self, argv: &Argv<'_>) -> Option<u64> {
        let part = self.command?.part;
        (part != 0 && part < argv.len()).then(|| base::hash::hash(argv.at(part)))
    }
}

/// What a command runs with.
pub struct Env<'a, 's> {
    pub config: &'a Config,
    pub worker: &'a mut Worker,
    pub effects: &'a mut Effects,
    pub guard: &'a mut Guard<'s>,
    pub session: &'a mut Session,
    pub reply: &'a mut Reply,
}

impl Engine {
    /// Looks the command up and hashes its key.
    #[inline(always)]
    pub fn prepare(&self, argv: &Argv<'_>) -> Prepared {
        let Some(command) = lookup(argv) else { return Prepared::default() };
        let index = command.first_key;
        let has_key = index != 0 && index < argv.len();
        let hash = if has_key { base::hash::hash(argv.at(index)) } else { 0 };
        Prepared { command: Some(command), hash: NonZeroU64::new(hash) }
    }

    /// Runs one request and writes its reply.
    #[inline]
    pub fn run(
        &self,
        seat: &mut WorkerSeat,
        session: &mut Session,
        prepared: &Prepared,
        argv: &Argv<'_>,
        reply: &mut Reply,
    ) -> Outcome {
        seat.refresh(self);
        reply.protocol = session.protocol;
        let start = reply.len();
        reply.begin(reply_limit(seat, session));
        let mut outcome = self.run_request(seat, session, prepared, argv, reply);
        if reply.is_cut() {
            reply.truncate(start);
            outcome = Outcome::TooLong;
        }
        // A request that waits has not been answered: its turn to be muted comes with its reply.
        if session.reply_mode != ReplyMode::On && outcome.is_answered() {
            mute(session, reply, start);
        }
        if seat.effects.invalidated.are_due() || session.client.tracking.is_on() {
            self.settle_tracking(seat, session, prepared.command, outcome, reply);
        }
        outcome
    }

    #[inline(always)]
    fn run_request(
        &self,
        seat: &mut WorkerSeat,
        session: &mut Session,
        prepared: &Prepared,
        argv: &Argv<'_>,
        reply: &mut Reply,
    ) -> Outcome {
        let cut_short = std::mem::take(&mut session.cut_short);
        let Some(command) = prepared.command else {
            let refusal = admit::unknown(&seat.config, session, argv);
            return self.refuse(seat, session, None, &refusal, reply);
        };
        seat.worker.refresh_clock(&*self.host);
        // While a script runs for too long, nobody can make room.
        let may_make_room = self.memory.is_over() && !self.scripts.running.is_busy();
        let cramped = cut_short || may_make_room && self.is_cramped(seat, session, command);
        let request = Request { engine: self, config: &seat.config, session, command, argv, cramped };
        if let Err(refusal) = admit::admit(&request) {
            return self.refuse(seat, session, Some(command), &refusal, reply);
        }
        if session.in_multi() && !multi::runs_at_once(command) {
            return multi::enqueue(self, seat, session, command, argv, reply);
        }
        if self.pause.is_on() && self.must_wait(seat, session, command, argv) {
            return Outcome::Paused;
        }
        let outcome = {
            let mut guard = self.lock_planned(seat, session, (command, prepared.hash), argv);
            let Some(guard) = &mut guard else {
                if !self.scripts.running.is_busy() {
                    return Outcome::Later;
                }
                let refusal = self.scripts.running.busy_error();
                return self.refuse(seat, session, Some(command), &refusal, reply);
            };
            // The last save may have begun since, and what it does not hold must not be answered.
            if self.pause.is_ending() && self.must_wait(seat, session, command, argv) {
                return Outcome::Paused;
            }
            let WorkerSeat { worker, config, effects, .. } = seat;
            let mut env = Env { config, worker, effects, guard, session, reply };
            let outcome = self.execute(&mut env, command, prepared.hash, argv);
            if !seat.effects.ready.is_empty() {
                self.serve_ready(seat, guard);
            }
            outcome
        };
        if !seat.deferred.is_empty() {
            self.serve_deferred(seat);
        }
        if !seat.worker.garbage.is_empty() {
            self.free_garbage(seat);
        }
        if std::mem::take(&mut seat.worker.dump_is_stale) {
            self.replace_dump(&seat.config);
        }
        outcome
    }

    /// Whether clients are held up, and this request is one of those.
    #[cold]
    fn must_wait(
        &self,
        seat: &WorkerSeat,
        session: &Session,
        command: &'static Registered,
        argv: &Argv<'_>,
    ) -> bool {
        let request = Request { engine: self, config: &seat.config, session, command, argv, cramped: false };
        self.pause.holds(&request, seat.worker.now)
    }

    /// The shards that a request needs, if they can be had.
    #[inline(always)]
    fn lock_planned(
        &self,
        seat: &mut WorkerSeat,
        session: &Session,
        (command, hash): (&'static Registered, Option<NonZeroU64>),
        argv: &Argv<'_>,
    ) -> Option<Guard<'_>> {
        if is_script(command, session) {
            return self.lock_of_script(seat, session, command, argv);
        }
        let plan = self.plan_at(command, hash, argv, session, seat.worker.now);
        self.lock(seat, session, &plan)
    }

    /// A function that it calls may have been replaced before the shards were locked, or scripts keep to
    /// their keys no more: then it gets all of them.
    fn lock_of_script(
        &self,
        seat: &mut WorkerSeat,
        session: &Session,
        command: &'static Registered,
        argv: &Argv<'_>,
    ) -> Option<Guard<'_>> {
        let changes = || self.functions.changes() + self.scripts.strict_changes();
        let before = changes();
        let plan = self.plan_at(command, None, argv, session, seat.worker.now);
        let guard = self.lock(seat, session, &plan)?;
        if plan == Plan::All || changes() == before {
            return Some(guard);
        }
        drop(guard);
        self.lock(seat, session, &Plan::All)
    }

    #[inline(always)]
    fn lock(&self, seat: &mut WorkerSeat, session: &Session, plan: &Plan) -> Option<Guard<'_>> {
        match self.store.lock_at_once(plan) {
            None => self.wait_for(seat, session, plan),
            guard => guard,
        }
    }

    /// A request's shards, unless a script has been running for too long, or somebody holds them for long:
    /// others of the worker's clients may need none, or none of these. Behind a long wait it is later.
    fn wait_for(&self, seat: &mut WorkerSeat, session: &Session, plan: &Plan) -> Option<Guard<'_>> {
        let waits_since = Cell::new(None);
        let (patience_ns, is_client) = (seat.worker.patience_ns, session.origin == Origin::Client);
        let waited_ns = || {
            let now_ns = self.host.monotonic_ns();
            let since_ns = waits_since.get().unwrap_or(now_ns);
            waits_since.set(Some(since_ns));
            now_ns.saturating_sub(since_ns)
        };
        let give_up = || {
            let waited_ns = waited_ns();
            is_client && (self.scripts.running.is_busy() || patience_ns.is_some_and(|most| waited_ns >= most))
        };
        let guard = self.store.lock_unless(plan, &give_up);
        if waits_since.get().is_some() && waited_ns() >= LOCK_PATIENCE_NS {
            seat.worker.read_clocks(&*self.host);
        }
        if guard.is_none() {
            // Once in a round is enough.
            seat.worker.patience_ns = patience_ns.map(|_| 0);
        }
        guard
    }

    /// More memory is in use than may be: keys give way, whatever the request is. Whether it has to be
    /// refused because none can.
    #[cold]
    fn is_cramped(&self, seat: &mut WorkerSeat, session: &Session, command: &'static Registered) -> bool {
        if session.origin == Origin::Replay {
            return false;
        }
        let WorkerSeat { worker, config, evictor, .. } = seat;
        let room = evictor.make_room(self, config, worker.now, &mut worker.rng);
        worker.out_of_room = room == Room::Nothing;
        worker.out_of_room && admit::needs_memory(session, command)
    }

    /// Frees what the command took out, where that makes nobody wait for a shard.
    #[cold]
    fn free_garbage(&self, seat: &mut WorkerSeat) {
        for garbage in std::mem::take(&mut seat.worker.garbage) {
            garbage.free(|_, bytes| {
                self.memory.free_here(-(bytes as i64));
                seat.evictor.meter.report(&self.memory);
            });
        }
        // Most slabs are empty now but for blocks that some thread keeps.
        base::recall::recall_caches();
    }

    /// All was flushed: a save of what there was is ended, for its dump would bring that back. Where save
    /// points are set, what there is now is saved. The log says how that went; the client is told of its
    /// command only.
    #[cold]
    fn replace_dump(&self, config: &Config) {
        self.host.cancel_save(Wait::ForEnd);
        if !config.save.is_empty() {
            self.host.save_now().ok();
        }
    }

    /// Runs a command under locks that are held; logs, wakes and observes. EXEC calls it once for each
    /// command of its queue.
    #[inline(always)]
    pub fn execute(
        &self,
        env: &mut Env<'_, '_>,
        command: &'static Registered,
        hash: Option<NonZeroU64>,
        argv: &Argv<'_>,
    ) -> Outcome {
        let (start, began_ns) = (env.reply.len(), env.worker.clock_ns);
        let (db, origin) = (env.session.db, env.session.origin);
        let imports = env.config.import_mode;
        env.effects.begin(self.log.is_active() && origin == Origin::Client, db);
        env.effects.muted = env.session.unlogged;
        let keys = Keys {
            guard: &mut *env.guard,
            engine: self,
            effects: &mut *env.effects,
            config: env.config,
            db,
            client: env.session.client.id,
            now: env.worker.now,
            access: Access::at(env.worker.now, env.config, began_ns),
            no_touch: env.session.no_touch,
            shows_expired: origin == Origin::Replay || imports && env.session.import_source,
            hides_expired: (imports || self.pause.is_on()) && !command.row.has(flag::WRITE),
        };
        let mut ctx = Ctx {
            command,
            args: *argv,
            keys,
            reply: &mut *env.reply,
            session: &mut *env.session,
            engine: self,
            config: env.config,
            worker: &mut *env.worker,
            outcome: Outcome::Done,
            hash,
        };
        let result = (command.row.run)(&mut ctx);
        let outcome = ctx.outcome;
        if command.row.has(flag::READONLY) && env.session.client.tracking.is_on() {
            self.remember(env, command, argv);
        }
        if env.effects.any() {
            self.settle(env, db, argv);
        }
        if let Err(error) = &result {
            env.reply.truncate(start);
            env.reply.error(error.text());
            if !error.is_counted() {
                let is_script = command.row.group == Group::Scripting;
                let count = if is_script { ErrorCounts::count_invented } else { ErrorCounts::count };
                count(&self.errors, error.code());
                env.worker.stats.error_replies.add(1);
            }
        }
        if !env.effects.events.is_empty() {
            self.publish_events(env.config, &env.effects.events);
        }
        if self.monitors.any() && !env.session.serving {
            observe::feed_monitors(self, env.session, command, argv);
        }
        // A request that waits is counted when it is answered.
        if outcome == Outcome::Blocked {
            env.session.client.last_command.store(command.id, Ordering::Relaxed);
        } else {
            observe::observe(self, env, command, argv, (began_ns, start), result.is_err());
        }
        outcome
    }

    /// Makes the change known while its shards are still locked: the log keeps the order of memory.
    fn settle(&self, env: &mut Env<'_, '_>, db: store::DbIndex, argv: &Argv<'_>) {
        env.worker.stats.dirty.add(env.effects.dirty);
        if !env.effects.logged || env.effects.count() == 0 {
            return;
        }
        match &mut env.worker.transaction {
            Some(transaction) => transaction.append(&self.log, db, env.effects, argv),
            None => {
                let end = self.log.append(db, env.effects, argv);
                env.session.client.logged.store(end.0, Ordering::Relaxed);
            }
        }
    }

    /// The shards a command needs.
    #[inline]
    pub fn plan_at(
        &self,
        command: &'static Registered,
        hash: Option<NonZeroU64>,
        argv: &Argv<'_>,
        session: &Session,
        now: UnixMs,
    ) -> Plan {
        match command.row.plan {
            PlanRule::Keys => self.plan_of_keys(command, hash, argv),
            PlanRule::All => Plan::All,
            PlanRule::Custom(rule) => rule(&PlanInput { argv, session, engine: self, now }),
        }
    }

    #[inline(always)]
    fn plan_of_keys(&self, command: &Registered, hash: Option<NonZeroU64>, argv: &Argv<'_>) -> Plan {
        match (hash, command.row.keys) {
            (_, []) => Plan::None,
            (Some(hash), [spec]) if spec.is_single() => Plan::One(self.store.shard_of(hash.get())),
            _ => {
                let mut shards = store::plan::ShardList::new();
                command.row.visit_keys(argv, &mut |index| {
                    shards.push(self.store.shard_of(base::hash::hash(argv.at(index))));
                });
                Plan::of(shards)
            }
        }
    }

    /// Answers a request that did not pass a gate. In a transaction it makes EXEC fail.
    fn refuse(
        &self,
        seat: &mut WorkerSeat,
        session: &mut Session,
        command: Option<&'static Registered>,
        refusal: &CmdError,
        reply: &mut Reply,
    ) -> Outcome {
        let stats = &seat.worker.stats;
        stats.error_replies.add(1);
        if let Some(command) = command {
            stats.commands[command.id as usize].rejected.add(1);
        }
        if command.is_some_and(|command| command.row.name == "exec") {
            multi::abort_exec(self, session, refusal, reply);
            return Outcome::Done;
        }
        self.errors.count(refusal.code());
        reply.error(refusal.text());
        if session.in_multi() {
            multi::mark_aborted(session);
        }
        Outcome::Done
    }
}

/// Bytes of memory that a reply may take.
#[inline]
fn reply_limit(seat: &WorkerSeat, session: &Session) -> usize {
    let limited = seat.clients_limit != 0 && !session.client.no_evict.load(Ordering::Relaxed);
    if limited { seat.clients_limit as usize } else { 0 }
}

/// Finds the command, and the subcommand of a container.
#[inline(always)]
pub fn lookup(argv: &Argv<'_>) -> Option<&'static Registered> {
    let command = REGISTRY.find(argv.at(0))?;
    if command.children.is_empty() || argv.len() == 1 {
        return Some(command);
    }
    REGISTRY.find_child(command, argv.at(1))
}

/// Whether a client wants the reply to a request that waited.
pub fn takes_reply(session: &mut Session) -> bool {
    let takes = session.reply_mode == ReplyMode::On;
    session.reply_mode = session.reply_mode.after_reply();
    session.client.tracking.end_caching();
    takes
}

/// Takes back the reply of a client that wants none.
#[cold]
fn mute(session: &mut Session, reply: &mut Reply, start: usize) {
    reply.truncate(start);
    session.reply_mode = session.reply_mode.after_reply();
}

/// Whether a command changes data, itself or through what it starts.
pub fn may_write(command: &Registered) -> bool {
    command.row.has(flag::WRITE | flag::MAY_REPLICATE)
}

/// Whether a request runs a script now: by itself, or as the EXEC of a transaction that has one.
#[inline]
pub fn is_script(command: &'static Registered, session: &Session) -> bool {
    match &session.multi {
        None => command.runs_scripts,
        Some(multi) => {
            command.row.name == "exec" && multi.queue.iter().any(|queued| queued.command.runs_scripts)
        }
    }
}
