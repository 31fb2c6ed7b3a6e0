//! Streams as bytes and back, in all the forms Redis has had; nodes are copied as they are.
//!
//! It never writes a form that Redis 7.0 refuses for the sake of bookkeeping: when a consumer last got
//! something is read where a file tells it, and else taken to be when it last asked.
//!
//! Format: nodes with their master ids; counts and ids; for each group its pending entries, and its consumers
//! with the ids of theirs; from form 5 on the ids that were given back; from form 4 on what is known of
//! producers. Ids among counts are two numbers, among pending entries 16 bytes.

use crate::error::ErrorKind;
use crate::format;
use crate::length::{self, WriteOptions};
use crate::source::Input;
use ds::saving::GroupPart;
use ds::stream::{
    Consumer, ConsumerId, Entries, Form, Group, GroupMut, IdempotenceLimits, Pending, Producers, Stream,
    StreamId,
};

pub(crate) fn type_code(stream: &Stream) -> u8 {
    match stream.form() {
        Form::Plain => format::TYPE_STREAM_LISTPACKS_2,
        Form::Active => format::TYPE_STREAM_LISTPACKS_4,
        Form::Returned => format::TYPE_STREAM_LISTPACKS_5,
    }
}

pub(crate) fn version_needed(stream: &Stream) -> u32 {
    match type_code(stream) {
        format::TYPE_STREAM_LISTPACKS_5 => format::VERSION_STREAM_RETURNED,
        format::TYPE_STREAM_LISTPACKS_4 => format::VERSION_STREAM_PRODUCERS,
        _ => format::VERSION_PLAIN,
    }
}

pub(crate) fn write(out: &mut Vec<u8>, stream: &Stream, options: &WriteOptions) {
    let entries = stream.entries();
    length::write_len(out, entries.node_count() as u64);
    for (master, node) in entries.nodes() {
        length::write_string(out, &master.to_bytes(), options);
        length::write_string(out, node, options);
    }
    write_counts(out, stream);
    let form = stream.form();
    for (name, group) in stream.groups() {
        length::write_string(out, name, options);
        write_group(out, group, form, options);
    }
    write_end(out, stream, options);
}

/// What stands between the nodes and the groups.
pub(crate) fn write_counts(out: &mut Vec<u8>, stream: &Stream) {
    let entries = stream.entries();
    length::write_len(out, entries.len());
    [entries.last_id(), entries.first_id(), entries.max_deleted_id()]
        .into_iter()
        .for_each(|id| write_id(out, id));
    length::write_len(out, entries.added());
    length::write_len(out, stream.groups().len() as u64);
}

/// What follows the groups.
pub(crate) fn write_end(out: &mut Vec<u8>, stream: &Stream, options: &WriteOptions) {
    if stream.form() != Form::Plain {
        let limits = IdempotenceLimits::default();
        match stream.producers() {
            Some(producers) => write_producers(out, producers, options),
            None => write_producers(out, &Producers::new(limits), options),
        }
    }
}

/// A part of the groups as it stands between others.
pub(crate) fn write_part(out: &mut Vec<u8>, part: GroupPart<'_>, form: Form) {
    match part {
        GroupPart::Head { name, group } => {
            length::write_plain(out, name);
            write_group_head(out, group);
        }
        GroupPart::Pending(entries) => entries.for_each(|(id, pending)| write_pending(out, id, pending)),
        GroupPart::Count(count) => length::write_len(out, count),
        GroupPart::Consumer(consumer) => {
            length::write_plain(out, consumer.name());
            write_consumer_head(out, consumer, form);
        }
        GroupPart::Ids(ids) => ids.for_each(|id| out.extend_from_slice(&id.to_bytes())),
    }
}

fn write_group(out: &mut Vec<u8>, group: &Group, form: Form, options: &WriteOptions) {
    write_group_head(out, group);
    group.pending_from(StreamId::MIN).for_each(|(id, pending)| write_pending(out, id, pending));
    length::write_len(out, group.consumer_count() as u64);
    for (_, consumer) in group.consumers() {
        length::write_string(out, consumer.name(), options);
        write_consumer_head(out, consumer, form);
        consumer.pending_ids(StreamId::MIN).for_each(|id| out.extend_from_slice(&id.to_bytes()));
    }
    if form == Form::Returned {
        length::write_len(out, group.returned_len() as u64);
        group.returned_ids().for_each(|id| out.extend_from_slice(&id.to_bytes()));
    }
}

