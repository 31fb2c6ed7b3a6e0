//! Streams: adding entries, reading ranges of them, removing them. Groups of readers are the other files'.

use base::hash::hash_with;
use ds::stream::{
    AppendError, IdempotenceLimits, NodeLimits, References, Removal, Stream as Value, StreamId, Trimmed,
};
use smallvec::SmallVec;
use store::{Key, Stream};

use super::stream_args::{
    IdList, TrimOptions, TrimRequest, TrimWords, any_id, id, ids, range_end, range_start, reply_entry,
    reply_id,
};
use crate::args::Argv;
use crate::command::{CmdResult, Command, Group, Run, command};
use crate::ctx::Ctx;
use crate::error::CmdError;
use crate::keys::Event;
use crate::keyspec::{KeySpec, flag as key};
use crate::notify::class;

pub(super) const fn row(name: &'static str, arity: i32, run: Run) -> Command {
    command(name, arity, Group::Stream, run)
}

pub static TABLE: &[Command] = &[
    row("xadd", -5, xadd)
        .write()
        .deny_oom()
        .fast()
        .keys(&[KeySpec {
            notes: "UPDATE instead of INSERT because of the optional trimming feature",
            ..KeySpec::one(1, key::RW | key::UPDATE)
        }])
        .since("5.0.0")
        .tips(&["nondeterministic_output"])
        .history(&[
            ("6.2.0", "Added the `NOMKSTREAM` option, `MINID` trimming strategy and the `LIMIT` option."),
            ("7.0.0", "Added support for the `<ms>-*` explicit ID form."),
            ("8.2.0", "Added the `KEEPREF`, `DELREF` and `ACKED` options."),
            ("8.6.0", "Added the `IDMP` and `IDMPAUTO` options."),
        ])
        .syntax(
            "key [NOMKSTREAM] [KEEPREF | DELREF | ACKED] [IDMPAUTO producer-id | IDMP producer-id \
             idempotent-id] [<MAXLEN | MINID> [= | ~] threshold [LIMIT count]] <* | id> field value \
             [field value ...]",
        )
        .docs(
            "Appends an entry to a stream; makes the stream if the key does not exist.",
            "O(1) when adding a new entry, O(N) when trimming where N being the number of entries evicted.",
        ),
    row("xcfgset", -2, xcfgset)
        .write()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::UPDATE)])
        .since("8.6.0")
        .syntax("key [IDMP-DURATION idmp-duration=integer] [IDMP-MAXSIZE idmp-maxsize=integer]")
        .docs("Sets how long and how many ids of producers a stream remembers.", "O(1)"),
    row("xdel", -3, xdel)
        .write()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::DELETE)])
        .since("5.0.0")
        .syntax("key id [id ...]")
        .docs(
            "Removes entries from a stream and counts them.",
            "O(1) for each single item to delete in the stream, regardless of the stream size.",
        ),
    row("xdelex", -5, xdelex)
        .write()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::DELETE)])
        .since("8.2.0")
        .syntax("key [KEEPREF | DELREF | ACKED] IDS numids=integer id [id ...]")
        .docs(
            "Removes entries from a stream, with regard to where they are pending.",
            "O(1) for each single item to delete in the stream, regardless of the stream size.",
        ),
    row("xidmprecord", 5, xidmprecord)
        .write()
        .deny_oom()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::UPDATE)])
        .since("8.6.2")
        .syntax("key pid iid stream-id")
        .docs("Remembers the id that a producer gave an entry; the log uses it.", "O(1)"),
    row("xlen", 2, xlen)
        .read()
        .fast()
        .keys(&[KeySpec::one(1, key::RO)])
        .since("5.0.0")
        .syntax("key")
        .docs("Counts the entries of a stream.", "O(1)"),
    row("xrange", -4, xrange)
        .read()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("5.0.0")
        .history(&[("6.2.0", "Added exclusive ranges.")])
        .syntax("key start=string end=string [COUNT count]")
        .docs(
            "Returns the entries between two ids.",
            "O(N) with N being the number of elements being returned. If N is constant (e.g. always asking \
             for the first 10 elements with COUNT), you can consider it O(1).",
        ),
    row("xrevrange", -4, xrevrange)
        .read()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("5.0.0")
        .history(&[("6.2.0", "Added exclusive ranges.")])
        .syntax("key end=string start=string [COUNT count]")
        .docs(
            "Returns the entries between two ids, the last one first.",
            "O(N) with N being the number of elements returned. If N is constant (e.g. always asking for \
             the first 10 elements with COUNT), you can consider it O(1).",
        ),
    row("xsetid", -3, xsetid)
        .write()
        .deny_oom()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::UPDATE)])
        .since("5.0.0")
        .history(&[("7.0.0", "Added the `entries_added` and `max_deleted_entry_id` arguments.")])
        .syntax("key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]")
        .docs("Sets the id above which the next entries get theirs.", "O(1)"),
    row("xtrim", -4, xtrim)
        .write()
        .keys(&[KeySpec::one(1, key::RW | key::DELETE)])
        .since("5.0.0")
        .tips(&["nondeterministic_output"])
        .history(&[
            ("6.2.0", "Added the `MINID` trimming strategy and the `LIMIT` option."),
            ("8.2.0", "Added the `KEEPREF`, `DELREF` and `ACKED` options."),
        ])
        .syntax("key <MAXLEN | MINID> [= | ~] threshold [LIMIT count] [KEEPREF | DELREF | ACKED]")
        .docs(
            "Removes entries from the beginning of a stream.",
            "O(N), with N being the number of evicted entries. Constant times are very small however, since \
             entries are organized in macro nodes containing multiple entries that can be released with a \
             single deallocation.",
        ),
];

