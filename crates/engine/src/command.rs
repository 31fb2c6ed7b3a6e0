//! One row per command: everything that is known of it but its code, which stands beside the row.

use base::time::UnixMs;
use store::Plan;

use crate::args::Argv;
use crate::ctx::Ctx;
use crate::engine::Engine;
use crate::error::CmdError;
use crate::keyspec::KeySpec;
use crate::session::Session;

pub type CmdResult = Result<(), CmdError>;
pub type Run = fn(&mut Ctx) -> CmdResult;

/// What a command is allowed and known to do; COMMAND prints them by name.
pub mod flag {
    pub const WRITE: u32 = 1;
    pub const READONLY: u32 = 1 << 1;
    pub const DENY_OOM: u32 = 1 << 2;
    pub const ADMIN: u32 = 1 << 3;
    pub const PUBSUB: u32 = 1 << 4;
    pub const NO_SCRIPT: u32 = 1 << 5;
    pub const BLOCKING: u32 = 1 << 6;
    pub const LOADING: u32 = 1 << 7;
    pub const STALE: u32 = 1 << 8;
    pub const SKIP_MONITOR: u32 = 1 << 9;
    pub const SKIP_SLOWLOG: u32 = 1 << 10;
    pub const ASKING: u32 = 1 << 11;
    pub const FAST: u32 = 1 << 12;
    pub const NO_AUTH: u32 = 1 << 13;
    pub const MAY_REPLICATE: u32 = 1 << 14;
    pub const NO_ASYNC_LOADING: u32 = 1 << 15;
    pub const NO_MULTI: u32 = 1 << 16;
    pub const ALLOW_BUSY: u32 = 1 << 17;
    pub const MOVABLE_KEYS: u32 = 1 << 18;
    pub const NO_MANDATORY_KEYS: u32 = 1 << 19;
    pub const PROTECTED: u32 = 1 << 20;
    pub const TOUCHES_ARBITRARY_KEYS: u32 = 1 << 21;

    /// In the order in which COMMAND prints them; it does not print the others.
    pub const NAMES: [(u32, &str); 19] = [
        (WRITE, "write"),
        (READONLY, "readonly"),
        (DENY_OOM, "denyoom"),
        (ADMIN, "admin"),
        (PUBSUB, "pubsub"),
        (NO_SCRIPT, "noscript"),
        (BLOCKING, "blocking"),
        (LOADING, "loading"),
        (STALE, "stale"),
        (SKIP_MONITOR, "skip_monitor"),
        (SKIP_SLOWLOG, "skip_slowlog"),
        (ASKING, "asking"),
        (FAST, "fast"),
        (NO_AUTH, "no_auth"),
        (NO_MANDATORY_KEYS, "no_mandatory_keys"),
        (NO_ASYNC_LOADING, "no_async_loading"),
        (NO_MULTI, "no_multi"),
        (MOVABLE_KEYS, "movablekeys"),
        (ALLOW_BUSY, "allow_busy"),
    ];
}

/// A family: where COMMAND DOCS and `help @group` list it, and the ACL category it implies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    Generic,
    String,
    List,
    Set,
    SortedSet,
    Hash,
    PubSub,
    Transactions,
    Connection,
    Server,
    Scripting,
    HyperLogLog,
    Cluster,
    Sentinel,
    Geo,
    Stream,
    Bitmap,
}

/// What a command's plan sees.
pub struct PlanInput<'a> {
    pub argv: &'a Argv<'a>,
    pub session: &'a Session,
    pub engine: &'a Engine,
    pub now: UnixMs,
}

