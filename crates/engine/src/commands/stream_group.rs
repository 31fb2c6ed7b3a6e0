//! Groups that read a stream: making and removing them and their consumers, and what becomes of the entries
//! that consumers were given.

use base::num::parse_i64;
use ds::stream::{Group, GroupMut, Pending, Removal, StreamId};
use store::{Key, Stream};

use super::stream::{XDEL, announce, removal_code, row};
use super::stream_args::{
    IdList, Ids, any_id, id, id_block, ids, no_group, range_end, range_start, reply_id,
};
use super::stream_read::CREATE_CONSUMER;
use crate::args::Argv;
use crate::command::{CmdResult, Command, Group as Family, container, flag};
use crate::ctx::Ctx;
use crate::error::CmdError;
use crate::keyspec::{KeySpec, flag as key};
use crate::notify::class;

pub static TABLE: &[Command] = &[
    row("xack", -4, xack)
        .write()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::UPDATE)])
        .since("5.0.0")
        .syntax("key group id [id ...]")
        .docs(
            "Ends that entries are pending in a group, and counts those that were.",
            "O(1) for each message ID processed.",
        ),
    row("xackdel", -6, xackdel)
        .write()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::UPDATE | key::DELETE)])
        .since("8.2.0")
        .syntax("key group [KEEPREF | DELREF | ACKED] IDS numids=integer id [id ...]")
        .docs(
            "Ends that entries are pending in a group, and removes them from the stream.",
            "O(1) for each entry ID processed.",
        ),
    container("xgroup", Family::Stream, XGROUP)
        .since("5.0.0")
        .docs("Commands for groups that read a stream.", "Depends on subcommand."),
    row("xnack", -7, xnack)
        .write()
        .fast()
        .keys(&[KeySpec::one(1, key::RW | key::UPDATE)])
        .since("8.8.0")
        .syntax(
            "key group <SILENT | FAIL | FATAL> IDS numids=integer id [id ...] [RETRYCOUNT count] [FORCE]",
        )
        .docs(
            "Gives pending entries back to their group, for any consumer to take.",
            "O(1) for each message ID processed.",
        ),
    row("xpending", -3, xpending)
        .read()
        .keys(&[KeySpec::one(1, key::RO | key::ACCESS)])
        .since("5.0.0")
        .tips(&["nondeterministic_output"])
        .history(&[("6.2.0", "Added the `IDLE` option and exclusive range intervals.")])
        .syntax("key group [[IDLE min-idle-time=integer] start=string end=string count [consumer]]")
        .docs(
            "Returns what is pending in a group.",
            "O(N) with N being the number of elements returned, so asking for a small fixed number of entries \
             per call is O(1). O(M), where M is the total number of entries scanned when used with the IDLE \
             filter. When the command returns just the summary and the list of consumers is small, it runs in \
             O(1) time; otherwise, an additional O(N) time for iterating every consumer.",
        ),
];

const XGROUP: &[Command] = &[
    row("create", -5, create)
        .write()
        .deny_oom()
        .keys(&[KeySpec::one(2, key::RW | key::INSERT)])
        .since("5.0.0")
        .history(&[("7.0.0", "Added the `entries_read` named argument.")])
        .syntax("key groupname <id | $> [MKSTREAM] [ENTRIESREAD entries-read]")
        .docs("Makes a group.", "O(1)"),
    row("createconsumer", 5, createconsumer)
        .write()
        .deny_oom()
        .keys(&[KeySpec::one(2, key::RW | key::INSERT)])
        .since("6.2.0")
        .syntax("key group consumer")
        .docs("Makes a consumer in a group.", "O(1)"),
    row("delconsumer", 5, delconsumer)
        .write()
        .keys(&[KeySpec::one(2, key::RW | key::DELETE)])
        .since("5.0.0")
        .syntax("key group consumer")
        .docs("Removes a consumer with its pending entries.", "O(1)"),
    row("destroy", 4, destroy)
        .write()
        .keys(&[KeySpec::one(2, key::RW | key::DELETE)])
        .since("5.0.0")
        .syntax("key group")
        .docs(
            "Removes a group.",
            "O(N) where N is the number of entries in the group's pending entries list (PEL).",
        ),
    row("help", 2, help)
        .flags(flag::LOADING | flag::STALE)
        .since("5.0.0")
        .docs("Lists the subcommands.", "O(1)"),
    row("setid", -5, setid)
        .write()
        .keys(&[KeySpec::one(2, key::RW | key::UPDATE)])
        .since("5.0.0")
        .history(&[("7.0.0", "Added the optional `entries_read` argument.")])
        .syntax("key groupname <id | $> [ENTRIESREAD entries-read]")
        .docs("Sets how far a group has read.", "O(1)"),
];

