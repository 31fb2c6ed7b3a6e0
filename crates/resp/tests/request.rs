//! The request parser against tables of requests and errors, at every split of the input, and against noise.

use proptest::collection::vec;
use proptest::prelude::*;
use resp::{Limits, Parser, Progress, ProtocolError, Span};

type Request = Vec<Vec<u8>>;

#[derive(Debug, Default, PartialEq)]
struct Outcome {
    requests: Vec<Request>,
    error: Option<ProtocolError>,
}

/// What a connection does with its input between reads.
#[derive(Clone, Copy, Debug)]
struct Habits {
    /// Reads big arguments into buffers of their own.
    takes_big: bool,
    /// Drops whole requests from its input after each read.
    compacts: bool,
}

/// A server's side of a connection, as small as it can be.
struct Connection {
    habits: Habits,
    limits: Limits,
    parser: Parser,
    input: Vec<u8>,
    from: usize,
    spans: Vec<Span>,
    big: Vec<Vec<u8>>,
    filling: Option<(Vec<u8>, usize)>,
    outcome: Outcome,
}

impl Connection {
    fn new(habits: Habits, limits: Limits) -> Self {
        Self {
            habits,
            limits,
            parser: Parser::default(),
            input: Vec::new(),
            from: 0,
            spans: Vec::new(),
            big: Vec::new(),
            filling: None,
            outcome: Outcome::default(),
        }
    }

    fn feed(&mut self, piece: &[u8]) {
        let rest = self.fill(piece);
        self.input.extend_from_slice(rest);
        while self.outcome.error.is_none() && self.advance() {}
        if self.habits.compacts {
            self.compact();
        }
    }

    fn fill<'a>(&mut self, piece: &'a [u8]) -> &'a [u8] {
        let Some((mut buffer, len)) = self.filling.take() else { return piece };
        let (taken, rest) = piece.split_at(piece.len().min(len - buffer.len()));
        buffer.extend_from_slice(taken);
        if buffer.len() < len {
            self.filling = Some((buffer, len));
        } else {
            self.parser.big_done(self.big.len() as u32, &mut self.spans);
            self.big.push(buffer);
        }
        rest
    }

    /// False when there is nothing more to do with this input.
    fn advance(&mut self) -> bool {
        if self.filling.is_some() {
            return false;
        }
        match self.parser.parse(&self.input, self.from, &self.limits, &mut self.spans) {
            Ok(Progress::Done { end, inline }) => self.finish(end, inline),
            Ok(Progress::More) => return false,
            Ok(Progress::Big { len, at }) => {
                if self.habits.takes_big {
                    self.filling = Some((self.input.split_off(at), len));
                }
                return false;
            }
            Err(error) => self.outcome.error = Some(error),
        }
        true
    }

    fn finish(&mut self, end: usize, inline: bool) {
        assert!(self.parser.is_idle() && end > self.from && end <= self.input.len());
        let arguments = if inline { self.parser.take_inline() } else { self.arguments() };
        if !arguments.is_empty() {
            self.outcome.requests.push(arguments);
        }
        self.from = end;
        self.spans.clear();
        self.big.clear();
    }

    fn arguments(&self) -> Request {
        let bytes = |span: &Span| match span.is_big() {
            true => self.big[span.start as usize].clone(),
            false => span.of(&self.input).to_vec(),
        };
        self.spans.iter().map(bytes).collect()
    }

    fn compact(&mut self) {
        if !self.parser.is_idle() {
            self.parser.rebase(self.from, &mut self.spans);
        }
        self.input.drain(..self.from);
        self.from = 0;
    }
}

fn run<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, habits: Habits, limits: &Limits) -> Outcome {
    let mut connection = Connection::new(habits, *limits);
    for piece in pieces {
        connection.feed(piece);
    }
    connection.outcome
}

const ALL_HABITS: [Habits; 4] = [
    Habits { takes_big: false, compacts: false },
    Habits { takes_big: false, compacts: true },
    Habits { takes_big: true, compacts: false },
    Habits { takes_big: true, compacts: true },
];

