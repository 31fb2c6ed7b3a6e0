//! The request parser: finds the arguments of the next request in a connection's input, and can stop and go
//! on at every byte. Never copies an argument, never reads a byte twice for one request, never looks at what
//! a command means.

use base::limits;
use base::num::parse_i64;

use base::quoting::split_args;

/// Where one argument lies: in the input, or whole in the caller's list of big arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Offset into the input, or the index in the list of big arguments.
    pub start: u32,
    /// Bytes, or `Span::BIG`.
    pub len: u32,
}

/// What a client may send; the caller derives it from the configuration and the client's state.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `proto-max-bulk-len`; a replication link passes `u64::MAX`.
    pub bulk_len_max: u64,
    /// Arguments of one request.
    pub multibulk_max: u32,
    /// Bytes of an inline request, and of the line that holds a count or a length.
    pub inline_max: usize,
    /// False: the client must log in first, and may send only small requests until then.
    pub authenticated: bool,
}

/// How far one call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// One whole request in `input[..end]`; the next may begin at `end`. Its arguments are the spans appended
    /// since it began, or with `inline` what `Parser::take_inline` returns. Neither: an empty request, to be
    /// skipped.
    Done { end: usize, inline: bool },
    /// The input ends inside a request, or is used up. Call again with the same input made longer.
    More,
    /// The input ends inside a bulk of `len` bytes, at least `BIG_ARGUMENT`; `input[at..]` is its beginning.
    ///
    /// The caller may move `input[at..]` into a buffer of its own, cut its input to `at`, and read the
    /// missing `len - (input.len() - at)` bytes there, growing the buffer as they arrive. Then it calls
    /// `Parser::big_done`, and whatever it reads next stands at `at` again. Or it treats this as `More`: once
    /// all `len` bytes are in the input, the bulk becomes a plain span.
    Big { len: usize, at: usize },
}

/// The state of a half-read request. Between requests it holds nothing.
#[derive(Debug, Default)]
pub struct Parser {
    /// Offset into the input of the next element: a line, a bulk's bytes, or the line end after them.
    position: usize,
    /// Bytes from `position` on that are known to hold no line end.
    scanned: usize,
    /// What stands at `position`.
    expected: Expected,
    /// Arguments still to come, with the one being read.
    remaining: u32,
    inline: Vec<Vec<u8>>,
}

/// Reasons to send an error and close the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    InvalidMultibulkLength,
    InvalidBulkLength,
    InvalidLineEnd,
    ExpectedDollar(u8),
    TooBigMultibulkCount,
    TooBigBulkCount,
    TooBigInline,
    TooBigRequest,
    UnauthenticatedMultibulkLength,
    UnauthenticatedBulkLength,
    UnbalancedQuotes,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Expected {
    /// Nothing of a request has been seen.
    #[default]
    Request,
    /// The rest of an inline request, or of the line with the count.
    FirstLine,
    /// The line with a bulk's length.
    BulkHeader,
    /// This many bytes and a line end.
    BulkBody(usize),
    /// The line end after a bulk that the caller read itself.
    BulkEnd,
}

impl Span {
    /// As `len`: `start` is an index in the caller's list of big arguments.
    pub const BIG: u32 = u32::MAX;

    #[inline]
    pub fn is_big(self) -> bool {
        self.len == Self::BIG
    }

    /// The argument's bytes; must not be big.
    #[inline]
    pub fn of(self, input: &[u8]) -> &[u8] {
        debug_assert!(!self.is_big());
        &input[self.start as usize..][..self.len as usize]
    }
}

impl Default for Limits {
    /// The default configuration, logged in.
    fn default() -> Self {
        Self {
            bulk_len_max: limits::BULK_LEN_DEFAULT,
            multibulk_max: limits::MULTIBULK_COUNT as u32,
            inline_max: limits::INLINE_REQUEST_LEN,
            authenticated: true,
        }
    }
}

impl Limits {
    #[inline]
    fn bulk_len_allowed(&self) -> u64 {
        if self.authenticated {
            self.bulk_len_max
        } else {
            self.bulk_len_max.min(limits::UNAUTHENTICATED_BULK as u64)
        }
    }

