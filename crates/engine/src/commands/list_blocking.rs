//! Commands of lists that wait for elements. Each does what its namesake without the B does as soon as it
//! can; the engine runs it again when one of its keys has changed.

use ds::list::End;
use smallvec::smallvec;
use store::Type;

use super::list::{DESTINATION, MoveRequest, PopRequest, SOURCE, end_at, row};
use crate::blocking::{NoReply, Wait};
use crate::command::{CmdResult, Command, flag};
use crate::ctx::Ctx;
use crate::keyspec::{KeySpec, flag as key};

pub static TABLE: &[Command] = &[
    row("blmove", 6, blmove)
        .write()
        .deny_oom()
        .flags(flag::BLOCKING)
        .keys(&[SOURCE, DESTINATION])
        .since("6.2.0")
        .syntax("source destination <LEFT | RIGHT> <LEFT | RIGHT> timeout=double")
        .docs(
            "Moves an element from an end of a list to an end of another, as soon as there is one.",
            "O(1)",
        ),
    row("blmovem", -6, blmovem)
        .write()
        .deny_oom()
        .flags(flag::BLOCKING)
        .keys(&[SOURCE, DESTINATION])
        .since("8.10.0")
        .syntax(
            "source destination <LEFT | RIGHT> <LEFT | RIGHT> timeout=double \
             [<COUNT count | EXACTLY exactly=integer> <OBO | BULK>]",
        )
        .docs(
            "Moves elements from an end of a list to an end of another, as soon as there are enough.",
            "O(N) where N is the number of elements moved.",
        ),
    row("blmpop", -5, blmpop)
        .write()
        .flags(flag::BLOCKING)
        .keys(&[KeySpec::counted(2, key::RW | key::ACCESS | key::DELETE)])
        .since("7.0.0")
        .syntax("timeout=double numkeys key [key ...] <LEFT | RIGHT> [COUNT count]")
        .docs(
            "Removes elements from an end of the first list that there is, as soon as there is one.",
            "O(N+M) where N is the number of provided keys and M is the number of elements returned.",
        ),
    row("blpop", -3, blpop)
        .write()
        .flags(flag::BLOCKING)
        .keys(&[KeySpec::range(1, -2, 1, key::RW | key::ACCESS | key::DELETE)])
        .since("2.0.0")
        .history(TIMEOUTS)
        .syntax("key [key ...] timeout=double")
        .docs("Removes the first element of the first list that there is, as soon as there is one.", POPPED),
    row("brpop", -3, brpop)
        .write()
        .flags(flag::BLOCKING)
        .keys(&[KeySpec::range(1, -2, 1, key::RW | key::ACCESS | key::DELETE)])
        .since("2.0.0")
        .history(TIMEOUTS)
        .syntax("key [key ...] timeout=double")
        .docs("Removes the last element of the first list that there is, as soon as there is one.", POPPED),
    row("brpoplpush", 4, brpoplpush)
        .write()
        .deny_oom()
        .flags(flag::BLOCKING)
        .keys(&[SOURCE, DESTINATION])
        .since("2.2.0")
        .deprecated("6.2.0", "`BLMOVE` with the `RIGHT` and `LEFT` arguments")
        .history(TIMEOUTS)
        .syntax("source destination timeout=double")
        .docs(
            "Moves the last element of a list before the first of another, as soon as there is one.",
            "O(1)",
        ),
];

const POPPED: &str = "O(N) where N is the number of provided keys.";
const TIMEOUTS: &[(&str, &str)] = &[("6.0.0", "`timeout` is interpreted as a double instead of an integer.")];

fn blpop(ctx: &mut Ctx) -> CmdResult {
    pop_one(ctx, End::Front)
}

fn brpop(ctx: &mut Ctx) -> CmdResult {
    pop_one(ctx, End::Back)
}

fn pop_one(ctx: &mut Ctx, end: End) -> CmdResult {
    let last = ctx.args.last();
    pop(ctx, &PopRequest { keys: 1..last, end, count: None }, last)
}

fn blmpop(ctx: &mut Ctx) -> CmdResult {
    let request = PopRequest::parse(&ctx.args, 2)?;
    pop(ctx, &request, 1)
}

/// The timeout stands at `timeout`.
fn pop(ctx: &mut Ctx, request: &PopRequest, timeout: usize) -> CmdResult {
    let until = ctx.timeout_seconds(timeout)?;
    if request.try_serve(ctx)? {
        return Ok(());
    }
    ctx.wait(Wait {
        keys: request.keys.clone().collect(),
        awaits: Type::List,
        missing_too: false,
        all_keys: false,
        until,
        on_timeout: NoReply::NullArray,
        again: None,
    })
}

fn blmove(ctx: &mut Ctx) -> CmdResult {
    let (from, to) = (end_at(&ctx.args, 3)?, end_at(&ctx.args, 4)?);
    let args = ctx.args;
    let effect = [b"LMOVE", args.at(1), args.at(2), args.at(3), args.at(4)];
    move_elements(ctx, &MoveRequest::of_one(from, to), 5, &effect, NoReply::Null)
}

fn brpoplpush(ctx: &mut Ctx) -> CmdResult {
    let effect = [b"RPOPLPUSH", ctx.args.at(1), ctx.args.at(2)];
    move_elements(ctx, &MoveRequest::of_one(End::Back, End::Front), 3, &effect, NoReply::Null)
}

fn blmovem(ctx: &mut Ctx) -> CmdResult {
    let request = MoveRequest::parse(&ctx.args, 6)?;
    let mut effect: Vec<&[u8]> = ctx.args.iter().collect();
    effect[0] = b"LMOVEM";
    effect.remove(5);
    move_elements(ctx, &request, 5, &effect, NoReply::NullArray)
}

/// The timeout stands at `timeout`. Where nothing may wait the reply is `at_once`, which need not be that of
/// a wait whose time is over.
fn move_elements(
    ctx: &mut Ctx,
    request: &MoveRequest,
    timeout: usize,
    effect: &[&[u8]],
    at_once: NoReply,
) -> CmdResult {
    let until = ctx.timeout_seconds(timeout)?;
    if request.try_serve(ctx)? {
        ctx.keys.effect(effect);
        return Ok(());
    }
    if ctx.session.in_exec {
        at_once.write(ctx.reply, &ctx.engine.log);
        return Ok(());
    }
    ctx.wait(Wait {
        keys: smallvec![1, 2],
        awaits: Type::List,
        missing_too: false,
        all_keys: true,
        until,
        on_timeout: NoReply::NullArray,
        again: None,
    })
}