/// Which shards a command needs.
#[derive(Clone, Copy)]
pub enum PlanRule {
    /// Those of its keys, by its key specs; none if it has none.
    Keys,
    All,
    Custom(fn(&PlanInput<'_>) -> Plan),
}

pub struct Command {
    /// Lower case; a subcommand's own word.
    pub name: &'static str,
    /// Arguments with the name; negative: at least so many.
    pub arity: i32,
    pub flags: u32,
    /// ACL categories beyond those that follow from flags and group.
    pub categories: u32,
    pub keys: &'static [KeySpec],
    pub plan: PlanRule,
    pub group: Group,
    pub since: &'static str,
    pub summary: &'static str,
    pub complexity: &'static str,
    /// The arguments as the documentation writes them: `key value [NX | XX] [EX seconds | PX milliseconds]`.
    pub syntax: &'static str,
    pub tips: &'static [&'static str],
    /// `(since, replaced by)` of a deprecated command.
    pub deprecated: Option<(&'static str, &'static str)>,
    /// `(version, what changed)`.
    pub history: &'static [(&'static str, &'static str)],
    pub subcommands: &'static [Command],
    pub run: Run,
}

/// A row; the rest is filled in by the methods below.
pub const fn command(name: &'static str, arity: i32, group: Group, run: Run) -> Command {
    Command {
        name,
        arity,
        flags: 0,
        categories: 0,
        keys: &[],
        plan: PlanRule::Keys,
        group,
        since: "1.0.0",
        summary: "",
        complexity: "",
        syntax: "",
        tips: &[],
        deprecated: None,
        history: &[],
        subcommands: &[],
        run,
    }
}

/// A command that only carries subcommands.
pub const fn container(name: &'static str, group: Group, subcommands: &'static [Command]) -> Command {
    let mut row = command(name, -2, group, run_container);
    row.subcommands = subcommands;
    row
}

fn run_container(_: &mut Ctx) -> CmdResult {
    unreachable!("a container's subcommand is looked up before it runs")
}

impl Command {
    pub const fn flags(mut self, flags: u32) -> Command {
        self.flags |= flags;
        self
    }

    pub const fn write(self) -> Command {
        self.flags(flag::WRITE)
    }

    pub const fn read(self) -> Command {
        self.flags(flag::READONLY)
    }

    pub const fn fast(self) -> Command {
        self.flags(flag::FAST)
    }

    pub const fn deny_oom(self) -> Command {
        self.flags(flag::DENY_OOM)
    }

    pub const fn admin(self) -> Command {
        self.flags(flag::ADMIN | flag::NO_SCRIPT)
    }

    pub const fn categories(mut self, categories: u32) -> Command {
        self.categories |= categories;
        self
    }

    pub const fn keys(mut self, keys: &'static [KeySpec]) -> Command {
        self.keys = keys;
        self
    }

    pub const fn plan(mut self, plan: PlanRule) -> Command {
        self.plan = plan;
        self
    }

    pub const fn since(mut self, since: &'static str) -> Command {
        self.since = since;
        self
    }

    /// One sentence without a subject, and the complexity.
    pub const fn docs(mut self, summary: &'static str, complexity: &'static str) -> Command {
        self.summary = summary;
        self.complexity = complexity;
        self
    }

    pub const fn syntax(mut self, syntax: &'static str) -> Command {
        self.syntax = syntax;
        self
    }

    pub const fn tips(mut self, tips: &'static [&'static str]) -> Command {
        self.tips = tips;
        self
    }

    pub const fn deprecated(mut self, since: &'static str, replaced_by: &'static str) -> Command {
        self.deprecated = Some((since, replaced_by));
        self
    }

    pub const fn history(mut self, history: &'static [(&'static str, &'static str)]) -> Command {
        self.history = history;
        self
    }

    pub const fn subcommands(mut self, subcommands: &'static [Command]) -> Command {
        self.subcommands = subcommands;
        self
    }

    pub const fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// Whether it only carries subcommands. COMMAND does not: it also runs by itself.
    pub const fn is_container(&self) -> bool {
        !self.subcommands.is_empty() && self.arity == -2
    }

    pub const fn takes(&self, count: usize) -> bool {
        let arity = self.arity as isize;
        count as isize == arity || arity < 0 && count as isize >= -arity
    }

    /// Calls `visit` with the index of every key argument.
    pub fn visit_keys(&self, argv: &Argv<'_>, visit: &mut dyn FnMut(usize)) -> bool {
        self.keys.iter().all(|spec| spec.visit(argv, visit))
    }

    /// The first key's place when it is always the same, which nearly every command has.
    #[inline]
    pub fn first_key(&self) -> Option<usize> {
        match self.keys.first()?.begin {
            crate::keyspec::Begin::Index(index)
                if !matches!(self.keys[0].find, crate::keyspec::Find::Count { .. }) =>
            {
                Some(index)
            }
            _ => None,
        }
    }
}
