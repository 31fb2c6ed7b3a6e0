//! The keyspace as a command sees it: typed reads and writes of keys in the shards of its plan.
//!
//! A key whose time has passed is gone before anybody sees it. A change is announced once, by
//! [`Keys::changed`]: it counts for save points, marks watchers and causes the keyspace event.

use base::time::UnixMs;
use ds::table::SlotId;
use smallvec::SmallVec;
use store::expire::is_expired;
use store::reading::readings;
use store::text::{self, Expiry, Incoming};
use store::value::Place;
use store::{Db, DbIndex, Entry, EntryRef, Garbage, Guard, Hash, Key, Kind, Type};

use crate::access::Access;
use crate::blocking::ReadyKey;
use crate::clients::ClientId;
use crate::config::Config;
use crate::effects::{Effects, KeyEvent};
use crate::engine::Engine;
use crate::error::CmdError;
use crate::notify::class;
use crate::tracking::NOBODY;

pub struct Keys<'a, 's> {
    pub(crate) guard: &'a mut Guard<'s>,
    pub(crate) engine: &'a Engine,
    pub(crate) effects: &'a mut Effects,
    pub config: &'a Config,
    pub db: DbIndex,
    /// Who changes keys.
    pub client: ClientId,
    pub now: UnixMs,
    /// What entries' access clocks say.
    pub access: Access,
    /// Reads leave the access clock alone (CLIENT NO-TOUCH).
    pub no_touch: bool,
    /// What has expired is there as if it had not: who sends the commands says itself what expired, a log
    /// that is replayed or the source of an import.
    pub(crate) shows_expired: bool,
    /// What has expired is not seen, but stays: CLIENT PAUSE or an import holds up deletion, and the command
    /// only reads.
    pub(crate) hides_expired: bool,
}

/// Fields of one hash removed in one slice of the active cycle.
const FIELDS_PER_SLICE: usize = 64;

/// Entries in the order of the keys they were asked for by.
pub type EntryList<'a> = SmallVec<[Option<EntryRef<'a>>; 8]>;

