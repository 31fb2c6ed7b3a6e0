//! SAVE, BGSAVE, BGREWRITEAOF, LASTSAVE and SHUTDOWN: requests to the host, which owns files and the process.

use crate::acl_categories::category;
use crate::command::{CmdResult, Command, Group, command, flag};
use crate::ctx::Ctx;
use crate::error::CmdError;
use crate::host::{Level, SCRIPT_RUNS, SaveRefused, SaveStarted, Shutdown, ShutdownSave, Wait};
use crate::pipeline::Outcome;

pub static TABLE: &[Command] = &[
    command("save", 1, Group::Server, save).admin().flags(flag::NO_ASYNC_LOADING | flag::NO_MULTI).docs(
        "Saves the data set and answers when the file is in place.",
        "O(N) where N is the total number of keys in all databases",
    ),
    command("bgsave", -1, Group::Server, bgsave)
        .admin()
        .flags(flag::NO_ASYNC_LOADING)
        .syntax("[SCHEDULE | CANCEL]")
        .history(&[("3.2.2", "Added the `SCHEDULE` option.")])
        .docs("Saves the data set while clients go on, or ends such a save.", "O(1)"),
    command("bgrewriteaof", 1, Group::Server, bgrewriteaof)
        .admin()
        .flags(flag::NO_ASYNC_LOADING)
        .docs("Rewrites the append-only file as short as it can be while clients go on.", "O(1)"),
    command("lastsave", 1, Group::Server, lastsave)
        .categories(category::ADMIN | category::DANGEROUS)
        .flags(flag::LOADING | flag::STALE)
        .fast()
        .categories(category::ADMIN | category::DANGEROUS)
        .tips(&["nondeterministic_output"])
        .docs("Returns the Unix time of the last good save.", "O(1)"),
    command("shutdown", -1, Group::Server, shutdown)
        .admin()
        .flags(flag::LOADING | flag::STALE | flag::NO_MULTI | flag::ALLOW_BUSY)
        .syntax("[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]")
        .history(&[("7.0.0", "Added the `NOW`, `FORCE` and `ABORT` modifiers.")])
        .docs(
            "Saves the data set if that is configured, and ends the server.",
            "O(N) when saving, where N is the total number of keys in all databases when saving data, \
             otherwise O(1)",
        ),
];

fn save(ctx: &mut Ctx) -> CmdResult {
    ctx.engine.host.save_now().map_err(|why| refusal(ctx, why))?;
    ctx.reply.ok();
    Ok(())
}

fn bgsave(ctx: &mut Ctx) -> CmdResult {
    let schedule = match ctx.args.len() {
        1 => false,
        2 if ctx.args.is(1, "schedule") => true,
        2 if ctx.args.is(1, "cancel") => return cancel(ctx),
        _ => return Err(CmdError::SYNTAX),
    };
    // The cut waits for EXEC's locks, so a save asked for in a transaction begins when that is over.
    let in_exec = ctx.session.in_exec;
    let started = ctx.engine.host.save_in_background(schedule || in_exec).map_err(|why| refusal(ctx, why))?;
    ctx.reply.simple(match started {
        SaveStarted::Started if !in_exec => "Background saving started",
        _ => "Background saving scheduled",
    });
    Ok(())
}

/// What a save that is refused answers.
pub(crate) fn refusal(ctx: &Ctx, why: SaveRefused) -> CmdError {
    if why == SCRIPT_RUNS { ctx.engine.scripts.running.busy_error() } else { CmdError::new(why) }
}

fn bgrewriteaof(ctx: &mut Ctx) -> CmdResult {
    let started = ctx.engine.host.rewrite_log(ctx.session.in_exec).map_err(CmdError::new)?;
    ctx.reply.simple(match started {
        SaveStarted::Started => "Background append only file rewriting started",
        SaveStarted::Scheduled => "Background append only file rewriting scheduled",
    });
    Ok(())
}

fn cancel(ctx: &mut Ctx) -> CmdResult {
    let running = ctx.engine.host.save_status().in_progress;
    // The save may need the shards of a transaction before it can end.
    let wait = if ctx.session.in_exec { Wait::Not } else { Wait::ForEnd };
    if !ctx.engine.host.cancel_save(wait) {
        return Err(CmdError::new("ERR Background saving is currently not in progress or scheduled"));
    }
    let (line, reply) = match running {
        true => ("Background saving will be aborted due to user request", "Background saving cancelled"),
        false => (
            "Scheduled background saving will be cancelled due to user request",
            "Scheduled background saving cancelled",
        ),
    };
    ctx.engine.host.log(Level::Notice, line);
    ctx.reply.simple(reply);
    Ok(())
}

fn lastsave(ctx: &mut Ctx) -> CmdResult {
    ctx.reply.integer(ctx.engine.host.save_status().last_save.seconds());
    Ok(())
}

