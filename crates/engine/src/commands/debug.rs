//! DEBUG: tools of tests and of people who look for faults, allowed by `enable-debug-command`. Whatever it
//! breaks is what was asked for; it never reads or writes what the other commands cannot.

mod protocol;
mod reload;

use std::ffi::CString;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};

use base::alloc::{self, mallctl_read};
use base::glob::{Case, matches};
use base::num::parse_f64;
use base::sha1::hex;
use base::units::parse_memory;
use ds::list::{ListRef, NodeRef};
use rdb::WriteOptions;
use store::snapshot::value_ref;
use store::text::{Incoming, entry};
use store::{DbIndex, EntryRef, Guard, Key, Kind, List, Payload, Plan, Type};

use crate::command::{CmdResult, Command, Group, PlanInput, PlanRule, command, flag};
use crate::commands::config;
use crate::commands::object::encoding_name;
use crate::config::Config;
use crate::consumers::CONSUMERS;
use crate::ctx::Ctx;
use crate::digest;
use crate::engine::{Engine, hex_id};
use crate::error::CmdError;
use crate::host::Level;
use crate::info::InfoInput;

pub static TABLE: &[Command] = &[command("debug", -2, Group::Server, debug)
    .admin()
    .flags(flag::LOADING | flag::STALE | flag::PROTECTED)
    .plan(PlanRule::Custom(debug_plan))
    .docs("Looks into the server and does harm to it, for tests.", "Depends on subcommand.")];

/// A subcommand. They are no rows of the command table: Redis too keeps them out of it.
struct Tool {
    /// Its name and arguments.
    syntax: &'static str,
    /// Arguments, with `DEBUG` and the name.
    count: RangeInclusive<usize>,
    locks: Locks,
    run: fn(&mut Ctx) -> CmdResult,
    help: &'static [&'static str],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Locks {
    None,
    All,
}

const fn tool(
    syntax: &'static str,
    count: RangeInclusive<usize>,
    locks: Locks,
    run: fn(&mut Ctx) -> CmdResult,
    help: &'static [&'static str],
) -> Tool {
    Tool { syntax, count, locks, run, help }
}