const XADD: Event = (class::STREAM, "xadd");
const XTRIM: Event = (class::STREAM, "xtrim");
pub(super) const XDEL: Event = (class::STREAM, "xdel");

/// The id that an entry is to get.
#[derive(Clone, Copy)]
enum NewId {
    /// `*`
    Next,
    /// `ms-*`
    NextOf(u64),
    Given(StreamId),
}

impl NewId {
    fn parse(text: &[u8]) -> Result<NewId, CmdError> {
        match text.strip_suffix(b"-*") {
            _ if text == b"*" => Ok(NewId::Next),
            Some(ms) if !ms.contains(&b'-') => id(ms).map(|id| NewId::NextOf(id.ms)),
            _ => id(text).map(NewId::Given),
        }
    }

    /// The id; `None` if there is none above the last one.
    fn resolve(self, stream: &Value, now_ms: u64) -> Option<StreamId> {
        let last = stream.entries().last_id();
        match self {
            NewId::Next => stream.entries().next_id(now_ms),
            NewId::NextOf(ms) if ms == last.ms => last.next().filter(|id| id.ms == ms),
            NewId::NextOf(ms) => Some(StreamId::new(ms, 0)),
            NewId::Given(id) => Some(id),
        }
    }
}

/// Who adds an entry, and under which id of its own.
#[derive(Clone, Copy)]
struct Producer<'a> {
    name: &'a [u8],
    /// `None`: it follows from the fields and values.
    id: Option<&'a [u8]>,
}

/// The words of XADD before the fields.
struct AddOptions<'a> {
    makes_stream: bool,
    producer: Option<Producer<'a>>,
    trim: Option<TrimRequest>,
    id: NewId,
    fields_at: usize,
}

impl<'a> AddOptions<'a> {
    fn parse(ctx: &Ctx<'a, '_>) -> Result<AddOptions<'a>, CmdError> {
        let args = ctx.args;
        let (mut trim, mut makes_stream, mut producer) = (TrimOptions::default(), true, None);
        let (mut at, mut id) = (2, None);
        while at < args.len() && id.is_none() {
            if args.at(at) == b"*" {
                id = Some(NewId::Next);
            } else if let Some(behind) = trim.read(&args, at)? {
                at = behind;
                continue;
            } else if args.is(at, "nomkstream") {
                makes_stream = false;
            } else if let Some(found) = read_producer(&args, at)? {
                if producer.replace(found).is_some() {
                    return Err(CmdError::SYNTAX);
                }
                at += if found.id.is_some() { 2 } else { 1 };
            } else {
                id = Some(NewId::parse(args.at(at))?);
            }
            at += 1;
        }
        let trim = trim.finish(ctx.config.thresholds.stream_node_entries, ctx.session.origin)?;
        let words = args.len().saturating_sub(at);
        let Some(id) = id.filter(|_| words >= 2 && words % 2 == 0) else {
            return Err(CmdError::arity(ctx.name()));
        };
        match id {
            NewId::Given(StreamId::MIN) => {
                Err(CmdError::new("ERR The ID specified in XADD must be greater than 0-0"))
            }
            NewId::NextOf(_) | NewId::Given(_) if producer.is_some() => {
                Err(CmdError::new("ERR IDMP/IDMPAUTO can be used only with auto-generated IDs"))
            }
            _ => Ok(AddOptions { makes_stream, producer, trim, id, fields_at: at }),
        }
    }
}