    #[inline]
    fn multibulk_allowed(&self) -> u32 {
        if self.authenticated {
            self.multibulk_max
        } else {
            self.multibulk_max.min(limits::UNAUTHENTICATED_MULTIBULK as u32)
        }
    }
}

impl Parser {
    /// Reads on until one request is whole or the input ends.
    ///
    /// An idle parser begins at `from`; in the middle of a request it goes on where it stopped and ignores
    /// `from`. Spans are appended and hold offsets into `input`; those of a half-read request must be kept
    /// for the next call. After an error the parser is idle again and the connection's input is worthless.
    #[inline]
    pub fn parse(
        &mut self,
        input: &[u8],
        from: usize,
        limits: &Limits,
        spans: &mut Vec<Span>,
    ) -> Result<Progress, ProtocolError> {
        if self.expected == Expected::Request {
            self.position = from;
        }
        loop {
            if let Some(end) = self.run(input, limits, spans) {
                self.reset();
                return Ok(Progress::Done { end, inline: false });
            }
            match self.step(input, limits, spans) {
                Ok(None) => {}
                Ok(Some(progress)) => return Ok(progress),
                Err(error) => {
                    self.reset();
                    return Err(error);
                }
            }
        }
    }

    /// Forgets a half-read request.
    #[inline]
    pub fn reset(&mut self) {
        self.expected = Expected::Request;
        self.scanned = 0;
        self.remaining = 0;
    }

