//! Commands on keys of any type: delete, look, rename, copy, move. They never look into a value.

use store::{DbIndex, Key};

use crate::command::{CmdResult, Command, Group, command};
use crate::ctx::Ctx;
use crate::error::CmdError;
use crate::keyspec::KeySpec;
use crate::keyspec::flag::{ACCESS, DELETE, INSERT, OW, RM, RO, RW, UPDATE};
use crate::notify::class;

pub static TABLE: &[Command] = &[
    command("del", -2, Group::Generic, del)
        .write()
        .keys(&[KeySpec::range(1, -1, 1, RM | DELETE)])
        .syntax("key [key ...]")
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .docs(
            "Removes keys.",
            "O(N) where N is the number of keys that will be removed. When a key to remove holds a value \
             other than a string, the individual complexity for this key is O(M) where M is the number \
             of elements in the list, set, sorted set or hash. Removing a single key that holds a string \
             value is O(1).",
        ),
    command("unlink", -2, Group::Generic, unlink)
        .write()
        .fast()
        .since("4.0.0")
        .keys(&[KeySpec::range(1, -1, 1, RM | DELETE)])
        .syntax("key [key ...]")
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .docs(
            "Removes keys; large values are freed by another thread.",
            "O(1) for each key removed regardless of its size. Then the command does O(N) work in a \
             different thread in order to reclaim memory, where N is the number of allocations the \
             deleted objects where composed of.",
        ),
    command("exists", -2, Group::Generic, exists)
        .read()
        .fast()
        .keys(&[KeySpec::range(1, -1, 1, RO)])
        .syntax("key [key ...]")
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .history(&[("3.0.3", "Accepts multiple `key` arguments.")])
        .docs("Counts how many of the keys exist.", "O(N) where N is the number of keys to check."),
    command("touch", -2, Group::Generic, touch)
        .read()
        .fast()
        .since("3.2.1")
        .keys(&[KeySpec::range(1, -1, 1, RO)])
        .syntax("key [key ...]")
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .docs(
            "Marks keys as used just now; counts those that exist.",
            "O(N) where N is the number of keys that will be touched.",
        ),
    command("type", 2, Group::Generic, type_)
        .read()
        .fast()
        .keys(&[KeySpec::one(1, RO)])
        .syntax("key")
        .docs("Names the type of the value at a key.", "O(1)"),
    command("rename", 3, Group::Generic, rename)
        .write()
        .keys(&[KeySpec::one(1, RW | ACCESS | DELETE), KeySpec::one(2, OW | UPDATE)])
        .syntax("key newkey")
        .docs("Gives a key another name, over whatever had that name.", "O(1)"),
    command("renamenx", 3, Group::Generic, renamenx)
        .write()
        .fast()
        .keys(&[KeySpec::one(1, RW | ACCESS | DELETE), KeySpec::one(2, OW | INSERT)])
        .syntax("key newkey")
        .history(&[(
            "3.2.0",
            "The command no longer returns an error when source and destination names are the same.",
        )])
        .docs("Gives a key another name, unless that is taken.", "O(1)"),
    command("copy", -3, Group::Generic, copy)
        .write()
        .deny_oom()
        .since("6.2.0")
        .keys(&[KeySpec::one(1, RO | ACCESS), KeySpec::one(2, OW | UPDATE)])
        .syntax("source destination [DB destination-db] [REPLACE]")
        .docs(
            "Copies the value of a key to another key.",
            "O(N) worst case for collections, where N is the number of nested items. O(1) for string values.",
        ),
    command("move", 3, Group::Generic, move_)
        .write()
        .fast()
        .keys(&[KeySpec::one(1, RW | ACCESS | UPDATE)])
        .syntax("key db")
        .docs("Moves a key to another database.", "O(1)"),
];

fn del(ctx: &mut Ctx) -> CmdResult {
    let mut count = 0;
    for index in 1..ctx.args.len() {
        let key = ctx.key(index);
        if ctx.keys.delete(key) {
            ctx.keys.changed(key, (class::GENERIC, "del"));
            count += 1;
        }
    }
    ctx.reply.integer(count);
    Ok(())
}

