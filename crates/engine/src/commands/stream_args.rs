//! What the commands of streams share: their words (ids, ends of ranges, lists of ids, trims) and their
//! replies (ids, entries). It never touches a stream.

use base::bytes::eq_ignore_case;
use ds::stream::{Entry, References, StreamId, Trim, TrimTo, Trimmed};
use resp::reply::Reply;
use smallvec::SmallVec;

use crate::args::Argv;
use crate::elements::reply_element;
use crate::error::CmdError;
use crate::session::Origin;

/// Ids of a request; most have few.
pub(super) type Ids = SmallVec<[StreamId; 8]>;

pub(super) const INVALID_ID: CmdError =
    CmdError::fixed("ERR Invalid stream ID specified as stream command argument");

/// `ms-seq`, or `ms` for `ms-0`.
pub(super) fn id(text: &[u8]) -> Result<StreamId, CmdError> {
    StreamId::parse(text, 0).ok_or(INVALID_ID)
}

/// As `id`; `-` and `+` are the least and the greatest, and `missing_seq` is what `ms` alone stands for.
pub(super) fn any_id(text: &[u8], missing_seq: u64) -> Result<StreamId, CmdError> {
    match text {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        _ => StreamId::parse(text, missing_seq).ok_or(INVALID_ID),
    }
}

pub(super) fn ids<'a>(texts: impl Iterator<Item = &'a [u8]>) -> Result<Ids, CmdError> {
    texts.map(id).collect()
}

/// The first id of a range: `(` in front leaves it out.
pub(super) fn range_start(text: &[u8]) -> Result<StreamId, CmdError> {
    match text {
        [b'(', open @ ..] if !open.is_empty() => {
            id(open)?.next().ok_or(CmdError::fixed("ERR invalid start ID for the interval"))
        }
        _ => any_id(text, 0),
    }
}

/// The last id of a range: `(` in front leaves it out, `ms` alone is all of that millisecond.
pub(super) fn range_end(text: &[u8]) -> Result<StreamId, CmdError> {
    match text {
        [b'(', open @ ..] if !open.is_empty() => StreamId::parse(open, u64::MAX)
            .ok_or(INVALID_ID)?
            .previous()
            .ok_or(CmdError::fixed("ERR invalid end ID for the interval")),
        _ => any_id(text, u64::MAX),
    }
}

/// KEEPREF, DELREF or ACKED.
pub(super) fn references(text: &[u8]) -> Option<References> {
    POLICIES.iter().find(|(word, _)| eq_ignore_case(text, word)).map(|(_, policy)| *policy)
}

/// A policy's word; none for the default.
pub(super) fn policy_word(references: References) -> Option<&'static [u8]> {
    let word = POLICIES.iter().find(|(_, policy)| *policy == references).map(|(word, _)| *word);
    word.filter(|_| references != References::default())
}

const POLICIES: [(&[u8], References); 3] =
    [(b"KEEPREF", References::Keep), (b"DELREF", References::Drop), (b"ACKED", References::Acked)];

/// `[KEEPREF | DELREF | ACKED] IDS numids id [id ...]`, in any order.
pub(super) struct IdList {
    pub references: References,
    pub ids: Ids,
}

impl IdList {
    pub fn parse(args: &Argv<'_>, first: usize) -> Result<IdList, CmdError> {
        let (mut policy, mut found, mut at) = (None, None, first);
        while at < args.len() {
            if let Some(named) = references(args.at(at)) {
                if policy.replace(named).is_some() {
                    return Err(CmdError::SYNTAX);
                }
                at += 1;
            } else if args.is(at, "ids") && found.is_none() {
                let (ids, behind) = id_block(args, at)?;
                found = Some(ids);
                at = behind;
            } else {
                return Err(CmdError::SYNTAX);
            }
        }
        let ids = found.ok_or(CmdError::SYNTAX)?;
        Ok(IdList { references: policy.unwrap_or_default(), ids })
    }
}

