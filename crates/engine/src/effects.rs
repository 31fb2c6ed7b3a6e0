//! What a command did: how much changed, which events it caused, and the deterministic commands that do the
//! same again.
//!
//! Without a word from the command its effect is the command itself. One whose outcome depends on time,
//! chance or state names others instead.

use base::num::i64_len;
use smallvec::SmallVec;
use store::DbIndex;

use crate::args::Argv;
use crate::blocking::ReadyKeys;
use crate::log::write_select;
use crate::tracking::Invalidations;

/// A keyspace event to publish once the command is done.
pub struct KeyEvent {
    pub db: DbIndex,
    pub class: u32,
    pub name: &'static str,
    pub key: Box<[u8]>,
}

/// Cleared, not freed, from one command to the next; see `free`.
#[derive(Default)]
pub struct Effects {
    /// Changes made: what save points count. Without any, nothing is logged.
    pub dirty: u64,
    pub hits: u32,
    pub misses: u32,
    pub expired: u32,
    pub expired_fields: u32,
    pub events: SmallVec<[KeyEvent; 2]>,
    /// Keys that changed and that somebody waits for; kept until those have been served.
    pub(crate) ready: ReadyKeys,
    /// Who is to be told of keys that changed; kept until they have been.
    pub(crate) invalidated: Invalidations,
    /// Whether anybody reads the log: effects are only written down then.
    pub(crate) logged: bool,
    /// Only expiries are written down: a script wants its own effects kept out of the log.
    pub(crate) muted: bool,
    /// The database in which the effects are replayed.
    db: DbIndex,
    /// Deletions of expired keys, before the command's own effect.
    expiries: Vec<u8>,
    /// Commands named in place of the command itself.
    named: Vec<u8>,
    named_any: bool,
    /// Requests in `expiries` and `named`, SELECT not counted.
    written: usize,
}

impl Effects {
    pub(crate) fn begin(&mut self, logged: bool, db: DbIndex) {
        self.dirty = 0;
        self.db = db;
        (self.hits, self.misses, self.expired, self.expired_fields) = (0, 0, 0, 0);
        (self.logged, self.muted) = (logged, false);
        (self.named_any, self.written) = (false, 0);
        self.events.clear();
        self.expiries.clear();
        self.named.clear();
    }

    /// Between commands: gives back what a large one has left.
    pub fn free(&mut self) {
        self.events = SmallVec::new();
        for bytes in [&mut self.expiries, &mut self.named] {
            bytes.clear();
            bytes.shrink_to(KEPT_LEN);
        }
        self.invalidated.shrink();
    }

    /// Whether effects that are named are written down.
    pub(crate) fn takes_names(&self) -> bool {
        self.logged && !self.muted
    }

    /// Names an effect in place of the command itself; several keep their order.
    pub fn name(&mut self, words: &[&[u8]]) {
        self.named_any = true;
        if self.takes_names() {
            self.written += 1;
            write_command(&mut self.named, words.iter().copied());
        }
    }

    /// Says that the command's effect is nothing but what `name` was called with.
    pub fn name_none(&mut self) {
        self.named_any = true;
    }

    /// An expired key was removed on the way, perhaps in another database (MOVE, COPY). `verb` is the command
    /// that does so again.
    pub fn expire(&mut self, verb: &[u8], db: DbIndex, key: &[u8]) {
        self.expired += 1;
        if !self.logged {
            return;
        }
        self.written += 1;
        if db != self.db {
            write_select(&mut self.expiries, db);
        }
        write_command(&mut self.expiries, [verb, key].into_iter());
        if db != self.db {
            write_select(&mut self.expiries, self.db);
        }
    }

    /// Something is to be logged.
    pub fn any(&self) -> bool {
        self.dirty > 0 || !self.expiries.is_empty() || !self.named.is_empty()
    }

    /// How many requests `write` appends.
    pub fn count(&self) -> usize {
        self.written + usize::from(self.is_own_effect())
    }

    /// The command as it came is what did the change.
    fn is_own_effect(&self) -> bool {
        !self.named_any && !self.muted && self.dirty > 0
    }

    /// Bytes that `write` adds, or a few more.
    pub fn len_max(&self, argv: &Argv<'_>) -> usize {
        let own = if self.is_own_effect() { argv.iter().map(|word| word.len() + HEAD_MAX).sum() } else { 0 };
        self.expiries.len() + self.named.len() + HEAD_MAX + own
    }

    /// Appends the effects as requests: expiries, then what was named, or else the command as it came.
    pub fn write(&self, argv: &Argv<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.expiries);
        out.extend_from_slice(&self.named);
        if self.is_own_effect() {
            write_command(out, argv.iter());
        }
    }
}

/// Bytes of effects that room is kept for.
const KEPT_LEN: usize = 1 << 10;

/// What surrounds a word or a list of words: two marks, a number and ends of lines.
const HEAD_MAX: usize = 32;

/// Appends a request of RESP bulks.
pub fn write_command<'a>(out: &mut Vec<u8>, words: impl ExactSizeIterator<Item = &'a [u8]>) {
    write_head(out, b'*', words.len());
    for word in words {
        out.reserve(word.len() + i64_len(word.len() as i64) + 5);
        write_head(out, b'$', word.len());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

fn write_head(out: &mut Vec<u8>, kind: u8, number: usize) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    out.extend_from_slice(b"\r\n");
}