/// The same: a large value goes to the other thread either way, so that nobody waits for it.
fn unlink(ctx: &mut Ctx) -> CmdResult {
    del(ctx)
}

fn exists(ctx: &mut Ctx) -> CmdResult {
    ctx.keys.no_touch = true;
    count_found(ctx)
}

/// Touches even for a client that asked for CLIENT NO-TOUCH.
fn touch(ctx: &mut Ctx) -> CmdResult {
    ctx.keys.no_touch = false;
    count_found(ctx)
}

fn count_found(ctx: &mut Ctx) -> CmdResult {
    let mut count = 0;
    for index in 1..ctx.args.len() {
        let key = ctx.key(index);
        count += i64::from(ctx.keys.entry(key).is_some());
    }
    ctx.reply.integer(count);
    Ok(())
}

fn type_(ctx: &mut Ctx) -> CmdResult {
    ctx.keys.no_touch = true;
    let key = ctx.key(1);
    let name = ctx.keys.entry(key).map_or("none", |entry| entry.kind().name());
    ctx.reply.simple(name);
    Ok(())
}

fn rename(ctx: &mut Ctx) -> CmdResult {
    rename_key(ctx, Taken::Overwrite)?;
    ctx.reply.ok();
    Ok(())
}

fn renamenx(ctx: &mut Ctx) -> CmdResult {
    let renamed = rename_key(ctx, Taken::Refuse)?;
    ctx.reply.integer(i64::from(renamed));
    Ok(())
}

/// What becomes of a key that has the wanted name already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    Overwrite,
    Refuse,
}

/// Whether the key has moved. To its own name it does not, nor to a taken one that is refused.
fn rename_key(ctx: &mut Ctx, taken: Taken) -> Result<bool, CmdError> {
    let (from, to) = (ctx.key(1), ctx.key(2));
    if ctx.keys.found(from).is_none() {
        return Err(CmdError::NO_SUCH_KEY);
    }
    if from.bytes == to.bytes || (taken == Taken::Refuse && ctx.keys.exists(to)) {
        return Ok(false);
    }
    let entry = ctx.keys.take(from).expect("found above");
    ctx.keys.delete(to);
    ctx.keys.put(to, entry.with_key(to.bytes));
    ctx.keys.changed(from, (class::GENERIC, "rename_from"));
    ctx.keys.touch(to);
    ctx.keys.event(to, (class::GENERIC, "rename_to"));
    Ok(true)
}

fn move_(ctx: &mut Ctx) -> CmdResult {
    let key = ctx.key(1);
    let (from, to) = (ctx.keys.db, ctx.db_index(2, DB_OUT_OF_RANGE)?);
    if from == to {
        return Err(SAME_OBJECT);
    }
    let movable = ctx.keys.found(key).is_some() && !ctx.keys.with_db(to, |keys| keys.exists(key));
    if movable {
        move_entry(ctx, key, to);
    }
    ctx.reply.integer(i64::from(movable));
    Ok(())
}

fn move_entry(ctx: &mut Ctx, key: Key<'_>, to: DbIndex) {
    let entry = ctx.keys.take(key).expect("the caller found it");
    ctx.keys.with_db(to, |keys| {
        keys.put(key, entry);
        keys.touch(key);
    });
    ctx.keys.changed(key, (class::GENERIC, "move_from"));
    ctx.keys.with_db(to, |keys| keys.event(key, (class::GENERIC, "move_to")));
}

fn copy(ctx: &mut Ctx) -> CmdResult {
    let options = CopyOptions::parse(ctx)?;
    let (from, to, db) = (ctx.key(1), ctx.key(2), options.db);
    if db == ctx.keys.db && from.bytes == to.bytes {
        return Err(SAME_OBJECT);
    }
    let done = copy_key(ctx, from, to, &options);
    ctx.reply.integer(i64::from(done));
    Ok(())
}

