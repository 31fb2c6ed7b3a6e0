//! Commands about the connection itself: who speaks, in which protocol, to which database. They touch no key.

use resp::reply::Protocol;

use crate::REDIS_VERSION;
use crate::command::{CmdResult, Command, Group, command, flag};
use crate::commands::client::valid_name;
use crate::config::Config;
use crate::ctx::Ctx;
use crate::error::CmdError;
use crate::pipeline::Outcome;
use crate::session::{ReplyMode, Session};

pub static TABLE: &[Command] = &[
    command("auth", -2, Group::Connection, auth)
        .flags(ALWAYS | flag::NO_AUTH | flag::ALLOW_BUSY | flag::NO_SCRIPT)
        .docs("Authenticates the connection.", "O(N) where N is the number of passwords defined for the user")
        .syntax("[username] password")
        .history(&[("6.0.0", "Added ACL style (username and password).")]),
    command("echo", 2, Group::Connection, echo)
        .flags(ALWAYS)
        .docs("Answers what it was given.", "O(1)")
        .syntax("message"),
    command("hello", -1, Group::Connection, hello)
        .flags(ALWAYS | flag::NO_AUTH | flag::ALLOW_BUSY | flag::NO_SCRIPT)
        .since("6.0.0")
        .docs("Agrees on a protocol, and authenticates and names the connection if asked.", "O(1)")
        .syntax("[protover [AUTH username password] [SETNAME clientname]]")
        .history(&[(
            "6.2.0",
            "`protover` made optional; when called without arguments the command reports the current connection's \
             context.",
        )]),
    command("ping", -1, Group::Connection, ping)
        .fast()
        .docs("Shows that the server lives.", "O(1)")
        .syntax("[message]")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    command("quit", -1, Group::Connection, quit)
        .flags(ALWAYS | flag::NO_AUTH | flag::ALLOW_BUSY | flag::NO_SCRIPT)
        .docs("Closes the connection.", "O(1)")
        .deprecated("7.2.0", "just closing the connection"),
    command("reset", 1, Group::Connection, reset)
        .flags(ALWAYS | flag::NO_AUTH | flag::ALLOW_BUSY | flag::NO_SCRIPT)
        .since("6.2.0")
        .docs("Makes the connection as it was when it came.", "O(1)"),
    command("select", 2, Group::Connection, select)
        .flags(ALWAYS)
        .docs("Changes the connection's database.", "O(1)")
        .syntax("index"),
];

const ALWAYS: u32 = flag::LOADING | flag::STALE | flag::FAST;

fn ping(ctx: &mut Ctx) -> CmdResult {
    if ctx.args.len() > 2 {
        return Err(CmdError::arity(ctx.name()));
    }
    let message = ctx.args.iter().nth(1);
    if ctx.session.protocol == Protocol::Resp2 && ctx.session.subscriptions() > 0 {
        ctx.reply.array(2);
        ctx.reply.bulk(b"pong");
        ctx.reply.bulk(message.unwrap_or_default());
        return Ok(());
    }
    match message {
        Some(message) => ctx.reply.bulk(message),
        None => ctx.reply.simple("PONG"),
    }
    Ok(())
}

fn echo(ctx: &mut Ctx) -> CmdResult {
    ctx.reply.bulk(ctx.args.at(1));
    Ok(())
}

fn quit(ctx: &mut Ctx) -> CmdResult {
    ctx.reply.ok();
    ctx.outcome = Outcome::Close;
    Ok(())
}

fn select(ctx: &mut Ctx) -> CmdResult {
    let db = ctx.db_index(1, "ERR DB index is out of range")?;
    ctx.session.select(db);
    ctx.reply.ok();
    Ok(())
}

fn auth(ctx: &mut Ctx) -> CmdResult {
    let (user, password) = match ctx.args.len() {
        2 if ctx.config.requirepass.is_empty() => return Err(CmdError::new(NO_PASSWORD_SET)),
        2 => (DEFAULT_USER, ctx.args.at(1)),
        3 => (ctx.args.at(1), ctx.args.at(2)),
        _ => return Err(CmdError::SYNTAX),
    };
    authenticate(ctx.config, ctx.session, user, password)?;
    ctx.reply.ok();
    Ok(())
}

fn authenticate(config: &Config, session: &mut Session, user: &[u8], password: &[u8]) -> CmdResult {
    let expected = &config.requirepass;
    let is_right = user == DEFAULT_USER && (expected.is_empty() || is_same_secret(expected, password));
    if !is_right {
        return Err(CmdError::new("WRONGPASS invalid username-password pair or user is disabled."));
    }
    session.authenticated = true;
    Ok(())
}