fn help(ctx: &mut Ctx) -> CmdResult {
    ctx.help(
        "XGROUP",
        &[
            "CREATE <key> <groupname> <id|$> [option]",
            "    Create a new consumer group. Options are:",
            "    * MKSTREAM",
            "      Create the empty stream if it does not exist.",
            "    * ENTRIESREAD entries_read",
            "      Set the group's entries_read counter (internal use).",
            "CREATECONSUMER <key> <groupname> <consumer>",
            "    Create a new consumer in the specified group.",
            "DELCONSUMER <key> <groupname> <consumer>",
            "    Remove the specified consumer.",
            "DESTROY <key> <groupname>",
            "    Remove the specified group.",
            "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
            "    Set the current group ID and entries_read counter.",
        ],
    );
    Ok(())
}

/// The words behind the id of XGROUP CREATE and SETID.
#[derive(Default)]
struct GroupOptions {
    makes_stream: bool,
    entries_read: Option<u64>,
}

impl GroupOptions {
    fn parse(ctx: &Ctx, may_make: bool) -> Result<GroupOptions, CmdError> {
        let (args, mut options, mut at) = (ctx.args, GroupOptions::default(), 5);
        while at < args.len() {
            if may_make && args.is(at, "mkstream") {
                options.makes_stream = true;
                at += 1;
            } else if args.is(at, "entriesread") && at < args.last() {
                options.entries_read = match args.integer(at + 1)? {
                    -1 => None,
                    read => Some(
                        u64::try_from(read)
                            .map_err(|_| CmdError::new("ERR value for ENTRIESREAD must be positive or -1"))?,
                    ),
                };
                at += 2;
            } else {
                return Err(ctx.bad_subcommand("XGROUP"));
            }
        }
        Ok(options)
    }
}

fn create(ctx: &mut Ctx) -> CmdResult {
    let options = GroupOptions::parse(ctx, true)?;
    let (key, args) = (ctx.key(2), ctx.args);
    let found = ctx.keys.write::<Stream>(key)?;
    if found.is_none() && !options.makes_stream {
        return Err(CmdError::fixed(NO_STREAM));
    }
    // CREATE takes eight words at most: options said twice are too many.
    if args.len() > 8 {
        return Err(ctx.bad_subcommand("XGROUP"));
    }
    let last_id = match (args.at(4), found.as_ref()) {
        (b"$", stream) => stream.map_or(StreamId::MIN, |stream| stream.view().entries().last_id()),
        (text, _) => id(text)?,
    };
    let is_new = found.is_none();
    let mut stream = ctx.keys.write_or_create::<Stream>(key)?;
    let created =
        stream.edit(|stream| stream.create_group(args.at(3), last_id, options.entries_read).is_some());
    if is_new {
        ctx.keys.touch(key);
    }
    if !created {
        return Err(CmdError::new("BUSYGROUP Consumer Group name already exists"));
    }
    announce(ctx, key, (class::STREAM, "xgroup-create"));
    ctx.reply.ok();
    Ok(())
}

const NO_STREAM: &str = "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want \
                         to use the MKSTREAM option to create an empty stream automatically.";

