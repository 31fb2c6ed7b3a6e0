//! MULTI, EXEC, DISCARD, WATCH, and CLIENT PAUSE: requests that run later than they arrive.
//!
//! EXEC locks the shards of its whole queue at once and runs each command through the pipeline's `execute`;
//! its effects reach the log as one piece.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use base::time::UnixMs;
use resp::reply::Reply;
use store::{DbIndex, Plan};

use crate::admit::Request;
use crate::args::Argv;
use crate::command::{CmdResult, Command, Group, PlanInput, PlanRule, command, flag};
use crate::ctx::Ctx;
use crate::effects::Effects;
use crate::engine::{Engine, WorkerSeat};
use crate::error::CmdError;
use crate::keyspec::{KeySpec, flag as key};
use crate::log::{Log, Offset, write_select};
use crate::pipeline::{Env, Outcome};
use crate::registry::Registered;
use crate::session::{Multi, Origin, Queued, Session};
use crate::watch::WatchedKey;

pub static TABLE: &[Command] = &[
    command("multi", 1, Group::Transactions, multi)
        .flags(flag::NO_SCRIPT | flag::LOADING | flag::STALE | flag::FAST | flag::ALLOW_BUSY | flag::NO_MULTI)
        .since("1.2.0")
        .docs("Starts a transaction: the commands that follow are queued.", "O(1)"),
    command("exec", 1, Group::Transactions, exec)
        .flags(flag::NO_SCRIPT | flag::LOADING | flag::STALE | flag::SKIP_SLOWLOG)
        .plan(PlanRule::Custom(exec_plan))
        .since("1.2.0")
        .docs("Runs all commands of a transaction.", "Depends on commands in the transaction"),
    command("discard", 1, Group::Transactions, discard)
        .flags(flag::NO_SCRIPT | flag::LOADING | flag::STALE | flag::FAST | flag::ALLOW_BUSY)
        .since("2.0.0")
        .docs("Drops a transaction's queued commands.", "O(N), when N is the number of queued commands"),
    command("watch", -2, Group::Transactions, watch)
        .flags(flag::NO_SCRIPT | flag::LOADING | flag::STALE | flag::FAST | flag::ALLOW_BUSY | flag::NO_MULTI)
        .keys(&[KeySpec::range(1, -1, 1, key::RO)])
        .since("2.2.0")
        .syntax("key [key ...]")
        .docs("Makes the next EXEC fail if one of the keys changes before it.", "O(1) for every key."),
    command("unwatch", 1, Group::Transactions, unwatch)
        .flags(flag::NO_SCRIPT | flag::LOADING | flag::STALE | flag::FAST | flag::ALLOW_BUSY)
        .since("2.2.0")
        .docs("Forgets the watched keys.", "O(1)"),
];

/// Whether a command runs at once although a transaction is open.
pub fn runs_at_once(command: &Registered) -> bool {
    matches!(command.row.name, "exec" | "discard" | "multi" | "watch" | "quit" | "reset")
        && command.parent.is_none()
}

/// Queues a command of an open transaction.
pub fn enqueue(
    engine: &Engine,
    seat: &mut WorkerSeat,
    session: &mut Session,
    command: &'static Registered,
    argv: &Argv<'_>,
    reply: &mut Reply,
) -> Outcome {
    let limit = seat.config.client_query_buffer_limit as usize;
    let multi = session.multi.as_mut().expect("only called inside a transaction");
    if command.row.has(flag::NO_MULTI) {
        multi.aborted = true;
        reply.error("ERR Command not allowed inside a transaction");
        engine.errors.count("ERR");
        seat.worker.stats.error_replies.add(1);
        session.show_multi();
        return Outcome::Done;
    }
    let argv = argv.to_owned();
    multi.bytes += argv.memory() + size_of::<Queued>();
    multi.queue.push(Queued { command, argv });
    if multi.bytes > limit && session.origin == Origin::Client {
        seat.worker.stats.input_limit_closed.add(1);
        return Outcome::Close;
    }
    reply.simple("QUEUED");
    session.show_multi();
    Outcome::Done
}

/// EXEC itself was refused: the transaction ends, if there is one, and the reply says why.
pub fn abort_exec(engine: &Engine, session: &mut Session, refusal: &CmdError, reply: &mut Reply) {
    reply.error([b"EXECABORT Transaction discarded because of: ", strip_code(refusal.text())].concat());
    engine.errors.count("EXECABORT");
    close(engine, session);
}

/// A command was refused inside a transaction: its EXEC will fail.
pub fn mark_aborted(session: &mut Session) {
    if let Some(multi) = &mut session.multi {
        multi.aborted = true;
    }
    session.show_multi();
}

fn strip_code(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"ERR ").unwrap_or(text)
}

