//! A large value as pieces that together are as long as was known before the first of them: a head, and a
//! body whose pieces are written plainly, neither compressed nor turned into numbers.
//!
//! Readers do not care about the order of fields, members and a stream's nodes. What a piece is of, and where
//! it goes, is the caller's.

use crate::length::{self, WriteOptions};
use crate::values::{self, ValueRef};
use crate::{hash, list, stream, writer};
use ds::hash::{FieldTable, HashRef};
use ds::list::{ListRef, SharedNodes};
use ds::saving::Piece;
use ds::set::SetRef;
use ds::sorted_set::SortedSetRef;

/// What is known of a record before its pieces.
pub struct Plan {
    /// The record up to the body.
    pub head: Vec<u8>,
    pub body_len: u64,
    /// The lowest version that knows the form.
    pub version: u32,
    pub shape: Shape,
    /// What ends the body, behind all pieces.
    pub tail: Vec<u8>,
}

/// What pieces have to know of the whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    Plain,
    /// Fields with times of expiry, none before `least`.
    Timed {
        least: i64,
    },
}

/// The plan for a value; `None` for one that is not written in pieces.
pub fn plan(key: &[u8], expires_at: Option<i64>, value: ValueRef<'_>) -> Option<Plan> {
    let mut tail = Vec::new();
    let (len, count) = match value {
        ValueRef::Hash(HashRef::Table(table)) => (body_len(table), table.len()),
        ValueRef::Set(SetRef::Table(table)) => (table.rdb_len(), table.len()),
        ValueRef::SortedSet(SortedSetRef::Table(table)) => (table.rdb_len(), table.len()),
        ValueRef::List(ListRef::Nodes(list)) => (list.stored_len(), list.node_count()),
        ValueRef::Stream(stream) => {
            stream::write_tail(&mut tail, stream, &PLAIN);
            (stream.entries().rdb_bytes(), stream.entries().node_count())
        }
        ValueRef::Bytes(bytes) => (bytes.len() as u64, bytes.len()),
        _ => return None,
    };
    let mut head = Vec::new();
    writer::write_head(&mut head, key, expires_at, value, &PLAIN);
    let shape = match value {
        ValueRef::Hash(HashRef::Table(table)) if table.expiring_count() > 0 => {
            let least = hash::least_expiry(table);
            head.extend_from_slice(&least.to_le_bytes());
            Shape::Timed { least }
        }
        _ => Shape::Plain,
    };
    length::write_len(&mut head, count as u64);
    let body_len = len + tail.len() as u64;
    Some(Plan { head, body_len, version: values::version_needed(value), shape, tail })
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
        Piece::Nodes { nodes, .. } => write_nodes(out, &nodes),
        Piece::Bytes { bytes, .. } => out.extend_from_slice(bytes),
    }
}

/// Appends nodes of a list.
pub fn write_nodes(out: &mut Vec<u8>, nodes: &SharedNodes) {
    nodes.iter().for_each(|node| list::write_node_plain(out, node));
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

const PLAIN: WriteOptions = WriteOptions { compress: false };
const TIME_LEN: u64 = 1 + size_of::<u64>() as u64;