static TOOLS: &[Tool] = &[
    tool(
        "AOF-FLUSH-SLEEP <microseconds>",
        3..=3,
        Locks::None,
        delay_log,
        &["Wait so long before each write to the append-only file."],
    ),
    tool("ASSERT", 2..=2, Locks::None, crash, &["Fail by an assertion."]),
    tool("CHANGE-REPL-ID", 2..=2, Locks::None, change_repl_id, &["Choose another replication id."]),
    tool(
        "CONFIG-REWRITE-FORCE-ALL",
        2..=2,
        Locks::None,
        config::rewrite_file_in_full,
        &["Like CONFIG REWRITE, but write every directive."],
    ),
    tool(
        "CRASH-AND-RECOVER [<milliseconds>]",
        2..=3,
        Locks::None,
        restart,
        &["Crash and start again after a delay."],
    ),
    tool(
        "DICT-RESIZING <0|1>",
        3..=3,
        Locks::None,
        accept,
        &["Accepted: tables grow in small steps, always."],
    ),
    tool("DIGEST", 2..=2, Locks::All, digest_all, &["Return a digest of the whole data set."]),
    tool(
        "DIGEST-VALUE <key> [<key> ...]",
        2..=usize::MAX,
        Locks::All,
        digest_values,
        &["Return a digest of the value of each key."],
    ),
    tool("ERROR <string>", 3..=3, Locks::None, error, &["Reply with an error of this text."]),
    tool("HTSTATS <dbid>", 3..=3, Locks::All, htstats, &["Return figures on the tables of a database."]),
    tool("HTSTATS-KEY <key>", 3..=3, Locks::All, htstats_key, &["Return figures on the table of a value."]),
    tool("LISTPACK <key>", 3..=3, Locks::All, listpack, &["Describe a packed value in the log."]),
    tool(
        "LOADAOF",
        2..=2,
        Locks::None,
        reload::log,
        &["Write out the append-only file, empty the data set and load the file."],
    ),
    tool("LOG <message>", 3..=3, Locks::None, log, &["Write a message to the log."]),
    tool(
        "MALLCTL <name>",
        3..=3,
        Locks::None,
        mallctl,
        &["Return a number that the allocator keeps under this name."],
    ),
    tool(
        "MALLCTL-STR <name> VOID",
        4..=4,
        Locks::None,
        mallctl_action,
        &["Have the allocator do what this name says: thread.tcache.flush."],
    ),
    tool(
        "MEMORY",
        2..=2,
        Locks::All,
        memory,
        &["Return what each consumer of memory holds, counted one by one, beside the allocator's count."],
    ),
    tool("OBJECT <key>", 3..=3, Locks::All, object, &["Describe the value of a key."]),
    tool("OOM", 2..=2, Locks::None, crash, &["Fail as if memory had run out."]),
    tool("PANIC", 2..=2, Locks::None, crash, &["Fail by a panic."]),
    tool(
        "PAUSE-CRON <0|1>",
        3..=3,
        Locks::None,
        |ctx| switch(ctx, |e| &e.debug.pause_cron),
        &["Stop the timed work."],
    ),
    tool(
        "POPULATE <count> [<prefix>] [<size>]",
        3..=5,
        Locks::All,
        populate,
        &[
            "Add <count> strings named <prefix>:<number> (default: key) of <size> bytes.",
            "They are not logged.",
        ],
    ),
    tool(
        "PROTOCOL <type>",
        3..=3,
        Locks::None,
        protocol::protocol,
        &[
            "Reply with a value of a type: string, integer, double, bignum, null, array, set, map,",
            "attrib, push, verbatim, true, false.",
        ],
    ),
    tool(
        "QUICKLIST-PACKED-THRESHOLD <size>",
        3..=3,
        Locks::None,
        set_list_plain_from,
        &["Give elements of lists a node each from this length on; 0: when they are too long for one."],
    ),
    tool(
        "RELOAD [MERGE] [NOFLUSH] [NOSAVE]",
        2..=usize::MAX,
        Locks::None,
        reload::dump,
        &[
            "Save the data set (not with NOSAVE), empty it (not with NOFLUSH) and load it again.",
            "With MERGE what is loaded takes the place of what is there under the same name.",
        ],
    ),
    tool(
        "REPLYBUFFER <PEAK-RESET-TIME|RESIZING> <value>",
        4..=4,
        Locks::None,
        reply_buffer,
        &["Accepted: a client has a buffer for replies only while one waits for it."],
    ),
    tool("RESTART [<milliseconds>]", 2..=3, Locks::None, restart, &["Save, and start again after a delay."]),
    tool("SEGFAULT", 2..=2, Locks::None, crash, &["Fail by an access to memory that is not there."]),
    tool(
        "SET-ACTIVE-EXPIRE <0|1>",
        3..=3,
        Locks::None,
        |ctx| switch(ctx, |engine| &engine.debug.active_expire),
        &["Stop or start the removal of expired keys that nobody reads."],
    ),
    tool(
        "SET-DISABLE-DENY-SCRIPTS <0|1>",
        3..=3,
        Locks::None,
        |ctx| switch(ctx, |engine| &engine.debug.scripts_run_all),
        &["Let scripts run commands that are not for scripts."],
    ),
    tool(
        "SET-SKIP-CHECKSUM-VALIDATION <0|1>",
        3..=3,
        Locks::None,
        |ctx| switch(ctx, |engine| &engine.debug.skip_checksums),
        &["Whether checksums of dump files and RESTORE are left unchecked."],
    ),
    tool("SLEEP <seconds>", 3..=3, Locks::None, sleep, &["Block the worker that serves this connection."]),
    tool(
        "STRINGMATCH-LEN <pattern> <string>",
        4..=4,
        Locks::None,
        string_match,
        &["Reply 1 if the pattern matches the string."],
    ),
];

impl Tool {
    fn name(&self) -> &'static str {
        self.syntax.split(' ').next().unwrap_or(self.syntax)
    }
}

fn find(name: &[u8], count: usize) -> Option<&'static Tool> {
    TOOLS.iter().find(|tool| tool.name().as_bytes().eq_ignore_ascii_case(name) && tool.count.contains(&count))
}

fn debug_plan(input: &PlanInput<'_>) -> Plan {
    match find(input.argv.at(1), input.argv.len()) {
        Some(tool) if tool.locks == Locks::All => Plan::All,
        _ => Plan::None,
    }
}

