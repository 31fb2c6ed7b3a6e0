//! A large value as pieces that together are as long as was known before the first of them: a head, and a
//! body whose pieces are written plainly, neither compressed nor turned into numbers.
//!
//! Readers do not care about the order of fields, members and a stream's nodes. What a piece is of, and where
//! it goes, is the caller's.

use crate::length::{self, WriteOptions};
use crate::values::{self, ValueRef};
use crate::writer::Attributes;
use crate::{hash, list, stream, writer};
use ds::hash::{FieldTable, HashRef};
use ds::list::{ListRef, SharedNodes};
use ds::saving::Piece;
use ds::set::SetRef;
use ds::sorted_set::SortedSetRef;
use ds::stream::{Form, Stream};

/// What is known of a record before its pieces.
pub struct Plan {
    /// The record up to the body.
    pub head: Vec<u8>,
    pub body_len: u64,
    /// The lowest version that knows the form.
    pub version: u32,
    pub shape: Shape,
    /// Its pieces come in any order, page by page: nothing is written twice if the body begins with a page.
    pub by_pages: bool,
    /// What no piece brings, and where it stands in the body.
    pub fixed: Vec<(u64, Vec<u8>)>,
}

/// What pieces have to know of the whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    Plain,
    /// Fields with times of expiry, none before `least`.
    Timed {
        least: i64,
    },
    /// A stream whose groups begin at `groups_at` in the body.
    Stream {
        groups_at: u64,
        form: Form,
    },
}

/// The plan for a value; `None` for one that is not written in pieces.
pub fn plan(key: &[u8], attributes: Attributes, value: ValueRef<'_>) -> Option<Plan> {
    let (body_len, count) = match value {
        ValueRef::Hash(HashRef::Table(table)) => (body_len(table), table.len()),
        ValueRef::Set(SetRef::Table(table)) => (table.rdb_len(), table.len()),
        ValueRef::SortedSet(SortedSetRef::Table(table)) => (table.rdb_len(), table.len()),
        ValueRef::List(ListRef::Nodes(list)) => (list.stored_len(), list.node_count()),
        ValueRef::Stream(stream) => (stream.entries().rdb_bytes(), stream.entries().node_count()),
        ValueRef::Bytes(bytes) => (bytes.len() as u64, bytes.len()),
        _ => return None,
    };
    let mut head = Vec::new();
    writer::write_head(&mut head, key, attributes, value, &PLAIN);
    let version = values::version_needed(value);
    let by_pages = matches!(value, ValueRef::List(_) | ValueRef::Bytes(_)) && body_len >= BY_PAGES_LEAST;
    let mut plan = Plan { head, body_len, version, shape: Shape::Plain, by_pages, fixed: Vec::new() };
    match value {
        ValueRef::Hash(HashRef::Table(table)) if table.expiring_count() > 0 => {
            let least = hash::least_expiry(table);
            plan.head.extend_from_slice(&least.to_le_bytes());
            plan.shape = Shape::Timed { least };
        }
        ValueRef::Stream(stream) => plan_groups(&mut plan, stream),
        _ => {}
    }
    length::write_len(&mut plan.head, count as u64);
    Some(plan)
}

/// Behind the nodes: counts, the groups, which come in pieces, and what is known of producers.
fn plan_groups(plan: &mut Plan, stream: &Stream) {
    let (mut counts, mut end) = (Vec::new(), Vec::new());
    stream::write_counts(&mut counts, stream);
    stream::write_end(&mut end, stream, &PLAIN);
    let groups_at = plan.body_len + counts.len() as u64;
    let end_at = groups_at + stream.groups_rdb_len();
    plan.shape = Shape::Stream { groups_at, form: stream.form() };
    plan.fixed.push((plan.body_len, counts));
    plan.body_len = end_at + end.len() as u64;
    if !end.is_empty() {
        plan.fixed.push((end_at, end));
    }
}

/// Where a piece stands in the body; `None`: behind the last one of its kind.
pub fn place(piece: &Piece<'_>, shape: Shape) -> Option<u64> {
    match (piece, shape) {
        (Piece::Nodes { at, .. } | Piece::Bytes { at, .. }, _) => Some(*at),
        (Piece::OfGroup { at, .. }, Shape::Stream { groups_at, .. }) => Some(groups_at + at),
        _ => None,
    }
}

/// Appends a piece of a body.
pub fn write_piece(out: &mut Vec<u8>, piece: Piece<'_>, shape: Shape) {
    match piece {
        Piece::Field(field) => {
            if let Shape::Timed { least } = shape {
                write_expiry(out, field.expires_at, least);
            }
            length::write_plain(out, field.field);
            length::write_plain(out, field.value);
        }
        Piece::Member(member) => length::write_plain(out, member),
        Piece::Scored { member, score } => {
            length::write_plain(out, member);
            out.extend_from_slice(&score.to_le_bytes());
        }
        Piece::StreamNode { master, node } => {
            length::write_plain(out, &master.to_bytes());
            length::write_plain(out, node);
        }
        Piece::OfGroup { part, .. } => {
            let Shape::Stream { form, .. } = shape else { unreachable!("only streams have groups") };
            stream::write_part(out, part, form);
        }
        Piece::Nodes { nodes, .. } => write_nodes(out, &nodes),
        Piece::Bytes { bytes, .. } => out.extend_from_slice(bytes),
    }
}

/// Appends nodes of a list.
pub fn write_nodes(out: &mut Vec<u8>, nodes: &SharedNodes) {
    out.reserve(nodes.stored_len() as usize);
    nodes.parts().for_each(|(node, part)| list::write_node_part(out, node, part));
}

/// Bytes of all fields: a time always takes the longest form of a length.
fn body_len(table: &FieldTable) -> u64 {
    let (timed, all) = (table.expiring_count() as u64, table.len() as u64);
    let times = if timed == 0 { 0 } else { timed * TIME_LEN + (all - timed) };
    table.pair_bytes() + times
}

fn write_expiry(out: &mut Vec<u8>, expires_at: Option<i64>, least: i64) {
    match expires_at {
        None => length::write_len(out, 0),
        Some(time) => length::write_long_len(out, hash::ttl(time, least)),
    }
}

/// The first page of a shorter value would take too much beside it.
const BY_PAGES_LEAST: u64 = 256 * 1024;

const PLAIN: WriteOptions = WriteOptions { compress: false };
const TIME_LEN: u64 = 1 + size_of::<u64>() as u64;