/// An event of a key: its class and its name.
pub type Event = (u32, &'static str);

impl<'a, 's> Keys<'a, 's> {
    /// The value for reading; counts a hit or a miss and sets the access clock.
    #[inline]
    pub fn read<K: Kind>(&mut self, key: Key<'_>) -> Result<Option<K::Ref<'_>>, CmdError> {
        match self.entry(key) {
            Some(entry) if entry.kind() == K::TYPE => Ok(Some(K::view(entry))),
            Some(_) => Err(CmdError::WRONG_TYPE),
            None => Ok(None),
        }
    }

    /// The entry of any type, for reading; counts a hit or a miss and sets the access clock.
    #[inline]
    pub fn entry(&mut self, key: Key<'_>) -> Option<EntryRef<'_>> {
        let Some(slot) = self.live(key) else {
            self.effects.misses += 1;
            self.event(key, (class::KEY_MISS, "keymiss"));
            return None;
        };
        self.effects.hits += 1;
        let (access, touch) = (self.access, !self.no_touch);
        let entry = self.part(key).view(slot);
        if touch {
            entry.touch(access.read(entry.clock()));
        }
        Some(entry)
    }

    /// Several entries for reading at once, each as `entry` finds it. Fails at the first that is of none of
    /// the types.
    pub fn entries(&mut self, keys: &[Key<'_>], types: &[Type]) -> Result<EntryList<'_>, CmdError> {
        for key in keys {
            if self.entry(*key).is_some_and(|entry| !types.contains(&entry.kind())) {
                return Err(CmdError::WRONG_TYPE);
            }
        }
        // What had expired is gone by now, or hidden.
        let (now, hides) = (self.now, self.hides_expired);
        let found = |key: &Key<'_>| {
            let db = self.guard.peek_db(self.db, key.hash);
            let entry = db.view(db.find(*key)?);
            (!hides || !is_expired(entry, now)).then_some(entry)
        };
        Ok(keys.iter().map(found).collect())
    }

    /// The entry without any trace of the look.
    pub fn peek(&mut self, key: Key<'_>) -> Option<EntryRef<'_>> {
        let slot = self.live(key)?;
        Some(self.part(key).view(slot))
    }

    /// The entry as a command that may change it finds it: sets the access clock, counts nothing.
    pub fn found(&mut self, key: Key<'_>) -> Option<EntryRef<'_>> {
        let (access, touch) = (self.access, !self.no_touch);
        let entry = self.peek(key)?;
        if touch {
            entry.touch(access.changed(entry.clock()));
        }
        Some(entry)
    }

    /// The value without any trace of the look.
    pub fn peek_as<K: Kind>(&mut self, key: Key<'_>) -> Result<Option<K::Ref<'_>>, CmdError> {
        match self.peek(key) {
            Some(entry) if entry.kind() == K::TYPE => Ok(Some(K::view(entry))),
            Some(_) => Err(CmdError::WRONG_TYPE),
            None => Ok(None),
        }
    }

    /// Whether the key is there but its time has passed.
    pub fn is_expired(&mut self, key: Key<'_>) -> bool {
        let now = self.now;
        let db = self.part(key);
        db.find(key).is_some_and(|slot| is_expired(db.view(slot), now))
    }

    pub fn exists(&mut self, key: Key<'_>) -> bool {
        self.live(key).is_some()
    }

    /// The value for changing, if it is there.
    #[inline(always)]
    pub fn write<K: Kind>(&mut self, key: Key<'_>) -> Result<Option<K::Mut<'_>>, CmdError> {
        Ok(self.slot::<K>(key)?.map(|slot| K::edit(self.place(key, slot))))
    }

    /// The value for changing; made empty if it is not there. Whoever leaves it empty removes it again.
    #[inline(always)]
    pub fn write_or_create<K: Kind>(&mut self, key: Key<'_>) -> Result<K::Mut<'_>, CmdError> {
        let slot = self.slot_or_create::<K>(key)?;
        Ok(K::edit(self.place(key, slot)))
    }

    fn slot<K: Kind>(&mut self, key: Key<'_>) -> Result<Option<SlotId>, CmdError> {
        match self.live_of(key) {
            Some((slot, kind)) if kind == K::TYPE => Ok(Some(slot)),
            Some(_) => Err(CmdError::WRONG_TYPE),
            None => Ok(None),
        }
    }

    fn slot_or_create<K: Kind>(&mut self, key: Key<'_>) -> Result<SlotId, CmdError> {
        if let Some(slot) = self.slot::<K>(key)? {
            return Ok(slot);
        }
        let clock = self.access.fresh;
        let slot = K::create(self.part(key), key, clock);
        self.event(key, (class::NEW, "new"));
        Ok(slot)
    }

    /// Puts a whole entry in, over whatever is there. The entry's key is `key`.
    pub fn put(&mut self, key: Key<'_>, entry: Entry) {
        if self.engine.readings.any() {
            self.engine.readings.moved(&readings(entry.view()), self.db, key);
        }
        match self.live(key) {
            Some(slot) => {
                let old = self.part(key).replace(slot, entry);
                self.free(old);
            }
            None => {
                self.part(key).insert(key.hash, entry);
                self.event(key, (class::NEW, "new"));
            }
        }
    }

    /// Sets a string over whatever is there; says whether anything was. One lookup, and no allocation where
    /// the old value's block can hold the new one.
    #[inline]
    pub fn set_text(&mut self, key: Key<'_>, value: Incoming<'_>, expiry: Expiry) -> bool {
        let access = self.access;
        let Some(slot) = self.live(key) else {
            let entry = text::entry(key.bytes, value, expiry.apply(None), access.fresh);
            self.part(key).insert(key.hash, entry);
            self.event(key, (class::NEW, "new"));
            return false;
        };
        let db = self.part(key);
        let old = db.view(slot);
        let clock = access.changed(old.clock());
        // Much of a string is freed elsewhere.
        if old.kind() == Type::String && old.free_effort() <= base::limits::LAZY_FREE_EFFORT {
            db.edit(slot, |entry| text::overwrite(entry, value, expiry, clock));
        } else {
            let expires_at = expiry.apply(old.expires_at());
            let old = db.replace(slot, text::entry(key.bytes, value, expires_at, clock));
            self.free(old);
        }
        true
    }

    /// Takes an entry out; nothing is announced.
    pub fn take(&mut self, key: Key<'_>) -> Option<Entry> {
        let slot = self.live(key)?;
        Some(self.part(key).remove(slot))
    }

    /// Deletes a key and frees its value, on another thread if that is much work; nothing is announced.
    pub fn delete(&mut self, key: Key<'_>) -> bool {
        match self.take(key) {
            Some(entry) => {
                self.free(entry);
                true
            }
            None => false,
        }
    }

    /// A command gave the key a time of expiry that has passed: it expires now, and nothing else is logged.
    pub fn expire_now(&mut self, key: Key<'_>) {
        if let Some(slot) = self.live(key) {
            self.expire(key, slot, self.client);
            self.effects.dirty += 1;
            self.effects.name_none();
        }
    }

    /// Sets or removes the time of expiry of a key that is there.
    pub fn set_expires_at(&mut self, key: Key<'_>, expires_at: Option<i64>) {
        if let Some(slot) = self.live(key) {
            self.part(key).edit(slot, |entry| entry.set_expires_at(expires_at));
        }
    }

    /// The one announcement of a change to a key.
    #[inline]
    pub fn changed(&mut self, key: Key<'_>, event: Event) {
        self.changed_by(key, event, 1);
    }

    /// A change that counts `amount` times for save points (`rdb_changes_since_last_save`).
    #[inline]
    pub fn changed_by(&mut self, key: Key<'_>, event: Event, amount: u64) {
        self.effects.dirty += amount;
        self.touch(key);
        self.event(key, event);
    }

    /// A further event of a change that `changed` announced.
    #[inline]
    pub fn event(&mut self, key: Key<'_>, (class, name): Event) {
        if self.config.notify_keyspace_events & class != 0 {
            self.effects.events.push(KeyEvent { db: self.db, class, name, key: key.bytes.into() });
        }
    }

    /// Notes a change for transactions that watch the key, for those who wait for it and for those who hold a
    /// copy, without an event.
    #[inline]
    pub fn touch(&mut self, key: Key<'_>) {
        let shard = self.guard.store().shard_of(key.hash);
        self.engine.watches.touch(shard, self.db, key.bytes);
        self.mark_ready(key);
        self.invalidate(key, self.client);
    }

    #[inline]
    fn invalidate(&mut self, key: Key<'_>, writer: ClientId) {
        if self.engine.tracking.any() {
            let shard = self.guard.store().shard_of(key.hash);
            self.engine.tracking.change(shard, key, writer, &mut self.effects.invalidated);
        }
    }

    /// Databases were emptied or filled anew: nobody's copy is worth anything.
    pub fn invalidate_all(&mut self) {
        self.engine.invalidate_all(&mut self.effects.invalidated);
    }

    #[inline]
    pub fn mark_ready(&mut self, key: Key<'_>) {
        if self.engine.waiters.any() {
            self.mark_waited(key);
        }
    }

    #[cold]
    fn mark_waited(&mut self, key: Key<'_>) {
        let (shard, db) = (self.guard.store().shard_of(key.hash), self.db);
        if self.engine.waiters.waits_for(shard, db, key.bytes) {
            let ready = ReadyKey { db, name: key.bytes.into(), hash: key.hash };
            self.effects.ready.push(ready);
        }
    }

    /// Notes that any key of some databases may have changed. All shards are held.
    pub fn mark_all_ready(&mut self, includes: impl Fn(DbIndex) -> bool) {
        if self.engine.waiters.any() {
            self.engine.waiters.keys_in(includes).into_iter().for_each(|key| self.effects.ready.push(key));
        }
    }

    /// Names an effect in place of the command itself.
    pub fn effect(&mut self, words: &[&[u8]]) {
        self.effects.name(words);
    }

    /// The command's effect is only what was named, even if that is nothing.
    pub fn no_effect(&mut self) {
        self.effects.name_none();
    }

    /// The time by which keys and fields of hashes count as expired: none does where they are shown.
    #[inline]
    pub fn expiry_now(&self) -> UnixMs {
        if self.shows_expired() { UnixMs(i64::MIN) } else { self.now }
    }

    #[inline]
    pub fn field_now(&self) -> i64 {
        self.expiry_now().0
    }

    /// Expired keys and fields are visible: to this command time has removed nothing.
    #[inline]
    fn shows_expired(&self) -> bool {
        self.shows_expired || self.engine.is_loading()
    }

    /// A time that has passed is a time as any other: what gets it stays.
    #[inline]
    pub fn keeps_expired(&self) -> bool {
        self.shows_expired() || self.config.import_mode
    }

    /// Whether effects are written down at all: what is costly to name can be left out otherwise.
    pub fn is_logged(&self) -> bool {
        self.effects.takes_names()
    }

    pub fn dirty(&self) -> u64 {
        self.effects.dirty
    }

    /// Counts changes that belong to no key (FLUSHALL, FUNCTION LOAD).
    pub fn add_dirty(&mut self, amount: u64) {
        self.effects.dirty += amount;
    }

    /// Counts a key that a command deleted because its time had passed, for INFO.
    pub fn count_expired_key(&mut self) {
        self.effects.expired += 1;
    }

    /// Counts field expiries for INFO.
    pub fn count_expired_fields(&mut self, count: u32) {
        self.effects.expired_fields += count;
    }

    /// The same view of another database (MOVE, COPY): the same key has the same shard there.
    pub fn with_db<R>(&mut self, db: DbIndex, work: impl FnOnce(&mut Self) -> R) -> R {
        let own = std::mem::replace(&mut self.db, db);
        let result = work(self);
        self.db = own;
        result
    }

    pub fn guard(&mut self) -> &mut Guard<'s> {
        self.guard
    }

    /// Frees an entry here if that is little work, else on the lazy-free thread.
    pub fn free(&mut self, entry: Entry) {
        let read = self.engine.readings.any();
        let Some(entry) = (if read { self.engine.readings.leave(entry) } else { Some(entry) }) else {
            return;
        };
        if entry.view().free_effort() > base::limits::LAZY_FREE_EFFORT {
            self.engine.memory.expect(entry.view().memory());
            self.engine.host.reclaim(Garbage::Entry(entry));
        }
    }

    #[inline(always)]
    fn place(&mut self, key: Key<'_>, slot: SlotId) -> Place<'_> {
        let thresholds = &self.config.thresholds;
        let (now, access, touch) = (self.field_now(), self.access, !self.no_touch);
        let db = self.part(key);
        if touch {
            let entry = db.view(slot);
            entry.touch(access.changed(entry.clock()));
        }
        Place { db, slot, thresholds, now }
    }

    #[inline]
    fn part(&mut self, key: Key<'_>) -> &mut Db {
        self.guard.db(self.db, key.hash)
    }

    /// The key's slot, unless it is absent or its time has passed: then it is removed here.
    #[inline]
    fn live(&mut self, key: Key<'_>) -> Option<SlotId> {
        self.live_of(key).map(|(slot, _)| slot)
    }

    /// As `live`, with the value's type.
    #[inline]
    fn live_of(&mut self, key: Key<'_>) -> Option<(SlotId, Type)> {
        let now = self.now;
        let db = self.part(key);
        let (slot, entry) = db.find_view(key)?;
        let kind = entry.kind();
        if !is_expired(entry, now) || self.shows_expired() {
            return Some((slot, kind));
        }
        if !self.hides_expired {
            self.expire(key, slot, NOBODY);
        }
        None
    }

    #[cold]
    fn expire(&mut self, key: Key<'_>, slot: SlotId, writer: ClientId) {
        let entry = self.part(key).remove(slot);
        self.free(entry);
        self.effects.expire(self.config.expiry_verb(), self.db, key.bytes);
        let shard = self.guard.store().shard_of(key.hash);
        self.engine.watches.touch_expired(shard, self.db, key.bytes);
        self.invalidate(key, writer);
        self.mark_ready(key);
        self.event(key, (class::EXPIRED, "expired"));
    }

    /// The key gives way to others: it goes as if a client had deleted it.
    /// Returns how many bytes that frees: none if somebody reads the value still.
    pub(crate) fn evict(&mut self, key: Key<'_>) -> usize {
        let Some(slot) = self.part(key).find(key) else { return 0 };
        let entry = self.part(key).remove(slot);
        let is_read = self.engine.readings.any() && !readings(entry.view()).is_empty();
        let freed = if is_read { 0 } else { entry.view().memory() };
        self.free(entry);
        let verb: &[u8] = if self.config.lazyfree_lazy_eviction { b"UNLINK" } else { b"DEL" };
        self.effects.name(&[verb, key.bytes]);
        self.touch(key);
        self.event(key, (class::EVICTED, "evicted"));
        freed
    }

    /// Removes what is due of an entry that the active cycle found: the key, or some fields of its hash. True
    /// if more of them may be due.
    pub(crate) fn expire_due(&mut self, key: Key<'_>) -> bool {
        let Some((slot, Type::Hash)) = self.live_of(key) else { return false };
        self.expire_fields(key, slot);
        let now = self.now.0;
        self.part(key).find_view(key).is_some_and(|(_, entry)| entry.next_expiry() <= now)
    }

    fn expire_fields(&mut self, key: Key<'_>, slot: SlotId) {
        let mut removed: Vec<Vec<u8>> = Vec::new();
        let mut hash = Hash::edit(self.place(key, slot));
        hash.remove_due(FIELDS_PER_SLICE, |field| removed.push(field.to_vec()));
        let emptied = hash.is_empty();
        if removed.is_empty() {
            return;
        }
        self.effects.expired_fields += removed.len() as u32;
        let mut words: Vec<&[u8]> = vec![b"HDEL", key.bytes];
        words.extend(removed.iter().map(Vec::as_slice));
        self.effects.name(&words);
        self.changed_by(key, (class::HASH, "hexpired"), removed.len() as u64);
        if emptied {
            self.delete(key);
            self.event(key, (class::GENERIC, "del"));
        }
    }
}