fn debug(ctx: &mut Ctx) -> CmdResult {
    if ctx.args.len() == 2 && ctx.args.is(1, "help") {
        return help(ctx);
    }
    match find(ctx.args.at(1), ctx.args.len()) {
        Some(tool) => (tool.run)(ctx),
        None => Err(ctx.bad_subcommand("DEBUG")),
    }
}

fn help(ctx: &mut Ctx) -> CmdResult {
    let lines: Vec<String> = TOOLS.iter().flat_map(help_lines).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    ctx.help("DEBUG", &lines);
    Ok(())
}

fn help_lines(tool: &Tool) -> impl Iterator<Item = String> {
    let help = tool.help.iter().map(|line| format!("    {line}"));
    std::iter::once(tool.syntax.to_owned()).chain(help)
}

fn accept(ctx: &mut Ctx) -> CmdResult {
    ctx.reply.ok();
    Ok(())
}

/// Turns something off by `0`, on by any other number.
fn switch(ctx: &mut Ctx, which: fn(&Engine) -> &AtomicBool) -> CmdResult {
    let on = base::num::parse_i64(ctx.args.at(2)).is_some_and(|number| number != 0);
    which(ctx.engine).store(on, Ordering::Relaxed);
    accept(ctx)
}

fn delay_log(ctx: &mut Ctx) -> CmdResult {
    let delay_us = base::num::parse_u64(ctx.args.at(2)).unwrap_or(0);
    ctx.engine.debug.log_delay_us.store(delay_us, Ordering::Relaxed);
    accept(ctx)
}

fn sleep(ctx: &mut Ctx) -> CmdResult {
    let seconds = parse_f64(ctx.args.at(2)).unwrap_or(0.0);
    ctx.engine.host.sleep_us((seconds * 1e6) as u64);
    accept(ctx)
}

fn log(ctx: &mut Ctx) -> CmdResult {
    ctx.engine.host.log(Level::Warning, &format!("DEBUG LOG: {}", ctx.text(2)));
    accept(ctx)
}

fn mallctl(ctx: &mut Ctx) -> CmdResult {
    let name = CString::new(ctx.args.at(2)).unwrap_or_default();
    let number = mallctl_read::<usize>(&name).map(|number| number as i64);
    let number = number.or_else(|| mallctl_read::<u32>(&name).map(i64::from));
    let number = number.or_else(|| mallctl_read::<bool>(&name).map(i64::from));
    ctx.reply.integer(number.ok_or(CmdError::new("ERR there is no number of this name"))?);
    Ok(())
}

/// There is no such buffer that could be kept, or grow or shrink by the clock: whatever is asked for holds.
fn reply_buffer(ctx: &mut Ctx) -> CmdResult {
    let is_time = ctx.args.is(2, "peak-reset-time");
    if !is_time && !ctx.args.is(2, "resizing") {
        return Err(ctx.bad_subcommand("DEBUG"));
    }
    if !is_time || !ctx.args.is(3, "never") && !ctx.args.is(3, "reset") {
        ctx.args.integer(3)?;
    }
    accept(ctx)
}

/// Others of the allocator's actions would take away memory that is in use.
fn mallctl_action(ctx: &mut Ctx) -> CmdResult {
    if !ctx.args.is(2, "thread.tcache.flush") || !ctx.args.is(3, "void") || !alloc::flush_thread_cache() {
        return Err(CmdError::new("ERR there is no action of this name"));
    }
    accept(ctx)
}

/// Names and bytes. The last two ought to be about the same, but that of what clients wait for some may be
/// nobody else's any more (`clients.shared`).
fn memory(ctx: &mut Ctx) -> CmdResult {
    let input = InfoInput::measure(ctx);
    // Before anything is written.
    let allocated = input.allocator().allocated;
    let data = walk(ctx.keys.guard());
    let consumers = CONSUMERS.iter().map(|consumer| (consumer.name, (consumer.bytes)(&input)));
    let held: Vec<(&str, usize)> = std::iter::once(("data", data)).chain(consumers).collect();
    let sum = held.iter().map(|(_, bytes)| bytes).sum();
    let shared = input.clients().shared_bytes;
    let all = [("clients.shared", shared), ("sum", sum), ("allocated", allocated)];
    ctx.reply.map(held.len() + all.len());
    for (name, bytes) in held.into_iter().chain(all) {
        ctx.reply.bulk(name.as_bytes());
        ctx.reply.integer(bytes as i64);
    }
    Ok(())
}

