//! CLIENT and MONITOR: what a connection asks about itself and about the others. Connections belong to their
//! workers: nothing here ends one, it only asks its worker to.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use base::time::UnixMs;

use crate::blocking::Unblock;
use crate::clients::{Client, ClientId, flag as client_flag};
use crate::command::{CmdResult, Command, Group, command, container, flag};
use crate::commands::client_filter::{Filter, Purpose};
use crate::commands::client_tracking::{caching, getredir, tracking, trackinginfo};
use crate::config::{Config, REDACTED};
use crate::ctx::Ctx;
use crate::error::CmdError;
use crate::host::{Event, WorkerId};
use crate::pipeline::Outcome;
use crate::registry::REGISTRY;
use crate::session::ReplyMode;

pub static TABLE: &[Command] = &[
    container("client", Group::Connection, CLIENT)
        .since("2.4.0")
        .docs("Asks about connections and changes them.", "Depends on subcommand."),
    command("monitor", 1, Group::Server, monitor)
        .admin()
        .flags(flag::LOADING | flag::STALE)
        .docs("Shows every command that the server runs.", ""),
];

static CLIENT: &[Command] = &[
    own("caching", 3, caching).since("6.0.0").syntax("YES | NO").docs("Says whether to track the next command's keys.", "O(1)"),
    own("capa", -3, capa)
        .flags(flag::ALLOW_BUSY)
        .since("8.0.0")
        .syntax("capability [capability ...]")
        .docs("Tells what the client can cope with.", "O(1)"),
    own("getname", 2, getname).since("2.6.9").docs("Answers the connection's name.", "O(1)"),
    own("getredir", 2, getredir).since("6.0.0").docs("Answers who gets this connection's tracking messages.", "O(1)"),
    command("help", 2, Group::Connection, help)
        .flags(flag::LOADING | flag::STALE)
        .since("5.0.0")
        .docs("Explains the subcommands.", "O(1)"),
    own("id", 2, id).since("5.0.0").docs("Answers the connection's number.", "O(1)"),
    own("import-source", 3, import_source)
        .since("8.1.0")
        .syntax("ON | OFF")
        .docs("Says whether this connection decides what of its data has expired, in import mode.", "O(1)"),
    own("info", 2, info)
        .since("6.2.0")
        .docs("Describes this connection.", "O(1)")
        .tips(&["nondeterministic_output"]),
    own("kill", -3, kill)
        .flags(flag::ADMIN)
        .since("2.4.0")
        .syntax(
            "ip:port | [ID client-id [client-id ...]] [TYPE <NORMAL | MASTER | PRIMARY | SLAVE | REPLICA | \
             PUBSUB>] [USER username] [ADDR addr] [LADDR laddr] [SKIPME <YES | NO>] [MAXAGE maxage] [NAME \
             name] [IDLE idle] [FLAGS flags] [LIB-NAME lib-name] [LIB-VER lib-ver] [DB db] [CAPA capa] [IP \
             ip] [NOT-TYPE <NORMAL | MASTER | PRIMARY | SLAVE | REPLICA | PUBSUB>] [NOT-ID not-client-id \
             [not-client-id ...]] [NOT-USER not-username] [NOT-ADDR not-addr] [NOT-LADDR not-laddr] [NOT-NAME \
             not-name] [NOT-FLAGS not-flags] [NOT-LIB-NAME not-lib-name] [NOT-LIB-VER not-lib-ver] [NOT-DB \
             not-db] [NOT-CAPA not-capa] [NOT-IP not-ip]",
        )
        .docs("Closes connections.", "O(N) where N is the number of client connections")
        .history(&[
            ("2.8.12", "Added new filter format."),
            ("2.8.12", "`ID` option."),
            ("3.2.0", "Added `master` type in for `TYPE` option."),
            ("5.0.0", "Replaced `slave` `TYPE` with `replica`. `slave` still supported for backward compatibility."),
            ("6.2.0", "`LADDR` option."),
            ("8.0.0", "`MAXAGE` option."),
            ("8.0.0", "Replaced `master` `TYPE` with `primary`. `master` still supported for backward compatibility."),
            ("8.1.0", "`ID` option accepts multiple IDs."),
            ("9.0.0", NEW_FILTERS),
        ]),
    own("list", -2, list)
        .flags(flag::ADMIN)
        .since("2.4.0")
        .syntax(
            "[TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id [client-id ...]] [USER username] [ADDR \
             addr] [LADDR laddr] [SKIPME <YES | NO>] [MAXAGE maxage] [NAME name] [IDLE idle] [FLAGS flags] \
             [LIB-NAME lib-name] [LIB-VER lib-ver] [DB db] [CAPA capa] [IP ip] [NOT-TYPE <NORMAL | MASTER | \
             REPLICA | PUBSUB>] [NOT-ID not-client-id [not-client-id ...]] [NOT-USER not-username] [NOT-ADDR \
             not-addr] [NOT-LADDR not-laddr] [NOT-NAME not-name] [NOT-FLAGS not-flags] [NOT-LIB-NAME \
             not-lib-name] [NOT-LIB-VER not-lib-ver] [NOT-DB not-db] [NOT-CAPA not-capa] [NOT-IP not-ip]",
        )
        .docs("Describes all connections, or some.", "O(N) where N is the number of client connections")
        .tips(&["nondeterministic_output"])
        .history(&[
            ("2.8.12", "Added unique client `id` field."),
            ("5.0.0", "Added optional `TYPE` filter."),
            ("6.0.0", "Added `user` field."),
            ("6.2.0", "Added `argv-mem`, `tot-mem`, `laddr` and `redir` fields and the optional `ID` filter."),
            ("7.0.0", "Added `resp`, `multi-mem`, `rbs` and `rbp` fields."),
            ("7.0.3", "Added `ssub` field."),
            ("8.1.0", "Added filters USER, ADDR, LADDR, SKIPME, and MAXAGE."),
            ("9.0.0", NEW_FILTERS),
        ]),
    own("no-evict", 3, no_evict)
        .flags(flag::ADMIN)
        .since("7.0.0")
        .syntax("ON | OFF")
        .docs("Keeps the connection from being closed to free memory.", "O(1)"),
    own("no-touch", 3, no_touch)
        .flags(flag::ALLOW_BUSY)
        .since("7.2.0")
        .syntax("ON | OFF")
        .docs("Says whether commands count as use of the keys that they read.", "O(1)"),
    own("pause", -3, pause)
        .flags(flag::ADMIN)
        .since("2.9.50")
        .syntax("timeout [WRITE | ALL]")
        .docs("Holds back commands for a time.", "O(1)")
        .history(&[("6.2.0", "`CLIENT PAUSE WRITE` mode added along with the `mode` option.")]),
    own("reply", 3, reply)
        .since("3.2.0")
        .syntax("ON | OFF | SKIP")
        .docs("Says whether replies are wanted.", "O(1)"),
    own("setinfo", 4, setinfo)
        .flags(flag::ALLOW_BUSY)
        .since("7.2.0")
        .syntax("LIB-NAME libname | LIB-VER libver")
        .docs("Tells which library the client uses.", "O(1)")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
    own("setname", 3, setname)
        .since("2.6.9")
        .syntax("connection-name")
        .docs("Names the connection.", "O(1)"),
    own("tracking", -3, tracking)
        .since("6.0.0")
        .syntax("<ON | OFF> [REDIRECT client-id] [PREFIX prefix [PREFIX prefix ...]] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]")
        .docs("Starts or stops messages about changed keys.", "O(1). Some options may introduce additional complexity."),
    own("trackinginfo", 2, trackinginfo)
        .since("6.2.0")
        .docs("Describes the connection's tracking.", "O(1)"),
    own("unblock", -3, unblock)
        .flags(flag::ADMIN)
        .since("5.0.0")
        .syntax("client-id [TIMEOUT | ERROR]")
        .docs("Ends the wait of a blocked client.", "O(log N) where N is the number of client connections"),
    own("unpause", 2, unpause)
        .flags(flag::ADMIN)
        .since("6.2.0")
        .docs("Ends a pause of commands.", "O(N) Where N is the number of paused clients"),
];

