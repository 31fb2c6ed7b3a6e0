//! The client's mistakes: each is a reply, and its text is Redis' text.

use std::borrow::Cow;
use std::fmt;

/// An error reply, without the leading minus: its first word is the code. Bytes, because some repeat what the
/// client sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CmdError {
    text: Cow<'static, [u8]>,
    /// Statistics know it: a script passes on what one of its commands said.
    counted: bool,
}

impl CmdError {
    pub const WRONG_TYPE: CmdError =
        fixed("WRONGTYPE Operation against a key holding the wrong kind of value");
    pub const SYNTAX: CmdError = fixed("ERR syntax error");
    pub const NOT_INTEGER: CmdError = fixed("ERR value is not an integer or out of range");
    pub const NOT_FLOAT: CmdError = fixed("ERR value is not a valid float");
    pub const OUT_OF_RANGE: CmdError = fixed("ERR value is out of range");
    pub const NO_SUCH_KEY: CmdError = fixed("ERR no such key");
    pub const INDEX_OUT_OF_RANGE: CmdError = fixed("ERR index out of range");
    pub const NOT_AUTHENTICATED: CmdError = fixed("NOAUTH Authentication required.");
    pub const LOADING: CmdError = fixed("LOADING Redis is loading the dataset in memory");
    pub const OUT_OF_MEMORY: CmdError = fixed("OOM command not allowed when used memory > 'maxmemory'.");

    /// A text with its code, such as `ERR unknown option`.
    pub fn new(text: impl Into<Cow<'static, str>>) -> CmdError {
        let text = match text.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        CmdError { text, counted: false }
    }

    /// As `new`, for a text that repeats a client's bytes.
    pub fn of_bytes(text: Vec<u8>) -> CmdError {
        CmdError { text: Cow::Owned(text), counted: false }
    }

    /// As `of_bytes`, for an error that statistics have counted.
    pub fn counted(text: Vec<u8>) -> CmdError {
        CmdError { text: Cow::Owned(text), counted: true }
    }

    pub fn is_counted(&self) -> bool {
        self.counted
    }

    /// As `new`, for a family's own constants.
    pub const fn fixed(text: &'static str) -> CmdError {
        fixed(text)
    }

    /// `ERR wrong number of arguments for 'get' command`
    pub fn arity(name: &str) -> CmdError {
        CmdError::new(format!("ERR wrong number of arguments for '{name}' command"))
    }

    /// `ERR invalid expire time in 'set' command`
    pub fn expire_time(name: &str) -> CmdError {
        CmdError::new(format!("ERR invalid expire time in '{name}' command"))
    }

    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// What INFO errorstats counts by.
    pub fn code(&self) -> &str {
        code_of(&self.text)
    }
}

/// The first word of an error's text, if it is short and not all of it; else the usual code.
pub fn code_of(text: &[u8]) -> &str {
    let head = &text[..text.len().min(CODE_LEN_MAX + 1)];
    let len = head.iter().position(|byte| matches!(byte, b' ' | b'\r' | b'\n')).unwrap_or(0);
    std::str::from_utf8(&head[..len]).ok().filter(|code| !code.is_empty()).unwrap_or("ERR")
}

/// Redis looks at so much: scripts invent codes, and statistics keep them.
const CODE_LEN_MAX: usize = 30;

impl fmt::Display for CmdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.text))
    }
}

const fn fixed(text: &'static str) -> CmdError {
    CmdError { text: Cow::Borrowed(text.as_bytes()), counted: false }
}
