//! Numbers as Redis reads and prints them: strict integers, doubles as strtod takes them, `%.17g` and
//! shortest digits. It must never accept a spelling that Redis refuses, nor print one it would not.

use std::io::Write;

use crate::hexfloat;

/// A signed integer as Redis takes it: no spaces, no plus, no leading zeros, no "-0".
#[inline]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    match text {
        [b'-', b'1'..=b'9', ..] => 0i64.checked_sub_unsigned(parse_digits(&text[1..])?),
        _ => i64::try_from(parse_u64(text)?).ok(),
    }
}

/// An unsigned integer under the same rules as [`parse_i64`].
#[inline]
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    match text {
        [b'0'] => Some(0),
        [b'1'..=b'9', ..] => parse_digits(text),
        _ => None,
    }
}

/// An unsigned integer as C's strtoull takes it where Redis falls back on it (stream ids, cursors): blanks
/// before it, a plus and leading zeros are fine.
pub fn parse_u64_lenient(text: &[u8]) -> Option<u64> {
    let blanks = text.iter().take_while(|byte| is_space(**byte)).count();
    let digits = text[blanks..].strip_prefix(b"+").unwrap_or(&text[blanks..]);
    let zeros = digits.iter().take_while(|byte| **byte == b'0').count();
    match &digits[zeros..] {
        [] if zeros > 0 => Some(0),
        digits => parse_digits(digits),
    }
}

/// A double as Redis takes it: what C's strtod takes as a whole (decimal, hexadecimal, "inf", "infinity"),
/// without blanks before it; not a NaN, nothing that overflows, nothing but 0 that becomes 0.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let (_, magnitude) = split_sign(text);
    if hexfloat::has_prefix(magnitude) {
        return hexfloat::parse_f64(text);
    }
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    let overflowed = value.is_infinite() && magnitude[0].is_ascii_digit() | (magnitude[0] == b'.');
    let underflowed = value == 0.0 && has_nonzero_digit(magnitude);
    (!value.is_nan() && !overflowed && !underflowed).then_some(value)
}

