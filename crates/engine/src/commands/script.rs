//! EVAL and its kin: scripts by their text or by their name, and SCRIPT, which looks after them.

use store::Plan;

use crate::args::Argv;
use crate::command::{CmdResult, Command, Group, PlanInput, PlanRule, Run, command, container, flag};
use crate::ctx::Ctx;
use crate::error::CmdError;
use crate::host::Level;
use crate::keyspec::{KeySpec, flag as key};
use crate::observe;
use crate::running::ScriptKind;
use crate::scripting::{self, Call, FIRST_WORD};
use crate::scripts::{Ready, Refusal, ScriptSeat, Wanted};

const EVAL_FLAGS: u32 =
    flag::NO_SCRIPT | flag::SKIP_MONITOR | flag::MAY_REPLICATE | flag::NO_MANDATORY_KEYS | flag::STALE;
const EVAL_RO_FLAGS: u32 =
    flag::NO_SCRIPT | flag::SKIP_MONITOR | flag::NO_MANDATORY_KEYS | flag::STALE | flag::READONLY;

const fn eval_row(name: &'static str, run: Run, plan: PlanRule, keys: &'static [KeySpec]) -> Command {
    command(name, -3, Group::Scripting, run).flags(EVAL_FLAGS).plan(plan).keys(keys).since("2.6.0")
}

const fn eval_ro_row(name: &'static str, run: Run, plan: PlanRule, keys: &'static [KeySpec]) -> Command {
    command(name, -3, Group::Scripting, run).flags(EVAL_RO_FLAGS).plan(plan).keys(keys).since("7.0.0")
}

const ANY: KeySpec = KeySpec::counted(2, key::RW | key::ACCESS | key::UPDATE);
const ANY_READ: KeySpec = KeySpec::counted(2, key::RO | key::ACCESS);
const KEYS: &[KeySpec] = &[KeySpec { notes: KEYS_OF_SCRIPTS, ..ANY }];
const READ_KEYS: &[KeySpec] = &[KeySpec { notes: KEYS_OF_RO_SCRIPTS, ..ANY_READ }];
const KEYS_OF_SCRIPTS: &str =
    "We cannot tell how the keys will be used so we assume the worst, RW and UPDATE";
const KEYS_OF_RO_SCRIPTS: &str =
    "We cannot tell how the keys will be used so we assume the worst, RO and ACCESS";
const COMPLEXITY: &str = "Depends on the script that is executed.";

pub static TABLE: &[Command] = &[
    eval_row("eval", eval, BY_TEXT, KEYS)
        .syntax("script numkeys [key [key ...]] [arg [arg ...]]")
        .docs("Runs a Lua script.", COMPLEXITY),
    eval_row("evalsha", evalsha, BY_SHA, &[ANY])
        .syntax("sha1 numkeys [key [key ...]] [arg [arg ...]]")
        .docs("Runs a Lua script that the server knows by its SHA-1.", COMPLEXITY),
    eval_ro_row("eval_ro", eval, BY_TEXT, READ_KEYS)
        .syntax("script numkeys [key [key ...]] [arg [arg ...]]")
        .docs("Runs a Lua script that only reads.", COMPLEXITY),
    eval_ro_row("evalsha_ro", evalsha, BY_SHA, &[ANY_READ])
        .syntax("sha1 numkeys [key [key ...]] [arg [arg ...]]")
        .docs("Runs a Lua script that only reads and that the server knows by its SHA-1.", COMPLEXITY),
    container("script", Group::Scripting, SUBCOMMANDS)
        .since("2.6.0")
        .docs("A container for Lua scripts' management.", "Depends on subcommand."),
];