/// Changes the group that XGROUP's words name; the stream and the group must be there.
fn edit_group<R>(ctx: &mut Ctx, change: impl FnOnce(&mut GroupMut<'_>) -> R) -> Result<R, CmdError> {
    let (key, name) = (ctx.key(2), ctx.args.at(3));
    let mut stream = ctx.keys.write::<Stream>(key)?.ok_or(CmdError::fixed(NO_STREAM))?;
    if stream.view().group(name).is_none() {
        return Err(no_group_of(key, name));
    }
    Ok(stream.edit(|stream| change(&mut stream.group_mut(name).expect("it was found above").0)))
}

/// `NOGROUP No such consumer group 'g' for key name 'k'`
pub(super) fn no_group_of(key: Key<'_>, group: &[u8]) -> CmdError {
    let parts: [&[u8]; 5] =
        [b"NOGROUP No such consumer group '", group, b"' for key name '", key.bytes, b"'"];
    CmdError::of_bytes(parts.concat())
}

fn setid(ctx: &mut Ctx) -> CmdResult {
    let options = GroupOptions::parse(ctx, false)?;
    let (key, text) = (ctx.key(2), ctx.args.at(4));
    // Checks in Redis' order: the stream and the group, how many words there are, the id.
    edit_group(ctx, |_| ())?;
    if !matches!(ctx.args.len(), 5 | 7) {
        return Err(ctx.bad_subcommand("XGROUP"));
    }
    let last_id = match text {
        b"$" => {
            let stream = ctx.keys.peek_as::<Stream>(key)?;
            stream.map_or(StreamId::MIN, |stream| stream.entries().last_id())
        }
        _ => any_id(text, 0)?,
    };
    edit_group(ctx, |group| {
        group.last_id = last_id;
        group.entries_read = options.entries_read;
    })?;
    announce(ctx, key, (class::STREAM, "xgroup-setid"));
    ctx.reply.ok();
    Ok(())
}

fn destroy(ctx: &mut Ctx) -> CmdResult {
    let (key, name) = (ctx.key(2), ctx.args.at(3));
    let mut stream = ctx.keys.write::<Stream>(key)?.ok_or(CmdError::fixed(NO_STREAM))?;
    let removed = stream.view().group(name).is_some() && stream.edit(|stream| stream.remove_group(name));
    if removed {
        announce(ctx, key, (class::STREAM, "xgroup-destroy"));
        // Who waits for the group has to hear that it is gone.
        ctx.keys.mark_ready(key);
    }
    ctx.reply.integer(i64::from(removed));
    Ok(())
}

fn createconsumer(ctx: &mut Ctx) -> CmdResult {
    let (key, name, now) = (ctx.key(2), ctx.args.at(4), ctx.now().0);
    let created = edit_group(ctx, |group| group.create_consumer(name, now).is_some())?;
    if created {
        announce(ctx, key, CREATE_CONSUMER);
    }
    ctx.reply.integer(i64::from(created));
    Ok(())
}

fn delconsumer(ctx: &mut Ctx) -> CmdResult {
    let (key, name) = (ctx.key(2), ctx.args.at(4));
    let removed = edit_group(ctx, |group| {
        let consumer = group.consumer_named(name)?;
        Some(group.remove_consumer(consumer))
    })?;
    if removed.is_some() {
        announce(ctx, key, (class::STREAM, "xgroup-delconsumer"));
    }
    ctx.reply.integer(removed.unwrap_or(0) as i64);
    Ok(())
}

fn xack(ctx: &mut Ctx) -> CmdResult {
    let (key, args) = (ctx.key(1), ctx.args);
    let mut stream = ctx.keys.write::<Stream>(key)?;
    let has_group = stream.as_ref().is_some_and(|stream| stream.view().group(args.at(2)).is_some());
    let Some(stream) = stream.as_mut().filter(|_| has_group) else {
        ctx.reply.integer(0);
        return Ok(());
    };
    let ids = ids(args.from(3))?;
    let acknowledged = stream.edit(|stream| {
        let (mut group, _) = stream.group_mut(args.at(2)).expect("it was found above");
        ids.iter().filter(|id| group.remove_pending(**id).is_some()).count()
    });
    ctx.keys.add_dirty(acknowledged as u64);
    ctx.reply.integer(acknowledged as i64);
    Ok(())
}

fn xackdel(ctx: &mut Ctx) -> CmdResult {
    let list = IdList::parse(&ctx.args, 3)?;
    let (key, name) = (ctx.key(1), ctx.args.at(2));
    let mut stream = ctx.keys.write::<Stream>(key)?;
    let has_group = stream.as_ref().is_some_and(|stream| stream.view().group(name).is_some());
    ctx.reply.array(list.ids.len());
    let Some(stream) = stream.as_mut().filter(|_| has_group) else {
        list.ids.iter().for_each(|_| ctx.reply.integer(removal_code(Removal::Absent)));
        return Ok(());
    };
    let (mut acknowledged, mut removed) = (0, 0);
    for id in list.ids {
        let removal = stream.edit(|stream| {
            let (mut group, _) = stream.group_mut(name).expect("it was found above");
            group.remove_pending(id)?;
            Some(stream.remove(id, list.references))
        });
        acknowledged += u64::from(removal.is_some());
        removed += u64::from(removal == Some(Removal::Removed));
        // An entry that was pending and is gone already counts as removed.
        ctx.reply.integer(match removal {
            None => removal_code(Removal::Absent),
            Some(Removal::Referenced) => removal_code(Removal::Referenced),
            Some(_) => removal_code(Removal::Removed),
        });
    }
    ctx.keys.add_dirty(acknowledged);
    if removed > 0 {
        ctx.keys.changed_by(key, XDEL, removed);
    }
    Ok(())
}

/// What giving an entry back does to the count of its deliveries.
#[derive(Clone, Copy)]
enum Fault {
    /// It was not tried at all.
    None,
    Unknown,
    /// It must not be tried again.
    Entry,
}

/// XNACK's words.
struct ReturnOptions {
    fault: Fault,
    ids: Ids,
    deliveries: Option<u64>,
    force: bool,
}

impl ReturnOptions {
    fn parse(args: &Argv<'_>) -> Result<ReturnOptions, CmdError> {
        let known = FAULTS.iter().find(|(word, _)| args.is(3, word));
        let (_, fault) = known.ok_or(CmdError::new("ERR mode must be SILENT, FAIL, or FATAL"))?;
        let (mut found, mut deliveries, mut force, mut at) = (None, None, false, 4);
        while at < args.len() {
            if args.is(at, "ids") && found.is_none() {
                let (ids, behind) = id_block(args, at)?;
                found = Some(ids);
                at = behind;
            } else if args.is(at, "retrycount") && at < args.last() {
                let count = parse_i64(args.at(at + 1)).and_then(|count| u64::try_from(count).ok());
                deliveries =
                    Some(count.ok_or(CmdError::new("ERR RETRYCOUNT must be a non-negative integer"))?);
                at += 2;
            } else if args.is(at, "force") {
                force = true;
                at += 1;
            } else {
                return Err(CmdError::SYNTAX);
            }
        }
        Ok(ReturnOptions { fault: *fault, ids: found.ok_or(CmdError::SYNTAX)?, deliveries, force })
    }

    /// How often an entry then has been given that was given so often; `None`: it was not pending.
    fn deliveries(&self, before: Option<u64>) -> u64 {
        match (self.deliveries, self.fault) {
            (Some(count), _) => count,
            (None, Fault::Entry) => i64::MAX as u64,
            (None, Fault::None) => before.unwrap_or(0).saturating_sub(1),
            (None, Fault::Unknown) => before.unwrap_or(0),
        }
    }
}

const FAULTS: [(&str, Fault); 3] =
    [("silent", Fault::None), ("fail", Fault::Unknown), ("fatal", Fault::Entry)];

fn xnack(ctx: &mut Ctx) -> CmdResult {
    let options = ReturnOptions::parse(&ctx.args)?;
    let (key, name) = (ctx.key(1), ctx.args.at(2));
    let mut stream = ctx.keys.write::<Stream>(key)?;
    let has_group = stream.as_ref().is_some_and(|stream| stream.view().group(name).is_some());
    let Some(stream) = stream.as_mut().filter(|_| has_group) else {
        return Err(no_group(key.bytes, name, ""));
    };
    let returned = stream.edit(|stream| {
        let (mut group, entries) = stream.group_mut(name).expect("it was found above");
        let mut returned = 0;
        for &id in &options.ids {
            let before = group.pending(id).map(|pending| pending.deliveries);
            if before.is_some() || (options.force && entries.contains(id)) {
                let deliveries = options.deliveries(before);
                group.set_pending(id, Pending { consumer: None, delivered_at: 0, deliveries });
                returned += 1;
            }
        }
        returned
    });
    ctx.keys.add_dirty(returned);
    if returned > 0 {
        ctx.keys.mark_ready(key);
    }
    ctx.reply.integer(returned as i64);
    Ok(())
}

/// XPENDING's words behind the group.
struct Filter<'a> {
    min_idle_ms: i64,
    from: StreamId,
    to: StreamId,
    count: usize,
    consumer: Option<&'a [u8]>,
}

