//! Long records handed over part by part, and long texts piece by piece, so that nobody needs memory for a
//! whole value. What has no parts of its own becomes a DUMP payload, byte for byte. It checks lengths, and of
//! what they lead to nothing.

use std::io::{Read, Seek};

use base::crc::crc64;

use crate::error::{Error, ErrorKind, Stage};
use crate::format;
use crate::hash::checked_listpack;
use crate::length::{self, read_len, read_string_into};
use crate::list::CONTAINER_PLAIN;
use crate::reader::{Item, Reader};
use crate::record::known_type;
use crate::skip::{self, Ahead};
use crate::source::{BUFFER_LEN, Input, Source, WINDOW_MAX};

/// What comes of a value, in its order.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Part<'a> {
    /// What begins here comes as texts, each piece by piece.
    Begin(Long),
    /// A text of so many bytes begins.
    Text(u64),
    /// The next of these bytes.
    Bytes(&'a [u8]),
    /// Of a list.
    Element(&'a [u8]),
    /// Of a set.
    Member(&'a [u8]),
    /// Of a sorted set.
    Scored(&'a [u8], f64),
    /// A field of a hash and its value.
    Pair(&'a [u8], &'a [u8]),
    /// The value is whole; when it expires, in unix ms.
    End(Option<i64>),
}

/// What has no upper bound but that of any string.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Long {
    String,
    Payload,
    Element,
    Member,
    Scored(f64),
    /// Two texts.
    Pair,
}

/// Takes the key and a part; an error ends the reading.
pub type TakePart<'a> = dyn FnMut(&[u8], Part<'_>) -> Result<(), ErrorKind> + 'a;

impl<R: Read + Seek> Reader<R> {
    /// The next item; a record of some megabytes and more goes to `take` instead, and `None` is returned.
    pub fn next_or_parts(&mut self, take: &mut TakePart<'_>) -> Result<Option<Item>, Error> {
        if !self.is_long_ahead().map_err(|kind| self.fault(kind))? {
            return self.next().map(Some);
        }
        self.read_in_parts(take).map_err(|kind| self.fault(kind))?;
        Ok(None)
    }

    fn is_long_ahead(&mut self) -> Result<bool, ErrorKind> {
        while let Ahead::Part = skip::look(self.source.window(), self.dialect()) {
            if !self.source.widen_window()? {
                return Ok(self.source.window().len() >= WINDOW_MAX);
            }
        }
        Ok(false)
    }

    fn read_in_parts(&mut self, take: &mut TakePart<'_>) -> Result<(), ErrorKind> {
        let (progress, source) = (&mut self.progress, &mut self.source);
        progress.begin(source.offset());
        let mut code = source.byte()?;
        while progress.read_attribute(source, code)? {
            code = source.byte()?;
        }
        let name = known_type(code, progress.rules.dialect)?;
        progress.stage = Stage::Key(name);
        let key = length::read_string(source)?;
        progress.stage = Stage::Value(name);
        let take = &mut |part: Part<'_>| take(&key, part);
        match code {
            format::TYPE_STRING => string(source, take)?,
            format::TYPE_LIST_QUICKLIST_2 => list(source, take)?,
            format::TYPE_SET => set(source, take)?,
            format::TYPE_ZSET_2 => sorted_set(source, take)?,
            format::TYPE_HASH => hash(source, take)?,
            _ => payload(source, (code, progress.rules.dialect, self.version), take)?,
        }
        let expires_at = std::mem::take(&mut progress.attributes).expires_at;
        take(Part::End(expires_at))
    }
}

type Take<'a> = dyn FnMut(Part<'_>) -> Result<(), ErrorKind> + 'a;

fn string<I: Input>(source: &mut I, take: &mut Take<'_>) -> Result<(), ErrorKind> {
    let mut text = Vec::new();
    take(Part::Begin(Long::String))?;
    match length::begin_string(source, &mut text)? {
        Some(len) => pass_on(source, len, take),
        None => hand_over(&text, take),
    }
}

/// Reads a string into `text`, but for one that is long: then its bytes are still to come, so many.
fn read_short<I: Input>(source: &mut I, text: &mut Vec<u8>) -> Result<Option<u64>, ErrorKind> {
    match length::begin_string(source, text)? {
        Some(len) if len > SHORT_LEN => Ok(Some(len)),
        Some(len) => {
            text.clear();
            source.append(text, len).map(|()| None)
        }
        None => Ok(None),
    }
}

/// A text that is read already.
fn hand_over(text: &[u8], take: &mut Take<'_>) -> Result<(), ErrorKind> {
    take(Part::Text(text.len() as u64))?;
    take(Part::Bytes(text))
}

