//! An engine without a process around it, for tests: a clock that stands still, a host made of vectors,
//! requests as lines of text. It has no threads and no files, and is never part of what the server runs.

pub mod checks;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base::bytes::escape;
use base::limits::BIG_ARGUMENT;
use base::quoting::split_args;
use base::time::{Clock, ManualClock, UnixMs};
use ds::hash::HashRef;
use ds::list::ListRef;
use ds::set::SetRef;
use ds::sorted_set::{ScoredMember, SortedSetRef};
use ds::stream::StreamId;
use parking_lot::Mutex;
use resp::decode::{DecodeLimits, Value, decode};
use resp::reply::{Protocol, Reply};
use store::expire::is_expired;
use store::{EntryRef, Garbage, Hash, Kind, List, Plan, Set, SortedSet, Stream, Text, Type};

use crate::args::OwnedArgv;
use crate::blocking::end_wait;
use crate::clients::{Arrival, Client, ClientId};
use crate::config::Config;
use crate::cycle::Cycle;
use crate::engine::{Busy, Engine, WorkerSeat};
use crate::host::{
    AtDuplicate, DumpContents, DumpStatus, Event, Heard, Host, Level, LoadStatus, LogFileStatus, NotReloaded,
    ProcessFacts, ReclaimCounts, SaveRefused, SaveStarted, SaveStatus, Shutdown, Wait, WorkerId,
};
use crate::log::{LogReader, Offset};
use crate::notify::parse_classes;
use crate::pipeline::Outcome;
use crate::session::{Origin, Session};

/// When a test begins: 2023-11-14 22:13:20 UTC.
pub const START: UnixMs = UnixMs(1_700_000_000_000);

/// One worker, any number of sessions.
pub struct TestEngine {
    pub engine: Engine,
    pub seat: WorkerSeat,
    pub sessions: Vec<Session>,
    pub host: Arc<HostState>,
    /// What the worker would have done after the last request.
    pub outcome: Outcome,
    cycle: Cycle,
    effects: Arc<Mutex<Vec<u8>>>,
    /// Keyspace events come in.
    listening: bool,
}

impl TestEngine {
    #[expect(clippy::new_without_default, reason = "a test's fixture is made on purpose")]
    pub fn new() -> TestEngine {
        TestEngine::with_config(|_| {})
    }

    /// An engine whose configuration is the default but for what `change` does.
    pub fn with_config(change: impl FnOnce(&mut Config)) -> TestEngine {
        let mut config = Config::default();
        change(&mut config);
        TestEngine::begin(config, 1, START)
    }

    /// An engine of several workers, all of which the one seat stands for in turn.
    pub fn with_workers(workers: usize) -> TestEngine {
        TestEngine::begin(Config::default(), workers, START)
    }

    fn begin(config: Config, workers: usize, now: UnixMs) -> TestEngine {
        let host = Arc::new(HostState { clock: ManualClock::at(now), ..HostState::default() });
        let engine = Engine::new(config, Box::new(TestHost(Arc::clone(&host))), workers, now);
        let mut seat = WorkerSeat::new(&engine, WORKER);
        seat.worker.now = now;
        let mut test = TestEngine {
            engine,
            seat,
            sessions: Vec::new(),
            host,
            outcome: Outcome::Done,
            cycle: Cycle::default(),
            effects: Arc::default(),
            listening: false,
        };
        test.connect();
        test
    }

    /// One more client; what it is called in `run_as`.
    pub fn connect(&mut self) -> usize {
        let arrival = Arrival {
            worker: WORKER,
            peer: format!("127.0.0.1:{}", 50_000 + self.sessions.len()),
            local: "127.0.0.1:6379".to_owned(),
            descriptor: 8 + self.sessions.len() as i32,
            unix: false,
            worker_bytes: 0,
        };
        let client = self.engine.clients.arrive(arrival, self.now());
        self.sessions.push(Session::new(client, true));
        self.sessions.len() - 1
    }

    /// Runs a line, split as redis-cli splits it (quotes, escapes), for the first client.
    pub fn run(&mut self, line: &str) -> Value {
        self.run_as(0, line)
    }

    pub fn run_as(&mut self, session: usize, line: &str) -> Value {
        let words = split_args(line.as_bytes()).expect("a test's quotes are balanced");
        self.run_words_as(session, &words)
    }

