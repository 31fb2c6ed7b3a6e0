//! FCALL, which runs a function of a library, and FUNCTION, which looks after libraries.

use base::glob::{Case, matches};
use rdb::{FunctionsError, ReadOptions, WriteOptions, dump_functions, restore_functions};

use crate::command::{CmdResult, Command, Group, PlanInput, PlanRule, Run, command, container, flag};
use crate::commands::script::{observe_script, script_plan};
use crate::ctx::Ctx;
use crate::error::CmdError;
use crate::functions::{FunctionInfo, Library, LoadTime, Ready, Refusal, RestorePolicy};
use crate::keyspec::{KeySpec, flag as key};
use crate::running::ScriptKind;
use crate::scripting::{self, Call, FIRST_WORD};
use crate::session::Origin;
use crate::shebang::{FLAGS, Shebang};

const FCALL_FLAGS: u32 =
    flag::NO_SCRIPT | flag::SKIP_MONITOR | flag::MAY_REPLICATE | flag::NO_MANDATORY_KEYS | flag::STALE;
const FCALL_RO_FLAGS: u32 =
    flag::NO_SCRIPT | flag::SKIP_MONITOR | flag::NO_MANDATORY_KEYS | flag::STALE | flag::READONLY;

const fn fcall_row(name: &'static str, flags: u32, keys: &'static [KeySpec]) -> Command {
    command(name, -3, Group::Scripting, fcall)
        .flags(flags)
        .plan(PlanRule::Custom(fcall_plan))
        .keys(keys)
        .since("7.0.0")
        .syntax("function numkeys [key [key ...]] [arg [arg ...]]")
}

const KEYS: &[KeySpec] = &[KeySpec {
    notes: "We cannot tell how the keys will be used so we assume the worst, RW and UPDATE",
    ..KeySpec::counted(2, key::RW | key::ACCESS | key::UPDATE)
}];
const READ_KEYS: &[KeySpec] = &[KeySpec {
    notes: "We cannot tell how the keys will be used so we assume the worst, RO and ACCESS",
    ..KeySpec::counted(2, key::RO | key::ACCESS)
}];

pub static TABLE: &[Command] = &[
    fcall_row("fcall", FCALL_FLAGS, KEYS)
        .docs("Runs a function.", "Depends on the function that is executed."),
    fcall_row("fcall_ro", FCALL_RO_FLAGS, READ_KEYS)
        .docs("Runs a function that only reads.", "Depends on the function that is executed."),
    container("function", Group::Scripting, SUBCOMMANDS)
        .since("7.0.0")
        .docs("A container for functions' management.", "Depends on subcommand."),
];

const fn own(name: &'static str, arity: i32, run: Run) -> Command {
    command(name, arity, Group::Scripting, run).flags(flag::NO_SCRIPT).since("7.0.0")
}

/// Whoever changes the libraries holds all shards: no function runs meanwhile, and a save has them all as
/// they were at one instant.
const fn change(name: &'static str, arity: i32, run: Run) -> Command {
    own(name, arity, run)
        .flags(flag::NO_SCRIPT | flag::WRITE)
        .plan(PlanRule::All)
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
}