const SUBCOMMANDS: &[Command] = &[
    command("debug", 3, Group::Scripting, debug)
        .flags(flag::NO_SCRIPT)
        .since("3.2.0")
        .syntax("<YES | SYNC | NO>")
        .docs("Sets whether the scripts that the client runs are debugged.", "O(1)"),
    command("exists", -3, Group::Scripting, exists)
        .flags(flag::NO_SCRIPT)
        .since("2.6.0")
        .syntax("sha1 [sha1 ...]")
        .tips(&["request_policy:all_shards", "response_policy:agg_logical_and"])
        .docs("Tells which scripts the server knows.", "O(N) with N being the number of scripts to check (so checking a single script is an O(1) operation)."),
    command("flush", -2, Group::Scripting, flush)
        .flags(flag::NO_SCRIPT)
        .since("2.6.0")
        .syntax("[ASYNC | SYNC]")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .history(&[("6.2.0", "Added the `ASYNC` and `SYNC` flushing mode modifiers.")])
        .docs("Forgets all scripts.", "O(N) with N being the number of scripts in cache"),
    command("help", 2, Group::Scripting, help)
        .flags(flag::LOADING | flag::STALE)
        .since("5.0.0")
        .docs("Lists the subcommands.", "O(1)"),
    command("kill", 2, Group::Scripting, kill)
        .flags(flag::NO_SCRIPT | flag::ALLOW_BUSY)
        .since("2.6.0")
        .tips(&["request_policy:all_shards", "response_policy:one_succeeded"])
        .docs("Ends the script that runs, if it has not written.", "O(1)"),
    command("load", 3, Group::Scripting, load)
        .flags(flag::NO_SCRIPT | flag::STALE)
        .since("2.6.0")
        .syntax("script")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .docs("Makes a script known to the server.", "O(N) with N being the length in bytes of the script body."),
    command("show", 3, Group::Scripting, show)
        .flags(flag::NO_SCRIPT | flag::STALE)
        .since("8.0.0")
        .syntax("sha1")
        .docs("Returns the text of a script.", "O(1)."),
];

const NO_SCRIPT: CmdError = CmdError::fixed("NOSCRIPT No matching script. Please use EVAL.");

const BY_TEXT: PlanRule =
    PlanRule::Custom(|input| script_plan(input, input.engine.scripts.text_keeps_to_keys(input.argv.at(1))));
const BY_SHA: PlanRule =
    PlanRule::Custom(|input| script_plan(input, input.engine.scripts.sha_keeps_to_keys(input.argv.at(1))));

/// All shards, or those of its keys for a script that keeps to them.
pub fn script_plan(input: &PlanInput<'_>, keeps_to_keys: bool) -> Plan {
    match key_count(input.argv) {
        Err(_) => Plan::None,
        Ok(_) if !keeps_to_keys => Plan::All,
        Ok(count) => {
            let shard = |index| input.engine.store.shard_of(base::hash::hash(input.argv.at(index)));
            Plan::of((FIRST_WORD..FIRST_WORD + count).map(shard))
        }
    }
}

/// The number of keys, if there are so many words.
pub fn key_count(args: &Argv<'_>) -> Result<usize, CmdError> {
    let count = args.integer(2)?;
    if count > args.len() as i64 - FIRST_WORD as i64 {
        return Err(CmdError::fixed("ERR Number of keys can't be greater than number of args"));
    }
    usize::try_from(count).map_err(|_| CmdError::fixed("ERR Number of keys can't be negative"))
}

fn eval(ctx: &mut Ctx) -> CmdResult {
    if !ctx.session.debugs_scripts {
        return eval_plainly(ctx);
    }
    ctx.engine.host.log(Level::Warning, "A script is debugged: until that ends, what it locks is locked");
    let result = eval_plainly(ctx);
    ctx.engine.host.log(Level::Warning, "The script is no longer debugged");
    // A client that has debugged a script learns by the end of the connection that this was all.
    ctx.session.closing = true;
    if std::mem::take(&mut ctx.session.debugs_scripts) {
        // The script did not come to run.
        ctx.engine.host.say(b"*1\r\n+<endsession>\r\n");
    }
    result
}

fn eval_plainly(ctx: &mut Ctx) -> CmdResult {
    observe_script(ctx);
    let keys = key_count(&ctx.args)?;
    let limit = ctx.config.script_cache_limit() as usize;
    run_ready(ctx, keys, |ctx, seat| {
        seat.by_text(ctx.engine, ctx.args.at(1), Wanted::Once, limit, ctx.worker.id).map(Some)
    })
}

fn evalsha(ctx: &mut Ctx) -> CmdResult {
    observe_script(ctx);
    if ctx.args.at(1).len() != size_of::<crate::scripts::Sha>() {
        return Err(NO_SCRIPT);
    }
    if ctx.session.debugs_scripts {
        return Err(CmdError::fixed("ERR Please use EVAL instead of EVALSHA for debugging"));
    }
    let keys = key_count(&ctx.args)?;
    run_ready(ctx, keys, |ctx, seat| seat.by_sha(ctx.engine, ctx.args.at(1), ctx.worker.id))
}

