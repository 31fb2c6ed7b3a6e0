//! Commands on whole databases: list, count, pick, empty, swap. They run under every shard's lock.

use std::ops::Range;

use base::glob::{Case, matches};
use ds::table::Table;
use store::expire::is_expired;
use store::{DbIndex, Entry, Garbage, Key, Plan};

use crate::acl_categories::category;
use crate::command::{CmdResult, Command, Group, PlanInput, PlanRule, command, flag};
use crate::ctx::Ctx;
use crate::error::CmdError;
use crate::keys::Keys;
use crate::session::Origin;
use crate::watch::Presence;

pub static TABLE: &[Command] = &[
    command("keys", 2, Group::Generic, keys)
        .categories(category::DANGEROUS)
        .read()
        .flags(flag::TOUCHES_ARBITRARY_KEYS)
        .plan(PlanRule::Custom(keys_plan))
        .syntax("pattern")
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"])
        .docs(
            "Lists the keys that match a pattern.",
            "O(N) with N being the number of keys in the database, under the assumption that the key \
             names in the database and the given pattern have limited length.",
        ),
    command("randomkey", 1, Group::Generic, randomkey)
        .read()
        .flags(flag::TOUCHES_ARBITRARY_KEYS)
        .plan(PlanRule::All)
        .tips(&["request_policy:all_shards", "nondeterministic_output"])
        .docs("Picks a key, each with the same probability.", "O(1)"),
    command("dbsize", 1, Group::Server, dbsize)
        .categories(category::KEYSPACE)
        .read()
        .fast()
        .plan(PlanRule::All)
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"])
        .docs("Counts the keys of the database.", "O(1)"),
    command("flushdb", -1, Group::Server, flushdb)
        .categories(category::KEYSPACE | category::DANGEROUS)
        .write()
        .plan(PlanRule::All)
        .syntax("[ASYNC | SYNC]")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .history(&FLUSH_HISTORY)
        .docs("Empties the database.", "O(N) where N is the number of keys in the selected database"),
    command("flushall", -1, Group::Server, flushall)
        .categories(category::KEYSPACE | category::DANGEROUS)
        .write()
        .plan(PlanRule::All)
        .syntax("[ASYNC | SYNC]")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .history(&FLUSH_HISTORY)
        .docs("Empties every database.", "O(N) where N is the total number of keys in all databases"),
    command("swapdb", 3, Group::Server, swapdb)
        .categories(category::KEYSPACE | category::DANGEROUS)
        .write()
        .fast()
        .plan(PlanRule::All)
        .since("4.0.0")
        .syntax("index1 index2")
        .docs(
            "Exchanges two databases: their clients see each other's keys.",
            "O(N) where N is the count of clients watching or blocking on keys from both databases.",
        ),
];

const FLUSH_HISTORY: [(&str, &str); 2] = [
    ("4.0.0", "Added the `ASYNC` flushing mode modifier."),
    ("6.2.0", "Added the `SYNC` flushing mode modifier."),
];

/// A pattern without special characters is a key.
fn keys_plan(input: &PlanInput<'_>) -> Plan {
    match input.argv.at(1) {
        name if is_literal(name) => Plan::One(input.engine.store.shard_of(Key::new(name).hash)),
        _ => Plan::All,
    }
}

fn is_literal(pattern: &[u8]) -> bool {
    !pattern.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'))
}

fn keys(ctx: &mut Ctx) -> CmdResult {
    let pattern = ctx.args.at(1);
    if is_literal(pattern) {
        return literal_key(ctx);
    }
    let (db, now, everything) = (ctx.keys.db, ctx.keys.expiry_now(), pattern == b"*");
    let mark = ctx.reply.defer();
    let mut count = 0;
    for (_, shard) in ctx.keys.guard.shards() {
        for entry in shard.db(db).table().iter() {
            let wanted = everything || matches(pattern, entry.key(), Case::Sensitive);
            if wanted && !is_expired(entry, now) {
                ctx.reply.bulk(entry.key());
                count += 1;
            }
        }
    }
    ctx.reply.close_array(mark, count);
    Ok(())
}

fn literal_key(ctx: &mut Ctx) -> CmdResult {
    let key = ctx.key(1);
    if ctx.keys.peek(key).is_some() {
        ctx.reply.array(1);
        ctx.reply.bulk(key.bytes);
    } else {
        ctx.reply.array(0);
    }
    Ok(())
}

fn randomkey(ctx: &mut Ctx) -> CmdResult {
    for _ in 0..RANDOM_TRIES {
        let Some(name) = random_name(ctx) else { break };
        if ctx.keys.exists(Key::new(&name)) {
            ctx.reply.bulk(&name);
            return Ok(());
        }
    }
    match any_live_name(ctx) {
        Some(name) => ctx.reply.bulk(&name),
        None => ctx.reply.null(),
    }
    Ok(())
}