impl<'a> Filter<'a> {
    fn parse(args: &Argv<'a>) -> Result<Filter<'a>, CmdError> {
        if !(6..=9).contains(&args.len()) {
            return Err(CmdError::SYNTAX);
        }
        let (mut min_idle_ms, mut at) = (0, 3);
        if args.is(3, "idle") {
            min_idle_ms = args.integer(4)?;
            if args.len() < 8 {
                return Err(CmdError::SYNTAX);
            }
            at = 5;
        }
        let count = args.integer(at + 2)?.max(0) as usize;
        let (from, to) = (range_start(args.at(at))?, range_end(args.at(at + 1))?);
        let consumer = (at + 3 < args.len()).then(|| args.at(at + 3));
        Ok(Filter { min_idle_ms, from, to, count, consumer })
    }
}

fn xpending(ctx: &mut Ctx) -> CmdResult {
    let filter = match ctx.args.len() {
        3 => None,
        _ => Some(Filter::parse(&ctx.args)?),
    };
    let (key, name, now) = (ctx.key(1), ctx.args.at(2), ctx.now().0);
    let stream = ctx.keys.read::<Stream>(key)?;
    let group = stream.and_then(|stream| stream.group(name)).ok_or_else(|| no_group(key.bytes, name, ""))?;
    match filter {
        None => reply_summary(ctx, name),
        Some(filter) => {
            let (mark, mut sent) = (ctx.reply.defer_array(), 0);
            each_pending(group, &filter, now, |id, pending| {
                let owner = pending.consumer.map_or(&b""[..], |owner| group.consumer(owner).name());
                // An entry that was given back waits since no time in particular.
                let idle = pending.consumer.map(|_| now.wrapping_sub(pending.delivered_at).max(0));
                ctx.reply.array(4);
                reply_id(ctx.reply, id);
                ctx.reply.bulk(owner);
                ctx.reply.integer(idle.unwrap_or(-1));
                ctx.reply.integer(pending.deliveries as i64);
                sent += 1;
            });
            ctx.reply.close_array(mark, sent);
            Ok(())
        }
    }
}

fn each_pending(group: &Group, filter: &Filter<'_>, now: i64, mut visit: impl FnMut(StreamId, Pending)) {
    let passes = |(_, pending): &(StreamId, Pending)| {
        filter.min_idle_ms == 0 || now.wrapping_sub(pending.delivered_at) >= filter.min_idle_ms
    };
    let Some(name) = filter.consumer else {
        let all = group.pending_from(filter.from).take_while(|(id, _)| *id <= filter.to);
        return all.filter(passes).take(filter.count).for_each(|(id, pending)| visit(id, pending));
    };
    let Some(consumer) = group.consumer_named(name) else { return };
    let ids = group.consumer(consumer).pending_ids(filter.from).take_while(|id| *id <= filter.to);
    let own = ids.filter_map(|id| Some((id, group.pending(id)?)));
    own.filter(passes).take(filter.count).for_each(|(id, pending)| visit(id, pending));
}

/// How many entries are pending, from which id to which, and how many each consumer has.
fn reply_summary(ctx: &mut Ctx, name: &[u8]) -> CmdResult {
    let key = ctx.key(1);
    let stream = ctx.keys.peek_as::<Stream>(key)?;
    let group = stream.and_then(|stream| stream.group(name)).expect("the caller found it");
    let reply = &mut *ctx.reply;
    reply.array(4);
    reply.integer(group.pending_len() as i64);
    let mut ids = group.pending_from(StreamId::MIN).map(|(id, _)| id);
    let Some(first) = ids.next() else {
        reply.null();
        reply.null();
        reply.null_array();
        return Ok(());
    };
    reply_id(reply, first);
    reply_id(reply, ids.next_back().unwrap_or(first));
    let (mark, mut sent) = (reply.defer_array(), 0);
    for (_, consumer) in group.consumers().filter(|(_, consumer)| consumer.pending_len() > 0) {
        reply.array(2);
        reply.bulk(consumer.name());
        reply.bulk_i64(consumer.pending_len() as i64);
        sent += 1;
    }
    reply.close_array(mark, sent);
    Ok(())
}