/// Between a group's name and its pending entries.
fn write_group_head(out: &mut Vec<u8>, group: &Group) {
    write_id(out, group.last_id);
    length::write_len(out, group.entries_read.unwrap_or(READ_UNKNOWN));
    length::write_len(out, group.pending_len() as u64);
}

fn write_pending(out: &mut Vec<u8>, id: StreamId, pending: Pending) {
    out.extend_from_slice(&id.to_bytes());
    out.extend_from_slice(&pending.delivered_at.to_le_bytes());
    length::write_len(out, pending.deliveries);
}

/// Between a consumer's name and its ids.
fn write_consumer_head(out: &mut Vec<u8>, consumer: &Consumer, form: Form) {
    out.extend_from_slice(&consumer.seen_at.to_le_bytes());
    if form != Form::Plain {
        out.extend_from_slice(&consumer.active_at.unwrap_or(NEVER).to_le_bytes());
    }
    length::write_len(out, consumer.pending_len() as u64);
}

fn write_producers(out: &mut Vec<u8>, producers: &Producers, options: &WriteOptions) {
    let (limits, (added, duplicates)) = (producers.limits(), producers.totals());
    length::write_len(out, limits.duration_s);
    length::write_len(out, limits.max_size);
    length::write_len(out, producers.len() as u64);
    for (name, ids) in producers.iter() {
        length::write_string(out, name, options);
        length::write_len(out, ids.len() as u64);
        for (id, entry) in ids {
            length::write_string(out, id, options);
            write_id(out, entry);
        }
    }
    length::write_len(out, added);
    length::write_len(out, duplicates);
}

fn write_id(out: &mut Vec<u8>, id: StreamId) {
    length::write_len(out, id.ms);
    length::write_len(out, id.seq);
}

/// Reads a stream of type `code`. It may be empty: streams outlive their entries.
pub(crate) fn read<I: Input>(source: &mut I, code: u8) -> Result<Option<Box<Stream>>, ErrorKind> {
    let mut stream = Box::<Stream>::default();
    for (master, node) in read_nodes(source)? {
        stream.load_node(master, node).map_err(|_| ErrorKind::Corrupt("a stream's node is damaged"))?;
    }
    let len = length::read_len(source)?;
    if len != stream.entries().len() {
        return Err(ErrorKind::Corrupt("a stream's length is not that of its nodes"));
    }
    let last_id = read_id(source)?;
    let (max_deleted_id, added) = if code >= format::TYPE_STREAM_LISTPACKS_2 {
        // The first id follows from the nodes.
        read_id(source)?;
        (read_id(source)?, length::read_len(source)?)
    } else {
        (StreamId::MIN, len)
    };
    stream.load_ids(last_id, max_deleted_id, added);
    for _ in 0..length::read_len(source)? {
        read_group(source, code, &mut stream)?;
    }
    if code >= format::TYPE_STREAM_LISTPACKS_4 {
        read_producers(source, &mut stream)?;
    }
    Ok(Some(stream))
}

/// Nodes in order of their ids, in whatever order they stand in the file.
fn read_nodes<I: Input>(source: &mut I) -> Result<Vec<(StreamId, Vec<u8>)>, ErrorKind> {
    let mut nodes = Vec::new();
    for _ in 0..length::read_len(source)? {
        let master = length::read_string(source)?.try_into().map(StreamId::from_bytes);
        let master = master.map_err(|_| ErrorKind::Corrupt("a stream node's key is no id"))?;
        nodes.push((master, length::read_string(source)?));
    }
    nodes.sort_by_key(|(master, _)| *master);
    Ok(nodes)
}

fn read_group<I: Input>(source: &mut I, code: u8, stream: &mut Stream) -> Result<(), ErrorKind> {
    let name = length::read_string(source)?;
    let last_id = read_id(source)?;
    let entries_read = if code >= format::TYPE_STREAM_LISTPACKS_2 {
        Some(length::read_len(source)?).filter(|read| *read != READ_UNKNOWN)
    } else {
        Entries::reads_up_to(stream.entries(), last_id)
    };
    let mut group = stream
        .create_group(&name, last_id, entries_read)
        .ok_or(ErrorKind::Corrupt("a stream has a group twice"))?;
    let mut pending = read_pending(source)?;
    for _ in 0..length::read_len(source)? {
        read_consumer(source, code, &mut group, &mut pending)?;
    }
    let returned = if code >= format::TYPE_STREAM_LISTPACKS_5 { read_ids(source)? } else { Vec::new() };
    for (id, kept) in &pending {
        if kept.consumer.is_some() {
            group.set_pending(*id, *kept);
        }
    }
    for id in returned {
        let kept = find(&mut pending, id).filter(|kept| kept.consumer.is_none());
        group.set_pending(
            id,
            *kept.ok_or(ErrorKind::Corrupt("a pending entry was given back, yet is owned"))?,
        );
    }
    if group.pending_len() == pending.len() {
        Ok(())
    } else {
        Err(ErrorKind::Corrupt("a pending entry has no consumer"))
    }
}