/// A text of which nothing is read.
fn pass_on<I: Input>(source: &mut I, len: u64, take: &mut Take<'_>) -> Result<(), ErrorKind> {
    take(Part::Text(len))?;
    copy(source, len, |bytes| take(Part::Bytes(bytes)))
}

fn copy<I: Input>(
    source: &mut I,
    len: u64,
    mut take: impl FnMut(&[u8]) -> Result<(), ErrorKind>,
) -> Result<(), ErrorKind> {
    let (mut left, mut piece) = (len, Vec::new());
    while left > 0 {
        let next = left.min(BUFFER_LEN as u64);
        piece.clear();
        source.append(&mut piece, next)?;
        take(&piece)?;
        left -= next;
    }
    Ok(())
}

fn list<I: Input>(source: &mut I, take: &mut Take<'_>) -> Result<(), ErrorKind> {
    let (mut node, mut element) = (Vec::new(), Vec::new());
    for _ in 0..read_len(source)? {
        if read_len(source)? == CONTAINER_PLAIN {
            match read_short(source, &mut node)? {
                None => take(Part::Element(&node))?,
                Some(len) => {
                    take(Part::Begin(Long::Element))?;
                    pass_on(source, len, take)?;
                }
            }
            continue;
        }
        read_string_into(source, &mut node)?;
        for item in checked_listpack(&node)?.iter() {
            element.clear();
            item.write_to(&mut element);
            take(Part::Element(&element))?;
        }
    }
    Ok(())
}

fn set<I: Input>(source: &mut I, take: &mut Take<'_>) -> Result<(), ErrorKind> {
    let mut member = Vec::new();
    for _ in 0..read_len(source)? {
        match read_short(source, &mut member)? {
            None => take(Part::Member(&member))?,
            Some(len) => {
                take(Part::Begin(Long::Member))?;
                pass_on(source, len, take)?;
            }
        }
    }
    Ok(())
}

fn sorted_set<R: Read + Seek>(source: &mut Source<R>, take: &mut Take<'_>) -> Result<(), ErrorKind> {
    let mut member = Vec::new();
    for _ in 0..read_len(source)? {
        let Some(len) = read_short(source, &mut member)? else {
            let score = f64::from_le_bytes(source.array()?);
            take(Part::Scored(&member, score))?;
            continue;
        };
        // The score stands behind the member.
        let begin = source.offset();
        source.pass(len)?;
        let score = f64::from_le_bytes(source.array()?);
        take(Part::Begin(Long::Scored(score)))?;
        source.seek(begin)?;
        pass_on(source, len, take)?;
        source.pass(size_of::<f64>() as u64)?;
    }
    Ok(())
}

fn hash<I: Input>(source: &mut I, take: &mut Take<'_>) -> Result<(), ErrorKind> {
    let (mut field, mut value) = (Vec::new(), Vec::new());
    for _ in 0..read_len(source)? {
        let long_field = read_short(source, &mut field)?;
        if let Some(len) = long_field {
            take(Part::Begin(Long::Pair))?;
            pass_on(source, len, take)?;
        }
        let long_value = read_short(source, &mut value)?;
        if let (None, Some(_)) = (long_field, long_value) {
            take(Part::Begin(Long::Pair))?;
            hand_over(&field, take)?;
        }
        match (long_field, long_value) {
            (_, Some(len)) => pass_on(source, len, take)?,
            (Some(_), None) => hand_over(&value, take)?,
            (None, None) => take(Part::Pair(&field, &value))?,
        }
    }
    Ok(())
}

/// The type, the bytes of the value as they are, and what `dump` puts behind them.
fn payload<R: Read + Seek>(
    source: &mut Source<R>,
    (code, dialect, version): (u8, format::Dialect, u32),
    take: &mut Take<'_>,
) -> Result<(), ErrorKind> {
    let begin = source.offset();
    skip::pass_value(source, code, dialect)?;
    let len = source.offset() - begin;
    source.seek(begin)?;
    let version = (version as u16).to_le_bytes();
    take(Part::Begin(Long::Payload))?;
    take(Part::Text(1 + len + (version.len() + size_of::<u64>()) as u64))?;
    let mut sum = 0;
    let mut take_summed = |bytes: &[u8]| {
        sum = crc64(sum, bytes);
        take(Part::Bytes(bytes))
    };
    take_summed(&[code])?;
    copy(source, len, &mut take_summed)?;
    take_summed(&version)?;
    take(Part::Bytes(&sum.to_le_bytes()))
}

/// A text of a collection that is longer comes in pieces.
const SHORT_LEN: u64 = 4 * BUFFER_LEN as u64;
