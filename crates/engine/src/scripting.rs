//! A script that runs: its commands go through the pipeline under the locks that its EVAL took, and their
//! effects reach the log as one piece.

use std::sync::atomic::Ordering;

use resp::reply::Reply;
use script::{Host, Run, Words};

use crate::args::Argv;
use crate::command::{CmdResult, flag};
use crate::config::Config;
use crate::ctx::Ctx;
use crate::engine::Engine;
use crate::error::CmdError;
use crate::host::Level;
use crate::multi::TransactionLog;
use crate::pipeline::{Env, lookup, may_write};
use crate::registry::Registered;
use crate::scripts::{Ready, ScriptSeat};
use crate::session::Origin;

/// What a script may do.
#[derive(Clone, Copy, Default)]
struct Rights {
    read_only: bool,
    allow_oom: bool,
}

/// Runs a script with the words from `first_word` on, the first `keys` of which are keys.
pub fn run(
    ctx: &mut Ctx,
    seat: &mut ScriptSeat,
    ready: &Ready,
    (keys, first_word): (usize, usize),
    read_only_command: bool,
) -> CmdResult {
    let engine = ctx.engine;
    let shebang = ready.script.shebang;
    let cramped = engine.memory.is_over() && ctx.worker.out_of_room && ctx.session.origin == Origin::Client;
    if shebang.given {
        admit(ctx, ready, read_only_command, cramped)?;
    }
    let rights = Rights {
        read_only: read_only_command || shebang.no_writes,
        allow_oom: shebang.given && shebang.allow_oom,
    };
    let args = ctx.args;
    let word = |index: usize| args.at(first_word + index);
    let run = Run {
        function: ready.function,
        name: &ready.script.sha,
        keys,
        words: args.len() - first_word,
        word: &word,
    };
    let saved = (ctx.session.db, ctx.session.in_exec, ctx.session.in_script, ctx.session.unlogged);
    (ctx.session.in_exec, ctx.session.in_script) = (true, true);
    let outermost = ctx.worker.transaction.is_none();
    if outermost {
        ctx.worker.transaction = Some(TransactionLog::default());
    }
    engine.scripts.running.begin(ctx.worker.clock_ns);
    let (start, mut reply) = (ctx.reply.len(), std::mem::take(ctx.reply));
    let mut host = ScriptHost { ctx, rights, cramped };
    let result = seat.machine().run(&mut host, &run, &mut reply);
    engine.scripts.running.end();
    *ctx.reply = reply;
    (_, ctx.session.in_exec, ctx.session.in_script, ctx.session.unlogged) = saved;
    ctx.session.select(saved.0);
    if outermost && let Some(transaction) = ctx.worker.transaction.take() {
        transaction.commit(engine);
    }
    ctx.keys.effects.begin(false, ctx.session.db);
    match result {
        Ok(()) => count_reply(ctx, start),
        Err(failure) if failure.counted => return Err(CmdError::counted(failure.text)),
        Err(failure) => return Err(CmdError::of_bytes(failure.text)),
    }
    Ok(())
}

/// A script that returns an error has failed as a command that replies one.
fn count_reply(ctx: &mut Ctx, start: usize) {
    if let Some([b'-', text @ ..]) = ctx.reply.buf.get(start..) {
        let end = text.iter().position(|byte| matches!(byte, b' ' | b'\r')).unwrap_or(text.len());
        ctx.engine.errors.count(std::str::from_utf8(&text[..end]).unwrap_or("ERR"));
        ctx.worker.stats.error_replies.add(1);
    }
}

/// The rules for scripts that say what they are.
fn admit(ctx: &Ctx, ready: &Ready, read_only_command: bool, cramped: bool) -> CmdResult {
    let shebang = ready.script.shebang;
    if !shebang.no_writes {
        if is_disk_failing(ctx.engine, ctx.config) {
            return Err(CmdError::fixed(
                "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. \
                 Writable scripts are blocked. Use 'no-writes' flag for read only scripts.",
            ));
        }
        if read_only_command {
            return Err(CmdError::fixed("ERR Can not execute a script with write flag using *_ro command."));
        }
        if cramped && !shebang.allow_oom {
            return Err(CmdError::fixed(
                "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'",
            ));
        }
    }
    Ok(())
}

fn is_disk_failing(engine: &Engine, config: &Config) -> bool {
    engine.writes_stopped.load(Ordering::Relaxed)
        && config.stop_writes_on_bgsave_error
        && !config.save.is_empty()
}

/// The script's way to the pipeline.
struct ScriptHost<'h, 'a, 's> {
    ctx: &'h mut Ctx<'a, 's>,
    rights: Rights,
    /// Memory was used up when the script began.
    cramped: bool,
}

impl Host for ScriptHost<'_, '_, '_> {
    fn call(&mut self, words: Words<'_>, reply: &mut Reply) {
        let argv = Argv::new(words.input, words.spans, &[]);
        let command = match self.admitted(&argv) {
            Ok(command) => command,
            Err(refusal) => return self.refuse(&refusal, reply),
        };
        let (engine, ctx) = (self.ctx.engine, &mut *self.ctx);
        if command.row.has(flag::WRITE) {
            engine.scripts.running.set_wrote();
        }
        let mut env = Env {
            config: ctx.config,
            worker: &mut *ctx.worker,
            effects: &mut *ctx.keys.effects,
            guard: &mut *ctx.keys.guard,
            session: &mut *ctx.session,
            reply,
        };
        engine.execute(&mut env, command, None, &argv);
    }

    fn set_logged(&mut self, logged: bool) {
        self.ctx.session.unlogged = !logged;
    }

    fn log(&mut self, level: u8, message: &[u8]) {
        let level = [Level::Debug, Level::Verbose, Level::Notice, Level::Warning][usize::from(level.min(3))];
        self.ctx.engine.host.log(level, &String::from_utf8_lossy(message));
    }

    fn must_end(&mut self) -> Option<&'static str> {
        let killed = self.ctx.engine.scripts.running.is_killed();
        killed.then_some("ERR Error running script: Script killed by user with SCRIPT KILL.")
    }

    fn clock_s(&mut self) -> f64 {
        self.ctx.engine.host.monotonic_ns() as f64 / 1e9
    }
}

impl ScriptHost<'_, '_, '_> {
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
        if row.has(flag::NO_SCRIPT) {
            return refuse(CmdError::fixed("ERR This Redis command is not allowed from script"));
        }
        if self.rights.read_only && may_write(command) {
            return refuse(CmdError::fixed("ERR Write commands are not allowed from read-only scripts."));
        }
        // What has begun to change data is not stopped halfway.
        if self.ctx.engine.scripts.running.has_written() {
            return Ok(command);
        }
        if row.has(flag::WRITE) && is_disk_failing(self.ctx.engine, self.ctx.config) {
            return refuse(crate::admit::MISCONF);
        }
        if row.has(flag::DENY_OOM) && self.cramped && !self.rights.allow_oom {
            return refuse(CmdError::OUT_OF_MEMORY);
        }
        Ok(command)
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
