//! DEBUG RELOAD and DEBUG LOADAOF: what a restart would load, without a restart. They hold no shard
//! themselves, and no transaction or script may hold any for them.

use store::{DbIndex, Garbage, Plan};

use super::accept;
use crate::command::CmdResult;
use crate::commands::save::refusal;
use crate::ctx::Ctx;
use crate::engine::{Busy, Engine};
use crate::error::CmdError;
use crate::host::{AtDuplicate, Level, NotReloaded};

pub(super) fn dump(ctx: &mut Ctx) -> CmdResult {
    let is = |word| ctx.args.from(2).any(|given| given.eq_ignore_ascii_case(word));
    let known = |given: &[u8]| {
        [&b"merge"[..], b"noflush", b"nosave"].iter().any(|word| given.eq_ignore_ascii_case(word))
    };
    if !ctx.args.from(2).all(known) {
        return Err(CmdError::new("ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options."));
    }
    if ctx.session.in_exec {
        return Err(CmdError::new("ERR DEBUG RELOAD would wait for its own transaction"));
    }
    let (engine, keeps) = (ctx.engine, is(b"noflush"));
    if engine.is_loading() {
        return Err(CmdError::LOADING);
    }
    if !is(b"nosave") {
        engine.host.save_now().map_err(|why| refusal(ctx, why))?;
    }
    let at_duplicate = if is(b"merge") { AtDuplicate::Replace } else { AtDuplicate::Refuse };
    let loaded = engine.host.reload(at_duplicate, &|| if keeps { Ok(()) } else { empty(engine) });
    end(ctx, loaded, "ERR Error trying to load the RDB dump")?;
    engine.host.log(Level::Warning, "DB reloaded by DEBUG RELOAD");
    accept(ctx)
}

pub(super) fn log(ctx: &mut Ctx) -> CmdResult {
    if ctx.session.in_exec {
        return Err(CmdError::new("ERR DEBUG LOADAOF would wait for its own transaction"));
    }
    let engine = ctx.engine;
    let loaded = engine.host.reload_log(&|| empty(engine));
    end(ctx, loaded, "ERR Error trying to load the AOF files, check server logs.")?;
    engine.host.log(Level::Notice, "Append Only File loaded by DEBUG LOADAOF");
    accept(ctx)
}

/// Whatever was loaded, clients that track keys know nothing of it.
fn end(ctx: &mut Ctx, loaded: Result<(), NotReloaded>, failed: &'static str) -> CmdResult {
    let error = match loaded {
        Err(NotReloaded::Loading) => return Err(CmdError::LOADING),
        Err(NotReloaded::Busy) => return Err(ctx.engine.scripts.running.busy_error()),
        Err(NotReloaded::Failed) => Err(CmdError::new(failed)),
        Ok(()) => Ok(()),
    };
    ctx.keys.invalidate_all();
    error
}

fn empty(engine: &Engine) -> Result<(), Busy> {
    let mut guard = engine.lock_unless_busy(&Plan::All)?;
    let databases = engine.store.databases();
    engine.readings.leave_all(&mut guard, |_| true);
    engine.functions.flush();
    for (_, shard) in guard.shards() {
        let tables = (0..databases).filter_map(|db| shard.flush(DbIndex(db)));
        tables.for_each(|table| engine.host.reclaim(Garbage::Table(table)));
    }
    Ok(())
}