fn close(engine: &Engine, session: &mut Session) {
    session.multi = None;
    engine.watches.clear(&session.client, &mut session.watched);
    session.show_multi();
    session.show_watched();
}

fn multi(ctx: &mut Ctx) -> CmdResult {
    if ctx.session.multi.is_some() {
        return Err(CmdError::new("ERR MULTI calls can not be nested"));
    }
    ctx.session.multi = Some(Multi::default());
    ctx.session.show_multi();
    ctx.reply.ok();
    Ok(())
}

fn discard(ctx: &mut Ctx) -> CmdResult {
    if ctx.session.multi.is_none() {
        return Err(CmdError::new("ERR DISCARD without MULTI"));
    }
    close(ctx.engine, ctx.session);
    ctx.reply.ok();
    Ok(())
}

fn watch(ctx: &mut Ctx) -> CmdResult {
    if ctx.session.multi.is_some() {
        return Err(CmdError::new("ERR WATCH inside MULTI is not allowed"));
    }
    for index in 1..ctx.args.len() {
        let key = ctx.key(index);
        let shard = ctx.engine.store.shard_of(key.hash);
        let was_expired = ctx.keys.is_expired(key);
        let watched =
            WatchedKey { shard, db: ctx.session.db, key: key.bytes.into(), hash: key.hash, was_expired };
        let session = &mut *ctx.session;
        ctx.engine.watches.add(&session.client, &mut session.watched, watched);
    }
    ctx.session.show_watched();
    ctx.reply.ok();
    Ok(())
}

fn unwatch(ctx: &mut Ctx) -> CmdResult {
    ctx.engine.watches.clear(&ctx.session.client, &mut ctx.session.watched);
    ctx.session.show_watched();
    ctx.reply.ok();
    Ok(())
}

/// The shards of all queued commands and of the watched keys.
fn exec_plan(input: &PlanInput<'_>) -> Plan {
    let Some(multi) = &input.session.multi else { return Plan::None };
    let watched = Plan::of(input.session.watched.keys.iter().map(|key| key.shard));
    multi.queue.iter().fold(watched, |plan, queued| {
        let argv = queued.argv.view();
        let command = queued.command;
        plan.union(input.engine.plan_at(command, None, &argv, input.session, input.now))
    })
}

fn exec(ctx: &mut Ctx) -> CmdResult {
    let Some(multi) = ctx.session.multi.take() else {
        return Err(CmdError::new("ERR EXEC without MULTI"));
    };
    let aborted = multi.aborted;
    let stale = ctx.session.watched.dirty.load(Ordering::Relaxed) || watched_expired(ctx);
    close(ctx.engine, ctx.session);
    if aborted {
        return Err(CmdError::new("EXECABORT Transaction discarded because of previous errors."));
    }
    if stale {
        ctx.reply.null_array();
        return Ok(());
    }
    ctx.reply.array(multi.queue.len());
    ctx.session.in_exec = true;
    ctx.worker.transaction = Some(TransactionLog::default());
    run_queue(ctx, &multi);
    ctx.session.in_exec = false;
    let end = ctx.worker.transaction.take().and_then(|transaction| transaction.commit(ctx.engine));
    if let Some(end) = end {
        ctx.session.client.logged.store(end.0, Ordering::Relaxed);
    }
    Ok(())
}

fn run_queue(ctx: &mut Ctx, multi: &Multi) {
    let engine = ctx.engine;
    for queued in &multi.queue {
        let argv = queued.argv.view();
        // CONFIG SET may have been the one before.
        let config = engine.config();
        let mut env = Env {
            config: &config,
            worker: &mut *ctx.worker,
            effects: &mut *ctx.keys.effects,
            guard: &mut *ctx.keys.guard,
            session: &mut *ctx.session,
            reply: &mut *ctx.reply,
        };
        let outcome = engine.execute(&mut env, queued.command, None, &argv);
        if outcome == Outcome::Close {
            ctx.outcome = Outcome::Close;
        }
    }
    ctx.keys.effects.begin(false, ctx.session.db);
}

/// A watched key that has expired since it was watched counts as changed.
fn watched_expired(ctx: &mut Ctx) -> bool {
    let (keys, engine, session) = (&mut ctx.keys, ctx.engine, &*ctx.session);
    session.watched.keys.iter().any(|watched| {
        let key = store::Key { bytes: &watched.key, hash: watched.hash };
        keys.with_db(watched.db, |keys| keys.is_expired(key))
            && !engine.watches.is_stale(&session.watched, watched)
    })
}

