//! The id of a stream's entry: milliseconds and a sequence number, as text and as the bytes of an index key.
//! It never decides which id an entry gets.

use base::num;

/// Ordered by time, then by sequence number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct StreamId {
    /// Unix milliseconds.
    pub ms: u64,
    pub seq: u64,
}

impl StreamId {
    pub const MIN: StreamId = StreamId::new(0, 0);
    pub const MAX: StreamId = StreamId::new(u64::MAX, u64::MAX);

    pub const fn new(ms: u64, seq: u64) -> Self {
        StreamId { ms, seq }
    }

    /// The least id above; `None` for the greatest one.
    pub const fn next(self) -> Option<StreamId> {
        match (self.ms.checked_add(1), self.seq.checked_add(1)) {
            (_, Some(seq)) => Some(StreamId::new(self.ms, seq)),
            (Some(ms), None) => Some(StreamId::new(ms, 0)),
            (None, None) => None,
        }
    }

    /// The greatest id below; `None` for 0-0.
    pub const fn previous(self) -> Option<StreamId> {
        match (self.ms.checked_sub(1), self.seq.checked_sub(1)) {
            (_, Some(seq)) => Some(StreamId::new(self.ms, seq)),
            (Some(ms), None) => Some(StreamId::new(ms, u64::MAX)),
            (None, None) => None,
        }
    }

    /// 16 bytes in the order of ids: both halves big-endian.
    pub fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.ms) << 64 | u128::from(self.seq)).to_be_bytes()
    }

    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let both = u128::from_be_bytes(bytes);
        StreamId::new((both >> 64) as u64, both as u64)
    }

    /// `ms-seq`, or `ms` alone, whose sequence number is `missing_seq`.
    pub fn parse(text: &[u8], missing_seq: u64) -> Option<Self> {
        if text.len() > TEXT_MAX {
            return None;
        }
        match text.iter().position(|&byte| byte == b'-') {
            None => Some(StreamId::new(parse_half(text)?, missing_seq)),
            Some(dash) => Some(StreamId::new(parse_half(&text[..dash])?, parse_half(&text[dash + 1..])?)),
        }
    }

    /// The id as `ms-seq`.
    pub fn text(self) -> IdText {
        let mut text = IdText { bytes: [0; ID_TEXT_LEN], len: 0 };
        text.push(itoa::Buffer::new().format(self.ms).as_bytes());
        text.push(b"-");
        text.push(itoa::Buffer::new().format(self.seq).as_bytes());
        text
    }
}

/// An id's text, without an allocation.
#[derive(Clone, Copy)]
pub struct IdText {
    bytes: [u8; ID_TEXT_LEN],
    len: usize,
}

impl IdText {
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn push(&mut self, part: &[u8]) {
        self.bytes[self.len..self.len + part.len()].copy_from_slice(part);
        self.len += part.len();
    }
}

/// As Redis' string2ull takes a number.
fn parse_half(text: &[u8]) -> Option<u64> {
    num::parse_u64(text).or_else(|| num::parse_u64_lenient(text))
}

/// Redis reads ids up to this length.
const TEXT_MAX: usize = 127;
/// Twice 20 digits and a dash.
const ID_TEXT_LEN: usize = 41;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_as_text() {
        let check =
            |text: &str, expected| assert_eq!(StreamId::parse(text.as_bytes(), 7), expected, "{text:?}");
        check("5", Some(StreamId::new(5, 7)));
        check("5-0", Some(StreamId::new(5, 0)));
        check("18446744073709551615-18446744073709551615", Some(StreamId::MAX));
        check("005-01", Some(StreamId::new(5, 1)));
        for text in ["", "-", "+", "5-", "-5", "a", "5-a", "5-1-1", "18446744073709551616", "5.1", "*", "5-*"]
        {
            check(text, None);
        }
        check(&"0".repeat(128), None);
        for id in [StreamId::MIN, StreamId::new(1_700_000_000_000, 12), StreamId::MAX] {
            assert_eq!(StreamId::parse(id.text().bytes(), 0), Some(id));
            assert_eq!(StreamId::from_bytes(id.to_bytes()), id);
        }
    }

    #[test]
    fn neighbours() {
        assert_eq!(StreamId::MAX.next(), None);
        assert_eq!(StreamId::MIN.previous(), None);
        let edge = StreamId::new(4, u64::MAX);
        assert_eq!(edge.next(), Some(StreamId::new(5, 0)));
        assert_eq!(StreamId::new(5, 0).previous(), Some(edge));
        assert!(edge < StreamId::new(5, 0) && edge.to_bytes() < StreamId::new(5, 0).to_bytes());
    }
}
