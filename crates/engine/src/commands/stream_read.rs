//! Reading streams from where a client left off: XREAD, and XREADGROUP for a group's consumer.

use base::num::parse_i64;
use base::time::UnixMs;
use ds::stream::{ConsumerId, Entries, GroupMut, Pending, Stream as Value, StreamId};
use resp::reply::{Mark, Protocol, Reply};
use smallvec::SmallVec;
use store::{Key, Plan, Stream, Type};

use super::stream::row;
use super::stream_args::{id, no_group, reply_entry, reply_entry_parts, reply_id};
use super::stream_claim::{Claim, name_claims};
use crate::args::{Argv, OwnedArgv};
use crate::blocking::{NoReply, Wait};
use crate::command::{CmdResult, Command, PlanInput, PlanRule, flag};
use crate::ctx::Ctx;
use crate::error::CmdError;
use crate::keys::Event;
use crate::keyspec::{Find, KeySpec, flag as key};
use crate::notify::class;

pub static TABLE: &[Command] = &[
    row("xread", -4, xread)
        .read()
        .flags(flag::BLOCKING | flag::MOVABLE_KEYS)
        .keys(&[STREAMS_FROM_1])
        .plan(PlanRule::Custom(plan))
        .since("5.0.0")
        .history(&[("7.4.0", "Added the `+` ID."), ("8.10.0", "Added the `MAXCOUNT` and `MAXSIZE` options.")])
        .syntax(
            "[COUNT count] [MAXCOUNT maxcount=integer] [MAXSIZE maxsize=integer] [BLOCK milliseconds] \
             STREAMS key [key ...] id [id ...]",
        )
        .docs(
            "Returns the entries of streams above given ids; waits for some if asked to.",
            "For each stream mentioned: O(N) with N being the number of elements being returned, it means \
             that XREAD-ing with a fixed COUNT is O(1). Note that when the BLOCK option is used, XADD will \
             pay O(M) time in order to serve the M clients blocked on the stream getting new data.",
        ),
    row("xreadgroup", -7, xreadgroup)
        .write()
        .flags(flag::BLOCKING | flag::MOVABLE_KEYS)
        .keys(&[STREAMS_FROM_4])
        .plan(PlanRule::Custom(plan))
        .since("5.0.0")
        .history(&[
            ("8.4.0", "Added the `CLAIM` option."),
            ("8.10.0", "Added the `MAXCOUNT` and `MAXSIZE` options."),
        ])
        .syntax(
            "GROUP group consumer [COUNT count] [MAXCOUNT maxcount=integer] [MAXSIZE maxsize=integer] \
             [BLOCK milliseconds] [CLAIM min-idle-time=integer] [NOACK] STREAMS key [key ...] id [id ...]",
        )
        .docs(
            "Gives a group's consumer entries of streams, new ones or its pending ones.",
            "For each stream mentioned: O(M) with M being the number of elements returned. If M is constant \
             (e.g. always asking for the first 10 elements with COUNT), you can consider it O(1). On the \
             other side when XREADGROUP blocks, XADD will pay the O(N) time in order to serve the N clients \
             blocked on the stream getting new data.",
        ),
];

const STREAMS_FROM_1: KeySpec = streams_from(1);
const STREAMS_FROM_4: KeySpec = streams_from(4);

const fn streams_from(from: i32) -> KeySpec {
    KeySpec {
        find: Find::Range { last: -1, step: 1, limit: 2 },
        ..KeySpec::keyword("STREAMS", from, key::RO | key::ACCESS)
    }
}

pub(super) const CREATE_CONSUMER: Event = (class::STREAM, "xgroup-createconsumer");

/// The shards of the keys that the command will find: a group may be called STREAMS.
fn plan(input: &PlanInput<'_>) -> Plan {
    let (argv, store) = (input.argv, &input.engine.store);
    let Some(first) = keys_at(argv) else { return Plan::None };
    let keys = first..first + (argv.len() - first) / 2;
    Plan::of(keys.map(|at| store.shard_of(base::hash::hash(argv.at(at)))))
}

/// Where the keys behind STREAMS begin; `None` if an option in front of it is unknown.
fn keys_at(argv: &Argv<'_>) -> Option<usize> {
    let mut at = 1;
    while at < argv.len() {
        if argv.is(at, "streams") {
            return Some(at + 1);
        }
        let (_, operands) = OPTIONS.iter().find(|(word, _)| argv.is(at, word))?;
        at += 1 + operands;
    }
    None
}