/// Runs the script that is found. The machine is out of the worker's hands meanwhile.
fn run_ready(
    ctx: &mut Ctx,
    keys: usize,
    find: impl FnOnce(&Ctx, &mut ScriptSeat) -> Result<Option<Ready>, Refusal>,
) -> CmdResult {
    let mut seat = std::mem::take(&mut ctx.worker.scripts);
    let result = match find(ctx, &mut seat) {
        Ok(Some(Ready { script, function })) => {
            let call = Call {
                function,
                name: &script.sha,
                kind: ScriptKind::Eval,
                flags: script.shebang,
                keys,
                read_only: is_read_only(ctx),
            };
            scripting::run(ctx, seat.machine(), &call)
        }
        Ok(None) => Err(NO_SCRIPT),
        Err(refusal) => Err(CmdError::of_bytes(refusal)),
    };
    ctx.worker.scripts = seat;
    result
}

fn is_read_only(ctx: &Ctx) -> bool {
    ctx.command.row.has(flag::READONLY)
}

/// Monitors see a script before what it does.
pub fn observe_script(ctx: &Ctx) {
    if ctx.engine.monitors.any() {
        observe::show_monitors(ctx.engine, ctx.session, ctx.command, &ctx.args);
    }
}

fn load(ctx: &mut Ctx) -> CmdResult {
    let (limit, worker) = (ctx.config.script_cache_limit() as usize, ctx.worker.id);
    let seat = &mut ctx.worker.scripts;
    let ready = seat.by_text(ctx.engine, ctx.args.at(2), Wanted::Again, limit, worker);
    let ready = ready.map_err(CmdError::of_bytes)?;
    if !ready.script.fits(limit) {
        return Err(CmdError::fixed("ERR the script is longer than script-cache-limit"));
    }
    ctx.reply.bulk(&ready.script.sha);
    Ok(())
}

fn debug(ctx: &mut Ctx) -> CmdResult {
    let is_on = match () {
        () if ctx.args.is(2, "no") => false,
        () if ctx.args.is(2, "sync") => true,
        () if ctx.args.is(2, "yes") => return Err(NO_FORK),
        () => return Err(CmdError::fixed("ERR Use SCRIPT DEBUG YES/SYNC/NO")),
    };
    ctx.session.debugs_scripts = is_on;
    ctx.reply.ok();
    Ok(())
}

const NO_FORK: CmdError = CmdError::fixed(
    "ERR SCRIPT DEBUG YES runs the script in a forked process, and this server never forks: use SCRIPT DEBUG SYNC",
);

fn exists(ctx: &mut Ctx) -> CmdResult {
    ctx.reply.array(ctx.args.len() - 2);
    for sha in ctx.args.from(2) {
        ctx.reply.integer(i64::from(ctx.engine.scripts.contains(sha)));
    }
    Ok(())
}

fn show(ctx: &mut Ctx) -> CmdResult {
    let script = ctx.engine.scripts.find(ctx.args.at(2)).ok_or(NO_SCRIPT)?;
    ctx.reply.bulk(&script.text());
    Ok(())
}

fn flush(ctx: &mut Ctx) -> CmdResult {
    let known =
        ctx.args.len() == 2 || ctx.args.len() == 3 && (ctx.args.is(2, "async") || ctx.args.is(2, "sync"));
    if !known {
        return Err(CmdError::fixed("ERR SCRIPT FLUSH only support SYNC|ASYNC option"));
    }
    ctx.engine.scripts.flush();
    ctx.reply.ok();
    Ok(())
}

fn kill(ctx: &mut Ctx) -> CmdResult {
    ctx.engine.scripts.running.kill(ScriptKind::Eval)?;
    ctx.reply.ok();
    Ok(())
}

fn help(ctx: &mut Ctx) -> CmdResult {
    ctx.help("SCRIPT", HELP);
    Ok(())
}

const HELP: &[&str] = &[
    "DEBUG <SYNC|NO>",
    "    Sets whether the client's next EVAL is debugged. What the script locks is locked meanwhile.",
    "EXISTS <sha1> [<sha1> ...]",
    "    Tells which of the scripts the server knows.",
    "FLUSH [ASYNC|SYNC]",
    "    Forgets all scripts.",
    "KILL",
    "    Ends the script that runs, if it has not written.",
    "LOAD <script>",
    "    Makes a script known to the server.",
    "SHOW <sha1>",
    "    Returns the text of a script.",
];