/// Bytes of all entries and tables, counted one by one.
fn walk(guard: &mut Guard<'_>) -> usize {
    let (databases, mut bytes) = (guard.store().databases(), 0);
    for (_, shard) in guard.shards() {
        for db in 0..databases {
            let table = shard.db(DbIndex(db)).table();
            bytes += table.memory();
            table.for_each(|entry| bytes += entry.memory());
        }
    }
    bytes
}

/// The text is the whole error, and is not counted as one.
fn error(ctx: &mut Ctx) -> CmdResult {
    ctx.reply.error(ctx.args.at(2));
    Ok(())
}

fn crash(ctx: &mut Ctx) -> CmdResult {
    let how = ctx.text(1).to_lowercase();
    ctx.engine.host.crash(&how);
    accept(ctx)
}

fn restart(ctx: &mut Ctx) -> CmdResult {
    if ctx.args.len() > 2 {
        let delay_ms = ctx.args.integer(2)?;
        ctx.engine.host.sleep_us((delay_ms.max(0) as u64).saturating_mul(1000));
    }
    let how = ctx.text(1).to_lowercase();
    ctx.engine.host.crash(&how);
    Err(CmdError::new("ERR failed to restart the server. Check server logs."))
}

fn change_repl_id(ctx: &mut Ctx) -> CmdResult {
    ctx.engine.host.log(Level::Warning, "Changing replication IDs after receiving DEBUG change-repl-id");
    ctx.engine.log.set_replication_id(hex_id(&mut ctx.worker.rng));
    accept(ctx)
}

fn string_match(ctx: &mut Ctx) -> CmdResult {
    let matched = matches(ctx.args.at(2), ctx.args.at(3), Case::Sensitive);
    ctx.reply.integer(i64::from(matched));
    Ok(())
}

fn digest_all(ctx: &mut Ctx) -> CmdResult {
    let digest = digest::of_dataset(ctx.keys.guard());
    ctx.reply.simple(&hex(&digest.0));
    Ok(())
}

fn digest_values(ctx: &mut Ctx) -> CmdResult {
    ctx.reply.array(ctx.args.len() - 2);
    for index in 2..ctx.args.len() {
        let digest = raw_entry(ctx, index).map(digest::of_value).unwrap_or_default();
        ctx.reply.simple(&hex(&digest.0));
    }
    Ok(())
}

/// The entry of the key at an argument's place, expired or not.
fn raw_entry<'c>(ctx: &'c mut Ctx, index: usize) -> Option<EntryRef<'c>> {
    let key = ctx.key(index);
    let db = ctx.keys.db;
    let part = ctx.keys.guard().db(db, key.hash);
    part.find(key).map(|slot| part.view(slot))
}

fn object(ctx: &mut Ctx) -> CmdResult {
    let (now_s, config) = (ctx.now().seconds(), ctx.config);
    let entry = raw_entry(ctx, 2).ok_or(CmdError::NO_SUCH_KEY)?;
    let mut record = Vec::new();
    rdb::values::write_value(
        &mut record,
        value_ref(entry),
        &WriteOptions { compress: config.rdbcompression },
    );
    let idle_s = (now_s - i64::from(entry.clock())) & 0xff_ffff;
    let encoding = encoding_name(entry, config.object_encoding_names);
    let mut line = format!(
        "Value at:{:p} refcount:1 encoding:{encoding} serializedlength:{} lru:{} lru_seconds_idle:{idle_s}",
        entry.key().as_ptr(),
        record.len(),
        entry.clock(),
    );
    if encoding == "quicklist" {
        line += &quicklist(entry, config);
    }
    ctx.reply.simple(&line);
    Ok(())
}