fn copy_key(ctx: &mut Ctx, from: Key<'_>, to: Key<'_>, options: &CopyOptions) -> bool {
    if ctx.keys.entry(from).is_none() {
        return false;
    }
    if !options.replace && ctx.keys.with_db(options.db, |keys| keys.exists(to)) {
        return false;
    }
    let source = ctx.keys.peek(from).expect("found above");
    let entry = source.copy(to.bytes);
    ctx.keys.with_db(options.db, |keys| {
        keys.delete(to);
        keys.put(to, entry);
        keys.changed(to, (class::GENERIC, "copy_to"));
    });
    true
}

struct CopyOptions {
    db: DbIndex,
    replace: bool,
}

impl CopyOptions {
    fn parse(ctx: &Ctx) -> Result<CopyOptions, CmdError> {
        let mut options = CopyOptions { db: ctx.keys.db, replace: false };
        let mut index = 3;
        while index < ctx.args.len() {
            if ctx.args.is(index, "replace") {
                options.replace = true;
            } else if ctx.args.is(index, "db") {
                index = ctx.args.operand(index)?;
                options.db = ctx.db_index(index, DB_OUT_OF_RANGE)?;
            } else {
                return Err(CmdError::SYNTAX);
            }
            index += 1;
        }
        Ok(options)
    }
}

const DB_OUT_OF_RANGE: &str = "ERR DB index is out of range";
const SAME_OBJECT: CmdError = CmdError::fixed("ERR source and destination objects are the same");

#[cfg(test)]
mod tests {
    use crate::testing::{TestEngine, check_script};

    #[test]
    fn deleting_and_counting() {
        let mut test = TestEngine::new();
        test.collect_events("");
        test.collect_effects();
        check_script(
            &mut test,
            &[
                ("DEL none", "0"),
                ("SET a 1", "+OK"),
                ("SET b 1", "+OK"),
                ("HSET h f v", "1"),
                ("EXISTS a b none a", "3"),
                ("TOUCH a none", "1"),
                ("TYPE a", "+string"),
                ("TYPE h", "+hash"),
                ("TYPE none", "+none"),
                ("DEL a none a", "1"),
                ("UNLINK b h", "2"),
                ("EXISTS a b h", "0"),
                ("DEL", "-ERR wrong number of arguments for 'del' command"),
            ],
        );
        assert_eq!(test.take_effect_lines()[3..], ["DEL a none a", "UNLINK b h"]);
        assert_eq!(test.take_events()[3..], ["del a", "del b", "del h"]);
        assert_eq!(test.engine.dirty(), 6);
    }

    #[test]
    fn a_large_value_is_freed_elsewhere() {
        let mut test = TestEngine::new();
        let freed = |test: &TestEngine| test.engine.host.reclaim_counts().freed;
        for number in 0..600 {
            test.run(&format!("HSET big {number} v"));
            test.run(&format!("HSET small {} v", number % 5));
        }
        test.run("DEL small");
        assert_eq!(freed(&test), 0);
        test.run("DEL big");
        assert_eq!(freed(&test), 1);
    }

    #[test]
    fn renaming() {
        let mut test = TestEngine::new();
        test.collect_events("n");
        test.collect_effects();
        check_script(
            &mut test,
            &[
                ("RENAME none none", "-ERR no such key"),
                ("RENAMENX none other", "-ERR no such key"),
                ("SET a 1", "+OK"),
                ("PEXPIRE a 1000", "1"),
                ("RENAME a a", "+OK"),
                ("RENAMENX a a", "0"),
            ],
        );
        test.take_events();
        test.take_effects();
        check_script(
            &mut test,
            &[
                ("RENAME a b", "+OK"),
                ("PTTL b", "1000"),
                ("SET c 2", "+OK"),
                ("RENAMENX c b", "0"),
                ("RENAME c b", "+OK"),
                ("GET b", "\"2\""),
                ("PTTL b", "-1"),
                ("RENAMENX b d", "1"),
                ("DBSIZE", "1"),
            ],
        );
        let events = ["new b", "rename_from a", "rename_to b", "new c", "set c"];
        assert_eq!(test.take_events()[..5], events);
        assert_eq!(test.take_effect_lines(), ["RENAME a b", "SET c 2", "RENAME c b", "RENAMENX b d"]);
    }