const SUBCOMMANDS: &[Command] = &[
    change("delete", 3, delete).syntax("library-name").docs("Removes a library and its functions.", "O(1)"),
    own("dump", 2, dump).docs(
        "Returns all libraries in a form that FUNCTION RESTORE takes.",
        "O(N) where N is the number of functions",
    ),
    change("flush", -2, flush)
        .syntax("[ASYNC | SYNC]")
        .docs("Removes all libraries.", "O(N) where N is the number of functions deleted"),
    command("help", 2, Group::Scripting, help)
        .flags(flag::LOADING | flag::STALE)
        .since("7.0.0")
        .docs("Lists the subcommands.", "O(1)"),
    own("kill", 2, kill)
        .flags(flag::NO_SCRIPT | flag::ALLOW_BUSY)
        .tips(&["request_policy:all_shards", "response_policy:one_succeeded"])
        .docs("Ends the function that runs, if it has not written.", "O(1)"),
    own("list", -2, list)
        .syntax("[LIBRARYNAME library-name-pattern] [WITHCODE]")
        .tips(&["nondeterministic_output_order"])
        .docs("Describes libraries and their functions.", "O(N) where N is the number of functions"),
    change("load", -3, load)
        .flags(flag::NO_SCRIPT | flag::WRITE | flag::DENY_OOM)
        .syntax("[REPLACE] function-code")
        .docs("Creates a library.", "O(1) (considering compilation time is redundant)"),
    change("restore", -3, restore)
        .flags(flag::NO_SCRIPT | flag::WRITE | flag::DENY_OOM)
        .syntax("serialized-value [FLUSH | APPEND | REPLACE]")
        .docs(
            "Creates libraries from what FUNCTION DUMP answered.",
            "O(N) where N is the number of functions on the payload",
        ),
    own("stats", 2, stats)
        .flags(flag::NO_SCRIPT | flag::ALLOW_BUSY)
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
        .docs("Tells which function runs, and how many there are.", "O(1)"),
];

/// A function that is not there may have been loaded by the time the shards are locked: then it may need any.
fn fcall_plan(input: &PlanInput<'_>) -> store::Plan {
    let libraries = input.engine.functions.current();
    let function = libraries.find(input.argv.at(1));
    let declared = function.is_some_and(|(_, info)| Shebang::of_function(info.flags).declared_keys);
    script_plan(input, declared || input.engine.scripts.all_keep_to_keys())
}

fn fcall(ctx: &mut Ctx) -> CmdResult {
    observe_script(ctx);
    let (engine, worker, holds_all) = (ctx.engine, ctx.worker.id, ctx.keys.guard.holds_all());
    engine.functions.with_seat(worker, holds_all, |seat| match seat.find(engine, ctx.args.at(1)) {
        Ok(Some(ready)) => run(ctx, seat.machine(), &ready),
        Ok(None) => Err(CmdError::fixed("ERR Function not found")),
        Err(refusal) => Err(refused(&refusal)),
    })
}

fn run(ctx: &mut Ctx, machine: &mut script::Machine, ready: &Ready) -> CmdResult {
    let count = ctx.args.integer(2).map_err(|_| CmdError::fixed("ERR Bad number of keys provided"))?;
    if count > (ctx.args.len() - FIRST_WORD) as i64 {
        return Err(CmdError::fixed("ERR Number of keys can't be greater than number of args"));
    }
    let keys = usize::try_from(count).map_err(|_| CmdError::fixed("ERR Number of keys can't be negative"))?;
    let info = ready.info();
    let call = Call {
        function: ready.function,
        name: &info.name,
        kind: ScriptKind::Function,
        flags: Shebang::of_function(info.flags),
        keys,
        read_only: ctx.command.row.has(flag::READONLY),
    };
    scripting::run(ctx, machine, &call)
}

fn refused(refusal: &Refusal) -> CmdError {
    CmdError::of_bytes([b"ERR ", &refusal[..]].concat())
}

/// Whoever replays a log has to know what is missing.
fn not_loaded(ctx: &mut Ctx, refusal: Refusal) -> CmdError {
    let error = refused(&refusal);
    if ctx.session.origin == Origin::Replay {
        ctx.worker.refused_libraries = Some(refusal);
    }
    error
}

fn load_time(ctx: &Ctx) -> LoadTime {
    if ctx.session.origin == Origin::Client { LoadTime::Short } else { LoadTime::Unlimited }
}

/// The libraries were changed: the request itself says how.
fn changed(ctx: &mut Ctx) {
    let words: Vec<&[u8]> = ctx.args.iter().collect();
    ctx.keys.effect(&words);
    ctx.keys.add_dirty(1);
}