/// Options and how many words each has behind it.
const OPTIONS: [(&str, usize); 7] =
    [("count", 1), ("block", 1), ("maxcount", 1), ("maxsize", 1), ("claim", 1), ("noack", 0), ("group", 2)];

/// The words of a request up to its ids.
struct Request<'a> {
    /// Entries of each stream.
    count: usize,
    /// Entries of all streams together.
    count_all: usize,
    /// Bytes of the reply.
    size: Option<usize>,
    /// Waits if there is nothing, until then; the inner `None`: for ever.
    block: Option<Option<UnixMs>>,
    reader: Option<Reader<'a>>,
    keys_at: usize,
}

/// Who reads for a group.
#[derive(Clone, Copy)]
struct Reader<'a> {
    group: &'a [u8],
    consumer: &'a [u8],
    /// Entries do not become pending.
    no_ack: bool,
    /// Entries that are pending for at least so many milliseconds come first.
    claim_idle_ms: Option<i64>,
}

/// A stream, and from where on it is read.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    key: Key<'a>,
    from: From,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    After(StreamId),
    /// `>`: what the group has not read yet.
    New,
}

impl<'a> Request<'a> {
    fn parse(ctx: &Ctx<'a, '_>, for_group: bool) -> Result<Request<'a>, CmdError> {
        let (args, mut parser, mut at) = (ctx.args, Parser::new(ctx.args, for_group), 1);
        while at < args.len() {
            if args.is(at, "streams") && at < args.last() {
                return parser.finish(at + 1);
            }
            at = parser.option(ctx, at)?;
        }
        Err(CmdError::SYNTAX)
    }

    fn stream_count(&self, args: &Argv<'_>) -> usize {
        (args.len() - self.keys_at) / 2
    }
}

/// Reads the options one by one.
struct Parser<'a> {
    args: Argv<'a>,
    for_group: bool,
    request: Request<'a>,
    has_count: bool,
    names: Option<(&'a [u8], &'a [u8])>,
    no_ack: bool,
    claim_idle_ms: Option<i64>,
}

impl<'a> Parser<'a> {
    fn new(args: Argv<'a>, for_group: bool) -> Parser<'a> {
        let request = Request {
            count: usize::MAX,
            count_all: usize::MAX,
            size: None,
            block: None,
            reader: None,
            keys_at: 0,
        };
        Parser { args, for_group, request, has_count: false, names: None, no_ack: false, claim_idle_ms: None }
    }

    /// Takes the option at `at`, and says where the next one is.
    fn option(&mut self, ctx: &Ctx, at: usize) -> Result<usize, CmdError> {
        let args = self.args;
        let known = OPTIONS.iter().find(|(word, _)| args.is(at, word));
        let &(word, operands) = known.filter(|(_, count)| at + count < args.len()).ok_or(CmdError::SYNTAX)?;
        match word {
            "count" => {
                // None, or any number below 1, is all.
                let count = args.integer(at + 1)?;
                self.has_count = count > 0;
                self.request.count = if count > 0 { count as usize } else { usize::MAX };
            }
            "block" => self.request.block = Some(ctx.timeout_ms(at + 1)?),
            "maxcount" => self.request.count_all = positive(args.at(at + 1), "MAXCOUNT")?,
            "maxsize" => self.request.size = Some(positive(args.at(at + 1), "MAXSIZE")?),
            _ if !self.for_group => return self.refuse(word),
            "noack" => self.no_ack = true,
            "claim" => {
                let idle = parse_i64(args.at(at + 1)).filter(|idle| *idle >= 0);
                let error = "ERR Invalid min-idle-time argument for XREADGROUP";
                self.claim_idle_ms = Some(idle.ok_or(CmdError::new(error))?);
            }
            _ => self.names = Some((args.at(at + 1), args.at(at + 2))),
        }
        Ok(at + 1 + operands)
    }

    /// An option of XREADGROUP in an XREAD.
    fn refuse(&self, word: &str) -> Result<usize, CmdError> {
        match word {
            "group" => Err(CmdError::new(
                "ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.",
            )),
            "noack" => Err(CmdError::new(
                "ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.",
            )),
            _ => Err(CmdError::SYNTAX),
        }
    }

    fn finish(mut self, keys_at: usize) -> Result<Request<'a>, CmdError> {
        if !(self.args.len() - keys_at).is_multiple_of(2) {
            let (name, sign) = if self.for_group { ("xreadgroup", '>') } else { ("xread", '$') };
            return Err(CmdError::new(format!(
                "ERR Unbalanced '{name}' list of streams: for each stream key an ID or '{sign}' must be specified."
            )));
        }
        if self.has_count && self.request.count_all < self.request.count {
            return Err(CmdError::new("ERR MAXCOUNT must be greater than or equal to COUNT"));
        }
        if self.for_group {
            let (group, consumer) =
                self.names.ok_or(CmdError::new("ERR Missing GROUP option for XREADGROUP"))?;
            let Parser { no_ack, claim_idle_ms, .. } = self;
            self.request.reader = Some(Reader { group, consumer, no_ack, claim_idle_ms });
        }
        self.request.keys_at = keys_at;
        Ok(self.request)
    }
}

