//! OBJECT: how a value is kept and when it was used. Looking leaves no trace on the key.

use store::{EntryRef, Type};

use crate::command::{CmdResult, Command, Group, command, container, flag};
use crate::config::EncodingNames;
use crate::ctx::Ctx;
use crate::error::CmdError;
use crate::keyspec::KeySpec;
use crate::keyspec::flag::RO;

pub static TABLE: &[Command] = &[container("object", Group::Generic, SUBCOMMANDS)
    .since("2.2.3")
    .docs("Commands that look at how a value is kept.", "Depends on subcommand.")];

const SUBCOMMANDS: &[Command] = &[
    command("help", 2, Group::Generic, help)
        .flags(flag::LOADING | flag::STALE)
        .since("6.2.0")
        .docs("Lists the subcommands.", "O(1)"),
    on_key("idletime", idletime).docs("Tells how many seconds ago the key was last used.", "O(1)"),
    on_key("freq", freq)
        .since("4.0.0")
        .docs("Tells how often the key is used, on a logarithmic scale.", "O(1)"),
    on_key("encoding", encoding).docs("Names the form in which the value is kept.", "O(1)"),
    on_key("refcount", refcount).docs("Counts the references to the value: always 1.", "O(1)"),
];

const KEY: &[KeySpec] = &[KeySpec::one(2, RO)];

const fn on_key(name: &'static str, run: fn(&mut Ctx) -> CmdResult) -> Command {
    command(name, 3, Group::Generic, run)
        .read()
        .since("2.2.3")
        .keys(KEY)
        .syntax("key")
        .tips(&["nondeterministic_output"])
}

fn help(ctx: &mut Ctx) -> CmdResult {
    ctx.help(
        "OBJECT",
        &[
            "ENCODING <key>",
            "    Return the kind of internal representation used in order to store the value",
            "    associated with a <key>.",
            "FREQ <key>",
            "    Return the access frequency index of the <key>. The returned integer is",
            "    proportional to the logarithm of the recent access frequency of the key.",
            "IDLETIME <key>",
            "    Return the idle time of the <key>, that is the approximated number of",
            "    seconds elapsed since the last access to the key.",
            "REFCOUNT <key>",
            "    Return the number of references of the value associated with the specified",
            "    <key>.",
        ],
    );
    Ok(())
}

fn encoding(ctx: &mut Ctx) -> CmdResult {
    let names = ctx.config.object_encoding_names;
    match look(ctx).map(|entry| encoding_name(entry, names)) {
        Some(name) => ctx.reply.bulk(name.as_bytes()),
        None => ctx.reply.null(),
    }
    Ok(())
}

/// The encoding's name, as a version of Redis would give it.
pub(super) fn encoding_name(entry: EntryRef<'_>, names: EncodingNames) -> &'static str {
    match (names, entry.kind(), entry.encoding()) {
        (EncodingNames::Redis70, Type::List, _) => "quicklist",
        (EncodingNames::Redis70, Type::Set, "listpack") => "hashtable",
        (_, _, name) => name,
    }
}

fn refcount(ctx: &mut Ctx) -> CmdResult {
    match look(ctx) {
        Some(_) => ctx.reply.integer(1),
        None => ctx.reply.null(),
    }
    Ok(())
}

fn idletime(ctx: &mut Ctx) -> CmdResult {
    let access = ctx.keys.access;
    let Some(clock) = look(ctx).map(EntryRef::clock) else {
        ctx.reply.null();
        return Ok(());
    };
    if access.counts() {
        return Err(IDLE_NOT_TRACKED);
    }
    ctx.reply.integer(i64::from(access.idle_seconds(clock)));
    Ok(())
}

fn freq(ctx: &mut Ctx) -> CmdResult {
    let access = ctx.keys.access;
    let Some(clock) = look(ctx).map(EntryRef::clock) else {
        ctx.reply.null();
        return Ok(());
    };
    if !access.counts() {
        return Err(FREQUENCY_NOT_TRACKED);
    }
    ctx.reply.integer(i64::from(access.frequency(clock)));
    Ok(())
}

/// The entry, counted as a hit or a miss; neither touched nor announced.
fn look<'c>(ctx: &'c mut Ctx) -> Option<EntryRef<'c>> {
    let key = ctx.key(2);
    if ctx.keys.exists(key) {
        ctx.keys.effects.hits += 1;
    } else {
        ctx.keys.effects.misses += 1;
    }
    ctx.keys.peek(key)
}