/// The ids of `IDS numids id [id ...]` at `at`, and where the words behind it begin.
pub(super) fn id_block(args: &Argv<'_>, at: usize) -> Result<(Ids, usize), CmdError> {
    let count = args.integer(args.operand(at)?).ok().and_then(|count| usize::try_from(count).ok());
    let count = count.filter(|count| *count > 0).ok_or(CmdError::fixed(NO_COUNT))?;
    if count > args.len() - at - 2 {
        return Err(CmdError::fixed(WRONG_COUNT));
    }
    let ids = ids(args.from(at + 2).take(count))?;
    Ok((ids, at + 2 + count))
}

const NO_COUNT: &str = "ERR Number of IDs must be a positive integer";
const WRONG_COUNT: &str = "ERR The `numids` parameter must match the number of arguments";

/// Reads the options of a trim among others: MAXLEN, MINID, LIMIT, and what becomes of pending entries.
#[derive(Default)]
pub(super) struct TrimOptions {
    to: Option<TrimTo>,
    approximate: bool,
    limit: Option<u64>,
    references: Option<References>,
}

/// A trim as it was asked for.
#[derive(Clone, Copy)]
pub(super) struct TrimRequest {
    pub trim: Trim,
    pub references: References,
}

impl TrimOptions {
    /// Reads the option at `at`, if it is one of them, and says where the next word is.
    pub fn read(&mut self, args: &Argv<'_>, at: usize) -> Result<Option<usize>, CmdError> {
        if let Some(policy) = references(args.at(at)) {
            if self.references.replace(policy).is_some() {
                return Err(CmdError::SYNTAX);
            }
            return Ok(Some(at + 1));
        }
        if at == args.last() {
            return Ok(None);
        }
        if args.is(at, "maxlen") || args.is(at, "minid") {
            return self.read_threshold(args, at).map(Some);
        }
        if args.is(at, "limit") {
            let limit = u64::try_from(args.integer(at + 1)?);
            self.limit = Some(limit.map_err(|_| CmdError::new("ERR The LIMIT argument must be >= 0."))?);
            return Ok(Some(at + 2));
        }
        Ok(None)
    }

    fn read_threshold(&mut self, args: &Argv<'_>, at: usize) -> Result<usize, CmdError> {
        if self.to.is_some() {
            return Err(CmdError::new(
                "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
            ));
        }
        let has_sign = at + 1 < args.last() && matches!(args.at(at + 1), b"~" | b"=");
        self.approximate = has_sign && args.at(at + 1) == b"~";
        let threshold = at + 1 + usize::from(has_sign);
        self.to = Some(if args.is(at, "maxlen") {
            let len = u64::try_from(args.integer(threshold)?);
            TrimTo::Len(len.map_err(|_| CmdError::new("ERR The MAXLEN argument must be >= 0."))?)
        } else {
            TrimTo::Id(id(args.at(threshold))?)
        });
        Ok(threshold + 1)
    }

    /// The trim, which must be asked for.
    pub fn finish_required(self, node_entries: usize, origin: Origin) -> Result<TrimRequest, CmdError> {
        match (self.to.is_none(), self.limit) {
            // Redis asks for a strategy before it looks at a limit of none.
            (true, None | Some(0)) => Err(NO_STRATEGY),
            _ => self.finish(node_entries, origin)?.ok_or(NO_STRATEGY),
        }
    }

    /// The trim, if one is asked for. An approximate one without a limit gets 100 nodes' entries. What a log
    /// holds was limited when it was written: Redis logs an exact trim and lets LIMIT stand behind it.
    pub fn finish(self, node_entries: usize, origin: Origin) -> Result<Option<TrimRequest>, CmdError> {
        let from_log = origin == Origin::Replay;
        let Some(to) = self.to else {
            return match self.limit {
                None => Ok(None),
                Some(0) => Err(LIMITED_EXACT),
                Some(_) => Err(CmdError::fixed(
                    "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
                )),
            };
        };
        if self.limit.is_some() && !self.approximate && !from_log {
            return Err(LIMITED_EXACT);
        }
        let limit = match self.limit {
            _ if from_log => 0,
            Some(limit) => limit,
            None if self.approximate => default_limit(node_entries),
            None => 0,
        };
        let trim = Trim { to, approximate: self.approximate, limit };
        Ok(Some(TrimRequest { trim, references: self.references.unwrap_or_default() }))
    }
}