/// `IDMP producer id` or `IDMPAUTO producer` at `at`.
fn read_producer<'a>(args: &Argv<'a>, at: usize) -> Result<Option<Producer<'a>>, CmdError> {
    let auto = args.is(at, "idmpauto");
    if !auto && !args.is(at, "idmp") {
        return Ok(None);
    }
    if at + 2 >= args.len() {
        return Err(CmdError::SYNTAX);
    }
    let producer = Producer { name: args.at(at + 1), id: (!auto).then(|| args.at(at + 2)) };
    if producer.name.is_empty() || producer.id.is_some_and(<[u8]>::is_empty) {
        return Err(CmdError::new("ERR a producer's ID and an idempotent ID must not be empty"));
    }
    Ok(Some(producer))
}

/// What became of an XADD.
enum Outcome {
    Added {
        id: StreamId,
        trimmed: Option<(TrimRequest, Trimmed)>,
        len: u64,
    },
    /// The producer has added it before.
    Known(StreamId),
}

fn xadd(ctx: &mut Ctx) -> CmdResult {
    let options = AddOptions::parse(ctx)?;
    let (key, args, now) = (ctx.key(1), ctx.args, ctx.now().0);
    // Before a stream is made that would stay empty.
    if args.byte_len() > ENTRY_LEN_MAX {
        return Err(CmdError::new("ERR Elements are too large to be stored"));
    }
    let mut content_id = [0; 16];
    let producer = options.producer.map(|producer| {
        let id = producer.id.unwrap_or_else(|| {
            content_id = content_hash(args.from(options.fields_at));
            &content_id
        });
        (producer.name, id)
    });
    let stream = if options.makes_stream {
        Some(ctx.keys.write_or_create::<Stream>(key)?)
    } else {
        ctx.keys.write::<Stream>(key)?
    };
    let Some(mut stream) = stream else {
        ctx.reply.null();
        return Ok(());
    };
    let limits = stream.node_limits();
    let outcome = stream.edit(|stream| add(stream, &options, producer, &args, limits, now))?;
    match outcome {
        Outcome::Known(id) => {
            ctx.keys.no_effect();
            reply_id(ctx.reply, id);
        }
        Outcome::Added { id, trimmed, len } => {
            reply_id(ctx.reply, id);
            ctx.keys.changed(key, XADD);
            if trimmed.is_some_and(|(_, done)| done.removed > 0) {
                ctx.keys.event(key, XTRIM);
            }
            name_xadd(
                ctx,
                &options,
                id,
                producer,
                trimmed.map(|(request, done)| TrimWords::new(request, done, len)),
            );
        }
    }
    Ok(())
}

fn add(
    stream: &mut Value,
    options: &AddOptions<'_>,
    producer: Option<(&[u8], &[u8])>,
    args: &Argv<'_>,
    limits: NodeLimits,
    now: i64,
) -> Result<Outcome, CmdError> {
    if let Some((name, own_id)) = producer {
        let producers = stream.producers_mut(IdempotenceLimits::default());
        if let Some(id) = producers.find(name, own_id, now) {
            producers.count_duplicate();
            return Ok(Outcome::Known(id));
        }
    }
    if stream.entries().last_id() == StreamId::MAX {
        return Err(CmdError::new(
            "ERR The stream has exhausted the last possible ID, unable to add more items",
        ));
    }
    let id = options.id.resolve(stream, now.max(0) as u64).ok_or(NOT_ABOVE)?;
    stream.append(id, args.from(options.fields_at), limits).map_err(|error| match error {
        AppendError::NotAbove => NOT_ABOVE,
        AppendError::TooLarge => CmdError::new("ERR Elements are too large to be stored"),
    })?;
    if let Some((name, own_id)) = producer {
        stream.producers_mut(IdempotenceLimits::default()).record(name, own_id, id, now);
    }
    let trimmed = options.trim.map(|request| (request, stream.trim(request.trim, request.references)));
    Ok(Outcome::Added { id, trimmed, len: stream.entries().len() })
}

