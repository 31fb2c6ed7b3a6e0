//! When something is to expire, as clients say it: `EX seconds`, `PX milliseconds`, `EXAT` and `PXAT` with
//! Unix times, KEEPTTL, PERSIST. It only computes the instant; what expires then, and what a past one means,
//! is the command's.

use base::time::UnixMs;
use store::text::Expiry;

use crate::args::Argv;
use crate::error::CmdError;

/// The unit and origin of a number that says when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    Seconds,
    Milliseconds,
    UnixSeconds,
    UnixMilliseconds,
}

impl Unit {
    /// The unit that the argument names.
    pub fn named(argv: &Argv<'_>, index: usize) -> Option<Unit> {
        let named = |(word, _): &&(&str, Unit)| argv.is(index, word);
        WORDS.iter().find(named).map(|(_, unit)| *unit)
    }

    pub fn is_relative(self) -> bool {
        matches!(self, Unit::Seconds | Unit::Milliseconds)
    }

    fn is_seconds(self) -> bool {
        matches!(self, Unit::Seconds | Unit::UnixSeconds)
    }

    /// The instant in Unix milliseconds; `None` if the number is negative or leads beyond all time.
    pub fn instant(self, number: i64, now: UnixMs) -> Option<i64> {
        let ms = if self.is_seconds() { number.checked_mul(1000)? } else { number };
        let instant = if self.is_relative() { ms.checked_add(now.0)? } else { ms };
        (number >= 0).then_some(instant)
    }

    /// The instant that an argument says, for the command called `name` in errors.
    pub fn parse(self, argv: &Argv<'_>, index: usize, now: UnixMs, name: &str) -> Result<i64, CmdError> {
        let number = argv.integer(index)?;
        self.instant(number, now).ok_or_else(|| CmdError::expire_time(name))
    }

    /// As `parse`, for those that refuse 0.
    pub fn parse_positive(
        self,
        argv: &Argv<'_>,
        index: usize,
        now: UnixMs,
        name: &str,
    ) -> Result<i64, CmdError> {
        if argv.integer(index)? == 0 {
            Err(CmdError::expire_time(name))
        } else {
            self.parse(argv, index, now, name)
        }
    }
}

/// What a command's options say of the time of expiry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lifetime {
    /// Nothing.
    Default,
    Keep,
    Persist,
    /// The number is the argument at this place.
    Until(Unit, usize),
}

impl Lifetime {
    /// Takes in the option at `index`, which with its operand stands before `end`; the place behind it. It is
    /// a syntax error if it is none of these, or says other than those before it.
    pub fn take_option(&mut self, argv: &Argv<'_>, index: usize, end: usize) -> Result<usize, CmdError> {
        let (new, next) = match Unit::named(argv, index) {
            Some(unit) if index + 1 < end => (Lifetime::Until(unit, index + 1), index + 2),
            None if argv.is(index, "keepttl") => (Lifetime::Keep, index + 1),
            None if argv.is(index, "persist") => (Lifetime::Persist, index + 1),
            _ => return Err(CmdError::SYNTAX),
        };
        let agrees = match (*self, new) {
            (Lifetime::Default, _) => true,
            (Lifetime::Until(old, _), Lifetime::Until(new, _)) => old == new,
            (old, new) => old == new,
        };
        *self = new;
        if agrees { Ok(next) } else { Err(CmdError::SYNTAX) }
    }

    /// What a command that sets a string makes of it: without a word, a key loses its time.
    pub fn expiry(self, argv: &Argv<'_>, now: UnixMs, name: &str) -> Result<Expiry, CmdError> {
        match self {
            Lifetime::Until(unit, index) => unit.parse_positive(argv, index, now, name).map(Expiry::At),
            Lifetime::Keep => Ok(Expiry::Keep),
            Lifetime::Default | Lifetime::Persist => Ok(Expiry::Drop),
        }
    }
}

const WORDS: [(&str, Unit); 4] = [
    ("ex", Unit::Seconds),
    ("px", Unit::Milliseconds),
    ("exat", Unit::UnixSeconds),
    ("pxat", Unit::UnixMilliseconds),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants() {
        let check = |unit: Unit, number, expected| assert_eq!(unit.instant(number, UnixMs(5_000)), expected);
        check(Unit::Seconds, 2, Some(7_000));
        check(Unit::Milliseconds, 2, Some(5_002));
        check(Unit::UnixSeconds, 2, Some(2_000));
        check(Unit::UnixMilliseconds, 2, Some(2));
        for unit in WORDS.map(|(_, unit)| unit) {
            check(unit, -1, None);
            check(unit, 0, Some(if unit.is_relative() { 5_000 } else { 0 }));
        }
        check(Unit::Seconds, i64::MAX, None);
        check(Unit::Milliseconds, i64::MAX, None);
        check(Unit::UnixSeconds, i64::MAX / 1000 + 1, None);
        check(Unit::UnixMilliseconds, i64::MAX, Some(i64::MAX));
    }
}
