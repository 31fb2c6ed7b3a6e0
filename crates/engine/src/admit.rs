//! The gates a request passes before it may run, in their order. Each is small, and each refusal is a reply.

use std::sync::atomic::Ordering;

use base::bytes::escape;
use resp::reply::Protocol;

use crate::args::Argv;
use crate::clients::Client;
use crate::command::flag;
use crate::config::{Config, DebugAccess};
use crate::engine::Engine;
use crate::error::CmdError;
use crate::registry::{REGISTRY, Registered};
use crate::session::{Origin, Session};

/// What the gates look at.
pub struct Request<'a> {
    pub engine: &'a Engine,
    pub config: &'a Config,
    pub session: &'a Session,
    pub command: &'static Registered,
    pub argv: &'a Argv<'a>,
    /// Memory is used up, no key may give way, and the request would use more: or it did, and is not whole.
    pub cramped: bool,
}

type Gate = fn(&Request<'_>) -> Result<(), CmdError>;

/// In Redis' order: what a client learns first when several things are wrong. But who it is comes first:
/// as in Valkey, a stranger learns nothing else.
const GATES: [Gate; 8] = [authenticated, arity, protected, memory, disk, subscribed, loading, busy];

/// Passes a request through all gates.
#[inline]
pub fn admit(request: &Request<'_>) -> Result<(), CmdError> {
    if request.session.origin == Origin::Replay {
        return arity(request);
    }
    GATES.iter().try_for_each(|gate| gate(request))
}

/// The text for a request whose command or subcommand does not exist.
pub fn unknown(config: &Config, session: &Session, argv: &Argv<'_>) -> CmdError {
    if is_stranger(config, session) {
        return CmdError::NOT_AUTHENTICATED;
    }
    if let Some(container) = REGISTRY.find(argv.at(0)).filter(|_| argv.len() > 1) {
        let name = container.row.name.to_uppercase();
        let given = repeated(argv.at(1), UNKNOWN_TEXT_LEN);
        return CmdError::of_bytes(
            [b"ERR unknown subcommand '", given, b"'. Try ", name.as_bytes(), b" HELP."].concat(),
        );
    }
    let name = repeated(argv.at(0), UNKNOWN_TEXT_LEN);
    let mut arguments = Vec::new();
    for argument in argv.from(1) {
        if arguments.len() >= UNKNOWN_TEXT_LEN {
            break;
        }
        let part = repeated(argument, UNKNOWN_TEXT_LEN - arguments.len());
        arguments.extend_from_slice(&[b"'".as_slice(), part, b"' "].concat());
    }
    let text = [b"ERR unknown command '", name, b"', with args beginning with: ", &arguments].concat();
    CmdError::of_bytes(text)
}

/// How much of a client's words an error repeats.
const UNKNOWN_TEXT_LEN: usize = 128;

/// At most `len` bytes, and none from a zero byte on.
fn repeated(bytes: &[u8], len: usize) -> &[u8] {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    &bytes[..end.min(len)]
}

fn arity(request: &Request<'_>) -> Result<(), CmdError> {
    if request.command.row.takes(request.argv.len()) {
        return Ok(());
    }
    Err(CmdError::arity(&request.command.full_name))
}

/// DEBUG is refused unless configuration allows it.
fn protected(request: &Request<'_>) -> Result<(), CmdError> {
    if !request.command.row.has(flag::PROTECTED) {
        return Ok(());
    }
    let allowed = match request.config.enable_debug_command {
        DebugAccess::Yes => true,
        DebugAccess::Local => is_local(&request.session.client),
        DebugAccess::No => false,
    };
    if allowed {
        return Ok(());
    }
    Err(CmdError::new(
        "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run \
         it from a local connection, otherwise you need to set this option in the configuration file, and then \
         restart the server.",
    ))
}

/// Whether the client is on this machine.
pub fn is_local(client: &Client) -> bool {
    client.unix || client.peer.starts_with("127.") || client.peer.starts_with("[::1]")
}

fn authenticated(request: &Request<'_>) -> Result<(), CmdError> {
    if is_stranger(request.config, request.session) && !request.command.row.has(flag::NO_AUTH) {
        return Err(CmdError::NOT_AUTHENTICATED);
    }
    Ok(())
}

fn is_stranger(config: &Config, session: &Session) -> bool {
    !session.authenticated && !config.requirepass.is_empty()
}

fn memory(request: &Request<'_>) -> Result<(), CmdError> {
    if request.cramped { Err(CmdError::OUT_OF_MEMORY) } else { Ok(()) }
}

/// Whether the request may need memory.
pub fn needs_memory(session: &Session, command: &Registered) -> bool {
    has_or_queued(session, command, flag::DENY_OOM) || would_be_queued(session, command)
}

/// A transaction's queue must not grow either, whatever is queued.
fn would_be_queued(session: &Session, command: &Registered) -> bool {
    let ends = ["exec", "discard", "quit", "reset"].contains(&command.row.name);
    session.in_multi() && !(command.parent.is_none() && ends)
}

/// Whether the command has the flag, or is an EXEC with such a command in its queue.
fn has_or_queued(session: &Session, command: &Registered, flag: u32) -> bool {
    let multi = session.multi.as_ref().filter(|_| command.row.name == "exec");
    command.row.has(flag)
        || multi.is_some_and(|multi| multi.queue.iter().any(|queued| queued.command.row.has(flag)))
}

/// Writes are refused while saving fails, if save points ask for saves, and while the log cannot be written
/// (MISCONF).
fn disk(request: &Request<'_>) -> Result<(), CmdError> {
    let save_failed = request.engine.writes_stopped.load(Ordering::Relaxed);
    if !save_failed && !request.engine.log_fault.is_on() {
        return Ok(());
    }
    if request.command.row.name != "ping" && !has_or_queued(request.session, request.command, flag::WRITE) {
        return Ok(());
    }
    disk_fault(request.engine, request.config).map_or(Ok(()), |fault| Err(fault.error()))
}

/// What keeps writes from being kept.
pub enum DiskFault {
    Saving,
    /// The append-only file, and why.
    Log(String),
}

/// The fault for which writes are refused.
pub fn disk_fault(engine: &Engine, config: &Config) -> Option<DiskFault> {
    let asked_for = config.stop_writes_on_bgsave_error && !config.save.is_empty();
    if asked_for && engine.writes_stopped.load(Ordering::Relaxed) {
        return Some(DiskFault::Saving);
    }
    engine.log_fault.is_on().then(|| DiskFault::Log(engine.log_fault.reason()))
}

impl DiskFault {
    /// What a command that would write is answered.
    pub fn error(&self) -> CmdError {
        match self {
            DiskFault::Saving => SAVING_FAILED,
            DiskFault::Log(reason) => {
                CmdError::new(format!("MISCONF Errors writing to the AOF file: {reason}"))
            }
        }
    }
}

const SAVING_FAILED: CmdError = CmdError::fixed(
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands \
     that may modify the data set are disabled, because this instance is configured to report errors during \
     writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for \
     details about the RDB error.",
);

/// A RESP2 client that has subscribed may say little else: its replies would mix with messages.
fn subscribed(request: &Request<'_>) -> Result<(), CmdError> {
    let session = request.session;
    if session.protocol == Protocol::Resp3 || session.subscriptions() == 0 {
        return Ok(());
    }
    let name = request.command.row.name;
    let allowed = [
        "ping",
        "subscribe",
        "ssubscribe",
        "unsubscribe",
        "sunsubscribe",
        "psubscribe",
        "punsubscribe",
        "quit",
        "reset",
    ];
    // SLOWLOG and LATENCY have a RESET of their own.
    if request.command.parent.is_none() && allowed.contains(&name) {
        return Ok(());
    }
    Err(CmdError::new(format!(
        "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this \
         context",
        request.command.full_name
    )))
}

fn loading(request: &Request<'_>) -> Result<(), CmdError> {
    if !request.engine.is_loading() || request.command.row.has(flag::LOADING) {
        return Ok(());
    }
    Err(CmdError::LOADING)
}

/// A request's words for the log, unprintable bytes escaped.
pub fn describe(argv: &Argv<'_>) -> String {
    argv.iter().map(escape).collect::<Vec<_>>().join(" ")
}

/// While a script runs for too long, only what can end it goes on.
fn busy(request: &Request<'_>) -> Result<(), CmdError> {
    let running = &request.engine.scripts.running;
    if !running.is_busy() || request.command.row.has(flag::ALLOW_BUSY) {
        return Ok(());
    }
    Err(running.busy_error())
}
