//! Where a command's keys stand among its arguments: declared in its row, evaluated for the lock plan,
//! COMMAND GETKEYS and, later, ACL and cluster.

use base::bytes::eq_ignore_case;
use base::num::parse_i64;

use crate::args::Argv;

/// How a command uses the keys of one spec; the bits are printed by COMMAND in this order.
pub mod flag {
    pub const RO: u16 = 1;
    pub const RW: u16 = 1 << 1;
    pub const OW: u16 = 1 << 2;
    pub const RM: u16 = 1 << 3;
    pub const ACCESS: u16 = 1 << 4;
    pub const UPDATE: u16 = 1 << 5;
    pub const INSERT: u16 = 1 << 6;
    pub const DELETE: u16 = 1 << 7;
    pub const NOT_KEY: u16 = 1 << 8;
    pub const INCOMPLETE: u16 = 1 << 9;
    pub const VARIABLE_FLAGS: u16 = 1 << 10;

    pub const NAMES: [(u16, &str); 11] = [
        (RO, "RO"),
        (RW, "RW"),
        (OW, "OW"),
        (RM, "RM"),
        (ACCESS, "access"),
        (UPDATE, "update"),
        (INSERT, "insert"),
        (DELETE, "delete"),
        (NOT_KEY, "not_key"),
        (INCOMPLETE, "incomplete"),
        (VARIABLE_FLAGS, "variable_flags"),
    ];
}

/// Where the search for keys begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begin {
    Index(usize),
    /// At the argument after this word, looked for from `from` on (backwards from the end if negative).
    Keyword {
        word: &'static str,
        from: i32,
    },
    Unknown,
}

/// Which arguments from there on are keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Find {
    /// Up to `last` (relative to the beginning; negative: from the end), every `step`th; `limit` 2 means
    /// only the first half of the rest.
    Range {
        last: i32,
        step: usize,
        limit: usize,
    },
    /// A number at `number`, then so many keys from `first` on, every `step`th.
    Count {
        number: usize,
        first: usize,
        step: usize,
    },
    Unknown,
}

#[derive(Clone, Copy, Debug)]
pub struct KeySpec {
    pub flags: u16,
    pub begin: Begin,
    pub find: Find,
    /// Printed by COMMAND with the spec.
    pub notes: &'static str,
    /// Finds the key where only the command's own rules can; COMMAND calls such a search unknown.
    pub locate: Option<fn(&Argv<'_>) -> Option<usize>>,
}

impl KeySpec {
    pub const fn one(index: usize, flags: u16) -> KeySpec {
        KeySpec::range(index, 0, 1, flags)
    }

    /// Keys from `index` to `last` (negative: from the end), every `step`th.
    pub const fn range(index: usize, last: i32, step: usize, flags: u16) -> KeySpec {
        let find = Find::Range { last, step, limit: 0 };
        KeySpec { flags, begin: Begin::Index(index), find, notes: "", locate: None }
    }

    /// A count at `index`, its keys right behind it.
    pub const fn counted(index: usize, flags: u16) -> KeySpec {
        let find = Find::Count { number: 0, first: 1, step: 1 };
        KeySpec { flags, begin: Begin::Index(index), find, notes: "", locate: None }
    }

    /// As `counted`, each key with something else behind it.
    pub const fn counted_pairs(index: usize, flags: u16) -> KeySpec {
        let find = Find::Count { number: 0, first: 1, step: 2 };
        KeySpec { find, ..KeySpec::counted(index, flags) }
    }

    pub const fn keyword(word: &'static str, from: i32, flags: u16) -> KeySpec {
        let find = Find::Range { last: 0, step: 1, limit: 0 };
        KeySpec { flags, begin: Begin::Keyword { word, from }, find, notes: "", locate: None }
    }

    pub const fn unknown(flags: u16) -> KeySpec {
        let flags = flags | flag::INCOMPLETE;
        KeySpec { flags, begin: Begin::Unknown, find: Find::Unknown, notes: "", locate: None }
    }

    /// A key whose place follows from the command's own rules.
    pub const fn located(locate: fn(&Argv<'_>) -> Option<usize>, flags: u16) -> KeySpec {
        KeySpec { flags, locate: Some(locate), ..KeySpec::unknown(0) }
    }

    /// One key at a fixed place: what most commands have.
    #[inline]
    pub const fn is_single(&self) -> bool {
        matches!((self.begin, self.find), (Begin::Index(_), Find::Range { last: 0, .. }))
    }

    /// Calls `visit` with the index of each key. False when the arguments do not fit the spec.
    #[inline]
    pub fn visit(&self, argv: &Argv<'_>, visit: &mut dyn FnMut(usize)) -> bool {
        if let Some(locate) = self.locate {
            locate(argv).into_iter().for_each(visit);
            return true;
        }
        let Some(first) = self.first(argv) else { return !matches!(self.begin, Begin::Index(_)) };
        match self.find {
            Find::Range { last, step, limit } => visit_range(argv.len(), first, last, step, limit, visit),
            Find::Count { number, first: offset, step } => {
                let count = argv_number(argv, first + number);
                let fits =
                    count.is_some_and(|count| count > 0 && first + offset + (count - 1) * step < argv.len());
                if fits {
                    (0..count.unwrap_or(0)).for_each(|index| visit(first + offset + index * step));
                }
                fits
            }
            Find::Unknown => true,
        }
    }

    fn first(&self, argv: &Argv<'_>) -> Option<usize> {
        match self.begin {
            Begin::Index(index) => (index < argv.len()).then_some(index),
            Begin::Keyword { word, from } => {
                find_word(argv, word, from).map(|at| at + 1).filter(|&at| at < argv.len())
            }
            Begin::Unknown => None,
        }
    }
}

fn visit_range(
    len: usize,
    first: usize,
    last: i32,
    step: usize,
    limit: usize,
    visit: &mut dyn FnMut(usize),
) -> bool {
    let last = match last {
        0.. => first + last as usize,
        _ if limit >= 2 => first + (len - first) / limit - 1,
        _ => (len as i64 + i64::from(last)).max(0) as usize,
    };
    if last >= len || last < first {
        return false;
    }
    (first..=last).step_by(step).for_each(visit);
    true
}

fn argv_number(argv: &Argv<'_>, index: usize) -> Option<usize> {
    if index >= argv.len() {
        return None;
    }
    parse_i64(argv.at(index))
        .and_then(|number| usize::try_from(number).ok())
        .filter(|&number| number <= argv.len())
}

fn find_word(argv: &Argv<'_>, word: &str, from: i32) -> Option<usize> {
    let matches = |index: &usize| eq_ignore_case(argv.at(*index), word.as_bytes());
    if from >= 0 {
        (from as usize..argv.len()).find(matches)
    } else {
        (1..=argv.len().saturating_sub(from.unsigned_abs() as usize)).rev().find(matches)
    }
}