    /// Not in the middle of a request: the next call begins at its `from`.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.expected == Expected::Request
    }

    /// Offset of the first byte that is not yet behind the parser; for a half-read request only.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The arguments of the inline request just read.
    pub fn take_inline(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.inline)
    }

    /// The caller now owns all bytes of the bulk that `Progress::Big` announced, as number `index` of its
    /// list, and has cut its input to where the bulk began.
    pub fn big_done(&mut self, index: u32, spans: &mut Vec<Span>) {
        debug_assert!(matches!(self.expected, Expected::BulkBody(_)), "no big bulk was announced");
        spans.push(Span { start: index, len: Span::BIG });
        self.expected = Expected::BulkEnd;
    }

    /// The caller moved the half-read request `by` bytes towards the start of its input; `spans` are that
    /// request's.
    pub fn rebase(&mut self, by: usize, spans: &mut [Span]) {
        debug_assert!(by <= self.position && u32::try_from(by).is_ok());
        self.position -= by;
        for span in spans.iter_mut().filter(|span| !span.is_big()) {
            span.start -= by as u32;
        }
    }

    /// The hot path: consumes well-formed elements as long as they are whole, and returns the request's end.
    /// Stops before whatever is unusual, for `step` to look at.
    #[inline]
    fn run(&mut self, input: &[u8], limits: &Limits, spans: &mut Vec<Span>) -> Option<usize> {
        let mut at = self.position;
        let mut remaining = self.remaining;
        if self.expected == Expected::Request {
            let (count, next) = header(input, at, b'*')?;
            if count == 0 || count > limits.multibulk_allowed() as usize {
                return None;
            }
            (remaining, at) = (count as u32, next);
        } else if self.expected != Expected::BulkHeader || self.scanned != 0 {
            return None;
        }
        let len_max = usize::try_from(limits.bulk_len_allowed()).unwrap_or(usize::MAX);
        while let Some((span, next)) = bulk(input, at, len_max) {
            spans.push(span);
            at = next;
            remaining -= 1;
            if remaining == 0 {
                return Some(at);
            }
        }
        (self.position, self.remaining, self.expected) = (at, remaining, Expected::BulkHeader);
        None
    }

    /// Consumes one element of any kind. `None`: done, the next element follows.
    #[inline(never)]
    fn step(
        &mut self,
        input: &[u8],
        limits: &Limits,
        spans: &mut Vec<Span>,
    ) -> Result<Option<Progress>, ProtocolError> {
        match self.expected {
            Expected::Request | Expected::FirstLine => match input.get(self.position) {
                None => Ok(Some(Progress::More)),
                Some(b'*') => self.count(input, limits),
                Some(_) => self.inline_request(input, limits),
            },
            Expected::BulkHeader => self.bulk_header(input, limits),
            Expected::BulkBody(len) => self.bulk_body(input, len, spans),
            Expected::BulkEnd => self.bulk_end(input),
        }
    }

    fn count(&mut self, input: &[u8], limits: &Limits) -> Result<Option<Progress>, ProtocolError> {
        self.expected = Expected::FirstLine;
        let Some(digits) = self.header_line(input, limits, ProtocolError::TooBigMultibulkCount)? else {
            return Ok(Some(Progress::More));
        };
        let count = match parse_i64(&digits[1..]) {
            Some(count) if count <= i64::from(limits.multibulk_max) => count.max(0) as u32,
            _ => return Err(ProtocolError::InvalidMultibulkLength),
        };
        if count > limits.multibulk_allowed() {
            return Err(ProtocolError::UnauthenticatedMultibulkLength);
        }
        self.skip(digits.len() + LINE_END.len());
        self.remaining = count;
        Ok(self.next_bulk())
    }

    fn bulk_header(&mut self, input: &[u8], limits: &Limits) -> Result<Option<Progress>, ProtocolError> {
        let Some(digits) = self.header_line(input, limits, ProtocolError::TooBigBulkCount)? else {
            return Ok(Some(Progress::More));
        };
        let len = match parse_i64(&digits[1..]).map(u64::try_from) {
            Some(Ok(len)) if len <= limits.bulk_len_max => len,
            _ => return Err(ProtocolError::InvalidBulkLength),
        };
        if len > limits.bulk_len_allowed() {
            return Err(ProtocolError::UnauthenticatedBulkLength);
        }
        self.skip(digits.len() + LINE_END.len());
        let len = usize::try_from(len).map_err(|_| ProtocolError::InvalidBulkLength)?;
        self.expected = Expected::BulkBody(len);
        Ok(None)
    }

    fn bulk_body(
        &mut self,
        input: &[u8],
        len: usize,
        spans: &mut Vec<Span>,
    ) -> Result<Option<Progress>, ProtocolError> {
        let available = input.len().saturating_sub(self.position);
        if len >= limits::BIG_ARGUMENT && available < len {
            return Ok(Some(Progress::Big { len, at: self.position }));
        }
        if available < len || available - len < LINE_END.len() {
            return Ok(Some(Progress::More));
        }
        let span = span(self.position, len).ok_or(ProtocolError::TooBigRequest)?;
        self.skip(len);
        spans.push(span);
        self.bulk_end(input)
    }

    fn bulk_end(&mut self, input: &[u8]) -> Result<Option<Progress>, ProtocolError> {
        match input.get(self.position..self.position + LINE_END.len()) {
            None => Ok(Some(Progress::More)),
            Some(bytes) if bytes == LINE_END => {
                self.skip(LINE_END.len());
                self.remaining -= 1;
                Ok(self.next_bulk())
            }
            Some(_) => Err(ProtocolError::InvalidLineEnd),
        }
    }

    fn inline_request(&mut self, input: &[u8], limits: &Limits) -> Result<Option<Progress>, ProtocolError> {
        self.expected = Expected::FirstLine;
        let Some(len) = self.find(b'\n', input, limits, ProtocolError::TooBigInline)? else {
            return Ok(Some(Progress::More));
        };
        let line = &input[self.position..self.position + len];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.inline = split_args(line).map_err(|_| ProtocolError::UnbalancedQuotes)?;
        self.skip(len + 1);
        self.reset();
        Ok(Some(Progress::Done { end: self.position, inline: !self.inline.is_empty() }))
    }

    /// The line at `position` without its end, if all of it is there.
    fn header_line<'a>(
        &mut self,
        input: &'a [u8],
        limits: &Limits,
        too_long: ProtocolError,
    ) -> Result<Option<&'a [u8]>, ProtocolError> {
        let Some(len) = self.find(b'\r', input, limits, too_long)? else { return Ok(None) };
        let end = self.position + len;
        let Some(after) = input.get(end + 1) else { return Ok(None) };
        // An empty line leaves its line end as the byte that should have been a dollar. A count's line is
        // here because it begins with an asterisk.
        let marker = input[self.position];
        if self.expected == Expected::BulkHeader && marker != b'$' {
            return Err(ProtocolError::ExpectedDollar(marker));
        }
        if *after != b'\n' {
            return Err(ProtocolError::InvalidLineEnd);
        }
        Ok(Some(&input[self.position..end]))
    }

    /// Bytes from `position` to the next `needle`, and remembers how far it looked.
    fn find(
        &mut self,
        needle: u8,
        input: &[u8],
        limits: &Limits,
        too_long: ProtocolError,
    ) -> Result<Option<usize>, ProtocolError> {
        let rest = input.get(self.position..).unwrap_or_default();
        let rest = &rest[..rest.len().min(limits.inline_max.saturating_add(1))];
        let found = memchr::memchr(needle, &rest[self.scanned..]).map(|index| self.scanned + index);
        self.scanned = found.unwrap_or(rest.len());
        if found.is_none() && rest.len() > limits.inline_max { Err(too_long) } else { Ok(found) }
    }

    fn skip(&mut self, len: usize) {
        self.position += len;
        self.scanned = 0;
    }

    /// After a count or a whole bulk: another bulk, or the request's end.
    fn next_bulk(&mut self) -> Option<Progress> {
        self.expected = Expected::BulkHeader;
        if self.remaining > 0 {
            return None;
        }
        self.reset();
        Some(Progress::Done { end: self.position, inline: false })
    }
}

