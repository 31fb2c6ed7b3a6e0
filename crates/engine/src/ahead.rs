//! A request that may change much of what running snapshots have not saved: what it is going to change is
//! saved before it takes its locks, in parts and as far as there is room, so that it adds little itself. It
//! waits meanwhile, and others go on. Of a script only the declared keys are known: what else its commands
//! change is saved before each of them, under the locks that it has. It never changes data.

use base::bytes::eq_ignore_case;
use base::num::parse_i64;
use store::{DbIndex, Guard, Key, Plan};

use crate::args::Argv;
use crate::engine::Engine;
use crate::keyspec::flag as key;
use crate::pipeline::may_write;
use crate::registry::Registered;
use crate::session::Session;

/// How far a request has come.
pub struct Ahead {
    /// How many snapshots there had been: with one more it begins anew.
    snapshots: u32,
    /// The command of a transaction to go on with, and its argument.
    command: usize,
    argument: usize,
    /// Arguments that may be looked at in this go.
    budget: usize,
    /// Bytes that the request will copy itself.
    copied: u64,
    /// What the snapshots had written when they were last seen to go on, and when that was.
    written: u64,
    seen_ns: u64,
}

/// Parts of a value that a command may change, where that is not one for each argument behind the key.
pub type Parts = fn(&Argv<'_>) -> u64;

pub const PARTS: [(&str, Parts); 11] = [
    ("lrem", |argv| parse_i64(argv.at(2)).filter(|&count| count != 0).map_or(u64::MAX, i64::unsigned_abs)),
    ("setrange", |argv| argv.at(3).len() as u64 / TEXT_PART_LEN + 1),
    ("bitfield", |argv| argv.len() as u64 / 4),
    ("xack", |argv| argv.len() as u64),
    ("xclaim", |argv| argv.len() as u64),
    ("xautoclaim", |argv| count_of(argv).unwrap_or(100)),
    ("xreadgroup", read_parts),
    // What these take out of a large value is handed over as it is; a small one is saved whole.
    ("hdel", |_| 1),
    ("hgetdel", |_| 1),
    ("srem", |_| 1),
    ("zrem", |_| 1),
];

/// Of a string, in bytes.
const TEXT_PART_LEN: u64 = 64 * 1024;

fn count_of(argv: &Argv<'_>) -> Option<u64> {
    let word = (1..argv.len()).find(|&index| argv.is(index, "COUNT"))?;
    (word + 1 < argv.len()).then(|| parse_i64(argv.at(word + 1)))?.and_then(|count| u64::try_from(count).ok())
}

/// New entries are put behind all others; those that are read again change.
fn read_parts(argv: &Argv<'_>) -> u64 {
    let streams = (1..argv.len()).find(|&index| argv.is(index, "STREAMS")).unwrap_or(argv.len());
    let ids = (argv.len() - streams) / 2;
    let claims = (1..streams).any(|index| eq_ignore_case(argv.at(index), b"CLAIM"));
    match argv.iter().rev().take(ids).all(|id| id == b">") && !claims {
        true => 1,
        false => count_of(argv).unwrap_or(u64::MAX),
    }
}

impl Engine {
    /// Whether the snapshots have all that a wide request is going to change, but for little; otherwise it is
    /// to be asked again later. To be called while snapshots run.
    pub fn save_ahead(
        &self,
        session: &mut Session,
        command: &'static Registered,
        argv: &Argv<'_>,
        now_ns: u64,
    ) -> bool {
        let (snapshots, written) = self.store.snapshot_progress();
        let kept = session.ahead.take().filter(|ahead| ahead.snapshots == snapshots);
        let mut ahead = kept.unwrap_or_else(|| Box::new(Ahead::new(snapshots, written, now_ns)));
        if ahead.is_hopeless(written, now_ns) {
            return true;
        }
        ahead.budget = LOOKED_AT_ONCE;
        let mut going = Going { engine: self, held: None, ahead: &mut ahead };
        let done = match &session.multi {
            None => going.save_all(std::iter::once((command, *argv)), session.db),
            Some(multi) => {
                let queue = multi.queue.iter().map(|queued| (queued.command, queued.argv.view()));
                going.save_all(queue, session.db)
            }
        };
        if !done {
            session.ahead = Some(ahead);
        }
        done
    }

    /// Whether a command that a script is about to run adds little to what waits for the snapshots; otherwise
    /// it is to be asked again later. What a script changes is not known before it has its locks. To be
    /// called while snapshots run.
    pub(crate) fn has_room_for(
        &self,
        (guard, db): (&mut Guard<'_>, DbIndex),
        command: &'static Registered,
        argv: &Argv<'_>,
        patience: &mut Patience,
    ) -> bool {
        let is_wide = weight(command, argv) >= WIDE;
        if !is_wide && !self.store.snapshots_are_behind() {
            return true;
        }
        if patience.waited_ns >= SCRIPT_PATIENCE_NS {
            return true;
        }
        let ((snapshots, written), now_ns) = (self.store.snapshot_progress(), self.host.monotonic_ns());
        let ahead = patience.ahead.get_or_insert_with(|| Ahead::new(snapshots, written, now_ns));
        while !self.store.snapshots_are_behind() {
            ahead.budget = LOOKED_AT_ONCE;
            let mut going = Going { engine: self, held: Some(&mut *guard), ahead };
            if !is_wide || going.save_all(std::iter::once((command, *argv)), db) {
                patience.ahead = None;
                return true;
            }
        }
        false
    }
}

/// A script's, for all of its commands together: others wait for the locks that it has.
#[derive(Default)]
pub(crate) struct Patience {
    /// How far the command has come that waits.
    ahead: Option<Ahead>,
    pub waited_ns: u64,
}

/// One go of a request.
struct Going<'g, 's> {
    engine: &'g Engine,
    /// The locks of whoever has them already.
    held: Option<&'g mut Guard<'s>>,
    ahead: &'g mut Ahead,
}

impl Going<'_, '_> {
    fn save_all<'a>(
        &mut self,
        commands: impl Iterator<Item = (&'static Registered, Argv<'a>)>,
        mut db: DbIndex,
    ) -> bool {
        for (index, (command, argv)) in commands.enumerate() {
            if command.row.name == "select" {
                db = self.selected(&argv).unwrap_or(db);
            }
            if index < self.ahead.command || weight(command, &argv) == 0 {
                continue;
            }
            let done = match command.parts {
                None if is_of_one_key(command) => self.save_named(db, command, &argv),
                parts => self.save_keys(db, command, &argv, parts.map_or(0, |parts| parts(&argv))),
            };
            if !done {
                return false;
            }
            (self.ahead.command, self.ahead.argument) = (index + 1, 0);
            if !self.ahead.goes_on(1) || self.engine.store.snapshots_are_behind() {
                return false;
            }
        }
        true
    }

    fn selected(&self, argv: &Argv<'_>) -> Option<DbIndex> {
        let number = (argv.len() == 2).then(|| parse_i64(argv.at(1)))??;
        let databases = self.engine.store.databases();
        u16::try_from(number).ok().filter(|&number| number < databases).map(DbIndex)
    }

    /// A key, and the parts of its value that are named behind it.
    fn save_named(&mut self, db: DbIndex, command: &Registered, argv: &Argv<'_>) -> bool {
        let key = Key::new(argv.at(command.first_key));
        let mut next = self.ahead.argument.max(command.first_key + 1);
        loop {
            let end = (next + NAMES_AT_ONCE).min(argv.len());
            let names = (next..end).map(|index| argv.at(index));
            let (saved, _) = self.save_one(db, key, names, 0);
            next = next.saturating_add(saved);
            self.ahead.argument = next;
            if next >= argv.len() {
                return true;
            }
            if next < end || !self.ahead.goes_on(saved) {
                return false;
            }
        }
    }

    /// All keys that the command changes, and so many parts of each value.
    fn save_keys(&mut self, db: DbIndex, command: &Registered, argv: &Argv<'_>, parts: u64) -> bool {
        let most = self.engine.store.snapshot_limit() as u64 / COPIED_SHARE;
        let mut goes_on = true;
        for spec in command.row.keys.iter().filter(|spec| spec.flags & key::RO == 0) {
            spec.visit(argv, &mut |index| {
                if !goes_on || index < self.ahead.argument {
                    return;
                }
                let key = Key::new(argv.at(index));
                let (_, mut copied) = self.save_one(db, key, std::iter::empty(), parts);
                while self.ahead.copied + copied > most && self.save_more(db, key) {
                    (_, copied) = self.save_one(db, key, std::iter::empty(), parts);
                }
                goes_on = self.ahead.copied + copied <= most;
                if goes_on {
                    self.ahead.copied += copied;
                    self.ahead.argument = index + 1;
                    goes_on = self.ahead.goes_on(1) && !self.engine.store.snapshots_are_behind();
                }
            });
        }
        goes_on
    }

    /// See `Db::save_ahead`.
    fn save_one<'n>(
        &mut self,
        db: DbIndex,
        key: Key<'_>,
        names: impl Iterator<Item = &'n [u8]>,
        parts: u64,
    ) -> (usize, u64) {
        let (store, running) = (&self.engine.store, &self.engine.scripts.running);
        let has_room = || !store.snapshots_are_behind();
        if let Some(guard) = &mut self.held {
            return guard.db(db, key.hash).save_ahead(key, names, parts, &has_room);
        }
        let plan = Plan::One(store.shard_of(key.hash));
        let Some(mut guard) = store.lock_unless(&plan, &|| running.is_busy()) else {
            return (usize::MAX, 0);
        };
        guard.db(db, key.hash).save_ahead(key, names, parts, &has_room)
    }

    /// Goes on with a value, whatever its parts: no snapshot can who needs a lock that is held.
    fn save_more(&mut self, db: DbIndex, key: Key<'_>) -> bool {
        let Some(guard) = self.held.as_mut().filter(|_| !self.engine.store.snapshots_are_behind()) else {
            return false;
        };
        guard.db(db, key.hash).save_more(key);
        true
    }
}