fn positive(text: &[u8], name: &str) -> Result<usize, CmdError> {
    let number = parse_i64(text).filter(|number| *number > 0);
    number
        .map(|number| number as usize)
        .ok_or_else(|| CmdError::new(format!("ERR {name} must be a positive integer")))
}

fn xread(ctx: &mut Ctx) -> CmdResult {
    read(ctx, false)
}

fn xreadgroup(ctx: &mut Ctx) -> CmdResult {
    // What is named while it runs is all: the command itself depends on the time.
    ctx.keys.no_effect();
    read(ctx, true)
}

fn read(ctx: &mut Ctx, for_group: bool) -> CmdResult {
    let request = Request::parse(ctx, for_group)?;
    let wanted = resolve(ctx, &request)?;
    if try_serve(ctx, &request, &wanted)? {
        return Ok(());
    }
    let Some(until) = request.block else {
        ctx.reply.null_array();
        return Ok(());
    };
    let count = request.stream_count(&ctx.args);
    ctx.wait(Wait {
        keys: (request.keys_at..request.keys_at + count).collect(),
        awaits: Type::Stream,
        missing_too: for_group,
        all_keys: false,
        until,
        on_timeout: NoReply::NullArray,
        again: (!for_group && !ctx.session.serving).then(|| with_ids(&ctx.args, &wanted)),
    })?;
    if request.reader.is_some_and(|reader| reader.claim_idle_ms.is_some()) {
        ctx.wait_for_age();
    }
    Ok(())
}

/// The request with ids in place of `$` and `+`, which mean what they mean when it comes.
fn with_ids(args: &Argv<'_>, wanted: &[Wanted<'_>]) -> OwnedArgv {
    let mut argv = OwnedArgv::default();
    args.iter().take(args.len() - wanted.len()).for_each(|word| argv.push(word));
    for wanted in wanted {
        match wanted.from {
            From::After(id) => argv.push(id.text().bytes()),
            From::New => unreachable!("only a group has read something"),
        }
    }
    argv
}

/// What is read from where; the keys, types and groups are right. Keys that are not held are left out.
fn resolve<'a>(ctx: &mut Ctx<'a, '_>, request: &Request<'a>) -> Result<SmallVec<[Wanted<'a>; 4]>, CmdError> {
    let count = request.stream_count(&ctx.args);
    let mut wanted = SmallVec::new();
    for at in request.keys_at..request.keys_at + count {
        let (key, text) = (ctx.key(at), ctx.args.at(at + count));
        if !ctx.holds(key) {
            continue;
        }
        let stream = ctx.keys.read::<Stream>(key)?;
        let from = match request.reader {
            None => read_from(stream, text)?,
            Some(reader) => {
                let found = stream.and_then(|stream| stream.group(reader.group));
                found.ok_or_else(|| no_group(key.bytes, reader.group, " in XREADGROUP with GROUP option"))?;
                read_from_in_group(text)?
            }
        };
        wanted.push(Wanted { key, from });
    }
    Ok(wanted)
}

