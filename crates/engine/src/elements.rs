//! Elements of packed values as replies. What they are elements of is the commands' business.

use ds::listpack::Element;
use resp::reply::Reply;

/// A bulk.
#[inline]
pub fn reply_element(reply: &mut Reply, element: Element<'_>) {
    match element {
        Element::Bytes(bytes) => reply.bulk(bytes),
        Element::Int(value) => reply.bulk_i64(value),
    }
}

/// A bulk, or null for an element that is not there.
#[inline]
pub fn reply_found(reply: &mut Reply, element: Option<Element<'_>>) {
    match element {
        Some(element) => reply_element(reply, element),
        None => reply.null(),
    }
}