/// A group's pending entries, as yet without consumers, in order of ids.
fn read_pending<I: Input>(source: &mut I) -> Result<Vec<(StreamId, Pending)>, ErrorKind> {
    let mut pending = Vec::new();
    for _ in 0..length::read_len(source)? {
        let id = StreamId::from_bytes(source.array()?);
        let delivered_at = i64::from_le_bytes(source.array()?);
        let deliveries = length::read_len(source)?;
        pending.push((id, Pending { consumer: None, delivered_at, deliveries }));
    }
    pending.sort_unstable_by_key(|(id, _)| *id);
    if pending.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err(ErrorKind::Corrupt("an entry is pending twice"));
    }
    Ok(pending)
}

fn read_consumer<I: Input>(
    source: &mut I,
    code: u8,
    group: &mut GroupMut<'_>,
    pending: &mut [(StreamId, Pending)],
) -> Result<(), ErrorKind> {
    let name = length::read_string(source)?;
    let seen_at = i64::from_le_bytes(source.array()?);
    let active_at = if code >= format::TYPE_STREAM_LISTPACKS_3 {
        Some(i64::from_le_bytes(source.array()?)).filter(|time| *time != NEVER)
    } else {
        Some(seen_at)
    };
    let consumer =
        group.create_consumer(&name, seen_at).ok_or(ErrorKind::Corrupt("a group has a consumer twice"))?;
    group.consumer_mut(consumer).active_at = active_at;
    for id in read_ids(source)? {
        give(pending, id, consumer)?;
    }
    Ok(())
}

fn give(pending: &mut [(StreamId, Pending)], id: StreamId, to: ConsumerId) -> Result<(), ErrorKind> {
    let kept = find(pending, id).filter(|kept| kept.consumer.is_none());
    let kept =
        kept.ok_or(ErrorKind::Corrupt("a consumer's entry is not pending in its group, or another's"))?;
    kept.consumer = Some(to);
    Ok(())
}

fn find(pending: &mut [(StreamId, Pending)], id: StreamId) -> Option<&mut Pending> {
    let index = pending.binary_search_by_key(&id, |(id, _)| *id).ok()?;
    Some(&mut pending[index].1)
}

fn read_producers<I: Input>(source: &mut I, stream: &mut Stream) -> Result<(), ErrorKind> {
    let duration_s = length::read_len(source)?.clamp(1, IdempotenceLimits::DURATION_S_MAX);
    let max_size = length::read_len(source)?.clamp(1, IdempotenceLimits::SIZE_MAX);
    let mut producers = Producers::new(IdempotenceLimits { duration_s, max_size });
    for _ in 0..length::read_len(source)? {
        let name = length::read_string(source)?;
        for _ in 0..length::read_len(source)? {
            let id = length::read_string(source)?;
            producers.load(&name, &id, read_id(source)?);
        }
    }
    producers.set_totals(length::read_len(source)?, length::read_len(source)?);
    // Redis writes these numbers for every stream from this form on.
    let used = producers.limits() != IdempotenceLimits::default() || producers.totals() != (0, 0);
    if used || !producers.is_empty() {
        stream.set_producers(producers);
    }
    Ok(())
}

fn read_ids<I: Input>(source: &mut I) -> Result<Vec<StreamId>, ErrorKind> {
    let mut ids = Vec::new();
    for _ in 0..length::read_len(source)? {
        ids.push(StreamId::from_bytes(source.array()?));
    }
    Ok(ids)
}

fn read_id<I: Input>(source: &mut I) -> Result<StreamId, ErrorKind> {
    Ok(StreamId::new(length::read_len(source)?, length::read_len(source)?))
}

/// Stands for a group's count of reads that is not known: -1.
const READ_UNKNOWN: u64 = u64::MAX;
/// Stands for the time of a consumer that never got anything.
const NEVER: i64 = -1;
