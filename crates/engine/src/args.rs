//! The arguments of one request: slices of what was read, never copies.

use std::sync::Arc;

use base::alloc::size_class;
use base::bytes::eq_ignore_case;
use base::num::{parse_f64, parse_i64};
use resp::request::Span;
use store::text::Incoming;

use crate::error::CmdError;

/// Bytes of a bulk or an array beside its content, at most.
const HEADER_LEN_MOST: u64 = 25;

/// Arguments as they lie in the input; large ones in blocks of their own.
#[derive(Clone, Copy)]
pub struct Argv<'a> {
    input: &'a [u8],
    spans: &'a [Span],
    big: &'a [Arc<Vec<u8>>],
}

impl<'a> Argv<'a> {
    #[inline]
    pub fn new(input: &'a [u8], spans: &'a [Span], big: &'a [Arc<Vec<u8>>]) -> Argv<'a> {
        Argv { input, spans, big }
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The argument at `index`; the command's name is at 0. An index past the end is a fault of the
    /// command's row (its arity) and panics.
    #[inline]
    pub fn at(&self, index: usize) -> &'a [u8] {
        let span = self.spans[index];
        if span.is_big() {
            return &self.big[span.start as usize];
        }
        span.of(self.input)
    }

    /// Bytes of the request on the wire, if it came as an array of bulks.
    pub fn request_len(&self) -> u64 {
        let header = |len: usize| len.max(1).ilog10() as u64 + 4;
        let bulks = self.iter().map(|argument| argument.len() as u64 + header(argument.len()) + 2);
        header(self.len()) + bulks.sum::<u64>()
    }

    /// No less than `request_len`, and quicker: arguments lie one behind the other.
    #[inline]
    pub fn request_len_most(&self) -> u64 {
        let lens = match self.spans {
            [first, .., last] if self.big.is_empty() => u64::from(last.start - first.start + last.len),
            _ => self.iter().map(|argument| argument.len() as u64).sum(),
        };
        let most = lens + (self.len() as u64 + 1) * HEADER_LEN_MOST;
        debug_assert!(most >= self.request_len(), "arguments lie in their order");
        most
    }

    pub fn last(&self) -> usize {
        self.spans.len() - 1
    }

    /// The argument as a value to keep: a large one is shared, not copied.
    #[inline]
    pub fn value(&self, index: usize) -> Incoming<'a> {
        let span = self.spans[index];
        if span.is_big() {
            return Incoming::Shared(Arc::clone(&self.big[span.start as usize]));
        }
        Incoming::Slice(span.of(self.input))
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &'a [u8]> + ExactSizeIterator + use<'a> {
        let argv = *self;
        (0..argv.len()).map(move |index| argv.at(index))
    }

    /// Arguments from `index` on.
    pub fn from(
        &self,
        index: usize,
    ) -> impl DoubleEndedIterator<Item = &'a [u8]> + ExactSizeIterator + Clone + use<'a> {
        let argv = *self;
        (index..argv.len()).map(move |index| argv.at(index))
    }

    /// The arguments after the first `count`, as a request of their own.
    pub fn skip(&self, count: usize) -> Argv<'a> {
        Argv { spans: &self.spans[count.min(self.spans.len())..], ..*self }
    }

    /// Whether the argument is this word, in any case. False past the end.
    #[inline]
    pub fn is(&self, index: usize, word: &str) -> bool {
        index < self.len() && eq_ignore_case(self.at(index), word.as_bytes())
    }

    pub fn integer(&self, index: usize) -> Result<i64, CmdError> {
        parse_i64(self.at(index)).ok_or(CmdError::NOT_INTEGER)
    }

    pub fn float(&self, index: usize) -> Result<f64, CmdError> {
        parse_f64(self.at(index)).ok_or(CmdError::NOT_FLOAT)
    }

    /// The argument after an option's word, or a syntax error when there is none.
    pub fn operand(&self, option: usize) -> Result<usize, CmdError> {
        if option + 1 < self.len() { Ok(option + 1) } else { Err(CmdError::SYNTAX) }
    }

    /// Bytes of all arguments together.
    pub fn byte_len(&self) -> usize {
        self.iter().map(<[u8]>::len).sum()
    }

    pub fn to_owned(&self) -> OwnedArgv {
        let mut owned = OwnedArgv::default();
        for index in 0..self.len() {
            let span = self.spans[index];
            if span.is_big() {
                owned.push_big(Arc::clone(&self.big[span.start as usize]));
            } else {
                owned.push(span.of(self.input));
            }
        }
        owned
    }
}

/// Bytes of a string that is held by reference, with what is in front of it.
pub fn shared_size(bytes: &Arc<Vec<u8>>) -> usize {
    const HEAD: usize = size_of::<Vec<u8>>() + 2 * size_of::<usize>();
    size_class(bytes.capacity()) + size_class(HEAD)
}

/// Arguments that outlive their request: a command queued in MULTI.
#[derive(Clone, Default)]
pub struct OwnedArgv {
    input: Vec<u8>,
    spans: Vec<Span>,
    big: Vec<Arc<Vec<u8>>>,
}

impl OwnedArgv {
    pub fn of<A: AsRef<[u8]>>(words: &[A]) -> OwnedArgv {
        let mut owned = OwnedArgv::default();
        for word in words {
            owned.push(word.as_ref());
        }
        owned
    }

    pub fn push(&mut self, argument: &[u8]) {
        self.spans.push(Span { start: self.input.len() as u32, len: argument.len() as u32 });
        self.input.extend_from_slice(argument);
    }

    pub fn push_big(&mut self, argument: Arc<Vec<u8>>) {
        self.spans.push(Span { start: self.big.len() as u32, len: Span::BIG });
        self.big.push(argument);
    }

    pub fn view(&self) -> Argv<'_> {
        Argv::new(&self.input, &self.spans, &self.big)
    }

    /// Bytes it holds.
    pub fn memory(&self) -> usize {
        let big_list = self.big.capacity() * size_of::<Arc<Vec<u8>>>();
        let lists = [self.input.capacity(), self.spans.capacity() * size_of::<Span>(), big_list];
        self.big_memory() + lists.into_iter().map(size_class).sum::<usize>()
    }

    /// Bytes of its big arguments.
    pub fn big_memory(&self) -> usize {
        self.big.iter().map(shared_size).sum()
    }
}