fn read_from(stream: Option<&Value>, text: &[u8]) -> Result<From, CmdError> {
    let entries = stream.map(Value::entries);
    let after = match text {
        b"$" => entries.map_or(StreamId::MIN, Entries::last_id),
        b"+" => {
            let last = entries.and_then(Entries::last_entry_id);
            last.and_then(StreamId::previous).unwrap_or(StreamId::MIN)
        }
        b">" => {
            return Err(CmdError::new(
                "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> \
                 <consumer> option.",
            ));
        }
        _ => id(text)?,
    };
    Ok(From::After(after))
}

fn read_from_in_group(text: &[u8]) -> Result<From, CmdError> {
    match text {
        b"$" | b"+" => Err(CmdError::new(format!(
            "ERR The {sign} ID is meaningless in the context of XREADGROUP: you want to read the history of \
             this consumer by specifying a proper ID, or use the > ID to get new messages. The {sign} ID \
             would just return an empty result set.",
            sign = char::from(text[0]),
        ))),
        b">" => Ok(From::New),
        _ => Ok(match id(text)? {
            StreamId::MAX => From::New,
            id => From::After(id),
        }),
    }
}

/// Answers the request if anything can be read now; false, and nothing is written, if not.
fn try_serve(ctx: &mut Ctx, request: &Request<'_>, wanted: &[Wanted<'_>]) -> Result<bool, CmdError> {
    let mut output = Output::new(ctx.reply, request);
    for &Wanted { key, from } in wanted {
        if output.entries_left == 0 {
            break;
        }
        match (request.reader, from) {
            (Some(reader), _) => serve_group(ctx, request, reader, Wanted { key, from }, &mut output)?,
            (None, From::After(after)) => serve_stream(ctx, request, key, after, &mut output)?,
            (None, From::New) => unreachable!("only a group has read something"),
        }
    }
    Ok(output.close(ctx.reply))
}

/// The reply as far as it is written, and how much more it may hold.
struct Output {
    mark: Option<Mark>,
    streams: usize,
    entries_left: usize,
    any_entry: bool,
    size: Option<usize>,
    start: usize,
}

/// A stream in the reply.
struct Section {
    /// Where the reply ended before it.
    start: usize,
    mark: Mark,
    sent: usize,
}

impl Output {
    fn new(reply: &Reply, request: &Request<'_>) -> Output {
        Output {
            mark: None,
            streams: 0,
            entries_left: request.count_all,
            any_entry: false,
            size: request.size,
            start: reply.len(),
        }
    }

    fn begin(&mut self, reply: &mut Reply, key: &[u8]) -> Section {
        if self.mark.is_none() {
            self.mark = Some(reply.defer());
        }
        let start = reply.len();
        if reply.protocol == Protocol::Resp2 {
            reply.array(2);
        }
        reply.bulk(key);
        Section { start, mark: reply.defer_array(), sent: 0 }
    }

    /// Writes an entry; false, and nothing is written, if the reply would become too large. The first one
    /// always fits.
    fn entry(&mut self, reply: &mut Reply, section: &mut Section, write: impl FnOnce(&mut Reply)) -> bool {
        if self.entries_left == 0 {
            return false;
        }
        let before = reply.len();
        write(reply);
        if self.any_entry && self.size.is_some_and(|size| reply.len() - self.start > size) {
            reply.truncate(before);
            self.entries_left = 0;
            return false;
        }
        self.any_entry = true;
        self.entries_left -= 1;
        section.sent += 1;
        true
    }

    /// Ends a stream; one without entries is left out unless it is `wanted`.
    fn end(&mut self, reply: &mut Reply, section: Section, wanted: bool) {
        if section.sent == 0 && !wanted {
            return reply.truncate(section.start);
        }
        reply.close_array(section.mark, section.sent);
        self.streams += 1;
    }

    /// Ends the reply; false if there is none.
    fn close(self, reply: &mut Reply) -> bool {
        let Some(mark) = self.mark else { return false };
        if self.streams == 0 {
            reply.truncate(self.start);
        } else if reply.protocol == Protocol::Resp2 {
            reply.close_array(mark, self.streams);
        } else {
            reply.close_map(mark, self.streams);
        }
        self.streams > 0
    }
}