impl Ahead {
    fn new(snapshots: u32, written: u64, now_ns: u64) -> Ahead {
        Ahead { snapshots, command: 0, argument: 0, budget: 0, copied: 0, written, seen_ns: now_ns }
    }

    /// A disk that hangs does not hold a request up for ever.
    fn is_hopeless(&mut self, written: u64, now_ns: u64) -> bool {
        if self.written != written {
            (self.written, self.seen_ns) = (written, now_ns);
        }
        now_ns.saturating_sub(self.seen_ns) >= PATIENCE_NS
    }

    /// So many arguments were looked at: whether others may be in this go.
    fn goes_on(&mut self, looked_at: usize) -> bool {
        self.budget = self.budget.saturating_sub(looked_at);
        self.budget > 0
    }
}

/// Whether a request may change so much that it is worth a look.
pub fn is_wide(session: &Session, command: &Registered, argv: &Argv<'_>) -> bool {
    match &session.multi {
        _ if !session.authenticated => false,
        None => weight(command, argv) >= WIDE,
        Some(multi) if command.row.name == "exec" => {
            let weights = multi.queue.iter().map(|queued| weight(queued.command, &queued.argv.view()));
            weights.fold(0, u64::saturating_add) >= WIDE
        }
        Some(_) => false,
    }
}

/// How much a command may change, at most: keys or parts.
fn weight(command: &Registered, argv: &Argv<'_>) -> u64 {
    if !may_write(command) || !command.row.takes(argv.len()) {
        return 0;
    }
    command.parts.map_or(argv.len() as u64, |parts| parts(argv))
}

fn is_of_one_key(command: &Registered) -> bool {
    matches!(command.row.keys, [spec] if spec.is_single())
}

/// A request of less weight copies little: as much as is left room for.
const WIDE: u64 = 32;

/// And what cannot be saved ahead may be copied up to this part of the limit.
const COPIED_SHARE: u64 = 8;

/// Some milliseconds, after which others have their turn.
const LOOKED_AT_ONCE: usize = 16 * 1024;

/// Names looked for under one lock.
const NAMES_AT_ONCE: usize = 256;

/// What a script's commands wait together at most; then what they change may wait for the disk beyond the
/// limit.
const SCRIPT_PATIENCE_NS: u64 = 1_000_000_000;

/// Without anything written for so long, a request waits no longer.
const PATIENCE_NS: u64 = 5_000_000_000;