/// Names the XADD that does the same again, unless the command itself does.
fn name_xadd(
    ctx: &mut Ctx,
    options: &AddOptions<'_>,
    id: StreamId,
    producer: Option<(&[u8], &[u8])>,
    trim: Option<TrimWords>,
) {
    let is_itself = matches!(options.id, NewId::Given(_)) && trim.is_none();
    if is_itself || !ctx.keys.is_logged() {
        return;
    }
    let (key, id) = (ctx.args.at(1), id.text());
    let mut words: Words = SmallVec::from_slice(&[b"XADD".as_slice(), key]);
    // A producer's id is recorded before the trim, which may remove the entry at once.
    let trims_here = producer.is_none();
    if let Some(trim) = trim.as_ref().filter(|_| trims_here) {
        words.extend(trim.words());
    }
    words.push(id.bytes());
    words.extend(ctx.args.from(options.fields_at));
    ctx.keys.effect(&words);
    if let Some((name, own_id)) = producer {
        ctx.keys.effect(&[b"XIDMPRECORD", key, name, own_id, id.bytes()]);
        if let Some(trim) = &trim {
            name_xtrim(ctx, key, trim);
        }
    }
}

type Words<'a> = SmallVec<[&'a [u8]; 16]>;

fn name_xtrim(ctx: &mut Ctx, key: &[u8], trim: &TrimWords) {
    let mut words: Words = SmallVec::from_slice(&[b"XTRIM".as_slice(), key]);
    words.extend(trim.words());
    ctx.keys.effect(&words);
}

/// The id of an entry that goes by its content: the same fields and values in the same order have the same.
fn content_hash<'a>(parts: impl Iterator<Item = &'a [u8]>) -> [u8; 16] {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(part);
    }
    let halves = CONTENT_SEEDS.map(|(first, second)| hash_with(first, second, &bytes).to_le_bytes());
    std::array::from_fn(|at| halves[at / 8][at % 8])
}

/// Fixed for ever: files and logs hold what comes of them.
const CONTENT_SEEDS: [(u64, u64); 2] =
    [(0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344), (0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89)];

const NOT_ABOVE: CmdError =
    CmdError::fixed("ERR The ID specified in XADD is equal or smaller than the target stream top item");
/// As in `ds`: no node becomes larger.
const ENTRY_LEN_MAX: usize = 1 << 30;

fn xlen(ctx: &mut Ctx) -> CmdResult {
    let key = ctx.key(1);
    let len = ctx.keys.read::<Stream>(key)?.map_or(0, Value::len);
    ctx.reply.integer(len as i64);
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Forward,
    Back,
}

fn xrange(ctx: &mut Ctx) -> CmdResult {
    reply_range(ctx, 2, 3, Direction::Forward)
}

fn xrevrange(ctx: &mut Ctx) -> CmdResult {
    reply_range(ctx, 3, 2, Direction::Back)
}

fn reply_range(ctx: &mut Ctx, start: usize, end: usize, direction: Direction) -> CmdResult {
    let (from, to) = (range_start(ctx.args.at(start))?, range_end(ctx.args.at(end))?);
    let count = range_count(&ctx.args)?;
    let key = ctx.key(1);
    let Some(stream) = ctx.keys.read::<Stream>(key)? else {
        ctx.reply.array(0);
        return Ok(());
    };
    if count == 0 {
        ctx.reply.null_array();
        return Ok(());
    }
    let range = stream.entries().range(from, to);
    let (mark, mut sent) = (ctx.reply.defer_array(), 0);
    let mut send = |entry| {
        reply_entry(ctx.reply, entry);
        sent += 1;
    };
    match direction {
        Direction::Forward => range.take(count).for_each(&mut send),
        Direction::Back => range.rev().take(count).for_each(&mut send),
    }
    ctx.reply.close_array(mark, sent);
    Ok(())
}