fn load(ctx: &mut Ctx) -> CmdResult {
    let (last, mut replace) = (ctx.args.len() - 1, false);
    for index in 2..last {
        if !ctx.args.is(index, "replace") {
            return Err(CmdError::of_bytes([b"ERR Unknown option given: ", ctx.args.at(index)].concat()));
        }
        replace = true;
    }
    let functions = &ctx.engine.functions;
    let name = functions.load(ctx.engine, ctx.args.at(last), replace, load_time(ctx));
    let name = name.map_err(|refusal| not_loaded(ctx, refusal))?;
    changed(ctx);
    ctx.reply.bulk(&name);
    Ok(())
}

fn delete(ctx: &mut Ctx) -> CmdResult {
    if !ctx.engine.functions.delete(ctx.args.at(2)) {
        return Err(CmdError::fixed("ERR Library not found"));
    }
    changed(ctx);
    ctx.reply.ok();
    Ok(())
}

fn flush(ctx: &mut Ctx) -> CmdResult {
    check_len(ctx, 3)?;
    if ctx.args.len() == 3 && !ctx.args.is(2, "async") && !ctx.args.is(2, "sync") {
        return Err(CmdError::fixed("ERR FUNCTION FLUSH only supports SYNC|ASYNC option"));
    }
    ctx.engine.functions.flush();
    changed(ctx);
    ctx.reply.ok();
    Ok(())
}

fn check_len(ctx: &Ctx, most: usize) -> CmdResult {
    if ctx.args.len() <= most {
        return Ok(());
    }
    let text = [b"ERR unknown subcommand or wrong number of arguments for '", ctx.args.at(1)].concat();
    Err(CmdError::of_bytes([&text[..], b"'. Try FUNCTION HELP."].concat()))
}

fn kill(ctx: &mut Ctx) -> CmdResult {
    ctx.engine.scripts.running.kill(ScriptKind::Function)?;
    ctx.reply.ok();
    Ok(())
}

fn dump(ctx: &mut Ctx) -> CmdResult {
    let options = WriteOptions { compress: ctx.config.rdbcompression };
    let libraries = ctx.engine.functions.current();
    let payload = dump_functions(libraries.iter().map(|library| &*library.code), &options);
    ctx.reply.bulk(&payload);
    Ok(())
}

fn restore(ctx: &mut Ctx) -> CmdResult {
    check_len(ctx, 4)?;
    let policy = match ctx.args.len() {
        3 => RestorePolicy::Append,
        _ if ctx.args.is(3, "append") => RestorePolicy::Append,
        _ if ctx.args.is(3, "replace") => RestorePolicy::Replace,
        _ if ctx.args.is(3, "flush") => RestorePolicy::Flush,
        _ => {
            return Err(CmdError::fixed(
                "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.",
            ));
        }
    };
    let codes = restore_functions(ctx.args.at(2), &ReadOptions::default()).map_err(|error| {
        CmdError::fixed(match error {
            FunctionsError::VersionOrChecksum => "ERR DUMP payload version or checksum are wrong",
            FunctionsError::OtherType => "ERR given type is not a function",
            FunctionsError::BadData => "ERR failed loading the given functions payload",
        })
    })?;
    let functions = &ctx.engine.functions;
    functions
        .restore(ctx.engine, &codes, policy, load_time(ctx))
        .map_err(|refusal| not_loaded(ctx, refusal))?;
    changed(ctx);
    ctx.reply.ok();
    Ok(())
}

fn list(ctx: &mut Ctx) -> CmdResult {
    let (mut with_code, mut pattern) = (false, None);
    let mut index = 2;
    while index < ctx.args.len() {
        if !with_code && ctx.args.is(index, "withcode") {
            with_code = true;
        } else if pattern.is_none() && ctx.args.is(index, "libraryname") {
            index += 1;
            if index == ctx.args.len() {
                return Err(CmdError::fixed("ERR library name argument was not given"));
            }
            pattern = Some(ctx.args.at(index));
        } else {
            return Err(CmdError::of_bytes([b"ERR Unknown argument ", ctx.args.at(index)].concat()));
        }
        index += 1;
    }
    let libraries = ctx.engine.functions.snapshot();
    let named = |library: &&std::sync::Arc<Library>| {
        pattern.is_none_or(|pattern| matches(pattern, &library.name, Case::Insensitive))
    };
    let shown: Vec<_> = libraries.iter().filter(named).collect();
    ctx.reply.array(shown.len());
    shown.into_iter().for_each(|library| show_library(ctx, library, with_code));
    Ok(())
}