/// What DEBUG OBJECT says of a list's nodes.
fn quicklist(entry: EntryRef<'_>, config: &Config) -> String {
    let list = List::view(entry);
    let (nodes, size) = match list {
        ListRef::Packed(pack) => (1, pack.bytes().len()),
        ListRef::Nodes(list) => (list.node_count(), list.nodes().map(NodeRef::content_len).sum()),
    };
    format!(
        " ql_nodes:{nodes} ql_avg_node:{:.2} ql_listpack_max:{} ql_compressed:{} ql_uncompressed_size:{size}",
        list.len() as f64 / nodes as f64,
        config.thresholds.list_node_size,
        u8::from(config.thresholds.list_compress_depth != 0),
    )
}

fn listpack(ctx: &mut Ctx) -> CmdResult {
    let config = ctx.config;
    let line = match raw_entry(ctx, 2).ok_or(CmdError::NO_SUCH_KEY)? {
        entry if entry.kind() == Type::String => None,
        entry => match entry.payload() {
            Payload::Bytes(packed) => {
                let shown = config.for_log(base::bytes::escape(packed));
                Some(format!("DEBUG LISTPACK: {} bytes: {shown}", packed.len()))
            }
            _ => None,
        },
    };
    let line = line.ok_or(CmdError::new("ERR Not a listpack encoded object."))?;
    ctx.engine.host.log(Level::Notice, &line);
    ctx.reply.simple("Listpack structure printed on stdout");
    Ok(())
}

fn set_list_plain_from(ctx: &mut Ctx) -> CmdResult {
    let len = parse_memory(ctx.args.at(2)).ok().filter(|&len| len < LIST_PLAIN_FROM_MAX);
    let len =
        len.ok_or(CmdError::new("ERR argument must be a memory value bigger than 1 and smaller than 4gb"))?;
    let _one_at_a_time = ctx.engine.config_change.lock();
    let mut config = Config::clone(&ctx.engine.config());
    config.thresholds.list_plain_from = len as usize;
    ctx.engine.set_config(config);
    ctx.reply.ok();
    Ok(())
}