fn serve_stream(
    ctx: &mut Ctx,
    request: &Request<'_>,
    key: Key<'_>,
    after: StreamId,
    output: &mut Output,
) -> CmdResult {
    let Some(stream) = ctx.keys.peek_as::<Stream>(key)? else { return Ok(()) };
    let Some(from) = after.next() else { return Ok(()) };
    if stream.entries().last_entry_id().is_none_or(|last| last < from) {
        return Ok(());
    }
    let mut section = output.begin(ctx.reply, key.bytes);
    for entry in stream.entries().range(from, StreamId::MAX).take(request.count) {
        if !output.entry(ctx.reply, &mut section, |reply| reply_entry(reply, entry)) {
            break;
        }
    }
    output.end(ctx.reply, section, false);
    Ok(())
}

/// What a consumer's turn at a stream did.
struct Turn {
    is_new_consumer: bool,
    served: bool,
    claims: Vec<Claim>,
    /// Pending entries that are no more in the stream.
    gone: Vec<StreamId>,
    /// The group's position, if it moved.
    moved: Option<(StreamId, Option<u64>)>,
    last_id: StreamId,
}

fn serve_group(
    ctx: &mut Ctx,
    request: &Request<'_>,
    reader: Reader<'_>,
    Wanted { key, from }: Wanted<'_>,
    output: &mut Output,
) -> CmdResult {
    let (now, logged) = (ctx.now().0, ctx.keys.is_logged());
    let Some(mut stream) = ctx.keys.write::<Stream>(key)? else { return Ok(()) };
    let reply = &mut *ctx.reply;
    let turn = stream.edit(|stream| {
        let (group, entries) = stream.group_mut(reader.group)?;
        let mut serving = Serving::begin(group, entries, reader, now, logged);
        match from {
            From::After(after) => serving.history(after, request.count, reply, output, key.bytes),
            From::New => serving.new_entries(request.count, reply, output, key.bytes),
        }
        Some(serving.finish())
    });
    if let Some(turn) = turn {
        announce(ctx, key, reader, &turn, now);
    }
    Ok(())
}

/// Tells and names what a turn changed.
fn announce(ctx: &mut Ctx, key: Key<'_>, reader: Reader<'_>, turn: &Turn, now: i64) {
    ctx.keys.add_dirty(u64::from(turn.is_new_consumer) + u64::from(turn.served));
    if turn.is_new_consumer {
        ctx.keys.event(key, CREATE_CONSUMER);
    }
    if !ctx.keys.is_logged() {
        return;
    }
    if turn.is_new_consumer {
        ctx.keys.effect(&[b"XGROUP", b"CREATECONSUMER", key.bytes, reader.group, reader.consumer]);
    }
    for gone in &turn.gone {
        ctx.keys.effect(&[b"XACK", key.bytes, reader.group, gone.text().bytes()]);
    }
    name_claims(ctx, key, (reader.group, reader.consumer), &turn.claims, now, turn.last_id);
    if let Some((last_id, read)) = turn.moved {
        name_group_id(ctx, key, reader.group, last_id, read);
    }
}

/// Names where a group stands.
pub(super) fn name_group_id(ctx: &mut Ctx, key: Key<'_>, group: &[u8], last_id: StreamId, read: Option<u64>) {
    let mut digits = itoa::Buffer::new();
    let read = read.map_or("-1", |read| digits.format(read as i64)).as_bytes();
    let last_id = last_id.text();
    ctx.keys.effect(&[b"XGROUP", b"SETID", key.bytes, group, last_id.bytes(), b"ENTRIESREAD", read]);
}

/// A consumer's turn at a stream.
struct Serving<'g> {
    group: GroupMut<'g>,
    entries: &'g Entries,
    reader: Reader<'g>,
    consumer: ConsumerId,
    now: i64,
    /// Claims are noted: somebody reads the log.
    logged: bool,
    turn: Turn,
}