/// The words of SHUTDOWN.
#[derive(Default)]
struct Words {
    save: bool,
    nosave: bool,
    now: bool,
    force: bool,
    abort: bool,
}

fn shutdown(ctx: &mut Ctx) -> CmdResult {
    let words = shutdown_words(ctx)?;
    if words.abort {
        return abort_shutdown(ctx);
    }
    let save = match (words.save, words.nosave) {
        (true, _) => ShutdownSave::Always,
        (_, true) => ShutdownSave::Never,
        _ => ShutdownSave::AsConfigured,
    };
    let running = &ctx.engine.scripts.running;
    if running.is_busy() && save != ShutdownSave::Never {
        return Err(running.busy_error());
    }
    let how = Shutdown { save, now: words.now, force: words.force };
    let stopped = ctx.engine.host.shutdown(how);
    // The last save may have met a script.
    let is_busy = running.is_busy() && save != ShutdownSave::Never;
    stopped.map_err(|why| if is_busy { running.busy_error() } else { CmdError::new(why) })?;
    ctx.outcome = Outcome::Close;
    Ok(())
}

fn shutdown_words(ctx: &Ctx) -> Result<Words, CmdError> {
    let mut words = Words::default();
    for index in 1..ctx.args.len() {
        let is = |word| ctx.args.is(index, word);
        let word = match () {
            _ if is("save") => &mut words.save,
            _ if is("nosave") => &mut words.nosave,
            _ if is("now") => &mut words.now,
            _ if is("force") => &mut words.force,
            _ if is("abort") => &mut words.abort,
            _ => return Err(CmdError::SYNTAX),
        };
        *word = true;
    }
    let others = words.save || words.nosave || words.now || words.force;
    if (words.abort && others) || (words.save && words.nosave) {
        return Err(CmdError::SYNTAX);
    }
    Ok(words)
}

fn abort_shutdown(ctx: &mut Ctx) -> CmdResult {
    if !ctx.engine.host.cancel_shutdown() {
        return Err(CmdError::new("ERR No shutdown in progress."));
    }
    ctx.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::pipeline::Outcome;
    use crate::testing::{TestEngine, check_script};

    #[test]
    fn saves_are_the_hosts() {
        let mut test = TestEngine::new();
        check_script(
            &mut test,
            &[
                ("SAVE", "+OK"),
                ("BGSAVE", "+Background saving started"),
                ("BGSAVE SCHEDULE", "+Background saving started"),
                ("BGSAVE CANCEL", "-ERR Background saving is currently not in progress or scheduled"),
                ("BGSAVE NOW", "-ERR syntax error"),
                ("BGSAVE SCHEDULE NOW", "-ERR syntax error"),
                ("LASTSAVE", "1700000000"),
                ("BGREWRITEAOF", "+Background append only file rewriting started"),
                ("BGREWRITEAOF NOW", "-ERR wrong number of arguments for 'bgrewriteaof' command"),
                ("MULTI", "+OK"),
                ("BGREWRITEAOF", "+QUEUED"),
                ("EXEC", "[+Background append only file rewriting scheduled]"),
                ("MULTI", "+OK"),
                ("BGSAVE", "+QUEUED"),
                ("SAVE", "-ERR Command not allowed inside a transaction"),
                ("DISCARD", "+OK"),
                ("MULTI", "+OK"),
                ("BGSAVE", "+QUEUED"),
                ("EXEC", "[+Background saving scheduled]"),
            ],
        );
        test.host.refused.lock().extend(["save", "save in background"]);
        check_script(&mut test, &[("SAVE", "-ERR refused"), ("BGSAVE", "-ERR refused")]);
    }

    #[test]
    fn shutdown_passes_its_words_on() {
        let check = |line: &str, call: &str| {
            let mut test = TestEngine::new();
            test.run(line);
            assert_eq!(
                test.host.calls.lock().as_slice(),
                [format!("shutdown Shutdown {{ {call} }}")],
                "{line}"
            );
            assert_eq!(test.outcome, Outcome::Close, "{line}");
        };
        check("SHUTDOWN", "save: AsConfigured, now: false, force: false");
        check("SHUTDOWN nosave", "save: Never, now: false, force: false");
        check("SHUTDOWN SAVE FORCE NOW", "save: Always, now: true, force: true");
        check_script(
            &mut TestEngine::new(),
            &[
                ("SHUTDOWN ABORT", "-ERR No shutdown in progress."),
                ("SHUTDOWN ABORT NOW", "-ERR syntax error"),
                ("SHUTDOWN SAVE NOSAVE", "-ERR syntax error"),
                ("SHUTDOWN SOON", "-ERR syntax error"),
            ],
        );
    }
}