fn htstats(ctx: &mut Ctx) -> CmdResult {
    let db = ctx.db_index(2, "ERR Out of range database")?;
    let (mut keys, mut expiring, mut segments, mut bytes) = (0, 0, 0, 0);
    for (_, shard) in ctx.keys.guard().shards() {
        expiring += shard.db(db).expires_count();
        let table = shard.db(db).table();
        keys += table.len();
        segments += table.segment_count();
        bytes += table.memory();
    }
    let text = format!(
        "[Dictionary HT]\n number of elements: {keys}\n segments: {segments}\n bytes: {bytes}\n[Expires \
         HT]\n number of elements: {expiring}\n"
    );
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

fn htstats_key(ctx: &mut Ctx) -> CmdResult {
    let text = match raw_entry(ctx, 2).ok_or(CmdError::NO_SUCH_KEY)?.payload() {
        Payload::Fields(table) => hash_table_stats(table.len(), table.memory()),
        Payload::Members(table) => hash_table_stats(table.len(), table.memory()),
        Payload::Scored(table) => hash_table_stats(table.len(), table.memory()),
        _ => {
            return Err(CmdError::new(
                "ERR The value stored at the specified key is not represented using an hash table",
            ));
        }
    };
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

fn hash_table_stats(len: usize, bytes: usize) -> String {
    format!("Hash table stats:\n number of elements: {len}\n bytes: {bytes}\n")
}

fn populate(ctx: &mut Ctx) -> CmdResult {
    let count = positive(ctx, 2)?;
    let prefix = if ctx.args.len() > 3 { ctx.args.at(3) } else { b"key" };
    let size = if ctx.args.len() > 4 { positive(ctx, 4)? } else { 0 };
    if size > ctx.config.proto_max_bulk_len {
        return Err(CmdError::new("ERR string exceeds maximum allowed size (proto-max-bulk-len)"));
    }
    for number in 0..count {
        let name = [prefix, b":", number.to_string().as_bytes()].concat();
        let key = Key::new(&name);
        if !ctx.keys.exists(key) {
            let value = filler(number, size as usize);
            let clock = ctx.keys.access.fresh;
            ctx.keys.put(key, entry(&name, Incoming::Slice(&value), None, clock));
            ctx.keys.touch(key);
        }
    }
    ctx.keys.no_effect();
    accept(ctx)
}

fn positive(ctx: &Ctx, index: usize) -> Result<u64, CmdError> {
    let out_of_range = CmdError::new("ERR value is out of range, must be positive");
    ctx.args.integer(index).ok().and_then(|number| u64::try_from(number).ok()).ok_or(out_of_range)
}

/// `value:<number>`, cut or filled with zeros to `size` if that is not 0.
fn filler(number: u64, size: usize) -> Vec<u8> {
    let mut value = format!("value:{number}").into_bytes();
    if size > 0 {
        value.resize(size, 0);
    }
    value
}

/// Redis keeps a megabyte below 4 GB for what surrounds an element.
const LIST_PLAIN_FROM_MAX: u64 = (1 << 32) - (1 << 20);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DebugAccess;
    use crate::testing::{TestEngine, check_script, show};
    use resp::reply::Protocol;

    fn allowed() -> TestEngine {
        TestEngine::with_config(|config| config.enable_debug_command = DebugAccess::Yes)
    }

    #[test]
    fn it_has_to_be_allowed() {
        let reply = show(&TestEngine::new().run("DEBUG DIGEST"));
        assert!(reply.starts_with("-ERR DEBUG command not allowed. If the enable-debug-command"), "{reply}");
    }

    #[test]
    fn digests_are_redis_own() {
        check_script(
            &mut allowed(),
            &[
                ("DEBUG DIGEST", "+0000000000000000000000000000000000000000"),
                ("SET a 1", "+OK"),
                ("DEBUG DIGEST", "+943d800368fb9c0e951138f1bc0e313ac769d91f"),
                ("HSET h f v g 12", "2"),
                ("DEBUG DIGEST", "+000dfb30a707a95f7653a90cd08d5c155edc2949"),
                ("PEXPIRE a 10000000", "1"),
                ("DEBUG DIGEST", "+9858c0fc8529fcd51b88126a450bf07d75b7a227"),
                (
                    "DEBUG DIGEST-VALUE a h x",
                    "[+5279988c5d1911f474bcbbf2f0a87012d40f8459 +8530acc75d5274eb0fc0da86f28ed5533274a6d4 \
                     +0000000000000000000000000000000000000000]",
                ),
                ("SELECT 3", "+OK"),
                ("SET zz value", "+OK"),
                ("DEBUG DIGEST", "+5c9e7eb3f3b4d9b9f0cb1134fa987d91b216be1e"),
            ],
        );
    }

    /// Both come in one tick: what follows what took long does not begin in the past.
    #[test]
    fn a_command_has_the_time_it_begins_at() {
        let script = [("DEBUG SLEEP 1.5", "+OK"), ("SET lock v PX 1000", "+OK"), ("PTTL lock", "1000")];
        check_script(&mut allowed(), &script);
    }

    #[test]
    fn objects_are_described() {
        let mut test = allowed();
        test.run("HSET h f v g 12");
        test.run("SET a 1");
        test.advance_ms(5_000);
        let reply = show(&test.run("DEBUG OBJECT a"));
        let expected = " refcount:1 encoding:int serializedlength:2 lru:5501184 lru_seconds_idle:5";
        assert!(reply.starts_with("+Value at:0x") && reply.ends_with(expected), "{reply}");
        assert!(show(&test.run("DEBUG OBJECT h")).contains(" encoding:listpack serializedlength:19 "));
        check_script(
            &mut test,
            &[
                ("DEBUG OBJECT x", "-ERR no such key"),
                ("DEBUG LISTPACK h", "+Listpack structure printed on stdout"),
                ("DEBUG LISTPACK a", "-ERR Not a listpack encoded object."),
                (
                    "DEBUG HTSTATS-KEY h",
                    "-ERR The value stored at the specified key is not represented using an hash table",
                ),
                ("DEBUG HTSTATS 100", "-ERR Out of range database"),
            ],
        );
    }

    #[test]
    fn populate_adds_what_is_absent() {
        check_script(
            &mut allowed(),
            &[
                ("SET key:1 mine", "+OK"),
                ("DEBUG POPULATE 3", "+OK"),
                ("MGET key:0 key:1 key:2 key:3", "[\"value:0\" \"mine\" \"value:2\" nil]"),
                ("DEBUG POPULATE 1 a 10", "+OK"),
                ("GET a:0", "\"value:0\\x00\\x00\\x00\""),
                ("DEBUG POPULATE 1 b 3", "+OK"),
                ("GET b:0", "\"val\""),
                ("DEBUG POPULATE x", "-ERR value is out of range, must be positive"),
                ("DEBUG POPULATE -1", "-ERR value is out of range, must be positive"),
            ],
        );
    }

    #[test]
    fn every_type_of_reply_can_be_had() {
        let check = |protocol, name: &str, expected: &str| {
            let mut test = allowed();
            test.set_protocol(0, protocol);
            let reply = test.run_raw(0, &["DEBUG", "PROTOCOL", name]);
            assert_eq!(String::from_utf8_lossy(&reply).replace("\r\n", " "), expected, "{name}");
        };
        let cases = [
            ("integer", ":12345 ", ":12345 "),
            ("double", "$5 3.141 ", ",3.141 "),
            ("null", "$-1 ", "_ "),
            ("true", ":1 ", "#t "),
            ("map", "*6 :0 :0 :1 :1 :2 :0 ", "%3 :0 #f :1 #t :2 #f "),
            ("set", "*3 :0 :1 :2 ", "~3 :0 :1 :2 "),
            (
                "push",
                "-ERR RESP2 is not supported by this command ",
                ">2 $16 server-cpu-usage :42 $40 Some real reply following the push reply ",
            ),
            (
                "attrib",
                "$39 Some real reply following the attribute ",
                "|1 $14 key-popularity *2 $7 key:123 :90 $39 Some real reply following the attribute ",
            ),
        ];
        for (name, resp2, resp3) in cases {
            check(Protocol::Resp2, name, resp2);
            check(Protocol::Resp3, name, resp3);
        }
    }

    #[test]
    fn the_rest_reaches_engine_and_host() {
        let mut test = allowed();
        let id = test.engine.log.replication_id();
        check_script(
            &mut test,
            &[
                ("SET a 1", "+OK"),
                ("DEBUG RELOAD", "+OK"),
                ("GET a", "nil"),
                ("DEBUG RELOAD NOSAVE NOFLUSH MERGE", "+OK"),
                (
                    "DEBUG RELOAD NOW",
                    "-ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.",
                ),
                ("DEBUG LOADAOF", "+OK"),
                ("DEBUG SEGFAULT", "+OK"),
                ("DEBUG RESTART 5", "-ERR failed to restart the server. Check server logs."),
                ("DEBUG SLEEP 0.5", "+OK"),
                ("DEBUG LOG hello", "+OK"),
                ("DEBUG MALLCTL arenas.page", "4096"),
                ("DEBUG MALLCTL arenas.quantum", "8"),
                ("DEBUG MALLCTL arenas.nothing", "-ERR there is no number of this name"),
                ("DEBUG MALLCTL-STR thread.tcache.flush VOID", "+OK"),
                ("DEBUG MALLCTL-STR arena.0.reset VOID", "-ERR there is no action of this name"),
                ("DEBUG REPLYBUFFER RESIZING 0", "+OK"),
                ("DEBUG REPLYBUFFER PEAK-RESET-TIME NEVER", "+OK"),
                ("DEBUG REPLYBUFFER RESIZING much", "-ERR value is not an integer or out of range"),
                ("DEBUG ERROR 'MINE and more'", "-MINE and more"),
                ("DEBUG SET-ACTIVE-EXPIRE 0", "+OK"),
                ("DEBUG SET-DISABLE-DENY-SCRIPTS 1", "+OK"),
                ("DEBUG STRINGMATCH-LEN a* abc", "1"),
                ("DEBUG CHANGE-REPL-ID", "+OK"),
                (
                    "DEBUG SLEEP 1 2",
                    "-ERR unknown subcommand or wrong number of arguments for 'SLEEP'. Try DEBUG HELP.",
                ),
            ],
        );
        assert_eq!(
            test.host.calls.lock().as_slice(),
            [
                "save",
                "reload, at duplicates Refuse",
                "reload, at duplicates Replace",
                "reload log",
                "crash segfault",
                "crash restart"
            ]
        );
        assert!(!test.engine.debug.active_expire.load(Ordering::Relaxed));
        assert_ne!(test.engine.log.replication_id(), id);
        assert_eq!(test.now().0, crate::testing::START.0 + 505);
        assert!(test.host.lines.lock().contains(&(Level::Warning, "DEBUG LOG: hello".to_owned())));
    }
}