fn show_library(ctx: &mut Ctx, library: &Library, with_code: bool) {
    ctx.reply.map(if with_code { 4 } else { 3 });
    ctx.reply.bulk(b"library_name");
    ctx.reply.bulk(&library.name);
    ctx.reply.bulk(b"engine");
    ctx.reply.bulk(ENGINE);
    ctx.reply.bulk(b"functions");
    ctx.reply.array(library.functions.len());
    library.functions.iter().for_each(|function| show_function(ctx, function));
    if with_code {
        ctx.reply.bulk(b"library_code");
        ctx.reply.bulk(&library.code);
    }
}

const ENGINE: &[u8] = b"LUA";

fn show_function(ctx: &mut Ctx, function: &FunctionInfo) {
    ctx.reply.map(3);
    ctx.reply.bulk(b"name");
    ctx.reply.bulk(&function.name);
    ctx.reply.bulk(b"description");
    match &function.description {
        Some(text) => ctx.reply.bulk(text),
        None => ctx.reply.null(),
    }
    ctx.reply.bulk(b"flags");
    ctx.reply.set(function.flags.count_ones() as usize);
    for (place, flag) in FLAGS.iter().enumerate() {
        if function.flags >> place & 1 == 1 {
            ctx.reply.simple(flag);
        }
    }
}

fn stats(ctx: &mut Ctx) -> CmdResult {
    let now_ns = ctx.engine.host.monotonic_ns();
    let shown = ctx.engine.scripts.running.shown(now_ns);
    if shown.as_ref().is_some_and(|shown| shown.kind == ScriptKind::Eval) {
        return Err(ScriptKind::Eval.busy());
    }
    let reply = &mut *ctx.reply;
    reply.map(2);
    reply.bulk(b"running_script");
    match shown {
        None => reply.null(),
        Some(shown) => {
            reply.map(3);
            reply.bulk(b"name");
            reply.bulk(&shown.details.name);
            reply.bulk(b"command");
            let words = shown.details.command.view();
            reply.array(words.len());
            words.iter().for_each(|word| reply.bulk(word));
            reply.bulk(b"duration_ms");
            reply.integer((shown.elapsed_ns / 1_000_000) as i64);
        }
    }
    let libraries = ctx.engine.functions.current();
    reply.bulk(b"engines");
    reply.map(1);
    reply.bulk(ENGINE);
    reply.map(2);
    reply.bulk(b"libraries_count");
    reply.integer(libraries.len() as i64);
    reply.bulk(b"functions_count");
    reply.integer(libraries.function_count() as i64);
    Ok(())
}

fn help(ctx: &mut Ctx) -> CmdResult {
    ctx.help("FUNCTION", HELP);
    Ok(())
}

const HELP: &[&str] = &[
    "DELETE <library-name>",
    "    Removes a library and its functions.",
    "DUMP",
    "    Returns all libraries in a form that RESTORE takes.",
    "FLUSH [ASYNC|SYNC]",
    "    Removes all libraries.",
    "KILL",
    "    Ends the function that runs, if it has not written.",
    "LIST [LIBRARYNAME <pattern>] [WITHCODE]",
    "    Describes libraries and their functions.",
    "LOAD [REPLACE] <code>",
    "    Creates a library. REPLACE lets an old one of its name give way.",
    "RESTORE <payload> [FLUSH|APPEND|REPLACE]",
    "    Creates libraries from what DUMP answered. All others go first (FLUSH), stay (APPEND, the default), or",
    "    give way where names are the same (REPLACE).",
    "STATS",
    "    Tells which function runs, and how many there are.",
];
