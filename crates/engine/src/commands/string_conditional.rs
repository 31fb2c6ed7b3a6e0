//! Strings that are set or deleted on conditions: DELIFEQ, DELEX, MSETEX, and DIGEST, which tells what a
//! condition may compare with.

use store::Text;
use store::text::Expiry;

use super::condition::{Comparison, Condition};
use super::instant::Lifetime;
use super::string::{EXPIRE, SET, delete, row};
use crate::command::{CmdResult, Command};
use crate::ctx::Ctx;
use crate::error::CmdError;
use crate::keyspec::{KeySpec, flag as key};

pub static TABLE: &[Command] = &[
    row("delex", -2, delex)
        .write()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::DELETE | key::VARIABLE_FLAGS)])
        .since("8.4.0")
        .syntax(
            "key [IFEQ ifeq-value | IFNE ifne-value | IFDEQ ifdeq-digest=string | IFDNE ifdne-digest=string]",
        )
        .docs(
            "Deletes a key, if its string compares with another or with a digest as told.",
            "O(1) for IFEQ/IFNE, O(N) for IFDEQ/IFDNE where N is the length of the string value.",
        ),
    row("delifeq", 3, delifeq)
        .write()
        .fast()
        .keys(&[KeySpec::one(1, key::RM | key::DELETE)])
        .since("9.0.0")
        .syntax("key value")
        .docs("Deletes a key if it holds exactly this string.", "O(1)"),
    row("digest", 2, digest)
        .read()
        .fast()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("8.4.0")
        .syntax("key")
        .docs(
            "Returns a digest of a key's string, in 16 hexadecimal digits.",
            "O(N) where N is the length of the string value.",
        ),
    row("msetex", -4, msetex)
        .write()
        .deny_oom()
        .keys(&[KeySpec::counted_pairs(1, key::OW | key::UPDATE)])
        .since("9.1.0")
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"])
        .syntax(
            "numkeys key value [key value ...] [NX | XX] [EX seconds | PX milliseconds | \
             EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
        )
        .docs(
            "Sets the strings of several keys at once, and when the keys expire.",
            "O(N) where N is the number of keys to set.",
        ),
];

fn delifeq(ctx: &mut Ctx) -> CmdResult {
    let key = ctx.key(1);
    let text = ctx.keys.peek_as::<Text>(key)?;
    let holds = text.is_some_and(|text| *text.bytes() == *ctx.args.at(2));
    delete_if(ctx, holds);
    Ok(())
}

fn delex(ctx: &mut Ctx) -> CmdResult {
    let key = ctx.key(1);
    let holds = match ctx.args.len() {
        2 => ctx.keys.exists(key),
        4 => compares(ctx)?,
        _ => return Err(CmdError::arity(ctx.name())),
    };
    delete_if(ctx, holds);
    Ok(())
}

/// Whether the key is there and DELEX's condition holds of it.
fn compares(ctx: &mut Ctx) -> Result<bool, CmdError> {
    let key = ctx.key(1);
    if !ctx.keys.exists(key) {
        return Ok(false);
    }
    let not_a_string = CmdError::fixed("ERR Key should be of string type if conditions are specified");
    let Ok(Some(text)) = ctx.keys.peek_as::<Text>(key) else { return Err(not_a_string) };
    let comparison = Comparison::named(&ctx.args, 2)
        .ok_or(CmdError::fixed("ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE"))?;
    comparison.holds(text, ctx.args.at(3))
}

fn delete_if(ctx: &mut Ctx, holds: bool) {
    if holds {
        let key = ctx.key(1);
        delete(ctx, key);
    }
    ctx.reply.integer(i64::from(holds));
}

fn digest(ctx: &mut Ctx) -> CmdResult {
    let key = ctx.key(1);
    match ctx.keys.read::<Text>(key)? {
        Some(text) => ctx.reply.bulk(&base::hash::digest(&text.bytes())),
        None => ctx.reply.null(),
    }
    Ok(())
}

/// What MSETEX is told besides keys and values.
struct SetOptions {
    condition: Condition,
    lifetime: Lifetime,
}

impl SetOptions {
    fn parse(ctx: &Ctx, mut index: usize) -> Result<SetOptions, CmdError> {
        let args = &ctx.args;
        let mut options = SetOptions { condition: Condition::Always, lifetime: Lifetime::Default };
        while index < args.len() {
            match Condition::named(args, index) {
                Some(Condition::Compares(..)) => return Err(CmdError::SYNTAX),
                Some(condition) => {
                    options.condition = options.condition.and(condition).ok_or(CmdError::SYNTAX)?;
                    index += 1;
                }
                None => index = options.lifetime.take_option(args, index, args.len())?,
            }
        }
        if options.lifetime == Lifetime::Persist { Err(CmdError::SYNTAX) } else { Ok(options) }
    }
}

/// A time that has passed is set like any other: the keys are there and expired.
fn msetex(ctx: &mut Ctx) -> CmdResult {
    let end = end_of_pairs(ctx)?;
    let options = SetOptions::parse(ctx, end)?;
    let expiry = options.lifetime.expiry(&ctx.args, ctx.now(), ctx.name())?;
    for index in (2..end).step_by(2) {
        let key = ctx.key(index);
        if !options.condition.holds(ctx, key)? {
            ctx.reply.integer(0);
            return Ok(());
        }
    }
    for index in (2..end).step_by(2) {
        let key = ctx.key(index);
        ctx.keys.set_text(key, ctx.args.value(index + 1), expiry);
        ctx.keys.changed(key, SET);
        if matches!(expiry, Expiry::At(_)) {
            ctx.keys.event(key, EXPIRE);
        }
    }
    name_set(ctx, end, expiry);
    ctx.reply.integer(1);
    Ok(())
}

/// The place behind the last value, by the number of keys at the first argument.
fn end_of_pairs(ctx: &Ctx) -> Result<usize, CmdError> {
    let count = ctx.args.integer(1).ok().and_then(|count| i32::try_from(count).ok());
    let count = count.filter(|&count| count > 0);
    let count = count.ok_or(CmdError::fixed("ERR invalid numkeys value or out of range"))?;
    let end = 2 + 2 * count as usize;
    if end > ctx.args.len() { Err(CmdError::SYNTAX) } else { Ok(end) }
}

fn name_set(ctx: &mut Ctx, end: usize, expiry: Expiry) {
    if ctx.args.len() == end || !ctx.keys.is_logged() {
        return;
    }
    let mut digits = itoa::Buffer::new();
    let mut words: Vec<&[u8]> = vec![b"MSETEX"];
    words.extend((1..end).map(|index| ctx.args.at(index)));
    match expiry {
        Expiry::Drop => {}
        Expiry::Keep => words.push(b"KEEPTTL"),
        Expiry::At(at) => words.extend([b"PXAT".as_slice(), digits.format(at).as_bytes()]),
    }
    ctx.keys.effect(&words);
}
