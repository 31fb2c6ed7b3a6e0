//! The reply decoder, for tools, tests and replication links: bytes of RESP2 or RESP3 to `Value`s, resumable.
//! Trusts nothing: nesting is bounded, and memory follows the bytes that came, never a length that was
//! announced.

use std::fmt;

use base::num::parse_i64;

/// One reply, of any kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Simple(Vec<u8>),
    /// Code and text.
    Error(Vec<u8>),
    Integer(i64),
    /// `None`: RESP2's null.
    Bulk(Option<Vec<u8>>),
    /// `None`: RESP2's null array.
    Array(Option<Vec<Value>>),
    Null,
    Double(f64),
    Bool(bool),
    BigNumber(Vec<u8>),
    BlobError(Vec<u8>),
    Verbatim {
        ext: [u8; 3],
        text: Vec<u8>,
    },
    Map(Vec<(Value, Value)>),
    Set(Vec<Value>),
    Push(Vec<Value>),
    /// Annotations, and the value they belong to.
    Attribute(Vec<(Value, Value)>, Box<Value>),
}

#[derive(Clone, Copy, Debug)]
pub struct DecodeLimits {
    /// Aggregates inside one another.
    pub depth_max: usize,
    /// Bytes of a bulk, verbatim text or blob error.
    pub bulk_len_max: usize,
    /// Bytes of a line: a status, an error, a number.
    pub line_len_max: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    UnknownMarker(u8),
    InvalidNumber,
    InvalidLineEnd,
    InvalidText,
    TooDeep,
    TooLong,
}

/// Decodes replies one after another; remembers the finished elements of a half-read one.
#[derive(Debug, Default)]
pub struct Decoder {
    limits: DecodeLimits,
    /// Offset of the next element, counted from the start of the reply being read.
    position: usize,
    open: Vec<Frame>,
}

/// An aggregate whose elements are being read.
#[derive(Debug)]
struct Frame {
    kind: Kind,
    missing: usize,
    items: Vec<Value>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Array,
    Map,
    Set,
    Push,
    Attribute,
}

enum Element {
    Leaf(Value),
    Open(Kind, usize),
}

/// Decodes the first reply in `input`. `None`: it is not whole yet. Also returns its length in bytes.
pub fn decode(input: &[u8], limits: &DecodeLimits) -> Result<Option<(Value, usize)>, DecodeError> {
    Decoder::new(*limits).next(input)
}

