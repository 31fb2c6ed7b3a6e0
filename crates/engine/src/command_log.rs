//! The commands that stood out lately: slow ones, and those with a large request or a large reply. Keeps a
//! short copy of each; must never keep a whole request, or a password.

use std::collections::VecDeque;

use base::alloc::size_class;
use parking_lot::Mutex;

use crate::args::Argv;
use crate::command::flag;
use crate::config::Config;
use crate::engine::Engine;
use crate::observe::without_secrets;
use crate::pipeline::Env;
use crate::registry::Registered;
use crate::session::{Origin, ReplyMode};

/// Why a command is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Slow,
    LargeRequest,
    LargeReply,
}

const KINDS: [Kind; 3] = [Kind::Slow, Kind::LargeRequest, Kind::LargeReply];

impl Kind {
    /// From which value on a command is kept, if any is, and how many are.
    fn limits(self, config: &Config) -> (Option<u64>, usize) {
        let (threshold, most) = match self {
            Kind::Slow => (config.slowlog_log_slower_than_us, config.slowlog_max_len),
            Kind::LargeRequest => (config.commandlog_request_len, config.commandlog_requests),
            Kind::LargeReply => (config.commandlog_reply_len, config.commandlog_replies),
        };
        (u64::try_from(threshold).ok(), most as usize)
    }
}

/// What a command took.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub elapsed_us: u64,
    pub request_len: u64,
    pub reply_len: u64,
}

impl Cost {
    fn of(self, kind: Kind) -> u64 {
        match kind {
            Kind::Slow => self.elapsed_us,
            Kind::LargeRequest => self.request_len,
            Kind::LargeReply => self.reply_len,
        }
    }

    /// Whether some log keeps the command.
    #[inline]
    pub fn stands_out(self, config: &Config) -> bool {
        KINDS.iter().any(|kind| kind.limits(config).0.is_some_and(|threshold| self.of(*kind) >= threshold))
    }
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub id: u64,
    pub unix_s: i64,
    /// Microseconds or bytes.
    pub cost: u64,
    pub arguments: Vec<Vec<u8>>,
    pub peer: String,
    pub name: String,
}

impl Entry {
    /// Of what it points to.
    fn memory(&self) -> usize {
        let arguments: usize = self.arguments.iter().map(|argument| size_class(argument.capacity())).sum();
        let list = self.arguments.capacity() * size_of::<Vec<u8>>();
        let names = [list, self.peer.capacity(), self.name.capacity()];
        arguments + names.into_iter().map(size_class).sum::<usize>()
    }
}

/// The latest entries, newest first.
#[derive(Default)]
pub struct CommandLog {
    pub entries: VecDeque<Entry>,
    next_id: u64,
}

impl CommandLog {
    fn add(&mut self, mut entry: Entry, most: usize) {
        entry.id = self.next_id;
        self.next_id += 1;
        self.entries.push_front(entry);
        self.entries.truncate(most);
    }

    fn memory(&self) -> usize {
        let entries: usize = self.entries.iter().map(Entry::memory).sum();
        size_class(self.entries.capacity() * size_of::<Entry>()) + entries
    }
}

/// One log for each kind.
#[derive(Default)]
pub struct CommandLogs([Mutex<CommandLog>; KINDS.len()]);

impl CommandLogs {
    pub fn of(&self, kind: Kind) -> &Mutex<CommandLog> {
        &self.0[kind as usize]
    }

    /// Bytes that all of them take.
    pub fn memory(&self) -> usize {
        self.0.iter().map(|log| log.lock().memory()).sum()
    }
}

/// Keeps a command that some log may want. The limits are those that hold after it: it may have set them.
#[cold]
pub fn log_command(
    engine: &Engine,
    env: &Env<'_, '_>,
    command: &'static Registered,
    argv: &Argv<'_>,
    mut cost: Cost,
) {
    if command.row.has(flag::SKIP_SLOWLOG) || env.session.origin == Origin::Replay {
        return;
    }
    if env.session.reply_mode != ReplyMode::On {
        cost.reply_len = 0;
    }
    cost.request_len = argv.request_len();
    let config = engine.config();
    for kind in KINDS {
        let (threshold, most) = kind.limits(&config);
        if most == 0 || threshold.is_none_or(|threshold| cost.of(kind) < threshold) {
            continue;
        }
        let client = &env.session.client;
        let entry = Entry {
            id: 0,
            unix_s: env.worker.now.seconds(),
            cost: cost.of(kind),
            arguments: shorten(command, argv),
            peer: client.peer.clone(),
            name: client.names.lock().name.clone(),
        };
        engine.command_logs.of(kind).lock().add(entry, most);
    }
}

/// Arguments kept of a command, and bytes of each: Redis' limits.
const ARGUMENTS: usize = 32;
const ARGUMENT_LEN: usize = 128;

fn shorten(command: &Registered, argv: &Argv<'_>) -> Vec<Vec<u8>> {
    let kept = if argv.len() > ARGUMENTS { ARGUMENTS - 1 } else { argv.len() };
    let words = without_secrets(command, argv, kept);
    let mut arguments: Vec<Vec<u8>> = words.into_iter().map(shorten_one).collect();
    if argv.len() > kept {
        arguments.push(format!("... ({} more arguments)", argv.len() - kept).into_bytes());
    }
    arguments
}

fn shorten_one(argument: &[u8]) -> Vec<u8> {
    if argument.len() <= ARGUMENT_LEN {
        return argument.to_vec();
    }
    let mut short = argument[..ARGUMENT_LEN].to_vec();
    short.extend_from_slice(format!("... ({} more bytes)", argument.len() - ARGUMENT_LEN).as_bytes());
    short
}