    /// Runs a request of these arguments.
    pub fn run_words<A: AsRef<[u8]>>(&mut self, words: &[A]) -> Value {
        self.run_words_as(0, words)
    }

    pub fn run_words_as<A: AsRef<[u8]>>(&mut self, session: usize, words: &[A]) -> Value {
        let bytes = self.run_raw(session, words);
        match decode(&bytes, &DecodeLimits::default()) {
            Ok(Some((value, len))) if len == bytes.len() => value,
            Ok(None) if bytes.is_empty() => Value::Null,
            other => panic!("one whole reply, not {other:?} of {:?}", String::from_utf8_lossy(&bytes)),
        }
    }

    /// Runs a request; its reply as it goes over the wire, to the end.
    pub fn run_raw<A: AsRef<[u8]>>(&mut self, session: usize, words: &[A]) -> Vec<u8> {
        let mut reply = self.begin_raw(session, words);
        while self.continue_raw(session, &mut reply) {}
        reply
    }

    /// Appends the next piece of a long reply; false if that was the last.
    pub fn continue_raw(&mut self, session: usize, bytes: &mut Vec<u8>) -> bool {
        let mut reply = Reply::default();
        let more = self.engine.continue_reply(&mut self.sessions[session], &mut reply);
        reply.chunks().for_each(|chunk| bytes.extend_from_slice(chunk));
        more
    }

    /// Runs a request; its reply, or the beginning of a long one.
    pub fn begin_raw<A: AsRef<[u8]>>(&mut self, session: usize, words: &[A]) -> Vec<u8> {
        let mut argv = OwnedArgv::default();
        for word in words {
            match word.as_ref() {
                big if big.len() >= BIG_ARGUMENT => argv.push_big(Arc::new(big.to_vec())),
                small => argv.push(small),
            }
        }
        let argv = argv.view();
        let mut reply = Reply::default();
        let session = &mut self.sessions[session];
        let prepared = self.engine.prepare(&argv);
        self.outcome = self.engine.run(&mut self.seat, session, &prepared, &argv, &mut reply);
        self.engine.broadcast(&mut self.seat);
        self.seat.evictor.meter.report(&self.engine.memory);
        reply.chunks().collect::<Vec<_>>().concat()
    }

    pub fn set_protocol(&mut self, session: usize, protocol: Protocol) {
        self.sessions[session].set_protocol(protocol);
    }

    pub fn now(&self) -> UnixMs {
        self.host.clock.now()
    }

    /// Lets time pass: the clock moves, and the worker's next tick sees it.
    pub fn advance_ms(&mut self, ms: u64) {
        self.host.clock.advance_ms(ms);
        self.seat.worker.now = self.now();
    }

    /// A whole round of the active expiry cycle.
    pub fn expire_cycle(&mut self) {
        self.cycle.expire(&self.engine, self.host.clock.now(), u64::MAX);
    }

    /// The cycle's look at the table of keys that clients cache.
    pub fn trim_cycle(&mut self) {
        self.cycle.trim_tracking(&self.engine);
    }

    /// Changes the configuration as CONFIG SET would.
    pub fn configure(&mut self, change: impl FnOnce(&mut Config)) {
        let mut config = (*self.engine.config()).clone();
        change(&mut config);
        self.engine.set_config(config);
    }

    /// From now on keyspace events are collected: every class, and those of `letters` besides (`m`, `n`).
    pub fn collect_events(&mut self, letters: &str) {
        let classes = parse_classes(format!("EA{letters}").as_bytes()).expect("letters of classes");
        self.configure(|config| config.notify_keyspace_events = classes);
        if !std::mem::replace(&mut self.listening, true) {
            self.engine.pubsub.subscribe_pattern(b"__keyevent@*", Client::nameless(EVENT_LISTENER));
        }
    }

    /// The keyspace events since the last call, each as `event key`, with `@db` behind it if that is not 0.
    pub fn take_events(&mut self) -> Vec<String> {
        let mut posts = self.host.posts.lock();
        let is_ours = |event: &Event| matches!(event, Event::Push { client: EVENT_LISTENER, .. });
        let (ours, others): (Vec<_>, Vec<_>) = posts.drain(..).partition(is_ours);
        *posts = others;
        ours.iter().filter_map(event_text).collect()
    }

    /// Everything else posted to the worker since the last call: messages, monitor lines, kills.
    pub fn take_posts(&mut self) -> Vec<Event> {
        std::mem::take(&mut *self.host.posts.lock())
    }