    #[test]
    fn a_renamed_table_is_the_same_table() {
        let mut test = TestEngine::new();
        for number in 0..2000 {
            test.run(&format!("HSET big {number} v"));
        }
        let before = test.run("HGETALL big");
        check_script(&mut test, &[("RENAME big large", "+OK"), ("HLEN large", "2000")]);
        assert_eq!(test.run("HGETALL large"), before);
        assert_eq!(test.engine.host.reclaim_counts().freed, 0);
        test.check_invariants();
    }

    #[test]
    fn moving() {
        let mut test = TestEngine::new();
        test.collect_events("");
        test.collect_effects();
        check_script(
            &mut test,
            &[
                ("MOVE a x", "-ERR value is not an integer or out of range"),
                ("MOVE a 16", "-ERR DB index is out of range"),
                ("MOVE a -1", "-ERR DB index is out of range"),
                (
                    "MOVE a 99999999999",
                    "-ERR value is out of range, value must between -2147483648 and 2147483647",
                ),
                ("MOVE a 0", "-ERR source and destination objects are the same"),
                ("MOVE a 1", "0"),
                ("SET a 1 PX 1000", "+OK"),
            ],
        );
        test.take_events();
        test.take_effects();
        check_script(
            &mut test,
            &[("MOVE a 1", "1"), ("EXISTS a", "0"), ("SET a 2", "+OK"), ("MOVE a 1", "0")],
        );
        assert_eq!(test.take_events(), ["move_from a", "move_to a@1", "set a"]);
        assert_eq!(test.take_effect_lines(), ["MOVE a 1", "SET a 2"]);
        check_script(&mut test, &[("SELECT 1", "+OK"), ("GET a", "\"1\""), ("PTTL a", "1000")]);
        // A key of that name whose time has passed is not in the way.
        test.advance_ms(1000);
        check_script(
            &mut test,
            &[("SELECT 0", "+OK"), ("MOVE a 1", "1"), ("SELECT 1", "+OK"), ("GET a", "\"2\"")],
        );
    }

    #[test]
    fn copying() {
        let mut test = TestEngine::new();
        test.collect_events("");
        test.collect_effects();
        check_script(
            &mut test,
            &[
                ("COPY a a", "-ERR source and destination objects are the same"),
                ("COPY a b DB", "-ERR syntax error"),
                ("COPY a b DB x", "-ERR value is not an integer or out of range"),
                ("COPY a b DB 16", "-ERR DB index is out of range"),
                ("COPY a b FOO", "-ERR syntax error"),
                ("COPY a b", "0"),
                ("SET a 1 PX 1000", "+OK"),
                ("HSET h f v", "1"),
            ],
        );
        test.take_events();
        test.take_effects();
        check_script(
            &mut test,
            &[
                ("COPY a b", "1"),
                ("COPY a b", "0"),
                ("COPY h b replace", "1"),
                ("COPY a a DB 3", "1"),
                ("HSET b f w", "0"),
                ("HGET h f", "\"v\""),
            ],
        );
        assert_eq!(test.take_events(), ["copy_to b", "copy_to b", "copy_to a@3", "hset b"]);
        let effects = ["COPY a b", "COPY h b replace", "COPY a a DB 3", "HSET b f w"];
        assert_eq!(test.take_effect_lines(), effects);
        check_script(&mut test, &[("SELECT 3", "+OK"), ("PTTL a", "1000"), ("GET a", "\"1\"")]);
    }

    #[test]
    fn a_copy_of_a_large_value_is_independent() {
        let mut test = TestEngine::new();
        let long = "x".repeat(20_000);
        test.run(&format!("SET s {long}"));
        for number in 0..600 {
            test.run(&format!("HSET h {number} v"));
        }
        check_script(
            &mut test,
            &[
                ("COPY s t", "1"),
                ("APPEND t y", "20001"),
                ("STRLEN s", "20000"),
                ("COPY h i", "1"),
                ("HSET i 5 w", "0"),
                ("HDEL i 6", "1"),
                ("HGET h 5", "\"v\""),
                ("HLEN h", "600"),
                ("OBJECT ENCODING i", "\"hashtable\""),
            ],
        );
        test.check_invariants();
    }
}