/// What a transaction did, kept until EXEC ends so that the log gets it in one piece.
#[derive(Default)]
pub struct TransactionLog {
    /// MULTI and the requests, in parts of whole requests: they may be as large as all that a script writes,
    /// and the log takes one part after the other from here.
    parts: Vec<Vec<u8>>,
    /// Requests in it, SELECT not counted.
    count: usize,
    /// The databases of the first request and of the last.
    dbs: Option<(DbIndex, DbIndex)>,
    /// Bytes of all parts but the first.
    withheld: usize,
}

impl TransactionLog {
    pub(crate) fn append(&mut self, log: &Log, db: DbIndex, effects: &Effects, argv: &Argv<'_>) {
        if self.parts.is_empty() {
            self.parts.push(MULTI.to_vec());
        }
        let (first, last) = self.dbs.unwrap_or((db, db));
        self.dbs = Some((first, db));
        self.count += effects.count();
        let part = self.part_for(log, effects.len_max(argv));
        if last != db {
            write_select(part, db);
        }
        effects.write(argv, part);
    }

    /// Where a request of so many bytes goes. The first part grows, the others have their room from the
    /// start: nothing large is ever copied.
    fn part_for(&mut self, log: &Log, len: usize) -> &mut Vec<u8> {
        let filled = self.parts.last().map_or(0, Vec::len);
        if filled + len > PART_LEN {
            let part = Vec::with_capacity(PART_LEN.max(len + SELECT_LEN));
            log.withhold(part.capacity());
            self.withheld += part.capacity();
            self.parts.push(part);
        }
        self.parts.last_mut().expect("there is one at least")
    }

    /// One request alone is a transaction without being wrapped as one. Returns where the log is behind it.
    pub(crate) fn commit(mut self, engine: &Engine) -> Option<Offset> {
        let dbs = self.dbs?;
        let is_alone = self.count == 1;
        if !is_alone {
            self.parts.last_mut().expect("there are requests").extend_from_slice(EXEC);
        }
        let end = engine.log.append_requests(dbs, self.parts, if is_alone { MULTI.len() } else { 0 });
        engine.log.hand_over(self.withheld);
        Some(end)
    }
}

/// Bytes of a part, but for one large request.
const PART_LEN: usize = 256 << 10;
/// What a request that selects a database takes at most.
const SELECT_LEN: usize = 64;
const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

/// CLIENT PAUSE: until when, and whether reads go on. Beside it the pause of the last save.
#[derive(Default)]
pub struct Pause {
    until_ms: AtomicI64,
    all: AtomicBool,
    /// The process ends once what there is is saved: writes wait, and no client can change that.
    ending: AtomicBool,
}

impl Pause {
    /// Starts or prolongs a pause; the wider of two kinds and the later of two ends win.
    pub fn start(&self, until: UnixMs, all: bool) {
        self.all.fetch_or(all, Ordering::Relaxed);
        self.until_ms.fetch_max(until.0, Ordering::Release);
    }

    pub fn stop(&self) {
        self.until_ms.store(0, Ordering::Release);
        self.all.store(false, Ordering::Relaxed);
    }

    /// Writes are held for the end of the process, or not any more. Who takes shards after somebody who has
    /// held all of them since then knows of it.
    pub fn set_ending(&self, on: bool) {
        self.ending.store(on, Ordering::Release);
    }

    #[inline]
    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    /// Until when, and whether reads are held too; `None`: clients have asked for none.
    pub fn current(&self, now: UnixMs) -> Option<(UnixMs, bool)> {
        let until = self.until_ms.load(Ordering::Acquire);
        (until > now.0).then(|| (UnixMs(until), self.all.load(Ordering::Relaxed)))
    }

    /// Whether a pause has run out and is to be stopped.
    pub fn has_ended(&self, now: UnixMs) -> bool {
        let until = self.until_ms.load(Ordering::Acquire);
        until != 0 && until <= now.0
    }

    /// Whether requests may have to wait. Then only commands that write delete what has expired.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.until_ms.load(Ordering::Relaxed) != 0 || self.is_ending()
    }

    /// Whether this request waits.
    pub fn holds(&self, request: &Request<'_>, now: UnixMs) -> bool {
        let current = self.current(now);
        if current.is_none() && !self.is_ending() {
            return false;
        }
        let all = current.is_some_and(|(_, all)| all);
        let Request { engine, session, command, argv, .. } = *request;
        if session.origin == Origin::Replay || command.parent.is_some_and(is_client_command) {
            return false;
        }
        let queue = session.multi.iter().flat_map(|multi| &multi.queue);
        let queued_writes = command.row.name == "exec"
            && queue.into_iter().any(|queued| engine.would_write(queued.command, &queued.argv.view()));
        all || engine.would_write(command, argv) || queued_writes
    }
}

/// CLIENT's subcommands are never held: CLIENT UNPAUSE ends the pause.
fn is_client_command(parent: u16) -> bool {
    crate::registry::REGISTRY.all[parent as usize].row.name == "client"
}
