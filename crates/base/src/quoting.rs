//! Splitting a line into arguments as Redis' inline requests and configuration files do. It must never guess:
//! quotes that do not close are an error.

use crate::num::is_space;

/// The line has a quote that does not close, or text right behind a closing quote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unbalanced;

/// The arguments of `line`. Double quotes know the escapes of [`crate::bytes::escape`], single quotes only
/// `\'`; a closing quote ends the argument and needs a blank or the line's end behind it. A NUL ends the
/// line.
pub fn split_args(line: &[u8]) -> Result<Vec<Vec<u8>>, Unbalanced> {
    let len = memchr::memchr(0, line).unwrap_or(line.len());
    let mut rest = &line[..len];
    let mut arguments = Vec::new();
    loop {
        let blanks = rest.iter().take_while(|byte| is_space(**byte)).count();
        rest = &rest[blanks..];
        if rest.is_empty() {
            return Ok(arguments);
        }
        let mut argument = Vec::new();
        rest = take_argument(rest, &mut argument)?;
        arguments.push(argument);
    }
}

/// Reads one argument from the start of `rest`; returns what follows it.
fn take_argument<'a>(mut rest: &'a [u8], argument: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        match rest {
            [] | [b' ' | b'\n' | b'\r' | b'\t', ..] => return Ok(rest),
            [b'"', quoted @ ..] => return take_double_quoted(quoted, argument),
            [b'\'', quoted @ ..] => return take_single_quoted(quoted, argument),
            [byte, tail @ ..] => {
                argument.push(*byte);
                rest = tail;
            }
        }
    }
}

fn take_double_quoted<'a>(mut rest: &'a [u8], argument: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        let (byte, tail) = match rest {
            [] => return Err(Unbalanced),
            [b'"', tail @ ..] => return after_quote(tail),
            [b'\\', b'x', high, low, tail @ ..] if is_hex(*high) && is_hex(*low) => {
                (hex_value(*high) << 4 | hex_value(*low), tail)
            }
            [b'\\', escaped, tail @ ..] => (unescape(*escaped), tail),
            [byte, tail @ ..] => (*byte, tail),
        };
        argument.push(byte);
        rest = tail;
    }
}

fn take_single_quoted<'a>(mut rest: &'a [u8], argument: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        let (byte, tail) = match rest {
            [] => return Err(Unbalanced),
            [b'\'', tail @ ..] => return after_quote(tail),
            [b'\\', b'\'', tail @ ..] => (b'\'', tail),
            [byte, tail @ ..] => (*byte, tail),
        };
        argument.push(byte);
        rest = tail;
    }
}

fn after_quote(rest: &[u8]) -> Result<&[u8], Unbalanced> {
    match rest.first() {
        Some(byte) if !is_space(*byte) => Err(Unbalanced),
        _ => Ok(rest),
    }
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    }
}

fn is_hex(byte: u8) -> bool {
    byte.is_ascii_hexdigit()
}

fn hex_value(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        _ => (byte | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines() {
        let check = |line: &str, expected: &[&str]| {
            let arguments = split_args(line.as_bytes()).expect("a balanced line");
            let expected: Vec<_> = expected.iter().map(|text| text.as_bytes().to_vec()).collect();
            assert_eq!(arguments, expected, "{line:?}");
        };
        check("", &[]);
        check(" \t\r\n\x0b ", &[]);
        check("set  key\tvalue\r\n", &["set", "key", "value"]);
        check(r#"a "b c" 'd e' "" ''"#, &["a", "b c", "d e", "", ""]);
        check(r#""\x41\x4a\x4A\n\r\t\b\a\"\\\q""#, &["AJJ\n\r\t\x08\x07\"\\q"]);
        check(r#""\xg1" "\x4""#, &["xg1", "x4"]);
        check(r"'it\'s' '\n'", &["it's", r"\n"]);
        check(r#"a"b c""#, &["ab c"]);
        check("a\x0bb", &["a\x0bb"]);
        check("one\0two", &["one"]);
    }

    #[test]
    fn unbalanced_lines() {
        for line in
            ["\"", "'", "\"a", "'a", "\"a\"b", "'a'b", "\"a\"\"b\"", "\"a\\\"", "'a\\'", "\"\0\"", "\"\\"]
        {
            assert_eq!(split_args(line.as_bytes()), Err(Unbalanced), "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn escaped_text_returns(text: Vec<Vec<u8>>) {
            let line: Vec<_> = text.iter().map(|part| crate::bytes::escape(part)).collect();
            prop_assert_eq!(split_args(line.join(" ").as_bytes()), Ok(text));
        }

        #[test]
        fn no_line_panics(line: Vec<u8>) {
            split_args(&line).ok();
        }
    }
}