const NEW_FILTERS: &str = "Added filters NAME, IDLE, FLAGS, LIB-NAME, LIB-VER, DB, CAPA, and IP. And negative filters \
                           NOT-ID, NOT-TYPE, NOT-ADDR, NOT-LADDR, NOT-USER, NOT-FLAGS, NOT-NAME, NOT-LIB-NAME, \
                           NOT-LIB-VER, NOT-DB, NOT-CAPA, NOT-IP.";

/// A row with what nearly all subcommands share.
const fn own(name: &'static str, arity: i32, run: crate::command::Run) -> Command {
    command(name, arity, Group::Connection, run).flags(flag::NO_SCRIPT | flag::LOADING | flag::STALE)
}

fn id(ctx: &mut Ctx) -> CmdResult {
    ctx.reply.integer(ctx.session.client.id.0 as i64);
    Ok(())
}

fn getname(ctx: &mut Ctx) -> CmdResult {
    match ctx.session.client.names.lock().name.as_str() {
        "" => ctx.reply.null(),
        name => ctx.reply.bulk(name.as_bytes()),
    }
    Ok(())
}

fn setname(ctx: &mut Ctx) -> CmdResult {
    let name = valid_name(ctx.args.at(2))?;
    ctx.session.client.rename(|names| names.name = name);
    ctx.reply.ok();
    Ok(())
}

