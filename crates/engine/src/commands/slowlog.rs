//! SLOWLOG: the slow commands that `observe` kept.

use crate::command::{CmdResult, Command, Group, command, container, flag};
use crate::ctx::Ctx;
use crate::error::CmdError;
use crate::observe::SlowCommand;

pub static TABLE: &[Command] = &[container("slowlog", Group::Server, SUBCOMMANDS)
    .since("2.2.12")
    .docs("Reads and clears the log of slow commands.", "Depends on subcommand.")];

const ADMIN_ANY_TIME: u32 = flag::ADMIN | flag::LOADING | flag::STALE;

static SUBCOMMANDS: &[Command] = &[
    command("get", -2, Group::Server, get)
        .flags(ADMIN_ANY_TIME)
        .since("2.2.12")
        .syntax("[count]")
        .tips(&["request_policy:all_nodes", "nondeterministic_output"])
        .history(&[("4.0.0", "Added client IP address, port and name to the reply.")])
        .docs("Returns the latest slow commands.", "O(N) where N is the number of entries returned"),
    command("len", 2, Group::Server, len)
        .flags(ADMIN_ANY_TIME)
        .since("2.2.12")
        .tips(&["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"])
        .docs("Returns how many slow commands are kept.", "O(1)"),
    command("reset", 2, Group::Server, reset)
        .flags(ADMIN_ANY_TIME)
        .since("2.2.12")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .docs("Forgets all slow commands.", "O(N) where N is the number of entries in the slowlog"),
    command("help", 2, Group::Server, help)
        .flags(flag::LOADING | flag::STALE)
        .since("6.2.0")
        .docs("Explains the subcommands.", "O(1)"),
];

/// Entries returned unless a number is given.
const COUNT_DEFAULT: usize = 10;

fn get(ctx: &mut Ctx) -> CmdResult {
    let count = match ctx.args.len() {
        2 => COUNT_DEFAULT,
        3 => asked_count(ctx)?,
        _ => return Err(ctx.bad_subcommand("SLOWLOG")),
    };
    let log = ctx.engine.slow_log.lock();
    ctx.reply.array(count.min(log.entries.len()));
    for entry in log.entries.iter().take(count) {
        write_entry(ctx.reply, entry);
    }
    Ok(())
}

/// -1 asks for all.
fn asked_count(ctx: &Ctx) -> Result<usize, CmdError> {
    match ctx.args.integer(2) {
        Ok(-1) => Ok(usize::MAX),
        Ok(count @ 0..) => Ok(count as usize),
        _ => Err(CmdError::new("ERR count should be greater than or equal to -1")),
    }
}

fn write_entry(reply: &mut resp::reply::Reply, entry: &SlowCommand) {
    reply.array(6);
    reply.integer(entry.id as i64);
    reply.integer(entry.unix_s);
    reply.integer(entry.elapsed_us as i64);
    reply.array(entry.arguments.len());
    entry.arguments.iter().for_each(|argument| reply.bulk(argument));
    reply.bulk(entry.peer.as_bytes());
    reply.bulk(entry.name.as_bytes());
}

fn len(ctx: &mut Ctx) -> CmdResult {
    let len = ctx.engine.slow_log.lock().entries.len();
    ctx.reply.integer(len as i64);
    Ok(())
}

fn reset(ctx: &mut Ctx) -> CmdResult {
    ctx.engine.slow_log.lock().entries.clear();
    ctx.reply.ok();
    Ok(())
}

fn help(ctx: &mut Ctx) -> CmdResult {
    ctx.help(
        "SLOWLOG",
        &[
            "GET [<count>]",
            "    Return the latest <count> slow commands (default: 10, -1: all), each with",
            "    id, timestamp, time in microseconds, arguments, client address, client name.",
            "LEN",
            "    Return how many slow commands are kept.",
            "RESET",
            "    Forget all slow commands.",
        ],
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{TestEngine, check_script, show};

    #[test]
    fn slow_commands_are_kept() {
        let mut test = TestEngine::with_config(|config| config.slowlog_log_slower_than_us = 0);
        test.run("SET a 1");
        let second = "[1 1700000000 0 [\"ECHO\" \"2\"] \"127.0.0.1:50000\" \"\"]";
        assert_eq!(show(&test.run("ECHO 2")), "\"2\"");
        test.configure(|config| config.slowlog_log_slower_than_us = 10_000);
        let first = "[0 1700000000 0 [\"SET\" \"a\" \"1\"] \"127.0.0.1:50000\" \"\"]";
        check_script(
            &mut test,
            &[
                ("SLOWLOG LEN", "2"),
                ("SLOWLOG GET 1", &format!("[{second}]")),
                ("SLOWLOG GET", &format!("[{second} {first}]")),
                ("SLOWLOG GET -1", &format!("[{second} {first}]")),
                ("SLOWLOG GET 0", "[]"),
                ("SLOWLOG GET -2", "-ERR count should be greater than or equal to -1"),
                ("SLOWLOG GET x", "-ERR count should be greater than or equal to -1"),
                (
                    "SLOWLOG GET 1 2",
                    "-ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP.",
                ),
                ("SLOWLOG RESET", "+OK"),
                ("SLOWLOG LEN", "0"),
            ],
        );
    }
}
