//! A script that runs: its commands go through the pipeline under the locks that its EVAL or FCALL took, and
//! their effects reach the log as one piece.

use std::sync::atomic::Ordering;

use base::alloc;
use resp::reply::Reply;
use script::{Function, Host, Machine, Passing, Run, Words};
use store::Plan;

use crate::admit;
use crate::ahead::Patience;
use crate::args::Argv;
use crate::command::{CmdResult, Group, PlanRule, flag};
use crate::ctx::Ctx;
use crate::engine::Engine;
use crate::error::{CmdError, code_of};
use crate::host::{Heard, Level, WorkerId};
use crate::multi::TransactionLog;
use crate::pipeline::{Env, lookup, may_write};
use crate::registry::Registered;
use crate::running::{Details, Running, ScriptKind};
use crate::session::Origin;
use crate::shebang::{self, Shebang};

/// A script that is to be run with the words of a request.
pub struct Call<'c> {
    pub function: Function,
    /// What error texts call it.
    pub name: &'c [u8],
    pub kind: ScriptKind,
    pub flags: Shebang,
    /// Its first so many words are keys.
    pub keys: usize,
    /// The command is one of those that only read.
    pub read_only: bool,
}

/// Where the words of a script begin in its request.
pub const FIRST_WORD: usize = 3;

/// What a script may do.
#[derive(Clone, Copy, Default)]
struct Rights {
    read_only: bool,
    allow_oom: bool,
}

/// Runs a script.
pub fn run(ctx: &mut Ctx, machine: &mut Machine, call: &Call<'_>) -> CmdResult {
    let (engine, worker, flags) = (ctx.engine, ctx.worker.id, call.flags);
    let cramped = engine.memory.is_over() && ctx.worker.out_of_room && ctx.session.origin == Origin::Client;
    if flags.given {
        admit(ctx, call, cramped)?;
    }
    let args = ctx.args;
    let word = |index: usize| args.at(FIRST_WORD + index);
    let words = args.len() - FIRST_WORD;
    let passing = match call.kind {
        ScriptKind::Eval => Passing::Globals,
        ScriptKind::Function => Passing::Arguments,
    };
    let is_debugged = call.kind == ScriptKind::Eval && std::mem::take(&mut ctx.session.debugs_scripts);
    let run = Run {
        function: call.function,
        passing,
        name: call.name,
        keys: call.keys,
        words,
        word: &word,
        debugged: is_debugged.then(|| args.at(1)),
    };
    let alone = ctx.keys.guard.holds_all();
    let declared = (flags.declared_keys || !alone).then(|| sorted_keys(&args, call.keys));
    let rights =
        Rights { read_only: call.read_only || flags.no_writes, allow_oom: flags.given && flags.allow_oom };
    let before = begin(ctx);
    engine.scripts.running.begin(worker, call.kind, ctx.worker.clock_ns);
    let (start, mut reply) = (ctx.reply.len(), std::mem::take(ctx.reply));
    let balance = alloc::thread_balance();
    let (failures, looked_ns) = (Failures::default(), ctx.worker.clock_ns);
    let patience = Patience::default();
    let mut host =
        ScriptHost { ctx, call, worker, rights, cramped, declared, balance, failures, looked_ns, patience };
    let result = machine.run(&mut host, &run, &mut reply);
    let failures = host.failures;
    engine.scripts.running.end(worker);
    *ctx.reply = reply;
    end(ctx, &before);
    match result {
        Ok(()) => match own_error(ctx, start) {
            Some(text) => Err(CmdError::counted(text)),
            None => {
                ctx.worker.stats.commands[ctx.command.id as usize].failed.add(failures.count());
                Ok(())
            }
        },
        Err(failure) if failure.counted => Err(CmdError::counted(failure.text)),
        Err(failure) => Err(CmdError::of_bytes(failure.text)),
    }
}

/// The keys of a request, for looking them up.
fn sorted_keys<'a>(args: &Argv<'a>, count: usize) -> Vec<&'a [u8]> {
    let mut keys: Vec<_> = (FIRST_WORD..FIRST_WORD + count).map(|index| args.at(index)).collect();
    keys.sort_unstable();
    keys
}

/// What of a session a script may change for itself.
struct Before {
    db: store::DbIndex,
    in_exec: bool,
    unlogged: bool,
    /// The script's effects are a transaction of their own.
    outermost: bool,
}