    /// The replies to requests that waited, each with its session: their waits are over.
    pub fn take_served(&mut self) -> Vec<(usize, Value)> {
        let mut posts = self.host.posts.lock();
        let is_served = |event: &Event| matches!(event, Event::Unblocked { .. });
        let (served, others): (Vec<_>, Vec<_>) = posts.drain(..).partition(is_served);
        *posts = others;
        drop(posts);
        served.iter().filter_map(|event| self.end_wait(event)).collect()
    }

    fn end_wait(&mut self, event: &Event) -> Option<(usize, Value)> {
        let Event::Unblocked { client, reply, .. } = event else { return None };
        // Sessions come with ascending ids.
        let session = self.sessions.binary_search_by_key(client, |session| session.client.id).ok()?;
        end_wait(&mut self.sessions[session]);
        let (value, _) = decode(reply, &DecodeLimits::default()).ok()??;
        Some((session, value))
    }

    /// From now on effects are collected.
    pub fn collect_effects(&mut self) {
        let _guard = self.engine.store.lock(&Plan::All);
        self.engine.log.attach(Box::new(Collector(Arc::clone(&self.effects))));
    }

    /// The effects since the last call, as requests on the wire.
    pub fn take_effects(&mut self) -> Vec<u8> {
        std::mem::take(&mut *self.effects.lock())
    }

    /// The effects since the last call, a line each, without SELECT.
    pub fn take_effect_lines(&mut self) -> Vec<String> {
        let requests = requests(&self.take_effects());
        requests.iter().map(|words| line(words)).filter(|line| !line.starts_with("SELECT ")).collect()
    }

    /// Runs effects as a load would: origin is the log, and nothing expires meanwhile.
    pub fn apply(&mut self, effects: &[u8]) {
        let session = self.connect();
        self.sessions[session].origin = Origin::Replay;
        self.engine.loading.store(true, Ordering::Relaxed);
        for words in requests(effects) {
            let reply = self.run_words_as(session, &words);
            assert!(!reply.is_error(), "an effect that fails: {} -> {reply:?}", line(&words));
        }
        self.engine.loading.store(false, Ordering::Relaxed);
    }

    /// Another engine, at the same time and with the same configuration, that did nothing but these effects.
    pub fn replay(&self, effects: &[u8]) -> TestEngine {
        let mut other = TestEngine::begin((*self.engine.config()).clone(), 1, self.now());
        other.apply(effects);
        other
    }

    /// All live keys with type, value and expiry, and the libraries, a sorted line each: equal for equal
    /// contents in any encoding.
    pub fn digest(&self) -> Vec<String> {
        let mut lines = self.digest_of_keys();
        let libraries = self.engine.functions.current();
        lines.extend(libraries.iter().map(|library| String::from_utf8_lossy(&library.code).into_owned()));
        lines.sort();
        lines
    }

    /// As `digest`, without the libraries.
    pub fn digest_of_keys(&self) -> Vec<String> {
        let now = self.now();
        let mut lines = Vec::new();
        for (_, shard) in self.engine.store.lock(&Plan::All).shards() {
            for (db, part) in shard.dbs() {
                let live = part.table().iter().filter(|entry| !is_expired(*entry, now));
                lines.extend(live.map(|entry| format!("{} {}", db.0, describe(entry, now))));
            }
        }
        lines.sort();
        lines
    }

    /// Panics if a table or a count of the keyspace is wrong.
    pub fn check_invariants(&self) {
        for (_, shard) in self.engine.store.lock(&Plan::All).shards() {
            shard.dbs().for_each(|(_, part)| part.check_invariants());
        }
    }
}

/// A reply as a test writes it down: `1`, `"text"`, `+OK`, `-ERR text`, `nil`, `[1 "a"]`, `{"a":1}`, `<1 2>`
/// (a set).
pub fn show(value: &Value) -> String {
    match value {
        Value::Simple(text) => format!("+{}", String::from_utf8_lossy(text)),
        Value::Error(text) | Value::BlobError(text) => format!("-{}", String::from_utf8_lossy(text)),
        Value::Integer(number) => number.to_string(),
        Value::Bulk(Some(text)) | Value::Verbatim { text, .. } => base::bytes::escape(text),
        Value::Bulk(None) | Value::Array(None) | Value::Null => "nil".to_owned(),
        Value::Array(Some(items)) => format!("[{}]", show_all(items)),
        Value::Set(items) => format!("<{}>", show_all(items)),
        Value::Push(items) => format!(">[{}]", show_all(items)),
        Value::Map(pairs) | Value::Attribute(pairs, _) => format!("{{{}}}", show_pairs(pairs)),
        Value::Double(number) => format!(",{number}"),
        Value::Bool(value) => format!("#{value}"),
        Value::BigNumber(digits) => format!("({}", String::from_utf8_lossy(digits)),
    }
}