impl Decoder {
    pub fn new(limits: DecodeLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Reads on in `input`, which begins with the reply's first byte. `None`: call again with more of it.
    /// After a reply or an error the decoder is ready for a new one.
    pub fn next(&mut self, input: &[u8]) -> Result<Option<(Value, usize)>, DecodeError> {
        let result = self.read(input);
        if !matches!(result, Ok(None)) {
            self.position = 0;
            self.open.clear();
        }
        result
    }

    fn read(&mut self, input: &[u8]) -> Result<Option<(Value, usize)>, DecodeError> {
        while let Some((element, len)) =
            element(input.get(self.position..).unwrap_or_default(), &self.limits)?
        {
            self.position += len;
            let value = match element {
                Element::Leaf(value) => value,
                Element::Open(kind, 0) => kind.close(Vec::new()),
                Element::Open(_, _) if self.open.len() >= self.limits.depth_max => {
                    return Err(DecodeError::TooDeep);
                }
                Element::Open(kind, missing) => {
                    self.open.push(Frame { kind, missing, items: Vec::new() });
                    continue;
                }
            };
            if let Some(whole) = self.add(value) {
                return Ok(Some((whole, self.position)));
            }
        }
        Ok(None)
    }

    /// Adds a value to the innermost aggregate; returns the reply if that completes it.
    fn add(&mut self, mut value: Value) -> Option<Value> {
        while let Some(mut frame) = self.open.pop() {
            frame.items.push(value);
            frame.missing -= 1;
            if frame.missing > 0 {
                self.open.push(frame);
                return None;
            }
            value = frame.kind.close(frame.items);
        }
        Some(value)
    }
}

impl Value {
    /// The bytes of a string of any kind, errors included.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Simple(bytes)
            | Self::Error(bytes)
            | Self::Bulk(Some(bytes))
            | Self::BigNumber(bytes)
            | Self::BlobError(bytes)
            | Self::Verbatim { text: bytes, .. } => Some(bytes),
            _ => None,
        }
    }

    /// A string of any kind as text.
    pub fn as_text(&self) -> Option<String> {
        self.as_bytes().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    pub fn as_i64(&self) -> Option<i64> {
        if let Self::Integer(value) = self { Some(*value) } else { None }
    }

    /// The elements of an array, a set or a push.
    pub fn as_items(&self) -> Option<&[Value]> {
        match self {
            Self::Array(Some(items)) | Self::Set(items) | Self::Push(items) => Some(items),
            _ => None,
        }
    }

    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error(_) | Self::BlobError(_))
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null | Self::Bulk(None) | Self::Array(None))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Bulk(Some(text.as_bytes().to_vec()))
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Self {
        Self::Array(Some(items))
    }
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { depth_max: DEPTH_MAX, bulk_len_max: BULK_LEN_MAX, line_len_max: LINE_LEN_MAX }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownMarker(byte) => {
                write!(f, "Protocol error, got {:?} as reply type byte", char::from(*byte))
            }
            Self::InvalidNumber => f.write_str("Bad number in a reply"),
            Self::InvalidLineEnd => f.write_str("Bad line end in a reply"),
            Self::InvalidText => f.write_str("Bad verbatim string in a reply"),
            Self::TooDeep => f.write_str("Too many nested replies"),
            Self::TooLong => f.write_str("Reply is longer than allowed"),
        }
    }
}

impl std::error::Error for DecodeError {}

impl Kind {
    fn close(self, mut items: Vec<Value>) -> Value {
        match self {
            Self::Array => Value::Array(Some(items)),
            Self::Set => Value::Set(items),
            Self::Push => Value::Push(items),
            Self::Map => Value::Map(pairs(items)),
            Self::Attribute => {
                let value = items.pop().expect("an attribute is opened with at least one element");
                Value::Attribute(pairs(items), Box::new(value))
            }
        }
    }

    /// Elements that follow an announced count.
    fn elements(self, count: usize) -> usize {
        match self {
            Self::Array | Self::Set | Self::Push => count,
            Self::Map => count.saturating_mul(2),
            Self::Attribute => count.saturating_mul(2).saturating_add(1),
        }
    }
}

fn pairs(items: Vec<Value>) -> Vec<(Value, Value)> {
    let mut pairs = Vec::with_capacity(items.len() / 2);
    let mut items = items.into_iter();
    while let (Some(key), Some(value)) = (items.next(), items.next()) {
        pairs.push((key, value));
    }
    pairs
}

/// The element that `input` begins with, without what an aggregate holds, and its length.
fn element(input: &[u8], limits: &DecodeLimits) -> Result<Option<(Element, usize)>, DecodeError> {
    let Some((line, len)) = line(input, limits)? else { return Ok(None) };
    let marker = line[0];
    let text = &line[1..];
    let leaf = |value| Ok(Some((Element::Leaf(value), len)));
    match marker {
        b'+' => leaf(Value::Simple(text.to_vec())),
        b'-' => leaf(Value::Error(text.to_vec())),
        b':' => leaf(Value::Integer(integer(text)?)),
        b'(' => leaf(Value::BigNumber(big_number(text)?)),
        b',' => leaf(Value::Double(double(text)?)),
        b'#' => leaf(Value::Bool(boolean(text)?)),
        b'_' if text.is_empty() => leaf(Value::Null),
        b'$' | b'*' if text == b"-1" => {
            leaf(if marker == b'$' { Value::Bulk(None) } else { Value::Array(None) })
        }
        b'$' | b'=' | b'!' => blob(marker, input, text, len, limits),
        _ => {
            let kind = aggregate(marker)?;
            Ok(Some((Element::Open(kind, kind.elements(length(text)?)), len)))
        }
    }
}