const IDLE_NOT_TRACKED: CmdError = CmdError::fixed(
    "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching \
     between policies at runtime LRU and LFU data will take some time to adjust.",
);
const FREQUENCY_NOT_TRACKED: CmdError = CmdError::fixed(
    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
     switching between policies at runtime LRU and LFU data will take some time to adjust.",
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TestEngine, check_script};

    #[test]
    fn encodings() {
        let mut test = TestEngine::new();
        let mut check = |write: &str, expected: &str| {
            test.run(write);
            let quoted = format!("\"{expected}\"");
            check_script(
                &mut test,
                &[("OBJECT ENCODING k", &quoted), ("OBJECT REFCOUNT k", "1"), ("DEL k", "1")],
            );
        };
        check("SET k 12", "int");
        check("SET k abc", "embstr");
        check(&format!("SET k {}", "x".repeat(45)), "raw");
        check("SETRANGE k 0 abc", "raw");
        check("HSET k f v", "listpack");
        check(&format!("HSET k f {}", "x".repeat(65)), "hashtable");
        check("RPUSH k a", "listpack");
        check("SADD k a", "listpack");
    }

    #[test]
    fn encodings_by_their_names_of_redis_7_0() {
        let mut test =
            TestEngine::with_config(|config| config.object_encoding_names = EncodingNames::Redis70);
        check_script(
            &mut test,
            &[
                ("RPUSH list a", "1"),
                ("OBJECT ENCODING list", "\"quicklist\""),
                ("SADD names a", "1"),
                ("OBJECT ENCODING names", "\"hashtable\""),
                ("SADD numbers 1", "1"),
                ("OBJECT ENCODING numbers", "\"intset\""),
                ("HSET hash f v", "1"),
                ("OBJECT ENCODING hash", "\"listpack\""),
                ("CONFIG SET object-encoding-names redis-7.2", "+OK"),
                ("OBJECT ENCODING list", "\"listpack\""),
            ],
        );
    }

    #[test]
    fn idle_time_counts_from_the_last_use() {
        let mut test = TestEngine::new();
        test.run("SET k v");
        test.advance_ms(7_000);
        check_script(
            &mut test,
            &[
                ("OBJECT IDLETIME k", "7"),
                ("EXISTS k", "1"),
                ("TYPE k", "+string"),
                ("TTL k", "-1"),
                ("OBJECT ENCODING k", "\"embstr\""),
                ("OBJECT IDLETIME k", "7"),
                ("TOUCH k none", "1"),
                ("OBJECT IDLETIME k", "0"),
                ("OBJECT IDLETIME none", "nil"),
                ("OBJECT FREQ none", "nil"),
                ("OBJECT FREQ k", &format!("-{}", FREQUENCY_NOT_TRACKED)),
                ("OBJECT ENCODING none", "nil"),
                ("OBJECT ENCODING", "-ERR wrong number of arguments for 'object|encoding' command"),
                ("OBJECT FOO k", "-ERR unknown subcommand 'FOO'. Try OBJECT HELP."),
            ],
        );
        test.sessions[0].no_touch = true;
        test.advance_ms(3_000);
        check_script(&mut test, &[("GET k", "\"v\""), ("OBJECT IDLETIME k", "3"), ("TOUCH k", "1")]);
        check_script(&mut test, &[("OBJECT IDLETIME k", "0")]);
        test.configure(|config| config.maxmemory_policy = crate::config::EvictionPolicy::AllkeysLfu);
        check_script(&mut test, &[("OBJECT IDLETIME k", &format!("-{}", IDLE_NOT_TRACKED))]);
    }
}