/// Expired keys removed by one RANDOMKEY before it looks for any key that is not.
const RANDOM_TRIES: usize = 100;

/// A key of the database, expired or not, each with the same probability.
fn random_name(ctx: &mut Ctx) -> Option<Box<[u8]>> {
    let (db, rng) = (ctx.keys.db, &mut ctx.worker.rng);
    let guard = ctx.keys.guard();
    let mut rank = match guard.key_count(db) {
        0 => return None,
        count => rng.below(count as u64) as usize,
    };
    for (_, shard) in guard.shards() {
        let table = shard.db(db).table();
        if rank < table.len() {
            let slot = table.random(&mut |bound| rng.below(bound))?;
            return Some(table.view(slot).key().into());
        }
        rank -= table.len();
    }
    None
}

fn any_live_name(ctx: &mut Ctx) -> Option<Box<[u8]>> {
    let (db, now) = (ctx.keys.db, ctx.keys.expiry_now());
    ctx.keys.guard().shards().find_map(|(_, shard)| {
        let mut live = shard.db(db).table().iter().filter(|entry| !is_expired(*entry, now));
        live.next().map(|entry| entry.key().into())
    })
}

fn dbsize(ctx: &mut Ctx) -> CmdResult {
    let db = ctx.keys.db;
    let count = ctx.keys.guard().key_count(db);
    ctx.reply.integer(count as i64);
    Ok(())
}

fn flushdb(ctx: &mut Ctx) -> CmdResult {
    let own = ctx.keys.db.0;
    flush(ctx, own..own + 1)
}

/// Where save points are set, an empty dump is written before the reply.
fn flushall(ctx: &mut Ctx) -> CmdResult {
    let all = 0..ctx.engine.store.databases();
    flush(ctx, all)?;
    ctx.worker.dump_is_stale = ctx.session.origin == Origin::Client;
    Ok(())
}

fn flush(ctx: &mut Ctx, dbs: Range<u16>) -> CmdResult {
    let how = Freeing::parse(ctx)?;
    touch_flushed(ctx, &dbs);
    let read = ctx.engine.readings.leave_all(ctx.keys.guard(), |db| dbs.contains(&db.0));
    let (count, tables) = take_tables(&mut ctx.keys, &dbs);
    ctx.keys.add_dirty(count + read);
    // Named, as it is to be logged even if there was nothing to remove.
    let words: Vec<&[u8]> = ctx.args.iter().collect();
    ctx.keys.effect(&words);
    for table in tables {
        let late = how == Freeing::Late && table.len() > base::limits::LAZY_FREE_EFFORT;
        let garbage = Garbage::Table(table);
        let bytes = garbage.memory();
        if late {
            ctx.engine.memory.expect(bytes);
            ctx.engine.host.reclaim(garbage);
        } else {
            ctx.engine.memory.free_here(bytes as i64);
            ctx.worker.garbage.push(garbage);
        }
    }
    ctx.reply.ok();
    Ok(())
}

/// When the memory of what is flushed is free.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Freeing {
    /// When the reply comes.
    Now,
    /// Some time later, by another thread.
    Late,
}

impl Freeing {
    fn parse(ctx: &Ctx) -> Result<Freeing, CmdError> {
        match ctx.args.len() {
            1 if ctx.config.lazyfree_lazy_user_flush => Ok(Freeing::Late),
            1 => Ok(Freeing::Now),
            2 if ctx.args.is(1, "sync") => Ok(Freeing::Now),
            2 if ctx.args.is(1, "async") => Ok(Freeing::Late),
            _ => Err(CmdError::SYNTAX),
        }
    }
}

fn touch_flushed(ctx: &mut Ctx, dbs: &Range<u16>) {
    let keys = &mut ctx.keys;
    keys.invalidate_all();
    keys.mark_all_ready(|db| dbs.contains(&db.0));
    ctx.engine.watches.touch_all(|db, name| {
        let before = if dbs.contains(&db.0) { presence(keys, db, name) } else { Presence::Absent };
        (before, Presence::Absent)
    });
}

/// Empties the databases. Tables that a running snapshot still needs go to it.
fn take_tables(keys: &mut Keys<'_, '_>, dbs: &Range<u16>) -> (u64, Vec<Table<Entry>>) {
    let (mut count, mut tables) = (0, Vec::new());
    for (_, shard) in keys.guard().shards() {
        for db in dbs.clone().map(DbIndex) {
            let len = shard.db(db).len();
            if len > 0 {
                count += len as u64;
                tables.extend(shard.flush(db));
            }
        }
    }
    (count, tables)
}