impl ProtocolError {
    /// The error's text as it is sent, without the leading minus.
    pub fn text(&self) -> String {
        let reason = match self {
            Self::InvalidMultibulkLength => "invalid multibulk length",
            Self::InvalidBulkLength => "invalid bulk length",
            Self::InvalidLineEnd => "invalid CRLF in request",
            Self::ExpectedDollar(byte) => {
                return format!("ERR Protocol error: expected '$', got '{}'", char::from(*byte));
            }
            Self::TooBigMultibulkCount => "too big mbulk count string",
            Self::TooBigBulkCount => "too big bulk count string",
            Self::TooBigInline => "too big inline request",
            Self::TooBigRequest => "too big request",
            Self::UnauthenticatedMultibulkLength => "unauthenticated multibulk length",
            Self::UnauthenticatedBulkLength => "unauthenticated bulk length",
            Self::UnbalancedQuotes => "unbalanced quotes in request",
        };
        format!("ERR Protocol error: {reason}")
    }
}

/// A whole bulk at `at`, and where the next element begins.
#[inline(always)]
fn bulk(input: &[u8], at: usize, len_max: usize) -> Option<(Span, usize)> {
    let (len, start) = header(input, at, b'$')?;
    if len > len_max {
        return None;
    }
    let end = start + len;
    if input.get(end..end + LINE_END.len())? != LINE_END {
        return None;
    }
    Some((span(start, len)?, end + LINE_END.len()))
}

/// The number in a line `<marker>digits CR LF`, and where the next line begins. Gives up on whatever has more
/// than nine digits, a sign, a leading zero or another line end.
#[inline(always)]
fn header(input: &[u8], at: usize, marker: u8) -> Option<(usize, usize)> {
    let rest = input.get(at..)?;
    match *rest {
        [first, ones, b'\r', b'\n', ..] if first == marker && ones.is_ascii_digit() => {
            Some((usize::from(ones - b'0'), at + 4))
        }
        [first, tens @ b'1'..=b'9', ones, b'\r', b'\n', ..] if first == marker && ones.is_ascii_digit() => {
            Some((usize::from(tens - b'0') * 10 + usize::from(ones - b'0'), at + 5))
        }
        [first, b'1'..=b'9', ..] if first == marker => long_header(rest, at),
        _ => None,
    }
}

#[inline(never)]
fn long_header(rest: &[u8], at: usize) -> Option<(usize, usize)> {
    let digits = &rest[1..rest.len().min(1 + 9)];
    let mut number = 0;
    let mut len = 0;
    for digit in digits.iter().take_while(|byte| byte.is_ascii_digit()) {
        number = number * 10 + usize::from(digit - b'0');
        len += 1;
    }
    let end = 1 + len;
    (rest.get(end..end + LINE_END.len())? == LINE_END).then_some((number, at + end + LINE_END.len()))
}

#[inline(always)]
fn span(start: usize, len: usize) -> Option<Span> {
    // One comparison for both: a start or a length beyond 4 GB puts the end there too.
    u32::try_from(start + len).ok().filter(|end| *end < Span::BIG)?;
    Some(Span { start: start as u32, len: len as u32 })
}

const LINE_END: &[u8] = b"\r\n";
