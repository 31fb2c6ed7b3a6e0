//! Where the table departs from what the other servers answer, and why.

/// A command, the field that differs, the reason.
pub type Difference = (&'static str, &'static str, &'static str);

/// Of COMMAND INFO.
pub const INFO: &[Difference] = &[
    ("command|getkeys", "arity", "-3 since Redis 7.2: a request of one word has an answer too"),
    ("command|getkeysandflags", "arity", "-3 since Redis 7.2: a request of one word has an answer too"),
];

/// Of COMMAND DOCS.
pub const DOCS: &[Difference] = &[];

/// Commands of which no server says a complexity.
pub const NO_COMPLEXITY: &[&str] = &["monitor"];

/// Commands whose syntax cannot tell their arity.
pub const ODD_ARITY: &[(&str, &str)] = &[];