/// The outcome must not depend on where the input was cut; every cut of a short input is tried.
fn check_splits(input: &[u8], limits: &Limits) -> Outcome {
    let whole = run([input], ALL_HABITS[0], limits);
    for habits in ALL_HABITS {
        for at in 0..=input.len() {
            let (left, right) = input.split_at(at);
            assert_eq!(run([left, right], habits, limits), whole, "cut at {at}, {habits:?}");
        }
        assert_eq!(run(input.chunks(1), habits, limits), whole, "byte by byte, {habits:?}");
    }
    whole
}

fn check(input: &str, requests: &[&[&str]], error: Option<ProtocolError>) {
    check_limits(input, &Limits::default(), requests, error);
}

fn check_limits(input: &str, limits: &Limits, requests: &[&[&str]], error: Option<ProtocolError>) {
    let bytes = |request: &&[&str]| request.iter().map(|text| text.as_bytes().to_vec()).collect();
    let expected = Outcome { requests: requests.iter().map(bytes).collect(), error };
    assert_eq!(check_splits(input.as_bytes(), limits), expected, "{input:?}");
}

#[test]
fn requests() {
    let ping: &[&str] = &["PING"];
    let cases: &[(&str, &[&[&str]])] = &[
        ("", &[]),
        ("*1\r\n$4\r\nPING\r\n", &[ping]),
        ("*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n", &[ping, ping]),
        ("*3\r\n$3\r\nSET\r\n$0\r\n\r\n$10\r\n0123456789\r\n", &[&["SET", "", "0123456789"]]),
        ("*2\r\n$4\r\nECHO\r\n$4\r\n\r\n\r\n\r\n", &[&["ECHO", "\r\n\r\n"]]),
        ("*2\r\n$1\r\na\r\n$2\r\n", &[]),
        ("*0\r\n*-1\r\n*-10\r\n*1\r\n$4\r\nPING\r\n", &[ping]),
        ("\r\n\n   \r\nPING\r\nPING\nPING", &[ping, ping]),
        ("PING\r\n*1\r\n$4\r\nPING\r\nPING\r\n", &[ping, ping, ping]),
        ("  set  a\tb  \r\n", &[&["set", "a", "b"]]),
        ("*2\r\n$4\r\nPOST\r\n$1\r\n/\r\n", &[&["POST", "/"]]),
        ("$4\r\n", &[&["$4"]]),
    ];
    for (input, expected) in cases {
        check(input, expected, None);
    }
}

#[test]
fn quoted_inline_requests() {
    let cases: &[(&str, &[&[&str]])] = &[
        ("set k \"a b\\n\\x41\"\r\n", &[&["set", "k", "a b\nA"]]),
        ("set k 'it\\'s'\n", &[&["set", "k", "it's"]]),
        ("set \"\" ''\n", &[&["set", "", ""]]),
    ];
    for (input, expected) in cases {
        check(input, expected, None);
    }
    for input in ["set k \"a\r\n", "set k 'a\n", "set k \"a\"b\n", "set \"\"\"test-key\"\"\" test-value\r\n"]
    {
        check(input, &[], Some(ProtocolError::UnbalancedQuotes));
    }
}