/// A string with a length: `text` holds that, `start` is where its bytes begin.
fn blob(
    marker: u8,
    input: &[u8],
    text: &[u8],
    start: usize,
    limits: &DecodeLimits,
) -> Result<Option<(Element, usize)>, DecodeError> {
    let len = length(text)?;
    if len > limits.bulk_len_max {
        return Err(DecodeError::TooLong);
    }
    let end = start + len;
    let Some(line_end) = input.get(end..end + LINE_END.len()) else { return Ok(None) };
    if line_end != LINE_END {
        return Err(DecodeError::InvalidLineEnd);
    }
    let bytes = &input[start..end];
    let value = match marker {
        b'$' => Value::Bulk(Some(bytes.to_vec())),
        b'!' => Value::BlobError(bytes.to_vec()),
        _ => verbatim(bytes)?,
    };
    Ok(Some((Element::Leaf(value), end + LINE_END.len())))
}

fn verbatim(bytes: &[u8]) -> Result<Value, DecodeError> {
    match bytes {
        [first, second, third, b':', text @ ..] => {
            Ok(Value::Verbatim { ext: [*first, *second, *third], text: text.to_vec() })
        }
        _ => Err(DecodeError::InvalidText),
    }
}

/// The first line with its marker but not its end, and its length with the end.
fn line<'a>(input: &'a [u8], limits: &DecodeLimits) -> Result<Option<(&'a [u8], usize)>, DecodeError> {
    let window = &input[..input.len().min(limits.line_len_max.saturating_add(1))];
    let Some(len) = memchr::memchr(b'\r', window) else {
        return if window.len() > limits.line_len_max { Err(DecodeError::TooLong) } else { Ok(None) };
    };
    match input.get(len + 1) {
        None => Ok(None),
        Some(b'\n') if len > 0 => Ok(Some((&input[..len], len + LINE_END.len()))),
        Some(_) => Err(DecodeError::InvalidLineEnd),
    }
}

fn aggregate(marker: u8) -> Result<Kind, DecodeError> {
    Ok(match marker {
        b'*' => Kind::Array,
        b'%' => Kind::Map,
        b'~' => Kind::Set,
        b'>' => Kind::Push,
        b'|' => Kind::Attribute,
        _ => return Err(DecodeError::UnknownMarker(marker)),
    })
}

fn length(text: &[u8]) -> Result<usize, DecodeError> {
    parse_i64(text).and_then(|len| usize::try_from(len).ok()).ok_or(DecodeError::InvalidNumber)
}

/// RESP3 allows a plus sign.
fn integer(text: &[u8]) -> Result<i64, DecodeError> {
    parse_i64(text.strip_prefix(b"+").unwrap_or(text)).ok_or(DecodeError::InvalidNumber)
}

fn double(text: &[u8]) -> Result<f64, DecodeError> {
    let text = std::str::from_utf8(text).ok();
    text.and_then(|text| text.parse().ok()).ok_or(DecodeError::InvalidNumber)
}

fn boolean(text: &[u8]) -> Result<bool, DecodeError> {
    match text {
        b"t" => Ok(true),
        b"f" => Ok(false),
        _ => Err(DecodeError::InvalidNumber),
    }
}

fn big_number(text: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let digits = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    let valid = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    if valid { Ok(text.to_vec()) } else { Err(DecodeError::InvalidNumber) }
}

const LINE_END: &[u8] = b"\r\n";
/// Deeper than any command answers (COMMAND DOCS and XINFO STREAM FULL, about 8), far from any stack's end.
const DEPTH_MAX: usize = 32;
/// As `proto-max-bulk-len`'s default.
const BULK_LEN_MAX: usize = 512 * 1024 * 1024;
/// Error texts quote what a client sent, which is bounded by much less.
const LINE_LEN_MAX: usize = 1024 * 1024;