fn begin(ctx: &mut Ctx) -> Before {
    let session = &mut *ctx.session;
    let outermost = ctx.worker.transaction.is_none();
    let before = Before { db: session.db, in_exec: session.in_exec, unlogged: session.unlogged, outermost };
    (session.in_exec, session.in_script, session.script_time_us) = (true, true, None);
    if outermost {
        ctx.worker.transaction = Some(TransactionLog::default());
    }
    before
}

fn end(ctx: &mut Ctx, before: &Before) {
    let session = &mut *ctx.session;
    (session.in_exec, session.in_script, session.unlogged) = (before.in_exec, false, before.unlogged);
    session.select(before.db);
    if before.outermost
        && let Some(transaction) = ctx.worker.transaction.take()
        && let Some(end) = transaction.commit(ctx.engine)
    {
        ctx.session.client.logged.store(end.0, Ordering::Relaxed);
    }
    ctx.keys.effects.begin(false, before.db);
}

/// A script that returns an error has failed as a command that replies one.
fn own_error(ctx: &Ctx, start: usize) -> Option<Vec<u8>> {
    match ctx.reply.buf.get(start..) {
        Some([b'-', text @ .., b'\r', b'\n']) => Some(text.to_vec()),
        _ => None,
    }
}

/// The rules for scripts that say what they are.
fn admit(ctx: &Ctx, call: &Call<'_>, cramped: bool) -> CmdResult {
    if call.flags.no_writes {
        return Ok(());
    }
    if cramped && !call.flags.allow_oom {
        return Err(CmdError::OUT_OF_MEMORY);
    }
    if ctx.session.origin == Origin::Client
        && let Some(fault) = admit::disk_fault(ctx.engine, ctx.config)
    {
        return Err(fault.error());
    }
    if call.read_only {
        return Err(CmdError::fixed("ERR Can not execute a script with write flag using *_ro command."));
    }
    Ok(())
}

/// The script's way to the pipeline.
struct ScriptHost<'h, 'a, 's> {
    ctx: &'h mut Ctx<'a, 's>,
    call: &'h Call<'h>,
    worker: WorkerId,
    rights: Rights,
    /// Memory was used up when the script began.
    cramped: bool,
    /// The only keys it may touch, sorted, if it keeps to its keys.
    declared: Option<Vec<&'a [u8]>>,
    /// What this thread had allocated when the script began.
    balance: i64,
    failures: Failures,
    /// When a command's end was the occasion to look whether the script must end, or the script's begin.
    looked_ns: u64,
    patience: Patience,
}

/// How often a command that waits for room looks whether there is some.
const ROOM_PAUSE_US: u64 = 100;

/// How long commands of a script go on without such a look.
const LOOK_NS: u64 = 10_000_000;

/// Errors among what a script returns.
#[derive(Clone, Copy, Default)]
struct Failures {
    /// Those that its commands have met.
    known: u64,
    /// There are others.
    invented: bool,
}

impl Failures {
    /// How often the script's own command has failed, as Redis counts: with each of the former, and once.
    fn count(self) -> u64 {
        self.known + u64::from(self.invented)
    }
}

impl Host for ScriptHost<'_, '_, '_> {
    fn call(&mut self, words: Words<'_>, reply: &mut Reply) -> bool {
        let argv = Argv::new(words.input, words.spans, &[]);
        let command = match self.admitted(&argv) {
            Ok(command) => command,
            Err(refusal) => {
                self.refuse(&refusal, reply);
                return false;
            }
        };
        if self.ctx.engine.store.snapshots_run() && may_write(command) {
            self.await_room(command, &argv);
        }
        let (engine, ctx) = (self.ctx.engine, &mut *self.ctx);
        let mut env = Env {
            config: ctx.config,
            worker: &mut *ctx.worker,
            effects: &mut *ctx.keys.effects,
            guard: &mut *ctx.keys.guard,
            session: &mut *ctx.session,
            reply,
        };
        engine.execute(&mut env, command, None, &argv);
        // The command's end, which its statistics have asked for.
        let now_ns = self.ctx.worker.clock_ns;
        let is_due = now_ns.saturating_sub(self.looked_ns) >= LOOK_NS;
        if is_due {
            self.looked_ns = now_ns;
        }
        is_due
    }

    fn knows(&mut self, words: Words<'_>) -> bool {
        lookup(&Argv::new(words.input, words.spans, &[])).is_some()
    }

    fn set_logged(&mut self, logged: bool) {
        self.ctx.session.unlogged = !logged;
    }

    fn log(&mut self, level: u8, message: &[u8]) {
        self.ctx.engine.log_of_script(level, message);
    }

    fn count_error(&mut self, text: &[u8], known: bool) {
        if known {
            self.failures.known += 1;
            return;
        }
        self.failures.invented = true;
        self.ctx.engine.errors.count_invented(code_of(text));
        self.ctx.worker.stats.error_replies.add(1);
    }

    fn must_end(&mut self) -> Option<&'static str> {
        self.attend_others();
        if !self.running().is_killed(self.worker) {
            return None;
        }
        let command = self.call.kind.kill_command();
        self.ctx.engine.host.log(Level::Warning, &format!("Lua script killed by user with {command}."));
        Some(self.call.kind.killed())
    }

    fn clock_s(&mut self) -> f64 {
        self.ctx.engine.host.monotonic_ns() as f64 / 1e9
    }

    fn say(&mut self, shown: &[u8]) {
        self.ctx.engine.host.say(shown);
    }

    fn hear(&mut self, input: &mut Vec<u8>) -> bool {
        loop {
            match self.ctx.engine.host.hear(input) {
                Heard::Bytes => return true,
                Heard::End => return false,
                Heard::Nothing => self.attend_others(),
            }
            let is_ended = self.ctx.session.client.killed.load(Ordering::Relaxed);
            if is_ended || self.running().is_killed(self.worker) {
                return false;
            }
        }
    }
}