#[test]
fn errors() {
    use ProtocolError::*;
    let cases = [
        ("*3000000000\r\n", InvalidMultibulkLength),
        ("*+1\r\n", InvalidMultibulkLength),
        ("*01\r\n", InvalidMultibulkLength),
        ("*\r\n", InvalidMultibulkLength),
        ("* 1\r\n", InvalidMultibulkLength),
        ("*1x\n$4\r\nPING\r\n", InvalidMultibulkLength),
        ("*99999999999999999999\r\n", InvalidMultibulkLength),
        ("*1\rx$4\r\nPING\r\n", InvalidLineEnd),
        ("*1\r\n$4\rxPING\r\n", InvalidLineEnd),
        ("*1\r\n$4\r\nPINGx\n", InvalidLineEnd),
        ("*1\r\n$4\r\nPING\rx", InvalidLineEnd),
        ("*1\r\n$4\r\nPINGxx", InvalidLineEnd),
        ("*1\r\nfoo\r\n", ExpectedDollar(b'f')),
        ("*1\r\nf\rx", ExpectedDollar(b'f')),
        ("*1\r\n\r\n", ExpectedDollar(b'\r')),
        ("*1\r\n$-10\r\n", InvalidBulkLength),
        ("*1\r\n$2000000000\r\n", InvalidBulkLength),
        ("*1\r\n$blabla\r\n", InvalidBulkLength),
        ("*1\r\n$\r\n", InvalidBulkLength),
        ("*1\r\n$04\r\nPING\r\n", InvalidBulkLength),
        ("*1\r\n$536870913\r\n", InvalidBulkLength),
    ];
    for (input, error) in cases {
        check(input, &[], Some(error));
    }
    check("*1\r\n$4\r\nPING\r\n*2\r\n$1\r\nx\r\nfooz\r\n", &[&["PING"]], Some(ExpectedDollar(b'f')));
}

#[test]
fn strangers_may_send_little() {
    use ProtocolError::*;
    let limits = Limits { authenticated: false, ..Limits::default() };
    let ten = format!("*10\r\n{}", "$1\r\na\r\n".repeat(10));
    check_limits(&ten, &limits, &[&["a"; 10]], None);
    check_limits("*11\r\n", &limits, &[], Some(UnauthenticatedMultibulkLength));
    check_limits("*3000000000\r\n", &limits, &[], Some(InvalidMultibulkLength));
    check_limits("*1\r\n$16384\r\n", &limits, &[], None);
    check_limits("*1\r\n$16385\r\n", &limits, &[], Some(UnauthenticatedBulkLength));
    check_limits("*1\r\n$536870913\r\n", &limits, &[], Some(InvalidBulkLength));
}

#[test]
fn endless_lines() {
    use ProtocolError::*;
    let limits = Limits { inline_max: 40, ..Limits::default() };
    let line = |marker: &str, len: usize| format!("{marker}{}", "x".repeat(len - marker.len()));
    for (prefix, marker, error) in
        [("", "*", TooBigMultibulkCount), ("*1\r\n", "$", TooBigBulkCount), ("", "\0", TooBigInline)]
    {
        check_limits(&format!("{prefix}{}", line(marker, 40)), &limits, &[], None);
        check_limits(&format!("{prefix}{}", line(marker, 41)), &limits, &[], Some(error));
        check_limits(&format!("{prefix}{}\r\n", line(marker, 41)), &limits, &[], Some(error));
    }
    let longest = line("x", 40);
    check_limits(&format!("{longest}\n"), &limits, &[&[&longest]], None);
}

#[test]
fn error_texts() {
    let cases = [
        (ProtocolError::ExpectedDollar(b'f'), "ERR Protocol error: expected '$', got 'f'"),
        (ProtocolError::InvalidMultibulkLength, "ERR Protocol error: invalid multibulk length"),
        (ProtocolError::InvalidBulkLength, "ERR Protocol error: invalid bulk length"),
        (ProtocolError::InvalidLineEnd, "ERR Protocol error: invalid CRLF in request"),
        (ProtocolError::TooBigMultibulkCount, "ERR Protocol error: too big mbulk count string"),
        (ProtocolError::TooBigBulkCount, "ERR Protocol error: too big bulk count string"),
        (ProtocolError::TooBigInline, "ERR Protocol error: too big inline request"),
        (
            ProtocolError::UnauthenticatedMultibulkLength,
            "ERR Protocol error: unauthenticated multibulk length",
        ),
        (ProtocolError::UnauthenticatedBulkLength, "ERR Protocol error: unauthenticated bulk length"),
        (ProtocolError::UnbalancedQuotes, "ERR Protocol error: unbalanced quotes in request"),
    ];
    for (error, text) in cases {
        assert_eq!(error.text(), text);
    }
}

