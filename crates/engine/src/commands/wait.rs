//! WAIT and WAITAOF: a client waits until what it has written is safe. There are no replicas that could tell.

use std::sync::atomic::Ordering;

use crate::acl_categories::category;
use crate::blocking::{Acknowledgement, NO_FILE, NoReply};
use crate::command::{CmdResult, Command, Group, command, flag};
use crate::ctx::Ctx;
use crate::error::CmdError;
use crate::log::{FileState, Offset};

pub static TABLE: &[Command] = &[
    row("wait", 3, wait)
        .flags(flag::BLOCKING).since("3.0.0").syntax("numreplicas timeout").docs(
        "Waits until so many replicas have what the connection has written.",
        "O(1)",
    ),
    row("waitaof", 4, waitaof)
        .flags(flag::BLOCKING).since("7.2.0").syntax("numlocal numreplicas timeout").docs(
        "Waits until the append-only file, and those of so many replicas, have on the disk what the connection \
         has written.",
        "O(1)",
    ),
];

const fn row(name: &'static str, arity: i32, run: fn(&mut Ctx) -> CmdResult) -> Command {
    command(name, arity, Group::Generic, run)
        .categories(category::CONNECTION | category::NOT_OF_GROUP)
        .tips(&["request_policy:all_shards", "response_policy:agg_min"])
}

fn wait(ctx: &mut Ctx) -> CmdResult {
    let replicas = ctx.args.integer(1)?;
    let until = ctx.timeout_ms(2)?;
    let what = Acknowledgement { logged: logged(ctx), by_file: false, by_replicas: replicas > 0 };
    ctx.wait_for_safety(what, until, NoReply::Replicas)
}

fn waitaof(ctx: &mut Ctx) -> CmdResult {
    let files = ctx.args.integer(1)?;
    if !(0..=1).contains(&files) {
        return Err(CmdError::fixed("ERR value is out of range, value must between 0 and 1"));
    }
    let replicas = ctx.args.integer(2).ok().filter(|count| *count >= 0);
    let replicas = replicas.ok_or(CmdError::fixed("ERR value is out of range, must be positive"))?;
    let until = ctx.timeout_ms(3)?;
    if files > 0 && ctx.engine.log.file() == FileState::None {
        return Err(NO_FILE);
    }
    let logged = logged(ctx);
    let what = Acknowledgement { logged, by_file: files > 0, by_replicas: replicas > 0 };
    ctx.wait_for_safety(what, until, NoReply::Files(logged))
}

/// Where the log was behind what the client wrote last.
fn logged(ctx: &Ctx) -> Offset {
    Offset(ctx.session.client.logged.load(Ordering::Relaxed))
}