impl Engine {
    /// Whether a request changes data, as far as can be known: a script may say that it does not.
    pub(crate) fn would_write(&self, command: &'static Registered, argv: &Argv<'_>) -> bool {
        let flags = match command.row.name {
            "eval" => shebang::parse(argv.at(1)).ok(),
            "evalsha" => self.scripts.find(argv.at(1)).map(|script| script.shebang),
            "fcall" => {
                let libraries = self.functions.current();
                libraries.find(argv.at(1)).map(|(_, info)| Shebang::of_function(info.flags))
            }
            _ => None,
        };
        may_write(command) && !flags.is_some_and(|flags| flags.no_writes)
    }

    /// Writes what a script says to the log, at one of Redis' levels.
    pub(crate) fn log_of_script(&self, level: u8, message: &[u8]) {
        let level = [Level::Debug, Level::Verbose, Level::Notice, Level::Warning][usize::from(level.min(3))];
        self.host.log(level, &String::from_utf8_lossy(message));
    }
}

impl ScriptHost<'_, '_, '_> {
    fn running(&self) -> &Running {
        &self.ctx.engine.scripts.running
    }

    /// While too much waits for the snapshots, a command that adds to it waits too.
    #[cold]
    fn await_room(&mut self, command: &'static Registered, argv: &Argv<'_>) {
        let (engine, db) = (self.ctx.engine, self.ctx.session.db);
        let (since_ns, waited_ns) = (engine.host.monotonic_ns(), self.patience.waited_ns);
        let mut waits = false;
        while !engine.has_room_for((&mut *self.ctx.keys.guard, db), command, argv, &mut self.patience) {
            waits = true;
            self.attend_others();
            engine.host.sleep_us(ROOM_PAUSE_US);
            self.patience.waited_ns = waited_ns + engine.host.monotonic_ns().saturating_sub(since_ns);
        }
        if waits {
            let stats = &self.ctx.worker.stats;
            stats.snapshot_delays.add(1);
            stats.snapshot_delay_us.add((self.patience.waited_ns - waited_ns) / 1000);
        }
    }

    /// After some time the worker hears its other clients.
    fn attend_others(&mut self) {
        let (host, threshold_ms) = (&self.ctx.engine.host, self.ctx.config.busy_reply_threshold_ms);
        if threshold_ms == 0 {
            return;
        }
        let elapsed_ms = self.running().elapsed_ns(self.worker, host.monotonic_ns()) / 1_000_000;
        if elapsed_ms < threshold_ms as u64 {
            return;
        }
        let details = || Details { name: self.call.name.into(), command: self.ctx.args.to_owned() };
        if self.running().set_busy(self.worker, details) {
            let text = format!(
                "Slow script detected: still in execution after {elapsed_ms} milliseconds. You can try killing the \
                 script using the {} command. Script name is: {}.",
                self.call.kind.kill_command(),
                String::from_utf8_lossy(self.call.name)
            );
            host.log(Level::Warning, &text);
        }
        host.attend();
        // A script that waits for the clock comes to its end.
        self.ctx.session.script_time_us = None;
    }

    /// The command, if a script may run it now.
    fn admitted(&mut self, argv: &Argv<'_>) -> Result<&'static Registered, Refusal> {
        let Some(command) = lookup(argv) else {
            return Err(Refusal(None, CmdError::fixed("ERR Unknown Redis command called from script")));
        };
        let refuse = |error| Err(Refusal(Some(command), error));
        let row = command.row;
        if !row.takes(argv.len()) {
            return refuse(CmdError::fixed("ERR Wrong number of args calling Redis command from script"));
        }
        if row.has(flag::NO_SCRIPT) && !self.ctx.engine.debug.scripts_run_all.load(Ordering::Relaxed) {
            return refuse(CmdError::fixed("ERR This Redis command is not allowed from script"));
        }
        if self.declared.is_some()
            && let Err(error) = self.keeps_to_keys(command, argv)
        {
            return refuse(error);
        }
        if self.rights.read_only && may_write(command) {
            return refuse(CmdError::fixed("ERR Write commands are not allowed from read-only scripts."));
        }
        if row.has(flag::DENY_OOM) && !self.rights.allow_oom && self.has_outgrown_memory() {
            return refuse(CmdError::OUT_OF_MEMORY);
        }
        // What has begun to change data is not stopped halfway, unless it would take ever more memory.
        if self.running().has_written(self.worker) {
            return Ok(command);
        }
        let writes = row.has(flag::WRITE);
        if writes
            && self.ctx.session.origin == Origin::Client
            && let Some(fault) = admit::disk_fault(self.ctx.engine, self.ctx.config)
        {
            return refuse(fault.error());
        }
        if row.has(flag::DENY_OOM) && self.cramped && !self.rights.allow_oom {
            return refuse(CmdError::OUT_OF_MEMORY);
        }
        if writes && !self.running().begin_write(self.worker) {
            return refuse(CmdError::fixed(self.call.kind.killed()));
        }
        Ok(command)
    }

    /// Nothing gives way while a script runs: what it writes, and its effects, may not fill memory by
    /// themselves.
    fn has_outgrown_memory(&self) -> bool {
        let engine = self.ctx.engine;
        engine.memory.limit() != 0
            && self.ctx.session.origin == Origin::Client
            && engine.memory.is_outgrown_by(alloc::thread_balance() - self.balance)
            // What other threads free for it meanwhile is in no balance of its own.
            && alloc::stats().allocated as u64
                > engine.memory.ceiling() + engine.host.reclaim_counts().waiting_bytes
    }

    /// The command of a script that declares its keys keeps to them, and to shards that are locked.
    fn keeps_to_keys(&self, command: &'static Registered, argv: &Argv<'_>) -> CmdResult {
        let (ctx, declared) = (&*self.ctx, self.declared.as_deref().unwrap_or_default());
        let mut all = true;
        command.row.visit_keys(argv, &mut |index| all &= declared.binary_search(&argv.at(index)).is_ok());
        if !all {
            return Err(UNDECLARED);
        }
        let plan = match (command.row.plan, command.row.keys) {
            // They look at no key.
            _ if command.row.group == Group::PubSub => Plan::None,
            // Their plans may look at any shard.
            (PlanRule::All, _) | (PlanRule::Custom(_), []) => Plan::All,
            _ => ctx.engine.plan_at(command, None, argv, ctx.session, ctx.worker.now),
        };
        let holds = |shard| ctx.keys.guard.holds(shard);
        let keeps = match plan {
            Plan::None => true,
            Plan::One(shard) => holds(shard),
            Plan::Some(shards) => shards.iter().copied().all(holds),
            Plan::All => false,
        };
        match () {
            () if keeps => Ok(()),
            () if command.row.keys.is_empty() => Err(KEYSPACE),
            () => Err(UNDECLARED),
        }
    }

    fn refuse(&mut self, Refusal(command, error): &Refusal, reply: &mut Reply) {
        let stats = &self.ctx.worker.stats;
        stats.error_replies.add(1);
        self.ctx.engine.errors.count(error.code());
        if let Some(command) = command {
            stats.commands[command.id as usize].rejected.add(1);
        }
        reply.error(error.text());
    }
}

/// Why a command does not run, and which it is.
struct Refusal(Option<&'static Registered>, CmdError);

const UNDECLARED: CmdError = CmdError::fixed("ERR Script attempted to access a key that it did not declare");
const KEYSPACE: CmdError = CmdError::fixed(
    "ERR This command needs the whole keyspace, and the script keeps to the keys that it declared",
);