fn show_all(items: &[Value]) -> String {
    items.iter().map(show).collect::<Vec<_>>().join(" ")
}

fn show_pairs(pairs: &[(Value, Value)]) -> String {
    pairs.iter().map(|(key, value)| format!("{}:{}", show(key), show(value))).collect::<Vec<_>>().join(" ")
}

/// Runs each line in turn on one engine and compares its reply, as `show` writes it.
pub fn check_script(test: &mut TestEngine, script: &[(&str, &str)]) {
    for (line, expected) in script {
        let reply = test.run(line);
        assert_eq!(show(&reply), *expected, "the reply to: {line}");
    }
}

fn describe(entry: EntryRef<'_>, now: UnixMs) -> String {
    let expiry = entry.expires_at().map_or(String::new(), |at| format!(" expires {at}"));
    let value = match entry.kind() {
        Type::String => base::bytes::escape(&Text::view(entry).bytes()),
        Type::Hash => describe_hash(Hash::view(entry), now),
        Type::Set => describe_set(Set::view(entry)),
        Type::List => describe_list(List::view(entry)),
        Type::SortedSet => describe_sorted_set(SortedSet::view(entry)),
        Type::Stream => describe_stream(Stream::view(entry)),
    };
    format!("{} {} {value}{expiry}", base::bytes::escape(entry.key()), entry.kind().name())
}

fn describe_hash(hash: HashRef<'_>, now: UnixMs) -> String {
    let mut fields = Vec::new();
    hash.for_each(now.0, |pair| {
        let expiry = pair.expires_at.map_or(String::new(), |at| format!("@{at}"));
        let (field, value) = (pair.field.to_vec(), pair.value.to_vec());
        fields.push(format!("{}:{}{expiry}", base::bytes::escape(&field), base::bytes::escape(&value)));
    });
    fields.sort();
    fields.join(" ")
}

fn describe_set(set: SetRef<'_>) -> String {
    let mut members: Vec<_> = set.iter().map(|member| base::bytes::escape(&member.to_vec())).collect();
    members.sort();
    members.join(" ")
}

fn describe_list(list: ListRef<'_>) -> String {
    if let ListRef::Nodes(nodes) = list {
        nodes.check_invariants();
    }
    let mut elements = Vec::new();
    list.for_each(|element| elements.push(base::bytes::escape(&element.to_vec())));
    elements.join(" ")
}

fn describe_sorted_set(set: SortedSetRef<'_>) -> String {
    if let SortedSetRef::Table(table) = set {
        table.check_invariants();
    }
    let show =
        |item: ScoredMember<'_>| format!("{}={:?}", base::bytes::escape(&item.member.to_vec()), item.score);
    set.iter().map(show).collect::<Vec<_>>().join(" ")
}

/// Everything but the times at which consumers were seen, which are not logged.
fn describe_stream(stream: &ds::stream::Stream) -> String {
    let entries = stream.entries();
    let ids = [entries.last_id(), entries.max_deleted_id(), entries.first_id()];
    let mut text = format!("{} of {} {ids:?}", entries.len(), entries.added());
    for entry in entries.range(StreamId::MIN, StreamId::MAX) {
        let pairs = entry.pairs().map(|(field, value)| (field.to_vec(), value.to_vec()));
        text.push_str(&format!(" {:?} {:?}", entry.id, pairs.collect::<Vec<_>>()));
    }
    for (name, group) in stream.groups() {
        text.push_str(&format!(" group {name:?} {:?} {:?}", group.last_id, group.entries_read));
        for (id, pending) in group.pending_from(StreamId::MIN) {
            let owner = pending.consumer.map(|owner| group.consumer(owner).name());
            text.push_str(&format!(" {id:?} {owner:?} {} {}", pending.delivered_at, pending.deliveries));
        }
        let consumers: Vec<_> = group.consumers().map(|(_, consumer)| consumer.name()).collect();
        text.push_str(&format!(" of {consumers:?} {:?}", group.returned_ids().collect::<Vec<_>>()));
    }
    if let Some(producers) = stream.producers() {
        let ids: Vec<_> = producers.iter().map(|(name, ids)| (name, ids.collect::<Vec<_>>())).collect();
        text.push_str(&format!(" producers {:?} {ids:?}", producers.limits()));
    }
    text
}

