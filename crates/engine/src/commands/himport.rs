//! HIMPORT: hashes that share their fields, whose names a connection says once. What it makes are hashes like
//! any other.

use ds::hash::Ttl;
use ds::listpack::Listpack;
use rdb::Object;
use rdb::values::HashObject;
use store::{Entry, Hash};

use crate::command::{CmdResult, Command, Group, Run, command, container, flag};
use crate::ctx::Ctx;
use crate::error::CmdError;
use crate::fieldsets::Fields;
use crate::keyspec::{KeySpec, flag as key};
use crate::notify::class;

pub static TABLE: &[Command] = &[container("himport", Group::Hash, HIMPORT)
    .since("8.10.0")
    .docs("Makes hashes that share their fields.", "Depends on subcommand.")];

static HIMPORT: &[Command] = &[
    row("discard", 3, discard)
        .syntax("fieldset-name")
        .docs("Forgets the fields prepared under a name.", OF_FIELDSETS),
    row("discardall", 2, discardall).docs("Forgets all fields that were prepared.", OF_FIELDSETS),
    row("prepare", -4, prepare)
        .deny_oom()
        .syntax("fieldset-name field [field ...]")
        .docs("Prepares the names of fields for later hashes.", "O(N) where N is the number of fields."),
    command("set", -5, Group::Hash, set)
        .write()
        .flags(flag::DENY_OOM)
        .keys(&[KeySpec::one(2, key::OW | key::UPDATE)])
        .since("8.10.0")
        .syntax("key fieldset-name value [value ...]")
        .docs(
            "Sets a hash of prepared fields, over the hash that the key held before.",
            "O(N) where N is the number of fields in the fieldset.",
        ),
];

/// A subcommand that concerns only the connection.
const fn row(name: &'static str, arity: i32, run: Run) -> Command {
    command(name, arity, Group::Hash, run).since("8.10.0").tips(&["request_policy:all_shards"])
}

const OF_FIELDSETS: &str = "O(N) where N is the number of session-local fieldsets.";

fn prepare(ctx: &mut Ctx) -> CmdResult {
    let args = ctx.args;
    if !ctx.session.fieldsets.prepare(args.at(2), args.from(3)) {
        return Err(CmdError::fixed("ERR duplicate field name in fieldset"));
    }
    ctx.session.show_fieldsets();
    ctx.reply.ok();
    Ok(())
}

fn discard(ctx: &mut Ctx) -> CmdResult {
    let is_known = ctx.session.fieldsets.discard(ctx.args.at(2));
    ctx.session.show_fieldsets();
    ctx.reply.integer(i64::from(is_known));
    Ok(())
}

fn discardall(ctx: &mut Ctx) -> CmdResult {
    let count = ctx.session.fieldsets.discard_all();
    ctx.session.show_fieldsets();
    ctx.reply.integer(count as i64);
    Ok(())
}

fn set(ctx: &mut Ctx) -> CmdResult {
    let fields = ctx.session.fieldsets.find(ctx.args.at(3));
    let fields = fields.ok_or(CmdError::fixed("ERR no such fieldset"))?;
    if fields.len() != ctx.args.len() - 4 {
        return Err(CmdError::fixed("ERR value count does not match fieldset field count"));
    }
    let key = ctx.key(2);
    let existed = ctx.keys.peek_as::<Hash>(key)?.is_some();
    let empty = Object::Hash(HashObject::Packed(Listpack::new_empty()));
    let entry = Entry::from_object(key.bytes, empty, None, ctx.keys.access.fresh);
    ctx.keys.put(key, entry);
    let mut hash = ctx.keys.write_or_create::<Hash>(key)?;
    for (field, value) in fields.iter().zip(ctx.args.from(4)) {
        hash.set(field, value, Ttl::Drop);
    }
    ctx.keys.changed_by(key, (class::HASH, "hset"), fields.len() as u64);
    name_set(ctx, &fields, existed);
    ctx.reply.ok();
    Ok(())
}

/// The fields are known to this connection alone.
fn name_set(ctx: &mut Ctx, fields: &Fields, existed: bool) {
    let key = ctx.key(2);
    if existed {
        ctx.keys.effect(&[b"DEL", key.bytes]);
    }
    let mut words: Vec<&[u8]> = vec![b"HSET", key.bytes];
    for (field, value) in fields.iter().zip(ctx.args.from(4)) {
        words.extend([field.as_ref(), value]);
    }
    ctx.keys.effect(&words);
}