fn swapdb(ctx: &mut Ctx) -> CmdResult {
    let first = db_argument(ctx, 1, "ERR invalid first DB index")?;
    let second = db_argument(ctx, 2, "ERR invalid second DB index")?;
    let (first, second) = (db_in_range(ctx, first)?, db_in_range(ctx, second)?);
    if first != second {
        swap(ctx, first, second);
    }
    ctx.keys.add_dirty(1);
    ctx.reply.ok();
    Ok(())
}

fn swap(ctx: &mut Ctx, first: DbIndex, second: DbIndex) {
    let keys = &mut ctx.keys;
    ctx.engine.watches.touch_all(|db, name| match db {
        _ if db == first => (presence(keys, first, name), presence(keys, second, name)),
        _ if db == second => (presence(keys, second, name), presence(keys, first, name)),
        _ => (Presence::Absent, Presence::Absent),
    });
    ctx.keys.guard().shards().for_each(|(_, shard)| shard.swap(first, second));
    ctx.engine.readings.swap(first, second);
    ctx.keys.mark_all_ready(|db| db == first || db == second);
}

fn db_argument(ctx: &Ctx, index: usize, invalid: &'static str) -> Result<i32, CmdError> {
    let number = ctx.args.integer(index).ok().and_then(|number| i32::try_from(number).ok());
    number.ok_or(CmdError::fixed(invalid))
}

fn db_in_range(ctx: &Ctx, number: i32) -> Result<DbIndex, CmdError> {
    let number = u16::try_from(number).ok().filter(|&number| number < ctx.engine.store.databases());
    number.map(DbIndex).ok_or(CmdError::fixed("ERR DB index is out of range"))
}