/// The requests in a piece of the log.
fn requests(mut bytes: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let decoded = decode(bytes, &DecodeLimits::default()).expect("the log is well formed");
        let (value, len) = decoded.expect("the log ends with a whole request");
        let words = value.as_items().expect("a request is an array");
        all.push(words.iter().map(|word| word.as_bytes().expect("of bulks").to_vec()).collect());
        bytes = &bytes[len..];
    }
    all
}

fn line(words: &[Vec<u8>]) -> String {
    words.iter().map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>().join(" ")
}

/// `[pmessage pattern __keyevent@0__:set key]` as `set key`.
fn event_text(event: &Event) -> Option<String> {
    let Event::Push { message, .. } = event else { return None };
    let (value, _) = decode(message, &DecodeLimits::default()).ok()??;
    let parts = value.as_items()?;
    let channel = parts.get(2)?.as_text()?;
    let (place, name) = channel.split_once("__:")?;
    let db = place
        .strip_prefix("__keyevent@")
        .filter(|db| *db != "0")
        .map_or(String::new(), |db| format!("@{db}"));
    Some(format!("{name} {}{db}", parts.get(3)?.as_text()?))
}

/// A reader of the log that keeps all of it.
struct Collector(Arc<Mutex<Vec<u8>>>);

impl LogReader for Collector {
    fn read(&mut self, _: Offset, bytes: &[u8]) {
        self.0.lock().extend_from_slice(bytes);
    }
}

const WORKER: WorkerId = WorkerId(0);
/// Nobody's id: real ones ascend from 1.
const EVENT_LISTENER: ClientId = ClientId(u64::MAX);

/// What the engine asked of its host.
#[derive(Default)]
pub struct HostState {
    pub clock: ManualClock,
    pub posts: Mutex<Vec<Event>>,
    pub lines: Mutex<Vec<(Level, String)>>,
    /// Calls such as `save`, `shutdown`, in their order.
    pub calls: Mutex<Vec<String>>,
    /// Calls that fail.
    pub refused: Mutex<Vec<&'static str>>,
    pub config_file: Mutex<Option<Vec<u8>>>,
    /// What was handed over to be freed is kept here, if there is such a place.
    pub garbage: Mutex<Option<Vec<Garbage>>>,
    reclaimed: AtomicU64,
    random: AtomicU64,
}

impl HostState {
    /// Notes the call; false if it is to fail.
    fn call(&self, call: &str) -> bool {
        self.calls.lock().push(call.to_owned());
        !self.refused.lock().contains(&call)
    }
}

struct TestHost(Arc<HostState>);

impl Host for TestHost {
    fn log(&self, level: Level, message: &str) {
        self.0.lines.lock().push((level, message.to_owned()));
    }

    fn post(&self, _: WorkerId, event: Event) {
        self.0.posts.lock().push(event);
    }

    fn reclaim(&self, garbage: Garbage) {
        self.0.reclaimed.fetch_add(1, Ordering::Relaxed);
        match &mut *self.0.garbage.lock() {
            Some(kept) => kept.push(garbage),
            None => drop(garbage),
        }
    }

    fn wake_defragmenter(&self) {}

    fn reclaim_counts(&self) -> ReclaimCounts {
        ReclaimCounts { freed: self.0.reclaimed.load(Ordering::Relaxed), ..ReclaimCounts::default() }
    }

    fn save_in_background(&self, _: bool) -> Result<SaveStarted, SaveRefused> {
        if self.0.call("save in background") { Ok(SaveStarted::Started) } else { Err("ERR refused") }
    }

    fn save_now(&self) -> Result<(), SaveRefused> {
        if self.0.call("save") { Ok(()) } else { Err("ERR refused") }
    }

    fn cancel_save(&self, _: Wait) -> bool {
        false
    }

