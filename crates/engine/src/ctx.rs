//! What a command may see: its arguments, the keys of its plan, the reply, the client's session.

use std::num::NonZeroU64;
use std::sync::atomic::Ordering;

use base::time::UnixMs;
use resp::reply::Reply;
use store::{DbIndex, Key};

use crate::args::Argv;
use crate::config::Config;
use crate::engine::{Engine, Worker};
use crate::error::CmdError;
use crate::keys::Keys;
use crate::pipeline::Outcome;
use crate::registry::Registered;
use crate::session::Session;

/// Its parts are fields so that a command can read a key while it writes the reply.
pub struct Ctx<'a, 's> {
    pub command: &'static Registered,
    pub args: Argv<'a>,
    pub keys: Keys<'a, 's>,
    pub reply: &'a mut Reply,
    pub session: &'a mut Session,
    pub engine: &'a Engine,
    pub config: &'a Config,
    pub worker: &'a mut Worker,
    /// What the worker does after this command.
    pub outcome: Outcome,
    /// Of the first key, see `Prepared`.
    pub(crate) hash: Option<NonZeroU64>,
}

impl<'a> Ctx<'a, '_> {
    /// The key at an argument's place.
    #[inline]
    pub fn key(&self, index: usize) -> Key<'a> {
        let bytes = self.args.at(index);
        match self.hash {
            Some(hash) if index == self.command.first_key => Key { bytes, hash: hash.get() },
            _ => Key::new(bytes),
        }
    }

    pub fn now(&self) -> UnixMs {
        self.keys.now
    }

    /// The command's name as error texts write it: `set`, `client|kill`.
    pub fn name(&self) -> &'static str {
        &self.command.full_name
    }

    /// A database's number from an argument.
    pub fn db_index(&self, index: usize, out_of_range: &'static str) -> Result<DbIndex, CmdError> {
        let number = self.args.integer(index)?;
        if i32::try_from(number).is_err() {
            return Err(CmdError::new(BEYOND_INT));
        }
        match u16::try_from(number) {
            Ok(number) if number < self.engine.store.databases() => Ok(DbIndex(number)),
            _ => Err(CmdError::new(out_of_range)),
        }
    }

    /// An argument as text, for names and patterns that are kept.
    pub fn text(&self, index: usize) -> String {
        String::from_utf8_lossy(self.args.at(index)).into_owned()
    }

    /// `ERR unknown subcommand or wrong number of arguments for 'x'. Try OBJECT HELP.`
    pub fn bad_subcommand(&self, container: &str) -> CmdError {
        let given = String::from_utf8_lossy(self.args.at(1));
        CmdError::new(format!(
            "ERR unknown subcommand or wrong number of arguments for '{given}'. Try {container} HELP."
        ))
    }

    /// The lines of a HELP subcommand, framed as Redis frames them.
    pub fn help(&mut self, container: &str, lines: &[&str]) {
        self.reply.array(lines.len() + 3);
        self.reply.simple(&format!("{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
        lines.iter().for_each(|line| self.reply.simple(line));
        self.reply.simple("HELP");
        self.reply.simple("    Prints this help.");
    }

    pub fn mark_interaction(&self) {
        self.session.client.last_interaction_ms.store(self.keys.now.0, Ordering::Relaxed);
    }
}

const BEYOND_INT: &str = "ERR value is out of range, value must between -2147483648 and 2147483647";