/// Appends an integer's digits.
#[inline]
pub fn write_i64(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends an integer's digits.
#[inline]
pub fn write_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// How many bytes [`write_i64`] appends.
#[inline]
pub fn i64_len(value: i64) -> usize {
    usize::from(value < 0) + value.unsigned_abs().checked_ilog10().unwrap_or(0) as usize + 1
}

/// Appends a double as Redis 7.0 replies it: C's `%.17g`, with "inf", "-inf" and "nan".
pub fn write_f64(out: &mut Vec<u8>, value: f64) {
    if let Some(integer) = integer_up_to(value, 99_999_999_999_999_999) {
        return write_i64(out, integer);
    }
    if write_special(out, value) {
        return;
    }
    let decimal = Decimal::exact_17(value);
    write_sign(out, value);
    decimal.write_general(out);
}

/// Appends a double with the fewest digits that read back as the same one, laid out as Redis 7.2 does.
pub fn write_f64_shortest(out: &mut Vec<u8>, value: f64) {
    if let Some(integer) = integer_up_to(value, 1 << 62) {
        return write_i64(out, integer);
    }
    if write_special(out, value) {
        return;
    }
    let decimal = Decimal::shortest(value);
    write_sign(out, value);
    decimal.write_compact(out);
}

/// The double as an integer, where it is one within the bound up to which all its digits are printed.
#[inline]
fn integer_up_to(value: f64, bound: u64) -> Option<i64> {
    let integer = value as i64;
    let exact = integer as f64 == value && integer.unsigned_abs() <= bound;
    (exact && (integer != 0 || value.is_sign_positive())).then_some(integer)
}

/// Writes what has no digits to print; false if `value` has.
fn write_special(out: &mut Vec<u8>, value: f64) -> bool {
    let text: &[u8] = match value {
        _ if value.is_nan() => b"nan",
        f64::INFINITY => b"inf",
        f64::NEG_INFINITY => b"-inf",
        _ if value == 0.0 => b"-0",
        _ => return false,
    };
    out.extend_from_slice(text);
    true
}

fn write_sign(out: &mut Vec<u8>, value: f64) {
    if value < 0.0 {
        out.push(b'-');
    }
}

/// d.ddd times a power of ten: 1 to 17 digits, the last one not 0.
struct Decimal {
    digits: [u8; 20],
    count: usize,
    exponent: i32,
}

impl Decimal {
    /// The 17 digits nearest to `value`, ties to even as in C, without zeros at the end.
    fn exact_17(value: f64) -> Decimal {
        Decimal::from_text(|buffer| write!(buffer, "{:.16e}", value.abs()).is_ok())
    }

    fn shortest(value: f64) -> Decimal {
        let mut buffer = zmij::Buffer::new();
        let text = buffer.format_finite(value.abs());
        Decimal::from_text(|out| out.write_all(text.as_bytes()).is_ok())
    }

    /// Takes apart what `print` writes: digits with a point somewhere, perhaps an exponent.
    fn from_text(print: impl FnOnce(&mut &mut [u8]) -> bool) -> Decimal {
        let mut text = [0u8; 40];
        let mut rest = &mut text[..];
        let printed = print(&mut rest);
        assert!(printed, "no double has 40 characters in either form");
        let len = 40 - rest.len();
        let text = &text[..len];
        let (mantissa, exponent) = match text.iter().position(|byte| *byte == b'e') {
            Some(at) => (&text[..at], parse_exponent(&text[at + 1..])),
            None => (text, 0),
        };
        Decimal::from_mantissa(mantissa, exponent)
    }

    fn from_mantissa(mantissa: &[u8], exponent: i32) -> Decimal {
        let point = mantissa.iter().position(|byte| *byte == b'.').unwrap_or(mantissa.len());
        let mut decimal = Decimal { digits: [0; 20], count: 0, exponent: exponent + point as i32 - 1 };
        for byte in mantissa.iter().filter(|byte| **byte != b'.') {
            if decimal.count == 0 && *byte == b'0' {
                decimal.exponent -= 1;
            } else if decimal.count < decimal.digits.len() {
                decimal.digits[decimal.count] = *byte;
                decimal.count += 1;
            }
        }
        while decimal.count > 1 && decimal.digits[decimal.count - 1] == b'0' {
            decimal.count -= 1;
        }
        decimal
    }

    /// `%.17g`: plain from 1e-4 to under 1e17, else with an exponent of at least two digits.
    fn write_general(&self, out: &mut Vec<u8>) {
        if (-4..17).contains(&self.exponent) {
            self.write_plain(out);
        } else {
            self.write_scientific(out, 2);
        }
    }

    /// Plain where that needs few zeros, else with an exponent of one to three digits.
    fn write_compact(&self, out: &mut Vec<u8>) {
        // The power of ten of the last digit decides: integers with up to 7 zeros behind the digits,
        // fractions with at most 6 places or under ten thousand and over 1e-4.
        let last = self.exponent + 1 - self.count as i32;
        let integer = last >= 0 && self.exponent < self.count as i32 + 7;
        let fraction = last < 0 && (last > -7 || self.exponent.abs() < 4);
        if integer || fraction { self.write_plain(out) } else { self.write_scientific(out, 1) }
    }

    fn write_plain(&self, out: &mut Vec<u8>) {
        let digits = &self.digits[..self.count];
        if self.exponent < 0 {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + (-1 - self.exponent) as usize, b'0');
            return out.extend_from_slice(digits);
        }
        let whole = self.exponent as usize + 1;
        out.extend_from_slice(&digits[..whole.min(self.count)]);
        out.resize(out.len() + whole.saturating_sub(self.count), b'0');
        if whole < self.count {
            out.push(b'.');
            out.extend_from_slice(&digits[whole..]);
        }
    }

    fn write_scientific(&self, out: &mut Vec<u8>, exponent_digits: usize) {
        out.push(self.digits[0]);
        if self.count > 1 {
            out.push(b'.');
            out.extend_from_slice(&self.digits[1..self.count]);
        }
        out.extend_from_slice(if self.exponent < 0 { b"e-" } else { b"e+" });
        if exponent_digits == 2 && self.exponent.abs() < 10 {
            out.push(b'0');
        }
        write_u64(out, u64::from(self.exponent.unsigned_abs()));
    }
}

fn parse_exponent(text: &[u8]) -> i32 {
    let text = text.strip_prefix(b"+").unwrap_or(text);
    let value = parse_i64(text).expect("a printed exponent is a small integer");
    value as i32
}

/// Digits alone, whatever zeros they begin with; `None` if there are none, another byte, or too many.
#[inline]
fn parse_digits(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let mut value = 0u64;
    for (index, byte) in digits.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // 19 digits always fit.
        value = if index < 19 {
            value * 10 + u64::from(digit)
        } else {
            value.checked_mul(10)?.checked_add(u64::from(digit))?
        };
    }
    Some(value)
}

/// The sign, true if negative, and what follows it.
pub(crate) fn split_sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    }
}

fn has_nonzero_digit(magnitude: &[u8]) -> bool {
    let mantissa = magnitude.split(|byte| matches!(byte, b'e' | b'E')).next().unwrap_or(magnitude);
    mantissa.iter().any(|byte| matches!(byte, b'1'..=b'9'))
}