    fn save_status(&self) -> SaveStatus {
        SaveStatus {
            in_progress: false,
            scheduled: false,
            last_save: START,
            last_ok: true,
            last_seconds: None,
            started: None,
            saves: 0,
            keys_done: 0,
            keys_total: 0,
            last_snapshot_bytes: 0,
            snapshot_bytes: 0,
            cut_us: 0,
            cuts: 0,
            dumps: DumpStatus::default(),
        }
    }

    fn begin_dump(&self, client: &Arc<Client>, contents: DumpContents) -> Result<(), SaveRefused> {
        let id = client.id.0;
        if self.0.call(&format!("dump {contents:?} for {id}")) { Ok(()) } else { Err("ERR refused") }
    }

    fn log_file_status(&self) -> LogFileStatus {
        LogFileStatus::default()
    }

    fn reset_counts(&self) {
        self.0.call("reset counts");
    }

    fn await_log(&self) {}

    fn await_log_turn(&self) {}

    fn is_log_behind(&self) -> bool {
        false
    }

    fn note_log_delay(&self) {}

    fn rewrite_log(&self, later: bool) -> Result<SaveStarted, SaveRefused> {
        match self.0.call("rewrite log") {
            false => Err("ERR refused"),
            true if later => Ok(SaveStarted::Scheduled),
            true => Ok(SaveStarted::Started),
        }
    }

    fn reload_log(&self, empty: &dyn Fn() -> Result<(), Busy>) -> Result<(), NotReloaded> {
        empty()?;
        if self.0.call("reload log") { Ok(()) } else { Err(NotReloaded::Failed) }
    }

    fn load_status(&self) -> LoadStatus {
        LoadStatus::default()
    }

    fn reload(
        &self,
        at_duplicate: AtDuplicate,
        prepare: &dyn Fn() -> Result<(), Busy>,
    ) -> Result<(), NotReloaded> {
        prepare()?;
        let call = format!("reload, at duplicates {at_duplicate:?}");
        if self.0.call(&call) { Ok(()) } else { Err(NotReloaded::Failed) }
    }

    fn shutdown(&self, how: Shutdown) -> Result<(), String> {
        self.0.call(&format!("shutdown {how:?}"));
        Ok(())
    }

    fn cancel_shutdown(&self) -> bool {
        false
    }

    fn apply(&self, directive: &str, _: &Config) -> Result<(), String> {
        if self.0.call(&format!("apply {directive}")) { Ok(()) } else { Err("refused".to_owned()) }
    }

    fn read_config_file(&self) -> Result<Vec<u8>, String> {
        self.0.config_file.lock().clone().ok_or_else(|| "there is none".to_owned())
    }

    fn write_config_file(&self, text: &[u8]) -> Result<(), String> {
        *self.0.config_file.lock() = Some(text.to_owned());
        Ok(())
    }

    fn facts(&self) -> ProcessFacts {
        ProcessFacts::default()
    }

    fn unix_us(&self) -> i64 {
        self.0.clock.now().0 * 1000
    }

    fn monotonic_ns(&self) -> u64 {
        self.0.clock.monotonic_ns()
    }

    fn processor_ns(&self) -> u64 {
        self.monotonic_ns()
    }

    fn attend(&self) {
        self.0.call("attend");
    }

    fn say(&self, shown: &[u8]) {
        self.0.call(&format!("say {}", escape(shown)));
    }

    fn hear(&self, _: &mut Vec<u8>) -> Heard {
        Heard::End
    }

    fn sleep_us(&self, us: u64) {
        self.0.clock.advance_ms(us / 1000);
    }

    fn crash(&self, how: &str) {
        self.0.call(&format!("crash {how}"));
    }

    fn random(&self) -> u64 {
        self.0.random.fetch_add(0x9e37_79b9, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_effects_events_and_time() {
        let mut test = TestEngine::new();
        test.collect_events("");
        test.collect_effects();
        check_script(
            &mut test,
            &[("SET \"a b\" 1 PX 50", "+OK"), ("GET 'a b'", "\"1\""), ("HSET h f v", "1")],
        );
        assert_eq!(test.take_events(), ["set a b", "expire a b", "hset h"]);
        let effects = test.take_effects();
        assert_eq!(test.replay(&effects).digest(), test.digest());
        test.advance_ms(51);
        assert_eq!(test.digest(), ["0 \"h\" hash \"f\":\"v\""]);
        test.expire_cycle();
        assert_eq!(test.take_effect_lines(), ["DEL a b"]);
        test.check_invariants();
    }
}