const NO_STRATEGY: CmdError =
    CmdError::fixed("ERR syntax error, XTRIM must be called with a trimming strategy");
const LIMITED_EXACT: CmdError =
    CmdError::fixed("ERR syntax error, LIMIT cannot be used without the special ~ option");

/// Entries that an approximate trim looks at unless told otherwise.
fn default_limit(node_entries: usize) -> u64 {
    match node_entries.saturating_mul(100) as u64 {
        0 => 10_000,
        limit => limit.min(1_000_000),
    }
}

/// The words of an exact trim that does the same again.
pub(super) struct TrimWords {
    strategy: &'static [u8],
    threshold: SmallVec<[u8; 64]>,
    policy: Option<&'static [u8]>,
}

impl TrimWords {
    /// `len` is how many entries there are after the trim.
    pub fn new(request: TrimRequest, done: Trimmed, len: u64) -> TrimWords {
        let policy = policy_word(request.references);
        let (strategy, threshold): (&'static [u8], _) = match request.trim.to {
            TrimTo::Len(max) => {
                let max = if request.trim.approximate { len } else { max };
                (b"MAXLEN", SmallVec::from_slice(itoa::Buffer::new().format(max).as_bytes()))
            }
            TrimTo::Id(min) => {
                let min = done.stopped_at.filter(|_| request.trim.approximate).unwrap_or(min);
                (b"MINID", SmallVec::from_slice(min.text().bytes()))
            }
        };
        TrimWords { strategy, threshold, policy }
    }

    pub fn words(&self) -> impl Iterator<Item = &[u8]> {
        [self.strategy, b"=", &self.threshold].into_iter().chain(self.policy)
    }
}

pub(super) fn reply_id(reply: &mut Reply, id: StreamId) {
    reply.bulk(id.text().bytes());
}

/// An id and its fields with their values.
pub(super) fn reply_entry(reply: &mut Reply, entry: Entry<'_>) {
    reply.array(2);
    reply_entry_parts(reply, entry);
}

/// As `reply_entry`, where more follows in the same array.
pub(super) fn reply_entry_parts(reply: &mut Reply, entry: Entry<'_>) {
    reply_id(reply, entry.id);
    reply.array(entry.len() * 2);
    for (field, value) in entry.pairs() {
        reply_element(reply, field);
        reply_element(reply, value);
    }
}

/// `NOGROUP No such key 'k' or consumer group 'g'`, with `tail` behind it.
pub(super) fn no_group(key: &[u8], group: &[u8], tail: &str) -> CmdError {
    let parts: [&[u8]; 6] =
        [b"NOGROUP No such key '", key, b"' or consumer group '", group, b"'", tail.as_bytes()];
    CmdError::of_bytes(parts.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_ranges() {
        let check = |text: &str, start: Option<StreamId>, end: Option<StreamId>| {
            assert_eq!(range_start(text.as_bytes()).ok(), start, "{text}");
            assert_eq!(range_end(text.as_bytes()).ok(), end, "{text}");
        };
        let id = StreamId::new;
        check("-", Some(StreamId::MIN), Some(StreamId::MIN));
        check("+", Some(StreamId::MAX), Some(StreamId::MAX));
        check("5", Some(id(5, 0)), Some(id(5, u64::MAX)));
        check("5-3", Some(id(5, 3)), Some(id(5, 3)));
        check("(5", Some(id(5, 1)), Some(id(5, u64::MAX - 1)));
        check("(5-0", Some(id(5, 1)), Some(id(4, u64::MAX)));
        check("(0-0", Some(id(0, 1)), None);
        check("(18446744073709551615-18446744073709551615", None, StreamId::MAX.previous());
        for text in ["(", "(-", "(+", "x", "((5"] {
            check(text, None, None);
        }
    }
}
