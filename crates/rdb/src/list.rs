//! Lists as bytes and back, in all the forms Redis has had: strings, one ziplist, ziplists, and since Redis 7
//! listpacks and single long elements. It never trusts a count or a packed form it has not checked.

use std::ops::Range;

use crate::error::ErrorKind;
use crate::format;
use crate::hash::checked_listpack;
use crate::legacy;
use crate::length::{self, WriteOptions};
use crate::source::Input;
use crate::values::Rules;
use base::num;
use ds::list::{Limits, ListRef, NodeRef, PackedList, Shrinking};
use ds::listpack::Listpack;

/// A list in the form the store keeps.
pub enum ListObject {
    /// A listpack within the limits of one.
    Packed(Vec<u8>),
    Nodes(Box<PackedList>),
}

impl ListObject {
    /// The list in the form its limits ask for.
    pub fn new(list: PackedList) -> ListObject {
        let packed = list.as_packed(Shrinking::No).map(|pack| pack.bytes().to_vec());
        packed.map_or_else(|| ListObject::Nodes(Box::new(list)), ListObject::Packed)
    }

    /// The value as the writer sees it.
    pub fn view(&self) -> ListRef<'_> {
        match self {
            ListObject::Packed(packed) => ListRef::Packed(Listpack::trusted(packed)),
            ListObject::Nodes(nodes) => ListRef::Nodes(nodes),
        }
    }
}

pub(crate) fn type_code(_: ListRef<'_>) -> u8 {
    format::TYPE_LIST_QUICKLIST_2
}

pub(crate) fn version_needed(_: ListRef<'_>) -> u32 {
    format::VERSION_PLAIN
}

/// How many nodes, then each: what it is, and its bytes as a string.
pub(crate) fn write(out: &mut Vec<u8>, list: ListRef<'_>, options: &WriteOptions) {
    match list {
        ListRef::Packed(pack) => {
            length::write_len(out, 1);
            write_node(out, NodeRef::Packed(pack), options);
        }
        ListRef::Nodes(nodes) => {
            length::write_len(out, nodes.node_count() as u64);
            nodes.nodes().for_each(|node| write_node(out, node, options));
        }
    }
}

fn write_node(out: &mut Vec<u8>, node: NodeRef<'_>, options: &WriteOptions) {
    match node {
        NodeRef::Plain(element) => {
            length::write_len(out, CONTAINER_PLAIN);
            length::write_string(out, element, options);
        }
        NodeRef::Packed(pack) => {
            length::write_len(out, CONTAINER_PACKED);
            length::write_string(out, pack.bytes(), options);
        }
        NodeRef::Compressed { lzf, len } => {
            length::write_len(out, CONTAINER_PACKED);
            length::write_compressed(out, lzf, len);
        }
    }
}

/// A part of a node in exactly as many bytes as it says it is stored in.
pub(crate) fn write_node_part(out: &mut Vec<u8>, node: NodeRef<'_>, part: Range<u64>) {
    let begin = out.len();
    let content = write_node_head(out, node);
    let head_len = out.len() - begin;
    let (from, to) = (part.start as usize, part.end as usize);
    out.truncate(begin + head_len.min(to));
    out.drain(begin..begin + head_len.min(from));
    out.extend_from_slice(&content[from.saturating_sub(head_len)..to.saturating_sub(head_len)]);
}

/// Appends all that comes before a node's content, and returns that.
fn write_node_head<'a>(out: &mut Vec<u8>, node: NodeRef<'a>) -> &'a [u8] {
    let (container, content) = match node {
        NodeRef::Plain(element) => (CONTAINER_PLAIN, element),
        NodeRef::Packed(pack) => (CONTAINER_PACKED, pack.bytes()),
        NodeRef::Compressed { lzf, .. } => (CONTAINER_PACKED, lzf),
    };
    length::write_len(out, container);
    match node {
        NodeRef::Compressed { len, .. } => length::write_compressed_head(out, content.len(), len),
        _ => length::write_len(out, content.len() as u64),
    }
    content
}

/// Reads a list of type `code`; None if it is empty.
pub(crate) fn read<I: Input>(
    source: &mut I,
    code: u8,
    rules: &Rules,
) -> Result<Option<ListObject>, ErrorKind> {
    let limits = rules.thresholds.list_limits();
    let mut list = PackedList::new(limits);
    let count = if code == format::TYPE_LIST_ZIPLIST { 1 } else { length::read_len(source)? };
    for _ in 0..count {
        match code {
            format::TYPE_LIST => list.append_element(length::read_string(source)?),
            format::TYPE_LIST_ZIPLIST | format::TYPE_LIST_QUICKLIST => {
                append_ziplist(&mut list, &length::read_string(source)?)?;
            }
            format::TYPE_LIST_QUICKLIST_2 => {
                let container = length::read_len(source)?;
                let blob = length::read_string(source)?;
                if count == 1 && container == CONTAINER_PACKED && is_small(&blob, limits)? {
                    return Ok(Some(ListObject::Packed(blob)));
                }
                append_node(&mut list, container, blob)?;
            }
            _ => return Err(ErrorKind::Corrupt("the type code is not one of a list")),
        }
    }
    Ok((!list.is_empty()).then(|| ListObject::new(list)))
}

/// A whole list that is kept as the listpack it is.
fn is_small(blob: &[u8], limits: Limits) -> Result<bool, ErrorKind> {
    let pack = checked_listpack(blob)?;
    Ok(!pack.is_empty() && !limits.are_exceeded_by(blob.len(), pack.len()))
}

fn append_node(list: &mut PackedList, container: u64, blob: Vec<u8>) -> Result<(), ErrorKind> {
    match container {
        // An element of a node of its own is long.
        CONTAINER_PLAIN if blob.is_empty() => return Err(ErrorKind::Corrupt("a list's node is empty")),
        CONTAINER_PLAIN => list.append_element(blob),
        CONTAINER_PACKED => {
            checked_listpack(&blob)?;
            list.append_pack(blob);
        }
        _ => return Err(ErrorKind::Corrupt("a list's node is of an unknown kind")),
    }
    Ok(())
}

fn append_ziplist(list: &mut PackedList, blob: &[u8]) -> Result<(), ErrorKind> {
    legacy::for_each_in_ziplist(blob, |element| {
        let mut content = Vec::new();
        match element {
            legacy::Element::Int(number) => num::write_i64(&mut content, number),
            legacy::Element::Bytes(bytes) => content.extend_from_slice(bytes),
        }
        list.append_element(content);
        Ok(())
    })
}

/// A node's bytes are one element.
pub(crate) const CONTAINER_PLAIN: u64 = 1;
/// A node's bytes are a listpack.
const CONTAINER_PACKED: u64 = 2;