impl<'g> Serving<'g> {
    fn begin(
        mut group: GroupMut<'g>,
        entries: &'g Entries,
        reader: Reader<'g>,
        now: i64,
        logged: bool,
    ) -> Serving<'g> {
        let created = group.create_consumer(reader.consumer, now);
        let consumer = created.or_else(|| group.consumer_named(reader.consumer));
        let consumer = consumer.expect("a consumer that cannot be made is there");
        group.consumer_mut(consumer).seen_at = now;
        let turn = Turn {
            is_new_consumer: created.is_some(),
            served: false,
            claims: Vec::new(),
            gone: Vec::new(),
            moved: None,
            last_id: group.last_id,
        };
        Serving { group, entries, reader, consumer, now, logged, turn }
    }

    fn finish(mut self) -> Turn {
        self.turn.last_id = self.group.last_id;
        self.turn
    }

    /// The consumer's own pending entries again; those that are no more in the stream without their fields.
    fn history(&mut self, after: StreamId, count: usize, reply: &mut Reply, output: &mut Output, key: &[u8]) {
        let mut section = output.begin(reply, key);
        let ids: Vec<StreamId> = match after.next() {
            Some(from) => self.group.consumer(self.consumer).pending_ids(from).take(count).collect(),
            None => Vec::new(),
        };
        for id in ids {
            let entry = self.entries.get(id);
            let sent = output.entry(reply, &mut section, |reply| match entry {
                Some(entry) => reply_entry(reply, entry),
                None => {
                    reply.array(2);
                    reply_id(reply, id);
                    reply.null_array();
                }
            });
            if !sent {
                break;
            }
            if entry.is_some() {
                let deliveries = self.group.pending(id).map_or(0, |pending| pending.deliveries);
                self.give(id, deliveries.saturating_add(1));
            }
        }
        self.turn.served = true;
        output.end(reply, section, true);
    }

    /// Entries that wait too long if they are asked for, then those the group has not read.
    fn new_entries(&mut self, count: usize, reply: &mut Reply, output: &mut Output, key: &[u8]) {
        let claimable = self.claimable(count.min(output.entries_left));
        let is_behind = self.entries.last_entry_id().is_some_and(|last| last > self.group.last_id);
        if claimable.is_empty() && !is_behind {
            return;
        }
        let mut section = output.begin(reply, key);
        for id in claimable {
            if !self.claim(id, reply, output, &mut section) {
                break;
            }
        }
        let left = count - section.sent;
        let unread = self.group.last_id.next().map(|from| self.entries.range(from, StreamId::MAX));
        for entry in unread.into_iter().flatten().take(left) {
            if !output.entry(reply, &mut section, |reply| reply_entry(reply, entry)) {
                break;
            }
            self.group.advance(self.entries, entry.id);
            self.turn.moved = Some((self.group.last_id, self.group.entries_read));
            if !self.reader.no_ack {
                self.give(entry.id, 1);
                self.group.consumer_mut(self.consumer).active_at = Some(self.now);
            }
        }
        self.turn.served = section.sent > 0;
        output.end(reply, section, false);
    }

    /// Pending entries that may be claimed; those that are no more in the stream end here.
    fn claimable(&mut self, max: usize) -> Vec<StreamId> {
        let Some(idle_ms) = self.reader.claim_idle_ms else { return Vec::new() };
        loop {
            let ids = self.group.claimable(self.now.saturating_sub(idle_ms), max);
            let gone: Vec<_> = ids.iter().copied().filter(|id| !self.entries.contains(*id)).collect();
            if gone.is_empty() {
                return ids;
            }
            for id in &gone {
                self.group.remove_pending(*id);
            }
            self.turn.gone.extend(gone);
            self.turn.served = true;
        }
    }

    /// Takes over a pending entry; with it goes how long it waited and how often it was given.
    fn claim(&mut self, id: StreamId, reply: &mut Reply, output: &mut Output, section: &mut Section) -> bool {
        let entry = self.entries.get(id).expect("those that are gone were sorted out");
        let pending = self.group.pending(id).expect("a claimable entry is pending");
        let idle_ms = self.now.saturating_sub(pending.delivered_at).max(0);
        let sent = output.entry(reply, section, |reply| {
            reply.array(4);
            reply_entry_parts(reply, entry);
            reply.integer(idle_ms);
            reply.integer(pending.deliveries as i64);
        });
        if sent {
            self.give(id, pending.deliveries.saturating_add(1).min(i64::MAX as u64));
            self.group.consumer_mut(self.consumer).active_at = Some(self.now);
        }
        sent
    }

    fn give(&mut self, id: StreamId, deliveries: u64) {
        let pending = Pending { consumer: Some(self.consumer), delivered_at: self.now, deliveries };
        self.group.set_pending(id, pending);
        if self.logged {
            self.turn.claims.push(Claim { id, deliveries });
        }
    }
}