/// COUNT, of which the last counts; below 0 it is 0.
fn range_count(args: &Argv<'_>) -> Result<usize, CmdError> {
    let mut count = usize::MAX;
    for at in (4..args.len()).step_by(2) {
        if !args.is(at, "count") {
            return Err(CmdError::SYNTAX);
        }
        count = args.integer(args.operand(at)?)?.max(0) as usize;
    }
    Ok(count)
}

fn xdel(ctx: &mut Ctx) -> CmdResult {
    let (key, args) = (ctx.key(1), ctx.args);
    let Some(mut stream) = ctx.keys.write::<Stream>(key)? else {
        ctx.reply.integer(0);
        return Ok(());
    };
    let ids = ids(args.from(2))?;
    let removed = stream.edit(|stream| stream.remove_each(&ids));
    if removed > 0 {
        ctx.keys.changed_by(key, XDEL, removed);
    }
    ctx.reply.integer(removed as i64);
    Ok(())
}

fn xdelex(ctx: &mut Ctx) -> CmdResult {
    let list = IdList::parse(&ctx.args, 2)?;
    let key = ctx.key(1);
    let mut stream = ctx.keys.write::<Stream>(key)?;
    let (mut removed, mut forgotten) = (0, 0);
    ctx.reply.array(list.ids.len());
    for id in list.ids {
        let removal = stream.as_mut().map_or(Removal::Absent, |stream| {
            stream.edit(|stream| {
                let pending = pending_count(stream, id, list.references);
                let removal = stream.remove(id, list.references);
                forgotten += pending;
                removal
            })
        });
        removed += u64::from(removal == Removal::Removed);
        ctx.reply.integer(removal_code(removal));
    }
    if removed > 0 {
        ctx.keys.changed_by(key, XDEL, removed);
    }
    ctx.keys.add_dirty(forgotten);
    Ok(())
}

/// In how many groups an entry is pending, if that ends with it.
fn pending_count(stream: &Value, id: StreamId, references: References) -> u64 {
    match references {
        References::Drop => stream.groups().filter(|(_, group)| group.pending(id).is_some()).count() as u64,
        _ => 0,
    }
}

pub(super) fn removal_code(removal: Removal) -> i64 {
    match removal {
        Removal::Absent => -1,
        Removal::Removed => 1,
        Removal::Referenced => 2,
    }
}

fn xtrim(ctx: &mut Ctx) -> CmdResult {
    let (args, mut options, mut at) = (ctx.args, TrimOptions::default(), 2);
    while at < args.len() {
        at = options.read(&args, at)?.ok_or(CmdError::SYNTAX)?;
    }
    let request = options.finish_required(ctx.config.thresholds.stream_node_entries, ctx.session.origin)?;
    let key = ctx.key(1);
    let Some(mut stream) = ctx.keys.write::<Stream>(key)? else {
        ctx.reply.integer(0);
        return Ok(());
    };
    let (done, len) =
        stream.edit(|stream| (stream.trim(request.trim, request.references), stream.entries().len()));
    if done.removed > 0 {
        ctx.keys.changed_by(key, XTRIM, done.removed);
        name_xtrim(ctx, key.bytes, &TrimWords::new(request, done, len));
    }
    ctx.reply.integer(done.removed as i64);
    Ok(())
}

/// What XSETID sets beside the last id.
#[derive(Default)]
struct SetIdOptions {
    added: Option<u64>,
    max_deleted_id: StreamId,
}

impl SetIdOptions {
    fn parse(args: &Argv<'_>, last_id: StreamId) -> Result<SetIdOptions, CmdError> {
        let (mut options, mut at) = (SetIdOptions::default(), 3);
        while at < args.len() {
            let operand = args.operand(at)?;
            if args.is(at, "entriesadded") {
                let added = u64::try_from(args.integer(operand)?);
                options.added = Some(added.map_err(|_| CmdError::new("ERR entries_added must be positive"))?);
            } else if args.is(at, "maxdeletedid") {
                options.max_deleted_id = id(args.at(operand))?;
                if last_id < options.max_deleted_id {
                    return Err(CmdError::new(
                        "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
                    ));
                }
            } else {
                return Err(CmdError::SYNTAX);
            }
            at = operand + 1;
        }
        Ok(options)
    }
}

