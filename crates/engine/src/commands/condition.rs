//! What must hold of a key for a command to change its string: `NX`, `XX`, or how its value compares with
//! another or with a digest. It only answers; what follows from it is the command's.

use base::bytes::eq_ignore_case;
use base::hash::digest;
use store::text::TextRef;
use store::{Key, Text};

use crate::args::Argv;
use crate::ctx::Ctx;
use crate::error::CmdError;

/// A condition of SET.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    Always,
    Absent,
    Present,
    /// With the argument at this place.
    Compares(Comparison, usize),
}

/// How a string compares with an operand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    Different,
    DigestEqual,
    DigestDifferent,
}

impl Condition {
    /// The condition that the argument names.
    pub fn named(args: &Argv<'_>, index: usize) -> Option<Condition> {
        match args {
            args if args.is(index, "nx") => Some(Condition::Absent),
            args if args.is(index, "xx") => Some(Condition::Present),
            args if index < args.last() => {
                Comparison::named(args, index).map(|comparison| Condition::Compares(comparison, index + 1))
            }
            _ => None,
        }
    }

    /// The place of its last word, its first one being at `index`.
    pub fn last_word(self, index: usize) -> usize {
        if let Condition::Compares(_, operand) = self { operand } else { index }
    }

    /// Both, if they do not exclude each other.
    pub fn and(self, other: Condition) -> Option<Condition> {
        (self == Condition::Always || self == other).then_some(other)
    }

    /// Whether it holds of a key. A missing one differs from everything.
    pub fn holds(self, ctx: &mut Ctx, key: Key<'_>) -> Result<bool, CmdError> {
        match self {
            Condition::Always => Ok(true),
            Condition::Absent => Ok(!ctx.keys.exists(key)),
            Condition::Present => Ok(ctx.keys.exists(key)),
            Condition::Compares(comparison, operand) => match ctx.keys.peek_as::<Text>(key)? {
                Some(text) => comparison.holds(text, ctx.args.at(operand)),
                None => Ok(comparison.is_negative()),
            },
        }
    }
}

impl Comparison {
    pub fn named(args: &Argv<'_>, index: usize) -> Option<Comparison> {
        WORDS.iter().find(|(word, _)| args.is(index, word)).map(|(_, comparison)| *comparison)
    }

    pub fn holds(self, text: TextRef<'_>, operand: &[u8]) -> Result<bool, CmdError> {
        let is_equal = match self {
            Comparison::Equal | Comparison::Different => *text.bytes() == *operand,
            _ if operand.len() != DIGEST_LEN => {
                return Err(CmdError::fixed("ERR must be exactly 16 hexadecimal characters"));
            }
            _ => eq_ignore_case(&digest(&text.bytes()), operand),
        };
        Ok(is_equal != self.is_negative())
    }

    fn is_negative(self) -> bool {
        matches!(self, Comparison::Different | Comparison::DigestDifferent)
    }
}

const DIGEST_LEN: usize = 16;

const WORDS: [(&str, Comparison); 4] = [
    ("ifeq", Comparison::Equal),
    ("ifne", Comparison::Different),
    ("ifdeq", Comparison::DigestEqual),
    ("ifdne", Comparison::DigestDifferent),
];