/// What a name stands for, left as it is.
fn presence(keys: &mut Keys<'_, '_>, db: DbIndex, name: &[u8]) -> Presence {
    let key = Key::new(name);
    match keys.guard.find(db, key) {
        false => Presence::Absent,
        true if keys.with_db(db, |keys| keys.is_expired(key)) => Presence::Expired,
        true => Presence::Live,
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{TestEngine, check_script, show};
    use std::collections::BTreeMap;

    #[test]
    fn listing() {
        let mut test = TestEngine::new();
        check_script(
            &mut test,
            &[
                ("KEYS *", "[]"),
                ("RANDOMKEY", "nil"),
                ("MSET hello 1 hallo 1 h*llo 1 other 1", "+OK"),
                ("SET gone 1 PX 5", "+OK"),
                ("KEYS gone", "[\"gone\"]"),
            ],
        );
        test.advance_ms(5);
        let mut check = |pattern: &str, expected: &[&str]| {
            let reply = test.run(&format!("KEYS {pattern}"));
            let items = reply.as_items().expect("an array");
            let mut found: Vec<String> = items.iter().filter_map(|item| item.as_text()).collect();
            found.sort();
            assert_eq!(found, expected, "{pattern}");
        };
        check("*", &["h*llo", "hallo", "hello", "other"]);
        check("h[ae]llo", &["hallo", "hello"]);
        check("h?llo", &["h*llo", "hallo", "hello"]);
        check("'h\\*llo'", &["h*llo"]);
        check("hello", &["hello"]);
        check("gone", &[]);
        check("none", &[]);
    }

    #[test]
    fn a_random_key_is_any_of_them() {
        let mut test = TestEngine::new();
        for number in 0..50 {
            test.run(&format!("SET key:{number} v"));
        }
        let mut counts = BTreeMap::new();
        for _ in 0..10_000 {
            *counts.entry(show(&test.run("RANDOMKEY"))).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 50);
        assert!(counts.values().all(|count| (120..300).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_random_key_is_never_an_expired_one() {
        let mut test = TestEngine::new();
        for number in 0..500 {
            test.run(&format!("SET key:{number} v PX 5"));
        }
        test.run("SET live v");
        test.advance_ms(5);
        assert_eq!(show(&test.run("RANDOMKEY")), "\"live\"");
        test.run("DEL live");
        assert_eq!(show(&test.run("RANDOMKEY")), "nil");
    }

    #[test]
    fn flushing() {
        let mut test = TestEngine::new();
        test.collect_effects();
        let fill = |test: &mut TestEngine| {
            for number in 0..3000 {
                test.run(&format!("SET key:{number} v"));
            }
            check_script(test, &[("SELECT 2", "+OK"), ("SET other v", "+OK"), ("SELECT 0", "+OK")]);
            test.take_effects();
        };
        let dirty = test.engine.dirty();
        check_script(
            &mut test,
            &[
                ("FLUSHDB FOO", "-ERR syntax error"),
                ("FLUSHALL SYNC ASYNC", "-ERR syntax error"),
                ("FLUSHALL", "+OK"),
                ("FLUSHDB", "+OK"),
            ],
        );
        assert_eq!(test.engine.dirty(), dirty);
        assert_eq!(test.take_effect_lines(), ["FLUSHALL", "FLUSHDB"]);
        for (line, left, reclaimed) in
            [("FLUSHDB SYNC", 1, 0), ("FLUSHDB ASYNC", 1, 16), ("FLUSHALL async", 0, 16)]
        {
            fill(&mut test);
            let (dirty, freed) = (test.engine.dirty(), test.engine.host.reclaim_counts().freed);
            check_script(&mut test, &[(line, "+OK"), ("DBSIZE", "0")]);
            assert_eq!(test.digest().len(), left, "{line}");
            assert_eq!(test.engine.dirty() - dirty, 3001 - left as u64, "{line}");
            assert_eq!(test.engine.host.reclaim_counts().freed - freed, reclaimed, "{line}");
            assert_eq!(test.take_effect_lines(), [line]);
            test.check_invariants();
        }
    }

    #[test]
    fn swapping() {
        let mut test = TestEngine::new();
        test.collect_effects();
        check_script(
            &mut test,
            &[
                ("SWAPDB a 1", "-ERR invalid first DB index"),
                ("SWAPDB 0 99999999999", "-ERR invalid second DB index"),
                ("SWAPDB 0 x", "-ERR invalid second DB index"),
                ("SWAPDB 0 16", "-ERR DB index is out of range"),
                ("SWAPDB -1 0", "-ERR DB index is out of range"),
                ("SET a 0", "+OK"),
                ("SWAPDB 0 1", "+OK"),
                ("DBSIZE", "0"),
                ("SELECT 1", "+OK"),
                ("GET a", "\"0\""),
                ("SWAPDB 1 1", "+OK"),
                ("GET a", "\"0\""),
            ],
        );
        assert_eq!(test.take_effect_lines(), ["SET a 0", "SWAPDB 0 1", "SWAPDB 1 1"]);
    }

    /// Whether EXEC still runs after `between`, with `x` watched in database 0. In `before` a key of a
    /// millisecond has expired when it is watched.
    fn check_watch(before: &[&str], between: &[&str], runs: bool) {
        let mut test = TestEngine::new();
        let other = test.connect();
        before.iter().for_each(|line| {
            test.run_as(other, line);
        });
        test.advance_ms(1);
        check_script(&mut test, &[("WATCH x", "+OK")]);
        between.iter().for_each(|line| {
            test.run_as(other, line);
        });
        check_script(&mut test, &[("MULTI", "+OK"), ("PING", "+QUEUED")]);
        let expected = if runs { "[+PONG]" } else { "nil" };
        check_script(&mut test, &[("EXEC", expected)]);
    }

    #[test]
    fn watchers_are_told_of_flushes_and_swaps_that_change_their_keys() {
        let live = ["SET x 1"];
        let stale = ["SET x 1 PX 1"];
        let stale_elsewhere = ["SELECT 1", "SET x 1 PX 1", "SELECT 0"];
        for flush in ["FLUSHALL", "FLUSHDB"] {
            check_watch(&live, &[flush], false);
            check_watch(&[], &[flush], true);
            check_watch(&stale, &[flush], true);
            check_watch(&live, &["SELECT 1", "FLUSHDB"], true);
        }
        check_watch(&live, &["SWAPDB 0 1"], false);
        check_watch(&[], &["SELECT 1", "SET x 2", "SWAPDB 0 1"], false);
        check_watch(&live, &["SWAPDB 2 3"], true);
        check_watch(&[], &["SWAPDB 0 1"], true);
        check_watch(&stale_elsewhere, &["SWAPDB 0 1"], true);
        check_watch(&stale, &["SWAPDB 0 1"], true);
        check_watch(&["SET x 1 PX 1", "SELECT 1", "SET x 1 PX 1"], &["SWAPDB 0 1"], true);
        check_watch(&["SET x 1 PX 1", "SELECT 1", "SET x 1"], &["SWAPDB 0 1"], false);
    }

    #[test]
    fn an_expired_key_that_was_watched_as_such_may_go() {
        let stale = ["SET x 1 PX 1"];
        check_watch(&stale, &[], true);
        check_watch(&stale, &["EXISTS x"], true);
        check_watch(&stale, &["EXISTS x", "SET x 2"], false);
        check_watch(&stale, &["SET x 2"], false);
        check_watch(&["SET x 1"], &["EXISTS x"], true);
        check_watch(&["SET x 1"], &["DEL x"], false);
    }
}