/// Takes as long for a wrong byte at the beginning as for one at the end.
fn is_same_secret(expected: &[u8], given: &[u8]) -> bool {
    let byte_at = |index: usize| expected.get(index).copied().unwrap_or_default();
    let difference = given.iter().enumerate().fold(0, |all, (index, byte)| all | (byte ^ byte_at(index)));
    std::hint::black_box(difference) == 0 && expected.len() == given.len()
}

fn hello(ctx: &mut Ctx) -> CmdResult {
    let protocol = wanted_protocol(ctx)?;
    let options = hello_options(ctx)?;
    if let Some((user, password)) = options.credentials {
        authenticate(ctx.config, ctx.session, user, password)?;
    }
    if !ctx.session.authenticated {
        return Err(CmdError::new(HELLO_NOT_AUTHENTICATED));
    }
    if let Some(name) = options.name {
        ctx.session.client.rename(|names| names.name = name);
    }
    if let Some(protocol) = protocol {
        ctx.session.set_protocol(protocol);
        ctx.reply.protocol = protocol;
    }
    greet(ctx);
    Ok(())
}

/// `None`: the one that is spoken.
fn wanted_protocol(ctx: &Ctx) -> Result<Option<Protocol>, CmdError> {
    if ctx.args.len() < 2 {
        return Ok(None);
    }
    let version = ctx.args.integer(1);
    match version.map_err(|_| CmdError::new("ERR Protocol version is not an integer or out of range"))? {
        2 => Ok(Some(Protocol::Resp2)),
        3 => Ok(Some(Protocol::Resp3)),
        _ => Err(CmdError::new("NOPROTO unsupported protocol version")),
    }
}

#[derive(Default)]
struct HelloOptions<'a> {
    credentials: Option<(&'a [u8], &'a [u8])>,
    name: Option<String>,
}

fn hello_options<'a>(ctx: &Ctx<'a, '_>) -> Result<HelloOptions<'a>, CmdError> {
    let args = ctx.args;
    let mut options = HelloOptions::default();
    let mut index = 2;
    while index < args.len() {
        let left = args.len() - 1 - index;
        if args.is(index, "auth") && left >= 2 {
            options.credentials = Some((args.at(index + 1), args.at(index + 2)));
            index += 3;
        } else if args.is(index, "setname") && left >= 1 {
            options.name = Some(valid_name(args.at(index + 1))?);
            index += 2;
        } else {
            return Err(CmdError::new(format!("ERR Syntax error in HELLO option '{}'", ctx.text(index))));
        }
    }
    Ok(options)
}

fn greet(ctx: &mut Ctx) {
    let (reply, zone) = (&mut *ctx.reply, &ctx.config.availability_zone);
    reply.map(if zone.is_empty() { 7 } else { 8 });
    reply.bulk(b"server");
    reply.bulk(b"redis");
    reply.bulk(b"version");
    reply.bulk(REDIS_VERSION.as_bytes());
    reply.bulk(b"proto");
    reply.integer(if ctx.session.protocol == Protocol::Resp3 { 3 } else { 2 });
    reply.bulk(b"id");
    reply.integer(ctx.session.client.id.0 as i64);
    reply.bulk(b"mode");
    reply.bulk(b"standalone");
    reply.bulk(b"role");
    reply.bulk(b"master");
    reply.bulk(b"modules");
    reply.array(0);
    if !zone.is_empty() {
        reply.bulk(b"availability_zone");
        reply.bulk(zone);
    }
}

fn reset(ctx: &mut Ctx) -> CmdResult {
    ctx.engine.clear_connection(ctx.session);
    let session = &mut *ctx.session;
    session.select(store::DbIndex(0));
    session.set_protocol(Protocol::Resp2);
    session.authenticated = ctx.config.requirepass.is_empty();
    session.reply_mode = ReplyMode::On;
    session.set_no_touch(false);
    session.set_import_source(false);
    session.debugs_scripts = false;
    session.client.set_no_evict(false);
    session.client.rename(|names| names.name = String::new());
    ctx.reply.protocol = Protocol::Resp2;
    ctx.reply.simple("RESET");
    Ok(())
}

const DEFAULT_USER: &[u8] = b"default";

const NO_PASSWORD_SET: &str = "ERR AUTH <password> called without any password configured for the default user. Are \
                               you sure your configuration is correct?";

const HELLO_NOT_AUTHENTICATED: &str = "NOAUTH HELLO must be called with the client already authenticated, otherwise \
                                       the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the \
                                       client and select the RESP protocol version at the same time";
