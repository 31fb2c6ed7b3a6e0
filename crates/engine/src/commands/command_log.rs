//! COMMANDLOG, and SLOWLOG as the older name for its part about slow commands: what `command_log` kept.

use crate::command::{CmdResult, Command, Group, command, container, flag};
use crate::command_log::{Entry, Kind};
use crate::ctx::Ctx;
use crate::error::CmdError;

pub static TABLE: &[Command] = &[
    container("commandlog", Group::Server, COMMANDLOG)
        .since("8.1.0")
        .docs("Reads and clears the logs of commands that stood out.", "Depends on subcommand."),
    container("slowlog", Group::Server, SLOWLOG)
        .since("2.2.12")
        .docs("Reads and clears the log of slow commands.", "Depends on subcommand."),
];

const ADMIN_ANY_TIME: u32 = flag::ADMIN | flag::LOADING | flag::STALE;

static COMMANDLOG: &[Command] = &[
    command("get", 4, Group::Server, get_of_kind)
        .flags(ADMIN_ANY_TIME)
        .since("8.1.0")
        .syntax("count <SLOW | LARGE-REQUEST | LARGE-REPLY>")
        .tips(&["request_policy:all_nodes", "nondeterministic_output"])
        .docs("Returns the latest commands of a kind.", "O(N) where N is the number of entries returned"),
    command("len", 3, Group::Server, len_of_kind)
        .flags(ADMIN_ANY_TIME)
        .since("8.1.0")
        .syntax("<SLOW | LARGE-REQUEST | LARGE-REPLY>")
        .tips(&["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"])
        .docs("Returns how many commands of a kind are kept.", "O(1)"),
    command("reset", 3, Group::Server, reset_of_kind)
        .flags(ADMIN_ANY_TIME)
        .since("8.1.0")
        .syntax("<SLOW | LARGE-REQUEST | LARGE-REPLY>")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .docs("Forgets the commands of a kind.", "O(N) where N is the number of entries in the commandlog"),
    command("help", 2, Group::Server, help_of_all)
        .flags(flag::LOADING | flag::STALE)
        .since("8.1.0")
        .docs("Explains the subcommands.", "O(1)"),
];

static SLOWLOG: &[Command] = &[
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
    reply_entries(ctx, Kind::Slow, count);
    Ok(())
}

fn get_of_kind(ctx: &mut Ctx) -> CmdResult {
    let (count, kind) = (asked_count(ctx)?, asked_kind(ctx, 3)?);
    reply_entries(ctx, kind, count);
    Ok(())
}

fn asked_kind(ctx: &Ctx, index: usize) -> Result<Kind, CmdError> {
    let known = KINDS.iter().find(|(name, _)| ctx.args.is(index, name));
    let refusal = "ERR type should be one of the following: slow, large-request, large-reply";
    known.map(|(_, kind)| *kind).ok_or(CmdError::fixed(refusal))
}

const KINDS: [(&str, Kind); 3] =
    [("slow", Kind::Slow), ("large-request", Kind::LargeRequest), ("large-reply", Kind::LargeReply)];

/// -1 asks for all.
fn asked_count(ctx: &Ctx) -> Result<usize, CmdError> {
    match ctx.args.integer(2) {
        Ok(-1) => Ok(usize::MAX),
        Ok(count @ 0..) => Ok(count as usize),
        _ => Err(CmdError::new("ERR count should be greater than or equal to -1")),
    }
}

fn reply_entries(ctx: &mut Ctx, kind: Kind, count: usize) {
    let log = ctx.engine.command_logs.of(kind).lock();
    ctx.reply.array(count.min(log.entries.len()));
    for entry in log.entries.iter().take(count) {
        write_entry(ctx.reply, entry);
    }
}

fn write_entry(reply: &mut resp::reply::Reply, entry: &Entry) {
    reply.array(6);
    reply.integer(entry.id as i64);
    reply.integer(entry.unix_s);
    reply.integer(entry.cost as i64);
    reply.array(entry.arguments.len());
    entry.arguments.iter().for_each(|argument| reply.bulk(argument));
    reply.bulk(entry.peer.as_bytes());
    reply.bulk(entry.name.as_bytes());
}

fn len(ctx: &mut Ctx) -> CmdResult {
    reply_len(ctx, Kind::Slow)
}

fn len_of_kind(ctx: &mut Ctx) -> CmdResult {
    reply_len(ctx, asked_kind(ctx, 2)?)
}

fn reply_len(ctx: &mut Ctx, kind: Kind) -> CmdResult {
    let len = ctx.engine.command_logs.of(kind).lock().entries.len();
    ctx.reply.integer(len as i64);
    Ok(())
}

fn reset(ctx: &mut Ctx) -> CmdResult {
    clear(ctx, Kind::Slow)
}

fn reset_of_kind(ctx: &mut Ctx) -> CmdResult {
    clear(ctx, asked_kind(ctx, 2)?)
}

fn clear(ctx: &mut Ctx, kind: Kind) -> CmdResult {
    ctx.engine.command_logs.of(kind).lock().entries.clear();
    ctx.reply.ok();
    Ok(())
}

fn help_of_all(ctx: &mut Ctx) -> CmdResult {
    ctx.help(
        "COMMANDLOG",
        &[
            "GET <count> <type>",
            "    Return the latest <count> commands of a type (-1: all), each with id, timestamp,",
            "    time in microseconds or size in bytes, arguments, client address, client name.",
            "    Types are SLOW, LARGE-REQUEST and LARGE-REPLY.",
            "LEN <type>",
            "    Return how many commands of a type are kept.",
            "RESET <type>",
            "    Forget the commands of a type.",
        ],
    );
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

    #[test]
    fn large_requests_and_replies_are_kept() {
        let mut test = TestEngine::new();
        let value = "x".repeat(200);
        let shown = format!("{}... (72 more bytes)", "x".repeat(128));
        let entry = |id: u32, cost: u32, words: &str| {
            format!("[{id} 1700000000 {cost} [{words}] \"127.0.0.1:50000\" \"\"]")
        };
        let types = "-ERR type should be one of the following: slow, large-request, large-reply";
        check_script(
            &mut test,
            &[
                ("CONFIG SET commandlog-request-larger-than 200 commandlog-reply-larger-than 200", "+OK"),
                (&format!("SET a {value}"), "+OK"),
                ("GET a", &format!("\"{value}\"")),
                ("COMMANDLOG LEN LARGE-REPLY", "1"),
                ("COMMANDLOG GET 1 large-reply", &format!("[{}]", entry(0, 208, "\"GET\" \"a\""))),
                ("COMMANDLOG LEN large-request", "1"),
                (
                    "COMMANDLOG GET -1 large-request",
                    &format!("[{}]", entry(0, 228, &format!("\"SET\" \"a\" \"{shown}\""))),
                ),
                ("COMMANDLOG LEN slow", "0"),
                ("COMMANDLOG RESET large-reply", "+OK"),
                ("CONFIG SET commandlog-reply-larger-than 0 commandlog-large-reply-max-len 2", "+OK"),
                ("COMMANDLOG LEN large-reply", "1"),
                ("COMMANDLOG LEN large-reply", "2"),
                ("COMMANDLOG LEN large-reply", "2"),
                ("CONFIG SET commandlog-reply-larger-than -1", "+OK"),
                ("COMMANDLOG LEN large-reply", "2"),
                ("COMMANDLOG GET x slow", "-ERR count should be greater than or equal to -1"),
                ("COMMANDLOG GET 1 fast", types),
                ("COMMANDLOG LEN fast", types),
                ("COMMANDLOG RESET fast", types),
            ],
        );
    }
}