/// C's isspace.
pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn printed(write: impl Fn(&mut Vec<u8>, f64), value: f64) -> String {
        let mut out = Vec::new();
        write(&mut out, value);
        String::from_utf8(out).expect("digits are ASCII")
    }

    #[test]
    fn integers() {
        let check = |text: &str, expected| assert_eq!(parse_i64(text.as_bytes()), expected, "{text:?}");
        check("0", Some(0));
        check("-1", Some(-1));
        check("9223372036854775807", Some(i64::MAX));
        check("-9223372036854775808", Some(i64::MIN));
        for text in ["", "-", "+1", "-0", "00", "01", " 1", "1 ", "1a", "a", "--1", "0x1", "1.0", "1e3"] {
            check(text, None);
        }
        for text in
            ["9223372036854775808", "-9223372036854775809", "99999999999999999999", "-99999999999999999999"]
        {
            check(text, None);
        }
        check(&"1".repeat(5000), None);
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_u64(b"18446744073709551616"), None);
        assert_eq!(parse_u64(b"-1"), None);
    }

    #[test]
    fn lenient_integers() {
        let check =
            |text: &str, expected| assert_eq!(parse_u64_lenient(text.as_bytes()), expected, "{text:?}");
        check("007", Some(7));
        check("  +12", Some(12));
        check("000", Some(0));
        check("000018446744073709551615", Some(u64::MAX));
        for text in ["", " ", "+", "+ 1", "-1", "1 ", "18446744073709551616"] {
            check(text, None);
        }
    }

    #[test]
    fn doubles_read() {
        let check = |text: &str, expected: Option<f64>| {
            assert_eq!(parse_f64(text.as_bytes()).map(f64::to_bits), expected.map(f64::to_bits), "{text:?}");
        };
        for (text, value) in
            [("1", 1.0), ("+1.5", 1.5), ("-.5", -0.5), ("1.", 1.0), ("1e3", 1000.0), ("1E+2", 100.0)]
        {
            check(text, Some(value));
        }
        for (text, value) in
            [("0x1p3", 8.0), ("-0X.8", -0.5), ("0x10", 16.0), ("-0", -0.0), ("0e999999", 0.0)]
        {
            check(text, Some(value));
        }
        check("0x", None);
        for text in ["inf", "+Inf", "INFINITY", "infinity"] {
            check(text, Some(f64::INFINITY));
        }
        check("-inf", Some(f64::NEG_INFINITY));
        check("5e-324", Some(5e-324));
        for text in [
            "", " 1", "1 ", "1x", ".", "+", "-", "e5", "1e", "nan", "-nan", "infin", "1e999", "1e-999",
            "1,5", "--1",
        ] {
            check(text, None);
        }
        assert_eq!(parse_f64(b"1\0"), None);
        assert_eq!(parse_f64(b"\xff"), None);
    }

    #[test]
    fn doubles_in_seventeen_digits() {
        let check = |value: f64, expected: &str| assert_eq!(printed(write_f64, value), expected);
        check(0.1, "0.10000000000000001");
        check(3.0, "3");
        check(-0.0, "-0");
        check(1e300, "1.0000000000000001e+300");
        check(1e16, "10000000000000000");
        check(1e17, "1e+17");
        check(-1234567.25, "-1234567.25");
        check(0.0001, "0.0001");
        check(0.00001, "1.0000000000000001e-05");
        check(5e-324, "4.9406564584124654e-324");
        check(1.0 + 1.0 / 131_072.0, "1.0000076293945312");
        check(1.0000228881835938, "1.0000228881835938");
        check(f64::MAX, "1.7976931348623157e+308");
        check(f64::INFINITY, "inf");
        check(f64::NEG_INFINITY, "-inf");
        check(f64::NAN, "nan");
    }

    #[test]
    fn doubles_in_fewest_digits() {
        let check = |value: f64, expected: &str| assert_eq!(printed(write_f64_shortest, value), expected);
        check(0.1, "0.1");
        check(3.0, "3");
        check(-0.0, "-0");
        check(1e300, "1e+300");
        check(1e20, "1e+20");
        check(1e17, "100000000000000000");
        check(4611686018427387904.0, "4611686018427387904");
        check(4611686018427388928.0, "4611686018427389000");
        check(123456789012345680000.0, "123456789012345680000");
        check(0.000001, "0.000001");
        check(0.0000001, "1e-7");
        check(1.5e-7, "1.5e-7");
        check(0.00012345678, "1.2345678e-4");
        check(1234.56789012, "1234.56789012");
        check(-2.5e-10, "-2.5e-10");
        check(5e-324, "5e-324");
    }

    proptest! {
        #[test]
        fn integers_return(value: i64) {
            let mut out = Vec::new();
            write_i64(&mut out, value);
            prop_assert_eq!(parse_i64(&out), Some(value));
            prop_assert_eq!(i64_len(value), out.len());
        }

        #[test]
        fn doubles_return(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(!value.is_nan());
            prop_assert_eq!(parse_f64(printed(write_f64, value).as_bytes()), Some(value));
            prop_assert_eq!(parse_f64(printed(write_f64_shortest, value).as_bytes()), Some(value));
        }

        #[test]
        fn no_bytes_panic(text: Vec<u8>) {
            parse_i64(&text);
            parse_u64_lenient(&text);
            parse_f64(&text);
        }
    }
}
