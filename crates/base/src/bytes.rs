//! Byte strings: comparing without case, and showing them to people. It must never assume that they are
//! UTF-8.

/// Whether the two are equal but for the case of ASCII letters.
#[inline]
pub fn eq_ignore_case(a: &[u8], b: &[u8]) -> bool {
    a.eq_ignore_ascii_case(b)
}

/// Replaces what is in `out` by `text` in lower case.
pub fn lower_into(text: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(text);
    out.make_ascii_lowercase();
}

/// `text` in double quotes, with what cannot be printed escaped: the form of MONITOR, SLOWLOG in logs and
/// redis-cli, which [`crate::quoting::split_args`] reads back.
pub fn escape(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for byte in text {
        match byte {
            b'\\' => out.push_str("\\\\"),
            b'"' => out.push_str("\\\""),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            7 => out.push_str("\\a"),
            8 => out.push_str("\\b"),
            b' '..=b'~' => out.push(char::from(*byte)),
            _ => {
                out.push_str("\\x");
                push_hex(&mut out, *byte);
            }
        }
    }
    out.push('"');
    out
}

/// Two lower-case hexadecimal digits for each byte.
pub fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        push_hex(&mut out, *byte);
    }
    out
}

/// Whether every byte is printable ASCII, blank included.
pub fn printable(text: &[u8]) -> bool {
    text.iter().all(|byte| matches!(byte, b' '..=b'~'))
}

/// Whether `text` must be escaped to stay one argument of [`crate::quoting::split_args`].
pub fn needs_escape(text: &[u8]) -> bool {
    text.is_empty() || text.iter().any(|byte| !matches!(byte, b'!'..=b'~') || matches!(byte, b'"' | b'\\'))
}

fn push_hex(out: &mut String, byte: u8) {
    out.push(char::from(HEX_DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(HEX_DIGITS[usize::from(byte & 15)]));
}

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        let check = |text: &[u8], expected: &str| assert_eq!(escape(text), expected);
        check(b"", r#""""#);
        check(b"plain text", r#""plain text""#);
        check(b"\"\\'", r#""\"\\'""#);
        check(b"\n\r\t\x07\x08\x00\x7f\xff", r#""\n\r\t\a\b\x00\x7f\xff""#);
    }

    #[test]
    fn small_things() {
        assert!(eq_ignore_case(b"GeT", b"gEt") && !eq_ignore_case(b"get", b"gets"));
        assert!(!eq_ignore_case(b"[", b"{"), "only letters have case");
        let mut out = vec![1, 2, 3];
        lower_into(b"ZADD-\xC0", &mut out);
        assert_eq!(out, b"zadd-\xC0");
        assert_eq!(hex(&[0, 0x9f, 0xff]), "009fff");
        assert!(printable(b" ~") && !printable(b"\x7f") && !printable(b"\n"));
        assert!(needs_escape(b"") && needs_escape(b"a b") && needs_escape(b"\"") && !needs_escape(b"a'b"));
    }
}