/// A name as CLIENT LIST can show it.
pub fn valid_name(name: &[u8]) -> Result<String, CmdError> {
    let refusal = "ERR Client names cannot contain spaces, newlines or special characters.";
    listable(name).ok_or(CmdError::new(refusal))
}

/// Text without blanks and line ends, which would break the format of CLIENT LIST.
fn listable(text: &[u8]) -> Option<String> {
    let fits = text.iter().all(|byte| (b'!'..=b'~').contains(byte));
    fits.then(|| String::from_utf8_lossy(text).into_owned())
}

fn setinfo(ctx: &mut Ctx) -> CmdResult {
    let is_name = ctx.args.is(2, "lib-name");
    if !is_name && !ctx.args.is(2, "lib-ver") {
        return Err(CmdError::new(format!("ERR Unrecognized option '{}'", ctx.text(2))));
    }
    let Some(value) = listable(ctx.args.at(3)) else {
        let text = format!("ERR {} cannot contain spaces, newlines or special characters.", ctx.text(2));
        return Err(CmdError::new(text));
    };
    ctx.session.client.rename(|names| {
        *(if is_name { &mut names.library } else { &mut names.library_version }) = value;
    });
    ctx.reply.ok();
    Ok(())
}

/// Words that are not known are no mistake: the client may be newer.
fn capa(ctx: &mut Ctx) -> CmdResult {
    if (2..ctx.args.len()).any(|index| ctx.args.is(index, "redirect")) {
        ctx.session.client.takes_redirects.store(true, Ordering::Relaxed);
    }
    ctx.reply.ok();
    Ok(())
}