fn xsetid(ctx: &mut Ctx) -> CmdResult {
    let last_id = id(ctx.args.at(2))?;
    let options = SetIdOptions::parse(&ctx.args, last_id)?;
    let key = ctx.key(1);
    let mut stream = ctx.keys.write::<Stream>(key)?.ok_or(CmdError::NO_SUCH_KEY)?;
    let entries = stream.view().entries();
    if last_id < entries.max_deleted_id() {
        return Err(CmdError::new(
            "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id",
        ));
    }
    if entries.last_entry_id().is_some_and(|top| last_id < top) {
        return Err(CmdError::new(
            "ERR The ID specified in XSETID is smaller than the target stream top item",
        ));
    }
    if !entries.is_empty() && options.added.is_some_and(|added| added < entries.len()) {
        return Err(CmdError::new(
            "ERR The entries_added specified in XSETID is smaller than the target stream length",
        ));
    }
    stream.edit(|stream| {
        stream.set_last_id(last_id);
        if let Some(added) = options.added {
            stream.set_added(added);
        }
        if options.max_deleted_id != StreamId::MIN {
            stream.set_max_deleted_id(options.max_deleted_id);
        }
    });
    announce(ctx, key, (class::STREAM, "xsetid"));
    ctx.reply.ok();
    Ok(())
}

/// A change that leaves the entries alone: it counts and is told, but watchers do not mind.
pub(super) fn announce(ctx: &mut Ctx, key: Key<'_>, event: Event) {
    ctx.keys.add_dirty(1);
    ctx.keys.event(key, event);
}

fn xcfgset(ctx: &mut Ctx) -> CmdResult {
    let (args, mut duration, mut size, mut at) = (ctx.args, None, None, 2);
    while at < args.len() {
        let operand = args.operand(at)?;
        let (setting, max, error) = if args.is(at, "idmp-duration") {
            (&mut duration, IdempotenceLimits::DURATION_S_MAX, BAD_DURATION)
        } else if args.is(at, "idmp-maxsize") {
            (&mut size, IdempotenceLimits::SIZE_MAX, BAD_SIZE)
        } else {
            return Err(CmdError::SYNTAX);
        };
        let value = u64::try_from(args.integer(operand)?).ok().filter(|value| (1..=max).contains(value));
        *setting = Some(value.ok_or(CmdError::new(error))?);
        at = operand + 1;
    }
    if duration.or(size).is_none() {
        return Err(CmdError::SYNTAX);
    }
    let key = ctx.key(1);
    let mut stream = ctx.keys.write::<Stream>(key)?.ok_or(CmdError::NO_SUCH_KEY)?;
    stream.edit(|stream| {
        let producers = stream.producers_mut(IdempotenceLimits::default());
        let old = producers.limits();
        producers.set_limits(IdempotenceLimits {
            duration_s: duration.unwrap_or(old.duration_s),
            max_size: size.unwrap_or(old.max_size),
        });
    });
    ctx.keys.add_dirty(1);
    ctx.reply.ok();
    Ok(())
}

const BAD_DURATION: &str = "ERR IDMP-DURATION must be between 1 and 86400 seconds";
const BAD_SIZE: &str = "ERR IDMP-MAXSIZE must be between 1 and 10000 entries";

fn xidmprecord(ctx: &mut Ctx) -> CmdResult {
    let (key, args, now) = (ctx.key(1), ctx.args, ctx.now().0);
    let (producer, own_id) = (args.at(2), args.at(3));
    let entry = any_id(args.at(4), 0)?;
    let mut stream = ctx.keys.write::<Stream>(key)?.ok_or(CmdError::NO_SUCH_KEY)?;
    if producer.is_empty() || own_id.is_empty() {
        return Err(CmdError::new("ERR a producer's ID and an idempotent ID must not be empty"));
    }
    if !stream.view().entries().contains(entry) {
        return Err(CmdError::new("ERR the stream has no entry of this ID"));
    }
    let known = stream.view().producers().and_then(|known| known.find(producer, own_id, now));
    if known.is_some_and(|known| known != entry) {
        return Err(CmdError::new("ERR the idempotent ID belongs to another entry"));
    }
    if known.is_none() {
        stream.edit(|stream| {
            stream.producers_mut(IdempotenceLimits::default()).record(producer, own_id, entry, now);
        });
        ctx.keys.add_dirty(1);
    }
    ctx.reply.ok();
    Ok(())
}