/// Lengths around the threshold, whole, cut inside the bulk, and cut around its line end.
#[test]
fn big_arguments() {
    for len in [32 * 1024 - 1, 32 * 1024, 32 * 1024 + 1, 100_000] {
        let value = vec![b'v'; len];
        let request = vec![b"SET".to_vec(), value.clone(), b"k".to_vec(), value];
        let mut input = encode(&request);
        let one = input.len();
        input.extend(encode(&[b"PING".to_vec()]));
        let expected = Outcome { requests: vec![request, vec![b"PING".to_vec()]], error: None };
        let value_at = one - len - 2;
        for at in
            [20, 100, len, value_at - 1, value_at, value_at + 1, one - 3, one - 2, one - 1, one, one + 1]
        {
            for habits in ALL_HABITS {
                let (left, right) = input.split_at(at);
                assert_eq!(run([left, right], habits, &Limits::default()), expected, "len {len} cut at {at}");
            }
        }
        for habits in ALL_HABITS {
            assert_eq!(run(input.chunks(4096), habits, &Limits::default()), expected);
        }
    }
}

/// A length is a promise: the parser announces what is missing and reserves nothing for it.
#[test]
fn announced_is_not_allocated() {
    let (mut parser, mut spans) = (Parser::default(), Vec::new());
    let input = b"*1000000\r\n$500000000\r\nabc";
    let progress = parser.parse(input, 0, &Limits::default(), &mut spans);
    assert_eq!(progress, Ok(Progress::Big { len: 500_000_000, at: 22 }));
    assert_eq!(spans.capacity(), 0);
    assert!(!parser.is_idle());
    parser.reset();
    assert!(parser.is_idle());
}

fn encode(request: &[Vec<u8>]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", request.len()).into_bytes();
    for argument in request {
        out.extend(format!("${}\r\n", argument.len()).into_bytes());
        out.extend(argument);
        out.extend(b"\r\n");
    }
    out
}

fn request() -> impl Strategy<Value = Request> {
    let argument = prop_oneof![9 => vec(any::<u8>(), 0..12), 1 => vec(any::<u8>(), 90..120)];
    vec(argument, 1..5)
}

/// Bytes that look enough like requests to come far into the parser.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        3 => request().prop_map(|request| encode(&request)),
        2 => Just(b"*3\r\n".to_vec()),
        2 => Just(b"$1\r\nx\r\n".to_vec()),
        1 => Just(b"\r\n".to_vec()),
        1 => "[a-z\"' ]{0,9}\r?\n".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..6),
        1 => "[*$][-0-9]{0,12}\r?\n?".prop_map(String::into_bytes),
    ];
    vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_pipeline_comes_out_as_it_went_in(requests in vec(request(), 0..5)) {
        let input: Vec<u8> = requests.iter().flat_map(|request| encode(request)).collect();
        prop_assert_eq!(check_splits(&input, &Limits::default()), Outcome { requests, error: None });
    }

    #[test]
    fn cuts_do_not_matter_for_noise(input in noise(), authenticated: bool) {
        check_splits(&input, &Limits { authenticated, inline_max: 30, ..Limits::default() });
    }

    #[test]
    fn noise_costs_no_more_than_its_size(input in vec(any::<u8>(), 0..300)) {
        let (mut parser, mut spans, mut from) = (Parser::default(), Vec::new(), 0);
        let limits = Limits::default();
        while let Ok(Progress::Done { end, .. }) = parser.parse(&input, from, &limits, &mut spans) {
            from = end;
        }
        prop_assert!(spans.len() * 6 <= input.len());
        let inline: usize = parser.take_inline().iter().map(|argument| argument.len() + 1).sum();
        prop_assert!(inline <= input.len());
    }
}