fn info(ctx: &mut Ctx) -> CmdResult {
    let mut text = String::new();
    show_running_command(ctx);
    describe(&ctx.session.client, ctx.now(), &mut text);
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

fn list(ctx: &mut Ctx) -> CmdResult {
    let filter = Filter::parse(ctx, Purpose::List)?;
    let (now, own_id) = (ctx.now(), ctx.session.client.id);
    let mut text = String::new();
    show_running_command(ctx);
    for client in ctx.engine.clients.all() {
        let is_hidden = filter.skip_me == Some(true) && client.id == own_id;
        if !is_hidden && filter.matches(&client, now) {
            describe(&client, now, &mut text);
        }
    }
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// The command that lists is seen as running, not the one before it.
fn show_running_command(ctx: &Ctx) {
    ctx.session.client.last_command.store(ctx.command.id, Ordering::Relaxed);
}

/// A client's line for the log.
pub fn describe_for_log(client: &Client, now: UnixMs, config: &Config) -> String {
    let mut text = String::new();
    describe_as(client, config.hide_user_data_from_log.then_some(REDACTED), now, &mut text);
    text.truncate(text.trim_end().len());
    text
}

/// Appends a client's line.
fn describe(client: &Client, now: UnixMs, text: &mut String) {
    describe_as(client, None, now, text);
}

/// With a name in place of its own, if there is one.
fn describe_as(client: &Client, name: Option<&str>, now: UnixMs, text: &mut String) {
    let written = describe_connection(client, name, now, text)
        .and_then(|()| describe_memory(client, text))
        .and_then(|()| describe_rest(client, text));
    written.expect("a String takes all text");
}

fn describe_connection(
    client: &Client,
    name: Option<&str>,
    now: UnixMs,
    text: &mut String,
) -> std::fmt::Result {
    let names = client.names.lock();
    let age = now.since(client.created) / 1000;
    let idle = now.since(UnixMs(client.last_interaction_ms.load(Ordering::Relaxed))) / 1000;
    write!(
        text,
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} capa={} db={} sub={} psub={} ssub={} multi={} watch={}",
        client.id.0,
        client.peer,
        client.local,
        client.descriptor,
        name.unwrap_or(&names.name),
        age.max(0),
        idle.max(0),
        letters(client.all_flags()),
        if client.takes_redirects.load(Ordering::Relaxed) { "r" } else { "" },
        client.db.load(Ordering::Relaxed),
        client.channels.load(Ordering::Relaxed),
        client.patterns.load(Ordering::Relaxed),
        client.shard_channels.load(Ordering::Relaxed),
        client.queued.load(Ordering::Relaxed),
        client.watched.load(Ordering::Relaxed),
    )
}

/// Replies lie in no buffer of the connection until they cannot be written at once, so `rbs`, `rbp` and `obl`
/// are 0.
fn describe_memory(client: &Client, text: &mut String) -> std::fmt::Result {
    write!(
        text,
        " qbuf={} qbuf-free={} argv-mem={} multi-mem={} rbs=0 rbp=0 obl=0 oll={} omem={} tot-mem={}",
        client.input_bytes.load(Ordering::Relaxed),
        client.input_free.load(Ordering::Relaxed),
        client.argument_bytes.load(Ordering::Relaxed),
        client.queued_bytes.load(Ordering::Relaxed),
        client.output_parts.load(Ordering::Relaxed),
        client.output_bytes.load(Ordering::Relaxed),
        client.memory(),
    )
}

fn describe_rest(client: &Client, text: &mut String) -> std::fmt::Result {
    let has_output = client.output_bytes.load(Ordering::Relaxed) > 0;
    let command = REGISTRY.by_id(client.last_command.load(Ordering::Relaxed));
    let names = client.names.lock();
    writeln!(
        text,
        " events={} cmd={} user={} redir={} resp={} lib-name={} lib-ver={} tot-net-in={} tot-net-out={} tot-cmds={}",
        if has_output { "rw" } else { "r" },
        command.map_or("NULL", |command| &command.full_name),
        names.user,
        client.tracking.shown_redirect(),
        client.protocol.load(Ordering::Relaxed),
        names.library,
        names.library_version,
        client.total_input.load(Ordering::Relaxed),
        client.total_output.load(Ordering::Relaxed),
        client.total_commands.load(Ordering::Relaxed),
    )
}

fn letters(flags: u32) -> String {
    let set = client_flag::LETTERS.iter().filter(|(flag, _)| flags & flag != 0);
    match set.map(|(_, letter)| *letter).collect::<String>() {
        none if none.is_empty() => "N".to_owned(),
        letters => letters,
    }
}

fn kill(ctx: &mut Ctx) -> CmdResult {
    if ctx.args.len() == 3 {
        let filter = Filter::address(ctx.args.at(2));
        return match kill_all(ctx, &filter) {
            0 => Err(CmdError::new("ERR No such client")),
            _ => {
                ctx.reply.ok();
                Ok(())
            }
        };
    }
    let mut filter = Filter::parse(ctx, Purpose::Kill)?;
    filter.skip_me.get_or_insert(true);
    let killed = kill_all(ctx, &filter);
    ctx.reply.integer(killed);
    Ok(())
}

fn kill_all(ctx: &mut Ctx, filter: &Filter) -> i64 {
    let (now, own_id) = (ctx.now(), ctx.session.client.id);
    let mut killed = 0;
    for client in ctx.engine.clients.all() {
        let is_me = client.id == own_id;
        if is_me && filter.skip_me == Some(true) || !filter.matches(&client, now) {
            continue;
        }
        if is_me {
            client.set_flag(client_flag::CLOSE_AFTER_REPLY, true);
            ctx.outcome = Outcome::Close;
        } else if client.killed.swap(true, Ordering::Relaxed) {
            continue;
        } else {
            ctx.engine.host.post(client.worker, Event::Kill { client: client.id });
        }
        killed += 1;
    }
    killed
}

fn pause(ctx: &mut Ctx) -> CmdResult {
    let all = match ctx.args.len() {
        3 => true,
        4 if ctx.args.is(3, "write") => false,
        4 if ctx.args.is(3, "all") => true,
        4 => return Err(CmdError::new("ERR CLIENT PAUSE mode must be WRITE or ALL")),
        _ => return Err(ctx.bad_subcommand("CLIENT")),
    };
    let timeout_ms = ctx.args.integer(2);
    let timeout_ms =
        timeout_ms.map_err(|_| CmdError::new("ERR timeout is not an integer or out of range"))?;
    if timeout_ms < 0 {
        return Err(CmdError::new("ERR timeout is negative"));
    }
    let until = ctx.now().0.checked_add(timeout_ms).ok_or(CmdError::new("ERR timeout is out of range"))?;
    if timeout_ms > 0 {
        ctx.engine.pause.start(UnixMs(until), all);
    }
    ctx.reply.ok();
    Ok(())
}

fn unpause(ctx: &mut Ctx) -> CmdResult {
    ctx.engine.pause.stop();
    for worker in 0..ctx.engine.stats.len() {
        ctx.engine.host.post(WorkerId(worker as u16), Event::Resume);
    }
    ctx.reply.ok();
    Ok(())
}

fn reply(ctx: &mut Ctx) -> CmdResult {
    let session = &mut *ctx.session;
    if ctx.args.is(2, "on") {
        session.reply_mode = ReplyMode::On;
        ctx.reply.ok();
    } else if ctx.args.is(2, "off") {
        session.reply_mode = ReplyMode::Off;
    } else if !ctx.args.is(2, "skip") {
        return Err(CmdError::SYNTAX);
    } else if session.reply_mode != ReplyMode::Off {
        session.reply_mode = ReplyMode::SkipThis;
    }
    Ok(())
}

fn unblock(ctx: &mut Ctx) -> CmdResult {
    if ctx.args.len() > 4 {
        return Err(ctx.bad_subcommand("CLIENT"));
    }
    if ctx.args.len() == 4 && !ctx.args.is(3, "timeout") && !ctx.args.is(3, "error") {
        return Err(CmdError::new("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"));
    }
    let how =
        if ctx.args.len() == 4 && ctx.args.is(3, "error") { Unblock::WithError } else { Unblock::AsTimeout };
    let id = ClientId(ctx.args.integer(2)? as u64);
    let client = ctx.engine.clients.find(id);
    let unblocked = client.is_some_and(|client| ctx.engine.unblock(&ctx.worker.stats, &client, how));
    ctx.reply.integer(i64::from(unblocked));
    Ok(())
}

fn no_evict(ctx: &mut Ctx) -> CmdResult {
    let on = switch(ctx)?;
    ctx.session.client.set_no_evict(on);
    ctx.reply.ok();
    Ok(())
}

fn no_touch(ctx: &mut Ctx) -> CmdResult {
    let on = switch(ctx)?;
    ctx.session.set_no_touch(on);
    ctx.reply.ok();
    Ok(())
}

/// That a connection is no source any more can be said at any time.
fn import_source(ctx: &mut Ctx) -> CmdResult {
    if !ctx.config.import_mode && !ctx.args.is(2, "off") {
        return Err(CmdError::fixed("ERR Server is not in import mode"));
    }
    let on = switch(ctx)?;
    ctx.session.set_import_source(on);
    ctx.reply.ok();
    Ok(())
}

/// The subcommand's argument ON or OFF.
fn switch(ctx: &Ctx) -> Result<bool, CmdError> {
    match (ctx.args.is(2, "on"), ctx.args.is(2, "off")) {
        (true, _) => Ok(true),
        (_, true) => Ok(false),
        _ => Err(CmdError::SYNTAX),
    }
}

/// A second MONITOR is not answered, as in Redis.
fn monitor(ctx: &mut Ctx) -> CmdResult {
    if ctx.session.in_exec {
        return Err(CmdError::new("ERR MONITOR isn't allowed for DENY BLOCKING client"));
    }
    if ctx.session.monitor {
        return Ok(());
    }
    ctx.session.monitor = true;
    let client = &ctx.session.client;
    client.set_flag(client_flag::MONITOR, true);
    ctx.engine.monitors.add(client);
    ctx.reply.ok();
    Ok(())
}

fn help(ctx: &mut Ctx) -> CmdResult {
    ctx.help("CLIENT", HELP);
    Ok(())
}

const HELP: &[&str] = &[
    "CACHING (YES|NO)",
    "    Say whether the keys of the next command are tracked, in OPTIN and OPTOUT mode.",
    "GETREDIR",
    "    Answer the client that gets the tracking messages of this connection.",
    "CAPA <capability> [<capability> ...]",
    "    Tell what this client can cope with; \"redirect\" is an error that names another server.",
    "GETNAME",
    "    Answer the name of this connection.",
    "ID",
    "    Answer the number of this connection.",
    "IMPORT-SOURCE (ON|OFF)",
    "    Say whether this connection decides what of its data has expired, in import mode.",
    "INFO",
    "    Describe this connection.",
    "KILL <ip:port>",
    "    Close the connection that came from <ip:port>.",
    "KILL <filter> <value> [<filter> <value> [...]]",
    "    Close the connections that pass all filters.",
    "LIST [<filter> <value> [...]]",
    "    Describe the connections that pass all filters. Filters of LIST and KILL are:",
    "    * ADDR (<ip:port>|<unixsocket>:0), LADDR (<ip:port>|<unixsocket>:0), IP <ip>",
    "      Where the connection came from, the address it came to, and the former without port.",
    "    * ID <client-id> [<client-id> ...]",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "    * USER <username>, NAME <name>, LIB-NAME <name>, LIB-VER <version>, DB <index>, FLAGS <flags>",
    "    * MAXAGE <seconds>, IDLE <seconds>",
    "      So old, or idle for so long, at least.",
    "    * NOT-<filter> turns any of these but MAXAGE and IDLE into its contrary.",
    "    * SKIPME (YES|NO)",
    "      Leave out this connection (default: yes for KILL, no for LIST).",
    "PAUSE <timeout> [WRITE|ALL]",
    "    Hold back all commands, or those that write, for <timeout> milliseconds.",
    "UNPAUSE",
    "    End the pause.",
    "REPLY (ON|OFF|SKIP)",
    "    Say whether this connection wants replies.",
    "SETNAME <name>",
    "    Name this connection.",
    "SETINFO (LIB-NAME <name>|LIB-VER <version>)",
    "    Tell the library that this connection uses.",
    "UNBLOCK <client-id> [TIMEOUT|ERROR]",
    "    End the wait of a blocked client.",
    "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]] [OPTIN] [OPTOUT] [NOLOOP]",
    "    Start or stop messages about changed keys.",
    "TRACKINGINFO",
    "    Describe the tracking of this connection.",
    "NO-EVICT (ON|OFF)",
    "    Keep this connection from being closed to free memory.",
    "NO-TOUCH (ON|OFF)",
    "    Say whether commands of this connection leave the access time of keys alone.",
];
